//! Checks values whose choices set other values.

use super::{Places, expansions, literal, names};
use crate::provider::{Param, Provider};
use std::collections::BTreeSet;

/// Checks what the choices of each value set.
pub(super) fn choices(at: &Places, provider: &Provider) {
    for param in provider.params.iter().filter(|param| !param.sets.is_empty()) {
        if param.secret || param.list {
            at.note(&["params", &param.name, "choices"], "a secret or a list has no choices that set other values");
        }
        if param.default.as_ref().is_some_and(|default| default.literal().is_none()) {
            at.note(
                &["params", &param.name, "default"],
                "this default must be one of the choices, without other values",
            );
        }
        let all: BTreeSet<&str> = param.sets.iter().flat_map(|(_, set)| set).map(|(name, _)| name.as_str()).collect();
        for (choice, set) in &param.sets {
            let place = |name| ["params", &param.name, "choices", choice, name];
            for (name, template) in set {
                match provider.param(name) {
                    None => {
                        let names = provider.params.iter().map(|p| p.name.as_str());
                        at.note_unknown(&place(name), "value", name, names);
                    }
                    Some(target) => {
                        if let Some(why) = wrong(target, param) {
                            at.note(&place(name), format!("`{name}` cannot be set here: it {why}"));
                        }
                        literal(at, target, template, &place(name));
                    }
                }
                names(at, &place(name), provider, template, &[]);
            }
            for name in &all {
                let is_set = set.iter().any(|(set, _)| set == name);
                if !is_set && provider.param(name).is_some_and(|target| target.default.is_none()) {
                    let why =
                        format!("`{choice}` does not set `{name}`, which other choices set and which has no default");
                    at.note(&["params", &param.name, "choices", choice], why);
                }
            }
            // With this choice the defaults are others.
            let mut chosen = provider.clone();
            chosen.choose(|name| (name == param.name).then_some(choice.as_str()));
            expansions(at, &chosen);
        }
    }
}

/// Why the choice of `by` cannot set `target`.
fn wrong(target: &Param, by: &Param) -> Option<&'static str> {
    match () {
        () if target.secret => Some("is a secret"),
        () if !target.sets.is_empty() => Some("has choices that set other values itself"),
        () if target.chosen_by.as_ref() != Some(&by.name) => Some("is set by the choices of another value"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::Provider;

    fn error(params: &str) -> String {
        let text = format!(
            "{params}\n[params.base_url]\n[params.key]\nsecret = true\n[params.api_url]\ndefault = \"https://api.example\"\n\
             [grants.g]\nurl = \"{{base_url}}\"\nbody = {{ k = \"{{key?}}\", a = \"{{api_url}}\" }}\n"
        );
        let (_, findings) = Provider::check("t", "t.toml", &text);
        findings.iter().map(|error| format!("{error}\n")).collect()
    }

    #[test]
    fn what_a_choice_sets_is_checked() {
        let choices = |sets: &str| format!("[params.region]\n[params.region.choices]\n{sets}\n");
        assert_eq!(
            error(&choices("eu = { base_url = \"https://a.eu\" }\n\"com.au\" = { base_url = \"https://a.com.au\" }")),
            ""
        );
        for (sets, says) in [
            ("eu = { bse_url = \"https://a.eu\" }", "t.toml:3:18: unknown value `bse_url`; did you mean `base_url`?"),
            ("eu = { base_url = \"http://a.eu\" }", "t.toml:3:19: this URL"),
            ("eu = { key = \"x\" }", "it is a secret"),
            ("eu = { region = \"x\" }", "it has choices that set other values itself"),
            ("eu = { base_url = \"https://{nothing}\" }", "unknown value `nothing`"),
            ("eu = { base_url = \"https://a.eu\" }\nus = {}", "`us` does not set `base_url`"),
            ("eu = { base_url = \"{base_url}\" }", "this default refers to itself"),
            ("eu = \"https://a.eu\"", "expected a table"),
            ("\"e u\" = { base_url = \"https://a.eu\" }", "cannot be a choice"),
        ] {
            assert!(error(&choices(sets)).contains(says), "{sets}: {}", error(&choices(sets)));
        }
        // A value with a default need not be set.
        let some =
            "eu = { base_url = \"https://a.eu\", api_url = \"https://b.eu\" }\nus = { base_url = \"https://a.us\" }";
        assert_eq!(error(&choices(some)), "");
        let other = "[params.kind]\nchoices = { a = { base_url = \"https://a.kind\" } }\n";
        let two = format!("{}{other}", choices("eu = { base_url = \"https://a.eu\" }"));
        assert!(error(&two).contains("it is set by the choices of another value"), "{}", error(&two));
        let list = "[params.region]\nlist = true\nchoices = { a = { base_url = \"https://a.eu\" } }\n";
        assert!(error(list).contains("a secret or a list has no choices"), "{}", error(list));
        let default = "[params.region]\ndefault = \"{api_url}\"\nchoices = { a = { base_url = \"https://a.eu\" } }\n";
        assert!(error(default).contains("must be one of the choices"), "{}", error(default));
    }
}
