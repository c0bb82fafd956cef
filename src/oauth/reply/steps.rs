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
/// How much of a token is shown, in characters.
const START: usize = 4;

/// A token as its beginning and its length.
pub fn shortened(token: &str) -> String {
    let count = token.chars().count();
    // Of a short one the beginning would be most of it.
    let shown = if count >= 4 * START { START } else { 0 };
    format!("{}… ({count} characters)", escape_to(token, shown).trim_end_matches('…'))
}

/// The steps in which `rules` and `dead` read `response`. Of several places for one thing, those up to the first that
/// is found, as the reader takes that.
pub fn steps(rules: &Rules, dead: &[Test], response: &Response) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |key: &str, place: &str, found: String| {
        steps.push(Step { key: key.into(), place: place.into(), found });
    };
    let body = Body::parse(rules.format, &response.body);
    let (kind, value, text) = match body {
        Body::Parsed(value) => ("", value, None),
        Body::Text(text) => ("the whole body is the token", Value::Null, Some(text)),
        Body::Unreadable(why) => {
            step("format", format_name(rules.format), why);
            ("", Value::Null, None)
        }
    };
    if !kind.is_empty() {
        step("format", format_name(rules.format), kind.into());
    }
    let status = response.status;
    for test in &rules.success {
        step("success", &test_text(test), outcome(rules, test, status, &value));
    }
    for (key, tests) in [("refused", &rules.refused), ("unavailable", &rules.unavailable)] {
        for test in tests {
            step(key, &test_text(test), outcome(rules, test, status, &value));
        }
    }
    match (&rules.access_token, text) {
        (Find::Cookie(name), _) => {
            let found = response.cookie(name).map_or("-".into(), shortened);
            step("access_token", &format!("cookie {name}"), found);
        }
        (Find::Header(name), _) => {
            let found = response.header(name).map_or("-".into(), shortened);
            step("access_token", &format!("header {name}"), found);
        }
        (Find::At(_), Some(text)) => step("access_token", "the body", shortened(&text)),
        (Find::At(places), None) => {
            each(places, &value, |place, found| step("access_token", place, found.map_or("-".into(), secret)));
        }
    }
    each(&rules.refresh_token, &value, |place, found| step("refresh_token", place, found.map_or("-".into(), secret)));
    for (key, expiries) in [("expires", &rules.expires), ("refresh_expires", &rules.refresh_expires)] {
        for expiry in expiries {
            let found = value.pointer(&expiry.at).filter(|found| !is_empty(found));
            step(key, &expiry_text(expiry), found.map_or("-".into(), plain));
        }
    }
    for (key, places) in [("token_type", &rules.token_type), ("scope", &rules.scope)] {
        each(places, &value, |place, found| step(key, place, found.map_or("-".into(), plain)));
    }
    each(&rules.id_token, &value, |place, found| step("id_token", place, found.map_or("-".into(), secret)));
    for (name, places) in &rules.extra {
        each(places, &value, |place, found| {
            let shown = if is_token(rules, place) { secret } else { plain };
            step(&format!("extra.{name}"), place, found.map_or("-".into(), shown));
        });
    }
    for (key, places) in [("error.code", &rules.error_code), ("error.message", &rules.error_message)] {
        each(places, &value, |place, found| step(key, place, found.map_or("-".into(), plain)));
    }
    if Class::of(status) == Class::Refused || !dead.is_empty() {
        for test in dead {
            step("dead", &test_text(test), outcome(rules, test, status, &value));
        }
    }
    steps
}

/// Calls `say` with each of `places` up to the first where something is.
fn each(places: &[String], value: &Value, mut say: impl FnMut(&str, Option<&Value>)) {
    for place in places {
        let found = value.pointer(place).filter(|found| !is_empty(found));
        say(place, found);
        if found.is_some() {
            break;
        }
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
