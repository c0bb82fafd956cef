//! The profiles: which cannot be used, which need a person, now or soon.

use super::{Finding, Level, Subject, Visit, quoted, stores};
use crate::base::duration;
use crate::base::text::escape;
use crate::profile::config::ConfigValue;
use crate::profile::{self, Profile};
use crate::session::plan::{self, Situation, Step};
use crate::session::status::{self, Readiness};
use crate::storage::cache::Cache;
use crate::storage::index::IndexEntry;
use crate::system::files;
use crate::system::program;
use crate::token::Expires;
use std::ffi::OsStr;

/// The `PATH` of a cron job (crontab(5)).
pub(super) const CRON_PATH: &str = "/usr/bin:/bin";

/// How soon is soon, in seconds.
const SOON: i64 = 7 * 86_400;

/// Profiles that cannot be used, whatever is stored for them.
pub(super) fn broken(visit: &mut Visit) -> Vec<Finding> {
    let library = &visit.setup.library;
    let mut findings = Vec::new();
    for subject in visit.subjects.iter().filter(|subject| !is_orphan(visit, subject)) {
        let Err(error) = &subject.profile else { continue };
        let own = visit.setup.config.profiles.get(&subject.name).and_then(|own| own.provider.clone());
        // Told with the provider files.
        if library.provider(visit.host, own.as_ref().unwrap_or(&subject.name)).is_err() {
            continue;
        }
        let hint = match subject.is_configured {
            true => format!("edit [profile.{}] in {}", subject.name, quoted(&visit.setup.config_path)),
            false => format!("look at it: tok show {}", subject.name),
        };
        findings.push(Finding::of(Level::Error, error, &hint));
    }
    findings
}

/// Whether something is stored for a name that is neither a profile nor a provider any more.
fn is_orphan(visit: &Visit, subject: &Subject) -> bool {
    let is_known = subject.is_configured
        || visit.setup.library.names().contains(&subject.name)
        // Where the config cannot be read, nothing is known of it.
        || visit.config_error.is_some();
    !is_known && subject.noted.is_some()
}

/// What is stored for profiles that are no more.
pub(super) fn orphans(visit: &mut Visit) -> Vec<Finding> {
    let orphans = visit.subjects.iter().filter(|subject| is_orphan(visit, subject));
    let finding = |subject: &Subject| {
        let name = &subject.name;
        let provider = subject.noted.as_ref().map(|noted| noted.provider.as_str()).unwrap_or_default();
        Finding::warning(
            name,
            "a session is stored for it, and the config has no such profile",
            format!(
                "delete it: tok logout {name}; or add to {}: [profile.{name}] provider = \"{}\"",
                quoted(&visit.setup.config_path),
                escape(provider)
            ),
        )
    };
    orphans.map(finding).collect()
}

/// Sessions in another store than the one that is looked in.
pub(super) fn stored_elsewhere(visit: &mut Visit) -> Vec<Finding> {
    // Where the config cannot be read, nothing is known of what it says.
    if visit.config_error.is_some() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (subject, profile) in visit.profiles() {
        let Some(noted) = subject.noted.as_ref().filter(|noted| stores::holds(noted)) else { continue };
        let configured = profile.store.to_string();
        if noted.store.is_empty() || noted.store == configured {
            continue;
        }
        let name = &subject.name;
        let why = format!("its session is in the {} store, and {configured} is configured", noted.store);
        let hint = format!("use that one: TOK_STORE={} tok get {name}; or log in again: tok login {name}", noted.store);
        findings.push(Finding::error(name, why, hint));
    }
    findings
}

/// The values that are known without a person.
fn is_known(profile: &Profile, noted: Option<&IndexEntry>, name: &str) -> bool {
    (profile.given.contains_key(name) && !profile.is_off(name))
        || noted.is_some_and(|noted| noted.secrets.iter().any(|secret| secret == name))
}

/// What of a session can be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Its refresh token.
    RefreshToken,
    /// Nothing.
    Nothing,
}

/// What a call for a token would do: `None` where it needs nobody, else the name of the grant, and what is missing for it.
fn need(profile: &Profile, noted: Option<&IndexEntry>, held: Held) -> Option<(String, Vec<String>)> {
    let known = |name: &str| is_known(profile, noted, name);
    let situation = Situation {
        provider: &profile.provider,
        asked: None,
        configured: profile.config.grant.as_deref(),
        refresh_token: held == Held::RefreshToken,
        contradiction: None,
        known: &known,
    };
    match plan::next(&situation) {
        Step::LoginNeeded(grant, missing) => Some((grant.name.clone(), missing)),
        Step::Refresh | Step::Run(_) => None,
    }
}

/// Whether a token comes without anything that was stored.
pub(super) fn runs_alone(profile: &Profile) -> bool {
    need(profile, None, Held::Nothing).is_none()
}

/// Profiles that need a person, now or soon.
pub(super) fn logins(visit: &mut Visit) -> Vec<Finding> {
    // Where the config cannot be read, nothing is known of what it says.
    if visit.config_error.is_some() {
        return Vec::new();
    }
    let now = visit.host.clock.now().secs();
    let mut findings = Vec::new();
    for (subject, profile) in visit.profiles().filter(|(subject, _)| !is_orphan(visit, subject)) {
        let noted = subject.noted.as_ref();
        let ends = noted.filter(|noted| noted.refresh_token).and_then(|noted| noted.refresh_expires_at);
        let has_token = noted.is_some_and(|noted| noted.refresh_token);
        let is_over = ends.is_some_and(|at| at <= now);
        let held = if has_token && !is_over { Held::RefreshToken } else { Held::Nothing };
        let login = |grant: &str| format!("tok login {} {grant}", subject.name);
        // What the provider said last is told in the words of `tok status`.
        if let Some(refusal) = noted.and_then(|noted| noted.refusal.as_ref()) {
            let status = status::of(visit.host, profile, noted);
            if status.readiness == Readiness::LoginNeeded {
                let ago = duration::show((now - refusal.at).max(0));
                let why = format!("{} ({ago} ago)", status.reason.unwrap_or_default());
                findings.push(Finding::error(&subject.name, why, format!("log in again: tok login {}", subject.name)));
                continue;
            }
        }
        if let Some((grant, missing)) = need(profile, noted, held) {
            let cached = visit.host.folders().ok().map(|folders| Cache::new(folders.cache(&subject.name)));
            let token = profile.known().ok().zip(cached).and_then(|(known, cache)| cache.find(&known));
            let left = token.and_then(|(_, token)| match token.expires {
                Expires::At(at) if at > now => Some(duration::show(at - now)),
                Expires::Never => Some(String::new()),
                _ => None,
            });
            let missing: Vec<&str> = missing.iter().map(String::as_str).filter(|n| *n != "refresh_token").collect();
            let why = match (ends, left) {
                (_, Some(left)) if left.is_empty() => continue,
                (_, Some(left)) => {
                    let why = format!("needs a login in {left}, when its token expires");
                    findings.push(Finding::warning(&subject.name, why, format!("log in before: {}", login(&grant))));
                    continue;
                }
                (Some(at), None) if is_over => format!("its session expired {} ago", duration::show(now - at)),
                _ if missing.is_empty() => "not logged in".to_string(),
                _ => format!("not logged in: needs {}", missing.join(" and ")),
            };
            let set: Vec<String> = missing.iter().map(|name| profile.ways(name)).collect();
            let set = if set.is_empty() { String::new() } else { format!("set {}, or ", set.join(" and ")) };
            findings.push(Finding::error(&subject.name, why, format!("{set}run: {}", login(&grant))));
        } else if let Some(needed) = Some(status::of(visit.host, profile, noted))
            && needed.readiness == Readiness::LoginNeeded
            && noted.is_some_and(|noted| noted.store == profile.store.to_string())
        {
            // What is stored is for another server, say.
            let hint = format!("log in again: {}", needed.login);
            findings.push(Finding::error(&subject.name, needed.reason.unwrap_or_default(), hint));
        } else if let Some(at) = ends.filter(|at| *at <= now + SOON)
            && let Some((grant, _)) = need(profile, noted, Held::Nothing)
        {
            let why = format!("its session expires in {}", duration::show(at - now));
            findings.push(Finding::warning(&subject.name, why, format!("log in before: {}", login(&grant))));
        }
        if let Some(grant) = noted.and_then(|noted| noted.refused.as_ref()) {
            let why = format!("its stored secret was refused at the last login ({})", escape(grant));
            let hint = format!("log in with the new one: tok login {} {}", subject.name, escape(grant));
            findings.push(Finding::error(&subject.name, why, hint));
        }
    }
    findings
}

/// Commands of the config that are not there: here, or for a cron job.
pub(super) fn commands(visit: &mut Visit) -> Vec<Finding> {
    let path = visit.host.env.get("PATH");
    let mut findings = Vec::new();
    for (name, own) in &visit.setup.config.profiles {
        for (value, (given, at)) in &own.values {
            let ConfigValue::Command(words) = given else { continue };
            let Some(program) = words.first() else { continue };
            let what = format!("{at}: the command for {value} of {name}");
            let shown = escape(program);
            if program::on_path(OsStr::new(program), path).is_none() {
                let hint = format!("install {shown}, or write its whole path there");
                findings.push(Finding::error(what, format!("program not found: {shown}"), hint));
            } else if cfg!(unix) && program::on_path(OsStr::new(program), Some(OsStr::new(CRON_PATH))).is_none() {
                let why = format!("a cron job does not find {shown}: its PATH is {CRON_PATH}");
                let found = program::on_path(OsStr::new(program), path).unwrap_or_default();
                findings.push(Finding::warning(what, why, format!("write its whole path there: {}", quoted(&found))));
            }
        }
    }
    findings
}

/// Files with a key that others can read, and the config where a secret itself stands in it.
pub(super) fn exposed(visit: &mut Visit) -> Vec<Finding> {
    let mut findings = Vec::new();
    let config = &visit.setup.config_path;
    let holds = |profile: &Profile| {
        let secrets = profile.provider.params.iter().filter(|param| param.secret).map(|param| param.name.as_str());
        secrets.chain(["refresh_token"]).find_map(|name| match profile.config.values.get(name) {
            Some((ConfigValue::Text(text), at)) if !text.expose().is_empty() => Some((name.to_string(), at.clone())),
            _ => None,
        })
    };
    if let Some((name, at)) = visit.profiles().find_map(|(_, profile)| holds(profile))
        && files::is_open_to_others(config)
    {
        let why = format!("{name} is in a file that others can read or change");
        findings.push(Finding::warning(at, why, format!("chmod 600 {}", quoted(config))));
    }
    for (subject, own) in visit.profiles() {
        for (name, file) in &own.exposed {
            let said = profile::exposed(name, file);
            let (why, hint) = said.split_once(": ").unwrap_or((&said, ""));
            findings.push(Finding::warning(&subject.name, why, hint));
        }
    }
    findings
}
