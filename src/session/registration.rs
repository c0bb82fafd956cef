//! Clients that `tok` has registered by itself (RFC 7591): registered with the server, kept in the store as an entry of
//! their own, and deleted with the last profile that uses them (RFC 7592).

use crate::base::error::{self, Error, Kind};
use crate::base::redact::Redactor;
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::base::url::Url;
use crate::host::Host;
use crate::oauth::registration::{Registration, Registrations, Wanted};
use crate::oauth::reply;
use crate::profile::Profile;
use crate::profile::config::Config;
use crate::profile::{Given, Source};
use crate::session::open_store::store_error;
use crate::storage::choice::StoreChoice;
use crate::storage::index::Index;
use crate::storage::secrets::{Store, StoreError};
use anyhow::Result;
use std::path::Path;

/// The lock under which the entries of registered clients are changed: no profile has such a name.
pub const LOCK: &str = "_clients";

/// The clients that were registered at the origin of an issuer.
pub struct Clients {
    store: Option<Box<dyn Store>>,
    entry: String,
    /// They.
    pub all: Registrations,
}

impl Clients {
    /// Reads those of `issuer` in the store `choice`. An entry that is not ours counts as none.
    ///
    /// # Errors
    /// As the store.
    pub fn open(host: &Host, choice: &StoreChoice, issuer: &str) -> std::result::Result<Clients, StoreError> {
        let entry = Registrations::entry_name(issuer).unwrap_or_default();
        let mut store = host.store(choice, &entry)?.filter(|_| !entry.is_empty());
        let text = store.as_mut().map_or(Ok(None), |store| store.get(&entry))?;
        let all = text.and_then(|text| Registrations::parse(&text).ok()).unwrap_or_default();
        Ok(Clients { store, entry, all })
    }

    /// Puts them into the store as they are now.
    ///
    /// # Errors
    /// As the store.
    pub fn keep(&mut self) -> std::result::Result<(), StoreError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        match self.all.clients.is_empty() {
            true => store.forget(&self.entry).map(drop),
            false => store.set(&self.entry, &self.all.write()),
        }
    }
}

/// Where a client is registered, and with what.
pub struct Place<'a> {
    /// The issuer, as its metadata name it.
    pub issuer: &'a str,
    /// Its registration endpoint.
    pub url: &'a str,
    /// The initial access token, where a person has one.
    pub token: Option<&'a Secret>,
}

/// Registers a client for `profile`. A server that does not like the scopes is asked again without them.
///
/// # Errors
/// [`Kind::Refused`], [`Kind::Unavailable`] or [`Kind::Reply`], as the server answers.
pub fn register(host: &mut Host, profile: &Profile, place: &Place, wanted: &Wanted) -> Result<Registration> {
    match register_once(host, profile, place, wanted) {
        Err((_, Some(code))) if code == "invalid_client_metadata" && !wanted.scopes.is_empty() => {
            host.terminal.detail(&format!("{}: registering without scopes", profile.name));
            register_once(host, profile, place, &Wanted { scopes: &[], ..wanted.clone() })
                .map_err(|(error, _)| error.into())
        }
        other => other.map_err(|(error, _)| error.into()),
    }
}

/// [`register`], with the server's code for a refusal.
fn register_once(
    host: &mut Host,
    profile: &Profile,
    place: &Place,
    wanted: &Wanted,
) -> std::result::Result<Registration, (Error, Option<String>)> {
    let to = origin(place.url);
    host.terminal.detail(&format!("{}: registering a client at {to}", profile.name));
    let request = wanted.request(place.url, place.token, profile.ca_file.as_deref());
    let response = host.send(&request).map_err(|error| (error, None))?;
    let unreadable = |why: String| Error::new(Kind::Reply, format!("the registration at {to} cannot be read"), why);
    match reply::object(&profile.default_grant().response, &response) {
        Ok(object) => Registration::read(&object, wanted, place.issuer, place.url, response.received.secs())
            .map_err(|why| (unreadable(why), None)),
        Err(failure) => {
            let why = Redactor::new(place.token.into_iter().map(Secret::expose)).hide(&failure.why);
            let error = match failure.kind {
                Kind::Refused => Error::new(Kind::Refused, format!("{to} refused to register a client"), why),
                Kind::Unavailable => Error::new(Kind::Unavailable, format!("{to} is unavailable"), why),
                _ => unreadable(why),
            };
            Err((error, failure.code))
        }
    }
}

fn origin(url: &str) -> String {
    Url::parse(url).map(|url| url.origin()).unwrap_or_default()
}

/// What became of a client at its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone there.
    Yes,
    /// The server does not let clients be deleted.
    Cannot,
}

/// Deletes `registration` at its server, where that allows it (RFC 7592 §2.3). One that is gone already is deleted.
///
/// # Errors
/// Where the server could not be asked, or did not say yes.
pub fn delete(host: &mut Host, registration: &Registration, ca_file: Option<&Path>) -> error::Result<Deleted> {
    let Some(request) = registration.deletion(ca_file) else { return Ok(Deleted::Cannot) };
    let response = host.send(&request)?;
    let to = registration.management_url.as_deref().map(origin).unwrap_or_default();
    match response.status {
        // RFC 7592 §2.3: 401 says that there is no such client, 405 that it cannot be deleted.
        200..300 | 401 | 404 | 410 => Ok(Deleted::Yes),
        403 | 405 => Ok(Deleted::Cannot),
        status => Err(Error::new(
            Kind::Unavailable,
            "the client was not deleted",
            format!("{to} answered with status {status}"),
        )),
    }
}

/// Puts `registration` into the values of `profile`, as the client of this login.
pub fn use_for(profile: &mut Profile, registration: &Registration) {
    let given =
        |text: Secret| Given { text: Some(vec![text]), source: Source::Registration(registration.issuer.clone()) };
    profile.given.insert("client_id".into(), given(Secret::new(&registration.client_id)));
    if let Some(secret) = &registration.client_secret {
        profile.given.insert("client_secret".into(), given(secret.clone()));
        if profile.param("client_auth").is_some() {
            profile.given.insert("client_auth".into(), given(Secret::new(registration.client_auth())));
        }
    }
}

/// Whether the client `client_id` of `issuer` is one that `tok` has registered, as far as the store of `profile` knows.
pub fn is_registered(host: &Host, profile: &Profile, issuer: &str, client_id: &str) -> bool {
    Clients::open(host, &profile.store, issuer).is_ok_and(|clients| clients.all.find(issuer, client_id).is_some())
}

/// Takes `profile` from the client that `tok` has registered for it, where it has one. With the last profile the client
/// goes too, at its server as well where that allows it; what is to be said of it is returned. The caller holds [`LOCK`].
///
/// # Errors
/// As the store; [`Kind::Unavailable`] where the client is gone here and may still be at the server.
pub fn release(host: &mut Host, config: &Config, profile: &Profile) -> Result<Option<String>> {
    let (Some(issuer), Some(id)) = (profile.value("issuer"), profile.value("client_id")) else { return Ok(None) };
    let of_store = |trouble: StoreError| store_error(profile, &trouble);
    let mut clients = Clients::open(host, &profile.store, &issuer).map_err(of_store)?;
    let stays = |other: &str| is_used_beside(host, config, profile, other);
    let Some(gone) = clients.all.leave(&issuer, &id, stays) else { return Ok(None) };
    clients.keep().map_err(of_store)?;
    let Some(registration) = gone else { return Ok(None) };
    match delete(host, &registration, profile.ca_file.as_deref()) {
        Ok(Deleted::Yes) => Ok(Some(format!("the client {} was deleted at {}", escape(&id), escape(&issuer)))),
        Ok(Deleted::Cannot) => Ok(Some(not_deleted(&registration, "the server does not allow it"))),
        Err(error) => {
            let what = not_deleted(&registration, &error.to_string());
            Err(Error::new(Kind::Unavailable, what, "").hint("delete it in the server's own settings").into())
        }
    }
}

/// Puts the client that `tok` has registered for `profile`, where it has one, into the store `to` as well, with all the
/// profiles that use it. The caller holds [`LOCK`].
///
/// # Errors
/// As the stores, with the one that failed.
pub fn copy(
    host: &Host,
    profile: &Profile,
    from: &StoreChoice,
    to: &StoreChoice,
) -> std::result::Result<(), (StoreChoice, StoreError)> {
    let (Some(issuer), Some(id)) = (profile.value("issuer"), profile.value("client_id")) else { return Ok(()) };
    let open = |at: &StoreChoice| Clients::open(host, at, &issuer).map_err(|trouble| (at.clone(), trouble));
    let Some(registration) = open(from)?.all.find(&issuer, &id).cloned() else { return Ok(()) };
    let mut there = open(to)?;
    if there.all.find(&issuer, &id).is_none() {
        there.all.clients.push(registration);
        there.keep().map_err(|trouble| (to.clone(), trouble))?;
    }
    Ok(())
}

/// Takes the client of `profile` out of the store `from`, unless another profile still uses it there. The caller holds
/// [`LOCK`].
///
/// # Errors
/// As the store.
pub fn leave(
    host: &Host,
    config: &Config,
    profile: &Profile,
    from: &StoreChoice,
) -> std::result::Result<(), StoreError> {
    let (Some(issuer), Some(id)) = (profile.value("issuer"), profile.value("client_id")) else { return Ok(()) };
    let mut clients = Clients::open(host, from, &issuer)?;
    match clients.all.leave(&issuer, &id, |other| is_used_beside(host, config, profile, other)) {
        Some(_) => clients.keep(),
        None => Ok(()),
    }
}

/// Whether `other` is another profile that there is.
fn is_used_beside(host: &Host, config: &Config, profile: &Profile, other: &str) -> bool {
    let is_there = || config.profiles.contains_key(other) || Index::of(host.folders().ok(), other).read().is_some();
    other != profile.name && is_there()
}

/// What is said of a client that stays at its server.
pub fn not_deleted(registration: &Registration, why: &str) -> String {
    let (client, issuer) = (escape(&registration.client_id), escape(&registration.issuer));
    format!("the client {client} was removed locally; not deleted at {issuer}: {why}")
}
