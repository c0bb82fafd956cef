//! What a login finds on its way: `[grants.NAME.device]` and `keep`, as types.

use super::*;

/// How a login on another device goes on; without a table as RFC 8628 says.
pub(super) fn device(table: Option<&Table>, flow: Flow, base: Option<&Device>) -> Device {
    let usual = Device::default();
    let base = base.unwrap_or(&usual);
    let Some(table) = table else { return base.clone() };
    if flow != Flow::DeviceCode {
        table.note("only `flow = \"device-code\"` takes this table");
    }
    let list = |key: &'static str, base: &Vec<String>| table.read(key, base.clone(), pointers);
    let answers = |key: &'static str, base: &Vec<Test>| table.get(key).map_or_else(|| base.clone(), tests);
    let expiry = table.get("expires").map(|value| response::items(value, response::expiry));
    let device = Device {
        device_code: list("device_code", &base.device_code),
        user_code: list("user_code", &base.user_code),
        verification_uri: list("verification_uri", &base.verification_uri),
        verification_uri_complete: list("verification_uri_complete", &base.verification_uri_complete),
        page: table.read("page", base.page.clone(), |v| template(v).map(Some)),
        interval: list("interval", &base.interval),
        expires: expiry.unwrap_or_else(|| base.expires.clone()),
        keep: table.get("keep").map_or_else(|| base.keep.clone(), keep),
        pending: answers("pending", &base.pending),
        slow_down: answers("slow_down", &base.slow_down),
        denied: answers("denied", &base.denied),
        expired: answers("expired", &base.expired),
    };
    table.finish();
    device
}

impl Default for Device {
    /// RFC 8628 §3.2. Before it had its name, `verification_uri` was `verification_url`; Google still says so.
    fn default() -> Device {
        Device {
            device_code: strings(&["/device_code"]),
            user_code: strings(&["/user_code"]),
            verification_uri: strings(&["/verification_uri", "/verification_url"]),
            verification_uri_complete: strings(&["/verification_uri_complete", "/verification_url_complete"]),
            page: None,
            interval: strings(&["/interval"]),
            expires: vec![Expiry {
                at: "/expires_in".into(),
                unit: Unit::Seconds,
                zero: Zero::Unknown,
                negative: Zero::Unknown,
            }],
            keep: Vec::new(),
            pending: Vec::new(),
            slow_down: Vec::new(),
            denied: Vec::new(),
            expired: Vec::new(),
        }
    }
}

/// What the browser brings back; without a table as RFC 6749 §4.1.2 says.
pub(super) fn redirect(table: Option<&Table>, flow: Flow, base: Option<&Redirect>) -> Redirect {
    let usual = Redirect::default();
    let base = base.unwrap_or(&usual);
    let Some(table) = table else { return base.clone() };
    if flow != Flow::AuthorizationCode {
        table.note("only `flow = \"authorization-code\"` takes this table");
    }
    let states = [("required", State::Required), ("path", State::Path), ("lost", State::Lost)];
    let redirect = Redirect {
        code: table.read("code", base.code.clone(), parameters),
        keep: table.get("keep").map_or_else(|| base.keep.clone(), |value| kept(value, parameters)),
        state: table.read("state", base.state, |v| v.choice(&states)),
    };
    for kept in &redirect.keep {
        if !matches!(kept.at, Find::At(_)) {
            table.note("a redirect has no headers and no cookies: name a parameter");
        }
    }
    table.finish();
    redirect
}

impl Default for Redirect {
    fn default() -> Redirect {
        Redirect { code: strings(&["code"]), keep: Vec::new(), state: State::Required }
    }
}

/// Names of parameters of the redirect.
fn parameters(value: TomlValue) -> Result<Vec<String>> {
    let name = |item: TomlValue| match item.text()? {
        "" | "state" | "iss" | "error" | "error_description" => {
            Err(item.error("expected the name of a parameter that the browser brings back"))
        }
        text if text.starts_with('/') => Err(item.error("a parameter of the redirect is named without a slash")),
        text => Ok(text.to_string()),
    };
    match value.raw() {
        DeValue::String(_) => Ok(vec![name(value)?]),
        _ => value.list()?.into_iter().map(name).collect(),
    }
}

/// The requests on the way to the token, in their order; those of `base` where the file has none.
pub(super) fn steps(own: &Table, shared: &Shared, base: Option<&Grant>) -> Vec<Step> {
    let Some(value) = own.get("steps") else { return base.map(|b| b.steps.clone()).unwrap_or_default() };
    let list = value.keep(value.list()).unwrap_or_default();
    if list.len() > Grant::MOST_STEPS {
        value.note(format!("a grant has at most {} steps", Grant::MOST_STEPS));
    }
    let step = |item: TomlValue| {
        let table = item.keep(item.table())?;
        let reply = table.read("response", None, |v| v.table().map(Some));
        let step = Step {
            call: call(Some(&table), shared.call, &table, None),
            before: table.read("before", false, |v| v.choice(&[("begin", true)])),
            response: response::rules_of(reply.as_ref(), shared, None),
            keep: table.get("keep").map(keep).unwrap_or_default(),
            until: table.read("until", None, |v| v.text().map(|text| Some(text.to_string()))),
        };
        if let Some(until) = &step.until
            && !(step.before && step.keep.iter().any(|kept| kept.name == *until))
        {
            table.note("`until` is the name of a value in `keep`, of a step with `before = \"begin\"`");
        }
        reply.iter().for_each(Table::finish);
        table.finish();
        Some(step)
    };
    list.into_iter().filter_map(step).collect()
}

/// The values that are found in a reply.
pub(super) fn keep(value: TomlValue) -> Vec<Kept> {
    kept(value, pointers)
}

/// The values that are found at places that `places` reads.
fn kept(value: TomlValue, places: impl Fn(TomlValue) -> Result<Vec<String>>) -> Vec<Kept> {
    let Some(table) = value.keep(value.table()) else { return Vec::new() };
    let read = |(name, at, inner): (String, _, TomlValue)| {
        if !is_value_name(&name) || name.ends_with("_file") || CONFIG_KEYS.contains(&name.as_str()) {
            table.note_at(at, format!("`{}` cannot name a value", escape(&name)));
            return None;
        }
        let (at, shape) = inner.keep(place(inner, &places))?;
        Some(Kept { name, at, shape })
    };
    table.all().into_iter().filter_map(read).collect()
}

/// `"/pointer"`, a list of such, or `{ at = …, as = "url" }`.
fn place(value: TomlValue, places: impl Fn(TomlValue) -> Result<Vec<String>>) -> Result<(Find, Shape)> {
    let DeValue::Table(_) = value.raw() else { return Ok((Find::At(places(value)?), Shape::Text)) };
    let table = value.table()?;
    let shape = table
        .get("as")
        .map_or(Ok(Shape::Text), |v| v.choice(&[("text", Shape::Text), ("url", Shape::Url), ("host", Shape::Host)]))?;
    let find = match (table.get("at"), response::named(&table)?) {
        (Some(at), None) => Find::At(places(at)?),
        (None, Some(named)) => named,
        _ => {
            return Err(value.error(
                "expected a JSON Pointer, { at = \"/pointer\", as = \"url\" }, { header = \"…\" } or { cookie = \"…\" }",
            ));
        }
    };
    table.done()?;
    Ok((find, shape))
}

/// Domains: each stands for itself and for the hosts below it.
pub(super) fn sites(value: TomlValue) -> Result<Vec<String>> {
    let site = |item: TomlValue| {
        let text = item.text()?;
        let labels = || text.split('.');
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        match labels().count() > 1 && labels().all(is_label) {
            true => Ok(text.to_string()),
            false => {
                Err(item.error("expected a domain in lower case, such as example.com, which stands for its hosts too"))
            }
        }
    };
    value.list()?.into_iter().map(site).collect()
}
