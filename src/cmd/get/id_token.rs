//! The ID token of a session: good now, and verified.

use crate::base::error::{Error, Kind};
use crate::cli::TokenArgs;
use crate::cmd::Context;
use crate::cmd::token::{Got, find_or_acquire, resolve};
use crate::oauth::reply::claims;
use crate::profile::discovery::Copies;
use crate::session::acquire::{TokenSource, verify_id_token};
use crate::session::inputs::{For, fill};
use crate::token::Expires;
use anyhow::Result;
use std::collections::BTreeMap;

/// The answer with an ID token that is good now and verified.
pub(super) fn with_id_token(context: &mut Context, args: &TokenArgs, mut got: Got) -> Result<Got> {
    let is_over = |got: &Got| {
        let end = got.answer.token.id_token.as_ref().and_then(|id| claims::expiry(id.text.expose()));
        end.is_none_or(|end| end <= got.answer.now)
    };
    // A newer one may come with a newer access token.
    if is_over(&got) && got.answer.source == TokenSource::Cache && !args.offline {
        got = {
            let profile = resolve(context, args)?;
            find_or_acquire(context, &TokenArgs { fresh: true, ..args.clone() }, profile)?
        };
    }
    let name = &got.answer.profile.clone();
    let again = format!("log in again with the scope openid: tok login {name}");
    let Some(id) = got.answer.token.id_token.clone() else {
        return Err(Error::new(Kind::LoginNeeded, "no ID token", "none came with the access token").hint(again).into());
    };
    if is_over(&got) {
        return Err(Error::new(Kind::LoginNeeded, "the ID token has expired", "none came with the last refresh")
            .hint(again)
            .into());
    }
    if !id.verified && args.offline {
        return Err(Error::new(
            Kind::LoginNeeded,
            "the ID token has not been verified",
            "this may need the issuer's keys from the network, and --offline is given",
        )
        .hint(format!("use the network: tok get {name} -o id-token"))
        .into());
    }
    if !id.verified {
        let names = [("jwks_url".to_string(), false)].into();
        got.profile.discover(context.host, names, Copies::Allowed)?;
        let grant = got.profile.provider.grant(&got.answer.token.grant).unwrap_or(got.profile.default_grant()).clone();
        let inputs = fill(context.host, &got.profile, For::Call(&grant.call), &BTreeMap::new(), &[]);
        let inputs = inputs.map(|mut inputs| {
            if let Some(issuer) = got.profile.value("issuer") {
                inputs.set("issuer", &issuer);
            }
            inputs
        })?;
        let access = &got.answer.token.access_token;
        if !verify_id_token(context.host, &got.profile, &id.text, Some(access), &inputs)? {
            return Err(Error::new(
                Kind::Reply,
                "the ID token cannot be verified",
                "the issuer's keys are unknown or cannot be fetched now",
            )
            .hint("it needs issuer, client_id and jwks_url (usually from the issuer's metadata)")
            .into());
        }
    }
    Ok(got)
}

/// The answer with its ID token in the place of the access token.
pub(super) fn in_place(mut got: Got) -> Got {
    let token = &mut got.answer.token;
    if let Some(id) = token.id_token.clone() {
        token.expires = claims::expiry(id.text.expose()).map_or(Expires::Unknown, Expires::At);
        token.header =
            ("Authorization".into(), crate::base::secret::Secret::new(format!("Bearer {}", id.text.expose())));
        (token.more_headers, token.query) = (Vec::new(), Vec::new());
        token.access_token = id.text;
        // It is bound to no key.
        (token.dpop_key, token.token_type) = (None, None);
    }
    got
}
