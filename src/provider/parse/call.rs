//! One request of a provider file, as types.

use super::*;
use crate::provider::ClientNames;

pub(super) fn call_keys(table: &Table) {
    for key in ["url", "method", "encode", "headers", "query", "body", "auth", "dpop", "more"] {
        table.get(key);
    }
}

/// A request: each key from `own`, else from `shared`, else from `base`. What is wrong is noted.
pub(super) fn call(own: Option<&Table>, shared: Option<&Table>, at: &Table, base: Option<&Call>) -> Call {
    let get = |key: &'static str| {
        let own = own.and_then(|t| t.get(key));
        own.or_else(|| shared.and_then(|t| t.get(key)))
    };
    let url = match (get("url"), base) {
        (Some(url), _) => at.keep(template(url)),
        (None, Some(base)) => Some(base.url.clone()),
        (None, None) => {
            at.note("missing `url`, here or in [request]");
            None
        }
    };
    let (auth, auth_by, client) = get("auth")
        .and_then(|value| at.keep(auth(value)))
        .unwrap_or(base.map_or((Auth::None, None, None), |b| (b.auth, b.auth_by.clone(), b.client.clone())));
    let dpop = |value: TomlValue| match value.raw() {
        DeValue::Boolean(flag) => Ok((*flag, None)),
        _ => Ok((false, Some(template(value)?))),
    };
    let (dpop, dpop_by) = get("dpop")
        .and_then(|value| at.keep(dpop(value)))
        .unwrap_or(base.map_or((false, None), |b| (b.dpop, b.dpop_by.clone())));
    let method = |value: TomlValue| {
        let all = [Method::Post, Method::Get, Method::Put, Method::Delete];
        value.choice(&all.map(|method| (method.name(), method)))
    };
    let encode = |value: TomlValue| {
        value.choice(&[
            ("form", Encode::Form),
            ("json", Encode::Json),
            ("query", Encode::Query),
            ("multipart", Encode::Multipart),
            ("text", Encode::Text),
            ("xml", Encode::Xml),
            ("none", Encode::None),
        ])
    };
    let more = |value: TomlValue| value.text().map(str::to_string);
    Call {
        url: url.unwrap_or(Template(Vec::new())),
        method: get("method").and_then(|v| at.keep(method(v))).unwrap_or(base.map_or(Method::Post, |b| b.method)),
        encode: get("encode").and_then(|v| at.keep(encode(v))).unwrap_or(base.map_or(Encode::Form, |b| b.encode)),
        headers: get("headers").map_or_else(|| base.map(|b| b.headers.clone()).unwrap_or_default(), headers),
        query: get("query").map_or_else(|| base.map(|b| b.query.clone()).unwrap_or_default(), templates),
        body: get("body").map_or_else(|| base.map(|b| b.body.clone()).unwrap_or_default(), fields),
        auth,
        auth_by,
        client,
        dpop,
        dpop_by,
        more: get("more").and_then(|v| at.keep(more(v))).or_else(|| base.and_then(|b| b.more.clone())),
    }
}

/// What methods of client authentication are called elsewhere, and here.
const REGISTERED: &[(&str, &str)] = &[
    ("client_secret_basic", "basic"),
    ("client_secret_post", "post"),
    ("client_secret_jwt", "client-secret-jwt"),
    ("private_key_jwt", "private-key-jwt"),
    ("tls_client_auth", "tls"),
    ("self_signed_tls_client_auth", "tls-self-signed"),
    ("header", "basic"),
    ("body", "post"),
];

/// Client authentication: a method, or the value that names one; and what it sends.
type ClientAuthentication = (Auth, Option<Template>, Option<Box<ClientNames>>);

/// `none`, if the file says everything that the client sends; a method by name; or the value that names one. A table
/// says besides what is sent in the place of `client_id` and `client_secret`, and under which names.
pub(super) fn auth(value: TomlValue) -> Result<ClientAuthentication> {
    let method = |value: TomlValue| match value.text()? {
        "none" => Ok((Auth::None, None)),
        text if text.contains('{') => Ok((Auth::Auto, Some(template(value)?))),
        // The names of the OAuth registry (RFC 8414 §2).
        text => match REGISTERED.iter().find(|(name, _)| *name == text) {
            Some((_, ours)) => Err(value.error(format!("unknown choice `{text}`; did you mean `{ours}`?"))),
            None => Ok((value.choice(AUTHS)?, None)),
        },
    };
    let DeValue::Table(_) = value.raw() else {
        let (auth, by) = method(value)?;
        return Ok((auth, by, None));
    };
    let table = value.table()?;
    let Some(how) = table.get("method") else {
        return Err(value.error("missing `method`: basic, basic-raw or post"));
    };
    let (auth, by) = method(how)?;
    if by.is_none() && !matches!(auth, Auth::Basic | Auth::BasicRaw | Auth::Post | Auth::Public) {
        return Err(how.error("only basic, basic-raw and post send an ID and a secret"));
    }
    let part = |key: &'static str, usual: &str| match table.get(key) {
        Some(part) => template(part),
        None => Template::parse(usual).map_err(|why| value.error(why)),
    };
    let name = |key: &'static str, usual: &str| match table.get(key) {
        Some(name) => name.text().map(str::to_string),
        None => Ok(usual.to_string()),
    };
    let client = ClientNames {
        id: part("id", "{client_id}")?,
        secret: part("secret", "{client_secret}")?,
        id_name: name("id_name", "client_id")?,
        secret_name: name("secret_name", "client_secret")?,
    };
    table.done()?;
    Ok((auth, by, Some(Box::new(client))))
}

/// A table whose entries `read` takes, each for itself.
fn entries<T>(value: TomlValue, read: impl Fn(TomlValue) -> Result<T>) -> Vec<(String, T)> {
    let Some(table) = value.keep(value.table()) else { return Vec::new() };
    table.all().into_iter().filter_map(|(name, _, inner)| Some((name, value.keep(read(inner))?))).collect()
}

pub(super) fn templates(value: TomlValue) -> Vec<(String, Template)> {
    entries(value, template)
}

fn fields(value: TomlValue) -> Vec<(String, Field)> {
    // The body is one text, as `encode` says: it has no name.
    if let DeValue::String(_) = value.raw() {
        return value.keep(field(value)).map(|text| (String::new(), text)).into_iter().collect();
    }
    object(value)
}

/// The fields of a JSON object.
pub(super) fn object(value: TomlValue) -> Vec<(String, Field)> {
    entries(value, field)
}

pub(super) fn headers(value: TomlValue) -> Vec<(String, Template)> {
    let headers = templates(value);
    for (at, (name, text)) in headers.iter().enumerate() {
        value.keep(sent_header_name(value, name));
        if headers[..at].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            value.note(format!("the header {} stands here twice: upper and lower case are the same", escape(name)));
        }
        value.keep(header_text(value, text));
    }
    headers
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

/// The name of a header that is sent.
pub(super) fn sent_header_name(value: TomlValue, name: &str) -> Result<()> {
    match of_the_connection(name) {
        true => Err(value.error(format!("the header {name} cannot be set: it belongs to the connection"))),
        false => header_name(value, name),
    }
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
