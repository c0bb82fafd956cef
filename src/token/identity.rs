//! Whose a token is: which settings it was got with, and whether today's contradict them. Pure.

use crate::base::digest;
use crate::base::secret::Secret;
use crate::base::url::Url;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The settings that a token was got with, kept beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenIdentity {
    /// The token URL.
    pub url: String,
    /// The grant its session began with; `None` where it began with a refresh token from elsewhere.
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
    /// It was got beside what is kept, with settings that contradict it: it answers only a call that gives the same
    /// settings again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    /// The lists that the session's login asked for, of a refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<BTreeMap<String, Vec<String>>>,
    /// What shapes an access token besides: lists such as the scopes. Absent for a refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// What a newer build says of it besides.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

/// What makes an access token another than the next one of the same session.
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

/// A secret as far as it is known now.
#[derive(Clone, Debug)]
pub enum KnownSecret {
    /// Its text.
    Text(Secret),
    /// Where it would come from: a command or an entry of the keyring, not asked yet.
    Reference(String),
}

/// The settings in force now.
#[derive(Clone, Debug, Default)]
pub struct CurrentIdentity {
    /// The token URL, where its values are known.
    pub url: Option<String>,
    /// Whether the issuer's metadata tell the token URL.
    pub is_told: bool,
    /// The grant, where `--grant` or the profile names it.
    pub grant: Option<String>,
    /// The grants that may have got a token where none is named: the provider's first, and its fallback.
    pub usual_grants: Vec<String>,
    /// The grant that uses a refresh token: naming it contradicts no session.
    pub refresh_grant: Option<String>,
    /// Plain values given, and the default of the client.
    pub values: BTreeMap<String, String>,
    /// Non-personal secrets.
    pub secrets: BTreeMap<String, KnownSecret>,
    /// Lists, as [`Shape::lists`].
    pub lists: BTreeMap<String, Vec<String>>,
    /// The lists that a refresh can ask for anew; others are what its login asked for.
    pub refreshed: Vec<String>,
    /// As [`Shape::definition`].
    pub definition: String,
}

impl CurrentIdentity {
    /// These settings, as those that a token is got with now. `shape`: for an access token, got by this grant.
    pub fn belongs(&self, url: &str, grant: Option<&str>, shape: Option<&str>) -> TokenIdentity {
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
    /// With secrets that came from the store: what is got by them belongs to them.
    pub fn with_secrets<'s>(&self, secrets: impl IntoIterator<Item = (&'s str, &'s str)>) -> CurrentIdentity {
        let mut known = self.clone();
        for (name, text) in secrets {
            known.secrets.insert(name.into(), KnownSecret::Text(Secret::new(text)));
        }
        known
    }

    /// What an access token belongs to that `session` got by `grant`: all that the session belongs to, and what is
    /// known now besides. The caller has made sure that neither contradicts the other.
    pub fn joined(&self, session: &TokenIdentity, grant: &str) -> TokenIdentity {
        let mut belongs = session.clone();
        for (name, value) in &self.values {
            belongs.values.insert(name.clone(), value.clone());
        }
        for (name, secret) in &self.secrets {
            belongs.secrets.insert(name.clone(), secret_digest(&belongs.salt, name, secret));
        }
        belongs.asked = None;
        belongs.others.clear();
        belongs.shape =
            Some(Shape { lists: self.lists.clone(), definition: self.definition.clone(), grant: grant.into() });
        belongs
    }
}

fn secret_digest(salt: &str, name: &str, secret: &KnownSecret) -> String {
    let (sort, text) = match secret {
        KnownSecret::Text(text) => ("is", text.expose()),
        KnownSecret::Reference(text) => ("from", text.as_str()),
    };
    format!("{sort}:{}", digest::hex(&[salt.as_bytes(), name.as_bytes(), text.as_bytes()]))
}

impl TokenIdentity {
    /// Whether the token URL of now is where its issuer has moved the one of then: below the same origin.
    fn has_moved_to(&self, url: &str, now: &CurrentIdentity) -> bool {
        let issuer = self.values.get("issuer");
        let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
        now.is_told && issuer.is_some() && issuer == now.values.get("issuer") && origin(url) == origin(&self.url)
    }

    /// The setting of now that contradicts these, if one does; what is not known now contradicts nothing.
    pub fn contradiction(&self, now: &CurrentIdentity) -> Option<String> {
        if let Some(url) = &now.url
            && *url != self.url
            && !self.has_moved_to(url, now)
        {
            return Some(format!("the token URL (kept for {}, now {})", shown(&self.url), shown(url)));
        }
        if let (Some(grant), Some(was)) = (&now.grant, &self.grant)
            && grant != was
            && now.refresh_grant.as_ref() != Some(grant)
        {
            return Some(format!("the grant (kept for {was}, now {grant})"));
        }
        for (name, value) in &now.values {
            match self.values.get(name) {
                Some(was) if was != value => {
                    return Some(format!("{name} (kept for {}, now {})", shown(was), shown(value)));
                }
                // A refresh token is for whatever its login did not say; an access token was shaped by it.
                None if self.shape.is_some() => return Some(format!("{name} (kept without, now {})", shown(value))),
                _ => {}
            }
        }
        for (name, secret) in &now.secrets {
            if self.secrets.get(name).is_some_and(|was| *was != secret_digest(&self.salt, name, secret)) {
                return Some(format!("{name} (another than the one it was got with)"));
            }
        }
        if self.apart {
            let unknown = |name: &&String| !now.values.contains_key(*name) && !now.secrets.contains_key(*name);
            if let Some(name) = self.values.keys().chain(self.secrets.keys()).find(unknown) {
                return Some(format!("{name} (given for that call alone)"));
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
        // Where no grant is named, a weaker one run on request must not answer.
        let usual = |grant: &String| now.usual_grants.contains(grant);
        if now.grant.is_none() && self.grant.as_ref().is_some_and(|g| !usual(g)) {
            return self.grant.as_ref().map(|was| format!("the grant (kept for {was})"));
        }
        None
    }
}

impl TokenIdentity {
    /// Whether these name no plain value that is not given now.
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
        let kept =
            known(&[("client_id", "c"), ("username", "u")]).belongs("https://a.example/token", Some("secret"), None);
        assert_eq!(kept.contradiction(&known(&[("client_id", "c"), ("username", "u")])), None);
        assert_eq!(kept.contradiction(&known(&[])), None, "what is not given contradicts nothing");
        assert_eq!(kept.contradiction(&known(&[("audience", "x")])), None);
        assert!(kept.contradiction(&known(&[("username", "v")])).is_some_and(|w| w.starts_with("username")));
        let elsewhere = CurrentIdentity { url: Some("https://b.example/token".into()), ..known(&[]) };
        assert!(kept.contradiction(&elsewhere).is_some());
        let named =
            |grant: &str| CurrentIdentity { grant: Some(grant.into()), refresh_grant: Some("refresh".into()), ..known(&[]) };
        assert_eq!(kept.contradiction(&named("secret")), None);
        assert_eq!(kept.contradiction(&named("refresh")), None);
        assert!(kept.contradiction(&named("other")).is_some());
        let lists = |name: &str, refreshed: &[&str]| CurrentIdentity {
            lists: [(name.to_string(), vec!["a".to_string()])].into(),
            refreshed: refreshed.iter().map(|name| name.to_string()).collect(),
            ..known(&[])
        };
        assert_eq!(kept.contradiction(&lists("audience", &["scope"])), Some("audience".into()));
        assert_eq!(kept.contradiction(&lists("scope", &["scope"])), None);
        let imported = TokenIdentity { grant: None, ..kept };
        assert_eq!(imported.contradiction(&named("other")), None);
    }

    #[test]
    fn a_secret_is_compared_where_both_are_known() {
        let with = |text: &str| CurrentIdentity {
            secrets: [("s".to_string(), KnownSecret::Text(Secret::new(text)))].into(),
            ..known(&[])
        };
        let kept = with("one").belongs("https://a.example/token", None, None);
        assert!(!kept.secrets["s"].contains("one"));
        assert_eq!(kept.contradiction(&with("one")), None);
        assert_eq!(kept.contradiction(&known(&[])), None);
        assert!(kept.contradiction(&with("two")).is_some());
    }

    #[test]
    fn what_was_got_apart_answers_only_the_same_settings() {
        let given = known(&[("username", "v")]);
        let mut kept = given.belongs("https://a.example/token", Some("secret"), Some("secret"));
        assert_eq!(kept.contradiction(&known(&[])), None);
        kept.apart = true;
        assert!(kept.contradiction(&known(&[])).is_some());
        assert_eq!(kept.contradiction(&given), None);
    }

    #[test]
    fn an_access_token_belongs_to_its_scopes_and_definition_too() {
        let scoped = |scopes: &[&str]| CurrentIdentity {
            lists: [("scope".to_string(), scopes.iter().map(|s| s.to_string()).collect())].into(),
            ..known(&[])
        };
        let kept = scoped(&["a"]).belongs("https://a.example/token", Some("secret"), Some("secret"));
        assert_eq!(kept.contradiction(&scoped(&["a"])), None);
        assert!(kept.contradiction(&scoped(&["a", "b"])).is_some());
        assert!(kept.contradiction(&known(&[])).is_some());
        assert!(kept.contradiction(&CurrentIdentity { definition: "e".into(), ..scoped(&["a"]) }).is_some());
        assert!(kept.contradiction(&CurrentIdentity { usual_grants: vec![], ..scoped(&["a"]) }).is_some());
    }
}
