//! `tok completions`: the script of a shell. It asks the program itself, so that profiles, providers and grants
//! complete as they are at that moment.

use crate::base::error::{Error, Kind, Result};
use crate::cli::{LoginTarget, Shape, Shell, ValueFlag};
use crate::host::Host;
use crate::profile::Library;
use crate::profile::config::Config;
use crate::provider::{Grant, Provider, built_in};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use std::collections::BTreeSet;

/// The variable by which a shell's script asks. It does not begin with `TOK_`, as it is no setting.
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
        _ => Err(Error::new(Kind::Other, format!("there is no completion for {}", shell.name()), "")),
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

/// The whole command with names that complete: profiles, the `providers`, and the grants of all of them.
pub fn command(shape: &Shape, providers: Vec<String>) -> clap::Command {
    fn names(mut names: Vec<String>) -> ArgValueCandidates {
        names.sort();
        names.dedup();
        ArgValueCandidates::new(move || names.iter().map(CompletionCandidate::new).collect::<Vec<_>>())
    }
    let profiles: Vec<String> = shape.logins.iter().map(|l| l.name.clone()).collect();
    let grants: Vec<String> = shape.logins.iter().flat_map(|l| &l.grants).map(|(name, ..)| name.clone()).collect();
    let mut command = crate::cli::command(shape);
    for (verb, arg, choice) in [
        ("get", "profile", &profiles),
        ("header", "profile", &profiles),
        ("logout", "profile", &profiles),
        ("show", "profile", &profiles),
        ("providers", "name", &providers),
        ("get", "grant", &grants),
        ("header", "grant", &grants),
    ] {
        command = command.mut_subcommand(verb, |c| c.mut_arg(arg, |a| a.add(names(choice.clone()))));
    }
    command
}

/// What all known providers and profiles bring to the command line; broken files bring nothing.
pub fn shape(host: &Host, library: &Library, config: &Config) -> Shape {
    let mut shape = Shape::default();
    let names: BTreeSet<String> = library.names().into_iter().chain(config.profiles.keys().cloned()).collect();
    for name in names {
        add_named(&mut shape, host, library, config, &name);
    }
    shape
}

/// What the profile or provider `name` brings; nothing where there is none, or its file is broken.
pub fn add_named(shape: &mut Shape, host: &Host, library: &Library, config: &Config, name: &str) {
    let own = config.profiles.get(name).and_then(|p| p.provider.as_deref());
    let Ok(Some(loaded)) = library.provider(host, own.unwrap_or(name)) else { return };
    let provider = &loaded.provider;
    let about = match own.filter(|of| *of != name) {
        Some(of) => format!("{} (a profile of {of})", provider.title),
        None => provider.title.clone(),
    };
    add(shape, name, &about, provider);
}

/// What the built-in providers bring: for man pages.
pub fn built_in_shape() -> Shape {
    let mut shape = Shape::default();
    let mut names: Vec<&str> = built_in().map(|(name, _)| name).collect();
    names.sort_unstable();
    for name in names {
        if let Some(Ok(provider)) = Provider::built_in(name) {
            add(&mut shape, name, &provider.title, &provider);
        }
    }
    shape
}

/// What one provider brings, under the name of a profile.
fn add(shape: &mut Shape, name: &str, about: &str, provider: &Provider) {
    for flag in provider.params.iter().filter_map(|p| flag_of(provider, &p.name)) {
        if flag.name == "scope" || is_taken(&flag.name) {
            continue;
        }
        match shape.values.iter_mut().find(|known| known.name == flag.name) {
            None => shape.values.push(flag),
            // Of several providers none speaks for the others.
            Some(known) => {
                if known.help != flag.help {
                    known.help.clear();
                }
                if known.choices != flag.choices {
                    known.choices.clear();
                }
                known.default = known.default.take().filter(|default| Some(default) == flag.default.as_ref());
            }
        }
    }
    let grant = |g: &Grant| {
        let mut used = provider.uses(g);
        used.extend(provider.uses_besides());
        // In the order of the file, the refresh token last.
        let names = provider.params.iter().map(|p| p.name.as_str()).chain(["refresh_token"]);
        let flags = names.filter(|n| used.contains_key(*n) && !is_taken(n)).filter_map(|n| flag_of(provider, n));
        (g.name.clone(), crate::base::text::escape(&g.help), flags.collect())
    };
    shape.logins.push(LoginTarget {
        name: name.into(),
        about: crate::base::text::escape(about),
        grants: provider.grants.iter().map(grant).collect(),
    });
}

fn flag_of(provider: &Provider, name: &str) -> Option<ValueFlag> {
    if name == "refresh_token" {
        let help = "A refresh token from elsewhere".to_string();
        return Some(ValueFlag {
            name: name.into(),
            secret: true,
            list: false,
            help,
            choices: Vec::new(),
            default: None,
        });
    }
    provider.param(name).map(|p| ValueFlag {
        name: p.name.clone(),
        secret: p.secret,
        list: p.list,
        help: crate::base::text::escape(&p.help),
        choices: p.choices.clone(),
        default: p.default.as_ref().map(|d| crate::base::text::escape(&d.to_string())),
    })
}

/// Names of options that are tok's own: a value of such a name has no flag, only its variable and the config.
fn is_taken(name: &str) -> bool {
    const OWN: &[&str] = &[
        "as",
        "keep",
        "config",
        "store",
        "grant",
        "timeout",
        "fresh",
        "offline",
        "no_store",
        "output",
        "json",
        "name",
        "write",
        "verbose",
        "quiet",
        "no_input",
        "color",
        "help",
        "version",
        "profile",
        "method",
        "url",
        "nonce",
        "no_browser",
        "introspect",
        "userinfo",
    ];
    OWN.contains(&name)
}
