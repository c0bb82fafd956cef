//! The head of a reply: status line and header lines, read as leniently as RFC 9112 allows, and what they say of the
//! length of the body.

use super::Head;
use httparse::{ParserConfig, Status};
use std::fmt;
use zeroize::Zeroizing;

/// The longest head that is read, in bytes.
pub(super) const LONGEST_HEAD: usize = 64 << 10;

/// The most header lines that a head may have.
const MOST_LINES: usize = 500;

/// What makes a reply unreadable, in words that follow "it is not HTTP:".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It violates RFC 9112.
    NotHttp(&'static str),
    /// Its head is longer than [`LONGEST_HEAD`], or has more lines than are read.
    TooLong,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::NotHttp(why) => f.write_str(why),
            Broken::TooLong => f.write_str("its head is too long"),
        }
    }
}

impl std::error::Error for Broken {}

impl From<Broken> for ureq::Error {
    fn from(broken: Broken) -> ureq::Error {
        ureq::Error::Other(Box::new(broken))
    }
}

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body.
    None,
    /// After so many bytes.
    Length(u64),
    /// By its chunks (RFC 9112 §7.1).
    Chunked,
    /// By the end of the connection.
    Close,
}

/// Splits a head off the beginning of `bytes`: what it says, and how long it is. `None` if it is incomplete.
pub(super) fn split(bytes: &[u8]) -> Result<Option<(Head, usize)>, Broken> {
    let Some((status, length)) = parse(bytes, |_| ())? else {
        return match bytes.len() > LONGEST_HEAD {
            true => Err(Broken::TooLong),
            false => Ok(None),
        };
    };
    if length > LONGEST_HEAD {
        return Err(Broken::TooLong);
    }
    let head = &bytes[..length];
    let start = head.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(0);
    let first = head[start..].iter().position(|b| *b == b'\n').map_or(length, |at| start + at + 1);
    // An empty line follows.
    let end = if head.ends_with(b"\r\n") { length - 2 } else { length - 1 };
    let lines = head.get(first..end).unwrap_or_default();
    Ok(Some((Head { status, lines: Zeroizing::new(lines.to_vec()) }, length)))
}

/// The names and values of header lines, folded ones made one (RFC 9112 §5.2), without malformed lines.
pub(super) fn fields(head: &Head) -> Vec<(String, String)> {
    let mut text = Zeroizing::new(Vec::with_capacity(head.lines.len() + 20));
    text.extend_from_slice(b"HTTP/1.1 200\r\n");
    text.extend_from_slice(&head.lines);
    text.extend_from_slice(b"\r\n");
    let mut fields = Vec::new();
    let _ = parse(&text, |line| fields.push((line.name.to_string(), unfold(line.value))));
    fields
}

/// Status and length of the head at the beginning of `bytes`; each line goes to `take`.
fn parse(bytes: &[u8], mut take: impl FnMut(&httparse::Header)) -> Result<Option<(u16, usize)>, Broken> {
    let mut lines = vec![httparse::EMPTY_HEADER; MOST_LINES];
    let mut reply = httparse::Response::new(&mut lines);
    let outcome = ParserConfig::default()
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_space_before_first_header_name(true)
        // A malformed line is ignored; the token after it may be the only one there will be.
        .ignore_invalid_headers_in_responses(true)
        .parse_response(&mut reply, bytes);
    match outcome {
        Ok(Status::Partial) => Ok(None),
        Ok(Status::Complete(length)) => {
            reply.headers.iter().for_each(&mut take);
            match reply.code {
                Some(status @ 100..=999) => Ok(Some((status, length))),
                _ => Err(Broken::NotHttp("its status is not a number from 100 to 999")),
            }
        }
        Err(httparse::Error::TooManyHeaders) => Err(Broken::TooLong),
        Err(httparse::Error::Version) => Err(Broken::NotHttp("it does not begin with HTTP/1.1 or HTTP/1.0")),
        Err(httparse::Error::Status) => Err(Broken::NotHttp("its status line cannot be read")),
        Err(_) => Err(Broken::NotHttp("its header lines cannot be read")),
    }
}

/// A header's value on one line; Latin-1 if it is not UTF-8 (RFC 9110 §5.5 knows such from older times).
fn unfold(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    };
    if !text.contains('\n') {
        return text;
    }
    text.split('\n').map(|line| line.trim_matches([' ', '\t', '\r'])).collect::<Vec<_>>().join(" ")
}

/// How the body of a reply with these lines ends (RFC 9112 §6.3), for any method but HEAD and CONNECT.
///
/// # Errors
/// If lengths contradict each other, or are not a number.
pub(super) fn framing(status: u16, fields: &[(String, String)]) -> Result<Framing, Broken> {
    if matches!(status, 100..200 | 204 | 304) {
        return Ok(Framing::None);
    }
    let mut codings = list(fields, "transfer-encoding").filter(|coding| !coding.eq_ignore_ascii_case("identity"));
    if let Some(last) = codings.by_ref().last() {
        let name = last.split(';').next().unwrap_or_default().trim();
        return Ok(if name.eq_ignore_ascii_case("chunked") { Framing::Chunked } else { Framing::Close });
    }
    let mut length = None;
    for text in list(fields, "content-length") {
        let number: u64 = match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse().map_err(|_| Broken::NotHttp("its Content-Length is too large"))?,
            false => return Err(Broken::NotHttp("its Content-Length is not a number")),
        };
        if length.is_some_and(|known| known != number) {
            return Err(Broken::NotHttp("it has two different Content-Lengths"));
        }
        length = Some(number);
    }
    Ok(length.map_or(Framing::Close, Framing::Length))
}

/// The items of all lines of that name (RFC 9110 §5.6.1).
pub(super) fn list<'a>(fields: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
    lines.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> (u16, Vec<(String, String)>, usize) {
        let (head, length) = split(text.as_bytes()).unwrap().unwrap();
        (head.status, fields(&head), length)
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    #[test]
    fn a_head_is_read_in_every_form_that_servers_send() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\nc:d\r\n\r\n", &[("A", "b"), ("c", "d")][..]),
            ("HTTP/1.1 200 OK\nA: b\n\n", &[("A", "b")]),
            ("HTTP/1.1 200\r\nA: b\r\n\r\n", &[("A", "b")]),
            ("HTTP/1.0 200  OK\r\nA:\r\n\r\n", &[("A", "")]),
            ("\r\nHTTP/1.1 200 OK\r\nA : b \r\n\r\n", &[("A", "b")]),
            ("HTTP/1.1 200 OK\r\nA: b\r\n  c\r\n\td\r\nE: f\r\n\r\n", &[("A", "b c d"), ("E", "f")]),
            ("HTTP/1.1 200 OK\r\nA:\r\n b\r\n\r\n", &[("A", "b")]),
            ("HTTP/1.1 200 OK\r\nno colon\r\nA: b\r\n\r\n", &[("A", "b")]),
            ("HTTP/1.1 200 Ja\u{f6}\r\nA: \u{e9}\r\n\r\n", &[("A", "\u{e9}")]),
            ("HTTP/1.1 200 OK\r\n\r\n", &[]),
            ("HTTP/1.1 200 OK\n\n", &[]),
        ] {
            let (status, fields, length) = read(text);
            assert_eq!((status, fields, length), (200, pairs(expected), text.len()), "{text:?}");
            for cut in 0..text.len() {
                assert_eq!(split(&text.as_bytes()[..cut]).map(|found| found.is_some()), Ok(false), "{cut} of {text:?}");
            }
        }
        assert_eq!(unfold(b"caf\xe9"), "café");
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(400));
        assert_eq!(read(&many).1.len(), 400);
    }

    #[test]
    fn what_is_no_head_is_told() {
        for (text, why) in [
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not begin with HTTP"),
            ("HTTP/2 200\r\n\r\n", "does not begin with HTTP"),
            ("HTTP/1.1 twenty\r\n\r\n", "status line"),
            ("HTTP/1.1 099 x\r\n\r\n", "100 to 999"),
        ] {
            assert!(split(text.as_bytes()).unwrap_err().to_string().contains(why), "{text:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(LONGEST_HEAD));
        assert_eq!(split(long.as_bytes()).err(), Some(Broken::TooLong));
        assert_eq!(split(format!("{long}\r\n\r\n").as_bytes()).err(), Some(Broken::TooLong));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(501));
        assert_eq!(split(many.as_bytes()).err(), Some(Broken::TooLong));
    }

    #[test]
    fn the_length_of_a_body_is_what_the_rfc_says() {
        let of = |status, list: &[(&str, &str)]| framing(status, &pairs(list));
        for (list, expected) in [
            (&[][..], Framing::Close),
            (&[("content-length", "2")], Framing::Length(2)),
            (&[("Content-Length", "2"), ("Content-Length", "2")], Framing::Length(2)),
            (&[("Content-Length", "2, 2")], Framing::Length(2)),
            (&[("Transfer-Encoding", "chunked"), ("Content-Length", "7")], Framing::Chunked),
            (&[("Transfer-Encoding", "gzip, Chunked")], Framing::Chunked),
            (&[("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "chunked")], Framing::Chunked),
            (&[("Transfer-Encoding", "gzip"), ("Content-Length", "7")], Framing::Close),
            (&[("Transfer-Encoding", "identity"), ("Content-Length", "7")], Framing::Length(7)),
        ] {
            assert_eq!(of(200, list), Ok(expected), "{list:?}");
        }
        for status in [100, 103, 204, 304] {
            assert_eq!(of(status, &[("Content-Length", "5")]), Ok(Framing::None));
        }
        for bad in ["two", "+2", "-1", "2, 3", "99999999999999999999", "2 2"] {
            assert!(of(200, &[("Content-Length", bad)]).is_err(), "{bad}");
        }
    }
}
