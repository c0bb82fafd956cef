//! What surrounds a token: discovery, resources, ID tokens, userinfo, introspection, revocation, bound certificates.

use super::clients;
use super::one_request::alice;
use super::person::{Person, jwt_part};
use super::servers::{Make, Server};
use super::table::{Case, also, besides};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// The tests.
pub fn cases() -> Vec<Case> {
    vec![
        also("discovery (OpenID Connect)", Make::OidcProvider, discovered),
        also("discovery (RFC 8414)", Make::Authlib, discovered),
        also("resource indicators (RFC 8707)", Make::OidcProvider, resource),
        also("ID tokens, verified", Make::OidcProvider, id_token),
        also("userinfo", Make::OidcProvider, userinfo),
        also("introspection (RFC 7662)", Make::OidcProvider, |server| introspected(server, "openid")),
        also("introspection (RFC 7662)", Make::Authlib, |server| introspected(server, "read")),
        also("revocation (RFC 7009)", Make::OidcProvider, revoked),
        also("revocation (RFC 7009)", Make::Authlib, revoked_by_authlib),
        also("other endpoints for client certificates (RFC 8705)", Make::OidcProviderTls, aliases),
        also("tokens bound to a certificate (RFC 8705)", Make::OidcProviderTls, bound),
        besides("a_parameter_of_ones_own_is_sent", Make::OidcProvider, parameter),
        besides("an_issuer_that_is_another_is_refused", Make::OidcProvider, another_issuer),
    ]
}

fn discovered(server: &'static Server) {
    let person = Person::at(server);
    person.login("client-credentials", &clients::oidc(&person, "basic")).run().prints("");
    person.token("oidc");
    let shown = person.run("show oidc").ok().stdout;
    assert!(shown.contains(&server.issuer), "{shown}");
}

fn resource(server: &'static Server) {
    let api = "https://api.example/jwt";
    let person = Person::at(server);
    let login = person.login("client-credentials", &clients::oidc(&person, "basic"));
    login.args(["--resource", api, "--scope", "api:read"]).run().prints("");
    assert_eq!(jwt_part(&person.token("oidc"), 1)["aud"], api);

    let person = Person::at(server);
    let login = person.login("authorization-code", &clients::oidc(&person, "none"));
    login.args(["--resource", api, "--scope", "openid offline_access api:read"]).run().prints("");
    assert_eq!(jwt_part(&person.token("oidc"), 1)["aud"], api);
    assert_eq!(jwt_part(&person.run("get oidc --fresh").line(), 1)["aud"], api, "after a refresh too");

    let person = Person::at(server);
    let login = person.login("client-credentials", &clients::oidc(&person, "basic"));
    login.args(["--resource", "https://nobody.example"]).run().fails(5).says("invalid_target");
}

/// Alice, logged in through the browser.
fn alice_of_the_browser<'a>(server: &'a Server, auth: &str) -> Person<'a> {
    let person = Person::at(server);
    let login = person.login("authorization-code", &clients::oidc(&person, auth));
    login.args(["--scope", "openid profile email offline_access"]).run().prints("");
    person
}

fn id_token(server: &'static Server) {
    let person = alice_of_the_browser(server, "none");
    let token = person.run("get oidc -o id-token").line();
    let claims = jwt_part(&token, 1);
    assert_eq!(claims["iss"], server.issuer.as_str());
    assert_eq!(claims["aud"], "public");
    assert_eq!(claims["sub"], "alice");
    assert!(claims["nonce"].is_string(), "{claims}");
    // A refresh brings another one.
    let refreshed = person.answer(&person.run("get oidc --fresh").line())["response"]["id_token"].clone();
    assert_eq!(person.run("get oidc -o id-token").line(), refreshed.as_str().unwrap());
}

fn userinfo(server: &'static Server) {
    let person = alice_of_the_browser(server, "none");
    let shown = person.run("show oidc --userinfo").ok().stdout;
    assert!(shown.contains("alice@example.test"), "{shown}");
    let json = person.run("show oidc --userinfo --json").json();
    assert!(json.to_string().contains("alice@example.test"), "{json}");
}

fn introspected(server: &'static Server, scope: &str) {
    let person = Person::at(server);
    let login = person.login("password", &clients::oidc(&person, "basic")).args(alice(&person));
    login.args(["--scope", scope]).run().prints("");
    let shown = person.run("show oidc --introspect").ok().stdout;
    assert!(shown.contains("active"), "{shown}");
    assert!(shown.contains(scope), "{shown}");
    let json = person.run("show oidc --introspect --json").json();
    assert!(json.to_string().contains("\"active\":true"), "{json}");
}

fn revoked(server: &'static Server) {
    let person = alice_of_the_browser(server, "none");
    let answer = person.answer(&person.token("oidc"));
    let refresh = answer["response"]["refresh_token"].clone();
    person.run("logout oidc").ok();
    let log = server.log();
    let found = log.iter().find(|entry| entry["path"] == "/token/revocation" && entry["body"]["token"] == refresh);
    let found = found.expect("the refresh token is revoked");
    assert_eq!(found["status"], 200, "{found}");
    clients::said(found, "none");
    assert!(!person.sandbox.secrets().to_string().contains(refresh.as_str().unwrap()));
    person.run("get oidc").fails(4);
}

fn revoked_by_authlib(server: &'static Server) {
    let person = Person::at(server);
    person.login("password", &clients::authlib(&person, "basic")).args(alice(&person)).run().prints("");
    let token = person.token("oidc");
    assert!(server.get_with(&format!("Bearer {token}"), "/me").contains("alice"));
    person.run("logout oidc").ok();
    assert!(!server.get_with(&format!("Bearer {token}"), "/me").contains("alice"), "the token works still");
}

fn aliases(server: &'static Server) {
    let person = Person::at(server);
    for (auth, elsewhere) in [("tls", true), ("basic", false)] {
        let login = person.login("client-credentials", &clients::oidc(&person, auth));
        login.args(["--as", auth]).run().prints("");
        let host = person.answer(&person.token(auth))["host"].as_str().unwrap().to_string();
        assert_eq!(!server.issuer.ends_with(&host), elsewhere, "{auth}: {host}");
    }
}

fn bound(server: &'static Server) {
    let person = Person::at(server);
    person.login("client-credentials", &clients::oidc(&person, "tls")).run().prints("");
    person.answer(&person.token("oidc"));
    let json = person.run("show oidc --introspect --json").json();
    let thumbprint = thumbprint(&std::fs::read_to_string(server.file("client.crt")).unwrap());
    assert!(json.to_string().contains(&thumbprint), "{thumbprint} is not in {json}");
}

/// `x5t#S256` of a certificate in PEM (RFC 8705 section 3.1).
fn thumbprint(pem: &str) -> String {
    let lines = pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>();
    let der = STANDARD.decode(lines).expect("base64");
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, &der))
}

fn parameter(server: &'static Server) {
    let person = Person::at(server);
    let login = person.login("client-credentials", &clients::oidc(&person, "basic"));
    login.args(["--param", "colour=blue & 100%"]).run().prints("");
    assert_eq!(person.answer(&person.token("oidc"))["body"]["colour"], "blue & 100%");
}

fn another_issuer(server: &'static Server) {
    let person = Person::at(server);
    let issuer = server.issuer.replace("127.0.0.1", "localhost");
    let login = person.sandbox.tok(["login", "oidc", "client-credentials", "--issuer", &issuer]);
    login.args(clients::oidc(&person, "basic")).run().fails_with_one_of(&[5, 8]).says("issuer");
}
