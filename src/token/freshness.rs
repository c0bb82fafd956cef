//! Whether a token is still valid: its expiry against the requested minimum lifetime.

use super::Expires;
use crate::base::time::CLOCK_SLACK;

/// The default minimum remaining lifetime, in seconds.
pub const MIN_TTL: i64 = 60;

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

/// Whether a token received at `received` (seconds since 1970) is valid at `now`. `min_ttl` is the minimum remaining
/// lifetime; if it is only the default (`asked` false), a tenth of the token's whole lifetime is enough.
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
}
