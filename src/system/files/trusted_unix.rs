//! The way to a file that decides where secrets go, folder by folder and link by link.

use super::Numbers;
use super::sys::{FILE, Handle, is_ours, kind_of, look, mode_of, numbers_of};
use super::trusted::{Fault, Part, Untrusted};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A folder that is passed through need not be readable.
#[cfg(target_os = "linux")]
const THROUGH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const THROUGH: OFlags = super::sys::FOLDER;

/// How many links may lead to a file, as for the system itself.
const LINKS: usize = 40;

/// Opens what may be a link. What counts is who can change the file, its folder, and the folders of the links.
pub fn open_trusted(path: &Path) -> io::Result<Result<(File, Numbers), Untrusted>> {
    let mut rest: Vec<OsString> = Vec::new();
    let push = |rest: &mut Vec<OsString>, path: &Path| {
        rest.extend(path.components().rev().filter_map(|part| match part {
            std::path::Component::RootDir | std::path::Component::CurDir => None,
            part => Some(part.as_os_str().to_owned()),
        }));
    };
    push(&mut rest, path);
    let start = |path: &Path| rustix::fs::open(if path.is_absolute() { "/" } else { "." }, THROUGH, Mode::empty());
    let mut folder = start(path)?;
    let mut shown = PathBuf::from(if path.is_absolute() { "/" } else { "." });
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let name = Path::new(&name);
        if name == Path::new("..") {
            folder = rustix::fs::openat(&folder, "..", THROUGH, Mode::empty())?;
            shown.push("..");
            continue;
        }
        let stat = look(folder.as_fd(), name)?;
        if kind_of(&stat) == FileType::Symlink {
            if let Some(fault) = of_folder(&folder, &stat)? {
                return Ok(Err(fault.at(Part::Link, &shown)));
            }
            links += 1;
            if links > LINKS {
                return Err(Errno::LOOP.into());
            }
            let to = rustix::fs::readlinkat(&folder, name, Vec::new())?;
            let to = Path::new(OsStr::from_bytes(to.to_bytes()));
            // One of the links of /proc, whose text is none: it leads to a file that is open already.
            if to.is_absolute() {
                folder = start(to)?;
                shown = PathBuf::from("/");
            }
            push(&mut rest, to);
            continue;
        }
        if !rest.is_empty() {
            folder = rustix::fs::openat(&folder, name, THROUGH | OFlags::NOFOLLOW, Mode::empty())?;
            shown.push(name);
            continue;
        }
        let file = File::from(rustix::fs::openat(&folder, name, OFlags::RDONLY | FILE, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        let mode = mode_of(&stat);
        let fault = match () {
            () if kind_of(&stat) != FileType::RegularFile => Some(Fault::NotAFile),
            () if !is_ours(&stat) && stat.st_uid != 0 => Some(Fault::Owner),
            () if mode & 0o022 != 0 => Some(Fault::Mode(mode, is_ours(&stat))),
            () => None,
        };
        if let Some(fault) = fault {
            return Ok(Err(fault.at(Part::File, &shown.join(name))));
        }
        if let Some(fault) = of_folder(&folder, &stat)? {
            return Ok(Err(fault.at(Part::Folder, &shown)));
        }
        return Ok(Ok((file, numbers_of(&stat))));
    }
    Err(Errno::ISDIR.into())
}

/// What is wrong with the folder of something, `of`, that is trusted.
fn of_folder(folder: &Handle, of: &Stat) -> io::Result<Option<Fault>> {
    let stat = rustix::fs::fstat(folder)?;
    let mode = mode_of(&stat);
    if !is_ours(&stat) && stat.st_uid != 0 {
        return Ok(Some(Fault::Owner));
    }
    if mode & 0o022 == 0 {
        return Ok(None);
    }
    // In a sticky folder, /tmp or /nix/store, no one else can replace what is this user's or root's. What a second name
    // (a hard link) planted there leads to may be another file than was meant.
    let is_kept = mode & 0o1000 != 0
        && (is_ours(of) || of.st_uid == 0)
        && (mode & 0o002 == 0 || of.st_nlink == 1 || kind_of(of) == FileType::Symlink);
    // Nobody can write there whatever the mode: a volume of Kubernetes is 0777, and mounted read-only.
    let is_read_only = || {
        let flags = rustix::fs::fstatvfs(folder).map(|about| about.f_flag);
        flags.is_ok_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    };
    Ok((!is_kept && !is_read_only()).then_some(Fault::Mode(mode, is_ours(&stat))))
}
