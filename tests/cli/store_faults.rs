//! The store fails: before the refresh token is used it is found out and nothing is spent; after it the access token
//! is shown all the same, with a warning that nothing silences. And what does not mean that a session is dead.

use crate::child::{SOON, Start};
use crate::skip::{is_root, needs, skip};
use crate::support::apiax::{self, Apiax};
use crate::support::keyring::Keyring;
use crate::support::server::{Reply, Server, lock};
use crate::support::{CANARY, Output, Sandbox, Tok, chmod, plain_provider, put};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A file system of its own, small enough to fill, mounted over a folder: only root can. Unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it at `folder`, in which what is there is kept; `None` where that cannot be done here.
    pub fn over(folder: &Path) -> Option<SmallDisk> {
        let aside = folder.with_file_name("aside");
        std::fs::rename(folder, &aside).unwrap();
        std::fs::create_dir(folder).unwrap();
        let mounted = run("mount", &["-t", "tmpfs", "-o", "size=256k,mode=700", "none", path(folder)]);
        if mounted {
            assert!(run("cp", &["-a", &format!("{}/.", path(&aside)), path(folder)]));
            return Some(SmallDisk(folder.into()));
        }
        std::fs::remove_dir(folder).unwrap();
        std::fs::rename(&aside, folder).unwrap();
        None
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let _ = std::fs::write(self.0.join("filler"), vec![b'.'; 1 << 20]);
        assert!(std::fs::write(self.0.join("more"), [b'.'; 5000]).is_err(), "it is full");
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
        std::fs::remove_file(self.0.join("more")).unwrap();
    }

    fn read_only(&self, yes: bool) {
        let how = if yes { "remount,ro" } else { "remount,rw" };
        assert!(run("mount", &["-o", how, path(&self.0)]), "{how}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", path(&self.0)]);
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).finish().is_ok_and(|out| out.status.success())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Whether mounts can be made that only one process sees.
pub fn can_mount() -> bool {
    is_root() && run("unshare", &["-m", "mount", "--bind", "/", "/"])
}

/// Runs `tok` where `mounts`, shell commands without single quotes, have been made, seen by it alone.
pub fn in_mounts(tok: Tok, mounts: &str) -> Tok {
    tok.after(&format!(
        "exec unshare -m --propagation private /bin/sh -c '{mounts} || exit 99; exec \"$0\" \"$@\"' \"$0\" \"$@\""
    ))
}

/// The folder of the file store.
fn data(sandbox: &Sandbox) -> PathBuf {
    sandbox.secrets_file().parent().unwrap().to_path_buf()
}

/// The answer stands on stdout with status 0, and the loss on stderr with what to run, `-q` or not.
#[track_caller]
fn shown_with_a_warning(out: Output, token: &str) {
    assert_eq!((out.code, out.stdout.as_str()), (0, format!("{token}\n").as_str()), "{out}");
    let out = out.says("the new refresh token could not be stored").says("tok login apiax");
    assert!(out.stderr.lines().all(|line| line.starts_with("tok: warning: ")), "{out}");
}

/// A session at a strict server, and a call whose reply is held back until `meanwhile` has spoiled the store.
#[track_caller]
fn spoiled_meanwhile(apiax: &Apiax, sandbox: &Sandbox, meanwhile: impl FnOnce()) -> Output {
    let before = apiax.server.count();
    let gate = apiax.server.hold();
    let run = sandbox.tok(["-q", "get", "apiax", "--fresh"]).spawn();
    apiax.server.until(before + 1);
    meanwhile();
    gate.open();
    run.wait()
}

#[test]
fn a_disk_that_fills_up_meanwhile_costs_nothing_as_the_room_was_taken() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let Some(disk) = SmallDisk::over(&data(&sandbox)) else { skip!("only root can mount a small file system") };
    let out = spoiled_meanwhile(&apiax, &sandbox, || disk.fill());
    out.prints(&format!("at-{CANARY}-2\n")).silent();
    assert!(sandbox.secrets()["apiax"]["refresh_token"] == format!("rt-{CANARY}-2"), "the new entry, whole");
    disk.empty();
    let left: Vec<_> = std::fs::read_dir(&disk.0).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["secrets.json", "secrets.json.lock"], "nothing half written stays");
    sandbox.run("get apiax --fresh").silent().line();
}

/// What is found out before anything is sent: status 7, and the session goes on later.
#[track_caller]
fn nothing_is_spent(apiax: &Apiax, sandbox: &Sandbox, out: Output) {
    out.fails(7).hints();
    assert_eq!(apiax.server.count(), 1, "nothing was sent");
    assert!(sandbox.secrets()["apiax"]["refresh_token"] == format!("rt-{CANARY}-1"), "the old entry, whole");
    let left =
        std::fs::read_dir(data(sandbox)).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.ends_with(".tok-tmp")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_full_disk_is_found_out_before_anything_is_sent() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let Some(disk) = SmallDisk::over(&data(&sandbox)) else { skip!("only root can mount a small file system") };
    disk.fill();
    let out = sandbox.run("get apiax --fresh").says("the disk is full").never_says("os error");
    nothing_is_spent(&apiax, &sandbox, out);
    disk.empty();
    sandbox.run("get apiax --fresh").silent().line();
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn a_home_on_a_disk_that_fills_up_meanwhile_still_answers() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let Some(disk) = SmallDisk::over(&sandbox.home()) else { skip!("only root can mount a small file system") };
    let out = spoiled_meanwhile(&apiax, &sandbox, || disk.fill());
    out.prints(&format!("at-{CANARY}-2\n")).silent();
    assert!(sandbox.secrets()["apiax"]["refresh_token"] == format!("rt-{CANARY}-2"));
    disk.empty();
    sandbox.assert_no_lock_is_held();
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_not_the_end_of_the_process() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let out = sandbox.tok(["-q", "get", "apiax", "--fresh"]).after("ulimit -f 0").run().says("ulimit -f");
    nothing_is_spent(&apiax, &sandbox, out);
    sandbox.run("get apiax --fresh").silent().line();
}

#[test]
fn too_few_descriptors_are_found_out_before_anything_is_sent() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let mut ends = std::collections::BTreeSet::new();
    for limit in 4..=30 {
        let (before, kept) = (apiax.server.count(), sandbox.secrets());
        let out = sandbox.tok(["get", "apiax", "--fresh"]).after(&format!("ulimit -n {limit}")).run();
        let sent = apiax.server.count() - before;
        let token = sandbox.secrets()["apiax"]["refresh_token"].clone();
        match out.code {
            0 => assert!(sent == 1 && token == format!("rt-{CANARY}-{}", apiax.state(|s| s.issued)), "{limit}: {out}"),
            // The loader of the system's libraries needs some too.
            code => {
                assert!(sent == 0 && sandbox.secrets() == kept && out.stdout.is_empty(), "{limit}: {out}");
                assert!([1, 3, 6, 7, 127].contains(&code), "{limit}: {out}");
            }
        }
        assert!(!out.stderr.contains("could not be kept"), "{limit}: {out}");
        ends.insert(out.code);
    }
    assert!(ends.contains(&0) && ends.contains(&7), "{ends:?}");
}

/// The numbers of a file that stay where it is written in place.
fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
}

/// The copies that stand beside the journal.
fn copies(sandbox: &Sandbox) -> usize {
    std::fs::read_dir(sandbox.state_dir().join("journal")).map_or(0, |entries| entries.count())
}

#[test]
fn a_secrets_file_that_is_mounted_alone_is_written_in_place() {
    if !can_mount() {
        skip!("mounts of one's own cannot be made here");
    }
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let (file, folder) = (sandbox.secrets_file(), data(&sandbox));
    let aside = sandbox.file("secrets.json", std::fs::read(&file).unwrap());
    let first = inode(&aside);
    let (f, d, a) = (path(&file), path(&folder), path(&aside));
    let alone = format!("mount --bind {a} {f}");
    let read_only = format!("mount --bind {d} {d} && mount -o remount,bind,ro {d} && mount --bind {a} {f}");
    let itself = format!("mount --bind {f} {f}");
    for (n, mounts) in [&alone, &read_only, &alone].into_iter().enumerate() {
        let args = ["get", "apiax", "--fresh"];
        in_mounts(sandbox.tok(args), mounts).run().silent().line();
        let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&aside).unwrap()).unwrap();
        assert_eq!(kept["apiax"]["refresh_token"], format!("rt-{CANARY}-{}", n + 2), "{mounts}");
        assert_eq!((inode(&aside), copies(&sandbox)), (first, 0), "{mounts}");
    }
    // The same file system on both sides, as a person's own bind mount is.
    std::fs::copy(&aside, &file).unwrap();
    let first = inode(&file);
    in_mounts(sandbox.tok(["get", "apiax", "--fresh"]), &itself).run().silent().line();
    assert_eq!((inode(&file), copies(&sandbox)), (first, 0));
    assert!(sandbox.secrets()["apiax"]["refresh_token"] == format!("rt-{CANARY}-5"));
    // One that is read-only itself, and one whose copy has no place.
    let before = apiax.server.count();
    let read_only = format!("mount --bind {f} {f} && mount -o remount,bind,ro {f}");
    in_mounts(sandbox.tok(["get", "apiax", "--fresh"]), &read_only).run().fails(7).hints();
    let journal = sandbox.state_dir().join("journal");
    std::fs::remove_dir(&journal).unwrap();
    std::fs::write(&journal, "").unwrap();
    in_mounts(sandbox.tok(["get", "apiax", "--fresh"]), &itself).run().fails(7).hints();
    assert_eq!(apiax.server.count(), before, "nothing was sent");
    std::fs::remove_file(&journal).unwrap();
    in_mounts(sandbox.tok(["logout", "apiax"]), &itself).run().ok();
    assert_eq!(sandbox.files_with("rt-"), Vec::<PathBuf>::new());
}

#[test]
fn a_config_that_is_mounted_alone_is_written_in_place() {
    if !can_mount() {
        skip!("mounts of one's own cannot be made here");
    }
    let apiax = Apiax::start();
    let sandbox = apiax.sandbox();
    let text = format!("# mine\n[profile.apiax]\nprovider = \"apiax\"\nusername = \"{}\"\n", "x".repeat(200));
    sandbox.config(&text);
    let file = sandbox.config_file();
    let first = inode(&file);
    let secret = sandbox.file_arg("password", apiax::password());
    let args = ["login", "apiax", "password", "--username", apiax::USERNAME, "--password-file", &secret];
    let read_only = format!("mount --bind {0} {0} && mount -o remount,bind,ro {0}", path(&file));
    in_mounts(sandbox.tok(args), &read_only).run().fails(1).says("config.toml cannot be written").hints();
    assert_eq!(apiax.server.count(), 0, "nothing was sent");
    in_mounts(sandbox.tok(args), &format!("mount --bind {0} {0}", path(&file))).run().prints("");
    let new = std::fs::read_to_string(&file).unwrap();
    assert!(
        new.starts_with("# mine\n[profile.apiax]\n") && new.contains(apiax::USERNAME) && !new.contains("xxx"),
        "{new}"
    );
    assert_eq!(inode(&file), first);
}

#[test]
fn killed_at_any_system_call_a_file_that_is_written_in_place_is_the_old_one_or_the_new() {
    if !can_mount() {
        skip!("mounts of one's own cannot be made here");
    }
    needs!("strace");
    let apiax = Apiax::start();
    apiax.state(|s| s.rotation = apiax::Rotation::Overlap);
    let sandbox = apiax.logged_in();
    let mounts = format!("mount --bind {0} {0}", path(&sandbox.secrets_file()));
    for call in ["openat", "write", "ftruncate", "fsync", "renameat,renameat2", "unlinkat", "fallocate"] {
        for at in 1.. {
            let strace = format!(
                "{mounts} && set -- -qq -o /dev/null -e inject={call}:signal=KILL:when={at} -e trace={call} \"$0\" \"$@\" && set -- \"$@\" && exec strace \"$@\""
            );
            let out = in_mounts(sandbox.tok(["get", "apiax", "--fresh"]), &strace).run();
            // Whatever it left, the next call takes it, and it is a token that the server knows.
            in_mounts(sandbox.tok(["get", "apiax", "--fresh"]), &mounts).run().silent().line();
            assert_eq!(copies(&sandbox), 0, "{call} {at}: the copy is gone with the next write");
            if out.code == 0 {
                break;
            }
            assert!(at < 400, "{call}: {out}");
        }
    }
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn a_store_folder_that_becomes_read_only_meanwhile_costs_no_access_token() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let folder = data(&sandbox);
    // A mode stops nobody: root writes all the same, and the owner of the folder sets it right.
    let Some(disk) = SmallDisk::over(&folder) else { skip!("only root can mount a small file system") };
    // The room that was taken keeps the file system from becoming read-only; another one may come over it.
    let out = spoiled_meanwhile(&apiax, &sandbox, || {
        assert!(run("mount", &["-t", "tmpfs", "-o", "ro,mode=700", "none", path(&folder)]));
    });
    assert!(run("umount", &["-l", path(&folder)]));
    shown_with_a_warning(out, &format!("at-{CANARY}-2"));
    drop(disk);
}

#[test]
fn a_store_folder_that_goes_away_meanwhile_costs_no_access_token() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let folder = data(&sandbox);
    let out = spoiled_meanwhile(&apiax, &sandbox, || {
        std::fs::rename(&folder, folder.with_file_name("away")).unwrap();
        put(&folder, b"");
    });
    shown_with_a_warning(out, &format!("at-{CANARY}-2"));
}

#[test]
fn in_a_read_only_home_the_cached_token_is_shown_and_nothing_is_refreshed_without_a_lock() {
    if !is_root() {
        skip!("only root can make a home read-only");
    }
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let Some(disk) = SmallDisk::over(&sandbox.home()) else { skip!("only root can mount a small file system") };
    disk.read_only(true);
    sandbox.run("get apiax").prints(&format!("at-{CANARY}-1\n"));
    sandbox.run("get apiax --fresh").fails(1).says("cannot be used").hints();
    assert_eq!(apiax.server.connections(), 1, "nothing was sent");
    disk.read_only(false);
    sandbox.run("get apiax --fresh").silent().line();
}

#[test]
fn a_held_store_lock_is_found_out_before_anything_is_sent() {
    // Every profile writes to the one file; a process that hangs there must not cost the others their session.
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let held = std::fs::File::open(sandbox.secrets_file().with_file_name("secrets.json.lock")).unwrap();
    held.lock().unwrap();
    let out = sandbox.run("get apiax --fresh -q --timeout 10s");
    assert!(out.took < SOON, "{out}");
    nothing_is_spent(&apiax, &sandbox, out);
}

#[test]
fn a_store_lock_that_is_held_meanwhile_costs_no_access_token() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let held = std::fs::File::open(sandbox.secrets_file().with_file_name("secrets.json.lock")).unwrap();
    let gate = apiax.server.hold();
    let run = sandbox.tok(["-q", "get", "apiax", "--fresh", "--timeout", "10s"]).spawn();
    apiax.server.until(2);
    held.lock().unwrap();
    gate.open();
    shown_with_a_warning(run.wait(), &format!("at-{CANARY}-2"));
}

/// For what happens around the end of `--timeout`.
fn sleep_until(instant: Instant) {
    std::thread::sleep(instant.saturating_duration_since(Instant::now()));
}

#[test]
fn a_store_lock_that_is_free_soon_after_the_timeout_still_takes_the_new_token() {
    // The reply is there; to give up now, for time's sake, would end the session.
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let held = std::fs::File::open(sandbox.secrets_file().with_file_name("secrets.json.lock")).unwrap();
    let gate = apiax.server.hold();
    let start = Instant::now();
    let run = sandbox.tok(["get", "apiax", "--fresh", "--timeout", "8s"]).spawn();
    apiax.server.until(2);
    held.lock().unwrap();
    sleep_until(start + Duration::from_millis(7000));
    gate.open();
    sleep_until(start + Duration::from_millis(8700));
    drop(held);
    run.wait().silent().prints(&format!("at-{CANARY}-2\n"));
    assert!(sandbox.secrets()["apiax"]["refresh_token"] == format!("rt-{CANARY}-2"));
}

#[test]
fn a_keyring_that_wakes_up_soon_after_the_timeout_still_takes_the_new_token() {
    needs!(keyring);
    let (keyring, apiax, sandbox) = in_keyring();
    let gate = apiax.server.hold();
    let start = Instant::now();
    let run = sandbox.tok(["get", "apiax", "--fresh", "--timeout", "8s"]).spawn();
    apiax.server.until(2);
    keyring.freeze();
    // Not long before the time is over, so that the keyring sleeps for less than the 3 s it is given.
    sleep_until(start + Duration::from_millis(7000));
    gate.open();
    sleep_until(start + Duration::from_millis(8700));
    keyring.thaw();
    run.wait().silent().prints(&format!("at-{CANARY}-2\n"));
    assert!(keyring.lookup("tok", "apiax").expect("the entry").contains(&format!("rt-{CANARY}-2")));
}

/// A `docker-credential-faulty` that keeps one entry in a file; `on_store` is what it does instead of storing, once
/// the file `spoiled` is there.
fn faulty_helper(sandbox: &mut Sandbox, on_store: &str) -> PathBuf {
    let folder = sandbox.work();
    let spoiled = folder.join("spoiled");
    let entry = folder.join("entry");
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in\n\
         store) if [ -e '{s}' ]; then {on_store}; fi; cat > '{e}' ;;\n\
         get) if [ -e '{e}' ]; then cat '{e}'; else printf 'credentials not found in native keychain\\n'; exit 1; fi ;;\n\
         erase) rm -f '{e}' ;;\nesac\n",
        s = spoiled.display(),
        e = entry.display(),
    );
    put(&folder.join("bin/docker-credential-faulty"), script.as_bytes());
    chmod(&folder.join("bin/docker-credential-faulty"), 0o755);
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    sandbox.set("PATH", path).set("TOK_STORE", "helper:faulty");
    spoiled
}

#[test]
fn a_helper_that_refuses_or_hangs_on_store_costs_no_access_token() {
    for on_store in ["echo 'not today'; exit 1", "exit 3", "exec sleep 600", "kill -9 $$"] {
        let apiax = Apiax::start();
        let mut sandbox = apiax.sandbox();
        let spoiled = faulty_helper(&mut sandbox, on_store);
        apiax::login(&sandbox);
        sandbox.run("get apiax --fresh").silent().line();
        put(&spoiled, b"");
        let out = sandbox.run("get apiax --fresh -q");
        assert!(out.took < SOON, "{on_store}: {out}");
        shown_with_a_warning(out, &format!("at-{CANARY}-3"));
    }
}

/// A session that is kept in a real keyring.
fn in_keyring() -> (Keyring, Apiax, Sandbox) {
    let keyring = Keyring::unlocked();
    let apiax = Apiax::start();
    let mut sandbox = apiax.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    apiax::login(&sandbox);
    (keyring, apiax, sandbox)
}

#[test]
fn a_keyring_locked_stuck_or_gone_meanwhile_costs_no_access_token() {
    needs!(keyring);
    let spoil: [fn(&mut Keyring); 3] = [|k| k.lock(), |k| k.freeze(), |k| k.stop()];
    for spoil in spoil {
        let (mut keyring, apiax, sandbox) = in_keyring();
        let out = spoiled_meanwhile(&apiax, &sandbox, || spoil(&mut keyring));
        assert!(out.took < SOON, "{out}");
        shown_with_a_warning(out, &format!("at-{CANARY}-2"));
    }
}

#[test]
fn a_keyring_locked_stuck_or_absent_is_found_out_before_the_refresh_token_is_used() {
    needs!(keyring);
    let (mut keyring, apiax, sandbox) = in_keyring();
    let check = |what: &str| {
        let out = sandbox.run("get apiax --fresh").fails(7).hints();
        assert!(out.took < SOON, "{what}: {out}");
        assert_eq!(apiax.server.connections(), 1, "{what}: nothing was sent");
        // A cached token needs no keyring.
        sandbox.run("get apiax").prints(&format!("at-{CANARY}-1\n"));
    };
    keyring.freeze();
    check("stuck");
    keyring.thaw();
    keyring.lock();
    check("locked");
    keyring.stop();
    check("absent");
    let out = sandbox.tok(["get", "apiax", "--fresh"]).env_remove("DBUS_SESSION_BUS_ADDRESS").run();
    out.fails(7);
    assert_eq!(apiax.server.connections(), 1, "no bus: nothing was sent");
    keyring.unlock();
    sandbox.run("get apiax --fresh").prints(&format!("at-{CANARY}-2\n"));
}

#[test]
fn what_a_keyring_holds_goes_home_only() {
    needs!(keyring);
    let (_keyring, apiax, sandbox) = in_keyring();
    let thief = Server::issuing(600);
    let url = thief.url();
    let home = apiax.server.url();
    sandbox.tok(["get", "apiax", "--fresh", "--base-url", &url]).run().fails(4).says(&home);
    sandbox.tok(["get", "apiax", "--fresh"]).env("TOK_APIAX_BASE_URL", &url).run().fails(4).says(&home);
    let file = sandbox.file_arg("url", &url);
    sandbox
        .tok(["get", "apiax", "--fresh"])
        .env_remove("TOK_APIAX_BASE_URL")
        .env("TOK_APIAX_BASE_URL_FILE", &file)
        .run()
        .fails(4)
        .says(&home);
    sandbox.config(&format!("[profile.apiax]\nprovider = \"apiax\"\nbase_url = \"{url}\"\n"));
    sandbox.tok(["get", "apiax", "--fresh"]).env_remove("TOK_APIAX_BASE_URL").run().fails(4).says(&home);
    sandbox.config("");
    // A user's provider file of the built-in one's name.
    sandbox.provider("apiax", &plain_provider(&url, ""));
    sandbox.tok(["get", "apiax", "--fresh"]).env_remove("TOK_APIAX_BASE_URL").run().fails(4);
    std::fs::remove_dir_all(sandbox.config_dir().join("providers")).unwrap();
    assert_eq!(thief.connections(), 0, "nothing was sent there");
    assert_eq!(apiax.server.count(), 1);
    sandbox.run("get apiax --fresh").silent().line();
}

/// A sandbox logged in at `plain` with a refresh token and no kept secret.
fn logged_in(server: &Server) -> Sandbox {
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    sandbox
}

/// A good reply with tokens of the number `n`.
fn both(n: usize) -> Reply {
    let tokens = json!({
        "access_token": format!("at-{CANARY}-{n}"),
        "refresh_token": format!("rt-{CANARY}-{n}"),
        "expires_in": 600,
    });
    Reply::json(200, tokens)
}

/// A server that refuses the refresh tokens of the numbers below `good`, and a sandbox whose store holds number 1.
/// With each refusal another program puts the next number into the store.
fn overtaken(good: usize, at_most: usize) -> (Server, Sandbox) {
    let file: Arc<Mutex<Option<PathBuf>>> = Arc::default();
    let its_file = file.clone();
    let server = Server::new(move |request| {
        let token = request.field("refresh_token");
        let Some(n) = token.rsplit('-').next().and_then(|n| n.parse::<usize>().ok()) else { return both(1) };
        if n >= good {
            return both(n + 10);
        }
        let path = lock(&its_file).clone().expect("the store's file");
        if n < at_most {
            let text = std::fs::read_to_string(&path).unwrap();
            put(&path, text.replace(&token, &format!("rt-{CANARY}-{}", n + 1)).as_bytes());
        }
        Reply::json(400, json!({"error": "invalid_grant"}))
    });
    let sandbox = logged_in(&server);
    *lock(&file) = Some(sandbox.secrets_file());
    (server, sandbox)
}

/// The refresh tokens that a server was sent, by their numbers.
fn sent(server: &Server) -> Vec<String> {
    let tokens = server.requests().into_iter().map(|r| r.field("refresh_token"));
    tokens.filter_map(|token| token.rsplit('-').next().filter(|n| !n.is_empty()).map(str::to_string)).collect()
}

#[test]
fn on_invalid_grant_the_store_is_read_once_more_and_a_newer_token_is_used() {
    let (server, sandbox) = overtaken(2, 9);
    sandbox.run("get plain --fresh").silent().prints(&format!("at-{CANARY}-12\n"));
    assert_eq!(sent(&server), ["1", "2"]);
    assert!(sandbox.secrets()["plain"]["refresh_token"] == format!("rt-{CANARY}-12"));
}

#[test]
fn a_dead_token_whose_successor_is_dead_too_is_forgotten_and_nothing_newer_is() {
    // The second one is dead as well, and nobody has put a third there.
    let (server, sandbox) = overtaken(9, 2);
    sandbox.run("get plain --fresh").fails(4).hints_at("tok login plain");
    assert_eq!(sent(&server), ["1", "2"]);
    assert!(sandbox.files_with(&format!("rt-{CANARY}")).is_empty());
    // Here somebody has: it was not asked for, so nobody knows that it is dead.
    let (server, sandbox) = overtaken(3, 9);
    sandbox.run("get plain --fresh").fails(4);
    assert_eq!(sent(&server), ["1", "2"], "once more, not for ever");
    assert!(sandbox.secrets()["plain"]["refresh_token"] == format!("rt-{CANARY}-3"), "the newest stays");
    sandbox.run("get plain --fresh").silent().prints(&format!("at-{CANARY}-13\n"));
}

#[test]
fn a_store_that_cannot_be_read_again_after_invalid_grant_forgets_nothing() {
    needs!(keyring);
    let (keyring, apiax, sandbox) = in_keyring();
    apiax.state(|s| s.alive.clear());
    let gate = apiax.server.hold();
    let run = sandbox.tok(["get", "apiax", "--fresh"]).spawn();
    apiax.server.until(2);
    keyring.freeze();
    gate.open();
    run.wait().fails(7);
    keyring.thaw();
    assert!(keyring.lookup("tok", "apiax").expect("the entry").contains(&format!("rt-{CANARY}-1")));
}

#[test]
fn an_odd_but_good_reply_keeps_the_session_and_its_new_refresh_token() {
    let server = Server::script([both(1)]);
    let sandbox = logged_in(&server);
    let odd = [
        json!({}),
        json!({"token_type": "bearer", "expires_in": 600}),
        json!({"token_type": "N_A", "expires_in": 600}),
        json!({"token_type": "DPoP"}),
        json!({"token_type": null, "expires_in": null}),
        json!({"token_type": "x".repeat(300)}),
        json!({"expires_in": "soon"}),
        json!({"expires_in": -5}),
        json!({"expires_in": "3600"}),
        json!({"expires_in": 1e300}),
        json!({"scope": ["a", "b"], "expires_in": 60.5}),
    ];
    for (at, more) in odd.into_iter().enumerate() {
        let n = at + 2;
        let mut reply =
            json!({"access_token": format!("at-{CANARY}-{n}"), "refresh_token": format!("rt-{CANARY}-{n}")});
        reply.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.next(Reply::json(200, reply));
        let out = sandbox.run("get plain --fresh");
        assert_eq!((out.code, out.stdout), (0, format!("at-{CANARY}-{n}\n")), "{more} {}", out.stderr);
        assert!(sandbox.secrets()["plain"]["refresh_token"] == format!("rt-{CANARY}-{n}"), "{more}");
        assert_eq!(server.last().field("refresh_token"), format!("rt-{CANARY}-{}", n - 1), "{more}");
    }
}

#[test]
fn no_failure_but_death_clears_a_session_in_the_keyring() {
    needs!(keyring);
    let (keyring, apiax, sandbox) = in_keyring();
    let before = keyring.lookup("tok", "apiax");
    let not_death = [
        (Reply::nothing(), 6),
        (Reply::html(403), 5),
        (Reply::html(200), 8),
        (Reply::text(200, "\u{1}\u{2}garbage"), 8),
        (Reply::text(200, "{\"token_type\":\"bearer\"}"), 8),
        (Reply::text(400, "{\"error\":\"invalid_scope\"}"), 5),
        (Reply::text(400, "{\"error\":\"unauthorized_client\"}"), 5),
        (Reply::text(401, "{\"error\":\"invalid_token\"}"), 5),
        (Reply::text(400, "{\"error\":\"INVALID_GRANT \"}"), 5),
        (Reply::text(503, "{\"error\":\"invalid_grant\"}").header("Retry-After", "999"), 6),
        (Reply::text(200, "{\"access_token\":\"with space\"}"), 8),
        (Reply::token(&format!("at-{CANARY}"), 600).length(5000), 6),
    ];
    for (reply, code) in not_death {
        let shown = format!("{reply:?}");
        apiax.server.next(reply);
        let out = sandbox.run("get apiax --fresh --timeout 100s");
        let fits = out.code == code || (code == 6 && out.code == 8);
        assert!(fits && out.stdout.is_empty(), "{shown} {out}");
        assert!(keyring.lookup("tok", "apiax") == before, "{shown}");
    }
    sandbox.run("get apiax").prints(&format!("at-{CANARY}-1\n"));
    sandbox.run("get apiax --fresh").silent().line();
}
