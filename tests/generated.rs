//! `man/` and `completions/` are made from the definitions of the commands and checked in. Stale ones fail here;
//! `UPDATE=1 cargo test --test generated` makes them anew and removes those of commands that are gone.
//!
//! And the completion itself, as a shell asks for it.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used)]

use clap::Command as Definition;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tok::cli::Shell;

/// File names and what they hold.
type Files = BTreeMap<String, String>;

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// Compares a folder with what it should hold, or makes it so.
fn compare(folder: &str, made: &Files) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if updating() {
        fs::create_dir_all(&folder).unwrap();
    }
    let mut wrong = Vec::new();
    let there = fs::read_dir(&folder).into_iter().flatten();
    for name in there.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        match made.contains_key(&name) {
            true => {}
            false if updating() => fs::remove_file(folder.join(&name)).unwrap(),
            false => wrong.push(format!("{name} belongs to no command")),
        }
    }
    for (name, text) in made {
        // Nothing of the machine that makes them.
        for word in [env!("CARGO_MANIFEST_DIR"), "/target/", "/home/", "/root/", "/tmp/"] {
            assert!(!text.contains(word), "{name} holds {word}");
        }
        let path = folder.join(name);
        match fs::read_to_string(&path) {
            Ok(was) if was == *text => {}
            _ if updating() => fs::write(&path, text).unwrap(),
            Ok(was) => wrong.push(format!("{name} is stale: {}", first_difference(&was, text))),
            Err(_) => wrong.push(format!("{name} is missing")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{}: UPDATE=1 cargo test --test generated makes it anew\n{}",
        folder.display(),
        wrong.join("\n")
    );
}

fn first_difference(was: &str, is: &str) -> String {
    let mut pairs = was.lines().zip(is.lines()).enumerate();
    match pairs.find(|(_, (was, is))| was != is) {
        Some((at, (was, is))) => format!("line {}\n- {was}\n+ {is}", at + 1),
        None => format!("{} lines, should be {}", was.lines().count(), is.lines().count()),
    }
}

fn definition() -> Definition {
    let mut command =
        tok::cli::command(&tok::cmd::arguments::built_in_catalog(), Some(80)).disable_help_subcommand(true);
    command.build();
    command
}

#[test]
fn man_pages_are_those_of_the_commands() {
    let mut made = Files::new();
    pages(definition(), "", &mut made);
    compare("man", &made);
}

/// The page of `command` and of each below it.
fn pages(command: Definition, above: &str, made: &mut Files) {
    let name = match above {
        "" => command.get_name().to_string(),
        above => format!("{above}-{}", command.get_name()),
    };
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        pages(below.clone(), &name, made);
    }
    made.insert(format!("{name}.1"), page(command, &name, above));
}

/// One page. No date: it would only tell when the page was made.
fn page(command: Definition, name: &str, above: &str) -> String {
    let mut below: Vec<String> = command.get_subcommands().map(|c| format!("{name}-{}", c.get_name())).collect();
    below.sort();
    let title = format!(".TH {} 1 \"\" \"tok {}\" \"User Commands\"", name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(as_manual(command));
    let mut text = Vec::new();
    man.render(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    // The title is written here: the library leaves an empty date out, and what follows would stand in its place.
    let lines = text.lines().map(|line| if line.starts_with(".TH ") { title.as_str() } else { line.trim_end() });
    let mut text = lines.map(|line| format!("{line}\n")).collect::<String>();
    // The arguments stand before the options, which the library has in the order in which they were made.
    if let Some((before, arguments)) = text.clone().split_once(".SH ARGUMENTS\n") {
        let end = arguments.find(".SH ").unwrap_or(arguments.len());
        let (arguments, behind) = arguments.split_at(end);
        let at = [".SH OPTIONS\n", ".SH \"GLOBAL OPTIONS\"\n"].iter().filter_map(|heading| before.find(heading)).min();
        let (before, options) = before.split_at(at.unwrap_or(before.len()));
        text = format!("{before}.SH ARGUMENTS\n{arguments}{options}{behind}");
    }
    // A space before the list of values, once.
    text = text.replace(".br\n\n.br\n", ".sp\n");
    if let Some((before, examples)) = text.clone().split_once(".SH EXTRA\n") {
        // Lines of their own, to be copied.
        let examples = examples.split(".SH ").next().unwrap();
        text = format!("{before}{TOPICS}.SH EXAMPLES\n.nf\n{examples}.fi\n");
    }
    let others = (!above.is_empty()).then(|| above.to_string()).into_iter().chain(below);
    let others: Vec<String> = others.map(|page| format!("\\fB{}\\fR(1)", page.replace('-', "\\-"))).collect();
    text.push_str(&format!(".SH \"SEE ALSO\"\n{}\n", others.join(",\n")));
    text
}

/// The command as a manual has it: the short usage, arguments and commands under headings like the others.
fn as_manual(mut command: Definition) -> Definition {
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_string();
    let heading = command.get_subcommand_help_heading().unwrap_or("Commands").to_uppercase();
    command
        .override_usage(usage)
        .subcommand_help_heading(heading)
        .mut_args(|arg| if arg.is_positional() { arg.help_heading("Arguments") } else { arg })
}

/// What tok.1 says besides: what no single command has.
const TOPICS: &str = r#".SH "EXIT STATUS"
.TP
0
Done.
.TP
1
Any other failure.
.TP
2
Wrong usage.
.TP
3
The config or a provider file is wrong, or the profile is not known.
.TP
4
A login or a value is needed.
.TP
5
The provider refused.
.TP
6
The provider could not be reached, or failed for now: trying later may help.
.TP
7
The secret store is missing, locked or refused, and may hold what is needed.
.TP
8
The provider's reply could not be understood.
.TP
130, 143, 129
Interrupted by INT, TERM or HUP.
.SH ENVIRONMENT
.TP
\fBTOK_\fIPROFILE\fB_\fIVALUE\fR
A value of a profile, such as TOK_SHOP_EU_CLIENT_SECRET: upper case, every other character a _.
.TP
\fBTOK_\fIPROFILE\fB_\fIVALUE\fB_FILE\fR
The path of a file that holds it.
.TP
\fBTOK_CONFIG\fR
The config file, an absolute path.
.TP
\fBTOK_STORE\fR
keyring, file, none or helper:NAME.
.TP
\fBTOK_CACHE\fR
disk or off: where access tokens wait.
.TP
\fBHTTPS_PROXY\fR, \fBALL_PROXY\fR, \fBNO_PROXY\fR
The proxy, by the rules of \fBcurl\fR(1).
.TP
\fBSSL_CERT_FILE\fR
Trusted certificates in place of the system's.
.TP
\fBNO_COLOR\fR
No colour in messages.
.SH FILES
Where XDG_CONFIG_HOME, XDG_DATA_HOME and XDG_STATE_HOME are not set, on Linux:
.TP
\fI~/.config/tok/config.toml\fR
The config; every key is optional.
.TP
\fI~/.config/tok/providers/NAME.toml\fR
A provider of your own.
.TP
\fI~/.local/share/tok/secrets.json\fR
What is secret, with the store file.
.TP
\fI~/.local/state/tok\fR
Cached access tokens, the index for \fBtok list\fR, locks.
"#;

const SHELLS: [(Shell, &str); 5] = [
    (Shell::Bash, "tok.bash"),
    (Shell::Zsh, "_tok"),
    (Shell::Fish, "tok.fish"),
    (Shell::Elvish, "tok.elv"),
    (Shell::Powershell, "tok.ps1"),
];

#[test]
fn completion_scripts_are_those_of_the_program() {
    let script = |shell| tok::cmd::completions::script(shell).unwrap();
    compare("completions", &SHELLS.map(|(shell, file)| (file.to_string(), script(shell))).into());
}

#[test]
fn every_script_is_one_for_its_shell() {
    let folder = tempfile::tempdir().unwrap();
    let options = |shell| if shell == "elvish" { "-compileonly" } else { "-n" };
    // PowerShell has no way to read a script without running it.
    for (shell, file) in SHELLS.into_iter().filter(|(shell, _)| *shell != Shell::Powershell) {
        let path = folder.path().join(file);
        fs::write(&path, tok::cmd::completions::script(shell).unwrap()).unwrap();
        let shell = shell.name();
        match Command::new(shell).arg(options(shell)).arg(&path).output() {
            // A shell that is not there reads nothing.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{shell}"),
            Ok(out) => assert!(out.status.success(), "{shell}: {}", String::from_utf8_lossy(&out.stderr)),
        }
    }
}

/// A home of its own, with a config and a provider of the user's.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        let folder = home.config();
        fs::create_dir_all(folder.join("providers")).unwrap();
        let config = "[profile.shop-eu]\nprovider = \"elasticpath\"\n[profile.pub]\nprovider = \"own\"\n";
        fs::write(folder.join("config.toml"), config).unwrap();
        let provider = "title = \"Own\"\n[grants.token]\nurl = \"https://own.example/token\"\n";
        fs::write(folder.join("providers/own.toml"), provider).unwrap();
        fs::write(folder.join("providers/broken.toml"), "title = ").unwrap();
        home
    }

    fn config(&self) -> PathBuf {
        self.0.path().join(".config/tok")
    }

    fn run(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", self.0.path()).current_dir(self.0.path());
        command
    }

    /// What bash is offered for the last of `words`.
    fn offers(&self, words: &[&str]) -> Vec<String> {
        let mut command = self.run(env!("CARGO_BIN_EXE_tok"));
        command.env("_TOK_COMPLETE", "bash").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9");
        command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        let out = command.arg("--").args(words).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().map(str::to_string).collect()
    }
}

// Where the config lies differs elsewhere, and with it the home that a test can make.
#[cfg(all(unix, not(target_os = "macos")))]
mod completion {
    use super::*;

    #[test]
    fn profiles_and_providers_complete() {
        let home = Home::new();
        for verb in ["get", "header", "logout", "show"] {
            assert_eq!(home.offers(&["tok", verb, "pu"]), ["pub", "purewl"], "{verb}");
            assert_eq!(home.offers(&["tok", verb, "shop"]), ["shop-eu"], "{verb}");
        }
        let all = home.offers(&["tok", "get", ""]);
        for name in tok::provider::built_in().map(|(name, _)| name).chain(["own", "pub", "shop-eu"]) {
            assert!(all.iter().any(|offer| offer == name), "{name} is not in {all:?}");
        }
    }

    #[test]
    fn logins_complete_down_to_their_flags() {
        let home = Home::new();
        let targets = home.offers(&["tok", "login", ""]);
        for name in ["apiax", "elasticpath", "own", "pub", "purewl", "shop-eu", "xcover"] {
            assert!(targets.iter().any(|offer| offer == name), "{name} is not in {targets:?}");
        }
        assert!(!targets.iter().any(|offer| offer == "broken"));
        let grants = |target| {
            let offers = home.offers(&["tok", "login", target, ""]);
            offers.into_iter().filter(|offer| !offer.starts_with('-') && offer != "help").collect::<Vec<_>>()
        };
        assert_eq!(grants("purewl"), ["secret", "refresh"]);
        assert_eq!(grants("shop-eu"), ["client-credentials", "implicit"]);
        assert_eq!(grants("own"), ["token"]);
        assert_eq!(home.offers(&["tok", "login", "purewl", "secret", "--sec"]), ["--secret-key-file"]);
        assert_eq!(home.offers(&["tok", "login", "shop-eu", "implicit", "--region", "u"]), ["useast"]);
    }

    #[test]
    fn what_does_not_change_completes() {
        let home = Home::new();
        assert_eq!(home.offers(&["tok", "comp"]), ["completions"]);
        assert_eq!(home.offers(&["tok", "completions", "z"]), ["zsh"]);
        assert_eq!(home.offers(&["tok", "get", "purewl", "-o", "he"]), ["header"]);
    }

    #[test]
    fn a_broken_config_takes_no_completion_away() {
        let home = Home::new();
        fs::write(home.config().join("config.toml"), "[profile").unwrap();
        assert_eq!(home.offers(&["tok", "get", "pure"]), ["purewl"]);
    }

    #[test]
    fn bash_itself_completes() {
        let home = Home::new();
        let folder = Path::new(env!("CARGO_BIN_EXE_tok")).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::env::join_paths(std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path)));
        let script = home.0.path().join("tok.bash");
        fs::write(&script, tok::cmd::completions::script(Shell::Bash).unwrap()).unwrap();
        // Calls what `complete -p tok` says, as readline does after TAB.
        let ask = "source \"$1\"; shift\n\
                   function=$(complete -p tok | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
                   COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9; COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}\n\
                   \"$function\" tok \"${@: -1}\" \"${@: -2:1}\" && printf '%s\\n' \"${COMPREPLY[@]}\"";
        let out = home
            .run("bash")
            .env("PATH", paths.unwrap())
            .args(["--norc", "--noprofile", "-c", ask, "bash"])
            .arg(script)
            .args(["tok", "login", "purewl", "s"])
            .output();
        match out {
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
            Ok(out) => {
                let shown = String::from_utf8_lossy(&out.stdout);
                assert_eq!(shown.trim(), "secret", "{}", String::from_utf8_lossy(&out.stderr));
            }
        }
    }
}
