//! Measures whole processes: each command of a table is spawned and reaped in turn, round after round, and what is
//! told is the median of the ratios within a round. `benches/run` builds what is measured and starts this.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

mod peers;
mod vault;

/// A row of the table.
struct Row {
    name: String,
    /// The row that it is compared with, and the ratio that is aimed at.
    against: &'static str,
    goal: Option<f64>,
    /// What is run; why it is not, where its program is not here.
    command: Result<Command, String>,
    /// Another's program: where it fails, that is said in its row.
    peer: bool,
    times: Vec<Duration>,
}

fn row(name: impl Into<String>, against: &'static str, goal: impl Into<Option<f64>>, command: Command) -> Row {
    Row { name: name.into(), against, goal: goal.into(), command: Ok(command), peer: false, times: Vec::new() }
}

fn peer(name: &str, against: &'static str, command: Result<Command, String>) -> Row {
    Row { name: name.into(), against, goal: None, command, peer: true, times: Vec::new() }
}

/// What a row of a home with many is called.
const MANY: &str = "; 1,000 profiles, 200 providers";

/// `tok` with nothing of the caller's environment.
fn tok(program: &Path, home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn plain(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn is_here(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|f| f.join(program).is_file()))
}

/// Runs the rows in turn.
fn run(rows: &mut [Row], rounds: usize) {
    for round in 0..rounds + 3 {
        for row in rows.iter_mut() {
            let Ok(command) = &mut row.command else { continue };
            let begun = Instant::now();
            let status = command.status();
            let time = begun.elapsed();
            if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
                let how = status.map_or_else(|e| e.to_string(), |status| format!("ended with {status}"));
                assert!(row.peer, "{}: {how}", row.name);
                row.command = Err(format!("{how} in round {round}"));
                continue;
            }
            // The first three fill the caches.
            if round >= 3 {
                row.times.push(time);
            }
        }
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn table(title: &str, rows: &[Row]) {
    println!("\n{title}\n\n| what | median ms | ratio | of | goal |\n|---|---:|---:|---|---|");
    for row in rows {
        if let Err(why) = &row.command {
            println!("| {} | {why} | | | |", row.name);
            continue;
        }
        let ms = median(row.times.iter().map(|t| t.as_secs_f64() * 1e3).collect());
        let Some(base) = rows.iter().find(|r| r.name.starts_with(row.against) && r.command.is_ok()) else {
            println!("| {} | {ms:.2} | | {}, not measured | |", row.name, row.against);
            continue;
        };
        let ratio = median(row.times.iter().zip(&base.times).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect());
        let goal = row.goal.map_or(String::new(), |g| format!("≤ {g} {}", if ratio <= g { "✓" } else { "✗" }));
        println!("| {} | {ms:.2} | {ratio:.2} | {} | {goal} |", row.name, row.against);
    }
}

/// A token server: counts requests, answers all alike but those for its metadata, over TLS where `tls` is given.
fn server(tls: Option<Arc<rustls::ServerConfig>>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = count.clone();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let (tls, counter) = (tls.clone(), counter.clone());
            std::thread::spawn(move || {
                let _ = tcp.set_nodelay(true);
                match tls {
                    Some(config) => {
                        let session = rustls::ServerConnection::new(config).unwrap();
                        let mut stream = rustls::StreamOwned::new(session, tcp);
                        serve(&mut stream, &counter);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                    None => {
                        let mut tcp = tcp;
                        serve(&mut tcp, &counter);
                    }
                }
            });
        }
    });
    (port, count)
}

fn serve(stream: &mut (impl Read + Write), count: &AtomicUsize) {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    let said = loop {
        match stream.read(&mut buffer) {
            Ok(1..) if text.len() > 1 << 20 => return,
            Ok(length @ 1..) => text.extend_from_slice(&buffer[..length]),
            _ => return,
        }
        let said = String::from_utf8_lossy(&text).to_lowercase();
        if let Some((head, body)) = said.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break said;
            }
        }
    };
    let number = count.fetch_add(1, SeqCst);
    let body = if said.starts_with("get /.well-known/") {
        let host = said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let at = format!("http://{host}");
        serde_json::json!({
            "issuer": at,
            "token_endpoint": format!("{at}/token"),
            "authorization_endpoint": format!("{at}/authorize"),
            "grant_types_supported": ["refresh_token"],
            "response_types_supported": ["code"],
            "scopes_supported": ["openid"],
        })
        .to_string()
    } else {
        format!(
            r#"{{"access_token":"{}-{number}","token_type":"Bearer","expires_in":360000,"refresh_token":"rt-{number}"}}"#,
            "t".repeat(700)
        )
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let _ = stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    let _ = stream.flush();
}

/// The provider of the tests of speed, and as many profiles of it as asked; beside a thousand of them, 199 providers
/// more.
fn home(root: &Path, name: &str, profiles: usize, url: &str, settings: &str) -> PathBuf {
    let home = root.join(name);
    let config = home.join(".config/tok");
    fs::create_dir_all(config.join("providers")).unwrap();
    let mut text = format!("{settings}\n");
    for number in 0..profiles {
        text += &format!(
            "\n[profile.p{number}]\nprovider = \"plain\"\nclient_id = \"client-{number}\"\nscope = [\"read\", \"write\"]\n"
        );
    }
    fs::write(config.join("config.toml"), text).unwrap();
    let provider = format!(
        "title = \"Plain\"\n[params.base_url]\ndefault = \"{url}\"\n[params.client_id]\n[params.client_secret]\n\
         secret = true\n[params.scope]\nlist = true\n[request]\nurl = \"{{base_url}}/token\"\n\
         [grants.client-credentials]\nbody = {{ grant_type = \"client_credentials\", client_id = \"{{client_id}}\", \
         client_secret = \"{{client_secret}}\", scope = \"{{scope?}}\" }}\n[grants.refresh]\n\
         body = {{ grant_type = \"refresh_token\", refresh_token = \"{{refresh_token}}\" }}\n\
         [refresh]\ngrant = \"refresh\"\n"
    );
    for number in 1..if profiles < 1000 { 1 } else { 200 } {
        fs::write(config.join(format!("providers/plain{number}.toml")), &provider).unwrap();
    }
    fs::write(config.join("providers/plain.toml"), provider).unwrap();
    fs::write(home.join("secret"), "secret\n").unwrap();
    home
}

/// Waits until files are so old that their stamps are believed.
fn settle() {
    std::thread::sleep(Duration::from_millis(2200));
}

fn succeed(mut command: Command) {
    let out = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn login(program: &Path, home: &Path, with: impl Fn(&mut Command)) -> Command {
    let mut command = tok(program, home, &["login", "p0", "client-credentials", "--client-secret-file"]);
    command.arg(home.join("secret"));
    with(&mut command);
    command
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let (static_tok, plain_tok, rounds) = match &args[..] {
        [here, rounds] => {
            let root = tempfile::tempdir().unwrap();
            return vault::measure(Path::new(here), root.path(), rounds.parse().unwrap());
        }
        [static_tok, plain_tok, rounds] => (static_tok, plain_tok, rounds),
        _ => return println!("started by benches/run"),
    };
    let rounds: usize = rounds.parse().unwrap();
    let here = Path::new(static_tok);
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let (port, count) = server(None);
    let url = format!("http://127.0.0.1:{port}");

    // Warm homes: one for each build, as a build believes its own words alone; with one profile and with many.
    let homes: Vec<(PathBuf, PathBuf)> = [static_tok, plain_tok]
        .map(|program| [1, 1000].map(|n| (program, n)))
        .into_iter()
        .flatten()
        .map(|(program, n)| {
            let at = if program == static_tok { "static" } else { "plain" };
            (PathBuf::from(program), home(root, &format!("{at}-{n}"), n, &url, "store = \"file\""))
        })
        .collect();
    homes.iter().for_each(|(program, home)| succeed(login(program, home, |_| {})));
    settle();
    let options = ["get", "p0", "--min-ttl", "5m"];
    // Each in rounds of its own: what runs before a process has its part in how long that takes.
    for ((program, home), (build, many)) in
        homes.iter().zip([("static", ""), ("static", MANY), ("glibc", ""), ("glibc", MANY)])
    {
        let goal = if build == "static" { [Some(0.6), Some(1.2), Some(1.2)] } else { [Some(1.8), Some(1.8), None] };
        let of = |words: &[&str]| tok(program, home, words);
        let mut variable = of(&["get", "p0"]);
        variable.env("TOK_STORE", "file");
        let mut rows = [
            row("true", "true", None, plain(&["true"])),
            row("tok get p0", "true", goal[0], of(&["get", "p0"])),
            row("tok get p0 --min-ttl 5m", "true", goal[1], of(&options)),
            row("TOK_STORE=file tok get p0", "true", goal[1], variable),
            row("tok -q get p0, never seen before", "true", goal[2], of(&["-q", "get", "p0"])),
        ];
        run(&mut rows, rounds);
        table(&format!("**A cached token, {build}{many}**"), &rows);
    }

    let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
    let mut peers = peers::prepare(root, bus.as_deref());
    let mut rows = vec![
        row("true", "true", None, plain(&["true"])),
        row("cached get, static", "true", None, tok(here, &homes[0].1, &["get", "p0"])),
    ];
    rows.append(&mut peers.rows);
    run(&mut rows, rounds);
    table("**A cached token, beside other programs**", &rows);
    drop(peers);

    https(here, root, rounds);

    // Everything but the server's time: the same refresh with the secrets in a file is what is left of it.
    const BY_FILE: &str = "refresh, secrets in a file";
    const BY_KEYRING: &str = "refresh through the Secret Service";
    let fresh = ["get", "p0", "--fresh"];
    let mut rows = Vec::new();
    for (home, many) in [(&homes[0].1, ""), (&homes[1].1, MANY)] {
        let goal = (!many.is_empty()).then_some(1.2);
        rows.push(row(format!("{BY_FILE}{many}"), BY_FILE, goal, tok(here, home, &fresh)));
    }
    // The keyring is another's, and as likely as a peer not to work here.
    for (name, profiles, many) in [("keyring", 1, ""), ("keyring-1000", 1000, MANY)] {
        let through = bus.clone().ok_or_else(|| "no session bus".to_string()).and_then(|bus| {
            let ring = home(root, name, profiles, &url, "store = \"keyring\"");
            peers::succeeds(login(here, &ring, |command| {
                command.env("DBUS_SESSION_BUS_ADDRESS", &bus);
            }))?;
            let mut fresh = tok(here, &ring, &fresh);
            fresh.env("DBUS_SESSION_BUS_ADDRESS", &bus);
            Ok(fresh)
        });
        let of = if many.is_empty() { BY_FILE } else { BY_KEYRING };
        rows.push(Row { goal: (!many.is_empty()).then_some(1.2), ..peer(&format!("{BY_KEYRING}{many}"), of, through) });
    }
    settle();
    run(&mut rows, rounds / 2);
    table("**A refresh** (server of the test, plain HTTP; aim: 15 ms)", &rows);

    let mut rows = vec![row(format!("tok list{MANY}"), "tok list", None, tok(here, &homes[1].1, &["list"]))];
    run(&mut rows, rounds / 10 + 1);
    table("**A list** (aim: 100 ms)", &rows);

    crowd(here, &homes[1].1, &count);
}

/// The rows of a request over TLS, beside curl.
fn https(here: &Path, root: &Path, rounds: usize) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    // The name of the server's own certificate is rcgen's: with the same one here OpenSSL takes it for its issuer.
    authority.distinguished_name.push(rcgen::DnType::CommonName, "tok's benches");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(authority, key).unwrap();
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&leaf_key, &ca).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let (port, _) = server(Some(Arc::new(config)));
    let url = format!("https://localhost:{port}");
    let one = root.join("ca.pem");
    fs::write(&one, ca.pem()).unwrap();
    let bundle = root.join("bundle.pem");
    let system = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    fs::write(&bundle, format!("{system}{}", ca.pem())).unwrap();
    let [few, many] = [("tls", 1), ("tls-1000", 1000)].map(|(name, profiles)| {
        let home = home(root, name, profiles, &url, "store = \"file\"");
        succeed(login(here, &home, |command| {
            command.env("SSL_CERT_FILE", &one);
        }));
        home
    });
    settle();
    let fresh = |home: &Path, roots: &Path| {
        let mut command = tok(here, home, &["get", "p0", "--fresh"]);
        command.env("SSL_CERT_FILE", roots);
        command
    };
    let curl = |roots: &Path| {
        let mut command = plain(&["curl", "-sS", "--fail", "-d", "grant_type=refresh_token&refresh_token=x", "-o"]);
        command.arg("/dev/null").args(["--noproxy", "*", "--cacert"]).arg(roots).arg(format!("{url}/token"));
        if is_here("curl") { Ok(command) } else { Err("not installed".into()) }
    };
    let mut rows = vec![
        peer("curl, one CA", "curl, one CA", curl(&one)),
        row("tok get --fresh, one CA", "curl, one CA", 0.5, fresh(&few, &one)),
        row(format!("tok get --fresh, one CA{MANY}"), "tok get --fresh, one CA", 1.2, fresh(&many, &one)),
        peer("curl, its bundle", "curl, its bundle", curl(&bundle)),
        row("tok get --fresh, the system's roots", "curl, its bundle", 0.3, fresh(&few, &bundle)),
    ];
    run(&mut rows, rounds / 2);
    table("**A request over HTTPS** (from the start of the process to its end)", &rows);
}

/// A thousand at once: with an empty cache they ask once, and take not much longer than with a full one.
fn crowd(here: &Path, home: &Path, count: &AtomicUsize) {
    let all = || {
        let begun = Instant::now();
        let children: Vec<_> = (0..1000).map(|_| tok(here, home, &["get", "p0"]).spawn().unwrap()).collect();
        let well = children.into_iter().map(|mut child| child.wait().unwrap().success()).filter(|ok| *ok).count();
        assert_eq!(well, 1000);
        begun.elapsed()
    };
    let mut ratios = Vec::new();
    for _ in 0..3 {
        fs::remove_dir_all(home.join(".local/state/tok/cache")).unwrap();
        let before = count.load(SeqCst);
        let cold = all();
        assert_eq!(count.load(SeqCst) - before, 1, "one request for a thousand calls");
        settle();
        succeed(tok(here, home, &["get", "p0"]));
        ratios.push((cold.as_secs_f64(), cold.as_secs_f64() / all().as_secs_f64()));
    }
    let (time, ratio) = (median(ratios.iter().map(|r| r.0).collect()), median(ratios.iter().map(|r| r.1).collect()));
    println!(
        "\n**1,000 `tok get` at once** (1,000 profiles, 200 providers), nothing cached: one request, {:.0} ms, {ratio:.2} × the same with a cached token (aim: 2)",
        time * 1e3
    );
}
