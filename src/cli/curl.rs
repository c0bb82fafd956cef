//! What `tok curl` takes.

use super::types::TokenArgs;
use clap::Args;
use std::ffi::OsString;

// `tok curl`
#[derive(Args, Clone, Debug)]
pub struct Curl {
    /// The token that is asked for.
    #[command(flatten)]
    pub token: TokenArgs,
    /// Allow -L with a header other than Authorization, which curl sends to wherever a redirect leads
    #[arg(long)]
    pub follow_anywhere: bool,
    /// curl's own arguments, as they stand.
    #[arg(skip)]
    pub args: Vec<OsString>,
}
