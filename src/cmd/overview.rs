//! Profiles with their state, as `list` and `status` show them.

use super::Context;
use super::table::with_heading;
use crate::base::date;
use crate::base::error::{InProfile, Kind, Silent};
use crate::base::text::{escape, json};
use crate::profile::{Profile, Wishes};
use crate::session::online::{self, Seen};
use crate::session::status::{self, Readiness, Status};
use crate::storage::cache::Cache;
use crate::storage::index::{Index, IndexEntry};
use crate::token::Expires;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What is said where nothing is configured or kept.
pub const EMPTY: &str = "no profiles or sessions yet; log in: tok login (list the providers: tok providers)";

/// One profile.
pub struct Row {
    /// Its name.
    pub profile: String,
    /// Its provider.
    pub provider: String,
    /// Its state.
    pub status: Status,
    /// Whether it takes a provider that could not be reached.
    pub away: bool,
}

/// What is configured or kept here: of the config, the index and the cache.
pub fn names(context: &Context) -> BTreeSet<String> {
    let folders = context.host.folders().ok();
    let mut names: BTreeSet<String> = context.setup.config.profiles.keys().cloned().collect();
    names.extend(Index::profiles(folders));
    names.extend(folders.and_then(|folders| Cache::profiles(&folders.state).ok()).into_iter().flatten());
    names.retain(|name| crate::base::name::is_name(name));
    names
}

/// Where the state of a profile is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// In the config, the index and the cache.
    Noted,
    /// In its store and at its provider too.
    Online,
}

/// The state of the profile `name`.
///
/// # Errors
/// Where it is not known or broken.
pub fn row(context: &mut Context, name: &str, look: Look) -> Result<Row> {
    let mut noted = Index::of(context.host.folders().ok(), name).read();
    let provider = noted.as_ref().map(|noted| noted.provider.clone());
    let provider = provider.filter(|p| !context.setup.config.profiles.contains_key(name) && !p.is_empty());
    let wishes = Wishes { provider, ..Wishes::default() };
    let mut profile = Profile::resolve(context.host, &context.setup, name, &wishes)?;
    let is_elsewhere = noted.as_ref().is_some_and(|n| !n.store.is_empty() && n.store != profile.store.to_string());
    let mut seen = Seen::default();
    if look == Look::Online {
        match online::look(context.host, &mut profile, is_elsewhere) {
            Ok(found) => {
                noted = found.noted.clone();
                seen = found;
            }
            Err(error) => context.host.terminal.warn(&format!("{name}: {error:#}")),
        }
    }
    let mut status = status::of(context.host, &profile, noted.as_ref());
    let away = seen.away.is_some() && status.readiness == Readiness::Renews;
    if let Some(said) = seen.against.or(seen.away) {
        let reason = status.reason.take().map(|reason| format!("{reason}; ")).unwrap_or_default();
        status.reason = Some(format!("{reason}{said}"));
    }
    Ok(Row { profile: name.into(), provider: profile.provider.name.clone(), status, away })
}

/// [`row`] of each of `names`; one that is broken is warned about, and is shown as far as the config and the index know
/// it.
pub fn rows(context: &mut Context, names: BTreeSet<String>, look: Look) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in names {
        match row(context, &name, look).in_profile(&name) {
            Ok(row) => rows.push(row),
            Err(error) => {
                context.host.terminal.warn(&format!("{error:#}"));
                let noted = Index::of(context.host.folders().ok(), &name).read().unwrap_or_default();
                rows.push(broken(context, name, noted, format!("{error:#}")));
            }
        }
    }
    rows
}

fn broken(context: &Context, name: String, noted: IndexEntry, why: String) -> Row {
    let config = context.setup.config.profiles.get(&name);
    let status = Status {
        readiness: Readiness::Unknown,
        renewable: false,
        reason: Some(why),
        as_of: None,
        account: noted.account,
        grant: config.and_then(|c| c.grant.clone()).or(noted.grant),
        access: None,
        refresh_token: noted.refresh_token,
        refresh_expires_at: noted.refresh_expires_at,
        store: noted.store,
        login: format!("tok login {name}"),
    };
    Row {
        provider: config.and_then(|c| c.provider.clone()).unwrap_or(noted.provider),
        profile: name,
        status,
        away: false,
    }
}

/// The names of the providers that are used.
pub fn providers(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().map(|row| row.provider.as_str()).collect()
}

/// Whether all can supply a token: else an end with the status of the contract.
///
/// # Errors
/// [`Silent`]: [`Kind::LoginNeeded`] where one needs a person, else [`Kind::Store`] where a store cannot be read, else
/// [`Kind::Unavailable`] where a provider that it takes could not be reached.
pub fn answered(rows: &[Row]) -> Result<()> {
    let has = |wanted: &[Readiness]| rows.iter().any(|row| wanted.contains(&row.status.readiness));
    match () {
        () if has(&[Readiness::LoginNeeded, Readiness::Unknown]) => Err(Silent(Kind::LoginNeeded as u8).into()),
        () if has(&[Readiness::StoreLocked]) => Err(Silent(Kind::Store as u8).into()),
        () if rows.iter().any(|row| row.away) => Err(Silent(Kind::Unavailable as u8).into()),
        () => Ok(()),
    }
}

/// As JSON, in UTC.
pub fn to_json(rows: &[Row]) -> String {
    let object = |row: &Row| {
        let Status { readiness, reason, as_of, account, grant, access, .. } = &row.status;
        let access_at = access.and_then(Expires::at);
        json!({
            "profile": row.profile,
            "provider": row.provider,
            "grant": grant,
            "account": account,
            "status": readiness.name(),
            "reason": reason,
            "as_of": as_of.map(date::show),
            "access_token": access.is_some(),
            "access_expires_at": access_at.map(date::show),
            "access_expires_at_unix": access_at,
            "refresh_token": row.status.refresh_token,
            "refresh_expires_at": row.status.refresh_expires_at.map(date::show),
            "refresh_expires_at_unix": row.status.refresh_expires_at,
            "store": row.status.store,
        })
    };
    json(&Value::Array(rows.iter().map(object).collect()))
}

/// What is there, a line for each.
pub fn to_list(context: &Context, rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let Status { account, store, .. } = &row.status;
        let account = account.clone().unwrap_or("-".into());
        [row.profile.clone(), escape(&row.provider), account, row.status.words().into(), escape(store)]
    };
    let head = ["PROFILE", "PROVIDER", "ACCOUNT", "STATUS", "STORE"];
    if rows.is_empty() {
        String::new()
    } else {
        with_heading(head, rows.iter().map(cells).collect(), context.host.columns())
    }
}

/// The state of each, with why and since when.
pub fn to_status(context: &Context, rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let Status { account, store, .. } = &row.status;
        let account = account.clone().unwrap_or("-".into());
        [row.profile.clone(), account, row.status.words().into(), escape(store), details(context, row)]
    };
    let head = ["PROFILE", "ACCOUNT", "STATUS", "STORE", "DETAILS"];
    if rows.is_empty() {
        String::new()
    } else {
        with_heading(head, rows.iter().map(cells).collect(), context.host.columns())
    }
}

fn details(context: &Context, row: &Row) -> String {
    let Status { readiness, reason, as_of, access, refresh_expires_at, .. } = &row.status;
    let clock = &context.host.clock;
    let now = clock.now().secs();
    let mut parts = Vec::new();
    match access {
        Some(Expires::At(at)) if *at > now => parts.push(format!("token expires {}", clock.local(*at))),
        Some(Expires::At(_)) => parts.push("token expired".into()),
        Some(Expires::Never) => parts.push("token never expires".into()),
        Some(Expires::Unknown) => parts.push("token expiry unknown".into()),
        None => {}
    }
    match refresh_expires_at {
        Some(at) if *at > now => parts.push(format!("session ends {}", clock.local(*at))),
        Some(at) => parts.push(format!("session should have ended {}", clock.local(*at))),
        None => {}
    }
    parts.extend(reason.iter().map(|reason| escape(reason)));
    parts.extend(as_of.map(|at| format!("checked {}", clock.local(at))));
    if matches!(readiness, Readiness::LoginNeeded | Readiness::Unknown) {
        parts.push(format!("run: {}", row.status.login));
    } else if *readiness == Readiness::Ready && !row.status.renewable {
        parts.push(format!("then run: {}", row.status.login));
    }
    parts.join("; ")
}
