//! Renews a session that many machines share: does what [`crate::session::lease`] says, with the store, the provider
//! and the clock of this machine.

use crate::base::date;
use crate::base::digest;
use crate::base::error::{Error, Kind};
use crate::base::text::escape_to;
use crate::base::time::Time;
use crate::host::Host;
use crate::oauth::reply::Issued;
use crate::profile::{Profile, Value};
use crate::session::acquire::{TokenSource, Wanted, index, put};
use crate::session::exchange::{Asking, Outcome as Exchanged, ask_and_tell};
use crate::session::inputs::{For, fill};
use crate::session::issued::cached;
use crate::session::kept;
use crate::session::lease::{AGAIN, Asked, Caller, Held, KEEP, LATE, Outcome, Renewal, Seen, Step, Told, Written};
use crate::session::limits;
use crate::session::open_store::{OpenStore, refresh_token, store_error};
use crate::session::refresh::{asks_for_more, same_person};
use crate::session::status;
use crate::storage::index::{Index, Refusal};
use crate::storage::secrets::shared::{Over, Put, SharedStore, Version, Versioned};
use crate::storage::secrets::{StoreError, StoreErrorKind};
use crate::system::http::{Events, Head};
use crate::system::signals::{Stake, hold};
use crate::token::credentials::{Credentials, Session};
use crate::token::identity::CurrentIdentity;
use crate::token::shared::{Ended, Lease, MOST_TOKENS, SharedEntry, SharedToken};
use crate::token::{Expires, Token};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is wanted of a token in the entry.
struct Sought<'a> {
    wanted: &'a Wanted<'a>,
    /// Whether a token will do, at a time in seconds since 1970.
    answers: &'a dyn Fn(&Token, i64) -> bool,
    now: Time,
    /// When this call began.
    started: Time,
}

impl Sought<'_> {
    /// The token of `entry`, written `age` ago, that will do; its times are those of this machine's clock.
    fn token(&self, entry: &SharedEntry, Seen { age, is_timed, is_new }: Seen) -> Option<Token> {
        let (now, before) = (self.now, Time(self.started.0 - 1));
        entry.access.iter().find_map(|shared| {
            let mut token = Token::parse(shared.token.expose().as_bytes())?;
            // The times in it are another machine's. One that was there when this call began was not issued since.
            token.received = if is_new { now } else { Time::from_secs(now.secs() - age.as_secs() as i64).min(before) };
            let by_age = |left: u64| now.secs().saturating_add(left.saturating_sub(age.as_secs()) as i64);
            token.expires = match (shared.left, token.expires) {
                // Nobody knows how old the entry is: then another machine's clock is better than none.
                (Some(left), Expires::At(at)) if !is_timed && !is_new => Expires::At(by_age(left).min(at)),
                (Some(left), _) => Expires::At(by_age(left)),
                (None, _) => Expires::Never,
            };
            let is_of_these = token.identity.contradiction(self.wanted.known).is_none();
            (is_of_these && (self.answers)(&token, now.secs())).then_some(token)
        })
    }
}

impl Asked for Sought<'_> {
    fn is_served(&self, entry: &SharedEntry, seen: Seen) -> bool {
        self.token(entry, seen).is_some()
    }

    fn random(&mut self) -> u64 {
        let mut bytes = [0; 8];
        digest::fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn wall_clock(&self) -> i64 {
        self.now.secs()
    }
}

/// What is seen of a request while it is on its way.
struct Watch {
    clock: crate::system::clock::Clock,
    /// The last moment to send it at, and until when its reply is waited for.
    not_after: Instant,
    reply: Duration,
    is_late: bool,
    is_sent: bool,
    status: Option<u16>,
}

impl Events for Watch {
    fn connected(&mut self) -> crate::base::error::Result<()> {
        if self.clock.instant() > self.not_after {
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
        self.clock.instant() + self.reply
    }

    fn received(&mut self, head: &Head, _: &[u8]) {
        self.status = Some(head.status);
    }
}

/// Renews the session in the shared store of `opened`, or takes the token that another machine has got meanwhile: one
/// that `answers` at that time, in seconds since 1970. `None`: the session has ended, or there is none.
///
/// # Errors
/// Each kind of the contract.
pub fn renew(
    host: &mut Host,
    wanted: &Wanted,
    opened: &mut OpenStore,
    secrets: &BTreeMap<String, Value>,
    answers: &dyn Fn(&Token, i64) -> bool,
) -> Result<Option<(Token, TokenSource)>> {
    let profile = wanted.profile;
    let Some(rules) = &profile.provider.refresh else { return Ok(None) };
    let begun = host.clock.instant();
    let clock = host.clock.clone();
    let Some(mut store) = opened.shared().map(|store| store.another(clock.deadline)) else { return Ok(None) };
    let since = |at: Instant| at.saturating_duration_since(begun);
    let caller = Caller {
        host: crate::system::machine::name(),
        pid: std::process::id(),
        deadline: since(host.clock.deadline),
        grace: rules.grace,
    };
    let mut renewal: Renewal<Version> = Renewal::new(caller);
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
    // The entry that was read last, while the store could be read.
    let mut last: Option<Held<Version>> = None;
    // Who was seen to renew the session, until that is said.
    let mut holder: Option<Lease> = opened.lease.clone();
    loop {
        let mut sought = Sought { wanted, answers, now: clock.now(), started: clock.started };
        let step = renewal.next(told, since(clock.instant()), &mut sought);
        told = match step {
            Step::Read => match store.read(&profile.name).and_then(held) {
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
                Err(error) => return Err(store_error(profile, &error).into()),
            },
            Step::Write { entry, over } => {
                let what = match (&entry.lease, &own) {
                    (_, Some(_)) => "storing the new session",
                    (Some(_), None) => "taking the lease",
                    (None, None) => "giving the lease back",
                };
                host.terminal.detail(&format!("{}: {what} in the {} store", profile.name, profile.store));
                holds.get_or_insert_with(|| hold(Stake::Session));
                match store.write(&profile.name, &entry.text(), Over::This(Some(&over))) {
                    Ok(Put::Done(version)) => Told::Written(Written::Done(version)),
                    Ok(Put::Lost) => Told::Written(Written::Lost),
                    Ok(Put::Unknown(error)) => {
                        note(&mut trouble, error);
                        Told::Written(Written::Unknown)
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
                if let Some(lease) = holder.take() {
                    let who = format!("{} (process {})", escape_to(&lease.host, 80), lease.pid);
                    host.terminal.detail(&format!("{}: {who} is renewing the session; waiting", profile.name));
                }
                clock.sleep(wait);
                Told::Slept
            }
            Step::Send { held, over, not_after, reply } => {
                let watch = Watch {
                    clock: clock.clone(),
                    not_after: begun + not_after,
                    reply,
                    is_late: false,
                    is_sent: false,
                    status: None,
                };
                let lease = Beat {
                    store: store.another(clock.deadline),
                    profile: profile.name.clone(),
                    held: (*held).clone(),
                    every: renewal.lease() / 3,
                };
                let (came, version) = lease.beside(over, || send(host, wanted, &held, secrets, watch));
                renewal.renewed(version);
                let least = if matches!(came, Ok(Came::Token(..))) { KEEP } else { LATE };
                // What the reply leads to has time beyond the deadline of the call.
                store = store.another(clock.deadline.max(clock.instant() + least));
                match came? {
                    Came::Token(token, issued, entry) => {
                        own = Some(Own { token: *token, issued: *issued, credentials: entry.credentials.clone() });
                        Told::Issued(entry)
                    }
                    Came::Not(told, error) => {
                        failure = Some(error);
                        told
                    }
                }
            }
            Step::Done(outcome) => {
                let done = finish(host, opened, &sought, outcome, own);
                drop(holds);
                return match done {
                    Err(Undone::Failed) => Err(failure.unwrap_or_else(|| internal().into())),
                    Err(Undone::Store) => {
                        let unknown =
                            StoreError { trouble: StoreErrorKind::Unreachable, why: "no answer in time".into() };
                        Err(store_error(profile, &trouble.unwrap_or(unknown)).into())
                    }
                    Err(Undone::Busy(who)) => Err(Error::new(
                        Kind::Unavailable,
                        format!("{who} is renewing the session"),
                        "it did not finish in time",
                    )
                    .hint("try again later, or wait longer with --timeout")
                    .into()),
                    Ok(found) => Ok(found),
                };
            }
        };
    }
}

/// An entry as the protocol reads it.
fn held(read: Versioned) -> Result<Option<Held<Version>>, StoreError> {
    let (Some(entry), Some(version)) = (read.entry, read.version) else { return Ok(None) };
    let entry = SharedEntry::parse(&entry)
        .map_err(|error| StoreError { trouble: StoreErrorKind::Entry, why: error.to_string() })?;
    Ok(Some(Held { entry, version, age: read.age }))
}

/// A lease that is renewed while something else is waited for.
struct Beat {
    store: Box<dyn SharedStore>,
    profile: String,
    /// The entry with the lease.
    held: SharedEntry,
    every: Duration,
}

impl Beat {
    /// Does `work`, and meanwhile writes the entry again and again, first over `over`, until the lease is another's. The
    /// version that is known when the work is done. A write that hangs is not waited for: it is over a version, so that it
    /// changes nothing that comes later.
    fn beside<T>(self, over: Version, work: impl FnOnce() -> T) -> (T, Version) {
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

    fn renew(mut self, known: &Mutex<Version>, wait: &Receiver<()>) {
        let (began, mut pause) = (Instant::now(), self.every);
        while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(pause) {
            let over = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let entry = SharedEntry { write: digest::random(16), ..self.held.aged(began.elapsed()) };
            self.store = self.store.another(Instant::now() + self.every);
            let written = self.store.write(&self.profile, &entry.text(), Over::This(Some(&over)));
            pause = self.every;
            let version = match written {
                Ok(Put::Done(version)) => version,
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
enum Came {
    /// Tokens, and the entry that holds them.
    Token(Box<Token>, Box<Issued>, Box<SharedEntry>),
    /// None.
    Not(Told<Version>, anyhow::Error),
}

/// Sends the refresh token of `held`.
fn send(
    host: &mut Host,
    wanted: &Wanted,
    held: &SharedEntry,
    secrets: &BTreeMap<String, Value>,
    mut watch: Watch,
) -> Result<Came> {
    let profile = wanted.profile;
    let (Some(session), Some(grant)) = (held.credentials.session.clone(), profile.provider.refresh_grant()) else {
        return Ok(Came::Not(Told::NotSent, internal().into()));
    };
    // Counted on this machine alone: nothing in a store of many is anybody's to count in.
    let counted = [Index::of(host.folders().ok(), &profile.name)];
    if let Err(error) = limits::take(host, profile, grant, &counted) {
        return Ok(Came::Not(Told::NotSent, error.into()));
    }
    let extra = [("refresh_token", refresh_token(&session))];
    let mut inputs = fill(host, profile, For::Grant(grant), secrets, &extra)?;
    kept::insert(&mut inputs, &session);
    inputs.bind(grant, &held.credentials)?;
    let asked = session.identity.asked.as_ref().map(|asked| asked.get("scope"));
    if let (Some(now), Some(asked)) = (wanted.known.lists.get("scope"), asked)
        && asked != Some(now)
        && let Some(scope) = profile.fetch(host, "scope")?
    {
        inputs.set("scope", &scope);
    }
    let own = wanted.cache.and_then(|cache| cache.find(wanted.known)).map(|(_, token)| token);
    let of_others = || held.access.iter().filter_map(|shared| Token::parse(shared.token.expose().as_bytes()));
    let before = own.into_iter().chain(of_others()).find_map(|token| token.id_token);
    let dead = profile.provider.refresh.as_ref().map(|rules| rules.dead.as_slice()).unwrap_or_default();
    let identity = inputs.known(profile, wanted.known).joined(&session.identity, &grant.name);
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead, device: None };
    let outcome = ask_and_tell(host, profile, &asking, &inputs, &mut watch);
    Ok(match outcome {
        Ok(Exchanged::Issued(mut issued)) => {
            same_person(profile, session.subject.as_deref(), issued.id_token.as_ref())?;
            let new = issued.refresh_token.clone().unwrap_or_else(|| session.refresh_token.clone());
            let values = kept::values(&profile.provider, &issued, &inputs);
            // A refresh may bring no ID token: the one of before goes on (OIDC Core §12.2).
            let stays = issued.id_token.is_none();
            issued.id_token = issued.id_token.or_else(|| before.as_ref().map(|id| id.text.clone()));
            let mut token = cached(profile, grant, &issued, identity, &inputs)?;
            if let (true, Some(id), Some(before)) = (stays, &mut token.id_token, &before) {
                id.verified = before.verified;
            }
            let mut entry = held.clone();
            entry.credentials.session = Some(Session { refresh_token: new, values, ..session });
            entry.credentials.dpop_key = inputs.dpop_key.clone();
            if profile.shares_tokens {
                take_in(&mut entry, wanted.known, &token);
            }
            Came::Token(Box::new(token), Box::new(issued), Box::new(entry))
        }
        Ok(Exchanged::Dead(error)) => match asks_for_more(profile, grant, &inputs, wanted.known, &session.identity) {
            Some(name) => {
                let text = format!("{}: keeping the session: the refusal may be about {name}", profile.name);
                host.terminal.detail(&text);
                Came::Not(Told::Refused, error.into())
            }
            None => Came::Not(Told::Dead(error.to_string()), error.into()),
        },
        Ok(Exchanged::Failed(error, _)) => Came::Not(watch.told(error.kind), error.into()),
        Err(error) => Came::Not(watch.told(crate::base::error::kind(&error)), error),
    })
}

impl Watch {
    /// What a failure says of the refresh token.
    fn told(&self, kind: Kind) -> Told<Version> {
        match self.status {
            _ if self.is_late => Told::Late,
            _ if !self.is_sent => Told::NotSent,
            Some(429 | 503) => Told::NotSent,
            Some(status) if kind == Kind::Refused && status < 500 => Told::Refused,
            _ => Told::NoReply,
        }
    }
}

/// Gives other machines a token that did not come from a renewal. Where somebody else writes the entry meanwhile, or the
/// store does not take it, they get one of their own.
pub fn share(opened: &mut OpenStore, profile: &Profile, known: &CurrentIdentity, token: &Token) {
    let Some(store) = opened.shared().filter(|_| profile.shares_tokens) else { return };
    let Ok(Some(Held { entry, version, age })) = store.read(&profile.name).and_then(held) else { return };
    let mut entry = entry.aged(age.unwrap_or_default());
    take_in(&mut entry, known, token);
    entry.write = digest::random(16);
    let _ = store.write(&profile.name, &entry.text(), Over::This(Some(&version)));
}

/// Puts `token` among those that all machines may use: in the place of older answers to the same question.
fn take_in(entry: &mut SharedEntry, known: &CurrentIdentity, token: &Token) {
    let now = token.received.secs();
    entry.access.retain(|shared| {
        Token::parse(shared.token.expose().as_bytes()).is_some_and(|old| old.identity.contradiction(known).is_some())
    });
    let left = match token.expires {
        Expires::At(at) => Some(at.saturating_sub(now)).filter(|left| *left > 0),
        Expires::Never => Some(-1),
        Expires::Unknown => None,
    };
    let text = token.text();
    if let (Some(left), Ok(text)) = (left, std::str::from_utf8(&text)) {
        let left = u64::try_from(left).ok();
        entry.access.insert(0, SharedToken { token: crate::base::secret::Secret::new(text), left });
        entry.access.truncate(MOST_TOKENS);
    }
}

/// What this call's own request brought.
struct Own {
    token: Token,
    issued: Issued,
    /// What the entry is to hold.
    credentials: Credentials,
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
    let Some(grant) = profile.provider.refresh_grant() else { return Ok(None) };
    match outcome {
        Outcome::Served { entry, seen } => {
            let Some(token) = sought.token(&entry, seen) else { return Err(Undone::Failed) };
            host.terminal.detail(&format!("{}: the {} store has a token that will do", profile.name, profile.store));
            put(host, wanted, grant, &token);
            // From here on this machine's index knows the session too.
            status::note_looked(host, profile, opened);
            Ok(Some((token, TokenSource::Cache)))
        }
        Outcome::Renewed { is_kept } => {
            let Some(Own { token, issued, credentials }) = own else { return Err(Undone::Failed) };
            if !is_kept {
                host.terminal.insist(&format!("{}: the new refresh token could not be stored", profile.name));
                host.terminal
                    .insist(&format!("when this access token expires, log in again: tok login {}", profile.name));
            }
            opened.credentials = credentials;
            put(host, wanted, grant, &token);
            index(host, profile, opened, &issued);
            host.terminal.release_messages();
            Ok(Some((token, TokenSource::Refresh)))
        }
        Outcome::Ended(ended) => {
            opened.ended = Some(ended);
            note_ended(host, profile, opened);
            Ok(None)
        }
        Outcome::NoSession => Ok(None),
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
