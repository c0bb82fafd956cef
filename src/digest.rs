//! Digests and random numbers.

use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

/// SHA-256 of the parts, each with its length before it so that no two lists of parts are alike; lower-case hex.
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
/// Where the system has no random numbers: nothing here may go on without.
pub fn random(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    #[expect(clippy::expect_used, reason = "a system without random numbers cannot keep a secret")]
    SystemRandom::new().fill(&mut buffer).expect("random numbers");
    to_hex(&buffer)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
