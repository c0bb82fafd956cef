//! Folders and files of `tok`: whose they are, whether something fits in, locks, file times.

use super::{Finding, Visit, quoted};
use crate::storage::choice::StoreChoice;
use crate::storage::lock::{self, LockState};
use crate::system::files::{self, Dir, ReadError, Target, Unsafe};
use crate::system::machine::{self, ProcessState};
use std::io;
use std::path::{Path, PathBuf};

/// Whether there is a home, and whether it is this user's.
pub(super) fn home(visit: &mut Visit) -> Vec<Finding> {
    let home = match visit.host.folders() {
        Ok(folders) => folders.home.clone(),
        Err(error) => {
            let hint = error.hint.clone().unwrap_or_default();
            return vec![Finding::error(error.what, error.why, hint)];
        }
    };
    if files::is_of_another(&home) {
        let what = format!("the home folder {}", home.display());
        let hint = match visit.host.is_sudo() {
            true => "run tok with sudo -H, so that root uses its own config and tokens".to_string(),
            false => "set HOME to a folder of yours".to_string(),
        };
        return vec![Finding::error(what, "it belongs to another user", hint)];
    }
    Vec::new()
}

fn reason(error: &io::Error) -> Option<Unsafe> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Unsafe>()).copied()
}

/// A folder or file that cannot be used.
fn unusable(path: &Path, error: &io::Error) -> Finding {
    let hint = match reason(error) {
        Some(reason) => reason.mend(path),
        None => format!("look at it: ls -ld {}", quoted(path)),
    };
    Finding::error(path.display().to_string(), files::why(error), hint)
}

/// Whether the folders for tokens, index, locks and secrets, and what is in them, are this user's alone.
pub(super) fn own_folders(visit: &mut Visit) -> Vec<Finding> {
    let Ok(folders) = visit.host.folders() else { return Vec::new() };
    let mut findings = Vec::new();
    for root in [&folders.state, &folders.data] {
        // Reading what is in a folder that is not ours would say the same again.
        match Dir::open(root, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                findings.push(unusable(root, &error));
                continue;
            }
            Ok(_) => {}
        }
        for below in ["cache", "kept", "locks", "journal", "metadata"] {
            if root == &folders.state {
                look_into(&root.join(below), 1, &mut findings);
            }
        }
    }
    if let Ok(cache) = Dir::open(&folders.state.join("cache"), 1) {
        let names = cache.names().unwrap_or_default();
        names.iter().for_each(|name| look_into(&folders.state.join("cache").join(name), 2, &mut findings));
    }
    findings
}

/// What is wrong with the folder `path` and the files in it.
fn look_into(path: &Path, below: usize, findings: &mut Vec<Finding>) {
    let dir = match Dir::open(path, below) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return findings.push(unusable(path, &error)),
    };
    for name in dir.names().unwrap_or_default() {
        let file = path.join(&name);
        if file.symlink_metadata().is_ok_and(|about| about.is_dir()) {
            continue;
        }
        let read = name.to_str().map(|name| dir.read(name, 4 << 20));
        if let Some(Err(ReadError::Unsafe(reason))) = read {
            // A file of the cache or the index that others could change is not believed, and replaced.
            findings.push(Finding::error(file.display().to_string(), reason.to_string(), reason.mend(&file)));
        }
    }
}

/// How much must fit into a folder, in bytes: a token of the longest kind and what is said of it.
const ROOM: u64 = 256 << 10;

/// Whether a file can be written where one must be.
pub(super) fn room(visit: &mut Visit) -> Vec<Finding> {
    let Ok(folders) = visit.host.folders() else { return Vec::new() };
    let keeps_file = visit.profiles().any(|(_, profile)| profile.store == StoreChoice::File)
        || visit.setup.config.settings.store == Some(StoreChoice::File);
    let mut findings = Vec::new();
    let config = visit.setup.config_path.parent().map(Path::to_path_buf);
    for (folder, for_what, is_needed) in [
        (Some(folders.state.clone()), "tokens and locks", true),
        (Some(folders.data.clone()), "the file store", keeps_file),
        (config, "the config", false),
    ] {
        let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) else { continue };
        let Err(error) = try_to_write(&folder) else { continue };
        // What is not ours alone is told by `own_folders`.
        if reason(&error).is_some() {
            continue;
        }
        let what = format!("nothing can be written to {}", folder.display());
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!("make room: df -h {}", quoted(&existing(&folder)))
            }
            io::ErrorKind::FileTooLarge => "raise the limit on the size of files: ulimit -f unlimited".to_string(),
            io::ErrorKind::ReadOnlyFilesystem if for_what == "the config" => {
                "edit the config by hand instead of with `tok login`, or name another file: TOK_CONFIG".into()
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                format!(
                    "set {} to a folder that can be written",
                    if for_what == "the file store" { "XDG_DATA_HOME" } else { "XDG_STATE_HOME" }
                )
            }
            _ => format!("give yourself access: ls -ld {}", quoted(&existing(&folder))),
        };
        let why = format!("{} (it is for {for_what})", files::why(&error));
        findings.push(match is_needed {
            true => Finding::error(what, why, hint),
            false => Finding::warning(what, why, hint),
        });
    }
    findings
}

/// The folder, or the nearest above it that is there.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(folder).to_path_buf()
}

/// Makes room for a file in `folder`, or in the nearest above it that is there, and gives it back.
fn try_to_write(folder: &Path) -> io::Result<()> {
    Target::config(&existing(folder).join("tok-doctor"), ROOM).map(drop)
}

/// Whether somebody holds a lock, and who.
pub(super) fn locks(visit: &mut Visit) -> Vec<Finding> {
    let Ok(folders) = visit.host.folders() else { return Vec::new() };
    let folder = folders.state.join("locks");
    let mut names = Dir::open(&folder, 1).and_then(|dir| dir.names()).unwrap_or_default();
    names.sort();
    let mut findings = Vec::new();
    for name in names {
        let path = folder.join(&name);
        let Some(name) = name.to_str().filter(|name| name.ends_with(".lock")) else { continue };
        let profile = name.trim_end_matches(".lock");
        let of = if profile.starts_with('_') { "the config".to_string() } else { profile.to_string() };
        match lock::look(&folder, 1, name) {
            Ok(LockState::Held(Some(pid))) if machine::process_state(pid) == ProcessState::Stopped => {
                let why = format!("process {pid} holds it and is stopped: every call for {of} waits");
                findings.push(Finding::error(
                    path.display().to_string(),
                    why,
                    format!("continue it: kill -CONT {pid}"),
                ));
            }
            Ok(LockState::Held(Some(pid))) => {
                let why = format!("process {pid} holds it, and calls for {of} wait");
                findings.push(Finding::warning(
                    path.display().to_string(),
                    why,
                    format!("see what it is: ps -p {pid}"),
                ));
            }
            Ok(LockState::Held(None)) => {
                let why = format!("a process holds it, and calls for {of} wait");
                let hint = format!("see which: fuser -v {}", quoted(&path));
                findings.push(Finding::warning(path.display().to_string(), why, hint));
            }
            Ok(LockState::Left(pid)) if machine::process_state(pid) == ProcessState::Gone => {
                let why = format!("left by process {pid}, which was killed; no call waits for it");
                findings.push(Finding::warning(
                    path.display().to_string(),
                    why,
                    format!("remove it: rm {}", quoted(&path)),
                ));
            }
            Ok(LockState::Left(_) | LockState::Free) => {}
            // What is not ours alone is told by `own_folders`.
            Err(error) if reason(&error).is_some() => {}
            Err(error) => {
                let hint = "put the state folder on a file system with locks: set XDG_STATE_HOME";
                findings.push(Finding::error(path.display().to_string(), files::why(&error), hint));
            }
        }
    }
    findings
}

/// Whether locks lie on a file system over the network.
pub(super) fn network_file_system(visit: &mut Visit) -> Vec<Finding> {
    let Ok(folders) = visit.host.folders() else { return Vec::new() };
    match machine::network_file_system(&existing(&folders.state)) {
        Some(kind) => vec![Finding::warning(
            format!("the state folder {}", folders.state.display()),
            format!("it is on {kind}, where a lock may not hold on other machines: two may renew a session at once"),
            "set XDG_STATE_HOME to a folder on a disk of this machine",
        )],
        None => Vec::new(),
    }
}

/// How far a file may be ahead of the clock, in seconds: servers of files have clocks of their own.
const AHEAD: i64 = 300;

/// Whether this machine's clock has gone backwards: by the files that were written before.
pub(super) fn clock(visit: &mut Visit) -> Vec<Finding> {
    let Ok(folders) = visit.host.folders() else { return Vec::new() };
    let now = visit.host.clock.now().secs();
    let places = ["kept", "locks"].map(|name| folders.state.join(name));
    let places = places.iter().chain([&folders.config, &folders.data]);
    let ahead = places.filter_map(|folder| machine::newest_ahead(folder, now)).max();
    match ahead.filter(|ahead| *ahead > AHEAD) {
        Some(ahead) => vec![Finding::error(
            "this machine's clock",
            format!("a file of tok is {} ahead of it", crate::base::duration::show(ahead)),
            "set the clock, or compare it with the servers': tok doctor --online",
        )],
        None => Vec::new(),
    }
}
