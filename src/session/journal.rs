//! The journal of a refresh: what the server answered is sealed and on disk before it is read, so that a kill between the
//! reply and the store costs no session. Whoever opens the store next finishes what was begun ([`recover`]).
//!
//! The key stands in the store's entry, and a new one after each change of the entry. So a journal can be opened by
//! whoever holds the session that the reply belongs to, and by no one after that.

use crate::base::digest;
use crate::base::error::{self, Error, Kind};
use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::host::Host;
use crate::oauth::reply;
use crate::profile::Profile;
use crate::session::acquire::{self, Wanted};
use crate::session::inputs::Inputs;
use crate::session::open_store::{OpenStore, store_error};
use crate::session::refresh;
use crate::session::{issued, kept};
use crate::storage::cache::Cache;
use crate::storage::journal::{self as file, Journal};
use crate::system::http::{self, Events, Head};
use crate::token::credentials::Credentials;
use crate::token::identity::TokenIdentity;
use anyhow::Result;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long the reply to a refresh token is waited for, whatever `--timeout` says: the token may be spent.
const REPLY: Duration = Duration::from_secs(60);

/// What a journal begins with.
const MAGIC: &[u8; 8] = b"tokjrn1\n";
/// What stands before the sealed part: [`MAGIC`], the length of the sealed part, the nonce.
const FRONT: usize = MAGIC.len() + 4 + NONCE_LEN;
/// Room that is there before anything is sent, in bytes, for a reply of the usual length.
const ROOM: usize = 32 << 10;

/// A sealed reply, and what was in force when its request was sent.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// When it had arrived.
    pub received: Time,
    /// Its head.
    pub head: Head,
    /// Its body, as it came.
    pub body: Zeroizing<Vec<u8>>,
    /// What the caller gave for whoever opens it.
    pub context: Secret,
}

/// Seals replies to one request.
pub struct Sealer {
    key: LessSafeKey,
    bound: String,
    context: Secret,
    nonce: [u8; NONCE_LEN],
    buffer: Zeroizing<Vec<u8>>,
}

/// What a journal is bound to beside its key: the profile, and the session that its entry holds.
pub fn bound_to(profile: &str, entry: &Credentials) -> String {
    let (since, token) = match &entry.session {
        Some(session) => (session.since.to_string(), session.refresh_token.expose()),
        None => (String::new(), ""),
    };
    digest::hex(&[b"journal of", profile.as_bytes(), since.as_bytes(), token.as_bytes()])
}

/// The key whose text is `hex`.
fn key(hex: &str) -> Option<LessSafeKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    UnboundKey::new(&CHACHA20_POLY1305, bytes.as_slice()).ok().map(LessSafeKey::new)
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

impl Sealer {
    /// Seals with the key whose text is `hex`; what is sealed can be opened only with what it is `bound` to. `None` where
    /// the text is not a key.
    pub fn new(hex: &str, bound: String, context: Secret) -> Option<Sealer> {
        let mut nonce = [0; NONCE_LEN];
        digest::fill(&mut nonce);
        let buffer = Zeroizing::new(Vec::with_capacity(ROOM + context.expose().len()));
        Some(Sealer { key: key(hex)?, bound, context, nonce, buffer })
    }

    /// The journal for this reply: all of it, to be written at once.
    pub fn seal(&mut self, received: Time, head: &Head, body: &[u8]) -> Option<&[u8]> {
        let context = self.context.expose().as_bytes();
        let parts = [context, head.lines.as_slice(), body];
        let plain = 8 + 2 + parts.iter().map(|part| 4 + part.len()).sum::<usize>();
        let whole = FRONT + plain + CHACHA20_POLY1305.tag_len();
        self.buffer.clear();
        if self.buffer.capacity() < whole {
            // A vector that grows would leave copies of a token behind.
            self.buffer = Zeroizing::new(Vec::with_capacity(whole));
        }
        let buffer = &mut *self.buffer;
        buffer.extend_from_slice(MAGIC);
        buffer.extend_from_slice(&u32::try_from(whole - FRONT).ok()?.to_le_bytes());
        buffer.extend_from_slice(&self.nonce);
        buffer.extend_from_slice(&received.0.to_le_bytes());
        buffer.extend_from_slice(&head.status.to_le_bytes());
        for part in parts {
            buffer.extend_from_slice(&length(part));
            buffer.extend_from_slice(part);
        }
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let aad = Aad::from(self.bound.as_bytes());
        let tag = self.key.seal_in_place_separate_tag(nonce, aad, &mut buffer[FRONT..]).ok()?;
        buffer.extend_from_slice(tag.as_ref());
        Some(buffer)
    }

    /// Another nonce, for another reply.
    fn renew(&mut self) {
        digest::fill(&mut self.nonce);
    }
}

/// Opens a journal. `None` where it was sealed with another key or bound to something else, is not whole, or is none.
/// What stands behind its end is of an earlier reply.
pub fn open(hex: &str, bound: &str, journal: &[u8]) -> Option<Sealed> {
    let rest = journal.strip_prefix(MAGIC)?;
    let (whole, rest) = rest.split_first_chunk::<4>()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
    let sealed = rest.get(..u32::from_le_bytes(*whole) as usize)?;
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain: &[u8] = key(hex)?.open_in_place(nonce, Aad::from(bound.as_bytes()), &mut sealed).ok()?;
    let (received, rest) = plain.split_first_chunk::<8>()?;
    let (status, rest) = rest.split_first_chunk::<2>()?;
    let (context, rest) = part(rest)?;
    let (lines, rest) = part(rest)?;
    let (body, rest) = part(rest)?;
    rest.is_empty().then_some(())?;
    Some(Sealed {
        received: Time(i64::from_le_bytes(*received)),
        head: Head { status: u16::from_le_bytes(*status), lines: Zeroizing::new(lines.to_vec()) },
        body: Zeroizing::new(body.to_vec()),
        context: Secret::new(std::str::from_utf8(context).ok()?),
    })
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// What whoever finishes a refresh has to know of it.
#[derive(Serialize, Deserialize)]
struct SealedContext {
    /// The entry, with the refresh token that was sent: what stays if the reply brings no other.
    entry: Zeroizing<String>,
    /// What the access token belongs to.
    token: TokenIdentity,
}

/// A refresh on its way: what of it is written down, and how long its reply is waited for.
pub struct Record {
    /// `None` where nothing is kept, and where there can be no journal.
    journal: Option<(Journal, Sealer)>,
    clock: crate::system::clock::Clock,
    sent: bool,
    answered: bool,
    written: bool,
    stays: bool,
}

impl Record {
    /// Whether the refresh token was sent and nothing came back: the new one may be lost.
    fn may_be_lost(&self) -> bool {
        self.sent && !self.answered
    }

    /// Says of `error` what it means for the session of `profile`.
    pub fn explain(&self, profile: &Profile, mut error: Error) -> Error {
        if self.may_be_lost() {
            error.why.push_str("; the refresh token was sent, so the session may be lost");
            error.hint = Some(format!("run: tok get {0}; if that fails, log in again: tok login {0}", profile.name));
        }
        error
    }

    /// Whether a reply stands in the journal.
    pub fn has_reply(&self) -> bool {
        self.journal.is_some() && self.written
    }

    /// Leaves what was written for whoever opens the store next: the store did not take it.
    pub fn leave(&mut self) {
        self.stays = true;
    }
}

impl Events for Record {
    fn connected(&mut self) -> error::Result<()> {
        (self.sent, self.answered) = (true, false);
        Ok(())
    }

    fn reply_by(&self, deadline: Instant) -> Instant {
        deadline.max(self.clock.instant() + REPLY)
    }

    fn received(&mut self, head: &Head, body: &[u8]) {
        self.answered = true;
        let Some((journal, sealer)) = &mut self.journal else { return };
        // Where it cannot be written the store still can: nothing else is to be done about it here.
        if let Some(sealed) = sealer.seal(self.clock.now(), head, body) {
            self.written = journal.write(sealed).is_ok();
        }
        sealer.renew();
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some((journal, _)) = self.journal.as_ref().filter(|_| !self.stays) {
            journal.remove();
        }
    }
}

/// Makes the journal ready for a refresh: the key in the store, the file open and empty. `entry` is what the store is to
/// hold if the reply brings no other refresh token than the one that is sent; `token` what the access token belongs to.
///
/// # Errors
/// [`Kind::Store`] where neither a journal nor the store can be made ready: nothing may be sent then.
pub fn begin(
    host: &mut Host,
    profile: &Profile,
    opened: &mut OpenStore,
    entry: &Credentials,
    token: TokenIdentity,
) -> Result<Record> {
    let clock = host.clock.clone();
    let mut record = Record { journal: None, clock, sent: false, answered: false, written: false, stays: false };
    if !opened.can_keep_key() {
        return Ok(record);
    }
    opened.ensure_key(&profile.name).map_err(|trouble| store_error(profile, &trouble))?;
    let context = SealedContext { entry: entry.write().expose().to_string().into(), token };
    let context = Secret::new(serde_json::to_string(&context).unwrap_or_default());
    let ready = match (&opened.credentials.journal, opened.guarding_state()) {
        (Some(own), Some(state)) => Journal::open(state, &file::name(&profile.name, &own.key)).map(|journal| {
            let sealer = Sealer::new(&own.key, bound_to(&profile.name, &opened.credentials), context);
            sealer.map(|sealer| (journal, sealer))
        }),
        _ => Ok(None),
    };
    match ready {
        Ok(ready) => record.journal = ready,
        Err(error) => {
            opened.check_store().map_err(|trouble| store_error(profile, &trouble))?;
            host.terminal.detail(&format!("{}: the journal cannot be written: {error}", profile.name));
        }
    }
    // The last thing before the token is sent: room for the new one is taken.
    opened.prepare();
    crate::system::memory::reserve();
    match &opened.trouble {
        Some(trouble) => Err(store_error(profile, trouble).into()),
        None => Ok(record),
    }
}

/// Finishes a refresh of `profile` that was killed between the reply and the store: what the reply brought goes into the
/// store, its access token into `cache` if it may wait there. A journal that cannot be opened is removed and not
/// trusted. The caller holds the lock of the profile; whether there was something to finish.
///
/// # Errors
/// [`Kind::Store`] where the store does not take it: the token that it holds is spent, and must not be sent.
/// [`Kind::Reply`] as the refresh itself.
pub fn recover(host: &mut Host, profile: &Profile, opened: &mut OpenStore, cache: Option<&Cache>) -> Result<bool> {
    let (Some(own), Some(state)) = (&opened.credentials.journal, opened.guarding_state()) else { return Ok(false) };
    let name = file::name(&profile.name, &own.key);
    if let Some(past) = &own.past {
        file::remove(state, &profile.name, past);
    }
    let Some(bytes) = file::read(state, &name) else {
        file::remove(state, &profile.name, &name);
        return Ok(false);
    };
    let found = open(&own.key, &bound_to(&profile.name, &opened.credentials), &bytes);
    let finished = match found.and_then(Unfinished::of) {
        Some(unfinished) => finish(host, profile, opened, cache, unfinished),
        None => {
            if !bytes.is_empty() {
                host.terminal.detail(&format!("{}: a journal that cannot be opened was removed", profile.name));
            }
            Ok(false)
        }
    };
    // It goes once the store has the session, and where there is none in it.
    let is_waiting = |error: &anyhow::Error| error.downcast_ref::<Error>().is_some_and(|e| e.kind == Kind::Store);
    if !finished.as_ref().is_err_and(is_waiting)
        && let Some(state) = opened.guarding_state()
    {
        file::remove(state, &profile.name, &name);
    }
    finished
}

/// A refresh that has its reply and is not in the store.
struct Unfinished {
    sealed: Sealed,
    /// The entry as it is to be, but for what the reply brings.
    entry: Credentials,
    /// Whose the access token is.
    token: TokenIdentity,
}

impl Unfinished {
    fn of(sealed: Sealed) -> Option<Unfinished> {
        let context: SealedContext = serde_json::from_str(sealed.context.expose()).ok()?;
        let entry = Credentials::parse(&Secret::new(context.entry.as_str())).ok()?;
        Some(Unfinished { sealed, entry, token: context.token })
    }
}

fn finish(
    host: &mut Host,
    profile: &Profile,
    opened: &mut OpenStore,
    cache: Option<&Cache>,
    unfinished: Unfinished,
) -> Result<bool> {
    let Unfinished { sealed, mut entry, token: identity } = unfinished;
    let Some(grant) = profile.provider.refresh_grant() else { return Ok(false) };
    let Ok(response) = http::response(&sealed.head, &sealed.body, sealed.received) else { return Ok(false) };
    // A refusal: the next refresh finds out for itself.
    let Ok(mut issued) = reply::read(&grant.response, &[], &response) else { return Ok(false) };
    let entry_key = entry.dpop_key.clone();
    let Some(session) = &mut entry.session else { return Ok(false) };
    refresh::same_person(profile, session.subject.as_deref(), issued.id_token.as_ref())?;
    if let Some(new) = &issued.refresh_token {
        session.refresh_token = new.clone();
    }
    let mut inputs = Inputs::bound(entry_key);
    kept::insert(&mut inputs, session);
    session.values = kept::values(&profile.provider, &issued, &inputs);
    session.subject = session.subject.take().or_else(|| issued.id_token.as_ref().and_then(refresh::subject));
    host.terminal.detail(&format!("{}: finished the refresh of an earlier call that was killed", profile.name));
    let hold = crate::system::signals::hold(crate::system::signals::Stake::Session);
    let token = |credentials: &Credentials| {
        credentials.session.as_ref().map(|session| (session.refresh_token.clone(), session.values.clone()))
    };
    if token(&entry) != token(&opened.credentials)
        && let Err(trouble) = opened.write(&profile.name, entry.clone())
    {
        opened.credentials = entry;
        return Err(store_error(profile, &trouble).into());
    }
    // What else the header is made of is not known here; the token is then asked for anew.
    let is_known =
        |name: &String| name == "access_token" || inputs.get(name).is_some() || issued.extra.contains_key(name);
    let is_plain = profile.provider.usage.names().keys().all(is_known);
    if let (Some(cache), Ok(known), true) = (cache, profile.known(), is_plain)
        && identity.contradiction(&known).is_none()
    {
        let before = cache.find(&known).and_then(|(_, token)| token.id_token);
        let stays = issued.id_token.is_none();
        issued.id_token = issued.id_token.or_else(|| before.as_ref().map(|id| id.text.clone()));
        if let Ok(mut token) = issued::cached(profile, grant, &issued, identity, &inputs) {
            if let (true, Some(id), Some(before)) = (stays, &mut token.id_token, &before) {
                id.verified = before.verified;
            }
            acquire::put(host, &Wanted { profile, known: &known, cache: Some(cache) }, grant, &token);
        }
    }
    acquire::index(host, profile, opened, &issued);
    drop(hold);
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::token::credentials::Session;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn sealer(bound: &str) -> Sealer {
        Sealer::new(KEY, bound.into(), Secret::new("{\"c\":1}")).unwrap()
    }

    fn head() -> Head {
        Head { status: 200, lines: Zeroizing::new(b"Content-Type: application/json\r\n".to_vec()) }
    }

    fn entry(token: &str, since: i64) -> Credentials {
        let (identity, refresh_token) = (TokenIdentity::default(), Secret::new(token));
        Credentials {
            session: Some(Session { refresh_token, identity, since, subject: None, values: Default::default() }),
            ..Credentials::default()
        }
    }

    #[test]
    fn what_is_sealed_comes_back_whole() {
        for body in [&b""[..], b"{\"access_token\":\"at\"}", &[0xff; 100_000]] {
            let mut sealer = sealer("b");
            let bytes = sealer.seal(Time(7), &head(), body).unwrap().to_vec();
            let back = open(KEY, "b", &bytes).unwrap();
            assert_eq!((back.received, back.head.status, back.body.as_slice()), (Time(7), 200, body));
            assert_eq!((back.head.lines.as_slice(), back.context.expose()), (head().lines.as_slice(), "{\"c\":1}"));
        }
    }

    #[test]
    fn nothing_of_it_can_be_read_without_the_key() {
        let mut sealer = sealer("b");
        let bytes = sealer.seal(Time(7), &head(), b"access_token").unwrap().to_vec();
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(!holds(b"access_token") && !holds(b"Content-Type") && !holds(b"{\"c\""));
        // The same reply again is sealed with another nonce.
        sealer.renew();
        assert_ne!(sealer.seal(Time(7), &head(), b"access_token").unwrap(), bytes);
    }

    #[test]
    fn a_shorter_reply_over_a_longer_one_is_read_alone() {
        let mut sealer = sealer("b");
        let mut file = sealer.seal(Time(1), &head(), &[b'x'; 500]).unwrap().to_vec();
        sealer.renew();
        let short = sealer.seal(Time(2), &head(), b"y").unwrap().to_vec();
        file[..short.len()].copy_from_slice(&short);
        assert_eq!(open(KEY, "b", &file).unwrap().body.as_slice(), b"y");
    }

    #[test]
    fn a_journal_that_is_not_ours_is_none() {
        let bytes = sealer("b").seal(Time(7), &head(), b"body").unwrap().to_vec();
        assert!(open(KEY, "b", &bytes).is_some());
        assert!(open(&KEY.replace("00", "01"), "b", &bytes).is_none(), "another key");
        assert!(open(KEY, "c", &bytes).is_none(), "another session");
        for key in ["", "00", &KEY[1..], &format!("{}zz", &KEY[2..]), &"é".repeat(32)] {
            assert!(open(key, "b", &bytes).is_none() && Sealer::new(key, String::new(), Secret::new("")).is_none());
        }
        for cut in 0..bytes.len() {
            assert!(open(KEY, "b", &bytes[..cut]).is_none(), "cut after {cut}");
        }
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            assert!(open(KEY, "b", &bent).is_none(), "bent at {at}");
        }
    }

    #[test]
    fn a_journal_is_bound_to_profile_login_and_token() {
        let own = bound_to("p", &entry("rt-1", 5));
        for other in [
            bound_to("q", &entry("rt-1", 5)),
            bound_to("p", &entry("rt-2", 5)),
            bound_to("p", &entry("rt-1", 6)),
            bound_to("p", &Credentials::default()),
        ] {
            assert_ne!(own, other);
        }
        assert!(!own.contains("rt-1"));
    }
}
