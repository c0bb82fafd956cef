//! Killed at any instant of a rotating refresh: the entry is the old one or the new one and whole, no lock is left,
//! and the next call works wherever the server still takes what is kept.
//!
//! One loss cannot be helped: the server has rotated, and the process is killed before the reply stands sealed in the
//! journal. The sweeps count it, show that it happens nowhere else, and measure how long that window is.

use crate::child::SOON;
use crate::skip::needs;
use crate::support::apiax::{self, Apiax};
use crate::support::keyring::Keyring;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Output, Running, Sandbox, figures, full_sweeps, plain_provider, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A session at a strict server: a refresh token is good once, and a second time it ends the session.
pub(crate) struct Session {
    pub(crate) apiax: Apiax,
    pub(crate) sandbox: Sandbox,
    pub(crate) keyring: Option<Keyring>,
}

/// When, from the start of the process, what happened in a run that nobody disturbed.
#[derive(Clone, Copy, Debug)]
struct Course {
    received: Duration,
    sent: Duration,
    kept: Duration,
    end: Duration,
}

/// What a kill waits for before its delay begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Start,
    Received,
    Sent,
    Kept,
}

/// What a sweep found.
#[derive(Debug, Default)]
struct Tally {
    /// Processes that the signal ended.
    ended: usize,
    /// Processes that were done before.
    done: usize,
    /// Of those ended, where the entry still was the old one.
    old: usize,
    /// Of those ended, where the entry was the new one already.
    new: usize,
    /// Of the old ones, where the reply stood in the journal: the next call went on with it.
    recovered: usize,
    /// Of the old ones, where the server had rotated and nothing stood there: lost.
    lost: usize,
    /// The latest kill after the reply had begun to go out that still lost the token.
    latest: Duration,
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Waits without the scheduler's help at the end: a sleep alone is too coarse for the window.
fn wait_until(instant: Instant) {
    let coarse = instant.saturating_duration_since(Instant::now()).saturating_sub(Duration::from_micros(300));
    if !coarse.is_zero() {
        std::thread::sleep(coarse);
    }
    while Instant::now() < instant {
        std::hint::spin_loop();
    }
}

impl Session {
    pub(crate) fn in_file() -> Session {
        let apiax = Apiax::start();
        let sandbox = apiax.logged_in();
        Session { apiax, sandbox, keyring: None }
    }

    pub(crate) fn in_keyring() -> Session {
        let keyring = Keyring::unlocked();
        let apiax = Apiax::start();
        let mut sandbox = apiax.sandbox();
        sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
        apiax::login(&sandbox);
        Session { apiax, sandbox, keyring: Some(keyring) }
    }

    /// The kept refresh token; fails the test where the entry is not whole.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let entry: Value = match &self.keyring {
            None => self.sandbox.secrets()["apiax"].clone(),
            Some(keyring) => {
                let text = keyring.lookup("tok", "apiax").expect("an entry");
                serde_json::from_str(&text).expect("a whole entry")
            }
        };
        entry["refresh_token"].as_str().unwrap_or_else(|| panic!("no refresh token: {entry}")).into()
    }

    /// What changes when the store's file is replaced. The keyring's service writes its own after each change.
    fn stamp(&self) -> (u64, i64, i64) {
        let path: PathBuf = match &self.keyring {
            None => self.sandbox.secrets_file(),
            Some(keyring) => keyring.file(),
        };
        std::fs::metadata(path).map(|data| (data.ino(), data.mtime(), data.mtime_nsec())).unwrap_or_default()
    }

    /// Whether a reply stands in a journal.
    fn has_journal(&self) -> bool {
        let entries = std::fs::read_dir(self.sandbox.state_dir().join("locks")).unwrap().flatten();
        let is_one = |path: &PathBuf| path.extension().is_some_and(|end| end == "journal");
        entries.map(|entry| entry.path()).filter(is_one).any(|path| path.metadata().is_ok_and(|about| about.len() > 0))
    }

    fn is_alive(&self, token: &str) -> bool {
        self.apiax.state(|s| s.alive.contains_key(token))
    }

    fn start(&self) -> Running {
        self.sandbox.tok(["get", "apiax", "--fresh", "--timeout", "100s"]).spawn()
    }

    /// Waits until the store has changed, at most for some seconds.
    fn until_kept(&self, before: (u64, i64, i64)) -> Instant {
        let start = Instant::now();
        while self.stamp() == before && start.elapsed() < SOON {
            std::hint::spin_loop();
        }
        Instant::now()
    }

    /// A run that nobody disturbs, timed.
    fn course(&self) -> Course {
        let (before, sent) = (self.stamp(), self.apiax.server.sent());
        let start = Instant::now();
        let mut run = self.start();
        self.apiax.server.until(sent + 1);
        let received = start.elapsed();
        let sent = self.apiax.server.until_sent(sent + 1) - start;
        let kept = self.until_kept(before) - start;
        while !run.ended() {
            std::thread::sleep(Duration::from_micros(50));
        }
        let end = start.elapsed();
        run.wait().silent().line();
        Course { received, sent, kept, end }
    }

    /// The median of some undisturbed runs, and the window of each: from the reply to the kept token.
    fn measure(&self, runs: usize) -> (Course, Vec<Duration>) {
        let courses: Vec<Course> = (0..runs).map(|_| self.course()).collect();
        let of = |part: fn(&Course) -> Duration| median(courses.iter().map(part).collect());
        let course =
            Course { received: of(|c| c.received), sent: of(|c| c.sent), kept: of(|c| c.kept), end: of(|c| c.end) };
        (course, courses.iter().map(|c| c.kept.saturating_sub(c.sent)).collect())
    }

    /// The token that the server took and that nobody has a successor of: as if it had not been sent.
    fn revive(&self, token: &str) {
        self.apiax.state(|s| {
            s.spent.remove(token);
            s.alive.clear();
            s.alive.insert(token.into(), None);
        });
    }

    /// Ends one refresh by `signal`, the delay after `from`, and looks at what is left.
    /// `old` is the token that is kept, the answer the one that is kept then.
    fn disturb(&self, old: String, signal: Signal, (from, delay): (From, Duration), tally: &mut Tally) -> String {
        let shown = format!("{signal:?} {delay:?} after {from:?}");
        let before = self.stamp();
        let count = self.apiax.server.sent();
        let issued = self.apiax.state(|s| s.issued);
        let start = Instant::now();
        let run = self.start();
        let zero = match from {
            From::Start => start,
            From::Received => {
                self.apiax.server.until(count + 1);
                Instant::now()
            }
            From::Sent => self.apiax.server.until_sent(count + 1),
            From::Kept => self.until_kept(before),
        };
        wait_until(zero + delay);
        run.signal(signal);
        let hit = Instant::now();
        let out = run.wait();
        self.sandbox.assert_no_lock_is_held();
        self.settle(count);

        let fatal = signal == Signal::KILL;
        let now = self.token();
        let rotated = self.apiax.state(|s| s.issued) > issued;
        if out.code == 0 {
            tally.done += 1;
        } else {
            let code = 128 + signal.as_raw();
            assert_eq!(out.code, code, "{shown}: {out}");
            tally.ended += 1;
        }
        assert!(fatal || out.code == 0 || out.stdout.is_empty(), "{shown}: the answer of a failed call: {out}");
        // Kept before shown.
        let shown_token = out.stdout.strip_suffix('\n').filter(|_| !out.stdout.is_empty());
        assert_eq!(out.stdout.is_empty(), shown_token.is_none(), "{shown}: half an answer: {out}");
        if let Some(access) = shown_token {
            assert_eq!(now.replace("rt-", "at-"), access, "{shown}: shown and not kept");
        }
        assert_eq!(self.apiax.state(|s| s.reused), 0, "{shown}: a used token was sent again");

        if now == old && rotated && self.has_journal() {
            assert!(fatal, "{shown}: a signal that can wait left the store behind: {out}");
            tally.recovered += 1;
        } else if now == old && rotated {
            assert!(fatal, "{shown}: a signal that can wait has cost the session: {out}");
            assert_eq!(out.stdout, "", "{shown}");
            tally.lost += 1;
            tally.latest = tally.latest.max(hit.saturating_duration_since(self.apiax.server.until_sent(count + 1)));
            if tally.lost == 1 {
                // What a person then sees: that the session is over, and what to run.
                self.sandbox.run("get apiax --fresh").fails(4).hints_at("tok login apiax");
                self.apiax.state(|s| s.reused = 0);
                apiax::login(&self.sandbox);
            } else {
                self.revive(&old);
            }
        } else {
            assert!(self.is_alive(&now), "{shown}: neither the old token nor the new one is kept");
        }
        match (out.code, now == old) {
            (0, _) => assert_ne!(now, old, "{shown}: done, and the old token kept: {out}"),
            (_, true) => tally.old += 1,
            (_, false) => tally.new += 1,
        }
        self.get("get apiax --timeout 100s");
        let next = self.get("get apiax --fresh --timeout 100s");
        let kept = self.token();
        assert_eq!(kept.replace("rt-", "at-"), next, "{shown}: the next call");
        assert_eq!(self.apiax.state(|s| s.reused), 0, "{shown}: the next call sent a used token");
        assert!(!self.has_journal(), "{shown}: the journal goes once the store has the session");
        kept
    }

    /// The token that `line` prints. A keyring that is busy writing may not answer within its 3 s on a loaded
    /// machine: that is told (7) before anything is sent, and the call can be made again.
    pub(crate) fn get(&self, line: &str) -> String {
        for _ in 0..10 {
            let out = self.sandbox.run(line);
            if out.code != 7 {
                return out.silent().line();
            }
        }
        self.sandbox.run(line).silent().line()
    }

    /// Waits until the server has seen that its client is gone: a request on its way may still rotate the token.
    fn settle(&self, count: usize) {
        let quiet = Duration::from_millis(5);
        let mut seen = (self.apiax.server.connections(), self.apiax.server.count(), self.apiax.server.sent());
        for _ in 0..20 {
            std::thread::sleep(quiet);
            let now = (self.apiax.server.connections(), self.apiax.server.count(), self.apiax.server.sent());
            if now == seen && (now.2 == now.1 || now.1 == count) {
                return;
            }
            seen = now;
        }
    }

    /// Disturbs `rounds` refreshes, spread evenly over the whole of one and, closer, over what follows each event.
    fn sweep(&self, what: &str, signals: &[Signal], rounds: usize) {
        let (course, mut windows) = self.measure(9);
        let after = |event: Duration| course.end.saturating_sub(event);
        let parts = [
            (From::Start, course.end.mul_f64(1.1)),
            (From::Received, after(course.received)),
            // Twice as close: here a token can be lost.
            (From::Sent, course.kept.saturating_sub(course.sent).mul_f64(1.3)),
            (From::Sent, after(course.sent)),
            (From::Kept, after(course.kept)),
        ];
        let mut tally = Tally::default();
        let mut kept = self.token();
        let each = rounds.div_ceil(parts.len()).max(1);
        for (from, span) in parts {
            for i in 0..each {
                // At random, and spread all the same.
                let delay = span.mul_f64((i as f64 + random()) / each as f64);
                kept = self.disturb(kept, signals[i % signals.len()], (from, delay), &mut tally);
            }
        }
        windows.sort();
        figures(&format!(
            "{what}: {} disturbed, {} ended by it ({} left the old entry, {} the new), {} done before; {} \
             recovered from the journal, lost before it {}, the latest {:?} after the reply; reply to kept: {:?} to {:?}, median {:?}, of a refresh of {:?}",
            tally.ended + tally.done,
            tally.ended,
            tally.old,
            tally.new,
            tally.done,
            tally.recovered,
            tally.lost,
            tally.latest,
            windows[0],
            windows[windows.len() - 1],
            windows[windows.len() / 2],
            course.end,
        ));
        assert!(tally.ended > 0, "no run was hit in time: {tally:?}");
        // Nothing that was begun is left lying about in a pile that grows.
        let files = self.sandbox.files().len();
        assert!(files < 24 + 2 * tally.ended, "{files} files");
    }
}

/// A number from 0 to 1.
fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}

/// The number of rounds: some dozens, or many hundreds with `./test --full`.
fn rounds(short: usize, full: usize) -> usize {
    if full_sweeps() { full } else { short }
}

#[test]
fn kill_at_every_instant_leaves_the_file_store_old_or_new_and_whole() {
    let session = Session::in_file();
    session.sweep("kill -9, file store", &[Signal::KILL], rounds(120, 1200));
    assert!(session.sandbox.secrets().is_object());
}

#[test]
fn kill_at_every_instant_leaves_the_keyring_old_or_new_and_whole() {
    needs!(keyring);
    let session = Session::in_keyring();
    session.sweep("kill -9, keyring", &[Signal::KILL], rounds(80, 800));
    assert_eq!(session.keyring.as_ref().unwrap().count(), 1);
}

#[test]
fn int_term_and_hup_at_every_instant_lose_nothing_in_the_file_store() {
    let signals = [Signal::INT, Signal::TERM, Signal::HUP];
    Session::in_file().sweep("INT, TERM, HUP, file store", &signals, rounds(30, 600));
}

#[test]
fn int_term_and_hup_at_every_instant_lose_nothing_in_the_keyring() {
    needs!(keyring);
    let signals = [Signal::INT, Signal::TERM, Signal::HUP];
    Session::in_keyring().sweep("INT, TERM, HUP, keyring", &signals, rounds(15, 300));
}

#[test]
fn no_number_of_signals_ends_a_rotating_refresh_before_its_token_is_kept() {
    let session = Session::in_file();
    let gate = session.apiax.server.hold();
    let mut run = session.start();
    session.apiax.server.until(2);
    for signal in [Signal::INT, Signal::INT, Signal::TERM, Signal::HUP, Signal::TERM, Signal::INT] {
        run.signal(signal);
        std::thread::sleep(Duration::from_millis(15));
        assert!(!run.ended(), "{signal:?}");
    }
    gate.open();
    let out = run.wait();
    assert!([130, 143, 129].contains(&out.code) && out.stdout.is_empty(), "{out}");
    assert_eq!(session.token(), format!("rt-{CANARY}-2"));
}

#[test]
fn a_process_stopped_and_continued_at_any_instant_loses_nothing() {
    let session = Session::in_file();
    let (course, _) = session.measure(3);
    for i in 0..rounds(8, 60) {
        let run = session.start();
        wait_until(Instant::now() + course.end.mul_f64(i as f64 / rounds(8, 60) as f64));
        run.signal(Signal::STOP);
        std::thread::sleep(Duration::from_millis(30));
        run.signal(Signal::CONT);
        let access = run.wait().silent().line();
        assert_eq!(session.token().replace("rt-", "at-"), access);
    }
}

#[test]
fn a_closed_stdout_loses_nothing() {
    needs!(keyring);
    for session in [Session::in_file(), Session::in_keyring()] {
        for n in 2..5 {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let run = session.sandbox.tok(["get", "apiax", "--fresh"]).stdout(writer);
            run.run().ok().silent();
            assert_eq!(session.token(), format!("rt-{CANARY}-{n}"));
        }
    }
}

#[test]
fn a_stdout_that_closes_while_the_reply_is_under_way_loses_nothing() {
    let session = Session::in_file();
    let gate = session.apiax.server.hold();
    let (reader, writer) = std::io::pipe().unwrap();
    let run = session.sandbox.tok(["get", "apiax", "--fresh"]).stdout(writer).spawn();
    session.apiax.server.until(2);
    drop(reader);
    gate.open();
    run.wait().ok().silent();
    assert_eq!(session.token(), format!("rt-{CANARY}-2"));
}

#[test]
fn a_full_stdout_is_1_and_loses_nothing() {
    let session = Session::in_file();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    session.sandbox.tok(["get", "apiax", "--fresh"]).stdout(full).run().fails(1);
    assert_eq!(session.token(), format!("rt-{CANARY}-2"));
    session.sandbox.run("get apiax").prints(&format!("at-{CANARY}-2\n"));
    assert_eq!(session.apiax.server.count(), 2);
}

#[test]
fn a_stderr_that_takes_no_more_does_not_stand_between_the_reply_and_the_store() {
    // A terminal that was stopped with Ctrl-S, a pager that waits: whoever writes there sleeps.
    let session = Session::in_file();
    let gate = session.apiax.server.hold();
    let (reader, writer) = std::io::pipe().unwrap();
    let run = session.sandbox.tok(["get", "apiax", "--fresh", "-vvv"]).stderr(writer.try_clone().unwrap()).spawn();
    session.apiax.server.until(2);
    fill(&writer);
    gate.open();
    until("the new token is kept", || session.token() == format!("rt-{CANARY}-2"));
    // And a signal ends it, as nothing is on its way any more.
    run.signal(Signal::TERM);
    let out = run.wait();
    assert_eq!(out.code, 143, "{out}");
    drop(reader);
}

/// Fills a pipe to the last byte.
pub(crate) fn fill(mut pipe: &std::io::PipeWriter) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::io::Write;
    let flags = fcntl_getfl(pipe).unwrap();
    fcntl_setfl(pipe, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while pipe.write(&vec![b'.'; size]).is_ok() {}
    }
    fcntl_setfl(pipe, flags).unwrap();
}

#[test]
fn a_login_killed_at_every_instant_can_be_repeated_and_leaves_every_file_whole() {
    let purewl = PureWl::start();
    let rounds = rounds(16, 200);
    let mut whole = Duration::from_millis(60);
    for i in 0..rounds {
        let sandbox = Sandbox::with_file_config("");
        let key = sandbox.file_arg("key", purewl::secret_key());
        let url = purewl.server.url();
        let args = ["login", "purewl", "secret", "--as", "shop", "--base-url", &url, "--secret-key-file", &key];
        let start = Instant::now();
        let run = sandbox.tok(args).spawn();
        if i > 0 {
            wait_until(start + whole.mul_f64(1.1 * i as f64 / rounds as f64));
            run.signal(Signal::KILL);
            run.wait();
        } else {
            run.wait().prints("");
            whole = start.elapsed();
        }
        sandbox.assert_no_lock_is_held();
        let entry = sandbox.secrets()["shop"].clone();
        assert!(entry.is_null() || entry["refresh_token"].is_string(), "{entry}");
        sandbox.run("list --json").json();
        // The profile is there with its session, or it is not there, or it wants a login.
        let out = sandbox.run("get shop --fresh");
        assert!([0, 3, 4].contains(&out.code), "{out}");
        sandbox.tok(args).run().prints("");
        sandbox.run("get shop --fresh").silent().line();
    }
    assert_eq!(purewl.state(|s| s.reused), 0);
}

#[test]
fn a_logout_killed_at_every_instant_forgets_all_or_can_be_repeated() {
    let purewl = PureWl::start();
    let rounds = rounds(12, 150);
    let mut whole = Duration::from_millis(30);
    for i in 0..rounds {
        let sandbox = purewl.logged_in();
        let start = Instant::now();
        let run = sandbox.tok(["logout", "purewl"]).spawn();
        if i > 0 {
            wait_until(start + whole.mul_f64(1.1 * i as f64 / rounds as f64));
            run.signal(Signal::KILL);
            run.wait();
        } else {
            run.wait().prints("");
            whole = start.elapsed();
        }
        sandbox.assert_no_lock_is_held();
        let held = sandbox.secrets()["purewl"].is_object();
        let out: Output = sandbox.run("get purewl --fresh");
        assert_eq!(out.code, if held { 0 } else { 4 }, "{out}");
        sandbox.run("logout purewl").prints("");
        assert!(sandbox.files_with(CANARY).is_empty(), "{:?}", sandbox.files_with(CANARY));
        sandbox.run("get purewl").fails(4);
    }
}

#[test]
fn a_grant_that_needs_nobody_is_killed_with_nothing_half_cached() {
    let server = Server::new(|_| {
        let reply = json!({"access_token": format!("at-{CANARY}"), "expires_in": 600});
        Reply::json(200, reply)
    });
    let mut sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    sandbox.set("TOK_PLAIN_CLIENT_SECRET", format!("secret-{CANARY}"));
    let start = Instant::now();
    sandbox.run("get plain").silent().line();
    let whole = start.elapsed();
    let rounds = rounds(12, 150);
    for i in 0..rounds {
        let run = sandbox.tok(["get", "plain", "--fresh"]).spawn();
        wait_until(Instant::now() + whole.mul_f64(1.1 * i as f64 / rounds as f64));
        run.signal(Signal::KILL);
        run.wait();
        sandbox.assert_no_lock_is_held();
        sandbox.run("get plain").prints(&format!("at-{CANARY}\n"));
    }
}
