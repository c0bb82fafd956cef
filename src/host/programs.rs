//! The programs that the config names: commands that print a value, and hooks.

use super::{EVENT, Event, Host, LIMIT};
use crate::base::secret::{Lines, Secret};
use crate::system::process::{self, Failed, Said};
use std::ffi::OsString;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Set for what a `command` of the config runs, so that a tok among that runs no command in turn: two profiles whose
/// commands ask tok for each other would go on for ever. It does not begin with `TOK_`, as it is not a setting and goes on
/// to children.
const IN_COMMAND: &str = "_TOK_IN_COMMAND";

impl Host {
    /// What the command prints, without one trailing line break. It runs without a shell, without stdin and without
    /// any `TOK_` variable. On a terminal its stderr is ours, as it may ask for a password; elsewhere it is shown if the
    /// command fails, and with `-v`.
    ///
    /// # Errors
    /// In words without its output.
    pub fn run_command(&mut self, words: &[String], lines: Lines) -> std::result::Result<Secret, Failed> {
        let mark = (OsString::from(IN_COMMAND), OsString::from("1"));
        let env = self.env.for_children().chain(std::iter::once((&mark.0, &mark.1)));
        let said = process::output(words, env, None, self.clock.deadline, LIMIT);
        Ok(Secret::read(&self.shown(said)?, lines)?)
    }

    /// The stdout of a program; its stderr goes to ours where it says why the program failed.
    fn shown(&mut self, said: std::result::Result<Said, Failed>) -> std::result::Result<Zeroizing<Vec<u8>>, Failed> {
        match &said {
            Ok(said) => said.stderr.lines().for_each(|line| self.terminal.detail(line)),
            Err(failed) => failed.stderr.lines().for_each(|line| self.terminal.quote(line)),
        }
        said.map(|said| said.stdout)
    }

    /// Whether this tok may run a command of the config: not if one has started it.
    ///
    /// # Errors
    /// In words.
    pub fn may_run_commands(&self) -> std::result::Result<(), Failed> {
        match self.env.has(IN_COMMAND) {
            true => Err("it is not run, since tok itself was started by such a command".to_string().into()),
            false => Ok(()),
        }
    }

    /// Runs the hook of `event`, which is told of it by variables, for at most `limit`. It gets no stdin and no other
    /// variable of ours; its stdout is dropped, its stderr is as in [`Host::run_command`].
    ///
    /// # Errors
    /// In words without its output.
    pub fn run_hook(&mut self, event: &Event, limit: Duration) -> std::result::Result<(), Failed> {
        let told = [
            (EVENT, Some(event.name)),
            ("TOK_EVENT_PROFILE", Some(&event.profile)),
            ("TOK_EVENT_REASON", Some(&event.reason)),
            ("TOK_EVENT_HINT", event.hint.as_deref()),
        ];
        let told = told.map(|(name, text)| text.map(|text| (OsString::from(name), OsString::from(text))));
        let told = told.iter().flatten().map(|(name, text)| (name, text));
        let env = self.env.for_children().chain(told);
        let said = process::output(&event.command, env, None, Instant::now() + limit, LIMIT);
        match said {
            // A warning is all that comes of it.
            Err(failed) if self.terminal.quiet => Err(failed),
            said => self.shown(said).map(drop),
        }
    }

    /// Runs the command as [`Host::run_command`] does, with `input` as its stdin; what it prints is dropped.
    ///
    /// # Errors
    /// In words without its output.
    pub fn feed_command(&mut self, words: &[String], input: &Secret) -> std::result::Result<(), Failed> {
        let bytes = Zeroizing::new(input.expose().as_bytes().to_vec());
        let said = process::output(words, self.env.for_children(), Some(bytes), self.clock.deadline, LIMIT);
        self.shown(said).map(drop)
    }
}
