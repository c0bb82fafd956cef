//! What programs read: the shapes that the contract fixes.

use crate::support::apiax::{self, Apiax};
use crate::support::purewl::{self, PureWl};
use crate::support::server::Server;
use crate::support::xcover::XCover;
use crate::support::{CANARY, Output, Sandbox, now, plain, plain_provider, until};
use serde_json::{Value, json};

/// The names of an object's members, sorted.
fn names(object: &Value) -> Vec<&str> {
    let object = object.as_object().unwrap_or_else(|| panic!("no object: {object}"));
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Seconds since 1970 of an RFC 3339 time in UTC, without a library that `tok` uses too.
pub fn epoch(text: &str) -> i64 {
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().unwrap_or_else(|_| panic!("no time: {text}"));
    assert!(text.ends_with('Z') && text.as_bytes()[10] == b'T', "not RFC 3339 in UTC: {text}");
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days since 1970 by the civil calendar, March the first month.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    days * 86_400 + number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19)
}

fn has(object: &Value, wanted: &[&str]) {
    let names = names(object);
    for name in wanted {
        assert!(names.contains(name), "{name} is missing: {object}");
    }
}

const GET: [&str; 12] = [
    "profile",
    "provider",
    "grant",
    "access_token",
    "token_type",
    "expires_at",
    "expires_at_unix",
    "expires_in",
    "scope",
    "header",
    "source",
    "extra",
];

#[test]
fn get_json_has_every_field_of_the_contract() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let reply = sandbox.run("get purewl -o json").silent().json();
    has(&reply, &GET);
    assert_eq!(reply["profile"], "purewl");
    assert_eq!(reply["provider"], "purewl");
    assert_eq!(reply["grant"], "secret");
    let token = reply["access_token"].as_str().unwrap();
    assert_eq!(sandbox.run("get purewl").line(), token);
    assert_eq!(reply["header"], json!({"name": "X-AccessToken", "value": token}));
    assert_eq!(reply["source"], "cache");
    assert!(reply["scope"].is_null());
    assert_eq!(reply["extra"]["reseller_id"], json!("443"), "as it comes");
    assert_eq!(reply["extra"]["reseller_uid"], json!("res_5f3c2a1b9d8e7"));
    let unix = reply["expires_at_unix"].as_i64().unwrap();
    assert_eq!(epoch(reply["expires_at"].as_str().unwrap()), unix);
    assert!((now() + 3580..=now() + 3600).contains(&unix), "{reply}");
    let left = reply["expires_in"].as_i64().unwrap();
    assert!((3580..=3600).contains(&left), "{reply}");
}

#[test]
fn source_tells_grant_refresh_and_cache() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    let source = |line: &str| sandbox.run(line).json()["source"].clone();
    assert_eq!(source("get purewl --json"), "grant");
    assert_eq!(source("get purewl --json"), "cache");
    assert_eq!(source("get purewl --json --fresh"), "refresh");
    assert_eq!(source("get purewl --json --offline"), "cache");
}

#[test]
fn json_of_a_bearer_token() {
    let xcover = XCover::start();
    let sandbox = xcover.sandbox_with_client();
    let reply = sandbox.run("get xcover --json").json();
    has(&reply, &GET);
    let token = reply["access_token"].as_str().unwrap();
    assert_eq!(reply["header"], json!({"name": "Authorization", "value": format!("Bearer {token}")}));
    assert_eq!(reply["token_type"], "Bearer");
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let reply = sandbox.run("get apiax --json").json();
    assert_eq!(reply["scope"], "profile email");
    assert_eq!(reply["extra"]["session_state"], "6a1b8c0e-3f53-4b0e-9c42-1d1a8a8d9f10");
    assert!(!reply.to_string().contains(&format!("rt-{CANARY}")), "no refresh token in an answer");
}

#[test]
fn a_profile_under_another_name_has_both_names() {
    let purewl = PureWl::start();
    let sandbox = Sandbox::with_file_store();
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox
        .tok(["login", "purewl", "secret", "--as", "shop", "--base-url", &purewl.server.url()])
        .args(["--secret-key-file", &key])
        .run()
        .prints("");
    let reply = sandbox.run("get shop --json").json();
    assert_eq!((&reply["profile"], &reply["provider"]), (&json!("shop"), &json!("purewl")));
}

#[test]
fn json_is_one_line_or_more_and_nothing_else() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    for line in ["get purewl --json", "list --json", "providers --json", "show purewl --json"] {
        let out = sandbox.run(line).ok();
        assert!(out.stdout.ends_with('\n'), "{out}");
        out.json();
    }
}

const LIST: [&str; 7] =
    ["profile", "provider", "grant", "access_expires_at", "refresh_token", "refresh_expires_at", "store"];

fn entry<'a>(list: &'a Value, profile: &str) -> &'a Value {
    let list = list.as_array().unwrap_or_else(|| panic!("no array: {list}"));
    let found = list.iter().find(|e| e["profile"] == profile);
    found.unwrap_or_else(|| panic!("{profile} is not listed: {list:?}"))
}

#[test]
fn list_json_has_what_is_kept_and_what_is_configured() {
    let (purewl, xcover, apiax) = (PureWl::start(), XCover::start(), Apiax::start());
    let mut sandbox = purewl.logged_in();
    sandbox.set("TOK_XCOVER_BASE_URL", xcover.server.url()).set("TOK_APIAX_BASE_URL", apiax.server.url());
    apiax::login(&sandbox);
    sandbox.config("[profile.shop]\nprovider = \"xcover\"\n");
    let list = sandbox.run("list --json").silent().json();
    for profile in ["purewl", "apiax", "shop"] {
        has(entry(&list, profile), &LIST);
    }
    let purewl = entry(&list, "purewl");
    assert_eq!((&purewl["provider"], &purewl["refresh_token"]), (&json!("purewl"), &json!(true)));
    assert_eq!(purewl["store"], "file");
    let at = epoch(purewl["access_expires_at"].as_str().unwrap());
    assert!((now() + 3580..=now() + 3600).contains(&at), "{purewl}");
    assert!(purewl["refresh_expires_at"].is_null());
    let apiax = entry(&list, "apiax");
    let at = epoch(apiax["refresh_expires_at"].as_str().unwrap());
    let days = 14 * 86_400;
    assert!((now() + days - 20..=now() + days).contains(&at), "14 days from the login: {apiax}");
    let shop = entry(&list, "shop");
    assert_eq!((&shop["refresh_token"], &shop["access_expires_at"]), (&json!(false), &json!(null)));
}

#[test]
fn refresh_lifetime_counts_from_the_login_not_from_each_refresh() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let at = |sandbox: &Sandbox| entry(&sandbox.run("list --json").json(), "apiax")["refresh_expires_at"].clone();
    let first = at(&sandbox);
    let start = now();
    until("a second has passed", || now() > start + 1);
    sandbox.run("get apiax --fresh").line();
    assert_eq!(at(&sandbox), first);
}

#[test]
fn list_is_empty_where_nothing_is() {
    let sandbox = Sandbox::with_file_store();
    assert_eq!(sandbox.run("list --json").silent().json(), json!([]));
    sandbox.run("list").ok();
    assert!(sandbox.files().is_empty());
}

#[test]
fn list_opens_no_keyring_and_shows_no_secret() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.logged_in();
    sandbox.set("TOK_STORE", "keyring");
    let out = sandbox.run("list").ok().silent();
    assert!(out.stdout.contains("purewl"), "{out}");
    assert!(!out.stdout.contains(CANARY), "{out}");
    let out = sandbox.run("list --json").ok();
    assert!(!out.stdout.contains(CANARY), "{out}");
}

#[test]
fn list_forgets_what_was_logged_out() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    sandbox.run("logout purewl").prints("");
    let list = sandbox.run("list --json").json();
    let left = list.as_array().unwrap().iter().find(|e| e["profile"] == "purewl");
    assert!(left.is_none_or(|e| e["refresh_token"] == false && e["access_expires_at"].is_null()), "{list}");
}

#[test]
fn providers_json_has_name_title_and_grants() {
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider("https://a.example", ""));
    let all = sandbox.run("providers --json").silent().json();
    let all = all.as_array().unwrap();
    for (name, grants) in [
        ("purewl", &["secret", "refresh"][..]),
        ("xcover", &["client-credentials"]),
        ("elasticpath", &["client-credentials", "implicit"]),
        ("apiax", &["password", "refresh"]),
        ("plain", &["client-credentials", "refresh"]),
    ] {
        let provider = all.iter().find(|p| p["name"] == name).unwrap_or_else(|| panic!("{name}: {all:?}"));
        assert!(!provider["title"].as_str().unwrap().is_empty());
        let text = provider["grants"].to_string();
        for grant in grants {
            assert!(text.contains(&format!("\"{grant}\"")), "{name} {grant}: {text}");
        }
        assert_eq!(provider["grants"].as_array().unwrap().len(), grants.len(), "{text}");
    }
    let one = sandbox.run("providers purewl --json").json();
    assert!(one.to_string().contains("secret_key"), "{one}");
    sandbox.run("providers nonsense").fails(3);
}

#[test]
fn providers_say_grants_values_and_docs() {
    let sandbox = Sandbox::with_file_store();
    let out = sandbox.run("providers").ok().silent();
    for name in ["purewl", "xcover", "elasticpath", "apiax"] {
        assert!(out.stdout.contains(name), "{out}");
    }
    let out = sandbox.run("providers purewl").ok().silent();
    for text in ["secret", "refresh", "secret_key", "base_url", "https://www.purewl.com"] {
        assert!(out.stdout.contains(text), "{text}: {out}");
    }
}

#[test]
fn providers_toml_is_a_file_that_works_as_a_user_s_own() {
    let server = Server::issuing(600);
    for name in ["purewl", "xcover", "elasticpath", "apiax"] {
        let sandbox = Sandbox::with_file_store();
        let text = sandbox.run(&format!("providers {name} --toml")).ok().silent().stdout;
        assert!(text.contains("[response]") || text.contains("[grants."), "{text}");
        sandbox.provider("mine", &text);
        sandbox.run("providers mine").ok().silent();
        sandbox.run("get mine").fails(4);
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn show_says_where_values_come_from_and_never_a_secret() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let out = sandbox.run("show purewl").ok().silent();
    assert!(!out.stdout.contains(CANARY), "{out}");
    for text in ["secret_key", "base_url", &purewl.server.url(), "TOK_PUREWL_BASE_URL"] {
        assert!(out.stdout.contains(text), "{text}: {out}");
    }
    let out = sandbox.run("show purewl --json").ok().silent();
    assert!(!out.stdout.contains(CANARY), "{out}");
    let reply = out.json();
    assert_eq!((&reply["profile"], &reply["provider"]), (&json!("purewl"), &json!("purewl")));
    let out = sandbox.tok(["show", "purewl"]).env("TOK_PUREWL_SECRET_KEY", purewl::secret_key()).run().ok();
    assert!(out.stdout.contains("TOK_PUREWL_SECRET_KEY") && !out.stdout.contains(CANARY), "{out}");
}

#[test]
fn show_decodes_a_jwt_and_never_calls_it_verified() {
    let xcover = XCover::start();
    let sandbox = xcover.sandbox_with_client();
    sandbox.run("get xcover").line();
    let out: Output = sandbox.run("show xcover").ok();
    assert!(out.stdout.contains("f31120ee-b5cb-41c4-9529-288d02e91cd6"), "the partner_id claim: {out}");
    assert!(!out.stdout.contains("verified") || out.stdout.contains("not verified"), "{out}");
    assert!(!out.stdout.contains(CANARY), "nothing that could be used: {out}");
    let reply = sandbox.run("show xcover --json").json();
    assert!(reply.to_string().contains("f31120ee-b5cb-41c4-9529-288d02e91cd6"), "{reply}");
}

#[test]
fn show_escapes_what_a_jwt_says() {
    let token = crate::support::xcover::jwt(&json!({"exp": now() + 600, "name": "\u{1b}[31mred\u{202e}\r\n"}));
    let server = Server::always(crate::support::server::Reply::token(&token, 600));
    let sandbox = plain(&server.url());
    sandbox.run("get plain").line();
    let out = sandbox.run("show plain").ok();
    assert!(!out.stdout.contains(['\u{1b}', '\u{202e}', '\r']), "{out:?}");
}

#[test]
fn show_tells_when_a_user_s_file_hides_a_built_in() {
    let sandbox = Sandbox::with_file_store();
    let before = sandbox.run("show purewl").ok().stdout;
    let text = sandbox.run("providers purewl --toml").ok().stdout;
    let path = sandbox.provider("purewl", &text);
    let after = sandbox.run("show purewl").ok().stdout;
    assert_ne!(before, after);
    assert!(after.contains(path.file_name().unwrap().to_str().unwrap()), "{after}");
}
