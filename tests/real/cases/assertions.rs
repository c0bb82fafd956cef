//! Grants by an assertion: one that we sign, one that somebody handed us.

use super::clients::{self, AUTHLIB};
use super::person::{Person, words};
use super::servers::{Make, Server};
use super::table::{Case, besides, cell};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The tests.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for auth in AUTHLIB {
        all.push(cell("saml-bearer", auth, Make::Authlib, move |server| saml(server, auth)));
    }
    all.extend([
        cell("jwt-bearer", "none", Make::Authlib, jwt),
        cell("jwt-bearer", "none", Make::Authlib, from_elsewhere).named("from_elsewhere"),
        besides("an_assertion_that_was_changed_is_a_refusal", Make::Authlib, changed),
    ]);
    all
}

fn saml(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let login = person.login("saml-bearer", &clients::authlib(&person, auth));
    login.args(["--assertion-file", &server.file("assertion.b64")]).run().prints("");
    assert!(server.get_with(&format!("Bearer {}", person.token("oidc")), "/me").contains("alice"));
}

fn changed(server: &'static Server) {
    let person = Person::at(server);
    let assertion = std::fs::read_to_string(server.file("assertion.xml")).unwrap().replace("alice", "bob");
    let file = person.file("assertion", &URL_SAFE_NO_PAD.encode(assertion));
    let login = person.login("saml-bearer", &clients::authlib(&person, "none"));
    login.args(["--assertion-file", &file]).run().fails(5).says("invalid_grant");
}

fn jwt(server: &'static Server) {
    let person = Person::at(server);
    let key = server.file("bearer.pem");
    let flags = format!("--client-id jwt-bearer --client-auth none --private-key-file {key} --algorithm RS256");
    person.login("jwt-bearer", &words(&flags)).args(["--username", "alice"]).run().prints("");
    let token = person.token("oidc");
    assert!(server.get_with(&format!("Bearer {token}"), "/me").contains("alice"));
    assert_ne!(person.run("get oidc --fresh").line(), token, "signed anew");
}

fn from_elsewhere(server: &'static Server) {
    let person = Person::at(server);
    let line = ["login", "oidc", "jwt-bearer", "--issuer", &server.issuer];
    person.sandbox.tok(line).args(["--assertion-file", &server.file("assertion.jwt")]).run().prints("");
    assert!(server.get_with(&format!("Bearer {}", person.token("oidc")), "/me").contains("alice"));
}
