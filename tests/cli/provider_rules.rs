//! What a provider file can say about requests and replies, end to end.

use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, now, plain, plain_provider};
use serde_json::{Value, json};

/// A sandbox whose provider has this `[response]`, at a server that always says `reply`.
fn reading(response: &str, reply: Reply) -> (Server, Sandbox) {
    let server = Server::always(reply);
    let sandbox = plain(&server.url());
    sandbox.provider("plain", &plain_provider(&server.url(), &format!("[response]\n{response}\n")));
    (server, sandbox)
}

fn token() -> String {
    format!("at-{CANARY}")
}

/// What is left of a token whose reply says `value` at `/x`, which is read as `rule` says.
fn left(rule: &str, value: Value) -> Option<i64> {
    let expires = format!("expires = [{{ at = \"/x\", {rule} }}]");
    let (_server, sandbox) = reading(&expires, Reply::json(200, json!({"access_token": token(), "x": value})));
    sandbox.run("get plain --json").json()["expires_in"].as_i64()
}

#[track_caller]
fn about(found: Option<i64>, wanted: i64) {
    assert!(found.is_some_and(|n| (wanted - 15..=wanted + 1).contains(&n)), "{found:?} is not about {wanted}");
}

#[test]
fn every_unit_of_an_expiry_is_read() {
    about(left("as = \"seconds\"", json!(600)), 600);
    about(left("as = \"milliseconds\"", json!(600_000)), 600);
    about(left("as = \"minutes\"", json!(10)), 600);
    about(left("as = \"epoch\"", json!(now() + 600)), 600);
    about(left("as = \"epoch-millis\"", json!((now() + 600) * 1000)), 600);
    about(left("as = \"epoch\"", json!((now() + 600).to_string())), 600);
    about(left("as = \"auto\"", json!(600)), 600);
    about(left("as = \"auto\"", json!(now() + 600)), 600);
    about(left("as = \"auto\"", json!((now() + 600) * 1000)), 600);
    let at = jiff::Timestamp::from_second(now() + 600).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    let east = at.with_time_zone(jiff::tz::TimeZone::fixed(jiff::tz::offset(1)));
    for date in [
        at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        at.strftime("%Y-%m-%dT%H:%M:%S.123456789012Z"),
        east.strftime("%Y-%m-%dT%H:%M:%S.123456+01:00"),
        at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        at.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        at.strftime("%a %b %e %H:%M:%S %Y"),
    ] {
        about(left("as = \"date\"", json!(date.to_string())), 600);
    }
}

#[test]
fn zero_means_what_the_file_says() {
    assert_eq!(left("as = \"seconds\", zero = \"never\"", json!(0)), None);
    assert_eq!(left("as = \"seconds\", zero = \"unknown\"", json!(0)), None);
    let cached = |zero: &str| {
        let expires = format!("expires = [{{ at = \"/x\", as = \"seconds\", zero = \"{zero}\" }}]");
        let (server, sandbox) = reading(&expires, Reply::json(200, json!({"access_token": token(), "x": 0})));
        sandbox.run("get plain").line();
        sandbox.run("get plain").line();
        server.count() == 1
    };
    assert!(cached("never"));
    assert!(!cached("unknown"));
    assert!(!cached("now"));
}

#[test]
fn the_first_expiry_that_is_still_to_come_wins() {
    let rules = "expires = [{ at = \"/a\", as = \"epoch\" }, { at = \"/b\", as = \"seconds\" }, { at = \"/c\", as = \"seconds\" }]";
    let reply = json!({"access_token": token(), "a": 1_524_486_008, "b": 300, "c": 900});
    let (_server, sandbox) = reading(rules, Reply::json(200, reply));
    about(sandbox.run("get plain --json").json()["expires_in"].as_i64(), 300);
}

#[test]
fn lifetime_counts_where_the_reply_names_none() {
    let reply = || Reply::json(200, json!({"access_token": token()}));
    let (server, sandbox) = reading("lifetime = \"10m\"", reply());
    about(sandbox.run("get plain --json").json()["expires_in"].as_i64(), 600);
    sandbox.run("get plain").line();
    assert_eq!(server.count(), 1);
    let (server, sandbox) = reading("lifetime = \"unlimited\"", reply());
    assert!(sandbox.run("get plain --json").json()["expires_in"].is_null());
    sandbox.run("get plain --min-ttl 7d").line();
    assert_eq!(server.count(), 1);
}

#[test]
fn a_token_may_stand_in_a_header_or_be_the_whole_body() {
    let reply = Reply::json(201, json!({"token": {}})).header("X-Subject-Token", &token());
    let (_server, sandbox) = reading("access_token = { header = \"X-Subject-Token\" }", reply);
    assert_eq!(sandbox.run("get plain").line(), token());
    let (_server, sandbox) = reading("format = \"text\"", Reply::new(200, "text/plain", token()));
    assert_eq!(sandbox.run("get plain").line(), token());
    for bad in ["", "two words", "{\"error\": \"no\"}"] {
        let (_server, sandbox) = reading("format = \"text\"", Reply::new(200, "text/plain", bad));
        sandbox.run("get plain").fails_with_one_of(&[5, 8]);
    }
}

#[test]
fn a_page_is_no_token_where_the_whole_body_is_one() {
    for (kind, page) in [("text/html", "<html>no</html>"), ("text/html", "<!doctype html><html><p>Sign in</html>")] {
        let (_server, sandbox) = reading("format = \"text\"", Reply::new(200, kind, page));
        sandbox.run("get plain").fails(8);
    }
}

#[test]
fn pointers_are_tried_in_order_and_may_hold_slash_and_tilde() {
    let rules = "access_token = [\"/none\", \"/list/1/a~1b~0c\", \"/other\"]";
    let reply = json!({"none": "", "list": [1, {"a/b~c": token()}], "other": "wrong"});
    let (_server, sandbox) = reading(rules, Reply::json(200, reply));
    assert_eq!(sandbox.run("get plain").line(), token());
}

#[test]
fn every_success_test_must_hold() {
    let rules =
        "success = [{ at = \"/ok\", in = [true] }, { at = \"/code\", not-in = [0] }, { at = \"/id\", present = true }]";
    let reply = |ok: Value, code: Value, id: Value| {
        let body = json!({"access_token": token(), "ok": ok, "code": code, "id": id, "message": "said so"});
        let (_server, sandbox) = reading(rules, Reply::json(200, body));
        sandbox.run("get plain").code
    };
    assert_eq!(reply(json!(true), json!(1), json!("x")), 0);
    assert_eq!(reply(json!(false), json!(1), json!("x")), 5);
    assert_eq!(reply(json!(true), json!(0), json!("x")), 5);
    assert_eq!(reply(json!(true), json!("0"), json!("x")), 5);
}

#[test]
fn a_status_may_mean_a_dead_refresh_token() {
    let server = Server::new(|request| match request.field("grant_type").as_str() {
        "refresh_token" => Reply::text(401, ""),
        _ => Reply::json(
            200,
            json!({"access_token": token(), "refresh_token": format!("rt-{CANARY}"), "expires_in": 600}),
        ),
    });
    let sandbox = plain(&server.url());
    let text = plain_provider(&server.url(), "");
    sandbox.provider(
        "plain",
        &text.replace("grant = \"refresh\"\n", "grant = \"refresh\"\ndead = [{ status = [401] }]\n"),
    );
    sandbox.run("get plain").line();
    sandbox.run("get plain --fresh").line();
    let grants: Vec<_> = server.requests().iter().map(|r| r.field("grant_type")).collect();
    assert_eq!(grants, ["client_credentials", "refresh_token", "client_credentials"]);
}

#[test]
fn a_value_inside_a_host_holds_only_what_a_host_name_may() {
    let sandbox = plain("https://{client_id}.invalid");
    for evil in ["evil.example/", "evil.example#", "a@b", "a.b", "a:1", "a%2e", "a\\b", "ä", "a?b"] {
        let out = sandbox.tok(["get", "plain", "--timeout", "2s", "--client-id", evil]).run();
        out.fails_with_one_of(&[2, 3]);
    }
    sandbox.run("get plain --timeout 2s --client-id good-name").fails(6).says("good-name.invalid");
}

#[test]
fn choices_and_defaults_that_hold_another_value_are_taken() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let text = plain_provider(&server.url(), "");
    let text = text.replace("default = \"plain-client\"", "default = \"{zone}-client\"");
    let text =
        text.replace("[params.scope]", "[params.zone]\ndefault = \"eu\"\nchoices = [\"eu\", \"us\"]\n[params.scope]");
    sandbox.provider("plain", &text);
    sandbox.run("get plain").line();
    assert_eq!(server.last().field("client_id"), "eu-client");
    sandbox.run("get plain --zone us").line();
    assert_eq!(server.last().field("client_id"), "us-client");
    sandbox.run("get plain --zone mars").fails_with_one_of(&[2, 3]).says("eu");
}

#[test]
fn basic_raw_encodes_nothing() {
    use base64::Engine;
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let text = plain_provider(&server.url(), "");
    sandbox.provider("plain", &text.replace("[request]\n", "[request]\nauth = \"basic-raw\"\n"));
    sandbox.run("get plain --client-id a%b").line();
    let wanted = base64::engine::general_purpose::STANDARD.encode(format!("a%b:plain-secret-{CANARY}"));
    assert_eq!(server.last().header("authorization"), Some(format!("Basic {wanted}").as_str()));
}

#[test]
fn a_list_joins_by_its_separator() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let text = plain_provider(&server.url(), "").replace("separator = \" \"", "separator = \",\"");
    sandbox.provider("plain", &text);
    sandbox.run("get plain --scope a --scope b").line();
    assert_eq!(server.last().field("scope"), "a,b");
}

#[test]
fn a_header_of_use_with_a_value_of_its_own() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let more = "[use]\nheader = \"X-Auth\"\nvalue = \"Token {access_token};v=1\"\n";
    sandbox.provider("plain", &plain_provider(&server.url(), more));
    let line = sandbox.run("header plain").line();
    assert_eq!(line, format!("X-Auth: Token at-{CANARY}-1;v=1"));
}

#[test]
fn a_header_of_the_connection_is_refused_before_anything_is_sent() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let with = |name: &str| {
        let file = plain_provider(&server.url(), "");
        sandbox
            .provider("plain", &file.replacen("[request]", &format!("[request]\nheaders = {{ {name} = \"x\" }}"), 1));
        sandbox.run("get plain")
    };
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Accept-Encoding",
        "Keep-Alive",
        "Proxy-Authorization",
        "Content-Encoding",
    ] {
        with(name).fails(3).says("plain.toml").says(&format!("the header {name} cannot be set"));
    }
    assert_eq!(server.count(), 0);
    with("content-type").line();
    let sent = server.last();
    let types: Vec<_> = sent.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("content-type")).collect();
    assert_eq!(types.len(), 1, "{types:?}");
    assert_eq!(sent.header("content-type"), Some("x"));
}

#[test]
fn defaults_that_grow_without_end_are_refused_at_once() {
    let sandbox = Sandbox::with_file_store();
    let defaults = |count: usize, times: usize| -> String {
        let one = |i: usize| format!("[params.v{i}]\ndefault = \"{}\"\n", format!("{{v{}}}", i + 1).repeat(times));
        let last = format!("[params.v{count}]\ndefault = \"x\"\n");
        let grant = "[grants.g]\nurl = \"https://a.example/token\"\nbody = { a = \"{v0}\" }\n";
        (0..count).map(one).chain([last, grant.into()]).collect()
    };
    for (count, times) in [(2_000, 1), (40, 2), (15, 2), (2_000, 3)] {
        let file = sandbox.provider("endless", &defaults(count, times));
        let out = sandbox.run("get endless").fails(3).soon();
        assert!(out.stderr.contains(&format!("{}:", file.display())) && out.stderr.contains("this default"), "{out}");
        sandbox.run("providers").ok().soon();
    }
}
