//! A token of a profile whose store many machines share: does what [`crate::session::lease`] says, with the store, the
//! provider and the clock of this machine.

pub mod entry;
mod request;

use crate::base::date;
use crate::base::error::{Error, Kind};
use crate::base::text::escape_to;
use crate::host::Host;
use crate::oauth::reply::Issued;
use crate::profile::{Profile, Value};
use crate::provider::Grant;
use crate::session::acquire::{TokenSource, Wanted, index, put};
use crate::session::lease::{Caller, Held, KEEP, LATE, Outcome, Renewal, Step, Told, Written};
use crate::session::open_store::{OpenStore, store_error};
use crate::session::status;
use crate::storage::index::Refusal;
use crate::storage::secrets::shared::{Over, Put, Version};
use crate::storage::secrets::{StoreError, StoreErrorKind};
use crate::system::signals::{Stake, hold};
use crate::token::Token;
use crate::token::credentials::Credentials;
use crate::token::shared::Ended;
use anyhow::Result;
use entry::{Sought, held, held_or_new};
use request::{Beat, Came, Sending, Times, send};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How a token is asked for.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// With the session's refresh token, by that grant.
    Refresh(&'a Grant),
    /// By a non-interactive grant.
    Grant(&'a Grant),
}

/// How a token is asked for, and the stored secrets that this may take.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// How.
    pub by: By<'a>,
    /// The secrets.
    pub secrets: &'a BTreeMap<String, Value>,
}

/// How long the store may take where the token can be had without it.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Renews the session in the shared store of `opened`, or runs a grant, or takes the token that another machine has got
/// meanwhile: one that `answers` at that time, in seconds since 1970. `None`: the session has ended, or there is none; or
/// the grant is to be run without the store's help.
///
/// # Errors
/// Each kind of the contract.
pub fn obtain(
    host: &mut Host,
    wanted: &Wanted,
    opened: &mut OpenStore,
    means: Means,
    answers: &dyn Fn(&Token, i64) -> bool,
) -> Result<Option<(Token, TokenSource)>> {
    let (profile, by) = (wanted.profile, means.by);
    let (spends, stake) = match by {
        By::Refresh(_) => (true, Stake::Session),
        By::Grant(_) => (false, Stake::Time),
    };
    let grace = profile.provider.refresh.as_ref().map(|rules| rules.grace).filter(|_| spends);
    let begun = host.clock.instant();
    let clock = host.clock.clone();
    let since = |at: Instant| at.saturating_duration_since(begun);
    let caller = Caller {
        host: crate::system::machine::name(),
        pid: std::process::id(),
        deadline: since(host.clock.deadline),
        grace: grace.unwrap_or_default(),
        spends,
    };
    let mut renewal: Renewal<Option<Version>> = Renewal::new(caller, opened.first.take());
    let mut told = Told::Begin;
    let mut failure: Option<anyhow::Error> = None;
    let mut trouble: Option<StoreError> = None;
    // Once the time is over, nothing is answered any more: what was wrong before says more.
    let note = |trouble: &mut Option<StoreError>, error: StoreError| {
        if trouble.is_none() || clock.instant() < clock.deadline {
            *trouble = Some(error);
        }
    };
    let mut own: Option<Own> = None;
    let mut holds = None;
    // What a reply leads to has time beyond the deadline of the call.
    let mut until = clock.deadline;
    // The entry that was read last, while the store could be read.
    let mut last: Option<Held<Option<Version>>> = None;
    // Whether it was said which machine is waited for.
    let mut is_said = false;
    let busy = if spends { "is renewing the session" } else { "is getting a token" };
    loop {
        let mut sought = Sought { wanted, by, answers, now: clock.now(), started: clock.started };
        let step = renewal.next(told, since(clock.instant()), &mut sought);
        // What was read when the store was opened is not asked for again.
        let first = opened.take_read();
        let Some(store) = opened.shared() else { return Ok(None) };
        store.set_deadline(if spends { until } else { until.min(clock.instant() + PATIENCE) });
        told = match step {
            Step::Read => match first.map_or_else(|| store.read(&profile.name), Ok).and_then(match by {
                By::Refresh(_) => held,
                By::Grant(_) => held_or_new,
            }) {
                Ok(held) => {
                    last.clone_from(&held);
                    Told::Read(held.map(Box::new))
                }
                // The time is over, which is no fault of the store: what it said last counts.
                Err(error)
                    if error.trouble == StoreErrorKind::Unreachable
                        && clock.instant() >= clock.deadline
                        && last.is_some() =>
                {
                    note(&mut trouble, error);
                    Told::Read(last.take().map(Box::new))
                }
                Err(error) if error.trouble == StoreErrorKind::Unreachable => {
                    last = None;
                    note(&mut trouble, error);
                    Told::Unreadable
                }
                Err(error) if !spends => {
                    trouble = Some(error);
                    Told::Unreadable
                }
                Err(error) => return Err(store_error(profile, &error).into()),
            },
            Step::Write { entry, over } => {
                let what = match (&entry.lease, &own) {
                    (_, Some(_)) if spends => "storing the new session",
                    (_, Some(_)) => "sharing the token",
                    (Some(_), None) => "taking the lease",
                    (None, None) => "giving the lease back",
                };
                host.terminal.detail(&format!("{}: {what} in the {} store", profile.name, profile.store));
                holds.get_or_insert_with(|| hold(stake));
                match store.write(&profile.name, &entry.text(), Over::This(over.as_deref())) {
                    Ok(Put::Done(version)) => Told::Written(Written::Done(Some(version))),
                    Ok(Put::Lost) => Told::Written(Written::Lost),
                    Ok(Put::Unknown(error)) => {
                        note(&mut trouble, error);
                        Told::Written(Written::Unknown)
                    }
                    Err(error) if own.is_none() && !spends => {
                        trouble = Some(error);
                        Told::Unwritable
                    }
                    // The store takes no lease, and so would take no new token.
                    Err(error) if own.is_none() => return Err(store_error(profile, &error).into()),
                    Err(error) => {
                        note(&mut trouble, error);
                        Told::Written(Written::Unknown)
                    }
                }
            }
            Step::Sleep(wait) => {
                if own.is_none() {
                    // Whoever waits has nothing that a signal could lose.
                    holds = None;
                }
                let other = last.as_ref().and_then(|held| held.entry.lease.as_ref()).filter(|_| own.is_none());
                if let (Some(lease), false) = (other, is_said) {
                    let who = format!("{} (process {})", escape_to(&lease.host, 80), lease.pid);
                    is_said = true;
                    match host.terminal.verbose {
                        0 => host.terminal.tell(&format!("{}: waiting for {who}…", profile.name)),
                        _ => host.terminal.detail(&format!("{}: {who} {busy}; waiting", profile.name)),
                    }
                }
                clock.sleep(wait);
                Told::Slept
            }
            Step::Send { held, over, not_after, reply } => {
                let store = store.another(clock.deadline).map_err(|error| store_error(profile, &error))?;
                let (profile, entry) = (profile.name.clone(), (*held).clone());
                let beat = Beat { store, profile, held: entry, every: renewal.lease() / 3 };
                let times = Times { not_after: begun + not_after, reply };
                let sending = Sending { held: &held, times };
                // Until the request is sent: a program that the config names may wait for a person.
                holds = None;
                let (came, version) = beat.beside(over, || send(host, wanted, opened, means, sending));
                renewal.renewed(version);
                let least = if matches!(came, Came::Token(..)) && spends { KEEP } else { LATE };
                until = clock.deadline.max(clock.instant() + least);
                match came {
                    Came::Token(token, issued, entry, hold) => {
                        holds = Some(hold);
                        let is_begun = spends || entry.login != held.login;
                        let credentials = is_begun.then(|| entry.credentials.clone());
                        own = Some(Own { token: *token, issued: *issued, credentials });
                        Told::Issued(entry)
                    }
                    Came::Not(told, error) => {
                        failure = Some(error);
                        told
                    }
                }
            }
            Step::Done(outcome) => {
                // A grant after a session that has ended is the same call: what came meanwhile is new to it.
                opened.first = renewal.first().cloned();
                if let (Outcome::Alone, Some(trouble)) = (&outcome, &trouble) {
                    let why = store_error(profile, trouble);
                    host.terminal.detail(&format!("{}: {why}; this token is not shared", profile.name));
                }
                if let (Outcome::Alone, Some(held)) = (&outcome, &last) {
                    (opened.credentials, opened.refused) = (held.entry.credentials.clone(), held.entry.refused.clone());
                }
                let done = finish(host, opened, &sought, outcome, own);
                drop(holds);
                return match done {
                    Err(Undone::Failed) => Err(failure.unwrap_or_else(|| internal().into())),
                    Err(Undone::Store) => {
                        let unknown =
                            StoreError { trouble: StoreErrorKind::Unreachable, why: "no answer in time".into() };
                        Err(store_error(profile, &trouble.unwrap_or(unknown)).into())
                    }
                    Err(Undone::Busy(who)) => {
                        Err(Error::new(Kind::Unavailable, format!("{who} {busy}"), "it did not finish in time")
                            .hint("try again later, or wait longer with --timeout")
                            .into())
                    }
                    Ok(found) => Ok(found),
                };
            }
        };
    }
}

/// What this call's own request brought.
struct Own {
    token: Token,
    issued: Issued,
    /// What the entry is to hold, if the session is another than before.
    credentials: Option<Credentials>,
}

/// Why a renewal brought nothing.
enum Undone {
    /// The request failed.
    Failed,
    /// The store.
    Store,
    /// Another machine was at it.
    Busy(String),
}

/// Keeps on this machine what came.
fn finish(
    host: &mut Host,
    opened: &mut OpenStore,
    sought: &Sought,
    outcome: Outcome,
    own: Option<Own>,
) -> std::result::Result<Option<(Token, TokenSource)>, Undone> {
    let wanted = sought.wanted;
    let profile = wanted.profile;
    let (grant, source) = match sought.by {
        By::Refresh(grant) => (grant, TokenSource::Refresh),
        By::Grant(grant) => (grant, TokenSource::Grant),
    };
    match outcome {
        Outcome::Served { entry, seen } => {
            let Some(token) = sought.token(&entry, seen) else { return Err(Undone::Failed) };
            host.terminal.detail(&format!("{}: the {} store has a token that will do", profile.name, profile.store));
            put(host, wanted, grant, &token);
            opened.credentials = entry.credentials;
            // From here on this machine's index knows the session too.
            status::note_looked(host, profile, opened);
            Ok(Some((token, TokenSource::Cache)))
        }
        Outcome::Renewed { is_kept } => {
            let Some(Own { token, issued, credentials }) = own else { return Err(Undone::Failed) };
            if let Some(credentials) = credentials {
                if !is_kept {
                    host.terminal.insist(&format!("{}: the new refresh token could not be stored", profile.name));
                    host.terminal
                        .insist(&format!("when this access token expires, log in again: tok login {}", profile.name));
                }
                opened.credentials = credentials;
                index(host, profile, opened, &issued);
            }
            put(host, wanted, grant, &token);
            host.terminal.release_messages();
            Ok(Some((token, source)))
        }
        Outcome::Ended(ended) => {
            opened.ended = Some(ended);
            note_ended(host, profile, opened);
            Ok(None)
        }
        Outcome::NoSession | Outcome::Alone => Ok(None),
        Outcome::Busy(lease) => Err(Undone::Busy(lease.host)),
        Outcome::Unreadable | Outcome::Unwritable => Err(Undone::Store),
        Outcome::Failed => Err(Undone::Failed),
    }
}

/// Notes on this machine that the session has ended for all, so that `status` can tell of it.
pub fn note_ended(host: &mut Host, profile: &Profile, opened: &OpenStore) {
    let Some(ended) = &opened.ended else { return };
    host.terminal.detail(&format!("{}: the session has ended: {}", profile.name, told(ended)));
    let grant = profile.provider.refresh_grant().map(|grant| grant.name.clone()).unwrap_or_default();
    let refusal = Refusal { grant, ended: true, why: told(ended), at: ended.at, identity: None };
    for index in opened.indexes(host, &profile.name).into_iter().filter(|index| index.read().is_some()) {
        index.update(|entry| (entry.refresh_token, entry.refusal) = (false, Some(refusal.clone())));
    }
}

/// Why a session has ended, who found out and when.
pub fn told(ended: &Ended) -> String {
    format!("{} ({}, {})", escape_to(&ended.why, 200), escape_to(&ended.host, 80), date::show(ended.at))
}

fn internal() -> Error {
    Error::new(Kind::Other, "the session could not be renewed", "")
}
