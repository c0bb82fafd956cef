//! A provider file, from TOML to types.

mod call;
mod response;

use self::call::{call, call_keys, header_name, header_text, scalar, templates};
use self::response::{duration, rules_of, tests};
use super::{
    AUTHS, Assertion, Auth, BodyFormat, Call, ClientRequirement, Condition, Discover, Encode, Expiry, Field, Find,
    Flow, Grant, Inside, Lifetime, Param, Provider, Refresh, Rules, Template, Test, Unit, Use, Zero, check,
};
use crate::base::error::Result;
use crate::base::jose::Algorithm;
use crate::base::name::{CONFIG_KEYS, is_name, is_value_name};
use crate::base::text::escape;
use crate::base::toml::{Document, Table, TomlValue, unknown};
use crate::provider::Method;
use std::sync::Arc;
use toml::de::DeValue;

/// Whether a provider file is checked as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is.
    Whole,
    /// It was, when this program was built.
    Built,
}

/// Reads a whole provider file.
pub fn provider(name: &str, file: &str, text: &str, check: Check) -> Result<Provider> {
    let doc = Document::new(file, text);
    let parsed = doc.parse()?;
    let root = doc.table(parsed.get_ref(), 0..0);
    let base = root.get("like").map(like).transpose()?;
    let base = base.as_ref();
    let same = |of: fn(&Provider) -> &Option<Call>| base.and_then(|b| of(b).clone());
    let mut provider = Provider {
        name: name.into(),
        title: root.get("title").map_or(Ok(name), |v| v.text())?.into(),
        docs: root.get("docs").map(|v| v.text().map(str::to_string)).transpose()?,
        params: params(root.get("params").map(|v| v.table()).transpose()?.as_ref(), base)?,
        grants: Vec::new(),
        refresh: base.and_then(|b| b.refresh.clone()),
        revoke: same(|b| &b.revoke),
        introspect: same(|b| &b.introspect),
        userinfo: same(|b| &b.userinfo),
        discover: root.get("discover").map_or(Ok(base.map_or(Discover::Nothing, |b| b.discover)), discover)?,
        usage: base.map_or_else(usual_use, |b| b.usage.clone()),
        // The provider it is like determines a token as much as the file itself.
        digest: crate::base::digest::hex(&[text.as_bytes(), base.map_or("", |b| &b.digest).as_bytes()]),
    };
    let shared = root.get("request").map(|v| v.table()).transpose()?;
    let rules = root.get("response").map(|v| v.table()).transpose()?;
    // Checked first: a mistyped key there must not be reported as missing in each grant.
    if let Some(shared) = &shared {
        call_keys(shared);
        shared.done()?;
    }
    let shared = Shared {
        call: shared.as_ref(),
        reply: rules.as_ref(),
        rules: response::rules(rules.as_ref(), None, None)?.into(),
    };
    rules.as_ref().map_or(Ok(()), Table::done)?;
    if let Some(value) = root.get("refresh") {
        provider.refresh = Some(refresh(&value.table()?)?);
    }
    let Some(grants) = root.get("grants").map(|v| Ok((v, v.table()?))).transpose()? else {
        let Some(base) = base else {
            return Err(root.error("a provider needs at least one grant: [grants.NAME]"));
        };
        for grant in &base.grants {
            provider.grants.push(inherited(grant, &shared, &root)?);
        }
        return rest(&doc, &root, provider, check);
    };
    for (grant, at, value) in grants.1.all() {
        if !is_name(&grant) {
            return Err(doc.error(
                at,
                format!("invalid grant name `{}`: use lower-case letters, digits and `-`", escape(&grant)),
            ));
        }
        let own = value.table()?;
        let same = base.and_then(|b| b.grant(&grant));
        // Neither known there nor complete itself: it is mistyped.
        let is_whole = own.get("url").is_some() || shared.call.is_some_and(|t| t.get("url").is_some());
        if let (Some(base), None, false) = (base, same, is_whole) {
            return Err(unknown(&doc, at, "grant", &grant, base.grants.iter().map(|g| g.name.as_str())));
        }
        provider.grants.push(self::grant(grant, &own, &shared, same)?);
        own.done()?;
    }
    if provider.grants.is_empty() {
        return Err(grants.0.error("a provider needs at least one grant: [grants.NAME]"));
    }
    // A file that names some grants of another offers those; a session that they begin can still be refreshed.
    if let Some(refresh) = provider.refresh.as_ref().map(|r| r.grant.clone())
        && provider.grant(&refresh).is_none()
        && let Some(same) = base.and_then(|b| b.grant(&refresh))
    {
        provider.grants.push(inherited(same, &shared, &root)?);
    }
    rest(&doc, &root, provider, check)
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
fn rest(doc: &Document, root: &Table, mut provider: Provider, check: Check) -> Result<Provider> {
    for (key, place) in [
        ("revoke", &mut provider.revoke),
        ("introspect", &mut provider.introspect),
        ("userinfo", &mut provider.userinfo),
    ] {
        if let Some(value) = root.get(key) {
            let table = value.table()?;
            *place = Some(call(Some(&table), None, &table, place.as_ref())?);
            table.done()?;
        }
    }
    if let Some(value) = root.get("use") {
        provider.usage = usage(&value.table()?, provider.usage)?;
    }
    root.done()?;
    check::mark_urls(&mut provider);
    if check == Check::Whole {
        check::provider(doc, root, &provider)?;
    }
    Ok(provider)
}

fn usual_use() -> Use {
    Use {
        header: "Authorization".into(),
        value: Template::parse("Bearer {access_token}").unwrap_or(Template(Vec::new())),
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
            let names = super::built_in().map(|(name, _)| name);
            let near =
                crate::base::text::nearest(name, names).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            Err(value.error(format!("unknown built-in provider `{}`{near}", escape(name))))
        }
    }
}

/// Where the endpoints come from: `true`, `false` or `"resource"`.
fn discover(value: TomlValue) -> Result<Discover> {
    match value.raw() {
        DeValue::Boolean(true) => Ok(Discover::Issuer),
        DeValue::Boolean(false) => Ok(Discover::Nothing),
        DeValue::String(text) if text == "resource" => Ok(Discover::Resource),
        _ => Err(value.error("expected true (from the issuer), \"resource\" (from the API) or false")),
    }
}

/// A grant that the file does not name: as it is there, with the file's own [request] and [response].
fn inherited(grant: &Grant, shared: &Shared, at: &Table) -> Result<Grant> {
    Ok(Grant {
        call: call(None, shared.call, at, Some(&grant.call))?,
        response: rules_of(None, shared, Some(&grant.response))?,
        ..grant.clone()
    })
}

fn grant(name: String, own: &Table, shared: &Shared, base: Option<&Grant>) -> Result<Grant> {
    let table = |key: &'static str| own.get(key).map(|v| v.table()).transpose();
    let text = |key: &'static str| own.get(key).map(|v| v.text().map(str::to_string)).transpose();
    let flow = own.get("flow").map_or(Ok(base.map_or(Flow::Direct, |b| b.flow)), |v| {
        v.choice(&[
            ("authorization-code", Flow::AuthorizationCode),
            ("device-code", Flow::DeviceCode),
            ("ciba", Flow::Ciba),
            ("signed", Flow::Signed),
        ])
    })?;
    let begin = match table("begin")? {
        Some(table) => {
            let begin = call(Some(&table), None, &table, base.and_then(|b| b.begin.as_ref()))?;
            table.done()?;
            Some(begin)
        }
        None => base.and_then(|b| b.begin.clone()),
    };
    if begin.is_none() && flow.needs_person() {
        return Err(own.error("missing [grants.NAME.begin]: this flow begins with a separate request"));
    }
    let assertion = match table("assertion")? {
        Some(table) => Some(assertion(&table, base.and_then(|b| b.assertion.as_ref()))?),
        None => base.and_then(|b| b.assertion.clone()),
    };
    let reply = table("response")?;
    let grant = Grant {
        name,
        help: text("help")?.or(base.map(|b| b.help.clone())).unwrap_or_default(),
        flow,
        begin,
        push: own.get("push").map(template).transpose()?.or(base.and_then(|b| b.push.clone())),
        call: call(Some(own), shared.call, own, base.map(|b| &b.call))?,
        response: rules_of(reply.as_ref(), shared, base.map(|b| &b.response))?,
        assertion,
        client: own.get("client").map_or(Ok(base.map_or(ClientRequirement::Named, |b| b.client)), |v| {
            v.choice(&[
                ("optional", ClientRequirement::Optional),
                ("named", ClientRequirement::Named),
                ("confidential", ClientRequirement::Confidential),
            ])
        })?,
        defaults: own.get("defaults").map_or(Ok(base.map(|b| b.defaults.clone()).unwrap_or_default()), templates)?,
        warning: text("warning")?.or(base.and_then(|b| b.warning.clone())),
    };
    reply.as_ref().map_or(Ok(()), Table::done)?;
    Ok(grant)
}

/// How an assertion is made: RFC 7523 §3 requires `iss`, `sub`, `aud` and `exp`.
fn assertion(table: &Table, base: Option<&Assertion>) -> Result<Assertion> {
    let seconds = |key: &'static str, default: i64| table.get(key).map_or(Ok(default), |v| duration(v, v.text()?));
    let assertion = Assertion {
        claims: match (table.get("claims"), base) {
            (Some(value), _) => templates(value)?,
            (None, Some(base)) => base.claims.clone(),
            (None, None) => return Err(table.error("missing `claims`: the content of the assertion")),
        },
        jti: table.get("jti").map_or(Ok(base.is_none_or(|b| b.jti)), |v| v.flag())?,
        algorithm: match table.get("algorithm") {
            Some(value) => Some(Algorithm::parse(value.text()?).filter(|a| !a.is_symmetric()).ok_or_else(|| {
                value.error("not an algorithm for a private key: expected RS256 or similar (RFC 7518 §3.1)")
            })?),
            None => base.and_then(|b| b.algorithm),
        },
        lifetime: seconds("lifetime", base.map_or(300, |b| b.lifetime))?,
        backdate: seconds("backdate", base.map_or(30, |b| b.backdate))?,
    };
    table.done()?;
    Ok(assertion)
}

/// The values: those of `base`, with the file's changes, and the file's own.
fn params(table: Option<&Table>, base: Option<&Provider>) -> Result<Vec<Param>> {
    let mut params = base.map(|b| b.params.clone()).unwrap_or_default();
    let Some(table) = table else { return Ok(params) };
    for (name, at, value) in table.all() {
        let own = value.table()?;
        let complain = |why: String| table.error_at(at.clone(), why);
        if !is_value_name(&name) || name.ends_with("_file") {
            return Err(complain(format!(
                "invalid value name `{}`: use lower-case letters, digits and `_`, not ending in `_file`",
                escape(&name)
            )));
        }
        if CONFIG_KEYS.contains(&name.as_str()) {
            return Err(complain(format!("`{name}` is a config key and cannot name a value")));
        }
        if name == "refresh_token" || name == "access_token" {
            return Err(complain(format!("`{name}` is predefined and must not be declared")));
        }
        let place = params.iter().position(|p| p.name == name);
        let param = param(name, &own, place.map(|at| &params[at]))?;
        own.done()?;
        for (key, is_set) in [("personal", param.personal), ("identity", param.identity.is_some())] {
            if is_set && !param.secret {
                return Err(own.error(format!("`{key}` requires `secret = true`")));
            }
        }
        if param.secret && param.default.is_some() {
            return Err(own.error("a secret cannot have a default"));
        }
        match place {
            Some(at) => params[at] = param,
            None => params.push(param),
        }
    }
    Ok(params)
}

fn param(name: String, own: &Table, base: Option<&Param>) -> Result<Param> {
    let flag =
        |key: &'static str, default: Option<bool>| own.get(key).map_or(Ok(default.unwrap_or(false)), |v| v.flag());
    let text = |key: &'static str, default: Option<&String>| match own.get(key) {
        Some(value) => Ok(Some(value.text()?.to_string())),
        None => Ok(default.cloned()),
    };
    Ok(Param {
        secret: flag("secret", base.map(|b| b.secret))?,
        personal: flag("personal", base.map(|b| b.personal))?,
        default: own.get("default").map(template).transpose()?.or(base.and_then(|b| b.default.clone())),
        choices: match own.get("choices") {
            Some(value) => value.texts()?,
            None => base.map(|b| b.choices.clone()).unwrap_or_default(),
        },
        list: flag("list", base.map(|b| b.list))?,
        separator: text("separator", base.map(|b| &b.separator))?.unwrap_or(" ".into()),
        help: text("help", base.map(|b| &b.help))?.unwrap_or_default(),
        url: flag("url", Some(base.is_some_and(|b| b.url) || name.ends_with("_url")))?,
        lines: flag("lines", base.map(|b| b.lines))?,
        file: flag("file", base.map(|b| b.file))?,
        repeat: flag("repeat", base.map(|b| b.repeat))?,
        metadata: text("metadata", base.and_then(|b| b.metadata.as_ref()))?,
        supported: text("supported", base.and_then(|b| b.supported.as_ref()))?,
        inside: match own.get("inside") {
            Some(value) => {
                let table = value.table()?;
                let (Some(of), Some(at)) = (table.get("value"), table.get("at")) else {
                    return Err(value.error("expected { value = \"NAME\", at = \"/pointer\" }"));
                };
                let inside = Inside { value: of.text()?.into(), at: pointer(at)? };
                table.done()?;
                Some(inside)
            }
            None => base.and_then(|b| b.inside.clone()),
        },
        upper: flag("upper", base.map(|b| b.upper))?,
        until: match own.get("until") {
            Some(value) if value.text()?.is_empty() => return Err(value.error("`until` must not be empty")),
            _ => text("until", base.and_then(|b| b.until.as_ref()))?,
        },
        pairs: flag("pairs", base.map(|b| b.pairs))?,
        identity: match own.get("identity") {
            Some(value) => identity(value)?,
            None => base.and_then(|b| b.identity.clone()),
        },
        name,
    })
}

/// `true`, or the defaults of other values that go with an identity token.
fn identity(value: TomlValue) -> Result<Option<Vec<(String, String)>>> {
    if let DeValue::Boolean(flag) = value.raw() {
        return Ok(flag.then(Vec::new));
    }
    let all = value.table()?.all();
    let with = all.into_iter().map(|(name, _, text)| Ok((name, text.text()?.to_string())));
    with.collect::<Result<_>>().map(Some)
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
        return Err(value.error(format!("invalid JSON Pointer; did you mean `/{}`? (RFC 6901)", escape(text))));
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

fn refresh(table: &Table) -> Result<Refresh> {
    let Some(grant) = table.get("grant") else {
        return Err(table.error("missing `grant`: the one that uses {refresh_token}"));
    };
    let refresh = Refresh {
        grant: grant.text()?.into(),
        dead: match table.get("dead") {
            Some(value) => tests(value)?,
            // RFC 6749 §5.2
            None => vec![Test::At("/error".into(), Condition::In(vec!["invalid_grant".into()]))],
        },
        fallback: table.get("fallback").map(|v| v.text().map(str::to_string)).transpose()?,
    };
    table.done()?;
    Ok(refresh)
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

fn usage(table: &Table, default: Use) -> Result<Use> {
    let usage = Use {
        header: match table.get("header") {
            Some(value) => {
                header_name(value, value.text()?)?;
                value.text()?.into()
            }
            None => default.header,
        },
        value: match table.get("value") {
            Some(value) => {
                let text = template(value)?;
                header_text(value, &text)?;
                text
            }
            None => default.value,
        },
        hosts: table.get("hosts").map(TomlValue::origins).transpose()?.or(default.hosts),
        username: table.get("username").map(username).transpose()?.or(default.username),
    };
    table.done()?;
    Ok(usage)
}
