//! A store that was opened for a profile: what it holds, and what its trouble means to a person.

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::host::Host;
use crate::profile::{Home, Profile, Value};
use crate::session::guard::{self, Elsewhere, Place};
use crate::storage::cache::Cache;
use crate::storage::choice::StoreChoice;
use crate::storage::folders::Folders;
use crate::storage::index::Index;
use crate::storage::secrets::{Store, StoreError, StoreErrorKind, UNLOCK};
use crate::token::credentials::{Credentials, Session};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A store that was opened, or why it was not.
pub struct OpenStore {
    store: Option<Box<dyn Store>>,
    /// What it holds for the profile; empty where it could not be read.
    pub kept: Credentials,
    /// Why it could not be read.
    pub trouble: Option<StoreError>,
    /// This call's own state folder.
    state: Option<PathBuf>,
    /// The lock of the state folder that guards what is kept, where that is another.
    elsewhere: Option<Elsewhere>,
    /// Whether it was said why the state folder that the entry names is not used.
    told: bool,
}

/// How often the entry may name yet another state folder while one is waited for.
const MOVES: usize = 8;

impl OpenStore {
    /// No store, and no trouble.
    pub fn nothing() -> OpenStore {
        OpenStore { store: None, kept: Credentials::default(), trouble: None, state: None, elsewhere: None, told: false }
    }

    /// Opens the store of `profile` and reads its entry.
    pub fn open(host: &Host, profile: &Profile) -> OpenStore {
        OpenStore::open_as(host, &profile.name, &profile.store)
    }

    /// Opens this store and reads the entry of the profile `name`, which may be unknown or broken.
    pub fn open_as(host: &Host, name: &str, choice: &StoreChoice) -> OpenStore {
        let mut opened = OpenStore::nothing();
        opened.state = host.folders().ok().map(|folders| folders.state.clone());
        match host.store(choice) {
            Ok(store) => opened.store = store,
            Err(trouble) => opened.trouble = Some(trouble),
        }
        opened.read(name);
        opened
    }

    /// Takes the lock of the state folder that guards what is kept, where that is another than this call's own, and
    /// reads the entry again. The caller holds the lock of its own.
    ///
    /// No two calls wait for each other: only the holder of a folder's lock writes that folder's name into an entry,
    /// each waits for one other folder at a time, and has read its name while it held the lock of its own.
    ///
    /// # Errors
    /// As [`guard::lock`].
    pub fn follow(&mut self, host: &mut Host, name: &str) -> anyhow::Result<()> {
        for _ in 0..MOVES {
            // Nothing is known of what cannot be read, and it will not be used.
            if self.trouble.is_some() {
                return Ok(());
            }
            let place = match self.credentials.is_empty() {
                true => Place::Own,
                false => guard::place(self.state.as_deref(), self.credentials.folder.as_ref()),
            };
            let folder = match place {
                Place::Other(folder) if self.elsewhere.as_ref().is_some_and(|held| held.folder == folder) => {
                    return Ok(());
                }
                Place::Other(folder) => folder,
                Place::Own | Place::Unusable(_) => {
                    if let Place::Unusable(why) = place
                        && !std::mem::replace(&mut self.told, true)
                    {
                        host.terminal
                            .detail(&format!("{name}: {why}; the lock in this call's own state folder is used"));
                    }
                    self.elsewhere = None;
                    return Ok(());
                }
            };
            self.elsewhere = None;
            host.terminal.detail(&format!(
                "{name}: its session was begun with the state folder {}; locking it there",
                folder.path
            ));
            self.elsewhere = Some(Elsewhere::take(host, folder, name)?);
            self.read(name);
        }
        Err(Error::new(
            Kind::Unavailable,
            "the session keeps moving",
            "other calls log in with other state folders meanwhile",
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
        let entry = store.get(name).and_then(|entry| match entry {
            Some(entry) => {
                Credentials::parse(&entry).map_err(|error| StoreError { trouble: StoreErrorKind::Entry, why: error.to_string() })
            }
            None => Ok(Credentials::default()),
        });
        match entry {
            Ok(kept) => (self.credentials, self.trouble) = (kept, None),
            Err(trouble) => (self.credentials, self.trouble) = (Credentials::default(), Some(trouble)),
        }
    }

    /// Finds out whether an entry could be written; [`OpenStore::trouble`] tells if not. One that was read says so
    /// already.
    pub fn check_ready(&mut self) {
        if self.credentials.is_empty()
            && self.trouble.is_none()
            && let Some(store) = &mut self.store
        {
            self.trouble = store.ready().err();
        }
    }

    /// Whether something can be kept.
    pub fn is_usable(&self) -> bool {
        self.store.is_some() && self.trouble.is_none()
    }

    /// Puts `kept` in the place of the entry; an empty one is removed. Without a store nothing is kept. It names the
    /// state folder that it did, as long as that one's lock is held, else this call's own.
    ///
    /// # Errors
    /// As the store.
    pub fn write(&mut self, profile: &str, mut kept: Credentials) -> std::result::Result<(), StoreError> {
        if let Some(store) = &mut self.store {
            let held = self.elsewhere.as_ref().map(|held| &held.folder);
            if held.is_none() || kept.folder.as_ref() != held {
                kept.folder = self.state.as_deref().and_then(guard::folder);
            }
            if kept.is_empty() {
                store.forget(profile)?;
            } else {
                store.set(profile, &kept.write())?;
            }
            self.credentials = kept;
        }
        Ok(())
    }

    /// Removes the entry, whatever is in it; whether there was one.
    ///
    /// # Errors
    /// As the store.
    pub fn forget(&mut self, profile: &str) -> std::result::Result<bool, StoreError> {
        self.store.as_mut().map_or(Ok(false), |store| store.forget(profile))
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

/// The kept secrets, each with its home; none where they are another client's.
pub fn kept_values(kept: &Credentials, client: Option<&str>) -> BTreeMap<String, Value> {
    if matches!((client, &kept.secrets_client), (Some(now), Some(then)) if now != then) {
        return BTreeMap::new();
    }
    let home = kept.secrets_for.clone().map(Home::of);
    let value = |(name, secret): (&String, &Secret)| (name.clone(), Value::kept(secret.clone(), home.clone()));
    kept.secrets.iter().map(value).collect()
}

/// The refresh token of `session`, which goes to the origin of its token URL alone.
pub fn refresh_token(session: &Session) -> Value {
    Value::kept(session.refresh_token.clone(), origin(&session.belongs.url).map(Home::of))
}

/// Scheme, host and port of a URL.
pub fn origin(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|u| u.origin())
}

/// What the trouble with a store means to a person: [`Kind::Store`].
pub fn store_error(profile: &Profile, trouble: &StoreError) -> Error {
    let store = &profile.store;
    let what = match trouble.trouble {
        StoreErrorKind::Missing => format!("no {store} store is available here"),
        StoreErrorKind::Locked => format!("the {store} is locked"),
        StoreErrorKind::TimedOut => format!("the {store} did not answer"),
        StoreErrorKind::Refused => format!("the {store} store refused"),
        StoreErrorKind::Corrupt => format!("the {store} store cannot be read"),
        StoreErrorKind::Entry => format!("the entry of {} in the {store} store cannot be read", profile.name),
    };
    let hint = match trouble.trouble {
        StoreErrorKind::Refused if *store == StoreChoice::File => {
            "make it yours alone: chmod 700 for its folder, chmod 600 for the file"
        }
        StoreErrorKind::Corrupt if *store == StoreChoice::File => "move the file away, or mend it, and log in again",
        StoreErrorKind::Locked => {
            let how = match UNLOCK {
                Some(command) if *store == StoreChoice::Keyring => {
                    format!("; to unlock it without a desktop, run: {command}")
                }
                _ => String::new(),
            };
            return Error::new(Kind::Store, what, trouble.why.clone()).hint(format!(
                "unlock it and try again, or keep secrets in a file: tok login {} --store file{how}",
                profile.name
            ));
        }
        StoreErrorKind::Missing | StoreErrorKind::TimedOut => {
            "choose another store: --store file (or none) at tok login; TOK_STORE=file elsewhere"
        }
        StoreErrorKind::Refused => "see what is said above; another store is chosen with --store file at tok login",
        StoreErrorKind::Corrupt | StoreErrorKind::Entry => {
            return Error::new(Kind::Store, what, trouble.why.clone())
                .hint(format!("log in again: tok login {0}; or forget it: tok logout {0}", profile.name));
        }
    };
    Error::new(Kind::Store, what, trouble.why.clone()).hint(hint)
}
