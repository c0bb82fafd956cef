//! Proof Key for Code Exchange (RFC 7636), with `S256` unless a provider file says otherwise.

use crate::base::jose::base64url;
use crate::base::secret::Secret;
use crate::provider::Pkce;
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

/// A new `code_verifier`: 32 random bytes as base64url, 43 characters (RFC 7636 §4.1).
///
/// # Panics
/// If the system's random number generator fails: nothing here may continue without it.
pub fn verifier() -> Secret {
    let mut bytes = Zeroizing::new([0; 32]);
    crate::base::digest::fill(bytes.as_mut_slice());
    Secret::new(base64url(bytes.as_slice()))
}

/// The `code_challenge` of `verifier` (RFC 7636 §4.2); `None` where there is to be none.
pub fn challenge(verifier: &Secret, how: Pkce) -> Option<String> {
    let hash = || digest(&SHA256, verifier.expose().as_bytes());
    Some(match how {
        Pkce::S256 => base64url(hash().as_ref()),
        Pkce::S256Hex => hash().as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        Pkce::Plain => verifier.expose().to_string(),
        Pkce::None => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    #[test]
    fn the_example_of_the_rfc_is_right() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let of = |how| challenge(&verifier, how);
        assert_eq!(of(Pkce::S256).as_deref(), Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        let hex = "13d31e961a1ad8ec2f16b10c4c982e0876a878ad6df144566ee1894acb70f9c3";
        assert_eq!(of(Pkce::S256Hex).as_deref(), Some(hex));
        assert_eq!((of(Pkce::Plain).as_deref(), of(Pkce::None)), (Some(verifier.expose()), None));
    }

    #[test]
    fn a_verifier_is_new_each_time() {
        let (one, two) = (verifier(), verifier());
        assert_eq!(one.expose().len(), 43);
        assert!(one.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert!(one != two);
    }
}
