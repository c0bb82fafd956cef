//! A line on stderr that says what is waited for, once that has taken a second; it goes when the wait is over.
#![expect(clippy::disallowed_methods, reason = "a thread writes it while the caller waits")]

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a wait stays silent.
const QUIET: Duration = Duration::from_secs(1);
/// How often a line is written anew that changes.
const TICK: Duration = Duration::from_secs(1);
/// How long is waited for the line to go: a terminal that is stopped takes nothing.
const PATIENCE: Duration = Duration::from_millis(100);

/// How such lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Not at all: nobody watches.
    Silent,
    /// Once, on a line of its own: the terminal can do no more.
    Once,
    /// On one line, which is written anew and goes in the end.
    Live,
}

/// What is waited for, for as long as this lives.
pub struct Progress(Option<Arc<Shared>>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_over: bool,
    /// The line is on the screen.
    is_shown: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Says `text` once a second has passed, and anew as it changes. It is safe for a terminal.
    pub fn begin(style: Style, text: impl Fn() -> String + Send + 'static) -> Progress {
        Progress::after(QUIET, style, text)
    }

    /// The same at once.
    pub fn at_once(style: Style, text: impl Fn() -> String + Send + 'static) -> Progress {
        Progress::after(Duration::ZERO, style, text)
    }

    fn after(quiet: Duration, style: Style, text: impl Fn() -> String + Send + 'static) -> Progress {
        if style == Style::Silent {
            return Progress(None);
        }
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let started = std::thread::Builder::new().spawn(move || write(&of_thread, quiet, style, &text));
        Progress(started.is_ok().then_some(shared))
    }

    /// Ends the wait. Comes back at once: a new token must not wait for a terminal.
    pub fn end(&self) {
        if let Some(shared) = &self.0 {
            shared.state().is_over = true;
            shared.changed.notify_all();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
        let Some(shared) = &self.0 else { return };
        // What is written next comes after the line has gone.
        let _ = shared.changed.wait_timeout_while(shared.state(), PATIENCE, |state| state.is_shown);
    }
}

fn write(shared: &Shared, quiet: Duration, style: Style, text: &dyn Fn() -> String) {
    let wait = |limit: Duration| {
        let end = Instant::now() + limit;
        let mut state = shared.state();
        while !state.is_over {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = shared.changed.wait_timeout(state, left).map_or_else(|e| e.into_inner().0, |(state, _)| state);
        }
        state
    };
    let mut state = wait(quiet);
    if state.is_over {
        return;
    }
    state.is_shown = true;
    drop(state);
    let mut stderr = std::io::stderr();
    if style == Style::Once {
        let _ = writeln!(stderr, "{}", text());
        shared.state().is_shown = false;
        shared.changed.notify_all();
        return;
    }
    let mut last = String::new();
    loop {
        let line = text();
        if line != last {
            // No longer than the line, or it could not be taken back.
            let room = super::terminal::columns().unwrap_or(80).saturating_sub(1);
            let shown: String = line.chars().take(room).collect();
            let _ = write!(stderr, "\r\u{1b}[K{shown}");
            let _ = stderr.flush();
            last = line;
        }
        if wait(TICK).is_over {
            break;
        }
    }
    let _ = write!(stderr, "\r\u{1b}[K");
    let _ = stderr.flush();
    shared.state().is_shown = false;
    shared.changed.notify_all();
}
