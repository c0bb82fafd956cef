//! Entries in the system's keyring: Secret Service, macOS Keychain, Windows Credential Manager.
//!
//! The crates' calls cannot be given a limit (on Linux an unlock prompt that nobody answers is waited for up to a
//! year), so one thread makes them all, over one connection, and each is waited for only so long.

use super::{GRACE, Store, StoreError, Trouble};
use crate::text::escape;
use crate::token::Secret;
use keyring_core::{CredentialStore, Entry, Error};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use zeroize::Zeroizing;

/// The service name of all entries; the user name is the profile.
const SERVICE: &str = "tok";

/// How the connection is made: the platform's store, or a test's.
type Connect = fn() -> keyring_core::Result<Arc<CredentialStore>>;
/// How the handle of one entry is made: store, service, user.
type Handle = fn(&CredentialStore, &str, &str) -> keyring_core::Result<Entry>;
/// What the thread is asked to do, over the connection it keeps.
type Job = Box<dyn FnOnce(&mut Option<Arc<CredentialStore>>) + Send>;

/// The keyring of the user who runs this. Nothing is called before the first entry is asked for.
#[derive(Debug)]
pub struct KeyringStore {
    patience: Duration,
    connect: Connect,
    handle: Handle,
    worker: Option<mpsc::Sender<Job>>,
    given_up: Option<StoreError>,
}

impl KeyringStore {
    /// The platform's keyring. `patience` is how long each call is waited for: 3 s where nobody can type, a minute
    /// where a person may be unlocking it.
    pub fn new(patience: Duration) -> KeyringStore {
        KeyringStore { patience, connect: platform::connect, handle: platform::entry, worker: None, given_up: None }
    }

    /// A store for where no bus can be found: every call fails with [`Trouble::Missing`] and the library, which
    /// might look for a bus in its own ways, is not called.
    pub fn without_bus() -> KeyringStore {
        KeyringStore {
            given_up: Some(StoreError {
                trouble: Trouble::Missing,
                why: "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set, and there is no bus at the \
                      usual place"
                    .to_owned(),
            }),
            ..KeyringStore::new(Duration::ZERO)
        }
    }

    /// Sets how long each of the following calls is waited for.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The entry that something else keeps under `service` and `user`; it is only read.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_of(&mut self, service: &str, user: &str) -> Result<Option<Secret>, StoreError> {
        let bytes = self.call(service, user, |entry| entry.get_secret().map(Zeroizing::new))?;
        bytes.map(as_text).transpose()
    }

    /// Runs `work` on the entry of `profile` in the thread; no such entry is `None`.
    fn call<T: Send + 'static>(
        &mut self,
        service: &str,
        profile: &str,
        work: impl FnOnce(&Entry) -> keyring_core::Result<T> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let handle = self.handle;
        let (service, profile) = (service.to_owned(), profile.to_owned());
        self.run(move |store| {
            let entry = handle(store, &service, &profile).map_err(|error| translate(error, Step::Use))?;
            match work(&entry) {
                Ok(value) => Ok(Some(value)),
                Err(Error::NoEntry) => Ok(None),
                Err(error) => Err(translate(error, Step::Use)),
            }
        })
    }

    /// Runs `work` in the thread, over its connection. After one time-out the thread may hang in the library for
    /// good: no further call is made.
    fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&CredentialStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if let Some(error) = &self.given_up {
            return Err(error.clone());
        }
        let connect = self.connect;
        let (send, receive) = mpsc::channel();
        let job: Job = Box::new(move |connection| {
            let run = || {
                let store: &mut Arc<CredentialStore> = match connection {
                    Some(store) => store,
                    None => connection.insert(connect().map_err(|error| translate(error, Step::Connect))?),
                };
                work(&**store)
            };
            // Nobody receives it after a time-out.
            let _ = send.send(run());
        });
        self.worker()?.send(job).map_err(|_| ended())?;
        let result = match receive.recv_timeout(self.patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(StoreError {
                trouble: Trouble::TimedOut,
                why: format!(
                    "the keyring did not answer within {}",
                    crate::duration::show(self.patience.as_secs().max(1) as i64)
                ),
            }),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        };
        if let Err(error) = &result
            && error.trouble == Trouble::TimedOut
        {
            self.given_up = Some(error.clone());
        }
        result
    }

    fn worker(&mut self) -> Result<&mpsc::Sender<Job>, StoreError> {
        match &mut self.worker {
            Some(worker) => Ok(worker),
            none => {
                let (send, receive) = mpsc::channel::<Job>();
                std::thread::Builder::new()
                    .name("keyring".to_owned())
                    .spawn(move || {
                        let mut connection = None;
                        for job in receive {
                            job(&mut connection);
                        }
                    })
                    .map_err(|error| StoreError { trouble: Trouble::Refused, why: escape(&error.to_string()) })?;
                Ok(none.insert(send))
            }
        }
    }
}

fn as_text(bytes: Zeroizing<Vec<u8>>) -> Result<Secret, StoreError> {
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(StoreError { trouble: Trouble::Corrupt, why: "the entry is not UTF-8".to_owned() }),
    }
}

impl Store for KeyringStore {
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
        self.get_of(SERVICE, profile)
    }

    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError> {
        let secret = entry.clone();
        let patience = self.patience;
        self.patience = patience.max(GRACE);
        let done = self.call(SERVICE, profile, move |entry| entry.set_secret(secret.expose().as_bytes()));
        self.patience = patience;
        done?.ok_or_else(|| StoreError {
            trouble: Trouble::Refused,
            why: "the entry went away while it was written".to_owned(),
        })
    }

    fn ready(&mut self) -> Result<(), StoreError> {
        // A locked keyring answers at once that it has no such entry.
        self.run(|_| platform::ready().map_err(|error| translate(error, Step::Use)))
    }

    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        let done = self.call(SERVICE, profile, |entry| entry.delete_credential())?;
        Ok(done.is_some())
    }
}

fn ended() -> StoreError {
    StoreError { trouble: Trouble::Refused, why: "the keyring library failed".to_owned() }
}

/// What was being done when an error came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect,
    Use,
}

/// The library's error as one of ours, by its kind and never by its text (which changes with versions, services and
/// languages). A connection that cannot be made is a service that is not there, whatever the reason.
fn translate(error: Error, step: Step) -> StoreError {
    let told = platform::trouble(&error);
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
            format!("{count} entries have the service {SERVICE} and this user name; remove all but one")
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

/// The address of the bus that a login session of the user `uid` would have, if there is one and it is theirs: for
/// cron and services, where neither `DBUS_SESSION_BUS_ADDRESS` nor `XDG_RUNTIME_DIR` is set (systemd puts it
/// there, see `file-hierarchy(7)`).
pub fn usual_bus(uid: u32) -> Option<String> {
    bus_in(Path::new("/run/user"), uid)
}

#[cfg(unix)]
fn bus_in(folder: &Path, uid: u32) -> Option<String> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let socket = folder.join(uid.to_string()).join("bus");
    let data = std::fs::symlink_metadata(&socket).ok()?;
    (data.file_type().is_socket() && data.uid() == uid).then(|| format!("unix:path={}", socket.display()))
}

#[cfg(not(unix))]
fn bus_in(_: &Path, _: u32) -> Option<String> {
    None
}

#[cfg(all(unix, not(target_os = "macos")))]
mod platform {
    use super::Trouble;
    use dbus_secret_service::{EncryptionType, Error as ServiceError, SecretService};
    use dbus_secret_service_keyring_store::Store;
    use keyring_core::{CredentialStore, Entry, Error, Result};
    use std::collections::HashMap;
    use std::sync::Arc;

    pub fn connect() -> Result<Arc<CredentialStore>> {
        Ok(Store::new()?)
    }

    /// Whether the default keyring is there and open; where it is locked, the service asks for its password. A
    /// connection of its own, as the store shows none.
    pub fn ready() -> Result<()> {
        let open = || {
            let service = SecretService::connect(EncryptionType::Plain)?;
            let keyring = service.get_default_collection()?;
            if keyring.is_locked()? { keyring.unlock() } else { Ok(()) }
        };
        open().map_err(|error: ServiceError| Error::PlatformFailure(Box::new(error)))
    }

    /// The attributes are `service` and `username` alone; the label is what keyring programs show.
    pub fn entry(store: &CredentialStore, service: &str, profile: &str) -> Result<Entry> {
        let label = format!("{service}: {profile}");
        store.build(service, profile, Some(&HashMap::from([("label", label.as_str())])))
    }

    /// What only the errors of this platform tell, with better words than their own where there are any.
    pub fn trouble(error: &Error) -> Option<(Trouble, Option<&'static str>)> {
        let (Error::PlatformFailure(inner) | Error::NoStorageAccess(inner)) = error else {
            return None;
        };
        match inner.downcast_ref::<ServiceError>()? {
            ServiceError::Locked | ServiceError::Prompt => Some((Trouble::Locked, None)),
            // It is told of the default collection alone: there is nowhere to put an entry.
            ServiceError::NoResult => {
                Some((Trouble::Missing, Some("the Secret Service has no default keyring; a keyring program makes one")))
            }
            ServiceError::Unavailable => Some((Trouble::Missing, None)),
            ServiceError::Dbus(error) => by_name(error.name()?).map(|trouble| (trouble, None)),
            _ => None,
        }
    }

    /// Names of the D-Bus specification ("Error names" of its message bus) and of the Secret Service's.
    fn by_name(name: &str) -> Option<Trouble> {
        match name {
            // The crate gives each call 2 s; a service that is stopped or does not come up looks like this.
            "org.freedesktop.DBus.Error.NoReply"
            | "org.freedesktop.DBus.Error.Timeout"
            | "org.freedesktop.DBus.Error.TimedOut" => Some(Trouble::TimedOut),
            "org.freedesktop.DBus.Error.ServiceUnknown"
            | "org.freedesktop.DBus.Error.NameHasNoOwner"
            | "org.freedesktop.DBus.Error.Disconnected" => Some(Trouble::Missing),
            "org.freedesktop.Secret.Error.IsLocked" => Some(Trouble::Locked),
            _ => None,
        }
    }
}

#[cfg(target_os = "macos")]
mod platform {
    use super::Trouble;
    use apple_native_keyring_store::keychain::Store;
    use keyring_core::{CredentialStore, Entry, Error, Result};
    use std::sync::Arc;

    /// Its entries are there for whoever is logged in.
    pub fn ready() -> Result<()> {
        Ok(())
    }

    pub fn connect() -> Result<Arc<CredentialStore>> {
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
mod platform {
    use super::Trouble;
    use keyring_core::{CredentialStore, Entry, Error, Result};
    use std::collections::HashMap;
    use std::sync::Arc;
    use windows_native_keyring_store::Store;

    /// Its entries are there for whoever is logged in.
    pub fn ready() -> Result<()> {
        Ok(())
    }

    pub fn connect() -> Result<Arc<CredentialStore>> {
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
    use std::time::Instant;

    fn store(connect: Connect) -> KeyringStore {
        KeyringStore {
            connect,
            handle: |store, service, profile| store.build(service, profile, None),
            ..KeyringStore::new(Duration::from_millis(300))
        }
    }

    fn mock() -> keyring_core::Result<Arc<CredentialStore>> {
        Ok(keyring_core::mock::Store::new()?)
    }

    #[test]
    fn an_entry_is_kept_over_one_connection() {
        let mut store = store(mock);
        assert_eq!(store.get("p").unwrap(), None);
        assert!(!store.forget("p").unwrap());
        store.set("p", &Secret::new("{}")).unwrap();
        // Another connection would be another, empty, mock.
        assert_eq!(store.get("p").unwrap().unwrap().expose(), "{}");
        assert!(store.forget("p").unwrap());
        assert_eq!(store.get("p").unwrap(), None);
    }

    #[test]
    fn after_one_time_out_no_call_is_made() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let mut store = store(|| {
            CALLS.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(5));
            mock()
        });
        let begun = Instant::now();
        for _ in 0..3 {
            assert_eq!(store.get("p").unwrap_err().trouble, Trouble::TimedOut);
            assert_eq!(store.set("p", &Secret::new("{}")).unwrap_err().trouble, Trouble::TimedOut);
        }
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    }

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

    #[test]
    fn a_library_that_panics_is_an_error() {
        let mut store = store(|| panic!("not our secret"));
        // A panic's backtrace takes its time on a busy machine.
        store.set_patience(Duration::from_secs(60));
        assert_eq!(store.get("p").unwrap_err().trouble, Trouble::Refused);
        assert_eq!(store.get("p").unwrap_err().trouble, Trouble::Refused);
    }

    #[test]
    fn without_a_bus_nothing_is_called() {
        let mut store = KeyringStore { connect: || panic!("called"), ..KeyringStore::without_bus() };
        assert_eq!(store.get("p").unwrap_err().trouble, Trouble::Missing);
    }

    #[cfg(unix)]
    #[test]
    fn the_usual_bus_is_a_socket_of_the_user() {
        use std::os::unix::net::UnixListener;
        let me = rustix::process::geteuid().as_raw();
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(me.to_string());
        std::fs::create_dir(&own).unwrap();
        assert_eq!(bus_in(folder.path(), me), None);
        std::fs::write(own.join("bus"), "").unwrap();
        assert_eq!(bus_in(folder.path(), me), None);
        std::fs::remove_file(own.join("bus")).unwrap();
        let _listener = UnixListener::bind(own.join("bus")).unwrap();
        let address = format!("unix:path={}", own.join("bus").display());
        assert_eq!(bus_in(folder.path(), me), Some(address));
        assert_eq!(bus_in(folder.path(), me + 1), None);
    }
}
