//! Entries in the system's keyring: Secret Service, macOS Keychain, Windows Credential Manager. One caller for all, in
//! the words of `keyring-core`; the stores are in the files beside this one.
//!
//! The stores' calls cannot be given a limit (on Linux an unanswered unlock prompt is waited for up to a
//! year), so one thread makes them all, over one connection, and each is waited for only so long.

#[cfg(any(target_os = "macos", windows))]
mod native;
#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;

#[cfg(any(target_os = "macos", windows))]
use native as platform;
#[cfg(all(unix, not(target_os = "macos")))]
use secret_service as platform;

use super::{GRACE, Store, StoreError, StoreErrorKind};
use crate::base::secret::Secret;
use crate::base::text::escape;
use keyring_core::{CredentialStore, Entry, Error};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use zeroize::Zeroizing;

/// The service name of all entries; the user name is the profile.
const SERVICE: &str = "tok";

/// Why a keyring is locked: it does not say whether the prompt was not shown or not answered.
const NOT_UNLOCKED: &str = "its password was not entered, or there was no display to prompt for it";

/// The command that unlocks the keyring without a desktop, if this system has one.
pub const UNLOCK: Option<&str> = platform::UNLOCK;

/// How the connection is made: to the platform's keyring, or a test's.
type Connect = fn() -> keyring_core::Result<Arc<CredentialStore>>;
/// What the thread is asked to do, over the connection it keeps.
type Job = Box<dyn FnOnce(&mut Option<Arc<CredentialStore>>) + Send>;

/// The keyring of the user who runs this. Nothing is called before the first entry is asked for; a clone uses the same
/// connection.
#[derive(Clone, Debug)]
pub struct KeyringStore {
    patience: Duration,
    connect: Connect,
    line: Rc<RefCell<Connection>>,
}

/// The thread that keeps the connection, or why it is not used any more.
#[derive(Debug, Default)]
struct Connection {
    worker: Option<mpsc::Sender<Job>>,
    given_up: Option<StoreError>,
}

impl KeyringStore {
    /// The platform's keyring. `patience` is how long each call is waited for: 3 s if no person can type, a minute
    /// where a person may be unlocking it.
    pub fn new(patience: Duration) -> KeyringStore {
        KeyringStore { patience, connect: platform::store, line: Rc::default() }
    }

    /// A store for systems without a keyring; `why` says why. Every call fails with [`StoreErrorKind::Missing`] and the
    /// library, which might look for one in its own ways, is not called.
    pub fn missing(why: String) -> KeyringStore {
        let given_up = Some(StoreError { trouble: StoreErrorKind::Missing, why });
        KeyringStore {
            line: Rc::new(RefCell::new(Connection { worker: None, given_up })),
            ..KeyringStore::new(Duration::ZERO)
        }
    }

    /// Sets how long each of the following calls is waited for.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The entry of another program under `service` and `user`; it is only read.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_of(&mut self, service: &str, user: &str) -> Result<Option<Secret>, StoreError> {
        let (service, user) = (service.to_owned(), user.to_owned());
        self.run(move |store| read(store, &service, &user))?.map(as_text).transpose()
    }

    /// Runs `work` in the thread, over its connection. After one time-out the thread may hang in the library for
    /// good: no further call is made.
    fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&CredentialStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut line = self.line.borrow_mut();
        if let Some(error) = &line.given_up {
            return Err(error.clone());
        }
        let connect = self.connect;
        let (send, receive) = mpsc::channel();
        let job: Job = Box::new(move |connection| {
            let run = || {
                let store = match connection {
                    Some(store) => store,
                    none => none.insert(connect().map_err(|error| translate(error, Operation::Connect))?),
                };
                work(&**store)
            };
            // It is not received after a time-out.
            let _ = send.send(run());
        });
        line.worker()?.send(job).map_err(|_| ended())?;
        let result = match receive.recv_timeout(self.patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(StoreError {
                trouble: StoreErrorKind::TimedOut,
                why: format!(
                    "the keyring did not answer within {}",
                    crate::base::duration::show(self.patience.as_secs().max(1) as i64)
                ),
            }),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        };
        if let Err(error) = &result
            && error.trouble == StoreErrorKind::TimedOut
        {
            line.given_up = Some(error.clone());
        }
        result
    }
}

impl Connection {
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
                    .map_err(|error| StoreError {
                        trouble: StoreErrorKind::Refused,
                        why: escape(&error.to_string()),
                    })?;
                Ok(none.insert(send))
            }
        }
    }
}

fn as_text(bytes: Zeroizing<Vec<u8>>) -> Result<Secret, StoreError> {
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(StoreError { trouble: StoreErrorKind::Corrupt, why: "the entry is not UTF-8".to_owned() }),
    }
}

impl Store for KeyringStore {
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
        self.get_of(SERVICE, profile)
    }

    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError> {
        let (profile, secret) = (profile.to_owned(), entry.clone());
        let patience = self.patience;
        self.patience = patience.max(GRACE);
        let done = self.run(move |store| write(store, SERVICE, &profile, secret.expose().as_bytes()));
        self.patience = patience;
        done
    }

    fn ready(&mut self) -> Result<(), StoreError> {
        self.run(|store| platform::ready(store).map_err(used))
    }

    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        let profile = profile.to_owned();
        self.run(move |store| remove(store, SERVICE, &profile))
    }
}

fn ended() -> StoreError {
    StoreError { trouble: StoreErrorKind::Refused, why: "the keyring failed".to_owned() }
}

/// The bytes of the entry of `user` under `service`, or `None` if there is none.
fn read(store: &CredentialStore, service: &str, user: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    match platform::build(store, service, user).and_then(|entry| entry.get_secret()) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(used(error)),
    }
}

/// Puts the entry there, in the place of the one that is, or of the several.
fn write(store: &CredentialStore, service: &str, user: &str, secret: &[u8]) -> Result<(), StoreError> {
    match platform::build(store, service, user).and_then(|entry| entry.set_secret(secret)) {
        Err(Error::Ambiguous(entries)) => {
            let Some((first, others)) = entries.split_first() else { return Err(ended()) };
            first.set_secret(secret).map_err(used)?;
            delete(others).map(drop)
        }
        done => done.map_err(used),
    }
}

/// Removes the entry, or the several; whether there was one.
fn remove(store: &CredentialStore, service: &str, user: &str) -> Result<bool, StoreError> {
    let entry = platform::build(store, service, user).map_err(used)?;
    match entry.delete_credential() {
        Err(Error::Ambiguous(entries)) => delete(&entries),
        Err(Error::NoEntry) => Ok(false),
        done => done.map(|()| true).map_err(used),
    }
}

/// Removes each of these entries; whether there was one.
fn delete(entries: &[Entry]) -> Result<bool, StoreError> {
    let mut any = false;
    for entry in entries {
        match entry.delete_credential() {
            Ok(()) => any = true,
            Err(Error::NoEntry) => {}
            Err(error) => return Err(used(error)),
        }
    }
    Ok(any)
}

/// What was being done when an error came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Connect,
    Use,
}

fn used(error: Error) -> StoreError {
    translate(error, Operation::Use)
}

/// The library's error as one of ours, by its kind and never by its text (which changes with versions, services and
/// languages). A connection that cannot be made is a service that is not there, whatever the reason.
fn translate(error: Error, step: Operation) -> StoreError {
    let otherwise = if step == Operation::Connect { StoreErrorKind::Missing } else { StoreErrorKind::Refused };
    let (trouble, why) = match error {
        Error::PlatformFailure(inner) | Error::NoStorageAccess(inner) if inner.is::<StoreError>() => {
            match inner.downcast::<StoreError>() {
                Ok(told) => return *told,
                Err(_) => return ended(),
            }
        }
        Error::NoStorageAccess(_) => (StoreErrorKind::Locked, NOT_UNLOCKED.to_owned()),
        Error::PlatformFailure(inner) => match platform::trouble(&*inner) {
            Some(StoreErrorKind::Locked) => (StoreErrorKind::Locked, NOT_UNLOCKED.to_owned()),
            told => (told.unwrap_or(otherwise), inner.to_string()),
        },
        // Its own words would list object paths.
        Error::Ambiguous(entries) => {
            (StoreErrorKind::Corrupt, format!("{} entries have this service and user name", entries.len()))
        }
        Error::BadEncoding(bytes) => {
            drop(Zeroizing::new(bytes));
            (StoreErrorKind::Corrupt, "the entry is not UTF-8".to_owned())
        }
        Error::BadDataFormat(bytes, _) => {
            drop(Zeroizing::new(bytes));
            (StoreErrorKind::Corrupt, "the entry is malformed".to_owned())
        }
        Error::BadStoreFormat(_) => (StoreErrorKind::Corrupt, "the keyring is malformed".to_owned()),
        Error::NoEntry => (StoreErrorKind::Refused, "the entry was removed while it was being written".to_owned()),
        Error::TooLong(_, limit) => (otherwise, format!("the entry is too long: at most {limit} characters fit")),
        other => (otherwise, other.to_string()),
    };
    StoreError { trouble, why: escape(&why) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::any::Any;
    use std::collections::HashMap;
    use std::sync::Mutex;

    fn store(connect: Connect) -> KeyringStore {
        KeyringStore { connect, ..KeyringStore::new(Duration::from_millis(300)) }
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
        assert_eq!(store.clone().get("p").unwrap().unwrap().expose(), "{}");
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
        for _ in 0..3 {
            assert_eq!(store.get("p").unwrap_err().trouble, StoreErrorKind::TimedOut);
            assert_eq!(store.set("p", &Secret::new("{}")).unwrap_err().trouble, StoreErrorKind::TimedOut);
        }
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_corrupt_and_not_shown() {
        let error = as_text(Zeroizing::new(b"s3cret\xff".to_vec())).unwrap_err();
        assert_eq!(error.trouble, StoreErrorKind::Corrupt);
        assert!(!error.why.contains("s3cret"), "{}", error.why);
    }

    #[test]
    fn a_library_that_panics_is_an_error() {
        let mut store = store(|| panic!("not our secret"));
        // A panic's backtrace takes its time on a busy machine.
        store.set_patience(Duration::from_secs(60));
        assert_eq!(store.get("p").unwrap_err().trouble, StoreErrorKind::Refused);
        assert_eq!(store.get("p").unwrap_err().trouble, StoreErrorKind::Refused);
    }

    #[test]
    fn without_a_keyring_nothing_is_called() {
        let missing = KeyringStore::missing("no bus".to_owned());
        let mut store = KeyringStore { connect: || panic!("called"), ..missing };
        let error = store.get("p").unwrap_err();
        assert_eq!((error.trouble, error.why.as_str()), (StoreErrorKind::Missing, "no bus"));
    }

    /// A keyring that holds any number of entries under one name.
    #[derive(Debug, Clone, Default)]
    struct Many(Arc<Mutex<Vec<Option<Vec<u8>>>>>);

    #[derive(Debug)]
    struct Which(Many, Option<usize>);

    impl Which {
        fn on<T>(&self, work: impl FnOnce(&mut Option<Vec<u8>>) -> T) -> keyring_core::Result<T> {
            let mut all = self.0.0.lock().unwrap();
            let there: Vec<usize> = (0..all.len()).filter(|i| all[*i].is_some()).collect();
            match (self.1, &there[..]) {
                (Some(i), _) if all[i].is_some() => Ok(work(&mut all[i])),
                (None, [one]) => Ok(work(&mut all[*one])),
                (Some(_), _) | (None, []) => Err(Error::NoEntry),
                (None, _) => {
                    let entry = |i| Entry::new_with_credential(Arc::new(Which(self.0.clone(), Some(i))));
                    Err(Error::Ambiguous(there.into_iter().map(entry).collect()))
                }
            }
        }
    }

    impl keyring_core::api::CredentialApi for Which {
        fn set_secret(&self, secret: &[u8]) -> keyring_core::Result<()> {
            match self.on(|entry| *entry = Some(secret.to_owned())) {
                Err(Error::NoEntry) => {
                    self.0.0.lock().unwrap().push(Some(secret.to_owned()));
                    Ok(())
                }
                done => done,
            }
        }

        fn get_secret(&self) -> keyring_core::Result<Vec<u8>> {
            self.on(|entry| entry.clone().unwrap())
        }

        fn delete_credential(&self) -> keyring_core::Result<()> {
            self.on(|entry| *entry = None)
        }

        fn get_credential(&self) -> keyring_core::Result<Option<Arc<keyring_core::Credential>>> {
            Ok(None)
        }

        fn get_specifiers(&self) -> Option<(String, String)> {
            None
        }

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    impl keyring_core::api::CredentialStoreApi for Many {
        fn vendor(&self) -> String {
            "test".to_owned()
        }

        fn id(&self) -> String {
            "1".to_owned()
        }

        fn build(&self, _: &str, _: &str, _: Option<&HashMap<&str, &str>>) -> keyring_core::Result<Entry> {
            Ok(Entry::new_with_credential(Arc::new(Which(self.clone(), None))))
        }

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    #[test]
    fn of_several_entries_none_is_read_and_all_are_replaced_or_removed() {
        let two = || {
            let many = Many::default();
            *many.0.lock().unwrap() = vec![Some(b"1".to_vec()), Some(b"2".to_vec())];
            many
        };
        let many = two();
        let error = read(&many, "tok", "p").unwrap_err();
        assert_eq!((error.trouble, error.why.contains("2 entries")), (StoreErrorKind::Corrupt, true), "{}", error.why);
        write(&many, "tok", "p", b"3").unwrap();
        assert_eq!(read(&many, "tok", "p").unwrap().unwrap().as_slice(), b"3");
        let many = two();
        assert!(remove(&many, "tok", "p").unwrap());
        assert_eq!(read(&many, "tok", "p").unwrap(), None);
        assert!(!remove(&many, "tok", "p").unwrap());
    }

    #[test]
    fn errors_are_told_apart_by_their_kind() {
        let inner = || Box::new(std::io::Error::other("a\u{1b}b"));
        let own = || Box::new(StoreError { trouble: StoreErrorKind::TimedOut, why: "ours".to_owned() });
        let cases = [
            (Error::PlatformFailure(own()), Operation::Connect, StoreErrorKind::TimedOut),
            (Error::PlatformFailure(inner()), Operation::Connect, StoreErrorKind::Missing),
            (Error::PlatformFailure(inner()), Operation::Use, StoreErrorKind::Refused),
            (Error::NoStorageAccess(inner()), Operation::Use, StoreErrorKind::Locked),
            (Error::BadEncoding(b"s3cret".to_vec()), Operation::Use, StoreErrorKind::Corrupt),
            (Error::BadDataFormat(b"s3cret".to_vec(), inner()), Operation::Use, StoreErrorKind::Corrupt),
            (Error::Ambiguous(Vec::new()), Operation::Use, StoreErrorKind::Corrupt),
            (Error::TooLong("secret".to_owned(), 2560), Operation::Use, StoreErrorKind::Refused),
        ];
        for (error, step, trouble) in cases {
            let told = translate(error, step);
            assert_eq!(told.trouble, trouble, "{}", told.why);
            assert!(!told.why.contains("s3cret") && !told.why.contains('\u{1b}'), "{}", told.why);
        }
    }
}
