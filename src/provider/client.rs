//! How a client proves itself, and how its code is bound to a login.

use super::template::{Piece, Template};
use super::types::{Call, Field};

/// Client authentication (RFC 6749 §2.3, OIDC Core §9, RFC 8705 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nothing is added: the file says everything.
    None,
    /// What the available values and the server allow.
    Auto,
    /// Only `client_id`.
    Public,
    /// HTTP Basic of the percent-encoded id and secret (RFC 6749 §2.3.1).
    Basic,
    /// HTTP Basic of id and secret as they are, for servers that do not decode.
    BasicRaw,
    /// Id and secret in the body.
    Post,
    /// An assertion signed with the client's secret.
    ClientSecretJwt,
    /// An assertion signed with the client's key.
    PrivateKeyJwt,
    /// An assertion that was made elsewhere (RFC 7521 §4.2).
    Assertion,
    /// A certificate that the server's authority has issued.
    Tls,
    /// A certificate that the server knows.
    TlsSelfSigned,
}

/// What a client proves itself with, and how that is called.
#[derive(Clone, Debug)]
pub struct ClientNames {
    /// In the place of `client_id`; may be empty.
    pub id: Template,
    /// In the place of `client_secret`; may be empty.
    pub secret: Template,
    /// The name of the field.
    pub id_name: String,
    /// The name of the field.
    pub secret_name: String,
}

/// The names of [`Auth`] in a value.
pub const AUTHS: &[(&str, Auth)] = &[
    ("auto", Auth::Auto),
    ("none", Auth::Public),
    ("basic", Auth::Basic),
    ("basic-raw", Auth::BasicRaw),
    ("post", Auth::Post),
    ("client-secret-jwt", Auth::ClientSecretJwt),
    ("private-key-jwt", Auth::PrivateKeyJwt),
    ("assertion", Auth::Assertion),
    ("tls", Auth::Tls),
    ("tls-self-signed", Auth::TlsSelfSigned),
];

impl Auth {
    /// Whether an assertion is signed for it.
    pub fn signs(self) -> bool {
        matches!(self, Auth::ClientSecretJwt | Auth::PrivateKeyJwt)
    }

    /// Whether it takes the value `name`.
    pub fn takes(self, name: &str) -> bool {
        self.names().iter().any(|(known, _)| *known == name)
    }

    /// The values it takes, and whether each is optional.
    pub(super) fn names(self) -> &'static [(&'static str, bool)] {
        match self {
            Auth::None => &[],
            Auth::Auto => &[
                ("client_id", true),
                ("client_secret", true),
                ("client_assertion", true),
                ("private_key", true),
                ("certificate", true),
                ("key_id", true),
                ("algorithm", true),
                ("assertion_audience", true),
            ],
            Auth::Public => &[("client_id", false)],
            Auth::Basic | Auth::BasicRaw | Auth::Post => &[("client_id", false), ("client_secret", false)],
            Auth::ClientSecretJwt => {
                &[("client_id", false), ("client_secret", false), ("algorithm", true), ("assertion_audience", true)]
            }
            Auth::PrivateKeyJwt => &[
                ("client_id", false),
                ("private_key", false),
                ("certificate", true),
                ("key_id", true),
                ("algorithm", true),
                ("assertion_audience", true),
            ],
            // The assertion names the client (RFC 7521 §4.2).
            Auth::Assertion => &[("client_id", true), ("client_assertion", false)],
            Auth::Tls | Auth::TlsSelfSigned => &[("client_id", false), ("private_key", false), ("certificate", false)],
        }
    }
}

/// How a code is bound to the login that asks for it (RFC 7636 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pkce {
    /// By the SHA-256 of a secret, base64url.
    S256,
    /// The same in hexadecimal, for servers that compute it so.
    S256Hex,
    /// By the secret itself.
    Plain,
    /// Not at all, for servers that refuse what they do not know.
    None,
}

impl Pkce {
    /// Its names in a provider file.
    pub const NAMES: &[(&str, Pkce)] =
        &[("S256", Pkce::S256), ("S256-hex", Pkce::S256Hex), ("plain", Pkce::Plain), ("none", Pkce::None)];

    /// Makes `call` say what this is, where it was written for another.
    pub fn put_into(self, call: &mut Call) {
        let field = |field: &Field| match field {
            Field::Text(template) => template.clone(),
            _ => Template(Vec::new()),
        };
        let holds = |template: &Template| template.names().any(|(n, _)| n == "code_challenge" || n == "code_verifier");
        let is_method = |name: &str| name == "code_challenge_method";
        if self == Pkce::None {
            call.query.retain(|(name, template)| !is_method(name) && !holds(template));
            call.body.retain(|(name, value)| !is_method(name) && !holds(&field(value)));
        }
        let method = Template(vec![Piece::Text(if self == Pkce::Plain { "plain" } else { "S256" }.into())]);
        call.query.iter_mut().filter(|(name, _)| is_method(name)).for_each(|(_, text)| *text = method.clone());
        let methods = call.body.iter_mut().filter(|(name, _)| is_method(name));
        methods.for_each(|(_, text)| *text = Field::Text(method.clone()));
    }
}
