//! DPoP (RFC 9449): tokens that are worth nothing without a key.

use super::clients;
use super::person::{Person, jwt_part};
use super::servers::{Make, Server};
use super::support::CANARY;
use super::table::{Case, also, besides};
use serde_json::Value;

/// The tests.
pub fn cases() -> Vec<Case> {
    vec![
        also("DPoP (RFC 9449)", Make::OidcProvider, |server| bound(server, "dpop")),
        also("DPoP with a nonce of the server", Make::OidcProvider, |server| bound(server, "dpop-nonce")),
        besides("a_public_client_keeps_its_key_over_refreshes", Make::OidcProvider, public),
        besides("client_credentials_may_be_bound_too", Make::OidcProvider, without_person),
        besides("a_dpop_token_is_never_printed_as_bearer", Make::OidcProvider, never_bearer),
    ]
}

/// Logs in through the browser with a client whose tokens are bound to a key.
fn logged_in<'a>(server: &'a Server, client: &str) -> Person<'a> {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, "basic", client, &format!("dpop-secret-{CANARY}"));
    let login = person.login("authorization-code", &flags).args(["--dpop", "true"]);
    login.args(["--scope", "openid offline_access"]).run().prints("");
    person
}

/// The two lines of `tok header`, as name and value.
#[track_caller]
fn lines(person: &Person<'_>, url: &str) -> [(String, String); 2] {
    let output = person.sandbox.tok(["header", "oidc", "--method", "GET", "--url", url]).run().ok();
    let lines: Vec<_> = output.stdout.lines().filter_map(|line| line.split_once(": ")).collect();
    let [first, second] = lines[..] else { panic!("not two lines: {output}") };
    [first, second].map(|(name, value)| (name.to_string(), value.to_string()))
}

fn bound(server: &'static Server, client: &str) {
    let person = logged_in(server, client);
    let url = format!("{}/me", server.issuer);
    let mut keys = Vec::new();
    for round in 0..2 {
        let [(name, value), (second, proof)] = lines(&person, &url);
        assert_eq!((name.as_str(), second.as_str()), ("Authorization", "DPoP"));
        assert!(value.starts_with("DPoP "), "{name}");
        let (header, claims) = (jwt_part(&proof, 0), jwt_part(&proof, 1));
        assert_eq!(header["typ"], "dpop+jwt");
        assert_eq!((&claims["htm"], &claims["htu"]), (&"GET".into(), &url.as_str().into()));
        assert!(claims["ath"].is_string(), "{claims}");
        // A resource that wants the proof: the server itself.
        if client == "dpop" {
            let answer = server.get_headers("/me", &[(&name, &value), (&second, &proof)]);
            assert!(answer.contains("alice"), "{answer}");
        }
        keys.push(header["jwk"].clone());
        if round == 0 {
            person.run("get oidc --fresh --json").ok();
        }
    }
    assert_eq!(keys[0], keys[1], "one key, after a refresh too");
    assert!(person.run("show oidc --userinfo").ok().stdout.contains("alice"), "with a proof");
    assert!(person.run("show oidc --introspect").ok().stdout.contains("jkt"), "bound to the key");
    let log = server.log();
    let proofs = log.iter().filter(|entry| entry["body"]["client_id"] == client || is_basic_of(entry, client));
    assert!(proofs.clone().count() >= 2);
}

/// Whether the request came from this client by Basic.
fn is_basic_of(entry: &Value, client: &str) -> bool {
    entry["headers"]["authorization"].is_string() && clients::basic(entry).starts_with(&format!("{client}:"))
}

/// The thumbprint of the key that a token of the log is bound to, as the server sees it.
#[track_caller]
fn bound_to(person: &Person<'_>) -> String {
    let json = person.run("show oidc --introspect --json").json().to_string();
    let (_, rest) = json.split_once("\"jkt\":\"").unwrap_or_else(|| panic!("not bound: {json}"));
    rest.split('"').next().unwrap().to_string()
}

fn public(server: &'static Server) {
    let person = Person::at(server);
    let login = person.login("authorization-code", &clients::oidc(&person, "none")).args(["--dpop", "true"]);
    login.args(["--scope", "openid offline_access"]).run().prints("");
    // Here the refresh token is bound as well (RFC 9449 section 5).
    let refresh = person.sandbox.tok(["get", "oidc", "--fresh", "--json"]);
    refresh.run().ok();
    assert_eq!(person.sandbox.tok(["get", "oidc", "--json"]).run().json()["token_type"], "DPoP");
}

fn without_person(server: &'static Server) {
    let person = Person::at(server);
    let login = person.login("client-credentials", &clients::oidc(&person, "post"));
    login.args(["--dpop", "true"]).run().prints("");
    let first = bound_to(&person);
    person.run("get oidc --fresh --json").ok();
    assert_eq!(bound_to(&person), first, "one key a profile");
}

fn never_bearer(server: &'static Server) {
    let person = logged_in(server, "dpop");
    for line in ["header oidc", "get oidc -o header"] {
        let output = person.run(line);
        assert!(!output.stdout.contains("Bearer"), "{output}");
    }
}
