//! The values of a provider file: `[params]`, as types.

use super::*;

/// The values: those of `base`, with the file's changes, and the file's own.
pub(super) fn params(table: Option<&Table>, base: Option<&Provider>) -> Vec<Param> {
    let mut params = base.map(|b| b.params.clone()).unwrap_or_default();
    params.iter_mut().for_each(|param| param.inherited = true);
    for (name, at, value) in table.iter().flat_map(|table| table.all()) {
        let Some(own) = value.keep(value.table()) else { continue };
        let complain = |why: String| own.note_at(at.clone(), why);
        if !is_value_name(&name) || name.ends_with("_file") {
            complain(format!(
                "invalid value name `{}`: use lower-case letters, digits and `_`, not ending in `_file`",
                escape(&name)
            ));
            continue;
        }
        if CONFIG_KEYS.contains(&name.as_str()) {
            complain(format!("`{name}` is a config key and cannot name a value"));
            continue;
        }
        if name == "refresh_token" || name == "access_token" {
            complain(format!("`{name}` is predefined and must not be declared"));
            continue;
        }
        let place = params.iter().position(|p| p.name == name);
        let param = param(name, &own, place.map(|at| &params[at]));
        own.finish();
        for (key, is_set) in [("personal", param.personal), ("identity", param.identity.is_some())] {
            if is_set && !param.secret {
                own.note(format!("`{key}` requires `secret = true`"));
            }
        }
        if param.secret && param.default.is_some() {
            own.note("a secret cannot have a default");
        }
        match place {
            Some(at) => params[at] = param,
            None => params.push(param),
        }
    }
    mark_chosen(&mut params);
    params
}

/// Marks the values whose defaults a choice sets.
fn mark_chosen(params: &mut [Param]) {
    let set = params.iter().flat_map(|param| {
        let names = param.sets.iter().flat_map(|(_, set)| set).map(|(name, _)| name.clone());
        names.map(|name| (name, param.name.clone()))
    });
    let set: Vec<(String, String)> = set.collect();
    for param in params {
        param.chosen_by = set.iter().find(|(name, _)| *name == param.name).map(|(_, by)| by.clone());
    }
}

fn param(name: String, own: &Table, base: Option<&Param>) -> Param {
    let flag = |key: &'static str, default: Option<bool>| own.read(key, default.unwrap_or(false), |v| v.flag());
    let text = |key: &'static str, default: Option<&String>| {
        own.read(key, default.cloned(), |v| v.text().map(|text| Some(text.to_string())))
    };
    let until = |value: TomlValue| match value.text()? {
        "" => Err(value.error("`until` must not be empty")),
        text => Ok(Some(text.to_string())),
    };
    let base_choices = base.map(|b| (b.choices.clone(), b.sets.clone())).unwrap_or_default();
    let (choices, sets) = own.read("choices", base_choices, choices);
    Param {
        secret: flag("secret", base.map(|b| b.secret)),
        personal: flag("personal", base.map(|b| b.personal)),
        inherited: base.is_some() && own.all().iter().all(|(key, ..)| key == "default"),
        default: own.read("default", base.and_then(|b| b.default.clone()), |v| template(v).map(Some)),
        choices,
        sets,
        chosen_by: None,
        list: flag("list", base.map(|b| b.list)),
        separator: text("separator", base.map(|b| &b.separator)).unwrap_or(" ".into()),
        help: text("help", base.map(|b| &b.help)).unwrap_or_default(),
        url: flag("url", Some(base.is_some_and(|b| b.url) || name.ends_with("_url"))),
        lines: flag("lines", base.map(|b| b.lines)),
        file: flag("file", base.map(|b| b.file)),
        repeat: flag("repeat", base.map(|b| b.repeat)),
        metadata: text("metadata", base.and_then(|b| b.metadata.as_ref())),
        supported: text("supported", base.and_then(|b| b.supported.as_ref())),
        inside: own.read("inside", base.and_then(|b| b.inside.clone()), |v| inside(v).map(Some)),
        upper: flag("upper", base.map(|b| b.upper)),
        until: own.read("until", base.and_then(|b| b.until.clone()), until),
        pairs: flag("pairs", base.map(|b| b.pairs)),
        identity: own.read("identity", base.and_then(|b| b.identity.clone()), identity),
        name,
    }
}

/// The choices, and what each sets.
type Choices = (Vec<String>, Vec<(String, Vec<(String, Template)>)>);

/// A list of words, or a table of what each word sets.
fn choices(value: TomlValue) -> Result<Choices> {
    let none = || value.error("expected one choice at least");
    let DeValue::Table(_) = value.raw() else {
        let all = value.texts()?;
        return if all.is_empty() { Err(none()) } else { Ok((all, Vec::new())) };
    };
    let all = value.table()?.all();
    if all.is_empty() {
        return Err(none());
    }
    let sets: Vec<_> = all.into_iter().map(|(choice, _, set)| (choice, templates(set))).collect();
    Ok((sets.iter().map(|(choice, _)| choice.clone()).collect(), sets))
}

fn inside(value: TomlValue) -> Result<Inside> {
    let table = value.table()?;
    let (Some(of), Some(at)) = (table.get("value"), table.get("at")) else {
        return Err(value.error("expected { value = \"NAME\", at = \"/pointer\" }"));
    };
    let inside = Inside { value: of.text()?.into(), at: pointer(at)? };
    table.done()?;
    Ok(inside)
}

/// `true`, or the defaults of other values that go with an identity token.
fn identity(value: TomlValue) -> Result<Option<Vec<(String, String)>>> {
    if let DeValue::Boolean(flag) = value.raw() {
        return Ok(flag.then(Vec::new));
    }
    let all = value.table()?.all();
    let with = all.into_iter().map(|(name, _, text)| Ok((name, text.text()?.to_string())));
    with.collect::<Result<_>>().map(Some)
}
