//! The settings of stores on the network: what the config says, else the variables and files that their own programs use.

use crate::base::env::Env;
use crate::base::secret::{Lines, Secret};
use crate::host::{Host, LIMIT};
use crate::profile::ci;
use crate::profile::config::{Config, ConfigValue};
use crate::storage::secrets::shared::Setting;
use crate::system::{files, process};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// Where Kubernetes puts a pod's own token; it is renewed there, so it is read each time.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Finds the settings that `config` has for stores, each when it is asked for.
pub fn settings(host: &Host, config: &Config) -> Setting {
    let (vault, env, deadline) = (config.vault.clone(), host.env.clone(), host.clock.deadline);
    let home = host.folders().ok().map(|folders| folders.home.clone());
    Arc::new(move |name| {
        let world = World { env: &env, home: home.as_deref(), deadline };
        if let Some(value) = vault.get(name) {
            return world.read(name, value);
        }
        match name {
            "jwt" if matches!(vault.get("auth"), Some(ConfigValue::Text(auth)) if auth.expose() == "kubernetes") => {
                world.file(Path::new(POD_TOKEN))
            }
            _ if name.starts_with("~/") => world.in_home(name),
            _ if name.starts_with("VAULT_") => world.variable(name),
            _ => Ok(None),
        }
    })
}

struct World<'a> {
    env: &'a Env,
    home: Option<&'a Path>,
    deadline: Instant,
}

impl World<'_> {
    fn read(&self, name: &str, value: &ConfigValue) -> Result<Option<Secret>, String> {
        match value {
            ConfigValue::Text(text) => Ok(Some(text.clone()).filter(|text| !text.expose().is_empty())),
            ConfigValue::Env(name) => {
                let value = self.variable(name)?;
                value.map(Some).ok_or_else(|| format!("the variable {name} is not set"))
            }
            ConfigValue::File(path) => self.file(path),
            ConfigValue::Command(words) => {
                let said = process::output(words, self.env.for_children(), None, self.deadline, LIMIT)
                    .map_err(|failed| format!("the command {}: {}", words[0], failed.why))?;
                Secret::read(&said.stdout, Lines::One).map(Some)
            }
            ConfigValue::Ci(source) => {
                let mut host = Host::apart(self.env.clone(), self.deadline);
                ci::for_store(&mut host, source, name).map(Some).map_err(|error| error.to_string())
            }
            _ => Err(
                "expected text, or one of { env = \"X\" }, { file = \"…\" }, { command = [\"…\"] }, { ci = \"auto\" }"
                    .into(),
            ),
        }
    }

    fn variable(&self, name: &str) -> Result<Option<Secret>, String> {
        let text = self.env.text(name).map_err(|_| "its value is not UTF-8".to_string())?;
        Ok(text.map(|text| Secret::new(crate::base::secret::without_line_break(text))))
    }

    fn file(&self, path: &Path) -> Result<Option<Secret>, String> {
        let bytes = files::read_user_file(path, LIMIT, self.deadline).map(Zeroizing::new);
        let bytes = bytes.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("no such file: {}", path.display()),
            _ => format!("the file {} cannot be read", path.display()),
        })?;
        Secret::read(&bytes, Lines::One).map(Some)
    }

    /// A file that need not be there.
    fn in_home(&self, name: &str) -> Result<Option<Secret>, String> {
        let path: Option<PathBuf> = self.home.zip(name.strip_prefix("~/")).map(|(home, rest)| home.join(rest));
        match path.filter(|path| path.exists()) {
            Some(path) => self.file(&path),
            None => Ok(None),
        }
    }
}
