//! A login on another device, by a code or by a push: what is shown, the pace of the questions, how it ends.

use crate::child::SOON;
use crate::support::issuer::{Issuer, members};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, at_once, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LOGIN: &str = "login oidc device-code --scope read";

/// A refusal of RFC 6749 §5.2.
fn error(code: &str) -> Reply {
    Reply::json(400, json!({"error": code}))
}

/// An issuer without ID tokens.
fn issuer() -> Issuer {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null}));
    issuer
}

/// The reply with a code, with these members set, or with null taken out.
fn device(change: Value) -> Reply {
    let mut reply = json!({
        "device_code": format!("dc-{CANARY}"), "user_code": "WDJB-MJHT",
        "verification_uri": "https://id.example/activate", "expires_in": 60, "interval": 1,
    });
    for (name, value) in change.as_object().unwrap() {
        reply[name] = value.clone();
    }
    Reply::json(200, reply)
}

#[test]
fn the_code_is_shown_and_the_token_asked_for_until_it_is_there() {
    let issuer = issuer();
    issuer.script("/token", [error("authorization_pending"), error("authorization_pending")]);
    let sandbox = issuer.sandbox();
    let more = "-q --resource https://a.example --audience x --login-hint alice --param acr=high";
    let out = sandbox.run(&format!("{LOGIN} {more}")).prints("");
    for text in ["WDJB-MJHT", "/activate", "/activate?user_code=WDJB-MJHT"] {
        assert!(out.stderr.contains(text), "{text}: {out}");
    }
    assert!(!out.stderr.contains('█') && !out.stderr.contains('\u{1b}'), "a picture is for a terminal: {out}");
    let first = issuer.only("/device");
    for (name, value) in [
        ("client_id", "cli"),
        ("scope", "read"),
        ("resource", "https://a.example"),
        ("audience", "x"),
        ("login_hint", "alice"),
        ("acr", "high"),
    ] {
        assert_eq!(first.field(name), value, "{name}");
    }
    let asked = issuer.asked("/token");
    assert_eq!(asked.len(), 3);
    for request in asked {
        assert_eq!(request.field("grant_type"), "urn:ietf:params:oauth:grant-type:device_code");
        assert_eq!(request.field("device_code"), format!("dc-{CANARY}"));
        assert_eq!(request.field("client_id"), "cli");
    }
    let times = issuer.times("/token");
    for pair in times.windows(2) {
        let between = pair[1] - pair[0];
        assert!(between >= Duration::from_millis(990), "{between:?}");
    }
    // A second, as the server says, and not the five of RFC 8628 section 3.5: load only lengthens a pause.
    let shortest = times.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(shortest < Duration::from_secs(5), "{shortest:?}");
    assert!(times[0] - issuer.times("/device")[0] >= Duration::from_millis(990));
    sandbox.run("get oidc").silent().line();
    assert_eq!(sandbox.files_with(&format!("dc-{CANARY}")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn slow_down_adds_five_seconds_for_good() {
    let issuer = issuer();
    issuer.script("/token", [error("slow_down"), error("authorization_pending")]);
    // The code ends before the request after the next: 1 + 6 < 12 < 1 + 6 + 6.
    issuer.script("/device", [device(json!({"expires_in": 12}))]);
    let sandbox = issuer.sandbox();
    sandbox.run(LOGIN).fails(5).says("expired").hints_at("the same command");
    let times = issuer.times("/token");
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= Duration::from_millis(5990), "{:?}", times[1] - times[0]);
    sandbox.assert_nothing_kept();
}

#[test]
fn each_end_has_its_status_and_keeps_nothing() {
    let cases = [
        (error("access_denied"), 5, "access_denied"),
        (error("expired_token"), 5, "expired_token"),
        (error("invalid_grant"), 5, "invalid_grant"),
        (
            Reply::json(
                401,
                json!({"error": "invalid_client", "error_description": format!("dc-{CANARY} \u{1b}[31m")}),
            ),
            5,
            "invalid_client",
        ),
        (Reply::html(200), 8, "HTML"),
        (Reply::json(200, json!({"token_type": "Bearer"})), 8, ""),
        (Reply::json(302, json!({})).header("Location", "https://evil.example/"), 8, "evil.example"),
        // Pending is a refusal's word: with a token beside it, it is none.
        (Reply::json(200, json!({"error": "authorization_pending", "access_token": "x"})), 0, ""),
    ];
    at_once(cases, |(reply, code, says)| {
        let issuer = issuer();
        issuer.script("/token", [reply]);
        let sandbox = issuer.sandbox();
        let out = sandbox.run(LOGIN);
        if code == 0 {
            assert_eq!(issuer.asked("/token").len(), 2, "{out}");
            return;
        }
        let out = out.fails(code).says(says).hints();
        assert!(!out.stderr.contains('\u{1b}'), "{out}");
        assert_eq!(issuer.asked("/token").len(), 1, "{out}");
        sandbox.assert_nothing_kept();
    });
}

#[test]
fn trouble_on_the_way_is_waited_out() {
    let issuer = issuer();
    let busy = Reply::json(503, json!({})).header("Retry-After", "0");
    issuer.script("/token", [busy, Reply::nothing()]);
    let sandbox = issuer.sandbox();
    let out = sandbox.run(LOGIN).prints("");
    assert!(out.took < SOON, "{out}");
    assert_eq!(issuer.asked("/token").len(), 3);
    sandbox.run("get oidc").silent().line();
}

#[test]
fn trouble_is_waited_out_to_the_end_of_the_code_and_no_longer() {
    let issuer = issuer();
    issuer.script("/device", [device(json!({"expires_in": 3}))]);
    issuer.script("/token", (0..9).map(|_| Reply::nothing()));
    let sandbox = issuer.sandbox();
    let out = sandbox.run(LOGIN).fails(6).hints();
    assert!(out.took < SOON, "{out}");
    sandbox.assert_nothing_kept();
}

#[test]
fn an_interrupt_ends_the_wait_at_once() {
    at_once(["device-code", "ciba --login-hint alice"], |grant| {
        let issuer = issuer();
        issuer.script("/token", (0..99).map(|_| error("authorization_pending")));
        let sandbox = issuer.sandbox();
        let running = sandbox.tok(format!("login oidc {grant} --scope read").split(' ')).spawn();
        until("it asks", || !issuer.times("/token").is_empty());
        let start = Instant::now();
        running.signal(Signal::INT);
        let out = running.wait();
        assert_eq!((out.code, out.stdout.as_str()), (130, ""), "{out}");
        assert!(start.elapsed() < SOON, "{out}");
        sandbox.assert_nothing_kept();
        sandbox.assert_no_lock_is_held();
    });
}

#[test]
fn the_time_allowed_limits_the_whole() {
    let issuer = issuer();
    issuer.script("/token", (0..99).map(|_| error("authorization_pending")));
    let sandbox = issuer.sandbox();
    let out = sandbox.run(&format!("{LOGIN} --timeout 2s")).fails(6).hints();
    assert!(out.took >= Duration::from_millis(1900) && out.took < SOON, "{out}");
    sandbox.assert_nothing_kept();
    // A server that does not answer is part of it.
    issuer.script("/device", [device(json!({})).delay(Duration::from_secs(600))]);
    let out = sandbox.run(&format!("{LOGIN} --timeout 1s")).fails(6).hints();
    assert!(out.took < SOON, "{out}");
}

#[test]
fn what_the_server_wants_shown_is_shown_without_its_escapes() {
    let issuer = issuer();
    let bad = "\u{1b}]0;x\u{7}AB\u{202e}\n\rtok: done";
    issuer.script("/device", [device(json!({"user_code": bad}))]);
    let out = issuer.sandbox().run(LOGIN).prints("");
    assert!(!out.stderr.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{out}");
    assert!(!out.stderr.lines().any(|line| line.starts_with("tok: done")), "{out}");
    for (change, says) in [
        (json!({"verification_uri": "javascript:alert(1)"}), "javascript"),
        (json!({"verification_uri": "http://evil.example/"}), "http"),
        (json!({"verification_uri": "https://a@evil.example/"}), ""),
        (json!({"verification_uri_complete": "javascript:alert(1)"}), "javascript"),
        (json!({"verification_uri_complete": "https://x.example/\u{1b}[31m"}), ""),
        (json!({"verification_uri": null}), "verification_uri"),
        (json!({"verification_uri": ""}), "verification_uri"),
        (json!({"user_code": null}), "user_code"),
        (json!({"device_code": null}), "device_code"),
        (json!({"device_code": 7}), "device_code"),
    ] {
        issuer.script("/device", [device(change.clone())]);
        let sandbox = issuer.sandbox();
        let before = issuer.times("/token").len();
        let out = sandbox.run(LOGIN).fails(8).says(says).hints();
        assert!(!out.stderr.contains('\u{1b}'), "{change}: {out}");
        assert_eq!(issuer.times("/token").len(), before, "nothing is asked for");
        sandbox.assert_nothing_kept();
    }
}

#[test]
fn a_device_code_that_never_comes_is_told() {
    let issuer = issuer();
    for (reply, code) in [
        (Reply::json(400, json!({"error": "unauthorized_client"})), 5),
        (Reply::json(404, json!({})), 5),
        (Reply::html(200), 8),
        (Reply::text(200, ""), 8),
        (Reply::text(200, "[]"), 8),
        (Reply::json(500, json!({})), 6),
        (Reply::json(302, json!({})).header("Location", "https://evil.example/"), 8),
    ] {
        issuer.script("/device", [reply]);
        let sandbox = issuer.sandbox();
        sandbox.run(LOGIN).fails(code).hints();
        sandbox.assert_nothing_kept();
    }
    assert_eq!(issuer.times("/token").len(), 0);
}

#[test]
fn on_a_terminal_there_is_a_picture_for_the_phone() {
    let issuer = issuer();
    at_once([("C.UTF-8", true), ("C", false)], |(lang, there)| {
        let sandbox = issuer.sandbox();
        let terminal = sandbox.tok(LOGIN.split(' ')).env("LANG", lang).env("TERM", "xterm").on_terminal();
        let (screen, code) = terminal.end();
        assert_eq!(code, 0, "{screen}");
        assert_eq!(screen.contains("\u{1b}[38;5;16;48;5;231m"), there, "{lang}: {screen}");
        assert!(screen.contains("WDJB-MJHT"), "{screen}");
    });
}

#[test]
fn a_push_to_a_phone_ends_as_the_person_decides() {
    let issuer = issuer();
    let login = "login oidc ciba --scope openid --login-hint alice --binding-message W4SCT --param acr=high";
    issuer.script("/token", [error("authorization_pending")]);
    let sandbox = issuer.sandbox();
    sandbox.run(login).prints("").silent();
    let first = issuer.only("/ciba");
    for (name, value) in [
        ("scope", "openid"),
        ("login_hint", "alice"),
        ("binding_message", "W4SCT"),
        ("acr", "high"),
        ("client_id", "cli"),
    ] {
        assert_eq!(first.field(name), value, "{name}");
    }
    let last = issuer.asked("/token").pop().unwrap();
    assert_eq!(last.field("grant_type"), "urn:openid:params:grant-type:ciba");
    assert_eq!(last.field("auth_req_id"), format!("ar-{CANARY}"));
    sandbox.run("get oidc").silent().line();
    at_once(["access_denied", "expired_token", "transaction_failed"], |code| {
        let issuer = self::issuer();
        issuer.script("/token", [error(code)]);
        let sandbox = issuer.sandbox();
        sandbox.run(login).fails(5).says(code).hints();
        sandbox.assert_nothing_kept();
    });
    for (reply, code) in [
        (Reply::json(200, json!({"expires_in": 5})), 8),
        (Reply::json(200, json!({"auth_req_id": ""})), 8),
        (Reply::json(400, json!({"error": "unknown_user_id", "error_description": "\u{1b}[31m"})), 5),
        (Reply::json(403, json!({"error": "access_denied"})), 5),
    ] {
        issuer.script("/ciba", [reply]);
        let sandbox = issuer.sandbox();
        let out = sandbox.run(login).fails(code).hints();
        assert!(!out.stderr.contains('\u{1b}'), "{out}");
        sandbox.assert_nothing_kept();
    }
    // Whom it is for is not asked of nobody.
    issuer.sandbox().run("login oidc ciba --scope openid").fails(4).hints_at("--login-hint");
}

#[test]
fn a_provider_like_oidc_offers_the_grants_it_names_and_refreshes() {
    let issuer = issuer();
    let sandbox = Sandbox::with_file_store();
    sandbox.provider(
        "acme",
        &format!(
            "title = \"Acme\"\nlike = \"oidc\"\n[params.issuer]\ndefault = \"{}\"\n[params.client_id]\ndefault = \"acme-cli\"\n\
             [grants.device-code]\n",
            issuer.url()
        ),
    );
    let help = sandbox.run("login acme --help").ok().stdout;
    assert!(help.contains("device-code") && !help.contains("client-credentials"), "{help}");
    sandbox.run("get acme").fails(4).hints_at("tok login acme device-code");
    sandbox.run("login acme").prints("");
    assert_eq!(issuer.only("/device").field("client_id"), "acme-cli");
    // openid is a matter of course, offline_access too where the server knows it.
    assert_eq!(issuer.only("/device").field("scope"), "openid offline_access");
    assert_eq!(sandbox.run("get acme --fresh").silent().line(), format!("at-{CANARY}-2"));
    let refresh = issuer.asked("/token").pop().unwrap();
    assert_eq!(refresh.field("grant_type"), "refresh_token");
    assert_eq!(refresh.field("client_id"), "acme-cli");
    assert!(!refresh.has_field("scope"));
    // With nothing but what is kept.
    sandbox.forget_cache();
    sandbox.run("get acme").silent().line();
}

#[test]
fn get_never_begins_a_login_that_needs_a_person() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let browser = crate::support::issuer::Browser::of(&mut sandbox);
    for grant in ["authorization-code", "device-code", "ciba"] {
        let login = format!("tok login oidc {grant}");
        sandbox.run(&format!("get oidc --grant {grant}")).fails(4).hints_at(&login);
        sandbox.run(&format!("header oidc --grant {grant}")).fails(4).hints_at(&login);
    }
    sandbox.run("get oidc").fails(4).hints_at("tok login oidc");
    assert!(!browser.was_opened());
    assert_eq!(issuer.server.count(), 0, "nothing is sent");
    sandbox.assert_nothing_kept();
}

#[test]
fn a_confidential_client_s_secret_is_kept_for_the_refresh() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
    sandbox.run(&format!("{LOGIN} --client-secret-file {secret}")).prints("");
    assert!(issuer.only("/device").header("authorization").is_some_and(|v| v.starts_with("Basic ")));
    sandbox.forget_cache();
    sandbox.run("get oidc").silent().line();
    let refresh = issuer.asked("/token").pop().unwrap();
    assert_eq!(refresh.field("refresh_token"), format!("rt-{CANARY}-1"));
    assert!(refresh.header("authorization").is_some_and(|v| v.starts_with("Basic ")), "{refresh:?}");
    assert_eq!(issuer.asked("/.well-known/openid-configuration").len(), 2, "found anew with a cold cache");

    // The issuer now names a token endpoint elsewhere: what is kept does not go there.
    let elsewhere = Server::issuing(60);
    let url = format!("{}/token", elsewhere.url());
    issuer.state(|s| s.metadata = members(&[("token_endpoint", url.into())]));
    sandbox.forget_cache();
    let before = sandbox.secrets();
    sandbox.run("get oidc").fails(4).says(&issuer.url()).says(&elsewhere.url()).hints();
    assert_eq!(elsewhere.connections(), 0);
    assert_eq!(sandbox.secrets(), before);
    // The same where the user points elsewhere.
    sandbox.set("TOK_OIDC_TOKEN_URL", format!("{}/token", elsewhere.url()));
    sandbox.run("get oidc").fails(4).hints();
    // Where it is kept for it is still revoked.
    sandbox.run("logout oidc").prints("");
    assert_eq!(issuer.only("/revoke").field("token"), format!("rt-{CANARY}-2"));
    assert_eq!(elsewhere.connections(), 0);
}
