//! Completion in real shells: what a provider file says runs nothing there, and the first Tab completes.

use crate::child::{SOON, Start, with_default_signals};
use crate::skip::needs;
use crate::support::{Sandbox, plain_provider, put};
use std::process::Command;

/// The built program's folder comes first in PATH: completion scripts call `tok`.
fn with_tok(sandbox: &mut Sandbox) {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_tok")).parent().expect("a folder");
    sandbox.set("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default()));
}

/// `shell` in the sandbox.
fn shell(sandbox: &Sandbox, shell: &str, args: &[&str]) -> Command {
    let tok = sandbox.tok(["-V"]).command();
    let mut command = Command::new(shell);
    command.args(args).env_clear().envs(tok.get_envs().filter_map(|(n, v)| Some((n, v?)))).env("TERM", "dumb");
    command.current_dir(sandbox.work());
    command
}

fn is_there(shell: &str) -> bool {
    Command::new(shell).args(["-c", ":"]).finish().is_ok_and(|out| out.status.success())
}

/// What each shell completes behind `tok login NAME --region `.
fn completed(sandbox: &Sandbox, name: &str) -> Vec<(&'static str, String)> {
    let bash = format!(
        "source <(tok completions bash); COMP_WORDS=(tok login {name} --region ''); COMP_CWORD=4; COMP_TYPE=9; \
         _clap_complete_tok tok '' --region; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let fish = format!("tok completions fish | source; complete -C 'tok login {name} --region '");
    let mut all = Vec::new();
    for (name, script) in [("bash", bash), ("fish", fish)] {
        if is_there(name) {
            let out = shell(sandbox, name, &["-c", &script]).finish().expect("a shell");
            all.push((
                name,
                format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)),
            ));
        }
    }
    all
}

#[test]
fn choices_complete_and_none_of_them_runs_anything() {
    let mut sandbox = Sandbox::new();
    with_tok(&mut sandbox);
    let choices = |list: &str| {
        plain_provider("https://a.example", "")
            .replace("[params.scope]", &format!("[params.region]\nchoices = {list}\n[params.scope]"))
            .replace("scope = \"{scope?}\" }", "scope = \"{scope?}\", region = \"{region?}\" }")
    };
    sandbox.provider("good", &choices("[\"eu-west\", \"[::1]\"]"));
    let shells = completed(&sandbox, "good");
    assert!(shells.iter().any(|(name, _)| *name == "bash"));
    for (shell, said) in shells {
        assert!(said.contains("eu-west"), "{shell}: {said}");
    }
    let evil = ["$(touch ran)", "`touch ran`", "a;touch ran", "x\\ny", "\\u001b[31mred", "*"];
    for choice in evil {
        let file = sandbox.provider("evil", &choices(&format!("[\"eu\", \"{choice}\"]")));
        sandbox.run("get evil").fails(3).says(&format!("{}:", file.display())).says("cannot be a choice");
        for (shell, said) in completed(&sandbox, "evil") {
            assert!(!said.contains("touch") && !said.contains('\u{1b}'), "{shell}: {said}");
        }
        assert!(std::fs::read_dir(sandbox.work()).unwrap().next().is_none(), "{choice}");
    }
}

#[test]
fn the_first_tab_of_a_zsh_completes() {
    needs!("zsh");
    let mut sandbox = Sandbox::new();
    with_tok(&mut sandbox);
    let script = sandbox.run("completions zsh").ok().stdout;
    let functions = sandbox.home().join("functions");
    put(&functions.join("_tok"), script.as_bytes());
    for (how, prepare) in [
        ("a file in fpath", format!("fpath=({} $fpath); autoload -U compinit; compinit -u -D", functions.display())),
        ("sourced", "autoload -U compinit; compinit -u -D; source <(tok completions zsh)".to_string()),
    ] {
        let mut command = shell(&sandbox, "zsh", &["-f", "-i"]);
        with_default_signals(&mut command);
        let mut zsh = rexpect::session::spawn_command(command, Some(SOON.as_millis() as u64)).expect("a terminal");
        // The words are put together, so that the echo is not taken for the answer.
        zsh.send_line(&format!("unsetopt zle_bracketed_paste; PS1='> '; {prepare}; echo rea''dy")).expect("typed");
        zsh.exp_string("ready").unwrap_or_else(|e| panic!("{how}: {e}"));
        zsh.exp_string("> ").unwrap_or_else(|e| panic!("{how}: {e}"));
        zsh.send("tok comple\t").expect("typed");
        zsh.flush().expect("typed");
        zsh.exp_string("completions").unwrap_or_else(|e| panic!("{how}: the first Tab: {e}"));
        zsh.send("zs\t").expect("typed");
        zsh.flush().expect("typed");
        zsh.exp_string("zsh").unwrap_or_else(|e| panic!("{how}: the second Tab: {e}"));
        zsh.send("\u{15}exit\r").expect("typed");
        zsh.flush().expect("typed");
        zsh.exp_eof().expect("its end");
    }
}
