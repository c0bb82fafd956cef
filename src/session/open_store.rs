//! A store that was opened for a profile: what it holds, and its failures as errors.

use crate::base::digest;
use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::host::Host;
use crate::profile::{Home, Profile, Value};
use crate::session::guard::{self, Elsewhere, StateFolder};
use crate::session::lease::Counts;
use crate::storage::cache::Cache;
use crate::storage::choice::StoreChoice;
use crate::storage::folders::Folders;
use crate::storage::index::Index;
use crate::storage::journal;
use crate::storage::secrets::shared::{SharedStore, Versioned};
use crate::storage::secrets::{Store, StoreError, StoreErrorKind, UNLOCK};
use crate::token::credentials::{Credentials, Folder, JournalKey, Session};
use crate::token::shared::{Ended, Lease, SharedEntry, SharedToken};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A store that was opened, or why it was not.
pub struct OpenStore {
    store: Option<Box<dyn Store>>,
    /// What it holds for the profile; empty where it could not be read.
    pub credentials: Credentials,
    /// Why it could not be read.
    pub trouble: Option<StoreError>,
    /// Whether `kept` is what it holds: one that is not ours, and is replaced, was never read.
    is_read: bool,
    /// This call's own state folder.
    state: Option<PathBuf>,
    /// The lock of the state folder that guards what is kept, where that is another.
    elsewhere: Option<Elsewhere>,
    /// Whether other machines share the store: nothing of this machine's then guards what it holds.
    is_shared: bool,
    /// Why the session has ended, and who is renewing it, where many machines share the store.
    pub ended: Option<Ended>,
    /// The grant that no machine is to run again by itself, where many share the store.
    pub refused: Option<String>,
    /// What was read of it last, and when, until that is taken.
    held: Option<(Versioned, Instant)>,
    /// What was in the entry when this call looked first, where many share the store.
    pub first: Option<Counts>,
    /// Who is renewing the session.
    pub lease: Option<Lease>,
    /// The access tokens that machines share.
    pub access: Vec<SharedToken>,
    /// When this was opened, in seconds since 1970.
    now: i64,
    /// Whether it was said why the state folder that the entry names is not used.
    told: bool,
}

/// How often the entry may name yet another state folder while one is waited for.
const MOVES: usize = 8;

impl OpenStore {
    /// No store, and no trouble.
    pub fn nothing() -> OpenStore {
        OpenStore {
            store: None,
            credentials: Credentials::default(),
            trouble: None,
            is_read: false,
            state: None,
            elsewhere: None,
            is_shared: false,
            ended: None,
            refused: None,
            held: None,
            first: None,
            lease: None,
            access: Vec::new(),
            now: 0,
            told: false,
        }
    }

    /// Opens the store of `profile` and reads its entry.
    pub fn open(host: &Host, profile: &Profile) -> OpenStore {
        OpenStore::open_as(host, &profile.name, &profile.store)
    }

    /// The same where a token can be had without it: one that many machines share may take `patience` at most.
    pub fn open_briefly(host: &Host, profile: &Profile, patience: Duration) -> OpenStore {
        let until = host.clock.deadline.min(host.clock.instant() + patience);
        OpenStore::open_until(host, &profile.name, &profile.store, until)
    }

    /// Opens this store and reads the entry of the profile `name`, which may be unknown or broken.
    pub fn open_as(host: &Host, name: &str, choice: &StoreChoice) -> OpenStore {
        OpenStore::open_until(host, name, choice, host.clock.deadline)
    }

    fn open_until(host: &Host, name: &str, choice: &StoreChoice, until: Instant) -> OpenStore {
        let mut opened = OpenStore::nothing();
        opened.state = host.folders().ok().map(|folders| folders.state.clone());
        opened.is_shared = choice.is_shared();
        opened.now = host.clock.now().secs();
        match host.store(choice, name) {
            Ok(store) => opened.store = store,
            Err(trouble) => opened.trouble = Some(trouble),
        }
        opened.allow(until);
        opened.read(name);
        opened
    }

    /// A store that many machines share may take until then for each call from now on.
    pub fn allow(&mut self, until: Instant) {
        if let Some(store) = self.shared() {
            store.set_deadline(until);
        }
    }

    /// What was read last of an entry that many machines share, once, as it is by now.
    pub fn take_read(&mut self) -> Option<Versioned> {
        let (read, at) = self.held.take()?;
        Some(Versioned { age: read.age.map(|age| age + at.elapsed()), ..read })
    }

    /// Takes the lock of the state folder that guards what is kept, where that is another than this call's own, and
    /// reads the entry again. The caller holds its own folder's lock.
    ///
    /// No two calls wait for each other: only the holder of a folder's lock writes that folder's name into an entry,
    /// each waits for one other folder at a time, and has read its name while it held its own lock.
    ///
    /// # Errors
    /// As [`guard::lock`].
    pub fn follow(&mut self, host: &mut Host, name: &str) -> anyhow::Result<()> {
        for _ in 0..MOVES {
            // Nothing is known of what cannot be read, and it will not be used.
            if self.trouble.is_some() {
                return Ok(());
            }
            let place = match self.is_shared || self.credentials.is_empty() && self.credentials.journal.is_none() {
                // No folder of one machine guards what many share.
                true => StateFolder::Own,
                false => guard::place(self.state.as_deref(), self.credentials.folder.as_ref()),
            };
            let folder = match place {
                StateFolder::Other(folder) if self.elsewhere.as_ref().is_some_and(|held| held.folder == folder) => {
                    return Ok(());
                }
                StateFolder::Other(folder) => folder,
                StateFolder::Own | StateFolder::Unusable(_) => {
                    if let StateFolder::Unusable(why) = place
                        && !std::mem::replace(&mut self.told, true)
                    {
                        host.terminal.detail(&format!("{name}: {why}; using the lock in this call's own state folder"));
                    }
                    self.elsewhere = None;
                    return Ok(());
                }
            };
            self.elsewhere = None;
            host.terminal.detail(&format!(
                "{name}: the session was made with the state folder {}; locking it there",
                folder.path
            ));
            self.elsewhere = Some(Elsewhere::take(host, folder, name)?);
            self.read(name);
        }
        Err(Error::new(
            Kind::Unavailable,
            "the session keeps changing",
            "other calls are logging in with other state folders",
        )
        .into())
    }

    /// Where nothing was kept: whether another call has kept something meanwhile. Before there was an entry, calls with
    /// different state folders had no lock in common; from here on they have, as [`OpenStore::follow`] says.
    ///
    /// # Errors
    /// As [`OpenStore::follow`].
    pub fn follow_newcomer(&mut self, host: &mut Host, name: &str) -> anyhow::Result<bool> {
        if !self.credentials.is_empty() || !self.is_usable() {
            return Ok(false);
        }
        self.read(name);
        self.follow(host, name)?;
        Ok(!self.credentials.is_empty())
    }

    /// Frees the lock of another state folder.
    pub fn release(&mut self) {
        self.elsewhere = None;
    }

    /// The cached tokens of the profile `name` in the other state folder whose lock is held.
    pub fn cache_elsewhere(&self, name: &str) -> Option<Cache> {
        self.elsewhere.as_ref().map(|held| Cache::new(Folders::cache_in(&held.state(), name)))
    }

    /// The index of the profile `name`: in this call's own state folder, and in the one whose lock is held.
    pub fn indexes(&self, host: &Host, name: &str) -> Vec<Index> {
        let other = self.elsewhere.as_ref().map(|held| Index::in_state(&held.state(), name));
        std::iter::once(Index::of(host.folders().ok(), name)).chain(other).collect()
    }

    /// Reads the entry once more.
    pub fn read(&mut self, name: &str) {
        let Some(store) = &mut self.store else { return };
        let mut of_all = SharedEntry::default();
        let foreign = |why| StoreError { trouble: StoreErrorKind::Entry, why };
        let entry = match store.shared() {
            Some(store) => store.read(name).and_then(|read| {
                if let Some(entry) = &read.entry {
                    of_all = SharedEntry::parse(entry).map_err(|error| foreign(error.why))?;
                }
                self.held = Some((read, Instant::now()));
                Ok(std::mem::take(&mut of_all.credentials))
            }),
            None => store.get(name).and_then(|entry| match entry {
                Some(entry) => Credentials::parse(&entry).map_err(|error| foreign(error.to_string())),
                None => Ok(Credentials::default()),
            }),
        };
        self.is_read = entry.is_ok();
        (self.ended, self.lease, self.access) = (of_all.ended, of_all.lease, of_all.access);
        self.refused = of_all.refused;
        match entry {
            Ok(credentials) => (self.credentials, self.trouble) = (credentials, None),
            Err(trouble) => (self.credentials, self.trouble) = (Credentials::default(), Some(trouble)),
        }
    }

    /// Finds out whether an entry could be written where there is none; [`OpenStore::trouble`] tells if not.
    pub fn check_ready(&mut self) {
        // That it can be read says nothing of a place that has rights for each.
        if (self.credentials.is_empty() || self.is_shared)
            && self.trouble.is_none()
            && let Some(store) = &mut self.store
        {
            self.trouble = store.ready().err();
        }
    }

    /// The same of any entry, right before something is sent that cannot be had twice: what writing needs is taken.
    pub fn prepare(&mut self) {
        self.check_ready();
        if self.trouble.is_none()
            && let Some(store) = &mut self.store
        {
            self.trouble = store.prepare().err();
        }
    }

    /// The store with versions, where many machines share it.
    pub fn shared(&mut self) -> Option<&mut dyn SharedStore> {
        self.store.as_mut()?.shared()
    }

    /// Whether something can be kept.
    pub fn is_usable(&self) -> bool {
        self.store.is_some() && self.trouble.is_none()
    }

    /// Replaces the entry with `credentials`; an empty one is removed. Without a store nothing is kept. It names the
    /// state folder that it did, as long as that one's lock is held, else this call's own.
    ///
    /// # Errors
    /// As the store.
    pub fn write(&mut self, profile: &str, mut credentials: Credentials) -> std::result::Result<(), StoreError> {
        if self.is_shared {
            return self.write_shared(profile, credentials);
        }
        if let Some(store) = &mut self.store {
            let past = self.credentials.journal.as_ref().map(|own| journal::name(profile, &own.key));
            credentials.folder = guarding(self.elsewhere.as_ref(), self.state.as_deref(), credentials.folder);
            credentials.journal = credentials.session.is_some().then(|| new_key(past.clone()));
            if credentials.is_empty() {
                store.forget(profile)?;
            } else {
                store.set(profile, &credentials.write())?;
            }
            self.is_read = true;
            self.credentials = credentials;
            if let (Some(past), Some(state)) = (past, self.guarding_state()) {
                journal::remove(state, profile, &past);
            }
        }
        Ok(())
    }

    /// The state folder whose lock guards the entry.
    pub fn guarding_state(&self) -> Option<&Path> {
        self.elsewhere.as_ref().map(|held| Path::new(&held.folder.path)).or(self.state.as_deref())
    }

    /// Whether there is a store that can hold the key of a journal without losing what it holds.
    pub fn can_keep_key(&self) -> bool {
        self.is_usable() && self.is_read && !self.is_shared
    }

    /// Puts a key for the journal into the entry, and the state folder that it lies in, where they are missing. An entry
    /// of the key alone is made where there was none.
    ///
    /// # Errors
    /// As the store.
    pub fn ensure_key(&mut self, profile: &str) -> std::result::Result<(), StoreError> {
        let place = guard::place(self.state.as_deref(), self.credentials.folder.as_ref());
        if self.credentials.journal.is_some() && !matches!(place, StateFolder::Unusable(_)) {
            return Ok(());
        }
        let folder = guarding(self.elsewhere.as_ref(), self.state.as_deref(), self.credentials.folder.clone());
        if let Some(store) = &mut self.store {
            let past = self.credentials.journal.as_ref().map(|own| journal::name(profile, &own.key));
            let credentials = Credentials { folder, journal: Some(new_key(past)), ..self.credentials.clone() };
            store.set(profile, &credentials.write())?;
            self.credentials = credentials;
        }
        Ok(())
    }

    /// Removes an entry that holds nothing but the key of a journal.
    pub fn drop_key(&mut self, profile: &str) {
        if self.credentials.is_empty()
            && self.credentials.journal.take().is_some()
            && let Some(store) = &mut self.store
        {
            let _ = store.forget(profile);
        }
    }

    /// Finds out whether the store can be written.
    ///
    /// # Errors
    /// As the store.
    pub fn check_store(&mut self) -> std::result::Result<(), StoreError> {
        self.store.as_mut().map_or(Ok(()), |store| store.ready())
    }

    /// Removes the entry, whatever it holds; returns whether there was one.
    ///
    /// # Errors
    /// As the store.
    pub fn forget(&mut self, profile: &str) -> std::result::Result<bool, StoreError> {
        let any = self.store.as_mut().map_or(Ok(false), |store| store.forget(profile))?;
        if let (Some(own), Some(state)) = (self.credentials.journal.take(), self.guarding_state()) {
            journal::remove(state, profile, &journal::name(profile, &own.key));
        }
        Ok(any)
    }

    /// The kept secrets that may go to `url` for this client, where one is known.
    pub fn secrets_for(&self, url: Option<&str>, client: Option<&str>) -> BTreeMap<String, Value> {
        secrets_for(&self.credentials, url, client)
    }
}

/// [`OpenStore::secrets_for`] of an entry.
pub fn secrets_for(kept: &Credentials, url: Option<&str>, client: Option<&str>) -> BTreeMap<String, Value> {
    let home = url.and_then(origin);
    match home.is_some() && home == kept.secrets_for {
        true => kept_values(kept, client),
        false => BTreeMap::new(),
    }
}

/// The kept secrets, each with its home; none if they are another client's.
pub fn kept_values(kept: &Credentials, client: Option<&str>) -> BTreeMap<String, Value> {
    if matches!((client, &kept.secrets_client), (Some(now), Some(then)) if now != then) {
        return BTreeMap::new();
    }
    let home = kept.secrets_for.clone().map(Home::of);
    let value = |(name, secret): (&String, &Secret)| (name.clone(), Value::kept(secret.clone(), home.clone()));
    kept.secrets.iter().map(value).collect()
}

/// The state folder that an entry is to name: the one whose lock is held, where it names that already or it is another
/// than the call's own; else the call's own.
fn guarding(elsewhere: Option<&Elsewhere>, own: Option<&Path>, named: Option<Folder>) -> Option<Folder> {
    match elsewhere {
        Some(held) if named.as_ref() == Some(&held.folder) => named,
        _ => own.and_then(guard::folder),
    }
}

/// A key for the journal of an entry that comes after one whose journal was `past`.
fn new_key(past: Option<String>) -> JournalKey {
    JournalKey { key: digest::random(32).into(), past }
}

/// The refresh token of `session`, which goes to the origin of its token URL alone.
pub fn refresh_token(session: &Session) -> Value {
    Value::kept(session.refresh_token.clone(), origin(&session.identity.url).map(Home::of))
}

/// Scheme, host and port of a URL.
pub fn origin(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|u| u.origin())
}

/// The error for a failure of a store: [`Kind::Store`].
pub fn store_error(profile: &Profile, trouble: &StoreError) -> Error {
    store_error_of(&profile.store, &profile.name, trouble)
}

/// `path` for a shell.
fn quoted(path: &str) -> String {
    shlex::try_quote(path).map_or(path.into(), |quoted| quoted.into())
}

/// The same of the profile `name`, which may be unknown.
pub fn store_error_of(store: &StoreChoice, name: &str, trouble: &StoreError) -> Error {
    let what = match trouble.trouble {
        StoreErrorKind::Missing => format!("no {store} store is available here"),
        StoreErrorKind::Locked => format!("the {store} is locked"),
        StoreErrorKind::TimedOut => format!("the {store} did not answer"),
        StoreErrorKind::Refused => format!("the {store} store refused"),
        StoreErrorKind::Unwritable => format!("nothing can be written to the {store} store"),
        StoreErrorKind::Corrupt => format!("the {store} store cannot be read"),
        StoreErrorKind::Unreachable => format!("the {store} store cannot be reached"),
        StoreErrorKind::Entry => format!("the entry of {} in the {store} store cannot be read", name),
    };
    if store.is_shared() && trouble.trouble != StoreErrorKind::Entry {
        // No other store is what its machines have in common, and no login mends a store that breaks its protocol.
        return Error::new(Kind::Store, what, trouble.why.clone()).hint(match trouble.trouble {
            StoreErrorKind::Unreachable => "try again later, or find out more: tok doctor",
            _ => "find out more: tok doctor",
        });
    }
    let hint = match trouble.trouble {
        StoreErrorKind::Refused if *store == StoreChoice::File => {
            let hint = match trouble.why.rsplit_once(": ") {
                Some((path, why)) if why.starts_with("others have access") => {
                    let mode = if path.ends_with(".json") { 600 } else { 700 };
                    format!("make it yours alone: chmod {mode} {}", quoted(path))
                }
                Some((path, "it belongs to another user")) => {
                    format!("make it yours: sudo chown \"$(id -un)\" {}", quoted(path))
                }
                Some((path, "it is a symbolic link")) => {
                    format!("replace it with what it points to, or start over: rm {}", quoted(path))
                }
                Some((path, _)) => format!("look at it: ls -ld {}", quoted(path)),
                None => "see what is wrong with it: tok doctor".into(),
            };
            return Error::new(Kind::Store, what, trouble.why.clone()).hint(hint);
        }
        StoreErrorKind::Unwritable => {
            "make room for it, or choose another store: --store at tok login, TOK_STORE elsewhere"
        }
        StoreErrorKind::Corrupt if *store == StoreChoice::File => {
            let path = trouble.why.rsplit_once(": ").map_or("PATH".into(), |(path, _)| quoted(path));
            let hint = format!("move it away, then log in again: mv {path} {path}.old && tok login {name}");
            return Error::new(Kind::Store, what, trouble.why.clone()).hint(hint);
        }
        StoreErrorKind::Locked => {
            let how = match UNLOCK {
                Some(command) if *store == StoreChoice::Keyring => {
                    format!("; without a desktop, run: {command}")
                }
                _ => String::new(),
            };
            return Error::new(Kind::Store, what, trouble.why.clone())
                .hint(format!("unlock it and try again, or use a file: tok login {} --store file{how}", name));
        }
        StoreErrorKind::Missing | StoreErrorKind::TimedOut => {
            return Error::new(Kind::Store, what, trouble.why.clone())
                .hint(format!("use a file: tok login {} --store file; or set TOK_STORE=file", name));
        }
        StoreErrorKind::Unreachable => return Error::new(Kind::Store, what, trouble.why.clone()),
        StoreErrorKind::Refused => {
            return Error::new(Kind::Store, what, trouble.why.clone())
                .hint(format!("use another store: tok login {} --store file", name));
        }
        StoreErrorKind::Corrupt | StoreErrorKind::Entry => {
            return Error::new(Kind::Store, what, trouble.why.clone())
                .hint(format!("log in again: tok login {0}; or delete it: tok logout {0}", name));
        }
    };
    Error::new(Kind::Store, what, trouble.why.clone()).hint(hint)
}

impl OpenStore {
    /// `error`, with how to log in again where the session began with a refresh token from elsewhere: the values of
    /// another grant may never have been known. Not where the store has trouble.
    pub fn bring_again(&self, host: &Host, profile: &Profile, error: Error) -> Error {
        let noted = Index::of(host.folders().ok(), &profile.name).read();
        let was_brought = self.trouble.is_none() && noted.is_some_and(|entry| entry.brought);
        match profile.provider.refresh_grant().filter(|_| was_brought) {
            Some(grant) => {
                error.hint(format!("run: tok login {} {} --refresh-token-file PATH", profile.name, grant.name))
            }
            None => error,
        }
    }
}
mod of_many;
#[cfg(test)]
mod tests;
