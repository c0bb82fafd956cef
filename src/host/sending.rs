//! What is known of a request while it is on its way, and where it may go.

use crate::base::error::Result;
use crate::base::url::is_local_address;
use crate::system::http::{Events, Head};
use std::net::IpAddr;
use std::time::Instant;

/// What a login to an API may be sent to by what the API says.
pub(super) struct Elsewhere {
    /// The hosts that a person has named. They may be anywhere; with one that is on this machine or its own link, so may
    /// all others.
    pub(super) named: Vec<String>,
}

impl Elsewhere {
    pub(super) fn names(&self, host: &str) -> bool {
        self.named.iter().any(|named| named.eq_ignore_ascii_case(host))
    }
}

/// Keeps the notes until the reply is there: a terminal that takes no more for now must not hold up a new token.
pub(super) struct Notes<'a> {
    pub(super) events: &'a mut dyn Events,
    pub(super) lines: Vec<String>,
    /// Whether the server must not be on this machine or its own link.
    pub(super) is_elsewhere: bool,
    /// Where it was reached.
    pub(super) reached: Option<IpAddr>,
}

impl Events for Notes<'_> {
    fn allows(&self, address: IpAddr) -> bool {
        !(self.is_elsewhere && is_local_address(address)) && self.events.allows(address)
    }

    fn reached(&mut self, address: IpAddr) {
        self.reached = Some(address);
        self.events.reached(address);
    }

    fn connected(&mut self) -> Result<()> {
        self.events.connected()
    }

    fn reply_by(&self, deadline: Instant) -> Instant {
        self.events.reply_by(deadline)
    }

    fn received(&mut self, head: &Head, body: &[u8]) {
        self.events.received(head, body);
    }

    fn note(&mut self, line: &str) {
        self.events.note(line);
        self.lines.push(line.to_string());
    }
}
