//! The command of a login, as a hint gives it again.

use super::prompt;
use crate::base::error::Error;
use crate::cmd::quoted;
use crate::host::Host;
use crate::profile::{Profile, Source};
use crate::provider::Grant;
use std::ffi::OsString;

/// The command line of this call, quoted for a shell.
pub(super) fn same_command(host: &Host) -> String {
    quoted(host.words.iter().skip(1))
}

/// The same with `target`, which was chosen.
pub(super) fn with_target(host: &Host, target: &str) -> String {
    let mut words: Vec<OsString> = host.words.iter().skip(1).cloned().collect();
    let at = words.iter().position(|word| word == "login").map_or(0, |at| at + 1);
    words.insert(at, target.into());
    quoted(words.iter())
}

/// The same without `--as NAME`.
pub(super) fn without_name(host: &Host) -> String {
    let mut is_name = false;
    quoted(host.words.iter().skip(1).filter(|word| {
        let was_name = std::mem::replace(&mut is_name, *word == "--as");
        !(was_name || is_name || word.to_str().is_some_and(|word| word.starts_with("--as=")))
    }))
}

/// `error` with the command of this login as its hint, where it has none.
pub(super) fn or_again(error: anyhow::Error, again: &str) -> anyhow::Error {
    match error.downcast::<Error>() {
        Ok(error) if error.hint.is_none() => error.hint(format!("run the same command again: {again}")).into(),
        Ok(error) => error.into(),
        Err(error) => error,
    }
}

/// What to try after a refusal: the same command, once what was refused is right.
pub(super) fn try_again(profile: &Profile, grant: &Grant, again: &str) -> String {
    let uses = profile.provider.uses(grant);
    let used = |name: &&str| uses.contains_key(*name);
    let names = profile.provider.params.iter().filter(|p| p.secret).map(|p| p.name.as_str());
    let secrets: Vec<&str> = names.chain(["refresh_token"]).filter(used).collect();
    // The one that was given is the one that was refused.
    let given = secrets.iter().find_map(|name| Some((*name, &profile.given.get(*name)?.source)));
    match (given, secrets.first()) {
        (Some((name, Source::Flag | Source::Asked)), _) => {
            format!("check {name}, then run the same command again: {again}")
        }
        (Some((name, source)), _) => {
            format!("check {name}, which comes from {source}, then run the same command again: {again}")
        }
        (None, Some(kept)) => format!("the kept {kept} may have changed: {again}{}", prompt::flag(profile, kept)),
        (None, None) => format!("check the values, then run the same command again: {again}"),
    }
}
