//! The config and the providers' files: read strictly, written with care, and trusted only where nobody else writes.

use crate::skip::{is_root, skip_part};
use crate::support::purewl::{self, PureWl};
use crate::support::server::Server;
use crate::support::{CANARY, Sandbox, chmod, plain, plain_provider, put};
use std::os::unix::fs::symlink;

#[test]
fn a_typo_is_refused_with_file_line_column_and_the_nearest_name() {
    for (text, place, nearest) in [
        ("stroe = \"file\"\n", "config.toml:1:1", "store"),
        ("\n\n  cach = \"disk\"\n", "config.toml:3:3", "cache"),
        ("[profile.shop]\nprovider = \"purewl\"\ngrnat = \"secret\"\n", "config.toml:3:1", "grant"),
        ("[profile.shop]\nprovider = \"purewl\"\nbase_ulr = \"https://a.example\"\n", "config.toml:3:1", "base_url"),
        ("[profiles.shop]\nprovider = \"purewl\"\n", "config.toml:1:2", "profile"),
        ("[profile.shop]\nprovider = \"purwl\"\n", "config.toml:2:12", "purewl"),
    ] {
        let sandbox = Sandbox::with_file_store();
        sandbox.config(text);
        let line = if text.contains("shop") && !text.contains("profiles") { "get shop" } else { "get purewl" };
        sandbox.run(line).fails(3).says(place).says(nearest);
    }
}

#[test]
fn broken_toml_is_refused_with_line_and_column() {
    for text in
        ["store = \n", "store = \"file\n", "[profile.shop\n", "= 1\n", "store = \"file\"\nstore = \"none\"\n", "\u{0}"]
    {
        let sandbox = Sandbox::with_file_store();
        sandbox.config(text);
        let out = sandbox.run("get purewl").fails(3);
        assert!(out.stderr.contains("config.toml:1:") || out.stderr.contains("config.toml:2:"), "{text:?}: {out}");
    }
}

#[test]
fn wrong_values_are_refused_with_what_is_expected() {
    for (text, expected) in [
        ("store = \"drawer\"\n", "keyring"),
        ("store = 5\n", "config.toml:1:"),
        ("cache = \"tape\"\n", "disk"),
        ("min_ttl = \"soon\"\n", "config.toml:1:"),
        ("[profile.shop]\nclient_id = \"x\"\n", "provider"),
        ("[profile.shop]\nprovider = \"nonsense\"\n", "nonsense"),
        ("[profile.Shop]\nprovider = \"purewl\"\n", "Shop"),
        ("[profile.help]\nprovider = \"purewl\"\n", "help"),
        ("[profile.shop]\nprovider = \"purewl\"\ngrant = \"nonsense\"\n", "secret"),
        ("[profile.shop]\nprovider = \"purewl\"\nbase_url = 5\n", "config.toml:3:"),
        ("[profile.shop]\nprovider = \"elasticpath\"\nregion = \"mars\"\n", "euwest"),
        ("[profile.shop]\nprovider = \"purewl\"\nsecret_key = { nonsense = \"x\" }\n", "nonsense"),
    ] {
        let sandbox = Sandbox::with_file_store();
        sandbox.config(text);
        let name = if text.contains("shop") { "shop" } else { "purewl" };
        sandbox.run(&format!("get {name}")).fails(3).says(expected);
    }
}

#[test]
fn a_config_with_a_secret_in_it_that_is_broken_does_not_show_it() {
    // The harness looks for the canary.
    let sandbox = Sandbox::with_file_store();
    for text in [
        format!("[profile.shop]\nprovider = \"purewl\"\nsecret_key = \"sk-{CANARY}\nx = 1\n"),
        format!("[profile.shop]\nprovider = \"purewl\"\nsecret_key = sk-{CANARY}\n"),
        format!("[profile.shop]\nprovider = \"purewl\"\nsecret_kye = \"sk-{CANARY}\"\n"),
        format!("[profile.shop]\nprovider = \"purewl\"\nsecret_key = [\"sk-{CANARY}\"]\n"),
    ] {
        sandbox.config(&text);
        sandbox.run("get shop -vvv").fails(3);
    }
}

#[test]
fn a_folder_or_nothing_readable_in_the_config_s_place_is_3() {
    let sandbox = Sandbox::with_file_store();
    std::fs::create_dir_all(sandbox.config_file()).unwrap();
    sandbox.run("get purewl").fails(3).says("config.toml");
    std::fs::remove_dir(sandbox.config_file()).unwrap();
    put(&sandbox.config_file(), b"store = \"\xff\xfe\"\n");
    sandbox.run("get purewl").fails(3).says("config.toml");
    // Root may read everything.
    if is_root() {
        return skip_part!("root may read every file: the unreadable config");
    }
    sandbox.config("");
    chmod(&sandbox.config_file(), 0);
    sandbox.run("get purewl").fails(3);
}

#[test]
fn the_config_may_be_named_by_flag_or_environment() {
    let sandbox = Sandbox::with_file_store();
    let path = sandbox.file_arg("other.toml", "[profile.shop]\nprovider = \"purewl\"\n");
    sandbox.run("get shop").fails(3);
    sandbox.tok(["--config", &path, "get", "shop"]).run().fails(4);
    sandbox.tok(["get", "shop", "--config", &path]).run().fails(4);
    sandbox.tok(["get", "shop"]).env("TOK_CONFIG", &path).run().fails(4);
    // A relative one in the environment would mean another file in each folder.
    let out = sandbox.tok(["get", "shop"]).env("TOK_CONFIG", "other.toml").run();
    out.fails_with_one_of(&[2, 3]);
}

#[test]
fn a_config_that_is_named_and_is_not_there_is_3() {
    let sandbox = Sandbox::with_file_store();
    let missing = "/nonexistent/config.toml";
    sandbox.tok(["--config", missing, "get", "purewl"]).run().fails(3).says(missing);
    sandbox.tok(["get", "purewl"]).env("TOK_CONFIG", missing).run().fails(3).says(missing);
}

#[test]
fn a_config_that_somebody_else_can_write_is_3() {
    let sandbox = Sandbox::with_file_store();
    sandbox.config("");
    for bits in [0o602, 0o666, 0o622] {
        chmod(&sandbox.config_file(), bits);
        sandbox.run("get purewl").fails(3).says("config.toml").hints();
    }
    chmod(&sandbox.config_file(), 0o644);
    sandbox.run("get purewl").fails(4);
    if !is_root() {
        return skip_part!("only root can give a file away: the config of another user");
    }
    std::os::unix::fs::chown(sandbox.config_file(), Some(65_534), None).unwrap();
    sandbox.run("get purewl").fails(3);
}

#[test]
fn a_provider_file_that_somebody_else_can_write_is_3() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let path = sandbox.provider("plain", &plain_provider(&server.url(), ""));
    chmod(&path, 0o666);
    sandbox.run("get plain").fails(3).says("plain.toml");
    chmod(&path, 0o644);
    sandbox.run("get plain").line();
}

#[test]
fn a_config_behind_a_link_is_read_and_written_where_it_is() {
    // People keep such files in a repository of their own and link to them.
    let purewl = PureWl::start();
    let sandbox = Sandbox::with_file_store();
    let real = sandbox.file("dotfiles.toml", "# mine\n");
    std::fs::create_dir_all(sandbox.config_dir()).unwrap();
    symlink(&real, sandbox.config_file()).unwrap();
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--base-url", &purewl.server.url(), "--secret-key-file", &key]).run().prints("");
    assert!(std::fs::symlink_metadata(sandbox.config_file()).unwrap().is_symlink(), "still a link");
    let text = std::fs::read_to_string(&real).unwrap();
    assert!(text.starts_with("# mine\n") && text.contains("[profile.purewl]"), "{text}");
}

#[test]
fn login_keeps_comments_and_order() {
    let purewl = PureWl::start();
    let sandbox = Sandbox::with_file_store();
    let before = "# my accounts\nmin_ttl = \"2m\" # a bit more\n\n# the second\n[profile.zeta]\nprovider = 'xcover'   # odd spaces\nclient_id =   \"z\"\n\n[profile.alpha]\n# within\nprovider = \"apiax\"\nusername = \"jane\"\n";
    sandbox.config(before);
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox
        .tok(["login", "purewl", "secret", "--as", "shop", "--base-url", &purewl.server.url()])
        .args(["--secret-key-file", &key])
        .run()
        .prints("");
    let after = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(after.starts_with(before), "{after}");
    assert!(after[before.len()..].contains("[profile.shop]"), "{after}");
    // A second login changes what it must and nothing else.
    sandbox.tok(["login", "shop", "--secret-key-file", &key]).run().prints("");
    assert_eq!(std::fs::read_to_string(sandbox.config_file()).unwrap(), after);
}

#[test]
fn a_login_to_a_config_that_is_broken_is_3_before_anything_is_sent() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    sandbox.config("stroe = 1\n");
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run().fails(3);
    assert_eq!(purewl.server.connections(), 0);
    assert_eq!(std::fs::read_to_string(sandbox.config_file()).unwrap(), "stroe = 1\n");
}

#[test]
fn a_broken_provider_file_fails_only_what_uses_it() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    for broken in ["not [ TOML", "", "nonsense = 1\n"] {
        sandbox.provider("mine", broken);
        sandbox.run("get plain").silent().line();
        sandbox.run("get purewl").fails(4);
        sandbox.run("get mine").fails(3).says("mine.toml");
        sandbox.run("providers mine").fails(3);
        for line in ["list", "providers"] {
            let out = sandbox.run(line).ok();
            assert!(out.stderr.contains("mine"), "it warns: {out}");
            assert!(line == "list" || out.stdout.contains("purewl"), "{out}");
        }
        sandbox.run("login --help").ok();
        sandbox.run("login purewl --help").ok();
    }
}

#[test]
fn a_provider_file_is_refused_with_file_line_and_the_nearest_name() {
    let good = plain_provider("https://a.example", "");
    for (from, to, said) in [
        ("title =", "titel =", &["plain.toml:1", "title"][..]),
        ("[request]", "[reqeust]", &["request"]),
        ("url = \"{base_url}/token\"", "urll = \"{base_url}/token\"", &["url"]),
        ("secret = true", "secrets = true", &["secret"]),
        ("secret = true", "secret = \"yes\"", &["plain.toml:"]),
        ("{client_secret}", "{client_secrte}", &["client_secrte", "client_secret"]),
        ("{client_secret}", "{client_secret", &["plain.toml:"]),
        ("grant = \"refresh\"\n", "grant = \"refrehs\"\n", &["refrehs", "refresh"]),
        (
            "grant = \"refresh\"\n",
            "grant = \"refresh\"\n[response]\naccess_token = [\"access_token\"]\n",
            &["access_token", "plain.toml:"],
        ),
        ("grant = \"refresh\"\n", "grant = \"refresh\"\n[response]\naccess_token = [\"/a~2b\"]\n", &["plain.toml:"]),
        (
            "grant = \"refresh\"\n",
            "grant = \"refresh\"\n[response]\nexpires = [{ at = \"/x\", as = \"fortnights\" }]\n",
            &["fortnights", "seconds"],
        ),
        ("grant = \"refresh\"\n", "grant = \"refresh\"\n[response]\nformat = \"yaml\"\n", &["yaml", "json"]),
        ("grant = \"refresh\"\n", "grant = \"refresh\"\n[response]\nsuccess = [{ at = \"/x\" }]\n", &["plain.toml:"]),
        ("grant = \"refresh\"\n", "grant = \"refresh\"\n[use]\nheader = \"X Token\"\n", &["plain.toml:"]),
        ("url = \"{base_url}/token\"", "url = \"{base_url}/token\"\nmethod = \"PATCH\"", &["PATCH", "POST"]),
        ("url = \"{base_url}/token\"", "url = \"{base_url}/token\"\nencode = \"yaml\"", &["yaml", "form"]),
        ("[grants.refresh]", "[grants.Refresh]", &["Refresh"]),
        ("[params.scope]", "[params.provider]", &["provider"]),
        ("[params.scope]", "[params.x_file]", &["x_file"]),
    ] {
        assert!(good.contains(from), "{from}");
        let sandbox = plain("https://a.example");
        sandbox.provider("plain", &good.replacen(from, to, 1));
        let out = sandbox.run("get plain --timeout 2s");
        assert_eq!(out.code, 3, "{to}: {out}");
        for text in said {
            assert!(out.stderr.contains(text), "{to} lacks {text:?}: {out}");
        }
    }
}

#[test]
fn a_user_s_provider_stands_before_the_built_in_of_its_name() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.provider("purewl", &plain_provider(&server.url(), ""));
    sandbox.tok(["get", "purewl"]).env("TOK_PUREWL_CLIENT_SECRET", format!("s-{CANARY}")).run().line();
    assert_eq!(server.count(), 1);
}

#[test]
fn a_folder_or_odd_names_among_the_provider_files_hurt_nobody() {
    let sandbox = Sandbox::with_file_store();
    let folder = sandbox.config_dir().join("providers");
    std::fs::create_dir_all(folder.join("folder.toml")).unwrap();
    for name in ["README.md", "backup.toml~", ".hidden.toml", "Bad Name.toml", "help.toml"] {
        put(&folder.join(name), b"nonsense");
    }
    sandbox.run("providers").ok();
    sandbox.run("list").ok();
    sandbox.run("get purewl").fails(4);
    sandbox.run("get folder").fails(3);
}

#[test]
fn profiles_whose_variables_would_be_the_same_are_3() {
    let sandbox = Sandbox::with_file_store();
    sandbox.config("[profile.shop-eu]\nprovider = \"purewl\"\n[profile.shop-eu-base]\nprovider = \"purewl\"\n");
    sandbox.run("get shop-eu").fails(4);
    // shop + eu_x and shop-eu + x are both TOK_SHOP_EU_X.
    let text =
        plain_provider("https://a.example", "").replace("[params.scope]", "[params.eu_client_id]\n[params.scope]");
    sandbox.provider("plain", &text);
    sandbox.config("[profile.shop]\nprovider = \"plain\"\n[profile.shop-eu]\nprovider = \"plain\"\n");
    sandbox.run("get shop").fails(3).says("shop-eu").says("TOK_SHOP_EU_CLIENT_ID");
}

#[test]
fn min_ttl_is_taken_from_profile_and_config() {
    let server = Server::issuing(600);
    for config in
        ["min_ttl = \"15m\"\n", "min_ttl = \"1s\"\n[profile.plain]\nprovider = \"plain\"\nmin_ttl = \"15m\"\n"]
    {
        let sandbox = plain(&server.url());
        sandbox.config(config);
        let first = sandbox.run("get plain").line();
        assert_ne!(sandbox.run("get plain").line(), first, "{config}");
        sandbox.config("");
    }
}

#[test]
fn a_path_is_no_provider() {
    let sandbox = Sandbox::with_file_store();
    let text = plain_provider("https://a.example", "");
    put(&sandbox.config_dir().join("stray.toml"), text.as_bytes());
    sandbox.provider("plain", &text);
    for name in ["../stray", "./plain", "../providers/plain"] {
        sandbox.tok(["get", name]).run().fails(3).says("no profile or provider");
    }
    sandbox.config("[profile.shop]\nprovider = \"../stray\"\n");
    sandbox.run("get shop").fails(3).says("unknown provider `../stray`");
}

/// A config of two hundred profiles, with `wanted` in its midst.
fn long_config(wanted: &str) -> String {
    let profile =
        |n: u32| format!("\n# number {n}\n[profile.p{n}]\nprovider = \"plain\"\nclient_id = \"client-{n}\"\n");
    let many = |numbers: std::ops::Range<u32>| numbers.map(profile).collect::<String>();
    format!("store = \"file\"\n{}{wanted}{}", many(0..100), many(100..200))
}

/// A sandbox with that config.
fn with_long_config(wanted: &str) -> (Server, Sandbox) {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.config(&long_config(wanted));
    (server, sandbox)
}

#[test]
fn a_mistake_in_another_profile_is_told() {
    let (_server, sandbox) = with_long_config("");
    sandbox.run("get plain --fresh").ok();
    sandbox.config(&long_config("").replace("client_id = \"client-150\"", "clientid\n"));
    sandbox.run("get plain --fresh").fails(3).says("config.toml:756:");
    // Nobody who asks makes it right.
    sandbox.run("-q get plain").fails(3).says("config.toml:756:");
}

#[test]
fn a_profile_of_a_long_config_is_found() {
    let (server, sandbox) =
        with_long_config("[profile.shop]\nprovider = \"plain\"\nclient_id = \"shop-client\"\nscope = [\n\"a\",\n]\n");
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.run(&format!("get shop --client-secret-file {secret}")).ok();
    let sent = server.last().form();
    for (name, value) in [("client_id", "shop-client"), ("scope", "a")] {
        assert!(sent.contains(&(name.into(), value.into())), "{sent:?}");
    }
    sandbox.run("get p199 --offline").fails(4);
    sandbox.run("get p1999").fails(3).hints_at("did you mean p199?");
    sandbox.run("get shop --client-sercet-file x").fails(2).hints_at("--client-secret-file");
    let listed = sandbox.run("list").ok();
    assert!(listed.stdout.lines().count() > 200, "{listed}");
}

#[test]
fn a_mistake_beside_a_secret_from_stdin_does_not_take_stdin_twice() {
    let (_server, sandbox) = with_long_config("");
    let line = ["get", "p7", "--client-secret-file", "-"];
    let both = sandbox.tok(line).env("TOK_P7_SCOPE", "a").env("TOK_P7_SCOPE_FILE", "/none");
    both.stdin(format!("secret-{CANARY}")).run().fails(2).says("TOK_P7_SCOPE_FILE").never_says("--client-secret-file");
}

#[test]
fn a_mistake_deep_in_a_config_has_its_line() {
    let (_server, sandbox) = with_long_config("[profile.shop]\nprovider = \"plain\"\nnosuch = \"1\"\n");
    sandbox.run("get shop").fails(3).says("config.toml:504:1").says("nosuch");
    sandbox.run("get plain --fresh").ok();
}

#[test]
fn variables_that_would_be_the_same_are_told_of_profiles_too() {
    let (server, sandbox) =
        with_long_config("[profile.shop]\nprovider = \"plain\"\n[profile.shop-eu]\nprovider = \"odd\"\n");
    sandbox.provider("odd", &plain_provider(&server.url(), ""));
    let text = plain_provider(&server.url(), "").replace("[params.scope]", "[params.eu_client_id]\n[params.scope]");
    sandbox.provider("plain", &text);
    for profile in ["shop", "shop-eu"] {
        sandbox.run(&format!("get {profile}")).fails(3).says("TOK_SHOP_EU_CLIENT_ID");
    }
}
