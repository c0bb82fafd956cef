//! The command line's definition: the fixed commands, and what profiles and providers bring to them as rows.

use super::client::{self, Registers};
use super::output::ALSO_VALUES;
use super::types::{Cli, LoginArgs};
use crate::base::text::escape;
use clap::builder::PossibleValue;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Arg, ArgAction, Args, Command, CommandFactory};
use std::path::PathBuf;

/// The columns that help is wrapped at: the terminal's, limited to what is readable and to what two
/// columns of text need.
const COLUMNS: std::ops::RangeInclusive<usize> = 40..=100;

/// As in cargo: headings bold, literals in bold cyan.
const STYLES: Styles = Styles::plain()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// How a value is given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `--x VALUE`
    One,
    /// `--x VALUE`, which may be repeated.
    List,
    /// `--x-file PATH`: no flag takes a secret.
    Secret,
}

/// A value that can be given on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRow {
    /// Its name, with `_`.
    pub name: String,
    /// How it is given.
    pub kind: ValueKind,
    /// One line for `--help`.
    pub help: String,
    /// The allowed values; empty: any.
    pub choices: Vec<String>,
    /// The default, for `--help`.
    pub default: Option<String>,
}

/// A grant of a [`TargetRow`].
#[derive(Clone, Debug)]
pub struct GrantRow {
    /// Its name.
    pub name: String,
    /// Another name for it.
    pub short: Option<&'static str>,
    /// One line for `--help`.
    pub help: String,
    /// The values it takes.
    pub values: Vec<ValueRow>,
}

/// What `tok login` accepts.
#[derive(Clone, Debug)]
pub struct TargetRow {
    /// A profile or a provider.
    pub name: String,
    /// One line for `--help`.
    pub about: String,
    /// Its grants, the default first.
    pub grants: Vec<GrantRow>,
    /// Whether a client may be registered.
    pub registers: Registers,
}

impl TargetRow {
    /// One whose name alone is looked at.
    pub fn named(name: String, about: String) -> TargetRow {
        TargetRow { name, about, grants: Vec::new(), registers: Registers::Never }
    }
}

/// What profiles and providers add to the command line.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The values that `get` and `header` take.
    pub values: Vec<ValueRow>,
    /// What `login` takes.
    pub targets: Vec<TargetRow>,
}

/// The whole command, with what is in `catalog`. Its help is `columns` wide, or as the terminal.
pub fn command(catalog: &Catalog, columns: Option<usize>) -> Command {
    let mut command = Cli::command().styles(STYLES).max_term_width(*COLUMNS.end());
    if let Some(columns) = columns {
        command = command.term_width(columns.clamp(*COLUMNS.start(), *COLUMNS.end()));
    }
    if !catalog.values.is_empty() {
        let values = || catalog.values.iter().map(|row| value_arg(row, "Provider values")).collect::<Vec<_>>();
        let others = || values().into_iter().filter(|arg| !ALSO_VALUES.contains(&arg.get_id().as_str()));
        command = command.mut_subcommand("get", |c| c.args(others()));
        for verb in ["header", "exec", "curl"] {
            command = command.mut_subcommand(verb, |c| c.args(values()));
        }
    }
    if !catalog.targets.is_empty() {
        let targets = catalog.targets.iter().map(login_command).collect::<Vec<_>>();
        command = command.mut_subcommand("login", |c| c.subcommands(targets));
    }
    command
}

fn login_command(target: &TargetRow) -> Command {
    if target.grants.is_empty() {
        return Command::new(target.name.clone()).about(escape(&target.about));
    }
    let mut all: Vec<ValueRow> = Vec::new();
    for row in target.grants.iter().flat_map(|grant| &grant.values) {
        if !all.iter().any(|known| known.name == row.name) {
            all.push(row.clone());
        }
    }
    let about = escape(&target.about);
    let usage = format!("tok login {} [GRANT] [OPTIONS]", target.name);
    let mut command = Command::new(target.name.clone())
        .about(about.clone())
        .long_about(format!("Log in to {about} and remember the session"))
        .args(all.iter().map(|row| value_arg(row, "Values")))
        .args(client::args(target.registers))
        .args(login_args())
        .disable_help_subcommand(true)
        .subcommand_value_name("GRANT")
        .subcommand_help_heading("Grants, the first is the default")
        .override_usage(usage);
    for grant in &target.grants {
        let help = escape(&grant.help);
        command = command.subcommand(
            Command::new(grant.name.clone())
                .visible_aliases(grant.short)
                .about(help.clone())
                .long_about(format!("Log in to {about}. {help}").trim_end_matches([' ', '.']).to_string())
                .args(grant.values.iter().map(|row| value_arg(row, "Values")))
                .args(client::args(target.registers))
                .args(login_args()),
        );
    }
    command
}

/// The options of `login`, which may stand at each level.
fn login_args() -> Vec<Arg> {
    LoginArgs::augment_args(Command::new("login")).get_arguments().cloned().collect()
}

fn value_arg(row: &ValueRow, heading: &str) -> Arg {
    let dashed = row.name.replace('_', "-");
    let arg = if row.kind == ValueKind::Secret {
        Arg::new(format!("{}_file", row.name))
            .long(format!("{dashed}-file"))
            .value_name("PATH")
            .value_parser(clap::value_parser!(PathBuf))
            .value_hint(clap::ValueHint::FilePath)
            .help(format!("{}, from this file (- for stdin)", help(row)))
    } else {
        let arg = Arg::new(row.name.clone()).long(dashed).value_name("VALUE").action(ArgAction::Append);
        let repeated = if row.kind == ValueKind::List { "; may be repeated" } else { "" };
        let arg = arg.help(format!("{}{repeated}", help(row)));
        if row.choices.is_empty() {
            arg
        } else {
            // Empty, it is switched off.
            let choices = row.choices.iter().map(PossibleValue::new).chain([PossibleValue::new("").hide(true)]);
            arg.value_parser(clap::builder::PossibleValuesParser::new(choices))
        }
    };
    arg.help_heading(heading.to_string())
}

fn help(row: &ValueRow) -> String {
    let text = if row.help.is_empty() { name_for_people(&row.name) } else { escape(&row.help) };
    match &row.default {
        Some(default) => format!("{text} [default: {}]", escape(default)),
        None => text,
    }
}

/// The name as people write it: `Client ID`.
fn name_for_people(name: &str) -> String {
    let mut words: Vec<String> = name.split('_').map(str::to_string).collect();
    for (at, word) in words.iter_mut().enumerate() {
        match word.as_str() {
            "id" | "url" => word.make_ascii_uppercase(),
            // A value's name begins with a letter.
            _ if at == 0 => word[..1].make_ascii_uppercase(),
            _ => {}
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let row = |name: &str, kind| ValueRow {
            name: name.into(),
            kind,
            help: "A value of the provider that takes some words to say what it is good for".into(),
            choices: Vec::new(),
            default: None,
        };
        let values = vec![row("client_id", ValueKind::One), row("client_secret", ValueKind::Secret)];
        let grant = GrantRow {
            name: "client-credentials".into(),
            short: None,
            help: "As itself".into(),
            values: values.clone(),
        };
        let target = TargetRow {
            name: "shop".into(),
            about: "A\u{1b}[2Jshop".into(),
            grants: vec![grant],
            registers: Registers::Always,
        };
        Catalog { values, targets: vec![target] }
    }

    #[test]
    fn the_definition_is_sound() {
        command(&Catalog::default(), None).debug_assert();
        command(&catalog(), None).debug_assert();
    }

    #[test]
    fn help_wraps_at_words_for_any_width() {
        for columns in [40, 50, 80, 100] {
            for path in [&[][..], &["get"], &["login"], &["login", "shop"], &["login", "shop", "client-credentials"]] {
                let mut command = command(&catalog(), Some(columns));
                command.build();
                let mut at = &mut command;
                for name in path {
                    at = at.find_subcommand_mut(name).expect("a command");
                }
                for line in at.render_long_help().to_string().lines() {
                    // What is not wrapped: the usage, which is typed in one line, and one word.
                    let is_whole = line.starts_with("Usage:") || !line.trim_start().contains(' ');
                    assert!(line.chars().count() <= columns || is_whole, "{columns}: {line}");
                }
            }
        }
    }

    #[test]
    fn the_text_of_a_provider_cannot_reach_the_terminal() {
        let mut command = command(&catalog(), Some(80));
        command.build();
        let help = command.find_subcommand_mut("login").expect("login").render_help().ansi().to_string();
        assert!(help.contains("A\\u{1b}[2Jshop") && !help.contains("\u{1b}[2J"), "{help}");
    }
}
