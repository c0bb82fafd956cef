//! `tok`, a command-line token fetcher. `README.md` says what it does; the way of a token is
//! argv → [`cli`] → [`profile`] → [`session`] (open store → plan → inputs → exchange → keep) → [`cmd::output`].

pub mod base;
pub mod cli;
pub mod cmd;
pub mod fast_path;
pub mod host;
pub mod oauth;
pub mod profile;
pub mod provider;
pub mod session;
pub mod storage;
pub mod system;
pub mod token;

use base::error::{Error, Kind};
use base::text;
use clap::builder::StyledStr;
use cli::Stop;
use host::Host;
use std::ffi::OsString;
use std::io::Write;

/// The id of this build: what another build has written down for itself is not trusted.
pub const BUILD: &str = env!("TOK_BUILD_ID");

/// Runs the command line `args` in the world `host`; the exit status.
pub fn run(args: Vec<OsString>, host: &mut Host) -> u8 {
    match parse_and_dispatch(args, host) {
        Ok(()) => 0,
        Err(Stop::Help(help)) => {
            let help = styled(&help, host.colors_stdout());
            cmd::print(host, &help).map_or_else(|error| report(host, &error), |()| 0)
        }
        Err(Stop::NoCommand(help)) => {
            let help = styled(&help, host.color);
            let _ = host.err.write_all(help.as_bytes());
            Kind::Usage as u8
        }
        Err(Stop::Error(error)) => report(host, &error),
    }
}

/// Help as it goes to a terminal, or to a file.
fn styled(help: &StyledStr, color: bool) -> String {
    if color { text::styled_lines(&help.ansi().to_string()) } else { text::lines(&help.to_string()) }
}

fn parse_and_dispatch(args: Vec<OsString>, host: &mut Host) -> Result<(), Stop> {
    if cmd::completions::answer(&args, host)? {
        return Ok(());
    }
    host.words = args;
    let cli = cmd::arguments::read(host)?;
    host.settle(&cli.global);
    Ok(cmd::dispatch(&cli, host)?)
}

/// Tells a person what went wrong; the exit status.
fn report(host: &mut Host, error: &Error) -> u8 {
    host.speak();
    let (red, off) = if host.color { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
    let mut said = format!("{red}tok:{off} {}\n", text::line(&error.to_string()));
    if let Some(hint) = &error.hint {
        said.push_str(&format!("hint: {}\n", text::line(hint)));
    }
    // In one piece: a signal must not leave half an escape sequence.
    let _ = host.err.write_all(said.as_bytes());
    error.status()
}
