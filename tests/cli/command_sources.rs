//! What the programs of the config say on stderr: shown where they fail, however they fail; what they print never is.

use crate::support::server::Server;
use crate::support::{CANARY, Sandbox, plain, plain_provider};
use serde_json::json;

/// A profile whose secret is what `script` prints.
fn by_command(script: &str) -> (Sandbox, Server) {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET");
    let words = json!(["/bin/sh", "-c", script]);
    sandbox.config(&format!("[profile.plain]\nprovider = \"plain\"\nclient_secret = {{ command = {words} }}\n"));
    (sandbox, server)
}

#[test]
fn a_command_that_succeeds_says_nothing_but_with_verbose() {
    let (sandbox, _server) = by_command(&format!("echo noise >&2; echo secret-{CANARY} | tee /dev/stderr"));
    sandbox.run("get plain").silent().line();
    let out = sandbox.run("get plain --fresh -v").ok();
    assert!(out.stderr.contains("tok: noise\ntok: ***\n"), "{out}");
    assert!(!out.stderr.contains(CANARY), "{out}");
}

#[test]
fn a_command_that_fails_is_quoted_before_the_error() {
    let (sandbox, server) = by_command("echo 'shop/eu: not in the store' >&2; echo 'try again' >&2; exit 3");
    for line in ["get plain", "get plain -q"] {
        let out = sandbox.run(line).fails(3);
        let said: Vec<&str> = out.stderr.lines().collect();
        assert_eq!(said[..2], ["shop/eu: not in the store", "try again"], "{out}");
        assert!(said[2].starts_with("tok: ") && said[2].ends_with("it failed (exit status: 3)"), "{out}");
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn what_a_command_prints_is_shown_on_no_way() {
    let script = format!("set -x; echo secret-{CANARY}; exit 1");
    let (sandbox, _server) = by_command(&script);
    let out = sandbox.run("get plain").fails(3).says("+ echo ***");
    assert!(!out.stderr.contains(CANARY), "{out}");
}

#[test]
fn what_a_command_says_cannot_set_the_terminal_and_is_bounded() {
    let (sandbox, _server) = by_command("printf '\\033]0;owned\\007 \\342\\200\\256x\\r\\n' >&2; exit 1");
    let out = sandbox.run("get plain").fails(3).says("\\u{1b}]0;owned\\u{7} \\u{202e}x\n");
    assert!(!out.stderr.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{out}");
    let (sandbox, _server) = by_command("yes 'a line' | head -n 100000 >&2; echo 'the last' >&2; exit 1");
    let out = sandbox.run("get plain").fails(3).says("a line\nthe last\ntok: ");
    assert!(out.stderr.starts_with('…') && out.stderr.len() < 4500, "{out}");
    // It may go on for ever.
    let (sandbox, _server) = by_command("yes 'a line' >&2");
    let out = sandbox.run("get plain --timeout 1s").fails(6).says("a line\na").says("it timed out");
    assert!(out.stderr.len() < 4500, "{out}");
    let (sandbox, _server) = by_command("yes");
    sandbox.run("get plain --timeout 20s").fails(3).says("it printed more than");
}

#[test]
fn the_programs_of_a_runner_and_of_hooks_are_quoted_too() {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    sandbox.config("[on]\nrenewed = [\"/bin/sh\", \"-c\", \"echo no mail server >&2; exit 1\"]\n");
    let out = sandbox.run("get plain").ok();
    assert!(out.stderr.starts_with("no mail server\ntok: warning: plain: the hook renewed"), "{out}");
    sandbox.run("get plain --fresh -q").silent().ok();
    // What an agent says of a job that may not ask.
    let bin = sandbox.work().join("bin");
    let agent = bin.join("buildkite-agent");
    crate::support::put(&agent, b"#!/bin/sh\necho 'fatal: 403 the pipeline has no OIDC' >&2\nexit 1\n");
    crate::support::chmod(&agent, 0o755);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    sandbox.set("PATH", path).set("BUILDKITE", "true").unset("TOK_PLAIN_CLIENT_SECRET");
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    sandbox.config("[profile.plain]\nprovider = \"plain\"\nclient_secret = { ci = \"auto\", audience = \"a\" }\n");
    sandbox.run("get plain --ci").fails(3).says("fatal: 403 the pipeline has no OIDC\ntok: plain: ");
}
