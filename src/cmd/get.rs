//! `tok get` and `tok header`: a valid access token, cached if still good, else by the refresh token, else by a grant
//! that needs nobody.

use super::Context;
use crate::cli::{Format, Given, TokenArgs};
use crate::config::StoreChoice;
use crate::error::{Error, Kind, Result};
use crate::obtain::{Wanted, obtain};
use crate::output::{self, Answer, Source};
use crate::profile::{Flag, Profile, Wishes};
use crate::short::Call;
use crate::store::cache::{Cache, Cached, HeadOf, Stamp};
use crate::token::{MIN_TTL, Stale, freshness};
use std::collections::BTreeMap;
use std::path::Path;

/// Gets the token and writes it to stdout, or to the file `to`.
///
/// # Errors
/// Each kind of the contract; stdout is then empty.
pub fn run(
    context: &mut Context,
    args: &TokenArgs,
    values: BTreeMap<String, Given>,
    format: Format,
    variable: &str,
    to: Option<&Path>,
) -> Result<()> {
    let answer = token(context, args, values)?;
    let text = output::write(&answer, format, variable);
    match to {
        Some(path) if path != Path::new("-") => {
            let path = std::path::absolute(path).map_err(|e| Error::new(Kind::Usage, "--write", e.to_string()))?;
            crate::files::write_user_file(&path, text.expose().as_bytes(), context.host.deadline).map_err(|error| {
                let late = error.kind() == std::io::ErrorKind::TimedOut;
                let kind = if late { Kind::Unavailable } else { Kind::Other };
                Error::new(kind, format!("{} cannot be written", path.display()), error.to_string())
            })
        }
        _ => show(context, text.expose()),
    }
}

/// Puts the answer on stdout, and then lets no signal make a failure of it any more.
fn show(context: &mut Context, text: &str) -> Result<()> {
    let hold = crate::signals::hold(false);
    context.print(text)?;
    crate::signals::answered(hold);
    Ok(())
}

/// The token that is asked for.
fn token(context: &mut Context, args: &TokenArgs, values: BTreeMap<String, Given>) -> Result<Answer> {
    let profile = resolve(context, args, values)?;
    let known = profile.known()?;
    let (min_ttl, asked) = match args.min_ttl.or(profile.min_ttl) {
        Some(seconds) => (seconds, true),
        None => (MIN_TTL, false),
    };
    let folders = context.host.folders()?.clone();
    let cache = (profile.cache && !args.no_store).then(|| Cache::new(folders.cache(&profile.name)));
    let find = || cache.as_ref().and_then(|c| c.find(&known));
    let good = |token: &Cached, now: i64, min_ttl: i64, asked: bool| {
        freshness(token.received.secs(), token.expires, now, min_ttl, asked)
    };
    let answer = |token, source, now: i64| Answer { profile: profile.name.clone(), token, source, now };

    let mut reason = None;
    if !args.fresh {
        let now = context.host.now().secs();
        if let Some((file, token)) = find() {
            match good(&token, now, min_ttl, asked) {
                Ok(()) => {
                    write_head(context, &profile, &folders, cache.as_ref(), file, min_ttl, asked);
                    return Ok(answer(token, Source::Cache, now));
                }
                Err(stale) => reason = Some(stale),
            }
        }
    }
    if args.offline {
        return Err(offline(&profile, reason, min_ttl));
    }

    // A cached answer is out before a listener would be ready.
    crate::signals::listen();
    let lock = match context.lock(&profile.name) {
        Ok(lock) => Some(lock),
        // Where nothing is read or kept there is nothing that two at once could spoil: a read-only home will do.
        Err(error) if error.kind == Kind::Other && (args.no_store || nothing_is_kept(&profile)) => {
            context.host.detail(&format!("{error}; going on without a lock"));
            None
        }
        Err(error) => return Err(error),
    };
    let now = context.host.now().secs();
    if let Some((file, token)) = find() {
        // Issued while we waited: that is as fresh as it gets, however short its life.
        let meanwhile = token.received >= context.host.started && good(&token, now, 0, true).is_ok();
        if meanwhile || (!args.fresh && good(&token, now, min_ttl, asked).is_ok()) {
            write_head(context, &profile, &folders, cache.as_ref(), file, min_ttl, asked);
            return Ok(answer(token, Source::Cache, now));
        }
    }
    if let Some(reason) = reason {
        context.host.detail(&format!("{}: {}", profile.name, describe(reason)));
    }
    let wanted = Wanted { profile: &profile, known: &known, cache: cache.as_ref(), no_store: args.no_store };
    let (token, source) = obtain(context.host, &wanted)?;
    if let Some((file, waiting)) = find()
        && waiting.received == token.received
    {
        write_head(context, &profile, &folders, cache.as_ref(), file, min_ttl, asked);
    }
    drop(lock);
    let now = token.received.secs();
    Ok(answer(token, source, now))
}

/// Neither a session nor a token waits anywhere.
fn nothing_is_kept(profile: &Profile) -> bool {
    profile.store == StoreChoice::None && !profile.cache
}

fn resolve(context: &Context, args: &TokenArgs, values: BTreeMap<String, Given>) -> Result<Profile> {
    let mut flags = super::flags(values);
    if !args.scope.is_empty() {
        flags.insert("scope".into(), Flag::Plain(args.scope.clone()));
    }
    let wishes = Wishes { grant: args.grant.clone(), flags, ..Wishes::default() };
    Profile::resolve(context.host, &context.config, &args.profile, &wishes)
}

fn offline(profile: &Profile, reason: Option<Stale>, min_ttl: i64) -> Error {
    let why = match reason {
        None => "none waits here for these settings".to_string(),
        Some(Stale::Soon(left)) => {
            format!("it has {} left, and {} are asked for", crate::duration::show(left), crate::duration::show(min_ttl))
        }
        Some(stale) => describe(stale).to_string(),
    };
    Error::new(Kind::LoginNeeded, format!("{}: there is no cached token to hand out", profile.name), why)
        .hint(format!("get one with the network: tok get {}", profile.name))
}

fn describe(stale: Stale) -> &'static str {
    match stale {
        Stale::Expired => "the cached token has expired",
        Stale::Soon(_) => "the cached token expires too soon",
        Stale::ClockSetBack => "the cached token comes from the future: the clock was set back",
    }
}

/// Writes down what this call resolves to, so that the next one need not resolve it again.
fn write_head(
    context: &Context,
    profile: &Profile,
    folders: &crate::host::Folders,
    cache: Option<&Cache>,
    token: String,
    min_ttl: i64,
    asked: bool,
) {
    let Some(cache) = cache.filter(|_| context.plain) else { return };
    let own = context.host.own_variables();
    let words = context.host.words.iter().skip(3).map(|word| word.as_encoded_bytes()).collect();
    let mut call = Call { words, env: own.iter().map(|entry| entry.as_slice()).collect() };
    if !profile.is_pinned() {
        return cache.drop_head(&call);
    }
    let own = folders.provider(&profile.provider.name);
    let (Some(config), Some(own)) = (Stamp::of(&context.config_path), Stamp::of(&own)) else { return };
    let written = context.host.now().0;
    cache.put_head(&mut call, &token, &HeadOf { min_ttl, asked, written, stamps: [config, own] });
}
