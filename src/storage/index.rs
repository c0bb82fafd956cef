//! What is stored for each profile, readable without opening a store and without secrets: one file per profile, so that
//! no two writers meet.

use crate::storage::folders::Folders;
use crate::system::files::{Dir, Durable};
use crate::token::identity::TokenIdentity;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How many levels the folder lies below `<state>/tok`, see [`Dir::open`].
const BELOW: usize = 1;

/// What is stored for a profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexEntry {
    /// Its provider.
    pub provider: String,
    /// The grant that its session began with.
    pub grant: Option<String>,
    /// Whether its session began with a refresh token from elsewhere.
    pub brought: bool,
    /// The store that holds it.
    pub store: String,
    /// Whether a refresh token is kept.
    pub refresh_token: bool,
    /// When the refresh token expires, in seconds since 1970, if known.
    pub refresh_expires_at: Option<i64>,
    /// The names of the stored secrets.
    pub secrets: Vec<String>,
    /// Where the stored secrets may be sent.
    pub origin: Option<String>,
    /// A grant that was refused with a person's stored secret: sending it again could lock the account.
    pub refused: Option<String>,
    /// The client, if `tok` registered it.
    pub registered: Option<RegisteredClient>,
    /// Whose account it is, if that is known.
    pub account: Option<String>,
    /// When the provider last issued a token, in seconds since 1970.
    pub issued_at: Option<i64>,
    /// The settings that the session was obtained with.
    pub identity: Option<TokenIdentity>,
    /// The last refusal, until a token is issued again.
    pub refusal: Option<Refusal>,
    /// Why the store could not be read when it was last opened, until it can be.
    pub store_trouble: Option<StoreTrouble>,
    /// Which machine was seen to renew the session just now; not kept.
    #[serde(skip)]
    pub renewing: Option<String>,
    /// The settings of a session whose refresh token the server has called active: it can tell of refresh tokens.
    pub known_active: Option<TokenIdentity>,
    /// When a person last had the store looked at (`status --online`), in seconds since 1970.
    pub looked_at: Option<i64>,
}

/// A client that `tok` registered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisteredClient {
    /// The client.
    pub client_id: String,
    /// The issuer that it was registered with.
    pub issuer: String,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// What a provider refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// The grant that was refused.
    pub grant: String,
    /// Whether it ended the session.
    pub ended: bool,
    /// The provider's words, escaped.
    pub why: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// The settings that it was refused with: others may not be.
    pub identity: Option<TokenIdentity>,
}

/// A store that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreTrouble {
    /// The store, as the config names it.
    pub store: String,
    /// What is wrong with it.
    pub why: String,
    /// When it was tried, in seconds since 1970.
    pub at: i64,
}

/// When a provider was asked for a token, and when it refused one: in seconds since 1970, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    /// Requests that were sent.
    pub sent: Vec<i64>,
    /// Requests that were refused.
    pub refused: Vec<i64>,
}

/// The index file of one profile.
pub struct Index(Option<PathBuf>);

impl Index {
    /// The one of `profile`.
    pub fn of(folders: Option<&Folders>, profile: &str) -> Index {
        Index(folders.map(|folders| folders.index().join(format!("{profile}.json"))))
    }

    /// The one of `profile` below another state folder.
    pub fn in_state(state: &Path, profile: &str) -> Index {
        Index(Some(Folders::index_in(state).join(format!("{profile}.json"))))
    }

    fn place(&self) -> Option<(&Path, &str)> {
        let path = self.0.as_ref()?;
        Some((path.parent()?, path.file_name()?.to_str()?))
    }

    /// Its content; empty if it is missing, not ours or damaged.
    pub fn read(&self) -> Option<IndexEntry> {
        let (folder, name) = self.place()?;
        let bytes = Dir::open(folder, BELOW).ok()?.read(name, 1 << 20).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Changes its content. It is a convenience: a failure costs a line of `tok list`.
    pub fn update(&self, change: impl FnOnce(&mut IndexEntry)) {
        let Some((folder, name)) = self.place() else { return };
        let old = self.read();
        let mut entry = old.clone().unwrap_or_default();
        change(&mut entry);
        if old.as_ref() == Some(&entry) {
            return;
        }
        if let (Ok(text), Ok(dir)) = (serde_json::to_vec(&entry), Dir::make(folder, BELOW)) {
            let _ = dir.write(name, &text, Durable::No);
        }
    }

    /// Where its requests are counted: a file of its own, as a profile of which nothing is kept is none of the list.
    fn place_of_requests(&self) -> Option<(&Path, String)> {
        let (folder, name) = self.place()?;
        Some((folder, format!("{}.requests", name.strip_suffix(".json")?)))
    }

    /// What its provider was asked, as far as that is counted.
    pub fn requests(&self) -> Requests {
        let read = || {
            let (folder, name) = self.place_of_requests()?;
            serde_json::from_slice(&Dir::open(folder, BELOW).ok()?.read(&name, 1 << 20).ok()??).ok()
        };
        read().unwrap_or_default()
    }

    /// Changes that. Where it cannot be written, nothing is counted.
    pub fn note_requests(&self, change: impl FnOnce(&mut Requests)) {
        let Some((folder, name)) = self.place_of_requests() else { return };
        let old = self.requests();
        let mut new = old.clone();
        change(&mut new);
        if let (true, Ok(text), Ok(dir)) = (new != old, serde_json::to_vec(&new), Dir::make(folder, BELOW)) {
            let _ = dir.write(&name, &text, Durable::No);
        }
    }

    /// Deletes it.
    pub fn forget(&self) {
        let places = [self.place().map(|(folder, name)| (folder, name.to_string())), self.place_of_requests()];
        for (folder, name) in places.into_iter().flatten() {
            let _ = Dir::open(folder, BELOW).and_then(|dir| dir.remove(&name));
        }
    }

    /// The profiles that have one.
    pub fn profiles(folders: Option<&Folders>) -> Vec<String> {
        let dir = folders.and_then(|folders| Dir::open(&folders.index(), BELOW).ok());
        let Some(entries) = dir.and_then(|dir| dir.names().ok()) else { return Vec::new() };
        let names = entries.iter().filter_map(|name| name.to_str()?.strip_suffix(".json").map(str::to_string));
        let mut names: Vec<String> = names.filter(|n| crate::base::name::is_name(n)).collect();
        names.sort();
        names
    }
}
