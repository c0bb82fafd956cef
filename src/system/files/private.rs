//! `tok`'s own files and folders.

use super::replace::{self, Target};
use super::{Durable, Numbers, ReadError, split, sys};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// One of our own folders, open and checked: not a link, ours, not writable for others. What is done in it is done in
/// this one, whatever stands at its path by now.
#[derive(Debug)]
pub struct Dir(pub(super) sys::Handle);

/// One name, which leads out of no folder.
fn name(name: &str) -> io::Result<&Path> {
    match name {
        "" | "." | ".." => Err(io::ErrorKind::InvalidInput.into()),
        name if name.contains(['/', '\0']) || (cfg!(windows) && name.contains(['\\', ':'])) => {
            Err(io::ErrorKind::InvalidInput.into())
        }
        name => Ok(Path::new(name)),
    }
}

/// The root of a folder `path` that lies `levels` below it, and the names from there.
fn levels(path: &Path, levels: usize) -> io::Result<(&Path, Vec<&str>)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let root = path.ancestors().nth(levels).ok_or_else(invalid)?;
    let names = path.strip_prefix(root).map_err(|_| invalid())?;
    let names = names.iter().map(|name| name.to_str().ok_or_else(invalid)).collect::<io::Result<Vec<_>>>()?;
    Ok((root, names))
}

impl Dir {
    /// Opens the folder `path`, of which the last `below` names and the one before are ours: none of them is a link.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is none; an [`super::Unsafe`] inside for what is a link, no folder,
    /// another user's or others' to change.
    pub fn open(path: &Path, below: usize) -> io::Result<Dir> {
        let (root, names) = levels(path, below)?;
        let mut dir = Dir(sys::open_own(None, root)?);
        for below in names {
            dir = Dir(sys::open_own(Some(&dir.0), name(below)?)?);
        }
        Ok(dir)
    }

    /// The folder `path`, which is this user's or root's, not writable for others, and not a link. A container's
    /// runtime makes the folder of a file that is mounted alone.
    ///
    /// # Errors
    /// As [`Dir::open`].
    pub fn open_shared(path: &Path) -> io::Result<Dir> {
        sys::open_shared(path).map(Dir)
    }

    /// [`Dir::open`], where others may write to the folders too: what is in one is not to be believed, and can be
    /// removed.
    ///
    /// # Errors
    /// As [`Dir::open`].
    pub fn open_to_clear(path: &Path, below: usize) -> io::Result<Dir> {
        let (root, names) = levels(path, below)?;
        let mut dir = Dir(sys::open_ours(None, root)?);
        for below in names {
            dir = Dir(sys::open_ours(Some(&dir.0), name(below)?)?);
        }
        Ok(dir)
    }

    /// [`Dir::open`]; what is missing is made, 0700, and the others' right to read is taken from one that is there.
    /// Folders above are made if they are missing, and left as they are if not.
    ///
    /// # Errors
    /// As [`Dir::open`].
    pub fn make(path: &Path, below: usize) -> io::Result<Dir> {
        let (root, names) = levels(path, below)?;
        let mut dir = Dir(sys::make_own(None, root)?);
        for below in names {
            dir = Dir(sys::make_own(Some(&dir.0), name(below)?)?);
        }
        Ok(dir)
    }

    /// A folder of the user's, whoever else may write to it; links are followed.
    pub(super) fn of_user(path: &Path) -> io::Result<Dir> {
        sys::open_folder(path).map(Dir)
    }

    /// Device and inode; (0, 0) where a system has no such numbers.
    ///
    /// # Errors
    /// Those of the system.
    pub fn id(&self) -> io::Result<(u64, u64)> {
        sys::id(&self.0)
    }

    /// The names in it, in no order.
    ///
    /// # Errors
    /// Those of the system.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        sys::names(&self.0)
    }

    /// The content of one of our own files in it, or `None` where there is none; at most `limit` bytes.
    ///
    /// # Errors
    /// [`ReadError::Unsafe`] for a file that is not ours alone: the caller refuses (secrets) or treats it as absent
    /// (cache).
    pub fn read(&self, file: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.read_numbered(file, limit)?.map(|(bytes, _)| bytes))
    }

    /// [`Dir::read`], and the file's numbers before it was read.
    ///
    /// # Errors
    /// As [`Dir::read`].
    pub fn read_numbered(&self, file: &str, limit: u64) -> Result<Option<(Vec<u8>, Numbers)>, ReadError> {
        match sys::open_private(&self.0, name(file)?) {
            Ok((file, numbers)) => read_all(file, numbers, limit).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts `bytes` in the place of a file in it, whole or not at all, readable by us alone (0600 whatever the umask).
    /// What stood there under that name, a link or a pipe too, is replaced and not written through.
    ///
    /// # Errors
    /// Those of the system; the file that was there is then as it was. A folder in its place cannot be replaced.
    pub fn write(&self, file: &str, bytes: &[u8], durable: Durable) -> io::Result<()> {
        Target::replacing(self, name(file)?, 0)?.put(bytes, durable)
    }

    /// Removes a file, or an empty folder that stands in its place.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is none; those of the system.
    pub fn remove(&self, file: impl AsRef<Path>) -> io::Result<()> {
        let file = file.as_ref();
        if file.components().count() != 1 || file.file_name().is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sys::remove(&self.0, file)
    }

    /// Opens one of our own files, to lock it: nothing is written to it, and it is not made.
    ///
    /// # Errors
    /// As [`Dir::read`].
    pub fn open_to_lock(&self, file: &str) -> io::Result<File> {
        sys::open_private(&self.0, name(file)?).map(|(file, _)| file)
    }

    /// Opens or creates a lock file, without following a link and with 0600.
    ///
    /// # Errors
    /// As [`Dir::read`].
    pub fn open_lock(&self, file: &str) -> io::Result<File> {
        sys::open_lock(&self.0, name(file)?)
    }

    /// Whether the open `file` still is what its name means; a lock on a removed file excludes no other process.
    ///
    /// # Errors
    /// Those of the system.
    pub fn is_still(&self, file: &File, of: &str) -> io::Result<bool> {
        sys::is_still(file, &self.0, name(of)?)
    }

    /// Removes all temporary files in it, whatever their age. The caller holds the lock under which they are made,
    /// so whoever left them is dead; a refresh token may be in one.
    pub fn sweep(&self) {
        replace::sweep_all(self);
    }

    /// Removes the temporary files of `file` alone, whatever their age, but those that a living process has readied.
    /// The caller holds the lock under which `file` is written; others may be writing their own files beside it.
    pub fn sweep_of(&self, file: &str) {
        replace::sweep_of(self, file);
    }

    /// Whether the folder `below` it, a path of names, is there and ours alone to write.
    #[cfg(unix)]
    pub fn has_own_dir(&self, below: &Path) -> bool {
        sys::has_own_dir(&self.0, below)
    }

    /// One of our own files below it, read whole into `buffer` without allocating; `None` where [`Dir::read`] would not
    /// give it, and where it does not fit. All folders between are ours alone, as [`Dir::has_own_dir`] said.
    #[cfg(unix)]
    pub fn read_into<'b>(&self, below: &Path, buffer: &'b mut [u8]) -> Option<(&'b mut [u8], Numbers)> {
        sys::read_into(&self.0, below, buffer)
    }
}

/// All of an open file, whose `numbers` tell its length.
pub(super) fn read_all(file: File, numbers: Numbers, limit: u64) -> Result<(Vec<u8>, Numbers), ReadError> {
    let length = numbers.0;
    if length > limit {
        return Err(ReadError::TooLong(limit));
    }
    // Room for all of it at once: a vector that grows leaves copies of a secret behind.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(1));
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLong(limit));
    }
    Ok((bytes, numbers))
}

/// Makes the folder `path` ours alone: creates it and what is missing above it with 0700, takes the others' right
/// to read from one that is there.
///
/// # Errors
/// As [`Dir::make`].
pub fn private_dir(path: &Path) -> io::Result<()> {
    Dir::make(path, 0).map(drop)
}

/// Device and inode of the folder `path`, which is ours alone to write; (0, 0) where a system has no such numbers.
///
/// # Errors
/// As [`Dir::open`].
pub fn own_dir(path: &Path) -> io::Result<(u64, u64)> {
    Dir::open(path, 0)?.id()
}

/// Opens the folder `path`, whosever it is, to lock it.
///
/// # Errors
/// Those of the system.
pub fn open_folder(path: &Path) -> io::Result<File> {
    sys::as_file(sys::open_folder(path)?)
}

fn named(path: &Path) -> io::Result<(&Path, &str)> {
    let (folder, name) = split(path)?;
    let name = name.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name is not UTF-8"))?;
    Ok((folder, name))
}

/// [`Dir::read`] of a file in a folder of ours or root's; `None` also if the folder does not exist.
///
/// # Errors
/// As [`Dir::read`] and [`Dir::open`].
pub fn read_private(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let (folder, name) = named(path)?;
    match Dir::open_shared(folder) {
        Ok(dir) => dir.read(name, limit),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// [`Dir::write`] of a file in a folder of ours, which must be there.
///
/// # Errors
/// As [`Dir::write`] and [`Dir::open`].
pub fn write_private(path: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let (folder, name) = named(path)?;
    Dir::open(folder, 0)?.write(name, bytes, durable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/b");
        private_dir(&folder).unwrap();
        let path = folder.join("f");
        assert_eq!(read_private(&path, 10).unwrap(), None);
        for durable in [Durable::Yes, Durable::No] {
            write_private(&path, b"0123456789", durable).unwrap();
            assert_eq!(read_private(&path, 10).unwrap().unwrap(), b"0123456789");
        }
        assert!(matches!(read_private(&path, 9), Err(ReadError::TooLong(9))));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_name_leads_out_of_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        private_dir(&folder.path().join("own")).unwrap();
        let dir = Dir::open(&folder.path().join("own"), 0).unwrap();
        for name in ["", ".", "..", "../f", "a/b", "/etc/passwd", "a\0"] {
            dir.write(name, b"x", Durable::No).unwrap_err();
            assert!(dir.read(name, 10).is_err() && dir.remove(name).is_err(), "{name:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_open_folder_stays_the_one_that_was_checked() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["own/cache/p", "else/cache/p"] {
            Dir::make(&at(name), 2).unwrap().write("f", b"x", Durable::No).unwrap();
        }
        let dir = Dir::open(&at("own/cache/p"), 2).unwrap();
        std::fs::rename(at("own"), at("moved")).unwrap();
        std::os::unix::fs::symlink(at("else"), at("own")).unwrap();
        dir.remove("f").unwrap();
        assert!(at("else/cache/p/f").exists() && !at("moved/cache/p/f").exists());
        for (folder, below) in [("own/cache/p", 2), ("own/cache", 1), ("own", 0)] {
            assert!(Dir::open(&at(folder), below).is_err() && Dir::make(&at(folder), below).is_err(), "{folder}");
        }
    }
}
