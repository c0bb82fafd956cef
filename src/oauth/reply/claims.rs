//! The claims of a JWT, an ID token or an introspection (RFC 7519 §4, RFC 7662 §2.2), read like any reply.

use super::value::{member, number};
use serde_json::{Map, Value};

/// The claim `name`, a text.
///
/// # Errors
/// It is not a string, in words that follow the name of the token.
pub fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<Option<&'c str>, String> {
    match member(claims, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("has a claim `{name}` that is not a string")),
    }
}

/// The claim `name`, a NumericDate (RFC 7519 §2) in seconds since 1970, without its fraction.
///
/// # Errors
/// As [`text`].
pub fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, String> {
    let Some(value) = member(claims, name) else { return Ok(None) };
    let whole = number(value).map(|number| number.floor() as i64);
    whole.map(Some).ok_or_else(|| format!("has a claim `{name}` that is not a time"))
}

/// When `token` expires, in seconds since 1970, if it is a JWT that says so. Decoded, not verified.
pub fn expiry(token: &str) -> Option<i64> {
    seconds(&crate::base::jose::jwt::claims(token)?, "exp").ok()?
}
