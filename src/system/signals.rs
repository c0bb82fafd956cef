//! INT, TERM and HUP: they end the process at once, except while a token is on its way from server to store.
//!
//! The handler itself decides, by one atomic word: no thread has to be scheduled first, so that a signal that came
//! before the answer was written always is the end of the process. What ends with it is here too: the groups of child
//! processes, and a terminal that was lent to one of them or that does not echo.

use std::sync::atomic::{AtomicU32, Ordering};

/// What the handler and the holds agree by: how many holds of each kind there are, the signal that waits, and how far
/// the answer is.
static STATE: AtomicU32 = AtomicU32::new(0);

/// A hold that a second signal breaks.
const PLAIN: u32 = 1;
/// A hold that no signal breaks: a refresh token may be spent.
const ROTATING: u32 = 1 << 8;
/// A brief hold that is not reported: a child's group is recorded, a terminal changes hands.
const BRIEF: u32 = 1 << 16;
/// All holds.
const HELD: u32 = (1 << 24) - 1;
/// Where the number of the pending signal is.
const PENDING: u32 = 24;
/// The answer is being written.
const ANSWERING: u32 = 1 << 29;
/// The answer is out.
const ANSWERED: u32 = 1 << 30;
/// The end of the process has been decided.
const DYING: u32 = 1 << 31;

/// While this lives, signals wait.
pub struct Hold(u32);

/// What would be lost if a signal ended the process now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stake {
    /// Time alone: a second signal ends the wait.
    Time,
    /// A session, since its refresh token may be spent: not even a second signal ends the wait.
    Session,
}

/// Makes signals wait.
pub fn hold(stake: Stake) -> Hold {
    begin(match stake {
        Stake::Time => PLAIN,
        Stake::Session => ROTATING,
    })
}

/// Makes signals wait briefly; nothing else is waited for meanwhile.
#[cfg(unix)]
pub fn brief() -> Hold {
    begin(BRIEF)
}

/// Makes signals wait while the answer is written. One that came before has ended the process.
pub fn answering() -> Hold {
    begin(PLAIN + ANSWERING)
}

fn begin(kind: u32) -> Hold {
    let before = STATE.fetch_add(kind, Ordering::SeqCst);
    if before & DYING != 0 {
        wait_for_the_end();
    }
    Hold(kind)
}

impl Drop for Hold {
    fn drop(&mut self) {
        let after = STATE.fetch_sub(self.0, Ordering::SeqCst).wrapping_sub(self.0);
        let signal = pending(after);
        if after & DYING != 0 {
            wait_for_the_end();
        }
        if after & HELD == 0 && signal != 0 {
            if STATE.fetch_or(DYING, Ordering::SeqCst) & DYING != 0 {
                wait_for_the_end();
            }
            die(signal);
        }
    }
}

/// The answer is out: a signal that comes now, or came while it was written, no longer makes a failure of it.
pub fn answered(hold: Hold) {
    if STATE.fetch_or(ANSWERED, Ordering::SeqCst) & DYING != 0 {
        wait_for_the_end();
    }
    std::mem::forget(hold);
}

/// Whether something is on its way that a signal waits for.
pub fn is_held() -> bool {
    STATE.load(Ordering::SeqCst) & HELD & !(BRIEF * 0xff) != 0
}

fn pending(state: u32) -> i32 {
    ((state >> PENDING) & 0x1f) as i32
}

/// The handler, in whichever thread it runs, has decided: nothing that matters may begin any more.
fn wait_for_the_end() -> ! {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// Lets a write beyond `ulimit -f` fail as on a full disk: it is not to end the process between server and store.
pub fn let_writes_fail() {
    #[cfg(unix)]
    let _ = signal_hook::flag::register(
        signal_hook::consts::SIGXFSZ,
        std::sync::Arc::<std::sync::atomic::AtomicBool>::default(),
    );
}

/// Ends the process as Ctrl-C would: a prompt without echo reads the key itself.
pub fn interrupt() -> ! {
    if STATE.fetch_or(DYING, Ordering::SeqCst) & DYING != 0 {
        wait_for_the_end();
    }
    die(2)
}

#[cfg(unix)]
pub use unix::{Companion, Group, Lending, give_stdin_back, lend, listen, reads_keys, reads_lines, stop, take_back};

#[cfg(windows)]
pub use windows::{give_stdin_back, listen};

#[cfg(unix)]
use unix::{die, tell};
#[cfg(windows)]
use windows::{die, tell};

/// Decides what a signal does. Runs as a signal handler, in any thread, at any instant; on Windows in a thread of its own.
fn handle(signal: i32) {
    let mut state = STATE.load(Ordering::SeqCst);
    loop {
        if state & (DYING | ANSWERED) != 0 {
            return;
        }
        let again = pending(state) != 0;
        let is_breakable = state & ((ROTATING + BRIEF) * 0xff) == 0;
        let ends = state & HELD == 0 || (again && is_breakable);
        let noted = (state & !(0x1f << PENDING)) | ((signal as u32) << PENDING);
        let next = if ends { state | DYING } else { noted };
        match STATE.compare_exchange_weak(state, next, Ordering::SeqCst, Ordering::SeqCst) {
            Err(now) => state = now,
            Ok(_) if ends => die(signal),
            Ok(_) => {
                if !again && state & ANSWERING == 0 && is_held() {
                    tell(b"tok: waiting for a token that is on its way; will exit once it is stored\n");
                }
                return;
            }
        }
    }
}

#[cfg(unix)]
mod unix {
    use super::{brief, handle};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, Signal, getpgrp, kill_current_process_group, kill_process, kill_process_group};
    use rustix::termios::{
        OptionalActions, QueueSelector, Termios, isatty, tcflush, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp,
    };
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
    use std::sync::{Once, OnceLock};

    /// The groups of child processes that end with the process; 0 is a free place.
    static GROUPS: [AtomicI32; 16] = [const { AtomicI32::new(0) }; 16];
    /// How the terminal on stdin was before anything asked there.
    static STDIN: OnceLock<Termios> = OnceLock::new();
    /// Whether it is read key by key.
    static KEYS: AtomicBool = AtomicBool::new(false);
    /// The controlling terminal, if there is one, and how it was before it was lent.
    static TERMINAL: OnceLock<Option<(OwnedFd, Termios)>> = OnceLock::new();
    /// A child process that gets a signal that ends this one; 0 is none.
    static COMPANION: AtomicI32 = AtomicI32::new(0);
    /// The group that has the terminal in our place; 0 is none.
    static LENT: AtomicI32 = AtomicI32::new(0);

    /// Begins to listen for signals; once is enough.
    #[allow(unsafe_code)]
    pub fn listen() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            if let Ok(modes) = tcgetattr(rustix::stdio::stdin()) {
                let _ = STDIN.set(modes);
            }
            // `nohup` and the like: what was ignored from the start stays so.
            for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)) {
                // SAFETY: all that `handle` does may be done in a signal handler: atomics, and system calls that POSIX
                // lists as async-signal-safe (signal-safety(7)). It takes no lock and no memory, and never unwinds.
                let _ = unsafe { signal_hook::low_level::register(signal, move || handle(signal)) };
            }
        });
    }

    #[allow(unsafe_code)]
    fn is_ignored(signal: i32) -> bool {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: without a new action the call only writes the present one, whole where it succeeds.
        let action = unsafe {
            let asked = libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
            (asked == 0).then(|| action.assume_init())
        };
        action.is_some_and(|action| action.sa_sigaction == libc::SIG_IGN)
    }

    /// Tells a waiting person, unless their terminal is blocked: nothing here may sleep.
    pub(super) fn tell(text: &[u8]) {
        let stderr = rustix::stdio::stderr();
        let mut room = [PollFd::new(&stderr, PollFlags::OUT)];
        if isatty(stderr)
            && poll(&mut room, Some(&Timespec::default())) == Ok(1)
            && room.iter().all(|fd| fd.revents().contains(PollFlags::OUT))
        {
            let _ = rustix::io::write(stderr, text);
        }
    }

    /// Ends the process as the signal would have, so that a shell's loop ends too. May run in the handler.
    pub(super) fn die(signal: i32) -> ! {
        for place in &GROUPS {
            if let Some(group) = Pid::from_raw(place.load(Ordering::SeqCst)) {
                end_group(group);
            }
        }
        if let (Some(child), Some(signal)) =
            (Pid::from_raw(COMPANION.load(Ordering::SeqCst)), Signal::from_named_raw(signal))
        {
            let _ = kill_process(child, signal);
        }
        give_terminal_back();
        give_stdin_back();
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        signal_hook::low_level::exit(128 + signal);
    }

    /// From now on stdin is read key by key: whatever ends the process throws away what was typed and not taken.
    pub fn reads_keys() {
        KEYS.store(true, Ordering::SeqCst);
    }

    /// From now on stdin is read by lines again.
    pub fn reads_lines() {
        KEYS.store(false, Ordering::SeqCst);
    }

    /// Leaves the terminal on stdin as it was found. May run in the handler.
    pub fn give_stdin_back() {
        let stdin = rustix::stdio::stdin();
        // A prompt without echo must not leave the terminal so. In the background it is not ours to change.
        let Some(modes) = STDIN.get() else { return };
        if tcgetpgrp(stdin).map_or(true, |group| group == getpgrp()) {
            if KEYS.load(Ordering::SeqCst) {
                let _ = tcflush(stdin, QueueSelector::IFlush);
            }
            let _ = tcsetattr(stdin, OptionalActions::Now, modes);
        }
    }

    /// Asks all processes of a group to end; those that are stopped have to go on to hear it.
    fn end_group(group: Pid) {
        let _ = kill_process_group(group, Signal::TERM);
        let _ = kill_process_group(group, Signal::CONT);
    }

    /// The group of a child process. While this lives, a signal that ends the process ends the group.
    pub struct Group(Pid);

    impl Group {
        /// The group that the child process `id` leads. To be made in the [`brief`] hold in which it was started, and
        /// to be dropped in one before the child is waited for: later the number may be another's.
        pub fn of(id: u32) -> Option<Group> {
            let group = Pid::from_raw(i32::try_from(id).ok()?)?;
            let take = |place: &&AtomicI32| {
                place.compare_exchange(0, group.as_raw_pid(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
            };
            // If all places are taken the group is not signalled; nothing here runs so many at once.
            let _ = GROUPS.iter().find(take);
            Some(Group(group))
        }

        /// Its number, which is that of the child that leads it.
        pub fn id(&self) -> Pid {
            self.0
        }

        /// Asks all of its processes to end.
        pub fn end(&self) {
            end_group(self.0);
        }

        /// Ends all of its processes.
        pub fn kill(&self) {
            let _ = kill_process_group(self.0, Signal::KILL);
        }

        /// Lets its processes go on that were stopped.
        pub fn resume(&self) {
            let _ = kill_process_group(self.0, Signal::CONT);
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            for place in &GROUPS {
                let _ = place.compare_exchange(self.0.as_raw_pid(), 0, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
    }

    /// A child process that runs in our place, in our own group. While this lives, a signal that ends this process is
    /// passed on to it.
    pub struct Companion(());

    impl Companion {
        /// The child process `id`. To be made in the [`brief`] hold in which it was started, and to be dropped in one
        /// before the child is waited for.
        pub fn of(id: u32) -> Option<Companion> {
            let id = i32::try_from(id).ok()?;
            COMPANION.store(id, Ordering::SeqCst);
            Some(Companion(()))
        }
    }

    impl Drop for Companion {
        fn drop(&mut self) {
            COMPANION.store(0, Ordering::SeqCst);
        }
    }

    /// Whether a group may ask on the terminal.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Lending {
        /// It may now.
        Yes,
        /// Not while we are in the background ourselves.
        InBackground,
        /// The process has no terminal.
        NoTerminal,
    }

    /// Makes `group` the one that may read from the controlling terminal, in our place; `modes` is how it left it.
    pub fn lend(group: &Group, modes: Option<&Termios>) -> Lending {
        let _brief = brief();
        let open = || {
            use rustix::fs::{Mode, OFlags};
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let terminal = rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()?;
            let modes = tcgetattr(&terminal).ok()?;
            Some((terminal, modes))
        };
        let Some((terminal, _)) = TERMINAL.get_or_init(open) else { return Lending::NoTerminal };
        if !tcgetpgrp(terminal).is_ok_and(|now| now == getpgrp()) {
            return Lending::InBackground;
        }
        if let Some(modes) = modes {
            let _ = tcsetattr(terminal, OptionalActions::Now, modes);
        }
        match tcsetpgrp(terminal, group.id()) {
            Ok(()) => LENT.store(group.id().as_raw_pid(), Ordering::SeqCst),
            Err(_) => return Lending::NoTerminal,
        }
        Lending::Yes
    }

    /// Takes the terminal back, as it was before it was lent; how it was left.
    pub fn take_back() -> Option<Termios> {
        let _brief = brief();
        give_terminal_back()
    }

    /// The same without the hold. May run in the handler.
    fn give_terminal_back() -> Option<Termios> {
        let lent = LENT.swap(0, Ordering::SeqCst);
        let (terminal, modes) = TERMINAL.get()?.as_ref().filter(|_| lent != 0)?;
        let left = tcgetattr(terminal).ok();
        // A shell may have taken it meanwhile.
        if tcgetpgrp(terminal).map_or(true, |now| now.as_raw_pid() == lent) {
            unstopped(|| {
                let _ = tcsetpgrp(terminal, getpgrp());
                let _ = tcsetattr(terminal, OptionalActions::Now, modes);
            });
        }
        left
    }

    /// Does what would stop a process in the background.
    #[allow(unsafe_code)]
    fn unstopped(work: impl FnOnce()) {
        let mut ttou = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the first set is made whole by sigemptyset before it is used, the second by the first call of
        // pthread_sigmask, whose only failure is an unknown `how`. `work` does not unwind.
        unsafe {
            libc::sigemptyset(ttou.as_mut_ptr());
            libc::sigaddset(ttou.as_mut_ptr(), libc::SIGTTOU);
            libc::pthread_sigmask(libc::SIG_BLOCK, ttou.as_ptr(), before.as_mut_ptr());
            work();
            libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
        }
    }

    /// Does to our own group what the terminal did to the child's: Ctrl-Z and the like are meant for the whole job.
    pub fn stop(signal: i32) {
        if let Some(signal) = Signal::from_named_raw(signal) {
            let _ = kill_current_process_group(signal);
        }
    }
}

/// Ctrl-C and Ctrl-Break, which the console reports in a thread of its own.
#[cfg(windows)]
mod windows {
    use super::handle;
    use std::io::{IsTerminal, Write};
    use std::sync::{Once, OnceLock};
    use winapi_util::{HandleRef, console};

    /// How the console on stdin was before anything asked there.
    static STDIN: OnceLock<u32> = OnceLock::new();

    /// Begins to listen for Ctrl-C; once is enough.
    pub fn listen() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            if let Ok(mode) = console::mode(HandleRef::stdin()) {
                let _ = STDIN.set(mode);
            }
            let _ = ctrlc::set_handler(|| handle(2));
        });
    }

    /// Leaves the console on stdin as it was found.
    pub fn give_stdin_back() {
        if let Some(mode) = STDIN.get() {
            let _ = console::set_mode(HandleRef::stdin(), *mode);
        }
    }

    /// Tells a waiting person.
    #[expect(clippy::disallowed_methods, reason = "the thread of the console has no host")]
    pub(super) fn tell(text: &[u8]) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            let _ = stderr.write_all(text);
        }
    }

    /// Ends the process with the status that a shell on Unix would see.
    #[expect(clippy::disallowed_methods, reason = "a signal ends the process at once")]
    pub(super) fn die(signal: i32) -> ! {
        give_stdin_back();
        std::process::exit(128 + signal);
    }
}
