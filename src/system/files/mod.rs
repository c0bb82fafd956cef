//! The only place that creates the program's own files, and the one that reads what a user names.
//!
//! Own files are 0600 in 0700 folders and are replaced whole; one that others could have read or changed is not used.
//! All work on them goes by the descriptor of their folder, which was checked after it was opened: whoever swaps a
//! folder for a link meanwhile gains nothing. A file that a user names may be anything that can be read.

mod private;
mod replace;
mod trusted;
#[cfg(unix)]
mod trusted_unix;
mod user;
#[cfg(unix)]
mod user_unix;

#[cfg(unix)]
#[path = "sys_unix.rs"]
mod sys;
#[cfg(not(unix))]
#[path = "sys_windows.rs"]
mod sys;

pub use private::{Dir, open_folder, own_dir, private_dir, read_private, write_private};
pub use replace::{Backup, Target, is_unwritable};
pub use trusted::{TrustError, read_trusted};
pub use user::{
    Written, append_user_file, is_for_a_file, is_of_another, is_open_to_others, link, read_lines, read_stream,
    read_user_file, remove_user_file, write_user_file,
};

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

/// What is wrong with a file or folder that should be ours alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// It is a symbolic link.
    Link,
    /// It is a folder, a pipe, a socket or a device.
    NotAFile,
    /// It is not a folder.
    NotAFolder,
    /// It belongs to another user.
    Owner,
    /// Others may read or change it: its permission bits.
    Mode(u32),
    /// It has a second name (a hard link), through which others may have come by it.
    Names,
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsafe::Link => f.write_str("it is a symbolic link"),
            Unsafe::NotAFile => f.write_str("it is not a regular file"),
            Unsafe::NotAFolder => f.write_str("it is not a folder"),
            Unsafe::Owner => f.write_str("it belongs to another user"),
            Unsafe::Mode(mode) => write!(f, "others have access to it (mode {mode:04o})"),
            Unsafe::Names => f.write_str("it has another name (a hard link)"),
        }
    }
}

impl std::error::Error for Unsafe {}

impl Unsafe {
    /// What to do about the file or folder `path`, as a command.
    pub fn mend(self, path: &Path) -> String {
        let shown = path.to_string_lossy();
        let shown = shlex::try_quote(&shown).unwrap_or(shown.clone());
        match self {
            Unsafe::Link => format!("replace it with what it points to, or start over: rm {shown}"),
            Unsafe::NotAFile | Unsafe::NotAFolder => format!("move it away: mv {shown} {shown}.old"),
            Unsafe::Owner => format!("make it yours: sudo chown \"$(id -un)\" {shown}"),
            Unsafe::Mode(_) if path.is_dir() => format!("make it yours alone: chmod 700 {shown}"),
            Unsafe::Mode(_) => format!("make it yours alone: chmod 600 {shown}"),
            Unsafe::Names => {
                format!("copy it, and put the copy in its place: cp {shown} {shown}.new && mv {shown}.new {shown}")
            }
        }
    }
}

impl From<Unsafe> for io::Error {
    fn from(reason: Unsafe) -> io::Error {
        io::Error::new(io::ErrorKind::PermissionDenied, reason)
    }
}

/// Why a private file was not read.
#[derive(Debug)]
pub enum ReadError {
    /// It is not ours alone.
    Unsafe(Unsafe),
    /// It is longer than this many bytes.
    TooLong(u64),
    /// The system said no.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Unsafe(reason) => reason.fmt(f),
            ReadError::TooLong(limit) => write!(f, "it is longer than {limit} bytes"),
            ReadError::Io(error) => f.write_str(&why(error)),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Unsafe>()) {
            Some(reason) => ReadError::Unsafe(*reason),
            None => ReadError::Io(error),
        }
    }
}

/// An error of the system in plain words, without its number.
pub fn why(error: &io::Error) -> String {
    use io::ErrorKind;
    let known = match error.kind() {
        ErrorKind::StorageFull => "the disk is full",
        ErrorKind::QuotaExceeded => "the disk quota is used up",
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        ErrorKind::FileTooLarge if error.get_ref().is_none() => "the limit on the size of files is reached (ulimit -f)",
        _ if sys::is_out_of_descriptors(error) => "too many files are open (ulimit -n)",
        _ => "",
    };
    if !known.is_empty() {
        return known.into();
    }
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// A file as it was: size, inode, time of change of content and of state (nanoseconds since 1970).
pub type Numbers = (u64, u64, i64, i64);

/// The numbers of the file that `path` leads to; `None` where there is none.
///
/// # Errors
/// Where they cannot be told.
pub fn numbers(path: &Path) -> io::Result<Option<Numbers>> {
    match sys::numbers(path) {
        Ok(numbers) => Ok(Some(numbers)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What becomes of a file's length where space for it is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// It stays.
    Stays,
    /// It is that of the space.
    Grows,
}

/// How sure a written file must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// It outlives a power cut once the call has returned: a refresh token that cannot be had again.
    Yes,
    /// It is whole or absent; what is lost is asked for anew: the cache.
    No,
}

/// Folder and name of a file.
fn split(path: &Path) -> io::Result<(&Path, &Path)> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => Ok((Path::new("."), Path::new(name))),
        (Some(folder), Some(name)) => Ok((folder, Path::new(name))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")),
    }
}

/// Makes room for `length` bytes in `file`, whose length stays as it is, where the system can.
///
/// # Errors
/// If that much space is missing: the disk or the quota is full, or a limit of the process is lower.
pub(crate) fn reserve(file: &File, length: u64) -> io::Result<()> {
    sys::reserve(file, length, Length::Stays)
}

/// Writes `bytes` at the beginning of `file`, with one system call where the system takes them at once.
pub(crate) fn write_at_start(file: &File, bytes: &[u8]) -> io::Result<()> {
    sys::write_at_start(file, bytes)
}
