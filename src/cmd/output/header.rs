//! The request header lines: `Authorization: Bearer …` (RFC 6750 §2.1), or what the provider uses, and what else its API
//! expects.

use super::Answer;
use crate::base::error::{Error, Kind};
use anyhow::Result;

/// # Errors
/// [`Kind::Usage`] where the token goes into the query alone.
pub fn write(answer: &Answer) -> Result<String> {
    if answer.token.header.0.is_empty() {
        return Err(Error::new(
            Kind::Usage,
            "no header carries the token",
            "the API expects it in the query of the URL",
        )
        .hint(format!("call the API with: tok curl {} URL", answer.profile))
        .into());
    }
    Ok(lines(answer))
}

/// The header lines there are.
pub fn lines(answer: &Answer) -> String {
    answer.token.headers().map(|(name, value)| format!("{name}: {}\n", value.expose())).collect()
}
