//! The arguments of `tok status`.

use super::types::timeout;
use clap::Args;

// `tok status`
#[derive(Args, Clone, Debug)]
pub struct Status {
    /// Profiles in the config, or providers [default: all that are configured or used]
    #[arg(value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Look into the stores and ask the providers too; nothing is renewed
    #[arg(long)]
    pub online: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Time limit for the whole call [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = timeout)]
    pub timeout: Option<i64>,
}
