//! A name becomes a profile: its provider, its settings, and its values by precedence.

pub mod config;

use crate::base::error::{Error, Kind, Result};
use crate::base::text::nearest;
use crate::base::toml::{Document, unknown};
use crate::cli::Flag;
use crate::host::{Host, LIMIT, Loaded};
use crate::oauth::client_auth;
use crate::oauth::metadata::{self, Metadata};
use crate::oauth::request::{self, Unready, Values};
use crate::profile::config::{Config, ConfigValue, ProfileConfig, StoreChoice};
use crate::provider::{Auth, Call, Grant, Param, Provider, built_in, is_name};
use crate::system::files;
use crate::system::process::Failed;
use crate::token::Secret;
use crate::token::identity::{Known, KnownSecret};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zeroize::Zeroizing;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag,
    /// An environment variable.
    Env(String),
    /// A file that an environment variable names.
    EnvFile(String),
    /// The config itself.
    Config,
    /// An environment variable that the config names.
    ConfigEnv(String),
    /// A file that the config names.
    ConfigFile(PathBuf),
    /// A command in the config.
    Command(Vec<String>),
    /// An entry of the keyring that the config names.
    Keyring(String, String),
    /// The store: what a login kept.
    Store,
    /// What the issuer publishes.
    Metadata(String),
    /// The provider's default.
    Default,
    /// A person, just now.
    Asked,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Flag => f.write_str("a flag"),
            Source::Env(name) => write!(f, "the environment ({name})"),
            Source::EnvFile(name) => write!(f, "a file named by the environment ({name})"),
            Source::Config => f.write_str("the config"),
            Source::ConfigEnv(name) => write!(f, "the config, from the environment ({name})"),
            Source::ConfigFile(path) => write!(f, "the config, from the file {}", path.display()),
            Source::Command(words) => write!(f, "the config, from the command {}", words[0]),
            Source::Keyring(service, user) => write!(f, "the config, from the keyring ({service}/{user})"),
            Source::Store => f.write_str("the secret store"),
            Source::Metadata(issuer) => write!(f, "the metadata of {issuer}"),
            Source::Default => f.write_str("the provider's default"),
            Source::Asked => f.write_str("the terminal"),
        }
    }
}

/// A value that was found.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its text, or several; `None` while a command or the keyring would have to be asked.
    pub text: Option<Vec<Secret>>,
    /// Where it comes from.
    pub source: Source,
}

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
    /// Where its session and secrets are kept.
    pub store: StoreChoice,
    /// Whether its access tokens wait on disk.
    pub cache: bool,
    /// The life a token should have left, where a setting says so; in seconds.
    pub min_ttl: Option<i64>,
    /// Certificates trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// `--grant`
    pub asked: Option<String>,
    /// The values found without asking anybody.
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
}

/// The config file of this run: `--config`, `$TOK_CONFIG`, or the usual one.
///
/// # Errors
/// [`Kind::Usage`] for a relative `$TOK_CONFIG`.
pub fn config_path(host: &Host, flag: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = flag {
        return std::path::absolute(path).map_err(|e| Error::new(Kind::Usage, "--config", e.to_string()));
    }
    match host.var("TOK_CONFIG")? {
        Some(path) if Path::new(&path).is_absolute() => Ok(path.into()),
        Some(_) => Err(Error::new(Kind::Usage, "TOK_CONFIG", "it must be an absolute path")),
        None => Ok(host.folders()?.config.join("config.toml")),
    }
}

/// The text of the config or of a provider file; `None` where there is none.
///
/// # Errors
/// [`Kind::Config`] for one that somebody else could have written, or that cannot be read.
pub fn read_trusted(path: &Path) -> Result<Option<String>> {
    let wrong = |why: String| Error::new(Kind::Config, path.display().to_string(), why);
    match files::read_trusted(path, LIMIT) {
        Ok(None) => Ok(None),
        Ok(Some((bytes, _))) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(wrong("it is not UTF-8 text".into())),
        },
        Err(error) => {
            let unsafe_file = matches!(error, files::ReadError::Unsafe(_));
            let error = wrong(error.to_string());
            Err(if unsafe_file {
                error.hint(format!("make it yours alone: chmod go-w {}", path.display()))
            } else {
                error
            })
        }
    }
}

/// Reads the config file `path`: an empty config where there is none.
///
/// # Errors
/// [`Kind::Config`] with line and column.
pub fn load_config(host: &Host, path: &Path) -> Result<Config> {
    let Some(text) = read_trusted(path)? else { return Ok(Config::default()) };
    Config::parse(path, &text, host.folders().ok().map(|folders| folders.home.as_path()))
}

/// The provider `name`: the user's file of that name, else the built-in one.
///
/// # Errors
/// [`Kind::Config`] where the file is wrong. `Ok(None)`: there is no such provider.
pub fn load_provider(host: &Host, name: &str) -> Result<Option<Rc<Loaded>>> {
    host.provider(name, || read_provider(host, name))
}

fn read_provider(host: &Host, name: &str) -> Result<Option<Loaded>> {
    // A path would lead out of the folder.
    if !is_name(name) {
        return Ok(None);
    }
    let file = host.folders().ok().map(|f| f.provider(name));
    if let Some(file) = file
        && let Some(text) = read_trusted(&file)?
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

/// The variable of the value `value` of `profile`.
pub fn variable(profile: &str, value: &str) -> String {
    let upper = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
    };
    format!("TOK_{}_{}", upper(profile), upper(value))
}

impl Profile {
    /// The profile `name`, with its values as far as they are known without asking anybody.
    ///
    /// # Errors
    /// [`Kind::Config`] where it is not known or something is wrong in the config; [`Kind::Usage`] for a flag that its
    /// provider does not know.
    pub fn resolve(host: &Host, config: &Config, name: &str, wishes: &Wishes) -> Result<Profile> {
        let own = config.profiles.get(name).cloned().unwrap_or_default();
        let provider_name = match (&wishes.provider, &own.provider) {
            (Some(wish), Some(has)) if wish != has => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{name} is a profile of {has}, not of {wish}"),
                    "a profile has one provider",
                )
                .hint(format!("choose another name with --as, or take [profile.{name}] out of the config")));
            }
            (Some(wish), _) => wish.clone(),
            (None, Some(has)) => has.clone(),
            (None, None) => name.to_string(),
        };
        let Some(loaded) = load_provider(host, &provider_name)? else {
            return Err(not_known(host, config, name, &provider_name, &own));
        };
        check_variables(host, config, name, &loaded.provider)?;
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
            Some(_) => return Err(Error::new(Kind::Usage, "TOK_CACHE", "expected disk or off")),
            None => own.settings.cache.or(config.settings.cache).unwrap_or(true),
        };
        let mut profile = Profile {
            name: name.into(),
            store,
            cache,
            min_ttl: own.settings.min_ttl.or(config.settings.min_ttl),
            ca_file: own.settings.ca_file.clone().or(config.settings.ca_file.clone()),
            asked: wishes.grant.clone(),
            provider: loaded.provider.clone(),
            provider_file: loaded.file.clone(),
            config: own,
            given: BTreeMap::new(),
            empty: Vec::new(),
            metadata: None,
            exposed: Vec::new(),
        };
        profile.check_grants()?;
        profile.check_config_values()?;
        profile.gather(host, &wishes.flags)?;
        let values = profile.known_values()?;
        profile.provider.calls_mut().for_each(|call| call.settle(|name| values.get(name).map(|v| v.as_str())));
        Ok(profile)
    }

    /// Warns of files with a key that others may read.
    pub fn warn_of_exposed(&self, host: &mut Host) {
        self.exposed.iter().for_each(|(name, file)| host.warn(&format!("{}: {}", self.name, exposed(name, file))));
    }

    /// Asks the issuer for the endpoints that a call with these `names` needs and nobody has given (RFC 8414). Does
    /// nothing where all are known, or where no issuer is. `fresh`: as it is published now.
    ///
    /// # Errors
    /// As [`metadata::discover`]; [`Kind::Reply`] where an endpoint that is needed cannot be used.
    pub fn discover(&mut self, host: &mut Host, names: BTreeMap<String, bool>, fresh: bool) -> Result<()> {
        let values = self.known_values()?;
        let Some(issuer) = values.get("issuer").map(|issuer| issuer.to_string()) else { return Ok(()) };
        let names = self.provider.closure(names);
        let lacks = |param: &Param| param.metadata.is_some() && !values.contains_key(&param.name);
        let needed = |param: &Param| names.get(&param.name).is_some_and(|optional| !optional);
        if self.metadata.is_some() || !self.provider.params.iter().any(|p| lacks(p) && needed(p)) {
            return Ok(());
        }
        let metadata = metadata::discover(host, &issuer, self.ca_file.as_deref(), fresh)?;
        let mutual = self.settle_auth(&metadata, &values);
        for param in self.provider.params.iter().filter(|p| lacks(p)) {
            let Some(key) = &param.metadata else { continue };
            match metadata.endpoint_with(key, mutual) {
                Ok(Some(url)) => {
                    let given = Given { text: Some(vec![Secret::new(url)]), source: Source::Metadata(issuer.clone()) };
                    self.given.insert(param.name.clone(), given);
                }
                Err(why) if needed(param) => {
                    let what = format!("{}: the metadata of {issuer} cannot be used", self.name);
                    return Err(Error::new(Kind::Reply, what, why)
                        .hint(format!("give it as it should be: --{} URL", param.name.replace('_', "-"))));
                }
                Ok(None) | Err(_) => {}
            }
        }
        self.metadata = Some(metadata);
        Ok(())
    }

    /// Whether the client shows a certificate, which servers may want at addresses of their own (RFC 8705 §5).
    fn settle_auth(&mut self, metadata: &Metadata, values: &Values) -> bool {
        let supported = metadata.list("token_endpoint_auth_methods_supported").unwrap_or_default();
        let mut names = values.clone();
        let given = self.given.keys().map(String::as_str);
        // A certificate is of no use without its key, which may be kept.
        let key = given.clone().any(|name| name == "certificate").then_some("private_key");
        names.extend(given.chain(key).map(|name| (name.to_string(), Zeroizing::new(String::new()))));
        let chosen = client_auth::choose(&names, &supported);
        let tls = |auth| matches!(auth, Auth::Tls | Auth::TlsSelfSigned);
        for call in self.provider.calls_mut().filter(|call| call.auth == Auth::Auto && tls(chosen)) {
            call.auth = chosen;
        }
        self.provider.grants.iter().any(|grant| tls(grant.call.auth))
    }

    /// What the metadata lack of `missing`, as an error: nobody can type what the server does not have.
    pub fn not_offered(&self, grant: &Grant, missing: &[String]) -> Option<Error> {
        self.metadata.as_ref()?;
        let value = missing.iter().find(|name| self.param(name).is_some_and(|p| p.metadata.is_some()))?;
        let key = self.param(value)?.metadata.clone()?;
        let issuer = self.known_values().ok()?.get("issuer")?.to_string();
        let what = format!("{}: {issuer} does not offer the grant {}", self.name, grant.name);
        let flag = value.replace('_', "-");
        Some(
            Error::new(Kind::Reply, what, format!("its metadata name no {key}"))
                .hint(format!("if it has one all the same, give it: --{flag} URL")),
        )
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
            return Err(wrong(Kind::Usage, what, grant));
        }
        if let Some(grant) = &self.config.grant
            && self.provider.grant(grant).is_none()
        {
            let what = format!("{}: there is no grant `{}`", self.config.grant_at, crate::base::text::escape(grant));
            return Err(wrong(Kind::Config, what, grant));
        }
        Ok(())
    }

    fn check_config_values(&self) -> Result<()> {
        for (name, (given, at)) in &self.config.values {
            let Some(param) = self.provider.param(name).or(refresh_token_param(&self.provider, name)) else {
                let keys = crate::provider::CONFIG_KEYS.iter().copied().filter(|k| *k != "profile");
                let names = self.provider.params.iter().map(|p| p.name.as_str()).chain(keys);
                let doc = Document::new("", "");
                let why = unknown(&doc, 0..0, "key or value", name, names).why;
                return Err(Error::new(Kind::Config, at, why));
            };
            if matches!(given, ConfigValue::List(_)) && !param.list {
                return Err(Error::new(Kind::Config, at, format!("`{name}` is one value, not a list")));
            }
        }
        Ok(())
    }

    /// Looks each value up: flag, environment, config.
    fn gather(&mut self, host: &Host, flags: &BTreeMap<String, Flag>) -> Result<()> {
        for name in flags.keys() {
            if self.provider.param(name).is_none() && refresh_token_param(&self.provider, name).is_none() {
                let flag = name.replace('_', "-");
                return Err(Error::new(
                    Kind::Usage,
                    format!("{} takes no --{flag}", self.provider.name),
                    format!("its values are {}", self.value_names()),
                ));
            }
        }
        if flags.values().filter(|f| matches!(f, Flag::File(p) if p == Path::new("-"))).count() > 1 {
            return Err(Error::new(Kind::Usage, "stdin can give one value", "`-` stands for it more than once"));
        }
        let mut params = self.provider.params.clone();
        params.extend(refresh_token_param(&self.provider, "refresh_token").cloned());
        for param in &params {
            let found = match flags.get(&param.name) {
                Some(flag) => Some(from_flag(host, param, flag)?),
                None => match self.in_environment(host, param)? {
                    Some(given) => Some(given),
                    None => self.in_config(host, param)?,
                },
            };
            if let Some(given) = found {
                self.check_value(param, &given)?;
                let file = match (&given.source, flags.get(&param.name)) {
                    (Source::Flag, Some(Flag::File(path))) if path != Path::new("-") => Some(path.clone()),
                    (Source::EnvFile(variable), _) => host.var(variable)?.map(PathBuf::from),
                    (Source::ConfigFile(path), _) => Some(path.clone()),
                    _ => None,
                };
                self.exposed.extend(file.filter(|file| is_exposed(param, file)).map(|file| (param.name.clone(), file)));
                self.given.insert(param.name.clone(), given);
            }
        }
        Ok(())
    }

    fn value_names(&self) -> String {
        let names: Vec<&str> = self.provider.params.iter().map(|p| p.name.as_str()).collect();
        names.join(", ")
    }

    fn in_environment(&mut self, host: &Host, param: &Param) -> Result<Option<Given>> {
        let name = variable(&self.name, &param.name);
        let file = format!("{name}_FILE");
        self.empty.extend([&name, &file].into_iter().filter(|n| host.is_set_but_empty(n)).cloned());
        Ok(match (host.var(&name)?, host.var(&file)?) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{name} and {file} are both set"),
                    "they mean the same value",
                ));
            }
            (Some(text), None) => Some(Given { text: Some(split(param, &text)), source: Source::Env(name) }),
            (None, Some(path)) => {
                let read = host.read_secret_file(Path::new(&path), false, param.lines || param.file);
                let secret =
                    read.map_err(|failed| unread(Kind::Usage, format!("the file that {file} names"), failed))?;
                Some(Given { text: Some(split(param, secret.expose())), source: Source::EnvFile(file) })
            }
        })
    }

    fn in_config(&mut self, host: &Host, param: &Param) -> Result<Option<Given>> {
        let Some((value, at)) = self.config.values.get(&param.name) else { return Ok(None) };
        Ok(Some(match value {
            ConfigValue::Text(text) => Given { text: Some(split(param, text.expose())), source: Source::Config },
            ConfigValue::List(items) => {
                Given { text: Some(items.iter().map(Secret::new).collect()), source: Source::Config }
            }
            ConfigValue::Env(name) => match host.var(name)? {
                Some(text) => Given { text: Some(split(param, &text)), source: Source::ConfigEnv(name.clone()) },
                None => {
                    if host.is_set_but_empty(name) {
                        self.empty.push(name.clone());
                    }
                    return Ok(None);
                }
            },
            ConfigValue::File(path) => {
                let secret = host
                    .read_secret_file(path, false, param.lines || param.file)
                    .map_err(|failed| unread(Kind::Config, format!("{at}: the file {}", path.display()), failed))?;
                Given { text: Some(split(param, secret.expose())), source: Source::ConfigFile(path.clone()) }
            }
            ConfigValue::Command(words) => Given { text: None, source: Source::Command(words.clone()) },
            ConfigValue::Keyring(service, user) => {
                Given { text: None, source: Source::Keyring(service.clone(), user.clone()) }
            }
        }))
    }

    /// Checks what can be checked of a value before it is used.
    ///
    /// # Errors
    /// [`Kind::Usage`] or [`Kind::Config`], by where the value comes from.
    pub fn check_value(&self, param: &Param, given: &Given) -> Result<()> {
        let Some([text]) = given.text.as_deref() else { return Ok(()) };
        if param.url {
            let whole = param.metadata.is_some();
            let checked = if whole {
                crate::base::url::endpoint(text.expose())
            } else {
                crate::base::url::base(text.expose()).map(drop)
            };
            checked.map_err(|why| self.blame(&param.name, &given.source, &why))?;
        }
        if !param.choices.is_empty() && !param.choices.iter().any(|c| c == text.expose()) {
            let why = format!("is none of {}", param.choices.join(", "));
            return Err(self.blame(&param.name, &given.source, &why));
        }
        Ok(())
    }

    /// A complaint about a value, in the words of where it comes from.
    pub fn blame(&self, name: &str, source: &Source, why: &str) -> Error {
        let (kind, what) = match source {
            Source::Flag => {
                let file = if self.param(name).is_some_and(|param| param.secret) { "-file" } else { "" };
                (Kind::Usage, format!("--{}{file}", name.replace('_', "-")))
            }
            Source::Env(variable) | Source::EnvFile(variable) => (Kind::Usage, variable.clone()),
            Source::Asked => (Kind::Usage, name.to_string()),
            Source::Store => (Kind::LoginNeeded, format!("{}: the kept {name}", self.name)),
            Source::Metadata(issuer) => (Kind::Reply, format!("the metadata of {issuer}: {name}")),
            Source::Default => (Kind::Config, format!("provider {}: {name}", self.provider.name)),
            _ => {
                let at = self.config.values.get(name).map_or("config", |(_, at)| at.as_str());
                (Kind::Config, format!("{at}: {name}"))
            }
        };
        Error::new(kind, what, format!("its value {why}"))
    }

    /// [`request::Unready`] as an error of this profile.
    pub fn unready(&self, unready: Unready) -> Error {
        match unready {
            Unready::Missing(name) => Error::new(Kind::LoginNeeded, format!("{}: {name} is missing", self.name), ""),
            Unready::Header(name) => {
                let what = format!("{}: the request header {name} cannot be made", self.name);
                Error::new(Kind::Config, what, "it would hold a line break or NUL")
            }
            Unready::Wrong(name, why) => self.wrong(&name, why),
        }
    }

    /// A value that cannot be used, by where it comes from: it may stand in another.
    fn wrong(&self, name: &str, why: String) -> Error {
        let param = self.param(name);
        if let Some(given) = self.given.get(name) {
            let error = self.blame(name, &given.source, &why);
            let is_whole = self.provider.params.iter().any(|p| p.inside.as_ref().is_some_and(|i| i.value == name));
            let in_url = |p: &&Param| p.url && p.default.iter().flat_map(|d| d.names()).any(|(n, _)| n == name);
            return match (param, self.provider.params.iter().find(in_url)) {
                (Some(param), _) if is_whole => error.hint(format!("what is wanted: {}", param.help)),
                (_, Some(url)) => {
                    error.hint(format!("or give the address whole: --{} URL", url.name.replace('_', "-")))
                }
                _ => error,
            };
        }
        match param.and_then(|p| p.inside.as_ref()) {
            Some(inside) => self.wrong(&inside.value, format!("has a text at {} that {why}", inside.at)),
            // A secret has no default.
            None if param.is_some_and(|p| p.secret) => {
                self.blame(name, &Source::Store, &why).hint(format!("log in again: tok login {}", self.name))
            }
            None => self.blame(name, &Source::Default, &why),
        }
    }

    /// The grant that a login runs where none is named: the profile's, else the provider's first.
    pub fn default_grant(&self) -> &Grant {
        let named = self.asked.as_deref().or(self.config.grant.as_deref());
        named.and_then(|name| self.provider.grant(name)).unwrap_or(&self.provider.grants[0])
    }

    /// The values known without asking anybody, the defaults among them; what a command or the keyring would give
    /// is missing.
    pub fn known_values(&self) -> Result<Values> {
        let mut values = Values::new();
        for (name, given) in &self.given {
            if let (Some(texts), Some(param)) = (&given.text, self.param(name)) {
                values.insert(name.clone(), join(param, texts));
            }
        }
        request::defaults(&self.provider, &mut values).map_err(|u| self.unready(u))?;
        Ok(values)
    }

    /// How to log in once more: the command, or in words where it was told what nobody has written down.
    pub fn login_again(&self, grant: &Grant) -> String {
        let typed =
            |(name, given): (&String, &Given)| given.source == Source::Flag && !self.config.values.contains_key(name);
        match self.given.iter().any(typed) || !self.is_kept() {
            true => "run the same command again".into(),
            false => format!("run: tok login {} {}", self.name, grant.name),
        }
    }

    /// Where to see what it was sent, if that can be seen.
    pub fn to_see(&self) -> String {
        if self.is_kept() { format!(": tok show {}", self.name) } else { String::new() }
    }

    /// Whether its name means something to the next command.
    fn is_kept(&self) -> bool {
        self.name == self.provider.name || self.config.provider.is_some()
    }

    /// The plain value of that name, where it is known without asking anybody.
    pub fn value(&self, name: &str) -> Option<String> {
        self.known_values().ok()?.get(name).map(|value| value.to_string())
    }

    /// The declared value of that name, or `refresh_token`.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.provider.param(name).or(refresh_token_param(&self.provider, name))
    }

    /// The text of a value that was found, asking its command or the keyring now where that is where it comes from.
    ///
    /// # Errors
    /// [`Kind::Config`] where the command fails, [`Kind::Store`] where the keyring does.
    pub fn fetch(&self, host: &Host, name: &str) -> Result<Option<Zeroizing<String>>> {
        let (Some(given), Some(param)) = (self.given.get(name), self.param(name)) else { return Ok(None) };
        let secret = match (&given.text, &given.source) {
            (Some(texts), _) => return Ok(Some(join(param, texts))),
            (None, Source::Command(words)) => {
                let at = self.config.values.get(name).map_or("config", |(_, at)| at.as_str());
                let run = host.run_command(words, param.lines || param.file);
                run.map_err(|failed| unread(Kind::Config, format!("{at}: the command for {name}"), failed))?
            }
            (None, Source::Keyring(service, user)) => {
                let mut keyring = host.keyring(host.patience());
                let found = keyring.get_of(service, user).map_err(|e| {
                    Error::new(Kind::Store, format!("{}: {name} from the keyring ({service}/{user})", self.name), e.why)
                })?;
                found.ok_or_else(|| {
                    let what = format!("{}: {name} is missing", self.name);
                    let why = format!("the keyring has no entry of service {service} and user {user}");
                    Error::new(Kind::LoginNeeded, what, why).hint("the config names it; see that it is there")
                })?
            }
            (None, _) => return Ok(None),
        };
        let given = Given { text: Some(split(param, secret.expose())), source: given.source.clone() };
        self.check_value(param, &given)?;
        Ok(given.text.map(|texts| join(param, &texts)))
    }

    /// The settings in force, to compare a kept token with.
    pub fn known(&self) -> Result<Known> {
        let values = self.known_values()?;
        let mut known = Known {
            url: self.session_url(&values),
            grant: self.asked.clone().or(self.config.grant.clone()),
            refresh_grant: self.provider.refresh.as_ref().map(|r| r.grant.clone()),
            refreshed: self.provider.refresh_grant().map(|g| g.names().into_keys().collect()).unwrap_or_default(),
            definition: self.provider.digest.clone(),
            ..Known::default()
        };
        known.usual_grants.push(self.default_grant().name.clone());
        known.usual_grants.extend(self.provider.refresh.as_ref().and_then(|r| r.fallback.clone()));
        let in_url = self.session_call().url.names().map(|(name, _)| (name.to_string(), true)).collect();
        let mut in_url = self.provider.closure(in_url);
        in_url.retain(|name, _| self.param(name).is_some_and(|p| p.url));
        for param in &self.provider.params {
            let given = self.given.get(&param.name);
            // The URL says what its parts are; what the metadata say, the issuer does.
            if param.personal || in_url.contains_key(&param.name) || param.metadata.is_some() {
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
        request::url(self.session_call(), &values).ok()
    }

    fn session_call(&self) -> &Call {
        &self.provider.refresh_grant().unwrap_or_else(|| self.default_grant()).call
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

    /// The variable that gives the value `name`: the one that the config names, else its own.
    pub fn ways(&self, name: &str) -> String {
        match self.config.values.get(name) {
            Some((ConfigValue::Env(variable), _)) => variable.clone(),
            _ => variable(&self.name, name),
        }
    }
}

/// `refresh_token` is a secret value of every refresh grant; no file declares it.
fn refresh_token_param<'a>(provider: &Provider, name: &str) -> Option<&'a Param> {
    static PARAM: std::sync::OnceLock<Param> = std::sync::OnceLock::new();
    (name == "refresh_token" && provider.refresh_grant().is_some()).then(|| {
        PARAM.get_or_init(|| Param {
            name: "refresh_token".into(),
            secret: true,
            separator: " ".into(),
            help: "A refresh token from elsewhere".into(),
            ..Param::default()
        })
    })
}

/// A file or a command that gave no value: `kind`, or [`Kind::Unavailable`] where the time ran out.
fn unread(kind: Kind, what: String, failed: Failed) -> Error {
    match failed.timed_out {
        true => Error::new(Kind::Unavailable, what, failed.why).hint("allow it more time with --timeout"),
        false => Error::new(kind, what, failed.why),
    }
}

fn from_flag(host: &Host, param: &Param, flag: &Flag) -> Result<Given> {
    let dashed = param.name.replace('_', "-");
    let texts = match flag {
        Flag::Plain(_) if param.secret => {
            return Err(Error::new(
                Kind::Usage,
                format!("--{dashed} would show a secret"),
                "arguments are seen by everybody",
            )
            .hint(format!("give a file, or - for stdin: --{dashed}-file PATH")));
        }
        Flag::File(_) if !param.secret => {
            return Err(Error::new(Kind::Usage, format!("there is no --{dashed}-file"), "this value is no secret")
                .hint(format!("give it as it is: --{dashed} VALUE")));
        }
        Flag::Plain(texts) if texts.iter().any(|t| t.is_empty()) => {
            return Err(Error::new(Kind::Usage, format!("--{dashed}"), "its value is empty"));
        }
        Flag::Plain(texts) if texts.len() > 1 && !param.list => {
            return Err(Error::new(Kind::Usage, format!("--{dashed}"), "it is given more than once"));
        }
        // It is kept in the config, which is read from anywhere.
        Flag::Plain(texts) if param.file && !is_pem(&texts[0]) => {
            let path = std::path::absolute(&texts[0]);
            let path = path.ok().and_then(|path| path.into_os_string().into_string().ok());
            vec![Secret::new(path.unwrap_or_else(|| texts[0].clone()))]
        }
        Flag::Plain(texts) => texts.iter().flat_map(|t| split(param, t)).collect(),
        Flag::File(path) => {
            let read = host.read_secret_file(path, true, param.lines);
            vec![read.map_err(|failed| unread(Kind::Usage, format!("the file of --{dashed}-file"), failed))?]
        }
    };
    Ok(Given { text: Some(texts), source: Source::Flag })
}

/// Whether `file` holds a key that others may read. A password's file may well be a group's, and is not asked about.
pub fn is_exposed(param: &Param, file: &Path) -> bool {
    param.secret && param.lines && files::is_open_to_others(file)
}

/// What is said of such a file; `ssh` refuses one.
pub fn exposed(name: &str, file: &Path) -> String {
    let shown = file.to_string_lossy();
    let quoted = shlex::try_quote(&shown).unwrap_or(shown.clone());
    format!("{name} is in a file that others may read or change: chmod 600 {quoted}")
}

/// A list as text becomes its items; any other value is one.
fn split(param: &Param, text: &str) -> Vec<Secret> {
    if !param.list {
        return vec![Secret::new(text)];
    }
    let separator = if param.separator.is_empty() { " " } else { &param.separator };
    text.split(separator).map(str::trim).filter(|t| !t.is_empty()).map(Secret::new).collect()
}

fn join(param: &Param, texts: &[Secret]) -> Zeroizing<String> {
    let joined = Zeroizing::new(texts.iter().map(Secret::expose).collect::<Vec<_>>().join(&param.separator));
    param.as_sent(&joined)
}

/// Whether a value that may be a path is the text itself.
pub fn is_pem(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN")
}

fn reference(source: &Source) -> String {
    match source {
        Source::Command(words) => format!("command {}", words.join("\u{1f}")),
        other => other.to_string(),
    }
}

fn not_known(host: &Host, config: &Config, name: &str, provider: &str, own: &ProfileConfig) -> Error {
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

/// Whether these may share a variable: `a` and `a-b` both have a `TOK_A_B_…`.
fn is_near(one: &str, other: &str) -> bool {
    let begins = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('-'));
    one == other || begins(one, other) || begins(other, one)
}

/// Two values must not share a variable: `a-b` with `c`, and `a` with `b_c`.
fn check_variables(host: &Host, config: &Config, name: &str, provider: &Provider) -> Result<()> {
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
