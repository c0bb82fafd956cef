//! The world as one value: environment, folders, clock, terminal, network, stores. What touches the world is here or
//! is made here; everything else is handed it.
#![expect(clippy::disallowed_methods, reason = "here the world is made")]

use crate::base::error::{Error, Kind, Result};
use crate::base::text::{escape, line};
use crate::cli::{Color, Global};
use crate::oauth::request::{Identity, Request, Response};
use crate::profile::config::StoreChoice;
use crate::provider::Provider;
use crate::storage::secrets::file::FileStore;
use crate::storage::secrets::helper::HelperStore;
use crate::storage::secrets::keyring::{KeyringStore, is_remote};
use crate::storage::secrets::split::Split;
use crate::storage::secrets::{Store, StoreError, Trouble};
use crate::system::files;
use crate::system::http::{self, Client, Settings};
use crate::system::process::{Failed, is_own};
use crate::token::{Secret, Time};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The most that a file a user names, or a command's output, may hold, in bytes.
pub const LIMIT: u64 = 1 << 20;
/// How long a keyring is waited for where nobody can type.
const UNATTENDED: Duration = Duration::from_secs(3);
/// How long a keyring is waited for where a person may be unlocking it.
const ATTENDED: Duration = Duration::from_secs(60);

/// Where things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// The user's home.
    pub home: PathBuf,
    /// `<config>/tok`: config.toml and providers/.
    pub config: PathBuf,
    /// `<data>/tok`: secrets.json.
    pub data: PathBuf,
    /// `<state>/tok`: cached tokens, index, locks.
    pub state: PathBuf,
}

impl Folders {
    /// The platform's folders.
    fn of_platform() -> Option<Folders> {
        let base = directories::BaseDirs::new()?;
        Some(Folders {
            home: base.home_dir().into(),
            config: base.config_dir().join("tok"),
            data: base.data_dir().join("tok"),
            state: base.state_dir().unwrap_or(base.data_local_dir()).join("tok"),
        })
    }

    /// Where the tokens of `profile` wait.
    pub fn cache(&self, profile: &str) -> PathBuf {
        self.state.join("cache").join(profile)
    }

    /// Where the metadata and public keys of authorization servers wait.
    pub fn metadata(&self) -> PathBuf {
        self.state.join("metadata")
    }

    /// Where the locks are.
    pub fn locks(&self) -> PathBuf {
        self.state.join("locks")
    }

    /// What is known of each profile without opening a store.
    pub fn index(&self) -> PathBuf {
        self.state.join("kept")
    }

    /// The file of the user's own provider `name`.
    pub fn provider(&self, name: &str) -> PathBuf {
        self.config.join("providers").join(format!("{name}.toml"))
    }
}

/// A provider as it was read.
pub struct Loaded {
    /// What it is.
    pub provider: Provider,
    /// The user's file that it comes from; `None`: it is built in.
    pub file: Option<PathBuf>,
}

/// What came when a line was asked for.
pub enum Line {
    /// Its text.
    Read(Secret),
    /// An empty one, or the end of the input.
    Empty,
    /// Nothing in time.
    Late,
}

/// The world, as this run sees it.
pub struct Host {
    /// The command line, the program's name first.
    pub words: Vec<OsString>,
    /// The environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Where things are kept; `None` where the user has no home.
    folders: Option<Folders>,
    /// When this run began.
    pub started: Time,
    /// Until when the whole call may last.
    pub deadline: Instant,
    /// `--timeout`, as it counts for the deadline.
    pub timeout: Duration,
    /// Whether a person can be asked: stdin and stderr are terminals, and `--no-input` was not given.
    pub interactive: bool,
    /// Whether stderr is a terminal.
    pub stderr_terminal: bool,
    /// How many `-v`.
    pub verbose: u8,
    /// `-q`
    pub quiet: bool,
    /// `--color`
    color_choice: Color,
    /// Whether messages may be coloured.
    pub color: bool,
    /// The real stdout, or a test's.
    pub out: Box<dyn Write>,
    /// The real stderr, or a test's.
    pub err: Box<dyn Write>,
    /// The config that was read to know the command line, and its path: whoever runs the command takes it.
    pub config: Option<(PathBuf, crate::profile::config::Config)>,
    /// The providers that were read, as they do not change while a command runs.
    providers: RefCell<BTreeMap<String, Rc<Loaded>>>,
    /// The names of the user's own provider files, once they were asked for.
    own_providers: OnceCell<Vec<String>>,
    /// The keyring, once it was asked for.
    keyring: OnceCell<KeyringStore>,
    client: Option<(Option<PathBuf>, Client)>,
    /// Lines for stderr that wait, while a token is on its way from server to store.
    hushed: Option<Vec<String>>,
}

impl Host {
    /// The real world.
    pub fn real() -> Host {
        let stderr_terminal = std::io::stderr().is_terminal();
        let timeout = Duration::from_secs(30);
        Host {
            words: Vec::new(),
            env: std::env::vars_os().collect(),
            folders: Folders::of_platform(),
            started: now(),
            deadline: Instant::now() + timeout,
            timeout,
            interactive: stderr_terminal && std::io::stdin().is_terminal(),
            stderr_terminal,
            verbose: 0,
            quiet: false,
            color_choice: Color::Auto,
            color: false,
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            config: None,
            providers: RefCell::default(),
            own_providers: OnceCell::new(),
            keyring: OnceCell::new(),
            client: None,
            hushed: None,
        }
    }

    /// Puts the options of every command into force.
    pub fn settle(&mut self, global: &Global) {
        self.verbose = global.verbose;
        self.quiet = global.quiet;
        self.interactive &= !global.no_input;
        self.color_choice = global.color;
        self.color = self.color_on(self.stderr_terminal);
    }

    /// Whether what is written to a stream may be coloured that is a terminal or not: by `--color`, else by `NO_COLOR`
    /// (<https://no-color.org>) and TERM.
    fn color_on(&self, is_terminal: bool) -> bool {
        let var = |name: &str| self.env.get(OsStr::new(name)).filter(|value| !value.is_empty());
        match self.color_choice {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && var("NO_COLOR").is_none() && var("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// Whether stdout may be coloured.
    pub fn colors_stdout(&self) -> bool {
        self.color_on(std::io::stdout().is_terminal())
    }

    /// How many columns there are for an answer: COLUMNS, else those of the terminal that stdout is; `None` where it is
    /// none.
    pub fn columns(&self) -> Option<usize> {
        let set = self.env.get(OsStr::new("COLUMNS")).and_then(|text| text.to_str()?.parse().ok());
        let asked = || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
        set.or_else(asked).filter(|columns| *columns > 0)
    }

    /// How many columns the terminal has that stderr is.
    pub fn stderr_columns(&self) -> Option<usize> {
        let size = terminal_size::terminal_size_of(std::io::stderr());
        size.map(|(width, _)| usize::from(width.0)).filter(|columns| *columns > 0)
    }

    /// The folder that relative paths start from.
    pub fn working_folder(&self) -> Option<PathBuf> {
        std::env::current_dir().ok()
    }

    /// Where things are kept.
    ///
    /// # Errors
    /// [`Kind::Other`] where the user has no home.
    pub fn folders(&self) -> Result<&Folders> {
        self.folders.as_ref().ok_or_else(|| {
            Error::new(Kind::Other, "there is no place for config and tokens", "this user has no home folder")
                .hint("set HOME to an absolute path")
        })
    }

    /// The provider `name`, read by `read` where it was not read before.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn provider(&self, name: &str, read: impl FnOnce() -> Result<Option<Loaded>>) -> Result<Option<Rc<Loaded>>> {
        if let Some(known) = self.providers.borrow().get(name) {
            return Ok(Some(known.clone()));
        }
        let loaded = read()?.map(Rc::new);
        if let Some(loaded) = &loaded {
            self.providers.borrow_mut().insert(name.to_string(), loaded.clone());
        }
        Ok(loaded)
    }

    /// The names of the user's own provider files, found by `find` where they were not asked for before.
    pub fn own_providers(&self, find: impl FnOnce() -> Vec<String>) -> &[String] {
        self.own_providers.get_or_init(find)
    }

    /// The environment variable `name`, as text; an empty one is absent.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it is not UTF-8.
    pub fn var(&self, name: &str) -> Result<Option<String>> {
        match self.env.get(OsStr::new(name)) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => match value.to_str() {
                Some(text) => Ok(Some(text.to_string())),
                None => Err(Error::new(Kind::Usage, name, "its value is not UTF-8")),
            },
        }
    }

    /// The variables of ours, `NAME=value`.
    pub fn own_variables(&self) -> Vec<zeroize::Zeroizing<Vec<u8>>> {
        let own = self.env.iter().filter(|(name, _)| is_own(name));
        own.map(|(name, value)| [name.as_encoded_bytes(), value.as_encoded_bytes()].join(&b'=').into()).collect()
    }

    /// Whether the variable is there and empty.
    pub fn is_set_but_empty(&self, name: &str) -> bool {
        self.env.get(OsStr::new(name)).is_some_and(|v| v.is_empty())
    }

    /// The clock that only runs forward.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Waits; a signal ends the process at once meanwhile.
    pub fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }

    /// The clock.
    pub fn now(&self) -> Time {
        now()
    }

    /// Limits the whole call to `timeout` from its start.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.deadline = self.deadline - self.timeout + timeout;
        self.timeout = timeout;
    }

    /// Starts the time of the call anew: until now a person took theirs.
    pub fn renew(&mut self) {
        self.deadline = Instant::now() + self.timeout;
    }

    /// Runs `ask`, in which a person takes their time: it does not count.
    fn unhurried<T>(&mut self, ask: impl FnOnce(&mut Host) -> T) -> T {
        let start = Instant::now();
        let answer = ask(self);
        self.deadline += start.elapsed();
        answer
    }

    /// Sends `request`; the way to the network is made at the first one.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send(&mut self, request: &Request, ca_file: Option<&Path>) -> Result<Response> {
        if self.client.as_ref().is_none_or(|(of, _)| of.as_deref() != ca_file) {
            let mut settings = Settings::from_env(|name| self.env.get(OsStr::new(name)).cloned());
            settings.ca_file = ca_file.map(Path::to_path_buf);
            settings.verbose = self.verbose;
            self.client = Some((ca_file.map(Path::to_path_buf), Client::new(settings)));
        }
        let mut lines = Vec::new();
        let answer = match &self.client {
            Some((_, client)) => client.send(request, self.deadline, &now, &mut |line| lines.push(line.to_string())),
            None => Err(Error::new(Kind::Other, "no way to the network", "")),
        };
        lines.iter().for_each(|line| self.detail(line));
        answer
    }

    /// Whether `identity` can be shown, before anything is sent.
    ///
    /// # Errors
    /// As [`http::check_identity`].
    pub fn check_identity(&self, identity: &Identity) -> Result<()> {
        http::check_identity(identity)
    }

    /// The store of that choice; `None` for none.
    ///
    /// # Errors
    /// Where it cannot even be tried.
    pub fn store(&self, choice: &StoreChoice) -> std::result::Result<Option<Box<dyn Store>>, StoreError> {
        let missing = |why: &str| StoreError { trouble: Trouble::Missing, why: why.into() };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let patience = if self.interactive { ATTENDED } else { UNATTENDED.min(left) };
        Ok(Some(match choice {
            StoreChoice::None => return Ok(None),
            StoreChoice::File => {
                let folders = self.folders().map_err(|e| missing(&e.to_string()))?;
                Box::new(FileStore::new(folders.data.join("secrets.json"), folders.locks(), self.deadline))
            }
            StoreChoice::Keyring => Box::new(Split::new(self.keyring(patience), entry_limit())),
            StoreChoice::Helper(name) => Box::new(Split::new(
                HelperStore::new(name, patience.max(UNATTENDED).min(left.max(UNATTENDED)), self.env.clone())?,
                None,
            )),
        }))
    }

    /// The platform's keyring, as far as it can be looked for. All of a run share one connection.
    pub fn keyring(&self, patience: Duration) -> KeyringStore {
        let mut keyring = self.keyring.get_or_init(|| self.find_keyring()).clone();
        keyring.set_patience(patience);
        keyring
    }

    fn find_keyring(&self) -> KeyringStore {
        if cfg!(all(unix, not(target_os = "macos"))) {
            if !self.has_bus() {
                return KeyringStore::without_bus();
            }
            let address = self.env.get(OsStr::new("DBUS_SESSION_BUS_ADDRESS")).and_then(|address| address.to_str());
            if address.is_some_and(is_remote) {
                return KeyringStore::on_remote_bus();
            }
        }
        KeyringStore::new(self.patience())
    }

    /// How long a keyring is waited for.
    pub fn patience(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if self.interactive { ATTENDED } else { UNATTENDED.min(left) }
    }

    fn has_bus(&self) -> bool {
        ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"]
            .iter()
            .any(|name| self.env.get(OsStr::new(name)).is_some_and(|v| !v.is_empty()))
    }

    /// A file that the user named, as text without one trailing line break. `-` is stdin, where `stdin` allows it.
    /// `lines`: it may have several.
    ///
    /// # Errors
    /// In words that never repeat the path or the content: either may be a secret typed in the wrong place.
    pub fn read_secret_file(&self, path: &Path, stdin: bool, lines: bool) -> std::result::Result<Secret, Failed> {
        let bytes = if stdin && path == Path::new("-") {
            files::read_stream(std::io::stdin(), LIMIT, self.deadline)
        } else {
            files::read_user_file(path, LIMIT, self.deadline)
        };
        let bytes = zeroize::Zeroizing::new(bytes.map_err(|error| -> Failed {
            match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".to_string(),
                std::io::ErrorKind::IsADirectory => "it is a folder".to_string(),
                std::io::ErrorKind::PermissionDenied => "it may not be read".to_string(),
                std::io::ErrorKind::FileTooLarge => "it is longer than 1 MiB".to_string(),
                std::io::ErrorKind::TimedOut => {
                    return Failed { why: "nothing came from it in time".into(), timed_out: true };
                }
                _ => "it cannot be read".to_string(),
            }
            .into()
        })?);
        Ok(text(&bytes, lines)?)
    }

    /// What the command prints, without one trailing line break, and in several lines where `lines` allows. It runs without a shell, without stdin and without
    /// any `TOK_` variable; its stderr is ours, as it may ask for a password on the terminal.
    ///
    /// # Errors
    /// In words without its output.
    pub fn run_command(&self, words: &[String], lines: bool) -> std::result::Result<Secret, Failed> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let env = self.env.iter().filter(|(name, _)| !is_own(name));
        let bytes = crate::system::process::output(words, env, left, LIMIT)?;
        Ok(text(&bytes, lines)?)
    }

    /// Asks a person, without echo where it is a secret.
    ///
    /// # Errors
    /// [`Kind::Other`] where the terminal fails; an empty answer is `None`.
    pub fn ask(&mut self, label: &str, secret: bool) -> Result<Option<Secret>> {
        let answer = self.unhurried(|host| {
            let _ = write!(host.err, "{}: ", escape(label));
            let _ = host.err.flush();
            if secret {
                return rpassword::read_password();
            }
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line.trim_end_matches(['\r', '\n']).to_string())
        });
        if answer.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::Interrupted) {
            crate::system::signals::interrupt();
        }
        let answer = match answer {
            // Ctrl-D is no answer.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(String::new()),
            answer => answer,
        };
        let answer = answer.map_err(|e| Error::new(Kind::Other, format!("cannot ask for {label}"), e.to_string()))?;
        Ok((!answer.is_empty()).then(|| Secret::new(answer)))
    }

    /// Says something that went wrong without stopping the call.
    pub fn warn(&mut self, text: &str) {
        if !self.quiet {
            self.insist(text);
        }
    }

    /// [`Host::warn`] that `-q` does not silence: a session may be lost.
    pub fn insist(&mut self, text: &str) {
        let (on, off) = if self.color { ("\u{1b}[33m", "\u{1b}[0m") } else { ("", "") };
        self.say(format!("tok: {on}warning:{off} {}", line(text)));
    }

    /// Says what only `-v` wants to know.
    pub fn detail(&mut self, text: &str) {
        if self.verbose > 0 {
            self.say(format!("tok: {}", line(text)));
        }
    }

    fn say(&mut self, line: String) {
        match &mut self.hushed {
            Some(lines) => lines.push(line),
            None => drop(writeln!(self.err, "{line}")),
        }
    }

    /// From now on nothing is written to stderr, which may be a terminal that takes no more for now: a new token
    /// must not wait for it on its way to the store.
    pub fn hush(&mut self) {
        self.hushed.get_or_insert_default();
    }

    /// Says what waited.
    pub fn speak(&mut self) {
        for line in self.hushed.take().unwrap_or_default() {
            self.say(line);
        }
    }

    /// Says what a person must see to go on, whoever watches and however quiet it is to be.
    pub fn show(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
        let _ = self.err.flush();
    }

    /// A line from stdin, which was asked for. Without `until` a person takes their time, and it does not count.
    ///
    /// # Errors
    /// [`Kind::Other`] where stdin fails.
    pub fn line(&mut self, until: Option<Instant>) -> Result<Line> {
        let (send, receive) = std::sync::mpsc::channel();
        // A terminal cannot be given a limit; the thread of one on which nobody types ends with the process.
        std::thread::spawn(move || {
            let line = std::io::stdin().lines().next().transpose();
            let _ = send.send(line.map(|line| zeroize::Zeroizing::new(line.unwrap_or_default())));
        });
        let line = match until {
            Some(until) => receive.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
            None => self.unhurried(|_| receive.recv().ok()),
        };
        let Some(line) = line else { return Ok(Line::Late) };
        let line = line.map_err(|e| Error::new(Kind::Other, "stdin cannot be read", e.to_string()))?;
        Ok(if line.trim().is_empty() { Line::Empty } else { Line::Read(Secret::new(line.trim())) })
    }

    /// Tells a person who watches.
    pub fn tell(&mut self, text: &str) {
        if self.stderr_terminal && !self.quiet {
            let _ = writeln!(self.err, "{}", line(text));
        }
    }
}

/// The wall clock.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// CRED_MAX_CREDENTIAL_BLOB_SIZE is 2,560 bytes; elsewhere an entry may be as long as it is.
fn entry_limit() -> Option<usize> {
    cfg!(windows).then_some(2400)
}

/// A secret as a file or a command gives it: UTF-8, on one line unless it may have several.
fn text(bytes: &[u8], lines: bool) -> std::result::Result<Secret, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_string())?;
    let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if lines && !text.contains('\0') {
        return Ok(Secret::new(text));
    }
    match text.matches('\n').count() + 1 {
        1 if !text.contains(['\r', '\0']) => Ok(Secret::new(text)),
        1 => Err("it holds a control character".into()),
        lines => Err(format!("it has {lines} lines; a secret is one line")),
    }
}

/// Gives libdbus the user's bus where neither variable that leads to it is set, as in cron and in services.
///
/// Called by `main` alone, before anything else runs: the environment may only be changed while no other thread
/// can look at it.
#[allow(unsafe_code)]
pub fn find_bus() {
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        if set("DBUS_SESSION_BUS_ADDRESS") || set("XDG_RUNTIME_DIR") {
            return;
        }
        if let Some(bus) = crate::storage::secrets::keyring::usual_bus(rustix::process::geteuid().as_raw()) {
            // SAFETY: `main` calls this first; no other thread has been started.
            unsafe { std::env::set_var("DBUS_SESSION_BUS_ADDRESS", bus) };
        }
    }
}

/// Puts a whole line on stdout, past the buffers of a program that goes on. A closed stdout is no error; a full disk
/// is, and then `false` is told: the full path says so.
#[cfg(unix)]
pub fn put(mut line: &[u8]) -> bool {
    use rustix::io::Errno;
    while !line.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), line) {
            Ok(0) => return false,
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::PIPE) => return true,
            Err(_) => return false,
        }
    }
    true
}

/// Opens the null device for each of the three streams that is closed: else a file of ours would take its number, and
/// be written to as the terminal.
#[cfg(unix)]
pub fn open_streams() {
    use rustix::{fs, io, stdio};
    for stream in [stdio::stdin(), stdio::stdout(), stdio::stderr()] {
        if io::fcntl_getfd(stream) == Err(io::Errno::BADF)
            && let Ok(null) = fs::open("/dev/null", fs::OFlags::RDWR, fs::Mode::empty())
        {
            // The lowest free number is this stream's. It stays open.
            std::mem::forget(null);
        }
    }
}

/// Keeps what is in memory out of core dumps and from other processes of the user.
pub fn protect() {
    #[cfg(target_os = "linux")]
    {
        // A kernel that does not know it leaves things as they were.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
    #[cfg(all(unix, not(target_os = "linux")))]
    {
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    }
}

#[cfg(test)]
mod tests {

    #[test]
    fn a_secret_is_one_line() {
        let text = |bytes: &[u8]| super::text(bytes, false).map(|s| s.expose().to_string());
        assert_eq!(text(b"abc\n"), Ok("abc".into()));
        assert_eq!(text(b"abc\r\n"), Ok("abc".into()));
        assert_eq!(text(b" a b "), Ok(" a b ".into()));
        for bytes in [&b""[..], b"\n", b"a\nb", b"a\n\n", b"\xff", b"a\0b", b"a\rb"] {
            assert!(text(bytes).is_err(), "{bytes:?}");
        }
        let lines = |bytes: &[u8]| super::text(bytes, true).map(|s| s.expose().to_string());
        assert_eq!(lines(b"a\r\nb\n"), Ok("a\r\nb".into()));
        assert!(lines(b"a\0b").is_err() && lines(b"").is_err());
    }
}
