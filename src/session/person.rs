//! Interactive flows: a login in a browser, on another device, or by a push to a phone. Each sends another request
//! first and ends with a code for the token request.

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::base::text::{escape, escape_to, line};
use crate::base::url::Url;
use crate::host::Host;
use crate::oauth::callback::{self, Expected};
use crate::oauth::pkce;
use crate::oauth::poll::Poll;
use crate::oauth::reply::{self, value};
use crate::oauth::request::{self, Added, Repeat};
use crate::profile::Profile;
use crate::provider::{Call, Flow, Grant};
use crate::session::exchange::{self, Told};
use crate::session::inputs::Inputs;
use crate::session::open_store;
use crate::system::listener::{Listener, Loopback};
use crate::system::terminal::Line;
use crate::system::{browser, qr};
use anyhow::Result;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// How long a person has for a login in a browser, where nothing else is said.
const BROWSER: Duration = Duration::from_secs(300);

/// The longest address that is shown, in characters: half of one is of no use.
const LONGEST: usize = 4096;

/// How a person takes part in a login.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// Whether a browser may be opened here; else the URL is shown, and where it ended is pasted.
    pub browser: bool,
    /// `--timeout`: how long all of it may take, a person's time included.
    pub limit: Option<Duration>,
}

/// How a flow ended.
pub enum Begun {
    /// The token can be asked for.
    Ready,
    /// The token is asked for again and again, at this pace.
    Poll(Poll),
}

/// A running flow.
struct Run<'a> {
    profile: &'a Profile,
    grant: &'a Grant,
    /// The request that it begins with.
    begin: &'a Call,
    person: Person,
}

/// Runs the flow of `grant` up to the request for the token, whose values it adds to `inputs`.
///
/// # Errors
/// Each kind of the contract.
pub fn begin(host: &mut Host, profile: &Profile, grant: &Grant, inputs: &mut Inputs, person: Person) -> Result<Begun> {
    let Some(begin) = &grant.begin else { return Ok(Begun::Ready) };
    ask_for_consent(inputs);
    let run = Run { profile, grant, begin, person };
    match grant.flow {
        Flow::Direct | Flow::Signed => Ok(Begun::Ready),
        Flow::AuthorizationCode => in_browser(host, &run, inputs).map(|()| Begun::Ready),
        Flow::DeviceCode => device(host, &run, inputs).map(Begun::Poll),
        Flow::Ciba => ciba(host, &run, inputs).map(Begun::Poll),
    }
}

/// OpenID Connect Core §11: `offline_access` is ignored without `prompt=consent`.
fn ask_for_consent(inputs: &mut Inputs) {
    let scopes = inputs.get("scope").unwrap_or_default();
    let has = |name: &str| scopes.split(' ').any(|scope| scope == name);
    if has("openid") && has("offline_access") && inputs.get("prompt").is_none() {
        inputs.set("prompt", "consent");
    }
}

fn in_browser(host: &mut Host, run: &Run, inputs: &mut Inputs) -> Result<()> {
    let Run { profile, grant, person, .. } = *run;
    let value = |inputs: &Inputs, name: &str| inputs.get(name).map(|value| value.to_string());
    let loopback = match value(inputs, "redirect_host").as_deref() {
        Some("[::1]") => Loopback::V6,
        Some("localhost") => Loopback::Name,
        _ => Loopback::V4,
    };
    let elsewhere = value(inputs, "redirect_url");
    let wrong = |name: &str, why: &str| profile.unready(request::Unready::Wrong(name.into(), why.into()));
    if elsewhere.is_some() && person.browser {
        return Err(wrong("redirect_url", "is not an address that tok listens on")
            .hint("add --no-browser and paste the URL that the login ends at")
            .into());
    }
    let path = match &elsewhere {
        Some(url) => path_of(url),
        None => value(inputs, "redirect_path").unwrap_or_else(|| "/".into()),
    };
    if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
        return Err(wrong("redirect_path", "is not a path (it must begin with a slash)").into());
    }
    let port = match value(inputs, "redirect_port") {
        None => None,
        Some(text) => {
            let port = text.parse::<u16>().ok().filter(|port| *port != 0);
            Some(port.ok_or_else(|| wrong("redirect_port", "is not a port (a number up to 65535)"))?)
        }
    };
    // Nothing listens where the address is pasted: any port that is free now will do.
    let listener = match (person.browser, port.is_some() || elsewhere.is_some()) {
        (false, true) => None,
        _ => Some(Listener::bind(loopback, port)?),
    };
    let redirect_uri = match (&listener, elsewhere) {
        (_, Some(url)) => url,
        (Some(listener), None) => listener.redirect_uri(&path),
        (None, None) => format!("http://{}:{}{path}", loopback.host(), port.unwrap_or_default()),
    };
    let listener = listener.filter(|_| person.browser);

    let state = Secret::new(crate::base::digest::random(32));
    let verifier = pkce::verifier();
    let is_openid = value(inputs, "scope").is_some_and(|scope| scope.split(' ').any(|s| s == "openid"));
    for (name, text) in [
        ("redirect_uri", redirect_uri.as_str()),
        ("state", state.expose()),
        ("code_verifier", verifier.expose()),
        ("code_challenge", &pkce::challenge(&verifier)),
    ] {
        inputs.set(name, text);
    }
    if is_openid {
        inputs.set("nonce", &crate::base::digest::random(16));
    }
    let address = address(host, run, inputs)?;
    let required = profile.metadata.as_ref().and_then(|m| m.flag("authorization_response_iss_parameter_supported"));
    let expected = Expected {
        state,
        issuer: profile.issuer().or(value(inputs, "issuer")),
        issuer_required: required.unwrap_or(false),
        path,
    };

    let answer = match listener {
        Some(listener) => listen(host, run, &address, listener, &expected)?,
        None => {
            host.terminal.show(&format!("Log in here:\n\n  {}\n", line(&address)));
            host.terminal.show("Then paste the address that the browser ended at, though it shows an error:");
            let again = profile.login_again(grant);
            let nothing = "nothing was pasted";
            let pasted = match host.line(person.limit.map(|_| host.clock.deadline))? {
                Line::Read(text) => text,
                Line::Empty => {
                    return Err(Error::new(Kind::LoginNeeded, nothing, "the login did not complete")
                        .hint(again)
                        .into());
                }
                Line::Late => {
                    return Err(Error::new(Kind::Unavailable, nothing, "the time limit (--timeout) was reached")
                        .hint(again)
                        .into());
                }
            };
            callback::pasted(pasted.expose(), &expected)?
        }
    };
    let code = answer.code().map_err(|mut error| {
        error.hint.get_or_insert(profile.login_again(grant));
        error
    })?;
    inputs.set("code", code.expose());
    Ok(())
}

/// Opens the browser and waits for it to come back.
fn listen(
    host: &mut Host,
    run: &Run,
    address: &str,
    listener: Listener,
    expected: &Expected,
) -> Result<callback::Callback> {
    let Run { person, .. } = *run;
    let limit = person.limit.unwrap_or(BROWSER);
    let until = if person.limit.is_some() { host.clock.deadline } else { host.clock.instant() + limit };
    let elsewhere = |why: &str| format!("{why}; log in here:\n\n  {}\n", line(address));
    let opened = match browser::open(address, &host.env) {
        Ok(opened) => {
            host.terminal.tell(&format!("waiting for the login in your browser; if it does not open, go to {address}"));
            Some(opened)
        }
        Err(why) => {
            host.terminal.show(&elsewhere(&format!("no browser opened: {why}")));
            None
        }
    };
    let mut told = opened.is_none();
    let answer = listener.wait(until, expected, &mut || {
        if !told && opened.as_ref().is_some_and(browser::Opened::failed) {
            told = true;
            host.terminal.show(&elsewhere("the browser could not be opened"));
        }
    });
    Ok(answer.map_err(|late| {
        let what = format!("no login within {}", crate::base::duration::show(whole(limit)));
        let why = late.turned_away.map_or("the browser did not come back".to_string(), |foreign| {
            format!("the last request was rejected: {}", foreign.0)
        });
        Error::new(Kind::Unavailable, what, why).hint(
            "if the browser is on another machine, add --no-browser or use a device code; for more time: --timeout 10m",
        )
    })?)
}

/// The address that the browser is sent to; its parameters are pushed first where the server takes that (RFC 9126).
fn address(host: &mut Host, run: &Run, inputs: &Inputs) -> Result<String> {
    let Run { profile, grant, begin, .. } = *run;
    let provider = &profile.provider;
    let build = |call: &Call, inputs: &Inputs| -> Result<String> {
        // What stands in the address is sent to whoever answers there.
        let to = request::url(call, inputs.values()).ok().and_then(|url| open_store::origin(&url)).unwrap_or_default();
        exchange::check_homes(profile, call, inputs, &to)?;
        let made = request::build(provider, call, inputs.values(), Repeat::Freely, Added::default());
        Ok(made.map(|request| request.url.to_string()).map_err(|unready| profile.unready(unready))?)
    };
    let is_known = |push: &Call| push.url.names().all(|(name, _)| inputs.get(name).is_some());
    let Some(pushed) = grant.pushed().filter(is_known) else { return build(begin, inputs) };
    let reply = ask(host, run, &pushed, inputs)?;
    let Some(reference) = value::text(&reply, &["request_uri"]) else {
        return Err(lacks(profile, &pushed, inputs, &reply, "request_uri").into());
    };
    let short = Call {
        query: begin.query.iter().filter(|(n, _)| n == "client_id").cloned().collect(),
        more: None,
        ..begin.clone()
    };
    let address = build(&short, inputs)?;
    let mark = if address.contains('?') { '&' } else { '?' };
    Ok(format!("{address}{mark}request_uri={}", crate::base::url::encode(reference)))
}

fn device(host: &mut Host, run: &Run, inputs: &mut Inputs) -> Result<Poll> {
    let Run { profile, begin, .. } = *run;
    let reply = ask(host, run, begin, inputs)?;
    let text = |names: &[&str]| value::text(&reply, names);
    let need = |names: &[&str]| text(names).ok_or_else(|| lacks(profile, begin, inputs, &reply, names[0]));
    // Before RFC 8628 had its name it was `verification_url`; Google still says so.
    let page = need(&["verification_uri", "verification_url"])?.to_string();
    let user_code = need(&["user_code"])?.to_string();
    let device_code = need(&["device_code"])?.to_string();
    let whole = text(&["verification_uri_complete", "verification_url_complete"]);
    for address in [Some(page.as_str()), whole].into_iter().flatten() {
        Url::parse(address).map_err(|why| {
            Error::new(Kind::Reply, "the login page cannot be used", format!("{} {why}", escape(address)))
                .hint("check that this is the right server")
        })?;
    }
    if host.terminal.stderr_terminal
        && let Some(lines) = qr::lines(whole.unwrap_or(&page), crate::system::terminal::columns(), &host.env)
    {
        lines.iter().for_each(|line| host.terminal.show(line));
    }
    host.terminal.show(&format!(
        "To log in, open {} and enter the code {}",
        escape_to(&page, LONGEST),
        escape(&user_code)
    ));
    if let Some(whole) = whole {
        host.terminal.show(&format!("or open {}", escape_to(whole, LONGEST)));
    }
    let poll = pace(&reply, host.clock.instant());
    inputs.set("device_code", &device_code);
    Ok(poll)
}

fn ciba(host: &mut Host, run: &Run, inputs: &mut Inputs) -> Result<Poll> {
    let Run { profile, begin, .. } = *run;
    let reply = ask(host, run, begin, inputs)?;
    let Some(id) = value::text(&reply, &["auth_req_id"]) else {
        return Err(lacks(profile, begin, inputs, &reply, "auth_req_id").into());
    };
    inputs.set("auth_req_id", id);
    let who = inputs.get("login_hint").map(escape).unwrap_or_default();
    host.terminal.tell(&format!("approval request sent to the device of {who}; waiting for the answer"));
    Ok(pace(&reply, host.clock.instant()))
}

fn pace(reply: &Map<String, Value>, now: Instant) -> Poll {
    Poll::new(now, value::whole(reply, "interval"), value::whole(reply, "expires_in"))
}

/// Sends a request that a flow begins with.
fn ask(host: &mut Host, run: &Run, call: &Call, inputs: &Inputs) -> Result<Map<String, Value>> {
    let told = Told { name: &format!("the grant {}", run.grant.name), rules: &run.grant.response };
    exchange::ask_for_object(host, run.profile, &told, call, inputs)
}

fn lacks(profile: &Profile, call: &Call, inputs: &Inputs, reply: &Map<String, Value>, name: &str) -> Error {
    let to = request::url(call, inputs.values()).ok().and_then(|url| open_store::origin(&url)).unwrap_or_default();
    let what = format!("the reply from {to} cannot be read");
    Error::new(Kind::Reply, what, format!("no {name}{}", reply::instead(reply)))
        .hint(format!("check that {to} is the right server{}", profile.to_see()))
}

/// The path of a URL, `/` where it has none.
fn path_of(url: &str) -> String {
    let rest = Url::parse(url).map(|url| url.rest).unwrap_or_default();
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    if path.is_empty() { "/".into() } else { path.into() }
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
