//! A name becomes a profile: its provider, its settings, and its values by precedence.

pub mod ci;
pub mod config;
pub mod discovery;
mod exposed;
mod flags;
#[cfg(test)]
pub mod golden;
mod home;
mod hosts;
pub mod library;
mod owner;
pub mod stores;
#[cfg(test)]
pub mod testing;
mod values;

pub use crate::cli::Flag;
pub use exposed::{exposed, is_exposed};
pub use home::Home;
pub use library::{Library, Loaded};
pub use values::{Given, Source, Value, is_pem, variable};

use self::library::{check_variables, not_known};
use crate::base::error::{Error, Kind};
use crate::base::text::nearest;
use crate::host::{Host, LIMIT};
use crate::oauth::metadata::Metadata;
use crate::profile::config::{Config, ProfileConfig};
use crate::provider::{Grant, Provider};
use crate::storage::choice::StoreChoice;
use crate::system::files::{self, Numbers, TrustError};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One account at a provider.
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its provider.
    pub provider: Provider,
    /// The user's file that the provider comes from; `None`: it is built in.
    pub provider_file: Option<PathBuf>,
    /// The profile in the config, empty where there is none.
    pub config: ProfileConfig,
    /// The store for its session and secrets.
    pub store: StoreChoice,
    /// Whether its access tokens are cached on disk.
    pub cache: bool,
    /// Whether machines that share its store share its access tokens too.
    pub shares_tokens: bool,
    /// The minimum remaining lifetime in seconds, if a setting gives one.
    pub min_ttl: Option<i64>,
    /// Certificates trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Where the metadata of the client are, if it has no other name.
    pub client_metadata_url: Option<String>,
    /// `--grant`
    pub asked: Option<String>,
    /// The values that are known without a prompt, a command or the keyring.
    pub given: BTreeMap<String, Given>,
    /// Variables that are set but empty.
    pub empty: Vec<String>,
    /// What the issuer publishes, once it was asked.
    pub metadata: Option<Metadata>,
    /// Values whose file others than its owner may read or change, though it holds a key.
    pub exposed: Vec<(String, PathBuf)>,
}

/// What the command line says about a profile.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// `--grant`, or the grant of `login`.
    pub grant: Option<String>,
    /// Values.
    pub flags: BTreeMap<String, Flag>,
    /// `--store`
    pub store: Option<StoreChoice>,
    /// The provider, where `login PROVIDER --as NAME` names another than the profile's.
    pub provider: Option<String>,
    /// `--ci`
    pub ci: bool,
}

/// What the user has set up: the config and the providers, each read once.
#[derive(Default)]
pub struct Setup {
    /// The config file, which need not be there.
    pub config_path: PathBuf,
    /// What it says.
    pub config: Config,
    /// The providers.
    pub library: Library,
}

/// The config file of this run: `--config`, `$TOK_CONFIG`, or the usual one.
///
/// # Errors
/// [`Kind::Usage`] for a relative `$TOK_CONFIG`.
pub fn config_path(host: &Host, flag: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = flag {
        return Ok(std::path::absolute(path).map_err(|e| Error::new(Kind::Usage, "--config", e.to_string()))?);
    }
    match host.var("TOK_CONFIG")? {
        Some(path) if Path::new(&path).is_absolute() => Ok(path.into()),
        Some(_) => Err(Error::new(Kind::Usage, "TOK_CONFIG", "it must be an absolute path").into()),
        None => Ok(host.folders()?.config.join("config.toml")),
    }
}

/// The text of the config or of a provider file; `None` where there is none.
///
/// # Errors
/// [`Kind::Config`] for one that somebody else could have written, or that cannot be read.
pub fn read_trusted(host: &Host, path: &Path) -> Result<Option<String>> {
    Ok(read(host, path)?.map(|(text, _)| text))
}

/// [`read_trusted`] of a file with settings: the host notes what was read.
fn read_settings(host: &Host, path: &Path) -> Result<Option<String>> {
    let read = read(host, path)?;
    host.settings.note(path, read.as_ref().map(|(_, numbers)| *numbers));
    Ok(read.map(|(text, _)| text))
}

/// [`read_trusted`] with the file's numbers before it was read.
fn read(host: &Host, path: &Path) -> Result<Option<(String, Numbers)>> {
    let wrong = |why: String| Error::new(Kind::Config, path.display().to_string(), why);
    match files::read_trusted(path, LIMIT) {
        Ok(None) => Ok(None),
        Ok(Some((bytes, numbers))) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((text, numbers))),
            Err(_) => Err(wrong("it is not UTF-8 text".into()).into()),
        },
        Err(error) => {
            let hint = match &error {
                TrustError::Untrusted(untrusted) => untrusted.hint(host.is_sudo()),
                _ => None,
            };
            let error = wrong(error.to_string());
            Err(hint.map_or(error.clone(), |hint| error.hint(hint)).into())
        }
    }
}

/// Reads the config file `path`: an empty config where there is none.
///
/// # Errors
/// [`Kind::Config`] with line and column.
pub fn load_config(host: &Host, path: &Path) -> Result<Config> {
    let Some(text) = read_settings(host, path)? else { return Ok(Config::default()) };
    Ok(Config::parse(path, &text, host.folders().ok().map(|folders| folders.home.as_path()))?)
}

impl Profile {
    /// The profile `name`, with its values as far as they are known without a prompt, a command or the keyring.
    ///
    /// # Errors
    /// [`Kind::Config`] where it is not known or something is wrong in the config; [`Kind::Usage`] for a flag that its
    /// provider does not know.
    pub fn resolve(host: &Host, setup: &Setup, name: &str, wishes: &Wishes) -> Result<Profile> {
        let Setup { config, library, .. } = setup;
        let own = config.profiles.get(name).cloned().unwrap_or_default();
        let provider_name = match (&wishes.provider, &own.provider) {
            (Some(wish), Some(has)) if wish != has => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{name} is a profile of {has}, not {wish}"),
                    "a profile has one provider",
                )
                .hint(format!("choose another name with --as, or delete [profile.{name}] from the config"))
                .into());
            }
            (Some(wish), _) => wish.clone(),
            (None, Some(has)) => has.clone(),
            (None, None) => name.to_string(),
        };
        let Some(loaded) = library.provider(host, &provider_name)? else {
            return Err(not_known(host, setup, name, &provider_name, &own).into());
        };
        check_variables(host, library, config, name, &loaded.provider)?;
        let store = match (&wishes.store, host.var("TOK_STORE")?) {
            (Some(flag), _) => flag.clone(),
            (None, Some(text)) => StoreChoice::parse(&text).map_err(|why| Error::new(Kind::Usage, "TOK_STORE", why))?,
            (None, None) => {
                let setting = own.settings.store.clone().or(config.settings.store.clone());
                setting.unwrap_or(StoreChoice::Keyring)
            }
        };
        let cache = match host.var("TOK_CACHE")?.as_deref() {
            Some("disk") => true,
            Some("off") => false,
            Some(_) => return Err(Error::new(Kind::Usage, "TOK_CACHE", "expected disk or off").into()),
            None => own.settings.cache.or(config.settings.cache).unwrap_or(true),
        };
        let of_vault = config.vault_share.filter(|_| matches!(store, StoreChoice::Vault { .. }));
        let early = loaded.provider.refresh.as_ref().and_then(|refresh| refresh.early);
        let mut profile = Profile {
            name: name.into(),
            store,
            cache,
            shares_tokens: own.settings.share.or(config.settings.share).or(of_vault).unwrap_or(true),
            min_ttl: own.settings.min_ttl.or(config.settings.min_ttl).or(early),
            ca_file: own.settings.ca_file.clone().or(config.settings.ca_file.clone()),
            client_metadata_url: own
                .settings
                .client_metadata_url
                .clone()
                .or(config.settings.client_metadata_url.clone()),
            asked: wishes.grant.clone(),
            provider: loaded.provider.clone(),
            provider_file: loaded.file.clone(),
            config: own,
            given: BTreeMap::new(),
            empty: Vec::new(),
            metadata: None,
            exposed: Vec::new(),
        };
        let full = |name: Option<String>| name.map(|name| profile.provider.full_grant_name(&name).to_string());
        (profile.asked, profile.config.grant) = (full(profile.asked.clone()), full(profile.config.grant.clone()));
        profile.check_grants()?;
        profile.check_config_values()?;
        profile.gather(host, &wishes.flags)?;
        profile.choose();
        let values = profile.known_values()?;
        profile.provider.calls_mut().for_each(|call| call.settle(|name| values.get(name).map(|v| v.as_str())));
        if wishes.ci {
            profile.take_identity(host);
        }
        profile.identity_defaults();
        Ok(profile)
    }

    /// Puts what is set by the choices that are made into the defaults.
    pub fn choose(&mut self) {
        let given = |name: &str| match self.given.get(name)?.text.as_deref()? {
            [text] => Some(text.expose()),
            _ => None,
        };
        self.provider.choose(given);
    }

    fn check_grants(&self) -> Result<()> {
        let names = || self.provider.grants.iter().map(|g| g.name.as_str());
        let wrong = |kind, what: String, typed: &str| {
            let grants = names().collect::<Vec<_>>().join(", ");
            let near = nearest(typed, names()).map(|n| format!("; did you mean {n}?")).unwrap_or_default();
            Error::new(kind, what, format!("{} has {grants}{near}", self.provider.name))
        };
        if let Some(grant) = &self.asked
            && self.provider.grant(grant).is_none()
        {
            let what = format!("{} has no grant `{}`", self.provider.name, crate::base::text::escape(grant));
            let hint = format!("list them: tok providers {}", self.provider.name);
            return Err(wrong(Kind::Usage, what, grant).hint(hint).into());
        }
        if let Some(grant) = &self.config.grant
            && self.provider.grant(grant).is_none()
        {
            let what = format!("{}: unknown grant `{}`", self.config.grant_at, crate::base::text::escape(grant));
            return Err(wrong(Kind::Config, what, grant).into());
        }
        Ok(())
    }

    /// The grant that a login runs where none is named: the profile's, else the provider's first.
    pub fn default_grant(&self) -> &Grant {
        let named = self.asked.as_deref().or(self.config.grant.as_deref());
        named.and_then(|name| self.provider.grant(name)).unwrap_or(&self.provider.grants[0])
    }

    /// The command that logs in with the options of this call. A secret is none of them: it is asked for.
    pub fn login_command(&self, grant: Option<&Grant>) -> String {
        self.command(grant, None, |source| *source == Source::Flag)
    }

    /// [`Profile::login_command`] for the profile `other`: variables and config of this one are not that one's, so what they
    /// give is an option too.
    pub fn login_command_as(&self, grant: &Grant, other: &str) -> String {
        let is_own =
            |source: &Source| matches!(source, Source::Flag | Source::Env(_) | Source::EnvFile(_) | Source::Config);
        self.command(Some(grant), Some(other), is_own)
    }

    fn command(&self, grant: Option<&Grant>, other: Option<&str>, takes: impl Fn(&Source) -> bool) -> String {
        let mut words = vec!["tok".to_string(), "login".into(), self.name.clone()];
        words.extend(grant.map(|grant| grant.name.clone()));
        for (name, given) in &self.given {
            if takes(&given.source) && self.param(name).is_some_and(|param| !param.secret) {
                let flag = format!("--{}", name.replace('_', "-"));
                words.extend(given.text.iter().flatten().flat_map(|text| [flag.clone(), text.expose().to_string()]));
            }
        }
        words.extend(other.into_iter().flat_map(|other| ["--as".to_string(), other.to_string()]));
        // What no shell can quote, a NUL, is in no command line.
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| format!("tok login {}", self.name))
    }

    /// The command that shows the values that were sent, if there is one.
    pub fn to_see(&self) -> String {
        if self.is_kept() { format!(": tok show {}", self.name) } else { String::new() }
    }

    /// Whether the next command knows it by name.
    fn is_kept(&self) -> bool {
        self.name == self.provider.name || self.config.provider.is_some()
    }
}
