//! A long line from stdin, taken as it comes while something else is waited for too: the address that a person pastes.
//!
//! A terminal gives its line at the end of it, and cuts it after 4,095 bytes (`MAX_CANON`; N_TTY of Linux). So it is
//! read key by key here, and this module does what the terminal else would: echo, and the keys that erase.

use crate::base::secret::Secret;
#[cfg(not(unix))]
pub use other::Paste;
#[cfg(unix)]
use std::time::Duration;
#[cfg(unix)]
pub use unix::Paste;

/// How long nothing may come after a line break until the line is whole: one that was pasted may have breaks in it.
#[cfg(unix)]
const QUIET: Duration = Duration::from_millis(200);
/// The longest text that is taken, in bytes; what is longer is cut.
const MOST: usize = 64 << 10;

/// What has come.
pub enum Pasted {
    /// A line, or several that came at once.
    Line(Secret),
    /// The end of the input, with no line before it.
    End,
}

#[cfg(unix)]
mod unix {
    use super::{MOST, Pasted, QUIET};
    use crate::base::secret::Secret;
    use crate::system::signals;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::process::getpgrp;
    use rustix::termios::{
        LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
    };
    use std::io::Write;
    use std::time::{Duration, Instant};
    use zeroize::Zeroizing;

    /// The marks that a terminal puts around what is pasted where a program has asked for them, a shell perhaps.
    const MARKS: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];
    /// The longest sequence of a key.
    const LONGEST_KEY: usize = 16;

    /// Takes a line from stdin. A terminal is as it was once this goes, and what was typed and not taken is thrown
    /// away: the shell must not run it.
    pub struct Paste {
        /// How the terminal was; `None`: stdin is none.
        before: Option<Termios>,
        text: Zeroizing<Vec<u8>>,
        /// When the line break came that may be its end.
        broken: Option<Instant>,
        /// Between the marks of a paste.
        within: bool,
        /// The sequence of a key, as far as it has come.
        key: Vec<u8>,
        ended: bool,
    }

    impl Paste {
        /// Begins to take what comes.
        pub fn begin() -> Paste {
            // It notes how the terminal is, for whatever ends the process.
            signals::listen();
            let before = tcgetattr(rustix::stdio::stdin()).ok();
            if before.is_some() {
                signals::reads_keys();
            }
            // Room for all of it at once, so that no copy is left behind.
            let text = Zeroizing::new(Vec::with_capacity(MOST));
            let paste = Paste { before, text, broken: None, within: false, key: Vec::new(), ended: false };
            paste.set_modes();
            paste
        }

        /// Whether something may come: in the background a read would stop the process.
        pub fn listens(&self) -> bool {
            !self.ended && (self.before.is_none() || is_in_foreground())
        }

        /// Waits until something comes, or `limit` has passed.
        pub fn wait(&self, limit: Duration) {
            let limit = self.broken.map_or(limit, |broken| limit.min(QUIET.saturating_sub(broken.elapsed())));
            let limit = Timespec::try_from(limit).unwrap_or_default();
            let stdin = rustix::stdio::stdin();
            let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
            let count = if self.listens() { 1 } else { 0 };
            let _ = poll(&mut fds[..count], Some(&limit));
        }

        /// Takes what is there now; a line once it is whole.
        pub fn take(&mut self) -> Option<Pasted> {
            if !self.listens() {
                return None;
            }
            // A shell that stopped and resumed us has set its own.
            self.set_modes();
            let stdin = rustix::stdio::stdin();
            let mut piece = Zeroizing::new([0; 4096]);
            loop {
                let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
                if poll(&mut fds, Some(&Timespec::default())) != Ok(1) {
                    break;
                }
                match rustix::io::read(stdin, &mut *piece) {
                    Ok(0) => self.ended = true,
                    Ok(count) => {
                        self.read(piece.get(..count).unwrap_or_default());
                        continue;
                    }
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => {}
                    Err(_) => self.ended = true,
                }
                break;
            }
            if self.ended && self.text.trim_ascii().is_empty() && self.broken.is_none() {
                return Some(Pasted::End);
            }
            if self.ended || self.broken.is_some_and(|broken| broken.elapsed() >= QUIET) {
                return Some(Pasted::Line(self.whole()));
            }
            None
        }

        /// The text, which is not ours any more.
        fn whole(&mut self) -> Secret {
            let line = Secret::new(Zeroizing::new(String::from_utf8_lossy(&self.text).into_owned()).trim());
            zeroize::Zeroize::zeroize(&mut *self.text);
            self.text.reserve(MOST);
            (self.broken, self.within) = (None, false);
            line
        }

        #[expect(clippy::disallowed_methods, reason = "an echo is the terminal's own, and no message")]
        fn read(&mut self, bytes: &[u8]) {
            let mut echo = Zeroizing::new(String::with_capacity(bytes.len() * 3));
            for byte in bytes {
                self.read_one(*byte, &mut echo);
            }
            if self.before.is_some() {
                let _ = std::io::stderr().write_all(echo.as_bytes());
            }
        }

        fn read_one(&mut self, byte: u8, echo: &mut String) {
            if !self.key.is_empty() || byte == 0x1b {
                self.key.push(byte);
                let is_whole = match self.key.as_slice() {
                    [_] | [_, b'['] => false,
                    [_, b'[', .., last] => (0x40..=0x7e).contains(last),
                    _ => true,
                };
                if is_whole || self.key.len() > LONGEST_KEY {
                    let key = std::mem::take(&mut self.key);
                    self.within = MARKS.iter().position(|mark| *mark == key).map_or(self.within, |at| at == 0);
                }
                return;
            }
            if matches!(byte, b'\n' | b'\r') {
                if !self.within {
                    self.broken = Some(Instant::now());
                    echo.push('\n');
                }
                if self.text.len() < MOST {
                    self.text.push(b'\n');
                }
                return;
            }
            if let (Some(modes), false) = (&self.before, self.within) {
                let is = |code| modes.special_codes[code] == byte && byte != 0;
                let text = &mut self.text;
                if is(SpecialCodeIndex::VEOF) {
                    match text.trim_ascii().is_empty() {
                        true => self.ended = true,
                        false => self.broken = Some(Instant::now()),
                    }
                    return;
                }
                if is(SpecialCodeIndex::VERASE) || matches!(byte, 0x7f | 0x08) {
                    if text.pop().is_some() {
                        echo.push_str("\u{8} \u{8}");
                    }
                    return;
                }
                if is(SpecialCodeIndex::VKILL) {
                    text.drain(..).for_each(|_| echo.push_str("\u{8} \u{8}"));
                    return;
                }
            }
            if byte < b' ' || byte == 0x7f {
                return;
            }
            self.broken = None;
            if self.text.len() < MOST {
                self.text.push(byte);
                echo.push(if byte.is_ascii() { char::from(byte) } else { '?' });
            }
        }

        /// Key by key and without echo; signals of keys stay.
        fn set_modes(&self) {
            let stdin = rustix::stdio::stdin();
            if self.before.is_none() || !is_in_foreground() {
                return;
            }
            let Ok(mut modes) = tcgetattr(stdin) else { return };
            let others = LocalModes::ICANON | LocalModes::ECHO;
            if modes.local_modes.intersects(others) {
                modes.local_modes.remove(others);
                modes.special_codes[SpecialCodeIndex::VMIN] = 1;
                modes.special_codes[SpecialCodeIndex::VTIME] = 0;
                let _ = tcsetattr(stdin, OptionalActions::Now, &modes);
            }
        }
    }

    impl Drop for Paste {
        fn drop(&mut self) {
            let stdin = rustix::stdio::stdin();
            if let Some(before) = self.before.as_ref().filter(|_| is_in_foreground()) {
                let _ = tcflush(stdin, QueueSelector::IFlush);
                let _ = tcsetattr(stdin, OptionalActions::Now, before);
            }
            signals::reads_lines();
        }
    }

    /// Whether the terminal on stdin is ours to read from.
    fn is_in_foreground() -> bool {
        tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|group| group == getpgrp())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn taken(bytes: &[u8]) -> (String, bool) {
            let mut paste = Paste {
                before: None,
                text: Zeroizing::default(),
                broken: None,
                within: false,
                key: Vec::new(),
                ended: false,
            };
            bytes.chunks(3).for_each(|piece| paste.read(piece));
            let is_broken = paste.broken.is_some();
            (paste.whole().expose().to_string(), is_broken)
        }

        #[test]
        fn marks_and_keys_are_left_out() {
            for (bytes, text, is_broken) in [
                (&b"abc\n"[..], "abc", true),
                (b"abc", "abc", false),
                (b"\x1b[200~a\nb\r\nc\x1b[201~\r", "a\nb\n\nc", true),
                (b"\x1b[200~a\n", "a", false),
                (b"a\nb\n", "a\nb", true),
                (b"a\x1b[A\x1b[1;5Cb\x1bxc\x00\n", "abc", true),
                (b"\n", "", true),
            ] {
                assert_eq!(taken(bytes), (text.to_string(), is_broken), "{bytes:?}");
            }
            assert_eq!(taken(&vec![b'x'; MOST + 5]).0.len(), MOST);
        }
    }
}

#[cfg(not(unix))]
mod other {
    use super::{MOST, Pasted};
    use crate::base::secret::Secret;
    use std::io::{BufRead, Read};
    use std::sync::mpsc::{Receiver, TryRecvError, channel};
    use std::time::Duration;
    use zeroize::Zeroizing;

    /// Takes lines from stdin, in a thread that ends with the process: the console cannot be given a limit.
    pub struct Paste(Option<Receiver<Zeroizing<String>>>);

    impl Paste {
        /// Begins to take what comes.
        #[expect(clippy::disallowed_methods, reason = "the console is read here, in a thread of its own")]
        pub fn begin() -> Paste {
            let (send, receive) = channel();
            let reads = std::thread::Builder::new().spawn(move || {
                loop {
                    let mut line = Zeroizing::new(String::with_capacity(MOST));
                    match std::io::stdin().lock().take(MOST as u64).read_line(&mut line) {
                        Ok(1..) if send.send(line).is_ok() => {}
                        _ => return,
                    }
                }
            });
            Paste(reads.is_ok().then_some(receive))
        }

        /// Whether something may come.
        pub fn listens(&self) -> bool {
            self.0.is_some()
        }

        /// Waits for `limit`, or less.
        pub fn wait(&self, limit: Duration) {
            std::thread::sleep(limit.min(Duration::from_millis(50)));
        }

        /// A line, once it is there.
        pub fn take(&mut self) -> Option<Pasted> {
            match self.0.as_ref()?.try_recv() {
                Ok(line) => Some(Pasted::Line(Secret::new(line.trim()))),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => {
                    self.0 = None;
                    Some(Pasted::End)
                }
            }
        }
    }
}
