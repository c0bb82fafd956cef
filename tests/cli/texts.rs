//! What the program says of one wrong thing at a time: each text by the program itself, with where it stands.

use crate::support::Sandbox;

/// A provider file in which nothing is wrong, before what a case adds.
const SOUND: &str = "title = \"x\"\n[params.base_url]\ndefault = \"https://a.example\"\n[params.client_id]\n\
                     [params.secret]\nsecret = true\n[grants.a]\nurl = \"{base_url}/t\"\nbody = { a = \"b\" }\n";

/// The beginning of another grant.
const GRANT: &str = "[grants.d]\nurl = \"{base_url}/r\"\n";

#[test]
fn each_mistake_in_a_provider_file_has_its_place_and_words() {
    let sandbox = Sandbox::new();
    let check = |text: &str| {
        let file = sandbox.file_arg("case.toml", text);
        sandbox.tok(["providers", "--check", &file]).run()
    };
    check(SOUND).ok();
    let refresh = "[grants.r]\nurl = \"{base_url}/r\"\nbody = { t = \"{refresh_token}\" }\n[refresh]\ngrant = \"r\"\n";
    let grant = |rest: &str| format!("{GRANT}{rest}");
    let signed = |rest: &str| {
        format!(
            "{GRANT}body = {{ assertion = \"{{assertion}}\" }}\nassertion = {{ {rest} }}\n[params.assertion]\nsecret = true\n"
        )
    };
    for (more, says) in [
        (format!("{refresh}fallback = \"r\""), "15:12: `fallback` must not be the same grant as `grant`"),
        ("[refresh]\ngrant = \"a\"".into(), "11:9: this grant uses neither {refresh_token} nor {access_token}"),
        ("[refresh]\nfallback = \"a\"".into(), "10:1: missing `grant`: the one that uses {refresh_token}"),
        (grant("encode = \"none\"\nbody = { t = \"x\" }"), "13:8: a body is not allowed with `encode = \"none\"`"),
        (grant("body = { t = [\"x\"] }"), "12:14: a list or a table can only be sent as JSON"),
        ("[grants.d]\nflow = \"signed\"".into(), "10:1: missing [grants.NAME.assertion]: what to sign"),
        ("[use]\nvalue = \"Bearer\"".into(), "11:9: the header's value must contain {access_token}"),
        ("[grants.d]\nurl = \"{base_url}/r#x\"".into(), "11:7: this URL must not have a fragment (`#`)"),
        (
            format!("[params.q]\ndefault = \"{{q}}\"\n{GRANT}query = {{ q = \"{{q}}\" }}"),
            "11:11: this default refers to itself",
        ),
        (
            grant("flow = \"device-code\""),
            "10:1: missing [grants.NAME.begin]: this flow begins with a separate request",
        ),
        (signed("lifetime = \"1m\""), "missing `claims`: the content of the assertion"),
        (signed("claims = { iat = \"x\" }"), "tok sets this claim itself; use `lifetime`, `backdate` and `jti`"),
        (
            signed("claims = { iss = \"x\" }, algorithm = \"HS256\""),
            "not an algorithm for a private key: expected RS256 or similar (RFC 7518 §3.1)",
        ),
        (grant("headers = { X = \"a\\nb\" }"), "12:11: a header value cannot contain a line break or NUL"),
        (grant("encode = \"json\"\nbody = { t = nan }"), "13:14: this number cannot be sent as JSON"),
        (
            "[response]\nsuccess = [{ at = \"/a\", status = [200], in = [1] }]".into(),
            "11:12: a test has either `status` or `at`, not both",
        ),
        ("[response]\nsuccess = [{ in = [1] }]".into(), "11:12: missing `at`: the JSON Pointer of the value to test"),
        ("[response]\nsuccess = [{ status = [9] }]".into(), "11:24: not an HTTP status (100 to 599)"),
        ("[response]\nexpires = [{ as = \"seconds\" }]".into(), "11:12: missing `at`: the JSON Pointer of the expiry"),
        (grant("body = { t = \"{x\" }"), "12:14: unclosed `{`; write `{{` for a literal brace"),
        (
            grant("defaults = { secret = \"x\" }"),
            "12:12: `secret` cannot have a default: it is a secret or not in [params]",
        ),
        (grant("more = \"client_id\""), "12:8: `client_id` must be a list in [params] and not a secret"),
    ] {
        check(&format!("{SOUND}{more}\n")).fails(3).says(says);
    }
}

#[test]
fn each_wrong_use_of_an_option_has_its_words() {
    let sandbox = Sandbox::new();
    for (line, says) in [
        ("get xcover --timeout 0", "must be at least 1s"),
        ("get xcover --json --json", "--json cannot be used more than once"),
        ("get --fresh=3 xcover", "--fresh does not take a value"),
        ("get xcover --offline --fresh", "cannot be used with"),
    ] {
        let out = sandbox.tok(line.split(' ')).run();
        assert!(out.stderr.contains(says) || out.stdout.contains(says), "{says}: {out}");
    }
}
