//! What is kept on this machine and beyond: access tokens, the index, locks, and the stores of secrets.

pub mod cache;
pub mod documents;
pub mod index;
pub mod lock;
pub mod secrets;
