//! Verifies a signed JWT against a server's keys (RFC 7515 §5.2, RFC 8725 §3).

use super::public::Public;
use super::{Algorithm, from_base64url, jwk};
use crate::base::json::has_repeated_names;
use serde_json::{Map, Value};
use std::fmt;

/// A server's public keys (RFC 7517 §5).
pub struct Jwks {
    keys: Vec<Listed>,
    /// The `kid` of each key that should be one of these and cannot be read.
    unreadable: Vec<Option<String>>,
}

struct Listed {
    public: Public,
    id: Option<String>,
    /// The only algorithm it is meant for.
    algorithm: Option<Algorithm>,
}

impl Jwks {
    /// Reads a JWK set. Keys that are of unknown kinds, for encryption, or incomplete are skipped (RFC 7517 §5); so are
    /// shared secrets, which do not belong among public keys.
    ///
    /// # Errors
    /// What is wrong, in words that follow the name of the value.
    pub fn parse(text: &[u8]) -> Result<Jwks, String> {
        let keys = jwk::set(text).ok_or("is not a JWK set: a JSON object with a list `keys`")?;
        let mut set = Jwks { keys: Vec::new(), unreadable: Vec::new() };
        for key in keys {
            let key = match key {
                Ok(key) if key.is_expected() => key,
                Ok(_) => continue,
                Err(id) => {
                    set.unreadable.push(id);
                    continue;
                }
            };
            let Some(public) = key.public() else {
                set.unreadable.push(key.kid);
                continue;
            };
            let algorithm = match &key.alg {
                None => None,
                Some(name) => match Algorithm::parse(name).filter(|a| public.algorithms(None).contains(a)) {
                    Some(algorithm) => Some(algorithm),
                    // For encryption, or not known here.
                    None => continue,
                },
            };
            set.keys.push(Listed { public, id: key.kid, algorithm });
        }
        Ok(set)
    }
}

/// A JWT whose signature is valid. Its claims are still to be checked.
pub struct Verified {
    /// The JOSE header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why a JWT is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// It does not have the form of a signed JWT.
    NotJwt,
    /// Its algorithm is not accepted: `none`, an HMAC, one not known, one that is not the key's, or an extension
    /// that must be understood (`crit`).
    Algorithm,
    /// The set has no such key: the server may have a newer set.
    NoKey,
    /// The set has such a key, but it cannot be read.
    UnreadableKey,
    /// The signature was not made with the key.
    Signature,
}

impl fmt::Display for VerifyError {
    /// In words that follow the name of the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VerifyError::NotJwt => "is not a signed JWT",
            VerifyError::Algorithm => {
                "is signed with an algorithm that is not accepted (`alg` or `crit` in its header)"
            }
            VerifyError::NoKey => "is signed with a key that the server does not publish",
            VerifyError::UnreadableKey => "is signed with a key that is damaged in the server's key set",
            VerifyError::Signature => "has an invalid signature",
        })
    }
}

/// Checks the signature of `jwt` with the key its `kid` names; without a `kid`, each key of the right type is tried.
///
/// # Errors
/// Why it is not accepted.
pub fn verify(jwt: &str, jwks: &Jwks) -> Result<Verified, VerifyError> {
    let Parts { header, claims, algorithm, signed, signature } = Parts::of(jwt)?;
    let id = text(&header, "kid")?;
    let named = jwks.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
    let (mut any, mut fits) = (false, false);
    for key in named {
        any = true;
        if key.algorithm.is_some_and(|own| own != algorithm) || !key.public.algorithms(None).contains(&algorithm) {
            continue;
        }
        fits = true;
        if key.public.verify(algorithm, signed.as_bytes(), &signature) {
            return Ok(Verified { claims: object(claims)?, header, algorithm });
        }
    }
    let unreadable = jwks.unreadable.iter().any(|own| id.is_none() || own.as_deref() == id);
    Err(match (any, fits) {
        (_, true) => VerifyError::Signature,
        (_, false) if unreadable => VerifyError::UnreadableKey,
        (true, false) if id.is_some() => VerifyError::Algorithm,
        _ => VerifyError::NoKey,
    })
}

/// The claims of `jwt` and the algorithm in its header. The signature is not verified; one that is not
/// accepted by [`verify`] whatever the keys, such as `none`, is not accepted here either.
///
/// # Errors
/// Why it is not accepted.
pub fn decode(jwt: &str) -> Result<(Map<String, Value>, Algorithm), VerifyError> {
    let parts = Parts::of(jwt)?;
    Ok((object(parts.claims)?, parts.algorithm))
}

struct Parts<'j> {
    header: Map<String, Value>,
    claims: &'j str,
    algorithm: Algorithm,
    signed: &'j str,
    signature: Vec<u8>,
}

impl Parts<'_> {
    fn of(jwt: &str) -> Result<Parts<'_>, VerifyError> {
        let (signed, signature) = jwt.rsplit_once('.').ok_or(VerifyError::NotJwt)?;
        let (header, claims) = signed.split_once('.').ok_or(VerifyError::NotJwt)?;
        let header = object(header)?;
        let signature = from_base64url(signature).ok_or(VerifyError::NotJwt)?;
        let name = text(&header, "alg")?.ok_or(VerifyError::NotJwt)?;
        let algorithm = Algorithm::parse(name).filter(|a| !a.is_symmetric()).ok_or(VerifyError::Algorithm)?;
        if header.get("crit").is_some_and(|value| !value.is_null()) {
            return Err(VerifyError::Algorithm);
        }
        Ok(Parts { header, claims, algorithm, signed, signature })
    }
}

fn text<'h>(header: &'h Map<String, Value>, name: &str) -> Result<Option<&'h str>, VerifyError> {
    match header.get(name).filter(|value| !value.is_null() && value.as_str() != Some("")) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(VerifyError::NotJwt),
    }
}

fn object(part: &str) -> Result<Map<String, Value>, VerifyError> {
    let bytes = from_base64url(part).ok_or(VerifyError::NotJwt)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| VerifyError::NotJwt)?;
    let object = serde_json::from_str(text).map_err(|_| VerifyError::NotJwt)?;
    // RFC 7515 §4, RFC 7519 §4: names are unique.
    if has_repeated_names(text) { Err(VerifyError::NotJwt) } else { Ok(object) }
}
