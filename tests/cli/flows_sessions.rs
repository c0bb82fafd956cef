//! What goes on after a login: for whom and for what its session is, what is sent once, what a reply may quote, and
//! the config and provider files that lead there.

use crate::child::SOON;
use crate::support::issuer::{Browser, Issuer};
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Sandbox, chmod};
use rcgen::KeyPair;
use serde_json::json;

const LOGIN: &str = "login oidc device-code";

fn logged_in(issuer: &Issuer, more: &str) -> Sandbox {
    let sandbox = issuer.sandbox();
    sandbox.run(&format!("{LOGIN} {more}")).prints("");
    sandbox
}

#[test]
fn a_code_is_sent_once() {
    for (status, times) in [(502, 1), (504, 1), (503, 2)] {
        let issuer = Issuer::start();
        issuer.state(|s| s.token = json!({"id_token": null}));
        issuer.script("/token", [Reply::json(status, json!({}))]);
        let mut sandbox = issuer.sandbox();
        let browser = Browser::of(&mut sandbox);
        let running = sandbox.tok("login oidc authorization-code --scope read".split(' ')).spawn();
        browser.visit().log_in();
        let out = running.wait();
        assert_eq!(
            (out.code, issuer.asked("/token").len()),
            (if times == 1 { 6 } else { 0 }, times),
            "{status}: {out}"
        );
    }
}

#[test]
fn a_session_is_for_the_audience_it_was_begun_for() {
    let issuer = Issuer::start();
    let sandbox = logged_in(&issuer, "--audience one --param deep=1");
    let before = (sandbox.secrets(), issuer.asked("/token").len());
    for (other, says) in [("--audience two", "audience"), ("--param deep=2", "param")] {
        sandbox.run(&format!("get oidc {other}")).fails(4).says(says).hints_at("tok login oidc");
    }
    assert_eq!((sandbox.secrets(), issuer.asked("/token").len()), before, "nothing is spent");
    sandbox.run("get oidc --fresh --audience one --param deep=1").silent().line();
}

#[test]
fn other_scopes_are_asked_for_at_the_refresh_and_the_same_are_left_out() {
    let issuer = Issuer::start();
    let sandbox = logged_in(&issuer, "--scope openid --scope read");
    let last = || issuer.asked("/token").pop().expect("a request");
    sandbox.run("get oidc --fresh").silent().line();
    assert!(!last().has_field("scope"));
    let config = std::fs::read_to_string(sandbox.config_file()).expect("a config");
    let narrower = config.replace("scope = [\"openid\", \"read\"]", "scope = [\"openid\"]");
    assert_ne!(config, narrower);
    sandbox.config(&narrower);
    chmod(&sandbox.config_file(), 0o600);
    sandbox.run("get oidc").silent().line();
    assert_eq!((last().field("grant_type"), last().field("scope")), ("refresh_token".into(), "openid".into()));
}

#[test]
fn another_person_s_id_token_is_refused_though_nothing_is_cached() {
    let issuer = Issuer::start();
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_CACHE", "off");
    sandbox.run(LOGIN).prints("");
    let before = sandbox.secrets();
    issuer.state(|s| s.claims = json!({"sub": "mallory"}));
    sandbox.run("get oidc").fails(8).says("another person").hints_at("tok login oidc");
    assert_eq!(sandbox.secrets(), before);
}

#[test]
fn a_rotated_refresh_token_survives_what_came_beside_it() {
    let issuer = Issuer::start();
    let sandbox = logged_in(&issuer, "");
    // An ID token that nobody can trust; a token that is not bound as asked.
    issuer.state(|s| s.claims = json!({"aud": "other"}));
    sandbox.run("login oidc refresh").prints("");
    assert_eq!(sandbox.secrets()["oidc"]["refresh_token"], format!("rt-{CANARY}-2"));
    sandbox.run("get oidc -o id-token").fails(8).says("aud");
    sandbox.run("login oidc refresh --dpop true").fails(8).says("not bound");
    assert_eq!(sandbox.secrets()["oidc"]["refresh_token"], format!("rt-{CANARY}-3"));
}

#[test]
fn without_a_refresh_token_the_access_token_is_revoked() {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null, "refresh_token": null}));
    let sandbox = issuer.sandbox();
    let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
    sandbox.run(&format!("login oidc client-credentials --client-secret-file {secret}")).prints("");
    sandbox.run("logout oidc").prints("").silent();
    let request = issuer.only("/revoke");
    assert_eq!(
        (request.field("token"), request.field("token_type_hint")),
        (format!("at-{CANARY}-1"), "access_token".into())
    );
    assert_eq!(sandbox.files_with(CANARY), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_an_answer_about_a_token_quotes_is_not_shown() {
    let issuer = Issuer::start();
    let mut sandbox = issuer.sandbox();
    let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
    sandbox.set("TOK_OIDC_CLIENT_SECRET_FILE", &secret);
    sandbox.run(&format!("{LOGIN} --client-secret-file {secret}")).prints("");
    let quote = json!({
        "active": true, "sub": "alice", "echo": format!("at-{CANARY}-1"), "deep": [{"x": format!("s-{CANARY}")}],
    });
    for (path, flag) in [("/introspect", "--introspect"), ("/userinfo", "--userinfo")] {
        for form in ["", " --json"] {
            issuer.script(path, [Reply::json(200, quote.clone())]);
            let out = sandbox.run(&format!("show oidc {flag}{form}")).ok();
            assert!(out.stdout.contains("***") && !out.stdout.contains(&format!("at-{CANARY}")), "{out}");
            assert!(flag == "--userinfo" || !out.stdout.contains(CANARY), "{out}");
        }
    }
}

#[test]
fn the_end_of_an_assertion_that_a_server_quotes_is_not_shown() {
    let quoting = Server::new(|request: &Received| {
        let assertion = request.field("assertion");
        let quoted = format!("bad {}, and in the middle {}.", &assertion[assertion.len() - 120..], &assertion[60..100]);
        Reply::json(400, json!({"error": "invalid_grant", "error_description": quoted}))
    });
    let sandbox = Sandbox::with_file_store();
    let key = sandbox.file_arg("key.pem", KeyPair::generate().expect("a key").serialize_pem());
    let line = format!(
        "login oauth2 jwt-bearer --token-url {}/token --client-id cli --private-key-file {key} -vv",
        quoting.url()
    );
    let out = sandbox.run(&line).fails(5).says("invalid_grant").says("bad ***, and in the middle ***.");
    let assertion = quoting.last().field("assertion");
    assert!(!out.stderr.contains(&assertion[assertion.len() - 40..]), "{out}");
}

#[test]
fn a_poll_that_finds_nobody_is_named_when_the_time_is_over() {
    let issuer = Issuer::start();
    issuer.script("/token", (0..9).map(|_| Reply::json(500, json!({}))));
    let sandbox = issuer.sandbox();
    let out =
        sandbox.run(&format!("{LOGIN} --timeout 10s")).fails(6).says("the last request failed").says("500").hints();
    assert!(out.took < SOON, "{out}");
    sandbox.assert_nothing_kept();
}

#[test]
fn a_config_says_true_and_a_number_as_toml_does() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    sandbox.config("store = \"file\"\n[profile.oidc]\ndpop = true\nredirect_port = 8080\n");
    let out = sandbox.run("show oidc --json").json();
    assert_eq!(out["values"]["dpop"]["value"], "true");
    assert_eq!(out["values"]["redirect_port"]["value"], "8080");
    sandbox.run("list").ok();
}

#[test]
fn a_file_that_is_like_another_is_checked_against_it() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    sandbox.provider("acme", "like = \"oidc\"\n[grants.device-cod]\n");
    sandbox.run("get acme").fails(3).says("device-cod").says("device-code");
    sandbox.provider("acme", "like = \"oidcc\"\n");
    sandbox.run("get acme").fails(3).says("oidc");
    // A value that stands in the default of another alone is a flag of every grant.
    let text = format!(
        "like = \"oidc\"\n[params.tenant]\n[params.issuer]\ndefault = \"{}/{{tenant}}\"\n[grants.client-credentials]\n\
         [grants.device-code]\n",
        issuer.url()
    );
    sandbox.provider("acme", &text);
    for grant in ["client-credentials", "device-code", "refresh"] {
        let out = sandbox.run(&format!("login acme {grant} --tenant one --client-id cli"));
        assert!(!out.stderr.contains("unexpected argument"), "{grant}: {out}");
    }
    assert!(!issuer.asked("/one/.well-known/openid-configuration").is_empty());
}
