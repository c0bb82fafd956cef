//! Values from a `command` of the config: what it is given, what is shown of it, and that it starts no other.

use crate::support::server::Server;
use crate::support::{CANARY, Sandbox, chmod, contains, plain_provider, put, until};

/// A sandbox whose profile `p` has its secret from a script.
fn with_script(server: &Server, script: &str) -> Sandbox {
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let path = sandbox.work().join("script");
    put(&path, format!("#!/bin/sh\n{script}\n").as_bytes());
    chmod(&path, 0o755);
    sandbox.config(&profile("p", &[path.to_str().unwrap()]));
    sandbox
}

fn profile(name: &str, command: &[&str]) -> String {
    format!("[profile.{name}]\nprovider = \"plain\"\nclient_secret = {{ command = {command:?} }}\n")
}

#[test]
fn what_it_says_on_stderr_is_shown_and_what_it_prints_is_not() {
    let server = Server::issuing(600);
    let script = format!("echo 'the vault is sealed' >&2; echo 'part-{CANARY}'; exit 3");
    let sandbox = with_script(&server, &script);
    for line in ["get p", "get p -vvv", "header p", "get p --json"] {
        // Each run is checked for the canary.
        sandbox.run(line).fails_with_one_of(&[3]).says("the vault is sealed").says("exit status: 3");
    }
    assert_eq!(server.connections(), 0);
    assert!(sandbox.files_with(CANARY).is_empty());
}

#[test]
fn it_has_no_stdin_and_no_shell_and_no_variable_of_tok() {
    let server = Server::issuing(600);
    let script = format!("env > \"$0.env\"; cat > \"$0.stdin\"; echo \"secret-{CANARY}\"");
    let sandbox = with_script(&server, &script);
    sandbox.tok(["get", "p"]).stdin("typed").env("TOK_OTHER_SECRET", "x").run().silent().line();
    let read = |end: &str| std::fs::read_to_string(sandbox.work().join(format!("script.{end}"))).unwrap();
    assert_eq!(read("stdin"), "");
    assert!(!read("env").lines().any(|line| line.starts_with("TOK_")), "{}", read("env"));
}

#[test]
fn its_whole_process_group_ends_with_the_limit() {
    let server = Server::issuing(600);
    // A child that would outlive it, and writes a line when it is asked to end.
    let script = "sh -c 'echo $$ > \"$0.child\"; exec sleep 600' \"$0\" & wait";
    let sandbox = with_script(&server, script);
    sandbox.run("get p --timeout 2s").fails(6).soon();
    let child = sandbox.work().join("script.child");
    let pid = std::fs::read_to_string(child).unwrap();
    let proc = std::path::PathBuf::from(format!("/proc/{}/cmdline", pid.trim()));
    until("its child has ended", || !std::fs::read(&proc).is_ok_and(|line| contains(&line, b"sleep")));
}

#[test]
fn tok_that_a_command_has_started_runs_none() {
    let server = Server::issuing(600);
    let sandbox = with_script(&server, "");
    let tok = env!("CARGO_BIN_EXE_tok");
    // Two that ask each other, and one that asks itself: no lock is waited for.
    let both = profile("p", &[tok, "get", "q"]) + &profile("q", &[tok, "get", "p"]) + &profile("r", &[tok, "get", "r"]);
    sandbox.config(&format!("store = \"file\"\n{both}"));
    for name in ["p", "q", "r"] {
        sandbox.run(&format!("get {name}")).fails(3).soon().says("started by such a command");
    }
    assert_eq!(server.connections(), 0);
    sandbox.assert_no_lock_is_held();
    // A token that needs no command is fine: one tok gets its secret from another.
    let chain = profile("p", &[tok, "get", "q"]);
    let secret = sandbox.file_arg("q", format!("s-{CANARY}"));
    let q = format!("[profile.q]\nprovider = \"plain\"\nclient_secret = {{ file = \"{secret}\" }}\n");
    sandbox.config(&format!("store = \"file\"\n{chain}{q}"));
    sandbox.run("get p").silent().line();
    assert_eq!(server.last().field("client_secret"), format!("at-{CANARY}-1"));
    // And so is one in the cache.
    sandbox.config(&format!("store = \"file\"\n{both}"));
    sandbox.tok(["get", "q"]).env("_TOK_IN_COMMAND", "1").run().fails(3);
}
