//! One at a time: a kernel lock on a separate file, released when the process that holds it ends.
//!
//! The file is never removed and, if one can be made, never the data file: a lock on a file that is replaced or
//! unlinked excludes no one (int128/kubelogin#1126), unless each taker checks that it is still the same.

use crate::system::files::{self, Dir};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a waiter stays silent.
const QUIET: Duration = Duration::from_secs(1);

/// Why a lock was not taken. None of them allows to continue without it.
#[derive(Debug)]
pub enum LockError {
    /// Another process kept it until the deadline.
    TimedOut {
        /// Its process id, if it could be read.
        holder: Option<u32>,
    },
    /// The lock file or its folder, the one named, could not be opened or locked, or is not ours.
    Failed(PathBuf, io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::TimedOut { holder: Some(pid) } => write!(f, "process {pid} holds the lock"),
            LockError::TimedOut { holder: None } => f.write_str("another process holds the lock"),
            LockError::Failed(_, error) => write!(f, "cannot lock: {error}"),
        }
    }
}

impl std::error::Error for LockError {}

/// What a lock file says, to who does not want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockState {
    /// Nobody holds it.
    Free,
    /// A process holds it: its id, if it could be read.
    Held(Option<u32>),
    /// Nobody holds it, and it names a process that was killed while it did.
    Left(u32),
}

/// What the lock file `file` in `folder` says; `below` as for [`Lock::take`].
///
/// # Errors
/// Where the folder or the file is not ours alone, or the system cannot lock.
pub fn look(folder: &Path, below: usize, file: &str) -> io::Result<LockState> {
    let mut open = Dir::open(folder, below)?.open_to_lock(file)?;
    let held = match open.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => return Err(error),
    };
    let mut text = String::new();
    let read = (&mut open).take(16).read_to_string(&mut text);
    let pid = read.ok().and_then(|_| text.trim().parse().ok());
    if !held {
        let _ = open.unlock();
    }
    Ok(match (held, pid) {
        (true, pid) => LockState::Held(pid),
        (false, Some(pid)) => LockState::Left(pid),
        (false, None) => LockState::Free,
    })
}

/// A held lock; released on drop, or when the process ends for any reason.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Whether the file is a lock file, which may be written to.
    signed: bool,
}

impl Lock {
    /// Waits until `deadline` for the lock `<folder>/<name>.lock`. The folder is made if it is missing; its last
    /// `below` names are folders of ours, and so is the one before them.
    ///
    /// `waiting` is called once, after a second without the lock, with the holder's process id if it is known.
    ///
    /// # Errors
    /// [`LockError::TimedOut`] at the deadline; [`LockError::Failed`] if the folder or the file is not ours alone
    /// (a planted link is not followed) or the system cannot lock.
    pub fn take(
        folder: &Path,
        below: usize,
        name: &str,
        deadline: Instant,
        waiting: &mut dyn FnMut(Option<u32>),
    ) -> Result<Lock, LockError> {
        // Said of the folder, where that is what is wrong.
        Dir::make(folder, below).map_err(|error| LockError::Failed(folder.into(), error))?;
        let name = format!("{name}.lock");
        let place = Place { shown: folder.join(&name), folder, below, name: &name, signed: true };
        let mut wait = Wait { deadline, told: false, tell: waiting };
        let mut file = acquire(&place, &|dir, name| dir.open_lock(name), &mut wait)?;
        // For the waiters' message alone; a full disk must not cost the lock.
        let _ = sign(&mut file, Some(std::process::id()));
        Ok(Lock { file, signed: true })
    }

    /// Waits until `deadline` for a lock on `path` itself, one of our own files that is there, for where no lock file
    /// can be made beside it. Nothing is written to it.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn on(path: &Path, deadline: Instant) -> Result<Lock, LockError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new("."));
        let place = Place { shown: path.into(), folder, below: 0, name, signed: false };
        let mut wait = Wait { deadline, told: false, tell: &mut |_| {} };
        let file = acquire(&place, &|dir, name| dir.open_to_lock(name), &mut wait)?;
        Ok(Lock { file, signed: false })
    }

    /// The same on the folder `path`, which must be no link.
    ///
    /// # Errors
    /// As [`Lock::take`]; always where a system locks no folders.
    pub fn on_folder(path: &Path, deadline: Instant) -> Result<Lock, LockError> {
        let failed = |error| LockError::Failed(path.to_owned(), error);
        let mut wait = Wait { deadline, told: false, tell: &mut |_| {} };
        let file = locked(|| files::open_folder(path), path, &|| None, &mut wait)?;
        // A folder that was moved away meanwhile does not matter: the config is written where it is then.
        file.metadata().map_err(failed)?;
        Ok(Lock { file, signed: false })
    }
}

/// A file that is locked, by the folder that it is in.
struct Place<'p> {
    shown: PathBuf,
    folder: &'p Path,
    below: usize,
    name: &'p str,
    /// Whether its holder writes its process id into it.
    signed: bool,
}

impl Place<'_> {
    /// Whether it still is the open `file`.
    fn is_still(&self, file: &File) -> io::Result<bool> {
        let dir = if self.signed { Dir::open(self.folder, self.below) } else { Dir::open_shared(self.folder) };
        match dir {
            Ok(dir) => dir.is_still(file, self.name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The process id in the lock file. Windows keeps others from reading a locked file: `None` there.
    fn holder(&self) -> Option<u32> {
        if !self.signed {
            return None;
        }
        let mut text = String::new();
        let file = Dir::open(self.folder, self.below).ok()?.open_to_lock(self.name).ok()?;
        file.take(16).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

/// How long a lock is waited for, and who hears of it.
struct Wait<'w> {
    deadline: Instant,
    /// Called once, after a second, with the holder's process id if it is known.
    tell: &'w mut dyn FnMut(Option<u32>),
    told: bool,
}

/// Waits for the lock on the file that `open` opens.
fn acquire(place: &Place, open: &dyn Fn(&Dir, &str) -> io::Result<File>, wait: &mut Wait) -> Result<File, LockError> {
    loop {
        let file = locked(
            || {
                let made = place.signed.then(|| Dir::make(place.folder, place.below));
                made.unwrap_or_else(|| Dir::open_shared(place.folder)).and_then(|dir| open(&dir, place.name))
            },
            &place.shown,
            &|| place.holder(),
            wait,
        )?;
        // Somebody may have cleared the folder, or replaced the file, between the open and the lock.
        match place.is_still(&file) {
            Ok(true) => return Ok(file),
            Ok(false) => {}
            Err(error) => return Err(LockError::Failed(place.shown.clone(), error)),
        }
    }
}

/// What `open` opens, once it is locked.
fn locked(
    open: impl FnOnce() -> io::Result<File>,
    path: &Path,
    holder: &dyn Fn() -> Option<u32>,
    wait: &mut Wait,
) -> Result<File, LockError> {
    let failed = |error| LockError::Failed(path.to_owned(), error);
    let file = open().map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        Err(TryLockError::WouldBlock) => wait_for(file, path, holder, wait),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.signed {
            let _ = sign(&mut self.file, None);
        }
        // Closing would do; where a child of ours holds a copy of the file it would not.
        let _ = self.file.unlock();
    }
}

fn sign(file: &mut File, pid: Option<u32>) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    if let Some(pid) = pid {
        file.write_all(format!("{pid}\n").as_bytes())?;
    }
    Ok(())
}

/// Waits in the kernel, in a separate thread, so that the waiter wakes the moment the lock is free. After the
/// deadline what the thread sends is not received: the file is closed and the lock is free again.
fn wait_for(file: File, path: &Path, holder: &dyn Fn() -> Option<u32>, wait: &mut Wait) -> Result<File, LockError> {
    let path: PathBuf = path.to_owned();
    let failed = |error| LockError::Failed(path.clone(), error);
    let (send, receive) = mpsc::sync_channel(0);
    std::thread::Builder::new()
        .spawn(move || {
            let locked = file.lock().map(|()| file);
            // A rendezvous: either it is handed over or it comes back here and is dropped.
            let _ = send.send(locked);
        })
        .map_err(failed)?;
    loop {
        let left = wait.deadline.saturating_duration_since(Instant::now());
        let step = if wait.told { left } else { left.min(QUIET) };
        match receive.recv_timeout(step) {
            Ok(locked) => return locked.map_err(failed),
            Err(RecvTimeoutError::Timeout) if step < left && !wait.told => {
                wait.told = true;
                (wait.tell)(holder());
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(LockError::TimedOut { holder: holder() });
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(failed(io::Error::other("the waiting thread ended")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    #[test]
    fn a_second_taker_waits_and_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path(), 0, "p", soon(60_000), &mut |_| {}).unwrap();
        let mut told = Vec::new();
        let begun = Instant::now();
        let error = Lock::take(folder.path(), 0, "p", soon(3000), &mut |pid| told.push(pid)).unwrap_err();
        assert!(begun.elapsed() >= Duration::from_millis(2900));
        let me = Some(std::process::id());
        assert!(matches!(error, LockError::TimedOut { holder } if holder == me), "{error}");
        assert_eq!(told, [me]);
        assert!(Lock::take(folder.path(), 0, "other", soon(0), &mut |_| {}).is_ok());
        drop(first);
        Lock::take(folder.path(), 0, "p", soon(60_000), &mut |_| {}).unwrap();
    }

    #[test]
    fn a_waiter_wakes_when_the_lock_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path(), 0, "p", soon(0), &mut |_| {}).unwrap();
        let path = folder.path().to_owned();
        let (waits, waiting) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn(move || {
            Lock::take(&path, 0, "p", soon(60_000), &mut |_| waits.send(()).unwrap()).unwrap()
        });
        waiting.recv().unwrap();
        drop(first);
        let _lock = waiter.join().unwrap();
    }

    #[test]
    fn a_lock_on_a_data_file_leaves_it_as_it_is_and_follows_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        assert!(matches!(Lock::on(&path, soon(0)), Err(LockError::Failed(..))), "it is not made");
        let put = |text: &[u8]| files::write_private(&path, text, files::Durable::No).unwrap();
        put(b"12345\n");
        let first = Lock::on(&path, soon(0)).unwrap();
        let error = Lock::on(&path, soon(50)).unwrap_err();
        assert!(matches!(error, LockError::TimedOut { holder: None }), "{error}");
        // The holder replaces the file: whoever comes then locks the new one, and a lock on the old one blocks no one.
        put(b"new\n");
        let second = Lock::on(&path, soon(0)).unwrap();
        drop(first);
        assert!(matches!(Lock::on(&path, soon(50)), Err(LockError::TimedOut { .. })));
        drop(second);
        Lock::on(&path, soon(60_000)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new\n");
    }

    #[test]
    fn a_waiter_that_gave_up_leaves_the_lock_free() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path(), 0, "p", soon(0), &mut |_| {}).unwrap();
        for _ in 0..3 {
            Lock::take(folder.path(), 0, "p", soon(10), &mut |_| {}).unwrap_err();
        }
        drop(first);
        Lock::take(folder.path(), 0, "p", soon(60_000), &mut |_| {}).unwrap();
    }
}
