//! `tok logout`: revokes where the provider can, then removes refresh token, kept secrets and cached tokens.

use super::{Context, config_file};
use crate::base::error::{Error, InProfile, Kind, kind};
use crate::cli::Logout;
use crate::profile::{Profile, Wishes, config};
use crate::session::journal;
use crate::session::open_store::{self, OpenStore};
use crate::session::registration;
use crate::session::revoke::{Revoked, revoke};
use crate::storage::cache::Cache;
use crate::storage::choice::StoreChoice;
use crate::storage::index::Index;
use crate::storage::secrets::StoreErrorKind;
use crate::token::Token;
use anyhow::Result;
use std::collections::BTreeSet;

/// Logs out of one profile, or of all of which something is kept.
///
/// # Errors
/// The first that came up; with `--all` the others are logged out of all the same.
pub fn run(context: &mut Context, args: &Logout) -> Result<()> {
    if let Some(name) = &args.profile {
        return one_and_config(context, name, args).in_profile(name);
    }
    let mut names: BTreeSet<String> = Index::profiles(context.host.folders().ok()).into_iter().collect();
    let cached = context.host.folders().ok().and_then(|folders| Cache::profiles(&folders.state).ok());
    names.extend(cached.into_iter().flatten());
    names.extend(context.setup.config.profiles.keys().cloned());
    names.retain(|name| crate::base::name::is_name(name));
    let mut first = None;
    for name in names {
        // A broken profile of which nothing is kept has nothing to forget.
        let is_kept = Index::of(context.host.folders().ok(), &name).read().is_some()
            || context.host.folders().is_ok_and(|folders| folders.cache(&name).is_dir());
        if let Err(error) = one_and_config(context, &name, args).in_profile(&name) {
            if kind(&error) == Kind::Config && !is_kept {
                continue;
            }
            if first.is_some() {
                context.host.terminal.warn(&format!("{error:#}"));
            } else {
                first = Some(error);
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Logs out of one profile; with `--remove` it goes from the config too, once nothing of it is kept.
fn one_and_config(context: &mut Context, name: &str, args: &Logout) -> Result<()> {
    let change = |path: &std::path::Path, text: &str| config::remove(path, text, name);
    if args.remove {
        config_file::check(context, &change)?;
    }
    let noted = Index::of(context.host.folders().ok(), name).read();
    let ended = one(context, name);
    let is_unrevoked = |error: &anyhow::Error| error.downcast_ref::<Error>().is_some_and(|e| e.what == NOT_REVOKED);
    let is_gone = ended.as_ref().map_or_else(is_unrevoked, |()| true);
    if !args.remove || !is_gone {
        return ended;
    }
    // Before the config forgets which one it is.
    let released = release(context, name, noted.as_ref().map(|noted| noted.provider.as_str()));
    let held = config_file::hold(context)?;
    if config_file::write(context, &held, &change)? {
        context.host.terminal.tell(&format!("{name}: removed from the config"));
    }
    ended.and(released)
}

/// Takes the profile from the client that `tok` has registered for it, where it has one.
fn release(context: &mut Context, name: &str, provider: Option<&str>) -> Result<()> {
    // One that is broken has no client that could be named.
    let Ok(profile) = resolve(context, name, provider) else { return Ok(()) };
    let lock = context.lock(registration::LOCK)?;
    let released = registration::release(context.host, &context.setup.config, &profile)?;
    drop(lock);
    released.iter().for_each(|text| context.host.terminal.tell(&format!("{name}: {text}")));
    Ok(())
}

fn one(context: &mut Context, name: &str) -> Result<()> {
    let index = Index::of(context.host.folders().ok(), name);
    let noted = index.read();
    let folder = context.host.folders()?.cache(name);
    let resolved = match resolve(context, name, noted.as_ref().map(|n| n.provider.as_str())) {
        // A profile that is no more, or is broken, can still be forgotten.
        Err(error) if noted.is_none() && !folder.is_dir() => return Err(error),
        resolved => resolved,
    };
    let lock = context.lock(name)?;
    let cache = Cache::new(folder);
    let mut profile = match resolved {
        Ok(profile) => profile,
        Err(error) => {
            let mut any = cache.clear().map_err(|e| not_removed(&e.to_string()))?;
            let store = noted.as_ref().and_then(|n| StoreChoice::parse(&n.store).ok()).unwrap_or(StoreChoice::Keyring);
            let mut opened = OpenStore::open_as(context.host, name, &store);
            opened.follow(context.host, name)?;
            if let Some(elsewhere) = opened.cache_elsewhere(name) {
                any |= elsewhere.clear().map_err(|e| not_removed(&e.to_string()))?;
            }
            any |= opened.forget(name).map_err(|e| Error::new(Kind::Store, format!("{error:#}"), e.why))?;
            opened.indexes(context.host, name).iter().for_each(Index::forget);
            say(context, name, any.then_some("; not revoked at the provider, as the profile cannot be used"));
            return Ok(());
        }
    };
    let mut tokens = cache.all();
    let mut any = cache.clear().map_err(|e| not_removed(&e.to_string()))?;

    let mut opened = OpenStore::open(context.host, &profile);
    opened.follow(context.host, name)?;
    if let Some(elsewhere) = opened.cache_elsewhere(name) {
        tokens.extend(elsewhere.all());
        any |= elsewhere.clear().map_err(|e| not_removed(&e.to_string()))?;
    }
    tokens.extend(opened.access.iter().filter_map(|shared| Token::parse(shared.token.expose().as_bytes())));
    if profile.store.is_shared() && !opened.credentials.is_empty() {
        let text = format!("{name}: ending the session of every machine that uses the {} store", profile.store);
        context.host.terminal.tell(&text);
    }
    let mut broken = false;
    if let Some(trouble) = opened.trouble.clone() {
        let holds = noted.as_ref().is_some_and(|n| n.refresh_token || !n.secrets.is_empty());
        // An entry that cannot be read can be removed; a file that cannot be read holds those of others too.
        broken = match trouble.trouble {
            StoreErrorKind::Entry => true,
            StoreErrorKind::Corrupt => profile.store != StoreChoice::File,
            _ => false,
        };
        // Nothing was ever kept where no keyring is.
        let harmless = broken || (trouble.trouble == StoreErrorKind::Missing && !holds);
        if !harmless {
            let mut error = open_store::store_error(&profile, &trouble);
            error.why = format!("cached tokens were removed, but not what the store keeps: {}", error.why);
            return Err(error.into());
        }
    }
    // What a killed call left is revoked too. A store that does not take it will not take the end of the session either.
    let _ = journal::recover(context.host, &profile, &mut opened, None);
    let revoked = revoke(context.host, &mut profile, &opened.credentials, &tokens);
    any |= !opened.credentials.is_empty() || broken;
    if opened.trouble.is_none() || broken {
        // Also where nothing is kept: a killed process may have left something half written.
        let empty = crate::token::credentials::Credentials::default();
        opened.write(name, empty).map_err(|trouble| open_store::store_error(&profile, &trouble))?;
    }
    if let Some(noted) = &noted
        && noted.store != profile.store.to_string()
        && let Ok(choice) = StoreChoice::parse(&noted.store)
        && let Ok(Some(mut other)) = context.host.store(&choice, name)
    {
        any |= other.forget(name).map_err(|trouble| open_store::store_error(&profile, &trouble))?;
    }
    opened.indexes(context.host, name).iter().for_each(Index::forget);
    drop(lock);
    match revoked {
        Revoked::Yes => say(context, name, any.then_some(" and revoked at the provider")),
        Revoked::Cannot if any => context.host.terminal.warn(&format!(
            "{name}: {NOT_REVOKED}: {} has no revocation endpoint; its tokens stay valid until they expire",
            profile.provider.name
        )),
        Revoked::Cannot | Revoked::Nothing => say(context, name, any.then_some("")),
        Revoked::Failed(error) => {
            let unreached = Error::new(Kind::Unavailable, NOT_REVOKED, error.to_string());
            return Err(unreached
                .hint("tokens stay valid until they expire, or until you end the session at the provider")
                .into());
        }
    }
    Ok(())
}

/// Said where something may still be good at the provider.
const NOT_REVOKED: &str = "removed locally; not revoked at the provider";

fn resolve(context: &Context, name: &str, provider: Option<&str>) -> Result<Profile> {
    let in_config = context.setup.config.profiles.get(name).is_some_and(|p| p.provider.is_some());
    let provider = provider.filter(|p| !in_config && !p.is_empty() && *p != name).map(str::to_string);
    Profile::resolve(context.host, &context.setup, name, &Wishes { provider, ..Wishes::default() })
}

fn not_removed(why: &str) -> Error {
    Error::new(Kind::Other, "a cached token could not be removed", why)
}

/// Says that what there was is removed, and what else became of it; `None` where there was nothing.
fn say(context: &mut Context, name: &str, removed: Option<&str>) {
    let text = match removed {
        None => format!("{name}: not logged in; nothing to remove"),
        Some(more) => format!("{name}: removed locally{more}"),
    };
    context.host.terminal.tell(&text);
}
