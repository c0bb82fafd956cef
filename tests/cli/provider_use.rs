//! What an API is sent with a token besides one header, and what of a login later requests need.

use crate::skip::needs;
use crate::support::issuer::Browser;
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Output, Sandbox, plain, plain_provider};
use serde_json::{Value, json};

/// A sandbox whose provider has this behind its grants.
fn using(server: &Server, more: &str) -> Sandbox {
    let sandbox = plain(&server.url());
    sandbox.provider("plain", &plain_provider(&server.url(), more));
    sandbox
}

/// Issues `token-N`, a new one each time, with what `more` says of it; everything else is the API, which says what it was
/// asked.
fn server(more: impl Fn() -> Value + Send + Sync + 'static) -> Server {
    Server::new(move |request| match request.path() {
        "/token" => {
            let mut body =
                json!({"access_token": format!("token-{CANARY}"), "token_type": "Bearer", "expires_in": 600});
            let more = more();
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Reply::json(200, body)
        }
        _ => Reply::text(200, &format!("{} {}", request.method, request.target)),
    })
}

#[track_caller]
fn has(out: Output, text: &str) {
    let out = out.ok();
    assert!(out.stdout.contains(text), "{out}");
}

#[test]
fn several_headers_are_a_line_each() {
    let server = server(|| json!({"tenant": 4711}));
    let more = "[use]\nheaders = { Client-Id = \"{client_id}\", X-Version = \"2\", X-Tenant = \"{tenant}\", X-None = \"{scope?}\" }\n\
                [response]\nextra = { tenant = \"/tenant\" }\n";
    let sandbox = using(&server, more);
    let lines =
        format!("Authorization: Bearer token-{CANARY}\nClient-Id: plain-client\nX-Version: 2\nX-Tenant: 4711\n");
    for _ in 0..3 {
        sandbox.run("header plain").silent().prints(&lines);
    }
    sandbox.run("get plain -o header").silent().prints(&lines);
    assert_eq!(server.count(), 1, "from the cache too");
    let curl = format!(
        "oauth2-bearer = \"token-{CANARY}\"\nheader = \"Client-Id: plain-client\"\nheader = \"X-Version: 2\"\n\
         header = \"X-Tenant: 4711\"\n"
    );
    sandbox.run("get plain -o curl").silent().prints(&curl);
    let json = sandbox.run("get plain --json").json();
    assert_eq!(json["header"], json["headers"][0]);
    assert_eq!(json["headers"][3], json!({"name": "X-Tenant", "value": "4711"}));
    let shown = sandbox.run("show plain --json").json();
    assert_eq!(shown["access_token"]["headers"], json!(["Authorization", "Client-Id", "X-Version", "X-Tenant"]));
    has(sandbox.run("show plain"), "X-Tenant");
}

#[test]
fn a_value_that_only_a_header_needs_is_asked_for_before_anything_is_sent() {
    let server = server(|| json!({}));
    let more = "[params.tenant]\n[use]\nheaders = { X-Tenant = \"{tenant}\" }\n";
    let sandbox = using(&server, more);
    sandbox.run("get plain").fails(4).says("tenant").says("TOK_PLAIN_TENANT");
    assert_eq!(server.count(), 0);
    sandbox.run("get plain --tenant t1").ok();
    has(sandbox.run("header plain --tenant t1"), "X-Tenant: t1\n");
}

#[test]
fn curl_sends_all_headers_and_one_that_is_given_takes_the_place_of_ours() {
    needs!("curl");
    let server = server(|| json!({}));
    let more = "[use]\nheaders = { X-Version = \"2\", X-Copy = \"{access_token}\" }\n";
    let sandbox = using(&server, more);
    let url = format!("{}/v1", server.url());
    sandbox.tok(["curl", "plain", "-sS", &url]).run().silent().prints("GET /v1");
    let sent = server.last();
    assert_eq!(sent.header("x-version"), Some("2"));
    assert_eq!(sent.header("x-copy"), Some(format!("token-{CANARY}").as_str()));
    sandbox.tok(["curl", "plain", "-sS", "-H", "X-Version: 3", &url]).run().silent().prints("GET /v1");
    let versions: Vec<_> =
        server.last().headers.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-version")).collect();
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].1, "3");
    sandbox
        .tok(["curl", "plain", "-sS", "-H", "X-Copy: x", &url])
        .run()
        .fails(125)
        .says("X-Copy")
        .says("tok that sets it");
    sandbox.tok(["curl", "plain", "-sSL", &url]).run().fails(125).says("X-Copy").hints_at("--follow-anywhere");
}

#[test]
fn the_reply_tells_the_host_of_the_api() {
    needs!("curl");
    let api = Server::new(|request| Reply::text(200, &format!("api {}", request.path())));
    let told = api.url();
    let server = server(move || json!({"instance_url": format!("{told}/services")}));
    let more = "[use]\nhosts = [\"{instance_url}\"]\n[response]\nextra = { instance_url = \"/instance_url\" }\n";
    let sandbox = using(&server, more);
    sandbox.tok(["curl", "plain", "-sS", &format!("{}/x", api.url())]).run().silent().prints("api /x");
    assert_eq!(api.last().header("authorization"), Some(format!("Bearer token-{CANARY}").as_str()));
    // The token endpoint is no API here.
    let out = sandbox.tok(["curl", "plain", "-sS", &format!("{}/x", server.url())]).run();
    out.fails(125).says("does not get the token").hints_at("hosts");
    assert_eq!(sandbox.run("get plain --json").json()["hosts"], json!([api.url()]));
    has(sandbox.run("show plain"), &api.url());
}

#[test]
fn a_token_in_the_query_is_in_no_header_and_no_argument() {
    needs!("curl");
    let server = server(|| json!({}));
    let more = "[use]\nquery = { access_token = \"{access_token}\", format = \"a b\" }\n";
    let mut sandbox = using(&server, more);
    let url = format!("{}/v1?x=1", server.url());
    let query = format!("access_token=token-{CANARY}&format=a%20b");
    sandbox.tok(["curl", "plain", "-sS", &url]).run().silent().prints(&format!("GET /v1?x=1&{query}"));
    assert_eq!(server.last().header("authorization"), None);
    // `-v` shows the request line.
    let out = sandbox.tok(["curl", "plain", "-sS", "-v", &url]).run().ok();
    assert!(out.stderr.contains("access_token=***") && !out.stderr.contains(CANARY), "{out}");
    sandbox.run("get plain").silent().prints(&format!("token-{CANARY}\n"));
    for line in ["header plain", "get plain -o header"] {
        sandbox.run(line).fails(2).says("no header carries the token").hints_at("tok curl plain");
    }
    let config = format!("url-query = \"+access_token=token-{CANARY}\"\nurl-query = \"+format=a%20b\"\n");
    sandbox.run("get plain -o curl").silent().prints(&config);
    let json = sandbox.run("get plain --json").json();
    assert_eq!((&json["header"], &json["query"][0]["name"]), (&Value::Null, &json!("access_token")));
    sandbox.config(&format!("[profile.plain]\nhosts = [\"{}\"]\n", server.url()));
    let asked = format!("{{\"uri\":\"{}/x\"}}", server.url());
    sandbox.tok(["credential", "bazel", "get"]).stdin(asked).run().fails(1).says("in the query of the URL");
    let bin = sandbox.work().join("bin");
    crate::support::put(&bin.join("curl"), b"#!/bin/sh\nprintf '%s\\n' \"$@\"\nenv\n");
    crate::support::chmod(&bin.join("curl"), 0o700);
    sandbox.set("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    let out = sandbox.tok(["curl", "plain", "-sS", &url]).run().ok();
    assert!(!out.stdout.contains(CANARY), "{out}");
}

/// A login in a browser whose redirect URI each refresh names again, and whose reply alone names the tenant.
const BROWSER: &str = r#"
title = "Browser"
[params.base_url]
default = "BASE"
[params.client_id]
default = "c"
[request]
url = "{base_url}/token"
[grants.authorization-code]
flow = "authorization-code"
body = { grant_type = "authorization_code", code = "{code}", redirect_uri = "{redirect_uri}", client_id = "{client_id}" }
[grants.authorization-code.begin]
url = "{base_url}/authorize"
method = "GET"
encode = "none"
query = { response_type = "code", client_id = "{client_id}", redirect_uri = "{redirect_uri}", state = "{state}" }
[grants.refresh]
body = { grant_type = "refresh_token", refresh_token = "{refresh_token}", redirect_uri = "{redirect_uri}", device = "{device}" }
[response]
extra = { tenant = "/tenant", device = "/device" }
[refresh]
grant = "refresh"
[use]
headers = { X-Tenant = "{tenant}" }
"#;

#[test]
fn a_refresh_has_what_the_login_found() {
    let server = Server::new(|request| match request.field("grant_type").as_str() {
        "authorization_code" => Reply::json(
            200,
            json!({"access_token": format!("a1-{CANARY}"), "refresh_token": format!("r1-{CANARY}"), "expires_in": 600,
                   "tenant": "t1", "device": 7}),
        ),
        _ => Reply::json(200, json!({"access_token": format!("a2-{CANARY}"), "expires_in": 600})),
    });
    let mut sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &BROWSER.replace("BASE", &server.url()));
    let browser = Browser::of(&mut sandbox);
    let running = sandbox.tok(["login", "plain"]).spawn();
    let visit = browser.visit();
    visit.log_in();
    running.wait().ok();
    sandbox.run("header plain").silent().prints(&format!("Authorization: Bearer a1-{CANARY}\nX-Tenant: t1\n"));
    for _ in 0..2 {
        sandbox
            .run("header plain --fresh")
            .silent()
            .prints(&format!("Authorization: Bearer a2-{CANARY}\nX-Tenant: t1\n"));
        let sent = server.last();
        assert_eq!(sent.field("redirect_uri"), visit.value("redirect_uri"));
        assert_eq!(sent.field("device"), "7");
        // The cache alone does not have it.
        sandbox.forget_cache();
    }
    assert_eq!(sandbox.run("get plain --json").json()["extra"]["tenant"], "t1");
    // A refresh token from elsewhere comes without them.
    let token = sandbox.file_arg("token", format!("r9-{CANARY}"));
    sandbox.run("logout plain").ok();
    sandbox.run(&format!("login plain refresh --refresh-token-file {token}")).fails(4).says("is missing").hints();
    assert_eq!(server.requests().iter().filter(|request| request.has_field("refresh_token")).count(), 3);
}

/// Two real shapes, whose API has another host for each account.
#[test]
fn a_reply_is_shown_with_what_the_api_gets() {
    let sandbox = Sandbox::new();
    let file = |hosts: &str, extra: &str| {
        format!(
            "[params.base_url]\ndefault = \"https://login.example\"\n[grants.g]\nurl = \"{{base_url}}/t\"\n\
             [response]\nextra = {{ {extra} }}\n[use]\nhosts = [{hosts}]\nheaders = {{ X-Version = \"1\" }}\n"
        )
    };
    for (hosts, extra, reply, api) in [
        (
            "\"{instance_url}\"",
            "instance_url = \"/instance_url\"",
            "\"instance_url\":\"https://acme.my.example\"",
            "https://acme.my.example",
        ),
        (
            "\"{host}\"",
            "host = \"/host\", tenant = \"/tenant\"",
            "\"host\":\"app-eu.example\",\"tenant\":\"t\"",
            "app-eu.example",
        ),
    ] {
        sandbox.provider("told", &file(hosts, extra));
        let reply = sandbox.file_arg("reply", format!("{{\"access_token\":\"abc\",\"expires_in\":60,{reply}}}"));
        let out = sandbox.run(&format!("providers --read told {reply}")).ok();
        assert!(out.stdout.contains(&format!("API: {api}\n")), "{out}");
    }
}

#[test]
fn what_an_api_gets_is_checked() {
    let sandbox = Sandbox::new();
    for (text, says) in [
        ("[use]\nhosts = [\"{nobody}\"]", "unknown value `nobody`"),
        ("[use]\nhosts = [\"https://a.example/path\"]", "without a path"),
        ("[use]\nheaders = { X-A = \"{nobody}\" }", "unknown value `nobody`"),
        ("[use]\nheaders = { Host = \"x\" }", "belongs to the connection"),
        ("[use]\nheaders = { authorization = \"x\" }", "is the header that `header` and `value` are for"),
        ("[use]\nquery = { t = \"{nobody}\" }", "unknown value `nobody`"),
    ] {
        let file = sandbox.file_arg("p.toml", format!("[grants.g]\nurl = \"https://a.example\"\n{text}\n"));
        sandbox.run(&format!("providers --check {file}")).fails(3).says(says);
    }
}

/// A login without a session keeps with its token what the reply told.
#[test]
fn a_logout_names_what_the_reply_told() {
    let server = server(|| json!({"Id": 6}));
    let more = "[response]\nextra = { session = \"/Id\" }\n[revoke]\nmethod = \"DELETE\"\nencode = \"none\"\n\
                url = \"{base_url}/sessions/{session}\"\nheaders = { X-Token = \"{access_token}\" }\n";
    let sandbox = using(&server, more);
    sandbox.run("get plain").ok();
    sandbox.run("logout plain").ok();
    let request = server.requests().pop().expect("a request");
    assert_eq!((request.method.as_str(), request.path()), ("DELETE", "/sessions/6"));
    assert_eq!(request.header("x-token"), Some(format!("token-{CANARY}").as_str()));
}

#[test]
fn who_a_token_is_for_is_shown_in_the_provider_s_own_words() {
    let server = Server::new(|request| match request.path() {
        "/token" => Reply::json(200, json!({"access_token": "t1", "token_type": "Bearer", "expires_in": 600})),
        _ => Reply::json(200, json!({"login": "ada"})),
    });
    let about = format!(
        "[userinfo]\nurl = \"{}/me\"\nmethod = \"GET\"\nencode = \"none\"\nheaders = {{ Authorization = \"Bearer {{access_token}}\" }}\n",
        server.url()
    );
    let sandbox = using(&server, &about);
    sandbox.run("login plain").ok();
    let out = sandbox.run("show plain --userinfo --json").json();
    assert_eq!(out["login"], "ada");
}

#[test]
fn what_a_reply_should_have_told_an_api_is_the_reply_s_fault() {
    let tenants = std::sync::Mutex::new(vec![json!({}), json!({"tenant": "x\ny"})].into_iter());
    let server = server(move || tenants.lock().unwrap().next().unwrap_or(json!({"tenant": "t1"})));
    let more = "[use]\nheaders = { X-Tenant = \"{tenant}\" }\n[response]\nextra = { tenant = \"/tenant\" }\n";
    let sandbox = using(&server, more);
    for says in ["it needs tenant, which the reply does not have", "it would hold a line break or NUL"] {
        let out = sandbox.run("get plain").fails(8);
        out.says("the header X-Tenant cannot be made").says(says).hints_at("tok providers plain --toml");
    }
    has(sandbox.run("header plain"), "X-Tenant: t1");
}

#[test]
fn what_a_function_made_of_a_secret_is_not_shown_where_a_refusal_repeats_it() {
    let server = Server::new(|request| {
        let (sign, basic) = (request.header("x-sign").unwrap_or_default(), request.field("basic"));
        let words = format!("bad signature {sign} and {basic} at {}", request.header("x-time").unwrap_or_default());
        Reply::json(400, json!({"error": "invalid_client", "error_description": words}))
    });
    let file = plain_provider(&server.url(), "").replace(
        "[grants.client-credentials]\nbody = { ",
        "[grants.client-credentials]\nheaders = { X-Sign = \"{hex(hmac-sha256(client_secret, now('epoch')))}\", X-Time = \"{now('epoch')}\" }\nbody = { basic = \"{base64(client_id + ':' + client_secret)}\", ",
    );
    let sandbox = plain(&server.url());
    sandbox.provider("plain", &file);
    let out = sandbox.run("get plain").fails(5);
    let sent = server.last();
    let (sign, time) = (sent.header("x-sign").unwrap(), sent.header("x-time").unwrap());
    assert!(!out.stderr.contains(sign) && !out.stderr.contains(&sent.field("basic")), "{out}");
    // The time is no secret, and may be what is wrong.
    assert!(sign.len() == 64 && out.stderr.contains(time), "{out}");
}
