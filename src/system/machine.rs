//! What this machine is called.

/// Its name in its network, for messages to people: nothing is decided by it.
#[cfg(unix)]
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Its name in its network, for messages to people: nothing is decided by it.
#[cfg(not(unix))]
pub fn name() -> String {
    "another machine".into()
}
