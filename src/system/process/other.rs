//! A program that runs, where there are no process groups.

use super::*;
use std::io::{Read, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a program that has closed its output, or left it to a child, is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);
/// How long after its end its last words are waited for, should a child of it hold the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A program that runs.
pub struct Running(Child);

/// Starts `command`.
pub fn start(command: &mut Command) -> io::Result<Running> {
    command.spawn().map(Running)
}

type Buffer = Arc<Mutex<Zeroizing<Vec<u8>>>>;

fn open(buffer: &Buffer) -> MutexGuard<'_, Zeroizing<Vec<u8>>> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// Threads read and write, so that no order of the program's doings can block it; those still at it when it
    /// has ended are left alone.
    pub fn finish(
        mut self,
        input: Zeroizing<Vec<u8>>,
        last: &mut Zeroizing<Vec<u8>>,
        deadline: Instant,
        most: u64,
    ) -> io::Result<End> {
        let said = Buffer::default();
        let end = self.finish_until(input, &said, deadline, most);
        append_last(last, &open(&said));
        if !matches!(end, Ok(End::Ended(_))) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
        end
    }

    fn finish_until(
        &mut self,
        input: Zeroizing<Vec<u8>>,
        said: &Buffer,
        deadline: Instant,
        most: u64,
    ) -> io::Result<End> {
        let (send, receive) = mpsc::channel::<()>();
        if let Some(mut stdin) = self.0.stdin.take() {
            // A program that does not read its input tells why by its status.
            spawn(move || drop(stdin.write_all(&input)))?;
        }
        let stdout = self.0.stdout.take().map(|pipe| collect(pipe, send.clone(), most + 1)).transpose()?;
        self.0.stderr.take().map(|pipe| collect_last(pipe, said.clone(), send)).transpose()?;
        let mut until = deadline;
        let mut status = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // The end of both threads disconnects the channel.
            let silent = matches!(receive.recv_timeout(left.min(POLL)), Err(RecvTimeoutError::Disconnected));
            if stdout.as_ref().is_some_and(|stdout| open(stdout).len() as u64 > most) {
                return Ok(End::TooMuch);
            }
            if status.is_none() {
                status = self.0.try_wait()?;
                if status.is_some() {
                    until = deadline.min(Instant::now() + LAST_WORDS);
                }
            }
            let over = Instant::now() >= until;
            match status {
                Some(status) if silent || over => {
                    let take = |buffer: Option<Buffer>| {
                        buffer.map_or_else(Zeroizing::default, |buffer| std::mem::take(&mut *open(&buffer)))
                    };
                    return Ok(End::Ended(Output { status, stdout: take(stdout) }));
                }
                None if over => return Ok(End::Late),
                None if silent => std::thread::sleep(left.min(POLL)),
                _ => {}
            }
        }
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().spawn(work).map(drop)
}

/// Reads `pipe` to its end, at most `most` bytes of it, in a thread that holds `end` until then.
fn collect(pipe: impl Read + Send + 'static, end: mpsc::Sender<()>, most: u64) -> io::Result<Buffer> {
    let buffer = Buffer::default();
    let filled = buffer.clone();
    spawn(move || {
        each_piece(pipe.take(most), |piece| append(&mut open(&filled), piece));
        drop(end);
    })?;
    Ok(buffer)
}

/// Reads `pipe` to its end and keeps the end of it in `said`, in a thread that holds `end` until it has all.
fn collect_last(pipe: impl Read + Send + 'static, said: Buffer, end: mpsc::Sender<()>) -> io::Result<()> {
    spawn(move || {
        each_piece(pipe, |piece| append_last(&mut open(&said), piece));
        drop(end);
    })
}

fn each_piece(mut pipe: impl Read, mut take: impl FnMut(&[u8])) {
    let mut piece = Zeroizing::new([0u8; 4096]);
    loop {
        match pipe.read(&mut *piece) {
            Ok(0) => break,
            Ok(length) => take(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
}
