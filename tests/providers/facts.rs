//! What must hold of all built-in providers together, whatever their golden files show.

use super::{Complaints, files, providers, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tok::testing::base::date;
use tok::testing::provider::{Call, Grant, Provider, Template, built_in};

fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("src/providers/{name}.toml"))
}

/// Every string of a file, with the path of keys that leads to it.
fn strings(text: &str) -> Vec<(String, String)> {
    fn walk(at: &str, item: &toml_edit::Value, all: &mut Vec<(String, String)>) {
        match item {
            toml_edit::Value::String(text) => all.push((at.to_string(), text.value().clone())),
            toml_edit::Value::Array(list) => list.iter().for_each(|item| walk(at, item, all)),
            toml_edit::Value::InlineTable(table) => {
                table.iter().for_each(|(key, item)| walk(&format!("{at}.{key}"), item, all));
            }
            _ => {}
        }
    }
    fn tables(at: &str, table: &dyn toml_edit::TableLike, all: &mut Vec<(String, String)>) {
        for (key, item) in table.iter() {
            let at = if at.is_empty() { key.to_string() } else { format!("{at}.{key}") };
            match (item.as_value(), item.as_table_like()) {
                (Some(value), _) => walk(&at, value, all),
                (None, Some(table)) => tables(&at, table, all),
                _ => {}
            }
        }
    }
    let document: toml_edit::DocumentMut = text.parse().unwrap();
    let mut all = Vec::new();
    tables("", document.as_table(), &mut all);
    all
}

/// The names of XML and of grant types are no addresses, whatever they begin with.
fn is_name(at: &str, text: &str) -> bool {
    (at.ends_with(".body") && text.starts_with('<')) || at.ends_with(".grant_type")
}

#[test]
fn every_url_is_https_and_the_facts_have_their_form() {
    let mut complaints = Complaints::default();
    for (one, provider) in built_in().zip(providers()) {
        let file = file(one.name);
        for (at, text) in strings(one.text) {
            let is_loopback = ["http://127.0.0.1", "http://localhost"].iter().any(|start| text.starts_with(start));
            if text.contains("http://")
                && !is_loopback
                && !is_name(&at, &text)
                && at != "help"
                && !at.ends_with(".help")
            {
                complaints.add(&file, format!("{at} is not https: {text}"));
            }
        }
        let about = &provider.about;
        for (key, url) in [("docs", &provider.docs), ("register", &about.register)] {
            let is_url = url
                .as_deref()
                .is_none_or(|url| tok::testing::base::url::Url::parse(url).is_ok() && url.starts_with("https://"));
            if !is_url {
                complaints.add(&file, format!("{key} is not the https URL of a page"));
            }
        }
        if provider.docs.is_none() {
            complaints.add(&file, "docs is missing: the page that says so");
        }
        if about.verified.is_none() || about.kind.is_none() {
            complaints.add(&file, "verified or kind is missing");
        }
        // A day that has been, and not one before there was a file.
        let day = about.verified_on.as_deref().unwrap_or_default();
        let at = date::parse(&format!("{day}T00:00:00Z")).unwrap_or_default();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let first = date::parse("2026-11-01T00:00:00Z").unwrap();
        if day.len() != 10 || at < first || at > i64::try_from(now).unwrap().max(first) {
            complaints.add(&file, format!("verified_on = \"{day}\" is not a day that has been"));
        }
    }
    complaints.tell();
}

fn is_browser(grant: &Grant) -> bool {
    grant.flow == tok::testing::provider::Flow::AuthorizationCode
}

#[test]
fn defaults_are_among_the_choices_and_every_value_is_used() {
    let mut complaints = Complaints::default();
    for provider in providers() {
        let file = file(&provider.name);
        let used: BTreeSet<&str> = provider.used_params().iter().map(|param| param.name.as_str()).collect();
        for param in &provider.params {
            // A login may find it, and it is shown with the profile; and the API's host is that of `base_url`.
            let is_found = provider.found().any(|found| found == param.name);
            let is_host = provider.usage.hosts.is_none() && param.name == "base_url";
            let is_used = used.contains(param.name.as_str()) || is_found || is_host;
            if !is_used && !param.inherited {
                complaints.add(&file, format!("nothing uses the value {}", param.name));
            }
            let grants = provider.grants.iter().flat_map(|grant| &grant.defaults);
            let defaults = grants.filter(|(name, _)| *name == param.name).map(|(_, default)| default);
            for text in defaults.chain(&param.default).filter_map(Template::literal) {
                if !param.choices.is_empty() && !param.choices.iter().any(|choice| choice == text) {
                    complaints.add(&file, format!("{} has the default {text}, which is no choice", param.name));
                }
            }
            if param.sets.iter().any(|(choice, _)| !param.choices.contains(choice)) {
                complaints.add(&file, format!("{} sets something for what is no choice", param.name));
            }
        }
    }
    complaints.tell();
}

/// Whatever a grant sends is a value that can be given, or is found on the way: none is out of reach.
#[test]
fn every_grant_can_be_reached() {
    let mut complaints = Complaints::default();
    for provider in providers() {
        let file = file(&provider.name);
        for grant in &provider.grants {
            let found = grant.finds();
            let kept = provider.kept_names();
            let is_refresh = provider.refresh_grant() == Some(grant);
            for (name, optional) in grant.names() {
                let is_known = provider.param(&name).is_some()
                    || ["refresh_token", "assertion"].contains(&name.as_str())
                    || found.contains(&name.as_str())
                    || (is_refresh && (kept.contains(&name) || name == "access_token"));
                if !is_known && !optional {
                    complaints.add(&file, format!("{} sends {name}, which nobody can give", grant.name));
                }
            }
            // A choice that leads to no URL: each is tried.
            for choice in choices(&provider) {
                let mut chosen = provider.clone();
                chosen.choose(|name| choice.get(name).map(String::as_str));
                for call in grant.calls() {
                    if let Err(why) = url(&chosen, call) {
                        complaints.add(&file, format!("{} with {choice:?}: {why}", grant.name));
                    }
                }
            }
        }
        let refreshes = provider.refresh_grant().is_some();
        if provider.refresh.is_some() && !refreshes {
            complaints.add(&file, "[refresh] names no grant");
        }
    }
    complaints.tell();
}

/// Each choice of each value that has some, alone; and none.
fn choices(provider: &Provider) -> Vec<BTreeMap<String, String>> {
    let named = provider.params.iter().filter(|param| !param.sets.is_empty());
    let each = named.flat_map(|param| param.choices.iter().map(|choice| (param.name.clone(), choice.clone())));
    std::iter::once(BTreeMap::new()).chain(each.map(|one| BTreeMap::from([one]))).collect()
}

/// The URL of a request with the defaults, and `x` for what has none; why it is none that can be asked.
fn url(provider: &Provider, call: &Call) -> Result<String, String> {
    let text = filled(provider, &call.url, 0)?;
    // What stands for a whole URL that a value, a reply or metadata give.
    if text.starts_with("x") {
        return Ok(text);
    }
    match tok::testing::base::url::Url::parse(&text) {
        Ok(_) if text.starts_with("https://") || text.starts_with("http://127.0.0.1") => Ok(text),
        _ => Err(format!("its URL would be {text}")),
    }
}

fn filled(provider: &Provider, template: &Template, depth: usize) -> Result<String, String> {
    if depth > 8 {
        return Err(format!("{template} leads back to itself"));
    }
    let mut texts = BTreeMap::new();
    for (name, _) in template.names() {
        let text = match provider.param(name).and_then(|param| param.default.as_ref()) {
            Some(default) => filled(provider, default, depth + 1)?,
            None => "x".to_string(),
        };
        texts.insert(name.to_string(), text);
    }
    template.fill(|name| texts.get(name).map(String::as_str)).map_err(|gap| format!("{gap:?}"))
}

/// Providers of one host say the same of it: how its token is used, and what its client's redirect URI may be, where
/// both have logins with a browser.
#[test]
fn no_two_providers_contradict_each_other_about_a_host() {
    let mut complaints = Complaints::default();
    let all = providers();
    let mut by_url: BTreeMap<String, Vec<&Provider>> = BTreeMap::new();
    for provider in &all {
        let mut chosen = provider.clone();
        chosen.choose(|_| None);
        let urls: BTreeSet<String> =
            provider.grants.iter().filter_map(|grant| url(&chosen, &grant.call).ok()).collect();
        for url in urls.into_iter().filter(|url| url.starts_with("https://")) {
            by_url.entry(url).or_default().push(provider);
        }
    }
    for (url, providers) in &by_url {
        for pair in providers.windows(2) {
            let [one, other] = pair else { continue };
            let uses = |provider: &Provider| {
                let usage = &provider.usage;
                let names =
                    |entries: &[(String, Template)]| entries.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
                (usage.header.clone(), usage.value.to_string(), names(&usage.headers), names(&usage.query))
            };
            if uses(one) != uses(other) {
                let why = format!("{url}: its token is used otherwise than {} says", other.name);
                complaints.add(&file(&one.name), why);
            }
            let both = one.grants.iter().any(is_browser) && other.grants.iter().any(is_browser);
            if both && one.about.redirect != other.about.redirect {
                complaints.add(&file(&one.name), format!("{url}: {} has another redirect", other.name));
            }
        }
    }
    // Hosts of an API.
    let mut by_host: BTreeMap<String, Vec<&Provider>> = BTreeMap::new();
    for provider in &all {
        for host in provider.usage.hosts.iter().flatten().filter_map(Template::literal) {
            by_host.entry(host.to_string()).or_default().push(provider);
        }
    }
    for (host, providers) in &by_host {
        for pair in providers.windows(2) {
            let [one, other] = pair else { continue };
            if (&one.usage.header, one.usage.value.to_string()) != (&other.usage.header, other.usage.value.to_string())
            {
                complaints
                    .add(&file(&one.name), format!("{host}: its token is used otherwise than {} says", other.name));
            }
        }
    }
    assert!(by_url.values().any(|providers| providers.len() > 1), "some share a host");
    complaints.tell();
}

/// The check of a profile's variables leaves built-in providers out: two of them never share one.
#[test]
fn no_two_built_in_providers_share_a_variable() {
    let mut taken: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut complaints = Complaints::default();
    for provider in providers() {
        for param in &provider.params {
            let variable = format!("{}_{}", provider.name, param.name).replace('-', "_").to_uppercase();
            for variable in [format!("{variable}_FILE"), variable] {
                let mine = (provider.name.clone(), param.name.clone());
                if let Some((other, value)) = taken.insert(variable.clone(), mine) {
                    complaints.add(&file(&provider.name), format!("TOK_{variable} is that of {other} for {value} too"));
                }
            }
        }
    }
    complaints.tell();
}

#[test]
fn a_provider_without_golden_files_is_found() {
    // That each grant has its files, and each provider a refusal, is the business of the tests beside this one; here it is
    // that no provider is without a folder, even one without grants.
    let folders: BTreeSet<String> = files(&root()).into_iter().filter(|name| root().join(name).is_dir()).collect();
    let names: BTreeSet<String> = built_in().map(|one| one.name.to_string()).collect();
    assert_eq!(folders, names);
}
