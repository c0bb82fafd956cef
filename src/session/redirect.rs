//! Where a login in a browser ends: the redirect URI, and who listens there (RFC 8252 §7.3).

use crate::base::error::Error;
use crate::base::url::Url;
use crate::oauth::request::Unready;
use crate::profile::Profile;
use crate::session::person::Person;
use crate::system::listener::{Listener, Loopback};
use anyhow::Result;

/// Where a login ends.
pub struct Redirect {
    /// The redirect URI.
    pub uri: String,
    /// Its path.
    pub path: String,
    /// Who listens there; `None` where the address is pasted.
    pub listener: Option<Listener>,
}

/// Makes ready what the values `value` say, and whether `person` has a browser here; else on a port that is free.
///
/// # Errors
/// For a value that cannot be; where nothing can listen there.
pub fn redirect(profile: &Profile, value: &dyn Fn(&str) -> Option<String>, person: Person) -> Result<Redirect> {
    let place = Place::of(profile, value)?;
    place.take(place.port, person)
}

/// The same at `uri`, which is registered for the client; `None` where it is not the place that the values say, or its
/// port is taken.
///
/// # Errors
/// As [`redirect`], but for the port.
pub fn redirect_at(
    profile: &Profile,
    value: &dyn Fn(&str) -> Option<String>,
    person: Person,
    uri: &str,
) -> Result<Option<Redirect>> {
    let place = Place::of(profile, value)?;
    if place.elsewhere.is_some() {
        return Ok((place.elsewhere.as_deref() == Some(uri)).then(|| Redirect {
            uri: uri.into(),
            path: place.path,
            listener: None,
        }));
    }
    let Ok(url) = Url::parse(uri) else { return Ok(None) };
    if url.host != place.loopback.host() || url.rest != place.path || place.port.is_some_and(|port| port != url.port) {
        return Ok(None);
    }
    if !person.browser {
        return Ok(Some(Redirect { uri: uri.into(), path: place.path, listener: None }));
    }
    Ok(place.take(Some(url.port), person).ok())
}

/// What the values say of it.
struct Place {
    loopback: Loopback,
    port: Option<u16>,
    path: String,
    /// A whole address that is not on this machine.
    elsewhere: Option<String>,
}

impl Place {
    fn of(profile: &Profile, value: &dyn Fn(&str) -> Option<String>) -> Result<Place> {
        let loopback = match value("redirect_host").as_deref() {
            Some("[::1]") => Loopback::V6,
            Some("localhost") => Loopback::Name,
            _ => Loopback::V4,
        };
        let wrong = |name: &str, why: &str| -> Error { profile.unready(Unready::Wrong(name.into(), why.into())) };
        let elsewhere = value("redirect_url");
        let path = match &elsewhere {
            Some(url) => path_of(url),
            None => value("redirect_path").unwrap_or_else(|| "/".into()),
        };
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            return Err(wrong("redirect_path", "is not a path (it must begin with a slash)").into());
        }
        let port = match value("redirect_port") {
            None => None,
            Some(text) => {
                let port = text.parse::<u16>().ok().filter(|port| *port != 0);
                Some(port.ok_or_else(|| wrong("redirect_port", "is not a port (a number up to 65535)"))?)
            }
        };
        Ok(Place { loopback, port, path, elsewhere })
    }

    fn take(&self, port: Option<u16>, person: Person) -> Result<Redirect> {
        // Nothing listens where the address is pasted: any port that is free now will do.
        let listener = match (person.browser, port.is_some() || self.elsewhere.is_some()) {
            (false, true) => None,
            _ => Some(Listener::bind(self.loopback, port)?),
        };
        let path = self.path.clone();
        let uri = match (&listener, &self.elsewhere) {
            (_, Some(url)) => url.clone(),
            (Some(listener), None) => listener.redirect_uri(&path),
            (None, None) => format!("http://{}:{}{path}", self.loopback.host(), port.unwrap_or_default()),
        };
        Ok(Redirect { uri, path, listener: listener.filter(|_| person.browser) })
    }
}

/// The path of a URL, `/` where it has none.
fn path_of(url: &str) -> String {
    let rest = Url::parse(url).map(|url| url.rest).unwrap_or_default();
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    if path.is_empty() { "/".into() } else { path.into() }
}
