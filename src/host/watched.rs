//! A store whose calls are shown while they last.

use crate::base::secret::Secret;
use crate::storage::secrets::shared::{Over, Put, SharedStore, Versioned};
use crate::storage::secrets::{Store, StoreError, StoreErrorKind};
use crate::system::progress::{Progress, Style};
use std::time::Instant;

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

impl Watched {
    fn watch_shared<T>(
        &mut self,
        call: impl FnOnce(&mut dyn SharedStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.watch(|store| match store.shared() {
            Some(store) => call(store),
            None => Err(StoreError { trouble: StoreErrorKind::Missing, why: "it is one machine's alone".into() }),
        })
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

    fn shared(&mut self) -> Option<&mut dyn SharedStore> {
        match self.store.shared().is_some() {
            true => Some(self),
            false => None,
        }
    }
}

impl SharedStore for Watched {
    fn read(&mut self, profile: &str) -> Result<Versioned, StoreError> {
        self.watch_shared(|store| store.read(profile))
    }

    fn write(&mut self, profile: &str, entry: &Secret, over: Over) -> Result<Put, StoreError> {
        self.watch_shared(|store| store.write(profile, entry, over))
    }

    fn end(&mut self, profile: &str) -> Result<(), StoreError> {
        self.watch_shared(|store| store.end(profile))
    }

    fn destroy(&mut self, profile: &str) -> Result<bool, StoreError> {
        self.watch_shared(|store| store.destroy(profile))
    }

    fn check(&mut self, profile: &str) -> Result<(), StoreError> {
        self.watch_shared(|store| store.check(profile))
    }

    fn set_deadline(&mut self, deadline: Instant) {
        if let Some(store) = self.store.shared() {
            store.set_deadline(deadline);
        }
    }

    fn another(&mut self, deadline: Instant) -> Result<Box<dyn SharedStore + Send>, StoreError> {
        // What goes on beside a request to the provider is not what is waited for.
        self.watch_shared(|store| store.another(deadline))
    }
}
