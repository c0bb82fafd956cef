//! Requests to the network, and where they may not lead while an API says where to go.

use super::Host;
use crate::base::error::Result;
use crate::base::text::escape;
use crate::base::url::{Url, is_local, is_local_address};
use crate::oauth::request::{Request, Response};
use crate::system::http::{Events, Head};
use crate::system::progress::Progress;
use std::net::IpAddr;
use std::time::Instant;

/// What a login to an API may be sent to by what the API says.
pub(super) struct Elsewhere {
    /// The hosts that a person has named. They may be anywhere; with one that is on this machine or its own link, so may
    /// all others.
    named: Vec<String>,
}

impl Elsewhere {
    fn names(&self, host: &str) -> bool {
        self.named.iter().any(|named| named.eq_ignore_ascii_case(host))
    }
}

/// Whether a request failed for trouble of the network that may pass.
#[derive(Default)]
pub(super) struct Failure {
    pub(super) may_pass: bool,
}

impl Events for Failure {
    fn network_failed(&mut self) {
        self.may_pass = true;
    }
}

/// Keeps the notes until the reply is there: a terminal that takes no more for now must not hold up a new token.
struct Notes<'a> {
    events: &'a mut dyn Events,
    lines: Vec<String>,
    /// Whether the server must not be on this machine or its own link.
    is_elsewhere: bool,
    /// Where it was reached.
    reached: Option<IpAddr>,
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

    fn network_failed(&mut self) {
        self.events.network_failed();
    }

    fn received(&mut self, head: &Head, body: &[u8]) {
        self.events.received(head, body);
    }

    fn note(&mut self, line: &str) {
        self.events.note(line);
        self.lines.push(line.to_string());
    }
}

impl Host {
    /// Sends `request` before the call's deadline.
    ///
    /// # Errors
    /// As [`Http`].
    pub fn send(&mut self, request: &Request) -> Result<Response> {
        self.send_until(request, self.clock.deadline, &mut ())
    }

    /// Sends `request` before `deadline`, and tells `events` of it. Its notes go to the terminal as well, after the
    /// reply.
    ///
    /// # Errors
    /// As [`Http`].
    pub fn send_until(&mut self, request: &Request, deadline: Instant, events: &mut dyn Events) -> Result<Response> {
        let http = self.http();
        let host = Url::parse(&request.url).map(|url| url.host).unwrap_or_default();
        let named = self.elsewhere.as_ref().map(|elsewhere| elsewhere.names(host));
        // An address that is one by its text alone has been looked at before.
        let is_elsewhere = named == Some(false) && !is_local(host);
        let mut notes = Notes { events, lines: Vec::new(), is_elsewhere, reached: None };
        let to = escape(host);
        let progress = Progress::begin(self.terminal.progress(), move || format!("waiting for {to}…"));
        let answer = http(request, deadline, &mut notes);
        progress.end();
        // A server that answers there has shown its certificate.
        if named == Some(true) && answer.is_ok() && notes.reached.is_some_and(is_local_address) {
            self.elsewhere = None;
        }
        notes.lines.iter().for_each(|line| self.terminal.detail(line));
        answer
    }

    /// From here on an API says where to go: a host is not connected to on this machine or its own link. That is decided
    /// by the address, which only the connection knows. The hosts of `named`, URLs that a person gives, are not concerned;
    /// with one that is there itself, no host is.
    pub fn keep_off_this_machine<'u>(&mut self, named: impl IntoIterator<Item = &'u str>) {
        let hosts = named.into_iter().filter_map(|url| Url::parse(url).ok()).map(|url| url.host.to_string());
        self.elsewhere = Some(Elsewhere { named: hosts.collect() });
    }
}
