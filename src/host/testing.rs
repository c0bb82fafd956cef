//! A world that a test makes: the network is a closure, the stores are a map, the clock is a value, the folders lie in
//! one that goes with the world, and what is said lies in buffers.

use super::Host;
use crate::base::env::Env;
use crate::base::error::Result;
use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::oauth::request::{Request, Response};
use crate::storage::choice::StoreChoice;
use crate::storage::folders::Folders;
use crate::storage::secrets::{Opening, Patience, Store, StoreError, StoreErrorKind, Stores};
use crate::system::clock::Clock;
use crate::system::files_read::FilesRead;
use crate::system::http::{Events, Head, Http};
use crate::system::terminal::Terminal;
use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tempfile::TempDir;

/// When every test begins, in seconds since 1970.
pub const START: i64 = 1_800_000_000;

/// A host, and all that it reaches.
pub struct World {
    /// The host.
    pub host: Host,
    /// What its stores hold.
    pub stores: MapStores,
    sent: Arc<Mutex<Vec<Request>>>,
    err: Buffer,
    folder: TempDir,
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl World {
    /// No variable is set, nothing is kept, `-v` was given, and a request that is sent fails the test.
    pub fn new() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let below = |name: &str| folder.path().join(name);
        let folders =
            Folders { home: folder.path().into(), config: below("config"), data: below("data"), state: below("state") };
        let clock = Clock::with(Arc::new(|| Time::from_secs(START)));
        let (err, stores) = (Buffer::default(), MapStores::default());
        let mut terminal = Terminal::with(Box::new(std::io::sink()), Box::new(err.clone()));
        terminal.verbose = 1;
        let host = Host {
            words: Vec::new(),
            env: Env::default(),
            folders: Some(folders),
            clock,
            terminal,
            settings: FilesRead::default(),
            events: Vec::new(),
            stores: Box::new(stores.clone()),
            store_settings: Arc::new(|_| Ok(None)),
            http: OnceCell::new(),
            elsewhere: None,
        };
        World { host, stores, sent: Arc::default(), err, folder }.answering(|_| panic!("nothing was to be sent"))
    }

    /// With these variables and no others.
    pub fn env(mut self, variables: &[(&str, &str)]) -> World {
        self.host.env = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        self
    }

    /// With no place for config and tokens: the user has no home.
    pub fn homeless(mut self) -> World {
        self.host.folders = None;
        self
    }

    /// With a network that answers each request by `answer`. An `Err` comes before the connection stands.
    pub fn answering(mut self, answer: impl Fn(&Request) -> Result<Response> + Send + Sync + 'static) -> World {
        let sent = self.sent.clone();
        let http: Http = Arc::new(move |request: &Request, _: Instant, events: &mut dyn Events| {
            lock(&sent).push(request.clone());
            let answered = answer(request)?;
            events.connected()?;
            let lines: Vec<String> =
                answered.headers.iter().map(|(name, text)| format!("{name}: {text}\r\n")).collect();
            let head = Head { status: answered.status, lines: lines.concat().into_bytes().into() };
            events.received(&head, &answered.body);
            Ok(Response { received: Time::from_secs(START), ..answered })
        });
        self.host.http = OnceCell::from(http);
        self
    }

    /// With a network that gives these replies one after the other, and then fails the test.
    pub fn replies(self, replies: impl IntoIterator<Item = Response>) -> World {
        let left = Mutex::new(replies.into_iter().collect::<VecDeque<_>>());
        self.answering(move |_| Ok(lock(&left).pop_front().expect("nothing more was to be sent")))
    }

    /// The requests that were sent until now.
    pub fn sent(&self) -> Vec<Request> {
        lock(&self.sent).clone()
    }

    /// What stands on stderr until now; what still waits is written first.
    pub fn stderr(&mut self) -> String {
        self.host.terminal.release_messages();
        self.err.text()
    }

    /// A folder that goes with the world.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A reply with that status and body.
pub fn reply(status: u16, body: impl ToString) -> Response {
    Response {
        status,
        headers: vec![("Content-Type".into(), "application/json".into())],
        body: body.to_string().into_bytes().into(),
        received: Time(0),
    }
}

/// The field `name` of a request whose body is a form.
pub fn field(request: &Request, name: &str) -> Option<String> {
    let body = std::str::from_utf8(request.body.as_ref()?).ok()?;
    let mut fields = body.split('&').filter_map(|field| field.split_once('='));
    let (_, text) = fields.find(|(its, _)| *its == name)?;
    let text = text.replace('+', " ");
    Some(percent_encoding::percent_decode_str(&text).decode_utf8().expect("UTF-8").into_owned())
}

/// The header `name` of a request.
pub fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    let mut all = request.headers.iter();
    all.find(|(its, _)| its.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// What a store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// It is opened.
    Open,
    /// An entry is read.
    Get,
    /// An entry is put.
    Set,
    /// It is asked whether it could take one.
    Ready,
    /// An entry is removed.
    Forget,
}

/// Stores that are one map, whatever their choice; `none` is none. Clones share it.
#[derive(Clone, Default)]
pub struct MapStores(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    entries: BTreeMap<String, String>,
    foreign: BTreeMap<(String, String), String>,
    fails: BTreeMap<Deed, StoreErrorKind>,
    done: Vec<Deed>,
}

impl Inside {
    fn does(&mut self, deed: Deed) -> std::result::Result<(), StoreError> {
        self.done.push(deed);
        self.fails.get(&deed).map_or(Ok(()), |trouble| Err(StoreError { trouble: *trouble, why: "as told".into() }))
    }
}

impl MapStores {
    /// The entry of `profile`.
    pub fn entry(&self, profile: &str) -> Option<Secret> {
        lock(&self.0).entries.get(profile).map(Secret::new)
    }

    /// Puts an entry, as another program would.
    pub fn put(&self, profile: &str, entry: &Secret) {
        lock(&self.0).entries.insert(profile.into(), entry.expose().into());
    }

    /// Puts an entry of another program into the keyring.
    pub fn put_foreign(&self, service: &str, user: &str, text: &str) {
        lock(&self.0).foreign.insert((service.into(), user.into()), text.into());
    }

    /// From now on `deed` fails.
    pub fn fail(&self, deed: Deed, trouble: StoreErrorKind) {
        lock(&self.0).fails.insert(deed, trouble);
    }

    /// From now on nothing fails.
    pub fn mend(&self) {
        lock(&self.0).fails.clear();
    }

    /// What was done until now.
    pub fn done(&self) -> Vec<Deed> {
        lock(&self.0).done.clone()
    }
}

impl Stores for MapStores {
    fn open(&self, opening: Opening) -> std::result::Result<Option<Box<dyn Store>>, StoreError> {
        if *opening.choice == StoreChoice::None {
            return Ok(None);
        }
        lock(&self.0).does(Deed::Open)?;
        Ok(Some(Box::new(self.clone())))
    }

    fn keyring_entry(&self, service: &str, user: &str, _: Patience) -> std::result::Result<Option<Secret>, StoreError> {
        let mut inside = lock(&self.0);
        inside.does(Deed::Get)?;
        Ok(inside.foreign.get(&(service.into(), user.into())).map(Secret::new))
    }
}

impl Store for MapStores {
    fn get(&mut self, profile: &str) -> std::result::Result<Option<Secret>, StoreError> {
        let mut inside = lock(&self.0);
        inside.does(Deed::Get)?;
        Ok(inside.entries.get(profile).map(Secret::new))
    }

    fn set(&mut self, profile: &str, entry: &Secret) -> std::result::Result<(), StoreError> {
        let mut inside = lock(&self.0);
        inside.does(Deed::Set)?;
        inside.entries.insert(profile.into(), entry.expose().into());
        Ok(())
    }

    fn ready(&mut self) -> std::result::Result<(), StoreError> {
        lock(&self.0).does(Deed::Ready)
    }

    fn forget(&mut self, profile: &str) -> std::result::Result<bool, StoreError> {
        let mut inside = lock(&self.0);
        inside.does(Deed::Forget)?;
        Ok(inside.entries.remove(profile).is_some())
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A test that has failed already is not to fail in another place.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
