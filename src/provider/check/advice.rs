//! What a provider file is better off without, though it works: told to its author, and to nobody else.

use super::Places;
use crate::provider::{Auth, Call, Encode, Method, Param, Provider, Template, template::Piece};
use std::collections::BTreeSet;
use std::ops::Range;

/// Notes what the author of `provider` should look at. What the file has from the provider that it is like is not its own.
pub fn advice(at: &Places, provider: &Provider) {
    let calls = calls(at, provider);
    let proofs: BTreeSet<&str> = calls.iter().flat_map(|(_, call)| proof(call)).collect();
    for param in provider.params.iter().filter(|param| !param.secret) {
        let place = ["params", param.name.as_str()];
        // Whoever writes `secret = false` has thought of it.
        if !at.has(&place) || at.has(&["params", &param.name, "secret"]) {
            continue;
        }
        let is_told = match proofs.contains(param.name.as_str()) {
            true => "is sent as the client's secret",
            false if is_called_secret(param) => "looks like a secret",
            false => continue,
        };
        at.note(
            &place,
            format!(
                "`{}` {is_told} but is a plain value: add `secret = true`, or `secret = false` if it is not one",
                param.name
            ),
        );
    }
    for (place, call) in &calls {
        let own = |key: &str| place.own(at, key);
        let place_of = |keys: &[&str]| keys.iter().find_map(|key| own(key));
        if let (Some(Piece::Text(_)), Some(span)) = (call.url.0.first(), own("url")) {
            at.doc.note(at.doc.error(span, NO_VALUE));
        }
        if call.method == Method::Get
            && has_body(call)
            && let Some(span) = place_of(&["body", "encode", "method"])
        {
            at.doc.note(at.doc.error(span, "a GET with a body, which many servers ignore: write `encode = \"query\"`"));
        }
    }
    for (key, call) in [("revoke", &provider.revoke), ("introspect", &provider.introspect)] {
        let has_token = |call: &Call| TOKENS.iter().any(|token| call.names().contains_key(*token));
        if call.as_ref().is_some_and(|call| !has_token(call)) && at.has(&[key]) {
            at.note(&[key], "never sent: it has neither {refresh_token} nor {access_token}");
        }
    }
    for grant in &provider.grants {
        let place = ["grants", grant.name.as_str(), "push"];
        let is_fixed = |push: &Template| matches!(push.0.first(), Some(Piece::Text(_)));
        if grant.push.as_ref().is_some_and(is_fixed) && at.has(&place) {
            at.note(&place, NO_VALUE);
        }
    }
}

/// The values that a session is revoked and asked about by.
const TOKENS: [&str; 2] = ["refresh_token", "access_token"];

/// What is said of a URL that is the same for everybody.
const NO_VALUE: &str = "this URL does not start with a value, so a test server cannot take its place: write \
                        `{base_url}/…`, with `default = \"https://…\"` in [params.base_url]";

/// Where a request stands in the file: a path of keys, and behind it the place in a list.
struct Place<'p> {
    keys: Vec<&'p str>,
    item: Option<usize>,
    /// Whether what is not here stands in `[request]`.
    is_shared: bool,
}

impl Place<'_> {
    /// Where the file has `key` of this request.
    fn own(&self, at: &Places, key: &str) -> Option<Range<usize>> {
        let shared = ["request", key];
        let is_here =
            |span: Option<Range<usize>>| span.or_else(|| (self.is_shared && at.has(&shared)).then(|| at.span(&shared)));
        let here = match self.item {
            None => {
                let path = [&self.keys[..], &[key]].concat();
                at.has(&path).then(|| at.span(&path))
            }
            Some(item) => {
                let (first, rest) = self.keys.split_first()?;
                let list = rest
                    .iter()
                    .try_fold(at.root.look(first)?, |value, key| value.table().ok()?.look(key))
                    .map(|v| v.list());
                let item = list?.ok()?.into_iter().nth(item)?;
                item.table().ok()?.look(key).map(|value| value.span())
            }
        };
        is_here(here)
    }
}

/// The requests of `provider`, each with its place.
fn calls<'p>(at: &Places, provider: &'p Provider) -> Vec<(Place<'p>, &'p Call)> {
    let mut all = Vec::new();
    for grant in &provider.grants {
        let keys = vec!["grants", grant.name.as_str()];
        // One of the provider that the file is like, with its steps.
        if !at.has(&keys) && !at.has(&["request"]) {
            continue;
        }
        let begin = grant
            .begin
            .iter()
            .map(|call| (Place { keys: [&keys[..], &["begin"]].concat(), item: None, is_shared: false }, call));
        let steps = grant.steps.iter().enumerate().map(|(item, step)| {
            (Place { keys: [&keys[..], &["steps"]].concat(), item: Some(item), is_shared: true }, &step.call)
        });
        all.extend(begin.chain(steps));
        all.push((Place { keys, item: None, is_shared: true }, &grant.call));
    }
    let others = [("revoke", &provider.revoke), ("introspect", &provider.introspect), ("userinfo", &provider.userinfo)];
    for (key, call) in others {
        all.extend(call.iter().map(|call| (Place { keys: vec![key], item: None, is_shared: false }, call)));
    }
    all
}

/// The values that `call` sends as the client's secret.
fn proof(call: &Call) -> Vec<&str> {
    let sends = matches!(call.auth, Auth::Auto | Auth::Basic | Auth::BasicRaw | Auth::Post | Auth::ClientSecretJwt);
    match &call.client {
        Some(client) if sends => client.secret.names().map(|(name, _)| name).collect(),
        None if sends => vec!["client_secret"],
        _ => Vec::new(),
    }
}

/// Whether the name of `param` says that it is a secret, and nothing about one, such as its ID.
fn is_called_secret(param: &Param) -> bool {
    const SECRETS: [&str; 7] = ["secret", "password", "passwd", "passphrase", "api_key", "apikey", "private_key"];
    const ABOUT: [&str; 8] = ["_id", "_name", "_type", "_url", "_path", "_label", "_version", "_alg"];
    let name = param.name.as_str();
    SECRETS.iter().any(|word| name.contains(word)) && !ABOUT.iter().any(|end| name.ends_with(end))
}

/// Whether something is sent as the body of `call`.
fn has_body(call: &Call) -> bool {
    let is_written = !matches!(call.encode, Encode::Query | Encode::None);
    is_written && !(call.body.is_empty() && matches!(call.auth, Auth::None | Auth::Basic | Auth::BasicRaw))
}

#[cfg(test)]
mod tests {
    use crate::provider::Provider;

    /// What is said of a file, with its place.
    fn said(text: &str) -> Vec<String> {
        let (provider, wrong) = Provider::check("t", "t.toml", text);
        assert!(wrong.is_empty(), "{wrong:?}");
        provider.advice("t.toml", text).iter().map(ToString::to_string).collect()
    }

    const GRANT: &str = "[params.u]\ndefault = \"https://a.example\"\n[grants.g]\nurl = \"{u}/t\"\n";

    #[test]
    fn what_is_called_a_secret_is_one() {
        for name in ["secret", "client_secret", "password", "user_passwd", "api_key", "apikey", "private_key_pem"] {
            let said = said(&format!("[params.{name}]\n{GRANT}"));
            assert!(
                said.len() == 1 && said[0].starts_with(&format!("t.toml:1:1: `{name}` looks like a secret")),
                "{said:?}"
            );
        }
        for fine in [
            "secret_id",
            "private_key_id",
            "password_url",
            "key",
            "secret]\nsecret = true\n[params.x",
            "secret]\nsecret = false\n[params.x",
        ] {
            assert_eq!(said(&format!("[params.{fine}]\n{GRANT}")), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn what_proves_a_client_is_one() {
        let text = format!(
            "[params.name]\n[params.pin]\n{GRANT}auth = {{ method = \"basic\", id = \"{{name}}\", secret = \"{{pin}}\" }}\n"
        );
        let said_ = said(&text);
        assert!(
            said_.len() == 1 && said_[0].starts_with("t.toml:2:1: `pin` is sent as the client's secret"),
            "{said_:?}"
        );
        let text = format!("[params.client_id]\n[params.client_secret]\n{GRANT}auth = \"post\"\n");
        assert!(said(&text)[0].starts_with("t.toml:2:1: `client_secret` is sent as the client's secret"));
    }

    #[test]
    fn a_url_begins_with_a_value() {
        let url = "this URL does not start with a value";
        let places = |text: &str| -> Vec<String> {
            said(text)
                .into_iter()
                .map(|one| one.split_once(&format!(": {url}")).expect("of the URL").0.into())
                .collect()
        };
        assert_eq!(places("[request]\nurl = \"https://a.example\"\n[grants.a]\n[grants.b]\n"), ["t.toml:2:7"]);
        let steps = format!(
            "{GRANT}[[grants.g.steps]]\nurl = \"{{u}}/a\"\n[[grants.g.steps]]\nurl = \"https://a.example\"\n\
             [revoke]\nurl = \"https://a.example/r\"\nbody = {{ t = \"{{access_token}}\" }}\n"
        );
        assert_eq!(places(&steps), ["t.toml:8:7", "t.toml:10:7"]);
        let like = "like = \"oidc\"\n[grants.device-code.begin]\nurl = \"https://a.example/d\"\n[grants.authorization-code]\npush = \"https://a.example\"\n";
        assert_eq!(places(like), ["t.toml:3:7", "t.toml:5:8"]);
        assert_eq!(said("like = \"oidc\"\n[grants.device-code]\n"), Vec::<String>::new());
    }

    #[test]
    fn what_revokes_names_a_token() {
        let revoke = |rest: &str| said(&format!("{GRANT}[revoke]\nurl = \"{{u}}/r\"\n{rest}"));
        assert_eq!(revoke(""), ["t.toml:5:1: never sent: it has neither {refresh_token} nor {access_token}"]);
        assert_eq!(revoke("headers = { A = \"{access_token}\" }\n"), Vec::<String>::new());
    }

    #[test]
    fn a_get_has_no_body() {
        let get = |rest: &str| said(&format!("[params.client_id]\n{GRANT}method = \"GET\"\n{rest}"));
        for (rest, place) in [
            ("body = { a = \"b\" }\n", "t.toml:7:8"),
            ("encode = \"json\"\nbody = { a = \"b\" }\n", "t.toml:8:8"),
            ("auth = \"none\"\nencode = \"json\"\nbody = { a = 1 }\n", "t.toml:9:8"),
        ] {
            let said = get(rest);
            assert!(said.len() == 1 && said[0].starts_with(&format!("{place}: a GET with a body")), "{said:?}");
        }
        for fine in ["", "query = { a = \"b\" }\n", "encode = \"query\"\nbody = { a = \"b\" }\n", "encode = \"none\"\n"]
        {
            assert_eq!(get(fine), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn nothing_is_to_be_said_of_a_built_in_provider() {
        for one in crate::provider::built_in() {
            let (provider, wrong) = Provider::check(one.name, one.name, one.text);
            let advice = provider.advice(one.name, one.text);
            assert!(wrong.is_empty() && advice.is_empty(), "{advice:?}");
        }
    }
}
