//! How tests start programs: with the signals of a fresh login, in a session of their own, and with a limit.
//!
//! A test runner under `nohup`, or in the background of a script, ignores SIGHUP or SIGINT, and whatever it starts would
//! inherit that. A session of its own keeps a program away from the terminal of whoever runs the tests, and makes it the
//! leader of a process group, which is killed as a whole once the limit has passed.
#![allow(dead_code)] // not every test crate uses all of it

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long a program may take: far above anything healthy on a machine that does other work too.
pub const LIMIT: Duration = Duration::from_secs(300);

/// The same for a program that serves a whole suite or a long sweep.
pub const LIMIT_OF_A_SERVICE: Duration = Duration::from_secs(7200);

/// What a bounded wait may take on a busy machine. Whatever it is a bound for would take several minutes.
pub const SOON: Duration = Duration::from_secs(60);

/// How long after a program's end its last words may take, should another process hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Starting a [`Command`] under the rules of this module.
pub trait Start {
    /// Starts it and comes back at once.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    fn start(&mut self) -> io::Result<Program>;

    /// Runs it to its end, with no input, and returns what it printed.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    ///
    /// # Panics
    /// After [`LIMIT`], with what it printed until then.
    fn finish(&mut self) -> io::Result<Output>;
}

impl Start for Command {
    fn start(&mut self) -> io::Result<Program> {
        Program::start(self, LIMIT)
    }

    #[track_caller]
    fn finish(&mut self) -> io::Result<Output> {
        self.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(self.start()?.output())
    }
}

/// Every signal has its default action in what `command` starts, and none is blocked.
#[allow(unsafe_code)]
pub fn with_default_signals(command: &mut Command) -> &mut Command {
    let reset = || {
        // SAFETY: all three are async-signal-safe, as is demanded between fork and exec (signal-safety(7)). A signal that
        // cannot be set, SIGKILL or one of the C library's own, is refused, which is right.
        unsafe {
            for signal in 1..=64 {
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        }
        Ok(())
    };
    // SAFETY: the closure makes async-signal-safe calls only, and allocates nothing.
    unsafe { command.pre_exec(reset) }
}

/// A session of its own, and with it a process group whose number is the program's.
#[allow(unsafe_code)]
fn in_its_own_session(command: &mut Command) -> &mut Command {
    // SAFETY: `setsid` is async-signal-safe.
    unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from)) }
}

/// The group of `pid` is killed after `limit`, unless [`Guard::ended`] is called before.
pub struct Guard {
    watched: Arc<Mutex<Watched>>,
    _wake: mpsc::Sender<()>,
}

struct Watched {
    pid: rustix::process::Pid,
    /// Whether the number may belong to another process by now.
    ended: bool,
    killed: bool,
}

impl Watched {
    fn kill(&self) {
        if !self.ended {
            let _ = rustix::process::kill_process_group(self.pid, rustix::process::Signal::KILL);
        }
    }
}

impl Guard {
    /// Watches over the leader of a process group.
    pub fn over(pid: u32, limit: Duration) -> Guard {
        let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process id");
        let watched = Arc::new(Mutex::new(Watched { pid, ended: false, killed: false }));
        let (wake, woken) = mpsc::channel::<()>();
        let theirs = watched.clone();
        std::thread::spawn(move || {
            if woken.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                let mut watched = lock(&theirs);
                watched.kill();
                watched.killed = !watched.ended;
            }
        });
        Guard { watched, _wake: wake }
    }

    /// The process has been waited for: its number may be another's from now on.
    pub fn ended(&self) {
        lock(&self.watched).ended = true;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program that runs. It and its group are killed when this is dropped.
pub struct Program {
    child: Child,
    shown: String,
    limit: Duration,
    guard: Guard,
    status: Option<ExitStatus>,
    /// Its stdin, where that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Its stdout, where that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its stderr, where that is a pipe.
    pub stderr: Option<ChildStderr>,
}

impl Program {
    /// Starts `command`, to be killed after `limit`.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn start(command: &mut Command, limit: Duration) -> io::Result<Program> {
        let mut child = in_its_own_session(with_default_signals(command)).spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let guard = Guard::over(child.id(), limit);
        Ok(Program { child, shown: format!("{command:?}"), limit, guard, status: None, stdin, stdout, stderr })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, where it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // Under the lock, so that the guard never kills a process that has the number after this one.
            let mut watched = lock(&self.guard.watched);
            self.status = self.child.try_wait().expect("the child can be asked");
            watched.ended = self.status.is_some();
        }
        self.status
    }

    /// Whether it was killed because its time was over.
    pub fn was_late(&self) -> bool {
        lock(&self.guard.watched).killed
    }

    /// Waits for its end, at most until `end`.
    pub fn wait_until(&mut self, end: Instant) -> Option<ExitStatus> {
        let mut pause = Duration::from_micros(500);
        loop {
            if let Some(status) = self.try_wait() {
                return Some(status);
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(8));
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it had to be killed.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        // The guard comes first; this only ends a wait that even SIGKILL does not.
        let status = self.wait_until(Instant::now() + self.limit + LAST_WORDS);
        assert!(!self.was_late(), "took longer than {:?}: {}", self.limit, self.shown);
        status.unwrap_or_else(|| panic!("cannot be killed: {}", self.shown))
    }

    /// Closes its stdin, waits for its end, and returns what it printed.
    ///
    /// # Panics
    /// If it had to be killed, with what it had printed.
    #[track_caller]
    pub fn output(mut self) -> Output {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take().map(Drain::of), self.stderr.take().map(Drain::of));
        let status = self.wait_until(Instant::now() + self.limit + LAST_WORDS);
        let end = Instant::now() + LAST_WORDS;
        let read = |drain: Option<Drain>| drain.map(|drain| drain.bytes(end)).unwrap_or_default();
        let (stdout, stderr) = (read(stdout), read(stderr));
        match status {
            Some(status) if !self.was_late() => Output { status, stdout, stderr },
            _ => panic!(
                "took longer than {:?}: {}\nstdout: {}\nstderr: {}",
                self.limit,
                self.shown,
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            ),
        }
    }

    /// Sends a signal to the program alone.
    pub fn signal(&mut self, signal: rustix::process::Signal) {
        if self.try_wait().is_none() {
            let watched = lock(&self.guard.watched);
            let _ = rustix::process::kill_process(watched.pid, signal);
        }
    }

    /// Kills it with its group, and waits for its end.
    pub fn kill(&mut self) {
        if self.try_wait().is_none() {
            lock(&self.guard.watched).kill();
            self.wait_until(Instant::now() + LAST_WORDS);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads a pipe in a thread of its own, so that a process that holds it open holds up nobody.
pub struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: mpsc::Receiver<()>,
}

impl Drain {
    /// Begins to read.
    pub fn of(mut pipe: impl Read + Send + 'static) -> Drain {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (theirs, (ended, end)) = (bytes.clone(), mpsc::channel());
        std::thread::spawn(move || {
            let mut piece = [0; 8192];
            loop {
                match pipe.read(&mut piece) {
                    Ok(0) => break,
                    Ok(count) => lock(&theirs).extend_from_slice(&piece[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            drop(ended);
        });
        Drain { bytes, end }
    }

    /// Everything up to the end of the pipe, or what has come by `end`.
    pub fn bytes(self, end: Instant) -> Vec<u8> {
        let _ = self.end.recv_timeout(end.saturating_duration_since(Instant::now()));
        std::mem::take(&mut lock(&self.bytes))
    }

    /// The same, with a few seconds after the program's end for its last words.
    pub fn last_words(self) -> Vec<u8> {
        self.bytes(Instant::now() + LAST_WORDS)
    }

    /// Whether `text` has come by now.
    pub fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&lock(&self.bytes)).contains(text)
    }
}
