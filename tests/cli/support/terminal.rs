//! `tok` on a terminal, for what it asks only there.

use super::{Tok, code_of};
use crate::child::{LIMIT, with_default_signals};
use rexpect::process::WaitStatus;
use rexpect::session::PtySession;

/// A run of `tok` whose stdin, stdout and stderr are one terminal.
pub struct Terminal {
    session: PtySession,
    /// The test's folder.
    root: String,
}

/// Whether what is typed on `terminal` is shown.
#[track_caller]
pub fn echoes(terminal: &std::fs::File) -> bool {
    use rustix::termios::{LocalModes, tcgetattr};
    tcgetattr(terminal).expect("its modes").local_modes.contains(LocalModes::ECHO)
}

impl Tok {
    /// Starts it on a terminal that echoes what is typed; `rexpect` makes one that does not, where a test for a
    /// hidden prompt would prove nothing.
    #[track_caller]
    pub fn on_terminal(self) -> Terminal {
        let this = self.before("stty sane");
        let mut command = this.command();
        // `rexpect` gives it a session of its own.
        with_default_signals(&mut command);
        let session = rexpect::session::spawn_command(command, Some(LIMIT.as_millis() as u64)).expect("a terminal");
        Terminal { session, root: this.root.to_string_lossy().into_owned() }
    }
}

impl Terminal {
    /// Waits for `text` on the screen; what stood before it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let before = self.session.exp_string(text).expect("the text comes");
        super::messages::note(&format!("{before}{text}"));
        before
    }

    /// Waits for text of this form (a regular expression, `(?i)` for any case).
    #[track_caller]
    pub fn expect_like(&mut self, regex: &str) -> String {
        let (before, found) = self.session.exp_regex(regex).expect("the text comes");
        super::messages::note(&format!("{before}{found}"));
        before
    }

    /// Types a line.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.session.send_line(line).expect("typed");
    }

    /// Types this and nothing more.
    #[track_caller]
    pub fn type_text(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            // It may take a part alone.
            let count = self.session.send(rest).expect("typed");
            rest = &rest[count..];
        }
        self.session.flush().expect("typed");
    }

    /// Types a control character: `'c'` for an interrupt, `'d'` for the end of input.
    #[track_caller]
    pub fn control(&mut self, key: char) {
        self.session.send_control(key).expect("typed");
    }

    /// Whether what is typed is shown.
    #[track_caller]
    pub fn echoes(&self) -> bool {
        echoes(&self.session.process().get_file_handle().expect("a terminal"))
    }

    /// The rest of the screen up to the end, and the exit status.
    #[track_caller]
    pub fn end(mut self) -> (String, i32) {
        let rest = self.session.exp_eof().expect("the end comes");
        super::messages::note(&rest);
        // Dropped, the session kills it.
        let mut status = None;
        super::until("it ends with its screen", || {
            status = self.session.process().status().filter(|status| *status != WaitStatus::StillAlive);
            status.is_some()
        });
        let status = status.expect("a status");
        (rest, code_of(&status))
    }
}
