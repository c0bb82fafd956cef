//! A login that ends too early, at each of its steps: nothing half done, and the terminal as it was.

use crate::support::apiax::Apiax;
use crate::support::issuer::{CLIENT, Issuer, Visit};
use crate::support::purewl::{self, PureWl};
use crate::support::server::Reply;
use crate::support::terminal::Terminal;
use crate::support::{CANARY, Sandbox, chmod, put, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::path::Path;

/// How a login is interrupted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Ctrl-C on the terminal, twice: where something is on its way, the second one is meant.
    Key,
    /// A signal from elsewhere, twice.
    Signal(Signal),
    /// The terminal goes away.
    Gone,
}

const ALL: [End; 4] = [End::Key, End::Signal(Signal::TERM), End::Signal(Signal::HUP), End::Gone];

/// A login on a terminal, run by a shell that looks at the terminal before and after.
struct Login {
    terminal: Terminal,
    work: std::path::PathBuf,
}

impl Login {
    fn begin(sandbox: &Sandbox, line: &str) -> Login {
        let tok = env!("CARGO_BIN_EXE_tok");
        let work = sandbox.work();
        for old in ["pid", "before", "after"] {
            let _ = std::fs::remove_file(work.join(old));
        }
        let script = format!(
            "trap : INT; stty -a > before; sh -c 'echo $$ > pid; exec \"$0\" \"$@\"' '{tok}' {line}; \
             echo \"status=$?\"; stty -a > after; exit 7"
        );
        let terminal = sandbox.tok(["-V"]).env("TERM", "xterm").after(&script).on_terminal();
        Login { terminal, work }
    }

    fn pid(&self) -> Pid {
        let read = || std::fs::read_to_string(self.work.join("pid")).ok()?.trim().parse().ok();
        until("tok runs", || read().is_some());
        Pid::from_raw(read().unwrap()).unwrap()
    }

    /// Interrupts it and waits for its end, which comes once `then` has run.
    #[track_caller]
    fn end(mut self, end: End, what: &str, then: impl FnOnce()) {
        let pid = self.pid();
        let status = match end {
            End::Key => {
                self.terminal.control('c');
                self.terminal.control('c');
                130
            }
            End::Signal(signal) => {
                for _ in 0..2 {
                    // It may have ended by the first one.
                    let _ = kill_process(pid, signal);
                }
                128 + signal.as_raw()
            }
            End::Gone => {
                drop(self.terminal);
                then();
                until(what, || !Path::new(&format!("/proc/{pid}")).exists() || is_dead(pid));
                return;
            }
        };
        then();
        self.terminal.expect(&format!("status={status}"));
        self.terminal.end();
        let read = |name: &str| std::fs::read_to_string(self.work.join(name)).unwrap();
        assert_eq!(read("before"), read("after"), "{what}, {end:?}: the terminal");
    }
}

/// Ended, and not yet waited for.
fn is_dead(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// Nothing of a login is left: no secret, no config, no profile.
#[track_caller]
fn nothing_is_left(sandbox: &Sandbox, what: &str) {
    assert!(sandbox.secrets().is_null(), "{what}: {}", sandbox.secrets());
    assert!(!sandbox.config_file().exists(), "{what}");
    assert_eq!(sandbox.files_with(CANARY), Vec::<std::path::PathBuf>::new(), "{what}");
    sandbox.assert_no_lock_is_held();
    sandbox.run("list --json").prints("[]\n");
}

#[test]
fn at_each_question() {
    let (issuer, purewl, apiax) = (Issuer::start(), PureWl::start(), Apiax::start());
    let url = issuer.url();
    let to_how = [("Enter chooses", "oidc\r"), ("Issuer", &*url), ("", "\r")];
    let user = [("(?i)user[^\n]*: ", "anna@example.com\r")];
    // The line, what is typed at the questions before, and the one at which it ends.
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);
    let cases: [Case; 7] = [
        ("login", &[], "Enter chooses"),
        ("login", &[("Enter chooses", "purewl\r")], "(?i)secret[ _]key[^\n]*: "),
        ("login", &to_how[..1], "(?i)issuer[^\n]*: "),
        ("login", &to_how, "How:"),
        ("login oidc --issuer URL", &[], "(?i)client[^\n]*: "),
        ("login apiax password", &[], "(?i)user[^\n]*: "),
        ("login apiax password", &user, "(?i)password[^\n]*: "),
    ];
    for (line, typed, last) in cases {
        for end in ALL {
            let mut sandbox = purewl.sandbox();
            sandbox.set("TOK_APIAX_BASE_URL", apiax.server.url());
            let mut login = Login::begin(&sandbox, &line.replace("URL", &url));
            for (question, answer) in typed {
                if !question.is_empty() {
                    login.terminal.expect_like(question);
                }
                login.terminal.type_text(answer);
            }
            login.terminal.expect_like(last);
            login.end(end, &format!("{line} at {last}"), || ());
            nothing_is_left(&sandbox, &format!("{line} at {last}, {end:?}"));
        }
    }
    assert_eq!((purewl.server.connections(), apiax.server.connections()), (0, 0));
}

#[test]
fn while_it_waits_for_a_person_elsewhere() {
    let issuer = Issuer::start();
    for (line, shown) in [
        ("login oidc browser --issuer URL --client-id our-cli", "(?i)paste[^\n]*: "),
        ("login oidc browser --issuer URL --client-id our-cli --no-browser", "(?i)paste[^\n]*: "),
        ("login oidc device --issuer URL --client-id our-cli", "waiting for approval"),
    ] {
        for end in ALL {
            issuer.state(|s| s.replies.remove("/token"));
            issuer.script("/token", (0..200).map(|_| Reply::json(400, json!({"error": "authorization_pending"}))));
            let mut sandbox = Sandbox::with_file_store();
            sandbox.set("BROWSER", "true");
            let mut login = Login::begin(&sandbox, &line.replace("URL", &issuer.url()));
            login.terminal.expect_like(shown);
            login.end(end, line, || ());
            nothing_is_left(&sandbox, &format!("{line}, {end:?}"));
        }
    }
}

#[test]
fn while_a_reply_is_on_its_way() {
    let purewl = PureWl::start();
    for end in ALL {
        let sandbox = purewl.sandbox();
        let (gate, count) = (purewl.server.hold(), purewl.server.count());
        let mut login = Login::begin(&sandbox, "login purewl");
        login.terminal.expect_like("(?i)secret[ _]key[^\n]*: ");
        login.terminal.type_line(&purewl::secret_key());
        purewl.server.until(count + 1);
        if end == End::Gone {
            // One signal alone: what comes is kept, and then it ends.
            login.end(end, "the reply", || gate.open());
            both_or_neither(&sandbox, "the reply");
        } else {
            login.end(end, "the reply", || ());
            gate.open();
            nothing_is_left(&sandbox, &format!("the reply, {end:?}"));
        }
    }
}

/// A login either is whole, or has left nothing.
#[track_caller]
fn both_or_neither(sandbox: &Sandbox, what: &str) {
    let is_stored = !sandbox.secrets().is_null();
    assert_eq!(is_stored, sandbox.config_file().exists(), "{what}: store and config");
    sandbox.assert_no_lock_is_held();
}

#[test]
fn while_another_call_changes_the_config() {
    let purewl = PureWl::start();
    for end in ALL {
        let sandbox = purewl.sandbox();
        // As a call holds it that changes the config.
        let locks = sandbox.state_dir().join("locks");
        for folder in [sandbox.state_dir(), locks.clone()] {
            std::fs::create_dir_all(&folder).unwrap();
            chmod(&folder, 0o700);
        }
        let path = locks.join("_config.lock");
        put(&path, b"");
        chmod(&path, 0o600);
        let lock = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        lock.lock().unwrap();
        let count = purewl.server.count();
        let mut login = Login::begin(&sandbox, "login purewl");
        login.terminal.expect_like("(?i)secret[ _]key[^\n]*: ");
        login.terminal.type_line(&purewl::secret_key());
        purewl.server.until(count + 1);
        login.terminal.expect("waiting for");
        if end == End::Gone {
            login.end(end, "the config", || drop(lock));
            both_or_neither(&sandbox, "the config");
        } else {
            login.end(end, "the config", || ());
            drop(lock);
            nothing_is_left(&sandbox, &format!("the config, {end:?}"));
        }
    }
}

#[test]
fn while_the_store_writes() {
    let purewl = PureWl::start();
    for end in ALL {
        let mut sandbox = purewl.sandbox();
        let (bin, entry) = (sandbox.work().join("bin"), sandbox.work().join("entry"));
        std::fs::create_dir_all(&bin).unwrap();
        let (begun, go) = (sandbox.work().join("begun"), sandbox.work().join("go"));
        // Keeps one entry; what it is to keep for a profile waits for a word.
        let script = format!(
            "#!/bin/sh\nread -r all\ncase $1-$all in\n*_trial*) [ \"$1\" = store ] || echo '{{\"Username\":\"x\",\"Secret\":\"{{}}\"}}' ;;\n\
             store-*) : > '{begun}'; while [ ! -e '{go}' ]; do sleep 0.02; done; printf %s \"$all\" > '{entry}' ;;\n\
             get-*) [ -e '{entry}' ] && cat '{entry}' || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;\n\
             esac\n",
            begun = begun.display(),
            go = go.display(),
            entry = entry.display()
        );
        put(&bin.join("docker-credential-slow"), script.as_bytes());
        chmod(&bin.join("docker-credential-slow"), 0o755);
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        sandbox.set("PATH", path).set("TOK_STORE", "helper:slow");
        let mut login = Login::begin(&sandbox, "login purewl");
        login.terminal.expect_like("(?i)secret[ _]key[^\n]*: ");
        login.terminal.type_line(&purewl::secret_key());
        until("the helper is asked to store", || begun.exists());
        login.end(end, "the store", || put(&go, b""));
        let what = format!("the store, {end:?}");
        assert_eq!(entry.exists(), sandbox.config_file().exists(), "{what}: {:?}", sandbox.files().keys());
        sandbox.assert_no_lock_is_held();
    }
}

#[test]
fn what_another_program_writes_meanwhile_is_not_lost() {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null}));
    let theirs = "# theirs\n[profile.other]\nprovider = \"xcover\" # kept\n";
    let login_of = |sandbox: &Sandbox| {
        let line = format!("login oidc browser --as mine --issuer {} --client-id {CLIENT}", issuer.url());
        let mut terminal = sandbox.tok(line.split(' ')).env("TERM", "dumb").env("BROWSER", "true").on_terminal();
        let before = terminal.expect_like("(?i)paste[^\n]*: ");
        let address =
            before.split_whitespace().find(|word| word.contains("/authorize?")).expect("an address").to_string();
        (terminal, Visit::to(&address))
    };
    // While a browser is waited for.
    let sandbox = Sandbox::with_file_store();
    sandbox.config("# before\n");
    let (terminal, visit) = login_of(&sandbox);
    sandbox.config(theirs);
    visit.log_in();
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(config.starts_with(theirs) && config.contains("[profile.mine]"), "{config}");

    // What cannot be changed is left alone, and the login that ends with it leaves nothing.
    let sandbox = Sandbox::with_file_store();
    sandbox.config("# before\n");
    let (terminal, visit) = login_of(&sandbox);
    sandbox.config("[profile.other\n");
    visit.log_in();
    let (rest, code) = terminal.end();
    assert!(code == 3 && rest.contains("config.toml"), "{code} {rest}");
    assert_eq!(std::fs::read_to_string(sandbox.config_file()).unwrap(), "[profile.other\n");
    assert!(sandbox.secrets().is_null(), "{}", sandbox.secrets());
}

#[test]
fn a_refresh_token_that_was_spent_is_kept_although_the_config_is_broken_meanwhile() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    sandbox.run("logout apiax").ok();
    let token = format!("rt-{CANARY}-brought");
    apiax.state(|s| s.alive.insert(token.clone(), None));
    let brought = sandbox.file_arg("brought", token);
    let (gate, count) = (apiax.server.hold(), apiax.server.count());
    let running = sandbox.tok(["login", "apiax", "refresh", "--refresh-token-file", &brought]).spawn();
    apiax.server.until(count + 1);
    sandbox.config("[profile.other\n");
    gate.open();
    running.wait().fails(3);
    sandbox.config("");
    sandbox.run("get apiax --fresh").line();
    assert_eq!(apiax.state(|s| s.reused), 0);
}
