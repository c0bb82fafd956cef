//! Checks what stands in the host of a URL.

use super::Places;
use crate::provider::template::Piece;
use crate::provider::{Call, Grant, Provider, Shape, Template};

/// Checks the URLs of `grant` that are no requests' own.
pub(super) fn grant(at: &Places, provider: &Provider, grant: &Grant) {
    for (url, place) in [
        (&grant.push, &["grants", &grant.name, "push"][..]),
        (&grant.device.page, &["grants", &grant.name, "device", "page"]),
    ] {
        if let Some(url) = url {
            whole_urls(at, place, provider, url);
        }
    }
}

/// Checks the host in the URL of `call`.
pub(super) fn request(at: &Places, place: &[&str], provider: &Provider, call: &Call) {
    if call.url.literal() == Some("") && at.has(place) {
        at.note(place, "`url` must not be empty");
    }
    whole_urls(at, place, provider, &call.url);
}

/// The values in the host of `url`, and whether each begins it.
pub(super) fn in_host(url: &Template) -> Vec<(&str, bool)> {
    let mut names = Vec::new();
    for (at, piece) in url.0.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let rest = text.split_once("://").filter(|_| at == 0).map_or(text.as_str(), |(_, rest)| rest);
                if rest.contains(['/', '?', '#']) {
                    break;
                }
            }
            Piece::Value { name, or, .. } => {
                names.extend([Some(name), or.as_ref()].into_iter().flatten().map(|name| (name.as_str(), at == 0)));
            }
            Piece::Made { .. } => break,
        }
    }
    names
}

fn whole_urls(at: &Places, place: &[&str], provider: &Provider, url: &Template) {
    for (name, _) in in_host(url).into_iter().filter(|(name, begins)| !begins && is_url(provider, name)) {
        at.note(place, format!("{{{name}}} is a whole URL: nothing can stand before it"));
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
    fn a_host_is_no_whole_url() {
        let step = |url: &str| {
            format!(
                "[grants.g]\nurl = \"{url}\"\nbody = {{ k = \"{{key}}\" }}\n[[grants.g.steps]]\n\
                 url = \"{{base_url}}/s\"\nkeep = {{ srv = {{ at = \"/srv\", as = \"host\" }} }}\n"
            )
        };
        assert_eq!(said(&step("{srv}/t")), "");
        assert!(said(&step("https://{srv}/t")).contains("{srv} is a whole URL"));
        assert!(said("[grants.g]\nurl = \"\"\n").contains("must not be empty"));
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
