//! The only place that creates the program's own files, and the one that reads what a user names.
//!
//! Own files are 0600 in 0700 folders and are replaced whole; one that others could have read or changed is not
//! used. A file that a user names may be anything that can be read.

use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What is wrong with a file or folder that should be ours alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// It is a symbolic link.
    Link,
    /// It is a folder, a pipe, a socket or a device.
    NotAFile,
    /// It is no folder.
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
            Unsafe::Names => f.write_str("it has a second name (a hard link)"),
        }
    }
}

impl std::error::Error for Unsafe {}

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
            ReadError::Io(error) => error.fmt(f),
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

/// Makes the folder `path` ours alone: creates it and what is missing above it with 0700, takes the others' right
/// to read from one that is there.
///
/// # Errors
/// One that is a symbolic link, belongs to another user or may be written by others is refused with an
/// [`Unsafe`] inside: what lies in it may not be ours. Folders above that are there already are left as they are.
pub fn private_dir(path: &Path) -> io::Result<()> {
    sys::private_dir(path)
}

/// The content of one of our own files, or `None` where there is none; at most `limit` bytes.
///
/// # Errors
/// [`ReadError::Unsafe`] for a file that is not ours alone: the caller refuses (secrets) or treats it as absent
/// (cache).
pub fn read_private(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
    Ok(read_private_numbered(path, limit)?.map(|(bytes, _)| bytes))
}

/// [`read_private`], and the file's numbers before it was read.
///
/// # Errors
/// As [`read_private`].
pub fn read_private_numbered(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, Numbers)>, ReadError> {
    let (file, numbers) = match sys::open_private(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
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
    Ok(Some((bytes, numbers)))
}

/// The content of a file that decides where secrets go (the config, a provider file), or `None` where there is none;
/// at most `limit` bytes; and its numbers before it was read. It may be a link and may be read by all.
///
/// # Errors
/// [`ReadError::Unsafe`] for one that somebody else than its owner and root can write, or that belongs to neither
/// this user nor root.
pub fn read_trusted(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, Numbers)>, ReadError> {
    let (file, numbers) = match sys::open_trusted(path) {
        Ok(found) => found,
        // Not the same as none: a person has put something there, and without it other settings would hold.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            return Err(ReadError::Io(io::Error::new(error.kind(), "it is a link that leads nowhere")));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // With room for one more byte, which shows the end.
    let mut bytes = Vec::with_capacity(numbers.0.min(limit) as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLong(limit));
    }
    Ok(Some((bytes, numbers)))
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

/// One of our own files, read whole into `buffer` without allocating; `None` where [`read_private`] would not give
/// it, and where it does not fit.
#[cfg(unix)]
pub fn read_private_into<'b>(path: &Path, buffer: &'b mut [u8]) -> Option<(&'b mut [u8], Numbers)> {
    sys::read_private_into(path, buffer)
}

/// How sure a written file must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// It outlives a power cut once the call has returned: a refresh token that cannot be had again.
    Yes,
    /// It is whole or absent; what is lost is asked for anew: the cache.
    No,
}

/// Puts `bytes` in the place of `path`, whole or not at all, readable by us alone (0600 whatever the umask). What
/// stood there under that name, a link or a pipe too, is replaced and not written through. The folder must be there.
///
/// # Errors
/// Those of the system; the file that was there is then as it was. A folder in its place cannot be replaced.
pub fn write_private(path: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let (folder, name) = split(path)?;
    let temporary = folder.join(temporary_name(name)?);
    let written = write_new(&temporary, bytes, durable).and_then(|stamp| {
        fs::rename(&temporary, path)?;
        Ok(stamp)
    });
    let stamp = match written {
        Ok(stamp) => stamp,
        Err(error) => {
            // The error to tell is the first one; what stays behind goes with the sweep below, some other time.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
    };
    if durable == Durable::Yes {
        sys::sync_folder(folder)?;
    }
    sweep(folder, stamp);
    Ok(())
}

/// Whether the folder `path` is there and ours alone to write: no link, no other owner, nobody else's to change.
pub fn is_own_dir(path: &Path) -> bool {
    sys::is_own_dir(path)
}

/// Device and inode of the folder `path`, which is ours alone to write; (0, 0) where a system has no such numbers.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] where there is none; an [`Unsafe`] inside for what is a link, no folder, another user's
/// or others' to change.
pub fn own_dir(path: &Path) -> io::Result<(u64, u64)> {
    sys::own_dir(path)
}

/// Opens one of our own files, to lock it: nothing is written to it, and it is not made.
pub(crate) fn open_to_lock(path: &Path) -> io::Result<File> {
    sys::open_private(path).map(|(file, _)| file)
}

/// Opens the folder `path`, to lock it.
pub(crate) fn open_folder(path: &Path) -> io::Result<File> {
    sys::open_folder(path)
}

/// Writes to a file that the user named: a regular one, behind a link of the user's own or root's too, is replaced
/// whole and for its owner alone (0600); a link of somebody else is itself replaced; a pipe or a device gets the bytes.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] for a pipe that nobody reads until `deadline`; else those of the system.
pub fn write_user_file(path: &Path, bytes: &[u8], deadline: Instant) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(data) if !data.is_file() => {
            // A pipe may have no reader yet.
            loop {
                match sys::open_for_writing(path) {
                    Err(error) if sys::has_no_reader(&error) && Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err(error) if sys::has_no_reader(&error) => {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody read it within the time allowed"));
                    }
                    opened => return opened?.write_all(bytes),
                }
            }
        }
        Ok(_) if !sys::is_foreign_link(path) => write_private(&fs::canonicalize(path)?, bytes, Durable::Yes),
        _ => write_private(path, bytes, Durable::Yes),
    }
}

/// Puts `bytes` in the place of the config, whole or not at all. A new one is for its owner alone; one that is there
/// keeps its permission bits: people share a config, as it need not hold a secret.
///
/// # Errors
/// As [`write_private`].
pub fn write_config(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::metadata(path).ok().map(|data| data.permissions());
    write_private(path, bytes, Durable::Yes)?;
    old.map_or(Ok(()), |permissions| fs::set_permissions(path, permissions))
}

/// Whether a file can be made in `folder`, found out by making one.
///
/// # Errors
/// Those of the system.
pub fn can_write(folder: &Path) -> io::Result<()> {
    let temporary = folder.join(temporary_name("write")?);
    drop(sys::create_new(&temporary)?);
    match fs::remove_file(&temporary) {
        // Whoever holds the lock of the folder may have swept it away.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether others than its owner may read or change the file, links followed. What is no file, such as a pipe, is
/// nobody else's; nor is anything where modes say nothing (Windows).
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
/// [`io::ErrorKind::TimedOut`] where it is not all there by `deadline` (a pipe that nobody writes to),
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

fn bounded<R: Read>(
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
    limit: u64,
    deadline: Instant,
) -> io::Result<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    // A pipe cannot be given a limit; the thread of one that nobody writes to ends with the process.
    std::thread::Builder::new().spawn(move || {
        let read = || {
            // Room at once for what a secret can need, so that no copy of it is left behind.
            let room = usize::try_from(limit).unwrap_or(0).min(1 << 20);
            let mut bytes = Vec::with_capacity(room + 1);
            open()?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > limit {
                let why = format!("longer than {limit} bytes");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
            }
            Ok(bytes)
        };
        let _ = send.send(read());
    })?;
    let patience = deadline.saturating_duration_since(Instant::now());
    match receive.recv_timeout(patience) {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came within the time allowed")),
    }
}

/// Opens or creates the lock file `path`, without following a link and with 0600.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    sys::open_lock(path)
}

/// Whether the open `file` still is what `path` names; a lock on a file that was removed excludes nobody.
pub(crate) fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    sys::is_still(file, path)
}

/// Makes room for `length` bytes in `file`, whose length stays as it is, where the system can.
///
/// # Errors
/// Where there is no such room: the disk or the quota is full, or a limit of the process is lower.
pub(crate) fn reserve(file: &File, length: u64) -> io::Result<()> {
    sys::reserve(file, length)
}

/// Writes `bytes` at the beginning of `file`, with one system call where the system takes them at once.
pub(crate) fn write_at_start(file: &File, bytes: &[u8]) -> io::Result<()> {
    sys::write_at_start(file, bytes)
}

/// How the name of a temporary file ends. Sixteen hexadecimal digits stand before it.
const TEMPORARY: &str = ".tok-tmp";
/// How old a temporary file is when its process is taken for dead.
const STALE: Duration = Duration::from_secs(3600);

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    match (path.parent(), name) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => Ok((Path::new("."), name)),
        (Some(folder), Some(name)) => Ok((folder, name)),
        (Some(folder), None) if path.file_name().is_some() => Ok((folder, "file")),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")),
    }
}

/// `.NAME.<16 hexadecimal digits>.tok-tmp`; NAME is cut so that the whole stays within the 255 bytes of a name.
fn temporary_name(name: &str) -> io::Result<String> {
    let mut random = [0u8; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(format!("{}{:016x}{TEMPORARY}", temporary_start(name), u64::from_ne_bytes(random)))
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

/// Writes a new file and gives the time that the file system put on it.
fn write_new(path: &Path, bytes: &[u8], durable: Durable) -> io::Result<std::time::SystemTime> {
    let mut file = sys::create_new(path)?;
    file.write_all(bytes)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    file.metadata()?.modified()
}

/// Removes all temporary files in `folder`, whatever their age. The caller holds the lock under which they are made,
/// so whoever left them is dead; a refresh token may be in one.
pub fn sweep_all(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_temporary) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes the temporary files of `path` alone, whatever their age. The caller holds the lock under which `path` is
/// written; others may be writing their own files beside it.
pub fn sweep_of(path: &Path) {
    let Ok((folder, name)) = split(path) else { return };
    let start = temporary_start(name);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_ours = |name: &str| is_temporary(name) && name.len() == start.len() + 16 + TEMPORARY.len();
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&start) && is_ours(name)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes what killed processes left behind. Ages are differences of the file system's own times, so that a wrong
/// clock removes nothing. Whatever fails here is tried again at the next write.
fn sweep(folder: &Path, now: std::time::SystemTime) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(is_temporary) {
            continue;
        }
        let stale = entry
            .metadata()
            .ok()
            .filter(|data| data.is_file())
            .and_then(|data| data.modified().ok())
            .is_some_and(|time| now.duration_since(time).is_ok_and(|age| age > STALE));
        if stale {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The folders from the lowest that is there down to `path`, which is not among them.
fn missing_above(path: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .skip(1)
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}

#[cfg(unix)]
mod sys {
    use super::{Numbers, Unsafe, missing_above};
    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
    use rustix::io::Errno;
    use std::fs::File;
    use std::io;
    use std::path::Path;
    use std::sync::OnceLock;

    const OWN_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

    fn is_ours(stat: &Stat) -> bool {
        // It never changes, and asking is a system call.
        static ME: OnceLock<u32> = OnceLock::new();
        stat.st_uid == *ME.get_or_init(|| rustix::process::geteuid().as_raw())
    }

    #[allow(clippy::unnecessary_cast)] // each system has its own widths
    fn numbers_of(stat: &Stat) -> Numbers {
        let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
        (
            stat.st_size as u64,
            stat.st_ino as u64,
            nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            nanos(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        )
    }

    pub fn numbers(path: &Path) -> io::Result<Numbers> {
        Ok(numbers_of(&rustix::fs::stat(path)?))
    }

    pub fn read_private_into<'b>(path: &Path, buffer: &'b mut [u8]) -> Option<(&'b mut [u8], Numbers)> {
        let (file, stat) = open_checked(path).ok()?;
        let numbers = numbers_of(&stat);
        let read = rustix::io::read(&file, &mut *buffer).ok()?;
        (read as u64 == numbers.0).then(|| (&mut buffer[..read], numbers))
    }

    /// The permission bits.
    #[allow(clippy::useless_conversion)] // 16 bits wide on macOS, 32 on Linux
    fn mode_of(stat: &Stat) -> u32 {
        u32::from(Mode::from_raw_mode(stat.st_mode).bits())
    }

    /// Creates a folder; one that is there (made by another process meanwhile) is as good.
    fn make(path: &Path) -> io::Result<()> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) => {
                // A umask can take even our own rights away, and then nothing can be made in it.
                let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && mode_of(&stat) & 0o700 != 0o700 {
                    rustix::fs::chmod(path, Mode::RWXU)?;
                }
                Ok(())
            }
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub fn private_dir(path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::open(path, flags, Mode::empty());
        let folder = match open() {
            Err(Errno::NOENT) => {
                for above in missing_above(path) {
                    make(&above)?;
                }
                make(path)?;
                open()
            }
            other => other,
        };
        let folder = match folder {
            Ok(folder) => folder,
            // With O_DIRECTORY a link is told as "not a directory".
            Err(Errno::NOTDIR | Errno::LOOP | Errno::MLINK | Errno::ACCESS) => {
                let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
                return Err(match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => Unsafe::Link.into(),
                    FileType::Directory if !is_ours(&stat) => Unsafe::Owner.into(),
                    FileType::Directory => Errno::ACCESS.into(),
                    _ => Unsafe::NotAFolder.into(),
                });
            }
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&folder)?;
        if !is_ours(&stat) {
            return Err(Unsafe::Owner.into());
        }
        let mode = mode_of(&stat);
        if mode & 0o022 != 0 {
            return Err(Unsafe::Mode(mode).into());
        }
        if mode & 0o777 != 0o700 {
            rustix::fs::fchmod(&folder, Mode::RWXU)?;
        }
        Ok(())
    }

    /// What an open that does not follow links says about the thing at `path`, in our words.
    fn refusal(path: &Path, error: Errno) -> io::Error {
        match error {
            Errno::LOOP | Errno::MLINK => Unsafe::Link.into(),
            // A socket.
            Errno::NXIO | Errno::OPNOTSUPP => Unsafe::NotAFile.into(),
            Errno::ISDIR => Unsafe::NotAFile.into(),
            Errno::ACCESS => match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if !is_ours(&stat) => Unsafe::Owner.into(),
                _ => error.into(),
            },
            _ => error.into(),
        }
    }

    fn check_file(file: &File) -> io::Result<Stat> {
        let stat = rustix::fs::fstat(file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Unsafe::NotAFile.into());
        }
        if !is_ours(&stat) {
            return Err(Unsafe::Owner.into());
        }
        if stat.st_nlink > 1 {
            return Err(Unsafe::Names.into());
        }
        Ok(stat)
    }

    /// Opens a pipe or a device without waiting for who is at its other end.
    pub fn open_for_writing(path: &Path) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        // Once it is open, a slow reader is waited for.
        rustix::fs::fcntl_setfl(&file, OFlags::WRONLY)?;
        Ok(File::from(file))
    }

    /// Whether the error of [`open_for_writing`] is a pipe that nobody reads.
    pub fn has_no_reader(error: &io::Error) -> bool {
        error.raw_os_error() == Some(Errno::NXIO.raw_os_error())
    }

    /// Whether `path` is a link that neither this user nor root has put there.
    pub fn is_foreign_link(path: &Path) -> bool {
        rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::Symlink && !is_ours(&stat) && stat.st_uid != 0
        })
    }

    pub fn open_folder(path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
    }

    #[allow(clippy::unnecessary_cast)] // each system has its own widths
    pub fn own_dir(path: &Path) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = mode_of(&stat);
        Err(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Unsafe::Link.into(),
            FileType::Directory if !is_ours(&stat) => Unsafe::Owner.into(),
            FileType::Directory if mode & 0o022 != 0 => Unsafe::Mode(mode).into(),
            FileType::Directory => return Ok((stat.st_dev as u64, stat.st_ino as u64)),
            _ => Unsafe::NotAFolder.into(),
        })
    }

    pub fn is_own_dir(path: &Path) -> bool {
        rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                && is_ours(&stat)
                && mode_of(&stat) & 0o022 == 0
        })
    }

    /// Opens what may be a link; what counts is who can write the file it leads to.
    pub fn open_trusted(path: &Path) -> io::Result<(File, Numbers)> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Unsafe::NotAFile.into());
        }
        if !is_ours(&stat) && stat.st_uid != 0 {
            return Err(Unsafe::Owner.into());
        }
        let mode = mode_of(&stat);
        if mode & 0o022 != 0 { Err(Unsafe::Mode(mode & 0o7777).into()) } else { Ok((file, numbers_of(&stat))) }
    }

    pub fn open_private(path: &Path) -> io::Result<(File, Numbers)> {
        open_checked(path).map(|(file, stat)| (file, numbers_of(&stat)))
    }

    fn open_checked(path: &Path) -> io::Result<(File, Stat)> {
        // NONBLOCK: a pipe planted here must not make the open wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| refusal(path, error))?;
        let file = File::from(file);
        let stat = check_file(&file)?;
        let mode = mode_of(&stat);
        if mode & 0o077 != 0 {
            return Err(Unsafe::Mode(mode).into());
        }
        Ok((file, stat))
    }

    pub fn create_new(path: &Path) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, OWN_FILE)?;
        // The umask can only have taken rights away, even our own.
        rustix::fs::fchmod(&file, OWN_FILE)?;
        Ok(File::from(file))
    }

    pub fn open_lock(path: &Path) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, OWN_FILE).map_err(|error| refusal(path, error))?;
        let file = File::from(file);
        // Checked before anything is written to it: a second name could be somebody's file.
        if mode_of(&check_file(&file)?) != 0o600 {
            rustix::fs::fchmod(&file, OWN_FILE)?;
        }
        Ok(file)
    }

    pub fn is_still(file: &File, path: &Path) -> io::Result<bool> {
        let held = rustix::fs::fstat(file)?;
        match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Ok((held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub fn reserve(file: &File, length: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) =
            rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, length)
        {
            return Err(error.into());
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (file, length);
        Ok(())
    }

    pub fn write_at_start(file: &File, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(file, bytes, 0)
    }

    /// Makes a rename outlive a power cut.
    pub fn sync_folder(folder: &Path) -> io::Result<()> {
        match File::open(folder)?.sync_all() {
            // Some file systems cannot, and say so.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
            other => other,
        }
    }
}

#[cfg(not(unix))]
mod sys {
    //! The folders are the user's own and inherit a list of rights that names nobody else.
    use super::{Numbers, Unsafe, missing_above};
    use std::fs::{self, File, OpenOptions};
    use std::io;
    use std::path::Path;

    fn is_link(path: &Path) -> io::Result<bool> {
        Ok(fs::symlink_metadata(path)?.file_type().is_symlink())
    }

    pub fn reserve(_: &File, _: u64) -> io::Result<()> {
        Ok(())
    }

    pub fn write_at_start(mut file: &File, bytes: &[u8]) -> io::Result<()> {
        use std::io::{Seek, SeekFrom, Write};
        file.seek(SeekFrom::Start(0))?;
        file.write_all(bytes)
    }

    pub fn private_dir(path: &Path) -> io::Result<()> {
        for above in missing_above(path) {
            make(&above)?;
        }
        make(path)?;
        if is_link(path)? {
            return Err(Unsafe::Link.into());
        }
        if !path.is_dir() {
            return Err(Unsafe::NotAFolder.into());
        }
        Ok(())
    }

    fn make(path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn check(path: &Path) -> io::Result<()> {
        if is_link(path)? {
            return Err(Unsafe::Link.into());
        }
        if !path.is_file() {
            return Err(Unsafe::NotAFile.into());
        }
        Ok(())
    }

    pub fn open_for_writing(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).open(path)
    }

    pub fn has_no_reader(_: &io::Error) -> bool {
        false
    }

    pub fn is_foreign_link(_: &Path) -> bool {
        false
    }

    pub fn numbers(path: &Path) -> io::Result<Numbers> {
        numbers_of(&fs::metadata(path)?)
    }

    fn numbers_of(data: &fs::Metadata) -> io::Result<Numbers> {
        let since = data.modified()?.duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
        let time = i64::try_from(since.as_nanos()).map_err(io::Error::other)?;
        Ok((data.len(), 0, time, time))
    }

    pub fn is_own_dir(path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|data| data.is_dir())
    }

    pub fn open_trusted(path: &Path) -> io::Result<(File, Numbers)> {
        let file = File::open(path)?;
        let numbers = numbers_of(&file.metadata()?)?;
        Ok((file, numbers))
    }

    pub fn open_private(path: &Path) -> io::Result<(File, Numbers)> {
        check(path)?;
        open_trusted(path)
    }

    pub fn open_folder(_: &Path) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn own_dir(path: &Path) -> io::Result<(u64, u64)> {
        let data = fs::symlink_metadata(path)?;
        if data.is_dir() { Ok((0, 0)) } else { Err(Unsafe::NotAFolder.into()) }
    }

    pub fn create_new(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    pub fn open_lock(path: &Path) -> io::Result<File> {
        let created = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        match created {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                check(path)?;
                OpenOptions::new().read(true).write(true).open(path)
            }
            other => other,
        }
    }

    /// An open file cannot be removed here.
    pub fn is_still(_: &File, _: &Path) -> io::Result<bool> {
        Ok(true)
    }

    /// A folder cannot be opened as a file here; the file system keeps its own journal of names.
    pub fn sync_folder(_: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_is_recognised_and_others_are_not() {
        let name = temporary_name("secrets.json").unwrap();
        assert!(is_temporary(&name), "{name}");
        assert!(is_temporary(&temporary_name(&"x".repeat(300)).unwrap()));
        for other in
            ["secrets.json", ".secrets.json", ".a.tok-tmp", ".a.0123456789abcdeg.tok-tmp", "a.0123456789abcdef.tok-tmp"]
        {
            assert!(!is_temporary(other), "{other}");
        }
    }

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
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
