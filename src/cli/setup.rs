//! The command line of `tok setup`.

use clap::{Args, ValueEnum};

// `tok setup`
#[derive(Args, Clone, Debug)]
pub struct Setup {
    /// Program to set up
    #[arg(value_name = "PROGRAM", value_enum)]
    pub program: SetupProgram,
    /// Profile whose token it is to use
    #[arg(value_name = "PROFILE")]
    pub profile: String,
    /// Write the lines to the program's config, and keep what else is there
    #[arg(long)]
    pub write: bool,
}

/// A program that `tok setup` sets up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SetupProgram {
    /// git, for the hosts of the profile
    Git,
    /// docker and other container tools, for the hosts of the profile
    Docker,
    /// kubectl: a user with the name of the profile
    Kubernetes,
    /// Bazel, for the hosts of the profile
    Bazel,
    /// cargo, for all registries: tok answers for the hosts of profiles only
    Cargo,
    /// go, for all module proxies and repositories: likewise
    Goauth,
    /// Terraform and OpenTofu, for all registries and backends: likewise
    Terraform,
}
