//! The reply to Google's client libraries that run this program for a token to exchange (workload identity federation,
//! https://google.aip.dev/auth/4117): a token of the kind that they ask for, or why there is none.

use super::{Answer, identity_token};
use crate::base::env::Env;
use crate::base::error::{Error, Kind, hint, kind};
use anyhow::Result;
use serde_json::json;

/// What the caller asks for.
const TYPE: &str = "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE";

/// # Errors
/// [`Kind::Usage`] where another kind of token is asked for; else as [`identity_token`].
pub fn write(answer: &Answer, env: &Env) -> Result<String> {
    const PREFIX: &str = "urn:ietf:params:oauth:token-type:";
    let asked = env.get(TYPE).and_then(|asked| asked.to_str()).filter(|asked| !asked.is_empty());
    let sort = match asked.map(|asked| asked.strip_prefix(PREFIX)) {
        None => "id_token",
        Some(Some(sort @ ("id_token" | "jwt"))) => sort,
        Some(_) => {
            let why = "only id_token and jwt can be had from tok";
            return Err(Error::new(Kind::Usage, TYPE, why).into());
        }
    };
    let (token, expires) = identity_token(answer)?;
    let mut object =
        json!({ "version": 1, "success": true, "token_type": format!("{PREFIX}{sort}"), "id_token": token });
    if let (Some(at), Some(object)) = (expires, object.as_object_mut()) {
        object.insert("expiration_time".into(), at.into());
    }
    Ok(crate::base::text::json(&object))
}

/// Why there is none, in the caller's own form.
pub fn failure(error: &anyhow::Error) -> String {
    let code = (kind(error) as u8).to_string();
    let hint = hint(error).map(|hint| format!(" ({hint})")).unwrap_or_default();
    let message = crate::base::text::line(&format!("{error:#}{hint}"));
    crate::base::text::json(&json!({ "version": 1, "success": false, "code": code, "message": message }))
}
