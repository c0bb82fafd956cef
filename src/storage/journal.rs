//! The file of a journal: empty while a refresh is on its way, then the sealed reply, gone once the store has what the
//! reply brought. What is in it, and who reads it, is for `session/journal.rs`.

use crate::base::digest;
use crate::system::files::{self, Dir};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The most that a journal may hold, in bytes: a body of 1 MiB, a head, and the entry that was in force.
const LIMIT: u64 = 4 << 20;
/// Room that is made before anything is sent, in bytes: most replies are shorter by far.
const ROOM: u64 = 32 << 10;

/// How the name of a journal's file ends.
const END: &str = ".journal";

/// The name of the journal of `profile` that is sealed with `key`. Two stores have two keys, and so never meet here.
pub fn name(profile: &str, key: &str) -> String {
    format!("{profile}.{}{END}", &digest::hex(&[b"journal", key.as_bytes()])[..16])
}

/// Whether `name` is one that [`name`] could give for `profile`.
fn is_name(profile: &str, name: &str) -> bool {
    let middle = name.strip_prefix(profile).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(END));
    middle.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The folder of the journals: that of the locks, below the state folder.
fn folder(state: &Path) -> PathBuf {
    state.join("locks")
}

/// A journal that is open and empty.
#[derive(Debug)]
pub struct Journal {
    file: File,
    dir: Dir,
    name: String,
}

impl Journal {
    /// Opens the journal `name` below the state folder `state`, empties it and makes room in it. The caller holds the
    /// profile's lock there.
    ///
    /// # Errors
    /// Those of the system; one that is not ours alone is refused.
    pub fn open(state: &Path, name: &str) -> io::Result<Journal> {
        let dir = Dir::open(&folder(state), 1)?;
        let file = dir.open_lock(name)?;
        let journal = Journal { file, dir, name: name.to_string() };
        journal.file.set_len(0).and_then(|()| files::reserve(&journal.file, ROOM)).inspect_err(|_| journal.remove())?;
        Ok(journal)
    }

    /// Writes `sealed`, by one `write`. Nothing is forced to the disk: what ends is the process, not the machine.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&self, sealed: &[u8]) -> io::Result<()> {
        files::write_at_start(&self.file, sealed)
    }

    /// Removes it.
    pub fn remove(&self) {
        let _ = self.dir.remove(&self.name);
    }
}

/// What the journal `name` below `state` holds; `None` where there is none, and where it is not ours alone or too long:
/// then it is of no use to anybody.
pub fn read(state: &Path, name: &str) -> Option<Vec<u8>> {
    Dir::open(&folder(state), 1).ok()?.read(name, LIMIT).ok()?
}

/// Removes the journal `name` of `profile` below `state`, if there is one.
pub fn remove(state: &Path, profile: &str, name: &str) {
    if is_name(profile, name) {
        let _ = Dir::open_to_clear(&folder(state), 1).and_then(|dir| dir.remove(name));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_journal_is_empty_then_sealed_then_gone() {
        let state = tempfile::tempdir().unwrap();
        files::private_dir(&state.path().join("locks")).unwrap();
        let name = name("p", "00");
        assert_eq!(read(state.path(), &name), None);
        let journal = Journal::open(state.path(), &name).unwrap();
        assert_eq!(read(state.path(), &name).unwrap(), b"");
        journal.write(b"long").unwrap();
        assert_eq!(read(state.path(), &name).unwrap(), b"long");
        // Opened anew, nothing of it is left.
        Journal::open(state.path(), &name).unwrap().write(b"ab").unwrap();
        assert_eq!(read(state.path(), &name).unwrap(), b"ab");
        remove(state.path(), "q", &name);
        assert!(read(state.path(), &name).is_some(), "another profile's");
        journal.remove();
        assert_eq!(read(state.path(), &name), None);
    }

    #[test]
    fn a_name_is_the_profiles_and_the_keys() {
        assert!(is_name("p", &name("p", "k")) && is_name("a-b", &name("a-b", "k")));
        assert_ne!(name("p", "k"), name("p", "l"));
        for other in ["p.lock", "../p.0123456789abcdef.journal", "p.0123456789abcdef/journal", "", "p..journal"] {
            assert!(!is_name("p", other), "{other}");
        }
        assert!(!is_name("p", &name("pq", "k")) && !is_name("pq", &name("p", "k")));
    }

    #[cfg(unix)]
    #[test]
    fn a_journal_is_ours_alone_or_none() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let state = tempfile::tempdir().unwrap();
        let locks = state.path().join("locks");
        files::private_dir(&locks).unwrap();
        let name = name("p", "00");
        let _open = Journal::open(state.path(), &name).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&locks.join(&name)), 0o600);
        fs::set_permissions(locks.join(&name), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(state.path(), &name), None);
        fs::remove_file(locks.join(&name)).unwrap();
        fs::write(state.path().join("elsewhere"), "x").unwrap();
        symlink(state.path().join("elsewhere"), locks.join(&name)).unwrap();
        assert!(Journal::open(state.path(), &name).is_err());
        assert_eq!(read(state.path(), &name), None);
        assert_eq!(fs::read(state.path().join("elsewhere")).unwrap(), b"x");
    }
}
