//! The arguments of `tok providers`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

// `tok providers`
#[derive(Args, Clone, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    override_usage = "tok providers [OPTIONS] [NAME]\n       tok providers new [NAME] [OPTIONS]"
)]
pub struct Providers {
    /// Provider to show, or any part of a name or title
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print its provider file, as a starting point for your own
    #[arg(long, requires = "name", conflicts_with = "json")]
    pub toml: bool,
    /// Check a provider file of your own: list all mistakes, and warn about likely ones
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "json", "toml", "try_grant", "read"])]
    pub check: Option<PathBuf>,
    /// Print the requests of a grant without sending them
    ///
    /// {name} in them stands for a secret or a value that is not known. NAME is a provider or a profile. GRANT is one of its
    /// grants [default: the first], or one request alone: GRANT.begin, GRANT.steps.1, revoke, introspect or userinfo.
    #[arg(
        long = "try",
        value_names = ["NAME", "GRANT"],
        num_args = 1..=2,
        conflicts_with_all = ["name", "json", "toml", "read"]
    )]
    pub try_grant: Vec<String>,
    /// Show how a reply of the provider is read
    ///
    /// REPLY is a file (- for stdin): what `curl -i` printed, or a body alone, which is read as if its status were 200. NAME
    /// and GRANT are those of --try: what it is the reply to. A grant stands for its request for the token.
    #[arg(
        long,
        value_names = ["NAME", "GRANT", "REPLY"],
        num_args = 2..=3,
        allow_hyphen_values = true,
        conflicts_with_all = ["name", "json", "toml"]
    )]
    pub read: Vec<String>,
    /// The command.
    #[command(subcommand)]
    pub command: Option<ProvidersCommand>,
}

// What else `tok providers` does: a doc comment here would replace the help of the command itself.
#[derive(Subcommand, Clone, Debug)]
pub enum ProvidersCommand {
    /// Write a provider file to start from, with comments
    ///
    /// Asks on a terminal for what no option says. Prints the path of the new file.
    New(NewProvider),
}

// `tok providers new`
#[derive(Args, Clone, Debug, Default)]
pub struct NewProvider {
    /// Name of the provider: lower-case letters, digits and `-`
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Name that people know it by
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// URL of its documentation
    #[arg(long, value_name = "URL")]
    pub docs: Option<String>,
    /// URL of the token endpoint; of the issuer with --kind standard
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// How a token is requested
    #[arg(long, value_name = "KIND", value_enum)]
    pub kind: Option<Kind>,
    /// How the request's fields are sent
    #[arg(long, value_name = "HOW", value_parser = ["form", "json", "query"])]
    pub encode: Option<String>,
    /// JSON Pointer to the access token in the reply
    #[arg(long, value_name = "POINTER")]
    pub access_token: Option<String>,
    /// JSON Pointer to the refresh token in the reply; empty if there is none
    #[arg(long, value_name = "POINTER")]
    pub refresh_token: Option<String>,
    /// JSON Pointer to the seconds until the access token expires; empty if there is none
    #[arg(long, value_name = "POINTER")]
    pub expires: Option<String>,
    /// Header in which the API expects the token
    #[arg(long, value_name = "NAME")]
    pub header: Option<String>,
    /// Print the file instead of saving it
    #[arg(long)]
    pub print: bool,
}

/// How a provider issues tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// An API key in exchange for a token
    Key,
    /// OAuth 2.0 client credentials: client ID and secret
    Client,
    /// User name and password
    Password,
    /// A standard OpenID Connect server: only its issuer is needed
    Standard,
}
