//! The values that a login lacks: asked for on a terminal, named without one.

use crate::base::error::{Error, Kind};
use crate::base::secret::Lines;
use crate::base::secret::Secret;
use crate::host::{Host, Stdin};
use crate::profile::{Given, Profile, Source};
use crate::provider::{Auth, Grant, Param};
use crate::session::open_store::OpenStore;
use crate::system::terminal::Echo;
use anyhow::Result;

pub(super) fn cannot_ask(profile: &Profile, grant: &Grant, missing: &[String], opened: &OpenStore) -> Error {
    let elsewhere = missing.iter().find(|m| opened.credentials.secrets.contains_key(*m));
    let mut why = format!("the grant {} lacks {}", grant.name, missing.join(" and "));
    if let (Some(value), Some(home)) = (elsewhere, &opened.credentials.secrets_for) {
        let client = opened.credentials.secrets_client.as_ref().map(|client| format!(", for the client {client}"));
        why.push_str(&format!("; the kept {value} goes to {home} alone{}", client.unwrap_or_default()));
    }
    for variable in &profile.empty {
        why.push_str(&format!("; {variable} is set but empty"));
    }
    let ways: Vec<String> = missing
        .iter()
        .map(|name| {
            let dashed = name.replace('_', "-");
            match profile.param(name).is_some_and(|p| p.secret) {
                true => format!("--{dashed}-file PATH (or {})", profile.ways(name)),
                false => format!("--{dashed} VALUE (or {})", profile.ways(name)),
            }
        })
        .collect();
    let lacks = |value: &str| missing.iter().any(|name| name == value);
    let other = match () {
        () if grant.assertion.is_some() && lacks("private_key") => {
            "; or an assertion from elsewhere: --assertion-file PATH"
        }
        () if grant.call.auth == Auth::Auto && lacks("client_secret") => "; or a key: --private-key-file PATH",
        () => "",
    };
    Error::new(Kind::LoginNeeded, "a value is missing, and nobody can be asked for it", why)
        .hint(format!("give {}{other}", ways.join(" and ")))
}

pub(super) fn prompt(host: &mut Host, profile: &Profile, name: &str) -> Result<Given> {
    let Some(param) = profile.param(name) else {
        return Err(Error::new(Kind::Config, format!("there is no value {name}"), "").into());
    };
    let choices = if param.choices.is_empty() { String::new() } else { format!(" ({})", param.choices.join(", ")) };
    let label = if param.help.is_empty() { name.replace('_', " ") } else { param.help.clone() };
    if param.lines {
        return prompt_file(host, profile, param, &label);
    }
    let Some(answer) = host.ask(&format!("{label}{choices}"), if param.secret { Echo::Off } else { Echo::On })? else {
        return Err(missing_answer(profile, name, "the answer was empty").into());
    };
    // A name that was copied has a space at its end easily; a password may well end in one.
    let answer = if param.secret { answer } else { Secret::new(answer.expose().trim()) };
    if answer.expose().is_empty() {
        return Err(missing_answer(profile, name, "the answer was empty").into());
    }
    let given = Given { text: Some(vec![answer]), source: Source::Asked };
    profile.check_value(param, &given)?;
    Ok(given)
}

/// A prompt without an answer.
pub(super) fn missing_answer(profile: &Profile, name: &str, why: &str) -> Error {
    let flag = name.replace('_', "-");
    let file = if profile.param(name).is_some_and(|p| p.secret) { "-file PATH" } else { " VALUE" };
    Error::new(Kind::LoginNeeded, format!("{name} is missing"), why)
        .hint(format!("answer it, or give --{flag}{file}, or set {}", profile.ways(name)))
}

/// A value of several lines cannot be typed: the file that holds it is asked for.
pub(super) fn prompt_file(host: &mut Host, profile: &Profile, param: &Param, label: &str) -> Result<Given> {
    let missing = |why: &str| missing_answer(profile, &param.name, why);
    let path = host
        .ask(&format!("{label}, the file that holds it"), Echo::On)?
        .ok_or_else(|| missing("the answer was empty"))?;
    let file = std::path::Path::new(path.expose().trim());
    let text = host.read_secret_file(file, Stdin::Refused, Lines::Many).map_err(|failed| missing(&failed.why))?;
    if crate::profile::is_exposed(param, file) {
        host.terminal.warn(&format!("{}: {}", profile.name, crate::profile::exposed(&param.name, file)));
    }
    Ok(Given { text: Some(vec![text]), source: Source::Asked })
}
