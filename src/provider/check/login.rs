//! Checks what a grant finds on its way: each request may use what was found before it.

use super::{Places, call, names};
use crate::provider::{Flow, Grant, Kept, Provider};

/// Checks the requests of `grant` in the order in which they are sent.
pub(super) fn grant(at: &Places, provider: &Provider, grant: &Grant) {
    let place = ["grants", grant.name.as_str()];
    let here = |key: &'static str| [&place[..], &[key]].concat();
    let refreshes = provider.refresh.as_ref().is_some_and(|refresh| refresh.grant == grant.name);
    let mut known = vec!["refresh_token"];
    if refreshes {
        // What a login has found stays with the session.
        known.extend(provider.found());
    }
    let steps = here("steps");
    if refreshes && !grant.steps.is_empty() {
        at.note(
            &steps,
            "the grant of [refresh] has no steps: a refresh token that was sent must not be lost between two",
        );
    }
    if grant.begin.is_none() && grant.steps_before().next().is_some() {
        at.note(&steps, "`before` requires [grants.NAME.begin]");
    }
    if grant.flow == Flow::Signed && !grant.steps.is_empty() {
        at.note(&steps, "nothing is sent with `flow = \"signed\"`");
    }
    if grant.begin.is_some() && !grant.flow.needs_person() {
        at.note(&here("begin"), "`begin` requires `flow`: a plain request begins with nothing else (see `steps`)");
    }
    for step in grant.steps_before() {
        call(at, &steps, provider, &step.call, &known);
        kept(at, &steps, (provider, grant), &step.keep, &mut known);
    }
    let mut found: Vec<&str> = grant.flow.finds().to_vec();
    if let Some(begin) = &grant.begin {
        // What a device or the redirect brings is not there yet, but for what is made for this login.
        let brought = ["device_code", "user_code", "auth_req_id", "code"];
        known.extend(found.iter().filter(|name| !brought.contains(name)));
        call(at, &here("begin"), provider, begin, &known);
    }
    known.append(&mut found);
    let device = here("device");
    if grant.device.verification_uri.is_empty() && grant.device.page.is_none() {
        at.note(&device, "missing `verification_uri` or `page`: the page that a person opens");
    }
    kept(at, &[&device[..], &["keep"]].concat(), (provider, grant), &grant.device.keep, &mut known);
    if let Some(page) = &grant.device.page {
        names(at, &[&device[..], &["page"]].concat(), provider, page, &known);
    }
    kept(at, &[&here("redirect")[..], &["keep"]].concat(), (provider, grant), &grant.redirect.keep, &mut known);
    for step in grant.steps_after() {
        call(at, &steps, provider, &step.call, &known);
        kept(at, &steps, (provider, grant), &step.keep, &mut known);
    }
    call(at, &place, provider, &grant.call, &known);
}

/// Checks the values that a reply brings, and adds their names to those that are known.
fn kept<'g>(
    at: &Places,
    place: &[&str],
    (provider, grant): (&Provider, &Grant),
    keep: &'g [Kept],
    known: &mut Vec<&'g str>,
) {
    for Kept { name, .. } in keep {
        let place = [place, &[name]].concat();
        if known.contains(&name.as_str()) || name == "access_token" {
            at.note(&place, format!("`{name}` is found elsewhere: choose another name"));
            continue;
        }
        match provider.param(name) {
            Some(param) if param.personal => at.note(&place, "a person's own secret cannot be found in a reply"),
            Some(_) => {}
            None if !grant.uses_found(name) && !provider.kept_names().contains(name) => at.note(
                &place,
                format!("no request of this grant uses {{{name}}}; declare it in [params] if it is to be remembered"),
            ),
            None => {}
        }
        known.push(name);
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::Provider;

    fn said(text: &str) -> String {
        Provider::parse("t", "t.toml", text).map_or_else(|error| error.to_string(), |_| "nothing".into())
    }

    #[test]
    fn a_request_uses_what_was_found_before_it() {
        let text = |first: &str, second: &str, last: &str| {
            format!(
                "[params.base_url]\ndefault = \"https://a.example\"\n[grants.g]\nurl = \"{{base_url}}/{last}\"\n\
                 [[grants.g.steps]]\nurl = \"{{base_url}}/{first}\"\nkeep = {{ one = \"/1\" }}\n\
                 [[grants.g.steps]]\nurl = \"{{base_url}}/{second}\"\nkeep = {{ two = \"/2\" }}\n"
            )
        };
        assert_eq!(said(&text("x", "{one}", "{two}")), "nothing");
        assert!(said(&text("{two}", "{one}", "{two}")).contains("unknown value `two`"));
        assert!(said(&text("x", "{one}", "x")).contains("no request of this grant uses {two}"));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let grant = |rest: &str| {
            format!(
                "[params.x]\n[params.password]\nsecret = true\npersonal = true\n[grants.g]\nurl = \"https://a.example\"\n\
                 body = {{ a = \"{{refresh_token}}\" }}\n{rest}\n[refresh]\ngrant = \"g\"\n"
            )
        };
        let step = "[[grants.g.steps]]\nurl = \"https://a.example\"\n";
        assert!(said(&grant(step)).contains("has no steps"));
        let alone = |rest: &str| grant(rest).replace("[refresh]\ngrant = \"g\"\n", "");
        assert_eq!(said(&alone(step)), "nothing");
        for (rest, says) in [
            (format!("{step}before = \"begin\""), "requires [grants.NAME.begin]"),
            (step.repeat(5), "at most 4 steps"),
            (format!("{step}keep = {{ password = \"/p\" }}"), "cannot be found in a reply"),
            (format!("{step}keep = {{ refresh_token = \"/p\" }}"), "choose another name"),
            (format!("{step}keep = {{ x = \"p\" }}"), "did you mean `/p`"),
            (format!("{step}keep = {{ x = {{ at = \"/p\", as = \"json\" }} }}"), "unknown choice `json`"),
            (format!("{step}keep = {{ x = {{ as = \"url\" }} }}"), "expected a JSON Pointer"),
            ("[grants.g.device]\nuser_code = []".into(), "only `flow = \"device-code\"`"),
            ("[grants.g.redirect]\ncode = \"c\"".into(), "only `flow = \"authorization-code\"`"),
        ] {
            let said = said(&alone(&rest));
            assert!(said.contains(says), "{rest}: {said}");
        }
        for (sites, fine) in [("[\"a.example\"]", true), ("[\"https://a.example\"]", false), ("[\"com\"]", false)] {
            let text = format!("sites = {sites}\n{}", alone(""));
            assert_eq!(said(&text) == "nothing", fine, "{sites}");
        }
        let pageless = "[grants.g]\nflow = \"device-code\"\nurl = \"https://a.example\"\n[grants.g.begin]\n\
                        url = \"https://a.example\"\n[grants.g.device]\nverification_uri = []\n";
        assert!(said(pageless).contains("missing `verification_uri` or `page`"));
    }
}
