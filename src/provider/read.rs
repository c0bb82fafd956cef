//! A provider file, from TOML to types.

use super::{
    Auth, CONFIG_KEYS, Call, Condition, Encode, Expiry, Field, Find, Format, Grant, Lifetime, Param, Provider, Refresh,
    Rules, Template, Test, Unit, Use, Zero, check, is_name, is_value_name,
};
use crate::document::{Document, Table, Value};
use crate::error::Result;
use crate::request::Method;
use crate::text::escape;
use toml::de::DeValue;

/// Reads a whole provider file.
pub fn provider(name: &str, file: &str, text: &str) -> Result<Provider> {
    let doc = Document::new(file, text);
    let parsed = doc.parse()?;
    let root = doc.table(parsed.get_ref(), 0..0);
    let mut provider = Provider {
        name: name.into(),
        title: root.get("title").map_or(Ok(name), |v| v.text())?.into(),
        docs: root.get("docs").map(|v| v.text().map(str::to_string)).transpose()?,
        params: match root.get("params") {
            Some(value) => params(&value.table()?)?,
            None => Vec::new(),
        },
        grants: Vec::new(),
        refresh: None,
        revoke: None,
        usage: Use {
            header: "Authorization".into(),
            value: Template::parse("Bearer {access_token}").unwrap_or(Template(Vec::new())),
            hosts: Vec::new(),
        },
        digest: crate::digest::hex(&[text.as_bytes()]),
    };
    let shared = root.get("request").map(|v| v.table()).transpose()?;
    let rules = root.get("response").map(|v| v.table()).transpose()?;
    // On their own first: a mistyped key there is no missing one at each grant.
    if let Some(shared) = &shared {
        call_keys(shared);
        shared.done()?;
    }
    if let Some(table) = &rules {
        self::rules(Some(table), None)?;
        table.done()?;
    }
    let Some(grants) = root.get("grants") else {
        return Err(root.error("a provider needs at least one grant: [grants.NAME]"));
    };
    for (grant, at, value) in grants.table()?.all() {
        if !is_name(&grant) {
            return Err(
                doc.error(at, format!("`{}` cannot name a grant: lower-case letters, digits and `-`", escape(&grant)))
            );
        }
        let own = value.table()?;
        provider.grants.push(Grant {
            name: grant,
            help: own.get("help").map_or(Ok(""), |v| v.text())?.into(),
            call: call(Some(&own), shared.as_ref(), &own)?,
            response: {
                let own = own.get("response").map(|v| v.table()).transpose()?;
                let response = self::rules(own.as_ref(), rules.as_ref())?;
                own.as_ref().map_or(Ok(()), Table::done)?;
                response
            },
        });
        own.done()?;
    }
    if provider.grants.is_empty() {
        return Err(grants.error("a provider needs at least one grant: [grants.NAME]"));
    }
    if let Some(value) = root.get("refresh") {
        provider.refresh = Some(refresh(&value.table()?)?);
    }
    if let Some(value) = root.get("revoke") {
        let table = value.table()?;
        provider.revoke = Some(call(Some(&table), None, &table)?);
        table.done()?;
    }
    if let Some(value) = root.get("use") {
        provider.usage = usage(&value.table()?, provider.usage)?;
    }
    root.done()?;
    check::provider(&doc, &root, &mut provider)?;
    Ok(provider)
}

fn params(table: &Table) -> Result<Vec<Param>> {
    let mut params = Vec::new();
    for (name, at, value) in table.all() {
        let own = value.table()?;
        let complain = |why: String| table.error_at(at.clone(), why);
        if !is_value_name(&name) || name.ends_with("_file") {
            return Err(complain(format!(
                "`{}` cannot name a value: lower-case letters, digits and `_`, not ending in `_file`",
                escape(&name)
            )));
        }
        if CONFIG_KEYS.contains(&name.as_str()) {
            return Err(complain(format!("`{name}` is a key of the config, so no value can have this name")));
        }
        if name == "refresh_token" || name == "access_token" {
            return Err(complain(format!("`{name}` is known to every provider; it is not declared")));
        }
        let flag = |key: &str| own.get(key).map_or(Ok(false), |v| v.flag());
        let param = Param {
            secret: flag("secret")?,
            personal: flag("personal")?,
            default: own.get("default").map(template).transpose()?,
            choices: own.get("choices").map_or(Ok(Vec::new()), |v| v.texts())?,
            list: flag("list")?,
            separator: own.get("separator").map_or(Ok(" "), |v| v.text())?.into(),
            help: own.get("help").map_or(Ok(""), |v| v.text())?.into(),
            url: name.ends_with("_url"),
            name,
        };
        own.done()?;
        if param.personal && !param.secret {
            return Err(own.error("a personal value is a secret: `secret = true` is missing"));
        }
        if param.secret && param.default.is_some() {
            return Err(own.error("a secret has no default"));
        }
        params.push(param);
    }
    Ok(params)
}

fn template(value: Value) -> Result<Template> {
    Template::parse(value.text()?).map_err(|why| value.error(why))
}

fn call_keys(table: &Table) {
    for key in ["url", "method", "encode", "headers", "query", "body", "auth"] {
        table.get(key);
    }
}

/// A request: each key from `own`, else from `shared`.
fn call(own: Option<&Table>, shared: Option<&Table>, at: &Table) -> Result<Call> {
    let get = |key: &str| {
        let own = own.and_then(|t| t.get(key));
        own.or_else(|| shared.and_then(|t| t.get(key)))
    };
    let Some(url) = get("url") else {
        return Err(at.error("a `url` is missing, here or under [request]"));
    };
    Ok(Call {
        url: template(url)?,
        method: get("method").map_or(Ok(Method::Post), |v| {
            v.choice(&[("POST", Method::Post), ("GET", Method::Get), ("PUT", Method::Put)])
        })?,
        encode: get("encode").map_or(Ok(Encode::Form), |v| {
            v.choice(&[
                ("form", Encode::Form),
                ("json", Encode::Json),
                ("query", Encode::Query),
                ("none", Encode::None),
            ])
        })?,
        headers: get("headers").map_or(Ok(Vec::new()), headers)?,
        query: get("query").map_or(Ok(Vec::new()), templates)?,
        body: get("body").map_or(Ok(Vec::new()), |v| {
            v.table()?.all().into_iter().map(|(name, _, value)| Ok((name, field(value)?))).collect()
        })?,
        auth: get("auth").map_or(Ok(Auth::None), |v| {
            v.choice(&[("none", Auth::None), ("basic", Auth::Basic), ("basic-raw", Auth::BasicRaw)])
        })?,
    })
}

fn templates(value: Value) -> Result<Vec<(String, Template)>> {
    value.table()?.all().into_iter().map(|(name, _, value)| Ok((name, template(value)?))).collect()
}

fn headers(value: Value) -> Result<Vec<(String, Template)>> {
    let headers = templates(value)?;
    for (name, text) in &headers {
        header_name(value, name)?;
        header_text(value, text)?;
    }
    Ok(headers)
}

/// RFC 9110 §5.6.2: a header's name is a token.
fn header_name(value: Value, name: &str) -> Result<()> {
    let ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if ok { Ok(()) } else { Err(value.error("this is no header name")) }
}

fn header_text(value: Value, text: &Template) -> Result<()> {
    let bad = text.0.iter().any(|p| matches!(p, super::template::Piece::Text(t) if t.contains(['\r', '\n', '\0'])));
    if bad { Err(value.error("a header value cannot hold a line break or NUL")) } else { Ok(()) }
}

fn field(value: Value) -> Result<Field> {
    Ok(match value.raw() {
        DeValue::String(_) => Field::Text(template(value)?),
        DeValue::Array(_) => Field::List(value.list()?.into_iter().map(field).collect::<Result<_>>()?),
        DeValue::Table(_) => {
            Field::Table(value.table()?.all().into_iter().map(|(k, _, v)| Ok((k, field(v)?))).collect::<Result<_>>()?)
        }
        _ => Field::Plain(scalar(value)?),
    })
}

fn scalar(value: Value) -> Result<serde_json::Value> {
    Ok(match value.raw() {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Integer(_) => value.integer()?.into(),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(serde_json::Value::Number)
            .ok_or_else(|| value.error("this number cannot be sent as JSON"))?,
        _ => return Err(value.error("expected a string, a number, true or false")),
    })
}

fn pointer(value: Value) -> Result<String> {
    let text = value.text()?;
    let mut rest = text;
    while let Some(at) = rest.find('~') {
        rest = &rest[at + 1..];
        if !rest.starts_with(['0', '1']) {
            return Err(value.error("this is no JSON Pointer: `~` is written `~0`, `/` inside a name `~1` (RFC 6901)"));
        }
    }
    if !text.is_empty() && !text.starts_with('/') {
        return Err(value.error(format!("this is no JSON Pointer; did you mean `/{}`? (RFC 6901)", escape(text))));
    }
    Ok(text.into())
}

fn pointers(value: Value) -> Result<Vec<String>> {
    match value.raw() {
        DeValue::String(_) => Ok(vec![pointer(value)?]),
        _ => value.list()?.into_iter().map(pointer).collect(),
    }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}

/// How a reply is read: each key from `own`, else from `shared`, else as RFC 6749 says.
fn rules(own: Option<&Table>, shared: Option<&Table>) -> Result<Rules> {
    let get = |key: &str| {
        let own = own.and_then(|t| t.get(key));
        // Asked for in both, so that both know the key.
        let shared = shared.and_then(|t| t.get(key));
        own.or(shared)
    };
    let list = |key: &str, default: &[&str]| get(key).map_or(Ok(strings(default)), pointers);
    let expiries = |key: &str, default: &[&str]| match get(key) {
        Some(value) => value.list()?.into_iter().map(expiry).collect(),
        None => {
            Ok(default.iter().map(|at| Expiry { at: at.to_string(), unit: Unit::Seconds, zero: Zero::Now }).collect())
        }
    };
    let error = get("error").map(|v| v.table()).transpose()?;
    let error_list = |key: &str, default: &[&str]| match error.as_ref().and_then(|t| t.get(key)) {
        Some(value) => pointers(value),
        None => Ok(strings(default)),
    };
    let rules = Rules {
        format: get("format").map_or(Ok(Format::Auto), |v| {
            v.choice(&[("auto", Format::Auto), ("json", Format::Json), ("form", Format::Form), ("text", Format::Text)])
        })?,
        success: get("success").map_or(Ok(Vec::new()), tests)?,
        access_token: get("access_token").map_or(Ok(Find::At(strings(&["/access_token"]))), find)?,
        refresh_token: list("refresh_token", &["/refresh_token"])?,
        token_type: list("token_type", &["/token_type"])?,
        scope: list("scope", &["/scope"])?,
        expires: expiries("expires", &["/expires_in"])?,
        refresh_expires: expiries("refresh_expires", &[])?,
        lifetime: get("lifetime")
            .map(|v| match v.text()? {
                "unlimited" => Ok(Lifetime::Unlimited),
                text => duration(v, text).map(Lifetime::Seconds),
            })
            .transpose()?,
        refresh_lifetime: get("refresh_lifetime").map(|v| duration(v, v.text()?)).transpose()?,
        error_code: error_list("code", &["/error", "/error/code", "/errors/0/status"])?,
        error_message: error_list(
            "message",
            &["/error_description", "/error/message", "/errors/0/detail", "/errors/0/title", "/message"],
        )?,
        extra: get("extra").map_or(Ok(Vec::new()), |v| {
            v.table()?.all().into_iter().map(|(name, _, value)| Ok((name, pointers(value)?))).collect()
        })?,
    };
    if let Some(error) = error {
        error.done()?;
    }
    Ok(rules)
}

fn duration(value: Value, text: &str) -> Result<i64> {
    crate::duration::parse(text).map_err(|why| value.error(why))
}

fn find(value: Value) -> Result<Find> {
    if let DeValue::Table(_) = value.raw() {
        let table = value.table()?;
        let Some(header) = table.get("header") else {
            return Err(value.error("expected a list of JSON Pointers, or { header = \"…\" }"));
        };
        header_name(header, header.text()?)?;
        table.done()?;
        return Ok(Find::Header(header.text()?.into()));
    }
    Ok(Find::At(pointers(value)?))
}

fn expiry(value: Value) -> Result<Expiry> {
    let table = value.table()?;
    let Some(at) = table.get("at") else {
        return Err(value.error("an `at` is missing: the JSON Pointer of the expiry"));
    };
    let expiry = Expiry {
        at: pointer(at)?,
        unit: table.get("as").map_or(Ok(Unit::Seconds), |v| {
            v.choice(&[
                ("seconds", Unit::Seconds),
                ("milliseconds", Unit::Milliseconds),
                ("minutes", Unit::Minutes),
                ("epoch", Unit::Epoch),
                ("epoch-millis", Unit::EpochMillis),
                ("date", Unit::Date),
                ("auto", Unit::Auto),
            ])
        })?,
        zero: table.get("zero").map_or(Ok(Zero::Now), |v| {
            v.choice(&[("unknown", Zero::Unknown), ("never", Zero::Never), ("now", Zero::Now)])
        })?,
    };
    table.done()?;
    Ok(expiry)
}

fn tests(value: Value) -> Result<Vec<Test>> {
    value.list()?.into_iter().map(test).collect()
}

fn test(value: Value) -> Result<Test> {
    let table = value.table()?;
    let status = table.get("status");
    let at = table.get("at");
    let inside = table.get("in");
    let outside = table.get("not-in");
    let present = table.get("present");
    table.done()?;
    if let Some(status) = status {
        if at.is_some() || inside.is_some() || outside.is_some() || present.is_some() {
            return Err(value.error("a test is of a `status` or of the value `at` a place, not of both"));
        }
        let list = status.list()?.into_iter().map(|v| {
            u16::try_from(v.integer()?)
                .ok()
                .filter(|s| (100..600).contains(s))
                .ok_or_else(|| v.error("this is no HTTP status"))
        });
        return Ok(Test::Status(list.collect::<Result<_>>()?));
    }
    let Some(at) = at else {
        return Err(value.error("an `at` is missing: the JSON Pointer of the value to test"));
    };
    let scalars = |v: Value| v.list()?.into_iter().map(scalar).collect::<Result<Vec<_>>>();
    let condition = match (inside, outside, present) {
        (Some(list), None, None) => Condition::In(scalars(list)?),
        (None, Some(list), None) => Condition::NotIn(scalars(list)?),
        (None, None, Some(flag)) if flag.flag()? => Condition::Present,
        _ => return Err(value.error("a test has one of: in = […], not-in = […], present = true")),
    };
    Ok(Test::At(pointer(at)?, condition))
}

fn refresh(table: &Table) -> Result<Refresh> {
    let Some(grant) = table.get("grant") else {
        return Err(table.error("a `grant` is missing: the one that takes {refresh_token}"));
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
        hosts: table.get("hosts").map_or(Ok(Vec::new()), |v| v.texts())?,
    };
    table.done()?;
    Ok(usage)
}
