//! Many at once, killed at any instant: one request, the old state or the new, never half, and no lock left.

use crate::support::apiax::{Apiax, Rotation};
use crate::support::keyring::Keyring;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Output, Sandbox, now, plain, until};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// A number below `limit`, another one each time.
fn random(limit: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u128(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos());
    hasher.finish() % limit.max(1)
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
fn a_hundred_gets_of_an_expired_token_send_the_refresh_token_once() {
    let apiax = Apiax::start();
    apiax.state(|s| s.life = 1);
    let sandbox = apiax.logged_in();
    let start = now();
    until("the token has expired", || now() > start + 1);
    apiax.state(|s| s.life = 1800);
    one_token(at_once(&sandbox, "get apiax", MANY));
    assert_eq!(apiax.grants(), ["password", "refresh_token"]);
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
    sandbox.run("get plain --timeout 5s").line();
    gate.open();
    run.wait().line();
}

#[test]
fn many_profiles_written_to_one_store_at_once_lose_nothing() {
    let purewl = PureWl::start();
    let sandbox = Sandbox::with_file_store();
    let config: String = (0..12)
        .map(|n| format!("[profile.p{n}]\nprovider = \"purewl\"\nbase_url = \"{}\"\n", purewl.server.url()))
        .collect();
    sandbox.config(&config);
    let key = sandbox.file_arg("key", purewl::secret_key());
    let running: Vec<_> = (0..12)
        .map(|n| sandbox.tok(["login", &format!("p{n}"), "secret", "--secret-key-file", &key]).spawn())
        .collect();
    for run in running {
        run.wait().prints("");
    }
    for n in 0..12 {
        sandbox.run(&format!("get p{n} --fresh")).silent().line();
    }
    assert_eq!(purewl.state(|s| s.reused), 0);
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

/// Kills a rotating refresh at random instants, `rounds` times; each time the next call must work.
fn killed_at_random(sandbox: &Sandbox, apiax: &Apiax, rounds: usize) {
    // The old refresh token stays good until its successor is used: so a kill between reply and store costs nothing
    // where the old state is whole.
    apiax.state(|s| s.rotation = Rotation::Overlap);
    let start = Instant::now();
    sandbox.run("get apiax --fresh").line();
    let whole = start.elapsed().as_micros() as u64;
    let mut killed = 0;
    for _ in 0..rounds {
        let run = sandbox.tok(["get", "apiax", "--fresh"]).spawn();
        std::thread::sleep(Duration::from_micros(random(whole * 5 / 4)));
        run.signal(Signal::KILL);
        let out = run.wait();
        match out.code {
            137 => killed += 1,
            0 => {}
            code => panic!("{code}: {out}"),
        }
        if !out.stdout.is_empty() {
            // Kept before shown.
            assert!(out.stdout.starts_with("at-"), "{out}");
        }
        let out = sandbox.run("get apiax --timeout 10s").ok();
        out.line();
        sandbox.run("get apiax --fresh --timeout 10s").ok().line();
    }
    assert!(killed > 0, "no run was killed in time");
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn killed_at_random_instants_the_file_store_is_the_old_or_the_new() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    killed_at_random(&sandbox, &apiax, 25);
    assert!(sandbox.secrets().is_object());
    // And no pile of half-written files.
    let files: Vec<_> = sandbox.files().into_keys().collect();
    assert!(files.len() < 40, "{files:?}");
}

#[test]
fn killed_at_random_instants_the_keyring_is_the_old_or_the_new() {
    let keyring = Keyring::unlocked();
    let apiax = Apiax::start();
    let mut sandbox = apiax.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    crate::support::apiax::login(&sandbox);
    killed_at_random(&sandbox, &apiax, 12);
    assert_eq!(keyring.count(), 1);
}

#[test]
fn a_login_killed_at_random_instants_leaves_the_old_session_or_the_new() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let key = sandbox.file_arg("key", purewl::secret_key());
    purewl.state(|s| s.rotates = false);
    for _ in 0..12 {
        let run = sandbox.tok(["login", "purewl", "--store", "file", "--secret-key-file", &key]).spawn();
        std::thread::sleep(Duration::from_micros(random(60_000)));
        run.signal(Signal::KILL);
        run.wait();
        sandbox.run("get purewl --fresh").silent().line();
        sandbox.run("list").ok();
    }
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
        let out = waiting.timeout(Duration::from_secs(3)).wait();
        assert_eq!((out.code, out.stdout.as_str()), (code, ""), "{out}");
    }
    gate.open();
    first.wait().line();
}

#[test]
fn a_reply_that_never_comes_does_not_hold_a_signal_beyond_the_timeout() {
    let server = Server::new(|_| Reply::json(200, json!({})).delay(Duration::from_secs(30)));
    let sandbox = plain(&server.url());
    let run = sandbox.tok(["get", "plain", "--timeout", "1s"]).spawn();
    server.until(1);
    run.signal(Signal::TERM);
    let out = run.timeout(Duration::from_secs(4)).wait();
    assert_eq!((out.code, out.stdout.as_str()), (143, ""), "{out}");
}
