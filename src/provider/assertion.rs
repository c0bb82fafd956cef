//! An assertion that tok signs, as a provider file says it.

use super::template::Template;
use crate::base::jose::Algorithm;
use std::collections::BTreeMap;

/// An assertion that tok signs (RFC 7523 §3).
#[derive(Clone, Debug)]
pub struct Assertion {
    /// Its claims; `iat` and `exp` are added.
    pub claims: Vec<(String, Template)>,
    /// Whether `jti` is added too (RFC 7519 §4.1.7).
    pub jti: bool,
    /// Its header besides `alg` and `typ`; each replaces one of that name.
    pub headers: Vec<(String, Template)>,
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
    /// The values it uses, and whether each is optional.
    pub fn names(&self) -> BTreeMap<String, bool> {
        let mut all: BTreeMap<String, bool> = BTreeMap::new();
        let signed = match &self.secret {
            Some(secret) => vec![(secret.as_str(), false)],
            None => vec![("private_key", false), ("certificate", true)],
        };
        let fixed = signed.into_iter().chain([("key_id", true), ("algorithm", true)]);
        let templates = self.claims.iter().chain(&self.headers);
        for (name, optional) in templates.flat_map(|(_, t)| t.names()).chain(fixed) {
            let known = all.entry(name.into()).or_insert(optional);
            *known = *known && optional;
        }
        all.remove("key_fingerprint");
        all
    }
}
