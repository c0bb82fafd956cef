//! The clients that the servers know, and what each has to say who it is.

use super::person::{Person, jwt_part};
use super::servers::Make;
use super::support::CANARY;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What oidc-provider takes, with the run of it that does.
pub const OIDC: [(&str, Make); 7] = [
    ("none", Make::OidcProvider),
    ("basic", Make::OidcProvider),
    ("post", Make::OidcProvider),
    ("client-secret-jwt", Make::OidcProvider),
    ("private-key-jwt", Make::OidcProvider),
    ("tls", Make::OidcProviderTls),
    ("tls-self-signed", Make::OidcProviderTls),
];

/// What Authlib takes, and from nobody anything else.
pub const AUTHLIB: [&str; 5] = ["none", "basic", "post", "client-secret-jwt", "private-key-jwt"];

/// The secret of the client that needs encoding everywhere.
pub fn odd_secret() -> String {
    format!("s+cr%t &=:\"~%zz-{CANARY}")
}

/// Flags for a client with a secret.
pub fn with_secret(person: &Person<'_>, auth: &str, id: &str, secret: &str) -> Vec<String> {
    let file = person.file(&format!("secret-of-{}", id.replace('/', "-")), secret);
    ["--client-auth", auth, "--client-id", id, "--client-secret-file", &file].map(str::to_string).into()
}

/// Flags for a client with a key.
pub fn with_key(id: &str, key: &str, more: &[&str]) -> Vec<String> {
    let flags = ["--client-auth", "private-key-jwt", "--client-id", id, "--private-key-file", key];
    flags.iter().chain(more).map(|word| word.to_string()).collect()
}

/// Flags for the client of oidc-provider that says who it is in this way.
pub fn oidc(person: &Person<'_>, auth: &str) -> Vec<String> {
    let file = |name: &str| person.server.file(name);
    let certificate = |id: &str, name: &str| {
        let (certificate, key) = (file(&format!("{name}.crt")), file(&format!("{name}.key")));
        ["--client-auth", auth, "--client-id", id, "--certificate", &certificate, "--private-key-file", &key]
            .map(str::to_string)
            .to_vec()
    };
    match auth {
        "none" => ["--client-auth", "none", "--client-id", "public"].map(str::to_string).into(),
        "basic" => with_secret(person, auth, "basic", &format!("basic-secret-{CANARY}")),
        "post" => with_secret(person, auth, "post", &format!("post-secret-{CANARY}")),
        "client-secret-jwt" => with_secret(
            person,
            auth,
            "secret-jwt",
            &format!("a-shared-secret-of-64-bytes-and-more-so-that-HS512-can-sign-with-it-{CANARY}"),
        ),
        "private-key-jwt" => with_key("key-jwt", &file("es256.pem"), &["--key-id", "es256", "--algorithm", "ES256"]),
        "tls" => certificate("mtls", "client"),
        "tls-self-signed" => certificate("mtls-self", "client-self"),
        other => panic!("oidc-provider has no client for {other}"),
    }
}

/// Flags for the client of Authlib that says who it is in this way.
pub fn authlib(person: &Person<'_>, auth: &str) -> Vec<String> {
    match auth {
        "private-key-jwt" => with_key("key-jwt", &person.server.file("client.pem"), &["--algorithm", "RS256"]),
        // Ids and secrets are those of oidc-provider.
        other => oidc(person, other),
    }
}

/// The request of a log of oidc-provider says who the client is in this way, and in no other.
#[track_caller]
pub fn said(entry: &Value, auth: &str) {
    let header = entry["headers"]["authorization"].as_str();
    let field = |name: &str| entry["body"][name].as_str();
    assert_eq!(header.is_some(), auth.starts_with("basic"), "{auth}: {entry}");
    assert_eq!(field("client_secret").is_some(), auth == "post", "{auth}: {entry}");
    assert_eq!(field("client_assertion").is_some(), auth.ends_with("-jwt"), "{auth}: {entry}");
    if !auth.starts_with("basic") && !auth.ends_with("-jwt") {
        assert!(field("client_id").is_some(), "{auth}: {entry}");
    }
    if let Some(assertion) = field("client_assertion") {
        let claims = jwt_part(assertion, 1);
        assert_eq!(claims["iss"], claims["sub"], "{claims}");
        assert!(claims["jti"].is_string() && claims["exp"].is_number(), "{claims}");
    }
}

/// What stands in an `Authorization: Basic` header.
#[track_caller]
pub fn basic(entry: &Value) -> String {
    let header = entry["headers"]["authorization"].as_str().expect("a header");
    let text = header.strip_prefix("Basic ").expect("Basic");
    String::from_utf8(STANDARD.decode(text).expect("base64")).expect("text")
}
