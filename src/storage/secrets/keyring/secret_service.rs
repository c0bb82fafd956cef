//! The Secret Service of a session bus (freedesktop.org's specification, 0.2): one connection, one plain session, and
//! no call made twice for what is known. Why the session is plain: SECURITY.md.

use super::{Keyring, Step, StoreError, Trouble};
use crate::base::text::escape;
use dbus_secret_service::{Collection, EncryptionType, Error, Item, Path, SecretService};
use std::collections::HashMap;
use zeroize::Zeroizing;

/// An entry is text. KWallet shows one of this type as a password, and any other as bytes.
const CONTENT_TYPE: &str = "text/plain";

type Found = Option<Path<'static>>;

struct Bus {
    service: SecretService,
    /// Where new entries are put, once it was seen to be open.
    collection: Found,
    /// What the last search for a service and a user found, so that the write after it needs none of its own.
    found: HashMap<(String, String), Found>,
}

/// Connects to the session bus and opens a session with its Secret Service.
pub fn connect() -> Result<Box<dyn Keyring>, StoreError> {
    let service = SecretService::connect(EncryptionType::Plain).map_err(|error| translate(&error, Step::Connect))?;
    Ok(Box::new(Bus { service, collection: None, found: HashMap::new() }))
}

impl Bus {
    /// The one item that matches, unlocked. What several mean is not guessed.
    fn search(&mut self, service: &str, user: &str) -> Result<Found, StoreError> {
        let items = self.service.search_items(attributes(service, user)).map_err(used)?;
        let count = items.unlocked.len() + items.locked.len();
        if count > 1 {
            let why = format!("{count} entries have the service {service} and this user name; remove all but one");
            return Err(StoreError { trouble: Trouble::Refused, why: escape(&why) });
        }
        for item in &items.locked {
            item.unlock().map_err(used)?;
        }
        let found = items.unlocked.iter().chain(&items.locked).next().map(|item| item.path.clone());
        self.found.insert(key(service, user), found.clone());
        Ok(found)
    }

    /// What the last search found, or a first one does.
    fn known(&mut self, service: &str, user: &str) -> Result<Found, StoreError> {
        match self.found.get(&key(service, user)) {
            Some(found) => Ok(found.clone()),
            None => self.search(service, user),
        }
    }

    /// Runs `work` on the item that is known; whether there is one (still).
    fn on_item(
        &mut self,
        service: &str,
        user: &str,
        work: impl Fn(&Item) -> Result<(), Error>,
    ) -> Result<bool, StoreError> {
        // One that another process removed and put there anew has another path, which a second search finds.
        for _ in 0..2 {
            let Some(path) = self.known(service, user)? else { return Ok(false) };
            let item = Item::new(&self.service, path);
            match opening(|| work(&item), || item.unlock()) {
                Err(error) if is_gone(&error) => self.found.remove(&key(service, user)),
                done => return done.map(|()| true).map_err(used),
            };
        }
        Ok(false)
    }

    /// The default collection, unlocked. The service asks for its password where it is not.
    fn open_default(&mut self) -> Result<Path<'static>, StoreError> {
        let collection = self.service.get_default_collection().map_err(used)?;
        collection.ensure_unlocked().map_err(used)?;
        self.collection = Some(collection.path.clone());
        Ok(collection.path)
    }
}

impl Keyring for Bus {
    fn get(&mut self, service: &str, user: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let Some(path) = self.search(service, user)? else { return Ok(None) };
        let item = Item::new(&self.service, path);
        match opening(|| item.get_secret(), || item.unlock()) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(used(error)),
        }
    }

    /// The attributes are `service` and `username` alone; the label is what keyring programs show.
    fn set(&mut self, service: &str, user: &str, secret: &[u8]) -> Result<(), StoreError> {
        if self.on_item(service, user, |item| item.set_secret(secret, CONTENT_TYPE))? {
            return Ok(());
        }
        let path = match self.collection.clone() {
            Some(path) => path,
            None => self.open_default()?,
        };
        let collection = Collection::new(&self.service, path);
        let label = format!("{service}: {user}");
        let create =
            || collection.create_item(&label, attributes(service, user), secret, true, CONTENT_TYPE).map(|i| i.path);
        let path = opening(create, || collection.unlock()).map_err(used)?;
        self.found.insert(key(service, user), Some(path));
        Ok(())
    }

    fn forget(&mut self, service: &str, user: &str) -> Result<bool, StoreError> {
        let was_there = self.on_item(service, user, |item| item.delete())?;
        self.found.remove(&key(service, user));
        Ok(was_there)
    }

    /// A locked keyring answers at once that it has no such entry: it is asked for itself.
    fn ready(&mut self) -> Result<(), StoreError> {
        self.open_default().map(drop)
    }
}

fn key(service: &str, user: &str) -> (String, String) {
    (service.to_owned(), user.to_owned())
}

fn attributes<'a>(service: &'a str, user: &'a str) -> HashMap<&'a str, &'a str> {
    HashMap::from([("service", service), ("username", user)])
}

/// Runs `work`, and once more after `unlock` where a keyring was locked since it was last looked at.
fn opening<T>(work: impl Fn() -> Result<T, Error>, unlock: impl Fn() -> Result<(), Error>) -> Result<T, Error> {
    match work() {
        Err(error) if by_kind(&error) == Some(Trouble::Locked) => unlock().and_then(|()| work()),
        done => done,
    }
}

/// Whether what a path led to was removed.
fn is_gone(error: &Error) -> bool {
    matches!(
        name(error),
        Some(
            "org.freedesktop.Secret.Error.NoSuchObject"
                | "org.freedesktop.DBus.Error.UnknownObject"
                | "org.freedesktop.DBus.Error.UnknownMethod"
        )
    )
}

fn used(error: Error) -> StoreError {
    translate(&error, Step::Use)
}

/// The library's error as one of ours, by its kind and never by its text (which changes with versions, services and
/// languages). A connection that cannot be made is a service that is not there, whatever the reason.
fn translate(error: &Error, step: Step) -> StoreError {
    let trouble = by_kind(error).unwrap_or(match step {
        Step::Connect => Trouble::Missing,
        Step::Use => Trouble::Refused,
    });
    let why = match error {
        // It is told of the default collection alone: there is nowhere to put an entry.
        Error::NoResult => "the Secret Service has no default keyring; a keyring program makes one".to_owned(),
        other => escape(&other.to_string()),
    };
    StoreError { trouble, why }
}

fn by_kind(error: &Error) -> Option<Trouble> {
    match error {
        Error::Locked | Error::Prompt => Some(Trouble::Locked),
        Error::NoResult | Error::Unavailable => Some(Trouble::Missing),
        _ => by_name(name(error)?),
    }
}

fn name(error: &Error) -> Option<&str> {
    match error {
        Error::Dbus(error) => error.name(),
        _ => None,
    }
}

/// Names of the D-Bus specification ("Error names" of its message bus) and of the Secret Service's.
fn by_name(name: &str) -> Option<Trouble> {
    match name {
        // The crate gives each call 2 s; a service that is stopped or does not come up looks like this.
        "org.freedesktop.DBus.Error.NoReply"
        | "org.freedesktop.DBus.Error.Timeout"
        | "org.freedesktop.DBus.Error.TimedOut" => Some(Trouble::TimedOut),
        "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.DBus.Error.Disconnected" => Some(Trouble::Missing),
        "org.freedesktop.Secret.Error.IsLocked" => Some(Trouble::Locked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_their_kind() {
        let cases = [
            (Error::Parse, Step::Connect, Trouble::Missing),
            (Error::Parse, Step::Use, Trouble::Refused),
            (Error::Path("a\u{1b}b".to_owned()), Step::Use, Trouble::Refused),
            (Error::Locked, Step::Connect, Trouble::Locked),
            (Error::Prompt, Step::Use, Trouble::Locked),
            (Error::Unavailable, Step::Use, Trouble::Missing),
            (Error::NoResult, Step::Use, Trouble::Missing),
        ];
        for (error, step, trouble) in cases {
            let told = translate(&error, step);
            assert_eq!(told.trouble, trouble, "{}", told.why);
            assert!(!told.why.contains('\u{1b}'), "{}", told.why);
        }
        let names = [("DBus.Error.NoReply", Trouble::TimedOut), ("DBus.Error.ServiceUnknown", Trouble::Missing)];
        for (name, trouble) in names {
            assert_eq!(by_name(&format!("org.freedesktop.{name}")), Some(trouble));
        }
        assert_eq!(by_name("org.freedesktop.DBus.Error.AccessDenied"), None);
    }

    #[test]
    fn what_was_locked_meanwhile_is_unlocked_and_tried_once_more() {
        use std::cell::Cell;
        let (calls, open) = (Cell::new(0), Cell::new(false));
        let work = || {
            calls.set(calls.get() + 1);
            if open.get() { Ok(calls.get()) } else { Err(Error::Locked) }
        };
        let unlock = || {
            open.set(true);
            Ok(())
        };
        assert_eq!(opening(work, unlock).unwrap(), 2);
        open.set(false);
        assert!(matches!(opening(work, || Err(Error::Prompt)), Err(Error::Prompt)));
        assert_eq!(calls.get(), 3);
    }
}
