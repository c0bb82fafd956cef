//! Tokens: their data, what they belong to, and whether they are still valid. Pure.

pub mod credentials;
pub mod freshness;
pub mod identity;
pub mod shared;

use crate::base::secret::Secret;
use crate::base::time::Time;
use identity::TokenIdentity;
use serde_json::{Map, Value};

/// An access token, as it is cached.
#[derive(Clone, Debug)]
pub struct Token {
    /// The provider's name.
    pub provider: String,
    /// The grant that obtained it.
    pub grant: String,
    /// The token.
    pub access_token: Secret,
    /// The token type, as the provider wrote it.
    pub token_type: Option<String>,
    /// The scope granted.
    pub scope: Option<String>,
    /// When its reply arrived.
    pub received: Time,
    /// When it expires.
    pub expires: Expires,
    /// The request header: name and value. Without a name there is none: the token is in the query alone.
    pub header: (String, Secret),
    /// Further headers of a request.
    pub more_headers: Vec<(String, Secret)>,
    /// Parameters of the URL of a request.
    pub query: Vec<(String, Secret)>,
    /// The origins of the API that its reply told.
    pub hosts: Vec<String>,
    /// The ID token that came with it.
    pub id_token: Option<IdToken>,
    /// The key that it is bound to (RFC 9449), as a private JWK: the token is useless without it.
    pub dpop_key: Option<Secret>,
    /// Other members of the reply.
    pub extra: Map<String, Value>,
    /// The settings it was obtained with.
    pub identity: TokenIdentity,
}

impl Token {
    /// All headers of a request, in their order.
    pub fn headers(&self) -> impl Iterator<Item = &(String, Secret)> {
        std::iter::once(&self.header).filter(|(name, _)| !name.is_empty()).chain(&self.more_headers)
    }

    /// Whether it is bound to a key (RFC 9449): each request then needs a proof and a different header.
    pub fn is_bound(&self) -> bool {
        self.dpop_key.is_some() || self.token_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("dpop"))
    }
}

/// An ID token (OIDC Core §2).
#[derive(Clone, Debug)]
pub struct IdToken {
    /// As it came.
    pub text: Secret,
    /// Whether it was verified when it came.
    pub verified: bool,
}

/// The longest access token that is handed out, in bytes.
pub const LONGEST_TOKEN: usize = 65_536;

/// Whether `text` may be handed out as an access token: 1 to 65,536 visible ASCII characters without space
/// (RFC 6749 A.12 has the characters; a line feed would become a second header in `curl -H @-`).
pub fn is_token(text: &str) -> bool {
    (1..=LONGEST_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// When something expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expires {
    /// At this second since 1970; it may have passed.
    At(i64),
    /// It never does.
    Never,
    /// The provider does not say.
    Unknown,
}

impl Expires {
    /// The second since 1970, if known.
    pub fn at(self) -> Option<i64> {
        match self {
            Expires::At(at) => Some(at),
            Expires::Never | Expires::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_visible_ascii() {
        assert!(is_token("abc.DEF-1~2/+=") && is_token(&"x".repeat(65_536)));
        for text in ["", "a b", "a\n", "\u{1b}[0m", "é", "a\u{7f}", "a\0"] {
            assert!(!is_token(text), "{text:?}");
        }
        assert!(!is_token(&"x".repeat(65_537)));
    }
}
