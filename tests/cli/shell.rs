//! What a shell makes of the answers: `eval "$(tok get PROFILE -o env)"` in real shells gives the token byte for
//! byte and runs nothing, and the variable's name can only be one.

use crate::child::Start;
use crate::support::server::{Reply, Server};
use crate::support::{Sandbox, plain};
use std::process::Command;

/// Every byte that a token may hold (RFC 6749 appendix A.12, without the space).
fn every_byte() -> String {
    (0x21..=0x7e_u8).map(char::from).collect()
}

/// The POSIX shells of this machine. `sh`, `dash` and `bash` are Debian's own; the others count where they are.
fn shells() -> Vec<&'static str> {
    let all = ["sh", "dash", "bash", "zsh", "ksh", "mksh", "busybox"];
    let there = |shell: &&str| Command::new(shell).arg("-c").arg(":").finish().is_ok();
    let found: Vec<&str> = all.into_iter().filter(there).collect();
    assert!(found.contains(&"sh"), "{found:?}");
    found
}

/// What `script` prints in that shell, in which `tok` is the program and `token` is in place of the server's.
fn in_shell(shell: &str, sandbox: &Sandbox, script: &str) -> String {
    let tok = sandbox.tok(["-V"]).command();
    let mut command = Command::new(shell);
    if shell == "busybox" {
        command.arg("sh");
    }
    let script = format!("tok() {{ '{}' \"$@\"; }}; {script}", env!("CARGO_BIN_EXE_tok"));
    command.args(["-c", &script]).env_clear().envs(tok.get_envs().filter_map(|(n, v)| Some((n, v?))));
    let out = command.current_dir(sandbox.work()).finish().expect("a shell");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.is_empty(), "{shell}: {script}: {:?}: {said}", out.status);
    assert!(std::fs::read_dir(sandbox.work()).unwrap().next().is_none(), "{shell}: {script}: something was run");
    String::from_utf8(out.stdout).expect("text")
}

/// A sandbox in which `plain` has this token.
fn with_token(token: &str) -> (Server, Sandbox) {
    let server = Server::always(Reply::token(token, 600));
    let sandbox = plain(&server.url());
    sandbox.run("get plain").line();
    (server, sandbox)
}

#[test]
fn eval_of_o_env_gives_the_same_token_in_every_shell_for_every_byte() {
    let mut tokens = vec![
        every_byte(),
        every_byte().chars().rev().collect(),
        "'".into(),
        "''".into(),
        "'''a'''b'".into(),
        "\\'".into(),
        "'\\".into(),
        "\\".into(),
        "$(touch${IFS}x)".into(),
        "`touch${IFS}x`".into(),
        "';touch${IFS}x;'".into(),
        "'$(touch${IFS}x)'".into(),
        "\"$HOME\"".into(),
        "~".into(),
        "*".into(),
        "-n".into(),
        "!!".into(),
        "#x".into(),
        "a=b".into(),
        "{a,b}".into(),
        "\\n\\0\\x41".into(),
        "%s%n".into(),
    ];
    let punctuation = every_byte().chars().filter(char::is_ascii_punctuation).collect::<Vec<_>>();
    tokens.extend(punctuation.iter().map(|c| format!("a{c}{c}b{c}")));
    let shells = shells();
    // One run of each shell for all of them: each token is a profile's.
    for token in &tokens[..2] {
        let (_server, sandbox) = with_token(token);
        for shell in &shells {
            let shown = in_shell(shell, &sandbox, "eval \"$(tok get plain -o env)\"; printf %s \"$ACCESS_TOKEN\"");
            assert_eq!(&shown, token, "{shell}");
            let shown = in_shell(shell, &sandbox, "eval \"$(tok get plain -o env)\"; env");
            assert!(shown.lines().any(|line| line == format!("ACCESS_TOKEN={token}")), "{shell}: it is exported");
            let named = "eval \"$(tok get plain -o env --name _My_2)\"; printf %s \"$_My_2${ACCESS_TOKEN-}\"";
            assert_eq!(&in_shell(shell, &sandbox, named), token, "{shell}");
            let plainly = in_shell(shell, &sandbox, "x=$(tok get plain); printf %s \"$x\"");
            assert_eq!(&plainly, token, "{shell}");
        }
    }
    // The others go by what `tok` prints, all in one run of each shell.
    let mut script = String::new();
    for token in &tokens {
        let (_server, sandbox) = with_token(token);
        let line = sandbox.run("get plain -o env").silent().line();
        script.push_str(&format!("{line}\nprintf '%s\\n' \"$ACCESS_TOKEN\"\n"));
    }
    let wanted: String = tokens.iter().map(|token| format!("{token}\n")).collect();
    let sandbox = Sandbox::new();
    let file = sandbox.file_arg("script", script);
    for shell in &shells {
        assert_eq!(in_shell(shell, &sandbox, &format!("eval \"$(cat '{file}')\"")), wanted, "{shell}");
    }
}

#[test]
fn a_failed_get_sets_nothing_and_ends_a_careful_script() {
    let server = Server::always(Reply::html(401));
    let sandbox = plain(&server.url());
    for shell in shells() {
        let script = "x=$(tok get plain -o env 2>/dev/null) || printf 'status %s' $?; printf '[%s]' \"$x\"";
        assert_eq!(in_shell(shell, &sandbox, script), "status 5[]", "{shell}");
    }
}

#[test]
fn a_name_that_is_no_variable_is_2_and_nothing_is_sent() {
    let server = Server::always(Reply::token("at-x", 600));
    let sandbox = plain(&server.url());
    for name in [
        "",
        " ",
        "1A",
        "A-B",
        "A B",
        "A=B",
        "A=",
        "=",
        "A;touch x",
        "A$(touch x)",
        "A`touch x`",
        "A\nB",
        "A\n",
        "\nA",
        "A\r",
        "é",
        "Á",
        "A'",
        "A\"",
        "A.B",
        "A[0]",
        "A/B",
        "$A",
        "-A",
        "--",
        "A\u{1b}[31m",
        "A\u{202e}",
        "ａ",
        "٣",
    ] {
        let out = sandbox.tok(["get", "plain", "-o", "env", &format!("--name={name}")]).run().fails(2);
        assert!(!out.stderr.contains(['\u{1b}', '\u{202e}', '\r']), "{out:?}");
        assert!(out.stderr.lines().count() <= 2, "{out}");
    }
    assert_eq!(server.connections(), 0);
    for name in ["A", "_", "_a1", "abc_DEF_9"] {
        let line = sandbox.tok(["get", "plain", "-o", "env", "--name", name]).run().line();
        assert_eq!(line, format!("export {name}='at-x'"));
    }
}
