//! What each reply is taken for.

use super::support::*;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn broken_replies_are_told_apart() {
    let long = "x".repeat((1 << 20) + 1);
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{long}");
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let many = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for (text, kind, part) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Kind::Unavailable, "before the reply was complete"),
        ("HTTP/1.1 200 OK\r\nContent-Le", Kind::Unavailable, "before the reply was complete"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Kind::Reply, "not HTTP"),
        ("<html>hello</html>\r\n\r\n", Kind::Reply, "not HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}", Kind::Reply, "not HTTP"),
        (&chunked("xyz\r\n{}\r\n0\r\n\r\n"), Kind::Reply, "not HTTP"),
        (&chunked("2\r\n{}\r\n"), Kind::Unavailable, "before the reply was complete"),
        (&endless, Kind::Reply, "longer than 1 MiB"),
        (&many, Kind::Reply, "header is too long"),
    ] {
        let server = Server::saying(&[text]);
        error(send(&server.url(), Repeat::Freely), kind, part);
        assert_eq!(server.count(), 1);
    }
    for (text, status) in [
        (endless.replace("200 OK", "500 Oh"), 500),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\n{}".into(), 500),
        (chunked("xyz\r\n").replace("200 OK", "500 Oh"), 500),
        ("HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\n{}".into(), 401),
        ("HTTP/1.1 302 Go\r\nContent-Length: 9\r\n\r\n{}".into(), 302),
    ] {
        let response = send(&Server::saying(&[&text]).url(), Repeat::Freely).unwrap();
        assert_eq!((response.status, response.body.len()), (status, 0));
    }
}

#[test]
fn one_mebibyte_is_not_too_long() {
    let text = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20));
    assert_eq!(send(&Server::saying(&[&text]).url(), Repeat::Freely).unwrap().body.len(), 1 << 20);
}

#[test]
fn a_reset_is_no_end_of_a_body() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.peek(&mut [0; 1]).unwrap(); // the request has come, and is not read
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"access_to").unwrap();
        thread::sleep(Duration::from_millis(200));
        // Closed with unread bytes: the system sends a reset.
    });
    error(send(&url, Repeat::Personal), Kind::Unavailable, "the connection was reset");
}

/// What RFC 9110 and RFC 9112 let a server send: all of these are 200 with `{}`.
const LIBERTIES: &[(&str, &str)] = &[
    ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n{}"),
    ("HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}junk"),
    ("HTTP/1.0 in chunks", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    ("100 alone", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    (
        "100 with header lines",
        "HTTP/1.1 100 Continue\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: x\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ),
    (
        "several interim replies, one with a length that means nothing",
        "HTTP/1.1 102 Processing\r\nContent-Length: 7\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </b>;\r\n rel=x\r\n\r\nHTTP/1.1 199 x\r\n\r\nHTTP/1.1 100\n\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ),
    ("folded", "HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\n\tc\r\nContent-Length:\r\n 2\r\n\r\n{}"),
    ("line feeds alone", "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}"),
    ("space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}junk"),
    ("no reason", "HTTP/1.1 200\r\ncontent-length:2\r\n\r\n{}"),
    ("a reason beyond ASCII", "HTTP/1.1 200 Já\r\nContent-Length: 2\r\n\r\n{}"),
    ("an empty line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    ("a line that is none", "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\n{}"),
    ("the length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}junk"),
    ("the length as a list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}junk"),
    (
        "chunks and a length",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ),
    ("no length", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}"),
    (
        "a length beside a connection that stays",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
    ),
    ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\nX: y\r\n\r\n"),
    (
        "long extensions and folded trailers",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n001 ; signature=\"0123456789012345678901234567890123456789\"\r\n\
         {\r\n1\r\n}\r\n0;last\r\nX: y\r\n z\r\nDigest: q\r\n\r\n",
    ),
    ("chunks that end with the connection", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"),
];

#[test]
fn all_that_the_rfcs_allow_is_read_before_and_after_a_token_is_spent() {
    for (what, text) in LIBERTIES {
        for piece in [text.len(), 1, 7] {
            let server = Server::dribbling(text.as_bytes(), piece);
            let response = send(&server.url(), Repeat::Rotating).unwrap_or_else(|e| panic!("{what}: {e:?}"));
            assert_eq!((response.status, response.body.as_slice()), (200, b"{}".as_slice()), "{what}, {piece}");
        }
    }
}

#[test]
fn a_reply_without_a_body_ends_with_its_head() {
    for text in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        // The connection stays open: nothing else tells the end.
        let answer: Answer = Arc::new(move |_, stream| {
            stream.write_all(text.as_bytes()).unwrap();
            let _ = stream.read(&mut [0]);
        });
        let response = send(&Server::start(None, answer).url(), Repeat::Freely).unwrap();
        assert!(response.body.is_empty() && text.contains(&response.status.to_string()), "{text}");
    }
}

#[test]
fn header_lines_come_as_they_were_sent() {
    let lines: String = (0..300).map(|number| format!("X-{number}: {number}\r\n")).collect();
    let text = format!(
        "HTTP/1.1 200 OK\r\nWWW-Authenticate: DPoP a=\"b\",\r\n\terror=\"c\"\r\nX : y \r\nL: caf\u{e9}\r\n{lines}\
         Content-Length: 2\r\n\r\n{{}}"
    );
    let response = send(&Server::saying(&[&text]).url(), Repeat::Freely).unwrap();
    assert_eq!(response.header("www-authenticate"), Some("DPoP a=\"b\", error=\"c\""));
    assert_eq!((response.header("x"), response.header("l")), (Some("y"), Some("café")));
    assert_eq!((response.header("X-299"), response.headers.len()), (Some("299"), 304));
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(body).unwrap();
    packer.finish().unwrap()
}

fn packed(status: &str, coding: &str, body: &[u8]) -> Server {
    let head = format!("HTTP/1.1 {status}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", body.len());
    Server::dribbling(&[head.as_bytes(), body].concat(), usize::MAX)
}

#[test]
fn a_reply_that_is_packed_unasked_is_unpacked() {
    let body = br#"{"access_token":"a","token_type":"Bearer"}"#;
    for status in ["200 OK", "400 Bad Request", "503 Busy"] {
        let server = packed(status, "gzip", &gzip(body));
        let response = send(&server.url(), Repeat::Personal).unwrap();
        assert_eq!(response.body.as_slice(), body, "{status}");
        assert!(server.requests.lock().unwrap()[0].to_lowercase().contains("\r\naccept-encoding: identity\r\n"));
    }
    let mut chunked = b"HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in gzip(body).chunks(5) {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let response = send(&Server::dribbling(&chunked, usize::MAX).url(), Repeat::Rotating).unwrap();
    assert_eq!(response.body.as_slice(), body);
    // A bomb, damage, and what was never asked for.
    let small = gzip(&vec![b' '; 64 << 20]);
    assert!(small.len() < 1 << 17);
    for (coding, body, part) in [
        ("gzip", small, "longer than 1 MiB"),
        ("gzip", gzip(body)[..20].to_vec(), "damaged or incomplete"),
        ("br", b"x".to_vec(), "unsupported compression"),
    ] {
        error(send(&packed("200 OK", coding, &body).url(), Repeat::Freely), Kind::Reply, part);
        let refused = send(&packed("401 No", coding, &body).url(), Repeat::Freely).unwrap();
        assert_eq!((refused.status, refused.body.len()), (401, 0));
    }
}

// Events

#[test]
fn nothing_is_sent_where_the_caller_stops_at_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let read = thread::spawn(move || {
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).map(|_| text)
    });
    let stop = Error::new(Kind::Store, "the lease", "is another's").hint("wait");
    let (events, result) = told(&url, Repeat::Freely, Some(stop));
    let stopped = result.unwrap_err();
    assert_eq!((stopped.kind, stopped.what.as_str(), stopped.why.as_str()), (Kind::Store, "the lease", "is another's"));
    assert_eq!(events, ["connected"]);
    assert_eq!(read.join().unwrap().unwrap(), "");
}

#[test]
fn each_attempt_is_told_with_its_reply_as_it_came() {
    let server = Server::saying(&[&reply("503 Busy"), "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n{}"]);
    let (events, result) = told(&server.url(), Repeat::Freely, None);
    assert_eq!(result.unwrap().status, 200);
    let first = r#"503 "Content-Length: 2\r\n" "{}""#;
    assert_eq!(events, ["connected", first, "connected", r#"200 "A: b\r\n c\r\n" "{}""#]);
    let packed = gzip(b"{}");
    let server = self::packed("200 OK", "gzip", &packed);
    let (events, result) = told(&server.url(), Repeat::Freely, None);
    assert_eq!(result.unwrap().body.as_slice(), b"{}");
    assert!(events[1].ends_with(&format!("{:?}", String::from_utf8_lossy(&packed))), "{events:?}");
    let (events, _) =
        told(&Server::saying(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"]).url(), Repeat::Freely, None);
    assert_eq!(events, ["connected"]);
}

/// Whether the server has seen the connection end when `received` is told.
struct Closing(Arc<AtomicBool>, Option<bool>);

impl Events for Closing {
    fn received(&mut self, _: &Head, _: &[u8]) {
        thread::sleep(Duration::from_millis(200));
        self.1 = Some(self.0.load(Ordering::SeqCst));
    }
}

#[test]
fn a_reply_is_told_before_the_connection_is_closed() {
    for text in ["Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"] {
        let closed = Arc::new(AtomicBool::new(false));
        let (seen, closed) = (closed.clone(), closed);
        let answer: Answer = Arc::new(move |_, stream| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{text}").as_bytes()).unwrap();
            let _ = stream.read(&mut [0]);
            seen.store(true, Ordering::SeqCst);
        });
        let mut closing = Closing(closed.clone(), None);
        let request = request(&Server::start(None, answer).url(), Repeat::Freely);
        real(NetworkSettings::default(), || NOW)(&request, Instant::now() + PATIENCE, &mut closing).unwrap();
        assert_eq!(closing.1, Some(false), "{text}");
        let start = Instant::now();
        while !closed.load(Ordering::SeqCst) {
            assert!(start.elapsed() < Duration::from_secs(10), "never closed");
            thread::yield_now();
        }
    }
}
