//! A body by its kind: JSON, a form, text, a page. [`Body`] reads it strictly, as a token must be read;
//! [`Damaged`] recovers what it can, for the message of a refusal.

use super::xml;
use crate::base::json::has_repeated_names;
use crate::provider::BodyFormat;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// A complete body.
pub(super) enum Body {
    /// JSON, or a form as an object of strings.
    Parsed(Value),
    /// The token itself.
    Text(String),
    /// Neither; why.
    Unreadable(String),
}

impl Body {
    /// Reads `bytes` as `format` says. Of two fields with one name, it would be anyone's guess which is the token.
    pub(super) fn parse(format: BodyFormat, bytes: &[u8]) -> Body {
        match (Body::lenient(format, bytes), std::str::from_utf8(bytes)) {
            (Body::Parsed(_), Ok(text)) if has_repeated_names(called_with(text.trim()).unwrap_or(text)) => {
                Body::Unreadable("a name appears twice in one of its objects".into())
            }
            (body, _) => body,
        }
    }

    /// The same for what is no token: of two fields with one name, the last is taken.
    pub(super) fn lenient(format: BodyFormat, bytes: &[u8]) -> Body {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Body::Unreadable("it is not UTF-8".into());
        };
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        match format {
            _ if trimmed.is_empty() => Body::Unreadable("it is empty".into()),
            BodyFormat::Text if trimmed.starts_with('<') => Body::Unreadable("it is an HTML or XML page".into()),
            BodyFormat::Text => Body::Text(trimmed.to_string()),
            BodyFormat::Json => Body::json(text),
            BodyFormat::JsonString => match serde_json::from_str::<String>(trimmed) {
                Ok(text) => Body::Text(text),
                Err(_) if trimmed.starts_with('<') => Body::Unreadable("it is an HTML or XML page".into()),
                Err(_) => Body::Unreadable("it is not a JSON string".into()),
            },
            BodyFormat::Jsonp => match called_with(trimmed) {
                Some(inner) => Body::json(inner),
                None => Body::Unreadable("it is not JSONP, such as callback({…});".into()),
            },
            BodyFormat::Xml => xml::parse(text).map_or_else(Body::Unreadable, Body::Parsed),
            BodyFormat::Form if trimmed.starts_with('{') => Body::Unreadable("it is JSON, not a form".into()),
            BodyFormat::Form => Body::form(trimmed),
            BodyFormat::Auto if trimmed.starts_with(['{', '[', '\u{feff}']) => Body::json(text),
            BodyFormat::Auto if trimmed.starts_with('<') => Body::Unreadable("it is an HTML or XML page".into()),
            BodyFormat::Auto if is_form(trimmed) => Body::form(trimmed),
            BodyFormat::Auto => Body::json(text),
        }
    }

    fn json(text: &str) -> Body {
        match serde_json::from_str::<Value>(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Body::Parsed(value),
            Ok(_) => Body::Unreadable("it is not a JSON object".into()),
            Err(_) if text.trim_start().starts_with('<') => Body::Unreadable("it is an HTML or XML page".into()),
            // serde_json's own message names the place, never the text.
            Err(error) => {
                Body::Unreadable(format!("it is not JSON: error at line {}, column {}", error.line(), error.column()))
            }
        }
    }

    fn form(text: &str) -> Body {
        let mut object = Map::new();
        for pair in text.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (form_decode(name), form_decode(value)) else {
                return Body::Unreadable("it is not a form: broken percent-encoding".into());
            };
            if object.insert(name.to_string(), value.as_str().into()).is_some() {
                return Body::Unreadable("it is not a form: a field appears twice".into());
            }
        }
        Body::Parsed(Value::Object(object))
    }
}

/// The argument of JSONP: `callback( {…} );`.
fn called_with(text: &str) -> Option<&str> {
    let text = text.trim_end_matches([';', ' ', '\r', '\n', '\t']);
    let (name, inner) = text.strip_suffix(')')?.split_once('(')?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"_$. ".contains(&b);
    let inner = inner.trim();
    (!name.is_empty() && name.bytes().all(is_name) && inner.starts_with('{')).then_some(inner)
}

/// Whether a text can be a form, if nothing says so.
fn is_form(text: &str) -> bool {
    text.contains('=') && !text.contains([' ', '\n', '<', '"'])
}

/// A name or a value of a form (WHATWG URL §5.1); `None` if it is not UTF-8.
pub fn form_decode(part: &str) -> Option<Zeroizing<String>> {
    let spaced = Zeroizing::new(part.replace('+', " "));
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(Zeroizing::new(decoded.into_owned()))
}

/// What can be recovered from a body that may be cut, badly escaped or in another encoding.
#[derive(Default)]
pub(super) struct Damaged {
    /// As JSON or a form, as far as it can be read. A string that is cut is not in it.
    pub(super) value: Option<Value>,
    /// As plain text for a person, if it is neither of them and not a page.
    pub(super) text: Option<String>,
}

impl Damaged {
    pub(super) fn parse(bytes: &[u8]) -> Damaged {
        let decoded = decode(bytes);
        let text = decoded.trim_start_matches('\u{feff}').trim();
        // A prefix of some servers that keeps browsers from running JSON.
        let text = text.strip_prefix(")]}'").map_or(text, |rest| rest.trim_start_matches([',', '\n', '\r', ' ']));
        let text = called_with(text).unwrap_or(text);
        match serde_json::from_str::<Value>(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => return Damaged { value: Some(value), text: None },
            Ok(Value::String(words)) => return Damaged { value: None, text: Some(words).filter(|w| is_words(w)) },
            _ => {}
        }
        if text.starts_with(['{', '[']) {
            return Damaged { value: Json { text, at: 0 }.value(0), text: None };
        }
        if text.starts_with('<') {
            return Damaged { value: xml::parse(text).ok().filter(|page| page.get("html").is_none()), text: None };
        }
        if is_form(text) {
            let mut object = Map::new();
            for pair in text.split('&') {
                if let Some((name, value)) = pair.split_once('=')
                    && let (Some(name), Some(value)) = (form_decode(name), form_decode(value))
                {
                    object.entry(name.as_str()).or_insert(value.as_str().into());
                }
            }
            return Damaged { value: Some(object.into()), text: None };
        }
        Damaged { value: None, text: Some(text.to_string()).filter(|text| is_words(text)) }
    }
}

/// `bytes` as text: UTF-8, UTF-16 by its mark or its zeros, else Latin-1, whose every byte is a character.
fn decode(bytes: &[u8]) -> String {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes {
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0, b'{' | b'[', 0, ..] => wide(bytes, u16::from_be_bytes),
        [b'{' | b'[', 0, _, 0, ..] => wide(bytes, u16::from_le_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        },
    }
}

/// Whether `text` is meant for a person, not binary.
fn is_words(text: &str) -> bool {
    let is_odd = |c: char| c.is_control() && !c.is_ascii_whitespace();
    text.chars().any(char::is_alphabetic) && !text.chars().take(1000).any(is_odd)
}

/// How deep lists and objects are followed.
const DEEPEST: usize = 32;

/// Damaged JSON: what precedes the damage is read, and what follows as far as it makes sense.
struct Json<'t> {
    text: &'t str,
    at: usize,
}

impl Json<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// The next character, taken.
    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Takes spaces, control characters and these.
    fn skip(&mut self, more: &[char]) {
        while self.peek().is_some_and(|c| c.is_whitespace() || c.is_control() || more.contains(&c)) {
            self.next();
        }
    }

    /// The next value; `None` if the text ends within a string or nothing makes sense any more.
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip(&[]);
        let value = match self.peek()? {
            '{' | '[' if depth == DEEPEST => None,
            '{' => Some(self.object(depth)),
            '[' => Some(self.list(depth)),
            quote @ ('"' | '\'') => self.string(quote).map(Value::String),
            _ => self.word(),
        };
        if value.is_none() {
            self.give_up();
        }
        value
    }

    fn object(&mut self, depth: usize) -> Value {
        self.next();
        let mut object = Map::new();
        loop {
            self.skip(&[',']);
            let name = match self.peek() {
                Some(quote @ ('"' | '\'')) => self.string(quote),
                Some('}') => {
                    self.next();
                    None
                }
                _ => {
                    self.give_up();
                    None
                }
            };
            let Some(name) = name else { break };
            self.skip(&[]);
            if self.peek() != Some(':') {
                self.give_up();
                break;
            }
            self.next();
            let Some(value) = self.value(depth + 1) else { break };
            object.insert(name, value);
        }
        object.into()
    }

    /// What follows could be of another object than it seems.
    fn give_up(&mut self) {
        self.at = self.text.len();
    }

    fn list(&mut self, depth: usize) -> Value {
        self.next();
        let mut list = Vec::new();
        loop {
            self.skip(&[',']);
            if self.peek() == Some(']') {
                self.next();
                break;
            }
            let Some(value) = self.value(depth + 1) else { break };
            list.push(value);
        }
        list.into()
    }

    /// A string. Line breaks may stand in it, and so may a quote behind which the JSON does not go on.
    fn string(&mut self, quote: char) -> Option<String> {
        self.next();
        let mut string = String::new();
        loop {
            match self.next()? {
                '\\' => match self.next()? {
                    'n' => string.push('\n'),
                    'r' => string.push('\r'),
                    't' => string.push('\t'),
                    'b' => string.push('\u{8}'),
                    'f' => string.push('\u{c}'),
                    'u' => string.push(self.unit()),
                    other => string.push(other),
                },
                c if c == quote && self.ends() => return Some(string),
                c => string.push(c),
            }
        }
    }

    /// Whether what follows a quote lets it be the last of a string.
    fn ends(&self) -> bool {
        let after = self.text[self.at..].trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
        after.is_empty() || after.starts_with([',', ':', '}', ']'])
    }

    /// The character of `\uXXXX`; `None` for half a surrogate pair.
    fn unit(&mut self) -> char {
        let digits = self.text.get(self.at..self.at + 4);
        let Some(unit) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return char::REPLACEMENT_CHARACTER;
        };
        self.at += 4;
        char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// A number, `true`, `false`; another word counts as null.
    fn word(&mut self) -> Option<Value> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(rest.len());
        self.at += end;
        (end > 0).then(|| serde_json::from_str(&rest[..end]).unwrap_or(Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn damaged(bytes: &[u8]) -> Value {
        Damaged::parse(bytes).value.unwrap_or_default()
    }

    #[test]
    fn what_stands_before_the_damage_is_read() {
        let good = json!({"error": "invalid_grant"});
        for body in [
            "{\"error\":\"invalid_grant\"",
            "{\"error\":\"invalid_grant\",\"error_description\":\"cut in the mid",
            "{\"error\":\"invalid_grant\",\"error_descr",
            "{\"error\":\"invalid_grant\",}",
            "{\"error\":\"invalid_grant\",\"x\":",
            "{\"error\":\"invalid_grant\"} trailing",
            "{'error': 'invalid_grant'}",
            "\u{feff} {\"error\":\"invalid_grant\"}",
            ")]}',\n{\"error\":\"invalid_grant\"}",
            "error=invalid_grant&error_description=%ff",
        ] {
            assert_eq!(damaged(body.as_bytes()), good, "{body}");
        }
        // Part of a code is not a code.
        assert_eq!(damaged(b"{\"error\":\"invalid_gra"), json!({}));
    }

    #[test]
    fn odd_strings_are_read_to_their_end() {
        for (body, words) in [
            ("{\"a\":\"one\ntwo\",\"error\":\"x\"}", "one\ntwo"),
            ("{\"a\":\"the \"old\" one\",\"error\":\"x\"}", "the \"old\" one"),
            ("{\"a\":\"C:\\\\x \\q \\u00e9 \\ud800\",\"error\":\"x\",}", "C:\\x q é \u{fffd}"),
        ] {
            assert_eq!(damaged(body.as_bytes()), json!({"a": words, "error": "x"}), "{body}");
        }
    }

    #[test]
    fn other_encodings_are_read() {
        let body = "{\"error\":\"x\",\"a\":\"é\"}";
        let latin: Vec<u8> = body.chars().map(|c| c as u8).collect();
        let units = |mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
            let all = body.encode_utf16().flat_map(bytes);
            mark.iter().copied().chain(all).collect::<Vec<u8>>()
        };
        for bytes in [
            latin,
            units(&[0xff, 0xfe], u16::to_le_bytes),
            units(&[0xfe, 0xff], u16::to_be_bytes),
            units(&[], u16::to_le_bytes),
            units(&[], u16::to_be_bytes),
        ] {
            assert_eq!(damaged(&bytes), json!({"error": "x", "a": "é"}), "{bytes:?}");
        }
    }

    #[test]
    fn words_are_what_is_meant_for_a_person() {
        let words = |body: &[u8]| Damaged::parse(body).text;
        assert_eq!(words(b"Client is disabled.\n").as_deref(), Some("Client is disabled."));
        assert_eq!(words(b"\"no such client\"").as_deref(), Some("no such client"));
        for body in [&b""[..], b"<html>no</html>", b"\x1f\x8b\x08\0\0abc", b"404", b"{\"a\":1}"] {
            assert_eq!(words(body), None, "{body:?}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = "[".repeat(1 << 20);
        assert!(damaged(deep.as_bytes()).is_array());
        let quotes = format!("{{\"a\":\"{}x", "\" ".repeat(1 << 19));
        assert!(damaged(quotes.as_bytes()) == json!({}));
    }
}
