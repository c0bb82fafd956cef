//! What the system says of itself: processes, file systems, where this program is. Nothing is changed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// This machine's name in its network, for messages to people: nothing is decided by it.
pub fn name() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    return "another machine".into();
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It is there.
    There,
    /// It is there, and stopped: it does nothing until it is continued (`Ctrl-Z`, a debugger).
    Stopped,
    /// There is no such process.
    Gone,
}

/// What the process `pid` does. Where a system does not say whether one is stopped, it is there.
pub fn process_state(pid: u32) -> ProcessState {
    #[cfg(unix)]
    {
        let known = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        // Without the right to signal it, it is there too.
        let is_there = known.is_some_and(
            |pid| !matches!(rustix::process::test_kill_process(pid), Err(error) if error == rustix::io::Errno::SRCH),
        );
        if !is_there {
            return ProcessState::Gone;
        }
        // proc_pid_stat(5): the state stands behind the name, which is in parentheses and may hold any character.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        match stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes().first().copied()) {
            Some(Some(b'T' | b't')) => ProcessState::Stopped,
            Some(Some(b'Z' | b'X')) => ProcessState::Gone,
            _ => ProcessState::There,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = pid;
        ProcessState::There
    }
}

/// The kind of the file system that `path` is on, where that is one over the network: `NFS`, `SMB`.
pub fn network_file_system(path: &Path) -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    {
        let about = rustix::fs::statfs(path).ok()?;
        // Its width differs between architectures; a magic number is a pattern of 32 bits.
        #[allow(clippy::unnecessary_cast)]
        network_kind(about.f_type as u32)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

/// The file systems over the network, by the magic numbers of statfs(2).
#[cfg(any(target_os = "linux", test))]
fn network_kind(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("SMB"),
        0x5346_414f => Some("AFS"),
        0x00c3_6400 => Some("Ceph"),
        _ => None,
    }
}

/// The file of this program.
pub fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Whether `folder` is one of those in `path`, as `PATH` has them; links are followed.
pub fn is_on_path(folder: &Path, path: &OsStr) -> bool {
    let real = |folder: &Path| std::fs::canonicalize(folder).unwrap_or(folder.to_path_buf());
    let wanted = real(folder);
    std::env::split_paths(path).any(|one| one.is_absolute() && real(&one) == wanted)
}

/// By how many seconds the newest of the files in `folder` is ahead of `now` (seconds since 1970); `None` where none is.
pub fn newest_ahead(folder: &Path, now: i64) -> Option<i64> {
    let entries = std::fs::read_dir(folder).ok()?;
    let changed = entries.flatten().filter_map(|entry| {
        let time = entry.metadata().ok()?.modified().ok()?;
        i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()
    });
    changed.max().map(|newest| newest - now).filter(|ahead| *ahead > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_over_the_network_are_known_by_their_numbers() {
        assert_eq!(network_kind(0x6969), Some("NFS"));
        assert_eq!(network_kind(0xfe53_4d42), Some("SMB"));
        // ext4, tmpfs, overlayfs
        for local in [0xef53, 0x0102_1994, 0x794c_7630] {
            assert_eq!(network_kind(local), None);
        }
        assert_eq!(network_file_system(Path::new("/proc")), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_process_is_there_or_gone() {
        assert_eq!(process_state(std::process::id()), ProcessState::There);
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let pid = child.id();
        child.wait().expect("its end");
        assert_eq!(process_state(pid), ProcessState::Gone);
        assert_eq!(process_state(0), ProcessState::Gone);
    }
}
