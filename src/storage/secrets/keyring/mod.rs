//! Entries in the system's keyring: Secret Service, macOS Keychain, Windows Credential Manager.
//!
//! The crates' calls cannot be given a limit (on Linux an unlock prompt that nobody answers is waited for up to a
//! year), so one thread makes them all, over one connection, and each is waited for only so long.

#[cfg(any(target_os = "macos", windows))]
mod native;
#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;

#[cfg(any(target_os = "macos", windows))]
use native as platform;
#[cfg(all(unix, not(target_os = "macos")))]
use secret_service as platform;

use super::{GRACE, Store, StoreError, Trouble};
use crate::base::secret::Secret;
use crate::base::text::escape;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use zeroize::Zeroizing;

/// The service name of all entries; the user name is the profile.
const SERVICE: &str = "tok";

/// What a platform's keyring does over one connection. Each call may hang for as long as the platform likes.
trait Keyring {
    /// The bytes of the entry of `user` under `service`, or `None` where there is none.
    fn get(&mut self, service: &str, user: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;
    /// Puts the entry there, in the place of the one that is.
    fn set(&mut self, service: &str, user: &str, secret: &[u8]) -> Result<(), StoreError>;
    /// Removes the entry; whether there was one.
    fn forget(&mut self, service: &str, user: &str) -> Result<bool, StoreError>;
    /// Whether a new entry could be put there.
    fn ready(&mut self) -> Result<(), StoreError>;
}

/// How the connection is made: to the platform's keyring, or a test's.
type Connect = fn() -> Result<Box<dyn Keyring>, StoreError>;
/// What the thread is asked to do, over the connection it keeps.
type Job = Box<dyn FnOnce(&mut Option<Box<dyn Keyring>>) + Send>;

/// The keyring of the user who runs this. Nothing is called before the first entry is asked for; a clone uses the same
/// connection.
#[derive(Clone, Debug)]
pub struct KeyringStore {
    patience: Duration,
    connect: Connect,
    line: Rc<RefCell<Line>>,
}

/// The thread that keeps the connection, or why it is no longer asked.
#[derive(Debug, Default)]
struct Line {
    worker: Option<mpsc::Sender<Job>>,
    given_up: Option<StoreError>,
}

impl KeyringStore {
    /// The platform's keyring. `patience` is how long each call is waited for: 3 s where nobody can type, a minute
    /// where a person may be unlocking it.
    pub fn new(patience: Duration) -> KeyringStore {
        KeyringStore { patience, connect: platform::connect, line: Rc::default() }
    }

    /// A store for where no bus can be found: every call fails with [`Trouble::Missing`] and the library, which
    /// might look for a bus in its own ways, is not called.
    pub fn without_bus() -> KeyringStore {
        KeyringStore::missing(
            "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set, and there is no bus at the usual place",
        )
    }

    /// A store for where the bus [is on a network][is_remote]: every call fails with [`Trouble::Missing`], and nothing
    /// is connected to.
    pub fn on_remote_bus() -> KeyringStore {
        KeyringStore::missing(
            "DBUS_SESSION_BUS_ADDRESS names a bus over TCP, and no secret is sent to one: everything on it is readable \
             on its way",
        )
    }

    fn missing(why: &str) -> KeyringStore {
        let given_up = Some(StoreError { trouble: Trouble::Missing, why: why.to_owned() });
        KeyringStore {
            line: Rc::new(RefCell::new(Line { worker: None, given_up })),
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
        let (service, user) = (service.to_owned(), user.to_owned());
        self.run(move |keyring| keyring.get(&service, &user))?.map(as_text).transpose()
    }

    /// Runs `work` in the thread, over its connection. After one time-out the thread may hang in the library for
    /// good: no further call is made.
    fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Keyring) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut line = self.line.borrow_mut();
        if let Some(error) = &line.given_up {
            return Err(error.clone());
        }
        let connect = self.connect;
        let (send, receive) = mpsc::channel();
        let job: Job = Box::new(move |connection| {
            let run = || {
                let keyring = match connection {
                    Some(keyring) => keyring,
                    none => none.insert(connect()?),
                };
                work(keyring.as_mut())
            };
            // Nobody receives it after a time-out.
            let _ = send.send(run());
        });
        line.worker()?.send(job).map_err(|_| ended())?;
        let result = match receive.recv_timeout(self.patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(StoreError {
                trouble: Trouble::TimedOut,
                why: format!(
                    "the keyring did not answer within {}",
                    crate::base::duration::show(self.patience.as_secs().max(1) as i64)
                ),
            }),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        };
        if let Err(error) = &result
            && error.trouble == Trouble::TimedOut
        {
            line.given_up = Some(error.clone());
        }
        result
    }
}

impl Line {
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
        let (profile, secret) = (profile.to_owned(), entry.clone());
        let patience = self.patience;
        self.patience = patience.max(GRACE);
        let done = self.run(move |keyring| keyring.set(SERVICE, &profile, secret.expose().as_bytes()));
        self.patience = patience;
        done
    }

    fn ready(&mut self) -> Result<(), StoreError> {
        self.run(|keyring| keyring.ready())
    }

    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        let profile = profile.to_owned();
        self.run(move |keyring| keyring.forget(SERVICE, &profile))
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

/// Whether a bus at `address` is reached over TCP (D-Bus specification, "Server Addresses" and "Transports"; several
/// addresses are parted by `;` and tried in turn). A plain session is for a socket of this machine.
pub fn is_remote(address: &str) -> bool {
    address.split(';').any(|one| matches!(one.trim().split(':').next(), Some("tcp" | "nonce-tcp")))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn store(connect: Connect) -> KeyringStore {
        KeyringStore { connect, ..KeyringStore::new(Duration::from_millis(300)) }
    }

    #[derive(Default)]
    struct Mock(HashMap<(String, String), Vec<u8>>);

    impl Keyring for Mock {
        fn get(&mut self, service: &str, user: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
            Ok(self.0.get(&(service.to_owned(), user.to_owned())).cloned().map(Zeroizing::new))
        }

        fn set(&mut self, service: &str, user: &str, secret: &[u8]) -> Result<(), StoreError> {
            self.0.insert((service.to_owned(), user.to_owned()), secret.to_owned());
            Ok(())
        }

        fn forget(&mut self, service: &str, user: &str) -> Result<bool, StoreError> {
            Ok(self.0.remove(&(service.to_owned(), user.to_owned())).is_some())
        }

        fn ready(&mut self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn mock() -> Result<Box<dyn Keyring>, StoreError> {
        Ok(Box::new(Mock::default()))
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
            assert_eq!(store.get("p").unwrap_err().trouble, Trouble::TimedOut);
            assert_eq!(store.set("p", &Secret::new("{}")).unwrap_err().trouble, Trouble::TimedOut);
        }
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_corrupt_and_not_shown() {
        let error = as_text(Zeroizing::new(b"s3cret\xff".to_vec())).unwrap_err();
        assert_eq!(error.trouble, Trouble::Corrupt);
        assert!(!error.why.contains("s3cret"), "{}", error.why);
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

    #[test]
    fn a_bus_over_tcp_is_told_by_its_address() {
        for remote in ["tcp:host=127.0.0.1,port=1", "nonce-tcp:host=x", "unix:path=/run/bus;tcp:host=x,port=2"] {
            assert!(is_remote(remote), "{remote}");
        }
        for local in ["", "unix:path=/run/tcp:host", "unix:abstract=x,guid=00", "autolaunch:", "unixexec:path=ssh"] {
            assert!(!is_remote(local), "{local}");
        }
        let mut store = KeyringStore { connect: || panic!("called"), ..KeyringStore::on_remote_bus() };
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
