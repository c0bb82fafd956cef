//! Digests and random numbers.

use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

/// SHA-256 of the parts, each prefixed with its length so that no two lists of parts collide; lower-case hex.
pub fn hex(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    to_hex(context.finish().as_ref())
}

/// `bytes` random bytes as lower-case hex.
///
/// # Panics
/// If the system's random number generator fails: nothing here may continue without it.
pub fn random(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    fill(&mut buffer);
    to_hex(&buffer)
}

/// Fills `buffer` with random bytes.
///
/// # Panics
/// As [`random`].
pub fn fill(buffer: &mut [u8]) {
    #[expect(clippy::expect_used, reason = "a system without random numbers cannot keep a secret")]
    SystemRandom::new().fill(buffer).expect("random numbers");
}

/// Whether the two are equal; the time taken only reveals whether their lengths are equal.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_equal_in_every_byte() {
        assert!(constant_time_eq(b"", b"") && constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd") && !constant_time_eq(b"abc", b"abcd"));
    }
}
