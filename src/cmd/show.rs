//! `tok show`: one profile in full, without a secret and without opening a store.

use super::Context;
use crate::error::Result;
use crate::index::Index;
use crate::profile::{Profile, Source, Wishes};
use crate::provider::Provider;
use crate::store::cache::Cache;
use crate::text::escape;
use crate::token::Expires;
use serde_json::{Map, Value, json};

/// Prints what is known of the profile.
///
/// # Errors
/// [`crate::error::Kind::Config`] where it is not known or broken.
pub fn run(context: &mut Context, name: &str, as_json: bool) -> Result<()> {
    let noted = Index::of(context.host, name).read();
    let provider = noted
        .as_ref()
        .filter(|n| !context.config.profiles.contains_key(name) && !n.provider.is_empty())
        .map(|n| n.provider.clone());
    let wishes = Wishes { provider, ..Wishes::default() };
    let profile = Profile::resolve(context.host, &context.config, name, &wishes)?;
    let noted = noted.unwrap_or_default();
    let known = profile.known()?;
    let cache = Cache::new(context.host.folders()?.cache(name));
    let token = cache.find(&known).map(|(_, token)| token);
    let now = context.host.now().secs();
    let hides = profile.provider_file.is_some() && Provider::built_in(&profile.provider.name).is_some();

    let mut values = Map::new();
    let defaults = profile.known_values()?;
    for param in &profile.provider.params {
        let given = profile.given.get(&param.name);
        let source = match given {
            Some(given) => Some(given.source.clone()),
            None if noted.secrets.contains(&param.name) => Some(Source::Store),
            None if defaults.contains_key(&param.name) => Some(Source::Default),
            None => None,
        };
        let value = if param.secret { None } else { defaults.get(&param.name).map(|v| v.to_string()) };
        let mut entry = json!({ "secret": param.secret, "from": source.map(|s| s.to_string()) });
        if !param.secret {
            entry["value"] = json!(value);
        }
        values.insert(param.name.clone(), entry);
    }
    let access = token.as_ref().map(|token| {
        let at = token.expires.at();
        json!({
            "grant": token.grant,
            "token_type": token.token_type,
            "scope": token.scope,
            "received_at": crate::date::show(token.received.secs()),
            "expires_at": at.map(crate::date::show),
            "expires_in": at.map(|at| (at - now).max(0)),
            "never_expires": token.expires == Expires::Never,
            "header": token.header.0,
            "extra": token.extra,
            "claims_decoded_not_verified": crate::jwt::claims(token.access_token.expose()),
        })
    });
    let object = json!({
        "profile": profile.name,
        "provider": profile.provider.name,
        "title": profile.provider.title,
        "docs": profile.provider.docs,
        "provider_file": profile.provider_file.as_ref().map(|p| p.display().to_string()),
        "hides_built_in": hides,
        "grant": profile.default_grant().name,
        "token_url": known.url,
        "store": profile.store.to_string(),
        "cache": if profile.cache { "disk" } else { "off" },
        "values": values,
        "kept": {
            "refresh_token": noted.refresh_token,
            "refresh_expires_at": noted.refresh_expires_at.map(crate::date::show),
            "secrets": noted.secrets,
            "for": noted.origin,
        },
        "access_token": access,
    });
    let text = if as_json { format!("{object}\n") } else { to_text(&profile, &object) };
    context.print(&text)
}

fn to_text(profile: &Profile, object: &Value) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut line = |label: &str, value: String| lines.push((label.into(), value));
    line("profile", profile.name.clone());
    let provider = &profile.provider;
    let file = match (&profile.provider_file, object["hides_built_in"] == true) {
        (Some(path), true) => format!(", from {}, which hides the built-in one", path.display()),
        (Some(path), false) => format!(", from {}", path.display()),
        (None, _) => String::new(),
    };
    line("provider", format!("{} ({}){file}", provider.name, escape(&provider.title)));
    line("grant", plain(&object["grant"]));
    line("token URL", plain(&object["token_url"]));
    line("store", plain(&object["store"]));
    line("cache", plain(&object["cache"]));
    for (name, value) in object["values"].as_object().into_iter().flatten() {
        let from = match &value["from"] {
            Value::String(from) => format!("from {from}"),
            _ => format!("not set: {}", crate::profile::variable(&profile.name, name)),
        };
        let shown = match (&value["value"], value["secret"] == true) {
            (_, true) => format!("(secret) {from}"),
            (Value::String(text), false) => format!("{}  ({from})", escape(text)),
            _ => from,
        };
        line(name, shown);
    }
    let kept = &object["kept"];
    line(
        "refresh token",
        match (&kept["refresh_token"], &kept["refresh_expires_at"]) {
            (Value::Bool(true), Value::String(at)) => format!("kept, until about {at}"),
            (Value::Bool(true), _) => "kept".into(),
            _ => "none".into(),
        },
    );
    if let Value::String(home) = &kept["for"] {
        line("kept for", escape(home));
    }
    match &object["access_token"] {
        Value::Object(token) => {
            let end = match (&token["expires_at"], &token["never_expires"]) {
                (Value::String(at), _) => format!("until {at}"),
                (_, Value::Bool(true)) => "without end".into(),
                _ => "end unknown".into(),
            };
            line("access token", format!("received {}, {end}", plain(&token["received_at"])));
            for (label, key) in
                [("  by grant", "grant"), ("  type", "token_type"), ("  scope", "scope"), ("  header", "header")]
            {
                if !token[key].is_null() {
                    line(label, plain(&token[key]));
                }
            }
            for (name, value) in token["extra"].as_object().into_iter().flatten() {
                line(&format!("  {}", escape(name)), plain(value));
            }
            if let Value::Object(claims) = &token["claims_decoded_not_verified"] {
                line("  claims", "decoded, not verified".into());
                for (name, value) in claims {
                    line(&format!("    {}", escape(name)), plain(value));
                }
            }
        }
        _ => line("access token", "none".into()),
    }
    let width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0) + 2;
    lines.iter().map(|(label, value)| format!("{label:width$}{value}").trim_end().to_string() + "\n").collect()
}

/// A value for a person: a string without its quotes, remote text escaped.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text),
        Value::Null => "-".into(),
        other => escape(&other.to_string()),
    }
}
