//! Where config, secrets and state are: the platform's folders.

use std::path::{Path, PathBuf};

/// Where things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// The user's home.
    pub home: PathBuf,
    /// `<config>/tok`: config.toml and providers/.
    pub config: PathBuf,
    /// `<data>/tok`: secrets.json.
    pub data: PathBuf,
    /// `<state>/tok`: cached tokens, index, locks.
    pub state: PathBuf,
}

impl Folders {
    /// The platform's folders.
    pub fn of_platform() -> Option<Folders> {
        // A relative home would be another one in each working folder.
        let base = directories::BaseDirs::new().filter(|base| base.home_dir().is_absolute())?;
        Some(Folders {
            home: base.home_dir().into(),
            config: base.config_dir().join("tok"),
            data: base.data_dir().join("tok"),
            state: base.state_dir().unwrap_or(base.data_local_dir()).join("tok"),
        })
    }

    /// Where the tokens of `profile` wait.
    pub fn cache(&self, profile: &str) -> PathBuf {
        Folders::cache_in(&self.state, profile)
    }

    /// The same below another state folder.
    pub fn cache_in(state: &Path, profile: &str) -> PathBuf {
        state.join("cache").join(profile)
    }

    /// Where the metadata and public keys of authorization servers wait.
    pub fn metadata(&self) -> PathBuf {
        self.state.join("metadata")
    }

    /// Where replies wait on their way to the store, and the copy of a store's file that is written in place.
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }

    /// What is known of each profile without opening a store.
    pub fn index(&self) -> PathBuf {
        Folders::index_in(&self.state)
    }

    /// The same below another state folder.
    pub fn index_in(state: &Path) -> PathBuf {
        state.join("kept")
    }

    /// Where the user's own provider files are.
    pub fn providers(&self) -> PathBuf {
        self.config.join("providers")
    }

    /// The file of the user's own provider `name`.
    pub fn provider(&self, name: &str) -> PathBuf {
        self.providers().join(format!("{name}.toml"))
    }
}
