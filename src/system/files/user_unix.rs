//! Where a file that a user names is written to: pipes, devices, links and one's own descriptors.

use super::Unsafe;
use super::sys::{FILE, Handle, is_ours, kind_of, look};
use super::user::Found;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What stands at `name` in the folder `at`.
pub fn what_is_at(at: &Handle, name: &Path) -> io::Result<Found> {
    let stat = match look(at.as_fd(), name) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Found::Replaceable),
        Err(error) => return Err(error.into()),
    };
    Ok(match kind_of(&stat) {
        FileType::Symlink => match own_link(at, name)? {
            Some(to) => Found::Link(to),
            None => Found::Replaceable,
        },
        FileType::RegularFile => Found::Replaceable,
        FileType::Directory => Found::Folder,
        FileType::Socket => Found::Socket,
        _ => Found::Stream,
    })
}

/// Where the link leads, if it is this user's or root's.
fn own_link(at: &Handle, name: &Path) -> io::Result<Option<PathBuf>> {
    // What is read is the link that was looked at.
    #[cfg(target_os = "linux")]
    let (stat, to) = {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = rustix::fs::openat(at, name, flags, Mode::empty())?;
        (rustix::fs::fstat(&link)?, rustix::fs::readlinkat(&link, "", Vec::new())?)
    };
    #[cfg(not(target_os = "linux"))]
    let (stat, to) = (look(at.as_fd(), name)?, rustix::fs::readlinkat(at, name, Vec::new())?);
    let is_trusted = is_ours(&stat) || stat.st_uid == 0;
    Ok(is_trusted.then(|| PathBuf::from(OsStr::from_bytes(to.to_bytes()))))
}

/// Opens a pipe or a device without waiting for who is at its other end.
///
/// # Errors
/// An [`Unsafe`] inside where another user has put it there.
pub fn open_stream(at: &Handle, name: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | FILE;
    let file = rustix::fs::openat(at, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if !is_ours(&stat) && stat.st_uid != 0 {
        return Err(Unsafe::Owner.into());
    }
    // It was none when it was looked at.
    if kind_of(&stat) == FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    waiting(file)
}

/// Opens one of this process's own descriptors by its path.
pub fn open_own_descriptor(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    waiting(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Once it is open, a slow reader is waited for.
fn waiting(file: OwnedFd) -> io::Result<File> {
    rustix::fs::fcntl_setfl(&file, OFlags::WRONLY | OFlags::APPEND)?;
    Ok(File::from(file))
}

/// Whether the error of [`open_stream`] is a pipe that nobody reads.
pub fn has_no_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NXIO.raw_os_error())
}
