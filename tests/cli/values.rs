//! Where a value comes from: flag, environment, config, store, default; and the ways a secret comes in.

use crate::child::SOON;
use crate::skip::needs;
use crate::support::elasticpath::ElasticPath;
use crate::support::purewl::{self, PureWl};
use crate::support::server::Server;
use crate::support::xcover::{self, XCover};
use crate::support::{CANARY, Sandbox, chmod, plain, put};

#[test]
fn flag_before_environment_before_config_before_store_before_default() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let client = || server.last().field("client_id");
    sandbox.run("get plain --no-store").line();
    assert_eq!(client(), "plain-client", "the default");
    sandbox.run("login plain --client-id from-login").prints("");
    assert_eq!(client(), "from-login");
    sandbox.run("get plain --fresh").line();
    assert_eq!(client(), "from-login", "kept by the login");
    sandbox.config("[profile.plain]\nprovider = \"plain\"\nclient_id = \"from-config\"\n");
    sandbox.run("get plain").line();
    assert_eq!(client(), "from-config");
    let get = || sandbox.tok(["get", "plain"]).env("TOK_PLAIN_CLIENT_ID", "from-environment");
    get().run().line();
    assert_eq!(client(), "from-environment");
    get().args(["--client-id", "from-flag"]).run().line();
    assert_eq!(client(), "from-flag");
}

#[test]
fn a_secret_s_file_before_its_variable_before_config_before_store() {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    let secret = || server.last().field("client_secret");
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET");
    let file = sandbox.file_arg("kept", format!("kept-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &file]).run().prints("");
    sandbox.run("get plain --fresh").line();
    assert_eq!(secret(), format!("kept-{CANARY}"));
    sandbox.config(&format!("[profile.plain]\nprovider = \"plain\"\nclient_secret = \"config-{CANARY}\"\n"));
    sandbox.run("get plain --fresh").line();
    assert_eq!(secret(), format!("config-{CANARY}"));
    sandbox.set("TOK_PLAIN_CLIENT_SECRET", format!("environment-{CANARY}"));
    sandbox.run("get plain --fresh").line();
    assert_eq!(secret(), format!("environment-{CANARY}"));
    let file = sandbox.file_arg("flag", format!("flag-{CANARY}"));
    sandbox.tok(["get", "plain", "--client-secret-file", &file]).run().line();
    assert_eq!(secret(), format!("flag-{CANARY}"));
}

#[test]
fn a_variable_and_its_file_together_are_2() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let file = sandbox.file_arg("key", purewl::secret_key());
    let out = sandbox
        .tok(["get", "purewl"])
        .env("TOK_PUREWL_SECRET_KEY", purewl::secret_key())
        .env("TOK_PUREWL_SECRET_KEY_FILE", &file)
        .run();
    out.fails(2).says("TOK_PUREWL_SECRET_KEY").says("TOK_PUREWL_SECRET_KEY_FILE");
    assert_eq!(purewl.server.connections(), 0);
}

#[test]
fn one_line_break_at_the_end_of_a_variable_is_dropped_as_from_a_file() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let get = |variable: &str, value: &str| {
        sandbox.tok(["get", "plain", "--no-store"]).env(variable, value).run().line();
        server.last().field("client_secret")
    };
    let secret = format!("secret-{CANARY}");
    for end in ["", "\n", "\r\n"] {
        assert_eq!(get("TOK_PLAIN_CLIENT_SECRET", &format!("{secret}{end}")), secret, "{end:?}");
    }
    // One that the config names; and a plain value.
    sandbox.config("[profile.plain]\nprovider = \"plain\"\nclient_secret = { env = \"MINE\" }\n");
    let get =
        |end: &str| sandbox.tok(["get", "plain", "--no-store"]).env_remove("TOK_PLAIN_CLIENT_SECRET").env("MINE", end);
    get(&format!("{secret}\n")).env("TOK_PLAIN_CLIENT_ID", "mine\n").run().line();
    let sent = server.last();
    assert_eq!((sent.field("client_secret"), sent.field("client_id")), (secret, "mine".into()));
    // Nothing but a line break is nothing.
    get("\n").run().fails(4).says("MINE is set but empty");
    sandbox.config("");
    let out = sandbox.tok(["get", "plain", "--no-store"]).env("TOK_PLAIN_CLIENT_SECRET", "\n").run();
    out.fails(4).says("TOK_PLAIN_CLIENT_SECRET is set but empty");
}

#[test]
fn a_variable_may_name_a_file() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let file = sandbox.file_arg("key", format!("{}\n", purewl::secret_key()));
    sandbox.tok(["get", "purewl"]).env("TOK_PUREWL_SECRET_KEY_FILE", &file).run().silent().line();
    let elasticpath = ElasticPath::start();
    let sandbox = elasticpath.sandbox_with_secret();
    let id = sandbox.file_arg("id", crate::support::elasticpath::CLIENT_ID);
    // Plain values too.
    let out = sandbox
        .tok(["get", "elasticpath"])
        .env_remove("TOK_ELASTICPATH_CLIENT_ID")
        .env("TOK_ELASTICPATH_CLIENT_ID_FILE", &id)
        .run();
    out.line();
}

#[test]
fn an_empty_variable_is_absent_and_the_error_says_so() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let out = sandbox.tok(["get", "purewl"]).env("TOK_PUREWL_SECRET_KEY", "").run();
    out.fails(4).says("TOK_PUREWL_SECRET_KEY").says("empty");
    // Absent: so the next place is asked, and the file beside it is no contradiction.
    purewl::login(&sandbox);
    sandbox.tok(["get", "purewl", "--fresh"]).env("TOK_PUREWL_SECRET_KEY", "").run().silent().line();
    let file = sandbox.file_arg("key", purewl::secret_key());
    sandbox
        .tok(["get", "purewl"])
        .env("TOK_PUREWL_SECRET_KEY", "")
        .env("TOK_PUREWL_SECRET_KEY_FILE", &file)
        .run()
        .line();
}

#[test]
fn one_trailing_newline_is_dropped_and_nothing_else() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    for (content, sent) in [
        ("secret", "secret"),
        ("secret\n", "secret"),
        ("secret\r\n", "secret"),
        (" secret ", " secret "),
        ("{x}", "{x}"),
        ("a=b&c", "a=b&c"),
        ("ü€😀", "ü€😀"),
    ] {
        let file = sandbox.file_arg("secret", content);
        sandbox.tok(["get", "plain", "--fresh", "--client-secret-file", &file]).run().line();
        assert_eq!(server.last().field("client_secret"), sent, "{content:?}");
    }
}

#[test]
fn a_file_may_be_of_any_mode_a_link_or_a_pipe() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let file = sandbox.file("key", purewl::secret_key());
    for bits in [0o644, 0o666, 0o400, 0o777] {
        chmod(&file, bits);
        sandbox.tok(["get", "purewl", "--no-store", "--secret-key-file", file.to_str().unwrap()]).run().line();
    }
    let link = sandbox.work().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    sandbox.tok(["get", "purewl", "--no-store", "--secret-key-file", link.to_str().unwrap()]).run().line();
    let fd = format!("exec 3<'{}'", file.display());
    sandbox.tok(["get", "purewl", "--no-store", "--secret-key-file", "/dev/fd/3"]).after(&fd).run().line();
    let pipe = sandbox.work().join("pipe");
    let feed = format!("mkfifo '{0}'; cat '{1}' > '{0}' &", pipe.display(), file.display());
    // `true` after it, for what follows `&` is joined by a semicolon.
    let feed = format!("{feed} true");
    sandbox.tok(["get", "purewl", "--no-store", "--secret-key-file", pipe.to_str().unwrap()]).after(&feed).run().line();
    assert_eq!(purewl.state(|s| s.issued), 7);
}

#[test]
fn get_takes_a_secret_from_stdin() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    sandbox.tok(["get", "purewl", "--secret-key-file", "-"]).stdin(purewl::secret_key()).run().silent().line();
}

#[test]
fn stdin_cannot_be_two_values() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let text = crate::support::plain_provider(&server.url(), "");
    let text = text.replace("[params.scope]", "[params.second]\nsecret = true\n[params.scope]");
    let text = text.replace("scope = \"{scope?}\"", "second = \"{second}\"");
    sandbox.provider("plain", &text);
    let args = ["login", "plain", "--client-secret-file", "-", "--second-file", "-"];
    sandbox.tok(args).stdin("x").run().fails(2);
    sandbox.tok(["get", "plain", "--client-secret-file", "-", "--second-file", "-"]).stdin("x").run().fails(2);
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_secret_may_come_from_a_command_without_shell_stdin_or_tok_secrets() {
    let xcover = XCover::start();
    let mut sandbox = xcover.sandbox();
    let dump = sandbox.work().join("dump");
    let script = sandbox.work().join("give me");
    put(
        &script,
        format!(
            "#!/bin/sh\nenv > '{0}'\nprintf '%s|' \"$@\" >> '{0}'\nwc -c >> '{0}'\nprintf '%s\\n' '{1}'\n",
            dump.display(),
            xcover::client_secret()
        )
        .as_bytes(),
    );
    chmod(&script, 0o755);
    sandbox.config(&format!(
        "[profile.xcover]\nprovider = \"xcover\"\nclient_id = \"{}\"\nclient_secret = {{ command = ['{}', '$HOME `id` *', 'x'] }}\n",
        xcover::CLIENT_ID,
        script.display()
    ));
    sandbox.set("TOK_APIAX_PASSWORD", format!("other-{CANARY}"));
    sandbox.tok(["get", "xcover"]).stdin("something on stdin").run().silent().line();
    let seen = std::fs::read_to_string(&dump).unwrap();
    assert!(seen.contains("$HOME `id` *|x|"), "no shell: {seen}");
    assert!(!seen.contains(CANARY), "no secret of tok's: {seen}");
    assert!(
        seen.lines().any(|l| l.trim().trim_start_matches(|c| c != '|').trim_start_matches('|').trim() == "0"
            || l.trim() == "0"
            || l.ends_with("|0")),
        "no stdin: {seen}"
    );
    assert!(sandbox.files_with(&xcover::client_secret()).is_empty(), "not kept");
}

#[test]
fn a_command_that_fails_or_hangs_or_says_nothing_is_an_error() {
    let xcover = XCover::start();
    let sandbox = xcover.sandbox();
    for command in [
        "['false']",
        "['/nonexistent/program']",
        "['true']",
        "['sleep', '600']",
        "['sh', '-c', 'printf a; exit 3']",
        "[]",
        "['yes']",
    ] {
        sandbox.config(&format!(
            "[profile.xcover]\nprovider = \"xcover\"\nclient_id = \"x\"\nclient_secret = {{ command = {command} }}\n"
        ));
        let out = sandbox.run("get xcover --timeout 2s");
        assert_ne!(out.code, 0, "{command}: {out}");
        assert_eq!(out.stdout, "", "{command}: {out}");
        assert!(out.stderr.starts_with("tok: "), "{command}: {out}");
        assert!(out.took < SOON, "{command}: {out}");
    }
    assert_eq!(xcover.server.connections(), 0);
}

#[test]
fn what_a_command_says_on_stderr_is_not_mixed_into_the_answer() {
    let xcover = XCover::start();
    let sandbox = xcover.sandbox();
    let script = sandbox.work().join("noisy");
    put(&script, format!("#!/bin/sh\necho noise >&2\nprintf '%s' '{}'\n", xcover::client_secret()).as_bytes());
    chmod(&script, 0o755);
    sandbox.config(&format!(
        "[profile.xcover]\nprovider = \"xcover\"\nclient_id = \"{}\"\nclient_secret = {{ command = ['{}'] }}\n",
        xcover::CLIENT_ID,
        script.display()
    ));
    sandbox.run("get xcover").silent().line();
}

#[test]
fn a_secret_may_come_from_another_variable_or_a_file() {
    let xcover = XCover::start();
    let sandbox = xcover.sandbox();
    let config = |source: &str| {
        sandbox.config(&format!(
            "[profile.xcover]\nprovider = \"xcover\"\nclient_id = \"{}\"\nclient_secret = {source}\n",
            xcover::CLIENT_ID
        ));
    };
    config("{ env = \"MY_SECRET\" }");
    sandbox.tok(["get", "xcover", "--no-store"]).env("MY_SECRET", xcover::client_secret()).run().silent().line();
    sandbox.run("get xcover --no-store").fails(4).says("MY_SECRET");
    let file = sandbox.file_arg("secret", format!("{}\n", xcover::client_secret()));
    config(&format!("{{ file = \"{file}\" }}"));
    sandbox.run("get xcover --no-store").silent().line();
    config("{ file = \"/nonexistent/file\" }");
    let out = sandbox.run("get xcover --no-store");
    assert_ne!(out.code, 0, "{out}");
    config("{ file = \"x\", env = \"y\" }");
    sandbox.run("get xcover --no-store").fails(3);
    assert_eq!(xcover.state(|s| s.issued), 2);
}

#[test]
fn a_secret_may_come_from_another_entry_of_the_keyring() {
    needs!(keyring);
    let keyring = crate::support::keyring::Keyring::unlocked();
    keyring.store("shop", "jane", &xcover::client_secret());
    let xcover = XCover::start();
    let mut sandbox = xcover.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    let config = |entry: &str| {
        sandbox.config(&format!(
            "[profile.xcover]\nprovider = \"xcover\"\nclient_id = \"{}\"\nclient_secret = {{ keyring = \"{entry}\" }}\n",
            xcover::CLIENT_ID
        ));
    };
    config("shop/jane");
    let token = sandbox.run("get xcover").silent().line();
    keyring.lock();
    // The cached token is compared by the reference: the keyring is not asked.
    assert_eq!(sandbox.run("get xcover").silent().line(), token);
    sandbox.run("get xcover --fresh").fails(7);
    assert_eq!(xcover.state(|s| s.issued), 1);
}

#[test]
fn a_missing_entry_of_the_keyring_is_told_from_a_missing_keyring() {
    needs!(keyring);
    let keyring = crate::support::keyring::Keyring::unlocked();
    let xcover = XCover::start();
    let mut sandbox = xcover.sandbox();
    sandbox.config(
        "[profile.xcover]\nprovider = \"xcover\"\nclient_id = \"x\"\nclient_secret = { keyring = \"shop/jane\" }\n",
    );
    sandbox.run("get xcover").fails(7);
    sandbox.set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    sandbox.run("get xcover").fails(4).says("shop");
}

#[test]
fn variables_of_a_profile_are_upper_case_with_underscores() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.config("[profile.shop-eu-1]\nprovider = \"plain\"\n");
    sandbox.run("get shop-eu-1").fails(4).says("TOK_SHOP_EU_1_CLIENT_SECRET");
    sandbox.tok(["get", "shop-eu-1"]).env("TOK_SHOP_EU_1_CLIENT_SECRET", format!("s-{CANARY}")).run().line();
    assert_eq!(server.count(), 1);
}

#[test]
fn as_makes_the_variables_that_name_s() {
    let purewl = PureWl::start();
    let sandbox = Sandbox::with_file_store();
    sandbox
        .tok(["login", "purewl", "secret", "--as", "shop-eu"])
        .env("TOK_SHOP_EU_BASE_URL", purewl.server.url())
        .env("TOK_SHOP_EU_SECRET_KEY", purewl::secret_key())
        .run()
        .prints("");
    assert_eq!(purewl.grants(), ["secret"]);
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(config.contains("[profile.shop-eu]") && !config.contains("127.0.0.1"), "{config}");
}

#[test]
fn a_refresh_token_of_the_environment_is_for_login_refresh_only() {
    let purewl = PureWl::start();
    purewl.state(|s| s.alive.insert(format!("{CANARY}e{:055x}", 1)));
    let mut sandbox = purewl.sandbox();
    let file = sandbox.file_arg("rt", format!("{CANARY}e{:055x}", 1));
    sandbox.tok(["login", "purewl", "refresh", "--refresh-token-file", &file]).run().prints("");
    sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(purewl.state(|s| s.reused), 0, "the store's, not the one that was spent");
}
