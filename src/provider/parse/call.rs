//! One request of a provider file, as types.

use super::*;

pub(super) fn call_keys(table: &Table) {
    for key in ["url", "method", "encode", "headers", "query", "body", "auth", "dpop", "more"] {
        table.get(key);
    }
}

/// A request: each key from `own`, else from `shared`, else from `base`.
pub(super) fn call(own: Option<&Table>, shared: Option<&Table>, at: &Table, base: Option<&Call>) -> Result<Call> {
    let get = |key: &'static str| {
        let own = own.and_then(|t| t.get(key));
        own.or_else(|| shared.and_then(|t| t.get(key)))
    };
    let url = match (get("url"), base) {
        (Some(url), _) => template(url)?,
        (None, Some(base)) => base.url.clone(),
        (None, None) => return Err(at.error("missing `url`, here or in [request]")),
    };
    let (auth, auth_by) = match get("auth") {
        Some(value) => auth(value)?,
        None => base.map_or((Auth::None, None), |b| (b.auth, b.auth_by.clone())),
    };
    let (dpop, dpop_by) = match get("dpop") {
        Some(value) => match value.raw() {
            DeValue::Boolean(flag) => (*flag, None),
            _ => (false, Some(template(value)?)),
        },
        None => base.map_or((false, None), |b| (b.dpop, b.dpop_by.clone())),
    };
    Ok(Call {
        url,
        method: get("method").map_or(Ok(base.map_or(Method::Post, |b| b.method)), |v| {
            v.choice(&[("POST", Method::Post), ("GET", Method::Get), ("PUT", Method::Put)])
        })?,
        encode: get("encode").map_or(Ok(base.map_or(Encode::Form, |b| b.encode)), |v| {
            v.choice(&[
                ("form", Encode::Form),
                ("json", Encode::Json),
                ("query", Encode::Query),
                ("none", Encode::None),
            ])
        })?,
        headers: get("headers").map_or(Ok(base.map(|b| b.headers.clone()).unwrap_or_default()), headers)?,
        query: get("query").map_or(Ok(base.map(|b| b.query.clone()).unwrap_or_default()), templates)?,
        body: get("body").map_or(Ok(base.map(|b| b.body.clone()).unwrap_or_default()), |v| {
            v.table()?.all().into_iter().map(|(name, _, value)| Ok((name, field(value)?))).collect()
        })?,
        auth,
        auth_by,
        dpop,
        dpop_by,
        more: match get("more") {
            Some(value) => Some(value.text()?.into()),
            None => base.and_then(|b| b.more.clone()),
        },
    })
}

/// `none`, if the file says everything that the client sends; a method by name; or the value that names one.
pub(super) fn auth(value: TomlValue) -> Result<(Auth, Option<Template>)> {
    match value.text()? {
        "none" => Ok((Auth::None, None)),
        text if text.contains('{') => Ok((Auth::Auto, Some(template(value)?))),
        _ => Ok((value.choice(AUTHS)?, None)),
    }
}

pub(super) fn templates(value: TomlValue) -> Result<Vec<(String, Template)>> {
    value.table()?.all().into_iter().map(|(name, _, value)| Ok((name, template(value)?))).collect()
}

pub(super) fn headers(value: TomlValue) -> Result<Vec<(String, Template)>> {
    let headers = templates(value)?;
    for (name, text) in &headers {
        header_name(value, name)?;
        if of_the_connection(name) {
            return Err(value.error(format!("the header {name} cannot be set: it belongs to the connection")));
        }
        header_text(value, text)?;
    }
    Ok(headers)
}

/// Whether a header is about the connection or the framing of the message, which the HTTP library decides: what is in
/// the file could only contradict what is sent (RFC 9110 §7.6, RFC 9112 §6 and §9; `Accept-Encoding`: replies are
/// wanted as they are).
fn of_the_connection(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = name.to_ascii_lowercase();
    NAMES.contains(&name.as_str()) || name.starts_with("proxy-")
}

/// RFC 9110 §5.6.2: a header's name is a token.
pub(super) fn header_name(value: TomlValue, name: &str) -> Result<()> {
    let ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if ok { Ok(()) } else { Err(value.error("invalid header name")) }
}

pub(super) fn header_text(value: TomlValue, text: &Template) -> Result<()> {
    let bad =
        text.0.iter().any(|p| matches!(p, crate::provider::template::Piece::Text(t) if t.contains(['\r', '\n', '\0'])));
    if bad { Err(value.error("a header value cannot contain a line break or NUL")) } else { Ok(()) }
}

pub(super) fn field(value: TomlValue) -> Result<Field> {
    Ok(match value.raw() {
        DeValue::String(_) => Field::Text(template(value)?),
        DeValue::Array(_) => Field::List(value.list()?.into_iter().map(field).collect::<Result<_>>()?),
        DeValue::Table(_) => {
            Field::Table(value.table()?.all().into_iter().map(|(k, _, v)| Ok((k, field(v)?))).collect::<Result<_>>()?)
        }
        _ => Field::Plain(scalar(value)?),
    })
}

pub(super) fn scalar(value: TomlValue) -> Result<serde_json::Value> {
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
