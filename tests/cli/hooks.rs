//! `[on]`: what a hook is told, and that it never stands in the way.

use crate::support::server::Server;
use crate::support::{CANARY, Sandbox, plain, until};
use serde_json::json;

/// A hook that writes down what it is told.
fn hooks(sandbox: &Sandbox) -> String {
    let log = sandbox.work().join("told");
    let script = format!("env | grep -i ^tok_ | sort >>{0}; echo end >>{0}; echo to-stdout", log.display());
    let quoted = |name: &str| format!("{name} = [\"/bin/sh\", \"-c\", {}]\n", json!(script));
    format!("{}{}", quoted("renewed"), quoted("login_needed"))
}

fn told(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.work().join("told")).unwrap_or_default()
}

#[test]
fn a_hook_is_told_of_a_renewal_once_and_of_no_secret() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.config(&format!("[on]\n{}", hooks(&sandbox)));
    let token = sandbox.run("get plain").silent().line();
    let said = told(&sandbox);
    let expected = "TOK_EVENT=renewed\nTOK_EVENT_PROFILE=plain\nTOK_EVENT_REASON=a new access token was issued\nend\n";
    assert_eq!(said, expected);
    assert!(!said.contains(CANARY));
    assert_eq!(sandbox.run("get plain").silent().line(), token);
    assert_eq!(told(&sandbox), expected, "a cached token is no renewal");
    sandbox.run("exec plain -- true").silent().ok();
    assert_eq!(told(&sandbox), expected);
    sandbox.run("exec --fresh plain -- true").silent().ok();
    assert_eq!(told(&sandbox), expected.repeat(2));
}

#[test]
fn a_hook_is_told_that_a_person_is_needed() {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET");
    sandbox.config(&format!("[on]\n{}", hooks(&sandbox)));
    sandbox.run("get plain").fails(4);
    let said = told(&sandbox);
    for line in ["TOK_EVENT=login_needed", "TOK_EVENT_PROFILE=plain", "TOK_EVENT_REASON=", "TOK_EVENT_HINT="] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.contains("client_secret"), "{said}");
    sandbox.run("exec plain -- true").fails(125);
    assert_eq!(told(&sandbox).matches("end\n").count(), 2);
    // Nobody has to do anything about what is not cached.
    sandbox.run("get plain --offline").fails(4);
    assert_eq!(told(&sandbox).matches("end\n").count(), 2);
}

#[test]
fn a_profile_s_hook_stands_in_place_of_the_general_one() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let general = "[on]\nrenewed = [\"/bin/sh\", \"-c\", \"echo general >>told\"]\n";
    sandbox.config(&format!("{general}[profile.plain.on]\nrenewed = [\"/bin/sh\", \"-c\", \"echo own >>told\"]\n"));
    sandbox.run("get plain --fresh").silent().ok();
    assert_eq!(told(&sandbox), "own\n");
    sandbox.config(&format!("{general}[profile.plain]\non = {{ renewed = [] }}\n"));
    sandbox.run("get plain --fresh").silent().ok();
    assert_eq!(told(&sandbox), "own\n", "an empty list is none");
    sandbox.config(general);
    sandbox.run("get plain --fresh").silent().ok();
    assert_eq!(told(&sandbox), "own\ngeneral\n");
}

#[test]
fn a_hook_that_fails_or_hangs_is_a_warning() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    for (command, said) in [
        ("[\"/bin/false\"]", "it failed"),
        ("[\"no-such-program\"]", "program not found"),
        ("[\"/bin/sh\", \"-c\", \"echo gone >>told; sleep 600\"]", "longer than 5s"),
    ] {
        sandbox.config(&format!("[on]\nrenewed = {command}\n"));
        let out = sandbox.run("get plain --fresh").ok().says("tok: warning: plain: the hook renewed").says(said);
        assert!(out.stdout.contains(CANARY), "the answer is there: {out}");
        sandbox.run("get plain --fresh -q").silent().ok();
    }
    for wrong in ["[\"./x\"]", "[\"\"]", "\"x\"", "[1]", "{ a = 1 }"] {
        sandbox.config(&format!("[on]\nrenewed = {wrong}\n"));
        sandbox.run("get plain").fails(3).says("config.toml:2:");
    }
    sandbox.config("[on]\nrenewd = [\"true\"]\n");
    sandbox.run("get plain").fails(3).says("did you mean `renewed`?");
}

#[test]
fn a_hook_that_runs_tok_does_not_set_off_itself() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let script = format!("echo run >>told; {} get plain --fresh --client-secret-file s", env!("CARGO_BIN_EXE_tok"));
    crate::support::put(&sandbox.work().join("s"), format!("plain-secret-{CANARY}").as_bytes());
    sandbox.config(&format!("store = \"file\"\n[on]\nrenewed = [\"/bin/sh\", \"-c\", {}]\n", json!(script)));
    sandbox.run("get plain --fresh").silent().ok();
    assert_eq!(told(&sandbox), "run\n");
    assert_eq!(server.count(), 2);
}

#[test]
fn the_answer_is_out_before_the_hook_runs() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    // The hook waits for what the test writes once it has read the token.
    let go = sandbox.work().join("go");
    let script = format!("until test -e {}; do :; done", go.display());
    sandbox.config(&format!("[on]\nrenewed = [\"/bin/sh\", \"-c\", {}]\n", json!(script)));
    let file = sandbox.work().join("token");
    let running = sandbox.tok(["get", "plain"]).stdout(std::fs::File::create(&file).unwrap()).spawn();
    until("the token is there", || std::fs::read(&file).is_ok_and(|bytes| bytes.ends_with(b"\n")));
    std::fs::write(&go, "").unwrap();
    let out = running.wait();
    assert_eq!(out.code, 0, "{out}");
}
