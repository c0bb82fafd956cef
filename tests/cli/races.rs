//! Many at once, and signals: one request, and a token on its way from server to store arrives. Two hundred at once
//! and every environment are in `load.rs`, kills at every instant in `crash.rs`.

use crate::support::apiax::Apiax;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Output, Sandbox, plain};
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// How many at once the contract speaks of.
const MANY: usize = 100;

/// Starts `count` of the same call and waits for them all.
fn at_once(sandbox: &Sandbox, line: &str, count: usize) -> Vec<Output> {
    let running: Vec<_> = (0..count).map(|_| sandbox.tok(line.split(' ')).spawn()).collect();
    running.into_iter().map(|run| run.wait()).collect()
}

/// All printed the same good token: that token.
fn one_token(outputs: Vec<Output>) -> String {
    let mut lines: Vec<String> = outputs.into_iter().map(Output::line).collect();
    lines.dedup();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[test]
fn a_hundred_first_gets_make_one_request() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    one_token(at_once(&sandbox, "get purewl", MANY));
    assert_eq!(purewl.grants(), ["secret"]);
}

#[test]
fn a_hundred_fresh_gets_that_wait_for_one_reply_make_one_request() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    // All have begun before the reply is let through, so its token is fresh for each of them.
    let gate = apiax.server.hold();
    let mut running: Vec<_> = (0..MANY).map(|_| sandbox.tok(["get", "apiax", "--fresh"]).spawn()).collect();
    apiax.server.until(2);
    for run in &mut running {
        run.until_open_below(&sandbox.state_dir());
    }
    gate.open();
    one_token(running.into_iter().map(|run| run.wait()).collect());
    assert_eq!(apiax.grants(), ["password", "refresh_token"]);
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn those_that_waited_take_the_token_however_short() {
    let server = Server::issuing(1);
    let sandbox = plain(&server.url());
    let gate = server.hold();
    let mut running: Vec<_> = (0..8).map(|_| sandbox.tok(["get", "plain", "--min-ttl", "1h"]).spawn()).collect();
    server.until(1);
    for run in &mut running {
        run.until_open_below(&sandbox.state_dir());
    }
    gate.open();
    one_token(running.into_iter().map(|run| run.wait()).collect());
    assert_eq!(server.count(), 1);
}

#[test]
fn a_token_that_must_not_be_cached_is_not_shared() {
    let server = Server::issuing(0);
    let sandbox = plain(&server.url());
    let mut lines: Vec<String> = at_once(&sandbox, "get plain", 5).into_iter().map(Output::line).collect();
    lines.sort();
    lines.dedup();
    assert_eq!((lines.len(), server.count()), (5, 5));
}

#[test]
fn get_header_and_other_options_share_one_lock() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    sandbox.forget_cache();
    let lines = ["get purewl", "header purewl", "get purewl -o json", "-q get purewl", "get purewl --min-ttl 5m"];
    let running: Vec<_> = lines.iter().cycle().take(20).map(|line| sandbox.tok(line.split(' ')).spawn()).collect();
    for run in running {
        run.wait().ok();
    }
    assert_eq!(purewl.grants(), ["secret", "refresh"]);
}

#[test]
fn two_profiles_do_not_wait_for_each_other() {
    let (slow, fast) = (PureWl::start(), Server::issuing(600));
    let mut sandbox = plain(&fast.url());
    sandbox.set("TOK_PUREWL_BASE_URL", slow.server.url()).set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    let gate = slow.server.hold();
    let run = sandbox.tok(["get", "purewl"]).spawn();
    slow.server.until(1);
    sandbox.run("get plain --timeout 100s").line();
    gate.open();
    run.wait().line();
}

#[test]
fn a_waiter_goes_on_when_the_one_before_it_is_killed() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let gate = server.hold();
    let first = sandbox.tok(["get", "plain"]).spawn();
    server.until(1);
    let mut second = sandbox.tok(["get", "plain"]).spawn();
    second.until_open_below(&sandbox.state_dir());
    first.signal(Signal::KILL);
    assert_eq!(first.wait().code, 137);
    gate.open();
    second.wait().line();
    assert_eq!(server.count(), 2);
}

/// Sends `signal` while the reply is under way: what then stands in the store must be the new refresh token.
fn signalled_under_way(signal: Signal, code: i32) {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let gate = apiax.server.hold();
    let mut run = sandbox.tok(["get", "apiax", "--fresh"]).spawn();
    apiax.server.until(2);
    run.signal(signal);
    // The signal must not end it now; there is no event to wait for when nothing happens.
    std::thread::sleep(Duration::from_millis(100));
    assert!(!run.ended(), "it waits for the reply, for the refresh token in it");
    gate.open();
    let out = run.wait();
    assert_eq!((out.code, out.stdout.as_str()), (code, ""), "{out}");
    assert!(!sandbox.files_with(&format!("rt-{CANARY}-2")).is_empty(), "the new refresh token is kept");
    // A strict server: the old one would end the session.
    sandbox.run("get apiax --fresh").silent().line();
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn term_while_the_reply_is_under_way_keeps_the_new_refresh_token_and_ends_with_143() {
    signalled_under_way(Signal::TERM, 143);
}

#[test]
fn int_while_the_reply_is_under_way_keeps_the_new_refresh_token_and_ends_with_130() {
    signalled_under_way(Signal::INT, 130);
}

#[test]
fn hup_while_the_reply_is_under_way_keeps_the_new_refresh_token_and_ends_with_129() {
    signalled_under_way(Signal::HUP, 129);
}

#[test]
fn a_signal_ends_a_login_only_after_its_token_is_kept() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let key = sandbox.file_arg("key", purewl::secret_key());
    let gate = purewl.server.hold();
    let run = sandbox.tok(["login", "purewl", "--secret-key-file", &key]).spawn();
    purewl.server.until(1);
    run.signal(Signal::TERM);
    gate.open();
    let out = run.wait();
    assert_eq!((out.code, out.stdout.as_str()), (143, ""), "{out}");
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(purewl.grants(), ["secret", "refresh"]);
}

#[test]
fn a_signal_while_nothing_is_under_way_ends_it_at_once() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let gate = server.hold();
    let first = sandbox.tok(["get", "plain"]).spawn();
    server.until(1);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut waiting = sandbox.tok(["get", "plain"]).spawn();
        waiting.until_open_below(&sandbox.state_dir());
        waiting.signal(signal);
        let out = waiting.wait();
        assert_eq!((out.code, out.stdout.as_str()), (code, ""), "{out}");
    }
    gate.open();
    first.wait().line();
}

#[test]
fn a_reply_that_never_comes_does_not_hold_a_signal_beyond_the_timeout() {
    let server = Server::new(|_| Reply::json(200, json!({})).delay(Duration::from_secs(600)));
    let sandbox = plain(&server.url());
    let run = sandbox.tok(["get", "plain", "--timeout", "8s"]).spawn();
    server.until(1);
    run.signal(Signal::TERM);
    let out = run.wait().soon();
    assert_eq!((out.code, out.stdout.as_str()), (143, ""), "{out}");
}
