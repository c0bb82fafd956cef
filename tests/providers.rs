//! Every grant of every built-in provider against its golden files: `tests/providers/<provider>/<grant>/`.
//!
//! A grant without its folder fails, and so does a folder without a grant. `UPDATE=1 cargo test --test providers`
//! rewrites what tok makes (requests, tokens, errors); what a server sends is written by hand. Read the difference
//! before it is committed: `tests/providers/README.md` says what each file is and where each reply comes from.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tok::provider::{BUILT_IN, Grant, Provider, Test};
use tok::reply::{self, Note};
use tok::request::{self, Added, Method, Repeat, Response, Values};
use tok::token::{Expires, Time};

/// When a reply arrives that names no `Date`: 2027-01-15 08:00:00 UTC.
const NOW: i64 = 1_800_000_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/providers")
}

/// What is wrong, all of it, so that one run shows everything.
#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn add(&mut self, path: &Path, what: impl AsRef<str>) {
        let shown = path.strip_prefix(root()).unwrap_or(path).display();
        self.0.push(format!("{shown}: {}", what.as_ref()));
    }

    /// Compares with the file, or writes it where UPDATE is set.
    fn compare(&mut self, path: &Path, actual: &str) {
        if updating() {
            if fs::read_to_string(path).is_ok_and(|was| was == actual) {
                return;
            }
            fs::write(path, actual).unwrap();
            return;
        }
        match fs::read_to_string(path) {
            Ok(expected) if expected == actual => {}
            Ok(expected) => self.add(path, format!("differs\n{}", difference(&expected, actual))),
            Err(_) => self.add(path, format!("is missing; tok gives\n{actual}")),
        }
    }

    fn tell(self) {
        assert!(
            self.0.is_empty(),
            "{} golden files do not hold (UPDATE=1 rewrites those that tok makes):\n\n{}\n",
            self.0.len(),
            self.0.join("\n")
        );
    }
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// Both texts line by line: `-` the golden file, `+` tok.
fn difference(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.split('\n').collect(), actual.split('\n').collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut lines = Vec::new();
    lines.extend(old[start.saturating_sub(2)..start].iter().map(|line| format!("  {line}")));
    lines.extend(old[start..old.len() - end].iter().map(|line| format!("- {line}")));
    lines.extend(new[start..new.len() - end].iter().map(|line| format!("+ {line}")));
    lines.join("\n")
}

fn files(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// `reply-a.http` with `reply` and `http`: `-a`. `request.http` with `request` and `http`: nothing.
fn case<'f>(file: &'f str, sort: &str, extension: &str) -> Option<&'f str> {
    let rest = file.strip_prefix(sort)?.strip_suffix(extension)?.strip_suffix('.')?;
    (rest.is_empty() || rest.starts_with('-')).then_some(rest)
}

fn providers() -> Vec<Provider> {
    BUILT_IN.iter().map(|(name, _)| Provider::built_in(name).unwrap().unwrap_or_else(|e| panic!("{e}"))).collect()
}

#[test]
fn every_grant_has_its_folder_and_every_folder_its_grant() {
    let mut complaints = Complaints::default();
    let mut known = BTreeSet::new();
    for provider in providers() {
        for grant in &provider.grants {
            known.insert((provider.name.clone(), grant.name.clone()));
            let folder = root().join(&provider.name).join(&grant.name);
            let has = files(&folder);
            if has.is_empty() {
                complaints.add(&folder, "this grant has no golden files");
                continue;
            }
            for file in ["values.toml", "request.http"] {
                let will_be_made = updating() && file == "request.http";
                if !has.contains(file) && !will_be_made {
                    complaints.add(&folder.join(file), "is missing");
                }
            }
            let replies = || has.iter().filter_map(|f| case(f, "reply", "http"));
            if !replies().any(|case| has.contains(&format!("token{case}.json"))) && !updating() {
                complaints.add(&folder, "there is no reply that gives a token");
            }
        }
    }
    for provider in files(&root()).iter().filter(|name| root().join(name).is_dir()) {
        let folder = root().join(provider);
        for grant in files(&folder) {
            if !known.contains(&(provider.clone(), grant.clone())) {
                complaints.add(&folder.join(grant), "there is no such grant");
            }
        }
    }
    complaints.tell();
}

#[test]
fn requests_and_replies_are_the_golden_ones() {
    let mut complaints = Complaints::default();
    for provider in providers() {
        for grant in &provider.grants {
            let folder = root().join(&provider.name).join(&grant.name);
            check(&mut complaints, &provider, grant, &folder);
        }
    }
    complaints.tell();
}

fn check(complaints: &mut Complaints, provider: &Provider, grant: &Grant, folder: &Path) {
    let has = files(folder);
    let mut accounted: BTreeSet<String> = BTreeSet::new();
    let mut first_values = None;
    for file in &has {
        let Some(case) = case(file, "values", "toml") else { continue };
        let request = format!("request{case}.http");
        let values = values(complaints, provider, grant, &folder.join(file));
        complaints.compare(&folder.join(&request), &made_request(provider, grant, &values));
        if case.is_empty() {
            first_values = Some(values);
        }
        accounted.extend([file.clone(), request]);
    }
    let values = first_values.unwrap_or_default();
    for file in &has {
        let Some(case) = case(file, "reply", "http") else { continue };
        let outcome = read(provider, grant, &values, &folder.join(file));
        let (sort, other, shown) = match outcome {
            Ok(token) => ("token", "error", token),
            Err(error) => ("error", "token", error),
        };
        let (golden, stale) = (format!("{sort}{case}.json"), format!("{other}{case}.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&shown).unwrap());
        match (has.contains(&stale), updating()) {
            (true, false) => {
                complaints.add(&folder.join(&stale), format!("is wrong: this reply gives {sort}{case}\n{text}"));
            }
            (is_stale, _) => {
                if is_stale {
                    fs::remove_file(folder.join(&stale)).unwrap();
                }
                complaints.compare(&folder.join(&golden), &text);
            }
        }
        accounted.extend([file.clone(), golden, stale]);
    }
    for file in has.difference(&accounted) {
        complaints.add(&folder.join(file), "belongs to no values and to no reply");
    }
}

/// The values of a `values.toml`, with the provider's defaults.
fn values(complaints: &mut Complaints, provider: &Provider, grant: &Grant, path: &Path) -> Values {
    let table: toml_edit::DocumentMut = fs::read_to_string(path).unwrap().parse().unwrap();
    let mut values = Values::new();
    for (name, value) in table.iter() {
        if !provider.uses(grant).contains_key(name) {
            complaints.add(path, format!("the grant takes no {name}"));
        }
        values.insert(name.to_string(), value.as_str().unwrap_or_else(|| panic!("a string")).to_string().into());
    }
    request::defaults(provider, &mut values).unwrap_or_else(|gap| panic!("{}: {gap:?}", path.display()));
    values
}

/// The request as it goes over the wire, but for what HTTP itself adds; the version of tok is left open.
fn made_request(provider: &Provider, grant: &Grant, values: &Values) -> String {
    let made = request::build(provider, &grant.call, values, Repeat::Freely, Added::default())
        .unwrap_or_else(|gap| panic!("{gap:?}"));
    let rest = made.url.strip_prefix("https://").expect("https alone");
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let method = match made.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
    };
    let mut text = format!("{method} {path} HTTP/1.1\nHost: {host}\n");
    for (name, value) in &made.headers {
        let value = value.replace(concat!("tok/", env!("CARGO_PKG_VERSION")), "tok/[VERSION]");
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push('\n');
    text.push_str(std::str::from_utf8(made.body.as_deref().map_or(&[], |b| b.as_slice())).unwrap());
    text
}

/// What tok makes of a `reply-….http`, as the golden files show it.
fn read(provider: &Provider, grant: &Grant, values: &Values, path: &Path) -> Result<Value, Value> {
    let response = response(path);
    let now = response.received.secs();
    // Only the refusal of a refresh token can mean its death.
    let is_refresh = provider.refresh.as_ref().is_some_and(|refresh| refresh.grant == grant.name);
    let dead: &[Test] = provider.refresh.as_ref().filter(|_| is_refresh).map_or(&[], |refresh| &refresh.dead);
    match reply::read(&grant.response, dead, &response) {
        Ok(issued) => {
            let value = provider.usage.value.fill(|name| match name {
                "access_token" => Some(issued.access_token.expose()),
                _ => values.get(name).map(|v| v.as_str()),
            });
            let notes: Vec<String> = issued
                .notes
                .iter()
                .map(|note| match note {
                    Note::Warning(text) => format!("warning: {text}"),
                    Note::Detail(text) => format!("detail: {text}"),
                })
                .collect();
            Ok(json!({
                "access_token": issued.access_token.expose(),
                "refresh_token": issued.refresh_token.as_ref().map(|token| token.expose()),
                "token_type": issued.token_type,
                "scope": issued.scope,
                "expires_at": from_now(issued.expires, now),
                "refresh_expires_at": from_now(issued.refresh_expires, now),
                "extra": issued.extra,
                "notes": notes,
                "header": format!("{}: {}", provider.usage.header, value.unwrap()),
            }))
        }
        Err(failure) => Err(json!({
            "kind": format!("{:?}", failure.kind),
            "exit_status": failure.kind as u8,
            "why": failure.why,
            "dead": failure.dead,
        })),
    }
}

fn from_now(expires: Expires, now: i64) -> Value {
    match expires {
        Expires::At(at) => format!("now{:+}", at - now).into(),
        Expires::Never => "never".into(),
        Expires::Unknown => "unknown".into(),
    }
}

/// Status line, headers, an empty line, the body. The head's lines end with a line feed alone, to be read.
fn response(path: &Path) -> Response {
    let text = fs::read_to_string(path).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("{}: no empty line", path.display()));
    let mut lines = head.lines();
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{}: no status line: {status_line}", path.display()));
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_string(), value.to_string()));
    let headers: Vec<_> = lines.map(|line| header(line).unwrap_or_else(|| panic!("no header line: {line}"))).collect();
    let dates: BTreeMap<String, String> = headers.iter().cloned().collect();
    let now = dates.get("Date").map_or(NOW, |date| tok::date::parse(date).expect("a date"));
    Response { status, headers, body: body.as_bytes().to_vec().into(), received: Time::from_secs(now) }
}
