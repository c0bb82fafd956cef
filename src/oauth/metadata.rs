//! Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0) and public keys (RFC 7517):
//! where they are and how they are checked. `profile/discovery.rs` fetches them.

use crate::base::text::escape;
use crate::base::url::Url;
use crate::oauth::reply::document;
use crate::oauth::reply::value::{flag, member, names};
use serde_json::{Map, Value};

/// Where the metadata of `issuer` may be, in the order in which the URLs are tried: OpenID Connect Discovery 1.0 §4.1
/// appends to the issuer, RFC 8414 §3.1 inserts behind its host; and each name is found in the other's place (§5 there).
/// One trailing slash of the issuer is dropped by all. `first`: whose place comes first.
///
/// # Errors
/// What is wrong with the issuer, in words that follow its name: it is neither https nor loopback, or has a query or a
/// fragment (RFC 8414 §2), or is itself a metadata URL.
pub fn addresses(issuer: &str, first: First) -> std::result::Result<Vec<String>, String> {
    let path = Url::parse(issuer)?.rest;
    if path.contains(['?', '#']) {
        return Err("has a query or a fragment".into());
    }
    if path.contains("/.well-known/") {
        return Err("is a metadata URL; remove /.well-known/ and the name after it".into());
    }
    let host = issuer.strip_suffix(path).unwrap_or(issuer);
    let path = path.strip_suffix('/').unwrap_or(path);
    let openid = format!("{host}{path}/.well-known/openid-configuration");
    let oauth = format!("{host}/.well-known/oauth-authorization-server{path}");
    let openid_inserted = format!("{host}/.well-known/openid-configuration{path}");
    let oauth_appended = format!("{host}{path}/.well-known/oauth-authorization-server");
    let mut all = match first {
        First::OpenId => vec![openid, oauth, openid_inserted, oauth_appended],
        First::OAuth => vec![oauth, openid_inserted, openid, oauth_appended],
    };
    if path.is_empty() {
        all.truncate(2);
    }
    Ok(all)
}

/// Which metadata are looked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// OpenID Connect's: what most issuers have.
    OpenId,
    /// RFC 8414's, as the Model Context Protocol demands of a client (Authorization Server Metadata Discovery).
    OAuth,
}

/// The metadata of an authorization server, checked to be from the expected issuer. Unused members do no
/// harm, however odd they are: each member is checked when it is read.
#[derive(Clone, Debug)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    /// Reads `body` as the metadata of `issuer`.
    ///
    /// # Errors
    /// Why it is rejected: not a JSON object, or of another issuer ([`is_same`], RFC 8414 §3.3).
    pub fn parse(body: &[u8], issuer: &str) -> std::result::Result<Metadata, String> {
        let object = object(body)?;
        match member(&object, "issuer") {
            Some(Value::String(said)) if is_same(said, issuer) => Ok(Metadata(object)),
            Some(Value::String(said)) => Err(format!("it is for the issuer {}, not {}", escape(said), escape(issuer))),
            Some(_) => Err("its `issuer` is not a string".into()),
            None => Err("it has no `issuer`".into()),
        }
    }

    /// Reads `body` as the metadata of `issuer` at a path of its own, whose document need not name an issuer, or names
    /// another of the same origin.
    ///
    /// # Errors
    /// As [`Metadata::parse`].
    pub fn parse_elsewhere(body: &[u8], issuer: &str) -> std::result::Result<Metadata, String> {
        let mut object = object(body)?;
        let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
        match member(&object, "issuer") {
            Some(Value::String(said)) if origin(said).is_some() && origin(said) == origin(issuer) => {}
            Some(Value::String(said)) => {
                return Err(format!("it is for the issuer {}, not {}", escape(said), escape(issuer)));
            }
            Some(_) => return Err("its `issuer` is not a string".into()),
            None => drop(object.insert("issuer".into(), issuer.into())),
        }
        Ok(Metadata(object))
    }

    /// The issuer as it names itself: what the `iss` of its ID tokens is, and the audience of an assertion.
    pub fn issuer(&self) -> &str {
        self.text("issuer").unwrap_or_default()
    }

    /// The client authentication methods that the endpoint `endpoint` (`revocation_endpoint`) supports, by its own list
    /// (RFC 8414 §2). An endpoint without one is taken to be as the token endpoint is: RFC 8414 says
    /// `client_secret_basic` there, but servers that leave the list out support what they support elsewhere.
    pub fn client_authentication(&self, endpoint: &str) -> Vec<String> {
        let own = self.list(&format!("{endpoint}_auth_methods_supported"));
        own.or_else(|| self.list("token_endpoint_auth_methods_supported")).unwrap_or_default()
    }

    /// The URL `key` (`token_endpoint`, `jwks_uri`); `None` if the server has none.
    ///
    /// # Errors
    /// What is wrong with it, including `key`: not a string, neither https nor loopback, a fragment (RFC 6749 §3.1,
    /// §3.2).
    pub fn endpoint(&self, key: &str) -> std::result::Result<Option<String>, String> {
        endpoint(&self.0, key)
    }

    /// The endpoint `key` for a client that shows a certificate: it may have another address in
    /// `mtls_endpoint_aliases`, and is the usual one else (RFC 8705 §5).
    ///
    /// # Errors
    /// As [`Metadata::endpoint`].
    pub fn mtls_endpoint(&self, key: &str) -> std::result::Result<Option<String>, String> {
        const ALIASES: &str = "mtls_endpoint_aliases";
        match self.0.get(ALIASES) {
            Some(Value::Object(aliases)) => {
                let alias = endpoint(aliases, key).map_err(|why| format!("in {ALIASES}, {why}"))?;
                alias.map_or_else(|| self.endpoint(key), |alias| Ok(Some(alias)))
            }
            Some(Value::Null) | None => self.endpoint(key),
            Some(_) => Err(format!("{ALIASES} is not an object")),
        }
    }

    /// The string `key`; `None` if it is absent, empty or something else.
    pub fn text(&self, key: &str) -> Option<&str> {
        member(&self.0, key)?.as_str()
    }

    /// The strings of the list `key`, or of the one string that some servers write there; `None` if there is no
    /// list, which is different from an empty one.
    pub fn list(&self, key: &str) -> Option<Vec<String>> {
        names(member(&self.0, key)?)
    }

    /// The URLs that it names: its endpoints and its keys.
    pub fn urls(&self) -> impl Iterator<Item = (&str, &str)> {
        let aliases = self.0.get("mtls_endpoint_aliases").and_then(Value::as_object).into_iter().flatten();
        let named = self.0.iter().chain(aliases).filter(|(key, _)| key.ends_with("_endpoint") || *key == "jwks_uri");
        named.filter_map(|(key, url)| Some((key.as_str(), url.as_str()?)))
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
        flag(member(&self.0, key)?)
    }
}

/// What stands for the tenant in the issuer of Entra's `common`, `organizations` and the like: an ID token's `iss` has
/// that token's `tid` in its place (Microsoft identity platform, "Claims in an ID token", `iss`).
const TENANT: &str = "{tenantid}";

/// Whether `said`, the issuer as its metadata name it, is the issuer `asked`, as a person has it: to the letter, but
/// for a slash at the end, which one of them may have, and for [`TENANT`]. From then on it is the one that the metadata
/// name, to the letter ([`is_of`]).
fn is_same(said: &str, asked: &str) -> bool {
    let (said, asked) = (said.strip_suffix('/').unwrap_or(said), asked.strip_suffix('/').unwrap_or(asked));
    is_of(said, asked) || is_of(asked, said)
}

/// Whether `said`, the `iss` of an answer, is `issuer`, in which [`TENANT`] stands for one segment of the path.
pub fn is_of(said: &str, issuer: &str) -> bool {
    let fits = |text: &str, template: &str| {
        let Some((before, after)) = template.split_once(TENANT) else { return false };
        // Only in the path: a tenant is not a host.
        if before.split_once("://").is_none_or(|(_, rest)| !rest.contains('/')) {
            return false;
        }
        let tenant = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        tenant.is_some_and(|tenant| !tenant.is_empty() && !tenant.contains(['/', '?', '#', '{']))
    };
    said == issuer || fits(said, issuer)
}

/// `issuer` with `tenant` (an ID token's `tid`) filled in, if it has a place for it.
pub fn of_tenant(issuer: &str, tenant: Option<&str>) -> String {
    let is_id = |tenant: &&str| !tenant.is_empty() && tenant.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match tenant.filter(is_id) {
        Some(tenant) => issuer.replace(TENANT, tenant),
        None => issuer.into(),
    }
}

/// Whether `issuer` names one issuer, not a template of many.
pub fn is_one(issuer: &str) -> bool {
    !issuer.is_empty() && !issuer.contains(TENANT)
}

fn endpoint(object: &Map<String, Value>, key: &str) -> std::result::Result<Option<String>, String> {
    let text = match member(object, key) {
        None => return Ok(None),
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
    document(body)
}

/// The key set itself, if it is one.
pub fn keys(body: &[u8]) -> std::result::Result<Vec<u8>, String> {
    match object(body)?.get("keys") {
        Some(Value::Array(_)) => Ok(body.to_vec()),
        _ => Err("it has no list of keys (`keys`)".into()),
    }
}

/// Metadata for tests, here and where they are fetched.
#[cfg(test)]
mod elsewhere_tests {
    use super::*;

    #[test]
    fn metadata_at_a_path_of_their_own_are_of_the_issuers_origin() {
        let read = |body: &str| Metadata::parse_elsewhere(body.as_bytes(), "https://a.example/fhir/");
        let issuer = |body: &str| read(body).map(|metadata| metadata.issuer().to_string());
        assert_eq!(issuer("{\"token_endpoint\":\"https://b.example/t\"}").as_deref(), Ok("https://a.example/fhir/"));
        assert_eq!(issuer("{\"issuer\":\"https://a.example/oidc\"}").as_deref(), Ok("https://a.example/oidc"));
        for body in ["{\"issuer\":\"https://b.example\"}", "{\"issuer\":1}", "{\"issuer\":\"a.example\"}", "[]", "x"] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}

#[cfg(test)]
pub mod testing {
    pub const ISSUER: &str = "https://a.example/t";

    /// A document that names `issuer`.
    pub fn said(issuer: &str) -> String {
        serde_json::json!({ "issuer": issuer, "token_endpoint": "https://b.example/token" }).to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::testing::{ISSUER, said};
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_the_specifications_put_it() {
        let bare = [
            "https://a.example/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server",
        ];
        assert_eq!(addresses("https://a.example", First::OpenId).unwrap(), bare);
        assert_eq!(addresses("https://a.example/", First::OpenId).unwrap(), bare);
        let deep = [
            "https://a.example:8443/t/1/.well-known/openid-configuration",
            "https://a.example:8443/.well-known/oauth-authorization-server/t/1",
            "https://a.example:8443/.well-known/openid-configuration/t/1",
            "https://a.example:8443/t/1/.well-known/oauth-authorization-server",
        ];
        assert_eq!(addresses("https://a.example:8443/t/1", First::OpenId).unwrap(), deep);
        assert_eq!(addresses("https://a.example:8443/t/1/", First::OpenId).unwrap(), deep);
        assert_eq!(
            addresses("http://[::1]:8/t//", First::OpenId).unwrap()[0],
            "http://[::1]:8/t//.well-known/openid-configuration"
        );
        // The cases of the client tests of the MCP SDKs, as facts.
        let oauth = |issuer| addresses(issuer, First::OAuth).unwrap();
        assert_eq!(oauth("https://a.example"), [bare[1], bare[0]]);
        assert_eq!(oauth("https://a.example:8443/t/1"), [deep[1], deep[2], deep[0], deep[3]]);
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
            assert!(addresses(issuer, First::OpenId).is_err(), "{issuer}");
        }
    }

    #[test]
    fn metadata_is_believed_only_from_its_own_issuer() {
        let why = |body: &str| Metadata::parse(body.as_bytes(), ISSUER).unwrap_err();
        assert!(Metadata::parse(said(ISSUER).as_bytes(), ISSUER).is_ok());
        assert_eq!(why(&said("https://e\u{1b}")), "it is for the issuer https://e\\u{1b}, not https://a.example/t");
        for near in ["https://a.example/t/", "https://a.example/{tenantid}"] {
            assert_eq!(Metadata::parse(said(near).as_bytes(), ISSUER).unwrap().issuer(), near);
        }
        assert!(why(&said("https://A.example/t")).ends_with("not https://a.example/t"));
        for (body, part) in [
            ("", "is empty"),
            (" <!doctype html>", "HTML"),
            ("{\"issuer\":", "not JSON"),
            ("[1]", "not a JSON object"),
            ("{}", "no `issuer`"),
            ("{\"issuer\":1}", "not a string"),
        ] {
            assert!(why(body).contains(part), "{body}");
        }
        assert!(Metadata::parse(b"\xff", ISSUER).is_err());
        assert!(Metadata::parse("[".repeat(1 << 20).as_bytes(), ISSUER).is_err());
    }

    #[test]
    fn each_endpoint_has_its_own_list_of_client_authentication() {
        let of = |more: &str| {
            let text = format!(
                r#"{{"issuer":"{ISSUER}","token_endpoint_auth_methods_supported":"client_secret_post"{more}}}"#
            );
            let all = Metadata::parse(text.as_bytes(), ISSUER).unwrap();
            ["token_endpoint", "revocation_endpoint", "introspection_endpoint", "device_authorization_endpoint"]
                .map(|endpoint| all.client_authentication(endpoint).join(" "))
        };
        const POST: &str = "client_secret_post";
        assert_eq!(of(""), [POST; 4]);
        let own = r#","revocation_endpoint_auth_methods_supported":["none"],"introspection_endpoint_auth_methods_supported":null"#;
        assert_eq!(of(own), [POST, "none", POST, POST]);
    }

    #[test]
    fn an_issuer_is_the_same_but_for_its_slash_and_its_tenant() {
        for (said, asked, same) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example/", "https://a.example", true),
            ("https://a.example/t", "https://a.example/t/", true),
            ("https://a.example//", "https://a.example", false),
            ("https://A.example", "https://a.example", false),
            ("https://l.example/{tenantid}/v2.0", "https://l.example/common/v2.0", true),
            ("https://l.example/9-a/v2.0", "https://l.example/{tenantid}/v2.0", true),
            ("https://l.example/{tenantid}/v2.0", "https://l.example/a/b/v2.0", false),
            ("https://l.example/{tenantid}/v2.0", "https://l.example//v2.0", false),
            ("https://{tenantid}/v2.0", "https://e.example/v2.0", false),
        ] {
            assert_eq!(is_same(said, asked), same, "{said} {asked}");
        }
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
        assert_eq!(all.mtls_endpoint("a"), Ok(Some("https://m.example/a".into())));
        assert_eq!(all.mtls_endpoint("local"), all.endpoint("local"));
        assert!(all.mtls_endpoint("h").unwrap_err().starts_with("in mtls_endpoint_aliases, h is not an https"));
        assert_eq!((all.text("a"), all.text("e"), all.text("n")), (Some("https://b.example/a?x=1"), None, None));
        assert_eq!((all.list("l"), all.list("n")), (Some(vec!["x".into(), "y".into()]), None));
        assert_eq!((all.flag("t"), all.flag("n"), all.flag("none")), (Some(true), None, None));
        let odd = Metadata::parse(text.replace("{\"a\":", "[{\"a\":").replace("}}", "}]}").as_bytes(), ISSUER).unwrap();
        assert!(odd.mtls_endpoint("a").is_err() && odd.endpoint("a").is_ok());
    }
}
