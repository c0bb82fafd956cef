//! Where the session bus is: by the environment, and at its usual place.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::ffi::OsStr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The variable with the address of the session bus.
pub const ADDRESS: &str = "DBUS_SESSION_BUS_ADDRESS";
/// The variable with the user's runtime folder.
pub const RUNTIME: &str = "XDG_RUNTIME_DIR";

/// What a person is told where there is neither: [`address`] says how that was found out.
pub const NO_SESSION: &str = "no desktop session was found, and the keyring is part of one";

/// Bytes that stand for themselves in the value of an address (D-Bus specification, "Server Addresses").
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'/').remove(b'\\').remove(b'*').remove(b'.');

/// Where a login session has its folder for sockets (`file-hierarchy(7)`): for cron, services and `su`, where
/// `XDG_RUNTIME_DIR` is not set, or is another user's.
const RUNTIME_FOLDERS: &str = "/run/user";

/// The addresses at which the session bus of the user who runs this is looked for, in the form of
/// `DBUS_SESSION_BUS_ADDRESS`: those of that variable, then the socket `bus` in the user's runtime folder. The first
/// that can be connected to is taken, so that a variable of a session that has ended (in tmux, in screen) does no harm.
///
/// # Errors
/// If there is none, or the variable names anything but a socket of this machine: on TCP secrets would cross the
/// network in the clear, and `unixexec:` runs a program.
pub fn address(variable: Option<&OsStr>, runtime: Option<&OsStr>) -> Result<String, String> {
    address_of(rustix::process::geteuid().as_raw(), variable, runtime)
}

/// The first address in `variable`, as `DBUS_SESSION_BUS_ADDRESS`, where it is a socket that none can connect to: of a
/// session that has ended. Those behind it may be what [`address`] has added.
pub fn dead_address(variable: &OsStr) -> Option<&str> {
    let first = variable.to_str()?.split(';').find(|one| !one.is_empty())?;
    let socket = std::os::unix::net::UnixStream::connect(path_of(first)?);
    socket.is_err().then_some(first)
}

/// The path of a `unix:path=…`; `None` for any other address.
fn path_of(address: &str) -> Option<String> {
    let keys = address.strip_prefix("unix:")?;
    let path = keys.split(',').find_map(|key| key.strip_prefix("path="))?;
    percent_encoding::percent_decode_str(path).decode_utf8().ok().map(|path| path.into_owned())
}

fn address_of(uid: u32, variable: Option<&OsStr>, runtime: Option<&OsStr>) -> Result<String, String> {
    let folder = Path::new(RUNTIME_FOLDERS).join(uid.to_string());
    let folders = [runtime.filter(|folder| !folder.is_empty()).map(Path::new), Some(&folder)];
    let own = folders.into_iter().flatten().find_map(|folder| socket_in(folder, uid));
    let Some(variable) = variable.filter(|variable| !variable.is_empty()) else {
        return own.ok_or_else(|| {
            format!(
                "DBUS_SESSION_BUS_ADDRESS is not set, and no session bus was found in {RUNTIME_FOLDERS}/{uid}{}",
                if runtime.is_some() { " or XDG_RUNTIME_DIR" } else { "" }
            )
        });
    };
    let named: Option<Vec<&str>> =
        variable.to_str().map(|text| text.split(';').filter(|one| !one.is_empty()).collect());
    match named {
        Some(mut all) if !all.is_empty() && all.iter().all(|one| one.starts_with("unix:")) => {
            if let Some(own) = own.as_deref().filter(|own| !all.contains(own)) {
                all.push(own);
            }
            Ok(all.join(";"))
        }
        _ => Err("DBUS_SESSION_BUS_ADDRESS does not name a local socket (unix:...), the only kind that is supported"
            .to_owned()),
    }
}

/// The address of the socket `bus` in `folder`, if it is there and is the user's.
fn socket_in(folder: &Path, uid: u32) -> Option<String> {
    let socket = folder.join("bus");
    let data = std::fs::symlink_metadata(&socket).ok()?;
    let is_own = data.file_type().is_socket() && data.uid() == uid;
    is_own.then(|| Some(format!("unix:path={}", utf8_percent_encode(socket.to_str()?, ESCAPED))))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    const NOBODY: u32 = 4_294_967_294;

    fn of(variable: &str) -> Result<String, String> {
        address_of(NOBODY, Some(OsStr::new(variable)), None)
    }

    #[test]
    fn only_sockets_of_this_machine_are_used() {
        for local in ["unix:path=/run/tcp:host", "unix:abstract=x,guid=00", "unix:path=/a;unix:path=/b"] {
            assert_eq!(of(local).as_deref(), Ok(local));
        }
        for other in [
            "tcp:host=127.0.0.1,port=1",
            "nonce-tcp:host=x",
            "unixexec:path=ssh,argv1=host",
            "unix:path=/run/bus;tcp:host=x,port=2",
            "unix:path=/run/bus;unixexec:path=/bin/sh",
            "autolaunch:",
            "launchd:env=X",
            " unix:path=/a",
            "nonsense",
            ";",
        ] {
            let error = of(other).unwrap_err();
            assert!(error.contains("DBUS_SESSION_BUS_ADDRESS"), "{other}: {error}");
        }
        assert!(of("").unwrap_err().contains("is not set"));
    }

    #[test]
    fn the_user_s_own_socket_comes_after_what_the_variable_names() {
        let me = rustix::process::geteuid().as_raw();
        let folder = tempfile::Builder::new().prefix("a b;").tempdir().unwrap();
        let find = |variable: &str, uid| address_of(uid, Some(OsStr::new(variable)), Some(folder.path().as_os_str()));
        assert_eq!(find("unix:path=/a", NOBODY).unwrap(), "unix:path=/a");
        std::fs::write(folder.path().join("bus"), "").unwrap();
        assert_eq!(socket_in(folder.path(), me), None);
        std::fs::remove_file(folder.path().join("bus")).unwrap();
        let _listener = UnixListener::bind(folder.path().join("bus")).unwrap();
        let own = socket_in(folder.path(), me).unwrap();
        assert!(own.starts_with("unix:path=/") && own.ends_with("/bus") && own.contains("a%20b%3B"), "{own}");
        assert_eq!(find("", me).unwrap(), own);
        let both = format!("unix:path=/a;{own}");
        assert_eq!(find("unix:path=/a", me).unwrap(), both);
        assert_eq!(find(&both, me).unwrap(), both, "nothing is added twice");
        assert!(find("tcp:host=x", me).is_err(), "what is set is not passed over");
        assert_eq!(find("unix:path=/a", NOBODY).unwrap(), "unix:path=/a", "another user's");
    }
}
