//! How often a provider is asked: what its file allows ([`Limit`]) is counted for each profile in its state folder, under
//! its lock. Nothing waits here; a call that comes too early ends.

use crate::base::duration;
use crate::base::error::{Error, Kind, Result};
use crate::host::Host;
use crate::profile::Profile;
use crate::provider::{Counted, Grant, Limit};
use crate::storage::index::{Index, Requests};

/// Counts a request for a token that is about to be sent, if there may be one now.
///
/// # Errors
/// [`Kind::Unavailable`] if it would be one too many; [`Kind::LoginNeeded`] if one more refusal may lock the account.
pub fn take(host: &Host, profile: &Profile, grant: &Grant, indexes: &[Index]) -> Result<()> {
    let now = host.clock.now().secs();
    let seen: Vec<Requests> = indexes.iter().filter(|_| has_limits(profile)).map(Index::requests).collect();
    let too_early = profile.provider.limits.iter().flat_map(|limit| {
        let until = seen.iter().filter_map(move |seen| limit.until(times(seen, limit), now));
        until.map(move |until| (until, limit))
    });
    match too_early.max_by_key(|(until, _)| *until) {
        Some((until, limit)) => Err(not_sent(host, profile, grant, (until, limit))),
        None => {
            count(host, profile, indexes);
            Ok(())
        }
    }
}

/// Counts a request for a token that a person asks for, and that is sent in any case.
pub fn count(host: &Host, profile: &Profile, indexes: &[Index]) {
    note(host, profile, indexes, |seen, now| seen.sent.push(now));
}

/// Counts a refusal.
pub fn count_refusal(host: &Host, profile: &Profile, indexes: &[Index]) {
    note(host, profile, indexes, |seen, now| seen.refused.push(now));
}

/// A token was issued: what was refused before was something else.
pub fn forget_refusals(host: &Host, profile: &Profile, indexes: &[Index]) {
    note(host, profile, indexes, |seen, _| seen.refused.clear());
}

fn has_limits(profile: &Profile) -> bool {
    !profile.provider.limits.is_empty()
}

fn times<'s>(seen: &'s Requests, limit: &Limit) -> &'s [i64] {
    match limit.of {
        Counted::Requests => &seen.sent,
        Counted::Refusals => &seen.refused,
    }
}

fn note(host: &Host, profile: &Profile, indexes: &[Index], change: impl Fn(&mut Requests, i64)) {
    let now = host.clock.now().secs();
    // What no limit counts any more is left out.
    let longest = profile.provider.limits.iter().map(|limit| limit.within).max().unwrap_or_default();
    for index in indexes.iter().filter(|_| has_limits(profile)) {
        index.note_requests(|seen| {
            change(seen, now);
            for times in [&mut seen.sent, &mut seen.refused] {
                times.retain(|at| *at <= now && at.saturating_add(longest) > now);
                let most = times.len().saturating_sub(Limit::MOST);
                times.drain(..most);
            }
        });
    }
}

fn not_sent(host: &Host, profile: &Profile, grant: &Grant, (until, limit): (i64, &Limit)) -> Error {
    let within = duration::show(limit.within);
    let (left, at) = (duration::show(until - host.clock.now().secs()), host.clock.local(until));
    let what = "no token request was sent";
    match limit.of {
        Counted::Requests => {
            let why = format!("the provider takes {} in {within}; the next one may be sent {at}", limit.count);
            Error::new(Kind::Unavailable, what, why).hint(format!("try again in {left}"))
        }
        Counted::Refusals => {
            let why = format!(
                "{} were refused in {within}, and more may lock the account; the next one may be sent {at}",
                limit.count
            );
            let login = format!("tok login {} {}", profile.name, grant.name);
            Error::new(Kind::LoginNeeded, what, why).hint(format!("check the values, then run: {login}"))
        }
    }
}
