//! Other programs, run without a shell and bounded in time.
#![expect(clippy::disallowed_methods, reason = "a command that asks for a password does so on our stderr")]

use crate::base::text;
use crate::system::{files, program, signals};
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Why a program gave no output, in words without it.
#[derive(Debug)]
pub struct Failed {
    /// In words.
    pub why: String,
    /// It did not end in time.
    pub timed_out: bool,
    /// The last lines of its stderr, safe for a terminal; none where a person has seen them.
    pub stderr: String,
}

impl From<String> for Failed {
    fn from(why: String) -> Failed {
        Failed { why, timed_out: false, stderr: String::new() }
    }
}

/// What a program that succeeded has said.
pub struct Said {
    /// Its stdout.
    pub stdout: Zeroizing<Vec<u8>>,
    /// As [`Failed::stderr`].
    pub stderr: String,
}

/// The most of a program's stderr that is kept to be shown, in bytes: the end, where the error is.
const LAST: usize = 4096;

/// What the program `words[0]` with the arguments after it prints, if it ends well before `deadline` with at most `most`
/// bytes. It gets `env`, and `input` as its stdin. Its stderr is ours where that is a terminal: it may ask there.
///
/// # Errors
/// [`Failed`].
pub fn output<'e>(
    words: &[String],
    env: impl Iterator<Item = (&'e OsString, &'e OsString)>,
    input: Option<Zeroizing<Vec<u8>>>,
    deadline: Instant,
    most: u64,
) -> Result<Said, Failed> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("no program given".to_string().into());
    };
    let command = program::command(OsStr::new(program), env);
    let mut command = command.map_err(|why| Failed::from(why.to_string()))?;
    // A pipe of our own: what is left running must not keep open what another program reads to its end.
    let asks = io::IsTerminal::is_terminal(&io::stderr());
    command.args(arguments).stderr(if asks { Stdio::inherit() } else { Stdio::piped() });
    let mut last = Zeroizing::default();
    let failed = |why: String, timed_out, stderr| Err(Failed { why, timed_out, stderr });
    match run_with(&mut command, input, &mut last, deadline, most) {
        Ok(End::Ended(Output { status, stdout })) => match (status.success(), to_show(&last, &stdout)) {
            (true, stderr) => Ok(Said { stdout, stderr }),
            (false, stderr) => failed(format!("it failed ({status})"), false, stderr),
        },
        Ok(End::TooMuch) => failed(format!("it printed more than {most} bytes"), false, to_show(&last, b"")),
        Ok(End::Late) => failed("it timed out".into(), true, to_show(&last, b"")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("program not found".to_string().into()),
        Err(error) => Err(format!("it cannot be run: {}", files::why(&error)).into()),
    }
}

/// The end of a program's stderr as lines for a person, without what it has printed as its answer.
fn to_show(stderr: &[u8], stdout: &[u8]) -> String {
    let from = stderr.len().saturating_sub(LAST);
    let said = String::from_utf8_lossy(stderr.get(from..).unwrap_or_default());
    let answer = String::from_utf8_lossy(stdout);
    let said = match answer.trim() {
        "" => said.into_owned(),
        answer => said.replace(answer, "***"),
    };
    let begin = if from > 0 { "…" } else { "" };
    text::lines(&format!("{begin}{}", said.replace("\r\n", "\n").trim_end()))
}

/// How a program ended, and what it said.
pub struct Output {
    /// Its own status.
    pub status: ExitStatus,
    /// Its stdout.
    pub stdout: Zeroizing<Vec<u8>>,
}

/// What came of a program.
pub enum End {
    /// It ended.
    Ended(Output),
    /// It was ended at the deadline.
    Late,
    /// It was ended, as it printed too much.
    TooMuch,
}

/// Runs a program, hands `input` over and takes its output, at most `most` bytes; its stderr is dropped. On Unix it leads a process group of
/// its own, which ends as a whole at the deadline and with this process; it may ask on the terminal. When the program
/// itself has ended, what it has left running is let be, and does not hold up the answer.
///
/// # Errors
/// Where it cannot be started.
pub fn run(command: &mut Command, input: Option<Zeroizing<Vec<u8>>>, deadline: Instant, most: u64) -> io::Result<End> {
    run_with(command.stderr(Stdio::null()), input, &mut Zeroizing::default(), deadline, most)
}

/// [`run`] with the stderr that `command` has; the end of what is read of it is added to `last`.
fn run_with(
    command: &mut Command,
    input: Option<Zeroizing<Vec<u8>>>,
    last: &mut Zeroizing<Vec<u8>>,
    deadline: Instant,
    most: u64,
) -> io::Result<End> {
    signals::listen();
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped());
    start(command)?.finish(input.unwrap_or_default(), last, deadline, most)
}

/// Appends, and forgets what lies more than [`LAST`] bytes before the end.
fn append_last(last: &mut Zeroizing<Vec<u8>>, piece: &[u8]) {
    last.extend_from_slice(piece);
    // One more stays: so it is known that there was more.
    let surplus = last.len().saturating_sub(LAST + 1);
    last.drain(..surplus);
}

/// Appends without leaving a copy behind when the vector has to grow.
fn append(buffer: &mut Zeroizing<Vec<u8>>, piece: &[u8]) {
    if buffer.capacity() - buffer.len() < piece.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((buffer.len() + piece.len()) * 2));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(piece);
}

#[cfg(unix)]
use unix::start;

#[cfg(not(unix))]
mod other;
#[cfg(not(unix))]
use other::start;

#[cfg(unix)]
mod unix {
    use super::*;
    use crate::system::signals::{Group, Lending};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{ChildStderr, ChildStdin, ChildStdout};

    /// How often it is seen whether the program has ended or was stopped, which no pipe tells.
    const LOOK: Duration = Duration::from_millis(5);
    /// How long a group is given to end after it was asked to.
    const GRACE: Duration = Duration::from_millis(300);
    /// How many pieces of stderr are read before the rest is looked after: who writes may go on for ever.
    const PIECES: usize = 256;

    /// A program that runs.
    pub struct Running {
        child: Child,
        group: Option<Group>,
        lent: bool,
    }

    /// Starts `command` as the leader of a new process group.
    pub fn start(command: &mut Command) -> io::Result<Running> {
        command.process_group(0);
        let _brief = signals::brief();
        let child = command.spawn()?;
        let group = Group::of(child.id());
        Ok(Running { child, group, lent: false })
    }

    /// The pipes to and from a program; those at whose end we are, are none.
    struct Pipes {
        stdin: Option<ChildStdin>,
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
        written: usize,
    }

    impl Running {
        pub fn finish(
            mut self,
            input: Zeroizing<Vec<u8>>,
            last: &mut Zeroizing<Vec<u8>>,
            deadline: Instant,
            most: u64,
        ) -> io::Result<End> {
            let child = &mut self.child;
            let mut pipes = Pipes {
                stdin: child.stdin.take(),
                stdout: child.stdout.take(),
                stderr: child.stderr.take(),
                written: 0,
            };
            for pipe in pipes.all() {
                rustix::io::ioctl_fionbio(pipe, true)?;
            }
            let mut stdout = Zeroizing::default();
            loop {
                // First: what is in the pipes now was all written before the program's end.
                let has_ended = self.has_ended();
                pipes.write(&input);
                read(&mut pipes.stdout, &mut stdout, most);
                if stdout.len() as u64 > most {
                    self.end();
                    return Ok(End::TooMuch);
                }
                read_last(&mut pipes.stderr, last);
                let left = deadline.saturating_duration_since(Instant::now());
                if has_ended {
                    let status = self.wait()?;
                    return Ok(End::Ended(Output { status, stdout }));
                }
                if left.is_zero() {
                    self.end();
                    return Ok(End::Late);
                }
                self.look_after_the_terminal();
                // With its output closed it is about to end.
                let look = if pipes.stdout.is_some() { LOOK } else { Duration::from_millis(1) };
                pipes.wait(left.min(look));
            }
        }

        /// Whether the program has ended. It is not waited for yet: its number, and so its group's, stays taken.
        fn has_ended(&self) -> bool {
            let Some(group) = &self.group else { return true };
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            !matches!(waitid(WaitId::Pid(group.id()), options), Ok(None) | Err(Errno::INTR))
        }

        /// The status of the program, which has ended.
        fn wait(mut self) -> io::Result<ExitStatus> {
            let was_lent = std::mem::take(&mut self.lent);
            if was_lent {
                signals::take_back();
            }
            let status = {
                let _brief = signals::brief();
                self.group = None;
                self.child.wait()?
            };
            // A key that was meant for the whole job has reached it alone.
            let by = status.signal().or((status.code() == Some(130)).then_some(libc::SIGINT));
            if let Some(signal @ (libc::SIGINT | libc::SIGQUIT | libc::SIGHUP)) = by.filter(|_| was_lent) {
                signals::stop(signal);
            }
            Ok(status)
        }

        /// Ends the program and all of its group.
        fn end(mut self) {
            let Some(group) = &self.group else { return };
            group.end();
            let until = Instant::now() + GRACE;
            while !self.has_ended() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
            group.kill();
            if std::mem::take(&mut self.lent) {
                signals::take_back();
            }
            let _brief = signals::brief();
            self.group = None;
            let _ = self.child.wait();
        }

        /// A program that was stopped because it asks on the terminal, as all in the background are, gets the
        /// terminal; so Ctrl-C is for all of us until it asks.
        fn look_after_the_terminal(&mut self) {
            let Some(group) = &self.group else { return };
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            let Ok(Some(status)) = waitid(WaitId::Pid(group.id()), options) else { return };
            match status.stopping_signal() {
                Some(signal @ (libc::SIGTTIN | libc::SIGTTOU)) => match signals::lend(group, None) {
                    Lending::Yes => self.lent = true,
                    // Then the shell stops us too, until `fg`; but not with a token on its way.
                    Lending::InBackground if !signals::is_held() => signals::stop(signal),
                    Lending::InBackground | Lending::NoTerminal => return,
                },
                Some(libc::SIGTSTP) if self.lent => {
                    let modes = signals::take_back();
                    if !signals::is_held() {
                        signals::stop(libc::SIGTSTP);
                    }
                    self.lent = signals::lend(group, modes.as_ref()) == Lending::Yes;
                }
                _ => return,
            }
            group.resume();
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            if self.lent {
                signals::take_back();
            }
            if let Some(group) = self.group.take() {
                group.kill();
                let _brief = signals::brief();
                drop(group);
                let _ = self.child.wait();
            }
        }
    }

    impl Pipes {
        fn all(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
            let stdin = self.stdin.as_ref().map(AsFd::as_fd);
            let stdout = self.stdout.as_ref().map(AsFd::as_fd);
            stdin.into_iter().chain(stdout).chain(self.stderr.as_ref().map(AsFd::as_fd))
        }

        /// Writes what the program takes now. One that does not read its input tells why by its status.
        fn write(&mut self, input: &[u8]) {
            let Some(stdin) = &mut self.stdin else { return };
            while let Some(rest) = input.get(self.written..).filter(|rest| !rest.is_empty()) {
                match stdin.write(rest) {
                    Ok(count) if count > 0 => self.written += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    _ => break,
                }
            }
            self.stdin = None;
        }

        /// Waits until a pipe has something to do, at most for `limit`.
        fn wait(&self, limit: Duration) {
            let stdin = self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT));
            let stdout = self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN));
            let stderr = self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN));
            let mut all: Vec<PollFd<'_>> = stdin.into_iter().chain(stdout).chain(stderr).collect();
            let limit = Timespec::try_from(limit).unwrap_or_default();
            let _ = poll(&mut all, Some(&limit));
        }
    }

    /// Reads what is in `pipe` now into `buffer`, of which more than `most` is not wanted.
    fn read(pipe: &mut Option<impl Read>, buffer: &mut Zeroizing<Vec<u8>>, most: u64) {
        let mut piece = Zeroizing::new([0u8; 4096]);
        while let Some(open) = pipe
            && buffer.len() as u64 <= most
        {
            match open.read(&mut *piece) {
                Ok(0) => *pipe = None,
                Ok(length) => append(buffer, piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => *pipe = None,
            }
        }
    }

    /// Reads what is in `pipe` now, and keeps the end of it.
    fn read_last(pipe: &mut Option<ChildStderr>, last: &mut Zeroizing<Vec<u8>>) {
        let mut piece = Zeroizing::new([0u8; 4096]);
        for _ in 0..PIECES {
            let Some(open) = pipe else { return };
            match open.read(&mut *piece) {
                Ok(0) => *pipe = None,
                Ok(length) => append_last(last, piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => *pipe = None,
            }
        }
    }
}
