//! The keyrings of macOS and Windows, through the keyring project's façade and one store crate each.

use super::{Keyring, Step, StoreError, Trouble};
use crate::base::text::escape;
use keyring_core::{CredentialStore, Entry, Error};
use std::sync::Arc;
use zeroize::Zeroizing;

struct Native(Arc<CredentialStore>);

/// Opens the platform's keyring.
pub fn connect() -> Result<Box<dyn Keyring>, StoreError> {
    let store = system::store().map_err(|error| translate(error, Step::Connect))?;
    Ok(Box::new(Native(store)))
}

impl Native {
    /// Runs `work` on an entry; no such entry is `None`.
    fn on_entry<T>(
        &self,
        service: &str,
        user: &str,
        work: impl FnOnce(&Entry) -> keyring_core::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        match system::entry(&*self.0, service, user).and_then(|entry| work(&entry)) {
            Ok(value) => Ok(Some(value)),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(translate(error, Step::Use)),
        }
    }
}

impl Keyring for Native {
    fn get(&mut self, service: &str, user: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.on_entry(service, user, |entry| entry.get_secret().map(Zeroizing::new))
    }

    fn set(&mut self, service: &str, user: &str, secret: &[u8]) -> Result<(), StoreError> {
        self.on_entry(service, user, |entry| entry.set_secret(secret))?.ok_or_else(|| StoreError {
            trouble: Trouble::Refused,
            why: "the entry went away while it was written".to_owned(),
        })
    }

    fn forget(&mut self, service: &str, user: &str) -> Result<bool, StoreError> {
        Ok(self.on_entry(service, user, |entry| entry.delete_credential())?.is_some())
    }

    /// Its entries are there for whoever is logged in.
    fn ready(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The library's error as one of ours, by its kind and never by its text (which changes with versions, services and
/// languages). A connection that cannot be made is a service that is not there, whatever the reason.
fn translate(error: Error, step: Step) -> StoreError {
    let told = system::trouble(&error);
    let trouble = told.map(|(trouble, _)| trouble).unwrap_or(match &error {
        Error::NoStorageAccess(_) => Trouble::Locked,
        Error::BadEncoding(_) | Error::BadDataFormat(..) | Error::BadStoreFormat(_) => Trouble::Corrupt,
        _ if step == Step::Connect => Trouble::Missing,
        _ => Trouble::Refused,
    });
    let why = match told.and_then(|(_, words)| words) {
        Some(words) => words.to_owned(),
        None => words_of(error),
    };
    StoreError { trouble, why: escape(&why) }
}

fn words_of(error: Error) -> String {
    match error {
        Error::PlatformFailure(inner) | Error::NoStorageAccess(inner) => inner.to_string(),
        // Its own words would list object paths.
        Error::Ambiguous(entries) => {
            let count = entries.len();
            format!("{count} entries have this service and user name; remove all but one")
        }
        Error::BadEncoding(bytes) => {
            drop(Zeroizing::new(bytes));
            "the entry is not UTF-8".to_owned()
        }
        Error::BadDataFormat(bytes, _) => {
            drop(Zeroizing::new(bytes));
            "the entry is malformed".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(target_os = "macos")]
mod system {
    use crate::storage::secrets::Trouble;
    use apple_native_keyring_store::keychain::Store;
    use keyring_core::{CredentialStore, Entry, Error, Result};
    use std::sync::Arc;

    pub fn store() -> Result<Arc<CredentialStore>> {
        Ok(Store::new()?)
    }

    pub fn entry(store: &CredentialStore, service: &str, profile: &str) -> Result<Entry> {
        store.build(service, profile, None)
    }

    /// What the crate passes on as a plain failure: that nobody could be asked (a session over ssh), that the
    /// question was answered with no or with a wrong password (`SecBase.h`: errSecInteractionNotAllowed,
    /// errSecUserCanceled, errSecAuthFailed).
    pub fn trouble(error: &Error) -> Option<(Trouble, Option<&'static str>)> {
        let Error::PlatformFailure(inner) = error else {
            return None;
        };
        match inner.downcast_ref::<security_framework::base::Error>()?.code() {
            -25308 | -128 | -25293 => Some((Trouble::Locked, None)),
            _ => None,
        }
    }
}

#[cfg(windows)]
mod system {
    use crate::storage::secrets::Trouble;
    use keyring_core::{CredentialStore, Entry, Error, Result};
    use std::collections::HashMap;
    use std::sync::Arc;
    use windows_native_keyring_store::Store;

    pub fn store() -> Result<Arc<CredentialStore>> {
        Ok(Store::new()?)
    }

    /// Kept on this machine: a token that rotates must not roam to a second one.
    pub fn entry(store: &CredentialStore, service: &str, profile: &str) -> Result<Entry> {
        store.build(service, profile, Some(&HashMap::from([("persistence", "Local")])))
    }

    pub fn trouble(_: &Error) -> Option<(Trouble, Option<&'static str>)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_their_kind() {
        let inner = || Box::new(std::io::Error::other("a\u{1b}b"));
        let cases = [
            (Error::PlatformFailure(inner()), Step::Connect, Trouble::Missing),
            (Error::PlatformFailure(inner()), Step::Use, Trouble::Refused),
            (Error::NoStorageAccess(inner()), Step::Use, Trouble::Locked),
            (Error::BadEncoding(b"s3cret".to_vec()), Step::Use, Trouble::Corrupt),
            (Error::BadDataFormat(b"s3cret".to_vec(), inner()), Step::Use, Trouble::Corrupt),
            (Error::Ambiguous(Vec::new()), Step::Use, Trouble::Refused),
            (Error::TooLong("secret".to_owned(), 2560), Step::Use, Trouble::Refused),
        ];
        for (error, step, trouble) in cases {
            let told = translate(error, step);
            assert_eq!(told.trouble, trouble, "{}", told.why);
            assert!(!told.why.contains("s3cret") && !told.why.contains('\u{1b}'), "{}", told.why);
        }
    }
}
