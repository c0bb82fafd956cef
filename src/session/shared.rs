//! Renews a session that many machines share: does what [`crate::session::lease`] says, with the store, the provider
//! and the clock of this machine.

use crate::base::digest;
use crate::base::error::{Error, Kind};
use crate::host::Host;
use crate::provider::Grant;
use crate::session::acquire::{Wanted, cached, index, put};
use crate::session::exchange::{Asking, Outcome as Exchanged, ask_and_tell};
use crate::session::inputs::{For, fill};
use crate::session::lease::{Asked, Caller, Held, Outcome, Renewal, Step, Told, Written};
use crate::session::open_store::{OpenStore, refresh_token, store_error};
use crate::session::refresh::{asks_for_more, same_person};
use crate::storage::secrets::shared::{Over, Put, SharedStore, Version, Versioned};
use crate::storage::secrets::{StoreError, StoreErrorKind};
use crate::system::http::{Events, Head};
use crate::system::signals::{Stake, hold};
use crate::token::credentials::Session;
use crate::token::shared::{Ended, MOST_TOKENS, SharedEntry, SharedToken};
use crate::token::{Expires, Token};
use crate::profile::Value;
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How a renewal went.
pub enum Renewed {
    /// A token: another machine's, or this call's own.
    Token(Box<Token>),
    /// The session has ended.
    Ended(Ended),
    /// There is none.
    NoSession,
}

/// What is wanted of a token in the entry.
struct Sought<'a> {
    wanted: &'a Wanted<'a>,
    /// Whether a token will do, at a time in seconds since 1970.
    answers: &'a dyn Fn(&Token, i64) -> bool,
    now: i64,
}

impl Sought<'_> {
    /// The token of `entry`, written `age` ago, that will do; its times are those of this machine's clock.
    fn token(&self, entry: &SharedEntry, age: Duration) -> Option<Token> {
        entry.access.iter().find_map(|shared| {
            let mut token = Token::parse(shared.token.expose().as_bytes())?;
            token.expires = match shared.left {
                Some(left) => Expires::At(self.now.saturating_add(left.saturating_sub(age.as_secs()) as i64)),
                None => Expires::Never,
            };
            let is_of_these = token.identity.is_within(self.wanted.known);
            (is_of_these && (self.answers)(&token, self.now)).then_some(token)
        })
    }
}

impl Asked for Sought<'_> {
    fn is_served(&self, entry: &SharedEntry, age: Duration, _: bool) -> bool {
        self.token(entry, age).is_some()
    }

    fn random(&mut self) -> u64 {
        let mut bytes = [0; 8];
        digest::fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn wall_clock(&self) -> i64 {
        self.now
    }
}
