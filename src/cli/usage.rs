//! Errors of a command line, worded by tok from what clap knows about the mistake, never from what clap
//! would print.

use crate::base::error::{Error, Kind};
use crate::base::text::{escape, escape_to, nearest};
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use std::error::Error as _;

/// Why a command line is not run.
#[derive(Debug)]
pub enum Stop {
    /// Help or the version, which was asked for: belongs on stdout.
    Help(StyledStr),
    /// Help, as no command was named: belongs on stderr, with the status of wrong usage.
    NoCommand(StyledStr),
    /// Anything else.
    Error(Error),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Help(help) | Stop::NoCommand(help) => help.fmt(f),
            Stop::Error(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Stop {}

/// What `error` means to a person. `command` is the one that was read, with its arguments made, `words` what was typed
/// behind its name.
pub fn stop(error: &clap::Error, command: &Command, words: &[String]) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp => Stop::Help(help(error)),
        ErrorKind::DisplayVersion => Stop::Help(error.render()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Stop::NoCommand(help(error)),
        _ => {
            let (command, path) = named(command, words);
            Stop::Error(mistake(error, command, &path))
        }
    }
}

/// The help that `error` is. To clap, the last of several values is the optional one, always.
fn help(error: &clap::Error) -> StyledStr {
    const VALUES: (&str, &str) = ("<NAME> <GRANT> [REPLY]", "<NAME> [GRANT] <REPLY>");
    let help = error.render();
    let text = help.ansi().to_string();
    match text.contains(VALUES.0) {
        true => text.replace(VALUES.0, VALUES.1).into(),
        false => help,
    }
}

/// The word that is not a subcommand where one is expected, if that is the error.
pub fn typed(error: &clap::Error) -> Option<&str> {
    match error.kind() {
        ErrorKind::InvalidSubcommand => text(error, ContextKind::InvalidSubcommand),
        _ => None,
    }
}

/// The command and subcommands that `words` name, and how they are typed: `tok login purewl`.
fn named<'c>(command: &'c Command, words: &[String]) -> (&'c Command, String) {
    let mut named = (command, "tok".to_string());
    for word in words {
        let Some(below) = named.0.find_subcommand(word) else { break };
        named = (below, format!("{} {}", named.1, below.get_name()));
    }
    named
}

fn mistake(error: &clap::Error, command: &Command, path: &str) -> Error {
    // The name of an option as clap has it, `--min-ttl <DUR>`: of our own definitions, or without what was typed
    // behind it.
    let option = escape(text(error, ContextKind::InvalidArg).unwrap_or_default());
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    let mut why = String::new();
    let mut near = None;
    let what = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let typed = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let names = command.get_subcommands().map(Command::get_name);
            near = nearest(typed, names).map(|name| format!("{path} {name}"));
            format!("unknown command `{}`", escape_to(typed, 40))
        }
        ErrorKind::MissingSubcommand => format!("{path} needs a command"),
        // An argument in the wrong place may be a secret: it is not repeated.
        ErrorKind::UnknownArgument if !option.starts_with('-') => "unexpected argument".into(),
        ErrorKind::UnknownArgument => {
            let typed = option.trim_start_matches('-');
            near = nearest(typed, command.get_arguments().filter_map(Arg::get_long)).map(|name| format!("--{name}"));
            format!("unexpected argument `{}`", escape_to(&option, 60))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{option} needs a value"),
        ErrorKind::InvalidValue => {
            let valid = texts(error, ContextKind::ValidValue);
            near = nearest(value, valid.iter().copied()).map(escape);
            if !valid.is_empty() {
                why = format!("expected one of: {}", escape(&valid.join(", ")));
            }
            format!("invalid value `{}` for {option}", escape_to(value, 60))
        }
        ErrorKind::ValueValidation => {
            why = error.source().map(|why| escape(&why.to_string())).unwrap_or_default();
            format!("invalid value `{}` for {option}", escape_to(value, 60))
        }
        ErrorKind::TooManyValues => format!("{option} does not take a value"),
        ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!("wrong number of values for {option}")
        }
        ErrorKind::ArgumentConflict => match texts(error, ContextKind::PriorArg).join(", ") {
            prior if prior == option => format!("{option} cannot be used more than once"),
            prior => format!("{option} cannot be used with {prior}"),
        },
        ErrorKind::MissingRequiredArgument => {
            format!("missing argument: {}", texts(error, ContextKind::InvalidArg).join(", "))
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".into(),
        _ => "invalid usage".into(),
    };
    let hint = match near {
        Some(near) => format!("did you mean {near}? See: {path} --help"),
        None => format!("see: {path} --help"),
    };
    Error::new(Kind::Usage, what, why).hint(hint)
}

/// The text of that `kind`, where the error has one.
fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// The texts of that `kind`: none, one or several.
fn texts(error: &clap::Error, kind: ContextKind) -> Vec<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text],
        Some(ContextValue::Strings(texts)) => texts.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Catalog, command, first_look, parse};
    use std::ffi::OsString;

    fn said(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = parse(&args, &Catalog::default(), None).expect_err("a mistake");
        let mut command = command(&Catalog::default(), None);
        command.build();
        match stop(&error, &command, &first_look(&args).words) {
            Stop::Error(error) => format!("{error} | {}", error.hint.as_deref().unwrap_or_default()),
            Stop::Help(_) | Stop::NoCommand(_) => "help".into(),
        }
    }

    #[test]
    fn each_mistake_is_told_in_our_words() {
        for (line, expected) in [
            ("tok gte p", "unknown command `gte` | did you mean tok get? See: tok --help"),
            ("tok frobnicate", "unknown command `frobnicate` | see: tok --help"),
            ("tok get p q", "unexpected argument | see: tok get --help"),
            ("tok get p --ofline", "unexpected argument `--ofline` | did you mean --offline? See: tok get --help"),
            ("tok get p --secret=x", "unexpected argument `--secret` | see: tok get --help"),
            ("tok get p -Z", "unexpected argument `-Z` | see: tok get --help"),
            ("tok get", "missing argument: <PROFILE> | see: tok get --help"),
            ("tok get p --min-ttl", "--min-ttl <DUR> needs a value | see: tok get --help"),
            (
                "tok get p --timeout 0",
                "invalid value `0` for --timeout <DUR>: must be at least 1s | see: tok get --help",
            ),
            ("tok get p --offline=x", "--offline does not take a value | see: tok get --help"),
            ("tok get p --offline --fresh", "--offline cannot be used with --fresh | see: tok get --help"),
            ("tok get p --grant a --grant b", "--grant <GRANT> cannot be used more than once | see: tok get --help"),
            ("tok get --help", "help"),
            ("tok --version", "help"),
            ("tok", "help"),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
        assert!(said("tok get p -o jsn").ends_with(" | did you mean json? See: tok get --help"));
    }
}
