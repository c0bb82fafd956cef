//! What a process does before and around everything else: its streams, its memory, its bus.
#![cfg_attr(
    all(unix, not(target_os = "macos")),
    expect(clippy::disallowed_methods, reason = "a process begins here: nothing else runs yet")
)]

/// The bus that the environment named before [`find_bus`] put another there.
#[cfg(all(unix, not(target_os = "macos")))]
static BUS_BEFORE: std::sync::OnceLock<Option<std::ffi::OsString>> = std::sync::OnceLock::new();

/// The environment `env`, as it was when the process began.
pub fn as_before<'e>(
    env: impl Iterator<Item = (&'e std::ffi::OsString, &'e std::ffi::OsString)>,
) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let env = env.map(|(name, value)| (name.clone(), value.clone()));
    #[cfg(all(unix, not(target_os = "macos")))]
    if let Some(before) = BUS_BEFORE.get() {
        let name = super::bus::ADDRESS;
        let bus = before.clone().map(|value| (name.into(), value));
        return env.filter(|(is, _)| is != name).chain(bus).collect();
    }
    env.collect()
}

/// Tells libdbus where the user's bus may be: it takes the address from the environment alone, and the one there may be
/// missing (cron, services) or of a session that has ended (tmux).
///
/// Called by `main` alone, before anything else runs: the environment may only be changed while no other thread
/// can look at it.
#[allow(unsafe_code)]
pub fn find_bus() {
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        use super::bus;
        let (address, runtime) = (std::env::var_os(bus::ADDRESS), std::env::var_os(bus::RUNTIME));
        if let Ok(found) = bus::address(address.as_deref(), runtime.as_deref())
            && address.as_deref() != Some(found.as_ref())
        {
            let _ = BUS_BEFORE.set(address.clone());
            // SAFETY: `main` calls this first; no other thread has been started.
            unsafe { std::env::set_var(bus::ADDRESS, found) };
        }
    }
}

/// Writes a whole line to stdout, unbuffered. A closed stdout is not an error; a full disk
/// is, and returns `false`: the full path reports it.
#[cfg(unix)]
pub fn put(mut line: &[u8]) -> bool {
    use rustix::io::Errno;
    while !line.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), line) {
            Ok(0) => return false,
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::PIPE) => return true,
            Err(_) => return false,
        }
    }
    true
}

/// Waits until stdout takes something, as a pipe that is full does not.
pub fn wait_for_stdout() {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, poll};
        let stdout = rustix::stdio::stdout();
        while poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None) == Err(rustix::io::Errno::INTR) {}
    }
}

/// Opens the null device for each of the three streams that is closed: else a file of ours would take its number, and
/// be written to as the terminal.
#[cfg(unix)]
pub fn open_streams() {
    use rustix::{fs, io, stdio};
    for stream in [stdio::stdin(), stdio::stdout(), stdio::stderr()] {
        if io::fcntl_getfd(stream) == Err(io::Errno::BADF)
            && let Ok(null) = fs::open("/dev/null", fs::OFlags::RDWR, fs::Mode::empty())
        {
            // The lowest free number is this stream's. It stays open.
            std::mem::forget(null);
        }
    }
}

/// Keeps what is in memory out of core dumps and from other processes of the user.
pub fn protect() {
    #[cfg(target_os = "linux")]
    {
        // A kernel that does not know it leaves things as they were.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
    #[cfg(all(unix, not(target_os = "linux")))]
    {
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    }
}
