//! go's `GOAUTH`, in the file that `go env -w` writes (`go help env`): `KEY=VALUE`, a line each.

use super::{Plan, edit, taken};
use crate::base::error::{Error, Kind};
use crate::cmd::Context;
use crate::host::Host;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// What go does without the setting.
const DEFAULT: &str = "netrc";

pub(super) fn run(context: &mut Context, plan: &Plan) -> Result<Option<String>> {
    plan.https_hosts("go")?;
    let command = command(plan);
    if !plan.write {
        return Ok(Some(format!("GOAUTH={DEFAULT}; {command}\n")));
    }
    let path = path(context.host)?;
    edit(context, &path, |old| edited(&path, old, &command))?;
    Ok(None)
}

/// go splits it at spaces, outside of quotes.
fn command(plan: &Plan) -> String {
    let tok = if plan.tok.contains(' ') { format!("'{}'", plan.tok) } else { plan.tok.clone() };
    format!("{tok} credential goauth{}", plan.option())
}

/// As `go env GOENV` says.
fn path(host: &Host) -> Result<PathBuf, Error> {
    match host.var("GOENV")? {
        Some(off) if off == "off" => {
            Err(Error::new(Kind::Other, "go reads no settings", "GOENV is off").hint("set GOAUTH in the environment"))
        }
        Some(path) => Ok(path.into()),
        None => {
            let own = host.folders()?;
            Ok(own.config.parent().unwrap_or(&own.home).join("go/env"))
        }
    }
}

fn edited(path: &Path, old: &str, command: &str) -> Result<Option<String>, Error> {
    let set = old.lines().rev().find_map(|line| line.strip_prefix("GOAUTH="));
    let value = match set.map(str::trim) {
        None | Some("") => format!("{DEFAULT}; {command}"),
        Some(value) if value.split(';').any(|one| one.trim() == command) => return Ok(None),
        Some("off") => return Err(taken(path, "GOAUTH is off")),
        Some(value) => {
            // From before tok was moved.
            let end = &command[command.find(" credential ").unwrap_or(0)..];
            let others = value.split(';').map(str::trim).filter(|one| !one.ends_with(end));
            others.chain([command]).collect::<Vec<_>>().join("; ")
        }
    };
    let others = old.lines().filter(|line| !line.starts_with("GOAUTH="));
    let lines = others.map(str::to_string).chain([format!("GOAUTH={value}")]);
    Ok(Some(lines.map(|line| line + "\n").collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_joins_those_that_are_there() {
        let edited = |old: &str| edited(Path::new("env"), old, "tok credential goauth").map_err(|e| e.to_string());
        let fresh = "GOAUTH=netrc; tok credential goauth\n";
        assert_eq!(edited("").unwrap().as_deref(), Some(fresh));
        assert_eq!(edited(fresh), Ok(None));
        assert_eq!(
            edited("GOPROXY=x\nGOAUTH=git /d\nGOPRIVATE=y").unwrap().as_deref(),
            Some("GOPROXY=x\nGOPRIVATE=y\nGOAUTH=git /d; tok credential goauth\n")
        );
        assert_eq!(edited("GOAUTH=netrc; '/old tok' credential goauth\n").unwrap().as_deref(), Some(fresh));
        assert!(edited("GOAUTH=off\n").is_err());
    }
}
