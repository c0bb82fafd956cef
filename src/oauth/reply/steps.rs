//! How a reply is read, pointer by pointer: for the author of a provider file.

use super::body::Body;
use super::refusal::{Class, holds};
use super::value::is_empty;
use crate::base::text::escape_to;
use crate::oauth::request::Response;
use crate::provider::{BodyFormat, Condition, DayOrder, Expiry, Find, Rules, Test, Unit};
use serde_json::Value;

/// One place that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The key of `[response]` or `[refresh]` that names the place.
    pub key: String,
    /// The place, and what is expected there.
    pub place: String,
    /// What was found: a token shortened, `-` for nothing.
    pub found: String,
}

/// The longest text of a reply that is shown whole, in characters.
const LONGEST: usize = 60;
/// The longest address.
const LONGEST_ADDRESS: usize = 200;
/// How much of a token is shown, in characters.
const START: usize = 4;

/// A token as its beginning and its length.
pub fn shortened(token: &str) -> String {
    let count = token.chars().count();
    // Of a short one the beginning would be most of it.
    let shown = if count >= 4 * START { START } else { 0 };
    format!("{}… ({count} characters)", escape_to(token, shown).trim_end_matches('…'))
}

/// What a reply has, read by rules; and the places that were looked at so far.
struct Reading<'r> {
    rules: &'r Rules,
    response: &'r Response,
    /// The body.
    value: Value,
    /// The whole body, where it is the token.
    text: Option<String>,
    steps: Vec<Step>,
}

impl<'r> Reading<'r> {
    /// The beginning: what the body is, and whether it says that it is a failure.
    fn begin(rules: &'r Rules, format: BodyFormat, response: &'r Response) -> Reading<'r> {
        let mut reading = Reading { rules, response, value: Value::Null, text: None, steps: Vec::new() };
        match Body::parse(format, &response.body) {
            Body::Parsed(value) => reading.value = value,
            Body::Text(text) => {
                reading.step("format", format_name(format), "the whole body is the token".into());
                reading.text = Some(text);
            }
            Body::Unreadable(why) => reading.step("format", format_name(format), why),
        }
        reading.tests("success", &rules.success);
        reading.tests("refused", &rules.refused);
        reading.tests("unavailable", &rules.unavailable);
        reading
    }

    fn step(&mut self, key: &str, place: &str, found: String) {
        self.steps.push(Step { key: key.into(), place: place.into(), found });
    }

    fn tests(&mut self, key: &str, tests: &[Test]) {
        for test in tests {
            let found = outcome(self.rules, test, self.response.status, &self.value);
            self.step(key, &test_text(test), found);
        }
    }

    /// Each of `places` up to the first where something is.
    fn each(&mut self, key: &str, places: &[String], shown: impl Fn(&str, &Value) -> String) {
        for place in places {
            let found = self.value.pointer(place).filter(|found| !is_empty(found));
            let (is_found, text) = (found.is_some(), found.map_or("-".into(), |found| shown(place, found)));
            self.step(key, place, text);
            if is_found {
                break;
            }
        }
    }

    fn find(&mut self, key: &str, find: &Find, shown: fn(&Value) -> String) {
        let named = match find {
            Find::Cookie(name) => (format!("cookie {name}"), self.response.cookie(name)),
            Find::Header(name) => (format!("header {name}"), self.response.header(name)),
            Find::At(places) => return self.each(key, places, |_, value| shown(value)),
        };
        self.step(key, &named.0, named.1.map_or("-".into(), |text| shown(&Value::from(text))));
    }

    fn expiries(&mut self, key: &str, expiries: &[Expiry]) {
        for expiry in expiries {
            let found = self.value.pointer(&expiry.at).filter(|found| !is_empty(found));
            let found = found.map_or("-".into(), plain);
            self.step(key, &expiry_text(expiry), found);
        }
    }

    fn errors(&mut self) {
        let rules = self.rules;
        for (key, places) in [("error.code", &rules.error_code), ("error.message", &rules.error_message)] {
            self.each(key, places, |_, value| plain(value));
        }
    }
}

/// The steps in which `rules` and `dead` read `response`. Of several places for one thing, those up to the first that
/// is found, as the reader takes that.
pub fn steps(rules: &Rules, dead: &[Test], response: &Response) -> Vec<Step> {
    let mut reading = Reading::begin(rules, rules.format, response);
    match (&rules.access_token, reading.text.take()) {
        (Find::At(_), Some(text)) => reading.step("access_token", "the body", shortened(&text)),
        (find, _) => reading.find("access_token", find, secret),
    }
    reading.each("refresh_token", &rules.refresh_token, |_, value| secret(value));
    reading.expiries("expires", &rules.expires);
    reading.expiries("refresh_expires", &rules.refresh_expires);
    reading.each("token_type", &rules.token_type, |_, value| plain(value));
    reading.each("scope", &rules.scope, |_, value| plain(value));
    reading.each("id_token", &rules.id_token, |_, value| secret(value));
    for (name, places) in &rules.extra {
        let shown = |place: &str, value: &Value| if is_token(rules, place) { secret(value) } else { plain(value) };
        reading.each(&format!("extra.{name}"), places, shown);
    }
    reading.errors();
    if Class::of(response.status) == Class::Refused || !dead.is_empty() {
        reading.tests("dead", dead);
    }
    reading.steps
}

/// What is looked for in a reply that is no token.
pub struct Wanted {
    /// The key that names the place.
    pub key: String,
    /// The place.
    pub at: Find,
    /// Whether it is shortened as a token is.
    pub is_secret: bool,
}

/// The steps in which a reply that is no token is read by `rules`: its body is a `format`, `expires` is that of a code.
pub fn others(
    rules: &Rules,
    format: BodyFormat,
    response: &Response,
    wanted: &[Wanted],
    expires: &[Expiry],
) -> Vec<Step> {
    let mut reading = Reading::begin(rules, format, response);
    reading.text = None;
    for Wanted { key, at, is_secret } in wanted {
        reading.find(key, at, if *is_secret { scalar } else { address });
    }
    reading.expiries("expires", expires);
    reading.errors();
    reading.steps
}

/// The steps in which the answer to a poll is read by `tests`, besides what [`steps`] looks at.
pub fn polls(rules: &Rules, response: &Response, tests: &[(&str, &[Test])]) -> Vec<Step> {
    let mut reading = Reading::begin(rules, rules.format, response);
    reading.steps.clear();
    tests.iter().for_each(|(key, tests)| reading.tests(key, tests));
    reading.steps
}

/// A value that may be a secret, of whatever kind.
fn scalar(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) => shortened(&value.to_string()),
        other => secret(other),
    }
}

/// A value that is none, which may be an address.
fn address(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains("://") => escape_to(text, LONGEST_ADDRESS),
        other => plain(other),
    }
}

/// Whether a token stands at `place`.
fn is_token(rules: &Rules, place: &str) -> bool {
    let access: &[String] = match &rules.access_token {
        Find::At(places) => places,
        Find::Header(_) | Find::Cookie(_) => &[],
    };
    access.iter().chain(&rules.refresh_token).chain(&rules.id_token).any(|token| token == place)
}

fn secret(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(text),
        other => format!("{}, not a string", kind_of(other)),
    }
}

/// A value that is no token. What is long may be one all the same, found at a wrong place.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) => return kind_of(value).into(),
        other => other.to_string(),
    };
    match text.chars().count() > LONGEST && !text.contains(' ') {
        true => shortened(&text),
        false => escape_to(&text, LONGEST),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn outcome(rules: &Rules, test: &Test, status: u16, value: &Value) -> String {
    let found = match test {
        Test::Status(_) => status.to_string(),
        Test::At(place, _) => {
            let found = value.pointer(place).filter(|found| !is_empty(found));
            found.map_or("-".into(), if is_token(rules, place) { secret } else { plain })
        }
    };
    match holds(test, status, Some(value)) {
        Some(true) => format!("{found}: holds"),
        Some(false) => format!("{found}: fails"),
        None => "-".into(),
    }
}

fn test_text(test: &Test) -> String {
    let list = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
    match test {
        Test::Status(list) => {
            format!("status in [{}]", list.iter().map(u16::to_string).collect::<Vec<_>>().join(", "))
        }
        Test::At(place, Condition::In(values)) => format!("{place} in [{}]", list(values)),
        Test::At(place, Condition::NotIn(values)) => format!("{place} not-in [{}]", list(values)),
        Test::At(place, Condition::Present) => format!("{place} present"),
    }
}

fn expiry_text(expiry: &Expiry) -> String {
    let unit = match expiry.unit {
        Unit::Seconds => "seconds",
        Unit::Milliseconds => "milliseconds",
        Unit::Minutes => "minutes",
        Unit::Epoch => "epoch",
        Unit::EpochMillis => "epoch-millis",
        Unit::Date => "date",
        Unit::Day(DayOrder::MonthDayYear) => "mm/dd/yyyy",
        Unit::Day(DayOrder::DayMonthYear) => "dd/mm/yyyy",
        Unit::Day(DayOrder::YearMonthDay) => "yyyy-mm-dd",
        Unit::DaysHoursMinutes => "d:hh:mm",
        Unit::HoursMinutesSeconds => "hh:mm:ss",
        Unit::Auto => "auto",
    };
    format!("{} as {unit}", expiry.at)
}

fn format_name(format: BodyFormat) -> &'static str {
    match format {
        BodyFormat::Auto => "auto",
        BodyFormat::Json => "json",
        BodyFormat::Form => "form",
        BodyFormat::Text => "text",
        BodyFormat::JsonString => "json-string",
        BodyFormat::Jsonp => "jsonp",
        BodyFormat::Xml => "xml",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown_whole() {
        assert_eq!(shortened("abcdefghijklmnopqrstuvwxyz"), "abcd… (26 characters)");
        assert_eq!(shortened("secret"), "… (6 characters)");
        assert_eq!(shortened(""), "… (0 characters)");
        assert_eq!(plain(&Value::from("x".repeat(80))), "xxxx… (80 characters)");
        assert_eq!(plain(&Value::from("read write")), "read write");
    }
}
