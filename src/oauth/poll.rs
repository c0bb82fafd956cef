//! How often a token endpoint is polled for a person's decision, and when polling ends (RFC 8628 §3.4 and §3.5,
//! CIBA Core §10.1 and §11). Pure.

use std::time::{Duration, Instant};

/// The wait between requests if the provider names none (RFC 8628 §3.2).
const INTERVAL: i64 = 5;
/// The longest wait that a provider may ask for at the start, in seconds: longer ones are in the wrong unit.
const LONGEST_INTERVAL: i64 = 60;
/// The longest wait of a back-off, unless the interval itself is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// What `slow_down` adds (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// The lifetime of a code whose `expires_in` is missing, though RFC 8628 §3.2 requires it, in seconds.
const LIFE: i64 = 600;
/// The longest accepted lifetime of a code, in seconds.
const LONGEST_LIFE: i64 = 86_400;

/// The outcome of a token request that returned no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollReply {
    /// `authorization_pending`: the person has not decided.
    Pending,
    /// `slow_down`: as pending, and requests are too frequent.
    SlowDown,
    /// `access_denied`: the person refused.
    Denied,
    /// `expired_token`: the code has expired.
    Expired,
    /// `transaction_failed` (CIBA Core §11).
    Failed,
    /// No reply came, or the server failed for now.
    Unreachable,
}

impl PollReply {
    /// The `error` that says it (RFC 8628 §3.5, CIBA Core §11); `None` where nothing was said.
    pub fn code(self) -> Option<&'static str> {
        match self {
            PollReply::Pending => Some("authorization_pending"),
            PollReply::SlowDown => Some("slow_down"),
            PollReply::Denied => Some("access_denied"),
            PollReply::Expired => Some("expired_token"),
            PollReply::Failed => Some("transaction_failed"),
            PollReply::Unreachable => None,
        }
    }

    /// What an `error` of a token endpoint means here; `None` for one that has nothing to do with polling, which is
    /// reported like any other refusal.
    pub fn of(error: &str) -> Option<PollReply> {
        Some(match error {
            "authorization_pending" => PollReply::Pending,
            "slow_down" => PollReply::SlowDown,
            "access_denied" => PollReply::Denied,
            "expired_token" => PollReply::Expired,
            "transaction_failed" => PollReply::Failed,
            _ => return None,
        })
    }
}

/// Why polling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The person refused.
    Denied,
    /// The code expired before the person decided.
    Expired,
    /// The provider gave up (CIBA).
    Failed,
    /// The code expired while the provider could not be reached.
    Unreachable,
}

/// What to do after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextPoll {
    /// Ask again after this wait, counted from the reply.
    Wait(Duration),
    /// Stop.
    GiveUp(Why),
}

/// The pace of the requests for one code.
#[derive(Clone, Debug)]
pub struct Poll {
    interval: Duration,
    expires_at: Instant,
    /// How many requests in a row failed to reach the provider.
    unreached: u32,
}

impl Poll {
    /// The pace for a code received at `now`, with the reply's `interval` and `expires_in` in seconds.
    ///
    /// An `interval` of 0 is 1: RFC 8628 §3.2 lets a provider say so, but does not ask for a flood. A negative one
    /// counts as absent, and so does an `expires_in` that is not above 0: the provider itself reports an expired code.
    pub fn new(now: Instant, interval: Option<i64>, expires_in: Option<i64>) -> Poll {
        let interval = interval.filter(|i| *i >= 0).unwrap_or(INTERVAL).clamp(1, LONGEST_INTERVAL);
        let life = expires_in.filter(|life| *life > 0).unwrap_or(LIFE).min(LONGEST_LIFE);
        Poll { interval: seconds(interval), expires_at: now + seconds(life), unreached: 0 }
    }

    /// The wait before the first request.
    pub fn first(&self) -> Duration {
        self.interval
    }

    /// When the code expires.
    pub fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// What to do after `answer`, which came at `now`. A request after the code's expiry is not made.
    pub fn next(&mut self, answer: PollReply, now: Instant) -> NextPoll {
        self.unreached = if answer == PollReply::Unreachable { self.unreached.saturating_add(1) } else { 0 };
        match answer {
            PollReply::Denied => return NextPoll::GiveUp(Why::Denied),
            PollReply::Expired => return NextPoll::GiveUp(Why::Expired),
            PollReply::Failed => return NextPoll::GiveUp(Why::Failed),
            PollReply::SlowDown => self.interval += SLOWER,
            PollReply::Pending | PollReply::Unreachable => {}
        }
        let left = self.expires_at.saturating_duration_since(now);
        // If a back-off would sleep past the expiry, the plain interval still allows another try.
        let wait = Some(self.backed_off()).filter(|wait| *wait < left).unwrap_or(self.interval);
        match answer {
            _ if wait < left => NextPoll::Wait(wait),
            PollReply::Unreachable => NextPoll::GiveUp(Why::Unreachable),
            _ => NextPoll::GiveUp(Why::Expired),
        }
    }

    /// The interval, doubled for each failed request in a row (RFC 8628 §3.5).
    fn backed_off(&self) -> Duration {
        let doubled = self.interval.saturating_mul(2_u32.saturating_pow(self.unreached));
        doubled.min(LONGEST_BACKOFF.max(self.interval))
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::PollReply::{Denied, Expired, Failed, Pending, SlowDown, Unreachable};
    use super::*;

    /// The waits in seconds after each answer, each request made when its wait is over.
    fn waits(interval: Option<i64>, expires_in: Option<i64>, answers: &[PollReply]) -> Vec<Result<u64, Why>> {
        let mut now = Instant::now();
        let mut poll = Poll::new(now, interval, expires_in);
        now += poll.first();
        let mut steps = Vec::new();
        for answer in answers {
            match poll.next(*answer, now) {
                NextPoll::Wait(wait) => {
                    now += wait;
                    steps.push(Ok(wait.as_secs()));
                }
                NextPoll::GiveUp(why) => steps.push(Err(why)),
            }
        }
        steps
    }

    #[test]
    fn the_interval_is_the_providers_or_five_seconds() {
        for (interval, wait) in
            [(None, 5), (Some(7), 7), (Some(0), 1), (Some(-3), 5), (Some(i64::MIN), 5), (Some(i64::MAX), 60)]
        {
            let poll = Poll::new(Instant::now(), interval, Some(900));
            assert_eq!(poll.first(), Duration::from_secs(wait), "{interval:?}");
            assert_eq!(waits(interval, Some(900), &[Pending; 3]), [Ok(wait); 3], "{interval:?}");
        }
    }

    #[test]
    fn slow_down_slows_down_for_good() {
        let steps = waits(None, Some(900), &[Pending, SlowDown, Pending, SlowDown, Pending, Pending]);
        assert_eq!(steps, [5, 10, 10, 15, 15, 15].map(Ok));
        let steps = waits(Some(60), Some(900), &[SlowDown, SlowDown]);
        assert_eq!(steps, [65, 70].map(Ok));
    }

    #[test]
    fn a_silent_server_is_asked_ever_more_rarely_and_then_as_before() {
        let answers = [Unreachable, Unreachable, Unreachable, Unreachable, Unreachable, Pending, Unreachable];
        assert_eq!(waits(None, Some(900), &answers), [10, 20, 40, 60, 60, 5, 10].map(Ok));
        let answers = [SlowDown, Unreachable, Pending, SlowDown, Unreachable];
        assert_eq!(waits(None, Some(900), &answers), [10, 20, 10, 15, 30].map(Ok));
        // 2^40 and what follows does not overflow.
        let mut poll = Poll::new(Instant::now(), None, None);
        (0..99).for_each(|_| assert!(matches!(poll.next(Unreachable, Instant::now()), NextPoll::Wait(_))));
    }

    #[test]
    fn the_codes_end_is_the_end() {
        let steps = waits(None, Some(16), &[Pending, Pending, Pending]);
        assert_eq!(steps, [Ok(5), Ok(5), Err(Why::Expired)]);
        assert_eq!(waits(None, Some(10), &[Pending]), [Err(Why::Expired)]);
        // At 5 s: 10 s would be too late, 5 s is not.
        assert_eq!(waits(None, Some(12), &[Unreachable, Unreachable]), [Ok(5), Err(Why::Unreachable)]);
        let late = Instant::now() + Duration::from_secs(5);
        assert_eq!(Poll::new(Instant::now(), None, Some(1)).next(Pending, late), NextPoll::GiveUp(Why::Expired));
    }

    #[test]
    fn a_missing_or_absurd_life_is_bounded() {
        let now = Instant::now();
        let life = |expires_in| Poll::new(now, None, expires_in).expires_at().duration_since(now).as_secs();
        assert_eq!([None, Some(0), Some(-1), Some(i64::MIN)].map(life), [600; 4]);
        assert_eq!([Some(1), Some(1800), Some(i64::MAX)].map(life), [1, 1800, 86_400]);
    }

    #[test]
    fn a_refusal_ends_it() {
        for (answer, why) in [(Denied, Why::Denied), (Expired, Why::Expired), (Failed, Why::Failed)] {
            assert_eq!(waits(None, None, &[answer]), [Err(why)]);
        }
    }

    #[test]
    fn error_codes_have_their_meanings() {
        for (code, answer) in [
            ("authorization_pending", Some(Pending)),
            ("slow_down", Some(SlowDown)),
            ("access_denied", Some(Denied)),
            ("expired_token", Some(Expired)),
            ("transaction_failed", Some(Failed)),
            ("invalid_grant", None),
            ("Slow_down", None),
            ("", None),
        ] {
            assert_eq!(PollReply::of(code), answer, "{code}");
        }
    }
}
