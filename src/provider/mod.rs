//! The provider file: what a token endpoint takes and how its reply is read. All quirks are data in this format.

mod check;
mod read;
pub mod template;

pub use template::Template;

use crate::error::Result;
use crate::request::Method;
use std::collections::BTreeMap;

/// The providers that come with the program: name and file.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("purewl", include_str!("../providers/purewl.toml")),
    ("xcover", include_str!("../providers/xcover.toml")),
    ("elasticpath", include_str!("../providers/elasticpath.toml")),
    ("apiax", include_str!("../providers/apiax.toml")),
];

/// A provider: one token endpoint and its ways to a token.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name of its file.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The address of its documents.
    pub docs: Option<String>,
    /// The values its grants need, in the order of the file.
    pub params: Vec<Param>,
    /// Its grants; the first is the default.
    pub grants: Vec<Grant>,
    /// How a refresh token is used, if it gives any.
    pub refresh: Option<Refresh>,
    /// How a token is revoked, if it can be.
    pub revoke: Option<Call>,
    /// How an API wants the access token.
    pub usage: Use,
    /// A digest of the file: a token got by another definition is not this one's.
    pub digest: String,
}

/// A value that grants need.
#[derive(Clone, Debug)]
pub struct Param {
    /// `[a-z][a-z0-9_]*`
    pub name: String,
    /// Never a flag, never printed.
    pub secret: bool,
    /// A person's own secret: never kept without `--keep`, its grant never sent twice by itself.
    pub personal: bool,
    /// Where nothing else gives it; may hold other values.
    pub default: Option<Template>,
    /// The values allowed; empty: any.
    pub choices: Vec<String>,
    /// Several values, joined by `separator` on the wire.
    pub list: bool,
    /// Between the values of a list.
    pub separator: String,
    /// One line for `--help`.
    pub help: String,
    /// It begins a URL, so it must be one.
    pub url: bool,
}

/// One way to a token.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The subcommand's name.
    pub name: String,
    /// One line for `--help`.
    pub help: String,
    /// The request.
    pub call: Call,
    /// How to read the reply.
    pub response: Rules,
}

/// A request as templates.
#[derive(Clone, Debug)]
pub struct Call {
    /// The URL.
    pub url: Template,
    /// The method.
    pub method: Method,
    /// How the body travels.
    pub encode: Encode,
    /// Header lines besides those that every request has.
    pub headers: Vec<(String, Template)>,
    /// The query.
    pub query: Vec<(String, Template)>,
    /// The fields in the order of the wire.
    pub body: Vec<(String, Field)>,
    /// Client authentication.
    pub auth: Auth,
}

/// How the fields of a body travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encode {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
    /// In the URL's query; no body.
    Query,
    /// No body.
    None,
}

/// Client authentication by header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// None, or by fields of the body.
    None,
    /// HTTP Basic of the percent-encoded id and secret (RFC 6749 §2.3.1).
    Basic,
    /// HTTP Basic of id and secret as they are, for servers that do not decode.
    BasicRaw,
}

/// A field of a body. In JSON it may be any value; elsewhere it is text.
#[derive(Clone, Debug)]
pub enum Field {
    /// Text with places for values.
    Text(Template),
    /// A number, `true` or `false`, as it is.
    Plain(serde_json::Value),
    /// A list.
    List(Vec<Field>),
    /// A table.
    Table(Vec<(String, Field)>),
}

/// How a reply is read.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What the body is.
    pub format: Format,
    /// What must hold beside a 2xx status.
    pub success: Vec<Test>,
    /// Where the access token is.
    pub access_token: Find,
    /// Where the refresh token is.
    pub refresh_token: Vec<String>,
    /// Where the token type is.
    pub token_type: Vec<String>,
    /// Where the scope is.
    pub scope: Vec<String>,
    /// Where the access token's expiry is.
    pub expires: Vec<Expiry>,
    /// Where the refresh token's expiry is.
    pub refresh_expires: Vec<Expiry>,
    /// When the reply names no expiry.
    pub lifetime: Option<Lifetime>,
    /// A refresh token's life in seconds, counted from the login.
    pub refresh_lifetime: Option<i64>,
    /// Where an error's code is.
    pub error_code: Vec<String>,
    /// Where an error's message is.
    pub error_message: Vec<String>,
    /// What else is worth carrying: name and pointers, the first found wins.
    pub extra: Vec<(String, Vec<String>)>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// By its content: JSON, else form.
    Auto,
    /// JSON.
    Json,
    /// A form.
    Form,
    /// The whole body is the token.
    Text,
}

/// Where the access token is.
#[derive(Clone, Debug, PartialEq)]
pub enum Find {
    /// JSON Pointers (RFC 6901), the first found wins.
    At(Vec<String>),
    /// A header of the reply.
    Header(String),
}

/// A test of a reply.
#[derive(Clone, Debug)]
pub enum Test {
    /// Of a value in the body.
    At(String, Condition),
    /// Of the HTTP status.
    Status(Vec<u16>),
}

/// What a tested value must be. Numbers compare by value, as strings too.
#[derive(Clone, Debug)]
pub enum Condition {
    /// One of these.
    In(Vec<serde_json::Value>),
    /// There, and none of these.
    NotIn(Vec<serde_json::Value>),
    /// There.
    Present,
}

/// An expiry in a reply.
#[derive(Clone, Debug)]
pub struct Expiry {
    /// The JSON Pointer.
    pub at: String,
    /// What it counts.
    pub unit: Unit,
    /// What a zero means.
    pub zero: Zero,
}

/// What an expiry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Minutes from now.
    Minutes,
    /// Seconds since 1970.
    Epoch,
    /// Milliseconds since 1970.
    EpochMillis,
    /// A date: RFC 3339 or RFC 1123.
    Date,
    /// By size: below 1e9 seconds from now, below 1e11 epoch seconds, else epoch milliseconds.
    Auto,
}

/// What a zero in an expiry means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// Nothing is said.
    Unknown,
    /// It never expires.
    Never,
    /// It has expired.
    Now,
}

/// A token's life where the reply names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// In seconds.
    Seconds(i64),
    /// It never expires.
    Unlimited,
}

/// How a refresh token is used.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// The grant that takes `{refresh_token}`.
    pub grant: String,
    /// Which refusals mean that the refresh token is dead; any one suffices.
    pub dead: Vec<Test>,
    /// The grant to run then, if it needs nobody.
    pub fallback: Option<String>,
}

/// How an API wants the access token.
#[derive(Clone, Debug)]
pub struct Use {
    /// The header's name.
    pub header: String,
    /// The header's value, with `{access_token}`.
    pub value: Template,
    /// The hosts that may be called with it, beside the profile's.
    pub hosts: Vec<String>,
}

impl Provider {
    /// Reads the file `text` of the provider `name`; `file` is shown in complaints.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] with line and column.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Provider> {
        read::provider(name, file, text)
    }

    /// The built-in provider of that name.
    pub fn built_in(name: &str) -> Option<Result<Provider>> {
        let (name, text) = BUILT_IN.iter().find(|(n, _)| *n == name)?;
        Some(Provider::parse(name, &format!("(built in) {name}.toml"), text))
    }

    /// The grant of that name.
    pub fn grant(&self, name: &str) -> Option<&Grant> {
        self.grants.iter().find(|g| g.name == name)
    }

    /// The value of that name.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|p| p.name == name)
    }

    /// The grant that uses a refresh token, if there is one.
    pub fn refresh_grant(&self) -> Option<&Grant> {
        self.refresh.as_ref().and_then(|r| self.grant(&r.grant))
    }

    /// The values that `grant` uses, directly or through the default of another, with whether each is optional.
    pub fn uses(&self, grant: &Grant) -> BTreeMap<String, bool> {
        self.closure(grant.call.names())
    }

    /// `names`, and the names in the defaults of those.
    pub fn closure(&self, names: BTreeMap<String, bool>) -> BTreeMap<String, bool> {
        let mut all = names;
        let mut queue: Vec<(String, bool)> = all.iter().map(|(n, o)| (n.clone(), *o)).collect();
        while let Some((name, optional)) = queue.pop() {
            let Some(default) = self.param(&name).and_then(|p| p.default.as_ref()) else { continue };
            for (inner, inner_optional) in default.names() {
                let optional = optional || inner_optional;
                if all.get(inner).is_none_or(|was| *was && !optional) {
                    all.insert(inner.to_string(), optional);
                    queue.push((inner.to_string(), optional));
                }
            }
        }
        all
    }

    /// Whether a person's own secret goes into `grant`: it is never sent twice by itself.
    pub fn is_personal(&self, grant: &Grant) -> bool {
        self.uses(grant).keys().any(|name| self.param(name).is_some_and(|p| p.personal))
    }
}

impl Call {
    /// The values it uses, with whether each is optional everywhere it stands.
    pub fn names(&self) -> BTreeMap<String, bool> {
        let mut all = BTreeMap::new();
        let mut add = |template: &Template| {
            for (name, optional) in template.names() {
                let known = all.entry(name.to_string()).or_insert(optional);
                *known = *known && optional;
            }
        };
        add(&self.url);
        self.headers.iter().chain(&self.query).for_each(|(_, t)| add(t));
        self.body.iter().for_each(|(_, f)| f.each_template(&mut add));
        if self.auth != Auth::None {
            all.insert("client_id".into(), false);
            all.insert("client_secret".into(), false);
        }
        all
    }
}

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
}

/// Whether `name` may name a profile, a provider or a grant: `[a-z0-9][a-z0-9-]{0,62}`, `help` excepted.
pub fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && name != "help"
}

/// Whether `name` has the form of a value's name: `[a-z][a-z0-9_]*`.
pub fn is_value_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The keys of a profile in the config that are its own, and so no value's name.
pub const CONFIG_KEYS: &[&str] = &["provider", "grant", "store", "cache", "min_ttl", "ca_file", "hosts", "profile"];
