//! Whether a token is still valid: its expiry against the requested minimum lifetime.

use super::Expires;
use crate::base::time::CLOCK_SLACK;

/// The remaining life that a token must have to be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinTtl {
    /// These seconds, as a flag or the config asks for.
    Asked(i64),
    /// [`MinTtl::DEFAULT`] seconds, or a tenth of the token's whole life where that is less.
    Default,
}

impl MinTtl {
    /// In seconds.
    pub const DEFAULT: i64 = 60;

    /// The seconds that are asked for of a token with a long life.
    pub fn seconds(self) -> i64 {
        match self {
            MinTtl::Asked(seconds) => seconds,
            MinTtl::Default => MinTtl::DEFAULT,
        }
    }
}

impl From<Option<i64>> for MinTtl {
    fn from(seconds: Option<i64>) -> MinTtl {
        seconds.map_or(MinTtl::Default, MinTtl::Asked)
    }
}

/// Why a token is not valid for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// It has expired.
    Expired,
    /// It has this many seconds left, less than requested.
    Soon(i64),
    /// It was received in the future: the clock was set back.
    ClockSetBack,
}

/// Whether a token received at `received` (seconds since 1970) is good at `now`, with the remaining life `min_ttl`.
pub fn freshness(received: i64, expires: Expires, now: i64, min_ttl: MinTtl) -> Result<(), Stale> {
    if now < received.saturating_sub(CLOCK_SLACK) {
        return Err(Stale::ClockSetBack);
    }
    let Expires::At(at) = expires else { return Ok(()) };
    let left = at.saturating_sub(now);
    if left <= 0 {
        return Err(Stale::Expired);
    }
    let enough = match min_ttl {
        MinTtl::Asked(seconds) => seconds,
        MinTtl::Default => MinTtl::DEFAULT.min(at.saturating_sub(received) / 10),
    };
    if left < enough { Err(Stale::Soon(left)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_has_its_reasons() {
        let at = |life: i64, now: i64| freshness(1000, Expires::At(1000 + life), now, MinTtl::Default);
        assert_eq!(at(3600, 1000), Ok(()));
        assert_eq!(at(3600, 1000 + 3541), Err(Stale::Soon(59)));
        assert_eq!(at(3600, 1000 + 3540), Ok(()));
        assert_eq!(at(30, 1000 + 27), Ok(()));
        assert_eq!(at(30, 1000 + 28), Err(Stale::Soon(2)));
        assert_eq!(at(30, 1030), Err(Stale::Expired));
        assert_eq!(at(3600, 990), Err(Stale::ClockSetBack));
        assert_eq!(freshness(1000, Expires::At(1300), 1000, MinTtl::Asked(600)), Err(Stale::Soon(300)));
        assert_eq!(freshness(1000, Expires::Never, 99_999, MinTtl::Default), Ok(()));
    }
}
