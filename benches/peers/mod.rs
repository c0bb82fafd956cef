//! What tok is compared with: programs by others, each with a token or a secret in a home of the bench's own. Where
//! one is not installed or will not work here, its row says why, and the others are measured.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::{Row, is_here, peer, server};

/// The longest that a peer may take for a step on its way to being measured.
const PATIENCE: Duration = Duration::from_secs(20);

/// The peers' rows. Their servers end with it.
pub struct Peers {
    pub rows: Vec<Row>,
    _servers: Vec<Server>,
}

/// A peer's server. It stays in the foreground and in this process' group: a ^C ends it too.
struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(mut command: Command, home: &Path) -> Result<Self, String> {
        let log = home.join("log");
        let file = File::create(&log).and_then(|out| Ok((out.try_clone()?, out)));
        let (out, err) = file.map_err(|e| format!("{}: {e}", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        Ok(Self { child: child.map_err(|e| format!("{}: {e}", name_of(&command)))?, log })
    }

    /// Asks until there is an answer, or the server has ended, or for long enough.
    fn wait<T>(&mut self, mut ask: impl FnMut() -> Result<T, String>) -> Result<T, String> {
        let begun = Instant::now();
        loop {
            let why = match ask() {
                Ok(answer) => return Ok(answer),
                Err(why) => why,
            };
            let ended = self.child.try_wait().ok().flatten().map(|status| format!("its server ended with {status}"));
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let (why, said) = (ended.unwrap_or(why), telling(&fs::read(&self.log).unwrap_or_default()));
                return Err(if said.is_empty() { why } else { format!("{why}: {said}") });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prepares all of them below `root`; `bus` is the address of the bench's own session bus.
pub fn prepare(root: &Path, bus: Option<&str>) -> Peers {
    let mut servers = Vec::new();
    let rows = [
        ("gh auth token", gh(root)),
        ("oidc-token", oidc_token(root, &mut servers)),
        ("pizauth show", pizauth(root, &mut servers)),
        ("secret-tool lookup", secret_tool(root, bus)),
    ]
    .map(|(name, command)| peer(name, "true", command));
    Peers { rows: rows.into(), _servers: servers }
}

/// A command with nothing of the caller's environment but where programs are: no proxy, no account of theirs.
fn command(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().env("HOME", home).env("XDG_RUNTIME_DIR", home).current_dir(home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn gh(root: &Path) -> Result<Command, String> {
    installed("gh")?;
    let home = folder(root, "gh")?;
    write(&home.join("hosts.yml"), "github.com:\n    oauth_token: gho_x\n    user: u\n")?;
    let command = || {
        let mut command = command(&home, &["gh", "auth", "token"]);
        command.env("GH_CONFIG_DIR", &home);
        command
    };
    answers(command(), "gho_x")?;
    Ok(command())
}

/// `oidc-agent` with an account that was made from a refresh token; `oidc-gen` leaves the access token in its memory.
fn oidc_token(root: &Path, servers: &mut Vec<Server>) -> Result<Command, String> {
    installed("oidc-token")?;
    let home = folder(root, "oidc")?;
    // The folder that the agent's own programs look for before they take ~/.oidc-agent.
    folder(&home, ".config")?;
    let socket = home.join("agent");
    let with_agent = |words: &[&str]| {
        let mut command = command(&home, words);
        command.env("OIDC_SOCK", &socket);
        command
    };
    let (port, count) = server(None);
    let mut agent = command(&home, &["oidc-agent", "--console", "--socket-path"]);
    agent.arg(&socket);
    let mut agent = Server::start(agent, &home)?;
    agent.wait(|| succeeds(with_agent(&["oidc-add", "--loaded"])))?;
    let issuer = format!("--issuer=http://127.0.0.1:{port}");
    let mut generate = with_agent(&["oidc-gen", "bench", "--manual", &issuer, "--client-id=c", "--client-secret=s"]);
    generate.args(["--scope=openid", "--redirect-uri=http://localhost:4242", "--flow=refresh", "--rt=x"]);
    generate.args(["--pw-cmd=echo bench", "--prompt=none", "--confirm-default"]);
    succeeds(generate)?;
    from_memory(|| with_agent(&["oidc-token", "bench"]), &count)?;
    servers.push(agent);
    Ok(with_agent(&["oidc-token", "bench"]))
}

/// `pizauth server` with an account: the first `show` names the address of a login, and what a browser would do at the
/// end of it is done here.
fn pizauth(root: &Path, servers: &mut Vec<Server>) -> Result<Command, String> {
    installed("pizauth")?;
    let home = folder(root, "pizauth")?;
    let (port, count) = server(None);
    let config = format!(
        "account \"bench\" {{\n  auth_uri = \"http://127.0.0.1:{port}/authorize\";\n  \
         token_uri = \"http://127.0.0.1:{port}/token\";\n  client_id = \"c\";\n}}\n"
    );
    write(&folder(&home, ".config")?.join("pizauth.conf"), &config)?;
    let show = || command(&home, &["pizauth", "show", "bench"]);
    let mut daemon = Server::start(command(&home, &["pizauth", "server", "-d"]), &home)?;
    // Server and client both make the folder of the socket, and whoever comes second ends.
    std::thread::sleep(Duration::from_millis(300));
    let (address, state) = daemon.wait(|| {
        let out = attempt(show())?;
        let said = String::from_utf8_lossy(&out.stderr);
        let value = |name: &str| {
            let rest = said.split_once(name)?.1;
            let value = &rest[..rest.find(['&', ' ', '\n']).unwrap_or(rest.len())];
            percent_encoding::percent_decode_str(value).decode_utf8().ok().map(String::from)
        };
        let (redirect, state) = value("redirect_uri=").zip(value("state=")).ok_or_else(|| ended_with(&out))?;
        let address = redirect.strip_prefix("http://").map(|rest| rest.trim_end_matches('/').to_string());
        Ok((address.ok_or_else(|| format!("redirects to {redirect}"))?, state))
    })?;
    let mut browser = TcpStream::connect(&address).map_err(|e| format!("{address}: {e}"))?;
    let request = format!("GET /?code=x&state={state} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    browser
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| browser.write_all(request.as_bytes()))
        .map_err(|e| e.to_string())?;
    let _ = browser.read_to_string(&mut String::new());
    daemon.wait(|| succeeds(show()))?;
    from_memory(show, &count)?;
    servers.push(daemon);
    Ok(show())
}

fn secret_tool(root: &Path, bus: Option<&str>) -> Result<Command, String> {
    installed("secret-tool")?;
    let home = folder(root, "secret-tool")?;
    let bus = bus.ok_or("no session bus")?;
    let with_bus = |words: &[&str]| {
        let mut command = command(&home, words);
        command.env("DBUS_SESSION_BUS_ADDRESS", bus);
        command
    };
    write(&home.join("secret"), "secret")?;
    let mut store = with_bus(&["secret-tool", "store", "--label=x", "bench", "x"]);
    store.stdin(File::open(home.join("secret")).map_err(|e| e.to_string())?);
    succeeds(store)?;
    answers(with_bus(&["secret-tool", "lookup", "bench", "x"]), "secret")?;
    Ok(with_bus(&["secret-tool", "lookup", "bench", "x"]))
}

fn installed(program: &str) -> Result<(), String> {
    if is_here(program) { Ok(()) } else { Err("not installed".into()) }
}

fn folder(above: &Path, name: &str) -> Result<PathBuf, String> {
    let folder = above.join(name);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// What is to be measured gives the server's token, twice the same, and asks the server no more.
fn from_memory(command: impl Fn() -> Command, count: &AtomicUsize) -> Result<(), String> {
    let first = succeeds(command())?;
    let before = count.load(SeqCst);
    match answers(command(), first.trim_end()) {
        _ if !first.starts_with("ttt") => Err("gives another token than that of the server".into()),
        Ok(()) if count.load(SeqCst) > before => Err("asks the server each time".into()),
        told => told,
    }
}

fn answers(command: Command, expected: &str) -> Result<(), String> {
    match succeeds(command)?.trim_end() == expected {
        true => Ok(()),
        false => Err("gives something else than was put in".into()),
    }
}

/// Runs it to its end: what it wrote.
pub fn succeeds(command: Command) -> Result<String, String> {
    let name = name_of(&command);
    let out = attempt(command)?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(format!("{name} {}", ended_with(&out))),
    }
}

/// Runs it, and ends it when it takes too long: some wait for a prompt that nobody sees.
fn attempt(mut command: Command) -> Result<Output, String> {
    let (name, begun) = (name_of(&command), Instant::now());
    let failed = |e| format!("{name}: {e}");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    while child.try_wait().map_err(failed)?.is_none() {
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{name} did not end in {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().map_err(failed)
}

fn name_of(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn ended_with(out: &Output) -> String {
    match telling(&out.stderr) {
        said if said.is_empty() => format!("ended with {}", out.status),
        said => format!("ended with {}: {said}", out.status),
    }
}

/// The last line that says what is wrong, fit for a cell of a table. (After it stands what to do about it.)
fn telling(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let says = |line: &&str| !line.is_empty() && !line.starts_with("hint:");
    let line = text.lines().map(str::trim).rfind(says).unwrap_or_default();
    line.chars().map(|c| if c == '|' || c.is_control() { ' ' } else { c }).take(120).collect()
}
