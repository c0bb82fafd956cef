//! One session, many machines: who renews it, and what becomes of the reply, as steps over a store with compare-and-set.
//! Pure: reading, writing, sending and sleeping are the caller's, who tells the outcome of each ([`Renewal::next`]).
//!
//! Whoever is to renew first writes a lease into the entry (which proves that the store takes writes before the refresh
//! token is spent), sends only as long as nobody can have taken the lease from them, renews it while the reply is
//! waited for, and writes the reply over whatever stands there of its own generation. No machine's clock is compared with
//! another's: a lease is timed from when this process first saw it, or by the store's own clock.

use crate::token::shared::{Ended, Lease, SharedEntry};
use std::time::Duration;

/// How long a lease is valid after its last write.
pub const LEASE: Duration = Duration::from_secs(20);
/// The same where the provider takes a spent refresh token again for a while (`[refresh] grace`): whoever takes over
/// has to be in time for it.
pub const LEASE_WITHIN_GRACE: Duration = Duration::from_secs(8);
/// How long a reply is waited for at least: the token may be spent.
pub const REPLY: Duration = Duration::from_secs(60);
/// How long a reply that is in is tried to be stored.
pub const KEEP: Duration = Duration::from_secs(60);
/// How long a refusal waits for a late result of the machine that the lease was taken from.
pub const LATE: Duration = Duration::from_secs(4);
/// How long the store is left alone between two looks for the same, or after it failed.
pub const AGAIN: Duration = Duration::from_millis(500);
/// The first wait for another machine's lease, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// An entry as the store has it.
#[derive(Clone, Debug)]
pub struct Held<V> {
    /// What it says.
    pub entry: SharedEntry,
    /// Its version: what a write must be over.
    pub version: V,
    /// How long ago it was written, by the store's own clock, if the store tells.
    pub age: Option<Duration>,
}

/// The outcome of a write over a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Written<V> {
    /// It was made; the new version.
    Done(V),
    /// Another write came first.
    Lost,
    /// It was sent, and its reply did not come, or it could not be sent.
    Unknown,
}

/// What the caller is to do next.
#[derive(Clone, Debug)]
pub enum Step<V> {
    /// Read the entry: [`Told::Read`] or [`Told::Unreadable`].
    Read,
    /// Write `entry` over `over`: [`Told::Written`].
    Write {
        /// The entry.
        entry: Box<SharedEntry>,
        /// The version it must replace.
        over: V,
    },
    /// Wait: [`Told::Slept`].
    Sleep(Duration),
    /// Send the session's refresh token, unless that begins after `not_after` ([`Told::NotSent`]); wait for the reply for
    /// `reply`, and meanwhile write `held` again over `over` each third of the lease, each time with another
    /// [`SharedEntry::write`], until the lease is another's.
    Send {
        /// The entry that holds the session and this call's lease.
        held: Box<SharedEntry>,
        /// Its version.
        over: V,
        /// The last moment to send the request at, by the clock of [`Renewal::next`].
        not_after: Duration,
        /// How long its reply is waited for.
        reply: Duration,
    },
    /// That was it.
    Done(Outcome),
}

/// What came of a step.
#[derive(Clone, Debug)]
pub enum Told<V> {
    /// Nothing was done yet.
    Begin,
    /// The entry, or that there is none.
    Read(Option<Box<Held<V>>>),
    /// The store could not be read for now.
    Unreadable,
    /// Of [`Step::Write`].
    Written(Written<V>),
    /// Of [`Step::Sleep`].
    Slept,
    /// The provider issued tokens: the entry as it is to be, but for what the protocol writes itself.
    Issued(Box<SharedEntry>),
    /// The provider refused the refresh token as dead, in these words.
    Dead(String),
    /// The provider refused for another reason: the refresh token is not spent.
    Refused,
    /// Nothing was sent, or nothing of it counts: no connection, 429, 503.
    NotSent,
    /// The time to send had passed before the connection stood.
    Late,
    /// No reply came, or one that says nothing of the refresh token.
    NoReply,
}

/// How an entry was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// How long ago it was written.
    pub age: Duration,
    /// Whether the store told; else it is at least as old.
    pub is_timed: bool,
    /// Whether it brought a newer token than the entry that this call saw first.
    pub is_new: bool,
}

/// How a renewal ends.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The entry holds an access token that will do.
    Served {
        /// The entry.
        entry: Box<SharedEntry>,
        /// How it was seen.
        seen: Seen,
    },
    /// This call's own request was answered with tokens. `is_kept`: whether the session is in the store, or a newer one.
    Renewed {
        /// Whether it is.
        is_kept: bool,
    },
    /// The session has ended.
    Ended(Ended),
    /// There is no session in the store.
    NoSession,
    /// Another machine is renewing the session, and the deadline has passed.
    Busy(Lease),
    /// The store could not be read before the deadline.
    Unreadable,
    /// The store does not take the lease, and the deadline has passed.
    Unwritable,
    /// The request failed: the caller knows how.
    Failed,
}

/// Who is renewing, and what for.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The machine's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When the call ends, by the clock of [`Renewal::next`].
    pub deadline: Duration,
    /// How long the provider takes a refresh token again after it was renewed.
    pub grace: Duration,
}

/// What a renewal asks its caller.
pub trait Asked {
    /// Whether the entry, as it was `seen`, holds an access token for this call.
    fn is_served(&self, entry: &SharedEntry, seen: Seen) -> bool;
    /// 64 random bits.
    fn random(&mut self) -> u64;
    /// The time by this machine's wall clock, in seconds since 1970: shown to people.
    fn wall_clock(&self) -> i64;
}

/// A renewal on its way. `V` is a version of the store.
#[derive(Clone, Debug)]
pub struct Renewal<V> {
    caller: Caller,
    at: At<V>,
    /// The leases that this call has asked for, and when each was first sent.
    own: Vec<(String, Duration)>,
    /// Another's lease and version, and when it was first seen.
    seen: Option<(String, V, Duration)>,
    /// The version that was read last, and when it was first seen: how old an entry is at least.
    read: Option<(V, Duration)>,
    /// The login and generation that were there first.
    first: Option<(String, u64)>,
    /// Whether the lease was taken from another machine.
    taken_over: bool,
    wait: Duration,
    /// When the refresh token of this login and generation was first sent.
    sent: Option<(String, u64, Duration)>,
}

#[derive(Clone, Debug)]
enum At<V> {
    Reading,
    Waiting,
    Taking { entry: Box<SharedEntry>, asked: Duration },
    GivingBack { then: Then },
    Sending(Own<V>),
    Keeping(Keep),
    Comparing(Keep),
    Pausing(Keep),
    Confirming(Death),
    Listening(Death),
    Ending(Ended),
}

/// The entry with this call's lease.
#[derive(Clone, Debug)]
struct Own<V> {
    held: Box<SharedEntry>,
    /// Its version.
    over: V,
}

/// A reply that is to be stored.
#[derive(Clone, Debug)]
struct Keep {
    entry: Box<SharedEntry>,
    since: Duration,
}

/// A refusal that is to be confirmed.
#[derive(Clone, Debug)]
struct Death {
    why: String,
    login: String,
    generation: u64,
    since: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Again,
    Fail,
}

impl<V: Clone + PartialEq> Renewal<V> {
    /// Begins with [`Told::Begin`].
    pub fn new(caller: Caller) -> Renewal<V> {
        Renewal {
            caller,
            at: At::Reading,
            own: Vec::new(),
            seen: None,
            read: None,
            first: None,
            taken_over: false,
            wait: WAIT.0,
            sent: None,
        }
    }

    /// How long this caller's leases are valid.
    pub fn lease(&self) -> Duration {
        if self.caller.grace > LEASE_WITHIN_GRACE { LEASE_WITHIN_GRACE } else { LEASE }
    }

    /// Tells that the lease was renewed while the reply was waited for, and that `version` is the entry's since.
    pub fn renewed(&mut self, version: V) {
        if let At::Sending(own) = &mut self.at {
            own.over = version;
        }
    }

    /// What comes after `told`; `now`: the time since any fixed moment, by a clock that only runs forward.
    pub fn next(&mut self, told: Told<V>, now: Duration, asked: &mut dyn Asked) -> Step<V> {
        match (std::mem::replace(&mut self.at, At::Reading), told) {
            (At::Reading, Told::Read(held)) => self.judge(held, now, asked),
            (At::Reading, Told::Unreadable) if now > self.caller.deadline => Step::Done(Outcome::Unreadable),
            (At::Reading, Told::Unreadable) => self.pause(At::Waiting),
            (At::Taking { entry, asked: since }, Told::Written(Written::Done(version))) => {
                self.send(Own { held: entry, over: version }, since, now, asked)
            }
            // Whether it was made is seen in the entry.
            (At::Taking { .. }, Told::Written(_)) => Step::Read,
            (At::GivingBack { then: Then::Fail }, _) => Step::Done(Outcome::Failed),
            (At::Sending(own), told) => self.answered(own, told, now, asked),
            (At::Keeping(_), Told::Written(Written::Done(_))) => Step::Done(Outcome::Renewed { is_kept: true }),
            (At::Keeping(keep), _) => {
                self.at = At::Comparing(keep);
                Step::Read
            }
            (At::Comparing(keep), told) => self.compare(keep, told, now),
            (At::Pausing(keep), _) => {
                self.at = At::Comparing(keep);
                Step::Read
            }
            (At::Confirming(death), told) => self.confirm(death, told, now, asked),
            (At::Listening(death), _) => {
                self.at = At::Confirming(death);
                Step::Read
            }
            (At::Ending(ended), Told::Written(Written::Done(_))) => Step::Done(Outcome::Ended(ended)),
            // From the start: after a wait, a lease given back, an end that another write came before.
            _ => Step::Read,
        }
    }

    fn judge(&mut self, held: Option<Box<Held<V>>>, now: Duration, asked: &mut dyn Asked) -> Step<V> {
        let Some(held) = held else { return Step::Done(Outcome::NoSession) };
        let Held { entry, version, age: told } = *held;
        let read = match self.read.take() {
            Some((same, since)) if same == version => (same, since),
            _ => (version.clone(), now),
        };
        let age = told.unwrap_or(Duration::ZERO).max(now.saturating_sub(read.1));
        self.read = Some(read);
        let first = self.first.get_or_insert_with(|| (entry.login.clone(), entry.generation));
        let is_new = (first.0.as_str(), first.1) != (entry.login.as_str(), entry.generation);
        let seen = Seen { age, is_timed: told.is_some(), is_new };
        if asked.is_served(&entry, seen) {
            return Step::Done(Outcome::Served { entry: Box::new(entry), seen });
        }
        if let Some(ended) = entry.ended {
            return Step::Done(Outcome::Ended(ended));
        }
        if entry.credentials.session.is_none() {
            return Step::Done(Outcome::NoSession);
        }
        let own = entry.lease.as_ref().and_then(|lease| self.own.iter().find(|(id, _)| *id == lease.id));
        // The reply to the write of this lease was lost.
        if let Some((_, since)) = own.cloned() {
            return self.send(Own { held: Box::new(entry), over: version }, since, now, asked);
        }
        if now > self.caller.deadline {
            return Step::Done(entry.lease.map_or(Outcome::Unwritable, Outcome::Busy));
        }
        if let Some(lease) = &entry.lease {
            // A renewal is another version.
            let seen = match self.seen.take() {
                Some((id, of, since)) if id == lease.id && of == version => (id, of, since),
                _ => (lease.id.clone(), version.clone(), now),
            };
            let valid = Duration::from_secs(lease.seconds.clamp(1, REPLY.as_secs()));
            let is_over = age > valid || now.saturating_sub(seen.2) > valid;
            self.seen = Some(seen);
            if !is_over {
                return self.back_off(now, asked);
            }
        }
        self.taken_over = entry.lease.is_some();
        let lease = Lease {
            id: text(asked),
            host: self.caller.host.clone(),
            pid: self.caller.pid,
            seconds: self.lease().as_secs(),
        };
        self.own.push((lease.id.clone(), now));
        let entry = Box::new(SharedEntry { lease: Some(lease), write: text(asked), ..entry.aged(age) });
        self.at = At::Taking { entry: entry.clone(), asked: now };
        Step::Write { entry, over: version }
    }

    /// `since`: when the lease was asked for.
    fn send(&mut self, own: Own<V>, since: Duration, now: Duration, asked: &mut dyn Asked) -> Step<V> {
        let not_after = since + self.lease() / 3;
        if now > not_after {
            return self.give_back(own, Then::Again, asked);
        }
        self.request(own, not_after, now)
    }

    fn request(&mut self, own: Own<V>, not_after: Duration, now: Duration) -> Step<V> {
        let Own { held, over } = own;
        let same =
            |(login, generation, _): &(String, u64, Duration)| (login, *generation) == (&held.login, held.generation);
        let first = match self.sent.take().filter(same) {
            Some((_, _, first)) => first,
            None => now,
        };
        self.sent = Some((held.login.clone(), held.generation, first));
        self.at = At::Sending(Own { held: held.clone(), over: over.clone() });
        // The last try is waited for as long as any.
        let reply = if self.may_repeat(first, now + self.lease()) { self.lease() } else { REPLY };
        Step::Send { held, over, not_after, reply }
    }

    /// Whether the same refresh token may be sent once more if no reply comes: the provider still takes it then.
    fn may_repeat(&self, first: Duration, now: Duration) -> bool {
        // It may have been spent right when it was sent first; and the request needs its time.
        now + self.lease() < first + self.caller.grace
    }

    fn answered(&mut self, own: Own<V>, told: Told<V>, now: Duration, asked: &mut dyn Asked) -> Step<V> {
        match told {
            Told::Issued(entry) => {
                let entry = SharedEntry {
                    login: own.held.login,
                    generation: own.held.generation + 1,
                    write: text(asked),
                    lease: None,
                    ended: None,
                    ..*entry
                };
                let keep = Keep { entry: Box::new(entry), since: now };
                let step = Step::Write { entry: keep.entry.clone(), over: own.over };
                self.at = At::Keeping(keep);
                step
            }
            Told::Dead(why) => {
                self.at =
                    At::Confirming(Death { why, login: own.held.login, generation: own.held.generation, since: now });
                Step::Read
            }
            Told::Late => self.give_back(own, Then::Again, asked),
            Told::NotSent | Told::Refused => self.give_back(own, Then::Fail, asked),
            // The lease runs out by itself: no one knows what became of the token.
            _ => match &self.sent {
                Some((_, _, first)) if self.may_repeat(*first, now) => {
                    let not_after = now + self.lease() / 3;
                    self.request(own, not_after, now)
                }
                _ => Step::Done(Outcome::Failed),
            },
        }
    }

    fn give_back(&mut self, own: Own<V>, then: Then, asked: &mut dyn Asked) -> Step<V> {
        let Own { held, over } = own;
        self.at = At::GivingBack { then };
        Step::Write { entry: Box::new(SharedEntry { lease: None, write: text(asked), ..*held }), over }
    }

    /// After a write of the reply that was not made, or may not have been.
    fn compare(&mut self, keep: Keep, told: Told<V>, now: Duration) -> Step<V> {
        let is_over = now.saturating_sub(keep.since) > KEEP;
        let held = match told {
            Told::Read(Some(held)) => held,
            // Logged out, and nothing left of it: what came is the last of a session that nobody wants.
            Told::Read(None) => return Step::Done(Outcome::Renewed { is_kept: false }),
            _ if is_over => return Step::Done(Outcome::Renewed { is_kept: false }),
            _ => return self.pause(At::Pausing(keep)),
        };
        let entry = &held.entry;
        if entry.write == keep.entry.write
            || (entry.login == keep.entry.login && entry.generation >= keep.entry.generation)
        {
            return Step::Done(Outcome::Renewed { is_kept: true });
        }
        // Another login has replaced the session.
        if entry.login != keep.entry.login {
            return Step::Read;
        }
        if is_over {
            return Step::Done(Outcome::Renewed { is_kept: false });
        }
        // Still the token that is spent, whoever has the lease, and even if it was found dead: this one is the newer.
        let step = Step::Write { entry: keep.entry.clone(), over: held.version };
        self.at = At::Keeping(keep);
        step
    }

    fn confirm(&mut self, death: Death, told: Told<V>, now: Duration, asked: &mut dyn Asked) -> Step<V> {
        let held = match told {
            Told::Read(Some(held)) => held,
            Told::Read(None) => return Step::Done(Outcome::NoSession),
            _ if now > self.caller.deadline.max(death.since + LATE) => return Step::Done(Outcome::Unreadable),
            _ => return self.pause(At::Listening(death)),
        };
        let Held { entry, version, .. } = *held;
        if (entry.login.as_str(), entry.generation) != (death.login.as_str(), death.generation) || entry.ended.is_some()
        {
            return self.judge(Some(Box::new(Held { entry, version, age: None })), now, asked);
        }
        // Whoever held the lease before may be slow, not dead.
        if self.taken_over && now.saturating_sub(death.since) < LATE {
            return self.pause(At::Listening(death));
        }
        let ended = Ended { why: death.why, host: self.caller.host.clone(), at: asked.wall_clock() };
        let mut entry = SharedEntry { lease: None, write: text(asked), ended: Some(ended.clone()), ..entry };
        entry.credentials.session = None;
        entry.access.clear();
        self.at = At::Ending(ended);
        Step::Write { entry: Box::new(entry), over: version }
    }

    fn back_off(&mut self, now: Duration, asked: &mut dyn Asked) -> Step<V> {
        // Half to one and a half of it.
        let jitter = 0.5 + (asked.random() >> 11) as f64 / (1u64 << 53) as f64;
        let wait = self.wait.mul_f64(jitter).min(self.caller.deadline.saturating_sub(now) + WAIT.0);
        self.wait = self.wait.mul_f64(1.5).min(WAIT.1);
        self.at = At::Waiting;
        Step::Sleep(wait)
    }

    fn pause(&mut self, at: At<V>) -> Step<V> {
        self.at = at;
        Step::Sleep(AGAIN)
    }
}

/// 128 random bits as text.
fn text(asked: &mut dyn Asked) -> String {
    format!("{:016x}{:016x}", asked.random(), asked.random())
}

#[cfg(test)]
#[path = "lease/interleavings/tests.rs"]
mod interleavings;
#[cfg(test)]
#[path = "lease/simulation/tests.rs"]
mod simulation;
