//! How an assertion is made: `[grants.NAME.assertion]`, as types.

use super::*;
use crate::provider::{CertificateHeader, SecretEncoding};

/// How an assertion is made: RFC 7523 §3 requires `iss`, `sub`, `aud` and `exp`.
pub(super) fn assertion(table: &Table, base: Option<&Assertion>) -> Assertion {
    let seconds = |key: &'static str, default: i64| table.read(key, default, |v| duration(v, v.text()?));
    let text = |v: TomlValue| v.text().map(|text| Some(text.to_string()));
    let secret = table.read("secret", base.and_then(|b| b.secret.clone()), text);
    let algorithm = |value: TomlValue| {
        let (fits, expected) = match secret {
            None => ("a private key", "RS256"),
            Some(_) => ("a secret", "HS256"),
        };
        Algorithm::parse(value.text()?).filter(|a| a.is_symmetric() == secret.is_some()).map(Some).ok_or_else(|| {
            value.error(format!("not an algorithm for {fits}: expected {expected} or similar (RFC 7518 §3.1)"))
        })
    };
    let assertion = Assertion {
        claims: match (table.get("claims"), base) {
            (Some(value), _) => object(value),
            (None, Some(base)) => base.claims.clone(),
            (None, None) => {
                table.note("missing `claims`: the content of the assertion");
                Vec::new()
            }
        },
        headers: table.get("headers").map_or_else(|| base.map(|b| b.headers.clone()).unwrap_or_default(), object),
        certificate: table.read("certificate", base.map_or(CertificateHeader::Thumbprint, |b| b.certificate), |v| {
            v.choice(&[
                ("x5t#S256", CertificateHeader::Thumbprint),
                ("x5c", CertificateHeader::Chain),
                ("none", CertificateHeader::None),
            ])
        }),
        jti: table.read("jti", base.is_none_or(|b| b.jti), |v| v.flag()),
        algorithm: table.read("algorithm", base.and_then(|b| b.algorithm), algorithm),
        encoding: table.read("encoding", base.map_or(SecretEncoding::Text, |b| b.encoding), |v| {
            v.choice(&[
                ("text", SecretEncoding::Text),
                ("hex", SecretEncoding::Hex),
                ("base64", SecretEncoding::Base64),
            ])
        }),
        lifetime: seconds("lifetime", base.map_or(300, |b| b.lifetime)),
        backdate: seconds("backdate", base.map_or(30, |b| b.backdate)),
        secret,
    };
    table.finish();
    assertion
}
