//! A reply, read by the provider's rules: a token, or the reason why there is none. Pure; `now` is a value.

use crate::base::date;
use crate::base::error::Kind;
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::oauth::request::Response;
use crate::provider::{Condition, Expiry, Find, Format, Lifetime, Rules, Test, Unit, Zero};
use crate::token::{Expires, is_token};
use serde_json::{Map, Value};

/// What a good reply brought.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The access token.
    pub access_token: Secret,
    /// The refresh token, if the reply has one.
    pub refresh_token: Option<Secret>,
    /// As the provider writes it; nothing is decided by it.
    pub token_type: Option<String>,
    /// The scope granted, a list joined by spaces.
    pub scope: Option<String>,
    /// When the access token expires.
    pub expires: Expires,
    /// When the refresh token expires, in seconds since 1970, if the reply says so.
    pub refresh_expires: Expires,
    /// The ID token, unread.
    pub id_token: Option<Secret>,
    /// What the provider file carries besides.
    pub extra: Map<String, Value>,
    /// What should be said about it.
    pub notes: Vec<Note>,
}

/// Something a person may want to know about a good reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Said always: something is likely to go wrong.
    Warning(String),
    /// Said with `-v`.
    Detail(String),
}

/// Why there is no token.
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

/// Reads `response`. `dead` are the tests that tell a dead refresh token from another refusal.
pub fn read(rules: &Rules, dead: &[Test], response: &Response) -> Result<Issued, Failure> {
    let now = response.received.secs();
    let status = response.status;
    let body = Body::parse(rules.format, &response.body);
    if !(200..300).contains(&status) {
        return Err(refusal(rules, dead, response, &body));
    }
    let fail = |kind, why: String| Failure { kind, why, dead: false, code: None };
    let refused = |why: String| Failure {
        kind: Kind::Refused,
        why,
        dead: dead.iter().any(|test| test.holds(status, &body) == Some(true)),
        code: code(rules, &body),
    };
    let value = match &body {
        Body::Parsed(value) => value,
        Body::Text(_) => &Value::Null,
        Body::Unreadable(why) => {
            if let Find::Header(name) = &rules.access_token
                && response.header(name).is_some()
            {
                &Value::Null
            } else {
                let packed = response.header("content-encoding").filter(|how| !how.eq_ignore_ascii_case("identity"));
                let packed = packed.map(|how| format!("it is packed ({}), which nobody asked for", escape(how)));
                return Err(fail(Kind::Reply, format!("{} (status {status})", packed.as_ref().unwrap_or(why))));
            }
        }
    };
    for test in &rules.success {
        match test.holds(status, &body) {
            Some(true) => {}
            Some(false) => return Err(refused(said(rules, value).unwrap_or_else(|| "it reports a failure".into()))),
            None => {
                return Err(match said(rules, value) {
                    Some(why) => refused(why),
                    None => fail(
                        Kind::Reply,
                        format!("it does not say whether it succeeded: there is no {}", escape(&test.place())),
                    ),
                });
            }
        }
    }
    // RFC 6749 §5.2 has no error beside a token; some servers do (GitHub answers 200).
    if matches!(value.pointer("/error"), Some(Value::String(s)) if !s.is_empty())
        || matches!(value.pointer("/error"), Some(Value::Object(_)))
    {
        return Err(refused(said(rules, value).unwrap_or_else(|| "it reports an error".into())));
    }
    let found = match &rules.access_token {
        Find::Header(name) => response.header(name).map(str::to_string),
        Find::At(_) if matches!(body, Body::Text(_)) => body.text(),
        Find::At(places) => match first(value, places) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => return Err(fail(Kind::Reply, "the access token in it is not a string".into())),
        },
    };
    let Some(token) = found.filter(|t| !t.is_empty()) else {
        // Where the success tests hold, code and message speak of the success.
        return Err(match said(rules, value).filter(|_| rules.success.is_empty()) {
            Some(why) => refused(why),
            None => fail(Kind::Reply, "there is no access token in it".into()),
        });
    };
    if !is_token(&token) {
        return Err(fail(
            Kind::Reply,
            "the access token in it has a space, a line break or another character that no header can hold, or is too long".into(),
        ));
    }
    let refresh_token = match first(value, &rules.refresh_token) {
        None => None,
        Some(Value::String(text)) => Some(Secret::new(text.clone())),
        Some(_) => return Err(fail(Kind::Reply, "the refresh token in it is not a string".into())),
    };
    let mut notes = Vec::new();
    let expires = access_expiry(rules, value, &token, now, &mut notes);
    let refresh_expires = expiry(&rules.refresh_expires, value, now, &mut notes);
    let mut extra = Map::new();
    for (name, places) in &rules.extra {
        if let Some(found) = first(value, places) {
            extra.insert(name.clone(), found.clone());
        }
    }
    Ok(Issued {
        access_token: Secret::new(token),
        refresh_token,
        token_type: first(value, &rules.token_type).and_then(Value::as_str).map(str::to_string),
        scope: first(value, &rules.scope).and_then(scope),
        expires,
        refresh_expires,
        id_token: first(value, &rules.id_token).and_then(Value::as_str).map(Secret::new),
        extra,
        notes,
    })
}

/// A reply that is no token but a JSON object: the start of a flow, an answer about a token. Errors are read by
/// `rules`.
///
/// # Errors
/// As [`read`].
pub fn object(rules: &Rules, response: &Response) -> Result<Map<String, Value>, Failure> {
    let body = Body::parse(Format::Json, &response.body);
    if !(200..300).contains(&response.status) {
        return Err(refusal(rules, &[], response, &body));
    }
    let fail = |kind, why: String| Failure { kind, why, dead: false, code: code(rules, &body) };
    match &body {
        Body::Parsed(Value::Object(object)) => match object.get("error") {
            Some(Value::String(_) | Value::Object(_)) => Err(fail(
                Kind::Refused,
                said(rules, &Value::Object(object.clone())).unwrap_or_else(|| "it reports an error".into()),
            )),
            _ => Ok(object.clone()),
        },
        Body::Unreadable(why) => Err(fail(Kind::Reply, format!("{why} (status {})", response.status))),
        _ => Err(fail(Kind::Reply, "it is no JSON object".into())),
    }
}

/// A list or a string of scopes, as one string.
fn scope(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            Some(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")).filter(|s| !s.is_empty())
        }
        _ => None,
    }
}

/// Where a 3xx leads, in words: it is not followed.
pub fn redirect(response: &Response) -> String {
    // Query and fragment may hold a code or a token.
    let to = response.header("location").map(|to| match to.find(['?', '#']) {
        Some(end) => escape(&to[..end]) + "?…",
        None => escape(to),
    });
    let to = to.map_or("elsewhere, without a Location".into(), |to| format!("to {to}"));
    format!("it redirects {to}, which is not followed (status {})", response.status)
}

/// A status that is no 2xx.
fn refusal(rules: &Rules, dead: &[Test], response: &Response, body: &Body) -> Failure {
    let status = response.status;
    let said = match body {
        Body::Parsed(value) => said(rules, value),
        _ => None,
    };
    let with = |kind, text: String| Failure { kind, why: text, dead: false, code: code(rules, body) };
    let quoted = said.as_deref().map(|s| format!(": {s}")).unwrap_or_default();
    match status {
        300..400 => with(Kind::Reply, redirect(response)),
        408 | 429 | 500.. => {
            let word = match status {
                408 => "it gave up waiting for the request",
                429 => "too many requests",
                _ => "it has trouble",
            };
            let later =
                response.header("retry-after").map(|v| format!("; Retry-After: {}", escape(v))).unwrap_or_default();
            with(Kind::Unavailable, format!("{word} (status {status}){quoted}{later}"))
        }
        400..500 => Failure {
            kind: Kind::Refused,
            why: match said {
                Some(said) => format!("{said} (status {status})"),
                None => format!("status {status}, without a reason that can be read"),
            },
            dead: dead.iter().any(|test| test.holds(status, body) == Some(true)),
            code: code(rules, body),
        },
        _ => with(Kind::Reply, format!("status {status} is no answer")),
    }
}

/// The code of the failure, as the reply has it.
fn code(rules: &Rules, body: &Body) -> Option<String> {
    let Body::Parsed(value) = body else { return None };
    rules.error_code.iter().find_map(|place| value.pointer(place)?.as_str()).map(str::to_string)
}

/// What the reply says of its failure: code and message.
fn said(rules: &Rules, value: &Value) -> Option<String> {
    let text = |places: &[String]| {
        places.iter().find_map(|place| match value.pointer(place)? {
            Value::String(s) if !s.trim().is_empty() => Some(escape(s)),
            Value::Number(n) => Some(n.to_string()),
            _ => None,
        })
    };
    // A bare number is a code, but no error by itself: every reply may have one.
    let code = text(&rules.error_code);
    match (code, text(&rules.error_message)) {
        (Some(code), Some(message)) if code != message => Some(format!("{code}: {message}")),
        (_, Some(message)) => Some(message),
        (Some(code), None) if code.parse::<f64>().is_err() => Some(code),
        (Some(code), None) => Some(format!("code {code}")),
        (None, None) => None,
    }
}

/// A body, by what it is.
enum Body {
    /// JSON, or a form as an object of strings.
    Parsed(Value),
    /// The token itself.
    Text(String),
    /// Neither; why.
    Unreadable(String),
}

impl Body {
    fn parse(format: Format, bytes: &[u8]) -> Body {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Body::Unreadable("it is not UTF-8".into());
        };
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        match format {
            Format::Text if trimmed.is_empty() => Body::Unreadable("it is empty".into()),
            Format::Text if trimmed.starts_with('<') => Body::Unreadable("it is an HTML or XML page".into()),
            Format::Text => Body::Text(trimmed.to_string()),
            _ if trimmed.is_empty() => Body::Unreadable("it is empty".into()),
            Format::Json => Body::json(text),
            Format::Form => Body::form(trimmed),
            Format::Auto if trimmed.starts_with(['{', '[', '\u{feff}']) => Body::json(text),
            Format::Auto if trimmed.starts_with('<') => Body::Unreadable("it is an HTML or XML page".into()),
            Format::Auto if trimmed.contains('=') && !trimmed.contains([' ', '\n', '<', '"']) => Body::form(trimmed),
            Format::Auto => Body::json(text),
        }
    }

    fn json(text: &str) -> Body {
        match serde_json::from_str::<Value>(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Body::Parsed(value),
            Ok(_) => Body::Unreadable("it is no JSON object".into()),
            Err(_) if text.trim_start().starts_with('<') => Body::Unreadable("it is an HTML or XML page".into()),
            // serde_json's own message names the place, never the text.
            Err(error) => Body::Unreadable(format!("it is not JSON: {error}")),
        }
    }

    fn form(text: &str) -> Body {
        let mut object = Map::new();
        for pair in text.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |part: &str| {
                let spaced = part.replace('+', " ");
                percent_encoding::percent_decode_str(&spaced).decode_utf8().map(|t| t.into_owned())
            };
            let (Ok(name), Ok(value)) = (decode(name), decode(value)) else {
                return Body::Unreadable("it is no form: broken percent-encoding".into());
            };
            if object.insert(name, value.into()).is_some() {
                return Body::Unreadable("it is no form: a field stands in it twice".into());
            }
        }
        Body::Parsed(Value::Object(object))
    }

    fn text(&self) -> Option<String> {
        match self {
            Body::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl Test {
    /// Whether the test holds; `None` where what it looks at is not there.
    fn holds(&self, status: u16, body: &Body) -> Option<bool> {
        match self {
            Test::Status(list) => Some(list.contains(&status)),
            Test::At(place, condition) => {
                let Body::Parsed(value) = body else { return None };
                let found = value.pointer(place).filter(|v| !is_empty(v))?;
                Some(match condition {
                    Condition::In(list) => list.iter().any(|v| same(v, found)),
                    Condition::NotIn(list) => !list.iter().any(|v| same(v, found)),
                    Condition::Present => true,
                })
            }
        }
    }

    fn place(&self) -> String {
        match self {
            Test::Status(_) => "status".into(),
            Test::At(place, _) => place.clone(),
        }
    }
}

/// Whether two scalars are the same by value: `1`, `1.0` and `"1"` are three JSON values and one code.
fn same(a: &Value, b: &Value) -> bool {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => match (a, b) {
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Bool(flag), Value::String(text)) | (Value::String(text), Value::Bool(flag)) => {
                text == if *flag { "true" } else { "false" }
            }
            _ => false,
        },
    }
}

/// A number, or a string that is one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => {
            let text = text.trim();
            let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            // Rust would also take `inf` and `nan`.
            if plain && text.bytes().any(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
        }
        _ => None,
    }
    .filter(|n: &f64| n.is_finite())
}

/// `null`, empty and absent are the same.
fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

fn first<'v>(value: &'v Value, places: &[String]) -> Option<&'v Value> {
    places.iter().filter_map(|place| value.pointer(place)).find(|v| !is_empty(v))
}

/// The expiry of the access token: the reply's, a JWT's where that is earlier, else the provider's `lifetime`.
fn access_expiry(rules: &Rules, value: &Value, token: &str, now: i64, notes: &mut Vec<Note>) -> Expires {
    let said = expiry(&rules.expires, value, now, notes);
    let jwt = crate::base::jose::jwt::claims(token)
        .and_then(|claims| claims.get("exp").and_then(number))
        .map(|exp| exp.floor() as i64);
    let past = jwt.filter(|exp| *exp <= now);
    if let Some(exp) = past {
        notes.push(Note::Warning(format!(
            "the token just issued says that it expired {} ago; is the clock of this machine right?",
            crate::base::duration::show(now.saturating_sub(exp))
        )));
    }
    let jwt = jwt.filter(|exp| *exp > now).map(|exp| exp.min(date::LAST));
    match (said, jwt) {
        (Expires::At(at), Some(exp)) if at > now => Expires::At(at.min(exp)),
        (Expires::Never, Some(exp)) => Expires::At(exp),
        (Expires::Unknown, jwt) => match (rules.lifetime, jwt) {
            (Some(Lifetime::Seconds(s)), Some(exp)) => Expires::At(exp.min(later(now, s as f64))),
            (Some(Lifetime::Seconds(s)), None) => Expires::At(later(now, s as f64)),
            (_, Some(exp)) => Expires::At(exp),
            (Some(Lifetime::Unlimited), None) => Expires::Never,
            (None, None) => Expires::Unknown,
        },
        (said, _) => said,
    }
}

/// The first expiry that gives a time still to come; else one that has passed, else nothing.
fn expiry(list: &[Expiry], value: &Value, now: i64, notes: &mut Vec<Note>) -> Expires {
    let mut passed = None;
    for rule in list {
        let Some(found) = value.pointer(&rule.at).filter(|v| !is_empty(v)) else { continue };
        let time = match (number(found), found.as_str()) {
            (Some(0.0), _) => match rule.zero {
                Zero::Unknown => continue,
                Zero::Never => return Expires::Never,
                Zero::Now => now,
            },
            (Some(n), _) => match rule.unit {
                Unit::Seconds => later(now, n),
                Unit::Milliseconds => later(now, n / 1e3),
                Unit::Minutes => later(now, n * 60.0),
                Unit::Epoch => later(0, n),
                Unit::EpochMillis => later(0, n / 1e3),
                Unit::Auto if n < 1e9 => later(now, n),
                Unit::Auto if n < 1e11 => later(0, n),
                Unit::Auto => later(0, n / 1e3),
                // A number where a date should be is no date.
                Unit::Date => {
                    notes.push(Note::Detail(format!("the expiry at {} is no date", escape(&rule.at))));
                    continue;
                }
            },
            (None, Some(text)) if matches!(rule.unit, Unit::Date | Unit::Auto) && date::parse(text).is_some() => {
                date::parse(text).unwrap_or(now)
            }
            _ => {
                notes.push(Note::Detail(format!("the expiry at {} is no number and no date", escape(&rule.at))));
                continue;
            }
        };
        if time > now {
            return Expires::At(time);
        }
        passed.get_or_insert(time);
    }
    passed.map_or(Expires::Unknown, Expires::At)
}

/// `start` plus `seconds`, rounded down, within what a date can show.
fn later(start: i64, seconds: f64) -> i64 {
    (start as f64 + seconds.floor()).clamp(0.0, date::LAST as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Time;
    use crate::provider::Provider;

    const NOW: i64 = 1_800_000_000;

    fn answer(status: u16, body: &str) -> Response {
        Response { status, headers: vec![], body: body.as_bytes().to_vec().into(), received: Time::from_secs(NOW) }
    }

    fn rules(response: &str) -> Rules {
        let file = format!("[grants.a]\nurl = \"https://a.example\"\n[response]\n{response}");
        Provider::parse("test", "test.toml", &file).expect("a provider").grants[0].response.as_ref().clone()
    }

    fn read_with(response: &str, body: &str) -> Result<Issued, Failure> {
        read(&rules(response), &[], &answer(200, body))
    }

    fn expires(response: &str, body: &str) -> Expires {
        read_with(response, body).expect("a token").expires
    }

    #[test]
    fn numbers_are_numbers_in_any_dress() {
        for (wire, expected) in [
            ("3600", Expires::At(NOW + 3600)),
            ("\"3600\"", Expires::At(NOW + 3600)),
            ("3599.9", Expires::At(NOW + 3599)),
            ("\" 3600.5 \"", Expires::At(NOW + 3600)),
            ("1e18", Expires::At(date::LAST)),
            ("-5", Expires::At(NOW - 5)),
            ("0", Expires::At(NOW)),
            ("null", Expires::Unknown),
            ("\"\"", Expires::Unknown),
            ("\"soon\"", Expires::Unknown),
            ("\"inf\"", Expires::Unknown),
            ("[]", Expires::Unknown),
        ] {
            let body = format!("{{\"access_token\":\"t\",\"expires_in\":{wire}}}");
            assert_eq!(expires("", &body), expected, "{wire}");
        }
    }

    #[test]
    fn each_unit_is_read() {
        for (rule, wire, expected) in [
            ("seconds", "60", NOW + 60),
            ("milliseconds", "60000", NOW + 60),
            ("minutes", "1", NOW + 60),
            ("epoch", "1800000060", NOW + 60),
            ("epoch-millis", "1800000060000", NOW + 60),
            ("date", "\"2027-01-15T08:01:00Z\"", NOW + 60),
            ("date", "\"2027-01-15T10:01:00.123456+02:00\"", NOW + 60),
            ("date", "\"Fri, 15 Jan 2027 08:01:00 GMT\"", NOW + 60),
            ("auto", "60", NOW + 60),
            ("auto", "1800000060", NOW + 60),
            ("auto", "1800000060000", NOW + 60),
            ("auto", "\"2027-01-15T08:01:00Z\"", NOW + 60),
        ] {
            let rules = format!("expires = [{{ at = \"/e\", as = \"{rule}\" }}]");
            let body = format!("{{\"access_token\":\"t\",\"e\":{wire}}}");
            assert_eq!(expires(&rules, &body), Expires::At(expected), "{rule} {wire}");
        }
    }

    #[test]
    fn an_epoch_in_the_past_does_not_kill_a_token_with_a_life() {
        let rules = "expires = [{ at = \"/expires\", as = \"epoch\" }, { at = \"/expires_in\" }]";
        let body = "{\"access_token\":\"t\",\"expires\":1524486008,\"expires_in\":3600}";
        assert_eq!(expires(rules, body), Expires::At(NOW + 3600));
    }

    #[test]
    fn zero_means_what_the_file_says() {
        for (zero, expected) in [("unknown", Expires::Unknown), ("never", Expires::Never), ("now", Expires::At(NOW))] {
            let rules = format!("expires = [{{ at = \"/expires_in\", zero = \"{zero}\" }}]");
            assert_eq!(expires(&rules, "{\"access_token\":\"t\",\"expires_in\":0}"), expected);
        }
        assert_eq!(expires("lifetime = \"1h\"", "{\"access_token\":\"t\"}"), Expires::At(NOW + 3600));
        assert_eq!(expires("lifetime = \"unlimited\"", "{\"access_token\":\"t\"}"), Expires::Never);
    }

    #[test]
    fn a_jwt_may_only_shorten_a_life() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
        let jwt = |exp: &str| format!("e30.{}.c2ln", B64.encode(format!("{{\"exp\":{exp}}}")));
        let body = |exp: &str, rest: &str| format!("{{\"access_token\":\"{}\"{rest}}}", jwt(exp));
        assert_eq!(expires("", &body("1800000100.75", ",\"expires_in\":3600")), Expires::At(NOW + 100));
        assert_eq!(expires("", &body("1800009999", ",\"expires_in\":3600")), Expires::At(NOW + 3600));
        assert_eq!(expires("", &body("1800000100", "")), Expires::At(NOW + 100));
        let past = read_with("", &body("1700000000", ",\"expires_in\":3600")).expect("a token");
        assert_eq!(past.expires, Expires::At(NOW + 3600));
        assert!(matches!(past.notes.as_slice(), [Note::Warning(text)] if text.contains("clock")));
    }

    #[test]
    fn a_refusal_has_its_kind() {
        let kind = |status, body: &str| read(&rules(""), &[], &answer(status, body)).expect_err("a failure").kind;
        assert_eq!(kind(400, "{\"error\":\"invalid_grant\"}"), Kind::Refused);
        assert_eq!(kind(403, "<html>no</html>"), Kind::Refused);
        assert_eq!(kind(404, ""), Kind::Refused);
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(kind(status, "{\"error\":\"x\"}"), Kind::Unavailable, "{status}");
        }
        assert_eq!(kind(302, ""), Kind::Reply);
        for body in [
            "",
            "{}",
            "[]",
            "null",
            "\"x\"",
            "<html>",
            "{\"access_token\":\"\"}",
            "{\"access_token\":null}",
            "{\"access_token\":5}",
            "{\"access_token\":\"a b\"}",
            "{\"access_token\":\"a\\nb\"}",
            "{\"access_token\":\"\\u001b[2J\"}",
            "{\"access_token\":\"t\",}",
            "{\"access_token\":\"t\"} x",
        ] {
            assert_eq!(kind(200, body), Kind::Reply, "{body}");
        }
        assert_eq!(kind(200, "{\"error\":\"denied\",\"access_token\":\"t\"}"), Kind::Refused);
        assert_eq!(kind(200, "{\"message\":\"no such account\"}"), Kind::Refused);
    }

    #[test]
    fn a_success_test_decides() {
        let rules = "success = [{ at = \"/code\", in = [1] }]\nerror = { code = [\"/code\"], message = [\"/why\"] }";
        for code in ["1", "1.0", "\"1\""] {
            assert!(read_with(rules, &format!("{{\"code\":{code},\"access_token\":\"t\"}}")).is_ok(), "{code}");
        }
        let failure = |body: &str| read_with(rules, body).expect_err("a failure");
        assert_eq!(failure("{\"code\":0,\"why\":\"bad\",\"access_token\":\"t\"}").why, "0: bad");
        assert_eq!(failure("{\"code\":0,\"access_token\":\"t\"}").kind, Kind::Refused);
        assert_eq!(failure("{\"access_token\":\"t\"}").kind, Kind::Reply);
        assert_eq!(failure("{\"why\":\"bad\"}").kind, Kind::Refused);
    }

    #[test]
    fn a_form_and_a_bare_text_are_read() {
        let token = |rules: &str, body: &str| read_with(rules, body).map(|i| i.access_token.expose().to_string()).ok();
        assert_eq!(token("", "access_token=a%2Bb&scope=x+y"), Some("a+b".into()));
        assert_eq!(token("format = \"text\"", "tok123\n"), Some("tok123".into()));
        assert_eq!(token("format = \"text\"", "<html>no</html>"), None);
        assert_eq!(token("format = \"json\"", "access_token=a"), None);
    }
}
