//! The use of the stored refresh token: what may be lost by it, and what may end the session.

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::host::Host;
use crate::oauth::reply::Issued;
use crate::profile::{Profile, Value};
use crate::provider::Grant;
use crate::session::acquire::{Wanted, index, put};
use crate::session::exchange::{Asking, Outcome, ask_and_tell};
use crate::session::inputs::{For, Inputs, fill};
use crate::session::issued::cached;
use crate::session::journal::{self, Record};
use crate::session::kept;
use crate::session::limits;
use crate::session::open_store::{OpenStore, refresh_token, store_error};
use crate::session::status;
use crate::storage::index::Refusal;
use crate::token::credentials::{Credentials, Session};
use crate::token::identity::{CurrentIdentity, TokenIdentity};
use crate::token::{IdToken, Token};
use anyhow::Result;
use std::collections::BTreeMap;

/// Uses the stored refresh token. `None`: the server refused it, and it is deleted.
///
/// # Errors
/// Each kind of the contract.
pub fn refresh(
    host: &mut Host,
    wanted: &Wanted,
    opened: &mut OpenStore,
    secrets: &BTreeMap<String, Value>,
) -> Result<Option<Token>> {
    let profile = wanted.profile;
    let (Some(grant), Some(rules)) = (profile.provider.refresh_grant(), &profile.provider.refresh) else {
        return Ok(None);
    };
    // Twice at most: a token that another machine or program put there meanwhile is tried once.
    for _ in 0..2 {
        let begun = inputs(host, wanted, grant, &opened.credentials, secrets)?;
        let Some((session, inputs)) = begun else { return Ok(None) };
        // Everything that is needed after the reply: the store comes first then.
        let before = Before::of(wanted, grant, &session, &inputs);
        let identity = before.identity.clone();
        let entry = Credentials { dpop_key: inputs.dpop_key.clone(), ..opened.credentials.clone() };
        limits::take(host, profile, grant, &opened.indexes(host, &profile.name))?;
        let hold = crate::system::signals::hold(crate::system::signals::Stake::Session);
        let mut record = journal::begin(host, profile, opened, &entry, identity)?;
        let asking =
            Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &rules.dead, device: None };
        match ask_and_tell(host, profile, &asking, &inputs, &mut record)? {
            Outcome::Issued(mut issued) => {
                same_person(profile, session.subject.as_deref(), issued.id_token.as_ref())?;
                let new = issued.refresh_token.clone().unwrap_or_else(|| session.refresh_token.clone());
                let values = kept::values(&profile.provider, &issued, &inputs);
                if new != session.refresh_token || values != session.values {
                    let session = Session { refresh_token: new, values, ..session.clone() };
                    let credentials = Credentials { session: Some(session), ..entry };
                    if !keep_or_insist(host, profile, opened, credentials, Some(&record)) {
                        record.leave();
                    }
                }
                // From here on the store has the session.
                drop(record);
                let token = before.token(profile, grant, &mut issued, &inputs)?;
                put(host, wanted, grant, &token);
                index(host, profile, opened, &issued);
                drop(hold);
                host.terminal.release_messages();
                return Ok(Some(token));
            }
            Outcome::Failed(error, _) => {
                let is_own = asks_for_more(profile, grant, &inputs, wanted.known, &session.identity).is_none();
                if error.kind == Kind::Refused {
                    limits::count_refusal(host, profile, &opened.indexes(host, &profile.name));
                }
                if error.kind == Kind::Refused && is_own {
                    let refusal = refused(host, grant, &error, &session);
                    status::note_refusal(host, profile, opened, refusal);
                }
                return Err(record.explain(profile, error).into());
            }
            Outcome::Dead(error) => {
                // What else was asked for may be why: the session itself was not.
                if let Some(name) = asks_for_more(profile, grant, &inputs, wanted.known, &session.identity) {
                    host.terminal
                        .detail(&format!("{}: keeping the session: the refusal may be about {name}", profile.name));
                    return Err(error.into());
                }
                host.terminal.detail(&format!("{}: {error}", profile.name));
                opened.read(&profile.name);
                if let Some(trouble) = &opened.trouble {
                    return Err(store_error(profile, trouble).into());
                }
                let newer =
                    opened.credentials.session.as_ref().is_some_and(|s| s.refresh_token != session.refresh_token);
                if newer {
                    host.terminal.detail(&format!("{}: using a newer refresh token from the store", profile.name));
                    continue;
                }
                let credentials = Credentials { session: None, ..opened.credentials.clone() };
                if let Err(trouble) = opened.write(&profile.name, credentials) {
                    host.terminal.warn(&format!(
                        "{}: the refused refresh token could not be deleted: {}",
                        profile.name, trouble.why
                    ));
                    opened.credentials.session = None;
                }
                let refusal = Refusal { ended: true, ..refused(host, grant, &error, &session) };
                for index in opened.indexes(host, &profile.name) {
                    index.update(|entry| {
                        entry.refresh_token = false;
                        entry.refusal = Some(refusal.clone());
                    });
                }
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// The session of `kept`, if there is one, and what `grant` sends to renew it.
///
/// # Errors
/// As [`fill`].
pub fn inputs(
    host: &mut Host,
    wanted: &Wanted,
    grant: &Grant,
    kept: &Credentials,
    secrets: &BTreeMap<String, Value>,
) -> Result<Option<(Session, Inputs)>> {
    let profile = wanted.profile;
    let Some(session) = &kept.session else { return Ok(None) };
    let mut inputs = fill(host, profile, For::Grant(grant), secrets, &[("refresh_token", refresh_token(session))])?;
    kept::insert(&mut inputs, session);
    inputs.bind(grant, kept)?;
    // Other scopes than those of the login are asked for; the same ones are left out.
    let asked = session.identity.asked.as_ref().map(|asked| asked.get("scope"));
    if let (Some(now), Some(asked)) = (wanted.known.lists.get("scope"), asked)
        && asked != Some(now)
        && let Some(scope) = profile.fetch(host, "scope")?
    {
        inputs.set("scope", &scope);
    }
    Ok(Some((session.clone(), inputs)))
}

/// What of the token before a refresh goes on.
pub struct Before {
    /// What the token is for.
    pub identity: TokenIdentity,
    /// The ID token, if there was one.
    pub id_token: Option<IdToken>,
}

impl Before {
    /// Of the token in this machine's cache, renewed by `inputs`.
    pub fn of(wanted: &Wanted, grant: &Grant, session: &Session, inputs: &Inputs) -> Before {
        let cached = wanted.cache.and_then(|cache| cache.find(wanted.known));
        Before {
            identity: inputs.known(wanted.profile, wanted.known).joined(&session.identity, &grant.name),
            id_token: cached.and_then(|(_, token)| token.id_token),
        }
    }

    /// The token that `issued` brought. It may have no ID token: the one of before goes on (OIDC Core §12.2).
    ///
    /// # Errors
    /// As [`cached`].
    pub fn token(self, profile: &Profile, grant: &Grant, issued: &mut Issued, inputs: &Inputs) -> Result<Token> {
        let before = self.id_token.filter(|_| issued.id_token.is_none());
        if let Some(before) = &before {
            issued.id_token = Some(before.text.clone());
        }
        let mut token = cached(profile, grant, issued, self.identity, inputs)?;
        if let (Some(id), Some(before)) = (&mut token.id_token, before) {
            id.verified = before.verified;
        }
        Ok(token)
    }
}

/// The refusal `error` of `session`, as the index notes it.
fn refused(host: &Host, grant: &Grant, error: &Error, session: &Session) -> Refusal {
    Refusal {
        grant: grant.name.clone(),
        ended: false,
        why: error.why.clone(),
        at: host.clock.now().secs(),
        identity: Some(session.identity.clone()),
    }
}

/// What a refresh asks for that is not the session's own, by the name of its value: other scopes, another audience,
/// resource or client. A refusal then says nothing of the session.
pub fn asks_for_more(
    profile: &Profile,
    grant: &Grant,
    inputs: &Inputs,
    known: &CurrentIdentity,
    session: &TokenIdentity,
) -> Option<String> {
    let is_own = |name: &String| {
        let asked = session.asked.as_ref().and_then(|asked| asked.get(name));
        match (known.lists.get(name), known.values.get(name)) {
            (Some(now), _) => asked == Some(now),
            (None, Some(now)) => session.values.get(name) == Some(now),
            (None, None) => true,
        }
    };
    // Where it is requested does not matter here.
    let is_address = |name: &str| profile.param(name).is_some_and(|param| param.url || param.metadata.is_some());
    let names = profile.provider.uses(grant);
    names.into_keys().find(|name| inputs.get(name).is_some() && !is_address(name) && !is_own(name))
}

/// OIDC Core §12.2: a refresh that brings an ID token of another person than the login's is refused. Its new refresh
/// token is that person's too, so it is not kept.
///
/// # Errors
/// [`Kind::Reply`].
pub fn same_person(profile: &Profile, before: Option<&str>, now: Option<&Secret>) -> Result<()> {
    match (before, now.and_then(subject)) {
        (Some(before), Some(now)) if before != now => {
            let what = "the refresh reply cannot be trusted".to_string();
            Err(Error::new(Kind::Reply, what, "its ID token is for another person than the login (`sub`)")
                .hint(format!("log in again: tok login {}", profile.name))
                .into())
        }
        _ => Ok(()),
    }
}

/// Whom an ID token is for, unverified: two of one session are compared by it.
pub fn subject(id_token: &Secret) -> Option<String> {
    crate::base::jose::jwt::claims(id_token.expose())?.get("sub")?.as_str().map(str::to_string)
}

/// Keeps a new refresh token, and says whether it could; where not, the access token is still good, and a person is told
/// in any case. Where the `record` of its journal has it, it waits there for the next call.
pub fn keep_or_insist(
    host: &mut Host,
    profile: &Profile,
    opened: &mut OpenStore,
    credentials: Credentials,
    record: Option<&Record>,
) -> bool {
    let Err(trouble) = opened.write(&profile.name, credentials) else { return true };
    let (why, name) = (store_error(profile, &trouble), &profile.name);
    host.terminal.insist(&format!("{name}: the new refresh token could not be stored: {why}"));
    host.terminal.insist(&match record.is_some_and(Record::has_reply) {
        true => {
            format!("the next call stores it if the store works then; if not, log in again: tok login {name}")
        }
        false => format!("when this access token expires, log in again: tok login {name}"),
    });
    false
}
