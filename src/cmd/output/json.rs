//! Everything that is known of a token, as one JSON object.

use super::{Answer, TokenSource};
use crate::base::secret::Secret;
use serde_json::{Value, json};

pub fn write(answer: &Answer) -> String {
    let token = &answer.token;
    let at = token.expires.at();
    let object = json!({
        "profile": answer.profile,
        "provider": token.provider,
        "grant": token.grant,
        "access_token": token.access_token.expose(),
        "token_type": token.token_type,
        "expires_at": at.map(crate::base::date::show),
        "expires_at_unix": at,
        "expires_in": at.map(|at| (at - answer.now).max(0)),
        "scope": token.scope,
        "header": pairs(token.headers().take(usize::from(!token.header.0.is_empty()))).pop(),
        "headers": pairs(token.headers()),
        "query": pairs(&token.query),
        "hosts": token.hosts,
        "source": match answer.source {
            TokenSource::Cache => "cache",
            TokenSource::Refresh => "refresh",
            TokenSource::Grant => "grant",
        },
        "extra": token.extra,
    });
    crate::base::text::json(&object)
}

fn pairs<'a>(all: impl IntoIterator<Item = &'a (String, Secret)>) -> Vec<Value> {
    all.into_iter().map(|(name, value)| json!({ "name": name, "value": value.expose() })).collect()
}
