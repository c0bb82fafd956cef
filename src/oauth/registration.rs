//! Dynamic client registration (RFC 7591) and its management (RFC 7592): the requests, what comes back, and what is
//! kept of it. Pure; `session/registration.rs` sends and keeps.

use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::text::{escape, escape_to};
use crate::base::url::Url;
use crate::oauth::reply::value::{member, names, text, whole};
use crate::oauth::request::{JSON, Repeat, Request, json_headers};
use crate::provider::{Flow, Method};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::Path;
use zeroize::Zeroizing;

/// RFC 8628 §3.4
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The grant type of a flow as metadata and registrations name it (RFC 7591 §2); `None` for one that needs none of its
/// own here.
pub fn grant_type(flow: Flow) -> Option<&'static str> {
    match flow {
        Flow::AuthorizationCode => Some("authorization_code"),
        Flow::DeviceCode => Some(DEVICE_CODE),
        Flow::Ciba => Some("urn:openid:params:grant-type:ciba"),
        Flow::Direct | Flow::Signed => None,
    }
}

/// What a client is registered with.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The flow that it is for.
    pub flow: Flow,
    /// Where its login in a browser ends; `None` where there is none.
    pub redirect_uri: Option<&'a str>,
    /// The scopes that it may ask for; empty leaves them to the server.
    pub scopes: &'a [String],
}

impl Wanted<'_> {
    /// The client as the server is asked for it: public and native (RFC 8252 §8.4), which can keep no secret.
    pub fn metadata(&self) -> Value {
        let uris: Vec<&str> = self.redirect_uri.into_iter().collect();
        let responses: &[&str] = if self.flow == Flow::AuthorizationCode { &["code"] } else { &[] };
        let grants: Vec<&str> = grant_type(self.flow).into_iter().chain(["refresh_token"]).collect();
        let mut wanted = json!({
            "client_name": "tok",
            "application_type": "native",
            "redirect_uris": uris,
            "grant_types": grants,
            "response_types": responses,
            "token_endpoint_auth_method": "none",
        });
        if !self.scopes.is_empty() {
            wanted["scope"] = self.scopes.join(" ").into();
        }
        wanted
    }

    /// The request that registers it at `url`. `token`: the initial access token, where the server wants one (RFC 7591
    /// §3). It is sent again only where nothing was sent: each makes a client.
    pub fn request(&self, url: &str, token: Option<&Secret>, ca_file: Option<&Path>) -> Request {
        let body = self.metadata().to_string().into_bytes();
        Request {
            body: Some(Zeroizing::new(body)),
            repeat: Repeat::Personal,
            ..managing(Method::Post, url, token, ca_file)
        }
    }
}

/// A request about a client, with the token that allows it.
fn managing(method: Method, url: &str, token: Option<&Secret>, ca_file: Option<&Path>) -> Request {
    let mut headers = json_headers();
    if method == Method::Post {
        headers.push(("Content-Type".into(), Zeroizing::new(JSON.into())));
    }
    headers.extend(token.map(|token| {
        let value = Zeroizing::new(format!("Bearer {}", token.expose()));
        ("Authorization".to_string(), value)
    }));
    Request {
        method,
        url: Zeroizing::new(url.to_string()),
        headers,
        body: None,
        repeat: Repeat::Freely,
        client_certificate: None,
        ca_pem: None,
        link_local: false,
        ca_file: ca_file.map(Path::to_path_buf),
    }
}

/// A client that was registered: what its issuer said of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The issuer that it was registered with, as its metadata name it.
    pub issuer: String,
    /// The client.
    pub client_id: String,
    /// Its secret, if the server insists on one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "secret")]
    pub client_secret: Option<Secret>,
    /// When the secret expires, in seconds since 1970; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Its client authentication, as RFC 7591 §2 names it.
    pub authentication: String,
    /// Where its login may end.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// The grant types that it may use.
    #[serde(default)]
    pub grant_types: Vec<String>,
    /// The scopes that it may ask for, where the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whether those were given by default: none were asked for.
    #[serde(default)]
    pub has_default_scope: bool,
    /// Where it is managed (RFC 7592 §2), where the server allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_url: Option<String>,
    /// The token for that.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "secret")]
    pub management_token: Option<Secret>,
    /// When it was registered, in seconds since 1970.
    #[serde(default)]
    pub at: i64,
    /// The profiles that have used it.
    #[serde(default)]
    pub profiles: Vec<String>,
}

/// A secret as text, in an entry of a store and nowhere else.
mod secret {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use zeroize::Zeroizing;

    pub fn serialize<S: Serializer>(secret: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(|secret| secret.expose()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
        let text = Option::<String>::deserialize(from)?.map(Zeroizing::new);
        Ok(text.map(|text| Secret::new(text.as_str())))
    }
}

impl Registration {
    /// Reads the reply `reply` to `wanted`, of the issuer `issuer`; `url` is where it was asked for, `now` when.
    ///
    /// # Errors
    /// What is wrong with it: no client, a secret without a way to use it, or a way that is not known here.
    pub fn read(
        reply: &Map<String, Value>,
        wanted: &Wanted,
        issuer: &str,
        url: &str,
        now: i64,
    ) -> std::result::Result<Registration, String> {
        let client_id = text(reply, &["client_id"]).ok_or("it has no `client_id`")?;
        if client_id.chars().any(char::is_control) {
            return Err("its `client_id` has control characters".into());
        }
        let secret = text(reply, &["client_secret"]).map(Secret::new);
        // RFC 7591 §2: a client with a secret uses Basic where nothing else is said.
        let usual = if secret.is_some() { "client_secret_basic" } else { "none" };
        let authentication = text(reply, &["token_endpoint_auth_method"]).unwrap_or(usual);
        let client_secret = match (authentication, secret) {
            ("none", _) => None,
            (name, secret) if auth_value(name).is_some() => {
                Some(secret.ok_or(format!("it wants {} and gives no `client_secret`", escape(name)))?)
            }
            (name, _) => return Err(format!("it registers a client that must use {}", escape_to(name, 60))),
        };
        let list = |name: &str| member(reply, name).and_then(names);
        let asked = wanted.metadata();
        let asked = |name: &str| asked.get(name).and_then(names).unwrap_or_default();
        let redirect_uris = list("redirect_uris").unwrap_or_else(|| asked("redirect_uris"));
        if let Some(uri) = wanted.redirect_uri
            && !redirect_uris.iter().any(|known| known == uri)
        {
            return Err(format!("it leaves out the redirect URI {}", escape(uri)));
        }
        // RFC 7592 §3: both or none. Where the client is managed must be the server that has it.
        let place = text(reply, &["registration_client_uri"]).filter(|place| {
            let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
            origin(place).is_some_and(|of| Some(&of) == origin(url).as_ref() || Some(&of) == origin(issuer).as_ref())
        });
        let token = text(reply, &["registration_access_token"]);
        let managed = place.zip(token);
        Ok(Registration {
            issuer: issuer.into(),
            client_id: client_id.into(),
            // RFC 7591 §3.2.1: 0 is never.
            expires_at: whole(reply, "client_secret_expires_at").filter(|at| *at > 0 && client_secret.is_some()),
            client_secret,
            authentication: authentication.into(),
            redirect_uris,
            grant_types: list("grant_types").unwrap_or_else(|| asked("grant_types")),
            scope: text(reply, &["scope"]).map(str::to_string),
            has_default_scope: wanted.scopes.is_empty(),
            management_url: managed.map(|(place, _)| place.to_string()),
            management_token: managed.map(|(_, token)| Secret::new(token)),
            at: now,
            profiles: Vec::new(),
        })
    }

    /// The value of `client_auth` for it.
    pub fn client_auth(&self) -> &'static str {
        auth_value(&self.authentication).unwrap_or("none")
    }

    /// Whether it does for a login by `flow` that asks for `scopes`, at the time `now`.
    pub fn suits(&self, flow: Flow, scopes: &[String], now: i64) -> bool {
        let has_grant = grant_type(flow).is_none_or(|wanted| self.grant_types.iter().any(|own| own == wanted));
        let own: Option<Vec<&str>> = self.scope.as_ref().map(|scope| scope.split(' ').collect());
        let has_scopes = own.is_none_or(|own| scopes.iter().all(|scope| own.contains(&scope.as_str())));
        has_grant && has_scopes && self.expires_at.is_none_or(|at| at > now)
    }

    /// The scopes that the server has given it of its own accord.
    pub fn default_scope(&self) -> Option<&str> {
        self.scope.as_deref().filter(|_| self.has_default_scope)
    }

    /// The request that deletes it at the server (RFC 7592 §2.3), where that allows it.
    pub fn deletion(&self, ca_file: Option<&Path>) -> Option<Request> {
        let (url, token) = (self.management_url.as_ref()?, self.management_token.as_ref()?);
        Some(managing(Method::Delete, url, Some(token), ca_file))
    }
}

/// The values of `client_auth` that a registered client can have.
fn auth_value(name: &str) -> Option<&'static str> {
    match name {
        "none" => Some("none"),
        "client_secret_basic" => Some("basic"),
        "client_secret_post" => Some("post"),
        "client_secret_jwt" => Some("client-secret-jwt"),
        _ => None,
    }
}

/// The clients that were registered at one origin, as an entry of the store holds them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Registrations {
    /// The clients, the newest last.
    pub clients: Vec<Registration>,
}

impl Registrations {
    /// The name of the entry for `issuer`; `None` if that is no URL.
    pub fn entry_name(issuer: &str) -> Option<String> {
        Some(format!("client:{}", Url::parse(issuer).ok()?.origin()))
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`Kind::Store`] if tok has not written it; its text is not shown.
    pub fn parse(entry: &Secret) -> Result<Registrations> {
        serde_json::from_str(entry.expose()).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Error::new(Kind::Store, "the secret store's entry of registered clients was not written by tok", place)
        })
    }

    /// The entry's text.
    pub fn write(&self) -> Secret {
        Secret::new(Zeroizing::new(serde_json::to_string(self).unwrap_or_default()).as_str())
    }

    /// The client `client_id` of `issuer`.
    pub fn find(&self, issuer: &str, client_id: &str) -> Option<&Registration> {
        self.clients.iter().find(|client| client.is_at(issuer) && client.client_id == client_id)
    }

    /// The clients of `issuer`, the newest first.
    pub fn of<'r>(&'r self, issuer: &'r str) -> impl Iterator<Item = &'r Registration> {
        self.clients.iter().rev().filter(move |client| client.is_at(issuer))
    }

    /// Makes `used` the client of `profile` at its issuer: it is put in where it is not there, and the profile leaves the
    /// others. Those that no profile uses then are taken out and returned.
    pub fn settle(&mut self, used: &Registration, profile: &str) -> Vec<Registration> {
        if self.find(&used.issuer, &used.client_id).is_none() {
            self.clients.push(used.clone());
        }
        let mut obsolete = Vec::new();
        for mut client in std::mem::take(&mut self.clients) {
            let is_used = client.is_at(&used.issuer) && client.client_id == used.client_id;
            let had = client.profiles.iter().any(|name| name == profile);
            if client.is_at(&used.issuer) {
                client.profiles.retain(|name| name != profile);
            }
            if is_used {
                client.profiles.push(profile.into());
            }
            match had && client.profiles.is_empty() {
                true => obsolete.push(client),
                false => self.clients.push(client),
            }
        }
        obsolete
    }

    /// Leaves the client `client_id` of `issuer` to the profiles for which `stays` holds. `None`: there is no such client;
    /// `Some(Some(…))`: no profile is left, and it was taken out.
    pub fn leave(
        &mut self,
        issuer: &str,
        client_id: &str,
        stays: impl Fn(&str) -> bool,
    ) -> Option<Option<Registration>> {
        let at = self.clients.iter().position(|client| client.is_at(issuer) && client.client_id == client_id)?;
        let client = &mut self.clients[at];
        client.profiles.retain(|name| stays(name));
        Some(client.profiles.is_empty().then(|| self.clients.remove(at)))
    }
}

impl Registration {
    /// Whether it was registered with `issuer`, a slash at its end apart.
    fn is_at(&self, issuer: &str) -> bool {
        self.issuer.trim_end_matches('/') == issuer.trim_end_matches('/')
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://auth.example/";
    const URL: &str = "https://auth.example/register";
    const URI: &str = "http://127.0.0.1:4000/callback";

    fn wanted<'a>(scopes: &'a [String]) -> Wanted<'a> {
        Wanted { flow: Flow::AuthorizationCode, redirect_uri: Some(URI), scopes }
    }

    fn read(reply: Value) -> std::result::Result<Registration, String> {
        Registration::read(reply.as_object().unwrap(), &wanted(&[]), ISSUER, URL, 100)
    }

    #[test]
    fn a_public_native_client_is_asked_for() {
        let scopes = ["a".to_string(), "b".into()];
        assert_eq!(
            wanted(&scopes).metadata(),
            json!({
                "client_name": "tok",
                "application_type": "native",
                "redirect_uris": [URI],
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
                "token_endpoint_auth_method": "none",
                "scope": "a b",
            })
        );
        assert!(wanted(&[]).metadata().get("scope").is_none());
        let device = Wanted { flow: Flow::DeviceCode, redirect_uri: None, scopes: &[] }.metadata();
        assert_eq!(device["grant_types"], json!([DEVICE_CODE, "refresh_token"]));
        assert_eq!((&device["redirect_uris"], &device["response_types"]), (&json!([]), &json!([])));
        let request = wanted(&[]).request(URL, Some(&Secret::new("t")), None);
        let header = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!((header("Authorization"), header("Content-Type")), (Some("Bearer t"), Some(JSON)));
        assert!(wanted(&[]).request(URL, None, None).headers.iter().all(|(name, _)| name != "Authorization"));
    }

    #[test]
    fn what_a_server_registers_is_read() {
        let bare = read(json!({"client_id": "c"})).unwrap();
        assert_eq!((bare.client_id.as_str(), bare.client_auth(), bare.issuer.as_str()), ("c", "none", ISSUER));
        assert_eq!((bare.redirect_uris.as_slice(), bare.client_secret.as_ref()), (&[URI.to_string()][..], None));
        assert!(bare.deletion(None).is_none() && bare.suits(Flow::AuthorizationCode, &["x".into()], 100));
        // A secret that a public client is given is not used.
        let public = json!({"client_id": "c", "client_secret": "s", "token_endpoint_auth_method": "none"});
        assert_eq!(read(public).unwrap().client_secret, None);
        for (method, value) in [
            (json!(null), "basic"),
            (json!("client_secret_basic"), "basic"),
            (json!("client_secret_post"), "post"),
            (json!("client_secret_jwt"), "client-secret-jwt"),
        ] {
            let reply = json!({"client_id": "c", "client_secret": "s", "token_endpoint_auth_method": method,
                "client_secret_expires_at": 200});
            let client = read(reply).unwrap();
            assert_eq!((client.client_auth(), client.client_secret.as_ref().unwrap().expose()), (value, "s"));
            assert!(
                client.suits(Flow::AuthorizationCode, &[], 199) && !client.suits(Flow::AuthorizationCode, &[], 200)
            );
        }
        let forever = json!({"client_id": "c", "client_secret": "s", "client_secret_expires_at": 0});
        assert_eq!(read(forever).unwrap().expires_at, None);
        for (reply, why) in [
            (json!({}), "client_id"),
            (json!({"client_id": ""}), "client_id"),
            (json!({"client_id": 5}), "client_id"),
            (json!({"client_id": "a\u{1b}[2J"}), "control characters"),
            (json!({"client_id": "c", "token_endpoint_auth_method": "client_secret_post"}), "gives no `client_secret`"),
            (json!({"client_id": "c", "token_endpoint_auth_method": "private_key_jwt"}), "must use private_key_jwt"),
            (json!({"client_id": "c", "redirect_uris": ["https://evil.example/"]}), "leaves out the redirect URI"),
        ] {
            let error = read(reply).unwrap_err();
            assert!(error.contains(why) && !error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn a_client_does_for_its_grants_and_scopes() {
        let reply = json!({"client_id": "c", "scope": "a b", "grant_types": ["authorization_code"]});
        let client = read(reply).unwrap();
        let suits = |flow, scope: &str| client.suits(flow, &[scope.to_string()], 0);
        assert!(suits(Flow::AuthorizationCode, "a") && !suits(Flow::AuthorizationCode, "c"));
        assert!(!suits(Flow::DeviceCode, "a"));
        assert_eq!(client.default_scope(), Some("a b"), "none was asked for");
        let scopes = ["a".to_string()];
        let reply = json!({"client_id": "c", "scope": "a"});
        let asked = Registration::read(reply.as_object().unwrap(), &wanted(&scopes), ISSUER, URL, 0).unwrap();
        assert_eq!(asked.default_scope(), None);
    }

    #[test]
    fn a_client_is_managed_where_it_was_registered_and_nowhere_else() {
        let managed = |uri: &str, token: Value| {
            let reply = json!({"client_id": "c", "registration_client_uri": uri, "registration_access_token": token});
            read(reply).unwrap().deletion(None)
        };
        let request = managed("https://auth.example/register/c", json!("t")).unwrap();
        assert_eq!((request.method, request.url.as_str()), (Method::Delete, "https://auth.example/register/c"));
        let header = request.headers.iter().find(|(name, _)| name == "Authorization").unwrap();
        assert_eq!(header.1.as_str(), "Bearer t");
        for uri in [
            "https://evil.example/c",
            "http://auth.example/c",
            "https://auth.example:8443/c",
            "https://auth.example.evil/",
        ] {
            assert!(managed(uri, json!("t")).is_none(), "{uri}");
        }
        assert!(managed("https://auth.example/c", json!(null)).is_none());
    }

    #[test]
    fn the_clients_of_an_origin_are_an_entry() {
        assert_eq!(
            Registrations::entry_name("https://auth.example/t/1").as_deref(),
            Some("client:https://auth.example")
        );
        assert_eq!(Registrations::entry_name("nothing"), None);
        let client = |id: &str| {
            read(json!({"client_id": id, "client_secret": format!("s-{id}"),
            "registration_client_uri": "https://auth.example/c", "registration_access_token": format!("t-{id}")}))
            .unwrap()
        };
        let mut all = Registrations::default();
        assert!(all.settle(&client("one"), "a").is_empty());
        assert!(all.settle(&client("one"), "b").is_empty());
        let back = Registrations::parse(&all.write()).unwrap();
        assert_eq!(back, all);
        assert_eq!(back.find("https://auth.example", "one").unwrap().profiles, ["a", "b"]);
        assert!(back.find("https://auth.example/other", "one").is_none());
        // Another client takes the place of the first for one profile, then for the other.
        assert!(all.settle(&client("two"), "a").is_empty());
        assert_eq!(all.of(ISSUER).map(|c| c.client_id.as_str()).collect::<Vec<_>>(), ["two", "one"]);
        let gone = all.settle(&client("two"), "b");
        assert_eq!(gone.iter().map(|c| c.client_id.as_str()).collect::<Vec<_>>(), ["one"]);
        assert_eq!(all.leave(ISSUER, "two", |name| name == "a").map(|gone| gone.is_some()), Some(false));
        assert_eq!(all.leave(ISSUER, "two", |_| false).flatten().unwrap().client_id, "two");
        assert!(all.clients.is_empty() && all.leave(ISSUER, "two", |_| true).is_none());
        for text in ["", "[]", "{\"clients\":[{\"client_id\":\"hunter2\"}]}", "hunter2"] {
            let error = Registrations::parse(&Secret::new(text)).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(!format!("{:?}", client("x")).contains("s-x"));
    }
}
