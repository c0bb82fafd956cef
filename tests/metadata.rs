//! Discovery and key sets by the real `Host`: real sockets, real folders.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "cli/support/child.rs"]
mod child;
#[path = "cli/support/refusing.rs"]
mod refusing;

use child::Start;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tok::Host;
use tok::testing::base::error::{Kind, kind};
use tok::testing::profile::discovery::{Copies, First, discover, jwks};

/// The home of a test that runs apart.
const HOME: &str = "METADATA_TEST_HOME";

/// Runs `body` in a process of its own, whose home is a new folder: the platform's folders are read off the
/// environment, which no test may change for the others.
fn apart(name: &str, body: impl FnOnce(&Path)) {
    if let Some(home) = std::env::var_os(HOME) {
        body(Path::new(&home));
        return std::fs::write(Path::new(&home).join("done"), "").unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, value) in std::env::vars_os() {
        // No proxy and no folder of the one who runs the tests.
        let text = name.to_string_lossy().to_lowercase();
        if text.ends_with("_proxy") || text.starts_with("xdg_") || text.starts_with("ssl_cert") {
            command.env_remove(&name);
        } else {
            command.env(&name, value);
        }
    }
    command.args(["--exact", name, "--nocapture"]).env("HOME", home.path()).env(HOME, home.path());
    let output = command.finish().unwrap();
    let said = [output.stdout, output.stderr].concat();
    // A wrong name would run nothing, and well.
    let done = output.status.success() && home.path().join("done").exists();
    assert!(done, "{}", String::from_utf8_lossy(&said));
}

/// What a server has at each path: status, header lines, body.
type Pages = Vec<(String, u16, &'static str, String)>;

struct Server {
    origin: String,
    pages: Arc<Mutex<Pages>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let server = Server { origin, pages: Arc::default(), asked: Arc::default() };
        let (pages, asked) = (server.pages.clone(), server.asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_string();
                asked.lock().unwrap().push(head);
                let pages = pages.lock().unwrap();
                let none = (path.clone(), 404, "", "<html>".to_string());
                let (_, status, lines, body) = pages.iter().find(|(p, ..)| *p == path).unwrap_or(&none);
                let length = body.len();
                let _ = write!(stream, "HTTP/1.1 {status} X\r\n{lines}Content-Length: {length}\r\n\r\n{body}");
            }
        });
        server
    }

    fn set(&self, path: &str, status: u16, lines: &'static str, body: &str) {
        let mut pages = self.pages.lock().unwrap();
        pages.retain(|(known, ..)| known != path);
        pages.push((path.into(), status, lines, body.into()));
    }

    /// The paths asked for since the last call of this.
    fn asked(&self) -> Vec<String> {
        let heads = std::mem::take(&mut *self.asked.lock().unwrap());
        heads.iter().map(|head| head.split(' ').nth(1).unwrap().to_string()).collect()
    }
}

/// The real host with `-v`, and what it says.
fn host() -> (Host, Arc<Mutex<Vec<u8>>>) {
    struct Said(Arc<Mutex<Vec<u8>>>);
    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let said = Arc::new(Mutex::new(Vec::new()));
    let mut host = Host::real();
    host.terminal.err = Box::new(Said(said.clone()));
    host.terminal.verbose = 1;
    (host, said)
}

fn copies(home: &Path) -> Vec<PathBuf> {
    let folder = host().0.folders().unwrap().metadata();
    assert!(folder.starts_with(home), "{}", folder.display());
    std::fs::read_dir(folder).map(|all| all.map(|e| e.unwrap().path()).collect()).unwrap_or_default()
}

#[test]
fn metadata_is_found_kept_and_outlives_a_short_outage() {
    apart("metadata_is_found_kept_and_outlives_a_short_outage", |home| {
        let server = Server::start();
        let issuer = format!("{}/t", server.origin);
        let body = format!(r#"{{"issuer":"{issuer}","token_endpoint":"{}/token"}}"#, server.origin);
        server.set("/.well-known/oauth-authorization-server/t", 200, "Cache-Control: max-age=60\r\n", &body);
        let (mut host, said) = host();
        let token_endpoint = Ok(Some(format!("{}/token", server.origin)));
        for _ in 0..2 {
            assert_eq!(
                discover(&mut host, &issuer, First::OpenId, None, Copies::Allowed).unwrap().endpoint("token_endpoint"),
                token_endpoint
            );
        }
        let head = server.asked.lock().unwrap()[0].to_lowercase();
        assert!(head.contains("\r\naccept: application/json\r\n") && head.contains("\r\nuser-agent: tok/"), "{head}");
        let both = ["/t/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t"];
        assert_eq!(server.asked(), both);
        discover(&mut host, &issuer, First::OpenId, None, Copies::Refused).unwrap();
        assert_eq!(server.asked(), both);
        // Two minutes later, as it were.
        let files = copies(home);
        let text = std::fs::read_to_string(&files[0]).unwrap();
        let mut copy: serde_json::Value = serde_json::from_str(&text).unwrap();
        copy["fetched"] = (copy["fetched"].as_i64().unwrap() - 120_000_000_000).into();
        std::fs::write(&files[0], copy.to_string()).unwrap();
        server.set("/t/.well-known/openid-configuration", 500, "", "");
        assert_eq!(
            discover(&mut host, &issuer, First::OpenId, None, Copies::Allowed).unwrap().endpoint("token_endpoint"),
            token_endpoint
        );
        let said = String::from_utf8(said.lock().unwrap().clone()).unwrap();
        assert!(said.contains("server error (status 500); using a copy that is 2 min old\n"), "{said}");
        assert_eq!(
            discover(&mut host, &issuer, First::OpenId, None, Copies::Refused)
                .map_err(|error| kind(&error))
                .unwrap_err(),
            Kind::Unavailable
        );
        assert_eq!(files.len(), 1);
    });
}

#[test]
fn a_server_without_metadata_and_one_that_redirects_are_told_apart() {
    apart("a_server_without_metadata_and_one_that_redirects_are_told_apart", |home| {
        let server = Server::start();
        let (mut host, _) = host();
        let error = discover(&mut host, &server.origin, First::OpenId, None, Copies::Allowed).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("{}: it publishes no metadata: nothing at ", server.origin)), "{shown}");
        assert_eq!((kind(&error), server.asked().len()), (Kind::Refused, 2));
        let line = "Location: https://e.example/x?code=hunter2\r\n";
        server.set("/.well-known/openid-configuration", 302, line, "");
        let error = discover(&mut host, &server.origin, First::OpenId, None, Copies::Allowed).unwrap_err();
        assert!(
            kind(&error) == Kind::Reply
                && format!("{error:#}").contains("to https://e.example/x?…, which tok does not follow")
        );
        assert_eq!(server.asked().len(), 1);
        let nobody = refusing::Refusing::new();
        host.clock.set_timeout(Duration::from_secs(100));
        let error = discover(&mut host, &nobody.url(), First::OpenId, None, Copies::Allowed).unwrap_err();
        assert_eq!(kind(&error), Kind::Unavailable, "{error}");
        for issuer in ["http://a.example", "https://u:hunter2@a.example"] {
            let error = discover(&mut host, issuer, First::OpenId, None, Copies::Allowed).unwrap_err();
            assert!(kind(&error) == Kind::Config && !error.to_string().contains("hunter2"), "{error}");
        }
        assert!(copies(home).is_empty());
    });
}

#[test]
fn a_missing_key_is_asked_for_once_a_minute() {
    apart("a_missing_key_is_asked_for_once_a_minute", |home| {
        let server = Server::start();
        let url = format!("{}/keys", server.origin);
        let (old, new) = (r#"{"keys":[]}"#, r#"{"keys":[{"kid":"2"}]}"#);
        server.set("/keys", 200, "", old);
        let (mut host, _) = host();
        assert_eq!(jwks(&mut host, &url, None, Copies::Allowed).unwrap(), old.as_bytes());
        server.set("/keys", 200, "", new);
        for again in [Copies::Allowed, Copies::Refused, Copies::Refused] {
            assert_eq!(jwks(&mut host, &url, None, again).unwrap(), old.as_bytes());
        }
        assert_eq!(server.asked().len(), 1);
        let file = copies(home).remove(0);
        let mut copy: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        copy["fetched"] = (copy["fetched"].as_i64().unwrap() - 60_000_000_000).into();
        std::fs::write(&file, copy.to_string()).unwrap();
        assert_eq!(jwks(&mut host, &url, None, Copies::Refused).unwrap(), new.as_bytes());
        assert_eq!(jwks(&mut host, &url, None, Copies::Refused).unwrap(), new.as_bytes());
        assert_eq!(server.asked().len(), 1);
    });
}
