//! A token as it is cached, shown and used: of what the provider has issued.

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::oauth::reply::Issued;
use crate::profile::Profile;
use crate::provider::template::Gap;
use crate::provider::{Grant, Template};
use crate::session::found;
use crate::session::inputs::Inputs;
use crate::session::kept;
use crate::token::identity::TokenIdentity;
use crate::token::{IdToken, Token};
use anyhow::Result;

/// The token as it is cached and shown.
///
/// # Errors
/// [`Kind::Config`] where the request header cannot be made; [`Kind::Reply`] where a token is not bound to the key as
/// was asked (RFC 9449 §5).
pub fn cached(
    profile: &Profile,
    grant: &Grant,
    issued: &Issued,
    identity: TokenIdentity,
    inputs: &Inputs,
) -> Result<Token> {
    let usage = &profile.provider.usage;
    let bound = issued.token_type.as_deref().is_some_and(|sort| sort.eq_ignore_ascii_case("dpop"));
    if inputs.dpop_key.is_some() && !bound {
        let what = "the token cannot be used";
        return Err(Error::new(Kind::Reply, what, "it is not bound to the key, as --dpop true requires")
            .hint("if the server does not support DPoP, use --dpop false")
            .into());
    }
    let kept = kept::values(&profile.provider, issued, inputs);
    let value = |name: &str| match name {
        "access_token" => Some(issued.access_token.expose()),
        _ => kept.get(name).map(Secret::expose).or(inputs.get(name)),
    };
    let filled = |what: &str, name: &str, template: &Template| {
        let wrong = |kind: Kind, why: String| {
            let error = Error::new(kind, format!("the {what} {name} cannot be made"), why);
            match kind {
                Kind::Reply => {
                    error.hint(format!("look at `extra` and [use]: tok providers {} --toml", profile.provider.name))
                }
                _ => error,
            }
        };
        // What a reply should have told is its fault, not the file's.
        let is_told = |name: &str| profile.provider.is_extra(name) && profile.param(name).is_none();
        match template.fill(value) {
            Ok(text) if text.contains(['\r', '\n', '\0']) => {
                let any = template.names().any(|(name, _)| is_told(name));
                Err(wrong(if any { Kind::Reply } else { Kind::Config }, "it would hold a line break or NUL".into()))
            }
            Ok(text) => Ok(Some(text)),
            Err(Gap::Dropped) => Ok(None),
            Err(Gap::Missing(name)) if is_told(&name) => {
                Err(wrong(Kind::Reply, format!("it needs {name}, which the reply does not have")))
            }
            Err(Gap::Missing(name)) => Err(wrong(Kind::Config, format!("it needs {name}, which is not given"))),
        }
    };
    let all = |what: &str, entries: &[(String, Template)]| -> Result<Vec<(String, Secret)>> {
        let entry = |(name, template): &(String, Template)| {
            Ok(filled(what, name, template)?.map(|text| (name.clone(), Secret::new(text))))
        };
        entries.iter().filter_map(|pair| entry(pair).transpose()).collect()
    };
    let mut header = match usage.header.is_empty() {
        true => String::new(),
        false => filled("header", &usage.header, &usage.value)?
            .ok_or_else(|| Error::new(Kind::Config, format!("the header {}", usage.header), "has no value"))?,
    };
    if let Some(token) = header.strip_prefix("Bearer ").filter(|_| bound) {
        header = format!("DPoP {token}");
    }
    let mut extra = issued.extra.clone();
    // What the login told and a refresh does not tell again.
    for (name, text) in &kept {
        if profile.provider.is_extra(name) {
            extra.entry(name.clone()).or_insert_with(|| text.expose().into());
        }
    }
    for (name, value) in found::extras(profile, inputs) {
        extra.entry(name).or_insert(value);
    }
    Ok(Token {
        provider: profile.provider.name.clone(),
        grant: grant.name.clone(),
        access_token: issued.access_token.clone(),
        token_type: issued.token_type.clone(),
        scope: issued.scope.clone(),
        received: issued.received,
        expires: issued.expires,
        header: (usage.header.clone(), Secret::new(header)),
        more_headers: all("header", &usage.headers)?,
        query: all("query parameter", &usage.query)?,
        hosts: profile.hosts_told(&kept, &identity.url),
        id_token: issued.id_token.clone().map(|text| IdToken { text, verified: false }),
        dpop_key: inputs.dpop_key.clone(),
        extra,
        identity,
    })
}
