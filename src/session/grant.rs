//! A non-interactive grant: asked for, and what it brought kept.

use crate::base::error::{Error, Kind};
use crate::host::Host;
use crate::oauth::reply::Issued;
use crate::profile::{self, Profile, Value};
use crate::provider::{Flow, Grant};
use crate::session::acquire::{Wanted, contradiction, index, put};
use crate::session::exchange::{Asking, Outcome, ask};
use crate::session::inputs::{For, fill, is_of_this_call};
use crate::session::issued::cached;
use crate::session::kept;
use crate::session::limits;
use crate::session::open_store::{OpenStore, store_error};
use crate::session::refresh;
use crate::session::shared;
use crate::session::signed;
use crate::session::status;
use crate::session::steps;
use crate::storage::index::{Index, Refusal};
use crate::storage::secrets::GRACE;
use crate::system::signals::{Hold, Stake, hold};
use crate::token::Token;
use crate::token::credentials::{Credentials, Session};
use anyhow::Result;
use std::collections::BTreeMap;

/// What a grant brought.
pub struct Brought {
    /// The token.
    pub token: Token,
    /// The reply.
    pub issued: Issued,
    /// The session that it began, if it began one that is to be kept.
    pub session: Option<Session>,
    /// Signals wait since it was asked for, until it is kept.
    pub hold: Hold,
}

/// Runs `grant` by itself, and keeps what it brings.
///
/// # Errors
/// Each kind of the contract.
pub fn run(
    host: &mut Host,
    wanted: &Wanted,
    grant: &Grant,
    opened: &mut OpenStore,
    secrets: &BTreeMap<String, Value>,
) -> Result<Token> {
    let profile = wanted.profile;
    if profile.provider.refresh.is_some() && contradiction(wanted, opened).is_none() {
        opened.prepare();
    }
    let Brought { token, issued, session, hold } = request(host, wanted, grant, opened, secrets)?;
    opened.allow(host.clock.deadline.max(host.clock.instant() + GRACE));
    // A session that began meanwhile is left alone, and its folder's cache takes the token.
    let begun = opened.follow_newcomer(host, &profile.name).unwrap_or(true);
    let cache = opened.cache_elsewhere(&profile.name).filter(|_| begun && wanted.cache.is_some());
    let wanted = &Wanted { cache: cache.as_ref().or(wanted.cache), ..*wanted };
    if let (Some(session), false) = (session, begun) {
        let dpop_key = token.dpop_key.clone();
        let credentials = Credentials { session: Some(session), dpop_key, ..opened.credentials.clone() };
        refresh::keep_or_insist(host, profile, opened, credentials, None);
        index(host, profile, opened, &issued);
    }
    put(host, wanted, grant, &token);
    shared::entry::share(opened, profile, wanted.known, &token);
    drop(hold);
    host.terminal.release_messages();
    Ok(token)
}

/// Asks for a token by `grant`.
///
/// # Errors
/// Each kind of the contract.
pub fn request(
    host: &mut Host,
    wanted: &Wanted,
    grant: &Grant,
    opened: &mut OpenStore,
    secrets: &BTreeMap<String, Value>,
) -> Result<Brought> {
    let profile = wanted.profile;
    // The stored session is for other settings, and stays as it is.
    let apart = contradiction(wanted, opened).is_some();
    let mut inputs = fill(host, profile, For::Grant(grant), secrets, &[])?;
    inputs.bind(grant, &opened.credentials)?;
    if let Some(trouble) = &opened.trouble {
        let text = format!("{}: {}; continuing without it", profile.name, store_error(profile, trouble));
        if inputs.from_config.is_empty() { host.terminal.detail(&text) } else { host.terminal.warn(&text) }
    }
    let is_kept_personal = profile.provider.is_personal(grant)
        && inputs.kept_names().any(|name| profile.provider.param(name).is_some_and(|p| p.personal));
    let was_refused = |index: &Index| index.read().is_some_and(|e| e.refused.as_ref() == Some(&grant.name));
    let is_refused = opened.refused.as_ref() == Some(&grant.name);
    if is_kept_personal && (is_refused || opened.indexes(host, &profile.name).iter().any(was_refused)) {
        return Err(Error::new(
            Kind::LoginNeeded,
            "not logged in",
            format!(
                "the provider refused the grant {} with the stored values; tok does not send them twice",
                grant.name
            ),
        )
        .hint(format!("run: tok login {} {}", profile.name, grant.name))
        .into());
    }
    if grant.flow != Flow::Signed {
        limits::take(host, profile, grant, &opened.indexes(host, &profile.name))?;
    }
    // Not before: a program that the config names may wait for a person.
    let hold = hold(Stake::Time);
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[], device: None };
    let outcome = match grant.flow {
        Flow::Signed => signed::signed(profile, &inputs, host.clock.now()),
        _ => match steps::after(host, profile, grant, &mut inputs)? {
            Some(failed) => failed,
            None => ask(host, profile, &asking, &inputs)?,
        },
    };
    let issued = match outcome {
        Outcome::Issued(issued) => issued,
        Outcome::Dead(error) | Outcome::Failed(error, _) => {
            if error.kind == Kind::Refused {
                limits::count_refusal(host, profile, &opened.indexes(host, &profile.name));
            }
            if is_kept_personal && error.kind == Kind::Refused {
                opened.refused = Some(grant.name.clone());
                for index in opened.indexes(host, &profile.name) {
                    index.update(|entry| entry.refused = Some(grant.name.clone()));
                }
            }
            if error.kind == Kind::Refused && !apart {
                let url = profile.session_url(inputs.values()).unwrap_or_default();
                let known = inputs.known(profile, wanted.known);
                let refusal = Refusal {
                    grant: grant.name.clone(),
                    ended: false,
                    why: error.why.clone(),
                    at: host.clock.now().secs(),
                    identity: Some(known.identity(&url, Some(&grant.name), Some(&grant.name))),
                };
                status::note_refusal(host, profile, opened, refusal);
            }
            // What was stored may have been replaced at the provider.
            let stored = inputs.kept_names().next().filter(|_| error.kind == Kind::Refused && !apart);
            return Err(match (stored, &error.hint) {
                (Some(_), Some(hint)) => {
                    let hint =
                        format!("{hint}; or log in with a new secret: tok login {} {}", profile.name, grant.name);
                    error.hint(hint)
                }
                _ => error,
            }
            .into());
        }
    };
    let url = profile.session_url(inputs.values()).unwrap_or_default();
    let known = inputs.known(profile, wanted.known);
    let mut identity = known.identity(&url, Some(&grant.name), Some(&grant.name));
    identity.apart = apart || given_beside_kept(host, profile, opened);
    // Before anything is kept: a token that cannot be used leaves nothing behind.
    let token = cached(profile, grant, &issued, identity, &inputs)?;
    // A session for scopes of this call alone, in whichever list, would answer calls that ask for others.
    let is_list = |name: &str| profile.param(name).is_some_and(|param| param.list);
    let for_this_call =
        profile.given.iter().any(|(name, given)| given.source == profile::Source::Flag && is_list(name));
    let is_kept = !apart && !for_this_call && opened.is_usable() && profile.provider.refresh.is_some();
    let session = issued.refresh_token.clone().filter(|_| is_kept).map(|refresh_token| Session {
        refresh_token,
        identity: known.identity(&url, Some(&grant.name), None),
        since: issued.received.secs(),
        subject: issued.id_token.as_ref().and_then(refresh::subject),
        values: kept::values(&profile.provider, &issued, &inputs),
    });
    Ok(Brought { token, issued, session, hold })
}

/// Whether this call gives its own secret where a login has stored one of that name: the token is then for this
/// call's settings alone.
fn given_beside_kept(host: &Host, profile: &Profile, opened: &OpenStore) -> bool {
    // The store may not have been opened, and the index of this state folder may know nothing.
    let noted = Index::of(host.folders().ok(), &profile.name).read().map(|entry| entry.secrets).unwrap_or_default();
    opened
        .credentials
        .secrets
        .keys()
        .chain(&noted)
        .any(|name| profile.given.get(name).is_some_and(|given| is_of_this_call(&given.source)))
}
