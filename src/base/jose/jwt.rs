//! A JWT's claims, decoded for display and for its expiry. Decoded is not verified: nothing here checks a signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The claims of `token` if it has the form of a signed JWT (RFC 7519 §3.1), else `None`.
pub fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let _: Map<String, Value> = decode(header)?;
    decode(payload)
}

fn decode(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_jwt_is_decoded() {
        assert!(claims("eyJhbGciOiJub25lIn0.eyJleHAiOjEuNX0.x").is_some_and(|c| c["exp"] == 1.5));
        for text in ["", "a.b.c", "abc", "..", "eyJhbGciOiJub25lIn0.eyJleHAiOjEuNX0", "e30.e30.x.y", "e30.W10.x"] {
            assert!(claims(text).is_none(), "{text}");
        }
    }
}
