//! A reply that somebody saved: status line, headers and body as `curl -i` prints them, or a body alone.

use crate::base::time::Time;
use crate::oauth::request::Response;
use zeroize::Zeroizing;

/// The reply in `bytes`, and whether its status is in there: a body alone counts as one with 200. Of several heads
/// (100 Continue, a proxy's answer to CONNECT) the last counts.
pub fn saved(bytes: &[u8], received: Time) -> (Response, bool) {
    let alone = |body: &[u8]| {
        (Response { status: 200, headers: Vec::new(), body: Zeroizing::new(body.to_vec()), received }, false)
    };
    let mut last = None;
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    while let Some((status, headers, body)) = head(rest) {
        rest = body;
        last = Some((status, headers));
    }
    match last {
        None => alone(bytes),
        Some((status, headers)) => (Response { status, headers, body: Zeroizing::new(rest.to_vec()), received }, true),
    }
}

type Headers = Vec<(String, String)>;

/// Status, headers and what follows, where `bytes` begin with a status line.
fn head(bytes: &[u8]) -> Option<(u16, Headers, &[u8])> {
    let (first, mut rest) = line(bytes)?;
    let status = first.strip_prefix("HTTP/")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let mut headers = Headers::new();
    while let Some((text, behind)) = line(rest) {
        rest = behind;
        if text.is_empty() {
            break;
        }
        if let Some((name, value)) = text.split_once(':') {
            headers.push((name.trim().to_string(), value.trim().to_string()));
        }
    }
    Some((status, headers, rest))
}

/// The first line of `bytes`, and what follows; `None` where nothing is left.
fn line(bytes: &[u8]) -> Option<(String, &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Some((String::from_utf8_lossy(line).into_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (u16, Vec<(String, String)>, String, bool) {
        let (reply, has_status) = saved(text.as_bytes(), Time::from_secs(0));
        (reply.status, reply.headers, String::from_utf8(reply.body.to_vec()).expect("text"), has_status)
    }

    #[test]
    fn a_reply_is_read_as_curl_prints_it() {
        let header = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(read("{\"a\":1}\n"), (200, Vec::new(), "{\"a\":1}\n".into(), false));
        let expected = (401, vec![header("X-A", "b: c")], "{}".to_string(), true);
        assert_eq!(read("HTTP/1.1 401 Unauthorized\r\nX-A: b: c\r\n\r\n{}"), expected);
        assert_eq!(read("HTTP/2 401\nX-A:b: c\n\n{}"), expected);
        assert_eq!(read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 x\r\nX-A: b: c\r\n\r\n{}"), expected);
        assert_eq!(read("HTTP/1.1 204 No Content\r\n"), (204, Vec::new(), String::new(), true));
        assert_eq!(read("HTTP/1.1 nonsense\n\nx").0, 200);
    }
}
