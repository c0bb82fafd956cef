//! `tok schema`: what each command prints as JSON is what its schema says.

use crate::skip::skip_part;
use crate::support::Sandbox;
use crate::support::apiax::Apiax;
use crate::support::purewl::PureWl;
use serde_json::{Map, Value};

/// Why `value` is not what `schema` says. Of JSON Schema it knows what the schemas use, and nothing that it does not
/// know goes unnoticed.
fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = schema.as_object().ok_or_else(|| format!("{at}: the schema is not an object"))?;
    for (keyword, says) in schema {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" => {}
            "type" => check_type(says, value, at)?,
            "format" => check_format(says, value, at)?,
            "enum" => match says.as_array().unwrap().contains(value) {
                true => {}
                false => return Err(format!("{at}: {value} is none of {says}")),
            },
            "anyOf" => {
                let tried: Vec<_> = says.as_array().unwrap().iter().map(|one| check(one, value, at)).collect();
                if !tried.iter().any(Result::is_ok) {
                    return Err(format!("{at}: none of anyOf: {tried:?}"));
                }
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(says, item, &format!("{at}/{n}"))?;
                }
            }
            "required" => {
                for name in says.as_array().unwrap().iter().filter_map(Value::as_str) {
                    if value.as_object().is_some_and(|object| !object.contains_key(name)) {
                        return Err(format!("{at}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, inner) in says.as_object().unwrap() {
                    if let Some(found) = value.get(name) {
                        check(inner, found, &format!("{at}/{name}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
                check_others(says, value, &known, at)?;
            }
            other => return Err(format!("the schema has a keyword that this test does not know: {other}")),
        }
    }
    Ok(())
}

fn check_type(says: &Value, value: &Value, at: &str) -> Result<(), String> {
    let one = [says.clone()];
    let types = says.as_array().map_or(&one[..], Vec::as_slice);
    let is = |name: &Value| match name.as_str().unwrap() {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("an unknown type: {other}"),
    };
    if types.iter().any(is) { Ok(()) } else { Err(format!("{at}: {value} is not {says}")) }
}

/// RFC 3339 in UTC.
fn check_format(says: &Value, value: &Value, at: &str) -> Result<(), String> {
    assert_eq!(says, "date-time");
    let ok = value.as_str().is_none_or(|text| {
        let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        form == "0000-00-00T00:00:00Z"
    });
    if ok { Ok(()) } else { Err(format!("{at}: {value} is not a time")) }
}

fn check_others(says: &Value, value: &Value, known: &Map<String, Value>, at: &str) -> Result<(), String> {
    for (name, inner) in value.as_object().into_iter().flatten().filter(|(name, _)| !known.contains_key(*name)) {
        match says {
            Value::Bool(true) => {}
            Value::Bool(false) => return Err(format!("{at}: {name} is not in the schema")),
            schema => check(schema, inner, &format!("{at}/{name}"))?,
        }
    }
    Ok(())
}

/// Every property of the schema that `value` has nowhere.
fn unseen(schema: &Value, value: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        match value.get(name) {
            None => missing.push(name.clone()),
            Some(found) => missing.extend(unseen(inner, found).into_iter().map(|below| format!("{name}/{below}"))),
        }
    }
    missing
}

fn schema(sandbox: &Sandbox, verb: &str) -> Value {
    let mut schema = sandbox.run(&format!("schema {verb}")).silent().json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{verb}");
    let definitions = schema["$defs"].clone();
    put_in(&mut schema, &definitions);
    schema
}

/// Puts each definition in the place of what refers to it.
fn put_in(schema: &mut Value, definitions: &Value) {
    if let Some(name) = schema["$ref"].as_str().and_then(|place| place.strip_prefix("#/$defs/")) {
        let definition = definitions[name].clone();
        assert!(definition.is_object(), "{name} is not defined");
        *schema = definition;
        return;
    }
    match schema {
        Value::Object(object) => object.values_mut().for_each(|inner| put_in(inner, definitions)),
        Value::Array(list) => list.iter_mut().for_each(|inner| put_in(inner, definitions)),
        _ => {}
    }
}

#[track_caller]
fn holds(schema: &Value, value: &Value, line: &str) {
    check(schema, value, "").unwrap_or_else(|why| panic!("{line}: {why}\n{value:#}"));
}

#[test]
fn each_json_output_is_what_its_schema_says() {
    let (purewl, apiax) = (PureWl::start(), Apiax::start());
    for sandbox in [purewl.logged_in(), apiax.logged_in()] {
        let name = sandbox.run("list --json").json()[0]["profile"].as_str().unwrap().to_string();
        for (verb, line) in [
            ("get", format!("get {name} --json")),
            ("show", format!("show {name} --json")),
            ("providers", "providers --json".to_string()),
            ("providers", format!("providers {name} --json")),
            ("list", "list --json".to_string()),
            ("status", "status --json".to_string()),
            ("status", format!("status {name} --json")),
        ] {
            // `list` got the same form with `status`.
            if matches!(verb, "list" | "status") && sandbox.run("status --help").code != 0 {
                skip_part!("there is no `tok status` yet");
                continue;
            }
            let schema = schema(&sandbox, verb);
            let value = sandbox.run(&line).json();
            holds(&schema, &value, &line);
            // Of several forms it is that of one provider.
            let schema = schema.get("anyOf").map_or(&schema, |forms| &forms[1]);
            if line != "providers --json" {
                let (schema, value) = schema.get("items").map_or((schema, &value), |items| (items, &value[0]));
                assert_eq!(unseen(schema, value), Vec::<String>::new(), "{line}: required, and not printed");
            }
        }
    }
    // Without a session, and broken.
    let mut sandbox = Sandbox::new();
    sandbox.config("[profile.a]\nprovider = \"purewl\"\n[profile.b]\nprovider = \"nowhere\"\n");
    sandbox.set("TOK_NOBODY_KNOWS", "x");
    holds(&schema(&sandbox, "show"), &sandbox.run("show a --json").json(), "show a --json");
    let out = sandbox.run("doctor --json");
    assert_eq!(out.code, 1, "{out}");
    let findings: Value = serde_json::from_str(&out.stdout).unwrap();
    holds(&schema(&sandbox, "doctor"), &findings, "doctor --json");
    let levels: Vec<&str> = findings.as_array().unwrap().iter().filter_map(|one| one["level"].as_str()).collect();
    assert!(levels.contains(&"error") && levels.contains(&"warning"), "{findings:#}");
}

#[test]
fn the_check_itself_finds_what_is_wrong() {
    let sandbox = Sandbox::new();
    let schema = schema(&sandbox, "doctor");
    let good = serde_json::json!([{"level": "error", "what": "a", "why": "", "hint": "b"}]);
    holds(&schema, &good, "good");
    for bad in [
        r#"{}"#,
        r#"[{"level": "bad", "what": "a", "why": "", "hint": "b"}]"#,
        r#"[{"level": "error", "what": 1, "why": "", "hint": "b"}]"#,
        r#"[{"level": "error", "what": "a", "why": ""}]"#,
        r#"[{"level": "error", "what": "a", "why": "", "hint": "b", "more": 1}]"#,
    ] {
        assert!(check(&schema, &serde_json::from_str(bad).unwrap(), "").is_err(), "{bad}");
    }
    sandbox.run("schema nothing").fails(2).says("expected one of: get, list, status, show, providers, doctor");
}
