//! Checks where a secret must not stand, and what stands in a URL's host.

use super::Places;
use crate::provider::template::Piece;
use crate::provider::{Call, Grant, Provider, Shape, Template};

/// The first secret in `template`.
fn secret<'t>(provider: &Provider, template: &'t Template) -> Option<&'t str> {
    template.names().map(|(name, _)| name).find(|name| provider.param(name).is_some_and(|param| param.secret))
}

/// Checks the texts that plain values are set to: those values are shown and kept in the config.
pub(super) fn defaults(at: &Places, provider: &Provider) {
    let note = |place: &[&str], template: &Template| {
        if let Some(name) = secret(provider, template) {
            at.note(place, format!("a plain value is shown: this cannot hold the secret {{{name}}}"));
        }
    };
    for param in &provider.params {
        if let Some(default) = &param.default {
            note(&["params", &param.name, "default"], default);
        }
        for (choice, set) in &param.sets {
            for (name, template) in set {
                note(&["params", &param.name, "choices", choice, name], template);
            }
        }
    }
    for grant in &provider.grants {
        for (name, template) in &grant.defaults {
            note(&["grants", &grant.name, "defaults", name], template);
        }
    }
    for host in provider.usage.hosts.iter().flatten() {
        host_of(at, &["use", "hosts"], provider, host);
    }
}

/// Checks the URLs of `grant` that are no requests' own.
pub(super) fn grant(at: &Places, provider: &Provider, grant: &Grant) {
    for (url, place) in [
        (&grant.push, &["grants", &grant.name, "push"][..]),
        (&grant.device.page, &["grants", &grant.name, "device", "page"]),
    ] {
        if let Some(url) = url {
            host_of(at, place, provider, url);
        }
    }
}

/// Checks the host in the URL of `call`.
pub(super) fn url(at: &Places, place: &[&str], provider: &Provider, call: &Call) {
    if call.url.literal() == Some("") && at.has(place) {
        at.note(place, "`url` must not be empty");
    }
    host_of(at, place, provider, &call.url);
}

/// A host is in every error and every log of names that were looked up.
fn host_of(at: &Places, place: &[&str], provider: &Provider, url: &Template) {
    let mut begins = true;
    for piece in &url.0 {
        match piece {
            Piece::Text(text) => {
                let authority = text.split_once("://").filter(|_| begins).map_or(text.as_str(), |(_, rest)| rest);
                let end = authority.find(['/', '?', '#']);
                if authority[..end.unwrap_or(authority.len())].contains('@') {
                    at.note(place, "a URL must not have a user name (`@`)");
                }
                if end.is_some() {
                    return;
                }
            }
            Piece::Value { name, or, .. } => {
                for name in [Some(name), or.as_ref()].into_iter().flatten() {
                    if provider.param(name).is_some_and(|param| param.secret) {
                        at.note(place, format!("the host of a URL is no secret: it cannot hold {{{name}}}"));
                    } else if !begins && is_url(provider, name) {
                        at.note(place, format!("{{{name}}} is a whole URL: nothing can stand before it"));
                    }
                }
            }
            Piece::Made { .. } => return,
        }
        begins = false;
    }
}

/// Whether what a login finds as `name` is a URL. (`as = "host"` makes it one.)
fn is_url(provider: &Provider, name: &str) -> bool {
    let kept = provider.grants.iter().flat_map(Grant::keeps);
    kept.filter(|kept| kept.name == name).any(|kept| kept.shape != Shape::Text)
}

#[cfg(test)]
mod tests {
    use crate::provider::Provider;

    fn said(text: &str) -> String {
        let params =
            "[params.key]\nsecret = true\n[params.tenant]\n[params.base_url]\ndefault = \"https://a.example\"\n";
        let (_, findings) = Provider::check("t", "t.toml", &format!("{params}{text}"));
        findings.iter().map(|error| format!("{error}\n")).collect()
    }

    #[test]
    fn a_plain_value_holds_no_secret() {
        let grant = "[grants.g]\nurl = \"{base_url}/t\"\nbody = { k = \"{key}\", x = \"{x?}\" }\n";
        for params in [
            "[params.x]\ndefault = \"x-{key}\"\n",
            "[params.x]\ndefault = \"{y}\"\n[params.y]\ndefault = \"{tenant|key}\"\n",
            "[params.x]\n[params.y]\nchoices = { a = { x = \"{key}\" } }\n",
        ] {
            assert!(said(&format!("{params}{grant}")).contains("cannot hold the secret {key}"), "{params}");
        }
        let own = format!("[params.x]\n{grant}defaults = {{ x = \"{{key}}\" }}\n");
        assert!(said(&own).contains("cannot hold the secret {key}"));
        assert_eq!(said(&format!("[params.x]\ndefault = \"{{tenant}}\"\n{grant}")), "");
    }

    #[test]
    fn a_host_holds_no_secret_and_no_whole_url() {
        let url = |url: &str| said(&format!("[grants.g]\nurl = \"{url}\"\nbody = {{ k = \"{{key}}\" }}\n"));
        for fine in ["https://{tenant}.a.example/{key}", "{base_url}/{key}", "{base_url}?a=b@c", "https://a.example/@x"]
        {
            assert_eq!(url(fine), "", "{fine}");
        }
        for wrong in ["https://{key}.a.example/t", "https://{tenant|key}.example", "{key}/t", "{base_url}.{key}/t"] {
            assert!(url(wrong).contains("cannot hold {key}"), "{wrong}: {}", url(wrong));
        }
        assert!(url("{base_url}@evil.example").contains("must not have a user name"));
        assert!(url("").contains("must not be empty"));
        let hosts = "[grants.g]\nurl = \"{base_url}/t\"\nbody = { k = \"{key}\" }\n[use]\nhosts = [\"{key}\"]\n";
        assert!(said(hosts).contains("cannot hold {key}"));
        let step = |url: &str| {
            format!(
                "[grants.g]\nurl = \"{url}\"\nbody = {{ k = \"{{key}}\" }}\n[[grants.g.steps]]\n\
                 url = \"{{base_url}}/s\"\nkeep = {{ srv = {{ at = \"/srv\", as = \"host\" }} }}\n"
            )
        };
        assert_eq!(said(&step("{srv}/t")), "");
        assert!(said(&step("https://{srv}/t")).contains("{srv} is a whole URL"));
    }

    #[test]
    fn a_first_request_needs_a_flow() {
        let text =
            "[grants.g]\nurl = \"{base_url}/t\"\n[grants.g.begin]\nurl = \"{base_url}/b\"\nbody = { k = \"{key}\" }\n";
        assert!(said(text).contains("`begin` requires `flow`"));
    }

    #[test]
    fn plain_mistakes_are_told() {
        let grant = "[grants.g]\nurl = \"{base_url}/t\"\nbody = { k = \"{key}\" }\n";
        for (top, rest, says) in [
            ("docs = \"javascript:alert(1)\"", "", "begins with https://"),
            ("register = \"http://a.example\"", "", "begins with https://"),
            ("featured = -1", "", "from 0 on"),
            ("limits = [{ requests = 1, within = \"0s\" }]", "", "from 1s to 366d"),
            ("limits = [{ requests = 1, within = \"99999d\" }]", "", "from 1s to 366d"),
            ("", "[params.x]\nchoices = []\n", "one choice at least"),
            ("", "[params.x]\nchoices = {}\n", "one choice at least"),
            ("", "headers = { X-A = \"1\", x-a = \"2\" }\n", "stands here twice"),
            ("", "[response]\nsuccess = [{ at = \"/a\", in = [] }]\n", "one value at least"),
            ("", "[response]\nrefused = [{ at = \"/a\", not-in = [] }]\n", "one value at least"),
            ("", "[use]\nheader = \"Host\"\n", "belongs to the connection"),
        ] {
            let params = "[params.key]\nsecret = true\n[params.base_url]\ndefault = \"https://a.example\"\n";
            let (_, findings) = Provider::check("t", "t.toml", &format!("{top}\n{params}{grant}{rest}"));
            let said: String = findings.iter().map(|error| format!("{error}\n")).collect();
            assert!(said.contains(says), "{top}{rest}: {said}");
        }
    }
}
