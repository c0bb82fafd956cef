//! The stores against the real thing: files with all that can be planted in their way, locks across processes, a
//! Secret Service on a bus of its own in each of its states, a helper program.
//!
//! What must run as a process of its own (under a bus, under a umask, to be killed) is an ignored test of this
//! binary, named `child_…`, that runs itself again.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![cfg(unix)]
// The lines that a child prints are for its parent.
#![allow(clippy::unwrap_used)]

#[path = "cli/support/child.rs"]
mod child;
#[path = "cli/support/skip.rs"]
mod skip;

use child::{Program, SOON, Start};
use skip::{is_root, needs, skip_part};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tok::testing::base::secret::Secret;
use tok::testing::storage::lock::{Lock, LockError};
use tok::testing::storage::secrets::file::FileStore;
use tok::testing::storage::secrets::{Store, StoreError, StoreErrorKind};
use tok::testing::system::files::{self, Durable, ReadError, Unsafe};

/// For what is to time out.
fn soon(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

/// For what is not.
fn patient() -> Instant {
    Instant::now() + child::LIMIT
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).finish().unwrap().status.success());
}

/// The folder that a child works in; `None` where the test runs by itself.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os("STORES_TEST_FOLDER").map(PathBuf::from)
}

/// This binary, to run the ignored test `name`.
fn child_args(name: &str) -> Vec<std::ffi::OsString> {
    let me = std::env::current_exe().unwrap();
    let mut args = vec![me.into_os_string()];
    args.extend(["--ignored", "--exact", "--nocapture", "--test-threads=1", name].map(Into::into));
    args
}

fn child(name: &str, folder: &Path) -> Command {
    let args = child_args(name);
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]).env("STORES_TEST_FOLDER", folder);
    command
}

fn check(output: std::process::Output) {
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

// Files

#[test]
fn folders_are_made_private_and_those_above_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let lax = root.path().join("local");
    fs::create_dir(&lax).unwrap();
    chmod(&lax, 0o777);
    let own = lax.join("state/tok");
    files::private_dir(&own).unwrap();
    assert_eq!(mode(&lax), 0o777);
    assert_eq!((mode(&lax.join("state")), mode(&own)), (0o700, 0o700));
    chmod(&own, 0o755);
    files::private_dir(&own).unwrap();
    assert_eq!(mode(&own), 0o700);
}

fn reason(error: &std::io::Error) -> Unsafe {
    *error.get_ref().unwrap().downcast_ref().unwrap()
}

#[test]
fn a_folder_that_is_not_ours_alone_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink(at("real"), at("link")).unwrap();
    fs::write(at("file"), "").unwrap();
    for (bits, name) in [(0o770, "group"), (0o707, "world"), (0o720, "write")] {
        fs::create_dir(at(name)).unwrap();
        chmod(&at(name), bits);
        let error = files::private_dir(&at(name)).unwrap_err();
        assert_eq!(reason(&error), Unsafe::Mode(bits));
        assert_eq!(mode(&at(name)), bits);
    }
    assert_eq!(reason(&files::private_dir(&at("link")).unwrap_err()), Unsafe::Link);
    assert_eq!(reason(&files::private_dir(&at("file")).unwrap_err()), Unsafe::NotAFolder);
    // Another's folder: nobody's where we may give one away, else the root's.
    let foreign = if is_root() {
        std::os::unix::fs::chown(at("real"), Some(65534), None).unwrap();
        at("real")
    } else {
        PathBuf::from("/etc")
    };
    assert_eq!(reason(&files::private_dir(&foreign).unwrap_err()), Unsafe::Owner);
}

fn refused(path: &Path) -> Unsafe {
    match files::read_private(path, 100) {
        Err(ReadError::Unsafe(reason)) => reason,
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn a_file_that_is_not_ours_alone_is_not_read() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    files::write_private(&at("own"), b"x", Durable::No).unwrap();
    symlink(at("own"), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    mkfifo(&at("pipe"));
    fs::create_dir(at("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    assert_eq!(refused(&at("link")), Unsafe::Link);
    assert_eq!(refused(&at("dangling")), Unsafe::Link);
    assert_eq!(refused(&at("pipe")), Unsafe::NotAFile);
    assert_eq!(refused(&at("folder")), Unsafe::NotAFile);
    assert_eq!(refused(&at("socket")), Unsafe::NotAFile);
    for bits in [0o640, 0o604, 0o620, 0o601] {
        chmod(&at("own"), bits);
        assert_eq!(refused(&at("own")), Unsafe::Mode(bits));
    }
    chmod(&at("own"), 0o600);
    fs::hard_link(at("own"), at("second")).unwrap();
    assert_eq!(refused(&at("own")), Unsafe::Names);
    fs::remove_file(at("second")).unwrap();
    assert_eq!(files::read_private(&at("own"), 100).unwrap().unwrap(), b"x");
    let foreign = if is_root() {
        std::os::unix::fs::chown(at("own"), Some(65534), None).unwrap();
        at("own")
    } else {
        PathBuf::from("/etc/passwd")
    };
    assert_eq!(refused(&foreign), Unsafe::Owner);
    assert!(files::read_private(&at("absent/file"), 100).unwrap().is_none());
}

#[test]
fn what_is_planted_at_the_target_is_replaced_and_not_written_through() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::write(at("victim"), "victim").unwrap();
    symlink(at("victim"), at("link")).unwrap();
    fs::hard_link(at("victim"), at("second")).unwrap();
    mkfifo(&at("pipe"));
    fs::write(at("lax"), "lax").unwrap();
    chmod(&at("lax"), 0o666);
    for name in ["link", "second", "pipe", "lax"] {
        files::write_private(&at(name), b"secret", Durable::Yes).unwrap();
        assert_eq!(files::read_private(&at(name), 100).unwrap().unwrap(), b"secret", "{name}");
        assert_eq!(mode(&at(name)), 0o600, "{name}");
    }
    assert_eq!(fs::read_to_string(at("victim")).unwrap(), "victim");
    fs::create_dir(at("folder")).unwrap();
    files::write_private(&at("folder"), b"secret", Durable::Yes).unwrap_err();
    assert!(at("folder").is_dir());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 6, "a temporary file is left");
}

#[test]
fn a_write_that_fails_leaves_the_old_file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("sub/f");
    files::write_private(&path, b"x", Durable::Yes).unwrap_err();
    assert!(!root.path().join("sub").exists());
}

#[test]
fn what_killed_processes_left_is_cleared_an_hour_later() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let (old, young) = (".f.0123456789abcdef.tok-tmp", ".f.fedcba9876543210.tok-tmp");
    for name in [old, young, "other", ".g.tok-tmp"] {
        fs::write(at(name), "x").unwrap();
    }
    let then = std::time::SystemTime::now() - Duration::from_secs(3700);
    for name in [old, "other", ".g.tok-tmp"] {
        fs::File::options().write(true).open(at(name)).unwrap().set_modified(then).unwrap();
    }
    files::write_private(&at("f"), b"x", Durable::No).unwrap();
    assert!(!at(old).exists());
    for name in [young, "other", ".g.tok-tmp", "f"] {
        assert!(at(name).exists(), "{name}");
    }
}

#[test]
fn the_umask_does_not_matter() {
    for umask in ["000", "022", "077", "277", "777"] {
        let root = tempfile::tempdir().unwrap();
        let args = child_args("child_umask");
        let script = format!("umask {umask}; exec \"$@\"");
        let output = Command::new("sh")
            .args(["-c", script.as_str(), "sh"])
            .args(args)
            .env("STORES_TEST_FOLDER", root.path())
            .finish()
            .unwrap();
        check(output);
    }
}

#[test]
#[ignore = "a child of the_umask_does_not_matter"]
fn child_umask() {
    let Some(root) = child_folder() else { return };
    let secrets = root.join("data/secrets.json");
    FileStore::new(secrets.clone(), &root.join("state/tok/journal"), soon(2000)).set("p", &Secret::new("{}")).unwrap();
    assert_eq!(mode(&secrets), 0o600);
    assert_eq!(mode(&root.join("data/secrets.json.lock")), 0o600);
    assert_eq!(mode(&root.join("data")), 0o700);
}

#[test]
fn a_file_that_a_user_names_may_be_anything() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let read = |path: &Path, limit| files::read_user_file(path, limit, patient());
    fs::write(at("f"), "secret").unwrap();
    chmod(&at("f"), 0o666);
    if is_root() {
        std::os::unix::fs::chown(at("f"), Some(65534), None).unwrap();
    }
    symlink(at("f"), at("link")).unwrap();
    fs::hard_link(at("f"), at("second")).unwrap();
    for name in ["f", "link", "second"] {
        assert_eq!(read(&at(name), 6).unwrap(), b"secret");
    }
    let error = read(&at("f"), 5).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    assert_eq!(read(Path::new("/dev/null"), 5).unwrap(), b"");
    assert_eq!(read(Path::new("/dev/zero"), 5).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
    let error = read(&at("s3cret"), 5).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(!error.to_string().contains("s3cret"));
    assert!(read(root.path(), 5).is_err());

    let mut echo = Command::new("echo").args(["-n", "piped"]).stdout(Stdio::piped()).start().unwrap();
    let pipe = echo.stdout.take().unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&pipe);
    assert_eq!(read(Path::new(&format!("/dev/fd/{number}")), 100).unwrap(), b"piped");
    echo.wait();
}

#[test]
fn a_pipe_without_a_writer_is_waited_for_no_longer_than_allowed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pipe");
    mkfifo(&path);
    let begun = Instant::now();
    let error = files::read_user_file(&path, 100, soon(300)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < SOON);

    let late = root.path().join("late");
    mkfifo(&late);
    let writer = {
        let late = late.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            fs::write(late, "slow").unwrap();
        })
    };
    assert_eq!(files::read_user_file(&late, 100, patient()).unwrap(), b"slow");
    writer.join().unwrap();
}

// Locks

fn first_line(child: &mut Program) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, rest)) = line.split_once("HELD ") {
            return rest.to_owned();
        }
    }
}

#[test]
fn a_killed_holder_frees_the_lock_and_a_living_one_is_named() {
    let root = tempfile::tempdir().unwrap();
    let mut holder = child("child_holder", root.path()).stdout(Stdio::piped()).start().unwrap();
    let pid: u32 = first_line(&mut holder).parse().unwrap();
    assert_eq!(pid, holder.id());
    let mut told = Vec::new();
    let error = Lock::take(root.path(), 0, "p", soon(3000), &mut |pid| told.push(pid)).unwrap_err();
    assert!(error.to_string().contains(&pid.to_string()), "{error}");
    assert!(matches!(error, LockError::TimedOut { holder } if holder == Some(pid)));
    assert_eq!(told, [Some(pid)]);
    let (waits, waiting) = std::sync::mpsc::channel();
    let waiter = {
        let folder = root.path().to_owned();
        std::thread::spawn(move || {
            Lock::take(&folder, 0, "p", patient(), &mut |_| waits.send(()).unwrap()).unwrap();
        })
    };
    waiting.recv().unwrap();
    holder.kill(); // SIGKILL
    waiter.join().unwrap();
    assert!(root.path().join("p.lock").exists());
}

#[test]
#[ignore = "a child of a_killed_holder_frees_the_lock_and_a_living_one_is_named"]
fn child_holder() {
    let Some(folder) = child_folder() else { return };
    let _lock = Lock::take(&folder, 0, "p", patient(), &mut |_| {}).unwrap();
    println!("HELD {}", std::process::id());
    std::thread::sleep(child::LIMIT);
}

#[test]
fn one_process_at_a_time_holds_a_lock() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("count"), "0").unwrap();
    let children: Vec<Program> =
        (0..10).map(|_| child("child_counter", root.path()).stdout(Stdio::null()).start().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().success());
    }
    assert_eq!(fs::read_to_string(root.path().join("count")).unwrap(), "50");
}

#[test]
#[ignore = "a child of one_process_at_a_time_holds_a_lock"]
fn child_counter() {
    let Some(folder) = child_folder() else { return };
    for _ in 0..5 {
        let _lock = Lock::take(&folder.join("locks"), 0, "p", patient(), &mut |_| {}).unwrap();
        let count: u32 = fs::read_to_string(folder.join("count")).unwrap().parse().unwrap();
        std::thread::sleep(Duration::from_millis(3));
        fs::write(folder.join("count"), (count + 1).to_string()).unwrap();
    }
}

#[test]
fn a_planted_lock_is_an_error_and_its_target_is_untouched() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::write(at("victim"), "victim").unwrap();
    symlink(at("victim"), at("link.lock")).unwrap();
    symlink(at("nowhere"), at("dangling.lock")).unwrap();
    fs::hard_link(at("victim"), at("second.lock")).unwrap();
    mkfifo(&at("pipe.lock"));
    fs::create_dir(at("folder.lock")).unwrap();
    for name in ["link", "dangling", "second", "pipe", "folder"] {
        let error = Lock::take(root.path(), 0, name, patient(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, LockError::Failed(..)), "{name}: {error}");
    }
    assert_eq!(fs::read_to_string(at("victim")).unwrap(), "victim");
    assert!(!at("nowhere").exists());
    if !is_root() {
        skip_part!("only root can give a file away: a lock file of another user");
    } else {
        fs::write(at("foreign.lock"), "").unwrap();
        std::os::unix::fs::chown(at("foreign.lock"), Some(65534), None).unwrap();
        Lock::take(root.path(), 0, "foreign", patient(), &mut |_| {}).unwrap_err();
    }
    let lax = root.path().join("lax");
    fs::create_dir(&lax).unwrap();
    chmod(&lax, 0o777);
    Lock::take(&lax, 0, "p", patient(), &mut |_| {}).unwrap_err();
}

#[test]
fn a_lock_file_that_was_removed_is_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let lock = Lock::take(root.path(), 0, "p", patient(), &mut |_| {}).unwrap();
    let path = root.path().join("p.lock");
    let (waits, waiting) = std::sync::mpsc::channel();
    let waiter = {
        let folder = root.path().to_owned();
        std::thread::spawn(move || Lock::take(&folder, 0, "p", patient(), &mut |_| waits.send(()).unwrap()).unwrap())
    };
    waiting.recv().unwrap();
    fs::remove_file(&path).unwrap();
    drop(lock);
    let _second = waiter.join().unwrap();
    assert!(path.exists());
    Lock::take(root.path(), 0, "p", soon(50), &mut |_| {}).unwrap_err();
}

// The file store

fn file_store(root: &Path) -> FileStore {
    FileStore::new(root.join("data/tok/secrets.json"), &root.join("state/tok/journal"), soon(60_000))
}

#[test]
fn fifty_at_once_lose_nothing() {
    let root = tempfile::tempdir().unwrap();
    let processes: Vec<Program> = (0..25)
        .map(|i| {
            child("child_set", root.path())
                .env("STORES_TEST_PROFILE", format!("process-{i}"))
                .stdout(Stdio::null())
                .start()
                .unwrap()
        })
        .collect();
    let threads: Vec<_> = (0..25)
        .map(|i| {
            let root = root.path().to_owned();
            std::thread::spawn(move || {
                let entry = Secret::new(format!(r#"{{"n":{i}}}"#));
                file_store(&root).set(&format!("thread-{i}"), &entry).unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for mut process in processes {
        assert!(process.wait().success());
    }
    let mut store = file_store(root.path());
    for i in 0..25 {
        for kind in ["process", "thread"] {
            assert!(store.get(&format!("{kind}-{i}")).unwrap().is_some(), "{kind}-{i}");
        }
    }
    let left = fs::read_dir(root.path().join("data/tok")).unwrap().count();
    assert_eq!(left, 2, "besides the file and its lock a temporary file is left");
}

#[test]
#[ignore = "a child of fifty_at_once_lose_nothing"]
fn child_set() {
    let Some(root) = child_folder() else { return };
    let profile = std::env::var("STORES_TEST_PROFILE").unwrap();
    file_store(&root).set(&profile, &Secret::new("{}")).unwrap();
}

fn troubles(store: &mut dyn Store) -> Vec<StoreError> {
    vec![
        store.get("p").unwrap_err(),
        store.set("p", &Secret::new(r#"{"refresh_token":"s3cret"}"#)).unwrap_err(),
        store.forget("p").unwrap_err(),
    ]
}

#[test]
fn secrets_that_are_not_ours_alone_are_refused_and_stay_as_they_are() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 6] = [
        ("mode 0644", |path| chmod(path, 0o644)),
        ("symbolic link", |path| {
            let other = path.with_extension("other");
            fs::rename(path, &other).unwrap();
            symlink(other, path).unwrap();
        }),
        ("hard link", |path| fs::hard_link(path, path.with_extension("other")).unwrap()),
        ("not a regular file", |path| {
            fs::remove_file(path).unwrap();
            mkfifo(path);
        }),
        ("not a regular file", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("another user", |path| {
            if is_root() {
                std::os::unix::fs::chown(path, Some(65534), None).unwrap();
            } else {
                fs::remove_file(path).unwrap();
                symlink("/etc/passwd", path).unwrap();
            }
        }),
    ];
    for (words, plant) in plants {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data/tok/secrets.json");
        file_store(root.path()).set("p", &Secret::new("{}")).unwrap();
        plant(&path);
        let before = fs::symlink_metadata(&path).unwrap().ino();
        for error in troubles(&mut file_store(root.path())) {
            assert_eq!(error.trouble, StoreErrorKind::Refused, "{words}: {}", error.why);
            let told = error.why.contains(words) || (!is_root() && error.why.contains("symbolic"));
            assert!(told && error.why.contains("secrets.json"), "{words}: {}", error.why);
        }
        assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before, "{words}");
    }
}

#[test]
fn a_file_store_whose_lock_is_held_times_out_and_names_the_holder() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("data/tok");
    let _lock = Lock::take(&folder, 0, "secrets.json", soon(1000), &mut |_| {}).unwrap();
    let mut store = FileStore::new(folder.join("secrets.json"), &root.path().join("tok/journal"), soon(200));
    let error = store.set("p", &Secret::new("{}")).unwrap_err();
    assert_eq!(error.trouble, StoreErrorKind::TimedOut);
    assert!(error.why.contains(&std::process::id().to_string()), "{}", error.why);
    assert_eq!(store.get("p").unwrap(), None);
}

// The keyring

#[cfg(not(target_os = "macos"))]
mod keyring {
    use super::*;
    use tok::testing::storage::secrets::keyring::KeyringStore;

    const BUS_WITHOUT_SERVICES: &str = r#"<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#;
    /// Makes the login keyring on first use, and opens it.
    const UNLOCK: &str = "printf test-password | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1";
    /// Without a display the prompter fails at once: the keyring stays closed.
    const LOCKED: &str = "gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1";
    /// The process that serves secrets on this bus.
    const SERVER: &str = "server() { dbus-send --session --print-reply=literal --dest=org.freedesktop.DBus \
         /org/freedesktop/DBus org.freedesktop.DBus.GetConnectionUnixProcessID string:org.freedesktop.secrets \
         | sed 's/.*uint32 //'; }";

    /// Waits until there is one, at most some minutes.
    const SERVING: &str =
        "i=0; while [ -z \"$(server 2>/dev/null)\" ] && [ $i -lt 1000 ]; do sleep 0.1; i=$((i+1)); done";

    /// A shell with a home of its own and nothing of the session that runs the tests.
    fn shell(folder: &Path, bus: Option<&str>, script: &str, child: &str) -> Command {
        let run = folder.join("run");
        fs::create_dir_all(&run).unwrap();
        chmod(&run, 0o700);
        let mut command = match bus {
            Some(options) => {
                let mut command = Command::new("dbus-run-session");
                command.args(options.split_whitespace()).args(["--", "sh"]);
                command
            }
            None => Command::new("sh"),
        };
        command.args(["-c", script, "sh"]).args(child_args(child));
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "GNOME_KEYRING_CONTROL", "DBUS_SESSION_BUS_ADDRESS"] {
            command.env_remove(name);
        }
        command
            .env("HOME", folder)
            .env("XDG_RUNTIME_DIR", run)
            .env("XDG_DATA_HOME", folder.join("data"))
            .env("STORES_TEST_FOLDER", folder);
        command
    }

    /// Runs it to its end. A daemon that the bus has started goes into a session of its own, and may live on and hold
    /// the pipes open: so what it says goes to a file, and it ends with the test.
    fn run(mut command: Command) {
        let folder: PathBuf = command.get_envs().find(|(name, _)| *name == "HOME").unwrap().1.unwrap().into();
        let said = folder.join("said");
        let file = fs::File::create(&said).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut program = command.start().unwrap();
        let status = program.wait_until(Instant::now() + child::LIMIT);
        program.kill();
        end_strays(&folder);
        let text = String::from_utf8_lossy(&fs::read(said).unwrap()).into_owned();
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{text}");
    }

    /// Kills every process that was started for the test of this folder, wherever it has gone.
    fn end_strays(folder: &Path) {
        let mark = format!("STORES_TEST_FOLDER={}", folder.display());
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid =
                entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(rustix::process::Pid::from_raw);
            let Some(pid) = pid else { continue };
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    fn in_unlocked(folder: &Path, child: &str) {
        run(shell(folder, Some(""), &format!("{UNLOCK}; exec \"$@\""), child));
    }

    fn store() -> KeyringStore {
        KeyringStore::new(child::LIMIT)
    }

    /// Each call of a new store fails with `trouble`, soon enough.
    fn all_fail(trouble: StoreErrorKind, store: fn() -> KeyringStore) {
        let calls: [fn(&mut KeyringStore) -> StoreError; 3] = [
            |store| store.get("p").unwrap_err(),
            |store| store.set("p", &Secret::new(r#"{"t":"s3cret"}"#)).unwrap_err(),
            |store| store.forget("p").unwrap_err(),
        ];
        for (i, call) in calls.iter().enumerate() {
            let begun = Instant::now();
            let error = call(&mut store());
            let took = begun.elapsed();
            println!("{i}: {:?} after {took:?}: {}", error.trouble, error.why);
            assert_eq!(error.trouble, trouble, "call {i}: {}", error.why);
            assert!(took < SOON, "call {i}: {took:?}");
            assert!(!error.why.is_empty() && !error.why.contains("s3cret"));
        }
    }

    fn secret_tool(args: &[&str]) -> (String, String) {
        let output = Command::new("secret-tool").args(args).finish().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    #[test]
    fn an_open_keyring_keeps_entries_that_other_programs_find() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        in_unlocked(folder.path(), "keyring::child_unlocked");
        // They are on the disk: another daemon finds them.
        in_unlocked(folder.path(), "keyring::child_again");
    }

    const ENTRY: &str = r#"{"refresh_token":"é𝄞\n","secrets":{}}"#;

    #[test]
    #[ignore = "a child of an_open_keyring_keeps_entries_that_other_programs_find"]
    fn child_unlocked() {
        if child_folder().is_none() {
            return;
        }
        let mut store = store();
        assert_eq!(store.get("shop-eu").unwrap(), None);
        assert!(!store.forget("shop-eu").unwrap());
        store.set("shop-eu", &Secret::new("{}")).unwrap();
        store.set("shop-eu", &Secret::new(ENTRY)).unwrap();
        assert_eq!(store.get("shop-eu").unwrap().unwrap().expose(), ENTRY);
        assert_eq!(store.get("shop").unwrap(), None);
        let (found, _) = secret_tool(&["lookup", "service", "tok", "username", "shop-eu"]);
        assert_eq!(found, ENTRY);
        let (items, attributes) = secret_tool(&["search", "--all", "service", "tok"]);
        assert_eq!(items.matches("label = tok: shop-eu\n").count(), 1, "{items}");
        let all = format!("{items}{attributes}");
        let mut attributes: Vec<&str> = all.lines().filter(|l| l.starts_with("attribute.")).collect();
        attributes.sort();
        attributes.retain(|line| !line.contains("xdg:schema"));
        assert_eq!(attributes, ["attribute.service = tok", "attribute.username = shop-eu"]);

        // An entry of a megabyte, and one that is no text.
        let long = format!(r#"{{"t":"{}"}}"#, "x".repeat(1 << 20));
        store.set("long", &Secret::new(&long)).unwrap();
        assert_eq!(store.get("long").unwrap().unwrap().expose(), long);
        assert!(store.forget("long").unwrap());
        assert_eq!(store.get("long").unwrap(), None);
        let put = r#"printf '\377' | secret-tool store --label=x service tok username bytes"#;
        assert!(Command::new("sh").args(["-c", put]).finish().unwrap().status.success());
        if let Ok(Some(entry)) = store.get("bytes") {
            panic!("{}", entry.expose());
        }

        // Two items that match: neither is taken for ours.
        let put = r#"printf other | secret-tool store --label=x service tok username shop-eu more attributes"#;
        assert!(Command::new("sh").args(["-c", put]).finish().unwrap().status.success());
        let error = store.get("shop-eu").unwrap_err();
        assert_eq!(error.trouble, StoreErrorKind::Corrupt);
        assert!(error.why.contains("2 entries"), "{}", error.why);
        secret_tool(&["clear", "more", "attributes"]);
        assert!(store.get("shop-eu").unwrap().is_some());
    }

    /// Between a read and the write after it.
    #[test]
    fn an_entry_that_others_change_meanwhile_is_found_again() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        in_unlocked(folder.path(), "keyring::child_meanwhile");
    }

    #[test]
    #[ignore = "a child of an_entry_that_others_change_meanwhile_is_found_again"]
    fn child_meanwhile() {
        if child_folder().is_none() {
            return;
        }
        let of_p = ["service", "tok", "username", "p"];
        let lookup = || secret_tool(&[&["lookup"], &of_p[..]].concat()).0;
        let clear = || drop(secret_tool(&[&["clear"], &of_p[..]].concat()));
        let put = |text: &str| {
            let put = format!("printf {text} | secret-tool store --label=x service tok username p");
            assert!(Command::new("sh").args(["-c", &put]).finish().unwrap().status.success());
        };
        let count = || {
            let (items, more) = secret_tool(&[&["search", "--all"], &of_p[..]].concat());
            format!("{items}{more}").lines().filter(|line| line.starts_with("[/")).count()
        };
        let mut store = store();
        // Put there by another.
        assert_eq!(store.get("p").unwrap(), None);
        put("theirs");
        store.set("p", &Secret::new("1")).unwrap();
        assert_eq!(store.get("p").unwrap().unwrap().expose(), "1");
        clear();
        // Removed.
        store.set("p", &Secret::new("2")).unwrap();
        assert_eq!((lookup().as_str(), count()), ("2", 1));
        // Removed and put there anew, under another path.
        clear();
        put("theirs");
        put("theirs");
        store.set("p", &Secret::new("3")).unwrap();
        assert_eq!((lookup().as_str(), count()), ("3", 1));
        clear();
        assert!(!store.forget("p").unwrap());
        // Locked.
        store.set("p", &Secret::new("4")).unwrap();
        let lock = Command::new("dbus-send")
            .args(["--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets"])
            .arg("org.freedesktop.Secret.Service.Lock")
            .arg("array:objpath:/org/freedesktop/secrets/collection/login")
            .finish();
        assert!(lock.unwrap().status.success());
        assert_eq!(store.set("p", &Secret::new("5")).unwrap_err().trouble, StoreErrorKind::Locked);
        assert_eq!(store.get("p").unwrap_err().trouble, StoreErrorKind::Locked);
        assert_eq!(store.ready().unwrap_err().trouble, StoreErrorKind::Locked);
        assert_eq!(store.forget("p").unwrap_err().trouble, StoreErrorKind::Locked);
    }

    #[test]
    #[ignore = "a child of an_open_keyring_keeps_entries_that_other_programs_find"]
    fn child_again() {
        if child_folder().is_none() {
            return;
        }
        let mut store = store();
        assert_eq!(store.get("shop-eu").unwrap().unwrap().expose(), ENTRY);
        assert!(store.forget("shop-eu").unwrap());
        assert_eq!(secret_tool(&["lookup", "service", "tok", "username", "shop-eu"]).0, "");
    }

    #[test]
    fn a_closed_keyring_is_told_as_locked() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        in_unlocked(folder.path(), "keyring::child_fill");
        run(shell(folder.path(), Some(""), &format!("{LOCKED}; exec \"$@\""), "keyring::child_locked"));
    }

    #[test]
    #[ignore = "a child of a_closed_keyring_is_told_as_locked"]
    fn child_fill() {
        if child_folder().is_none() {
            return;
        }
        store().set("p", &Secret::new("{}")).unwrap();
    }

    #[test]
    #[ignore = "a child of a_closed_keyring_is_told_as_locked"]
    fn child_locked() {
        if child_folder().is_none() {
            return;
        }
        all_fail(StoreErrorKind::Locked, store);
        // A new one cannot be put in either; whether it is there is known of a closed keyring too.
        let error = store().set("new", &Secret::new("{}")).unwrap_err();
        assert_eq!(error.trouble, StoreErrorKind::Locked, "{}", error.why);
        assert_eq!(store().get("new").unwrap(), None);
    }

    #[test]
    fn a_service_without_a_keyring_is_told_as_missing() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        let script = format!("{LOCKED}; exec \"$@\"");
        run(shell(folder.path(), Some(""), &script, "keyring::child_no_keyring"));
    }

    #[test]
    #[ignore = "a child of a_service_without_a_keyring_is_told_as_missing"]
    fn child_no_keyring() {
        if child_folder().is_none() {
            return;
        }
        let mut store = store();
        assert_eq!(store.get("p").unwrap(), None);
        let error = store.set("p", &Secret::new("{}")).unwrap_err();
        assert_eq!(error.trouble, StoreErrorKind::Missing, "{}", error.why);
        assert!(error.why.contains("no default keyring"), "{}", error.why);
    }

    #[test]
    fn a_bus_without_a_service_is_told_as_missing() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bus.conf");
        fs::write(&config, BUS_WITHOUT_SERVICES).unwrap();
        let options = format!("--config-file={}", config.display());
        run(shell(folder.path(), Some(&options), "exec \"$@\"", "keyring::child_missing"));
    }

    #[test]
    fn no_bus_is_told_as_missing() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        run(shell(folder.path(), None, "exec \"$@\"", "keyring::child_missing"));
        let mut neither = shell(folder.path(), None, "exec \"$@\"", "keyring::child_missing");
        neither.env_remove("XDG_RUNTIME_DIR");
        run(neither);
    }

    #[test]
    fn a_bus_that_is_gone_is_told_as_missing() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        let mut gone = shell(folder.path(), None, "exec \"$@\"", "keyring::child_missing");
        let address = format!("unix:path={}", folder.path().join("nothing-here").display());
        gone.env("DBUS_SESSION_BUS_ADDRESS", address);
        run(gone);
    }

    #[test]
    #[ignore = "a child of several"]
    fn child_missing() {
        if child_folder().is_none() {
            return;
        }
        all_fail(StoreErrorKind::Missing, store);
    }

    /// No address is given; the socket lies where the library looks.
    #[test]
    fn the_bus_of_the_runtime_folder_is_found() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bus.conf");
        let listen = format!("unix:path={}", folder.path().join("run/bus").display());
        fs::write(&config, BUS_WITHOUT_SERVICES.replace("unix:tmpdir=/tmp", &listen)).unwrap();
        let options = format!("--config-file={}", config.display());
        let script = format!("{SERVER}; {UNLOCK}; {SERVING}; unset DBUS_SESSION_BUS_ADDRESS; exec \"$@\"");
        run(shell(folder.path(), Some(&options), &script, "keyring::child_fill"));
    }

    #[test]
    fn a_stuck_service_is_told_as_timed_out() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "{SERVER}; {UNLOCK}; {SERVING}; pid=$(server); kill -STOP \"$pid\" || exit 9; \"$@\"; code=$?; \
             kill -KILL \"$pid\"; exit $code"
        );
        run(shell(folder.path(), Some(""), &script, "keyring::child_stuck"));
    }

    #[test]
    #[ignore = "a child of a_stuck_service_is_told_as_timed_out"]
    fn child_stuck() {
        if child_folder().is_none() {
            return;
        }
        all_fail(StoreErrorKind::TimedOut, || KeyringStore::new(Duration::from_secs(3)));
        let limit = Duration::from_secs(10);
        let mut store = KeyringStore::new(limit);
        let begun = Instant::now();
        for error in troubles(&mut store) {
            assert_eq!(error.trouble, StoreErrorKind::TimedOut);
        }
        assert!(begun.elapsed() < 2 * limit, "a second call was made");
    }

    /// It stops between two calls of one process: after the refresh token was read, before the new one is kept.
    #[test]
    fn a_service_that_gets_stuck_is_told_as_timed_out() {
        needs!(keyring);
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "{SERVER}; {UNLOCK}; {SERVING}; pid=$(server); export SERVER_PID=$pid; \"$@\"; code=$?; \
             kill -KILL \"$pid\"; exit $code"
        );
        run(shell(folder.path(), Some(""), &script, "keyring::child_gets_stuck"));
    }

    #[test]
    #[ignore = "a child of a_service_that_gets_stuck_is_told_as_timed_out"]
    fn child_gets_stuck() {
        if child_folder().is_none() {
            return;
        }
        let mut store = KeyringStore::new(Duration::from_secs(5));
        store.set("p", &Secret::new("{}")).unwrap();
        let pid = std::env::var("SERVER_PID").unwrap();
        let stopped = Command::new("kill").args(["-STOP", &pid]).finish().unwrap();
        assert!(stopped.status.success());
        let begun = Instant::now();
        for error in troubles(&mut store) {
            assert_eq!(error.trouble, StoreErrorKind::TimedOut, "{}", error.why);
        }
        assert!(begun.elapsed() < SOON);
    }
}

// The helper

const HELPER: &str = r#"#!/bin/sh
# Keeps what it is given in files beside itself, one a server URL.
here=${0%/*}
input=$(cat)
env > "$here/env"
echo "$0 $*" > "$here/args"
key() { printf %s "$1" | tr /: __; }
case $1 in
store)
  url=$(printf %s "$input" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')
  printf %s "$input" > "$here/$(key "$url")" ;;
get)
  if [ -e "$here/$(key "$input")" ]; then cat "$here/$(key "$input")"
  else echo "credentials not found in native keychain"; exit 1; fi ;;
erase)
  rm "$here/$(key "$input")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
*) exit 2 ;;
esac
"#;

mod helper {
    use super::*;
    use std::ffi::OsString;
    use tok::testing::storage::secrets::helper::HelperStore;

    /// Written by another process: while ours has a program open for writing, a child forked by another thread
    /// would keep it from being run.
    fn install(folder: &Path, name: &str, text: &str) {
        let mut install = Command::new("sh")
            .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
            .arg(folder.join(format!("docker-credential-{name}")))
            .stdin(Stdio::piped())
            .start()
            .unwrap();
        let mut stdin = install.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, text.as_bytes()).unwrap();
        drop(stdin);
        assert!(install.wait().success());
    }

    fn environment(folder: &Path) -> Vec<(OsString, OsString)> {
        let path = format!(".::{}:/usr/bin:/bin", folder.display());
        [("PATH", path.as_str()), ("TOK_P_SECRET", "s3cret"), ("HOME", "/")]
            .iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect()
    }

    fn store(folder: &Path, name: &str) -> HelperStore {
        HelperStore::new(name, child::LIMIT, environment(folder).into_iter().collect()).unwrap()
    }

    #[test]
    fn entries_are_kept_by_the_program() {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path(), "fake", HELPER);
        let mut store = store(folder.path(), "fake");
        let entry = Secret::new(r#"{"refresh_token":"a\"b\\é","secrets":{}}"#);
        assert_eq!(store.get("p").unwrap(), None);
        assert!(!store.forget("p").unwrap());
        store.set("p", &entry).unwrap();
        let args = fs::read_to_string(folder.path().join("args")).unwrap();
        assert!(args.ends_with("docker-credential-fake store\n"), "{args}");
        let given = fs::read_to_string(folder.path().join("https___tok_p")).unwrap();
        let given: serde_json::Value = serde_json::from_str(&given).unwrap();
        assert_eq!(given["ServerURL"], "https://tok/p");
        assert_eq!(given["Username"], "p");
        assert_eq!(given["Secret"], entry.expose());
        assert_eq!(store.get("p").unwrap().unwrap(), entry);
        assert_eq!(store.get("q").unwrap(), None);
        assert!(store.forget("p").unwrap());
        assert_eq!(store.get("p").unwrap(), None);
        let env = fs::read_to_string(folder.path().join("env")).unwrap();
        assert!(env.contains("HOME=/") && !env.contains("TOK_"), "{env}");
    }

    #[test]
    fn a_program_that_is_not_there_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("docker-credential-plain"), "#!/bin/sh\n").unwrap();
        for name in ["absent", "plain"] {
            for error in troubles(&mut store(folder.path(), name)) {
                assert_eq!(error.trouble, StoreErrorKind::Missing, "{}", error.why);
            }
        }
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        for script in [
            "#!/bin/sh\nexec sleep 100\n",
            "#!/bin/sh\nexec >&- 2>&-\nexec sleep 100\n",
            "#!/bin/sh\nsleep 100 & sleep 100\n",
        ] {
            let folder = tempfile::tempdir().unwrap();
            install(folder.path(), "slow", script);
            let mut store =
                HelperStore::new("slow", Duration::from_millis(300), environment(folder.path()).into_iter().collect())
                    .unwrap();
            let begun = Instant::now();
            for error in troubles(&mut store) {
                assert_eq!(error.trouble, StoreErrorKind::TimedOut, "{}", error.why);
            }
            assert!(begun.elapsed() < SOON, "it was not killed");
        }
    }

    #[test]
    fn a_child_that_keeps_the_pipe_open_does_not_hold_up_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let script = "#!/bin/sh\nsleep 100 &\nprintf '{\"ServerURL\":\"\",\"Username\":\"p\",\"Secret\":\"{}\"}'\n";
        install(folder.path(), "agent", script);
        let begun = Instant::now();
        assert_eq!(store(folder.path(), "agent").get("p").unwrap().unwrap().expose(), "{}");
        assert!(begun.elapsed() < SOON);
    }

    #[test]
    fn what_it_says_where_it_fails_is_not_shown() {
        let cases = [
            ("printf 'it is \\033[2Js3cret'; exit 1", "it failed (exit status: 1)", StoreErrorKind::Refused),
            ("echo s3cret >&2; exit 3", "it failed (exit status: 3)", StoreErrorKind::Refused),
            ("cat; exit 1", "docker-credential-bad list", StoreErrorKind::Refused),
            // The entry in another form, which nobody could find in its words.
            ("cat | base64; exit 1", "it failed", StoreErrorKind::Refused),
            ("exit 1", "it failed", StoreErrorKind::Refused),
            ("kill -9 $$", "signal: 9", StoreErrorKind::Refused),
        ];
        for (script, words, trouble) in cases {
            let folder = tempfile::tempdir().unwrap();
            install(folder.path(), "bad", &format!("#!/bin/sh\n{script}\n"));
            let entry = Secret::new(r#"{"refresh_token":"s3cret"}"#);
            let error = store(folder.path(), "bad").set("p", &entry).unwrap_err();
            assert_eq!(error.trouble, trouble, "{script}");
            assert!(error.why.contains(words), "{script}: {}", error.why);
            assert!(!error.why.contains("s3cret") && error.why.len() < 120, "{script}: {}", error.why);
            assert!(!error.why.chars().any(char::is_control), "{script}");
        }
    }

    #[test]
    fn an_answer_that_is_not_ours_is_corrupt_and_not_shown() {
        for answer in [
            "s3cret",
            "",
            r#"{"Username":"p"}"#,
            r#"{"Username":"q","Secret":"s3cret"}"#,
            r#"{"Username":"p","Secret":["s3cret"]}"#,
        ] {
            let folder = tempfile::tempdir().unwrap();
            install(folder.path(), "odd", &format!("#!/bin/sh\nprintf %s '{answer}'\n"));
            let error = store(folder.path(), "odd").get("p").unwrap_err();
            assert_eq!(error.trouble, StoreErrorKind::Corrupt, "{answer}");
            assert!(!error.why.contains("s3cret"), "{}", error.why);
        }
    }

    #[test]
    fn a_long_entry_and_a_program_that_does_not_read_block_nothing() {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path(), "deaf", "#!/bin/sh\nexit 0\n");
        install(folder.path(), "fake", HELPER);
        let entry = Secret::new(format!(r#"{{"t":"{}"}}"#, "x".repeat(1 << 20)));
        store(folder.path(), "deaf").set("p", &entry).unwrap();
        let mut fake = store(folder.path(), "fake");
        fake.set("p", &entry).unwrap();
        assert!(fake.get("p").unwrap().unwrap() == entry);
    }
}
