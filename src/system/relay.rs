//! Another program run beside this one, which gives it secrets by pipes and may hold back what it writes.

use crate::base::secret::Secret;
#[cfg(any(unix, test))]
use zeroize::Zeroizing;

#[cfg(not(unix))]
pub use other::{Handed, Ran, Told};
#[cfg(unix)]
pub use unix::{Handed, Ran, Told};

/// Says, from what the program has told so far, whether what it writes is to be held back.
pub type HoldsBack = fn(&[u8]) -> bool;

/// How the program is dealt with. Its stdin is ours; so are its stdout and stderr, unless something of them is to be held
/// back or hidden.
#[cfg_attr(not(unix), allow(dead_code))] // there all streams of the program are ours
pub struct Relay<'a> {
    /// What it is handed.
    pub handed: Vec<Handed>,
    /// What it tells us.
    pub told: Option<Told>,
    /// Whether what it writes is held back; asked until it says no once.
    pub holds_back: Option<HoldsBack>,
    /// What is not to be seen on stderr.
    pub hidden: Option<&'a Secret>,
}

/// A filter that puts `***` in the place of a secret, however the text is cut into pieces.
#[cfg(any(unix, test))]
struct Hider {
    secret: Zeroizing<Vec<u8>>,
    tail: Zeroizing<Vec<u8>>,
}

#[cfg(any(unix, test))]
impl Hider {
    fn of(secret: &Secret) -> Hider {
        Hider { secret: Zeroizing::new(secret.expose().as_bytes().to_vec()), tail: Zeroizing::default() }
    }

    /// What may be shown now; the beginning of a secret waits for the rest.
    fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.tail);
        text.extend_from_slice(piece);
        let (mut shown, mut rest) = (Vec::new(), text.as_slice());
        while let Some(at) = memchr::memmem::find(rest, &self.secret) {
            shown.extend_from_slice(rest.get(..at).unwrap_or_default());
            shown.extend_from_slice(b"***");
            rest = rest.get(at + self.secret.len()..).unwrap_or_default();
        }
        let longest = rest.len().min(self.secret.len().saturating_sub(1));
        let begins = |length: &usize| self.secret.get(..*length).is_some_and(|start| rest.ends_with(start));
        let waits = (1..=longest).rev().find(begins).unwrap_or(0);
        let (now, later) = rest.split_at(rest.len() - waits);
        shown.extend_from_slice(now);
        self.tail = Zeroizing::new(later.to_vec());
        shown
    }

    /// What waited, at the end.
    fn end(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.tail)
    }
}

#[cfg(unix)]
mod unix {
    use super::{Hider, HoldsBack, Relay};
    use crate::base::secret::Secret;
    use crate::system::signals;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::{Errno, FdFlags, fcntl_setfd};
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    use std::io::{self, PipeReader, PipeWriter, Read, Write};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

    /// The most that is held back, in bytes: beyond it, the output is let go.
    const MOST: usize = 8 << 20;

    /// A text that the program reads from a path.
    pub struct Handed {
        reader: PipeReader,
        writer: PipeWriter,
        text: Secret,
    }

    impl Handed {
        /// # Errors
        /// Where there can be no pipe.
        pub fn new(text: Secret) -> io::Result<Handed> {
            let (reader, writer) = io::pipe()?;
            fcntl_setfd(&reader, FdFlags::empty())?;
            Ok(Handed { reader, writer, text })
        }

        /// The path, for the program alone.
        pub fn path(&self) -> String {
            format!("/dev/fd/{}", self.reader.as_raw_fd())
        }
    }

    /// What the program writes to a path.
    pub struct Told {
        reader: PipeReader,
        writer: PipeWriter,
    }

    impl Told {
        /// # Errors
        /// Where there can be no pipe.
        pub fn new() -> io::Result<Option<Told>> {
            let (reader, writer) = io::pipe()?;
            fcntl_setfd(&writer, FdFlags::empty())?;
            Ok(Some(Told { reader, writer }))
        }

        /// The path, for the program alone.
        pub fn path(&self) -> String {
            format!("/dev/fd/{}", self.writer.as_raw_fd())
        }
    }

    /// A program that has ended.
    pub struct Ran {
        status: ExitStatus,
        told: Vec<u8>,
        held: Option<Held>,
    }

    /// What it wrote, where that was held back to the end.
    struct Held {
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    }

    impl Ran {
        /// What it told.
        pub fn told(&self) -> &[u8] {
            &self.told
        }

        /// Whether what it wrote was held back. It is then dropped, unless [`Ran::finish`] lets it go.
        pub fn is_held(&self) -> bool {
            self.held.is_some()
        }

        /// Lets go what was held back: the exit status, as a shell has it.
        ///
        /// # Errors
        /// Where stdout takes it not.
        pub fn finish(self) -> io::Result<u8> {
            if let Some(Held { stdout, stderr }) = &self.held {
                put(rustix::stdio::stderr(), stderr)?;
                put(rustix::stdio::stdout(), stdout)?;
            }
            let status = self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal));
            Ok(status.and_then(|status| u8::try_from(status).ok()).unwrap_or(1))
        }
    }

    /// The ends of pipes from the program.
    struct Ends {
        told: Option<PipeReader>,
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
    }

    impl Relay<'_> {
        /// Runs the program to its end.
        ///
        /// # Errors
        /// Where it cannot be started, or stdout takes nothing any more.
        pub fn run(self, command: &mut Command) -> io::Result<Ran> {
            signals::listen();
            if self.holds_back.is_some() {
                command.stdout(Stdio::piped());
            }
            if self.hidden.is_some() {
                command.stderr(Stdio::piped());
            }
            let (mut child, running) = {
                let _brief = signals::brief();
                let child = command.spawn()?;
                let running = signals::Companion::of(child.id());
                (child, running)
            };
            for Handed { reader, mut writer, text } in self.handed {
                drop(reader);
                // A program that does not read it tells why by its status.
                let _ = writer.write_all(text.expose().as_bytes());
            }
            let told = self.told.map(|told| told.reader);
            let mut ends = Ends { told, stdout: child.stdout.take(), stderr: child.stderr.take() };
            let (told, held) = relay(&mut ends, self.holds_back, self.hidden.map(Hider::of));
            drop(ends);
            let status = wait(&mut child, running)?;
            Ok(Ran { status, told, held })
        }
    }

    /// Waits for the end of a program that a signal to us is passed on to until then.
    fn wait(child: &mut Child, running: Option<signals::Companion>) -> io::Result<ExitStatus> {
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It is not waited for yet: until it is, its number is no other's.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        }
        let _brief = signals::brief();
        drop(running);
        child.wait()
    }

    /// Passes on what comes, until all ends are closed: what was told, and what is held back at the end.
    fn relay(ends: &mut Ends, holds_back: Option<HoldsBack>, mut hider: Option<Hider>) -> (Vec<u8>, Option<Held>) {
        for end in ends.all() {
            let _ = rustix::io::ioctl_fionbio(end, true);
        }
        let mut told = Vec::new();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut is_held = holds_back.is_some();
        loop {
            // What was told is read last: it says what is to be done with what came after it.
            let (mut out, mut err) = (Vec::new(), Vec::new());
            read(&mut ends.stdout, &mut out);
            read(&mut ends.stderr, &mut err);
            read(&mut ends.told, &mut told);
            let err = match &mut hider {
                Some(hider) if ends.stderr.is_none() => [hider.push(&err), hider.end().to_vec()].concat(),
                Some(hider) => hider.push(&err),
                None => err,
            };
            let holds = is_held && holds_back.is_some_and(|holds_back| holds_back(&told));
            if holds {
                stderr.extend_from_slice(&err);
            } else {
                let _ = put(rustix::stdio::stderr(), &err);
            }
            stdout.extend_from_slice(&out);
            // Nothing is out yet of a reply whose head is not there.
            let is_over = !holds && !stdout.is_empty();
            if is_held && (is_over || stdout.len() > MOST) {
                is_held = false;
                let _ = put(rustix::stdio::stderr(), &std::mem::take(&mut stderr));
            }
            if !is_held && !stdout.is_empty() && put(rustix::stdio::stdout(), &std::mem::take(&mut stdout)).is_err() {
                // The program is to see that nobody reads.
                ends.stdout = None;
            }
            let mut polls: Vec<PollFd<'_>> =
                ends.all().map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN)).collect();
            if polls.is_empty() {
                break;
            }
            let _ = poll(&mut polls, None);
        }
        let held = is_held && holds_back.is_some_and(|holds_back| holds_back(&told));
        if !held {
            let _ = put(rustix::stdio::stderr(), &stderr);
            let _ = put(rustix::stdio::stdout(), &stdout);
        }
        (told, held.then_some(Held { stdout, stderr }))
    }

    impl Ends {
        fn all(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
            let told = self.told.as_ref().map(AsFd::as_fd);
            let stdout = self.stdout.as_ref().map(AsFd::as_fd);
            told.into_iter().chain(stdout).chain(self.stderr.as_ref().map(AsFd::as_fd))
        }
    }

    /// Reads what is there now, up to a piece's length.
    fn read(end: &mut Option<impl Read>, into: &mut Vec<u8>) {
        let mut piece = [0; 1 << 16];
        loop {
            let Some(open) = end else { return };
            match open.read(&mut piece) {
                Ok(0) => *end = None,
                Ok(length) => {
                    into.extend_from_slice(piece.get(..length).unwrap_or_default());
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => *end = None,
            }
        }
    }

    /// Writes all of it, whether the stream waits or not.
    fn put(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(to, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(not(unix))]
mod other {
    use super::Relay;
    use crate::base::secret::Secret;
    use std::io::{self, Write};
    use std::process::{Command, ExitStatus, Stdio};

    /// A text that the program reads from its stdin: this system has no paths of pipes.
    pub struct Handed(Secret);

    impl Handed {
        /// # Errors
        /// None.
        pub fn new(text: Secret) -> io::Result<Handed> {
            Ok(Handed(text))
        }

        /// How curl names stdin.
        pub fn path(&self) -> String {
            "-".into()
        }
    }

    /// Nothing can be told.
    pub struct Told;

    impl Told {
        /// # Errors
        /// None.
        pub fn new() -> io::Result<Option<Told>> {
            Ok(None)
        }

        /// None.
        pub fn path(&self) -> String {
            String::new()
        }
    }

    /// A program that has ended.
    pub struct Ran(ExitStatus);

    impl Ran {
        /// Nothing.
        pub fn told(&self) -> &[u8] {
            &[]
        }

        /// Nothing is.
        pub fn is_held(&self) -> bool {
            false
        }

        /// The exit status.
        ///
        /// # Errors
        /// None.
        pub fn finish(self) -> io::Result<u8> {
            Ok(self.0.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        }
    }

    impl Relay<'_> {
        /// Runs the program to its end.
        ///
        /// # Errors
        /// Where it cannot be started, or is to be handed two texts.
        pub fn run(self, command: &mut Command) -> io::Result<Ran> {
            let mut handed = self.handed.into_iter();
            let (first, None) = (handed.next(), handed.next()) else {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "--next cannot be used on this system"));
            };
            command.stdin(if first.is_some() { Stdio::piped() } else { Stdio::inherit() });
            let mut child = command.spawn()?;
            if let (Some(mut stdin), Some(Handed(text))) = (child.stdin.take(), first) {
                let _ = stdin.write_all(text.expose().as_bytes());
            }
            child.wait().map(Ran)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_however_it_is_cut() {
        let text = b"> Authorization: Bearer abcabd\r\n> X: abcabd abca abcab";
        for size in 1..text.len() {
            let mut hider = Hider::of(&Secret::new("abcabd"));
            let mut shown: Vec<u8> = text.chunks(size).flat_map(|piece| hider.push(piece)).collect();
            shown.extend_from_slice(&hider.end());
            assert_eq!(
                String::from_utf8_lossy(&shown),
                "> Authorization: Bearer ***\r\n> X: *** abca abcab",
                "pieces of {size}"
            );
        }
        let mut hider = Hider::of(&Secret::new("abcabd"));
        assert_eq!(hider.push(b"plain"), b"plain");
    }
}
