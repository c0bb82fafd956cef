//! The providers: the user's files before the built-in ones, each read once.

use super::config::{Config, ProfileConfig, is_near};
use super::{read_trusted, variable};
use crate::base::error::{Error, Kind, Result};
use crate::base::name::is_name;
use crate::base::text::nearest;
use crate::host::{Host, Loaded};
use crate::provider::{Provider, built_in};
use std::rc::Rc;

/// The provider `name`: the user's file of that name, else the built-in one.
///
/// # Errors
/// [`Kind::Config`] where the file is wrong. `Ok(None)`: there is no such provider.
pub fn load_provider(host: &Host, name: &str) -> Result<Option<Rc<Loaded>>> {
    host.provider(name, || read_provider(host, name))
}

pub(super) fn read_provider(host: &Host, name: &str) -> Result<Option<Loaded>> {
    // A path would lead out of the folder.
    if !is_name(name) {
        return Ok(None);
    }
    let file = host.folders().ok().map(|f| f.provider(name));
    if let Some(file) = file
        && let Some((text, _)) = read_trusted(&file)?
    {
        let provider = Provider::parse(name, &file.display().to_string(), &text)?;
        return Ok(Some(Loaded { provider, file: Some(file) }));
    }
    Ok(Provider::built_in(name).transpose()?.map(|provider| Loaded { provider, file: None }))
}

/// The names of all providers, the user's among them, sorted; broken files too.
pub fn provider_names(host: &Host) -> Vec<String> {
    let mut names: Vec<String> = built_in().map(|(name, _)| name.to_string()).collect();
    names.extend_from_slice(own_provider_names(host));
    names.sort();
    names.dedup();
    names
}

/// The names of the user's own provider files, sorted; broken ones too.
pub fn own_provider_names(host: &Host) -> &[String] {
    host.own_providers(|| {
        let folder = host.folders().ok().map(|folders| folders.config.join("providers"));
        let files = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let names = files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".toml").map(str::to_string));
        let mut names: Vec<String> = names.filter(|name| is_name(name)).collect();
        names.sort();
        names
    })
}

/// Two values must not share a variable: `a-b` with `c`, and `a` with `b_c`.
pub(super) fn check_variables(host: &Host, config: &Config, name: &str, provider: &Provider) -> Result<()> {
    let longer = format!("{name}-");
    let shorter = name.match_indices('-').filter_map(|(at, _)| name.get(..at));
    let mut others: Vec<&str> = shorter.filter(|other| config.profiles.contains_key(*other)).collect();
    let behind = config.profiles.range(longer.clone()..).map(|(other, _)| other.as_str());
    others.extend(behind.take_while(|other| other.starts_with(&longer)));
    let providers = built_in().map(|(other, _)| other).chain(own_provider_names(host).iter().map(String::as_str));
    others.extend(providers.filter(|other| *other != name && is_near(name, other)));
    for other in others {
        let of = config.profiles.get(other).and_then(|p| p.provider.clone()).unwrap_or(other.to_string());
        let Ok(Some(its)) = load_provider(host, &of) else { continue };
        for mine in &provider.params {
            let taken = variable(name, &mine.name);
            if let Some(theirs) = its.provider.params.iter().find(|p| variable(other, &p.name) == taken) {
                return Err(Error::new(
                    Kind::Config,
                    format!("{taken} would mean two values"),
                    format!("{} of profile {name}, and {} of profile {other}", mine.name, theirs.name),
                )
                .hint("rename one of the profiles"));
            }
        }
    }
    Ok(())
}

pub(super) fn not_known(host: &Host, config: &Config, name: &str, provider: &str, own: &ProfileConfig) -> Error {
    let providers = provider_names(host);
    if own.provider.is_some() {
        let near = nearest(provider, providers.iter().map(String::as_str));
        let why = format!("there is no provider `{}`", crate::base::text::escape(provider));
        let why = near.map_or(why.clone(), |n| format!("{why}; did you mean `{n}`?"));
        return Error::new(Kind::Config, &own.provider_at, why).hint("see them all: tok providers");
    }
    let names: Vec<&str> = providers.iter().chain(config.profiles.keys()).map(String::as_str).collect();
    let name = crate::base::text::escape_to(name, 80);
    let error = Error::new(Kind::Config, format!("there is no profile or provider `{name}`"), "");
    match nearest(&name, names) {
        Some(near) => error.hint(format!("did you mean {near}? See them all: tok list, tok providers")),
        None if config.profiles.contains_key(&name) => {
            error.hint(format!("the profile names no provider: add provider = \"…\" to [profile.{name}]"))
        }
        None => error.hint("see them all: tok list, tok providers"),
    }
}
