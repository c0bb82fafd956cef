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

#[test]
fn doctor_and_status_say_that_what_is_stored_is_for_another_server() {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET").unset("TOK_STORE");
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.run(&format!("login plain --client-id robot --client-secret-file {secret} --keep --store file")).ok();
    sandbox.run("doctor").ok();
    sandbox.set("TOK_PLAIN_BASE_URL", "http://127.0.0.1:1");
    std::fs::remove_dir_all(sandbox.state_dir().join("cache")).ok();
    let why = format!("go to {} only, not to http://127.0.0.1:1", server.url());
    let out = sandbox.run("status plain");
    assert!(out.code == 4 && out.stdout.contains(&why), "{out}");
    let out = sandbox.run("doctor");
    assert!(out.code == 1 && out.stdout.contains(&why) && out.stdout.contains("tok login plain"), "{out}");
}

#[test]
fn a_store_and_a_folder_that_are_not_ours_alone_are_mended_by_the_command_of_the_hint() {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET").unset("TOK_STORE");
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.run(&format!("login plain --client-id robot --client-secret-file {secret} --keep --store file")).ok();
    let mended = |verb: &str, code: i32| {
        let out = sandbox.run(verb).fails(code);
        let hint = out.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).expect("a hint");
        let command = hint.split_once(": ").expect("a command").1;
        let command = command.split(" && tok login").next().unwrap();
        let done = std::process::Command::new("sh").args(["-c", command]).status().unwrap();
        assert!(done.success(), "{command}");
        out
    };
    let data = sandbox.secrets_file();
    for (path, mode) in [(data.as_path(), 0o644), (data.parent().unwrap(), 0o777), (&sandbox.state_dir(), 0o770)] {
        crate::support::chmod(path, mode);
        mended("get plain --fresh", if path == sandbox.state_dir() { 1 } else { 7 });
        sandbox.run("get plain --fresh").line();
    }
    // One that is no JSON is moved away; then it takes the login that the hint names too.
    crate::support::put(&data, b"{");
    mended("get plain --fresh", 7).hints_at("tok login plain");
    assert!(!data.exists());
    sandbox.run(&format!("login plain --client-id robot --client-secret-file {secret} --keep")).ok();
    sandbox.run("get plain --fresh").line();
    crate::support::chmod(&data, 0o644);
    let out = sandbox.run("doctor");
    assert!(out.code == 1 && out.stdout.contains("chmod"), "{out}");
}

#[test]
fn doctor_takes_nothing_for_known_of_a_config_that_it_cannot_read() {
    let sandbox = Sandbox::with_file_config("[profile.a]\nprovider = \"xcover\"\nclient_id = \"x\"\n");
    crate::support::chmod(&sandbox.config_file(), 0o666);
    let out = sandbox.run("doctor");
    assert!(out.code == 1 && out.stdout.contains("chmod go-w"), "{out}");
    assert!(!out.stdout.contains("not logged in"), "{out}");
    // Nor is the default store of interest, which that config does not name.
    assert!(!out.stdout.contains("keyring"), "{out}");
}

#[test]
fn a_login_that_lacks_a_client_says_where_one_is_registered() {
    let sandbox = Sandbox::with_file_store();
    let page = "register a client at https://github.com/settings/applications/new";
    sandbox.run("login github --no-input").fails(4).says(page).says("--client-id VALUE").hints();
    let mut terminal = sandbox.tok(["login", "github"]).on_terminal();
    terminal.expect(&format!("Client ID ({page}): "));
    terminal.control('c');
}
