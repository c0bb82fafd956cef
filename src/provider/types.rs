//! What a provider file says, as types.

use super::about::About;
use super::assertion::Assertion;
use super::client::{Auth, ClientNames, Pkce};
use super::expiry::{Expiry, Lifetime};
use super::limit::Limit;
use super::login::{Device, Redirect, Step};
use super::template::Template;
use super::usage::Use;
use std::sync::Arc;
use std::time::Duration;

/// A provider: one token endpoint and its ways to a token.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name of its file.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The URL of its documentation.
    pub docs: Option<String>,
    /// What is known of it besides how it is asked.
    pub about: About,
    /// Its place among the first in the choice of `tok login`; `None`: it stands with the others, by name.
    pub featured: Option<i64>,
    /// The values its grants need, in the order of the file.
    pub params: Vec<Param>,
    /// Its grants; the first is the default.
    pub grants: Vec<Grant>,
    /// How a refresh token is used, if it issues any.
    pub refresh: Option<Refresh>,
    /// How a token is revoked, if it can be (RFC 7009).
    pub revoke: Option<Call>,
    /// How a token is introspected, if it can be (RFC 7662).
    pub introspect: Option<Call>,
    /// How to ask who a token is for, if that can be asked (OIDC Core §5.3).
    pub userinfo: Option<Call>,
    /// Where its endpoints come from, if not from the file.
    pub discover: Discover,
    /// Where the issuer's metadata are, as a path behind the issuer; `None`: where RFC 8414 and OpenID Connect say.
    pub metadata_path: Option<String>,
    /// How an API expects the access token.
    pub usage: Use,
    /// How often it may be asked.
    pub limits: Vec<Limit>,
    /// The domains whose hosts a URL that a login finds may have, besides the origins that the file names.
    pub sites: Vec<String>,
    /// A digest of the file: a token obtained with another definition is not reused.
    pub digest: String,
}

/// Where a provider's endpoints come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discover {
    /// The file, or values.
    Nothing,
    /// What the issuer publishes (RFC 8414), so only the issuer is prompted for, not each endpoint.
    Issuer,
    /// What the API at the value `resource` publishes (RFC 9728), which names the issuer; a client that is not known is
    /// registered there (RFC 7591).
    Resource,
}

/// A value that grants need.
#[derive(Clone, Debug, Default)]
pub struct Param {
    /// `[a-z][a-z0-9_]*`
    pub name: String,
    /// Never a flag, never printed.
    pub secret: bool,
    /// A person's own secret: never stored without `--keep`, its grant never repeated automatically.
    pub personal: bool,
    /// The provider that the file is like has it, and the file itself says at most its default.
    pub inherited: bool,
    /// The default; may refer to other values.
    pub default: Option<Template>,
    /// The allowed values; empty: any.
    pub choices: Vec<String>,
    /// What each choice sets: defaults of other values, by name.
    pub sets: Vec<(String, Vec<(String, Template)>)>,
    /// The value whose choice sets this one's default.
    pub chosen_by: Option<String>,
    /// Several values, joined by `separator` on the wire.
    pub list: bool,
    /// The separator of a list.
    pub separator: String,
    /// One line for `--help`.
    pub help: String,
    /// It is the beginning of a URL, so it must be one.
    pub url: bool,
    /// A secret that may have several lines, such as a PEM.
    pub lines: bool,
    /// Not a secret, but too long to type: a path, or the text itself if that begins with `-----BEGIN`.
    pub file: bool,
    /// Each item of the list is a separate field (RFC 8707 §2).
    pub repeat: bool,
    /// Its name in the issuer's metadata (RFC 8414 §2), used if nothing else gives it.
    pub metadata: Option<String>,
    /// The list in the issuer's metadata that says which items of a grant's default are supported.
    pub supported: Option<String>,
    /// Its place in another value, which is JSON.
    pub inside: Option<Inside>,
    /// It is sent in upper case, however it was typed.
    pub upper: bool,
    /// It is cut at this text, if it contains it.
    pub until: Option<String>,
    /// Each item of the list is `NAME=VALUE`, sent as a JSON object.
    pub pairs: bool,
    /// `--ci` may put the identity token of the job into it. The defaults of other values that such a token brings with
    /// it, by name; `None`: it takes none.
    pub identity: Option<Vec<(String, String)>>,
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
    /// What happens before the request, or instead of it.
    pub flow: Flow,
    /// The request that a flow begins with; for [`Flow::AuthorizationCode`] the authorization URL.
    pub begin: Option<Call>,
    /// How that request's reply and the answers to the polls are read, with [`Flow::DeviceCode`].
    pub device: Device,
    /// What the browser brings back, with [`Flow::AuthorizationCode`].
    pub redirect: Redirect,
    /// Where the parameters of that URL are pushed first, if the server supports it (RFC 9126).
    pub push: Option<Template>,
    /// The requests on the way to that for the token, at most [`Grant::MOST_STEPS`].
    pub steps: Vec<Step>,
    /// The request for the token.
    pub call: Call,
    /// How the code is bound to this login (RFC 7636).
    pub pkce: Pkce,
    /// How to read the reply.
    pub response: Arc<Rules>,
    /// How the value `assertion` is made if none is given.
    pub assertion: Option<Assertion>,
    /// Whether the client must be named or authenticated.
    pub client: ClientRequirement,
    /// Default values for this grant only.
    pub defaults: Vec<(String, Template)>,
    /// What a person should know before using it.
    pub warning: Option<String>,
}

/// What a grant does besides sending its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Nothing.
    Direct,
    /// A person logs in with a browser, which comes back to this machine with a code (RFC 6749 §4.1, RFC 8252).
    AuthorizationCode,
    /// A person logs in elsewhere, with a code shown here (RFC 8628).
    DeviceCode,
    /// The provider sends an approval request to a person's device (OpenID CIBA, poll mode).
    Ciba,
    /// Nothing is sent: the assertion is the token.
    Signed,
}

/// What a grant requires of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRequirement {
    /// Nothing.
    Optional,
    /// A `client_id`.
    Named,
    /// Authentication (RFC 6749 §4.4: confidential clients only).
    Confidential,
}

/// A request as templates.
#[derive(Clone, Debug)]
pub struct Call {
    /// The URL.
    pub url: Template,
    /// The method.
    pub method: Method,
    /// How the body is encoded.
    pub encode: Encode,
    /// Header lines in addition to those of every request.
    pub headers: Vec<(String, Template)>,
    /// The query.
    pub query: Vec<(String, Template)>,
    /// The fields in the order of the wire.
    pub body: Vec<(String, Field)>,
    /// Client authentication.
    pub auth: Auth,
    /// A value that names the client authentication: [`Call::settle`] puts it into `auth`.
    pub auth_by: Option<Template>,
    /// What client authentication sends, if not `client_id` and `client_secret` under these names.
    pub client: Option<Box<ClientNames>>,
    /// Whether the token is to be bound to a key (RFC 9449).
    pub dpop: bool,
    /// A value that says so: [`Call::settle`] puts it into `dpop`.
    pub dpop_by: Option<Template>,
    /// The list whose items `NAME=VALUE` are sent in addition.
    pub more: Option<String>,
}

/// How the fields of a body are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encode {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
    /// In the URL's query; no body.
    Query,
    /// `multipart/form-data` (RFC 7578)
    Multipart,
    /// The one text that the body is.
    Text,
    /// The same, with values escaped as XML wants it.
    Xml,
    /// No body.
    None,
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
    pub format: BodyFormat,
    /// What must hold in addition to a 2xx status.
    pub success: Vec<Test>,
    /// Which replies are refusals, whatever their status is.
    pub refused: Vec<Test>,
    /// Which mean that trying later may help.
    pub unavailable: Vec<Test>,
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
    /// Used if the reply names no expiry.
    pub lifetime: Option<Lifetime>,
    /// A refresh token's lifetime in seconds, counted from the login.
    pub refresh_lifetime: Option<i64>,
    /// Where an error's code is.
    pub error_code: Vec<String>,
    /// Where an error's message is.
    pub error_message: Vec<String>,
    /// Whether an access token without a refresh token beside it is kept as one ([`Refresh::renews_itself`]).
    pub renews_itself: bool,
    /// What else is kept of the reply: name and pointers, the first found wins.
    pub extra: Vec<(String, Vec<String>)>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// Detected by its content: JSON, else form.
    Auto,
    /// JSON.
    Json,
    /// A form.
    Form,
    /// The whole body is the token.
    Text,
    /// The whole body is a JSON string, which is the token.
    JsonString,
    /// JSON as the argument of a call: `callback({…});`.
    Jsonp,
    /// XML: an element is an object of its children by their local names, an attribute has an `@` before its own, several
    /// of one name are a list, one with text alone is that text.
    Xml,
}

/// Where the access token is.
#[derive(Clone, Debug, PartialEq)]
pub enum Find {
    /// JSON Pointers (RFC 6901), the first found wins.
    At(Vec<String>),
    /// A header of the reply.
    Header(String),
    /// A cookie that the reply sets.
    Cookie(String),
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
    /// Present, and none of these.
    NotIn(Vec<serde_json::Value>),
    /// Present.
    Present,
}

/// How a refresh token is used.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// The grant that takes `{refresh_token}`.
    pub grant: String,
    /// Whether its request has `{access_token}` in that one's place: the token that is to be renewed is what renews it.
    /// It is kept as a refresh token, and is one of that name inside.
    pub renews_itself: bool,
    /// How long before its end the access token is renewed, in seconds; `None`: as late as any.
    pub early: Option<i64>,
    /// Which refusals mean that the refresh token is dead; any one suffices.
    pub dead: Vec<Test>,
    /// The non-interactive grant to run then, if any.
    pub fallback: Option<String>,
    /// How long after a refresh the provider still takes the old refresh token; zero: not at all.
    pub grace: Duration,
}

/// The HTTP methods of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}
