//! What every other module uses: text, time, errors, digests. No I/O, nothing about tokens.

pub mod date;
pub mod digest;
pub mod duration;
pub mod env;
pub mod error;
pub mod header;
pub mod jose;
pub mod json;
pub mod name;
pub mod redact;
pub mod secret;
pub mod text;
pub mod time;
pub mod toml;
pub mod url;
