//! What profiles and providers add to the command line, and how it is read with that.

use crate::base::error::{Error, Kind};
use crate::base::name::is_name;
use crate::base::text::escape_to;
use crate::cli::{self, Catalog, Cli, FirstLook, GrantRow, Registers, Stop, TargetRow, ValueKind, ValueRow};
use crate::host::Host;
use crate::oauth::resource::check_address;
use crate::profile::config::Config;
use crate::profile::{self, Library, Profile, Setup, Wishes};
use crate::provider::{About, BY_ADDRESS, Discover, Grant, Provider, built_in};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};

/// Reads the command line of this run. The catalog is made only where it cannot be read without one: first of what is
/// named; then of what is common too, as what was mistyped may be the name, and help lists it.
///
/// # Errors
/// Help that was asked for, or what is wrong.
pub fn read(host: &mut Host) -> Result<(Cli, Option<Setup>)> {
    let args = host.words.clone();
    let columns = host.columns();
    let mut error = match cli::parse(&args, &Catalog::default(), columns) {
        Ok(cli) => return Ok((cli, None)),
        Err(error) => error,
    };
    let look = cli::first_look(&args);
    host.settle(&look.global);
    let has = |word: &str| look.words.iter().any(|typed| typed == word);
    let finders: &[fn(&Setup, &FirstLook, &Host) -> Catalog] = match (has("help"), has("login")) {
        (true, _) => &[of_common],
        (_, true) => &[of_named, of_common],
        _ if ["get", "header", "exec", "curl"].into_iter().any(has) => &[of_named_or_common],
        _ => &[],
    };
    let mut catalog = Catalog::default();
    let mut broken = None;
    if !finders.is_empty() {
        // A config that cannot be read is reported when it is used; help works regardless. Its path is empty then,
        // which no command takes for the config's.
        let setup = load(host, &look).unwrap_or_else(|error| {
            broken = Some(error);
            Setup::default()
        });
        for find in finders {
            catalog = find(&setup, &look, host);
            match cli::parse(&args, &catalog, columns) {
                Ok(cli) => return Ok((cli, Some(setup))),
                Err(again) => error = again,
            }
        }
        broken = broken.or_else(|| unreadable(host, &setup, look.words.get(1)?));
    }
    match cli::typed(&error).filter(|_| look.words.first().is_some_and(|verb| verb == "login")) {
        Some(typed) => Err(broken.unwrap_or_else(|| no_login(host, &look, &catalog, typed))),
        None => Err(match cli::stop(&error, &built(&catalog), &look.words) {
            // What cannot be read offers no option: that is what is wrong, not what was typed behind its name.
            Stop::Error(error) => broken.unwrap_or_else(|| error.into()),
            help => help.into(),
        }),
    }
}

/// What keeps the provider of `target`, a profile or itself one, from being read.
fn unreadable(host: &Host, setup: &Setup, target: &String) -> Option<anyhow::Error> {
    let profile = setup.config.profiles.get(target);
    let provider = profile.and_then(|own| own.provider.as_ref()).unwrap_or(target);
    setup.library.provider(host, provider).err()
}

/// The command with its arguments built, for inspection.
fn built(catalog: &Catalog) -> clap::Command {
    let mut command = cli::command(catalog, None);
    command.build();
    command
}

fn load(host: &Host, look: &FirstLook) -> Result<Setup> {
    let config_path = profile::config_path(host, look.global.config.as_deref())?;
    let config = profile::load_config(host, &config_path)?;
    Ok(Setup { config_path, config, library: Library::new(host) })
}

/// What the named profiles and providers add.
fn of_named(setup: &Setup, look: &FirstLook, host: &Host) -> Catalog {
    // A subcommand is there once, however often its name is said.
    let names: BTreeSet<&str> = look.words.iter().skip(1).map(String::as_str).filter(|word| is_name(word)).collect();
    let mut catalog = Catalog::default();
    names.into_iter().for_each(|name| add_named(&mut catalog, host, &setup.library, &setup.config, name));
    add_address(&mut catalog, setup, look, host);
    catalog
}

/// Whether a login's target is the address of an API.
pub fn is_address(target: &str) -> bool {
    target.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
        || target.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"))
}

/// The same; where none is named, what is common.
fn of_named_or_common(setup: &Setup, look: &FirstLook, host: &Host) -> Catalog {
    let catalog = of_named(setup, look, host);
    if catalog.targets.is_empty() { of_common(setup, look, host) } else { catalog }
}

/// What is named, the user's own profiles and provider files, the featured providers, and those for any server of a
/// standard. All of them would be pages of help; `tok providers` lists them.
fn of_common(setup: &Setup, look: &FirstLook, host: &Host) -> Catalog {
    let Setup { library, config, .. } = setup;
    let named = look.words.iter().skip(1).filter(|word| is_name(word)).map(String::as_str);
    let own = config.profiles.keys().chain(library.own_names()).map(String::as_str);
    let common = built_in().filter(|one| one.featured().is_some() || one.kind() == About::STANDARD).map(|one| one.name);
    let names: BTreeSet<&str> = named.chain(own).chain(common).collect();
    let mut catalog = Catalog::default();
    names.into_iter().for_each(|name| add_named(&mut catalog, host, library, config, name));
    add_address(&mut catalog, setup, look, host);
    catalog
}

/// What an API adds that is named by its address.
fn add_address(catalog: &mut Catalog, setup: &Setup, look: &FirstLook, host: &Host) {
    if let Some(address) = look.words.iter().find(|word| is_address(word))
        && let Ok(Some(loaded)) = setup.library.provider(host, BY_ADDRESS)
    {
        add(catalog, address, &loaded.provider.title, &loaded.provider);
    }
}

/// `tok login X` or `tok login PROFILE X` where there is no X: what is broken or unknown, in the words of `tok get`.
fn no_login(host: &Host, look: &FirstLook, catalog: &Catalog, typed: &str) -> anyhow::Error {
    let target = catalog.targets.iter().find(|row| look.words.contains(&row.name));
    // The address of an API without what it begins with.
    if target.is_none() && typed.contains('.') {
        let address = format!("https://{typed}");
        if let Ok(quoted) = shlex::try_quote(&address).map(|quoted| quoted.to_string())
            && check_address(&address).is_ok()
        {
            let what = format!("no profile or provider `{}`", escape_to(typed, 80));
            return Error::new(Kind::Config, what, "")
                .hint(format!("the address of an API? tok login {quoted}"))
                .into();
        }
    }
    let (name, grant) = match target {
        Some(row) => (row.name.clone(), Some(typed.to_string())),
        None => (typed.to_string(), None),
    };
    let wishes = Wishes { grant, ..Default::default() };
    let resolved = load(host, look).and_then(|setup| Profile::resolve(host, &setup, &name, &wishes));
    let unknown = || Error::new(Kind::Usage, format!("`{}` is not a grant of {name}", escape_to(typed, 40)), "");
    resolved.err().unwrap_or_else(|| unknown().hint(format!("list them: tok login {name} --help")).into())
}

/// All known providers and profiles; broken files add nothing. Of those that are not needed in full, it has name and
/// title alone.
pub fn catalog(host: &Host, library: &Library, config: &Config, needs: impl Fn(&str) -> bool) -> Catalog {
    let mut catalog = Catalog::default();
    let profiles = config.profiles.iter().map(|(name, own)| {
        let of = own.provider.as_deref().unwrap_or(name);
        (name.clone(), library.title(host, of).map(|title| about(name, of, &title)))
    });
    let providers = library.summaries(host).into_iter().map(|one| (one.name, Some(one.title)));
    // A profile hides the provider of its name.
    let all: BTreeMap<String, Option<String>> = providers.chain(profiles).collect();
    for (name, about) in all {
        match about {
            _ if needs(&name) => add_named(&mut catalog, host, library, config, &name),
            Some(about) => catalog.targets.push(TargetRow::named(name, about)),
            None => {}
        }
    }
    catalog
}

/// The title of `provider`, as that of the profile `name`.
fn about(name: &str, provider: &str, title: &str) -> String {
    if provider == name { title.to_string() } else { format!("{title} (a profile of {provider})") }
}

/// What the profile or provider `name` brings; nothing where there is none, or its file is broken.
fn add_named(catalog: &mut Catalog, host: &Host, library: &Library, config: &Config, name: &str) {
    let of = config.profiles.get(name).and_then(|p| p.provider.as_deref()).unwrap_or(name);
    let Ok(Some(loaded)) = library.provider(host, of) else { return };
    add(catalog, name, &about(name, of, &loaded.provider.title), &loaded.provider);
}

/// What one provider adds, under the name of a profile.
fn add(catalog: &mut Catalog, name: &str, about: &str, provider: &Provider) {
    for row in provider.params.iter().filter_map(|p| row_of(provider, &p.name)) {
        if row.name == "scope" || is_taken(&row.name) {
            continue;
        }
        match catalog.values.iter_mut().find(|known| known.name == row.name) {
            None => catalog.values.push(row),
            // The help of one provider is not shown for several.
            Some(known) => {
                if known.help != row.help {
                    known.help.clear();
                }
                if known.choices != row.choices {
                    known.choices.clear();
                }
                known.default = known.default.take().filter(|default| Some(default) == row.default.as_ref());
            }
        }
    }
    let grant = |g: &Grant| {
        let mut used = provider.uses(g);
        used.extend(provider.uses_besides());
        // In the order of the file, the refresh token last.
        let names = provider.params.iter().map(|p| p.name.as_str()).chain(["refresh_token"]);
        let rows = names.filter(|n| used.contains_key(*n) && !is_taken(n)).filter_map(|n| row_of(provider, n));
        GrantRow {
            name: g.name.clone(),
            short: provider.short_grant_name(g),
            help: g.help.clone(),
            values: rows.collect(),
        }
    };
    let grants = provider.grants.iter().map(grant).collect();
    let registers = match provider.discover {
        Discover::Resource => Registers::Always,
        _ if provider.param("issuer").is_some() && provider.param("client_id").is_some() => Registers::Asked,
        _ => Registers::Never,
    };
    catalog.targets.push(TargetRow { name: name.into(), about: about.into(), grants, registers });
}

fn row_of(provider: &Provider, name: &str) -> Option<ValueRow> {
    if name == "refresh_token" {
        return Some(ValueRow {
            name: name.into(),
            kind: ValueKind::Secret,
            help: "A refresh token from elsewhere".into(),
            choices: Vec::new(),
            default: None,
        });
    }
    provider.param(name).map(|p| ValueRow {
        name: p.name.clone(),
        kind: match (p.secret, p.list) {
            (true, _) => ValueKind::Secret,
            (false, true) => ValueKind::List,
            (false, false) => ValueKind::One,
        },
        help: p.help.clone(),
        choices: p.choices.clone(),
        default: p.default.as_ref().map(|default| default.to_string()),
    })
}

/// Names of options that are tok's own: a value of such a name has no flag, only its variable and the config.
fn is_taken(name: &str) -> bool {
    const OWN: &[&str] = &[
        "as",
        "keep",
        "replace",
        "move_to",
        "config",
        "store",
        "grant",
        "timeout",
        "fresh",
        "offline",
        "no_store",
        "ci",
        "mask",
        "output",
        "json",
        "name",
        "write",
        "watch",
        "shell",
        "id_token",
        "no_newline",
        "role_arn",
        "role_session_name",
        "env",
        "follow_anywhere",
        "verbose",
        "quiet",
        "no_input",
        "color",
        "help",
        "version",
        "profile",
        "method",
        "url",
        "nonce",
        "no_browser",
        "introspect",
        "userinfo",
        "check",
        "header",
        "register",
        "registration_token",
    ];
    OWN.contains(&name)
}
