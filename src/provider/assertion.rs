//! An assertion that tok signs, as a provider file says it.

use super::types::Field;
use crate::base::jose::Algorithm;
use std::collections::BTreeMap;

/// An assertion that tok signs (RFC 7523 §3).
#[derive(Clone, Debug)]
pub struct Assertion {
    /// Its claims; `iat` and `exp` are added.
    pub claims: Vec<(String, Field)>,
    /// Whether `jti` is added too (RFC 7519 §4.1.7).
    pub jti: bool,
    /// Its header besides `alg` and `typ`; each replaces one of that name.
    pub headers: Vec<(String, Field)>,
    /// How the value `certificate` stands in its header, if it is given.
    pub certificate: CertificateHeader,
    /// The value with the shared secret that signs it; `None`: `private_key` does.
    pub secret: Option<String>,
    /// How that secret is written.
    pub encoding: SecretEncoding,
    /// The only algorithm that the server accepts.
    pub algorithm: Option<Algorithm>,
    /// How long it is valid, in seconds from its `iat`.
    pub lifetime: i64,
    /// How far back it is dated, in seconds, for a server whose clock is behind.
    pub backdate: i64,
}

/// How a certificate stands in the header of a JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateHeader {
    /// `x5t#S256`: its SHA-256 (RFC 7515 §4.1.8).
    Thumbprint,
    /// `x5c`: it and those up to the root (RFC 7515 §4.1.6).
    Chain,
    /// Not at all.
    None,
}

/// How a shared secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretEncoding {
    /// Its text is the key.
    Text,
    /// In hexadecimal.
    Hex,
    /// In Base64.
    Base64,
}

impl Assertion {
    /// What stands in it: each claim and each entry of the header, by name, and the key that it stands under.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Field, &'static str)> {
        let claims = self.claims.iter().map(|(name, field)| (name.as_str(), field, "claims"));
        claims.chain(self.headers.iter().map(|(name, field)| (name.as_str(), field, "headers")))
    }

    /// The values it uses, and whether each is optional.
    pub fn names(&self) -> BTreeMap<String, bool> {
        let mut all: BTreeMap<String, bool> = BTreeMap::new();
        let signed = match &self.secret {
            Some(secret) => vec![(secret.as_str(), false)],
            None => vec![("private_key", false), ("certificate", true)],
        };
        let fixed = signed.into_iter().chain([("key_id", true), ("algorithm", true)]);
        let mut add = |name: &str, optional: bool| {
            let known = all.entry(name.into()).or_insert(optional);
            *known = *known && optional;
        };
        fixed.for_each(|(name, optional)| add(name, optional));
        for (_, field, _) in self.fields() {
            field.each_template(&mut |template| template.names().for_each(|(name, optional)| add(name, optional)));
        }
        all.remove("key_fingerprint");
        all
    }
}
