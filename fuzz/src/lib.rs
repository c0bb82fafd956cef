//! What each fuzz target asks of the library, as functions of bytes. `tests/properties.rs` includes this file and
//! calls the same functions with every file of `corpus/`.
//!
//! Inputs are text where they can be, so that a corpus can be read: what steers a target stands on the first lines,
//! the text that is parsed after them.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a fuzz target is a program of its own")]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;
use tok::testing::base::error::{Error, Kind};
use tok::testing::base::jose::{Jwks, Key, verify};
use tok::testing::base::secret::Secret;
use tok::testing::base::time::Time;
use tok::testing::base::url::Url;
use tok::testing::oauth::callback::{self, Callback, ExpectedRedirect};
use tok::testing::oauth::client_auth::{self, Moment};
use tok::testing::oauth::reply::{Note, object, read};
use tok::testing::oauth::request::{Repeat, Request, Response, Unready, Values, build, defaults};
use tok::testing::profile::config::{Config, ConfigValue, Edit, PlainValue};
use tok::testing::provider::template::Piece;
use tok::testing::provider::{Call, Provider, Template, built_in};
use tok::testing::session::journal::{Sealer, open};
use tok::testing::storage::choice::StoreChoice;
use tok::testing::storage::head::CachedHead;
use tok::testing::storage::secrets::split::Split;
use tok::testing::storage::secrets::{Store, StoreError};
use tok::testing::system::http;
use tok::testing::token::Token;
use tok::testing::token::credentials::Credentials;
use tok::testing::token::is_token;
use zeroize::Zeroizing;

/// What a target does with an input: it panics where something is wrong.
pub type Target = fn(&[u8]);

/// The targets by name; each has a folder of that name under `corpus/`.
pub const ALL: &[(&str, Target)] = &[
    ("reply", reply),
    ("refusal", refusal),
    ("challenge", challenge),
    ("pasted", pasted),
    ("provider_file", provider_file),
    ("config", config),
    ("cache", cache),
    ("kept", kept),
    ("jwt", jwt),
    ("jose", jose),
    ("duration", duration),
    ("template", template),
    ("retry_after", retry_after),
    ("proxy", proxy),
    ("url", url),
    ("encode", encode),
    ("split", split),
    ("journal", journal),
];

/// When the replies of these tests arrive.
const NOW: i64 = 1_800_000_000;

/// Rules that no built-in provider has: each format, each unit of time, each sort of test.
const ODD: &[&str] = &[
    "format = \"form\"\naccess_token = [\"/t\"]\nlifetime = \"unlimited\"",
    "format = \"text\"\nlifetime = \"1h\"",
    "access_token = { header = \"X\" }\nexpires = [{ at = \"/e\", as = \"auto\", zero = \"never\" }]",
    "success = [{ at = \"/a\\u001b/b\", present = true }, { at = \"/c\", not-in = [0, \"x\", true, 1.5] }, { status = [200] }]",
    "access_token = [\"\", \"/0\", \"/access_token\"]\nexpires = [{ at = \"/d\\u001b\", as = \"date\" }, { at = \"/m\", as = \"minutes\" }]\nrefresh_expires = [{ at = \"/e\", as = \"epoch-millis\", zero = \"unknown\" }, { at = \"/s\", as = \"milliseconds\" }]\nextra = { all = \"\" }",
];

/// The rules and death tests of every grant of the built-in providers, and of the odd ones.
fn rules() -> &'static Vec<(tok::testing::provider::Rules, Vec<tok::testing::provider::Test>)> {
    static RULES: OnceLock<Vec<(tok::testing::provider::Rules, Vec<tok::testing::provider::Test>)>> = OnceLock::new();
    RULES.get_or_init(|| {
        let odd = ODD.iter().map(|rules| {
            format!(
                "[grants.a]\nurl = \"https://a.example\"\nbody = {{ r = \"{{refresh_token}}\" }}\n[response]\n{rules}\n\
                 [refresh]\ngrant = \"a\"\ndead = [{{ at = \"/a\", in = [1, \"x\"] }}, {{ status = [401] }}]"
            )
        });
        let files = built_in().map(|one| one.text.to_string()).chain(odd);
        let mut all = Vec::new();
        for provider in files.map(|text| Provider::parse("p", "p.toml", &text).unwrap_or_else(|e| panic!("{e}"))) {
            let dead = provider.refresh.as_ref().map_or(Vec::new(), |r| r.dead.clone());
            all.extend(provider.grants.iter().map(|grant| (grant.response.as_ref().clone(), dead.clone())));
        }
        all
    })
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// The first line and the rest.
fn line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// Nothing in `text` can do more on a terminal than show itself.
fn assert_safe(text: &str) {
    assert!(!text.contains(tok::testing::base::text::is_unsafe), "unsafe text: {text:?}");
}

/// A mistake in a file of the user: its kind and place, and nothing that moves a cursor.
fn assert_config_error(error: &Error) {
    assert_eq!(error.kind, Kind::Config);
    assert_safe(&error.what);
    assert_safe(&error.why);
    assert_safe(error.hint.as_deref().unwrap_or(""));
}

/// `RULES STATUS HEADER` (a letter, three digits, the value of three headers), then the body.
pub fn reply(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (head, body) = (String::from_utf8_lossy(&data[..at]), data.get(at + 1..).unwrap_or(&[]));
    let mut words = head.splitn(3, ' ');
    let rule = words.next().and_then(|w| w.bytes().next()).unwrap_or(0);
    let (rules, dead) = &rules()[usize::from(rule.wrapping_sub(b'a')) % rules().len()];
    let status = words.next().and_then(|w| w.parse().ok()).unwrap_or(200);
    let value = words.next().unwrap_or("");
    let headers = ["X", "Location", "Retry-After"].map(|name| (name.to_string(), value.to_string())).to_vec();
    let response = Response { status, headers, body: body.to_vec().into(), received: Time::from_secs(NOW) };
    match read(rules, dead, &response) {
        Ok(issued) => {
            assert!((200..300).contains(&status) && is_token(issued.access_token.expose()));
            assert!(issued.refresh_token.is_none_or(|t| !t.expose().is_empty()));
            assert!(issued.expires.at().is_none_or(|at| at <= tok::testing::base::date::LAST));
            for note in &issued.notes {
                let (Note::Warning(text) | Note::Detail(text)) = note;
                assert_safe(text);
            }
        }
        Err(failure) => {
            assert!(matches!(failure.kind, Kind::Refused | Kind::Unavailable | Kind::Reply));
            assert!(!failure.dead || failure.kind == Kind::Refused, "only a refusal kills");
            assert_safe(&failure.why);
            assert!(failure.why.len() < 20_000);
        }
    }
}

/// `RULES STATUS CHALLENGE`, then the body of a refusal, whole or damaged: it is safe to show and to act on, whatever
/// kind of reply it is, and where the body is whole nothing is read that does not stand in it.
pub fn refusal(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (head, body) = (String::from_utf8_lossy(&data[..at]), data.get(at + 1..).unwrap_or(&[]));
    let mut words = head.splitn(3, ' ');
    let rule = words.next().and_then(|w| w.bytes().next()).unwrap_or(0);
    let (rules, dead) = &rules()[usize::from(rule.wrapping_sub(b'a')) % rules().len()];
    let status = words.next().and_then(|w| w.parse().ok()).filter(|status| *status >= 400).unwrap_or(400);
    let headers = vec![("WWW-Authenticate".to_string(), words.next().unwrap_or("").to_string())];
    let response = |body: &[u8]| Response {
        status,
        headers: headers.clone(),
        body: body.to_vec().into(),
        received: Time::from_secs(NOW),
    };
    let failure = read(rules, dead, &response(body)).expect_err("no token beside such a status");
    assert!(matches!(failure.kind, Kind::Refused | Kind::Unavailable));
    assert!(!failure.dead || failure.kind == Kind::Refused, "only a refusal kills");
    assert_safe(&failure.why);
    assert!(failure.why.chars().count() < 8_000);
    // A refusal is a refusal, whatever was asked for.
    let other = object(rules, &response(body)).expect_err("no object either");
    assert_eq!((other.kind, &other.why, &other.code), (failure.kind, &failure.why, &failure.code));
    // What is whole is read as it stands: a mark or spaces around it change nothing.
    if serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).is_ok() {
        let around = [b" \r\n", body, b" \n"].concat();
        let again = read(rules, dead, &response(&around)).expect_err("a refusal");
        assert_eq!((again.why, again.code, again.dead), (failure.why, failure.code, failure.dead));
    }
}

/// A `WWW-Authenticate`: what is read of it is the same once more when it is written out.
pub fn challenge(data: &[u8]) {
    let Some(line) = text(data) else { return };
    let read = tok::testing::oauth::challenge::parse(line);
    let written: Vec<String> = read
        .iter()
        .map(|challenge| {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let all: Vec<_> = challenge.parameters.iter().map(|(n, v)| format!("{n}=\"{}\"", quote(v))).collect();
            format!("{} {}", challenge.scheme, all.join(", "))
        })
        .collect();
    assert_eq!(tok::testing::oauth::challenge::parse(&written.join(", ")), read, "{line}");
    for challenge in &read {
        for (name, _) in &challenge.parameters {
            assert!(is_token(name) && !name.bytes().any(|b| b.is_ascii_uppercase()));
        }
    }
}

/// What a person pasted where a login ended. Line breaks of a terminal change nothing, and an error repeats nothing of
/// it; what the listener would take is taken from the address bar too.
pub fn pasted(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let expected = |issuer_required| ExpectedRedirect {
        state: Secret::new("st-1"),
        issuer: Some("https://as.example".into()),
        issuer_required,
        path: "/callback".into(),
        rules: Default::default(),
    };
    let pasted = |text: &str| callback::pasted(text, &expected(false)).map_err(|error| (error.kind, error.why));
    let found = pasted(text);
    let wrapped: String = text.chars().flat_map(|c| [c, '\n']).collect();
    assert_eq!(pasted(&wrapped), found);
    match &found {
        Ok(Callback::Code(code, _)) => {
            assert!(code.expose().bytes().all(|b| (0x20..=0x7e).contains(&b)));
            let strict = callback::pasted(text, &expected(true)).expect("the same login");
            assert!(strict == Callback::Code(code.clone(), Vec::new()) || strict == Callback::MixUp { issuer: None });
        }
        Ok(Callback::Denied { .. } | Callback::MixUp { .. }) => {}
        Err((kind, why)) => assert!(*kind == Kind::Usage && !why.contains("hunter2")),
    }
    if let Ok(callback) = &found {
        let shown = callback.clone().code().map_or_else(|error| error.why, |_| String::new());
        assert_safe(&shown);
    }
    let listened = callback::read(text, &expected(false));
    if !text.contains(|c: char| c.is_whitespace() || "\"'<>#".contains(c))
        && let Ok(callback) = listened
    {
        assert_eq!(found.expect("what the listener takes"), callback);
    }
}

/// A provider file. What is taken has only names that exist, and makes requests that are whole.
pub fn provider_file(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let provider = match Provider::parse("p", "p.toml", text) {
        Ok(provider) => provider,
        Err(error) => return assert_config_error(&error),
    };
    assert!(!provider.grants.is_empty());
    let known = |name: &str| provider.param(name).is_some() || matches!(name, "refresh_token" | "access_token");
    assert!(provider.usage.value.names().all(|(name, _)| known(name)));
    if let Some(refresh) = &provider.refresh {
        assert!(provider.refresh_grant().is_some());
        assert!(refresh.fallback.as_ref().is_none_or(|name| provider.grant(name).is_some()));
    }
    for grant in &provider.grants {
        let uses = provider.uses(grant);
        assert!(uses.keys().all(|name| known(name)), "{uses:?}");
        let mut values = Values::new();
        for name in uses.keys().filter(|name| provider.param(name).is_none_or(|p| p.default.is_none())) {
            let url = provider.param(name).is_some_and(|p| p.url);
            let value = if url { "https://host.example/x" } else { "a-1" };
            values.insert(name.clone(), Zeroizing::new(value.into()));
        }
        if defaults(&provider, &mut values, &|_| false).is_ok()
            && let Ok(request) = built(&provider, &grant.call, &values)
        {
            assert_request(&request);
        }
    }
}

/// A request goes to one place, and no header of it begins another.
fn assert_request(request: &Request) {
    assert!(Url::parse(&request.url).is_ok() && !request.url.contains('#'), "{}", *request.url);
    for (name, value) in &request.headers {
        assert!(is_token(name) && !value.contains(['\r', '\n', '\0']), "{name}: {}", **value);
    }
}

/// `PROFILE VALUE`, then a config. An edit of a good config is a good config with the values in it, and the same
/// edit again changes nothing.
pub fn config(data: &[u8]) {
    let Some((head, text)) = text(data).map(line) else { return };
    let path = Path::new("config.toml");
    let parse = |text: &str| Config::parse(path, text, Some(Path::new("/home/u")));
    let before = match parse(text) {
        Ok(config) => config,
        Err(error) => return assert_config_error(&error),
    };
    let (name, wish) = head.split_once(' ').unwrap_or(("a", head));
    if !tok::testing::base::name::is_name(name) || wish.is_empty() {
        return;
    }
    let edit = Edit {
        provider: "p".into(),
        grant: Some("g".into()),
        store: Some(StoreChoice::File),
        hosts: vec!["https://api.example.com".into(), "git.example.com:8443".into()],
        values: vec![
            ("region".into(), PlainValue::Text(wish.into())),
            ("scope".into(), PlainValue::List(wish.split(' ').map(str::to_string).collect())),
        ],
    };
    let Some(new) = tok::testing::profile::config::edit(path, text, name, &edit).unwrap_or_else(|e| panic!("{e}"))
    else {
        return;
    };
    let after = parse(&new).unwrap_or_else(|e| panic!("{e}\n{new}"));
    let profile = &after.profiles[name];
    assert_eq!((profile.provider.as_deref(), profile.grant.as_deref()), (Some("p"), Some("g")));
    assert_eq!(profile.settings.store, Some(StoreChoice::File));
    for host in ["https://api.example.com", "https://git.example.com:8443"] {
        assert!(profile.answers_for(host), "{new}");
    }
    assert!(matches!(&profile.values["region"].0, ConfigValue::Text(text) if text.expose() == wish), "{new}");
    let scopes: Vec<&str> = wish.split(' ').collect();
    assert!(matches!(&profile.values["scope"].0, ConfigValue::List(list) if *list == scopes), "{new}");
    let names = |config: &Config| config.profiles.keys().cloned().collect::<BTreeSet<_>>();
    assert!(names(&after).is_superset(&names(&before)), "a profile was lost: {new}");
    assert_eq!(after.settings.store, before.settings.store);
    let again = tok::testing::profile::config::edit(path, &new, name, &edit).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again, None, "the second edit changes {new}");
}

/// A head on the first line, a cached token after it: what the short path prints is one line, and the same token
/// that the full path finds.
pub fn cache(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (head, token) = (&data[..at], data.get(at + 1..).unwrap_or(&[]));
    let full = Token::parse(token);
    if let Some(cached) = &full {
        assert!(is_token(cached.access_token.expose()));
        let again = Token::parse(&cached.text()).expect("what was written is read");
        assert_eq!((again.received, again.expires), (cached.received, cached.expires));
        assert_eq!((again.header, again.identity), (cached.header.clone(), cached.identity.clone()));
        assert!(again.access_token == cached.access_token && again.scope == cached.scope);
    }
    let Ok(head) = serde_json::from_slice::<CachedHead<'_>>(head) else { return };
    for stamp in &head.stamps {
        stamp.is_too_young(head.started);
    }
    for header in [false, true] {
        let mut token = token.to_vec();
        let Some(line) = tok::testing::fast_path::line(&head, &mut token, header, NOW * 1_000_000_000) else {
            continue;
        };
        let (last, body) = token[line].split_last().expect("a line");
        assert!(*last == b'\n' && !body.iter().any(|b| matches!(b, b'\n' | b'\r' | 0)), "{:?}", text(body));
        let Some(full) = &full else { continue };
        if header && !full.more_headers.is_empty() {
            // Only what we write ourselves has them where they are looked for.
            assert!(data.get(at + 1..) != Some(full.text().as_slice()), "one line of several");
            continue;
        }
        let line = match header {
            false => full.access_token.expose().to_string(),
            true => format!("{}: {}", full.header.0, full.header.1.expose()),
        };
        assert_eq!(text(body), Some(line.as_str()));
    }
}

/// An entry of the store: read, written and read again it is the same, and a foreign one is not shown.
pub fn kept(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let credentials = match Credentials::parse(&Secret::new(text)) {
        Ok(credentials) => credentials,
        Err(error) => {
            assert_eq!(error.kind, Kind::Store);
            assert!(!format!("{error:?}").contains("hunter2"));
            return;
        }
    };
    let again = Credentials::parse(&credentials.write()).expect("what was written is read");
    assert_eq!(again.secrets, credentials.secrets);
    assert_eq!(again.secrets_for, credentials.secrets_for);
    assert_eq!(again.session.is_some(), credentials.session.is_some());
    if let (Some(a), Some(b)) = (again.session, credentials.session) {
        assert!(a.refresh_token == b.refresh_token && a.since == b.since && a.identity == b.identity);
        assert!(!a.refresh_token.expose().is_empty());
    }
}

/// A token, and the same bytes as the claims of one: read as JSON or not at all, and an `exp` in them only shortens.
pub fn jwt(data: &[u8]) {
    if let Some(token) = text(data)
        && tok::testing::base::jose::jwt::claims(token).is_some()
    {
        assert_eq!(token.split('.').count(), 3);
    }
    let token = format!("e30.{}.x", URL_SAFE_NO_PAD.encode(data));
    let claims: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(data).ok();
    assert_eq!(tok::testing::base::jose::jwt::claims(&token), claims);
    let body = format!("{{\"access_token\":\"{token}\",\"expires_in\":3600}}");
    let response =
        Response { status: 200, headers: vec![], body: body.into_bytes().into(), received: Time::from_secs(NOW) };
    let file = "[grants.a]\nurl = \"https://a.example\"";
    let provider = Provider::parse("p", "p.toml", file).expect("a provider");
    if let Ok(issued) = read(&provider.grants[0].response, &[], &response) {
        assert!(issued.expires.at().is_some_and(|at| at > NOW && at <= NOW + 3600), "{:?}", issued.expires);
        for note in &issued.notes {
            let (Note::Warning(text) | Note::Detail(text)) = note;
            assert_safe(text);
        }
    }
}

/// A key, a set of keys, a signed JWT: a key that is read signs what its public half accepts, and nothing is accepted
/// that was not signed.
pub fn jose(data: &[u8]) {
    static OWN: OnceLock<(Jwks, Secret)> = OnceLock::new();
    let set = |key: &Key| {
        let public = key.public_jwk()?;
        Jwks::parse(serde_json::json!({ "keys": [public] }).to_string().as_bytes()).ok()
    };
    let (own, token) = OWN.get_or_init(|| {
        let (key, _) = Key::generate().expect("a key");
        let token = key.sign(key.algorithms()[0], &Default::default(), &Default::default()).expect("a token");
        (set(&key).expect("a set"), token)
    });
    let Some(text) = text(data) else { return };
    assert!(verify(text, own).is_err());
    if let Ok(set) = Jwks::parse(data) {
        assert!(verify(token.expose(), &set).is_err());
    }
    let _ = tok::testing::base::jose::certificate_thumbprint(text);
    let Ok(key) = Key::parse(&Secret::new(text)) else { return };
    let Some(set) = set(&key) else { return };
    assert!(key.fingerprint().is_some());
    // A private half that is damaged is found out when it signs: then there is no signature, and never a wrong one.
    match key.sign(key.algorithms()[0], &Default::default(), &Default::default()) {
        Ok(signed) => assert!(verify(signed.expose(), &set).is_ok()),
        Err(why) => assert_safe(&why),
    }
}

/// A duration: what is shown of it is one, and rounded down by less than its second unit.
pub fn duration(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match tok::testing::base::duration::parse(text) {
        Err(why) => assert_safe(&why),
        Ok(seconds) => {
            assert!(seconds >= 0);
            let shown = tok::testing::base::duration::show(seconds);
            let again = tok::testing::base::duration::parse(&shown).expect("what is shown is a duration");
            assert!(again <= seconds && seconds - again < 3600, "{seconds} is shown as {shown}");
            assert_eq!(tok::testing::base::duration::show(again), shown);
        }
    }
}

/// A value on the first line, a template after it: the value stands in it as it is, whatever braces it has.
pub fn template(data: &[u8]) {
    const MARK: &str = "\u{e000}";
    let Some((value, text)) = text(data).map(line) else { return };
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(why) => return assert_safe(&why),
    };
    assert!(template.names().all(|(name, _)| tok::testing::base::name::is_value_name(name)));
    assert_eq!(Template::parse(&template.to_string()).as_ref(), Ok(&template));
    let filled = template.fill(|_| Some(value)).expect("no value is missing");
    // What a function makes of a mark is not the mark.
    let is_made = template.0.iter().any(|piece| matches!(piece, Piece::Made { .. }));
    if !is_made && !text.contains(MARK) {
        let marked = template.fill(|_| Some(MARK)).expect("no value is missing");
        // A place may name two values, of which the first that is there stands in it.
        let places = template.0.iter().filter(|piece| matches!(piece, Piece::Value { .. })).count();
        assert_eq!(marked.matches(MARK).count(), places);
        assert_eq!(filled, marked.replace(MARK, value));
    }
    if template.names().next().is_some() {
        template.fill(|_| None).expect_err("a value is missing");
    }
}

/// A `Retry-After`, a date. What is shown of a date is that date.
pub fn retry_after(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for now in [Time::from_secs(NOW), Time(i64::MIN), Time(i64::MAX)] {
        let _ = tok::testing::system::http::retry::retry_after(text, now);
    }
    if let Some(at) = tok::testing::base::date::parse(text) {
        assert!(at <= tok::testing::base::date::LAST);
        if at >= 0 {
            assert_eq!(tok::testing::base::date::parse(&tok::testing::base::date::show(at)), Some(at));
        }
    }
}

/// A host, a `NO_PROXY` and a proxy, a line each. An error does not repeat what stands in the variable.
pub fn proxy(data: &[u8]) {
    let Some((host, rest)) = text(data).map(line) else { return };
    let (list, proxy) = line(rest);
    let listed = tok::testing::system::http::proxy::is_listed(list, host);
    assert!(!listed || !list.trim().is_empty());
    let chosen = |list: &str, proxy: &str| {
        let set: BTreeMap<&str, OsString> = [("https_proxy", proxy.into()), ("no_proxy", list.into())].into();
        tok::testing::system::http::proxy::Variables::from_env(|name| set.get(name).cloned()).proxy_for("https", host)
    };
    if listed {
        assert!(matches!(chosen(list, proxy), Ok(None)));
    }
    match chosen("", proxy) {
        Ok(None) => assert!(proxy.is_empty()),
        Ok(Some(found)) => {
            assert!(found.port != 0 && !found.host.is_empty());
            assert_safe(&found.shown());
            let again = chosen("", &found.shown()).ok().flatten().expect("what is shown is a proxy");
            assert_eq!((again.scheme, &again.host, again.port), (found.scheme, &found.host, found.port));
        }
        Err(error) => assert!(!format!("{error:?}").contains("hunter2")),
    }
}

/// A URL. What passes goes to one origin, by https or to this machine.
pub fn url(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => {
            assert_safe(&why);
            assert!(tok::testing::base::url::base(text).is_err());
            return;
        }
    };
    assert!(url.scheme == "https" || (url.scheme == "http" && url.is_loopback()));
    assert!(is_token(text) && !text.contains('\\'));
    let authority = &text[url.scheme.len() + 3..text.len() - url.rest.len()];
    assert!(!authority.contains('@') && authority.starts_with(url.host));
    let origin = url.origin();
    let again = Url::parse(&origin).expect("an origin is a URL");
    assert_eq!((again.origin(), again.rest), (origin.clone(), ""));
    if let Ok(base) = tok::testing::base::url::base(text) {
        assert!(!base.contains(['?', '#']));
        let below = format!("{base}/t");
        assert_eq!(Url::parse(&below).map(|u| u.origin()), Ok(origin));
    }
}

/// Two values: what a server decodes from a form, a query, JSON and Basic is what went in.
pub fn encode(data: &[u8]) {
    let Some((a, b)) = text(data).map(line) else { return };
    static PROVIDERS: OnceLock<Vec<Provider>> = OnceLock::new();
    let providers = PROVIDERS.get_or_init(|| {
        let of = |encode: &str, auth: &str| {
            let file = format!(
                "[params.client_id]\n[params.client_secret]\nsecret = true\n[grants.g]\nurl = \"https://a.example/t\"\n\
                 encode = \"{encode}\"\nauth = \"{auth}\"\nbody = {{ a = \"{{client_id}}\", \"k &=\" = \"{{client_secret}}\" }}"
            );
            Provider::parse("p", "p.toml", &file).expect("a provider")
        };
        vec![of("form", "basic"), of("query", "none"), of("json", "basic-raw")]
    });
    let values: Values =
        [("client_id", a), ("client_secret", b)].map(|(n, v)| (n.to_string(), Zeroizing::new(v.to_string()))).into();
    let want = vec![("a".to_string(), a.to_string()), ("k &=".to_string(), b.to_string())];
    for provider in providers {
        let Ok(request) = built(provider, &provider.grants[0].call, &values) else {
            assert!(a.contains(':'), "only raw Basic refuses, and only a colon");
            continue;
        };
        assert_request(&request);
        if let Some((_, query)) = request.url.split_once('?') {
            assert_eq!(decoded(query), want);
        }
        let header = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_string());
        let body = request.body.as_ref().map(|b| String::from_utf8(b.to_vec()).expect("text")).unwrap_or_default();
        match header("Content-Type").as_deref() {
            Some("application/json") => {
                let sent: BTreeMap<String, String> = serde_json::from_str(&body).expect("JSON");
                assert_eq!(sent.into_iter().collect::<Vec<_>>(), want);
            }
            Some(_) => assert_eq!(decoded(&body), want),
            None => assert!(body.is_empty()),
        }
        if let Some(basic) = header("Authorization") {
            let pair = STANDARD.decode(basic.strip_prefix("Basic ").expect("Basic")).expect("base64");
            let pair = String::from_utf8(pair).expect("text");
            let (id, secret) = pair.split_once(':').expect("two parts");
            let raw = provider.grants[0].call.auth == tok::testing::provider::Auth::BasicRaw;
            let plain = |part: &str| if raw { part.to_string() } else { unescape(part) };
            assert_eq!((plain(id), plain(secret)), (a.to_string(), b.to_string()));
        }
    }
}

/// A form as a server reads it (WHATWG URL §5.1).
fn decoded(form: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| pair.split_once('=').map(|(n, v)| (n.to_string(), v.to_string())).expect("a pair");
    let plain = |text: String| unescape(&text.replace('+', " "));
    form.split('&').map(pair).map(|(n, v)| (plain(n), plain(v))).collect()
}

fn unescape(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned()
}

/// A store in memory.
#[derive(Debug, Default)]
struct Memory(BTreeMap<String, Secret>);

impl Store for Memory {
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
        Ok(self.0.get(profile).cloned())
    }
    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError> {
        self.0.insert(profile.into(), entry.clone());
        Ok(())
    }
    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        Ok(self.0.remove(profile).is_some())
    }
}

/// A limit in the first byte, what stands in the store on the first line, an entry after it: the entry comes back,
/// in parts that fit, and leaves nothing when it is forgotten.
pub fn split(data: &[u8]) {
    let Some((limit, rest)) = data.split_first() else { return };
    let Some((old, new)) = text(rest).map(line) else { return };
    let limit = usize::from(*limit).max(4);
    let mut memory = Memory::default();
    memory.0.insert("p".into(), Secret::new(old));
    let mut store = Split::new(memory, Some(limit));
    // It may look like a head without its parts.
    let _ = store.get("p");
    let entry = Secret::new(new);
    store.set("p", &entry).expect("memory takes all");
    assert!(store.get("p").expect("memory gives all") == Some(entry));
    for (name, part) in &store.inner().0 {
        assert!(name == "p" || (part.expose().len() <= limit && !part.expose().is_empty()));
    }
    assert!(store.forget("p").expect("memory forgets all"));
    assert!(store.inner().0.is_empty());
}

/// A journal with any bytes is none. The same bytes as a reply, status and header lines first, an empty line, then the
/// body, are sealed and come back as they were, for whoever has the key and the session; what is read of them then may be
/// anything but a panic.
pub fn journal(data: &[u8]) {
    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    assert!(open(KEY, "bound", data).is_none(), "nobody has sealed it");
    let Some((status, rest)) = data.split_first_chunk::<2>() else { return };
    let end = rest.windows(2).position(|w| w == b"\n\n").map_or(rest.len(), |at| at + 1);
    let (lines, body) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let head = http::Head { status: u16::from_be_bytes(*status) % 1000, lines: Zeroizing::new(lines.to_vec()) };
    let mut sealer = Sealer::new(KEY, "bound".into(), Secret::new("context")).expect("a key");
    let mut sealed = sealer.seal(Time::from_secs(NOW), &head, body).expect("it is not too long").to_vec();
    let back = open(KEY, "bound", &sealed).expect("what was sealed");
    assert_eq!((back.received, back.head.status), (Time::from_secs(NOW), head.status));
    assert!(back.head.lines.as_slice() == lines && back.body.as_slice() == body && back.context.expose() == "context");
    if let Ok(response) = http::response(&back.head, &back.body, back.received) {
        for (rules, dead) in rules() {
            let _ = read(rules, dead, &response);
        }
    }
    assert!(open(KEY, "another", &sealed).is_none());
    assert!(open(KEY, "bound", &sealed[..sealed.len() - 1]).is_none());
    let at = usize::from(status[0]) * 256 + usize::from(status[1]);
    let at = at % sealed.len();
    sealed[at] ^= 0x80;
    assert!(open(KEY, "bound", &sealed).is_none(), "bent at {at}");
}

/// The request of `call`, with what client authentication adds.
fn built(provider: &Provider, call: &Call, values: &Values) -> Result<Request, Unready> {
    let moment = Moment { now: 1_000, id: "1".into() };
    let added = client_auth::add_to(call, call.auth, values, "https://host.example/token", &moment)?;
    build(provider, call, values, Repeat::Freely, added)
}
