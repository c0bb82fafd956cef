//! The values of a request: what was given, what was kept, the defaults, and what is signed here.

use crate::base::error::{Error, Kind};
use crate::base::secret::Lines;
use crate::base::secret::Secret;
use crate::host::{Host, Stdin};
use crate::oauth::client_auth::{self, Moment};
use crate::oauth::request::{self, Unready, Values};
use crate::profile::{Home, Profile, Source, Value, is_pem};
use crate::provider::function::{NOW, RANDOM};
use crate::provider::{Call, Grant, Provider};
use crate::token::credentials::Credentials;
use crate::token::identity::CurrentIdentity;
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;

/// What is to be sent.
#[derive(Clone, Copy)]
pub enum For<'a> {
    /// A grant, with its flow.
    Grant(&'a Grant),
    /// Another request.
    Call(&'a Call),
}

/// The values of a request, with where each may go.
pub struct Inputs {
    values: Values,
    /// The homes of those that have one.
    homes: BTreeMap<String, Home>,
    /// Names of those that came from neither environment, file nor command.
    pub from_config: Vec<String>,
    /// The key that the token is to be bound to (RFC 9449), where it is.
    pub dpop_key: Option<Secret>,
}

/// Finds the values of `what`: what was given, else what the store kept for the place it goes to, else the defaults.
/// `extra` are values that only the caller knows, such as the refresh token. An assertion that the grant makes itself
/// is made here.
///
/// # Errors
/// [`Kind::Config`] or [`Kind::Store`] where a command or the keyring fails.
pub fn fill(
    host: &mut Host,
    profile: &Profile,
    what: For,
    kept: &BTreeMap<String, Value>,
    extra: &[(&str, Value)],
) -> Result<Inputs> {
    let provider = &profile.provider;
    let names = match what {
        For::Grant(grant) => provider.uses(grant),
        For::Call(call) => provider.closure(call.names()),
    };
    let moment_of = (host.clock.now().0.div_euclid(1_000_000), crate::base::digest::random(16));
    let refreshes = matches!(what, For::Grant(grant) if provider.refresh_grant() == Some(grant));
    let mut inputs = Inputs::bound(None);
    inputs.set(NOW, &moment_of.0.to_string());
    inputs.set(RANDOM, &moment_of.1);
    for name in names.into_keys() {
        let source = profile.given.get(&name).map(|g| &g.source);
        // Left out, the scope is what was granted; what was asked for then may be more (RFC 6749 §6).
        if refreshes && name == "scope" && !source.is_some_and(is_of_this_call) {
            continue;
        }
        if let Some((_, value)) = extra.iter().find(|(n, _)| *n == name) {
            inputs.insert(&name, value.clone());
        } else if let Some(value) = profile.fetch(host, &name)? {
            let is_secret = profile.param(&name).is_some_and(|p| p.secret);
            if is_secret && matches!(source, Some(Source::Config | Source::Keyring(..))) {
                inputs.from_config.push(name.clone());
            }
            inputs.values.insert(name, value);
        } else if let Some(value) = kept.get(&name) {
            inputs.insert(&name, value.clone());
        }
    }
    if let For::Grant(grant) = what {
        defaults(profile, grant, &mut inputs.values);
    }
    request::defaults(provider, &mut inputs.values, &|name| profile.is_off(name)).map_err(|u| profile.unready(u))?;
    inputs.inherit(provider);
    for param in provider.params.iter().filter(|p| p.file) {
        let Some(value) = inputs.values.get(&param.name).filter(|value| !is_pem(value)) else { continue };
        let read = host.read_secret_file(Path::new(value.as_str()), Stdin::Refused, Lines::Many);
        let text = read.map_err(|failed| {
            let source = profile.given.get(&param.name).map_or(Source::Default, |g| g.source.clone());
            profile.blame(&param.name, &source, &format!("names a file, and {}", failed.why))
        })?;
        inputs.values.insert(param.name.clone(), text.expose().to_string().into());
    }
    if let For::Grant(Grant { assertion: Some(how), .. }) = what
        && !inputs.values.contains_key("assertion")
    {
        let made = client_auth::assertion(provider, how, &inputs.values, &moment(host));
        let made = made.map_err(|unready| not_ready(profile, unready))?;
        let home = how.names().into_keys().find_map(|name| inputs.homes.get(&name).cloned());
        inputs.insert("assertion", Value { text: made, home });
    }
    Ok(inputs)
}

/// The grant's own defaults. Of a list only what the server knows is asked for: some refuse all for one unknown item.
pub(super) fn defaults(profile: &Profile, grant: &Grant, values: &mut Values) {
    for (name, template) in &grant.defaults {
        if values.contains_key(name) || profile.is_off(name) {
            continue;
        }
        let Ok(text) = template.fill(|name| values.get(name).map(|v| v.as_str())) else { continue };
        let param = profile.provider.param(name);
        let supported = param.and_then(|p| p.supported.as_ref()).and_then(|key| profile.metadata.as_ref()?.list(key));
        let text = match (supported, param) {
            (Some(known), Some(param)) => {
                let items = text.split(&param.separator).filter(|item| known.iter().any(|k| k == item));
                items.collect::<Vec<_>>().join(&param.separator)
            }
            _ => text,
        };
        if !text.is_empty() {
            values.insert(name.clone(), text.into());
        }
    }
}

/// What is signed now.
pub fn moment(host: &Host) -> Moment {
    Moment { now: host.clock.now().secs(), id: crate::base::digest::random(16) }
}

/// Whether a value is given for this call alone.
pub fn is_of_this_call(source: &Source) -> bool {
    matches!(source, Source::Flag | Source::Env(_) | Source::EnvFile(_))
}

/// [`Unready`] as the error of a call for a token.
pub fn not_ready(profile: &Profile, unready: Unready) -> Error {
    match unready {
        Unready::Missing(value) => Error::new(Kind::LoginNeeded, format!("{value} is missing"), "").hint(format!(
            "set {}, or log in: tok login {}",
            profile.ways(&value),
            profile.name
        )),
        wrong => profile.unready(wrong),
    }
}

impl Inputs {
    /// No values, and the key that the token is bound to.
    pub fn bound(dpop_key: Option<Secret>) -> Inputs {
        Inputs { values: Values::new(), homes: BTreeMap::new(), from_config: Vec::new(), dpop_key }
    }

    /// The values by name.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The text of a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.as_str())
    }

    /// Adds a value, or puts another in its place.
    pub fn insert(&mut self, name: &str, value: Value) {
        self.values.insert(name.into(), value.text.expose().to_string().into());
        match value.home {
            Some(home) => self.homes.insert(name.into(), home),
            None => self.homes.remove(name),
        };
    }

    /// Adds a value that was found on the way.
    pub fn set(&mut self, name: &str, text: &str) {
        self.insert(name, Value::found(Secret::new(text)));
    }

    /// The names of the values that come from the store, or are made of such.
    pub fn kept_names(&self) -> impl Iterator<Item = &str> {
        self.homes.keys().map(String::as_str)
    }

    /// A default that holds a kept value goes where that one may go.
    fn inherit(&mut self, provider: &Provider) {
        for _ in 0..provider.params.len() {
            let before = self.homes.len();
            for param in provider.params.iter().filter(|p| self.values.contains_key(&p.name)).collect::<Vec<_>>() {
                if self.homes.contains_key(&param.name) {
                    continue;
                }
                // Only what a default was made of counts; a value that was given is what it is.
                let holds = |name: &str| {
                    let (whole, part) = (self.values.get(&param.name)?, self.values.get(name)?);
                    whole.contains(part.as_str()).then(|| self.homes.get(name).cloned())?
                };
                let inside = param.inside.as_ref().and_then(|inside| self.homes.get(&inside.value).cloned());
                if let Some(home) = inside.or_else(|| param.leads_to().iter().find_map(|(name, _)| holds(name))) {
                    self.homes.insert(param.name.clone(), home);
                }
            }
            if self.homes.len() == before {
                break;
            }
        }
    }

    /// A value among `names` that may not go to the origin `to`: its name and its home.
    pub fn astray<'i>(&'i self, names: impl IntoIterator<Item = &'i String>, to: &str) -> Option<(&'i str, &'i Home)> {
        let homes = names.into_iter().filter_map(|name| Some((name.as_str(), self.homes.get(name)?)));
        homes.into_iter().find(|(_, home)| !home.allows(to))
    }

    /// `known`, with the non-personal secrets that came from the store.
    pub fn known(&self, profile: &Profile, known: &CurrentIdentity) -> CurrentIdentity {
        let is_shared = |name: &&str| profile.provider.param(name).is_some_and(|p| p.secret && !p.personal);
        let kept = self.kept_names().filter(is_shared);
        known.with_secrets(kept.filter_map(|name| Some((name, self.get(name)?))))
    }

    /// Takes the profile's key where `grant` binds its token to one, or makes one.
    ///
    /// # Errors
    /// [`Kind::Other`] where there is no randomness.
    pub fn bind(&mut self, grant: &Grant, credentials: &Credentials) -> Result<()> {
        if grant.call.dpop {
            self.dpop_key = Some(match &credentials.dpop_key {
                Some(key) => key.clone(),
                None => {
                    crate::base::jose::Key::generate()
                        .map_err(|why| Error::new(Kind::Other, "no key can be made", why))?
                        .1
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
