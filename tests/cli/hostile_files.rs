//! Files and folders that somebody else prepared: links, other owners, open modes, pipes, second names, folders, under
//! an open umask. The table says for each of `tok`'s files what becomes of it: refused with a status, replaced, or
//! taken. Whatever it is, nothing is written through it, nothing of another user is opened up, and nothing hangs.

use crate::child::SOON;
use crate::skip::{is_root, skip_part};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Output, Sandbox, chmod, mode, plain_provider, put, walk};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is done to a file.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Trick {
    /// A link to a file with the same content, outside.
    Link,
    /// A link to nowhere, which a careless write would create.
    DanglingLink,
    /// Somebody else's file (only root can make one).
    ForeignOwner,
    ReadableByAll,
    WritableByAll,
    Pipe,
    SecondName,
    Folder,
}
use Trick::{DanglingLink, Folder, ForeignOwner, Link, Pipe, ReadableByAll, SecondName, WritableByAll};

const TRICKS: [Trick; 8] = [Link, DanglingLink, ForeignOwner, ReadableByAll, WritableByAll, Pipe, SecondName, Folder];

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    /// The call fails with one of these; the file is left as it is.
    Refused(&'static [i32]),
    /// The call works, and our own private file stands there now.
    Replaced,
    /// The call works; the file may stay as it is.
    Works,
}
use End::{Refused, Replaced, Works};

/// A file by its name in the table and where it lies, what is done to it, and what becomes of it.
type Case = (&'static str, fn(&Sandbox) -> PathBuf, Trick, End);

/// Plays the trick on `path`; the victim outside, whose content and mode must stay.
fn play(trick: Trick, path: &Path, outside: &Path) -> Option<PathBuf> {
    let content = fs::read(path).unwrap_or_default();
    let victim = outside.join("victim");
    let _ = fs::remove_file(&victim);
    let aside = |content: &[u8]| {
        fs::remove_file(path).unwrap();
        put(&victim, content);
    };
    match trick {
        Link => {
            aside(&content);
            symlink(&victim, path).unwrap();
        }
        DanglingLink => {
            fs::remove_file(path).unwrap();
            symlink(&victim, path).unwrap();
            return None;
        }
        ForeignOwner => {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
            return None;
        }
        ReadableByAll => {
            chmod(path, 0o644);
            return None;
        }
        WritableByAll => {
            chmod(path, 0o666);
            return None;
        }
        Pipe => {
            fs::remove_file(path).unwrap();
            let own = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mkfifoat(rustix::fs::CWD, path, own).unwrap();
            return None;
        }
        SecondName => {
            aside(&content);
            fs::hard_link(&victim, path).unwrap();
        }
        Folder => {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
            return None;
        }
    }
    Some(victim)
}

/// A home where everything is there: config, provider file, session, cached token, head, index and locks.
fn home(server: &Server) -> Sandbox {
    let sandbox = Sandbox::with_file_config("");
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("plain-secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--keep", "--client-secret-file", &secret]).run().prints("");
    // The head is written for files that are not too young; a test does not wait for that.
    for file in [sandbox.config_file(), sandbox.config_dir().join("providers/plain.toml")] {
        let old = std::time::SystemTime::now() - Duration::from_secs(60);
        fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
    }
    sandbox.run("get plain").line();
    sandbox
}

fn issuer() -> Server {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Server::new(move |_| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let access = format!("at-{CANARY}-{n}");
        Reply::json(
            200,
            json!({"access_token": access, "refresh_token": format!("rt-{CANARY}-{n}"), "expires_in": 600}),
        )
    })
}

/// Nothing that is ours under the home can be read or changed by others, links and pipes aside.
#[track_caller]
fn all_is_private(sandbox: &Sandbox) {
    for root in [sandbox.state_dir(), sandbox.secrets_file().parent().unwrap().into()] {
        walk(&root, &mut |path| {
            let folder = path.parent().unwrap();
            assert_eq!((mode(path), mode(folder)), (0o600, 0o700), "{}", path.display());
        });
    }
}

/// One file, one trick: two calls, and what must hold afterwards.
fn case(name: &str, of: fn(&Sandbox) -> PathBuf, trick: Trick, end: End) {
    if trick == ForeignOwner && !is_root() {
        return skip_part!("only root can give a file away: {name} of another user");
    }
    let server = issuer();
    let sandbox = home(&server);
    let path = of(&sandbox);
    assert!(path.exists(), "{name}: {}", path.display());
    let outside = sandbox.work();
    let victim = play(trick, &path, &outside);
    let before = victim.as_ref().map(|v| (fs::read(v).unwrap(), mode(v)));
    let what = |out: &Output| format!("{name}, {trick:?}: {out}");
    for line in ["get plain --timeout 100s", "get plain --fresh --timeout 100s"] {
        let out = sandbox.run(line);
        assert!(out.took < SOON, "it hangs: {}", what(&out));
        match end {
            // A call that needs nothing of it may work: the cached token without the store.
            Refused(codes) => {
                assert!(codes.contains(&out.code) || !line.contains("--fresh"), "{}", what(&out));
                assert_eq!(out.stdout.is_empty(), out.code != 0, "{}", what(&out));
                assert!(
                    out.code == 0 || out.stderr.contains(path.file_name().unwrap().to_str().unwrap()),
                    "it is named: {}",
                    what(&out)
                );
            }
            Replaced | Works => assert_eq!(out.code, 0, "{}", what(&out)),
        }
    }
    if let (Some(victim), Some((content, bits))) = (&victim, &before) {
        assert_eq!(&fs::read(victim).unwrap(), content, "{name}, {trick:?}: nothing is written through it");
        assert_eq!(mode(victim), *bits, "{name}, {trick:?}");
    }
    if trick == DanglingLink {
        assert!(!outside.join("victim").exists(), "{name}: nothing is made through the link");
    }
    match end {
        Replaced => {
            let data = fs::symlink_metadata(of(&sandbox)).unwrap();
            assert!(data.is_file() && data.nlink() == 1 && data.uid() == rustix::process::geteuid().as_raw(), "{name}");
            all_is_private(&sandbox);
        }
        Refused(_) => {
            let data = fs::symlink_metadata(&path).unwrap();
            let kept = match trick {
                Link | DanglingLink => data.is_symlink(),
                Folder => data.is_dir(),
                ForeignOwner => data.uid() == 65534,
                SecondName => data.nlink() == 2,
                ReadableByAll => mode(&path) == 0o644,
                WritableByAll => mode(&path) == 0o666,
                Pipe => !data.is_file() && !data.is_dir(),
            };
            assert!(kept, "{name}, {trick:?}: it is left as it is");
        }
        Works => {}
    }
}

fn config(sandbox: &Sandbox) -> PathBuf {
    sandbox.config_file()
}

fn provider(sandbox: &Sandbox) -> PathBuf {
    sandbox.config_dir().join("providers/plain.toml")
}

fn secrets(sandbox: &Sandbox) -> PathBuf {
    sandbox.secrets_file()
}

fn cache(sandbox: &Sandbox) -> PathBuf {
    let folder = sandbox.state_dir().join("cache/plain");
    let entries = fs::read_dir(&folder).unwrap().flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = entries.filter(|p| !p.ends_with("head.json")).collect();
    files.sort();
    files.remove(0)
}

fn head(sandbox: &Sandbox) -> PathBuf {
    sandbox.state_dir().join("cache/plain/head.json")
}

fn index(sandbox: &Sandbox) -> PathBuf {
    sandbox.state_dir().join("kept/plain.json")
}

fn lock(sandbox: &Sandbox) -> PathBuf {
    sandbox.state_dir().join("locks/plain.lock")
}

#[test]
fn matrix_of_files_and_tricks() {
    let mut cases: Vec<Case> = Vec::new();
    for trick in TRICKS {
        // A config may be a link, and may be read by all: people keep it with their dotfiles.
        let trusted = match trick {
            Link | ReadableByAll | SecondName => Works,
            _ => Refused(&[3]),
        };
        cases.push(("config", config, trick, trusted));
        cases.push(("provider file", provider, trick, trusted));
        cases.push(("secrets.json", secrets, trick, Refused(&[7])));
        cases.push(("cache entry", cache, trick, Replaced));
        // A folder cannot be replaced; the head and the index are there for speed alone.
        cases.push(("head", head, trick, Works));
        cases.push(("index", index, trick, Works));
        cases.push((
            "lock",
            lock,
            trick,
            match trick {
                ReadableByAll | WritableByAll => Replaced,
                _ => Refused(&[1, 6, 7]),
            },
        ));
    }
    let queue = std::sync::Mutex::new(cases);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = crate::support::server::lock(&queue).pop();
                    let Some((name, of, trick, end)) = next else { return };
                    case(name, of, trick, end);
                }
            });
        }
    });
}

#[test]
fn folders_that_others_can_write_to_or_that_are_links_are_not_used() {
    for folder in [".local/state/tok", ".local/state/tok/locks", ".local/state/tok/cache/plain", ".local/share/tok"] {
        for trick in ["writable", "link", "foreign"] {
            if trick == "foreign" && !is_root() {
                skip_part!("only root can give a folder away: {folder} of another user");
                continue;
            }
            let server = issuer();
            let sandbox = home(&server);
            let path = sandbox.home().join(folder);
            let moved = sandbox.work().join("moved");
            match trick {
                "writable" => chmod(&path, 0o777),
                "link" => {
                    fs::rename(&path, &moved).unwrap();
                    symlink(&moved, &path).unwrap();
                }
                _ => std::os::unix::fs::chown(&path, Some(65534), None).unwrap(),
            }
            let before = fs::read(sandbox.secrets_file()).unwrap();
            let out = sandbox.run("get plain --fresh --timeout 100s");
            match out.code {
                // The cache is a convenience: it goes on without.
                0 => assert!(folder.contains("cache") || folder.ends_with("state/tok"), "{folder}, {trick}: {out}"),
                code => assert!([1, 7].contains(&code) && out.stdout.is_empty(), "{folder}, {trick}: {out}"),
            }
            if folder.contains("share") {
                assert_eq!(fs::read(sandbox.secrets_file()).unwrap(), before, "{folder}, {trick}: left as it is");
                assert_eq!(server.count(), 1, "{folder}, {trick}: no token is spent");
            }
            if folder.ends_with("plain") {
                let new = out.stdout.trim();
                let spilled = fs::read_dir(&path).unwrap().flatten();
                let spilled =
                    spilled.filter(|e| fs::read_to_string(e.path()).unwrap_or_default().contains(new)).count();
                assert_eq!(spilled, 0, "{folder}, {trick}: no token is put there");
            }
        }
    }
}

#[test]
fn under_umask_000_every_file_is_0600_in_a_0700_folder() {
    let server = issuer();
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("plain-secret-{CANARY}"));
    let open = |args: &[&str]| sandbox.tok(args).after("umask 000").run().ok();
    open(&["login", "plain", "--keep", "--client-id", "c", "--as", "mine", "--client-secret-file", &secret]);
    open(&["get", "mine"]);
    open(&["get", "mine", "--fresh"]);
    let token = sandbox.work().join("token");
    open(&["get", "mine", "--write", token.to_str().unwrap()]);
    assert_eq!(mode(&token), 0o600);
    assert_eq!(mode(&sandbox.config_file()), 0o600);
    all_is_private(&sandbox);
    let mut count = 0;
    walk(&sandbox.home(), &mut |path| {
        assert_eq!(mode(path) & 0o077, 0, "{}", path.display());
        count += 1;
    });
    assert!(count >= 6, "config, provider, secrets, token, index, locks: {count}");
}

#[test]
fn a_token_is_written_to_a_file_of_its_own_whatever_stood_there() {
    let server = issuer();
    let sandbox = home(&server);
    // One's own link is followed and a pipe is written to (`close_calls.rs`): that is what they are there for.
    let asked_for = [Link, Pipe, Folder];
    for trick in TRICKS.into_iter().filter(|t| (*t != ForeignOwner || is_root()) && !asked_for.contains(t)) {
        let path = sandbox.file("out", "before");
        let victim = play(trick, &path, &sandbox.work());
        sandbox.tok(["get", "plain", "--write", path.to_str().unwrap()]).run().prints("").silent();
        if let Some(victim) = victim {
            assert_eq!(fs::read(victim).unwrap(), b"before", "{trick:?}");
        }
        assert!(!sandbox.work().join("victim").exists() || trick != DanglingLink);
        let data = fs::symlink_metadata(&path).unwrap();
        assert!(data.is_file() && data.nlink() == 1 && mode(&path) == 0o600, "{trick:?}");
        fs::remove_file(&path).unwrap();
    }
    // A link that somebody else has planted is not followed.
    if !is_root() {
        skip_part!("only root can give a link away: one of another user");
    } else {
        let path = sandbox.file("out", "before");
        let victim = play(Link, &path, &sandbox.work()).unwrap();
        std::os::unix::fs::lchown(&path, Some(65534), Some(65534)).unwrap();
        sandbox.tok(["get", "plain", "--write", path.to_str().unwrap()]).run().prints("").silent();
        assert_eq!(fs::read(victim).unwrap(), b"before");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }
}
