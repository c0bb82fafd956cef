//! Establishes a connection: address, TCP, proxy, TLS. Until then certainly nothing of the request was
//! sent.

use super::client::Way;
use super::errors::{ConnectError, Peer};
use super::head;
use super::proxy::Proxy;
use super::tls::{Tls, client_config};
use super::transport::{Seen, Tcp, UreqResult, Watched};
use super::{CONNECT, Events, bracketed, happy_eyeballs, resolve, unbracketed};
use crate::base::error::{Error, Kind};
use base64::Engine;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error as TlsError};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use ureq::http::Uri;
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, NextTimeout, SocksConnector, Transport, TransportAdapter, time,
};
use ureq::{Agent, ProxyProtocol, Timeout};
use zeroize::Zeroizing;

/// A deadline, and the error if it passes.
#[derive(Clone, Copy)]
struct Limit {
    until: Instant,
    reason: Timeout,
}

impl Limit {
    /// [`CONNECT`] from now, or what is left of the call if that is less.
    fn new(deadline: Instant, reason: Timeout) -> Limit {
        match Instant::now().checked_add(CONNECT) {
            Some(until) if until < deadline => Limit { until, reason },
            _ => Limit { until: deadline, reason: Timeout::Global },
        }
    }

    fn timeout(&self) -> NextTimeout {
        let after = self.until.saturating_duration_since(Instant::now());
        NextTimeout { after: after.into(), reason: self.reason, ..NextTimeout::default() }
    }
}

/// A connection to the server of `way`, on which the next byte is the request's first.
pub(super) fn connect(
    way: &Way,
    deadline: Instant,
    seen: &Arc<Seen>,
    events: &mut dyn Events,
) -> Result<Box<dyn Transport>, ConnectError> {
    let (host, port) = host_and_port(&way.uri)?;
    let mut transport = match &way.proxy {
        None => {
            let (transport, address) = tcp(host, port, deadline, seen, &|address| events.allows(address))?;
            address.into_iter().for_each(|address| events.reached(address));
            transport.boxed()
        }
        Some(proxy) if proxy.scheme.starts_with("socks") => socks(way, proxy, deadline, seen, events)?.boxed(),
        Some(proxy) => {
            let (transport, _) = tcp(&proxy.host, proxy.port, deadline, seen, &|_| true)?;
            let mut transport = transport.boxed();
            let limit = Limit::new(deadline, Timeout::Connect);
            if proxy.scheme == "https" {
                let of_tls = |error| ConnectError::Tls { error, peer: Peer::Proxy };
                let config = tls_config(way, None).map_err(of_tls)?;
                transport = shake_hands(transport, &proxy.host, config, limit, &of_tls)?;
            }
            tunnel(transport, way, proxy, limit)?.boxed()
        }
    };
    if way.https {
        let limit = Limit::new(deadline, Timeout::Connect);
        let of_tls = |error| ConnectError::Tls { error, peer: Peer::Server };
        let config = tls_config(way, way.client_certificate.clone()).map_err(of_tls)?;
        transport = shake_hands(transport, host, config, limit, &of_tls)?;
    }
    Ok(transport)
}

fn host_and_port(uri: &Uri) -> Result<(&str, u16), ConnectError> {
    let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    Ok((unbracketed(host), port))
}

/// A connection to `host` at one of its addresses that `allows` does not refuse, and that address.
fn tcp(
    host: &str,
    port: u16,
    deadline: Instant,
    seen: &Arc<Seen>,
    allows: &dyn Fn(IpAddr) -> bool,
) -> Result<(Watched<Tcp>, Option<IpAddr>), ConnectError> {
    let limit = Limit::new(deadline, Timeout::Resolve);
    let addresses = allowed(resolve::lookup(host, port, limit.timeout())?, allows)?;
    let limit = Limit::new(deadline, Timeout::Connect);
    let stream = happy_eyeballs::connect(&addresses, limit.until).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => ureq::Error::Timeout(limit.reason),
        _ => ureq::Error::Io(error),
    })?;
    stream.set_nodelay(true).map_err(ureq::Error::Io)?;
    // Unknown where the server has reset the connection by now.
    let address = stream.peer_addr().map(|address| address.ip()).ok();
    Ok((Watched { socket: Tcp::new(stream), deadline, seen: seen.clone() }, address))
}

/// Those of `addresses` that may be connected to, at least one.
fn allowed(mut addresses: Vec<SocketAddr>, allows: &dyn Fn(IpAddr) -> bool) -> Result<Vec<SocketAddr>, ConnectError> {
    addresses.retain(|address| allows(address.ip()));
    match addresses.is_empty() {
        true => Err(ConnectError::NotAllowed),
        false => Ok(addresses),
    }
}

fn tls_config(way: &Way, certificate: Option<Arc<CertifiedKey>>) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = way.verifier.clone().ok_or_else(|| TlsError::General("no certificates".into()))?;
    client_config(verifier, certificate)
}

fn shake_hands(
    transport: Box<dyn Transport>,
    host: &str,
    config: Arc<ClientConfig>,
    limit: Limit,
    of_tls: &dyn Fn(TlsError) -> ConnectError,
) -> Result<Box<dyn Transport>, ConnectError> {
    match Tls::connect(config, host, transport, limit.timeout()) {
        Ok(tls) => Ok(tls.boxed()),
        Err(error) => Err(match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            Some(error) => of_tls(error.clone()),
            None => ConnectError::Ureq(error.into()),
        }),
    }
}

// Proxies

/// Has the proxy open a tunnel to the server of `way` (RFC 9110 §9.3.6).
fn tunnel(mut transport: Box<dyn Transport>, way: &Way, proxy: &Proxy, limit: Limit) -> Result<Tunnel, ConnectError> {
    let (host, port) = host_and_port(&way.uri)?;
    let target = format!("{}:{port}", bracketed(host));
    let mut text = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(agent) = &way.user_agent {
        // The proxy gets the same name as the server.
        text.push_str(&format!("User-Agent: {agent}\r\n"));
    }
    text.push_str("Proxy-Connection: Keep-Alive\r\n");
    if proxy.user.is_some() || proxy.password.is_some() {
        let password = proxy.password.as_ref().map_or("", |password| password.as_str());
        let both = Zeroizing::new(format!("{}:{password}", proxy.user.as_deref().unwrap_or_default()));
        let basic = Zeroizing::new(base64::prelude::BASE64_STANDARD.encode(both.as_bytes()));
        text.push_str(&format!("Proxy-Authorization: Basic {}\r\n", *basic));
    }
    text.push_str("\r\n");
    let mut adapter = TransportAdapter::new(transport, Arc::new(time::Instant::now));
    adapter.set_timeout(limit.timeout());
    adapter.write_all(text.as_bytes()).map_err(ureq::Error::from)?;
    transport = adapter.into_inner();
    loop {
        let found = head::split(transport.buffers().input()).map_err(|_| ConnectError::NotAProxy)?;
        let Some((head, used)) = found else {
            if !transport.await_input(limit.timeout())? {
                return Err(ConnectError::ProxyClosed);
            }
            continue;
        };
        transport.buffers().input_consume(used);
        match head.status {
            100 | 102..200 => {}
            // A length in such a reply is ignored (RFC 9110 §9.3.6).
            200..300 => return Ok(Tunnel(transport)),
            status => return Err(ConnectError::ProxyAnswered(status)),
        }
    }
}

/// A tunnel: TLS to the proxy is not TLS to the server.
#[derive(Debug)]
struct Tunnel(Box<dyn Transport>);

impl Transport for Tunnel {
    fn buffers(&mut self) -> &mut dyn ureq::unversioned::transport::Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> UreqResult<()> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> UreqResult<bool> {
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }
}

/// ureq's own connector for SOCKS, whose handshake cannot be had without its connecting: one address of the proxy after
/// the other, and no happy eyeballs.
fn socks(
    way: &Way,
    proxy: &Proxy,
    deadline: Instant,
    seen: &Arc<Seen>,
    events: &dyn Events,
) -> Result<impl Transport + use<>, ConnectError> {
    let (host, port) = host_and_port(&way.uri)?;
    let mut addrs = resolve::System.empty();
    if proxy.takes_addresses() {
        let limit = Limit::new(deadline, Timeout::Resolve);
        let mut found = allowed(resolve::lookup(host, port, limit.timeout())?, &|address| events.allows(address))?;
        // SOCKS4 has no IPv6.
        found.retain(|address| proxy.scheme != "socks4" || address.is_ipv4());
        // The first one is handed to the proxy.
        addrs.push(*found.first().ok_or(ureq::Error::HostNotFound)?);
    }
    let config = Agent::config_builder().proxy(Some(for_ureq(proxy)?)).build();
    let limit = Limit::new(deadline, Timeout::Connect);
    let details = ConnectionDetails {
        uri: &way.uri,
        addrs,
        config: &config,
        request_level: false,
        resolver: &resolve::System,
        now: time::Instant::now(),
        timeout: limit.timeout(),
        current_time: Arc::new(time::Instant::now),
        run_connector: Arc::new(|_| Err(ureq::Error::ConnectionFailed)),
        register_shutdown: Arc::new(|_| Ok(())),
    };
    let transport = SocksConnector::default().connect(&details, None::<()>)?;
    let socket = transport.ok_or(ureq::Error::ConnectionFailed)?;
    Ok(Watched { socket, deadline, seen: seen.clone() })
}

fn for_ureq(proxy: &Proxy) -> Result<ureq::Proxy, ConnectError> {
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
    Ok(builder.build()?)
}

/// The error if the system cannot start a thread for a lookup.
pub(super) fn no_threads() -> Error {
    Error::new(Kind::Other, "the request cannot be sent", "the limit on threads or processes is reached")
        .hint("stop some processes, or raise the limit (ulimit -u)")
}
