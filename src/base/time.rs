//! Points in time; the clock itself is the host's.

/// A point in time: nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// Whole seconds since 1970, rounded down.
    pub fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// The start of the second `secs` (since 1970); saturates at the ends of the range.
    pub fn from_secs(secs: i64) -> Time {
        Time(secs.saturating_mul(1_000_000_000))
    }
}

/// How far a clock may run backwards before a token "from the future" is rejected, in seconds. Clocks are slewed by
/// less; one that was set back by more would make a token look valid long after its expiry (kubernetes#123432).
pub const CLOCK_SLACK: i64 = 5;
