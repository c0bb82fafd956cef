//! A store that was opened for a profile: what it holds, and what its trouble means to a person.

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::host::Host;
use crate::profile::{Home, Profile, Value};
use crate::storage::secrets::{Store, StoreError, Trouble};
use crate::token::credentials::{Kept, Session};
use std::collections::BTreeMap;

/// A store that was opened, or why it was not.
pub struct Opened {
    store: Option<Box<dyn Store>>,
    /// What it holds for the profile; empty where it could not be read.
    pub kept: Kept,
    /// Why it could not be read.
    pub trouble: Option<StoreError>,
}

impl Opened {
    /// No store, and no trouble.
    pub fn nothing() -> Opened {
        Opened { store: None, kept: Kept::default(), trouble: None }
    }

    /// Opens the store of `profile` and reads its entry.
    pub fn open(host: &Host, profile: &Profile) -> Opened {
        let mut opened = Opened::nothing();
        match host.store(&profile.store) {
            Ok(store) => opened.store = store,
            Err(trouble) => opened.trouble = Some(trouble),
        }
        opened.read(profile);
        opened
    }

    /// Reads the entry once more.
    pub fn read(&mut self, profile: &Profile) {
        let Some(store) = &mut self.store else { return };
        let entry = store.get(&profile.name).and_then(|entry| match entry {
            Some(entry) => {
                Kept::parse(&entry).map_err(|error| StoreError { trouble: Trouble::Corrupt, why: error.to_string() })
            }
            None => Ok(Kept::default()),
        });
        match entry {
            Ok(kept) => (self.kept, self.trouble) = (kept, None),
            Err(trouble) => (self.kept, self.trouble) = (Kept::default(), Some(trouble)),
        }
    }

    /// Finds out whether an entry could be written; [`Opened::trouble`] tells if not. One that was read says so
    /// already.
    pub fn check_ready(&mut self) {
        if self.kept.is_empty()
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

    /// Puts `kept` in the place of the entry; an empty one is removed. Without a store nothing is kept.
    ///
    /// # Errors
    /// As the store.
    pub fn write(&mut self, profile: &str, kept: Kept) -> std::result::Result<(), StoreError> {
        if let Some(store) = &mut self.store {
            if kept.is_empty() {
                store.forget(profile)?;
            } else {
                store.set(profile, &kept.write())?;
            }
            self.kept = kept;
        }
        Ok(())
    }

    /// The kept secrets that may go to `url` for this client, where one is known.
    pub fn secrets_for(&self, url: Option<&str>, client: Option<&str>) -> BTreeMap<String, Value> {
        let home = url.and_then(origin);
        let is_home = home.is_some() && home == self.kept.secrets_for;
        let is_other = matches!((client, &self.kept.secrets_client), (Some(now), Some(then)) if now != then);
        if !is_home || is_other {
            return BTreeMap::new();
        }
        let home = self.kept.secrets_for.clone().map(Home::of);
        let kept = |(name, secret): (&String, &Secret)| (name.clone(), Value::kept(secret.clone(), home.clone()));
        self.kept.secrets.iter().map(kept).collect()
    }
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
        Trouble::Missing => format!("{}: there is no {store} store here", profile.name),
        Trouble::Locked => format!("{}: the {store} is locked", profile.name),
        Trouble::TimedOut => format!("{}: the {store} did not answer", profile.name),
        Trouble::Refused => format!("{}: the {store} store refused", profile.name),
        Trouble::Corrupt => format!("{}: what the {store} store holds cannot be read", profile.name),
    };
    let hint = match trouble.trouble {
        Trouble::Refused if *store == crate::storage::choice::StoreChoice::File => {
            "make it yours alone: chmod 700 for its folder, chmod 600 for the file"
        }
        Trouble::Corrupt if *store == crate::storage::choice::StoreChoice::File => {
            "move the file away, or mend it, and log in again"
        }
        Trouble::Locked => {
            "unlock it and try again, or keep secrets in a file: store = \"file\" in the config, or TOK_STORE=file"
        }
        Trouble::Missing | Trouble::TimedOut => {
            "choose another store: --store file (or none) at tok login; TOK_STORE=file elsewhere"
        }
        Trouble::Refused => "see what is said above; another store is chosen with --store file at tok login",
        Trouble::Corrupt => {
            return Error::new(Kind::Store, what, trouble.why.clone())
                .hint(format!("log in again: tok login {0}; or forget it: tok logout {0}", profile.name));
        }
    };
    Error::new(Kind::Store, what, trouble.why.clone()).hint(hint)
}
