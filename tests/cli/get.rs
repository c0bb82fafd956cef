//! `tok get` and `tok header`: cached, then refresh, then a grant that needs nobody; the options.

use crate::child::Start;
use crate::support::elasticpath::{self, ElasticPath};
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::xcover::XCover;
use crate::support::{CANARY, Sandbox, contains, mode, now, plain, plain_provider};
use serde_json::json;

#[test]
fn a_first_get_needs_no_login_where_every_value_is_known() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    let token = sandbox.run("get purewl").silent().line();
    assert_eq!(sandbox.run("get purewl").silent().line(), token);
    assert_eq!(purewl.grants(), ["secret"]);
}

#[test]
fn xcover_gives_its_jwt() {
    let xcover = XCover::start();
    let sandbox = xcover.sandbox_with_client();
    let token = sandbox.run("get xcover").silent().line();
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(sandbox.run("get xcover").silent().line(), token);
    assert_eq!(xcover.server.count(), 1);
}

#[test]
fn elasticpath_is_read_flat_and_wrapped() {
    for wrapped in [false, true] {
        let elasticpath = ElasticPath::start();
        elasticpath.state(|s| s.wrapped = wrapped);
        let sandbox = elasticpath.sandbox_with_secret();
        let reply = sandbox.run("get elasticpath -o json").silent().json();
        assert_eq!(reply["grant"], "client-credentials");
        let left = reply["expires_in"].as_i64().unwrap();
        assert!((3590..=3600).contains(&left), "{reply}");
        sandbox.run("get elasticpath").line();
        assert_eq!(elasticpath.server.count(), 1);
    }
}

#[test]
fn an_expiry_long_past_beside_a_good_one_does_not_kill_the_token() {
    let elasticpath = ElasticPath::start();
    elasticpath.state(|s| s.expires = None);
    let sandbox = elasticpath.sandbox_with_secret();
    let token = sandbox.run("get elasticpath").silent().line();
    assert_eq!(sandbox.run("get elasticpath").line(), token);
    assert_eq!(elasticpath.server.count(), 1);
}

#[test]
fn elasticpath_s_epoch_counts_where_the_seconds_are_absent() {
    let elasticpath = ElasticPath::start();
    elasticpath.state(|s| s.expires_in = json!(null));
    elasticpath.state(|s| s.expires = Some(900));
    let sandbox = elasticpath.sandbox_with_secret();
    let reply = sandbox.run("get elasticpath -o json").json();
    let left = reply["expires_in"].as_i64().unwrap();
    assert!((890..=900).contains(&left), "{reply}");
}

#[test]
fn implicit_is_never_chosen_silently() {
    let elasticpath = ElasticPath::start();
    let sandbox = elasticpath.sandbox();
    sandbox.run("get elasticpath").fails(4).says("TOK_ELASTICPATH_CLIENT_SECRET");
    assert_eq!(elasticpath.server.count(), 0);
    sandbox.run("get elasticpath --grant implicit").line();
    assert_eq!(elasticpath.server.last().field("grant_type"), "implicit");
}

#[test]
fn the_header_line_is_the_provider_s() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let token = sandbox.run("get purewl").line();
    let header = format!("X-AccessToken: {token}\n");
    sandbox.run("header purewl").silent().prints(&header);
    sandbox.run("get purewl -o header").silent().prints(&header);

    let xcover = XCover::start();
    let sandbox = xcover.sandbox_with_client();
    let token = sandbox.run("get xcover").line();
    sandbox.run("header xcover").silent().prints(&format!("Authorization: Bearer {token}\n"));
}

#[test]
fn the_output_formats_of_a_token() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let token = sandbox.run("get purewl").line();
    let line = format!("{token}\n");
    sandbox.run("get purewl -o token").silent().prints(&line);
    sandbox.run("get purewl --output token").prints(&line);
    sandbox.run("get purewl -o env").silent().prints(&format!("export ACCESS_TOKEN='{token}'\n"));
    sandbox.run("get purewl -o env --name SHOP_TOKEN").prints(&format!("export SHOP_TOKEN='{token}'\n"));
    sandbox.run("get purewl -o nonsense").fails(2);
    assert_eq!(sandbox.run("get purewl --json").json(), sandbox.run("get purewl -o json").json());
}

#[test]
fn the_env_format_is_quoted_for_the_shell() {
    let token = format!("a'b$(id)`\\\"!{CANARY}");
    let server = Server::always(Reply::token(&token, 600));
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain -o env").ok();
    let script = format!("{}printf %s \"$ACCESS_TOKEN\"", out.stdout);
    let shell = std::process::Command::new("/bin/sh").args(["-c", &script]).finish().unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.stdout), token);
}

#[test]
fn write_puts_it_into_a_file_of_mode_0600_and_nothing_on_stdout() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let token = sandbox.run("get purewl").line();
    let file = sandbox.work().join("token");
    std::fs::write(&file, "something older and longer than a token of sixty-four characters is").unwrap();
    let path = file.to_str().unwrap();
    sandbox.tok(["get", "purewl", "--write", path]).after("umask 000").run().prints("");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{token}\n"));
    assert_eq!(mode(&file), 0o600);
    sandbox.tok(["get", "purewl", "-o", "header", "--write", path]).run().prints("");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, format!("X-AccessToken: {token}\n"));
}

#[test]
fn a_failure_leaves_the_file_of_write_as_it_was() {
    let sandbox = Sandbox::with_file_store();
    let file = sandbox.work().join("token");
    std::fs::write(&file, "old").unwrap();
    sandbox.tok(["get", "purewl", "--write", file.to_str().unwrap()]).run().fails(4);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn fresh_asks_although_the_cached_token_is_good() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let old = sandbox.run("get purewl").line();
    let new = sandbox.run("get purewl --fresh").silent().line();
    assert_ne!(old, new);
    assert_eq!(sandbox.run("get purewl").line(), new);
    assert_eq!(purewl.grants(), ["secret", "refresh"]);
}

#[test]
fn offline_gives_the_cached_token_or_4_and_asks_nobody() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let token = sandbox.run("get purewl").line();
    assert_eq!(sandbox.run("get purewl --offline").silent().line(), token);
    sandbox.forget_cache();
    sandbox.run("get purewl --offline").fails(4);
    assert_eq!(purewl.server.connections(), 1);
}

#[test]
fn min_ttl_decides_what_is_still_good() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let first = sandbox.run("get plain").line();
    assert_eq!(sandbox.run("get plain --min-ttl 9m").line(), first);
    let second = sandbox.run("get plain --min-ttl 601").line();
    assert_ne!(first, second);
    assert_eq!(server.count(), 2);
    sandbox.run("get plain --min-ttl soon").fails(2);
    // Just issued, a token is handed out however short.
    sandbox.run("get plain --min-ttl 7d").silent().line();
}

#[test]
fn durations_are_written_as_people_write_them() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.run("get plain").line();
    for good in ["90", "90s", "5m", "0", "1m30s"] {
        sandbox.run(&format!("get plain --min-ttl {good}")).silent().line();
    }
    assert_eq!(server.count(), 1);
    for longer in ["15m", "1h30m", "7d"] {
        sandbox.run(&format!("get plain --min-ttl {longer}")).line();
    }
    assert_eq!(server.count(), 4);
    for bad in ["-1", "1x", "m", "1.5", "", "99999999999999999999d"] {
        sandbox.tok(["get", "plain", &format!("--min-ttl={bad}")]).run().fails(2);
    }
}

#[test]
fn the_default_min_ttl_is_60s_or_a_tenth_of_a_short_life() {
    // Of 100 s a tenth is 10 s, so the second call still has the first one's token.
    let server = Server::issuing(100);
    let sandbox = plain(&server.url());
    let first = sandbox.run("get plain").line();
    assert_eq!(sandbox.run("get plain").line(), first);
    assert_eq!(server.count(), 1);
    // A token of 30 s is not a token of no use: asked of one for a minute, it is not loop after loop anew.
    let server = Server::issuing(30);
    let sandbox = plain(&server.url());
    let first = sandbox.run("get plain").line();
    assert_eq!(sandbox.run("get plain").line(), first);
    assert_eq!(server.count(), 1);
}

#[test]
fn an_expired_token_is_not_handed_out() {
    let server = Server::issuing(1);
    let sandbox = plain(&server.url());
    let first = sandbox.run("get plain").line();
    let start = now();
    crate::support::until("the token has expired", || now() > start + 1);
    assert_ne!(sandbox.run("get plain").line(), first);
}

#[test]
fn scopes_replace_the_configured_ones_and_are_cached_apart() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.config("[profile.plain]\nprovider = \"plain\"\nscope = [\"a\", \"b\"]\n");
    let configured = sandbox.run("get plain").line();
    assert_eq!(server.last().field("scope"), "a b");
    let other = sandbox.run("get plain --scope c --scope d").line();
    assert_eq!(server.last().field("scope"), "c d");
    assert_ne!(configured, other);
    assert_eq!(sandbox.run("get plain").line(), configured);
    assert_eq!(sandbox.run("get plain --scope c --scope d").line(), other);
    assert_eq!(server.count(), 2);
}

#[test]
fn a_provider_that_takes_no_scope_refuses_one() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    sandbox.run("get purewl --scope read").fails(2);
}

#[test]
fn no_store_neither_reads_nor_writes() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    let first = sandbox.run("get purewl --no-store").line();
    assert_eq!(sandbox.files_with(CANARY), Vec::<std::path::PathBuf>::new());
    let cached = sandbox.run("get purewl").line();
    assert_ne!(first, cached);
    assert_ne!(sandbox.run("get purewl --no-store").line(), cached);
    assert_eq!(sandbox.run("get purewl").line(), cached);
    assert_eq!(purewl.grants(), ["secret", "secret", "secret"]);
}

#[test]
fn cache_off_asks_each_time_and_leaves_no_access_token_behind() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.config("cache = \"off\"\n");
    let first = sandbox.run("get plain").line();
    assert_ne!(sandbox.run("get plain").line(), first);
    assert_eq!(server.count(), 2);
    assert!(sandbox.files_with(&first).is_empty());
    let sandbox = plain(&server.url());
    let first = sandbox.tok(["get", "plain"]).env("TOK_CACHE", "off").run().line();
    assert!(sandbox.files_with(&first).is_empty());
}

#[test]
fn verbose_says_more_and_never_a_secret() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    // Each run is searched for the canary by the harness.
    let out = sandbox.run("get purewl --fresh -vvv").ok();
    assert!(!out.stderr.is_empty(), "{out}");
    sandbox.run("get purewl -vvv").ok();
    purewl.state(|s| s.alive.clear());
    sandbox.run("get purewl --fresh -vvv").ok();
    let key = sandbox.file_arg("wrong", format!("wrong-{CANARY}"));
    sandbox.tok(["login", "purewl", "-vvv", "--secret-key-file", &key]).run().fails(5);
}

#[test]
fn the_log_crates_of_others_do_not_speak_either() {
    let xcover = XCover::start();
    let mut sandbox = xcover.sandbox_with_client();
    sandbox.set("RUST_LOG", "trace").set("RUST_BACKTRACE", "full");
    sandbox.run("get xcover").silent().line();
}

#[test]
fn a_closed_stdout_is_no_error() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    sandbox.tok(["get", "purewl"]).stdout(writer).run().ok().silent();
    for line in ["--help", "providers", "list", "completions bash"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = sandbox.tok(line.split(' ')).stdout(writer).run();
        assert_eq!(out.code, 0, "{out}");
    }
}

#[test]
fn nothing_is_looked_for_in_the_working_folder() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let trap = "not TOML at all [[[";
    for name in
        ["config.toml", "tok.toml", ".tok.toml", "purewl.toml", "providers/purewl.toml", ".config/tok/config.toml"]
    {
        crate::support::put(&sandbox.work().join(name), trap.as_bytes());
    }
    crate::support::put(&sandbox.work().join(".env"), b"TOK_PUREWL_BASE_URL=http://127.0.0.1:1\n");
    sandbox.run("get purewl --fresh").silent().line();
    sandbox.run("list").ok();
}

#[test]
fn quiet_and_options_change_no_byte_of_the_answer() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let answer = sandbox.run("get purewl").ok().bytes;
    for line in [
        "get purewl -q",
        "-q get purewl",
        "get purewl --no-input",
        "get purewl --color always",
        "get purewl -v",
        "get --timeout 5s purewl",
    ] {
        assert_eq!(sandbox.run(line).ok().bytes, answer, "{line}");
    }
    let out = sandbox.tok(["get", "purewl"]).env("NO_COLOR", "1").run().ok();
    assert_eq!(out.bytes, answer);
}

#[test]
fn a_token_of_the_longest_length_comes_whole() {
    let token = "x".repeat(65_536);
    let server = Server::always(Reply::token(&token, 600));
    let sandbox = plain(&server.url());
    for _ in 0..2 {
        let out = sandbox.run("get plain").ok();
        assert_eq!(out.stdout.len(), 65_537);
    }
    assert_eq!(server.count(), 1);
}

#[test]
fn a_scope_with_what_a_form_must_encode_arrives_as_it_is() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.tok(["get", "plain", "--scope", "a&b=c+d/{x}:ü"]).run().line();
    assert_eq!(server.last().field("scope"), "a&b=c+d/{x}:ü");
}

#[test]
fn the_fields_stand_in_the_order_of_the_provider_file() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.run("get plain --scope s").line();
    let names: Vec<_> = server.last().form().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["grant_type", "client_id", "client_secret", "scope"]);
    sandbox.run("get plain --fresh").line();
    assert!(!server.last().has_field("scope"), "{{name?}} drops the entry");
}

#[test]
fn each_encoding_and_method_of_a_provider_file_is_sent_as_it_says() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let file = |request: &str, body: &str| {
        let text = plain_provider(&server.url(), "");
        let text = text.replace("url = \"{base_url}/token\"\n", request);
        let at = text.find("[grants.client-credentials]").unwrap();
        let end = text.find("[grants.refresh]").unwrap();
        sandbox.provider("plain", &format!("{}[grants.client-credentials]\n{body}\n{}", &text[..at], &text[end..]));
    };
    file(
        "url = \"{base_url}/t/{client_id}\"\nencode = \"json\"\nmethod = \"PUT\"\nheaders = { X-Extra = \"v-{client_id}\" }\n",
        "body = { a = \"{client_id}\", n = 1, deep = { list = [true, \"{client_secret}\"] } }",
    );
    sandbox.run("get plain --client-id a/b").line();
    let request = server.last();
    assert_eq!(request.method, "PUT");
    assert_eq!(request.target, "/t/a%2Fb");
    assert_eq!(request.header("x-extra"), Some("v-a/b"));
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let secret = format!("plain-secret-{CANARY}");
    assert_eq!(body, json!({"a": "a/b", "n": 1, "deep": {"list": [true, secret]}}));

    file("url = \"{base_url}/q\"\nencode = \"query\"\nmethod = \"GET\"\n", "body = { id = \"{client_id}\" }");
    sandbox.run("get plain --client-id a&b").line();
    let request = server.last();
    assert_eq!((request.method.as_str(), request.path()), ("GET", "/q"));
    assert_eq!(request.query(), [("id".into(), "a&b".into())]);
    assert!(request.body.is_empty());

    file("url = \"{base_url}/b\"\nauth = \"basic\"\n", "body = { grant_type = \"client_credentials\" }");
    sandbox.tok(["get", "plain", "--client-id", "a b:c"]).run().line();
    use base64::Engine;
    let pair = format!("a%20b%3Ac:{secret}").replace(&secret, "plain-secret-ca9a41e5");
    let wanted = base64::engine::general_purpose::STANDARD.encode(pair);
    assert_eq!(server.last().header("authorization"), Some(format!("Basic {wanted}").as_str()));
    assert!(!contains(&server.last().body, CANARY.as_bytes()));
}

#[test]
fn elasticpath_s_region_is_one_of_the_two() {
    let elasticpath = ElasticPath::start();
    let sandbox = elasticpath.sandbox_with_secret();
    sandbox.run("get elasticpath --region useast").line();
    sandbox.run("get elasticpath --region mars").fails_with_one_of(&[2, 3]);
    assert_eq!(elasticpath.server.count(), 1);
    assert_eq!(elasticpath.server.last().field("client_id"), elasticpath::CLIENT_ID);
}
