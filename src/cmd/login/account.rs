//! Another account: a login that would put another account in the place of the one that a profile holds.

use super::prompt;
use crate::base::error::{Error, Kind};
use crate::base::name::is_name;
use crate::base::text::escape_to;
use crate::base::url::Url;
use crate::cmd::Context;
use crate::host::Host;
use crate::oauth::request::{self, Values};
use crate::profile::{Profile, Source, Wishes};
use crate::session::open_store::{self, OpenStore};
use crate::session::registration;
use crate::session::revoke::{Revoked, revoke};
use crate::storage::cache::Cache;
use crate::storage::choice::StoreChoice;
use crate::storage::index::Index;
use crate::system::terminal::Echo;
use crate::token::Token;
use crate::token::credentials::Credentials;
use anyhow::Result;

/// The plain values that say whose an account is, besides where it is.
const NAMES: [&str; 3] = ["username", "client_id", "issuer"];

/// What a profile holds now: in the store of this call, else in the one that its index names.
pub(super) fn held(host: &Host, profile: &Profile, opened: &OpenStore) -> Credentials {
    if !opened.credentials.is_empty() {
        return opened.credentials.clone();
    }
    let noted = Index::of(host.folders().ok(), &profile.name).read().map(|entry| entry.store);
    let other = noted.filter(|store| !store.is_empty() && *store != profile.store.to_string());
    match other.and_then(|store| StoreChoice::parse(&store).ok()) {
        // The login replaces what that one keeps too.
        Some(choice) => OpenStore::open_as(host, &profile.name, &choice).credentials,
        None => Credentials::default(),
    }
}

/// What of the account of this login differs from that of `held`, in words. What is not known on one side differs from
/// nothing.
pub(super) fn differs(host: &Host, profile: &Profile, held: &Credentials) -> Option<String> {
    let known = profile.known().ok()?;
    let session = held.session.as_ref();
    let shown = |text: &str| escape_to(text, 120);
    for name in NAMES {
        let of_session = session.and_then(|session| session.identity.values.get(name));
        let of_secrets = held.secrets_client.as_ref().filter(|_| name == "client_id" && !held.secrets.is_empty());
        let Some(now) = known.values.get(name) else { continue };
        // A client that `tok` has registered is no account.
        let is_own = |was: &str| {
            let issuer = session.and_then(|session| session.identity.values.get("issuer"));
            let is_new = matches!(profile.given.get(name).map(|given| &given.source), Some(Source::Registration(_)));
            name == "client_id"
                && (is_new || issuer.is_some_and(|issuer| registration::is_registered(host, profile, issuer, was)))
        };
        let differs = |was: &&String| normal(was) != normal(now) && is_source_kept(profile, name, was) && !is_own(was);
        if let Some(was) = of_session.into_iter().chain(of_secrets).find(differs) {
            return Some(format!("{name} was {}, and is now {}", shown(was), shown(now)));
        }
    }
    let now = profile.value("base_url").map(|url| normal(&url))?;
    let path = known.url.as_deref().map(normal)?.strip_prefix(now.as_str())?.to_string();
    let origin = open_store::origin(&now)?;
    // Where the path behind it is another now, and of secrets, no more than the origin is known.
    let of_session = session.and_then(|session| match base_of(&session.identity.url, &path) {
        Some(was) => Some(was).filter(|was| *was != now),
        None => open_store::origin(&session.identity.url).filter(|was| *was != origin),
    });
    let of_secrets = held.secrets_for.clone().filter(|was| !held.secrets.is_empty() && *was != origin);
    let was = of_session.or(of_secrets).filter(|was| is_source_kept(profile, "base_url", was))?;
    Some(format!("base_url was {}, and is now {}", shown(&was), shown(&now)))
}

/// Whether the value `was` came from what is still there: the config, or the provider's default. One that came from the
/// environment was never this profile's own.
fn is_source_kept(profile: &Profile, name: &str, was: &str) -> bool {
    let mut names = profile.provider.closure([(name.to_string(), false)].into());
    names.insert(name.to_string(), false);
    if names.keys().any(|name| profile.config.values.contains_key(name)) {
        return true;
    }
    let mut defaults = Values::new();
    let filled = request::defaults(&profile.provider, &mut defaults, &|_| false);
    // Of secrets no more than the origin is known.
    let is_same = |default: &str| normal(default) == normal(was) || open_store::origin(default).as_deref() == Some(was);
    filled.is_ok() && defaults.get(name).is_some_and(|default| is_same(default))
}

/// The base URL of a kept token URL: what stands before `path`, which follows the base URL of now.
fn base_of(url: &str, path: &str) -> Option<String> {
    normal(url).strip_suffix(path).map(str::to_string)
}

/// One form of a value: of a URL its origin is, and a slash at its end is left out.
fn normal(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) => format!("{}{}", url.origin(), url.rest.trim_end_matches('/')),
        Err(_) => text.to_string(),
    }
}

/// What a person wants done about it.
pub(super) enum Wish {
    /// Keep the new account under this name.
    Keep(String),
    /// Replace the old one.
    Replace,
}

/// Asks a person on a terminal; without one it is an error.
///
/// # Errors
/// [`Kind::LoginNeeded`], naming what differs and both ways out.
pub(super) fn ask(host: &mut Host, profile: &Profile, differs: &str, again: &str) -> Result<Wish> {
    let name = &profile.name;
    let what = format!("{name} is logged in to another account");
    if !host.terminal.interactive {
        return Err(Error::new(Kind::LoginNeeded, what, format!("{differs}; nothing was sent"))
            .hint(format!("keep both with --as NAME, or replace the old one: {again} --replace"))
            .into());
    }
    host.terminal.tell(&format!("{what}: {differs}"));
    let cancelled = || Error::new(Kind::LoginNeeded, "login cancelled", "nothing was changed");
    for _ in 0..TRIES {
        let label = "Keep both under a new name (k), replace the old one (r) or cancel (c)";
        let answer = host.ask(label, Echo::On)?;
        match answer.as_ref().map(|answer| answer.expose().trim().to_ascii_lowercase()).as_deref() {
            Some("k" | "keep") => {
                let label = format!("Name of the new profile, such as {name}-2");
                let Some(answer) = host.ask(&label, Echo::On)? else { continue };
                match answer.expose().trim() {
                    new if is_name(new) && new != name => return Ok(Wish::Keep(new.to_string())),
                    _ => host.terminal.tell("a name is lower-case letters, digits and `-`, at most 63, and a new one"),
                }
            }
            Some("r" | "replace") => return Ok(Wish::Replace),
            Some("c" | "cancel") => break,
            _ => {}
        }
    }
    Err(cancelled().into())
}

/// How often an answer may be none of those offered.
const TRIES: usize = 3;

/// The session that a login has replaced, to be revoked where it was got.
pub(super) struct Replaced {
    profile: Profile,
    kept: Credentials,
    tokens: Vec<Token>,
}

impl Replaced {
    /// That of `profile`, with the values that it was got with.
    pub(super) fn of(context: &Context, profile: &Profile, kept: Credentials, opened: &OpenStore) -> Result<Replaced> {
        let wishes = Wishes { provider: Some(profile.provider.name.clone()), ..Wishes::default() };
        let mut old = Profile::resolve(context.host, &context.setup, &profile.name, &wishes)?;
        if let Some(session) = &kept.session {
            for name in NAMES {
                if let Some(was) = session.identity.values.get(name).filter(|_| old.param(name).is_some()) {
                    old.given.insert(name.into(), prompt::kept_value(was));
                }
            }
            let values = old.known_values()?;
            let path = old.session_url(&values).zip(old.value("base_url"));
            let path = path.and_then(|(url, base)| normal(&url).strip_prefix(&normal(&base)).map(str::to_string));
            if let Some(base) = path.and_then(|path| base_of(&session.identity.url, &path)) {
                old.given.insert("base_url".into(), prompt::kept_value(&base));
            }
        }
        let own = Cache::new(context.host.folders()?.cache(&profile.name));
        let tokens = std::iter::once(own).chain(opened.cache_elsewhere(&profile.name)).flat_map(|cache| cache.all());
        Ok(Replaced { tokens: tokens.collect(), profile: old, kept })
    }

    /// Revokes it. A failure is said: the login has worked.
    pub(super) fn revoke(mut self, host: &mut Host, new: &Credentials) {
        // Another name of the same session is not ended.
        let token = |kept: &Credentials| kept.session.as_ref().map(|session| session.refresh_token.clone());
        if token(&self.kept).is_some() && token(&self.kept) == token(new) {
            return;
        }
        let why = match revoke(host, &mut self.profile, &self.kept, &self.tokens) {
            Revoked::Yes | Revoked::Nothing => return,
            Revoked::Cannot => format!("{} has no revocation endpoint", self.profile.provider.name),
            Revoked::Failed(error) => error.to_string(),
        };
        host.terminal.warn(&format!("{}: the old session was replaced, but not revoked: {why}", self.profile.name));
    }
}

/// A login whose ID token is for another subject than the session that the profile holds: the new session is revoked,
/// and this is the error.
pub(super) fn other_subject(
    host: &mut Host,
    profile: &mut Profile,
    (was, now): (&str, &str),
    new: (Credentials, Option<Token>),
    again: &str,
) -> Error {
    let (kept, token) = new;
    let revoked = match revoke(host, profile, &kept, token.as_slice()) {
        Revoked::Yes => "the new session was revoked".to_string(),
        Revoked::Nothing => "there was nothing to revoke".to_string(),
        Revoked::Cannot => format!("the new session was not revoked, as {} cannot", profile.provider.name),
        Revoked::Failed(error) => format!("the new session was not revoked: {error}"),
    };
    let (was, now) = (escape_to(was, 80), escape_to(now, 80));
    let why = format!("the ID token's sub was {was}, and is now {now}; nothing was kept, and {revoked}");
    Error::new(Kind::LoginNeeded, format!("{} is logged in to another account", profile.name), why)
        .hint(format!("keep both with --as NAME, or replace the old one: {again} --replace"))
}
