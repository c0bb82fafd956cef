//! Servers, requests, and certificates for them.

pub use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
pub use std::ffi::OsString;
pub use std::io::{Read, Write};
pub use std::net::{TcpListener, TcpStream};
pub use std::path::{Path, PathBuf};
pub use std::sync::{Arc, Mutex};
pub use std::thread;
pub use std::time::{Duration, Instant};
pub use tok::testing::base::error::{Error, Kind, Result};
pub use tok::testing::base::secret::Secret;
pub use tok::testing::base::time::Time;
pub use tok::testing::oauth::request::{ClientCertificate, Repeat, Request, Response};
pub use tok::testing::provider::Method;
pub use tok::testing::system::http::{Events, Head, Http, NetworkSettings, check_client_certificate, real};
pub use zeroize::Zeroizing;

pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}
pub type Answer = Arc<dyn Fn(usize, &mut dyn Stream) + Send + Sync>;

/// A server that answers the nth connection by `answer(n, stream)`, the request being read and kept.
pub struct Server {
    pub port: u16,
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(tls: Option<Arc<rustls::ServerConfig>>, answer: Answer) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        thread::spawn(move || {
            for (number, tcp) in listener.incoming().enumerate() {
                let (tls, kept, answer, mut tcp) = (tls.clone(), kept.clone(), answer.clone(), tcp.unwrap());
                let _ = tcp.set_nodelay(true);
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
    pub fn saying(replies: &[&str]) -> Server {
        let replies: Vec<String> = replies.iter().map(|r| r.to_string()).collect();
        Server::start(
            None,
            Arc::new(move |number, stream| {
                let _ = stream.write_all(replies[number.min(replies.len() - 1)].as_bytes());
            }),
        )
    }

    /// One that says `reply`, in pieces of so many bytes, and closes.
    pub fn dribbling(reply: &[u8], piece: usize) -> Server {
        let reply = reply.to_vec();
        Server::start(
            None,
            Arc::new(move |_, stream| {
                for part in reply.chunks(piece) {
                    let _ = stream.write_all(part).and_then(|()| stream.flush());
                    if piece < reply.len() {
                        // Long enough, mostly, for the client to look at each piece by itself.
                        thread::sleep(Duration::from_micros(200));
                    }
                }
            }),
        )
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token?secret=hunter2", self.port)
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

pub fn read_request(stream: &mut dyn Read) -> String {
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

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

pub fn reply(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}")
}

pub fn request(url: &str, repeat: Repeat) -> Request {
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
        client_certificate: None,
        ca_file: None,
        ca_pem: None,
        link_local: false,
    }
}

/// Where nobody listens: tcpmux, which no system has had for long.
pub const NOBODY: &str = "127.0.0.1:1";

/// What an answer may take on a busy machine. Whatever it is a bound for would take several minutes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const NOW: Time = Time(784_111_770_000_000_000);

/// What was told of a request.
#[derive(Default)]
pub struct Told {
    /// What happened, in order.
    pub events: Vec<String>,
    pub lines: Vec<String>,
    /// What [`Events::connected`] is to give, once.
    pub stop: Option<Error>,
}

impl Events for Told {
    fn connected(&mut self) -> Result<()> {
        self.events.push("connected".into());
        self.stop.take().map_or(Ok(()), Err)
    }

    fn received(&mut self, head: &Head, body: &[u8]) {
        let lines = String::from_utf8_lossy(&head.lines).into_owned();
        self.events.push(format!("{} {lines:?} {:?}", head.status, String::from_utf8_lossy(body)));
    }

    fn note(&mut self, line: &str) {
        self.lines.push(line.to_string());
    }
}

/// The network as these settings have it.
pub fn http(settings: NetworkSettings) -> Http {
    real(settings, || NOW)
}

pub fn send_with(http: &Http, request: &Request, limit: Duration) -> Result<Response> {
    let mut told = Told::default();
    let result = http(request, Instant::now() + limit, &mut told);
    let all = format!("{:?}{:?}", told.lines, result.as_ref().err());
    assert!(!all.contains("hunter2"), "a secret is shown: {all}");
    result
}

pub fn send(url: &str, repeat: Repeat) -> Result<Response> {
    send_with(&http(NetworkSettings::default()), &request(url, repeat), PATIENCE)
}

/// What [`Events`] was told of a request to `url`, and what came of it.
pub fn told(url: &str, repeat: Repeat, stop: Option<Error>) -> (Vec<String>, Result<Response>) {
    let mut told = Told { stop, ..Told::default() };
    let deadline = Instant::now() + PATIENCE;
    let result = http(NetworkSettings::default())(&request(url, repeat), deadline, &mut told);
    (told.events, result)
}

pub fn settings(set: &[(&str, &str)]) -> NetworkSettings {
    NetworkSettings::from_env(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))
}

pub fn error(result: Result<Response>, kind: Kind, part: &str) -> Error {
    let error = result.unwrap_err();
    assert!(error.kind == kind && error.to_string().contains(part), "{error:?}");
    error
}

pub struct Ca {
    pub file: PathBuf,
    pub issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    _dir: tempfile::TempDir,
}

pub fn ca() -> Ca {
    ca_named("test root")
}

pub fn ca_named(name: &str) -> Ca {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
    Ca { file, issuer: rcgen::Issuer::new(params, key), _dir: dir }
}

pub fn trusting(ca_file: &Path) -> NetworkSettings {
    // An empty system store beside it would be an error, the machine's own is not this test's.
    NetworkSettings { ssl_cert_file: Some(ca_file.to_path_buf()), ..NetworkSettings::default() }
}

pub fn tls13_and_12() -> rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

impl Ca {
    pub fn server(&self, name: &str, years: (i32, i32)) -> Server {
        let builder = tls13_and_12().with_no_client_auth();
        self.serve(builder, name, years)
    }

    /// One that demands a client certificate of `clients`.
    pub fn server_for(&self, clients: &Ca, versions: &[&'static rustls::SupportedProtocolVersion]) -> Server {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&clients.file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        self.serve(builder.with_client_cert_verifier(verifier.build().unwrap()), "localhost", (2000, 4000))
    }

    /// A client certificate valid in these years, and its key.
    pub fn client(&self, years: (i32, i32)) -> ClientCertificate {
        let mut params = rcgen::CertificateParams::new(vec!["client.example".to_string()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        ClientCertificate { certificate, key: Secret::new(key.serialize_pem()) }
    }

    pub fn serve(
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

pub fn send_tls(server: &Server, settings: NetworkSettings) -> Result<Response> {
    let request = request(&format!("https://localhost:{}/token?secret=hunter2", server.port), Repeat::Freely);
    send_with(&http(settings), &request, PATIENCE)
}

/// With a `ca_file` besides.
pub fn send_tls_besides(server: &Server, settings: NetworkSettings, ca_file: &Path) -> Result<Response> {
    let mut request = request(&format!("https://localhost:{}/token?secret=hunter2", server.port), Repeat::Freely);
    request.ca_file = Some(ca_file.to_path_buf());
    send_with(&http(settings), &request, PATIENCE)
}
