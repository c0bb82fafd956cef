//! From a profile to a token: open the store, decide, exchange, keep what came.

pub mod acquire;
pub mod api;
pub mod exchange;
pub mod explain;
pub mod found;
pub mod guard;
pub mod hints;
pub mod inputs;
pub mod issued;
pub mod journal;
pub mod kept;
pub mod lease;
pub mod online;
pub mod open_store;
pub mod person;
pub mod plan;
pub mod preview;
pub mod question;
pub mod redirect;
pub mod refresh;
pub mod registration;
pub mod revoke;
pub mod shared;
pub mod signed;
pub mod status;
pub mod steps;
