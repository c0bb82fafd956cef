//! Checks that no secret becomes part of what is shown, or of what a name server is asked for.

use super::urls::in_host;
use super::{Places, calls};
use crate::provider::template::Piece;
use crate::provider::{Provider, Template};

/// Checks what is plain for secrets in it.
pub(super) fn secrets(at: &Places, provider: &Provider) {
    let is_secret = |name: &str| provider.param(name).is_some_and(|param| param.secret);
    let plain = |place: &[&str], template: &Template| {
        for (name, _) in template.names().filter(|(name, _)| is_secret(name)) {
            at.note(place, format!("`{name}` is a secret, and this is shown: a plain value cannot contain it"));
        }
    };
    for param in provider.params.iter().filter(|param| !param.secret) {
        if let Some(default) = &param.default {
            plain(&["params", &param.name, "default"], default);
        }
        for (choice, set) in &param.sets {
            for (name, template) in set {
                plain(&["params", &param.name, "choices", choice, name], template);
            }
        }
    }
    for grant in &provider.grants {
        for (name, template) in &grant.defaults {
            plain(&["grants", &grant.name, "defaults", name], template);
        }
    }
    for host in provider.usage.hosts.iter().flatten() {
        plain(&["use", "hosts"], host);
    }
    let in_urls = |place: &[&str], url: &Template| {
        for (name, _) in in_host(url).into_iter().filter(|(name, _)| is_secret(name)) {
            let why =
                format!("`{name}` is a secret: a host is shown, and every name server on the way is asked for it");
            at.note(place, why);
        }
    };
    for grant in &provider.grants {
        let others = [(&grant.push, &["push"][..]), (&grant.device.page, &["device", "page"])];
        for (url, key) in others {
            url.iter().for_each(|url| in_urls(&[&["grants", grant.name.as_str()], key].concat(), url));
        }
    }
    for (mut place, call) in calls(provider) {
        place.push("url");
        in_urls(&place, &call.url);
        if let [Piece::Value { .. }, Piece::Text(text), ..] = call.url.0.as_slice()
            && !text.starts_with(['/', '?', '#'])
        {
            at.note(&place, "expected `/` or `?` behind the value that begins this URL");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::Provider;

    fn error(params: &str, grant: &str) -> String {
        let text = format!(
            "{params}\n[params.key]\nsecret = true\n[params.base_url]\n[grants.g]\nbody = {{ k = \"{{key}}\" }}\n{grant}\n"
        );
        let (_, findings) = Provider::check("t", "t.toml", &text);
        findings.iter().map(|error| format!("{error}\n")).collect()
    }

    #[test]
    fn no_plain_value_is_made_of_a_secret() {
        let url = "url = \"{base_url}\"";
        for params in [
            "[params.r]\ndefault = \"x-{key}\"",
            "[params.r]\nchoices = { a = { s = \"{key}\" } }\n[params.s]",
            "[params.r]\ndefault = \"{s}\"\n[params.s]\ndefault = \"{base64(key)}\"",
            "[use]\nhosts = [\"{key}.example\"]",
        ] {
            let error = error(params, url);
            assert!(error.contains("`key` is a secret, and this is shown"), "{params}: {error}");
        }
        let error = error("[params.r]", &format!("{url}\ndefaults = {{ r = \"{{key}}\" }}"));
        assert!(error.contains("`key` is a secret, and this is shown"), "{error}");
    }

    #[test]
    fn no_secret_is_part_of_a_host() {
        for url in ["https://{key}.example/t", "https://a.{key}", "{key}/t", "https://a.example:{key}?x"] {
            let error = error("", &format!("url = \"{url}\""));
            assert!(error.contains("`key` is a secret: a host is shown"), "{url}: {error}");
        }
        for url in ["https://a.example/{key}/t", "{base_url}/{key}", "https://a.example?{key}"] {
            assert_eq!(error("", &format!("url = \"{url}\"")), "", "{url}");
        }
        let pushed = "flow = \"authorization-code\"\nurl = \"{base_url}/t\"\npush = \"https://{key}.example/p\"\n[grants.g.begin]\nurl = \"{base_url}/a\"";
        assert!(error("", pushed).contains("`key` is a secret: a host is shown"), "{}", error("", pushed));
        for url in ["{base_url}@evil.example", "{base_url}.evil.example/x"] {
            let error = error("", &format!("url = \"{url}\""));
            assert!(error.contains("expected `/` or `?` behind the value"), "{url}: {error}");
        }
    }
}
