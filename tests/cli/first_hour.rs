//! What somebody new meets in the first hour, in the words that they know.

use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Sandbox, plain, plain_provider};
use serde_json::json;

#[test]
fn an_empty_list_says_what_to_run_wherever_it_goes_and_quiet_silences_it() {
    let sandbox = Sandbox::with_file_store();
    for verb in ["list", "status"] {
        let out = sandbox.run(verb).ok().says("log in: tok login");
        assert!(out.stdout.is_empty(), "{out}");
        sandbox.run(&format!("{verb} -q")).ok().silent();
        sandbox.run(&format!("{verb} --json")).ok().silent();
    }
}

#[test]
fn without_a_keyring_the_reason_is_in_plain_words_and_the_variable_is_told_with_v() {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    sandbox.unset("TOK_STORE").unset("TOK_PLAIN_CLIENT_SECRET");
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    let login = |more: &str| {
        sandbox.run(&format!("login plain --client-id robot --client-secret-file {secret} --keep{more}")).fails(7)
    };
    let out = login("").says("no desktop session").hints_at("--store file");
    out.never_says("DBUS").never_says("bus");
    login(" -v").says("DBUS_SESSION_BUS_ADDRESS is not set");
    assert_eq!(server.count(), 0);
}

#[test]
fn who_keeps_both_accounts_is_asked_once_where_the_secrets_go() {
    let server = Server::new(|request: &Received| {
        let client = request.field("client_id");
        Reply::json(
            200,
            json!({"access_token": format!("at-{client}"), "expires_in": 600, "refresh_token": format!("rt-{CANARY}-{client}")}),
        )
    });
    let sandbox = Sandbox::new();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    let line = |client: &str| {
        ["login", "plain", "--client-id", client, "--client-secret-file", &secret].map(str::to_string).to_vec()
    };
    // At the first login the file is chosen; it is the profile's from then on, and the new name's.
    let mut terminal = sandbox.tok(line("one")).on_terminal();
    terminal.expect("[y/N]: ");
    terminal.type_line("y");
    assert_eq!(terminal.end().1, 0);
    let keep_both = |client: &str, name: &str, asked: bool| {
        let mut terminal = sandbox.tok(line(client)).on_terminal();
        if asked {
            terminal.expect("[y/N]: ");
            terminal.type_line("y");
        }
        terminal.expect_like("(?i)replace[^\n]*: ");
        terminal.type_line("k");
        terminal.expect_like("(?i)name[^\n]*: ");
        terminal.type_line(name);
        let (rest, code) = terminal.end();
        assert!(code == 0 && !rest.contains("[y/N]"), "{rest}");
        sandbox.run(&format!("get {name} --fresh")).silent().line();
    };
    keep_both("two", "second", false);
    // Chosen in the same call.
    let text = std::fs::read_to_string(sandbox.config_file()).unwrap();
    let (head, rest) = text.split_once("store = \"file\"\n").unwrap();
    sandbox.config(&format!("{head}{rest}"));
    keep_both("three", "third", true);
}
