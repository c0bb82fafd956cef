//! Bazel's `.bazelrc`: `--credential_helper`, whose pattern is a host without a port.

use super::{Plan, edit, helper_program, in_home, with_lines};
use crate::cmd::Context;
use anyhow::Result;

/// Bazel looks for it on `PATH`.
const HELPER: &str = "bazel-credential-tok";

pub(super) fn run(context: &mut Context, plan: &Plan) -> Result<Option<String>> {
    plan.must_not_be_shared("bazel")?;
    let lines = lines(&plan.https_hosts("bazel")?);
    helper_program(context, plan, HELPER)?;
    if !plan.write {
        return Ok(Some(format!("# ~/.bazelrc\n{}\n", lines.join("\n"))));
    }
    let path = in_home(context.host, None, "", ".bazelrc")?;
    edit(context, &path, |old| Ok(with_lines(old, &lines)))?;
    Ok(None)
}

fn lines(hosts: &[&str]) -> Vec<String> {
    let name = |host: &&str| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_string(),
        _ => host.to_string(),
    };
    let mut names: Vec<String> = hosts.iter().map(name).collect();
    names.dedup();
    names.iter().map(|name| format!("common --credential_helper={name}={HELPER}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_no_port() {
        let line = |name: &str| format!("common --credential_helper={name}=bazel-credential-tok");
        assert_eq!(lines(&["a.example:8443", "a.example", "[::1]", "[::1]:80"]), [line("a.example"), line("[::1]")]);
    }
}
