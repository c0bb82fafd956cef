//! The request that a lease is for, and the lease that is renewed meanwhile.

use super::entry::{held, take_in};
use super::{By, Means};
use crate::base::digest;
use crate::base::error::{Error, Kind};
use crate::host::Host;
use crate::oauth::reply::Issued;
use crate::profile::Value;
use crate::provider::Grant;
use crate::session::acquire::Wanted;
use crate::session::exchange::{Asking, Outcome as Exchanged, ask_and_tell};
use crate::session::grant::{self, Brought};
use crate::session::kept;
use crate::session::lease::{AGAIN, Told};
use crate::session::limits;
use crate::session::open_store::OpenStore;
use crate::session::refresh::{Before, asks_for_more, inputs, same_person};
use crate::storage::index::Index;
use crate::storage::secrets::shared::{Over, Put, SharedStore, Version};
use crate::system::http::{Events, Head};
use crate::system::signals::{Hold, Stake, hold};
use crate::token::Token;
use crate::token::credentials::{Credentials, Session};
use crate::token::shared::SharedEntry;
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is seen of a request while it is on its way.
struct Watch {
    clock: crate::system::clock::Clock,
    times: Times,
    is_late: bool,
    is_sent: bool,
    status: Option<u16>,
}

/// The last moment to send a request at, and how long its reply is waited for.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) not_after: Instant,
    pub(super) reply: Duration,
}

impl Events for Watch {
    fn connected(&mut self) -> crate::base::error::Result<()> {
        if self.clock.instant() > self.times.not_after {
            self.is_late = true;
            return Err(Error::new(
                Kind::Unavailable,
                "too late",
                "another machine may be renewing the session by now",
            ));
        }
        (self.is_sent, self.status) = (true, None);
        Ok(())
    }

    fn reply_by(&self, _: Instant) -> Instant {
        self.clock.instant() + self.times.reply
    }

    fn received(&mut self, head: &Head, _: &[u8]) {
        self.status = Some(head.status);
    }
}

impl Watch {
    /// What a failure says of the refresh token.
    fn told(&self, kind: Kind) -> Told<Option<Version>> {
        match self.status {
            _ if self.is_late => Told::Late,
            _ if !self.is_sent => Told::NotSent,
            Some(429 | 503) => Told::NotSent,
            Some(status) if kind == Kind::Refused && status < 500 => Told::Refused(None),
            _ => Told::NoReply,
        }
    }
}

/// A lease that is renewed while something else is waited for.
pub(super) struct Beat {
    pub(super) store: Box<dyn SharedStore + Send>,
    pub(super) profile: String,
    /// The entry with the lease.
    pub(super) held: SharedEntry,
    pub(super) every: Duration,
}

impl Beat {
    /// Does `work`, and meanwhile writes the entry again and again, first over `over`, until the lease is another's. The
    /// version that is known when the work is done. A write that hangs is not waited for: it is over a version, so that it
    /// changes nothing that comes later.
    pub(super) fn beside<T>(self, over: Option<Version>, work: impl FnOnce() -> T) -> (T, Option<Version>) {
        let known = Arc::new(Mutex::new(over));
        let (done, wait) = mpsc::channel::<()>();
        let theirs = known.clone();
        // Without it the lease lasts as long as it does.
        let _ = std::thread::Builder::new().spawn(move || self.renew(&theirs, &wait));
        let result = work();
        drop(done);
        let version = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (result, version)
    }

    fn renew(mut self, known: &Mutex<Option<Version>>, wait: &Receiver<()>) {
        let (began, mut pause) = (Instant::now(), self.every);
        while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(pause) {
            let over = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let entry = SharedEntry { write: digest::random(16), ..self.held.aged(began.elapsed()) };
            self.store.set_deadline(Instant::now() + self.every);
            let written = self.store.write(&self.profile, &entry.text(), Over::This(over.as_deref()));
            pause = self.every;
            let version = match written {
                Ok(Put::Done(version)) => Some(version),
                // It may be an earlier write of this lease whose reply was lost.
                _ => match self.store.read(&self.profile).and_then(held) {
                    Ok(Some(held)) if held.entry.lease == self.held.lease => {
                        pause = AGAIN;
                        held.version
                    }
                    Ok(_) => return,
                    Err(_) => {
                        pause = AGAIN;
                        over
                    }
                },
            };
            *known.lock().unwrap_or_else(PoisonError::into_inner) = version;
        }
    }
}

/// What came of a request.
pub(super) enum Came {
    /// Tokens, and the entry that holds them; signals wait until that is written.
    Token(Box<Token>, Box<Issued>, Box<SharedEntry>, Hold),
    /// None.
    Not(Told<Option<Version>>, anyhow::Error),
}

/// What a lease was taken for, and the time for it.
#[derive(Clone, Copy)]
pub(super) struct Sending<'a> {
    pub(super) held: &'a SharedEntry,
    pub(super) times: Times,
}

/// Sends what the lease was taken for.
pub(super) fn send(host: &mut Host, wanted: &Wanted, opened: &mut OpenStore, means: Means, sending: Sending) -> Came {
    let held = sending.held;
    let came = match means.by {
        By::Refresh(grant) => refresh(host, wanted, grant, means.secrets, sending),
        By::Grant(grant) => {
            (opened.credentials, opened.refused) = (held.credentials.clone(), held.refused.clone());
            let brought = grant::request(host, wanted, grant, opened, means.secrets);
            brought.map(|brought| of_grant(wanted, held, brought))
        }
    };
    // Nothing was sent, or nothing of it counts: the lease is of no more use.
    came.unwrap_or_else(|error| Came::Not(Told::Refused(opened.refused.clone()), error))
}

/// The entry with what a grant brought.
fn of_grant(wanted: &Wanted, held: &SharedEntry, brought: Brought) -> Came {
    let Brought { token, issued, session, hold } = brought;
    let mut entry = match session {
        Some(session) => {
            let dpop_key = token.dpop_key.clone();
            let credentials = Credentials { session: Some(session), dpop_key, ..held.credentials.clone() };
            SharedEntry::begin(credentials, digest::random(16), digest::random(16))
        }
        None => held.clone(),
    };
    take_in(&mut entry, wanted.known, &token);
    Came::Token(Box::new(token), Box::new(issued), Box::new(entry), hold)
}

/// Sends the refresh token of `held`.
fn refresh(
    host: &mut Host,
    wanted: &Wanted,
    grant: &Grant,
    secrets: &BTreeMap<String, Value>,
    Sending { held, times }: Sending,
) -> Result<Came> {
    let profile = wanted.profile;
    let clock = host.clock.clone();
    let mut watch = Watch { clock, times, is_late: false, is_sent: false, status: None };
    // Counted on this machine alone: nothing in a store of many is anybody's to count in.
    let index = [Index::of(host.folders().ok(), &profile.name)];
    let Some((session, inputs)) = inputs(host, wanted, grant, &held.credentials, secrets)? else {
        return Err(Error::new(Kind::Other, "the session could not be renewed", "").into());
    };
    limits::take(host, profile, grant, &index)?;
    let mut before = Before::of(wanted, grant, &session, &inputs);
    let of_others = || held.access.iter().filter_map(|shared| Token::parse(shared.token.expose().as_bytes()));
    before.id_token = before.id_token.or_else(|| of_others().find_map(|token| token.id_token));
    let dead = profile.provider.refresh.as_ref().map(|rules| rules.dead.as_slice()).unwrap_or_default();
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead, device: None };
    let hold = hold(Stake::Session);
    let outcome = ask_and_tell(host, profile, &asking, &inputs, &mut watch);
    Ok(match outcome {
        Ok(Exchanged::Issued(mut issued)) => {
            same_person(profile, session.subject.as_deref(), issued.id_token.as_ref())?;
            let new = issued.refresh_token.clone().unwrap_or_else(|| session.refresh_token.clone());
            let values = kept::values(&profile.provider, &issued, &inputs);
            let token = before.token(profile, grant, &mut issued, &inputs)?;
            let mut entry = held.clone();
            entry.credentials.session = Some(Session { refresh_token: new, values, ..session });
            entry.credentials.dpop_key = inputs.dpop_key.clone();
            if profile.shares_tokens {
                take_in(&mut entry, wanted.known, &token);
            }
            Came::Token(Box::new(token), Box::new(issued), Box::new(entry), hold)
        }
        Ok(Exchanged::Dead(error)) => match asks_for_more(profile, grant, &inputs, wanted.known, &session.identity) {
            Some(name) => {
                let text = format!("{}: keeping the session: the refusal may be about {name}", profile.name);
                host.terminal.detail(&text);
                Came::Not(Told::Refused(None), error.into())
            }
            None => Came::Not(Told::Dead(error.to_string()), error.into()),
        },
        Ok(Exchanged::Failed(error, _)) => {
            if error.kind == Kind::Refused {
                limits::count_refusal(host, profile, &index);
            }
            Came::Not(watch.told(error.kind), error.into())
        }
        Err(error) => Came::Not(watch.told(crate::base::error::kind(&error)), error),
    })
}
