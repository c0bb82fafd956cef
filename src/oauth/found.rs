//! What a login finds in a reply or in the redirect: a value by its place, and whether it may be used. Pure.

use crate::base::text::escape;
use crate::base::url::Url;
use crate::oauth::reply::value::{found, is_empty};
use crate::oauth::request::{Response, Values};
use crate::provider::{Find, Kept, Provider, Shape};
use serde_json::Value;
use zeroize::Zeroizing;

/// The text that `kept` names in a reply, whose body is `value`: a string, a number, `true` or `false`; `None` where
/// there is none.
pub fn in_reply(kept: &Kept, value: &Value, response: &Response) -> Option<Zeroizing<String>> {
    match &kept.at {
        Find::Header(name) => response.header(name).filter(|text| !text.is_empty()).map(|text| text.to_string().into()),
        Find::Cookie(name) => response.cookie(name).map(|text| text.to_string().into()),
        Find::At(places) => found(value, places).and_then(|(_, value)| text(value)),
    }
}

/// A scalar as text.
fn text(value: &Value) -> Option<Zeroizing<String>> {
    match value {
        Value::String(text) => Some(Zeroizing::new(text.clone())),
        Value::Number(_) | Value::Bool(_) => Some(Zeroizing::new(value.to_string())),
        _ => None,
    }
    .filter(|text| !is_empty(&Value::from(text.as_str())))
}

/// Where a value was looked for, in words.
pub fn place(kept: &Kept) -> String {
    match &kept.at {
        Find::Header(name) => format!("in the header {name}"),
        Find::Cookie(name) => format!("in the cookie {name}"),
        Find::At(places) => format!("at {}", escape(&places.join(" or "))),
    }
}

/// `text` as the value is used. A URL must be one that tok may ask: https, or loopback as the server is that named it,
/// and of an origin that the provider file names, that a value in force names, that it came `from`, or of one of the
/// file's `sites`. What else came in a reply could send the login to anybody.
///
/// # Errors
/// What is wrong with it, in words that follow its name.
pub fn checked(
    provider: &Provider,
    kept: &Kept,
    text: &str,
    from: Option<&str>,
    values: &Values,
) -> Result<Zeroizing<String>, String> {
    let url = match kept.shape {
        Shape::Text => {
            let is_wrong = text.contains(['\r', '\n', '\0']);
            return if is_wrong { Err("contains a line break or NUL".into()) } else { Ok(text.to_string().into()) };
        }
        Shape::Url => text.to_string(),
        Shape::Host if text.contains("://") => return Err("is not a host".into()),
        Shape::Host => format!("https://{text}"),
    };
    crate::base::url::endpoint(&url)?;
    let parsed = Url::parse(&url)?;
    if kept.shape == Shape::Host && !parsed.rest.is_empty() {
        return Err("is not a host".into());
    }
    let origin = parsed.origin();
    let is_site = || {
        let host = parsed.host.to_ascii_lowercase();
        let is_below = |site: &String| host == *site || host.strip_suffix(site).is_some_and(|rest| rest.ends_with('.'));
        parsed.scheme == "https" && parsed.port == 443 && provider.sites.iter().any(is_below)
    };
    let is_in_force = || {
        let urls = provider.params.iter().filter(|param| param.url).filter_map(|param| values.get(&param.name));
        urls.filter_map(|url| Some(Url::parse(url).ok()?.origin())).any(|known| known == origin)
    };
    match from == Some(origin.as_str()) || provider.own_origins().contains(&origin) || is_in_force() || is_site() {
        true => Ok(url.into()),
        false => Err(format!("is at {}, which the provider file does not name", escape(&origin))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Time;
    use serde_json::json;

    const FILE: &str = "sites = [\"zoho.eu\"]\n[params.base_url]\ndefault = \"https://accounts.zoho.com\"\n\
                        [grants.g]\nflow = \"device-code\"\nurl = \"{base_url}/t\"\nbody = { p = \"{x?}{y?}{z?}\" }\n\
                        [grants.g.begin]\nurl = \"https://login.zoho.in/d\"\n[grants.g.device]\n\
                        keep = { x = \"/x\", y = { at = \"/y\", as = \"url\" }, z = { at = \"/z\", as = \"host\" } }\n";

    fn all() -> (Provider, Vec<Kept>) {
        let provider = Provider::parse("t", "t.toml", FILE).unwrap_or_else(|e| panic!("{e}"));
        let keep = provider.grants[0].device.keep.clone();
        (provider, keep)
    }

    #[test]
    fn a_value_is_text_a_number_or_a_flag() {
        let (_, keep) = all();
        let response = Response {
            status: 200,
            headers: vec![("X-Ticket".into(), "t".into())],
            body: Vec::new().into(),
            received: Time::from_secs(0),
        };
        let read = |value: Value| in_reply(&keep[0], &json!({ "x": value }), &response).map(|text| text.to_string());
        assert_eq!(read(json!("a")), Some("a".into()));
        assert_eq!(read(json!(4711)), Some("4711".into()));
        assert_eq!(read(json!(true)), Some("true".into()));
        for none in [json!(""), json!(null), json!([1]), json!({})] {
            assert_eq!(read(none), None);
        }
        let header = Kept { at: Find::Header("x-ticket".into()), ..keep[0].clone() };
        assert_eq!(in_reply(&header, &json!({}), &response).as_deref().map(String::as_str), Some("t"));
    }

    #[test]
    fn a_url_is_of_a_place_that_the_file_names() {
        let (provider, keep) = all();
        let own = [("base_url".to_string(), Zeroizing::new("http://127.0.0.1:8080".to_string()))];
        let values: Values = own.into_iter().collect();
        let checked = |at: usize, text: &str, from: Option<&str>| {
            checked(&provider, &keep[at], text, from, &values).map(|text| text.to_string())
        };
        for fine in [
            "https://accounts.zoho.com",
            "https://login.zoho.in/x",
            "https://zoho.eu",
            "https://accounts.ZOHO.eu/oauth",
            "http://127.0.0.1:8080/poll",
        ] {
            assert_eq!(checked(1, fine, None), Ok(fine.into()));
        }
        assert_eq!(
            checked(1, "https://cloud.example/poll", Some("https://cloud.example")).as_deref(),
            Ok("https://cloud.example/poll")
        );
        for wrong in [
            "https://evil.example",
            "https://evilzoho.eu",
            "https://zoho.eu.evil.example",
            "https://zoho.eu:8443",
            "http://accounts.zoho.eu",
            "https://user@accounts.zoho.eu",
            "https://accounts.zoho.eu@evil.example/",
            "https://zoho.com",
            "http://127.0.0.1:8081/poll",
            "https://accounts.zoho.eu/#x",
            "accounts.zoho.eu",
            "javascript:alert(1)",
        ] {
            assert!(checked(1, wrong, None).is_err(), "{wrong}");
        }
        assert_eq!(checked(2, "accounts.zoho.eu", None).as_deref(), Ok("https://accounts.zoho.eu"));
        for wrong in ["accounts.zoho.eu/x", "https://accounts.zoho.eu", "evil.example", "", "a b"] {
            assert!(checked(2, wrong, None).is_err(), "{wrong}");
        }
        assert!(checked(0, "a\r\nb", None).is_err());
    }
}
