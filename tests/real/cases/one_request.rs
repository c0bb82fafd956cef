//! The grants that are one request: client credentials, password, token exchange.

use super::clients::{self, AUTHLIB, OIDC};
use super::person::{Person, jwt_part, words};
use super::servers::{Make, Server};
use super::support::CANARY;
use super::table::{Case, besides, cell};

/// All algorithms of signatures that a client's key may be for.
const ALGORITHMS: [&str; 10] =
    ["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/// The tests.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (auth, make) in OIDC.into_iter().filter(|(auth, _)| *auth != "none") {
        all.push(cell("client-credentials", auth, make, move |server| client_credentials(server, auth)));
    }
    for auth in AUTHLIB.into_iter().filter(|auth| *auth != "none") {
        let run = move |server| client_credentials_of_authlib(server, auth);
        all.push(cell("client-credentials", auth, Make::Authlib, run));
    }
    for algorithm in ALGORITHMS {
        for form in ["pem", "jwk"] {
            let name = format!("{algorithm}_{form}").to_lowercase();
            let run = move |server| signed(server, algorithm, form);
            all.push(cell("client-credentials", "private-key-jwt", Make::OidcProvider, run).named(&name));
        }
    }
    all.extend([
        cell("client-credentials", "basic", Make::OidcProvider, odd_basic).named("odd_characters"),
        cell("client-credentials", "basic", Make::Authlib, odd_basic).named("odd_characters"),
        cell("client-credentials", "basic-raw", Make::NodeOauth, odd_basic_raw),
        cell("client-credentials", "basic", Make::NodeOauth, |server| by_url(server, "basic", "basic-secret")),
        cell("client-credentials", "post", Make::NodeOauth, |server| by_url(server, "post", "basic-secret")),
        cell("client-credentials", "basic", Make::Jmondi, |server| by_url(server, "basic", "basic-secret")),
        cell("client-credentials", "post", Make::Jmondi, |server| by_url(server, "post", "basic-secret")),
        besides("the_way_that_the_metadata_offers_is_taken", Make::OidcProvider, by_itself),
        besides("a_key_comes_from_the_environment_or_a_command", Make::OidcProvider, key_from_elsewhere),
        besides("no_login_is_needed_where_the_values_are_at_hand", Make::OidcProvider, without_login),
        besides("a_provider_file_of_ones_own_names_issuer_and_grants", Make::OidcProvider, own_provider),
        besides("an_exchange_may_be_for_several_resources", Make::OidcProvider, several_resources),
        besides("a_wrong_secret_is_a_refusal", Make::OidcProvider, wrong_secret),
        besides("a_certificate_of_somebody_else_is_a_refusal", Make::OidcProviderTls, wrong_certificate),
    ]);

    for (auth, make) in OIDC {
        all.push(cell("password", auth, make, move |server| password(server, auth)));
        all.push(cell("token-exchange", auth, make, move |server| exchange(server, auth)));
    }
    for auth in AUTHLIB {
        all.push(cell("password", auth, Make::Authlib, move |server| password_of_authlib(server, auth)));
    }
    all.extend([
        cell("password", "basic", Make::NodeOauth, |server| password_by_url(server, "basic")),
        cell("password", "post", Make::NodeOauth, |server| password_by_url(server, "post")),
        cell("password", "basic", Make::Jmondi, |server| password_by_url(server, "basic")),
        cell("password", "post", Make::Jmondi, |server| password_by_url(server, "post")),
        cell("token-exchange", "basic", Make::Jmondi, |server| exchange_by_url(server, "basic")),
        cell("token-exchange", "post", Make::Jmondi, |server| exchange_by_url(server, "post")),
        besides("a_password_of_odd_characters_arrives", Make::OidcProvider, odd_password),
        besides("a_wrong_password_is_a_refusal_and_keeps_nothing", Make::OidcProvider, wrong_password),
    ]);
    all
}

/// Where the servers without metadata hand out tokens.
const TOKEN: &str = "/oauth/token";

fn client_credentials(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    person.login("client-credentials", &clients::oidc(&person, auth)).args(["--scope", "read"]).run().prints("");
    let token = person.token("oidc");
    let answer = person.answer(&token);
    clients::said(&answer, auth);
    assert_eq!(answer["body"]["scope"], "read");
    person.run("show oidc --introspect").ok();
    let log = server.log();
    let asked = log.iter().find(|entry| entry["path"] == "/token/introspection" && entry["body"]["token"] == token);
    clients::said(asked.expect("a question about the token"), auth);
    // Without a refresh token the same again, from what was kept.
    let second = person.run("get oidc --fresh").line();
    assert_ne!(second, token);
    clients::said(&person.answer(&second), auth);
}

fn client_credentials_of_authlib(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    person.login("client-credentials", &clients::authlib(&person, auth)).run().prints("");
    let token = person.token("oidc");
    assert_ne!(person.run("get oidc --fresh").line(), token);
}

fn signed(server: &'static Server, algorithm: &str, form: &str) {
    let person = Person::at(server);
    let id = algorithm.to_lowercase();
    let key = server.file(&format!("{id}.{form}"));
    // A JWK says its own kid.
    let kid = if form == "pem" { vec!["--key-id", &id] } else { Vec::new() };
    let flags = clients::with_key("key-jwt", &key, &[&["--algorithm", algorithm], &kid[..]].concat());
    person.login("client-credentials", &flags).run().prints("");
    let answer = person.answer(&person.token("oidc"));
    clients::said(&answer, "private-key-jwt");
    let header = jwt_part(answer["body"]["client_assertion"].as_str().unwrap(), 0);
    assert_eq!((&header["alg"], &header["kid"]), (&algorithm.into(), &id.as_str().into()));
}

fn odd_basic(server: &'static Server) {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, "basic", "odd:id/+%41", &clients::odd_secret());
    person.login("client-credentials", &flags).run().prints("");
    let token = person.token("oidc");
    assert!(!token.is_empty());
}

fn odd_basic_raw(server: &'static Server) {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, "basic-raw", "odd/+%41", &clients::odd_secret());
    person.login_by_url("client-credentials", TOKEN, &flags).run().prints("");
    person.token("oauth2");
    // The server decodes nothing: what the RFC says is not what it takes.
    let person = Person::at(server);
    let flags = clients::with_secret(&person, "basic", "odd/+%41", &clients::odd_secret());
    person.login_by_url("client-credentials", TOKEN, &flags).run().fails(5);
}

fn by_url(server: &'static Server, auth: &str, secret: &str) {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, auth, "basic", &format!("{secret}-{CANARY}"));
    person.login_by_url("client-credentials", TOKEN, &flags).run().prints("");
    let token = person.token("oauth2");
    assert_ne!(person.run("get oauth2 --fresh").line(), token);
}

fn by_itself(server: &'static Server) {
    for auth in ["basic", "private-key-jwt"] {
        let person = Person::at(server);
        let flags = clients::oidc(&person, auth);
        let without = flags.strip_prefix(&["--client-auth".to_string(), auth.to_string()]).expect("it comes first");
        person.login("client-credentials", without).run().prints("");
        clients::said(&person.answer(&person.token("oidc")), auth);
    }
}

/// The client's key, and the profile of a config for it.
fn signing_profile(server: &Server, more: &str) -> String {
    format!(
        "[profile.ci]\nprovider = \"oidc\"\ngrant = \"client-credentials\"\nissuer = \"{}\"\nclient_id = \"key-jwt\"\n\
         client_auth = \"private-key-jwt\"\nkey_id = \"es256\"\n{more}",
        server.issuer
    )
}

fn key_from_elsewhere(server: &'static Server) {
    let file = server.file("es256.pem");
    let person = Person::at(server);
    person.sandbox.config(&signing_profile(server, &format!("private_key = {{ command = [\"cat\", \"{file}\"] }}")));
    clients::said(&person.answer(&person.token("ci")), "private-key-jwt");

    let mut person = Person::at(server);
    person.sandbox.config(&signing_profile(server, ""));
    person.sandbox.set("TOK_CI_PRIVATE_KEY", std::fs::read_to_string(&file).unwrap());
    clients::said(&person.answer(&person.token("ci")), "private-key-jwt");
    person.sandbox.unset("TOK_CI_PRIVATE_KEY").set("TOK_CI_PRIVATE_KEY_FILE", &file);
    clients::said(&person.answer(&person.run("get ci --fresh").line()), "private-key-jwt");
}

fn without_login(server: &'static Server) {
    let mut person = Person::at(server);
    person.sandbox.config("[profile.ci]\nprovider = \"oidc\"\ngrant = \"client-credentials\"\n");
    person.sandbox.set("TOK_CI_ISSUER", &server.issuer).set("TOK_CI_CLIENT_ID", "basic");
    person.sandbox.set("TOK_CI_CLIENT_SECRET", format!("basic-secret-{CANARY}"));
    clients::said(&person.answer(&person.token("ci")), "basic");
}

fn own_provider(server: &'static Server) {
    let person = Person::at(server);
    let text = format!(
        "title = \"Ours\"\nlike = \"oidc\"\n[params.issuer]\ndefault = \"{}\"\n[params.client_id]\n\
         default = \"public\"\n[grants.device-code]\n[grants.password]\n",
        server.issuer
    );
    person.sandbox.provider("ours", &text);
    person.sandbox.tok(["login", "ours", "password", "--scope", "openid"]).args(alice(&person)).run().prints("");
    person.answer(&person.token("ours"));
    person.run("login ours ciba").fails(2);
}

fn several_resources(server: &'static Server) {
    let person = Person::at(server);
    let login = person.login("password", &clients::oidc(&person, "none")).args(alice(&person));
    login.args(["--scope", "openid", "--as", "alice"]).run().prints("");
    let subject = person.file("subject", &person.token("alice"));
    let login = person.login("token-exchange", &clients::oidc(&person, "basic"));
    let login = login.args(["--subject-token-file", &subject, "--audience", "one", "--audience", "two"]);
    login.args(["--resource", "https://api.example/jwt", "--resource", "https://api.example/opaque"]).run().prints("");
    let body = &person.answer(&person.token("oidc"))["body"];
    assert_eq!(body["audience"], serde_json::json!(["one", "two"]));
    assert_eq!(body["resource"], serde_json::json!(["https://api.example/jwt", "https://api.example/opaque"]));
}

fn wrong_secret(server: &'static Server) {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, "basic", "basic", &format!("wrong-{CANARY}"));
    person.login("client-credentials", &flags).run().fails(5).says("invalid_client");
    assert!(person.sandbox.secrets().is_null());
}

fn wrong_certificate(server: &'static Server) {
    let person = Person::at(server);
    let (certificate, key) = (server.file("other.crt"), server.file("other.key"));
    let flags = format!("--client-auth tls --client-id mtls --certificate {certificate} --private-key-file {key}");
    person.login("client-credentials", &words(&flags)).run().fails(5).says("invalid_client");
}

/// Flags for alice with her password.
pub fn alice(person: &Person<'_>) -> Vec<String> {
    let file = person.file("password", &format!("wonderland-{CANARY}"));
    ["--username", "alice", "--password-file", &file].map(str::to_string).into()
}

fn password(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let login = person.login("password", &clients::oidc(&person, auth)).args(alice(&person));
    login.args(["--scope", "openid offline_access"]).run().prints("");
    let answer = person.answer(&person.token("oidc"));
    clients::said(&answer, auth);
    assert_eq!(answer["body"]["grant_type"], "password");
}

fn password_of_authlib(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    person.login("password", &clients::authlib(&person, auth)).args(alice(&person)).run().prints("");
    let token = person.token("oidc");
    assert!(server.get_with(&format!("Bearer {token}"), "/me").contains("alice"));
}

fn password_by_url(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, auth, "basic", &format!("basic-secret-{CANARY}"));
    person.login_by_url("password", TOKEN, &flags).args(alice(&person)).run().prints("");
    let token = person.token("oauth2");
    assert_ne!(person.run("get oauth2 --fresh").line(), token, "refreshed");
}

fn odd_password(server: &'static Server) {
    let person = Person::at(server);
    let file = person.file("password", &format!("pä ss+w%rd&-{CANARY}"));
    let login = person.login("password", &clients::oidc(&person, "none"));
    login.args(["--username", "bob", "--password-file", &file]).run().prints("");
    person.answer(&person.token("oidc"));
}

fn wrong_password(server: &'static Server) {
    let person = Person::at(server);
    let file = person.file("password", &format!("wrong-{CANARY}"));
    let login = person.login("password", &clients::oidc(&person, "none"));
    login.args(["--username", "alice", "--password-file", &file]).run().fails(5).says("invalid_grant");
    assert!(person.sandbox.secrets().is_null());
}

/// The type of an access token (RFC 8693 section 3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

fn exchange(server: &'static Server, auth: &str) {
    let alice_at_home = Person::at(server);
    let login = alice_at_home.login("password", &clients::oidc(&alice_at_home, "none")).args(alice(&alice_at_home));
    login.args(["--scope", "openid"]).run().prints("");
    let subject = alice_at_home.token("oidc");

    let person = Person::at(server);
    let file = person.file("subject", &subject);
    let login = person.login("token-exchange", &clients::oidc(&person, auth));
    let login = login.args(["--subject-token-file", &file, "--subject-token-type", ACCESS_TOKEN]);
    login.args(["--requested-token-type", ACCESS_TOKEN, "--scope", "openid"]).run().prints("");
    let token = person.token("oidc");
    assert_ne!(token, subject);
    let answer = person.answer(&token);
    clients::said(&answer, auth);
    assert_eq!(answer["body"]["subject_token"], subject.as_str());
    assert_eq!(answer["response"]["issued_token_type"], ACCESS_TOKEN);
}

fn exchange_by_url(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let flags = clients::with_secret(&person, auth, "basic", &format!("basic-secret-{CANARY}"));
    let own = |name: &str| ["--as".to_string(), name.to_string()];
    person.login_by_url("password", TOKEN, &flags).args(alice(&person)).args(own("alice")).run().prints("");
    let subject = person.file("subject", &person.token("alice"));
    let login = person.login_by_url("token-exchange", TOKEN, &flags).args(own("exchanged"));
    let login = login.args(["--subject-token-file", &subject, "--subject-token-type", ACCESS_TOKEN]);
    login.args(["--actor-token-file", &subject, "--actor-token-type", ACCESS_TOKEN]).run().prints("");
    // This server says who acts by another subject.
    assert_eq!(jwt_part(&person.token("exchanged"), 1)["sub"], 2);
}
