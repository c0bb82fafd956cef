//! A canary run: every secret that goes in and every token that comes back is another one. Every command at every
//! verbosity, in success and failure; then everything that was printed, every file below the home, every argument
//! list and environment, and what a crash leaves is searched. Only the places that the contract names may hold one.

use crate::child::Start;
use crate::skip::{is_root, needs, skip, skip_part};
use crate::support::keyring::Keyring;
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Output, Sandbox, Tok, chmod, contains, plain_provider, put};
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What all secrets of this module begin with, so that no other test's is taken for one.
const MARK: &str = "canary-run";

/// The secret of this name. It holds what each run of `tok` is checked for on stderr.
fn secret(name: &str) -> String {
    format!("{MARK}-{CANARY}-{name}-end")
}

/// The names of the secrets in `bytes`, as they are or in base64 or percent-encoded form.
fn secrets_in(bytes: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(bytes);
    let start = format!("{MARK}-{CANARY}-");
    text.match_indices(&start)
        .map(|(at, _)| text[at + start.len()..].split("-end").next().unwrap_or("").into())
        .collect()
}

/// Issues numbered tokens, with a refresh token; `fail` in the client's id makes it fail in a way that repeats what it
/// was sent.
fn issuer() -> Server {
    refusing(Arc::new(AtomicBool::new(false)))
}

/// The same; it refuses every refresh token, and quotes it, while `refuse` is set.
fn refusing(refuse: Arc<AtomicBool>) -> Server {
    let count = AtomicUsize::new(0);
    Server::new(move |request: &Received| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let sent = String::from_utf8_lossy(&request.body).into_owned();
        let quoted = format!("what came was {sent} and {}", secret("at-quoted"));
        if refuse.load(Ordering::Relaxed) && request.has_field("refresh_token") {
            return Reply::json(401, json!({"error": "invalid_client", "error_description": sent}));
        }
        match request.field("client_id").strip_prefix("fail-") {
            Some("400") => Reply::json(400, json!({"error": "invalid_client", "error_description": sent})),
            Some("dead") => Reply::json(400, json!({"error": "invalid_grant", "error_description": sent})),
            Some("500") => Reply::new(500, "text/html", format!("<html>{quoted}</html>")),
            Some("page") => Reply::new(200, "text/html", format!("<html>{quoted}</html>")),
            Some("json") => Reply::text(200, &format!("{{\"access_token\": \"{}\", {quoted}", secret("at-broken"))),
            Some("token") => Reply::json(200, json!({"access_token": format!("{} x", secret("at-wrong"))})),
            Some("number") => Reply::json(200, json!({"access_token": {"x": secret("at-wrong")}, "refresh_token": 1})),
            Some("location") => {
                Reply::text(302, "").header("Location", &format!("https://x.example/?{}", secret("at-redirect")))
            }
            Some("cut") => Reply::text(200, &format!("{{\"access_token\":\"{}\"", secret("at-cut"))).length(9999),
            _ => Reply::json(
                200,
                json!({
                    "access_token": secret(&format!("at-{n}")),
                    "refresh_token": secret(&format!("rt-{n}")),
                    "expires_in": 600,
                }),
            ),
        }
    })
}

/// The provider: a client's secret, and a person's password.
fn provider(url: &str) -> String {
    plain_provider(
        url,
        r#"[params.password]
secret = true
personal = true
[grants.password]
body = { client_id = "{client_id}", password = "{password}", client_secret = "{client_secret?}" }
[revoke]
url = "{base_url}/revoke"
body = { token = "{refresh_token}" }
"#,
    )
}

/// The failures of [`issuer`].
const FAILURES: [&str; 9] = ["400", "dead", "500", "page", "json", "token", "number", "location", "cut"];

/// Runs it at these verbosities; what is on stdout may hold the secrets of these names alone.
fn at_verbosity(levels: &[&str], make: impl Fn() -> Tok, allowed: &[&str]) -> usize {
    for level in levels {
        let out = make().args([level]).run();
        only(&out, allowed);
    }
    levels.len()
}

/// stdout holds access tokens of these names (`at` for any) and no other secret; stderr none.
#[track_caller]
fn only(out: &Output, allowed: &[&str]) {
    let is_allowed = |name: &String| allowed.iter().any(|a| name.starts_with(a)) && out.code == 0;
    let found: Vec<String> = secrets_in(&out.bytes).into_iter().filter(|name| !is_allowed(name)).collect();
    assert!(found.is_empty(), "stdout holds {found:?}: {out}");
    let found = secrets_in(out.stderr.as_bytes());
    assert!(found.is_empty(), "stderr holds {found:?}: {out}");
}

/// Every file below the home; the secrets in it are what the contract puts there. How many were searched.
#[track_caller]
fn files_hold_only_what_the_contract_says(sandbox: &Sandbox, store_is_a_file: bool) -> usize {
    let files = sandbox.files();
    for (name, bytes) in &files {
        let path = name.to_str().unwrap();
        let allowed: &[&str] = match path {
            _ if path.starts_with(".local/state/tok/cache/") => &["at-"],
            ".local/share/tok/secrets.json" if store_is_a_file => &["rt-", "client-secret", "kept-"],
            // What the user wrote there himself.
            ".config/tok/config.toml" => &["in-config"],
            _ => &[],
        };
        let found: Vec<String> =
            secrets_in(bytes).into_iter().filter(|name| !allowed.iter().any(|a| name.starts_with(a))).collect();
        assert!(found.is_empty(), "{path} holds {found:?}");
        assert!(!path.ends_with(".tok-tmp"), "{path} was left behind");
    }
    files.len()
}

/// The argument lists of all processes of this machine, and the environments of those that may be looked into.
#[cfg(target_os = "linux")]
fn processes_hold(what: &str, but: Option<u32>) -> (usize, Vec<String>) {
    let (mut scanned, mut found) = (0, Vec::new());
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        for part in ["cmdline", "environ"] {
            // The variable that a secret was handed in by is the user's own doing.
            if part == "environ" && but == Some(pid) {
                continue;
            }
            let bytes = std::fs::read(entry.path().join(part)).unwrap_or_default();
            scanned += 1;
            if contains(&bytes, what.as_bytes()) {
                found.push(format!("{pid}/{part}"));
            }
        }
    }
    (scanned, found)
}

/// One canary run over the commands, with this store.
fn canary_run(sandbox: &mut Sandbox, store_is_a_file: bool, levels: &[&str]) -> (usize, usize) {
    let refuse = Arc::new(AtomicBool::new(false));
    let server = refusing(refuse.clone());
    let mut runs = 0;
    sandbox.provider("plain", &provider(&server.url()));
    sandbox.config(&format!(
        "# of the user\n[profile.written]\nprovider = \"plain\"\nclient_secret = \"{}\"\n",
        secret("in-config")
    ));
    let from_file = sandbox.file_arg("client", secret("client-secret"));
    let password = sandbox.file_arg("password", secret("password"));
    let refresh = sandbox.file_arg("refresh", secret("rt-imported"));
    let sandbox = &*sandbox;
    let login = |words: &str| sandbox.tok(words.split(' ')).args(["--client-secret-file", &from_file]);
    let mut every = |make: &dyn Fn() -> Tok, allowed: &[&str]| runs += at_verbosity(levels, make, allowed);

    // Secrets come in by file, stdin, environment, file named by the environment, config; kept and not kept.
    every(&|| login("login plain client-credentials"), &[]);
    every(&|| login("login plain client-credentials --keep"), &[]);
    every(&|| login("login plain password --as person").args(["--password-file", &password]), &[]);
    every(&|| sandbox.tok(["login", "plain", "refresh", "--as", "imported", "--refresh-token-file", &refresh]), &[]);
    every(
        &|| sandbox.tok("login plain --as piped --client-secret-file -".split(' ')).stdin(secret("client-secret")),
        &[],
    );
    every(&|| sandbox.tok("login plain --as env".split(' ')).env("TOK_ENV_CLIENT_SECRET", secret("env")), &[]);
    every(
        &|| sandbox.tok("login plain --as envfile".split(' ')).env("TOK_ENVFILE_CLIENT_SECRET_FILE", &from_file),
        &[],
    );

    let answers: &[&str] = &["at-"];
    for verb in ["get plain", "header plain", "get plain -o json", "get plain -o env", "get written", "get person"] {
        every(&|| sandbox.tok(verb.split(' ')), answers);
    }
    for verb in ["get plain --fresh", "get imported --fresh", "get written --no-store", "get plain --min-ttl 7d"] {
        every(&|| sandbox.tok(verb.split(' ')), answers);
    }
    let quiet = [
        "list",
        "list --json",
        "show plain",
        "show plain --json",
        "show written",
        "show person --json",
        "show imported",
        "providers",
        "providers --json",
        "providers plain",
        "providers plain --json",
        "providers plain --toml",
        "completions bash",
        "login --help",
        "login plain --help",
        "help get",
    ];
    for verb in quiet {
        every(&|| sandbox.tok(verb.split(' ')), &[]);
    }
    let file = sandbox.work().join("token");
    every(&|| sandbox.tok(["get", "plain", "--write"]).args([&file]), &[]);
    assert_eq!(crate::support::mode(&file), 0o600);

    // Failures of the server, which repeats what it was sent; by each grant.
    for failure in FAILURES {
        let id = format!("fail-{failure}");
        let with = |words: &str| sandbox.tok(words.split(' ')).args(["--client-id", &id, "--timeout", "100s"]);
        every(&|| with("get failing").env("TOK_FAILING_CLIENT_SECRET", secret("env")), &[]);
        let failing = || with("get plain --no-store").args(["--client-secret-file", &from_file]);
        every(&failing, &[]);
        every(&|| with("login plain password --as failing").args(["--password-file", &password]), &[]);
        every(&|| with("login plain refresh --as failing").args(["--refresh-token-file", &refresh]), &[]);
    }
    // A rotation whose refresh is refused, with the session that is kept.
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    for failure in ["400", "500", "json"] {
        sandbox.forget_cache();
        refuse.store(failure == "400", Ordering::Relaxed);
        if failure == "500" {
            server.next(Reply::text(500, &secret("rt-quoted")));
        } else if failure == "json" {
            server.next(Reply::text(200, &format!("{{\"refresh_token\": \"{}\", ", secret("rt-quoted"))));
        }
        let out = sandbox.run("get plain -vvv --timeout 100s");
        assert_ne!(out.code, 0, "{out}");
        only(&out, answers);
    }
    refuse.store(false, Ordering::Relaxed);
    // Secrets in the wrong place: typed, in a broken config, as a path.
    let typed = secret("typed");
    for args in [
        vec!["get", &typed],
        vec!["login", "plain", "client-credentials", "--client-secret", &typed],
        vec!["get", "plain", "--fresh", "--client-secret-file", &typed],
    ] {
        // A name that nobody knows is said, as it must be; it is no secret's place.
        if args != ["get", &typed] {
            every(&|| sandbox.tok(args.clone()), &[]);
        }
    }
    let broken = [
        format!("{config}client_secret = \"{}\" x\n", secret("in-config")),
        format!("{config}[profile.b]\nclient_secrt = \"{}\"\n", secret("in-config")),
        format!("{config}[profile.b]\nprovider = \"plain\"\nclient_secret = [\"{}\"]\n", secret("in-config")),
        format!(
            "{config}[profile.b]\nprovider = \"plain\"\nclient_secret = {{ comand = \"{}\" }}\n",
            secret("in-config")
        ),
        format!("{config}[profile.b]\nprovider = \"plain\"\nclient_secret = \"{}\n", secret("in-config")),
    ];
    for text in broken {
        sandbox.config(&text);
        for verb in ["get b", "list", "show b", "login plain"] {
            every(&|| sandbox.tok(verb.split(' ')), &[]);
        }
    }
    sandbox.config(&config);
    let files = files_hold_only_what_the_contract_says(sandbox, store_is_a_file);
    let mut every = |make: &dyn Fn() -> Tok| runs += at_verbosity(levels, make, &[]);
    every(&|| sandbox.tok(["logout", "imported"]));
    every(&|| sandbox.tok(["logout", "--all"]));
    let left = files_hold_only_what_the_contract_says(sandbox, store_is_a_file);
    // After the logout nothing is left at all, but for what the user wrote.
    for (name, bytes) in sandbox.files() {
        assert!(name.extension().is_none_or(|end| end != "journal"), "{} was left behind", name.display());
        let found: Vec<String> = secrets_in(&bytes).into_iter().filter(|n| n != "in-config").collect();
        assert!(found.is_empty(), "after the logout {} holds {found:?}", name.display());
    }
    (runs, files + left)
}

#[test]
fn canary_run_with_the_file_store() {
    let mut sandbox = Sandbox::with_file_store();
    let (runs, files) = canary_run(&mut sandbox, true, &["-q", "--color=never", "-v", "-vvv"]);
    println!("{runs} runs, {files} files");
}

#[test]
fn canary_run_with_the_keyring() {
    needs!(keyring);
    let keyring = Keyring::unlocked();
    let mut sandbox = Sandbox::new();
    sandbox.set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    let (runs, files) = canary_run(&mut sandbox, false, &["-vvv"]);
    println!("{runs} runs, {files} files");
    assert!(keyring.lookup("tok", "plain").is_none(), "forgotten");
}

#[test]
fn canary_in_a_journal_cannot_be_read_there_and_neither_it_nor_its_key_is_shown() {
    let server = issuer();
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &provider(&server.url()));
    let file = sandbox.file_arg("client", secret("client-secret"));
    sandbox.tok(["login", "plain", "--keep", "--client-secret-file", &file]).run().prints("");
    let key = |sandbox: &Sandbox| sandbox.secrets()["plain"]["journal"]["key"].as_str().unwrap().to_string();
    for _ in 0..2 {
        // Killed while the store is busy: the reply stands in the journal alone.
        let count = server.count();
        let gate = server.hold();
        let run = sandbox.tok(["get", "plain", "--fresh"]).spawn();
        server.until(count + 1);
        let lock = std::fs::File::open(sandbox.secrets_file().with_file_name("secrets.json.lock")).unwrap();
        lock.lock().unwrap();
        gate.open();
        let journal = || sandbox.files().into_iter().find(|(name, _)| name.extension().is_some_and(|e| e == "journal"));
        crate::support::until("the reply is sealed", || journal().is_some_and(|(_, bytes)| !bytes.is_empty()));
        run.signal(rustix::process::Signal::KILL);
        run.wait();
        drop(lock);
        files_hold_only_what_the_contract_says(&sandbox, true);
        let before = key(&sandbox);
        for verb in ["list --json", "show plain --json", "show plain", "get plain", "get plain --fresh"] {
            let out = sandbox.tok(verb.split(' ')).args(["-vvv"]).run();
            only(&out, if verb.starts_with("get") { &["at-"] } else { &[] });
            for key in [&before, &key(&sandbox)] {
                assert!(!out.stdout.contains(key) && !out.stderr.contains(key), "{verb} shows the key: {out}");
            }
        }
        assert!(journal().is_none(), "it goes once the store has the session");
        assert!(sandbox.files().iter().all(|(_, bytes)| !contains(bytes, before.as_bytes())), "and its key");
    }
}

#[test]
fn canary_in_a_broken_store_or_cache_is_not_shown() {
    let server = issuer();
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &provider(&server.url()));
    let file = sandbox.file_arg("client", secret("client-secret"));
    sandbox.tok(["login", "plain", "--keep", "--client-secret-file", &file]).run().prints("");
    let whole = std::fs::read(sandbox.secrets_file()).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    for broken in [
        text[..text.len() - 2].to_string(),
        text.replace("refresh_token", "refresh_tokn"),
        text.replace(&format!("\"{}\"", secret("client-secret")), &format!("[\"{}\"]", secret("client-secret"))),
        text.replace("{\"refresh_token\"", "x{\"refresh_token\""),
        format!("\"{}\"", secret("rt-broken")),
        secret("rt-broken"),
    ] {
        put(&sandbox.secrets_file(), broken.as_bytes());
        for verb in ["get plain --fresh", "login plain", "logout plain", "list", "show plain"] {
            at_verbosity(&["-vvv"], || sandbox.tok(verb.split(' ')), &["at-"]);
        }
    }
    put(&sandbox.secrets_file(), &whole);
    let cached = |sandbox: &Sandbox| {
        let mut found = Vec::new();
        crate::support::walk(&sandbox.state_dir().join("cache"), &mut |path| found.push(path.to_path_buf()));
        found
    };
    sandbox.tok(["login", "plain", "--keep", "--client-secret-file", &file]).run().prints("");
    sandbox.run("get plain").line();
    for path in cached(&sandbox) {
        let text = std::fs::read_to_string(&path).unwrap();
        put(&path, text.replace("\"provider\"", "\"provider\": 1, \"x\"").as_bytes());
        for verb in ["get plain --offline", "get plain", "list", "show plain"] {
            at_verbosity(&["-vvv"], || sandbox.tok(verb.split(' ')), &["at-"]);
        }
    }
}

/// What a child sees of `tok` and of itself goes to files below `to`; then it does its work.
fn spy(to: &Path, work: &str) -> Vec<u8> {
    let to = to.display();
    format!(
        "#!/bin/sh\nmkdir -p '{to}'\nfor p in $$ $PPID; do tr '\\0' '\\n' < /proc/$p/cmdline > '{to}'/cmdline.$$.$p\ndone\n\
         env > '{to}'/environ.$$\n{work}\n"
    )
    .into_bytes()
}

#[cfg(target_os = "linux")]
#[test]
fn no_process_shows_a_canary_in_its_arguments_or_environment() {
    let server = issuer();
    let mut sandbox = Sandbox::new();
    sandbox.provider("plain", &provider(&server.url()));
    let (tools, seen, kept) = (sandbox.work().join("bin"), sandbox.work().join("seen"), sandbox.work().join("kept"));
    // A helper that keeps one entry, and a command that hands out a secret: both look around first.
    let work = format!(
        "case $1 in store) cat > '{0}' ;; get) cat > /dev/null; [ -s '{0}' ] && cat '{0}' || \
         {{ echo 'credentials not found in native keychain'; exit 1; }} ;; erase) cat > /dev/null; rm -f '{0}' ;; esac",
        kept.display()
    );
    put(&tools.join("docker-credential-spy"), &spy(&seen, &work));
    put(&tools.join("vault"), &spy(&seen, &format!("echo '{}'", secret("process-command"))));
    for name in ["docker-credential-spy", "vault"] {
        chmod(&tools.join(name), 0o755);
    }
    sandbox.config("[profile.vaulted]\nprovider = \"plain\"\nclient_secret = { command = [\"vault\", \"show\"] }\n");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    sandbox.set("PATH", path).set("TOK_STORE", "helper:spy");
    let client = sandbox.file_arg("client", secret("process-client-secret"));
    let gate = server.hold();
    let mut scanned = 0;
    let mut look = |tok: Tok, own_environment: bool| {
        let before = server.count();
        let run = tok.spawn();
        server.until(before + 1);
        // The request is out, the reply is held: all that `tok` has is in its memory now.
        let but = own_environment.then(|| run.pid());
        let (count, found) = processes_hold(&format!("{MARK}-{CANARY}-process"), but);
        assert!(found.is_empty(), "{found:?}");
        scanned += count;
        run
    };
    let mut runs = vec![look(sandbox.tok(["login", "plain", "--keep", "--client-secret-file", &client]), false)];
    runs.push(look(sandbox.tok(["get", "vaulted", "-vvv"]), false));
    let env = sandbox.tok(["get", "other", "--no-store"]).env("TOK_OTHER_CLIENT_SECRET", secret("process-env"));
    sandbox.provider("other", &provider(&server.url()));
    runs.push(look(env, true));
    gate.open();
    for run in runs {
        only(&run.wait().ok(), &["at-"]);
    }
    // A secret of the environment reaches no child: the command, and the helper of a login that keeps.
    let with = |args: &[&str]| sandbox.tok(args).env("TOK_PLAIN_PASSWORD", secret("process-env-password"));
    only(&with(&["get", "vaulted", "--fresh"]).run(), &["at-"]);
    only(
        &with(&["login", "plain", "password", "--keep"]).env("TOK_PLAIN_CLIENT_SECRET", secret("process-env")).run(),
        &[],
    );
    only(&with(&["get", "plain", "--fresh"]).run(), &["at-"]);
    only(&with(&["logout", "plain"]).run(), &[]);
    let mut reports = 0;
    for entry in std::fs::read_dir(&seen).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(secrets_in(&bytes).is_empty(), "{:?}: {}", entry.file_name(), String::from_utf8_lossy(&bytes));
        assert!(!contains(&bytes, b"\nTOK_"), "a setting reaches a child: {}", String::from_utf8_lossy(&bytes));
        reports += 1;
    }
    assert!(reports >= 12, "the children looked: {reports}");
    println!("{scanned} argument lists and environments, {reports} reports of children");
}

/// Whether a process of this machine that may dump does so when it is killed.
#[cfg(target_os = "linux")]
fn cores_are_dumped(sandbox: &Sandbox) -> bool {
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", "ulimit -c unlimited && exec sh -c 'kill -QUIT $$; sleep 5'"])
        .current_dir(sandbox.file("core", "").parent().unwrap())
        .finish();
    status.is_ok_and(|out| out.status.core_dumped())
}

#[cfg(target_os = "linux")]
#[test]
fn a_crash_leaves_no_core_dump() {
    use rustix::process::Signal;
    let server = issuer();
    let sandbox = Sandbox::with_file_config("");
    sandbox.provider("plain", &provider(&server.url()));
    if !cores_are_dumped(&sandbox) {
        skip!("this machine dumps no cores at all");
    }
    let client = sandbox.file_arg("client", secret("client-secret"));
    let gate = server.hold();
    for (n, signal) in [Signal::QUIT, Signal::ABORT, Signal::TRAP].into_iter().enumerate() {
        let tok = sandbox.tok(["get", "plain", "--client-secret-file", &client, "--timeout", "100s"]);
        let run = tok.after("ulimit -c unlimited").spawn();
        server.until(n + 1);
        run.signal(signal);
        let out = run.wait();
        assert!(!out.status.core_dumped() && out.status.signal().is_some(), "{signal:?}: {out}");
    }
    gate.open();
    if !is_root() {
        return skip_part!("only root may see what a process that is not dumpable waits for: the short path");
    }
    // The short path as well, with the token in its hands: its stdout takes no more.
    sandbox.tok(["login", "plain", "--client-secret-file", &client]).run().prints("");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    sandbox.run("get plain").line();
    sandbox.run("get plain").line();
    let connections = server.connections();
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, &[0; 65536]).unwrap();
    let run = sandbox.tok(["get", "plain"]).after("ulimit -c unlimited").stdout(writer).spawn();
    let status = format!("/proc/{}/wchan", run.pid());
    crate::support::until("tok waits for its stdout", || {
        std::fs::read_to_string(&status).is_ok_and(|w| w.contains("pipe")) || {
            let stat = std::fs::read_to_string(format!("/proc/{}/syscall", run.pid())).unwrap_or_default();
            stat.starts_with("1 0x1 ")
        }
    });
    run.signal(Signal::QUIT);
    let out = run.wait();
    drop(reader);
    assert!(!out.status.core_dumped() && out.status.signal().is_some(), "the short path: {out}");
    assert_eq!(server.connections(), connections, "it was the short path");
}

#[cfg(target_os = "linux")]
#[test]
fn a_provoked_panic_or_abort_shows_no_canary() {
    let server = issuer();
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &provider(&server.url()));
    let client = sandbox.file_arg("client", secret("client-secret"));
    let mut ends = BTreeSet::new();
    // Less and less memory: no thread can be started, then no vector made. Whatever `tok` makes of it.
    for kib in (8_000..120_000).step_by(8_000) {
        let tok =
            sandbox.tok(["get", "plain", "--fresh", "-vvv", "--client-secret-file", &client, "--timeout", "100s"]);
        let mut command = tok.after(&format!("ulimit -v {kib}")).command();
        let out = command.finish().unwrap();
        assert!(secrets_in(&out.stderr).is_empty(), "{kib}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success() || out.stdout.is_empty(), "{kib}");
        ends.insert(format!("{:?}", out.status));
    }
    assert!(ends.len() > 1, "some failed and some did not: {ends:?}");
    // Closed files in place of stdin, stdout and stderr.
    for closed in ["exec <&-", "exec >&-", "exec 2>&-", "exec <&- >&- 2>&-", "exec <&- 2>&-"] {
        let out = sandbox.tok(["get", "plain", "-vvv", "--client-secret-file", &client]).after(closed).run();
        only(&out, &["at-"]);
    }
}

/// The bytes that no token may hold, one by one, and some characters beyond ASCII.
#[test]
fn a_token_that_is_not_visible_ascii_reaches_neither_stdout_nor_cache_nor_store() {
    let odd = (0..=0x20).chain([0x7f, 0x80, 0x85, 0x9b, 0xa0, 0xad, 0xff, 0x202e, 0x200b, 0x2028, 0xfeff, 0xe0041]);
    let odd: Vec<char> = odd.filter_map(char::from_u32).collect();
    for format in ["json", "text"] {
        let server = Server::issuing(600);
        let sandbox = Sandbox::with_file_store();
        let rules = format!("[response]\nformat = \"{format}\"\n");
        sandbox.provider("plain", &plain_provider(&server.url(), &rules));
        let file = sandbox.file_arg("client", secret("client-secret"));
        for c in &odd {
            let token = format!("bad{c}token");
            let reply = match format {
                "json" => Reply::json(200, json!({"access_token": token, "refresh_token": "bad-rt", "expires_in": 60})),
                _ => Reply::new(200, "text/plain", token.clone()),
            };
            server.next(reply.clone()).next(reply);
            for verb in ["get", "login"] {
                let out = sandbox.tok([verb, "plain", "--client-secret-file", &file]).run();
                assert_eq!((out.code, out.stdout.as_str()), (8, ""), "{c:?}: {out}");
                assert!(!out.stderr.contains("bad"), "{c:?}: {out}");
            }
        }
        for part in ["bad", "token\""] {
            let held = sandbox.files_with(part);
            let held: Vec<_> = held.iter().filter(|p| !p.starts_with(".config")).collect();
            assert!(held.is_empty(), "{part}: {held:?}");
        }
    }
    // One that got into the cache by other hands is not handed out, by the short path either.
    let server = Server::issuing(600);
    let sandbox = Sandbox::with_file_config("");
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let file = sandbox.file_arg("client", secret("client-secret"));
    let get = || sandbox.tok(["get", "plain", "--offline"]).run();
    sandbox.tok(["login", "plain", "--client-secret-file", &file]).run().prints("");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let token = sandbox.run("get plain").line();
    let mut path = sandbox.cache_file(&token);
    let text = std::fs::read_to_string(&path).unwrap();
    for bad in ["a b", "a\\nb", "a\\u001b[31m", "é", "\\u202e", ""] {
        put(&path, text.replace(&token, bad).as_bytes());
        assert_eq!(get().fails(4).stdout, "");
        let out = sandbox.run("get plain");
        let line = out.line();
        assert!(line.starts_with("at-"), "another one is got: {line}");
        path = sandbox.cache_file(&line);
    }
}
