//! `tok doctor`: one thing is broken at a time, and it is found, with what mends it.

use crate::child::Start;
use crate::files_of_others::NOBODY;
use crate::refusing::Refusing;
use crate::skip::{is_root, needs, skip, skip_part};
use crate::store_faults::{SmallDisk, can_mount, in_mounts};
use crate::support::keyring::Keyring;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, Tok, chmod, plain_provider, put};
use serde_json::{Value, json};
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

/// What a run found.
struct Found {
    code: i32,
    list: Vec<Value>,
    said: String,
}

impl Found {
    #[track_caller]
    fn by(tok: Tok) -> Found {
        let out = tok.run();
        let list = serde_json::from_str::<Vec<Value>>(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out}"));
        for one in &list {
            let names: Vec<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["level", "what", "why", "hint"], "{one}");
            assert!(!one["hint"].as_str().unwrap().is_empty(), "nothing to do is said: {one}");
            assert!(!one.to_string().contains("os error") && !one.to_string().contains(CANARY), "{one}");
        }
        let errors = list.iter().filter(|one| one["level"] == "error").count();
        assert_eq!(out.code, i32::from(errors > 0), "{out}");
        Found { code: out.code, said: format!("{list:#?}"), list }
    }

    /// There is a finding of this level that says this, and its hint that.
    #[track_caller]
    fn has(&self, level: &str, says: &str, hint: &str) -> &Found {
        let is = |one: &&Value| {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_string();
            one["level"] == level
                && format!("{}: {}", text("what"), text("why")).contains(says)
                && text("hint").contains(hint)
        };
        assert!(self.list.iter().any(|one| is(&one)), "no {level} with {says:?} and {hint:?}: {}", self.said);
        self
    }

    #[track_caller]
    fn error(&self, says: &str, hint: &str) -> &Found {
        self.has("error", says, hint)
    }

    /// A warning, and nothing that will not work.
    #[track_caller]
    fn warning(&self, says: &str, hint: &str) -> &Found {
        assert_eq!(self.code, 0, "{}", self.said);
        self.has("warning", says, hint)
    }

    #[track_caller]
    fn never(&self, says: &str) -> &Found {
        assert!(!self.said.contains(says), "{says}: {}", self.said);
        self
    }
}

fn doctor(sandbox: &Sandbox) -> Found {
    Found::by(sandbox.tok(["doctor", "--json"]))
}

fn online(sandbox: &Sandbox) -> Found {
    Found::by(sandbox.tok(["doctor", "--json", "--online"]))
}

/// A sandbox with a session in the file store, in which nothing is wrong.
#[track_caller]
fn sound(purewl: &PureWl) -> Sandbox {
    let sandbox = purewl.logged_in();
    assert_eq!(doctor(&sandbox).code, 0);
    sandbox
}

/// Changes the index of `purewl`.
fn note(sandbox: &Sandbox, change: impl FnOnce(&mut Value)) {
    let path = sandbox.state_dir().join("kept/purewl.json");
    let mut noted: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut noted);
    put(&path, noted.to_string().as_bytes());
}

#[test]
fn where_nothing_is_wrong_it_says_so() {
    let purewl = PureWl::start();
    let mut sandbox = sound(&purewl);
    let folder = Path::new(env!("CARGO_BIN_EXE_tok")).parent().unwrap();
    sandbox.set("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()));
    let out = sandbox.run("doctor").silent().ok();
    assert!(out.stdout.contains("ok       the file store: answers in "), "{out}");
    assert!(!out.stdout.lines().any(|line| line.starts_with("error")), "{out}");
    assert!(out.stdout.contains("no errors, ") || out.stdout.contains("no problems found"), "{out}");
    assert!(out.stdout.lines().filter(|line| line.starts_with("warning")).all(|line| line.contains("cron")), "{out}");
    assert_eq!(purewl.grants(), ["secret"], "nothing is sent");
    // And where something is, people see it with its mend.
    sandbox.config("stor = \"file\"\n");
    let out = sandbox.run("doctor").says("1 error found");
    assert_eq!(out.code, 1);
    assert!(out.stdout.contains("error    ") && out.stdout.contains("\n         hint: "), "{out}");
    assert!(out.stdout.contains("unknown key `stor`; did you mean `store`?"), "{out}");
}

#[test]
fn it_changes_nothing_and_works_without_a_home() {
    let sandbox = Sandbox::new();
    doctor(&sandbox);
    assert!(sandbox.files().is_empty(), "{:?}", sandbox.files().keys());
    let found = Found::by(sandbox.tok(["doctor", "--json"]).env("HOME", "relative"));
    found.error("no home folder", "set HOME to an absolute path");
}

#[test]
fn config_and_provider_files() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    let config = sandbox.config_file();
    // A mistyped key; a profile of a provider that is not there; a grant that is not.
    sandbox.config("\n[profile.a]\nprovidr = \"purewl\"\n");
    doctor(&sandbox).error("config.toml:3:1: unknown key", config.to_str().unwrap());
    sandbox.config("[profile.a]\nprovider = \"pureel\"\n");
    doctor(&sandbox).error("unknown provider `pureel`; did you mean `purewl`?", "tok providers");
    sandbox.config("[profile.a]\nprovider = \"purewl\"\nsecrt_key = \"x\"\n");
    doctor(&sandbox).error("config.toml:3:1: unknown key or value `secrt_key`", "edit [profile.a]");
    sandbox.config("");
    // One that others can write.
    chmod(&config, 0o666);
    doctor(&sandbox).error("others can write to it", "chmod go-w");
    chmod(&config, 0o600);
    // One that is named and not there.
    let found = Found::by(sandbox.tok(["doctor", "--json"]).env("TOK_CONFIG", "/no/such/config.toml"));
    found.error("no config file /no/such/config.toml: TOK_CONFIG names it", "tok login PROVIDER --config");
    let found = Found::by(sandbox.tok(["doctor", "--json"]).env("TOK_CONFIG", "relative.toml"));
    found.error("TOK_CONFIG", "absolute path");
    // A broken provider file that nothing uses, and one that a profile does: all that is wrong with it.
    let file = sandbox.provider("broken", "titl = \"x\"\n[grants.a]\nurl = 3\n");
    doctor(&sandbox)
        .warning("broken.toml:1:1: unknown key `titl`", "tok providers --check")
        .warning("broken.toml:3:7: expected a string", "tok providers --check");
    sandbox.config("[profile.b]\nprovider = \"broken\"\n");
    doctor(&sandbox).error("broken.toml:1:1: unknown key `titl`", file.to_str().unwrap());
    sandbox.config("");
    std::fs::remove_file(file).unwrap();
    // A file that is never read.
    put(&sandbox.config_dir().join("providers/My_Shop.TOML"), b"");
    doctor(&sandbox).warning("My_Shop.TOML: tok does not read it", "mv ");
}

#[test]
fn a_file_of_somebody_else() {
    if !is_root() {
        skip!("only root can give files away");
    }
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    sandbox.config("");
    for (path, says) in [
        (sandbox.config_file(), "it belongs to another user"),
        (sandbox.secrets_file(), "it belongs to another user"),
        (sandbox.state_dir(), "it belongs to another user"),
        (sandbox.state_dir().join("kept"), "it belongs to another user"),
        (sandbox.state_dir().join("kept/purewl.json"), "it belongs to another user"),
        (sandbox.home(), "it belongs to another user"),
    ] {
        chown(&path, Some(NOBODY), None).unwrap();
        let found = doctor(&sandbox);
        chown(&path, Some(0), None).unwrap();
        let hint = match () {
            () if path == sandbox.home() => "HOME",
            () => "chown",
        };
        found.error(says, hint);
    }
    chown(sandbox.home(), Some(NOBODY), None).unwrap();
    let found = Found::by(sandbox.tok(["doctor", "--json"]).env("SUDO_USER", "ada"));
    chown(sandbox.home(), Some(0), None).unwrap();
    found.error("it belongs to another user", "sudo -H");
    let link = sandbox.config_dir().join("providers/linked.toml");
    put(&sandbox.config_dir().join("providers/real"), b"");
    symlink("real", &link).unwrap();
    lchown(&link, Some(NOBODY), None).unwrap();
    assert_eq!(doctor(&sandbox).code, 0, "a link in a folder of ours is ours to follow");
}

#[test]
fn a_file_or_folder_that_others_can_use() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    let token = sandbox.run("get purewl").line();
    for (path, mode, back, hint) in [
        (sandbox.secrets_file(), 0o644, 0o600, "chmod 600"),
        (sandbox.state_dir(), 0o777, 0o700, "chmod 700"),
        (sandbox.state_dir().join("locks"), 0o777, 0o700, "chmod 700"),
        (sandbox.state_dir().join("kept/purewl.json"), 0o644, 0o600, "chmod 600"),
        (sandbox.cache_file(&token), 0o644, 0o600, "chmod 600"),
    ] {
        chmod(&path, mode);
        doctor(&sandbox).error("others have access to it", hint);
        chmod(&path, back);
    }
    assert_eq!(doctor(&sandbox).code, 0);
}

#[test]
fn a_link_in_the_place_of_a_file_or_folder() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    for path in [sandbox.secrets_file(), sandbox.state_dir(), sandbox.state_dir().join("kept/purewl.json")] {
        let real = path.with_file_name("real");
        std::fs::rename(&path, &real).unwrap();
        symlink(&real, &path).unwrap();
        doctor(&sandbox).error("symbolic link", "rm ");
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&real, &path).unwrap();
    }
    assert_eq!(doctor(&sandbox).code, 0);
}

#[test]
fn no_room_for_a_token() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    let found = Found::by(sandbox.tok(["doctor", "--json"]).after("ulimit -f 0"));
    found.error("nothing can be written to", "ulimit -f unlimited");
    match SmallDisk::over(&sandbox.state_dir()) {
        Some(disk) => {
            disk.fill();
            doctor(&sandbox).error("the disk is full", "df -h");
        }
        None => skip_part!("only root can mount a small file system"),
    }
}

#[test]
fn a_home_that_is_read_only() {
    if !can_mount() {
        skip!("only root can mount a folder read-only");
    }
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    let home = sandbox.home();
    let mount = format!("mount --bind {0} {0} && mount -o remount,bind,ro {0}", home.display());
    let found = Found::by(in_mounts(sandbox.tok(["doctor", "--json"]), &mount));
    found.error("the file system is read-only (it is for tokens and locks)", "XDG_STATE_HOME");
    found.error("the file system is read-only (it is for the file store)", "XDG_DATA_HOME");
    found.has("warning", "the file system is read-only (it is for the config)", "TOK_CONFIG");
}

#[test]
fn a_lock_that_is_held_or_was_left() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    let lock = sandbox.state_dir().join("locks/purewl.lock");
    // Of a process that was killed.
    let mut gone = Command::new("true").spawn().unwrap();
    let pid = gone.id();
    gone.wait().unwrap();
    put(&lock, format!("{pid}\n").as_bytes());
    doctor(&sandbox).warning(&format!("left by process {pid}"), "rm ");
    sandbox.run("get purewl --fresh").line();
    doctor(&sandbox).never("left by process");
    // Of one that runs, and of one that is stopped.
    let gate = purewl.server.hold();
    let before = purewl.server.count();
    let run = sandbox.tok(["get", "purewl", "--fresh"]).spawn();
    purewl.server.until(before + 1);
    doctor(&sandbox).warning(&format!("process {} holds it", run.pid()), "ps -p");
    run.signal(rustix::process::Signal::STOP);
    crate::support::until("it is stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", run.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    });
    doctor(&sandbox).error("is stopped: every call for purewl waits", &format!("kill -CONT {}", run.pid()));
    run.signal(rustix::process::Signal::CONT);
    gate.open();
    run.wait().line();
}

#[test]
fn a_clock_that_has_gone_backwards() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    let file = sandbox.state_dir().join("kept/purewl.json");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(7200);
    std::fs::File::options().write(true).open(file).unwrap().set_modified(later).unwrap();
    doctor(&sandbox).error("this machine's clock: a file of tok is", "set the clock");
}

/// A session in that keyring.
fn in_keyring(keyring: &Keyring, purewl: &PureWl) -> Sandbox {
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    purewl::login(&sandbox);
    sandbox
}

#[test]
fn a_keyring_that_is_missing_locked_slow_or_has_two_entries() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let mut sandbox = in_keyring(&keyring, &purewl);
    let out = sandbox.run("doctor").ok();
    assert!(out.stdout.contains("the keyring store: answers in "), "{out}");
    keyring.store_with(&["service", "tok", "username", "purewl", "made", "twice"], "{}");
    doctor(&sandbox).error("2 entries have this service and user name", "tok logout purewl");
    keyring.freeze();
    doctor(&sandbox).error("the keyring did not answer", "--store file");
    keyring.thaw();
    keyring.lock();
    doctor(&sandbox).error("the keyring is locked", "unlock");
    sandbox.unset("DBUS_SESSION_BUS_ADDRESS");
    doctor(&sandbox).error("no keyring store is available here", "--store file");
    // Where nothing was ever stored, and nothing needs to be.
    let mut alone = purewl.sandbox();
    alone.unset("TOK_STORE").set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    doctor(&alone).warning("no keyring store is available here", "--store file");
    doctor(&Sandbox::new()).error("no keyring store is available here", "--store file");
}

#[test]
fn the_bus_of_a_session_that_has_ended_and_a_cron_job_without_one() {
    needs!(keyring);
    let (keyring, purewl) = (Keyring::unlocked(), PureWl::start());
    let mut sandbox = in_keyring(&keyring, &purewl);
    if !Path::new(&format!("/run/user/{}/bus", rustix::process::geteuid().as_raw())).exists() {
        doctor(&sandbox).warning("the keyring: a cron job does not reach it", "--store file");
    } else {
        skip_part!("this machine has a session bus at its usual place");
    }
    let folder = keyring.address().trim_start_matches("unix:path=").split(',').next().unwrap().to_string();
    sandbox.set("XDG_RUNTIME_DIR", Path::new(&folder).parent().unwrap());
    sandbox.set("DBUS_SESSION_BUS_ADDRESS", "unix:path=/tmp/tok-no-such-bus,guid=00");
    doctor(&sandbox).warning(
        "DBUS_SESSION_BUS_ADDRESS: nothing answers at unix:path=/tmp/tok-no-such-bus",
        "export DBUS_SESSION_BUS_ADDRESS=",
    );
}

#[test]
fn a_store_that_is_no_store_or_is_not_the_one_that_holds_the_session() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    let with = |store: &str| Found::by(sandbox.tok(["doctor", "--json"]).env("TOK_STORE", store));
    with("none")
        .error("purewl: its session is in the file store, and none is configured", "TOK_STORE=file tok get purewl");
    let empty = Sandbox::new();
    let with = |store: &str| Found::by(empty.tok(["doctor", "--json"]).env("TOK_STORE", store));
    with("keychain").error("TOK_STORE: `keychain` is not a store", "unset it");
    with("helper:tok-no-such-helper").error("helper:tok-no-such-helper", "--store file");
    // Emptied by hand, and damaged.
    put(&sandbox.secrets_file(), b"{}");
    doctor(&sandbox).error("purewl: its session is not in the file store", "tok login purewl");
    put(&sandbox.secrets_file(), b"{\"purewl\": 3}");
    doctor(&sandbox).error("the entry of purewl in the file store cannot be read", "tok login");
    put(&sandbox.secrets_file(), b"{");
    doctor(&sandbox).error("the file store cannot be read", "log in again");
}

#[test]
fn profiles_that_need_a_person_now_or_soon() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    sandbox.forget_cache_of_tokens();
    let now = crate::support::now();
    note(&sandbox, |noted| (noted["refresh_expires_at"], noted["secrets"]) = (json!(now + 86_400), json!([])));
    doctor(&sandbox).warning("purewl: its session expires in", "tok login purewl");
    note(&sandbox, |noted| noted["refresh_expires_at"] = json!(now - 7200));
    doctor(&sandbox).error("purewl: its session expired 2h", "tok login purewl");
    // One that the provider has ended, as the last call found out.
    note(&sandbox, |noted| {
        noted["refresh_token"] = json!(false);
        noted["refresh_expires_at"] = Value::Null;
        noted["refusal"] = json!({"grant": "refresh", "ended": true, "why": "invalid_grant", "at": now - 7200});
    });
    doctor(&sandbox).error("purewl: the session has ended: invalid_grant (2h", "tok login purewl");
    // Never logged in to, and what a variable may give.
    let mut sandbox = Sandbox::with_file_store();
    sandbox.config("[profile.shop]\nprovider = \"elasticpath\"\nclient_id = \"abc\"\n");
    doctor(&sandbox)
        .error("shop: not logged in: needs client_secret", "set TOK_SHOP_CLIENT_SECRET, or run: tok login shop");
    sandbox.set("TOK_SHOP_CLIENT_SECRET", format!("s-{CANARY}"));
    assert_eq!(doctor(&sandbox).code, 0);
}

#[test]
fn a_session_without_a_profile() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    std::fs::rename(sandbox.state_dir().join("kept/purewl.json"), sandbox.state_dir().join("kept/gone.json")).unwrap();
    let entries = sandbox.secrets();
    put(&sandbox.secrets_file(), json!({ "gone": entries["purewl"] }).to_string().as_bytes());
    doctor(&sandbox).warning("gone: a session is stored for it, and the config has no such profile", "tok logout gone");
    // The hint works.
    sandbox.run("logout gone").never_says("no profile");
    doctor(&sandbox).never("gone: a session");
}

#[test]
fn variables_that_nothing_reads_or_that_are_empty() {
    let mut sandbox = Sandbox::with_file_store();
    sandbox.set("TOK_XCOVER_SECRET", format!("s-{CANARY}"));
    doctor(&sandbox)
        .warning("TOK_XCOVER_SECRET: it is set, and tok does not read it", "did you mean TOK_XCOVER_CLIENT_SECRET?");
    sandbox.unset("TOK_XCOVER_SECRET").set("TOK_STOER", "file");
    doctor(&sandbox).warning("TOK_STOER: it is set", "did you mean TOK_STORE?");
    sandbox.unset("TOK_STOER").set("TOK_PUREWL_SECRET_KEY", "");
    doctor(&sandbox).error("TOK_PUREWL_SECRET_KEY: it is set but empty", "unset TOK_PUREWL_SECRET_KEY");
    sandbox.set("TOK_PUREWL_SECRET_KEY", format!("s-{CANARY}")).set("TOK_PUREWL_SECRET_KEY_FILE", "/no/such");
    let both = "TOK_PUREWL_SECRET_KEY and TOK_PUREWL_SECRET_KEY_FILE are both set";
    doctor(&sandbox).error(both, "unset TOK_PUREWL_SECRET_KEY_FILE");
    sandbox.unset("TOK_PUREWL_SECRET_KEY");
    doctor(&sandbox).error("the file that TOK_PUREWL_SECRET_KEY_FILE names: no such file", "unset TOK_");
    sandbox.config("[profile.purewl]\nprovider = \"purewl\"\n");
    doctor(&sandbox).error("SECRET_KEY_FILE names: no such file", "unset TOK_");
    sandbox.config("");
    sandbox
        .unset("TOK_PUREWL_SECRET_KEY_FILE")
        .set("TOK_CACHE", "never")
        .set("TOK_PUREWL_BASE_URL", "https://a.example");
    doctor(&sandbox).error("TOK_CACHE: expected disk or off", "");
}

#[test]
fn what_is_not_on_path() {
    let mut sandbox = Sandbox::with_file_store();
    let folder = sandbox.home().join(".local/bin");
    put(&folder.join("tok"), b"");
    doctor(&sandbox).warning(&format!("PATH: {} is not in it", folder.display()), "PATH=");
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", format!("{}:{path}", folder.display()));
    doctor(&sandbox).never(".local/bin");
    sandbox.set("PATH", "/no/such");
    doctor(&sandbox).warning("curl: it is not on PATH", "install curl");
    // A command of the config: nowhere, and not for a cron job.
    sandbox.set("PATH", format!("{}:{path}", folder.display()));
    chmod(&folder.join("tok"), 0o755);
    let config = |program: &str| {
        sandbox.config(&format!(
            "[profile.a]\nprovider = \"purewl\"\nsecret_key = {{ command = [\"{program}\", \"x\"] }}\n"
        ));
    };
    config("no-such-program");
    doctor(&sandbox)
        .error("the command for secret_key of a: program not found: no-such-program", "install no-such-program");
    config("tok");
    doctor(&sandbox).warning("a cron job does not find tok", ".local/bin/tok");
    config("sh");
    doctor(&sandbox).never("the command for");
}

#[test]
fn what_a_cron_job_does_not_have() {
    let purewl = PureWl::start();
    let mut sandbox = sound(&purewl);
    doctor(&sandbox).warning("TOK_STORE: a cron job does not have it", "TOK_STORE=file");
    doctor(&sandbox).warning("purewl: a cron job does not have TOK_PUREWL_BASE_URL", "man tok-config");
    doctor(&sandbox).warning("tok: a cron job does not find it", env!("CARGO_BIN_EXE_tok"));
    let elsewhere = sandbox.home().join("state");
    sandbox.set("XDG_STATE_HOME", &elsewhere).set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    doctor(&sandbox).warning("XDG_STATE_HOME: it is", &format!("XDG_STATE_HOME={}", elsewhere.display()));
    sandbox.set("XDG_STATE_HOME", sandbox.home().join(".local/state"));
    doctor(&sandbox).never("XDG_STATE_HOME");
}

#[test]
fn a_key_that_others_can_read() {
    let sandbox = Sandbox::with_file_store();
    let file = sandbox.file("key.pem", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n");
    sandbox.config(&format!(
        "[profile.a]\nprovider = \"github-app\"\nclient_id = \"x\"\ninstallation_id = \"1\"\nprivate_key = {{ file = \"{}\" }}\n",
        file.display()
    ));
    doctor(&sandbox).never("others can read");
    chmod(&file, 0o644);
    doctor(&sandbox).warning("is in a file that others can read or change", "chmod 600");
    // The secret itself, in the config.
    sandbox.config(&format!("[profile.a]\nprovider = \"xcover\"\nclient_id = \"x\"\nclient_secret = \"s-{CANARY}\"\n"));
    chmod(&sandbox.config_file(), 0o600);
    doctor(&sandbox).never("others can read");
    chmod(&sandbox.config_file(), 0o644);
    doctor(&sandbox).warning("client_secret is in a file that others can read or change", "chmod 600");
}

#[test]
fn a_cron_job_is_not_advised_what_is_wrong_here() {
    let mut sandbox = Sandbox::with_file_store();
    sandbox.config("[profile.a]\nprovider = \"xcover\"\nclient_id = \"x\"\nclient_secret = \"x\"\n");
    sandbox.set("TOK_STORE", "bogus");
    doctor(&sandbox).error("`bogus` is not a store", "unset it").never("TOK_STORE=bogus");
    sandbox.set("TOK_STORE", "file");
    doctor(&sandbox).warning("TOK_STORE: a cron job does not have it", "TOK_STORE=file");
}

#[test]
fn certificates_and_proxies_that_cannot_be_used() {
    let purewl = PureWl::start();
    let mut sandbox = sound(&purewl);
    sandbox.config("ca_file = \"/no/such/ca.pem\"\n");
    doctor(&sandbox).error("ca_file /no/such/ca.pem cannot be used", "ca_file");
    sandbox.config("");
    sandbox.set("SSL_CERT_FILE", "/no/such/ca.pem");
    doctor(&sandbox).error("SSL_CERT_FILE /no/such/ca.pem cannot be used", "SSL_CERT_FILE");
    sandbox.unset("SSL_CERT_FILE").set("https_proxy", "gopher://x");
    doctor(&sandbox).error("the proxy in https_proxy cannot be used", "http://HOST:PORT");
    sandbox.unset("https_proxy");
    let refusing = Refusing::new();
    sandbox.set("http_proxy", refusing.url());
    assert_eq!(doctor(&sandbox).code, 0, "it is not asked without --online");
    online(&sandbox).error("proxy", "");
    assert_eq!(purewl.grants(), ["secret"]);
}

/// A date as HTTP has it, from now on.
fn http_date(offset: &str) -> String {
    let out = Command::new("date").env("LC_ALL", "C").args(["-u", "-d", offset, "+%a, %d %b %Y %H:%M:%S GMT"]).finish();
    String::from_utf8(out.unwrap().stdout).unwrap().trim().to_string()
}

#[test]
fn servers_are_asked_only_online_and_their_clocks_compared() {
    let date = std::sync::Arc::new(std::sync::Mutex::new(http_date("now")));
    let shown = date.clone();
    let server = Server::new(move |_| Reply::json(405, json!({})).header("Date", &shown.lock().unwrap()));
    let mut sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    sandbox.set("TOK_PLAIN_CLIENT_SECRET", format!("s-{CANARY}"));
    doctor(&sandbox);
    assert_eq!(server.count(), 0);
    assert_eq!(online(&sandbox).code, 0);
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.target.as_str(), asked.body.len()), ("GET", "/token", 0));
    assert!(!format!("{asked:?}").contains(CANARY), "no secret is sent");
    let out = sandbox.run("doctor --online").ok();
    assert!(out.stdout.contains("answers (status 405, "), "{out}");
    *date.lock().unwrap() = http_date("2 hours ago");
    online(&sandbox).error("this machine's clock: it is 2h", "set the clock");
    *date.lock().unwrap() = http_date("2 hours");
    online(&sandbox).error("behind the clock of plain", "set the clock");
    *date.lock().unwrap() = http_date("100 seconds");
    online(&sandbox).warning("behind the clock of plain", "set the clock");
    // Nobody is there.
    let url = server.url();
    drop(server);
    let refusing = Refusing::new();
    sandbox.provider("plain", &plain_provider(&refusing.url(), ""));
    assert_ne!(url, refusing.url());
    online(&sandbox).error("connection refused", "");
}

/// Every hint with a command of tok's is one that tok takes.
#[test]
fn the_hints_are_commands_that_exist() {
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    sandbox.config("[profile.shop]\nprovider = \"elasticpath\"\n");
    sandbox.provider("broken", "x = 1");
    put(&sandbox.secrets_file(), b"{}");
    let mut tried = 0;
    for one in doctor(&sandbox).list {
        let hint = one["hint"].as_str().unwrap().to_string();
        for part in hint.split(['`', ';', ',']).filter_map(|part| part.find("tok ").map(|at| &part[at..])) {
            if !part.starts_with("tok ") || part.contains("PROVIDER") {
                continue;
            }
            let words: Vec<&str> = part.split(' ').skip(1).collect();
            let known = ["login", "logout", "get", "show", "providers", "doctor"].contains(&words[0]);
            if known {
                sandbox.tok(words).args(["--help"]).run().ok();
                tried += 1;
            }
        }
    }
    assert!(tried >= 3, "{tried}");
}

impl Sandbox {
    /// Throws the cached tokens away, and keeps the index.
    fn forget_cache_of_tokens(&self) {
        let _ = std::fs::remove_dir_all(self.state_dir().join("cache"));
    }
}

#[test]
fn a_home_on_nfs() {
    needs!("strace");
    let purewl = PureWl::start();
    let sandbox = sound(&purewl);
    // The system's answer becomes that of an NFS, of which there is seldom one where tests run.
    let answer = "6969000000000000";
    let script =
        format!("exec strace -f -o /dev/null -e trace=statfs -e inject=statfs:poke_exit=@arg2={answer} \"$0\" \"$@\"");
    let found = Found::by(sandbox.tok(["doctor", "--json"]).after(&script));
    found.warning("it is on NFS", "XDG_STATE_HOME");
}
