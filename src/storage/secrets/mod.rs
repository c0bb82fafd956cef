//! Where refresh tokens and stored secrets are kept: one entry per profile, so that it changes as a whole.

pub mod file;
pub mod helper;
pub mod keyring;
pub mod kubernetes;
pub mod program;
pub mod shared;
pub mod split;
pub mod vault;

use crate::base::env::Env;
use crate::base::secret::Secret;
use crate::storage::choice::StoreChoice;
use crate::storage::folders::Folders;
#[cfg(all(unix, not(target_os = "macos")))]
use crate::system::bus;
use keyring::KeyringStore;
pub use keyring::UNLOCK;
use std::cell::OnceCell;
use std::time::{Duration, Instant};

/// Why a store failed. Distinguished because each requires a different action of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Nothing serves secrets here: no bus, no service, no helper program.
    Missing,
    /// It is locked and was not unlocked.
    Locked,
    /// It did not answer in time.
    TimedOut,
    /// It answered with a refusal, or the files are not ours alone.
    Refused,
    /// It is on the network, and cannot be reached or does not work for now.
    Unreachable,
    /// It can be read and takes nothing more: a full disk, a limit, a file system that is read-only.
    Unwritable,
    /// What it holds cannot be read: the whole of a file, or this one entry if each stands by itself.
    Corrupt,
    /// This entry is not one of ours; the others in the file can be read.
    Entry,
}

/// How long a new entry may take to be put at least, whatever is left of the deadline: it may hold what cannot be had
/// a second time.
pub const GRACE: Duration = Duration::from_secs(3);

/// A failure of a store, with the platform's own words (already escaped).
#[derive(Clone, Debug)]
pub struct StoreError {
    /// What kind of trouble it is.
    pub trouble: StoreErrorKind,
    /// The reason, one line.
    pub why: String,
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for StoreError {}

/// A place for entries. An entry is text (a JSON object); a store does not look inside.
pub trait Store {
    /// The entry of `profile`, or `None` if there is none.
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError>;
    /// Puts `entry` in the place of the one that is there, whole or not at all.
    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError>;
    /// Whether a new entry could be stored; asked before something is fetched that cannot be had
    /// twice. If an entry could be read, this need not be asked.
    fn ready(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Makes sure that a new entry can be put in the place of the one there, and takes what that needs, as far as it
    /// can be taken: asked before something is sent that is spent by that.
    fn prepare(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Removes the entry; whether there was one.
    fn forget(&mut self, profile: &str) -> Result<bool, StoreError>;
    /// The same store with versions, where other machines see it too.
    fn shared(&mut self) -> Option<&mut dyn shared::SharedStore> {
        None
    }
}

/// How long a keyring is waited for if no person can type.
const UNATTENDED: Duration = Duration::from_secs(3);
/// How long a keyring is waited for if a person may be unlocking it.
const ATTENDED: Duration = Duration::from_secs(60);

/// How long a store may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Whether a person may be unlocking it.
    pub attended: bool,
    /// When the whole call ends.
    pub deadline: Instant,
}

impl Patience {
    fn of_keyring(self) -> Duration {
        if self.attended { ATTENDED } else { UNATTENDED.min(self.left()) }
    }

    fn left(self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Which store is to be opened, and with what.
pub struct Opening<'a> {
    /// Which.
    pub choice: &'a StoreChoice,
    /// The profile whose entry is meant.
    pub profile: &'a str,
    /// How long it may take.
    pub patience: Patience,
    /// Makes what a store on the network works with.
    pub network: &'a dyn Fn() -> shared::Network,
}

/// The stores there are, the real ones or a test's.
pub trait Stores {
    /// The store; `None` for none.
    ///
    /// # Errors
    /// If it cannot even be tried.
    fn open(&self, opening: Opening) -> Result<Option<Box<dyn Store>>, StoreError>;

    /// An entry of the platform's keyring that another program put there.
    ///
    /// # Errors
    /// As the keyring.
    fn keyring_entry(&self, service: &str, user: &str, patience: Patience) -> Result<Option<Secret>, StoreError>;
}

/// The stores of this machine.
pub struct RealStores {
    env: Env,
    folders: Option<Folders>,
    /// The keyring, once it was asked for: all of a run share one connection.
    keyring: OnceCell<KeyringStore>,
}

impl RealStores {
    /// Stores that find their ways by `env` and lie in `folders`.
    pub fn new(env: Env, folders: Option<Folders>) -> RealStores {
        RealStores { env, folders, keyring: OnceCell::new() }
    }

    fn keyring(&self, patience: Duration) -> KeyringStore {
        let mut keyring = self.keyring.get_or_init(|| self.find_keyring(patience)).clone();
        keyring.set_patience(patience);
        keyring
    }

    fn find_keyring(&self, patience: Duration) -> KeyringStore {
        #[cfg(all(unix, not(target_os = "macos")))]
        if let Err(why) = bus::address(self.env.get(bus::ADDRESS), self.env.get(bus::RUNTIME)) {
            let is_set = self.env.get(bus::ADDRESS).is_some_and(|address| !address.is_empty());
            return KeyringStore::missing(if is_set { why } else { bus::NO_SESSION.into() });
        }
        KeyringStore::new(patience)
    }
}

impl Stores for RealStores {
    fn open(&self, opening: Opening) -> Result<Option<Box<dyn Store>>, StoreError> {
        let Opening { choice, profile, patience, network } = opening;
        let shared = |store: Box<dyn shared::SharedStore>| Box::new(shared::AsStore { store, profile: profile.into() });
        Ok(Some(match choice {
            StoreChoice::None => return Ok(None),
            StoreChoice::File => {
                let Some(folders) = &self.folders else {
                    let why = "no home folder".into();
                    return Err(StoreError { trouble: StoreErrorKind::Missing, why });
                };
                let file = folders.data.join("secrets.json");
                Box::new(file::FileStore::new(file, &folders.journal(), patience.deadline))
            }
            StoreChoice::Keyring => {
                let limit = cfg!(windows).then_some(split::WINDOWS);
                Box::new(split::Split::new(self.keyring(patience.of_keyring()), limit))
            }
            StoreChoice::Helper(name) => {
                let limit = patience.of_keyring().max(UNATTENDED).min(patience.left().max(UNATTENDED));
                Box::new(split::Split::new(helper::HelperStore::new(name, limit, self.env.clone())?, None))
            }
            StoreChoice::Vault { mount, folder } => shared(Box::new(vault::VaultStore::new(mount, folder, network()))),
            StoreChoice::Kubernetes { namespace, prefix } => {
                shared(Box::new(kubernetes::KubernetesStore::new(namespace, prefix, network(), &self.env)))
            }
            StoreChoice::Program(name) => {
                shared(Box::new(program::ProgramStore::new(name, patience.deadline, &self.env)))
            }
        }))
    }

    fn keyring_entry(&self, service: &str, user: &str, patience: Patience) -> Result<Option<Secret>, StoreError> {
        self.keyring(patience.of_keyring()).get_of(service, user)
    }
}
