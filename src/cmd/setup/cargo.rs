//! cargo's `config.toml`: a global credential provider, of "Registry Authentication" in The Cargo Book. The last of
//! the list is asked first; where it has no token for a registry, cargo asks the one before.

use super::{Plan, edit, in_home};
use crate::base::error::{Error, Kind};
use crate::base::text::escape;
use crate::cmd::Context;
use anyhow::Result;
use std::path::Path;
use toml_edit::{Array, DocumentMut, Item, Table, value};

/// What cargo has without the setting.
const DEFAULT: &str = "cargo:token";

pub(super) fn run(context: &mut Context, plan: &Plan) -> Result<Option<String>> {
    plan.https_hosts("cargo")?;
    // cargo splits it at spaces.
    if plan.tok.contains(char::is_whitespace) {
        let what = "cargo cannot run tok";
        return Err(Error::new(Kind::Other, what, "tok is not on PATH, and its path has a space").into());
    }
    let command = format!("{} credential cargo{}", plan.tok, plan.option());
    if !plan.write {
        let command = toml_text(&command);
        let list = format!("global-credential-providers = [\"{DEFAULT}\", {command}]");
        return Ok(Some(format!("# ~/.cargo/config.toml\n[registry]\n{list}\n")));
    }
    let own = |name: &str| in_home(context.host, Some("CARGO_HOME"), ".cargo", name);
    // The older name, which cargo reads first.
    let path = Some(own("config")?).filter(|path| path.is_file()).map_or_else(|| own("config.toml"), Ok)?;
    edit(context, &path, |old| edited(&path, old, &command))?;
    Ok(None)
}

fn edited(path: &Path, old: &str, command: &str) -> Result<Option<String>, Error> {
    let wrong = |why: String| Error::new(Kind::Other, path.display().to_string(), why);
    let mut doc: DocumentMut = old.parse().map_err(|e: toml_edit::TomlError| wrong(escape(e.message())))?;
    let registry = doc.entry("registry").or_insert_with(|| Item::Table(Table::new()));
    let registry = registry.as_table_like_mut().ok_or_else(|| wrong("`registry` is not a table".into()))?;
    let usual = || value([DEFAULT].into_iter().collect::<Array>());
    let list = registry.entry("global-credential-providers").or_insert_with(usual);
    let list = list.as_array_mut().ok_or_else(|| wrong("`global-credential-providers` is not a list".into()))?;
    if list.iter().any(|one| one.as_str() == Some(command)) {
        return Ok(None);
    }
    // From before tok was moved: cargo would end with a program that is not there.
    let end = command.find(' ').map_or(command, |at| &command[at..]);
    let old = list.iter().position(|one| one.as_str().is_some_and(|one| one.ends_with(end)));
    match old {
        Some(at) => drop(list.replace(at, command)),
        None => list.push(command),
    }
    Ok(Some(doc.to_string()))
}

/// Text as TOML has it: for what stands in a path, as JSON has it.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_joins_those_that_are_there() {
        let edited = |old: &str| edited(Path::new("c"), old, "tok credential cargo").map_err(|e| e.to_string());
        let fresh = "[registry]\nglobal-credential-providers = [\"cargo:token\", \"tok credential cargo\"]\n";
        assert_eq!(edited("").unwrap().as_deref(), Some(fresh));
        assert_eq!(edited(fresh), Ok(None));
        let old = "# mine\n[build]\njobs = 2 # two\n\n[registry]\ndefault = \"x\"\nglobal-credential-providers = [\"cargo:libsecret\"]\n";
        let new = old.replace("\"cargo:libsecret\"", "\"cargo:libsecret\", \"tok credential cargo\"");
        assert_eq!(edited(old).unwrap(), Some(new));
        assert_eq!(edited(&fresh.replace("\"tok ", "\"/old/tok ")).unwrap().as_deref(), Some(fresh));
        assert!(edited("registry = 1").is_err() && edited("[").is_err());
        assert!(edited("[registry]\nglobal-credential-providers = 1\n").is_err());
    }
}
