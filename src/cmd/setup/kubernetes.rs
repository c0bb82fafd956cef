//! A user in the kubeconfig whose credentials are those of an exec plugin: "client-go credential plugins" of the
//! Kubernetes documentation. It is kubectl that changes it.

use super::{Plan, ask, tell};
use crate::base::error::{Error, Kind};
use crate::cmd::Context;
use anyhow::Result;
use serde_json::Value;

/// The version that has been stable since Kubernetes 1.22.
const VERSION: &str = "client.authentication.k8s.io/v1";

pub(super) fn run(context: &mut Context, plan: &Plan) -> Result<Option<String>> {
    let name = plan.profile.as_str();
    if !plan.write {
        return Ok(Some(format!(
            "# ~/.kube/config\nusers:\n- name: {name}\n  user:\n    exec:\n      apiVersion: {VERSION}\n      \
             command: {}\n      args: [get, {name}, -o, kubernetes]\n      interactiveMode: Never\n",
            Value::from(plan.tok.as_str()),
        )));
    }
    match user(context, name)? {
        Some(user) if is_ours(&user, plan) => {
            context.host.terminal.tell(&format!("kubectl is set up already for the user {name}"));
        }
        Some(_) => {
            let what = format!("the kubeconfig has a user {name} with other credentials");
            return Err(Error::new(Kind::Other, what, "")
                .hint(format!("remove it first: kubectl config unset users.{name}"))
                .into());
        }
        None => {
            let (command, arguments) =
                (format!("--exec-command={}", plan.tok), format!("--exec-arg=get,{name},-o,kubernetes"));
            let fixed = ["config", "set-credentials", name, &command, &arguments];
            let version = format!("--exec-api-version={VERSION}");
            let (is_done, _) =
                ask(context, "kubectl", &[&fixed[..], &[&version, "--exec-interactive-mode=Never"]].concat())?;
            if !is_done {
                // An older kubectl has no such option, which `v1` requires and `v1beta1` does without.
                tell(context, "kubectl", &[&fixed[..], &[&format!("{version}beta1")]].concat())?;
            }
            context.host.terminal.tell(&format!(
                "kubectl has the user {name}; use it in the current context: kubectl config set-context --current --user={name}"
            ));
        }
    }
    Ok(None)
}

/// The user `name` of the kubeconfig.
fn user(context: &Context, name: &str) -> Result<Option<Value>, Error> {
    let wrong = || Error::new(Kind::Other, "the kubeconfig cannot be read", "").hint("see why: kubectl config view");
    let (is_good, text) = ask(context, "kubectl", &["config", "view", "--output=json"])?;
    let config: Value = serde_json::from_str(&text).ok().filter(|_| is_good).ok_or_else(wrong)?;
    let users = config.get("users").and_then(Value::as_array).into_iter().flatten();
    let found = users.into_iter().find(|user| user.get("name").and_then(Value::as_str) == Some(name));
    Ok(found.and_then(|user| user.get("user")).cloned())
}

fn is_ours(user: &Value, plan: &Plan) -> bool {
    let at = |pointer: &str| user.pointer(pointer);
    at("/exec/command") == Some(&Value::from(plan.tok.as_str()))
        && at("/exec/args") == Some(&serde_json::json!(["get", plan.profile, "-o", "kubernetes"]))
}
