//! Many at once: one refresh, one lock whatever the environment, no lost update, and a lock that is the kernel's.

use crate::child::SOON;
use crate::skip::is_root;
use crate::support::apiax::{self, Apiax};
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server, lock};
use crate::support::{
    CANARY, Output, Running, Sandbox, Tok, chmod, figures, full_sweeps, now, plain, plain_provider, put, until,
};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// All ended well with the same token: that token.
#[track_caller]
fn one_token(running: Vec<Running>) -> String {
    let lines: BTreeSet<String> = running.into_iter().map(|run| run.wait().silent().line()).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.into_iter().next().unwrap()
}

/// `count` processes find an expired token, at a server that ends the session when a refresh token comes twice.
fn refreshed_once_by(count: usize) {
    let apiax = Apiax::start();
    apiax.state(|s| s.life = 1);
    let sandbox = apiax.logged_in();
    let start = now();
    until("the token has expired", || now() > start + 1);
    apiax.state(|s| s.life = 1800);
    // Held back until all of them want it: whoever does not wait for the lock, asks.
    let gate = apiax.server.hold();
    let begun = Instant::now();
    let mut running: Vec<_> = (0..count).map(|_| sandbox.tok(["get", "apiax", "--timeout", "280s"]).spawn()).collect();
    apiax.server.until(2);
    for run in &mut running {
        run.until_open_below(&sandbox.state_dir());
    }
    gate.open();
    let token = one_token(running);
    figures(&format!("{count} processes, one refresh: {:?}", begun.elapsed()));
    assert_eq!(apiax.grants(), ["password", "refresh_token"]);
    assert_eq!(apiax.state(|s| s.reused), 0);
    assert_eq!(token, format!("at-{CANARY}-2"));
    assert!(sandbox.secrets().to_string().contains(&format!("rt-{CANARY}-2")));
    sandbox.run("get apiax --fresh").silent().line();
}

#[test]
fn two_at_once_make_one_rotating_refresh() {
    refreshed_once_by(2);
}

#[test]
fn sixteen_at_once_make_one_rotating_refresh() {
    refreshed_once_by(16);
}

#[test]
fn two_hundred_at_once_make_one_rotating_refresh() {
    refreshed_once_by(200);
}

#[test]
fn two_hundred_gets_that_nothing_holds_back_make_one_rotating_refresh() {
    let apiax = Apiax::start();
    apiax.state(|s| s.life = 1);
    let sandbox = apiax.logged_in();
    let start = now();
    until("the token has expired", || now() > start + 1);
    apiax.state(|s| s.life = 1800);
    let running = (0..200).map(|_| sandbox.tok(["get", "apiax", "--timeout", "280s"]).spawn());
    one_token(running.collect());
    assert_eq!(apiax.grants(), ["password", "refresh_token"]);
}

#[test]
fn the_lock_is_the_same_one_in_every_environment() {
    let apiax = Apiax::start();
    let url = apiax.server.url();
    let config =
        format!("[profile.apiax]\nprovider = \"apiax\"\nbase_url = \"{url}\"\nclient_id = \"integration-api\"\n");
    let sandbox = Sandbox::with_file_config(&config);
    apiax.state(|s| s.life = 1);
    apiax::login(&sandbox);
    let start = now();
    until("the token has expired", || now() > start + 1);
    apiax.state(|s| s.life = 1800);

    let home = sandbox.home();
    let linked = sandbox.work().join("home-by-a-link");
    symlink(&home, &linked).unwrap();
    let run_dir = sandbox.work().join("run");
    std::fs::create_dir(&run_dir).unwrap();
    chmod(&run_dir, 0o700);
    let gone = "mkdir gone && cd gone && rmdir ../gone";
    let own = |name: &str, folder: &str| (name.to_string(), home.join(folder));
    let with_own = |tok: Tok| {
        [
            own("XDG_STATE_HOME", ".local/state"),
            own("XDG_DATA_HOME", ".local/share"),
            own("XDG_CONFIG_HOME", ".config"),
            own("XDG_CACHE_HOME", "elsewhere"),
        ]
        .into_iter()
        .fold(tok, |tok, (name, path)| tok.env(&name, path))
    };
    let get = || sandbox.tok(["get", "apiax", "--timeout", "60s"]);
    let of_all_kinds: Vec<Tok> = vec![
        get(),
        // cron: next to nothing.
        get().env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh").env("LOGNAME", "somebody").cwd(&home),
        get().env("PATH", ""),
        get().cwd("/"),
        get().after(gone),
        get().env("XDG_RUNTIME_DIR", &run_dir),
        get().env("XDG_RUNTIME_DIR", "/nonexistent").env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent"),
        get().env("TMPDIR", "/nonexistent").env("USER", "nobody").env("LANG", "de_DE.UTF-8").env("TZ", "Asia/Tokyo"),
        get().after("umask 000"),
        get().after("umask 077"),
        get().after("umask 777"),
        get().after("ulimit -n 32; trap '' HUP"),
        get().env("HOME", format!("{}/", home.display())),
        get().env("HOME", format!("{}/../home/.", home.display())),
        get().env("HOME", &linked),
        with_own(get()),
        // What the specification says is to be ignored.
        get().env("XDG_STATE_HOME", "").env("XDG_DATA_HOME", "relative/path").env("XDG_CONFIG_HOME", ""),
        get().env("XDG_STATE_HOME", "relative").cwd(&home),
        get().env("COLUMNS", "20").env("TERM", "dumb").env("NO_COLOR", "1"),
        get().args(["-q", "--no-input", "--color", "never"]),
    ];
    let count = of_all_kinds.len();
    let gate = apiax.server.hold();
    let mut running: Vec<Running> = of_all_kinds.into_iter().map(Tok::spawn).collect();
    apiax.server.until(2);
    let locks = std::fs::canonicalize(sandbox.state_dir()).unwrap();
    for run in &mut running {
        run.until_open_below(&locks);
    }
    // Had one of them another lock, its request would be here by now or come before its answer.
    gate.open();
    one_token(running);
    assert_eq!(apiax.grants(), ["password", "refresh_token"], "{count} environments");
}

/// The profiles `p0` to `p<count - 1>` of one provider, in the config.
fn profiles(count: usize, url: &str) -> String {
    (0..count).map(|n| format!("[profile.p{n}]\nprovider = \"purewl\"\nbase_url = \"{url}\"\n")).collect()
}

#[test]
fn many_logins_at_once_lose_no_update_in_config_cache_or_store() {
    // Each rewrites one growing config and one growing store; two hundred of them take a while.
    let count = if full_sweeps() { 200 } else { 60 };
    let purewl = PureWl::start();
    let sandbox = Sandbox::with_file_config("# a comment that stays\n");
    let key = sandbox.file_arg("key", purewl::secret_key());
    let url = purewl.server.url();
    let begun = Instant::now();
    let running: Vec<_> = (0..count)
        .map(|n| {
            let name = format!("p{n}");
            let args = ["login", "purewl", "secret", "--as", &name, "--base-url", &url, "--secret-key-file", &key];
            sandbox.tok(args).args(["--timeout", "280s"]).spawn()
        })
        .collect();
    for run in running {
        run.wait().silent().prints("");
    }
    figures(&format!("{count} logins at once: {:?}", begun.elapsed()));

    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(config.starts_with("store = \"file\"\n# a comment that stays\n"), "{config}");
    let secrets = sandbox.secrets();
    assert_eq!(secrets.as_object().unwrap().len(), count);
    let mut tokens = BTreeSet::new();
    for n in 0..count {
        assert_eq!(config.matches(&format!("[profile.p{n}]\n")).count(), 1, "p{n} in the config");
        tokens.insert(secrets[format!("p{n}")]["refresh_token"].as_str().expect("a refresh token").to_string());
    }
    assert_eq!(tokens.len(), count, "each has its own");
    let list = sandbox.run("list --json").json();
    let kept = list.as_array().unwrap().iter().filter(|entry| entry["refresh_token"] == true).count();
    assert_eq!(kept, count, "in the index");

    let begun = Instant::now();
    let running: Vec<_> =
        (0..count).map(|n| sandbox.tok(["get", &format!("p{n}"), "--fresh", "--timeout", "280s"]).spawn()).collect();
    let access: Vec<String> = running.into_iter().map(|run| run.wait().silent().line()).collect();
    figures(&format!("{count} profiles refreshed at once: {:?}", begun.elapsed()));
    assert_eq!(purewl.grants().iter().filter(|grant| *grant == "refresh").count(), count);
    assert_eq!(purewl.state(|s| s.reused), 0);
    let secrets = sandbox.secrets();
    for (n, access) in access.iter().enumerate() {
        assert_of_one_reply(&secrets, &format!("p{n}"), access);
    }
}

#[test]
fn two_hundred_profiles_at_once_each_keep_their_own_session_and_token() {
    const COUNT: usize = 200;
    let purewl = PureWl::start();
    let mut sandbox = Sandbox::with_file_config(&profiles(COUNT, &purewl.server.url()));
    for n in 0..COUNT {
        sandbox.set(&format!("TOK_P{n}_SECRET_KEY"), purewl::secret_key());
    }
    let running: Vec<_> =
        (0..COUNT).map(|n| sandbox.tok(["get", &format!("p{n}"), "--timeout", "280s"]).spawn()).collect();
    let tokens: Vec<String> = running.into_iter().map(|run| run.wait().silent().line()).collect();
    assert_eq!((BTreeSet::from_iter(&tokens).len(), purewl.server.count()), (COUNT, COUNT));
    let secrets = sandbox.secrets();
    assert_eq!(secrets.as_object().unwrap().len(), COUNT, "entries in the store");
    let index = std::fs::read_dir(sandbox.state_dir().join("kept")).unwrap().count();
    assert_eq!(index, COUNT, "entries in the index");
    for (n, access) in tokens.iter().enumerate() {
        assert_of_one_reply(&secrets, &format!("p{n}"), access);
        let file = sandbox.cache_file(access);
        assert_eq!(file.parent().unwrap(), sandbox.state_dir().join(format!("cache/p{n}")), "in the cache");
    }
}

/// PureWL's tokens of one reply differ in one letter.
#[track_caller]
fn assert_of_one_reply(secrets: &serde_json::Value, profile: &str, access: &str) {
    let refresh = secrets[profile]["refresh_token"].as_str().expect("a refresh token");
    assert_eq!(refresh.replace(&format!("{CANARY}b"), &format!("{CANARY}a")), access, "{profile}");
}

#[test]
fn login_logout_and_get_of_one_profile_at_the_same_time_end_whole() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let key = sandbox.file_arg("key", purewl::secret_key());
    let login = ["login", "purewl", "secret", "--secret-key-file", &key];
    for _ in 0..4 {
        let mut running = Vec::new();
        for _ in 0..6 {
            running.push(sandbox.tok(login).spawn());
            running.push(sandbox.tok(["get", "purewl"]).spawn());
            running.push(sandbox.tok(["logout", "purewl"]).spawn());
            running.push(sandbox.tok(["get", "purewl", "--fresh"]).spawn());
            running.push(sandbox.tok(["list"]).spawn());
        }
        for run in running {
            let out: Output = run.wait();
            // 4 where a logout came first. Nothing is half there for anybody.
            assert!(out.code == 0 || (out.code == 4 && out.command.contains("get")), "{out}");
        }
        sandbox.assert_no_lock_is_held();
        let entry = sandbox.secrets()["purewl"].clone();
        let out = sandbox.run("get purewl --fresh");
        assert_eq!(out.code, if entry.is_null() { 4 } else { 0 }, "{entry} {out}");
    }
    assert_eq!(purewl.state(|s| s.reused), 0, "no refresh token was sent twice");
    sandbox.run("logout purewl").prints("");
    assert!(sandbox.files_with(CANARY).is_empty(), "{:?}", sandbox.files_with(CANARY));
    purewl::login(&sandbox);
    sandbox.run("get purewl --fresh").silent().line();
}

#[test]
fn two_accounts_under_one_profile_name_at_the_same_time_never_get_each_other_s_token() {
    // The token says whose it is.
    let issued = Arc::new(Mutex::new(0));
    let server = Server::new(move |request| {
        let mut n = lock(&issued);
        *n += 1;
        let who = request.field("client_id");
        let refresh = request.field("refresh_token");
        if !refresh.is_empty() && !refresh.starts_with(&format!("rt-{CANARY}-{who}-")) {
            return Reply::json(400, json!({"error": "invalid_grant"}));
        }
        Reply::json(
            200,
            json!({
                "access_token": format!("at-{CANARY}-{who}-{n}"),
                "refresh_token": format!("rt-{CANARY}-{who}-{n}"),
                "expires_in": 600,
            }),
        )
    });
    let sandbox = plain(&server.url());
    for options in [&[][..], &["--fresh"]] {
        let running: Vec<_> = (0..36)
            .map(|n| {
                let who = ["alice", "bob", "carol"][n % 3];
                let run = sandbox.tok(["get", "plain"]).args(options).env("TOK_PLAIN_CLIENT_ID", who);
                (who, run.spawn())
            })
            .collect();
        for (who, run) in running {
            let token = run.wait().silent().line();
            assert!(token.starts_with(&format!("at-{CANARY}-{who}-")), "{who} got {token}");
        }
    }
    // No refresh token went out under another's name, and the one session that is kept is its owner's.
    for request in server.requests().iter().filter(|r| r.has_field("refresh_token")) {
        let who = request.field("client_id");
        assert!(request.field("refresh_token").starts_with(&format!("rt-{CANARY}-{who}-")), "{request:?}");
    }
}

#[test]
fn the_lock_lies_beside_the_data_and_stays_the_same_file() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let file = sandbox.state_dir().join("locks/apiax.lock");
    let inode = || std::fs::metadata(&file).unwrap().ino();
    let before = inode();
    let mut old = std::fs::File::open(sandbox.secrets_file()).unwrap();
    for _ in 0..3 {
        sandbox.run("get apiax --fresh").silent().line();
    }
    assert_eq!(inode(), before, "a lock on a file that is replaced excludes nobody");
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert!(text.contains(&format!("rt-{CANARY}-1")), "the data is replaced whole, not written over: {text}");
    sandbox.run("logout apiax").ok();
    assert_eq!(inode(), before);
}

#[test]
fn a_lock_file_removed_while_it_is_held_makes_no_second_holder_for_those_who_wait() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let gate = apiax.server.hold();
    let first = sandbox.tok(["get", "apiax", "--fresh"]).spawn();
    apiax.server.until(2);
    let mut waiting: Vec<_> = (0..6).map(|_| sandbox.tok(["get", "apiax", "--fresh"]).spawn()).collect();
    for run in &mut waiting {
        run.until_open_below(&sandbox.state_dir().join("locks"));
    }
    std::fs::remove_file(sandbox.state_dir().join("locks/apiax.lock")).unwrap();
    gate.open();
    first.wait().silent().line();
    for run in waiting {
        run.wait().silent().line();
    }
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn a_killed_holder_frees_the_lock_at_once() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let gate = apiax.server.hold();
    let holder = sandbox.tok(["get", "apiax", "--fresh"]).spawn();
    apiax.server.until(2);
    assert!(sandbox.state_dir().join("locks/apiax.lock").exists());
    holder.signal(Signal::KILL);
    assert_eq!(holder.wait().code, 137);
    sandbox.assert_no_lock_is_held();
    gate.open();
    // The server took the token from a process that died: that is told, and nothing waits.
    let out = sandbox.run("get apiax --fresh --timeout 100s").fails(4);
    assert!(out.took < SOON, "{out}");
}

#[test]
fn a_hung_holder_is_named_and_waited_for_no_longer_than_the_timeout() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let gate = apiax.server.hold();
    let holder = sandbox.tok(["get", "apiax", "--fresh"]).spawn();
    apiax.server.until(2);
    holder.signal(Signal::STOP);
    let pid = holder.pid().to_string();
    let out = sandbox.run("get apiax --fresh --timeout 1s");
    let out = out.fails(6).says(&format!("process {pid} holds the lock")).hints_at(&pid);
    assert!(out.took >= Duration::from_millis(900) && out.took < SOON, "{out}");
    // Neither a login nor a logout goes past it.
    let file = sandbox.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--username", apiax::USERNAME, "--password-file", &file];
    sandbox.tok(login).args(["--timeout", "1s"]).run().fails(6).says(&pid);
    sandbox.run("logout apiax --timeout 1s").fails(6).says(&pid);
    // What waits in the cache needs no lock.
    sandbox.run("get apiax").prints(&format!("at-{CANARY}-1\n"));
    assert_eq!(apiax.server.count(), 2, "nobody else has asked");
    holder.signal(Signal::CONT);
    gate.open();
    holder.wait().prints(&format!("at-{CANARY}-2\n"));
    sandbox.run("get apiax").prints(&format!("at-{CANARY}-2\n"));
}

#[test]
fn a_person_who_waits_is_told_for_whom() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let gate = server.hold();
    let holder = sandbox.tok(["get", "plain"]).spawn();
    server.until(1);
    let mut waiting = sandbox.tok(["get", "plain"]).on_terminal();
    waiting.expect(&format!("plain: waiting for process {}", holder.pid()));
    gate.open();
    let token = holder.wait().line();
    let (rest, code) = waiting.end();
    assert_eq!(code, 0);
    assert!(rest.contains(&token), "{rest}");
}

#[test]
fn each_user_has_locks_of_their_own() {
    let server = Server::issuing(600);
    let (one, two) = (plain(&server.url()), plain(&server.url()));
    let gate = server.hold();
    let first = one.tok(["get", "plain"]).spawn();
    server.until(1);
    let second = two.tok(["get", "plain"]).spawn();
    server.until(2);
    gate.open();
    assert_ne!(first.wait().line(), second.wait().line());
}

/// Something else in the place of a folder or file; what it leads to must stay as it is.
type Plant = fn(&Path, &Path);

#[test]
fn a_lock_that_cannot_be_taken_is_never_a_licence_to_refresh() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let locks = sandbox.state_dir().join("locks");
    let target = sandbox.work().join("target");
    let before = sandbox.secrets();
    let check = |what: &str| {
        let out = sandbox.run("get apiax --fresh --timeout 20s");
        assert!([1, 6, 7].contains(&out.code), "{what}: {out}");
        let out = out.fails_with_one_of(&[1, 6, 7]);
        assert!(out.took < SOON, "{what}: {out}");
        assert_eq!(apiax.server.connections(), 1, "{what}: nothing is asked without the lock");
        assert_eq!(sandbox.secrets(), before, "{what}");
        // The cached token is good without any lock.
        sandbox.run("get apiax").prints(&format!("at-{CANARY}-1\n"));
    };
    let content = |what: &str| assert_eq!(std::fs::read(&target).unwrap(), b"somebody's\n", "{what}");

    // In the place of the lock file.
    let file = locks.join("apiax.lock");
    let plants: [(&str, Plant); 6] = [
        ("a link to a file", |at, target| symlink(target, at).unwrap()),
        ("a link to nothing", |at, target| symlink(target.with_extension("none"), at).unwrap()),
        ("a hard link", |at, target| std::fs::hard_link(target, at).unwrap()),
        ("a folder", |at, _| std::fs::create_dir(at).unwrap()),
        ("a pipe", |at, _| mkfifo(at)),
        ("a socket", |at, _| drop(std::os::unix::net::UnixListener::bind(at).unwrap())),
    ];
    for (what, plant) in plants {
        put(&target, b"somebody's\n");
        let _ = std::fs::remove_file(&file);
        plant(&file, &target);
        check(what);
        content(what);
        assert!(!target.with_extension("none").exists(), "{what}: nothing is made through it");
        if std::fs::remove_file(&file).is_err() {
            std::fs::remove_dir(&file).unwrap();
        }
    }

    // In the place of the folder.
    let aside = sandbox.work().join("locks-aside");
    std::fs::rename(&locks, &aside).unwrap();
    let plants: [(&str, Plant); 3] = [
        ("the folder is a file", |at, _| put(at, b"")),
        ("the folder is a link", |at, target| symlink(target.with_file_name("locks-aside"), at).unwrap()),
        ("the folder is a pipe", |at, _| mkfifo(at)),
    ];
    for (what, plant) in plants {
        plant(&locks, &target);
        check(what);
        std::fs::remove_file(&locks).unwrap();
    }
    std::fs::rename(&aside, &locks).unwrap();
    chmod(&locks, 0o777);
    check("others may write to the folder");
    chmod(&locks, 0o700);
    if is_root() {
        // Only root can make a folder somebody else's, and only others are stopped by a mode.
        std::os::unix::fs::chown(&locks, Some(65_534), None).unwrap();
        check("the folder belongs to another user");
        std::os::unix::fs::chown(&locks, Some(0), None).unwrap();
    } else {
        put(&file, b"");
        chmod(&file, 0o000);
        chmod(&locks, 0o500);
        check("nothing may be made in the folder");
        chmod(&locks, 0o700);
        chmod(&file, 0o600);
    }
    sandbox.run("get apiax --fresh").prints(&format!("at-{CANARY}-2\n"));
    assert_eq!(apiax.state(|s| s.reused), 0);
}

fn mkfifo(at: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn a_dead_lock_file_of_an_earlier_boot_holds_nobody_up() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    put(&sandbox.state_dir().join("locks/plain.lock"), b"1\n");
    chmod(&sandbox.state_dir(), 0o700);
    chmod(&sandbox.state_dir().join("locks"), 0o700);
    // Process 1 lives; a lock that went by the number in the file would wait for it.
    let out = sandbox.run("get plain --timeout 100s").ok();
    assert!(out.took < SOON, "{out}");
}
