//! git's config: `credential.URL.helper`, of gitcredentials(7). It is git that changes it.

use super::{Plan, ask, tell};
use crate::cmd::Context;
use anyhow::Result;

pub(super) fn run(context: &mut Context, plan: &Plan) -> Result<Option<String>> {
    let helper = helper(plan);
    if !plan.write {
        return Ok(Some(lines(&plan.origins, &helper)));
    }
    for origin in &plan.origins {
        let key = format!("credential.{origin}.helper");
        let (_, values) = ask(context, "git", &["config", "--global", "--null", "--get-all", &key])?;
        let mut values: Vec<&str> = values.split_terminator('\0').collect();
        if values.ends_with(&["", &helper]) {
            context.host.terminal.tell(&format!("git is set up already for {origin}"));
            continue;
        }
        // Of another profile, or from before tok was moved.
        let old: Vec<&str> = values.iter().copied().filter(|value| is_ours(value)).collect();
        for value in old {
            tell(context, "git", &["config", "--global", "--fixed-value", "--unset-all", &key, value])?;
        }
        values.retain(|value| !is_ours(value));
        // What stands before an empty one is not asked: no other helper is given the token to store.
        if values.last() != Some(&"") {
            tell(context, "git", &["config", "--global", "--add", &key, ""])?;
        }
        tell(context, "git", &["config", "--global", "--add", &key, &helper])?;
        context.host.terminal.tell(&format!("git gets its credentials for {origin} from tok"));
    }
    Ok(None)
}

/// The value of the key: a shell's command.
fn helper(plan: &Plan) -> String {
    let tok = shlex::try_quote(&plan.tok).map(|tok| tok.into_owned()).unwrap_or("tok".into());
    format!("!{tok} credential git --profile {}", plan.profile)
}

fn is_ours(value: &str) -> bool {
    value.starts_with('!') && value.contains(" credential git --profile ")
}

fn lines(origins: &[String], helper: &str) -> String {
    let mut text = "# ~/.gitconfig\n".to_string();
    for origin in origins {
        text.push_str(&format!("[credential \"{origin}\"]\n\thelper =\n\thelper = {}\n", quoted(helper)));
    }
    text
}

/// A value as git-config(1) reads it.
fn quoted(value: &str) -> String {
    match value.contains(['#', ';', '"', '\\']) {
        true => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
        false => value.into(),
    }
}
