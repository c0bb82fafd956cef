//! What helps the author of a provider file: all its mistakes, the request it makes, how it reads a reply.

use crate::base::error::{Error, Kind};
use crate::base::name::is_name;
use crate::base::text::{escape, lines};
use crate::cmd::Context;
use crate::cmd::table::table;
use crate::host::Host;
use crate::oauth::reply::{self, Failure, Issued, Note, saved::saved, steps};
use crate::profile::{Profile, Wishes, read_trusted};
use crate::provider::{Provider, Template, Test};
use crate::session::preview::preview;
use crate::system::files;
use crate::token::Expires;
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;

/// A file that the user names, or stdin for `-`.
fn content(host: &Host, path: &Path) -> Result<Vec<u8>> {
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
            findings.push(Error::new(Kind::Config, &shown, why).into());
        }
        findings.extend(read_trusted(host, file).err());
    }
    let mut provider = None;
    match String::from_utf8(bytes) {
        Err(_) => findings.push(Error::new(Kind::Config, &shown, "it is not UTF-8 text").into()),
        Ok(text) => {
            let (read, wrong) = Provider::check(name, &shown, &text);
            findings.extend(wrong.into_iter().map(anyhow::Error::from));
            provider = Some(read);
        }
    }
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
        Some(own) if !is_own && is_name(name) => {
            format!("to use it, save it as {}", own.join(format!("{name}.toml")).display())
        }
        _ => format!("next: tok providers --try {name} {}", grants.first().copied().unwrap_or_default()),
    };
    let text = format!("{shown}: no mistakes found\ngrants: {}\n{next}\n", grants.join(", "));
    Ok(host.terminal.print(&lines(&text))?)
}

/// Whether both paths are one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let one = if one.as_os_str().is_empty() { Path::new(".") } else { one };
    matches!((std::fs::canonicalize(one), std::fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// The profile or provider `name`, with `grant` where one is named.
fn profile(context: &Context, name: &str, grant: Option<&String>) -> Result<Profile> {
    let wishes = Wishes { grant: grant.cloned(), ..Wishes::default() };
    Profile::resolve(context.host, &context.setup, name, &wishes)
}

/// `tok providers --try NAME [GRANT]`: the requests of a grant, with `{name}` for what is secret or not known.
///
/// # Errors
/// Where there is no such provider or grant, or a value cannot be used.
pub fn try_grant(context: &mut Context, words: &[String]) -> Result<()> {
    let name = words.first().map(String::as_str).unwrap_or_default();
    let profile = profile(context, name, words.get(1))?;
    let steps = preview(&profile, profile.default_grant())?;
    let many = steps.len() > 1;
    let text: Vec<String> = steps
        .into_iter()
        .map(|step| if many { format!("# {}\n{}\n", step.what, step.text) } else { format!("{}\n", step.text) })
        .collect();
    context.print(&lines(&text.join("\n")))
}

/// `tok providers --read NAME [GRANT] REPLY`: how a reply is read.
///
/// # Errors
/// Where there is no such provider, grant or file. What the reply says is shown, whatever it is.
pub fn read(context: &mut Context, words: &[String]) -> Result<()> {
    let text = reading(context, words)?;
    context.print(&lines(&text))
}

/// What [`read`] prints.
fn reading(context: &Context, words: &[String]) -> Result<String> {
    let (name, grant, file) = match words {
        [name, file] => (name, None, file),
        [name, grant, file] => (name, Some(grant), file),
        _ => return Err(Error::new(Kind::Usage, "--read needs NAME [GRANT] REPLY", "").into()),
    };
    let profile = profile(context, name, grant)?;
    let grant = profile.default_grant();
    let refresh = profile.provider.refresh.as_ref().filter(|refresh| refresh.grant == grant.name);
    let dead: &[Test] = refresh.map_or(&[], |refresh| &refresh.dead);
    let bytes = content(context.host, Path::new(file))?;
    let now = context.host.clock.now();
    let (response, has_status) = saved(&bytes, now);
    let assumed = if has_status { "" } else { " (the file has no status line)" };
    let mut rows = vec![["status".to_string(), String::new(), format!("{}{assumed}", response.status)]];
    for step in steps::steps(&grant.response, dead, &response) {
        rows.push([step.key, escape(&step.place), escape(&step.found)]);
    }
    let result = match reply::read(&grant.response, dead, &response) {
        Ok(issued) => {
            // Where there is a token, there is no error to look for.
            rows.retain(|[key, _, found]| !key.starts_with("error.") || found != "-");
            told(&profile, &issued, now.secs())
        }
        Err(failure) => refused(&failure),
    };
    Ok(format!("{}\n{result}", table(rows, context.host.columns())))
}

/// What a token's reply gives, in words.
fn told(profile: &Profile, issued: &Issued, now: i64) -> String {
    let usage = &profile.provider.usage;
    let expiry = match issued.expires {
        Expires::At(at) if at <= now => "has expired: used for one call, never cached".to_string(),
        Expires::At(at) => {
            format!("expires in {}, {}", crate::base::duration::show(at - now), crate::base::date::show(at))
        }
        Expires::Never => "never expires".into(),
        Expires::Unknown => "expiry unknown: printed, not cached; see `expires` and `lifetime`".into(),
    };
    let short = steps::shortened(issued.access_token.expose());
    let known = profile.known_values().unwrap_or_default();
    let told = |name: &str| match issued.extra.get(name) {
        Some(serde_json::Value::String(text)) => Some(escape(text)),
        other => other.map(|other| escape(&other.to_string())),
    };
    let plain = |name: &str| {
        let is_secret = profile.param(name).is_some_and(|param| param.secret);
        known.get(name).filter(|_| !is_secret).map(|value| escape(value))
    };
    // What is neither in the reply nor known stands by its name.
    let mut shown: BTreeMap<String, String> = usage
        .names()
        .into_keys()
        .map(|name| {
            let text = told(&name).or_else(|| plain(&name)).unwrap_or_else(|| format!("{{{name}}}"));
            (name, text)
        })
        .collect();
    shown.insert("access_token".into(), short);
    let shown = |template: &Template| template.fill(|name| shown.get(name).map(String::as_str)).unwrap_or_default();
    let mut text = format!("a token: {expiry}\n");
    let header = (!usage.header.is_empty()).then_some((&usage.header, &usage.value));
    for (name, template) in header.into_iter().chain(usage.headers.iter().map(|(name, text)| (name, text))) {
        text.push_str(&format!("header: {name}: {}\n", shown(template)));
    }
    for (name, template) in &usage.query {
        text.push_str(&format!("query: {name}={}\n", shown(template)));
    }
    for host in usage.hosts.iter().flatten() {
        text.push_str(&format!("API: {}\n", shown(host)));
    }
    if issued.refresh_token.is_some() && profile.provider.refresh.is_none() {
        text.push_str("its refresh token is not used: the file has no [refresh]\n");
    }
    for note in &issued.notes {
        let (Note::Warning(note) | Note::Detail(note)) = note;
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// Why a reply gives no token, in words.
fn refused(failure: &Failure) -> String {
    let what = match failure.kind {
        Kind::Refused => "refused",
        Kind::Unavailable => "unavailable for now",
        _ => "not understood",
    };
    let dead = if failure.dead { "; the refresh token counts as dead" } else { "" };
    format!("no token: {what}{dead}: {} (tok exits with status {})\n", failure.why, failure.kind as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::escape_to;
    use crate::cmd::Missing;
    use crate::host::testing::World;
    use crate::profile::golden;

    /// What stands in `--read` of an expiry that a golden file has as `now+3600`, `never` or `unknown`.
    fn expiry(text: &str) -> String {
        match text.strip_prefix("now").and_then(|rest| rest.parse::<i64>().ok()) {
            Some(seconds) if seconds > 0 => format!("a token: expires in {},", crate::base::duration::show(seconds)),
            Some(_) => "a token: has expired".into(),
            None if text == "never" => "a token: never expires".into(),
            None => "a token: expiry unknown".into(),
        }
    }

    #[test]
    fn every_golden_reply_is_read_as_it_is_taken() {
        let mut world = World::new();
        let global = crate::cli::Global::default();
        let context = Context::new(&mut world.host, &global, None, Missing::Refused).expect("a context");
        let mut wrong = Vec::new();
        let all = golden::all();
        assert!(all.len() > 600, "{}", all.len());
        for one in &all {
            let words = [one.provider.to_string(), one.grant.clone(), one.file.display().to_string()];
            let text = reading(&context, &words).unwrap_or_else(|error| panic!("{}: {error:#}", one.file.display()));
            let reply = std::fs::read_to_string(&one.file).expect("text");
            let status = reply.split(' ').nth(1).unwrap_or_default();
            let said = |key: &str| one.read[key].as_str().unwrap_or_default().to_string();
            let mut parts = vec![status.to_string()];
            if one.is_token {
                // It arrives now, not at its own date.
                let arrives_now =
                    !reply.lines().take_while(|line| !line.is_empty()).any(|line| line.starts_with("Date: "));
                parts.extend(arrives_now.then(|| expiry(&said("expires_at"))));
                let name = said("header").split(": ").next().unwrap_or_default().to_string();
                parts.extend((!name.is_empty()).then(|| format!("header: {name}: ")));
                let token = said("access_token");
                if token.len() > 12 && text.contains(&token) {
                    wrong.push(format!("{}: the whole token is shown", one.file.display()));
                }
            } else {
                parts.push(format!(
                    "no token: {}",
                    if one.read["dead"] == true { "refused; the refresh token counts as dead" } else { "" }
                ));
                parts.push(format!("(tok exits with status {})", one.read["exit_status"]));
                parts.push(escape_to(&said("why"), 60).trim_end_matches('…').to_string());
            }
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let shown = words(&text);
            for part in parts.iter().filter(|part| !shown.contains(&words(part))) {
                wrong.push(format!("{}: `{part}` is missing: {text}", one.file.display()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
