//! Error replies, in the server's words: read leniently, by content, whatever the provider's `format` says.

use super::body::Damaged;
use super::value::{first, is_empty, same};
use crate::base::error::Kind;
use crate::base::text::escape;
use crate::oauth::challenge::{self, Challenge};
use crate::oauth::request::Response;
use crate::provider::{Condition, Find, Rules, Test};
use serde_json::Value;

/// Why a reply has no token.
#[derive(Clone, Debug)]
pub struct Failure {
    /// [`Kind::Refused`], [`Kind::Unavailable`] or [`Kind::Reply`].
    pub kind: Kind,
    /// In words, remote text in them escaped.
    pub why: String,
    /// Whether the provider's `dead` names this refusal.
    pub dead: bool,
    /// The provider's own code (RFC 6749 §5.2), as it wrote it.
    pub code: Option<String>,
}

/// What a status means for a request for a token or a document (the contract's "By reply").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 2xx
    Success,
    /// 3xx: not followed.
    Redirect,
    /// 408, 429, 5xx: trying later may help.
    Unavailable,
    /// Every other 4xx.
    Refused,
    /// Not the status of a final reply.
    Odd,
}

impl Class {
    /// The class of `status`.
    pub fn of(status: u16) -> Class {
        match status {
            200..300 => Class::Success,
            300..400 => Class::Redirect,
            408 | 429 | 500.. => Class::Unavailable,
            400..500 => Class::Refused,
            _ => Class::Odd,
        }
    }
}

/// Where a 3xx leads, as a message: it is not followed.
pub fn redirect(response: &Response) -> String {
    // Query and fragment may hold a code or a token, and what stands before an @ a password.
    let Some(to) = response.header("location") else {
        return format!("it redirects, but does not say where to (status {})", response.status);
    };
    let shown = &to[..to.find(['?', '#']).unwrap_or(to.len())];
    let shown = match shown.rsplit_once('@') {
        Some((_, behind)) => format!("…@{}", escape(behind)),
        None => escape(shown),
    };
    let shown = if to.contains(['?', '#']) { shown + "?…" } else { shown };
    format!("it redirects to {shown}, which tok does not follow (status {})", response.status)
}

/// By how many seconds the server's clock is ahead of ours, by the reply's `Date` (RFC 9110 §6.6.1).
pub fn clock(response: &Response) -> Option<i64> {
    let date = crate::base::date::parse(response.header("date")?)?;
    Some(date.saturating_sub(response.received.secs()))
}

/// What a reply means: its status, unless the provider says otherwise of such a reply.
pub(super) fn class(rules: &Rules, status: u16, value: Option<&Value>) -> Class {
    let any = |tests: &[Test]| any(tests, status, value);
    match Class::of(status) {
        Class::Success | Class::Redirect => Class::of(status),
        _ if any(&rules.refused) => Class::Refused,
        _ if any(&rules.unavailable) => Class::Unavailable,
        class => class,
    }
}

/// A status other than 2xx.
pub(super) fn refusal(rules: &Rules, dead: &[Test], response: &Response) -> Failure {
    let status = response.status;
    let mut words = ServerMessage::of(response);
    let class = class(rules, status, words.value.as_ref());
    if Class::of(status) != Class::Refused {
        // What a server that fails writes as plain text may be a stack trace, with whatever it contained.
        words.text = None;
    }
    let said = words.said(rules);
    let with = |kind, why: String| Failure { kind, why, dead: false, code: words.code(rules) };
    match class {
        Class::Redirect => with(Kind::Reply, redirect(response)),
        Class::Unavailable => {
            let word = match status {
                408 => "the server timed out waiting for the request",
                429 => "too many requests",
                400..500 => "not available for now",
                _ => "server error",
            };
            let quoted = said.map(|said| format!(": {said}")).unwrap_or_default();
            let later = response.header("retry-after").map(|v| format!("; Retry-After: {}", escape(v)));
            with(Kind::Unavailable, format!("{word} (status {status}){quoted}{}", later.unwrap_or_default()))
        }
        Class::Refused => Failure {
            dead: any(dead, status, words.value.as_ref()),
            ..with(
                Kind::Refused,
                match said {
                    Some(said) => format!("{said} (status {status})"),
                    None => format!("status {status} without a readable reason"),
                },
            )
        },
        Class::Success | Class::Odd => with(Kind::Reply, format!("unexpected status {status}")),
    }
}

/// The failure in a 2xx `response` whose body cannot be read as it should be but whose `error` can.
pub(super) fn beside_success(rules: &Rules, dead: &[Test], response: &Response) -> Option<Failure> {
    let value = ServerMessage::of(response).value?;
    let has_token = matches!(&rules.access_token, Find::At(places) if first(&value, places).is_some());
    let reports = reports_error(&value) || value.pointer("/error").is_some_and(|error| error.as_i64() > Some(0));
    (reports && !has_token).then(|| refused(rules, dead, response, &value, "it reports an error"))
}

/// A refusal by a complete body of a 2xx.
pub(super) fn refused(rules: &Rules, dead: &[Test], response: &Response, value: &Value, else_: &str) -> Failure {
    let any = |tests: &[Test]| any(tests, response.status, Some(value));
    let later = any(&rules.unavailable) && !any(&rules.refused);
    Failure {
        kind: if later { Kind::Unavailable } else { Kind::Refused },
        why: said(rules, value, &[]).unwrap_or_else(|| else_.into()),
        dead: any(dead),
        code: code(rules, value),
    }
}

/// RFC 6749 §5.2 has no error in a 2xx; some servers do (GitHub answers 200).
pub(super) fn reports_error(value: &Value) -> bool {
    value.pointer("/error").is_some_and(|error| match error {
        Value::String(text) => !text.is_empty(),
        Value::Object(_) => true,
        _ => false,
    })
}

/// The same where there is no token either: then a list, or `true`, means it too.
pub(super) fn reports_some_error(value: &Value) -> bool {
    let is_some = |error: &Value| error == &Value::Bool(true) || error.as_array().is_some_and(|list| !list.is_empty());
    reports_error(value) || value.pointer("/error").is_some_and(is_some)
}

/// Where an error's code and message are, whatever a provider file says: RFC 6749 §5.2.
const CODES: &[&str] = &["/error"];
const MESSAGES: &[&str] = &["/error_description"];
/// And where servers, gateways and their frameworks put the message: RFC 9457 §3.1, Google, GitHub, Salesforce.
const OTHERS: &[&str] =
    &["/detail", "/title", "/error/message", "/errors/0/message", "/error/0/message", "/message", "/0/message"];

/// The code of the failure, as the reply has it.
pub(super) fn code(rules: &Rules, value: &Value) -> Option<String> {
    let places = rules.error_code.iter().map(String::as_str).chain(CODES.iter().copied());
    let mut texts = places.filter_map(|place| value.pointer(place)?.as_str());
    texts.find(|text| !text.is_empty()).map(str::to_string)
}

/// What the reply says about its failure: code and message. `others`: more places of a message.
pub(super) fn said(rules: &Rules, value: &Value, others: &[&str]) -> Option<String> {
    let text = |place: &str| match value.pointer(place)? {
        Value::String(s) if !s.trim().is_empty() => Some(escape(s)),
        Value::Number(n) => Some(n.to_string()),
        Value::Array(list) => {
            let texts: Vec<_> = list.iter().filter_map(Value::as_str).map(escape).collect();
            (!texts.is_empty()).then(|| texts.join(", "))
        }
        _ => None,
    };
    let find =
        |named: &[String], usual: &[&str]| named.iter().map(String::as_str).chain(usual.iter().copied()).find_map(text);
    // A bare number is a code, but not an error on its own: every reply may have one.
    let code = find(&rules.error_code, CODES);
    let message = find(&rules.error_message, MESSAGES).or_else(|| {
        let other = others.iter().copied().find_map(text)?;
        // Problem details have a title for the kind and a detail for the case (RFC 9457 §3.1).
        let title = text("/title").filter(|title| *title != other && others.contains(&"/title"));
        Some(title.map_or(other.clone(), |title| format!("{title}: {other}")))
    });
    match (code, message) {
        (Some(code), Some(message)) if code != message => Some(format!("{code}: {message}")),
        (_, Some(message)) => Some(message),
        (Some(code), None) if code.parse::<f64>().is_err() => Some(code),
        (Some(code), None) => Some(format!("code {code}")),
        (None, None) => None,
    }
}

/// What a server says with a status other than 2xx, in any form.
struct ServerMessage {
    /// The body as JSON or a form, as far as it can be read.
    value: Option<Value>,
    /// The body as plain text.
    text: Option<String>,
    /// The challenge that names an error (RFC 6750 §3).
    challenge: Option<Challenge>,
}

impl ServerMessage {
    fn of(response: &Response) -> ServerMessage {
        let Damaged { value, text } = Damaged::parse(&response.body);
        let lines = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
        let mut challenges = lines.flat_map(|(_, line)| challenge::parse(line));
        let challenge = challenges.find(|c| c.get("error").or(c.get("error_description")).is_some());
        ServerMessage { value, text, challenge }
    }

    fn code(&self, rules: &Rules) -> Option<String> {
        let in_body = self.value.as_ref().and_then(|value| code(rules, value));
        in_body.or_else(|| Some(self.challenge.as_ref()?.get("error")?.to_string()))
    }

    fn said(&self, rules: &Rules) -> Option<String> {
        let in_body = self.value.as_ref().and_then(|value| said(rules, value, OTHERS));
        let in_header = || {
            let challenge = self.challenge.as_ref()?;
            let (code, text) = (challenge.get("error"), challenge.get("error_description"));
            let all: Vec<String> = code.into_iter().chain(text).map(escape).collect();
            (!all.is_empty()).then(|| all.join(": "))
        };
        in_body.or_else(in_header).or_else(|| self.text.as_deref().map(escape))
    }
}

/// Whether one of the `tests` holds.
pub(super) fn any(tests: &[Test], status: u16, value: Option<&Value>) -> bool {
    tests.iter().any(|test| holds(test, status, value) == Some(true))
}

/// Whether `test` holds; `None` if what it tests is absent.
pub(super) fn holds(test: &Test, status: u16, value: Option<&Value>) -> Option<bool> {
    match test {
        Test::Status(list) => Some(list.contains(&status)),
        Test::At(place, condition) => {
            let found = value?.pointer(place).filter(|v| !is_empty(v))?;
            Some(match condition {
                Condition::In(list) => list.iter().any(|v| same(v, found)),
                Condition::NotIn(list) => !list.iter().any(|v| same(v, found)),
                Condition::Present => true,
            })
        }
    }
}
