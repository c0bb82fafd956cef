//! The commands, one verb a file.

pub mod arguments;
pub mod completions;
pub mod get;
pub mod list;
pub mod login;
pub mod logout;
pub mod output;
pub mod providers;
pub mod show;
pub mod table;

use crate::base::error::{Error, Kind, Result};
use crate::cli::{Cli, Flag, Format, Global, TokenArgs, Verb};
use crate::host::Host;
use crate::profile;
use crate::profile::config::Config;
use crate::storage::lock::{Lock, LockError};
use crate::system::signals;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

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

/// Runs the command that `cli` says.
///
/// # Errors
/// Those of the command.
pub fn dispatch(cli: &Cli, host: &mut Host) -> Result<()> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Get(args) => {
            ready(host, args.token.timeout);
            let format = if args.json { Format::Json } else { args.output };
            let plain = format == Format::Token && args.write.is_none() && is_plain(host, global, "get", &args.token);
            let mut context = Context::new(host, global, Missing::Refused)?;
            context.plain = plain;
            let out = get::Out { format, variable: &args.name, to: args.write.as_deref(), api: None };
            get::run(&mut context, &args.token, &out)
        }
        Verb::Header(args) => {
            ready(host, args.token.timeout);
            let plain = is_plain(host, global, "header", &args.token);
            let mut context = Context::new(host, global, Missing::Refused)?;
            context.plain = plain;
            let out = get::Out { format: Format::Header, variable: "", to: None, api: Some(&args.api) };
            get::run(&mut context, &args.token, &out)
        }
        Verb::Login(args) => {
            ready(host, args.timeout);
            signals::listen();
            login::run(&mut Context::new(host, global, Missing::Allowed)?, args)
        }
        Verb::Logout(args) => {
            ready(host, args.timeout);
            signals::listen();
            logout::run(&mut Context::new(host, global, Missing::Refused)?, args)
        }
        Verb::List(args) => list::run(&mut Context::new(host, global, Missing::Refused)?, args),
        Verb::Show(args) => {
            ready(host, args.timeout);
            show::run(&mut Context::new(host, global, Missing::Refused)?, args)
        }
        Verb::Providers(args) => providers::run(host, args),
        Verb::Completions(args) => {
            let text = completions::script(args.shell)?;
            print(host, &text)
        }
    }
}

/// Readies a call that may take time and change what is kept.
fn ready(host: &mut Host, timeout: Option<i64>) {
    if let Some(seconds) = timeout {
        host.set_timeout(Duration::from_secs(seconds.unsigned_abs()));
    }
    signals::let_writes_fail();
}

/// Whether the fast path could answer the same command line the next time: it is `VERB PROFILE …`, no option of it asks
/// for more than the token, and no value comes from a file, which may say something else then.
fn is_plain(host: &Host, global: &Global, verb: &str, args: &TokenArgs) -> bool {
    let word = |at: usize| host.words.get(at).and_then(|word| word.to_str());
    let is_usual = global.verbose == 0 && global.config.is_none() && !args.fresh && !args.no_store;
    let is_same = args.values.values().all(|value| matches!(value, Flag::Plain(_)));
    is_usual && is_same && word(1) == Some(verb) && word(2) == Some(args.profile.as_str())
}
