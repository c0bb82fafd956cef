//! The ID token, and a newline.

use super::Answer;
use crate::base::error::{Error, Kind};
use anyhow::Result;

pub fn write(answer: &Answer) -> Result<String> {
    match &answer.token.id_token {
        Some(id) => Ok(format!("{}\n", id.text.expose())),
        None => Err(Error::new(Kind::LoginNeeded, "no ID token".to_string(), "").into()),
    }
}
