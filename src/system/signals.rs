//! INT, TERM and HUP: they end the process at once, but wait while a token is on its way from server to store.
#![expect(clippy::disallowed_methods, reason = "a signal ends the process wherever it is, and gives the terminal back")]

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct State {
    /// How many [`Hold`]s there are.
    held: usize,
    /// Whether a second signal may break a hold.
    patient: bool,
    /// The signal that waits.
    pending: Option<i32>,
}

static STATE: Mutex<State> = Mutex::new(State { held: 0, patient: false, pending: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While this lives, signals wait.
pub struct Hold(());

/// Makes signals wait. `rotating`: a refresh token may be spent, so not even a second signal ends the wait; else
/// it does, as only time would be lost.
pub fn hold(rotating: bool) -> Hold {
    let mut state = state();
    state.held += 1;
    state.patient = rotating;
    Hold(())
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = state();
        state.held -= 1;
        if let (0, Some(signal)) = (state.held, state.pending) {
            die(signal);
        }
    }
}

/// The answer is out: a signal that comes now, or came while it was written, no longer makes a failure of it.
pub fn answered(hold: Hold) {
    state().patient = true;
    std::mem::forget(hold);
}

/// Lets a write beyond `ulimit -f` fail as on a full disk: it is not to end the process between server and store.
pub fn let_writes_fail() {
    #[cfg(unix)]
    let _ = signal_hook::flag::register(
        signal_hook::consts::SIGXFSZ,
        std::sync::Arc::<std::sync::atomic::AtomicBool>::default(),
    );
}

/// Begins to listen for signals.
#[cfg(unix)]
pub fn listen() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ignored = ignored();
    // `nohup` and the like: what was ignored from the start stays so.
    let wanted: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|s| ignored & (1 << (s - 1)) == 0).collect();
    let Ok(mut signals) = signal_hook::iterator::Signals::new(&wanted) else { return };
    let terminal = rustix::termios::tcgetattr(std::io::stdin()).ok();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let mut state = state();
            let again = state.pending.replace(signal).is_some();
            if state.held == 0 || (again && !state.patient) {
                // A prompt without echo must not leave the terminal so.
                if let Some(terminal) = &terminal {
                    let now = rustix::termios::OptionalActions::Now;
                    let _ = rustix::termios::tcsetattr(std::io::stdin(), now, terminal);
                }
                die(signal);
            }
            if !again {
                tell("tok: a token is on its way; ending when it is kept\n");
            }
        }
    });
}

/// Tells a person who waits.
#[cfg(unix)]
fn tell(text: &str) {
    use std::io::{IsTerminal, Write};
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = stderr.write_all(text.as_bytes());
    }
}

/// Nothing to listen for.
#[cfg(not(unix))]
pub fn listen() {}

/// The signals that are ignored, a bit each (proc(5)).
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    mask.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

/// Ends the process as Ctrl-C would: a prompt without echo reads the key itself.
pub fn interrupt() -> ! {
    die(2)
}

/// Ends the process as the signal would have, so that a shell's loop ends too.
#[cfg(unix)]
fn die(signal: i32) -> ! {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    std::process::exit(128 + signal);
}

#[cfg(not(unix))]
fn die(signal: i32) -> ! {
    std::process::exit(128 + signal);
}
