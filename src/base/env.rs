//! The environment of a process as a value: its variables. Reading them is `host.rs`'s.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use zeroize::Zeroizing;

/// The variables of a process.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<OsString, OsString>);

/// A variable whose value is not UTF-8.
#[derive(Debug, PartialEq)]
pub struct NotUtf8;

impl FromIterator<(OsString, OsString)> for Env {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Env {
        Env(variables.into_iter().collect())
    }
}

impl Env {
    /// The variable as it is, empty or not.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The variable as text; an empty one is absent.
    ///
    /// # Errors
    /// [`NotUtf8`].
    pub fn text(&self, name: &str) -> Result<Option<&str>, NotUtf8> {
        self.get(name).filter(|value| !value.is_empty()).map(|value| value.to_str().ok_or(NotUtf8)).transpose()
    }

    /// Whether it is set, and not empty.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !value.is_empty())
    }

    /// Whether it is set but empty.
    pub fn is_set_but_empty(&self, name: &str) -> bool {
        self.get(name).is_some_and(OsStr::is_empty)
    }

    /// The names of `tok`'s variables that are set and not empty.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let set = self.0.iter().filter(|(name, value)| is_own(name) && !value.is_empty());
        set.filter_map(|(name, _)| name.to_str())
    }

    /// The names of `tok`'s variables that are set, the empty ones too.
    pub fn own_names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter(|name| is_own(name)).filter_map(|name| name.to_str())
    }

    /// The names of all variables that are set, as far as they are text.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.to_str())
    }

    /// The variables that other programs get: all except `tok`'s own, which may be secrets.
    pub fn for_children(&self) -> impl Iterator<Item = (&OsString, &OsString)> + Clone {
        self.0.iter().filter(|(name, _)| !is_own(name))
    }

    /// The variables of `tok`, `NAME=value`.
    pub fn own(&self) -> Vec<Zeroizing<Vec<u8>>> {
        let own = self.0.iter().filter(|(name, _)| is_own(name));
        own.map(|(name, value)| [name.as_encoded_bytes(), value.as_encoded_bytes()].join(&b'=').into()).collect()
    }
}

/// Whether a variable is one of `tok`'s, and so may be a secret: no program that `tok` starts gets it.
pub fn is_own(name: &OsStr) -> bool {
    name.as_encoded_bytes().get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"TOK_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Env {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn an_empty_variable_is_absent() {
        let env = env(&[("A", ""), ("B", "x")]);
        assert_eq!((env.text("A"), env.text("B"), env.text("C")), (Ok(None), Ok(Some("x")), Ok(None)));
        assert!(env.is_set_but_empty("A") && !env.is_set_but_empty("B") && !env.is_set_but_empty("C"));
    }

    #[test]
    fn children_get_no_variable_of_tok() {
        let env = env(&[("TOK_X_SECRET", "s"), ("tok_y", "s"), ("PATH", "/bin"), ("TOKEN", "t")]);
        let names: Vec<_> = env.for_children().map(|(name, _)| name.to_str().unwrap_or_default()).collect();
        assert_eq!(names, ["PATH", "TOKEN"]);
        assert_eq!(env.own().len(), 2);
    }
}
