//! The values of a request: what was given, what was kept, the defaults, and what is signed here.

use crate::belongs::Known;
use crate::client_auth::{self, Moment};
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::kept::Kept;
use crate::profile::{Profile, Source, is_pem};
use crate::provider::{Call, Grant};
use crate::request::{self, Unready, Values};
use crate::token::Secret;
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

/// A grant with everything it needs.
pub struct Filled {
    /// The values.
    pub values: Values,
    /// Names of those that came from the store.
    pub from_store: Vec<String>,
    /// Names of those that came from neither environment, file nor command.
    pub from_config: Vec<String>,
    /// The key that the token is to be bound to (RFC 9449), where it is.
    pub dpop_key: Option<Secret>,
    /// Where a kept value among them belongs that the caller brought, such as the refresh token: it goes to no other
    /// origin. An empty one is none.
    pub homes: Vec<String>,
}

/// Finds the values of `what`: what was given, else what the store kept for the place it goes to, else the defaults.
/// `extra` are values that only the caller knows, such as the refresh token. An assertion that the grant makes itself
/// is made here.
///
/// # Errors
/// [`Kind::Config`] or [`Kind::Store`] where a command or the keyring fails.
pub fn fill(
    host: &Host,
    profile: &Profile,
    what: For,
    kept: &BTreeMap<String, Secret>,
    extra: &[(&str, &Secret)],
) -> Result<Filled> {
    let provider = &profile.provider;
    let names = match what {
        For::Grant(grant) => provider.uses(grant),
        For::Call(call) => provider.closure(call.names()),
    };
    let refreshes = matches!(what, For::Grant(grant) if provider.refresh_grant() == Some(grant));
    let mut filled = Filled {
        values: Values::new(),
        from_store: Vec::new(),
        from_config: Vec::new(),
        dpop_key: None,
        homes: Vec::new(),
    };
    for name in names.into_keys() {
        let source = profile.given.get(&name).map(|g| &g.source);
        // Left out, the scope is what was granted; what was asked for then may be more (RFC 6749 §6).
        if refreshes && name == "scope" && !source.is_some_and(is_of_this_call) {
            continue;
        }
        if let Some((_, secret)) = extra.iter().find(|(n, _)| *n == name) {
            filled.values.insert(name, secret.expose().to_string().into());
        } else if let Some(value) = profile.fetch(host, &name)? {
            let is_secret = profile.param(&name).is_some_and(|p| p.secret);
            if is_secret && matches!(source, Some(Source::Config | Source::Keyring(..))) {
                filled.from_config.push(name.clone());
            }
            filled.values.insert(name, value);
        } else if let Some(secret) = kept.get(&name) {
            filled.values.insert(name.clone(), secret.expose().to_string().into());
            filled.from_store.push(name);
        }
    }
    if let For::Grant(grant) = what {
        defaults(profile, grant, &mut filled.values);
    }
    request::defaults(provider, &mut filled.values).map_err(|u| profile.unready(u))?;
    for param in provider.params.iter().filter(|p| p.file) {
        let Some(value) = filled.values.get(&param.name).filter(|value| !is_pem(value)) else { continue };
        let read = host.read_secret_file(Path::new(value.as_str()), false, true);
        let text = read.map_err(|failed| {
            let source = profile.given.get(&param.name).map_or(Source::Default, |g| g.source.clone());
            profile.blame(&param.name, &source, &format!("names a file, and {}", failed.why))
        })?;
        filled.values.insert(param.name.clone(), text.expose().to_string().into());
    }
    if let For::Grant(Grant { assertion: Some(how), .. }) = what
        && !filled.values.contains_key("assertion")
    {
        let made = client_auth::assertion(how, &filled.values, &moment(host));
        let made = made.map_err(|unready| not_ready(profile, unready))?;
        filled.values.insert("assertion".into(), made.expose().to_string().into());
    }
    Ok(filled)
}

/// The grant's own defaults. Of a list only what the server knows is asked for: some refuse all for one unknown item.
fn defaults(profile: &Profile, grant: &Grant, values: &mut Values) {
    for (name, template) in &grant.defaults {
        if values.contains_key(name) {
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
    Moment { now: host.now().secs(), id: crate::digest::random(16) }
}

/// Whether a value is given for this call alone.
pub fn is_of_this_call(source: &Source) -> bool {
    matches!(source, Source::Flag | Source::Env(_) | Source::EnvFile(_))
}

/// [`Unready`] in the words of somebody who wants a token.
pub fn not_ready(profile: &Profile, unready: Unready) -> Error {
    match unready {
        Unready::Missing(value) => Error::new(Kind::LoginNeeded, format!("{}: {value} is missing", profile.name), "")
            .hint(format!("set {}, or log in: tok login {}", profile.ways(&value), profile.name)),
        wrong => profile.unready(wrong),
    }
}

impl Filled {
    /// Says that a kept value is among these which was got at `url`: it goes there, and nowhere where that is unknown.
    pub fn keep_for(&mut self, url: &str) {
        self.homes.push(crate::opened::origin(url).unwrap_or_default());
    }

    /// `known`, with the non-personal secrets that came from the store.
    pub fn known(&self, profile: &Profile, known: &Known) -> Known {
        let is_shared = |name: &&String| profile.provider.param(name).is_some_and(|p| p.secret && !p.personal);
        let kept = self.from_store.iter().filter(is_shared);
        known.with_secrets(kept.filter_map(|name| Some((name.as_str(), self.values.get(name)?.as_str()))))
    }

    /// Takes the profile's key where `grant` binds its token to one, or makes one.
    ///
    /// # Errors
    /// [`Kind::Other`] where there is no randomness.
    pub fn bind(&mut self, grant: &Grant, kept: &Kept) -> Result<()> {
        if grant.call.dpop {
            self.dpop_key = Some(match &kept.dpop_key {
                Some(key) => key.clone(),
                None => {
                    crate::jose::Key::generate().map_err(|why| Error::new(Kind::Other, "no key can be made", why))?.1
                }
            });
        }
        Ok(())
    }
}
