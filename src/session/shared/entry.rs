//! The access tokens in an entry that many machines share: which of them answers a call, and how others come in.

use super::By;
use crate::base::digest;
use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::profile::Profile;
use crate::session::acquire::Wanted;
use crate::session::lease::{Asked, Held, Seen};
use crate::session::open_store::OpenStore;
use crate::storage::secrets::shared::{Over, Version, Versioned};
use crate::storage::secrets::{StoreError, StoreErrorKind};
use crate::token::identity::CurrentIdentity;
use crate::token::shared::{MOST_TOKENS, SharedEntry, SharedToken};
use crate::token::{Expires, Token};

/// What is wanted of a token in the entry.
pub(super) struct Sought<'a> {
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) by: By<'a>,
    /// Whether a token will do, at a time in seconds since 1970.
    pub(super) answers: &'a dyn Fn(&Token, i64) -> bool,
    pub(super) now: Time,
    /// When this call began.
    pub(super) started: Time,
}

impl Sought<'_> {
    /// The token of `entry`, written `age` ago, that will do; its times are those of this machine's clock.
    pub(super) fn token(&self, entry: &SharedEntry, Seen { age, is_timed, is_new }: Seen) -> Option<Token> {
        let (now, before) = (self.now, Time(self.started.0 - 1));
        entry.access.iter().find_map(|shared| {
            let mut token = Token::parse(shared.token.expose().as_bytes())?;
            // The times in it are another machine's. One that was there when this call began was not issued since.
            token.received = if is_new { now } else { Time::from_secs(now.secs() - age.as_secs() as i64).min(before) };
            let by_age = |left: u64| now.secs().saturating_add(left.saturating_sub(age.as_secs()) as i64);
            token.expires = match (shared.left, token.expires) {
                // Nobody knows how old the entry is: then another machine's clock is better than none.
                (Some(left), Expires::At(at)) if !is_timed && !is_new => Expires::At(by_age(left).min(at)),
                (Some(left), _) => Expires::At(by_age(left)),
                (None, _) => Expires::Never,
            };
            let is_of_these = token.identity.contradiction(self.wanted.known).is_none();
            (is_of_these && (self.answers)(&token, now.secs())).then_some(token)
        })
    }
}

impl Asked for Sought<'_> {
    fn is_served(&self, entry: &SharedEntry, seen: Seen) -> bool {
        self.token(entry, seen).is_some()
    }

    fn random(&mut self) -> u64 {
        let mut bytes = [0; 8];
        digest::fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn wall_clock(&self) -> i64 {
        self.now.secs()
    }
}

/// An entry as the protocol reads it: the version is none where nothing was ever there.
pub(super) fn held(read: Versioned) -> Result<Option<Held<Option<Version>>>, StoreError> {
    let Some(entry) = read.entry else { return Ok(None) };
    let entry = SharedEntry::parse(&entry)
        .map_err(|error| StoreError { trouble: StoreErrorKind::Entry, why: error.to_string() })?;
    Ok(Some(Held { entry, version: read.version, age: read.age }))
}

/// The same for a grant, which can make an entry where there is none.
pub(super) fn held_or_new(read: Versioned) -> Result<Option<Held<Option<Version>>>, StoreError> {
    let new = Held { entry: SharedEntry::default(), version: read.version.clone(), age: None };
    held(read).map(|held| held.or(Some(new)))
}

/// Gives other machines a token that did not come from a renewal. Where somebody else writes the entry meanwhile, or the
/// store does not take it, they get one of their own.
pub fn share(opened: &mut OpenStore, profile: &Profile, known: &CurrentIdentity, token: &Token) {
    let Some(store) = opened.shared().filter(|_| profile.shares_tokens) else { return };
    let Ok(Some(Held { entry, version, age })) = store.read(&profile.name).and_then(held) else { return };
    let mut entry = entry.aged(age.unwrap_or_default());
    take_in(&mut entry, known, token);
    entry.write = digest::random(16);
    let _ = store.write(&profile.name, &entry.text(), Over::This(version.as_deref()));
}

/// Puts `token` among those that all machines may use: in the place of older answers to the same question.
pub(super) fn take_in(entry: &mut SharedEntry, known: &CurrentIdentity, token: &Token) {
    let now = token.received.secs();
    entry.access.retain(|shared| {
        Token::parse(shared.token.expose().as_bytes()).is_some_and(|old| old.identity.contradiction(known).is_some())
    });
    let left = match token.expires {
        Expires::At(at) => Some(at.saturating_sub(now)).filter(|left| *left > 0),
        Expires::Never => Some(-1),
        Expires::Unknown => None,
    };
    let text = token.text();
    if let (Some(left), Ok(text)) = (left, std::str::from_utf8(&text)) {
        let left = u64::try_from(left).ok();
        entry.access.insert(0, SharedToken { token: Secret::new(text), left });
        entry.access.truncate(MOST_TOKENS);
    }
}
