//! Protected resource metadata (RFC 9728): where an API says how it wants to be logged in to, and whether what is said
//! there may be believed. `profile/discovery/resource.rs` fetches it.

use crate::base::text::{escape, escape_to};
use crate::base::url::{self, Url};
use crate::oauth::challenge::{self, Challenge};
use crate::oauth::metadata::object;
use crate::oauth::reply::value::{member, names};
use crate::oauth::request::Response;
use serde_json::Value;

/// RFC 9728 §3
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Checks the address of an API, as a person gives it.
///
/// # Errors
/// What is wrong with it, in words that follow its name: it is neither https nor loopback, has a fragment (RFC 8707 §2),
/// or a path with `.` or `..`, which another reader may understand in another way.
pub fn check_address(address: &str) -> Result<(), String> {
    let rest = Url::parse(address)?.rest;
    if rest.contains('#') {
        return Err("has a fragment".into());
    }
    let path = rest.split('?').next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    match path.split('/').any(|segment| matches!(segment, "." | "..")) {
        true => Err("has a path with `.` or `..` in it".into()),
        false => Ok(()),
    }
}

/// What an API without metadata is called: its address without the query (RFC 8707 §2).
pub fn without_query(address: &str) -> &str {
    address.split('?').next().unwrap_or(address)
}

/// Where the metadata of the API at `address` may be, in the order in which the places are tried: where its challenge
/// says (`named`, RFC 9728 §5.1), else before its path, else at its root (§3.1).
///
/// # Errors
/// As [`check_address`].
pub fn addresses(address: &str, named: Option<&str>) -> Result<Vec<String>, String> {
    check_address(address)?;
    let url = Url::parse(address)?;
    let origin = address.strip_suffix(url.rest).unwrap_or(address);
    let (path, query) = match url.rest.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (url.rest, String::new()),
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut all: Vec<String> = named.map(str::to_string).into_iter().collect();
    for place in [format!("{origin}{WELL_KNOWN}{path}{query}"), format!("{origin}{WELL_KNOWN}")] {
        if !all.contains(&place) {
            all.push(place);
        }
    }
    Ok(all)
}

/// The metadata of an API, checked to be about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceMetadata {
    /// The API as it names itself, which tokens are asked for: to the letter.
    pub resource: String,
    /// The issuers that it takes tokens from; empty if it does not say.
    pub authorization_servers: Vec<String>,
    /// The scopes that it knows, as it lists them.
    pub scopes_supported: Vec<String>,
}

impl ResourceMetadata {
    /// Reads `body` as the metadata of the API at `address`.
    ///
    /// # Errors
    /// Why it is rejected: not a JSON object, about another API ([`covers`], RFC 9728 §3.3), or with members of another
    /// kind.
    pub fn parse(body: &[u8], address: &str) -> Result<ResourceMetadata, String> {
        let object = object(body)?;
        let resource = match member(&object, "resource") {
            Some(Value::String(resource)) => resource,
            Some(_) => return Err("its `resource` is not a string".into()),
            None => return Err("it has no `resource`".into()),
        };
        if !covers(resource, address) {
            return Err(format!("it is about {}, not {}", escape(resource), escape(address)));
        }
        let list = |name: &str| match member(&object, name) {
            None => Ok(Vec::new()),
            Some(value) => names(value).ok_or_else(|| format!("its `{name}` is not a list")),
        };
        let mut servers = list("authorization_servers")?;
        let mut seen = Vec::new();
        servers.retain(|server| {
            !seen.contains(server) && {
                seen.push(server.clone());
                true
            }
        });
        Ok(ResourceMetadata {
            resource: resource.clone(),
            authorization_servers: servers,
            scopes_supported: list("scopes_supported")?,
        })
    }
}

/// Whether `resource` is the API at `address` or holds it: of the same origin, and the same path or the beginning of it
/// up to a slash. One with a query stands for itself alone.
pub fn covers(resource: &str, address: &str) -> bool {
    let (Ok(whole), Ok(part)) = (Url::parse(resource), Url::parse(address)) else { return false };
    if whole.origin() != part.origin() || check_address(resource).is_err() {
        return false;
    }
    if whole.rest.contains('?') {
        return whole.rest == part.rest;
    }
    let path = whole.rest.strip_suffix('/').unwrap_or(whole.rest);
    let rest = part.rest.split('?').next().unwrap_or_default();
    rest.strip_prefix(path).is_some_and(|behind| behind.is_empty() || behind.starts_with('/'))
}

/// Whether the documents of the API at `address` may name `url`: not one of this machine or of its own network link
/// (169.254.0.0/16, where clouds keep credentials), unless the API itself is there.
///
/// # Errors
/// What is wrong with it, in words that follow its name.
pub fn check_named(url: &str, address: &str) -> Result<(), String> {
    let named = Url::parse(url)?;
    let is_near = |url: &Url| url::is_local(url.host);
    match is_near(&named) && !Url::parse(address).is_ok_and(|api| is_near(&api)) {
        true => Err("is an address of this machine or its own link, which an API elsewhere must not name".into()),
        false => Ok(()),
    }
}

/// What an API asks for when it is called without a token, or with one that does not do (RFC 6750 §3, RFC 9728 §5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Where its metadata are.
    pub metadata: Option<String>,
    /// The scopes that a token needs, as one text.
    pub scope: Option<String>,
    /// Why a token does not do: `invalid_token`, `insufficient_scope`, `invalid_request`.
    pub error: Option<String>,
    /// The same in words.
    pub description: Option<String>,
}

impl Demand {
    /// Reads the `WWW-Authenticate` header lines `lines`. A challenge for bearer tokens counts, or one for tokens that are
    /// bound to a key (RFC 9449 §7.1); of several the first that says something.
    pub fn of<'l>(lines: impl IntoIterator<Item = &'l str>) -> Demand {
        let challenges: Vec<Challenge> = lines.into_iter().flat_map(challenge::parse).collect();
        let is_of_token = |c: &&Challenge| ["Bearer", "DPoP"].iter().any(|s| c.scheme.eq_ignore_ascii_case(s));
        let first = |name: &str| {
            challenges.iter().filter(is_of_token).find_map(|challenge| challenge.get(name)).map(str::to_string)
        };
        Demand {
            metadata: first("resource_metadata"),
            scope: first("scope"),
            error: first("error"),
            description: first("error_description"),
        }
    }

    /// [`Demand::of`] the header lines of `response`.
    pub fn of_response(response: &Response) -> Demand {
        let lines = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
        Demand::of(lines.map(|(_, value)| value.as_str()))
    }
}

/// Why an API did not take a token, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub remedy: Remedy,
}

/// What makes an API take a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A login that asks for these scopes too; none where the API does not name them.
    Scope(Vec<String>),
    /// Another token.
    Renew,
    /// Nothing that is known here.
    Unknown,
}

/// What the reply of an API with `status` and these `WWW-Authenticate` lines says about the token; `None` if it took it.
pub fn rejection<'l>(status: u16, lines: impl IntoIterator<Item = &'l str>) -> Option<Rejection> {
    let demand = Demand::of(lines);
    let error = demand.error.as_deref();
    // RFC 6750 §3.1 gives each code its status; servers mix them up, so the code counts.
    if !matches!(status, 401 | 403) && error.is_none() {
        return None;
    }
    let mut why = match error {
        Some(code) => format!("{} (status {status})", escape_to(code, 40)),
        None => format!("status {status}"),
    };
    if let Some(description) = demand.description.as_deref().filter(|text| Some(*text) != error) {
        why = format!("{why}: {}", escape_to(description, 200));
    }
    let scopes = demand.scope.as_deref().map(|scope| scopes(scope).unwrap_or_default()).unwrap_or_default();
    let remedy = match error {
        Some("insufficient_scope") => Remedy::Scope(scopes),
        Some("invalid_token") => Remedy::Renew,
        None if status == 401 => Remedy::Renew,
        _ => Remedy::Unknown,
    };
    Some(Rejection { why, remedy })
}

/// The scopes of a list with spaces between (RFC 6749 §3.3).
///
/// # Errors
/// If one has a character that no scope may have; it is not shown as it stands.
pub fn scopes(text: &str) -> Result<Vec<String>, String> {
    let mut all: Vec<String> = Vec::new();
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        check_scope(scope)?;
        if !all.iter().any(|known| known == scope) {
            all.push(scope.into());
        }
    }
    Ok(all)
}

/// RFC 6749 §3.3: visible ASCII without `"` and `\`.
fn check_scope(scope: &str) -> Result<(), String> {
    let is_valid = |c: char| matches!(c, '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
    match !scope.is_empty() && scope.chars().all(is_valid) {
        true => Ok(()),
        false => Err(format!("the scope {} has characters that no scope may have", escape_to(scope, 80))),
    }
}

/// The scope that says that a refresh token is wanted (OpenID Connect Core §11).
const OFFLINE: &str = "offline_access";

/// What is known about scopes at a login.
#[derive(Clone, Debug, Default)]
pub struct ScopeSources<'a> {
    /// What the API's challenge asks for.
    pub demanded: Option<&'a str>,
    /// The scopes that the server has given the client by default, at its registration.
    pub by_default: Option<&'a str>,
    /// What the API's metadata list.
    pub supported: &'a [String],
    /// What the authorization server's metadata list.
    pub of_server: &'a [String],
}

impl ScopeSources<'_> {
    /// The scopes that a login asks for where a person has named none: those of the challenge; else none where the
    /// server has a default; else all that the API lists. `offline_access` besides, where the server knows it: without
    /// it many give no refresh token.
    ///
    /// # Errors
    /// As [`scopes`].
    pub fn choose(&self) -> Result<Vec<String>, String> {
        let mut chosen = match (self.demanded, self.by_default) {
            (Some(demanded), _) => scopes(demanded)?,
            (None, Some(default)) if !default.trim().is_empty() => return Ok(Vec::new()),
            (None, _) => scopes(&self.supported.join(" "))?,
        };
        if self.of_server.iter().any(|scope| scope == OFFLINE) && !chosen.iter().any(|scope| scope == OFFLINE) {
            chosen.push(OFFLINE.into());
        }
        Ok(chosen)
    }
}

/// The profile's name for the API at `address`: its host with `-` for every dot and colon. `None` if that is no name.
pub fn profile_name(address: &str) -> Option<String> {
    let host = Url::parse(address).ok()?.host.trim_matches(['[', ']']).to_ascii_lowercase();
    let name = host.replace(['.', ':', '_'], "-");
    let name = name.trim_matches('-');
    crate::base::name::is_name(name).then(|| name.to_string())
}

/// The host of `address` as the config's `hosts` has it: with its scheme unless that is https, with its port unless that
/// is the scheme's own.
pub fn config_host(address: &str) -> Option<String> {
    let origin = Url::parse(address).ok()?.origin();
    Some(origin.strip_prefix("https://").map(str::to_string).unwrap_or(origin))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The cases of the client tests of the MCP SDKs (TypeScript and Python), as facts: where is looked, in which order.
    #[test]
    fn metadata_are_looked_for_where_the_api_says_then_before_the_path_then_at_the_root() {
        const ROOT: &str = "https://api.example/.well-known/oauth-protected-resource";
        for (address, named, expected) in [
            ("https://api.example", None, vec![ROOT.to_string()]),
            ("https://api.example/", None, vec![ROOT.into()]),
            ("https://api.example/mcp", None, vec![format!("{ROOT}/mcp"), ROOT.into()]),
            ("https://api.example/mcp/", None, vec![format!("{ROOT}/mcp"), ROOT.into()]),
            ("https://api.example/v1/mcp", None, vec![format!("{ROOT}/v1/mcp"), ROOT.into()]),
            ("https://api.example/mcp?t=1", None, vec![format!("{ROOT}/mcp?t=1"), ROOT.into()]),
            ("https://api.example?t=1", None, vec![format!("{ROOT}?t=1"), ROOT.into()]),
            (
                "https://api.example/mcp",
                Some("https://other.example/x"),
                vec!["https://other.example/x".into(), format!("{ROOT}/mcp"), ROOT.into()],
            ),
            ("https://api.example/mcp", Some(ROOT), vec![ROOT.into(), format!("{ROOT}/mcp")]),
        ] {
            assert_eq!(addresses(address, named).unwrap(), expected, "{address}");
        }
        assert_eq!(
            addresses("http://[::1]:8/a", None).unwrap()[0],
            "http://[::1]:8/.well-known/oauth-protected-resource/a"
        );
    }

    #[test]
    fn an_address_is_one_that_all_read_alike() {
        for address in
            ["https://a.example", "https://a.example/x?y=..", "http://localhost:3000/mcp", "http://127.0.0.1/"]
        {
            assert_eq!(check_address(address), Ok(()), "{address}");
        }
        for address in [
            "a.example/mcp",
            "http://a.example/mcp",
            "https://a.example/#x",
            "https://a.example/x/../y",
            "https://a.example/x/%2E%2e/y",
            "https://a.example/./y",
            "https://u:p@a.example/",
            "https://a.example/a b",
        ] {
            assert!(check_address(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_resource_holds_what_stands_below_it_at_its_own_origin() {
        for (resource, address) in [
            ("https://api.example/mcp", "https://api.example/mcp"),
            ("https://api.example/mcp", "https://api.example/mcp/"),
            ("https://api.example/mcp/", "https://api.example/mcp"),
            ("https://api.example/mcp", "https://api.example/mcp/a/b"),
            ("https://api.example/mcp", "https://api.example/mcp?x=1"),
            ("https://api.example", "https://api.example/mcp"),
            ("https://api.example/", "https://api.example/mcp"),
            ("https://API.example:443/mcp", "https://api.example/mcp"),
            ("https://api.example/mcp?x=1", "https://api.example/mcp?x=1"),
        ] {
            assert!(covers(resource, address), "{resource} {address}");
        }
        for (resource, address) in [
            ("https://api.example/mcp", "https://api.example/mcp2"),
            ("https://api.example/mcp", "https://api.example/mc"),
            ("https://api.example/mcp", "https://api.example/"),
            ("https://api.example/MCP", "https://api.example/mcp"),
            ("https://api.example/mcp?x=1", "https://api.example/mcp"),
            ("https://api.example/mcp/..", "https://api.example/mcp/../x"),
            ("https://other.example/mcp", "https://api.example/mcp"),
            ("https://api.example.evil/mcp", "https://api.example/mcp"),
            ("https://api.example:8443/mcp", "https://api.example/mcp"),
            ("http://127.0.0.1/mcp", "https://127.0.0.1/mcp"),
            ("api.example/mcp", "https://api.example/mcp"),
            ("", "https://api.example/mcp"),
        ] {
            assert!(!covers(resource, address), "{resource} {address}");
        }
    }

    #[test]
    fn metadata_are_about_the_api_or_rejected() {
        const ADDRESS: &str = "https://api.example/mcp";
        let read = |text: &str| ResourceMetadata::parse(text.as_bytes(), ADDRESS);
        let found = read(
            r#"{"resource":"https://api.example/mcp","authorization_servers":["https://a.example","https://b.example","https://a.example"],"scopes_supported":["r","w"],"x":[]}"#,
        );
        let found = found.unwrap();
        assert_eq!(found.resource, ADDRESS);
        assert_eq!(found.authorization_servers, ["https://a.example", "https://b.example"]);
        assert_eq!(found.scopes_supported, ["r", "w"]);
        let bare = read(r#"{"resource":"https://api.example"}"#).unwrap();
        assert!(bare.authorization_servers.is_empty() && bare.scopes_supported.is_empty());
        for (text, why) in [
            (r#"{"resource":"https://evil.example/mcp"}"#, "it is about https://evil.example/mcp, not"),
            (r#"{"resource":"https://evil.example/\u001b[2J"}"#, "\\u{1b}"),
            (r#"{"resource":["https://api.example/mcp"]}"#, "not a string"),
            (r#"{"authorization_servers":[]}"#, "no `resource`"),
            (r#"{"resource":"https://api.example/mcp","authorization_servers":5}"#, "not a list"),
            ("[]", "not a JSON object"),
            ("<html>", "HTML"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why) && !error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn an_api_elsewhere_names_nothing_on_this_machine() {
        const FAR: &str = "https://api.example/mcp";
        for url in ["https://auth.example", "https://10.0.0.1/", "https://auth.internal:8443/x"] {
            assert_eq!(check_named(url, FAR), Ok(()), "{url}");
        }
        for url in [
            "http://127.0.0.1:8080",
            "https://localhost/",
            "http://[::1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://[fe80::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://x.localhost/",
            "https://0.0.0.0/",
            "http://auth.example",
            "file:///etc/passwd",
            "javascript:alert(1)",
        ] {
            assert!(check_named(url, FAR).is_err(), "{url}");
        }
        assert_eq!(check_named("http://localhost:9/", "http://127.0.0.1:8/mcp"), Ok(()));
    }

    #[test]
    fn a_challenge_for_tokens_counts_among_others() {
        let demand = |lines: &[&str]| Demand::of(lines.iter().copied());
        let all = demand(&[
            r#"Basic realm="x", scope="no""#,
            r#"Bearer realm="api", resource_metadata="https://api.example/m", Digest qop="auth", scope=no"#,
            r#"bearer scope="a b", error="insufficient_scope", error_description="more""#,
        ]);
        assert_eq!(all.metadata.as_deref(), Some("https://api.example/m"));
        assert_eq!(all.scope.as_deref(), Some("a b"));
        assert_eq!((all.error.as_deref(), all.description.as_deref()), (Some("insufficient_scope"), Some("more")));
        assert_eq!(demand(&[r#"DPoP algs="ES256", scope="a""#]).scope.as_deref(), Some("a"));
        assert_eq!(demand(&["Basic scope=a", "Negotiate", ""]), Demand::default());
        assert_eq!(
            demand(&["Bearer resource_metadata=https://api.example/m"]).metadata.as_deref(),
            Some("https://api.example/m")
        );
    }

    #[test]
    fn why_a_token_is_refused() {
        let read = |status, line: &str| rejection(status, [line]);
        assert_eq!(read(200, ""), None);
        assert_eq!(read(405, "Bearer"), None);
        assert_eq!(read(404, ""), None);
        let of = |status, line: &str| read(status, line).unwrap();
        assert_eq!(of(401, "").remedy, Remedy::Renew);
        assert_eq!(of(403, "").remedy, Remedy::Unknown);
        assert_eq!(of(401, r#"Bearer error="invalid_token""#).remedy, Remedy::Renew);
        let more =
            of(403, r#"Bearer error="insufficient_scope", scope="files:read files:write", error_description="no""#);
        assert_eq!(more.remedy, Remedy::Scope(vec!["files:read".into(), "files:write".into()]));
        assert_eq!(more.why, "insufficient_scope (status 403): no");
        // A scope that cannot be one is named to nobody.
        assert_eq!(of(403, "Bearer error=insufficient_scope, scope=\"a\u{1b}[2J\"").remedy, Remedy::Scope(vec![]));
        assert!(!of(403, "Bearer error=\"x\u{1b}[2J\"").why.contains('\u{1b}'));
        assert_eq!(of(400, r#"Bearer error="invalid_request""#).remedy, Remedy::Unknown);
    }

    #[test]
    fn scopes_are_words_without_control_characters() {
        assert_eq!(scopes(" a  b a https://x.example/y ").unwrap(), ["a", "b", "https://x.example/y"]);
        assert!(scopes("").unwrap().is_empty());
        for text in ["a\u{1b}[2Jb", "a\nb", "a\"b", "a\\b", "é", "a\u{0}"] {
            let error = scopes(text).unwrap_err();
            assert!(!error.contains(['\u{1b}', '\n']), "{error}");
        }
    }

    /// The order of the MCP authorization specification, "Scope Selection Strategy", and of the contract.
    #[test]
    fn scopes_are_chosen_in_order() {
        let supported = ["r".to_string(), "w".into()];
        let choose = |demanded, by_default, of_server: &[&str]| {
            let of_server: Vec<String> = of_server.iter().map(|s| s.to_string()).collect();
            let sources = ScopeSources { demanded, by_default, supported: &supported, of_server: &of_server };
            sources.choose().unwrap().join(" ")
        };
        assert_eq!(choose(Some("x y"), Some("d"), &[]), "x y");
        assert_eq!(choose(None, Some("d"), &["offline_access"]), "");
        assert_eq!(choose(None, None, &[]), "r w");
        assert_eq!(choose(None, Some(" "), &[]), "r w");
        assert_eq!(choose(Some("x"), None, &["x", "offline_access"]), "x offline_access");
        assert_eq!(choose(Some("offline_access x"), None, &["offline_access"]), "offline_access x");
        let odd = ["a\u{7}".to_string()];
        assert!(ScopeSources { supported: &odd, ..ScopeSources::default() }.choose().is_err());
        assert!(ScopeSources { demanded: Some("a"), supported: &odd, ..ScopeSources::default() }.choose().is_ok());
    }

    #[test]
    fn a_host_names_a_profile_and_a_host_of_the_config() {
        for (address, name, host) in [
            ("https://mcp.example.com/mcp", Some("mcp-example-com"), Some("mcp.example.com")),
            ("https://MCP.Example.com:8443/", Some("mcp-example-com"), Some("mcp.example.com:8443")),
            ("http://127.0.0.1:3000/mcp", Some("127-0-0-1"), Some("http://127.0.0.1:3000")),
            ("http://[::1]:3000/", Some("1"), Some("http://[::1]:3000")),
            ("http://localhost/", Some("localhost"), Some("http://localhost")),
            ("https://my_api.example/", Some("my-api-example"), Some("my_api.example")),
            ("https://help/", None, Some("help")),
            ("nothing", None, None),
        ] {
            assert_eq!(profile_name(address).as_deref(), name, "{address}");
            assert_eq!(config_host(address).as_deref(), host, "{address}");
        }
        assert_eq!(profile_name(&format!("https://{}.example/", "a".repeat(63))), None);
    }
}
