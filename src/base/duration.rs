//! Durations as people write them: `90`, `90s`, `15m`, `1h30m`, `7d`.

/// `text` in seconds; the error says what is expected.
pub fn parse(text: &str) -> Result<i64, String> {
    let wrong =
        || format!("`{}` is not a duration; write 90, 90s, 15m, 1h30m or 7d", crate::base::text::escape_to(text, 40));
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| wrong());
    }
    let mut total: i64 = 0;
    let mut digits = String::new();
    let mut last = i64::MAX;
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        // Largest first and each once: `30m1h` is more likely a typo than intended.
        if unit >= last {
            return Err(wrong());
        }
        last = unit;
        let count: i64 = digits.parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|s| total.checked_add(s)).ok_or_else(wrong)?;
        digits.clear();
    }
    if text.is_empty() || !digits.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// `seconds` for people: the two largest units.
pub fn show(seconds: i64) -> String {
    let mut rest = seconds.max(0);
    let mut parts = Vec::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length || (unit == "s" && parts.is_empty()) {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    parts.concat()
}

/// [`show`] without the seconds of more than a minute, and the minutes of more than a day.
pub fn show_rounded(seconds: i64) -> String {
    let unit = if seconds >= 86_400 { 3_600 } else { 60 };
    show(if seconds >= 60 { seconds - seconds % unit } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), ("0", 0)] {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
        for text in
            ["", "s", "1h30", "30m1h", "-5", "1w", "1.5h", "1 h", "99999999999999999999", "9223372036854775807d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(show(5400), "1h30m");
        assert_eq!(show(59), "59s");
        assert_eq!(show(0), "0s");
        assert_eq!(show(1_209_600), "14d");
        assert_eq!(show(90_061), "1d1h");
    }
}
