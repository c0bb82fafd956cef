//! The HTTP module against real sockets: what goes over the wire, and what each answer is taken for.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(unix)]
#[path = "cli/support/refusing.rs"]
mod refusing;

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tok::base::error::{Error, Kind, Result};
use tok::base::secret::Secret;
use tok::base::time::Time;
use tok::oauth::request::{Identity, Repeat, Request, Response};
use tok::provider::Method;
use tok::system::http::{Client, Settings, check_identity};
use zeroize::Zeroizing;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}
type Answer = Arc<dyn Fn(usize, &mut dyn Stream) + Send + Sync>;

/// A server that answers the nth connection by `answer(n, stream)`, the request being read and kept.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(tls: Option<Arc<rustls::ServerConfig>>, answer: Answer) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        thread::spawn(move || {
            for (number, tcp) in listener.incoming().enumerate() {
                let (tls, kept, answer, mut tcp) = (tls.clone(), kept.clone(), answer.clone(), tcp.unwrap());
                thread::spawn(move || match tls {
                    None => {
                        kept.lock().unwrap().push(read_request(&mut tcp));
                        answer(number, &mut tcp);
                    }
                    Some(config) => {
                        let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), tcp);
                        let request = read_request(&mut stream);
                        if !request.is_empty() {
                            kept.lock().unwrap().push(request);
                            answer(number, &mut stream);
                            stream.conn.send_close_notify();
                            let _ = stream.flush();
                        } else {
                            // Closed with bytes unread, the connection would be reset, and the alert lost.
                            let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
                        }
                    }
                });
            }
        });
        Server { port, requests }
    }

    /// One that says the nth of `replies`, the last one for ever, and closes.
    fn saying(replies: &[&str]) -> Server {
        let replies: Vec<String> = replies.iter().map(|r| r.to_string()).collect();
        Server::start(
            None,
            Arc::new(move |number, stream| {
                let _ = stream.write_all(replies[number.min(replies.len() - 1)].as_bytes());
            }),
        )
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token?secret=hunter2", self.port)
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn read_request(stream: &mut dyn Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = stream.read_exact(&mut body);
    head + &String::from_utf8(body).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

fn reply(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}")
}

fn request(url: &str, repeat: Repeat) -> Request {
    let header = |name: &str, value: &str| (name.to_string(), Zeroizing::new(value.to_string()));
    Request {
        method: Method::Post,
        url: Zeroizing::new(url.to_string()),
        headers: vec![
            header("User-Agent", "tok/0.0"),
            header("Accept", "application/json"),
            header("Content-Type", "application/x-www-form-urlencoded"),
        ],
        body: Some(Zeroizing::new(b"a=1&b=hunter2".to_vec())),
        repeat,
        identity: None,
    }
}

/// Where nobody listens: tcpmux, which no system has had for long.
const NOBODY: &str = "127.0.0.1:1";

/// What an answer may take on a busy machine. Whatever it is a bound for would take several minutes.
const PATIENCE: Duration = Duration::from_secs(60);

const NOW: Time = Time(784_111_770_000_000_000);

fn send_with(client: &Client, request: &Request, limit: Duration) -> Result<Response> {
    let mut lines = Vec::new();
    let result = client.send(request, Instant::now() + limit, &|| NOW, &mut |line| lines.push(line.to_string()));
    let all = format!("{lines:?}{:?}", result.as_ref().err());
    assert!(!all.contains("hunter2"), "a secret is shown: {all}");
    result
}

fn send(url: &str, repeat: Repeat) -> Result<Response> {
    send_with(&Client::new(Settings::default()), &request(url, repeat), PATIENCE)
}

fn settings(set: &[(&str, &str)]) -> Settings {
    Settings::from_env(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))
}

fn error(result: Result<Response>, kind: Kind, part: &str) -> Error {
    let error = result.unwrap_err();
    assert!(error.kind == kind && error.to_string().contains(part), "{error:?}");
    error
}

#[test]
fn the_bytes_on_the_wire_are_the_request_and_nothing_else() {
    let server = Server::saying(&[OK]);
    let response = send(&server.url(), Repeat::Freely).unwrap();
    assert_eq!((response.status, response.body.as_slice(), response.received), (200, b"{}".as_slice(), NOW));
    assert_eq!(response.header("Content-Length"), Some("2"));
    let text = server.requests.lock().unwrap()[0].clone();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_string).collect();
    assert_eq!(lines.remove(0), "POST /token?secret=hunter2 HTTP/1.1");
    for line in &mut lines {
        let (name, value) = line.split_once(": ").unwrap();
        *line = format!("{}: {value}", name.to_lowercase());
    }
    lines.sort();
    let expected = [
        "accept: application/json".to_string(),
        "content-length: 13".into(),
        "content-type: application/x-www-form-urlencoded".into(),
        format!("host: 127.0.0.1:{}", server.port),
        "user-agent: tok/0.0".into(),
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, "a=1&b=hunter2");
}

#[test]
fn methods_and_bodies_are_sent_as_asked() {
    for (method, body, line, length) in [
        (Method::Get, None, "GET ", None),
        (Method::Get, Some("x"), "GET ", Some("content-length: 1")),
        (Method::Put, Some("x"), "PUT ", Some("content-length: 1")),
        (Method::Post, None, "POST ", Some("content-length: 0")),
    ] {
        let server = Server::saying(&[OK]);
        let mut request = request(&server.url(), Repeat::Freely);
        request.method = method;
        request.body = body.map(|b| Zeroizing::new(b.as_bytes().to_vec()));
        request.headers.clear();
        send_with(&Client::new(Settings::default()), &request, PATIENCE).unwrap();
        let text = server.requests.lock().unwrap()[0].to_lowercase();
        assert!(text.starts_with(&line.to_lowercase()), "{text}");
        let found = text.lines().find(|l| l.starts_with("content-length") || l.starts_with("transfer-encoding"));
        assert_eq!(found, length, "{method:?}");
        assert!(!text.contains("user-agent") && !text.contains("accept"), "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{}", body.unwrap_or(""))), "{text}");
    }
}

#[test]
fn a_header_that_would_be_two_is_refused() {
    let mut request = request("http://127.0.0.1:1/", Repeat::Freely);
    request.headers.push(("X-Key".into(), Zeroizing::new("hunter2\r\nX: y".into())));
    let result = send_with(&Client::new(Settings::default()), &request, PATIENCE);
    error(result, Kind::Config, "X-Key");
}

#[test]
fn every_status_is_a_reply_and_no_redirect_is_followed() {
    let elsewhere = Server::saying(&[OK]);
    for code in [301, 302, 303, 307, 308] {
        let location = format!("Location: http://127.0.0.1:{}/\r\n", elsewhere.port);
        let server = Server::saying(&[&format!("HTTP/1.1 {code} Moved\r\n{location}Content-Length: 0\r\n\r\n")]);
        let response = send(&server.url(), Repeat::Freely).unwrap();
        assert_eq!((response.status, server.count()), (code, 1));
        assert!(response.header("location").is_some());
    }
    assert_eq!(elsewhere.count(), 0);
    for status in ["201 Created", "204 No Content", "400 Bad", "401 No", "408 Late", "500 Oh", "501 What"] {
        let body = if status.starts_with("204") { "HTTP/1.1 204 No Content\r\n\r\n".into() } else { reply(status) };
        let server = Server::saying(&[&body]);
        let response = send(&server.url(), Repeat::Freely).unwrap();
        assert!(status.starts_with(&response.status.to_string()));
        assert_eq!(server.count(), 1, "{status}");
    }
}

#[test]
fn each_class_of_request_is_repeated_as_the_contract_says() {
    for (status, freely, rotating, personal) in
        [("429 Slow", 2, 2, 1), ("503 Busy", 2, 2, 1), ("502 Gate", 2, 1, 1), ("504 Gate", 2, 1, 1)]
    {
        for (repeat, count) in [(Repeat::Freely, freely), (Repeat::Rotating, rotating), (Repeat::Personal, personal)] {
            let server = Server::saying(&[&reply(status), OK]);
            let response = send(&server.url(), repeat).unwrap();
            assert_eq!(server.count(), count, "{status} {repeat:?}");
            assert_eq!(response.status == 200, count == 2);
        }
    }
    let server = Server::saying(&[&reply("503 Busy")]);
    assert_eq!(send(&server.url(), Repeat::Freely).unwrap().status, 503);
    assert_eq!(server.count(), 4);
}

#[test]
fn the_log_has_a_line_for_each_attempt_and_no_path_or_query() {
    let server = Server::saying(&[&reply("503 Busy"), OK]);
    let mut lines = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let request = request(&server.url(), Repeat::Freely);
    let log = &mut |line: &str| lines.push(line.to_string());
    Client::new(Settings::default()).send(&request, deadline, &|| NOW, log).unwrap();
    let start = format!("POST http://127.0.0.1:{}: ", server.port);
    assert!(lines[0].starts_with(&format!("{start}503; again in 0.")), "{lines:?}");
    assert_eq!(lines[1..], [format!("{start}200")]);
}

#[test]
fn what_was_sent_and_not_answered_is_never_sent_again() {
    let server = Server::saying(&[""]);
    error(send(&server.url(), Repeat::Freely), Kind::Unavailable, "closed before the whole reply");
    assert_eq!(server.count(), 1);
}

#[cfg(unix)]
#[test]
fn a_refused_connection_is_tried_again() {
    let start = Instant::now();
    let refused = error(send(&format!("http://{NOBODY}/"), Repeat::Personal), Kind::Unavailable, "connection refused");
    assert_eq!(refused.hint.as_deref(), Some("nobody listens there: look at host and port of the URL"));
    assert!(start.elapsed() > Duration::from_millis(800), "{:?}", start.elapsed());
    // Nobody listens until the first try has failed, which is told.
    let refusing = refusing::Refusing::new();
    let request = request(&format!("{}/", refusing.url()), Repeat::Rotating);
    let mut refusing = Some(refusing);
    let mut later = None;
    let mut lines = Vec::new();
    let response = Client::new(Settings::default()).send(&request, Instant::now() + PATIENCE, &|| NOW, &mut |line| {
        lines.push(line.to_string());
        let Some(refusing) = refusing.take() else { return };
        later = Some(thread::spawn(move || {
            let (mut stream, _) = refusing.listen().accept().unwrap();
            read_request(&mut stream);
            stream.write_all(OK.as_bytes()).unwrap();
        }));
    });
    assert_eq!(response.unwrap().status, 200);
    assert!(lines.len() >= 2 && lines[0].contains("again in"), "{lines:?}");
    later.unwrap().join().unwrap();
}

#[test]
fn retry_after_is_obeyed_or_ends_it() {
    let slow = |after: &str| format!("HTTP/1.1 429 Slow\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n");
    for after in ["1", "Sun, 06 Nov 1994 08:49:31 GMT"] {
        let server = Server::saying(&[&slow(after), OK]);
        let start = Instant::now();
        assert_eq!(send(&server.url(), Repeat::Rotating).unwrap().status, 200);
        assert!(start.elapsed() >= Duration::from_secs(1));
    }
    for after in ["3600", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let server = Server::saying(&[&slow(after), OK]);
        let start = Instant::now();
        assert_eq!(send(&server.url(), Repeat::Freely).unwrap().status, 429);
        assert!(start.elapsed() < PATIENCE && server.count() == 1);
    }
}

#[test]
fn broken_replies_are_told_apart() {
    let long = "x".repeat((1 << 20) + 1);
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{long}");
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let many = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for (text, kind, part) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Kind::Unavailable, "before the whole reply"),
        ("HTTP/1.1 200 OK\r\nContent-Le", Kind::Unavailable, "before the whole reply"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Kind::Reply, "not HTTP"),
        ("<html>hello</html>\r\n\r\n", Kind::Reply, "not HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}", Kind::Reply, "not HTTP"),
        (&chunked("xyz\r\n{}\r\n0\r\n\r\n"), Kind::Reply, "not HTTP"),
        (&chunked("2\r\n{}\r\n"), Kind::Unavailable, "before the whole reply"),
        (&endless, Kind::Reply, "longer than 1 MiB"),
        (&many, Kind::Reply, "headers are too long"),
    ] {
        let server = Server::saying(&[text]);
        error(send(&server.url(), Repeat::Freely), kind, part);
        assert_eq!(server.count(), 1);
    }
    for (text, status) in [
        (endless.replace("200 OK", "500 Oh"), 500),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\n{}".into(), 500),
        (chunked("xyz\r\n").replace("200 OK", "500 Oh"), 500),
        ("HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\n{}".into(), 401),
        ("HTTP/1.1 302 Go\r\nContent-Length: 9\r\n\r\n{}".into(), 302),
    ] {
        let response = send(&Server::saying(&[&text]).url(), Repeat::Freely).unwrap();
        assert_eq!((response.status, response.body.len()), (status, 0));
    }
}

#[test]
fn one_mebibyte_is_not_too_long() {
    let text = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20));
    assert_eq!(send(&Server::saying(&[&text]).url(), Repeat::Freely).unwrap().body.len(), 1 << 20);
}

#[test]
fn a_reset_is_no_end_of_a_body() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.peek(&mut [0; 1]).unwrap(); // the request has come, and is not read
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"access_to").unwrap();
        thread::sleep(Duration::from_millis(200));
        // Closed with unread bytes: the system sends a reset.
    });
    error(send(&url, Repeat::Personal), Kind::Unavailable, "the connection was cut");
}

#[test]
fn older_and_stranger_http_is_understood() {
    for text in [
        "HTTP/1.0 200 OK\r\n\r\n{}",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 200\r\ncontent-length:2\r\n\r\n{}",
    ] {
        let response = send(&Server::saying(&[text]).url(), Repeat::Freely).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (200, b"{}".as_slice()), "{text}");
    }
}

#[test]
fn the_time_is_kept_whatever_the_server_does() {
    let trickle: Answer = Arc::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b"x").and_then(|()| stream.flush()).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let silent: Answer = Arc::new(|_, _| thread::sleep(Duration::from_secs(600)));
    let endless: Answer = Arc::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    for answer in [trickle, silent, endless] {
        let server = Server::start(None, answer);
        let start = Instant::now();
        let request = request(&server.url(), Repeat::Freely);
        let result = send_with(&Client::new(Settings::default()), &request, Duration::from_millis(5500));
        let error = error(result, Kind::Unavailable, "no answer within 5.5s");
        assert!(error.hint.unwrap().contains("--timeout"));
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
        assert_eq!(server.count(), 1);
    }
    let request = request("http://127.0.0.1:1/", Repeat::Freely);
    error(send_with(&Client::new(Settings::default()), &request, Duration::ZERO), Kind::Unavailable, "no answer");
}

#[test]
fn plain_text_leaves_this_machine_for_nowhere() {
    for url in ["http://example.com/", "http://127.0.0.1.example/", "http://10.0.0.1/", "ftp://localhost/"] {
        error(send(url, Repeat::Freely), Kind::Config, "neither https nor");
    }
    error(send("https://localhost:65536/", Repeat::Freely), Kind::Config, "port");
    for url in ["https://user:hunter2@localhost/", "/hunter2", "https://a b/", "https:///", ""] {
        error(send(url, Repeat::Freely), Kind::Config, "");
    }
}

#[test]
fn localhost_is_this_machine() {
    let server = Server::saying(&[OK]);
    assert_eq!(send(&format!("http://localhost:{}/", server.port), Repeat::Freely).unwrap().status, 200);
}

#[test]
fn a_host_that_does_not_exist_is_said_so() {
    let limit = PATIENCE;
    let request = request("https://no-such-host.invalid/", Repeat::Freely);
    let error = error(send_with(&Client::new(trusting(&ca().file)), &request, limit), Kind::Unavailable, "");
    let said = ["no such host", "could not be looked up", "no answer within", "no connection within"];
    assert!(said.iter().any(|text| error.why.contains(text)), "{error:?}");
}

// TLS

struct Ca {
    file: PathBuf,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    _dir: tempfile::TempDir,
}

fn ca() -> Ca {
    ca_named("test root")
}

fn ca_named(name: &str) -> Ca {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
    Ca { file, issuer: rcgen::Issuer::new(params, key), _dir: dir }
}

fn trusting(ca_file: &Path) -> Settings {
    // An empty system store beside it would be an error, the machine's own is not this test's.
    Settings { ssl_cert_file: Some(ca_file.to_path_buf()), ..Settings::default() }
}

fn tls13_and_12() -> rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

impl Ca {
    fn server(&self, name: &str, years: (i32, i32)) -> Server {
        let builder = tls13_and_12().with_no_client_auth();
        self.serve(builder, name, years)
    }

    /// One that demands a client certificate of `clients`.
    fn server_for(&self, clients: &Ca, versions: &[&'static rustls::SupportedProtocolVersion]) -> Server {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&clients.file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        self.serve(builder.with_client_cert_verifier(verifier.build().unwrap()), "localhost", (2000, 4000))
    }

    /// A client certificate valid in these years, and its key.
    fn client(&self, years: (i32, i32)) -> Identity {
        let mut params = rcgen::CertificateParams::new(vec!["client.example".to_string()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: Secret::new(key.serialize_pem()) }
    }

    fn serve(
        &self,
        builder: rustls::ConfigBuilder<rustls::ServerConfig, rustls::server::WantsServerCert>,
        name: &str,
        years: (i32, i32),
    ) -> Server {
        let mut params = rcgen::CertificateParams::new(vec![name.to_string()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
        Server::start(Some(Arc::new(config)), Arc::new(|_, stream| stream.write_all(OK.as_bytes()).unwrap()))
    }
}

fn send_tls(server: &Server, settings: Settings) -> Result<Response> {
    let request = request(&format!("https://localhost:{}/token?secret=hunter2", server.port), Repeat::Freely);
    send_with(&Client::new(settings), &request, PATIENCE)
}

#[test]
fn a_certificate_is_trusted_by_each_of_the_settings() {
    let (ca, other) = (ca(), ca());
    let server = ca.server("localhost", (2000, 4000));
    assert_eq!(send_tls(&server, trusting(&ca.file)).unwrap().status, 200);
    let besides = Settings { ca_file: Some(ca.file.clone()), ..trusting(&other.file) };
    assert_eq!(send_tls(&server, besides).unwrap().status, 200);
    let dir = Settings { ssl_cert_dir: vec![ca.file.parent().unwrap().into()], ..Settings::default() };
    assert_eq!(send_tls(&server, dir).unwrap().status, 200);
    let alone = Settings { ca_file: Some(ca.file.clone()), ..Settings::default() };
    assert_eq!(send_tls(&server, alone).unwrap().status, 200);
}

#[test]
fn a_certificate_that_is_not_good_is_refused_in_plain_words() {
    let ca = ca();
    for (name, years, part, hint) in [
        ("localhost", (2000, 2001), "has expired", "clock"),
        ("localhost", (3000, 4000), "not yet valid", "clock"),
        ("other.example", (2000, 4000), "is for another name: other.example", "URL"),
    ] {
        let server = ca.server(name, years);
        let error = error(send_tls(&server, trusting(&ca.file)), Kind::Unavailable, part);
        assert!(error.hint.unwrap().contains(hint));
        assert_eq!(server.count(), 0);
    }
    let (server, other) = (ca.server("localhost", (2000, 4000)), self::ca());
    let error = error(send_tls(&server, trusting(&other.file)), Kind::Unavailable, "is not trusted");
    assert!(error.hint.unwrap().contains("ca_file"));
    assert_eq!(server.count(), 0);
}

#[test]
fn certificates_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let server = Server::saying(&[OK]);
    for path in [&empty, &dir.path().join("missing.pem")] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let settings = Settings { ca_file: Some(path.clone()), ..Settings::default() };
        let e = error(send_tls(&server, settings.clone()), Kind::Config, name);
        assert!(e.what.contains("ca_file"));
        let e = error(send_tls(&server, trusting(path)), Kind::Config, name);
        assert!(e.what.contains("SSL_CERT_FILE"));
        let plain = request(&server.url(), Repeat::Freely);
        assert!(send_with(&Client::new(settings), &plain, PATIENCE).is_ok(), "read without need");
    }
    let settings = Settings { ssl_cert_dir: vec![dir.path().join("missing")], ..Settings::default() };
    error(send_tls(&server, settings), Kind::Config, "SSL_CERT_DIR");
}

#[test]
fn a_port_without_tls_is_said_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let request = request(&format!("https://localhost:{port}/"), Repeat::Freely);
    let result = send_with(&Client::new(trusting(&ca().file)), &request, PATIENCE);
    error(result, Kind::Unavailable, "does not speak TLS");
}

// Client certificates

fn send_as(server: &Server, ca: &Ca, identity: Option<&Identity>) -> Result<Response> {
    let mut request = request(&format!("https://localhost:{}/token?secret=hunter2", server.port), Repeat::Freely);
    request.identity = identity.cloned();
    send_with(&Client::new(trusting(&ca.file)), &request, PATIENCE)
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn a_client_certificate_is_shown_to_a_server_that_demands_one() {
    let (ca, clients, strangers) = (ca(), ca(), ca_named("another root"));
    for version in VERSIONS {
        let server = ca.server_for(&clients, &[version]);
        let good = clients.client((2000, 4000));
        check_identity(&good).unwrap();
        assert_eq!(send_as(&server, &ca, Some(&good)).unwrap().status, 200);
        let none = error(send_as(&server, &ca, None), Kind::Refused, "it wants a client certificate");
        assert!(none.hint.unwrap().contains("client certificate and its key"));
        for (identity, part) in [
            (strangers.client((2000, 4000)), "does not accept the client certificate: its issuer is unknown"),
            (clients.client((2000, 2001)), "does not accept the client certificate: it has expired"),
        ] {
            let refused = error(send_as(&server, &ca, Some(&identity)), Kind::Refused, part);
            assert!(refused.hint.is_some());
        }
        assert_eq!(server.count(), 1);
    }
    // One that asks for none gets none.
    let server = ca.server("localhost", (2000, 4000));
    assert_eq!(send_as(&server, &ca, Some(&clients.client((2000, 4000)))).unwrap().status, 200);
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_said_so_before_anything_is_sent() {
    let (ca, clients) = (ca(), ca());
    let server = ca.server_for(&clients, &VERSIONS);
    let (good, other) = (clients.client((2000, 4000)), clients.client((2000, 4000)));
    let with = |certificate: &str, key: &str| Identity { certificate: certificate.into(), key: Secret::new(key) };
    let (cert, key) = (good.certificate.as_str(), good.key.expose());
    let root = std::fs::read_to_string(&clients.file).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let short = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (identity, part, hint) in [
        (with(cert, other.key.expose()), "do not belong together", "made for"),
        (with(&format!("{root}{cert}"), key), "do not belong together", "it is number 2"),
        (with("", key), "holds no certificate", "BEGIN CERTIFICATE"),
        (with(key, key), "holds no certificate", "BEGIN CERTIFICATE"),
        (with(&cert[..cert.len() / 2], key), "not PEM throughout", "BEGIN CERTIFICATE"),
        (with(broken, key), "cannot be read", "BEGIN CERTIFICATE"),
        (with(cert, ""), "holds no private key", "PKCS#8"),
        (with(cert, cert), "holds no private key", "PKCS#8"),
        (with(cert, &encrypted), "is encrypted", "openssl pkey"),
        (with(cert, old), "is encrypted", "openssl pkey"),
        (with(cert, short), "of a kind that cannot be used, or broken", "RSA"),
    ] {
        let said = error(send_as(&server, &ca, Some(&identity)), Kind::Config, part);
        assert!(said.hint.as_ref().unwrap().contains(hint), "{said:?}");
        assert_eq!(check_identity(&identity).unwrap_err().why, said.why);
        let all = format!("{said:?}{said} {identity:?}");
        let line = key.lines().nth(1).unwrap();
        assert!(!all.contains(line) && !all.contains(cert.lines().nth(1).unwrap()), "{all}");
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn each_form_of_key_and_certificate_file_is_taken() {
    let (ca, clients) = (ca(), ca());
    let server = ca.server_for(&clients, &VERSIONS);
    let mut identity = clients.client((2000, 4000));
    identity.certificate += &std::fs::read_to_string(&clients.file).unwrap();
    // Certificate and key in one file, as some tools write it, with text between them.
    let both = format!("subject=client\n{}\nkey:\n{}", identity.certificate, identity.key.expose());
    for (certificate, key) in [(&identity.certificate, identity.key.expose()), (&both, &both)] {
        let identity = Identity { certificate: certificate.clone(), key: Secret::new(key) };
        assert_eq!(send_as(&server, &ca, Some(&identity)).unwrap().status, 200);
    }
    // The SEC1 form lies inside the other, at its end.
    let der = PrivatePkcs8KeyDer::from_pem_slice(identity.key.expose().as_bytes()).unwrap();
    let der = der.secret_pkcs8_der();
    let start = der.windows(5).position(|w| w[0] == 0x30 && w[2..] == [2, 1, 1]).unwrap();
    let sec1 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &der[start..]);
    let key = format!("-----BEGIN EC PRIVATE KEY-----\n{sec1}\n-----END EC PRIVATE KEY-----\n");
    let identity = Identity { certificate: identity.certificate, key: Secret::new(key) };
    assert_eq!(send_as(&server, &ca, Some(&identity)).unwrap().status, 200);
}

#[test]
fn a_client_certificate_goes_over_tls_alone() {
    let server = Server::saying(&[OK]);
    let mut request = request(&server.url(), Repeat::Freely);
    request.identity = Some(ca().client((2000, 4000)));
    let result = send_with(&Client::new(Settings::default()), &request, PATIENCE);
    error(result, Kind::Config, "is plain http");
    assert_eq!(server.count(), 0);
}

// Proxies

/// A proxy that joins CONNECT to its target, or answers `refusal`.
fn connect_proxy(refusal: Option<&'static str>) -> Server {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let kept = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, kept) = (stream.unwrap(), kept.clone());
            thread::spawn(move || {
                let request = read_request(&mut stream);
                let target = request.split(' ').nth(1).unwrap().replace("localhost", "127.0.0.1");
                kept.lock().unwrap().push(request);
                if let Some(refusal) = refusal {
                    let _ = stream.write_all(refusal.as_bytes());
                    return;
                }
                let far = TcpStream::connect(target).unwrap();
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
                let (mut near_in, mut far_out) = (stream.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut near_in, &mut far_out));
                let _ = std::io::copy(&mut { far }, &mut stream);
            });
        }
    });
    Server { port, requests }
}

#[test]
fn https_goes_by_the_proxy_unless_no_proxy_says_otherwise() {
    let ca = ca();
    let server = ca.server("localhost", (2000, 4000));
    let proxy = connect_proxy(None);
    let address = format!("http://us%40er:p%3Ahunter2@127.0.0.1:{}", proxy.port);
    let with = |set: &[(&str, &str)]| Settings { ca_file: Some(ca.file.clone()), ..settings(set) };
    assert_eq!(send_tls(&server, with(&[("HTTPS_PROXY", &address)])).unwrap().status, 200);
    let said = proxy.requests.lock().unwrap()[0].to_lowercase();
    assert!(said.starts_with(&format!("connect localhost:{} http/1.1\r\n", server.port)), "{said}");
    assert!(said.contains("user-agent: tok/0.0\r\n"), "{said}");
    let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "us@er:p:hunter2").to_lowercase();
    assert!(said.contains(&format!("proxy-authorization: basic {basic}\r\n")), "{said}");
    assert!(!said.contains("accept"));
    let seen = server.requests.lock().unwrap()[0].to_lowercase();
    assert!(!seen.contains("proxy") && seen.matches("user-agent").count() == 1, "{seen}");
    let direct = with(&[("https_proxy", &address), ("no_proxy", "foo, localhost")]);
    assert_eq!(send_tls(&server, direct).unwrap().status, 200);
    assert_eq!((proxy.count(), server.count()), (1, 2));
}

#[test]
fn plain_http_on_this_machine_may_go_by_a_proxy_on_it() {
    let (server, proxy) = (Server::saying(&[OK]), connect_proxy(None));
    let address = format!("127.0.0.1:{}", proxy.port);
    let client = Client::new(settings(&[("all_proxy", &address)]));
    let response = send_with(&client, &request(&server.url(), Repeat::Freely), PATIENCE).unwrap();
    assert_eq!((response.status, proxy.count(), server.count()), (200, 1, 1));
}

#[test]
fn a_proxy_that_does_not_help_is_said_so() {
    let ca = ca();
    let server = ca.server("localhost", (2000, 4000));
    let by = |address: String| Settings { ca_file: Some(ca.file.clone()), ..settings(&[("https_proxy", &address)]) };
    for (answer, user, part, hint, count) in [
        ("HTTP/1.1 407 Auth\r\n\r\n", "", "wants a user and password", "https_proxy", 1),
        ("HTTP/1.1 407 Auth\r\n\r\n", "u:hunter2@", "refuses the user or password", "https_proxy", 1),
        ("HTTP/1.1 403 No\r\n\r\n", "", "it refused the connection (403)", "NO_PROXY", 1),
        ("HTTP/1.1 503 Busy\r\n\r\n", "", "it refused the connection (503)", "NO_PROXY", 4),
        ("SSH-2.0-x\r\n\r\n", "", "does not answer as a proxy", "", 1),
    ] {
        let proxy = connect_proxy(Some(answer));
        let result = send_tls(&server, by(format!("http://{user}127.0.0.1:{}", proxy.port)));
        let error = error(result, Kind::Unavailable, part);
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{error:?}");
        assert!(error.why.contains("https_proxy"), "{error:?}");
        assert_eq!(proxy.count(), count, "{answer}");
    }
    for scheme in ["http", "socks5h", "socks4", "https"] {
        let address = format!("{scheme}://{NOBODY}");
        let request = request(&format!("https://localhost:{}/", server.port), Repeat::Freely);
        let result = send_with(&Client::new(by(address)), &request, Duration::from_secs(1));
        error(result, Kind::Unavailable, "connection refused");
    }
    error(send_tls(&server, by("http://u:hunter2@h:port".into())), Kind::Usage, "https_proxy");
    assert_eq!(server.count(), 0);
}

#[test]
fn a_proxy_that_trickles_does_not_hold_the_call() {
    let trickle: Answer = Arc::new(|_, stream| {
        while stream.write_all(b"HTTP/1.1 200 ").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let silent: Answer = Arc::new(|_, _| thread::sleep(Duration::from_secs(600)));
    let ca = ca();
    for answer in [silent, trickle] {
        let proxy = Server::start(None, answer);
        let address = format!("127.0.0.1:{}", proxy.port);
        let client = Client::new(Settings { ca_file: Some(ca.file.clone()), ..settings(&[("ALL_PROXY", &address)]) });
        let start = Instant::now();
        let request = request("https://example.com/", Repeat::Freely);
        let result = send_with(&client, &request, Duration::from_millis(700));
        assert_eq!(result.unwrap_err().kind, Kind::Unavailable);
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    }
}

#[test]
fn socks_proxies_are_used() {
    let ca = ca();
    let server = ca.server("localhost", (2000, 4000));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = server.port;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let kept = kept.clone();
            thread::spawn(move || {
                stream.read_exact(&mut [0; 3]).unwrap();
                stream.write_all(&[5, 0]).unwrap();
                let mut head = [0; 4];
                stream.read_exact(&mut head).unwrap();
                let mut length = [4];
                if head[3] == 3 {
                    stream.read_exact(&mut length).unwrap();
                }
                let mut rest = vec![0; usize::from(length[0]) + 2];
                stream.read_exact(&mut rest).unwrap();
                kept.lock().unwrap().push(head[3]);
                stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
                let far = TcpStream::connect(("127.0.0.1", target)).unwrap();
                let (mut near_in, mut far_out) = (stream.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut near_in, &mut far_out));
                let _ = std::io::copy(&mut { far }, &mut stream);
            });
        }
    });
    for scheme in ["socks5", "socks5h"] {
        let address = format!("{scheme}://127.0.0.1:{port}");
        let settings = Settings { ca_file: Some(ca.file.clone()), ..settings(&[("https_proxy", &address)]) };
        assert_eq!(send_tls(&server, settings).unwrap().status, 200);
    }
    // An address for socks5, the name for socks5h, as curl does.
    assert_eq!(*seen.lock().unwrap(), [1, 3]);
}
