//! The entry of a store that many machines share: the session, who is renewing it, and the access tokens it brought, in
//! one object, so that they change together. Pure.

use super::credentials::Credentials;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most access tokens that an entry holds.
pub const MOST_TOKENS: usize = 4;

/// An entry that many machines share.
#[derive(Clone, Debug, Default)]
pub struct SharedEntry {
    /// What an entry of any store holds: session, stored secrets, fields of a newer build.
    pub credentials: Credentials,
    /// Which login the session began with: another random text after each.
    pub login: String,
    /// How often the refresh token has been renewed since.
    pub generation: u64,
    /// How often a non-interactive grant was run since.
    pub grants: u64,
    /// Which write this is, another random text each time: tells whether a write whose reply was lost was made.
    pub write: String,
    /// Who is renewing the session.
    pub lease: Option<Lease>,
    /// The access tokens that the session brought.
    pub access: Vec<SharedToken>,
    /// Why the session has ended, if it has.
    pub ended: Option<Ended>,
    /// The grant that the provider refused with the stored values of a person: no machine runs it again by itself.
    pub refused: Option<String>,
}

/// Who is renewing a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// Random text of this lease.
    pub id: String,
    /// The machine's name, for messages.
    pub host: String,
    /// The process there, for messages.
    pub pid: u32,
    /// How long it is valid after the last write of the entry, in seconds.
    pub seconds: u64,
}

/// Why and where a session has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ended {
    /// What the provider said, or that somebody logged out.
    pub why: String,
    /// The machine that found out, by name.
    pub host: String,
    /// When, in seconds since 1970 by that machine's clock: shown, never compared.
    pub at: i64,
}

/// An access token in the entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "SharedTokenWire", into = "SharedTokenWire")]
pub struct SharedToken {
    /// The token, as a file of the cache has it.
    pub token: Secret,
    /// How long it was valid when the entry was written, in seconds; `None`: it does not expire.
    pub left: Option<u64>,
}

/// [`SharedToken`] on the wire.
#[derive(Clone, Serialize, Deserialize)]
struct SharedTokenWire {
    token: serde_json::Value,
    left: Option<u64>,
}

impl From<SharedTokenWire> for SharedToken {
    fn from(wire: SharedTokenWire) -> SharedToken {
        SharedToken { token: Secret::new(wire.token.to_string()), left: wire.left }
    }
}

impl From<SharedToken> for SharedTokenWire {
    fn from(token: SharedToken) -> SharedTokenWire {
        let text = serde_json::from_str(token.token.expose()).unwrap_or_default();
        SharedTokenWire { token: text, left: token.left }
    }
}

impl SharedEntry {
    /// Reads an entry. One that a store of this machine alone held is one too: a session that was never renewed.
    ///
    /// # Errors
    /// As [`Credentials::parse`]; [`Kind::Store`] where a field of it has another form than tok writes.
    pub fn parse(entry: &Secret) -> Result<SharedEntry> {
        let mut credentials = Credentials::parse(entry)?;
        Ok(SharedEntry {
            login: take(&mut credentials, "login")?,
            generation: take(&mut credentials, "generation")?,
            grants: take(&mut credentials, "grants")?,
            write: take(&mut credentials, "write")?,
            lease: take(&mut credentials, "lease")?,
            access: take(&mut credentials, "access")?,
            ended: take(&mut credentials, "ended")?,
            refused: take(&mut credentials, "refused")?,
            credentials,
        })
    }

    /// The entry of a new login; nothing of an earlier session stays.
    pub fn begin(mut credentials: Credentials, login: String, write: String) -> SharedEntry {
        for name in ["login", "generation", "grants", "write", "lease", "access", "ended", "refused"] {
            credentials.others.remove(name);
        }
        SharedEntry { credentials, login, write, ..SharedEntry::default() }
    }

    /// The entry's text.
    pub fn text(&self) -> Secret {
        let mut credentials = self.credentials.clone();
        // Only a machine's own store has them: no lock and no file of one machine guards this entry.
        (credentials.folder, credentials.journal) = (None, None);
        put(&mut credentials, "login", &self.login);
        put(&mut credentials, "generation", &self.generation);
        if self.grants > 0 {
            put(&mut credentials, "grants", &self.grants);
        }
        put(&mut credentials, "write", &self.write);
        if let Some(lease) = &self.lease {
            put(&mut credentials, "lease", lease);
        }
        if !self.access.is_empty() {
            put(&mut credentials, "access", &self.access);
        }
        if let Some(ended) = &self.ended {
            put(&mut credentials, "ended", ended);
        }
        if let Some(refused) = &self.refused {
            put(&mut credentials, "refused", refused);
        }
        credentials.write()
    }

    /// The same, for a write `age` after this was written: each access token has that much less left, and one that has
    /// expired is gone. A write that keeps tokens starts their time anew.
    pub fn aged(&self, age: Duration) -> SharedEntry {
        let access = self.access.iter().filter_map(|token| {
            let left = match token.left {
                Some(left) => Some(left.checked_sub(age.as_secs() + u64::from(age.subsec_nanos() > 0))?),
                None => None,
            };
            (left != Some(0)).then(|| SharedToken { left, ..token.clone() })
        });
        SharedEntry { access: access.collect(), ..self.clone() }
    }
}

fn take<T: DeserializeOwned + Default>(credentials: &mut Credentials, name: &str) -> Result<T> {
    let Some(text) = credentials.others.remove(name) else { return Ok(T::default()) };
    serde_json::from_str(text.expose()).map_err(|_| {
        let what = "the secret store's entry for this profile was not written by tok";
        Error::new(Kind::Store, what, format!("its field {name} has another form"))
    })
}

fn put<T: Serialize>(credentials: &mut Credentials, name: &str, value: &T) {
    let text = zeroize::Zeroizing::new(serde_json::to_string(value).unwrap_or_default());
    credentials.others.insert(name.to_string(), Secret::new(text.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> SharedEntry {
        SharedEntry {
            login: "l1".into(),
            generation: 7,
            write: "w1".into(),
            lease: Some(Lease { id: "i".into(), host: "a".into(), pid: 5, seconds: 20 }),
            access: vec![
                SharedToken { token: Secret::new(r#"{"received":1,"access_token":"at"}"#), left: Some(90) },
                SharedToken { token: Secret::new("{}"), left: None },
            ],
            ended: Some(Ended { why: "dead".into(), host: "b".into(), at: 9 }),
            ..SharedEntry::default()
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let back = SharedEntry::parse(&entry().text()).expect("an entry");
        assert_eq!((back.login.as_str(), back.generation, back.write.as_str()), ("l1", 7, "w1"));
        assert_eq!((back.lease, back.ended), (entry().lease, entry().ended));
        assert_eq!(back.access[0].token.expose(), r#"{"received":1,"access_token":"at"}"#);
        assert_eq!((back.access[0].left, back.access[1].left), (Some(90), None));
        assert!(back.credentials.others.is_empty());
    }

    #[test]
    fn an_entry_of_one_machine_is_a_session_that_was_never_renewed() {
        let back = SharedEntry::parse(&Secret::new(r#"{"secrets":{},"x":[1]}"#)).expect("an entry");
        assert_eq!((back.generation, back.lease.is_none(), back.access.len()), (0, true, 0));
        assert_eq!(back.credentials.others["x"].expose(), "[1]");
    }

    #[test]
    fn a_field_of_another_form_is_named_and_not_shown() {
        for field in [r#""generation":"hunter2""#, r#""access":{"hunter2":1}"#, r#""lease":"hunter2""#] {
            let error = SharedEntry::parse(&Secret::new(format!(r#"{{"secrets":{{}},{field}}}"#))).expect_err("odd");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_token_has_less_left_the_older_the_entry_is() {
        let aged =
            |millis| entry().aged(Duration::from_millis(millis)).access.iter().map(|t| t.left).collect::<Vec<_>>();
        assert_eq!(aged(0), [Some(90), None]);
        assert_eq!(aged(88_001), [Some(1), None]);
        assert_eq!(aged(89_001), [None]);
        assert_eq!(aged(500_000), [None]);
    }
}
