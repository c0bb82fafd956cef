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
use crate::profile::{self, Flag, Library, Setup};
use crate::session::guard;
use crate::storage::lock::Lock;
use std::collections::BTreeMap;
use std::path::Path;

/// What every command has at hand.
pub struct Context<'h> {
    /// The world.
    pub host: &'h mut Host,
    /// What the user has set up.
    pub setup: Setup,
    /// Whether the short path may answer the next call that is the same to the letter.
    pub plain: bool,
}

impl<'h> Context<'h> {
    /// Reads the config, or as much of it as the profile `about` needs. `may_make`: it is no mistake to name one that
    /// is not there yet.
    ///
    /// # Errors
    /// [`Kind::Config`].
    pub fn new(host: &'h mut Host, global: &Global, may_make: bool, about: Option<&str>) -> Result<Context<'h>> {
        let config_path = profile::config_path(host, global.config.as_deref())?;
        let named = match (&global.config, host.var("TOK_CONFIG")?) {
            (Some(_), _) => Some("--config"),
            (None, Some(_)) => Some("TOK_CONFIG"),
            (None, None) => None,
        };
        if let (Some(by), false, false) = (named, may_make, config_path.exists()) {
            let what = format!("there is no config {}", config_path.display());
            return Err(Error::new(Kind::Config, what, format!("{by} names it")).hint("tok login makes one"));
        }
        let config = match host.config.take() {
            Some((path, config)) if path == config_path && (about.is_some() || !config.is_part) => config,
            _ => profile::load_config(host, &config_path, about.as_ref().map(std::slice::from_ref))?,
        };
        let library = Library::new(host);
        Ok(Context { host, setup: Setup { config_path, config, library }, plain: false })
    }

    /// Everything about one profile, one process at a time, for all whose state folder is this one; see
    /// [`crate::session::open_store::Opened::follow`] for the others.
    ///
    /// # Errors
    /// As [`guard::lock`].
    pub fn lock(&mut self, name: &str) -> Result<Lock> {
        let state = self.host.folders()?.state.clone();
        guard::lock(self.host, &state, name)
    }

    /// Writes the answer to stdout. A closed stdout is no error: nobody wants to know.
    ///
    /// # Errors
    /// [`Kind::Other`] where it cannot be written for another reason, such as a full disk.
    pub fn print(&mut self, text: &str) -> Result<()> {
        self.host.terminal.print(text)
    }
}

/// Flags as the profile takes them. A secret that is to come from stdin, where that is a terminal, is asked for here.
///
/// # Errors
/// [`Kind::Other`] where the terminal fails.
pub fn flags(host: &mut Host, values: BTreeMap<String, Given>) -> Result<BTreeMap<String, Flag>> {
    let mut flag = |name: &str, given| match given {
        Given::Plain(texts) => Ok(Flag::Plain(texts)),
        Given::File(path) if path == Path::new("-") && host.terminal.stdin_terminal => {
            host.ask_secret(name).map(Flag::Typed)
        }
        Given::File(path) => Ok(Flag::File(path)),
    };
    values.into_iter().map(|(name, given)| Ok((name.clone(), flag(&name, given)?))).collect()
}
