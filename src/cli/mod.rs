//! The command line as types. What a provider takes comes in as plain values ([`Shape`]); nothing else of the
//! program is known here, so that man pages and completions can be made from it alone.

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Fetches tokens: an access token or a header line on stdout, the refresh token in the OS keyring.
#[derive(Parser, Debug)]
#[command(
    name = "tok",
    version,
    about,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    after_help = "First: tok login PROVIDER (see them: tok providers)\nThen:  TOKEN=$(tok get PROVIDER)\nOr:    tok header PROVIDER | curl -H @- https://…"
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
    /// Say what is done, and more where given twice. Secrets are never shown
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Global options")]
    pub verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// The config file [default: config.toml in tok's config folder]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Never ask, even on a terminal
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_input: bool,
    /// Colour of messages
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

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Print a valid access token: cached, refreshed, or by a grant that needs nobody
    ///
    /// The cached token is printed while it is good. Then the refresh token gets another, else a grant whose values
    /// are all known. Nothing is ever asked: where a login is needed, the exit status is 4 and the error names the
    /// command.
    Get(Get),
    /// Print the request header line with the token: `Authorization: Bearer …`
    ///
    /// Gets the token as `tok get` does, and prints the header that this provider's API wants: for `curl -H @-`, and
    /// for whatever else reads a header line.
    Header(Header),
    /// Log in: run one grant and keep what it returns
    ///
    /// Without GRANT the profile's is run, else the provider's first. A secret is never an argument: it comes from a
    /// file (--…-file, - for stdin), from the environment (TOK_PROFILE_VALUE, or TOK_PROFILE_VALUE_FILE with a path),
    /// from the config, or is asked for without echo. Nothing is printed on stdout, and a login that fails changes
    /// nothing.
    ///
    /// An empty value switches off what a default or the server's metadata would give: --par-url '', --prompt ''.
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        disable_help_subcommand = true,
        subcommand_value_name = "PROFILE",
        subcommand_help_heading = "Profiles and providers",
        override_usage = "tok login PROFILE [GRANT] [OPTIONS]"
    )]
    Login(Login),
    /// Log out: revoke where the provider can, then forget tokens and kept secrets
    ///
    /// Forgets the refresh token, the kept secrets and the cached tokens. They are forgotten here too where the
    /// provider could not be told; the exit status is 6 then.
    Logout(Logout),
    /// List what is configured or kept
    ///
    /// No keyring is opened for it.
    List(List),
    /// Show one profile in full: its values and where they come from, its token's claims and times
    ///
    /// The value of a secret is never shown. A JWT's claims are decoded, which does not verify them.
    Show(Show),
    /// List the known providers, or show one
    ///
    /// With NAME: its grants, the values they take, and where its documents are.
    Providers(Providers),
    /// Print the completion script of a shell
    ///
    /// For bash, now: source <(tok completions bash). The script asks tok itself, so profiles and providers complete as
    /// they are at that moment.
    Completions(Completions),
}

/// `tok get`
#[derive(Args, Clone, Debug)]
pub struct Get {
    /// The token that is asked for.
    #[command(flatten)]
    pub token: TokenArgs,
    /// What is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Token)]
    pub output: Format,
    /// The same as `--output json`
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
    /// The variable that `--output env` sets
    #[arg(long, value_name = "VAR", default_value = "ACCESS_TOKEN", value_parser = variable_name)]
    pub name: String,
    /// Write to this file instead of stdout: all at once, and readable by you alone (0600)
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// What `tok get` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The access token
    Token,
    /// The request header line
    Header,
    /// Everything that is known of it, as JSON
    Json,
    /// `export ACCESS_TOKEN='…'`, for a shell's `eval`
    Env,
    /// The ID token, verified
    IdToken,
}

/// `tok header`
#[derive(Args, Clone, Debug)]
pub struct Header {
    /// The token that is asked for.
    #[command(flatten)]
    pub token: TokenArgs,
    /// The request that the header is for.
    #[command(flatten)]
    pub api: ApiCall,
}

/// A request to an API, for a token that is bound to a key (RFC 9449).
#[derive(Args, Clone, Debug, Default)]
pub struct ApiCall {
    /// The method of the request it is for, where the token needs a proof (DPoP)
    #[arg(long, value_name = "METHOD", requires = "url")]
    pub method: Option<String>,
    /// The URL of the request it is for, where the token needs a proof (DPoP)
    #[arg(long, value_name = "URL", requires = "method")]
    pub url: Option<String>,
    /// The DPoP-Nonce that the API has answered with
    #[arg(long, value_name = "NONCE", requires = "method")]
    pub nonce: Option<String>,
}

/// What is asked of a token.
#[derive(Args, Clone, Debug, Default)]
pub struct TokenArgs {
    /// A profile of the config, or a provider
    #[arg(value_name = "PROFILE")]
    pub profile: String,
    /// Get a new token: none that was issued before this call began
    #[arg(long, conflicts_with = "offline")]
    pub fresh: bool,
    /// Print the cached token or fail: no network, no keyring
    #[arg(long)]
    pub offline: bool,
    /// How long the token must still be good [default: 60s, or a tenth of its whole life where that is less]
    #[arg(long, value_name = "DUR", value_parser = crate::base::duration::parse)]
    pub min_ttl: Option<i64>,
    /// Ask for this scope in place of the configured ones; may be repeated
    #[arg(long, value_name = "SCOPE", action = ArgAction::Append)]
    pub scope: Vec<String>,
    /// The grant to use [default: the profile's, else the provider's first]
    #[arg(long, value_name = "GRANT")]
    pub grant: Option<String>,
    /// Neither read nor write the secret store and the cache
    #[arg(long)]
    pub no_store: bool,
    /// How long the whole call may take, waiting for others included [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = timeout)]
    pub timeout: Option<i64>,
}

/// `tok login`: its subcommands are the profiles and providers, see [`command`].
#[derive(Args, Clone, Debug)]
pub struct Login {}

/// `tok logout`
#[derive(Args, Clone, Debug)]
pub struct Logout {
    /// A profile of the config, or a provider
    #[arg(value_name = "PROFILE", required_unless_present = "all")]
    pub profile: Option<String>,
    /// Log out of every profile of which something is kept
    #[arg(long, conflicts_with = "profile")]
    pub all: bool,
    /// How long the whole call may take [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = timeout)]
    pub timeout: Option<i64>,
}

/// `tok list`
#[derive(Args, Clone, Debug)]
pub struct List {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `tok show`
#[derive(Args, Clone, Debug)]
pub struct Show {
    /// A profile of the config, or a provider
    #[arg(value_name = "PROFILE")]
    pub profile: String,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Ask the provider what it knows of the access token (RFC 7662)
    #[arg(long)]
    pub introspect: bool,
    /// Ask the provider who the access token is for (OpenID Connect)
    #[arg(long)]
    pub userinfo: bool,
    /// How long the whole call may take [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = timeout)]
    pub timeout: Option<i64>,
}

/// `tok providers`
#[derive(Args, Clone, Debug)]
pub struct Providers {
    /// The provider to show
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Print its provider file: a start for one of your own
    #[arg(long, requires = "name", conflicts_with = "json")]
    pub toml: bool,
}

/// `tok completions`
#[derive(Args, Clone, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// The shells that can be completed.
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

/// A value that can be given on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueFlag {
    /// Its name, with `_`.
    pub name: String,
    /// `--x-file PATH` in place of `--x VALUE`.
    pub secret: bool,
    /// May be repeated.
    pub list: bool,
    /// One line for `--help`.
    pub help: String,
    /// The values allowed; empty: any.
    pub choices: Vec<String>,
    /// Where nothing else gives it, for `--help`.
    pub default: Option<String>,
}

/// What can be logged in to.
#[derive(Clone, Debug)]
pub struct LoginTarget {
    /// A profile or a provider.
    pub name: String,
    /// One line for `--help`.
    pub about: String,
    /// Its grants: name, help, values.
    pub grants: Vec<(String, String, Vec<ValueFlag>)>,
}

/// What the providers bring to the command line.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The values that `get` and `header` take.
    pub values: Vec<ValueFlag>,
    /// What `login` takes.
    pub logins: Vec<LoginTarget>,
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// `--x VALUE`, once or more.
    Plain(Vec<String>),
    /// `--x-file PATH`
    File(PathBuf),
}

/// A login as it was asked for.
#[derive(Clone, Debug, Default)]
pub struct LoginArgs {
    /// The profile or provider.
    pub target: String,
    /// The grant, if one was named.
    pub grant: Option<String>,
    /// `--as`
    pub keep_as: Option<String>,
    /// `--keep`
    pub keep: bool,
    /// `--store`
    pub store: Option<String>,
    /// `--timeout` in seconds.
    pub timeout: Option<i64>,
    /// `--no-browser`
    pub no_browser: bool,
    /// The values.
    pub values: BTreeMap<String, Given>,
}

/// Reads the command line `args`.
///
/// # Errors
/// Those of clap: help that is asked for, or a mistake.
pub fn parse(shape: &Shape, args: &[std::ffi::OsString]) -> Result<ArgMatches, clap::Error> {
    command(shape).try_get_matches_from(args)
}

/// Reads the command line `args` where it is a call of `get` or `header` without a value of a provider; `None` for all
/// others, for help and for mistakes. The other commands, which are not made for it, would take half of the memory that
/// such a call needs.
pub fn parse_token_call(args: &[std::ffi::OsString]) -> Option<ArgMatches> {
    let has = |verb: &str| args.iter().any(|arg| arg == verb);
    let mut command = Global::augment_args(Command::new("tok").subcommand_required(true));
    if has("get") {
        command = command.subcommand(Get::augment_args(Command::new("get")));
    }
    if has("header") {
        command = command.subcommand(Header::augment_args(Command::new("header")));
    }
    command.has_subcommands().then(|| command.try_get_matches_from(args).ok())?
}

/// The whole command, with what the providers bring.
pub fn command(shape: &Shape) -> Command {
    let mut command = Cli::command();
    if !shape.values.is_empty() {
        let values = || shape.values.iter().map(|v| value_arg(v, "Values of the provider")).collect::<Vec<_>>();
        command = command.mut_subcommand("get", |c| c.args(values())).mut_subcommand("header", |c| c.args(values()));
    }
    if !shape.logins.is_empty() {
        let logins = shape.logins.iter().map(login_command).collect::<Vec<_>>();
        command = command.mut_subcommand("login", |c| c.subcommands(logins));
    }
    command
}

fn login_command(target: &LoginTarget) -> Command {
    let mut all: Vec<ValueFlag> = Vec::new();
    for flag in target.grants.iter().flat_map(|(_, _, values)| values) {
        if !all.iter().any(|known| known.name == flag.name) {
            all.push(flag.clone());
        }
    }
    let usage = format!("tok login {} [GRANT] [OPTIONS]", target.name);
    let mut command = Command::new(target.name.clone())
        .about(target.about.clone())
        .long_about(format!("Log in to {}: run one of its grants and keep what it returns", target.about))
        .args(all.iter().map(|v| value_arg(v, "Values")))
        .args(login_args())
        .disable_help_subcommand(true)
        .subcommand_value_name("GRANT")
        .subcommand_help_heading("Grants, the first is the default")
        .override_usage(usage);
    for (name, help, values) in &target.grants {
        command = command.subcommand(
            Command::new(name.clone())
                .about(help.clone())
                .long_about(format!("Log in to {}. {help}", target.about).trim_end_matches([' ', '.']).to_string())
                .args(values.iter().map(|v| value_arg(v, "Values")))
                .args(login_args()),
        );
    }
    command
}

fn login_args() -> Vec<Arg> {
    vec![
        Arg::new("as")
            .long("as")
            .value_name("NAME")
            .help("Keep it as this profile, as for a second account at one provider"),
        Arg::new("keep")
            .long("keep")
            .action(ArgAction::SetTrue)
            .help("Keep the secrets too, so that `tok get` can run this grant again by itself"),
        Arg::new("store")
            .long("store")
            .value_name("STORE")
            .help("Where to keep what is secret: keyring, file, none or helper:NAME (docker-credential-NAME)"),
        Arg::new("no_browser")
            .long("no-browser")
            .action(ArgAction::SetTrue)
            .help("Open no browser: show the address, and take the one where the login ended"),
        Arg::new("timeout").long("timeout").value_name("DUR").value_parser(timeout).help(
            "How long the whole call may take, waiting for others included [default: 30s, and 5m for a person's part]",
        ),
    ]
}

fn value_arg(flag: &ValueFlag, heading: &str) -> Arg {
    let dashed = flag.name.replace('_', "-");
    let arg = if flag.secret {
        Arg::new(format!("{}_file", flag.name))
            .long(format!("{dashed}-file"))
            .value_name("PATH")
            .value_parser(clap::value_parser!(PathBuf))
            .value_hint(clap::ValueHint::FilePath)
            .help(format!("{}: the file that holds it, or - for stdin", help(flag)))
    } else {
        let arg = Arg::new(flag.name.clone()).long(dashed).value_name("VALUE").action(ArgAction::Append);
        let arg = arg.help(if flag.list { format!("{}; may be repeated", help(flag)) } else { help(flag) });
        if flag.choices.is_empty() {
            arg
        } else {
            // Empty, it is switched off.
            let choices = flag.choices.iter().map(PossibleValue::new).chain([PossibleValue::new("").hide(true)]);
            arg.value_parser(clap::builder::PossibleValuesParser::new(choices))
        }
    };
    arg.help_heading(heading.to_string())
}

fn help(flag: &ValueFlag) -> String {
    let text = if flag.help.is_empty() { name_for_people(&flag.name) } else { flag.help.clone() };
    match &flag.default {
        Some(default) => format!("{text} [default: {default}]"),
        None => text,
    }
}

/// The name as people write it: `Client ID`.
fn name_for_people(name: &str) -> String {
    let mut words: Vec<String> = name.split('_').map(str::to_string).collect();
    for (at, word) in words.iter_mut().enumerate() {
        match word.as_str() {
            "id" | "url" => word.make_ascii_uppercase(),
            // A value's name begins with a letter.
            _ if at == 0 => word[..1].make_ascii_uppercase(),
            _ => {}
        }
    }
    words.join(" ")
}

/// The values in `matches`.
pub fn values(matches: &ArgMatches, flags: &[ValueFlag]) -> BTreeMap<String, Given> {
    let mut given = BTreeMap::new();
    for flag in flags {
        if flag.secret {
            if let Ok(Some(path)) = matches.try_get_one::<PathBuf>(&format!("{}_file", flag.name)) {
                given.insert(flag.name.clone(), Given::File(path.clone()));
            }
        } else if let Ok(Some(texts)) = matches.try_get_many::<String>(&flag.name) {
            given.insert(flag.name.clone(), Given::Plain(texts.cloned().collect()));
        }
    }
    given
}

/// The login in the matches of `login`.
pub fn login(matches: &ArgMatches, shape: &Shape) -> LoginArgs {
    let mut login = LoginArgs::default();
    let Some((target, outer)) = matches.subcommand() else { return login };
    login.target = target.into();
    let known = shape.logins.iter().find(|l| l.name == target);
    let flags: Vec<ValueFlag> =
        known.map(|l| l.grants.iter().flat_map(|(_, _, v)| v.clone()).collect()).unwrap_or_default();
    let mut levels = vec![outer];
    if let Some((grant, inner)) = outer.subcommand() {
        login.grant = Some(grant.into());
        levels.push(inner);
    }
    // An option may stand before the grant or after it; the nearer one wins.
    for level in levels {
        login.keep |= level.get_flag("keep");
        login.no_browser |= level.get_flag("no_browser");
        login.keep_as = level.get_one::<String>("as").cloned().or(login.keep_as);
        login.store = level.get_one::<String>("store").cloned().or(login.store);
        login.timeout = level.get_one::<i64>("timeout").copied().or(login.timeout);
        login.values.extend(values(level, &flags));
    }
    login
}

/// Reads `matches` into types.
///
/// # Errors
/// Those of clap.
pub fn typed(matches: &ArgMatches) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(matches)
}

fn timeout(text: &str) -> Result<i64, String> {
    match crate::base::duration::parse(text)? {
        0 => Err("a call takes some time: at least 1s".into()),
        seconds => Ok(seconds.min(86_400 * 365)),
    }
}

/// POSIX XBD 8.1: what every shell takes as a variable's name.
fn variable_name(text: &str) -> Result<String, String> {
    let ok = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if ok { Ok(text.into()) } else { Err("a variable's name is letters, digits and `_`".into()) }
}

impl Cli {
    /// Whether there is a command of that name.
    pub fn has_verb(name: &str) -> bool {
        Cli::verbs().contains(&name)
    }

    /// The names of the commands.
    pub fn verbs() -> Vec<&'static str> {
        vec!["get", "header", "login", "logout", "list", "show", "providers", "completions", "help"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_those_of_clap() {
        command(&Shape::default()).debug_assert();
        let mut names: Vec<String> = Cli::command().get_subcommands().map(|c| c.get_name().to_string()).collect();
        names.push("help".into());
        assert_eq!(names, Cli::verbs());
    }
}
