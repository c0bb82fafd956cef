//! What goes over the wire, and how often.

use super::support::*;

#[test]
fn the_bytes_on_the_wire_are_the_request_and_nothing_else() {
    let server = Server::saying(&[OK]);
    let response = send(&server.url(), Repeat::Freely).unwrap();
    assert_eq!((response.status, response.body.as_slice(), response.received), (200, b"{}".as_slice(), NOW));
    assert_eq!(response.header("Content-Length"), Some("2"));
    let text = server.requests.lock().unwrap()[0].clone();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_string).collect();
    assert_eq!(lines.remove(0), "POST /token?secret=hunter2 HTTP/1.1");
    for line in &mut lines {
        let (name, value) = line.split_once(": ").unwrap();
        *line = format!("{}: {value}", name.to_lowercase());
    }
    lines.sort();
    let expected = [
        "accept-encoding: identity".to_string(),
        "accept: application/json".into(),
        "content-length: 13".into(),
        "content-type: application/x-www-form-urlencoded".into(),
        format!("host: 127.0.0.1:{}", server.port),
        "user-agent: tok/0.0".into(),
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, "a=1&b=hunter2");
}

#[test]
fn methods_and_bodies_are_sent_as_asked() {
    for (method, body, line, length) in [
        (Method::Get, None, "GET ", None),
        (Method::Get, Some("x"), "GET ", Some("content-length: 1")),
        (Method::Put, Some("x"), "PUT ", Some("content-length: 1")),
        (Method::Post, None, "POST ", Some("content-length: 0")),
    ] {
        let server = Server::saying(&[OK]);
        let mut request = request(&server.url(), Repeat::Freely);
        request.method = method;
        request.body = body.map(|b| Zeroizing::new(b.as_bytes().to_vec()));
        request.headers.clear();
        send_with(&http(NetworkSettings::default()), &request, PATIENCE).unwrap();
        let text = server.requests.lock().unwrap()[0].to_lowercase();
        assert!(text.starts_with(&line.to_lowercase()), "{text}");
        let found = text.lines().find(|l| l.starts_with("content-length") || l.starts_with("transfer-encoding"));
        assert_eq!(found, length, "{method:?}");
        assert!(!text.contains("user-agent") && !text.contains("accept:"), "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{}", body.unwrap_or(""))), "{text}");
    }
}

#[test]
fn a_header_that_would_be_two_is_refused() {
    let mut request = request("http://127.0.0.1:1/", Repeat::Freely);
    request.headers.push(("X-Key".into(), Zeroizing::new("hunter2\r\nX: y".into())));
    let result = send_with(&http(NetworkSettings::default()), &request, PATIENCE);
    error(result, Kind::Config, "X-Key");
}

#[test]
fn every_status_is_a_reply_and_no_redirect_is_followed() {
    let elsewhere = Server::saying(&[OK]);
    for code in [301, 302, 303, 307, 308] {
        let location = format!("Location: http://127.0.0.1:{}/\r\n", elsewhere.port);
        let server = Server::saying(&[&format!("HTTP/1.1 {code} Moved\r\n{location}Content-Length: 0\r\n\r\n")]);
        let response = send(&server.url(), Repeat::Freely).unwrap();
        assert_eq!((response.status, server.count()), (code, 1));
        assert!(response.header("location").is_some());
    }
    assert_eq!(elsewhere.count(), 0);
    for status in ["201 Created", "204 No Content", "400 Bad", "401 No", "408 Late", "500 Oh", "501 What"] {
        let body = if status.starts_with("204") { "HTTP/1.1 204 No Content\r\n\r\n".into() } else { reply(status) };
        let server = Server::saying(&[&body]);
        let response = send(&server.url(), Repeat::Freely).unwrap();
        assert!(status.starts_with(&response.status.to_string()));
        assert_eq!(server.count(), 1, "{status}");
    }
}

#[test]
fn each_class_of_request_is_repeated_as_the_contract_says() {
    for (status, freely, rotating, personal) in
        [("429 Slow", 2, 2, 1), ("503 Busy", 2, 2, 1), ("502 Gate", 2, 1, 1), ("504 Gate", 2, 1, 1)]
    {
        for (repeat, count) in [(Repeat::Freely, freely), (Repeat::Rotating, rotating), (Repeat::Personal, personal)] {
            let server = Server::saying(&[&reply(status), OK]);
            let response = send(&server.url(), repeat).unwrap();
            assert_eq!(server.count(), count, "{status} {repeat:?}");
            assert_eq!(response.status == 200, count == 2);
        }
    }
    let server = Server::saying(&[&reply("503 Busy")]);
    assert_eq!(send(&server.url(), Repeat::Freely).unwrap().status, 503);
    assert_eq!(server.count(), 4);
}

#[test]
fn the_log_has_a_line_for_each_attempt_and_no_path_or_query() {
    let server = Server::saying(&[&reply("503 Busy"), OK]);
    let mut told = Told::default();
    let deadline = Instant::now() + PATIENCE;
    http(NetworkSettings::default())(&request(&server.url(), Repeat::Freely), deadline, &mut told).unwrap();
    let lines = told.lines;
    let start = format!("POST http://127.0.0.1:{}: ", server.port);
    assert!(lines[0].starts_with(&format!("{start}503; again in 0.")), "{lines:?}");
    assert_eq!(lines[1..], [format!("{start}200")]);
}

#[test]
fn what_was_sent_and_not_answered_is_never_sent_again() {
    let server = Server::saying(&[""]);
    error(send(&server.url(), Repeat::Freely), Kind::Unavailable, "closed before the reply was complete");
    assert_eq!(server.count(), 1);
}

/// Listens at the port at the first note of a failure, and answers.
#[cfg(unix)]
struct Listening(Option<crate::refusing::Refusing>, Option<thread::JoinHandle<()>>, Vec<String>);

#[cfg(unix)]
impl Events for Listening {
    fn note(&mut self, line: &str) {
        self.2.push(line.to_string());
        let Some(refusing) = self.0.take() else { return };
        self.1 = Some(thread::spawn(move || {
            let (mut stream, _) = refusing.listen().accept().unwrap();
            read_request(&mut stream);
            stream.write_all(OK.as_bytes()).unwrap();
        }));
    }
}

#[cfg(unix)]
#[test]
fn a_refused_connection_is_tried_again() {
    let start = Instant::now();
    let refused = error(send(&format!("http://{NOBODY}/"), Repeat::Personal), Kind::Unavailable, "connection refused");
    assert_eq!(refused.hint.as_deref(), Some("check the URL's host and port"));
    assert!(start.elapsed() > Duration::from_millis(800), "{:?}", start.elapsed());
    // Nobody listens until the first try has failed, which is told.
    let refusing = crate::refusing::Refusing::new();
    let request = request(&format!("{}/", refusing.url()), Repeat::Rotating);
    let mut listening = Listening(Some(refusing), None, Vec::new());
    let response = http(NetworkSettings::default())(&request, Instant::now() + PATIENCE, &mut listening);
    assert_eq!(response.unwrap().status, 200);
    assert!(listening.2.len() >= 2 && listening.2[0].contains("again in"), "{:?}", listening.2);
    listening.1.unwrap().join().unwrap();
}

#[test]
fn retry_after_is_obeyed_or_ends_it() {
    let slow = |after: &str| format!("HTTP/1.1 429 Slow\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n");
    let dates = ["Sun, 06 Nov 1994 08:49:31 GMT", "Sunday, 06-Nov-94 08:49:31 GMT", "Sun Nov  6 08:49:31 1994"];
    for after in ["1"].into_iter().chain(dates) {
        let server = Server::saying(&[&slow(after), OK]);
        let start = Instant::now();
        assert_eq!(send(&server.url(), Repeat::Rotating).unwrap().status, 200);
        assert!(start.elapsed() >= Duration::from_secs(1));
    }
    for after in ["3600", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let server = Server::saying(&[&slow(after), OK]);
        let start = Instant::now();
        assert_eq!(send(&server.url(), Repeat::Freely).unwrap().status, 429);
        assert!(start.elapsed() < PATIENCE && server.count() == 1);
    }
}

#[test]
fn the_time_is_kept_whatever_the_server_does() {
    let trickle: Answer = Arc::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b"x").and_then(|()| stream.flush()).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let silent: Answer = Arc::new(|_, _| thread::sleep(Duration::from_secs(600)));
    let endless: Answer = Arc::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    // Interim replies without end, and chunks of nothing but extensions.
    let interim: Answer = Arc::new(|_, stream| while stream.write_all(b"HTTP/1.1 103 x\r\nA: b\r\n\r\n").is_ok() {});
    let extension: Answer = Arc::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    for answer in [trickle, silent, endless, interim, extension] {
        let server = Server::start(None, answer);
        let start = Instant::now();
        let request = request(&server.url(), Repeat::Freely);
        let result = send_with(&http(NetworkSettings::default()), &request, Duration::from_millis(5500));
        let error = error(result, Kind::Unavailable, "no answer within 5.5s");
        assert!(error.hint.unwrap().contains("--timeout"));
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
        assert_eq!(server.count(), 1);
    }
    let request = request("http://127.0.0.1:1/", Repeat::Freely);
    error(send_with(&http(NetworkSettings::default()), &request, Duration::ZERO), Kind::Unavailable, "no answer");
}

#[test]
fn plain_text_leaves_this_machine_for_nowhere() {
    for url in ["http://example.com/", "http://127.0.0.1.example/", "http://10.0.0.1/", "ftp://localhost/"] {
        error(send(url, Repeat::Freely), Kind::Config, "neither https nor");
    }
    error(send("https://localhost:65536/", Repeat::Freely), Kind::Config, "port");
    for url in ["https://user:hunter2@localhost/", "/hunter2", "https://a b/", "https:///", ""] {
        error(send(url, Repeat::Freely), Kind::Config, "");
    }
}

/// `tests/cli/ci.rs` has the metadata service itself.
#[test]
fn plain_text_on_the_link_is_for_a_metadata_service_alone() {
    error(send("http://169.254.169.254/", Repeat::Freely), Kind::Config, "neither https nor");
    for url in ["http://10.0.0.1/", "http://metadata/", "http://169.254.169.254.example.com/", "http://[::2]/"] {
        let request = Request { link_local: true, ..request(url, Repeat::Freely) };
        error(send_with(&http(NetworkSettings::default()), &request, PATIENCE), Kind::Config, "neither https nor");
    }
}

#[test]
fn localhost_is_this_machine() {
    let server = Server::saying(&[OK]);
    assert_eq!(send(&format!("http://localhost:{}/", server.port), Repeat::Freely).unwrap().status, 200);
}

#[test]
fn a_host_that_does_not_exist_is_said_so() {
    let limit = PATIENCE;
    let request = request("https://no-such-host.invalid/", Repeat::Freely);
    let error = error(send_with(&http(trusting(&ca().file)), &request, limit), Kind::Unavailable, "");
    let said = ["no such host", "name lookup failed", "no answer within", "no connection within"];
    assert!(said.iter().any(|text| error.why.contains(text)), "{error:?}");
}

/// `localhost` has two addresses: the first one swallows everything, the second one answers.
#[test]
#[cfg(unix)]
fn an_address_that_swallows_everything_does_not_hold_up_the_call() {
    let Ok(second) = TcpListener::bind("[::1]:0") else {
        eprintln!("skipped: there is no IPv6 here");
        return;
    };
    let port = second.local_addr().unwrap().port();
    let Ok(first) = TcpListener::bind(("127.0.0.1", port)) else {
        eprintln!("skipped: the port is taken");
        return;
    };
    rustix::net::listen(&first, 0).unwrap();
    let address = first.local_addr().unwrap();
    let waiting = Duration::from_millis(300);
    let full: Vec<_> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, waiting).ok()).take(100).collect();
    assert!(full.len() < 100, "its queue has no end");
    thread::spawn(move || {
        let (mut stream, _) = second.accept().unwrap();
        read_request(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let start = Instant::now();
    assert_eq!(send(&format!("http://localhost:{port}/"), Repeat::Personal).unwrap().status, 200);
    // Half of what a connection may take: shared out by turns, the first address alone had two thirds of it.
    assert!(start.elapsed() * 2 < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(full);
}
