//! Sends a request, and again if that is allowed: the way to the server, each attempt, and its
//! outcome.

use super::errors::AttemptError;
use super::errors::Progress;
use super::interim::Plain;
use super::proxy::Proxy;
use super::tls::Verifier;
use super::transport::{NoLookup, Ready, Seen, Slot};
use super::{Events, LONGEST_BODY, NetworkSettings, connect, identity, response, retry, seconds, trust, unbracketed};
use crate::base::error::{Error, Kind, Result};
use crate::base::text::escape;
use crate::base::time::Time;
use crate::base::url::{is_link_local, is_loopback};
use crate::oauth::request::{Request, Response};
use crate::provider::Method;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::sign::CertifiedKey;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::config::AutoHeaderValue;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ureq::unversioned::transport::Transport;
use zeroize::Zeroizing;

/// Sends requests. Nothing is read and nothing parsed before the first one, and no certificate before the first
/// that needs TLS.
pub(super) struct HttpClient<C> {
    settings: NetworkSettings,
    clock: C,
    /// Certificate verifiers, by what is trusted in addition to the settings': a `ca_file`, and certificates as PEM.
    verifiers: Mutex<BTreeMap<Trusted, Result<Arc<Verifier>>>>,
}

/// `ca_file` and `ca_pem` of a request.
type Trusted = (Option<PathBuf>, Option<String>);

/// Where a request goes and how, as shown in messages.
pub(super) struct Way {
    pub(super) uri: Uri,
    pub(super) https: bool,
    /// `https://host[:port]`, and nothing more: the path and query may hold secrets.
    pub(super) origin: String,
    pub(super) proxy: Option<Proxy>,
    /// From the call to the deadline; once the connection stands, for how long the reply is waited for.
    pub(super) whole: Duration,
    /// What judges certificates, where there is TLS on the way.
    pub(super) verifier: Option<Arc<Verifier>>,
    /// The client certificate.
    pub(super) client_certificate: Option<Arc<CertifiedKey>>,
    /// The `User-Agent` for a proxy.
    pub(super) user_agent: Option<String>,
}

/// How an attempt without a reply ended.
enum Ended {
    /// By itself.
    Failed(AttemptError),
    /// By the caller, when the connection stood.
    Stopped(Error),
}

impl From<AttemptError> for Ended {
    fn from(failure: AttemptError) -> Ended {
        Ended::Failed(failure)
    }
}

impl<C: Fn() -> Time> HttpClient<C> {
    /// A client that has read nothing yet.
    pub(super) fn new(settings: NetworkSettings, clock: C) -> HttpClient<C> {
        HttpClient { settings, clock, verifiers: Mutex::default() }
    }

    /// As [`super::Http`].
    pub(super) fn send(&self, request: &Request, deadline: Instant, events: &mut dyn Events) -> Result<Response> {
        let mut way = self.way(request, deadline)?;
        if way.https || way.proxy.as_ref().is_some_and(|p| p.scheme == "https") {
            way.verifier = Some(self.verifier(&(request.ca_file.clone(), request.ca_pem.clone()))?);
        }
        if let (Some(proxy), 2..) = (&way.proxy, self.settings.verbose) {
            events.note(&format!("proxy {} ({})", proxy.shown(), proxy.variable));
        }
        let method = request.method.name();
        // No path: it may hold a secret.
        let shown = escape(&format!("{method} {}", way.origin));
        let mut attempt = 1;
        loop {
            let result = match self.attempt(request, &mut way, deadline, events) {
                Ok(response) => Ok(response),
                Err(Ended::Failed(failure)) => Err(failure),
                Err(Ended::Stopped(error)) => return Err(error),
            };
            let (outcome, said) = match &result {
                Ok(response) => {
                    let asked = response.header("retry-after").and_then(|v| retry::retry_after(v, (self.clock)()));
                    (retry::Attempt::Status(response.status, asked), response.status.to_string())
                }
                Err(AttemptError { error, again: true, .. }) => (retry::Attempt::NothingSent, error.why.clone()),
                Err(AttemptError { error, again: false, .. }) => (retry::Attempt::Failed, error.why.clone()),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match retry::next(outcome, attempt, request.repeat, left, random_byte()) {
                Some(wait) => {
                    events.note(&format!("{shown}: {said}; again in {}", seconds(wait)));
                    std::thread::sleep(wait);
                    attempt += 1;
                }
                None => {
                    events.note(&format!("{shown}: {said}"));
                    return result.map_err(|failure| {
                        if failure.may_pass {
                            events.network_failed();
                        }
                        failure.error
                    });
                }
            }
        }
    }

    /// What judges certificates; read once for each of what is trusted besides.
    fn verifier(&self, trusted: &Trusted) -> Result<Arc<Verifier>> {
        let (ca_file, ca_pem) = trusted;
        let load = || trust::load(&self.settings, ca_file.as_deref(), ca_pem.as_deref()).map(Arc::new);
        match self.verifiers.lock() {
            Ok(mut known) => known.entry(trusted.clone()).or_insert_with(load).clone(),
            Err(_) => load(),
        }
    }

    fn way(&self, request: &Request, deadline: Instant) -> Result<Way> {
        // The URL itself is not shown: its query may hold secrets.
        let refuse = |why: &str| Error::new(Kind::Config, "the request cannot be sent", why);
        let uri: Uri = request.url.parse().map_err(|_| {
            refuse("its URL is not valid").hint("check the provider's url; host names must be ASCII (xn--…)")
        })?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(refuse("its URL has no scheme or no host"));
        };
        if authority.as_str().contains('@') {
            return Err(refuse("its URL contains a user or password"));
        }
        let origin = format!("{scheme}://{authority}");
        let host = unbracketed(authority.host());
        let https = scheme == "https";
        let link_local = scheme == "http" && request.link_local && is_link_local(host);
        let allowed = https || link_local || scheme == "http" && is_loopback(host);
        if host.is_empty() || !allowed {
            return Err(refuse(&format!("{origin} is neither https nor a loopback address")));
        }
        // A port beyond 65535 would silently be the scheme's own.
        if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none() {
            return Err(refuse(&format!("the port of {origin} is not a number up to 65535")));
        }
        if request.client_certificate.is_some() && !https {
            return Err(refuse(&format!("a client certificate requires https, and {origin} is http")));
        }
        let client_certificate = request.client_certificate.as_ref().map(identity::load).transpose()?;
        let agent = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("user-agent"));
        let user_agent = agent.map(|(_, value)| value.to_string());
        let proxy = if link_local { None } else { self.settings.proxies.proxy_for(scheme, host)? };
        let whole = deadline.saturating_duration_since(Instant::now());
        Ok(Way { https, origin, proxy, whole, uri, verifier: None, client_certificate, user_agent })
    }

    fn attempt(
        &self,
        request: &Request,
        way: &mut Way,
        deadline: Instant,
        events: &mut dyn Events,
    ) -> std::result::Result<Response, Ended> {
        let headers = headers(request).map_err(AttemptError::for_good)?;
        if deadline.saturating_duration_since(Instant::now()).is_zero() {
            return Err(AttemptError { error: way.timed_out(), again: false, may_pass: true }.into());
        }
        let seen = Arc::new(Seen::default());
        let connection =
            connect::connect(way, deadline, &seen, events).map_err(|trouble| way.not_connected(trouble))?;
        events.connected().map_err(Ended::Stopped)?;
        let reply_by = events.reply_by(deadline);
        if reply_by > deadline {
            seen.set_reply_by(reply_by);
            way.whole = reply_by.saturating_duration_since(Instant::now());
        }
        // The connection is closed when this goes, which is after `received`.
        let place: Slot = Arc::new(Mutex::new(Some(Plain::new(connection, seen.clone()).boxed())));
        let left = reply_by.saturating_duration_since(Instant::now());
        let reply =
            call(request, way, headers, left, place.clone()).map_err(|error| way.failure(error, Progress::Sent))?;
        let status = reply.status().as_u16();
        let body = match read_body(reply.into_body(), &seen) {
            Ok(body) => body,
            // Such a status is enough by itself. Half a body could say something else than the whole.
            Err(error) if status >= 500 || !(200..300).contains(&status) && !is_timeout(&error) => {
                Zeroizing::new(Vec::new())
            }
            Err(error) => return Err(way.failure(error, Progress::Sent).into()),
        };
        let Some(head) = seen.take_head() else {
            return Err(way.failure(ureq::Error::BodyStalled, Progress::Sent).into());
        };
        events.received(&head, &body);
        drop(place);
        response(&head, &body, (self.clock)()).map_err(|why| AttemptError::for_good(way.unreadable(why)).into())
    }
}

/// Sends the request over the connection in `place`, and reads the head of the reply.
fn call(
    request: &Request,
    way: &Way,
    headers: HeaderMap,
    left: Duration,
    place: Slot,
) -> std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(left))
        .user_agent(AutoHeaderValue::None)
        .accept(AutoHeaderValue::None)
        // An uncompressed body needs no extra room and no check of its end.
        .accept_encoding(AutoHeaderValue::Provided("identity".to_string().into()))
        .max_idle_connections(0)
        .build();
    let agent = Agent::with_parts(config, Ready(place), NoLookup);
    let body: Option<&[u8]> = request.body.as_ref().map(|body| body.as_slice());
    let uri = way.uri.clone();
    match (request.method, body) {
        (Method::Get, None) => with_headers(agent.get(uri), headers).call(),
        (Method::Get, Some(body)) => with_headers(agent.get(uri), headers).force_send_body().send(body),
        // Without a body they still say `Content-Length: 0` (RFC 9110 §8.6).
        (Method::Post, body) => with_headers(agent.post(uri), headers).send(body.unwrap_or_default()),
        // A body has no meaning there (RFC 9110 §9.3.5).
        (Method::Delete, _) => with_headers(agent.delete(uri), headers).call(),
        (Method::Put, body) => with_headers(agent.put(uri), headers).send(body.unwrap_or_default()),
    }
}

/// The request's header lines, as ureq wants them.
fn headers(request: &Request) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let pair = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_bytes(value.as_bytes()).ok());
        let Some((field, mut content)) = pair else {
            let why = format!("its header {} contains invalid characters", escape(name));
            return Err(Error::new(Kind::Config, "the request cannot be sent", why));
        };
        content.set_sensitive(true);
        headers.append(field, content);
    }
    Ok(headers)
}

fn with_headers<B>(mut builder: ureq::RequestBuilder<B>, headers: HeaderMap) -> ureq::RequestBuilder<B> {
    if let Some(own) = builder.headers_mut() {
        own.extend(headers);
    }
    builder
}

/// The body as it came: without chunks, still compressed.
fn read_body(body: ureq::Body, seen: &Seen) -> std::result::Result<Zeroizing<Vec<u8>>, ureq::Error> {
    // Allocated at once, so that growing leaves no unwiped copies behind.
    let limit = LONGEST_BODY as u64;
    let room = body.content_length().unwrap_or(16 << 10).min(limit);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
    body.into_with_config().limit(limit).reader().read_to_end(&mut bytes)?;
    // ureq takes a reset for the end of a body that goes on until the connection closes.
    match seen.reset() {
        true => Err(ureq::Error::Io(io::ErrorKind::ConnectionReset.into())),
        false => Ok(bytes),
    }
}

fn is_timeout(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Timeout(_))
}

/// A random byte for the jitter; where the system has none, the middle.
fn random_byte() -> u8 {
    let mut byte = [128];
    let _ = SystemRandom::new().fill(&mut byte);
    byte[0]
}
