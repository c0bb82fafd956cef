//! What is stored: access tokens, the index, locks, and the secret stores.

pub mod cache;
pub mod choice;
pub mod documents;
pub mod folders;
pub mod head;
pub mod index;
pub mod journal;
pub mod lock;
pub mod secrets;
