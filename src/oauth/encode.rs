//! How the fields of a body are written: as a form, in parts, as text of XML.

use crate::oauth::request::{Pair, Unready, Values};
use crate::provider::{Call, Param, Provider};
use zeroize::Zeroizing;

/// `application/x-www-form-urlencoded` as browsers write it (WHATWG URL §5.2): a space is `+`.
pub fn form_encode(text: &str) -> String {
    const FORM: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');
    // Only an unencoded space can be one here.
    percent_encoding::utf8_percent_encode(text, FORM).to_string().replace(' ', "+")
}

pub(super) fn form(pairs: &[Pair]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::new());
    for (i, (name, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push('&');
        }
        out.push_str(&form_encode(name));
        out.push('=');
        out.push_str(&Zeroizing::new(form_encode(value)));
    }
    out
}

/// A list of `NAME=VALUE` as a table; `None` if it is empty.
pub(super) fn table(param: &Param, text: &str) -> Result<Option<serde_json::Value>, Unready> {
    let mut object = serde_json::Map::new();
    for item in text.split(&param.separator).filter(|item| !item.is_empty()) {
        let Some((name, value)) = item.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Unready::Wrong(param.name.clone(), "is not in the form NAME=VALUE".into()));
        };
        object.insert(name.into(), value.into());
    }
    Ok((!object.is_empty()).then(|| object.into()))
}

/// `text` as it stands in an element or an attribute of XML 1.0 (§2.4).
pub(super) fn xml_escape(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// `multipart/form-data` of these fields (RFC 7578), and its media type. The boundary is a digest of the fields, so no
/// field can hold it.
pub(super) fn parts(fields: &[Pair]) -> (String, Zeroizing<Vec<u8>>) {
    let all: Vec<&[u8]> = fields.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]).collect();
    let digest = crate::base::digest::hex(&all);
    let boundary = format!("tok-{}", digest.get(..32).unwrap_or(&digest));
    let mut body = Zeroizing::new(Vec::new());
    for (name, text) in fields {
        // RFC 7578 §2: as browsers do.
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        body.extend(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
        body.extend(text.bytes());
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// The parameters that a person adds, `NAME=VALUE` each.
pub(super) fn more(provider: &Provider, call: &Call, values: &Values) -> Result<Vec<Pair>, Unready> {
    let Some(list) = &call.more else { return Ok(Vec::new()) };
    let (Some(param), Some(text)) = (provider.param(list), values.get(list)) else { return Ok(Vec::new()) };
    let mut more = Vec::new();
    for item in text.split(&param.separator).filter(|item| !item.is_empty()) {
        let wrong = |why: String| Unready::Wrong(list.clone(), why);
        let Some((name, value)) = item.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(wrong("is not in the form NAME=VALUE".into()));
        };
        let has = call.body.iter().map(|(n, _)| n).chain(call.query.iter().map(|(n, _)| n)).any(|n| n == name);
        if has || ["client_id", "client_secret", "client_assertion", "client_assertion_type"].contains(&name) {
            return Err(wrong(format!("sets `{}`, which this request already has", crate::base::text::escape(name))));
        }
        more.push((name.to_string(), Zeroizing::new(value.to_string())));
    }
    Ok(more)
}
