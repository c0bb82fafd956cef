//! Entries in a program of the user's choice, using Docker's credential helper protocol.
//!
//! `docker-credential-NAME store|get|erase` takes JSON or a server URL on stdin and answers on stdout
//! (docker/docker-credential-helpers, `credentials/credentials.go`).

use super::{Store, StoreError, StoreErrorKind};
use crate::base::env::Env;
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::storage::choice::is_helper_name;
use crate::system::process::{self, End, Output};
use crate::system::program;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What every helper says, on stdout and with status 1, when it has no such entry (`errCredentialsNotFoundMessage`).
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The name of an entry that no profile has.
const TRIAL: &str = "_trial";
/// The most that is kept of what a helper says, in bytes.
const LIMIT: u64 = 4 << 20;

/// Entries kept by a helper program.
#[derive(Debug)]
pub struct HelperStore {
    program: String,
    patience: Duration,
    environment: Vec<(OsString, OsString)>,
    given_up: Option<StoreError>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HelperEntry<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperReply {
    username: String,
    secret: String,
}

impl HelperStore {
    /// The helper `docker-credential-<name>`. Each call of it is killed after `patience`. It gets `env`
    /// without the variables that begin with `TOK_` (secrets among them), and is looked for on the `PATH` there,
    /// in its absolute folders only.
    ///
    /// # Errors
    /// [`StoreErrorKind::Missing`] if `name` is not `[a-z0-9][a-z0-9._-]*`. Whether there is such a program is seen
    /// with the first call.
    pub fn new(name: &str, patience: Duration, env: Env) -> Result<HelperStore, StoreError> {
        if !is_helper_name(name) {
            return Err(StoreError {
                trouble: StoreErrorKind::Missing,
                why: format!("`{}` is not a helper's name (lower-case letters, digits, `.`, `_`, `-`)", escape(name)),
            });
        }
        let environment = env.for_children().map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(HelperStore { program: format!("docker-credential-{name}"), patience, environment, given_up: None })
    }

    /// Sets how long each of the following calls is waited for.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    fn error(&self, trouble: StoreErrorKind, why: impl std::fmt::Display) -> StoreError {
        StoreError { trouble, why: format!("{}: {}", self.program, escape(&why.to_string())) }
    }

    /// Runs the helper once. `Ok(None)` means that it has no such entry. After one time-out it is not
    /// run again.
    fn run(&mut self, verb: &str, input: Zeroizing<Vec<u8>>) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        if let Some(error) = &self.given_up {
            return Err(error.clone());
        }
        let result = self.run_once(verb, input);
        if let Err(error) = &result
            && error.trouble == StoreErrorKind::TimedOut
        {
            self.given_up = Some(error.clone());
        }
        result
    }

    fn run_once(&self, verb: &str, input: Zeroizing<Vec<u8>>) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let env = self.environment.iter().map(|(key, value)| (key, value));
        let mut command = program::command(OsStr::new(&self.program), env)
            .map_err(|_| self.error(StoreErrorKind::Missing, "program not found on PATH"))?;
        command.arg(verb);
        let deadline = Instant::now() + self.patience;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => self.error(StoreErrorKind::Missing, error),
            _ => self.error(StoreErrorKind::Refused, error),
        };
        let Output { status, stdout } =
            match process::run(&mut command, Some(input), deadline, LIMIT).map_err(failed)? {
                End::Ended(said) => said,
                End::TooMuch => {
                    return Err(self.error(StoreErrorKind::Corrupt, format!("it printed more than {LIMIT} bytes")));
                }
                End::Late => {
                    let patience = crate::base::duration::show(self.patience.as_secs().max(1) as i64);
                    return Err(self.error(StoreErrorKind::TimedOut, format!("no answer within {patience}")));
                }
            };
        if status.success() {
            return Ok(Some(stdout));
        }
        let said = String::from_utf8_lossy(&stdout);
        if said.trim() == NOT_FOUND {
            return Ok(None);
        }
        // Whatever it says may quote the entry, in some other form.
        let why = format!("it failed ({status}); it may say why to: {} list", self.program);
        Err(self.error(StoreErrorKind::Refused, why))
    }
}

impl Store for HelperStore {
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
        let url = server_url(profile);
        let Some(stdout) = self.run("get", Zeroizing::new(url.into_bytes()))? else {
            return Ok(None);
        };
        // The parser's words may hold a piece of what it read.
        let answer: HelperReply = serde_json::from_slice(&stdout)
            .map_err(|_| self.error(StoreErrorKind::Corrupt, "its reply is not a JSON entry"))?;
        let secret = Secret::new(answer.secret);
        // What `pass` says where there is none (its `Get` in docker-credential-helpers).
        if answer.username.is_empty() && secret.expose().is_empty() {
            return Ok(None);
        }
        // Some helpers answer for a URL that is nearly the one asked for (wincred matches by host).
        if answer.username != profile {
            return Err(self.error(StoreErrorKind::Corrupt, "it returned another user's entry"));
        }
        Ok(Some(secret))
    }

    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError> {
        let input = HelperEntry { server_url: &server_url(profile), username: profile, secret: entry.expose() };
        // Room for all of it at once, every character escaped: a vector that grows leaves copies behind.
        let mut json = Zeroizing::new(Vec::with_capacity(entry.expose().len() * 6 + 1024));
        serde_json::to_writer(&mut *json, &input)
            .map_err(|_| self.error(StoreErrorKind::Refused, "the entry cannot be written as JSON"))?;
        match self.run("store", json)? {
            Some(_) => Ok(()),
            None => Err(self.error(StoreErrorKind::Refused, NOT_FOUND)),
        }
    }

    /// By storing an entry and erasing it: what a helper says to `get` and `list` does not tell whether it can store, as
    /// `pass` without a key to encrypt to shows.
    fn ready(&mut self) -> Result<(), StoreError> {
        self.set(TRIAL, &Secret::new("trial"))?;
        self.run("erase", Zeroizing::new(server_url(TRIAL).into_bytes())).map(drop)
    }

    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        // Helpers differ in what they say to the erasing of nothing.
        match self.get(profile) {
            Ok(None) => return Ok(false),
            Err(error) if error.trouble != StoreErrorKind::Corrupt => return Err(error),
            _ => {}
        }
        let url = server_url(profile);
        Ok(self.run("erase", Zeroizing::new(url.into_bytes()))?.is_some())
    }
}

/// Helpers take `http`, `https` or no scheme; the host is not a public name (no top-level domain).
fn server_url(profile: &str) -> String {
    format!("https://tok/{profile}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path_and_no_option() {
        for name in ["pass", "secretservice", "ecr-login", "a.b_c", "1"] {
            assert!(is_helper_name(name), "{name}");
        }
        for name in ["", "-x", ".x", "_x", "a/b", "../x", "A", "a b", "ä", "a\n"] {
            assert!(!is_helper_name(name), "{name}");
            let error = HelperStore::new(name, Duration::ZERO, Env::default()).unwrap_err();
            assert_eq!(error.trouble, StoreErrorKind::Missing);
        }
    }
}
