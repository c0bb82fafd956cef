//! From a profile to a token: open the store, decide, ask the provider, keep what came. `cmd/get.rs` and
//! `cmd/login.rs` say when.

use crate::base::error::{Error, Kind};
use crate::base::jose::{Jwks, VerifyError};
use crate::base::secret::Secret;
use crate::host::Host;
use crate::oauth::id_token;
use crate::oauth::reply::Issued;
use crate::profile::Profile;
use crate::profile::discovery::Copies;
use crate::provider::{Flow, Grant};
use crate::session::explain::{Lack, login_needed};
use crate::session::grant;
use crate::session::inputs::Inputs;
use crate::session::journal;
use crate::session::limits;
use crate::session::open_store::{OpenStore, origin, store_error};
use crate::session::plan;
use crate::session::refresh;
use crate::session::shared::{self, By, Means};
use crate::session::status;
use crate::storage::cache::Cache;
use crate::storage::index::IndexEntry;
use crate::token::identity::CurrentIdentity;
use crate::token::{Expires, Token};
use anyhow::Result;

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// It waited on disk.
    Cache,
    /// A refresh.
    Refresh,
    /// Another grant.
    Grant,
}

/// What a token is requested for.
pub struct Wanted<'a> {
    /// The profile; what it needs of its issuer's metadata is known.
    pub profile: &'a Profile,
    /// The settings in force.
    pub known: &'a CurrentIdentity,
    /// Where access tokens wait; `None`: nowhere.
    pub cache: Option<&'a Cache>,
}

/// Gets a token from the provider: with the refresh token, else with a non-interactive grant. The caller holds the
/// profile's lock in its own state folder; where the session is guarded by another, its lock is taken here, and its
/// cache holds the session's tokens: one that `answers` at that time, in seconds since 1970, is taken. `no_store`:
/// neither read nor write the store.
///
/// # Errors
/// Each kind of the contract.
pub fn obtain(
    host: &mut Host,
    profile: &mut Profile,
    cache: Option<&Cache>,
    no_store: bool,
    answers: &dyn Fn(&Token, i64) -> bool,
) -> Result<(Token, TokenSource)> {
    let grant = profile.default_grant().clone();
    // A store that cannot hold anything useful is not opened: no keyring for client credentials from the environment.
    let self_sufficient = profile.provider.refresh.is_none() && lacks(profile, &grant, &|_| false).is_empty();
    let opens = !no_store && (!self_sufficient || shares(profile, &grant, cache));
    let mut opened = match opens {
        false => OpenStore::nothing(),
        true if lacks(profile, &grant, &|_| false).is_empty() => {
            OpenStore::open_briefly(host, profile, shared::PATIENCE)
        }
        true => OpenStore::open(host, profile),
    };
    opened.follow(host, &profile.name)?;
    // One that only shares tokens keeps nothing that is needed.
    if opens && !self_sufficient {
        status::note_store(host, profile, &opened);
    }
    if let Some(trouble) = &opened.trouble {
        // Files that others can read are an error, not a missing value.
        if profile.store == crate::storage::choice::StoreChoice::File {
            return Err(store_error(profile, trouble).into());
        }
    }
    let elsewhere = cache.and_then(|_| opened.cache_elsewhere(&profile.name));
    let finished = journal::recover(host, profile, &mut opened, elsewhere.as_ref().or(cache))?;
    if let Some(place) = elsewhere.as_ref().or(cache.filter(|_| finished)) {
        let known = profile.known()?;
        if let Some((_, token)) = place.find(&known).filter(|(_, token)| answers(token, host.clock.now().secs())) {
            return Ok((token, TokenSource::Cache));
        }
    }
    // Metadata is not fetched for endpoints that would not be used.
    let kept = |name: &str| opened.credentials.secrets.contains_key(name);
    let runs = !grant.flow.needs_person() && lacks(profile, &grant, &kept).is_empty();
    if runs || opened.credentials.session.is_some() {
        let refresh = profile.provider.refresh_grant().filter(|_| opened.credentials.session.is_some());
        let names = refresh.map(Grant::names).unwrap_or_else(|| grant.names());
        profile.discover(host, names, Copies::Allowed)?;
    }
    let known = profile.known()?;
    let wanted = Wanted { profile, known: &known, cache: elsewhere.as_ref().or(cache) };
    let obtained = obtain_with(host, &wanted, &grant, &mut opened, answers);
    if matches!(&obtained, Ok((_, source)) if *source != TokenSource::Cache) {
        limits::forget_refusals(host, profile, &opened.indexes(host, &profile.name));
    }
    if let (Ok((token, source)), false) = (&obtained, no_store)
        && *source != TokenSource::Cache
    {
        status::note_issued(host, profile, &opened, token.received.secs());
    }
    if let (Ok((token, _)), Some(own), Some(_)) = (&obtained, cache, &elsewhere) {
        // It is cached there only, where all calls find it; an older one here would be found first.
        own.drop_answers(&known, token.received.secs());
    }
    obtained
}

/// Whether machines share the token that `grant` brings. One that must not wait anywhere is not shared, and one that is
/// made here costs nobody a request.
fn shares(profile: &Profile, grant: &Grant, cache: Option<&Cache>) -> bool {
    profile.store.is_shared() && profile.shares_tokens && cache.is_some() && grant.flow != Flow::Signed
}

/// What `grant` lacks of the values given, apart from those that `kept` has and from endpoints that the issuer will
/// tell.
fn lacks(profile: &Profile, grant: &Grant, kept: &dyn Fn(&str) -> bool) -> Vec<String> {
    plan::missing(&profile.provider, grant, &|name| is_given(profile, name) || kept(name) || is_told(profile, name))
}

/// Whether the issuer would tell it, who has not been asked.
fn is_told(profile: &Profile, name: &str) -> bool {
    profile.metadata.is_none()
        && profile.param(name).is_some_and(|p| p.metadata.is_some())
        && profile.value("issuer").is_some()
}

fn is_given(profile: &Profile, name: &str) -> bool {
    name != "refresh_token" && profile.given.contains_key(name)
}

fn obtain_with(
    host: &mut Host,
    wanted: &Wanted,
    grant: &Grant,
    opened: &mut OpenStore,
    answers: &dyn Fn(&Token, i64) -> bool,
) -> Result<(Token, TokenSource)> {
    let profile = wanted.profile;
    let provider = &profile.provider;
    let url = profile.session_url(&profile.known_values()?);
    let secrets = opened.secrets_for(url.as_deref(), profile.value("client_id").as_deref());
    let secrets = &secrets;
    let means = |by| Means { by, secrets };
    let is_known = |name: &str| is_given(profile, name) || secrets.contains_key(name) || is_told(profile, name);
    let contradiction = contradiction(wanted, opened);
    if let Some(differs) = &contradiction {
        host.terminal.detail(&format!("{}: not using the session: it differs in {differs}", profile.name));
    }
    let situation = plan::Situation {
        provider,
        asked: profile.asked.as_deref(),
        configured: profile.config.grant.as_deref(),
        refresh_token: opened.credentials.session.is_some(),
        contradiction: contradiction.as_deref(),
        known: &is_known,
    };
    let mut step = plan::next(&situation);
    if step == plan::Step::Refresh {
        let refreshed = match profile.store.is_shared() {
            true => match provider.refresh_grant() {
                Some(refresh) => shared::obtain(host, wanted, opened, means(By::Refresh(refresh)), answers)?,
                None => None,
            },
            false => refresh::refresh(host, wanted, opened, secrets)?.map(|token| (token, TokenSource::Refresh)),
        };
        match refreshed {
            Some(found) => return Ok(found),
            None => {
                step = plan::after_death(&plan::Situation { refresh_token: false, ..situation });
                if let plan::Step::LoginNeeded(grant, _) = &step {
                    let why = match &opened.ended {
                        Some(ended) => shared::told(ended),
                        None => "the provider no longer accepts the refresh token".to_string(),
                    };
                    let error = Error::new(Kind::LoginNeeded, "the session has ended", why)
                        .hint(format!("run: tok login {} {}", profile.name, grant.name));
                    return Err(opened.bring_again(host, profile, error).into());
                }
            }
        }
    }
    match step {
        plan::Step::Run(grant) => {
            if shares(profile, grant, wanted.cache) && opened.is_usable() {
                let found = shared::obtain(host, wanted, opened, means(By::Grant(grant)), answers)?;
                if let Some(found) = found {
                    return Ok(found);
                }
            }
            let token = grant::run(host, wanted, grant, opened, secrets)?;
            Ok((token, TokenSource::Grant))
        }
        plan::Step::LoginNeeded(lacking, _) if let Some(ended) = opened.ended.clone() => {
            shared::note_ended(host, profile, opened);
            Err(Error::new(Kind::LoginNeeded, "the session has ended", shared::told(&ended))
                .hint(format!("run: tok login {} {}", profile.name, lacking.name))
                .into())
        }
        plan::Step::LoginNeeded(lacking, missing) => Err(match profile.not_offered(lacking, &missing) {
            Some(error) if lacking == grant => error,
            _ => {
                let lack = Lack {
                    grant: lacking,
                    missing: &missing,
                    contradiction: contradiction.as_deref(),
                    url: url.as_deref(),
                };
                let error = login_needed(host, profile, opened, &lack);
                // With other settings the session is another's.
                if contradiction.is_some() { error } else { opened.bring_again(host, profile, error) }
            }
        }
        .into()),
        // `after_death` has no refresh token to offer.
        plan::Step::Refresh => Err(Error::new(Kind::Other, "nothing to do", "").into()),
    }
}

/// What the session differs in from the settings in force.
pub fn contradiction(wanted: &Wanted, opened: &OpenStore) -> Option<String> {
    opened.credentials.session.as_ref().and_then(|session| session.identity.contradiction(wanted.known))
}

/// Verifies the ID token of `issued` against the issuer's keys (OIDC Core §3.1.3.7), and says whether it was: not
/// where issuer or keys are not known or cannot be had now. What needs no key is checked all the same.
///
/// # Errors
/// [`Kind::Reply`] where it is not to be trusted.
pub fn verify_id_token(
    host: &mut Host,
    profile: &Profile,
    token: &Secret,
    access_token: Option<&Secret>,
    inputs: &Inputs,
) -> Result<bool> {
    let value = |name: &str| inputs.get(name);
    let known = profile.issuer();
    let (Some(issuer), Some(client_id)) = (known.as_deref().or(value("issuer")), value("client_id")) else {
        return Ok(false);
    };
    let expected = id_token::ExpectedClaims {
        issuer,
        client_id,
        nonce: value("nonce"),
        access_token: access_token.map(Secret::expose),
        max_age: None,
        now: host.clock.now().secs(),
    };
    let refuse = |why: String| {
        Error::new(Kind::Reply, format!("the ID token of {issuer} cannot be trusted"), why)
            .hint("check this machine's clock, the issuer and client_id")
    };
    let unverified = || {
        let checked = id_token::check_unsigned(token.expose(), &expected);
        checked.map(|()| false).map_err(|why| refuse(why.to_string()))
    };
    let Some(url) = value("jwks_url").map(str::to_string).or_else(|| profile.value("jwks_url")) else {
        return Ok(unverified()?);
    };
    for copies in [Copies::Allowed, Copies::Refused] {
        let keys = match crate::profile::discovery::jwks(host, &url, profile.ca_file.as_deref(), copies) {
            Ok(keys) => keys,
            Err(error) => {
                host.terminal.detail(&format!("{}: ID token not verified: {error:#}", profile.name));
                return Ok(unverified()?);
            }
        };
        let keys = Jwks::parse(&keys).map_err(|why| refuse(format!("its keys cannot be read: {why}")))?;
        match id_token::check(token.expose(), &keys, &expected) {
            Ok(_) => return Ok(true),
            // The server may have changed its keys since.
            Err(id_token::Refused::Signature(VerifyError::NoKey | VerifyError::UnreadableKey))
                if copies == Copies::Allowed => {}
            Err(why) => return Err(refuse(why.to_string()).into()),
        }
    }
    Ok(false)
}

/// Caches the token, if it may be cached; always removes an older one.
pub fn put(host: &mut Host, wanted: &Wanted, grant: &Grant, token: &Token) {
    let Some(cache) = wanted.cache else { return };
    let now = token.received.secs();
    let waits = match token.expires {
        Expires::At(at) => at > now,
        Expires::Never => true,
        // Another one would need a person again.
        Expires::Unknown => wanted.profile.provider.is_personal(grant) || grant.flow.needs_person(),
    };
    if !waits {
        cache.drop_answers(wanted.known, now);
    } else if cache.put(wanted.known, token).is_none() {
        host.terminal
            .detail(&format!("{}: the token cannot be cached; the next call requests another", wanted.profile.name));
    }
}

/// Writes the index, so that `list` and `show` need not open a store.
pub fn index(host: &Host, profile: &Profile, opened: &OpenStore, issued: &Issued) {
    let session = opened.credentials.session.as_ref();
    let refresh_expires_at = session.and_then(|s| match issued.refresh_expires {
        Expires::At(at) => Some(at),
        Expires::Never => None,
        Expires::Unknown => {
            let grant = profile.provider.refresh_grant()?;
            grant.response.refresh_lifetime.map(|life| s.since.saturating_add(life))
        }
    });
    let note = |entry: &mut IndexEntry| {
        entry.provider = profile.provider.name.clone();
        entry.grant = session.and_then(|s| s.identity.grant.clone());
        entry.brought = session.is_some_and(|s| s.identity.grant.is_none());
        entry.store = profile.store.to_string();
        entry.refresh_token = session.is_some();
        (entry.refused, entry.refusal, entry.store_trouble) = (None, None, None);
        entry.issued_at = Some(host.clock.now().secs());
        let identity = session.map(|s| s.identity.clone());
        let before = entry.account.take().filter(|_| identity.is_some() && entry.identity == identity);
        entry.account = status::account(profile, issued.id_token.as_ref(), before);
        entry.identity = identity;
        entry.refresh_expires_at = refresh_expires_at;
        entry.secrets = opened.credentials.secrets.keys().cloned().collect();
        entry.origin = session.and_then(|s| origin(&s.identity.url)).or_else(|| opened.credentials.secrets_for.clone());
    };
    opened.indexes(host, &profile.name).iter().for_each(|index| index.update(note));
}

#[cfg(test)]
mod tests;
