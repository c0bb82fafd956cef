//! An HTTP/1.1 server over real sockets, plain or TLS, that records what it gets and answers as a test wants: also
//! in ways that no healthy server would.

use super::CANARY;
use crate::child::LIMIT;
use rcgen::{BasicConstraints, CertificateParams, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header lines in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body, as long as `Content-Length` says.
    pub body: Vec<u8>,
}

impl Received {
    /// The value of a header that must not stand twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, v)| v.as_str());
        assert!(found.next().is_none(), "{name} stands twice: {self:?}");
        value
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    /// The fields of the query.
    pub fn query(&self) -> Vec<(String, String)> {
        match self.target.split_once('?') {
            Some((_, query)) => form(query.as_bytes()).expect("a query"),
            None => Vec::new(),
        }
    }

    /// The fields of a form body, in order.
    #[track_caller]
    pub fn form(&self) -> Vec<(String, String)> {
        form(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// One field of a form body; empty where it is absent.
    #[track_caller]
    pub fn field(&self, name: &str) -> String {
        let found = self.form().into_iter().find(|(n, _)| n == name);
        found.map(|(_, v)| v).unwrap_or_default()
    }

    /// Whether the body is a form with this field.
    #[track_caller]
    pub fn has_field(&self, name: &str) -> bool {
        self.form().iter().any(|(n, _)| n == name)
    }
}

/// The fields of a form, strictly: every piece has its `=`, every `%` two digits.
pub fn form(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split('&')
        .map(|piece| {
            let (name, value) = piece.split_once('=').ok_or(format!("no = in {piece:?}"))?;
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'!'), bytes.next().unwrap_or(b'!')];
                let digits = std::str::from_utf8(&digits).map_err(|e| e.to_string())?;
                u8::from_str_radix(digits, 16).map_err(|_| format!("bad % in {text:?}"))?
            }
            b if b.is_ascii_graphic() => b,
            b => return Err(format!("byte {b} is not encoded in {text:?}")),
        });
    }
    String::from_utf8(out).map_err(|e| e.to_string())
}

/// The members of a JSON object in order, a name that stands twice included.
pub fn members(bytes: &[u8]) -> Result<Vec<(String, Value)>, String> {
    struct Members(Vec<(String, Value)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut found = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        found.push(member);
                    }
                    Ok(Members(found))
                }
            }
            from.deserialize_map(Visitor)
        }
    }
    let members: Members = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    Ok(members.0)
}

/// Where a server stands, unless a test has others in mind.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How the bytes of a reply go out.
#[derive(Clone, Debug)]
enum Manner {
    /// All at once.
    Whole,
    /// The head, then a byte at a time with this pause.
    Trickle(Duration),
    /// The head, then the body again and again until the other side has enough.
    Endless,
    /// These bytes and nothing else.
    Raw(Vec<u8>),
    /// Nothing: the connection is closed.
    Nothing,
    /// Nothing: the connection is reset.
    Reset,
}

/// A reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header lines; the length and `Connection: close` are added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    delay: Duration,
    manner: Manner,
    length: Option<usize>,
}

impl Reply {
    /// A reply with a body of this type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status,
            headers: vec![("Content-Type".into(), content_type.into())],
            body: body.into(),
            delay: Duration::ZERO,
            manner: Manner::Whole,
            length: None,
        }
    }

    /// JSON.
    pub fn json(status: u16, body: Value) -> Reply {
        Reply::new(status, "application/json", body.to_string())
    }

    /// JSON as text: also such that no serializer writes.
    pub fn text(status: u16, body: &str) -> Reply {
        Reply::new(status, "application/json", body)
    }

    /// A page.
    pub fn html(status: u16) -> Reply {
        let body = "<!doctype html><html><title>Sign in to the Wi-Fi</title><p>Welcome</html>";
        Reply::new(status, "text/html; charset=utf-8", body)
    }

    /// A good reply by RFC 6749, for `token`, good for `seconds`.
    pub fn token(token: &str, seconds: i64) -> Reply {
        Reply::json(200, serde_json::json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds}))
    }

    /// These bytes, whatever they are.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Reply {
        let mut reply = Reply::new(200, "text/plain", "");
        reply.manner = Manner::Raw(bytes.into());
        reply
    }

    /// The connection is closed without a word.
    pub fn nothing() -> Reply {
        let mut reply = Reply::new(200, "text/plain", "");
        reply.manner = Manner::Nothing;
        reply
    }

    /// The connection is reset without a word, as by a host that was started anew.
    pub fn reset() -> Reply {
        let mut reply = Reply::new(200, "text/plain", "");
        reply.manner = Manner::Reset;
        reply
    }

    /// Adds a header line.
    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Waits before it answers.
    pub fn delay(mut self, delay: Duration) -> Reply {
        self.delay = delay;
        self
    }

    /// Sends the body a byte at a time.
    pub fn trickle(mut self, pause: Duration) -> Reply {
        self.manner = Manner::Trickle(pause);
        self
    }

    /// Sends the body without end.
    pub fn endless(mut self) -> Reply {
        self.manner = Manner::Endless;
        self
    }

    /// Claims another length than the body has: longer, and the reply is cut.
    pub fn length(mut self, length: usize) -> Reply {
        self.length = Some(length);
        self
    }

    fn send(&self, to: &mut dyn Write, stop: &AtomicBool) -> std::io::Result<()> {
        pause(self.delay, stop);
        let mut head = format!("HTTP/1.1 {} Whatever\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.length.unwrap_or(self.body.len());
        match self.manner {
            Manner::Nothing | Manner::Reset => return Ok(()),
            Manner::Endless => head.push_str("Connection: close\r\n\r\n"),
            _ => head.push_str(&format!("Content-Length: {length}\r\nConnection: close\r\n\r\n")),
        }
        match &self.manner {
            Manner::Raw(bytes) => to.write_all(bytes)?,
            Manner::Trickle(each) => {
                to.write_all(head.as_bytes())?;
                for byte in &self.body {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    to.write_all(&[*byte])?;
                    to.flush()?;
                    pause(*each, stop);
                }
            }
            Manner::Endless => {
                to.write_all(head.as_bytes())?;
                while !stop.load(Ordering::Relaxed) {
                    to.write_all(&self.body)?;
                }
            }
            _ => to.write_all(&[head.as_bytes(), &self.body].concat())?,
        }
        to.flush()
    }
}

/// Sleeps, but not beyond the life of the server.
fn pause(time: Duration, stop: &AtomicBool) {
    let end = Instant::now() + time;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        std::thread::sleep((end - Instant::now()).min(Duration::from_millis(20)));
    }
}

/// A door before the replies: closed, they wait behind it, what they say is already settled.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everything through from now on.
    pub fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        let guard = lock(&self.0.0);
        drop(self.0.1.wait_timeout_while(guard, LIMIT, |open| !*open));
    }
}

/// A lock that a failed test does not spoil for the others.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

type Handler = Box<dyn Fn(&Received) -> Reply + Send + Sync>;

struct Shared {
    handler: Handler,
    requests: Mutex<Vec<Received>>,
    arrived: Condvar,
    /// When each reply began to go out, and who waits for that.
    sent: Mutex<Vec<Instant>>,
    answered: Condvar,
    connections: AtomicUsize,
    /// How many of them are over.
    ended: AtomicUsize,
    next: Mutex<VecDeque<Reply>>,
    gate: Mutex<Option<Gate>>,
    stop: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// A server on loopback, on a port of its own, until it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    address: IpAddr,
    port: u16,
    scheme: &'static str,
    ca: Option<tempfile::NamedTempFile>,
}

impl Server {
    /// Answers with what the handler says.
    pub fn new(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(LOOPBACK, Box::new(handler), None)
    }

    /// Answers everything in the same way.
    pub fn always(reply: Reply) -> Server {
        Server::new(move |_| reply.clone())
    }

    /// Answers with these, one after the other; then with 500.
    pub fn script(replies: impl IntoIterator<Item = Reply>) -> Server {
        let server = Server::always(Reply::new(500, "text/plain", "the script has ended"));
        lock(&server.shared.next).extend(replies);
        server
    }

    /// Issues good tokens of RFC 6749, each another one, that live `seconds`; refresh tokens too.
    pub fn issuing(seconds: i64) -> Server {
        let count = AtomicUsize::new(0);
        Server::new(move |_| {
            let n = count.fetch_add(1, Ordering::Relaxed) + 1;
            Reply::json(
                200,
                serde_json::json!({
                    "access_token": format!("at-{CANARY}-{n}"),
                    "token_type": "Bearer",
                    "expires_in": seconds,
                }),
            )
        })
    }

    /// The same over TLS, with a certificate for 127.0.0.1 and `localhost` from a CA of its own: [`Server::ca_file`].
    pub fn tls(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Server {
        Server::tls_as(Certified::new(&["127.0.0.1", "localhost"], false), handler)
    }

    /// The same with another certificate.
    pub fn tls_as(certified: Certified, handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Server {
        Server::tls_at(LOOPBACK, certified, handler)
    }

    /// The same at another address of this network namespace.
    pub fn tls_at(
        address: IpAddr,
        certified: Certified,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(certified.ca.as_bytes()).expect("the CA");
        let mut server = Server::start(address, Box::new(handler), Some(certified.config));
        server.ca = Some(file);
        server
    }

    fn start(address: IpAddr, handler: Handler, tls: Option<Arc<rustls::ServerConfig>>) -> Server {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            handler,
            requests: Mutex::default(),
            arrived: Condvar::new(),
            sent: Mutex::default(),
            answered: Condvar::new(),
            connections: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            next: Mutex::default(),
            gate: Mutex::default(),
            stop: AtomicBool::new(false),
            tls,
        });
        let theirs = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.stop.load(Ordering::Relaxed) {
                    return;
                }
                theirs.connections.fetch_add(1, Ordering::Relaxed);
                let shared = theirs.clone();
                std::thread::spawn(move || {
                    shared.connection(stream);
                    shared.ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Server { shared, address, port, scheme, ca: None }
    }

    /// Where it stands.
    pub fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.address, self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the CA that vouches for it, as a PEM file.
    pub fn ca_file(&self) -> PathBuf {
        self.ca.as_ref().expect("a TLS server").path().to_path_buf()
    }

    /// What has come so far.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.requests).clone()
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        lock(&self.shared.requests).len()
    }

    /// How many connections were made, a request on it or not.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Whether every connection that was made is over.
    pub fn is_idle(&self) -> bool {
        self.connections() == self.shared.ended.load(Ordering::Relaxed)
    }

    /// The last request.
    #[track_caller]
    pub fn last(&self) -> Received {
        self.requests().pop().expect("a request has come")
    }

    /// Answers the next request with this, without asking the handler.
    pub fn next(&self, reply: Reply) -> &Server {
        lock(&self.shared.next).push_back(reply);
        self
    }

    /// Holds every reply back from now on, after it has been made up, until the gate is opened.
    pub fn hold(&self) -> Gate {
        let gate = Gate::default();
        *lock(&self.shared.gate) = Some(gate.clone());
        gate
    }

    /// Waits until `count` requests have come.
    #[track_caller]
    pub fn until(&self, count: usize) {
        let requests = lock(&self.shared.requests);
        let (requests, _) = self
            .shared
            .arrived
            .wait_timeout_while(requests, LIMIT, |r| r.len() < count)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(requests.len() >= count, "waited in vain for request {count}");
    }

    /// How many replies have begun to go out.
    pub fn sent(&self) -> usize {
        lock(&self.shared.sent).len()
    }

    /// Waits until `count` replies have begun to go out: when the last of them did.
    #[track_caller]
    pub fn until_sent(&self, count: usize) -> Instant {
        let sent = lock(&self.shared.sent);
        let (sent, _) = self
            .shared
            .answered
            .wait_timeout_while(sent, LIMIT, |s| s.len() < count)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(sent.len() >= count, "waited in vain for reply {count}");
        sent[count - 1]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(gate) = lock(&self.shared.gate).as_ref() {
            gate.open();
        }
        let _ = TcpStream::connect((self.address, self.port)); // wakes the thread that accepts
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Shared {
    fn connection(&self, tcp: TcpStream) {
        let _ = tcp.set_nodelay(true);
        let _ = tcp.set_read_timeout(Some(LIMIT));
        let Ok(raw) = tcp.try_clone() else { return };
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(config) => match rustls::ServerConnection::new(config.clone()) {
                Ok(tls) => Box::new(rustls::StreamOwned::new(tls, tcp)),
                Err(_) => return,
            },
        };
        let Some(request) = read_request(&mut stream) else {
            return;
        };
        // A scripted reply first; then the handler. Recorded before the answer, so that who has the answer finds it.
        let scripted = lock(&self.next).pop_front();
        lock(&self.requests).push(request.clone());
        let reply = scripted.unwrap_or_else(|| (self.handler)(&request));
        self.arrived.notify_all();
        let gate = lock(&self.gate).clone();
        if let Some(gate) = gate {
            gate.pass();
        }
        lock(&self.sent).push(Instant::now());
        self.answered.notify_all();
        if let Manner::Reset = reply.manner {
            // Closed with nothing lingering, it ends with a reset.
            let _ = rustix::net::sockopt::set_socket_linger(&raw, Some(Duration::ZERO));
            return;
        }
        let _ = reply.send(&mut stream, &self.stop);
        drop(stream);
        let _ = raw.shutdown(Shutdown::Both);
    }
}

fn read_request(stream: &mut dyn Stream) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_string(), first.next()?.to_string());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_string(), value.trim().to_string()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => body.extend_from_slice(&buffer[..n]),
        }
    }
    Some(Received { method, target, headers, body })
}

/// A certificate with its key, and the CA behind it.
pub struct Certified {
    /// The CA, PEM.
    pub ca: String,
    /// The certificate and its key, PEM: for a server that is a program of its own.
    pub pem: (String, String),
    config: Arc<rustls::ServerConfig>,
}

impl Certified {
    /// For these names; `expired` since long.
    pub fn new(names: &[&str], expired: bool) -> Certified {
        Certified::dated(names, if expired { 2019 } else { 1975 }, if expired { 2020 } else { 4096 })
    }

    /// For these names, from the first day of one year to the first of another.
    pub fn dated(names: &[&str], from: i32, to: i32) -> Certified {
        let mut params = CertificateParams::new(Vec::new()).expect("a CA");
        params.is_ca = rcgen::IsCa::Ca(BasicConstraints::Unconstrained);
        // Each CA has a name of its own: two of one name are told by their signature, which is another error.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tok's test CA {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let ca = params.self_signed(&key).expect("a CA certificate");
        let issuer = Issuer::new(params, key);
        let mut params = leaf(names);
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &issuer).expect("a certificate");
        Certified { ca: ca.pem(), pem: (leaf.pem(), key.serialize_pem()), config: config(leaf.der(), &key) }
    }

    /// For these names, and nobody is let in who does not show the certificate `client`, which vouches for itself.
    pub fn demanding(names: &[&str], client: &CertificateDer<'_>) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let leaf = leaf(names).self_signed(&key).expect("a certificate");
        let pem = (leaf.pem(), key.serialize_pem());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(OneClient { client: client.to_vec(), provider: provider.clone() });
        let chain = vec![CertificateDer::from(leaf.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .expect("a server");
        Certified { ca: leaf.pem(), pem, config: Arc::new(config) }
    }

    /// For these names, signed by nobody else.
    pub fn self_signed(names: &[&str]) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let leaf = leaf(names).self_signed(&key).expect("a certificate");
        Certified { ca: leaf.pem(), pem: (leaf.pem(), key.serialize_pem()), config: config(leaf.der(), &key) }
    }
}

/// Lets one client in, known by its certificate to the byte (RFC 8705 §2.2).
#[derive(Debug)]
struct OneClient {
    client: Vec<u8>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl rustls::server::danger::ClientCertVerifier for OneClient {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        match shown.as_ref() == self.client {
            true => Ok(rustls::server::danger::ClientCertVerified::assertion()),
            false => Err(rustls::Error::General("another client".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
    CertificateParams::new(names).expect("a certificate")
}

fn config(leaf: &CertificateDer<'_>, key: &KeyPair) -> Arc<rustls::ServerConfig> {
    let chain = vec![CertificateDer::from(leaf.to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a server");
    Arc::new(config)
}

/// What the imitations share: the rules of the road, whose breach is a fault of `tok` and fails the test when the
/// imitation goes, however the test looks at it.
#[derive(Default)]
pub struct Breaches(Mutex<Vec<String>>);

impl Breaches {
    /// Takes a breach down.
    pub fn add(&self, what: impl Into<String>) {
        lock(&self.0).push(what.into());
    }

    /// Fails the test if there are some; not in a test that fails anyway.
    pub fn check(&self, who: &str) {
        if !std::thread::panicking() {
            let breaches = lock(&self.0);
            assert!(breaches.is_empty(), "{who} was asked wrongly: {breaches:#?}");
        }
    }
}

/// Method, path, query, content type and `Accept` of a request: what is wrong with it, with the HTTP status for it.
pub fn manners(request: &Received, path: &str, content_type: &str) -> Result<(), (u16, String)> {
    if request.path() != path {
        return Err((404, format!("path {}", request.target)));
    }
    if request.method != "POST" {
        return Err((405, format!("method {}", request.method)));
    }
    if !request.query().is_empty() {
        return Err((400, format!("a query: {}", request.target)));
    }
    if request.header("content-type") != Some(content_type) {
        return Err((415, format!("content type {:?}", request.header("content-type"))));
    }
    if request.header("content-length").is_none() {
        return Err((411, "no length".into()));
    }
    if request.header("accept") != Some("application/json") {
        return Err((406, format!("accept {:?}", request.header("accept"))));
    }
    Ok(())
}

/// That the fields are exactly these, in any order: each once, none missing, none more.
pub fn exactly<V>(fields: &[(String, V)], names: &[&str]) -> Result<(), String> {
    for (name, _) in fields {
        if !names.contains(&name.as_str()) {
            return Err(format!("unknown field {name}"));
        }
    }
    for name in names {
        match fields.iter().filter(|(n, _)| n == name).count() {
            1 => {}
            0 => return Err(format!("missing field {name}")),
            n => return Err(format!("field {name} stands {n} times")),
        }
    }
    Ok(())
}
