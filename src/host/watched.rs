//! A store whose calls are shown while they last.

use crate::base::secret::Secret;
use crate::storage::secrets::shared::SharedStore;
use crate::storage::secrets::{Store, StoreError};
use crate::system::progress::{Progress, Style};

/// A store that is waited for where a person watches.
pub(super) struct Watched {
    pub(super) store: Box<dyn Store>,
    pub(super) style: Style,
    pub(super) what: String,
}

impl Watched {
    fn watch<T>(&mut self, call: impl FnOnce(&mut dyn Store) -> T) -> T {
        let what = self.what.clone();
        let _progress = Progress::begin(self.style, move || format!("waiting for {what}…"));
        call(self.store.as_mut())
    }
}

impl Store for Watched {
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
        self.watch(|store| store.get(profile))
    }

    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError> {
        self.watch(|store| store.set(profile, entry))
    }

    fn ready(&mut self) -> Result<(), StoreError> {
        self.watch(|store| store.ready())
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        self.watch(|store| store.prepare())
    }

    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        self.watch(|store| store.forget(profile))
    }

    // Who works with versions says himself what is waited for.
    fn shared(&mut self) -> Option<&mut dyn SharedStore> {
        self.store.shared()
    }
}
