//! A second user on the same machine: what they have planted, what they may write to, and what they swap meanwhile.
//! The tests that need one are root's, who plays both.

use crate::child::Start;
use crate::skip::{is_root, skip, skip_part};
use crate::support::apiax::{self, Apiax};
use crate::support::server::Server;
use crate::support::{CANARY, Output, Sandbox, chmod, mode, plain, put};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// Somebody who is neither root nor whoever runs the tests.
pub const NOBODY: u32 = 65_534;

/// Runs `attack` with the rights of another user, in a thread of its own, until `meanwhile` is done.
fn while_another<T>(attack: impl Fn() + Send + Sync, meanwhile: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let nobody = rustix::process::Uid::from_raw(NOBODY);
            // Of this thread alone, and with it go the rights of root.
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may");
            while !done.load(Ordering::Relaxed) {
                attack();
            }
        });
        let result = meanwhile();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// Every name below `folder`, sorted.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&entry.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_state_folder_that_is_swapped_for_a_link_costs_no_file_elsewhere() {
    if !is_root() {
        skip!("only root can play two users");
    }
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.run("get plain").line();
    let above = sandbox.state_dir().parent().unwrap().to_path_buf();
    // What a careless logout would find through the link.
    let elsewhere = sandbox.work().join("elsewhere");
    for name in ["cache/plain/one.json", "cache/plain/two.txt", "kept/plain.json", "kept/other.json", "mine"] {
        put(&elsewhere.join(name), b"{}");
    }
    let before = tree(&elsewhere);
    symlink(&elsewhere, above.join("swap")).unwrap();
    chown(&above, Some(NOBODY), None).unwrap();
    let folder = rustix::fs::openat(CWD, &above, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
    let swap = || {
        let _ = rustix::fs::renameat_with(&folder, "tok", &folder, "swap", RenameFlags::EXCHANGE);
    };
    while_another(swap, || {
        for _ in 0..30 {
            sandbox.run("logout plain --timeout 100s");
            sandbox.run("get plain --fresh --timeout 100s");
        }
    });
    assert_eq!(tree(&elsewhere), before, "nothing is removed there, and nothing made");
    for path in before.iter().filter(|path| path.is_file()) {
        assert_eq!(fs::read(path).unwrap(), b"{}", "{}", path.display());
    }
}

#[track_caller]
fn write_to(sandbox: &Sandbox, path: &Path) -> Output {
    sandbox.tok(["get", "plain", "--timeout", "100s", "--write", path.to_str().unwrap()]).run()
}

fn mkfifo(path: &Path, mode: Mode) {
    rustix::fs::mkfifoat(CWD, path, mode).unwrap();
}

/// Opens a pipe to read from it, as whoever has planted it would; without waiting for a writer.
fn reader(path: &Path) -> fs::File {
    fs::File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).unwrap()
}

fn read_from(mut reader: fs::File) -> String {
    let mut text = Vec::new();
    let _ = reader.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn what_another_user_has_planted_gets_no_token() {
    if !is_root() {
        skip!("only root can play two users");
    }
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let folder = sandbox.work();
    chmod(&folder, 0o1777);
    let planted = |name: &str| {
        let path = folder.join(name);
        mkfifo(&path, Mode::from_raw_mode(0o666));
        chmod(&path, 0o666);
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        path
    };
    let pipe = planted("pipe");
    let theirs = reader(&pipe);
    write_to(&sandbox, &pipe).fails(1).says("another user");
    assert_eq!(read_from(theirs), "");
    // Behind a link of one's own, which the other user's pipe has come behind.
    let theirs = reader(&pipe);
    symlink(&pipe, folder.join("own-link")).unwrap();
    write_to(&sandbox, &folder.join("own-link")).fails(1).says("another user");
    assert_eq!(read_from(theirs), "");
    // Behind a link of theirs: the link is replaced, by a file that is ours alone.
    let theirs = reader(&pipe);
    let link = folder.join("their-link");
    symlink(&pipe, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(NOBODY), None).unwrap();
    let out = write_to(&sandbox, &link);
    assert!(out.code == 1 || (fs::symlink_metadata(&link).unwrap().is_file() && mode(&link) == 0o600), "{out}");
    assert_eq!(read_from(theirs), "");
    // A file of theirs that they hold open.
    let file = folder.join("file");
    put(&file, b"before");
    chmod(&file, 0o666);
    chown(&file, Some(NOBODY), Some(NOBODY)).unwrap();
    let theirs = fs::File::open(&file).unwrap();
    let out = write_to(&sandbox, &file);
    assert!(out.code == 1 || mode(&file) == 0o600, "{out}");
    assert_eq!(read_from(theirs), "before");
}

#[test]
fn what_is_swapped_for_another_user_s_pipe_while_it_is_opened_gets_no_token() {
    if !is_root() {
        skip!("only root can play two users");
    }
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let folder = sandbox.work();
    chmod(&folder, 0o777);
    let (own, theirs) = (folder.join("own"), folder.join("theirs"));
    mkfifo(&own, Mode::RWXU);
    mkfifo(&theirs, Mode::from_raw_mode(0o666));
    chown(&theirs, Some(NOBODY), None).unwrap();
    let (at, of) = (reader(&own), reader(&theirs));
    let open = rustix::fs::openat(CWD, &folder, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
    let swap = || {
        let _ = rustix::fs::renameat_with(&open, "own", &open, "theirs", RenameFlags::EXCHANGE);
    };
    while_another(swap, || (0..30).for_each(|_| drop(write_to(&sandbox, &own))));
    assert_eq!(read_from(of), "");
    drop(at);
}

#[test]
fn one_s_own_descriptors_and_pipes_are_written_to_and_never_replaced() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let token = sandbox.run("get plain").line();
    let file = sandbox.file("log", "before\n");
    let get = ["get", "plain", "--write"];
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let first = inode(&file);
    for (to, open) in [("/dev/stdout", ">>"), ("/dev/fd/3", "3>>"), ("/proc/self/fd/3", "3<>")] {
        if !Path::new(to).parent().unwrap().exists() {
            skip_part!("there is no {to} here");
            continue;
        }
        fs::write(&file, "before\n").unwrap();
        sandbox.tok(get).args([to]).after(&format!("exec {open}\"{}\"", file.display())).run().ok();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("before\n{token}\n"), "{to}");
        assert_eq!(inode(&file), first, "{to}");
    }
    let out = sandbox.tok(get).args(["/dev/stdout"]).run();
    out.prints(&format!("{token}\n")).silent();
    sandbox.tok(get).args(["/dev/null"]).run().prints("");
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    sandbox.tok(get).args([sandbox.work().to_str().unwrap()]).run().fails(1).says("it is a folder");
    let socket = sandbox.work().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    write_to(&sandbox, &socket).fails(1).says("it is a socket");
}

/// The hint's command, as it is pasted.
#[track_caller]
fn paste_hint(out: &Output) {
    let hint = out.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).expect("a hint");
    let command = hint.split_once(": ").map_or(hint, |(_, command)| command);
    let ran = Command::new("sh").args(["-c", command]).finish().unwrap();
    assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn a_config_or_provider_file_in_a_folder_that_others_can_write_to_is_3_and_the_hint_mends_it() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.config("");
    let folders = [sandbox.config_dir(), sandbox.config_dir().join("providers")];
    for folder in &folders {
        for bits in [0o777, 0o770, 0o702] {
            chmod(folder, bits);
            let out = sandbox.run("get plain").fails(3).says("others can write to its folder");
            paste_hint(&out.hints_at("chmod go-w"));
            sandbox.run("get plain").line();
        }
    }
    // What everybody may read is no secret's place, and no reason to refuse it.
    folders.iter().for_each(|folder| chmod(folder, 0o755));
    sandbox.run("get plain").line();
    if !is_root() {
        return skip_part!("only root can give a folder away: one of another user");
    }
    for folder in folders.iter().chain([&sandbox.config_file()]) {
        chown(folder, Some(NOBODY), None).unwrap();
        let out = sandbox.run("get plain").fails(3).says("belongs to another user").hints_at("chown");
        sandbox.tok(["get", "plain"]).env("SUDO_USER", "nobody").run().fails(3).hints_at("sudo -H");
        paste_hint(&out);
        sandbox.run("get plain").line();
    }
}

#[test]
fn a_config_behind_a_link_in_a_folder_that_others_can_write_to_is_3() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let at = |name: &str| sandbox.work().join(name);
    put(&at("private/config.toml"), b"");
    put(&at("open/config.toml"), b"");
    symlink(at("private/config.toml"), at("open/link.toml")).unwrap();
    symlink(at("private"), at("open/folder")).unwrap();
    symlink("link.toml", at("open/link-to-link.toml")).unwrap();
    symlink("../open/link.toml", at("private/link-to-open.toml")).unwrap();
    symlink("../open/config.toml", at("private/link-to-file.toml")).unwrap();
    symlink("../private/config.toml", at("private/link.toml")).unwrap();
    let get = |config: &str| sandbox.tok(["get", "plain", "--config", at(config).to_str().unwrap()]).run();
    let doubtful = ["open/link.toml", "open/folder/config.toml", "open/link-to-link.toml", "open/config.toml"];
    let doubtful = doubtful.into_iter().chain(["private/link-to-open.toml", "private/link-to-file.toml"]);
    for bits in [0o777, 0o772, 0o720] {
        chmod(&at("open"), bits);
        for config in doubtful.clone() {
            get(config).fails(3).says("others can write to").hints_at("chmod go-w");
        }
        get("private/link.toml").line();
    }
    // In a sticky folder nobody else can replace what is one's own.
    for bits in [0o755, 0o1777] {
        chmod(&at("open"), bits);
        for config in doubtful.clone() {
            get(config).line();
        }
    }
    std::fs::hard_link(at("private/config.toml"), at("open/second.toml")).unwrap();
    get("open/second.toml").fails(3).hints_at("move it");
    if is_root() {
        std::os::unix::fs::lchown(at("open/link.toml"), Some(NOBODY), None).unwrap();
        get("open/link.toml").fails(3).says("where a link to it is").hints_at("move it");
        chown(at("open/config.toml"), Some(NOBODY), None).unwrap();
        get("open/config.toml").fails(3).says("belongs to another user");
    } else {
        skip_part!("only root can give a link away: one of another user in a sticky folder");
    }
    // Links that lead to each other, and one to nowhere.
    symlink("loop.toml", at("private/loop.toml")).unwrap();
    get("private/loop.toml").fails(3);
    symlink("nowhere", at("private/nowhere.toml")).unwrap();
    get("private/nowhere.toml").fails(3);
}

#[test]
fn a_config_of_a_package_manager_or_a_volume_is_taken_where_nobody_can_change_it() {
    if !is_root() {
        skip!("only root can make such folders");
    }
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let folder = sandbox.work().join("store");
    put(&folder.join("config.toml"), b"");
    let config = folder.join("config.toml");
    let args = ["get", "plain", "--config", config.to_str().unwrap()];
    // Nix: root's, of a group, sticky.
    chmod(&folder, 0o1775);
    sandbox.tok(args).run().line();
    chmod(&folder, 0o775);
    sandbox.tok(args).run().fails(3);
    // A volume of Kubernetes: 0777, mounted read-only.
    chmod(&folder, 0o777);
    if !crate::store_faults::can_mount() {
        return skip_part!("mounts of one's own cannot be made here");
    }
    let f = folder.display();
    let read_only = format!("mount --bind {f} {f} && mount -o remount,bind,ro {f}");
    crate::store_faults::in_mounts(sandbox.tok(args), &read_only).run().line();
}

#[test]
fn a_ca_file_that_others_can_write_to_is_3() {
    let server = Server::tls(|_| crate::support::server::Reply::token("at", 600));
    let sandbox = plain(&server.url());
    let ca = sandbox.work().join("certs/ca.pem");
    put(&ca, &fs::read(server.ca_file()).unwrap());
    sandbox.config(&format!("ca_file = \"{}\"\n", ca.display()));
    sandbox.run("get plain --no-store").line();
    for (path, open, good) in [(ca.clone(), 0o666, 0o644), (ca.parent().unwrap().to_path_buf(), 0o777, 0o755)] {
        chmod(&path, open);
        let out = sandbox.run("get plain --no-store").fails(3).says("ca_file").says("others can write to");
        paste_hint(&out.hints_at("chmod go-w"));
        sandbox.run("get plain --no-store").line();
        chmod(&path, good);
    }
    if !is_root() {
        return skip_part!("only root can give a file away: a ca_file of another user");
    }
    chown(&ca, Some(NOBODY), None).unwrap();
    let out = sandbox.run("get plain --no-store").fails(3).says("another user").hints_at("chown");
    sandbox.tok(["get", "plain", "--no-store"]).env("SUDO_USER", "nobody").run().fails(3).hints_at("sudo -H");
    paste_hint(&out);
    sandbox.run("get plain --no-store").line();
}

#[test]
fn sudo_in_the_home_of_another_user_is_refused_and_leaves_nothing_there() {
    if !is_root() {
        skip!("only root can play two users");
    }
    let apiax = Apiax::start();
    let mut sandbox = apiax.sandbox();
    chown(sandbox.home(), Some(NOBODY), None).unwrap();
    sandbox.set("SUDO_USER", "nobody");
    let file = sandbox.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--username", apiax::USERNAME, "--password-file", &file];
    for args in [&login[..], &["get", "apiax"], &["logout", "apiax"], &["list"], &["show", "apiax"]] {
        sandbox.tok(args).run().fails(3).says("another user").hints_at("sudo -H");
    }
    assert_eq!(tree(&sandbox.home()), Vec::<PathBuf>::new());
    assert_eq!(apiax.server.count(), 0);
    for args in [["--help"].as_slice(), &["-V"], &["completions", "bash"], &["providers"]] {
        sandbox.tok(args).run().ok();
    }
    // With -H the home is root's.
    chown(sandbox.home(), Some(0), None).unwrap();
    sandbox.tok(login).run().ok();
    // A container that runs as root in a home from outside.
    let sandbox = apiax.sandbox();
    chown(sandbox.home(), Some(NOBODY), None).unwrap();
    apiax::login(&sandbox);
}

/// The built `tok` where every user finds it.
fn for_everybody(sandbox: &Sandbox) -> PathBuf {
    let root = sandbox.home().parent().unwrap().to_path_buf();
    let program = root.join("tok");
    fs::copy(env!("CARGO_BIN_EXE_tok"), &program).unwrap();
    chmod(&program, 0o755);
    chmod(&root, 0o755);
    program
}

#[test]
fn with_a_home_where_nothing_can_be_kept_variables_will_do() {
    // A container: `/` is its home, and it runs as nobody.
    let server = Server::issuing(600);
    let sandbox = Sandbox::new();
    let program = for_everybody(&sandbox);
    let run = |args: &[&str], secret: bool| {
        let mut command = Command::new(&program);
        command.args(args).env_clear().env("HOME", "/").current_dir("/");
        command.env("TOK_XCOVER_BASE_URL", server.url()).env("TOK_XCOVER_CLIENT_ID", "c");
        if secret {
            command.env("TOK_XCOVER_CLIENT_SECRET", format!("secret-{CANARY}"));
        }
        if is_root() {
            std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
            std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
        }
        let out = command.finish().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, token, said) = run(&["get", "xcover"], true);
    assert!(code == Some(0) && !token.trim().is_empty() && said.is_empty(), "{code:?} {said}");
    let (code, _, said) = run(&["get", "xcover", "-v"], true);
    assert!(code == Some(0) && said.contains("continuing without store and cache"), "{code:?} {said}");
    let (code, token, said) = run(&["get", "xcover"], false);
    assert!(code == Some(4) && token.is_empty() && said.contains("TOK_XCOVER_CLIENT_SECRET"), "{code:?} {said}");
    assert!(!said.contains(CANARY));
}

#[test]
fn a_secrets_file_in_a_folder_of_root_s_is_written_in_place() {
    // As a container's runtime makes it for a file that is mounted alone.
    if !is_root() {
        skip!("only root can play two users");
    }
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let program = for_everybody(&sandbox);
    let (home, file) = (sandbox.home(), sandbox.secrets_file());
    let folder = file.parent().unwrap();
    for path in tree(&home).iter().chain([&home]) {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    chown(folder, Some(0), Some(0)).unwrap();
    chmod(folder, 0o755);
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap());
    for n in 2..4 {
        let mut command = Command::new(&program);
        command.args(["get", "apiax", "--fresh"]).env_clear().env("HOME", &home).current_dir("/");
        command.env("TOK_STORE", "file").env("TOK_APIAX_BASE_URL", apiax.server.url());
        std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
        std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
        let out = command.finish().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(sandbox.secrets()["apiax"]["refresh_token"], format!("rt-{CANARY}-{n}"));
        assert_eq!(std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap()), inode);
    }
}
