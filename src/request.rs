//! The request to a token endpoint, and the reply as it comes from the wire.

use crate::token::Time;
use std::fmt;
use zeroize::Zeroizing;

/// When a request may be sent again (the contract's «Retries»).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// After a connect error and after 429, 502, 503, 504.
    Freely,
    /// It carries a refresh token that may be spent: where nothing was sent, or after 429 or 503.
    Rotating,
    /// It carries a person's own secret; a second try may lock the account: only where nothing was sent.
    Personal,
}

/// The HTTP methods a provider file may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
}

/// A request, whole: nothing is added to it but what HTTP itself needs. Holds secrets, so `Debug` shows none.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The URL, `https` or loopback `http`; may hold secrets in its query.
    pub url: Zeroizing<String>,
    /// Header lines in order, `User-Agent` and `Accept` among them.
    pub headers: Vec<(String, Zeroizing<String>)>,
    /// The body; `None` sends none.
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// When it may be sent again.
    pub repeat: Repeat,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A reply. Holds tokens, so `Debug` shows none.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header lines in order; names as sent, values as Latin-1 where they are not UTF-8.
    pub headers: Vec<(String, String)>,
    /// The body, at most 1 MiB.
    pub body: Zeroizing<Vec<u8>>,
    /// When the whole reply had arrived.
    pub received: Time,
}

impl Response {
    /// The first header line of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}
