//! Refresh tokens: rotation, and many at once.

use super::clients::{self, AUTHLIB, OIDC};
use super::one_request::alice;
use super::person::Person;
use super::servers::{Make, Server};
use super::support::CANARY;
use super::table::{Case, also, besides, cell};

/// The tests.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (auth, make) in OIDC {
        all.push(cell("refresh", auth, make, move |server| rotated(server, auth)));
    }
    for auth in AUTHLIB {
        all.push(cell("refresh", auth, Make::Authlib, move |server| rotated_by_authlib(server, auth)));
    }
    for make in [Make::NodeOauth, Make::Jmondi] {
        for auth in ["basic", "post"] {
            all.push(cell("refresh", auth, make, move |server| by_url(server, auth)));
        }
    }
    all.extend([
        also("six calls at once, one refresh", Make::OidcProvider, at_once),
        also("six calls at once, one refresh", Make::Authlib, at_once_at_authlib),
        besides("no_new_refresh_token_keeps_the_old_one", Make::NodeOauth, kept),
        besides("a_dead_refresh_token_asks_for_a_login", Make::OidcProvider, dead),
        cell("refresh", "none", Make::OidcProvider, handed_in).named("handed_in"),
    ]);
    all
}

/// Alice, logged in for long.
fn logged_in<'a>(server: &'a Server, auth: &str) -> Person<'a> {
    let person = Person::at(server);
    let login = person.login("password", &clients::oidc(&person, auth)).args(alice(&person));
    login.args(["--scope", "openid offline_access"]).run().prints("");
    person
}

fn rotated(server: &'static Server, auth: &str) {
    let person = logged_in(server, auth);
    let mut before = person.answer(&person.token("oidc"))["response"]["refresh_token"].clone();
    for _ in 0..3 {
        let token = person.run("get oidc --fresh").line();
        let answer = person.answer(&token);
        clients::said(&answer, auth);
        assert_eq!(answer["body"]["grant_type"], "refresh_token");
        assert_eq!(answer["body"]["refresh_token"], before);
        before = answer["response"]["refresh_token"].clone();
        assert!(before.is_string());
    }
    person.run("logout oidc").ok();
    let log = server.log();
    let revoked = log.iter().find(|entry| entry["path"] == "/token/revocation" && entry["body"]["token"] == before);
    let revoked = revoked.expect("the refresh token is revoked");
    assert_eq!(revoked["status"], 200, "{revoked}");
    clients::said(revoked, auth);
}

fn rotated_by_authlib(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    person.login("password", &clients::authlib(&person, auth)).args(alice(&person)).run().prints("");
    let mut token = person.token("oidc");
    for _ in 0..3 {
        let next = person.run("get oidc --fresh").line();
        assert_ne!(next, token);
        token = next;
    }
    assert!(server.get_with(&format!("Bearer {token}"), "/me").contains("alice"));
}

fn by_url(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, auth, "basic", &format!("basic-secret-{CANARY}"));
    person.login_by_url("password", "/oauth/token", &flags).args(alice(&person)).run().prints("");
    let mut token = person.token("oauth2");
    for _ in 0..3 {
        let next = person.run("get oauth2 --fresh").line();
        assert_ne!(next, token);
        token = next;
    }
}

fn kept(_: &'static Server) {
    let server = Server::start(Make::NodeOauth, &[("ROTATE", "0")]).expect("it is installed");
    by_url_twice(&server);
}

fn by_url_twice(server: &Server) {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, "basic", "basic", &format!("basic-secret-{CANARY}"));
    person.login_by_url("password", "/oauth/token", &flags).args(alice(&person)).run().prints("");
    let first = person.run("get oauth2 --fresh").line();
    assert_ne!(person.run("get oauth2 --fresh").line(), first);
}

fn at_once(server: &'static Server) {
    let person = logged_in(server, "none");
    let first = person.answer(&person.token("oidc"))["response"]["refresh_token"].clone();
    for round in 0..3 {
        person.sandbox.forget_cache();
        let running: Vec<_> = (0..6).map(|_| person.sandbox.tok(["get", "oidc"]).spawn()).collect();
        let tokens: Vec<String> = running.into_iter().map(|run| run.wait().line()).collect();
        assert!(tokens.iter().all(|token| *token == tokens[0]), "round {round}: not one token: {}", tokens.len());
    }
    let log = server.log();
    let uses = log.iter().filter(|entry| entry["body"]["refresh_token"] == first);
    assert_eq!(uses.count(), 1, "the first refresh token");
    // Each wants a new one, and none gets what would end the session.
    let running: Vec<_> = (0..6).map(|_| person.sandbox.tok(["get", "oidc", "--fresh"]).spawn()).collect();
    running.into_iter().for_each(|run| drop(run.wait().line()));
    person.run("get oidc --fresh").line();
}

fn at_once_at_authlib(server: &'static Server) {
    let person = Person::at(server);
    person.login("password", &clients::authlib(&person, "basic")).args(alice(&person)).run().prints("");
    for _ in 0..3 {
        person.sandbox.forget_cache();
        let running: Vec<_> = (0..6).map(|_| person.sandbox.tok(["get", "oidc"]).spawn()).collect();
        let tokens: Vec<String> = running.into_iter().map(|run| run.wait().line()).collect();
        assert!(tokens.iter().all(|token| *token == tokens[0]), "not one token");
    }
    let token = person.run("get oidc --fresh").line();
    assert!(server.get_with(&format!("Bearer {token}"), "/me").contains("alice"), "the family is dead");
}

fn dead(_: &'static Server) {
    let server = Server::start(Make::OidcProvider, &[("REFRESH_TTL", "1")]).expect("it is installed");
    let person = logged_in(&server, "none");
    std::thread::sleep(std::time::Duration::from_secs(2));
    person.run("get oidc --fresh").fails(4).hints_at("tok login oidc");
}

fn handed_in(server: &'static Server) {
    let first = logged_in(server, "none");
    let answer = first.answer(&first.token("oidc"));
    let person = Person::at(server);
    let file = person.file("refresh-token", answer["response"]["refresh_token"].as_str().unwrap());
    let login = person.login("refresh", &clients::oidc(&person, "none"));
    login.args(["--refresh-token-file", &file]).run().prints("");
    let token = person.token("oidc");
    assert_eq!(person.answer(&token)["body"]["grant_type"], "refresh_token");
    assert_ne!(person.run("get oidc --fresh").line(), token);
}
