//! What the whole-program tests stand on: a home of its own for each test, servers that answer over real sockets,
//! imitations of the providers, a real Secret Service, a terminal.
//!
//! Every secret and every token of these tests holds [`CANARY`], and each run of `tok` is checked for it: it may
//! stand in an answer on stdout, never on stderr. So every test is a test for leaks too.
#![allow(dead_code)] // a harness offers more than one test crate uses

pub mod api;
pub mod apiax;
pub mod elasticpath;
pub mod issuer;
pub mod keyring;
mod messages;
pub mod openbao;
pub mod purewl;
pub mod relay;
pub mod server;
pub mod spaces;
pub mod terminal;
pub mod xcover;

use crate::child::{Drain, LIMIT, Program, SOON};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A piece of every secret and token of the tests. Hexadecimal, so that tokens of the providers' real shapes hold it.
pub const CANARY: &str = "ca9a41e5";

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs() as i64
}

/// Waits until `done` says yes; fails the test with `what` after some minutes.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Runs `test` for each of the cases at once, where each has to wait for something.
pub fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            let test = &test;
            scope.spawn(move || test(case));
        }
    });
}

/// Whether the sweeps run at full length: `./test --full`.
pub fn full_sweeps() -> bool {
    std::env::var_os("FULL_SWEEPS").is_some_and(|v| !v.is_empty())
}

/// Shows what a sweep measured: the test runner hides what a test prints that passes, and these are to be seen.
pub fn figures(text: &str) {
    let _ = writeln!(std::io::stderr(), "    {text}");
}

/// A home folder that only one test knows, and the environment `tok` runs in: nothing of the machine's but `PATH`.
pub struct Sandbox {
    root: tempfile::TempDir,
    env: Vec<(String, OsString)>,
}

impl Sandbox {
    /// An empty home, an empty working folder. Without a bus the default store, the keyring, is missing here.
    pub fn new() -> Sandbox {
        let root = tempfile::Builder::new().prefix("tok-test-").tempdir().expect("a temporary folder");
        for folder in ["home", "work", "files"] {
            fs::create_dir(root.path().join(folder)).expect("a folder in it");
        }
        Sandbox { root, env: Vec::new() }
    }

    /// The same with the file store, chosen by the environment: no config is needed.
    pub fn with_file_store() -> Sandbox {
        let mut sandbox = Sandbox::new();
        sandbox.set("TOK_STORE", "file");
        sandbox
    }

    /// The same with the file store chosen in the config, so that no `TOK_*` variable is set: the cached path may
    /// be taken. `rest` follows in the config.
    pub fn with_file_config(rest: &str) -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox.config(&format!("store = \"file\"\n{rest}"));
        sandbox
    }

    /// Sets a variable for every run from now on.
    pub fn set(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Sandbox {
        self.unset(name);
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// Takes a variable away again.
    pub fn unset(&mut self, name: &str) -> &mut Sandbox {
        self.env.retain(|(n, _)| n != name);
        self
    }

    /// The home folder.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The working folder of each run.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// `tok`'s folder for the config.
    pub fn config_dir(&self) -> PathBuf {
        self.home().join(".config/tok")
    }

    /// The config file.
    pub fn config_file(&self) -> PathBuf {
        self.config_dir().join("config.toml")
    }

    /// The folder of cached tokens, index and locks.
    pub fn state_dir(&self) -> PathBuf {
        self.home().join(".local/state/tok")
    }

    /// The file store.
    pub fn secrets_file(&self) -> PathBuf {
        self.home().join(".local/share/tok/secrets.json")
    }

    /// What the file store holds; null where it does not exist. Fails the test if it is half written.
    #[track_caller]
    pub fn secrets(&self) -> serde_json::Value {
        match fs::read(self.secrets_file()) {
            Ok(bytes) => serde_json::from_slice(&bytes).expect("secrets.json is whole"),
            Err(_) => serde_json::Value::Null,
        }
    }

    /// Writes the config, 0600.
    pub fn config(&self, text: &str) {
        put(&self.config_file(), text.as_bytes());
    }

    /// Writes a user's provider file.
    pub fn provider(&self, name: &str, text: &str) -> PathBuf {
        let path = self.config_dir().join(format!("providers/{name}.toml"));
        put(&path, text.as_bytes());
        path
    }

    /// A file outside of the home, where a test keeps the secrets that it hands in.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.path().join("files").join(name);
        put(&path, content.as_ref());
        path
    }

    /// The path of such a file, as an argument.
    pub fn file_arg(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        self.file(name, content).to_str().expect("a path in UTF-8").into()
    }

    /// Every file below the home, by its path from there.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        walk(&self.home(), &mut |path| {
            let name = path.strip_prefix(self.home()).expect("below home").to_path_buf();
            found.insert(name, fs::read(path).unwrap_or_default());
        });
        found
    }

    /// The files below the home that hold `text`.
    pub fn files_with(&self, text: &str) -> Vec<PathBuf> {
        self.files().into_iter().filter(|(_, bytes)| contains(bytes, text.as_bytes())).map(|(name, _)| name).collect()
    }

    /// The cache file of this access token.
    #[track_caller]
    pub fn cache_file(&self, token: &str) -> PathBuf {
        let mut found = Vec::new();
        walk(&self.state_dir(), &mut |path| {
            if contains(&fs::read(path).unwrap_or_default(), token.as_bytes()) {
                found.push(path.to_path_buf());
            }
        });
        assert_eq!(found.len(), 1, "one file of the state folder holds the token: {found:?}");
        found.remove(0)
    }

    /// Fails the test if a process holds one of `tok`'s locks.
    #[track_caller]
    pub fn assert_no_lock_is_held(&self) {
        walk(&self.state_dir().join("locks"), &mut |path| {
            let file = fs::File::open(path).expect("a lock file");
            assert!(file.try_lock().is_ok(), "{} is held", path.display());
        });
    }

    /// Throws cache, index and locks away, as a person may at any time.
    pub fn forget_cache(&self) {
        let _ = fs::remove_dir_all(self.state_dir());
    }

    /// A run of `tok`, to be refined and then started.
    pub fn tok<I, S>(&self, args: I) -> Tok
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let args = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let mut env = vec![
            ("PATH".into(), std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into())),
            ("HOME".into(), self.home().into_os_string()),
        ];
        env.extend(self.env.iter().cloned());
        Tok {
            args,
            env,
            root: self.root.path().into(),
            cwd: self.work(),
            stdin: Input::Null,
            stdout: None,
            stderr: None,
            shell: None,
            timeout: LIMIT,
            leaks_allowed: false,
        }
    }

    /// The same, with the words of a line: `sandbox.run("get purewl --fresh")`.
    #[track_caller]
    pub fn run(&self, line: &str) -> Output {
        self.tok(line.split_whitespace()).run()
    }
}

/// Writes a file 0600 in folders that only we can write to, whatever the umask of the machine.
pub fn put(path: &Path, bytes: &[u8]) {
    let folder = path.parent().expect("a folder");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).expect("the folders");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("the file can be written");
    file.write_all(bytes).expect("the file is written");
}

/// The permission bits of a path, links not followed.
#[track_caller]
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o7777
}

/// Sets the permission bits of a path.
#[track_caller]
pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Calls `each` with every file below a folder; links are not followed.
pub fn walk(folder: &Path, each: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, each),
            Ok(kind) if kind.is_file() => each(&path),
            _ => {}
        }
    }
}

/// Whether `bytes` holds `part`.
pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

enum Input {
    Null,
    Bytes(Vec<u8>),
}

/// One run of `tok` that has not started yet.
pub struct Tok {
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    /// The test's folder.
    root: PathBuf,
    cwd: PathBuf,
    stdin: Input,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    shell: Option<String>,
    timeout: Duration,
    leaks_allowed: bool,
}

impl Tok {
    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Tok {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable for this run.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Tok {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// Takes a variable away for this run.
    pub fn env_remove(mut self, name: &str) -> Tok {
        self.env.retain(|(n, _)| n != name);
        self
    }

    /// What stands on stdin; without it stdin is empty.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Tok {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    /// Another place for stdout, which the output then lacks.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Tok {
        self.stdout = Some(to.into());
        self
    }

    /// Another place for stderr.
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Tok {
        self.stderr = Some(to.into());
        self
    }

    /// Another working folder.
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Tok {
        self.cwd = folder.into();
        self
    }

    /// Shell commands in whose process `tok` then runs, such as `umask 000`.
    pub fn after(mut self, shell: &str) -> Tok {
        self.shell = Some(shell.into());
        self
    }

    /// The same, before what else is run there.
    pub fn before(mut self, shell: &str) -> Tok {
        self.shell = Some(match self.shell {
            None => shell.into(),
            Some(then) => format!("{shell}; {then}"),
        });
        self
    }

    /// The command as it will be started.
    pub fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_tok");
        let mut command = match &self.shell {
            None => Command::new(program),
            Some(shell) => {
                let mut sh = Command::new("/bin/sh");
                sh.arg("-c").arg(format!("{shell}; exec \"$0\" \"$@\"")).arg(program);
                sh
            }
        };
        command.args(&self.args).env_clear().current_dir(&self.cwd);
        command.envs(self.env.iter().map(|(n, v)| (n, v)));
        command
    }

    /// Starts it and comes back at once.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let mut command = self.command();
        let shown = format!("tok {}", lossy(&self.args));
        command.stdin(match self.stdin {
            Input::Null => Stdio::null(),
            Input::Bytes(_) => Stdio::piped(),
        });
        command.stdout(self.stdout.unwrap_or_else(Stdio::piped));
        command.stderr(self.stderr.unwrap_or_else(Stdio::piped));
        let cwd = self.cwd.clone();
        let mut child = Program::start(&mut command, self.timeout).unwrap_or_else(|e| {
            // Both are "not found" to the system: which of the two is gone?
            let program = Path::new(env!("CARGO_BIN_EXE_tok")).exists();
            panic!("tok does not start: {e}; the program is there: {program}, the folder: {}", cwd.exists())
        });
        if let (Input::Bytes(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A thread, for `tok` may end without reading all of it; then the write fails, which is its right.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = child.stdout.take().map(Drain::of);
        let stderr = child.stderr.take().map(Drain::of);
        let (root, timeout) = (self.root, self.timeout);
        Running { child, stdout, stderr, shown, root, start: Instant::now(), timeout }
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }
}

fn lossy(args: &[OsString]) -> String {
    let args: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
    args.join(" ")
}

/// A run that goes on. Killed when dropped.
pub struct Running {
    child: Program,
    stdout: Option<Drain>,
    stderr: Option<Drain>,
    shown: String,
    /// The test's folder.
    root: PathBuf,
    start: Instant,
    timeout: Duration,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("the signal is sent");
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().is_some()
    }

    /// The files it holds open (Linux).
    pub fn open_files(&self) -> Vec<PathBuf> {
        let folder = format!("/proc/{}/fd", self.pid());
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
    }

    /// Whether the system has a lock of it, or one that it waits for (Linux). Its open files are root's to see, for it
    /// cannot be dumped; these are everybody's.
    fn has_or_awaits_a_lock(&self) -> bool {
        let pid = self.pid().to_string();
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        locks.lines().any(|line| line.contains("FLOCK") && line.split_whitespace().any(|word| word == pid))
    }

    /// Waits until it has a file open below `folder`: for a lock in the state folder this says that the call has
    /// begun, without guessing at a time.
    #[track_caller]
    pub fn until_open_below(&mut self, folder: &Path) {
        until("tok opens its lock", || {
            self.ended() || self.open_files().iter().any(|f| f.starts_with(folder)) || self.has_or_awaits_a_lock()
        });
    }

    /// Whether it has said `text` on stderr by now.
    pub fn has_said(&self, text: &str) -> bool {
        self.stderr.as_ref().is_some_and(|stderr| stderr.has(text))
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let status = self.child.wait_until(self.start + self.timeout);
        let took = self.start.elapsed();
        if status.is_none() {
            self.child.kill();
        }
        let read = |pipe: Option<Drain>| pipe.map(Drain::last_words).unwrap_or_default();
        let bytes = read(self.stdout.take());
        let stderr = read(self.stderr.take());
        let late = status.is_none() || self.child.was_late();
        let status = self.child.wait_until(Instant::now() + SOON).expect("it is dead");
        let output = Output {
            command: std::mem::take(&mut self.shown),
            code: code(status),
            status,
            stdout: String::from_utf8_lossy(&bytes).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            bytes,
            took,
        };
        assert!(!late, "took longer than {:?}: {output}", self.timeout);
        output.check_for_leaks();
        messages::note(&format!("{}\n{}", output.stderr, output.stdout));
        output
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// What a run of `tok` left.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// The exit status; 128 and the signal's number where a signal ended it, as a shell says it.
    pub code: i32,
    /// The same as the system says it.
    pub status: ExitStatus,
    /// stdout.
    pub stdout: String,
    /// stdout, byte by byte.
    pub bytes: Vec<u8>,
    /// stderr.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "\n$ {}\nstatus: {} after {:?}\nstdout: {:?}\nstderr: {}\n",
            self.command, self.code, self.took, self.stdout, self.stderr
        )
    }
}

impl Output {
    /// No secret on stderr, and no panic: at any verbosity, whatever the test is about.
    #[track_caller]
    fn check_for_leaks(&self) {
        assert!(!self.stderr.to_lowercase().contains(CANARY), "a secret on stderr: {self}");
        assert!(!self.stderr.contains("panicked"), "a panic: {self}");
        assert_ne!(self.code, 101, "a panic: {self}");
    }

    /// Status 0.
    #[track_caller]
    pub fn ok(self) -> Output {
        assert_eq!(self.code, 0, "{self}");
        self
    }

    /// This status, nothing on stdout, and a message that begins as the contract says.
    #[track_caller]
    pub fn fails(self, code: i32) -> Output {
        self.fails_with_one_of(&[code])
    }

    /// The same where the contract leaves a choice.
    #[track_caller]
    pub fn fails_with_one_of(self, codes: &[i32]) -> Output {
        assert!(codes.contains(&self.code), "not one of {codes:?}: {self}");
        assert_eq!(self.stdout, "", "{self}");
        assert!(self.stderr.lines().any(|line| line.starts_with("tok: ")), "no line begins with tok: {self}");
        self
    }

    /// stderr holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Output {
        assert!(self.stderr.contains(text), "does not say {text:?}: {self}");
        self
    }

    /// stderr does not hold `text`.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Output {
        assert!(!self.stderr.contains(text), "says {text:?}: {self}");
        self
    }

    /// A line says what to do now.
    #[track_caller]
    pub fn hints(self) -> Output {
        assert!(self.stderr.lines().any(|line| line.starts_with("hint: ")), "no hint: {self}");
        self
    }

    /// A hint that holds `text`.
    #[track_caller]
    pub fn hints_at(self, text: &str) -> Output {
        let out = self.hints();
        let at = out.stderr.find("hint: ").unwrap_or(0);
        assert!(out.stderr[at..].contains(text), "the hint lacks {text:?}: {out}");
        out
    }

    /// It ended by itself, long before what it waited for would have come.
    #[track_caller]
    pub fn soon(self) -> Output {
        assert!(self.took < SOON, "it was not soon: {self}");
        self
    }

    /// Nothing on stderr.
    #[track_caller]
    pub fn silent(self) -> Output {
        assert_eq!(self.stderr, "", "{self}");
        self
    }

    /// Status 0 and exactly this on stdout.
    #[track_caller]
    pub fn prints(self, text: &str) -> Output {
        let out = self.ok();
        assert_eq!(out.stdout, text, "{out}");
        out
    }

    /// Status 0, and one line on stdout: that line.
    #[track_caller]
    pub fn line(self) -> String {
        let out = self.ok();
        let line = out.stdout.strip_suffix('\n').unwrap_or("");
        assert!(!line.is_empty() && !line.contains('\n'), "not one line: {out}");
        line.into()
    }

    /// Status 0, and JSON on stdout.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let out = self.ok();
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"))
    }
}

/// A provider file for a plain RFC 6749 server: `client-credentials` and `refresh`, everything else by default.
/// `more` follows in the file; `url` is the default of `base_url`.
pub fn plain_provider(url: &str, more: &str) -> String {
    format!(
        r#"title = "Plain"
[params.base_url]
default = "{url}"
[params.client_id]
default = "plain-client"
[params.client_secret]
secret = true
[params.scope]
list = true
separator = " "
[request]
url = "{{base_url}}/token"
[grants.client-credentials]
body = {{ grant_type = "client_credentials", client_id = "{{client_id}}", client_secret = "{{client_secret}}", scope = "{{scope?}}" }}
[grants.refresh]
body = {{ grant_type = "refresh_token", client_id = "{{client_id}}", refresh_token = "{{refresh_token}}" }}
[refresh]
grant = "refresh"
{more}
"#
    )
}

/// A sandbox whose provider `plain` stands at `url`, with the client's secret at hand in the environment.
pub fn plain(url: &str) -> Sandbox {
    let mut sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(url, ""));
    sandbox.set("TOK_PLAIN_CLIENT_SECRET", format!("plain-secret-{CANARY}"));
    sandbox
}

/// The exit status as a shell says it, of a process that ran on a terminal.
pub fn code_of(status: &rexpect::process::WaitStatus) -> i32 {
    use rexpect::process::WaitStatus;
    match status {
        WaitStatus::Exited(_, code) => *code,
        WaitStatus::Signaled(_, signal, _) => 128 + *signal as i32,
        other => panic!("neither ended nor killed: {other:?}"),
    }
}
