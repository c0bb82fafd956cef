//! `tok get` and `tok header`: a valid access token, cached if still good, else by the refresh token, else by a grant
//! that needs nobody.

use super::Context;
use crate::base::error::{Error, Kind, kind};
use crate::base::secret::Secret;
use crate::cli::{ApiCall, Flag, Format, TokenArgs};
use crate::cmd::output::{self, Answer, Source};
use crate::fast_path::Call;
use crate::oauth::reply::claims;
use crate::profile::{Profile, Wishes};
use crate::session::acquire::{obtain, verify_id_token};
use crate::session::inputs::{For, fill};
use crate::storage::cache::{Cache, HeadOf, Stamp, TokenFile};
use crate::storage::choice::StoreChoice;
use crate::system::files::is_unwritable;
use crate::token::Token;
use crate::token::freshness::{MIN_TTL, Stale, freshness};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// How the token is handed out.
pub struct Out<'a> {
    /// In this format.
    pub format: Format,
    /// The variable that a shell's format sets.
    pub variable: &'a str,
    /// The file that it goes to; `None`: stdout.
    pub to: Option<&'a Path>,
    /// The request that a header is for.
    pub api: Option<&'a ApiCall>,
}

/// Gets the token and writes it to stdout, or to a file.
///
/// # Errors
/// Each kind of the contract; stdout is then empty.
pub fn run(context: &mut Context, args: &TokenArgs, out: &Out) -> Result<()> {
    let mut answer = token(context, args)?;
    if out.format == Format::IdToken {
        answer = with_id_token(context, args, answer).with_context(|| args.profile.clone())?;
    }
    let answer = answer.answer;
    let mut text = output::write(&answer, out.format, out.variable).with_context(|| args.profile.clone())?;
    if answer.token.is_bound() && out.format == Format::Header {
        let proof = proof(&answer, out.api).with_context(|| args.profile.clone())?;
        text = Secret::new(format!("{}DPoP: {}\n", text.expose(), proof.expose()));
    }
    match out.to {
        Some(path) if path != Path::new("-") => {
            let path = std::path::absolute(path).map_err(|e| Error::new(Kind::Usage, "--write", e.to_string()))?;
            crate::system::files::write_user_file(&path, text.expose().as_bytes(), context.host.clock.deadline).map_err(
                |error| {
                    let late = error.kind() == std::io::ErrorKind::TimedOut;
                    let kind = if late { Kind::Unavailable } else { Kind::Other };
                    let why = crate::system::files::why(&error);
                    Error::new(kind, format!("{} cannot be written", path.display()), why).into()
                },
            )
        }
        _ => show(context, text.expose()),
    }
}

/// The proof for one request to an API (RFC 9449 §7.1): without it the token is refused there.
fn proof(answer: &Answer, api: Option<&ApiCall>) -> Result<Secret> {
    let name = &answer.profile;
    let Some(key) = &answer.token.dpop_key else {
        let what = "the token is bound to a key (DPoP) that is not known here";
        return Err(Error::new(Kind::Reply, what, "no header with it would be accepted")
            .hint("ask for a token bound to a key of your own: --dpop true, where the provider takes it")
            .into());
    };
    let Some(ApiCall { method: Some(method), url: Some(url), nonce }) = api else {
        return Err(Error::new(
            Kind::Usage,
            "the token is bound to a key (DPoP)",
            "each request needs a proof of its own, for its method and URL",
        )
        .hint(format!("tok header {name} --method GET --url https://…"))
        .into());
    };
    let url = url.split('#').next().unwrap_or(url);
    crate::base::url::endpoint(url).map_err(|why| Error::new(Kind::Usage, "--url", format!("its value {why}")))?;
    if !crate::token::is_token(method) {
        return Err(Error::new(Kind::Usage, "--method", "its value is no method").into());
    }
    let fail = |why: String| Error::new(Kind::Other, "no DPoP proof", why);
    let key = crate::base::jose::Key::parse(key).map_err(fail)?;
    let (access, id) = (answer.token.access_token.expose(), crate::base::digest::random(16));
    crate::oauth::dpop::proof(&key, method, url, Some(access), nonce.as_deref(), answer.now, &id)
        .map_err(|why| fail(why).into())
}

/// A token, and the profile that it is for.
pub struct Got {
    /// The token.
    pub answer: Answer,
    /// The profile, with what was found out for it.
    pub profile: Profile,
}

/// The answer with an ID token that is good now and verified.
fn with_id_token(context: &mut Context, args: &TokenArgs, mut got: Got) -> Result<Got> {
    let is_over = |got: &Got| {
        let end = got.answer.token.id_token.as_ref().and_then(|id| claims::expiry(id.text.expose()));
        end.is_none_or(|end| end <= got.answer.now)
    };
    // A newer one may come with a newer access token.
    if is_over(&got) && got.answer.source == Source::Cache && !args.offline {
        got = {
            let profile = resolve(context, args)?;
            find_or_acquire(context, &TokenArgs { fresh: true, ..args.clone() }, profile)?
        };
    }
    let name = &got.answer.profile.clone();
    let again = format!("log in again, with openid among the scopes: tok login {name}");
    let Some(id) = got.answer.token.id_token.clone() else {
        return Err(Error::new(Kind::LoginNeeded, "there is no ID token", "none came with the access token")
            .hint(again)
            .into());
    };
    if is_over(&got) {
        return Err(Error::new(Kind::LoginNeeded, "the ID token has ended", "none came with the last refresh")
            .hint(again)
            .into());
    }
    if !id.verified && args.offline {
        return Err(Error::new(
            Kind::LoginNeeded,
            "the ID token has not been verified",
            "the issuer's keys may have to be asked for, and --offline forbids it",
        )
        .hint(format!("with the network: tok get {name} -o id-token"))
        .into());
    }
    if !id.verified {
        let names = [("jwks_url".to_string(), false)].into();
        got.profile.discover(context.host, names, false)?;
        let grant = got.profile.provider.grant(&got.answer.token.grant).unwrap_or(got.profile.default_grant()).clone();
        let inputs = fill(context.host, &got.profile, For::Call(&grant.call), &BTreeMap::new(), &[]);
        let inputs = inputs.map(|mut inputs| {
            if let Some(issuer) = got.profile.value("issuer") {
                inputs.set("issuer", &issuer);
            }
            inputs
        })?;
        let access = &got.answer.token.access_token;
        if !verify_id_token(context.host, &got.profile, &id.text, Some(access), &inputs)? {
            return Err(Error::new(
                Kind::Reply,
                "the ID token cannot be verified",
                "the issuer's keys are not known, or cannot be had now",
            )
            .hint("the values that are needed: issuer, client_id and jwks_url (which the issuer's metadata tell)")
            .into());
        }
    }
    Ok(got)
}

/// Puts the answer on stdout, and then lets no signal make a failure of it any more.
fn show(context: &mut Context, text: &str) -> Result<()> {
    // A reader that is slow to come is waited for here, where a signal still is the end.
    crate::system::start::wait_for_stdout();
    let hold = crate::system::signals::answering();
    context.print(text)?;
    crate::system::signals::answered(hold);
    Ok(())
}

/// The token that is asked for.
///
/// # Errors
/// Each kind of the contract.
pub fn token(context: &mut Context, args: &TokenArgs) -> Result<Got> {
    let profile = resolve(context, args)?;
    let name = profile.name.clone();
    find_or_acquire(context, args, profile).context(name)
}

fn find_or_acquire(context: &mut Context, args: &TokenArgs, mut profile: Profile) -> Result<Got> {
    let known = profile.known()?;
    let (min_ttl, asked) = match args.min_ttl.or(profile.min_ttl) {
        Some(seconds) => (seconds, true),
        None => (MIN_TTL, false),
    };
    let folders = context.host.folders()?.clone();
    let mut cache = (profile.cache && !args.no_store).then(|| Cache::new(folders.cache(&profile.name)));
    let find = |cache: &Option<Cache>| cache.as_ref().and_then(|c| c.find(&known));
    let good = |token: &Token, now: i64, min_ttl: i64, asked: bool| {
        freshness(token.received.secs(), token.expires, now, min_ttl, asked)
    };
    let name = profile.name.clone();
    let answer = |profile, token, source, now: i64| Got {
        answer: Answer { profile: name.clone(), token, source, now },
        profile,
    };

    let mut reason = None;
    if !args.fresh {
        let now = context.host.clock.now().secs();
        if let Some((file, token)) = find(&cache) {
            match good(&token, now, min_ttl, asked) {
                Ok(()) => {
                    write_head(context, &profile, &folders, cache.as_ref(), (file, &token), min_ttl, asked);
                    return Ok(answer(profile, token, Source::Cache, now));
                }
                Err(stale) => reason = Some(stale),
            }
        }
    }
    if args.offline {
        return Err(offline(&profile, reason, min_ttl).into());
    }

    // A cached answer leaves nothing half done: there the system's own handling of signals will do.
    crate::system::signals::listen();
    let mut no_store = args.no_store;
    let lock = match context.lock(&profile.name) {
        Ok(lock) => Some(lock),
        // Nothing was ever kept here, and nothing can be: the home of a container, `/`.
        Err(error) if kind(&error) == Kind::Other && !no_store && is_unwritable(&folders.state) => {
            context.host.terminal.detail(&format!("{error:#}; going on without store and cache"));
            (cache, no_store) = (None, true);
            None
        }
        // Where nothing is read or kept there is nothing that two at once could spoil: a read-only home will do.
        Err(error) if kind(&error) == Kind::Other && (args.no_store || nothing_is_kept(&profile)) => {
            context.host.terminal.detail(&format!("{error:#}; going on without a lock"));
            None
        }
        Err(error) => return Err(error),
    };
    let (now, started) = (context.host.clock.now().secs(), context.host.clock.started);
    let stand = context.host.settings.are_unchanged();
    let answers = |token: &Token, now: i64| {
        // Issued while we waited: that is as fresh as it gets, however short its life.
        let meanwhile = token.received >= started;
        // Where the settings have changed since, it may be for those of now, which were not in force when we began.
        let is_of_then = stand || !meanwhile || token.belongs.is_within(&known);
        let is_good = (meanwhile && good(token, now, 0, true).is_ok())
            || (!args.fresh && good(token, now, min_ttl, asked).is_ok());
        is_good && is_of_then
    };
    if let Some((file, token)) = find(&cache).filter(|(_, token)| answers(token, now)) {
        write_head(context, &profile, &folders, cache.as_ref(), (file, &token), min_ttl, asked);
        return Ok(answer(profile, token, Source::Cache, now));
    }
    if let Some(reason) = reason {
        context.host.terminal.detail(&format!("{}: {}", profile.name, describe(reason)));
    }
    profile.warn_of_exposed(context.host);
    let (token, source) = obtain(context.host, &mut profile, cache.as_ref(), no_store, &answers)?;
    if let Some((file, waiting)) = find(&cache)
        && waiting.received == token.received
    {
        write_head(context, &profile, &folders, cache.as_ref(), (file, &token), min_ttl, asked);
    }
    drop(lock);
    let now = if source == Source::Cache { context.host.clock.now().secs() } else { token.received.secs() };
    Ok(answer(profile, token, source, now))
}

/// Neither a session nor a token waits anywhere.
fn nothing_is_kept(profile: &Profile) -> bool {
    profile.store == StoreChoice::None && !profile.cache
}

fn resolve(context: &mut Context, args: &TokenArgs) -> Result<Profile> {
    let mut flags = super::typed(context.host, &args.values)?;
    if !args.scope.is_empty() {
        flags.insert("scope".into(), Flag::Plain(args.scope.clone()));
    }
    let wishes = Wishes { grant: args.grant.clone(), flags, ..Wishes::default() };
    Profile::resolve(context.host, &context.setup, &args.profile, &wishes)
}

fn offline(profile: &Profile, reason: Option<Stale>, min_ttl: i64) -> Error {
    let why = match reason {
        None => "none waits here for these settings".to_string(),
        Some(Stale::Soon(left)) => {
            format!(
                "it has {} left, and {} are asked for",
                crate::base::duration::show(left),
                crate::base::duration::show(min_ttl)
            )
        }
        Some(stale) => describe(stale).to_string(),
    };
    Error::new(Kind::LoginNeeded, "there is no cached token to hand out", why)
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
    folders: &crate::storage::folders::Folders,
    cache: Option<&Cache>,
    (file, token): (TokenFile, &Token),
    min_ttl: i64,
    asked: bool,
) {
    let Some(cache) = cache.filter(|_| context.plain) else { return };
    let own = context.host.env.own();
    let words = context.host.words.iter().skip(3).map(|word| word.as_encoded_bytes()).collect();
    let mut call = Call { words, env: own.iter().map(|entry| entry.as_slice()).collect() };
    // The header of a token that is bound to a key is another each time.
    if !profile.is_pinned() || token.is_bound() {
        return cache.drop_head(&call);
    }
    let own = folders.provider(&profile.provider.name);
    // As they were read: by now others may stand there.
    let stamp = |path| Some(Stamp { path, of: context.host.settings.of(path)? });
    let (Some(config), Some(own)) = (stamp(&context.setup.config_path), stamp(own.as_path())) else { return };
    let started = context.host.clock.started.0;
    cache.put_head(&mut call, &file, &HeadOf { min_ttl, asked, started, stamps: [config, own] });
}
