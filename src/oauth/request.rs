//! The request to a token endpoint, and the reply as it comes from the wire.

use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::oauth::encode::{form, more, parts, table, xml_escape};
use crate::provider::template::{Gap, Piece, Template};
use crate::provider::{Call, Encode, Field, Method, Provider};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// When a request may be sent again (the contract's "Retries").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// After a connect error and after 429, 502, 503, 504.
    Freely,
    /// It carries a refresh token that may be used only once: if nothing was sent, or after 429 or 503.
    Rotating,
    /// It carries a person's own secret; a second try may lock the account: only if nothing was sent.
    Personal,
}

/// A complete request: only what HTTP itself needs is added. It contains secrets, so `Debug` hides them.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The URL, `https` or loopback `http`; its query may contain secrets.
    pub url: Zeroizing<String>,
    /// Header lines in order, `User-Agent` and `Accept` among them.
    pub headers: Vec<(String, Zeroizing<String>)>,
    /// The body; `None` sends none.
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// When it may be sent again.
    pub repeat: Repeat,
    /// The client certificate for TLS, if the server asks for one; only over https.
    pub client_certificate: Option<ClientCertificate>,
    /// The profile's `ca_file`: trusted certificates in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Further certificates to trust, as PEM.
    pub ca_pem: Option<String>,
    /// Whether `http` to a link-local address is allowed too, which then goes through no proxy: a metadata service.
    pub link_local: bool,
}

/// A client's certificate and its private key, for mutual TLS (RFC 8705). `Debug` shows neither.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate in PEM form, the client's own first, then those between it and the root.
    pub certificate: String,
    /// Its private key in PEM form, PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: Secret,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A reply. It contains tokens, so `Debug` hides them.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header lines in order; names as sent, values read as Latin-1 if they are not UTF-8.
    pub headers: Vec<(String, String)>,
    /// The body, at most 1 MiB.
    pub body: Zeroizing<Vec<u8>>,
    /// When the complete reply had arrived.
    pub received: Time,
}

impl Response {
    /// The first header line of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

/// What keeps a request from being made.
#[derive(Debug, PartialEq)]
pub enum Unready {
    /// This value is missing.
    Missing(String),
    /// This value cannot be used: why.
    Wrong(String, String),
    /// This header would contain a line break or NUL.
    Header(String),
}

/// The values that fill a request: by name, defaults among them once [`defaults`] has added them.
pub type Values = BTreeMap<String, Zeroizing<String>>;

/// What functions make of `values` for `call`: worth as much as what they make it of.
pub fn made(call: &Call, values: &Values) -> Vec<Zeroizing<String>> {
    let mut all = Vec::new();
    call.each_template(&mut |template| {
        for piece in template.0.iter().filter(|piece| matches!(piece, Piece::Made { .. })) {
            let alone = Template(vec![piece.clone()]);
            let is_of_values = alone.names().next().is_some();
            let text = alone.fill(|name| values.get(name).map(|text| text.as_str()));
            all.extend(text.ok().filter(|_| is_of_values).map(Zeroizing::new));
        }
    });
    all
}

/// Adds the defaults of `provider` for missing values. Templates are expanded only in defaults: what a person
/// gives is taken as it is. `is_off` says of which values there is to be none.
///
/// # Errors
/// [`Unready::Wrong`] if a value inside a default's host is not valid in a host name.
pub fn defaults(provider: &Provider, values: &mut Values, is_off: &dyn Fn(&str) -> bool) -> Result<(), Unready> {
    // A default may hold another value that has a default: as many rounds as there are values suffice.
    for _ in 0..=provider.params.len() {
        let before = values.len();
        for param in &provider.params {
            if values.contains_key(&param.name) || is_off(&param.name) {
                continue;
            }
            if let Some(inside) = &param.inside
                && let Some(whole) = values.get(&inside.value)
            {
                let found = within(whole, &inside.at).map_err(|why| Unready::Wrong(inside.value.clone(), why))?;
                values.insert(param.name.clone(), found);
                continue;
            }
            let Some(default) = &param.default else { continue };
            let filled = if param.url { fill_url(provider, default, values) } else { fill(default, values) };
            match filled {
                Ok(text) => values.insert(param.name.clone(), text),
                Err(Unready::Missing(_)) => continue,
                Err(wrong) => return Err(wrong),
            };
        }
        if values.len() == before {
            break;
        }
    }
    Ok(())
}

/// The text at `place` in a value that is JSON; else what is wrong, in words that follow the name of the value.
fn within(whole: &str, place: &str) -> Result<Zeroizing<String>, String> {
    let json: serde_json::Value = serde_json::from_str(whole).map_err(|_| "is not JSON")?;
    let text = json.pointer(place).and_then(|found| found.as_str()).filter(|text| !text.is_empty());
    text.map(|text| Zeroizing::new(text.to_string())).ok_or_else(|| format!("is JSON without a string at {place}"))
}

fn fill(template: &Template, values: &Values) -> Result<Zeroizing<String>, Unready> {
    match template.fill(|name| values.get(name).map(|v| v.as_str())) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(Gap::Missing(name)) => Err(Unready::Missing(name)),
        Err(Gap::Dropped) => Ok(Zeroizing::new(String::new())),
    }
}

/// [`fill`], or `None` if an optional value is missing.
fn fill_entry(template: &Template, values: &Values) -> Result<Option<Zeroizing<String>>, Unready> {
    match template.fill(|name| values.get(name).map(|v| v.as_str())) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(Gap::Missing(name)) => Err(Unready::Missing(name)),
        Err(Gap::Dropped) => Ok(None),
    }
}

/// A URL: the value it begins with is one itself; in the host only what can be part of a name, with dots if `provider`
/// itself has it so; elsewhere percent-encoded. A value that is the whole URL stays as it is, down to a slash at its end.
fn fill_url(provider: &Provider, template: &Template, values: &Values) -> Result<Zeroizing<String>, Unready> {
    let mut url = Zeroizing::new(String::new());
    for piece in &template.0 {
        let (name, or, optional) = match piece {
            Piece::Text(text) => {
                url.push_str(text);
                continue;
            }
            // The check of the provider file lets one stand in a path or a query alone.
            made @ Piece::Made { .. } => {
                let text = fill(&Template(vec![made.clone()]), values)?;
                url.push_str(&crate::base::url::encode(&text));
                continue;
            }
            Piece::Value { name, or, optional } => (name, or.as_ref(), *optional),
        };
        let (name, value) = match (values.get(name), or.and_then(|or| values.get_key_value(or))) {
            (Some(value), _) => (name, value.as_str()),
            (None, Some((or, value))) => (or, value.as_str()),
            (None, None) if optional => continue,
            (None, None) => return Err(Unready::Missing(or.unwrap_or(name).clone())),
        };
        let wrong = |why: &str| Unready::Wrong(name.clone(), why.to_string());
        if template.0.len() == 1 {
            crate::base::url::endpoint(value).map_err(|why| wrong(&why))?;
            url.push_str(value);
        } else if url.is_empty() {
            url.push_str(crate::base::url::base(value).map_err(|why| wrong(&why))?);
        } else if url.split_once("://").is_none_or(|(_, rest)| !rest.contains(['/', '?', '#'])) {
            let has_dots = provider.writes(name, value);
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || (b == b'.' && has_dots);
            if value.is_empty() || !value.bytes().all(fits) {
                return Err(wrong("is part of a host name, so it may only contain letters, digits and hyphens"));
            }
            url.push_str(value);
        } else if matches!(value, "." | "..") {
            return Err(wrong("is part of a path and must not be `.` or `..`"));
        } else {
            url.push_str(&crate::base::url::encode(value));
        }
    }
    Ok(url)
}

/// The URL of `call`, without its query.
///
/// # Errors
/// As [`build`].
pub fn url(provider: &Provider, call: &Call, values: &Values) -> Result<String, Unready> {
    let url = fill_url(provider, &call.url, values)?;
    match crate::base::url::Url::parse(&url) {
        Ok(_) => Ok(url.to_string()),
        Err(why) => {
            let name = call.url.names().next().map_or("url", |(name, _)| name);
            Err(Unready::Wrong(name.to_string(), why))
        }
    }
}

/// The address of a page that a person opens, made of `values`.
///
/// # Errors
/// As [`build`].
pub fn page(provider: &Provider, template: &Template, values: &Values) -> Result<String, Unready> {
    fill_url(provider, template, values).map(|url| url.to_string())
}

/// What client authentication and DPoP add to a request.
#[derive(Clone, Default)]
pub struct Added {
    /// Fields of the body, before the call's own.
    pub fields: Vec<Pair>,
    /// Header lines.
    pub headers: Vec<Pair>,
    /// The client's certificate.
    pub client_certificate: Option<ClientCertificate>,
}

/// The request that `call` of `provider` describes.
///
/// # Errors
/// A value is missing or cannot be used.
pub fn build(
    provider: &Provider,
    call: &Call,
    values: &Values,
    repeat: Repeat,
    added: Added,
) -> Result<Request, Unready> {
    let mut address = Zeroizing::new(url(provider, call, values)?);
    let mut query = Vec::new();
    for (name, template) in &call.query {
        query.extend(fill_field(provider, name, template, values)?);
    }
    let more = more(provider, call, values)?;
    let mut headers = own_headers(JSON);
    for (name, template) in &call.headers {
        let Some(value) = fill_entry(template, values)? else { continue };
        if value.contains(['\r', '\n', '\0']) {
            return Err(Unready::Header(name.clone()));
        }
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.push((name.clone(), value));
    }
    let mut more_headers = added.headers;
    match call.encode {
        Encode::Form => more_headers.push(("Content-Type".into(), Zeroizing::new(FORM_TYPE.into()))),
        Encode::Json => more_headers.push(("Content-Type".into(), Zeroizing::new(JSON.into()))),
        Encode::Text => more_headers.push(("Content-Type".into(), Zeroizing::new("text/plain".into()))),
        Encode::Xml => more_headers.push(("Content-Type".into(), Zeroizing::new("text/xml; charset=utf-8".into()))),
        // Its boundary is made of what it parts.
        Encode::None | Encode::Query | Encode::Multipart => {}
    }
    let mut multipart = None;
    if call.encode == Encode::Multipart {
        let mut fields = pairs(provider, &call.body, values)?;
        let new = added.fields.iter().filter(|(name, _)| !fields.iter().any(|(known, _)| known == name));
        let new: Vec<Pair> = new.cloned().collect();
        fields.extend(new);
        fields.extend(more.iter().cloned());
        let (kind, bytes) = parts(&fields);
        more_headers.push(("Content-Type".into(), kind.into()));
        multipart = Some(bytes);
    }
    // What the file says replaces what is ours: no header is sent twice.
    more_headers.retain(|(name, _)| !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)));
    headers.append(&mut more_headers);
    let body = match call.encode {
        Encode::None => {
            query.extend(more);
            None
        }
        Encode::Query => {
            let fields = pairs(provider, &call.body, values)?;
            let is_new = |name: &String| !query.iter().chain(&fields).any(|(known, _)| known == name);
            let new: Vec<Pair> = added.fields.into_iter().filter(|(name, _)| is_new(name)).collect();
            query.extend(new);
            query.extend(fields);
            query.extend(more);
            None
        }
        Encode::Multipart => multipart,
        Encode::Text | Encode::Xml => {
            query.extend(more);
            Some(Zeroizing::new(whole_text(call, values)?.as_bytes().to_vec()))
        }
        Encode::Form => {
            let mut fields = pairs(provider, &call.body, values)?;
            let new = added.fields.into_iter().filter(|(name, _)| !fields.iter().any(|(known, _)| known == name));
            let new: Vec<Pair> = new.collect();
            fields.extend(new);
            fields.extend(more);
            Some(Zeroizing::new(form(&fields).as_bytes().to_vec()))
        }
        Encode::Json => {
            let mut object = object(provider, &call.body, values)?;
            for (name, value) in added.fields.into_iter().chain(more) {
                object.insert(name, value.as_str().into());
            }
            Some(Zeroizing::new(serde_json::Value::Object(object).to_string().into_bytes()))
        }
    };
    if !query.is_empty() {
        let mark = if address.contains('?') { '&' } else { '?' };
        address.push(mark);
        for (i, (name, value)) in query.iter().enumerate() {
            if i > 0 {
                address.push('&');
            }
            address.push_str(&format!("{}={}", crate::base::url::encode(name), crate::base::url::encode(value)));
        }
    }
    let client_certificate = added.client_certificate;
    Ok(Request {
        method: call.method,
        url: address,
        headers,
        body,
        repeat,
        client_certificate,
        ca_file: None,
        ca_pem: None,
        link_local: false,
    })
}

/// The one text that a body is; in XML with its values escaped.
fn whole_text(call: &Call, values: &Values) -> Result<Zeroizing<String>, Unready> {
    let escaped: Values = match call.encode {
        Encode::Xml => values.iter().map(|(name, text)| (name.clone(), xml_escape(text))).collect(),
        _ => Values::new(),
    };
    let values = if call.encode == Encode::Xml { &escaped } else { values };
    match call.body.first() {
        Some((_, Field::Text(template))) => fill(template, values),
        _ => Ok(Zeroizing::default()),
    }
}

/// How a form is sent (RFC 6749 appendix B).
const FORM_TYPE: &str = "application/x-www-form-urlencoded";
/// The media type of most replies.
pub const JSON: &str = "application/json";
/// The media type of a key set (RFC 7517 §8.5.1), and the one most servers use.
pub const KEY_SET: &str = "application/jwk-set+json, application/json";

/// The `User-Agent` of every request.
pub(super) fn own_headers(accept: &str) -> Vec<Pair> {
    vec![
        ("User-Agent".into(), Zeroizing::new(concat!("tok/", env!("CARGO_PKG_VERSION")).into())),
        ("Accept".into(), Zeroizing::new(accept.into())),
    ]
}

/// The header lines of a request whose reply is JSON.
pub fn json_headers() -> Vec<Pair> {
    own_headers(JSON)
}

/// The request for a public document at `url`, of the kinds that `accept` lists; `ca_file` is the profile's.
pub fn get(url: &str, accept: &str, ca_file: Option<&Path>) -> Request {
    Request {
        method: Method::Get,
        url: Zeroizing::new(url.to_string()),
        headers: own_headers(accept),
        body: None,
        repeat: Repeat::Freely,
        client_certificate: None,
        ca_file: ca_file.map(Path::to_path_buf),
        ca_pem: None,
        link_local: false,
    }
}

/// A name and its text.
pub type Pair = (String, Zeroizing<String>);

/// A field: dropped if an optional value is missing, repeated for each item of a list with `repeat`.
fn fill_field(provider: &Provider, name: &str, template: &Template, values: &Values) -> Result<Vec<Pair>, Unready> {
    let Some(value) = fill_entry(template, values)? else { return Ok(Vec::new()) };
    let repeated = match template.0.as_slice() {
        [Piece::Value { name, .. }] => provider.param(name).filter(|param| param.repeat),
        _ => None,
    };
    Ok(match repeated {
        Some(param) => value
            .split(&param.separator)
            .filter(|item| !item.is_empty())
            .map(|item| (name.to_string(), Zeroizing::new(item.to_string())))
            .collect(),
        None => vec![(name.to_string(), value)],
    })
}

fn pairs(provider: &Provider, body: &[(String, Field)], values: &Values) -> Result<Vec<Pair>, Unready> {
    let mut pairs = Vec::new();
    for (name, field) in body {
        match field {
            Field::Text(template) => pairs.extend(fill_field(provider, name, template, values)?),
            Field::Plain(serde_json::Value::String(text)) => pairs.push((name.clone(), Zeroizing::new(text.clone()))),
            Field::Plain(value) => pairs.push((name.clone(), Zeroizing::new(value.to_string()))),
            // The check of the provider file allows these only in JSON.
            Field::List(_) | Field::Table(_) => {}
        }
    }
    Ok(pairs)
}

fn json(provider: &Provider, field: &Field, values: &Values) -> Result<Option<serde_json::Value>, Unready> {
    Ok(match field {
        Field::Text(template) => {
            if let [Piece::Value { name, .. }] = template.0.as_slice()
                && let Some(param) = provider.param(name).filter(|p| p.pairs)
            {
                return Ok(fill_entry(template, values)?.map(|text| table(param, &text)).transpose()?.flatten());
            }
            if template.is_alone(|name| provider.param(name).is_some_and(|p| p.repeat)) {
                let items = fill_field(provider, "", template, values)?;
                let items: Vec<serde_json::Value> = items.iter().map(|(_, item)| item.as_str().into()).collect();
                return Ok((!items.is_empty()).then(|| items.into()));
            }
            fill_entry(template, values)?.map(|text| text.as_str().into())
        }
        Field::Plain(value) => Some(value.clone()),
        Field::List(items) => {
            let mut list = Vec::new();
            for item in items {
                list.extend(json(provider, item, values)?);
            }
            Some(list.into())
        }
        Field::Table(entries) => Some(object(provider, entries, values)?.into()),
    })
}

/// A JSON object: without the entries of which an optional value is missing.
///
/// # Errors
/// A value is missing.
pub fn object(
    provider: &Provider,
    entries: &[(String, Field)],
    values: &Values,
) -> Result<serde_json::Map<String, serde_json::Value>, Unready> {
    let mut object = serde_json::Map::new();
    for (name, field) in entries {
        if let Some(value) = json(provider, field, values)? {
            object.insert(name.clone(), value);
        }
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(request: &str) -> (Provider, Call) {
        let file = format!(
            "[params.base_url]\ndefault = \"https://{{region}}.a.example\"\n[params.region]\ndefault = \"eu\"\n\
             [params.client_id]\n[params.client_secret]\nsecret = true\n[params.x]\n[grants.g]\n{request}"
        );
        let provider = Provider::parse("t", "t.toml", &file).unwrap_or_else(|e| panic!("{e}"));
        let call = provider.grants[0].call.clone();
        (provider, call)
    }

    fn built(request: &str, given: &[(&str, &str)]) -> Result<Request, Unready> {
        let (provider, call) = call(request);
        let mut values: Values = given.iter().map(|(n, v)| (n.to_string(), Zeroizing::new(v.to_string()))).collect();
        defaults(&provider, &mut values, &|_| false)?;
        build(&provider, &call, &values, Repeat::Freely, Added::default())
    }

    fn body(request: &Request) -> String {
        String::from_utf8(request.body.as_ref().expect("a body").to_vec()).expect("text")
    }

    #[test]
    fn a_form_keeps_its_order_and_drops_what_is_optional() {
        let request = "url = \"{base_url}/t\"\nbody = { b = \"{x}\", a = \"1\", c = \"{client_id?}\" }";
        let made = built(request, &[("x", "a b&c=ü~*{y}")]).expect("a request");
        assert_eq!(made.url.as_str(), "https://eu.a.example/t");
        assert_eq!(body(&made), "b=a+b%26c%3D%C3%BC%7E*%7By%7D&a=1");
        assert_eq!(built(request, &[]).err(), Some(Unready::Missing("x".into())));
    }

    /// What a file sends itself is not sent twice, in the query as in a form.
    #[test]
    fn a_client_that_the_file_names_is_named_once() {
        let query = "url = \"{base_url}/t\"\nmethod = \"GET\"\nencode = \"query\"\n";
        for (request, sent) in [
            ("body = { a = \"1\" }", "client_id=c&a=1"),
            ("body = { a = \"1\", client_id = \"{client_id}\" }", "a=1&client_id=c"),
            ("query = { client_id = \"{client_id}\" }\nbody = { a = \"1\" }", "client_id=c&a=1"),
        ] {
            let (provider, call) = call(&format!("{query}{request}"));
            let mut values: Values = [("client_id".to_string(), Zeroizing::new("c".to_string()))].into();
            defaults(&provider, &mut values, &|_| false).expect("the defaults");
            let added = Added { fields: vec![("client_id".into(), "c".to_string().into())], ..Added::default() };
            let made = build(&provider, &call, &values, Repeat::Freely, added).expect("a request");
            assert_eq!(made.url.as_str(), format!("https://eu.a.example/t?{sent}"));
        }
    }

    /// RFC 6749 appendix B.
    #[test]
    fn a_form_is_encoded_as_the_rfc_shows() {
        assert_eq!(crate::oauth::encode::form_encode(" %&+\u{a3}\u{20ac}"), "+%25%26%2B%C2%A3%E2%82%AC");
    }

    #[test]
    fn json_holds_numbers_lists_and_tables() {
        let request = "url = \"{base_url}/t\"\nencode = \"json\"\nbody = { n = 1, l = [\"{x}\", true], t = { a = \"{client_id?}\", b = 1.5 } }";
        assert_eq!(
            body(&built(request, &[("x", "\"q\"")]).expect("a request")),
            r#"{"n":1,"l":["\"q\"",true],"t":{"b":1.5}}"#
        );
    }

    /// Meta's codes want multipart; Conjur's body is its key; Sage Intacct's is XML.
    #[test]
    fn a_body_is_parts_one_text_or_xml() {
        let sent = |request: &str, given: &[(&str, &str)]| {
            let made = built(&format!("url = \"{{base_url}}/t\"\n{request}"), given).expect("a request");
            let kind = made.headers.iter().find(|(name, _)| name == "Content-Type").map(|(_, kind)| kind.to_string());
            (kind.unwrap_or_default(), body(&made))
        };
        let fields = "encode = \"multipart\"\nbody = { code = \"{x}\", gone = \"{client_id?}\", \"a\\\"b\" = \"1\" }";
        let (kind, text) = sent(fields, &[("x", "a b\r\n--tok-")]);
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect("a boundary");
        let part = |name: &str, text: &str| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        let expected = format!("{}{}--{boundary}--\r\n", part("code", "a b\r\n--tok-"), part("a%22b", "1"));
        assert_eq!(text, expected);
        let raw = "encode = \"text\"\nbody = \"{x}\"";
        assert_eq!(sent(raw, &[("x", "a&b=<c> {y}")]), ("text/plain".into(), "a&b=<c> {y}".into()));
        let xml = "encode = \"xml\"\nbody = \"<login a='{x}'>{x}</login>\"";
        let escaped = "&lt;&amp;&quot;&#39;&gt;";
        let expected = format!("<login a='{escaped}'>{escaped}</login>");
        assert_eq!(sent(xml, &[("x", "<&\"'>")]), ("text/xml; charset=utf-8".into(), expected));
    }

    #[test]
    fn a_list_of_pairs_is_a_table() {
        let file = "[params.x]\nlist = true\npairs = true\n[grants.g]\nurl = \"https://a.example\"\n\
                    encode = \"json\"\nbody = { p = \"{x?}\" }\n";
        let provider = Provider::parse("t", "t.toml", file).unwrap_or_else(|e| panic!("{e}"));
        let made = |given: Option<&str>| {
            let values = given.map(|text| ("x".to_string(), Zeroizing::new(text.to_string()))).into_iter().collect();
            build(&provider, &provider.grants[0].call, &values, Repeat::Freely, Added::default())
        };
        assert_eq!(body(&made(Some("a=read b=x=y c=")).expect("a request")), r#"{"p":{"a":"read","b":"x=y","c":""}}"#);
        for empty in [None, Some(""), Some(" ")] {
            assert_eq!(body(&made(empty).expect("a request")), "{}");
        }
        for wrong in ["a", "=b", "a=b c"] {
            assert!(matches!(made(Some(wrong)), Err(Unready::Wrong(name, _)) if name == "x"), "{wrong}");
        }
    }

    #[test]
    fn a_value_is_found_inside_another() {
        let file = "[params.whole]\nsecret = true\n[params.part]\ninside = { value = \"whole\", at = \"/a/b\" }\n\
                    [grants.g]\nurl = \"https://a.example\"\nbody = { p = \"{part?}\" }\n";
        let provider = Provider::parse("t", "t.toml", file).unwrap_or_else(|e| panic!("{e}"));
        let found = |given: &[(&str, &str)]| {
            let pairs = given.iter().map(|(n, v)| (n.to_string(), Zeroizing::new(v.to_string())));
            let mut values: Values = pairs.collect();
            defaults(&provider, &mut values, &|_| false).map(|()| values.get("part").map(|part| part.to_string()))
        };
        assert_eq!(found(&[("whole", r#"{"a":{"b":"x\ny"}}"#)]), Ok(Some("x\ny".into())));
        assert_eq!(found(&[("whole", "{}"), ("part", "mine")]), Ok(Some("mine".into())));
        assert_eq!(found(&[]), Ok(None));
        for wrong in ["", "x", "{}", r#"{"a":{"b":1}}"#, r#"{"a":{"b":""}}"#, "[]"] {
            assert!(matches!(found(&[("whole", wrong)]), Err(Unready::Wrong(name, _)) if name == "whole"), "{wrong}");
        }
    }

    #[test]
    fn a_value_cannot_break_out_of_its_place_in_a_url() {
        let request = "url = \"{base_url}/t/{x}?a={x}\"";
        assert_eq!(
            built(request, &[("x", "../b?c d&e#")]).expect("a request").url.as_str(),
            "https://eu.a.example/t/..%2Fb%3Fc%20d%26e%23?a=..%2Fb%3Fc%20d%26e%23"
        );
        for region in ["evil.example/", "a@b", "", "a.b", "a\\"] {
            let wrong = built(request, &[("x", "1"), ("region", region)]);
            assert!(matches!(wrong, Err(Unready::Wrong(name, _)) if name == "region"), "{region}");
        }
        let other = built(request, &[("x", "1"), ("base_url", "http://example.com")]);
        assert!(matches!(other, Err(Unready::Wrong(name, _)) if name == "base_url"));
    }

    #[test]
    fn a_header_holds_no_line_break() {
        let request =
            "url = \"{base_url}/t\"\nheaders = { X-A = \"{x}\", Accept = \"text/plain\", X-B = \"{client_id?}\" }";
        let made = built(request, &[("x", "1")]).expect("a request");
        let names: Vec<&str> = made.headers.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["User-Agent", "X-A", "Accept", "Content-Type"]);
        assert_eq!(built(request, &[("x", "1\r\nEvil: 1")]).err(), Some(Unready::Header("X-A".into())));
    }

    #[test]
    fn a_header_of_the_file_replaces_ours() {
        let request = "url = \"{base_url}/t\"\nheaders = { content-type = \"text/x\", user-agent = \"me\", Authorization = \"Key {x}\" }";
        for encode in ["form", "json"] {
            let (provider, call) = call(&format!("{request}\nencode = \"{encode}\""));
            let values = [("x".to_string(), Zeroizing::new("1".to_string()))];
            let mut values: Values = values.into_iter().collect();
            defaults(&provider, &mut values, &|_| false).expect("defaults");
            let basic = ("authorization".to_string(), Zeroizing::new("Basic eA==".to_string()));
            let added = Added { headers: vec![basic], ..Added::default() };
            let made = build(&provider, &call, &values, Repeat::Freely, added).expect("a request");
            let sent: Vec<(&str, &str)> = made.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let expected =
                [("Accept", JSON), ("content-type", "text/x"), ("user-agent", "me"), ("Authorization", "Key 1")];
            assert_eq!(sent, expected, "{encode}");
        }
    }
}
