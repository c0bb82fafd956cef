//! What goes over the wire, where it may go, and whom `tok` believes.

use crate::child::SOON;
use crate::refusing::Refusing;
use crate::skip::skip;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Certified, Received, Reply, Server};
use crate::support::{CANARY, Sandbox, plain, plain_provider};
use std::time::{Duration, Instant};

/// A TLS server that issues good tokens.
fn issues(_: &Received) -> Reply {
    Reply::token(&format!("at-{CANARY}"), 600)
}

#[test]
fn a_request_has_the_promised_headers_and_no_others() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    sandbox.run("get purewl --fresh").line();
    for request in purewl.server.requests() {
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("user-agent"), Some(concat!("tok/", env!("CARGO_PKG_VERSION"))));
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("host"), Some(format!("127.0.0.1:{}", purewl.server.port()).as_str()));
        for (name, _) in &request.headers {
            let name = name.to_lowercase();
            let known =
                ["host", "user-agent", "accept", "content-type", "content-length", "connection", "accept-encoding"];
            assert!(known.contains(&name.as_str()), "{name}");
        }
        // Nothing packed is wanted: a limit on the packed bytes would be none.
        let encoding = request.header("accept-encoding").unwrap_or("identity");
        assert_eq!(encoding, "identity");
    }
}

#[test]
fn no_redirect_is_followed() {
    let elsewhere = Server::issuing(600);
    for status in [300, 301, 302, 303, 304, 305, 307, 308] {
        for target in [format!("{}/token", elsewhere.url()), "/token2".into(), "https://example.com/".into()] {
            let server = Server::always(Reply::text(status, "{}").header("Location", &target));
            let sandbox = plain(&server.url());
            let out = sandbox.run("get plain").fails(8).says(&target);
            assert_eq!(server.count(), 1, "{out}");
        }
    }
    assert_eq!(elsewhere.connections(), 0);
    let server = Server::always(Reply::text(302, ""));
    plain(&server.url()).run("get plain").fails(8);
}

#[test]
fn plain_http_goes_to_this_machine_only() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    for host in ["127.0.0.1", "localhost"] {
        sandbox.run(&format!("get plain --no-store --base-url http://{host}:{}", server.port())).line();
    }
    for url in ["http://example.com", "http://0.0.0.0.example", "http://192.168.1.1", "http://localhost.example.com"] {
        sandbox.run(&format!("get plain --no-store --timeout 3s --base-url {url}")).fails_with_one_of(&[2, 3]);
    }
    assert_eq!(server.count(), 2);
}

#[test]
fn a_provider_file_with_plain_http_in_it_is_3() {
    let sandbox = plain("http://example.com");
    sandbox.run("get plain --timeout 3s").fails(3);
}

#[test]
fn an_unknown_ca_is_6_and_nothing_is_sent() {
    let server = Server::tls(issues);
    let sandbox = plain(&server.url());
    sandbox.run("get plain --timeout 60s").fails(6).says("certificate").hints();
    assert_eq!(server.count(), 0);
}

#[test]
fn ca_file_is_trusted_besides_the_system_s() {
    let server = Server::tls(issues);
    let sandbox = plain(&server.url());
    sandbox.config(&format!("ca_file = \"{}\"\n", server.ca_file().display()));
    sandbox.run("get plain").silent().line();
    let sandbox = plain(&server.url());
    sandbox.config(&format!("[profile.plain]\nprovider = \"plain\"\nca_file = \"{}\"\n", server.ca_file().display()));
    sandbox.run("get plain").silent().line();
    assert_eq!(server.count(), 2);
}

#[test]
fn a_byte_order_mark_before_the_certificates_hides_none() {
    let server = Server::tls(issues);
    let mut sandbox = plain(&server.url());
    let text = [b"\xef\xbb\xbf".as_slice(), &std::fs::read(server.ca_file()).unwrap()].concat();
    let path = sandbox.file_arg("ca.pem", text);
    sandbox.config(&format!("ca_file = \"{path}\"\n"));
    sandbox.run("get plain --no-store").silent().line();
    sandbox.config("");
    sandbox.set("SSL_CERT_FILE", &path);
    sandbox.run("get plain --no-store").silent().line();
}

#[test]
fn ssl_cert_file_is_trusted() {
    let server = Server::tls(issues);
    let mut sandbox = plain(&server.url());
    sandbox.set("SSL_CERT_FILE", server.ca_file());
    sandbox.run("get plain").silent().line();
    sandbox.run(&format!("get plain --no-store --base-url https://localhost:{}", server.port())).silent().line();
}

#[test]
fn a_certificate_of_another_name_or_an_expired_one_is_6() {
    for certified in [Certified::new(&["other.example"], false), Certified::new(&["127.0.0.1", "localhost"], true)] {
        let server = Server::tls_as(certified, issues);
        let mut sandbox = plain(&server.url());
        sandbox.set("SSL_CERT_FILE", server.ca_file());
        sandbox.run("get plain --timeout 60s").fails(6);
        assert_eq!(server.count(), 0);
    }
}

#[test]
fn a_ca_file_that_is_missing_or_empty_is_3() {
    let server = Server::tls(issues);
    let sandbox = plain(&server.url());
    let empty = sandbox.file_arg("empty.pem", "no certificate");
    for path in ["/nonexistent/ca.pem", &empty] {
        sandbox.config(&format!("ca_file = \"{path}\"\n"));
        sandbox.run("get plain --timeout 60s").fails(3).says(path);
    }
    // Where no certificate is looked at, nothing is read.
    let plainly = Server::issuing(600);
    let text = plain_provider(&plainly.url(), "");
    sandbox.provider("plain", &text);
    sandbox.run("get plain").silent().line();
    assert_eq!(server.count(), 0);
}

#[test]
fn https_where_there_is_no_tls_is_6() {
    let server = Server::issuing(600);
    let sandbox = plain(&format!("https://127.0.0.1:{}", server.port()));
    sandbox.run("get plain --timeout 1s").fails(6);
}

#[test]
fn a_refused_connection_is_6_within_the_timeout() {
    let sandbox = plain("http://127.0.0.1:1");
    let out = sandbox.run("get plain --timeout 1s").fails(6);
    assert!(out.took < SOON, "{out}");
}

#[test]
fn a_host_that_does_not_exist_is_6() {
    let sandbox = plain("https://no-such-host.invalid");
    sandbox.run("get plain --timeout 3s").fails(6);
}

#[test]
fn a_connection_refused_at_first_is_tried_again() {
    // What `-v` says comes with the end: so nobody knows when the first try has failed, and a round in which it came
    // too late, or the listener, proves nothing.
    for _ in 0..20 {
        let refusing = Refusing::new();
        let sandbox = plain(&refusing.url());
        let start = Instant::now();
        let run = sandbox.tok(["get", "plain", "-v", "--timeout", "100s"]).spawn();
        std::thread::sleep(Duration::from_millis(200));
        let listener = refusing.listen();
        let in_time = start.elapsed() < Duration::from_millis(800);
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = format!("{{\"access_token\":\"at-{CANARY}\"}}");
            let reply = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(reply.as_bytes()).unwrap();
        });
        let out = run.wait();
        if in_time && out.stderr.contains("; again in ") {
            out.line();
            return;
        }
    }
    skip!("this machine is too busy to listen in time");
}

#[test]
fn a_grant_that_needs_nobody_is_tried_again_after_502() {
    for status in [429, 502, 503, 504] {
        let server = Server::script([Reply::html(status), Reply::token(&format!("at-{CANARY}"), 60)]);
        let sandbox = plain(&server.url());
        sandbox.run("get plain").line();
        assert_eq!(server.count(), 2, "{status}");
    }
    let server = Server::script([Reply::html(500)]);
    plain(&server.url()).run("get plain").fails(6);
    assert_eq!(server.count(), 1);
}

#[test]
fn a_proxy_of_the_environment_is_used_unless_no_proxy_says_otherwise() {
    let proxy = Server::always(Reply::text(403, ""));
    let server = Server::tls(issues);
    let mut sandbox = plain(&server.url());
    sandbox.set("SSL_CERT_FILE", server.ca_file()).set("HTTPS_PROXY", proxy.url());
    sandbox.run("get plain --timeout 60s").fails_with_one_of(&[5, 6]);
    assert_eq!(proxy.requests()[0].method, "CONNECT");
    sandbox.set("NO_PROXY", "127.0.0.1");
    sandbox.run("get plain").silent().line();
    assert_eq!(server.count(), 1);
}

#[test]
fn a_proxy_s_password_is_not_shown() {
    let sandbox = plain("https://127.0.0.1:1");
    let out = sandbox.tok(["get", "plain", "--timeout", "2s", "-vvv"]);
    out.env("HTTPS_PROXY", format!("http://user:{CANARY}@127.0.0.1:1")).run().fails(6);
}

#[test]
fn a_cached_get_asks_nobody_even_when_the_server_is_gone() {
    let purewl = PureWl::start();
    let sandbox: Sandbox = purewl.logged_in();
    let token = sandbox.run("get purewl").line();
    let connections = purewl.server.connections();
    assert_eq!(sandbox.run("get purewl").line(), token);
    sandbox.run("header purewl").line();
    assert_eq!(purewl.server.connections(), connections);
    let _ = purewl::secret_key();
}

#[test]
fn the_whole_call_is_under_the_timeout_retries_included() {
    let server = Server::always(Reply::html(503));
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain --timeout 1s").fails(6);
    assert!(out.took < SOON, "{out}");
    let server = Server::always(Reply::html(200).delay(Duration::from_millis(700)));
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain --timeout 300ms");
    // A duration has no milliseconds in the contract.
    assert_eq!(out.code, 2, "{out}");
}
