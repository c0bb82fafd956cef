//! The provider file: what a token endpoint takes and how its reply is read. All quirks are data in this format.

mod assertion;
mod built_in;
mod check;
mod expiry;
mod field;
mod login;
mod methods;
mod parse;
pub mod template;
mod types;

pub use assertion::*;
pub use built_in::{BY_ADDRESS, built_in};
pub use expiry::*;
pub use login::{Device, Kept, Redirect, Shape, State, Step};
pub use template::Template;
pub use types::*;
