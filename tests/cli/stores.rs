//! Where secrets are kept: a real Secret Service that is open, locked, stuck or absent, a file, nowhere, a helper.

use crate::child::SOON;
use crate::skip::{is_root, needs, skip_part};
use crate::support::apiax::{self, Apiax};
use crate::support::keyring::Keyring;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::xcover::{self, XCover};
use crate::support::{CANARY, Sandbox, chmod, mode, plain_provider, put};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

/// A sandbox of purewl whose store is the keyring, by default.
fn with_keyring(purewl: &PureWl, keyring: &Keyring) -> Sandbox {
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    sandbox
}

/// The files below the home that hold anything secret of the store's: not the access tokens, which are the cache's.
fn spilled(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let state = sandbox.state_dir().strip_prefix(sandbox.home()).unwrap().to_path_buf();
    sandbox.files_with(CANARY).into_iter().filter(|path| !path.starts_with(&state)).collect()
}

#[test]
fn the_keyring_is_the_default_and_holds_one_entry_a_profile() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    purewl::login(&sandbox);
    let entry = keyring.lookup("tok", "purewl").expect("an entry under service and username");
    let entry: Value = serde_json::from_str(&entry).expect("JSON");
    assert_eq!(entry["refresh_token"], json!(format!("{CANARY}b{:055x}", 1)), "its refresh token");
    assert_eq!(entry["secrets"]["secret_key"], json!(purewl::secret_key()), "its kept secret");
    assert_eq!(keyring.count(), 1);
    assert_eq!(spilled(&sandbox), Vec::<std::path::PathBuf>::new());
    assert!(!sandbox.secrets_file().exists());
}

#[test]
fn a_session_in_the_keyring_is_refreshed_with_rotation() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    purewl::login(&sandbox);
    for _ in 0..3 {
        sandbox.run("get purewl --fresh").silent().line();
    }
    assert_eq!(purewl.grants(), ["secret", "refresh", "refresh", "refresh"]);
    let entry: Value = serde_json::from_str(&keyring.lookup("tok", "purewl").unwrap()).unwrap();
    assert_eq!(entry["refresh_token"], json!(format!("{CANARY}b{:055x}", 4)));
    assert_eq!(keyring.count(), 1);
    sandbox.run("logout purewl").prints("");
    assert_eq!(keyring.count(), 0);
    sandbox.run("get purewl").fails(4);
}

#[test]
fn a_refresh_is_one_connection_to_the_bus_and_no_call_twice() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    let login = keyring.monitored(|| purewl::login(&sandbox));
    assert_eq!(login.by_connection().len(), 1, "{:?}", login.by_connection());
    let refresh = keyring.monitored(|| {
        sandbox.run("get purewl --fresh").silent().line();
    });
    assert_eq!(refresh.by_connection(), [["Hello", "OpenSession", "SearchItems", "GetSecret", "SetSecret"]]);
    assert_eq!(refresh.sessions(), ["plain"]);
    let cached = keyring.monitored(|| {
        sandbox.run("get purewl").silent().line();
    });
    assert_eq!(cached.by_connection(), Vec::<Vec<String>>::new(), "a cached token needs no bus");
}

#[test]
fn a_session_that_another_program_put_there_encrypted_is_read_and_what_is_written_is_read_by_it() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    purewl::login(&sandbox);
    let entry = keyring.lookup("tok", "purewl").unwrap();
    keyring.clear("tok", "purewl");
    let put = keyring.monitored(|| keyring.store("tok", "purewl", &entry));
    assert!(put.sessions()[0].starts_with("dh-"), "{:?}", put.sessions());
    sandbox.run("get purewl --fresh").silent().line();
    let entry: Value = serde_json::from_str(&keyring.lookup("tok", "purewl").unwrap()).unwrap();
    assert_eq!(entry["refresh_token"], json!(format!("{CANARY}b{:055x}", 2)));
    assert_eq!(keyring.count(), 1, "it is written in place");
}

#[test]
fn logout_leaves_other_entries_alone() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    keyring.store("tok", "somebody", "else");
    keyring.store("another-program", "purewl", "its own");
    purewl::login(&sandbox);
    sandbox.run("logout purewl").prints("");
    sandbox.run("logout --all").prints("");
    assert_eq!(keyring.lookup("another-program", "purewl").as_deref(), Some("its own"));
    assert_eq!(keyring.lookup("tok", "somebody").as_deref(), Some("else"));
}

#[test]
fn a_long_refresh_token_is_kept_whole_in_the_keyring() {
    needs!(keyring);
    let keyring = Keyring::unlocked();
    let long = format!("rt-{CANARY}-{}", "x".repeat(30_000));
    let reply = json!({"access_token": format!("at-{CANARY}"), "expires_in": 600, "refresh_token": long});
    let server = Server::always(Reply::json(200, reply));
    let mut sandbox = Sandbox::new();
    sandbox.set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    sandbox.run("get plain --fresh").silent().line();
    assert_eq!(server.last().field("refresh_token"), long);
}

#[test]
fn a_locked_keyring_is_told_from_an_absent_entry() {
    needs!(keyring);
    let (mut keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    sandbox.run("get purewl").fails(4);
    purewl::login(&sandbox);
    keyring.lock();
    // A cached token needs no keyring.
    let token = sandbox.run("get purewl").silent().line();
    sandbox.run("get purewl --fresh").fails(7).says("lock").hints();
    assert_eq!(purewl.grants(), ["secret"], "nothing was sent");
    sandbox.run("list").ok();
    keyring.unlock();
    assert_ne!(sandbox.run("get purewl --fresh").silent().line(), token);
    assert_eq!(purewl.grants(), ["secret", "refresh"]);
}

#[test]
fn a_login_into_a_locked_keyring_is_7_and_says_what_to_choose() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::locked(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run().fails(7).hints_at("file");
    assert_eq!(spilled(&sandbox), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_refresh_token_given_to_a_login_is_not_spent_where_its_successor_cannot_be_kept() {
    needs!(keyring);
    let (keyring, apiax) = (Keyring::locked(), Apiax::start());
    apiax.state(|s| s.alive.insert(format!("rt-{CANARY}-given"), None));
    let mut sandbox = apiax.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    let file = sandbox.file_arg("rt", format!("rt-{CANARY}-given"));
    sandbox.tok(["login", "apiax", "refresh", "--refresh-token-file", &file]).run().fails(7);
    assert!(apiax.state(|s| s.alive.contains_key(&format!("rt-{CANARY}-given"))), "it is still good");
}

#[test]
fn without_a_bus_a_login_is_7_and_no_file_takes_the_keyring_s_place() {
    let purewl = PureWl::start();
    let nowhere = Sandbox::new();
    let dead = format!("unix:path={}", nowhere.home().join("no-socket").display());
    for address in [None, Some(dead.as_str()), Some(""), Some("nonsense"), Some("tcp:host=127.0.0.1,port=1")] {
        let mut sandbox = purewl.sandbox();
        sandbox.unset("TOK_STORE");
        if let Some(address) = address {
            sandbox.set("DBUS_SESSION_BUS_ADDRESS", address);
        }
        let key = sandbox.file_arg("key", purewl::secret_key());
        let out = sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run();
        let out = out.fails(7).hints_at("--store");
        assert!(out.took < SOON, "{address:?}: {out}");
        sandbox.run("get purewl").fails(7);
        assert_eq!(spilled(&sandbox), Vec::<std::path::PathBuf>::new());
    }
    assert_eq!(purewl.server.count(), 0);
}

#[test]
fn a_bus_without_a_secret_service_is_7() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::absent(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    sandbox.run("get purewl").fails(7).hints();
}

/// Gets by a secret of the environment where nothing can be kept: nothing is said of it without `-v`.
fn goes_on_without_storing(address: Option<&str>) {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE").set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    if let Some(address) = address {
        sandbox.set("DBUS_SESSION_BUS_ADDRESS", address);
    }
    let token = sandbox.run("get purewl").silent().line();
    assert_eq!(sandbox.run("get purewl").silent().line(), token, "cached all the same");
    assert_eq!(purewl.server.count(), 1);
    let out = sandbox.run("get purewl --fresh -v").ok();
    assert!(!out.stderr.is_empty(), "-v says that nothing is kept: {out}");
    assert_eq!(spilled(&sandbox), Vec::<std::path::PathBuf>::new());
}

#[test]
fn without_a_keyring_a_grant_that_can_be_repeated_goes_on_without_storing() {
    goes_on_without_storing(None);
}

#[test]
fn that_nothing_is_kept_is_said_where_the_secret_stands_in_the_config() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE");
    sandbox.config(&format!("[profile.purewl]\nprovider = \"purewl\"\nsecret_key = \"{}\"\n", purewl::secret_key()));
    let out = sandbox.run("get purewl").ok();
    assert!(!out.stderr.is_empty(), "{out}");
    sandbox.run("get purewl").silent().line();
}

#[test]
fn with_a_locked_keyring_a_grant_that_can_be_repeated_goes_on_without_storing() {
    needs!(keyring);
    goes_on_without_storing(Some(Keyring::locked().address()));
}

#[test]
fn with_a_bus_that_serves_no_secrets_a_grant_that_can_be_repeated_goes_on_without_storing() {
    needs!(keyring);
    goes_on_without_storing(Some(Keyring::absent().address()));
}

#[test]
fn a_bus_is_never_started() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE");
    let tools = sandbox.work().join("bin");
    let mark = sandbox.work().join("started");
    for name in ["dbus-launch", "dbus-daemon", "dbus-run-session", "gnome-keyring-daemon", "gdbus", "systemctl"] {
        put(&tools.join(name), format!("#!/bin/sh\n: > {}\n", mark.display()).as_bytes());
        chmod(&tools.join(name), 0o755);
    }
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    sandbox.set("PATH", path).set("DISPLAY", ":99");
    sandbox.run("get purewl").fails(7);
    sandbox.tok(["get", "purewl"]).env("DBUS_SESSION_BUS_ADDRESS", "autolaunch:").run().fails(7);
    assert!(!mark.exists());
}

#[test]
fn a_stuck_keyring_costs_three_seconds_at_most() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    purewl::login(&sandbox);
    keyring.freeze();
    sandbox.run("get purewl").silent().line();
    let out = sandbox.run("get purewl --fresh");
    keyring.thaw();
    let out = out.fails(7);
    assert!(out.took < SOON, "{out}");
    assert_eq!(purewl.grants(), ["secret"]);
    sandbox.run("get purewl --fresh").silent().line();
}

#[test]
fn a_keyring_that_closes_after_the_reply_loses_no_access_token() {
    needs!(keyring);
    let (keyring, apiax) = (Keyring::unlocked(), Apiax::start());
    let mut sandbox = apiax.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    apiax::login(&sandbox);
    let gate = apiax.server.hold();
    let run = sandbox.tok(["-q", "get", "apiax", "--fresh"]).spawn();
    apiax.server.until(2);
    keyring.lock();
    gate.open();
    let out = run.wait();
    let out = out.says("tok login apiax");
    assert_eq!((out.code, out.stdout.as_str()), (0, format!("at-{CANARY}-2\n").as_str()), "{out}");
}

#[test]
fn a_broken_entry_in_the_keyring_is_7_and_is_left_as_it_is() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_keyring(&purewl, &keyring);
    for broken in ["{ no JSON", "[]", "\"text\""] {
        keyring.store("tok", "purewl", broken);
        sandbox.run("get purewl").fails(7);
        assert_eq!(keyring.lookup("tok", "purewl").as_deref(), Some(broken));
    }
    // A new login mends it: what stands there is of no use to anybody.
    purewl::login(&sandbox);
    sandbox.run("get purewl --fresh").silent().line();
}

#[test]
fn the_user_s_bus_is_looked_for_in_xdg_runtime_dir() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let mut sandbox = with_keyring(&purewl, &keyring);
    purewl::login(&sandbox);
    // The harness has its socket under that very name; a link to it would not be taken for a bus.
    let path = keyring.address().trim_start_matches("unix:path=").split(',').next().unwrap().to_string();
    let run = path.strip_suffix("/bus").expect("the socket's usual name");
    sandbox.unset("DBUS_SESSION_BUS_ADDRESS").set("XDG_RUNTIME_DIR", run);
    sandbox.run("get purewl --fresh").silent().line();
}

#[test]
fn the_file_store_holds_every_profile_and_is_private() {
    let (purewl, xcover) = (PureWl::start(), XCover::start());
    let mut sandbox = purewl.logged_in();
    sandbox.set("TOK_XCOVER_BASE_URL", xcover.server.url());
    let secret = sandbox.file_arg("secret", xcover::client_secret());
    sandbox
        .tok(["login", "xcover", "--client-id", xcover::CLIENT_ID, "--client-secret-file", &secret])
        .run()
        .prints("");
    assert_eq!(mode(&sandbox.secrets_file()), 0o600);
    assert_eq!(mode(sandbox.secrets_file().parent().unwrap()), 0o700);
    let secrets = sandbox.secrets();
    assert!(secrets.to_string().contains(CANARY));
    sandbox.run("logout purewl").prints("");
    sandbox.run("get purewl").fails(4);
    sandbox.run("get xcover --fresh").silent().line();
}

#[test]
fn a_file_store_that_others_may_read_is_refused() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    for bits in [0o644, 0o640, 0o604, 0o666, 0o620] {
        chmod(&sandbox.secrets_file(), bits);
        sandbox.run("get purewl --fresh").fails(7).says("secrets.json");
        assert_eq!(mode(&sandbox.secrets_file()), bits, "not mended silently");
    }
    chmod(&sandbox.secrets_file(), 0o600);
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(purewl.grants(), ["secret", "refresh"]);
}

#[test]
fn a_file_store_that_is_a_link_or_of_another_owner_is_refused() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let file = sandbox.secrets_file();
    let elsewhere = sandbox.work().join("real.json");
    std::fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    sandbox.run("get purewl --fresh").fails(7);
    let key = sandbox.file_arg("key", purewl::secret_key());
    let before = std::fs::read(&elsewhere).unwrap();
    sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run().fails(7);
    assert_eq!(std::fs::read(&elsewhere).unwrap(), before, "nothing is written through the link");
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&elsewhere, &file).unwrap();
    // Only root can make a file somebody else's.
    if !is_root() {
        skip_part!("only root can give a file away: the store of another user");
    } else {
        std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
        sandbox.run("get purewl --fresh").fails(7);
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    }
    sandbox.run("get purewl --fresh").silent().line();
}

#[test]
fn a_broken_file_store_is_7_and_is_never_overwritten() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let whole = std::fs::read(sandbox.secrets_file()).unwrap();
    let key = sandbox.file_arg("key", purewl::secret_key());
    for broken in [&b"{ no JSON"[..], b"[]", b"null", &whole[..whole.len() / 2], b"\xff\xfe", b"{\"purewl\":5}"] {
        std::fs::write(sandbox.secrets_file(), broken).unwrap();
        sandbox.run("get purewl --fresh").fails(7);
        if broken != b"{\"purewl\":5}" {
            sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run().fails(7);
            assert_eq!(std::fs::read(sandbox.secrets_file()).unwrap(), broken);
        }
    }
    std::fs::remove_file(sandbox.secrets_file()).unwrap();
    std::fs::create_dir(sandbox.secrets_file()).unwrap();
    sandbox.run("get purewl --fresh").fails(7);
}

#[test]
fn store_none_keeps_only_the_cached_access_token_and_says_so() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_STORE", "none");
    let key = sandbox.file_arg("key", purewl::secret_key());
    let out = sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run().prints("");
    assert!(!out.stderr.is_empty(), "it says so: {out}");
    sandbox.run("get purewl").silent().line();
    assert_eq!(spilled(&sandbox), Vec::<std::path::PathBuf>::new());
    assert!(sandbox.files_with(&format!("{CANARY}b")).is_empty(), "no refresh token anywhere");
    sandbox.run("get purewl --fresh").fails(4);
    assert_eq!(purewl.server.count(), 1);
}

#[test]
fn the_store_is_chosen_by_flag_environment_profile_or_config() {
    let purewl = PureWl::start();
    let login = |sandbox: &Sandbox| {
        let key = sandbox.file_arg("key", purewl::secret_key());
        sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run()
    };
    for config in
        ["store = \"file\"\n", "store = \"none\"\n[profile.purewl]\nprovider = \"purewl\"\nstore = \"file\"\n"]
    {
        let mut sandbox = purewl.sandbox();
        sandbox.unset("TOK_STORE");
        sandbox.config(config);
        login(&sandbox).prints("");
        assert!(sandbox.secrets_file().exists(), "{config}");
    }
    for bad in ["nonsense", "helper:", "helper:../x", "FILE"] {
        let mut sandbox = purewl.sandbox();
        sandbox.set("TOK_STORE", bad);
        login(&sandbox).fails_with_one_of(&[2, 3]);
        sandbox.unset("TOK_STORE");
        sandbox.config(&format!("store = \"{bad}\"\n"));
        login(&sandbox).fails(3);
    }
}

/// A credential helper in shell: it keeps what it is given as files of a folder.
fn helper(sandbox: &mut Sandbox) -> std::path::PathBuf {
    let tools = sandbox.work().join("bin");
    let kept = sandbox.work().join("kept");
    std::fs::create_dir_all(&kept).unwrap();
    let script = format!(
        r#"#!/bin/sh
dir='{}'
printf '%s\n' "$1" >> "$dir/../verbs"
name() {{ printf '%s' "$1" | tr -c 'a-zA-Z0-9' _; }}
case "$1" in
store)
  all=$(cat)
  url=$(printf '%s' "$all" | sed 's/.*"ServerURL" *: *"\([^"]*\)".*/\1/')
  printf '%s' "$all" > "$dir/$(name "$url")" ;;
get)
  url=$(cat); file="$dir/$(name "$url")"
  if [ -e "$file" ]; then cat "$file"; else printf 'credentials not found in native keychain\n'; exit 1; fi ;;
erase)
  url=$(cat); rm -f "$dir/$(name "$url")" ;;
list) printf '{{}}' ;;
*) exit 1 ;;
esac
"#,
        kept.display()
    );
    put(&tools.join("docker-credential-mine"), script.as_bytes());
    chmod(&tools.join("docker-credential-mine"), 0o755);
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    sandbox.set("PATH", path).set("TOK_STORE", "helper:mine");
    kept
}

#[test]
fn a_docker_credential_helper_is_a_store() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    let kept = helper(&mut sandbox);
    purewl::login(&sandbox);
    sandbox.run("get purewl --fresh").silent().line();
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(purewl.grants(), ["secret", "refresh", "refresh"]);
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
    assert!(!sandbox.secrets_file().exists());
    sandbox.run("logout purewl").prints("");
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0);
    sandbox.run("get purewl").fails(4);
}

#[test]
fn a_helper_that_is_missing_or_fails_is_7() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_STORE", "helper:not-there");
    sandbox.run("get purewl").fails(7).says("docker-credential-not-there");
    helper(&mut sandbox);
    put(&sandbox.work().join("bin/docker-credential-mine"), b"#!/bin/sh\necho 'not today'; exit 1\n");
    sandbox.run("get purewl -vvv").fails(7).says("it failed").never_says("not today");
    put(&sandbox.work().join("bin/docker-credential-mine"), b"#!/bin/sh\necho '{ no JSON'\n");
    sandbox.run("get purewl").fails(7);
}

#[test]
fn moving_to_another_store_by_a_new_login_leaves_no_old_copy_in_use() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE");
    let key = sandbox.file_arg("key", purewl::secret_key());
    let login =
        |store: &str| sandbox.tok(["login", "purewl", "--store", store, "--secret-key-file", &key]).run().prints("");
    login("file");
    sandbox.run("get purewl --fresh").silent().line();
    login("none");
    sandbox.run("get purewl --fresh").fails(4);
}
