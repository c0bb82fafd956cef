//! `export ACCESS_TOKEN='…'`, for a POSIX shell's `eval`.

use super::Answer;

pub fn write(answer: &Answer, variable: &str) -> String {
    // Nothing is special inside single quotes but the quote itself.
    format!("export {variable}='{}'\n", answer.token.access_token.expose().replace('\'', "'\\''"))
}
