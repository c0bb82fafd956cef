//! Whose a token of this profile is: the settings that a kept one is compared with.

use super::config::ConfigValue;
use super::values::join;
use super::{Home, Profile, Source};
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::oauth::metadata::Metadata;
use crate::oauth::request::{self, Values};
use crate::provider::Call;
use crate::token::Token;
use crate::token::identity::{CurrentIdentity, KnownSecret};
use anyhow::Result;
use zeroize::Zeroizing;

impl Profile {
    /// The settings in force, to compare a kept token with.
    pub fn known(&self) -> Result<CurrentIdentity> {
        let values = self.known_values()?;
        let mut known = CurrentIdentity {
            url: self.session_url(&values),
            is_told: self.session_call().url.names().any(
                |(name, _)| matches!(self.given.get(name), Some(given) if matches!(given.source, Source::Metadata(_))),
            ),
            grant: self.asked.clone().or(self.config.grant.clone()),
            refresh_grant: self.provider.refresh.as_ref().map(|r| r.grant.clone()),
            refreshed: self.provider.refresh_grant().map(|g| g.names().into_keys().collect()).unwrap_or_default(),
            definition: self.provider.digest.clone(),
            ..CurrentIdentity::default()
        };
        known.usual_grants.push(self.default_grant().name.clone());
        known.usual_grants.extend(self.provider.refresh.as_ref().and_then(|r| r.fallback.clone()));
        let in_url = self.session_call().url.names().map(|(name, _)| (name.to_string(), true)).collect();
        let mut in_url = self.provider.closure(in_url);
        in_url.retain(|name, _| self.param(name).is_some_and(|p| p.url));
        for param in &self.provider.params {
            let given = self.given.get(&param.name);
            // The URL says what its parts are; what the metadata say, the issuer does. When a client expires is no part of it.
            let is_told = param.metadata.is_some() || self.provider.is_end_of_client(&param.name);
            if param.personal || in_url.contains_key(&param.name) || is_told {
                continue;
            }
            if param.list {
                if let Some(texts) = given.and_then(|g| g.text.as_ref()) {
                    let mut list: Vec<String> = texts.iter().map(|t| t.expose().to_string()).collect();
                    // RFC 6749 §3.3: the order of scopes does not matter.
                    list.sort();
                    list.dedup();
                    known.lists.insert(param.name.clone(), list);
                }
                continue;
            }
            if param.secret {
                let secret = given.map(|g| match (&g.text, &g.source) {
                    (Some(texts), _) => KnownSecret::Text(Secret::new(join(param, texts).as_str())),
                    (None, source) => KnownSecret::Reference(reference(source)),
                });
                known.secrets.extend(secret.map(|s| (param.name.clone(), s)));
                continue;
            }
            // The default of the client counts as known: a session of another client is another's.
            if (given.is_some() || param.name == "client_id")
                && let Some(value) = values.get(&param.name)
            {
                known.values.insert(param.name.clone(), value.to_string());
            }
        }
        Ok(known)
    }

    /// The URL that names a session: where its refresh token goes, else where the token comes from.
    pub fn session_url(&self, values: &Values) -> Option<String> {
        // It is kept and shown, so a secret in its path is left out of it.
        let mut values = values.clone();
        for param in self.provider.params.iter().filter(|p| p.secret) {
            values.entry(param.name.clone()).and_modify(|text| *text = Zeroizing::new("secret".into()));
        }
        request::url(&self.provider, self.session_call(), &values).ok()
    }

    pub(super) fn session_call(&self) -> &Call {
        &self.provider.refresh_grant().unwrap_or_else(|| self.default_grant()).call
    }

    /// Where the access token `token` may go: to the origin it was got from, to those that its issuer's metadata name,
    /// and to the hosts of the provider and the profile.
    pub fn token_home(&self, token: &Token) -> Home {
        let from = Url::parse(&token.identity.url).map(|url| url.origin()).ok();
        let told = self.metadata.iter().flat_map(Metadata::origins);
        let hosts = match self.provider.usage.hosts {
            Some(_) => self.api_home(Some(token)).into_origins(),
            None => self.config.hosts.clone(),
        };
        Home::any_of(from.into_iter().chain(told).chain(hosts))
    }

    /// Whether everything that decides about this profile's token is in the config, the provider file, the options and
    /// our own variables: no value from elsewhere in the environment, a file or a command.
    pub fn is_pinned(&self) -> bool {
        self.config
            .values
            .values()
            .all(|(v, _)| matches!(v, ConfigValue::Text(_) | ConfigValue::List(_) | ConfigValue::Keyring(..)))
            && self.given.values().all(|g| {
                let pinned = matches!(g.source, Source::Config | Source::Keyring(..) | Source::Flag | Source::Env(_));
                pinned || matches!(g.source, Source::Metadata(_))
            })
    }
}

fn reference(source: &Source) -> String {
    match source {
        Source::Command(words) => format!("command {}", words.join("\u{1f}")),
        // A token that was got for one job is not another's.
        Source::Ci { source, job, .. } => format!("{source:?}\u{1f}{job}"),
        other => other.to_string(),
    }
}
