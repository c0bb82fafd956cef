//! `tok`, a command-line token fetcher. `README.md` says what it does; the way of a token is
//! argv → [`cli`] → [`profile`] → [`provider`] and grant → [`plan`] → [`request`] → [`http`] → [`reply`] → [`token`] →
//! [`store`] → [`output`].

pub mod base;
pub mod cli;
pub mod cmd;
pub mod host;
pub mod oauth;

pub mod fast_path;
pub mod profile;
pub mod provider;
pub mod session;
pub mod storage;
pub mod system;
pub mod token;

use base::error::{Error, Kind, Result};
use cli::{Cli, Color, Format, Shape, Verb};
use cmd::Context;
use host::Host;
use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

/// The id of this build: what another build has written down for itself is not trusted.
pub const BUILD: &str = env!("TOK_BUILD_ID");

/// Runs the command line `args` in the world `host`; the exit status.
pub fn run(args: Vec<OsString>, host: &mut Host) -> u8 {
    match parse_and_dispatch(args, host) {
        Ok(()) => 0,
        Err(Stop::Shown(status)) => status,
        Err(Stop::Error(error)) => {
            host.terminal.report(&error.to_string(), error.hint.as_deref());
            error.status()
        }
    }
}

/// Why a run ends early.
enum Stop {
    /// Help or version was printed, or a mistake in the command line.
    Shown(u8),
    /// An error to be told.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

fn parse_and_dispatch(args: Vec<OsString>, host: &mut Host) -> std::result::Result<(), Stop> {
    if complete(&args, host)? {
        return Ok(());
    }
    host.words = args.clone();
    let (matches, shape) = parse(&args, host)?;
    let cli = match cli::typed(&matches) {
        Ok(cli) => cli,
        Err(error) => return Err(usage(host, &args, &shape, &error)),
    };
    settle(host, &cli);
    if !matches!(cli.verb, Verb::Providers(_) | Verb::Completions(_)) {
        host.check_home()?;
    }
    Ok(dispatch(&cli, &matches, &shape, host)?)
}

/// Answers a shell that asks for completions.
fn complete(args: &[OsString], host: &Host) -> std::result::Result<bool, Stop> {
    if host.env.get(cmd::completions::VARIABLE).is_none() {
        return Ok(false);
    }
    let config =
        profile::config_path(host, None).and_then(|path| profile::load_config(host, &path, None)).unwrap_or_default();
    let shape = cmd::completions::shape(host, &profile::Library::new(host), &config);
    let providers = profile::Library::new(host).names();
    let factory = move || cmd::completions::command(&shape, providers.clone());
    clap_complete::CompleteEnv::with_factory(factory)
        .var(cmd::completions::VARIABLE)
        .try_complete(args.iter().cloned(), std::env::current_dir().ok().as_deref())
        .map_err(|error| Stop::Error(Error::new(Kind::Usage, "completion", base::text::escape(&error.to_string()))))
}

/// Reads the command line. What providers bring to it is looked for only where it cannot be read without: first of
/// those that are named; then of all, as what was mistyped may be the name, and help may name all.
fn parse(args: &[OsString], host: &mut Host) -> std::result::Result<(clap::ArgMatches, Shape), Stop> {
    if let Some(matches) = cli::parse_token_call(args) {
        return Ok((matches, Shape::default()));
    }
    let words: Vec<&str> = args.iter().skip(1).filter_map(|a| a.to_str()).collect();
    let has = |word: &str| words.contains(&word);
    let shapes: &[fn(&[&str], &mut Host) -> Shape] = match (has("help"), has("login"), has("get") || has("header")) {
        (true, ..) => &[shape_of_all],
        (_, true, _) => &[shape_of_named, shape_of_all],
        (.., true) => &[shape_of_named_or_all],
        _ => &[],
    };
    let mut shape = Shape::default();
    let mut read = cli::parse(&shape, args);
    for find in shapes {
        if read.is_ok() {
            break;
        }
        shape = find(&words, host);
        read = cli::parse(&shape, args);
    }
    match read {
        Ok(matches) => Ok((matches, shape)),
        Err(error) => Err(usage(host, args, &shape, &error)),
    }
}

/// What the profiles and providers that are named bring to the command line.
fn shape_of_named(words: &[&str], host: &mut Host) -> Shape {
    let mut names: Vec<&str> = words.iter().copied().filter(|word| base::name::is_name(word)).collect();
    // A subcommand is there once, however often its name is said.
    names.sort_unstable();
    names.dedup();
    // A config that cannot be read is told when it is used; help works all the same.
    let (path, config) = config_of(words, host, Some(&names)).unwrap_or_default();
    let mut shape = Shape::default();
    let library = profile::Library::new(host);
    for name in names {
        cmd::completions::add_named(&mut shape, host, &library, &config, name);
    }
    host.config = Some((path, config));
    shape
}

/// The same; where none is named, what all bring.
fn shape_of_named_or_all(words: &[&str], host: &mut Host) -> Shape {
    let shape = shape_of_named(words, host);
    if shape.logins.is_empty() { shape_of_all(words, host) } else { shape }
}

/// What all profiles and providers bring to the command line.
fn shape_of_all(words: &[&str], host: &mut Host) -> Shape {
    let (path, config) = config_of(words, host, None).unwrap_or_default();
    let shape = cmd::completions::shape(host, &profile::Library::new(host), &config);
    host.config = Some((path, config));
    shape
}

fn config_of(
    words: &[&str],
    host: &Host,
    about: Option<&[&str]>,
) -> Result<(std::path::PathBuf, crate::profile::config::Config)> {
    let mut flag = None;
    for (at, word) in words.iter().enumerate() {
        match word.strip_prefix("--config") {
            Some("") => flag = words.get(at + 1).map(std::path::PathBuf::from),
            Some(rest) => flag = rest.strip_prefix('=').map(Into::into).or(flag),
            None => {}
        }
    }
    let path = profile::config_path(host, flag.as_deref())?;
    let config = profile::load_config(host, &path, about)?;
    Ok((path, config))
}

/// Puts the global options into force.
fn settle(host: &mut Host, cli: &Cli) {
    let global = &cli.global;
    host.terminal.verbose = global.verbose;
    host.terminal.quiet = global.quiet;
    host.terminal.interactive &= !global.no_input;
    let var = |name: &str| host.env.get(name).filter(|v| !v.is_empty());
    host.terminal.color = match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            host.terminal.stderr_terminal && var("NO_COLOR").is_none() && var("TERM").is_none_or(|term| term != "dumb")
        }
    };
}

fn dispatch(cli: &Cli, matches: &clap::ArgMatches, shape: &Shape, host: &mut Host) -> Result<()> {
    let global = &cli.global;
    let values =
        |verb: &str| matches.subcommand_matches(verb).map(|m| cli::values(m, &shape.values)).unwrap_or_default();
    match &cli.verb {
        Verb::Get(args) => {
            token_call(host, args.token.timeout);
            let format = if args.json { Format::Json } else { args.output };
            let plain = format == Format::Token && args.write.is_none() && is_short(host, cli, "get", &args.token);
            let plain = plain && is_plain(&values("get"));
            let mut context = Context::new(host, global, false, Some(&args.token.profile))?;
            context.plain = plain;
            let out = cmd::get::Out { format, variable: &args.name, to: args.write.as_deref(), api: None };
            cmd::get::run(&mut context, &args.token, values("get"), &out)
        }
        Verb::Header(args) => {
            token_call(host, args.token.timeout);
            let plain = is_short(host, cli, "header", &args.token) && is_plain(&values("header"));
            let mut context = Context::new(host, global, false, Some(&args.token.profile))?;
            context.plain = plain;
            let out = cmd::get::Out { format: Format::Header, variable: "", to: None, api: Some(&args.api) };
            cmd::get::run(&mut context, &args.token, values("header"), &out)
        }
        Verb::Login(_) => {
            let login = matches.subcommand_matches("login").map(|m| cli::login(m, shape)).unwrap_or_default();
            token_call(host, login.timeout);
            crate::system::signals::listen();
            cmd::login::run(&mut Context::new(host, global, true, None)?, &login)
        }
        Verb::Logout(args) => {
            token_call(host, args.timeout);
            crate::system::signals::listen();
            cmd::logout::run(&mut Context::new(host, global, false, None)?, args)
        }
        Verb::List(args) => cmd::list::run(&mut Context::new(host, global, false, None)?, args.json),
        Verb::Show(args) => {
            token_call(host, args.timeout);
            cmd::show::run(&mut Context::new(host, global, false, None)?, args)
        }
        Verb::Providers(args) => cmd::providers::run(host, args.name.as_deref(), args.json, args.toml),
        Verb::Completions(args) => {
            let text = cmd::completions::script(args.shell)?;
            host.terminal.print(&text)
        }
    }
}

/// Readies a call that may take time and change what is kept.
fn token_call(host: &mut Host, timeout: Option<i64>) {
    if let Some(seconds) = timeout {
        host.clock.set_timeout(Duration::from_secs(seconds.unsigned_abs()));
    }
    crate::system::signals::let_writes_fail();
}

/// Whether the short path could answer the same command line: it is `VERB PROFILE …`, and no option of it wants more
/// than the token.
fn is_short(host: &Host, cli: &Cli, verb: &str, args: &cli::TokenArgs) -> bool {
    let word = |at: usize| host.words.get(at).and_then(|word| word.to_str());
    let is_usual = cli.global.verbose == 0 && cli.global.config.is_none() && !args.fresh && !args.no_store;
    is_usual && word(1) == Some(verb) && word(2) == Some(args.profile.as_str())
}

/// Whether no value comes from a file, which may say something else the next time.
fn is_plain(values: &std::collections::BTreeMap<String, cli::Given>) -> bool {
    values.values().all(|value| matches!(value, cli::Given::Plain(_)))
}

/// Help and version go to stdout as clap has them; a mistake is told in our two lines.
fn usage(host: &mut Host, args: &[OsString], shape: &Shape, error: &clap::Error) -> Stop {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let rendered = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return host.terminal.print(&base::text::lines(&rendered)).map_or_else(Stop::Error, |()| Stop::Shown(0));
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = write!(host.terminal.err, "{}", base::text::lines(&rendered));
            return Stop::Shown(Kind::Usage as u8);
        }
        _ => {}
    }
    let typed =
        [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].iter().find_map(|kind| match error.get(*kind) {
            Some(ContextValue::String(typed)) => Some(typed.as_str()),
            _ => None,
        });
    let verb = args.iter().skip(1).filter_map(|a| a.to_str()).find(|word| Cli::has_verb(word));
    let help = verb.map_or("tok --help".to_string(), |verb| format!("tok {verb} --help"));
    let wrong = |what: String| Error::new(Kind::Usage, what, "");
    let error = match (error.kind(), typed) {
        (ErrorKind::InvalidSubcommand, Some(typed)) if verb == Some("login") => no_login(host, args, shape, typed),
        (ErrorKind::InvalidSubcommand, Some(typed)) => {
            let near = base::text::nearest(typed, Cli::verbs());
            let error = wrong(format!("there is no command `{}`", base::text::escape_to(typed, 40)));
            error.hint(near.map_or(format!("see {help}"), |near| format!("did you mean tok {near}?")))
        }
        // An argument in the wrong place may be a secret: it is not repeated.
        (ErrorKind::UnknownArgument, Some(typed)) if !typed.starts_with('-') => {
            wrong("there is one argument too many".into()).hint(format!("see {help}"))
        }
        _ => {
            let mut lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
            let first = lines.next().unwrap_or("wrong usage");
            let what = first.strip_prefix("error: ").unwrap_or(first).trim_end_matches(':');
            let end = |line: &&str| !["Usage:", "For more", "tip:"].iter().any(|start| line.starts_with(start));
            let details: Vec<&str> = lines.take_while(end).collect();
            let tip = rendered.lines().map(str::trim).find_map(|line| line.strip_prefix("tip: "));
            // «to pass it as a value» is never what is meant here.
            let tip = tip.filter(|tip| !tip.starts_with("to pass"));
            let hint = tip.map_or(format!("see {help}"), |tip| format!("{}; see {help}", base::text::escape(tip)));
            Error::new(Kind::Usage, base::text::escape(what), base::text::escape(&details.join(" "))).hint(hint)
        }
    };
    Stop::Error(error)
}

/// `tok login X` or `tok login PROFILE X` where there is no X: what is broken or unknown, in the words of `tok get`.
fn no_login(host: &mut Host, args: &[OsString], shape: &Shape, typed: &str) -> Error {
    let words: Vec<&str> = args.iter().skip(1).filter_map(|a| a.to_str()).collect();
    let target = shape.logins.iter().find(|login| words.contains(&login.name.as_str()));
    let (name, grant) = match target {
        Some(login) => (login.name.clone(), Some(typed.to_string())),
        None => (typed.to_string(), None),
    };
    let wishes = profile::Wishes { grant, ..Default::default() };
    let resolved = profile::config_path(host, None).and_then(|_| config_of(&words, host, None)).and_then(
        |(config_path, config)| {
            let setup = profile::Setup { config_path, config, library: profile::Library::new(host) };
            profile::Profile::resolve(host, &setup, &name, &wishes).map(|_| ())
        },
    );
    let unknown = Error::new(Kind::Usage, format!("`{}` is no grant of {name}", base::text::escape_to(typed, 40)), "");
    resolved.err().unwrap_or(unknown.hint(format!("see tok login {name} --help")))
}
