//! A login by the address of an API: registration of a client, the token for that API alone, its renewal, its end.

use super::person::Person;
use super::servers::{Make, Server};
use super::table::{Case, also, besides};
use serde_json::{Value, json};
use std::io::Read;

/// The profile of an API on loopback.
const PROFILE: &str = "127-0-0-1";

/// The tests.
pub fn cases() -> Vec<Case> {
    const LOGIN: &str = "a login by the address of an API (RFC 9728, RFC 7591)";
    vec![
        also(LOGIN, Make::FastMcp, |server| tool_call(server, true)),
        also(LOGIN, Make::McpSdk, |server| tool_call(server, false)),
        also(LOGIN, Make::OidcProvider, api),
        also(LOGIN, Make::BetterAuth, guarded),
        also("management of a registered client (RFC 7592)", Make::OidcProvider, managed),
        also("fifty calls at once, one refresh", Make::FastMcp, fifty),
        also("fifty calls at once, one refresh", Make::OidcProvider, fifty),
        also("fifty calls at once, one refresh", Make::BetterAuth, fifty),
        also("fifty calls at once, one refresh", Make::McpSdk, fifty_of_sdk),
        besides("fifty_calls_where_nothing_renews_share_the_token", Make::McpSdk, fifty_without_refresh),
        besides("an_api_names_the_scope_that_is_missing", Make::BetterAuth, missing_scope),
        besides("the_page_about_mcp_runs_as_it_stands", Make::FastMcp, page),
        besides("a_server_without_sessions_and_default_scopes", Make::FastMcp, bare),
        besides("a_step_up_keeps_the_client", Make::FastMcp, step_up),
        besides("a_token_for_one_api_is_refused_by_another", Make::OidcProvider, other_api),
    ]
}

fn log_in<'s>(server: &'s Server) -> Person<'s> {
    let person = Person::at(server);
    person.sandbox.tok(["login", &format!("{}/mcp", server.issuer)]).run().prints("");
    person
}

/// The reply of an MCP server to a call of its tool, with this request header line.
#[track_caller]
fn call_tool(server: &Server, header: &str) -> String {
    let header = header.split_once(": ").expect("a header line");
    let hello =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
    let (_, session) = rpc(server, &[header], "initialize", &hello);
    let session = session.as_deref().map(|id| ("Mcp-Session-Id", id));
    let headers: Vec<(&str, &str)> = [header].into_iter().chain(session).collect();
    rpc(server, &headers, "tools/call", &json!({"name": "add", "arguments": {"a": 40, "b": 2}})).0
}

/// A call of an MCP server: the body of the reply, and the session that it names.
#[track_caller]
fn rpc(server: &Server, headers: &[(&str, &str)], method: &str, params: &Value) -> (String, Option<String>) {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false);
    let mut request = config.build().new_agent().post(format!("{}/mcp", server.issuer));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("Content-Type", "application/json");
    let reply = request.header("Accept", "application/json, text/event-stream").send(body).expect("a reply");
    let session = reply.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_string);
    let mut text = String::new();
    reply.into_body().into_reader().read_to_string(&mut text).expect("text");
    (text, session)
}

/// It names its scopes in its metadata alone, and registers no client with scopes that were not asked for.
fn bare(_: &'static Server) {
    tool_call(&Server::start(Make::FastMcp, &[("BARE", "1")]).expect("it is installed"), true);
}

fn tool_call(server: &Server, renews: bool) {
    let person = log_in(server);
    let header = person.run("header 127-0-0-1").silent().line();
    let reply = call_tool(server, &header);
    assert!(reply.contains("42"), "{reply}");
    assert!(!call_tool(server, "Authorization: Bearer nothing").contains("42"));
    person.run("show 127-0-0-1 --check").ok();
    let before = person.token(PROFILE);
    let renewed = person.run("get 127-0-0-1 --fresh");
    match renews {
        true => assert_ne!(renewed.line(), before),
        // It has no refresh tokens.
        false => drop(renewed.fails(4).hints_at("tok login 127-0-0-1")),
    }
    // The client is used again, and so is its port.
    let client = person.run("show 127-0-0-1 --json").json()["registered_client"]["client_id"].clone();
    person.sandbox.tok(["login", PROFILE]).run().prints("");
    assert_eq!(person.run("show 127-0-0-1 --json").json()["registered_client"]["client_id"], client);
}

fn api(server: &'static Server) {
    let person = log_in(server);
    let header = person.run("header 127-0-0-1").silent().line();
    let reply: Value =
        serde_json::from_str(&server.get_with(header.trim_start_matches("Authorization: "), "/mcp")).unwrap();
    assert_eq!((&reply["sub"], &reply["scope"]), (&json!("alice"), &json!("api:read")));
    let before = person.token(PROFILE);
    assert_ne!(person.run("get 127-0-0-1 --fresh").line(), before);
    let asked = person.answer(&person.token(PROFILE));
    assert_eq!(asked["body"]["resource"], format!("{}/mcp", server.issuer));
}

fn managed(server: &'static Server) {
    let person = log_in(server);
    let client = person.run("show 127-0-0-1 --json").json()["registered_client"]["client_id"].clone();
    let entry = &person.sandbox.secrets()[format!("client:{}", server.issuer)]["clients"][0];
    assert_eq!(entry["client_id"], client);
    let url = entry["management_url"].as_str().expect("RFC 7592").to_string();
    let token = format!("Bearer {}", entry["management_token"].as_str().expect("RFC 7592"));
    let path = url.strip_prefix(&server.issuer).expect("the same server").to_string();
    assert!(server.get_with(&token, &path).contains("client_id"));
    person.run("logout 127-0-0-1 --remove").prints("");
    assert!(server.get_with(&token, &path).contains("invalid_token"), "it is gone there");
    assert!(person.sandbox.secrets().as_object().is_none_or(|all| all.is_empty()));
}

fn fifty(server: &Server) {
    let person = log_in(server);
    let before = person.token(PROFILE);
    let calls: Vec<_> = (0..50).map(|_| person.sandbox.tok(["get", PROFILE, "--fresh"]).spawn()).collect();
    let mut tokens: Vec<String> = calls.into_iter().map(|call| call.wait().line()).collect();
    tokens.sort();
    tokens.dedup();
    // A call that began after the refresh of another has one of its own.
    assert!(!tokens.contains(&before) && tokens.len() < 50, "{} tokens", tokens.len());
    person.run("get 127-0-0-1 --fresh").silent().line();
}

/// Its example has no refresh tokens; the start script adds them behind its own token endpoint.
fn fifty_of_sdk(_: &'static Server) {
    fifty(&Server::start(Make::McpSdk, &[("REFRESH", "1")]).expect("it is installed"));
}

fn fifty_without_refresh(server: &'static Server) {
    let person = log_in(server);
    let token = person.token(PROFILE);
    let calls: Vec<_> = (0..50).map(|_| person.sandbox.tok(["get", PROFILE]).spawn()).collect();
    assert!(calls.into_iter().all(|call| call.wait().line() == token));
    let calls: Vec<_> = (0..50).map(|_| person.sandbox.tok(["get", PROFILE, "--fresh"]).spawn()).collect();
    calls.into_iter().for_each(|call| drop(call.wait().fails(4).hints_at("tok login 127-0-0-1")));
    assert_eq!(person.token(PROFILE), token, "the session stays as it was");
}

fn guarded(server: &'static Server) {
    let person = log_in(server);
    let resource = format!("{}/mcp", server.issuer);
    let call = |person: &Person| -> Value {
        let header = person.run("header 127-0-0-1").silent().line();
        serde_json::from_str(&server.get_with(header.trim_start_matches("Authorization: "), "/mcp")).expect("JSON")
    };
    assert_eq!(call(&person), json!({"aud": resource, "scope": "files:read offline_access"}));
    let before = person.token(PROFILE);
    assert_ne!(person.run("get 127-0-0-1 --fresh").line(), before);
    assert_eq!(call(&person)["aud"], resource);
    assert!(!server.get_with("Bearer nothing", "/mcp").contains("aud"));
    // It takes a client without a secret at its revocation endpoint.
    person.run("logout 127-0-0-1 --remove").prints("");
    assert!(person.sandbox.secrets().as_object().is_none_or(|all| all.is_empty()));
}

fn missing_scope(server: &'static Server) {
    let person = Person::at(server);
    let address = format!("{}/mcp", server.issuer);
    person.sandbox.tok(["login", &address, "--scope", "files:write"]).run().prints("");
    let client = person.run("show 127-0-0-1 --json").json()["registered_client"].clone();
    let hint = "tok login 127-0-0-1 --scope files:read";
    person.run("show 127-0-0-1 --check").fails(5).says("insufficient_scope (status 403)").hints_at(hint);
    person.run(hint.trim_start_matches("tok ")).prints("");
    person.run("show 127-0-0-1 --check").ok();
    assert_eq!(person.run("show 127-0-0-1 --json").json()["registered_client"], client);
}

fn step_up(server: &'static Server) {
    let person = log_in(server);
    let client = person.run("show 127-0-0-1 --json").json()["registered_client"].clone();
    person.sandbox.tok(["login", PROFILE, "--scope", "write"]).run().prints("");
    let shown = person.run("show 127-0-0-1 --json").json();
    assert_eq!((&shown["registered_client"], &shown["access_token"]["scope"]), (&client, &json!("read write")));
}

fn other_api(server: &'static Server) {
    let person = Person::at(server);
    let flags = "--client-id public --client-auth none --scope api:read --resource https://api.example/opaque";
    person.login("authorization-code", &super::person::words(flags)).run().prints("");
    let header = person.run("header oidc").line();
    let reply = server.get_with(header.trim_start_matches("Authorization: "), "/mcp");
    assert!(!reply.contains("alice"), "{reply}");
    person.sandbox.config(&format!(
        "[profile.oidc]\nprovider = \"oidc\"\nissuer = \"{0}\"\nclient_id = \"public\"\nscope = [\"api:read\"]\n\
         resource = [\"https://api.example/opaque\"]\nhosts = [\"{0}\"]\n",
        server.issuer
    ));
    // Asked for the other, the token that is kept is not handed out.
    let own = person.run("get oidc").line();
    let out = person.run(&format!("get oidc --offline --resource {}/mcp", server.issuer));
    assert!(!out.fails(4).stdout.contains(&own));
}

/// The page about MCP, block by block as a person would type it, with this server's address in the place of the page's.
fn page(server: &'static Server) {
    let page = include_str!("../../../docs/mcp.md");
    let person = Person::at(server);
    let mut script = String::from("set -e\n");
    let mut blocks = 0;
    for block in page.split("```sh\n").skip(1) {
        let text = block.split("```").next().expect("its end");
        script += &text.replace("https://mcp.example.com/mcp", &format!("{}/mcp", server.issuer));
        blocks += 1;
    }
    assert!(blocks >= 8, "{blocks} blocks");
    script = script.replace("mcp-example-com", PROFILE);
    let tok = person.sandbox.tok(["header", PROFILE]).command();
    let folder = std::path::Path::new(tok.get_program()).parent().expect("a folder").to_path_buf();
    let mut shell = std::process::Command::new("bash");
    shell.arg("-c").arg(&script).env_clear().current_dir(person.sandbox.work());
    shell.envs(tok.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let paths = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    shell.env("PATH", std::env::join_paths([folder].into_iter().chain(paths)).expect("a PATH"));
    let output = crate::child::Start::finish(&mut shell).expect("it starts");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The last block logs out; this server does not revoke the tokens of a client without a secret.
    assert_eq!(output.status.code(), Some(6), "{said}{errors}");
    let failed = errors.lines().filter(|line| line.starts_with("tok: ")).collect::<Vec<_>>();
    assert!(matches!(failed.as_slice(), [line] if line.contains("not revoked")), "{failed:?}");
    assert!(said.contains("42"), "{said}{errors}");
    assert!(said.contains("{\"Authorization\": \"Bearer test_access_token_"), "{said}{errors}");
    let token = std::fs::read_to_string(person.sandbox.home().join("mcp-token")).expect("a token");
    assert!(token.starts_with("test_access_token_"));
    assert!(person.sandbox.secrets().as_object().is_none_or(|all| all.is_empty()), "the client went along");
}
