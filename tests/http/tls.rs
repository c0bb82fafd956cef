//! Whose certificate is trusted.

use super::support::*;

#[test]
fn a_certificate_is_trusted_by_each_of_the_settings() {
    let (ca, other) = (ca(), ca());
    let server = ca.server("localhost", (2000, 4000));
    assert_eq!(send_tls(&server, trusting(&ca.file)).unwrap().status, 200);
    assert_eq!(send_tls_besides(&server, trusting(&other.file), &ca.file).unwrap().status, 200);
    let dir = Settings { ssl_cert_dir: vec![ca.file.parent().unwrap().into()], ..Settings::default() };
    assert_eq!(send_tls(&server, dir).unwrap().status, 200);
    assert_eq!(send_tls_besides(&server, Settings::default(), &ca.file).unwrap().status, 200);
}

#[test]
fn a_certificate_that_is_not_good_is_refused_in_plain_words() {
    let ca = ca();
    for (name, years, part, hint) in [
        ("localhost", (2000, 2001), "has expired", "clock"),
        ("localhost", (3000, 4000), "not yet valid", "clock"),
        ("other.example", (2000, 4000), "is for another name: other.example", "URL"),
    ] {
        let server = ca.server(name, years);
        let error = error(send_tls(&server, trusting(&ca.file)), Kind::Unavailable, part);
        assert!(error.hint.unwrap().contains(hint));
        assert_eq!(server.count(), 0);
    }
    let (server, other) = (ca.server("localhost", (2000, 4000)), self::ca());
    let error = error(send_tls(&server, trusting(&other.file)), Kind::Unavailable, "is not trusted");
    assert!(error.hint.unwrap().contains("ca_file"));
    assert_eq!(server.count(), 0);
}

#[test]
fn certificates_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let server = Server::saying(&[OK]);
    for path in [&empty, &dir.path().join("missing.pem")] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let e = error(send_tls_besides(&server, Settings::default(), path), Kind::Config, name);
        assert!(e.what.contains("ca_file"));
        let e = error(send_tls(&server, trusting(path)), Kind::Config, name);
        assert!(e.what.contains("SSL_CERT_FILE"));
        let mut plain = request(&server.url(), Repeat::Freely);
        plain.ca_file = Some(path.clone());
        assert!(send_with(&http(Settings::default()), &plain, Duration::from_secs(20)).is_ok(), "read without need");
    }
    let settings = Settings { ssl_cert_dir: vec![dir.path().join("missing")], ..Settings::default() };
    error(send_tls(&server, settings), Kind::Config, "SSL_CERT_DIR");
}

#[test]
fn a_port_without_tls_is_said_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let request = request(&format!("https://localhost:{port}/"), Repeat::Freely);
    let result = send_with(&http(trusting(&ca().file)), &request, Duration::from_secs(20));
    error(result, Kind::Unavailable, "does not speak TLS");
}
