//! `tok providers`: the known providers, or one of them.

use super::table::{table, with_heading};
use crate::base::error::{Error, Kind};
use crate::base::text::{escape, json, line, lines, nearest};
use crate::cli::Providers;
use crate::host::Host;
use crate::profile::{Library, Loaded, read_trusted, variable};
use crate::provider::{Provider, built_in};
use anyhow::Result;
use serde_json::{Value, json};

/// Prints the providers.
///
/// # Errors
/// [`Kind::Config`] for one that is not known or whose file is broken.
pub fn run(host: &mut Host, args: &Providers) -> Result<()> {
    let library = Library::new(host);
    let Some(name) = &args.name else { return all(host, &library, args) };
    if args.toml {
        let text = file(host, &library, name)?;
        return Ok(host.terminal.print(&text)?);
    }
    let Some(found) = library.provider(host, name)? else { return Err(unknown(&library, name).into()) };
    let text = match args.json {
        true => json(&object(&found)),
        false => lines(&one(&found, host.columns())),
    };
    Ok(host.terminal.print(&text)?)
}

fn unknown(library: &Library, name: &str) -> Error {
    let names = library.names();
    let error = Error::new(
        Kind::Config,
        format!("unknown provider `{}`", crate::base::text::escape_to(name, 80)),
        format!("known: {}", names.join(", ")),
    );
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => {
            let first = names.first().map(String::as_str).unwrap_or_default();
            error.hint(format!("add your own provider file; to start from one: tok providers {first} --toml"))
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

fn all(host: &mut Host, library: &Library, args: &Providers) -> Result<()> {
    let mut providers = Vec::new();
    for name in library.names() {
        match library.provider(host, &name) {
            Ok(Some(found)) => providers.push(found),
            Ok(None) => {}
            Err(error) => host.terminal.warn(&error.to_string()),
        }
    }
    if args.json {
        let list: Vec<Value> = providers.iter().map(|found| object(found)).collect();
        return Ok(host.terminal.print(&json(&Value::Array(list)))?);
    }
    let mut rows = Vec::new();
    for found in &providers {
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
        "built_in": file.is_none(),
        "file": file.as_ref().map(|p| p.display().to_string()),
        "grants": grants(provider),
        "grant_details": details,
        "values": values,
    })
}

fn one(found: &Loaded, columns: Option<usize>) -> String {
    let provider = &found.provider;
    let mut text = format!("{}: {}\n", provider.name, escape(&provider.title));
    if let Some(docs) = &provider.docs {
        text.push_str(&format!("docs:  {}\n", escape(docs)));
    }
    text.push_str(&format!("from:  {}\n", from(found)));
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
        let default = p.default.as_ref().map(|d| format!(" [default: {d}]")).unwrap_or_default();
        let help = escape(&format!("{}{default}", p.help));
        [format!("  {}", p.name), flag, variable(&provider.name, &p.name), sort.to_string(), help]
    });
    text.push_str(&table(rows.collect(), columns));
    text
}
