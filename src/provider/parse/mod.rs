//! A provider file, from TOML to types. It is read to its end whatever is wrong with it, so that all of that can be told.

mod assertion;
mod call;
mod limits;
mod login;
mod params;
mod response;
mod shapes;

use self::assertion::assertion;
use self::call::{call, call_keys, header_name, header_text, headers, object, scalar, sent_header_name, templates};
use self::login::{device, redirect, steps};
use self::params::params;
use self::response::{duration, rules_of, tests};
use self::shapes::SHAPES;
use super::{
    AUTHS, About, Assertion, Auth, BodyFormat, Call, ClientRequirement, Condition, DayOrder, Device, Discover, Encode,
    Expiry, Field, Find, Flow, Grant, Inside, Kept, Lifetime, Param, Pkce, Provider, Redirect, RedirectUris, Refresh,
    Rules, Shape, State, Step, Template, Test, Unit, Use, Zero, check,
};
use crate::base::error::{Error, Result};
use crate::base::jose::Algorithm;
use crate::base::name::{CONFIG_KEYS, is_name, is_value_name};
use crate::base::text::escape;
use crate::base::toml::{Document, Table, TomlValue, unknown};
use crate::provider::Method;
use std::sync::Arc;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// Whether a provider file is checked as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is.
    Whole,
    /// It was, when this program was built.
    Built,
}

/// Reads a whole provider file: what it says, as far as it can be understood, and all that is wrong with it.
pub fn read(name: &str, file: &str, text: &str, check: Check) -> (Provider, Vec<Error>) {
    let doc = Document::new(file, text).with_shapes(SHAPES);
    let parsed = doc.parse_all();
    // What follows a mistake in the syntax may be read as something else than was meant.
    let syntax = doc.findings();
    let provider = whole(name, &doc, parsed.get_ref(), check);
    let findings = if syntax.is_empty() { doc.findings() } else { syntax };
    (provider, findings)
}

/// What the author of the file that `provider` was read from should look at, though nothing is wrong with it.
pub fn advice(provider: &Provider, file: &str, text: &str) -> Vec<Error> {
    let doc = Document::new(file, text);
    let parsed = doc.parse_all();
    check::advice(&doc, &doc.table(parsed.get_ref(), 0..0), provider);
    doc.findings()
}

/// [`read`] of a file that is to be right.
///
/// # Errors
/// The first of what is wrong.
pub fn provider(name: &str, file: &str, text: &str, check: Check) -> Result<Provider> {
    let (provider, findings) = read(name, file, text, check);
    let count = findings.len();
    match findings.into_iter().next() {
        None => Ok(provider),
        Some(first) if count == 1 => Err(first),
        Some(first) => {
            let quoted = shlex::try_quote(file).unwrap_or(file.into());
            Err(first.hint(format!("list all {count} mistakes: tok providers --check {quoted}")))
        }
    }
}

fn whole(name: &str, doc: &Document, table: &DeTable, check: Check) -> Provider {
    let root = doc.table(table, 0..0);
    if RESERVED.contains(&name) {
        root.note(format!("`{name}` cannot name a provider: it is a command"));
    }
    let base = root.read("like", None, |v| like(v).map(Some));
    let base = base.as_ref();
    let same = |of: fn(&Provider) -> &Option<Call>| base.and_then(|b| of(b).clone());
    let text = |v: TomlValue| v.text().map(str::to_string);
    let from = base.map_or((Discover::Nothing, None), |b| (b.discover, b.metadata_path.clone()));
    let (discover, metadata_path) = root.read("discover", from, discover);
    let mut provider = Provider {
        name: name.into(),
        title: root.read("title", name.to_string(), text),
        docs: root.read("docs", None, |v| page(v).map(Some)),
        about: about(&root, base),
        featured: root.read("featured", None, |v| match v.integer()? {
            0.. => v.integer().map(Some),
            _ => Err(v.error("expected a number from 0 on")),
        }),
        params: params(root.read("params", None, |v| v.table().map(Some)).as_ref(), base),
        grants: Vec::new(),
        refresh: base.and_then(|b| b.refresh.clone()),
        revoke: same(|b| &b.revoke),
        introspect: same(|b| &b.introspect),
        userinfo: same(|b| &b.userinfo),
        discover,
        metadata_path,
        usage: base.map_or_else(usual_use, |b| b.usage.clone()),
        limits: root.get("limits").map_or_else(|| base.map(|b| b.limits.clone()).unwrap_or_default(), limits::limits),
        sites: root.read("sites", base.map(|b| b.sites.clone()).unwrap_or_default(), login::sites),
        // The provider it is like determines a token as much as the file itself.
        digest: crate::base::digest::hex(&[doc.text.as_bytes(), base.map_or("", |b| &b.digest).as_bytes()]),
    };
    if let Some(takes) = provider.about.redirect {
        let has_default = |param: &Param| {
            let own = root.look("params")?.table().ok()?.look(&param.name)?;
            own.table().ok()?.look("default").map(drop)
        };
        for param in provider.params.iter_mut().filter(|param| has_default(param).is_none()) {
            param.default = takes.default_of(param).or(param.default.take());
        }
    }
    let shared = root.read("request", None, |v| v.table().map(Some));
    let rules = root.read("response", None, |v| v.table().map(Some));
    // Checked first: a mistyped key there must not be reported as missing in each grant.
    if let Some(shared) = &shared {
        call_keys(shared);
        shared.finish();
    }
    let shared = Shared {
        call: shared.as_ref(),
        reply: rules.as_ref(),
        rules: response::rules(rules.as_ref(), None, None).into(),
    };
    rules.iter().for_each(Table::finish);
    if let Some(table) = root.read("refresh", None, |v| v.table().map(Some)) {
        let before = provider.refresh.take();
        provider.refresh = refresh(&table).map(|new| Refresh {
            renews_itself: before.as_ref().is_some_and(|old| old.renews_itself && old.grant == new.grant),
            ..new
        });
        provider.refresh = provider.refresh.or(before);
    }
    let is_named = root.look("grants").is_some();
    let named = root.read("grants", None, |v| v.table().map(Some));
    for (grant, at, value) in named.iter().flat_map(Table::all) {
        if !is_name(&grant) || Flow::SHORT_NAMES.contains(&grant.as_str()) {
            doc.note(doc.error(at, invalid_grant(&grant)));
            continue;
        }
        let Some(own) = doc.keep(value.table()) else { continue };
        let same = base.and_then(|b| b.grant(&grant));
        // Neither known there nor complete itself: it is mistyped.
        let is_whole = own.get("url").is_some() || shared.call.is_some_and(|t| t.get("url").is_some());
        if let (Some(base), None, false) = (base, same, is_whole) {
            doc.note(unknown(doc, at, "grant", &grant, base.grants.iter().map(|g| g.name.as_str())));
            continue;
        }
        provider.grants.push(self::grant(grant, &own, &shared, same));
        own.finish();
    }
    match base {
        Some(base) if !is_named => {
            provider.grants = base.grants.iter().map(|grant| inherited(grant, &shared, &root)).collect();
        }
        // A file that names some grants of another offers those; a session that they begin can still be refreshed,
        // unless none of their replies has a refresh token.
        _ => {
            if named.is_some() && provider.grants.iter().all(|grant| grant.response.refresh_token.is_empty()) {
                provider.refresh = None;
            }
            if let Some(refresh) = provider.refresh.as_ref().map(|r| r.grant.clone())
                && provider.grant(&refresh).is_none()
                && let Some(same) = base.and_then(|b| b.grant(&refresh))
            {
                provider.grants.push(inherited(same, &shared, &root));
            }
        }
    }
    if provider.grants.is_empty() && (!is_named || named.is_some_and(|table| table.all().is_empty())) {
        let at = root.look("grants").map_or(0..0, |value| value.span());
        doc.note(doc.error(at, "a provider needs at least one grant: [grants.NAME]"));
    }
    rest(doc, &root, &mut provider, check);
    provider
}

/// Names of providers that would be taken for something else.
const RESERVED: &[&str] = &["help", "new"];

/// Why a grant cannot have that name.
fn invalid_grant(name: &str) -> String {
    let long = match name {
        "browser" => "authorization-code",
        "device" => "device-code",
        _ => {
            return format!("invalid grant name `{}`: use lower-case letters, digits and `-`", escape(name));
        }
    };
    format!("`{name}` cannot name a grant: it is short for `{long}` at `tok login`")
}

/// What all grants of a file share.
struct Shared<'a, 'd, 't> {
    /// `[request]`
    call: Option<&'a Table<'d, 't>>,
    /// `[response]`
    reply: Option<&'a Table<'d, 't>>,
    /// The rules of a grant without its own: by that table, else by RFC 6749.
    rules: Arc<Rules>,
}

/// The tables besides the grants, and the check of the whole file.
fn rest(doc: &Document, root: &Table, provider: &mut Provider, check: Check) {
    for (key, place) in [
        ("revoke", &mut provider.revoke),
        ("introspect", &mut provider.introspect),
        ("userinfo", &mut provider.userinfo),
    ] {
        if let Some(table) = root.read(key, None, |v| v.table().map(Some)) {
            *place = Some(call(Some(&table), None, &table, place.as_ref()));
            table.finish();
        }
    }
    if let Some(table) = root.read("use", None, |v| v.table().map(Some)) {
        provider.usage = usage(&table, provider.usage.clone());
    }
    root.finish();
    provider.let_tokens_renew_themselves();
    check::mark_urls(provider);
    if check == Check::Whole {
        check::provider(doc, root, provider);
    }
}

/// The address of a page for a person, who opens it.
fn page(value: TomlValue) -> Result<String> {
    let text = value.text()?;
    let is_safe = |c: char| !c.is_control() && !c.is_whitespace();
    match text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_safe)) {
        true => Ok(text.into()),
        false => Err(value.error("expected an address that begins with https://")),
    }
}

/// What is known of it besides. A file that is like another is another's work, and is about a server that takes the same.
fn about(root: &Table, base: Option<&Provider>) -> About {
    let text = |key: &'static str| root.read(key, None, |v| v.text().map(|text| Some(text.to_string())));
    let one_of = |key: &'static str, all: &[&'static str]| {
        let all: Vec<_> = all.iter().map(|word| (*word, Some(*word))).collect();
        root.read(key, None, |v| v.choice(&all))
    };
    About {
        kind: one_of("kind", About::KINDS),
        verified: one_of("verified", About::VERIFIED),
        verified_on: text("verified_on"),
        register: root.read("register", None, |v| page(v).map(Some)),
        redirect: root.read("redirect", base.and_then(|b| b.about.redirect), |v| v.choice(RedirectUris::ALL)),
    }
}

fn usual_use() -> Use {
    Use {
        header: "Authorization".into(),
        value: Template::parse("Bearer {access_token}").unwrap_or(Template(Vec::new())),
        headers: Vec::new(),
        query: Vec::new(),
        hosts: None,
        username: None,
    }
}

/// The built-in provider that a file is like: the file starts from it.
fn like(value: TomlValue) -> Result<Provider> {
    let name = value.text()?;
    match Provider::built_in(name) {
        Some(provider) => provider,
        None => {
            let names = super::built_in().map(|built_in| built_in.name);
            let near =
                crate::base::text::nearest(name, names).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            Err(value.error(format!("unknown built-in provider `{}`{near}", escape(name))))
        }
    }
}

/// Where the endpoints come from: `true`, `false` or `"resource"`.
fn discover(value: TomlValue) -> Result<(Discover, Option<String>)> {
    match value.raw() {
        DeValue::Boolean(true) => Ok((Discover::Issuer, None)),
        DeValue::Boolean(false) => Ok((Discover::Nothing, None)),
        DeValue::String(text) if text == "resource" => Ok((Discover::Resource, None)),
        DeValue::String(text) if text.starts_with('/') && !text.contains(['?', '#', ' ']) => {
            Ok((Discover::Issuer, Some(text.to_string())))
        }
        _ => Err(value
            .error("expected true (from the issuer), a path behind the issuer, \"resource\" (from the API) or false")),
    }
}

/// A grant that the file does not name: as it is there, with the file's own [request] and [response].
fn inherited(grant: &Grant, shared: &Shared, at: &Table) -> Grant {
    Grant {
        call: call(None, shared.call, at, Some(&grant.call)),
        response: rules_of(None, shared, Some(&grant.response)),
        ..grant.clone()
    }
}

fn grant(name: String, own: &Table, shared: &Shared, base: Option<&Grant>) -> Grant {
    let table = |key: &'static str| own.read(key, None, |v| v.table().map(Some));
    let text = |key: &'static str| own.read(key, None, |v| v.text().map(|text| Some(text.to_string())));
    let flow = own.read("flow", base.map_or(Flow::Direct, |b| b.flow), |v| v.choice(&Flow::NAMES));
    let begin = match table("begin") {
        Some(table) => {
            let begin = call(Some(&table), None, &table, base.and_then(|b| b.begin.as_ref()));
            table.finish();
            Some(begin)
        }
        None => base.and_then(|b| b.begin.clone()),
    };
    if begin.is_none() && flow.needs_person() && own.look("begin").is_none() {
        own.note("missing [grants.NAME.begin]: this flow begins with a separate request");
    }
    let assertion = match table("assertion") {
        Some(table) => Some(assertion(&table, base.and_then(|b| b.assertion.as_ref()))),
        None => base.and_then(|b| b.assertion.clone()),
    };
    let reply = table("response");
    let pkce = own.read("pkce", None, |v| v.choice(Pkce::NAMES).map(Some));
    let mut grant = Grant {
        name,
        help: text("help").or(base.map(|b| b.help.clone())).unwrap_or_default(),
        flow,
        begin,
        device: device(table("device").as_ref(), flow, base.map(|b| &b.device)),
        steps: steps(own, shared, base),
        redirect: redirect(table("redirect").as_ref(), flow, base.map(|b| &b.redirect)),
        push: own.read("push", base.and_then(|b| b.push.clone()), |v| template(v).map(Some)),
        call: call(Some(own), shared.call, own, base.map(|b| &b.call)),
        response: rules_of(reply.as_ref(), shared, base.map(|b| &b.response)),
        assertion,
        pkce: pkce.or(base.map(|b| b.pkce)).unwrap_or(Pkce::S256),
        client: own.read("client", base.map_or(ClientRequirement::Named, |b| b.client), |v| {
            v.choice(&[
                ("optional", ClientRequirement::Optional),
                ("named", ClientRequirement::Named),
                ("confidential", ClientRequirement::Confidential),
            ])
        }),
        defaults: own.get("defaults").map_or_else(|| base.map(|b| b.defaults.clone()).unwrap_or_default(), templates),
        warning: text("warning").or(base.and_then(|b| b.warning.clone())),
    };
    reply.iter().for_each(Table::finish);
    if let Some(pkce) = pkce {
        if flow != Flow::AuthorizationCode {
            own.note("`pkce` is for the flow authorization-code");
        }
        [Some(&mut grant.call), grant.begin.as_mut()].into_iter().flatten().for_each(|call| pkce.put_into(call));
    }
    grant
}

fn template(value: TomlValue) -> Result<Template> {
    Template::parse(value.text()?).map_err(|why| value.error(why))
}

fn pointer(value: TomlValue) -> Result<String> {
    let text = value.text()?;
    let mut rest = text;
    while let Some(at) = rest.find('~') {
        rest = &rest[at + 1..];
        if !rest.starts_with(['0', '1']) {
            return Err(
                value.error("invalid JSON Pointer: write `~` as `~0`, and `/` inside a name as `~1` (RFC 6901)")
            );
        }
    }
    if !text.is_empty() && !text.starts_with('/') {
        // `$.a.b` is a JSONPath.
        let meant = text.trim_start_matches(['$', '.']).replace('.', "/");
        return Err(value.error(format!("invalid JSON Pointer; did you mean `/{}`? (RFC 6901)", escape(&meant))));
    }
    Ok(text.into())
}

fn pointers(value: TomlValue) -> Result<Vec<String>> {
    match value.raw() {
        DeValue::String(_) => Ok(vec![pointer(value)?]),
        _ => value.list()?.into_iter().map(pointer).collect(),
    }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}

fn refresh(table: &Table) -> Option<Refresh> {
    let text = |value: TomlValue| value.text().map(|text| Some(text.to_string()));
    let refresh = Refresh {
        grant: table.read("grant", None, text).unwrap_or_default(),
        renews_itself: false,
        early: table.read("early", None, |v| duration(v, v.text()?).map(Some)),
        dead: match table.get("dead") {
            Some(value) => tests(value),
            // RFC 6749 §5.2
            None => vec![Test::At("/error".into(), Condition::In(vec!["invalid_grant".into()]))],
        },
        fallback: table.read("fallback", None, text),
        grace: table.read("grace", Duration::ZERO, |v| {
            let seconds = crate::base::duration::parse(v.text()?).map_err(|why| v.error(why))?;
            Ok(Duration::from_secs(seconds.unsigned_abs()))
        }),
    };
    if table.look("grant").is_none() {
        table.note("missing `grant`: the one that uses {refresh_token} or {access_token}");
    }
    table.finish();
    (!refresh.grant.is_empty()).then_some(refresh)
}

/// A name for Basic authentication, which ends at a colon (RFC 7617 §2).
fn username(value: TomlValue) -> Result<String> {
    match value.text()? {
        text if text.is_empty() || text.contains(|c: char| c == ':' || c.is_control()) => {
            Err(value.error("expected a user name: without `:` or control characters"))
        }
        text => Ok(text.into()),
    }
}

/// A host of the API, or a value that is one.
fn host(value: TomlValue) -> Result<Template> {
    let host = template(value)?;
    if let Some(text) = host.literal() {
        crate::base::url::host_origin(text).map_err(|why| value.error(why))?;
    }
    Ok(host)
}

fn usage(table: &Table, default: Use) -> Use {
    let header = |value: TomlValue| {
        sent_header_name(value, value.text()?)?;
        Ok(value.text()?.to_string())
    };
    let text = |value: TomlValue| {
        let text = template(value)?;
        header_text(value, &text)?;
        Ok(text)
    };
    let query = table.get("query").map_or(default.query, templates);
    let is_in_query = query.iter().flat_map(|(_, text)| text.names()).any(|(name, _)| name == "access_token");
    // A token in the query needs no header, unless the file names one.
    let usual = if is_in_query { String::new() } else { default.header };
    let usage = Use {
        header: table.read("header", usual, header),
        value: table.read("value", default.value, text),
        headers: table.get("headers").map_or(default.headers, headers),
        query,
        hosts: table.read("hosts", default.hosts, |v| v.list()?.into_iter().map(host).collect::<Result<_>>().map(Some)),
        username: table.read("username", default.username, |v| username(v).map(Some)),
    };
    table.finish();
    usage
}
