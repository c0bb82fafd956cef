//! `tok completions`: the script of a shell. It asks the program itself, so that profiles, providers and grants
//! complete as they are at that moment.

use crate::base::error::{Error, Kind};
use crate::base::text::escape;
use crate::cli::{Catalog, Shell, TargetRow, ValueRow};
use crate::host::Host;
use crate::profile::{Library, config_path, load_config};
use anyhow::Result;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, SubcommandCandidates};
use std::ffi::OsString;

/// The variable by which a shell's script asks. It does not begin with `TOK_`, as it is not a setting.
pub const VARIABLE: &str = "_TOK_COMPLETE";

/// The registration script of `shell`.
///
/// # Errors
/// [`Kind::Other`] where clap has none.
pub fn script(shell: Shell) -> Result<String> {
    let shells = clap_complete::env::Shells::builtins();
    let mut text = Vec::new();
    let written = shells
        .completer(shell.name())
        .map(|completer| completer.write_registration(VARIABLE, "tok", "tok", "tok", &mut text));
    match (written, String::from_utf8(text)) {
        (Some(Ok(())), Ok(text)) if shell == Shell::Zsh => Ok(zsh(text)),
        (Some(Ok(())), Ok(text)) => Ok(text),
        _ => Err(Error::new(Kind::Other, format!("no completions for {}", shell.name()), "").into()),
    }
}

/// The script of clap for zsh, so that it also works as a file `_tok` in `fpath`: zsh then runs it as the function that
/// completes, at the first Tab of a shell, and clap's would only define one (clap issue 5924).
fn zsh(text: String) -> String {
    let Some(name) = text.split_once("function ").and_then(|(_, rest)| rest.split_once("()")).map(|(name, _)| name)
    else {
        return text;
    };
    let register = format!("compdef {name} tok");
    let both = format!("if [[ \"${{funcstack[1]-}}\" == _tok ]]; then\n    {name} \"$@\"\nelse\n    {register}\nfi");
    text.replacen(&register, &both, 1)
}

/// Answers a shell that asks for completions of `args`; whether one did.
///
/// # Errors
/// [`Kind::Usage`] where it asks in another way than its script does.
pub fn answer(args: &[OsString], host: &Host) -> Result<bool> {
    if host.env.get(VARIABLE).is_none() {
        return Ok(false);
    }
    let config = config_path(host, None).and_then(|path| load_config(host, &path)).unwrap_or_default();
    let library = Library::new(host);
    let words = Words::of(args, host);
    let mut catalog = super::arguments::catalog(host, &library, &config, |name| words.needs(name));
    // A provider's flags stand behind its name, and no other's.
    catalog.values = words.named(&catalog).map(row_values).unwrap_or_default();
    let providers = library.names();
    let factory = move || command(&catalog, providers.clone(), &words);
    clap_complete::CompleteEnv::with_factory(factory)
        .var(VARIABLE)
        .try_complete(args.iter().cloned(), host.working_folder().as_deref())
        .map_err(|error| Error::new(Kind::Usage, "completion", escape(&error.to_string())).into())
}

/// The values that the grants of `row` take, each once.
fn row_values(row: &TargetRow) -> Vec<ValueRow> {
    let mut values: Vec<ValueRow> = Vec::new();
    for value in row.grants.iter().flat_map(|grant| &grant.values) {
        if !matches!(value.name.as_str(), "scope" | "refresh_token")
            && !values.iter().any(|known| known.name == value.name)
        {
            values.push(value.clone());
        }
    }
    values
}

/// What was typed.
#[derive(Clone)]
struct Words {
    /// The words before the one that is completed, from the command's own on.
    before: Vec<String>,
    /// Whether that one begins with `-`.
    is_flag: bool,
    /// Whether it is the name of a grant behind an option, so that all there are may be meant.
    is_grant: bool,
}

/// The variable in which the scripts of some shells say which word is completed; with the others it is the last.
const INDEX: &str = "_CLAP_COMPLETE_INDEX";

impl Words {
    fn of(args: &[OsString], host: &Host) -> Words {
        let behind = args.iter().position(|arg| arg == "--").map_or(args.len(), |at| at + 1);
        let typed: Vec<String> = args[behind..].iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let index = host.env.get(INDEX).and_then(|text| text.to_str()?.parse::<usize>().ok());
        let index = index.unwrap_or(typed.len().saturating_sub(1)).min(typed.len());
        let word = typed.get(index).map(String::as_str).unwrap_or_default();
        let is_flag = word.starts_with('-');
        let is_grant = word.starts_with("--grant=") || typed[..index].last().is_some_and(|last| last == "--grant");
        Words { before: typed[..index].to_vec(), is_flag, is_grant }
    }

    /// Whether more than the name of the profile or provider `name` is looked at.
    fn needs(&self, name: &str) -> bool {
        self.is_grant || self.before.iter().skip(2).any(|word| word == name)
    }

    /// The profile or provider that is named behind the command.
    fn named<'c>(&self, catalog: &'c Catalog) -> Option<&'c TargetRow> {
        self.before.iter().skip(2).find_map(|word| catalog.targets.iter().find(|row| row.name == *word))
    }

    /// Which value of the option `option` is completed, where it is one of it: 0 for the first.
    fn value_of(&self, option: &str) -> Option<usize> {
        let at = self.before.iter().rposition(|word| word.starts_with('-'))?;
        (self.before[at] == option).then(|| self.before.len() - at - 1)
    }
}

/// The stores that `--store` takes.
const STORES: [&str; 7] = ["keyring", "file", "none", "helper:", "vault:", "kubernetes:", "program:"];

/// The whole command with names that complete where they belong: profiles, providers, grants, stores. Options are
/// offered behind `-`, and where nothing else is.
fn command(catalog: &Catalog, providers: Vec<String>, words: &Words) -> clap::Command {
    let all = |row: &TargetRow| row.grants.iter().map(|grant| grant.name.clone()).collect::<Vec<_>>();
    let profiles: Vec<String> = catalog.targets.iter().map(|row| row.name.clone()).collect();
    let grants = match words.named(catalog) {
        Some(row) => all(row),
        None => catalog.targets.iter().flat_map(all).collect(),
    };
    let author = |option: &str| match words.value_of(option) {
        Some(1) => words.named(catalog).map(all).unwrap_or_default(),
        Some(2..) => Vec::new(),
        _ => profiles.clone(),
    };
    let names: Vec<(&str, Vec<String>)> = vec![
        ("try_grant", author("--try")),
        ("read", author("--read")),
        ("profile", profiles.clone()),
        ("grant", grants),
        ("store", STORES.map(str::to_string).to_vec()),
        ("move_to", STORES.map(str::to_string).to_vec()),
        ("providers", providers),
    ];
    // A subcommand for each of them takes time, and completes nothing elsewhere.
    let is_login = words.before.iter().any(|word| ["login", "help"].contains(&word.as_str()));
    let targets = if is_login { catalog.targets.clone() } else { Vec::new() };
    let mut command = crate::cli::command(&Catalog { values: catalog.values.clone(), targets }, None);
    // The arguments are made.
    command.build();
    let command = completed(command, &names, words);
    // There a profile is a subcommand of any name, behind which all is curl's.
    let profiles = move || profiles.iter().map(CompletionCandidate::new).collect::<Vec<_>>();
    command.mut_subcommand("curl", |c| c.add(SubcommandCandidates::new(profiles.clone())))
}

/// `command` and what is below it, with `names` for the arguments of these ids.
fn completed(mut command: clap::Command, names: &[(&str, Vec<String>)], words: &Words) -> clap::Command {
    let is_providers = command.get_name() == "providers";
    command = command.mut_args(|arg| {
        // The provider of `tok providers` is called NAME, as much else is.
        let is_profile = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "PROFILE"));
        let id = match arg.get_id().as_str() {
            "name" if is_providers => "providers",
            _ if is_profile => "profile",
            id => id,
        };
        let known = names.iter().find(|(name, _)| *name == id).map(|(_, names)| names.clone());
        let arg = match known {
            Some(names) => arg.add(candidates(names)),
            None => arg,
        };
        // The engine leaves out what is hidden as long as something else fits.
        if words.is_flag || arg.is_positional() { arg } else { arg.hide(true) }
    });
    let below: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_string()).collect();
    for name in below {
        command = command.mut_subcommand(name, |below| completed(below, names, words));
    }
    command
}

fn candidates(mut names: Vec<String>) -> ArgValueCandidates {
    names.sort();
    names.dedup();
    ArgValueCandidates::new(move || names.iter().map(CompletionCandidate::new).collect::<Vec<_>>())
}
