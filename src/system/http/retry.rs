//! Whether a request is sent again, and after how long: the contract's "Retries". Pure.

use crate::base::date;
use crate::base::time::Time;
use crate::oauth::request::Repeat;
use std::time::Duration;

/// How often a request is sent at most.
pub const ATTEMPTS: u32 = 4;

/// The wait after the first attempt, before the jitter; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// No connection came about, and trying again may help: certainly nothing of the request was sent.
    NothingSent,
    /// A whole reply's status, and what its `Retry-After` asks for.
    Status(u16, Option<Duration>),
    /// Anything else; the request may have arrived.
    Failed,
}

/// The wait before the next attempt, or `None` when this outcome is the last.
///
/// `attempt` counts from 1; `remaining` is what is left of the call's time; `jitter` is random and spreads the wait
/// from half to one and a half of itself. A `Retry-After` is never shortened: if it is not
/// within `remaining`, no further attempt is made.
pub fn next(outcome: Attempt, attempt: u32, repeat: Repeat, remaining: Duration, jitter: u8) -> Option<Duration> {
    let asked = match (outcome, repeat) {
        (Attempt::NothingSent, _) => None,
        (Attempt::Status(429 | 503, asked), Repeat::Freely | Repeat::Rotating) => asked,
        (Attempt::Status(502 | 504, asked), Repeat::Freely) => asked,
        _ => return None,
    };
    if attempt >= ATTEMPTS {
        return None;
    }
    let doubled = FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(ATTEMPTS));
    let wait = doubled / 2 + doubled * u32::from(jitter) / 255;
    let wait = asked.map_or(wait, |asked| asked.max(wait));
    (wait < remaining).then_some(wait)
}

/// A `Retry-After`'s value as a wait from `now`: seconds or an HTTP date (RFC 9110 §10.2.3); a date gone by is no
/// wait, a number beyond all measure a very long one. `None` for what is neither.
pub fn retry_after(value: &str, now: Time) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let at = Time::from_secs(date::parse(value)?);
    let wait = at.0.saturating_sub(now.0);
    Some(Duration::from_nanos(u64::try_from(wait).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Attempt::{Failed, NothingSent, Status};
    use Repeat::{Freely, Personal, Rotating};

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn each_class_of_request_is_repeated_as_the_contract_says() {
        let repeated = |outcome, repeat| next(outcome, 1, repeat, LONG, 0).is_some();
        for (outcome, freely, rotating, personal) in [
            (NothingSent, true, true, true),
            (Status(429, None), true, true, false),
            (Status(503, None), true, true, false),
            (Status(502, None), true, false, false),
            (Status(504, None), true, false, false),
            (Status(500, None), false, false, false),
            (Status(408, None), false, false, false),
            (Status(200, None), false, false, false),
            (Status(401, None), false, false, false),
            (Failed, false, false, false),
        ] {
            assert_eq!(repeated(outcome, Freely), freely, "{outcome:?}");
            assert_eq!(repeated(outcome, Rotating), rotating, "{outcome:?}");
            assert_eq!(repeated(outcome, Personal), personal, "{outcome:?}");
        }
    }

    #[test]
    fn waits_double_and_end() {
        let wait = |attempt, jitter| next(NothingSent, attempt, Freely, LONG, jitter).map(|d| d.as_millis());
        assert_eq!([wait(1, 0), wait(2, 0), wait(3, 0)], [Some(125), Some(250), Some(500)]);
        assert_eq!([wait(1, 0), wait(1, 255), wait(3, 255)], [Some(125), Some(375), Some(1500)]);
        assert_eq!(wait(0, 0), Some(125));
        assert_eq!([wait(4, 0), wait(u32::MAX, 0)], [None, None]);
    }

    #[test]
    fn a_wait_that_is_not_within_the_time_left_is_not_begun() {
        let asked = |s| Status(429, Some(Duration::from_secs(s)));
        assert_eq!(next(asked(5), 1, Freely, LONG, 0), Some(Duration::from_secs(5)));
        assert_eq!(next(asked(30), 1, Freely, LONG, 0), None);
        assert_eq!(next(asked(u64::MAX), 1, Freely, LONG, 0), None);
        assert_eq!(next(asked(0), 1, Freely, LONG, 0), Some(FIRST_WAIT / 2));
        assert_eq!(next(NothingSent, 1, Freely, Duration::from_millis(100), 0), None);
        assert_eq!(next(NothingSent, 1, Freely, Duration::ZERO, 0), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Time::from_secs(784_111_770);
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sunday, 06-Nov-94 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun Nov  6 08:49:37 1994", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:29 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("Fri, 31 Dec 9999 23:59:59 GMT", Time(i64::MIN)).map(|d| d > LONG), Some(true));
        assert!(retry_after("99999999999999999999999999", now) > Some(LONG));
        assert_eq!(retry_after("18446744073709551615", now), Some(Duration::from_secs(u64::MAX)));
        for bad in ["", "-1", "+1", "1.5", "soon", "1 2"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }
}
