//! The browser: authorization code with PKCE, PAR, and what a person may do there.

use super::clients::{self, AUTHLIB, OIDC};
use super::person::{Person, jwt_part, words};
use super::servers::{Make, Server};
use super::support::CANARY;
use super::table::{Case, also, besides, cell};
use serde_json::Value;

/// The tests.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (auth, make) in OIDC {
        all.push(cell("authorization-code", auth, make, move |server| code(server, auth)));
    }
    for auth in AUTHLIB {
        all.push(cell("authorization-code", auth, Make::Authlib, move |server| code_of_authlib(server, auth)));
    }
    all.extend([
        cell("authorization-code", "none", Make::Authlib, by_urls).named("by_urls"),
        cell("authorization-code", "basic", Make::OidcProvider, odd_client).named("odd_characters"),
        also("pushed authorization requests (RFC 9126)", Make::OidcProvider, pushed),
        besides("a_person_who_says_no_is_a_refusal", Make::OidcProvider, denied),
        besides("without_a_browser_the_redirect_is_pasted", Make::OidcProvider, pasted),
        besides("a_login_hint_says_who", Make::OidcProvider, hinted),
        besides("a_second_account_is_another_profile", Make::OidcProvider, second_account),
        besides("a_fixed_port_is_taken", Make::OidcProvider, fixed_port),
        besides("pages_are_filled_in", Make::OidcProvider, pages),
    ]);
    all
}

fn code(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let login = person.login("authorization-code", &clients::oidc(&person, auth));
    let output = login.args(["--scope", "openid offline_access"]).run();
    person.nothing_leaked(&output.stderr);
    output.prints("");
    let token = person.token("oidc");
    let answer = person.answer(&token);
    clients::said(&answer, auth);
    let body = &answer["body"];
    assert_eq!(body["grant_type"], "authorization_code");
    assert!(body["code_verifier"].as_str().unwrap().len() >= 43, "PKCE: {body}");
    assert!(body["redirect_uri"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{body}");
    assert!(answer["response"]["refresh_token"].is_string(), "consent was asked for");
    clients::said(&pushed_with(server, body), auth);
}

fn code_of_authlib(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let login = person.login("authorization-code", &clients::authlib(&person, auth));
    login.args(["--scope", "read offline_access"]).run().prints("");
    let token = person.token("oidc");
    assert!(server.get_with(&format!("Bearer {token}"), "/me").contains("alice"));
    assert_ne!(person.run("get oidc --fresh").line(), token, "refreshed");
}

fn by_urls(server: &'static Server) {
    let person = Person::at(server);
    let authorize = format!("{}/oauth/authorize", server.issuer);
    let flags = format!("--authorize-url {authorize} --client-id public --client-auth none --scope read");
    person.login_by_url("authorization-code", "/oauth/token", &words(&flags)).run().prints("");
    assert!(server.get_with(&format!("Bearer {}", person.token("oauth2")), "/me").contains("alice"));
}

fn odd_client(server: &'static Server) {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, "basic", "odd:id/+%41", &clients::odd_secret());
    person.login("authorization-code", &flags).args(["--scope", "openid"]).run().prints("");
    assert_eq!(
        clients::basic(&person.answer(&person.token("oidc"))).matches(':').count(),
        1,
        "both halves are encoded"
    );
}

/// The pushed request of the login whose code was then redeemed with `body`.
#[track_caller]
fn pushed_with(server: &Server, body: &Value) -> Value {
    let challenge = challenge(body["code_verifier"].as_str().unwrap());
    let pushed = server.log().into_iter().filter(|entry| entry["path"] == "/request");
    let found = pushed.into_iter().find(|entry| entry["body"]["code_challenge"] == challenge);
    found.expect("a pushed request")
}

fn pushed(server: &'static Server) {
    let person = Person::at(server);
    let login = person.login("authorization-code", &words("--client-id par --client-auth none"));
    login.args(["--scope", "openid"]).run().prints("");
    let answer = person.answer(&person.token("oidc"));
    let pushed = pushed_with(server, &answer["body"]);
    let body = &pushed["body"];
    assert_eq!(body["code_challenge_method"], "S256");
    assert_eq!(body["response_type"], "code");
    assert!(body["state"].as_str().unwrap().len() >= 22, "128 bits: {body}");
    assert!(body["nonce"].is_string(), "{body}");
}

/// The challenge of a verifier (RFC 7636 section 4.2).
fn challenge(verifier: &str) -> String {
    use base64::Engine;
    let digest = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
}

fn denied(server: &'static Server) {
    let person = Person::at(server);
    let flags = words("--client-id public --client-auth none --scope openid --login-hint deny");
    person.login("authorization-code", &flags).run().fails(5).says("access_denied").says("the user said no");
    assert!(person.sandbox.secrets().is_null());
}

fn pasted(server: &'static Server) {
    let person = Person::at(server);
    let flags = words("--client-id public --client-auth none --scope openid --no-browser");
    let mut terminal = person.login("authorization-code", &flags).on_terminal();
    terminal.expect_like(r"http://127\.0\.0\.1:\d+/auth\?");
    let query = terminal.expect_like(r"\s");
    let redirected = person.browse(&["--stop", "/callback?", &format!("{}/auth?{query}", server.issuer)]);
    terminal.type_line(&redirected);
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    person.answer(&person.token("oidc"));
}

fn hinted(server: &'static Server) {
    let person = Person::at(server);
    let flags = words("--client-id public --client-auth none --scope openid --login-hint bob --prompt login");
    person.login("authorization-code", &flags).run().prints("");
    assert_eq!(jwt_part(&person.run("get oidc -o id-token").line(), 1)["sub"], "bob");
}

fn second_account(server: &'static Server) {
    let person = Person::at(server);
    for who in ["alice", "bob"] {
        let flags = words("--client-id public --client-auth none --scope openid --as");
        person.login("authorization-code", &flags).args([who, "--login-hint", who]).run().prints("");
    }
    for who in ["alice", "bob"] {
        assert_eq!(jwt_part(&person.run(&format!("get {who} -o id-token")).line(), 1)["sub"], who);
    }
}

fn fixed_port(server: &'static Server) {
    let person = Person::at(server);
    let free = crate::refusing::free_port().to_string();
    let flags = words("--client-id public --client-auth none --scope openid --redirect-port");
    person.login("authorization-code", &flags).args([&free]).run().prints("");
    let answer = person.answer(&person.token("oidc"));
    let uri = answer["body"]["redirect_uri"].as_str().unwrap();
    assert!(uri.starts_with(&format!("http://127.0.0.1:{free}/")), "{uri}");
    // Somebody else has it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port().to_string();
    person.login("authorization-code", &flags).args([&taken]).run().fails(1).says(&taken);
}

fn pages(_: &'static Server) {
    let server = Server::start(Make::OidcProvider, &[("PAGES", "forms")]).expect("it is installed");
    let person = Person::at(&server);
    let flags = words("--client-id public --client-auth none --scope openid");
    person.login("authorization-code", &flags).env("ROBOT_USER", "alice").run().prints("");
    person.answer(&person.token("oidc"));
    let person = Person::at(&server);
    let login = person.login("authorization-code", &flags).env("ROBOT_DENY", "1");
    login.env("ROBOT_PASSWORD", format!("wonderland-{CANARY}")).run().fails(5).says("access_denied");
}
