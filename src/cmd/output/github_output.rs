//! An output of a step of GitHub Actions: the runner is told to mask the token, then it is written where the runner
//! reads outputs (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).

use super::Answer;
use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::host::Host;
use anyhow::Result;
use std::path::Path;

/// The file that the runner reads outputs from.
const FILE: &str = "GITHUB_OUTPUT";

/// # Errors
/// [`Kind::Usage`] outside of a step; [`Kind::Other`] where the file cannot be written.
pub fn write(host: &mut Host, answer: &Answer, name: &str) -> Result<()> {
    let Some(path) = host.var(FILE)? else {
        return Err(Error::new(
            Kind::Usage,
            format!("{FILE} is not set"),
            "this format is for a step of GitHub Actions",
        )
        .hint(format!("print the token instead: tok get {}", answer.profile))
        .into());
    };
    let token = answer.token.access_token.expose();
    // Of both streams of a step the runner reads commands. Its own escapes are undone there.
    host.terminal.show(&format!("::add-mask::{}", token.replace('%', "%25")));
    // Nobody can know it, so nothing in a value can end it.
    let end = format!("ghadelimiter_{}", crate::base::digest::random(16));
    let text = Secret::new(format!("{name}<<{end}\n{token}\n{end}\n"));
    crate::system::files::append_user_file(Path::new(&path), text.expose().as_bytes()).map_err(|error| {
        let why = crate::system::files::why(&error);
        Error::new(Kind::Other, format!("the file of {FILE} cannot be written"), why).into()
    })
}
