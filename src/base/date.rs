//! Dates, as servers write them and as we show them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;

/// The last second that is shown: 9999-12-30T22:00:00Z. A year later RFC 3339 has no form any more.
pub const LAST: i64 = 253_402_207_200;

/// Seconds since 1970 of an RFC 3339 date or of one as HTTP has them: RFC 1123's form, RFC 850's and that of C's
/// `asctime` (RFC 9110 §5.6.7). `None` for anything else. A year of two digits is one from 1969 to 2068.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    // Only what can be a date is looked at: jiff's forms are wider than these two.
    let (rfc3339, rest) = (text.get(..4)?.bytes().all(|b| b.is_ascii_digit()), text.get(4..)?);
    let parsed = if rfc3339 && rest.starts_with('-') {
        text.parse::<Timestamp>().ok()
    } else {
        DateTimeParser::new().parse_timestamp(text).ok().or_else(|| obsolete(text))
    };
    // The last day of 9999, beyond what jiff holds, is how some servers write «never».
    let never = ["9999-12-31T", "9999-12-31 ", "Fri, 31 Dec 9999 "].iter().any(|start| text.starts_with(start));
    parsed.map(Timestamp::as_second).or(never.then_some(LAST))
}

/// `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
fn obsolete(text: &str) -> Option<Timestamp> {
    let forms = ["%A, %d-%b-%y %H:%M:%S GMT", "%a, %d-%b-%Y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let read = forms.iter().find_map(|form| DateTime::strptime(form, text).ok())?;
    read.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// `secs` since 1970 as RFC 3339 in UTC: `2027-01-15T08:00:00Z`.
pub fn show(secs: i64) -> String {
    Timestamp::from_second(secs.clamp(0, LAST)).map(|t| t.to_string()).unwrap_or_default()
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
        // RFC 9110 §5.6.7, and what Netscape made of RFC 850's form, which cookies have to this day.
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06-Nov-1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), Some(784_111_777), "{text}");
        }
        assert_eq!(parse("Thu Jan 15 08:00:00 2026"), Some(1_768_464_000));
        for text in ["Monday, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 CET", "Sun Nov  6 08:49:37"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["", "soon", "2027", "12", "2027-01-15", "tomorrow at noon", "Fri, 99 Jan 2027 08:00:00 GMT"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(show(1_800_000_000), "2027-01-15T08:00:00Z");
        assert!(show(i64::MAX).starts_with("9999-12-30T"));
    }
}
