//! Entries in a single file, if the user chose it over a keyring.

use super::{GRACE, Store, StoreError, StoreErrorKind};
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::storage::lock::{Lock, LockError};
use crate::system::files::{self, Backup, Dir, Durable, ReadError, Target};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes: some thousand entries.
const LIMIT: u64 = 16 << 20;

/// How much longer the file may have become when the new entry comes, in bytes: a new refresh token and what is said of
/// it. A longer one is written too, if there is room by then.
const SLACK: usize = 16 << 10;

/// One JSON object, profile → entry, in a file that only we can read.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    /// Its copy, where it can only be written in place.
    backup: Backup,
    deadline: Instant,
    /// What [`Store::prepare`] has readied.
    ready: Option<Prepared>,
}

/// Room for the new content, and descriptors for what is opened to put it there.
#[derive(Debug)]
struct Prepared {
    target: Target,
    /// Opening the lock and the file takes two, reading the folder two more.
    spare: Vec<File>,
}

/// The entries as they stand in the file, borrowed from its text: what is not changed is written back byte for
/// byte, and no copy of a secret is left in memory.
type Entries<'a> = BTreeMap<String, &'a RawValue>;

/// The file's text, as it is to be taken, and as it stands there.
struct Text {
    text: Zeroizing<String>,
    /// Where a copy was taken for it.
    there: Option<Zeroizing<Vec<u8>>>,
}

impl Text {
    fn there(&self) -> &[u8] {
        self.there.as_ref().map_or(self.text.as_bytes(), |there| there.as_slice())
    }
}

impl FileStore {
    /// A store in the file `path`, which need not be there. `deadline` is how long the lock is waited for that is held
    /// while the file is changed. `journal`: the folder for its copy, where it can only be written in place.
    pub fn new(path: PathBuf, journal: &Path, deadline: Instant) -> FileStore {
        let backup = Backup::of(&path, journal);
        FileStore { path, backup, deadline, ready: None }
    }

    fn error(&self, trouble: StoreErrorKind, why: impl std::fmt::Display) -> StoreError {
        StoreError { trouble, why: format!("{}: {}", escape(&self.path.to_string_lossy()), escape(&why.to_string())) }
    }

    /// The error of a write.
    fn unwritten(&self, error: &io::Error) -> StoreError {
        let unsafe_file = error.get_ref().is_some_and(|inner| inner.is::<files::Unsafe>());
        let trouble = if unsafe_file { StoreErrorKind::Refused } else { StoreErrorKind::Unwritable };
        self.error(trouble, files::why(error))
    }

    fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        match files::read_private(&self.path, LIMIT) {
            Ok(None) => Ok(Zeroizing::new(b"{}".to_vec())),
            Ok(Some(bytes)) => Ok(Zeroizing::new(bytes)),
            Err(error @ ReadError::TooLong(_)) => Err(self.error(StoreErrorKind::Corrupt, error)),
            Err(error) => Err(self.error(StoreErrorKind::Refused, error)),
        }
    }

    /// The file's text, `{}` if it does not exist. Its copy, where it cannot be read, or is not written yet.
    fn read(&self) -> Result<Text, StoreError> {
        let bytes = self.bytes()?;
        let is_whole = || serde_json::from_slice::<Entries>(&bytes).is_ok();
        if let Some((copy, is_next)) = self.backup.read(&bytes, LIMIT)
            && (is_next || !is_whole())
            && let Ok(text) = String::from_utf8(copy)
        {
            return Ok(Text { text: Zeroizing::new(text), there: Some(bytes) });
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Text { text: Zeroizing::new(text.to_owned()), there: None }),
            Err(_) => Err(self.error(StoreErrorKind::Corrupt, "it is not UTF-8")),
        }
    }

    fn parse<'a>(&self, text: &'a str) -> Result<Entries<'a>, StoreError> {
        // Only line and column: the parser's message may contain a piece of what it read.
        serde_json::from_str(text).map_err(|error| {
            let place =
                format!("it is not a JSON object of entries (line {}, column {})", error.line(), error.column());
            self.error(StoreErrorKind::Corrupt, place)
        })
    }

    /// Room for a file of that length, under the lock.
    fn target(&self, length: usize) -> Result<Target, StoreError> {
        Target::own(&self.path, length as u64, &self.backup).map_err(|error| self.unwritten(&error))
    }

    /// Puts `entries` in the place of what was `old`, under the lock.
    fn write(&mut self, old: &Text, entries: &Entries<'_>, room: usize) -> Result<(), StoreError> {
        // Allocated at once: a vector that grows leaves copies of secrets behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *bytes, entries)
            .map_err(|_| self.error(StoreErrorKind::Refused, "the entries cannot be written as JSON"))?;
        bytes.push(b'\n');
        let ready = self.ready.take().map(|ready| ready.target).filter(|target| target.is_still_of(&self.path));
        let target = ready.map_or_else(|| self.target(bytes.len()), Ok)?;
        target.put_over(old.there(), &bytes, Durable::Yes).map_err(|error| self.unwritten(&error))
    }

    /// Takes the lock beside the file, so that all who share the file share it; on the file itself where its folder
    /// takes no other.
    fn lock(&self, deadline: Instant) -> Result<Lock, StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = Lock::take(folder, 0, &name, deadline, &mut |_| {});
        let lock = match beside {
            Err(LockError::Failed(_, error))
                if (takes_no_file(&error) || is_of_root(folder)) && self.path.is_file() =>
            {
                Lock::on(&self.path, deadline)
            }
            beside => beside,
        };
        lock.map_err(|error| {
            let (trouble, path, why) = match &error {
                LockError::TimedOut { .. } => {
                    (StoreErrorKind::TimedOut, folder.join(format!("{name}.lock")), error.to_string())
                }
                LockError::Failed(path, reason) => {
                    let StoreError { trouble, .. } = self.unwritten(reason);
                    (trouble, path.clone(), format!("cannot lock: {}", files::why(reason)))
                }
            };
            StoreError { trouble, why: format!("{}: {}", escape(&path.to_string_lossy()), escape(&why)) }
        })
    }

    /// Removes what killed processes left half written; only under the lock.
    fn sweep(&self) {
        if let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name().and_then(|name| name.to_str()))
            && let Ok(dir) = Dir::open(folder, 0)
        {
            dir.sweep_of(name);
        }
    }

    fn folder(&self) -> Result<(), StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        // One of root's, with a file of ours in it, will do.
        let made = files::private_dir(folder);
        let usable = made.or_else(|error| Dir::open_shared(folder).map(drop).map_err(|_| error));
        usable.map_err(|error| {
            let StoreError { trouble, .. } = self.unwritten(&error);
            let why = format!("{}: {}", escape(&folder.to_string_lossy()), escape(&files::why(&error)));
            StoreError { trouble, why }
        })
    }
}

/// Whether the folder is root's and not writable for others, and so takes no file.
fn is_of_root(folder: &Path) -> bool {
    Dir::open(folder, 0).is_err() && Dir::open_shared(folder).is_ok()
}

/// Whether the error says that this user can make no file in a folder: not now, and not later.
fn takes_no_file(error: &io::Error) -> bool {
    use io::ErrorKind;
    // One of our own words instead: what is there is not ours.
    error.get_ref().is_none() && matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

impl Store for FileStore {
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
        // What lies in a folder that others can change may be anybody's; a token in it is not to be spent.
        if self.path.parent().is_some_and(|folder| folder.symlink_metadata().is_ok()) {
            self.folder()?;
        }
        // Without the lock: the file is replaced whole. One that is written in place may be in the middle of it, and
        // its copy in a state folder that is not ours: then the writer is waited for.
        let mut read = self.read()?;
        if self.parse(&read.text).is_err()
            && let Ok(_lock) = self.lock(self.deadline)
        {
            read = self.read()?;
        }
        let entries = self.parse(&read.text)?;
        match entries.get(profile) {
            None => Ok(None),
            Some(entry) if entry.get().starts_with('{') => Ok(Some(Secret::new(entry.get()))),
            Some(_) => {
                let why = format!("the entry of {} is not a JSON object", escape(profile));
                Err(self.error(StoreErrorKind::Entry, why))
            }
        }
    }

    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError> {
        let raw: &RawValue = serde_json::from_str(entry.expose())
            .ok()
            .filter(|raw: &&RawValue| raw.get().starts_with('{'))
            .ok_or_else(|| self.error(StoreErrorKind::Refused, "the new entry is not a JSON object"))?;
        // The descriptors that were kept for this are free from here on.
        if let Some(ready) = &mut self.ready {
            ready.spare.clear();
        }
        self.folder()?;
        let _lock = self.lock(self.deadline.max(Instant::now() + GRACE))?;
        self.sweep();
        let old = self.read()?;
        let text = old.text.clone();
        let mut entries = self.parse(&text)?;
        entries.insert(profile.to_owned(), raw);
        self.write(&old, &entries, text.len() + entry.expose().len() + profile.len() * 6 + 16)
    }

    fn ready(&mut self) -> Result<(), StoreError> {
        self.folder()?;
        self.target(SLACK).map(drop)
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        if self.ready.as_ref().is_some_and(|ready| ready.target.is_still_of(&self.path)) {
            return Ok(());
        }
        self.ready = None;
        self.folder()?;
        // If nothing is stored yet a login need not wait for anyone, and one that fails leaves not even a lock.
        let lock = self.path.exists().then(|| self.lock(self.deadline)).transpose()?;
        if lock.is_some() {
            self.sweep();
        }
        let target = self.target(self.bytes()?.len() + SLACK)?;
        let null = if cfg!(windows) { "NUL" } else { "/dev/null" };
        let spare = (0..4).map(|_| File::open(null)).collect::<io::Result<Vec<_>>>();
        let spare = spare.map_err(|error| self.unwritten(&error))?;
        self.ready = Some(Prepared { target, spare });
        Ok(())
    }

    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        // Nothing is created if nothing is stored.
        if !self.path.parent().is_some_and(Path::is_dir) {
            return Ok(false);
        }
        self.ready = None;
        self.folder()?;
        let _lock = self.lock(self.deadline)?;
        self.sweep();
        let old = self.read()?;
        let text = old.text.clone();
        let mut entries = self.parse(&text)?;
        if entries.remove(profile).is_none() {
            return Ok(false);
        }
        self.write(&old, &entries, text.len() + 16)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn store(folder: &Path) -> FileStore {
        FileStore::new(
            folder.join("data/tok/secrets.json"),
            &folder.join("state/tok/journal"),
            Instant::now() + Duration::from_secs(5),
        )
    }

    #[test]
    fn an_entry_is_kept_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        assert_eq!(store.get("p").unwrap(), None);
        assert!(!store.forget("p").unwrap());
        assert!(!folder.path().join("data").exists());
        let (one, two) = (Secret::new(r#"{"a":1.0}"#), Secret::new(r#"{ "b" : "\u00e9" }"#));
        store.set("p", &one).unwrap();
        store.set("q", &two).unwrap();
        store.set("p", &two).unwrap();
        assert_eq!(store.get("p").unwrap().unwrap(), two);
        assert!(store.forget("p").unwrap());
        assert_eq!(store.get("p").unwrap(), None);
        assert_eq!(store.get("q").unwrap().unwrap(), two);
    }

    #[test]
    fn other_entries_keep_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        store.folder().unwrap();
        let odd = r#"{"n": 123456789012345678901234567890.10,  "x":[1,{"y":null}]}"#;
        let text = format!(r#"{{"odd": {odd} }}"#);
        files::write_private(&store.path, text.as_bytes(), Durable::No).unwrap();
        store.set("p", &Secret::new("{}")).unwrap();
        assert_eq!(store.get("odd").unwrap().unwrap().expose(), odd);
    }

    #[test]
    fn a_broken_file_is_told_and_left_alone() {
        for text in ["", "[]", "{\"p\":", "nonsense s3cret", "{} {}", "\u{0}"] {
            let folder = tempfile::tempdir().unwrap();
            let mut store = store(folder.path());
            store.folder().unwrap();
            files::write_private(&store.path, text.as_bytes(), Durable::No).unwrap();
            let errors = [
                store.get("p").unwrap_err(),
                store.set("p", &Secret::new("{}")).unwrap_err(),
                store.forget("p").unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.trouble, StoreErrorKind::Corrupt, "{text}");
                assert!(!error.why.contains("s3cret"), "{}", error.why);
            }
            assert_eq!(std::fs::read_to_string(&store.path).unwrap(), text);
        }
    }

    #[test]
    fn an_entry_that_is_no_object_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        assert_eq!(store.set("p", &Secret::new("7")).unwrap_err().trouble, StoreErrorKind::Refused);
        store.folder().unwrap();
        files::write_private(&store.path, br#"{"p":7}"#, Durable::No).unwrap();
        assert_eq!(store.get("p").unwrap_err().trouble, StoreErrorKind::Entry);
    }
}
