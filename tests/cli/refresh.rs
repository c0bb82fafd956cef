//! Refreshing: one refresh token at a time, kept before shown, and cleared by its death alone.

use crate::child::SOON;
use crate::support::apiax::{self, Apiax, Expiry};
use crate::support::purewl::{self, Failure, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, now, plain, plain_provider, until};
use serde_json::json;
use std::io::Write;
use std::time::Duration;

/// A reply of a plain server with both tokens.
fn both(n: usize, expires_in: i64) -> Reply {
    Reply::json(
        200,
        json!({
            "access_token": format!("at-{CANARY}-{n}"),
            "refresh_token": format!("rt-{CANARY}-{n}"),
            "token_type": "Bearer",
            "expires_in": expires_in,
        }),
    )
}

/// A sandbox whose provider `plain` is logged in with a refresh token and no kept secret.
fn logged_in(server: &Server) -> Sandbox {
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    sandbox
}

#[test]
fn an_expired_token_is_refreshed_and_each_new_refresh_token_is_kept() {
    let apiax = Apiax::start();
    apiax.state(|s| s.life = 1);
    let sandbox = apiax.logged_in();
    for _ in 0..3 {
        let start = now();
        until("the token has expired", || now() > start + 1);
        sandbox.run("get apiax").silent().line();
    }
    assert_eq!(apiax.grants(), ["password", "refresh_token", "refresh_token", "refresh_token"]);
    assert_eq!(apiax.state(|s| s.reused), 0, "no refresh token was sent twice");
}

#[test]
fn a_long_chain_of_rotations_never_sends_a_token_twice() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    for _ in 0..12 {
        sandbox.run("get apiax --fresh").silent().line();
    }
    assert_eq!(apiax.state(|s| (s.reused, s.issued)), (0, 13));
}

#[test]
fn a_new_refresh_token_replaces_the_old_one_in_the_store() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    assert_eq!(sandbox.files_with(&format!("rt-{CANARY}-1")).len(), 1, "in one file");
    sandbox.run("get apiax --fresh").line();
    assert_eq!(sandbox.files_with(&format!("rt-{CANARY}-1")), Vec::<std::path::PathBuf>::new());
    assert_eq!(
        sandbox.files_with(&format!("rt-{CANARY}-2")),
        [sandbox.secrets_file().strip_prefix(sandbox.home()).unwrap()]
    );
}

#[test]
fn a_refresh_reply_without_a_refresh_token_keeps_the_old_one() {
    let purewl = PureWl::start();
    purewl.state(|s| s.rotates = false);
    let sandbox = purewl.logged_in();
    purewl.state(|s| s.renews = false);
    sandbox.run("get purewl --fresh").silent().line();
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(purewl.grants(), ["secret", "refresh", "refresh"]);
}

#[test]
fn an_empty_or_null_refresh_token_in_a_refresh_reply_keeps_the_old_one() {
    for empty in [json!(""), json!(null)] {
        let server = Server::script([both(1, 600)]);
        let sandbox = logged_in(&server);
        for n in 2..4 {
            let token = format!("at-{CANARY}-{n}");
            server.next(Reply::json(200, json!({"access_token": token, "expires_in": 600, "refresh_token": empty})));
            assert_eq!(sandbox.run("get plain --fresh").silent().line(), token);
            assert_eq!(server.last().field("refresh_token"), format!("rt-{CANARY}-1"));
        }
    }
}

#[test]
fn a_dead_refresh_token_falls_back_to_the_kept_secret_however_it_is_refused() {
    for failure in [Failure::InSuccess, Failure::Http] {
        let purewl = PureWl::start();
        purewl.state(|s| s.failure = failure);
        let sandbox = purewl.logged_in();
        purewl.state(|s| s.alive.clear());
        sandbox.run("get purewl --fresh").line();
        assert_eq!(purewl.grants(), ["secret", "refresh", "secret"]);
        // The session begun by the fallback is refreshed again.
        sandbox.run("get purewl --fresh").silent().line();
        assert_eq!(purewl.grants(), ["secret", "refresh", "secret", "refresh"]);
    }
}

#[test]
fn a_dead_refresh_token_with_nothing_to_fall_back_on_is_4_and_is_not_sent_again() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    apiax.state(|s| s.alive.clear());
    sandbox.run("get apiax --fresh").fails(4).hints_at("tok login apiax");
    let asked = apiax.server.count();
    sandbox.run("get apiax --fresh").fails(4).hints_at("tok login apiax");
    assert_eq!(apiax.server.count(), asked, "a dead token is not sent again");
    assert!(sandbox.files_with(&format!("rt-{CANARY}")).is_empty());
}

#[test]
fn a_password_in_the_environment_is_a_fallback() {
    let apiax = Apiax::start();
    let mut sandbox = apiax.logged_in();
    sandbox.set("TOK_APIAX_USERNAME", apiax::USERNAME).set("TOK_APIAX_PASSWORD", apiax::password());
    apiax.state(|s| s.alive.clear());
    sandbox.run("get apiax --fresh").line();
    assert_eq!(apiax.grants(), ["password", "refresh_token", "password"]);
}

#[test]
fn death_clears_the_refresh_token_and_not_the_kept_secret() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    // Both are refused: nothing is left but the key, which works again when the provider wants it to.
    purewl.state(|s| (s.alive.clear(), s.secret_keys.clear()));
    sandbox.run("get purewl --fresh").fails_with_one_of(&[4, 5]);
    purewl.state(|s| s.secret_keys.push(purewl::secret_key()));
    sandbox.run("get purewl --fresh").line();
}

#[test]
fn only_death_kills() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let before = sandbox.secrets();
    let not_death = [
        (Reply::html(200), 8),
        (Reply::text(200, ""), 8),
        (Reply::text(200, "{}"), 8),
        (Reply::text(200, "{\"access_token\":"), 8),
        (Reply::html(500), 6),
        (Reply::text(500, "{\"error\":\"server_error\"}"), 6),
        (Reply::text(502, "{\"error\":\"invalid_grant\"}"), 6),
        (Reply::html(504), 6),
        (Reply::html(401), 5),
        (Reply::html(403), 5),
        (Reply::text(400, ""), 5),
        (Reply::text(404, "{\"error\":\"Realm does not exist\"}"), 5),
        (Reply::text(400, "{\"error\":\"invalid_client\"}"), 5),
        (Reply::text(400, "{\"error\":\"invalid_request\",\"error_description\":\"invalid_grant\"}"), 5),
        (Reply::text(302, "").header("Location", "/login"), 8),
        (Reply::nothing(), 6),
    ];
    for (reply, code) in not_death {
        let shown = format!("{reply:?}");
        apiax.server.next(reply);
        let out = sandbox.run("get apiax --fresh --timeout 100s");
        assert_eq!(out.code, code, "{shown} {out}");
        assert_eq!(out.stdout, "", "{shown}");
        assert_eq!(sandbox.secrets(), before, "{shown}");
    }
    // The session lives, and the cached token still stands.
    sandbox.run("get apiax").silent().line();
    sandbox.run("get apiax --fresh").silent().line();
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn an_html_page_does_not_kill_a_purewl_session() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let before = sandbox.secrets();
    for reply in [Reply::html(200), Reply::html(403), Reply::html(500), Reply::text(200, "{}")] {
        purewl.server.next(reply);
        sandbox.run("get purewl --fresh --timeout 100s").fails_with_one_of(&[5, 6, 8]);
        assert_eq!(sandbox.secrets(), before);
    }
    sandbox.run("get purewl --fresh").silent().line();
}

#[test]
fn a_server_that_is_away_does_not_kill_a_session() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let before = sandbox.secrets();
    // A port that was ours a moment ago: nobody listens there. The origin is another, so it is the server's own that
    // must go; its listener lives in a thread, so the silent close stands for it.
    for _ in 0..3 {
        apiax.server.next(Reply::nothing());
    }
    sandbox.run("get apiax --fresh --timeout 100s").fails(6);
    assert_eq!(sandbox.secrets(), before);
}

#[test]
fn a_refusal_is_confirmed_by_reading_the_store_once_more() {
    // Between the reading of the store and the refusal somebody else put a newer token there, as a login on another
    // machine with a shared keyring would.
    let server = Server::script([both(1, 600)]);
    let sandbox = logged_in(&server);
    let gate = server.hold();
    server.next(Reply::text(400, "{\"error\":\"invalid_grant\"}"));
    let run = sandbox.tok(["get", "plain", "--fresh"]).spawn();
    server.until(2);
    let text = std::fs::read_to_string(sandbox.secrets_file()).unwrap();
    assert!(text.contains(&format!("rt-{CANARY}-1")));
    let newer = text.replace(&format!("rt-{CANARY}-1"), &format!("rt-{CANARY}-7"));
    crate::support::put(&sandbox.secrets_file(), newer.as_bytes());
    server.next(both(8, 600));
    gate.open();
    let out = run.wait();
    if out.code == 0 {
        assert_eq!(server.last().field("refresh_token"), format!("rt-{CANARY}-7"), "{out}");
    } else {
        // Not tried at once, but not lost.
        assert!(!sandbox.files_with(&format!("rt-{CANARY}-7")).is_empty(), "{out}");
    }
    server.next(both(9, 600));
    sandbox.run("get plain --fresh").line();
}

#[test]
fn a_refresh_is_repeated_after_429_and_503_and_not_after_502() {
    for (status, count, code) in [(429, 3, 0), (503, 3, 0), (502, 2, 6), (504, 2, 6), (500, 2, 6)] {
        let server = Server::script([both(1, 600), Reply::text(status, "{}"), both(2, 600)]);
        let sandbox = logged_in(&server);
        let out = sandbox.run("get plain --fresh --timeout 100s");
        assert_eq!((out.code, server.count()), (code, count), "{status}: {out}");
    }
}

#[test]
fn a_newly_issued_token_that_cannot_be_cached_still_replaces_the_cached_one() {
    let server = Server::script([both(1, 600), both(2, 0), both(3, 600)]);
    let sandbox = logged_in(&server);
    assert_eq!(sandbox.run("get plain").line(), format!("at-{CANARY}-1"));
    assert_eq!(sandbox.run("get plain --fresh").line(), format!("at-{CANARY}-2"), "good for this once");
    assert_eq!(sandbox.run("get plain").line(), format!("at-{CANARY}-3"), "not the one before it");
    assert_eq!(server.count(), 3);
}

#[test]
fn java_timestamps_of_apiax_are_read_in_both_places() {
    for expiry in [Expiry::Java, Expiry::Seconds] {
        let apiax = Apiax::start();
        apiax.state(|s| s.expiry = expiry);
        let sandbox = apiax.logged_in();
        for line in ["get apiax -o json", "get apiax -o json --fresh"] {
            let reply = sandbox.run(line).silent().json();
            let left = reply["expires_in"].as_i64().unwrap_or_else(|| panic!("{reply}"));
            assert!((1780..=1800).contains(&left), "{reply}");
            let at = reply["expires_at_unix"].as_i64().unwrap();
            assert!((now() + 1780..=now() + 1800).contains(&at), "{reply}");
        }
        sandbox.run("get apiax").line();
        assert_eq!(apiax.server.count(), 2);
    }
}

#[test]
fn refresh_expires_in_0_is_unknown_and_the_document_s_14_days_are_shown() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let list = sandbox.run("list --json").json();
    let entry = list.as_array().unwrap().iter().find(|e| e["profile"] == "apiax").unwrap_or_else(|| panic!("{list}"));
    let at = entry["refresh_expires_at"].as_str().unwrap_or_else(|| panic!("{list}"));
    assert!(at.ends_with('Z'), "{at}");
    assert_eq!(entry["refresh_token"], true);
}

#[test]
fn a_new_refresh_token_that_cannot_be_kept_is_said_even_with_q_and_the_access_token_is_printed() {
    let server = Server::script([both(1, 600)]);
    let sandbox = logged_in(&server);
    let gate = server.hold();
    server.next(both(2, 600));
    let run = sandbox.tok(["-q", "get", "plain", "--fresh"]).spawn();
    server.until(2);
    // The store was open and readable before; now a folder is in its place.
    std::fs::remove_file(sandbox.secrets_file()).unwrap();
    std::fs::create_dir(sandbox.secrets_file()).unwrap();
    std::fs::write(sandbox.secrets_file().join("x"), "").unwrap();
    gate.open();
    let out = run.wait();
    assert_eq!((out.code, out.stdout.as_str()), (0, format!("at-{CANARY}-2\n").as_str()), "{out}");
    let out = out.says("tok login plain");
    assert!(out.stderr.starts_with("tok: "), "{out}");
}

#[test]
fn the_store_is_open_and_readable_before_the_old_token_is_spent() {
    let server = Server::script([both(1, 600)]);
    let sandbox = logged_in(&server);
    std::fs::write(sandbox.secrets_file(), "{ broken").unwrap();
    sandbox.run("get plain --fresh").fails(7);
    assert_eq!(server.count(), 1, "nothing was sent");
    assert_eq!(std::fs::read_to_string(sandbox.secrets_file()).unwrap(), "{ broken", "nothing is overwritten");
}

#[test]
fn a_personal_secret_is_never_sent_twice_by_itself() {
    for status in [429, 503, 502, 500] {
        let apiax = Apiax::start();
        let mut sandbox = apiax.sandbox();
        sandbox.set("TOK_APIAX_USERNAME", apiax::USERNAME).set("TOK_APIAX_PASSWORD", apiax::password());
        apiax.server.next(Reply::text(status, "{}"));
        sandbox.run("get apiax --timeout 100s").fails(6);
        assert_eq!(apiax.server.count(), 1, "{status}");
    }
}

#[test]
fn a_login_by_refresh_goes_on_with_its_successor() {
    let purewl = PureWl::start();
    purewl.state(|s| s.alive.insert(format!("{CANARY}d{:055x}", 1)));
    let sandbox = purewl.sandbox();
    sandbox
        .tok(["login", "purewl", "refresh", "--refresh-token-file", "-"])
        .stdin(format!("{CANARY}d{:055x}\n", 1))
        .run()
        .prints("");
    sandbox.run("get purewl --fresh").silent().line();
    // The key given later contradicts nothing.
    sandbox.tok(["get", "purewl", "--fresh"]).env("TOK_PUREWL_SECRET_KEY", purewl::secret_key()).run().silent().line();
    assert_eq!(purewl.grants(), ["refresh", "refresh", "refresh"]);
    assert_eq!(purewl.state(|s| s.reused), 0);
}

#[test]
fn retry_after_is_obeyed_within_the_timeout() {
    let server =
        Server::script([Reply::text(429, "{}").header("Retry-After", "1"), Reply::token(&format!("at-{CANARY}"), 60)]);
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain").ok();
    assert!(out.took >= Duration::from_millis(950), "{out}");
    let server = Server::script([Reply::text(429, "{}").header("Retry-After", "3600")]);
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain --timeout 100s").fails(6);
    assert!(out.took < SOON, "it does not wait for what cannot come: {out}");
    assert_eq!(server.count(), 1);
}

#[test]
fn an_offline_call_refreshes_nothing() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    sandbox.run("get apiax --offline --min-ttl 7d").fails(4);
    sandbox.run("get apiax --offline").silent().line();
    assert_eq!(apiax.server.count(), 1);
}

#[test]
fn a_new_refresh_token_is_kept_whatever_liberties_the_reply_takes() {
    let body = |n: usize| {
        let (at, rt) = (format!("at-{CANARY}-{n}"), format!("rt-{CANARY}-{n}"));
        json!({"access_token": at, "refresh_token": rt, "token_type": "Bearer", "expires_in": 600}).to_string()
    };
    let whole = |n: usize, head: &str| {
        let body = body(n);
        let length = body.len();
        Reply::raw(format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"))
    };
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(body(3).as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", packed.len());
    let server = Server::script([
        both(0, 600),
        whole(1, "HTTP/1.1 100 Continue\r\nDate: x\r\nServer: y\r\n\r\nHTTP/1.1 200 OK\r\n"),
        whole(2, "HTTP/1.1 200 OK\r\nX-Policy: a;\r\n b\r\n"),
        Reply::raw([head.as_bytes(), packed.as_slice()].concat()),
        both(4, 600),
    ]);
    let sandbox = logged_in(&server);
    for n in 1..5 {
        assert_eq!(sandbox.run("get plain --fresh").silent().line(), format!("at-{CANARY}-{n}"));
        assert_eq!(server.last().field("refresh_token"), format!("rt-{CANARY}-{}", n - 1));
    }
}
