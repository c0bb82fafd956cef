//! A real Secret Service: gnome-keyring on a private D-Bus, in folders of its own. Nothing of the machine's session
//! is touched, and nothing is started by the bus itself.

use super::{put, until};
use crate::child::{LIMIT_OF_A_SERVICE, Program, Start};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a missing program is answered with.
const PACKAGES: &str = "apt-get install -y --no-install-recommends gnome-keyring dbus libsecret-tools";

/// A bus, and on it a keyring or none. Everything ends when it is dropped.
pub struct Keyring {
    folder: tempfile::TempDir,
    bus: Program,
    daemon: Option<Program>,
    address: String,
}

/// Method calls as `dbus-monitor` prints them: a line with sender and member each, their arguments below it.
pub struct Calls(Vec<String>);

impl Calls {
    /// The names of the calls of each program that was connected meanwhile, in their order. Each connection begins
    /// with `Hello`.
    pub fn by_connection(&self) -> Vec<Vec<String>> {
        let mut all: Vec<(&str, Vec<String>)> = Vec::new();
        for line in self.0.iter().filter(|line| line.starts_with("method call")) {
            let word = |name: &str| line.split([' ', ';']).find_map(|word| word.strip_prefix(name)).unwrap_or("");
            let (sender, member) = (word("sender="), word("member="));
            if member == "Hello" {
                all.push((sender, Vec::new()));
            }
            // The service asks the bus about its callers: it was there before.
            if let Some((_, calls)) = all.iter_mut().find(|(known, _)| *known == sender) {
                calls.push(member.to_owned());
            }
        }
        // The last is the program that marks the end, whose own call is not in the list.
        all.pop();
        all.into_iter().map(|(_, calls)| calls).collect()
    }

    /// The algorithms with which sessions were opened, in their order.
    pub fn sessions(&self) -> Vec<&str> {
        let opened = self.0.windows(2).filter(|lines| lines[0].contains("member=OpenSession"));
        opened.filter_map(|lines| lines[1].split('"').nth(1)).collect()
    }
}

impl Keyring {
    /// What opens it.
    pub const PASSWORD: &str = "test-password";

    /// An open keyring.
    #[track_caller]
    pub fn unlocked() -> Keyring {
        let mut keyring = Keyring::absent();
        keyring.start(true);
        keyring
    }

    /// A keyring that exists and is closed. Nobody can type a password: opening it fails.
    #[track_caller]
    pub fn locked() -> Keyring {
        let keyring = Keyring::unlocked();
        keyring.lock();
        keyring
    }

    /// A bus on which nothing serves secrets, and nothing can be started.
    #[track_caller]
    pub fn absent() -> Keyring {
        let folder = tempfile::Builder::new().prefix("tok-bus-").tempdir().expect("a temporary folder");
        let socket = folder.path().join("bus");
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/>\
             </policy></busconfig>",
            socket.display()
        );
        put(&config, text.as_bytes());
        for sub in ["home", "run", "data"] {
            std::fs::create_dir(folder.path().join(sub)).expect("a folder");
        }
        super::chmod(&folder.path().join("run"), 0o700);
        let mut bus = program("dbus-daemon", |c| {
            c.arg(format!("--config-file={}", config.display()))
                .args(["--nofork", "--nopidfile", "--print-address=1"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
        });
        let mut address = String::new();
        let stdout = bus.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut address).expect("the bus says where it is");
        Keyring { folder, bus, daemon: None, address: address.trim().into() }
    }

    /// `DBUS_SESSION_BUS_ADDRESS` for the programs that shall use it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Closes the login keyring, as a screen lock may.
    #[track_caller]
    pub fn lock(&self) {
        let out = self
            .command("dbus-send")
            .args(["--session", "--print-reply", "--dest=org.freedesktop.secrets"])
            .args(["/org/freedesktop/secrets", "org.freedesktop.Secret.Service.Lock"])
            .arg("array:objpath:/org/freedesktop/secrets/collection/login")
            .finish()
            .unwrap_or_else(|e| missing("dbus-send", &e));
        assert!(out.status.success(), "the keyring is locked: {out:?}");
    }

    /// Runs a line of a person's shell where they have the keyring, types `typed` into it, and waits for the service that
    /// it may have started.
    #[track_caller]
    pub fn types(&self, line: &str, typed: &str) {
        let mut child =
            self.command("bash").args(["-c", line]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().expect("a pipe").write_all(typed.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it ends").success(), "{line}");
        self.serves();
    }

    /// Ends the service and starts it anew, opened by its password.
    #[track_caller]
    pub fn unlock(&mut self) {
        self.end();
        self.start(true);
    }

    /// Ends the service; the bus stays.
    pub fn stop(&mut self) {
        self.end();
    }

    /// The file in which the service keeps its entries.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("data/keyrings/login.keyring")
    }

    /// Stops the service: it holds its name and answers nothing.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets a stopped service go on.
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let daemon = self.daemon.as_ref().expect("a running service");
        let pid = rustix::process::Pid::from_raw(daemon.id() as i32).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("the signal is sent");
    }

    /// What `secret-tool` finds under these attributes, as a person would look: `None` where nothing is.
    #[track_caller]
    pub fn lookup(&self, service: &str, username: &str) -> Option<String> {
        let out = self
            .command("secret-tool")
            .args(["lookup", "service", service, "username", username])
            .finish()
            .unwrap_or_else(|e| missing("secret-tool", &e));
        let text = String::from_utf8(out.stdout).expect("text");
        (out.status.success() && !text.is_empty()).then_some(text)
    }

    /// Puts an entry there, as another program would.
    #[track_caller]
    pub fn store(&self, service: &str, username: &str, secret: &str) {
        self.store_with(&["service", service, "username", username], secret);
    }

    /// Puts an entry there that has these attributes: names and values in turn.
    #[track_caller]
    pub fn store_with(&self, attributes: &[&str], secret: &str) {
        let mut child = self
            .command("secret-tool")
            .args(["store", "--label=a test's"])
            .args(attributes)
            .stdin(Stdio::piped())
            .start()
            .unwrap_or_else(|e| missing("secret-tool", &e));
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(secret.as_bytes()).expect("the secret");
        drop(stdin);
        assert!(child.wait().success(), "secret-tool store");
    }

    /// How many entries `tok` has there.
    #[track_caller]
    pub fn count(&self) -> usize {
        let out = self
            .command("secret-tool")
            .args(["search", "--all", "service", "tok"])
            .finish()
            .unwrap_or_else(|e| missing("secret-tool", &e));
        let text = [out.stdout, out.stderr].concat();
        String::from_utf8_lossy(&text).lines().filter(|line| line.starts_with("[/")).count()
    }

    /// What `dbus-monitor` shows of the method calls that are made while `work` runs.
    #[track_caller]
    pub fn monitored(&self, work: impl FnOnce()) -> Calls {
        const END: &str = "test.monitor.End";
        let mut monitor = self
            .command("dbus-monitor")
            .args(["--session", "type='method_call'"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .start()
            .unwrap_or_else(|e| missing("dbus-monitor", &e));
        let mut lines = BufReader::new(monitor.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        // It is told so once it sees everything.
        lines.find(|line| line.contains("member=NameLost")).expect("it monitors");
        work();
        let end = self
            .command("dbus-send")
            .args(["--session", "--type=method_call", "--dest=org.freedesktop.DBus", "/", END])
            .finish();
        assert!(end.unwrap_or_else(|e| missing("dbus-send", &e)).status.success());
        let lines: Vec<String> = lines.take_while(|line| !line.contains("interface=test.monitor;")).collect();
        monitor.kill();
        Calls(lines)
    }

    /// Removes an entry, as another program would.
    #[track_caller]
    pub fn clear(&self, service: &str, username: &str) {
        let cleared = self.command("secret-tool").args(["clear", "service", service, "username", username]).finish();
        assert!(cleared.unwrap_or_else(|e| missing("secret-tool", &e)).status.success(), "secret-tool clear");
    }

    fn start(&mut self, open: bool) {
        let folder = self.folder.path().to_path_buf();
        let address = self.address.clone();
        let mut daemon = program("gnome-keyring-daemon", |c| {
            c.args(["--foreground", "--components=secrets"]);
            if open {
                c.arg("--unlock");
            }
            clean(c, &folder, &address).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null())
        });
        let mut stdin = daemon.stdin.take().expect("a pipe");
        stdin.write_all(Keyring::PASSWORD.as_bytes()).expect("the password");
        drop(stdin);
        self.daemon = Some(daemon);
        self.serves();
    }

    /// Waits until the service answers: its name is taken before the collection is there, and one that replaces
    /// another leaves a moment in which nobody has the name.
    #[track_caller]
    fn serves(&self) {
        until("the keyring is there", || {
            let out = self
                .command("dbus-send")
                .args(["--session", "--print-reply", "--dest=org.freedesktop.secrets"])
                .arg("/org/freedesktop/secrets")
                .arg("org.freedesktop.Secret.Service.ReadAlias")
                .arg("string:default")
                .finish()
                .unwrap_or_else(|e| missing("dbus-send", &e));
            String::from_utf8_lossy(&out.stdout).contains("/collection/")
        });
    }

    fn end(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        clean(&mut command, self.folder.path(), &self.address);
        command
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.end();
        self.bus.kill();
    }
}

fn clean<'a>(command: &'a mut Command, folder: &std::path::Path, address: impl AsRef<OsStr>) -> &'a mut Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sub = |name: &str| -> PathBuf { folder.join(name) };
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", sub("home"))
        .env("XDG_RUNTIME_DIR", sub("run"))
        .env("XDG_DATA_HOME", sub("data"))
        .env("DBUS_SESSION_BUS_ADDRESS", address)
}

fn program(name: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Program {
    let mut command = Command::new(name);
    with(&mut command);
    Program::start(&mut command, LIMIT_OF_A_SERVICE).unwrap_or_else(|e| missing(name, &e))
}

fn missing(name: &str, why: &std::io::Error) -> ! {
    panic!("{name} cannot be run ({why}); these tests need a real Secret Service: {PACKAGES}")
}
