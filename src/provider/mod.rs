//! The provider file: what a token endpoint takes and how its reply is read. All quirks are data in this format.

mod about;
mod assertion;
mod built_in;
mod check;
mod client;
mod expiry;
mod field;
pub mod function;
mod limit;
mod login;
mod methods;
mod named;
mod parse;
pub mod template;
mod types;
mod usage;

pub use about::{About, RedirectUris};
pub use assertion::*;
pub use built_in::{BY_ADDRESS, built_in};
pub use client::*;
pub use expiry::*;
pub use limit::{Counted, Limit};
pub use login::{Device, Kept, Redirect, Shape, State, Step};
pub use named::Named;
pub use template::Template;
pub use types::*;
pub use usage::*;
