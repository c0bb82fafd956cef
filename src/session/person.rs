//! Interactive flows: a login in a browser, on another device, or by a push to a phone. Each sends another request
//! first and ends with a code for the token request.

mod device;

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::base::text::{escape, escape_to};
use crate::host::Host;
use crate::oauth::callback::{self, Callback, ExpectedRedirect};
use crate::oauth::pkce;
use crate::oauth::poll::Poll;
use crate::oauth::reply::{self, value};
use crate::oauth::request::{self, Added, Repeat};
use crate::profile::Profile;
use crate::provider::{Call, Discover, Flow, Grant, State};
use crate::session::exchange::{self, Told};
use crate::session::found;
use crate::session::inputs::Inputs;
use crate::session::open_store;
use crate::session::redirect::{self, Redirect};
use crate::session::steps;
use crate::system::browser;
use crate::system::listener::{Listener, Watcher};
use crate::system::paste::{Paste, Pasted};
use anyhow::Result;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a person has for a login in a browser, where nothing else is said.
const BROWSER: Duration = Duration::from_secs(300);

/// The longest address that is shown, in characters: half of one is of no use, so this is as much as a browser takes.
const LONGEST: usize = 64 << 10;

/// How many different errors without a state are told, which any page in the browser can send.
const MOST_STATELESS: usize = 3;

/// How a person takes part in a login.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// Whether a browser may be opened here; else the URL is shown, and where it ended is pasted.
    pub browser: bool,
    /// `--timeout`: how long all of it may take, a person's time included.
    pub limit: Option<Duration>,
}

impl Person {
    /// For a login of `profile`: one that ends elsewhere than on this machine is pasted.
    pub fn of(profile: &Profile, browser: Browser, limit: Option<Duration>) -> Person {
        Person { browser: browser == Browser::Here && profile.value("redirect_url").is_none(), limit }
    }
}

/// Whether there is a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// On this machine.
    Here,
    /// On another, or none.
    Elsewhere,
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

/// Runs the flow of `grant` up to the request for the token, whose values it adds to `inputs`. `redirect`: where a login
/// in a browser ends, if that is settled already.
///
/// # Errors
/// Each kind of the contract.
pub fn begin(
    host: &mut Host,
    profile: &Profile,
    grant: &Grant,
    inputs: &mut Inputs,
    (person, redirect): (Person, Option<Redirect>),
) -> Result<Begun> {
    let Some(begin) = &grant.begin else { return Ok(Begun::Ready) };
    if !profile.is_off("prompt") {
        ask_for_consent(profile, inputs);
    }
    steps::before(host, profile, grant, inputs)?;
    let run = Run { profile, grant, begin, person };
    match grant.flow {
        Flow::Direct | Flow::Signed => Ok(Begun::Ready),
        Flow::AuthorizationCode => in_browser(host, &run, inputs, redirect).map(|()| Begun::Ready),
        Flow::DeviceCode => device::begin(host, &run, inputs).map(Begun::Poll),
        Flow::Ciba => ciba(host, &run, inputs).map(Begun::Poll),
    }
}

/// OpenID Connect Core §11: `offline_access` is ignored without `prompt=consent`. An API that is logged in to by its
/// address asks for it where the server knows it, with or without `openid`.
fn ask_for_consent(profile: &Profile, inputs: &mut Inputs) {
    let scopes = inputs.get("scope").unwrap_or_default();
    let has = |name: &str| scopes.split(' ').any(|scope| scope == name);
    let is_openid = has("openid") || profile.provider.discover == Discover::Resource;
    if is_openid && has("offline_access") && inputs.get("prompt").is_none() {
        inputs.set("prompt", "consent");
    }
}

fn in_browser(host: &mut Host, run: &Run, inputs: &mut Inputs, redirect: Option<Redirect>) -> Result<()> {
    let Run { profile, grant, person, .. } = *run;
    let value = |inputs: &Inputs, name: &str| inputs.get(name).map(|value| value.to_string());
    let Redirect { uri: redirect_uri, path, listener } = match redirect {
        Some(ready) => ready,
        None => {
            // The server gives back no state: the path is what nobody else can know.
            let with_nonce = |name: &str| match (name, value(inputs, name)) {
                ("redirect_path", path) => {
                    let path = path.unwrap_or_else(|| "/".into());
                    Some(format!("{}/{}", path.trim_end_matches('/'), crate::base::digest::random(16)))
                }
                (_, value) => value,
            };
            match grant.redirect.state {
                State::Path => redirect::redirect(profile, &with_nonce, person)?,
                State::Required | State::Lost => redirect::redirect(profile, &|name| value(inputs, name), person)?,
            }
        }
    };

    let state = Secret::new(crate::base::digest::random(32));
    let verifier = pkce::verifier();
    let is_openid = value(inputs, "scope").is_some_and(|scope| scope.split(' ').any(|s| s == "openid"));
    for (name, text) in [("redirect_uri", redirect_uri.as_str()), ("state", state.expose())] {
        inputs.set(name, text);
    }
    if let Some(challenge) = pkce::challenge(&verifier, run.grant.pkce) {
        inputs.set("code_verifier", verifier.expose());
        inputs.set("code_challenge", &challenge);
    }
    if is_openid {
        inputs.set("nonce", &crate::base::digest::random(16));
    }
    let address = address(host, run, inputs).map_err(|error| name_redirect(error, inputs))?;
    let required = profile.metadata.as_ref().and_then(|m| m.flag("authorization_response_iss_parameter_supported"));
    let expected = ExpectedRedirect {
        state,
        issuer: profile.issuer().or(value(inputs, "issuer")),
        issuer_required: required.unwrap_or(false),
        path,
        rules: grant.redirect.clone(),
    };
    if grant.redirect.state == State::Lost {
        host.terminal
            .warn("this provider does not say which login it answers: log in only where this command leads you");
    }

    let answer = match listener {
        Some(listener) => listen(host, run, &address, listener, &expected)?,
        None => take_pasted(host, run, &address, &redirect_uri, &expected)?,
    };
    let (code, beside) = answer.code().map_err(|error| name_redirect(error.into(), inputs))?;
    inputs.set("code", code.expose());
    Ok(found::beside(profile, grant, &beside, inputs)?)
}

/// `error`, with the redirect URI of this login where it speaks of one: it is that one which has to be registered.
pub fn name_redirect(error: anyhow::Error, inputs: &Inputs) -> anyhow::Error {
    let text = format!("{error:#}").to_lowercase();
    let speaks = ["redirect_uri", "redirect uri", "redirect url", "redirecturi", "callback url"];
    let Some(uri) = inputs.get("redirect_uri").filter(|_| speaks.iter().any(|word| text.contains(word))) else {
        return error;
    };
    match error.downcast::<Error>() {
        Ok(error) => {
            error.hint(format!("register this redirect URI with the provider, exactly as it stands here: {uri}")).into()
        }
        Err(error) => error,
    }
}

/// `address` on lines of its own, whole, to be copied.
fn shown(address: &str) -> String {
    format!("\n  {}\n", escape_to(address, LONGEST))
}

/// Shows the address, and takes the one where the login ended.
fn take_pasted(
    host: &mut Host,
    run: &Run,
    address: &str,
    redirect_uri: &str,
    expected: &ExpectedRedirect,
) -> Result<Callback> {
    let Run { person, .. } = *run;
    host.terminal.show(&format!("Log in here:\n{}", shown(address)));
    let mut pasting = Pasting::begin();
    let ask = format!(
        "Then paste the address that the login ended at, even if the page shows an error: it begins with {}",
        escape_to(redirect_uri, LONGEST)
    );
    let nothing = |kind, why: &str| Err(Error::new(kind, "nothing was pasted", why).into());
    host.terminal.prompt(&ask);
    let start = Instant::now();
    loop {
        let taken = pasting.take(expected);
        if taken.is_some() && host.terminal.interactive {
            host.terminal.answered();
        }
        match taken {
            Some(Taken::Answer(callback)) => {
                if person.limit.is_none() {
                    host.clock.excuse(start);
                }
                return Ok(callback);
            }
            Some(Taken::End) => return nothing(Kind::LoginNeeded, "the login has not ended"),
            Some(Taken::Empty) if !host.terminal.interactive => {
                return nothing(Kind::LoginNeeded, "the login has not ended");
            }
            Some(Taken::Wrong(error)) if !host.terminal.interactive => return Err(error.into()),
            Some(Taken::Empty) => host.terminal.prompt("paste the address"),
            Some(Taken::Wrong(error)) => ask_again(host, &error),
            None => {
                let now = host.clock.instant();
                let left = person.limit.map(|_| host.clock.deadline.saturating_duration_since(now));
                if left.is_some_and(|left| left.is_zero()) {
                    return nothing(Kind::Unavailable, "--timeout is over");
                }
                pasting.0.wait(left.unwrap_or(PATIENCE).min(PATIENCE));
            }
        }
    }
}

/// How long is slept where nothing comes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says what is wrong with what was pasted, without repeating it.
fn ask_again(host: &mut Host, error: &Error) {
    host.terminal.show(&format!("{}: {}", error.what, error.why));
    host.terminal.prompt("paste the whole address, as it is after the login");
}

/// What was pasted, and what came before it that was no answer: a paste may come in several lines.
struct Pasting(Paste, Zeroizing<String>);

/// What came of a paste.
enum Taken {
    Answer(Callback),
    Wrong(Error),
    Empty,
    End,
}

impl Pasting {
    fn begin() -> Pasting {
        Pasting(Paste::begin(), Zeroizing::default())
    }

    fn take(&mut self, expected: &ExpectedRedirect) -> Option<Taken> {
        let line = match self.0.take()? {
            Pasted::End => return Some(Taken::End),
            Pasted::Line(line) if line.expose().is_empty() => return Some(Taken::Empty),
            Pasted::Line(line) => line,
        };
        let wrong = match callback::pasted(line.expose(), expected) {
            Ok(callback) => return Some(Taken::Answer(callback)),
            Err(error) => error,
        };
        // Something else may have come right behind it, or the address in pieces.
        let mut end = line.expose().len();
        while let Some(at) = line.expose()[..end].rfind('\n') {
            end = at;
            if let Ok(callback) = callback::pasted(&line.expose()[..end], expected) {
                return Some(Taken::Answer(callback));
            }
        }
        if self.1.len() > LONGEST {
            self.1 = Zeroizing::default();
        }
        self.1 = Zeroizing::new(format!("{}{}", *self.1, line.expose()));
        Some(callback::pasted(&self.1, expected).map_or(Taken::Wrong(wrong), Taken::Answer))
    }
}

/// A wait for the browser to come back, or for a person who pastes where it ended.
struct Waiting<'a> {
    host: &'a mut Host,
    opened: Option<browser::Launch>,
    pasting: Option<Pasting>,
    expected: &'a ExpectedRedirect,
    /// The errors without a state that were told.
    told: Vec<String>,
}

impl Waiting<'_> {
    /// Says something while a question is open.
    fn say(&mut self, text: &str) {
        self.host.terminal.show(text);
        if self.pasting.is_some() {
            self.host.terminal.prompt("paste the address, or log in");
        }
    }
}

impl Watcher for Waiting<'_> {
    fn tick(&mut self) -> Option<Callback> {
        if self.opened.take_if(|opened| opened.failed()).is_some() {
            self.say("the browser could not be opened");
        }
        let taken = self.pasting.as_mut()?.take(self.expected)?;
        self.host.terminal.answered();
        match taken {
            Taken::Answer(callback) => return Some(callback),
            Taken::Wrong(error) => ask_again(self.host, &error),
            Taken::Empty => self.host.terminal.prompt("paste the address, or log in"),
            Taken::End => self.pasting = None,
        }
        None
    }

    fn watches_stdin(&self) -> bool {
        self.pasting.as_ref().is_some_and(|pasting| pasting.0.listens())
    }

    fn stateless_error(&mut self, error: &str) {
        let error = escape(error);
        if self.told.len() < MOST_STATELESS && !self.told.contains(&error) {
            self.say(&format!(
                "the browser came back with an error that may be of this login, as it lacks the state: {error}; still waiting"
            ));
            self.told.push(error);
        }
    }
}

/// Opens the browser and waits for it to come back.
fn listen(
    host: &mut Host,
    run: &Run,
    address: &str,
    mut listener: Listener,
    expected: &ExpectedRedirect,
) -> Result<Callback> {
    let Run { person, .. } = *run;
    let limit = person.limit.unwrap_or(BROWSER);
    let until = if person.limit.is_some() { host.clock.deadline } else { host.clock.instant() + limit };
    let redirect_uri = listener.redirect_uri(&expected.path);
    // Other users can read the arguments of a program: the browser gets an address that leads to this one, once.
    let opened = browser::safe(address).and_then(|_| browser::open(&listener.link_to(address), &host.env));
    let begin = match &opened {
        Ok(_) => "waiting for the login in your browser; if none opens, log in here:".to_string(),
        Err(why) => format!("no browser was opened: {why}; log in here:"),
    };
    host.terminal.show(&format!("{begin}\n{}", shown(address)));
    let elsewhere = format!("The login ends at {redirect_uri}. Is your browser on another machine?");
    let pasting = match host.terminal.interactive {
        true => {
            let pasting = Pasting::begin();
            host.terminal.prompt(&format!(
                "{elsewhere} Then paste the address that it ended at, even if the page shows an error"
            ));
            Some(pasting)
        }
        false => {
            host.terminal.show(&format!("{elsewhere} Then run the same command with --no-browser."));
            None
        }
    };
    let mut waiting = Waiting { host, opened: opened.ok(), pasting, expected, told: Vec::new() };
    let answer = listener.wait(until, expected, &mut waiting);
    Ok(answer.map_err(|late| {
        let what = format!("no login within {}", crate::base::duration::show(whole(limit)));
        let why = late.turned_away.map_or("the browser did not come back".to_string(), |foreign| {
            format!("the last request was rejected: {}", foreign.0)
        });
        Error::new(Kind::Unavailable, what, why).hint(format!(
            "is the browser on another machine? Add --no-browser, or use a device code; more time: --timeout 10m; did \
             the provider refuse the redirect URI? Register {redirect_uri} there"
        ))
    })?)
}

/// The address that the browser is sent to; its parameters are pushed first where the server takes that (RFC 9126).
fn address(host: &mut Host, run: &Run, inputs: &Inputs) -> Result<String> {
    let Run { profile, grant, begin, .. } = *run;
    let provider = &profile.provider;
    let build = |call: &Call, inputs: &Inputs| -> Result<String> {
        // What stands in the address is sent to whoever answers there.
        let to = request::url(&profile.provider, call, inputs.values())
            .ok()
            .and_then(|url| open_store::origin(&url))
            .unwrap_or_default();
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
    let to = request::url(&profile.provider, call, inputs.values())
        .ok()
        .and_then(|url| open_store::origin(&url))
        .unwrap_or_default();
    let what = format!("the reply from {to} cannot be read");
    Error::new(Kind::Reply, what, format!("no {name}{}", reply::instead(reply)))
        .hint(format!("check that {to} is the right server{}", profile.to_see()))
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
