//! The request header line: `Authorization: Bearer …` (RFC 6750 §2.1), or what the provider uses.

use super::Answer;

pub fn write(answer: &Answer) -> String {
    format!("{}: {}\n", answer.token.header.0, answer.token.header.1.expose())
}
