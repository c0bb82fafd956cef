//! `tok curl` with the real curl: where the header goes, what is refused, and the one repeat.

use crate::skip::needs;
use crate::support::issuer::{Issuer, proof};
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Sandbox, plain, plain_provider, put, until};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server that issues tokens and is the API as well, which refuses `refused` of them, the first ones.
fn api(refused: usize) -> Server {
    let issued = AtomicUsize::new(0);
    Server::new(move |request| match request.path() {
        "/token" => {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            Reply::token(&format!("token-{number}-{CANARY}"), 600)
        }
        _ if (1..=refused).any(|number| is_with(request, number)) => {
            Reply::new(401, "text/plain", "refused").header("WWW-Authenticate", "Bearer error=\"invalid_token\"")
        }
        _ => Reply::new(200, "text/plain", format!("{} {}", request.method, String::from_utf8_lossy(&request.body))),
    })
}

fn is_with(request: &Received, number: usize) -> bool {
    request.header("authorization") == Some(&format!("Bearer token-{number}-{CANARY}"))
}

/// The requests to the API.
fn asked(server: &Server) -> Vec<Received> {
    server.requests().into_iter().filter(|request| request.path() != "/token").collect()
}

fn curl(sandbox: &Sandbox, args: &[&str]) -> crate::support::Output {
    sandbox.tok(["curl", "plain"]).args(args).run()
}

#[test]
fn the_header_goes_to_the_api() {
    needs!("curl");
    let server = api(0);
    let sandbox = plain(&server.url());
    let url = format!("{}/v1?x=1", server.url());
    curl(&sandbox, &["-sS", &url]).silent().prints("GET ");
    curl(&sandbox, &["--", "-sS", "-d", "a=b", &url]).silent().prints("POST a=b");
    let without_scheme = url.trim_start_matches("http://");
    curl(&sandbox, &["-sS", without_scheme]).silent().prints("GET ");
    curl(&sandbox, &["-sSo", "file", "--url", &url]).silent().prints("");
    assert_eq!(std::fs::read(sandbox.work().join("file")).unwrap(), b"GET ");
    assert!(asked(&server).iter().all(|request| is_with(request, 1)));
    assert_eq!(server.requests().len() - asked(&server).len(), 1, "one token for all");
    // Each of several operations has it.
    let twice = curl(&sandbox, &["-sS", &url, "--next", "-sS", "-X", "PUT", &url]);
    twice.silent().prints("GET PUT ");
    assert!(asked(&server).iter().all(|request| is_with(request, 1)));
}

#[test]
fn options_of_tok_stand_before_the_profile() {
    needs!("curl");
    let server = api(0);
    let sandbox = plain(&server.url());
    let url = server.url();
    sandbox.tok(["curl", "--client-id", "mine", "--fresh", "plain", "-sS", &url]).run().silent().prints("GET ");
    assert_eq!(server.requests()[0].field("client_id"), "mine");
    // Behind it they are curl's: -v, -q, -o, --config.
    let out = curl(&sandbox, &["-v", "-s", &url]).ok();
    assert!(out.stderr.contains("< HTTP/1.1 200"), "{out}");
    curl(&sandbox, &["--config", "x", &url]).fails(125).says("--config");
}

#[test]
fn stdin_and_the_status_are_curls() {
    needs!("curl");
    let server = api(0);
    let sandbox = plain(&server.url());
    let url = server.url();
    let out = sandbox.tok(["curl", "plain", "-sS", "-d", "@-", &url]).stdin("typed").run();
    out.silent().prints("POST typed");
    assert_eq!(curl(&sandbox, &["-sS", "--no-such-option"]).code, 125);
    assert_eq!(curl(&sandbox, &["-s"]).code, 2, "curl's own: no URL");
    server.next(Reply::new(404, "text/plain", "no"));
    assert_eq!(curl(&sandbox, &["-sf", &url]).code, 22);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    sandbox.config(&format!("[profile.plain]\nhosts = [\"http://{closed}\"]\n"));
    assert_eq!(curl(&sandbox, &["-s", &format!("http://{closed}/")]).code, 7);
}

#[test]
fn the_token_is_in_no_argument_list_and_curlrc_is_not_read() {
    needs!("curl");
    let server = api(0);
    let mut sandbox = plain(&server.url());
    put(&sandbox.home().join(".curlrc"), b"request = DELETE\n");
    curl(&sandbox, &["-sS", &server.url()]).silent().prints("GET ");
    // A curl that shows what it was called with.
    let bin = sandbox.work().join("bin");
    put(&bin.join("curl"), b"#!/bin/sh\nprintf '%s\\n' \"$@\"\nenv\n");
    crate::support::chmod(&bin.join("curl"), 0o700);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    sandbox.set("PATH", path);
    let out = curl(&sandbox, &["-sS", &server.url()]).ok();
    assert!(!out.stdout.contains(CANARY) && !out.stdout.contains("TOK_"), "{out}");
    assert_eq!(out.stdout.lines().next(), Some("-q"), "{out}");
}

#[test]
fn a_url_elsewhere_is_refused_and_named() {
    needs!("curl");
    let (server, other) = (api(0), api(0));
    let sandbox = plain(&server.url());
    for (args, named) in [
        (vec![format!("{}/x", other.url())], other.url()),
        (vec![server.url(), other.url()], other.url()),
        (vec![server.url(), "--next".into(), other.url()], other.url()),
        (vec!["-s".into(), "--url".into(), other.url()], other.url()),
        (vec!["https://api.example.com/".into()], "https://api.example.com".into()),
        (vec![server.url().replace("http:", "https:")], server.url().replace("http:", "https:")),
        (vec![format!("http://localhost:{}", server.port())], format!("http://localhost:{}", server.port())),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let out = curl(&sandbox, &args).fails(125).says(&format!("{named} does not get the token")).hints();
        assert!(out.stderr.lines().next().is_some_and(|line| line.ends_with("(status 2)")), "{out}");
    }
    for url in
        ["api.example.com", "ftp://127.0.0.1/", "file:///etc/passwd", "http://u:p@127.0.0.1/", "http://{127.0.0.1,b}/"]
    {
        curl(&sandbox, &[url]).fails(125).says("the URL");
    }
    assert_eq!((server.count(), other.count()), (0, 0), "nothing was asked for");
    // The profile's hosts say so.
    sandbox.config(&format!("[profile.plain]\nhosts = [\"{}\"]\n", other.url()));
    curl(&sandbox, &["-sS", &other.url()]).silent().prints("GET ");
}

#[test]
fn what_takes_the_header_elsewhere_is_refused() {
    needs!("curl");
    let server = api(0);
    let sandbox = plain(&server.url());
    let url = server.url();
    for args in [
        &["--location-trusted"][..],
        &["--location-tr"],
        &["-K", "/dev/null"],
        &["--proto-default", "https"],
        &["--connect-to", "::127.0.0.1:1"],
        &["--resolve", "a:80:127.0.0.1"],
        &["--insecure"],
        &["--insec"],
        &["-sLk"],
        &["--trace", "-"],
        &["--trace-ascii", "file"],
        &["--libcurl", "file"],
        &["-v", "--stderr", "file"],
        &["-x", "http://127.0.0.1:1"],
        &["--unix-socket", "/tmp/x"],
        &["--doh-url", "https://127.0.0.1:1"],
        &["--socks5", "127.0.0.1:1"],
        &["--expand-url", "{{x}}"],
        &["-H", "Authorization: x"],
        &["-H", "Host: x"],
    ] {
        let out = sandbox.tok(["curl", "plain"]).args(args).args([&url]).run().fails(125);
        assert!(out.stderr.ends_with("(status 2)\n") || out.stderr.contains("(status 2)\nhint:"), "{args:?}: {out}");
    }
    assert_eq!(server.count(), 0);
}

/// What curl itself does is why: it drops `Authorization` where a redirect leads to another host, and no other header.
#[test]
fn a_redirect_takes_no_header_elsewhere() {
    needs!("curl");
    let elsewhere = Server::always(Reply::new(200, "text/plain", "there"));
    let to = elsewhere.url().replace("127.0.0.1", "localhost");
    let server = Server::new(move |request| match request.path() {
        "/token" => Reply::token(&format!("token-{CANARY}"), 600),
        _ => Reply::new(302, "text/plain", "").header("Location", &to),
    });
    let sandbox = plain(&server.url());
    curl(&sandbox, &["-sSL", &server.url()]).silent().prints("there");
    assert_eq!(elsewhere.last().header("authorization"), None);

    sandbox
        .provider("plain", &plain_provider(&server.url(), "[use]\nheader = \"X-Key\"\nvalue = \"{access_token}\"\n"));
    sandbox.config(&format!("[profile.plain]\nhosts = [\"{}\"]\n", server.url()));
    for flag in ["-L", "--location", "-sSL"] {
        curl(&sandbox, &[flag, &server.url()]).fails(125).says("X-Key").hints_at("--follow-anywhere");
    }
    assert_eq!(elsewhere.count(), 1);
    let out = sandbox.tok(["curl", "--follow-anywhere", "plain", "-sSL", &server.url()]).run();
    out.silent().prints("there");
    assert_eq!(elsewhere.last().header("x-key"), Some(format!("token-{CANARY}").as_str()));
}

#[test]
fn a_refused_cached_token_is_renewed_once_and_the_request_repeated() {
    needs!("curl");
    let server = api(1);
    let sandbox = plain(&server.url());
    sandbox.run("get plain").ok();
    let url = server.url();
    // Nothing of the first reply is seen, whatever is asked for.
    curl(&sandbox, &["-sS", "-d", "body", &url]).silent().prints("POST body");
    assert_eq!(asked(&server).len(), 2);
    assert!(is_with(&asked(&server)[0], 1) && is_with(&asked(&server)[1], 2));

    for args in [&["-sSi"][..], &["-sSf"], &["-sS", "-w", "%{http_code}"], &["-sS", "-o", "out"]] {
        let server = api(1);
        let sandbox = plain(&server.url());
        sandbox.run("get plain").ok();
        let out = sandbox.tok(["curl", "plain"]).args(args).args([&server.url()]).run().silent().ok();
        assert!(!out.stdout.contains("401") && !out.stdout.contains("refused"), "{args:?}: {out}");
        assert_eq!(asked(&server).len(), 2, "{args:?}");
    }
    assert_eq!(std::fs::read(sandbox.work().join("out")).unwrap_or(b"GET ".to_vec()), b"GET ");
}

#[test]
fn a_request_is_repeated_only_where_that_can_help_and_harms_nothing() {
    needs!("curl");
    let server = api(usize::MAX / 2);
    let sandbox = plain(&server.url());
    let url = server.url();
    let of = |line: &str, stdin: &str| {
        let before = asked(&server).len();
        let args: Vec<String> = line.split(' ').map(|word| word.replace("URL", &url)).collect();
        let out = sandbox.tok(["curl", "plain"]).args(&args).stdin(stdin).run();
        (asked(&server).len() - before, out)
    };
    // A new token is not renewed; a renewed one is not renewed again.
    assert_eq!(of("-sS URL", "").0, 1);
    let (requests, out) = of("-sS URL", "");
    assert_eq!((requests, out.silent().ok().stdout.as_str()), (2, "refused"));
    // The body is gone, or one of several requests has done what it does.
    assert_eq!(of("-sS -d @- URL", "body").0, 1);
    assert_eq!(of("-sS -T - URL", "body").0, 1);
    assert_eq!(of("-sS URL URL", "").0, 2);
    assert_eq!(of("-sS URL/{a,b}", "").0, 2);
    assert_eq!(of("-sS URL --next -sS URL", "").0, 2);
    assert_eq!(of("-sS -D heads URL", "").0, 1);
    let before = server.count();
    let offline = sandbox.tok(["curl", "--offline", "plain", "-sS", &url]).run().ok();
    assert_eq!((offline.stdout.as_str(), server.count() - before), ("refused", 1));
}

#[test]
fn a_refused_token_that_cannot_be_renewed_leaves_the_apis_own_answer() {
    needs!("curl");
    let server = api(usize::MAX / 2);
    let sandbox = plain(&server.url());
    sandbox.run("get plain").ok();
    let url = server.url();
    let refused = Reply::json(400, serde_json::json!({"error": "invalid_client"}));
    server.next(Reply::new(401, "text/plain", "from the API")).next(refused);
    let out = curl(&sandbox, &["-sS", &url]).ok().says("cannot be renewed");
    assert_eq!(out.stdout, "from the API", "{out}");
}

#[test]
fn verbose_output_does_not_show_the_token() {
    needs!("curl");
    let server = api(0);
    let sandbox = plain(&server.url());
    let out = curl(&sandbox, &["-sSv", &server.url()]).ok();
    assert!(out.stderr.contains("Authorization: Bearer ***"), "{out}");
}

#[test]
fn a_scope_that_the_api_requires_is_said() {
    needs!("curl");
    let server = api(0);
    let sandbox = plain(&server.url());
    sandbox.run("get plain").ok();
    let challenge = "Bearer realm=\"x\", error=\"insufficient_scope\", scope=\"files:write admin\"";
    server.next(Reply::new(403, "text/plain", "no").header("WWW-Authenticate", challenge));
    let out = curl(&sandbox, &["-sS", &server.url()]).ok();
    assert!(out.stderr.contains("the API refused the token of plain: insufficient_scope (status 403)"), "{out}");
    assert!(out.stderr.contains("tok login plain --scope files:write --scope admin"), "{out}");
}

#[test]
fn without_a_token_or_curl_nothing_is_run() {
    let server = api(0);
    let mut sandbox = plain(&server.url());
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET");
    let out = curl(&sandbox, &[&server.url()]).fails(125).hints();
    assert!(out.stderr.lines().next().is_some_and(|line| line.ends_with("(status 4)")), "{out}");
    let out = sandbox.run("curl no-such-profile http://127.0.0.1/").fails(125);
    assert!(out.stderr.contains("(status 3)"), "{out}");
    sandbox.set("TOK_PLAIN_CLIENT_SECRET", format!("plain-secret-{CANARY}"));
    sandbox.set("PATH", "/nowhere");
    curl(&sandbox, &[&server.url()]).fails(127).says("curl: program not found");
    assert_eq!(sandbox.run("curl").code, 2);
}

#[test]
fn a_long_token_and_a_large_body_pass() {
    needs!("curl");
    let token = format!("{CANARY}{}", "x".repeat(65_000));
    let issued = token.clone();
    let server = Server::new(move |request| match request.path() {
        "/token" => Reply::token(&issued, 600),
        _ => Reply::new(200, "application/octet-stream", vec![0; 3 << 20]),
    });
    let sandbox = plain(&server.url());
    for _ in 0..2 {
        let out = curl(&sandbox, &["-sS", &server.url()]).ok();
        assert_eq!(out.bytes.len(), 3 << 20);
    }
    let sent = asked(&server)[0].header("authorization").map(str::len);
    assert_eq!(sent, Some("Bearer ".len() + token.len()));
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    needs!("curl");
    let server = Server::new(move |request| match request.path() {
        "/token" => Reply::token(&format!("token-{CANARY}"), 600),
        _ => Reply::new(200, "text/plain", "lines\n").endless(),
    });
    let sandbox = plain(&server.url());
    for _ in 0..2 {
        let mut command = sandbox.tok(["curl", "plain", "-sS", &server.url()]).command();
        let mut child =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut first = [0; 5];
        std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut first).unwrap();
        assert_eq!(&first, b"lines");
        until("curl and tok end", || child.try_wait().unwrap().is_some());
    }
}

#[test]
fn a_token_that_is_bound_to_a_key_comes_with_a_proof_for_the_request() {
    needs!("curl");
    let issuer = Issuer::start();
    issuer.state(|s| s.token = serde_json::json!({"id_token": null, "token_type": "DPoP"}));
    // An API that wants a nonce of its own in the proof.
    let api = Server::new(|request| {
        let (claims, _) = proof(request.header("dpop").expect("a proof"));
        match claims["nonce"].as_str() {
            Some("n-1") => Reply::new(200, "text/plain", format!("{} {}", claims["htm"], claims["htu"])),
            _ => Reply::new(401, "text/plain", "again").header("DPoP-Nonce", "n-1"),
        }
    });
    let mut sandbox = issuer.sandbox();
    sandbox.config(&format!("store = \"file\"\n[profile.oidc]\nhosts = [\"{}\"]\n", api.url()));
    sandbox.set("TOK_OIDC_DPOP", "true");
    sandbox.run("login oidc device-code --scope read").prints("");
    let url = format!("{}/v1?x=1", api.url());
    for (args, method) in [(&["-sS"][..], "GET"), (&["-sS", "-d", "x"], "POST"), (&["-sS", "-X", "PATCH"], "PATCH")] {
        let out = sandbox.tok(["curl", "oidc"]).args(args).args([&url]).run().silent();
        out.prints(&format!("\"{method}\" \"{}/v1\"", api.url()));
    }
    assert_eq!(api.count(), 6);
    assert!(api.requests().iter().all(|request| request.header("authorization").unwrap().starts_with("DPoP at-")));
    // What cannot be proved is not sent.
    for args in [&[url.as_str(), url.as_str()][..], &[&format!("{url}{{a,b}}")]] {
        sandbox.tok(["curl", "oidc"]).args(args).run().fails(125).says("DPoP");
    }
    assert_eq!(api.count(), 6);
    for format in ["curl", "kubernetes", "oauthbearer"] {
        sandbox.run(&format!("get oidc -o {format}")).fails(2).says("DPoP");
    }
}
