//! Entries as Secrets of a Kubernetes cluster, one for each profile.
//!
//! Where the cluster is, and how it is logged in to, `kubectl` says, or in a pod what Kubernetes puts there. An update
//! always names the `resourceVersion` that it replaces: without one the API overwrites whatever is there.

mod cluster;

use super::shared::{Network, Over, Put, SharedStore, Versioned};
use super::{StoreError, StoreErrorKind};
use crate::base::date;
use crate::base::digest;
use crate::base::env::Env;
use crate::base::secret::Secret;
use crate::base::text::escape_to;
use crate::base::url;
use crate::oauth::request::{Repeat, Request, Response};
use crate::provider::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster::Cluster;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What an error must not repeat of a request.
const SECRETS: [&str; 2] = ["Authorization", "/data/entry"];

/// Entries in the Secrets of a namespace.
#[derive(Clone)]
pub struct KubernetesStore {
    namespace: String,
    /// What a Secret's name begins with; the profile's follows.
    prefix: String,
    network: Network,
    env: Env,
    /// The cluster, once it was looked for.
    cluster: Option<Cluster>,
    /// The Secret that was read last: an update sends all of it back.
    last: Option<Value>,
}

/// What a reply means before its body is read.
enum Answer {
    Body(Value, Option<i64>),
    NotFound,
    /// Another version is there.
    Conflict,
}

impl KubernetesStore {
    /// The entries in `namespace` whose names begin with `prefix`; `env` says where the cluster is.
    pub fn new(namespace: &str, prefix: &str, network: Network, env: &Env) -> KubernetesStore {
        KubernetesStore {
            namespace: namespace.into(),
            prefix: prefix.into(),
            network,
            env: env.clone(),
            cluster: None,
            last: None,
        }
    }

    fn cluster(&mut self) -> Result<&Cluster, StoreError> {
        let found = match self.cluster.take() {
            Some(found) => found,
            None => Cluster::find(&self.env, self.network.deadline)?,
        };
        Ok(self.cluster.insert(found))
    }

    /// The name of a profile's Secret (RFC 1123 as the API has it). What cannot be a part of one gets a name of its own.
    fn name(&self, profile: &str) -> String {
        let is_label = profile.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        match is_label && profile.ends_with(|c: char| c.is_ascii_alphanumeric()) {
            true => format!("{}{profile}", self.prefix),
            false => format!("{}x-{}", self.prefix, &digest::hex(&[profile.as_bytes()])[..32]),
        }
    }

    fn secrets(&self) -> String {
        format!("api/v1/namespaces/{}/secrets", url::encode(&self.namespace))
    }

    fn call(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, StoreError> {
        let cluster = self.cluster()?;
        let plain = |text: &str| Zeroizing::new(text.to_string());
        let mut headers = vec![
            ("User-Agent".into(), plain(concat!("tok/", env!("CARGO_PKG_VERSION")))),
            ("Accept".into(), plain("application/json")),
        ];
        if let Some(token) = &cluster.token {
            headers.push(("Authorization".into(), Zeroizing::new(format!("Bearer {}", token.expose()))));
        }
        if body.is_some() {
            headers.push(("Content-Type".into(), plain("application/json")));
        }
        let request = Request {
            method,
            url: Zeroizing::new(format!("{}/{path}", cluster.server)),
            headers,
            body: body.map(|body| Zeroizing::new(body.to_string().into_bytes())),
            // After a reply it is sent again by `Network::ask`: comparing makes a repeated write harmless.
            repeat: Repeat::Personal,
            client_certificate: cluster.certificate.clone(),
            ca_file: None,
            ca_pem: cluster.ca.clone(),
            link_local: false,
        };
        let is_for_now = |reply: &Response| reply.status == 429 || reply.status >= 500;
        let reply = self.network.ask(&request, &SECRETS, &is_for_now, &|reply| {
            format!("the API server answered with status {}", reply.status)
        })?;
        self.read_reply(&reply)
    }

    fn read_reply(&self, reply: &Response) -> Result<Answer, StoreError> {
        let from = self.cluster.as_ref().map_or("", |cluster| cluster.from.as_str());
        let error = |trouble: StoreErrorKind, why: String| Err(StoreError { trouble, why });
        // A proxy's page is no answer of the API.
        let body = serde_json::from_slice::<Value>(&reply.body).ok();
        let Some(body) = body.filter(|body| body.get("kind").is_some_and(Value::is_string)) else {
            return Err(not_of_kubernetes(reply.status));
        };
        let said = escape_to(body.get("message").and_then(Value::as_str).unwrap_or_default(), 200);
        match reply.status {
            200..=202 => Ok(Answer::Body(body, reply.header("date").and_then(date::parse))),
            404 => Ok(Answer::NotFound),
            409 => Ok(Answer::Conflict),
            401 => error(StoreErrorKind::Refused, format!("the API server takes no login by {from}")),
            403 => error(StoreErrorKind::Refused, format!("{said} (by {from})")),
            status => error(StoreErrorKind::Refused, format!("status {status}: {said}")),
        }
    }

    /// Whether this login may do `verb` with the profile's Secret, as far as the API server says.
    fn may(&mut self, verb: &str, profile: &str) -> Result<bool, StoreError> {
        let name = self.name(profile);
        let attributes = json!({
            "namespace": self.namespace, "verb": verb, "resource": "secrets", "name": name,
        });
        let ask = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": attributes },
        });
        let path = "apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        Ok(match self.call(Method::Post, path, Some(&ask))? {
            Answer::Body(body, _) => body.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or(true),
            _ => true,
        })
    }

    /// Creates the profile's Secret for trial: whatever would keep it from being made says so, an absent namespace and a
    /// quota too, which rights do not tell of.
    fn try_create(&mut self, profile: &str) -> Result<(), StoreError> {
        let path = format!("{}?dryRun=All", self.secrets());
        match self.call(Method::Post, &path, Some(&new(&self.name(profile))))? {
            Answer::NotFound => Err(self.no_namespace()),
            Answer::Body(..) | Answer::Conflict => Ok(()),
        }
    }

    fn no_namespace(&self) -> StoreError {
        StoreError { trouble: StoreErrorKind::Missing, why: format!("the namespace {} does not exist", self.namespace) }
    }

    /// The new version in a reply to a write.
    fn written(&self, body: &Value, over: Option<&str>) -> Put {
        match body.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            Some(new) if !new.is_empty() && over != Some(new) => Put::Done(new.into()),
            _ => Put::Unknown(StoreError {
                trouble: StoreErrorKind::Refused,
                why: "the reply to a write names no new resourceVersion".into(),
            }),
        }
    }
}

/// A Secret of this name that holds nothing yet.
fn new(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque"})
}

fn not_of_kubernetes(status: u16) -> StoreError {
    let why = format!("status {status}, and the reply is not the Kubernetes API's");
    StoreError { trouble: StoreErrorKind::Refused, why }
}

impl SharedStore for KubernetesStore {
    fn read(&mut self, profile: &str) -> Result<Versioned, StoreError> {
        let path = format!("{}/{}", self.secrets(), self.name(profile));
        self.last = None;
        let Answer::Body(body, now) = self.call(Method::Get, &path, None)? else { return Ok(Versioned::default()) };
        let version = body.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_string);
        if version.is_none() {
            return Err(not_of_kubernetes(200));
        }
        let foreign = || StoreError {
            trouble: StoreErrorKind::Entry,
            why: format!("the Secret {} was not written by tok", self.name(profile)),
        };
        let entry = match body.pointer("/data/entry").and_then(Value::as_str) {
            Some(text) => {
                let bytes = STANDARD.decode(text).map(Zeroizing::new).map_err(|_| foreign())?;
                Some(Secret::new(std::str::from_utf8(&bytes).map_err(|_| foreign())?))
            }
            // One that an administrator has made, for it to be written.
            None if body.get("data").is_none_or(|data| data.as_object().is_none_or(serde_json::Map::is_empty)) => None,
            None => return Err(foreign()),
        };
        let fields = body.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
        let written = fields.filter_map(|field| date::parse(field.get("time")?.as_str()?)).max();
        let age = written.zip(now).map(|(written, now)| Duration::from_secs(now.saturating_sub(written).max(0) as u64));
        self.last = Some(body);
        Ok(Versioned { entry, version, age })
    }

    fn write(&mut self, profile: &str, entry: &Secret, over: Over) -> Result<Put, StoreError> {
        let over = match over {
            Over::This(version) => version.map(str::to_string),
            Over::Anything => self.read(profile)?.version,
        };
        let name = self.name(profile);
        let text = Zeroizing::new(STANDARD.encode(entry.expose()));
        let (method, path, mut body) = match &over {
            None => (Method::Post, self.secrets(), new(&name)),
            Some(_) => {
                // What is not sent back is gone.
                let Some(last) = self.last.clone() else { return Ok(Put::Lost) };
                (Method::Put, format!("{}/{name}", self.secrets()), last)
            }
        };
        body["data"] = json!({ "entry": text.as_str() });
        if let (Some(over), Some(metadata)) = (&over, body["metadata"].as_object_mut()) {
            metadata.remove("managedFields");
            metadata.insert("resourceVersion".into(), json!(over));
        }
        match self.call(method, &path, Some(&body)) {
            Ok(Answer::Conflict) => Ok(Put::Lost),
            Ok(Answer::Body(body, _)) => {
                let put = self.written(&body, over.as_deref());
                self.last = Some(body);
                Ok(put)
            }
            Ok(Answer::NotFound) if over.is_some() => Ok(Put::Lost),
            Ok(Answer::NotFound) => Err(self.no_namespace()),
            Err(error) if error.trouble == StoreErrorKind::Unreachable => Ok(Put::Unknown(error)),
            Err(error) => Err(error),
        }
    }

    fn end(&mut self, _: &str) -> Result<(), StoreError> {
        // Nothing is left of an earlier version.
        Ok(())
    }

    fn destroy(&mut self, profile: &str) -> Result<bool, StoreError> {
        let held = self.read(profile)?;
        let Some(version) = held.version else { return Ok(false) };
        let path = format!("{}/{}", self.secrets(), self.name(profile));
        let body = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "resourceVersion": version },
        });
        match self.call(Method::Delete, &path, Some(&body))? {
            Answer::Conflict => Err(StoreError {
                trouble: StoreErrorKind::Unreachable,
                why: "another machine has written the entry meanwhile".into(),
            }),
            _ => Ok(held.entry.is_some()),
        }
    }

    fn check(&mut self, profile: &str) -> Result<(), StoreError> {
        if self.read(profile)?.version.is_none() {
            return self.try_create(profile);
        }
        for verb in ["get", "update"] {
            if !self.may(verb, profile)? {
                let from = self.cluster.as_ref().map_or("", |cluster| cluster.from.as_str());
                let name = self.name(profile);
                let why = format!("{from} may not {verb} the Secret {name} in the namespace {}", self.namespace);
                return Err(StoreError { trouble: StoreErrorKind::Refused, why });
            }
        }
        Ok(())
    }

    fn set_deadline(&mut self, deadline: Instant) {
        self.network.deadline = deadline;
    }

    fn another(&mut self, deadline: Instant) -> Result<Box<dyn SharedStore + Send>, StoreError> {
        Ok(Box::new(KubernetesStore { network: Network { deadline, ..self.network.clone() }, ..self.clone() }))
    }
}
