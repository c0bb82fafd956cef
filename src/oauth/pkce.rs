//! Proof Key for Code Exchange (RFC 7636), only with `S256`.

use crate::base::jose::base64url;
use crate::base::secret::Secret;
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

/// The `code_challenge` of `verifier` for the method `S256` (RFC 7636 §4.2).
pub fn challenge(verifier: &Secret) -> String {
    base64url(digest(&SHA256, verifier.expose().as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    #[test]
    fn the_example_of_the_rfc_is_right() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_verifier_is_new_each_time() {
        let (one, two) = (verifier(), verifier());
        assert_eq!(one.expose().len(), 43);
        assert!(one.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert!(one != two);
    }
}
