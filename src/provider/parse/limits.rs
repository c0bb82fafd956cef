//! How often a provider may be asked, as types.

use super::*;
use crate::provider::{Counted, Limit};

/// The limits of a file; each names what it counts.
pub(super) fn limits(value: TomlValue) -> Vec<Limit> {
    response::items(value, limit)
}

/// The longest time that requests are counted for, in seconds.
const LONGEST: i64 = 366 * 86_400;

fn limit(value: TomlValue) -> Result<Limit> {
    let table = value.table()?;
    let (count, of) = match (table.get("requests"), table.get("refusals"), table.get("within")) {
        (Some(count), None, Some(_)) => (count, Counted::Requests),
        (None, Some(count), Some(_)) => (count, Counted::Refusals),
        _ => {
            return Err(
                value.error("expected { requests = 10, within = \"10m\" } or { refusals = 4, within = \"15m\" }")
            );
        }
    };
    let wrong = |why: String| count.error(why);
    let number = usize::try_from(count.integer()?).ok().filter(|n| (1..=Limit::MOST).contains(n));
    let number = number.ok_or_else(|| wrong(format!("expected a number from 1 to {}", Limit::MOST)))?;
    let within = table.read("within", 0, |v| match duration(v, v.text()?)? {
        seconds @ 1..=LONGEST => Ok(seconds),
        _ => Err(v.error("expected a time from 1s to 366d")),
    });
    table.done()?;
    Ok(Limit { of, count: number, within })
}
