//! Where refresh tokens and kept secrets live: one entry a profile, so that it changes whole.

pub mod file;
pub mod helper;
pub mod keyring;
pub mod split;

use crate::base::secret::Secret;
use std::time::Duration;

/// Why a store did not do as asked. Told apart because each needs another answer of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing serves secrets here: no bus, no service, no helper program.
    Missing,
    /// It is there and locked, and nobody unlocked it.
    Locked,
    /// It did not answer in time.
    TimedOut,
    /// It answered with a refusal, or the files are not ours alone.
    Refused,
    /// What it holds under this name is not an entry of ours.
    Corrupt,
}

/// How long a new entry may take to be put at least, whatever is left of the deadline: it may hold what cannot be had
/// a second time.
pub const GRACE: Duration = Duration::from_secs(3);

/// A failure of a store, with the platform's own words (already escaped).
#[derive(Clone, Debug)]
pub struct StoreError {
    /// What kind of trouble it is.
    pub trouble: Trouble,
    /// The reason, one line.
    pub why: String,
}

/// A place for entries. An entry is text (a JSON object); a store does not look inside.
pub trait Store {
    /// The entry of `profile`, or `None` where there is none.
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError>;
    /// Puts `entry` in the place of the one that is there, whole or not at all.
    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError>;
    /// Whether an entry could be put where there is none now; asked before something is fetched that cannot be had
    /// twice. Where there is an entry that could be read, there is no need to ask.
    fn ready(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Removes the entry; whether there was one.
    fn forget(&mut self, profile: &str) -> Result<bool, StoreError>;
}
