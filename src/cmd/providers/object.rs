//! A provider as `tok providers --json` prints it: all that its file says and a program may want.

use super::grants;
use super::page::{counted, needs, redirect_uri};
use crate::profile::{Loaded, variable};
use crate::provider::template::Piece;
use crate::provider::{Call, Discover, Find, Grant, Limit, Param, Provider, RedirectUris, Template};
use serde_json::{Map, Value, json};

/// The object of one provider, which the user's profile of its name, of the provider `hidden_by`, may hide.
pub(super) fn object(found: &Loaded, hidden_by: Option<&str>) -> Value {
    let Loaded { provider, file } = found;
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
        "limits": provider.limits.iter().map(limit).collect::<Vec<_>>(),
        "built_in": file.is_none(),
        "hides_built_in": found.hides(),
        "hidden_by": hidden_by,
        "file": file.as_ref().map(|path| path.display().to_string()),
        "grants": grants(provider),
        "grant_details": provider.grants.iter().map(|grant| details(provider, grant)).collect::<Vec<_>>(),
        "values": provider.used_params().into_iter().map(|param| value(provider, param)).collect::<Vec<_>>(),
        "discover": match provider.discover {
            Discover::Nothing => None,
            Discover::Issuer => Some("issuer"),
            Discover::Resource => Some("resource"),
        },
        "refresh": provider.refresh.as_ref().map(|refresh| json!({
            "grant": refresh.grant,
            "fallback": refresh.fallback,
            "renews_itself": refresh.renews_itself,
        })),
        "revoke": url(provider, provider.revoke.as_ref()),
        "introspect": url(provider, provider.introspect.as_ref()),
        "userinfo": url(provider, provider.userinfo.as_ref()),
        "use": {
            "header": Some(&provider.usage.header).filter(|name| !name.is_empty()),
            "value": Some(provider.usage.value.to_string()).filter(|_| !provider.usage.header.is_empty()),
            "headers": texts(&provider.usage.headers),
            "query": texts(&provider.usage.query),
            "hosts": provider.usage.hosts.as_ref().map(|hosts| hosts.iter().map(Template::to_string).collect::<Vec<_>>()),
            "username": provider.usage.username,
        },
    })
}

/// A limit as it stands in the file, its time in seconds.
fn limit(limit: &Limit) -> Value {
    json!({ counted(limit): limit.count, "within": limit.within })
}

fn details(provider: &Provider, grant: &Grant) -> Value {
    json!({
        "name": grant.name,
        "help": grant.help,
        "warning": grant.warning,
        "flow": grant.flow.name(),
        "url": url(provider, Some(&grant.call)),
        "begin_url": url(provider, grant.begin.as_ref()),
        "needs": needs(provider, grant),
        "values": provider.uses(grant).into_keys().collect::<Vec<_>>(),
        "defaults": texts(&grant.defaults),
        "access_token": match &grant.response.access_token {
            Find::At(pointers) => json!(pointers),
            Find::Header(name) => json!({ "header": name }),
            Find::Cookie(name) => json!({ "cookie": name }),
        },
    })
}

fn value(provider: &Provider, param: &Param) -> Value {
    json!({
        "name": param.name,
        "secret": param.secret,
        "personal": param.personal,
        "identity": param.identity.is_some(),
        "list": param.list,
        "choices": param.choices,
        "sets": sets(param),
        "set_by": param.chosen_by,
        "default": param.default.as_ref().map(Template::to_string),
        "inherited": param.inherited,
        "help": param.help,
        "variable": variable(&provider.name, &param.name),
    })
}

/// What each choice of a value sets, if it does.
fn sets(param: &Param) -> Option<Value> {
    let choices = param.sets.iter().map(|(name, set)| (name.clone(), texts(set)));
    (!param.sets.is_empty()).then(|| Value::Object(choices.collect()))
}

fn texts(entries: &[(String, Template)]) -> Value {
    let texts = entries.iter().map(|(name, text)| (name.clone(), text.to_string().into()));
    Value::Object(texts.collect::<Map<_, _>>())
}

/// The URL of a request, with the values that have defaults in their places.
fn url(provider: &Provider, call: Option<&Call>) -> Option<String> {
    let mut provider = provider.clone();
    provider.choose(|_| None);
    Some(with_defaults(&provider, &call?.url, 0))
}

/// How many defaults deep is looked: one that leads back to itself has no end.
const DEEPEST: usize = 8;

/// The text with each default in the place of its value, and `{name}` where there is none.
fn with_defaults(provider: &Provider, text: &Template, depth: usize) -> String {
    let default = |piece: &Piece| match piece {
        Piece::Value { name, or: None, .. } if depth < DEEPEST => provider.param(name)?.default.as_ref(),
        _ => None,
    };
    let pieces = text.0.iter().map(|piece| match default(piece) {
        Some(default) => with_defaults(provider, default, depth + 1),
        None => Template(vec![piece.clone()]).to_string(),
    });
    pieces.collect()
}
