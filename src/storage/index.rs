//! What is kept of each profile, without a secret in it and without opening a store: one file a profile, so that no
//! two writers meet.

use crate::storage::folders::Folders;
use crate::system::files::{Dir, Durable};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How many levels the folder lies below `<state>/tok`, see [`Dir::open`].
const BELOW: usize = 1;

/// What is kept of a profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
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
    /// When the refresh token ends, in seconds since 1970, as far as it is known.
    pub refresh_expires_at: Option<i64>,
    /// The names of the kept secrets.
    pub secrets: Vec<String>,
    /// Where what is kept may go.
    pub origin: Option<String>,
    /// A grant that was refused with a kept secret of a person: to send it again could lock the account.
    pub refused: Option<String>,
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

    /// What it says; nothing where it is not there, not ours or broken.
    pub fn read(&self) -> Option<Entry> {
        let (folder, name) = self.place()?;
        let bytes = Dir::open(folder, BELOW).ok()?.read(name, 1 << 20).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Changes what it says. It is a convenience: a failure costs a line of `tok list`.
    pub fn update(&self, change: impl FnOnce(&mut Entry)) {
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

    /// Forgets it.
    pub fn forget(&self) {
        if let Some((folder, name)) = self.place() {
            let _ = Dir::open(folder, BELOW).and_then(|dir| dir.remove(name));
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
