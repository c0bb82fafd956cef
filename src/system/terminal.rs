//! What a person sees and types: stdout, stderr and the prompts.
#![expect(clippy::disallowed_methods, reason = "here the terminal of the host is made")]

use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::text::{escape, line};
use crate::system::progress::Style;
use std::io::{IsTerminal, Write};
#[cfg(windows)]
use winapi_util::{HandleRef, console};

/// Stdout, stderr and stdin, as this run uses them.
pub struct Terminal {
    /// Whether a person can be asked: stdin and stderr are terminals, and `--no-input` was not given.
    pub interactive: bool,
    /// Whether stderr is a terminal.
    pub stderr_terminal: bool,
    /// Whether stdin is a terminal.
    pub stdin_terminal: bool,
    /// How many `-v`.
    pub verbose: u8,
    /// `-q`
    pub quiet: bool,
    /// Whether stdout is a terminal.
    pub stdout_terminal: bool,
    /// Whether messages may be coloured.
    pub color: bool,
    /// Whether help on stdout may be coloured.
    pub color_stdout: bool,
    /// Whether the terminal can do no more than print: `TERM` says so, or nothing of it.
    pub plain: bool,
    /// The real stdout, or a test's.
    pub out: Box<dyn Write>,
    /// The real stderr, or a test's.
    pub err: Box<dyn Write>,
    /// Lines for stderr that wait, while a token is on its way from server to store.
    waiting: Option<Vec<String>>,
    /// A question is open on the last line of stderr.
    asking: bool,
}

impl Terminal {
    /// The process's own streams.
    pub fn real() -> Terminal {
        let (stderr_terminal, stdin_terminal) = (std::io::stderr().is_terminal(), std::io::stdin().is_terminal());
        Terminal {
            interactive: stderr_terminal && stdin_terminal,
            stderr_terminal,
            stdin_terminal,
            stdout_terminal: std::io::stdout().is_terminal(),
            ..Terminal::with(Box::new(std::io::stdout()), Box::new(std::io::stderr()))
        }
    }

    /// Streams that are not a terminal.
    pub fn with(out: Box<dyn Write>, err: Box<dyn Write>) -> Terminal {
        Terminal {
            interactive: false,
            stderr_terminal: false,
            stdin_terminal: false,
            verbose: 0,
            quiet: false,
            stdout_terminal: false,
            color: false,
            color_stdout: false,
            plain: true,
            out,
            err,
            waiting: None,
            asking: false,
        }
    }

    /// Says something that went wrong without stopping the call.
    pub fn warn(&mut self, text: &str) {
        if !self.quiet {
            self.insist(text);
        }
    }

    /// [`Terminal::warn`] that `-q` does not silence: a session may be lost.
    pub fn insist(&mut self, text: &str) {
        let (on, off) = if self.color { ("\u{1b}[33m", "\u{1b}[0m") } else { ("", "") };
        self.write(format!("tok: {on}warning:{off} {}", line(text)));
    }

    /// Says what only `-v` wants to know.
    pub fn detail(&mut self, text: &str) {
        if self.verbose > 0 {
            self.write(format!("tok: {}", line(text)));
        }
    }

    /// A line that another program has said, which tells why what follows failed.
    pub fn quote(&mut self, text: &str) {
        self.write(line(text));
    }

    fn write(&mut self, line: String) {
        match &mut self.waiting {
            Some(lines) => lines.push(line),
            None => {
                self.end_line();
                let _ = writeln!(self.err, "{line}");
            }
        }
    }

    /// How what is waited for is said.
    pub fn progress(&self) -> Style {
        match () {
            () if !self.stderr_terminal || self.quiet => Style::Silent,
            () if self.plain => Style::Once,
            () => Style::Live,
        }
    }

    /// Ends the line of a question that was not answered.
    pub(super) fn end_line(&mut self) {
        if std::mem::take(&mut self.asking) {
            let _ = writeln!(self.err);
        }
    }

    /// From now on nothing is written to stderr, which may be a terminal that takes no more for now: a new token
    /// must not wait for it on its way to the store.
    pub fn hold_messages(&mut self) {
        self.waiting.get_or_insert_default();
    }

    /// Writes what waited.
    pub fn release_messages(&mut self) {
        for line in self.waiting.take().unwrap_or_default() {
            self.write(line);
        }
    }

    /// Says what a person must see to go on, whoever watches and however quiet it is to be.
    pub fn show(&mut self, text: &str) {
        self.end_line();
        let _ = writeln!(self.err, "{text}");
        let _ = self.err.flush();
    }

    /// [`Terminal::show`] of a question, behind which the answer is typed.
    pub fn prompt(&mut self, text: &str) {
        self.end_line();
        let _ = write!(self.err, "{text}: ");
        let _ = self.err.flush();
        self.asking = true;
    }

    /// The answer was typed, and with it the end of its line.
    pub fn answered(&mut self) {
        self.asking = false;
    }

    /// Tells a person who watches.
    pub fn tell(&mut self, text: &str) {
        if self.stderr_terminal && !self.quiet {
            self.end_line();
            let _ = writeln!(self.err, "{}", line(text));
        }
    }

    /// Says why there is no answer, where that is no error: on any stderr.
    pub fn note(&mut self, text: &str) {
        if !self.quiet {
            self.write(line(text));
        }
    }

    /// Writes the answer to stdout. A closed stdout is not an error: the reader has gone away.
    ///
    /// # Errors
    /// [`Kind::Other`] where it cannot be written for another reason, such as a full disk.
    pub fn print(&mut self, text: &str) -> Result<()> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::new(Kind::Other, "cannot write to stdout", crate::system::files::why(&error)))
            }
            _ => Ok(()),
        }
    }

    /// Prints an error as the contract has it: `tok: <what>: <why>`, then the hint.
    pub fn report(&mut self, text: &str, hint: Option<&str>) {
        self.release_messages();
        self.end_line();
        let (red, off) = if self.color { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
        let mut lines = format!("{red}tok:{off} {}\n", line(text));
        if let Some(hint) = hint {
            lines.push_str(&format!("hint: {}\n", line(hint)));
        }
        // In one piece: a signal must not leave half an escape sequence.
        let _ = self.err.write_all(lines.as_bytes());
    }

    /// Asks a person, without echo where it is a secret; an empty answer is `None`.
    ///
    /// # Errors
    /// [`Kind::Other`] where the terminal fails.
    pub fn ask(&mut self, label: &str, echo: Echo) -> Result<Option<Secret>> {
        let _hidden = (echo == Echo::Off).then(Hidden::begin);
        if !label.is_empty() {
            let _ = write!(self.err, "{}: ", escape(label));
        }
        let _ = self.err.flush();
        let answer = match echo {
            Echo::Off => rpassword::read_password(),
            Echo::On => {
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).map(|_| line.trim_end_matches(['\r', '\n']).to_string())
            }
        };
        if answer.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::Interrupted) {
            super::signals::interrupt();
        }
        let answer = match answer {
            // Ctrl-D is not an answer.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(String::new()),
            answer => answer,
        };
        let answer =
            answer.map_err(|e| Error::new(Kind::Other, format!("cannot prompt for {label}"), e.to_string()))?;
        Ok((!answer.is_empty()).then(|| Secret::new(answer)))
    }
}

/// Whether what is typed is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// It is.
    On,
    /// It is a secret.
    Off,
}

/// While this lives, the terminal on stdin shows nothing of what is typed. To be made before the question is shown:
/// the answer may be there at once, and a secret of several lines must not be seen between two of them.
#[cfg(unix)]
pub struct Hidden(Option<rustix::termios::Termios>);

#[cfg(unix)]
impl Hidden {
    /// Hides what is typed from now on.
    pub fn begin() -> Hidden {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        // It notes how the terminal is, for whatever ends the process.
        super::signals::listen();
        let before = tcgetattr(rustix::stdio::stdin()).ok();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &modes);
        }
        Hidden(before)
    }
}

#[cfg(unix)]
impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}

/// While this lives, the terminal on stdin is read key by key and shows nothing of what is typed. What was typed and not
/// taken by then is thrown away: the shell must not run it.
#[cfg(unix)]
pub struct Keys(Option<rustix::termios::Termios>);

#[cfg(unix)]
impl Keys {
    /// Key by key from now on.
    pub fn begin() -> Keys {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        super::signals::listen();
        super::signals::reads_keys();
        let before = tcgetattr(rustix::stdio::stdin()).ok();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL);
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &modes);
        }
        Keys(before)
    }
}

#[cfg(unix)]
impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = rustix::termios::tcflush(rustix::stdio::stdin(), rustix::termios::QueueSelector::IFlush);
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), rustix::termios::OptionalActions::Now, before);
        }
        super::signals::reads_lines();
    }
}

/// The console is set by whoever reads its keys.
#[cfg(not(unix))]
pub struct Keys;

#[cfg(not(unix))]
impl Keys {
    /// Nothing yet.
    pub fn begin() -> Keys {
        Keys
    }
}

/// The same of a console.
#[cfg(windows)]
pub struct Hidden(Option<u32>);

#[cfg(windows)]
impl Hidden {
    /// Hides what is typed from now on.
    pub fn begin() -> Hidden {
        const ENABLE_ECHO_INPUT: u32 = 4;
        super::signals::listen();
        let before = console::mode(HandleRef::stdin()).ok();
        if let Some(mode) = before {
            let _ = console::set_mode(HandleRef::stdin(), mode & !ENABLE_ECHO_INPUT);
        }
        Hidden(before)
    }
}

#[cfg(windows)]
impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            let _ = console::set_mode(HandleRef::stdin(), before);
        }
    }
}

/// The width of the terminal behind stderr, in columns.
pub fn columns() -> Option<usize> {
    width(terminal_size::terminal_size_of(std::io::stderr()))
}

/// The width of the terminal behind stdout, in columns.
pub fn stdout_columns() -> Option<usize> {
    width(terminal_size::terminal_size_of(std::io::stdout()))
}

fn width(size: Option<(terminal_size::Width, terminal_size::Height)>) -> Option<usize> {
    size.map(|(width, _)| usize::from(width.0)).filter(|columns| *columns > 0)
}
