//! How an API expects the access token, and what else it is sent.

use super::template::Template;
use std::collections::BTreeMap;

/// How an API expects the access token.
#[derive(Clone, Debug)]
pub struct Use {
    /// The header's name; empty: the token is in the query alone.
    pub header: String,
    /// The header's value, with `{access_token}`.
    pub value: Template,
    /// Further headers, in the order of the file.
    pub headers: Vec<(String, Template)>,
    /// Parameters of the URL.
    pub query: Vec<(String, Template)>,
    /// The hosts that may be called with it, besides the profile's, each a host or a URL; `None`: that of the base URL.
    pub hosts: Option<Vec<Template>>,
    /// The user name that goes with it where a program sends name and password; `None`: any will do.
    pub username: Option<String>,
}
impl Use {
    /// All that an API is sent with the token.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let header = (!self.header.is_empty()).then_some(&self.value);
        let others = self.headers.iter().chain(&self.query).map(|(_, template)| template);
        header.into_iter().chain(others).chain(self.hosts.iter().flatten())
    }

    /// The values in it, with whether each is optional everywhere.
    pub fn names(&self) -> BTreeMap<String, bool> {
        let mut all = BTreeMap::new();
        for (name, optional) in self.templates().flat_map(Template::names) {
            let known = all.entry(name.to_string()).or_insert(optional);
            *known = *known && optional;
        }
        all
    }

    /// The headers that hold the token.
    fn token_headers(&self) -> impl Iterator<Item = &str> {
        let has_token = |(_, template): &&(String, Template)| template.names().any(|(name, _)| name == "access_token");
        let others = self.headers.iter().filter(has_token).map(|(name, _)| name.as_str());
        std::iter::once(self.header.as_str()).filter(|name| !name.is_empty()).chain(others)
    }

    /// The header of that name, if it holds the token.
    pub fn token_header(&self, name: &str) -> Option<&str> {
        self.token_headers().find(|header| header.eq_ignore_ascii_case(name))
    }

    /// A header that holds the token and is sent to wherever a redirect leads: curl drops `Authorization` alone.
    pub fn following_header(&self) -> Option<&str> {
        self.token_headers().find(|header| !header.eq_ignore_ascii_case("authorization"))
    }
}
