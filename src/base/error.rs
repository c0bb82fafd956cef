//! Errors: the exit status, and the two lines that a person reads.

use std::fmt;

/// What the caller does next. Each kind is one exit status of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any other failure.
    Other = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The config or a provider file is wrong, or the profile is not known.
    Config = 3,
    /// A login or a value is needed.
    LoginNeeded = 4,
    /// The provider refused.
    Refused = 5,
    /// The provider could not be reached or failed for now; trying later may help.
    Unavailable = 6,
    /// The secret store is missing, locked or refused, and may hold what is needed.
    Store = 7,
    /// The provider's reply could not be understood.
    Reply = 8,
}

/// A failure: `tok: <what>: <why>`, then `hint: <hint>`.
#[derive(Clone, Debug)]
pub struct Error {
    /// Decides the exit status.
    pub kind: Kind,
    /// What failed, without a capital or a full stop.
    pub what: String,
    /// Why; may be empty where `what` says it all.
    pub why: String,
    /// The next step: a command to run, or what to check.
    pub hint: Option<String>,
}

/// The result of everything that can fail with an exit status.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure without a hint.
    pub fn new(kind: Kind, what: impl Into<String>, why: impl Into<String>) -> Error {
        Error { kind, what: what.into(), why: why.into(), hint: None }
    }

    /// The same with a hint: a command to run, or what to check.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        self.kind as u8
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.why.is_empty() {
            write!(f, ": {}", self.why)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// An end with a status that is no [`Kind`]'s: another program's own, or one that says that it was not run, as env(1) and
/// nice(1) have them.
#[derive(Debug)]
pub struct Exit {
    /// The exit status.
    pub status: u8,
    /// What there is to say; nothing where the other program has said it.
    pub error: Option<Error>,
}

/// No program was run, for want of a token or something else.
pub const NOT_RUN: u8 = 125;
/// The program cannot be run.
pub const NOT_EXECUTABLE: u8 = 126;
/// There is no such program.
pub const NOT_FOUND: u8 = 127;

impl Exit {
    /// Why no program was run; its own status stands at the end of the message.
    pub fn not_run(error: &anyhow::Error) -> Exit {
        let kind = kind(error);
        let text = format!("{error:#} (status {})", kind as u8);
        let hint = hint(error).map(str::to_string);
        Exit { status: NOT_RUN, error: Some(Error { kind, what: text, why: String::new(), hint }) }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => error.fmt(f),
            None => write!(f, "status {}", self.status),
        }
    }
}

impl std::error::Error for Exit {}

/// A failure that has been told already, by the answer or in the words of another program's protocol: only its exit
/// status is left.
#[derive(Clone, Copy, Debug)]
pub struct Silent(pub u8);

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.0)
    }
}

impl std::error::Error for Silent {}

/// The kind of an error that is carried by anyhow: of the outermost [`Error`] in it.
pub fn kind(error: &anyhow::Error) -> Kind {
    error.downcast_ref::<Error>().map_or(Kind::Other, |error| error.kind)
}

/// Its hint, likewise.
pub fn hint(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Error>()?.hint.as_deref()
}

/// Says which profile an error is about.
pub trait InProfile {
    /// The same, and an error says that it is about the profile `name`; once, where the message begins or ends with it.
    fn in_profile(self, name: &str) -> Self;
}

impl<T> InProfile for anyhow::Result<T> {
    fn in_profile(self, name: &str) -> anyhow::Result<T> {
        self.map_err(|error| {
            let what = error.downcast_ref::<Error>().map_or("", |error| error.what.as_str());
            let mut words = what.split(' ');
            let is_it = |word: Option<&str>| word.is_some_and(|word| word.trim_matches('`') == name);
            let is_said = is_it(words.next()) || is_it(words.next_back());
            if is_said { error } else { error.context(name.to_string()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_profile_is_named_once() {
        let said = |what: &str| {
            let error: anyhow::Result<()> = Err(Error::new(Kind::LoginNeeded, what, "why").into());
            format!("{:#}", error.in_profile("shop").expect_err("an error"))
        };
        assert_eq!(said("the keyring is locked"), "shop: the keyring is locked: why");
        assert_eq!(said("shop needs secret_key"), "shop needs secret_key: why");
        assert_eq!(said("not logged in to shop"), "not logged in to shop: why");
        assert_eq!(said("no profile or provider `shop`"), "no profile or provider `shop`: why");
        assert_eq!(said("shops need a key"), "shop: shops need a key: why");
    }

    #[test]
    fn the_outermost_error_steers() {
        let refused = || Error::new(Kind::Refused, "the provider refused", "invalid_scope").hint("look at scope");
        let error = anyhow::Error::from(refused()).context("p");
        assert_eq!((kind(&error), hint(&error)), (Kind::Refused, Some("look at scope")));
        assert_eq!(format!("{error:#}"), "p: the provider refused: invalid_scope");
        let outer: anyhow::Result<()> = Err(refused()).context(Error::new(Kind::Store, "outer", ""));
        assert_eq!(outer.map_err(|error| (kind(&error), hint(&error).map(str::to_string))), Err((Kind::Store, None)));
        assert_eq!(kind(&anyhow::anyhow!("something else")), Kind::Other);
    }
}
