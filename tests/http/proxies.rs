//! Ways over proxies.

use super::support::*;

/// A proxy that joins CONNECT to its target, or answers `refusal`.
fn connect_proxy(refusal: Option<&'static str>) -> Server {
    connect_proxy_saying("HTTP/1.1 200 Connection established\r\n\r\n", refusal)
}

/// One that says so before it joins.
fn connect_proxy_saying(joined: &'static str, refusal: Option<&'static str>) -> Server {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let kept = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, kept) = (stream.unwrap(), kept.clone());
            thread::spawn(move || {
                let request = read_request(&mut stream);
                let target = request.split(' ').nth(1).unwrap().replace("localhost", "127.0.0.1");
                kept.lock().unwrap().push(request);
                if let Some(refusal) = refusal {
                    let _ = stream.write_all(refusal.as_bytes());
                    return;
                }
                let far = TcpStream::connect(target).unwrap();
                for part in joined.as_bytes().chunks(20) {
                    stream.write_all(part).unwrap();
                }
                let (mut near_in, mut far_out) = (stream.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut near_in, &mut far_out));
                let _ = std::io::copy(&mut { far }, &mut stream);
            });
        }
    });
    Server { port, requests }
}

#[test]
fn https_goes_by_the_proxy_unless_no_proxy_says_otherwise() {
    let ca = ca();
    let server = ca.server("localhost", (2000, 4000));
    let proxy = connect_proxy(None);
    let address = format!("http://us%40er:p%3Ahunter2@127.0.0.1:{}", proxy.port);
    let with = |set: &[(&str, &str)]| NetworkSettings { ssl_cert_file: Some(ca.file.clone()), ..settings(set) };
    assert_eq!(send_tls(&server, with(&[("HTTPS_PROXY", &address)])).unwrap().status, 200);
    let said = proxy.requests.lock().unwrap()[0].to_lowercase();
    assert!(said.starts_with(&format!("connect localhost:{} http/1.1\r\n", server.port)), "{said}");
    assert!(said.contains("user-agent: tok/0.0\r\n"), "{said}");
    let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "us@er:p:hunter2").to_lowercase();
    assert!(said.contains(&format!("proxy-authorization: basic {basic}\r\n")), "{said}");
    assert!(!said.contains("accept"));
    let seen = server.requests.lock().unwrap()[0].to_lowercase();
    assert!(!seen.contains("proxy") && seen.matches("user-agent").count() == 1, "{seen}");
    let direct = with(&[("https_proxy", &address), ("no_proxy", "foo, localhost")]);
    assert_eq!(send_tls(&server, direct).unwrap().status, 200);
    assert_eq!((proxy.count(), server.count()), (1, 2));
}

#[test]
fn any_2xx_joins_whatever_stands_around_it() {
    let ca = ca();
    let server = ca.server("localhost", (2000, 4000));
    for joined in [
        "HTTP/1.1 201 Created\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 Connection established\r\nVia: a\r\n b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nDate: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 200 OK\nServer : x\n\n",
    ] {
        let proxy = connect_proxy_saying(joined, None);
        let address = format!("http://127.0.0.1:{}", proxy.port);
        let settings =
            NetworkSettings { ssl_cert_file: Some(ca.file.clone()), ..settings(&[("https_proxy", &address)]) };
        assert_eq!(send_tls(&server, settings).map(|r| r.status).map_err(|e| format!("{e:?}")), Ok(200), "{joined:?}");
        assert_eq!(proxy.count(), 1);
    }
}

#[test]
fn plain_http_on_this_machine_may_go_by_a_proxy_on_it() {
    let (server, proxy) = (Server::saying(&[OK]), connect_proxy(None));
    let address = format!("127.0.0.1:{}", proxy.port);
    let client = http(settings(&[("all_proxy", &address)]));
    let response = send_with(&client, &request(&server.url(), Repeat::Freely), PATIENCE).unwrap();
    assert_eq!((response.status, proxy.count(), server.count()), (200, 1, 1));
}

#[test]
fn a_proxy_that_does_not_help_is_said_so() {
    let ca = ca();
    let server = ca.server("localhost", (2000, 4000));
    let by = |address: String| NetworkSettings {
        ssl_cert_file: Some(ca.file.clone()),
        ..settings(&[("https_proxy", &address)])
    };
    for (answer, user, part, hint, count) in [
        ("HTTP/1.1 407 Auth\r\n\r\n", "", "requires a user and password", "https_proxy", 1),
        ("HTTP/1.1 407 Auth\r\n\r\n", "u:hunter2@", "refuses the user or password", "https_proxy", 1),
        ("HTTP/1.1 403 No\r\n\r\n", "", "it refused the connection (403)", "NO_PROXY", 1),
        ("HTTP/1.1 503 Busy\r\n\r\n", "", "it refused the connection (503)", "NO_PROXY", 4),
        ("SSH-2.0-x\r\n\r\n", "", "is not an HTTP proxy", "", 1),
    ] {
        let proxy = connect_proxy(Some(answer));
        let result = send_tls(&server, by(format!("http://{user}127.0.0.1:{}", proxy.port)));
        let error = error(result, Kind::Unavailable, part);
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{error:?}");
        assert!(error.why.contains("https_proxy"), "{error:?}");
        assert_eq!(proxy.count(), count, "{answer}");
    }
    for scheme in ["http", "socks5h", "socks4", "https"] {
        let address = format!("{scheme}://{NOBODY}");
        let request = request(&format!("https://localhost:{}/", server.port), Repeat::Freely);
        let result = send_with(&http(by(address)), &request, Duration::from_secs(1));
        error(result, Kind::Unavailable, "connection refused");
    }
    error(send_tls(&server, by("http://u:hunter2@h:port".into())), Kind::Usage, "https_proxy");
    assert_eq!(server.count(), 0);
}

#[test]
fn a_proxy_that_trickles_does_not_hold_the_call() {
    let trickle: Answer = Arc::new(|_, stream| {
        while stream.write_all(b"HTTP/1.1 200 ").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let silent: Answer = Arc::new(|_, _| thread::sleep(Duration::from_secs(600)));
    let ca = ca();
    for answer in [silent, trickle] {
        let proxy = Server::start(None, answer);
        let address = format!("127.0.0.1:{}", proxy.port);
        let client =
            http(NetworkSettings { ssl_cert_file: Some(ca.file.clone()), ..settings(&[("ALL_PROXY", &address)]) });
        let start = Instant::now();
        let request = request("https://example.com/", Repeat::Freely);
        let result = send_with(&client, &request, Duration::from_millis(700));
        assert_eq!(result.unwrap_err().kind, Kind::Unavailable);
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    }
}

#[test]
fn socks_proxies_are_used() {
    let ca = ca();
    let server = ca.server("localhost", (2000, 4000));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = server.port;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let kept = kept.clone();
            thread::spawn(move || {
                stream.read_exact(&mut [0; 3]).unwrap();
                stream.write_all(&[5, 0]).unwrap();
                let mut head = [0; 4];
                stream.read_exact(&mut head).unwrap();
                let mut length = [4];
                if head[3] == 3 {
                    stream.read_exact(&mut length).unwrap();
                }
                let mut rest = vec![0; usize::from(length[0]) + 2];
                stream.read_exact(&mut rest).unwrap();
                kept.lock().unwrap().push(head[3]);
                stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
                let far = TcpStream::connect(("127.0.0.1", target)).unwrap();
                let (mut near_in, mut far_out) = (stream.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut near_in, &mut far_out));
                let _ = std::io::copy(&mut { far }, &mut stream);
            });
        }
    });
    for scheme in ["socks5", "socks5h"] {
        let address = format!("{scheme}://127.0.0.1:{port}");
        let settings =
            NetworkSettings { ssl_cert_file: Some(ca.file.clone()), ..settings(&[("https_proxy", &address)]) };
        assert_eq!(send_tls(&server, settings).unwrap().status, 200);
    }
    // An address for socks5, the name for socks5h, as curl does.
    assert_eq!(*seen.lock().unwrap(), [1, 3]);
}
