//! An entry that many machines share, as an open store changes it outside of a renewal.

use super::OpenStore;
use crate::base::digest;
use crate::base::text::escape_to;
use crate::storage::secrets::shared::{Over, Put};
use crate::storage::secrets::{StoreError, StoreErrorKind};
use crate::system::machine;
use crate::token::credentials::Credentials;
use crate::token::shared::{Ended, SharedEntry};

impl OpenStore {
    /// [`OpenStore::write`] to a store that many machines share: a new login, whatever stands there.
    pub(super) fn write_shared(&mut self, profile: &str, credentials: Credentials) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        if credentials.is_empty() {
            self.end_shared(profile)?;
        } else {
            let entry = SharedEntry::begin(credentials, digest::random(16), digest::random(16));
            store.set(profile, &entry.text())?;
            self.credentials = entry.credentials;
        }
        self.is_read = true;
        Ok(())
    }

    /// Ends the session for all machines: what is left says so, and holds no secret.
    fn end_shared(&mut self, profile: &str) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        let is_ended = self.ended.is_some() && self.credentials.is_empty();
        if is_ended || store.get(profile).is_ok_and(|entry| entry.is_none()) {
            return Ok(());
        }
        store.set(profile, &ended("logged out", self.now).text())?;
        self.read(profile);
        self.shared().map_or(Ok(()), |store| store.end(profile))
    }

    /// Empties the entry, if it still is what was read last, and says `why` where many machines share it; else reads it
    /// again: `false`.
    ///
    /// # Errors
    /// As the store; [`StoreErrorKind::Unreachable`] while another machine renews the session.
    pub fn leave(&mut self, profile: &str, why: &str) -> Result<bool, StoreError> {
        if !self.is_shared {
            return self.forget(profile).map(|_| true);
        }
        let (was, text) = (self.credentials.write(), ended(why, self.now).text());
        let Some(store) = self.shared() else { return Ok(true) };
        let held = store.read(profile)?;
        let entry = held.entry.as_ref().and_then(|entry| SharedEntry::parse(entry).ok()).unwrap_or_default();
        if let Some(lease) = &entry.lease {
            let why = format!("{} is renewing the session; try again when it has", escape_to(&lease.host, 80));
            return Err(StoreError { trouble: StoreErrorKind::Unreachable, why });
        }
        let is_left = entry.credentials.write() == was
            && matches!(store.write(profile, &text, Over::This(held.version.as_deref()))?, Put::Done(_));
        if is_left {
            store.end(profile)?;
        }
        self.read(profile);
        // A write whose reply was lost may have been made.
        Ok(is_left || self.ended.is_some())
    }
}

/// The entry of a session that has ended. As of another login: a reply that is still on its way belongs to none any more.
fn ended(why: &str, at: i64) -> SharedEntry {
    let entry = SharedEntry::begin(Credentials::default(), digest::random(16), digest::random(16));
    SharedEntry { ended: Some(Ended { why: why.into(), host: machine::name(), at }), ..entry }
}
