//! `tok get --write FILE`, and `--watch`: a file that is kept fresh until a signal comes.

use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, mode, plain, until};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tokens that live as long as each of these seconds, the last one again and again.
fn lives(seconds: &'static [i64]) -> Server {
    let issued = AtomicUsize::new(0);
    Server::new(move |_| {
        let number = issued.fetch_add(1, Ordering::SeqCst);
        Reply::token(&format!("token-{number}-{CANARY}"), *seconds.get(number).or(seconds.last()).unwrap())
    })
}

fn token(number: usize) -> String {
    format!("token-{number}-{CANARY}\n")
}

fn file(sandbox: &Sandbox) -> PathBuf {
    sandbox.work().join("token")
}

fn read(sandbox: &Sandbox) -> String {
    fs::read_to_string(file(sandbox)).unwrap_or_default()
}

#[test]
fn a_file_is_written_only_when_it_changes() {
    use std::os::unix::fs::MetadataExt;
    let server = lives(&[600]);
    let sandbox = plain(&server.url());
    let inode = || fs::metadata(file(&sandbox)).unwrap().ino();
    sandbox.run("get plain --write token").silent().prints("");
    assert_eq!((read(&sandbox), mode(&file(&sandbox))), (token(0), 0o600));
    let first = inode();
    sandbox.run("get plain --write token").silent().prints("");
    assert_eq!(inode(), first, "the same content is left alone");
    crate::support::chmod(&file(&sandbox), 0o644);
    sandbox.run("get plain --write token").silent().prints("");
    assert_ne!(inode(), first);
    assert_eq!(mode(&file(&sandbox)), 0o600, "one that others can read is written anew");
    sandbox.run("get plain --fresh --write token").silent().prints("");
    assert_eq!(read(&sandbox), token(1));
    sandbox.run("get plain -n --write token").silent().prints("");
    assert_eq!(read(&sandbox), token(1).trim_end());
    fs::create_dir(sandbox.work().join("folder")).unwrap();
    sandbox.run("get plain --write folder").fails(1).says("folder cannot be written: it is a folder");
    fs::write(sandbox.work().join("behind"), "old").unwrap();
    std::os::unix::fs::symlink("behind", sandbox.work().join("link")).unwrap();
    sandbox.run("get plain --write link").silent().prints("");
    assert_eq!(fs::read_to_string(sandbox.work().join("behind")).unwrap(), token(1));
    assert!(sandbox.work().join("link").is_symlink());
}

#[test]
fn a_watched_file_is_kept_fresh_until_a_signal() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let server = lives(&[4]);
        let sandbox = plain(&server.url());
        let running = sandbox.run_watch();
        until("the first token", || read(&sandbox) == token(0));
        until("the third token", || read(&sandbox) == token(2));
        running.signal(signal);
        let out = running.wait();
        assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (code, "", ""), "{out}");
        assert!(read(&sandbox).starts_with("token-"), "the file stays");
        assert_eq!(mode(&file(&sandbox)), 0o600);
    }
}

#[test]
fn a_watched_file_that_is_changed_or_removed_is_written_again() {
    let server = lives(&[600]);
    let sandbox = plain(&server.url());
    let running = sandbox.run_watch();
    until("the token", || read(&sandbox) == token(0));
    fs::write(file(&sandbox), "other").unwrap();
    until("the token again", || read(&sandbox) == token(0));
    fs::remove_file(file(&sandbox)).unwrap();
    until("the token once more", || read(&sandbox) == token(0));
    // A folder in its place ends it.
    fs::remove_file(file(&sandbox)).unwrap();
    fs::create_dir(file(&sandbox)).unwrap();
    running.wait().fails(1).says("token cannot be written: it is a folder");
    assert_eq!(server.count(), 1);
}

#[test]
fn a_watch_survives_a_server_that_fails_for_now() {
    let server = lives(&[3]);
    let sandbox = plain(&server.url());
    let said = sandbox.file("said", "");
    let stderr = fs::File::create(&said).unwrap();
    let running = sandbox.tok(["get", "plain", "--watch", "--write", "token"]).stderr(stderr).spawn();
    until("the first token", || read(&sandbox) == token(0));
    // It is down until the token has ended: then no token is left in the file.
    let down = || Reply::new(503, "text/plain", "").header("Retry-After", "1");
    for _ in 0..200 {
        server.next(down());
    }
    let words = || fs::read_to_string(&said).unwrap();
    until("the file is gone", || words().contains("removed, its token has expired"));
    assert!(!file(&sandbox).exists());
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code, 143);
    assert!(words().contains("trying again in 1s") && !words().contains(CANARY), "{}", words());
}

#[test]
fn a_watch_goes_on_when_the_server_is_back() {
    let server = lives(&[3, 600]);
    let sandbox = plain(&server.url());
    let running = sandbox.run_watch();
    until("the first token", || read(&sandbox) == token(0));
    server.next(Reply::new(500, "text/plain", ""));
    until("the next token", || read(&sandbox) == token(1));
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code, 143);
}

#[test]
fn a_watch_ends_where_trying_again_does_not_help() {
    let server = lives(&[3]);
    let sandbox = plain(&server.url());
    let running = sandbox.run_watch();
    until("the first token", || read(&sandbox) == token(0));
    server.next(Reply::json(400, serde_json::json!({"error": "invalid_client"})));
    running.wait().fails(5);
    assert!(!file(&sandbox).exists(), "nobody keeps it fresh any more");

    // A session that ends.
    let server = Server::new(|request| match request.field("refresh_token").as_str() {
        "" => Reply::json(
            200,
            serde_json::json!({"access_token": format!("a-{CANARY}"), "expires_in": 3, "refresh_token": format!("r-{CANARY}")}),
        ),
        _ => Reply::json(400, serde_json::json!({"error": "invalid_grant"})),
    });
    let mut sandbox = plain(&server.url());
    sandbox.run("login plain client-credentials").ok();
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET");
    let running = sandbox.run_watch();
    until("the token", || read(&sandbox).contains(CANARY));
    running.wait().fails(4).hints_at("tok login plain");
    assert!(!file(&sandbox).exists());
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let server = lives(&[600]);
    let sandbox = plain(&server.url());
    for line in [
        "get plain --watch",
        "get plain --watch --write -",
        "get plain --watch --write /dev/null",
        "get plain --watch --write /dev/stdout",
        "get plain --watch --write t --fresh",
        "get plain --watch --write t --offline",
        "get plain --watch --write t -o aws",
        "get plain --watch --write t -o github",
        "get plain --watch --write t -o gcp-executable",
    ] {
        sandbox.run(line).fails(2);
    }
    sandbox.run("get plain --watch --write nowhere/t").fails(1).says("nowhere/t cannot be written");
    assert_eq!(server.count(), 0);
    // What cannot be had at first is told at once.
    server.next(Reply::json(400, serde_json::json!({"error": "invalid_client"})));
    sandbox.run("get plain --watch --write t").fails(5);
}

impl Sandbox {
    fn run_watch(&self) -> crate::support::Running {
        self.tok(["get", "plain", "--watch", "--write", "token"]).spawn()
    }
}
