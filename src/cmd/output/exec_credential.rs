//! An `ExecCredential` for kubectl and other clients of Kubernetes
//! (https://kubernetes.io/docs/reference/config-api/client-authentication.v1/).

use super::Answer;
use crate::base::env::Env;
use crate::base::error::{Error, Kind};
use anyhow::Result;
use serde_json::{Map, Value, json};

/// What the caller says of itself and expects, as JSON.
const INFO: &str = "KUBERNETES_EXEC_INFO";
/// The group of `apiVersion`.
const GROUP: &str = "client.authentication.k8s.io/";

/// # Errors
/// [`Kind::Usage`] where the caller expects an object of another kind.
pub fn write(answer: &Answer, env: &Env) -> Result<String> {
    let mut status: Map<String, Value> =
        Map::from_iter([("token".to_string(), answer.token.access_token.expose().into())]);
    if let Some(at) = answer.token.expires.at() {
        status.insert("expirationTimestamp".into(), crate::base::date::show(at).into());
    }
    let object = json!({ "apiVersion": version(env)?, "kind": "ExecCredential", "status": status });
    Ok(crate::base::text::json(&object))
}

/// The caller takes no other version than its own.
fn version(env: &Env) -> Result<String> {
    let wrong = |why: &str| Error::new(Kind::Usage, INFO, why);
    let Some(info) = env.text(INFO).map_err(|_| wrong("its value is not UTF-8"))? else {
        return Ok(format!("{GROUP}v1"));
    };
    let info: Value = serde_json::from_str(info).map_err(|_| wrong("its value is not JSON"))?;
    match info.get("apiVersion").and_then(Value::as_str) {
        Some(version) if version.starts_with(GROUP) => Ok(version.to_string()),
        _ => Err(wrong("its apiVersion is not one of client.authentication.k8s.io").into()),
    }
}
