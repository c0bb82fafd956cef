//! Nobody else's token: what a token was got with decides whom it answers. A kept secret goes home only.

use crate::support::apiax::{self, Apiax};
use crate::support::elasticpath::ElasticPath;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::xcover::XCover;
use crate::support::{CANARY, Sandbox, plain, plain_provider};
use serde_json::json;

/// Where no test's server listens: an origin to point a profile at.
const ELSEWHERE: &str = "https://elsewhere.invalid";

#[test]
fn a_kept_session_of_another_client_is_neither_used_nor_replaced() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let before = sandbox.secrets();
    sandbox.run("get apiax --client-id other --fresh").fails(4).says("client_id");
    sandbox.run("get apiax --client-id other").fails(4).says("client_id");
    sandbox.tok(["get", "apiax"]).env("TOK_APIAX_CLIENT_ID", "other").run().fails(4).says("client_id");
    assert_eq!(apiax.server.count(), 1);
    assert_eq!(sandbox.secrets(), before);
    sandbox.run("get apiax --fresh").silent().line();
}

#[test]
fn a_kept_session_of_another_user_is_neither_used_nor_replaced() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let before = sandbox.secrets();
    sandbox.run("get apiax --username somebody-else").fails(4).says("username");
    sandbox.run("get apiax --username somebody-else --fresh").fails(4).says("username");
    assert_eq!(apiax.server.count(), 1);
    assert_eq!(sandbox.secrets(), before);
    sandbox.run(&format!("get apiax --username {}", apiax::USERNAME)).silent().line();
    sandbox.run("get apiax").silent().line();
    assert_eq!(apiax.server.count(), 1, "the same user's cached token");
}

#[test]
fn a_value_not_given_now_contradicts_nothing() {
    let apiax = Apiax::start();
    let mut sandbox = apiax.sandbox();
    sandbox.set("TOK_APIAX_USERNAME", apiax::USERNAME).set("TOK_APIAX_PASSWORD", apiax::password());
    sandbox.run("login apiax password").prints("");
    sandbox.unset("TOK_APIAX_USERNAME").unset("TOK_APIAX_PASSWORD");
    sandbox.run("get apiax --fresh").silent().line();
    assert_eq!(apiax.grants(), ["password", "refresh_token"]);
}

#[test]
fn where_something_contradicts_a_grant_that_needs_nobody_runs_and_is_cached_apart() {
    let server = Server::new(|request| {
        let client = request.field("client_id");
        let token = format!("at-{CANARY}-{client}-{}", request.field("grant_type"));
        Reply::json(
            200,
            json!({"access_token": token, "expires_in": 600, "refresh_token": format!("rt-{CANARY}-{client}")}),
        )
    });
    let sandbox = plain(&server.url());
    sandbox.run("login plain").prints("");
    let kept = sandbox.secrets();
    let own = sandbox.run("get plain").silent().line();
    let other = sandbox.run("get plain --client-id other").line();
    assert_eq!(other, format!("at-{CANARY}-other-client_credentials"));
    assert_eq!(sandbox.secrets(), kept, "the kept session is not replaced");
    assert_eq!(sandbox.run("get plain").silent().line(), own);
    assert_eq!(sandbox.run("get plain --client-id other").line(), other, "cached apart");
    assert_eq!(server.count(), 2);
    assert_eq!(sandbox.run("get plain --fresh").silent().line(), format!("at-{CANARY}-plain-client-refresh_token"));
}

#[test]
fn another_secret_is_another_token() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let first = sandbox.run("get plain").line();
    let with = |secret: &str| sandbox.tok(["get", "plain"]).env("TOK_PLAIN_CLIENT_SECRET", secret).run().line();
    let other = with(&format!("another-{CANARY}"));
    assert_ne!(first, other);
    assert_eq!(with(&format!("another-{CANARY}")), other);
    assert_eq!(server.count(), 2);
}

#[test]
fn a_kept_session_belongs_to_the_secret_it_was_got_with() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    purewl.state(|s| s.secret_keys.push(format!("second-{CANARY}")));
    let out = sandbox.tok(["get", "purewl"]).env("TOK_PUREWL_SECRET_KEY", format!("second-{CANARY}")).run();
    out.ok();
    assert_eq!(purewl.grants(), ["secret", "secret"], "the other key's session is not used");
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(purewl.grants(), ["secret", "secret", "refresh"], "and was not replaced");
    assert_eq!(purewl.state(|s| s.reused), 0);
}

#[test]
fn no_plain_digest_of_a_secret_lies_about() {
    let sandbox = PureWl::start();
    let sandbox = sandbox.logged_in();
    let digest = ring::digest::digest(&ring::digest::SHA256, purewl::secret_key().as_bytes());
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest.as_ref());
    for (name, bytes) in sandbox.files() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&hex) && !text.contains(&base64), "{}", name.display());
    }
}

#[test]
fn another_grant_is_another_token() {
    let elasticpath = ElasticPath::start();
    let sandbox = elasticpath.sandbox_with_secret();
    let full = sandbox.run("get elasticpath").line();
    let weak = sandbox.run("get elasticpath --grant implicit").line();
    assert_ne!(full, weak);
    assert_eq!(sandbox.run("get elasticpath").line(), full, "a weaker one never answers for it");
    assert_eq!(sandbox.run("get elasticpath --grant implicit").line(), weak);
    assert_eq!(elasticpath.server.count(), 2);
}

#[test]
fn another_base_url_is_another_token() {
    let one = XCover::start();
    let two = XCover::start();
    let sandbox = one.sandbox_with_client();
    let first = sandbox.run("get xcover").line();
    sandbox.tok(["get", "xcover"]).env("TOK_XCOVER_BASE_URL", two.server.url()).run().line();
    assert_eq!((one.server.count(), two.server.count()), (1, 1));
    assert_eq!(sandbox.run("get xcover").line(), first);
    assert_eq!((one.server.count(), two.server.count()), (1, 1));
}

#[test]
fn a_changed_provider_definition_is_never_answered_with_the_old_token() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let first = sandbox.run("get plain").line();
    sandbox
        .provider("plain", &plain_provider(&server.url(), "[use]\nheader = \"X-Token\"\nvalue = \"{access_token}\"\n"));
    let second = sandbox.run("header plain").line();
    assert!(second.starts_with("X-Token: "), "{second}");
    assert!(!second.contains(&first), "{second}");
    assert_eq!(server.count(), 2);
}

#[test]
fn profiles_of_one_provider_share_nothing() {
    let purewl = PureWl::start();
    purewl.state(|s| s.secret_keys.push(format!("second-{CANARY}")));
    let sandbox = Sandbox::with_file_store();
    sandbox.config(&format!(
        "[profile.one]\nprovider = \"purewl\"\nbase_url = \"{0}\"\n[profile.two]\nprovider = \"purewl\"\nbase_url = \"{0}\"\n",
        purewl.server.url()
    ));
    let key = sandbox.file_arg("one", purewl::secret_key());
    sandbox.tok(["login", "one", "--secret-key-file", &key]).run().prints("");
    sandbox.run("get two").fails(4);
    let key = sandbox.file_arg("two", format!("second-{CANARY}"));
    sandbox.tok(["login", "two", "--secret-key-file", &key]).run().prints("");
    let (one, two) = (sandbox.run("get one").line(), sandbox.run("get two").line());
    assert_ne!(one, two);
    sandbox.run("logout one").prints("");
    assert_eq!(sandbox.run("get two").line(), two);
    sandbox.run("get one").fails(4);
}

#[test]
fn a_kept_secret_goes_home_only() {
    let purewl = PureWl::start();
    let thief = Server::issuing(600);
    let sandbox = purewl.logged_in();
    let home = purewl.server.url();
    let url = thief.url();
    let check = |out: crate::support::Output| {
        out.fails(4).says(&home).says(&url);
    };
    // By flag and by environment; with a session and, that dead, with the kept key alone.
    for dead in [false, true] {
        if dead {
            purewl.state(|s| s.alive.clear());
        }
        check(sandbox.tok(["get", "purewl", "--base-url", &url]).run());
        check(sandbox.tok(["get", "purewl", "--fresh", "--base-url", &url]).run());
        check(sandbox.tok(["get", "purewl"]).env("TOK_PUREWL_BASE_URL", &url).run());
    }
    assert_eq!((thief.count(), thief.connections()), (0, 0), "nothing was sent");
    assert_eq!(purewl.server.count(), 1);
    sandbox.run("get purewl --fresh").line();
}

#[test]
fn a_base_url_in_config_or_provider_file_does_not_lure_a_kept_secret_away() {
    let purewl = PureWl::start();
    let thief = Server::issuing(600);
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_PUREWL_BASE_URL");
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--secret-key-file", &key, "--base-url", &purewl.server.url()]).run().prints("");
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    sandbox.config(&config.replace(&purewl.server.url(), &thief.url()));
    sandbox.run("get purewl").fails(4).says(&purewl.server.url()).says(&thief.url());
    sandbox.run("get purewl --fresh").fails(4);
    sandbox.config(&config);
    sandbox.run("get purewl --fresh").silent().line();

    // A provider file whose default points elsewhere, the config silent.
    let server = Server::new(|_| {
        Reply::json(
            200,
            json!({"access_token": format!("at-{CANARY}"), "expires_in": 600, "refresh_token": format!("rt-{CANARY}")}),
        )
    });
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--keep", "--client-secret-file", &secret]).run().prints("");
    sandbox.provider("plain", &plain_provider(&thief.url(), ""));
    sandbox.run("get plain").fails(4).says(&server.url()).says(&thief.url());
    assert_eq!(thief.connections(), 0, "nothing was sent");
}

#[test]
fn another_path_of_the_same_origin_is_home_for_a_secret() {
    let server = Server::issuing(600);
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    let text = plain_provider(&server.url(), "").replace("{base_url}/token", "{base_url}/v2/token");
    sandbox.provider("plain", &text);
    sandbox.run("get plain").line();
    assert_eq!(server.last().path(), "/v2/token");
}

#[test]
fn a_secret_given_beside_the_url_may_go_there() {
    let (home, away) = (PureWl::start(), PureWl::start());
    let sandbox = home.logged_in();
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["get", "purewl", "--base-url", &away.server.url(), "--secret-key-file", &key]).run().line();
    assert_eq!(away.grants(), ["secret"]);
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(home.grants(), ["secret", "refresh"], "the session at home is as it was");
}

#[test]
fn a_new_login_may_go_elsewhere() {
    let (home, away) = (PureWl::start(), PureWl::start());
    let mut sandbox = home.logged_in();
    sandbox.set("TOK_PUREWL_BASE_URL", away.server.url());
    purewl::login(&sandbox);
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(away.grants(), ["secret", "refresh"]);
    assert_eq!(home.grants(), ["secret"]);
}

#[test]
fn a_login_does_not_take_the_kept_secret_elsewhere() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let thief = Server::issuing(600);
    sandbox.tok(["login", "purewl", "secret", "--base-url", &thief.url()]).run().fails(4);
    assert_eq!(thief.connections(), 0);
}

#[test]
fn the_default_of_the_url_counts_as_known() {
    // Logged in elsewhere by a flag that was not kept, the default is another place.
    let purewl = PureWl::start();
    let mut sandbox = purewl.logged_in();
    sandbox.unset("TOK_PUREWL_BASE_URL");
    sandbox.run("get purewl --timeout 100s").fails(4).says("https://atomapi.com").says(&purewl.server.url());
}

#[test]
fn elsewhere_is_told_by_origin_not_by_prefix() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let home = purewl.server.url();
    let port = purewl.server.port();
    let lures =
        [format!("http://localhost:{port}"), format!("https://127.0.0.1:{port}"), ELSEWHERE.into(), format!("{home}0")];
    for url in lures {
        // The last may be a port beyond 65535: then it is no URL at all.
        sandbox
            .tok(["get", "purewl", "--fresh", "--timeout", "100s", "--base-url", &url])
            .run()
            .fails_with_one_of(&[2, 3, 4]);
    }
    assert_eq!(purewl.server.connections(), 1);
}

#[test]
fn revoking_goes_home_only_too() {
    let server = Server::new(|_| {
        Reply::json(
            200,
            json!({"access_token": format!("at-{CANARY}"), "expires_in": 600, "refresh_token": format!("rt-{CANARY}")}),
        )
    });
    let more = "[revoke]\nurl = \"{base_url}/revoke\"\nbody = { token = \"{refresh_token}\" }\n";
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), more));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    let thief = Server::issuing(600);
    sandbox.provider("plain", &plain_provider(&thief.url(), more));
    let out = sandbox.run("logout plain --timeout 100s");
    assert_eq!(out.stdout, "", "{out}");
    assert_eq!(thief.connections(), 0, "{out}");
    assert!(sandbox.files_with(CANARY).is_empty(), "forgotten all the same");
}
