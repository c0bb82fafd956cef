//! `tok status` and `tok list`: who is logged in where, and whether a token can be had, without asking anybody.

use crate::support::apiax::{self, Apiax};
use crate::support::issuer::Issuer;
use crate::support::keyring::Keyring;
use crate::support::purewl::PureWl;
use crate::support::server::{Received, Reply, Server};
use crate::support::xcover::XCover;
use crate::support::{CANARY, Output, Sandbox, now, plain, plain_provider};
use serde_json::{Value, json};

/// The row of `profile` in what `tok status --json` prints, whatever its exit status.
#[track_caller]
fn row(out: &Output, profile: &str) -> Value {
    let all: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"));
    let found = all.as_array().unwrap().iter().find(|row| row["profile"] == profile).cloned();
    found.unwrap_or_else(|| panic!("{profile}: {out}"))
}

/// `tok status --json` of `profile`: its row, where the exit status is `code`.
#[track_caller]
fn status(sandbox: &Sandbox, profile: &str, code: i32) -> Value {
    let out = sandbox.run(&format!("status {profile} --json")).silent();
    assert_eq!(out.code, code, "{out}");
    row(&out, profile)
}

#[track_caller]
fn reason(row: &Value) -> &str {
    row["reason"].as_str().unwrap_or_default()
}

/// A server that issues rotating refresh tokens until `refusal` is set, with a session logged in to from a secret that
/// is not kept. `seconds` is how long each access token lives.
fn session(seconds: i64) -> (Server, Sandbox) {
    let server = Server::new(move |request: &Received| match request.field("grant_type").as_str() {
        "refresh_token" if request.field("refresh_token").ends_with("dead") => {
            Reply::json(400, json!({"error": "invalid_grant", "error_description": "session revoked"}))
        }
        _ => Reply::json(
            200,
            json!({"access_token": format!("at-{CANARY}"), "expires_in": seconds, "refresh_token": format!("rt-{CANARY}-dead")}),
        ),
    });
    let sandbox = Sandbox::with_file_config("");
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-id", "robot", "--client-secret-file", &secret]).run().prints("");
    (server, sandbox)
}

#[test]
fn a_profile_that_was_never_used_is_unknown() {
    let sandbox = Sandbox::with_file_store();
    let row = status(&sandbox, "purewl", 4);
    assert_eq!((&row["status"], &row["as_of"], &row["account"]), (&json!("unknown"), &Value::Null, &Value::Null));
    assert_eq!((&row["access_expires_at"], &row["refresh_token"]), (&Value::Null, &json!(false)));
    assert!(sandbox.files().is_empty(), "it leaves nothing behind");
    sandbox.run("status nonsense").fails(3);
    assert_eq!(sandbox.run("status --json").silent().json(), json!([]));
}

#[test]
fn after_a_login_it_is_ready_and_says_for_whom_since_when_and_until_when() {
    let (begin, apiax) = (now(), Apiax::start());
    let sandbox = apiax.logged_in();
    let row = status(&sandbox, "apiax", 0);
    assert_eq!((&row["status"], &row["reason"]), (&json!("ready"), &Value::Null));
    assert_eq!(
        (&row["account"], &row["provider"], &row["grant"]),
        (&json!(apiax::USERNAME), &json!("apiax"), &json!("password"))
    );
    assert_eq!((&row["refresh_token"], &row["store"]), (&json!(true), &json!("file")));
    let at = |name: &str| crate::json::epoch(row[name].as_str().unwrap_or_else(|| panic!("{name}: {row}")));
    assert!((begin..=now()).contains(&at("as_of")), "{row}");
    assert!(at("access_expires_at") > begin && at("refresh_expires_at") > begin, "{row}");
    let out = sandbox.run("whoami apiax").ok().silent();
    assert!(
        out.stdout.contains(apiax::USERNAME) && out.stdout.contains("ready") && out.stdout.contains(" in "),
        "{out}"
    );
}

#[test]
fn a_session_renews_once_its_token_has_expired_and_the_values_of_a_grant_do_too() {
    let (_server, sandbox) = session(1);
    let begin = now();
    crate::support::until("the token has expired", || now() > begin + 1);
    let row = status(&sandbox, "plain", 0);
    assert_eq!((&row["status"], &row["account"]), (&json!("renews"), &json!("robot")));
    // Client credentials in the environment: nothing was ever kept.
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    assert_eq!(status(&sandbox, "plain", 0)["status"], "renews");
    sandbox.run("get plain").line();
    assert_eq!(status(&sandbox, "plain", 0)["status"], "ready");
    assert_eq!(server.count(), 1, "nothing is asked");
}

#[test]
fn a_dead_session_is_known_from_the_last_refusal_and_told_beside_a_token_that_is_still_good() {
    let begin = now();
    let (server, sandbox) = session(600);
    sandbox.run("get plain --fresh").fails(4);
    let sent = server.count();
    let row = status(&sandbox, "plain", 0);
    assert_eq!(row["status"], "ready");
    assert!(reason(&row).contains("ended") && reason(&row).contains("session revoked"), "{row}");
    assert!(crate::json::epoch(row["as_of"].as_str().unwrap()) >= begin, "{row}");
    // At a glance it is not like one that goes on.
    for verb in ["list", "status"] {
        assert!(sandbox.run(verb).ok().stdout.contains("ready, cannot renew"));
    }
    // Once the token is gone, a person is needed.
    std::fs::remove_dir_all(sandbox.state_dir().join("cache")).unwrap();
    let row = status(&sandbox, "plain", 4);
    assert_eq!((&row["status"], &row["refresh_token"]), (&json!("login_needed"), &json!(false)));
    assert!(reason(&row).contains("session revoked"), "{row}");
    let out = sandbox.run("status plain").silent();
    assert!(out.code == 4 && out.stdout.contains("login needed") && out.stdout.contains("tok login plain"), "{out}");
    let listed = sandbox.run("list").ok().silent();
    assert!(listed.stdout.contains("login needed") && listed.stdout.contains("robot"), "{listed}");
    assert_eq!(server.count(), sent, "nothing is asked");
    // The next login clears it.
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    let row = status(&sandbox, "plain", 0);
    assert_eq!((&row["status"], &row["reason"]), (&json!("ready"), &Value::Null));
}

#[test]
fn a_stored_secret_that_was_refused_needs_a_login_and_another_secret_given_does_not() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.logged_in();
    purewl.state(|s| s.secret_keys = vec![format!("new-{CANARY}")]);
    purewl.state(|s| s.alive.clear());
    sandbox.run("get purewl --fresh").fails(5);
    std::fs::remove_dir_all(sandbox.state_dir().join("cache")).unwrap();
    let row = status(&sandbox, "purewl", 4);
    assert_eq!(row["status"], "login_needed");
    assert!(reason(&row).contains("refused"), "{row}");
    sandbox.set("TOK_PUREWL_SECRET_KEY", format!("new-{CANARY}"));
    assert_eq!(status(&sandbox, "purewl", 0)["status"], "renews");
    sandbox.run("get purewl").line();
    sandbox.unset("TOK_PUREWL_SECRET_KEY");
}

#[test]
fn a_refusal_of_what_one_call_asked_for_is_not_noted_and_that_of_the_settings_is() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.config("[profile.plain]\nprovider = \"plain\"\n");
    let refused = || Reply::json(400, json!({"error": "invalid_scope"}));
    server.next(refused());
    sandbox.run("get plain --scope other").fails(5);
    let row = status(&sandbox, "plain", 0);
    assert_eq!((&row["status"], &row["reason"]), (&json!("renews"), &Value::Null));
    server.next(refused());
    sandbox.run("get plain").fails(5);
    let row = status(&sandbox, "plain", 4);
    assert!(row["status"] == "login_needed" && reason(&row).contains("invalid_scope"), "{row}");
    // Other settings were not refused, and a token ends it.
    sandbox.config("[profile.plain]\nprovider = \"plain\"\nscope = [\"a\"]\n");
    assert_eq!(status(&sandbox, "plain", 0)["status"], "renews");
    sandbox.config("[profile.plain]\nprovider = \"plain\"\n");
    sandbox.run("get plain").line();
    std::fs::remove_dir_all(sandbox.state_dir().join("cache")).unwrap();
    assert_eq!(status(&sandbox, "plain", 0)["status"], "renews");
}

#[test]
fn a_store_that_the_last_call_could_not_read_is_7_until_it_can_be() {
    let (_server, sandbox) = session(600);
    std::fs::remove_dir_all(sandbox.state_dir().join("cache")).unwrap();
    sandbox.run("status plain").ok();
    crate::support::chmod(&sandbox.secrets_file(), 0o644);
    sandbox.run("get plain").fails(7);
    let row = status(&sandbox, "plain", 7);
    assert_eq!(row["status"], "store_locked");
    assert!(!reason(&row).is_empty() && row["as_of"].is_string(), "{row}");
    // Where another needs a person, that comes first.
    let out = sandbox.run("status plain purewl").silent();
    assert_eq!(out.code, 4, "{out}");
    crate::support::chmod(&sandbox.secrets_file(), 0o600);
    sandbox.run("status plain --online").ok().silent();
    assert_eq!(status(&sandbox, "plain", 0)["status"], "renews");
}

#[test]
fn without_online_no_keyring_is_opened_and_with_it_what_it_holds_counts() {
    let keyring = Keyring::unlocked();
    let (_server, mut sandbox) = session(600);
    sandbox.config("store = \"keyring\"");
    sandbox.set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-id", "robot", "--client-secret-file", &secret]).run().prints("");
    std::fs::remove_dir_all(sandbox.state_dir().join("cache")).unwrap();
    let calls = keyring.monitored(|| {
        sandbox.run("status").ok().silent();
        sandbox.run("list").ok().silent();
    });
    assert_eq!(calls.by_connection(), Vec::<Vec<String>>::new());
    sandbox.run("status plain --online").ok().silent();
    keyring.lock();
    let out = sandbox.run("status plain --online --json").silent();
    assert_eq!((out.code, &row(&out, "plain")["status"]), (7, &json!("store_locked")), "{out}");
    assert_eq!(status(&sandbox, "plain", 7)["status"], "store_locked");
}

#[test]
fn online_finds_that_the_session_is_gone_from_the_store() {
    let (_server, sandbox) = session(600);
    std::fs::remove_dir_all(sandbox.state_dir().join("cache")).unwrap();
    std::fs::remove_file(sandbox.secrets_file()).unwrap();
    assert_eq!(status(&sandbox, "plain", 0)["status"], "renews", "the index knows no better");
    let out = sandbox.run("status plain --online --json").silent();
    assert_eq!((out.code, &row(&out, "plain")["status"]), (4, &json!("login_needed")), "{out}");
    assert_eq!(status(&sandbox, "plain", 4)["status"], "login_needed");
}

#[test]
fn the_account_is_the_person_of_the_id_token_also_after_a_refresh_without_one() {
    let issuer = Issuer::start();
    issuer.state(|s| s.claims = json!({"sub": "u-1", "email": "anna@example.com"}));
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code").prints("");
    assert_eq!(status(&sandbox, "oidc", 0)["account"], "anna@example.com");
    let token = json!({"access_token": format!("at-{CANARY}-x"), "expires_in": 600, "token_type": "Bearer"});
    issuer.script("/token", [Reply::json(200, token)]);
    sandbox.run("get oidc --fresh").line();
    std::fs::remove_dir_all(sandbox.state_dir().join("cache")).unwrap();
    assert_eq!(status(&sandbox, "oidc", 0)["account"], "anna@example.com");
}

#[test]
fn six_accounts_are_seen_at_a_glance() {
    let (purewl, xcover, apiax) = (PureWl::start(), XCover::start(), Apiax::start());
    let mut sandbox = purewl.logged_in();
    sandbox.set("TOK_XCOVER_BASE_URL", xcover.server.url()).set("TOK_APIAX_BASE_URL", apiax.server.url());
    apiax::login(&sandbox);
    sandbox.config(
        "[profile.a]\nprovider = \"xcover\"\nclient_id = \"one\"\n[profile.b]\nprovider = \"xcover\"\nclient_id = \"two\"\n\
         [profile.c]\nprovider = \"elasticpath\"\nclient_id = \"three\"\ngrant = \"implicit\"\n[profile.d]\nprovider = \"oidc\"\n",
    );
    let out = sandbox.run("status").silent();
    assert_eq!(out.code, 4, "{out}");
    assert_eq!(out.stdout.lines().filter(|line| !line.starts_with(' ')).count(), 7, "{out}");
    for (name, words) in [("a ", "unknown"), ("apiax", "ready"), ("c ", "renews"), ("purewl", "ready")] {
        assert!(out.stdout.lines().any(|line| line.starts_with(name) && line.contains(words)), "{name}: {out}");
    }
    for columns in ["40", "80"] {
        let out = sandbox.tok(["status"]).env("COLUMNS", columns).run();
        let widest = out.stdout.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= columns.parse().unwrap(), "{columns}: {out}");
    }
}

#[test]
fn times_for_people_are_local_and_relative_and_json_is_utc() {
    let server = Server::issuing(3600 * 30);
    let mut sandbox = plain(&server.url());
    sandbox.run("get plain").line();
    let expires = crate::json::epoch(status(&sandbox, "plain", 0)["access_expires_at"].as_str().unwrap());
    let clock = |seconds: i64| format!("{:02}:{:02}", seconds.rem_euclid(86_400) / 3600, seconds.rem_euclid(3600) / 60);
    for (zone, offset) in [("XST-5:30", 19_800), ("YST+8", -28_800), ("UTC0", 0)] {
        sandbox.set("TZ", zone);
        let out = sandbox.run("status plain").ok().silent();
        assert!(out.stdout.contains(&clock(expires + offset)), "{zone}: {out}");
        assert!(out.stdout.contains("in 1d5h") || out.stdout.contains("in 1d6h"), "{out}");
        assert!(sandbox.run("status plain --json").json()[0]["access_expires_at"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn a_session_in_another_store_is_told() {
    let (_server, sandbox) = session(600);
    std::fs::remove_dir_all(sandbox.state_dir().join("cache")).unwrap();
    let out = sandbox.tok(["status", "plain", "--json"]).env("TOK_STORE", "keyring").run().silent();
    let row = row(&out, "plain");
    assert_eq!((out.code, &row["status"], &row["store"]), (4, &json!("login_needed"), &json!("file")), "{row}");
    assert!(reason(&row).contains("file store") && reason(&row).contains("TOK_STORE"), "{row}");
}

#[test]
fn status_json_and_list_json_are_alike_and_have_the_keys_of_the_contract() {
    let (_server, sandbox) = session(600);
    let (one, other) = (sandbox.run("status --json").json(), sandbox.run("list --json").json());
    assert_eq!(one, other);
    for key in [
        "profile",
        "provider",
        "grant",
        "account",
        "status",
        "reason",
        "as_of",
        "access_expires_at",
        "refresh_token",
        "refresh_expires_at",
        "store",
    ] {
        assert!(one[0].get(key).is_some(), "{key}: {one}");
    }
}

#[test]
fn an_empty_list_says_how_to_log_in() {
    let sandbox = Sandbox::with_file_store();
    for verb in ["list", "status"] {
        let (screen, code) = sandbox.tok([verb]).on_terminal().end();
        assert!(code == 0 && screen.contains("tok login"), "{screen}");
    }
}
