//! What the store holds for a profile: its session and its kept secrets, as one JSON object. Pure.

use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::token::identity::Belongs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A refresh token and what it was got with.
#[derive(Clone, Debug)]
pub struct Session {
    /// The refresh token.
    pub refresh_token: Secret,
    /// The settings it was got with.
    pub belongs: Belongs,
    /// When the login was, in seconds since 1970: a refresh token's life may count from it.
    pub since: i64,
    /// Who logged in, as the ID token of the login says (`sub`); no refresh may bring another's (OIDC Core §12.2).
    pub subject: Option<String>,
}

/// The entry of a profile.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The session, if there is one.
    pub session: Option<Session>,
    /// Kept secrets by the name of their value.
    pub secrets: BTreeMap<String, Secret>,
    /// The origin that the kept secrets were kept for: they go nowhere else.
    pub secrets_for: Option<String>,
    /// The client that they were kept for, where there was one: they are no other's.
    pub secrets_client: Option<String>,
    /// The key that tokens are bound to (RFC 9449), as a private JWK.
    pub dpop_key: Option<Secret>,
}

/// The form in the store. The contract names `refresh_token` and `secrets`.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    got_with: Option<Belongs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secrets_for: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secrets_client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dpop_key: Option<String>,
}

impl Kept {
    /// Reads an entry.
    ///
    /// # Errors
    /// [`Kind::Store`] where it is none of ours; its text is not shown.
    pub fn parse(entry: &Secret) -> Result<Kept> {
        let foreign =
            |place| Error::new(Kind::Store, "what the secret store holds for this profile is not tok's", place);
        // serde would take an empty list for an object that has only optional fields.
        if !entry.expose().trim_start().starts_with('{') {
            return Err(foreign("no JSON object".to_string()));
        }
        let wire: Wire = serde_json::from_str(entry.expose())
            // serde's message may quote a string; its place is enough.
            .map_err(|error| foreign(format!("line {}, column {}", error.line(), error.column())))?;
        let session = match (wire.refresh_token, wire.got_with) {
            (Some(token), Some(belongs)) if !token.is_empty() => {
                let (since, subject) = (wire.since.unwrap_or(0), wire.subject);
                Some(Session { refresh_token: Secret::new(token), belongs, since, subject })
            }
            // A token that nobody knows the home of is sent nowhere.
            _ => None,
        };
        Ok(Kept {
            session,
            secrets: wire.secrets.into_iter().map(|(n, s)| (n, Secret::new(s))).collect(),
            secrets_for: wire.secrets_for,
            secrets_client: wire.secrets_client,
            dpop_key: wire.dpop_key.map(Secret::new),
        })
    }

    /// The entry's text.
    pub fn write(&self) -> Secret {
        let wire = Wire {
            refresh_token: self.session.as_ref().map(|s| s.refresh_token.expose().into()),
            got_with: self.session.as_ref().map(|s| s.belongs.clone()),
            since: self.session.as_ref().map(|s| s.since),
            subject: self.session.as_ref().and_then(|s| s.subject.clone()),
            secrets: self.secrets.iter().map(|(n, s)| (n.clone(), s.expose().to_string())).collect(),
            secrets_for: self.secrets_for.clone(),
            secrets_client: self.secrets_client.clone(),
            dpop_key: self.dpop_key.as_ref().map(|key| key.expose().to_string()),
        };
        Secret::new(serde_json::to_string(&wire).unwrap_or_default())
    }

    /// Whether nothing is kept that would get a token; a key alone does not.
    pub fn is_empty(&self) -> bool {
        self.session.is_none() && self.secrets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let kept = Kept {
            session: Some(Session {
                refresh_token: Secret::new("r\"1"),
                belongs: Belongs { url: "https://a.example/t".into(), ..Belongs::default() },
                since: 5,
                subject: Some("alice".into()),
            }),
            secrets: [("secret_key".to_string(), Secret::new("k"))].into(),
            secrets_for: Some("https://a.example".into()),
            secrets_client: Some("c".into()),
            dpop_key: None,
        };
        let back = Kept::parse(&kept.write()).expect("an entry");
        let session = back.session.expect("a session");
        assert_eq!((session.refresh_token.expose(), session.since), ("r\"1", 5));
        assert_eq!(session.subject.as_deref(), Some("alice"));
        assert_eq!(session.belongs.url, "https://a.example/t");
        assert_eq!(back.secrets["secret_key"].expose(), "k");
    }

    #[test]
    fn a_foreign_entry_is_told_without_its_text() {
        for text in ["", "hunter2", "[]", "{\"secrets\":\"hunter2\"}", "{\"refresh_token\":5}"] {
            let error = Kept::parse(&Secret::new(text)).expect_err("not ours");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(Kept::parse(&Secret::new("{\"refresh_token\":\"x\"}")).expect("an object").session.is_none());
    }
}
