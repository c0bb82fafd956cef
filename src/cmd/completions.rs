//! `tok completions`: the script of a shell. It asks the program itself, so that profiles, providers and grants
//! complete as they are at that moment.

use crate::base::error::{Error, Kind};
use crate::base::text::escape;
use crate::cli::{Catalog, Shell};
use crate::host::Host;
use crate::profile::{Library, config_path, load_config};
use anyhow::Result;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
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
    let catalog = super::arguments::catalog(host, &library, &config);
    let providers = library.names();
    let factory = move || command(&catalog, providers.clone());
    clap_complete::CompleteEnv::with_factory(factory)
        .var(VARIABLE)
        .try_complete(args.iter().cloned(), host.working_folder().as_deref())
        .map_err(|error| Error::new(Kind::Usage, "completion", escape(&error.to_string())).into())
}

/// The whole command with names that complete: profiles, the `providers`, and the grants of all of them.
fn command(catalog: &Catalog, providers: Vec<String>) -> clap::Command {
    fn names(mut names: Vec<String>) -> ArgValueCandidates {
        names.sort();
        names.dedup();
        ArgValueCandidates::new(move || names.iter().map(CompletionCandidate::new).collect::<Vec<_>>())
    }
    let profiles: Vec<String> = catalog.targets.iter().map(|row| row.name.clone()).collect();
    let grants: Vec<String> =
        catalog.targets.iter().flat_map(|row| &row.grants).map(|grant| grant.name.clone()).collect();
    let mut command = crate::cli::command(catalog, None);
    // The arguments are made.
    command.build();
    for (verb, arg, choice) in [
        ("get", "profile", &profiles),
        ("header", "profile", &profiles),
        ("logout", "profile", &profiles),
        ("setup", "profile", &profiles),
        ("show", "profile", &profiles),
        ("providers", "name", &providers),
        ("get", "grant", &grants),
        ("header", "grant", &grants),
    ] {
        command = command.mut_subcommand(verb, |c| c.mut_arg(arg, |a| a.add(names(choice.clone()))));
    }
    command
}
