//! What an issuer says of itself, and what is done with it: endpoints that cannot be used, ID tokens, and what is
//! asked around a token. Then all secrets of a login together, and where they may be.

use crate::support::issuer::{Browser, CLIENT, Issuer, jwt, members};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, at_once, contains, until};
use serde_json::{Value, json};

const DEVICE: &str = "login oidc device-code --scope read";
const METADATA: &str = "/.well-known/openid-configuration";
const OLDER: &str = "/.well-known/oauth-authorization-server";

fn issuer() -> Issuer {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null}));
    issuer
}

#[test]
fn metadata_that_cannot_be_used_is_told_and_nothing_is_sent_or_kept() {
    let issuer = issuer();
    for (change, says) in [
        (json!({"issuer": "https://evil.example"}), "evil.example"),
        (json!({"issuer": "https://\u{1b}[31m.example"}), "\\u{1b}"),
        (json!({"issuer": null}), "issuer"),
        (json!({"issuer": ["x"]}), "issuer"),
        (json!({"token_endpoint": "http://evil.example/token"}), "--token-url"),
        (json!({"token_endpoint": "https://u:p@evil.example/"}), "--token-url"),
        (json!({"token_endpoint": "ftp://evil.example/"}), "--token-url"),
        (json!({"token_endpoint": "/token"}), "--token-url"),
        (json!({"token_endpoint": 7}), "--token-url"),
        (json!({"token_endpoint": null}), "--token-url"),
        (json!({"device_authorization_endpoint": null}), "--device-url"),
        (json!({"device_authorization_endpoint": ""}), "--device-url"),
        (json!({"device_authorization_endpoint": "http://evil.example/"}), "--device-url"),
    ] {
        issuer.state(|s| s.metadata = change.clone());
        let sandbox = issuer.sandbox();
        let out = sandbox.run(DEVICE).fails(8).says(says).hints();
        assert!(!out.stderr.contains('\u{1b}'), "{out}");
        sandbox.assert_nothing_kept();
        let copies: Vec<_> =
            sandbox.files().into_keys().filter(|p| p.to_string_lossy().contains("/metadata/")).collect();
        assert!(
            change["issuer"].is_null() && !change.as_object().unwrap().contains_key("issuer") || copies.is_empty(),
            "{copies:?}"
        );
    }
    issuer.state(|s| s.metadata = json!({}));
    let huge = format!("{{\"issuer\":\"{}\",\"x\":\"{}\"}}", issuer.url(), "x".repeat(2 << 20));
    for (reply, code) in [
        (Reply::json(404, json!({})), 5),
        (Reply::html(200), 8),
        (Reply::text(200, "[]"), 8),
        (Reply::text(200, ""), 8),
        (Reply::text(200, &huge), 8),
        (Reply::json(302, json!({})).header("Location", "https://evil.example/"), 8),
        (Reply::json(500, json!({})), 6),
        (Reply::nothing(), 6),
    ] {
        issuer.state(|s| s.replies.clear());
        issuer.script(METADATA, (0..9).map(|_| reply.clone()));
        let sandbox = issuer.sandbox();
        sandbox.run(&format!("{DEVICE} --timeout 15s")).fails(code);
        sandbox
            .tok("get oidc --grant client-credentials --timeout 15s".split(' '))
            .env("TOK_OIDC_CLIENT_SECRET", CANARY)
            .run()
            .fails(code);
        sandbox.assert_nothing_kept();
    }
    // Nothing but metadata was ever asked for.
    assert!(issuer.server.requests().iter().all(|r| r.method == "GET" && [METADATA, OLDER].contains(&r.path())));
}

#[test]
fn an_issuer_that_cannot_be_one_is_refused() {
    let mut sandbox = Sandbox::with_file_store();
    for issuer in [
        "id.example",
        "http://id.example",
        "https://u:p@id.example",
        "https://id.example/?x=1",
        "https://id.example/#x",
        "javascript:x",
    ] {
        sandbox
            .tok(["login", "oidc", "device-code", "--client-id", "x", "--issuer", issuer])
            .run()
            .fails(2)
            .says("issuer");
        sandbox.set("TOK_OIDC_ISSUER", issuer);
        sandbox.run("get oidc --grant client-credentials").fails(2);
        sandbox.unset("TOK_OIDC_ISSUER");
    }
    sandbox.run("login oidc").fails(4).hints_at("--issuer");
    for line in ["--client-auth magic", "--dpop yes", "--algorithm none", "--redirect-host evil.example"] {
        sandbox.run(&format!("login oidc --issuer https://id.invalid --client-id x {line}")).fails(2);
    }
    sandbox.assert_nothing_kept();
}

#[test]
fn the_issuer_comes_from_the_config_the_environment_or_a_flag_and_its_metadata_are_kept_for_a_while() {
    let (one, two) = (issuer(), issuer());
    let sandbox = Sandbox::with_file_store();
    sandbox.config(&format!(
        "[profile.work]\nprovider = \"oidc\"\ngrant = \"client-credentials\"\nissuer = \"{}\"\nclient_id = \"w\"\nclient_secret = \"s-{CANARY}\"\n",
        one.url()
    ));
    let all = |issuer: &Issuer| (issuer.asked(METADATA).len(), issuer.asked("/token").len());
    sandbox.run("get work").silent().line();
    sandbox.run("get work").silent().line();
    assert_eq!(all(&one), (1, 1));
    sandbox.run("get work --fresh").silent().line();
    assert_eq!(all(&one), (1, 2), "the copy will do");
    // What is in the config was not kept for another place: given beside the URL it may go there.
    let elsewhere = sandbox.tok(["get", "work"]).env("TOK_WORK_ISSUER", two.url()).run();
    elsewhere.line();
    assert_eq!(all(&two), (1, 1));
    sandbox.run(&format!("get work --issuer {}", one.url())).line();
    assert_eq!((all(&one), all(&two)), ((1, 2), (1, 1)), "the token of each waits apart");
    sandbox.run(&format!("get work --fresh --issuer {}", one.url())).line();
    assert_eq!(
        one.server.last().field("refresh_token"),
        format!("rt-{CANARY}-2"),
        "the session is still the first one's"
    );
}

#[test]
fn what_is_kept_for_one_issuer_does_not_go_to_another() {
    let (one, two) = (issuer(), issuer());
    let mut sandbox = one.sandbox();
    let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
    sandbox.run(&format!("{DEVICE} --client-secret-file {secret}")).prints("");
    let before = sandbox.secrets();
    sandbox.set("TOK_OIDC_ISSUER", two.url());
    sandbox.run("get oidc").fails(4).hints_at("tok login oidc");
    sandbox.run("get oidc --fresh").fails(4);
    sandbox.run("get oidc --offline").fails(4);
    sandbox.run("get oidc --grant client-credentials").fails(4);
    sandbox.run("show oidc --userinfo").fails(4);
    let sent = two.server.requests();
    assert!(sent.iter().all(|r| r.method == "GET" && r.path() == METADATA), "{sent:?}");
    assert_eq!(sandbox.secrets(), before);
    sandbox.set("TOK_OIDC_ISSUER", one.url());
    sandbox.run("get oidc").silent().line();
}

#[test]
fn endpoints_may_have_a_query_of_their_own() {
    let issuer = issuer();
    let url = issuer.url();
    issuer.state(|s| {
        s.metadata = json!({
            "authorization_endpoint": format!("{url}/authorize?p=b2c"), "token_endpoint": format!("{url}/token?p=b2c"),
        });
        s.token["token_type"] = "DPoP".into();
    });
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let running = sandbox.tok("login oidc authorization-code --scope read --dpop true".split(' ')).spawn();
    let visit = browser.visit();
    assert!(visit.address.starts_with(&format!("{url}/authorize?p=b2c&response_type=code&")), "{visit:?}");
    visit.log_in();
    running.wait().prints("");
    let request = issuer.only("/token");
    assert_eq!(request.target, "/token?p=b2c");
    let claims = crate::support::issuer::proof(request.header("dpop").unwrap()).0;
    assert_eq!(claims["htu"], format!("{url}/token"));
}

#[test]
fn an_id_token_is_handed_out_only_if_it_is_good() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code").prints("").never_says("warning");
    let first = sandbox.run("get oidc -o id-token").silent().line();
    assert_eq!(jwt(&first).1["aud"], CLIENT);
    assert_eq!(sandbox.run("get oidc -o id-token --offline").silent().line(), first);
    // A refresh may bring another, which is verified before it is handed out, too.
    for (claims, alg, says) in [
        (json!({"iss": "https://evil.example"}), "ES256", "evil.example"),
        (json!({"aud": "other"}), "ES256", "aud"),
        (json!({}), "none", "alg"),
    ] {
        issuer.state(|s| (s.claims, s.alg) = (claims, alg.into()));
        sandbox.run("get oidc --fresh").silent().line();
        let before = issuer.server.count();
        sandbox.run("get oidc -o id-token --offline").fails(4).says("not been verified").hints();
        assert_eq!(issuer.server.count(), before, "offline is without the network");
        sandbox.run("get oidc -o id-token").fails(8).says(says).hints();
    }
    // Where a refresh brings none, that of before goes on.
    issuer.state(|s| (s.claims, s.alg) = (json!({}), "ES256".into()));
    sandbox.run("get oidc --fresh").silent().line();
    let good = sandbox.run("get oidc -o id-token").silent().line();
    issuer.state(|s| s.token = json!({"id_token": null}));
    sandbox.run("get oidc --fresh").silent().line();
    assert_eq!(sandbox.run("get oidc -o id-token").silent().line(), good);
    // One of another person is refused, and nothing it came with is used.
    issuer.state(|s| (s.token, s.claims) = (json!({}), json!({"sub": "mallory"})));
    sandbox.run("get oidc --fresh").fails(8).says("another person").hints_at("tok login oidc");
    // One that has ended: a newer one is asked for, and where none comes a login is.
    issuer.state(|s| s.claims = json!({}));
    let soon = crate::support::now() + 10;
    issuer.state(|s| s.claims = members(&[("exp", soon.into())]));
    sandbox.run("get oidc --fresh").silent().line();
    until("it has ended", || crate::support::now() > soon);
    issuer.state(|s| s.claims = json!({}));
    let newer = sandbox.run("get oidc -o id-token").silent().line();
    assert!(jwt(&newer).1["exp"].as_i64() > Some(soon));
    // Keys that change are fetched anew.
    let (old, new) = (jwt(&newer).0["kid"].clone(), crate::support::issuer::ServerKey::new("k2"));
    issuer.state(|s| s.key = new);
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code").prints("");
    assert_ne!(jwt(&sandbox.run("get oidc -o id-token").line()).0["kid"], old);
}

#[test]
fn an_id_token_of_any_flow_is_checked_at_the_login() {
    let logins = ["device-code", "ciba --scope openid --login-hint alice", "password --username a --password-file"];
    at_once(logins, |login| {
        let issuer = Issuer::start();
        for (claims, alg) in
            [(json!({"iss": "https://evil.example"}), "ES256"), (json!({"exp": 1}), "ES256"), (json!({}), "none")]
        {
            issuer.state(|s| (s.claims, s.alg) = (claims, alg.into()));
            let sandbox = issuer.sandbox();
            let mut words: Vec<String> = format!("login oidc {login}").split(' ').map(str::to_string).collect();
            if login.ends_with("-file") {
                words.push(sandbox.file_arg("password", format!("p-{CANARY}")));
            }
            sandbox.tok(&words).run().fails(8).hints();
            sandbox.assert_nothing_kept();
        }
    });
}

#[test]
fn the_server_is_asked_about_the_token() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
    sandbox.run(&format!("{DEVICE} --client-secret-file {secret}")).prints("");
    let out = sandbox.run("show oidc --introspect --json").json();
    assert_eq!(out["active"], true);
    let request = issuer.only("/introspect");
    assert_eq!(
        (request.field("token"), request.field("token_type_hint")),
        (format!("at-{CANARY}-1"), "access_token".into())
    );
    assert!(request.header("authorization").is_some_and(|v| v.starts_with("Basic ")), "the client proves itself");
    assert_eq!(sandbox.run("show oidc --userinfo --json").json()["name"], "Alice");
    assert_eq!(issuer.only("/userinfo").header("authorization"), Some(format!("Bearer at-{CANARY}-1").as_str()));
    for (path, flag) in [("/introspect", "--introspect"), ("/userinfo", "--userinfo")] {
        for (reply, code) in [
            (
                Reply::json(
                    401,
                    json!({"error": "invalid_token", "error_description": format!("at-{CANARY}-1 \u{1b}[31m")}),
                ),
                5,
            ),
            (Reply::html(200), 8),
            (Reply::text(200, "[1]"), 8),
            (Reply::new(200, "application/jwt", "e30.e30.x"), 8),
            // Neither whether it is good, nor whom it is about.
            (Reply::json(200, json!({"name": "x"})), 8),
            (Reply::json(302, json!({})).header("Location", "https://evil.example/"), 8),
        ] {
            issuer.script(path, [reply]);
            let out = sandbox.run(&format!("show oidc {flag}")).fails(code);
            assert!(!out.stderr.contains('\u{1b}'), "{out}");
        }
        let odd = json!({"active": true, "sub": "alice", "x": "\u{1b}[31m\u{202e}x", "\u{1b}]0;x\u{7}": 1});
        issuer.script(path, [Reply::json(200, odd)]);
        let out = sandbox.run(&format!("show oidc {flag}")).ok();
        assert!(!out.stdout.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{out}");
    }
    issuer.state(|s| s.metadata = json!({"introspection_endpoint": null, "userinfo_endpoint": null}));
    sandbox.set("TOK_CACHE", "disk");
    sandbox.forget_cache();
    for flag in ["--introspect", "--userinfo"] {
        sandbox.run(&format!("show oidc {flag}")).fails(3).hints();
    }
}

#[test]
fn a_logout_revokes_as_rfc_7009_says() {
    let issuer = issuer();
    let login = || {
        let sandbox = issuer.sandbox();
        let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
        sandbox.run(&format!("login oidc client-credentials --client-secret-file {secret}")).prints("");
        sandbox
    };
    let forgotten = |sandbox: &Sandbox| {
        assert_eq!(sandbox.files_with(CANARY), Vec::<std::path::PathBuf>::new());
        sandbox.run("get oidc").fails(4);
    };
    let sandbox = login();
    sandbox.run("logout oidc").prints("").silent();
    let [request, access] = &issuer.asked("/revoke")[..] else { panic!("two requests") };
    assert_eq!(access.field("token_type_hint"), "access_token");
    assert!(access.field("token").starts_with(&format!("at-{CANARY}-")), "{access:?}");
    assert!(request.field("token").starts_with(&format!("rt-{CANARY}-")), "{request:?}");
    assert_eq!(request.field("token_type_hint"), "refresh_token");
    assert!(request.header("authorization").is_some_and(|v| v.starts_with("Basic ")), "{request:?}");
    forgotten(&sandbox);
    for reply in
        [Reply::json(503, json!({})), Reply::nothing(), Reply::json(400, json!({"error": "unsupported_token_type"}))]
    {
        let sandbox = login();
        issuer.script("/revoke", (0..9).map(|_| reply.clone()));
        sandbox.run("logout oidc --timeout 1s").fails(6).says("removed locally; not revoked at the provider");
        issuer.state(|s| s.replies.clear());
        forgotten(&sandbox);
    }
    // The issuer is not to be had.
    let sandbox = login();
    std::fs::remove_dir_all(sandbox.state_dir().join("metadata")).unwrap();
    issuer.script(METADATA, (0..9).map(|_| Reply::nothing()));
    sandbox.run("logout oidc --timeout 1s").fails(6).says("removed locally; not revoked at the provider");
    issuer.state(|s| s.replies.clear());
    forgotten(&sandbox);
    // It cannot revoke, or would have it done elsewhere.
    issuer.state(|s| s.metadata = json!({"revocation_endpoint": null}));
    let sandbox = login();
    sandbox.run("logout oidc").prints("").says("removed locally; not revoked at the provider");
    forgotten(&sandbox);
    let elsewhere = Server::always(Reply::text(200, ""));
    let url = format!("{}/revoke", elsewhere.url());
    issuer.state(|s| s.metadata = members(&[("revocation_endpoint", url.into())]));
    let sandbox = login();
    sandbox.run("logout oidc").fails(6).says("removed locally; not revoked at the provider");
    assert_eq!(elsewhere.connections(), 0);
    forgotten(&sandbox);
}

/// All at once, as talkative as it gets: each secret of a login stays where it belongs.
#[test]
fn a_login_shows_its_secrets_to_nobody() {
    let issuer = Issuer::start();
    let par = format!("{}/par", issuer.url());
    issuer.state(|s| {
        s.metadata = json!({"pushed_authorization_request_endpoint": par});
        s.token = json!({"token_type": "DPoP"});
    });
    issuer.script("/par", [Reply::json(201, json!({"request_uri": "urn:x", "expires_in": 60}))]);
    let mut sandbox = issuer.sandbox();
    let secret = format!("s-{CANARY}");
    sandbox.set("TOK_OIDC_CLIENT_SECRET", &secret).set("TOK_OIDC_SUBJECT_TOKEN", format!("subject-{CANARY}"));
    sandbox.set("TOK_OIDC_PASSWORD", format!("p-{CANARY}"));
    let browser = Browser::of(&mut sandbox);
    let (script, seen) = (sandbox.work().join("browser"), sandbox.work().join("spied"));
    let text = std::fs::read_to_string(&script).unwrap();
    let spy = format!(
        "{{ env; echo \"$@\"; cat /proc/$PPID/cmdline /proc/self/fdinfo/* 2>/dev/null; ls -l /proc/self/fd; }} >'{}'\n",
        seen.display()
    );
    std::fs::write(&script, text.replace("#!/bin/sh\n", &format!("#!/bin/sh\n{spy}"))).unwrap();
    let running = sandbox.tok("login oidc authorization-code -vvv --dpop true".split(' ')).spawn();
    let visit = browser.visit();
    let pushed = issuer.only("/par");
    issuer.state(|s| s.claims = members(&[("nonce", pushed.field("nonce").into())]));
    let visit = crate::support::issuer::Visit { address: visit.address, query: pushed.form() };
    visit.log_in();
    let out = running.wait().prints("");
    let request = issuer.only("/token");
    let spied = std::fs::read(&seen).unwrap();
    assert!(!contains(&spied, CANARY.as_bytes()), "the browser knows a secret");
    let proof = request.header("dpop").unwrap().to_string();
    let key: Value = serde_json::from_str(sandbox.secrets()["oidc"]["dpop_key"].as_str().unwrap()).unwrap();
    let id_token = sandbox.run("get oidc -o id-token").line();
    for (name, text) in [
        ("state", visit.value("state")),
        ("nonce", visit.value("nonce")),
        ("verifier", request.field("code_verifier")),
        ("proof", proof),
        ("key", key["d"].as_str().unwrap().to_string()),
        ("id token", id_token),
        ("basic", request.header("authorization").unwrap()[6..].to_string()),
    ] {
        assert!(text.len() > 10, "{name}");
        assert!(!out.stderr.contains(&text), "{name}: {out}");
        let files = sandbox.files_with(&text);
        for file in &files {
            let file = file.to_string_lossy();
            let may = match name {
                "key" => file.ends_with("secrets.json") || file.starts_with(".local/state/tok/cache/"),
                "id token" => file.starts_with(".local/state/tok/cache/"),
                _ => false,
            };
            assert!(may, "{name} is in {file}");
        }
    }
    for file in sandbox.files_with(CANARY) {
        let file = file.to_string_lossy();
        assert!(file.ends_with("secrets.json") || file.starts_with(".local/state/tok/cache/"), "{file}");
    }
    for name in [&secret, &format!("code-{CANARY}"), &format!("p-{CANARY}")] {
        assert_eq!(sandbox.files_with(name), Vec::<std::path::PathBuf>::new(), "{name}");
    }
}
