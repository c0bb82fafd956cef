//! `tok`, a command-line token fetcher. `README.md` says what it does.
pub mod error;
pub mod request;
pub mod store;
pub mod text;
pub mod token;
