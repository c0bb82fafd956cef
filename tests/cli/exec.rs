//! `tok exec`: what the program gets, and what is said if it cannot be run.

use crate::child::Start;
use crate::skip::needs;
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, plain, plain_provider};

/// A profile each, at one server: `plain` and `other-one`.
fn two(server: &Server) -> Sandbox {
    let mut sandbox = plain(&server.url());
    sandbox.provider("other-one", &plain_provider(&server.url(), ""));
    sandbox.set("TOK_OTHER_ONE_CLIENT_SECRET", format!("other-secret-{CANARY}"));
    sandbox
}

fn sh(line: &str) -> Vec<String> {
    ["exec"].into_iter().chain(line.split_whitespace()).map(String::from).collect()
}

#[test]
fn the_program_has_the_token_in_its_environment() {
    let server = Server::issuing(600);
    let sandbox = two(&server);
    let token = sandbox.run("get plain").line();
    let show = "echo $ACCESS_TOKEN,$PLAIN_ACCESS_TOKEN,$OTHER_ONE_ACCESS_TOKEN,$GH";
    let run = |line: &str| sandbox.tok(sh(line)).args(["--", "sh", "-c", show]).run().silent().line();
    assert_eq!(run("plain"), format!("{token},{token},,"));
    assert_eq!(run("plain plain"), format!("{token},{token},,"));
    let other = sandbox.run("get other-one").line();
    assert_eq!(run("plain other-one"), format!(",{token},{other},"));
    assert_eq!(run("--env GH=plain"), format!(",,,{token}"));
    assert_eq!(run("other-one --env GH=plain"), format!("{other},,{other},{token}"));
    assert_eq!(run("other-one --env ACCESS_TOKEN=plain"), format!("{token},,{other},"));
    assert_eq!(run("--env GH=plain --env ACCESS_TOKEN=other-one"), format!("{other},,,{token}"));
    assert_eq!(server.count(), 2);
}

#[test]
fn the_program_gets_no_variable_of_tok_and_all_others() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let out = sandbox
        .tok(["exec", "plain", "--", "env"])
        .env("TOK_X", "1")
        .env("tok_y", "1")
        .env("OTHER", "kept")
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
        .run()
        .silent()
        .ok();
    assert!(!out.stdout.to_uppercase().lines().any(|line| line.starts_with("TOK_")), "{out}");
    for line in ["OTHER=kept", "HOME=", "DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere"] {
        assert!(out.stdout.lines().any(|has| has.starts_with(line)), "{line}: {out}");
    }
}

#[test]
fn the_program_takes_the_place_of_tok() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.run("get plain").ok();
    let running = sandbox.tok(["exec", "plain", "--", "sh", "-c", "echo $$"]).spawn();
    let pid = running.pid().to_string();
    assert_eq!(running.wait().silent().line(), pid);
    let code = |script: &str| sandbox.tok(["exec", "plain", "--", "sh", "-c", script]).run().code;
    assert_eq!((code("exit 0"), code("exit 7"), code("exit 4"), code("exit 125")), (0, 7, 4, 125));
    assert_eq!((code("kill -TERM $$"), code("kill -INT $$"), code("kill -KILL $$")), (143, 130, 137));
    let echo = sandbox.tok(["exec", "plain", "--", "cat"]).stdin("from stdin\n").run();
    assert_eq!(echo.silent().line(), "from stdin");
    // Options of the program are its own.
    assert_eq!(sandbox.tok(["exec", "plain", "--", "echo", "-v", "--", "--help"]).run().line(), "-v -- --help");
}

/// Linux tells the masks of a process. SIGPIPE is ignored in tok itself, as in every Rust program.
#[cfg(target_os = "linux")]
#[test]
fn signals_and_descriptors_are_as_they_were() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    // What the test's own process hands down, it does with or without tok.
    let read = "grep -E '^Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd";
    let bare = std::process::Command::new("sh").args(["-c", read]).finish().expect("sh runs").stdout;
    let bare = String::from_utf8_lossy(&bare).into_owned();
    let masks = |text: &str| text.lines().filter(|line| line.starts_with("Sig")).map(String::from).collect::<Vec<_>>();
    let descriptors = |text: &str| text.lines().filter(|line| line.parse::<u32>().is_ok()).count();
    for source in ["grant", "cache"] {
        let out = sandbox.tok(["exec", "plain", "--", "sh", "-c", read]).run().silent().ok();
        assert_eq!(masks(&out.stdout), masks(&bare), "{source}: {out}");
        assert!(descriptors(&out.stdout) <= descriptors(&bare), "{source}: {out}");
    }
    // nohup stays nohup.
    let out = sandbox.tok(["exec", "plain", "--", "sh", "-c", "grep SigIgn /proc/self/status"]).after("trap '' HUP");
    let ignored = out.run().silent().line();
    let ignored = u64::from_str_radix(ignored.trim_start_matches("SigIgn:").trim(), 16).expect("a mask");
    assert_eq!((ignored & 1, ignored & (1 << 12)), (1, 0), "HUP, and not PIPE");
    assert_eq!(server.count(), 1);
}

#[test]
fn the_token_is_in_no_argument_list() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let out = sandbox.tok(["exec", "plain", "--", "sh", "-c", "tr '\\0' ' ' </proc/$$/cmdline"]).run().ok();
    assert!(!out.stdout.contains(CANARY), "{out}");
}

#[test]
fn a_program_that_cannot_be_run_is_126_or_127() {
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    sandbox.run("exec plain -- no-such-program").fails(127).says("tok: no-such-program: program not found");
    sandbox.run("exec plain -- ./no-such-program").fails(127);
    let file = sandbox.file_arg("plain-file", "#!/bin/sh\n");
    sandbox.tok(["exec", "plain", "--", &file]).run().fails(126).says("permission denied");
    sandbox.tok(["exec", "plain", "--", "/"]).run().fails(126);
    sandbox.tok(["exec", "plain", "--", ""]).run().fails(127);
    // What a person types is found as a shell finds it: a script in the working folder too.
    let script = sandbox.work().join("script");
    crate::support::put(&script, b"#!/bin/sh\necho $0\n");
    crate::support::chmod(&script, 0o700);
    assert_eq!(sandbox.run("exec plain -- ./script").line(), "./script");
}

#[test]
fn without_a_token_nothing_is_run_and_the_status_is_said() {
    let server = Server::always(Reply::json(400, serde_json::json!({"error": "invalid_client"})));
    let mut sandbox = two(&server);
    let marker = sandbox.work().join("ran");
    let run = |sandbox: &Sandbox, line: &str| {
        let out = sandbox.tok(sh(line)).args(["--", "sh", "-c", "touch ran"]).run().fails(125);
        assert!(!marker.exists(), "{out}");
        out
    };
    let ends = |out: &crate::support::Output, end: &str| {
        assert!(out.stderr.lines().next().is_some_and(|line| line.ends_with(end)), "{out}");
    };
    ends(&run(&sandbox, "plain"), "(status 5)");
    ends(&run(&sandbox, "no-such-profile"), "(status 3)");
    ends(&run(&sandbox, "plain --offline"), "(status 4)");
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap_or_default();
    sandbox.config("x = [");
    ends(&run(&sandbox, "plain"), "(status 3)");
    sandbox.run("curl plain http://127.0.0.1:1/").fails(125).says("(status 3)");
    sandbox.config(&config);
    sandbox.unset("TOK_OTHER_ONE_CLIENT_SECRET");
    let out = run(&sandbox, "other-one");
    ends(&out, "(status 4)");
    out.hints();
    ends(&run(&sandbox, "--env GH=other-one"), "(status 4)");
}

#[test]
fn wrong_usage_is_2_and_asks_for_nothing() {
    let server = Server::issuing(600);
    let sandbox = two(&server);
    for line in [
        "exec",
        "exec plain",
        "exec plain sh",
        "exec plain --",
        "exec -- true",
        "exec --env GH -- true",
        "exec --env GH= -- true",
        "exec --env 1X=plain -- true",
        "exec --env X=plain --env X=other-one -- true",
        "exec plain other-one --env PLAIN_ACCESS_TOKEN=other-one -- true",
        "exec plain other-one --client-id x -- true",
        "exec plain other-one --scope x -- true",
        "exec plain other-one --grant client-credentials -- true",
        "exec plain --nonsense -- true",
    ] {
        let out = sandbox.run(line);
        assert_eq!(out.code, 2, "{line}: {out}");
    }
    assert_eq!(server.count(), 0);
    // For one they are as for `get`.
    sandbox.run("exec plain --client-id another --scope s --grant client-credentials -- true").silent().ok();
    assert_eq!((server.last().field("client_id"), server.last().field("scope")), ("another".into(), "s".into()));
}

#[test]
fn shells_run_it_alike() {
    needs!("bash", "dash", "zsh", "fish");
    let server = Server::issuing(600);
    let sandbox = plain(&server.url());
    let token = sandbox.run("get plain").line();
    for shell in ["bash", "dash", "zsh", "fish"] {
        let out = sandbox.tok(["exec", "plain", "--", shell, "-c", "echo \"$ACCESS_TOKEN\""]).run();
        assert_eq!(out.line(), token, "{shell}");
    }
}
