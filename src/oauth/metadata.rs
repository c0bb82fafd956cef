//! What an authorization server says of itself (RFC 8414, OpenID Connect Discovery 1.0) and its public keys (RFC 7517):
//! where they are and what may be believed of them. They are fetched by `profile/discovery.rs`.

use crate::base::text::escape;
use crate::base::url::Url;
use serde_json::{Map, Value};

/// Where the metadata of `issuer` may be, in the order in which it is asked for: OpenID Connect Discovery 1.0 §4.1
/// appends to the issuer, RFC 8414 §3.1 inserts behind its host, and so did others with the older name (§5 there). One
/// slash at the issuer's end is dropped by all three.
///
/// # Errors
/// What is wrong with the issuer, in words that follow its name: it is neither https nor loopback, or has a query or a
/// fragment (RFC 8414 §2), or is itself the address of metadata.
pub fn addresses(issuer: &str) -> std::result::Result<Vec<String>, String> {
    let path = Url::parse(issuer)?.rest;
    if path.contains(['?', '#']) {
        return Err("has a query or a fragment".into());
    }
    if path.contains("/.well-known/") {
        return Err("is the address of metadata; leave away /.well-known/ and the name behind it".into());
    }
    let host = issuer.strip_suffix(path).unwrap_or(issuer);
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut all = vec![
        format!("{host}{path}/.well-known/openid-configuration"),
        format!("{host}/.well-known/oauth-authorization-server{path}"),
    ];
    if !path.is_empty() {
        all.push(format!("{host}/.well-known/openid-configuration{path}"));
    }
    Ok(all)
}

/// The metadata of an authorization server, known to be of the issuer that was asked for. What is not used does no
/// harm, however odd it is: each member is checked when it is read.
#[derive(Clone, Debug)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    /// Reads `body` as the metadata of `issuer`.
    ///
    /// # Errors
    /// Why it is none: no JSON object, or of another issuer. Both must be the same to the letter (RFC 8414 §3.3).
    pub fn parse(body: &[u8], issuer: &str) -> std::result::Result<Metadata, String> {
        let object = object(body)?;
        match object.get("issuer") {
            Some(Value::String(said)) if said == issuer => Ok(Metadata(object)),
            Some(Value::String(said)) => {
                let differ = match said.strip_suffix('/').unwrap_or(said) == issuer.strip_suffix('/').unwrap_or(issuer)
                {
                    true => "; they differ by the slash at the end alone",
                    false => "",
                };
                Err(format!("it is of the issuer {}, not of {}{differ}", escape(said), escape(issuer)))
            }
            Some(_) => Err("the issuer in it is not a string".into()),
            None => Err("it names no issuer".into()),
        }
    }

    /// The URL `key` (`token_endpoint`, `jwks_uri`); `None` where the server has none.
    ///
    /// # Errors
    /// What is wrong with it, `key` named: no string, neither https nor loopback, a fragment (RFC 6749 §3.1, §3.2).
    pub fn endpoint(&self, key: &str) -> std::result::Result<Option<String>, String> {
        endpoint(&self.0, key)
    }

    /// The endpoint `key` for a client that shows a certificate (`mtls`) or not: the former may have another address
    /// in `mtls_endpoint_aliases`, and takes the usual one else (RFC 8705 §5).
    ///
    /// # Errors
    /// As [`Metadata::endpoint`].
    pub fn endpoint_with(&self, key: &str, mtls: bool) -> std::result::Result<Option<String>, String> {
        const ALIASES: &str = "mtls_endpoint_aliases";
        match self.0.get(ALIASES) {
            Some(Value::Object(aliases)) if mtls => {
                let alias = endpoint(aliases, key).map_err(|why| format!("in {ALIASES}, {why}"))?;
                alias.map_or_else(|| self.endpoint(key), |alias| Ok(Some(alias)))
            }
            Some(Value::Null) | None => self.endpoint(key),
            Some(_) if mtls => Err(format!("{ALIASES} is no object")),
            Some(_) => self.endpoint(key),
        }
    }

    /// The string `key`; `None` where it is absent, empty or something else.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// The strings of the list `key`; `None` where there is no list, which says less than an empty one.
    pub fn list(&self, key: &str) -> Option<Vec<String>> {
        let items = self.0.get(key)?.as_array()?;
        Some(items.iter().filter_map(Value::as_str).map(str::to_string).collect())
    }

    /// The origins of its endpoints.
    pub fn origins(&self) -> impl Iterator<Item = String> {
        let endpoints = self.0.iter().filter(|(key, _)| key.ends_with("_endpoint") || *key == "issuer");
        let aliases = self.0.get("mtls_endpoint_aliases").and_then(Value::as_object).into_iter().flatten();
        let urls = endpoints.chain(aliases).filter_map(|(_, url)| Url::parse(url.as_str()?).ok());
        urls.map(|url| url.origin())
    }

    /// Whether `key` is true; absent members mean different things, so the caller says what.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.0.get(key)?.as_bool()
    }
}

fn endpoint(object: &Map<String, Value>, key: &str) -> std::result::Result<Option<String>, String> {
    let text = match object.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(format!("{key} is not a string")),
    };
    let wrong = |why: &str| format!("{key} {why}: {}", escape(text));
    if Url::parse(text).map_err(|why| wrong(&why))?.rest.contains('#') {
        return Err(wrong("has a fragment"));
    }
    Ok(Some(text.clone()))
}

/// The JSON object in `body`; else what it is, in words.
pub fn object(body: &[u8]) -> std::result::Result<Map<String, Value>, String> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("it is no JSON object".into()),
        Err(_) if body.trim_ascii().is_empty() => Err("it is empty".into()),
        Err(_) if body.trim_ascii_start().starts_with(b"<") => Err("it is an HTML or XML page".into()),
        // serde_json's own message names the place, never the text.
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

/// The key set itself, if it is one.
pub fn keys(body: &[u8]) -> std::result::Result<Vec<u8>, String> {
    match object(body)?.get("keys") {
        Some(Value::Array(_)) => Ok(body.to_vec()),
        _ => Err("there is no list of keys in it".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://a.example/t";

    fn said(issuer: &str) -> String {
        serde_json::json!({ "issuer": issuer, "token_endpoint": "https://b.example/token" }).to_string()
    }

    #[test]
    fn metadata_is_looked_for_where_the_specifications_put_it() {
        let bare = [
            "https://a.example/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server",
        ];
        assert_eq!(addresses("https://a.example").unwrap(), bare);
        assert_eq!(addresses("https://a.example/").unwrap(), bare);
        let deep = [
            "https://a.example:8443/t/1/.well-known/openid-configuration",
            "https://a.example:8443/.well-known/oauth-authorization-server/t/1",
            "https://a.example:8443/.well-known/openid-configuration/t/1",
        ];
        assert_eq!(addresses("https://a.example:8443/t/1").unwrap(), deep);
        assert_eq!(addresses("https://a.example:8443/t/1/").unwrap(), deep);
        assert_eq!(addresses("http://[::1]:8/t//").unwrap()[0], "http://[::1]:8/t//.well-known/openid-configuration");
        for issuer in [
            "a.example",
            "http://a.example",
            "https://a.example?x",
            "https://a.example/t?x",
            "https://a.example/#x",
            "https://u:p@a.example",
            "https://a.example/t/.well-known/openid-configuration",
            "https://a.example/t x",
            "",
        ] {
            assert!(addresses(issuer).is_err(), "{issuer}");
        }
    }

    #[test]
    fn metadata_is_believed_only_from_its_own_issuer() {
        let why = |body: &str| Metadata::parse(body.as_bytes(), ISSUER).unwrap_err();
        assert!(Metadata::parse(said(ISSUER).as_bytes(), ISSUER).is_ok());
        assert_eq!(why(&said("https://e\u{1b}")), "it is of the issuer https://e\\u{1b}, not of https://a.example/t");
        assert!(why(&said("https://a.example/t/")).ends_with("by the slash at the end alone"));
        assert!(why(&said("https://A.example/t")).ends_with("not of https://a.example/t"));
        for (body, part) in [
            ("", "is empty"),
            (" <!doctype html>", "HTML"),
            ("{\"issuer\":", "not JSON"),
            ("[1]", "no JSON object"),
            ("{}", "names no issuer"),
            ("{\"issuer\":1}", "not a string"),
        ] {
            assert!(why(body).contains(part), "{body}");
        }
        assert!(Metadata::parse(b"\xff", ISSUER).is_err());
        assert!(Metadata::parse("[".repeat(1 << 20).as_bytes(), ISSUER).is_err());
    }

    #[test]
    fn members_are_checked_when_they_are_read() {
        let text = r#"{"issuer":"https://a.example/t","a":"https://b.example/a?x=1","h":"http://b.example/","n":1,"e":"",
            "z":null,"f":"https://b.example/#x","l":["x",2,"y"],"t":true,"local":"http://127.0.0.1:8/",
            "mtls_endpoint_aliases":{"a":"https://m.example/a","h":"ftp://m"}}"#;
        let all = Metadata::parse(text.as_bytes(), ISSUER).unwrap();
        assert_eq!(all.endpoint("a"), Ok(Some("https://b.example/a?x=1".into())));
        assert_eq!(all.endpoint("local"), Ok(Some("http://127.0.0.1:8/".into())));
        assert_eq!([all.endpoint("e"), all.endpoint("z"), all.endpoint("none")], [Ok(None), Ok(None), Ok(None)]);
        assert!(all.endpoint("h").unwrap_err().starts_with("h is http;"));
        assert!(all.endpoint("n").unwrap_err().starts_with("n is not a string"));
        assert_eq!(all.endpoint("f").unwrap_err(), "f has a fragment: https://b.example/#x");
        assert_eq!(all.endpoint_with("a", true), Ok(Some("https://m.example/a".into())));
        assert_eq!(all.endpoint_with("a", false), all.endpoint("a"));
        assert_eq!(all.endpoint_with("local", true), all.endpoint("local"));
        assert!(all.endpoint_with("h", true).unwrap_err().starts_with("in mtls_endpoint_aliases, h is no https"));
        assert_eq!((all.text("a"), all.text("e"), all.text("n")), (Some("https://b.example/a?x=1"), None, None));
        assert_eq!((all.list("l"), all.list("a")), (Some(vec!["x".into(), "y".into()]), None));
        assert_eq!((all.flag("t"), all.flag("n"), all.flag("none")), (Some(true), None, None));
        let odd = Metadata::parse(text.replace("{\"a\":", "[{\"a\":").replace("}}", "}]}").as_bytes(), ISSUER).unwrap();
        assert!(odd.endpoint_with("a", true).is_err() && odd.endpoint_with("a", false).is_ok());
    }
}
