//! The commands, one verb a file.

pub mod arguments;
pub mod completions;
pub mod config_file;
pub mod credential;
pub mod curl;
pub mod doctor;
pub mod exec;
pub mod get;
pub mod hooks;
pub mod list;
pub mod login;
pub mod logout;
pub mod mask;
pub mod output;
pub mod overview;
pub mod providers;
pub mod schema;
pub mod setup;
pub mod show;
pub mod status;
pub mod table;
pub mod token;

use crate::base::error::{Error, Exit, Kind};
use crate::cli::{Cli, Flag, Format, Global, TokenArgs, Verb};
use crate::host::Host;
use crate::profile::{self, Library, Setup};
use crate::session::guard;
use crate::storage::lock::Lock;
use crate::system::signals;
use anyhow::Result;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// What every command works with.
pub struct Context<'h> {
    /// The host.
    pub host: &'h mut Host,
    /// What the user has set up.
    pub setup: Setup,
    /// Whether the short path may answer the next call that is the same to the letter.
    pub plain: bool,
}

/// What a command does if the config that `--config` or `TOK_CONFIG` names does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is an error.
    Refused,
    /// The command creates it.
    Allowed,
}

impl<'h> Context<'h> {
    /// Takes what was read to know the command line, or reads it. `missing`: whether a config that is named need not be
    /// there yet.
    ///
    /// # Errors
    /// [`Kind::Config`].
    pub fn new(host: &'h mut Host, global: &Global, setup: Option<Setup>, missing: Missing) -> Result<Context<'h>> {
        let config_path = profile::config_path(host, global.config.as_deref())?;
        let named = match (&global.config, host.var("TOK_CONFIG")?) {
            (Some(_), _) => Some("--config"),
            (None, Some(_)) => Some("TOK_CONFIG"),
            (None, None) => None,
        };
        if let (Some(by), Missing::Refused, false) = (named, missing, config_path.exists()) {
            let what = format!("no config file {}", config_path.display());
            let path = config_path.to_string_lossy();
            let quoted = shlex::try_quote(&path).unwrap_or(path.clone());
            return Err(Error::new(Kind::Config, what, format!("{by} names it"))
                .hint(format!("create it: tok login PROVIDER --config {quoted}"))
                .into());
        }
        let setup = match setup.filter(|setup| setup.config_path == config_path) {
            Some(setup) => setup,
            None => {
                Setup { config: profile::load_config(host, &config_path)?, library: Library::new(host), config_path }
            }
        };
        host.set_store_settings(profile::stores::settings(host, &setup.config));
        Ok(Context { host, setup, plain: false })
    }

    /// Everything about one profile, one process at a time, for all whose state folder is this one; see
    /// [`crate::session::open_store::OpenStore::follow`] for the others.
    ///
    /// # Errors
    /// As [`guard::lock`].
    pub fn lock(&mut self, name: &str) -> Result<Lock> {
        let state = self.host.folders()?.state.clone();
        Ok(guard::lock(self.host, &state, name)?)
    }

    /// Writes the answer to stdout. A closed stdout is not an error: no one reads it.
    ///
    /// # Errors
    /// [`Kind::Other`] where it cannot be written for another reason, such as a full disk.
    pub fn print(&mut self, text: &str) -> Result<()> {
        Ok(self.host.terminal.print(text)?)
    }

    /// Puts the answer of a command on stdout, and then lets no signal make a failure of it any more.
    ///
    /// # Errors
    /// As [`Context::print`].
    pub fn answer(&mut self, text: &str) -> Result<()> {
        // A reader that is slow to come is waited for here, where a signal still is the end.
        crate::system::start::wait_for_stdout();
        let hold = crate::system::signals::answering();
        self.print(text)?;
        crate::system::signals::answered(hold);
        Ok(())
    }
}

/// Runs the command that `cli` says. `setup`: what was read to know the command line.
///
/// # Errors
/// Those of the command.
pub fn dispatch(cli: &Cli, setup: Option<Setup>, host: &mut Host) -> Result<()> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Get(args) => {
            ready(host, args.token.timeout);
            let bare = args.format() == Format::Token && args.write.is_none() && !args.mask && args.how.is_default();
            let plain = bare && is_plain(host, global, "get", &args.token);
            let mut context = Context::new(host, global, setup, Missing::Refused)?;
            context.plain = plain;
            get::run(&mut context, args)
        }
        Verb::Header(args) => {
            ready(host, args.token.timeout);
            let plain = !args.mask && is_plain(host, global, "header", &args.token);
            let mut context = Context::new(host, global, setup, Missing::Refused)?;
            context.plain = plain;
            get::header(&mut context, args)
        }
        Verb::Exec(args) => {
            ready(host, args.token.timeout);
            let context = Context::new(host, global, setup, Missing::Refused);
            exec::run(&mut context.map_err(|error| Exit::not_run(&error))?, args)
        }
        Verb::Curl(args) => {
            ready(host, args.token.timeout);
            let context = Context::new(host, global, setup, Missing::Refused);
            curl::run(&mut context.map_err(|error| Exit::not_run(&error))?, args)
        }
        Verb::Login(args) => {
            ready(host, args.timeout);
            signals::listen();
            login::run(&mut Context::new(host, global, setup, Missing::Allowed)?, args)
        }
        Verb::Logout(args) => {
            ready(host, args.timeout);
            signals::listen();
            logout::run(&mut Context::new(host, global, setup, Missing::Refused)?, args)
        }
        Verb::List(args) => list::run(&mut Context::new(host, global, setup, Missing::Refused)?, args),
        Verb::Status(args) => {
            ready(host, args.timeout);
            status::run(&mut Context::new(host, global, setup, Missing::Refused)?, args)
        }
        Verb::Show(args) => {
            ready(host, args.timeout);
            show::run(&mut Context::new(host, global, setup, Missing::Refused)?, args)
        }
        Verb::Providers(args) => providers::run(host, global, setup, args),
        Verb::Doctor(args) => {
            ready(host, args.timeout);
            doctor::run(host, global, args)
        }
        Verb::Schema(args) => schema::run(host, args),
        Verb::Credential(args) => {
            ready(host, args.timeout);
            credential::run(&mut Context::new(host, global, setup, Missing::Refused)?, args)
        }
        Verb::Setup(args) => {
            ready(host, None);
            setup::run(&mut Context::new(host, global, setup, Missing::Refused)?, args)
        }
        Verb::Completions(args) => {
            let text = completions::script(args.shell)?;
            Ok(host.terminal.print(&text)?)
        }
    }
}

/// These words of a command line, quoted for a shell.
pub fn quoted<'w>(words: impl Iterator<Item = &'w OsString>) -> String {
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        shlex::try_quote(&word).map(|word| word.into_owned()).unwrap_or_default()
    });
    std::iter::once("tok".to_string()).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// Readies a call that may take time and change what is kept.
fn ready(host: &mut Host, timeout: Option<i64>) {
    if let Some(seconds) = timeout {
        host.clock.set_timeout(Duration::from_secs(seconds.unsigned_abs()));
    }
    signals::let_writes_fail();
}

/// Whether the fast path could answer the same command line the next time: it is `VERB PROFILE …`, no option of it asks
/// for more than the token, and no value comes from a file, which may say something else then.
fn is_plain(host: &Host, global: &Global, verb: &str, args: &TokenArgs) -> bool {
    let word = |at: usize| host.words.get(at).and_then(|word| word.to_str());
    let is_usual = global.verbose == 0 && global.config.is_none() && !args.fresh && !args.no_store && !args.ci;
    let is_same = args.values.values().all(|value| matches!(value, Flag::Plain(_)));
    is_usual && is_same && word(1) == Some(verb) && word(2) == Some(args.profile.as_str())
}

/// `flags`, with what a person types for a secret that is to come from stdin, where that is a terminal.
///
/// # Errors
/// [`Kind::Other`] where the terminal fails.
pub fn typed(host: &mut Host, flags: &BTreeMap<String, Flag>) -> Result<BTreeMap<String, Flag>> {
    let mut flags = flags.clone();
    for (name, flag) in &mut flags {
        if matches!(flag, Flag::File(path) if path == Path::new("-")) && host.terminal.stdin_terminal {
            *flag = Flag::Typed(host.ask_secret(name)?);
        }
    }
    Ok(flags)
}
