//! How an assertion is made: `[grants.NAME.assertion]`, as types.

use super::*;

/// How an assertion is made: RFC 7523 §3 requires `iss`, `sub`, `aud` and `exp`.
pub(super) fn assertion(table: &Table, base: Option<&Assertion>) -> Assertion {
    let seconds = |key: &'static str, default: i64| table.read(key, default, |v| duration(v, v.text()?));
    let algorithm = |value: TomlValue| {
        Algorithm::parse(value.text()?)
            .filter(|a| !a.is_symmetric())
            .map(Some)
            .ok_or_else(|| value.error("not an algorithm for a private key: expected RS256 or similar (RFC 7518 §3.1)"))
    };
    let assertion = Assertion {
        claims: match (table.get("claims"), base) {
            (Some(value), _) => templates(value),
            (None, Some(base)) => base.claims.clone(),
            (None, None) => {
                table.note("missing `claims`: the content of the assertion");
                Vec::new()
            }
        },
        jti: table.read("jti", base.is_none_or(|b| b.jti), |v| v.flag()),
        algorithm: table.read("algorithm", base.and_then(|b| b.algorithm), algorithm),
        lifetime: seconds("lifetime", base.map_or(300, |b| b.lifetime)),
        backdate: seconds("backdate", base.map_or(30, |b| b.backdate)),
    };
    table.finish();
    assertion
}
