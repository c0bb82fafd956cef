//! The provider file: what a token endpoint takes and how its reply is read. All quirks are data in this format.

mod built_in;
mod check;
mod read;
pub mod template;

pub use built_in::built_in;
pub use template::Template;

use crate::base::error::Result;
use crate::base::jose::Algorithm;
use crate::oauth::request::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

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
    /// How a token is revoked, if it can be (RFC 7009).
    pub revoke: Option<Call>,
    /// How a token is asked about, if it can be (RFC 7662).
    pub introspect: Option<Call>,
    /// Who a token is for, if that can be asked (OIDC Core §5.3).
    pub userinfo: Option<Call>,
    /// Its endpoints come from what the issuer publishes (RFC 8414), so the issuer is asked for, and not each of them.
    pub discover: bool,
    /// How an API wants the access token.
    pub usage: Use,
    /// A digest of the file: a token got by another definition is not this one's.
    pub digest: String,
}

/// A value that grants need.
#[derive(Clone, Debug, Default)]
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
    /// A secret that may have several lines, such as a PEM.
    pub lines: bool,
    /// No secret, and too long to type: a path, or the text itself where that begins with `-----BEGIN`.
    pub file: bool,
    /// Each item of the list is a field of its own (RFC 8707 §2), not all in one.
    pub repeat: bool,
    /// Its name in the issuer's metadata (RFC 8414 §2), where nothing else gives it.
    pub metadata: Option<String>,
    /// The list in the issuer's metadata that says which items of a grant's default can be asked for.
    pub supported: Option<String>,
    /// Where it stands in another value, which is JSON.
    pub inside: Option<Inside>,
    /// It is sent in upper case, however it was typed.
    pub upper: bool,
    /// It is sent only as far as this text, if that is in it.
    pub until: Option<String>,
    /// Each item of the list is `NAME=VALUE`, and JSON has a table of them.
    pub pairs: bool,
}

/// A place in a value that is JSON.
#[derive(Clone, Debug)]
pub struct Inside {
    /// The name of that value.
    pub value: String,
    /// The JSON Pointer in it.
    pub at: String,
}

/// One way to a token.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The subcommand's name.
    pub name: String,
    /// One line for `--help`.
    pub help: String,
    /// What happens before the request, or in its place.
    pub flow: Flow,
    /// The request that a flow begins with; of [`Flow::AuthorizationCode`] the address that a browser is sent to.
    pub begin: Option<Call>,
    /// Where the parameters of that address are pushed first, if the server takes them (RFC 9126).
    pub push: Option<Template>,
    /// The request for the token.
    pub call: Call,
    /// How to read the reply.
    pub response: Arc<Rules>,
    /// How the value `assertion` is made where none is given.
    pub assertion: Option<Assertion>,
    /// Whether the client must name itself, or prove who it is.
    pub client: Client,
    /// Values where nothing else gives them, for this grant alone.
    pub defaults: Vec<(String, Template)>,
    /// What a person should know before using it.
    pub warning: Option<String>,
}

/// What a grant does beside sending its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Nothing.
    Direct,
    /// A person logs in with a browser, which comes back to this machine with a code (RFC 6749 §4.1, RFC 8252).
    AuthorizationCode,
    /// A person logs in elsewhere, with a code shown here (RFC 8628).
    DeviceCode,
    /// A person is asked by the provider, on a device of theirs (OpenID CIBA, poll mode).
    Ciba,
    /// Nothing is sent: the assertion is the token.
    Signed,
}

impl Flow {
    /// Whether a person must help.
    pub fn needs_person(self) -> bool {
        matches!(self, Flow::AuthorizationCode | Flow::DeviceCode | Flow::Ciba)
    }

    /// The values that say how it goes.
    pub fn takes(self) -> &'static [&'static str] {
        match self {
            Flow::AuthorizationCode => {
                &["issuer", "jwks_url", "redirect_host", "redirect_port", "redirect_path", "redirect_url"]
            }
            Flow::DeviceCode | Flow::Ciba => &["issuer", "jwks_url"],
            Flow::Direct | Flow::Signed => &[],
        }
    }

    /// The values that it finds by itself.
    pub fn finds(self) -> &'static [&'static str] {
        match self {
            Flow::Direct | Flow::Signed => &[],
            Flow::AuthorizationCode => &["code", "redirect_uri", "state", "nonce", "code_verifier", "code_challenge"],
            Flow::DeviceCode => &["device_code"],
            Flow::Ciba => &["auth_req_id"],
        }
    }
}

/// What a grant asks of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// It may be unnamed.
    Optional,
    /// It has a `client_id`.
    Named,
    /// It proves who it is (RFC 6749 §4.4: confidential clients only).
    Confidential,
}

/// An assertion that is signed here (RFC 7523 §3).
#[derive(Clone, Debug)]
pub struct Assertion {
    /// Its claims; `iat` and `exp` are added.
    pub claims: Vec<(String, Template)>,
    /// Whether `jti` is added too (RFC 7519 §4.1.7).
    pub jti: bool,
    /// The one algorithm that the server takes.
    pub algorithm: Option<Algorithm>,
    /// How long it is good, in seconds.
    pub lifetime: i64,
    /// How far back it is dated, in seconds, for a server whose clock is behind.
    pub backdate: i64,
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
    /// Names the client authentication by a value: [`Call::settle`] puts it into `auth`.
    pub auth_by: Option<Template>,
    /// Whether the token is to be bound to a key (RFC 9449).
    pub dpop: bool,
    /// Says so by a value: [`Call::settle`] puts it into `dpop`.
    pub dpop_by: Option<Template>,
    /// The list whose items `NAME=VALUE` are sent besides.
    pub more: Option<String>,
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

/// Client authentication (RFC 6749 §2.3, OIDC Core §9, RFC 8705 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nothing is added: the file says all.
    None,
    /// What the values at hand and the server allow.
    Auto,
    /// `client_id` alone.
    Public,
    /// HTTP Basic of the percent-encoded id and secret (RFC 6749 §2.3.1).
    Basic,
    /// HTTP Basic of id and secret as they are, for servers that do not decode.
    BasicRaw,
    /// Id and secret in the body.
    Post,
    /// An assertion signed with the client's secret.
    ClientSecretJwt,
    /// An assertion signed with the client's key.
    PrivateKeyJwt,
    /// A certificate that the server's authority has issued.
    Tls,
    /// A certificate that the server knows.
    TlsSelfSigned,
}

/// The names of [`Auth`] as a value has them.
pub const AUTHS: &[(&str, Auth)] = &[
    ("auto", Auth::Auto),
    ("none", Auth::Public),
    ("basic", Auth::Basic),
    ("basic-raw", Auth::BasicRaw),
    ("post", Auth::Post),
    ("client-secret-jwt", Auth::ClientSecretJwt),
    ("private-key-jwt", Auth::PrivateKeyJwt),
    ("tls", Auth::Tls),
    ("tls-self-signed", Auth::TlsSelfSigned),
];

impl Auth {
    /// The values it takes, with whether each can be done without.
    fn names(self) -> &'static [(&'static str, bool)] {
        match self {
            Auth::None => &[],
            Auth::Auto => &[
                ("client_id", true),
                ("client_secret", true),
                ("private_key", true),
                ("certificate", true),
                ("key_id", true),
                ("algorithm", true),
            ],
            Auth::Public => &[("client_id", false)],
            Auth::Basic | Auth::BasicRaw | Auth::Post => &[("client_id", false), ("client_secret", false)],
            Auth::ClientSecretJwt => &[("client_id", false), ("client_secret", false), ("algorithm", true)],
            Auth::PrivateKeyJwt => &[
                ("client_id", false),
                ("private_key", false),
                ("certificate", true),
                ("key_id", true),
                ("algorithm", true),
            ],
            Auth::Tls | Auth::TlsSelfSigned => &[("client_id", false), ("private_key", false), ("certificate", false)],
        }
    }
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
    /// Where the ID token is (OIDC Core §3.1.3.3).
    pub id_token: Vec<String>,
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
    /// [`crate::base::error::Kind::Config`] with line and column.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Provider> {
        read::provider(name, file, text, true)
    }

    /// The built-in provider of that name. Its file was checked when this was built: by a test (`tests/providers.rs`).
    pub fn built_in(name: &str) -> Option<Result<Provider>> {
        let (name, text) = built_in().find(|(n, _)| *n == name)?;
        Some(read::provider(name, &format!("(built in) {name}.toml"), text, false))
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

    /// The values that `grant` uses, directly or through the default of another, with whether each is optional; not
    /// those that its flow finds.
    pub fn uses(&self, grant: &Grant) -> BTreeMap<String, bool> {
        let mut all = grant.names();
        if let Some(assertion) = &grant.assertion {
            all.extend(assertion.names().into_keys().map(|name| (name, true)));
            all.insert("assertion".into(), true);
        }
        all.extend(grant.flow.takes().iter().map(|name| (name.to_string(), true)));
        let mut all = self.closure(all);
        if all.keys().any(|name| self.param(name).is_some_and(|p| p.metadata.is_some())) {
            // The endpoints come from the issuer, or the issuer is one way to them.
            let optional = !self.discover;
            all.entry("issuer".into()).and_modify(|was| *was = *was && optional).or_insert(optional);
            if self.discover {
                let told = |name: &String| self.param(name).is_some_and(|p| p.metadata.is_some());
                all.iter_mut().filter(|(name, _)| told(name)).for_each(|(_, optional)| *optional = true);
            }
            all = self.closure(all);
        }
        all.retain(|name, _| self.param(name).is_some() || name == "refresh_token");
        all
    }

    /// `names`, and the names in the defaults of those.
    pub fn closure(&self, names: BTreeMap<String, bool>) -> BTreeMap<String, bool> {
        let mut all = names;
        let mut queue: Vec<(String, bool)> = all.iter().map(|(n, o)| (n.clone(), *o)).collect();
        while let Some((name, optional)) = queue.pop() {
            let Some(param) = self.param(&name) else { continue };
            for (inner, inner_optional) in param.leads_to() {
                let optional = optional || inner_optional;
                if all.get(&inner).is_none_or(|was| *was && !optional) {
                    all.insert(inner.clone(), optional);
                    queue.push((inner, optional));
                }
            }
        }
        all
    }

    /// The values that a session uses beside its grant: to be revoked and asked about.
    pub fn uses_besides(&self) -> BTreeMap<String, bool> {
        let calls = [&self.revoke, &self.introspect, &self.userinfo].into_iter().flatten();
        let names = calls.flat_map(Call::names).map(|(name, _)| (name, true));
        let mut all = self.closure(names.chain([("jwks_url".to_string(), true)]).collect());
        all.retain(|name, _| self.param(name).is_some());
        all
    }

    /// The values that anything it does takes: a file that is like another need not offer all of that one's grants.
    pub fn used_params(&self) -> Vec<&Param> {
        let mut used = self.uses_besides();
        used.extend(self.grants.iter().flat_map(|grant| self.uses(grant)));
        self.params.iter().filter(|param| used.contains_key(&param.name)).collect()
    }

    /// All its requests.
    pub fn calls_mut(&mut self) -> impl Iterator<Item = &mut Call> {
        let grants = self.grants.iter_mut().flat_map(|grant| [Some(&mut grant.call), grant.begin.as_mut()]);
        let others = [self.revoke.as_mut(), self.introspect.as_mut(), self.userinfo.as_mut()];
        grants.chain(others).flatten()
    }

    /// Whether a person's own secret goes into `grant`: it is never sent twice by itself.
    pub fn is_personal(&self, grant: &Grant) -> bool {
        self.uses(grant).keys().any(|name| self.param(name).is_some_and(|p| p.personal))
    }
}

impl Param {
    /// The values that it is made of where it is not given itself, with whether each can be done without.
    pub fn leads_to(&self) -> Vec<(String, bool)> {
        let default =
            self.default.iter().flat_map(Template::names).map(|(name, optional)| (name.to_string(), optional));
        default.chain(self.inside.iter().map(|inside| (inside.value.clone(), false))).collect()
    }

    /// `text` as it is sent.
    pub fn as_sent(&self, text: &str) -> Zeroizing<String> {
        let text = self.until.as_ref().and_then(|end| text.split_once(end.as_str())).map_or(text, |(start, _)| start);
        Zeroizing::new(if self.upper { text.to_uppercase() } else { text.to_string() })
    }
}

impl Assertion {
    /// The values it uses, with whether each can be done without.
    pub fn names(&self) -> BTreeMap<String, bool> {
        let mut all: BTreeMap<String, bool> = BTreeMap::new();
        let fixed = [("private_key", false), ("key_id", true), ("algorithm", true), ("certificate", true)];
        for (name, optional) in self.claims.iter().flat_map(|(_, t)| t.names()).chain(fixed) {
            let known = all.entry(name.into()).or_insert(optional);
            *known = *known && optional;
        }
        all.remove("key_fingerprint");
        all
    }
}

impl Grant {
    /// The values that its requests use, with whether each is optional everywhere it stands.
    pub fn names(&self) -> BTreeMap<String, bool> {
        let mut all = self.call.names();
        for (name, optional) in self.begin.iter().flat_map(Call::names) {
            let known = all.entry(name).or_insert(optional);
            *known = *known && optional;
        }
        for (name, _) in self.push.iter().flat_map(Template::names) {
            all.entry(name.into()).or_insert(true);
        }
        if self.client != Client::Optional && self.call.auth != Auth::None {
            all.insert("client_id".into(), false);
        }
        all
    }

    /// The request that pushes the parameters of the address that a browser is sent to (RFC 9126 §2.1).
    pub fn pushed(&self) -> Option<Call> {
        let (push, begin) = (self.push.as_ref()?, self.begin.as_ref()?);
        Some(Call {
            url: push.clone(),
            method: Method::Post,
            encode: Encode::Form,
            query: Vec::new(),
            body: begin.query.iter().map(|(name, text)| (name.clone(), Field::Text(text.clone()))).collect(),
            auth: self.call.auth,
            auth_by: self.call.auth_by.clone(),
            ..begin.clone()
        })
    }

    /// The values that it needs where `known` says which are at hand; not those that its flow finds.
    pub fn needs(&self, known: &dyn Fn(&str) -> bool) -> BTreeMap<String, bool> {
        let mut all = self.names();
        if let Some(assertion) = &self.assertion
            && !known("assertion")
        {
            all.remove("assertion");
            for (name, optional) in assertion.names() {
                let known = all.entry(name).or_insert(optional);
                *known = *known && optional;
            }
        }
        if self.client == Client::Confidential
            && self.call.auth == Auth::Auto
            && !["client_secret", "private_key"].iter().any(|name| known(name))
        {
            all.insert("client_secret".into(), false);
        }
        all.retain(|name, _| !self.flow.finds().contains(&name.as_str()));
        all
    }
}

impl Call {
    /// Puts what `value` says into effect, where client authentication or DPoP are named by values.
    pub fn settle<'v>(&mut self, value: impl Fn(&str) -> Option<&'v str>) {
        let filled = |template: &Option<Template>| template.as_ref().and_then(|t| t.fill(&value).ok());
        if let Some(name) = filled(&self.auth_by) {
            self.auth = AUTHS.iter().find(|(n, _)| *n == name).map_or(Auth::Auto, |(_, auth)| *auth);
        }
        if let Some(text) = filled(&self.dpop_by) {
            self.dpop = text == "true";
        }
    }

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
        for (name, optional) in self.auth.names() {
            let known = all.entry(name.to_string()).or_insert(*optional);
            *known = *known && *optional;
        }
        for (name, _) in self.auth_by.iter().chain(&self.dpop_by).flat_map(Template::names) {
            all.entry(name.into()).or_insert(true);
        }
        if let Some(name) = &self.more {
            all.entry(name.clone()).or_insert(true);
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
