//! Reads a reply by the provider's rules: a token, or the reason why there is none. One reader for all replies: for a
//! token, a device, a pushed request, a registration, an introspection, metadata and claims. Pure; the time is the
//! time at which the reply arrived.

mod body;
pub mod claims;
mod expiry;
mod refusal;
pub mod saved;
mod scope;
pub mod steps;
pub mod value;
mod xml;

pub use body::form_decode;
pub use refusal::{Class, Failure, clock, redirect};
pub use scope::narrowed;

use crate::base::error::Kind;
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::base::time::Time;
use crate::oauth::poll::PollReply;
use crate::oauth::request::Response;
use crate::provider::{BodyFormat, Device, Expiry, Find, Kept, Rules, Test};
use crate::token::{Expires, is_token};
use body::{Body, Damaged};
use refusal::{any, beside_success, holds, refusal, refused, reports_error, reports_some_error, said};
use serde_json::{Map, Value};
use value::{first, found};

/// The content of a successful reply.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The access token.
    pub access_token: Secret,
    /// The refresh token, if the reply has one.
    pub refresh_token: Option<Secret>,
    /// The token type, as the provider writes it; nothing depends on it.
    pub token_type: Option<String>,
    /// The scope granted, a list joined by spaces.
    pub scope: Option<String>,
    /// When the access token expires.
    pub expires: Expires,
    /// When the refresh token expires, in seconds since 1970, if the reply says so.
    pub refresh_expires: Expires,
    /// The ID token, unread.
    pub id_token: Option<Secret>,
    /// What else the provider file keeps.
    pub extra: Map<String, Value>,
    /// What to tell the user about it.
    pub notes: Vec<Note>,
    /// When the reply came.
    pub received: Time,
}

/// Something a person may want to know about a successful reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Always shown: something is likely to go wrong.
    Warning(String),
    /// Shown with `-v`.
    Detail(String),
}

/// Reads `response`. `dead` are the tests that tell a dead refresh token from another refusal.
///
/// # Errors
/// If it has no token: [`Failure`] says why.
pub fn read(rules: &Rules, dead: &[Test], response: &Response) -> Result<Issued, Failure> {
    let now = response.received.secs();
    let is_there = is_in_header(&rules.access_token, response);
    let (value, text) = match opened(rules, dead, response, rules.format, is_there)? {
        Body::Text(text) => (Value::Null, Some(text)),
        Body::Parsed(value) => (value, None),
        Body::Unreadable(_) => (Value::Null, None),
    };
    let refused = |words: &str| refused(rules, dead, response, &value, words);
    succeeds(rules, dead, response, &value)?;
    let token = match (&rules.access_token, text) {
        (Find::Header(name), _) => response.header(name).map(str::to_string),
        (Find::Cookie(name), _) => response.cookie(name).map(str::to_string),
        (Find::At(_), Some(text)) => Some(text),
        (Find::At(places), None) => match found(&value, places) {
            None => None,
            Some((_, Value::String(text))) => Some(text.clone()),
            Some((place, _)) => return Err(misread(not_text("access token", place, &value))),
        },
    };
    let Some(token) = token.filter(|t| !t.is_empty()) else {
        // If the success tests hold, code and message describe the success.
        let is_refusal = said(rules, &value, &[]).is_some() || reports_some_error(&value);
        return Err(match rules.success.is_empty() && is_refusal {
            true => refused("it reports an error"),
            false => misread(without_token(rules, &value)),
        });
    };
    if !is_token(&token) {
        return Err(misread(
            "its access token is too long, or contains a space, a line break or another character that is invalid in a header",
        ));
    }
    let refresh_token = match found(&value, &rules.refresh_token) {
        None => None,
        Some((_, Value::String(text))) => Some(Secret::new(text.clone())),
        Some((place, _)) => return Err(misread(not_text("refresh token", place, &value))),
    };
    let refresh_token = refresh_token.or_else(|| rules.renews_itself.then(|| Secret::new(token.as_str())));
    let mut notes = Vec::new();
    let expires = expiry::access(rules, &value, &token, now, &mut notes);
    let cookie_end = match &rules.access_token {
        Find::Cookie(name) => response.cookie_end(name).filter(|end| !expiry::is_too_far(*end, now)),
        _ => None,
    };
    let expires = match (expires, cookie_end) {
        (Expires::At(at), Some(end)) => Expires::At(at.min(end)),
        (Expires::Never | Expires::Unknown, Some(end)) => Expires::At(end),
        (expires, None) => expires,
    };
    let refresh_expires = expiry::of(&rules.refresh_expires, &value, now, &mut notes);
    let mut extra = Map::new();
    for (name, places) in &rules.extra {
        if let Some(found) = first(&value, places) {
            extra.insert(name.clone(), found.clone());
        }
    }
    Ok(Issued {
        access_token: Secret::new(token),
        refresh_token,
        token_type: first(&value, &rules.token_type).and_then(Value::as_str).map(str::to_string),
        scope: first(&value, &rules.scope).and_then(scope::joined),
        expires,
        refresh_expires,
        id_token: first(&value, &rules.id_token).and_then(Value::as_str).map(Secret::new),
        extra,
        notes,
        received: response.received,
    })
}

/// What the answer to a poll of a login on another device means by the provider's own tests (`[grants.NAME.device]`);
/// `None` where none of them holds.
pub fn polled(device: &Device, response: &Response) -> Option<PollReply> {
    let value = Damaged::parse(&response.body).value;
    let holds = |tests: &[Test]| any(tests, response.status, value.as_ref());
    let answers = [
        (&device.denied, PollReply::Denied),
        (&device.expired, PollReply::Expired),
        (&device.slow_down, PollReply::SlowDown),
        (&device.pending, PollReply::Pending),
    ];
    answers.into_iter().find(|(tests, _)| holds(tests)).map(|(_, answer)| answer)
}

/// The reply to a step on the way to a token: what its body is, if it is no failure. Where a header or a cookie has all
/// that is to `keep`, the body may be empty, or a page.
///
/// # Errors
/// As [`read`].
pub fn step(rules: &Rules, keep: &[Kept], response: &Response) -> Result<Value, Failure> {
    if Class::of(response.status) == Class::Success && response.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    let is_there = !keep.is_empty() && keep.iter().all(|kept| is_in_header(&kept.at, response));
    let value = match opened(rules, &[], response, rules.format, is_there)? {
        Body::Text(text) => return Ok(Value::String(text)),
        Body::Parsed(value) => value,
        Body::Unreadable(_) => Value::Null,
    };
    succeeds(rules, &[], response, &value)?;
    Ok(value)
}

/// Whether a 2xx reply reports success, by the provider's tests.
fn succeeds(rules: &Rules, dead: &[Test], response: &Response, value: &Value) -> Result<(), Failure> {
    let refused = |words: &str| refused(rules, dead, response, value, words);
    if is_failure(rules, response, value) {
        return Err(refused("it reports a failure"));
    }
    for test in &rules.success {
        match holds(test, response.status, Some(value)) {
            Some(true) => {}
            Some(false) => return Err(refused("it reports a failure")),
            None if said(rules, value, &[]).is_some() => return Err(refused("")),
            None => {
                let place = match test {
                    Test::Status(_) => "status",
                    Test::At(place, _) => place,
                };
                let there = value.as_object().map(instead).unwrap_or_default();
                let missing = format!("it does not say whether it succeeded: {} is missing", escape(place));
                return Err(misread(missing + &there));
            }
        }
    }
    match reports_error(value) {
        true => Err(refused("it reports an error")),
        false => Ok(()),
    }
}

/// Whether the provider's `refused` or `unavailable` names such a reply.
fn is_failure(rules: &Rules, response: &Response, value: &Value) -> bool {
    let any = |tests: &[Test]| any(tests, response.status, Some(value));
    any(&rules.refused) || any(&rules.unavailable)
}

/// When what a reply names ends, as `list` says; it arrived at `now`.
pub fn expires(list: &[Expiry], value: &Value, now: i64) -> Expires {
    expiry::of(list, value, now, &mut Vec::new())
}

/// A reply that is an object instead of a token: the start of a flow, data about a token, a registration. It is JSON or
/// a form, as a token's reply may be, and its errors are read by `rules`.
///
/// # Errors
/// As [`read`].
pub fn object(rules: &Rules, response: &Response) -> Result<Map<String, Value>, Failure> {
    let Body::Parsed(value) =
        opened(rules, &[], response, BodyFormat::Auto, is_in_header(&rules.access_token, response))?
    else {
        return Err(misread("it is not a JSON object"));
    };
    match value {
        value if is_failure(rules, response, &value) || reports_error(&value) => {
            Err(refused(rules, &[], response, &value, "it reports an error"))
        }
        Value::Object(object) => Ok(object),
        _ => Err(misread("it is not a JSON object")),
    }
}

/// A document without provider rules, such as metadata: a JSON object.
///
/// # Errors
/// What it is instead.
pub fn document(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match Body::lenient(BodyFormat::Json, bytes) {
        Body::Parsed(Value::Object(object)) => Ok(object),
        Body::Parsed(_) | Body::Text(_) => Err("it is not a JSON object".into()),
        Body::Unreadable(why) => Err(why),
    }
}

/// Whether a header or a cookie of `response` has what `find` looks for.
fn is_in_header(find: &Find, response: &Response) -> bool {
    match find {
        Find::Header(name) => response.header(name).is_some(),
        Find::Cookie(name) => response.cookie(name).is_some(),
        Find::At(_) => false,
    }
}

/// The body of a 2xx reply that reports no error in an unexpected form. It need not be readable if what it is for
/// `is_there` without it.
fn opened(
    rules: &Rules,
    dead: &[Test],
    response: &Response,
    format: BodyFormat,
    is_there: bool,
) -> Result<Body, Failure> {
    if Class::of(response.status) != Class::Success {
        return Err(refusal(rules, dead, response));
    }
    let body = Body::parse(format, &response.body);
    let why = match &body {
        Body::Parsed(_) => return Ok(body),
        Body::Text(_) => None,
        Body::Unreadable(why) => Some(why),
    };
    if let Some(failure) = beside_success(rules, dead, response) {
        return Err(failure);
    }
    match why {
        Some(why) if !is_there => {
            let packed = response.header("content-encoding").filter(|how| !how.eq_ignore_ascii_case("identity"));
            let packed = packed.map(|how| format!("it is compressed ({}), which was not requested", escape(how)));
            Err(misread(format!("{} (status {})", packed.as_ref().unwrap_or(why), response.status)))
        }
        _ => Ok(body),
    }
}

fn misread(why: impl Into<String>) -> Failure {
    Failure { kind: Kind::Reply, why: why.into(), dead: false, code: None }
}

/// Where an access token was looked for, and the names, never the values, that the reply has instead.
fn without_token(rules: &Rules, value: &Value) -> String {
    let places = match &rules.access_token {
        Find::Header(name) => format!("in the header {name}"),
        Find::Cookie(name) => format!("in the cookie {name}"),
        Find::At(places) => format!("at {}", escape(&places.join(" or "))),
    };
    let empty = Map::new();
    format!("no access token {places}{}", instead(value.as_object().unwrap_or(&empty)))
}

/// A token that is something else than text, at its place; and what the reply has.
fn not_text(what: &str, place: &str, value: &Value) -> String {
    let there = value.as_object().map(instead).unwrap_or_default();
    format!("its {what} at {} is not a string{there}", escape(place))
}

/// What stands in `reply`, by names and never by values, to be said behind what does not.
pub fn instead(reply: &Map<String, Value>) -> String {
    let mut names = Vec::new();
    list_names(reply, "", &mut names);
    match names.len() {
        0 => ", and nothing else in the reply".into(),
        count => {
            let more = if count > MOST_NAMES { ", …" } else { "" };
            names.truncate(MOST_NAMES);
            format!("; the reply has {}{more}", names.join(", "))
        }
    }
}

/// How many names of a reply are listed.
const MOST_NAMES: usize = 20;

/// Pointers to what `object` has, three objects deep.
fn list_names(object: &Map<String, Value>, at: &str, names: &mut Vec<String>) {
    for (name, inner) in object {
        // A token read as a form becomes a name without a value; anything else than a name may also be a secret.
        let is_name = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b));
        let pointer = format!("{at}/{name}");
        match inner {
            _ if names.len() > MOST_NAMES || value::is_empty(inner) || !is_name => {}
            Value::Object(object) if !object.is_empty() && at.matches('/').count() < 2 => {
                list_names(object, &pointer, names);
            }
            _ => names.push(pointer),
        }
    }
}

#[cfg(test)]
mod tests;
