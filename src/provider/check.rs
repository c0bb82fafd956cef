//! Checks a provider file as a whole: every name in it must exist.

mod advice;
mod choices;
mod login;
mod secrets;
mod urls;

use super::template::Piece;
use super::{Assertion, Auth, Call, Encode, Field, Flow, Grant, Param, Provider, Shape, Template};
use crate::base::toml::{Document, Table, unknown};
use std::collections::{BTreeMap, BTreeSet};

/// Marks the values that are the beginning of a URL.
pub fn mark_urls(provider: &mut Provider) {
    let begins: Vec<String> = provider
        .grants
        .iter()
        .flat_map(Grant::calls)
        .chain([&provider.revoke, &provider.introspect, &provider.userinfo].into_iter().flatten())
        .flat_map(|call| match call.url.0.first() {
            Some(Piece::Value { name, or, .. }) => [Some(name.clone()), or.clone()],
            _ => [None, None],
        })
        .flatten()
        .collect();
    for param in &mut provider.params {
        param.url |= begins.contains(&param.name);
    }
    for kept in provider.grants.iter_mut().flat_map(Grant::keeps_mut) {
        if kept.shape == Shape::Text && begins.contains(&kept.name) {
            kept.shape = Shape::Url;
        }
    }
}

/// How deep defaults may lead to others.
const DEEPEST: usize = 16;
/// How many other values a value may be made of, each counted as often as it stands there.
const MOST_PARTS: usize = 64;
/// The longest text that a default may have of itself, in bytes.
const LONGEST: usize = 16 << 10;
/// How many defaults are looked at further that lead too far: what is wrong with one is often wrong with all.
const MOST_TOLD: usize = 20;
/// How many texts with places for values a request may have.
const MOST_PLACES: usize = 1000;

/// Notes what the author of `provider`, read from `root`, should look at, though nothing is wrong with it.
pub fn advice(doc: &Document, root: &Table, provider: &Provider) {
    advice::advice(&Places { doc, root }, provider);
}

/// Checks `provider`, read from `root`, and notes all that is wrong.
pub fn provider(doc: &Document, root: &Table, provider: &Provider) {
    let at = Places { doc, root };
    expansions(&at, provider);
    choices::choices(&at, provider);
    secrets::secrets(&at, provider);
    for grant in &provider.grants {
        let place = ["grants", grant.name.as_str()];
        login::grant(&at, provider, grant);
        urls::grant(&at, provider, grant);
        if let Some(push) = &grant.push {
            names(&at, &["grants", &grant.name, "push"], provider, push, &[]);
        }
        for (key, field, part) in grant.assertion.iter().flat_map(Assertion::fields) {
            let place = ["grants", grant.name.as_str(), "assertion", part, key];
            match (part, key) {
                ("headers", "alg") => at.note(&place, "tok sets `alg` itself; use `algorithm`"),
                ("claims", "iat" | "exp" | "jti") => {
                    at.note(&place, "tok sets this claim itself; use `lifetime`, `backdate` and `jti`");
                }
                _ => {}
            }
            field.each_template(&mut |template| names(&at, &place, provider, template, &["key_fingerprint"]));
        }
        for (name, template) in &grant.defaults {
            let place = ["grants", &grant.name, "defaults"];
            if provider.param(name).is_none_or(|p| p.secret) {
                at.note(&place, format!("`{name}` cannot have a default: it is a secret or not in [params]"));
            }
            names(&at, &place, provider, template, &[]);
        }
        if grant.flow == Flow::Signed && grant.assertion.is_none() {
            at.note(&place, "missing [grants.NAME.assertion]: what to sign");
        }
        if grant.assertion.is_some() {
            let signs = grant.assertion.as_ref().and_then(|how| how.secret.as_deref()).unwrap_or("private_key");
            for name in [signs, "assertion"] {
                if provider.param(name).is_none_or(|p| !p.secret) {
                    at.note(&place, format!("requires [params.{name}] with `secret = true`"));
                }
            }
        }
    }
    for (place, asked) in
        [("revoke", &provider.revoke), ("introspect", &provider.introspect), ("userinfo", &provider.userinfo)]
    {
        if let Some(asked) = asked {
            let found = provider.found().collect::<Vec<_>>();
            let known = [&["refresh_token", "access_token", "token_type_hint"], found.as_slice()].concat();
            call(&at, &[place], provider, asked, &known);
        }
    }
    for param in &provider.params {
        if let Some(choice) = param.choices.iter().find(|choice| !is_choice(choice)) {
            let why = format!(
                "`{}` cannot be a choice: letters, digits and any of {CHOICE}",
                crate::base::text::escape_to(choice, 80)
            );
            at.note(&["params", &param.name, "choices"], why);
        }
        for (key, needs_list) in [("repeat", param.repeat), ("pairs", param.pairs)] {
            if needs_list && !param.list {
                at.note(&["params", &param.name, key], format!("`{key}` requires `list = true`"));
            }
        }
        if let Some(default) = &param.default {
            names(&at, &["params", &param.name, "default"], provider, default, &[]);
        }
        for (name, _) in param.identity.iter().flatten() {
            let place = ["params", param.name.as_str(), "identity"];
            if provider.param(name).is_none_or(|with| with.secret) {
                at.note(&place, format!("`{name}` cannot have a default: it is a secret or not in [params]"));
            }
        }
        if let Some(inside) = &param.inside
            && provider.param(&inside.value).is_none()
        {
            let names = provider.params.iter().map(|p| p.name.as_str());
            at.note_unknown(&["params", &param.name, "inside"], "value", &inside.value, names);
        }
    }
    usage(&at, provider);
    if let Some(refresh) = &provider.refresh {
        let grants = || provider.grants.iter().map(|g| g.name.as_str());
        match provider.grant(&refresh.grant) {
            None => at.note_unknown(&["refresh", "grant"], "grant", &refresh.grant, grants()),
            Some(grant) if !provider.uses(grant).contains_key("refresh_token") => {
                at.note(&["refresh", "grant"], "this grant uses neither {refresh_token} nor {access_token}");
            }
            Some(_) => {}
        }
        if let Some(fallback) = &refresh.fallback {
            if provider.grant(fallback).is_none() {
                at.note_unknown(&["refresh", "fallback"], "grant", fallback, grants());
            }
            if *fallback == refresh.grant {
                at.note(&["refresh", "fallback"], "`fallback` must not be the same grant as `grant`");
            }
        }
    }
    for param in &provider.params {
        if let Some(default) = &param.default {
            literal(&at, param, default, &["params", &param.name, "default"]);
        }
    }
}

/// Checks how the token is used.
fn usage(at: &Places, provider: &Provider) {
    let usage = &provider.usage;
    let found = provider.found().collect::<Vec<_>>();
    let known = [&["access_token"], found.as_slice()].concat();
    let has_token = |template: &Template| template.names().any(|(name, _)| name == "access_token");
    if !usage.header.is_empty() {
        names(at, &["use", "value"], provider, &usage.value, &known);
        if !has_token(&usage.value) {
            at.note(&["use", "value"], "the header's value must contain {access_token}");
        }
    }
    for (key, entries) in [("headers", &usage.headers), ("query", &usage.query)] {
        for (name, template) in entries {
            names(at, &["use", key, name], provider, template, &known);
            if key == "headers" && name.eq_ignore_ascii_case(&usage.header) {
                at.note(&["use", key, name], format!("`{name}` is the header that `header` and `value` are for"));
            }
        }
    }
    let differs = |piece: &Piece| matches!(piece, Piece::Made { function, .. } if function.differs());
    if usage.templates().flat_map(|template| &template.0).any(differs) {
        at.note(&["use"], "uuid and now make something else for each request, and this is made once for a token");
    }
    for host in usage.hosts.iter().flatten() {
        names(at, &["use", "hosts"], provider, host, &found);
    }
}

/// Checks a text that the file itself has as the value `param`.
fn literal(at: &Places, param: &Param, template: &Template, place: &[&str]) {
    let Some(text) = template.literal().filter(|text| !text.is_empty()) else { return };
    if let (true, Err(why)) = (param.url, crate::base::url::base(text)) {
        at.note(place, format!("this URL {why}"));
    }
    if !param.choices.is_empty() && !param.choices.iter().any(|choice| choice == text) {
        at.note_unknown(place, "choice", text, param.choices.iter().map(String::as_str));
    }
}

/// What a choice may hold besides letters and digits. It is completed in shells and stands in help: nothing of it may
/// mean something there.
const CHOICE: &str = "- _ . : / @ + = , % [ ]";

fn is_choice(text: &str) -> bool {
    let is_safe = |c: char| c.is_alphanumeric() || (c != ' ' && CHOICE.contains(c));
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_safe)
}

/// Bounds what the values and requests can grow to when defaults are filled in.
fn expansions(at: &Places, provider: &Provider) {
    let params: BTreeMap<&str, &Param> = provider.params.iter().map(|p| (p.name.as_str(), p)).collect();
    let mut sizes = BTreeMap::new();
    let mut told = 0;
    for param in &provider.params {
        if let Err(why) = size(&params, &mut sizes, &param.name, 0) {
            at.note(&["params", &param.name, "default"], why);
            told += 1;
        }
        if told == MOST_TOLD {
            break;
        }
    }
    let parts_of = |template: &Template| -> usize {
        let named = template.names().map(|(name, _)| sizes.get(name).map_or(1, |size: &Size| size.parts.max(1)));
        named.sum()
    };
    let why = || format!("this holds values {MOST_PARTS} times and more: that is more than a request needs");
    for grant in &provider.grants {
        for (name, template) in &grant.defaults {
            if parts_of(template) > MOST_PARTS {
                at.note(&["grants", &grant.name, "defaults", name], why());
            }
        }
    }
    for (place, call) in calls(provider) {
        let (mut places, mut most) = (0, 0);
        call.each_template(&mut |template| {
            places += 1;
            most = parts_of(template).max(most);
        });
        if most > MOST_PARTS {
            at.note(&place, why());
        }
        if places > MOST_PLACES {
            at.note(&place, format!("a request has at most {MOST_PLACES} fields"));
        }
    }
}

/// The requests of `provider`, with the place of each in its file.
fn calls(provider: &Provider) -> impl Iterator<Item = (Vec<&str>, &Call)> {
    let grants = provider.grants.iter().flat_map(|grant| {
        let own = ["grants", grant.name.as_str()];
        let of = move |call| match () {
            () if std::ptr::eq(&grant.call, call) => own.to_vec(),
            () if grant.begin.as_ref().is_some_and(|begin| std::ptr::eq(begin, call)) => {
                [&own[..], &["begin"]].concat()
            }
            () => [&own[..], &["steps"]].concat(),
        };
        grant.calls().map(move |call| (of(call), call))
    });
    let others = [("revoke", &provider.revoke), ("introspect", &provider.introspect), ("userinfo", &provider.userinfo)];
    grants.chain(others.into_iter().filter_map(|(place, call)| Some((vec![place], call.as_ref()?))))
}

/// What a value is at most, where it is not given itself.
#[derive(Clone, Copy)]
struct Size {
    /// How deep defaults lead on.
    depth: usize,
    /// How many values stand in it.
    parts: usize,
    /// How long its own text is.
    length: usize,
}

/// The size of the value `name`; else what is wrong with its default.
fn size<'p>(
    params: &BTreeMap<&'p str, &'p Param>,
    sizes: &mut BTreeMap<&'p str, Size>,
    name: &str,
    depth: usize,
) -> std::result::Result<Size, String> {
    if let Some(size) = sizes.get(name) {
        return Ok(*size);
    }
    let Some((name, param)) = params.get_key_value(name) else { return Ok(Size { depth: 0, parts: 1, length: 0 }) };
    // One that refers to itself never ends either.
    if depth > DEEPEST {
        return Err(match holds_itself(params, name) {
            true => "this default refers to itself".into(),
            false => format!("this default leads to others more than {DEEPEST} times over"),
        });
    }
    let mut all = Size { depth: 0, parts: 0, length: 0 };
    let pieces = param.default.iter().flat_map(|default| &default.0);
    all.length = pieces.map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
    let leads_to = param.leads_to();
    for (inner, _) in &leads_to {
        let inner = size(params, sizes, inner, depth + 1)?;
        all.depth = all.depth.max(inner.depth + 1);
        all.parts = all.parts.saturating_add(inner.parts);
        all.length = all.length.saturating_add(inner.length);
    }
    if leads_to.is_empty() && param.default.is_none() {
        all.parts = 1;
    }
    if all.depth > DEEPEST {
        return Err(format!("this default leads to others more than {DEEPEST} times over"));
    }
    if all.parts > MOST_PARTS {
        return Err(format!("this default refers to other values more than {MOST_PARTS} times"));
    }
    if all.length > LONGEST {
        return Err(format!("this default is longer than {} KiB when it is filled in", LONGEST >> 10));
    }
    sizes.insert(name, all);
    Ok(all)
}

/// Whether the default of `name` leads back to it.
fn holds_itself(params: &BTreeMap<&str, &Param>, name: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut queue = vec![name.to_string()];
    while let Some(next) = queue.pop() {
        for (inner, _) in params.get(next.as_str()).map(|param| param.leads_to()).unwrap_or_default() {
            if inner == name {
                return true;
            }
            if seen.insert(inner.clone()) {
                queue.push(inner);
            }
        }
    }
    false
}

/// What no URL holds outside its query: it would stand in every log on the way.
const TOKENS: &[&str] = &["refresh_token", "access_token", "device_code", "code", "auth_req_id"];

fn call(at: &Places, place: &[&str], provider: &Provider, call: &Call, known: &[&str]) {
    // What the grants share is wrong once, where it stands.
    let inside = |key| match at.has(&[place, &[key]].concat()) || !at.has(&["request", key]) || place[0] != "grants" {
        true => [place, &[key]].concat(),
        false => vec!["request", key],
    };
    names(at, &inside("url"), provider, &call.url, known);
    for (name, _) in call.url.names().filter(|(name, _)| TOKENS.contains(name) && provider.param(name).is_none()) {
        let why = format!(
            "`{name}` cannot stand in a path, which every log on the way has; use `query`, `headers` or `body`"
        );
        at.note(&inside("url"), why);
    }
    urls::request(at, &inside("url"), provider, call);
    if let Some(Piece::Text(text)) = call.url.0.first() {
        // The text before the first value is checked now; the whole URL when it is known.
        let whole = call.url.0.len() == 1;
        let wrong = if whole {
            crate::base::url::Url::parse(text).err()
        } else {
            crate::base::url::Url::parse_start(text).err()
        };
        if let Some(why) = wrong {
            at.note(&inside("url"), format!("this URL {why}; it must begin with https:// or a value"));
        }
    }
    let mut before = String::new();
    for piece in &call.url.0 {
        match piece {
            Piece::Text(text) => before.push_str(text),
            Piece::Value { .. } => {}
            Piece::Made { .. } if before.rsplit("://").next().is_none_or(|rest| !rest.contains(['/', '?'])) => {
                at.note(&inside("url"), "a function can only stand in the path or the query of a URL");
            }
            Piece::Made { .. } => {}
        }
    }
    // It would never be sent, nor the query that is put after it.
    if call.url.0.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains('#'))) {
        at.note(&inside("url"), "this URL must not have a fragment (`#`)");
    }
    for (_, template) in &call.headers {
        names(at, &inside("headers"), provider, template, known);
    }
    for (_, template) in &call.query {
        names(at, &inside("query"), provider, template, known);
    }
    for (name, field) in &call.body {
        let place = [inside("body"), vec![name]].concat();
        field.each_template(&mut |template| names(at, &place, provider, template, known));
        let is_table = matches!(field, Field::Text(template) if template.is_alone(|name| {
            provider.param(name).is_some_and(|p| p.pairs)
        }));
        if call.encode != Encode::Json && (is_table || !matches!(field, Field::Text(_) | Field::Plain(_))) {
            at.note(&place, "a list or a table can only be sent as JSON");
        }
    }
    let is_text = call.body.iter().any(|(name, _)| name.is_empty());
    match matches!(call.encode, Encode::Text | Encode::Xml) {
        true if !is_text => at.note(&inside("body"), "expected a string: with this `encode` the body is one text"),
        true if !matches!(call.auth, Auth::None | Auth::Basic | Auth::BasicRaw) => {
            at.note(&inside("auth"), "a body that is one text takes no client authentication but `basic`");
        }
        false if is_text => {
            at.note(&inside("body"), "expected a table: a string is a body with `encode = \"text\"` or \"xml\"")
        }
        _ => {}
    }
    if call.encode == Encode::None && !call.body.is_empty() {
        at.note(&inside("body"), "a body is not allowed with `encode = \"none\"`");
    }
    if call.auth != Auth::None {
        let needed = call.auth_names().into_iter().filter(|(name, optional)| !optional || name == "client_id");
        for (name, _) in needed {
            if provider.param(&name).is_none() {
                at.note(&inside("auth"), format!("requires [params.{name}]"));
            }
        }
    }
    for (key, template) in [("auth", &call.auth_by), ("dpop", &call.dpop_by)] {
        if let Some(template) = template {
            names(at, &inside(key), provider, template, &[]);
        }
    }
    if let Some(name) = &call.more
        && provider.param(name).is_none_or(|p| !p.list || p.secret)
    {
        at.note(&inside("more"), format!("`{name}` must be a list in [params] and not a secret"));
    }
}

fn names(at: &Places, place: &[&str], provider: &Provider, template: &Template, known: &[&str]) {
    for (name, _) in template.names() {
        if provider.param(name).is_none() && !known.contains(&name) {
            let names = provider.params.iter().map(|p| p.name.as_str()).chain(known.iter().copied());
            at.note_unknown(place, "value", name, names);
        }
    }
}

struct Places<'a, 'd, 't> {
    doc: &'a Document<'t>,
    root: &'a Table<'d, 't>,
}

impl Places<'_, '_, '_> {
    /// The place of the deepest key of `path` that the file has.
    fn span(&self, path: &[&str]) -> std::ops::Range<usize> {
        let mut at = 0..0;
        let mut value = match path.first().and_then(|key| self.root.look(key)) {
            Some(value) => value,
            None => return at,
        };
        at = value.span();
        for key in &path[1..] {
            match value.table().ok().and_then(|t| t.look(key)) {
                Some(inner) => value = inner,
                None => break,
            }
            at = value.span();
        }
        at
    }

    /// Whether the file has the key at the end of `path` itself.
    fn has(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        let first = self.root.look(first);
        rest.iter().fold(first, |value, key| value?.table().ok()?.look(key)).is_some()
    }

    fn note(&self, path: &[&str], why: impl Into<String>) {
        self.doc.note(self.doc.error(self.span(path), why));
    }

    fn note_unknown<'n>(&self, path: &[&str], kind: &str, typed: &str, names: impl IntoIterator<Item = &'n str>) {
        self.doc.note(unknown(self.doc, self.span(path), kind, typed, names));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        match Provider::parse("t", "t.toml", text) {
            Ok(_) => panic!("this is let through:\n{text}"),
            Err(error) => error.to_string(),
        }
    }

    const KEY: &str = "[params.private_key]\nsecret = true\n[params.assertion]\nsecret = true\n";

    #[test]
    fn a_list_that_is_none_is_told() {
        for key in ["repeat", "pairs"] {
            let text = format!("[params.x]\n{key} = true\n[grants.g]\nurl = \"https://a.example\"\n");
            let said = error(&text);
            assert!(said.contains("t.toml:2:") && said.contains("requires `list = true`"), "{said}");
        }
        assert!(
            error("[params.x]\nuntil = \"\"\n[grants.g]\nurl = \"https://a.example\"\n").contains("must not be empty")
        );
    }

    #[test]
    fn pairs_are_for_json_alone() {
        let text = |encode: &str| {
            format!(
                "[params.x]\nlist = true\npairs = true\n[grants.g]\nurl = \"https://a.example\"\n\
                 encode = \"{encode}\"\nbody = {{ x = \"{{x?}}\" }}\n"
            )
        };
        assert!(Provider::parse("t", "t.toml", &text("json")).is_ok());
        assert!(error(&text("form")).contains("can only be sent as JSON"));
    }

    #[test]
    fn an_assertion_is_checked_as_a_whole() {
        let text = |rest: &str| {
            format!(
                "{KEY}[grants.g]\nurl = \"https://a.example\"\nbody = {{ a = \"{{assertion}}\" }}\n[grants.g.assertion]\n{rest}\n"
            )
        };
        assert!(Provider::parse("t", "t.toml", &text("claims = { iss = \"{key_fingerprint}\" }")).is_ok());
        for (rest, says) in [
            ("claims = { exp = \"1\" }", "use `lifetime`, `backdate` and `jti`"),
            ("claims = { iss = \"{absent}\" }", "unknown value `absent`"),
            ("claims = {}\nalgorithm = \"HS256\"", "not an algorithm for a private key"),
            ("claims = {}\nalgorithm = \"none\"", "not an algorithm for a private key"),
            ("claims = {}\nlifetime = \"soon\"", "t.toml:10:"),
            ("jti = false", "missing `claims`"),
        ] {
            let said = error(&text(rest));
            assert!(said.contains(says), "{rest}: {said}");
        }
        let without = "[params.assertion]\nsecret = true\n[grants.g]\nurl = \"https://a.example\"\n[grants.g.assertion]\nclaims = {}\n";
        assert!(error(without).contains("[params.private_key] with `secret = true`"));
        let unsigned = "[grants.g]\nflow = \"signed\"\nurl = \"https://a.example\"\n";
        assert!(error(unsigned).contains("[grants.NAME.assertion]"));
        let outside = "[params.x]\n[grants.g]\nurl = \"https://a.example\"\nbody = { a = \"{key_fingerprint}\" }\n";
        assert!(error(outside).contains("unknown value `key_fingerprint`"));
        let nowhere = "[params.x]\ninside = { value = \"y\", at = \"/a\" }\n[grants.g]\nurl = \"https://a.example\"\n";
        assert!(error(nowhere).contains("unknown value `y`"));
    }

    /// A provider whose values have these defaults.
    fn with_defaults(defaults: impl IntoIterator<Item = (String, String)>) -> String {
        let params: String =
            defaults.into_iter().map(|(name, text)| format!("[params.{name}]\ndefault = \"{text}\"\n")).collect();
        format!("{params}[grants.g]\nurl = \"https://a.example\"\nbody = {{ a = \"{{v0}}\" }}\n")
    }

    #[test]
    fn what_defaults_grow_to_is_bounded() {
        let doubling = |n: usize| {
            with_defaults(
                (0..n)
                    .map(|i| (format!("v{i}"), format!("{{v{0}}}{{v{0}}}", i + 1)))
                    .chain([(format!("v{n}"), "x".into())]),
            )
        };
        let chain = |n: usize| {
            with_defaults(
                (0..n).map(|i| (format!("v{i}"), format!("{{v{}}}", i + 1))).chain([(format!("v{n}"), "x".into())]),
            )
        };
        let backwards = |n: usize| {
            with_defaults(
                (0..n)
                    .rev()
                    .map(|i| (format!("v{i}"), format!("{{v{}}}", i + 1)))
                    .chain([(format!("v{n}"), "x".into())]),
            )
        };
        let begun = std::time::Instant::now();
        for text in [chain(2_000), backwards(2_000), doubling(2_000)] {
            assert!(error(&text).contains("more than 16 times over"), "{}", error(&text));
        }
        // An unbounded check would take minutes, and filling one in more memory than there is.
        assert!(begun.elapsed() < std::time::Duration::from_secs(60));
        let given = format!("{}[params.v7]\n", doubling(7).replace("[params.v7]\ndefault = \"x\"\n", ""));
        assert!(error(&given).contains("refers to other values more than 64 times"));
        let long = with_defaults([("v0".into(), "{v1}{v1}".into()), ("v1".into(), "x".repeat(9 << 10))]);
        assert!(error(&long).contains("longer than 16 KiB"), "{}", error(&long));
        let itself = with_defaults([("v0".into(), "{v1}".into()), ("v1".into(), "{v0}".into())]);
        assert!(error(&itself).contains("this default refers to itself"));
        for fine in [chain(16), doubling(6)] {
            assert!(Provider::parse("t", "t.toml", &fine).is_ok(), "{fine}");
        }
        let wide = format!(
            "[params.v0]\n[grants.g]\nurl = \"https://a.example\"\nbody = {{ a = \"{}\" }}\n",
            "{v0}".repeat(100)
        );
        assert!(error(&wide).contains("64 times"), "{}", error(&wide));
    }

    #[test]
    fn a_choice_means_nothing_to_a_shell_or_a_terminal() {
        let text = |choice: &str| {
            let choice = serde_json::Value::from(choice).to_string();
            format!("[params.x]\nchoices = [\"a\", {choice}]\n[grants.g]\nurl = \"https://a.example\"\n")
        };
        for choice in ["eu", "[::1]", "Europe.West-1", "a=b", "50%", "é", "a/b@c+d,e_f"] {
            assert!(Provider::parse("t", "t.toml", &text(choice)).is_ok(), "{choice}");
        }
        for choice in [
            "$(touch /tmp/x)",
            "`id`",
            "a b",
            "a;b",
            "a'b",
            "a\"b",
            "a\\b",
            "*",
            "~",
            "{a,b}",
            "\u{1b}[31m",
            "a\nb",
            "",
            "-x",
            "!x",
            "a|b",
            "\u{202e}",
        ] {
            let said = error(&text(choice));
            assert!(said.contains("cannot be a choice") && said.contains("t.toml:2:"), "{choice}: {said}");
        }
    }
}
