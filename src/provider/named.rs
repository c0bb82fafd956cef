//! The requests of a provider by the names of their tables: `device-code.begin` is `[grants.device-code.begin]`.

use super::login::Step;
use super::types::{Call, Grant, Provider};

/// One request of a provider.
#[derive(Clone, Copy, Debug)]
pub enum Named<'p> {
    /// For the token.
    Token(&'p Grant),
    /// What a flow begins with.
    Begin(&'p Grant, &'p Call),
    /// A step before the token.
    Step(&'p Grant, &'p Step),
    /// `[revoke]`
    Revoke(&'p Call),
    /// `[introspect]`
    Introspect(&'p Call),
    /// `[userinfo]`
    Userinfo(&'p Call),
}

impl<'p> Named<'p> {
    /// Its grant, if it is of one.
    pub fn grant(&self) -> Option<&'p Grant> {
        match self {
            Named::Token(grant) | Named::Begin(grant, _) | Named::Step(grant, _) => Some(grant),
            Named::Revoke(_) | Named::Introspect(_) | Named::Userinfo(_) => None,
        }
    }
}

impl Grant {
    /// Its requests by name, in the order of the file; the steps are counted from 1.
    pub fn requests(&self) -> Vec<(String, Named<'_>)> {
        let name = &self.name;
        let begin = self.begin.iter().map(|call| (format!("{name}.begin"), Named::Begin(self, call)));
        let steps = self.steps.iter().enumerate();
        let steps = steps.map(|(at, step)| (format!("{name}.steps.{}", at + 1), Named::Step(self, step)));
        std::iter::once((name.clone(), Named::Token(self))).chain(begin).chain(steps).collect()
    }
}

impl Provider {
    /// Its requests by name. A grant comes before another request of its name.
    pub fn requests(&self) -> Vec<(String, Named<'_>)> {
        let others = [
            ("revoke", self.revoke.as_ref().map(Named::Revoke)),
            ("introspect", self.introspect.as_ref().map(Named::Introspect)),
            ("userinfo", self.userinfo.as_ref().map(Named::Userinfo)),
        ];
        let others = others.into_iter().filter_map(|(name, named)| Some((name.to_string(), named?)));
        self.grants.iter().flat_map(Grant::requests).chain(others).collect()
    }

    /// The request `name`, whose grant may be called by its short name.
    pub fn request(&self, name: &str) -> Option<(String, Named<'_>)> {
        let full = match name.split_once('.') {
            Some((grant, rest)) => format!("{}.{rest}", self.full_grant_name(grant)),
            None => self.full_grant_name(name).to_string(),
        };
        self.requests().into_iter().find(|(known, _)| *known == full)
    }
}
