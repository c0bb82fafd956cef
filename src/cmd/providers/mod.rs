//! `tok providers`: the known providers, one of them, or help for the author of one.

mod author;
mod new;

use super::Context;
use super::table::{table, with_heading};
use crate::base::error::{Error, Kind};
use crate::base::text::{escape, escape_to, json, line, lines, nearest};
use crate::cli::{Global, Providers, ProvidersCommand};
use crate::cmd::Missing;
use crate::host::Host;
use crate::profile::{Library, Loaded, Setup, read_trusted, variable};
use crate::provider::{About, Counted, Limit, Param, Provider, RedirectUris, Template, built_in};
use anyhow::Result;
use serde_json::{Value, json};
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
        return author::read(&mut Context::new(host, global, setup, Missing::Refused)?, &args.read);
    }
    let library = Library::new(host);
    let Some(name) = &args.name else {
        let all = all(host, &library);
        return print_list(host, args, &all);
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
                true => json(&object(one)),
                false => lines(&one_provider(one, host.columns())),
            };
            Ok(host.terminal.print(&text)?)
        }
        several => print_list(host, args, several),
    }
}

/// The provider `name`, else those with `name` in their name or title.
fn searched(host: &mut Host, library: &Library, name: &str) -> Result<Vec<Rc<Loaded>>> {
    if let Some(found) = library.provider(host, name)? {
        return Ok(vec![found]);
    }
    let wanted = name.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    let mut all = all(host, library);
    all.retain(|found| has(&found.provider.name) || has(&found.provider.title));
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
    let found = built_in().find(|(n, _)| *n == name).map(|(_, text)| text.to_string());
    Ok(found.ok_or_else(|| unknown(library, name))?)
}

/// All that can be read; of the others, a warning.
fn all(host: &mut Host, library: &Library) -> Vec<Rc<Loaded>> {
    let mut providers = Vec::new();
    for name in library.names() {
        match library.provider(host, &name) {
            Ok(Some(found)) => providers.push(found),
            Ok(None) => {}
            Err(error) => host.terminal.warn(&error.to_string()),
        }
    }
    providers
}

fn print_list(host: &mut Host, args: &Providers, providers: &[Rc<Loaded>]) -> Result<()> {
    if args.json {
        let list: Vec<Value> = providers.iter().map(|found| object(found)).collect();
        return Ok(host.terminal.print(&json(&Value::Array(list)))?);
    }
    let mut rows = Vec::new();
    for found in providers {
        let provider = &found.provider;
        rows.push([provider.name.clone(), escape(&provider.title), grants(provider).join(", "), from(found)]);
    }
    let text = with_heading(["PROVIDER", "TITLE", "GRANTS", "FROM"], rows, host.columns());
    Ok(host.terminal.print(&lines(&text))?)
}

fn grants(provider: &Provider) -> Vec<String> {
    provider.grants.iter().map(|g| g.name.clone()).collect()
}

fn from(found: &Loaded) -> String {
    match &found.file {
        None => "built in".into(),
        Some(path) if built_in().any(|(name, _)| name == found.provider.name) => {
            line(&format!("{} (hides the built-in one)", path.display()))
        }
        Some(path) => line(&path.display().to_string()),
    }
}

fn object(found: &Loaded) -> Value {
    let Loaded { provider, file } = found;
    let values: Vec<Value> = provider
        .used_params()
        .into_iter()
        .map(|p| {
            json!({
                "name": p.name,
                "secret": p.secret,
                "personal": p.personal,
                "identity": p.identity.is_some(),
                "list": p.list,
                "choices": p.choices,
                "sets": sets(p),
                "help": p.help,
                "variable": variable(&provider.name, &p.name),
            })
        })
        .collect();
    let details: Vec<Value> = provider
        .grants
        .iter()
        .map(|g| json!({ "name": g.name, "help": g.help, "values": provider.uses(g).into_keys().collect::<Vec<_>>() }))
        .collect();
    json!({
        "name": provider.name,
        "title": provider.title,
        "docs": provider.docs,
        "kind": provider.about.kind,
        "verified": provider.about.verified,
        "verified_on": provider.about.verified_on,
        "register": provider.about.register,
        "redirect": provider.about.redirect.map(RedirectUris::name),
        "redirect_uri": redirect_uri(provider),
        "limits": provider.limits.iter().map(limit_object).collect::<Vec<_>>(),
        "built_in": file.is_none(),
        "file": file.as_ref().map(|p| p.display().to_string()),
        "grants": grants(provider),
        "grant_details": details,
        "values": values,
    })
}

/// The redirect URI that a client is registered with, where no other values are given.
fn redirect_uri(provider: &Provider) -> Option<String> {
    let default = |name: &str| provider.param(name)?.default.as_ref()?.literal().map(str::to_string);
    provider.redirect_uri(&default)
}

/// A limit as it stands in the file.
fn limit_object(limit: &Limit) -> Value {
    json!({ counted(limit): limit.count, "within": limit.within })
}

fn counted(limit: &Limit) -> &'static str {
    match limit.of {
        Counted::Requests => "requests",
        Counted::Refusals => "refusals",
    }
}

/// What each choice of a value sets, if it does.
fn sets(param: &Param) -> Option<Value> {
    let choice = |(name, set): &(String, Vec<(String, Template)>)| {
        let set = set.iter().map(|(name, text)| (name.clone(), text.to_string().into()));
        (name.clone(), Value::Object(set.collect()))
    };
    (!param.sets.is_empty()).then(|| Value::Object(param.sets.iter().map(choice).collect()))
}

/// What stands above the grants of a provider: lines of a name and a text.
fn about(found: &Loaded) -> Vec<(&'static str, String)> {
    let Loaded { provider, .. } = found;
    let About { verified, verified_on, register, redirect, .. } = &provider.about;
    let mut lines = Vec::new();
    lines.extend(provider.docs.as_ref().map(|docs| ("docs", escape(docs))));
    lines.push(("from", from(found)));
    let known = verified.and_then(|verified| match verified {
        "wire" => Some("requests or replies were seen"),
        "docs" => Some("its own documents say so"),
        "list" => Some("others' lists say so; please report what differs"),
        _ => None,
    });
    let on = verified_on.as_ref().map(|day| format!(", {}", escape(day))).unwrap_or_default();
    lines.extend(known.map(|known| ("verified", format!("{known}{on}"))));
    lines.extend(register.as_ref().map(|url| ("register", escape(url))));
    lines.extend(redirect.map(|takes| {
        let text = match (redirect_uri(provider), takes.is_exact()) {
            (Some(uri), true) => format!("{}, exactly as registered", escape(&uri)),
            (Some(uri), false) => format!("{}, with any port", escape(&uri)),
            (None, _) => "https only, none on this machine: --redirect-url; where the login ended is pasted".into(),
        };
        ("redirect", text)
    }));
    lines.extend(provider.limits.iter().map(|limit| {
        let within = crate::base::duration::show(limit.within);
        ("limit", format!("{} {} for a token in {within}", limit.count, counted(limit)))
    }));
    lines
}

fn one_provider(found: &Loaded, columns: Option<usize>) -> String {
    let provider = &found.provider;
    let mut text = format!("{}: {}\n", provider.name, escape(&provider.title));
    let rows = about(found).into_iter().map(|(what, value)| [format!("{what}:"), value]);
    text.push_str(&table(rows.collect(), columns));
    text.push_str("\ngrants, the first is the default:\n");
    let rows = provider.grants.iter().map(|g| {
        let takes: Vec<String> =
            provider.uses(g).into_iter().map(|(n, optional)| if optional { format!("[{n}]") } else { n }).collect();
        [format!("  tok login {} {}", provider.name, g.name), escape(&g.help), format!("takes {}", takes.join(", "))]
    });
    text.push_str(&table(rows.collect(), columns));
    text.push_str("\nvalues:\n");
    let rows = provider.used_params().into_iter().map(|p| {
        let dashed = p.name.replace('_', "-");
        let flag = if p.secret { format!("--{dashed}-file PATH") } else { format!("--{dashed} VALUE") };
        let sort = match (p.secret, p.personal, p.list) {
            (_, true, _) => "secret, personal",
            (true, ..) => "secret",
            (_, _, true) => "list",
            _ => "",
        };
        let default = match (&p.default, &p.chosen_by) {
            (_, Some(by)) => format!(" [set by {by}]"),
            (Some(default), None) => format!(" [default: {default}]"),
            (None, None) => String::new(),
        };
        let one_of = match p.sets.is_empty() {
            true => String::new(),
            false => format!(" [one of: {}]", p.choices.join(", ")),
        };
        let help = escape(&format!("{}{one_of}{default}", p.help));
        [format!("  {}", p.name), flag, variable(&provider.name, &p.name), sort.to_string(), help]
    });
    text.push_str(&table(rows.collect(), columns));
    text
}
