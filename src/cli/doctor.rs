//! The arguments of `tok doctor`.

use super::types::timeout;
use clap::Args;

// `tok doctor`
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    /// Also connect to each profile's server, and compare its clock
    #[arg(long)]
    pub online: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Time limit for the whole call [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = timeout)]
    pub timeout: Option<i64>,
}
