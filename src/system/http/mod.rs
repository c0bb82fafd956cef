//! HTTP as one function from a request to a reply: the only place that knows ureq and rustls.
//!
//! A request goes through `client` (attempts and retries), `connect` (address, TCP, proxy, TLS) and ureq, over a
//! connection that stands already; `interim` puts what comes back in plain form. `errors` tells what went wrong.

mod client;
mod connect;
mod decode;
mod errors;
mod happy_eyeballs;
mod head;
mod identity;
mod interim;
pub mod proxy;
mod resolve;
pub mod retry;
mod tls;
mod transport;
mod trust;

use crate::base::error::Result;
use crate::base::time::Time;
use crate::oauth::request::{ClientCertificate, Request, Response};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The longest body, compressed and decompressed, in bytes.
const LONGEST_BODY: usize = 1 << 20;

/// How long a lookup, and then connection and TLS handshake, may take before they are tried again; a lost first packet
/// or a stale path is then tried anew well within the default 30 s.
const CONNECT: Duration = Duration::from_secs(10);

/// Sends a request, again where its [`crate::oauth::request::Repeat`] allows, all before the given instant. Any status
/// is a reply, also a redirect, which is not followed. With a status other than 2xx the body is empty if it could
/// not be read whole.
///
/// # Errors
/// [`Kind::Unavailable`] if no whole reply came in time; [`Kind::Reply`] for one that is longer than 1 MiB, cannot
/// be unpacked or is not HTTP; [`Kind::Config`] for a URL that is neither https nor loopback and for certificates that
/// cannot be read; [`Kind::Usage`] for a proxy variable that cannot be; [`Kind::Refused`] if the server requires a
/// client certificate, or another one; [`Kind::Other`] if the system has no thread left. As [`check_client_certificate`] for
/// the request's own, and what [`Events::connected`] gives.
///
/// [`Kind::Unavailable`]: crate::base::error::Kind::Unavailable
/// [`Kind::Reply`]: crate::base::error::Kind::Reply
/// [`Kind::Config`]: crate::base::error::Kind::Config
/// [`Kind::Usage`]: crate::base::error::Kind::Usage
/// [`Kind::Refused`]: crate::base::error::Kind::Refused
/// [`Kind::Other`]: crate::base::error::Kind::Other
pub type Http = Arc<dyn Fn(&Request, Instant, &mut dyn Events) -> Result<Response> + Send + Sync>;

/// The real network. Nothing is read and nothing parsed before the first request, and no certificate before the first
/// that needs TLS; those of each `ca_file` once. `clock` is the wall clock, for [`Response::received`] and
/// `Retry-After`.
pub fn real(settings: NetworkSettings, clock: impl Fn() -> Time + Send + Sync + 'static) -> Http {
    let client = client::HttpClient::new(settings, clock);
    Arc::new(move |request, deadline, events| client.send(request, deadline, events))
}

/// Callbacks during a request. `()` ignores them.
pub trait Events {
    /// Whether the server may be connected to at `address`: asked of each address that its name was looked up to, so that
    /// the connection is to one that was allowed. Not asked where a proxy does the lookup.
    fn allows(&self, _address: IpAddr) -> bool {
        true
    }

    /// The server is connected to at `address`. Not told where a proxy is between.
    fn reached(&mut self, _address: IpAddr) {}

    /// The connection is established, including proxy and TLS, and nothing of the request was sent; once per attempt.
    ///
    /// # Errors
    /// One sends nothing, and comes back to the caller as it is.
    fn connected(&mut self) -> Result<()> {
        Ok(())
    }

    /// Until when the reply is waited for, where the call ends at `deadline`: asked once the connection stands. No
    /// later attempt begins after `deadline`.
    fn reply_by(&self, deadline: Instant) -> Instant {
        deadline
    }

    /// The last byte of a reply is in: the body as it came, without chunks and still packed. Nothing was closed,
    /// parsed, unpacked or dropped yet. Once for each attempt that brings a reply, whatever its status; the body is
    /// empty with a status other than 2xx if it could not be read whole.
    fn received(&mut self, _head: &Head, _body: &[u8]) {}

    /// No reply came, for trouble of the network that may be over soon.
    fn network_failed(&mut self) {}

    /// A line for `-v`, without secrets: method, origin, and the outcome of an attempt.
    fn note(&mut self, _line: &str) {}
}

impl Events for () {}

/// The head of a reply, unchanged.
#[derive(Clone)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// The header lines, each with its line break; no status line, no empty line.
    pub lines: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head").field("status", &self.status).finish_non_exhaustive()
    }
}

/// The reply that [`Events::received`] was told of: header lines read, body unpacked. With a status other than 2xx
/// the body is empty if it cannot be unpacked.
///
/// # Errors
/// In words that follow "the reply could not be read:".
pub fn response(head: &Head, body: &[u8], received: Time) -> std::result::Result<Response, &'static str> {
    let headers = head::fields(head);
    let body = match decode::unpack(&headers, body) {
        Err(_) if !(200..300).contains(&head.status) => Zeroizing::new(Vec::new()),
        unpacked => unpacked?,
    };
    Ok(Response { status: head.status, headers, body, received })
}

/// What the environment and the config say about the network.
#[derive(Clone, Default)]
pub struct NetworkSettings {
    /// `https_proxy`, `all_proxy`, `no_proxy` and the like; read when the first request is sent.
    pub proxies: proxy::Variables,
    /// `SSL_CERT_FILE`: certificates in place of the system's.
    pub ssl_cert_file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: folders of such, likewise.
    pub ssl_cert_dir: Vec<PathBuf>,
    /// How many `-v`: from two on the log tells the proxy too.
    pub verbose: u8,
    /// Whether this is root by way of `sudo`: for a hint.
    pub sudo: bool,
}

impl NetworkSettings {
    /// Reads the relevant variables with `get`. An empty one counts as absent. `verbose` and `sudo` are the caller's
    /// to set.
    pub fn from_env(get: impl Fn(&str) -> Option<OsString>) -> NetworkSettings {
        NetworkSettings {
            ssl_cert_file: get("SSL_CERT_FILE").filter(|v| !v.is_empty()).map(PathBuf::from),
            ssl_cert_dir: get("SSL_CERT_DIR").map(|list| split_paths(&list)).unwrap_or_default(),
            proxies: proxy::Variables::from_env(get),
            ..NetworkSettings::default()
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

/// Whether a request to `host` over https could begin: its proxy can be read, and there are certificates to trust.
///
/// # Errors
/// [`Kind::Usage`] for a proxy's variable, [`Kind::Config`] for certificates.
pub fn check_settings(settings: &NetworkSettings, host: &str, ca_file: Option<&std::path::Path>) -> Result<()> {
    settings.proxies.proxy_for("https", host)?;
    trust::load(settings, ca_file, None).map(drop)
}

/// Whether `client_certificate` can be used, before anything is sent.
///
/// # Errors
/// [`Kind::Config`] if a certificate or a private key is missing, broken or encrypted, or if they do not belong
/// together. No error repeats either.
pub fn check_client_certificate(client_certificate: &ClientCertificate) -> Result<()> {
    identity::load(client_certificate).map(|_| ())
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn bracketed(host: &str) -> Cow<'_, str> {
    if host.contains(':') { format!("[{host}]").into() } else { host.into() }
}

/// A duration for people: whole seconds, below ten with a decimal if there is one.
fn seconds(span: Duration) -> String {
    let tenths = (span.as_millis() + 50) / 100;
    match (tenths / 10, tenths % 10) {
        (whole, tenth) if whole < 10 && tenth > 0 => format!("{whole}.{tenth}s"),
        _ => format!("{}s", (tenths + 5) / 10),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_to_read() {
        let shown = |ms| seconds(Duration::from_millis(ms));
        assert_eq!([shown(29_999), shown(30_000), shown(300), shown(1_000)], ["30s", "30s", "0.3s", "1s"]);
        assert_eq!([shown(1_449), shown(9_960), shown(90_400)], ["1.4s", "10s", "90s"]);
    }

    #[test]
    fn settings_are_taken_from_the_environment() {
        let set = [("SSL_CERT_FILE", "/a"), ("SSL_CERT_DIR", ""), ("https_proxy", "p:1")];
        let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        let settings = NetworkSettings::from_env(get);
        assert_eq!(settings.ssl_cert_file, Some(PathBuf::from("/a")));
        assert!(settings.ssl_cert_dir.is_empty());
        assert!(settings.proxies.proxy_for("https", "example.com").unwrap().is_some());
        assert_eq!(NetworkSettings::from_env(|_| Some(OsString::new())).ssl_cert_file, None);
        #[cfg(unix)]
        assert_eq!(split_paths(OsStr::new("/a::/b")), [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
