//! Profiles for tests, of a provider that is text and touches no folder.

use super::config::Config;
use super::{Flag, Library, Profile, Setup, Wishes};
use crate::host::Host;
use crate::provider::Provider;
use anyhow::Result;
use std::path::Path;

/// A provider file of `acme`, whose requests go to https://acme.example/token, and this behind it.
macro_rules! acme {
    ($rest:literal) => {
        concat!(
            "title = \"Acme\"\n[request]\nurl = \"{base_url}/token\"\n",
            "[params.base_url]\ndefault = \"https://acme.example\"\nhelp = \"Where it lives\"\n",
            $rest
        )
    };
}
pub(crate) use acme;

/// What the user has set up: the provider `acme`, as its file says, and this config.
///
/// # Errors
/// Where either cannot be read.
pub fn setup(provider: &str, config: &str) -> Result<Setup> {
    let provider = Provider::parse("acme", "acme.toml", provider)?;
    let path = Path::new("/config.toml");
    Ok(Setup { config_path: path.into(), config: Config::parse(path, config, None)?, library: Library::of(provider) })
}

/// The profile `acme` of the provider `acme`, with `config` in its section of the config.
///
/// # Errors
/// As [`Profile::resolve`].
pub fn resolve(host: &Host, provider: &str, config: &str, wishes: &Wishes) -> Result<Profile> {
    Profile::resolve(host, &setup(provider, &format!("[profile.acme]\n{config}\n"))?, "acme", wishes)
}

/// [`resolve`] with nothing in the config and nothing wished.
///
/// # Panics
/// Where there is no such profile.
pub fn profile(host: &Host, provider: &str) -> Profile {
    resolve(host, provider, "", &Wishes::default()).expect("a profile")
}

/// Plain flags, `--NAME VALUE`.
pub fn flags(values: &[(&str, &str)]) -> Wishes {
    let flag = |(name, value): &(&str, &str)| (name.to_string(), Flag::Plain(vec![value.to_string()]));
    Wishes { flags: values.iter().map(flag).collect(), ..Wishes::default() }
}
