//! The client for itself, with every way to say who it is.

use super::person::Person;
use super::servers::{Make, Server};
use super::support::CANARY;
use super::table::{Case, cell};

/// The tests.
pub fn cases() -> Vec<Case> {
    vec![cell("client-credentials", "basic", Make::OidcProvider, |server| {
        secret(server, "basic", "basic", "basic-secret")
    })]
}

fn secret(server: &'static Server, auth: &str, client: &str, secret: &str) {
    let person = Person::at(server);
    let file = person.file(&format!("{secret}-{CANARY}"));
    person
        .login("client-credentials", &["--client-auth", auth, "--client-id", client, "--client-secret-file", &file])
        .ok();
}
