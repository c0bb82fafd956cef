//! `--mask`: the CI service is told to hide the token in the job's log, before the token is printed.

use super::Context;
use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::cli::TokenArgs;
use crate::host::Host;
use crate::profile::ci::Runner;
use anyhow::Result;
use std::path::Path;
use zeroize::Zeroizing;

/// How the service is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masking {
    /// A workflow command on stderr: the runner reads both streams (actions/runner, ScriptHandler.cs).
    Github,
    /// A logging command on stdout, the only stream that the agent is documented to read.
    AzurePipelines,
    /// The agent's program, which takes it on stdin.
    Buildkite,
}

impl Masking {
    /// How the service of this job is told. `file`: where the answer goes, if stdout is free.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it cannot be told.
    pub fn of(host: &Host, args: &TokenArgs, file: Option<&Path>) -> Result<Masking> {
        let ci = if args.ci { " --ci" } else { "" };
        let command = format!("tok get {}{ci}", args.profile);
        let refuse = |why: String, hint: String| Err(Error::new(Kind::Usage, "--mask", why).hint(hint).into());
        match Runner::of_job(host) {
            Some(Runner::Github) => Ok(Masking::Github),
            Some(Runner::Buildkite) => Ok(Masking::Buildkite),
            Some(Runner::AzurePipelines) if file.is_some() => Ok(Masking::AzurePipelines),
            Some(Runner::AzurePipelines) => refuse(
                "Azure Pipelines reads masks on stdout, which is the token's".into(),
                format!("write the token to a file: {command} --mask --write FILE"),
            ),
            Some(other) => refuse(
                format!("{} cannot mask a value that is found during the job", other.title()),
                format!("keep it off stdout, where a log may have it: {command} --write FILE"),
            ),
            None => {
                refuse("this is not a job of a CI service that tok knows".into(), format!("leave it out: {command}"))
            }
        }
    }

    /// Tells the service to hide `secret`.
    ///
    /// # Errors
    /// [`Kind::Other`] where it was not told: then nothing is to be printed.
    pub fn hide(self, context: &mut Context, secret: &Secret) -> Result<()> {
        match self {
            Masking::Github => {
                // A workflow command is one line, in which `%` begins an escape (actions/toolkit, command.ts).
                let text = Secret::new(secret.expose().replace('%', "%25"));
                context.host.terminal.show(&Zeroizing::new(format!("::add-mask::{}", text.expose())));
                Ok(())
            }
            Masking::AzurePipelines => {
                // azure-pipelines-agent, Command.cs.
                let text = Secret::new(secret.expose().replace('%', "%AZP25"));
                context.print(&Zeroizing::new(format!("##vso[task.setsecret]{}\n", text.expose())))
            }
            Masking::Buildkite => {
                let words = ["buildkite-agent", "redactor", "add"].map(String::from);
                context.host.feed_command(&words, secret).map_err(|failed| {
                    let hint = "the agent must know `redactor add`; without --mask, keep the token off stdout";
                    Error::new(Kind::Other, "the token cannot be masked", format!("{}: {}", words[0], failed.why))
                        .hint(hint)
                        .into()
                })
            }
        }
    }
}
