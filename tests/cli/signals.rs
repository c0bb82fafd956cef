//! INT, TERM and HUP, and the programs that are run: a signal that came before the answer was written always is the
//! end, with its own status, an empty stdout, and nothing left running; a command ends with its whole group.
//!
//! Ten rounds of each, or two hundred with `./test --full`.

use crate::shared_stores::Sqlite;
use crate::skip::needs;
use crate::support::apiax::{self, Apiax};
use crate::support::keyring::Keyring;
use crate::support::purewl::PureWl;
use crate::support::server::{Reply, Server};
use crate::support::terminal::echoes;
use crate::support::{CANARY, Sandbox, Tok, chmod, full_sweeps, plain, plain_provider};
use rexpect::session::PtySession;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// Far beyond anything healthy on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Each signal, as often as it is to be sent.
fn rounds() -> impl Iterator<Item = Signal> {
    let count = if full_sweeps() { 200 } else { 10 };
    (0..count).flat_map(|_| SIGNALS)
}

#[track_caller]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes children begin with the default of each signal, also where the tests were started with some ignored
/// (`nohup`, `&`): what is handled here is the default there.
fn defaults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
        let ignored = mask.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        for signal in SIGNALS.map(Signal::as_raw).into_iter().filter(|s| ignored & (1 << (s - 1)) != 0) {
            signal_hook::flag::register(signal, Arc::default()).unwrap();
        }
    });
}

/// A run of `tok` in a group of its own.
struct Run {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

/// What it left.
#[derive(Debug)]
struct Left {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Run {
    fn start(tok: Tok) -> Run {
        Run::with(tok, Stdio::piped())
    }

    fn with(tok: Tok, stdout: Stdio) -> Run {
        defaults();
        let mut command = tok.command();
        command.process_group(0).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(read);
        let stderr = child.stderr.take().map(read);
        Run { child, stdout, stderr }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The names of what it holds open.
    fn open(&self) -> Vec<PathBuf> {
        let Ok(all) = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())) else { return Vec::new() };
        all.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
    }

    #[track_caller]
    fn until_open(&self, what: impl Fn(&Path) -> bool) {
        eventually("it has opened what it waits for", || self.open().iter().any(|path| what(path)));
    }

    #[track_caller]
    fn end(mut self) -> Left {
        let mut status = None;
        eventually("tok ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let text = |pipe: Option<JoinHandle<String>>| pipe.map(|pipe| pipe.join().unwrap()).unwrap_or_default();
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        assert!(!stderr.contains(CANARY), "a secret on stderr: {stderr}");
        Left { status: status.unwrap(), stdout, stderr }
    }

    /// Its end by `signal`, with an empty stdout.
    #[track_caller]
    fn ends_by(self, signal: Signal) {
        let left = self.end();
        assert_eq!((left.status.signal(), left.stdout.as_str()), (Some(signal.as_raw()), ""), "{signal:?}: {left:?}");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = pipe.read_to_string(&mut text);
        text
    })
}

/// A command whose output is the client's secret in the profile `p`.
struct Command {
    sandbox: Sandbox,
    server: Server,
}

impl Command {
    /// `script` is a shell's; `$PIDS` is the file that [`Command::pids`] reads.
    fn new(script: &str) -> Command {
        let server = Server::issuing(600);
        let sandbox = Sandbox::with_file_store();
        sandbox.provider("plain", &plain_provider(&server.url(), ""));
        let pids = sandbox.work().join("pids");
        let text = format!("#!/bin/sh\nPIDS='{}'\n{script}\n", pids.display());
        let file = sandbox.file("command", text);
        chmod(&file, 0o700);
        let command = file.display();
        sandbox
            .config(&format!("[profile.p]\nprovider = \"plain\"\nclient_secret = {{ command = [\"{command}\"] }}\n"));
        Command { sandbox, server }
    }

    fn get(&self) -> Tok {
        self.sandbox.tok(["get", "p", "--fresh"])
    }

    fn forget_pids(&self) {
        let _ = std::fs::remove_file(self.sandbox.work().join("pids"));
    }

    /// The processes that the command has noted; waits until it says that these are all.
    #[track_caller]
    fn pids(&self) -> Vec<Pid> {
        let mut words = Vec::new();
        eventually("the command runs", || {
            let text = std::fs::read_to_string(self.sandbox.work().join("pids")).unwrap_or_default();
            words = text.split_whitespace().map(str::to_owned).collect();
            words.pop().is_some_and(|last| last == "all")
        });
        words.iter().map(|word| Pid::from_raw(word.parse().unwrap()).unwrap()).collect()
    }
}

/// Whether a process runs: one that has ended and that nobody has waited for does not.
fn runs(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    test_kill_process(pid).is_ok()
        && !stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])))
}

#[track_caller]
fn gone(pids: &[Pid]) {
    eventually("its processes end", || !pids.iter().any(|pid| runs(*pid)));
}

#[test]
fn a_signal_in_a_wait_for_the_lock_is_the_end() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let gate = server.hold();
    let holder = Run::start(sandbox.tok(["get", "plain", "--timeout", "3600s"]));
    eventually("the holder asks", || server.count() == 1);
    // However long this takes, it goes no further.
    holder.signal(Signal::STOP);
    let locks = sandbox.state_dir();
    for signal in rounds() {
        let run = Run::start(sandbox.tok(["get", "plain", "--timeout", "600s"]));
        run.until_open(|path| path.starts_with(&locks));
        run.signal(signal);
        run.ends_by(signal);
    }
    gate.open();
    drop(holder);
    assert_eq!(server.count(), 1);
}

#[test]
fn a_signal_in_a_call_of_the_keyring_is_the_end() {
    let keyring = Keyring::unlocked();
    let apiax = Apiax::start();
    let mut sandbox = apiax.sandbox();
    sandbox.unset("TOK_STORE").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    apiax::login(&sandbox);
    let count = apiax.server.count();
    keyring.freeze();
    for signal in rounds() {
        let run = Run::start(sandbox.tok(["get", "apiax", "--fresh"]));
        run.until_open(|path| path.to_string_lossy().starts_with("socket:"));
        run.signal(signal);
        run.ends_by(signal);
    }
    keyring.thaw();
    assert_eq!(apiax.server.count(), count);
}

#[test]
fn a_signal_while_a_reply_is_awaited_decides_whatever_the_reply_is() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    for (round, signal) in rounds().enumerate() {
        let gate = server.hold();
        let run = Run::start(sandbox.tok(["get", "plain", "--fresh", "--timeout", "600s"]));
        eventually("the request comes", || server.count() == round + 1);
        run.signal(signal);
        gate.open();
        run.ends_by(signal);
    }
    // What was issued is kept.
    assert!(sandbox.run("get plain --offline").line().contains(CANARY));
}

#[test]
fn a_second_signal_ends_a_wait_for_a_reply_that_costs_nothing() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let gate = server.hold();
    for (first, second) in [(Signal::INT, Signal::INT), (Signal::TERM, Signal::HUP)] {
        let count = server.count();
        let run = Run::start(sandbox.tok(["get", "plain", "--fresh", "--timeout", "600s"]));
        eventually("the request comes", || server.count() == count + 1);
        run.signal(first);
        // Two of the same that nobody has looked at yet are one.
        eventually("it has seen the first", || !is_signal_pending(&run));
        run.signal(second);
        run.ends_by(second);
    }
    gate.open();
}

/// Whether a signal waits for the process to look at it (proc(5), `ShdPnd`).
fn is_signal_pending(run: &Run) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.child.id())).unwrap();
    status.lines().any(|line| line.strip_prefix("ShdPnd:").is_some_and(|mask| mask.trim().contains(|c| c != '0')))
}

#[test]
fn a_signal_while_stdout_takes_nothing_is_the_end() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    for signal in SIGNALS {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let filled = fill(&mut writer);
        let count = server.count();
        let run = Run::with(sandbox.tok(["get", "plain", "--fresh"]), writer.into());
        eventually("it is answered", || server.sent() == count + 1);
        eventually("it is done but for the answer", || sandbox.run("get plain --offline").code == 0);
        run.signal(signal);
        run.ends_by(signal);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), filled, "{signal:?}: nothing of the answer is out");
    }
}

/// Fills a pipe to the last byte: how many there are.
fn fill(pipe: &mut std::io::PipeWriter) -> usize {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::io::Write;
    let flags = fcntl_getfl(&*pipe).unwrap();
    fcntl_setfl(&*pipe, flags | OFlags::NONBLOCK).unwrap();
    let mut all = 0;
    for size in [4096, 1] {
        while let Ok(count) = pipe.write(&vec![b'.'; size]) {
            all += count;
        }
    }
    fcntl_setfl(&*pipe, flags).unwrap();
    all
}

#[test]
fn a_signal_that_was_ignored_from_the_start_stays_ignored() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    for signal in SIGNALS {
        let gate = server.hold();
        let count = server.count();
        let name = format!("{signal:?}").replace("Signal::", "").replace("SIG", "");
        let run = Run::start(sandbox.tok(["get", "plain", "--fresh"]).after(&format!("trap '' {name}")));
        eventually("the request comes", || server.count() == count + 1);
        run.signal(signal);
        run.signal(signal);
        gate.open();
        let left = run.end();
        assert!(left.status.success() && left.stdout.contains(CANARY), "{signal:?}: {left:?}");
    }
}

/// A run on a terminal of its own, and what shows how the terminal is.
fn on_terminal(tok: Tok) -> (PtySession, std::fs::File) {
    defaults();
    let command = tok.before("stty sane").command();
    let session = rexpect::session::spawn_command(command, Some(PATIENCE.as_millis() as u64)).unwrap();
    let terminal = session.process().get_file_handle().unwrap();
    (session, terminal)
}

fn code(session: &PtySession) -> i32 {
    use rexpect::process::WaitStatus;
    match session.process().wait().unwrap() {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signal_at_a_prompt_is_the_end_and_gives_the_echo_back() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    for signal in rounds() {
        let (mut session, terminal) = on_terminal(sandbox.tok(["login", "purewl", "secret"]));
        session.exp_regex("(?i)secret[ _]key[^\n]*:").unwrap();
        eventually("it waits for what is typed", || !echoes(&terminal));
        let named = rexpect::process::Signal::try_from(signal.as_raw()).unwrap();
        session.process_mut().signal(named).unwrap();
        assert_eq!(code(&session), 128 + signal.as_raw());
        assert!(echoes(&terminal), "{signal:?}");
    }
    assert_eq!(purewl.server.connections(), 0);
}

/// Two processes of the command, both noted.
const TWO: &str = "sleep 600 & echo $$ $! all > \"$PIDS\"; wait";

#[test]
fn a_signal_while_a_command_runs_is_the_end_of_both() {
    let command = Command::new(TWO);
    for signal in rounds() {
        command.forget_pids();
        let run = Run::start(command.get());
        let pids = command.pids();
        run.signal(signal);
        run.ends_by(signal);
        gone(&pids);
    }
    assert_eq!(command.server.connections(), 0);
}

/// The lease that it has by then runs out by itself.
#[test]
fn a_signal_while_a_command_runs_with_a_lease_is_the_end_of_both() {
    needs!("python3");
    for signal in SIGNALS {
        let (sqlite, mut command) = (Sqlite::new(), Command::new(TWO));
        sqlite.keeps(&mut command.sandbox);
        let run = Run::start(command.get().args(["--timeout", "280s"]));
        let pids = command.pids();
        run.signal(signal);
        run.ends_by(signal);
        gone(&pids);
        assert_eq!(command.server.connections(), 0);
    }
}

#[test]
fn ctrl_c_while_a_command_runs_is_130_whether_it_asks_on_the_terminal_or_not() {
    let asks = "echo $$ all > \"$PIDS\"; printf 'PIN: ' > /dev/tty; stty -echo < /dev/tty; read pin < /dev/tty";
    for script in [TWO, asks] {
        let command = Command::new(script);
        let count = if full_sweeps() { 200 } else { 10 };
        for _ in 0..count {
            command.forget_pids();
            let (mut session, terminal) = on_terminal(command.get());
            let pids = command.pids();
            if script == asks {
                session.exp_string("PIN: ").unwrap();
                eventually("it asks without echo", || !echoes(&terminal));
            }
            session.send_control('c').unwrap();
            assert_eq!(code(&session), 130, "{script}");
            assert!(echoes(&terminal), "{script}");
            gone(&pids);
        }
        assert_eq!(command.server.connections(), 0);
    }
}

#[test]
fn a_command_asks_on_the_terminal_and_gives_it_back() {
    let command = Command::new(&format!(
        "printf 'PIN: ' > /dev/tty; stty -echo < /dev/tty; read pin < /dev/tty; stty echo < /dev/tty\n\
         [ \"$pin\" = 1234 ] && echo secret-{CANARY}"
    ));
    // A shell around it reads from the terminal afterwards.
    let script = format!(
        "'{}' get p --fresh > answer; echo \"status=$?\"; read line; echo \"read=$line\"; exit 0",
        env!("CARGO_BIN_EXE_tok")
    );
    let (mut session, terminal) = on_terminal(command.sandbox.tok(["-V"]).after(&script));
    session.exp_string("PIN: ").unwrap();
    eventually("it asks without echo", || !echoes(&terminal));
    session.send_line("1234").unwrap();
    session.exp_string("status=0").unwrap();
    session.send_line("typed").unwrap();
    session.exp_string("read=typed").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(code(&session), 0);
    let answer = std::fs::read_to_string(command.sandbox.work().join("answer")).unwrap();
    assert!(answer.contains(CANARY), "{answer}");
    assert!(command.server.last().field("client_secret").contains(CANARY));
}

#[test]
fn a_command_that_was_stopped_at_its_prompt_goes_on() {
    let command = Command::new(&format!(
        "printf 'PIN: ' > /dev/tty; stty -echo < /dev/tty; read pin < /dev/tty; stty echo < /dev/tty\n\
         echo secret-{CANARY}"
    ));
    // A shell that knows jobs, as a person's does.
    let script = format!(
        "set -m; '{}' get p --fresh > answer; echo \"status=$?\"; fg > /dev/null; echo \"status=$?\"; exit 0",
        env!("CARGO_BIN_EXE_tok")
    );
    let (mut session, terminal) = on_terminal(command.sandbox.tok(["-V"]).after(&script));
    session.exp_string("PIN: ").unwrap();
    eventually("it asks without echo", || !echoes(&terminal));
    session.send_control('z').unwrap();
    session.exp_regex("status=14[78]").unwrap();
    eventually("it asks again", || !echoes(&terminal));
    session.send_line("1234").unwrap();
    session.exp_string("status=0").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(code(&session), 0);
}

/// A shell that takes all that `tok` and what it leaves behind write, as `$(tok get p --timeout 1s 2>&1)` does.
fn substituted(command: &Command) -> Left {
    let script =
        format!("out=$('{}' get p --fresh --timeout 1s 2>&1); echo \"status=$?\"; exit 0", env!("CARGO_BIN_EXE_tok"));
    Run::start(command.sandbox.tok(["-V"]).after(&script)).end()
}

#[test]
fn at_the_limit_the_whole_group_of_a_command_ends() {
    let deaf = "trap '' TERM; sh -c \"trap '' TERM; while :; do sleep 600; done\" & echo $$ $! all > \"$PIDS\"; \
                while :; do wait; done";
    for script in [TWO, deaf] {
        let command = Command::new(script);
        let left = substituted(&command);
        assert_eq!(left.stdout, "status=6\n", "{script}: {left:?}");
        gone(&command.pids());
    }
}

#[test]
fn what_a_command_leaves_running_does_not_hold_up_the_answer() {
    // With our pipes in its hands, and without.
    for keeps in ["", "> /dev/null 2>&1"] {
        let script = format!("sleep 600 {keeps} & echo $! all > \"$PIDS\"; echo words >&2; echo secret-{CANARY}");
        let command = Command::new(&script);
        let left = substituted(&command);
        let pids = command.pids();
        assert_eq!(left.stdout, "status=0\n", "{keeps}: {left:?}");
        assert!(pids.iter().all(|pid| runs(*pid)), "{keeps}: it was left on purpose");
        let run = Run::start(command.get()).end();
        assert_eq!((run.status.code(), run.stderr.as_str()), (Some(0), ""), "{keeps}");
        for pid in pids.into_iter().chain(command.pids()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn a_long_secret_arrives_whole_although_a_process_is_left_running() {
    let server = Server::new(|request| {
        let length = request.field("client_secret").len();
        Reply::token(&format!("at-{CANARY}-{length}"), 600)
    });
    let command = Command::new("sleep 600 & echo $! all > \"$PIDS\"; head -c 300000 /dev/zero | tr '\\0' x");
    command.sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let left = Run::start(command.get()).end();
    for pid in command.pids() {
        let _ = kill_process(pid, Signal::KILL);
    }
    assert_eq!(left.stdout, format!("at-{CANARY}-300000\n"), "{left:?}");
}

#[test]
fn a_signal_ends_a_helper_and_all_that_it_runs() {
    let server = Server::issuing(600);
    let command = Command::new(TWO);
    let mut sandbox = plain(&server.url());
    let bin = sandbox.work().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script = std::fs::read(command.sandbox.work().with_file_name("files").join("command")).unwrap();
    std::fs::write(bin.join("docker-credential-slow"), script).unwrap();
    chmod(&bin.join("docker-credential-slow"), 0o755);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    sandbox.set("PATH", path).set("TOK_STORE", "helper:slow").unset("TOK_PLAIN_CLIENT_SECRET");
    for signal in SIGNALS {
        command.forget_pids();
        let run = Run::start(sandbox.tok(["get", "plain"]));
        let pids = command.pids();
        run.signal(signal);
        run.ends_by(signal);
        gone(&pids);
    }
}
