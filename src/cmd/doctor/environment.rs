//! The environment: variables, PATH, the session bus, and what a cron job would have of it.

use super::profiles::CRON_PATH;
use super::{Finding, Level, Visit, quoted, values_of};
use crate::base::text::{escape, nearest};
use crate::profile::{Source, variable};
use crate::storage::choice::StoreChoice;
#[cfg(all(unix, not(target_os = "macos")))]
use crate::system::bus;
use crate::system::{machine, program};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Variables that are no value of a profile.
const SETTINGS: [&str; 3] = ["TOK_STORE", "TOK_CACHE", "TOK_CONFIG"];

/// Variables of `tok` that nothing reads, and those that are set but empty.
pub(super) fn variables(visit: &mut Visit) -> Vec<Finding> {
    let setup = &visit.setup;
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let names: BTreeSet<String> =
        setup.library.names().into_iter().chain(setup.config.profiles.keys().cloned()).collect();
    for name in names.iter().chain(visit.subjects.iter().map(|subject| &subject.name)) {
        let values = values_of(visit.host, setup, name);
        known.extend(values.into_keys().map(|variable| (variable, name.clone())));
    }
    let mut findings = Vec::new();
    for name in visit.host.env.own_names() {
        let is_empty = visit.host.env.is_set_but_empty(name);
        let shown = escape(name);
        match known.get(name) {
            // An empty setting is the default.
            _ if SETTINGS.contains(&name) => {}
            Some(profile) if is_empty => {
                let level = match lacks(visit, profile, name) {
                    true => Level::Error,
                    false => Level::Warning,
                };
                let why = format!("it is set but empty, which counts as not set (a value of {profile})");
                findings.push(Finding::new(level, shown.clone(), why, format!("give it its value, or: unset {shown}")));
            }
            Some(_) => {}
            None => {
                let near = near(name, known.keys().chain(SETTINGS.map(String::from).iter()).map(String::as_str));
                let hint = match near {
                    Some(near) => format!("did you mean {near}? Else: unset {shown}"),
                    None => format!("the variables of a provider: tok providers NAME. Else: unset {shown}"),
                };
                findings.push(Finding::warning(shown.clone(), "it is set, and tok does not read it", hint));
            }
        }
    }
    findings
}

/// Whether `profile` lacks the value that the empty `variable` is for.
fn lacks(visit: &Visit, profile: &str, name: &str) -> bool {
    let subject = visit.profiles().find(|(subject, _)| subject.name == profile);
    subject.is_some_and(|(subject, own)| {
        let value = own.provider.params.iter().find(|param| {
            let own = variable(profile, &param.name);
            own == name || format!("{own}_FILE") == name
        });
        value.is_some_and(|param| {
            let is_stored =
                subject.noted.as_ref().is_some_and(|noted| noted.refresh_token || noted.secrets.contains(&param.name));
            let is_needed = own.provider.uses(own.default_grant()).get(&param.name) == Some(&false);
            !own.given.contains_key(&param.name) && param.default.is_none() && !is_stored && is_needed
        })
    })
}

/// The variable that `name` was probably meant for: one that has all of its words, and few more; else a near one.
fn near<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let known: Vec<&str> = known.collect();
    let words: Vec<&str> = name.split('_').collect();
    // TOK, a profile, and something of it.
    let has_all = |other: &&&str| words.len() > 2 && words.iter().all(|word| other.split('_').any(|one| one == *word));
    let all = known.iter().filter(has_all).min_by_key(|other| (other.ends_with("_FILE"), other.len()));
    all.copied().or_else(|| nearest(name, known.iter().copied())).map(str::to_string)
}

/// Whether a shell finds `tok`.
pub(super) fn path(visit: &mut Visit) -> Vec<Finding> {
    let path = visit.host.env.get("PATH").unwrap_or_default();
    let own = machine::program().and_then(|file| file.parent().map(Path::to_path_buf));
    let usual = visit.host.folders().ok().map(|folders| folders.home.join(".local/bin"));
    let usual = usual.filter(|folder| cfg!(unix) && folder.join("tok").is_file());
    let folders: BTreeSet<PathBuf> = own.into_iter().chain(usual).collect();
    let missing = folders.iter().filter(|folder| !machine::is_on_path(folder, path));
    let finding = |folder: &PathBuf| {
        let hint = match cfg!(unix) {
            true => format!("add to ~/.profile: PATH={}:\"$PATH\"", quoted(folder)),
            false => "add it to Path in the environment variables of your account".into(),
        };
        Finding::warning("PATH", format!("{} is not in it, and tok is there", folder.display()), hint)
    };
    missing.map(finding).collect()
}

/// Whether `tok curl` finds its curl.
pub(super) fn curl(visit: &mut Visit) -> Vec<Finding> {
    match program::on_path(OsStr::new("curl"), visit.host.env.get("PATH")) {
        Some(_) => Vec::new(),
        None => {
            let hint = "install curl (Debian: sudo apt install curl); `tok header` needs none";
            vec![Finding::warning("curl", "it is not on PATH, so `tok curl` will not work", hint)]
        }
    }
}

/// Whether the variable with the session bus is of a session that has ended.
pub(super) fn session_bus(visit: &mut Visit) -> Vec<Finding> {
    #[cfg(all(unix, not(target_os = "macos")))]
    if let Some(address) = visit.host.env.get(bus::ADDRESS).and_then(bus::dead_address) {
        let why = format!("nothing answers at {}: that session has ended", escape(address));
        let hint = match bus::address(None, visit.host.env.get(bus::RUNTIME)) {
            Ok(own) => format!("export {}={}", bus::ADDRESS, shlex::try_quote(&own).unwrap_or_default()),
            Err(_) => format!("unset {}", bus::ADDRESS),
        };
        return vec![Finding::warning(bus::ADDRESS, why, hint)];
    }
    let _ = visit;
    Vec::new()
}

/// What a cron job of this user would not have: HOME and a short PATH are all that it has (crontab(5)).
pub(super) fn cron(visit: &mut Visit) -> Vec<Finding> {
    if !cfg!(unix) || visit.subjects.is_empty() {
        return Vec::new();
    }
    let mut findings = cron_folders(visit);
    for name in SETTINGS.iter().filter(|name| visit.host.env.has(name)) {
        let value = visit.host.env.get(name).unwrap_or_default().to_string_lossy();
        if *name == "TOK_STORE" && StoreChoice::parse(&value).is_err() {
            continue;
        }
        let value = shlex::try_quote(&value).unwrap_or_default();
        let hint = format!("write it into the crontab too: {name}={value}");
        findings.push(Finding::warning(*name, "a cron job does not have it", hint));
    }
    findings.extend(cron_bus(visit));
    let program = machine::program();
    if let Some(program) =
        program.filter(|_| program::on_path(OsStr::new("tok"), Some(OsStr::new(CRON_PATH))).is_none())
    {
        let hint = format!("write its whole path there: {}", quoted(&program));
        findings.push(Finding::warning("tok", format!("a cron job does not find it: its PATH is {CRON_PATH}"), hint));
    }
    for (subject, profile) in visit.profiles() {
        let given = profile.given.values().filter_map(|given| match &given.source {
            Source::Env(name) | Source::EnvFile(name) | Source::ConfigEnv(name) => Some(name.as_str()),
            _ => None,
        });
        let given: Vec<&str> = given.collect();
        if !given.is_empty() {
            let why = format!("a cron job does not have {}", given.join(" and "));
            let hint = format!(
                "store it: tok login {0} --keep; or name a file or a command in [profile.{0}]: man tok-config",
                subject.name
            );
            findings.push(Finding::warning(&subject.name, why, hint));
        }
    }
    findings
}

/// Folders that a cron job would look for elsewhere.
fn cron_folders(visit: &Visit) -> Vec<Finding> {
    let Ok(folders) = visit.host.folders() else { return Vec::new() };
    let mut findings = Vec::new();
    for (name, usual) in
        [("XDG_CONFIG_HOME", ".config"), ("XDG_DATA_HOME", ".local/share"), ("XDG_STATE_HOME", ".local/state")]
    {
        let set = visit.host.env.get(name).map(Path::new).filter(|folder| folder.is_absolute());
        let usual = folders.home.join(usual);
        if let Some(set) = set.filter(|set| **set != usual) {
            let why = format!("it is {} here; a cron job looks in {}", set.display(), usual.display());
            let hint = format!("write it into the crontab too: {name}={}", quoted(set));
            findings.push(Finding::warning(name, why, hint));
        }
    }
    findings
}

/// Whether a cron job would reach the keyring, where something is in it.
fn cron_bus(visit: &Visit) -> Vec<Finding> {
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        let in_keyring = |noted: &crate::storage::index::IndexEntry| {
            super::stores::holds(noted) && noted.store == crate::storage::choice::StoreChoice::Keyring.to_string()
        };
        let user = visit.subjects.iter().find(|subject| subject.noted.as_ref().is_some_and(in_keyring));
        if let (Some(user), Err(_)) = (user, bus::address(None, None)) {
            let why = "a cron job does not reach it: there is no session bus at its usual place (/run/user)";
            let hint = format!(
                "keep this user's services running: loginctl enable-linger; or use a file: tok login {} --store file",
                user.name
            );
            return vec![Finding::warning("the keyring", why, hint)];
        }
    }
    let _ = visit;
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_was_probably_meant_is_named() {
        let known = ["TOK_XCOVER_CLIENT_ID", "TOK_XCOVER_CLIENT_SECRET", "TOK_XCOVER_CLIENT_SECRET_FILE", "TOK_STORE"];
        for (name, meant) in [
            ("TOK_XCOVER_SECRET", Some("TOK_XCOVER_CLIENT_SECRET")),
            ("TOK_XCOVER_CLIENT_SECRTE", Some("TOK_XCOVER_CLIENT_SECRET")),
            ("TOK_STOR", Some("TOK_STORE")),
            ("TOK_SOMETHING_ELSE_ENTIRELY", None),
        ] {
            assert_eq!(near(name, known.into_iter()).as_deref(), meant, "{name}");
        }
    }
}
