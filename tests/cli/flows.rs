//! A login in a browser: what is asked for, what may come back, what is left behind where it goes wrong.

use crate::child::SOON;
use crate::refusing::free_port;
use crate::support::issuer::{Browser, CLIENT, Issuer, Visit, jwt, members, sha256};
use crate::support::server::Reply;
use crate::support::{CANARY, Output, Running, Sandbox, until};
use rustix::process::Signal;
use serde_json::json;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

const LOGIN: &str = "login oidc authorization-code";

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// A login whose browser has been sent off.
fn begun(issuer: &Issuer, more: &str) -> (Sandbox, Running, Visit) {
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let running = sandbox.tok(words(&format!("{LOGIN} {more}"))).spawn();
    let visit = browser.visit();
    (sandbox, running, visit)
}

/// What is printed until `text` is there: for what a person must do while `tok` waits.
#[track_caller]
fn shown(file: &Path, text: &str) -> String {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    until(text, || read().contains(text));
    read()
}

/// The address on a line of its own.
#[track_caller]
fn address_in(text: &str) -> Visit {
    let line = text.lines().map(str::trim).find(|line| line.starts_with("http")).expect("an address");
    Visit::to(line)
}

#[test]
fn a_login_in_the_browser_asks_as_the_rfcs_want_and_ends_with_a_token() {
    let issuer = Issuer::start();
    let (sandbox, running, visit) = begun(
        &issuer,
        "--login-hint alice --prompt login --audience one --audience two --resource https://a.example/x \
         --resource https://b.example --param acr=high&x --param ui=a=b --scope openid --scope email",
    );
    assert!(visit.address.starts_with(&format!("{}/authorize?", issuer.url())), "{visit:?}");
    for (name, values) in [
        ("response_type", vec!["code"]),
        ("client_id", vec![CLIENT]),
        ("scope", vec!["openid email"]),
        ("code_challenge_method", vec!["S256"]),
        ("login_hint", vec!["alice"]),
        ("prompt", vec!["login"]),
        ("audience", vec!["one", "two"]),
        ("resource", vec!["https://a.example/x", "https://b.example"]),
        ("acr", vec!["high&x"]),
        ("ui", vec!["a=b"]),
    ] {
        assert_eq!(visit.values(name), values, "{name}");
    }
    let (host, _, path) = visit.back();
    assert_eq!((host.as_str(), path.as_str()), ("127.0.0.1", "/callback"));
    // 128 bits are 22 characters of base64url, 32 of hexadecimal.
    assert!(visit.value("state").len() >= 32 && visit.value("nonce").len() >= 22, "{visit:?}");
    issuer.state(|s| s.claims = members(&[("nonce", visit.value("nonce").into())]));

    let page = visit.log_in();
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(!page.to_lowercase().contains("<script") && !page.contains(CANARY), "{page}");
    assert!(page.contains("Content-Security-Policy: default-src 'none'"), "{page}");
    assert!(page.contains("Cache-Control: no-store"), "{page}");
    // The address is shown though nobody watches: the browser may have opened nothing.
    running.wait().prints("").says(&visit.address);
    visit.assert_closed();

    let request = issuer.only("/token");
    assert_eq!(request.field("grant_type"), "authorization_code");
    assert_eq!(request.field("code"), format!("code-{CANARY}"));
    assert_eq!(request.field("redirect_uri"), visit.value("redirect_uri"));
    assert_eq!(request.field("client_id"), CLIENT);
    let verifier = request.field("code_verifier");
    assert!((43..=128).contains(&verifier.len()), "RFC 7636 §4.1");
    assert_eq!(sha256(verifier.as_bytes()), visit.value("code_challenge"));
    let resources: Vec<String> =
        request.form().into_iter().filter(|(name, _)| name == "resource").map(|(_, value)| value).collect();
    assert_eq!(resources, ["https://a.example/x", "https://b.example"]);

    assert_eq!(sandbox.run("get oidc").silent().line(), format!("at-{CANARY}-1"));
    let id_token = sandbox.run("get oidc -o id-token").silent().line();
    assert_eq!(jwt(&id_token).1["sub"], "alice");
    // The address, the code and what proves it are gone.
    for gone in [visit.value("state"), verifier, format!("code-{CANARY}")] {
        assert_eq!(sandbox.files_with(&gone), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn state_nonce_and_verifier_are_new_each_time_and_a_nonce_goes_with_openid_alone() {
    let issuer = Issuer::start();
    let mut seen = Vec::new();
    for scope in ["openid", "openid", "read"] {
        let (_sandbox, running, visit) = begun(&issuer, &format!("--scope {scope}"));
        assert_eq!(visit.value("nonce").is_empty(), scope == "read");
        issuer.state(|s| {
            s.claims = members(&[("nonce", visit.value("nonce").into())]);
            s.token = if scope == "read" { json!({"id_token": null}) } else { json!({}) };
        });
        seen.extend(
            ["state", "nonce", "code_challenge"].map(|name| visit.value(name)).into_iter().filter(|v| !v.is_empty()),
        );
        visit.log_in();
        running.wait().prints("");
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((all, seen.len()), (8, 8));
}

#[test]
fn what_is_no_answer_to_this_login_is_turned_away_and_waited_past() {
    let issuer = Issuer::start();
    let (sandbox, mut running, visit) = begun(&issuer, "--scope read");
    issuer.state(|s| s.token = json!({"id_token": null}));
    let (host, port, path) = visit.back();
    let state = visit.value("state");
    let good = format!("{path}?code=good-{CANARY}&state={state}");
    let own = format!("{host}:{port}");
    for (request, status) in [
        (format!("GET {path}?code=evil&state=wrong HTTP/1.1\r\nHost: {own}\r\n\r\n"), "400"),
        (format!("GET {path}?code=evil HTTP/1.1\r\nHost: {own}\r\n\r\n"), "400"),
        (format!("GET {path}?state={state} HTTP/1.1\r\nHost: {own}\r\n\r\n"), "400"),
        (format!("GET {path}?code=&state={state} HTTP/1.1\r\nHost: {own}\r\n\r\n"), "400"),
        (format!("GET {path}?code=a&code=b&state={state} HTTP/1.1\r\nHost: {own}\r\n\r\n"), "400"),
        (format!("GET {path}?error=access_denied&state=wrong HTTP/1.1\r\nHost: {own}\r\n\r\n"), "400"),
        (format!("GET {good} HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n"), "400"),
        (format!("GET {good} HTTP/1.1\r\nHost: {host}\r\n\r\n"), "400"),
        (format!("GET {good} HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n\r\n"), "400"),
        (format!("GET {good} HTTP/1.1\r\n\r\n"), "400"),
        (format!("GET /other?code=evil&state={state} HTTP/1.1\r\nHost: {own}\r\n\r\n"), "400"),
        (format!("POST {good} HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0\r\n\r\n"), "400"),
        (format!("HEAD {good} HTTP/1.1\r\nHost: {own}\r\n\r\n"), "400"),
        (format!("GET /favicon.ico HTTP/1.1\r\nHost: {own}\r\n\r\n"), "404"),
        ("nonsense\r\n\r\n".into(), "400"),
    ] {
        let reply = visit.send(&request);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {reply}");
        assert!(!reply.contains("evil") && !reply.contains(CANARY), "{reply}");
        assert!(!running.ended());
    }
    assert_eq!(issuer.asked("/token").len(), 0);
    // A connection that says nothing holds nobody up.
    let silent = std::net::TcpStream::connect((host.as_str(), port)).unwrap();
    assert!(visit.send(&format!("GET {good} HTTP/1.1\r\nHost: {own}\r\n\r\n")).starts_with("HTTP/1.1 200 "));
    drop(silent);
    running.wait().prints("");
    // The answer comes once.
    visit.assert_closed();
    assert_eq!(issuer.only("/token").field("code"), format!("good-{CANARY}"));
    sandbox.run("get oidc").silent().line();
}

#[test]
fn an_error_that_comes_back_is_told_without_its_escapes_and_keeps_nothing() {
    let issuer = Issuer::start();
    for (query, code, says) in [
        ("error=access_denied&error_description=no%1b%5b31m%0d%0atok:%20all%20is%20well", 5, "access_denied"),
        ("error=%1b%5d0;x%07", 5, "\\u{1b}"),
        ("error=temporarily_unavailable", 6, "temporarily_unavailable"),
        // A code beside an error is not spent.
        (&format!("error=access_denied&code=c-{CANARY}"), 5, "access_denied"),
    ] {
        let (sandbox, running, visit) = begun(&issuer, "--scope read");
        let page = visit.come_back(&format!("{query}&state={}", visit.value("state")));
        assert!(page.starts_with("HTTP/1.1 200 ") && !page.contains("access_denied"), "{page}");
        let out = running.wait().fails(code).says(says).hints();
        assert!(!out.stderr.contains(['\u{1b}', '\u{7}', '\r']), "{out}");
        assert!(!out.stderr.lines().any(|line| line.starts_with("tok: all is well")), "{out}");
        sandbox.assert_nothing_kept();
        visit.assert_closed();
    }
    assert_eq!(issuer.asked("/token").len(), 0);
}

#[test]
fn an_answer_from_another_issuer_is_not_used() {
    let issuer = Issuer::start();
    let promised = json!({"authorization_response_iss_parameter_supported": true});
    for (metadata, iss) in [(json!({}), Some("https://evil.example")), (promised.clone(), None), (json!({}), Some("/"))]
    {
        issuer.state(|s| s.metadata = metadata.clone());
        let (sandbox, running, visit) = begun(&issuer, "");
        let iss = match iss {
            Some("/") => format!("&iss={}/", issuer.url()),
            Some(other) => format!("&iss={other}"),
            None => String::new(),
        };
        let page = visit.come_back(&format!("code=c-{CANARY}&state={}{iss}", visit.value("state")));
        assert!(page.starts_with("HTTP/1.1 400 "), "{page}");
        running.wait().fails(8).hints();
        sandbox.assert_nothing_kept();
    }
    assert_eq!(issuer.asked("/token").len(), 0);
    // The right one is.
    issuer.state(|s| s.metadata = promised);
    let (_sandbox, running, visit) = begun(&issuer, "--scope read");
    issuer.state(|s| s.token = json!({"id_token": null}));
    visit.come_back(&format!("code=c&state={}&iss={}", visit.value("state"), issuer.url()));
    running.wait().prints("");
}

#[test]
fn nobody_comes_and_the_time_runs_out() {
    let issuer = Issuer::start();
    let (sandbox, running, visit) = begun(&issuer, "--timeout 8s");
    visit.come_back("code=x&state=wrong");
    let out = running.wait().fails(6).says("state").hints_at("--no-browser");
    assert!(out.took < SOON, "{out}");
    visit.assert_closed();
    sandbox.assert_nothing_kept();
}

#[test]
fn an_interrupt_ends_the_wait_at_once_and_closes_the_port() {
    let issuer = Issuer::start();
    let mut sandbox = issuer.sandbox();
    // A browser that goes on does not inherit the port.
    let browser = Browser::of(&mut sandbox);
    let script = sandbox.work().join("browser");
    let text = std::fs::read_to_string(&script).unwrap();
    let pid = sandbox.work().join("browser-pid");
    std::fs::write(&script, format!("{text}echo $$ >'{}'\nexec sleep 600\n", pid.display())).unwrap();
    let running = sandbox.tok(words(LOGIN)).spawn();
    let visit = browser.visit();
    let start = Instant::now();
    running.signal(Signal::INT);
    let out = running.wait();
    assert_eq!((out.code, out.stdout.as_str()), (130, ""), "{out}");
    assert!(start.elapsed() < SOON, "{out}");
    visit.assert_closed();
    // The browser has gone on all the time.
    let mut browser = String::new();
    until("the browser says its number", || {
        browser = std::fs::read_to_string(&pid).unwrap_or_default();
        browser.ends_with('\n')
    });
    let browser = rustix::process::Pid::from_raw(browser.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(browser, Signal::KILL).unwrap();
    sandbox.assert_nothing_kept();
}

#[test]
fn the_redirect_goes_where_the_provider_demands_it() {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null}));
    let free = free_port();
    let mut cases = vec![
        (format!("--redirect-port {free}"), format!("http://127.0.0.1:{free}/callback")),
        ("--redirect-host localhost --redirect-path /".into(), "http://localhost:".into()),
    ];
    if TcpListener::bind("[::1]:0").is_ok() {
        cases.push(("--redirect-host [::1]".into(), "http://[::1]:".into()));
    }
    for (flags, uri) in cases {
        let (_sandbox, running, visit) = begun(&issuer, &format!("--scope read {flags}"));
        assert!(visit.value("redirect_uri").starts_with(&uri), "{visit:?}");
        visit.log_in();
        running.wait().prints("");
        visit.assert_closed();
        assert_eq!(issuer.asked("/token").last().unwrap().field("redirect_uri"), visit.value("redirect_uri"));
    }
    let sandbox = issuer.sandbox();
    for flags in ["--redirect-port 0", "--redirect-port 65536", "--redirect-port x", "--redirect-path callback"] {
        sandbox.run(&format!("{LOGIN} {flags}")).fails(2);
    }
    sandbox.assert_nothing_kept();
}

#[test]
fn an_occupied_port_is_told_and_nothing_is_opened() {
    let issuer = Issuer::start();
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost"] {
        let line = format!("{LOGIN} --redirect-port {port} --redirect-host {host}");
        sandbox.run(&line).fails(1).says(&port.to_string()).says("in use").hints_at("--redirect-port");
    }
    assert!(!browser.was_opened());
    sandbox.assert_nothing_kept();
}

#[test]
fn without_a_browser_the_address_is_shown_and_waited_for() {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null}));
    for (browser, quiet) in [(None, ""), (None, "-q"), (Some("/nonexistent/browser"), ""), (Some("false"), "-q")] {
        let mut sandbox = issuer.sandbox();
        if let Some(browser) = browser {
            sandbox.set("BROWSER", browser);
        }
        let log = sandbox.work().join("log");
        let file = std::fs::File::create(&log).unwrap();
        let running = sandbox.tok(words(&format!("{LOGIN} --scope read {quiet}"))).stderr(file).spawn();
        let text = shown(&log, "redirect_uri");
        let visit = address_in(&text);
        assert!(text.contains("browser"), "it says why: {text}");
        visit.log_in();
        running.wait().prints("");
        sandbox.run("get oidc").line();
    }
}

/// A login without a browser whose stdin is a pipe: what is pasted, once the address is there.
fn pasting(issuer: &Issuer, more: &str, paste: impl FnOnce(&Visit) -> String) -> (Sandbox, Output) {
    pasting_or_not(issuer, more, |visit| Some(paste(visit)))
}

/// The same; where nothing is pasted, the pipe stays open.
fn pasting_or_not(issuer: &Issuer, more: &str, paste: impl FnOnce(&Visit) -> Option<String>) -> (Sandbox, Output) {
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let (log, pipe) = (sandbox.work().join("log"), sandbox.work().join("pipe"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let file = std::fs::File::create(&log).unwrap();
    let running = sandbox
        .tok(words(&format!("{LOGIN} --no-browser {more}")))
        .before(&format!("exec <'{}'", pipe.display()))
        .stderr(file)
        .spawn();
    let mut pipe = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let visit = address_in(&shown(&log, "paste"));
    let mut open = None;
    match paste(&visit) {
        Some(text) => pipe.write_all(text.as_bytes()).unwrap(),
        None => open = pipe.try_clone().ok(),
    }
    drop(pipe);
    let mut out = running.wait();
    drop(open);
    visit.assert_closed();
    assert!(!browser.was_opened());
    out.stderr = std::fs::read_to_string(&log).unwrap();
    assert!(!out.stderr.contains(CANARY), "{out}");
    (sandbox, out)
}

#[test]
fn with_no_browser_the_address_where_it_ended_is_pasted() {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null}));
    let good = |visit: &Visit| format!("code=c-{CANARY}&state={}", visit.value("state"));
    let (sandbox, out) = pasting(&issuer, "--scope read", |visit| format!(" {} \n", visit.answer(&good(visit))));
    out.prints("");
    sandbox.run("get oidc").line();
    let (_, out) = pasting(&issuer, "--scope read --redirect-port 7", good);
    out.prints("");
    for (paste, code, says) in [
        (Box::new(|_: &Visit| format!("c-{CANARY}\n")) as Box<dyn Fn(&Visit) -> String>, 2, "code alone"),
        (Box::new(|_: &Visit| String::new()), 4, "nothing was pasted"),
        (Box::new(|_: &Visit| "\n".into()), 4, "nothing was pasted"),
        (Box::new(|visit: &Visit| visit.answer(&format!("code=c-{CANARY}&state=wrong\n"))), 2, "state"),
        (Box::new(|visit: &Visit| visit.answer(&format!("state={}\n", visit.value("state")))), 2, "code"),
        (Box::new(|visit: &Visit| format!("https://x.example/else?{}\n", good(visit))), 2, "path"),
        (
            Box::new(|visit: &Visit| visit.answer(&format!("error=access_denied&state={}\n", visit.value("state")))),
            5,
            "access_denied",
        ),
        (
            Box::new(|visit: &Visit| visit.answer(&format!("{}&iss=https://evil.example\n", good(visit)))),
            8,
            "evil.example",
        ),
    ] {
        let before = issuer.asked("/token").len();
        let (sandbox, out) = pasting(&issuer, "", paste);
        std::fs::remove_file(sandbox.work().join("log")).unwrap();
        out.fails(code).says(says).hints();
        sandbox.assert_nothing_kept();
        assert_eq!(issuer.asked("/token").len(), before, "nothing is sent");
    }
}

#[test]
fn nobody_pastes_and_the_time_runs_out() {
    let issuer = Issuer::start();
    let (sandbox, out) = pasting_or_not(&issuer, "--timeout 8s", |_| None);
    out.fails(6).hints();
    sandbox.assert_nothing_kept();
}

#[test]
fn on_a_terminal_the_address_is_pasted_too() {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null}));
    let sandbox = issuer.sandbox();
    let mut terminal = sandbox.tok(words(&format!("{LOGIN} --no-browser --scope read"))).on_terminal();
    let screen = terminal.expect("paste the address");
    let visit = address_in(&screen.replace('\r', ""));
    terminal.type_line(&visit.answer(&format!("code=c&state={}", visit.value("state"))));
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    sandbox.run("get oidc").line();
    // Ctrl-C and Ctrl-D.
    for (key, status) in [('c', 130), ('d', 4)] {
        let sandbox = issuer.sandbox();
        let mut terminal = sandbox.tok(words(&format!("{LOGIN} --no-browser"))).on_terminal();
        terminal.expect("shows an error:");
        terminal.control(key);
        let (rest, code) = terminal.end();
        assert_eq!(code, status, "{rest}");
        sandbox.assert_nothing_kept();
    }
}

#[test]
fn parameters_are_pushed_where_the_server_takes_that() {
    let issuer = Issuer::start();
    let par = format!("{}/par", issuer.url());
    issuer.state(|s| {
        (s.metadata, s.token) = (json!({"pushed_authorization_request_endpoint": par}), json!({"id_token": null}))
    });
    let pushed = || Reply::json(201, json!({"request_uri": "urn:ietf:params:oauth:request_uri:a&b", "expires_in": 60}));
    issuer.script("/par", [pushed()]);
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
    let more = "--scope read --param ui=dark --resource https://a.example --resource https://b.example";
    let running = sandbox.tok(words(&format!("{LOGIN} {more} --client-secret-file {secret}"))).spawn();
    let sent = browser.visit();
    assert_eq!(
        sent.query,
        [
            ("client_id".to_string(), CLIENT.to_string()),
            ("request_uri".into(), "urn:ietf:params:oauth:request_uri:a&b".into())
        ]
    );
    let request = issuer.only("/par");
    assert!(request.header("authorization").is_some_and(|value| value.starts_with("Basic ")), "{request:?}");
    for name in ["response_type", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method", "ui"] {
        assert!(request.has_field(name), "{name}");
    }
    assert!(!request.has_field("client_secret") && !request.has_field("nonce") && !request.has_field("request_uri"));
    let visit = Visit { address: sent.address, query: request.form() };
    assert_eq!(visit.values("resource").len(), 2);
    visit.log_in();
    running.wait().prints("");

    for (reply, code) in [
        (Reply::json(201, json!({"expires_in": 60})), 8),
        (Reply::json(201, json!({"request_uri": 1})), 8),
        (Reply::html(200), 8),
        (Reply::json(400, json!({"error": "invalid_request", "error_description": "no \u{1b}[31mway"})), 5),
        (Reply::json(500, json!({})), 6),
    ] {
        issuer.script("/par", [reply.clone()]);
        let sandbox = issuer.sandbox();
        let out = sandbox.tok(words(LOGIN)).env("BROWSER", "true").run().fails(code).hints();
        assert!(!out.stderr.contains('\u{1b}'), "{out}");
        sandbox.assert_nothing_kept();
    }
}

#[test]
fn a_parameter_that_is_none_is_refused_before_anything_is_opened() {
    let issuer = Issuer::start();
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    for param in ["state=x", "client_id=x", "redirect_uri=x", "nonce=x", "code_challenge=x", "scope=x", "ui", "=x"] {
        let out = sandbox.run(&format!("{LOGIN} --param {param} --timeout 1s")).fails(2);
        assert!(out.stderr.contains("--param"), "{out}");
    }
    assert!(!browser.was_opened());
    sandbox.assert_nothing_kept();
}

#[test]
fn a_refused_code_is_5_and_is_sent_once() {
    let issuer = Issuer::start();
    for (reply, code) in [
        (Reply::json(400, json!({"error": "invalid_grant", "error_description": format!("code-{CANARY} is used")})), 5),
        (Reply::json(200, json!({"token_type": "Bearer"})), 8),
        (Reply::html(200), 8),
        (Reply::json(200, json!({"access_token": format!("at-{CANARY} x")})), 8),
    ] {
        let before = issuer.asked("/token").len();
        issuer.script("/token", [reply]);
        let (sandbox, running, visit) = begun(&issuer, "");
        visit.log_in();
        running.wait().fails(code).hints();
        sandbox.assert_nothing_kept();
        assert_eq!(issuer.asked("/token").len(), before + 1);
    }
}

#[test]
fn an_id_token_that_is_not_right_fails_the_login() {
    let issuer = Issuer::start();
    let late = crate::support::now() - 3600;
    for (claims, says) in [
        (json!({"nonce": "another"}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"iss": "https://evil.example"}), "https://evil.example"),
        (json!({"iss": "https://\u{1b}[31m.example"}), "\\u{1b}"),
        (json!({"aud": "somebody-else"}), "aud"),
        (json!({"aud": ["cli", "x"]}), "azp"),
        (json!({"exp": late}), "exp"),
        (json!({"exp": null}), "exp"),
        (json!({"sub": null}), "sub"),
        (json!({"at_hash": "AAAA"}), "at_hash"),
    ] {
        let (sandbox, running, visit) = begun(&issuer, "");
        let mut right = members(&[("nonce", visit.value("nonce").into())]);
        for (name, value) in claims.as_object().unwrap() {
            right[name] = value.clone();
        }
        issuer.state(|s| s.claims = right);
        visit.log_in();
        let out = running.wait().fails(8).says(says).hints();
        assert!(!out.stderr.contains('\u{1b}'), "{out}");
        sandbox.assert_nothing_kept();
    }
}

#[test]
fn an_id_token_that_nobody_vouches_for_fails_the_login() {
    let issuer = Issuer::start();
    let other = crate::support::issuer::ServerKey::new("k1").jwk();
    let elsewhere = crate::support::issuer::ServerKey::new("k2").jwk();
    for (alg, jwks, says) in [
        ("none", json!(null), "alg"),
        ("HS256", json!(null), "alg"),
        ("ES256", json!({"keys": []}), "key"),
        ("ES256", json!({"keys": [elsewhere]}), "key"),
        ("ES256", json!({"keys": [other]}), "signature"),
    ] {
        let (sandbox, running, visit) = begun(&issuer, "");
        issuer.state(|s| {
            s.claims = members(&[("nonce", visit.value("nonce").into())]);
            (s.alg, s.jwks) = (alg.into(), jwks.clone());
        });
        visit.log_in();
        running.wait().fails(8).says(says).hints();
        sandbox.assert_nothing_kept();
    }
}

#[test]
fn where_the_keys_cannot_be_had_the_claims_are_checked_and_the_token_is_not_relied_on() {
    let issuer = Issuer::start();
    for (jwks, alg, nonce_is_right) in [
        (Reply::json(200, json!({})), "ES256", true),
        (Reply::json(404, json!({})), "ES256", true),
        (Reply::html(200), "ES256", true),
        (Reply::json(404, json!({})), "ES256", false),
        (Reply::json(404, json!({})), "none", true),
    ] {
        issuer.state(|s| s.replies.clear());
        issuer.script("/jwks", [jwks.clone(), jwks]);
        let (sandbox, running, visit) = begun(&issuer, "");
        issuer.state(|s| {
            s.claims = if nonce_is_right { members(&[("nonce", visit.value("nonce").into())]) } else { json!({}) };
            s.alg = alg.into();
        });
        visit.log_in();
        let out = running.wait();
        if alg == "none" || !nonce_is_right {
            out.fails(8).hints();
            sandbox.assert_nothing_kept();
            continue;
        }
        out.prints("");
        sandbox.run("get oidc").silent().line();
        sandbox.run("get oidc -o id-token").fails(8).says("cannot be verified").hints();
        // As soon as they can be had, it is.
        sandbox.run("get oidc -o id-token").silent().line();
    }
}

#[test]
fn an_issuer_beside_given_endpoints_is_compared_too() {
    let issuer = Issuer::start();
    let mut sandbox = Sandbox::with_file_store();
    let browser = Browser::of(&mut sandbox);
    let url = issuer.url();
    let line = format!(
        "login oauth2 authorization-code --issuer {url} --token-url {url}/token --authorize-url {url}/authorize \
         --jwks-url {url}/jwks --client-id cli --scope openid"
    );
    for (iss, claims, code) in [
        ("&iss=https://evil.example", json!({}), 8),
        ("", json!({"nonce": "wrong"}), 8),
        ("", json!({"iss": "https://evil.example"}), 8),
        ("", json!({}), 0),
    ] {
        let running = sandbox.tok(words(&line)).spawn();
        let visit = browser.visit();
        let mut right = members(&[("nonce", visit.value("nonce").into())]);
        for (name, value) in claims.as_object().unwrap() {
            right[name] = value.clone();
        }
        issuer.state(|s| s.claims = right);
        visit.come_back(&format!("code=c&state={}{iss}", visit.value("state")));
        assert_eq!(running.wait().code, code, "{iss} {claims}");
    }
    assert_eq!(issuer.asked("/.well-known/openid-configuration").len(), 0);
}
