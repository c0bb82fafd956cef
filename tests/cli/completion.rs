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
        zsh.send_line(&format!("unsetopt zle_bracketed_paste; LISTMAX=10000; PS1='> '; {prepare}; echo rea''dy"))
            .expect("typed");
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

/// What bash offers for the last of `words`, by what `complete -p tok` says, as readline does after TAB.
fn bash(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let ask = "source <(tok completions bash)
        function=$(complete -p tok | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9; COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}
        \"$function\" tok \"${@: -1}\" \"${@: -2:1}\" && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let all: Vec<&str> = ["--norc", "-c", ask, "bash"].into_iter().chain(words.iter().copied()).collect();
    offers(shell(sandbox, "bash", &all))
}

/// The same of fish, which can be asked.
fn fish(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let script = format!("tok completions fish | source; complete -C '{}'", words.join(" "));
    let all = offers(shell(sandbox, "fish", &["-c", &script]));
    all.into_iter().map(|line| line.split('\t').next().unwrap_or_default().to_string()).collect()
}

/// The same of zsh, on a terminal: what it lists after TAB.
fn zsh(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let mut command = shell(sandbox, "zsh", &["-f", "-i"]);
    with_default_signals(&mut command);
    let mut zsh = rexpect::session::spawn_command(command, Some(SOON.as_millis() as u64)).expect("a terminal");
    // What it would insert goes to a file, one a line: a list on the screen is laid out.
    let out = sandbox.work().join("offers");
    let _ = std::fs::remove_file(&out);
    let script = format!(
        "unsetopt zle_bracketed_paste; LISTMAX=10000; PS1='> '; autoload -U compinit; compinit -u -D; \
         source <(tok completions zsh); compadd () {{ builtin compadd \"$@\"; local -a found; \
         builtin compadd -O found \"$@\"; print -l -- $found >> {} }}; echo rea''dy",
        out.display()
    );
    zsh.send_line(&script).expect("typed");
    zsh.exp_string("ready").expect("the shell is there");
    zsh.exp_string("> ").expect("its prompt");
    zsh.send(&format!("{}\t", words.join(" "))).expect("typed");
    zsh.flush().expect("typed");
    crate::support::until("zsh to complete", || {
        std::fs::read_to_string(&out).is_ok_and(|text| !text.trim().is_empty())
    });
    zsh.send("\u{15}exit\r").expect("typed");
    zsh.flush().expect("typed");
    zsh.exp_eof().expect("its end");
    let text = std::fs::read_to_string(&out).unwrap();
    let _ = std::fs::remove_file(&out);
    // It tries several ways to match what was typed, and adds with each.
    let mut all: Vec<String> = text.lines().map(|line| line.trim().to_string()).filter(|l| !l.is_empty()).collect();
    all.sort();
    all.dedup();
    all
}

fn offers(mut command: Command) -> Vec<String> {
    let out = command.finish().expect("a shell");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && said.is_empty(), "{said}");
    String::from_utf8_lossy(&out.stdout).lines().map(|line| line.trim().to_string()).collect()
}

/// A shell's name, and how it is asked.
type Asked = (&'static str, fn(&Sandbox, &[&str]) -> Vec<String>);

#[test]
fn values_complete_only_where_they_belong() {
    let mut sandbox = Sandbox::new();
    with_tok(&mut sandbox);
    sandbox.provider(
        "acme",
        &plain_provider("https://a.example", "")
            .replace("[params.scope]", "[params.tenant]\n[params.scope]")
            .replace("scope = \"{scope?}\" }", "scope = \"{scope?}\", tenant = \"{tenant?}\" }"),
    );
    let asked: [Asked; 3] = [("bash", bash), ("fish", fish), ("zsh", zsh)];
    for (shell, ask) in asked.into_iter().filter(|(shell, _)| is_there(shell)) {
        let offers = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            ask(&sandbox, &words)
        };
        let names = offers("tok get ");
        for name in ["acme", "purewl", "xcover"] {
            assert!(names.iter().any(|offer| offer == name), "{shell}: {names:?}");
        }
        assert!(!names.iter().any(|offer| offer.starts_with('-')), "{shell}: names alone: {names:?}");
        let flags = offers("tok get purewl --");
        let has = |flags: &[String], flag: &str| flags.iter().any(|offer| offer == flag);
        assert!(has(&flags, "--secret-key-file") && has(&flags, "--fresh"), "{shell}: {flags:?}");
        assert!(!has(&flags, "--tenant"), "{shell}: a flag of another provider: {flags:?}");
        assert!(has(&offers("tok get acme --"), "--tenant"), "{shell}");
        assert!(!has(&offers("tok get --"), "--tenant"), "{shell}: no provider is named");
        let grants = offers("tok login purewl ");
        assert!(has(&grants, "secret") && !grants.iter().any(|offer| offer.starts_with('-')), "{shell}: {grants:?}");
        let stores = offers("tok login purewl secret --store ");
        assert!(has(&stores, "keyring") && has(&stores, "file"), "{shell}: {stores:?}");
        assert!(!has(&stores, "purewl") && !stores.iter().any(|s| s.starts_with("--")), "{shell}: {stores:?}");
        assert_eq!(offers("tok get elasticpath --region us"), ["useast"], "{shell}");
        assert_eq!(offers("tok get purewl --grant se"), ["secret"], "{shell}");
        assert!(offers("tok providers pure").contains(&"purewl".to_string()), "{shell}");
        assert_eq!(offers("tok providers --try apiax ref"), ["refresh"], "{shell}");
    }
}
