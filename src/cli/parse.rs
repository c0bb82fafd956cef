//! Reads a command line.

use super::build::{Catalog, ValueKind, ValueRow, command};
use super::types::{Cli, Flag, Global, LoginArgs, Verb};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What can be read of a command line without a catalog: mistakes are ignored.
#[derive(Clone, Debug, Default)]
pub struct FirstLook {
    /// The options of every command.
    pub global: Global,
    /// The other words as they stand, options among them; those that are not UTF-8 are left out.
    pub words: Vec<String>,
}

/// How many words a [`FirstLook`] sees: more than a call has that is read with a catalog.
const WORDS: usize = 64;

/// Finds the config that `args` name and the words that may name a profile, which decide on the catalog that the
/// command line is then read with.
pub fn first_look(args: &[OsString]) -> FirstLook {
    // One place for each word: one place for all of them would take the global options behind the first as well.
    let word =
        |at: usize| Arg::new(at.to_string()).allow_hyphen_values(true).value_parser(clap::value_parser!(OsString));
    let command = Global::augment_args(Command::new("tok"))
        .args((0..WORDS).map(word))
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .ignore_errors(true);
    let Ok(matches) = command.try_get_matches_from(args) else { return FirstLook::default() };
    let words = (0..WORDS).map_while(|at| matches.get_one::<OsString>(&at.to_string()));
    FirstLook {
        global: Global::from_arg_matches(&matches).unwrap_or_default(),
        words: words.filter_map(|word| word.to_str().map(str::to_string)).collect(),
    }
}

/// Reads the command line `args` with what is in `catalog`; help is `columns` wide, or as the terminal.
///
/// # Errors
/// Those of clap: help that is asked for, or a mistake.
pub fn parse(args: &[OsString], catalog: &Catalog, columns: Option<usize>) -> Result<Cli, clap::Error> {
    let matches = command(catalog, columns).try_get_matches_from(args)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let Some((_, matches)) = matches.subcommand() else { return Ok(cli) };
    match &mut cli.verb {
        Verb::Get(get) => {
            get.token.profile.clone_from(&get.profile);
            get.token.values = values(matches, &catalog.values);
            let meant = get.how.take_values(get.format()).into_iter();
            get.token.values.extend(meant.map(|(name, text)| (name.to_string(), Flag::Plain(vec![text]))));
        }
        Verb::Header(header) => {
            header.token.profile.clone_from(&header.profile);
            header.token.values = values(matches, &catalog.values);
        }
        Verb::Exec(exec) => exec.token.values = values(matches, &catalog.values),
        Verb::Curl(curl) => {
            curl.token.values = values(matches, &catalog.values);
            if let Some((profile, rest)) = matches.subcommand() {
                curl.token.profile = profile.into();
                curl.args = rest.get_many::<OsString>("").into_iter().flatten().cloned().collect();
            }
        }
        Verb::Login(args) => *args = login(matches, catalog),
        _ => {}
    }
    Ok(cli)
}

/// The values in `matches`.
fn values(matches: &ArgMatches, rows: &[ValueRow]) -> BTreeMap<String, Flag> {
    let mut given = BTreeMap::new();
    for row in rows {
        if row.kind == ValueKind::Secret {
            if let Ok(Some(path)) = matches.try_get_one::<PathBuf>(&format!("{}_file", row.name)) {
                given.insert(row.name.clone(), Flag::File(path.clone()));
            }
        } else if let Ok(Some(texts)) = matches.try_get_many::<String>(&row.name) {
            given.insert(row.name.clone(), Flag::Plain(texts.cloned().collect()));
        }
    }
    given
}

/// The login in the matches of `login`.
fn login(matches: &ArgMatches, catalog: &Catalog) -> LoginArgs {
    let mut login = LoginArgs::default();
    let mut levels = vec![matches];
    let mut rows: Vec<ValueRow> = Vec::new();
    if let Some((target, outer)) = matches.subcommand() {
        login.target = Some(target.into());
        let known = catalog.targets.iter().find(|row| row.name == target);
        rows.extend(known.into_iter().flat_map(|row| &row.grants).flat_map(|grant| grant.values.clone()));
        levels.push(outer);
        if let Some((grant, inner)) = outer.subcommand() {
            login.grant = Some(grant.into());
            levels.push(inner);
        }
    }
    // An option may stand before the profile, before the grant or after it; the nearer one wins.
    for level in levels {
        login.replace |= level.get_flag("replace");
        login.keep |= level.get_flag("keep");
        login.no_browser |= level.get_flag("no_browser");
        login.keep_as = level.get_one::<String>("as").cloned().or(login.keep_as);
        login.store = level.get_one::<String>("store").cloned().or(login.store);
        login.move_to = level.get_one::<String>("move_to").cloned().or(login.move_to);
        login.timeout = level.get_one::<i64>("timeout").copied().or(login.timeout);
        login.values.extend(values(level, &rows));
        login.client.read(level);
    }
    login
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn look(line: &str) -> FirstLook {
        first_look(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_first_look_finds_the_config_wherever_it_stands() {
        for line in [
            "tok --config /c get shop --client-id x",
            "tok get --config /c shop --client-id x",
            "tok get shop --client-id x --config /c",
            "tok get shop --client-id x --config=/c",
            "tok get shop --config /a --client-id x -v --config /c",
            "tok get --client-id x shop -vq --config /c -o",
        ] {
            assert_eq!(look(line).global.config.as_deref(), Some(Path::new("/c")), "{line}");
        }
        assert_eq!(look("tok get -- --config /c").global.config, None);
        assert_eq!(look("tok get shop --config").global.config, None);
    }

    #[test]
    fn a_first_look_leaves_the_other_words_as_they_stand() {
        assert_eq!(
            look("tok -v get --client-id x --config /c shop -o json").words.join(" "),
            "get --client-id x shop -o json"
        );
        assert_eq!(look("tok login --help").words, ["login", "--help"]);
        assert_eq!(look("tok help login shop").words, ["help", "login", "shop"]);
    }
}
