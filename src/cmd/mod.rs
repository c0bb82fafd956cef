//! The commands, one verb a file.

pub mod completions;
pub mod get;
pub mod list;
pub mod login;
pub mod logout;
pub mod output;
pub mod providers;
pub mod show;

use crate::base::error::{Error, Kind, Result};
use crate::cli::{Given, Global};
use crate::host::Host;
use crate::profile::config::Config;
use crate::profile::{self, Flag};
use crate::storage::lock::{Lock, LockError};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// What every command has at hand.
pub struct Context<'h> {
    /// The world.
    pub host: &'h mut Host,
    /// The config file, which need not be there.
    pub config_path: PathBuf,
    /// What it says.
    pub config: Config,
    /// Whether the short path may answer the next call that is the same to the letter.
    pub plain: bool,
}

/// What a command makes of a config that `--config` or `TOK_CONFIG` names and that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is an error.
    Refused,
    /// The command makes one.
    Allowed,
}

impl<'h> Context<'h> {
    /// Takes the config that was read to know the command line, or reads it. `missing`: whether a config that is named
    /// need not be there yet.
    ///
    /// # Errors
    /// [`Kind::Config`].
    pub fn new(host: &'h mut Host, global: &Global, missing: Missing) -> Result<Context<'h>> {
        let config_path = profile::config_path(host, global.config.as_deref())?;
        let named = match (&global.config, host.var("TOK_CONFIG")?) {
            (Some(_), _) => Some("--config"),
            (None, Some(_)) => Some("TOK_CONFIG"),
            (None, None) => None,
        };
        if let (Some(by), Missing::Refused, false) = (named, missing, config_path.exists()) {
            let what = format!("there is no config {}", config_path.display());
            return Err(Error::new(Kind::Config, what, format!("{by} names it")).hint("tok login makes one"));
        }
        let config = match host.config.take() {
            Some((path, config)) if path == config_path => config,
            _ => profile::load_config(host, &config_path)?,
        };
        Ok(Context { host, config_path, config, plain: false })
    }

    /// Everything about one profile, one process at a time.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where another process keeps the lock until `--timeout`; [`Kind::Other`] where there can be
    /// no lock: then nothing is asked of the provider either.
    pub fn lock(&mut self, name: &str) -> Result<Lock> {
        let (folders, deadline) = (self.host.folders()?.clone(), self.host.deadline);
        let unusable = |path: &std::path::Path, error: std::io::Error| {
            Error::new(Kind::Other, format!("{name}: {} cannot be used", path.display()), error.to_string())
                .hint("tok needs files and a folder of its own that nobody else can write; see its owner and mode")
        };
        crate::system::files::private_dir(&folders.state).map_err(|error| unusable(&folders.state, error))?;
        let host = &mut *self.host;
        let mut say = |holder: Option<u32>| {
            let who = holder.map_or("another process".to_string(), |pid| format!("process {pid}"));
            host.tell(&format!("{name}: waiting for {who}…"));
        };
        Lock::take(&folders.locks(), name, deadline, &mut say).map_err(|error| match error {
            LockError::TimedOut { holder } => {
                let who = holder.map_or("another process".to_string(), |pid| format!("process {pid}"));
                let seconds = crate::base::duration::show(host.timeout.as_secs() as i64);
                Error::new(
                    Kind::Unavailable,
                    format!("{name}: {who} holds the lock"),
                    format!("waited {seconds} for it; only one at a time may ask the provider"),
                )
                .hint(holder.map_or("wait longer with --timeout".into(), |pid| {
                    format!("wait longer with --timeout, or look at it: ps -p {pid}")
                }))
            }
            LockError::Failed(path, error) => unusable(&path, error),
        })
    }

    /// Writes the answer to stdout. A closed stdout is no error: nobody wants to know.
    ///
    /// # Errors
    /// [`Kind::Other`] where it cannot be written for another reason, such as a full disk.
    pub fn print(&mut self, text: &str) -> Result<()> {
        print(self.host, text)
    }
}

/// [`Context::print`] where there is no context.
///
/// # Errors
/// As there.
pub fn print(host: &mut Host, text: &str) -> Result<()> {
    let written = host.out.write_all(text.as_bytes()).and_then(|()| host.out.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Other, "the answer cannot be written", error.to_string()))
        }
        _ => Ok(()),
    }
}

/// Flags as the profile takes them.
pub fn flags(values: BTreeMap<String, Given>) -> BTreeMap<String, Flag> {
    let flag = |given| match given {
        Given::Plain(texts) => Flag::Plain(texts),
        Given::File(path) => Flag::File(path),
    };
    values.into_iter().map(|(name, given)| (name, flag(given))).collect()
}
