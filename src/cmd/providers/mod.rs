//! `tok providers`: the known providers, one of them, or help for the author of one.

mod author;
mod new;
mod object;
mod page;
mod reading;

use super::Context;
use super::table::{grouped, with_heading};
use crate::base::error::{Error, Kind};
use crate::base::text::{escape, escape_to, json, line, lines, nearest};
use crate::cli::{Global, Providers, ProvidersCommand};
use crate::cmd::Missing;
use crate::host::Host;
use crate::profile::config::Config;
use crate::profile::{Library, Loaded, Setup, config_path, load_config, read_trusted};
use crate::provider::{About, Provider, built_in};
use anyhow::Result;
use serde_json::Value;
use std::rc::Rc;

/// Prints the providers, or what their author asks for.
///
/// # Errors
/// [`Kind::Config`] for one that is not known or whose file is broken.
pub fn run(host: &mut Host, global: &Global, setup: Option<Setup>, args: &Providers) -> Result<()> {
    if let Some(ProvidersCommand::New(args)) = &args.command {
        return new::run(host, args);
    }
    if let Some(file) = &args.check {
        return author::check(host, file);
    }
    if !args.try_grant.is_empty() {
        return author::try_grant(&mut Context::new(host, global, setup, Missing::Refused)?, &args.try_grant);
    }
    if !args.read.is_empty() {
        return reading::read(&mut Context::new(host, global, setup, Missing::Refused)?, &args.read);
    }
    let library = Library::new(host);
    // What is known of providers does not depend on the config; a broken one is reported where it is used.
    let path = config_path(host, global.config.as_deref());
    let config = path.and_then(|path| load_config(host, &path)).unwrap_or_default();
    let Some(name) = &args.name else {
        let all = all(host, &library, |_| true);
        return print_list(host, args, &config, &all);
    };
    if args.toml {
        let name = match searched(host, &library, name)?.as_slice() {
            [one] => one.provider.name.clone(),
            _ => name.clone(),
        };
        let text = file(host, &library, &name)?;
        return Ok(host.terminal.print(&text)?);
    }
    let found = searched(host, &library, name)?;
    match found.as_slice() {
        [] => Err(unknown(&library, name).into()),
        [one] => {
            let text = match args.json {
                true => json(&object::object(one, hidden_by(&config, one))),
                false => lines(&page::page(one, hidden_by(&config, one), host.columns())),
            };
            Ok(host.terminal.print(&text)?)
        }
        several => print_list(host, args, &config, several),
    }
}

/// The provider of the user's profile that has the name of this one, and stands before it.
fn hidden_by<'c>(config: &'c Config, found: &Loaded) -> Option<&'c str> {
    let name = &found.provider.name;
    config.profiles.get(name)?.provider.as_deref().filter(|provider| provider != name)
}

/// The provider `name`, else those with `name` in their name or title, or of that kind.
fn searched(host: &mut Host, library: &Library, name: &str) -> Result<Vec<Rc<Loaded>>> {
    if let Some(found) = library.provider(host, name)? {
        return Ok(vec![found]);
    }
    let wanted = name.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    // Of one that cannot be read, the title is not known.
    let mut all = all(host, library, has);
    all.retain(|found| {
        let provider = &found.provider;
        has(&provider.name) || has(&provider.title) || provider.about.kind == Some(wanted.as_str())
    });
    Ok(if wanted.trim().is_empty() { Vec::new() } else { all })
}

fn unknown(library: &Library, name: &str) -> Error {
    let names = library.names();
    let what = format!("unknown provider `{}`", escape_to(name, 80));
    let error = Error::new(Kind::Config, what, "no name or title has it");
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean {near}? List them: tok providers")),
        None => {
            let own = if crate::base::name::is_name(name) { name } else { "shop" };
            error.hint(format!(
                "to start a file of your own: tok providers new {own} --print --url https://id.example.com/token"
            ))
        }
    }
}

fn file(host: &Host, library: &Library, name: &str) -> Result<String> {
    let own = host.folders().ok().map(|f| f.provider(name));
    if crate::base::name::is_name(name)
        && let Some(text) = own.map(|path| read_trusted(host, &path)).transpose()?.flatten()
    {
        return Ok(text);
    }
    let found = built_in().find(|one| one.name == name).map(|one| one.text.to_string());
    Ok(found.ok_or_else(|| unknown(library, name))?)
}

/// All that can be read; of the others, a warning where their name is one that is `wanted`.
fn all(host: &mut Host, library: &Library, wanted: impl Fn(&str) -> bool) -> Vec<Rc<Loaded>> {
    let mut providers = Vec::new();
    for name in library.names() {
        match library.provider(host, &name) {
            Ok(Some(found)) => providers.push(found),
            Ok(None) => {}
            Err(error) if wanted(&name) => host.terminal.warn(&error.to_string()),
            Err(_) => {}
        }
    }
    providers
}

fn print_list(host: &mut Host, args: &Providers, config: &Config, providers: &[Rc<Loaded>]) -> Result<()> {
    let object = |found: &Rc<Loaded>| object::object(found, hidden_by(config, found));
    let text = match (args.json, host.columns()) {
        (true, _) => json(&Value::Array(providers.iter().map(object).collect())),
        (false, Some(columns)) => lines(&for_a_person(providers, columns)),
        (false, None) => lines(&row_by_row(providers)),
    };
    Ok(host.terminal.print(&text)?)
}

/// What those are called that say nothing of what they are for.
const OTHER: &str = "other";

/// The providers by what they are for, in the order of [`About::KINDS`].
fn by_kind(providers: &[Rc<Loaded>]) -> impl Iterator<Item = (&'static str, Vec<&Rc<Loaded>>)> {
    let kinds = About::KINDS.iter().map(|kind| (*kind, Some(*kind))).chain([(OTHER, None)]);
    let of = |kind| providers.iter().filter(|found| found.provider.about.kind == kind).collect::<Vec<_>>();
    kinds.map(move |(name, kind)| (name, of(kind))).filter(|(_, found)| !found.is_empty())
}

/// Names and titles below the kinds.
fn for_a_person(providers: &[Rc<Loaded>], columns: usize) -> String {
    let row = |found: &&Rc<Loaded>| {
        let title = escape(&found.provider.title);
        let title = if found.file.is_some() { format!("{title} ({})", from(found)) } else { title };
        [format!("  {}", found.provider.name), title]
    };
    let groups = by_kind(providers).map(|(kind, found)| (format!("{kind}:"), found.iter().map(row).collect()));
    grouped(groups.collect(), Some(columns))
}

/// Whatever reads this finds a provider in each line, its name first.
fn row_by_row(providers: &[Rc<Loaded>]) -> String {
    let rows = by_kind(providers).flat_map(|(kind, found)| found.into_iter().map(move |found| (kind, found)));
    let row = |(kind, found): (&str, &Rc<Loaded>)| {
        let provider = &found.provider;
        [provider.name.clone(), escape(&provider.title), kind.into(), grants(provider).join(", "), from(found)]
    };
    with_heading(["PROVIDER", "TITLE", "KIND", "GRANTS", "FROM"], rows.map(row).collect(), None)
}

fn grants(provider: &Provider) -> Vec<String> {
    provider.grants.iter().map(|g| g.name.clone()).collect()
}

fn from(found: &Loaded) -> String {
    match &found.file {
        None => "built in".into(),
        Some(path) if found.hides() => line(&format!("{} (hides the built-in one)", path.display())),
        Some(path) => line(&path.display().to_string()),
    }
}
