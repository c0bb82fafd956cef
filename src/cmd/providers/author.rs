//! What helps the author of a provider file: all its mistakes, and the requests it makes.

use crate::base::error::{Error, Kind};
use crate::base::name::{is_name, name_like};
use crate::base::text::{escape_to, lines};
use crate::cmd::Context;
use crate::host::Host;
use crate::profile::{Profile, Wishes, read_trusted};
use crate::provider::Provider;
use crate::session::preview::{Preview, preview};
use crate::system::files;
use anyhow::Result;
use std::path::Path;

/// A file that the user names, or stdin for `-`.
pub(super) fn content(host: &Host, path: &Path) -> Result<Vec<u8>> {
    let error = |error: std::io::Error| {
        Error::new(Kind::Usage, format!("{} cannot be read", path.display()), files::why(&error))
    };
    Ok(host.read_file(path).map_err(error)?)
}

/// `tok providers --check FILE`: all that is wrong with it.
///
/// # Errors
/// [`Kind::Config`] where something is.
pub fn check(host: &mut Host, file: &Path) -> Result<()> {
    let shown = if file == Path::new("-") { "stdin".to_string() } else { file.display().to_string() };
    let bytes = content(host, file)?;
    let name = file.file_stem().and_then(|stem| stem.to_str()).filter(|_| shown != "stdin").unwrap_or("stdin");
    let mut findings: Vec<anyhow::Error> = Vec::new();
    let own = host.folders().ok().map(|folders| folders.providers());
    let is_own = own.as_ref().is_some_and(|own| file.parent().is_some_and(|folder| is_same(folder, own)));
    if is_own {
        if !is_name(name) || file.extension().is_none_or(|extension| extension != "toml") {
            let why = "not read: a provider file is NAME.toml, with lower-case letters, digits and `-`";
            let new = file.with_file_name(format!("{}.toml", name_like(name)));
            let quoted = |path: &Path| {
                let path = path.to_string_lossy();
                shlex::try_quote(&path).map_or(path.to_string(), |quoted| quoted.into_owned())
            };
            let hint = format!("rename it: mv {} {}", quoted(file), quoted(&new));
            findings.push(Error::new(Kind::Config, &shown, why).hint(hint).into());
        }
        findings.extend(read_trusted(host, file).err());
    }
    let mut provider = None;
    let mut advice = Vec::new();
    match String::from_utf8(bytes) {
        Err(_) => findings.push(Error::new(Kind::Config, &shown, "it is not UTF-8 text").into()),
        Ok(text) => {
            let (read, wrong) = Provider::check(name, &shown, &text);
            // Of a value that is not read as it was meant, what follows may be wrong.
            if wrong.is_empty() {
                advice = read.advice(&shown, &text);
            }
            findings.extend(wrong.into_iter().map(anyhow::Error::from));
            provider = Some(read);
        }
    }
    advice.iter().for_each(|one| host.terminal.warn(&one.to_string()));
    let last = findings.pop();
    for finding in &findings {
        host.terminal.report(&format!("{finding:#}"), crate::base::error::hint(finding));
    }
    if let Some(last) = last {
        return Err(last);
    }
    let Some(provider) = provider else { return Ok(()) };
    let grants: Vec<&str> = provider.grants.iter().map(|grant| grant.name.as_str()).collect();
    let next = match own {
        Some(_) if is_own => {
            format!("next: tok providers --try {name} {}", grants.first().copied().unwrap_or_default())
        }
        own => {
            let name = if file == Path::new("-") { "NAME".to_string() } else { name_like(name) };
            let folder = own.unwrap_or_else(|| Path::new("providers").into());
            format!("to use it, save it as {}", folder.join(format!("{name}.toml")).display())
        }
    };
    let advised = match advice.len() {
        0 => String::new(),
        1 => " (1 warning)".to_string(),
        count => format!(" ({count} warnings)"),
    };
    let text = format!("{shown}: no mistakes found{advised}\ngrants: {}\n{next}\n", grants.join(", "));
    Ok(host.terminal.print(&lines(&text))?)
}

/// Whether both paths are one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let one = if one.as_os_str().is_empty() { Path::new(".") } else { one };
    matches!((std::fs::canonicalize(one), std::fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// The profile or provider `name`, and the name of the request `word` of it: without one, its default grant.
///
/// # Errors
/// Where there is none of that name.
pub(super) fn requested(context: &Context, name: &str, word: Option<&String>) -> Result<(Profile, String)> {
    let resolve = |grant: Option<String>| {
        let wishes = Wishes { grant, ..Wishes::default() };
        Profile::resolve(context.host, &context.setup, name, &wishes)
    };
    let Some(word) = word else {
        let profile = resolve(None)?;
        let grant = profile.default_grant().name.clone();
        return Ok((profile, grant));
    };
    let profile = resolve(None)?;
    match profile.provider.request(word) {
        Some((request, named)) => match named.grant() {
            Some(grant) => Ok((resolve(Some(grant.name.clone()))?, request)),
            None => Ok((profile, request)),
        },
        // The error of every command for it.
        None if !word.contains('.') && !["revoke", "introspect", "userinfo"].contains(&word.as_str()) => {
            resolve(Some(word.clone())).map(|profile| (profile, word.clone()))
        }
        None => {
            let all: Vec<String> = profile.provider.requests().into_iter().map(|(name, _)| name).collect();
            let what = format!("{name} has no request `{}`", escape_to(word, 80));
            Err(Error::new(Kind::Usage, what, format!("expected one of: {}", all.join(", "))).into())
        }
    }
}

/// `tok providers --try NAME [GRANT]`: the requests of a grant, or one of them, with `{name}` for what is secret or not
/// known.
///
/// # Errors
/// Where there is no such provider or request, or a value cannot be used.
pub fn try_grant(context: &mut Context, words: &[String]) -> Result<()> {
    let name = words.first().map(String::as_str).unwrap_or_default();
    let (profile, request) = requested(context, name, words.get(1))?;
    let named = profile.provider.request(&request);
    let requests = named.map_or(Ok(Vec::new()), |(name, named)| preview(&profile, &name, named))?;
    let many = requests.len() > 1;
    let heading = |one: &Preview| match one.name.is_empty() {
        true => format!("# {}", one.what),
        false => format!("# {}: {}", one.name, one.what),
    };
    let text: Vec<String> = requests
        .into_iter()
        .map(|one| if many { format!("{}\n{}\n", heading(&one), one.text) } else { format!("{}\n", one.text) })
        .collect();
    context.print(&lines(&text.join("\n")))
}
