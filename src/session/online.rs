//! `tok status --online`: what the store holds now, and what the provider says of it. Nothing is renewed.

use crate::base::error::{Kind, kind};
use crate::host::Host;
use crate::oauth::reply::value;
use crate::oauth::request;
use crate::profile::Profile;
use crate::session::question::{self, About, Question};
use crate::session::{api, guard, journal, open_store::OpenStore, status};
use crate::storage::cache::Cache;
use crate::storage::choice::StoreChoice;
use crate::storage::index::{Index, IndexEntry, Refusal};
use crate::token::Token;
use crate::token::credentials::Session;
use crate::token::freshness::{MinTtl, freshness};
use anyhow::Result;
use std::time::{Duration, Instant};

/// How long one server is waited for.
pub const LIMIT: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// What the index says now.
    pub noted: Option<IndexEntry>,
    /// What the provider says against the token that is cached.
    pub against: Option<String>,
    /// Why the provider could not be reached.
    pub away: Option<String>,
}

/// Looks into the store of `profile` unless its session is `elsewhere`, asks the provider, and notes what came of both:
/// under the profile's lock, as a renewal would.
///
/// # Errors
/// [`Kind::Unavailable`] where another process keeps the lock; [`Kind::Store`] where an unfinished refresh cannot be
/// stored.
pub fn look(host: &mut Host, profile: &mut Profile, elsewhere: bool) -> Result<Seen> {
    let state = host.folders()?.state.clone();
    let _lock = match guard::lock(host, &state, &profile.name) {
        // Where nothing can be written, nothing can be noted either.
        Err(error) if error.kind == Kind::Other => None,
        lock => Some(lock?),
    };
    let own = host.folders().ok().filter(|_| profile.cache).map(|folders| Cache::new(folders.cache(&profile.name)));
    let mut opened = match elsewhere || profile.store == StoreChoice::None {
        true => OpenStore::nothing(),
        false => OpenStore::open(host, profile),
    };
    opened.follow(host, &profile.name)?;
    let cache = opened.cache_elsewhere(&profile.name).filter(|_| own.is_some()).or(own);
    journal::recover(host, profile, &mut opened, cache.as_ref())?;
    let mut seen = Seen { noted: Index::of(host.folders().ok(), &profile.name).read(), ..Seen::default() };
    if !elsewhere && profile.store != StoreChoice::None {
        seen.noted = status::note_looked(host, profile, &opened);
    }
    let whole = host.clock.deadline;
    host.clock.deadline = whole.min(Instant::now() + LIMIT);
    ask(host, profile, &mut opened, cache.as_ref(), &mut seen);
    host.clock.deadline = whole;
    // Who is renewing it is not kept in the index.
    let renewing = seen.noted.as_ref().and_then(|noted| noted.renewing.clone());
    let noted = Index::of(host.folders().ok(), &profile.name).read();
    seen.noted = noted.map(|noted| IndexEntry { renewing, ..noted }).or(seen.noted);
    Ok(seen)
}

/// Asks the provider what it knows of the session and of the cached token, or its API, or only whether it is there.
fn ask(host: &mut Host, profile: &mut Profile, opened: &mut OpenStore, cache: Option<&Cache>, seen: &mut Seen) {
    let now = host.clock.now().secs();
    let token = profile.known().ok().zip(cache).and_then(|(known, cache)| cache.find(&known)).map(|(_, token)| token);
    let token = token.filter(|t| freshness(t.received.secs(), t.expires, now, MinTtl::Asked(0)).is_ok());
    let session = opened.credentials.session.clone();
    // Where the one cannot be asked about, the other cannot be either.
    let (mut is_answered, mut is_asked) = (false, false);
    let takes_session = profile.provider.introspect.as_ref().is_some_and(|c| c.names().contains_key("refresh_token"));
    if let Some(session) = session.filter(|_| takes_session) {
        is_asked = true;
        if let Some(active) = introspect(host, profile, opened, &About::Session(&session), seen) {
            is_answered = true;
            note_active(host, profile, opened, &session, active);
        }
    }
    if let Some(token) = token.filter(|_| seen.away.is_none()) {
        let active = match is_asked && !is_answered {
            true => None,
            false => introspect(host, profile, opened, &About::Access(&token), seen),
        };
        match active {
            Some(true) => is_answered = true,
            Some(false) => {
                is_answered = true;
                host.terminal.detail(&format!("{}: the server says that the cached token is not active", profile.name));
                if let Some(cache) = cache {
                    cache.drop_tokens(Some(token.access_token.expose()));
                }
            }
            None if seen.away.is_none() => is_answered |= present(host, profile, opened, &token, seen),
            None => {}
        }
    }
    if !is_answered && seen.away.is_none() {
        reach(host, profile, seen);
    }
}

/// Notes whether the server calls the refresh token of `session` active. The session stays: only a refusal ends it, and
/// many servers call each refresh token inactive, as they look at access tokens alone (RFC 7662 §2.1 leaves it to them).
fn note_active(host: &Host, profile: &Profile, opened: &OpenStore, session: &Session, active: bool) {
    let grant = profile.provider.refresh_grant().filter(|_| !active);
    let refusal = grant.map(|grant| Refusal {
        grant: grant.name.clone(),
        ended: false,
        why: status::INACTIVE.into(),
        at: host.clock.now().secs(),
        identity: Some(session.identity.clone()),
    });
    for index in opened.indexes(host, &profile.name) {
        index.update(|entry| {
            let before = entry.refusal.take().filter(|refusal| refusal.why != status::INACTIVE);
            entry.refusal = refusal.clone().or(before);
            if active {
                entry.known_active = Some(session.identity.clone());
            }
        });
    }
}

/// Whether the server calls a token active (RFC 7662); `None` where it cannot be asked or does not say.
fn introspect(
    host: &mut Host,
    profile: &mut Profile,
    opened: &OpenStore,
    about: &About,
    seen: &mut Seen,
) -> Option<bool> {
    match question::ask(host, profile, &opened.credentials, Question::Introspection, about) {
        Ok(object) => value::member(&object, "active").and_then(value::flag),
        Err(error) => {
            failed(host, profile, &error, seen);
            None
        }
    }
}

/// Shows the token to its API, or asks whose it is: whether there was an answer.
fn present(host: &mut Host, profile: &mut Profile, opened: &OpenStore, token: &Token, seen: &mut Seen) -> bool {
    let answer = if profile.value("resource").is_some() {
        api::check(host, profile, token).map(drop)
    } else if token.id_token.is_some() && profile.provider.userinfo.is_some() {
        question::ask(host, profile, &opened.credentials, Question::Userinfo, &About::Access(token)).map(drop)
    } else {
        return false;
    };
    match answer {
        Ok(()) => true,
        Err(error) if kind(&error) == Kind::Refused => {
            seen.against = Some(format!("{error:#}"));
            true
        }
        Err(error) => {
            failed(host, profile, &error, seen);
            false
        }
    }
}

/// Whether the server that issues the tokens answers at all: a request without any value.
fn reach(host: &mut Host, profile: &Profile, seen: &mut Seen) {
    let Ok(values) = profile.known_values() else { return };
    let url = profile.session_url(&values).or_else(|| values.get("issuer").map(|issuer| issuer.to_string()));
    let Some(url) = url else { return };
    let request = request::get(&url, request::JSON, profile.ca_file.as_deref());
    if let Err(error) = host.send(&request) {
        failed(host, profile, &error.into(), seen);
    }
}

/// One that cannot be reached is told; why else nothing is known is said with `-v`.
fn failed(host: &mut Host, profile: &Profile, error: &anyhow::Error, seen: &mut Seen) {
    match kind(error) {
        Kind::Unavailable => seen.away = Some(format!("{error:#}")),
        _ => host.terminal.detail(&format!("{}: {error:#}", profile.name)),
    }
}
