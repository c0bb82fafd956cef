//! `tok`, a command-line token fetcher. `README.md` says what it does.
pub mod belongs;
pub mod config;
pub mod date;
pub mod digest;
pub mod document;
pub mod duration;
pub mod error;
pub mod jwt;
pub mod kept;
pub mod plan;
pub mod provider;
pub mod reply;
pub mod request;
pub mod store;
pub mod text;
pub mod token;
pub mod url;
