//! What an API says of itself, fetched: its challenge and its metadata (RFC 9728). `oauth/resource.rs` says where they are
//! and what may be believed.

use super::{discover, unusable};
use crate::base::error::{self, Error, Kind};
use crate::base::text::escape;
use crate::base::url::Url;
use crate::host::Host;
use crate::oauth::metadata::object;
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
    match discover(host, &own, ca_file, Copies::Refused) {
        Ok(metadata) => Ok(metadata.issuer().to_string()),
        Err(error) if error::kind(&error) == Kind::Unavailable => Err(error),
        Err(error) => {
            let what = format!("{} does not say how to log in", escape(&api.address));
            let places = addresses(&api.address, None).unwrap_or_default();
            let places: Vec<String> = places.iter().map(|place| escape(place)).collect();
            let why = format!("no metadata at {}; and it is no issuer itself: {error:#}", places.join(", "));
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
