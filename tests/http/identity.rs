//! Certificates that the client shows.

use super::support::*;

fn send_as(server: &Server, ca: &Ca, client_certificate: Option<&ClientCertificate>) -> Result<Response> {
    let mut request = request(&format!("https://localhost:{}/token?secret=hunter2", server.port), Repeat::Freely);
    request.client_certificate = client_certificate.cloned();
    send_with(&http(trusting(&ca.file)), &request, PATIENCE)
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn a_client_certificate_is_shown_to_a_server_that_demands_one() {
    let (ca, clients, strangers) = (ca(), ca(), ca_named("another root"));
    for version in VERSIONS {
        let server = ca.server_for(&clients, &[version]);
        let good = clients.client((2000, 4000));
        check_client_certificate(&good).unwrap();
        assert_eq!(send_as(&server, &ca, Some(&good)).unwrap().status, 200);
        let none = error(send_as(&server, &ca, None), Kind::Refused, "it requires a client certificate");
        assert!(none.hint.unwrap().contains("client certificate and its key"));
        for (client_certificate, part) in [
            (
                strangers.client((2000, 4000)),
                "does not accept the client certificate: the server does not trust its issuer",
            ),
            (clients.client((2000, 2001)), "does not accept the client certificate: it has expired"),
        ] {
            let refused = error(send_as(&server, &ca, Some(&client_certificate)), Kind::Refused, part);
            assert!(refused.hint.is_some());
        }
        assert_eq!(server.count(), 1);
    }
    // One that asks for none gets none.
    let server = ca.server("localhost", (2000, 4000));
    assert_eq!(send_as(&server, &ca, Some(&clients.client((2000, 4000)))).unwrap().status, 200);
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_said_so_before_anything_is_sent() {
    let (ca, clients) = (ca(), ca());
    let server = ca.server_for(&clients, &VERSIONS);
    let (good, other) = (clients.client((2000, 4000)), clients.client((2000, 4000)));
    let with =
        |certificate: &str, key: &str| ClientCertificate { certificate: certificate.into(), key: Secret::new(key) };
    let (cert, key) = (good.certificate.as_str(), good.key.expose());
    let root = std::fs::read_to_string(&clients.file).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let short = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (client_certificate, part, hint) in [
        (with(cert, other.key.expose()), "do not match", "private key of the certificate"),
        (with(&format!("{root}{cert}"), key), "do not match", "it is number 2"),
        (with("", key), "contains no certificate", "BEGIN CERTIFICATE"),
        (with(key, key), "contains no certificate", "BEGIN CERTIFICATE"),
        (with(&cert[..cert.len() / 2], key), "not valid PEM", "BEGIN CERTIFICATE"),
        (with(broken, key), "cannot be read", "BEGIN CERTIFICATE"),
        (with(cert, ""), "contains no readable private key", "PKCS#8"),
        (with(cert, cert), "contains no readable private key", "PKCS#8"),
        (with(cert, &encrypted), "is encrypted", "openssl pkey"),
        (with(cert, old), "is encrypted", "openssl pkey"),
        (with(cert, short), "unsupported or damaged", "RSA"),
    ] {
        let said = error(send_as(&server, &ca, Some(&client_certificate)), Kind::Config, part);
        assert!(said.hint.as_ref().unwrap().contains(hint), "{said:?}");
        assert_eq!(check_client_certificate(&client_certificate).unwrap_err().why, said.why);
        let all = format!("{said:?}{said} {client_certificate:?}");
        let line = key.lines().nth(1).unwrap();
        assert!(!all.contains(line) && !all.contains(cert.lines().nth(1).unwrap()), "{all}");
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn each_form_of_key_and_certificate_file_is_taken() {
    let (ca, clients) = (ca(), ca());
    let server = ca.server_for(&clients, &VERSIONS);
    let mut client_certificate = clients.client((2000, 4000));
    client_certificate.certificate += &std::fs::read_to_string(&clients.file).unwrap();
    // Certificate and key in one file, as some tools write it, with text between them.
    let both = format!("subject=client\n{}\nkey:\n{}", client_certificate.certificate, client_certificate.key.expose());
    for (certificate, key) in [(&client_certificate.certificate, client_certificate.key.expose()), (&both, &both)] {
        let client_certificate = ClientCertificate { certificate: certificate.clone(), key: Secret::new(key) };
        assert_eq!(send_as(&server, &ca, Some(&client_certificate)).unwrap().status, 200);
    }
    // The SEC1 form lies inside the other, at its end.
    let der = PrivatePkcs8KeyDer::from_pem_slice(client_certificate.key.expose().as_bytes()).unwrap();
    let der = der.secret_pkcs8_der();
    let start = der.windows(5).position(|w| w[0] == 0x30 && w[2..] == [2, 1, 1]).unwrap();
    let sec1 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &der[start..]);
    let key = format!("-----BEGIN EC PRIVATE KEY-----\n{sec1}\n-----END EC PRIVATE KEY-----\n");
    let client_certificate = ClientCertificate { certificate: client_certificate.certificate, key: Secret::new(key) };
    assert_eq!(send_as(&server, &ca, Some(&client_certificate)).unwrap().status, 200);
}

#[test]
fn a_client_certificate_goes_over_tls_alone() {
    let server = Server::saying(&[OK]);
    let mut request = request(&server.url(), Repeat::Freely);
    request.client_certificate = Some(ca().client((2000, 4000)));
    let result = send_with(&http(NetworkSettings::default()), &request, PATIENCE);
    error(result, Kind::Config, "a client certificate requires https");
    assert_eq!(server.count(), 0);
}
