//! Points in time; the clock itself is the host's.

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

/// How far a clock may run backwards before a token from «the future» is doubted, in seconds. Clocks are slewed by
/// less; one that was set back by more would let a token look alive long after its end (kubernetes#123432).
pub const CLOCK_SLACK: i64 = 5;
