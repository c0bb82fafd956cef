//! Docker's `config.json`: `credHelpers`, of docker's "Credential helpers". Podman, skopeo and others read the same.

use super::{Plan, edit, helper_program, in_home, taken};
use crate::base::error::{Error, Kind};
use crate::cmd::Context;
use anyhow::Result;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};
use std::path::Path;

/// The helper's name, without `docker-credential-`.
const HELPER: &str = "tok";

pub(super) fn run(context: &mut Context, plan: &Plan) -> Result<Option<String>> {
    plan.must_not_be_shared("docker")?;
    let hosts = plan.https_hosts("docker")?;
    helper_program(context, plan, "docker-credential-tok")?;
    let path = in_home(context.host, Some("DOCKER_CONFIG"), ".docker", "config.json")?;
    if !plan.write {
        return Ok(edited(&path, "", &hosts)?);
    }
    edit(context, &path, |old| edited(&path, old, &hosts))?;
    Ok(None)
}

fn edited(path: &Path, old: &str, hosts: &[&str]) -> Result<Option<String>, Error> {
    let wrong = |why: &str| Error::new(Kind::Other, path.display().to_string(), why);
    let mut config: Map<String, Value> = match old.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(|_| wrong("it is not a JSON object"))?,
    };
    let helpers = config.entry("credHelpers").or_insert(Value::Null);
    if helpers.is_null() {
        *helpers = Value::Object(Map::new());
    }
    let helpers = helpers.as_object_mut().ok_or_else(|| wrong("credHelpers is not an object"))?;
    let mut is_new = false;
    for host in hosts {
        match helpers.get(*host).and_then(Value::as_str) {
            Some(HELPER) => {}
            Some(other) => return Err(taken(path, format!("{host} has the helper {other}"))),
            None => {
                helpers.insert((*host).into(), HELPER.into());
                is_new = true;
            }
        }
    }
    if !is_new {
        return Ok(None);
    }
    // As docker itself writes it.
    let mut text = Vec::new();
    let written = config.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t")));
    let text = written.ok().and_then(|()| String::from_utf8(text).ok()).ok_or_else(|| wrong("it cannot be made"))?;
    Ok(Some(text + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_as_it_is() {
        let edited = |old: &str| edited(Path::new("c"), old, &["a.example", "b.example:5000"]);
        let fresh = edited("").unwrap().unwrap();
        assert_eq!(
            fresh,
            "{\n\t\"credHelpers\": {\n\t\t\"a.example\": \"tok\",\n\t\t\"b.example:5000\": \"tok\"\n\t}\n}\n"
        );
        assert_eq!(edited(&fresh).unwrap(), None);
        let new =
            edited("{\"psFormat\":\"x\",\"credHelpers\":{\"c\":\"pass\"},\"auths\":{\"z\":{},\"y\":{}},\"n\":1.50}");
        let new = new.unwrap().unwrap();
        assert!(new.starts_with(
            "{\n\t\"psFormat\": \"x\",\n\t\"credHelpers\": {\n\t\t\"c\": \"pass\",\n\t\t\"a.example\": \"tok\""
        ));
        assert!(new.contains("\"z\": {},\n\t\t\"y\": {}"), "{new}");
        assert!(edited("{\"credHelpers\":{\"a.example\":\"pass\"}}").unwrap_err().to_string().contains("pass"));
        assert_eq!(edited("{\"credHelpers\":null}").unwrap().unwrap(), fresh);
        assert!(edited("[]").is_err() && edited("{").is_err() && edited("{\"credHelpers\":[]}").is_err());
    }
}
