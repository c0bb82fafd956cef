//! A field of a body, and a method by its name.

use super::template::Template;
use super::types::{Field, Method};

impl Field {
    /// Calls `f` with every template inside.
    pub fn each_template(&self, f: &mut impl FnMut(&Template)) {
        match self {
            Field::Text(template) => f(template),
            Field::Plain(_) => {}
            Field::List(items) => items.iter().for_each(|i| i.each_template(f)),
            Field::Table(entries) => entries.iter().for_each(|(_, i)| i.each_template(f)),
        }
    }

    /// The same, to change them.
    pub fn each_template_mut(&mut self, f: &mut impl FnMut(&mut Template)) {
        match self {
            Field::Text(template) => f(template),
            Field::Plain(_) => {}
            Field::List(items) => items.iter_mut().for_each(|i| i.each_template_mut(f)),
            Field::Table(entries) => entries.iter_mut().for_each(|(_, i)| i.each_template_mut(f)),
        }
    }
}

impl Method {
    /// Its name in a request.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}
