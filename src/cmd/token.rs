//! The token of a call: cached if still good, else by the refresh token, else by a non-interactive grant. Shared by the
//! verbs that hand one out.

use super::{Context, hooks, quoted};
use crate::base::error::{Error, InProfile, Kind, kind};
use crate::cli::{Flag, TokenArgs};
use crate::cmd::output::Answer;
use crate::host::Host;
use crate::profile::{Profile, Wishes};
use crate::provider::Grant;
use crate::session::acquire::{TokenSource, obtain};
use crate::storage::cache::{Cache, TokenFile};
use crate::storage::choice::StoreChoice;
use crate::storage::head::{HeadOf, Invocation, Stamp};
use crate::system::files::is_unwritable;
use crate::token::Token;
use crate::token::freshness::{MinTtl, Stale, freshness};
use anyhow::Result;

/// A token, and the profile that it is for.
pub struct Got {
    /// The token.
    pub answer: Answer,
    /// The profile, with what was found out for it.
    pub profile: Profile,
}

/// The token that is asked for.
///
/// # Errors
/// Each kind of the contract.
pub fn token(context: &mut Context, args: &TokenArgs) -> Result<Got> {
    let profile = resolve(context, args)?;
    let name = profile.name.clone();
    find_or_acquire(context, args, profile).in_profile(&name)
}

/// [`token`] for a profile that is resolved.
///
/// # Errors
/// As there.
pub fn find_or_acquire(context: &mut Context, args: &TokenArgs, profile: Profile) -> Result<Got> {
    let name = profile.name.clone();
    let got = find(context, args, profile);
    match &got {
        Ok(got) => hooks::renewed(context.host, &context.setup.config, &name, got.answer.source),
        // That nothing is cached calls for nobody.
        Err(_) if args.offline => {}
        Err(error) => hooks::failed(context.host, &context.setup.config, &name, error),
    }
    got
}

fn find(context: &mut Context, args: &TokenArgs, mut profile: Profile) -> Result<Got> {
    let known = profile.known()?;
    let asked = args.min_ttl.or(profile.min_ttl);
    let min_ttl = MinTtl::from(asked);
    let alone = args.no_store || args.ci;
    let folders = context.host.folders()?.clone();
    let mut cache = (profile.cache && !alone).then(|| Cache::new(folders.cache(&profile.name)));
    let look = |cache: &Option<Cache>| cache.as_ref().and_then(|c| c.find(&known));
    let good = |token: &Token, now: i64, min_ttl: MinTtl| freshness(token.received.secs(), token.expires, now, min_ttl);
    let name = profile.name.clone();
    let answer = |profile, token, source, now: i64| Got {
        answer: Answer { profile: name.clone(), token, source, now },
        profile,
    };

    let mut reason = None;
    if !args.fresh {
        let now = context.host.clock.now().secs();
        if let Some((file, token)) = look(&cache) {
            match good(&token, now, min_ttl) {
                Ok(()) => {
                    write_head(context, &profile, cache.as_ref(), (file, &token), asked);
                    return Ok(answer(profile, token, TokenSource::Cache, now));
                }
                Err(stale) => reason = Some(stale),
            }
        }
    }
    if args.offline {
        return Err(offline(context.host, reason, min_ttl.seconds()).into());
    }

    profile.check_commands(context.host)?;
    // A cached answer leaves nothing half done: there the system's own handling of signals will do.
    crate::system::signals::listen();
    let mut no_store = alone;
    let lock = match context.lock(&profile.name) {
        Ok(lock) => Some(lock),
        // Nothing was ever kept here, and nothing can be: the home of a container, `/`.
        Err(error) if kind(&error) == Kind::Other && !no_store && is_unwritable(&folders.state) => {
            context.host.terminal.detail(&format!("{error:#}; continuing without store and cache"));
            (cache, no_store) = (None, true);
            None
        }
        // Where nothing is read or kept there is nothing that two at once could spoil: a read-only home will do.
        Err(error) if kind(&error) == Kind::Other && (alone || nothing_is_kept(&profile)) => {
            context.host.terminal.detail(&format!("{error:#}; continuing without a lock"));
            None
        }
        Err(error) => return Err(error),
    };
    let (now, started) = (context.host.clock.now().secs(), context.host.clock.started);
    let stand = context.host.settings.are_unchanged();
    let answers = |token: &Token, now: i64| {
        // Issued while we waited: no token can be fresher, however short its lifetime.
        let meanwhile = token.received >= started;
        // Where the settings have changed since, it may be for those of now, which were not in force when we began.
        let is_of_then = stand || !meanwhile || token.identity.is_within(&known);
        let is_good = (meanwhile && good(token, now, MinTtl::Asked(0)).is_ok())
            || (!args.fresh && good(token, now, min_ttl).is_ok());
        is_good && is_of_then
    };
    if let Some((file, token)) = look(&cache).filter(|(_, token)| answers(token, now)) {
        write_head(context, &profile, cache.as_ref(), (file, &token), asked);
        return Ok(answer(profile, token, TokenSource::Cache, now));
    }
    if let Some(reason) = reason {
        context.host.terminal.detail(&format!("{}: {}", profile.name, describe(reason)));
    }
    profile.warn_of_exposed(context.host);
    let obtained = obtain(context.host, &mut profile, cache.as_ref(), no_store, &answers);
    // What is renewed early need not be renewed now: the provider may say no to a token that is too young.
    let is_early = asked.is_some_and(|asked| {
        args.min_ttl.is_none() && profile.provider.refresh.as_ref().and_then(|refresh| refresh.early) == Some(asked)
    });
    // Where requests are counted, what is cached is given as long as it is good at all.
    let least = match !profile.provider.limits.is_empty() && args.min_ttl.is_none() {
        true => Some(MinTtl::Asked(0)),
        false => is_early.then_some(MinTtl::Default),
    };
    let (token, source) = match (obtained, least.filter(|_| !args.fresh)) {
        (Err(error), Some(least)) if matches!(kind(&error), Kind::Unavailable | Kind::Refused) => {
            let cached = look(&cache).filter(|(_, token)| good(token, now, least).is_ok());
            let Some((_, token)) = cached else { return Err(error) };
            context.host.terminal.release_messages();
            context.host.terminal.warn(&format!("{}: not renewed yet: {error:#}", profile.name));
            (token, TokenSource::Cache)
        }
        (obtained, _) => obtained?,
    };
    if let Some((file, waiting)) = look(&cache)
        && waiting.received == token.received
    {
        write_head(context, &profile, cache.as_ref(), (file, &token), asked);
    }
    drop(lock);
    let now = if source == TokenSource::Cache { context.host.clock.now().secs() } else { token.received.secs() };
    Ok(answer(profile, token, source, now))
}

/// Nothing is stored or cached anywhere.
fn nothing_is_kept(profile: &Profile) -> bool {
    profile.store == StoreChoice::None && !profile.cache
}

/// The profile that `args` name, with their values.
///
/// # Errors
/// As [`Profile::resolve`].
pub fn resolve(context: &mut Context, args: &TokenArgs) -> Result<Profile> {
    context.host.terminal.interactive &= !args.ci;
    let mut flags = super::typed(context.host, &args.values)?;
    if !args.scope.is_empty() {
        flags.insert("scope".into(), Flag::Plain(args.scope.clone()));
    }
    let wishes = Wishes { grant: args.grant.clone(), flags, ci: args.ci, ..Wishes::default() };
    let profile = Profile::resolve(context.host, &context.setup, &args.profile, &wishes)?;
    let grant = profile.default_grant();
    match profile.grant_for_ci().filter(|_| args.ci && grant.flow.needs_person()) {
        Some(other) => Err(needs_person(&profile, grant, other).into()),
        None => Ok(profile),
    }
}

/// The error for a grant that no CI job can run; `other` can be run with the job's identity.
fn needs_person(profile: &Profile, grant: &Grant, other: &Grant) -> Error {
    let why = format!("the grant {} needs a person, and --ci is given", grant.name);
    Error::new(Kind::LoginNeeded, format!("not logged in to {}", profile.name), why)
        .hint(format!("use one that takes the job's identity: tok get {} --ci --grant {}", profile.name, other.name))
}

fn offline(host: &Host, reason: Option<Stale>, min_ttl: i64) -> Error {
    let why = match reason {
        None => "none for these settings".to_string(),
        Some(Stale::Soon(left)) => {
            format!(
                "it has {} left, and {} is required",
                crate::base::duration::show(left),
                crate::base::duration::show(min_ttl)
            )
        }
        Some(stale) => describe(stale).to_string(),
    };
    // The same command but for the first such word: a later one may be another program's.
    let at = host.words.iter().position(|word| word == "--offline");
    let words = host.words.iter().enumerate().skip(1).filter(|(place, _)| Some(*place) != at);
    Error::new(Kind::LoginNeeded, "no cached token", why)
        .hint(format!("get one from the provider: {}", quoted(words.map(|(_, word)| word))))
}

fn describe(stale: Stale) -> &'static str {
    match stale {
        Stale::Expired => "the cached token has expired",
        Stale::Soon(_) => "the cached token expires too soon",
        Stale::ClockSetBack => "the cached token is from the future: the clock was set back",
    }
}

/// Writes down what this call resolves to, so that the next one need not resolve it again.
fn write_head(
    context: &Context,
    profile: &Profile,
    cache: Option<&Cache>,
    (file, token): (TokenFile, &Token),
    min_ttl: Option<i64>,
) {
    let Some(cache) = cache.filter(|_| context.plain) else { return };
    let own = context.host.env.own();
    let mut all = context.host.words.iter().skip(1).map(|word| word.as_encoded_bytes());
    let verb = all.next().unwrap_or_default();
    let mut call =
        Invocation { verb, words: all.skip(1).collect(), env: own.iter().map(|entry| entry.as_slice()).collect() };
    // The header of a token that is bound to a key is another each time.
    if !profile.is_pinned() || token.is_bound() {
        return cache.drop_head(&call);
    }
    let Ok(own) = context.host.folders().map(|folders| folders.provider(&profile.provider.name)) else { return };
    // As they were read: by now others may stand there.
    let stamp = |path| Some(Stamp { path, of: context.host.settings.of(path)? });
    let (Some(config), Some(own)) = (stamp(&context.setup.config_path), stamp(own.as_path())) else { return };
    let started = context.host.clock.started.0;
    cache.put_head(&mut call, &file, &HeadOf { min_ttl, started, stamps: [config, own] });
}
