//! The command line of `tok credential`.

use super::types::timeout;
use clap::{Args, Subcommand};

// `tok credential`
#[derive(Args, Clone, Debug)]
pub struct Credential {
    /// The protocol, and what the program asks.
    #[command(subcommand)]
    pub protocol: Protocol,
    /// Answer for the hosts of this profile only [default: the one profile that has the host in its `hosts`]
    #[arg(long, value_name = "PROFILE", global = true)]
    pub profile: Option<String>,
    /// Time limit for the whole call, waiting included [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = timeout, global = true)]
    pub timeout: Option<i64>,
}

// A credential protocol: a doc comment here would replace the help of the command itself.
#[derive(Subcommand, Clone, Debug)]
pub enum Protocol {
    /// git: credential.helper
    ///
    /// Also runs as the program git-credential-tok. Anything but the operations below is ignored, as git asks of a
    /// helper.
    Git {
        /// get, store, erase or capability
        operation: String,
    },
    /// docker and other container tools: credHelpers
    ///
    /// Also runs as the program docker-credential-tok.
    Docker {
        /// get, store, erase, list or version
        operation: String,
    },
    /// Bazel: --credential_helper
    ///
    /// Also runs as the program bazel-credential-tok, since Bazel gives a helper no arguments of its own.
    Bazel {
        /// get
        operation: String,
    },
    /// cargo: credential-provider
    ///
    /// cargo runs `tok --cargo-plugin`, which is this command, and passes the other words of its config along.
    Cargo {
        /// Set by cargo
        #[arg(long)]
        cargo_plugin: bool,
    },
    /// go: GOAUTH
    Goauth {
        /// URL that go has no credentials for; without it, prints those of --profile
        url: Option<String>,
    },
    /// Terraform and OpenTofu: credentials_helper
    ///
    /// Also runs as the program terraform-credentials-tok.
    Terraform {
        /// get, store or forget
        operation: String,
        /// Host, with its port unless that is 443
        host: String,
    },
}
