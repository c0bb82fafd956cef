//! `tok list`: profiles and their sessions, from the config, the index and the cache; no store is opened.

use super::Context;
use super::table::with_heading;
use crate::base::text::{escape, json};
use crate::cli::List;
use crate::profile::{Profile, Wishes};
use crate::storage::cache::Cache;
use crate::storage::index::{Index, IndexEntry};
use crate::token::Expires;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// One line of the list.
struct Row {
    profile: String,
    provider: String,
    grant: Option<String>,
    access: Option<Expires>,
    refresh_token: bool,
    refresh_expires_at: Option<i64>,
    store: String,
}

/// Prints the list.
///
/// # Errors
/// Only where it cannot be written: a profile that is broken is warned about.
pub fn run(context: &mut Context, args: &List) -> Result<()> {
    let mut names: BTreeSet<String> = context.setup.config.profiles.keys().cloned().collect();
    names.extend(Index::profiles(context.host.folders().ok()));
    let cached = context.host.folders().ok().and_then(|f| std::fs::read_dir(f.state.join("cache")).ok());
    names.extend(cached.into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()));
    names.retain(|name| crate::base::name::is_name(name));
    let mut rows = Vec::new();
    for name in names {
        let noted = Index::of(context.host.folders().ok(), &name).read().unwrap_or_default();
        let provider = (!context.setup.config.profiles.contains_key(&name) && !noted.provider.is_empty())
            .then(|| noted.provider.clone());
        let wishes = Wishes { provider, ..Wishes::default() };
        match Profile::resolve(context.host, &context.setup, &name, &wishes) {
            Ok(profile) => rows.push(row(context, &profile, &noted)),
            Err(error) => {
                context.host.terminal.warn(&format!("{error:#}"));
                let config = context.setup.config.profiles.get(&name);
                rows.push(Row {
                    provider: config.and_then(|c| c.provider.clone()).unwrap_or(noted.provider.clone()),
                    grant: config.and_then(|c| c.grant.clone()).or(noted.grant.clone()),
                    access: None,
                    refresh_token: noted.refresh_token,
                    refresh_expires_at: noted.refresh_expires_at,
                    store: noted.store.clone(),
                    profile: name,
                });
            }
        }
    }
    let used: BTreeSet<&str> = rows.iter().map(|row| row.provider.as_str()).collect();
    // Those in use have been warned about with their profiles.
    let unused = context.setup.library.own_names().iter().filter(|name| !used.contains(name.as_str()));
    let broken: Vec<anyhow::Error> =
        unused.filter_map(|name| context.setup.library.provider(context.host, name).err()).collect();
    broken.iter().for_each(|error| context.host.terminal.warn(&format!("{error:#}")));
    let now = context.host.clock.now().secs();
    let text = if args.json { to_json(&rows) } else { to_text(&rows, now, context.host.columns()) };
    if rows.is_empty() && !args.json {
        context.host.terminal.tell("no profiles or sessions yet; list the providers: tok providers");
    }
    context.print(&text)
}

fn row(context: &Context, profile: &Profile, noted: &IndexEntry) -> Row {
    let cache = context.host.folders().ok().map(|f| Cache::new(f.cache(&profile.name)));
    let token = profile.known().ok().zip(cache).and_then(|(known, cache)| cache.find(&known));
    Row {
        profile: profile.name.clone(),
        provider: profile.provider.name.clone(),
        grant: profile.config.grant.clone().or(noted.grant.clone()).or(Some(profile.default_grant().name.clone())),
        access: token.map(|(_, token)| token.expires),
        refresh_token: noted.refresh_token,
        refresh_expires_at: noted.refresh_expires_at,
        // What is kept is where it was put, whatever this call would choose.
        store: match noted.refresh_token || !noted.secrets.is_empty() {
            true => noted.store.clone(),
            false => profile.store.to_string(),
        },
    }
}

fn to_json(rows: &[Row]) -> String {
    let object = |row: &Row| {
        let access = row.access.and_then(Expires::at);
        json!({
            "profile": row.profile,
            "provider": row.provider,
            "grant": row.grant,
            "access_token": row.access.is_some(),
            "access_expires_at": access.map(crate::base::date::show),
            "access_expires_at_unix": access,
            "refresh_token": row.refresh_token,
            "refresh_expires_at": row.refresh_expires_at.map(crate::base::date::show),
            "refresh_expires_at_unix": row.refresh_expires_at,
            "store": row.store,
        })
    };
    json(&Value::Array(rows.iter().map(object).collect()))
}

fn to_text(rows: &[Row], now: i64, columns: Option<usize>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let left = |at: i64| if at <= now { "expired".to_string() } else { crate::base::duration::show(at - now) };
    let head = ["PROFILE", "PROVIDER", "GRANT", "ACCESS TOKEN", "REFRESH TOKEN", "STORE"];
    let cells = |row: &Row| {
        let access = match row.access {
            None => "-".to_string(),
            Some(Expires::At(at)) => left(at),
            Some(Expires::Never) => "never expires".into(),
            Some(Expires::Unknown) => "expiry unknown".into(),
        };
        let refresh = match (row.refresh_token, row.refresh_expires_at) {
            (false, _) => "-".to_string(),
            (true, None) => "yes".into(),
            (true, Some(at)) => left(at),
        };
        let grant = row.grant.as_deref().map_or("-".into(), escape);
        [row.profile.clone(), escape(&row.provider), grant, access, refresh, escape(&row.store)]
    };
    with_heading(head, rows.iter().map(cells).collect(), columns)
}
