//! HTTP as one function from a request to a reply: the only place that knows ureq.
//!
//! Besides ureq's own connectors the chain holds two of ours: [`Watch`] keeps every read and write within the
//! deadline and notes a reset; [`Mark`] notes when the connection stands, for until then certainly nothing of the
//! request was sent.

mod identity;
pub mod proxy;
mod resolve;
pub mod retry;
mod trust;

use crate::base::error::{Error, Kind, Result};
use crate::base::text::escape;
use crate::base::time::Time;
use crate::base::url::is_loopback;
use crate::oauth::request::{Identity, Request, Response};
use crate::provider::Method;
use proxy::Proxy;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::config::AutoHeaderValue;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ureq::tls::{ClientCert, RootCerts, TlsConfig};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, SocksConnector,
    TcpConnector, Transport,
};
use ureq::{Agent, ProxyProtocol, Timeout};
use zeroize::Zeroizing;

/// The longest body that is read, in bytes.
const LONGEST_BODY: u64 = 1 << 20;

/// How long name, connection and TLS handshake may take before they are tried again; a lost first packet or a
/// stale path is then tried anew well within the default 30 s.
const CONNECT: Duration = Duration::from_secs(10);

/// The hint where a server ended a connection with a client certificate and does not say why.
const NOT_ACCEPTED: &str = "it may not accept the client certificate";

/// What the environment and the config say about the network.
#[derive(Clone, Default)]
pub struct Settings {
    /// `https_proxy`, `all_proxy`, `no_proxy` and their kin; read when the first request is sent.
    pub proxies: proxy::Variables,
    /// `SSL_CERT_FILE`: certificates in place of the system's.
    pub ssl_cert_file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: folders of such, likewise.
    pub ssl_cert_dir: Vec<PathBuf>,
    /// The config's `ca_file`: certificates besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How many `-v`: from two on the log tells the proxy too.
    pub verbose: u8,
    /// Whether this is root by way of `sudo`: for a hint.
    pub sudo: bool,
}

impl Settings {
    /// Takes from `get` the variables that count. An empty one is as good as none. `ca_file`, `verbose` and `sudo` are the
    /// caller's to set.
    pub fn from_env(get: impl Fn(&str) -> Option<OsString>) -> Settings {
        Settings {
            ssl_cert_file: get("SSL_CERT_FILE").filter(|v| !v.is_empty()).map(PathBuf::from),
            ssl_cert_dir: get("SSL_CERT_DIR").map(|list| split_paths(&list)).unwrap_or_default(),
            proxies: proxy::Variables::from_env(get),
            ..Settings::default()
        }
    }
}

/// The folders of a list as `PATH` has it.
fn split_paths(list: &OsStr) -> Vec<PathBuf> {
    #[cfg(unix)]
    let parts = {
        use std::os::unix::ffi::OsStrExt;
        list.as_bytes().split(|b| *b == b':').map(|part| PathBuf::from(OsStr::from_bytes(part)))
    };
    #[cfg(not(unix))]
    let text = list.to_string_lossy();
    #[cfg(not(unix))]
    let parts = text.split(';').map(PathBuf::from);
    parts.filter(|part| !part.as_os_str().is_empty()).collect()
}

/// Sends requests. Nothing is read and nothing parsed before the first one, and no certificate before the first
/// that needs TLS.
pub struct Client {
    settings: Settings,
    roots: OnceLock<Result<RootCerts>>,
}

/// Where a request goes and by which way, as far as messages tell it.
struct Way {
    uri: Uri,
    https: bool,
    /// `https://host[:port]`, and nothing more: the path and query may hold secrets.
    origin: String,
    proxy: Option<Proxy>,
    /// From the call to the deadline.
    whole: Duration,
    /// What the client shows of itself.
    identity: Option<ClientCert>,
}

/// An attempt that brought no reply.
struct Failure {
    error: Error,
    /// Whether to try again: nothing was sent, and it may go better.
    again: bool,
}

impl Client {
    /// A client that has read nothing yet.
    pub fn new(settings: Settings) -> Client {
        Client { settings, roots: OnceLock::new() }
    }

    /// Sends `request`, again where its [`crate::oauth::request::Repeat`] allows, all within `deadline`. Any status is a
    /// reply, also a redirect, which is not followed. Beside a status other than 2xx the body is empty where it
    /// could not be read whole.
    ///
    /// `now` is the wall clock, for [`Response::received`] and `Retry-After`. `log` gets a line for each attempt,
    /// without secrets: method, URL without query, what came of it.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where no whole reply came in time; [`Kind::Reply`] for one that is longer than 1 MiB
    /// or not HTTP; [`Kind::Config`] for a URL that is neither https nor loopback and for certificates that cannot
    /// be read; [`Kind::Usage`] for a proxy variable that cannot be; [`Kind::Refused`] where the server wants a
    /// client certificate, or another one. As [`check_identity`] for the request's own.
    pub fn send(
        &self,
        request: &Request,
        deadline: Instant,
        now: &dyn Fn() -> Time,
        log: &mut dyn FnMut(&str),
    ) -> Result<Response> {
        let way = self.way(request, deadline)?;
        let roots = match way.https || way.proxy.as_ref().is_some_and(|p| p.scheme == "https") {
            true => Some(self.roots.get_or_init(|| trust::load(&self.settings)).clone()?),
            false => None,
        };
        if let (Some(proxy), 2..) = (&way.proxy, self.settings.verbose) {
            log(&format!("proxy {} ({})", proxy.shown(), proxy.variable));
        }
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
        };
        // No path: it may hold a secret.
        let shown = escape(&format!("{method} {}", way.origin));
        let mut attempt = 1;
        loop {
            let result = self.attempt(request, &way, roots.as_ref(), deadline, now);
            let (outcome, said) = match &result {
                Ok(response) => {
                    let asked = response.header("retry-after").and_then(|v| retry::retry_after(v, now()));
                    (retry::Outcome::Status(response.status, asked), response.status.to_string())
                }
                Err(Failure { error, again: true }) => (retry::Outcome::NothingSent, error.why.clone()),
                Err(Failure { error, again: false }) => (retry::Outcome::Failed, error.why.clone()),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match retry::next(outcome, attempt, request.repeat, left, random_byte()) {
                Some(wait) => {
                    log(&format!("{shown}: {said}; again in {}", seconds(wait)));
                    std::thread::sleep(wait);
                    attempt += 1;
                }
                None => {
                    log(&format!("{shown}: {said}"));
                    return result.map_err(|failure| failure.error);
                }
            }
        }
    }

    fn way(&self, request: &Request, deadline: Instant) -> Result<Way> {
        // The URL itself is not shown: its query may hold secrets.
        let refuse = |why: &str| Error::new(Kind::Config, "the request cannot be sent", why);
        let uri: Uri = request.url.parse().map_err(|_| {
            refuse("its URL is not valid").hint("look at the provider's url; a host name must be in ASCII (xn--…)")
        })?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(refuse("its URL has no scheme or no host"));
        };
        if authority.as_str().contains('@') {
            return Err(refuse("its URL holds a user or password"));
        }
        let origin = format!("{scheme}://{authority}");
        let host = unbracketed(authority.host());
        let https = scheme == "https";
        let allowed = https || scheme == "http" && is_loopback(host);
        if host.is_empty() || !allowed {
            return Err(refuse(&format!("{origin} is neither https nor on this machine")));
        }
        // A port beyond 65535 would silently be the scheme's own.
        if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none() {
            return Err(refuse(&format!("the port of {origin} is not a number up to 65535")));
        }
        if request.identity.is_some() && !https {
            return Err(refuse(&format!("{origin} is plain http, where no client certificate can be shown")));
        }
        let identity = request.identity.as_ref().map(identity::load).transpose()?;
        let proxy = self.settings.proxies.proxy_for(https, host)?;
        let whole = deadline.saturating_duration_since(Instant::now());
        Ok(Way { https, origin, proxy, whole, uri, identity })
    }

    fn attempt(
        &self,
        request: &Request,
        way: &Way,
        roots: Option<&RootCerts>,
        deadline: Instant,
        now: &dyn Fn() -> Time,
    ) -> std::result::Result<Response, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure { error: way.timed_out(), again: false });
        }
        let seen = Arc::new(Seen::default());
        let agent = way.agent(request, roots, left, deadline, &seen)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let pair = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_bytes(value.as_bytes()).ok());
            let Some((field, mut content)) = pair else {
                let why = format!("its header {} holds what no header may", escape(name));
                let error = Error::new(Kind::Config, "the request cannot be sent", why);
                return Err(Failure { error, again: false });
            };
            content.set_sensitive(true);
            headers.append(field, content);
        }
        let body: Option<&[u8]> = request.body.as_ref().map(|body| body.as_slice());
        let uri = way.uri.clone();
        let sent = match (request.method, body) {
            (Method::Get, None) => with_headers(agent.get(uri), headers).call(),
            (Method::Get, Some(body)) => with_headers(agent.get(uri), headers).force_send_body().send(body),
            // Without a body they still say `Content-Length: 0` (RFC 9110 §8.6).
            (Method::Post, body) => with_headers(agent.post(uri), headers).send(body.unwrap_or_default()),
            (Method::Put, body) => with_headers(agent.put(uri), headers).send(body.unwrap_or_default()),
        };
        let reply = sent.map_err(|error| way.failure(error, &seen))?;
        let (parts, body) = reply.into_parts();
        let status = parts.status.as_u16();
        let body = match read_body(body, &seen) {
            Ok(body) => body,
            // Such a status says all by itself. Half a body could say something else than the whole.
            Err(error) if status >= 500 || !parts.status.is_success() && !is_timeout(&error) => {
                Zeroizing::new(Vec::new())
            }
            Err(error) => return Err(way.failure(error, &seen)),
        };
        let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_string(), text(value.as_bytes())));
        Ok(Response { status, headers: headers.collect(), body, received: now() })
    }
}

fn with_headers<B>(mut builder: ureq::RequestBuilder<B>, headers: HeaderMap) -> ureq::RequestBuilder<B> {
    if let Some(own) = builder.headers_mut() {
        own.extend(headers);
    }
    builder
}

fn read_body(body: ureq::Body, seen: &Seen) -> std::result::Result<Zeroizing<Vec<u8>>, ureq::Error> {
    // Room for the whole at once, so that growing leaves no copies behind that nobody wipes.
    let room = body.content_length().unwrap_or(16 << 10).min(LONGEST_BODY);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
    body.into_with_config().limit(LONGEST_BODY).reader().read_to_end(&mut bytes)?;
    // ureq takes a reset for the end of a body that goes on until the connection closes.
    match seen.reset.load(Ordering::Relaxed) {
        true => Err(ureq::Error::Io(io::ErrorKind::ConnectionReset.into())),
        false => Ok(bytes),
    }
}

impl Way {
    fn agent(
        &self,
        request: &Request,
        roots: Option<&RootCerts>,
        left: Duration,
        deadline: Instant,
        seen: &Arc<Seen>,
    ) -> std::result::Result<Agent, Failure> {
        let proxy = self.proxy.as_ref().map(for_ureq).transpose().map_err(|error| self.failure(error, seen))?;
        // A proxy is told the same name as the server, and none where the request has none.
        let agent = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("user-agent"));
        let agent = agent.map_or(AutoHeaderValue::None, |(_, v)| AutoHeaderValue::Provided(v.to_string().into()));
        let mut tls = TlsConfig::builder().client_cert(self.identity.clone());
        if let Some(roots) = roots {
            tls = tls.root_certs(roots.clone());
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .timeout_global(Some(left))
            .timeout_connect(Some(CONNECT))
            .timeout_resolve(Some(CONNECT))
            .user_agent(agent)
            .accept(AutoHeaderValue::None)
            .accept_encoding(AutoHeaderValue::None)
            .max_idle_connections(0)
            .tls_config(tls.build())
            .build();
        let by_proxy = self.proxy.is_some();
        let connector =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(Watch { deadline, seen: seen.clone() })
                .chain(RustlsConnector::default())
                .chain(Mark { by_proxy, seen: seen.clone() });
        Ok(Agent::with_parts(config, connector, resolve::System))
    }

    fn unreachable(&self, why: impl AsRef<str>) -> Error {
        let why = match &self.proxy {
            Some(proxy) => format!("by the proxy {} ({}): {}", proxy.shown(), proxy.variable, why.as_ref()),
            None => why.as_ref().to_string(),
        };
        Error::new(Kind::Unavailable, format!("{} could not be reached", self.origin), why)
    }

    fn timed_out(&self) -> Error {
        self.unreachable(format!("no answer within {}", seconds(self.whole)))
            .hint("try again later, or give it longer with --timeout")
    }

    fn unreadable(&self, why: impl Into<String>) -> Error {
        Error::new(Kind::Reply, format!("the reply of {} could not be read", self.origin), why)
    }

    /// Puts an error of ureq in plain words. ureq's own texts are used only where they hold nothing of the request.
    fn failure(&self, error: ureq::Error, seen: &Seen) -> Failure {
        let nothing_sent = !seen.connected.load(Ordering::Relaxed);
        let for_good = |error| Failure { error, again: false };
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) if nothing_sent => Failure {
                error: self.unreachable(format!("no connection within {}", seconds(CONNECT.min(self.whole)))),
                again: true,
            },
            ureq::Error::Timeout(_) => for_good(self.timed_out()),
            ureq::Error::HostNotFound => {
                let hint = match &self.proxy {
                    Some(proxy) => {
                        format!("look at {}, and at this machine's network", proxy.variable)
                    }
                    None => "look at the URL, and at this machine's network".into(),
                };
                Failure { error: self.unreachable("no such host").hint(hint), again: nothing_sent }
            }
            ureq::Error::Io(error) => self.io_failure(&error, nothing_sent),
            ureq::Error::Rustls(error) => for_good(self.tls_failure(&error)),
            ureq::Error::Tls(text) => for_good(self.unreachable(format!("TLS failed: {text}"))),
            ureq::Error::ConnectProxyFailed(reason) => self.proxy_failure(&reason),
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) if nothing_sent => {
                for_good(self.unreachable("it does not answer as a proxy does"))
            }
            ureq::Error::Protocol(error) => {
                for_good(self.unreadable(format!("it is not HTTP: {}", escape(&error.to_string()))))
            }
            ureq::Error::LargeResponseHeader(..) => for_good(self.unreadable("its headers are too long")),
            ureq::Error::BodyExceedsLimit(_) => for_good(self.unreadable("the reply is longer than 1 MiB")),
            ureq::Error::BodyStalled => for_good(self.unreachable("the reply was cut short")),
            ureq::Error::InvalidProxyUrl => {
                let variable = self.proxy.as_ref().map_or("https_proxy", |proxy| proxy.variable);
                let what = format!("the proxy in {variable} cannot be used");
                for_good(Error::new(Kind::Usage, what, "its host is not valid"))
            }
            _ => {
                let what = format!("the request to {} could not be made", self.origin);
                for_good(Error::new(Kind::Other, what, "the HTTP library refused it"))
            }
        }
    }

    fn io_failure(&self, error: &io::Error, nothing_sent: bool) -> Failure {
        use io::ErrorKind as E;
        let inner = error.get_ref();
        if let Some(error) = inner.and_then(|e| e.downcast_ref::<TlsError>()) {
            return Failure { error: self.tls_failure(error), again: false };
        }
        let lookup = inner.is_some_and(|e| e.is::<resolve::LookupFailed>());
        let (why, may_pass): (Cow<str>, bool) = match error.kind() {
            _ if lookup => ("the name could not be looked up: no answer from the name server".into(), true),
            E::ConnectionRefused => ("connection refused".into(), true),
            E::HostUnreachable => ("no way to the host".into(), true),
            E::NetworkUnreachable | E::NetworkDown | E::AddrNotAvailable => ("no way to the network".into(), true),
            E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe => ("the connection was cut".into(), true),
            E::UnexpectedEof if nothing_sent => ("the connection was closed before it stood".into(), true),
            E::UnexpectedEof => ("the connection was closed before the whole reply came".into(), false),
            E::TimedOut | E::WouldBlock => ("timed out".into(), true),
            _ => (escape(&error.to_string()).into(), false),
        };
        let kind = error.kind();
        let mut error = self.unreachable(why);
        match (&self.proxy, kind) {
            (Some(proxy), _) if nothing_sent => {
                error = error.hint(format!("look at {}; NO_PROXY lists hosts that need no proxy", proxy.variable));
            }
            (None, E::ConnectionRefused) => {
                error = error.hint("nobody listens there: look at host and port of the URL")
            }
            (None, E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown) => {
                error = error.hint("look at this machine's network");
            }
            _ => {}
        }
        // TLS 1.3 refuses a client after the handshake, and the alert may be lost with the connection.
        if !nothing_sent && may_pass && self.identity.is_some() {
            error = error.hint(NOT_ACCEPTED);
        }
        Failure { error, again: nothing_sent && may_pass }
    }

    fn proxy_failure(&self, reason: &str) -> Failure {
        // ureq tells the status only in this text: `proxy server responded 407/407`.
        let status = reason.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse::<u16>().ok());
        let variable = self.proxy.as_ref().map_or("https_proxy", |proxy| proxy.variable);
        let known = self.proxy.as_ref().is_some_and(|proxy| proxy.user.is_some());
        let error = match status {
            Some(407) if known => self
                .unreachable("it refuses the user or password (407)")
                .hint(format!("look at user and password in {variable}; special characters must be percent-encoded")),
            Some(407) => self
                .unreachable("it wants a user and password (407)")
                .hint(format!("set {variable} to http://USER:PASSWORD@HOST:PORT")),
            Some(status) => self
                .unreachable(format!("it refused the connection ({status})"))
                .hint(format!("look at {variable}; NO_PROXY lists hosts that need no proxy")),
            None => self.unreachable("it closed the connection without an answer"),
        };
        Failure { error, again: matches!(status, None | Some(502..=504)) }
    }

    fn tls_failure(&self, error: &TlsError) -> Error {
        const CLOCK: &str = "look at this machine's clock; if it is right, the server's operator must mend this";
        const ISSUER: &str =
            "if it is to be trusted, set ca_file in the config, or SSL_CERT_FILE, to its issuer's certificate";
        match error {
            TlsError::InvalidCertificate(error) => match error {
                CertificateError::UnknownIssuer => {
                    self.unreachable("the certificate is not trusted: its issuer is unknown").hint(ISSUER)
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    self.unreachable("the certificate has expired").hint(CLOCK)
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    self.unreachable("the certificate is not yet valid").hint(CLOCK)
                }
                CertificateError::NotValidForName => self.unreachable("the certificate is for another name"),
                CertificateError::NotValidForNameContext { presented, .. } => {
                    // rustls gives them as `DnsName("host")`.
                    let names: Vec<&str> = presented.iter().map(|n| n.split('"').nth(1).unwrap_or(n)).collect();
                    let names = escape(&names.join(", "));
                    self.unreachable(format!("the certificate is for another name: {names}"))
                        .hint("look at the URL's host")
                }
                CertificateError::Revoked => self.unreachable("the certificate was revoked"),
                other => self
                    .unreachable(format!("the certificate is not trusted: {}", escape(&other.to_string())))
                    .hint(ISSUER),
            },
            TlsError::AlertReceived(alert) => self.alert(*alert),
            TlsError::InvalidMessage(_) => {
                self.unreachable("it does not speak TLS at this port").hint("look at the URL's scheme and port")
            }
            TlsError::PeerIncompatible(_) => self.unreachable("it has no version or cipher of TLS 1.2 or later"),
            other => self.unreachable(format!("TLS failed: {}", escape(&other.to_string()))),
        }
    }

    /// Why the server ended TLS (RFC 8446 §6.2).
    fn alert(&self, alert: AlertDescription) -> Error {
        use AlertDescription as A;
        let refused = |why: &str, hint: &str| {
            Error::new(Kind::Refused, format!("{} refused the connection", self.origin), why).hint(hint)
        };
        let not_this = |why: &str| {
            let why = format!("it does not accept the client certificate: {why}");
            refused(&why, "give a certificate that the server knows for this client, with its chain")
        };
        match (alert, self.identity.is_some()) {
            (A::CertificateRequired, false) => {
                refused("it wants a client certificate (mutual TLS)", "give a client certificate and its key")
            }
            (A::CertificateRequired, true) => not_this("it is of another kind than the server asks for"),
            (A::UnknownCA, true) => not_this("its issuer is unknown there"),
            (A::CertificateExpired, true) => not_this("it has expired or is not yet valid"),
            (A::CertificateRevoked, true) => not_this("it was revoked"),
            (A::UnsupportedCertificate, true) => not_this("it is of a kind or for a use that is not taken"),
            (A::BadCertificate | A::CertificateUnknown | A::AccessDenied | A::DecryptError, true) => {
                not_this(&escape(&format!("{alert:?}")))
            }
            _ => {
                let error = self.unreachable(format!("the server ended TLS: {}", escape(&format!("{alert:?}"))));
                match (alert, self.identity.is_some()) {
                    // Before TLS 1.3 there was no alert of its own.
                    (A::HandshakeFailure | A::BadCertificate, false) => {
                        error.hint("it may want a client certificate (mutual TLS)")
                    }
                    (_, true) => error.hint(NOT_ACCEPTED),
                    _ => error,
                }
            }
        }
    }
}

/// Whether `identity` can be used, before anything is sent.
///
/// # Errors
/// [`Kind::Config`] where a certificate or a private key is missing, broken or encrypted, or where they do not belong
/// together. No error repeats either.
pub fn check_identity(identity: &Identity) -> Result<()> {
    identity::load(identity).map(|_| ())
}

fn is_timeout(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Timeout(_))
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn bracketed(host: &str) -> Cow<'_, str> {
    if host.contains(':') { format!("[{host}]").into() } else { host.into() }
}

fn for_ureq(proxy: &Proxy) -> std::result::Result<ureq::Proxy, ureq::Error> {
    let mut builder = ureq::Proxy::builder(ProxyProtocol::try_from(proxy.scheme)?)
        .host(&bracketed(&proxy.host))
        .port(proxy.port)
        .resolve_target(proxy.takes_addresses());
    if let Some(user) = &proxy.user {
        builder = builder.username(user);
    }
    if let Some(password) = &proxy.password {
        builder = builder.password(password);
    }
    builder.build()
}

/// A header's value; Latin-1 where it is not UTF-8 (RFC 9110 §5.5 knows such from older times).
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    }
}

/// A span as a person reads it: whole seconds, below ten with a decimal where there is one.
fn seconds(span: Duration) -> String {
    let tenths = (span.as_millis() + 50) / 100;
    match (tenths / 10, tenths % 10) {
        (whole, tenth) if whole < 10 && tenth > 0 => format!("{whole}.{tenth}s"),
        _ => format!("{}s", (tenths + 5) / 10),
    }
}

/// A random byte for the jitter; where the system has none, the middle.
fn random_byte() -> u8 {
    let mut byte = [128];
    let _ = SystemRandom::new().fill(&mut byte);
    byte[0]
}

/// What an attempt's connection went through.
#[derive(Debug, Default)]
struct Seen {
    /// The connection stands, TLS and all: from here on something may have been sent.
    connected: AtomicBool,
    /// The other side cut it.
    reset: AtomicBool,
}

/// Puts a [`Watched`] around each socket.
#[derive(Debug)]
struct Watch {
    deadline: Instant,
    seen: Arc<Seen>,
}

/// A socket that keeps to the deadline. ureq gives some reads the whole time anew, such as each of a proxy's answer
/// to CONNECT, so that a trickle would hold it for ever.
#[derive(Debug)]
struct Watched<T> {
    socket: T,
    deadline: Instant,
    seen: Arc<Seen>,
}

impl<T: Transport> Connector<T> for Watch {
    type Out = Watched<T>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        socket: Option<T>,
    ) -> std::result::Result<Option<Watched<T>>, ureq::Error> {
        Ok(socket.map(|socket| Watched { socket, deadline: self.deadline, seen: self.seen.clone() }))
    }
}

impl<T> Watched<T> {
    fn within(&self, mut timeout: NextTimeout) -> std::result::Result<NextTimeout, ureq::Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ureq::Error::Timeout(Timeout::Global));
        }
        if timeout.after > left.into() {
            timeout.after = left.into();
            timeout.reason = Timeout::Global;
        }
        Ok(timeout)
    }
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.socket.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> std::result::Result<(), ureq::Error> {
        let timeout = self.within(timeout)?;
        self.socket.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        let timeout = self.within(timeout)?;
        let result = self.socket.await_input(timeout);
        if let Err(ureq::Error::Io(error)) = &result
            && matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
        {
            self.seen.reset.store(true, Ordering::Relaxed);
        }
        result
    }

    fn is_open(&mut self) -> bool {
        self.socket.is_open()
    }

    fn is_tls(&self) -> bool {
        self.socket.is_tls()
    }
}

/// The end of the chain.
#[derive(Debug)]
struct Mark {
    by_proxy: bool,
    seen: Arc<Seen>,
}

impl<T: Transport> Connector<T> for Mark {
    type Out = T;

    fn connect(&self, details: &ConnectionDetails, socket: Option<T>) -> std::result::Result<Option<T>, ureq::Error> {
        // The chain runs once more, without a proxy in its config, for the way to the proxy itself.
        if socket.is_some() && details.config.proxy().is_some() == self.by_proxy {
            self.seen.connected.store(true, Ordering::Relaxed);
        }
        Ok(socket)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_what_cannot_leave_the_machine() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.9", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["127.0.0.1.example", "localhost.example", "10.0.0.1", "::2", "::ffff:127.0.0.1", "0.0.0.0", "127.1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn spans_are_short_to_read() {
        let shown = |ms| seconds(Duration::from_millis(ms));
        assert_eq!([shown(29_999), shown(30_000), shown(300), shown(1_000)], ["30s", "30s", "0.3s", "1s"]);
        assert_eq!([shown(1_449), shown(9_960), shown(90_400)], ["1.4s", "10s", "90s"]);
    }

    #[test]
    fn header_values_are_utf_8_or_latin_1() {
        assert_eq!(text("é".as_bytes()), "é");
        assert_eq!(text(b"caf\xe9"), "café");
    }

    #[test]
    fn settings_are_taken_from_the_environment() {
        let set = [("SSL_CERT_FILE", "/a"), ("SSL_CERT_DIR", ""), ("https_proxy", "p:1")];
        let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        let settings = Settings::from_env(get);
        assert_eq!(settings.ssl_cert_file, Some(PathBuf::from("/a")));
        assert!(settings.ssl_cert_dir.is_empty());
        assert!(settings.proxies.proxy_for(true, "example.com").unwrap().is_some());
        assert_eq!(Settings::from_env(|_| Some(OsString::new())).ssl_cert_file, None);
        #[cfg(unix)]
        assert_eq!(split_paths(OsStr::new("/a::/b")), [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
