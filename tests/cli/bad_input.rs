//! Bad input of every kind: the right status, nothing on stdout but a good token, nothing lost, never a panic.

use crate::child::SOON;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::xcover;
use crate::support::{CANARY, Output, Sandbox, now, plain, plain_provider};
use serde_json::{Value, json};
use std::time::Duration;

/// One reply of a plain server to a first `get`, and what that `get` left.
fn got(reply: Reply) -> Output {
    let server = Server::always(reply);
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain --timeout 100s");
    if out.code != 0 {
        // Whatever came, nothing of it stands in the cache now.
        sandbox.run("get plain --offline").fails(4);
    }
    out
}

/// A good token.
fn token() -> String {
    format!("at-{CANARY}")
}

/// A 200 with this as JSON, or what looks like it.
fn says(text: &str) -> Reply {
    Reply::text(200, text)
}

/// A 200 with the good token beside this other field.
fn beside(name: &str, value: Value) -> Reply {
    Reply::json(200, json!({"access_token": token(), "token_type": "Bearer", name: value}))
}

#[test]
fn replies_that_are_no_token_are_8() {
    let bom = [&[0xef, 0xbb, 0xbf][..], format!("{{\"access_token\":\"{}\"}}", token()).as_bytes()].concat();
    let latin = [b"{\"access_token\":\"at", &[0xe9, 0xff][..], b"\"}"].concat();
    let good = format!("{{\"access_token\":\"{}\",\"expires_in\":60}}", token());
    let deep = "[".repeat(200_000);
    let big = format!("{{\"access_token\":\"{}\",\"x\":\"{}\"}}", token(), "y".repeat(5 << 20));
    let just_over = format!("{good}{}", " ".repeat((1 << 20) + 1 - good.len()));
    let cases: Vec<(&str, Reply)> = vec![
        ("a page", Reply::html(200)),
        ("a page called JSON", Reply::new(200, "application/json", "<html><body>hi</body></html>")),
        ("nothing", says("")),
        ("white space", says(" \r\n\t ")),
        ("{}", says("{}")),
        ("[]", says("[]")),
        ("null", says("null")),
        ("true", says("true")),
        ("a number", says("42")),
        ("a string", says("\"at\"")),
        ("an array around it", says(&format!("[{good}]"))),
        ("cut JSON", says(&good[..good.len() - 1])),
        ("JSON and more", says(&format!("{good}{good}"))),
        ("JSON and garbage", says(&format!("{good} x"))),
        ("JSON and NUL", says(&format!("{good}\0"))),
        ("a comma too many", says(&good.replace('}', ",}"))),
        ("a comment", says(&format!("/* */{good}"))),
        ("single quotes", says(&good.replace('"', "'"))),
        ("names without quotes", says(&good.replace("\"access_token\"", "access_token"))),
        ("a byte order mark", Reply::new(200, "application/json", bom)),
        ("no UTF-8", Reply::new(200, "application/json", latin)),
        ("a prefix against hijacking", says(&format!(")]}}'\n{good}"))),
        ("endless nesting", says(&deep)),
        ("nested objects", says(&"{\"access_token\":".repeat(100_000))),
        ("5 MiB", says(&big)),
        ("a byte more than 1 MiB", says(&just_over)),
        ("an endless body", says("          ").endless()),
        ("a token elsewhere", says(&format!("{{\"data\":{good}}}"))),
        ("a token under another name", says(&good.replace("access_token", "accessToken"))),
        ("a 204", Reply::text(204, "")),
        ("a 202 without a token", Reply::text(202, "{\"status\":\"pending\"}")),
        ("two tokens", says(&good.replacen('{', "{\"access_token\":\"other\",", 1))),
        ("two tokens, one escaped", says(&good.replacen('{', "{\"access\\u005ftoken\":\"other\",", 1))),
        ("two expiries", says(&good.replacen('{', "{\"expires_in\":5,", 1))),
        ("two names further down", says(&good.replacen('{', "{\"x\":[{\"a\":1,\"a\":2}],", 1))),
        ("a lone surrogate", says("{\"access_token\":\"at\\ud800\"}")),
    ];
    for (name, reply) in cases {
        let out = got(reply);
        assert_eq!((out.code, out.stdout.as_str()), (8, ""), "{name}: {out}");
        assert!(out.stderr.starts_with("tok: "), "{name}: {out}");
        assert!(out.stderr.len() < 4000, "{name}: it is cut: {out}");
    }
}

#[test]
fn a_megabyte_is_not_too_much() {
    let good = format!("{{\"access_token\":\"{}\",\"expires_in\":60}}", token());
    let padded = format!("{good}{}", " ".repeat((1 << 20) - good.len()));
    assert_eq!(got(says(&padded)).line(), token());
}

#[test]
fn tokens_that_are_not_allowed_are_8() {
    let cases: Vec<(&str, Value)> = vec![
        ("absent", json!(null)),
        ("empty", json!("")),
        ("a space alone", json!(" ")),
        ("a space within", json!("a b")),
        ("a space before", json!(" ab")),
        ("a newline", json!("ab\n")),
        ("a newline within", json!("ab\ncd")),
        ("a carriage return", json!("ab\rcd")),
        ("a header of its own", json!("ab\r\nX-Evil: 1")),
        ("an escape sequence", json!("ab\u{1b}[31mcd")),
        ("a tab", json!("ab\tcd")),
        ("a NUL", json!("ab\0cd")),
        ("DEL", json!("ab\u{7f}")),
        ("C1", json!("ab\u{9b}31m")),
        ("an umlaut", json!("äb")),
        ("a no-break space", json!("a\u{a0}b")),
        ("writing from right to left", json!("a\u{202e}b")),
        ("a number", json!(12345)),
        ("a truth", json!(true)),
        ("a list", json!(["ab"])),
        ("an object", json!({"token": "ab"})),
        ("too long", json!("x".repeat(65_537))),
    ];
    for (name, value) in cases {
        let out = got(Reply::json(200, json!({"access_token": value, "expires_in": 60})));
        assert_eq!((out.code, out.stdout.as_str()), (8, ""), "{name}: {out}");
        assert!(!out.stderr.contains('\u{1b}') && !out.stderr.contains('\u{9b}'), "{name}: {out}");
        assert!(!out.stderr.contains("X-Evil"), "{name}: a part of the token is shown: {out}");
    }
}

#[test]
fn statuses_decide_whatever_the_body() {
    let good = format!("{{\"access_token\":\"{}\",\"expires_in\":60}}", token());
    let mut cases = vec![];
    for status in [400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 418, 422, 451, 499] {
        cases.push((status, 5));
    }
    for status in [408, 500, 501, 505, 507, 511, 520, 599] {
        cases.push((status, 6));
    }
    for (status, code) in cases {
        // Every body for the two that matter most, the two worst ones for the rest.
        let oauth = "{\"error\":\"invalid_client\",\"error_description\":\"no\"}";
        let bodies = ["", &good, "{}", "<html>no</html>", oauth];
        for body in &bodies[..if [401, 500].contains(&status) { bodies.len() } else { 2 }] {
            let out = got(Reply::text(status, body));
            assert_eq!((out.code, out.stdout.as_str()), (code, ""), "{status} {body}: {out}");
            assert!(out.stderr.starts_with("tok: "), "{out}");
        }
    }
}

#[test]
fn statuses_that_are_tried_again_are_6_in_the_end() {
    // Side by side, for they wait between their tries.
    std::thread::scope(|scope| {
        for status in [429, 502, 503, 504] {
            scope.spawn(move || {
                let server = Server::always(Reply::html(status));
                let sandbox = plain(&server.url());
                sandbox.run("get plain --timeout 100s").fails(6).says(&status.to_string());
                assert!(server.count() > 1, "{status}");
            });
        }
    });
}

#[test]
fn a_2xx_that_says_failure_is_5_even_beside_a_token() {
    let cases = [
        json!({"error": "invalid_client"}),
        json!({"error": "invalid_client", "error_description": "No such client"}),
        json!({"error": "invalid_client", "access_token": token(), "expires_in": 60}),
        json!({"error": {"message": "No such client"}, "access_token": token(), "expires_in": 60}),
    ];
    for body in cases {
        let shown = body.to_string();
        let out = got(Reply::json(200, body));
        assert_eq!((out.code, out.stdout.as_str()), (5, ""), "{shown}: {out}");
    }
    for nothing in [json!(null), json!("")] {
        got(beside("error", nothing)).line();
    }
}

#[test]
fn other_2xx_with_a_good_token_are_0() {
    for status in [200, 201, 202, 203, 206] {
        assert_eq!(got(Reply::token(&token(), 60)).line(), token());
        let out = got(Reply::json(status, json!({"access_token": token(), "expires_in": 60})));
        assert_eq!(out.line(), token(), "{status}");
    }
}

#[test]
fn error_codes_and_messages_of_every_shape_are_said() {
    for (body, said) in [
        (json!({"error": "invalid_client", "error_description": "Bad client"}), &["invalid_client", "Bad client"][..]),
        (json!({"error": {"code": 401, "message": "Bad client"}}), &["Bad client"]),
        (json!({"errors": [{"title": "Unauthorized"}]}), &["Unauthorized"]),
        (json!({"errors": [{"title": "Unauthorized", "detail": "Bad client"}]}), &["Bad client"]),
        (json!({"message": "Too Many Attempts."}), &["Too Many Attempts."]),
    ] {
        let shown = body.to_string();
        let out = got(Reply::json(401, body));
        assert_eq!(out.code, 5, "{out}");
        for text in said {
            assert!(out.stderr.contains(text), "{shown} lacks {text:?}: {out}");
        }
    }
}

#[test]
fn remote_text_is_escaped_and_cut() {
    let nasty = "red \u{1b}[31m\u{1b}]0;title\u{7} cr\r\nlf bidi \u{202e}x zero\u{200b} c1\u{9b}1m nul\0 ls\u{2028}x";
    let long = format!("{nasty}{}", "long ".repeat(20_000));
    for text in [nasty, long.as_str()] {
        for reply in [
            Reply::json(400, json!({"error": text, "error_description": text})),
            Reply::json(200, json!({"error": text})),
            Reply::json(400, json!({"errors": [{"title": text, "status": text}]})),
            Reply::json(302, json!({})).header("Location", "https://x.invalid/\u{1b}[31m\u{9b}"),
        ] {
            let out = got(reply);
            assert!([5, 8].contains(&out.code), "{out}");
            let bad = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{200b}\u{2028}\u{2029}\u{2066}".contains(c);
            assert!(!out.stderr.contains(bad), "{out:?}");
            assert!(out.stderr.lines().count() <= 3, "{out}");
            assert!(out.stderr.len() < 4000, "{}", out.stderr.len());
        }
    }
}

#[test]
fn an_error_that_quotes_the_secret_or_a_token_does_not_show_it() {
    // The harness looks for them in every output.
    let secret = format!("plain-secret-{CANARY}");
    for reply in [
        Reply::json(400, json!({"error": "invalid_client", "error_description": format!("bad secret {secret}")})),
        Reply::text(500, &format!("panic: {secret} {}", token())),
        Reply::json(200, json!({"error": secret})),
        Reply::text(200, &format!("{{\"access_token\": {}", token())),
        Reply::html(400),
    ] {
        let server = Server::always(reply);
        let sandbox = plain(&server.url());
        let out = sandbox.run("get plain -vvv --timeout 100s");
        assert_ne!(out.code, 0, "{out}");
    }
}

#[test]
fn numbers_come_as_integers_decimals_and_strings() {
    for value in [json!(600), json!(600.9), json!("600"), json!("600.9"), json!(6e2), json!("6e2")] {
        let shown = value.to_string();
        let server = Server::always(beside("expires_in", value));
        let sandbox = plain(&server.url());
        let reply = sandbox.run("get plain -o json").json();
        if shown == "\"6e2\"" && reply["expires_in"].is_null() {
            continue; // a number to some, no number to others
        }
        let left = reply["expires_in"].as_i64().unwrap_or_else(|| panic!("{shown}: {reply}"));
        assert!((590..=600).contains(&left), "{shown}: {reply}");
        sandbox.run("get plain").line();
        assert_eq!(server.count(), 1, "{shown}");
    }
}

#[test]
fn an_expiry_of_0_or_less_is_good_for_this_once_and_never_cached() {
    for value in [json!(0), json!(-1), json!(-3600), json!("-5"), json!(-0.5), json!(-1e18), json!("0")] {
        let shown = value.to_string();
        let server = Server::always(beside("expires_in", value));
        let sandbox = plain(&server.url());
        assert_eq!(sandbox.run("get plain").line(), token(), "{shown}");
        sandbox.run("get plain").line();
        assert_eq!(server.count(), 2, "{shown}");
    }
}

#[test]
fn an_expiry_that_is_no_number_and_no_date_is_absent() {
    for value in [json!("soon"), json!(true), json!([600]), json!({"s": 600}), json!(""), json!(null), json!("0x10")] {
        let shown = value.to_string();
        let server = Server::always(beside("expires_in", value));
        let sandbox = plain(&server.url());
        let reply = sandbox.run("get plain -o json").json();
        assert_eq!(reply["access_token"], json!(token()), "{shown}");
        assert!(reply["expires_in"].is_null() && reply["expires_at"].is_null(), "{shown}: {reply}");
        sandbox.run("get plain").line();
        assert_eq!(server.count(), 2, "{shown}: not cached");
    }
}

#[test]
fn an_expiry_beyond_all_bounds_is_no_panic_and_no_overflow() {
    for value in [
        json!(1e18),
        json!(1_000_000_000_000_000_000_u64),
        json!(u64::MAX),
        json!(1e308),
        json!("1e400"),
        json!("9".repeat(400)),
    ] {
        let shown = value.to_string();
        let server = Server::always(beside("expires_in", value));
        let sandbox = plain(&server.url());
        let reply = sandbox.run("get plain -o json").json();
        assert_eq!(reply["access_token"], json!(token()), "{shown}");
        if let Some(left) = reply["expires_in"].as_i64() {
            assert!(left > 0, "{shown}: {reply}");
        }
        sandbox.run("get plain").line();
        sandbox.run("list").ok();
        sandbox.run("list --json").json();
        sandbox.run("show plain").ok();
    }
}

#[test]
fn tokens_of_any_type_or_none_are_taken() {
    for kind in
        [json!("Bearer"), json!("bearer"), json!("BEARER"), json!("Application Access Token"), json!(""), json!(null)]
    {
        let server =
            Server::always(Reply::json(200, json!({"access_token": token(), "token_type": kind, "expires_in": 60})));
        let sandbox = plain(&server.url());
        assert_eq!(sandbox.run("header plain").line(), format!("Authorization: Bearer {}", token()));
    }
}

#[test]
fn a_form_reply_is_read_by_its_content() {
    let body = format!("access_token={}&expires_in=600&scope=a+b", token());
    for kind in ["application/x-www-form-urlencoded", "text/plain", "application/json", "text/html"] {
        let server = Server::always(Reply::new(200, kind, body.clone()));
        let sandbox = plain(&server.url());
        let out = sandbox.run("get plain -o json");
        if kind == "text/html" && out.code == 8 {
            continue;
        }
        let reply = out.json();
        assert_eq!((&reply["access_token"], &reply["scope"]), (&json!(token()), &json!("a b")), "{kind}");
    }
}

#[test]
fn a_scope_may_be_a_list() {
    let server = Server::always(beside("scope", json!(["a", "b"])));
    let sandbox = plain(&server.url());
    assert_eq!(sandbox.run("get plain -o json").json()["scope"], "a b");
}

#[test]
fn a_jwt_s_earlier_exp_wins_and_a_past_one_is_ignored_with_a_warning_about_the_clock() {
    let server = Server::always(Reply::token(&xcover::jwt(&json!({"exp": now() as f64 + 100.5})), 3600));
    let sandbox = plain(&server.url());
    let reply = sandbox.run("get plain -o json").silent().json();
    let left = reply["expires_in"].as_i64().unwrap();
    assert!((90..=101).contains(&left), "{reply}");

    let server = Server::always(Reply::token(&xcover::jwt(&json!({"exp": now() - 100})), 3600));
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain -o json").ok().says("clock");
    assert!(out.json()["expires_in"].as_i64().unwrap() > 3500);

    let server = Server::always(Reply::json(200, json!({"access_token": xcover::jwt(&json!({"exp": now() + 500}))})));
    let sandbox = plain(&server.url());
    let reply = sandbox.run("get plain -o json").json();
    assert!((490..=500).contains(&reply["expires_in"].as_i64().unwrap()), "{reply}");
    sandbox.run("get plain").line();
    assert_eq!(server.count(), 1, "cached by its exp");
}

#[test]
fn jwts_that_are_none_are_tokens_all_the_same() {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let deep = base64.encode("[".repeat(40_000));
    let huge = base64.encode("{\"exp\":1e999}");
    let text = base64.encode("{\"exp\":\"tomorrow\"}");
    for odd in [
        "..",
        "a.b.c",
        "eyJ.eyJ.x",
        &format!("e30.{deep}.x"),
        &format!("e30.{huge}.x"),
        &format!("e30.{text}.x"),
        "e30.bnVsbA.x",
    ] {
        let server = Server::always(Reply::token(odd, 600));
        let sandbox = plain(&server.url());
        assert_eq!(sandbox.run("get plain").silent().line(), odd);
        sandbox.run("show plain").ok();
        sandbox.run("show plain --json").json();
    }
}

#[test]
fn a_body_that_trickles_is_cut_off_by_the_timeout() {
    let body = format!("{{\"access_token\":\"{}\"}}", token());
    let server = Server::always(says(&body).trickle(Duration::from_secs(10)));
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain --timeout 8s").fails(6).hints();
    assert!(out.took < SOON, "{out}");
    assert_eq!(server.count(), 1);
}

#[test]
fn a_body_that_trickles_fast_enough_is_read() {
    let body = format!("{{\"access_token\":\"{}\"}}", token());
    assert_eq!(got(says(&body).trickle(Duration::from_millis(2))).line(), token());
}

#[test]
fn a_server_that_says_nothing_is_cut_off_by_the_timeout() {
    let server = Server::always(says("{}").delay(Duration::from_secs(600)));
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain --timeout 1s").fails(6);
    assert!(out.took < SOON, "{out}");
}

#[test]
fn broken_http_is_6_or_8() {
    let good = format!("{{\"access_token\":\"{}\"}}", token());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n{good}", "y".repeat(2 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n{good}", "X: y\r\n".repeat(100_000));
    for (name, bytes) in [
        ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_string()),
        ("a page without a head", "<html>hello</html>\r\n\r\n".into()),
        ("a bad length", format!("{head}Content-Length: two\r\n\r\n{good}")),
        ("a negative length", format!("{head}Content-Length: -5\r\n\r\n{good}")),
        ("two lengths", format!("{head}Content-Length: 5\r\nContent-Length: 500\r\n\r\n{good}")),
        ("a bad chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{good}\r\n0\r\n\r\n")),
        ("a cut chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\nff\r\n{good}")),
        ("a chunk without the end", format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n", good.len())),
        ("a cut head", "HTTP/1.1 200 OK\r\nContent-Le".into()),
        ("a bad status", format!("HTTP/1.1 abc OK\r\n\r\n{good}")),
        ("a status of no class", format!("HTTP/1.1 999 OK\r\nContent-Length: {}\r\n\r\n{good}", good.len())),
        ("a long head", long),
        ("many headers", many),
    ] {
        let out = got(Reply::raw(bytes));
        assert!([6, 8].contains(&out.code) && out.stdout.is_empty(), "{name}: {out}");
        assert!(out.stderr.starts_with("tok: "), "{name}: {out}");
    }
    let out = got(says(&good).length(good.len() + 10));
    assert!([6, 8].contains(&out.code), "a cut body: {out}");
    got(Reply::nothing()).fails(6);
}

#[test]
fn chunked_and_old_http_are_read() {
    let good = format!("{{\"access_token\":\"{}\",\"expires_in\":60}}", token());
    for text in [
        format!("HTTP/1.0 200 OK\r\n\r\n{good}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n0\r\n\r\n", good.len()),
        format!("HTTP/1.1 200\r\nContent-Length: {}\r\n\r\n{good}", good.len()),
    ] {
        assert_eq!(got(Reply::raw(text)).line(), token());
    }
}

#[test]
fn the_sample_of_purewl_s_page_is_no_json_and_is_not_repaired() {
    let sample = r#"{
  "header": { "code": 1, "message": "success"
    "response_code": 1 },
  "body": { "accessToken": "xxxxxxxx", "refreshToken": "xxxxxxxx", "expiry": xxxxxxxx,
    "resellerId": "xxxxxxxx"
    "resellerUid": "xxxxxxxx" }
}"#;
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    purewl.server.next(Reply::text(200, sample));
    sandbox.run("get purewl").fails(8);
}

#[test]
fn the_success_test_of_purewl_compares_numbers_by_value() {
    let reply = |code: Value| {
        Reply::json(
            200,
            json!({"header": {"code": code, "message": "said so"}, "body": {"accessToken": token(), "expiry": 60}}),
        )
    };
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    for good in [json!(1), json!(1.0), json!("1")] {
        purewl.server.next(reply(good));
        assert_eq!(sandbox.run("get purewl --fresh").line(), token());
    }
    for bad in [json!(0), json!(2), json!("2"), json!(-1), json!("no"), json!(4001)] {
        purewl.server.next(reply(bad.clone()));
        let out = sandbox.run("get purewl --fresh").fails(5);
        assert!(out.stderr.contains("said so"), "{bad}: {out}");
    }
    // Nothing found: the reply is not understood, unless an error can be read.
    purewl.server.next(Reply::json(200, json!({"body": {"accessToken": token(), "expiry": 60}})));
    sandbox.run("get purewl --fresh").fails(8);
    purewl.server.next(Reply::json(200, json!({"header": {"message": "closed for today"}})));
    sandbox.run("get purewl --fresh").fails(5).says("closed for today");
}

#[test]
fn a_wrong_profile_is_3_and_a_wrong_grant_2() {
    let sandbox = Sandbox::with_file_store();
    sandbox.run("get nonsense").fails(3).says("nonsense").hints();
    sandbox.run("get purewll").fails(3).says("purewl");
    sandbox.run("header nonsense").fails(3);
    sandbox.run("show nonsense").fails(3);
    sandbox.run("logout nonsense").fails(3);
    sandbox.run("get purewl --grant nonsense").fails(2).says("nonsense");
    sandbox.run("login purewl nonsense").fails(2);
    sandbox.run("login nonsense").fails_with_one_of(&[2, 3]);
    for odd in ["", "../purewl", "a/b", "PUREWL", "-x", "a b", "\u{1b}[31m", "é", &"a".repeat(64)] {
        let out = sandbox.tok(["get", "--", odd]).run().fails_with_one_of(&[2, 3]);
        assert!(!out.stderr.contains('\u{1b}'), "{out}");
    }
    assert!(sandbox.files().is_empty(), "nothing is left behind: {:?}", sandbox.files().keys());
}

#[test]
fn a_missing_value_is_4_and_names_flag_or_variable_and_command() {
    let sandbox = Sandbox::with_file_store();
    sandbox.run("get purewl").fails(4).says("TOK_PUREWL_SECRET_KEY").hints_at("tok login purewl");
    sandbox.run("get xcover").fails(4).says("TOK_XCOVER_CLIENT_");
    sandbox.run("get apiax").fails(4).says("tok login apiax");
    sandbox.run("login purewl secret").fails(4).says("TOK_PUREWL_SECRET_KEY");
    sandbox.run("login purewl refresh").fails(4).says("--refresh-token-file");
}

#[test]
fn an_empty_secret_file_is_an_error_and_nothing_is_sent() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    for content in ["", "\n", "\r\n"] {
        let file = sandbox.file_arg("empty", content);
        for command in ["login", "get"] {
            let out = sandbox.tok([command, "purewl", "--secret-key-file", &file]).run();
            out.fails_with_one_of(&[1, 2, 3, 4]).says("empty");
        }
        let out = sandbox.tok(["get", "purewl"]).env("TOK_PUREWL_SECRET_KEY_FILE", &file).run();
        out.fails_with_one_of(&[1, 2, 3, 4]).says("empty");
        let out = sandbox.tok("login purewl --secret-key-file -".split(' ')).stdin(content).run();
        out.fails_with_one_of(&[1, 2, 3, 4]).says("empty");
    }
    assert_eq!(purewl.server.connections(), 0);
}

#[test]
fn a_secret_file_of_two_lines_is_taken_whole_or_refused() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let file = sandbox.file_arg("two", format!("one-{CANARY}\ntwo-{CANARY}\n"));
    let out = sandbox.tok(["login", "purewl", "--secret-key-file", &file]).run();
    assert_ne!(out.code, 0, "{out}");
    assert_eq!(out.stdout, "");
    if purewl.server.count() > 0 {
        // Never a part of it.
        assert_eq!(purewl.server.last().field("secretKey"), format!("one-{CANARY}\ntwo-{CANARY}"));
    }
}

#[test]
fn secret_files_that_cannot_be_read_are_errors() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let folder = sandbox.work().to_str().unwrap().to_string();
    let big = sandbox.file_arg("big", vec![b'x'; (1 << 20) + 1]);
    let latin = sandbox.file_arg("latin", [b'a', 0xff, 0xfe]);
    let nul = sandbox.file_arg("nul", "a\0b");
    for path in [folder.as_str(), "/nonexistent/file", &big, &latin, "/dev/null"] {
        sandbox.tok(["login", "purewl", "--secret-key-file", path]).run().fails_with_one_of(&[1, 2, 3, 4]);
        sandbox.tok(["get", "purewl", "--secret-key-file", path]).run().fails_with_one_of(&[1, 2, 3, 4]);
    }
    let out = sandbox.tok(["login", "purewl", "--secret-key-file", &nul]).run();
    assert_ne!(out.code, 0, "{out}");
    assert_eq!(purewl.state(|s| s.issued), 0);
}

#[test]
fn an_error_about_a_file_never_repeats_what_was_typed() {
    // For it may be the secret itself.
    let sandbox = Sandbox::with_file_store();
    let typed = format!("sk-{CANARY}-typed");
    sandbox.tok(["login", "purewl", "--secret-key-file", &typed]).run().fails_with_one_of(&[1, 2, 3, 4]);
    sandbox.tok(["get", "purewl", "-vvv", "--secret-key-file", &typed]).run().fails_with_one_of(&[1, 2, 3, 4]);
    let out = sandbox.tok(["get", "purewl"]).env("TOK_PUREWL_SECRET_KEY_FILE", &typed).run();
    out.fails_with_one_of(&[1, 2, 3, 4]).says("TOK_PUREWL_SECRET_KEY_FILE");
}

#[test]
fn a_secret_typed_as_an_argument_is_not_repeated() {
    let sandbox = Sandbox::with_file_store();
    let typed = format!("sk-{CANARY}-typed");
    for args in [
        vec!["login", "purewl", "secret", typed.as_str()],
        vec!["get", "purewl", typed.as_str()],
        vec!["login", "purewl", "--secret-key", typed.as_str()],
        vec!["login", "purewl", "secret", "--secret-key", typed.as_str()],
    ] {
        sandbox.tok(args).run().fails(2);
    }
    sandbox.tok(["login", "purewl", "secret", &format!("--secret-key={typed}")]).run().fails(2);
}

#[test]
fn urls_that_are_not_https_are_refused_before_anything_is_sent() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let key = sandbox.file_arg("key", purewl::secret_key());
    for url in [
        "http://example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "127.0.0.1:80",
        "//127.0.0.1",
        "",
        "https://",
        "https:///path",
        "https://user:pw@127.0.0.1",
        "http://user@127.0.0.1",
        "https://127.0.0.1/?a=b",
        "https://127.0.0.1/#x",
        "https://127.0.0.1:99999",
        "https://exa mple.com",
        "https://127.0.0.1\r\nX: y",
        "javascript:alert(1)",
    ] {
        let out = sandbox
            .tok(["get", "purewl", "--timeout", "100s", "--secret-key-file", &key])
            .args([format!("--base-url={url}")])
            .run();
        assert!([2, 3].contains(&out.code), "{url:?}: {out}");
        let out = out.fails_with_one_of(&[2, 3]);
        assert!(!out.stderr.contains("pw@"), "user information is not shown: {out}");
    }
    sandbox.config("[profile.purewl]\nprovider = \"purewl\"\nbase_url = \"http://example.com\"\n");
    let out = sandbox.tok(["get", "purewl", "--secret-key-file", &key]).env_remove("TOK_PUREWL_BASE_URL").run();
    out.fails(3);
    assert_eq!(purewl.server.connections(), 0);
}

#[test]
fn values_with_line_breaks_never_become_a_header() {
    let server = Server::issuing(60);
    let sandbox = plain(&server.url());
    let text = plain_provider(&server.url(), "");
    sandbox.provider("plain", &text.replace("[request]\n", "[request]\nheaders = { X-Client = \"{client_id}\" }\n"));
    for value in ["a\r\nX-Evil: 1", "a\nb", "a\rb"] {
        // 3 by the contract; what is plainly a mistyped flag may be called so.
        sandbox.tok(["get", "plain", "--client-id", value]).run().fails_with_one_of(&[2, 3]);
        sandbox.tok(["get", "plain"]).env("TOK_PLAIN_CLIENT_ID", value).run().fails(3);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn what_a_user_gives_is_never_expanded() {
    let server = Server::issuing(60);
    let sandbox = plain(&server.url());
    sandbox.run("get plain --client-id {client_secret}{base_url}").line();
    assert_eq!(server.last().field("client_id"), "{client_secret}{base_url}");
}

#[test]
fn arguments_that_are_no_text_are_2_or_3() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::with_file_store();
    let odd = std::ffi::OsStr::from_bytes(b"a\xff\xfe");
    for args in
        [vec!["get".as_ref(), odd], vec![odd], vec!["get".as_ref(), "purewl".as_ref(), "--client-id".as_ref(), odd]]
    {
        sandbox.tok(args).run().fails_with_one_of(&[2, 3]);
    }
    sandbox.tok(["get", "purewl"]).env("TOK_PUREWL_SECRET_KEY", odd).run().fails_with_one_of(&[2, 3, 4]);
}

#[test]
fn no_home_is_an_error_and_no_panic() {
    let sandbox = Sandbox::with_file_store();
    let out = sandbox.tok(["get", "purewl"]).env_remove("HOME").env("TOK_PUREWL_BASE_URL", "http://127.0.0.1:1").run();
    assert_ne!(out.code, 0, "{out}");
    sandbox.tok(["--help"]).env_remove("HOME").run().ok();
    sandbox.tok(["-V"]).env_remove("HOME").run().ok();
}

#[test]
fn a_relative_home_is_refused_and_nothing_is_made_in_the_working_folder() {
    // It would be another home in each folder.
    let server = crate::support::server::Server::issuing(600);
    let sandbox = crate::support::plain(&server.url());
    for home in ["home", ".", "./home", "../work"] {
        for verb in ["get", "login", "logout", "show"] {
            let out = sandbox.tok([verb, "purewl"]).env("HOME", home).run();
            assert!(out.code == 1, "{home}, {verb}: {out}");
            out.says("no home folder").hints_at("HOME");
        }
    }
    assert_eq!(std::fs::read_dir(sandbox.work()).unwrap().count(), 0);
    assert_eq!(server.count(), 0);
    sandbox.tok(["--help"]).env("HOME", "home").run().ok();
}

#[test]
fn what_cannot_be_read_is_named_and_not_what_was_typed_behind_its_name() {
    let sandbox = Sandbox::with_file_config("[profile.mine]\nprovider = \"broken\"\n");
    sandbox.provider("broken", "title = \"x\"\ntitle = \"y\"\n");
    let each = |says: &str| {
        for line in
            ["get broken --base-url x", "header mine --base-url x", "login broken --base-url x", "login mine g --x y"]
        {
            sandbox.run(line).fails(3).says(says);
        }
    };
    each("broken.toml:2:1: duplicate key");
    sandbox.run("get other --base-url x").fails(2).says("unexpected argument");
    sandbox.run("get broken --help").ok();
    sandbox.config("x = [");
    each("config.toml:1:");
}
