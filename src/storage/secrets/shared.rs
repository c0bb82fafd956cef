//! Stores that many machines share: an entry has a version, and a write names the version that it replaces. What is done
//! with that is decided in `session/lease.rs`.

use super::{Store, StoreError, StoreErrorKind};
use crate::base::redact::Redactor;
use crate::base::secret::Secret;
use crate::oauth::request::{Request, Response};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Sends a request before the given instant.
pub type Send = Arc<dyn Fn(&Request, Instant) -> Result<Response, Unanswered> + std::marker::Send + Sync>;
/// A setting of the store by its name (`address`), or a variable of the environment by its own (`VAULT_ADDR`); read when
/// it is asked for, and each time anew.
pub type Setting = Arc<dyn Fn(&str) -> Result<Option<Secret>, String> + std::marker::Send + Sync>;

/// Why a request has no reply.
#[derive(Clone, Debug)]
pub struct Unanswered {
    /// In words.
    pub why: String,
    /// Whether it is trouble of the network, which may pass.
    pub may_pass: bool,
    /// Whether there was a reply that could not be read.
    pub is_reply: bool,
}

/// How long an attempt may take at least. More where the call has much time; never all of it, for what is lost on the way
/// is never answered, and the next attempt may be.
const ATTEMPT: Duration = Duration::from_secs(3);

/// What a store on the network works with.
#[derive(Clone)]
pub struct Network {
    /// Sends a request.
    pub send: Send,
    /// Its settings.
    pub setting: Setting,
    /// When the call ends.
    pub deadline: Instant,
}

impl Network {
    /// Sends `request`, and again where the reply `is_for_now` or the network is in trouble, until the deadline; `why` says
    /// what such a reply means. What an error quotes of `secrets` is hidden: names of headers, and places in the body.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unreachable`]; [`StoreErrorKind::Corrupt`] where the reply is none.
    pub fn ask(
        &self,
        request: &Request,
        secrets: &[&str],
        is_for_now: &dyn Fn(&Response) -> bool,
        why: &dyn Fn(&Response) -> String,
    ) -> Result<Response, StoreError> {
        let mut wait = Duration::from_millis(100);
        // What the last reply meant: more than that the time was too short for another.
        let mut said = None;
        loop {
            let attempt = self.left() / 8;
            let until = self.deadline.min(Instant::now() + attempt.max(ATTEMPT));
            let (why, asked) = match (self.send)(request, until).map(|reply| without_quotes(request, secrets, reply)) {
                Ok(reply) if !is_for_now(&reply) => return Ok(reply),
                Ok(reply) => {
                    let why = why(&reply);
                    said = Some(why.clone());
                    (why, reply.header("retry-after").and_then(|value| value.trim().parse().ok()))
                }
                Err(Unanswered { why, is_reply: true, .. }) => {
                    return Err(StoreError { trouble: StoreErrorKind::Corrupt, why });
                }
                Err(Unanswered { why, may_pass, .. }) => (why, (!may_pass).then_some(u64::MAX)),
            };
            let pause = wait.max(Duration::from_secs(asked.unwrap_or(0)));
            if self.left() < pause {
                let why = said.filter(|_| self.left().is_zero()).unwrap_or(why);
                return Err(StoreError { trouble: StoreErrorKind::Unreachable, why });
            }
            std::thread::sleep(pause);
            wait = (wait * 2).min(Duration::from_secs(1));
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// An error's reply without what it quotes of the `secrets` in `request`.
fn without_quotes(request: &Request, secrets: &[&str], reply: Response) -> Response {
    let body = serde_json::from_slice::<Value>(&reply.body);
    let (true, Ok(mut body)) = (reply.status >= 300, body) else { return reply };
    let sent = request.body.as_ref().and_then(|body| serde_json::from_slice::<Value>(body).ok()).unwrap_or_default();
    let fields = secrets.iter().filter_map(|at| sent.pointer(at)?.as_str());
    let headers = request.headers.iter().filter(|(name, _)| secrets.contains(&name.as_str()));
    let headers = headers.map(|(_, value)| value.rsplit(' ').next().unwrap_or_default());
    Redactor::new(headers.chain(fields)).hide_in(&mut body);
    Response { body: Zeroizing::new(body.to_string().into_bytes()), ..reply }
}

/// The version of an entry; only the store knows what it says.
pub type Version = String;

/// An entry and its version.
#[derive(Clone, Debug, Default)]
pub struct Versioned {
    /// The entry; `None` where there is none, or no more.
    pub entry: Option<Secret>,
    /// Its version; an entry that was destroyed may have one.
    pub version: Option<Version>,
    /// How long ago it was written, by the store's clock, if it tells.
    pub age: Option<Duration>,
}

/// What a write must replace.
#[derive(Clone, Copy, Debug)]
pub enum Over<'a> {
    /// Whatever is there.
    Anything,
    /// That version, or nothing.
    This(Option<&'a str>),
}

/// The outcome of a write.
#[derive(Clone, Debug)]
pub enum Put {
    /// It was made.
    Done(Version),
    /// Another version is there.
    Lost,
    /// It may have been made: why that is not known.
    Unknown(StoreError),
}

/// A store with compare-and-set.
pub trait SharedStore {
    /// The entry of `profile`.
    ///
    /// # Errors
    /// As the store.
    fn read(&mut self, profile: &str) -> Result<Versioned, StoreError>;
    /// Writes `entry`, if `over` is what is there.
    ///
    /// # Errors
    /// If it was certainly not written, and not for another version.
    fn write(&mut self, profile: &str, entry: &Secret, over: Over) -> Result<Put, StoreError>;
    /// Destroys all versions of the entry but the newest, where the store keeps them.
    ///
    /// # Errors
    /// As the store.
    fn end(&mut self, profile: &str) -> Result<(), StoreError>;
    /// Whether the store compares versions, by writing an entry of no profile twice.
    ///
    /// # Errors
    /// Where that cannot be tried.
    fn probe(&mut self) -> Result<bool, StoreError> {
        let (name, entry) = ("tok-doctor", Secret::new(r#"{"secrets":{}}"#));
        let before = self.read(name)?.version;
        let mut write = || self.write(name, &entry, Over::This(before.as_deref()));
        let compares = match (write()?, write()?) {
            (Put::Unknown(error), _) | (_, Put::Unknown(error)) => return Err(error),
            (_, second) => matches!(second, Put::Lost),
        };
        self.destroy(name).map(|_| compares)
    }
    /// Destroys the entry with all its versions; whether there was one.
    ///
    /// # Errors
    /// As the store.
    fn destroy(&mut self, profile: &str) -> Result<bool, StoreError>;
    /// Finds out whether this call may write the entry of `profile`, and whether the store compares versions at all.
    ///
    /// # Errors
    /// What is missing.
    fn check(&mut self, profile: &str) -> Result<(), StoreError>;
    /// From now on each call ends at `deadline`.
    fn set_deadline(&mut self, deadline: Instant);
    /// The same store for another thread, until `deadline`.
    ///
    /// # Errors
    /// Where no other machine shares it.
    fn another(&mut self, deadline: Instant) -> Result<Box<dyn SharedStore + std::marker::Send>, StoreError>;
}

/// A shared store where any store will do: a login replaces what is there, whoever has put it there.
pub struct AsStore {
    /// The store.
    pub store: Box<dyn SharedStore>,
    /// The profile that [`Store::ready`] asks about.
    pub profile: String,
}

/// How often a write that replaces anything is tried where others write too.
const TRIES: usize = 20;

impl Store for AsStore {
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
        Ok(self.store.read(profile)?.entry)
    }

    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError> {
        let mut last = StoreError { trouble: StoreErrorKind::Refused, why: "other machines keep writing it".into() };
        for _ in 0..TRIES {
            match self.store.write(profile, entry, Over::Anything)? {
                Put::Done(_) => return Ok(()),
                Put::Lost => {}
                Put::Unknown(why) => last = why,
            }
        }
        Err(last)
    }

    fn ready(&mut self) -> Result<(), StoreError> {
        let profile = self.profile.clone();
        self.store.check(&profile)
    }

    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        self.store.destroy(profile)
    }

    fn shared(&mut self) -> Option<&mut dyn SharedStore> {
        Some(self.store.as_mut())
    }
}
