//! The provider file: what a token endpoint takes and how its reply is read. All quirks are data in this format.

mod built_in;
mod check;
mod client;
pub mod function;
mod methods;
mod parse;
pub mod template;
mod types;
mod usage;

pub use built_in::{BY_ADDRESS, built_in};
pub use client::*;
pub use template::Template;
pub use types::*;
pub use usage::*;
