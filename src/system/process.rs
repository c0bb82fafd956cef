//! Other programs, run without a shell and bounded in time.

use std::ffi::OsString;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Why a program gave no output, in words without it.
#[derive(Debug)]
pub struct Failed {
    /// In words.
    pub why: String,
    /// It did not end in time.
    pub timed_out: bool,
}

impl From<String> for Failed {
    fn from(why: String) -> Failed {
        Failed { why, timed_out: false }
    }
}

/// What the program `words[0]` with the arguments after it prints, if it ends well within `limit` with at most
/// `most` bytes. It gets `env` and no stdin; its stderr is ours.
///
/// # Errors
/// [`Failed`].
pub fn output<'e>(
    words: &[String],
    env: impl Iterator<Item = (&'e OsString, &'e OsString)>,
    limit: Duration,
    most: u64,
) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("there is no program to run".to_string().into());
    };
    let until = Instant::now() + limit;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such program".to_string(),
            _ => format!("it cannot be run: {error}"),
        })?;
    let (send, receive) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Zeroizing::new(Vec::new());
            let read = stdout.by_ref().take(most + 1).read_to_end(&mut bytes);
            let _ = send.send(read.map(|_| bytes));
        });
    }
    let read = receive.recv_timeout(limit);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            // It may close its output before it ends.
            Ok(None) if read.is_ok() && Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    match (read, status) {
        (Ok(Ok(bytes)), _) if bytes.len() as u64 > most => Err(format!("it printed more than {most} bytes").into()),
        (Ok(Ok(bytes)), Some(status)) if status.success() => Ok(bytes),
        (Ok(Ok(_)), Some(status)) => Err(format!("it failed ({status})").into()),
        (Ok(Err(error)), _) => Err(format!("its output cannot be read: {error}").into()),
        _ => Err(Failed { why: "it did not end in time".into(), timed_out: true }),
    }
}
