//! Entries in one file of ours, for where there is no keyring and the user chose so.

use super::{GRACE, Store, StoreError, StoreErrorKind};
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::storage::lock::{Lock, LockError};
use crate::system::files::{self, Durable, ReadError};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes: some thousand entries.
const LIMIT: u64 = 16 << 20;

/// One JSON object, profile → entry, in a file that only we can read.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    deadline: Instant,
}

/// The entries as they stand in the file, borrowed from its text: what is not changed is written back byte for
/// byte, and no copy of a secret is left in memory.
type Entries<'a> = BTreeMap<String, &'a RawValue>;

impl FileStore {
    /// A store in the file `path`, which need not be there. `deadline` is how long the lock is waited for that is held
    /// while the file is changed.
    pub fn new(path: PathBuf, deadline: Instant) -> FileStore {
        FileStore { path, deadline }
    }

    fn error(&self, trouble: StoreErrorKind, why: impl std::fmt::Display) -> StoreError {
        StoreError { trouble, why: format!("{}: {}", escape(&self.path.to_string_lossy()), escape(&why.to_string())) }
    }

    /// The file's text, `{}` where there is no file.
    fn read(&self) -> Result<Zeroizing<String>, StoreError> {
        match files::read_private(&self.path, LIMIT) {
            Ok(None) => Ok(Zeroizing::new("{}".to_owned())),
            Ok(Some(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Zeroizing::new(text)),
                Err(broken) => {
                    drop(Zeroizing::new(broken.into_bytes()));
                    Err(self.error(StoreErrorKind::Corrupt, "it is not UTF-8"))
                }
            },
            Err(error @ ReadError::TooLong(_)) => Err(self.error(StoreErrorKind::Corrupt, error)),
            Err(error) => Err(self.error(StoreErrorKind::Refused, error)),
        }
    }

    fn parse<'a>(&self, text: &'a str) -> Result<Entries<'a>, StoreError> {
        // Line and column alone: the parser's words may hold a piece of what it read.
        serde_json::from_str(text).map_err(|error| {
            let place =
                format!("it is not a JSON object of entries (line {}, column {})", error.line(), error.column());
            self.error(StoreErrorKind::Corrupt, place)
        })
    }

    fn write(&self, entries: &Entries<'_>, room: usize) -> Result<(), StoreError> {
        // Room for all of it at once: a vector that grows leaves copies of secrets behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *bytes, entries)
            .map_err(|_| self.error(StoreErrorKind::Refused, "the entries cannot be written as JSON"))?;
        bytes.push(b'\n');
        files::write_private(&self.path, &bytes, Durable::Yes).map_err(|error| self.error(StoreErrorKind::Refused, error))
    }

    /// Takes the lock beside the file, so that all who share the file share it; on the file itself where its folder
    /// takes no other.
    fn lock(&self, deadline: Instant) -> Result<Lock, StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = Lock::take(folder, &name, deadline, &mut |_| {});
        let lock = match beside {
            Err(LockError::Failed(_, error)) if takes_no_file(&error) && self.path.is_file() => {
                Lock::on(&self.path, deadline)
            }
            beside => beside,
        };
        lock.map_err(|error| {
            let (trouble, path) = match &error {
                LockError::TimedOut { .. } => (StoreErrorKind::TimedOut, folder.join(format!("{name}.lock"))),
                LockError::Failed(path, _) => (StoreErrorKind::Refused, path.clone()),
            };
            StoreError { trouble, why: format!("{}: {}", escape(&path.to_string_lossy()), escape(&error.to_string())) }
        })
    }

    /// Removes what killed processes left half written; only under the lock.
    fn sweep(&self) {
        files::sweep_of(&self.path);
    }

    fn folder(&self) -> Result<(), StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        files::private_dir(folder).map_err(|error| StoreError {
            trouble: StoreErrorKind::Refused,
            why: format!("{}: {}", escape(&folder.to_string_lossy()), escape(&error.to_string())),
        })
    }
}

/// Whether the error says that this user can make no file in a folder: not now, and not later.
fn takes_no_file(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    // One of our own words instead: what is there is not ours.
    error.get_ref().is_none() && matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

impl Store for FileStore {
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
        // What lies in a folder that others can change may be anybody's; a token in it is not to be spent.
        if self.path.parent().is_some_and(|folder| folder.symlink_metadata().is_ok()) {
            self.folder()?;
        }
        // Without the lock: the file is replaced whole.
        let text = self.read()?;
        let entries = self.parse(&text)?;
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
        self.folder()?;
        let _lock = self.lock(self.deadline.max(Instant::now() + GRACE))?;
        self.sweep();
        let text = self.read()?;
        let mut entries = self.parse(&text)?;
        entries.insert(profile.to_owned(), raw);
        self.write(&entries, text.len() + entry.expose().len() + profile.len() * 6 + 16)
    }

    fn ready(&mut self) -> Result<(), StoreError> {
        let refused = |error: std::io::Error| StoreError { trouble: StoreErrorKind::Refused, why: escape(&error.to_string()) };
        let folder = self.path.parent().unwrap_or(std::path::Path::new("."));
        files::private_dir(folder).and_then(|()| files::can_write(folder)).map_err(refused)
    }

    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        // Nothing is made where nothing is kept.
        if !self.path.parent().is_some_and(Path::is_dir) {
            return Ok(false);
        }
        self.folder()?;
        let _lock = self.lock(self.deadline)?;
        self.sweep();
        let text = self.read()?;
        let mut entries = self.parse(&text)?;
        if entries.remove(profile).is_none() {
            return Ok(false);
        }
        self.write(&entries, text.len() + 16)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn store(folder: &Path) -> FileStore {
        FileStore::new(folder.join("data/tok/secrets.json"), Instant::now() + Duration::from_secs(5))
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
