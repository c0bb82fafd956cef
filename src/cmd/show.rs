//! `tok show`: one profile in full, without a secret and without opening a store.

use super::Context;
use super::table::table;
use super::token::Got;
use crate::base::error::InProfile;
use crate::base::text::{escape, json, lines};
use crate::cli::{Show, TokenArgs};
use crate::profile::{Profile, Source, Wishes};
use crate::provider::Provider;
use crate::session::api;
use crate::session::open_store::OpenStore;
use crate::session::question::{self, About, Question};
use crate::storage::cache::Cache;
use crate::storage::index::Index;
use crate::token::Expires;
use anyhow::Result;
use serde_json::{Map, Value, json};

/// Prints what is known of the profile; or, where that is asked for, what the provider says of its token.
///
/// # Errors
/// [`crate::base::error::Kind::Config`] where it is not known or broken; where the provider is asked, each kind of the contract.
pub fn run(context: &mut Context, args: &Show) -> Result<()> {
    if args.check {
        return check(context, args);
    }
    if args.introspect || args.userinfo {
        return ask(context, args);
    }
    let (name, as_json) = (args.profile.as_str(), args.json);
    let noted = Index::of(context.host.folders().ok(), name).read();
    let provider = noted
        .as_ref()
        .filter(|n| !context.setup.config.profiles.contains_key(name) && !n.provider.is_empty())
        .map(|n| n.provider.clone());
    let wishes = Wishes { provider, ..Wishes::default() };
    let profile = Profile::resolve(context.host, &context.setup, name, &wishes)?;
    let noted = noted.unwrap_or_default();
    let known = profile.known()?;
    let cache = Cache::new(context.host.folders()?.cache(name));
    let token = cache.find(&known).map(|(_, token)| token);
    let now = context.host.clock.now().secs();
    let hides = profile.provider_file.is_some() && Provider::built_in(&profile.provider.name).is_some();

    let mut values = Map::new();
    let defaults = profile.known_values()?;
    let issuer = defaults.get("issuer").map(|issuer| issuer.to_string());
    for param in profile.provider.used_params() {
        let given = profile.given.get(&param.name);
        let source = match given {
            Some(given) => Some(given.source.clone()),
            None if noted.secrets.contains(&param.name) => Some(Source::Store),
            None if defaults.contains_key(&param.name) => Some(Source::Default),
            None => issuer.clone().filter(|_| param.metadata.is_some()).map(Source::Metadata),
        };
        let value = if param.secret { None } else { defaults.get(&param.name).map(|v| v.to_string()) };
        let mut entry = json!({ "secret": param.secret, "from": source.map(|s| s.to_string()) });
        if !param.secret {
            entry["value"] = json!(value);
            if profile.is_off(&param.name) {
                entry["off"] = json!(true);
            }
        }
        values.insert(param.name.clone(), entry);
    }
    let access = token.as_ref().map(|token| {
        let at = token.expires.at();
        json!({
            "grant": token.grant,
            "token_type": token.token_type,
            "scope": token.scope,
            "received_at": crate::base::date::show(token.received.secs()),
            "expires_at": at.map(crate::base::date::show),
            "expires_in": at.map(|at| (at - now).max(0)),
            "never_expires": token.expires == Expires::Never,
            "header": token.header.0,
            "headers": token.headers().map(|(name, _)| name).collect::<Vec<_>>(),
            "query": token.query.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "hosts": token.hosts,
            "extra": token.extra,
            "claims_decoded_not_verified": crate::base::jose::jwt::claims(token.access_token.expose()),
        })
    });
    let registered = noted.registered.as_ref();
    let registered = registered.filter(|client| profile.value("client_id").as_ref() == Some(&client.client_id));
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
        "registered_client": registered.map(|client| json!({
            "client_id": client.client_id,
            "issuer": client.issuer,
            "registered_at": crate::base::date::show(client.at),
        })),
        "kept": {
            "refresh_token": noted.refresh_token,
            "refresh_expires_at": noted.refresh_expires_at.map(crate::base::date::show),
            "secrets": noted.secrets,
            "for": noted.origin,
        },
        "access_token": access,
    });
    let text = if as_json { json(&object) } else { lines(&to_text(context, &profile, &object)) };
    context.print(&text)
}

/// Asks the API of the profile whether it takes the token that `get` would print.
fn check(context: &mut Context, args: &Show) -> Result<()> {
    let token = TokenArgs { profile: args.profile.clone(), ..TokenArgs::default() };
    let got = super::token::token(context, &token)?;
    let status = api::check(context.host, &got.profile, &got.answer.token).in_profile(&args.profile)?;
    let address = got.profile.value("resource").unwrap_or_default();
    let object = json!({ "profile": args.profile, "api": address, "status": status, "refused": false });
    let text = match args.json {
        true => json(&object),
        false => lines(&format!("{} did not refuse the token (status {status})\n", escape(&address))),
    };
    context.print(&text)
}

/// Asks the provider about the token that `get` would print.
fn ask(context: &mut Context, args: &Show) -> Result<()> {
    let token = TokenArgs { profile: args.profile.clone(), ..TokenArgs::default() };
    let mut got = super::token::token(context, &token)?;
    let mut all = Map::new();
    for (wanted, question) in [(args.introspect, Question::Introspection), (args.userinfo, Question::Userinfo)] {
        if wanted {
            all.insert(
                question.name().into(),
                Value::Object(ask_one(context, &mut got, question).in_profile(&args.profile)?),
            );
        }
    }
    let object = match all.len() {
        1 => all.into_iter().next().map(|(_, one)| one).unwrap_or_default(),
        _ => Value::Object(all),
    };
    let text = match args.json {
        true => json(&object),
        false => lines(&rows(&object)),
    };
    context.print(&text)
}

fn ask_one(context: &mut Context, got: &mut Got, question: Question) -> Result<Map<String, Value>> {
    // The client proves itself to introspect; whom the token is for, the token itself may ask, as at any API.
    let opened = match question {
        Question::Introspection => OpenStore::open(context.host, &got.profile),
        Question::Userinfo => OpenStore::nothing(),
    };
    let about = About::Access(&got.answer.token);
    question::ask(context.host, &mut got.profile, &opened.credentials, question, &about)
}

fn rows(object: &Value) -> String {
    let entries = object.as_object().into_iter().flatten();
    entries.map(|(name, value)| format!("{}  {}\n", escape(name), plain(value))).collect()
}

fn to_text(context: &Context, profile: &Profile, object: &Value) -> String {
    let local = |at: &str| crate::base::date::parse(at).map_or(escape(at), |at| context.host.clock.local(at));
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut line = |label: &str, value: String| lines.push((label.into(), crate::base::text::line(&value)));
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
    let grants = [Some(profile.default_grant()), provider.refresh_grant()];
    let used: Vec<_> = grants.into_iter().flatten().map(|grant| provider.uses(grant)).collect();
    let mut others = Vec::new();
    for (name, value) in object["values"].as_object().into_iter().flatten() {
        // A default that these grants do not use says nothing of the profile.
        if value["from"] == json!(Source::Default.to_string()) && !used.iter().any(|uses| uses.contains_key(name)) {
            continue;
        }
        // What could be said besides is in `tok providers`.
        if value["from"].is_null() && !used.iter().any(|uses| uses.get(name) == Some(&false)) {
            others.push(name.as_str());
            continue;
        }
        let from = match &value["from"] {
            Value::String(from) => format!("from {from}"),
            _ => format!("not set: {}", crate::profile::variable(&profile.name, name)),
        };
        let shown = match (&value["value"], value["secret"] == true) {
            (_, true) => format!("(secret) {from}"),
            (Value::String(text), false) => format!("{}  ({from})", escape(text)),
            _ if value["off"] == true => format!("switched off  ({from})"),
            _ if value["from"].is_string() => format!("({from})"),
            _ => from,
        };
        line(name, shown);
    }
    if !others.is_empty() {
        line("not set", others.join(", "));
    }
    if let Value::Object(client) = &object["registered_client"] {
        let (issuer, at) = (plain(&client["issuer"]), plain(&client["registered_at"]));
        line("client", format!("registered by tok at {issuer} on {at}"));
    }
    let kept = &object["kept"];
    line(
        "refresh token",
        match (&kept["refresh_token"], &kept["refresh_expires_at"]) {
            (Value::Bool(true), Value::String(at)) => format!("stored, expires about {}", local(at)),
            (Value::Bool(true), _) => "stored".into(),
            _ => "none".into(),
        },
    );
    if let Value::String(home) = &kept["for"] {
        line("session for", escape(home));
    }
    match &object["access_token"] {
        Value::Object(token) => {
            let end = match (&token["expires_at"], &token["never_expires"]) {
                (Value::String(at), _) => format!("expires {}", local(at)),
                (_, Value::Bool(true)) => "never expires".into(),
                _ => "expiry unknown".into(),
            };
            line(
                "access token",
                format!("received {}; {end}", local(token["received_at"].as_str().unwrap_or_default())),
            );
            for (label, key) in
                [("  by grant", "grant"), ("  type", "token_type"), ("  scope", "scope"), ("  header", "header")]
            {
                if !token[key].is_null() && token[key] != "" {
                    line(label, plain(&token[key]));
                }
            }
            for (label, key, first) in [("  header", "headers", 1), ("  query", "query", 0), ("  API", "hosts", 0)] {
                let all = token[key].as_array().into_iter().flatten();
                let skipped = if token["header"] == "" { 0 } else { first };
                all.skip(skipped).for_each(|one| line(label, plain(one)));
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
    table(lines.into_iter().map(|(label, value)| [label, value]).collect(), context.host.columns())
}

/// A value for a person: a string without its quotes, remote text escaped.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text),
        Value::Null => "-".into(),
        other => escape(&other.to_string()),
    }
}
