//! The values of a profile: where each comes from, by precedence, and how it is checked and read.

use super::Profile;
use super::ci::CiSource;
use super::config::ConfigValue;
use super::exposed::{exposed, is_exposed};
use super::home::Home;
use crate::base::error::{Error, Kind};
use crate::base::secret::{Lines, Secret};
use crate::base::toml::{Document, unknown};
use crate::cli::Flag;
use crate::host::{Host, Stdin};
use crate::oauth::request::{self, Unready, Values};
use crate::provider::{Param, Provider};
use crate::system::process::Failed;
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
    /// The identity of the CI job or machine.
    Ci {
        /// As the config names it.
        source: CiSource,
        /// A digest of what tells the job from others.
        job: String,
        /// Whether `--ci` put it there.
        by_flag: bool,
    },
    /// The store: what a login stored there.
    Store,
    /// The issuer's metadata.
    Metadata(String),
    /// The metadata of the API at this address, at a login.
    Api(String),
    /// The registration of a client with this issuer, at a login.
    Registration(String),
    /// A login: the redirect, or a reply of this origin on the way to the token.
    Login(String),
    /// The provider's default.
    Default,
    /// A prompt.
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
            Source::Ci { by_flag: true, .. } => f.write_str("the CI job's identity (--ci)"),
            Source::Ci { source, .. } => write!(f, "the config, from the CI job's identity ({source})"),
            Source::Store => f.write_str("the secret store"),
            Source::Metadata(issuer) | Source::Api(issuer) => write!(f, "the metadata of {issuer}"),
            Source::Registration(issuer) => write!(f, "the registration at {issuer}"),
            Source::Login(origin) => write!(f, "the login at {origin}"),
            Source::Default => f.write_str("the provider's default"),
            Source::Asked => f.write_str("the terminal"),
        }
    }
}

/// A value as a request takes it.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its text.
    pub text: Secret,
    /// Where it may go; `None`: wherever the call that gives it says.
    pub home: Option<Home>,
}

impl Value {
    /// A value of the store, which goes to `home` alone.
    pub fn kept(text: Secret, home: Option<Home>) -> Value {
        // A value of unknown origin is sent nowhere.
        Value { text, home: Some(home.unwrap_or(Home::any_of([]))) }
    }

    /// A value that this call has found or was given.
    pub fn found(text: Secret) -> Value {
        Value { text, home: None }
    }
}

/// A value that was found.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its text, or several; `None` while a command or the keyring would have to be asked. Without any there is to be
    /// no such value, not even a default: it is switched off.
    pub text: Option<Vec<Secret>>,
    /// Where it comes from.
    pub source: Source,
}

/// The variable of the value `value` of `profile`.
pub fn variable(profile: &str, value: &str) -> String {
    let upper = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
    };
    format!("TOK_{}_{}", upper(profile), upper(value))
}

impl Profile {
    pub(super) fn check_config_values(&self) -> Result<()> {
        for (name, (given, at)) in &self.config.values {
            let Some(param) = self.provider.param(name).or(refresh_token_param(&self.provider, name)) else {
                let keys = crate::base::name::profile_keys();
                let names = self.provider.params.iter().map(|p| p.name.as_str()).chain(keys);
                let doc = Document::new("", "");
                let why = unknown(&doc, 0..0, "key or value", name, names).why;
                return Err(Error::new(Kind::Config, at, why).into());
            };
            if matches!(given, ConfigValue::Ci(_)) && !param.secret {
                let why = format!("`{name}` is not a secret, and so cannot be an identity token");
                return Err(Error::new(Kind::Config, at, why).into());
            }
            if matches!(given, ConfigValue::List(_)) && !param.list {
                return Err(Error::new(Kind::Config, at, format!("`{name}` is one value, not a list")).into());
            }
            if matches!(given, ConfigValue::Text(text) if text.expose().is_empty()) && !self.may_be_off(param) {
                return Err(Error::new(Kind::Config, at, format!("`{name}` is empty")).into());
            }
        }
        Ok(())
    }

    /// Looks each value up: flag, environment, config.
    pub(super) fn gather(&mut self, host: &Host, flags: &BTreeMap<String, Flag>) -> Result<()> {
        for name in flags.keys() {
            if self.provider.param(name).is_none() && refresh_token_param(&self.provider, name).is_none() {
                let flag = name.replace('_', "-");
                return Err(Error::new(
                    Kind::Usage,
                    format!("{} takes no --{flag}", self.provider.name),
                    format!("its values are {}", self.value_names()),
                )
                .into());
            }
        }
        if flags.values().filter(|f| matches!(f, Flag::File(p) if p == Path::new("-"))).count() > 1 {
            return Err(
                Error::new(Kind::Usage, "only one value can come from stdin", "`-` is given more than once").into()
            );
        }
        let mut params = self.provider.params.clone();
        params.extend(refresh_token_param(&self.provider, "refresh_token").cloned());
        for param in &params {
            let found = match flags.get(&param.name) {
                Some(flag) => Some(self.given_by(host, param, flag)?),
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

    pub(super) fn value_names(&self) -> String {
        let names: Vec<&str> = self.provider.params.iter().map(|p| p.name.as_str()).collect();
        names.join(", ")
    }

    pub(super) fn in_environment(&mut self, host: &Host, param: &Param) -> Result<Option<Given>> {
        let name = variable(&self.name, &param.name);
        let file = format!("{name}_FILE");
        let text = host.line_var(&name)?;
        let is_empty = |n: &&String| host.env.is_set_but_empty(n) || (**n == name && text.is_none() && host.env.has(n));
        self.empty.extend([&name, &file].into_iter().filter(is_empty).cloned());
        Ok(match (text, host.var(&file)?) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                let what = format!("{name} and {file} are both set");
                let hint = format!("keep one of them: unset {file}");
                return Err(Error::new(Kind::Usage, what, "they mean the same value").hint(hint).into());
            }
            (Some(text), None) => Some(Given { text: Some(split(param, &text)), source: Source::Env(name) }),
            (None, Some(path)) => {
                let read = host.read_secret_file(Path::new(&path), Stdin::Refused, lines(param));
                let secret = read.map_err(|failed| {
                    let error = unread(Kind::Usage, format!("the file that {file} names"), failed);
                    match error.hint {
                        Some(_) => error,
                        None => error.hint(format!("let it name another file, or: unset {file}")),
                    }
                })?;
                Some(Given { text: Some(split(param, secret.expose())), source: Source::EnvFile(file) })
            }
        })
    }

    pub(super) fn in_config(&mut self, host: &Host, param: &Param) -> Result<Option<Given>> {
        let Some((value, at)) = self.config.values.get(&param.name) else { return Ok(None) };
        Ok(Some(match value {
            ConfigValue::Text(text) if text.expose().is_empty() => {
                Given { text: Some(Vec::new()), source: Source::Config }
            }
            ConfigValue::Text(text) => Given { text: Some(split(param, text.expose())), source: Source::Config },
            ConfigValue::List(items) => {
                Given { text: Some(items.iter().map(Secret::new).collect()), source: Source::Config }
            }
            ConfigValue::Env(name) => match host.line_var(name)? {
                Some(text) => Given { text: Some(split(param, &text)), source: Source::ConfigEnv(name.clone()) },
                None => {
                    if host.env.get(name).is_some() {
                        self.empty.push(name.clone());
                    }
                    return Ok(None);
                }
            },
            ConfigValue::File(path) => {
                let secret = host
                    .read_secret_file(path, Stdin::Refused, lines(param))
                    .map_err(|failed| unread(Kind::Config, format!("{at}: the file {}", path.display()), failed))?;
                Given { text: Some(split(param, secret.expose())), source: Source::ConfigFile(path.clone()) }
            }
            ConfigValue::Command(words) => Given { text: None, source: Source::Command(words.clone()) },
            ConfigValue::Keyring(service, user) => {
                Given { text: None, source: Source::Keyring(service.clone(), user.clone()) }
            }
            ConfigValue::Ci(source) => Given { text: None, source: source.source(host) },
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
            let why = format!("is not one of {}", param.choices.join(", "));
            return Err(self.blame(&param.name, &given.source, &why).into());
        }
        Ok(())
    }

    /// The error for a value, naming where it comes from.
    pub fn blame(&self, name: &str, source: &Source, why: &str) -> Error {
        let (kind, what) = match source {
            Source::Flag => {
                let file = if self.param(name).is_some_and(|param| param.secret) { "-file" } else { "" };
                (Kind::Usage, format!("--{}{file}", name.replace('_', "-")))
            }
            Source::Env(variable) | Source::EnvFile(variable) => (Kind::Usage, variable.clone()),
            Source::Asked => (Kind::Usage, name.to_string()),
            Source::Store => (Kind::LoginNeeded, format!("the stored {name}")),
            Source::Metadata(issuer) | Source::Api(issuer) => {
                (Kind::Reply, format!("the metadata of {issuer}: {name}"))
            }
            Source::Registration(issuer) => (Kind::Reply, format!("the registration at {issuer}: {name}")),
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
            Unready::Missing(name) => Error::new(Kind::LoginNeeded, format!("{name} is missing"), ""),
            Unready::Header(name) => {
                let what = format!("the request header {name} cannot be made");
                Error::new(Kind::Config, what, "it would hold a line break or NUL")
            }
            Unready::Wrong(name, why) => self.wrong(&name, why),
        }
    }

    /// The error for a value that cannot be used, naming where it comes from: it may be part of another.
    pub(super) fn wrong(&self, name: &str, why: String) -> Error {
        let param = self.param(name);
        if let Some(given) = self.given.get(name) {
            let error = self.blame(name, &given.source, &why);
            let is_whole = self.provider.params.iter().any(|p| p.inside.as_ref().is_some_and(|i| i.value == name));
            let in_url = |p: &&Param| p.url && p.default.iter().flat_map(|d| d.names()).any(|(n, _)| n == name);
            return match (param, self.provider.params.iter().find(in_url)) {
                (Some(param), _) if is_whole => error.hint(format!("expected: {}", param.help)),
                (_, Some(url)) => error.hint(format!("or give the whole URL: --{} URL", url.name.replace('_', "-"))),
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

    /// The values known without a prompt, a command or the keyring, the defaults among them; what a command or the keyring would give
    /// is missing.
    pub fn known_values(&self) -> Result<Values> {
        let mut values = Values::new();
        for (name, given) in &self.given {
            if let (Some(texts), Some(param)) = (&given.text, self.param(name))
                && !texts.is_empty()
            {
                values.insert(name.clone(), join(param, texts));
            }
        }
        request::defaults(&self.provider, &mut values, &|name| self.is_off(name)).map_err(|u| self.unready(u))?;
        Ok(values)
    }

    /// The plain value of that name, where it is known without a prompt, a command or the keyring.
    pub fn value(&self, name: &str) -> Option<String> {
        self.known_values().ok()?.get(name).map(|value| value.to_string())
    }

    /// The declared value of that name, or `refresh_token`.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.provider.param(name).or(refresh_token_param(&self.provider, name))
    }

    /// The text of a value that was found, asking its command, the keyring or the CI job's identity now where that is
    /// where it comes from.
    ///
    /// # Errors
    /// [`Kind::Config`] where the command fails, [`Kind::Store`] where the keyring does; as [`Profile::ci_identity`].
    pub fn fetch(&self, host: &mut Host, name: &str) -> Result<Option<Zeroizing<String>>> {
        let (Some(given), Some(param)) = (self.given.get(name), self.param(name)) else { return Ok(None) };
        let secret = match (&given.text, &given.source) {
            (Some(texts), _) if texts.is_empty() => return Ok(None),
            (Some(texts), _) => return Ok(Some(join(param, texts))),
            (None, Source::Command(words)) => {
                let run = host.may_run_commands().and_then(|()| host.run_command(words, lines(param)));
                run.map_err(|failed| self.command_failed(name, failed))?
            }
            (None, Source::Keyring(service, user)) => {
                let found = host.keyring_entry(service, user).map_err(|e| {
                    Error::new(Kind::Store, format!("{name} from the keyring ({service}/{user})"), e.why)
                })?;
                found.ok_or_else(|| {
                    let what = format!("{name} is missing");
                    let why = format!("the keyring has no entry of service {service} and user {user}");
                    Error::new(Kind::LoginNeeded, what, why).hint("the config names this entry: add it to the keyring")
                })?
            }
            (None, Source::Ci { source, .. }) => self.ci_identity(host, name, source)?,
            (None, _) => return Ok(None),
        };
        let given = Given { text: Some(split(param, secret.expose())), source: given.source.clone() };
        self.check_value(param, &given)?;
        Ok(given.text.map(|texts| join(param, &texts)))
    }

    fn command_failed(&self, name: &str, failed: Failed) -> Error {
        let at = self.config.values.get(name).map_or("config", |(_, at)| at.as_str());
        unread(Kind::Config, format!("{at}: the command for {name}"), failed)
    }

    /// Whether the commands that give values may be run, before anything is waited for: the tok whose command has started
    /// this one may hold the lock of this profile.
    ///
    /// # Errors
    /// [`Kind::Config`] where one may not.
    pub fn check_commands(&self, host: &Host) -> Result<()> {
        let is_command = |given: &Given| matches!(given.source, Source::Command(_));
        let Some((name, _)) = self.given.iter().find(|(_, given)| is_command(given)) else { return Ok(()) };
        Ok(host.may_run_commands().map_err(|failed| self.command_failed(name, failed))?)
    }

    /// The variable that gives the value `name`: the one that the config names, else its own.
    pub fn ways(&self, name: &str) -> String {
        match self.config.values.get(name) {
            Some((ConfigValue::Env(variable), _)) => variable.clone(),
            _ => variable(&self.name, name),
        }
    }

    /// Warns of files with a key that others may read.
    pub fn warn_of_exposed(&self, host: &mut Host) {
        self.exposed
            .iter()
            .for_each(|(name, file)| host.terminal.warn(&format!("{}: {}", self.name, exposed(name, file))));
    }
}

/// `refresh_token` is a secret value of every refresh grant; no file declares it.
pub(super) fn refresh_token_param<'a>(provider: &Provider, name: &str) -> Option<&'a Param> {
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
pub(super) fn unread(kind: Kind, what: String, failed: Failed) -> Error {
    match failed.timed_out {
        true => Error::new(Kind::Unavailable, what, failed.why).hint("allow more time with --timeout"),
        false => Error::new(kind, what, failed.why),
    }
}

/// A list as text becomes its items; any other value is one.
pub(super) fn split(param: &Param, text: &str) -> Vec<Secret> {
    if !param.list {
        return vec![Secret::new(text)];
    }
    let separator = if param.separator.is_empty() { " " } else { &param.separator };
    text.split(separator).map(str::trim).filter(|t| !t.is_empty()).map(Secret::new).collect()
}

pub(super) fn join(param: &Param, texts: &[Secret]) -> Zeroizing<String> {
    let joined = Zeroizing::new(texts.iter().map(Secret::expose).collect::<Vec<_>>().join(&param.separator));
    param.as_sent(&joined)
}

/// Whether a value that may be a path is the text itself.
pub fn is_pem(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN")
}

/// How many lines a value may have.
pub(super) fn lines(param: &Param) -> Lines {
    if param.lines || param.file { Lines::Many } else { Lines::One }
}

#[cfg(test)]
mod tests;
