//! What each reply is taken for.

use super::support::*;

#[test]
fn broken_replies_are_told_apart() {
    let long = "x".repeat((1 << 20) + 1);
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{long}");
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let many = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for (text, kind, part) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Kind::Unavailable, "before the whole reply"),
        ("HTTP/1.1 200 OK\r\nContent-Le", Kind::Unavailable, "before the whole reply"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Kind::Reply, "not HTTP"),
        ("<html>hello</html>\r\n\r\n", Kind::Reply, "not HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}", Kind::Reply, "not HTTP"),
        (&chunked("xyz\r\n{}\r\n0\r\n\r\n"), Kind::Reply, "not HTTP"),
        (&chunked("2\r\n{}\r\n"), Kind::Unavailable, "before the whole reply"),
        (&endless, Kind::Reply, "longer than 1 MiB"),
        (&many, Kind::Reply, "headers are too long"),
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
        thread::sleep(Duration::from_millis(200));
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"access_to").unwrap();
        thread::sleep(Duration::from_millis(200));
        // Closed with unread bytes: the system sends a reset.
    });
    error(send(&url, Repeat::Personal), Kind::Unavailable, "the connection was reset");
}

#[test]
fn older_and_stranger_http_is_understood() {
    for text in [
        "HTTP/1.0 200 OK\r\n\r\n{}",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 200\r\ncontent-length:2\r\n\r\n{}",
    ] {
        let response = send(&Server::saying(&[text]).url(), Repeat::Freely).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (200, b"{}".as_slice()), "{text}");
    }
}
