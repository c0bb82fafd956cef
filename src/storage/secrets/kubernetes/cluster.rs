//! Which cluster, and who we are there: what a pod is given, else what `kubectl config view` says.

use super::super::{StoreError, StoreErrorKind};
use crate::base::env::Env;
use crate::base::secret::Secret;
use crate::base::text::escape_to;
use crate::base::url;
use crate::oauth::request::ClientCertificate;
use crate::system::files;
use crate::system::process;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;
use zeroize::Zeroizing;

/// What Kubernetes gives to a pod; the token is renewed there, so it is read each time.
const POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The most that a file or a program's answer may hold, in bytes.
const LIMIT: u64 = 1 << 20;

/// A cluster's API server, and how to log in to it.
#[derive(Clone)]
pub(super) struct Cluster {
    /// Its address, without a slash at the end.
    pub(super) server: String,
    /// The certificates that vouch for it, as PEM.
    pub(super) ca: Option<String>,
    pub(super) token: Option<Secret>,
    pub(super) certificate: Option<ClientCertificate>,
    /// Where the login came from, for messages.
    pub(super) from: String,
}

fn missing(why: impl Into<String>) -> StoreError {
    StoreError { trouble: StoreErrorKind::Missing, why: why.into() }
}

impl Cluster {
    /// The cluster that this pod runs in, else the current context of `kubectl`.
    pub(super) fn find(env: &Env, deadline: Instant) -> Result<Cluster, StoreError> {
        let pod = Path::new(POD).join("token");
        let host = env.text("KUBERNETES_SERVICE_HOST").ok().flatten();
        match host.filter(|_| pod.exists()) {
            Some(host) => Cluster::of_pod(host, env, deadline),
            None => Cluster::of_kubectl(env, deadline),
        }
    }

    fn of_pod(host: &str, env: &Env, deadline: Instant) -> Result<Cluster, StoreError> {
        let port = env.text("KUBERNETES_SERVICE_PORT").ok().flatten().unwrap_or("443");
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        let text = |name: &str| read(&format!("{POD}/{name}"), deadline);
        let token = text("token")?;
        Ok(Cluster {
            server: server(&format!("https://{host}:{port}"))?,
            ca: Some(text("ca.crt")?.expose().to_string()),
            token: Some(Secret::new(token.expose().trim())),
            certificate: None,
            from: "the pod's service account".into(),
        })
    }

    fn of_kubectl(env: &Env, deadline: Instant) -> Result<Cluster, StoreError> {
        let words = ["kubectl", "config", "view", "--raw", "--minify", "-o", "json"].map(String::from);
        let printed = run(&words, env, &[], deadline).map_err(|why| missing(format!("kubectl: {why}")))?;
        let config: Value =
            serde_json::from_slice(&printed).map_err(|_| missing("kubectl: its answer is not the config as JSON"))?;
        let one = |list: &str, of: &str| config.pointer(&format!("/{list}/0/{of}")).cloned().unwrap_or_default();
        let (cluster, user) = (one("clusters", "cluster"), one("users", "user"));
        let context = escape_to(config.get("current-context").and_then(Value::as_str).unwrap_or_default(), 80);
        let from = format!("the context {context} of kubectl");
        let Some(address) = text(&cluster, "server") else {
            return Err(missing("kubectl names no server: choose a context with kubectl config use-context"));
        };
        for (key, what) in [
            ("insecure-skip-tls-verify", "does not check the server's certificate, which tok always does"),
            ("proxy-url", "names a proxy; tok takes one from HTTPS_PROXY"),
            ("tls-server-name", "names another server in the certificate, which tok does not support"),
        ] {
            if cluster.get(key).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))) {
                return Err(missing(format!("{from} {what} ({key})")));
            }
        }
        let ca = data(&cluster, "certificate-authority", deadline)?.map(|pem| pem.expose().to_string());
        let mut found = Cluster { server: server(&address)?, ca, token: None, certificate: None, from };
        if let Some(exec) = user.get("exec").filter(|exec| exec.is_object()) {
            return found.log_in(exec, &cluster, env, deadline);
        }
        found.token = match (text(&user, "token"), text(&user, "tokenFile")) {
            // kubectl takes the file first too: it is renewed.
            (_, Some(path)) => Some(Secret::new(read(&path, deadline)?.expose().trim())),
            (token, None) => token.map(Secret::new),
        };
        let certificate = data(&user, "client-certificate", deadline)?;
        if let Some((certificate, key)) = certificate.zip(data(&user, "client-key", deadline)?) {
            found.certificate = Some(ClientCertificate { certificate: certificate.expose().to_string(), key });
        }
        match found.token.is_none() && found.certificate.is_none() {
            true => Err(missing(format!("{} has no token, no client certificate and no exec", found.from))),
            false => Ok(found),
        }
    }

    /// Lets the program that `exec` names log in (client.authentication.k8s.io, ExecCredential).
    fn log_in(mut self, exec: &Value, cluster: &Value, env: &Env, deadline: Instant) -> Result<Cluster, StoreError> {
        let program = text(exec, "command").unwrap_or_default();
        let args = exec.get("args").and_then(Value::as_array).into_iter().flatten();
        let args = args.filter_map(Value::as_str).map(str::to_string);
        let words: Vec<String> = std::iter::once(program.clone()).chain(args).collect();
        let version = text(exec, "apiVersion").unwrap_or("client.authentication.k8s.io/v1".into());
        let mut spec = json!({ "interactive": false });
        if exec.get("provideClusterInfo") == Some(&Value::Bool(true)) {
            spec["cluster"] = json!({
                "server": cluster.get("server"), "certificate-authority-data": self.ca.as_ref().map(|pem| STANDARD.encode(pem)),
            });
        }
        let info = json!({ "apiVersion": version, "kind": "ExecCredential", "spec": spec });
        let mut more = vec![("KUBERNETES_EXEC_INFO".to_string(), info.to_string())];
        for one in exec.get("env").and_then(Value::as_array).into_iter().flatten() {
            more.extend(text(one, "name").zip(text(one, "value")));
        }
        let shown = escape_to(&program, 80);
        let printed = run(&words, env, &more, deadline).map_err(|why| missing(format!("{shown}: {why}")))?;
        let reply: Value = serde_json::from_slice(&printed)
            .map_err(|_| missing(format!("{shown}: its answer is not an ExecCredential")))?;
        let status = reply.get("status").cloned().unwrap_or_default();
        self.token = text(&status, "token").map(Secret::new);
        self.certificate = text(&status, "clientCertificateData")
            .zip(text(&status, "clientKeyData"))
            .map(|(certificate, key)| ClientCertificate { certificate, key: Secret::new(key) });
        self.from = format!("{}, whose login is made by {shown}", self.from);
        match self.token.is_none() && self.certificate.is_none() {
            true => Err(missing(format!("{shown}: its answer has neither a token nor a certificate"))),
            false => Ok(self),
        }
    }
}

/// A member of an object that is text, and not empty.
fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_string)
}

/// What a config has as `<name>-data`, in base64, or in the file that `<name>` names.
fn data(object: &Value, name: &str, deadline: Instant) -> Result<Option<Secret>, StoreError> {
    let key = format!("{name}-data");
    if let Some(encoded) = text(object, &key) {
        let bytes = STANDARD.decode(encoded).map(Zeroizing::new);
        let decoded = bytes.ok().and_then(|bytes| std::str::from_utf8(&bytes).ok().map(Secret::new));
        return decoded.map(Some).ok_or_else(|| missing(format!("kubectl: {key} is not base64 of a PEM file")));
    }
    text(object, name).map(|path| read(&path, deadline)).transpose()
}

fn read(path: &str, deadline: Instant) -> Result<Secret, StoreError> {
    let shown = escape_to(path, 200);
    if !Path::new(path).is_absolute() {
        return Err(missing(format!("kubectl: {shown} is not an absolute path")));
    }
    let bytes = files::read_user_file(Path::new(path), LIMIT, deadline).map(Zeroizing::new);
    let bytes = bytes.map_err(|error| missing(format!("{shown}: {}", files::why(&error))))?;
    std::str::from_utf8(&bytes).map(Secret::new).map_err(|_| missing(format!("{shown}: it is not text")))
}

fn server(address: &str) -> Result<String, StoreError> {
    let wrong = |why: String| missing(format!("the address of the API server {why}"));
    url::base(address).map(str::to_string).map_err(wrong)
}

/// What the program `words[0]` prints.
fn run(
    words: &[String],
    env: &Env,
    more: &[(String, String)],
    deadline: Instant,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let more: Vec<(OsString, OsString)> = more.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let env = env.for_children().chain(more.iter().map(|(name, value)| (name, value)));
    process::output(words, env, None, deadline, LIMIT).map(|said| said.stdout).map_err(|failed| failed.why)
}
