//! Validates an ID token (OpenID Connect Core §3.1.3.7).

use crate::base::digest::constant_time_eq;
use crate::base::jose::{Algorithm, Jwks, VerifyError, base64url, decode, verify};
use crate::base::text::escape_to;
use crate::oauth::metadata;
use crate::oauth::reply::claims::{seconds, text};
use crate::oauth::reply::value::member;
use serde_json::{Map, Value};
use std::fmt;

/// The allowed clock difference, in seconds, for a token's expiry.
const SLACK: i64 = 60;
/// How many seconds a token may be "from the future": a clock that is this slow does no harm.
const AHEAD: i64 = 300;

/// What the ID token must match.
pub struct ExpectedClaims<'a> {
    /// The server's `issuer` as in its metadata, compared exactly; the tenant's place in it is filled
    /// by the token's `tid` ([`metadata::of_tenant`]).
    pub issuer: &'a str,
    /// The requesting client.
    pub client_id: &'a str,
    /// What was sent as `nonce`.
    pub nonce: Option<&'a str>,
    /// The access token that came with it.
    pub access_token: Option<&'a str>,
    /// What was sent as `max_age`, in seconds.
    pub max_age: Option<i64>,
    /// The time, in seconds since 1970.
    pub now: i64,
}

/// Why an ID token is not accepted. Displayed, it is in words that follow the name of the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not a JWT, or its signature is invalid. With [`VerifyError::NoKey`] the server may have newer keys.
    Signature(VerifyError),
    /// A claim is missing or wrong.
    Claim(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Signature(why) => why.fmt(f),
            Refused::Claim(why) => f.write_str(why),
        }
    }
}

/// The claims of the ID token `token`, once all of OpenID Connect Core §3.1.3.7 has been checked.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(token: &str, jwks: &Jwks, expected: &ExpectedClaims<'_>) -> Result<Map<String, Value>, Refused> {
    let verified = verify(token, jwks).map_err(Refused::Signature)?;
    checked(&verified.claims, verified.algorithm, expected).map_err(Refused::Claim)?;
    Ok(verified.claims)
}

/// As [`check`] if the server's keys are unavailable: everything except the signature. What came directly from the
/// server over TLS may be accepted this way (OpenID Connect Core §3.1.3.7, point 6), but is not verified.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_unsigned(token: &str, expected: &ExpectedClaims<'_>) -> Result<(), Refused> {
    let (claims, algorithm) = decode(token).map_err(Refused::Signature)?;
    checked(&claims, algorithm, expected).map_err(Refused::Claim)
}

fn checked(claims: &Map<String, Value>, algorithm: Algorithm, expected: &ExpectedClaims<'_>) -> Result<(), String> {
    let issuer = text(claims, "iss")?.ok_or("has no issuer (`iss`)")?;
    let asked = metadata::of_tenant(expected.issuer, text(claims, "tid")?);
    if !metadata::is_one(&asked) || issuer != asked {
        return Err(format!("was issued by {}, not by {}", escape_to(issuer, 200), escape_to(&asked, 200)));
    }
    if text(claims, "sub")?.is_none() {
        return Err("has no subject (`sub`)".into());
    }
    audience(claims, expected.client_id)?;
    let expires = seconds(claims, "exp")?.ok_or("has no expiry (`exp`)")?;
    let now = expected.now;
    if now >= expires.saturating_add(SLACK) {
        return Err("has expired, or this machine's clock is ahead (`exp`)".into());
    }
    let issued = seconds(claims, "iat")?.ok_or("has no time of issue (`iat`)")?;
    if issued > now.saturating_add(AHEAD) {
        return Err("was issued in the future, or this machine's clock is behind (`iat`)".into());
    }
    if seconds(claims, "nbf")?.is_some_and(|from| from > now.saturating_add(AHEAD)) {
        return Err("is not valid yet, or this machine's clock is behind (`nbf`)".into());
    }
    if let Some(nonce) = expected.nonce {
        let own = text(claims, "nonce")?.ok_or("lacks the `nonce` of this login")?;
        if !constant_time_eq(own.as_bytes(), nonce.as_bytes()) {
            return Err("is from another login (its `nonce` is not the one that was sent)".into());
        }
    }
    if let Some(max_age) = expected.max_age {
        let since = seconds(claims, "auth_time")?.ok_or("has no time of login (`auth_time`)")?;
        if now.saturating_sub(since) > max_age.saturating_add(SLACK) {
            return Err("is from a login longer ago than allowed (`auth_time`)".into());
        }
    }
    if let (Some(token), Some(own)) = (expected.access_token, text(claims, "at_hash")?) {
        let digest = ring::digest::digest(algorithm.digest(), token.as_bytes());
        let half = base64url(&digest.as_ref()[..digest.as_ref().len() / 2]);
        if !constant_time_eq(own.as_bytes(), half.as_bytes()) {
            return Err("is for another access token (`at_hash`)".into());
        }
    }
    Ok(())
}

/// `aud` and `azp`, points 3 to 5. With several audiences, `azp` must name this client.
fn audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), String> {
    const WRONG: &str = "has an audience that is neither a string nor a list of strings (`aud`)";
    let audiences = match member(claims, "aud") {
        None => return Err("has no audience (`aud`)".into()),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect::<Option<_>>().ok_or(WRONG)?,
        Some(_) => return Err(WRONG.into()),
    };
    if !audiences.contains(&client_id) {
        return Err("is for another client (`aud`)".into());
    }
    match text(claims, "azp")? {
        Some(party) if party != client_id => Err("was issued to another client (`azp`)".into()),
        None if audiences.len() > 1 => Err("is for several clients and does not name this one (`azp`)".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::jose::Key;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn expected() -> ExpectedClaims<'static> {
        ExpectedClaims {
            issuer: "https://id.example",
            client_id: "me",
            nonce: Some("n-0S6_WzA2Mj"),
            access_token: None,
            max_age: None,
            now: NOW,
        }
    }

    fn claims() -> Map<String, Value> {
        let claims = json!({
            "iss": "https://id.example", "sub": "1", "aud": "me", "exp": NOW + 300, "iat": NOW, "nonce": "n-0S6_WzA2Mj",
        });
        claims.as_object().cloned().expect("an object")
    }

    /// The verdict on the claims with these members set, or taken out if they are null.
    fn verdict(change: Value, expected: &ExpectedClaims<'_>) -> String {
        let mut claims = claims();
        for (name, value) in change.as_object().cloned().unwrap_or_default() {
            match value {
                Value::Null => claims.shift_remove(&name),
                value => claims.insert(name, value),
            };
        }
        checked(&claims, Algorithm::Es256, expected).err().unwrap_or_default()
    }

    #[test]
    fn a_token_that_fits_is_accepted() {
        for change in [
            json!({}),
            json!({ "aud": ["me"] }),
            json!({ "aud": ["other", "me"], "azp": "me" }),
            json!({ "azp": "me" }),
            json!({ "exp": NOW - 59 }),
            json!({ "exp": NOW as f64 + 0.5 }),
            json!({ "exp": (NOW + 1).to_string() }),
            json!({ "azp": "" }),
            json!({ "iat": NOW + 300 }),
            json!({ "at_hash": "not looked at without an access token" }),
        ] {
            assert_eq!(verdict(change.clone(), &expected()), "", "{change}");
        }
        assert_eq!(verdict(json!({ "nonce": null }), &ExpectedClaims { nonce: None, ..expected() }), "");
    }

    #[test]
    fn each_claim_that_is_wrong_has_its_own_words() {
        let mut said = Vec::new();
        for change in [
            json!({ "iss": null }),
            json!({ "iss": "https://id.example/" }),
            json!({ "iss": ["https://id.example"] }),
            json!({ "sub": null }),
            json!({ "aud": null }),
            json!({ "aud": 1 }),
            json!({ "aud": ["other"] }),
            json!({ "aud": ["other", "me"] }),
            json!({ "azp": "other" }),
            json!({ "exp": null }),
            json!({ "exp": "soon" }),
            json!({ "exp": NOW - 60 }),
            json!({ "iat": null }),
            json!({ "iat": NOW + 301 }),
            json!({ "nbf": NOW + 301 }),
            json!({ "nonce": null }),
            json!({ "nonce": "n-0S6_WzA2Mk" }),
        ] {
            let why = verdict(change.clone(), &expected());
            assert!(!why.is_empty() && !said.contains(&why), "{change}: {why}");
            said.push(why);
        }
    }

    #[test]
    fn null_is_absent_for_every_claim_that_need_not_be_there() {
        let names = ["azp", "nbf", "auth_time", "at_hash", "nonce", "tid", "acr", "amr"];
        let with = ExpectedClaims { nonce: None, access_token: Some("t"), ..expected() };
        for empty in [Value::Null, "".into()] {
            let mut claims = claims();
            claims.extend(names.map(|name| (name.to_string(), empty.clone())));
            assert_eq!(checked(&claims, Algorithm::Es256, &with), Ok(()), "{empty}");
        }
    }

    /// Entra, `common`: the metadata's issuer is a template.
    #[test]
    fn the_tenant_of_an_issuer_is_the_tokens() {
        let common = ExpectedClaims { issuer: "https://login.example/{tenantid}/v2.0", ..expected() };
        let of = |iss: &str, tid: Value| verdict(json!({ "iss": iss, "tid": tid }), &common);
        assert_eq!(of("https://login.example/9-a/v2.0", "9-a".into()), "");
        for (iss, tid) in [
            ("https://login.example/9-a/v2.0", "9-b".into()),
            ("https://login.example/9-a/v2.0", Value::Null),
            ("https://login.example/a/b/v2.0", "a/b".into()),
            ("https://login.example/{tenantid}/v2.0", Value::Null),
            ("https://login.example/{tenantid}/v2.0", "{tenantid}".into()),
            ("https://e.example/9-a/v2.0", "9-a".into()),
        ] {
            assert!(of(iss, tid.clone()).starts_with("was issued by"), "{iss} {tid}");
        }
    }

    #[test]
    fn a_login_may_be_asked_to_be_recent() {
        let recent = ExpectedClaims { max_age: Some(100), ..expected() };
        assert!(verdict(json!({}), &recent).contains("no time of login"));
        assert_eq!(verdict(json!({ "auth_time": NOW - 160 }), &recent), "");
        assert!(verdict(json!({ "auth_time": NOW - 161 }), &recent).contains("longer ago"));
    }

    /// OpenID Connect Core appendix A.3.
    #[test]
    fn the_access_token_must_be_the_one_that_came_with_it() {
        let token = Some("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y");
        let with = ExpectedClaims { access_token: token, ..expected() };
        assert_eq!(verdict(json!({ "at_hash": "77QmUPtjPfzWtF2AnpK9RQ" }), &with), "");
        assert_eq!(verdict(json!({}), &with), "");
        assert!(verdict(json!({ "at_hash": "77QmUPtjPfzWtF2AnpK9RR" }), &with).contains("access token"));
    }

    #[test]
    fn the_signature_comes_first() {
        let (key, _) = Key::generate().expect("a key");
        let (other, _) = Key::generate().expect("a key");
        let set = |key: &Key| Jwks::parse(json!({ "keys": [key.public_jwk()] }).to_string().as_bytes()).expect("a set");
        let token = key.sign(Algorithm::Es256, &Map::new(), &claims()).expect("a token");
        assert_eq!(check(token.expose(), &set(&key), &expected()), Ok(claims()));
        let wrong = Err(Refused::Signature(VerifyError::Signature));
        assert_eq!(check(token.expose(), &set(&other), &expected()), wrong);
        let unsigned = |token: &str| check_unsigned(token, &expected());
        assert_eq!(unsigned(token.expose()), Ok(()));
        assert!(matches!(unsigned("eyJhbGciOiJub25lIn0.e30."), Err(Refused::Signature(VerifyError::Algorithm))));
        assert!(matches!(unsigned("eyJhbGciOiJFUzI1NiJ9.e30.eA"), Err(Refused::Claim(_))));
        let late = ExpectedClaims { now: NOW + 360, ..expected() };
        assert!(matches!(check(token.expose(), &set(&key), &late), Err(Refused::Claim(why)) if why.contains("exp")));
    }
}
