//! `tok`, a command-line token fetcher. `README.md` says what it does; the way of a token is
//! argv → `cli` → `profile` → `session` (open store → plan → inputs → exchange → keep) → `cmd/output`.

#![warn(clippy::missing_docs_in_private_items)]

mod base;
mod cli;
mod cmd;
pub mod fast_path;
mod host;
mod oauth;
mod profile;
mod provider;
mod session;
mod storage;
mod system;
#[doc(hidden)]
pub mod testing;
mod token;

use anyhow::Result;
use base::error::{Exit, Kind, Silent, hint, kind};
use base::text;
use clap::builder::StyledStr;
use cli::{Stop, Verb};
use std::ffi::OsString;
use std::io::Write;
#[cfg(all(unix, not(target_os = "macos")))]
use system::bus;

pub use host::Host;
pub use system::memory::Memory;
pub use system::signals::give_stdin_back;
pub use system::start;

/// The id of this build: what another build has written down for itself is not trusted.
pub const BUILD: &str = env!("TOK_BUILD_ID");

/// Runs the command line `args` on `host`; returns the exit status.
pub fn run(args: Vec<OsString>, host: &mut Host) -> u8 {
    let status = answer(args, host);
    cmd::hooks::run(host);
    status
}

/// [`run`], up to the last word on stdout and stderr.
fn answer(args: Vec<OsString>, host: &mut Host) -> u8 {
    let Err(error) = parse_and_dispatch(args, host) else { return 0 };
    let error = match error.downcast_ref() {
        Some(Stop::Help(help)) => match host.terminal.print(&styled(help, host.terminal.color_stdout)) {
            Ok(()) => return 0,
            Err(error) => error.into(),
        },
        Some(Stop::NoCommand(help)) => {
            let help = styled(help, host.terminal.color);
            let _ = host.terminal.err.write_all(help.as_bytes());
            return Kind::Usage as u8;
        }
        _ => error,
    };
    if let Some(exit) = error.downcast_ref::<Exit>() {
        if let Some(error) = &exit.error {
            host.terminal.report(&error.to_string(), error.hint.as_deref());
        }
        return exit.status;
    }
    if let Some(Silent(status)) = error.downcast_ref() {
        return *status;
    }
    // What was being done, then what went wrong.
    let what = format!("{error:#}");
    #[cfg(all(unix, not(target_os = "macos")))]
    if what.contains(bus::NO_SESSION)
        && let Err(why) = bus::address(host.env.get(bus::ADDRESS), host.env.get(bus::RUNTIME))
    {
        host.terminal.detail(&why);
    }
    host.terminal.report(&what, hint(&error));
    kind(&error) as u8
}

/// Help as it goes to a terminal, or to a file.
fn styled(help: &StyledStr, color: bool) -> String {
    if color { text::styled_lines(&help.ansi().to_string()) } else { text::lines(&help.to_string()) }
}

/// What `run` does, but for the report.
fn parse_and_dispatch(args: Vec<OsString>, host: &mut Host) -> Result<()> {
    if cmd::completions::answer(&args, host)? {
        return Ok(());
    }
    host.words = cmd::credential::by_name(args);
    let (cli, setup) = cmd::arguments::read(host)?;
    host.settle(&cli.global);
    // These leave nothing behind, or look after it themselves.
    if !matches!(cli.verb, Verb::Providers(_) | Verb::Completions(_) | Verb::Doctor(_) | Verb::Schema(_)) {
        host.check_home()?;
    }
    cmd::dispatch(&cli, setup, host)
}
