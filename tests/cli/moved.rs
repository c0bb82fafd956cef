//! A token endpoint that has moved, and a logout that finds what it needs.

use crate::support::issuer::{Issuer, members};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, plain_provider, put};
use serde_json::json;

const METADATA: &str = "/.well-known/openid-configuration";

/// Moves the token endpoint; the old address is gone.
fn move_it(issuer: &Issuer) {
    let moved = format!("{}/oauth2/token", issuer.url());
    issuer.state(|s| s.metadata = members(&[("token_endpoint", moved.into())]));
    issuer.script("/token", (0..9).map(|_| Reply::text(404, "gone")));
    issuer.script(
        "/oauth2/token",
        (0..9).map(|n| {
            let (access, refresh) = (format!("at-{CANARY}-moved-{n}"), format!("rt-{CANARY}-moved-{n}"));
            Reply::json(200, json!({"access_token": access, "refresh_token": refresh, "expires_in": 600}))
        }),
    );
}

#[test]
fn where_the_token_endpoint_has_moved_the_metadata_are_asked_for_again_once() {
    let issuer = Issuer::start();
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_CLIENT_SECRET", format!("s-{CANARY}"));
    sandbox.run("get oidc --grant client-credentials --fresh").line();
    let asked = issuer.asked(METADATA).len();
    move_it(&issuer);
    let token = sandbox.run("get oidc --grant client-credentials --fresh").line();
    assert_eq!(token, format!("at-{CANARY}-moved-0"));
    assert_eq!(issuer.asked(METADATA).len(), asked + 1);
    sandbox.run("get oidc --grant client-credentials --fresh").line();
    assert_eq!((issuer.asked(METADATA).len(), issuer.asked("/token").len()), (asked + 1, 2), "the next call knows");
}

#[test]
fn a_session_goes_on_where_its_issuer_has_moved_the_token_endpoint() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code").prints("");
    move_it(&issuer);
    assert_eq!(sandbox.run("get oidc --fresh").line(), format!("at-{CANARY}-moved-0"));
    assert_eq!(sandbox.run("get oidc --fresh").line(), format!("at-{CANARY}-moved-1"));
    let sent: Vec<String> = issuer.asked("/oauth2/token").iter().map(|r| r.field("refresh_token")).collect();
    assert_eq!(sent, [format!("rt-{CANARY}-1"), format!("rt-{CANARY}-moved-0")]);
}

#[test]
fn a_404_at_an_endpoint_that_has_not_moved_is_one_request() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code").prints("");
    let asked = issuer.asked("/token").len();
    issuer.script("/token", (0..9).map(|_| Reply::text(404, "gone")));
    sandbox.run("get oidc --fresh").fails(5);
    assert_eq!(issuer.asked("/token").len(), asked + 1);
    assert!(!sandbox.secrets()["oidc"]["refresh_token"].is_null());
}

#[test]
fn a_moved_endpoint_elsewhere_gets_no_kept_refresh_token() {
    let issuer = Issuer::start();
    let away = Server::issuing(600);
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code").prints("");
    let moved = format!("{}/token", away.url());
    issuer.state(|s| s.metadata = members(&[("token_endpoint", moved.into())]));
    issuer.script("/token", (0..9).map(|_| Reply::text(404, "gone")));
    sandbox.run("get oidc --fresh").fails(4);
    assert_eq!(away.connections(), 0);
}

/// A client's session whose revocation and introspection addresses are configured, and whose token URL is not.
#[test]
fn the_kept_client_secret_is_found_where_the_token_url_is_discovered() {
    let issuer = Issuer::start();
    let mut sandbox = issuer.sandbox();
    let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
    sandbox.run(&format!("login oidc client-credentials --keep --client-secret-file {secret}")).prints("");
    sandbox.set("TOK_OIDC_REVOCATION_URL", format!("{}/revoke", issuer.url()));
    sandbox.set("TOK_OIDC_INTROSPECTION_URL", format!("{}/introspect", issuer.url()));
    sandbox.run("show oidc --introspect").ok();
    sandbox.run("logout oidc").prints("");
    for path in ["/introspect", "/revoke"] {
        let request = issuer.asked(path).remove(0);
        assert!(request.header("authorization").is_some_and(|v| v.starts_with("Basic ")), "{request:?}");
    }
}

/// A provider that revokes either token, logged in.
fn revocable(server: &Server) -> Sandbox {
    let more = "[revoke]\nurl = \"{base_url}/revoke\"\nbody = { token = \"{refresh_token|access_token}\" }\n";
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), more));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    sandbox
}

fn granted(refresh: bool) -> Reply {
    let mut reply = json!({"access_token": format!("at-{CANARY}"), "expires_in": 600});
    if refresh {
        reply["refresh_token"] = json!(format!("rt-{CANARY}"));
    }
    Reply::json(200, reply)
}

#[test]
fn a_refused_access_token_is_no_failure_where_the_refresh_token_was_revoked() {
    let no = || Reply::json(400, json!({"error": "invalid_token"}));
    let server = Server::script([granted(true), Reply::text(200, ""), no()]);
    revocable(&server).run("logout plain").prints("").silent();
    assert_eq!(server.count(), 3);
    let server = Server::script([granted(true), no(), Reply::text(200, "")]);
    revocable(&server).run("logout plain").fails(6).says("removed locally; not revoked at the provider");
    assert_eq!(server.count(), 3, "the access token is revoked all the same");
}

#[test]
fn an_access_token_is_revoked_only_at_home() {
    let (server, away) = (Server::script([granted(false)]), Server::issuing(600));
    let sandbox = revocable(&server);
    let out = sandbox.tok(["logout", "plain", "--timeout", "9s"]).env("TOK_PLAIN_BASE_URL", away.url()).run().fails(6);
    out.says("not revoked").says("nothing was sent").says(&server.url()).says(&away.url());
    assert_eq!((server.count(), away.connections()), (1, 0));
    assert_eq!(sandbox.files_with(&format!("at-{CANARY}")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn one_broken_entry_in_the_file_is_replaced_by_a_login_and_removed_by_a_logout() {
    for broken in ["7", "[]", "{\"secrets\": 5}", "null"] {
        let server = Server::always(granted(true));
        let sandbox = Sandbox::with_file_store();
        sandbox.provider("plain", &plain_provider(&server.url(), ""));
        let other = "{\"refresh_token\": \"x\", \"odd\":1.0}";
        let spoil = || put(&sandbox.secrets_file(), format!("{{\"other\": {other}, \"plain\": {broken}}}").as_bytes());
        let rest = |sandbox: &Sandbox| std::fs::read_to_string(sandbox.secrets_file()).unwrap().contains(other);
        std::fs::create_dir_all(sandbox.secrets_file().parent().unwrap()).unwrap();
        crate::support::chmod(sandbox.secrets_file().parent().unwrap(), 0o700);
        spoil();
        sandbox.run("get plain").fails(7).hints_at("tok login plain");
        let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
        sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
        assert_eq!(sandbox.secrets()["plain"]["refresh_token"], format!("rt-{CANARY}"), "{broken}");
        assert!(rest(&sandbox), "{broken}");
        spoil();
        sandbox.run("logout plain").prints("");
        assert!(sandbox.secrets().get("plain").is_none() && rest(&sandbox), "{broken}");
    }
}
