//! The keyring as a person may find it: two entries for one profile, a bus of a session that has ended or of another
//! kind than a socket, closed without a screen to open it on.

use crate::support::keyring::Keyring;
use crate::support::purewl::{self, PureWl};
use crate::support::{Output, Sandbox, figures};
use std::path::Path;
use std::process::Command;

/// A sandbox of purewl whose store is the keyring, by default.
fn with_bus(purewl: &PureWl, address: &str) -> Sandbox {
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", address);
    sandbox
}

/// Nothing in it is the text of a library or the name of a thing on the bus.
fn in_plain_words(out: Output) -> Output {
    let mut out = out;
    for words in ["dismissed", "org.freedesktop", "DBus error", "D-Bus", "Secret Service:", "/org/", "Failed to"] {
        out = out.never_says(words);
    }
    out
}

/// The folder of the keyring's socket, which has the usual name `bus`.
fn runtime_folder(keyring: &Keyring) -> String {
    let path = keyring.address().trim_start_matches("unix:path=").split(',').next().unwrap();
    path.strip_suffix("/bus").expect("the socket's usual name").to_owned()
}

#[test]
fn of_two_entries_for_one_profile_a_login_leaves_one_and_a_logout_none() {
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_bus(&purewl, keyring.address());
    keyring.store("tok", "somebody", "else");
    keyring.store("another-program", "purewl", "its own");
    // With an attribute of its own each: which of two is left by a login is not promised.
    let add_second = |made: &str| keyring.store_with(&["service", "tok", "username", "purewl", "made", made], "{}");
    purewl::login(&sandbox);
    add_second("once");
    assert_eq!(keyring.count(), 3);

    let out = in_plain_words(sandbox.run("get purewl --fresh")).fails(7).says("2 entries");
    out.hints_at("tok login purewl").hints_at("tok logout purewl");
    assert_eq!(
        (keyring.count(), purewl.grants()),
        (3, vec!["secret".to_owned()]),
        "nothing is guessed, nothing is sent"
    );
    purewl::login(&sandbox);
    assert_eq!(keyring.count(), 2);
    sandbox.run("get purewl --fresh").silent().line();

    add_second("twice");
    assert_eq!(keyring.count(), 3);
    sandbox.run("logout purewl").prints("");
    assert_eq!(keyring.count(), 1);
    sandbox.run("get purewl").fails(4);
    assert_eq!(keyring.lookup("another-program", "purewl").as_deref(), Some("its own"));
    assert_eq!(keyring.lookup("tok", "somebody").as_deref(), Some("else"));
}

#[test]
fn a_bus_that_is_not_a_local_socket_is_not_used() {
    let purewl = PureWl::start();
    let mark = Sandbox::new();
    let mark = mark.work().join("was-run");
    let program = format!("unixexec:path=/bin/sh,argv0=sh,argv1=-c,argv2=%3a%3e{}", mark.display());
    let beside = format!("unix:path=/nonexistent/bus;{program}");
    for address in
        [program.as_str(), &beside, "unix:path=/nonexistent/bus;tcp:host=127.0.0.1,port=1", "nonce-tcp:host=x"]
    {
        let sandbox = with_bus(&purewl, address);
        let key = sandbox.file_arg("key", purewl::secret_key());
        let out = sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run();
        assert!(!mark.exists(), "{address} was run: {out}");
        in_plain_words(out).fails(7).says("DBUS_SESSION_BUS_ADDRESS").says("local socket").hints_at("--store");
        sandbox.run("get purewl").fails(7);
        assert!(!mark.exists(), "{address} was run");
    }
    assert_eq!(purewl.server.count(), 0);
}

#[test]
fn where_the_address_of_the_bus_is_stale_that_of_the_runtime_folder_is_tried() {
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let mut sandbox = with_bus(&purewl, "unix:path=/nonexistent/bus");
    sandbox.set("XDG_RUNTIME_DIR", runtime_folder(&keyring));
    purewl::login(&sandbox);
    assert!(keyring.lookup("tok", "purewl").is_some());
    sandbox.set("DBUS_SESSION_BUS_ADDRESS", "unix:abstract=/tmp/dbus-ended,guid=00112233445566778899aabbccddeeff");
    sandbox.run("get purewl --fresh").silent().line();
    // The one that is named comes first.
    let other = Keyring::unlocked();
    sandbox.set("DBUS_SESSION_BUS_ADDRESS", other.address());
    sandbox.run("get purewl --fresh").fails(4);
}

#[test]
fn where_the_address_of_the_bus_is_stale_the_usual_place_is_tried() {
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_bus(&purewl, "unix:path=/nonexistent/bus");
    let key = sandbox.file_arg("key", purewl::secret_key());
    let usual = format!("/run/user/{}", rustix::process::geteuid().as_raw());
    // A namespace of its own: nothing of this machine's /run is touched.
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p {usual} && mount --bind {} {usual} && exec \"$@\"",
        runtime_folder(&keyring)
    );
    let unshare = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).args(words);
        command
    };
    if !unshare(&["true"]).output().is_ok_and(|out| out.status.success()) {
        figures("no file system can be mounted here: the usual place of the bus is not tested in this run");
        return;
    }
    let tok = sandbox.tok(["login", "purewl", "--secret-key-file", &key]).command();
    let run = |variable: Option<&str>, args: &[&str]| {
        let mut command = unshare(&[tok.get_program().to_str().unwrap()]);
        command.args(args).env_clear();
        command.envs(tok.get_envs().filter_map(|(name, value)| Some((name, value?))));
        match variable {
            Some(value) => command.env("DBUS_SESSION_BUS_ADDRESS", value),
            None => command.env_remove("DBUS_SESSION_BUS_ADDRESS"),
        };
        command.output().unwrap()
    };
    let stale = Some("unix:path=/nonexistent/bus");
    let out = run(stale, &["login", "purewl", "--secret-key-file", &key]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(keyring.lookup("tok", "purewl").is_some());
    for variable in [stale, None] {
        let out = run(variable, &["get", "purewl", "--fresh"]);
        assert!(out.status.success(), "{variable:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn where_no_bus_answers_the_variable_is_named() {
    let purewl = PureWl::start();
    let sandbox = with_bus(&purewl, "unix:path=/nonexistent/bus");
    let out = in_plain_words(sandbox.run("get purewl -v")).fails(7);
    out.says("DBUS_SESSION_BUS_ADDRESS").never_says("/nonexistent").hints();
    let keyring = Keyring::absent();
    let sandbox = with_bus(&purewl, keyring.address());
    in_plain_words(sandbox.run("get purewl -v")).fails(7).says("gnome-keyring").never_says("DBUS_SESSION").hints();
}

#[test]
fn a_locked_keyring_without_a_screen_says_how_to_unlock_it() {
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let sandbox = with_bus(&purewl, keyring.address());
    purewl::login(&sandbox);
    keyring.lock();
    let out = in_plain_words(sandbox.run("get purewl --fresh")).fails(7).says("the keyring is locked");
    let hint = out.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).expect("a hint").to_owned();
    // As it stands, in a shell where the keyring is.
    let unlock = hint.split("run: ").nth(1).and_then(|rest| rest.split("; ").next()).expect("a command");
    keyring.types(unlock, &format!("{}\n", Keyring::PASSWORD));
    sandbox.run("get purewl --fresh").silent().line();
    // The other way on.
    let file = hint.split("tok ").nth(1).and_then(|rest| rest.split(';').next()).expect("a command of ours");
    let key = sandbox.file_arg("key", purewl::secret_key());
    keyring.lock();
    let words = file.split_whitespace().chain(["--secret-key-file", &key]);
    sandbox.tok(words).run().prints("");
    sandbox.run("get purewl --fresh").silent().line();
    assert!(Path::new(&sandbox.secrets_file()).exists());
}
