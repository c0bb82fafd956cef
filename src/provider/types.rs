//! What a provider file says, as types.

use super::template::Template;
use crate::base::jose::Algorithm;
use std::sync::Arc;

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
    /// How long it is good, in seconds from its `iat` on.
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
/// The HTTP methods a provider file may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
}
