//! A secret: text that must not be shown.

use std::fmt;
use zeroize::Zeroizing;

/// Text that must not be shown: no `Display`, an empty `Debug`, and its memory is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps the text; only [`Secret::expose`] returns it.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself. Every call of this is a place where a secret leaves its wrapper: to the wire, to the
    /// store, to stdout.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads the content of a file or a command's output: UTF-8 without NUL. One trailing line break is dropped.
    ///
    /// # Errors
    /// Why it cannot be a secret, without repeating it.
    pub fn read(bytes: &[u8], lines: Lines) -> Result<Secret, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_string())?;
        // A byte order mark is an editor's, and never meant.
        let text = without_line_break(text.strip_prefix('\u{feff}').unwrap_or(text));
        if text.is_empty() {
            return Err("it is empty".into());
        }
        if lines == Lines::Many && !text.contains('\0') {
            return Ok(Secret::new(text));
        }
        match text.matches('\n').count() + 1 {
            1 if !text.contains(['\r', '\0']) => Ok(Secret::new(text)),
            1 => Err("it contains a control character".into()),
            lines => Err(format!("it has {lines} lines; a secret must be a single line")),
        }
    }
}

/// `text` without the one line break at its end, if it has one.
pub fn without_line_break(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

/// How many lines a secret may have: a PEM has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// One.
    One,
    /// One or more.
    Many,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(***)");
    }

    #[test]
    fn a_secret_is_one_line() {
        let text = |bytes: &[u8]| Secret::read(bytes, Lines::One).map(|s| s.expose().to_string());
        assert_eq!(text(b"abc\n"), Ok("abc".into()));
        assert_eq!(text(b"abc\r\n"), Ok("abc".into()));
        assert_eq!(text(b" a b "), Ok(" a b ".into()));
        assert_eq!(text(b"\xef\xbb\xbfabc\n"), Ok("abc".into()));
        for bytes in [&b""[..], b"\n", b"a\nb", b"a\n\n", b"\xff", b"a\0b", b"a\rb"] {
            assert!(text(bytes).is_err(), "{bytes:?}");
        }
        let lines = |bytes: &[u8]| Secret::read(bytes, Lines::Many).map(|s| s.expose().to_string());
        assert_eq!(lines(b"a\r\nb\n"), Ok("a\r\nb".into()));
        assert!(lines(b"a\0b").is_err() && lines(b"").is_err());
    }
}
