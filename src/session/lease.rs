//! One session, many machines: who renews it, and what becomes of the reply, as steps over a store with compare-and-set.
//! Pure: reading, writing, sending and sleeping are the caller's, who tells the outcome of each ([`Renewal::next`]).
//! A token of a non-interactive grant comes by the same steps; nothing is spent by its request, so whoever cannot have
//! the lease asks without it.
//!
//! Whoever is to renew first writes a lease into the entry (which proves that the store takes writes before the refresh
//! token is spent), sends only as long as nobody can have taken the lease from them, renews it while the reply is
//! waited for, and writes the reply over whatever stands there of its own generation. No machine's clock is compared with
//! another's: a lease is timed from when this process first saw it, or by the store's own clock.

mod steps;

use crate::token::shared::{Ended, Lease, SharedEntry};
use std::time::Duration;
pub use steps::{Asked, Caller, Held, Outcome, Seen, Step, Told, Written};

/// How long a lease is valid after its last write.
pub const LEASE: Duration = Duration::from_secs(20);
/// The same where the provider takes a spent refresh token again for a while (`[refresh] grace`), for whoever takes over
/// has to be in time for it; and where no token is spent.
pub const LEASE_WITHIN_GRACE: Duration = Duration::from_secs(8);
/// How long a reply is waited for at least: the token may be spent.
pub const REPLY: Duration = Duration::from_secs(60);
/// How long a reply that is in is tried to be stored.
pub const KEEP: Duration = Duration::from_secs(60);
/// How long a refusal waits for a late result of the machine that the lease was taken from, and how long a token that
/// can be had again is tried to be shared.
pub const LATE: Duration = Duration::from_secs(4);
/// How long the store is left alone between two looks for the same, or after it failed.
pub const AGAIN: Duration = Duration::from_millis(500);
/// How many grants of other machines a call waits for that bring no token for it, and how often it asks for the lease.
const TURNS: (u64, usize) = (4, 8);
/// The first wait for another machine's lease, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

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
    /// What was there when the call looked first.
    first: Option<Counts>,
    /// Whether the lease was taken from another machine.
    taken_over: bool,
    wait: Duration,
    /// When the refresh token of this login and generation was first sent.
    sent: Option<(String, u64, Duration)>,
}

/// What tells whether an entry holds newer tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    login: String,
    generation: u64,
    grants: u64,
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
    /// The login that was there when it was asked for.
    login: String,
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
    /// Begins with [`Told::Begin`]. `first`: what an earlier renewal of the same call saw first ([`Renewal::first`]).
    pub fn new(caller: Caller, first: Option<Counts>) -> Renewal<V> {
        Renewal {
            caller,
            at: At::Reading,
            own: Vec::new(),
            seen: None,
            read: None,
            first,
            taken_over: false,
            wait: WAIT.0,
            sent: None,
        }
    }

    /// What was in the entry when the call looked first.
    pub fn first(&self) -> Option<&Counts> {
        self.first.as_ref()
    }

    /// How long this caller's leases are valid.
    pub fn lease(&self) -> Duration {
        let is_short = self.caller.grace > LEASE_WITHIN_GRACE || !self.caller.spends;
        if is_short { LEASE_WITHIN_GRACE } else { LEASE }
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
            (At::Reading, Told::Unreadable) | (At::Taking { .. }, Told::Unwritable) if !self.caller.spends => {
                Step::Done(Outcome::Alone)
            }
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
        let counts = Counts { login: entry.login.clone(), generation: entry.generation, grants: entry.grants };
        let first = self.first.get_or_insert_with(|| counts.clone());
        let is_new = *first != counts;
        // Another machine has begun a session, or got tokens that will not do, or none.
        let is_another = first.login != counts.login && entry.credentials.session.is_some();
        let is_over = is_another || counts.grants.saturating_sub(first.grants) >= TURNS.0;
        let seen = Seen { age, is_timed: told.is_some(), is_new };
        if asked.is_served(&entry, seen) {
            return Step::Done(Outcome::Served { entry: Box::new(entry), seen });
        }
        match (self.caller.spends, &entry.ended) {
            (true, Some(ended)) => return Step::Done(Outcome::Ended(ended.clone())),
            (true, None) if entry.credentials.session.is_none() => return Step::Done(Outcome::NoSession),
            (false, _) if is_over || self.own.len() > TURNS.1 => return Step::Done(Outcome::Alone),
            _ => {}
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
        let not_after = if self.caller.spends { since + self.lease() / 3 } else { self.caller.deadline };
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
        let reply = match self.caller.spends {
            false => self.caller.deadline.saturating_sub(now),
            true if self.may_repeat(first, now + self.lease()) => self.lease(),
            true => REPLY,
        };
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
                let login = own.held.login;
                let issued = match self.caller.spends {
                    true => {
                        SharedEntry { login: login.clone(), generation: own.held.generation + 1, ended: None, ..*entry }
                    }
                    // The session, if there is one, stays as it is.
                    false => SharedEntry { grants: own.held.grants + 1, ..*entry },
                };
                let entry = SharedEntry { write: text(asked), lease: None, ..issued };
                let keep = Keep { entry: Box::new(entry), login, since: now };
                let step = Step::Write { entry: keep.entry.clone(), over: own.over };
                self.at = At::Keeping(keep);
                step
            }
            Told::Dead(why) if self.caller.spends => {
                self.at =
                    At::Confirming(Death { why, login: own.held.login, generation: own.held.generation, since: now });
                Step::Read
            }
            Told::Late => self.give_back(own, Then::Again, asked),
            Told::NotSent => self.give_back(own, Then::Fail, asked),
            Told::Refused(grant) => {
                let refused = grant.or_else(|| own.held.refused.clone());
                let held = Box::new(SharedEntry { refused, ..*own.held });
                self.give_back(Own { held, ..own }, Then::Fail, asked)
            }
            _ if !self.caller.spends => self.give_back(own, Then::Fail, asked),
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
        // A grant that brought nothing counts too: it may bring the others nothing either.
        let grants = held.grants + u64::from(!self.caller.spends);
        Step::Write { entry: Box::new(SharedEntry { lease: None, write: text(asked), grants, ..*held }), over }
    }

    /// After a write of the reply that was not made, or may not have been.
    fn compare(&mut self, keep: Keep, told: Told<V>, now: Duration) -> Step<V> {
        let is_over = now.saturating_sub(keep.since) > if self.caller.spends { KEEP } else { LATE };
        let held = match told {
            Told::Read(Some(held)) => held,
            // Logged out, and nothing left of it: what came is the last of a session that nobody wants.
            Told::Read(None) => return Step::Done(Outcome::Renewed { is_kept: false }),
            _ if is_over => return Step::Done(Outcome::Renewed { is_kept: false }),
            _ => return self.pause(At::Pausing(keep)),
        };
        let entry = &held.entry;
        if !self.caller.spends {
            return self.compare_grant(keep, *held, now);
        }
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

    /// The same of a grant: what others have written since stays.
    fn compare_grant(&mut self, keep: Keep, held: Held<V>, now: Duration) -> Step<V> {
        let Held { entry, version, .. } = held;
        let is_ours = entry.lease.is_some_and(|lease| self.own.iter().any(|(id, _)| *id == lease.id));
        let begins = keep.entry.login != keep.login;
        let is_over = now.saturating_sub(keep.since) > LATE;
        if entry.write != keep.entry.write && entry.login == keep.login && (is_ours || begins) && !is_over {
            let step = Step::Write { entry: keep.entry.clone(), over: version };
            self.at = At::Keeping(keep);
            return step;
        }
        Step::Done(Outcome::Renewed { is_kept: entry.login == keep.entry.login || entry.login != keep.login })
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
