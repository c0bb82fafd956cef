//! Each exit status of the contract, and the form of what is said with it.

use crate::child::SOON;
use crate::support::apiax::Apiax;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, plain, plain_provider};
use std::time::Duration;

#[test]
fn status_0_with_nothing_to_warn_of_leaves_stderr_empty() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    for line in
        ["get purewl", "header purewl", "get purewl -o json", "list", "show purewl", "providers", "providers purewl"]
    {
        sandbox.run(line).ok().silent();
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let sandbox = Sandbox::new();
    for line in ["--help", "-h", "help", "get --help", "login --help", "list -h"] {
        let out = sandbox.run(line).ok().silent();
        assert!(!out.stdout.is_empty(), "{out}");
    }
    for line in ["--version", "-V"] {
        sandbox.run(line).silent().prints(concat!("tok ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn help_version_and_completions_always_work() {
    let sandbox = Sandbox::with_file_store();
    sandbox.config("this is [ no TOML");
    sandbox.provider("mine", "neither is [ this");
    for line in
        ["--help", "-V", "get --help", "login --help", "completions bash", "completions zsh", "completions fish"]
    {
        let out = sandbox.run(line).ok();
        assert!(!out.stdout.is_empty(), "{out}");
    }
    sandbox.run("get purewl").fails(3);
}

#[test]
fn completions_for_each_shell() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let out = sandbox.run(&format!("completions {shell}")).ok().silent();
        assert!(out.stdout.contains("tok"), "{out}");
    }
    sandbox.run("completions nonsense").fails(2);
}

#[test]
fn status_1_is_any_other_failure() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    sandbox.run("get purewl --write /nonexistent/folder/token").fails(1);
    let folder = sandbox.work();
    sandbox.tok(["get", "purewl", "--write", folder.to_str().unwrap()]).run().fails(1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_a_failure() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    for line in ["get purewl", "get purewl --fresh", "header purewl", "list", "providers", "-V"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let out = sandbox.tok(line.split(' ')).stdout(full).run();
        assert_eq!(out.code, 1, "{out}");
        assert!(out.stderr.starts_with("tok: ") && !out.stderr.contains("os error"), "{out}");
    }
}

#[test]
fn status_2_is_wrong_usage() {
    let sandbox = Sandbox::with_file_store();
    for line in [
        "nonsense",
        "get",
        "get purewl xcover",
        "get purewl --nonsense",
        "get purewl -o nonsense",
        "get purewl --timeout soon",
        "get purewl --min-ttl -5",
        "get purewl --scope a",
        "get purewl --grant nonsense",
        "get purewl --color sometimes",
        "login purewl nonsense",
        "login purewl secret --store nonsense",
        "logout",
        "completions",
        "providers --nonsense",
    ] {
        let out = sandbox.run(line);
        assert_eq!(out.code, 2, "{out}");
        out.fails(2);
    }
    let out = sandbox.tok(Vec::<&str>::new()).run();
    assert_eq!((out.code, out.stdout.as_str()), (2, ""), "{out}");
}

#[test]
fn status_3_names_file_line_and_column_and_what_is_expected() {
    let sandbox = Sandbox::with_file_store();
    sandbox.config("store = \"file\"\nmin_tll = \"1m\"\n");
    let out = sandbox.run("get purewl").fails(3).says("config.toml:2:1").says("min_tll").says("min_ttl");
    assert_eq!(out.stdout, "");
}

#[test]
fn status_4_names_the_command_and_the_variable() {
    let sandbox = Sandbox::with_file_store();
    let out = sandbox.run("get purewl").fails(4).hints();
    out.says("tok login purewl").says("TOK_PUREWL_SECRET_KEY");
    sandbox.run("get xcover --offline").fails(4);
}

#[test]
fn status_5_says_the_provider_s_code_and_message() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_PUREWL_SECRET_KEY", format!("wrong-{CANARY}"));
    sandbox.run("get purewl").fails(5).says("4001").says("Invalid secret key");
    let apiax = Apiax::start();
    let mut sandbox = apiax.sandbox();
    sandbox.set("TOK_APIAX_USERNAME", "nobody").set("TOK_APIAX_PASSWORD", format!("wrong-{CANARY}"));
    sandbox.run("get apiax").fails(5).says("invalid_grant").says("Invalid user credentials");
    assert_eq!(apiax.server.count(), 1, "a password is not tried twice");
}

#[test]
fn status_6_where_nobody_listens() {
    let sandbox = plain("http://127.0.0.1:1");
    sandbox.run("get plain --timeout 3s").fails(6).says("127.0.0.1:1");
}

#[test]
fn status_6_when_the_timeout_has_run_out_while_waiting_for_a_lock() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let gate = server.hold();
    let first = sandbox.tok(["get", "plain"]).spawn();
    server.until(1);
    let out = sandbox.run("get plain --timeout 1s").fails(6);
    assert!(out.took >= Duration::from_millis(900) && out.took < SOON, "{out}");
    gate.open();
    first.wait().line();
    assert_eq!(server.count(), 1);
}

#[test]
fn status_7_where_there_is_no_keyring_and_it_may_hold_what_is_needed() {
    let sandbox = Sandbox::new();
    let out = sandbox.run("get purewl").fails(7).hints();
    assert!(!out.stderr.contains("panicked"), "{out}");
    assert!(sandbox.files_with("secrets").is_empty());
}

#[test]
fn status_8_for_a_redirect_names_where_to() {
    let server = Server::always(Reply::text(302, "").header("Location", "https://elsewhere.example/login"));
    let sandbox = plain(&server.url());
    sandbox.run("get plain").fails(8).says("https://elsewhere.example/login");
}

#[test]
fn an_error_is_one_line_and_perhaps_a_hint() {
    let sandbox = Sandbox::with_file_store();
    for line in ["get purewl", "get nonsense", "get plain", "login xcover", "get xcover --offline", "logout nonsense"] {
        let out = sandbox.run(line);
        assert_ne!(out.code, 0, "{out}");
        assert_eq!(out.stdout, "", "{out}");
        let lines: Vec<&str> = out.stderr.lines().collect();
        assert!(lines[0].starts_with("tok: "), "{out}");
        assert!(lines[1..].iter().all(|l| l.starts_with("hint: ")), "{out}");
        assert!(lines.len() <= 2, "{out}");
    }
}

#[test]
fn q_silences_no_error() {
    let sandbox = Sandbox::with_file_store();
    sandbox.run("-q get purewl").fails(4);
}

#[test]
fn without_a_terminal_there_is_no_colour_unless_asked_for() {
    let sandbox = Sandbox::with_file_store();
    for line in ["get purewl", "list", "providers", "--help", "get --nonsense", "get purewl --color never"] {
        let out = sandbox.run(line);
        assert!(!out.stdout.contains('\u{1b}') && !out.stderr.contains('\u{1b}'), "{out}");
    }
}

#[test]
fn an_answer_has_no_colour_even_if_asked_for() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let out = sandbox.run("get purewl --color always").ok();
    assert!(!out.stdout.contains('\u{1b}'), "{out}");
}

#[test]
fn a_login_without_a_terminal_asks_nothing() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let out = sandbox.tok(["login", "purewl", "secret"]).stdin(purewl::secret_key()).run();
    out.fails(4).says("TOK_PUREWL_SECRET_KEY").says("--secret-key-file");
    assert_eq!(purewl.server.connections(), 0);
}

#[test]
fn a_secret_in_memory_is_not_in_a_core_dump() {
    let server = Server::issuing(60);
    let sandbox = plain(&server.url());
    let gate = server.hold();
    let run = sandbox.tok(["get", "plain"]).spawn();
    server.until(1);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.pid())).unwrap_or_default();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap_or("");
    // Without limits to read (not Linux) there is nothing to see. A process that is not dumpable belongs to root
    // in /proc, which proves nothing when root runs the tests: so either sign will do.
    use std::os::unix::fs::MetadataExt;
    let environ = std::fs::metadata(format!("/proc/{}/environ", run.pid()));
    let undumpable = environ.is_ok_and(|m| m.uid() != rustix::process::getuid().as_raw());
    let zero = core.split_whitespace().nth(4) == Some("0");
    assert!(core.is_empty() || zero || undumpable || rustix::process::getuid().is_root(), "{core}");
    gate.open();
    run.wait().line();
}

#[cfg(target_os = "linux")]
#[test]
fn no_secret_stands_in_an_argument_list_while_tok_runs() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let key = sandbox.file_arg("key", purewl::secret_key());
    let gate = purewl.server.hold();
    let run = sandbox.tok(["login", "purewl", "--secret-key-file", &key]).spawn();
    purewl.server.until(1);
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(&purewl::secret_key()), "{entry:?}");
    }
    gate.open();
    run.wait().prints("");
}

#[test]
fn a_user_s_provider_file_that_is_broken_is_3_for_what_uses_it() {
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider("https://a.example", "nonsense = 1\n"));
    sandbox.run("get plain").fails(3).says("plain.toml").says("nonsense");
    sandbox.run("get purewl").fails(4);
}
