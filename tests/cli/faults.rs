//! What a network can do to a token request, as one table: name → fault → exit status → what is said. Each fault is
//! met by two calls: a `get` by client credentials, and a `get` by a rotating refresh token, whose session must be in
//! the store unchanged afterwards, whatever came. And: whatever hangs, `--timeout` ends it.
//!
//! Replies that are HTTP as it should be, with a body that is not, stand in `bad_input.rs`.

use crate::child::{SOON, Start};
use crate::skip::{needs, skip};
use crate::support::keyring::Keyring;
use crate::support::server::{Certified, Reply, Server};
use crate::support::{CANARY, Output, Sandbox, now, plain, plain_provider, put};
use serde_json::json;
use std::any::Any;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Where a fault awaits `tok`.
struct Scene {
    url: String,
    env: Vec<(&'static str, String)>,
    /// How many requests have come.
    count: Box<dyn Fn() -> usize + Send>,
    _kept: Box<dyn Any + Send>,
}

impl Scene {
    fn at(url: impl Into<String>, kept: impl Any + Send, count: impl Fn() -> usize + Send + 'static) -> Scene {
        Scene { url: url.into(), env: Vec::new(), count: Box::new(count), _kept: Box::new(kept) }
    }

    fn env(mut self, name: &'static str, value: impl Into<String>) -> Scene {
        self.env.push((name, value.into()));
        self
    }
}

/// A server that answers every request in one way.
fn always(reply: Reply) -> Scene {
    served(Server::always(reply))
}

/// A server that answers the first request badly and the others well.
fn at_first(reply: Reply) -> Scene {
    let server = Server::always(good());
    server.next(reply);
    served(server)
}

fn served(server: Server) -> Scene {
    let server = Arc::new(server);
    let counted = server.clone();
    Scene::at(server.url(), server, move || counted.count())
}

/// Ends the thread that accepts when it goes.
struct Stop(Arc<AtomicBool>, SocketAddr);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.1);
    }
}

/// A server below HTTP: each connection is `answer`'s, whatever it does with it.
fn below(host: &str, answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Scene {
    let listener = TcpListener::bind((host, 0)).expect("a port on loopback");
    let address = listener.local_addr().expect("its address");
    let (stop, count, answer) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let (stopped, counted) = (stop.clone(), count.clone());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = answer.clone();
            std::thread::spawn(move || answer(&mut stream));
        }
    });
    Scene::at(format!("http://{address}"), Stop(stop, address), move || count.load(Ordering::Relaxed))
}

/// Reads the head of a request and its short body, then says this.
fn say(stream: &mut TcpStream, text: &[u8]) {
    let _ = stream.read(&mut [0; 8192]);
    let _ = stream.write_all(text);
}

/// Says `start`, and then `again` without end, slowly.
fn drip(stream: &mut TcpStream, start: &str, again: &str) {
    say(stream, start.as_bytes());
    while stream.write_all(again.as_bytes()).is_ok() {
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Closed with unread bytes: the system sends a reset, not an end.
fn reset(stream: &mut TcpStream, text: &str) {
    let _ = stream.read(&mut [0; 1]);
    let _ = stream.peek(&mut [0; 1]); // more has come
    let _ = stream.write_all(text.as_bytes());
    std::thread::sleep(Duration::from_millis(50));
}

/// TLS with this certificate; `trusted`: by `SSL_CERT_FILE`. Else that names another CA.
fn tls(certified: Certified, trusted: bool) -> Scene {
    let server = Server::tls_as(certified, |_| good());
    let other = Server::tls(|_| good());
    let ca = if trusted { server.ca_file() } else { other.ca_file() };
    let mut scene = served(server).env("SSL_CERT_FILE", ca.display().to_string());
    scene._kept = Box::new((scene._kept, other));
    scene
}

fn https(mut scene: Scene) -> Scene {
    scene.url = scene.url.replace("http://", "https://");
    let ca = Server::tls(|_| good());
    scene = scene.env("SSL_CERT_FILE", ca.ca_file().display().to_string());
    scene._kept = Box::new((scene._kept, ca));
    scene
}

/// A proxy that answers each CONNECT in this way, before a server that would be good.
fn proxy(reply: Reply) -> Scene {
    let (proxy, server) = (Server::always(reply), Arc::new(Server::tls(|_| good())));
    let url = proxy.url();
    let ca = server.ca_file().display().to_string();
    let counted = server.clone();
    Scene::at(server.url(), (proxy, server), move || counted.count()).env("HTTPS_PROXY", url).env("SSL_CERT_FILE", ca)
}

/// An address whose queue of connections is full: the system drops the first packet, as a firewall does.
#[cfg(target_os = "linux")]
fn black_hole() -> Scene {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = listener.local_addr().expect("its address");
    let mut full = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(150)) {
        full.push(stream);
    }
    Scene::at(format!("http://{address}"), (listener, full), || 0)
}

fn token() -> String {
    format!("at-{CANARY}")
}

fn good() -> Reply {
    Reply::token(&token(), 600)
}

fn body() -> String {
    json!({"access_token": token(), "expires_in": 600}).to_string()
}

/// A whole reply with this first line and these headers.
fn raw(head: &str, body: &[u8]) -> Reply {
    Reply::raw([head.as_bytes(), b"\r\n\r\n", body].concat())
}

/// How often the request is sent.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Sent {
    Never,
    Once,
    Twice,
    Often,
}
use Sent::{Never, Often, Once, Twice};

struct Fault {
    name: &'static str,
    scene: Box<dyn FnOnce() -> Scene + Send>,
    /// Status of a `get` by client credentials, and how often the request is sent.
    grant: (i32, Sent),
    /// The same by a refresh token.
    refresh: (i32, Sent),
    /// What is said, by both.
    says: &'static str,
    /// `--timeout`, in seconds: short where the fault is that nothing comes.
    timeout: u64,
}

/// The same for both ways.
fn fault(
    name: &'static str,
    status: i32,
    sent: Sent,
    says: &'static str,
    scene: impl FnOnce() -> Scene + Send + 'static,
) -> Fault {
    Fault { name, scene: Box::new(scene), grant: (status, sent), refresh: (status, sent), says, timeout: 100 }
}

impl Fault {
    fn refresh(mut self, status: i32, sent: Sent) -> Fault {
        self.refresh = (status, sent);
        self
    }

    /// Nothing comes: it is as long as a busy machine may take to send the request.
    fn hangs(mut self) -> Fault {
        self.timeout = 10;
        self
    }
}

/// Redirects, to the same host and to another one, which must see nothing.
fn redirects(elsewhere: &Server) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, status) in [
        ("301 Moved Permanently", 301),
        ("302 Found", 302),
        ("303 See Other", 303),
        ("307 Temporary Redirect", 307),
        ("308 Permanent Redirect", 308),
    ] {
        for target in [format!("{}/token", elsewhere.url()), "/elsewhere".into()] {
            let scene = move || always(Reply::text(status, "{}").header("Location", &target));
            faults.push(fault(name, 8, Once, "redirects to", scene));
        }
    }
    faults
}

fn statuses() -> Vec<Fault> {
    let oauth = |status: u16, error: &str| Reply::json(status, json!({"error": error}));
    let after = |status: u16, value: &str| Reply::html(status).header("Retry-After", value);
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    let never = "Fri, 31 Dec 9999 23:59:59 GMT";
    let huge = "99999999999999999999999999";
    vec![
        fault("204 without a body", 8, Once, "empty", || always(raw("HTTP/1.1 204 No Content", b""))),
        fault("400 of OAuth", 5, Once, "invalid_request", move || always(oauth(400, "invalid_request"))),
        fault("400 with a page", 5, Once, "status 400", || always(Reply::html(400))),
        fault("401 of OAuth", 5, Once, "invalid_client", move || always(oauth(401, "invalid_client"))),
        fault("401 with nothing", 5, Once, "status 401", || always(Reply::text(401, ""))),
        fault("403 with a page", 5, Once, "status 403", || always(Reply::html(403))),
        fault("404", 5, Once, "status 404", || always(Reply::html(404))),
        fault("408", 6, Once, "status 408", || always(Reply::html(408))),
        fault("429 for ever", 6, Often, "status 429", || always(Reply::html(429))),
        fault("429 with Retry-After in seconds", 0, Twice, "", move || at_first(after(429, "1"))),
        fault("429 with Retry-After as a date", 0, Twice, "", move || at_first(after(429, past))),
        fault("429 with an absurd Retry-After", 6, Once, huge, move || always(after(429, huge))),
        fault("429 with a Retry-After in the year 9999", 6, Once, never, move || always(after(429, never))),
        fault("429 with a Retry-After that is none", 0, Twice, "", move || at_first(after(429, "soon"))),
        fault("500", 6, Once, "status 500", || always(Reply::html(500))),
        fault("501", 6, Once, "status 501", || always(Reply::html(501))),
        fault("502 then success", 0, Twice, "", || at_first(Reply::html(502))).refresh(6, Once),
        fault("503 then success", 0, Twice, "", || at_first(Reply::html(503))),
        fault("504 then success", 0, Twice, "", || at_first(Reply::html(504))).refresh(6, Once),
        fault("502 for ever", 6, Often, "status 502", || always(Reply::html(502))).refresh(6, Once),
        fault("503 for ever", 6, Often, "status 503", || always(Reply::html(503))),
        fault("a captive portal", 8, Once, "page", || always(Reply::html(200))),
    ]
}

fn bodies() -> Vec<Fault> {
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
    let chunked = move |text: &str| raw(&format!("{json}\r\nTransfer-Encoding: chunked"), text.as_bytes());
    // `{"access_token":"at-…"}` by gzip.
    let gzip: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xabVJLNN-.\x8e/\xc9\xcfN\xcdS\xb2RJ,\xd1MN\xb4L41L5U\
        \xaa\x05\x00\xba\xca\xac\x9b\x1e\x00\x00\x00";
    let packed = format!("{json}\r\nContent-Encoding: gzip\r\nContent-Length: {}", gzip.len());
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    vec![
        fault("an endless body", 8, Once, "longer than 1 MiB", || always(Reply::text(200, "          ").endless())),
        fault("a body cut short", 6, Once, "before the reply was complete", || {
            always(Reply::text(200, &body()).length(body().len() + 10))
        }),
        fault("a refusal cut short", 5, Once, "status 401", || {
            always(Reply::json(401, json!({"error": "invalid_grant"})).length(1000))
        }),
        fault("chunks that are garbage", 8, Once, "not HTTP", move || always(chunked("zz\r\nno chunk\r\n0\r\n\r\n"))),
        fault("chunks without an end", 6, Once, "before the reply was complete", move || {
            always(chunked(&format!("{:x}\r\n{}\r\n", body().len(), body())))
        }),
        fault("a length that is none", 8, Once, "not HTTP", || {
            always(raw("HTTP/1.1 200 OK\r\nContent-Length: two", body().as_bytes()))
        }),
        fault("HTTP/1.0", 0, Once, "", || always(raw("HTTP/1.0 200 OK", body().as_bytes()))),
        fault("100 Continue before the reply", 0, Once, "", || {
            let rest = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body().len(), body());
            always(raw("HTTP/1.1 100 Continue", rest.as_bytes()))
        }),
        fault("100 Continue alone", 6, Once, "before the reply was complete", || {
            always(raw("HTTP/1.1 100 Continue", b""))
        }),
        fault("gzip that nobody asked for", 0, Once, "", move || always(raw(&packed, gzip))),
        fault("a charset that is not the body's", 0, Once, "", || {
            always(Reply::new(200, "application/json; charset=utf-16", body()))
        }),
        fault("UTF-16", 8, Once, "cannot be read", move || {
            always(Reply::new(200, "application/json; charset=utf-16le", utf16(&body())))
        }),
        fault("Latin-1", 8, Once, "UTF-8", || {
            let text = [b"{\"access_token\":\"at\",\"name\":\"caf\xe9\"}".as_slice()].concat();
            always(Reply::new(200, "application/json; charset=iso-8859-1", text))
        }),
        fault("a byte order mark", 8, Once, "not JSON", || always(Reply::text(200, &format!("\u{feff}{}", body())))),
        fault("another protocol", 8, Once, "not HTTP", || always(Reply::raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"))),
    ]
}

fn connections() -> Vec<Fault> {
    let mut faults = vec![
        // Nobody listens there: tcpmux, which no system has had for long.
        fault("connection refused", 6, Never, "connection refused", || Scene::at("http://127.0.0.1:1", (), || 0)),
        fault("closed without a word", 6, Once, "closed before the reply was complete", || always(Reply::nothing())),
        fault("reset before the headers", 6, Once, "the connection was reset", || below("127.0.0.1", |s| reset(s, ""))),
        fault("reset within the headers", 6, Once, "the connection was reset", || {
            below("127.0.0.1", |s| reset(s, "HTTP/1.1 200 OK\r\nConte"))
        }),
        fault("reset after the headers", 6, Once, "the connection was reset", || {
            below("127.0.0.1", |s| reset(s, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"acc"))
        }),
        fault("silence", 6, Once, "no answer within", || always(good().delay(Duration::from_secs(600)))).hangs(),
        fault("slow headers", 6, Once, "no answer within", || {
            below("127.0.0.1", |s| drip(s, "HTTP/1.1 200 OK\r\nX-Slow: ", "x"))
        })
        .hangs(),
        fault("headers without end", 6, Once, "no answer within", || {
            below("127.0.0.1", |s| drip(s, "HTTP/1.1 200 OK\r\n", "X: y\r\n"))
        })
        .hangs(),
        fault("a slow body", 6, Once, "no answer within", || {
            always(Reply::text(200, &body()).trickle(Duration::from_secs(30)))
        })
        .hangs(),
        fault("a refusal whose body is slow", 6, Once, "no answer within", || {
            always(Reply::json(400, json!({"error": "invalid_grant"})).trickle(Duration::from_secs(30)))
        })
        .hangs(),
        fault("a name that does not exist", 6, Never, "no-such-host.invalid could not be reached", || {
            let mut scene = https(Scene::at("", (), || 0));
            scene.url = "https://no-such-host.invalid".into();
            scene
        })
        .hangs(),
    ];
    #[cfg(target_os = "linux")]
    faults.push(fault("a black hole", 6, Never, "within", black_hole).hangs());
    if TcpListener::bind("[::1]:0").is_ok() {
        let answer =
            || format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", body().len(), body());
        faults.push(fault("IPv6 alone", 0, Once, "", move || below("::1", move |s| say(s, answer().as_bytes()))));
        faults.push(fault("localhost that is IPv6 alone", 0, Once, "", move || {
            let mut scene = below("::1", move |s| say(s, answer().as_bytes()));
            scene.url = scene.url.replace("[::1]", "localhost");
            scene
        }));
    }
    faults
}

/// A TLS 1.1 ServerHello: what a server sends that knows nothing newer and does not look at what is offered.
fn old_hello() -> Vec<u8> {
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
    let handshake = [&[2, 0, 0, hello.len() as u8][..], &hello].concat();
    [&[22, 3, 2, 0, handshake.len() as u8][..], &handshake].concat()
}

fn certificates() -> Vec<Fault> {
    let names = &["127.0.0.1"];
    vec![
        fault("an expired certificate", 6, Never, "has expired", || tls(Certified::dated(names, 2019, 2020), true)),
        fault("a certificate not yet valid", 6, Never, "not yet valid", || {
            tls(Certified::dated(names, 3019, 3020), true)
        }),
        fault(
            "a certificate for another host",
            6,
            Never,
            "not valid for this host name, only for other.example",
            || tls(Certified::new(&["other.example"], false), true),
        ),
        fault("a certificate of an unknown CA", 6, Never, "issuer is unknown", || {
            tls(Certified::new(names, false), false)
        }),
        fault("a self-signed certificate", 6, Never, "is not trusted", || tls(Certified::self_signed(names), false)),
        fault("TLS 1.1 alone, said by an alert", 6, Once, "TLS 1.2", || {
            https(below("127.0.0.1", |s| say(s, &[21, 3, 1, 0, 2, 2, 70])))
        }),
        fault("TLS 1.1 alone, said by a ServerHello", 6, Once, "TLS 1.2", || {
            https(below("127.0.0.1", |s| say(s, &old_hello())))
        }),
        fault("a handshake that hangs", 6, Once, "no answer within", || {
            https(below("127.0.0.1", |_| std::thread::sleep(Duration::from_secs(600))))
        })
        .hangs(),
        fault("plain HTTP at a port for TLS", 6, Once, "does not speak TLS", || {
            https(below("127.0.0.1", |s| say(s, b"HTTP/1.1 400 Bad Request\r\n\r\n")))
        }),
        fault("a proxy that refuses", 6, Never, "refused the connection (403)", || proxy(Reply::html(403))),
        fault("a proxy that wants a password", 6, Never, "requires a user and password", || {
            proxy(Reply::html(407).header("Proxy-Authenticate", "Basic realm=\"x\""))
        }),
        fault("a proxy that is not there", 6, Never, "connection refused", || {
            let mut scene = proxy(Reply::html(200));
            scene.env.retain(|(name, _)| *name != "HTTPS_PROXY");
            scene.env("HTTPS_PROXY", "http://127.0.0.1:1")
        }),
    ]
}

/// A sandbox with a session kept for `url`, and nothing else to get a token with.
fn with_session(url: &str) -> Sandbox {
    let healthy = Server::always(Reply::json(
        200,
        json!({"access_token": format!("old-{CANARY}"), "refresh_token": format!("rt-{CANARY}"), "expires_in": 1}),
    ));
    let mut sandbox = plain(&healthy.url());
    sandbox.run("login plain").prints("");
    // The login was at a healthy server; from here on all of it is said of the other.
    let kept = std::fs::read_to_string(sandbox.secrets_file()).expect("the store");
    assert!(kept.contains(&healthy.url()), "the session names its place: {kept}");
    put(&sandbox.secrets_file(), kept.replace(&healthy.url(), url).as_bytes());
    sandbox.provider("plain", &plain_provider(url, ""));
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET");
    sandbox.forget_cache();
    sandbox
}

/// What both calls have in common.
fn check(fault: &Fault, by: &str, sandbox: &Sandbox, scene: &Scene, (status, sent): (i32, Sent)) -> Output {
    let mut tok = sandbox.tok(["get", "plain", "-v", "--timeout", &format!("{}s", fault.timeout)]);
    for (name, value) in &scene.env {
        tok = tok.env(name, value);
    }
    let before = (scene.count)();
    let out = tok.run();
    let (name, count) = (fault.name, (scene.count)() - before);
    assert_eq!(out.code, status, "{name}, {by}: {out}");
    assert!(out.stderr.contains(fault.says), "{name}, {by}: does not say {:?}: {out}", fault.says);
    let rightly = match sent {
        Never => count == 0,
        Once => count == 1,
        Twice => count == 2,
        Often => count > 2,
    };
    assert!(rightly, "{name}, {by}: {count} requests, not {sent:?}: {out}");
    if status == 0 {
        assert_eq!(out.stdout, token() + "\n", "{name}, {by}");
    } else {
        assert_eq!(out.stdout, "", "{name}, {by}");
        assert!(out.stderr.contains("\ntok: ") || out.stderr.starts_with("tok: "), "{name}, {by}: {out}");
        assert_eq!(sandbox.files_with(&token()), Vec::<std::path::PathBuf>::new(), "{name}, {by}: nothing is kept");
    }
    assert!(out.took < Duration::from_secs(fault.timeout) + SOON, "{name}, {by}: beyond --timeout: {out}");
    out
}

fn meet(mut fault: Fault) {
    let make = std::mem::replace(&mut fault.scene, Box::new(|| Scene::at("", (), || 0)));
    let scene = make();
    // A fault of the first reply alone is used up by the first call; the session's one has to come before it.
    let first_alone = [fault.grant.1, fault.refresh.1].contains(&Twice);
    if !first_alone {
        check(&fault, "by client credentials", &plain(&scene.url), &scene, fault.grant);
    }
    let sandbox = with_session(&scene.url);
    // But for the state folder, which was thrown away, and the journal in it.
    let session = || {
        let mut secrets = sandbox.secrets();
        for name in ["state_folder", "journal"] {
            secrets["plain"].as_object_mut().map(|entry| entry.remove(name));
        }
        secrets
    };
    let kept = session();
    check(&fault, "by a refresh token", &sandbox, &scene, fault.refresh);
    assert_eq!(session(), kept, "{}: the session is as it was", fault.name);
}

/// Runs faults side by side: they wait for most of their time.
fn meet_all(faults: Vec<Fault>) {
    let queue = std::sync::Mutex::new(faults);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let next = crate::support::server::lock(&queue).pop();
                    let Some(fault) = next else { return };
                    meet(fault);
                }
            });
        }
    });
}

#[test]
fn matrix_of_connections() {
    meet_all(connections());
}

#[test]
fn matrix_of_statuses() {
    meet_all(statuses());
    // What only the first reply does, by client credentials.
    let by_grant = |fault: Fault| {
        let scene = (fault.scene)();
        let fault = Fault { scene: Box::new(|| Scene::at("", (), || 0)), ..fault };
        check(&fault, "by client credentials", &plain(&scene.url), &scene, fault.grant);
    };
    std::thread::scope(|scope| {
        for fault in statuses().into_iter().filter(|f| f.grant.1 == Twice) {
            scope.spawn(move || by_grant(fault));
        }
    });
}

#[test]
fn matrix_of_redirects_to_the_same_and_to_another_host_which_sees_nothing() {
    let elsewhere = Server::issuing(600);
    meet_all(redirects(&elsewhere));
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn matrix_of_bodies() {
    meet_all(bodies());
}

#[test]
fn matrix_of_certificates_and_proxies() {
    meet_all(certificates());
}

#[test]
fn a_clock_that_is_off_is_named_where_a_certificate_or_a_jwt_shows_it() {
    for certified in [Certified::dated(&["127.0.0.1"], 2019, 2020), Certified::dated(&["127.0.0.1"], 3019, 3020)] {
        let server = Server::tls_as(certified, |_| good());
        let mut sandbox = plain(&server.url());
        sandbox.set("SSL_CERT_FILE", server.ca_file());
        sandbox.run("get plain --timeout 100s").fails(6).hints_at("clock");
    }
    // Issued now by a server whose clock is hours behind ours.
    let jwt = crate::support::xcover::jwt(&json!({"iat": now() - 8 * 3600, "exp": now() - 7 * 3600}));
    let server = Server::always(Reply::token(&jwt, 3600));
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain").says("clock");
    assert_eq!(out.line(), jwt);
    sandbox.run("get plain").silent().line();
    assert_eq!(server.count(), 1, "it is cached by what the reply says of its life");
}

// Every wait is bounded.

/// Fails unless it ends by itself within `--timeout 1s` and what a loaded machine may add, with this status.
#[track_caller]
fn ends_in_time(out: Output, status: i32) {
    assert_eq!(out.code, status, "{out}");
    assert!(out.took < SOON, "beyond --timeout: {out}");
}

#[test]
fn timeout_bounds_a_keyring_that_hangs() {
    needs!(keyring);
    let keyring = Keyring::unlocked();
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    sandbox.unset("TOK_STORE").unset("TOK_PLAIN_CLIENT_SECRET").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    keyring.freeze();
    ends_in_time(sandbox.run("get plain --timeout 1s"), 7);
    keyring.thaw();
    assert_eq!(server.connections(), 0);
}

#[test]
fn timeout_bounds_a_credential_helper_that_hangs() {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    let tools = sandbox.work().join("bin");
    put(&tools.join("docker-credential-stuck"), b"#!/bin/sh\nexec sleep 600\n");
    crate::support::chmod(&tools.join("docker-credential-stuck"), 0o755);
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    sandbox.set("PATH", path).set("TOK_STORE", "helper:stuck").unset("TOK_PLAIN_CLIENT_SECRET");
    ends_in_time(sandbox.run("get plain --timeout 1s"), 7);
}

#[test]
fn timeout_bounds_a_command_and_a_pipe_that_say_nothing() {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET");
    sandbox.config("[profile.slow]\nprovider = \"plain\"\nclient_secret = { command = [\"sleep\", \"600\"] }\n");
    let out = sandbox.run("get slow --timeout 1s");
    let code = out.code;
    assert!([3, 6].contains(&code), "{out}");
    ends_in_time(out, code);
    let pipe = sandbox.work().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let pipe = pipe.to_str().unwrap().to_string();
    let out = sandbox.tok(["get", "plain", "--timeout", "1s", "--client-secret-file", &pipe]).run();
    let code = out.code;
    assert_ne!(code, 0, "{out}");
    ends_in_time(out, code);
    assert_eq!(server.connections(), 0);
}

#[test]
fn timeout_bounds_a_pipe_that_nobody_reads() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let pipe = sandbox.work().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let pipe = pipe.to_str().unwrap();
    ends_in_time(sandbox.tok(["get", "plain", "--timeout", "1s", "--write", pipe]).run().fails(6), 6);
}

#[test]
fn timeout_bounds_the_tries_together_and_a_logout() {
    let server = Server::always(Reply::html(503));
    let sandbox = plain(&server.url());
    ends_in_time(sandbox.run("get plain --timeout 1s"), 6);
    // Revoking hangs: forgotten here all the same.
    let silent = Server::always(Reply::json(200, json!({"access_token": token(), "refresh_token": token()})));
    let mut sandbox = plain(&silent.url());
    let revoke = "[revoke]\nurl = \"{base_url}/revoke\"\nbody = { token = \"{refresh_token}\" }\n";
    sandbox.provider("plain", &plain_provider(&silent.url(), revoke));
    sandbox.run("login plain").prints("");
    silent.next(Reply::text(200, "").delay(Duration::from_secs(600)));
    ends_in_time(sandbox.run("logout plain --timeout 1s"), 6);
    assert_eq!(sandbox.files_with(&token()), Vec::<std::path::PathBuf>::new());
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET").run("get plain").fails(4);
}

/// A name server that never answers. Only root can give one process another `resolv.conf` (its own mount namespace).
#[cfg(target_os = "linux")]
#[test]
fn timeout_bounds_a_name_server_that_never_answers() {
    let server = Server::tls(|_| good());
    let mut sandbox = plain("https://no-such-host.example");
    sandbox.set("SSL_CERT_FILE", server.ca_file());
    let silent = std::net::UdpSocket::bind("127.0.0.153:53");
    let conf = sandbox.file("resolv.conf", "nameserver 127.0.0.153\noptions timeout:30 attempts:5\n");
    let script = format!("mount --bind '{}' /etc/resolv.conf && exec \"$0\" \"$@\"", conf.display());
    let tok = sandbox.tok(["get", "plain", "--timeout", "1s"]).command();
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", &script]).arg(tok.get_program()).args(tok.get_args());
    command.env_clear().envs(tok.get_envs().filter_map(|(n, v)| Some((n, v?))));
    let able =
        std::process::Command::new("unshare").args(["--mount", "true"]).finish().is_ok_and(|out| out.status.success());
    if !able || silent.is_err() {
        skip!("only root can give a process another resolv.conf, and port 53 of an address of loopback");
    }
    let start = std::time::Instant::now();
    let out = command.finish().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    if said.contains("mount:") {
        skip!("{said}");
    }
    assert_eq!(out.status.code(), Some(6), "{said}");
    assert!(start.elapsed() < SOON, "{said}");
    // It did ask: the name server has the question.
    let socket = silent.unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    assert!(socket.recv(&mut [0; 512]).is_ok(), "the name server was asked: {said}");
}

#[test]
fn without_room_for_a_thread_there_is_a_plain_error_or_none() {
    // Root has as many processes as it likes, so another user runs it.
    if !crate::skip::is_root() || crate::skip::lacking(&["setpriv"]).is_some() {
        crate::skip::skip!("this needs root and setpriv, to be a user without processes");
    }
    let issuer = crate::support::issuer::Issuer::start();
    let mut sandbox = issuer.sandbox();
    let secret = sandbox.file_arg("secret", "s");
    sandbox.set("TOK_OIDC_CLIENT_SECRET_FILE", &secret).set("BROWSER", "true");
    let config = format!("[profile.oidc]\nissuer = \"{}\"\nclient_id = \"cli\"\n", issuer.url());
    sandbox.config(&config);
    let root = sandbox.home().parent().unwrap().to_path_buf();
    // A number that nobody else has.
    let user = 54_321;
    let own = |root: &std::path::Path| {
        let mut chown = std::process::Command::new("chown");
        crate::child::Start::finish(chown.args(["-R", &format!("{user}:{user}")]).arg(root)).unwrap();
    };
    // The folder that the program was built in may be closed to others.
    let program = root.join("tok");
    std::fs::copy(env!("CARGO_BIN_EXE_tok"), &program).unwrap();
    for line in [
        "get oidc --grant client-credentials --timeout 5s",
        "get oidc --grant client-credentials --fresh --timeout 5s",
        "login oidc authorization-code --scope read --timeout 3s",
        "login oidc authorization-code --scope read --no-browser --timeout 3s",
        "login oidc client-credentials --timeout 5s",
        "logout oidc --timeout 5s",
        "list",
    ] {
        own(&root);
        let run = format!(
            "exec setpriv --reuid {user} --regid {user} --clear-groups sh -c 'ulimit -u 1; exec \"$0\" {line}' {}",
            program.display()
        );
        // A panic, and any secret, is found out with each run.
        let out = sandbox.tok(["-V"]).after(&run).run();
        assert!((0..=8).contains(&out.code), "{line}: {out}");
        assert!(out.code == 0 || out.stderr.contains("tok: "), "{line}: {out}");
        assert!(!out.stderr.contains("internal error") && !out.stderr.contains("mistake in tok"), "{line}: {out}");
    }
}
