//! Entries in a program of the user's choice that can compare versions: `tok-store-NAME get|put|forget`, JSON on stdin and
//! stdout. `docs/stores.md` has the protocol.

use super::shared::{Over, Put, SharedStore, Versioned};
use super::{StoreError, StoreErrorKind};
use crate::base::env::Env;
use crate::base::secret::Secret;
use crate::base::text::escape_to;
use crate::system::process::{self, End, Output};
use crate::system::program;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The most that is read of an answer, in bytes.
const LIMIT: u64 = 4 << 20;
/// How long a call may take at least, whatever is left of the deadline: an entry may be on its way.
const LEAST: Duration = Duration::from_secs(3);

/// Entries kept by a program.
#[derive(Clone)]
pub struct ProgramStore {
    program: String,
    environment: Vec<(OsString, OsString)>,
    deadline: Instant,
}

/// What the program is asked.
#[derive(Serialize)]
struct Question<'a> {
    /// The version of this protocol.
    v: u32,
    profile: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a str>,
    /// What `put` must replace: a version, `null` for nothing; absent: whatever is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<Option<&'a str>>,
}

/// What it answers.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    entry: Option<Zeroizing<String>>,
    #[serde(default)]
    version: Option<Value>,
    /// Seconds since the entry was written, by the store's clock.
    #[serde(default)]
    age: Option<f64>,
    /// `put`: another version is there.
    #[serde(default)]
    conflict: bool,
    #[serde(default)]
    error: Option<Trouble>,
}

/// Why it does not do what was asked.
#[derive(Deserialize)]
struct Trouble {
    /// `missing`, `refused`, `unreachable`, `locked`.
    kind: String,
    #[serde(default)]
    message: String,
}

impl ProgramStore {
    /// The program `tok-store-<name>`, looked for in the absolute folders of `PATH`; it gets `env` without the
    /// variables that begin with `TOK_`.
    pub fn new(name: &str, deadline: Instant, env: &Env) -> ProgramStore {
        let environment = env.for_children().map(|(key, value)| (key.clone(), value.clone())).collect();
        ProgramStore { program: format!("tok-store-{name}"), environment, deadline }
    }

    fn error(&self, trouble: StoreErrorKind, why: impl std::fmt::Display) -> StoreError {
        StoreError { trouble, why: format!("{}: {}", self.program, escape_to(&why.to_string(), 300)) }
    }

    fn run(&self, verb: &str, question: &Question) -> Result<Reply, StoreError> {
        let env = self.environment.iter().map(|(key, value)| (key, value));
        let mut command = program::command(OsStr::new(&self.program), env)
            .map_err(|_| self.error(StoreErrorKind::Missing, "program not found on PATH"))?;
        command.arg(verb);
        // Room for all of it at once: a vector that grows leaves copies behind.
        let mut input = Zeroizing::new(Vec::with_capacity(question.entry.map_or(0, str::len) * 6 + 1024));
        serde_json::to_writer(&mut *input, question)
            .map_err(|_| self.error(StoreErrorKind::Refused, "the entry cannot be written as JSON"))?;
        let deadline = self.deadline.max(Instant::now() + LEAST);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => self.error(StoreErrorKind::Missing, "it cannot be run"),
            _ => self.error(StoreErrorKind::Unreachable, "it ended before it had answered"),
        };
        let Output { status, stdout } =
            match process::run(&mut command, Some(input), deadline, LIMIT).map_err(failed)? {
                End::Ended(said) => said,
                End::TooMuch => return Err(self.error(StoreErrorKind::Corrupt, "its answer is too long")),
                End::Late => return Err(self.error(StoreErrorKind::Unreachable, "no answer in time")),
            };
        // Its words may hold a piece of what it was given.
        let is_object = stdout.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        match serde_json::from_slice::<Reply>(if is_object { &stdout } else { &[] }) {
            Ok(Reply { error: Some(trouble), .. }) => Err(self.said(&trouble, question.entry)),
            _ if !status.success() => Err(self.error(StoreErrorKind::Unreachable, format!("it failed ({status})"))),
            Ok(reply) => Ok(reply),
            Err(_) => Err(self.error(StoreErrorKind::Corrupt, "its answer is not a JSON object of the protocol")),
        }
    }

    fn said(&self, trouble: &Trouble, sent: Option<&str>) -> StoreError {
        let kind = match trouble.kind.as_str() {
            "missing" => StoreErrorKind::Missing,
            "locked" => StoreErrorKind::Locked,
            "unreachable" => StoreErrorKind::Unreachable,
            _ => StoreErrorKind::Refused,
        };
        // A message that repeats a part of what it was given is not shown.
        let repeats = sent.is_some_and(|sent| {
            let has = |word: &str, least: usize| word.len() >= least && sent.contains(word);
            let words = trouble.message.split(|c: char| !c.is_ascii_graphic());
            // Quoted or escaped once more it is another word, of the same pieces.
            let pieces = trouble.message.split(|c: char| !c.is_ascii_alphanumeric());
            words.into_iter().any(|word| has(word, 8)) || pieces.into_iter().any(|piece| has(piece, 6))
        });
        // What it holds is not known here: no message has braces or words like those of an entry.
        let is_like_one = |word: &str| {
            let has = |of: fn(&u8) -> bool| word.as_bytes().iter().any(of);
            word.len() >= 20 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
        };
        let mut words = trouble.message.split(|c: char| !c.is_ascii_alphanumeric() && !"-_~+=".contains(c));
        let repeats = repeats || trouble.message.contains(['{', '}']) || words.any(is_like_one);
        let why = if trouble.message.is_empty() || repeats { "it refused" } else { trouble.message.as_str() };
        self.error(kind, why)
    }
}

/// A version as text: a number or a string.
fn version(value: &Option<Value>) -> Option<String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    }
}

impl SharedStore for ProgramStore {
    fn read(&mut self, profile: &str) -> Result<Versioned, StoreError> {
        let reply = self.run("get", &Question { v: 1, profile, entry: None, over: None })?;
        let version = version(&reply.version);
        if reply.entry.is_some() && version.is_none() {
            return Err(self.error(StoreErrorKind::Corrupt, "its answer names no version of the entry"));
        }
        let age = reply.age.and_then(|age| Duration::try_from_secs_f64(age).ok());
        Ok(Versioned { entry: reply.entry.map(|entry| Secret::new(entry.as_str())), version, age })
    }

    fn write(&mut self, profile: &str, entry: &Secret, over: Over) -> Result<Put, StoreError> {
        let over = match over {
            Over::Anything => None,
            Over::This(version) => Some(version),
        };
        let entry = Some(entry.expose());
        match self.run("put", &Question { v: 1, profile, entry, over }) {
            Ok(reply) if reply.conflict => Ok(Put::Lost),
            Ok(reply) => match version(&reply.version) {
                // One that stays the same was not compared.
                Some(new) if over.flatten() != Some(new.as_str()) => Ok(Put::Done(new)),
                _ => Ok(Put::Unknown(self.error(StoreErrorKind::Corrupt, "its answer names no new version"))),
            },
            Err(error) if matches!(error.trouble, StoreErrorKind::Unreachable | StoreErrorKind::Corrupt) => {
                Ok(Put::Unknown(error))
            }
            Err(error) => Err(error),
        }
    }

    fn end(&mut self, _: &str) -> Result<(), StoreError> {
        // The protocol knows the newest version alone.
        Ok(())
    }

    fn destroy(&mut self, profile: &str) -> Result<bool, StoreError> {
        let held = self.read(profile)?;
        self.run("forget", &Question { v: 1, profile, entry: None, over: None })?;
        Ok(held.entry.is_some())
    }

    fn check(&mut self, profile: &str) -> Result<(), StoreError> {
        self.read(profile).map(|_| ())
    }

    fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    fn another(&mut self, deadline: Instant) -> Result<Box<dyn SharedStore + Send>, StoreError> {
        Ok(Box::new(ProgramStore { deadline, ..self.clone() }))
    }
}
