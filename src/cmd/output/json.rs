//! Everything that is known of a token, as one JSON object.

use super::{Answer, TokenSource};
use serde_json::json;

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
        "header": { "name": token.header.0, "value": token.header.1.expose() },
        "source": match answer.source {
            TokenSource::Cache => "cache",
            TokenSource::Refresh => "refresh",
            TokenSource::Grant => "grant",
        },
        "extra": token.extra,
    });
    crate::base::text::json(&object)
}
