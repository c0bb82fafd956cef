//! Files that a user names: to read from, anything that can be read; to write to, only what is the user's own.

use super::replace::Target;
use super::{Dir, Durable, split, sys};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What stands somewhere, as far as it matters to whoever writes there.
#[cfg_attr(not(unix), allow(dead_code))] // a socket is not told apart elsewhere
pub enum Found {
    /// Nothing, a file, or a link that neither this user nor root has put there.
    Replaceable,
    /// A link of this user's or root's, to there.
    Link(PathBuf),
    /// A pipe or a device.
    Stream,
    /// A folder.
    Folder,
    /// A socket.
    Socket,
}

/// How many links may lead to a file, as for the system itself.
const LINKS: usize = 40;

/// What came of writing to a file that the user named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The file is new.
    Replaced,
    /// It held just that, and was left alone.
    Unchanged,
    /// A pipe, a device or a descriptor got the bytes.
    Streamed,
}

/// Where a path leads that the user named.
enum Place {
    /// A descriptor of this process.
    Descriptor(PathBuf),
    /// A file, or nothing yet: its folder and name.
    File(Dir, OsString),
    /// A pipe or a device: its folder and name.
    Stream(Dir, OsString),
}

/// Follows links of the user's own or root's. A link of somebody else, or one that leads nowhere, is itself the place.
fn place(path: &Path) -> io::Result<Place> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        if is_own_descriptor(&path) {
            return Ok(Place::Descriptor(path));
        }
        let (folder, name) = split(&path)?;
        let dir = Dir::of_user(folder)?;
        match sys::what_is_at(&dir.0, name)? {
            Found::Link(to) if path.exists() => path = folder.join(to),
            Found::Link(_) | Found::Replaceable => return Ok(Place::File(dir, name.into())),
            Found::Stream => return Ok(Place::Stream(dir, name.into())),
            Found::Folder => return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
            Found::Socket => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a socket")),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "too many links lead to it"))
}

/// Writes to a file that the user named: a regular one, behind a link of the user's own or root's too, is replaced
/// whole and for its owner alone (0600), unless it holds just that and is so already; a link of somebody else, or one
/// that leads nowhere, is itself replaced; a pipe or a device gets the bytes, as do descriptors of this process
/// (`/dev/stdout`, `/dev/fd/N`).
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] for a pipe without a reader until `deadline`; [`super::Unsafe`] inside for a pipe or a
/// device that another user has put there; else those of the system.
pub fn write_user_file(path: &Path, bytes: &[u8], deadline: Instant) -> io::Result<Written> {
    match place(path)? {
        Place::Descriptor(path) => stream(deadline, bytes, || sys::open_own_descriptor(&path)),
        Place::Stream(dir, name) => stream(deadline, bytes, || sys::open_stream(&dir.0, Path::new(&name))),
        Place::File(dir, name) => {
            let is_same = |name: &str| matches!(dir.read(name, bytes.len() as u64), Ok(Some(old)) if old == bytes);
            if name.to_str().is_some_and(is_same) {
                return Ok(Written::Unchanged);
            }
            Target::replacing(&dir, Path::new(&name), 0)?.put(bytes, Durable::Yes)?;
            Ok(Written::Replaced)
        }
    }
}

/// Whether a path that the user named leads to a file, or to nothing yet: no pipe, no device, no descriptor.
///
/// # Errors
/// As [`write_user_file`].
pub fn is_for_a_file(path: &Path) -> io::Result<bool> {
    Ok(matches!(place(path)?, Place::File(..)))
}

/// Removes a file that [`write_user_file`] has written.
///
/// # Errors
/// Those of the system.
pub fn remove_user_file(path: &Path) -> io::Result<()> {
    match place(path)? {
        Place::File(dir, name) => dir.remove(&name),
        _ => Ok(()),
    }
}

/// Appends to a file that the user named, in one piece; one that is not there is made for its owner alone.
///
/// # Errors
/// Those of the system.
pub fn append_user_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}

/// Whoever started this process has opened what is behind these paths.
fn is_own_descriptor(path: &Path) -> bool {
    let own = ["/dev/stdin", "/dev/stdout", "/dev/stderr"];
    let folders = ["/dev/fd", "/proc/self/fd"];
    cfg!(unix)
        && (own.iter().any(|own| path == Path::new(own))
            || folders.iter().any(|folder| path.parent() == Some(Path::new(folder))))
}

/// Writes to a pipe or a device, which may have no reader yet.
fn stream(deadline: Instant, bytes: &[u8], open: impl Fn() -> io::Result<File>) -> io::Result<Written> {
    loop {
        match open() {
            Err(error) if sys::has_no_reader(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) if sys::has_no_reader(&error) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing read from it within the time allowed"));
            }
            opened => return opened?.write_all(bytes).map(|()| Written::Streamed),
        }
    }
}

/// Gives the program `target` a second name, `at`, by which it may be run: a symbolic link, or on Windows, where those
/// need a privilege, a hard one.
///
/// # Errors
/// Those of the system; where `at` exists, nothing is changed.
pub fn link(target: &Path, at: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::symlink(target, at);
    #[cfg(not(unix))]
    std::fs::hard_link(target, at)
}

/// Whether `path` is there and belongs neither to this user nor to root.
pub fn is_of_another(path: &Path) -> bool {
    #[cfg(unix)]
    return std::fs::metadata(path).is_ok_and(|about| {
        let owner = std::os::unix::fs::MetadataExt::uid(&about);
        owner != sys::me() && owner != 0
    });
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// Whether others than its owner may read or change the file, links followed. Never for what is not a file, such as
/// a pipe, nor where modes do not exist (Windows).
pub fn is_open_to_others(path: &Path) -> bool {
    #[cfg(unix)]
    return std::fs::metadata(path).is_ok_and(|about| {
        about.is_file() && std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o066 != 0
    });
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// The content of a file that the user named: any owner and mode, links, pipes, `/dev/fd/N`; at most `limit` bytes.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if it is not complete by `deadline` (a pipe without a writer),
/// [`io::ErrorKind::FileTooLarge`] where it is longer. No error repeats the path: it may be a secret typed in the
/// wrong place.
pub fn read_user_file(path: &Path, limit: u64, deadline: Instant) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    // Opening a pipe waits for its writer as well.
    bounded(move || File::open(&path), limit, deadline)
}

/// [`read_user_file`] of what is open already.
pub fn read_stream(stream: impl Read + Send + 'static, limit: u64, deadline: Instant) -> io::Result<Vec<u8>> {
    bounded(move || Ok(stream), limit, deadline)
}

/// Lines of a stream, up to and with the first one for which `is_last`, or to its end. What follows is left in it.
///
/// # Errors
/// As [`read_user_file`].
pub fn read_lines<R: BufRead>(
    open: impl FnOnce() -> R + Send + 'static,
    limit: u64,
    deadline: Instant,
    is_last: impl Fn(&[u8]) -> bool + Send + 'static,
) -> io::Result<Vec<u8>> {
    in_time(deadline, move || {
        let (mut stream, mut bytes) = (open(), Vec::new());
        loop {
            let start = bytes.len();
            let left = limit.saturating_add(1).saturating_sub(start as u64);
            let count = (&mut stream).take(left).read_until(b'\n', &mut bytes)?;
            if bytes.len() as u64 > limit {
                return Err(too_long(limit));
            }
            if count == 0 || bytes.get(start..).is_some_and(&is_last) {
                return Ok(bytes);
            }
        }
    })
}

fn too_long(limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes"))
}

fn bounded<R: Read>(
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
    limit: u64,
    deadline: Instant,
) -> io::Result<Vec<u8>> {
    in_time(deadline, move || {
        // Room at once for what a secret can need, so that no copy of it is left behind.
        let room = usize::try_from(limit).unwrap_or(0).min(1 << 20);
        let mut bytes = Vec::with_capacity(room + 1);
        open()?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit { Err(too_long(limit)) } else { Ok(bytes) }
    })
}

fn in_time(deadline: Instant, read: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static) -> io::Result<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    // A pipe cannot be given a limit; the thread of one without a writer ends with the process.
    std::thread::Builder::new().spawn(move || {
        let _ = send.send(read());
    })?;
    let patience = deadline.saturating_duration_since(Instant::now());
    match receive.recv_timeout(patience) {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no data within the time allowed")),
    }
}
