//! What a server quotes of the request is taken out of its words: whole or in long pieces, in whatever encoding.
//!
//! A text is looked at as it is and decoded up to three times (percent, HTML, JSON, our own escapes), in one space where
//! letters have no case and the two alphabets of base64 and the space of a form are alike. Each secret is looked for
//! as it is, in hexadecimal, and inside of a longer text in base64. All of it takes a time that grows with the text
//! alone, not with what it quotes.

use serde_json::Value;
use std::collections::HashSet;
use zeroize::Zeroizing;

/// What stands in the place of a secret.
const HIDDEN: &str = "***";
/// A value of fewer bytes is in many a word, and not worth hiding.
const SHORTEST: usize = 4;
/// So many bytes of a secret, anywhere in it, are hidden even where the rest of it is not there.
const PIECE: usize = 20;
/// How often a text is decoded: a form within JSON within HTML.
const LEVELS: usize = 3;

/// The secrets that must not be shown.
pub struct Redactor {
    forms: Vec<Form>,
    /// The digests of all their pieces of [`PIECE`] bytes.
    pieces: HashSet<u64>,
}

/// A form of a secret, with the table of Knuth, Morris and Pratt: how much of its beginning each of its
/// beginnings ends with.
struct Form {
    text: Zeroizing<Vec<u8>>,
    falls_back: Vec<usize>,
}

impl Redactor {
    /// Of these secrets.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Redactor {
        let mut words = Redactor { forms: Vec::new(), pieces: HashSet::new() };
        for secret in secrets.into_iter().filter(|secret| secret.len() >= SHORTEST) {
            let bytes = secret.as_bytes();
            words.add(bytes);
            // A secret may look like an escape itself, and is decoded where the text around it is.
            let mut level = places(secret);
            for _ in 0..LEVELS {
                level = decoded(&level);
                let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(level.iter().map(|place| place.byte).collect());
                words.add(&bytes);
            }
            words.add(hex(bytes).as_bytes());
            for before in 0..3 {
                words.add(&within_base64(bytes, before));
            }
        }
        words
    }

    fn add(&mut self, form: &[u8]) {
        let text: Zeroizing<Vec<u8>> = Zeroizing::new(form.iter().filter_map(|byte| alike(*byte)).collect());
        if text.len() < SHORTEST || self.forms.iter().any(|known| *known.text == *text) {
            return;
        }
        windows(&text, |_, digest| {
            self.pieces.insert(digest);
        });
        let mut falls_back = vec![0; text.len()];
        let mut length = 0;
        for at in 1..text.len() {
            while length > 0 && text[at] != text[length] {
                length = falls_back[length - 1];
            }
            length += usize::from(text[at] == text[length]);
            falls_back[at] = length;
        }
        self.forms.push(Form { text, falls_back });
    }

    /// `text` without any of them.
    pub fn hide(&self, text: &str) -> String {
        let mut level = places(text);
        let mut hidden = vec![false; text.len()];
        for round in 0..=LEVELS {
            self.mark(&level, &mut hidden);
            if round < LEVELS {
                let next = decoded(&level);
                if next.len() == level.len() {
                    break;
                }
                level = next;
            }
        }
        shown(text, &hidden)
    }

    /// `value` without any of them: its texts, its names, and a number that is one.
    pub fn hide_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.hide(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in(item)),
            Value::Object(entries) => {
                let all = std::mem::take(entries);
                for (name, mut entry) in all {
                    self.hide_in(&mut entry);
                    entries.insert(self.hide(&name), entry);
                }
            }
            Value::Number(number) => {
                let text = number.to_string();
                if self.hide(&text) != text {
                    *value = HIDDEN.into();
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Marks what of `level` is one of them.
    fn mark(&self, level: &[Position], hidden: &mut [bool]) {
        let level: Vec<Position> =
            level.iter().filter_map(|place| Some(Position { byte: alike(place.byte)?, ..*place })).collect();
        let bytes: Vec<u8> = level.iter().map(|place| place.byte).collect();
        let mut hide = |from: usize, to: usize| {
            if let (Some(first), Some(last)) = (level.get(from), to.checked_sub(1).and_then(|to| level.get(to))) {
                hidden[first.at..last.end].fill(true);
            }
        };
        let mut until = 0;
        windows(&bytes, |at, digest| {
            if self.pieces.contains(&digest) {
                // What the window before has hidden is not filled again.
                hide(at.max(until), at + PIECE);
                until = at + PIECE;
            }
        });
        let cuts = cuts(&bytes);
        for form in &self.forms {
            let mut length = 0;
            let mut cut = cuts.iter().peekable();
            let mut until = 0;
            for (at, byte) in bytes.iter().enumerate() {
                while cut.next_if(|cut| **cut == at).is_some() {
                    // A message was cut in the middle of it.
                    if length >= SHORTEST {
                        hide(at - length, at);
                    }
                }
                while length > 0 && form.text.get(length) != Some(byte) {
                    length = form.falls_back[length - 1];
                }
                length += usize::from(form.text[length] == *byte);
                if length == form.text.len() {
                    hide((at + 1 - length).max(until), at + 1);
                    until = at + 1;
                }
            }
        }
    }
}

/// Where messages are cut: before each «…», and before half an escape that stands there.
fn cuts(bytes: &[u8]) -> Vec<usize> {
    let ellipsis: Vec<u8> = "…".bytes().filter_map(alike).collect();
    let mut cuts = Vec::new();
    for at in memchr::memmem::find_iter(bytes, &ellipsis) {
        let before = &bytes[at.saturating_sub(8)..at];
        cuts.extend(before.iter().rposition(|b| matches!(b, b'%' | b'\\' | b'&')).map(|half| at - before.len() + half));
        cuts.push(at);
    }
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// A byte of a text, decoded, and where it comes from.
#[derive(Clone, Copy)]
struct Position {
    byte: u8,
    at: usize,
    end: usize,
}

fn places(text: &str) -> Vec<Position> {
    text.bytes().enumerate().map(|(at, byte)| Position { byte, at, end: at + 1 }).collect()
}

/// What stands for `byte` in the space where texts are compared; a line break stands for nothing.
fn alike(byte: u8) -> Option<u8> {
    match byte {
        b'\r' | b'\n' => None,
        b'+' | b' ' => Some(b'-'),
        b'/' => Some(b'_'),
        byte => Some(byte.to_ascii_lowercase()),
    }
}

/// Calls `each` with the place and the digest of every piece of [`PIECE`] bytes.
fn windows(bytes: &[u8], mut each: impl FnMut(usize, u64)) {
    // A rolling digest; a piece that is taken for another by chance is hidden, no more.
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    let leaving = (1..PIECE).fold(1_u64, |power, _| power.wrapping_mul(BASE));
    let mut digest = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        if let Some(gone) = at.checked_sub(PIECE) {
            digest = digest.wrapping_sub(leaving.wrapping_mul(u64::from(bytes[gone]) + 1));
        }
        digest = digest.wrapping_mul(BASE).wrapping_add(u64::from(*byte) + 1);
        if let Some(start) = (at + 1).checked_sub(PIECE) {
            each(start, digest);
        }
    }
}

/// `level` with one layer of escapes undone: `%2F`, `&amp;`, `&#47;`, `\/`, `\u002f`, `\x2f`, and ours, `\u{2f}`.
fn decoded(level: &[Position]) -> Vec<Position> {
    let mut out = Vec::with_capacity(level.len());
    let mut at = 0;
    let mut utf8 = [0; 4];
    while let Some(place) = level.get(at) {
        // The longest escape, `&#x10ffff;` or a pair of `\uXXXX`, has twelve bytes.
        let mut window = [0; 12];
        let length = (level.len() - at).min(window.len());
        window.iter_mut().zip(&level[at..]).for_each(|(byte, place)| *byte = place.byte);
        match escape(&window[..length]) {
            Some((bytes, taken)) => {
                let bytes = match bytes {
                    Escaped::Byte(byte) => {
                        utf8[0] = byte;
                        &utf8[..1]
                    }
                    Escaped::Char(c) => c.encode_utf8(&mut utf8).as_bytes(),
                };
                let end = level[at + taken - 1].end;
                out.extend(bytes.iter().map(|byte| Position { byte: *byte, at: place.at, end }));
                at += taken;
            }
            None => {
                out.push(*place);
                at += 1;
            }
        }
    }
    out
}

/// What an escape stands for.
enum Escaped {
    Byte(u8),
    Char(char),
}

/// The escape that `bytes` begin with, and its length.
fn escape(bytes: &[u8]) -> Option<(Escaped, usize)> {
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let char = |code: u32, length: usize| Some((Escaped::Char(char::from_u32(code)?), length));
    match bytes {
        [b'%', ..] => Some((Escaped::Byte(u8::try_from(number(1, 3)?).ok()?), 3)),
        [b'\\', b'x', ..] => Some((Escaped::Byte(u8::try_from(number(2, 4)?).ok()?), 4)),
        [b'\\', b'u', b'{', ..] => {
            let end = bytes.iter().position(|byte| *byte == b'}')?;
            char(number(3, end)?, end + 1)
        }
        [b'\\', b'u', ..] => match (number(2, 6)?, bytes.get(6..8)) {
            (high @ 0xd800..0xdc00, Some(b"\\u")) => {
                let low = number(8, 12)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                char(0x1_0000 + ((high - 0xd800) << 10) + low, 12)
            }
            (code, _) => char(code, 6),
        },
        [b'\\', next, ..] => {
            let byte = match next {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'/' | b'\\' | b'"' | b'\'' => *next,
                _ => return None,
            };
            Some((Escaped::Byte(byte), 2))
        }
        [b'&', ..] => {
            let end = bytes.iter().position(|byte| *byte == b';')?;
            let name = std::str::from_utf8(&bytes[1..end]).ok()?;
            let code = match (name.strip_prefix("#x").or(name.strip_prefix("#X")), name.strip_prefix('#')) {
                (Some(digits), _) => u32::from_str_radix(digits, 16).ok()?,
                (None, Some(digits)) => digits.parse().ok()?,
                (None, None) => match name {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    "sol" => '/',
                    "bsol" => '\\',
                    "plus" => '+',
                    "equals" => '=',
                    "nbsp" => ' ',
                    _ => return None,
                }
                .into(),
            };
            char(code, end + 1)
        }
        _ => None,
    }
}

/// `text` with [`HIDDEN`] for each run of hidden bytes.
fn shown(text: &str, hidden: &[bool]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for (at, c) in text.char_indices() {
        // Half a character is hidden whole.
        if hidden[at..at + c.len_utf8()].contains(&true) {
            if !within {
                out.push_str(HIDDEN);
            }
            within = true;
        } else {
            out.push(c);
            within = false;
        }
    }
    out
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    Zeroizing::new(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

/// What stands for `bytes` in the base64 of a longer text, where a number of bytes that leaves the rest `before` by
/// three stands before them, whatever those are and whatever follows.
fn within_base64(bytes: &[u8], before: usize) -> Zeroizing<Vec<u8>> {
    use base64::Engine;
    let padded = Zeroizing::new([&vec![0; before], bytes].concat());
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD_NO_PAD.encode(padded.as_slice()));
    // The first that no bit of what stands before is in; the last that no bit of what follows is in.
    let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    Zeroizing::new(encoded.as_bytes().get(first..last).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    /// Every character that some encoding treats in its own way.
    const SECRET: &str = "Pa/s+w&r<d> \"é\"=%41'\\Z7";

    fn hidden(text: &str) -> String {
        Redactor::new([SECRET]).hide(text)
    }

    #[test]
    fn a_secret_is_hidden_in_every_encoding() {
        let percent = |keep: &[u8], upper: bool| -> String {
            let byte = |b: u8| match keep.contains(&b) || b.is_ascii_alphanumeric() {
                true => char::from(b).to_string(),
                false if upper => format!("%{b:02X}"),
                false => format!("%{b:02x}"),
            };
            SECRET.bytes().map(byte).collect()
        };
        let html =
            |quote: &str| SECRET.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', quote);
        let json = serde_json::Value::from(SECRET).to_string();
        let json = json.trim_matches('"');
        let unicode: String = SECRET.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
        for form in [
            SECRET.to_string(),
            SECRET.to_uppercase().replace('É', "é"),
            SECRET.to_ascii_lowercase(),
            percent(b"", true),
            percent(b"", false),
            percent(b"-._~", true).replace("%20", "+"),
            percent(b"/", false).replace('%', "%25"),
            html("&quot;"),
            html("&#34;").replace('\'', "&#x27;").replace('/', "&#47;"),
            json.into(),
            json.replace('/', "\\/"),
            json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003E"),
            json.replace('\\', "\\\\").replace('"', "\\\""),
            unicode,
            SECRET.bytes().map(|b| format!("{b:02x}")).collect(),
            SECRET.bytes().map(|b| format!("{b:02X}")).collect(),
            crate::base::text::escape(SECRET),
        ] {
            assert_eq!(hidden(&format!("got <{form}>, which")), "got <***>, which", "{form}");
            assert_eq!(hidden(&form), HIDDEN, "{form}");
        }
    }

    #[test]
    fn a_secret_within_a_longer_base64_is_hidden() {
        for before in 0..7 {
            for after in 0..4 {
                let longer = format!("{}{SECRET}{}", "x".repeat(before), "y".repeat(after));
                for form in [STANDARD.encode(&longer), URL_SAFE_NO_PAD.encode(&longer)] {
                    let shown = hidden(&format!("in {form}."));
                    assert!(shown.starts_with("in ") && shown.contains(HIDDEN) && shown.len() < 24, "{shown}");
                    let wrapped: Vec<_> = form.as_bytes().chunks(9).map(String::from_utf8_lossy).collect();
                    assert!(hidden(&wrapped.join("\r\n")).len() < 24);
                }
            }
        }
    }

    #[test]
    fn pieces_and_halves_are_hidden_and_nothing_else_is() {
        let long: String = (0..500_u32).map(|n| char::from(b'!' + (n * 7919 % 94) as u8)).collect();
        let words = Redactor::new([long.as_str(), "abc", "four"]);
        let hide = |text: &str| words.hide(text);
        assert_eq!(
            hide(&format!("bad {}, and in the middle {}.", &long[380..], &long[60..100])),
            "bad ***, and in the middle ***."
        );
        assert_eq!(hide(&format!("got {}…", &long[..30])), "got ***…");
        assert_eq!(hide(&format!("got {}…", &long[..7])), "got ***…");
        assert_eq!(hide("abc is short, FOUR is not, fou… is half"), "abc is short, *** is not, fou… is half");
        assert_eq!(hide("é four é"), "é *** é");
        assert_eq!(Redactor::new(["x/yz-secret"]).hide("got x%2Fyz%2…, got x%2Fyz-se…"), "got ***%2…, got ***…");
        let plain = "The client 4711 is not allowed to use this grant (100% sure & certain \\ §).";
        assert_eq!(hidden(plain), plain);
        assert_eq!(Redactor::new([]).hide(plain), plain);
    }

    #[test]
    fn names_and_numbers_of_a_reply_are_hidden_too() {
        let mut value =
            serde_json::json!({"a-s3cret": ["x s3cret", {"b": "S3CRET"}], "pin": 12345, "n": 1, "ok": true});
        Redactor::new(["s3cret", "12345"]).hide_in(&mut value);
        assert_eq!(value, serde_json::json!({"a-***": ["x ***", {"b": "***"}], "pin": "***", "n": 1, "ok": true}));
    }

    /// A reply of 190 KB that quotes a token in pieces: twice the text takes twice the time, not four times.
    #[test]
    fn the_time_grows_with_the_text_alone() {
        let token: String = (0..4000_u32).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect();
        let words = Redactor::new([token.as_str()]);
        let quoting = |size: usize| {
            let mut text = String::new();
            for n in 0.. {
                let piece = &token[n * 7 % 3000..][..15 + n % 200];
                text.push_str(piece);
                text.push_str(["…", " ", "%2", "\\u{", "&#"][n % 5]);
                if text.len() > size {
                    return text;
                }
            }
            text
        };
        let time = |size: usize| {
            let text = quoting(size);
            let best = (0..7).map(|_| {
                let start = std::time::Instant::now();
                assert!(words.hide(&text).len() < text.len());
                start.elapsed()
            });
            best.min().unwrap_or_default()
        };
        let (small, large) = (time(24_000), time(190_000));
        assert!(large < small * 40, "eight times the text took {large:?}, not {small:?}");
    }
}
