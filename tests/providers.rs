//! Every grant of every built-in provider against its golden files: `tests/providers/<provider>/<grant>/`.
//!
//! A grant without its folder fails, and so does a folder without a grant. `UPDATE=1 cargo test --test providers`
//! rewrites what tok makes (requests, tokens, errors); what a server sends is written by hand. Read the difference
//! before it is committed: `tests/providers/README.md` says what each file is and where each reply comes from.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tok::testing::base::jose::jwt;
use tok::testing::base::jose::{Jwks, Key};
use tok::testing::base::secret::Secret;
use tok::testing::base::time::Time;
use tok::testing::oauth::client_auth::{self, Moment};
use tok::testing::oauth::reply::{self, Note};
use tok::testing::oauth::request::{self, Added, Repeat, Response, Values};
use tok::testing::provider::Method;
use tok::testing::provider::{Auth, Call, Flow, Grant, Provider, Template, Test, built_in};
use tok::testing::token::Expires;

#[path = "providers/facts.rs"]
mod facts;

/// When a reply arrives that names no `Date`: 2027-01-15 08:00:00 UTC.
const NOW: i64 = 1_800_000_000;

/// What a flow finds by itself; verifier and challenge are those of RFC 7636 appendix B.
const FOUND: &[(&str, &str)] = &[
    ("code", "SplxlOBeZQQYbYS6WxSbIA"),
    ("redirect_uri", "http://127.0.0.1:51004/callback"),
    ("state", "af0ifjsldkj"),
    ("nonce", "n-0S6_WzA2Mj"),
    ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
    ("device_code", "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS"),
    ("user_code", "WDJB-MJHT"),
    ("auth_req_id", "1c266114-a1be-4252-8ad1-04986c5b9ac1"),
];

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
    // Checked as a user's own file is; the program takes it that they are right.
    built_in().map(|one| Provider::parse(one.name, one.name, one.text).unwrap_or_else(|e| panic!("{e}"))).collect()
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
            let made = [
                ("request.http", grant.flow != Flow::Signed),
                ("begin.http", grant.begin.is_some()),
                ("jwt.json", grant.assertion.is_some()),
            ];
            let wanted = made.iter().filter(|(_, wanted)| *wanted && !updating()).map(|(file, _)| *file);
            for file in wanted.chain(["values.toml"]) {
                if !has.contains(file) {
                    complaints.add(&folder.join(file), "is missing");
                }
            }
            // Its token is what it signs: no server says anything.
            if grant.flow == Flow::Signed {
                continue;
            }
            let replies = || has.iter().filter_map(|f| case(f, "reply", "http"));
            if !replies().any(|case| has.contains(&format!("token{case}.json"))) && !updating() {
                complaints.add(&folder, "there is no reply that gives a token");
            }
        }
    }
    for provider in files(&root()).iter().filter(|name| root().join(name).is_dir()) {
        let folder = root().join(provider);
        for grant in files(&folder).iter().filter(|name| *name != SOURCES) {
            if !known.contains(&(provider.clone(), grant.clone())) {
                complaints.add(&folder.join(grant), "there is no such grant");
            }
        }
    }
    complaints.tell();
}

/// Where the replies of a provider come from: file by file, an address or the name of a standard.
const SOURCES: &str = "sources.toml";

/// The providers whose replies `README.md` speaks of.
const TOLD: &[&str] = &[
    "apiax",
    "elasticpath",
    "github-app",
    "google-service-account",
    "oauth2",
    "oidc",
    "purewl",
    "resource",
    "salesforce",
    "snowflake",
    "xcover",
];

#[test]
fn every_provider_has_a_refusal_with_its_source() {
    let mut complaints = Complaints::default();
    // Where all tokens are signed here, no server replies.
    let is_asked = |provider: &&Provider| provider.grants.iter().any(|grant| grant.flow != Flow::Signed);
    for provider in providers().iter().filter(is_asked).filter(|provider| !TOLD.contains(&provider.name.as_str())) {
        let folder = root().join(&provider.name);
        let Ok(text) = fs::read_to_string(folder.join(SOURCES)) else {
            complaints.add(&folder.join(SOURCES), "is missing");
            continue;
        };
        let table: toml_edit::DocumentMut = text.parse().unwrap();
        let mut has_refusal = false;
        for (reply, source) in table.iter() {
            let (grant, file) = reply.split_once('/').unwrap_or(("", reply));
            if !folder.join(reply).is_file() {
                complaints.add(&folder.join(SOURCES), format!("there is no {reply}"));
            }
            if !source.as_str().is_some_and(is_source) {
                complaints.add(&folder.join(SOURCES), format!("{reply} needs a source: see README.md"));
            }
            let refused = case(file, "reply", "http").map(|case| folder.join(grant).join(format!("error{case}.json")));
            has_refusal |= refused.is_some_and(|refused| refused.is_file());
        }
        if !has_refusal && !updating() {
            complaints.add(&folder.join(SOURCES), "names no refusal");
        }
    }
    complaints.tell();
}

/// Whether this says where a reply comes from: an address, a repository and a path, a standard, or what clients report.
fn is_source(text: &str) -> bool {
    let is_repository = text.split([' ', '@']).next().is_some_and(|first| first.matches('/').count() == 1);
    ["https://", "RFC ", "as clients report it"].iter().any(|start| text.starts_with(start)) || is_repository
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
        let mut values = values(complaints, provider, grant, &folder.join(file));
        let mut jwts = serde_json::Map::new();
        sign(provider, grant, &mut values, &mut jwts);
        let mut made = Vec::new();
        for (at, step) in grant.steps_before().chain(grant.steps_after()).enumerate() {
            let text = made_request(provider, &step.call, &values, &mut jwts);
            made.push((format!("step-{}{case}.http", at + 1), text));
        }
        if grant.flow != Flow::Signed {
            made.push((format!("request{case}.http"), made_request(provider, &grant.call, &values, &mut jwts)));
        }
        // Pushed, the address itself holds a reference alone, which the server makes.
        let is_known = |push: &Call| push.url.names().all(|(name, _)| values.contains_key(name));
        if let Some(push) = grant.pushed().filter(is_known) {
            made.push((format!("push{case}.http"), made_request(provider, &push, &values, &mut jwts)));
        } else if let Some(begin) = &grant.begin {
            let mut begin = begin.clone();
            // The browser shows nothing of the client.
            if grant.flow == Flow::AuthorizationCode {
                begin.auth = Auth::None;
                begin.client = None;
            }
            made.push((format!("begin{case}.http"), made_request(provider, &begin, &values, &mut jwts)));
        }
        if !jwts.is_empty() {
            let text = serde_json::to_string_pretty(&jwts).unwrap();
            made.push((format!("jwt{case}.json"), format!("{text}\n")));
        }
        for (name, text) in &made {
            complaints.compare(&folder.join(name), text);
        }
        if case.is_empty() {
            first_values = Some(values);
        }
        accounted.insert(file.clone());
        accounted.extend(made.into_iter().map(|(name, _)| name));
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

/// The values of a `values.toml`, with the grant's defaults, the provider's, and what its flow finds. `@NAME` is the
/// text of a file beside the providers.
fn values(complaints: &mut Complaints, provider: &Provider, grant: &Grant, path: &Path) -> Values {
    let mut provider = provider.clone();
    let table: toml_edit::DocumentMut = fs::read_to_string(path).unwrap().parse().unwrap();
    provider.choose(|name| table.get(name)?.as_str());
    let provider = &provider;
    let mut values = Values::new();
    for (name, value) in table.iter() {
        let is_kept = provider.kept_names().contains(name);
        if !provider.uses(grant).contains_key(name) && !is_kept && !grant.finds().contains(&name) {
            complaints.add(path, format!("the grant takes no {name}"));
        }
        let text = value.as_str().unwrap_or_else(|| panic!("a string"));
        let text = match text.strip_prefix('@') {
            Some(file) => beside(file),
            None => provider.param(name).map_or(text.to_string(), |param| param.as_sent(text).to_string()),
        };
        values.insert(name.to_string(), text.into());
    }
    values.insert("*now".into(), format!("{NOW}000").into());
    values.insert("*random".into(), "00112233445566778899aabbccddeeff".to_string().into());
    let kept = if provider.refresh_grant() == Some(grant) { provider.kept_names() } else { BTreeSet::new() };
    for (name, text) in FOUND.iter().filter(|(name, _)| grant.flow.finds().contains(name) || kept.contains(*name)) {
        values.insert(name.to_string(), text.to_string().into());
    }
    for (name, template) in &grant.defaults {
        if let Ok(text) = template.fill(|name| values.get(name).map(|value| value.as_str())) {
            values.entry(name.clone()).or_insert(text.into());
        }
    }
    if !values.get("scope").is_some_and(|scope| scope.split(' ').any(|scope| scope == "openid")) {
        values.remove("nonce");
    }
    request::defaults(provider, &mut values, &|_| false).unwrap_or_else(|gap| panic!("{}: {gap:?}", path.display()));
    values
}

/// A file beside the providers. A whole key file of a cloud would be taken for a leak: its key is put in here.
fn beside(file: &str) -> String {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    read(file).replace(r#""[rsa.pem]""#, &Value::from(read("rsa.pem")).to_string())
}

/// Makes the assertion of `grant` where it makes one, and shows it in `jwts`.
fn sign(provider: &Provider, grant: &Grant, values: &mut Values, jwts: &mut serde_json::Map<String, Value>) {
    let Some(how) = grant.assertion.as_ref().filter(|_| !values.contains_key("assertion")) else { return };
    let made = client_auth::assertion(provider, how, values, &moment()).unwrap_or_else(|gap| panic!("{gap:?}"));
    jwts.insert("assertion".into(), decoded(made.expose(), values));
    values.insert("assertion".into(), made.expose().to_string().into());
}

fn moment() -> Moment {
    Moment { now: NOW, id: "0rMTEhy7bgCTKgBzzLTnKQ".into() }
}

/// Header and claims of a JWT; its signature is checked with the public half of the key.
fn decoded(token: &str, values: &Values) -> Value {
    // The header is read as the claims are.
    let (header, _) = token.split_once('.').unwrap();
    let header = jwt::claims(&format!("{header}.{header}.")).unwrap();
    let key = values.get("private_key").map(|key| Key::parse(&Secret::new(key.as_str())).unwrap());
    if let Some(mut public) = key.and_then(|key| key.public_jwk()) {
        public.extend(header.get("kid").map(|id| ("kid".to_string(), id.clone())));
        let jwks = Jwks::parse(json!({ "keys": [public] }).to_string().as_bytes()).unwrap();
        let verified = tok::testing::base::jose::verify(token, &jwks);
        assert!(verified.is_ok(), "the signature is wrong: {:?}", verified.err());
    }
    json!({ "header": header, "claims": jwt::claims(token) })
}

/// The request as it goes over the wire, but for what HTTP itself adds; the version of tok is left open, and so is what
/// is signed, which goes to `jwts`.
fn made_request(
    provider: &Provider,
    call: &Call,
    values: &Values,
    jwts: &mut serde_json::Map<String, Value>,
) -> String {
    let mut call = call.clone();
    call.settle(|name| values.get(name).map(|value| value.as_str()));
    let auth = match call.auth {
        Auth::Auto => client_auth::choose(values, &[]),
        named => named,
    };
    let audience = request::url(provider, &call, values).unwrap_or_else(|gap| panic!("{gap:?}"));
    let audience = values.get("token_url").map_or(audience, |url| url.to_string());
    let added = client_auth::add_to(&call, auth, values, &audience, &moment()).unwrap_or_else(|gap| panic!("{gap:?}"));
    let client = added.fields.iter().find(|(name, _)| name == "client_assertion").map(|(_, text)| text.to_string());
    let mut text = shown(provider, &call, values, added);
    if let Some(client) = client {
        jwts.insert("client_assertion".into(), decoded(&client, values));
        text = text.replace(&client, "[CLIENT_ASSERTION]");
    }
    match values.get("assertion").filter(|_| jwts.contains_key("assertion")) {
        Some(assertion) => text.replace(assertion.as_str(), "[ASSERTION]"),
        None => text,
    }
}

fn shown(provider: &Provider, call: &Call, values: &Values, added: Added) -> String {
    let made = request::build(provider, call, values, Repeat::Freely, added).unwrap_or_else(|gap| panic!("{gap:?}"));
    let rest = made.url.strip_prefix("https://").expect("https alone");
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let method = match made.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
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
            let told = |name: &str| match issued.extra.get(name) {
                Some(Value::String(text)) => Some(text.clone()),
                other => other.map(Value::to_string),
            };
            let mut known: BTreeMap<String, String> =
                values.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
            known.extend(provider.kept_names().into_iter().filter_map(|name| Some((name.clone(), told(&name)?))));
            known.insert("access_token".into(), issued.access_token.expose().into());
            let fill = |template: &Template| template.fill(|name| known.get(name).map(String::as_str)).ok();
            let lines = |entries: &[(String, Template)], mark: &str| -> Vec<String> {
                entries.iter().filter_map(|(name, text)| Some(format!("{name}{mark}{}", fill(text)?))).collect()
            };
            let usage = &provider.usage;
            let header =
                (!usage.header.is_empty()).then(|| format!("{}: {}", usage.header, fill(&usage.value).unwrap()));
            let notes: Vec<String> = issued
                .notes
                .iter()
                .map(|note| match note {
                    Note::Warning(text) => format!("warning: {text}"),
                    Note::Detail(text) => format!("detail: {text}"),
                })
                .collect();
            let mut shown = json!({
                "access_token": issued.access_token.expose(),
                "refresh_token": issued.refresh_token.as_ref().map(|token| token.expose()),
                "token_type": issued.token_type,
                "scope": issued.scope,
                "expires_at": from_now(issued.expires, now),
                "refresh_expires_at": from_now(issued.refresh_expires, now),
                "extra": issued.extra,
                "notes": notes,
                "header": header,
            });
            // Shown where there are any.
            let hosts: Vec<String> =
                usage.hosts.iter().flatten().filter(|host| host.literal().is_none()).filter_map(fill).collect();
            let more =
                [("headers", lines(&usage.headers, ": ")), ("query", lines(&usage.query, "=")), ("hosts", hosts)];
            more.into_iter().filter(|(_, lines)| !lines.is_empty()).for_each(|(key, lines)| shown[key] = json!(lines));
            Ok(shown)
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
    let now = dates.get("Date").map_or(NOW, |date| tok::testing::base::date::parse(date).expect("a date"));
    Response { status, headers, body: body.as_bytes().to_vec().into(), received: Time::from_secs(now) }
}
