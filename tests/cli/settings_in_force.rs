//! No call prints a token of settings that were not in force when it began, whatever is edited while it runs; and the
//! cached path goes by what was read, not by what stands there when the answer comes.

use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Running, Sandbox, at_once, now, plain_provider, put, until};
use serde_json::json;
use std::path::Path;

/// Tokens that say which client they were issued to.
fn naming_server() -> Server {
    Server::new(|request: &Received| Reply::token(&format!("at-{CANARY}-{}", request.field("client_id")), 600))
}

fn token_of(client: &str) -> String {
    format!("at-{CANARY}-{client}")
}

/// Stamps of what was written before are then old enough to be believed, for whoever looks at the clock only now.
fn let_stamps_age() {
    let start = now();
    until("the stamps are old", || now() > start + 2);
}

fn config_for(client: &str) -> String {
    format!(
        "store = \"file\"\n[profile.p]\nprovider = \"plain\"\nclient_id = \"{client}\"\n\
         client_secret = \"secret-{CANARY}\"\n"
    )
}

/// Runs `get PROFILE` with a reply that waits until `change` was made and has grown old. What it prints; the next
/// calls must print `then`.
#[track_caller]
fn changed_under_way(sandbox: &Sandbox, server: &Server, profile: &str, change: impl Fn(), then: &str) -> String {
    let gate = server.hold();
    let run = sandbox.tok(["get", profile]).spawn();
    server.until(1);
    change();
    let_stamps_age();
    gate.open();
    let printed = run.wait().silent().line();
    for _ in 0..3 {
        assert_eq!(sandbox.run(&format!("get {profile}")).silent().line(), then, "it printed {printed}");
    }
    assert_eq!(sandbox.run(&format!("header {profile}")).silent().line(), format!("Authorization: Bearer {then}"));
    printed
}

#[test]
fn a_config_changed_under_way_counts_from_the_next_call_on() {
    at_once([None, Some("TOK_CONFIG")], |variable| {
        let server = naming_server();
        let mut sandbox = Sandbox::new();
        sandbox.provider("plain", &plain_provider(&server.url(), ""));
        sandbox.config(&config_for("alice"));
        if let Some(variable) = variable {
            let file = sandbox.config_file();
            sandbox.set(variable, file);
        }
        let_stamps_age();
        let printed =
            changed_under_way(&sandbox, &server, "p", || sandbox.config(&config_for("bob")), &token_of("bob"));
        assert_eq!(printed, token_of("alice"));
    });
}

#[test]
fn a_config_that_appears_under_way_counts_from_the_next_call_on() {
    let server = naming_server();
    let mut sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    sandbox.set("TOK_PLAIN_CLIENT_SECRET", format!("secret-{CANARY}"));
    let_stamps_age();
    let config = "[profile.plain]\nprovider = \"plain\"\nclient_id = \"bob\"\n";
    let printed = changed_under_way(&sandbox, &server, "plain", || sandbox.config(config), &token_of("bob"));
    assert_eq!(printed, token_of("plain-client"));
}

#[test]
fn a_provider_file_changed_under_way_counts_from_the_next_call_on() {
    let server = naming_server();
    let sandbox = Sandbox::new();
    let file = plain_provider(&server.url(), "");
    sandbox.provider("plain", &file);
    sandbox.config(&config_for("alice").replace("client_id = \"alice\"\n", ""));
    let_stamps_age();
    let change = || drop(sandbox.provider("plain", &file.replace("plain-client", "bob")));
    let printed = changed_under_way(&sandbox, &server, "p", change, &token_of("bob"));
    assert_eq!(printed, token_of("plain-client"));
}

#[test]
fn a_provider_file_that_appears_under_way_counts_from_the_next_call_on() {
    let server = Server::new(|request: &Received| match request.path() {
        "/token" => Reply::token(&token_of("own-file"), 600),
        _ => Reply::json(
            200,
            json!({"header": {"code": 1}, "body": {"accessToken": format!("{CANARY}a{:055x}", 1), "expiry": 600}}),
        ),
    });
    let sandbox = Sandbox::with_file_config(&format!(
        "[profile.purewl]\nbase_url = \"{}\"\nsecret_key = \"{CANARY}{:024x}\"\n",
        server.url(),
        1
    ));
    let_stamps_age();
    let file = "[params.base_url]\ndefault = \"https://a.example\"\n[params.secret_key]\nsecret = true\n\
                [request]\nurl = \"{base_url}/token\"\n[grants.secret]\nbody = { key = \"{secret_key}\" }\n";
    let change = || drop(sandbox.provider("purewl", &format!("title = \"Own\"\n{file}")));
    let printed = changed_under_way(&sandbox, &server, "purewl", change, &token_of("own-file"));
    assert_ne!(printed, token_of("own-file"));
}

/// Holds the lock of profile `p`, as another call would.
fn hold_lock(state: &Path) -> std::fs::File {
    let path = state.join("locks/p.lock");
    put(&path, b"");
    for folder in [state, &state.join("locks")] {
        crate::support::chmod(folder, 0o700);
    }
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.lock().unwrap();
    file
}

fn waiting(sandbox: &Sandbox) -> Running {
    let mut run = sandbox.tok(["get", "p"]).spawn();
    run.until_open_below(&sandbox.state_dir().join("locks"));
    run
}

#[test]
fn a_call_that_waited_while_the_config_changed_answers_as_it_began_and_leaves_nothing_behind() {
    let server = naming_server();
    let sandbox = Sandbox::new();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    sandbox.config(&config_for("alice"));
    let_stamps_age();
    // One asks and the other waits for it, and finds the token of the first.
    let gate = server.hold();
    let first = sandbox.tok(["get", "p"]).spawn();
    server.until(1);
    let second = waiting(&sandbox);
    sandbox.config(&config_for("bob"));
    let_stamps_age();
    gate.open();
    for run in [first, second] {
        assert_eq!(run.wait().silent().line(), token_of("alice"));
    }
    for _ in 0..3 {
        assert_eq!(sandbox.run("get p").silent().line(), token_of("bob"));
    }
    assert_eq!(server.count(), 2);
}

#[test]
fn a_call_that_waited_takes_no_token_of_settings_that_came_later() {
    let server = Server::new(|request: &Received| Reply::token(&token_of(&request.field("audience")), 600));
    let provider = plain_provider(&server.url(), "")
        .replace("[request]", "[params.audience]\n[request]")
        .replace("scope = \"{scope?}\"", "scope = \"{scope?}\", audience = \"{audience?}\"");
    let sandbox = Sandbox::new();
    sandbox.provider("plain", &provider);
    sandbox.config(&config_for("alice"));
    let held = hold_lock(&sandbox.state_dir());
    let run = waiting(&sandbox);
    sandbox.config(&format!("{}audience = \"new\"\n", config_for("alice")));
    // What a call of the new settings brings, in the place where it would put it.
    let other = sandbox.work().join("state");
    let new = sandbox.tok(["get", "p"]).env("XDG_STATE_HOME", &other).run().silent().line();
    assert_eq!(new, token_of("new"));
    let mut found = Vec::new();
    crate::support::walk(&other.join("tok/cache/p"), &mut |path| {
        found.extend(std::fs::read(path).ok().filter(|text| crate::support::contains(text, b"access_token")));
    });
    let cache = sandbox.state_dir().join("cache/p");
    put(&cache.join("0123456789abcdef.json"), &found[0]);
    for folder in [sandbox.state_dir().join("cache"), cache] {
        crate::support::chmod(&folder, 0o700);
    }
    drop(held);
    assert_eq!(run.wait().silent().line(), token_of(""));
    assert_eq!(sandbox.run("get p").silent().line(), token_of("new"));
}
