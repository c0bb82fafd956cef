//! Whose certificate is trusted.

use super::support::*;

#[test]
fn a_certificate_is_trusted_by_each_of_the_settings() {
    let (ca, other) = (ca(), ca());
    let server = ca.server("localhost", (2000, 4000));
    assert_eq!(send_tls(&server, trusting(&ca.file)).unwrap().status, 200);
    assert_eq!(send_tls_besides(&server, trusting(&other.file), &ca.file).unwrap().status, 200);
    let dir = NetworkSettings { ssl_cert_dir: vec![ca.file.parent().unwrap().into()], ..NetworkSettings::default() };
    assert_eq!(send_tls(&server, dir).unwrap().status, 200);
    assert_eq!(send_tls_besides(&server, NetworkSettings::default(), &ca.file).unwrap().status, 200);
}

#[test]
fn a_certificate_that_is_not_good_is_refused_in_plain_words() {
    let ca = ca();
    for (name, years, part, hint) in [
        ("localhost", (2000, 2001), "has expired", "clock"),
        ("localhost", (3000, 4000), "not yet valid", "clock"),
        ("other.example", (2000, 4000), "is not valid for this host name, only for other.example", "URL"),
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
        let e = error(send_tls_besides(&server, NetworkSettings::default(), path), Kind::Config, name);
        assert!(e.what.contains("ca_file"));
        let e = error(send_tls(&server, trusting(path)), Kind::Config, name);
        assert!(e.what.contains("SSL_CERT_FILE"));
        let mut plain = request(&server.url(), Repeat::Freely);
        plain.ca_file = Some(path.clone());
        assert!(send_with(&http(NetworkSettings::default()), &plain, PATIENCE).is_ok(), "read without need");
    }
    let settings = NetworkSettings { ssl_cert_dir: vec![dir.path().join("missing")], ..NetworkSettings::default() };
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
    let result = send_with(&http(trusting(&ca().file)), &request, PATIENCE);
    error(result, Kind::Unavailable, "does not speak TLS");
}

#[test]
fn a_file_with_byte_order_marks_is_read_whole() {
    let (ca, other) = (ca(), ca_named("another root"));
    let server = ca.server("localhost", (2000, 4000));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("marked.pem");
    let (one, two) = (std::fs::read_to_string(&ca.file).unwrap(), std::fs::read_to_string(&other.file).unwrap());
    for text in [format!("\u{feff}{one}"), format!("\u{feff}{one}{two}"), format!("{two}\u{feff}{one}")] {
        std::fs::write(&file, text.replace('\n', "\r\n")).unwrap();
        assert_eq!(send_tls(&server, trusting(&file)).unwrap().status, 200);
        assert_eq!(send_tls_besides(&server, trusting(&other.file), &file).unwrap().status, 200);
    }
}

#[test]
fn each_ca_file_is_read_once_and_counts_for_its_own_requests() {
    let (one, two) = (ca(), ca_named("another root"));
    let server = one.server("localhost", (2000, 4000));
    let http = http(trusting(&two.file));
    let mut request = request(&format!("https://localhost:{}/", server.port), Repeat::Freely);
    let limit = PATIENCE;
    error(send_with(&http, &request, limit), Kind::Unavailable, "is not trusted");
    request.ca_file = Some(one.file.clone());
    assert_eq!(send_with(&http, &request, limit).unwrap().status, 200);
    std::fs::remove_file(&one.file).unwrap();
    assert_eq!(send_with(&http, &request, limit).unwrap().status, 200);
    request.ca_file = None;
    error(send_with(&http, &request, limit), Kind::Unavailable, "is not trusted");
}

/// A server with this certificate of its own, and a file with the certificate.
fn self_made(
    change: impl FnOnce(&mut rcgen::CertificateParams),
    issuer: Option<&Ca>,
) -> (Server, PathBuf, tempfile::TempDir) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_string()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    change(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = match issuer {
        Some(ca) => params.signed_by(&key, &ca.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.pem");
    std::fs::write(&file, cert.pem()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = tls13_and_12().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let answer: Answer = Arc::new(|_, stream| stream.write_all(OK.as_bytes()).unwrap());
    (Server::start(Some(Arc::new(config)), answer), file, dir)
}

#[test]
fn a_certificate_in_ca_file_is_trusted_as_that_server_s_own() {
    let other = ca_named("another root");
    // `openssl req -x509` says CA:TRUE; without; and one whose issuer is not in the file.
    let not_ca = |params: &mut rcgen::CertificateParams| params.is_ca = rcgen::IsCa::NoCa;
    for (server, file, _dir) in [self_made(|_| (), None), self_made(not_ca, None), self_made(not_ca, Some(&ca()))] {
        assert_eq!(send_tls(&server, trusting(&file)).unwrap().status, 200);
        assert_eq!(send_tls_besides(&server, trusting(&other.file), &file).unwrap().status, 200);
        error(send_tls(&server, trusting(&other.file)), Kind::Unavailable, "is not trusted");
    }
    // Its name and its dates count all the same, and it stands for no other.
    let (server, file, _dir) = self_made(
        |params| {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        },
        None,
    );
    error(send_tls(&server, trusting(&file)), Kind::Unavailable, "has expired");
    let (server, file, _dir) = self_made(
        |params| params.subject_alt_names = vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())],
        None,
    );
    error(
        send_tls(&server, trusting(&file)),
        Kind::Unavailable,
        "is not valid for this host name, only for other.example",
    );
    let (server, _, _dir) = self_made(|_| (), None);
    let (_, file, _dir) = self_made(|_| (), None);
    error(send_tls(&server, trusting(&file)), Kind::Unavailable, "is not trusted");
    assert_eq!(server.count(), 0);
}

// What OpenSSL still makes and rustls does not take

/// `openssl s_server` with these arguments, and its port.
struct Openssl {
    process: std::process::Child,
    port: u16,
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Openssl {
    fn start(cert: &Path, key: &Path, more: &[&str]) -> Openssl {
        let mut process = std::process::Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert"])
            .arg(cert)
            .arg("-key")
            .arg(key)
            .args(more)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().unwrap()));
        let port = lines.find_map(|line| line.ok()?.strip_prefix("ACCEPT ")?.rsplit(':').next()?.parse().ok());
        // It may go on to write.
        thread::spawn(move || lines.for_each(drop));
        Openssl { process, port: port.expect("a port") }
    }
}

fn openssl(args: &str, dir: &Path) {
    let output = std::process::Command::new("openssl").args(args.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_an_old_server_lacks_is_said_in_plain_words() {
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: there is no openssl here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let make = |args: &str| openssl(args, dir.path());
    make("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=root");
    std::fs::write(path("san"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    std::fs::write(path("nosan"), "basicConstraints=CA:FALSE\n").unwrap();
    for (name, bits, extensions, digest) in [
        ("good", 2048, "san", "sha256"),
        ("nosan", 2048, "nosan", "sha256"),
        ("sha1", 2048, "san", "sha1"),
        ("short", 1024, "san", "sha256"),
    ] {
        make(&format!("req -newkey rsa:{bits} -nodes -keyout {name}.key -out {name}.csr -subj /CN=localhost"));
        make(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -{digest} -extfile {extensions} -out {name}.pem"
        ));
    }
    const OLD: &str = "DEFAULT@SECLEVEL=0";
    for (cert, more, part, hint) in [
        ("nosan", &["-cipher", OLD][..], "the certificate names no host (it has no subjectAltName)", "operator"),
        ("sha1", &["-cipher", OLD], "the certificate is signed with SHA-1 or MD5, which is not secure", "operator"),
        ("short", &["-cipher", OLD], "the certificate has an RSA key of 1024 bits; at least 2048", "operator"),
        ("short", &["-cipher", OLD, "-tls1_2"], "the certificate has an RSA key of 1024 bits", "operator"),
        ("good", &["-tls1_1", "-cipher", OLD], "the server does not support TLS 1.2 or later", "TLS 1.2"),
        (
            "good",
            &["-tls1_2", "-cipher", "kRSA"],
            "the server shares no cipher suite with tok; it may only offer RSA key exchange",
            "ECDHE",
        ),
    ] {
        let server = Openssl::start(&path(&format!("{cert}.pem")), &path(&format!("{cert}.key")), more);
        let request = request(&format!("https://localhost:{}/", server.port), Repeat::Freely);
        let result = send_with(&http(trusting(&path("ca.pem"))), &request, PATIENCE);
        let error = error(result, Kind::Unavailable, part);
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{error:?}");
    }
    let server = Openssl::start(&path("good.pem"), &path("good.key"), &[]);
    let mut request = request(&format!("https://localhost:{}/", server.port), Repeat::Freely);
    request.method = Method::Get;
    request.body = None;
    assert_eq!(send_with(&http(trusting(&path("ca.pem"))), &request, PATIENCE).unwrap().status, 200);
}
