//! What a login takes out of a reply or a redirect for the requests that follow.

use crate::base::error::{self, Error, Kind};
use crate::base::secret::Secret;
use crate::oauth::found;
use crate::oauth::reply;
use crate::profile::{Given, Profile, Source};
use crate::provider::{Grant, Kept};
use crate::session::exchange::Answer;
use crate::session::inputs::Inputs;
use crate::session::open_store::origin;
use anyhow::Result;
use serde_json::{Map, Value};

/// Takes the values `keep` of `grant` out of `answer` into `inputs`.
///
/// # Errors
/// [`Kind::Reply`] where one that is needed is missing, or one cannot be used.
pub fn keep(profile: &Profile, grant: &Grant, keep: &[Kept], answer: &Answer, inputs: &mut Inputs) -> Result<()> {
    for kept in keep {
        match found::in_reply(kept, &answer.value, &answer.response) {
            Some(text) => {
                let text = found::checked(&profile.provider, kept, &text, Some(&answer.from), inputs.values());
                let text = text.map_err(|why| unusable(&answer.from, kept, &why))?;
                inputs.set(&kept.name, &text);
            }
            None if grant.names().get(&kept.name) == Some(&false) => {
                return Err(lacks(profile, answer, &format!("{} {}", kept.name, found::place(kept))).into());
            }
            None => {}
        }
    }
    Ok(())
}

/// Takes what a redirect brought beside the code into `inputs`.
///
/// # Errors
/// [`Kind::Reply`] where one that is needed is missing, or one cannot be used.
pub fn beside(profile: &Profile, grant: &Grant, found: &[(String, Secret)], inputs: &mut Inputs) -> error::Result<()> {
    for kept in &grant.redirect.keep {
        match found.iter().find(|(name, _)| *name == kept.name) {
            Some((name, text)) => {
                let text = found::checked(&profile.provider, kept, text.expose(), None, inputs.values());
                let wrong = |why: String| {
                    let why = format!("its {name} {why}");
                    Error::new(Kind::Reply, "the login response cannot be used", why).hint(SITES)
                };
                inputs.set(name, &text.map_err(wrong)?);
            }
            None if grant.names().get(&kept.name) == Some(&false) => {
                let what = format!("it has no {} ({})", found::place(kept).trim_start_matches("at "), kept.name);
                return Err(Error::new(Kind::Reply, "the login response cannot be used", what)
                    .hint(format!("log in again: {}", profile.login_command(Some(grant)))));
            }
            None => {}
        }
    }
    Ok(())
}

/// Gives `profile` the values of `[params]` that this login has found, to be kept with the others.
pub fn remember(profile: &mut Profile, grant: &Grant, inputs: &Inputs) {
    let from = profile.session_url(inputs.values()).as_deref().and_then(origin).unwrap_or_default();
    for name in grant.keeps().map(|kept| &kept.name) {
        let (Some(_), Some(text)) = (profile.param(name), inputs.get(name)) else { continue };
        let given = Given { text: Some(vec![Secret::new(text)]), source: Source::Login(from.clone()) };
        profile.given.insert(name.clone(), given);
    }
}

/// The plain ones among the values that the logins of this provider find and keep: a token is shown with them.
pub fn extras(profile: &Profile, inputs: &Inputs) -> Vec<(String, Value)> {
    let keeps = profile.provider.grants.iter().flat_map(Grant::keeps);
    let plain = keeps.filter(|kept| profile.param(&kept.name).is_some_and(|param| !param.secret));
    let text = |name: &str| inputs.get(name).map(str::to_string).or_else(|| profile.value(name));
    plain.filter_map(|kept| Some((kept.name.clone(), text(&kept.name)?.into()))).collect()
}

/// What to do about a URL of another place.
const SITES: &str =
    "check that this is the right server; the provider file names the domains that it trusts with `sites`";

/// The error for a value that was found and cannot be used.
pub fn unusable(from: &str, kept: &Kept, why: &str) -> Error {
    Error::new(Kind::Reply, format!("the reply from {from} cannot be used"), format!("its {} {why}", kept.name))
        .hint(SITES)
}

/// The error for a reply without `what`.
pub fn lacks(profile: &Profile, answer: &Answer, what: &str) -> Error {
    let from = &answer.from;
    let empty = Map::new();
    let there = reply::instead(match &answer.value {
        Value::Object(object) => object,
        _ => &empty,
    });
    Error::new(Kind::Reply, format!("the reply from {from} cannot be read"), format!("no {what}{there}"))
        .hint(format!("check that {from} is the right server{}", profile.to_see()))
}
