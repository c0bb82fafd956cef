//! Putting new content in the place of a file: by a new file that takes its name or, where a folder allows no such
//! thing, in place, after a whole copy stands elsewhere. What can be found out and taken beforehand is.

use super::{Dir, Durable, Length, split, sys};
use crate::base::digest;
use ring::rand::{SecureRandom, SystemRandom};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

/// How the name of a temporary file ends. Sixteen hexadecimal digits stand before it.
const TEMPORARY: &str = ".tok-tmp";
/// How old a temporary file is when its process is taken for dead.
const STALE: Duration = Duration::from_secs(3600);

/// Where new content goes, with its room taken.
#[derive(Debug)]
pub struct Target(Replacement);

#[derive(Debug)]
enum Replacement {
    /// A new file takes the place of the old one.
    New(New),
    /// The file keeps its inode: it is mounted alone, or its folder takes no other.
    InPlace(File, Option<(Backup, New)>),
}

/// A new file beside its place. Removed when dropped, unless it went there.
#[derive(Debug)]
struct New {
    dir: Dir,
    file: File,
    /// Its name until then; without one it goes with the process that made it, however that ends.
    temporary: Option<String>,
    name: OsString,
}

/// Where the whole copy of a file waits that is written in place: in a folder of ours, one level below a root of ours.
#[derive(Clone, Debug)]
pub struct Backup {
    folder: std::path::PathBuf,
    name: String,
}

impl Backup {
    /// The copy of the file at `path`, in `folder`.
    pub fn of(path: &Path, folder: &Path) -> Backup {
        let name = digest::hex(&[path.as_os_str().as_encoded_bytes()]);
        Backup { folder: folder.into(), name: format!("copy-{}", name.get(..16).unwrap_or_default()) }
    }

    /// The copy, whole, and whether it is meant for a file with the content `old`: then nothing was written there yet.
    pub fn read(&self, old: &[u8], limit: u64) -> Option<(Vec<u8>, bool)> {
        let mut bytes = Dir::open(&self.folder, 1).ok()?.read(&self.name, limit + 65).ok()??;
        let (of, end) = bytes.split_at_checked(64)?;
        if end.first() != Some(&b'\n') {
            return None;
        }
        let is_next = of == digest::hex(&[old]).as_bytes();
        bytes.drain(..65);
        Some((bytes, is_next))
    }

    fn remove(&self) {
        // One that stays is distinguished from a newer file by the digest of what it replaces.
        let _ = Dir::open(&self.folder, 1).and_then(|dir| dir.remove(&self.name));
    }
}

impl Target {
    /// A new file in the place of `name` in `dir`; `room` bytes for it are taken now.
    pub(super) fn replacing(dir: &Dir, name: &Path, room: u64) -> io::Result<Target> {
        New::beside(Dir(sys::again(&dir.0)?), name, room).map(|new| Target(Replacement::New(new)))
    }

    /// Readies new content of up to `room` bytes for one of our own files, which need not be there. Its folder is ours
    /// or root's. Where it can only be written in place, the `backup` is readied too.
    ///
    /// The caller holds the lock under which the file is written.
    ///
    /// # Errors
    /// Where it could not be kept, now or later, as far as that can be told.
    pub fn own(path: &Path, room: u64, backup: &Backup) -> io::Result<Target> {
        let (folder, name) = split(path)?;
        let dir = Dir::open_shared(folder)?;
        let in_place = |dir: &Dir| -> io::Result<Target> {
            let file = sys::open_private_to_write(&dir.0, name)?;
            sys::reserve(&file, room, Length::Stays)?;
            let folder = Dir::make(&backup.folder, 1)?;
            // Of the same lock as the file.
            sweep_of(&folder, &backup.name);
            let copy = New::beside(folder, Path::new(&backup.name), room + 65)?;
            Ok(Target(Replacement::InPlace(file, Some((backup.clone(), copy)))))
        };
        if sys::is_mounted_alone(&dir.0, name) {
            return in_place(&dir);
        }
        match New::beside(Dir(sys::again(&dir.0)?), name, room) {
            Ok(new) => Ok(Target(Replacement::New(new))),
            Err(error) if takes_no_file(&error) && sys::exists(&dir.0, name) => in_place(&dir),
            Err(error) => Err(error),
        }
    }

    /// The same for the config, which may be any file of the user's and is not a link. It has no backup.
    ///
    /// # Errors
    /// As [`Target::own`].
    pub fn config(path: &Path, room: u64) -> io::Result<Target> {
        let (folder, name) = split(path)?;
        let dir = Dir::of_user(folder)?;
        let in_place = |dir: &Dir| -> io::Result<Target> {
            let file = sys::open_file_to_write(&dir.0, name)?;
            sys::reserve(&file, room, Length::Stays)?;
            Ok(Target(Replacement::InPlace(file, None)))
        };
        if sys::is_mounted_alone(&dir.0, name) {
            return in_place(&dir);
        }
        match Target::replacing(&dir, name, room) {
            Ok(mut target) => {
                if let Replacement::New(new) = &mut target.0 {
                    sys::keep_mode(&dir.0, name, &new.file)?;
                }
                Ok(target)
            }
            Err(error) if takes_no_file(&error) && sys::exists(&dir.0, name) => in_place(&dir),
            Err(error) => Err(error),
        }
    }

    /// Whether it is the file at `path` that it was readied for: its folder may be another by now.
    pub fn is_still_of(&self, path: &Path) -> bool {
        let there = || -> io::Result<bool> {
            let (folder, name) = split(path)?;
            let dir = Dir::open_shared(folder)?;
            match &self.0 {
                Replacement::New(new) => {
                    let is_there = match &new.temporary {
                        Some(temporary) => sys::is_still(&new.file, &new.dir.0, Path::new(temporary))?,
                        None => true,
                    };
                    Ok(is_there && new.dir.id()? == dir.id()? && !sys::is_mounted_alone(&dir.0, name))
                }
                Replacement::InPlace(file, _) => sys::is_still(file, &dir.0, name),
            }
        };
        there().unwrap_or(false)
    }

    /// Puts `bytes` there. What was there is `old` (for the backup's sake).
    ///
    /// # Errors
    /// Those of the system; the file is then as it was, or its backup is whole.
    pub fn put_over(self, old: &[u8], bytes: &[u8], durable: Durable) -> io::Result<()> {
        let (mut file, backup) = match self.0 {
            Replacement::New(new) => return new.put(&[bytes], durable),
            Replacement::InPlace(file, backup) => (file, backup),
        };
        let Some((backup, copy)) = backup else {
            // Whole before it is cut: an empty config would be a valid one.
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)?;
            return file.sync_all();
        };
        copy.put(&[digest::hex(&[old]).as_bytes(), b"\n", bytes], Durable::Yes)?;
        // Emptied first: what a killed process leaves of it is then no JSON, and never a mixture of two that is one.
        let written = file.set_len(0).and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_all());
        // If that fails, the copy holds all of it, and is taken by whoever reads next.
        if written.is_ok() {
            backup.remove();
        }
        Ok(())
    }

    /// [`Target::put_over`] if it has no backup.
    ///
    /// # Errors
    /// As there.
    pub fn put(self, bytes: &[u8], durable: Durable) -> io::Result<()> {
        self.put_over(&[], bytes, durable)
    }
}

impl New {
    /// With `room` for that many bytes, which may be needed only much later.
    fn beside(dir: Dir, name: &Path, room: u64) -> io::Result<New> {
        if room == 0 {
            return New::named(dir, name);
        }
        let new = match sys::create_unnamed(&dir.0) {
            Ok(file) => New { dir, file, temporary: None, name: name.into() },
            Err(error) if error.kind() == io::ErrorKind::Unsupported => New::named(dir, name)?,
            Err(error) => return Err(error),
        };
        // So that it is not taken for the remains of a dead process: see `sweep_of`.
        let _ = new.file.try_lock();
        sys::reserve(&new.file, room, Length::Grows)?;
        Ok(new)
    }

    fn named(dir: Dir, name: &Path) -> io::Result<New> {
        let temporary = temporary_name(name)?;
        let file = sys::create_new(&dir.0, Path::new(&temporary))?;
        Ok(New { dir, file, temporary: Some(temporary), name: name.into() })
    }

    fn put(mut self, parts: &[&[u8]], durable: Durable) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut length = 0;
        for part in parts {
            self.file.write_all(part)?;
            length += part.len() as u64;
        }
        self.file.set_len(length)?;
        if durable == Durable::Yes {
            self.file.sync_all()?;
        }
        let stamp = sys::modified(&self.file)?;
        let temporary = match &self.temporary {
            Some(temporary) => temporary.clone(),
            None => {
                let temporary = temporary_name(Path::new(&self.name))?;
                sys::give_name(&self.file, &self.dir.0, Path::new(&temporary))?;
                self.temporary.insert(temporary).clone()
            }
        };
        sys::rename(&self.dir.0, Path::new(&temporary), Path::new(&self.name))?;
        self.temporary = None;
        if durable == Durable::Yes {
            sys::sync(&self.dir.0)?;
        }
        sweep(&self.dir, stamp);
        Ok(())
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = sys::remove(&self.dir.0, Path::new(temporary));
        }
    }
}

/// Whether the error says that this user can make no file in a folder: not now, and not later.
fn takes_no_file(error: &io::Error) -> bool {
    use io::ErrorKind;
    // One of our own words instead: what is there is not ours.
    error.get_ref().is_none() && matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// Whether `path` is not there and can never be made by this user: a container whose home is `/`.
pub fn is_unwritable(path: &Path) -> bool {
    let absent = path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    absent && Dir::make(path, 0).is_err_and(|error| takes_no_file(&error))
}

/// `.NAME.<16 hexadecimal digits>.tok-tmp`; NAME is cut so that the whole stays within the 255 bytes of a name.
fn temporary_name(name: &Path) -> io::Result<String> {
    let mut random = [0u8; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system has no random numbers"))?;
    let start = temporary_start(name.to_str().unwrap_or("file"));
    Ok(format!("{start}{:016x}{TEMPORARY}", u64::from_ne_bytes(random)))
}

fn temporary_start(name: &str) -> String {
    let start: String = name.chars().take(32).collect();
    format!(".{start}.")
}

fn is_temporary(name: &str) -> bool {
    name.strip_prefix('.')
        .and_then(|rest| rest.strip_suffix(TEMPORARY))
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(_, digits)| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn temporaries(dir: &Dir) -> impl Iterator<Item = String> {
    let names = dir.names().unwrap_or_default().into_iter();
    names.filter_map(|name| name.into_string().ok()).filter(|name| is_temporary(name))
}

pub(super) fn sweep_all(dir: &Dir) {
    temporaries(dir).for_each(|name| drop(sys::remove(&dir.0, Path::new(&name))));
}

pub(super) fn sweep_of(dir: &Dir, file: &str) {
    let start = temporary_start(file);
    let is_of_it = |name: &String| name.starts_with(&start) && name.len() == start.len() + 16 + TEMPORARY.len();
    for name in temporaries(dir).filter(is_of_it) {
        // Another profile's call has readied it and waits for its provider.
        let lives = dir.open_to_lock(&name).is_ok_and(|file| file.try_lock().is_err());
        if !lives {
            let _ = sys::remove(&dir.0, Path::new(&name));
        }
    }
}

/// Removes what killed processes left behind. Ages are differences of the file system's own times (nanoseconds), so
/// that a wrong clock removes nothing. Whatever fails here is tried again at the next write.
fn sweep(dir: &Dir, now: i64) {
    for name in temporaries(dir) {
        let written = sys::modified_of(&dir.0, Path::new(&name));
        if written.is_some_and(|then| now.saturating_sub(then) > STALE.as_nanos() as i64) {
            let _ = sys::remove(&dir.0, Path::new(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_is_recognised_and_others_are_not() {
        let name = temporary_name(Path::new("secrets.json")).unwrap();
        assert!(is_temporary(&name), "{name}");
        assert!(is_temporary(&temporary_name(Path::new(&"x".repeat(300))).unwrap()));
        for other in
            ["secrets.json", ".secrets.json", ".a.tok-tmp", ".a.0123456789abcdeg.tok-tmp", "a.0123456789abcdef.tok-tmp"]
        {
            assert!(!is_temporary(other), "{other}");
        }
    }

    #[test]
    fn what_a_living_process_has_readied_is_not_swept_and_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        super::super::private_dir(&folder.path().join("own")).unwrap();
        let path = folder.path().join("own/f");
        let dir = Dir::open(path.parent().unwrap(), 0).unwrap();
        let backup = Backup::of(&path, &folder.path().join("state/journal"));
        let target = Target::own(&path, 5000, &backup).unwrap();
        // Where a file system makes no files without a name.
        let named = New::named(Dir::open(path.parent().unwrap(), 0).unwrap(), Path::new("f")).unwrap();
        named.file.try_lock().unwrap();
        dir.write(".f.0123456789abcdef.tok-tmp", b"left", Durable::No).unwrap();
        dir.sweep_of("f");
        let left = dir.names().unwrap();
        assert!(left.contains(&named.temporary.clone().unwrap().into()));
        assert!(!left.contains(&".f.0123456789abcdef.tok-tmp".into()));
        drop(named);
        assert!(target.is_still_of(&path));
        target.put(b"x", Durable::Yes).unwrap();
        assert_eq!(dir.names().unwrap(), ["f"]);
        assert_eq!(dir.read("f", 9).unwrap().unwrap(), b"x");
        drop(Target::own(&path, 5000, &backup).unwrap());
        assert_eq!(dir.names().unwrap(), ["f"]);
    }

    #[test]
    fn a_copy_is_taken_for_the_file_it_is_of_alone() {
        let folder = tempfile::tempdir().unwrap();
        let backup = Backup::of(Path::new("/f"), &folder.path().join("state/journal"));
        assert!(backup.read(b"old", 100).is_none());
        let copy = New::beside(Dir::make(&backup.folder, 1).unwrap(), Path::new(&backup.name), 100).unwrap();
        copy.put(&[digest::hex(&[b"old"]).as_bytes(), b"\n", b"new"], Durable::Yes).unwrap();
        assert_eq!(backup.read(b"old", 100), Some((b"new".to_vec(), true)));
        assert_eq!(backup.read(b"", 100), Some((b"new".to_vec(), false)));
        backup.remove();
        assert!(backup.read(b"old", 100).is_none());
    }
}
