//! Another device: the device grant, where a person types a code, and CIBA, where nobody types anything.

use super::clients::{self, AUTHLIB, OIDC};
use super::person::{Person, address_and_code, words};
use super::servers::{Make, Server};
use super::support::until;
use super::table::{Case, also, besides, cell};
use crate::child::SOON;

/// The tests.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (auth, make) in OIDC {
        all.push(cell("device-code", auth, make, move |server| device(server, auth)));
        if auth != "none" {
            all.push(cell("ciba", auth, make, move |server| ciba(server, auth)));
        }
    }
    for auth in AUTHLIB {
        all.push(cell("device-code", auth, Make::Authlib, move |server| device_of_authlib(server, auth)));
    }
    all.extend([
        cell("device-code", "none", Make::Authlib, by_urls).named("by_urls"),
        also("`slow_down` of the device grant (RFC 8628)", Make::OidcProvider, slowed_down),
        besides("an_interrupt_ends_the_wait_at_once", Make::OidcProvider, interrupted),
        besides("a_device_code_that_nobody_enters_expires", Make::OidcProvider, expired),
        besides("a_person_who_says_no_at_the_other_device_is_a_refusal", Make::OidcProvider, denied),
    ]);
    all
}

fn device(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let login = person.login("device-code", &clients::oidc(&person, auth)).args(["--scope", "openid offline_access"]);
    let screen = person.types_the_code(login);
    person.nothing_leaked(&screen);
    let token = person.token("oidc");
    let answer = person.answer(&token);
    clients::said(&answer, auth);
    assert_eq!(answer["body"]["grant_type"], "urn:ietf:params:oauth:grant-type:device_code");
    let code = &answer["body"]["device_code"];
    let log = server.log();
    let polls = log.iter().filter(|entry| entry["body"]["device_code"] == *code);
    assert!(polls.clone().count() >= 1);
    assert!(polls.clone().all(|entry| entry["response"]["error"] != "slow_down"), "asked too often");
}

fn device_of_authlib(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let login = person.login("device-code", &clients::authlib(&person, auth)).args(["--scope", "read"]);
    person.types_the_code(login);
    assert!(server.get_with(&format!("Bearer {}", person.token("oidc")), "/me").contains("alice"));
}

fn by_urls(server: &'static Server) {
    let person = Person::at(server);
    let device = format!("{}/oauth/device_authorization", server.issuer);
    let flags = format!("--device-url {device} --client-id public --client-auth none --scope read");
    person.types_the_code(person.login_by_url("device-code", "/oauth/token", &words(&flags)));
    assert!(server.get_with(&format!("Bearer {}", person.token("oauth2")), "/me").contains("alice"));
}

fn slowed_down(_: &'static Server) {
    // It says one second, and wants three.
    let server = Server::start(Make::OidcProvider, &[("DEVICE_PACE", "3")]).expect("it is installed");
    let person = Person::at(&server);
    let mut login = person.login("device-code", &words("--client-id public --client-auth none"));
    login = login.env("BROWSER", "true");
    let screen = person.sandbox.file("screen", "");
    let mut running = login.stderr(std::fs::File::create(&screen).unwrap()).spawn();
    until("a second question comes", || server.log().len() > 2 || running.ended());
    let shown = std::fs::read_to_string(&screen).unwrap();
    let (address, code) = address_and_code(&shown).expect("address and code");
    person.browse(&["--code", &code, &address]);
    assert_eq!(running.wait().code, 0);
    let log = server.log();
    let polls: Vec<_> = log.iter().filter(|entry| entry["path"] == "/token").collect();
    let said: Vec<_> = polls.iter().map(|entry| entry["response"]["error"].as_str()).collect();
    assert_eq!(said, [Some("authorization_pending"), Some("slow_down"), None]);
    let at = |poll: usize| polls[poll]["at"].as_i64().unwrap();
    assert!(at(2) - at(1) >= 5_900, "asked again after {} ms", at(2) - at(1));
}

fn interrupted(_: &'static Server) {
    // Whoever waits for the interval to end is late.
    let server = Server::start(Make::OidcProvider, &[("DEVICE_INTERVAL", "300")]).expect("it is installed");
    // With the last words before it waits.
    for (grant, last, more) in
        [("device-code", "/device", ""), ("authorization-code", ": 201", ""), ("ciba", ": 200", "--login-hint alice")]
    {
        let person = Person::at(&server);
        let auth = if grant == "ciba" { "basic" } else { "none" };
        let login = person.login(grant, &clients::oidc(&person, auth)).args(words(more));
        let screen = person.sandbox.file("screen", "");
        let login = login.args(["--scope", "openid", "-v"]).env("BROWSER", "true");
        let running = login.stderr(std::fs::File::create(&screen).unwrap()).spawn();
        until("it waits", || std::fs::read_to_string(&screen).is_ok_and(|shown| shown.contains(last)));
        let start = std::time::Instant::now();
        running.signal(rustix::process::Signal::INT);
        let output = running.wait();
        assert_eq!(output.code, 130, "{grant}: {output}");
        assert!(start.elapsed() < SOON, "{grant}: {:?}", start.elapsed());
        assert!(person.sandbox.secrets().is_null(), "{grant}");
    }
}

fn expired(_: &'static Server) {
    let server = Server::start(Make::OidcProvider, &[("DEVICE_TTL", "3")]).expect("it is installed");
    let person = Person::at(&server);
    let output = person.login("device-code", &words("--client-id public --client-auth none")).run();
    person.nothing_leaked(&output.stderr);
    output.fails_with_one_of(&[4, 5]).says("expired");
    assert!(person.sandbox.secrets().is_null());
}

fn ciba(server: &'static Server, auth: &str) {
    let person = Person::at(server);
    let login = person.login("ciba", &clients::oidc(&person, auth)).args(["--scope", "openid offline_access"]);
    let output = login.args(["--login-hint", "alice"]).run();
    person.nothing_leaked(&output.stderr);
    output.prints("");
    let answer = person.answer(&person.token("oidc"));
    clients::said(&answer, auth);
    assert_eq!(answer["body"]["grant_type"], "urn:openid:params:grant-type:ciba");
}

fn denied(server: &'static Server) {
    let person = Person::at(server);
    let login =
        person.login("ciba", &clients::oidc(&person, "basic")).args(["--scope", "openid", "-v"]).env("BROWSER", "true");
    login.args(["--login-hint", "deny"]).run().fails(5).says("access_denied");
    assert!(person.sandbox.secrets().is_null());
}
