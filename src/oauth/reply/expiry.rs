//! When a token expires, according to its reply.

use super::value::{is_empty, number};
use super::{Note, claims};
use crate::base::date;
use crate::base::text::escape;
use crate::provider::{DayOrder, Expiry, Lifetime, Rules, Unit, Zero};
use crate::token::Expires;
use serde_json::Value;

/// The farthest accepted expiry, in seconds from now: ten years. Anything beyond is in the wrong unit, or a
/// way to write "never".
const FARTHEST: i64 = 315_576_000;
/// A day in seconds.
const DAY: i64 = 86_400;

/// The expiry of the access token: the reply's, or a JWT's if that is earlier, else the provider's `lifetime`.
pub(super) fn access(rules: &Rules, value: &Value, token: &str, now: i64, notes: &mut Vec<Note>) -> Expires {
    let said = of(&rules.expires, value, now, notes);
    let jwt = claims::expiry(token);
    if let Some(exp) = jwt.filter(|exp| *exp <= now) {
        notes.push(Note::Warning(format!(
            "the new token already expired {} ago; check this machine's clock",
            crate::base::duration::show(now.saturating_sub(exp))
        )));
    }
    let jwt = jwt.filter(|exp| *exp > now);
    let near = jwt.filter(|exp| !is_too_far(*exp, now));
    if let (Expires::Unknown, None, Some(exp), None) = (said, near, jwt, rules.lifetime) {
        notes.push(Note::Warning(too_far("the token itself", exp)));
    }
    match (said, near) {
        (Expires::At(at), Some(exp)) if at > now => Expires::At(at.min(exp)),
        (Expires::Never, Some(exp)) => Expires::At(exp),
        (Expires::Unknown, jwt) => match (rules.lifetime, jwt) {
            (Some(Lifetime::Seconds(s)), Some(exp)) => Expires::At(exp.min(later(now, s as f64))),
            (Some(Lifetime::Seconds(s)), None) => Expires::At(later(now, s as f64)),
            (Some(Lifetime::TimeOfDay(time)), jwt) => {
                let left = (time - now).rem_euclid(DAY);
                let at = now.saturating_add(if left == 0 { DAY } else { left });
                Expires::At(jwt.map_or(at, |exp| exp.min(at)))
            }
            (_, Some(exp)) => Expires::At(exp),
            (Some(Lifetime::Unlimited), None) => Expires::Never,
            (None, None) => Expires::Unknown,
        },
        (said, _) => said,
    }
}

/// The first expiry in the future; else one that has passed, else nothing.
pub(super) fn of(list: &[Expiry], value: &Value, now: i64, notes: &mut Vec<Note>) -> Expires {
    let mut passed = None;
    for rule in list {
        let Some(found) = value.pointer(&rule.at).filter(|v| !is_empty(v)) else { continue };
        let time = match (number(found), found.as_str()) {
            (Some(n), _) if n <= 0.0 => match if n < 0.0 { rule.negative } else { rule.zero } {
                Zero::Unknown => continue,
                Zero::Never => return Expires::Never,
                Zero::Now if n == 0.0 => now,
                Zero::Now => of_number(rule.unit, n, now).unwrap_or(now),
            },
            (Some(n), _) => match of_number(rule.unit, n, now) {
                Some(time) => time,
                None => {
                    notes.push(Note::Detail(format!("the expiry at {} is not a date", escape(&rule.at))));
                    continue;
                }
            },
            (None, Some(text)) if let Some(time) = written(rule.unit, text, now) => time,
            // It could be meant in any zone: one hour too late, and a dead token is used.
            (None, Some(text)) if let (Unit::Date | Unit::Auto, Some(why)) = (rule.unit, date::lacks(text)) => {
                notes.push(Note::Detail(format!("the expiry at {} is {why}, and is not used", escape(&rule.at))));
                continue;
            }
            _ => {
                notes.push(Note::Detail(format!("the expiry at {} is neither a number nor a date", escape(&rule.at))));
                continue;
            }
        };
        if is_too_far(time, now) {
            notes.push(Note::Warning(too_far(&escape(&rule.at), time)));
        } else if time > now {
            return Expires::At(time);
        } else {
            passed.get_or_insert(time);
        }
    }
    passed.map_or(Expires::Unknown, Expires::At)
}

/// The time that a number means; `None` where the unit is none for numbers.
fn of_number(unit: Unit, n: f64, now: i64) -> Option<i64> {
    Some(match unit {
        Unit::Seconds => later(now, n),
        Unit::Milliseconds => later(now, n / 1e3),
        Unit::Minutes => later(now, n * 60.0),
        Unit::Epoch => later(0, n),
        Unit::EpochMillis => later(0, n / 1e3),
        Unit::Auto if n < 1e9 => later(now, n),
        Unit::Auto if n < 1e11 => later(0, n),
        Unit::Auto => later(0, n / 1e3),
        Unit::Date | Unit::Day(_) | Unit::DaysHoursMinutes | Unit::HoursMinutesSeconds => return None,
    })
}

/// The time that a text means which is no number.
fn written(unit: Unit, text: &str, now: i64) -> Option<i64> {
    // Longest first; the parts are digits alone.
    let parts = |separators: &[char]| {
        let parts = text.trim().split(separators).map(|part| {
            let digits = !part.is_empty() && part.len() <= 6 && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<i64>().ok().filter(|_| digits)
        });
        parts.collect::<Option<Vec<i64>>>()
    };
    match unit {
        Unit::Date | Unit::Auto => date::parse(text),
        Unit::Day(order) => match (order, parts(&['/', '-', '.'])?.as_slice()) {
            (DayOrder::MonthDayYear, [month, day, year])
            | (DayOrder::DayMonthYear, [day, month, year])
            | (DayOrder::YearMonthDay, [year, month, day]) => {
                date::parse(&format!("{year:04}-{month:02}-{day:02}T00:00:00Z"))
            }
            _ => None,
        },
        Unit::DaysHoursMinutes => match parts(&[':'])?.as_slice() {
            [days, hours, minutes] => Some(now + days * DAY + hours * 3600 + minutes * 60),
            [hours, minutes] => Some(now + hours * 3600 + minutes * 60),
            _ => None,
        },
        Unit::HoursMinutesSeconds => match parts(&[':'])?.as_slice() {
            [hours, minutes, seconds] => Some(now + hours * 3600 + minutes * 60 + seconds),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn is_too_far(time: i64, now: i64) -> bool {
    time > now.saturating_add(FARTHEST)
}

fn too_far(place: &str, time: i64) -> String {
    format!("ignoring the expiry in {place}: {} is more than ten years away", date::show(time))
}

/// `start` plus `seconds`, rounded down, limited to what a date can show.
fn later(start: i64, seconds: f64) -> i64 {
    (start as f64 + seconds.floor()).clamp(0.0, date::LAST as f64) as i64
}
