//! `tok doctor`: what does not work here, and how to mend it. One file a group of checks; a check is a function that
//! returns what it found. Nothing is changed, and nobody is asked.

mod config;
mod environment;
mod folders;
mod network;
mod profiles;
mod stores;

use crate::base::error::{self, Error, Kind};
use crate::base::text::{json, line, lines};
use crate::cli::{Doctor, Global};
use crate::host::Host;
use crate::profile::config::Config;
use crate::profile::{self, Library, Profile, Setup, Wishes};
use crate::storage::index::{Index, IndexEntry};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// What works: shown to people, and no finding.
    Fine,
    /// It concerns another environment, or the future.
    Warning,
    /// Something will not work.
    Error,
}

/// What a check found.
#[derive(Clone, Debug)]
struct Finding {
    level: Level,
    /// The thing.
    what: String,
    /// What is wrong with it; may be empty.
    why: String,
    /// How to mend it.
    hint: String,
}

impl Finding {
    fn new(level: Level, what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding { level, what: what.into(), why: why.into(), hint: hint.into() }
    }

    fn fine(what: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding::new(Level::Fine, what, why, "")
    }

    fn warning(what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding::new(Level::Warning, what, why, hint)
    }

    fn error(what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding::new(Level::Error, what, why, hint)
    }

    /// An error of another command, with its hint or, where it has none, `hint`.
    fn of(level: Level, error: &anyhow::Error, hint: &str) -> Finding {
        // What was being done, then what went wrong.
        let said = format!("{error:#}");
        let (what, why) = match error.downcast_ref::<Error>() {
            Some(own) if said == own.to_string() => (own.what.clone(), own.why.clone()),
            _ => said.split_once(": ").map_or((said.clone(), String::new()), |(a, b)| (a.into(), b.into())),
        };
        Finding::new(level, what, why, error::hint(error).unwrap_or(hint))
    }
}

/// A profile in use: one in the config, one with something stored, or one that the environment gives a value.
struct Subject {
    name: String,
    /// Whether the config has it.
    is_configured: bool,
    /// What is stored for it, by the index.
    noted: Option<IndexEntry>,
    profile: Result<Profile>,
}

/// What the checks look at.
struct Visit<'h> {
    host: &'h mut Host,
    online: bool,
    /// What is wrong with the config, if anything is.
    config_error: Option<anyhow::Error>,
    setup: Setup,
    subjects: Vec<Subject>,
}

/// One check.
type Check = fn(&mut Visit) -> Vec<Finding>;

/// All of them, in the order of the answer.
const CHECKS: &[Check] = &[
    config::config,
    config::provider_files,
    folders::home,
    folders::own_folders,
    folders::room,
    folders::locks,
    folders::network_file_system,
    folders::clock,
    stores::stores,
    profiles::broken,
    profiles::orphans,
    profiles::stored_elsewhere,
    profiles::logins,
    profiles::commands,
    profiles::exposed,
    environment::variables,
    environment::path,
    environment::curl,
    environment::session_bus,
    environment::cron,
    network::settings,
    network::endpoints,
];

/// Runs all checks and prints what they found.
///
/// # Errors
/// [`Kind::Other`] where something will not work, after the answer.
pub fn run(host: &mut Host, global: &Global, args: &Doctor) -> Result<()> {
    // A prompt would change what is to be looked at.
    host.terminal.interactive = false;
    let mut visit = Visit::new(host, global, args);
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|check| check(&mut visit)).collect();
    let mut said = BTreeSet::new();
    findings.retain(|finding| said.insert((finding.what.clone(), finding.why.clone())));
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    let text = if args.json { to_json(&findings) } else { lines(&to_text(&findings)) };
    host.terminal.print(&text)?;
    match errors {
        0 => Ok(()),
        1 => Err(Error::new(Kind::Other, "1 error found", "").into()),
        count => Err(Error::new(Kind::Other, format!("{count} errors found"), "").into()),
    }
}

fn to_json(findings: &[Finding]) -> String {
    let object = |finding: &Finding| {
        json!({
            "level": if finding.level == Level::Error { "error" } else { "warning" },
            "what": finding.what,
            "why": finding.why,
            "hint": finding.hint,
        })
    };
    json(&Value::Array(findings.iter().filter(|finding| finding.level != Level::Fine).map(object).collect()))
}

fn to_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Fine => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let why = if finding.why.is_empty() { String::new() } else { format!(": {}", finding.why) };
        text.push_str(&format!("{level:<9}{}\n", line(&format!("{}{why}", finding.what))));
        if !finding.hint.is_empty() {
            text.push_str(&format!("         hint: {}\n", line(&finding.hint)));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let some = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    text.push_str(&match (count(Level::Error), count(Level::Warning)) {
        (0, 0) => "no problems found\n".to_string(),
        (0, warnings) => format!("no errors, {}\n", some(warnings, "warning")),
        (errors, warnings) => format!("{}, {}\n", some(errors, "error"), some(warnings, "warning")),
    });
    text
}

impl<'h> Visit<'h> {
    fn new(host: &'h mut Host, global: &Global, args: &Doctor) -> Visit<'h> {
        let mut setup = Setup { library: Library::new(host), ..Setup::default() };
        let config_error = load(host, global, &mut setup).err();
        host.set_store_settings(crate::profile::stores::settings(host, &setup.config));
        let names = used_names(host, &setup);
        let subjects = names.into_iter().map(|name| subject(host, &setup, name)).collect();
        Visit { host, online: args.online, config_error, setup, subjects }
    }

    /// The profiles that can be used.
    fn profiles(&self) -> impl Iterator<Item = (&Subject, &Profile)> {
        self.subjects.iter().filter_map(|subject| Some((subject, subject.profile.as_ref().ok()?)))
    }
}

/// Reads the config into `setup`.
fn load(host: &Host, global: &Global, setup: &mut Setup) -> Result<()> {
    setup.config_path = profile::config_path(host, global.config.as_deref())?;
    setup.config = profile::load_config(host, &setup.config_path)?;
    let named = if global.config.is_some() { "--config" } else { "TOK_CONFIG" };
    let is_named = global.config.is_some() || host.var("TOK_CONFIG")?.is_some();
    if is_named && !setup.config_path.exists() {
        let what = format!("no config file {}", setup.config_path.display());
        return Err(Error::new(Kind::Config, what, format!("{named} names it")).into());
    }
    Ok(())
}

/// The profiles in use.
fn used_names(host: &Host, setup: &Setup) -> BTreeSet<String> {
    let Config { profiles, .. } = &setup.config;
    let mut names: BTreeSet<String> = profiles.keys().cloned().collect();
    names.extend(Index::profiles(host.folders().ok()));
    // A provider of whose values one is set is used without a config.
    let set: Vec<&str> = host.env.own_names().collect();
    let is_set = |name: &String| {
        let start = profile::variable(name, "");
        set.iter().any(|variable| variable.starts_with(&start))
            && values_of(host, setup, name).keys().any(|v| set.contains(&v.as_str()))
    };
    names.extend(setup.library.names().into_iter().filter(is_set));
    names
}

/// The variables of the profile or provider `name`, with the values that they give.
fn values_of(host: &Host, setup: &Setup, name: &str) -> BTreeMap<String, String> {
    let provider = setup.config.profiles.get(name).and_then(|own| own.provider.as_deref()).unwrap_or(name);
    let Ok(Some(loaded)) = setup.library.provider(host, provider) else { return BTreeMap::new() };
    let own = loaded.provider.params.iter().map(|param| param.name.as_str()).chain(["refresh_token"]);
    own.flat_map(|value| {
        let variable = profile::variable(name, value);
        [(format!("{variable}_FILE"), value.to_string()), (variable, value.to_string())]
    })
    .collect()
}

fn subject(host: &Host, setup: &Setup, name: String) -> Subject {
    let noted = Index::of(host.folders().ok(), &name).read();
    let is_configured = setup.config.profiles.contains_key(&name);
    let provider = noted.as_ref().filter(|n| !is_configured && !n.provider.is_empty()).map(|n| n.provider.clone());
    let wishes = Wishes { provider, ..Wishes::default() };
    let profile = Profile::resolve(host, setup, &name, &wishes);
    Subject { name, is_configured, noted, profile }
}

/// `path` as it is typed in a shell.
fn quoted(path: &Path) -> String {
    let shown = path.to_string_lossy();
    shlex::try_quote(&shown).unwrap_or(shown.clone()).into_owned()
}
