//! The same where folders have no descriptors: by path. The folders are the user's own and inherit a list of rights
//! that names no other user.

use super::trusted::Untrusted;
use super::user::Found;
use super::{Length, Numbers, Unsafe};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The path of a folder.
pub type Handle = PathBuf;

/// Windows has none.
pub fn me() -> u32 {
    u32::MAX
}

fn is_link(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.file_type().is_symlink())
}

fn place(at: Option<&Handle>, name: &Path) -> PathBuf {
    at.map_or(name.to_owned(), |folder| folder.join(name))
}

pub fn open_own(at: Option<&Handle>, name: &Path) -> io::Result<Handle> {
    let path = place(at, name);
    match () {
        () if is_link(&path)? => Err(Unsafe::Link.into()),
        () if !path.is_dir() => Err(Unsafe::NotAFolder.into()),
        () => Ok(path),
    }
}

pub fn open_ours(at: Option<&Handle>, name: &Path) -> io::Result<Handle> {
    open_own(at, name)
}

pub fn open_shared(name: &Path) -> io::Result<Handle> {
    open_own(None, name)
}

pub fn make_own(at: Option<&Handle>, name: &Path) -> io::Result<Handle> {
    fs::create_dir_all(place(at, name)).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    })?;
    open_own(at, name)
}

pub fn open_folder(path: &Path) -> io::Result<Handle> {
    fs::metadata(path)?;
    Ok(path.to_owned())
}

pub fn again(handle: &Handle) -> io::Result<Handle> {
    Ok(handle.clone())
}

/// A folder cannot be opened as a file here.
pub fn as_file(_: Handle) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn id(_: &Handle) -> io::Result<(u64, u64)> {
    Ok((0, 0))
}

pub fn names(handle: &Handle) -> io::Result<Vec<OsString>> {
    fs::read_dir(handle)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// The file system keeps its own journal of names.
pub fn sync(_: &Handle) -> io::Result<()> {
    Ok(())
}

pub fn numbers(path: &Path) -> io::Result<Numbers> {
    numbers_of(&fs::metadata(path)?)
}

fn numbers_of(data: &fs::Metadata) -> io::Result<Numbers> {
    let since = data.modified()?.duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
    let time = i64::try_from(since.as_nanos()).map_err(io::Error::other)?;
    Ok((data.len(), 0, time, time))
}

pub fn is_out_of_descriptors(_: &io::Error) -> bool {
    false
}

fn check(path: &Path) -> io::Result<()> {
    match () {
        () if is_link(path)? => Err(Unsafe::Link.into()),
        () if !path.is_file() => Err(Unsafe::NotAFile.into()),
        () => Ok(()),
    }
}

pub fn open_private(at: &Handle, name: &Path) -> io::Result<(File, Numbers)> {
    let path = at.join(name);
    check(&path)?;
    let file = File::open(path)?;
    let numbers = numbers_of(&file.metadata()?)?;
    Ok((file, numbers))
}

pub fn open_private_to_write(at: &Handle, name: &Path) -> io::Result<File> {
    open_file_to_write(at, name)
}

pub fn open_file_to_write(at: &Handle, name: &Path) -> io::Result<File> {
    let path = at.join(name);
    check(&path)?;
    OpenOptions::new().write(true).open(path)
}

pub fn create_new(at: &Handle, name: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(at.join(name))
}

/// Windows has none.
pub fn create_unnamed(_: &Handle) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// See there.
pub fn give_name(_: &File, _: &Handle, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn open_lock(at: &Handle, name: &Path) -> io::Result<File> {
    let path = at.join(name);
    let created = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check(&path)?;
            OpenOptions::new().read(true).write(true).open(path)
        }
        other => other,
    }
}

/// An open file cannot be removed here.
pub fn is_still(_: &File, _: &Handle, _: &Path) -> io::Result<bool> {
    Ok(true)
}

pub fn exists(at: &Handle, name: &Path) -> bool {
    at.join(name).symlink_metadata().is_ok()
}

pub fn rename(at: &Handle, from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(at.join(from), at.join(to))
}

pub fn remove(at: &Handle, name: &Path) -> io::Result<()> {
    let path = at.join(name);
    if fs::symlink_metadata(&path)?.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }
}

fn nanos(data: &fs::Metadata) -> io::Result<i64> {
    numbers_of(data).map(|numbers| numbers.2)
}

pub fn modified(file: &File) -> io::Result<i64> {
    nanos(&file.metadata()?)
}

pub fn modified_of(at: &Handle, name: &Path) -> Option<i64> {
    let data = fs::symlink_metadata(at.join(name)).ok()?;
    data.is_file().then(|| nanos(&data).ok()).flatten()
}

/// Windows has none.
pub fn keep_mode(_: &Handle, _: &Path, _: &File) -> io::Result<()> {
    Ok(())
}

pub fn reserve(file: &File, length: u64, its: Length) -> io::Result<()> {
    if its == Length::Stays { Ok(()) } else { file.set_len(length) }
}

/// Nothing is.
pub fn is_mounted_alone(_: &Handle, _: &Path) -> bool {
    false
}

/// What stands at `name` in the folder `at`.
pub fn what_is_at(at: &Handle, name: &Path) -> io::Result<Found> {
    let path = at.join(name);
    let data = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Replaceable),
        data => data?,
    };
    Ok(match () {
        () if data.is_symlink() => Found::Link(fs::read_link(path)?),
        () if data.is_file() => Found::Replaceable,
        () if data.is_dir() => Found::Folder,
        () => Found::Stream,
    })
}

pub fn open_stream(at: &Handle, name: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(at.join(name))
}

pub fn open_own_descriptor(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

pub fn has_no_reader(_: &io::Error) -> bool {
    false
}

pub fn open_trusted(path: &Path) -> io::Result<Result<(File, Numbers), Untrusted>> {
    let file = File::open(path)?;
    let numbers = numbers_of(&file.metadata()?)?;
    Ok(Ok((file, numbers)))
}

pub fn write_at_start(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(0))?;
    file.write_all(bytes)
}
