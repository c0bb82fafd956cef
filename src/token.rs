//! A token, a secret, and whether a token is still good enough.

use std::fmt;
use zeroize::Zeroizing;

/// Text that must not be shown: no `Display`, `Debug` says nothing, the memory is wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text in; from here on only [`Secret::expose`] gives it out.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself. Every call of this is a place where a secret leaves its wrapper: to the wire, to the
    /// store, to stdout.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// A point in time: nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// Whole seconds since 1970, rounded down.
    pub fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// The start of the second `secs` (since 1970); the far ends are kept within what can be held.
    pub fn from_secs(secs: i64) -> Time {
        Time(secs.saturating_mul(1_000_000_000))
    }
}

/// Whether `text` may be handed out as an access token: 1 to 65,536 visible ASCII characters without space
/// (RFC 6749 A.12 has the characters; a line feed would become a second header in `curl -H @-`).
pub fn is_token(text: &str) -> bool {
    (1..=65_536).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}
