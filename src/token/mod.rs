//! A token, a secret, and whether a token is still good enough.

pub mod credentials;
pub mod identity;

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

/// The longest access token that is handed out, in bytes.
pub const LONGEST_TOKEN: usize = 65_536;

/// Whether `text` may be handed out as an access token: 1 to 65,536 visible ASCII characters without space
/// (RFC 6749 A.12 has the characters; a line feed would become a second header in `curl -H @-`).
pub fn is_token(text: &str) -> bool {
    (1..=LONGEST_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// When something expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expires {
    /// At this second since 1970; it may have passed.
    At(i64),
    /// It never does.
    Never,
    /// Nobody says.
    Unknown,
}

impl Expires {
    /// The second since 1970, where one is known.
    pub fn at(self) -> Option<i64> {
        match self {
            Expires::At(at) => Some(at),
            Expires::Never | Expires::Unknown => None,
        }
    }
}

/// How far a clock may run backwards before a token from «the future» is doubted, in seconds. Clocks are slewed by
/// less; one that was set back by more would let a token look alive long after its end (kubernetes#123432).
pub const CLOCK_SLACK: i64 = 5;

/// The life a token should still have, where nothing else is asked for, in seconds.
pub const MIN_TTL: i64 = 60;

/// Why a token is not good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// It has expired.
    Expired,
    /// It has these seconds left, and more were asked for.
    Soon(i64),
    /// It was received in the future: the clock was set back.
    ClockSetBack,
}

/// Whether a token received at `received` (seconds since 1970) is good at `now`. `min_ttl` is the life asked for;
/// where it is only the default (`asked` false), a tenth of the token's whole life is enough.
pub fn freshness(received: i64, expires: Expires, now: i64, min_ttl: i64, asked: bool) -> Result<(), Stale> {
    if now < received.saturating_sub(CLOCK_SLACK) {
        return Err(Stale::ClockSetBack);
    }
    let Expires::At(at) = expires else { return Ok(()) };
    let left = at.saturating_sub(now);
    if left <= 0 {
        return Err(Stale::Expired);
    }
    let enough = if asked { min_ttl } else { min_ttl.min(at.saturating_sub(received) / 10) };
    if left < enough { Err(Stale::Soon(left)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_visible_ascii() {
        assert!(is_token("abc.DEF-1~2/+=") && is_token(&"x".repeat(65_536)));
        for text in ["", "a b", "a\n", "\u{1b}[0m", "é", "a\u{7f}", "a\0"] {
            assert!(!is_token(text), "{text:?}");
        }
        assert!(!is_token(&"x".repeat(65_537)));
    }

    #[test]
    fn freshness_has_its_reasons() {
        let at = |life: i64, now: i64| freshness(1000, Expires::At(1000 + life), now, 60, false);
        assert_eq!(at(3600, 1000), Ok(()));
        assert_eq!(at(3600, 1000 + 3541), Err(Stale::Soon(59)));
        assert_eq!(at(3600, 1000 + 3540), Ok(()));
        assert_eq!(at(30, 1000 + 27), Ok(()));
        assert_eq!(at(30, 1000 + 28), Err(Stale::Soon(2)));
        assert_eq!(at(30, 1030), Err(Stale::Expired));
        assert_eq!(at(3600, 990), Err(Stale::ClockSetBack));
        assert_eq!(freshness(1000, Expires::At(1300), 1000, 600, true), Err(Stale::Soon(300)));
        assert_eq!(freshness(1000, Expires::Never, 99_999, 60, false), Ok(()));
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(***)");
    }
}
