//! The journal: from the moment the reply to a refresh token is sealed and written, no kill and no store that fails costs
//! the session; whoever opens the store next finishes what was begun. And what a refresh may do to a session: it is
//! waited for, and only death ends it.

use crate::child::SOON;
use crate::crash::Session;
use crate::skip::needs;
use crate::support::apiax::{self, Apiax, Rotation};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, Tok, chmod, figures, full_sweeps, mode, plain_provider, put, until};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The journals below the state folder of `sandbox`.
fn journals(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sandbox.state_dir().join("locks")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "journal")).collect()
}

/// `tok` under strace with these options, its log in `log`.
fn traced(tok: Tok, options: &str, log: &str) -> Tok {
    tok.after(&format!("exec strace -f -o '{log}' {options} \"$0\" \"$@\""))
}

/// The system calls of an undisturbed refresh from the one after the sealed write on: the name of each, and which of
/// that name in its thread it is.
fn calls_after_the_write(session: &Session) -> Vec<(String, usize)> {
    let log = session.sandbox.work().join("strace").to_str().unwrap().to_string();
    let get = session.sandbox.tok(["get", "apiax", "--fresh", "--timeout", "100s"]);
    traced(get, "", &log).run().line();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut after = None;
    let text = std::fs::read_to_string(&log).unwrap();
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        let count = counts.entry((pid, name)).or_default();
        *count += 1;
        match &mut after {
            None if name == "pwrite64" => after = Some(Vec::new()),
            None => {}
            Some(after) => after.push((name.to_string(), *count)),
        }
    }
    let after = after.unwrap_or_else(|| panic!("no sealed write: {text}"));
    after.into_iter().filter(|(name, _)| !name.starts_with("exit")).collect()
}

/// Kills a refresh at each of these calls; the next call has the session each time.
fn killed_at_every_call(session: &Session, what: &str, step: usize) {
    let calls = calls_after_the_write(session);
    assert!(calls.len() > 10, "{calls:?}");
    let (mut killed, mut recovered) = (0, 0);
    for (name, count) in calls.iter().step_by(step) {
        let before = session.token();
        let get = session.sandbox.tok(["get", "apiax", "--fresh", "--timeout", "100s"]);
        let options = format!("-e trace={name} -e inject={name}:signal=KILL:when={count}");
        let out = traced(get, &options, "/dev/null").run();
        assert!([0, 137].contains(&out.code), "{name} {count}: {out}");
        killed += usize::from(out.code == 137);
        recovered += usize::from(session.token() == before);
        session.sandbox.assert_no_lock_is_held();
        session.get("get apiax --fresh --timeout 100s");
        assert_eq!(session.apiax.state(|s| s.reused), 0, "{name} {count}: lost");
        assert_eq!(journals(&session.sandbox), Vec::<PathBuf>::new(), "{name} {count}");
    }
    figures(&format!(
        "{what}: {} system calls after the sealed write, {killed} refreshes killed, {recovered} of them before the \
         store had the session; sessions lost: 0",
        calls.len()
    ));
    assert!(killed > 0 && recovered > 0, "{killed} {recovered}");
}

#[cfg(target_os = "linux")]
#[test]
fn killed_at_every_system_call_after_the_sealed_write_loses_nothing_in_the_file_store() {
    needs!("strace");
    killed_at_every_call(&Session::in_file(), "kill at each system call, file store", 1);
}

#[cfg(target_os = "linux")]
#[test]
fn killed_at_every_system_call_after_the_sealed_write_loses_nothing_in_the_keyring() {
    needs!("strace");
    needs!(keyring);
    let step = if full_sweeps() { 1 } else { 3 };
    killed_at_every_call(&Session::in_keyring(), "kill at each system call, keyring", step);
}

/// Starts `refresh` and kills it between its sealed write and the store: the journal holds the reply then, and the store
/// the session of before.
#[track_caller]
fn leave_a_journal(session: &Session, refresh: Tok) -> PathBuf {
    let count = session.apiax.server.count();
    let gate = session.apiax.server.hold();
    let mut run = refresh.spawn();
    session.apiax.server.until(count + 1);
    let found = journals(&session.sandbox);
    assert_eq!(found.len(), 1, "one journal, open before the token is sent: {found:?}");
    let journal = found[0].clone();
    assert_eq!((mode(&journal), std::fs::metadata(&journal).unwrap().len()), (0o600, 0));
    // The store takes nothing for now, so that the kill comes before it.
    let lock = session.sandbox.secrets_file().with_file_name("secrets.json.lock");
    let lock = session.keyring.is_none().then(|| std::fs::File::open(lock).unwrap());
    lock.iter().for_each(|lock| lock.lock().unwrap());
    session.keyring.iter().for_each(|keyring| keyring.freeze());
    gate.open();
    until("the reply is sealed", || std::fs::metadata(&journal).is_ok_and(|about| about.len() > 0));
    assert!(!run.ended());
    run.signal(Signal::KILL);
    assert_eq!(run.wait().code, 137);
    session.keyring.iter().for_each(|keyring| keyring.thaw());
    journal
}

fn refresh(session: &Session) -> Tok {
    session.sandbox.tok(["get", "apiax", "--fresh"])
}

/// What a killed refresh left is found from every environment, by whoever comes next.
fn found_from_every_environment(session: &mut Session) {
    let run_dir = session.sandbox.work().join("run");
    std::fs::create_dir(&run_dir).unwrap();
    chmod(&run_dir, 0o700);
    session.sandbox.set("XDG_RUNTIME_DIR", &run_dir);
    let session = &*session;
    let elsewhere = session.sandbox.work().join("moved-state");
    let environments: [&dyn Fn(Tok) -> Tok; 4] = [
        &|get| get.env("XDG_STATE_HOME", &elsewhere),
        &|get| get.env_remove("XDG_RUNTIME_DIR"),
        &|get| get.cwd("/"),
        &|get| {
            let cron = get.env_remove("XDG_RUNTIME_DIR").env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
            cron.env("LOGNAME", "somebody").cwd(session.sandbox.home())
        },
    ];
    for killed in environments {
        for next in environments {
            let journal = leave_a_journal(session, killed(refresh(session)));
            let issued = session.apiax.state(|s| s.issued);
            let access = next(refresh(session)).run().silent().line();
            assert_eq!(access, format!("at-{CANARY}-{}", issued + 1));
            assert_eq!(session.apiax.state(|s| s.reused), 0);
            assert_eq!(session.token(), format!("rt-{CANARY}-{}", issued + 1));
            assert!(!journal.exists());
        }
    }
    assert_eq!(journals(&session.sandbox), Vec::<PathBuf>::new());
    assert!(!elsewhere.join("tok/locks").read_dir().is_ok_and(|mut left| {
        left.any(|entry| entry.unwrap().path().extension().is_some_and(|end| end == "journal"))
    }));
}

#[test]
fn a_journal_in_the_file_store_is_found_from_four_environments() {
    found_from_every_environment(&mut Session::in_file());
}

#[test]
fn a_journal_in_the_keyring_is_found_from_four_environments() {
    needs!(keyring);
    found_from_every_environment(&mut Session::in_keyring());
}

#[test]
fn a_state_folder_that_was_moved_keeps_its_journal() {
    let session = Session::in_file();
    leave_a_journal(&session, refresh(&session));
    let elsewhere = session.sandbox.work().join("moved-state");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::rename(session.sandbox.state_dir(), elsewhere.join("tok")).unwrap();
    refresh(&session).env("XDG_STATE_HOME", &elsewhere).run().silent().line();
    assert_eq!(session.apiax.state(|s| (s.issued, s.reused)), (3, 0));
}

#[test]
fn an_access_token_that_a_killed_call_got_answers_the_next_one() {
    let session = Session::in_file();
    session.sandbox.forget_cache();
    leave_a_journal(&session, session.sandbox.tok(["get", "apiax"]));
    session.sandbox.run("get apiax").prints(&format!("at-{CANARY}-2\n"));
    assert_eq!(session.token(), format!("rt-{CANARY}-2"));
    assert_eq!(session.apiax.server.count(), 2);
    // From before this call, as `--fresh` sees it.
    session.sandbox.run("get apiax --fresh").prints(&format!("at-{CANARY}-3\n"));
}

#[test]
fn login_and_logout_finish_what_a_killed_call_left() {
    let session = Session::in_file();
    leave_a_journal(&session, refresh(&session));
    session.sandbox.run("login apiax refresh").prints("");
    assert_eq!((session.token(), session.apiax.state(|s| s.reused)), (format!("rt-{CANARY}-3"), 0));
    leave_a_journal(&session, refresh(&session));
    assert_eq!(session.sandbox.run("logout apiax").code, 0);
    assert_eq!(journals(&session.sandbox), Vec::<PathBuf>::new());
    assert_eq!(session.sandbox.files_with(CANARY), Vec::<PathBuf>::new());
    session.sandbox.run("get apiax").fails(4);
}

#[test]
fn a_login_by_a_refresh_token_that_is_killed_is_finished_by_the_next_call() {
    let session = Session::in_file();
    let token = session.token();
    assert_eq!(session.sandbox.run("logout apiax").code, 0);
    let file = session.sandbox.file_arg("token", &token);
    let login = || session.sandbox.tok(["login", "apiax", "refresh", "--refresh-token-file", &file]);
    leave_a_journal(&session, login());
    session.sandbox.run("get apiax --fresh").prints(&format!("at-{CANARY}-3\n"));
    assert_eq!(session.apiax.state(|s| s.reused), 0);
    // One that fails leaves nothing.
    assert_eq!(session.sandbox.run("logout apiax").code, 0);
    login().run().fails(5);
    assert!(session.sandbox.secrets()["apiax"].is_null(), "{}", session.sandbox.secrets());
    assert_eq!(journals(&session.sandbox), Vec::<PathBuf>::new());
}

#[test]
fn nothing_unsealed_lies_in_a_journal() {
    let session = Session::in_file();
    let journal = leave_a_journal(&session, refresh(&session));
    let bytes = std::fs::read(&journal).unwrap();
    assert!(bytes.len() > 500);
    for part in [CANARY, "access_token", "application/json", "apiax", "refresh"] {
        assert!(!crate::support::contains(&bytes, part.as_bytes()), "{part}");
    }
}

#[test]
fn a_journal_that_cannot_be_opened_is_removed_and_not_trusted() {
    let session = Session::in_file();
    session.apiax.state(|s| s.rotation = Rotation::Never);
    let whole = {
        let journal = leave_a_journal(&session, refresh(&session));
        std::fs::read(journal).unwrap()
    };
    let kept = std::fs::read(session.sandbox.secrets_file()).unwrap();
    let mut bent = whole.clone();
    bent[100] ^= 1;
    let old = session.token();
    for bytes in [&b""[..], b"x", &whole[..whole.len() - 1], &bent, &vec![b'A'; 5 << 20]] {
        journals(&session.sandbox).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        put(&session.sandbox.secrets_file(), &kept);
        chmod(&session.sandbox.secrets_file(), 0o600);
        let name = leave_a_journal(&session, refresh(&session));
        put(&name, bytes);
        chmod(&name, 0o600);
        let count = session.apiax.server.count();
        session.sandbox.run("get apiax --fresh").silent().line();
        assert_eq!(session.apiax.server.last().field("refresh_token"), old);
        assert_eq!(session.apiax.server.count(), count + 1);
        assert!(!name.exists());
    }
    // That of an older session, under the name of the one that is there now.
    let name = leave_a_journal(&session, refresh(&session));
    put(&name, &whole);
    chmod(&name, 0o600);
    session.sandbox.run("get apiax --fresh").silent().line();
    assert!(!name.exists());
}

#[test]
fn where_there_can_be_no_journal_the_store_is_enough() {
    let session = Session::in_file();
    session.apiax.state(|s| s.rotation = Rotation::Never);
    let journal = leave_a_journal(&session, refresh(&session));
    std::fs::remove_file(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    // An empty one would be taken away.
    std::fs::write(journal.join("x"), "").unwrap();
    refresh(&session).args(["-v"]).run().ok().says("the journal cannot be written");
    assert_eq!(session.token(), format!("rt-{CANARY}-3"));
}

#[test]
fn a_link_in_the_place_of_a_journal_is_not_followed() {
    let session = Session::in_file();
    let journal = leave_a_journal(&session, refresh(&session));
    let planted = session.sandbox.file("planted", "mine");
    std::fs::remove_file(&journal).unwrap();
    std::os::unix::fs::symlink(&planted, &journal).unwrap();
    session.sandbox.run("get apiax --fresh");
    assert_eq!(std::fs::read(&planted).unwrap(), b"mine");
}

#[test]
fn an_entry_without_a_key_gets_one_before_its_token_is_sent() {
    let session = Session::in_file();
    let path = session.sandbox.secrets_file();
    let mut entries = session.sandbox.secrets();
    entries["apiax"].as_object_mut().unwrap().remove("journal").expect("a key");
    put(&path, entries.to_string().as_bytes());
    chmod(&path, 0o600);
    let count = session.apiax.server.count();
    let gate = session.apiax.server.hold();
    let run = refresh(&session).spawn();
    session.apiax.server.until(count + 1);
    let key = |session: &Session| session.sandbox.secrets()["apiax"]["journal"]["key"].as_str().unwrap().to_string();
    let first = key(&session);
    assert_eq!(first.len(), 64);
    assert_eq!(session.token(), format!("rt-{CANARY}-1"), "and nothing else has changed");
    gate.open();
    run.wait().silent().line();
    assert_ne!(key(&session), first, "another after each change");
}

#[test]
fn where_no_key_can_be_kept_it_is_7_and_nothing_is_sent() {
    let session = Session::in_file();
    let path = session.sandbox.secrets_file();
    let mut entries = session.sandbox.secrets();
    entries["apiax"].as_object_mut().unwrap().remove("journal").expect("a key");
    put(&path, entries.to_string().as_bytes());
    chmod(&path, 0o600);
    let lock = path.with_file_name("secrets.json.lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    let count = session.apiax.server.count();
    refresh(&session).run().fails(7);
    assert_eq!(session.apiax.server.count(), count, "the token is not spent");
    std::fs::remove_dir(&lock).unwrap();
    refresh(&session).run().silent().line();
}

#[test]
fn a_store_that_takes_no_new_session_is_given_it_by_the_next_call() {
    let session = Session::in_file();
    let lock = session.sandbox.secrets_file().with_file_name("secrets.json.lock");
    let count = session.apiax.server.count();
    let gate = session.apiax.server.hold();
    let run = refresh(&session).spawn();
    session.apiax.server.until(count + 1);
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    gate.open();
    let out = run.wait();
    assert_eq!((out.code, out.stdout.as_str()), (0, format!("at-{CANARY}-2\n").as_str()), "{out}");
    out.says("the new refresh token could not be stored");
    // As long as the store takes nothing, the spent token is not sent.
    refresh(&session).run().fails(7);
    assert_eq!(session.apiax.server.count(), count + 1);
    std::fs::remove_dir(&lock).unwrap();
    refresh(&session).run().prints(&format!("at-{CANARY}-3\n"));
    assert_eq!(session.apiax.state(|s| s.reused), 0);
}

#[test]
fn two_stores_of_one_profile_have_two_journals() {
    needs!(keyring);
    let mut session = Session::in_keyring();
    leave_a_journal(&session, refresh(&session));
    let in_keyring = session.token();
    // The same profile in the file store: its refreshes leave the other's journal alone.
    session.sandbox.set("TOK_STORE", "file");
    apiax::login(&session.sandbox);
    refresh(&session).run().silent().line();
    assert_eq!(journals(&session.sandbox).len(), 1);
    let _ = in_keyring;
}

/// From the moment the server has begun to send its reply until that is sealed and on disk.
fn what_remains(session: &Session, runs: usize) -> Vec<Duration> {
    let mut spans: Vec<Duration> = (0..runs)
        .map(|_| {
            let count = session.apiax.server.count();
            let gate = session.apiax.server.hold();
            let run = refresh(session).spawn();
            session.apiax.server.until(count + 1);
            let journal = std::fs::File::open(&journals(&session.sandbox)[0]).unwrap();
            gate.open();
            let begun = Instant::now();
            while journal.metadata().unwrap().len() == 0 && begun.elapsed() < SOON {
                std::hint::spin_loop();
            }
            let written = Instant::now();
            run.wait().line();
            written.saturating_duration_since(session.apiax.server.until_sent(count + 1))
        })
        .collect();
    spans.sort();
    spans
}

#[test]
fn what_remains_is_the_way_from_the_server_to_the_sealed_write() {
    let session = Session::in_file();
    let runs = if full_sweeps() { 200 } else { 20 };
    let empty = what_remains(&session, runs);
    let cached = session.sandbox.state_dir().join("cache/apiax");
    let one = std::fs::read_dir(&cached).unwrap().flatten().map(|e| e.path()).find(|path| {
        path.file_name().is_some_and(|name| !name.to_str().unwrap().starts_with("head")) && path.extension().is_some()
    });
    let one = std::fs::read_to_string(one.unwrap()).unwrap();
    for n in 0..200 {
        // Of other scopes, and still good.
        let other = one.replace("\"lists\":{", &format!("\"lists\":{{\"scope\":[\"s{n}\"],"));
        let path = cached.join(format!("{n:016x}.json"));
        put(&path, other.as_bytes());
        chmod(&path, 0o600);
    }
    let full = what_remains(&session, runs);
    let shown = |spans: &[Duration]| (spans[0], spans[spans.len() / 2], spans[spans.len() - 1]);
    figures(&format!(
        "server's reply to sealed write, least, median, most: {:?}; with 200 cached tokens: {:?}",
        shown(&empty),
        shown(&full)
    ));
    // The cache is read before, and so the median does not grow with it.
    assert!(full[runs / 2] < empty[runs / 2] * 10 + Duration::from_millis(20), "{empty:?} {full:?}");
}

#[test]
fn the_reply_to_a_refresh_token_is_waited_for_beyond_the_timeout() {
    let session = Session::in_file();
    let gate = session.apiax.server.hold();
    let run = session.sandbox.tok(["get", "apiax", "--fresh", "--timeout", "1s"]).spawn();
    session.apiax.server.until(2);
    std::thread::sleep(Duration::from_millis(2500));
    gate.open();
    run.wait().prints(&format!("at-{CANARY}-2\n"));
    assert_eq!(session.token(), format!("rt-{CANARY}-2"));
    let gate = session.apiax.server.hold();
    let run = session.sandbox.tok(["login", "apiax", "refresh", "--timeout", "1s"]).spawn();
    session.apiax.server.until(3);
    std::thread::sleep(Duration::from_millis(2500));
    gate.open();
    run.wait().prints("");
    assert_eq!(session.token(), format!("rt-{CANARY}-3"));
}

#[test]
fn a_refresh_token_without_a_reply_is_6_and_says_that_the_session_may_be_lost() {
    let session = Session::in_file();
    session.apiax.server.next(Reply::nothing());
    refresh(&session).run().fails(6).says("the session may be lost").hints_at("tok get apiax");
    assert_eq!(journals(&session.sandbox), Vec::<PathBuf>::new());
    session.sandbox.run("get apiax --fresh").silent().line();
}

#[test]
fn the_timeout_ends_what_has_not_sent_the_refresh_token_yet() {
    let session = Session::in_file();
    // A server that never begins to speak TLS: the connection does not stand.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let text = std::fs::read_to_string(session.sandbox.secrets_file()).unwrap();
    put(&session.sandbox.secrets_file(), text.replace(&session.apiax.server.url(), &url).as_bytes());
    chmod(&session.sandbox.secrets_file(), 0o600);
    let get = session.sandbox.tok(["get", "apiax", "--fresh", "--timeout", "1s"]);
    get.env("TOK_APIAX_BASE_URL", &url).run().fails(6).soon().never_says("may be lost");
}

/// A session at a server that refuses other scopes as if the session were dead, where `refused` says so.
fn scoped(code: &'static str) -> (Server, Sandbox) {
    let server = Server::new(move |request| {
        if request.has_field("refresh_token") && request.has_field("scope") {
            return Reply::json(400, json!({"error": code, "error_description": "no such scope for you"}));
        }
        let n = if request.has_field("refresh_token") { 2 } else { 1 };
        let tokens = json!({"access_token": format!("at-{CANARY}-{n}"), "refresh_token": format!("rt-{CANARY}-{n}"),
                            "expires_in": 600});
        Reply::json(200, tokens)
    });
    let provider = plain_provider(&server.url(), "")
        .replace("refresh_token = \"{refresh_token}\"", "refresh_token = \"{refresh_token}\", scope = \"{scope?}\"");
    let sandbox = Sandbox::with_file_store();
    assert!(provider.contains("{scope?}"), "{provider}");
    sandbox.provider("plain", &provider);
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret, "--keep"]).run().prints("");
    (server, sandbox)
}

#[test]
fn a_refresh_for_other_scopes_that_is_refused_leaves_the_session_as_it_is() {
    let (server, sandbox) = scoped("invalid_grant");
    let kept = sandbox.secrets();
    sandbox.run("get plain --scope mail").fails(5).says("no such scope for you");
    assert_eq!(sandbox.secrets(), kept);
    // And the next plain call asks what it always asks.
    let count = server.count();
    sandbox.run("get plain --fresh").prints(&format!("at-{CANARY}-2\n"));
    let asked = server.last();
    assert!(asked.has_field("refresh_token") && !asked.has_field("scope"));
    assert_eq!(server.count(), count + 1);
}

#[test]
fn a_refusal_of_the_sessions_own_refresh_clears_the_refresh_token_alone() {
    let apiax = Apiax::start();
    let sandbox = apiax.sandbox();
    let file = sandbox.file_arg("password", apiax::password());
    let args = ["login", "apiax", "password", "--username", apiax::USERNAME, "--keep", "--password-file", &file];
    sandbox.tok(args).run().prints("");
    let secrets = sandbox.secrets()["apiax"]["secrets"].clone();
    assert!(secrets["password"].is_string());
    apiax.state(|s| s.alive.clear());
    sandbox.run("get apiax --fresh");
    assert_eq!(sandbox.secrets()["apiax"]["secrets"], secrets);
    assert_ne!(sandbox.secrets()["apiax"]["refresh_token"], format!("rt-{CANARY}-1"));
    assert_eq!(journals(&sandbox), Vec::<PathBuf>::new());
}
