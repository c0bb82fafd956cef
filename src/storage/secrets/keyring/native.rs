//! The keyrings of macOS and Windows: which of the keyring project's stores is taken, and what its errors mean.

pub use platform::{build, store, trouble};

use keyring_core::{CredentialStore, Result};

/// How a person without a desktop unlocks it; `None` if it is open to whoever is logged in.
pub const UNLOCK: Option<&str> = if cfg!(target_os = "macos") { Some("security unlock-keychain") } else { None };

/// Whether a new entry could be put there: the entries are there for whoever is logged in.
pub fn ready(_: &CredentialStore) -> Result<()> {
    Ok(())
}

#[cfg(target_os = "macos")]
mod platform {
    use crate::storage::secrets::StoreErrorKind;
    use apple_native_keyring_store::keychain::Store;
    use keyring_core::{CredentialStore, Entry, Result};
    use std::error::Error;
    use std::sync::Arc;

    pub fn store() -> Result<Arc<CredentialStore>> {
        Ok(Store::new()?)
    }

    pub fn build(store: &CredentialStore, service: &str, user: &str) -> Result<Entry> {
        store.build(service, user, None)
    }

    /// What the store passes on as a plain failure: that no person could be asked (a session over ssh), that the
    /// question was answered with no or with a wrong password (`SecBase.h`: errSecInteractionNotAllowed,
    /// errSecUserCanceled, errSecAuthFailed).
    pub fn trouble(error: &(dyn Error + Send + Sync + 'static)) -> Option<StoreErrorKind> {
        match error.downcast_ref::<security_framework::base::Error>()?.code() {
            -25308 | -128 | -25293 => Some(StoreErrorKind::Locked),
            _ => None,
        }
    }
}

#[cfg(windows)]
mod platform {
    use crate::storage::secrets::StoreErrorKind;
    use keyring_core::{CredentialStore, Entry, Result};
    use std::collections::HashMap;
    use std::error::Error;
    use std::sync::Arc;
    use windows_native_keyring_store::Store;

    pub fn store() -> Result<Arc<CredentialStore>> {
        Ok(Store::new()?)
    }

    /// Kept on this machine: a token that rotates must not roam to a second one.
    pub fn build(store: &CredentialStore, service: &str, user: &str) -> Result<Entry> {
        store.build(service, user, Some(&HashMap::from([("persistence", "Local")])))
    }

    pub fn trouble(_: &(dyn Error + Send + Sync + 'static)) -> Option<StoreErrorKind> {
        None
    }
}
