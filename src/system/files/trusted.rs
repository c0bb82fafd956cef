//! Files that decide where secrets go: the config, provider files, the certificates of `ca_file`.

use super::private::read_all;
use super::{Numbers, ReadError, sys, why};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why such a file was not read.
#[derive(Debug)]
pub enum TrustError {
    /// Somebody else could have written it.
    Untrusted(Untrusted),
    /// It is longer than this many bytes.
    TooLong(u64),
    /// The system said no.
    Io(io::Error),
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustError::Untrusted(untrusted) => untrusted.fmt(f),
            TrustError::TooLong(limit) => write!(f, "it is longer than {limit} bytes"),
            TrustError::Io(error) => f.write_str(&why(error)),
        }
    }
}

impl std::error::Error for TrustError {}

/// Through what somebody else could have written a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// Which part of the way to it.
    pub part: Part,
    /// That part.
    pub path: PathBuf,
    fault: Fault,
}

/// A part of the way to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(unix), allow(dead_code))] // as of [`Fault`]
pub enum Part {
    /// The file.
    File,
    /// Its folder.
    Folder,
    /// The folder of a link that leads to it.
    Link,
}

/// What is wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(unix), allow(dead_code))] // modes and owners are Unix'
pub(super) enum Fault {
    /// It is not a file.
    NotAFile,
    /// It belongs to neither this user nor root.
    Owner,
    /// Others can write to it: its permission bits, and whether it is this user's.
    Mode(u32, bool),
}

#[cfg_attr(not(unix), allow(dead_code))]
impl Fault {
    pub(super) fn at(self, part: Part, path: &Path) -> Untrusted {
        Untrusted { part, path: path.into(), fault: self }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = crate::base::text::escape(&self.path.to_string_lossy());
        match (self.fault, self.part) {
            (Fault::NotAFile, _) => write!(f, "it is not a regular file"),
            (Fault::Owner, Part::File) => write!(f, "it belongs to another user"),
            (Fault::Owner, Part::Folder) => write!(f, "its folder {path} belongs to another user"),
            (Fault::Owner, Part::Link) => write!(f, "{path}, where a link to it is, belongs to another user"),
            (Fault::Mode(mode, _), Part::File) => write!(f, "others can write to it (mode {mode:04o})"),
            (Fault::Mode(mode, _), Part::Folder) => {
                write!(f, "others can write to its folder {path} (mode {mode:04o})")
            }
            (Fault::Mode(mode, _), Part::Link) => {
                write!(f, "others can write to {path}, where a link to it is (mode {mode:04o})")
            }
        }
    }
}

impl Untrusted {
    /// What to do. `sudo`: this is root, and was another user before.
    pub fn hint(&self, sudo: bool) -> Option<String> {
        let shown = self.path.to_string_lossy();
        let quoted = shlex::try_quote(&shown).unwrap_or(shown.clone());
        let root = sys::me() == 0;
        match self.fault {
            Fault::NotAFile => None,
            Fault::Owner if sudo => Some("run it with sudo -H, so that root uses its own config and tokens".into()),
            Fault::Owner if root => Some(format!("make it yours: chown root {quoted}")),
            Fault::Owner => Some(format!("make it yours: sudo chown \"$(id -un)\" {quoted}")),
            // A folder for everybody's temporary files is to stay one.
            Fault::Mode(mode, _) if mode & 0o1000 != 0 && self.part != Part::File => {
                Some(format!("move it to a folder that only you can write to; {quoted} is for everybody"))
            }
            Fault::Mode(_, true) => Some(format!("make it yours alone: chmod go-w {quoted}")),
            Fault::Mode(_, false) => Some(format!("make it root's alone: sudo chmod go-w {quoted}")),
        }
    }
}

/// The content of a file that decides where secrets go, or `None` where there is none; at most `limit` bytes; and its
/// numbers before it was read. It may be a link and may be read by all.
///
/// # Errors
/// [`TrustError::Untrusted`] where somebody else than its owner and root can write to it, to its folder or to the
/// folder of a link that leads to it, or where one of them belongs to neither this user nor root.
pub fn read_trusted(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, Numbers)>, TrustError> {
    let (file, numbers) = match sys::open_trusted(path) {
        Ok(found) => found.map_err(TrustError::Untrusted)?,
        // Not the same as none: a person has put something there, and without it other settings would hold.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            return Err(TrustError::Io(io::Error::new(error.kind(), "it is a dangling symbolic link")));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TrustError::Io(error)),
    };
    read_all(file, numbers, limit).map(Some).map_err(|error| match error {
        ReadError::TooLong(limit) => TrustError::TooLong(limit),
        ReadError::Io(error) => TrustError::Io(error),
        ReadError::Unsafe(reason) => TrustError::Io(reason.into()),
    })
}
