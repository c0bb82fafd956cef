//! The HTTP module against real sockets: what goes over the wire, and what each answer is taken for.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used, missing_docs)]

mod identity;
mod proxies;
#[cfg(unix)]
#[path = "../cli/support/refusing.rs"]
mod refusing;
mod replies;
mod requests;
mod support;
mod tls;
