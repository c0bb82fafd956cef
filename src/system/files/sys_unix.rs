//! The system calls behind the files, by descriptor: `openat`, `renameat`, `unlinkat`.

use super::{Length, Numbers, Unsafe};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use super::trusted_unix::open_trusted;
pub use super::user_unix::{has_no_reader, open_own_descriptor, open_stream, what_is_at};

/// An open folder.
pub type Handle = OwnedFd;

const OWN_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
pub(super) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A file that may be anything by now: no link is followed, and a pipe planted there makes no open wait.
pub(super) const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// The user whose rights this process has.
pub fn me() -> u32 {
    // It never changes, and asking is a system call.
    static ME: OnceLock<u32> = OnceLock::new();
    *ME.get_or_init(|| rustix::process::geteuid().as_raw())
}

pub(super) fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == me()
}

pub(super) fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The permission bits.
#[allow(clippy::useless_conversion)] // 16 bits wide on macOS, 32 on Linux
pub(super) fn mode_of(stat: &Stat) -> u32 {
    u32::from(Mode::from_raw_mode(stat.st_mode).bits())
}

#[allow(clippy::unnecessary_cast)] // each system has its own widths
pub(super) fn numbers_of(stat: &Stat) -> Numbers {
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

pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

pub(super) fn look(at: BorrowedFd<'_>, name: &Path) -> rustix::io::Result<Stat> {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn place(at: Option<&Handle>) -> BorrowedFd<'_> {
    at.map_or(CWD, |handle| handle.as_fd())
}

// Folders.

/// What is wrong with a folder that should be ours alone to write.
fn folder_fault(stat: &Stat) -> Option<Unsafe> {
    let mode = mode_of(stat);
    match kind_of(stat) {
        FileType::Symlink => Some(Unsafe::Link),
        FileType::Directory if !is_ours(stat) => Some(Unsafe::Owner),
        FileType::Directory if mode & 0o022 != 0 => Some(Unsafe::Mode(mode)),
        FileType::Directory => None,
        _ => Some(Unsafe::NotAFolder),
    }
}

fn checked_folder(at: BorrowedFd<'_>, name: &Path, opened: rustix::io::Result<Handle>) -> io::Result<(Handle, Stat)> {
    let folder = match opened {
        Ok(folder) => folder,
        // With O_DIRECTORY a link is reported as "not a directory".
        Err(error @ (Errno::NOTDIR | Errno::LOOP | Errno::MLINK | Errno::ACCESS)) => {
            let fault = look(at, name).ok().and_then(|stat| folder_fault(&stat));
            return Err(fault.map_or(error.into(), io::Error::from));
        }
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&folder)?;
    match folder_fault(&stat) {
        Some(fault) => Err(fault.into()),
        None => Ok((folder, stat)),
    }
}

/// A folder of this user's or root's in which no one else can write: to read, and write in place, what is this user's.
pub fn open_shared(name: &Path) -> io::Result<Handle> {
    let folder = rustix::fs::open(name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = rustix::fs::fstat(&folder)?;
    match folder_fault(&stat) {
        Some(Unsafe::Owner) if stat.st_uid == 0 && mode_of(&stat) & 0o022 == 0 => Ok(folder),
        Some(fault) => Err(fault.into()),
        None => Ok(folder),
    }
}

/// A folder of this user's, in which others may be able to write: to clear it.
pub fn open_ours(at: Option<&Handle>, name: &Path) -> io::Result<Handle> {
    let folder = rustix::fs::openat(place(at), name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    if is_ours(&rustix::fs::fstat(&folder)?) { Ok(folder) } else { Err(Unsafe::Owner.into()) }
}

pub fn open_own(at: Option<&Handle>, name: &Path) -> io::Result<Handle> {
    let at = place(at);
    let opened = rustix::fs::openat(at, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
    checked_folder(at, name, opened).map(|(folder, _)| folder)
}

pub fn make_own(at: Option<&Handle>, name: &Path) -> io::Result<Handle> {
    let above = at.is_none();
    let at = place(at);
    let open = || rustix::fs::openat(at, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
    let opened = match open() {
        Err(Errno::NOENT) => {
            if above {
                for folder in missing_above(name) {
                    make(at, &folder)?;
                }
            }
            make(at, name)?;
            open()
        }
        other => other,
    };
    let (folder, stat) = checked_folder(at, name, opened)?;
    if mode_of(&stat) & 0o777 != 0o700 {
        rustix::fs::fchmod(&folder, Mode::RWXU)?;
    }
    Ok(folder)
}

/// The folders from the lowest that is there down to `path`, which is not among them.
fn missing_above(path: &Path) -> Vec<PathBuf> {
    let above = path.ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let mut missing: Vec<PathBuf> = above.map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Creates a folder; one that is there (made by another process meanwhile) is as good.
fn make(at: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    match rustix::fs::mkdirat(at, name, Mode::RWXU) {
        Ok(()) => {
            // A umask can take even our own rights away, and then nothing can be made in it.
            let stat = look(at, name)?;
            if kind_of(&stat) == FileType::Directory && is_ours(&stat) && mode_of(&stat) & 0o700 != 0o700 {
                rustix::fs::chmodat(at, name, Mode::RWXU, AtFlags::empty())?;
            }
            Ok(())
        }
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A folder of whomever; links are followed.
pub fn open_folder(path: &Path) -> io::Result<Handle> {
    match rustix::fs::open(path, FOLDER, Mode::empty()) {
        // One that may be written to and not be read.
        #[cfg(target_os = "linux")]
        Err(Errno::ACCESS) => Ok(rustix::fs::open(path, FOLDER | OFlags::PATH, Mode::empty())?),
        opened => Ok(opened?),
    }
}

/// The same folder once more.
pub fn again(handle: &Handle) -> io::Result<Handle> {
    handle.try_clone()
}

/// A copy of the descriptor as a file, to lock it.
pub fn as_file(handle: Handle) -> io::Result<File> {
    Ok(File::from(handle))
}

#[allow(clippy::unnecessary_cast)] // each system has its own widths
pub fn id(handle: &Handle) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(handle)?;
    Ok((stat.st_dev as u64, stat.st_ino as u64))
}

pub fn names(handle: &Handle) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(handle)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

pub fn has_own_dir(handle: &Handle, below: &Path) -> bool {
    look(handle.as_fd(), below).is_ok_and(|stat| folder_fault(&stat).is_none())
}

/// Makes a rename outlive a power cut.
pub fn sync(handle: &Handle) -> io::Result<()> {
    match rustix::fs::fsync(handle) {
        // Some file systems cannot, and say so; so does a folder that may not be read.
        Err(Errno::INVAL | Errno::BADF) => Ok(()),
        other => Ok(other?),
    }
}

// Files in them.

/// What an open that does not follow links says about the thing of that name, in our words.
fn refusal(at: &Handle, name: &Path, error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::MLINK => Unsafe::Link.into(),
        // A socket.
        Errno::NXIO | Errno::OPNOTSUPP => Unsafe::NotAFile.into(),
        Errno::ISDIR => Unsafe::NotAFile.into(),
        Errno::ACCESS => match look(at.as_fd(), name) {
            Ok(stat) if !is_ours(&stat) => Unsafe::Owner.into(),
            _ => error.into(),
        },
        _ => error.into(),
    }
}

fn open_checked(at: &Handle, name: &Path, flags: OFlags) -> io::Result<(File, Stat)> {
    let file = rustix::fs::openat(at, name, FILE | flags, OWN_FILE).map_err(|error| refusal(at, name, error))?;
    let stat = rustix::fs::fstat(&file)?;
    let fault = match () {
        () if kind_of(&stat) != FileType::RegularFile => Some(Unsafe::NotAFile),
        () if !is_ours(&stat) => Some(Unsafe::Owner),
        () if stat.st_nlink > 1 => Some(Unsafe::Names),
        () => None,
    };
    fault.map_or(Ok((File::from(file), stat)), |fault| Err(fault.into()))
}

fn open_own_alone(at: &Handle, name: &Path, flags: OFlags) -> io::Result<(File, Stat)> {
    let (file, stat) = open_checked(at, name, flags)?;
    match mode_of(&stat) {
        mode if mode & 0o077 != 0 => Err(Unsafe::Mode(mode).into()),
        _ => Ok((file, stat)),
    }
}

pub fn open_private(at: &Handle, name: &Path) -> io::Result<(File, Numbers)> {
    open_own_alone(at, name, OFlags::RDONLY).map(|(file, stat)| (file, numbers_of(&stat)))
}

pub fn open_private_to_write(at: &Handle, name: &Path) -> io::Result<File> {
    open_own_alone(at, name, OFlags::WRONLY).map(|(file, _)| file)
}

pub fn open_file_to_write(at: &Handle, name: &Path) -> io::Result<File> {
    open_checked(at, name, OFlags::WRONLY).map(|(file, _)| file)
}

pub fn read_into<'b>(at: &Handle, below: &Path, buffer: &'b mut [u8]) -> Option<(&'b mut [u8], Numbers)> {
    let (file, stat) = open_own_alone(at, below, OFlags::RDONLY).ok()?;
    let numbers = numbers_of(&stat);
    let read = rustix::io::read(&file, &mut *buffer).ok()?;
    (read as u64 == numbers.0).then(|| (&mut buffer[..read], numbers))
}

pub fn create_new(at: &Handle, name: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(at, name, flags, OWN_FILE)?;
    // The umask can only have taken rights away, even our own.
    rustix::fs::fchmod(&file, OWN_FILE)?;
    Ok(File::from(file))
}

/// A new file without a name, which goes with its last descriptor.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] if this does not exist here, or it could get no name later.
pub fn create_unnamed(at: &Handle) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        if !Path::new(DESCRIPTORS).exists() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::openat(at, ".", flags, OWN_FILE) {
            Ok(file) => {
                rustix::fs::fchmod(&file, OWN_FILE)?;
                Ok(File::from(file))
            }
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = at;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Where the descriptors of this process are (proc(5)).
#[cfg(target_os = "linux")]
const DESCRIPTORS: &str = "/proc/self/fd";

/// Gives a name to what [`create_unnamed`] made.
pub fn give_name(file: &File, at: &Handle, name: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let path = format!("{DESCRIPTORS}/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        Ok(rustix::fs::linkat(CWD, path, at, name, AtFlags::SYMLINK_FOLLOW)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, at, name);
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub fn open_lock(at: &Handle, name: &Path) -> io::Result<File> {
    // Checked before anything is written to it: a second name could be somebody's file.
    let (file, stat) = open_checked(at, name, OFlags::RDWR | OFlags::CREATE)?;
    if mode_of(&stat) != 0o600 {
        rustix::fs::fchmod(&file, OWN_FILE)?;
    }
    Ok(file)
}

pub fn is_still(file: &File, at: &Handle, name: &Path) -> io::Result<bool> {
    let held = rustix::fs::fstat(file)?;
    match look(at.as_fd(), name) {
        Ok(there) => Ok((held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub fn exists(at: &Handle, name: &Path) -> bool {
    look(at.as_fd(), name).is_ok()
}

pub fn rename(at: &Handle, from: &Path, to: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat(at, from, at, to)?)
}

pub fn remove(at: &Handle, name: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        // A folder planted in its place; what is in it is not ours to delete.
        Err(Errno::ISDIR | Errno::PERM) => Ok(rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)?),
        other => Ok(other?),
    }
}

/// When the content changed, in nanoseconds by the file system's clock.
pub fn modified(file: &File) -> io::Result<i64> {
    Ok(numbers_of(&rustix::fs::fstat(file)?).2)
}

pub fn modified_of(at: &Handle, name: &Path) -> Option<i64> {
    let stat = look(at.as_fd(), name).ok()?;
    (kind_of(&stat) == FileType::RegularFile).then(|| numbers_of(&stat).2)
}

/// Gives `new` the permission bits of the file in whose place it goes.
pub fn keep_mode(at: &Handle, name: &Path, new: &File) -> io::Result<()> {
    match look(at.as_fd(), name) {
        // A link's mode is not a file's.
        Ok(stat) if kind_of(&stat) != FileType::RegularFile => Ok(()),
        Ok(stat) => Ok(rustix::fs::fchmod(new, Mode::from_raw_mode(stat.st_mode))?),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes the space for `length` bytes of `file`.
pub fn reserve(file: &File, length: u64, its: Length) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
    {
        use rustix::fs::FallocateFlags;
        // Only Linux takes space behind the end of a file.
        #[cfg(target_os = "linux")]
        const BEYOND: Option<FallocateFlags> = Some(FallocateFlags::KEEP_SIZE);
        #[cfg(not(target_os = "linux"))]
        const BEYOND: Option<FallocateFlags> = None;
        let flags = if its == Length::Stays { BEYOND } else { Some(FallocateFlags::empty()) };
        match flags.map(|flags| rustix::fs::fallocate(file, flags, 0, length)) {
            // The system or the file system cannot.
            None | Some(Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)) => {}
            Some(other) => return Ok(other?),
        }
    }
    if its == Length::Grows {
        let mut file = file;
        io::copy(&mut io::Read::take(io::repeat(b' '), length), &mut file)?;
    }
    Ok(())
}

/// Whether something is mounted on the file itself, so that no other can take its place.
pub fn is_mounted_alone(at: &Handle, name: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{StatxAttributes, StatxFlags};
        let about = rustix::fs::statx(at, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE);
        let root = StatxAttributes::MOUNT_ROOT;
        if let Ok(about) = about
            && about.stx_attributes_mask.contains(root)
        {
            return about.stx_attributes.contains(root);
        }
    }
    // Linux before 5.8: a mount from the same file system is not seen, and told when it is too late.
    let of = |stat: Stat| (stat.st_dev, kind_of(&stat));
    match (rustix::fs::fstat(at).map(of), look(at.as_fd(), name).map(of)) {
        (Ok((folder, _)), Ok((file, kind))) => kind == FileType::RegularFile && file != folder,
        _ => false,
    }
}

/// Writes `bytes` at the beginning of `file`.
pub fn write_at_start(file: &File, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, 0)
}
