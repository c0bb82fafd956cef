//! What a renewal and its caller tell each other: each step, and what came of it. Pure.

use crate::token::shared::{Ended, Lease, SharedEntry};
use std::time::Duration;

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
    /// Send the session's refresh token, or run the grant, unless that begins after `not_after` ([`Told::NotSent`]); wait
    /// for the reply for `reply`, and meanwhile write `held` again over `over` each third of the lease, each time with
    /// another [`SharedEntry::write`], until the lease is another's.
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
    /// The store takes no write of this machine, now or later.
    Unwritable,
    /// Of [`Step::Sleep`].
    Slept,
    /// The provider issued tokens: the entry as it is to be, but for what the protocol writes itself. A session that a
    /// grant began is another login's.
    Issued(Box<SharedEntry>),
    /// The provider refused the refresh token as dead, in these words.
    Dead(String),
    /// The provider refused for another reason: the refresh token is not spent. Or it refused this grant, which no machine
    /// is to run again by itself.
    Refused(Option<String>),
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
    /// This call is to ask for itself, without a lease: nothing is lost by that.
    Alone,
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
    /// Whether the request spends what it sends, as it does a refresh token. A non-interactive grant can be run again.
    pub spends: bool,
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
