//! What `tok login` takes where a client may be registered, or an API is logged in to by its address.

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use std::path::PathBuf;

/// The heading of its options.
const HEADING: &str = "Client registration";

/// What of it a target takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registers {
    /// Nothing: its client is known beforehand, or there is none.
    #[default]
    Never,
    /// A client is registered with the issuer where that is asked for.
    Asked,
    /// A client is registered where none is given: the target is an API.
    Always,
}

/// `--register` and what goes with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientArgs {
    /// `--register`
    pub register: bool,
    /// `--registration-token-file`
    pub token_file: Option<PathBuf>,
    /// `--header`, as they stand.
    pub headers: Vec<String>,
}

/// The options for a target.
pub(super) fn args(registers: Registers) -> Vec<Arg> {
    let token = Arg::new("registration_token_file")
        .long("registration-token-file")
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .value_hint(clap::ValueHint::FilePath)
        .help("Initial access token, where the server wants one to register a client, from this file (- for stdin)")
        .help_heading(HEADING);
    let register = Arg::new("register")
        .long("register")
        .action(ArgAction::SetTrue)
        .help("Register a client with the issuer, or use the one registered before (RFC 7591)")
        .help_heading(HEADING);
    let header = Arg::new("header")
        .long("header")
        .value_name("NAME=VALUE")
        .action(ArgAction::Append)
        .help("Header that the API needs to say how to log in; may be repeated")
        .help_heading("The API");
    match registers {
        Registers::Never => Vec::new(),
        Registers::Asked => vec![register, token],
        // Where one is always registered, saying so changes nothing.
        Registers::Always => vec![header, register.hide(true), token],
    }
}

impl ClientArgs {
    /// Adds what stands in `matches`, for a target that takes it.
    pub(super) fn read(&mut self, matches: &ArgMatches) {
        self.register |= matches.try_get_one("register").is_ok_and(|flag| flag == Some(&true));
        if let Ok(Some(path)) = matches.try_get_one::<PathBuf>("registration_token_file") {
            self.token_file = Some(path.clone());
        }
        if let Ok(Some(headers)) = matches.try_get_many::<String>("header") {
            self.headers.extend(headers.cloned());
        }
    }
}
