//! What `tok exec` takes.

use super::types::{TokenArgs, variable_name};
use clap::{ArgAction, Args};
use std::ffi::OsString;

// `tok exec`
#[derive(Args, Clone, Debug)]
pub struct Exec {
    /// Profiles in the config, or providers
    #[arg(value_name = "PROFILE", required_unless_present = "env")]
    pub profiles: Vec<String>,
    /// Set this variable to the token of that profile; may be repeated
    #[arg(long, value_name = "VAR=PROFILE", action = ArgAction::Append, value_parser = assignment)]
    pub env: Vec<(String, String)>,
    /// The token that is asked for; its profile is one of those above.
    #[command(flatten)]
    pub token: TokenArgs,
    /// Program to run, and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub command: Vec<OsString>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((variable, profile)) if !profile.is_empty() => Ok((variable_name(variable)?, profile.into())),
        _ => Err("expected VAR=PROFILE".into()),
    }
}
