//! The Secret Service of a session bus (freedesktop.org's specification, 0.2) as a store of `keyring-core`: one
//! connection, one plain session, and no call made twice for what is known. Why the session is plain: SECURITY.md.

use crate::base::text::escape;
use crate::storage::secrets::{StoreError, StoreErrorKind};
use dbus_secret_service::{Collection, EncryptionType, Error as BusError, Item, Path, SecretService};
use keyring_core::api::{CredentialApi, CredentialStoreApi};
use keyring_core::{Credential, CredentialStore, Entry, Error, Result};
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a person without a desktop unlocks it.
pub const UNLOCK: Option<&str> = Some("(read -rs p && printf %s \"$p\") | gnome-keyring-daemon --replace --unlock");

/// An entry is text. KWallet shows one of this type as a password, and any other as bytes.
const CONTENT_TYPE: &str = "text/plain";

/// Connects to the session bus and opens a session with its Secret Service.
///
/// # Errors
/// [`Error::PlatformFailure`] with a [`StoreError`] inside, as every error of this store but the façade's own kinds.
pub fn store() -> Result<Arc<CredentialStore>> {
    let service = SecretService::connect(EncryptionType::Plain).map_err(|error| not_connected(&error))?;
    let bus = Bus { service, collection: None, found: HashMap::new() };
    Ok(Arc::new(Store(Arc::new(Mutex::new(bus)))))
}

/// The entry of `user` under `service`.
pub fn build(store: &CredentialStore, service: &str, user: &str) -> Result<Entry> {
    store.build(service, user, None)
}

/// Whether a new entry could be put there. A locked keyring answers at once that it has no such entry: it is asked for
/// itself.
pub fn ready(store: &CredentialStore) -> Result<()> {
    match store.as_any().downcast_ref::<Store>() {
        Some(store) => hold(&store.0).open_default().map(drop).map_err(failed),
        None => Ok(()),
    }
}

/// Errors of this store say themselves what they mean.
pub fn trouble(_: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<StoreErrorKind> {
    None
}

/// The store: the connection that all its entries share.
struct Store(Arc<Mutex<Bus>>);

struct Bus {
    service: SecretService,
    /// Where new entries are put, once it was seen to be open.
    collection: Option<Path<'static>>,
    /// What the last search for a service and a user found, so that the write after it needs no search.
    found: HashMap<(String, String), Option<Path<'static>>>,
}

/// An entry by its service and user (in the façade's words a specifier): whatever there is under them.
struct Named {
    bus: Arc<Mutex<Bus>>,
    service: String,
    user: String,
}

/// One item by its path (a wrapper): one of several that have the same service and user.
struct One {
    bus: Arc<Mutex<Bus>>,
    path: Path<'static>,
}

/// What a search found.
enum Found {
    Nothing,
    One(Path<'static>),
    Several(Vec<Path<'static>>),
}

impl CredentialStoreApi for Store {
    fn vendor(&self) -> String {
        "Secret Service, tok".to_owned()
    }

    fn id(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn build(&self, service: &str, user: &str, modifiers: Option<&HashMap<&str, &str>>) -> Result<Entry> {
        if modifiers.is_some_and(|modifiers| !modifiers.is_empty()) {
            return Err(Error::NotSupportedByStore("modifiers".to_owned()));
        }
        let named = Named { bus: Arc::clone(&self.0), service: service.to_owned(), user: user.to_owned() };
        Ok(Entry::new_with_credential(Arc::new(named)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn debug_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret Service")
    }
}

impl Named {
    /// The path of the one item there is.
    fn only(&self, found: Found) -> Result<Path<'static>> {
        match found {
            Found::Nothing => Err(Error::NoEntry),
            Found::One(path) => Ok(path),
            Found::Several(paths) => {
                let one = |path| Entry::new_with_credential(Arc::new(One { bus: Arc::clone(&self.bus), path }));
                Err(Error::Ambiguous(paths.into_iter().map(one).collect()))
            }
        }
    }

    /// Runs `work` on the item that is known, or that a search finds.
    fn on_item(&self, work: impl Fn(&Item) -> std::result::Result<(), BusError>) -> Result<()> {
        let mut bus = hold(&self.bus);
        // One that another process removed and put there anew has another path, which a second search finds.
        for _ in 0..2 {
            let path = self.only(bus.known(&self.service, &self.user).map_err(failed)?)?;
            match bus.on_path(path, &work) {
                Err(error) if is_gone(&error) => bus.found.remove(&key(&self.service, &self.user)),
                done => return done.map_err(failed),
            };
        }
        Err(Error::NoEntry)
    }
}

impl CredentialApi for Named {
    fn get_secret(&self) -> Result<Vec<u8>> {
        let mut bus = hold(&self.bus);
        let path = self.only(bus.search(&self.service, &self.user).map_err(failed)?)?;
        bus.on_path(path, |item| item.get_secret()).map_err(used)
    }

    fn set_secret(&self, secret: &[u8]) -> Result<()> {
        match self.on_item(|item| item.set_secret(secret, CONTENT_TYPE)) {
            Err(Error::NoEntry) => hold(&self.bus).create(&self.service, &self.user, secret).map_err(failed),
            done => done,
        }
    }

    fn delete_credential(&self) -> Result<()> {
        let done = self.on_item(|item| item.delete());
        hold(&self.bus).found.remove(&key(&self.service, &self.user));
        done
    }

    fn get_credential(&self) -> Result<Option<Arc<Credential>>> {
        let found = hold(&self.bus).search(&self.service, &self.user).map_err(failed)?;
        Ok(Some(Arc::new(One { bus: Arc::clone(&self.bus), path: self.only(found)? })))
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        Some(key(&self.service, &self.user))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn debug_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.user, self.service)
    }
}

impl CredentialApi for One {
    fn get_secret(&self) -> Result<Vec<u8>> {
        hold(&self.bus).on_path(self.path.clone(), |item| item.get_secret()).map_err(used)
    }

    fn set_secret(&self, secret: &[u8]) -> Result<()> {
        hold(&self.bus).on_path(self.path.clone(), |item| item.set_secret(secret, CONTENT_TYPE)).map_err(used)
    }

    fn delete_credential(&self) -> Result<()> {
        hold(&self.bus).on_path(self.path.clone(), |item| item.delete()).map_err(used)
    }

    fn get_credential(&self) -> Result<Option<Arc<Credential>>> {
        Ok(None)
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        None
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn debug_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl Bus {
    /// What the service has under these names; unlocked, if it is one item.
    fn search(&mut self, service: &str, user: &str) -> std::result::Result<Found, BusError> {
        let items = self.service.search_items(attributes(service, user))?;
        let paths: Vec<_> = items.unlocked.iter().chain(&items.locked).map(|item| item.path.clone()).collect();
        if paths.len() > 1 {
            self.found.remove(&key(service, user));
            return Ok(Found::Several(paths));
        }
        for item in &items.locked {
            item.unlock()?;
        }
        let found = paths.into_iter().next();
        self.found.insert(key(service, user), found.clone());
        Ok(found.map_or(Found::Nothing, Found::One))
    }

    /// What the last search found, or a first one does.
    fn known(&mut self, service: &str, user: &str) -> std::result::Result<Found, BusError> {
        match self.found.get(&key(service, user)) {
            Some(found) => Ok(found.clone().map_or(Found::Nothing, Found::One)),
            None => self.search(service, user),
        }
    }

    /// Runs `work` on the item of that path, unlocking it if it was locked meanwhile.
    fn on_path<T>(
        &self,
        path: Path<'static>,
        work: impl Fn(&Item) -> std::result::Result<T, BusError>,
    ) -> std::result::Result<T, BusError> {
        let item = Item::new(&self.service, path);
        opening(|| work(&item), || item.unlock())
    }

    /// The default collection, unlocked. The service asks for its password if it is not.
    fn open_default(&mut self) -> std::result::Result<Path<'static>, BusError> {
        let collection = self.service.get_default_collection()?;
        collection.ensure_unlocked()?;
        self.collection = Some(collection.path.clone());
        Ok(collection.path)
    }

    /// Puts a new item into the default collection. The attributes are `service` and `username` alone; the label is
    /// what keyring programs show.
    fn create(&mut self, service: &str, user: &str, secret: &[u8]) -> std::result::Result<(), BusError> {
        let path = match self.collection.clone() {
            Some(path) => path,
            None => self.open_default()?,
        };
        let collection = Collection::new(&self.service, path);
        let label = format!("{service}: {user}");
        let create =
            || collection.create_item(&label, attributes(service, user), secret, true, CONTENT_TYPE).map(|i| i.path);
        let path = opening(create, || collection.unlock())?;
        self.found.insert(key(service, user), Some(path));
        Ok(())
    }
}

/// The connection for one call. A call that panicked leaves nothing half done on this side.
fn hold(bus: &Mutex<Bus>) -> MutexGuard<'_, Bus> {
    bus.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(service: &str, user: &str) -> (String, String) {
    (service.to_owned(), user.to_owned())
}

fn attributes<'a>(service: &'a str, user: &'a str) -> HashMap<&'a str, &'a str> {
    HashMap::from([("service", service), ("username", user)])
}

/// Runs `work`, and once more after `unlock` where a keyring was locked since it was last looked at.
fn opening<T>(
    work: impl Fn() -> std::result::Result<T, BusError>,
    unlock: impl Fn() -> std::result::Result<(), BusError>,
) -> std::result::Result<T, BusError> {
    match work() {
        Err(error) if by_kind(&error) == Some(StoreErrorKind::Locked) => unlock().and_then(|()| work()),
        done => done,
    }
}

/// Whether what a path led to was removed.
fn is_gone(error: &BusError) -> bool {
    matches!(
        name(error),
        Some(
            "org.freedesktop.Secret.Error.NoSuchObject"
                | "org.freedesktop.DBus.Error.UnknownObject"
                | "org.freedesktop.DBus.Error.UnknownMethod"
        )
    )
}

/// An error of a call on an item that was found before.
fn used(error: BusError) -> Error {
    if is_gone(&error) { Error::NoEntry } else { failed(error) }
}

/// An error of a call, by its kind and never by its text (which changes with versions, services and languages). Words
/// of the library are not shown; those of the service are, where nothing else says what it wants.
fn failed(error: BusError) -> Error {
    let (trouble, why) = match (by_kind(&error), &error) {
        // Only reported for the default collection: there is nowhere to put an entry.
        (_, BusError::NoResult) => {
            (StoreErrorKind::Missing, "there is no default keyring; create one with your keyring program".to_owned())
        }
        (Some(StoreErrorKind::Locked), _) => (StoreErrorKind::Locked, super::NOT_UNLOCKED.to_owned()),
        (Some(StoreErrorKind::TimedOut), _) => (StoreErrorKind::TimedOut, "it did not answer in time".to_owned()),
        (Some(StoreErrorKind::Missing), _) => (StoreErrorKind::Missing, NO_SERVICE.to_owned()),
        (trouble, BusError::Dbus(error)) => {
            let words = error.message().filter(|words| !words.is_empty()).unwrap_or("it gave no reason");
            (trouble.unwrap_or(StoreErrorKind::Refused), escape(words))
        }
        (trouble, _) => (trouble.unwrap_or(StoreErrorKind::Refused), "its reply could not be understood".to_owned()),
    };
    Error::PlatformFailure(Box::new(StoreError { trouble, why }))
}

const NO_SERVICE: &str = "no keyring program is running (such as gnome-keyring, KWallet or KeePassXC)";

/// An error of the connection. One that cannot be made is a service that is not there, whatever the reason; one that is
/// locked or stuck is reported as such.
fn not_connected(error: &BusError) -> Error {
    let (trouble, why) = match (by_kind(error), name(error)) {
        (Some(StoreErrorKind::Locked), _) => (StoreErrorKind::Locked, super::NOT_UNLOCKED),
        (Some(StoreErrorKind::TimedOut), _) => (StoreErrorKind::TimedOut, "it did not answer in time"),
        (Some(StoreErrorKind::Missing), _) => (StoreErrorKind::Missing, NO_SERVICE),
        (_, Some(name)) if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => {
            (StoreErrorKind::Missing, NO_SERVICE)
        }
        _ => {
            (StoreErrorKind::Missing, "nothing answers at DBUS_SESSION_BUS_ADDRESS; its desktop session may have ended")
        }
    };
    Error::PlatformFailure(Box::new(StoreError { trouble, why: why.to_owned() }))
}

fn by_kind(error: &BusError) -> Option<StoreErrorKind> {
    match error {
        BusError::Locked | BusError::Prompt => Some(StoreErrorKind::Locked),
        BusError::NoResult | BusError::Unavailable => Some(StoreErrorKind::Missing),
        _ => by_name(name(error)?),
    }
}

fn name(error: &BusError) -> Option<&str> {
    match error {
        BusError::Dbus(error) => error.name(),
        _ => None,
    }
}

/// Names of the D-Bus specification ("Error names" of its message bus) and of the Secret Service's.
fn by_name(name: &str) -> Option<StoreErrorKind> {
    match name {
        // The crate gives each call 2 s; a service that is stopped or does not come up looks like this.
        "org.freedesktop.DBus.Error.NoReply"
        | "org.freedesktop.DBus.Error.Timeout"
        | "org.freedesktop.DBus.Error.TimedOut" => Some(StoreErrorKind::TimedOut),
        "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.DBus.Error.Disconnected" => Some(StoreErrorKind::Missing),
        "org.freedesktop.Secret.Error.IsLocked" => Some(StoreErrorKind::Locked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: Error) -> StoreError {
        match error {
            Error::PlatformFailure(inner) => *inner.downcast().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_are_told_apart_by_their_kind_and_never_in_the_library_s_words() {
        let used = [
            (BusError::Parse, StoreErrorKind::Refused),
            (BusError::Path("a\u{1b}b".to_owned()), StoreErrorKind::Refused),
            (BusError::Locked, StoreErrorKind::Locked),
            (BusError::Prompt, StoreErrorKind::Locked),
            (BusError::Unavailable, StoreErrorKind::Missing),
            (BusError::NoResult, StoreErrorKind::Missing),
        ];
        for (error, trouble) in used {
            let words = error.to_string();
            let told = told(failed(error));
            assert_eq!(told.trouble, trouble, "{}", told.why);
            assert!(!told.why.contains(&words) && !told.why.contains('\u{1b}'), "{}", told.why);
        }
        assert_eq!(told(not_connected(&BusError::Parse)).trouble, StoreErrorKind::Missing);
        assert_eq!(told(not_connected(&BusError::Locked)).trouble, StoreErrorKind::Locked);
        let names =
            [("DBus.Error.NoReply", StoreErrorKind::TimedOut), ("DBus.Error.ServiceUnknown", StoreErrorKind::Missing)];
        for (name, trouble) in names {
            assert_eq!(by_name(&format!("org.freedesktop.{name}")), Some(trouble));
        }
        assert_eq!(by_name("org.freedesktop.DBus.Error.AccessDenied"), None);
    }

    #[test]
    fn what_was_locked_meanwhile_is_unlocked_and_tried_once_more() {
        use std::cell::Cell;
        let (calls, open) = (Cell::new(0), Cell::new(false));
        let work = || {
            calls.set(calls.get() + 1);
            if open.get() { Ok(calls.get()) } else { Err(BusError::Locked) }
        };
        let unlock = || {
            open.set(true);
            Ok(())
        };
        assert_eq!(opening(work, unlock).unwrap(), 2);
        open.set(false);
        assert!(matches!(opening(work, || Err(BusError::Prompt)), Err(BusError::Prompt)));
        assert_eq!(calls.get(), 3);
    }
}
