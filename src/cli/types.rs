//! What a command line says, as types: one of [`Cli`] for each run.

use super::client::ClientArgs;
use super::curl::Curl;
use super::doctor::Doctor;
use super::exec::Exec;
use super::output::{Format, FormatArgs};
use super::providers::Providers;
use super::schema::Schema;
use super::status::Status;
use crate::base::secret::Secret;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Fetch tokens: print an access token or a header line, keep the refresh token in the OS keyring.
#[derive(Parser, Debug)]
#[command(
    name = "tok",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    after_help = "First: tok login (asks what to log in to), or tok login PROVIDER\nThen:  TOKEN=$(tok get PROVIDER)\nOr:    tok curl PROVIDER https://…"
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Show what is done; repeat for more detail. Secrets are never shown
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Global options")]
    pub verbose: u8,
    /// Print only errors, and the warning that a session could not be stored
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Config file [default: config.toml in tok's config folder]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Never prompt, even on a terminal
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_input: bool,
    /// When to colour messages
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto, global = true, help_heading = "Global options")]
    pub color: Color,
}

/// When messages are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands. `defer`: the arguments of a command are only built when it is used, which halves the start-up time.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub enum Verb {
    /// Print a valid access token, renewing it if needed
    ///
    /// Prints the cached token while it is valid, else renews it: with the refresh token, or with a non-interactive
    /// grant whose values are all known. Never prompts: if a login is needed, the exit status is 4 and the error
    /// names the command to run.
    Get(Get),
    /// Print the request header line with the token: `Authorization: Bearer …`
    ///
    /// Gets the token as `tok get` does, and prints the header that the provider's API expects: for `curl -H @-`, or
    /// for any other program that reads a header line.
    Header(Header),
    /// Run a program with the token in its environment
    ///
    /// Sets ACCESS_TOKEN (for one profile) and PROFILE_ACCESS_TOKEN for each, such as SHOP_EU_ACCESS_TOKEN, and removes
    /// all TOK_* variables. The program replaces tok, so that signals and its exit status are its own. If there is no
    /// token, the exit status is 125, and the error ends with the status of tok get; 126 if the program cannot be run,
    /// 127 if it is not found.
    #[command(
        override_usage = "tok exec [OPTIONS] PROFILE… -- CMD [ARG]…\n       tok exec [OPTIONS] --env VAR=PROFILE -- CMD [ARG]…"
    )]
    Exec(Exec),
    /// Run curl with the token in its request header
    ///
    /// Hands the header to curl over a pipe, never as an argument. tok's own options stand before PROFILE, everything
    /// behind it is curl's. stdin and the exit status are curl's; .curlrc is not read. If the API refuses a cached
    /// token (401), tok renews it once and repeats the request, unless its body comes from stdin.
    ///
    /// The header goes only to the profile's hosts (tok-config(5)) and to those of its provider. Refused with status 125
    /// are other URLs, and what leads the header elsewhere: --location-trusted, --config, --proto-default, --connect-to,
    /// --resolve, --insecure, --trace and others. If there is no token, the exit status is 125, and the error ends with
    /// the status of tok get.
    #[command(
        allow_external_subcommands = true,
        external_subcommand_value_parser = clap::value_parser!(std::ffi::OsString),
        disable_help_subcommand = true,
        subcommand_required = true,
        arg_required_else_help = true,
        subcommand_value_name = "PROFILE",
        override_usage = "tok curl [OPTIONS] PROFILE [--] ARG…"
    )]
    Curl(Curl),
    /// Log in and remember the session
    ///
    /// PROFILE is a profile, a provider (`tok providers` lists them all), or the https address of an API that publishes how
    /// to log in (RFC 9728), such as an MCP server. Without PROFILE, asks on a terminal what to log in to and how.
    ///
    /// Without GRANT, runs the profile's grant, else the provider's first; `browser` and `device` are short names of the
    /// grants that a person takes part in. A secret is never an argument: it comes from
    /// a file (--…-file, - for stdin), the environment (TOK_PROFILE_VALUE, or TOK_PROFILE_VALUE_FILE with a path), the
    /// config, or a prompt without echo. Prints nothing on stdout. A login that fails changes nothing.
    ///
    /// An empty value switches off what a default or the server's metadata would give: --par-url '', --prompt ''.
    #[command(
        disable_help_subcommand = true,
        subcommand_value_name = "PROFILE",
        subcommand_help_heading = "Profiles and providers",
        override_usage = "tok login [PROFILE] [GRANT] [OPTIONS]"
    )]
    Login(LoginArgs),
    /// Log out: revoke the tokens if the provider can, then delete them and the stored secrets
    ///
    /// Deletes the refresh token, the stored secrets and the cached tokens. They are deleted even if revoking
    /// them fails; the exit status is then 6.
    Logout(Logout),
    /// Show whether each profile can supply a token now, and for which account
    ///
    /// ready: a token is cached and still good. renews: a token can be had unattended. login needed: a person has to log
    /// in, and why. store locked: the store could not be read. unknown: never used here. Uses no network and opens no
    /// keyring without --online, and says when this was last checked.
    ///
    /// --online reads the stores and asks each provider: whether session and token are still active where it has an
    /// introspection endpoint, else its API or its UserInfo endpoint with the cached token, else only whether it answers.
    /// A cached token that is not active any more is deleted.
    ///
    /// The exit status is 0 if every profile can supply a token, 4 if one needs a login, 7 if a store cannot be read, 6
    /// if --online could not reach a provider whose token would be needed.
    #[command(visible_alias = "whoami")]
    Status(Status),
    /// List what is configured or stored: profiles, accounts and their status
    ///
    /// Does not open a keyring.
    List(List),
    /// Show one profile: its values and where they come from, its token's claims and times
    ///
    /// Secrets are never shown. A JWT's claims are decoded, not verified.
    Show(Show),
    /// List the known providers, show one, or check your own
    ///
    /// With NAME: its grants, the values they take, and where its documentation is. A part of a name or title finds the
    /// providers that have it.
    Providers(Providers),
    /// Find out what does not work here, and how to fix it
    ///
    /// Checks the config, provider files, stores, permissions and the environment, what a cron job of yours would see,
    /// and which profiles will need a person soon. The exit status is 1 if something will not work.
    Doctor(Doctor),
    /// Print the JSON Schema of a command's JSON output
    Schema(Schema),
    /// Answer a program's request for credentials, in its own protocol
    ///
    /// A program that knows the protocol runs this; `tok setup` tells it to. tok answers only for a host that the
    /// config names in a profile's `hosts`: exact in scheme, host and port. If two profiles have the host, neither
    /// is used unless --profile names it.
    ///
    /// `erase` deletes the cached access token that it names, and never a refresh token. `store` stores nothing.
    Credential(super::credential::Credential),
    /// Set up another program to get its token from tok
    ///
    /// Prints the lines for the program's own config; with --write, puts them there.
    Setup(super::setup::Setup),
    /// Print a shell completion script
    ///
    /// For the current bash: source <(tok completions bash). The script asks tok itself, so it always knows the
    /// current profiles and providers.
    Completions(Completions),
}

// `tok get`
#[derive(Args, Clone, Debug)]
pub struct Get {
    /// Profile in the config, or provider
    #[arg(value_name = "PROFILE")]
    pub profile: String,
    /// The token that is asked for.
    #[command(flatten)]
    pub token: TokenArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Token)]
    pub output: Format,
    /// Same as `--output json`
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
    /// Write to this file instead of stdout, atomically and readable only by you (0600), if it changes
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Tell the CI service to hide the token in the job's log first (GitHub Actions, Buildkite, Azure Pipelines)
    #[arg(long)]
    pub mask: bool,
    /// Keep the file fresh until a signal ends tok
    #[arg(long, requires = "write", conflicts_with_all = ["fresh", "offline", "mask"])]
    pub watch: bool,
    /// What formats take.
    #[command(flatten)]
    pub how: FormatArgs,
}

impl Get {
    /// The format that is asked for.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}

// `tok header`
#[derive(Args, Clone, Debug)]
pub struct Header {
    /// Profile in the config, or provider
    #[arg(value_name = "PROFILE")]
    pub profile: String,
    /// The token that is asked for.
    #[command(flatten)]
    pub token: TokenArgs,
    /// The request that the header is for.
    #[command(flatten)]
    pub api: ApiCall,
    /// Tell the CI service to hide the token in the job's log first (GitHub Actions, Buildkite)
    #[arg(long)]
    pub mask: bool,
}

// A request to an API, for a token that is bound to a key (RFC 9449).
#[derive(Args, Clone, Debug, Default)]
pub struct ApiCall {
    /// Method of the request the header is for, if the token needs a proof (DPoP)
    #[arg(long, value_name = "METHOD", requires = "url")]
    pub method: Option<String>,
    /// URL of the request the header is for, if the token needs a proof (DPoP)
    #[arg(long, value_name = "URL", requires = "method")]
    pub url: Option<String>,
    /// DPoP-Nonce from the API's last reply
    #[arg(long, value_name = "NONCE", requires = "method")]
    pub nonce: Option<String>,
}

// What is asked of a token.
#[derive(Args, Clone, Debug, Default)]
pub struct TokenArgs {
    /// The profile, or a provider: each verb has its own way to name it.
    #[arg(skip)]
    pub profile: String,
    /// Get a new token, issued after this call began
    #[arg(long, conflicts_with = "offline")]
    pub fresh: bool,
    /// Take the cached token or fail: no network, no keyring
    #[arg(long)]
    pub offline: bool,
    /// Minimum remaining lifetime [default: 60s, or a tenth of the token's whole lifetime if that is less]
    #[arg(long, value_name = "DUR", value_parser = crate::base::duration::parse)]
    pub min_ttl: Option<i64>,
    /// Request this scope instead of the configured ones; may be repeated
    #[arg(long, value_name = "SCOPE", action = ArgAction::Append)]
    pub scope: Vec<String>,
    /// Grant to use [default: the profile's, else the provider's first]
    #[arg(long, value_name = "GRANT")]
    pub grant: Option<String>,
    /// Do not read or write the secret store or the cache
    #[arg(long)]
    pub no_store: bool,
    /// In a CI job: --no-store --no-input, with the job's identity token where the profile's grant needs one
    #[arg(long)]
    pub ci: bool,
    /// Time limit for the whole call, waiting included [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = timeout)]
    pub timeout: Option<i64>,
    /// Values of the provider, by name: the catalog says which there are.
    #[arg(skip)]
    pub values: BTreeMap<String, Flag>,
}

/// A value as the command line gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Flag {
    /// `--x VALUE`, once or more.
    Plain(Vec<String>),
    /// `--x-file PATH`
    File(PathBuf),
    /// What a person typed for `--x-file -`; `None`: nothing.
    Typed(Option<Secret>),
}

// `tok login`: its subcommands are those of the catalog, and so is what they take.
#[derive(Args, Clone, Debug, Default)]
pub struct LoginArgs {
    /// The profile or provider; `None`: a person chooses.
    #[arg(skip)]
    pub target: Option<String>,
    /// The grant, if one was named.
    #[arg(skip)]
    pub grant: Option<String>,
    /// Save it as this profile, for example for a second account at a provider
    #[arg(id = "as", long = "as", value_name = "NAME")]
    pub keep_as: Option<String>,
    /// Replace the account that the profile holds, and revoke its session if the provider can
    #[arg(long)]
    pub replace: bool,
    /// Store the secrets too, so that `tok get` can run this grant again on its own
    #[arg(long)]
    pub keep: bool,
    /// Where to store secrets: keyring, file, none, helper:NAME (docker-credential-NAME), or for many machines
    /// vault:MOUNT/FOLDER, kubernetes:NAMESPACE/PREFIX or program:NAME (tok-store-NAME)
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// Move the session to another store, without a new login
    #[arg(long, value_name = "STORE")]
    pub move_to: Option<String>,
    /// Do not open a browser: show the URL to open, and ask for the URL that the browser ends at
    #[arg(long)]
    pub no_browser: bool,
    /// What is said of the client and the API.
    #[arg(skip)]
    pub client: ClientArgs,
    /// Time limit for the whole call, waiting included [default: 30s, and 5m while a person logs in]
    #[arg(long, value_name = "DUR", value_parser = timeout)]
    pub timeout: Option<i64>,
    /// The values.
    #[arg(skip)]
    pub values: BTreeMap<String, Flag>,
}

// `tok logout`
#[derive(Args, Clone, Debug)]
pub struct Logout {
    /// Profile in the config, or provider
    #[arg(value_name = "PROFILE", required_unless_present = "all")]
    pub profile: Option<String>,
    /// Log out of every profile that has a session or stored secrets
    #[arg(long, conflicts_with = "profile")]
    pub all: bool,
    /// Remove the profile from the config too, and with the last profile that uses it the client that tok registered
    #[arg(long)]
    pub remove: bool,
    /// Time limit for the whole call [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = timeout)]
    pub timeout: Option<i64>,
}

// `tok list`
#[derive(Args, Clone, Debug)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

// `tok show`
#[derive(Args, Clone, Debug)]
pub struct Show {
    /// Profile in the config, or provider
    #[arg(value_name = "PROFILE")]
    pub profile: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Ask the provider what it knows about the access token (RFC 7662)
    #[arg(long)]
    pub introspect: bool,
    /// Ask the provider who the access token is for (OpenID Connect)
    #[arg(long)]
    pub userinfo: bool,
    /// Call the profile's API once, and say whether it refuses the access token
    #[arg(long, conflicts_with_all = ["introspect", "userinfo"])]
    pub check: bool,
    /// Time limit for the whole call [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = timeout)]
    pub timeout: Option<i64>,
}

// `tok completions`
#[derive(Args, Clone, Debug)]
pub struct Completions {
    /// Shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// Shells that can be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
    /// Elvish
    Elvish,
    /// PowerShell
    Powershell,
}

impl Shell {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
            Shell::Elvish => "elvish",
            Shell::Powershell => "powershell",
        }
    }
}

/// A limit on the whole call, in seconds: a year at most.
pub(super) fn timeout(text: &str) -> Result<i64, String> {
    match crate::base::duration::parse(text)? {
        0 => Err("must be at least 1s".into()),
        seconds => Ok(seconds.min(86_400 * 365)),
    }
}

/// POSIX XBD 8.1: what every shell takes as a variable's name.
pub(super) fn variable_name(text: &str) -> Result<String, String> {
    let ok = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if ok { Ok(text.into()) } else { Err("expected letters, digits and `_`, not starting with a digit".into()) }
}
