//! What a token belongs to: the settings it was obtained with, and whether the current ones contradict them. Pure.

use crate::base::digest;
use crate::base::secret::Secret;
use crate::base::url::Url;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The settings that a token was obtained with, stored with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenIdentity {
    /// The token URL.
    pub url: String,
    /// The grant its session began with; `None` if it began with an imported refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Plain values in force, client and user among them.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// Salted digests of the non-personal secrets that were known.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// The salt of those digests.
    #[serde(default)]
    pub salt: String,
    /// It was obtained next to a session, with settings that contradict it: it only answers a call that gives the same
    /// settings again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    /// The lists that the session's login asked for, of a refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<BTreeMap<String, Vec<String>>>,
    /// What else determines an access token: lists such as the scopes. Absent for a refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// Fields of a newer build.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

/// What distinguishes an access token from another one of the same session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Values that are lists, scopes among them.
    #[serde(default)]
    pub lists: BTreeMap<String, Vec<String>>,
    /// The digest of the provider's definition.
    pub definition: String,
    /// The grant that was run.
    pub grant: String,
}

/// A secret, as far as it is currently known.
#[derive(Clone, Debug)]
pub enum KnownSecret {
    /// Its text.
    Text(Secret),
    /// Its source: a command or a keyring entry, not read yet.
    Reference(String),
}

/// The current settings.
#[derive(Clone, Debug, Default)]
pub struct CurrentIdentity {
    /// The token URL, if its values are known.
    pub url: Option<String>,
    /// Whether the issuer's metadata tell the token URL.
    pub is_told: bool,
    /// The grant, if `--grant` or the profile names it.
    pub grant: Option<String>,
    /// The grants that may have obtained a token if none is named: the provider's first, and its fallback.
    pub usual_grants: Vec<String>,
    /// The grant that uses a refresh token: naming it contradicts no session.
    pub refresh_grant: Option<String>,
    /// Plain values given, and the default of the client.
    pub values: BTreeMap<String, String>,
    /// Non-personal secrets.
    pub secrets: BTreeMap<String, KnownSecret>,
    /// Lists, as [`Shape::lists`].
    pub lists: BTreeMap<String, Vec<String>>,
    /// The lists that a refresh can request again; others are fixed at login.
    pub refreshed: Vec<String>,
    /// As [`Shape::definition`].
    pub definition: String,
}

impl CurrentIdentity {
    /// These settings as the identity of a new token. `shape`: for an access token, the grant that obtained it.
    pub fn identity(&self, url: &str, grant: Option<&str>, shape: Option<&str>) -> TokenIdentity {
        let salt = digest::random(16);
        TokenIdentity {
            url: url.into(),
            grant: grant.map(str::to_string),
            values: self.values.clone(),
            secrets: self.secrets.iter().map(|(name, s)| (name.clone(), secret_digest(&salt, name, s))).collect(),
            salt,
            apart: false,
            others: BTreeMap::new(),
            asked: shape.is_none().then(|| self.lists.clone()),
            shape: shape.map(|grant| Shape {
                lists: self.lists.clone(),
                definition: self.definition.clone(),
                grant: grant.into(),
            }),
        }
    }
}

impl CurrentIdentity {
    /// With secrets from the store: a token obtained with them belongs to them.
    pub fn with_secrets<'s>(&self, secrets: impl IntoIterator<Item = (&'s str, &'s str)>) -> CurrentIdentity {
        let mut known = self.clone();
        for (name, text) in secrets {
            known.secrets.insert(name.into(), KnownSecret::Text(Secret::new(text)));
        }
        known
    }

    /// The identity of an access token that `session` obtained with `grant`: all of the session's, and what is
    /// currently known in addition. The caller has made sure that neither contradicts the other.
    pub fn joined(&self, session: &TokenIdentity, grant: &str) -> TokenIdentity {
        let mut identity = session.clone();
        for (name, value) in &self.values {
            identity.values.insert(name.clone(), value.clone());
        }
        for (name, secret) in &self.secrets {
            identity.secrets.insert(name.clone(), secret_digest(&identity.salt, name, secret));
        }
        identity.asked = None;
        identity.others.clear();
        identity.shape =
            Some(Shape { lists: self.lists.clone(), definition: self.definition.clone(), grant: grant.into() });
        identity
    }
}

fn secret_digest(salt: &str, name: &str, secret: &KnownSecret) -> String {
    let (kind, text) = match secret {
        KnownSecret::Text(text) => ("is", text.expose()),
        KnownSecret::Reference(text) => ("from", text.as_str()),
    };
    format!("{kind}:{}", digest::hex(&[salt.as_bytes(), name.as_bytes(), text.as_bytes()]))
}

impl TokenIdentity {
    /// Whether `url` is where the same issuer has moved the token endpoint, below the same origin.
    fn has_moved_to(&self, url: &str, now: &CurrentIdentity) -> bool {
        let issuer = self.values.get("issuer");
        let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
        now.is_told && issuer.is_some() && issuer == now.values.get("issuer") && origin(url) == origin(&self.url)
    }

    /// The current setting that contradicts these, if any; what is not known now contradicts nothing.
    pub fn contradiction(&self, now: &CurrentIdentity) -> Option<String> {
        if let Some(url) = &now.url
            && *url != self.url
            && !self.has_moved_to(url, now)
        {
            return Some(format!("the token URL (was {}, now {})", shown(&self.url), shown(url)));
        }
        if let (Some(grant), Some(was)) = (&now.grant, &self.grant)
            && grant != was
            && now.refresh_grant.as_ref() != Some(grant)
        {
            return Some(format!("the grant (was {was}, now {grant})"));
        }
        for (name, value) in &now.values {
            match self.values.get(name) {
                Some(was) if was != value => {
                    return Some(format!("{name} (was {}, now {})", shown(was), shown(value)));
                }
                // A refresh token covers whatever its login did not set; an access token depends on it.
                None if self.shape.is_some() => return Some(format!("{name} (was not set, now {})", shown(value))),
                _ => {}
            }
        }
        for (name, secret) in &now.secrets {
            if self.secrets.get(name).is_some_and(|was| *was != secret_digest(&self.salt, name, secret)) {
                return Some(format!("{name} (differs from the one it was obtained with)"));
            }
        }
        if self.apart {
            let unknown = |name: &&String| !now.values.contains_key(*name) && !now.secrets.contains_key(*name);
            if let Some(name) = self.values.keys().chain(self.secrets.keys()).find(unknown) {
                return Some(format!("{name} (given only for that call)"));
            }
        }
        if let (None, Some(asked)) = (&self.shape, &self.asked) {
            let fixed = now.lists.iter().filter(|(name, _)| !now.refreshed.contains(name));
            return fixed.into_iter().find(|(name, list)| asked.get(*name) != Some(list)).map(|(name, _)| name.clone());
        }
        let shape = self.shape.as_ref()?;
        for name in now.lists.keys().chain(shape.lists.keys()) {
            if now.lists.get(name) != shape.lists.get(name) {
                return Some(name.clone());
            }
        }
        if shape.definition != now.definition {
            return Some("the provider's definition".into());
        }
        // If no grant is named, the token of a weaker one, run on request, must not answer.
        let usual = |grant: &String| now.usual_grants.contains(grant);
        if now.grant.is_none() && self.grant.as_ref().is_some_and(|g| !usual(g)) {
            return self.grant.as_ref().map(|was| format!("the grant (was {was})"));
        }
        None
    }
}

impl TokenIdentity {
    /// Whether every plain value of these is also given now.
    pub fn is_within(&self, now: &CurrentIdentity) -> bool {
        self.values.keys().all(|name| now.values.contains_key(name))
    }
}

fn shown(text: &str) -> String {
    crate::base::text::escape_to(text, 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(values: &[(&str, &str)]) -> CurrentIdentity {
        CurrentIdentity {
            url: Some("https://a.example/token".into()),
            usual_grants: vec!["secret".into()],
            values: values.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            definition: "d".into(),
            ..CurrentIdentity::default()
        }
    }

    #[test]
    fn a_session_belongs_to_its_client_user_and_url() {
        let stored =
            known(&[("client_id", "c"), ("username", "u")]).identity("https://a.example/token", Some("secret"), None);
        assert_eq!(stored.contradiction(&known(&[("client_id", "c"), ("username", "u")])), None);
        assert_eq!(stored.contradiction(&known(&[])), None, "what is not given contradicts nothing");
        assert_eq!(stored.contradiction(&known(&[("audience", "x")])), None);
        assert!(stored.contradiction(&known(&[("username", "v")])).is_some_and(|w| w.starts_with("username")));
        let elsewhere = CurrentIdentity { url: Some("https://b.example/token".into()), ..known(&[]) };
        assert!(stored.contradiction(&elsewhere).is_some());
        let named = |grant: &str| CurrentIdentity {
            grant: Some(grant.into()),
            refresh_grant: Some("refresh".into()),
            ..known(&[])
        };
        assert_eq!(stored.contradiction(&named("secret")), None);
        assert_eq!(stored.contradiction(&named("refresh")), None);
        assert!(stored.contradiction(&named("other")).is_some());
        let lists = |name: &str, refreshed: &[&str]| CurrentIdentity {
            lists: [(name.to_string(), vec!["a".to_string()])].into(),
            refreshed: refreshed.iter().map(|name| name.to_string()).collect(),
            ..known(&[])
        };
        assert_eq!(stored.contradiction(&lists("audience", &["scope"])), Some("audience".into()));
        assert_eq!(stored.contradiction(&lists("scope", &["scope"])), None);
        let imported = TokenIdentity { grant: None, ..stored };
        assert_eq!(imported.contradiction(&named("other")), None);
    }

    #[test]
    fn a_secret_is_compared_where_both_are_known() {
        let with = |text: &str| CurrentIdentity {
            secrets: [("s".to_string(), KnownSecret::Text(Secret::new(text)))].into(),
            ..known(&[])
        };
        let stored = with("one").identity("https://a.example/token", None, None);
        assert!(!stored.secrets["s"].contains("one"));
        assert_eq!(stored.contradiction(&with("one")), None);
        assert_eq!(stored.contradiction(&known(&[])), None);
        assert!(stored.contradiction(&with("two")).is_some());
    }

    #[test]
    fn what_was_got_apart_answers_only_the_same_settings() {
        let given = known(&[("username", "v")]);
        let mut stored = given.identity("https://a.example/token", Some("secret"), Some("secret"));
        assert_eq!(stored.contradiction(&known(&[])), None);
        stored.apart = true;
        assert!(stored.contradiction(&known(&[])).is_some());
        assert_eq!(stored.contradiction(&given), None);
    }

    #[test]
    fn an_access_token_belongs_to_its_scopes_and_definition_too() {
        let scoped = |scopes: &[&str]| CurrentIdentity {
            lists: [("scope".to_string(), scopes.iter().map(|s| s.to_string()).collect())].into(),
            ..known(&[])
        };
        let stored = scoped(&["a"]).identity("https://a.example/token", Some("secret"), Some("secret"));
        assert_eq!(stored.contradiction(&scoped(&["a"])), None);
        assert!(stored.contradiction(&scoped(&["a", "b"])).is_some());
        assert!(stored.contradiction(&known(&[])).is_some());
        assert!(stored.contradiction(&CurrentIdentity { definition: "e".into(), ..scoped(&["a"]) }).is_some());
        assert!(stored.contradiction(&CurrentIdentity { usual_grants: vec![], ..scoped(&["a"]) }).is_some());
    }
}
