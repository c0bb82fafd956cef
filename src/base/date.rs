//! Dates, as servers write them and as we show them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;

/// The last second that is shown: 9999-12-30T22:00:00Z. RFC 3339 has no form for later years.
pub const LAST: i64 = 253_402_207_200;

/// Seconds since 1970 of an RFC 3339 date, or of one of the three forms of HTTP (RFC 9110 §5.6.7), the first of which
/// is RFC 1123's; `None` if it is none of them.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    // jiff accepts more forms than these.
    let (rfc3339, rest) = (text.get(..4)?.bytes().all(|b| b.is_ascii_digit()), text.get(4..)?);
    let parsed = if rfc3339 && rest.starts_with('-') {
        without_long_fraction(text).parse::<Timestamp>().ok()
    } else {
        let rfc1123 = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok();
        rfc1123.or_else(|| older(text))
    };
    // The last day of 9999, beyond what jiff holds, is how some servers write "never".
    let never = ["9999-12-31T", "9999-12-31 ", "Fri, 31 Dec 9999 "].iter().any(|start| text.starts_with(start));
    parsed.map(Timestamp::as_second).or(never.then_some(LAST))
}

/// What keeps `text` from being such a date where it is one but for that, in words that follow `is`.
pub fn lacks(text: &str) -> Option<&'static str> {
    let is_with = |rest: &str| parse(&format!("{}{rest}", text.trim())).is_some();
    match () {
        () if is_with("Z") || is_with(" GMT") => Some("a date without a time zone (`Z` or `+02:00`)"),
        () if is_with("T00:00:00Z") => Some("a day without a time"),
        () => None,
    }
}

/// RFC 3339 §5.6 has no limit for the digits of a fraction; jiff holds nine.
fn without_long_fraction(text: &str) -> std::borrow::Cow<'_, str> {
    let Some((before, after)) = text.split_once('.') else { return text.into() };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    match digits > 9 {
        true => format!("{before}.{}{}", &after[..9], &after[digits..]).into(),
        false => text.into(),
    }
}

/// The two older forms of RFC 9110 §5.6.7, RFC 850's and that of asctime.
fn older(text: &str) -> Option<Timestamp> {
    let (weekday, rest) = text.split_once(|c: char| !c.is_ascii_alphabetic())?;
    let rest = rest.trim_start();
    let civil = match text[weekday.len()..].starts_with(',') {
        true => DateTime::strptime("%d-%b-%y %H:%M:%S", rest.strip_suffix("GMT")?.trim_end()),
        false => DateTime::strptime("%b %e %H:%M:%S %Y", rest),
    };
    civil.ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// `secs` since 1970 as RFC 3339 in UTC: `2027-01-15T08:00:00Z`.
pub fn show(secs: i64) -> String {
    Timestamp::from_second(secs.clamp(0, LAST)).map(|t| t.to_string()).unwrap_or_default()
}

/// A moment as people say it, both ways: `in 54m, 11:52`, `2h ago, 09:12`, with the date where it is another day in
/// `zone`.
pub fn local(at: i64, now: i64, zone: &TimeZone) -> String {
    let zoned = |secs: i64| Timestamp::from_second(secs.clamp(0, LAST)).ok().map(|t| t.to_zoned(zone.clone()));
    let relative = match at - now {
        left if left > 0 => format!("in {}", crate::base::duration::show_rounded(left)),
        0 => "now".into(),
        past => format!("{} ago", crate::base::duration::show_rounded(past.saturating_neg())),
    };
    let (Some(then), Some(today)) = (zoned(at), zoned(now)) else { return relative };
    let format = if then.date() == today.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    format!("{relative}, {}", then.strftime(format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_field_are_read() {
        assert_eq!(parse("2027-01-15T08:00:00Z"), Some(1_800_000_000));
        assert_eq!(parse("2027-01-15T08:00:00.999999Z"), Some(1_800_000_000));
        assert_eq!(parse("2027-01-15T09:00:00+01:00"), Some(1_800_000_000));
        assert_eq!(parse("Fri, 15 Jan 2027 08:00:00 GMT"), Some(1_800_000_000));
        assert_eq!(parse("9999-12-31T23:59:59Z"), Some(LAST));
        assert_eq!(parse("2027-01-15T08:00:00.123456789012Z"), Some(1_800_000_000));
        assert_eq!(parse("2027-01-15T09:00:00.123456789012345+01:00"), Some(1_800_000_000));
        assert_eq!(parse("2027-01-15t08:00:00z"), Some(1_800_000_000));
        assert_eq!(parse("2027-01-15 08:00:00Z"), Some(1_800_000_000));
        // RFC 9110 §5.6.7 has one moment in three forms; a wrong day of the week says nothing.
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
        ] {
            assert_eq!(parse(text), Some(784_111_777), "{text}");
        }
        for text in ["", "soon", "2027", "12", "2027-01-15", "tomorrow at noon", "Fri, 99 Jan 2027 08:00:00 GMT"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for (text, says) in [
            ("2027-01-15T08:00:00", "a date without a time zone"),
            ("2027-01-15 08:00:00.000", "a date without a time zone"),
            ("Fri, 15 Jan 2027 08:00:00", "a date without a time zone"),
            ("2027-01-15", "a day without a time"),
        ] {
            assert_eq!((parse(text), lacks(text).is_some_and(|why| why.starts_with(says))), (None, true), "{text}");
        }
        assert_eq!((lacks("soon"), lacks(""), lacks("2027-13-15T08:00:00")), (None, None, None));
        assert_eq!(show(1_800_000_000), "2027-01-15T08:00:00Z");
        assert!(show(i64::MAX).starts_with("9999-12-30T"));
    }

    #[test]
    fn a_moment_is_relative_and_local() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now = 1_800_000_000; // 10:00 there
        for (at, shown) in [
            (now + 3240, "in 54m, 10:54"),
            (now + 3250, "in 54m, 10:54"),
            (now - 7260, "2h1m ago, 07:59"),
            (now, "now, 10:00"),
            (now + 50_400, "in 14h, 2027-01-16 00:00"),
            (now + 1_209_600, "in 14d, 2027-01-29 10:00"),
            (now + 45, "in 45s, 10:00"),
        ] {
            assert_eq!(local(at, now, &zone), shown);
        }
        assert!(local(i64::MAX, now, &zone).starts_with("in "));
    }
}
