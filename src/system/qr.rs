//! An address as a QR code, for the phone of a person who has a terminal.

use crate::base::env::Env;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use std::ffi::OsStr;

/// The width of a terminal that does not tell it, in columns.
const COLUMNS: usize = 80;
/// Black on white, by numbers that no colour scheme changes. Most scanners want dark on light, and whether the
/// terminal itself is dark or light cannot be known.
const PAINT: &str = "\u{1b}[38;5;16;48;5;231m";
/// Back to the terminal's own colours.
const OFF: &str = "\u{1b}[0m";

/// `url` as lines for a terminal of that many columns (80 where `None`), two rows of the code to a line, with the
/// quiet zone of four modules. They hold escape sequences, also under NO_COLOR: without them a QR code cannot be shown.
///
/// `None` if it is too wide or too long, or the terminal cannot show it: its locale is not UTF-8, or it is dumb.
pub fn lines(url: &str, columns: Option<usize>, env: &Env) -> Option<Vec<String>> {
    if !utf8(env) || env.get("TERM").is_some_and(|term| term == "dumb") {
        return None;
    }
    // The least correction: a screen has no scratches, and the code is smaller.
    let code = QrCode::with_error_correction_level(url, EcLevel::L).ok()?;
    if code.width() + 8 > columns.unwrap_or(COLUMNS) {
        return None;
    }
    let picture = code.render::<Dense1x2>().module_dimensions(1, 1).build();
    Some(picture.lines().map(|line| format!("{PAINT}{line}{OFF}")).collect())
}

/// Whether text on the terminal is UTF-8, by the locale (POSIX: LC_ALL before LC_CTYPE before LANG; an empty one is
/// absent). Windows has no such variables, and its console takes every character.
pub fn utf8(env: &Env) -> bool {
    let set = |name: &&str| env.get(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
    let names_it = |locale: &OsStr| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    };
    locale.map_or(cfg!(windows), names_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qrcode::Color;

    const URL: &str = "https://as.example/device?user_code=WDJB-MJHT";

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn every_module_is_where_it_belongs_and_the_quiet_zone_around_them() {
        let code = QrCode::with_error_correction_level(URL, EcLevel::L).expect("a code");
        let (size, colors) = (code.width(), code.to_colors());
        let lines = lines(URL, None, &env(&[("LANG", "en_US.UTF-8")])).expect("lines");
        assert_eq!(lines.len(), (size + 8).div_ceil(2));
        for (row, line) in lines.iter().enumerate() {
            let cells = line.strip_prefix(PAINT).and_then(|line| line.strip_suffix(OFF)).expect("painted");
            assert_eq!(cells.chars().count(), size + 8);
            for (column, cell) in cells.chars().enumerate() {
                let dark = |y: usize| {
                    let inside = (4..size + 4).contains(&column) && (4..size + 4).contains(&y);
                    inside && colors[(y - 4) * size + column - 4] == Color::Dark
                };
                let expected = match (dark(2 * row), dark(2 * row + 1)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                };
                assert_eq!(cell, expected, "{row}, {column}");
            }
        }
    }

    #[test]
    fn where_it_cannot_be_shown_there_is_none() {
        let good = env(&[("LANG", "C.UTF-8"), ("TERM", "xterm")]);
        let fits = |columns: usize| lines(URL, Some(columns), &good).is_some();
        // 45 bytes are version 3 at the least correction: 29 modules, and 4 of quiet zone on each side.
        assert!(fits(37) && !fits(36) && !fits(0));
        assert!(lines(&"x".repeat(3000), Some(10_000), &good).is_none());
        assert!(lines(&"x".repeat(1000), None, &good).is_none());
        assert!(lines(URL, None, &env(&[("LANG", "C")])).is_none());
        assert!(lines(URL, None, &env(&[("LANG", "C.UTF-8"), ("TERM", "dumb")])).is_none());
    }

    #[test]
    fn the_locale_says_whether_it_is_utf_8() {
        for (pairs, is) in [
            (&[("LANG", "de_CH.UTF-8")][..], true),
            (&[("LANG", "C.utf8")], true),
            (&[("LANG", "C"), ("LC_CTYPE", "C.UTF-8")], true),
            (&[("LANG", "C.UTF-8"), ("LC_ALL", "POSIX")], false),
            (&[("LANG", "C.UTF-8"), ("LC_ALL", "")], true),
            (&[("LC_CTYPE", "UTF-8"), ("LANG", "C")], true),
            (&[("LANG", "en_US.ISO-8859-1")], false),
            (&[], cfg!(windows)),
        ] {
            assert_eq!(utf8(&env(pairs)), is, "{pairs:?}");
        }
    }
}
