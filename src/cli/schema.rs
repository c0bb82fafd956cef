//! The arguments of `tok schema`.

use clap::{Args, ValueEnum};

// `tok schema`
#[derive(Args, Clone, Debug)]
pub struct Schema {
    /// Command whose JSON output is described
    #[arg(value_name = "COMMAND", value_enum)]
    pub of: SchemaOf,
}

/// The commands that print JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// tok get --json
    Get,
    /// tok list --json
    List,
    /// tok status --json
    Status,
    /// tok show --json
    Show,
    /// tok providers --json
    Providers,
    /// tok doctor --json
    Doctor,
}
