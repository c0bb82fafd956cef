//! A request is sent with what proves the client, and its reply read: a token, an object, or why not.

use crate::base::error::{self, Error, Kind};
use crate::base::redact::Redactor;
use crate::base::text::escape;
use crate::host::Host;
use crate::oauth::client_auth;
use crate::oauth::dpop;
use crate::oauth::metadata;
use crate::oauth::poll::PollReply;
use crate::oauth::reply::{self, Issued, Note};
use crate::oauth::request::{self, Repeat, Response, Values};
use crate::profile::{Profile, Source, discovery};
use crate::provider::{Auth, Call, Device, Discover, Kept, Rules, Test};
use crate::session::inputs::{Inputs, moment, not_ready};
use crate::session::open_store::origin;
use crate::system::http::Events;
use anyhow::Result;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// The outcome of a request to the provider.
pub enum Outcome {
    /// A token.
    Issued(Issued),
    /// The provider refused, in a way that its `dead` names.
    Dead(Error),
    /// Any other error, with the provider's code for it if it gave one.
    Failed(Error, Option<String>),
}

/// How a request is made and its reply read.
pub struct Asking<'a> {
    /// The grant's name, for messages.
    pub name: &'a str,
    /// The request.
    pub call: &'a Call,
    /// How to read the reply.
    pub rules: &'a Rules,
    /// Which refusals mean a dead refresh token.
    pub dead: &'a [Test],
    /// How the answers to the polls of a login on another device are read.
    pub device: Option<&'a Device>,
}

/// Sends a request and reads the reply. What there is to say waits until [`crate::system::terminal::Terminal::release_messages`].
///
/// # Errors
/// What keeps the request from being sent; what comes after it is an [`Outcome`].
pub fn ask(host: &mut Host, profile: &Profile, asking: &Asking, inputs: &Inputs) -> Result<Outcome> {
    ask_and_tell(host, profile, asking, inputs, &mut ())
}

/// [`ask`], with `events` for the request.
///
/// # Errors
/// As [`ask`].
pub fn ask_and_tell(
    host: &mut Host,
    profile: &Profile,
    asking: &Asking,
    inputs: &Inputs,
    events: &mut dyn Events,
) -> Result<Outcome> {
    host.terminal.detail(&format!("{}: running the grant {}", profile.name, asking.name));
    host.terminal.hold_messages();
    let (response, sent) = match send(host, profile, asking.call, inputs, events)? {
        Ok(answered) => answered,
        Err(error) => return Ok(Outcome::Failed(error, None)),
    };
    Ok(match reply::read(asking.rules, asking.dead, &response) {
        Ok(issued) => {
            if let Some(missing) = narrowed(profile, inputs, &issued) {
                host.terminal.warn(&format!("{}: {missing}", profile.name));
            }
            for note in &issued.notes {
                match note {
                    Note::Warning(text) => host.terminal.warn(&format!("{}: {text}", profile.name)),
                    Note::Detail(text) => host.terminal.detail(&format!("{}: {text}", profile.name)),
                }
            }
            Outcome::Issued(issued)
        }
        Err(mut failure) => {
            if let Some(answer) = asking.device.and_then(|device| reply::polled(device, &response)) {
                failure.code = answer.code().map(str::to_string);
            }
            let error = failed(profile, &format!("the grant {}", asking.name), asking.call, &failure, &sent);
            if failure.dead { Outcome::Dead(error) } else { Outcome::Failed(error, failure.code) }
        }
    })
}

/// What of the scopes that were asked for or are configured the reply does not grant, in words.
fn narrowed(profile: &Profile, inputs: &Inputs, issued: &Issued) -> Option<String> {
    // A refresh leaves the scope out, and is to bring what is configured.
    let configured = || profile.known_values().ok().and_then(|values| values.get("scope").cloned());
    let asked = inputs.get("scope").map(|scope| Zeroizing::new(scope.to_string())).or_else(configured)?;
    let separator = profile.param("scope").map_or(" ", |param| param.separator.as_str());
    let asked: Vec<&str> = asked.split(separator).collect();
    let missing = reply::narrowed(&asked, issued.scope.as_deref());
    let names: Vec<String> = missing.iter().map(|name| escape(name)).collect();
    (!names.is_empty()).then(|| format!("the token was granted without the scope {}", names.join(" ")))
}

/// How the reply to a request for something other than a token is read.
pub struct Told<'a> {
    /// What is asked for, as `the grant device-code`.
    pub name: &'a str,
    /// How its errors are read.
    pub rules: &'a Rules,
}

/// [`ask_for_object`] for a reply that is shown: what it quotes of the request is taken out.
///
/// # Errors
/// As [`ask_for_object`].
pub fn ask_to_show(
    host: &mut Host,
    profile: &Profile,
    told: &Told,
    call: &Call,
    inputs: &Inputs,
) -> Result<Map<String, Value>> {
    let (object, sent) = object(host, profile, told, call, inputs)?;
    let words = secrets(profile, &sent);
    let hidden = object.into_iter().map(|(name, mut value)| {
        words.hide_in(&mut value);
        (words.hide(&name), value)
    });
    Ok(hidden.collect())
}

/// Sends a request whose reply is a JSON object and no token.
///
/// # Errors
/// What keeps it from being sent, a refusal, a reply that is none.
pub fn ask_for_object(
    host: &mut Host,
    profile: &Profile,
    told: &Told,
    call: &Call,
    inputs: &Inputs,
) -> Result<Map<String, Value>> {
    object(host, profile, told, call, inputs).map(|(object, _)| object)
}

/// A reply that is no token.
pub struct Answer {
    /// Its body.
    pub value: Value,
    /// All of it.
    pub response: Response,
    /// The origin that it came from.
    pub from: String,
}

/// Sends the request that a login on another device begins with: its reply is a JSON object.
///
/// # Errors
/// As [`ask_for_object`].
pub fn ask_for_reply(host: &mut Host, profile: &Profile, told: &Told, call: &Call, inputs: &Inputs) -> Result<Answer> {
    let (response, sent) = send(host, profile, call, inputs, &mut ())??;
    match reply::object(told.rules, &response) {
        Ok(object) => Ok(Answer { value: Value::Object(object), response, from: sent.to }),
        Err(failure) => Err(failed(profile, told.name, call, &failure, &sent).into()),
    }
}

/// Sends a step on the way to a token, whose reply has what is to `keep`.
///
/// # Errors
/// What keeps the request from being sent; a refusal or a reply that cannot be read is the inner error, with the
/// provider's code for it, as [`Outcome::Failed`] has it.
pub fn ask_step(
    host: &mut Host,
    profile: &Profile,
    asking: &Asking,
    keep: &[Kept],
    inputs: &Inputs,
) -> Result<std::result::Result<Answer, (Error, Option<String>)>> {
    let (response, sent) = match send(host, profile, asking.call, inputs, &mut ())? {
        Ok(answered) => answered,
        Err(error) => return Ok(Err((error, None))),
    };
    let answer = asking.device.and_then(|device| reply::polled(device, &response));
    let code = |code: Option<String>| answer.and_then(PollReply::code).map(str::to_string).or(code);
    match reply::step(asking.rules, keep, &response) {
        // An answer to a poll may be a success of another kind.
        Ok(value) if answer.is_none() => Ok(Ok(Answer { value, response, from: sent.to })),
        Ok(_) => Ok(Err((Error::new(Kind::Refused, "not decided yet", ""), code(None)))),
        Err(failure) => {
            let error = failed(profile, &format!("the grant {}", asking.name), asking.call, &failure, &sent);
            Ok(Err((error, code(failure.code))))
        }
    }
}

fn object<'f>(
    host: &mut Host,
    profile: &Profile,
    told: &Told,
    call: &Call,
    inputs: &'f Inputs,
) -> Result<(Map<String, Value>, Sent<'f>)> {
    let (response, sent) = send(host, profile, call, inputs, &mut ())??;
    match reply::object(told.rules, &response) {
        Ok(object) => Ok((object, sent)),
        Err(failure) => Err(failed(profile, told.name, call, &failure, &sent).into()),
    }
}

/// Whether the way of authentication may be the reason of a refusal, and was chosen here (RFC 6749 §5.2): its hint then
/// says what else to try.
pub fn knows_more(call: &Call, code: Option<&str>) -> bool {
    code == Some("invalid_client") && call.auth == Auth::Auto
}

/// The error for a refusal or an unreadable reply.
fn failed(profile: &Profile, name: &str, call: &Call, failure: &reply::Failure, sent: &Sent) -> Error {
    let to = &sent.to;
    let what = match failure.kind {
        Kind::Refused => format!("{to} refused {name}"),
        Kind::Unavailable => format!("{to} is unavailable"),
        _ => format!("the reply from {to} cannot be read"),
    };
    let is_client = failure.code.as_deref() == Some("invalid_client");
    let signed = sent.auth.signs() || sent.values.contains_key("assertion");
    let hint = match failure.kind {
        Kind::Refused if signed && let Some(differs) = sent.ahead.and_then(clocks) => differs,
        Kind::Refused if is_client && profile.provider.discover == Discover::Resource => {
            format!("the server may no longer know this client; log in again: tok login {}", profile.name)
        }
        Kind::Refused if knows_more(call, failure.code.as_deref()) || (is_client && sent.auth.signs()) => {
            match sent.auth {
                Auth::Basic => "check client_id and client_secret; or the server expects them in the body: --client-auth post",
                Auth::Post => "check client_id and client_secret; or the server expects them in a header: --client-auth basic",
                Auth::PrivateKeyJwt => "check client_id, private_key and key_id; or the server expects another algorithm (--algorithm NAME) or audience (--assertion-audience URL)",
                Auth::Public | Auth::None => "check client_id; or the server expects a secret (--client-secret-file PATH) or a key (--private-key-file PATH)",
                _ => "check client_id and its credentials, or choose another method with --client-auth",
            }
            .to_string()
        }
        Kind::Refused => format!("check the values that were sent{}", profile.to_see()),
        Kind::Unavailable => "try again later".to_string(),
        _ => format!("check that {to} is the right server{}", profile.to_see()),
    };
    Error::new(failure.kind, what, secrets(profile, sent).hide(&failure.why)).hint(hint)
}

/// What to do about clocks that differ by more than an assertion allows, `ahead` by how many seconds ours is ahead of
/// the server's.
fn clocks(ahead: i64) -> Option<String> {
    let by = crate::base::duration::show(ahead.saturating_abs());
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    (ahead.saturating_abs() > CLOCKS_DIFFER)
        .then(|| format!("set this machine's clock: it is {by} {way} the server's (by the reply's Date header)"))
}

/// From how many seconds on a difference of clocks may be why an assertion is refused: a `Date` has no fraction, and
/// the reply took its time.
const CLOCKS_DIFFER: i64 = 10;

/// What was sent, as far as a reply may quote it.
pub struct Sent<'f> {
    /// The values.
    values: &'f Values,
    /// What the `Authorization` header carries, and what else was made for this request alone.
    credentials: Vec<Zeroizing<String>>,
    /// The origin that it went to.
    to: String,
    /// Client authentication.
    auth: Auth,
    /// By how many seconds our clock is ahead of the server's, where its reply says so.
    ahead: Option<i64>,
}

/// What a server takes once: sent again, it may end all that came of it (RFC 6749 §4.1.2 and §10.5).
const ONCE: &[&str] = &["refresh_token", "code", "device_code", "auth_req_id"];

/// Sends `call`: the reply and what it may quote, or why there is none. `events` gets each attempt.
///
/// # Errors
/// What keeps the request from being sent.
pub fn send<'f>(
    host: &mut Host,
    profile: &Profile,
    call: &Call,
    inputs: &'f Inputs,
    events: &mut dyn Events,
) -> Result<error::Result<(Response, Sent<'f>)>> {
    let names = profile.provider.closure(call.names());
    let personal =
        names.keys().any(|n| inputs.get(n).is_some() && profile.provider.param(n).is_some_and(|p| p.personal));
    let is_once = |name: &String| ONCE.contains(&name.as_str()) || profile.provider.is_found(name);
    let repeat = if personal {
        Repeat::Personal
    } else if call.names().keys().any(is_once) {
        Repeat::Rotating
    } else {
        Repeat::Freely
    };
    let auth = match call.auth {
        Auth::Auto => {
            let endpoint = profile.provider.endpoint(call).unwrap_or("token_endpoint");
            let supported = profile.metadata.as_ref().map(|metadata| metadata.client_authentication(endpoint));
            client_auth::choose(inputs.values(), &supported.unwrap_or_default())
        }
        named => named,
    };
    let mut url =
        request::url(&profile.provider, call, inputs.values()).map_err(|unready| not_ready(profile, unready))?;
    let mut to = origin(&url).unwrap_or_default();
    check_homes(profile, call, inputs, &to)?;
    // The values with the address of an endpoint that has moved.
    let mut elsewhere: Option<Values> = None;
    let key = match &inputs.dpop_key {
        Some(key) if call.dpop => Some(crate::base::jose::Key::parse(key).map_err(|why| {
            Error::new(Kind::Store, "the stored DPoP key cannot be used".to_string(), why)
                .hint(format!("delete it, then log in again: tok logout {0}, tok login {0}", profile.name))
        })?),
        _ => None,
    };
    // The server may require a nonce in the proof; one retry with it (RFC 9449 §8).
    let mut nonce: Option<String> = None;
    let issuer = profile.issuer().or_else(|| inputs.get("issuer").map(str::to_string));
    let issuer = issuer.filter(|issuer| metadata::is_one(issuer));
    let mut audiences = client_auth::audiences(inputs.values(), &url, issuer.as_deref()).into_iter();
    let mut audience = audiences.next().unwrap_or_default();
    loop {
        let moment = moment(host);
        let mut added = client_auth::add_to(call, auth, inputs.values(), &audience, &moment);
        if let (Some(key), Ok(added)) = (&key, &mut added) {
            let access = inputs.get("access_token");
            let id = crate::base::digest::random(16);
            let proof = dpop::Proof {
                method: call.method.name(),
                url: &url,
                access_token: access,
                nonce: nonce.as_deref(),
                now: moment.now,
                id: &id,
            };
            let proof = dpop::sign(key, &proof);
            let proof = proof.map_err(|why| Error::new(Kind::Other, "no DPoP proof", why))?;
            added.headers.push(("DPoP".into(), proof.expose().to_string().into()));
        }
        // Made for this request alone, and worth something for as long as it lives.
        let fields = added.iter().flat_map(|added| &added.fields).filter(|(name, _)| name == "client_assertion");
        let proofs = added.iter().flat_map(|added| &added.headers).filter(|(name, _)| name == "DPoP");
        let mut credentials: Vec<Zeroizing<String>> = fields.chain(proofs).map(|(_, text)| text.clone()).collect();
        let request = added.and_then(|added| {
            request::build(&profile.provider, call, elsewhere.as_ref().unwrap_or(inputs.values()), repeat, added)
        });
        let mut request = request.map_err(|unready| not_ready(profile, unready))?;
        request.ca_file = profile.ca_file.clone();
        let response = match host.send_until(&request, host.clock.deadline, events) {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        if let (Some(_), None, Some(asked)) = (&key, &nonce, wants_nonce(&response)) {
            host.terminal.detail(&format!("{}: {to} requires a DPoP nonce; sending again with it", profile.name));
            nonce = Some(asked);
            continue;
        }
        // Nothing was looked at but the assertion, so nothing is spent.
        if auth.signs()
            && matches!(response.status, 400 | 401)
            && repeat != Repeat::Personal
            && reply::object(&profile.default_grant().response, &response)
                .is_err_and(|failure| failure.code.as_deref() == Some("invalid_client"))
            && let Some(next) = audiences.next()
        {
            host.terminal.detail(&format!(
                "{}: {to} refused an assertion for {audience}; trying again for {next}",
                profile.name
            ));
            audience = next;
            continue;
        }
        // The old address has taken nothing: there was no such resource (RFC 9110 §15.5.5). If it was a refresh token and
        // a server had taken it all the same, its session would be lost without a second request too.
        if matches!(response.status, 404 | 410)
            && elsewhere.is_none()
            && let Some(values) = moved(host, profile, call, inputs)
            && repeat != Repeat::Personal
        {
            let new = request::url(&profile.provider, call, &values).map_err(|unready| not_ready(profile, unready))?;
            let new_to = origin(&new).unwrap_or_default();
            check_homes(profile, call, inputs, &new_to)?;
            host.terminal.detail(&format!("{}: {to} has moved this endpoint; once more, at {new_to}", profile.name));
            audiences = client_auth::audiences(&values, &new, issuer.as_deref()).into_iter();
            audience = audiences.next().unwrap_or_default();
            (url, to, elsewhere) = (new, new_to, Some(values));
            continue;
        }
        let made = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let made = made.filter_map(|(_, value)| value.rsplit(' ').next().map(|text| Zeroizing::new(text.into())));
        credentials.extend(made.chain(request::made(call, inputs.values())));
        let ahead = reply::clock(&response).map(i64::saturating_neg);
        return Ok(Ok((response, Sent { values: inputs.values(), credentials, to, auth, ahead })));
    }
}

/// The values of `call` with the address that the issuer's metadata name now, where the one in use came from them and
/// they name another. They are kept for the next call.
fn moved(host: &mut Host, profile: &Profile, call: &Call, inputs: &Inputs) -> Option<Values> {
    let told = |name: &&str| matches!(profile.given.get(*name).map(|g| &g.source), Some(Source::Metadata(_)));
    let name = call.url.names().map(|(name, _)| name).find(told)?;
    let Some(Source::Metadata(issuer)) = profile.given.get(name).map(|given| given.source.clone()) else { return None };
    let key = profile.param(name)?.metadata.as_ref()?;
    let mutual = matches!(call.auth, Auth::Tls | Auth::TlsSelfSigned);
    let at = (issuer.as_str(), profile.provider.metadata_path.as_deref());
    let fresh = match discovery::discover_at(
        host,
        at,
        profile.metadata_first(),
        profile.ca_file.as_deref(),
        discovery::Copies::Refused,
    ) {
        Ok(metadata) => metadata,
        Err(error) => {
            host.terminal.detail(&format!("{}: its metadata cannot be fetched: {error:#}", profile.name));
            return None;
        }
    };
    let now = if mutual { fresh.mtls_endpoint(key) } else { fresh.endpoint(key) }.ok().flatten()?;
    let mut values = inputs.values().clone();
    let was = values.insert(name.to_string(), now.to_string().into())?;
    (was.as_str() != now).then_some(values)
}

/// The nonce that a server requires in the proof (RFC 9449 §8 and §9).
fn wants_nonce(response: &Response) -> Option<String> {
    let nonce = response.header("dpop-nonce")?;
    let said = |text: &str| text.contains("use_dpop_nonce");
    let asked = matches!(response.status, 400 | 401)
        && (std::str::from_utf8(&response.body).is_ok_and(said)
            || response.header("www-authenticate").is_some_and(said));
    asked.then(|| nonce.to_string())
}

/// Asks the provider to revoke what `inputs` holds. RFC 7009 §2.2: the status alone counts.
///
/// # Errors
/// Where it could not be asked, or did not say yes.
pub fn revoke(host: &mut Host, profile: &Profile, call: &Call, inputs: &Inputs) -> Result<()> {
    let (response, sent) = send(host, profile, call, inputs, &mut ())??;
    match response.status {
        200..300 => Ok(()),
        status => {
            let kind = match reply::Class::of(status) {
                reply::Class::Refused => Kind::Refused,
                _ => Kind::Unavailable,
            };
            Err(Error::new(kind, format!("{} answered with status {status}", sent.to), "").into())
        }
    }
}

/// What was sent that a reply must not show.
fn secrets(profile: &Profile, sent: &Sent) -> Redactor {
    // What a flow has found is as good as a secret, but for the address that a refusal may be about.
    let is_secret =
        |name: &str| profile.param(name).map_or(name != "redirect_uri" && !name.starts_with('*'), |p| p.secret);
    let values = sent.values.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.as_str());
    Redactor::new(values.chain(sent.credentials.iter().map(|text| text.as_str())))
}

/// Refuses a call that would send a value to another origin than its home. Every grant and command checks this before
/// anything is sent to the origin `to`.
///
/// # Errors
/// [`Kind::LoginNeeded`], naming the value, its home and `to`.
pub fn check_homes(profile: &Profile, call: &Call, inputs: &Inputs, to: &str) -> Result<()> {
    let names = profile.provider.closure(call.names());
    match inputs.astray(names.keys(), to) {
        Some((name, home)) => Err(elsewhere(profile, name, &home.to_string(), to).into()),
        None => Ok(()),
    }
}

/// The error for a stored value that would go to another origin.
pub fn elsewhere(profile: &Profile, name: &str, home: &str, to: &str) -> Error {
    let what = match home {
        "" => format!("the stored {name} may not be sent to {to}: its origin is unknown"),
        _ => format!("the stored {name} goes to {home} only, not to {to}"),
    };
    Error::new(Kind::LoginNeeded, what, "nothing was sent")
        .hint(format!("log in to that server: {}", profile.login_command(None)))
}

#[cfg(test)]
#[path = "exchange/golden/tests.rs"]
mod golden;
#[cfg(test)]
mod tests;
