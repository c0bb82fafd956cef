//! What a login keeps: the session, secrets, the cached token and the index.

use super::ask::Attempt;
use crate::base::secret::Secret;
use crate::cmd::Context;
use crate::host::Host;
use crate::oauth::reply::Issued;
use crate::profile::{Profile, Source};
use crate::provider::Grant;
use crate::session::acquire::{self, Wanted};
use crate::session::inputs::Inputs;
use crate::session::journal::{self, Record};
use crate::session::limits;
use crate::session::open_store::{self, OpenStore};
use crate::session::refresh;
use crate::session::status;
use crate::session::{issued, kept};
use crate::storage::cache::Cache;
use crate::storage::choice::StoreChoice;
use crate::storage::index::Index;
use crate::token::credentials::{Credentials, Session};
use crate::token::identity::CurrentIdentity;
use crate::token::{Expires, Token};
use anyhow::Result;

/// A login that the provider has granted.
pub(super) struct Login<'a> {
    pub profile: &'a Profile,
    pub grant: &'a Grant,
    /// It began with a refresh token from elsewhere or from the store.
    pub is_refresh: bool,
    /// That refresh token.
    pub used: Option<Secret>,
    /// It takes the place of another account.
    pub replaces: bool,
    /// `--keep`
    pub keep: bool,
    /// The settings in force, with the secrets that came from the store.
    pub known: CurrentIdentity,
    /// What was sent.
    pub inputs: Inputs,
    /// What names its session.
    pub url: String,
    pub issued: Issued,
    /// Its ID token was verified.
    pub verified: bool,
}

impl Login<'_> {
    /// The grant that the session begins with: a refresh token from elsewhere says nothing of it.
    pub(super) fn began_with(&self) -> Option<&str> {
        (!self.is_refresh).then_some(self.grant.name.as_str())
    }

    /// The token as it waits.
    pub(super) fn token(&self) -> Result<Token> {
        let identity = self.known.identity(&self.url, self.began_with(), Some(&self.grant.name));
        let mut token = issued::cached(self.profile, self.grant, &self.issued, identity, &self.inputs)?;
        if let Some(id) = &mut token.id_token {
            id.verified = self.verified;
        }
        Ok(token)
    }

    /// Who a kept session is of, where this is that session going on.
    pub(super) fn subject_of(&self, old: &Credentials) -> Option<String> {
        let old = old.session.as_ref()?;
        if self.used.as_ref() == Some(&old.refresh_token) { old.subject.clone() } else { None }
    }

    /// What the store is to hold, where it held `old`. The session begins here, with this call's own state folder.
    pub(super) fn credentials(&self, old: &Credentials) -> Credentials {
        let provider = &self.profile.provider;
        let new = self.issued.refresh_token.as_ref().filter(|_| provider.refresh.is_some());
        // Where it was not rotated, the one that was handed in stays.
        let session = new.or(self.used.as_ref()).map(|refresh_token| Session {
            refresh_token: refresh_token.clone(),
            identity: self.known.identity(&self.url, self.began_with(), None),
            since: self.issued.received.secs(),
            subject: self.issued.id_token.as_ref().and_then(refresh::subject).or_else(|| self.subject_of(old)),
            values: kept::values(provider, &self.issued, &self.inputs),
        });
        let dpop_key = self.inputs.dpop_key.clone().or_else(|| old.dpop_key.clone());
        if self.is_refresh && !self.replaces {
            // It leaves the kept secrets as they are.
            return Credentials { session, dpop_key, folder: None, ..old.clone() };
        }
        let home = open_store::origin(&self.url);
        let is_fallback = provider.refresh.as_ref().and_then(|r| r.fallback.as_ref()) == Some(&self.grant.name);
        // A confidential client proves itself at each refresh too.
        let for_refresh = provider.refresh_grant().map(|refresh| provider.uses(refresh)).unwrap_or_default();
        let client = self.inputs.get("client_id").map(|id| id.to_string());
        let is_same = old.secrets_for == home && (old.secrets_client.is_none() || old.secrets_client == client);
        let mut secrets = if is_same { old.secrets.clone() } else { Default::default() };
        // A person's own goes with the person.
        secrets.retain(|name, _| !(self.replaces && provider.param(name).is_some_and(|param| param.personal)));
        for name in provider.uses(self.grant).into_keys() {
            let Some(param) = provider.param(&name).filter(|p| p.secret) else { continue };
            let needed = session.is_none() || is_fallback || for_refresh.contains_key(&name);
            let given = self.profile.given.get(&name).map(|g| &g.source);
            // A new one takes the place of the stored one, which is no longer valid.
            let has_changed =
                matches!(given, Some(Source::Flag | Source::Asked | Source::Registration(_) | Source::Login(_)))
                    && secrets.get(&name).is_some_and(|kept| self.inputs.get(&name) != Some(kept.expose()));
            if has_changed && param.personal && !self.keep {
                secrets.remove(&name);
            }
            let wanted = match given {
                Some(Source::Flag | Source::Asked | Source::Registration(_) | Source::Login(_)) => {
                    self.keep || ((needed || has_changed) && !param.personal)
                }
                // What came from the environment is not kept, unless that is asked for.
                Some(Source::Env(_) | Source::EnvFile(_)) => self.keep,
                _ => false,
            };
            if let (true, Some(value)) = (wanted, self.inputs.get(&name)) {
                secrets.insert(name, Secret::new(value));
            }
        }
        let (secrets_for, secrets_client) = if secrets.is_empty() { (None, None) } else { (home, client) };
        Credentials {
            session,
            secrets,
            secrets_for,
            secrets_client,
            dpop_key,
            others: old.others.clone(),
            ..Credentials::default()
        }
    }

    /// Cache and index after the store: a new login answers all questions of its profile.
    pub(super) fn cache_and_index(&self, context: &mut Context, opened: &OpenStore, token: &Token) -> Result<()> {
        let Login { profile, grant, .. } = self;
        if profile.cache {
            let cache = Cache::new(context.host.folders()?.cache(&profile.name));
            for old in std::iter::once(&cache).chain(&opened.cache_elsewhere(&profile.name)) {
                let _ = old.clear();
            }
            let wanted = Wanted { profile, known: &self.known, cache: Some(&cache) };
            acquire::put(context.host, &wanted, grant, token);
        }
        let before = Index::of(context.host.folders().ok(), &profile.name).read().map(|entry| entry.store);
        acquire::index(context.host, profile, opened, &self.issued);
        limits::forget_refusals(context.host, profile, &opened.indexes(context.host, &profile.name));
        // What an earlier login kept in another store is nobody's any more.
        if let Some(before) = before.filter(|b| !b.is_empty() && *b != profile.store.to_string())
            && let Ok(choice) = StoreChoice::parse(&before)
            && let Ok(Some(mut old)) = context.host.store(&choice, &profile.name)
            && old.forget(&profile.name).is_err()
        {
            context
                .host
                .terminal
                .warn(&format!("{}: the old entry in the {before} store could not be removed", profile.name));
        }
        Ok(())
    }

    /// Says what is now there.
    pub(super) fn report(&self, host: &mut Host, opened: &OpenStore) {
        let Login { profile, grant, .. } = self;
        let kept = match (&opened.credentials.session, opened.credentials.secrets.is_empty()) {
            (Some(_), true) => "the refresh token is kept",
            (Some(_), false) => "the refresh token and the secret are kept",
            (None, false) => "the secret is kept",
            (None, true) => "only the access token is kept",
        };
        let life = match self.issued.expires {
            Expires::At(at) => format!("expires {}", host.clock.local(at)),
            Expires::Never => "never expires".into(),
            Expires::Unknown => "expiry unknown".into(),
        };
        if profile.store == StoreChoice::None {
            host.terminal.warn(&format!("{}: {kept}: the store is none", profile.name));
        }
        let scopes = self.inputs.get("scope").unwrap_or_default();
        if self.issued.refresh_token.is_none() && scopes.split(' ').any(|scope| scope == "offline_access") {
            host.terminal.warn(&format!(
                "{}: the provider returned no refresh token although offline_access was requested; log in again when this token expires",
                profile.name
            ));
        }
        let place =
            if opened.credentials.is_empty() { String::new() } else { format!(" in the {} store", profile.store) };
        let id_token = self.issued.id_token.as_ref();
        let account = status::account(profile, id_token, None).map(|who| format!(" as {who}")).unwrap_or_default();
        host.terminal.tell(&format!(
            "logged in to {}{account} with {}: access token {life}; {kept}{place}; next: tok get {}",
            profile.provider.title, grant.name, profile.name
        ));
    }
}

/// Makes the journal ready for a login by the refresh token `used`: what a killed one leaves is finished by the next call.
///
/// # Errors
/// As [`journal::begin`].
pub(super) fn begin(
    host: &mut Host,
    attempt: &Attempt,
    inputs: &Inputs,
    opened: &mut OpenStore,
    used: &Secret,
) -> Result<Record> {
    let Attempt { profile, grant, .. } = *attempt;
    let known = inputs.known(profile, &profile.known()?);
    let url = profile.session_url(inputs.values()).unwrap_or_default();
    let old = opened.credentials.session.as_ref().filter(|old| old.refresh_token == *used);
    let session = Session {
        refresh_token: used.clone(),
        identity: known.identity(&url, None, None),
        since: host.clock.now().secs(),
        subject: old.and_then(|old| old.subject.clone()),
        values: old.map(|old| old.values.clone()).unwrap_or_default(),
    };
    let entry = Credentials { session: Some(session), dpop_key: inputs.dpop_key.clone(), ..opened.credentials.clone() };
    journal::begin(host, profile, opened, &entry, known.identity(&url, None, Some(&grant.name)))
}
