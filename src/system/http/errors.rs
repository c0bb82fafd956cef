//! What went wrong with an attempt, in plain words. Texts of libraries are used only if they contain nothing of the
//! request.

use super::client::Way;
use super::head::Broken;
use super::tls::{SHORTEST_RSA, ShortKey};
use super::{CONNECT, resolve, seconds};
use crate::base::error::{Error, Kind};
use crate::base::text::escape;
use rustls::{AlertDescription, CertificateError, Error as TlsError, OtherError};
use std::borrow::Cow;
use std::io;
use ureq::Timeout;

/// The hint if a server ended a connection with a client certificate without saying why.
const NOT_ACCEPTED: &str = "it may not accept the client certificate";

const CLOCK: &str = "check this machine's clock; if it is right, the server's operator must replace the certificate";
const ISSUER: &str = "to trust it, set ca_file in the config, or SSL_CERT_FILE, to its issuer's certificate";
const OUTDATED: &str = "does not support TLS 1.2 or later with a current cipher suite";
const NO_CIPHER: &str = "shares no cipher suite with tok; it may only offer RSA key exchange, which is obsolete";
const UPDATE: &str = "its operator must enable TLS 1.2 or 1.3 with current cipher suites";

/// Whether a signature's algorithm, as DER without its head, is one with SHA-1 or MD5 (RFC 8017 appendix A.2.4, RFC
/// 3279 §2.2.3).
fn is_outdated(algorithm: &[u8]) -> bool {
    const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01";
    const ECDSA_SHA1: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x01";
    let named = |oid: &[u8]| memchr::memmem::find(algorithm, oid).is_some();
    named(&[RSA, &[4]].concat()) || named(&[RSA, &[5]].concat()) || named(ECDSA_SHA1)
}

/// Whom TLS is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Server,
    Proxy,
}

/// Why there was no connection.
pub(super) enum ConnectError {
    /// What the socket, the lookup or a time limit says.
    Ureq(ureq::Error),
    /// What TLS says.
    Tls {
        /// rustls' own words.
        error: TlsError,
        /// With whom.
        peer: Peer,
    },
    /// The proxy answered with this status.
    ProxyAnswered(u16),
    /// The proxy closed the connection.
    ProxyClosed,
    /// The server that answered is not an HTTP proxy.
    NotAProxy,
    /// The caller allows none of the addresses of the host.
    NotAllowed,
}

/// How far an attempt came that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Certainly nothing of the request was sent.
    NothingSent,
    /// Something of it may have been.
    Sent,
}

impl From<ureq::Error> for ConnectError {
    fn from(error: ureq::Error) -> ConnectError {
        ConnectError::Ureq(error)
    }
}

/// An attempt that brought no reply.
pub(super) struct AttemptError {
    pub(super) error: Error,
    /// Whether to try again: nothing was sent, and a retry may succeed.
    pub(super) again: bool,
    /// Whether it is trouble of the network, which may pass, whatever was sent.
    pub(super) may_pass: bool,
}

impl AttemptError {
    pub(super) fn for_good(error: Error) -> AttemptError {
        AttemptError { error, again: false, may_pass: false }
    }

    /// Trouble of the network before anything was sent.
    fn unsent(error: Error) -> AttemptError {
        AttemptError { error, again: true, may_pass: true }
    }

    /// Trouble of the network with a request that may have arrived.
    fn unanswered(error: Error) -> AttemptError {
        AttemptError { error, again: false, may_pass: true }
    }
}

impl Way {
    fn unreachable(&self, why: impl AsRef<str>) -> Error {
        let why = match &self.proxy {
            Some(proxy) => format!("via the proxy {} ({}): {}", proxy.shown(), proxy.variable, why.as_ref()),
            None => why.as_ref().to_string(),
        };
        Error::new(Kind::Unavailable, format!("{} could not be reached", self.origin), why)
    }

    pub(super) fn timed_out(&self) -> Error {
        self.unreachable(format!("no answer within {}", seconds(self.whole)))
            .hint("try again later, or raise --timeout")
    }

    pub(super) fn unreadable(&self, why: impl Into<String>) -> Error {
        Error::new(Kind::Reply, format!("the reply of {} could not be read", self.origin), why)
    }

    /// Why the connection failed; nothing was sent.
    pub(super) fn not_connected(&self, trouble: ConnectError) -> AttemptError {
        match trouble {
            ConnectError::Ureq(error) => self.failure(error, Progress::NothingSent),
            ConnectError::Tls { error, peer } => AttemptError::for_good(self.tls_failure(&error, peer)),
            ConnectError::ProxyAnswered(status) => self.proxy_failure(status),
            ConnectError::ProxyClosed => {
                AttemptError::unsent(self.unreachable("it closed the connection without an answer"))
            }
            ConnectError::NotAProxy => AttemptError::for_good(self.unreachable("it is not an HTTP proxy")),
            ConnectError::NotAllowed => {
                let why = "its name leads to this machine or its own link, where an API elsewhere must not send tok";
                AttemptError::for_good(Error::new(Kind::Reply, format!("{} cannot be used", self.origin), why))
            }
        }
    }

    /// Why a request got no reply.
    pub(super) fn failure(&self, error: ureq::Error, progress: Progress) -> AttemptError {
        let for_good = AttemptError::for_good;
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) if progress == Progress::NothingSent => {
                let why = format!("no connection within {}", seconds(CONNECT.min(self.whole)));
                AttemptError::unsent(self.unreachable(why))
            }
            ureq::Error::Timeout(_) => AttemptError::unanswered(self.timed_out()),
            ureq::Error::HostNotFound => {
                let hint = match &self.proxy {
                    Some(proxy) => format!("check {}, and this machine's network", proxy.variable),
                    None => "check the URL, and this machine's network".into(),
                };
                AttemptError {
                    error: self.unreachable("no such host").hint(hint),
                    again: progress == Progress::NothingSent,
                    may_pass: false,
                }
            }
            ureq::Error::Io(error) => self.io_failure(&error, progress),
            ureq::Error::Other(error) if error.is::<resolve::NoThread>() => for_good(super::connect::no_threads()),
            ureq::Error::Other(error) if error.is::<Broken>() => {
                for_good(self.unreadable(match error.downcast_ref::<Broken>() {
                    Some(Broken::NotHttp(why)) => format!("it is not HTTP: {why}"),
                    _ => "its header is too long".into(),
                }))
            }
            ureq::Error::Protocol(error) => {
                for_good(self.unreadable(format!("it is not HTTP: {}", escape(&error.to_string()))))
            }
            ureq::Error::LargeResponseHeader(..) => for_good(self.unreadable("its header is too long")),
            ureq::Error::BodyExceedsLimit(_) => for_good(self.unreadable("it is longer than 1 MiB")),
            ureq::Error::BodyStalled => AttemptError::unanswered(self.unreachable("the reply was cut short")),
            ureq::Error::InvalidProxyUrl => {
                let variable = self.proxy.as_ref().map_or("https_proxy", |proxy| proxy.variable);
                let what = format!("the proxy in {variable} cannot be used");
                for_good(Error::new(Kind::Usage, what, "its host is not valid"))
            }
            _ => {
                let what = format!("the request to {} failed", self.origin);
                for_good(Error::new(Kind::Other, what, "the request cannot be sent as it is"))
            }
        }
    }

    fn io_failure(&self, error: &io::Error, progress: Progress) -> AttemptError {
        use io::ErrorKind as E;
        let inner = error.get_ref();
        if let Some(error) = inner.and_then(|e| e.downcast_ref::<TlsError>()) {
            return AttemptError::for_good(self.tls_failure(error, Peer::Server));
        }
        let lookup = inner.is_some_and(|e| e.is::<resolve::LookupFailed>());
        let (why, may_pass): (Cow<str>, bool) = match error.kind() {
            _ if lookup => ("name lookup failed: no answer from the name server".into(), true),
            E::ConnectionRefused => ("connection refused".into(), true),
            E::HostUnreachable => ("no route to the host".into(), true),
            E::NetworkUnreachable | E::NetworkDown | E::AddrNotAvailable => ("network unreachable".into(), true),
            E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe => ("the connection was reset".into(), true),
            E::UnexpectedEof if progress == Progress::NothingSent => {
                ("the connection was closed before it was established".into(), true)
            }
            E::UnexpectedEof => ("the connection was closed before the reply was complete".into(), false),
            E::TimedOut | E::WouldBlock => ("timed out".into(), true),
            _ => (escape(&error.to_string()).into(), false),
        };
        let kind = error.kind();
        let mut error = self.unreachable(why);
        match (&self.proxy, kind) {
            (Some(proxy), _) if progress == Progress::NothingSent => {
                error = error.hint(format!("check {}; NO_PROXY lists hosts that need no proxy", proxy.variable));
            }
            (None, E::ConnectionRefused) => error = error.hint("check the URL's host and port"),
            (None, E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown) => {
                error = error.hint("check this machine's network");
            }
            _ => {}
        }
        // TLS 1.3 refuses a client after the handshake, and the alert may be lost with the connection.
        if progress == Progress::Sent && may_pass && self.client_certificate.is_some() {
            error = error.hint(NOT_ACCEPTED);
        }
        let again = progress == Progress::NothingSent && may_pass;
        AttemptError { error, again, may_pass: may_pass || kind == E::UnexpectedEof }
    }

    fn proxy_failure(&self, status: u16) -> AttemptError {
        let variable = self.proxy.as_ref().map_or("https_proxy", |proxy| proxy.variable);
        let known = self.proxy.as_ref().is_some_and(|proxy| proxy.user.is_some());
        let error = match status {
            407 if known => self
                .unreachable("it refuses the user or password (407)")
                .hint(format!("check user and password in {variable}; special characters must be percent-encoded")),
            407 => self
                .unreachable("it requires a user and password (407)")
                .hint(format!("set {variable} to http://USER:PASSWORD@HOST:PORT")),
            _ => self
                .unreachable(format!("it refused the connection ({status})"))
                .hint(format!("check {variable}; NO_PROXY lists hosts that need no proxy")),
        };
        let may_pass = matches!(status, 502..=504);
        AttemptError { error, again: may_pass, may_pass }
    }

    /// Why TLS failed: with the server, or with the proxy.
    fn tls_failure(&self, error: &TlsError, peer: Peer) -> Error {
        const OPERATOR: &str = "the server's operator must replace it";
        let (whose, it) = match peer {
            Peer::Server => ("the certificate", "the server"),
            Peer::Proxy => ("the proxy's certificate", "the proxy"),
        };
        let unreachable = |why: &str| self.unreachable(format!("{whose} {why}"));
        match error {
            TlsError::InvalidCertificate(error) => match error {
                CertificateError::UnknownIssuer => unreachable("is not trusted: its issuer is unknown").hint(ISSUER),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    unreachable("has expired").hint(CLOCK)
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    unreachable("is not yet valid").hint(CLOCK)
                }
                CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                    unreachable("names no host (it has no subjectAltName)").hint(OPERATOR)
                }
                CertificateError::NotValidForName => unreachable("is not valid for this host name"),
                CertificateError::NotValidForNameContext { presented, .. } => {
                    // rustls gives them as `DnsName("host")`.
                    let names: Vec<&str> = presented.iter().map(|n| n.split('"').nth(1).unwrap_or(n)).collect();
                    unreachable(&format!("is not valid for this host name, only for {}", escape(&names.join(", "))))
                        .hint("check the URL's host")
                }
                CertificateError::Revoked => unreachable("was revoked").hint(OPERATOR),
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                    unreachable("is not a server certificate").hint(OPERATOR)
                }
                CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. }
                    if is_outdated(signature_algorithm_id) =>
                {
                    unreachable("is signed with SHA-1 or MD5, which is not secure").hint(OPERATOR)
                }
                CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                    unreachable("has an unsupported signature algorithm").hint(OPERATOR)
                }
                CertificateError::BadSignature => {
                    // For example after a private CA was recreated under the same name.
                    unreachable("is not trusted: its issuer has a trusted name, but another key").hint(ISSUER)
                }
                CertificateError::BadEncoding => unreachable("cannot be read").hint(OPERATOR),
                CertificateError::Other(OtherError(why)) => match why.downcast_ref::<ShortKey>() {
                    Some(ShortKey(bits)) => {
                        let why = format!("has an RSA key of {bits} bits; at least {SHORTEST_RSA} are needed");
                        unreachable(&why).hint(OPERATOR)
                    }
                    // webpki's name for it; its type is not public.
                    None if why.to_string() == "CaUsedAsEndEntity" => {
                        unreachable("is not trusted: it is a CA certificate")
                            .hint("to trust it anyway, set ca_file in the config, or SSL_CERT_FILE, to it")
                    }
                    None => unreachable("is malformed (RFC 5280)").hint(OPERATOR),
                },
                _ => unreachable("is not trusted").hint(ISSUER),
            },
            TlsError::AlertReceived(alert) if peer == Peer::Server => self.alert(*alert),
            TlsError::InvalidMessage(_) => {
                let hint = match peer {
                    Peer::Server => "check the URL's scheme and port",
                    Peer::Proxy => "check the proxy's scheme and port",
                };
                self.unreachable(format!("{it} does not speak TLS on this port")).hint(hint)
            }
            TlsError::PeerIncompatible(_) => self.unreachable(format!("{it} {OUTDATED}")).hint(UPDATE),
            TlsError::AlertReceived(alert) => {
                self.unreachable(format!("{it} ended TLS: {}", escape(&format!("{alert:?}"))))
            }
            _ => self
                .unreachable(format!("{it} violated the TLS protocol"))
                .hint("try again; if it persists, tell its operator"),
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
        match (alert, self.client_certificate.is_some()) {
            (A::CertificateRequired, false) => {
                refused("it requires a client certificate (mutual TLS)", "give a client certificate and its key")
            }
            (A::CertificateRequired, true) => not_this("it is not of a kind that the server asks for"),
            (A::UnknownCA, true) => not_this("the server does not trust its issuer"),
            (A::CertificateExpired, true) => not_this("it has expired or is not yet valid"),
            (A::CertificateRevoked, true) => not_this("it was revoked"),
            (A::UnsupportedCertificate, true) => not_this("the server does not support its type or purpose"),
            (A::BadCertificate | A::CertificateUnknown | A::AccessDenied | A::DecryptError, true) => {
                not_this(&escape(&format!("{alert:?}")))
            }
            (A::ProtocolVersion, _) => self.unreachable(format!("the server {OUTDATED}")).hint(UPDATE),
            (A::InsufficientSecurity, _) => self.unreachable(format!("the server {NO_CIPHER}")).hint(UPDATE),
            // OpenSSL's word where the two have no cipher in common; also where a client certificate is missing, before
            // TLS 1.3 introduced an alert for it.
            (A::HandshakeFailure, false) => self.unreachable(format!("the server {NO_CIPHER}")).hint(
                "its operator must enable cipher suites with ECDHE; or it may require a client certificate (mutual TLS)",
            ),
            _ => {
                let error = self.unreachable(format!("the server ended TLS: {}", escape(&format!("{alert:?}"))));
                match (alert, self.client_certificate.is_some()) {
                    // TLS 1.3 introduced an alert for this.
                    (A::BadCertificate, false) => error.hint("it may require a client certificate (mutual TLS)"),
                    (_, true) => error.hint(NOT_ACCEPTED),
                    _ => error,
                }
            }
        }
    }
}
