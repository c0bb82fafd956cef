//! The choice of what to log in to, and how, for a person who has named neither.

use super::prompt;
use crate::base::error::{Error, Kind};
use crate::base::text::escape_to;
use crate::cmd::{Context, overview};
use crate::host::Host;
use crate::profile::Profile;
use crate::profile::discovery::Copies;
use crate::provider::{Field, Grant};
use crate::session::plan;
use crate::system::choose::Choice;
use anyhow::Result;
use std::collections::BTreeSet;

/// Asks what to log in to: the name of a profile or provider. Profiles come first, then the featured providers, then the
/// others by name.
///
/// # Errors
/// [`Kind::Usage`] where nobody can be asked, [`Kind::LoginNeeded`] where nothing was chosen.
pub(super) fn target(context: &mut Context) -> Result<String> {
    if !context.host.terminal.interactive {
        return Err(Error::new(
            Kind::Usage,
            "tok login needs a profile or provider",
            "there is no terminal to choose on",
        )
        .hint("name it: tok login PROVIDER (list them: tok providers)")
        .into());
    }
    let names = overview::names(context);
    // A broken one cannot be logged in to; it is warned about where it is used.
    let rows: Vec<overview::Row> =
        names.iter().filter_map(|name| overview::row(context, name, overview::Look::Noted).ok()).collect();
    let mut choices: Vec<Choice> = rows.iter().map(profile).collect();
    let taken: BTreeSet<String> = choices.iter().map(|choice| choice.name.clone()).collect();
    let mut providers = context.setup.library.summaries(context.host);
    providers.retain(|provider| !taken.contains(&provider.name));
    // By name they are already.
    providers.sort_by_key(|provider| provider.featured.unwrap_or(i64::MAX));
    choices.extend(providers.into_iter().map(|provider| Choice {
        name: provider.name,
        about: escape_to(&provider.title, 80),
        also: String::new(),
    }));
    let chosen = context.host.choose("Log in to", &choices)?;
    chosen.and_then(|at| choices.get(at)).map(|choice| choice.name.clone()).ok_or_else(|| cancelled().into())
}

fn profile(row: &overview::Row) -> Choice {
    let of = Some(&row.provider).filter(|of| **of != row.profile).cloned();
    let words: Vec<String> =
        [of, row.status.account.clone(), Some(row.status.words().into())].into_iter().flatten().collect();
    Choice { name: row.profile.clone(), about: words.join(", "), also: row.provider.clone() }
}

fn cancelled() -> Error {
    Error::new(Kind::LoginNeeded, "login cancelled", "nothing was chosen, and nothing was changed")
}

/// Asks for the grant, where a person named none and there are several. One that stands in the config is taken.
///
/// # Errors
/// [`Kind::LoginNeeded`] where nothing was chosen.
pub(super) fn grant(host: &mut Host, profile: &Profile) -> Result<Grant> {
    let provider = &profile.provider;
    let refresh = provider.refresh_grant();
    let offered: Vec<&Grant> = provider.grants.iter().filter(|grant| is_offered(profile, grant)).collect();
    let others = offered.iter().filter(|grant| refresh != Some(**grant)).count();
    if profile.config.grant.is_some() || others < 2 {
        let only = offered.iter().find(|grant| refresh != Some(**grant));
        let first = only.filter(|_| profile.config.grant.is_none());
        return Ok(first.map_or_else(|| profile.default_grant().clone(), |grant| (*grant).clone()));
    }
    // The refresh token comes from elsewhere: rarely what is meant.
    let (last, first): (Vec<&Grant>, Vec<&Grant>) = offered.into_iter().partition(|grant| refresh == Some(grant));
    let grants: Vec<&Grant> = first.into_iter().chain(last).collect();
    let choices: Vec<Choice> = grants
        .iter()
        .map(|grant| Choice {
            name: grant.flow.short_name().unwrap_or(&grant.name).to_string(),
            about: about(profile, grant),
            also: grant.name.clone(),
        })
        .collect();
    let chosen = host.choose("How", &choices)?;
    chosen.and_then(|at| grants.get(at)).map(|grant| (*grant).clone()).ok_or_else(|| cancelled().into())
}

/// What a grant does, and what it needs of a person.
fn about(profile: &Profile, grant: &Grant) -> String {
    let missing = plan::missing(&profile.provider, grant, &|name| profile.given.contains_key(name));
    let missing: Vec<&str> = missing
        .iter()
        .map(String::as_str)
        .filter(|name| profile.param(name).is_none_or(|p| p.metadata.is_none()))
        .collect();
    let help = escape_to(&grant.help, 80);
    match missing.is_empty() {
        true => help,
        false => format!("{help}; needs {}", missing.join(", ")),
    }
}

/// Whether the server offers `grant`, as far as its metadata say (RFC 8414 §2: `grant_types_supported`, and the endpoints).
fn is_offered(profile: &Profile, grant: &Grant) -> bool {
    let Some(metadata) = &profile.metadata else { return true };
    let missing = plan::missing(&profile.provider, grant, &|name| profile.given.contains_key(name));
    if profile.not_offered(grant, &missing).is_some() {
        return false;
    }
    // One whose list is missing says nothing: many leave it out, whatever they offer.
    match (metadata.list("grant_types_supported"), grant_type(grant)) {
        (Some(supported), Some(own)) => supported.contains(&own),
        _ => true,
    }
}

/// The `grant_type` of its request, where the file has it as it is.
fn grant_type(grant: &Grant) -> Option<String> {
    let (_, field) = grant.call.body.iter().find(|(name, _)| name == "grant_type")?;
    match field {
        Field::Text(template) => template.fill(|_| None).ok(),
        _ => None,
    }
}

/// Asks for the issuer, and then which of the grants it is to be that its metadata offer.
///
/// # Errors
/// As [`grant`] and [`Profile::discover`].
pub(super) fn issuer_and_grant(host: &mut Host, profile: &mut Profile) -> Result<Grant> {
    let given = prompt::prompt(host, profile, "issuer")?;
    profile.given.insert("issuer".into(), given);
    let names = profile.default_grant().names();
    profile.discover(host, names, Copies::Refused)?;
    grant(host, profile)
}
