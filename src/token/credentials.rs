//! What the store holds for a profile: its session and its stored secrets, as one JSON object. Pure.

use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::token::identity::TokenIdentity;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A refresh token and the settings it was obtained with.
#[derive(Clone, Debug)]
pub struct Session {
    /// The refresh token.
    pub refresh_token: Secret,
    /// The settings it was obtained with.
    pub identity: TokenIdentity,
    /// The time of the login, in seconds since 1970: a refresh token's lifetime may count from it.
    pub since: i64,
    /// Who logged in, as the ID token of the login says (`sub`); a refresh must not change it (OIDC Core §12.2).
    pub subject: Option<String>,
    /// What its login found that later requests need, by name.
    pub values: BTreeMap<String, Secret>,
}

/// A state folder, as named in an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Folder {
    /// Its path, without links.
    pub path: String,
    /// The number of the device that it is on.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
}

/// What the journal of an entry's refreshes is sealed with; another after each change of the entry.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalKey {
    /// 32 bytes as lower-case hex.
    pub key: Zeroizing<String>,
    /// The journal's file that belonged to the entry before this one: what may be left of it can go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<String>,
}

impl std::fmt::Debug for JournalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalKey").finish_non_exhaustive()
    }
}

/// The entry of a profile.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The session, if there is one.
    pub session: Option<Session>,
    /// Stored secrets by the name of their value.
    pub secrets: BTreeMap<String, Secret>,
    /// The origin that the secrets were stored for: they are sent nowhere else.
    pub secrets_for: Option<String>,
    /// The client that they were stored for, if any: no other client uses them.
    pub secrets_client: Option<String>,
    /// The key that tokens are bound to (RFC 9449), as a private JWK.
    pub dpop_key: Option<Secret>,
    /// The state folder that it was created in, whose lock guards it.
    pub folder: Option<Folder>,
    /// What the journal of its refreshes is sealed with.
    pub journal: Option<JournalKey>,
    /// Unknown fields, unchanged: a newer build has written them.
    pub others: BTreeMap<String, Secret>,
}

/// The fields of an entry that are known here.
const FIELDS: [&str; 11] = [
    "refresh_token",
    "got_with",
    "since",
    "subject",
    "values",
    "secrets",
    "secrets_for",
    "secrets_client",
    "dpop_key",
    "state_folder",
    "journal",
];

/// The format in the store. The contract names `refresh_token` and `secrets`.
#[derive(Serialize, Deserialize)]
struct EntryWire<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    got_with: Option<TokenIdentity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, String>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secrets_for: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secrets_client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dpop_key: Option<String>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    state_folder: Option<std::borrow::Cow<'a, RawValue>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    journal: Option<std::borrow::Cow<'a, RawValue>>,
}

impl Credentials {
    /// Reads an entry.
    ///
    /// # Errors
    /// [`Kind::Store`] if tok has not written it; its text is not shown.
    pub fn parse(entry: &Secret) -> Result<Credentials> {
        let foreign =
            |place| Error::new(Kind::Store, "the secret store's entry for this profile was not written by tok", place);
        // serde would take an empty list for an object that has only optional fields.
        if !entry.expose().trim_start().starts_with('{') {
            return Err(foreign("not a JSON object".to_string()));
        }
        let wire: EntryWire = serde_json::from_str(entry.expose())
            // serde's message may quote a string; its place is enough.
            .map_err(|error| foreign(format!("line {}, column {}", error.line(), error.column())))?;
        let all: BTreeMap<String, &RawValue> = serde_json::from_str(entry.expose())
            .map_err(|error| foreign(format!("line {}, column {}", error.line(), error.column())))?;
        let secrets = |all: BTreeMap<String, String>| all.into_iter().map(|(n, s)| (n, Secret::new(s))).collect();
        let others = all.into_iter().filter(|(name, _)| !FIELDS.contains(&name.as_str()));
        let session = match (wire.refresh_token, wire.got_with) {
            (Some(token), Some(identity)) if !token.is_empty() => {
                let (since, subject) = (wire.since.unwrap_or(0), wire.subject);
                let values = secrets(wire.values);
                Some(Session { refresh_token: Secret::new(token), identity, since, subject, values })
            }
            // A token of unknown origin is sent nowhere.
            _ => None,
        };
        Ok(Credentials {
            session,
            secrets: secrets(wire.secrets),
            secrets_for: wire.secrets_for,
            secrets_client: wire.secrets_client,
            dpop_key: wire.dpop_key.map(Secret::new),
            // One that cannot be read counts as absent: the next change of the entry names another.
            folder: wire.state_folder.and_then(|folder| serde_json::from_str(folder.get()).ok()),
            // Likewise.
            journal: wire.journal.and_then(|journal| serde_json::from_str(journal.get()).ok()),
            others: others.map(|(name, text)| (name, Secret::new(text.get()))).collect(),
        })
    }

    /// The entry's text.
    pub fn write(&self) -> Secret {
        let texts = |all: &BTreeMap<String, Secret>| all.iter().map(|(n, s)| (n.clone(), s.expose().into())).collect();
        let wire = EntryWire {
            refresh_token: self.session.as_ref().map(|s| s.refresh_token.expose().into()),
            got_with: self.session.as_ref().map(|s| s.identity.clone()),
            since: self.session.as_ref().map(|s| s.since),
            subject: self.session.as_ref().and_then(|s| s.subject.clone()),
            values: self.session.as_ref().map(|s| texts(&s.values)).unwrap_or_default(),
            secrets: texts(&self.secrets),
            secrets_for: self.secrets_for.clone(),
            secrets_client: self.secrets_client.clone(),
            dpop_key: self.dpop_key.as_ref().map(|key| key.expose().to_string()),
            state_folder: self
                .folder
                .as_ref()
                .and_then(|folder| serde_json::value::to_raw_value(folder).ok())
                .map(std::borrow::Cow::Owned),
            journal: self
                .journal
                .as_ref()
                .and_then(|journal| serde_json::value::to_raw_value(journal).ok())
                .map(std::borrow::Cow::Owned),
        };
        let known = zeroize::Zeroizing::new(serde_json::to_string(&wire).unwrap_or_default());
        let Some(open) = known.strip_suffix('}').filter(|_| !self.others.is_empty()) else {
            return Secret::new(known.as_str());
        };
        // Byte for byte: only the writer knows what a number or an escape means. `secrets` is always present,
        // so a comma is right.
        // Allocated at once: a string that grows leaves copies of secrets behind.
        let room = self.others.iter().map(|(name, value)| name.len() * 6 + value.expose().len() + 4);
        let mut text = zeroize::Zeroizing::new(String::with_capacity(known.len() + room.sum::<usize>()));
        text.push_str(open);
        for (name, value) in &self.others {
            text.push(',');
            text.push_str(&serde_json::Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(value.expose());
        }
        text.push('}');
        Secret::new(text.as_str())
    }

    /// Whether nothing in it could obtain a token; a key alone cannot.
    pub fn is_empty(&self) -> bool {
        self.session.is_none() && self.secrets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let credentials = Credentials {
            session: Some(Session {
                refresh_token: Secret::new("r\"1"),
                identity: TokenIdentity { url: "https://a.example/t".into(), ..TokenIdentity::default() },
                since: 5,
                subject: Some("alice".into()),
                values: [("redirect_uri".to_string(), Secret::new("http://127.0.0.1:1/"))].into(),
            }),
            secrets: [("secret_key".to_string(), Secret::new("k"))].into(),
            secrets_for: Some("https://a.example".into()),
            secrets_client: Some("c".into()),
            dpop_key: None,
            folder: Some(Folder { path: "/home/a/.local/state/tok".into(), device: 66_306, inode: u64::MAX }),
            journal: Some(JournalKey { key: "00ff".to_string().into(), past: Some("p.1.journal".into()) }),
            others: BTreeMap::new(),
        };
        let back = Credentials::parse(&credentials.write()).expect("an entry");
        let session = back.session.expect("a session");
        assert_eq!((session.refresh_token.expose(), session.since), ("r\"1", 5));
        assert_eq!(session.subject.as_deref(), Some("alice"));
        assert_eq!(session.values["redirect_uri"].expose(), "http://127.0.0.1:1/");
        assert_eq!(session.identity.url, "https://a.example/t");
        assert_eq!(back.secrets["secret_key"].expose(), "k");
        assert_eq!((back.folder, back.journal), (credentials.folder, credentials.journal));
    }

    #[test]
    fn fields_of_a_newer_build_are_kept_as_they_stand() {
        let odd = r#"{ "n": 123456789012345678901234567890.10,  "x":[1,{"y":null}], "e":"\u00e9" }"#;
        let entry = format!(r#"{{"jo\"urnal": {odd}, "secrets":{{"k":"s"}}, "n":5}}"#);
        let mut credentials = Credentials::parse(&Secret::new(&entry)).expect("an entry");
        credentials.secrets.insert("l".into(), Secret::new("t"));
        let back = Credentials::parse(&credentials.write()).expect("an entry");
        assert_eq!(back.others["jo\"urnal"].expose(), odd);
        assert_eq!((back.others["n"].expose(), back.secrets.len()), ("5", 2));
    }

    #[test]
    fn an_entry_whose_folder_cannot_be_read_is_read_all_the_same() {
        for folder in ["null", "5", "{}", r#"{"path":"/x","device":-1,"inode":1}"#, r#""/x""#] {
            let entry = format!(r#"{{"secrets":{{"k":"s"}},"state_folder":{folder}}}"#);
            let credentials = Credentials::parse(&Secret::new(entry)).expect("an entry");
            assert_eq!(
                (credentials.folder, credentials.secrets.len(), credentials.others.len()),
                (None, 1, 0),
                "{folder}"
            );
            let entry = format!(r#"{{"secrets":{{"k":"s"}},"journal":{folder}}}"#);
            let credentials = Credentials::parse(&Secret::new(entry)).expect("an entry");
            assert_eq!(
                (credentials.journal, credentials.secrets.len(), credentials.others.len()),
                (None, 1, 0),
                "{folder}"
            );
        }
    }

    #[test]
    fn a_foreign_entry_is_told_without_its_text() {
        for text in ["", "hunter2", "[]", "{\"secrets\":\"hunter2\"}", "{\"refresh_token\":5}"] {
            let error = Credentials::parse(&Secret::new(text)).expect_err("not ours");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(Credentials::parse(&Secret::new("{\"refresh_token\":\"x\"}")).expect("an object").session.is_none());
    }
}
