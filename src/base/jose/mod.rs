//! JSON Object Signing: keys (RFC 7517, 8037), signatures (RFC 7515, 7518) and verification. No network, no files, no
//! clock; random numbers come from the system.

mod jwk;
pub mod jwt;
mod key;
mod pem;
mod public;
mod sign;
mod verify;

pub use key::Key;
pub use pem::{certificate_chain, certificate_thumbprint, unfold};
pub use verify::{Jwks, VerifyError, decode, verify};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

/// A signature algorithm of JWS (RFC 7518 §3.1, RFC 8037 §3.1). `none` is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256
    Hs256,
    /// HMAC with SHA-384
    Hs384,
    /// HMAC with SHA-512
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512
    Rs512,
    /// RSASSA-PSS with SHA-256
    Ps256,
    /// RSASSA-PSS with SHA-384
    Ps384,
    /// RSASSA-PSS with SHA-512
    Ps512,
    /// ECDSA on P-256 with SHA-256
    Es256,
    /// ECDSA on P-384 with SHA-384
    Es384,
    /// ECDSA on P-521 with SHA-512
    Es512,
    /// Ed25519, by its name of RFC 8037
    EdDsa,
    /// Ed25519, by its name of RFC 9864, the only one that some servers accept
    Ed25519,
}

const ALL: [Algorithm; 14] = {
    use Algorithm::*;
    [Hs256, Hs384, Hs512, Rs256, Rs384, Rs512, Ps256, Ps384, Ps512, Es256, Es384, Es512, EdDsa, Ed25519]
};

// Each family twice in a row, so that it can be read from any of its members on.
static HS: [Algorithm; 6] = {
    use Algorithm::*;
    [Hs256, Hs384, Hs512, Hs256, Hs384, Hs512]
};
static RSA: [Algorithm; 12] = {
    use Algorithm::*;
    [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512, Ps256, Ps384, Ps512]
};

impl Algorithm {
    /// The algorithm of that name.
    pub fn parse(name: &str) -> Option<Algorithm> {
        ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Its name in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Es512 => "ES512",
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Ed25519 => "Ed25519",
        }
    }

    /// Whether it is an HMAC: whoever can verify can also sign.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
    }

    /// The digest inside it. Ed25519's is SHA-512 (RFC 8032 §5.1).
    pub(crate) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Algorithm::Hs256 | Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => &digest::SHA256,
            Algorithm::Hs384 | Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => &digest::SHA384,
            Algorithm::Hs512
            | Algorithm::Rs512
            | Algorithm::Ps512
            | Algorithm::Es512
            | Algorithm::EdDsa
            | Algorithm::Ed25519 => &digest::SHA512,
        }
    }
}

/// `family` (each member twice) once, from `first` on if that is a member.
fn from(family: &'static [Algorithm], first: Option<Algorithm>) -> &'static [Algorithm] {
    let count = family.len() / 2;
    let at = first.and_then(|first| family.iter().position(|a| *a == first)).unwrap_or(0);
    &family[at..at + count]
}

/// Base64url without padding (RFC 7515 §2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of base64url without padding.
fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests;
