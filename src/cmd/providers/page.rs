//! What `tok providers NAME` shows of a provider: what is known of it, its grants, its values.

use super::from;
use crate::base::text::escape;
use crate::cmd::table::{table, wrap};
use crate::profile::{Loaded, variable};
use crate::provider::{About, Counted, Grant, Limit, Param, Provider};
use crate::session::plan;
use std::collections::BTreeSet;

/// The whole page, `columns` wide; the user's profile of that name, of the provider `hidden_by`, may hide it.
pub(super) fn page(found: &Loaded, hidden_by: Option<&str>, columns: Option<usize>) -> String {
    let provider = &found.provider;
    let mut text = format!("{}: {}\n", provider.name, escape(&provider.title));
    let hidden =
        hidden_by.map(|of| ("hidden", format!("by the profile {}, which is of {}", provider.name, escape(of))));
    let rows = about(found).into_iter().chain(hidden).map(|(what, value)| [format!("{what}:"), value]);
    text.push_str(&table(rows.collect(), columns));
    text.push_str("\ngrants, the first is the default:\n");
    let rows = provider.grants.iter().map(|grant| {
        let needs = needs(provider, grant).join(", ");
        let needs = if needs.is_empty() { needs } else { format!("; needs {needs}") };
        [format!("  tok login {} {}", provider.name, grant.name), format!("{}{needs}", escape(&grant.help))]
    });
    text.push_str(&table(rows.collect(), columns));
    let (shown, rare) = shown(provider);
    if !shown.is_empty() {
        text.push_str("\nvalues:\n");
        text.push_str(&table(shown.into_iter().map(|param| value(provider, param)).collect(), columns));
    }
    if !rare.is_empty() {
        let names: Vec<&str> = rare.iter().map(|param| param.name.as_str()).collect();
        text.push_str("\nrarely needed:\n");
        let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(2));
        wrap(&names.join(", "), room).iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        let grant = provider.grants.first().map(|grant| grant.name.as_str()).unwrap_or_default();
        text.push_str(&format!("  (tok login {} {grant} --help)\n", provider.name));
    }
    text
}

/// The values that must be given for `grant`.
pub(super) fn needs(provider: &Provider, grant: &Grant) -> Vec<String> {
    let mut needs = plan::missing(provider, grant, &|_| false);
    needs.retain(|name| provider.param(name).is_some() || name == "refresh_token");
    needs.sort();
    needs.dedup();
    needs
}

/// The values that this provider has, and those that any server like it may have, so that they are seldom given: such as
/// the endpoints.
fn shown(provider: &Provider) -> (Vec<&Param>, Vec<&Param>) {
    let needed: BTreeSet<String> = provider.grants.iter().flat_map(|grant| needs(provider, grant)).collect();
    // What a client has, and what it asks for.
    let is_usual = |name: &str| ["client_id", "client_secret", "scope"].contains(&name);
    provider
        .used_params()
        .into_iter()
        .partition(|param| !param.inherited || needed.contains(&param.name) || is_usual(&param.name))
}

/// What stands above the grants of a provider: lines of a name and a text.
fn about(found: &Loaded) -> Vec<(&'static str, String)> {
    let Loaded { provider, .. } = found;
    let About { kind, verified, verified_on, register, redirect } = &provider.about;
    let mut lines = Vec::new();
    lines.extend(provider.docs.as_ref().map(|docs| ("docs", escape(docs))));
    lines.extend(kind.map(|kind| ("kind", kind.to_owned())));
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

/// The redirect URI that a client is registered with, where no other values are given.
pub(super) fn redirect_uri(provider: &Provider) -> Option<String> {
    let default = |name: &str| provider.param(name)?.default.as_ref()?.literal().map(str::to_string);
    provider.redirect_uri(&default)
}

/// What a limit counts, as a provider file calls it.
pub(super) fn counted(limit: &Limit) -> &'static str {
    match limit.of {
        Counted::Requests => "requests",
        Counted::Refusals => "refusals",
    }
}

/// A value: its name, what it is, and what else gives it.
fn value(provider: &Provider, param: &Param) -> [String; 2] {
    let sort = match (param.secret, param.personal, param.list) {
        (_, true, _) => " (secret, personal)",
        (true, ..) => " (secret)",
        (_, _, true) => " (may be repeated)",
        _ => "",
    };
    // A long list is in its help.
    let one_of = match param.sets.is_empty() && !(1..=8).contains(&param.choices.len()) {
        true => String::new(),
        false => format!(" [one of: {}]", param.choices.join(", ")),
    };
    let default = match (&param.default, &param.chosen_by) {
        (_, Some(by)) => format!(" [set by {by}]"),
        (Some(default), None) => format!(" [default: {default}]"),
        (None, None) => String::new(),
    };
    let dashed = param.name.replace('_', "-");
    let flag = if param.secret { format!("--{dashed}-file") } else { format!("--{dashed}") };
    let variable = variable(&provider.name, &param.name);
    let help = escape(&format!("{}{sort}{one_of}{default} [{flag}, {variable}]", param.help));
    [format!("  {}", param.name), help.trim_start().to_string()]
}
