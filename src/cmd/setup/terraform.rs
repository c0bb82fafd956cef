//! The CLI config of Terraform and OpenTofu: `credentials_helper`, of which there may be one.

use super::{Plan, edit, in_home, link, on_path, own_path, taken};
use crate::base::error::Error;
use crate::cmd::Context;
use anyhow::Result;
use std::path::Path;

pub(super) fn run(context: &mut Context, plan: &Plan) -> Result<Option<String>> {
    plan.https_hosts("terraform")?;
    let block = block(plan);
    // It is looked for in this folder alone, not on PATH.
    let helper = in_home(context.host, None, ".terraform.d/plugins", "terraform-credentials-tok")?;
    if !helper.exists() {
        let tok = on_path(context.host, "tok").map_or_else(own_path, Ok)?;
        link(context, plan, &tok, &helper, &format!("{} is missing", helper.display()))?;
    }
    if !plan.write {
        return Ok(Some(format!("# ~/.terraformrc\n{block}")));
    }
    let named = context.host.var("TF_CLI_CONFIG_FILE")?;
    let path = match named {
        Some(path) => path.into(),
        None if cfg!(windows) => in_home(context.host, Some("APPDATA"), "AppData/Roaming", "terraform.rc")?,
        None => in_home(context.host, None, "", ".terraformrc")?,
    };
    edit(context, &path, |old| edited(&path, old, &block))?;
    Ok(None)
}

fn block(plan: &Plan) -> String {
    let args = if plan.is_shared { format!("\"--profile\", \"{}\"", plan.profile) } else { String::new() };
    format!("credentials_helper \"tok\" {{\n  args = [{args}]\n}}\n")
}

fn edited(path: &Path, old: &str, block: &str) -> Result<Option<String>, Error> {
    let is_comment = |line: &&str| ["#", "//"].iter().any(|mark| line.trim_start().starts_with(mark));
    let words = |text: &str| {
        let lines = text.lines().filter(|line| !is_comment(line));
        lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    };
    if words(old).contains(&words(block)) {
        return Ok(None);
    }
    if old.lines().any(|line| line.trim_start().starts_with("credentials_helper")) {
        return Err(taken(path, "it has a credentials_helper already, and may have one"));
    }
    let gap = match old {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    Ok(Some(format!("{old}{gap}{block}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_helper() {
        let block = "credentials_helper \"tok\" {\n  args = []\n}\n";
        let edited = |old: &str| edited(Path::new("rc"), old, block).map_err(|error| error.to_string());
        assert_eq!(edited("").unwrap().as_deref(), Some(block));
        assert_eq!(edited("x = 1\n").unwrap(), Some(format!("x = 1\n\n{block}")));
        assert_eq!(edited("x = 1").unwrap(), Some(format!("x = 1\n\n{block}")));
        assert_eq!(edited("credentials_helper \"tok\" {\n\targs = []\n}"), Ok(None));
        let old = "# credentials_helper \"tok\" { args = [] }\n";
        assert_eq!(edited(old).unwrap(), Some(format!("{old}\n{block}")));
        assert!(edited("credentials_helper \"other\" {\n}\n").is_err());
    }
}
