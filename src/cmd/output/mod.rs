//! What is printed of a token: one format a file.

mod env;
mod header;
mod id_token;
mod json;
mod token;

use crate::base::secret::Secret;
use crate::cli::Format;
use crate::session::acquire::TokenSource;
use crate::token::Token;
use anyhow::Result;

/// A token that is about to be handed out.
pub struct Answer {
    /// The profile it is for.
    pub profile: String,
    /// The token and what is known of it.
    pub token: Token,
    /// Where it came from.
    pub source: TokenSource,
    /// The clock, in seconds since 1970.
    pub now: i64,
}

/// The whole of what goes to stdout; `variable` is the name that a shell's format sets.
///
/// # Errors
/// [`crate::base::error::Kind::LoginNeeded`] where there is no ID token to print.
pub fn write(answer: &Answer, format: Format, variable: &str) -> Result<Secret> {
    Ok(Secret::new(match format {
        Format::Token => token::write(answer),
        Format::Header => header::write(answer),
        Format::Json => json::write(answer),
        Format::Env => env::write(answer, variable),
        Format::IdToken => id_token::write(answer)?,
    }))
}
