//! What an API says of itself, fetched: its challenge and its metadata (RFC 9728). `oauth/resource.rs` says where they are
//! and what may be believed.

use super::{discover, unusable};
use crate::base::error::{self, Error, Kind};
use crate::base::text::escape;
use crate::base::url::Url;
use crate::host::Host;
use crate::oauth::metadata::{First, object};
use crate::oauth::reply::redirect;
use crate::oauth::request::{self, Pair, Repeat, Request, Response};
use crate::oauth::resource::{Demand, ResourceMetadata, addresses, check_address, check_named, without_query};
use crate::profile::discovery::Copies;
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// How long each of its documents is waited for.
const EACH: Duration = Duration::from_secs(10);

/// What was found out about an API.
#[derive(Clone, Debug)]
pub struct Api {
    /// The address that was asked.
    pub address: String,
    /// The API as it names itself.
    pub resource: String,
    /// The issuers that it takes tokens from; empty if it names none.
    pub issuers: Vec<String>,
    /// The scopes that it asks for.
    pub demanded: Option<String>,
    /// The scopes that it knows.
    pub supported: Vec<String>,
}

/// How an API is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Its address.
    pub address: &'a str,
    /// Header lines that it needs, sent to its own origin alone.
    pub headers: &'a [Pair],
    /// The profile's `ca_file`.
    pub ca_file: Option<&'a Path>,
}

/// Asks the API once without a token, whatever it answers, and then for its metadata. An API without metadata names no
/// issuer; [`own_issuer`] may.
///
/// # Errors
/// [`Kind::Usage`] for an address that cannot be one; [`Kind::Reply`] for metadata of another API, for a place of them
/// that must not be named, and where there are none at the place that the API names; [`Kind::Unavailable`] where it
/// could not be reached.
pub fn api(host: &mut Host, question: Question) -> Result<Api> {
    let address = question.address;
    check_address(address).map_err(|why| {
        Error::new(Kind::Usage, "the address of the API cannot be used", format!("it {why}"))
            .hint("give the whole address, such as https://api.example.com/mcp")
    })?;
    let mut notes = Vec::new();
    let demand = match ask(host, question, address, Repeat::Personal) {
        Ok(response) => {
            if (300..400).contains(&response.status) {
                notes.push(format!("{} {}", escape(address), redirect(&response)));
            }
            Demand::of_response(&response)
        }
        // Its body does not matter.
        Err(error) if error.kind == Kind::Reply => Demand::default(),
        Err(error) => return Err(error.into()),
    };
    if let Some(place) = &demand.metadata {
        check_named(place, address).map_err(|why| {
            Error::new(Kind::Reply, format!("the metadata of {} cannot be used", escape(address)), why)
        })?;
        if origin(place) != origin(address) {
            host.terminal.detail(&format!(
                "{} names {} as the place of its metadata: believed, as the API itself says so, if they are about it",
                escape(address),
                escape(place)
            ));
        }
    }
    let bare = Api {
        address: address.into(),
        resource: without_query(address).into(),
        issuers: Vec::new(),
        demanded: demand.scope.clone(),
        supported: Vec::new(),
    };
    match metadata(host, question, demand.metadata.as_deref(), &mut notes)? {
        Some(found) => Ok(Api {
            resource: found.resource,
            issuers: found.authorization_servers,
            supported: found.scopes_supported,
            ..bare
        }),
        None => {
            notes.iter().for_each(|note| host.terminal.detail(note));
            Ok(bare)
        }
    }
}

/// The metadata at the first place that has them; `None` where no place has any, and `named`, the one that the API
/// names, is not there.
fn metadata(
    host: &mut Host,
    question: Question,
    named: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Option<ResourceMetadata>> {
    let mut failed = None;
    let wrong = |why: String| Error::new(Kind::Usage, "the address of the API cannot be used", format!("it {why}"));
    for place in addresses(question.address, named).map_err(wrong)? {
        let error = match ask(host, question, &place, Repeat::Freely) {
            Err(error) => error,
            Ok(response) if response.status >= 500 || response.status == 429 => {
                unusable(&place, Kind::Unavailable, format!("server error (status {})", response.status))
            }
            Ok(response) if response.status >= 400 => {
                notes.push(format!("nothing at {} (status {})", escape(&place), response.status));
                unusable(&place, Kind::Reply, format!("nothing there (status {})", response.status))
            }
            Ok(response) if response.status >= 300 => unusable(&place, Kind::Reply, redirect(&response)),
            Ok(response) => match (ResourceMetadata::parse(&response.body, question.address), object(&response.body)) {
                (Ok(metadata), _) => return Ok(Some(metadata)),
                // A document of another API is no reason to look for a better one.
                (Err(why), Ok(_)) => return Err(unusable(&place, Kind::Reply, why).into()),
                (Err(why), Err(_)) => unusable(&place, Kind::Reply, why),
            },
        };
        // Only what the API itself names has to be there: some servers answer what they do not know with a page.
        if error.kind == Kind::Unavailable || named == Some(place.as_str()) {
            failed.get_or_insert(error);
        } else {
            notes.push(error.to_string());
        }
    }
    failed.map_or(Ok(None), |error| Err(error.into()))
}

/// The issuer that the API's own origin is, where it is one.
///
/// # Errors
/// [`Kind::Reply`] where it is none, saying where was looked; [`Kind::Unavailable`] where it could not be asked.
pub fn own_issuer(host: &mut Host, api: &Api, ca_file: Option<&Path>) -> Result<String> {
    let own = origin(&api.address).unwrap_or_default();
    match discover(host, &own, First::OAuth, ca_file, Copies::Refused) {
        Ok(metadata) => Ok(metadata.issuer().to_string()),
        Err(error) if error::kind(&error) == Kind::Unavailable => Err(error),
        Err(error) => {
            let what = format!("{} does not say how to log in", escape(&api.address));
            let places = addresses(&api.address, None).unwrap_or_default();
            let places: Vec<String> = places.iter().map(|place| escape(place)).collect();
            let why = format!("no metadata at {}; and it is not an issuer itself: {error:#}", places.join(", "));
            Err(Error::new(Kind::Reply, what, why).into())
        }
    }
}

/// The reply at `url`. The API's own header lines go to its own origin alone.
fn ask(host: &mut Host, question: Question, url: &str, repeat: Repeat) -> error::Result<Response> {
    let mut request = Request { repeat, ..request::get(url, request::JSON, question.ca_file) };
    if origin(url) == origin(question.address) {
        request.headers.retain(|(name, _)| !question.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
        request.headers.extend(question.headers.iter().cloned());
    }
    let deadline = host.clock.deadline.min(host.clock.instant() + EACH);
    host.send_until(&request, deadline, &mut ())
}

fn origin(url: &str) -> Option<String> {
    Url::parse(url).map(|url| url.origin()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::error::kind;
    use crate::base::time::Time;
    use crate::host::testing::World;
    use zeroize::Zeroizing;

    const ADDRESS: &str = "https://api.example/mcp";

    fn reply(status: u16, challenge: &str, body: &str) -> Response {
        let headers = match challenge {
            "" => Vec::new(),
            text => vec![("WWW-Authenticate".to_string(), text.to_string())],
        };
        let body = Zeroizing::new(body.as_bytes().to_vec());
        Response { status, headers, body, received: Time::from_secs(0) }
    }

    /// What [`api`] makes of a network where these addresses answer 200 with these bodies, the API 401 with this
    /// challenge, and all others 404; and which addresses were asked.
    fn asked(challenge: &str, found: &[(&str, &str)]) -> (Result<Api>, Vec<String>) {
        let (challenge, found) = (challenge.to_string(), found.to_vec());
        let found: Vec<(String, String)> =
            found.iter().map(|(url, body)| (url.to_string(), body.to_string())).collect();
        let mut world = World::new().answering(move |request| {
            let body = found.iter().find(|(url, _)| *url == *request.url).map(|(_, body)| body.as_str());
            Ok(match body {
                _ if *request.url == ADDRESS => reply(401, &challenge, ""),
                Some(body) => reply(200, "", body),
                None => reply(404, "", ""),
            })
        });
        let result = api(&mut world.host, Question { address: ADDRESS, headers: &[], ca_file: None });
        (result, world.sent().iter().map(|request| request.url.to_string()).collect())
    }

    #[test]
    fn places_are_asked_in_order_until_one_has_the_metadata() {
        const BEFORE: &str = "https://api.example/.well-known/oauth-protected-resource/mcp";
        const ROOT: &str = "https://api.example/.well-known/oauth-protected-resource";
        const NAMED: &str = "https://docs.example/api.json";
        let whole = r#"{"resource":"https://api.example/mcp","authorization_servers":["https://auth.example"]}"#;
        let named = format!("Bearer resource_metadata=\"{NAMED}\", scope=\"a b\"");
        for (challenge, found, places) in [
            (named.as_str(), vec![(NAMED, whole), (BEFORE, "{}")], vec![ADDRESS, NAMED]),
            ("Bearer", vec![(BEFORE, whole), (ROOT, "{}")], vec![ADDRESS, BEFORE]),
            ("", vec![(ROOT, whole)], vec![ADDRESS, BEFORE, ROOT]),
            // A page in the place of a document is none.
            ("", vec![(BEFORE, "<html>"), (ROOT, whole)], vec![ADDRESS, BEFORE, ROOT]),
            (named.as_str(), vec![(BEFORE, whole)], vec![ADDRESS, NAMED, BEFORE]),
        ] {
            let (result, asked) = asked(challenge, &found);
            let api = result.unwrap();
            assert_eq!(
                (api.issuers, asked),
                (vec!["https://auth.example".to_string()], places.iter().map(|p| p.to_string()).collect())
            );
            assert_eq!(api.demanded.as_deref(), challenge.contains("scope").then_some("a b"));
        }
        let (result, asked) = asked("", &[]);
        let none = result.unwrap();
        assert_eq!((none.issuers.len(), none.resource.as_str(), asked.len()), (0, ADDRESS, 3));
    }

    #[test]
    fn an_api_elsewhere_cannot_send_tok_to_this_machine_or_its_link() {
        for url in [
            "http://127.0.0.1:8080/m",
            "https://localhost/m",
            "http://[::1]/m",
            "https://169.254.169.254/latest/meta-data/",
            "https://[fe80::1]/m",
            "https://127.1/m",
            "https://2130706433/m",
            "http://api.example/m",
            "file:///etc/passwd",
        ] {
            let (result, asked) = asked(&format!("Bearer resource_metadata=\"{url}\""), &[]);
            let error = result.unwrap_err();
            assert_eq!((kind(&error), asked.len()), (Kind::Reply, 1), "{url}: {error:#}");
        }
    }

    #[test]
    fn what_the_api_names_has_to_be_there_and_about_it() {
        const NAMED: &str = "https://docs.example/api.json";
        let named = format!("Bearer resource_metadata=\"{NAMED}\"");
        for (found, why) in [
            (vec![], "nothing there (status 404)"),
            (vec![(NAMED, "<html>")], "HTML"),
            (vec![(NAMED, r#"{"resource":"https://other.example/mcp"}"#)], "it is about https://other.example/mcp"),
            (vec![(NAMED, r#"{"resource":"https://api.example/mcp2"}"#)], "it is about"),
        ] {
            let (result, _) = asked(&named, &found);
            let error = result.unwrap_err();
            assert!(kind(&error) == Kind::Reply && format!("{error:#}").contains(why), "{error:#}");
        }
    }

    #[test]
    fn the_apis_own_header_lines_go_to_its_origin_alone() {
        let named = "Bearer resource_metadata=\"https://docs.example/api.json\"";
        let mut world = World::new()
            .answering(move |request| Ok(reply(if *request.url == ADDRESS { 401 } else { 404 }, named, "")));
        let headers = [("X-Tenant".to_string(), Zeroizing::new("acme".to_string()))];
        let _ = api(&mut world.host, Question { address: ADDRESS, headers: &headers, ca_file: None });
        for request in world.sent() {
            let has = request.headers.iter().any(|(name, _)| name == "X-Tenant");
            assert_eq!(has, request.url.starts_with("https://api.example/"), "{}", *request.url);
            assert!(request.headers.iter().all(|(name, _)| name != "Authorization"));
        }
    }

    #[test]
    fn an_api_that_is_no_issuer_either_says_where_was_looked() {
        let mut world = World::new().answering(|_| Ok(reply(404, "", "")));
        let found = api(&mut world.host, Question { address: ADDRESS, headers: &[], ca_file: None }).unwrap();
        let error = own_issuer(&mut world.host, &found, None).unwrap_err();
        let text = format!("{error:#}");
        for place in ["oauth-protected-resource/mcp", "openid-configuration", "oauth-authorization-server"] {
            assert!(kind(&error) == Kind::Reply && text.contains(place), "{text}");
        }
    }
}
