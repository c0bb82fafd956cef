//! The values that a login lacks: asked for on a terminal, named without one.

use crate::base::error::{Error, Kind};
use crate::base::secret::{Lines, Secret};
use crate::base::text::escape;
use crate::host::{Host, Stdin};
use crate::profile::{Given, Profile, Source};
use crate::provider::{Auth, Flow, Grant, Param};
use crate::session::hints;
use crate::session::open_store::OpenStore;
use crate::system::terminal::Echo;
use anyhow::Result;

/// What `grant` misses where nobody can be asked. `again`: the command to run then.
pub(super) fn cannot_ask(
    host: &Host,
    profile: &Profile,
    missing: &[String],
    opened: &OpenStore,
    (grant, again): (&Grant, &str),
) -> Error {
    let mut why = format!("{} not given, and there is no terminal to ask on", hints::they_are(missing));
    let elsewhere = missing.iter().find(|m| opened.credentials.secrets.contains_key(*m));
    if let (Some(value), Some(home)) = (elsewhere, &opened.credentials.secrets_for) {
        let client = opened.credentials.secrets_client.as_ref().map(|client| format!(" and the client {client}"));
        why.push_str(&format!("; the kept {value} is for {home}{} only", client.unwrap_or_default()));
    }
    if let Some(store) = hints::kept_elsewhere(host, profile, missing) {
        let (looked, by) = (&profile.store, hints::chosen_by(host, profile));
        why.push_str(&format!("; it is in the {store} store, and this call looked in the {looked} store ({by})"));
    }
    for variable in &profile.empty {
        why.push_str(&format!("; {variable} is set but empty"));
    }
    if let Some(near) = hints::near_miss(host, profile, missing) {
        why.push_str(&format!("; {near} is set, and is not read for it"));
    }
    let lacks = |value: &str| missing.iter().any(|name| name == value);
    let other = match () {
        () if grant.assertion.is_some() && lacks("private_key") => {
            "give an assertion from elsewhere with --assertion-file PATH, or "
        }
        () if grant.call.auth == Auth::Auto && lacks("client_secret") => "give a key with --private-key-file PATH, or ",
        () => "",
    };
    let register = lacks("client_id").then(|| registration(profile)).flatten();
    let register = register.map(|text| format!("{text}; then ")).unwrap_or_default();
    let variables: Vec<String> = missing.iter().map(|name| profile.ways(name)).collect();
    let flags: String = missing.iter().map(|name| flag(profile, name)).collect();
    Error::new(Kind::LoginNeeded, format!("{} needs {}", profile.provider.name, missing.join(" and ")), why)
        .hint(format!("{register}{other}set {}, or run: {again}{flags}", variables.join(" and ")))
}

/// The flag that gives the value `name`, as it follows a command.
pub(super) fn flag(profile: &Profile, name: &str) -> String {
    let dashed = name.replace('_', "-");
    match profile.param(name).is_some_and(|p| p.secret) {
        true => format!(" --{dashed}-file PATH"),
        false => format!(" --{dashed} VALUE"),
    }
}

/// A value of what is kept, as one that was given.
pub(super) fn kept_value(text: &str) -> Given {
    Given { text: Some(vec![Secret::new(text)]), source: Source::Store }
}

/// Asks for a secret of which one is kept; an empty answer keeps that one.
pub(super) fn prompt_again(host: &mut Host, profile: &Profile, name: &str) -> Result<Option<Given>> {
    let Some(param) = profile.param(name) else { return Ok(None) };
    let label = label(param);
    if param.lines {
        let label = format!("{label}, the file that holds it (Enter keeps the current one)");
        return match host.ask(&label, Echo::On)? {
            Some(path) => read_file(host, profile, param, &path).map(Some),
            None => Ok(None),
        };
    }
    let answer = host.ask(&format!("{label} (Enter keeps the current one)"), Echo::Off)?;
    let Some(answer) = answer else { return Ok(None) };
    let given = Given { text: Some(vec![answer]), source: Source::Asked };
    profile.check_value(param, &given)?;
    Ok(Some(given))
}

fn label(param: &Param) -> String {
    if param.help.is_empty() { param.name.replace('_', " ") } else { param.help.clone() }
}

pub(super) fn prompt(host: &mut Host, profile: &Profile, name: &str) -> Result<Given> {
    let Some(param) = profile.param(name) else {
        return Err(Error::new(Kind::Config, format!("{} has no value {name}", profile.provider.name), "").into());
    };
    let choices = if param.choices.is_empty() { String::new() } else { format!(" ({})", param.choices.join(", ")) };
    let label = match registration(profile).filter(|_| name == "client_id") {
        Some(text) => format!("{} ({text})", label(param)),
        None => label(param),
    };
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

/// Where a client is registered, and with which redirect URI if this login has one, as far as that is known.
fn registration(profile: &Profile) -> Option<String> {
    let is_here = profile.default_grant().flow == Flow::AuthorizationCode;
    let uri = profile.provider.redirect_uri(&|name| profile.value(name)).filter(|_| is_here);
    match (&profile.provider.about.register, uri) {
        (Some(page), Some(uri)) => {
            Some(format!("register a client at {} with the redirect URI {}", escape(page), escape(&uri)))
        }
        (Some(page), None) => Some(format!("register a client at {}", escape(page))),
        (None, Some(uri)) => Some(format!("register a client with the redirect URI {}", escape(&uri))),
        (None, None) => None,
    }
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
    let path = host
        .ask(&format!("{label}, the file that holds it"), Echo::On)?
        .ok_or_else(|| missing_answer(profile, &param.name, "the answer was empty"))?;
    read_file(host, profile, param, &path)
}

fn read_file(host: &mut Host, profile: &Profile, param: &Param, path: &Secret) -> Result<Given> {
    let missing = |why: &str| missing_answer(profile, &param.name, why);
    let file = std::path::Path::new(path.expose().trim());
    let text = host.read_secret_file(file, Stdin::Refused, Lines::Many).map_err(|failed| missing(&failed.why))?;
    if crate::profile::is_exposed(param, file) {
        host.terminal.warn(&format!("{}: {}", profile.name, crate::profile::exposed(&param.name, file)));
    }
    Ok(Given { text: Some(vec![text]), source: Source::Asked })
}
