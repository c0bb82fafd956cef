//! What somebody met who knew the program by its documents alone.

use crate::support::api::{Api, PROFILE, log_in};
use crate::support::issuer::Visit;
use crate::support::purewl::PureWl;
use crate::support::server::{Reply, Server};
use crate::support::{Sandbox, plain, until};
use serde_json::json;

#[test]
fn an_unknown_profile_is_named_once_by_every_command() {
    let sandbox = Sandbox::with_file_store();
    for line in ["get nope", "status nope", "show nope", "logout nope", "login nope", "exec nope -- true", "curl nope"]
    {
        let out = sandbox.run(line);
        assert!(out.code == 3 || out.code == 125, "{out}");
        assert!(out.stderr.starts_with("tok: no profile or provider `nope`"), "{out}");
    }
}

#[test]
fn the_hint_of_an_offline_call_is_the_same_call() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let count = purewl.server.count();
    let out = sandbox.run("get purewl --offline --min-ttl 2h -o json").fails(4);
    let command =
        out.stderr.lines().find_map(|line| line.strip_prefix("hint: get one from the provider: tok ")).unwrap();
    assert_eq!(command, "get purewl --min-ttl 2h -o json", "{out}");
    sandbox.run(command).json();
    assert_eq!(purewl.server.count(), count + 1);
    // A later word of this name is the other program's.
    sandbox
        .run("exec purewl --min-ttl 2h --offline -- echo --offline")
        .fails(125)
        .hints_at("tok exec purewl --min-ttl 2h -- echo --offline\n");
}

/// The long options that `help` lists, as names of values.
fn options(help: &str) -> Vec<String> {
    let lines = help.lines().filter(|line| line.starts_with("  ") && line.trim_start().starts_with('-'));
    let names = lines.filter_map(|line| line.split_once("--")?.1.split([' ', '=', '[', ',']).next());
    names.map(|name| name.replace('-', "_")).collect()
}

#[test]
fn a_value_may_have_the_name_of_any_option_of_tok() {
    let server = Server::issuing(600);
    let sandbox = Sandbox::with_file_store();
    let mut names: Vec<String> = Vec::new();
    for verb in ["login", "login oidc authorization-code", "get", "header", "exec", "curl", "show", "logout", "status"]
    {
        names.extend(options(&sandbox.run(&format!("{verb} --help")).ok().stdout));
    }
    names.sort();
    names.dedup();
    assert!(names.contains(&"move_to".into()) && names.contains(&"user".into()), "{names:?}");
    let text = |names: &[String]| {
        let params: String = names.iter().map(|name| format!("[params.{name}]\ndefault = \"x\"\n")).collect();
        let body: String = names.iter().map(|name| format!("{name} = \"{{{name}}}\", ")).collect();
        format!(
            "title = \"Odd\"\n[params.origin]\ndefault = \"{}\"\n{params}[grants.plain]\nurl = \"{{origin}}/token\"\n\
             body = {{ {body} }}\n",
            server.url()
        )
    };
    // Not those that are keys of the config, or end as a file's does.
    names.retain(|name| {
        let file = sandbox.file_arg("one.toml", text(std::slice::from_ref(name)));
        sandbox.run(&format!("providers --check {file}")).code == 0
    });
    assert!(names.len() > 40, "{names:?}");
    sandbox.provider("odd", &text(&names));
    for line in ["login odd plain --help", "get odd --help", "header odd --help", "get odd --fresh", "exec odd -- true"]
    {
        sandbox.run(line).ok();
    }
}

#[test]
fn a_server_that_takes_pushed_requests_is_not_asked_twice_what_a_login_would_say() {
    let api = Api::start();
    let par = format!("{}/par", api.issuer.url());
    api.state(|s| s.metadata = json!({"pushed_authorization_request_endpoint": par}));
    let (sandbox, browser) = api.sandbox();
    let pushed = || Reply::json(201, json!({"request_uri": "urn:example:1", "expires_in": 60}));
    // The browser is not shown the redirect URI; the one who has read the pushed request knows it.
    let login = |line: &[&str]| {
        let mut running = sandbox.tok(line).spawn();
        until("the browser is opened", || browser.was_opened() || running.ended());
        let sent = browser.visit();
        assert!(sent.address.contains("request_uri=urn"), "{}", sent.address);
        let request = api.asked("/par").pop().unwrap();
        Visit { address: sent.address, query: request.form() }.log_in();
        running.wait().prints("");
    };
    api.script("/par", [pushed()]);
    login(&["login", &api.url()]);
    api.script("/par", [pushed()]);
    login(&["login", PROFILE]);
    assert_eq!((api.registrations().len(), api.asked("/par").len()), (1, 2));
    assert!(api.asked("/authorize").is_empty(), "the authorization endpoint is the browser's");

    // It says by itself that it does not know the client any more.
    api.script("/par", [Reply::json(401, json!({"error": "invalid_client"})), pushed()]);
    login(&["login", PROFILE]);
    assert_eq!((api.registrations().len(), api.asked("/par").len()), (2, 4));
    assert!(api.asked("/authorize").is_empty());

    // Without them, the authorization endpoint is asked first.
    log_in(&browser, sandbox.tok(["login", PROFILE, "--par-url", ""])).prints("");
    assert_eq!((api.asked("/par").len(), api.asked("/authorize").len()), (4, 2));
}

#[test]
fn a_repeated_name_in_a_reply_is_8_and_in_a_refusal_it_is_read_all_the_same() {
    let server = Server::always(Reply::text(400, r#"{"error":"invalid_client","error":"invalid_client"}"#));
    let sandbox = plain(&server.url());
    sandbox.run("get plain").fails(5).says("invalid_client");
    let server = Server::always(Reply::text(200, r#"{"access_token":"a","access_token":"b","expires_in":60}"#));
    let sandbox = plain(&server.url());
    sandbox.run("get plain").fails(8).says("a name appears twice").never_says("\"a\"");
}
