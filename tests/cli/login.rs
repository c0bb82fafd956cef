//! `tok login`: the subcommands made from the provider files, what is kept, and that a failure changes nothing.

use crate::support::apiax::{self, Apiax};
use crate::support::elasticpath::{self, ElasticPath};
use crate::support::purewl::{self, Failure, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::xcover::{self, XCover};
use crate::support::{CANARY, Sandbox, mode, plain, plain_provider};

#[test]
fn purewl_secret_prints_nothing_and_the_next_get_prints_its_token() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "secret", "--secret-key-file", &key]).run().prints("").silent();
    let token = sandbox.run("get purewl").silent().line();
    assert_eq!(token.len(), 64);
    assert!(token.starts_with(CANARY));
    assert_eq!(purewl.grants(), ["secret"], "one request for both");
}

#[test]
fn the_first_grant_is_the_default() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run().prints("");
    assert_eq!(purewl.grants(), ["secret"]);
}

#[test]
fn a_secret_comes_from_stdin_and_one_newline_is_dropped() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    sandbox
        .tok("login purewl secret --secret-key-file -".split(' '))
        .stdin(format!("{}\n", purewl::secret_key()))
        .run()
        .prints("");
    assert_eq!(purewl.state(|s| s.issued), 1);
}

#[test]
fn a_secret_comes_from_the_environment_and_is_not_kept() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    sandbox.tok(["login", "purewl", "secret"]).env("TOK_PUREWL_SECRET_KEY", purewl::secret_key()).run().prints("");
    assert!(sandbox.files_with(&purewl::secret_key()).is_empty());
    assert!(sandbox.files_with(&format!("sk {CANARY}")).is_empty());
    // The refresh token is kept all the same.
    sandbox.run("get purewl --fresh").line();
    assert_eq!(purewl.grants(), ["secret", "refresh"]);
}

#[test]
fn the_secret_of_the_fallback_grant_is_kept() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    purewl.state(|s| s.alive.clear());
    purewl.state(|s| s.failure = Failure::Http);
    sandbox.forget_cache();
    sandbox.run("get purewl").line();
    assert_eq!(purewl.grants(), ["secret", "refresh", "secret"]);
}

#[test]
fn the_secret_of_a_grant_without_refresh_token_is_kept() {
    let xcover = XCover::start();
    let sandbox = xcover.sandbox();
    let secret = sandbox.file_arg("secret", xcover::client_secret());
    sandbox
        .tok(["login", "xcover", "client-credentials"])
        .args(["--client-id", xcover::CLIENT_ID, "--client-secret-file", &secret])
        .run()
        .prints("");
    sandbox.run("get xcover --fresh").line();
    assert_eq!(xcover.state(|s| s.issued), 2);
}

#[test]
fn a_person_s_password_is_not_kept() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    assert!(sandbox.files_with(&format!("pass {CANARY}")).is_empty());
    sandbox.run("get apiax").silent().line();
    apiax.state(|s| s.alive.clear());
    sandbox.run("get apiax --fresh").fails(4).hints_at("tok login apiax");
    assert_eq!(apiax.grants(), ["password", "refresh_token"]);
}

#[test]
fn a_person_s_password_is_kept_with_keep() {
    let apiax = Apiax::start();
    let sandbox = apiax.sandbox();
    let file = sandbox.file_arg("password", apiax::password());
    sandbox
        .tok(["login", "apiax", "password", "--keep", "--username", apiax::USERNAME])
        .args(["--password-file", &file])
        .run()
        .prints("");
    assert_eq!(sandbox.files_with(CANARY).len(), 2, "store and cache");
    assert!(!sandbox.files_with(&format!("pass {CANARY}")).is_empty());
}

#[test]
fn a_secret_of_a_grant_with_refresh_token_and_no_fallback_is_kept_only_with_keep() {
    for keep in [false, true] {
        let server = Server::new(|_| {
            Reply::json(
                200,
                serde_json::json!({"access_token": format!("at-{CANARY}"), "expires_in": 60, "refresh_token": format!("rt-{CANARY}")}),
            )
        });
        let sandbox = Sandbox::with_file_store();
        sandbox.provider("plain", &plain_provider(&server.url(), ""));
        let secret = sandbox.file_arg("secret", format!("the-secret-{CANARY}"));
        let mut login = sandbox.tok(["login", "plain", "--client-secret-file", &secret]);
        if keep {
            login = login.args(["--keep"]);
        }
        login.run().prints("");
        let kept = sandbox.files_with(&format!("the-secret-{CANARY}"));
        assert_eq!(!kept.is_empty(), keep, "{kept:?}");
    }
}

#[test]
fn plain_values_go_to_the_config_and_secrets_do_not() {
    let xcover = XCover::start();
    let mut sandbox = xcover.sandbox();
    sandbox.unset("TOK_XCOVER_BASE_URL");
    let secret = sandbox.file_arg("secret", xcover::client_secret());
    sandbox
        .tok(["login", "xcover", "client-credentials"])
        .args(["--client-id", xcover::CLIENT_ID, "--client-secret-file", &secret])
        .args(["--base-url", &xcover.server.url()])
        .run()
        .prints("");
    let config = std::fs::read_to_string(sandbox.config_file()).expect("a config was written");
    assert!(config.contains("[profile.xcover]"), "{config}");
    assert!(config.contains(xcover::CLIENT_ID), "{config}");
    assert!(config.contains(&xcover.server.url()), "{config}");
    assert!(!config.contains(CANARY), "{config}");
    assert_eq!(mode(&sandbox.config_file()) & 0o022, 0);
    // And from there the next call has them.
    sandbox.run("get xcover --fresh").silent().line();
}

#[test]
fn what_came_from_the_environment_is_not_written_to_the_config() {
    let elasticpath = ElasticPath::start();
    let sandbox = elasticpath.sandbox_with_secret();
    sandbox.run("login elasticpath client-credentials").prints("");
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap_or_default();
    assert!(!config.contains(elasticpath::CLIENT_ID), "{config}");
    assert!(!config.contains("127.0.0.1"), "{config}");
    assert!(!config.contains("store"), "{config}");
}

#[test]
fn the_store_chosen_at_login_is_written_to_the_config() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE");
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--store", "file", "--secret-key-file", &key]).run().prints("");
    assert!(sandbox.secrets_file().exists());
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(purewl.grants(), ["secret", "refresh"]);
}

#[test]
fn as_keeps_it_under_another_name_whose_variables_it_then_has() {
    let purewl = PureWl::start();
    let mut sandbox = Sandbox::with_file_store();
    sandbox.set("TOK_SHOP_EU_BASE_URL", purewl.server.url());
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "secret", "--as", "shop-eu", "--secret-key-file", &key]).run().prints("");
    sandbox.run("get shop-eu").silent().line();
    sandbox.run("header shop-eu").ok();
    assert_eq!(purewl.grants(), ["secret"]);
    let config = std::fs::read_to_string(sandbox.config_file()).expect("a config");
    assert!(config.contains("[profile.shop-eu]"), "{config}");
    assert!(config.contains("purewl"), "{config}");
    // The provider's own profile has nothing of it.
    sandbox.run("get purewl").fails(4);
}

#[test]
fn a_configured_profile_is_a_subcommand_too() {
    let elasticpath = ElasticPath::start();
    let sandbox = Sandbox::with_file_store();
    sandbox.config(&format!(
        "[profile.shop]\nprovider = \"elasticpath\"\ngrant = \"implicit\"\nclient_id = \"{}\"\nbase_url = \"{}\"\n",
        elasticpath::CLIENT_ID,
        elasticpath.server.url()
    ));
    sandbox.run("login shop").prints("");
    assert_eq!(elasticpath.server.last().field("grant_type"), "implicit");
    let out = sandbox.run("login shop --help").ok();
    assert!(out.stdout.contains("client-credentials"), "{out}");
}

#[test]
fn a_user_s_provider_is_a_subcommand_with_its_own_help() {
    let server = Server::issuing(60);
    let sandbox = plain(&server.url());
    let out = sandbox.run("login plain client-credentials --help").ok();
    assert!(out.stdout.contains("--client-secret-file"), "{out}");
    assert!(out.stdout.contains("--client-id"), "{out}");
    assert!(!out.stdout.contains("--client-secret "), "{out}");
    sandbox.run("login plain client-credentials").prints("");
    assert_eq!(server.count(), 1);
}

#[test]
fn help_at_each_level_shows_what_is_taken() {
    let sandbox = Sandbox::new();
    let out = sandbox.run("login --help").ok().silent();
    for provider in ["purewl", "xcover", "elasticpath", "apiax"] {
        assert!(out.stdout.contains(provider), "{provider}: {out}");
    }
    for (provider, grants) in [
        ("purewl", &["secret", "refresh"][..]),
        ("xcover", &["client-credentials"]),
        ("elasticpath", &["client-credentials", "implicit"]),
        ("apiax", &["password", "refresh"]),
    ] {
        let out = sandbox.run(&format!("login {provider} --help")).ok();
        for grant in grants {
            assert!(out.stdout.contains(grant), "{grant}: {out}");
            sandbox.run(&format!("login {provider} {grant} --help")).ok().silent();
        }
    }
    for (line, flags) in [
        ("login purewl secret -h", &["--secret-key-file", "--base-url", "--keep", "--as", "--store"][..]),
        ("login purewl refresh -h", &["--refresh-token-file"]),
        ("login xcover client-credentials -h", &["--client-id", "--client-secret-file"]),
        ("login elasticpath implicit -h", &["--client-id", "--region"]),
        ("login apiax password -h", &["--username", "--password-file"]),
        ("login apiax refresh -h", &["--refresh-token-file"]),
    ] {
        let out = sandbox.run(line).ok();
        for flag in flags {
            assert!(out.stdout.contains(flag), "{flag}: {out}");
        }
    }
}

#[test]
fn help_of_login_names_all_whoever_else_is_named() {
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("one", &plain_provider("http://127.0.0.1:9", ""));
    sandbox.provider("two", &plain_provider("http://127.0.0.1:9", ""));
    let all = sandbox.run("login --help").ok().stdout;
    assert!(all.contains("one ") && all.contains("two "), "{all}");
    for line in ["login --help one", "login --help nosuch"] {
        assert_eq!(sandbox.run(line).ok().stdout, all, "{line}");
    }
}

#[test]
fn a_name_may_be_said_twice() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.config("store = \"file\"\n[profile.login]\nprovider = \"plain\"\n[profile.get]\nprovider = \"plain\"\n");
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.run(&format!("login plain --as plain --client-secret-file {secret}")).ok();
    sandbox.run(&format!("login login --client-secret-file {secret}")).ok();
    sandbox.run("get get --client-id get --offline").fails(4);
}

#[test]
fn no_flag_takes_a_secret() {
    let sandbox = Sandbox::with_file_store();
    for line in [
        "login purewl secret --secret-key x",
        "login xcover client-credentials --client-secret x",
        "login apiax password --password x",
        "login apiax refresh --refresh-token x",
        "get purewl --secret-key x",
    ] {
        sandbox.run(line).fails(2);
    }
}

#[test]
fn a_refresh_token_is_imported_by_login_refresh() {
    let apiax = Apiax::start();
    apiax.state(|s| s.alive.insert(format!("rt-{CANARY}-imported"), None));
    let sandbox = apiax.sandbox();
    let file = sandbox.file_arg("rt", format!("rt-{CANARY}-imported\n"));
    sandbox.tok(["login", "apiax", "refresh", "--refresh-token-file", &file]).run().prints("");
    sandbox.run("get apiax").silent().line();
    sandbox.run("get apiax --fresh").silent().line();
    assert_eq!(apiax.grants(), ["refresh_token", "refresh_token"]);
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn login_refresh_leaves_the_profile_s_grant_and_kept_secrets_as_they_are() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    purewl.state(|s| s.alive.insert(format!("{CANARY}c{:055x}", 1)));
    let file = sandbox.file_arg("rt", format!("{CANARY}c{:055x}", 1));
    sandbox.tok(["login", "purewl", "refresh", "--refresh-token-file", &file]).run().prints("");
    assert_eq!(purewl.grants(), ["secret", "refresh"]);
    // Its successor dead, the kept secret is still there for the fallback.
    purewl.state(|s| s.alive.clear());
    sandbox.run("get purewl --fresh").line();
    assert_eq!(purewl.grants(), ["secret", "refresh", "refresh", "secret"]);
}

#[test]
fn a_refused_login_is_5_and_changes_nothing() {
    for failure in [Failure::InSuccess, Failure::Http] {
        let purewl = PureWl::start();
        purewl.state(|s| s.failure = failure);
        let sandbox = purewl.logged_in();
        let before = sandbox.secrets();
        let wrong = sandbox.file_arg("wrong", format!("wrong-{CANARY}"));
        sandbox
            .tok(["login", "purewl", "secret", "--secret-key-file", &wrong])
            .run()
            .fails(5)
            .says("Invalid secret key")
            .says("4001");
        assert_eq!(sandbox.secrets(), before);
        sandbox.run("get purewl").silent().line();
    }
}

#[test]
fn a_dead_refresh_token_in_login_refresh_is_5_and_changes_nothing() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let before = sandbox.secrets();
    let dead = sandbox.file_arg("dead", format!("rt-{CANARY}-dead"));
    sandbox
        .tok(["login", "apiax", "refresh", "--refresh-token-file", &dead])
        .run()
        .fails(5)
        .says("invalid_grant")
        .says("Token is not active");
    assert_eq!(sandbox.secrets(), before);
    sandbox.run("get apiax").silent().line();
    sandbox.run("get apiax --fresh").silent().line();
}

#[test]
fn a_login_whose_reply_cannot_be_read_changes_nothing() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let before = sandbox.secrets();
    let config = std::fs::read(sandbox.config_file()).ok();
    purewl.server.next(Reply::html(200));
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--store", "file", "--secret-key-file", &key]).run().fails(8);
    assert_eq!(sandbox.secrets(), before);
    assert_eq!(std::fs::read(sandbox.config_file()).ok(), config);
    sandbox.run("get purewl").silent().line();
}

#[test]
fn a_new_login_replaces_the_cached_token() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let first = sandbox.run("get purewl").line();
    purewl::login(&sandbox);
    let second = sandbox.run("get purewl").line();
    assert_ne!(first, second);
    assert_eq!(purewl.grants(), ["secret", "secret"]);
}

#[test]
fn elasticpath_logs_in_with_and_without_a_secret() {
    let elasticpath = ElasticPath::start();
    let sandbox = elasticpath.sandbox_with_secret();
    sandbox.run("login elasticpath client-credentials").prints("");
    sandbox.run("get elasticpath").line();
    let sandbox = elasticpath.sandbox();
    sandbox.run("login elasticpath implicit").prints("");
    sandbox.run("get elasticpath").line();
    let grants: Vec<_> = elasticpath.server.requests().iter().map(|r| r.field("grant_type")).collect();
    assert_eq!(grants, ["client_credentials", "implicit"]);
}

#[test]
fn files_are_0600_in_0700_folders_even_with_an_open_umask() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--store", "file", "--secret-key-file", &key]).after("umask 000").run().prints("");
    sandbox.tok(["get", "purewl", "--fresh"]).after("umask 000").run().line();
    for file in sandbox.files().into_keys() {
        let path = sandbox.home().join(&file);
        assert_eq!(mode(&path), 0o600, "{}", file.display());
        let folder = path.parent().unwrap();
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
}

#[test]
fn logout_forgets_everything_and_says_that_nothing_was_revoked_there() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    assert!(!sandbox.files_with(CANARY).is_empty());
    let out = sandbox.run("logout purewl").prints("");
    assert!(!out.stderr.is_empty(), "it says that it only forgets: {out}");
    assert_eq!(sandbox.files_with(CANARY), Vec::<std::path::PathBuf>::new());
    sandbox.run("get purewl").fails(4);
    assert_eq!(purewl.grants(), ["secret"]);
}

#[test]
fn logout_of_a_profile_without_anything_kept_is_done_at_once() {
    let sandbox = Sandbox::with_file_store();
    sandbox.run("logout purewl").prints("");
}

#[test]
fn logout_all_forgets_every_profile() {
    let purewl = PureWl::start();
    let apiax = Apiax::start();
    let mut sandbox = purewl.logged_in();
    sandbox.set("TOK_APIAX_BASE_URL", apiax.server.url());
    apiax::login(&sandbox);
    sandbox.run("logout --all").prints("");
    assert_eq!(sandbox.files_with(CANARY), Vec::<std::path::PathBuf>::new());
}

/// A provider with a revocation endpoint.
fn revocable(server: &Server) -> Sandbox {
    let more = "[revoke]\nurl = \"{base_url}/revoke\"\nbody = { token = \"{refresh_token}\" }\n";
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), more));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    sandbox
}

fn token_with_refresh() -> Reply {
    Reply::json(
        200,
        serde_json::json!({"access_token": format!("at-{CANARY}"), "refresh_token": format!("rt-{CANARY}"), "expires_in": 600}),
    )
}

#[test]
fn logout_revokes_where_the_provider_can() {
    let server = Server::script([token_with_refresh(), Reply::text(200, "")]);
    let sandbox = revocable(&server);
    sandbox.run("logout plain").prints("");
    assert_eq!(server.count(), 2);
    assert_eq!(server.last().path(), "/revoke");
    assert_eq!(server.last().field("token"), format!("rt-{CANARY}"));
    assert_eq!(sandbox.files_with(CANARY), Vec::<std::path::PathBuf>::new());
}

#[test]
fn logout_forgets_also_when_revoking_fails_and_says_so() {
    let server = Server::script([token_with_refresh()]);
    let sandbox = revocable(&server);
    sandbox.run("logout plain --timeout 3s").fails(6).says("removed locally; not revoked at the provider");
    assert_eq!(sandbox.files_with(CANARY), Vec::<std::path::PathBuf>::new());
}
