//! `tok logout`: revokes where the provider can, then forgets refresh token, kept secrets and cached tokens.

use super::Context;
use crate::base::error::{Error, Kind, kind};
use crate::base::secret::Secret;
use crate::cli::Logout;
use crate::profile::discovery::Copies;
use crate::profile::{Profile, Source, Value, Wishes};
use crate::provider::Call;
use crate::session::exchange;
use crate::session::inputs::{self, For};
use crate::session::journal;
use crate::session::open_store::{self, Opened};
use crate::storage::cache::Cache;
use crate::storage::choice::StoreChoice;
use crate::storage::index::Index;
use crate::storage::secrets::Trouble;
use crate::token::Token;
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;

/// Logs out of one profile, or of all of which something is kept.
///
/// # Errors
/// The first that came up; with `--all` the others are logged out of all the same.
pub fn run(context: &mut Context, args: &Logout) -> Result<()> {
    if let Some(name) = &args.profile {
        return one(context, name).with_context(|| name.clone());
    }
    let mut names: BTreeSet<String> = Index::profiles(context.host.folders().ok()).into_iter().collect();
    let cached = context.host.folders().ok().and_then(|f| std::fs::read_dir(f.state.join("cache")).ok());
    names.extend(cached.into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()));
    names.extend(context.setup.config.profiles.keys().cloned());
    names.retain(|name| crate::base::name::is_name(name));
    let mut first = None;
    for name in names {
        // A broken profile of which nothing is kept has nothing to forget.
        let is_kept = Index::of(context.host.folders().ok(), &name).read().is_some()
            || context.host.folders().is_ok_and(|folders| folders.cache(&name).is_dir());
        if let Err(error) = one(context, &name).with_context(|| name.clone()) {
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
            let mut opened = Opened::open_as(context.host, name, &store);
            opened.follow(context.host, name)?;
            if let Some(elsewhere) = opened.cache_elsewhere(name) {
                any |= elsewhere.clear().map_err(|e| not_removed(&e.to_string()))?;
            }
            any |= opened.forget(name).map_err(|e| Error::new(Kind::Store, format!("{error:#}"), e.why))?;
            opened.indexes(context.host, name).iter().for_each(Index::forget);
            say(context, name, any, "it could not be revoked, as the profile is broken");
            return Ok(());
        }
    };
    let mut tokens = cache.all();
    let mut any = cache.clear().map_err(|e| not_removed(&e.to_string()))?;

    let mut opened = Opened::open(context.host, &profile);
    opened.follow(context.host, name)?;
    if let Some(elsewhere) = opened.cache_elsewhere(name) {
        tokens.extend(elsewhere.all());
        any |= elsewhere.clear().map_err(|e| not_removed(&e.to_string()))?;
    }
    let mut broken = false;
    if let Some(trouble) = opened.trouble.clone() {
        let holds = noted.as_ref().is_some_and(|n| n.refresh_token || !n.secrets.is_empty());
        // Nothing was ever kept where no keyring is; what cannot be read can be removed.
        let harmless = match trouble.trouble {
            Trouble::Missing => !holds,
            Trouble::Corrupt => profile.store != StoreChoice::File,
            _ => false,
        };
        broken = trouble.trouble == Trouble::Corrupt;
        if !harmless {
            let mut error = open_store::store_error(&profile, &trouble);
            error.why = format!("cached tokens are forgotten, what it keeps is not: {}", error.why);
            return Err(error.into());
        }
    }
    // What a killed call left is revoked too. A store that does not take it will not take the end of the session either.
    let _ = journal::recover(context.host, &profile, &mut opened, None);
    let revoked = revoke(context, &mut profile, &opened, &tokens);
    any |= !opened.kept.is_empty() || broken;
    if opened.trouble.is_none() || broken {
        // Also where nothing is kept: a killed process may have left something half written.
        let empty = crate::token::credentials::Kept::default();
        opened.write(name, empty).map_err(|trouble| open_store::store_error(&profile, &trouble))?;
    }
    if let Some(noted) = &noted
        && noted.store != profile.store.to_string()
        && let Ok(choice) = StoreChoice::parse(&noted.store)
        && let Ok(Some(mut other)) = context.host.store(&choice)
    {
        any |= other.forget(name).map_err(|trouble| open_store::store_error(&profile, &trouble))?;
    }
    opened.indexes(context.host, name).iter().for_each(Index::forget);
    drop(lock);
    match revoked {
        Revoked::Yes => say(context, name, any, "revoked"),
        Revoked::Cannot if any => context.host.terminal.warn(&format!(
            "{name}: forgotten here, not revoked there: {} has no way to revoke, and what it issued lives to its end",
            profile.provider.name
        )),
        Revoked::Cannot => say(context, name, any, ""),
        Revoked::Nothing => say(context, name, any, ""),
        Revoked::Failed(error) => {
            return Err(Error::new(Kind::Unavailable, "forgotten here, not revoked there", error.to_string()).into());
        }
    }
    Ok(())
}

fn resolve(context: &Context, name: &str, provider: Option<&str>) -> Result<Profile> {
    let in_config = context.setup.config.profiles.get(name).is_some_and(|p| p.provider.is_some());
    let provider = provider.filter(|p| !in_config && !p.is_empty() && *p != name).map(str::to_string);
    Profile::resolve(context.host, &context.setup, name, &Wishes { provider, ..Wishes::default() })
}

fn not_removed(why: &str) -> Error {
    Error::new(Kind::Other, "a cached token cannot be removed", why)
}

fn say(context: &mut Context, name: &str, any: bool, how: &str) {
    let text = match (any, how) {
        (false, _) => format!("{name}: nothing was kept"),
        (true, "") => format!("{name}: forgotten here"),
        (true, "revoked") => format!("{name}: revoked, and forgotten here"),
        (true, how) => format!("{name}: forgotten here; {how}"),
    };
    context.host.terminal.tell(&text);
}

enum Revoked {
    Yes,
    Cannot,
    Nothing,
    Failed(anyhow::Error),
}

/// Revokes the session, or the access tokens of a profile without one (RFC 7009).
fn revoke(context: &mut Context, profile: &mut Profile, opened: &Opened, cached: &[Token]) -> Revoked {
    let Some(names) = profile.provider.revoke.as_ref().map(Call::names) else { return Revoked::Cannot };
    let session = opened.kept.session.as_ref();
    if session.is_none() && (!names.contains_key("access_token") || cached.is_empty()) {
        return Revoked::Nothing;
    }
    if let Err(error) =
        profile.discover(context.host, names.into_keys().map(|name| (name, false)).collect(), Copies::Allowed)
    {
        return Revoked::Failed(error);
    }
    let Some(call) = &profile.provider.revoke else { return Revoked::Cannot };
    // A server without an address for it.
    let address = |name: &str| profile.value(name).is_some();
    if call.url.names().any(|(name, optional)| optional && !address(name)) {
        return Revoked::Cannot;
    }
    let url = profile.known_values().ok().and_then(|values| profile.session_url(&values));
    let secrets = opened.secrets_for(url.as_deref(), profile.value("client_id").as_deref());
    let access = |token: &Token| Value::kept(token.access_token.clone(), Some(profile.token_home(token)));
    let tokens: Vec<(&str, Value)> = match session {
        Some(session) => vec![("refresh_token", open_store::refresh_token(session))],
        None => cached.iter().map(|token| ("access_token", access(token))).collect(),
    };
    for token in tokens {
        let hint = Value::found(Secret::new(token.0), Source::Default);
        let extra = [token, ("token_type_hint", hint)];
        let inputs = match inputs::fill(context.host, profile, For::Call(call), &secrets, &extra) {
            Ok(inputs) => inputs,
            Err(error) => return Revoked::Failed(error),
        };
        if let Err(error) = exchange::revoke(context.host, profile, call, &inputs) {
            return Revoked::Failed(error);
        }
    }
    Revoked::Yes
}
