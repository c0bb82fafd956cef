//! What an authorization server says of itself (RFC 8414, OpenID Connect Discovery 1.0) and its public keys (RFC 7517):
//! where they are, what may be believed of them, and copies on disk for as long as the server allows.

use crate::base::digest;
use crate::base::error::{Error, Kind, Result};
use crate::base::text::escape;
use crate::base::time::{CLOCK_SLACK, Time};
use crate::base::url::Url;
use crate::host::Host;
use crate::oauth::reply::redirect;
use crate::oauth::request::{self, Response};
use crate::system::files::{self, Durable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The shortest time a copy is used for, and between two requests for missing keys, in seconds.
const MINUTE: i64 = 60;
/// How long a copy is used where the server says nothing of it, in seconds.
const HOUR: i64 = 60 * MINUTE;
/// The longest time a copy is used for, also while the server cannot be reached, in seconds.
const DAY: i64 = 24 * HOUR;
/// The most that a copy may hold, in bytes: a body of 1 MiB, each of its bytes perhaps escaped.
const LIMIT: u64 = 4 << 20;

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

fn object(body: &[u8]) -> std::result::Result<Map<String, Value>, String> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("it is no JSON object".into()),
        Err(_) if body.trim_ascii().is_empty() => Err("it is empty".into()),
        Err(_) if body.trim_ascii_start().starts_with(b"<") => Err("it is an HTML or XML page".into()),
        // serde_json's own message names the place, never the text.
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

/// How long a reply with these header lines may be kept, in seconds (RFC 9111 §5.2.2), from a minute to a day;
/// `None`: not at all. What must be asked about each time is kept for the minute.
fn lifetime(headers: &[(String, String)]) -> Option<i64> {
    let mut seconds = None;
    let lines = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
    for directive in lines.flat_map(|(_, value)| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let value = value.trim().trim_matches('"');
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let said = match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => return None,
            "no-cache" => 0,
            // Too many digits are a very long time.
            "max-age" if digits => value.parse().unwrap_or(i64::MAX),
            "max-age" => 0,
            _ => continue,
        };
        seconds = Some(seconds.map_or(said, |earlier: i64| earlier.min(said)));
    }
    Some(seconds.unwrap_or(HOUR).clamp(MINUTE, DAY))
}

/// The metadata of `issuer`: a copy for as long as the server allows, else from the server. `fresh` asks the server in
/// any case. Where it cannot be reached and `fresh` is not set, a copy less than a day old will do, which is said with
/// `-v`.
///
/// # Errors
/// [`Kind::Config`] where the issuer cannot be one; [`Kind::Refused`] where it publishes no metadata; [`Kind::Reply`] where what it publishes is
/// no metadata or is another issuer's, and for a redirect, which is not followed; [`Kind::Unavailable`] where the
/// server could not be reached or has trouble; else as [`Host::send`].
pub fn discover(host: &mut Host, issuer: &str, ca_file: Option<&Path>, fresh: bool) -> Result<Metadata> {
    // Not shown: it may hold a password.
    let addresses = addresses(issuer).map_err(|why| {
        Error::new(Kind::Config, "the issuer cannot be used", format!("it {why}"))
            .hint("give the issuer as the server's operator names it, such as https://login.example.com")
    })?;
    let place = Place::of(host, "metadata", issuer);
    let read = |body: &[u8]| Metadata::parse(body, issuer);
    let (now, youth) = (host.now(), fresh.then_some(0));
    let mut ask = |url: &str| host.send(&request::get(url), ca_file);
    let (metadata, note) = place.get(now, youth, &read, &mut || search(issuer, &addresses, &mut ask))?;
    note.iter().for_each(|note| host.detail(note));
    Ok(metadata)
}

/// The key set at `url`, a JWKS document as it stands (RFC 7517 §5), kept as [`discover`] keeps metadata. A caller who
/// misses a key in it asks again with `fresh`; a copy less than a minute old is then given once more, so that a forged
/// key id cannot make every call a request. A server that forbids copies is asked each time.
///
/// # Errors
/// As [`discover`]; [`Kind::Reply`] too where the server has nothing there.
pub fn jwks(host: &mut Host, url: &str, ca_file: Option<&Path>, fresh: bool) -> Result<Vec<u8>> {
    let place = Place::of(host, "jwks", url);
    let (now, youth) = (host.now(), fresh.then_some(MINUTE));
    let mut ask = |url: &str| host.send(&request::get(url), ca_file);
    let (keys, note) = place.get(now, youth, &keys, &mut || only(url, &mut ask))?;
    note.iter().for_each(|note| host.detail(note));
    Ok(keys)
}

/// A way to the network: the reply to a GET.
type Ask<'a> = &'a mut dyn FnMut(&str) -> Result<Response>;

/// The reply at `url` that is a document, or says by a 4xx that there is none.
fn fetch(url: &str, ask: Ask) -> Result<Response> {
    let response = ask(url)?;
    match response.status {
        408 | 429 | 500.. => {
            Err(unusable(url, Kind::Unavailable, format!("the server has trouble (status {})", response.status)))
        }
        200..300 | 400..500 => Ok(response),
        300..400 => Err(unusable(url, Kind::Reply, redirect(&response))),
        status => Err(unusable(url, Kind::Reply, format!("status {status} is no answer"))),
    }
}

fn unusable(url: &str, kind: Kind, why: impl Into<String>) -> Error {
    Error::new(kind, format!("{} cannot be used", escape(url)), why)
}

/// Asks at each of `addresses` until one has the metadata. Some servers answer what they do not know with a page of
/// their own and 200, so a page at one address is no reason not to ask at the next; another issuer's metadata is.
fn search(issuer: &str, addresses: &[String], ask: Ask) -> Result<(Metadata, Response)> {
    let mut absent = Vec::new();
    let mut odd = None;
    for address in addresses {
        let response = fetch(address, ask)?;
        if response.status >= 400 {
            absent.push(format!("{} (status {})", escape(address), response.status));
            continue;
        }
        match (Metadata::parse(&response.body, issuer), object(&response.body)) {
            (Ok(metadata), _) => return Ok((metadata, response)),
            (Err(why), Ok(_)) => {
                let hint = "look at the issuer; both must be the same to the letter";
                return Err(unusable(address, Kind::Reply, why).hint(hint));
            }
            (Err(_), Err(why)) => {
                odd.get_or_insert(unusable(address, Kind::Reply, why));
            }
        }
    }
    let hint = "look at the issuer; for a server without metadata give the endpoints themselves, --token-url first";
    Err(odd
        .unwrap_or_else(|| {
            let why = format!("it publishes no metadata: nothing at {}", absent.join(", "));
            Error::new(Kind::Refused, escape(issuer), why)
        })
        .hint(hint))
}

/// The key set at `url` and nowhere else.
fn only(url: &str, ask: Ask) -> Result<(Vec<u8>, Response)> {
    let response = fetch(url, ask)?;
    if response.status >= 400 {
        return Err(unusable(url, Kind::Reply, format!("there is nothing (status {})", response.status)));
    }
    let keys = keys(&response.body).map_err(|why| unusable(url, Kind::Reply, why))?;
    Ok((keys, response))
}

/// The key set itself, if it is one.
fn keys(body: &[u8]) -> std::result::Result<Vec<u8>, String> {
    match object(body)?.get("keys") {
        Some(Value::Array(_)) => Ok(body.to_vec()),
        _ => Err("there is no list of keys in it".into()),
    }
}

/// A document as it waits on disk.
#[derive(Serialize, Deserialize)]
struct Copy {
    /// The issuer or URL.
    of: String,
    /// Nanoseconds since 1970.
    fetched: i64,
    /// How long it may be used, in seconds.
    lifetime: i64,
    body: String,
}

/// The place of one document's copy. Whatever is wrong with a copy is a miss, never an error.
struct Place {
    /// `None` where the user has no home.
    file: Option<PathBuf>,
    of: String,
}

impl Place {
    fn of(host: &Host, kind: &str, of: &str) -> Place {
        Place::within(host.folders().ok().map(|folders| folders.metadata()), kind, of)
    }

    fn within(folder: Option<PathBuf>, kind: &str, of: &str) -> Place {
        let name = format!("{}.json", digest::hex(&[kind.as_bytes(), of.as_bytes()]));
        Place { file: folder.map(|folder| folder.join(name)), of: of.to_string() }
    }

    /// The document: its copy, where that is younger than `youth` seconds or, without one, still alive; else by
    /// `fetch`. Beside it what should be said with `-v`.
    fn get<T>(
        &self,
        now: Time,
        youth: Option<i64>,
        read: &dyn Fn(&[u8]) -> std::result::Result<T, String>,
        fetch: &mut dyn FnMut() -> Result<(T, Response)>,
    ) -> Result<(T, Option<String>)> {
        let copy = self
            .read(now)
            .and_then(|(copy, age)| Some((read(copy.body.as_bytes()).ok()?, age, copy.lifetime.min(DAY))));
        let copy = match copy {
            Some((document, age, lifetime)) if age < youth.unwrap_or(lifetime) => return Ok((document, None)),
            other => other,
        };
        match (fetch(), copy) {
            (Ok((document, response)), _) => {
                self.keep(&response);
                Ok((document, None))
            }
            (Err(error), Some((document, age, _)))
                if error.kind == Kind::Unavailable && youth.is_none() && age < DAY =>
            {
                Ok((document, Some(format!("{error}; a copy {} min old is used", age / MINUTE))))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The copy and its age in seconds.
    fn read(&self, now: Time) -> Option<(Copy, i64)> {
        let file = self.file.as_deref()?;
        // In a folder of others somebody may have put a document for us.
        if !file.ancestors().skip(1).take(2).all(files::is_own_dir) {
            return None;
        }
        let copy: Copy = serde_json::from_slice(&files::read_private(file, LIMIT).ok()??).ok()?;
        let age = now.secs().saturating_sub(Time(copy.fetched).secs());
        // One of the future: the clock was set back, and how old it is nobody knows.
        (copy.of == self.of && age >= -CLOCK_SLACK).then_some((copy, age.max(0)))
    }

    /// Puts the body of `response` on disk for as long as it says. A failure costs time alone.
    fn keep(&self, response: &Response) {
        let Some(file) = self.file.as_deref() else { return };
        let (Some(lifetime), Ok(body)) = (lifetime(&response.headers), std::str::from_utf8(&response.body)) else {
            let _ = std::fs::remove_file(file);
            return;
        };
        let copy = Copy { of: self.of.clone(), fetched: response.received.0, lifetime, body: body.into() };
        let mut folders: Vec<&Path> = file.ancestors().skip(1).take(2).collect();
        folders.reverse();
        if let Ok(text) = serde_json::to_vec(&copy)
            && folders.into_iter().all(|folder| files::private_dir(folder).is_ok())
        {
            let _ = files::write_private(file, &text, Durable::No);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use zeroize::Zeroizing;

    const ISSUER: &str = "https://a.example/t";

    fn said(issuer: &str) -> String {
        serde_json::json!({ "issuer": issuer, "token_endpoint": "https://b.example/token" }).to_string()
    }

    fn reply(status: u16, cache_control: Option<&str>, body: &str, at: i64) -> Response {
        let headers = cache_control.map(|value| ("Cache-Control".to_string(), value.to_string()));
        let body = Zeroizing::new(body.as_bytes().to_vec());
        Response { status, headers: headers.into_iter().collect(), body, received: Time::from_secs(at) }
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

    #[test]
    fn the_server_says_how_long_a_copy_lives() {
        let life = |lines: &[&str]| {
            let headers: Vec<_> = lines.iter().map(|line| ("cache-control".to_string(), line.to_string())).collect();
            lifetime(&headers)
        };
        assert_eq!(life(&[]), Some(HOUR));
        assert_eq!(life(&["public, max-age=600"]), Some(600));
        assert_eq!(life(&["Max-Age=\"600\" , must-revalidate"]), Some(600));
        assert_eq!(life(&["max-age=0"]), Some(MINUTE));
        assert_eq!(life(&["max-age=-1"]), Some(MINUTE));
        assert_eq!(life(&["max-age=99999999999999999999999"]), Some(DAY));
        assert_eq!(life(&["max-age=600, no-cache"]), Some(MINUTE));
        assert_eq!(life(&["max-age=600", "No-Store"]), None);
        assert_eq!(life(&["s-maxage=5, private"]), Some(HOUR));
    }

    #[test]
    fn the_next_address_is_asked_where_there_is_nothing() {
        let all = addresses(ISSUER).unwrap();
        let found = |replies: &[(u16, &str)]| {
            let mut asked = 0;
            let result = search(ISSUER, &all, &mut |url| {
                let (status, body) = replies[asked];
                assert_eq!(url, all[asked]);
                asked += 1;
                Ok(reply(status, None, body, 0))
            });
            (result.map(|_| ()).map_err(|e| (e.kind, e.to_string(), e.hint)), asked)
        };
        let good = said(ISSUER);
        assert_eq!(found(&[(200, &good)]), (Ok(()), 1));
        assert_eq!(found(&[(404, ""), (401, "{}"), (200, &good)]), (Ok(()), 3));
        assert_eq!(found(&[(200, "<html>"), (200, &good)]), (Ok(()), 2));
        for (replies, kind, part, asked) in [
            (&[(404, ""), (503, "")][..], Kind::Unavailable, "oauth-authorization-server/t cannot be used", 2),
            (&[(429, "")], Kind::Unavailable, "has trouble (status 429)", 1),
            (&[(302, "")], Kind::Reply, "it redirects elsewhere", 1),
            (&[(200, &said("https://e.example"))], Kind::Reply, "of the issuer https://e.example, not of", 1),
            (&[(200, "{}")], Kind::Reply, "names no issuer", 1),
            (&[(200, "<html>"), (404, ""), (200, "{")], Kind::Reply, "HTML", 3),
            (&[(404, ""), (403, ""), (410, "")], Kind::Refused, "https://a.example/t: it publishes no metadata: ", 3),
        ] {
            let (result, count) = found(replies);
            let (of, text, _) = result.unwrap_err();
            assert!(of == kind && text.contains(part) && count == asked, "{of:?} {text} {count}");
        }
        let (result, _) = found(&[(404, ""), (404, ""), (404, "")]);
        assert!(result.unwrap_err().2.unwrap().contains("--token-url"));
    }

    /// A place in a folder of its own, and what a call finds there at `now`: whether it asked, and the document's
    /// mark or the error.
    struct World {
        dir: tempfile::TempDir,
        place: Place,
    }

    impl World {
        fn new() -> World {
            let dir = tempfile::tempdir().unwrap();
            let place = Place::within(Some(dir.path().join("tok/metadata")), "metadata", ISSUER);
            World { dir, place }
        }

        /// The text that the call gives, whether it asked for it, and whether something is to be said.
        fn get(&self, now: i64, youth: Option<i64>, answer: Result<(&str, Option<&str>)>) -> (String, bool, bool) {
            let mut asked = false;
            let read = |body: &[u8]| String::from_utf8(body.to_vec()).map_err(|e| e.to_string());
            let result = self.place.get(Time::from_secs(now), youth, &read, &mut || {
                asked = true;
                let (text, cache_control) = answer.clone()?;
                Ok((text.to_string(), reply(200, cache_control, text, now)))
            });
            let (text, note) = result.unwrap_or_else(|error| (format!("{:?}", error.kind), None));
            (text, asked, note.is_some())
        }

        fn file(&self) -> PathBuf {
            self.place.file.clone().unwrap()
        }
    }

    fn down<T>() -> Result<T> {
        Err(Error::new(Kind::Unavailable, "a.example could not be reached", "connection refused"))
    }

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_copy_is_used_as_long_as_it_lives() {
        let world = World::new();
        assert_eq!(world.get(NOW, None, Ok(("1", Some("max-age=600")))), ("1".into(), true, false));
        assert_eq!(world.get(NOW + 599, None, Ok(("2", None))), ("1".into(), false, false));
        assert_eq!(world.get(NOW - 3, None, Ok(("2", None))), ("1".into(), false, false));
        assert_eq!(world.get(NOW + 600, None, Ok(("2", Some("no-store")))), ("2".into(), true, false));
        assert!(!world.file().exists());
        assert_eq!(world.get(NOW + 601, None, Ok(("3", None))), ("3".into(), true, false));
        assert_eq!(world.get(NOW - 60, None, Ok(("4", None))), ("4".into(), true, false), "the clock was set back");
    }

    #[test]
    fn whoever_wants_it_fresh_gets_it_so() {
        let world = World::new();
        world.get(NOW, None, Ok(("1", None)));
        assert_eq!(world.get(NOW + 1, Some(0), Ok(("2", None))), ("2".into(), true, false));
        assert_eq!(world.get(NOW + 60, Some(MINUTE), Ok(("3", None))), ("2".into(), false, false));
        assert_eq!(world.get(NOW + 61, Some(MINUTE), Ok(("3", None))), ("3".into(), true, false));
        assert_eq!(world.get(NOW + 200, Some(MINUTE), down()), ("Unavailable".into(), true, false));
    }

    #[test]
    fn an_old_copy_will_do_while_the_server_cannot_be_reached() {
        let world = World::new();
        assert_eq!(world.get(NOW, None, down()), ("Unavailable".into(), true, false));
        world.get(NOW, None, Ok(("1", None)));
        assert_eq!(world.get(NOW + HOUR, None, down()), ("1".into(), true, true));
        let odd = Error::new(Kind::Reply, "a.example", "it is an HTML or XML page");
        assert_eq!(world.get(NOW + HOUR, None, Err(odd)), ("Reply".into(), true, false));
        assert_eq!(world.get(NOW + DAY - 1, None, down()), ("1".into(), true, true));
        assert_eq!(world.get(NOW + DAY, None, down()), ("Unavailable".into(), true, false));
    }

    #[test]
    fn a_copy_that_is_not_good_is_none() {
        let world = World::new();
        world.get(NOW, None, Ok(("1", None)));
        let good = fs::read_to_string(world.file()).unwrap();
        for bad in ["", "{}", "[", &good.replace("a.example", "b.example"), &good.replace("3600", "0"), &good[1..]] {
            fs::write(world.file(), bad).unwrap();
            assert_eq!(world.get(NOW, None, Ok(("2", None))), ("2".into(), true, false), "{bad}");
        }
        // No folder at all costs time alone.
        let nowhere = Place::within(None, "metadata", ISSUER);
        let got = nowhere.get(Time(0), None, &keys, &mut || Ok((vec![1], reply(200, None, "x", 0))));
        assert_eq!(got.unwrap().0, [1]);
        assert_ne!(
            Place::within(Some("x".into()), "jwks", ISSUER).file,
            Place::within(Some("x".into()), "metadata", ISSUER).file
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_copy_is_ours_alone() {
        use std::os::unix::fs::PermissionsExt;
        let world = World::new();
        world.get(NOW, None, Ok(("1", None)));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = world.dir.path().join("tok/metadata");
        assert_eq!((mode(&world.file()), mode(&folder), mode(folder.parent().unwrap())), (0o600, 0o700, 0o700));
        for (path, bad, good) in [(world.file(), 0o640, 0o600), (folder, 0o777, 0o700)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bad)).unwrap();
            assert_eq!(world.get(NOW, None, down()), ("Unavailable".into(), true, false), "{}", path.display());
            fs::set_permissions(&path, fs::Permissions::from_mode(good)).unwrap();
        }
        assert_eq!(world.get(NOW, None, down()), ("1".into(), false, false));
    }

    #[test]
    fn a_key_set_is_one_and_passed_on_as_it_stands() {
        let set = r#"{ "keys": [{"kty":"EC"}] }"#;
        let got = |status, body: &str| only("https://a.example/k", &mut |_| Ok(reply(status, None, body, 0)));
        assert_eq!(got(200, set).unwrap().0, set.as_bytes());
        for (status, body, part) in [
            (200, "{}", "no list of keys"),
            (200, "<html>", "HTML"),
            (404, set, "https://a.example/k cannot be used: there is nothing (status 404)"),
            (301, set, "redirects"),
        ] {
            let error = got(status, body).unwrap_err();
            assert!(error.kind == Kind::Reply && error.to_string().contains(part), "{error:?}");
        }
    }
}
