//! `tok status --online`: the provider is asked what it knows, and nothing is renewed.

use crate::support::api::{self, Api};
use crate::support::issuer::Issuer;
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Output, Sandbox, plain, plain_provider};
use serde_json::{Value, json};

/// An issuer, and a home that a client with a secret has logged in from; its access tokens live for `seconds`.
fn logged_in(seconds: i64) -> (Issuer, Sandbox) {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({ "expires_in": seconds }));
    let sandbox = issuer.sandbox();
    let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
    sandbox.run(&format!("login oidc device-code --client-secret-file {secret} --keep")).prints("");
    (issuer, sandbox)
}

/// The only row of what was printed with this exit status.
#[track_caller]
fn row(out: &Output, code: i32) -> Value {
    assert_eq!(out.code, code, "{out}");
    let all: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"));
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{out}");
    all[0].clone()
}

fn inactive() -> Reply {
    Reply::json(200, json!({"active": false}))
}

#[test]
fn the_server_is_asked_about_both_tokens_and_nothing_is_renewed() {
    let (issuer, sandbox) = logged_in(600);
    let (tokens, kept) = (issuer.asked("/token").len(), sandbox.secrets());
    let row = row(&sandbox.run("status oidc --online --json").silent(), 0);
    assert_eq!((&row["status"], &row["reason"]), (&json!("ready"), &Value::Null));
    let asked = issuer.asked("/introspect");
    let sent = |at: usize| (asked[at].field("token_type_hint"), asked[at].field("token"));
    assert_eq!(asked.len(), 2);
    let n = tokens;
    assert_eq!(sent(0), ("refresh_token".into(), format!("rt-{CANARY}-{n}")));
    assert_eq!(sent(1), ("access_token".into(), format!("at-{CANARY}-{n}")));
    assert!(asked.iter().all(|request| request.header("authorization").is_some()), "the client proves itself");
    assert_eq!((issuer.asked("/token").len(), sandbox.secrets()), (tokens, kept), "nothing is renewed");
    // Without the option nobody is asked.
    let count = issuer.server.count();
    sandbox.run("status oidc").ok();
    assert_eq!(issuer.server.count(), count);
}

#[test]
fn a_session_that_the_server_calls_inactive_needs_a_login_until_a_token_is_issued() {
    let (issuer, sandbox) = logged_in(600);
    sandbox.forget_cache();
    // It tells of refresh tokens.
    assert_eq!(row(&sandbox.run("status oidc --online --json").silent(), 0)["status"], "renews");
    issuer.script("/introspect", [inactive()]);
    for online in [" --online", ""] {
        let row = row(&sandbox.run(&format!("status oidc --json{online}")).silent(), 4);
        assert_eq!((&row["status"], &row["refresh_token"]), (&json!("login_needed"), &json!(true)), "{row}");
        assert_eq!(row["reason"], "the server says that the refresh token is not active");
        assert!(row["as_of"].is_string(), "{row}");
    }
    assert_eq!(issuer.asked("/introspect").len(), 2);
    // It says otherwise when it is asked again.
    assert_eq!(row(&sandbox.run("status oidc --online --json").silent(), 0)["status"], "renews");
    assert_eq!(row(&sandbox.run("status oidc --json").silent(), 0)["status"], "renews");
    // Only a refusal ends a session: it is used all the same.
    issuer.script("/introspect", [inactive()]);
    sandbox.run("status oidc --online").silent();
    sandbox.run("get oidc").line();
    assert_eq!(row(&sandbox.run("status oidc --json").silent(), 0)["status"], "ready");
}

#[test]
fn a_server_that_has_called_no_refresh_token_active_may_not_tell_of_them() {
    let (issuer, sandbox) = logged_in(600);
    sandbox.forget_cache();
    issuer.script("/introspect", [inactive()]);
    for online in [" --online", ""] {
        let row = row(&sandbox.run(&format!("status oidc --json{online}")).silent(), 0);
        assert_eq!((&row["status"], &row["refresh_token"]), (&json!("renews"), &json!(true)), "{row}");
        let why = "the server says that the refresh token is not active, or does not tell of refresh tokens";
        assert_eq!(row["reason"], why);
        assert!(row["as_of"].is_string(), "{row}");
    }
    // Once it has refused it, nothing is open any more.
    issuer.script("/token", [Reply::json(400, json!({"error": "invalid_grant"}))]);
    sandbox.run("get oidc").fails(4);
    assert_eq!(row(&sandbox.run("status oidc --json").silent(), 4)["status"], "login_needed");
}

#[test]
fn a_cached_token_that_the_server_calls_inactive_is_not_handed_out_again() {
    let (issuer, sandbox) = logged_in(600);
    let old = sandbox.run("get oidc").line();
    issuer.script("/introspect", [Reply::json(200, json!({"active": true})), inactive()]);
    let out = sandbox.run("status oidc --online --json -v");
    assert_eq!(row(&out, 0)["status"], "renews", "{out}");
    out.says("the cached token is not active");
    assert_ne!(sandbox.run("get oidc").line(), old);
}

#[test]
fn a_provider_that_cannot_be_reached_is_6_where_a_token_would_have_to_come_from_it() {
    let (issuer, sandbox) = logged_in(600);
    let url = issuer.url();
    drop(issuer);
    let row_of = |code| row(&sandbox.run("status oidc --online --json").silent(), code);
    let found = row_of(0);
    assert_eq!(found["status"], "ready", "a token is cached: {found}");
    assert!(found["reason"].as_str().is_some_and(|why| why.contains(&url)), "{found}");
    sandbox.forget_cache();
    let found = row_of(6);
    assert_eq!(found["status"], "renews", "{found}");
    assert!(found["reason"].as_str().is_some_and(|why| why.contains(&url)), "{found}");
    // The one without the other needs nobody: nothing is known against it.
    sandbox.run("status oidc").ok();
}

#[test]
fn a_provider_that_knows_no_introspection_is_only_reached() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let row_of = || row(&sandbox.run("status plain --online --json").silent(), 0);
    assert_eq!(row_of()["status"], "renews");
    let request = server.last();
    assert_eq!((request.method.as_str(), request.body.len()), ("GET", 0), "{request:?}");
    assert_eq!(request.header("authorization"), None);
    sandbox.run("get plain").line();
    assert_eq!(row_of()["status"], "ready");
    assert!(server.requests().iter().filter(|request| request.method == "POST").count() == 1, "one token was issued");
}

#[test]
fn a_public_client_has_whose_the_token_is_asked_instead() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code").prints("");
    let refused = || Reply::json(401, json!({"error": "invalid_client"}));
    issuer.script("/introspect", [refused(), refused()]);
    assert_eq!(row(&sandbox.run("status oidc --online --json").silent(), 0)["reason"], Value::Null);
    assert_eq!((issuer.asked("/introspect").len(), issuer.asked("/userinfo").len()), (1, 1));
    issuer.script("/introspect", [refused()]);
    issuer.script("/userinfo", [Reply::json(401, json!({"error": "invalid_token", "error_description": "revoked"}))]);
    let row = row(&sandbox.run("status oidc --online --json").silent(), 0);
    assert!(row["reason"].as_str().is_some_and(|why| why.contains("revoked")), "{row}");
}

#[test]
fn an_api_is_shown_its_token() {
    let api = Api::start();
    let (sandbox, browser) = api.sandbox();
    api::log_in(&browser, sandbox.tok(["login", &api.url(), "--as", "mcp"])).prints("");
    let asked =
        || -> Vec<Received> { api.api.requests().into_iter().filter(|request| request.path() == "/mcp").collect() };
    let count = asked().len();
    assert_eq!(row(&sandbox.run("status mcp --online --json").silent(), 0)["reason"], Value::Null);
    let asked = asked();
    assert_eq!(asked.len(), count + 1);
    assert!(asked[count].header("authorization").is_some_and(|value| value.starts_with("Bearer ")));
}

#[test]
fn the_profiles_lock_is_taken_and_what_another_is_doing_is_not_waited_for_without_end() {
    let server = Server::new(|request: &Received| match request.field("grant_type").as_str() {
        "refresh_token" => Reply::token(&format!("new-{CANARY}"), 600),
        _ => Reply::json(
            200,
            json!({"access_token": "first", "expires_in": 600, "refresh_token": format!("rt-{CANARY}")}),
        ),
    });
    let sandbox = Sandbox::with_file_config("");
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-id", "robot", "--client-secret-file", &secret]).run().prints("");
    let gate = server.hold();
    let count = server.count();
    let renewal = sandbox.tok(["get", "plain", "--fresh"]).spawn();
    server.until(count + 1);
    // The row is of what is noted, and says so.
    let out = sandbox.run("status plain --online --timeout 1s --json");
    assert_eq!(row(&out, 0)["status"], "ready");
    out.says(&format!("process {} holds the lock", renewal.pid()));
    let status = sandbox.tok(["status", "plain", "--online", "--json"]).spawn();
    gate.open();
    assert_eq!(renewal.wait().line(), format!("new-{CANARY}"));
    assert_eq!(row(&status.wait(), 0)["status"], "ready");
}
