//! stub
use super::Context;
use crate::cli::Curl;
use anyhow::Result;
/// x
pub fn run(_: &mut Context, _: &Curl) -> Result<()> {
    Ok(())
}
