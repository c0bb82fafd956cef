//! `{name}`, `{name?}`, `{name|other}`, `{function(…)}` and `{{` in a provider file.

use super::function::{self, Function};

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// A value; if an optional one is missing, the whole entry is dropped.
    Value {
        /// The name of the value.
        name: String,
        /// The value used if that one is missing: `{name|other}`.
        or: Option<String>,
        /// Whether it was written `{name?}`.
        optional: bool,
    },
    /// What a function makes of its arguments: `{base64(name + ':')}`.
    Made {
        /// The function.
        function: Function,
        /// Its arguments.
        arguments: Vec<Template>,
    },
}

/// A text with places for values.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(pub Vec<Piece>);

/// What keeps a template from being filled in.
#[derive(Debug, PartialEq)]
pub enum Gap {
    /// A value is missing, and it is not optional.
    Missing(String),
    /// An optional value is missing: the entry is left out.
    Dropped,
}

impl Template {
    /// `text` as it is, without places for values.
    pub fn text(text: &str) -> Template {
        Template(vec![Piece::Text(text.into())])
    }

    /// The origin of the URL that it makes, if no value has a part in that.
    pub fn origin(&self) -> Option<String> {
        let Some(Piece::Text(text)) = self.0.first() else { return None };
        let (_, after) = crate::base::url::Url::parse_start(text).ok()?;
        let is_whole = after.contains('/') || self.0.len() == 1;
        let url = crate::base::url::Url::parse(text).ok().filter(|_| is_whole)?;
        Some(url.origin())
    }

    /// Parses `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
            } else if brace == "}" {
                plain.push('}');
            } else {
                let Some(end) = rest.find('}') else {
                    return Err("unclosed `{`; write `{{` for a literal brace".into());
                };
                let inside = &rest[..end];
                rest = &rest[end + 1..];
                if inside.contains('(') {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(function::parse(inside)?);
                    continue;
                }
                let all = inside.strip_suffix('?').unwrap_or(inside);
                let (name, or) = all.split_once('|').map_or((all, None), |(name, or)| (name, Some(or)));
                if !crate::base::name::is_value_name(name) || or.is_some_and(|or| !crate::base::name::is_value_name(or))
                {
                    return Err(format!(
                        "`{{{}}}` is not a value: names are lower-case letters, digits and `_`; write `{{{{` for a literal brace",
                        crate::base::text::escape(inside)
                    ));
                }
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Value { name: name.into(), or: or.map(str::to_string), optional: all != inside });
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// Puts the value `new` in the place of `old`.
    pub fn rename(&mut self, old: &str, new: &str) {
        for piece in &mut self.0 {
            let Piece::Value { name, or, .. } = piece else { continue };
            for name in std::iter::once(name).chain(or).filter(|name| *name == old) {
                *name = new.into();
            }
        }
    }

    /// The values it needs, and whether each is optional.
    pub fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().flat_map(|piece| match piece {
            Piece::Made { arguments, .. } => arguments.iter().flat_map(|one| one.names().collect::<Vec<_>>()).collect(),
            Piece::Value { name, or: None, optional } => vec![(name.as_str(), *optional)],
            Piece::Value { name, or: Some(or), .. } => vec![(name.as_str(), true), (or.as_str(), true)],
            Piece::Text(_) => Vec::new(),
        })
    }

    /// Its text, where it has no places for values.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it is a single value whose name satisfies `is`.
    pub fn is_alone(&self, is: impl Fn(&str) -> bool) -> bool {
        matches!(self.0.as_slice(), [Piece::Value { name, .. }] if is(name))
    }

    /// The text with the values of `value` filled in. Values are used literally: a secret may contain `{b}`.
    pub fn fill<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Result<String, Gap> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Made { function, arguments } => out.push_str(&function.text(arguments, &value)?),
                Piece::Value { name, or, optional } => {
                    match (value(name).or_else(|| or.as_deref().and_then(&value)), optional) {
                        (Some(text), _) => out.push_str(text),
                        (None, true) => return Err(Gap::Dropped),
                        (None, false) => return Err(Gap::Missing(or.as_ref().unwrap_or(name).clone())),
                    }
                }
            }
        }
        Ok(out)
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Piece::Made { function, arguments } => write!(f, "{{{}}}", function.shown(arguments))?,
                Piece::Value { name, or, optional } => {
                    let or = or.as_ref().map(|or| format!("|{or}")).unwrap_or_default();
                    write!(f, "{{{name}{or}{}}}", if *optional { "?" } else { "" })?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, Gap> {
        Template::parse(text).expect("a template").fill(|name| match name {
            "a" => Some("1"),
            "b" => Some("{a}"),
            _ => None,
        })
    }

    #[test]
    fn values_are_filled_in_once() {
        assert_eq!(fill("x{a}y"), Ok("x1y".into()));
        assert_eq!(fill("{b}"), Ok("{a}".into()));
        assert_eq!(fill("{{a}} {a}"), Ok("{a} 1".into()));
        assert_eq!(fill("{c}"), Err(Gap::Missing("c".into())));
        assert_eq!(fill("{c?}"), Err(Gap::Dropped));
        assert_eq!((fill("{a|b}"), fill("{c|a}")), (Ok("1".into()), Ok("1".into())));
        assert_eq!((fill("{c|d}"), fill("{c|d?}")), (Err(Gap::Missing("d".into())), Err(Gap::Dropped)));
    }

    #[test]
    fn a_broken_template_is_told() {
        for text in ["{", "{a", "{A}", "{a b}", "{}", "{a|}", "{|a}", "{a|b|c}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
