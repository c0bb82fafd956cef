//! One lock for one session: whatever XDG_*, HOME or working folder a call has, all callers of one store are one queue;
//! the entry in the store names the state folder whose lock guards it.

use crate::support::apiax::{self, Apiax};
use crate::support::keyring::Keyring;
use crate::support::purewl::{self, PureWl};
use crate::support::{CANARY, Running, Sandbox, Tok, chmod, figures, now, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A sandbox whose settings all stand in the config, so that cron has them too.
fn apiax_sandbox(apiax: &Apiax, store: &str) -> Sandbox {
    let url = apiax.server.url();
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "store = \"{store}\"\n[profile.apiax]\nprovider = \"apiax\"\nbase_url = \"{url}\"\n\
         client_id = \"integration-api\"\n"
    ));
    sandbox
}

/// The state home of a shell that has moved it.
fn moved(sandbox: &Sandbox) -> PathBuf {
    sandbox.work().join("moved-state")
}

fn entry(sandbox: &Sandbox, keyring: Option<&Keyring>, profile: &str) -> Value {
    match keyring {
        Some(keyring) => serde_json::from_str(&keyring.lookup("tok", profile).expect("an entry")).expect("JSON"),
        None => sandbox.secrets()[profile].clone(),
    }
}

fn assert_names(entry: &Value, state: &Path) {
    let about = std::fs::metadata(state).unwrap();
    let named = &entry["state_folder"];
    assert_eq!(named["path"], json!(std::fs::canonicalize(state).unwrap()), "{named}");
    assert_eq!((named["device"].as_u64(), named["inode"].as_u64()), (Some(about.dev()), Some(about.ino())), "{named}");
}

/// Two hundred calls in four environments find an expired token of a session that began in another.
fn one_request_in_four_environments(keyring: Option<Keyring>) {
    let apiax = Apiax::start();
    let mut sandbox = apiax_sandbox(&apiax, if keyring.is_some() { "keyring" } else { "file" });
    if let Some(keyring) = &keyring {
        sandbox.set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    }
    let run_dir = sandbox.work().join("run");
    std::fs::create_dir(&run_dir).unwrap();
    chmod(&run_dir, 0o700);
    sandbox.set("XDG_RUNTIME_DIR", &run_dir);
    apiax.state(|s| s.life = 1);
    apiax::login(&sandbox);
    let start = now();
    until("the token has expired", || now() > start + 1);
    apiax.state(|s| s.life = 1800);

    let get = || sandbox.tok(["get", "apiax", "--timeout", "150s"]);
    let environments: [&dyn Fn() -> Tok; 4] = [
        &|| get().env("XDG_STATE_HOME", moved(&sandbox)),
        &|| get().env_remove("XDG_RUNTIME_DIR"),
        &|| get().cwd("/"),
        &|| {
            let cron = get().env_remove("XDG_RUNTIME_DIR").env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
            cron.env("LOGNAME", "somebody").cwd(sandbox.home())
        },
    ];
    let gate = apiax.server.hold();
    let begun = Instant::now();
    let mut running: Vec<Running> = (0..200).map(|n| environments[n % 4]().spawn()).collect();
    apiax.server.until(2);
    let (own, other) = (sandbox.state_dir(), moved(&sandbox));
    for run in &mut running {
        until("each waits for a lock", || {
            run.ended() || run.open_files().iter().any(|file| file.starts_with(&own) || file.starts_with(&other))
        });
    }
    gate.open();
    let lines: BTreeSet<String> = running.into_iter().map(|run| run.wait().silent().line()).collect();
    figures(&format!("200 calls in 4 environments, one refresh: {:?}", begun.elapsed()));
    assert_eq!(lines, [format!("at-{CANARY}-2")].into());
    assert_eq!(apiax.grants(), ["password", "refresh_token"]);
    assert_eq!(apiax.state(|s| s.reused), 0);
    let entry = entry(&sandbox, keyring.as_ref(), "apiax");
    assert_eq!(entry["refresh_token"], format!("rt-{CANARY}-2"), "no lost entry");
    assert_names(&entry, &sandbox.state_dir());
    // And a fresh one is what all see from then on.
    let fresh = sandbox.tok(["get", "apiax", "--fresh"]).env("XDG_STATE_HOME", moved(&sandbox)).run().silent().line();
    for environment in environments {
        assert_eq!(environment().run().silent().line(), fresh);
    }
    assert_eq!(apiax.server.count(), 3);
}

#[test]
fn two_hundred_calls_in_four_environments_make_one_request_with_the_file_store() {
    one_request_in_four_environments(None);
}

#[test]
fn two_hundred_calls_in_four_environments_make_one_request_with_the_keyring() {
    one_request_in_four_environments(Some(Keyring::unlocked()));
}

#[test]
fn eight_profiles_from_two_state_folders_at_once_fail_no_call_and_lose_no_entry() {
    const PROFILES: usize = 8;
    const ROUNDS: usize = 12;
    let purewl = PureWl::start();
    let url = purewl.server.url();
    let profiles: String =
        (0..PROFILES).map(|n| format!("[profile.p{n}]\nprovider = \"purewl\"\nbase_url = \"{url}\"\n")).collect();
    let sandbox = Sandbox::with_file_config(&profiles);
    let key = sandbox.file_arg("key", purewl::secret_key());
    let in_folder = |tok: Tok, n: usize| match n % 2 {
        0 => tok,
        _ => tok.env("XDG_STATE_HOME", moved(&sandbox)),
    };
    for n in 0..PROFILES {
        let login = sandbox.tok(["login", &format!("p{n}"), "secret", "--secret-key-file", &key]);
        in_folder(login, n).run().prints("");
    }
    let begun = Instant::now();
    for round in 0..ROUNDS {
        // Each profile from both folders: from the one that its session names, and from the other.
        let running: Vec<(usize, Running)> = (0..2 * PROFILES)
            .map(|call| {
                let (profile, folder) = (call % PROFILES, call / PROFILES + call);
                let get = sandbox.tok(["get", &format!("p{profile}"), "--fresh", "--timeout", "100s"]);
                (profile, in_folder(get, folder).spawn())
            })
            .collect();
        let mut tokens = vec![BTreeSet::new(); PROFILES];
        for (profile, run) in running {
            tokens[profile].insert(run.wait().silent().line());
        }
        let secrets = sandbox.secrets();
        assert_eq!(secrets.as_object().map(|all| all.len()), Some(PROFILES), "round {round}");
        for (n, tokens) in tokens.iter().enumerate() {
            // PureWL's tokens of one reply differ in one letter.
            let refresh = secrets[format!("p{n}")]["refresh_token"].as_str().expect("a refresh token");
            let access = refresh.replace(&format!("{CANARY}b"), &format!("{CANARY}a"));
            assert!(tokens.contains(&access), "round {round}: p{n} keeps the session of the last reply");
            let state = if n % 2 == 0 { sandbox.state_dir() } else { moved(&sandbox).join("tok") };
            assert_names(&secrets[format!("p{n}")], &state);
        }
    }
    figures(&format!("{} calls of {PROFILES} profiles from 2 state folders: {:?}", ROUNDS * 16, begun.elapsed()));
    assert_eq!(purewl.state(|s| s.reused), 0, "no refresh token was sent twice");
    assert_eq!(purewl.grants().iter().filter(|grant| *grant == "secret").count(), PROFILES);
}

#[test]
fn logins_from_several_state_folders_at_once_never_wait_for_each_other_in_a_ring() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let key = sandbox.file_arg("key", purewl::secret_key());
    let folders: Vec<PathBuf> = (0..3).map(|n| sandbox.work().join(format!("state-{n}"))).collect();
    let login = ["login", "purewl", "secret", "--secret-key-file", &key, "--timeout", "100s"];
    for _ in 0..5 {
        let mut running = Vec::new();
        for folder in folders.iter().chain(&folders) {
            let with = |tok: Tok| tok.env("XDG_STATE_HOME", folder).spawn();
            running.push(with(sandbox.tok(login)));
            running.push(with(sandbox.tok(["get", "purewl", "--fresh", "--timeout", "100s"])));
            running.push(with(sandbox.tok(["logout", "purewl", "--timeout", "100s"])));
        }
        for run in running {
            let out = run.wait();
            // 4 where a logout came first.
            assert!(out.code == 0 || (out.code == 4 && out.command.contains("get")), "{out}");
        }
    }
    assert_eq!(purewl.state(|s| s.reused), 0, "no refresh token was sent twice");
    // Two that found no entry at the same time had no lock in common: what that left is not what this is about.
    for folder in &folders {
        sandbox.tok(["logout", "purewl"]).env("XDG_STATE_HOME", folder).run().prints("");
    }
    // A logout from anywhere forgets for all.
    sandbox.tok(login).env("XDG_STATE_HOME", &folders[0]).run().prints("");
    let get = |folder: &Path| sandbox.tok(["get", "purewl"]).env("XDG_STATE_HOME", folder);
    let token = get(&folders[0]).run().silent().line();
    assert_eq!(get(&folders[1]).run().silent().line(), token);
    sandbox.tok(["logout", "purewl"]).env("XDG_STATE_HOME", &folders[2]).run().prints("");
    for folder in &folders {
        get(folder).run().fails(4);
    }
    for folder in &folders {
        let mut with_secret = Vec::new();
        crate::support::walk(folder, &mut |path| {
            with_secret
                .extend(std::fs::read(path).ok().filter(|text| crate::support::contains(text, CANARY.as_bytes())));
        });
        assert!(with_secret.is_empty(), "{with_secret:?}");
    }
}

#[test]
fn logins_from_two_state_folders_at_once_lose_no_update_of_the_config() {
    const COUNT: usize = 40;
    let purewl = PureWl::start();
    let sandbox = Sandbox::with_file_config("");
    let key = sandbox.file_arg("key", purewl::secret_key());
    let url = purewl.server.url();
    let running: Vec<Running> = (0..COUNT)
        .map(|n| {
            let name = format!("p{n}");
            let args = ["login", "purewl", "secret", "--as", &name, "--base-url", &url, "--secret-key-file", &key];
            let login = sandbox.tok(args).args(["--timeout", "100s"]);
            if n % 2 == 0 { login.spawn() } else { login.env("XDG_STATE_HOME", moved(&sandbox)).spawn() }
        })
        .collect();
    for run in running {
        run.wait().silent().prints("");
    }
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    for n in 0..COUNT {
        assert_eq!(config.matches(&format!("[profile.p{n}]\n")).count(), 1, "p{n} in the config");
    }
    assert_eq!(sandbox.secrets().as_object().map(|all| all.len()), Some(COUNT));
}

#[test]
fn a_login_begins_the_session_in_its_own_state_folder() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    assert_names(&entry(&sandbox, None, "purewl"), &sandbox.state_dir());
    let key = sandbox.file_arg("key", purewl::secret_key());
    let login = ["login", "purewl", "secret", "--secret-key-file", &key];
    sandbox.tok(login).env("XDG_STATE_HOME", moved(&sandbox)).run().prints("");
    assert_names(&entry(&sandbox, None, "purewl"), &moved(&sandbox).join("tok"));
    // The token of the first login is nobody's any more.
    let token = sandbox.tok(["get", "purewl"]).env("XDG_STATE_HOME", moved(&sandbox)).run().silent().line();
    assert_eq!(sandbox.run("get purewl").silent().line(), token);
    assert_eq!(purewl.grants(), ["secret", "secret"]);
    // A refresh leaves it where it is.
    sandbox.run("get purewl --fresh").silent().line();
    assert_names(&entry(&sandbox, None, "purewl"), &moved(&sandbox).join("tok"));
}

#[test]
fn a_call_with_another_state_folder_waits_for_the_lock_that_the_entry_names() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let held = std::fs::File::open(sandbox.state_dir().join("locks/apiax.lock")).unwrap();
    held.lock().unwrap();
    let get = || sandbox.tok(["get", "apiax", "--fresh", "-v"]).env("XDG_STATE_HOME", moved(&sandbox));
    get().args(["--timeout", "1s"]).run().fails(6).says("holds the lock");
    assert_eq!(apiax.server.count(), 1, "nothing was sent");
    drop(held);
    get().run().ok().says("the session was made with the state folder");
    // What reads no store follows nowhere.
    let held = std::fs::File::open(sandbox.state_dir().join("locks/apiax.lock")).unwrap();
    held.lock().unwrap();
    get().args(["--no-store", "--timeout", "1s"]).run().fails(4);
}

/// Changes the folder that the entry of `apiax` names.
fn rename_in_entry(sandbox: &Sandbox, change: impl Fn(&mut Value)) {
    let mut secrets = sandbox.secrets();
    change(&mut secrets["apiax"]);
    crate::support::put(&sandbox.secrets_file(), secrets.to_string().as_bytes());
}

#[test]
fn an_entry_that_names_no_usable_folder_is_used_with_the_call_s_own_and_corrected() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let other = sandbox.work().join("other/tok");
    std::fs::create_dir_all(&other).unwrap();
    chmod(&other, 0o700);
    let named = |path: &Path, device: u64| {
        let about = std::fs::metadata(path).unwrap();
        json!({ "path": path, "device": about.dev() + device, "inode": about.ino() })
    };
    let gone = json!({ "path": "/nonexistent/tok", "device": 1, "inode": 2 });
    let mut cases: Vec<(Option<Value>, &str)> = vec![
        (None, "names no state folder"),
        (Some(json!("nonsense")), "names no state folder"),
        (Some(gone), "does not exist"),
        (Some(named(&other, 1)), "is on another device now"),
    ];
    let foreign = sandbox.work().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    if std::os::unix::fs::chown(&foreign, Some(65534), None).is_ok() {
        cases.push((Some(named(&foreign, 0)), "belongs to another user"));
    } else {
        figures("another user's state folder needs root: skipped");
    }
    for (folder, why) in cases {
        rename_in_entry(&sandbox, |entry| match &folder {
            None => drop(entry.as_object_mut().unwrap().remove("state_folder")),
            Some(folder) => entry["state_folder"] = folder.clone(),
        });
        let before = sandbox.secrets();
        sandbox.run("get apiax").silent().line();
        assert_eq!(sandbox.secrets(), before, "a cached answer changes nothing");
        let out = sandbox.run("get apiax --fresh -v").ok().says(why);
        assert_names(&entry(&sandbox, None, "apiax"), &sandbox.state_dir());
        sandbox.run("get apiax --fresh").silent().line();
        assert!(!out.stderr.contains("warning"), "{out}");
    }
    assert!(
        std::fs::read_dir(&foreign).unwrap().next().is_none() && std::fs::read_dir(&other).unwrap().next().is_none()
    );
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn fields_that_a_newer_build_keeps_in_an_entry_stay_there() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    rename_in_entry(&sandbox, |entry| {
        entry["later"] = json!({ "key": [1.5, "é"], "more": null });
        entry["got_with"]["more"] = json!([true]);
    });
    sandbox.run("get apiax --fresh").silent().line();
    let kept = entry(&sandbox, None, "apiax");
    assert_eq!(kept["later"], json!({ "key": [1.5, "é"], "more": null }));
    assert_eq!((&kept["refresh_token"], &kept["got_with"]["more"]), (&json!(format!("rt-{CANARY}-2")), &json!([true])));
}

#[test]
fn the_lock_of_the_file_store_lies_beside_its_file() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let held = std::fs::File::open(sandbox.secrets_file().with_file_name("secrets.json.lock")).unwrap();
    held.lock().unwrap();
    let logout = sandbox.tok(["logout", "apiax", "--timeout", "1s"]).env("XDG_STATE_HOME", moved(&sandbox));
    logout.run().fails(7).says("secrets.json.lock");
    drop(held);
    assert_eq!(crate::support::mode(&sandbox.secrets_file().with_file_name("secrets.json.lock")), 0o600);
    assert!(!sandbox.state_dir().join("locks/_secrets.lock").exists());
}
