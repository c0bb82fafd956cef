//! How often a provider is asked: what its file allows, counted for each profile.

use crate::shared_stores::Sqlite;
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, now};
use serde_json::{Value, json};
use std::fs;

fn file(limits: &str, server: &Server) -> String {
    format!(
        "title = \"Plant\"\nlimits = [{limits}]\n[params.base_url]\ndefault = \"{}\"\n[params.key]\nsecret = true\n\
         [grants.key]\nurl = \"{{base_url}}/token\"\nbody = {{ key = \"{{key}}\" }}\n\
         [grants.refresh]\nurl = \"{{base_url}}/token\"\nbody = {{ refresh_token = \"{{refresh_token}}\" }}\n\
         [refresh]\ngrant = \"refresh\"\n",
        server.url()
    )
}

fn plant(limits: &str, server: &Server) -> Sandbox {
    let mut sandbox = Sandbox::with_file_store();
    sandbox.provider("plant", &file(limits, server));
    sandbox.set("TOK_PLANT_KEY", format!("k-{CANARY}"));
    sandbox
}

fn issue(name: &str) -> Reply {
    Reply::json(200, json!({"access_token": format!("at-{name}-{CANARY}"), "expires_in": 3600}))
}

fn refusal() -> Reply {
    Reply::json(401, json!({"error": "invalid_client"}))
}

/// What is counted: the times of requests and of refusals.
fn counted(sandbox: &Sandbox) -> Value {
    let text = fs::read(sandbox.state_dir().join("kept/plant.requests")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// As if all that was counted had been `seconds` ago.
fn let_pass(sandbox: &Sandbox, seconds: i64) {
    let mut all = counted(sandbox);
    for times in all.as_object_mut().unwrap().values_mut() {
        for at in times.as_array_mut().unwrap() {
            *at = json!(at.as_i64().unwrap() - seconds);
        }
    }
    fs::write(sandbox.state_dir().join("kept/plant.requests"), all.to_string()).unwrap();
}

#[test]
fn one_too_many_is_not_sent_and_a_cached_token_is_given() {
    let server = Server::script([issue("1"), issue("2"), issue("3")]);
    let sandbox = plant("{ requests = 3, within = \"1h\" }", &server);
    for name in ["1", "2", "3"] {
        assert_eq!(sandbox.run("get plant --fresh").silent().line(), format!("at-{name}-{CANARY}"));
    }
    let out = sandbox.run("get plant --fresh").fails(6).says("no token request was sent");
    out.says("the provider takes 3 in 1h; the next one may be sent in ").hints_at("try again in ");
    assert_eq!(sandbox.run("get plant").silent().line(), format!("at-3-{CANARY}"));
    // Neither does what keeps nothing ask once more.
    sandbox.run("get plant --no-store").fails(6);
    assert_eq!(server.count(), 3);
    let_pass(&sandbox, 3600);
    server.next(issue("4"));
    assert_eq!(sandbox.run("get plant --fresh").silent().line(), format!("at-4-{CANARY}"));
    assert_eq!(counted(&sandbox)["sent"].as_array().unwrap().len(), 1);
}

#[test]
fn a_token_that_is_still_good_is_given_where_it_cannot_be_renewed_yet() {
    let server = Server::script([Reply::json(
        200,
        json!({"access_token": format!("at-1-{CANARY}"), "expires_in": 3600, "refresh_token": format!("rt-1-{CANARY}")}),
    )]);
    let sandbox = plant("{ requests = 1, within = \"1d\" }", &server);
    sandbox.run("get plant").silent();
    sandbox.config("[profile.plant]\nmin_ttl = \"2h\"\n");
    let out = sandbox.run("get plant").says("not renewed yet").says("the provider takes 1 in 1d");
    assert_eq!(out.line(), format!("at-1-{CANARY}"));
    // Who asks for more does not get less.
    sandbox.run("get plant --min-ttl 2h").fails(6).says("no token request was sent");
    sandbox.run("get plant --fresh").fails(6);
    assert_eq!(server.count(), 1);
    let_pass(&sandbox, 86_400);
    server.next(issue("2"));
    assert_eq!(sandbox.run("get plant --fresh").silent().line(), format!("at-2-{CANARY}"));
    assert_eq!(server.last().field("refresh_token"), format!("rt-1-{CANARY}"));
}

#[test]
fn a_hundred_scripts_with_a_wrong_secret_do_not_lock_the_account() {
    let server = Server::script((0..4).map(|_| refusal()));
    let sandbox = plant("{ refusals = 4, within = \"15m\" }", &server);
    let calls: Vec<_> = (0..20).map(|_| sandbox.tok(["get", "plant"]).spawn()).collect();
    let ends: Vec<_> = calls.into_iter().map(|call| call.wait()).collect();
    let (sent, others): (Vec<_>, Vec<_>) = ends.into_iter().partition(|out| out.status.code() == Some(5));
    assert_eq!((sent.len(), others.len()), (4, 16));
    for out in others {
        out.fails(4).says("4 were refused in 15m, and more may lock the account").hints_at("tok login plant key");
    }
    assert_eq!(server.count(), 4);
    // A profile of which nothing else is kept is none of the list.
    sandbox.run("list").prints("");
    // A person may try: once more refused it counts, and once it works nothing is held against the secret.
    server.next(refusal());
    sandbox.run("login plant key").fails(5);
    sandbox.run("get plant").fails(4);
    server.next(issue("1"));
    sandbox.run("login plant key").prints("");
    server.next(issue("2"));
    assert_eq!(sandbox.run("get plant --fresh").silent().line(), format!("at-2-{CANARY}"));
    assert_eq!(server.count(), 7);
}

#[test]
fn what_is_counted_goes_with_the_profile_and_the_clock() {
    let server = Server::script([issue("1"), issue("2")]);
    let sandbox = plant("{ requests = 1, within = \"1h\" }", &server);
    sandbox.run("login plant key").prints("");
    sandbox.run("get plant --fresh").fails(6);
    // The clock was set back since: what is yet to come is none of what was.
    let_pass(&sandbox, -86_400);
    sandbox.run("get plant --fresh").silent();
    assert!(counted(&sandbox)["sent"][0].as_i64().unwrap() <= now());
    sandbox.run("logout plant");
    assert!(!sandbox.state_dir().join("kept/plant.requests").exists());
}

#[test]
fn the_file_says_what_is_counted_and_providers_shows_it() {
    let server = Server::script([]);
    for (limits, says) in [
        ("{ requests = 3 }", "expected { requests = 10, within = \"10m\" }"),
        ("{ requests = 3, refusals = 3, within = \"1h\" }", "expected { requests = 10, within = \"10m\" }"),
        ("{ requests = 0, within = \"1h\" }", "expected a number from 1 to 1000"),
        ("{ requests = 3, within = \"soon\" }", "`soon` is not a duration"),
        ("{ requests = 3, within = \"1h\", per = \"user\" }", "unknown key `per`"),
    ] {
        plant(limits, &server).run("get plant").fails(3).says(says).says("plant.toml:2:");
    }
    let sandbox = plant("{ requests = 3, within = \"1h\" }, { refusals = 4, within = \"15m\" }", &server);
    let out = sandbox.run("providers plant").silent();
    assert!(
        out.stdout.contains("3 requests for a token in 1h") && out.stdout.contains("4 refusals for a token in 15m")
    );
    let shown: Value = serde_json::from_str(&sandbox.run("providers plant --json").silent().stdout).unwrap();
    assert_eq!(shown["limits"], json!([{"requests": 3, "within": 3600}, {"refusals": 4, "within": 900}]));
    // The built-in ones have theirs, and a file that is like one too.
    for (name, count) in [("zoho", 1), ("home-connect", 3), ("vault", 1)] {
        let shown: Value = serde_json::from_str(&sandbox.run(&format!("providers {name} --json")).stdout).unwrap();
        assert_eq!(shown["limits"].as_array().unwrap().len(), count, "{name}");
    }
    sandbox.provider("our-zoho", "title = \"Ours\"\nlike = \"zoho\"\n");
    let shown: Value = serde_json::from_str(&sandbox.run("providers our-zoho --json").stdout).unwrap();
    assert_eq!(shown["limits"], json!([{"requests": 10, "within": 600}]));
}

/// Of a refresh as of a grant, and where other machines share the session.
#[test]
fn refused_refreshes_count_in_every_store() {
    let first =
        json!({"access_token": format!("at-{CANARY}"), "expires_in": 3600, "refresh_token": format!("rt-{CANARY}")});
    let sqlite = Sqlite::new();
    for is_shared in [false, true] {
        let server = Server::script([Reply::json(200, first.clone()), refusal(), refusal()]);
        let mut sandbox = plant("{ refusals = 2, within = \"15m\" }", &server);
        if is_shared {
            sqlite.keeps(&mut sandbox);
        }
        sandbox.run("get plant").silent();
        for _ in 0..2 {
            sandbox.run("get plant --fresh").fails(5);
        }
        sandbox.run("get plant --fresh").fails(4).says("2 were refused in 15m");
        assert_eq!(server.count(), 3, "shared: {is_shared}");
    }
}
