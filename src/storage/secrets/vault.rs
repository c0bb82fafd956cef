//! Entries in a KV version 2 secrets engine of OpenBao or HashiCorp Vault.
//!
//! A write names the version that it replaces (`cas`) and is good only where the reply names the next one: a KV version 1
//! mount takes the same request, ignores `cas` and answers 204.

use super::shared::{Network, Over, Put, SharedStore, Versioned};
use super::{StoreError, StoreErrorKind};
use crate::base::date;
use crate::base::secret::Secret;
use crate::base::text::escape_to;
use crate::base::url;
use crate::oauth::request::{Repeat, Request, Response};
use crate::provider::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What an error must not repeat of a request.
const SECRETS: [&str; 4] = ["X-Vault-Token", "/secret_id", "/jwt", "/data/entry"];

/// Where the vault's own program leaves a person's token.
const TOKEN_FILE: &str = "~/.vault-token";

/// Entries in a vault.
#[derive(Clone)]
pub struct VaultStore {
    /// The mount of the secrets engine, and the folder in it.
    mount: String,
    folder: String,
    network: Network,
    /// The token of this call, once there is one, and where it came from.
    token: Option<(Secret, String)>,
    /// Whether the mount is known to compare versions.
    is_checked: bool,
}

/// What a reply means before its body is read.
enum Answer {
    Body(Value, Option<i64>),
    NotFound(Value),
    /// Another version is there.
    Conflict,
}

impl VaultStore {
    /// The entries below `folder` of the secrets engine at `mount`.
    pub fn new(mount: &str, folder: &str, network: Network) -> VaultStore {
        VaultStore { mount: mount.into(), folder: folder.into(), network, token: None, is_checked: false }
    }

    fn error(&self, trouble: StoreErrorKind, why: impl Into<String>) -> StoreError {
        StoreError { trouble, why: why.into() }
    }

    /// The first of these settings that has a value.
    fn setting(&self, names: &[&str]) -> Result<Option<Secret>, StoreError> {
        for name in names {
            match (self.network.setting)(name) {
                Ok(Some(value)) => return Ok(Some(value)),
                Ok(None) => {}
                Err(why) => return Err(self.error(StoreErrorKind::Refused, format!("{}: {why}", shown(name)))),
            }
        }
        Ok(None)
    }

    fn text(&self, names: &[&str], default: &str) -> Result<String, StoreError> {
        Ok(self.setting(names)?.map_or(default.to_string(), |value| value.expose().to_string()))
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Request, StoreError> {
        let Some(address) = self.setting(&["address", "VAULT_ADDR"])? else {
            let why = "no address is known: set VAULT_ADDR, or address in [vault] of the config";
            return Err(self.error(StoreErrorKind::Missing, why));
        };
        let address = address.expose().trim_end_matches('/');
        if let Err(why) = url::base(address) {
            return Err(self.error(StoreErrorKind::Missing, format!("the address of the vault {why}")));
        }
        let plain = |text: &str| Zeroizing::new(text.to_string());
        let mut headers = vec![
            ("User-Agent".into(), plain(concat!("tok/", env!("CARGO_PKG_VERSION")))),
            ("Accept".into(), plain("application/json")),
            // What a vault asks of whoever follows no redirects of a browser.
            ("X-Vault-Request".into(), plain("true")),
        ];
        if let Some(namespace) = self.setting(&["namespace", "VAULT_NAMESPACE"])? {
            headers.push(("X-Vault-Namespace".into(), plain(namespace.expose())));
        }
        if let Some((token, _)) = &self.token {
            headers.push(("X-Vault-Token".into(), plain(token.expose())));
        }
        if body.is_some() {
            headers.push(("Content-Type".into(), plain("application/json")));
        }
        let ca_file = self.setting(&["ca_file", "VAULT_CACERT"])?.map(|path| PathBuf::from(path.expose()));
        let body = body.map(|body| Zeroizing::new(body.to_string().into_bytes()));
        // After a reply it is sent again by `Network::ask`: comparing makes a repeated write harmless.
        let repeat = Repeat::Personal;
        let url = Zeroizing::new(format!("{address}/v1/{path}"));
        Ok(Request {
            method,
            url,
            headers,
            body,
            repeat,
            client_certificate: None,
            ca_file,
            ca_pem: None,
            link_local: false,
        })
    }

    /// Sends it with this call's token.
    fn call(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, StoreError> {
        let is_new = self.token.is_none();
        if is_new {
            self.token = Some(self.log_in()?);
        }
        let mut reply = self.ask(&self.request(method, path, body)?)?;
        // A token may run out while the provider is waited for; a login brings another, or its file has one.
        if reply.status == 403
            && !is_new
            && let Ok(another) = self.log_in()
            && self.token.as_ref().is_none_or(|(token, _)| token.expose() != another.0.expose())
        {
            self.token = Some(another);
            reply = self.ask(&self.request(method, path, body)?)?;
        }
        self.read_reply(&reply, path)
    }

    /// Sends it, as often as the vault asks for another try.
    fn ask(&self, request: &Request) -> Result<Response, StoreError> {
        self.network.ask(request, &SECRETS, &|reply| is_for_now(reply.status), &trouble_for_now)
    }

    fn read_reply(&self, reply: &Response, path: &str) -> Result<Answer, StoreError> {
        let body = serde_json::from_slice::<Value>(&reply.body).ok().filter(Value::is_object);
        let errors = body.as_ref().map(errors).unwrap_or_default();
        match (reply.status, body) {
            (200, Some(body)) => Ok(Answer::Body(body, reply.header("date").and_then(date::parse))),
            (204, _) => Ok(Answer::Body(Value::Null, None)),
            // Else it is what stands before the vault that does not know the way.
            (404, Some(body)) if errors.is_empty() && is_of_vault(&body) => Ok(Answer::NotFound(body)),
            (404, Some(_)) if !errors.is_empty() => {
                let why = format!("nothing is mounted at {} ({errors})", escape_to(&self.mount, 80));
                Err(self.error(StoreErrorKind::Missing, why))
            }
            (400, Some(_)) if errors.contains("check-and-set parameter did not match") => Ok(Answer::Conflict),
            (403, Some(_)) => {
                let with = self.token.as_ref().map(|(_, source)| format!(" with {source}")).unwrap_or_default();
                Err(self.error(StoreErrorKind::Refused, format!("permission denied for {path}{with}")))
            }
            (status, Some(_)) if !errors.is_empty() => {
                Err(self.error(StoreErrorKind::Refused, format!("status {status}: {errors}")))
            }
            (status, _) => Err(self.not_of_vault(status)),
        }
    }

    fn not_of_vault(&self, status: u16) -> StoreError {
        self.error(StoreErrorKind::Refused, format!("status {status}, and the reply is not a vault's"))
    }

    /// A token for this call, and where it came from.
    fn log_in(&self) -> Result<(Secret, String), StoreError> {
        let auth = self.text(&["auth"], "token")?;
        if auth == "token" {
            for (name, what) in
                [("VAULT_TOKEN", "the token in VAULT_TOKEN"), (TOKEN_FILE, "the token in ~/.vault-token")]
            {
                if let Some(token) = self.setting(&[name])? {
                    return Ok((token, what.into()));
                }
            }
            let why = "no token is known: set VAULT_TOKEN, or auth in [vault] of the config";
            return Err(self.error(StoreErrorKind::Refused, why));
        }
        let mount = self.text(&["auth_mount"], &auth)?;
        let needs = |name: &str| {
            let value = self.setting(&[name])?;
            value.ok_or_else(|| {
                self.error(StoreErrorKind::Refused, format!("auth = \"{auth}\" needs {name} in [vault] of the config"))
            })
        };
        let (role, names) = match auth.as_str() {
            "approle" => ("role_id", ["role", "secret_id"]),
            _ => ("role", ["role", "jwt"]),
        };
        let (first, second) = (needs(names[0])?, needs(names[1])?);
        let body = json!({ role: first.expose(), names[1]: second.expose() });
        let login = format!("auth/{}/login", path(&mount));
        let request = self.request(Method::Post, &login, Some(&body))?;
        let answer =
            self.ask(&request).and_then(|reply| self.read_reply(&reply, &login)).map_err(|error| {
                match error.trouble {
                    StoreErrorKind::Unreachable => error,
                    _ => StoreError {
                        why: format!("login by {auth} failed (role, {}): {}", names[1], error.why),
                        ..error
                    },
                }
            })?;
        let token = match &answer {
            Answer::Body(body, _) => body.pointer("/auth/client_token").and_then(Value::as_str),
            _ => None,
        };
        token
            .map(|token| (Secret::new(token), format!("the login by {auth}")))
            .ok_or_else(|| self.error(StoreErrorKind::Refused, format!("the login by {auth} brought no token")))
    }

    /// Whose rights are in question.
    fn who(&self) -> &str {
        self.token.as_ref().map_or("this call", |(_, source)| source.as_str())
    }

    fn data(&self, profile: &str) -> String {
        format!("{}/data/{}", path(&self.mount), self.below(profile))
    }

    fn below(&self, profile: &str) -> String {
        if self.folder.is_empty() { path(profile) } else { format!("{}/{}", path(&self.folder), path(profile)) }
    }

    /// Destroys the versions up to `last`. Not the entry itself: its versions would begin again, and a late write could
    /// find the one that it is over.
    fn destroy_versions(&mut self, profile: &str, last: u64) -> Result<(), StoreError> {
        if last == 0 {
            return Ok(());
        }
        let all = json!({ "versions": (1..=last).collect::<Vec<_>>() });
        let destroy = format!("{}/destroy/{}", path(&self.mount), self.below(profile));
        self.call(Method::Put, &destroy, Some(&all)).map(drop)
    }

    /// KV version 2, by asking: a version 1 mount would take a write unchecked.
    fn check_version(&mut self) -> Result<(), StoreError> {
        if self.is_checked {
            return Ok(());
        }
        let ask = format!("sys/internal/ui/mounts/{}", path(&self.mount));
        let Answer::Body(body, _) = self.call(Method::Get, &ask, None)? else {
            return Err(self.error(StoreErrorKind::Missing, format!("nothing is mounted at {}", self.mount)));
        };
        if !is_of_vault(&body) {
            return Err(self.not_of_vault(200));
        }
        let version = body.pointer("/data/options/version").and_then(Value::as_str).unwrap_or("1");
        if version != "2" {
            let why = format!(
                "{} is a KV version {version} mount, which cannot compare versions; version 2 is needed",
                escape_to(&self.mount, 80)
            );
            return Err(self.error(StoreErrorKind::Refused, why));
        }
        self.is_checked = true;
        Ok(())
    }
}

impl SharedStore for VaultStore {
    fn read(&mut self, profile: &str) -> Result<Versioned, StoreError> {
        let data = self.data(profile);
        let version_of = |body: &Value| body.pointer("/data/metadata/version").and_then(Value::as_u64);
        let (body, now) = match self.call(Method::Get, &data, None)? {
            // What has no version is no entry, and not the lack of one either.
            Answer::Body(body, _) if version_of(&body).is_none() => return Err(self.not_of_vault(200)),
            Answer::Body(body, now) => (body, now),
            // One that was deleted or destroyed is not found too, and its version goes on.
            Answer::NotFound(body) => (body, None),
            Answer::Conflict => return Ok(Versioned::default()),
        };
        let text = |at: &str| body.pointer(at).and_then(Value::as_str);
        let version = version_of(&body).map(|version| version.to_string());
        let entry = match (text("/data/data/entry"), body.pointer("/data/data")) {
            (Some(entry), _) => Some(Secret::new(entry)),
            (None, None | Some(Value::Null)) => None,
            (None, Some(_)) => {
                return Err(self.error(StoreErrorKind::Entry, format!("{data} was not written by tok")));
            }
        };
        let written = text("/data/metadata/created_time").and_then(date::parse);
        let age = written.zip(now).map(|(written, now)| Duration::from_secs(now.saturating_sub(written).max(0) as u64));
        Ok(Versioned { entry, version, age })
    }

    fn write(&mut self, profile: &str, entry: &Secret, over: Over) -> Result<Put, StoreError> {
        self.check_version()?;
        let version = match over {
            Over::This(version) => version.map(str::to_string),
            Over::Anything => self.read(profile)?.version,
        };
        let version = version.map_or(Ok(0), |version| version.parse::<u64>());
        let version = version.map_err(|_| self.error(StoreErrorKind::Entry, "its version is not a number"))?;
        let body = json!({ "options": { "cas": version }, "data": { "entry": entry.expose() } });
        match self.call(Method::Post, &self.data(profile), Some(&body)) {
            Ok(Answer::Conflict) => Ok(Put::Lost),
            Ok(Answer::Body(body, _)) => match body.pointer("/data/version").and_then(Value::as_u64) {
                Some(new) if new == version + 1 => Ok(Put::Done(new.to_string())),
                _ => Ok(Put::Unknown(self.error(StoreErrorKind::Refused, "the reply to a write names no version"))),
            },
            Ok(Answer::NotFound(_)) => Err(self.error(StoreErrorKind::Missing, "no such mount")),
            Err(error) if matches!(error.trouble, StoreErrorKind::Unreachable | StoreErrorKind::Corrupt) => {
                Ok(Put::Unknown(error))
            }
            Err(error) => Err(error),
        }
    }

    fn end(&mut self, profile: &str) -> Result<(), StoreError> {
        let last = self.read(profile)?.version.and_then(|version| version.parse::<u64>().ok()).unwrap_or(1);
        self.destroy_versions(profile, last.saturating_sub(1))
    }

    fn destroy(&mut self, profile: &str) -> Result<bool, StoreError> {
        self.check_version()?;
        let held = self.read(profile)?;
        let Some(last) = held.version.and_then(|version| version.parse::<u64>().ok()) else { return Ok(false) };
        self.destroy_versions(profile, last)?;
        Ok(held.entry.is_some())
    }

    fn check(&mut self, profile: &str) -> Result<(), StoreError> {
        self.check_version()?;
        let data = self.data(profile);
        let ask = json!({ "path": data });
        let Answer::Body(body, _) = self.call(Method::Post, "sys/capabilities-self", Some(&ask))? else {
            return Ok(());
        };
        let list = body.pointer("/data/capabilities").or(body.get("capabilities")).and_then(Value::as_array);
        let has = |name: &str| list.is_some_and(|list| list.iter().any(|one| one == name));
        if list.is_none() || has("root") {
            return Ok(());
        }
        // What is there need not be created.
        let needed = match has("create") || self.read(profile)?.version.is_none() {
            true => ["create", "read", "update"].as_slice(),
            false => &["read", "update"],
        };
        let missing: Vec<&str> = needed.iter().copied().filter(|name| !has(name)).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => {
                Err(self
                    .error(StoreErrorKind::Refused, format!("{} may not {} {data}", self.who(), missing.join(", "))))
            }
        }
    }

    fn set_deadline(&mut self, deadline: Instant) {
        self.network.deadline = deadline;
    }

    fn another(&mut self, deadline: Instant) -> Result<Box<dyn SharedStore + Send>, StoreError> {
        Ok(Box::new(VaultStore { network: Network { deadline, ..self.network.clone() }, ..self.clone() }))
    }
}

/// What to try again later: sealed, overloaded, and no active node (a standby then sends to the address of the dead one,
/// which is not followed).
fn is_for_now(status: u16) -> bool {
    matches!(status, 307 | 308 | 412 | 429 | 472 | 473) || status >= 500
}

fn trouble_for_now(reply: &Response) -> String {
    let said = serde_json::from_slice::<Value>(&reply.body).map(|body| errors(&body)).unwrap_or_default();
    match reply.status {
        307 | 308 => "the vault has no active node".into(),
        503 if said.contains("sealed") => "the vault is sealed".into(),
        status if said.is_empty() => format!("the vault answered with status {status}"),
        status => format!("the vault answered with status {status}: {said}"),
    }
}

/// What a vault says is wrong, in one line.
fn errors(body: &Value) -> String {
    let all = body.get("errors").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    escape_to(&all.map(str::trim).collect::<Vec<_>>().join("; "), 200)
}

/// Whether a reply is one of a vault: it has its data, or its list of errors.
fn is_of_vault(body: &Value) -> bool {
    body.get("data").is_some_and(Value::is_object) || body.get("errors").is_some_and(Value::is_array)
}

/// A path with each of its parts encoded.
fn path(text: &str) -> String {
    text.split('/').filter(|part| !part.is_empty()).map(url::encode).collect::<Vec<_>>().join("/")
}

/// A setting as a person knows it.
fn shown(name: &str) -> String {
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { format!("[vault] {name}") } else { name.into() }
}
