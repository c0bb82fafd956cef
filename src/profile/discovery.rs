//! What an issuer publishes, fetched: its metadata (RFC 8414) and its public keys (RFC 7517).

pub mod resource;

use super::{Given, Profile, Source};
use crate::base::error::{self, Error, Kind};
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::host::Host;
use crate::oauth::client_auth;
use crate::oauth::metadata::{First, Metadata, addresses, keys, object};
use crate::oauth::reply::{Class, redirect};
use crate::oauth::request::{self, Response, Values};
use crate::provider::{Auth, Discover, Grant, Param};
use crate::storage::documents::{DocumentCache, MINUTE};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;
use zeroize::Zeroizing;

/// Whether a copy of a document will do that was fetched before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// As long as the server allows.
    Allowed,
    /// The document is asked for as it is published now.
    Refused,
}

impl Copies {
    /// How old a copy may be, in seconds, where only one younger than `seconds` will do.
    fn youth(self, seconds: i64) -> Option<i64> {
        (self == Copies::Refused).then_some(seconds)
    }
}

impl Profile {
    /// Asks the issuer for the endpoints that a call with these `names` needs and that are not given (RFC 8414). Does
    /// nothing where all are known, or where no issuer is. `copies`: whether an earlier one will do.
    ///
    /// # Errors
    /// As [`discover`]; [`Kind::Reply`] where an endpoint that is needed cannot be used.
    pub fn discover(&mut self, host: &mut Host, names: BTreeMap<String, bool>, copies: Copies) -> Result<()> {
        let values = self.known_values()?;
        let Some(issuer) = values.get("issuer").map(|issuer| issuer.to_string()) else { return Ok(()) };
        let names = self.provider.closure(names);
        let params = self.provider.params.iter();
        let off: Vec<String> = params.filter(|p| self.is_off(&p.name)).map(|p| p.name.clone()).collect();
        let lacks =
            |param: &Param| param.metadata.is_some() && !values.contains_key(&param.name) && !off.contains(&param.name);
        let needed = |param: &Param| names.get(&param.name).is_some_and(|optional| !optional);
        if self.metadata.is_some() || !self.provider.params.iter().any(|p| lacks(p) && needed(p)) {
            return Ok(());
        }
        let at = (issuer.as_str(), self.provider.metadata_path.as_deref());
        let metadata = discover_at(host, at, self.metadata_first(), self.ca_file.as_deref(), copies)?;
        let mutual = self.settle_auth(&metadata, &values);
        for param in self.provider.params.iter().filter(|p| lacks(p)) {
            let Some(key) = &param.metadata else { continue };
            match if mutual { metadata.mtls_endpoint(key) } else { metadata.endpoint(key) } {
                Ok(Some(url)) => {
                    let given = Given { text: Some(vec![Secret::new(url)]), source: Source::Metadata(issuer.clone()) };
                    self.given.insert(param.name.clone(), given);
                }
                Err(why) if needed(param) => {
                    let what = format!("the metadata of {issuer} cannot be used");
                    return Err(Error::new(Kind::Reply, what, why)
                        .hint(format!("give the right one: --{} URL", param.name.replace('_', "-")))
                        .into());
                }
                Ok(None) | Err(_) => {}
            }
        }
        self.metadata = Some(metadata);
        Ok(())
    }

    /// Which metadata of its issuer are looked for first.
    pub fn metadata_first(&self) -> First {
        if self.provider.discover == Discover::Resource { First::OAuth } else { First::OpenId }
    }

    /// The issuer as its metadata name it, else as it is given; `None` where none is known or it names many.
    pub fn issuer(&self) -> Option<String> {
        let said = self.metadata.as_ref().map(|metadata| metadata.issuer().to_string());
        said.or_else(|| self.value("issuer"))
    }

    /// Whether the client shows a certificate, which servers may want at addresses of their own (RFC 8705 §5).
    pub(super) fn settle_auth(&mut self, metadata: &Metadata, values: &Values) -> bool {
        let supported = metadata.list("token_endpoint_auth_methods_supported").unwrap_or_default();
        let mut names = values.clone();
        let given = self.given.keys().map(String::as_str);
        // A certificate is of no use without its key, which may be kept.
        let key = given.clone().any(|name| name == "certificate").then_some("private_key");
        names.extend(given.chain(key).map(|name| (name.to_string(), Zeroizing::new(String::new()))));
        let chosen = client_auth::choose(&names, &supported);
        let tls = |auth| matches!(auth, Auth::Tls | Auth::TlsSelfSigned);
        for call in self.provider.calls_mut().filter(|call| call.auth == Auth::Auto && tls(chosen)) {
            call.auth = chosen;
        }
        self.provider.grants.iter().any(|grant| tls(grant.call.auth))
    }

    /// What the metadata lack of `missing`, as an error: no person can supply what the server does not have.
    pub fn not_offered(&self, grant: &Grant, missing: &[String]) -> Option<Error> {
        self.metadata.as_ref()?;
        let value = missing.iter().find(|name| self.param(name).is_some_and(|p| p.metadata.is_some()))?;
        let key = self.param(value)?.metadata.clone()?;
        let issuer = self.known_values().ok()?.get("issuer")?.to_string();
        let what = format!("{issuer} does not offer the grant {}", grant.name);
        let flag = value.replace('_', "-");
        Some(
            Error::new(Kind::Reply, what, format!("its metadata has no {key}"))
                .hint(format!("if it has one, give it: --{flag} URL")),
        )
    }
}

/// The metadata of `issuer`: a copy for as long as the server allows, else from the server. [`Copies::Refused`] asks the server
/// in any case. Where it cannot be reached and [`Copies::Refused`] is not set, a copy less than a day old will do, which is said with
/// `-v`.
///
/// # Errors
/// [`Kind::Config`] where the issuer cannot be one; [`Kind::Refused`] where it publishes no metadata; [`Kind::Reply`] where what it publishes is
/// no metadata or is another issuer's, and for a redirect, which is not followed; [`Kind::Unavailable`] where the
/// server could not be reached or answers with a server error; else as [`Host::send`].
pub fn discover(
    host: &mut Host,
    issuer: &str,
    first: First,
    ca_file: Option<&Path>,
    copies: Copies,
) -> Result<Metadata> {
    discover_at(host, (issuer, None), first, ca_file, copies)
}

/// [`discover`], where the provider file says at which path behind the issuer the metadata are.
///
/// # Errors
/// As there.
pub fn discover_at(
    host: &mut Host,
    (issuer, path): (&str, Option<&str>),
    first: First,
    ca_file: Option<&Path>,
    copies: Copies,
) -> Result<Metadata> {
    // Not shown: it may hold a password.
    let mut addresses = addresses(issuer, first).map_err(|why| {
        Error::new(Kind::Config, "the issuer cannot be used", format!("it {why}"))
            .hint("give the issuer as the server's operator writes it, such as https://login.example.com")
    })?;
    let mut of = issuer.to_string();
    if let Some(path) = path {
        of = format!("{}{path}", issuer.strip_suffix('/').unwrap_or(issuer));
        addresses = vec![of.clone()];
    }
    let place = place(host, "metadata", &of);
    let read = |body: &[u8]| match path {
        Some(_) => Metadata::parse_elsewhere(body, issuer),
        None => Metadata::parse(body, issuer),
    };
    let (now, youth) = (host.clock.now(), copies.youth(0));
    let mut ask = |url: &str| host.send(&request::get(url, request::JSON, ca_file));
    let (metadata, note) = place.get(now, youth, &read, &mut || search(issuer, &addresses, &mut ask))?;
    note.iter().for_each(|note| host.terminal.detail(note));
    if metadata.issuer() != issuer {
        host.terminal.detail(&format!(
            "the metadata of {} names the issuer {}",
            escape(issuer),
            escape(metadata.issuer())
        ));
    }
    Ok(metadata)
}

/// The key set at `url`, a JWKS document as it stands (RFC 7517 §5), kept as [`discover`] keeps metadata. A caller who
/// misses a key in it asks again with [`Copies::Refused`]; a copy less than a minute old is then given once more, so that a forged
/// key id cannot make every call a request. A server that forbids copies is asked each time.
///
/// # Errors
/// As [`discover`]; [`Kind::Reply`] too where the server has nothing there.
pub fn jwks(host: &mut Host, url: &str, ca_file: Option<&Path>, copies: Copies) -> Result<Vec<u8>> {
    let place = place(host, "jwks", url);
    let (now, youth) = (host.clock.now(), copies.youth(MINUTE));
    let mut ask = |url: &str| host.send(&request::get(url, request::KEY_SET, ca_file));
    let (keys, note) = place.get(now, youth, &keys, &mut || only(url, &mut ask))?;
    note.iter().for_each(|note| host.terminal.detail(note));
    Ok(keys)
}

/// A way to the network: the reply to a GET.
type Ask<'a> = &'a mut dyn FnMut(&str) -> error::Result<Response>;

/// The reply at `url` that is a document, or says by a 4xx that there is none.
fn fetch(url: &str, ask: Ask) -> error::Result<Response> {
    let response = ask(url)?;
    match Class::of(response.status) {
        Class::Unavailable => {
            Err(unusable(url, Kind::Unavailable, format!("server error (status {})", response.status)))
        }
        Class::Success | Class::Refused => Ok(response),
        Class::Redirect => Err(unusable(url, Kind::Reply, redirect(&response))),
        Class::Odd => Err(unusable(url, Kind::Reply, format!("unexpected status {}", response.status))),
    }
}

fn unusable(url: &str, kind: Kind, why: impl Into<String>) -> Error {
    Error::new(kind, format!("{} cannot be used", escape(url)), why)
}

/// Asks at each of `addresses` until one has the metadata. Some servers answer what they do not know with a page of
/// their own and 200, so a page at one address is no reason not to ask at the next; another issuer's metadata is.
fn search(issuer: &str, addresses: &[String], ask: Ask) -> error::Result<(Metadata, Response)> {
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
                let hint = "check the issuer; both must be identical";
                return Err(unusable(address, Kind::Reply, why).hint(hint));
            }
            (Err(_), Err(why)) => {
                odd.get_or_insert(unusable(address, Kind::Reply, why));
            }
        }
    }
    let hint = "check the issuer; for a server without metadata, give its endpoints: --token-url URL and others";
    Err(odd
        .unwrap_or_else(|| {
            let why = format!("it publishes no metadata: nothing at {}", absent.join(", "));
            Error::new(Kind::Refused, escape(issuer), why)
        })
        .hint(hint))
}

/// The key set at `url` and nowhere else.
fn only(url: &str, ask: Ask) -> error::Result<(Vec<u8>, Response)> {
    let response = fetch(url, ask)?;
    if response.status >= 400 {
        return Err(unusable(url, Kind::Reply, format!("nothing there (status {})", response.status)));
    }
    let keys = keys(&response.body).map_err(|why| unusable(url, Kind::Reply, why))?;
    Ok((keys, response))
}

fn place(host: &Host, kind: &str, of: &str) -> DocumentCache {
    DocumentCache::within(host.folders().ok().map(|folders| folders.metadata()), kind, of)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::time::Time;
    use crate::oauth::metadata::testing::{ISSUER, said};
    use zeroize::Zeroizing;

    fn reply(status: u16, cache_control: Option<&str>, body: &str, at: i64) -> Response {
        let headers = cache_control.map(|value| ("Cache-Control".to_string(), value.to_string()));
        let body = Zeroizing::new(body.as_bytes().to_vec());
        Response { status, headers: headers.into_iter().collect(), body, received: Time::from_secs(at) }
    }

    #[test]
    fn the_next_address_is_asked_where_there_is_nothing() {
        let all = addresses(ISSUER, First::OpenId).unwrap();
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
            (&[(429, "")], Kind::Unavailable, "server error (status 429)", 1),
            (&[(302, "")], Kind::Reply, "it redirects, but does not say where to", 1),
            (&[(200, &said("https://e.example"))], Kind::Reply, "for the issuer https://e.example, not", 1),
            (&[(200, "{}")], Kind::Reply, "has no `issuer`", 1),
            (&[(200, "<html>"), (404, ""), (200, "{"), (404, "")], Kind::Reply, "HTML", 4),
            (
                &[(404, ""), (403, ""), (410, ""), (404, "")],
                Kind::Refused,
                "https://a.example/t: it publishes no metadata: ",
                4,
            ),
        ] {
            let (result, count) = found(replies);
            let (of, text, _) = result.unwrap_err();
            assert!(of == kind && text.contains(part) && count == asked, "{of:?} {text} {count}");
        }
        let (result, _) = found(&[(404, ""), (404, ""), (404, ""), (404, "")]);
        assert!(result.unwrap_err().2.unwrap().contains("--token-url"));
    }

    #[test]
    fn a_key_set_is_one_and_passed_on_as_it_stands() {
        let set = r#"{ "keys": [{"kty":"EC"}] }"#;
        let got = |status, body: &str| only("https://a.example/k", &mut |_| Ok(reply(status, None, body, 0)));
        assert_eq!(got(200, set).unwrap().0, set.as_bytes());
        for (status, body, part) in [
            (200, "{}", "no list of keys"),
            (200, "<html>", "HTML"),
            (404, set, "https://a.example/k cannot be used: nothing there (status 404)"),
            (301, set, "redirects"),
        ] {
            let error = got(status, body).unwrap_err();
            assert!(error.kind == Kind::Reply && error.to_string().contains(part), "{error:?}");
        }
    }
}
