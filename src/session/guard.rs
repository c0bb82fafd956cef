//! One lock for one session: the lock of a profile in a state folder, and which state folder guards the session that a
//! store's entry holds.

use crate::base::error::{self, Error, Kind};
use crate::host::Host;
use crate::storage::lock::{Lock, LockError};
use crate::system::files::{self, Unsafe};
use crate::token::credentials::Folder;
use std::io;
use std::path::{Path, PathBuf};

/// Everything about the profile `name`, one process at a time: its lock in the state folder `state`.
///
/// # Errors
/// [`Kind::Unavailable`] where another process keeps the lock until `--timeout`; [`Kind::Other`] where there can be
/// no lock: then nothing is asked of the provider either.
pub fn lock(host: &mut Host, state: &Path, name: &str) -> error::Result<Lock> {
    let deadline = host.clock.deadline;
    let unusable = |path: &Path, error: io::Error| {
        let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<Unsafe>()).copied();
        Error::new(Kind::Other, format!("{} cannot be used", path.display()), error.to_string())
            .hint(reason.map_or("see how to mend it: tok doctor".to_string(), |reason| reason.mend(path)))
    };
    files::private_dir(state).map_err(|error| unusable(state, error))?;
    let mut say = |holder: Option<u32>| {
        let who = holder.map_or("another process".to_string(), |pid| format!("process {pid}"));
        host.terminal.tell(&format!("{name}: waiting for {who}…"));
    };
    Lock::take(&state.join("locks"), 1, name, deadline, &mut say).map_err(|error| match error {
        LockError::TimedOut { holder } => {
            let who = holder.map_or("another process".to_string(), |pid| format!("process {pid}"));
            let seconds = crate::base::duration::show(host.clock.timeout.as_secs() as i64);
            Error::new(
                Kind::Unavailable,
                format!("{who} holds the lock"),
                format!("waited {seconds} for it; only one process at a time may ask the provider"),
            )
            .hint(holder.map_or("wait longer with --timeout".into(), |pid| {
                format!("wait longer with --timeout, or see what it is: ps -p {pid}")
            }))
        }
        LockError::Failed(path, error) => unusable(&path, error),
    })
}

/// The state folder `path` as an entry names it; `None` where it is not there, not ours alone, or has a name that is
/// not UTF-8.
pub fn folder(path: &Path) -> Option<Folder> {
    // By whichever links this call came to it, others come to it by its own path.
    let path = std::fs::canonicalize(path).ok()?;
    let (device, inode) = files::own_dir(&path).ok()?;
    Some(Folder { path: path.to_str()?.to_string(), device, inode })
}

/// Which state folder guards a session.
#[derive(Debug, PartialEq)]
pub enum StateFolder {
    /// The call's own.
    Own,
    /// Another, which is there and ours.
    Other(Folder),
    /// The call's own, as the one that the entry names cannot be used: why.
    Unusable(String),
}

/// Which state folder guards a session whose entry names `named`, for a call whose own is `state`.
pub fn place(state: Option<&Path>, named: Option<&Folder>) -> StateFolder {
    let Some(named) = named else {
        return StateFolder::Unusable("the entry in the store names no state folder".into());
    };
    let unusable = |why: &str| StateFolder::Unusable(format!("the state folder of its session, {}, {why}", named.path));
    let path = Path::new(&named.path);
    if !path.is_absolute() {
        return unusable("is not an absolute path");
    }
    let own = state.and_then(folder);
    if own.as_ref().is_some_and(|own| is_same(own, named)) {
        return StateFolder::Own;
    }
    match files::own_dir(path) {
        Ok(numbers) if numbers == (named.device, named.inode) => StateFolder::Other(named.clone()),
        Ok((device, _)) if device != named.device => unusable("is on another device now"),
        Ok(_) => unusable("is another folder now"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => unusable("does not exist"),
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<Unsafe>()) {
            Some(reason) => unusable(&format!("cannot be used: {reason}")),
            None => unusable(&format!("cannot be used: {error}")),
        },
    }
}

/// Whether both are one folder. Where a system has no numbers for folders, their paths say so.
fn is_same(one: &Folder, other: &Folder) -> bool {
    let numbers = |folder: &Folder| (folder.device, folder.inode);
    numbers(one) == numbers(other) && (numbers(one) != (0, 0) || one.path == other.path)
}

/// The lock of a profile in another state folder than the call's own, held.
#[derive(Debug)]
pub struct Elsewhere {
    /// That state folder.
    pub folder: Folder,
    _lock: Lock,
}

impl Elsewhere {
    /// Waits for the lock of the profile `name` in `folder`.
    ///
    /// # Errors
    /// As [`lock`].
    pub fn take(host: &mut Host, folder: Folder, name: &str) -> error::Result<Elsewhere> {
        let lock = lock(host, Path::new(&folder.path), name)?;
        Ok(Elsewhere { folder, _lock: lock })
    }

    /// That state folder.
    pub fn state(&self) -> PathBuf {
        PathBuf::from(&self.folder.path)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_named_folder_guards_a_session_where_it_is_still_the_same_and_ours() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        for name in ["own", "other"] {
            files::private_dir(&at(name)).expect("a folder");
        }
        let own = at("own");
        let named = folder(&at("other")).expect("it is ours");
        let of = |named: &Folder| place(Some(&own), Some(named));
        assert_eq!(of(&named), StateFolder::Other(named.clone()));
        assert_eq!(of(&folder(&own).expect("it is ours")), StateFolder::Own);
        // The same folder by another name: a link to the home, another mount.
        symlink(&own, at("link")).expect("a link");
        let linked = Folder { path: at("link").to_str().expect("UTF-8").into(), ..folder(&own).expect("it is ours") };
        assert_eq!(of(&linked), StateFolder::Own);

        let why = |named: &Folder| match of(named) {
            StateFolder::Unusable(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(&Folder { device: named.device + 1, ..named.clone() }).ends_with("is on another device now"));
        assert!(why(&Folder { inode: named.inode + 1, ..named.clone() }).ends_with("is another folder now"));
        assert!(why(&Folder { path: "other".into(), ..named.clone() }).contains("absolute"));
        std::fs::set_permissions(at("other"), std::fs::Permissions::from_mode(0o777)).expect("our own");
        assert!(why(&named).contains("others have access"));
        std::fs::rename(at("other"), at("moved")).expect("our own");
        assert!(why(&named).ends_with("does not exist"));
        symlink(at("moved"), at("other")).expect("a link");
        assert!(why(&named).contains("symbolic link"));
        assert!(matches!(place(Some(&own), None), StateFolder::Unusable(_)));
    }
}
