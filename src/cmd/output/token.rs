//! The access token and a newline.

use super::Answer;

pub fn write(answer: &Answer) -> String {
    format!("{}\n", answer.token.access_token.expose())
}
