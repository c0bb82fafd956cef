//! What is kept on this machine and beyond: access tokens, the index, locks, and the stores of secrets.

pub mod cache;
pub mod choice;
pub mod documents;
pub mod folders;
pub mod head;
pub mod index;
pub mod journal;
pub mod lock;
pub mod secrets;
