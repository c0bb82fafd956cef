//! The clocks: the wall clock, the one that only runs forward, and how long this call may take.
#![expect(clippy::disallowed_methods, reason = "here the clock of the host is made")]

use crate::base::time::Time;
use jiff::tz::TimeZone;
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a call may take by default.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The clocks of a run.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Time + Send + Sync>,
    /// When this run began, by the wall clock.
    pub started: Time,
    /// Until when the whole call may last.
    pub deadline: Instant,
    /// `--timeout`, as it counts for the deadline.
    pub timeout: Duration,
    /// The local time zone, once a time was shown.
    zone: OnceCell<TimeZone>,
}

impl Clock {
    /// The system's clocks.
    pub fn real() -> Clock {
        Clock::with(Arc::new(now))
    }

    /// A clock whose wall time is what `wall` says.
    pub fn with(wall: Arc<dyn Fn() -> Time + Send + Sync>) -> Clock {
        let started = wall();
        Clock { wall, started, deadline: Instant::now() + TIMEOUT, timeout: TIMEOUT, zone: OnceCell::new() }
    }

    /// The wall clock.
    pub fn now(&self) -> Time {
        (self.wall)()
    }

    /// The clock that only runs forward.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// What is left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits; a signal ends the process at once meanwhile.
    pub fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }

    /// Limits the whole call to `timeout` from its start.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.deadline = self.deadline - self.timeout + timeout;
        self.timeout = timeout;
    }

    /// The moment `at`, in seconds since 1970, as people say it here: `in 54m, 11:52`.
    pub fn local(&self, at: i64) -> String {
        let zone = self.zone.get_or_init(TimeZone::system);
        crate::base::date::local(at, self.now().secs(), zone)
    }

    /// Starts the time of the call anew: until now a person took theirs.
    pub fn renew(&mut self) {
        self.deadline = Instant::now() + self.timeout;
    }

    /// Begins another call within the same run.
    pub fn restart(&mut self) {
        self.started = self.now();
        self.renew();
    }

    /// Takes the time since `start` off: a person took it.
    pub fn excuse(&mut self, start: Instant) {
        self.deadline += start.elapsed();
    }
}

/// The system's wall clock.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
