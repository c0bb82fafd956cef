//! The protocol without I/O: requests, replies, client authentication, metadata (RFC 6749 and its companions).

pub mod callback;
pub mod challenge;
pub mod client_auth;
mod cookie;
pub mod dpop;
mod encode;
pub mod found;
pub mod id_token;
pub mod metadata;
pub mod pkce;
pub mod poll;
pub mod registration;
pub mod reply;
pub mod request;
pub mod resource;
pub mod web_identity;

#[cfg(test)]
mod tests;
