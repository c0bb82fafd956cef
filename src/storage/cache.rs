//! Access tokens cached on disk: one private file per token, in a folder per profile. Anything wrong with one is a
//! miss, never an error.
//!
//! Beside them lie the heads: what `tok get PROFILE` resolved to last, and what it did with some options, with the
//! stamps of the files that decide it, so that the short path (`short.rs`) need not resolve it again.

use crate::base::header::is_header;
use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::storage::head::{CachedHead, HeadOf, Invocation, is_head};
use crate::system::files::{Dir, Durable, Numbers};
use crate::token::identity::{CurrentIdentity, TokenIdentity};
use crate::token::{Expires, is_token};
use crate::token::{IdToken, Token};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// How many levels the folder of a profile's tokens lies below `<state>/tok`, see [`Dir::open`].
const BELOW: usize = 2;
/// The longest entry, in bytes: a token of 64 KiB, twice (the header), and what else a reply brings.
const LIMIT: u64 = 4 << 20;

/// What the short path prints stands first and in this order: it reads no further.
#[derive(Serialize, Deserialize)]
struct TokenWire {
    /// Nanoseconds since 1970.
    received: i64,
    /// Seconds since 1970; absent: unknown.
    expires_at: Option<i64>,
    #[serde(default)]
    never_expires: bool,
    access_token: String,
    header_name: String,
    header_value: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    more_headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    query: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    id_token_verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dpop_key: Option<String>,
    provider: String,
    grant: String,
    token_type: Option<String>,
    scope: Option<String>,
    #[serde(default)]
    extra: Map<String, Value>,
    #[serde(rename = "belongs")]
    identity: TokenIdentity,
}

impl Token {
    /// Reads the file of one token; `None` if it is not one, or one that must not be handed out.
    pub fn parse(bytes: &[u8]) -> Option<Token> {
        let wire: TokenWire = serde_json::from_slice(bytes).ok()?;
        // The file is ours; a token in it that must not be handed out is an error nevertheless.
        let header = std::iter::once((&wire.header_name, &wire.header_value)).filter(|(name, _)| !name.is_empty());
        let mut headers = header.chain(wire.more_headers.iter().map(|(name, value)| (name, value)));
        if !is_token(&wire.access_token) || !headers.all(|(name, value)| is_header(name, value)) {
            return None;
        }
        Some(Token {
            provider: wire.provider,
            grant: wire.grant,
            access_token: Secret::new(wire.access_token),
            token_type: wire.token_type,
            scope: wire.scope,
            received: Time(wire.received),
            expires: match (wire.expires_at, wire.never_expires) {
                (Some(at), _) => Expires::At(at),
                (None, true) => Expires::Never,
                (None, false) => Expires::Unknown,
            },
            header: (wire.header_name, Secret::new(wire.header_value)),
            more_headers: secrets(wire.more_headers),
            query: secrets(wire.query),
            hosts: wire.hosts,
            id_token: wire.id_token.map(|text| IdToken { text: Secret::new(text), verified: wire.id_token_verified }),
            dpop_key: wire.dpop_key.map(Secret::new),
            extra: wire.extra,
            identity: wire.identity,
        })
    }

    /// The file's text.
    pub fn text(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let wire = TokenWire {
            received: self.received.0,
            expires_at: self.expires.at(),
            never_expires: self.expires == Expires::Never,
            access_token: self.access_token.expose().into(),
            header_name: self.header.0.clone(),
            header_value: self.header.1.expose().into(),
            more_headers: texts(&self.more_headers),
            query: texts(&self.query),
            hosts: self.hosts.clone(),
            id_token: self.id_token.as_ref().map(|id| id.text.expose().into()),
            id_token_verified: self.id_token.as_ref().is_some_and(|id| id.verified),
            dpop_key: self.dpop_key.as_ref().map(|key| key.expose().into()),
            provider: self.provider.clone(),
            grant: self.grant.clone(),
            token_type: self.token_type.clone(),
            scope: self.scope.clone(),
            extra: self.extra.clone(),
            identity: self.identity.clone(),
        };
        serde_json::to_vec(&wire).unwrap_or_default().into()
    }
}

fn secrets(pairs: Vec<(String, String)>) -> Vec<(String, Secret)> {
    pairs.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
}

fn texts(pairs: &[(String, Secret)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.clone(), value.expose().into())).collect()
}

/// The folder of one profile's tokens.
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in `folder`, which need not be there.
    pub fn new(folder: PathBuf) -> Cache {
        Cache { folder }
    }

    /// The profiles that have one below the state folder `state`.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn profiles(state: &Path) -> std::io::Result<Vec<String>> {
        let names = Dir::open(&state.join("cache"), BELOW - 1)?.names()?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// The folder, open, where it is there and all down to the tokens is ours alone: in others somebody may have put a
    /// token for us.
    fn open(&self) -> std::io::Result<Dir> {
        Dir::open(&self.folder, BELOW)
    }

    fn entries(&self) -> Vec<(TokenFile, Option<Token>)> {
        let Ok(dir) = self.open() else { return Vec::new() };
        let mut all = Vec::new();
        for name in dir.names().unwrap_or_default().into_iter().filter_map(|name| name.into_string().ok()) {
            if is_head(&name) || !name.ends_with(".json") {
                continue;
            }
            let read = dir.read_numbered(&name, LIMIT).ok().flatten();
            let (bytes, of) = read.map_or((None, None), |(bytes, of)| (Some(zeroize::Zeroizing::new(bytes)), Some(of)));
            all.push((TokenFile { name, of }, bytes.and_then(|bytes| Token::parse(&bytes))));
        }
        all
    }

    /// All tokens that can still be read.
    pub fn all(&self) -> Vec<Token> {
        self.entries().into_iter().filter_map(|(_, cached)| cached).collect()
    }

    /// The newest token that `known` does not contradict, and its file.
    pub fn find(&self, known: &CurrentIdentity) -> Option<(TokenFile, Token)> {
        self.entries()
            .into_iter()
            .filter_map(|(file, cached)| Some((file, cached?)))
            .filter(|(_, cached)| cached.identity.contradiction(known).is_none())
            .max_by_key(|(_, cached)| cached.received)
    }

    /// Takes `token` in, in the place of those that `known` does not contradict: they are older answers to the same
    /// question. The name of its file; `None` if it could not be written, which only costs time.
    pub fn put(&self, known: &CurrentIdentity, token: &Token) -> Option<String> {
        let old = self.answers(known, token.received.secs());
        let dir = Dir::make(&self.folder, BELOW).ok()?;
        // Tokens are put here under the profile's lock.
        dir.sweep();
        let name = old.first().cloned().unwrap_or_else(|| format!("{}.json", crate::base::digest::random(8)));
        dir.write(&name, &token.text(), Durable::No).ok()?;
        old.iter().filter(|n| **n != name).for_each(|n| self.remove(n));
        Some(name)
    }

    /// Deletes the tokens that `known` does not contradict, and those that can no longer be used.
    pub fn drop_answers(&self, known: &CurrentIdentity, now: i64) {
        self.answers(known, now).iter().for_each(|name| self.remove(name));
    }

    /// Deletes the token whose text is `named`; without it, all of them.
    pub fn drop_tokens(&self, named: Option<&str>) {
        for (TokenFile { name, .. }, cached) in self.entries() {
            if named.is_none_or(|named| cached.is_some_and(|token| token.access_token.expose() == named)) {
                self.remove(&name);
            }
        }
    }

    /// The files that [`Cache::put`] replaces; broken ones and expired ones of other settings are removed here.
    fn answers(&self, known: &CurrentIdentity, now: i64) -> Vec<String> {
        let mut answers = Vec::new();
        for (TokenFile { name, .. }, cached) in self.entries() {
            match cached {
                Some(cached) if cached.identity.contradiction(known).is_none() => answers.push(name),
                Some(cached) if cached.expires.at().is_none_or(|at| at > now) => {}
                _ => self.remove(&name),
            }
        }
        answers
    }

    fn remove(&self, name: &str) {
        let _ = self.open().and_then(|dir| dir.remove(name));
    }

    /// Deletes all tokens of the profile. Whether there were any.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn clear(&self) -> std::io::Result<bool> {
        let mut any = false;
        let dir = match Dir::open_to_clear(&self.folder, BELOW) {
            Ok(dir) => dir,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        for name in dir.names()? {
            match dir.remove(&name) {
                Ok(()) => any |= !name.to_str().is_some_and(is_head),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                // A folder, with something in it: it is none of ours.
                Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) => return Err(error),
            }
        }
        if let (Some(above), Some(name)) = (self.folder.parent(), self.folder.file_name()) {
            let _ = Dir::open_to_clear(above, BELOW - 1).and_then(|dir| dir.remove(name));
        }
        Ok(any)
    }

    /// Writes the head of `call` for the token in `file`. A failure costs time alone.
    pub fn put_head(&self, call: &mut Invocation<'_>, file: &TokenFile, answer: &HeadOf<'_>) {
        let Some(of) = file.of else { return };
        let head = CachedHead {
            build: crate::BUILD,
            call: &call.digest(&file.name),
            token: &file.name,
            of,
            min_ttl: answer.min_ttl,
            started: answer.started,
            stamps: answer.stamps,
        };
        if let Ok(text) = head.text()
            && let Ok(dir) = self.open()
        {
            let _ = dir.write(call.head(), &text, Durable::No);
        }
    }

    /// Removes the head of `call`.
    pub fn drop_head(&self, call: &Invocation<'_>) {
        self.remove(call.head());
    }
}

/// The file that a token was read from.
#[derive(Clone, Debug)]
pub struct TokenFile {
    name: String,
    /// The file as it was when the token was read; another may stand there by now, with a token for other settings.
    of: Option<Numbers>,
}
