//! Reads a TOML file that a person wrote: strictly, and with file, line and column in every error.

use crate::base::error::{Error, Kind, Result};
use crate::base::text::{escape, nearest};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// The text of a file, and its name for messages.
pub struct Document<'t> {
    /// Shown before line and column.
    pub name: String,
    /// The text.
    pub text: &'t str,
    /// Where the lines begin, in bytes; computed when first needed.
    lines: OnceCell<Vec<usize>>,
    /// What is wrong with it, as far as it has been read.
    findings: RefCell<Vec<Error>>,
    /// How a key is written, by its name: shown where its value has another shape.
    shapes: &'static [(&'static str, &'static str)],
}

impl<'t> Document<'t> {
    /// The document `text`, called `name` in messages.
    pub fn new(name: impl Into<String>, text: &'t str) -> Document<'t> {
        Document { name: name.into(), text, lines: OnceCell::new(), findings: RefCell::default(), shapes: &[] }
    }

    /// The same, with an example for each key: `expires` and `expires = [{ at = "/expires_in" }]`.
    pub fn with_shapes(self, shapes: &'static [(&'static str, &'static str)]) -> Document<'t> {
        Document { shapes, ..self }
    }

    /// Parses the text.
    ///
    /// # Errors
    /// [`Kind::Config`] with line and column if it is not valid TOML.
    pub fn parse(&self) -> Result<Spanned<DeTable<'t>>> {
        DeTable::parse(self.text).map_err(|error| self.error(error.span().unwrap_or(0..0), escape(error.message())))
    }

    /// Parses the text as far as it goes, and notes the mistakes in its syntax up to the first after which the text may be
    /// read as something else than was meant: what is said of the rest follows from that one more often than not.
    pub fn parse_all(&self) -> Spanned<DeTable<'t>> {
        let (table, mut errors) = DeTable::parse_recoverable(self.text);
        let place = |error: &toml::de::Error| error.span().unwrap_or(0..0);
        errors.sort_by_key(|error| place(error).start);
        for error in &errors {
            self.note(self.error(place(error), escape(error.message())));
            if error.message() != "duplicate key" {
                break;
            }
        }
        table
    }

    /// Notes what is wrong, so that the rest can be read too.
    pub fn note(&self, error: Error) {
        self.findings.borrow_mut().push(error);
    }

    /// What was read, or `None` where something is wrong, which is noted.
    pub fn keep<T>(&self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.note(error)).ok()
    }

    /// What was noted, in the order in which it was found, each once.
    pub fn findings(&self) -> Vec<Error> {
        let mut known = BTreeSet::new();
        let mut findings = self.findings.borrow().clone();
        findings.retain(|error| known.insert((error.what.clone(), error.why.clone())));
        findings
    }

    /// An error at `span` (bytes).
    pub fn error(&self, span: Range<usize>, why: impl Into<String>) -> Error {
        Error::new(Kind::Config, self.place(span), why)
    }

    /// `span` (bytes) as `FILE:LINE:COLUMN`.
    pub fn place(&self, span: Range<usize>) -> String {
        let lines = self.lines.get_or_init(|| self.text.match_indices('\n').map(|(at, _)| at + 1).collect());
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = lines.partition_point(|start| *start <= before.len());
        let start = line.checked_sub(1).and_then(|last| lines.get(last)).copied().unwrap_or(0);
        let column = before.get(start..).unwrap_or("").chars().count() + 1;
        format!("{}:{}:{column}", self.name, line + 1)
    }

    /// The table `table` at `span`, to be read key by key.
    pub fn table<'d>(&'d self, table: &'d DeTable<'t>, span: Range<usize>) -> Table<'d, 't> {
        Table { doc: self, table, span, key: "", asked: RefCell::default(), is_read: Cell::new(false) }
    }
}

/// A table being read. Every key that is asked for counts as known; [`Table::done`] refuses the others.
pub struct Table<'d, 't> {
    doc: &'d Document<'t>,
    table: &'d DeTable<'t>,
    /// Where it stands, in bytes.
    pub span: Range<usize>,
    /// The key whose value it is or is part of.
    key: &'static str,
    asked: RefCell<Vec<&'static str>>,
    /// All keys were asked for.
    is_read: Cell<bool>,
}

impl<'d, 't> Table<'d, 't> {
    /// The value of `key`, if it is there.
    pub fn get(&self, key: &'static str) -> Option<TomlValue<'d, 't>> {
        self.asked.borrow_mut().push(key);
        self.look(key).map(|value| TomlValue { key, ..value })
    }

    /// The value of `key` as `read` takes it, else `default`: also where something is wrong with it, which is noted.
    pub fn read<T>(&self, key: &'static str, default: T, read: impl FnOnce(TomlValue<'d, 't>) -> Result<T>) -> T {
        self.get(key).and_then(|value| self.doc.keep(read(value))).unwrap_or(default)
    }

    /// What was read, or `None` where something is wrong, which is noted.
    pub fn keep<T>(&self, result: Result<T>) -> Option<T> {
        self.doc.keep(result)
    }

    /// Notes that something is wrong with this table.
    pub fn note(&self, why: impl Into<String>) {
        self.doc.note(self.error(why));
    }

    /// Like [`Table::get`], but the key does not count as known.
    pub fn look(&self, key: &str) -> Option<TomlValue<'d, 't>> {
        self.table.iter().find(|(k, _)| k.get_ref().as_ref() == key).map(|(_, v)| TomlValue {
            doc: self.doc,
            value: v,
            key: self.key,
        })
    }

    /// All keys and values in the order of the file, with the key's place. They count as known.
    pub fn all(&self) -> Vec<(String, Range<usize>, TomlValue<'d, 't>)> {
        self.is_read.set(true);
        let entry = |(k, v)| {
            let k: &Spanned<DeString> = k;
            (k.get_ref().to_string(), k.span(), TomlValue { doc: self.doc, value: v, key: self.key })
        };
        self.table.iter().map(entry).collect()
    }

    /// The keys that were not asked for yet.
    pub fn rest(&self) -> Vec<(String, Range<usize>, TomlValue<'d, 't>)> {
        let asked = self.asked.borrow();
        let mut all = self.all();
        all.retain(|(k, ..)| !asked.contains(&k.as_str()));
        all
    }

    /// An error about this table.
    pub fn error(&self, why: impl Into<String>) -> Error {
        self.doc.error(self.span.clone(), why)
    }

    /// Notes that something is wrong at another place of the same file.
    pub fn note_at(&self, span: Range<usize>, why: impl Into<String>) {
        self.doc.note(self.doc.error(span, why));
    }

    /// # Errors
    /// [`Kind::Config`] for a key that was not asked for, with the nearest known name.
    pub fn done(&self) -> Result<()> {
        self.unknown_keys().into_iter().next().map_or(Ok(()), Err)
    }

    /// [`Table::done`] that notes each of them.
    pub fn finish(&self) {
        self.unknown_keys().into_iter().for_each(|error| self.doc.note(error));
    }

    fn unknown_keys(&self) -> Vec<Error> {
        if self.is_read.get() {
            return Vec::new();
        }
        let asked = self.asked.borrow();
        let keys = self.table.iter().map(|(key, _)| key).filter(|key| !asked.iter().any(|a| a == key.get_ref()));
        keys.map(|key| unknown(self.doc, key.span(), "key", key.get_ref(), asked.iter().copied())).collect()
    }
}

/// An error about an unknown name, with the one that was probably meant, or all that are expected.
pub fn unknown<'a>(
    doc: &Document<'_>,
    span: Range<usize>,
    kind: &str,
    typed: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Error {
    let names: Vec<&str> = names.into_iter().collect();
    let mut why = format!("unknown {kind} `{}`", escape(typed));
    if let Some(name) = nearest(typed, names.iter().copied()) {
        why.push_str(&format!("; did you mean `{name}`?"));
    } else if !names.is_empty() {
        why.push_str(&format!("; expected one of: {}", names.join(", ")));
    }
    doc.error(span, why)
}

/// A value being read.
#[derive(Clone, Copy)]
pub struct TomlValue<'d, 't> {
    doc: &'d Document<'t>,
    value: &'d Spanned<DeValue<'t>>,
    /// The key whose value it is or is part of.
    key: &'static str,
}

impl<'d, 't> TomlValue<'d, 't> {
    /// The value as it was parsed.
    pub fn raw(&self) -> &'d DeValue<'t> {
        self.value.get_ref()
    }

    /// Where it stands, in bytes.
    pub fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// An error about this value.
    pub fn error(&self, why: impl Into<String>) -> Error {
        self.doc.error(self.span(), why)
    }

    fn wrong(&self, expected: &str) -> Error {
        let found = match self.raw() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let shape = self.doc.shapes.iter().find(|(key, _)| *key == self.key);
        let shape = shape.map(|(_, shape)| format!("; write it as: {shape}")).unwrap_or_default();
        self.error(format!("expected {expected}, found {found}{shape}"))
    }

    /// What was read of it, or `None` where something is wrong, which is noted.
    pub fn keep<T>(&self, result: Result<T>) -> Option<T> {
        self.doc.keep(result)
    }

    /// Notes that something is wrong with it.
    pub fn note(&self, why: impl Into<String>) {
        self.doc.note(self.error(why));
    }

    /// A string.
    pub fn text(&self) -> Result<&'d str> {
        match self.raw() {
            DeValue::String(s) => Ok(s.as_ref()),
            _ => Err(self.wrong("a string")),
        }
    }

    /// `true` or `false`.
    pub fn flag(&self) -> Result<bool> {
        match self.raw() {
            DeValue::Boolean(b) => Ok(*b),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// An integer.
    pub fn integer(&self) -> Result<i64> {
        match self.raw() {
            DeValue::Integer(i) => {
                i64::from_str_radix(i.as_str(), i.radix()).map_err(|_| self.error("integer too large"))
            }
            _ => Err(self.wrong("an integer")),
        }
    }

    /// A list.
    pub fn list(&self) -> Result<Vec<TomlValue<'d, 't>>> {
        match self.raw() {
            DeValue::Array(items) => Ok(items.iter().map(|value| TomlValue { value, ..*self }).collect()),
            _ => Err(self.wrong("a list")),
        }
    }

    /// A list of strings.
    pub fn texts(&self) -> Result<Vec<String>> {
        self.list()?.iter().map(|v| v.text().map(str::to_string)).collect()
    }

    /// A list of hosts, as origins ([`crate::base::url::host_origin`]).
    pub fn origins(self) -> Result<Vec<String>> {
        let origin = |item: &TomlValue| crate::base::url::host_origin(item.text()?).map_err(|why| item.error(why));
        self.list()?.iter().map(origin).collect()
    }

    /// A table.
    pub fn table(&self) -> Result<Table<'d, 't>> {
        match self.raw() {
            DeValue::Table(table) => Ok(Table { key: self.key, ..self.doc.table(table, self.span()) }),
            _ => Err(self.wrong("a table")),
        }
    }

    /// One of the words in `choices`.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T> {
        let text = self.text()?;
        choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| unknown(self.doc, self.span(), "choice", text, choices.iter().map(|(word, _)| *word)))
    }
}
