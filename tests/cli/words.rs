//! What is said to somebody who lacks a value or was refused, and that it leads on.

use crate::skip::needs;
use crate::support::apiax::Apiax;
use crate::support::elasticpath::{self, ElasticPath};
use crate::support::keyring::Keyring;
use crate::support::purewl::{self, PureWl};
use crate::support::{CANARY, Output, Sandbox};

/// The command of the hint, as a shell reads it.
fn command(out: &Output) -> Vec<String> {
    let hint = out.stderr.lines().find(|line| line.starts_with("hint: ")).expect("a hint");
    let at = hint.find("tok ").unwrap_or_else(|| panic!("no command: {hint}"));
    shlex::split(&hint[at..]).expect("words").split_off(1)
}

#[test]
fn the_hint_of_a_refused_login_is_the_same_command_again() {
    let elasticpath = ElasticPath::start();
    let sandbox = Sandbox::with_file_store();
    let wrong = sandbox.file("it's secret", format!("wrong-{CANARY}"));
    let path = wrong.to_str().unwrap();
    let line = ["login", "elasticpath", "--as", "shop-eu2", "--base-url", &elasticpath.server.url(), "--client-id"];
    let line = line.into_iter().chain([elasticpath::CLIENT_ID, "--client-secret-file", path]);
    let out = sandbox.tok(line.clone()).run().fails(5);
    assert_eq!(command(&out), line.collect::<Vec<_>>());
    // Once the secret is right it works, there and not at the default.
    sandbox.file("it's secret", elasticpath::client_secret());
    sandbox.tok(command(&out)).run().prints("");
    sandbox.run("get shop-eu2").silent().line();
}

#[test]
fn without_a_terminal_the_hint_of_a_refused_kept_secret_is_its_flag() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    purewl.state(|s| s.secret_keys.clear());
    let out = sandbox.run("login purewl").fails(5);
    assert_eq!(command(&out), ["login", "purewl", "--secret-key-file", "PATH"]);
}

#[test]
fn a_missing_secret_without_a_keyring_is_named_with_its_variable_and_a_near_miss() {
    let sandbox = Sandbox::new();
    let miss = |name: &str, variable: &str| {
        let out = sandbox.tok(["get", name]).env(variable, format!("x-{CANARY}")).run().fails(7);
        out.says(variable).never_says("DBUS").never_says("D-Bus")
    };
    let out = miss("purewl", "TOK_PUREWL_SECRET").says("purewl needs secret_key");
    out.hints_at("TOK_PUREWL_SECRET_KEY");
    let out = sandbox.tok(["get", "xcover", "--client-id", "x"]).env("TOK_XCOVER_SECRET", format!("x-{CANARY}")).run();
    out.fails(7)
        .says("xcover needs client_secret")
        .says("TOK_XCOVER_SECRET is set")
        .hints_at("TOK_XCOVER_CLIENT_SECRET");
}

#[test]
fn what_another_store_keeps_is_named_with_the_place_that_was_looked_in() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    purewl::login(&sandbox);
    let stores = |sandbox: &Sandbox| sandbox.run("list --json").json()[0]["store"].clone();
    sandbox.set("TOK_STORE", "file");
    let out = sandbox.run("get purewl --fresh").fails(4).says("it is in the keyring store").says("TOK_STORE");
    assert!(out.stderr.contains("looked in the file store"), "{out}");
    assert_eq!(stores(&sandbox), "keyring");
    sandbox.tok(command_after_variable(&out)).env("TOK_STORE", "keyring").run().line();
    // And the reverse.
    sandbox.unset("TOK_STORE");
    sandbox.run("logout purewl").prints("");
    let login = sandbox.file_arg("secret_key", purewl::secret_key());
    let line = ["login", "purewl", "secret", "--secret-key-file", &login];
    sandbox.tok(line).env("TOK_STORE", "file").run().prints("");
    let out = sandbox.run("get purewl --fresh").fails(4).says("it is in the file store");
    assert!(out.stderr.contains("looked in the keyring store"), "{out}");
    assert_eq!(stores(&sandbox), "file");
}

fn command_after_variable(out: &Output) -> Vec<String> {
    assert!(out.stderr.contains("run: TOK_STORE=keyring tok get purewl"), "{out}");
    command(out)
}

#[test]
fn a_session_that_began_with_a_refresh_token_from_elsewhere_is_begun_again_with_one() {
    let apiax = Apiax::start();
    apiax.state(|s| s.alive.insert(format!("rt-{CANARY}-own"), None));
    let sandbox = apiax.sandbox();
    let own = sandbox.file_arg("own", format!("rt-{CANARY}-own"));
    sandbox.tok(["login", "apiax", "refresh", "--refresh-token-file", &own]).run().prints("");
    apiax.state(|s| s.alive.clear());
    for _ in 0..2 {
        let out = sandbox.run("get apiax --fresh").fails(4);
        assert_eq!(command(&out), ["login", "apiax", "refresh", "--refresh-token-file", "PATH"]);
    }
    apiax.state(|s| s.alive.insert(format!("rt-{CANARY}-own2"), None));
    let own = sandbox.file_arg("own", format!("rt-{CANARY}-own2"));
    sandbox.tok(["login", "apiax", "refresh", "--refresh-token-file", &own]).run().prints("");
}
