//! `man/` and `completions/` are made from the definitions of the commands and checked in, the pages of section 5 from
//! the references in `docs/`. Stale ones fail here;
//! `UPDATE=1 cargo test --test generated` makes them anew and removes those of commands that are gone.
//!
//! And the completion itself, as a shell asks for it.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used)]

#[cfg(unix)]
#[path = "cli/support/child.rs"]
mod child;
#[cfg(unix)]
#[path = "cli/support/skip.rs"]
mod skip;

#[cfg(unix)]
use child::Start;
use clap::Command as Definition;
#[cfg(unix)]
use skip::{needs, skip_part};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Command;
use tok::testing::cli::{Catalog, GrantRow, Registers, Shell, TargetRow};

#[path = "generated/markdown.rs"]
mod markdown;

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
            false => wrong.push(format!("{name} is not made from anything")),
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

/// The commands, without what providers bring: with it the pages would be as many as there are grants, and change with
/// each provider. What a provider takes is said by `tok providers NAME`.
fn definition() -> Definition {
    let grant = GrantRow { name: "grant".into(), short: None, help: String::new(), values: Vec::new() };
    let any = TargetRow {
        name: "profile".into(),
        about: "a profile".into(),
        grants: vec![grant],
        registers: Registers::Asked,
    };
    let catalog = Catalog { targets: vec![any], ..Catalog::default() };
    let mut command = tok::testing::cli::command(&catalog, Some(80)).disable_help_subcommand(true);
    command.build();
    command
}

#[test]
fn man_pages_are_those_of_the_commands() {
    let mut made = Files::new();
    let all = definition();
    for command in all.get_subcommands().filter(|command| !command.is_hide_set()) {
        let command = if command.get_name() == "login" { login(command) } else { command.clone() };
        let name = format!("tok-{}", command.get_name());
        made.insert(format!("{name}.1"), page(command, &name));
    }
    made.insert("tok.1".into(), page(all, "tok"));
    for (name, about, text) in REFERENCE {
        made.insert(format!("{name}.5"), reference_page(name, about, text));
    }
    compare("man", &made);
}

/// `tok login` with the options that each of its grants takes.
fn login(command: &Definition) -> Definition {
    let options = command.find_subcommand("profile").and_then(|target| target.find_subcommand("grant")).unwrap();
    let options = options.get_arguments().filter(|arg| !arg.is_positional());
    let about = |styled: Option<&clap::builder::StyledStr>| styled.cloned().unwrap_or_default();
    let page = Definition::new("login")
        .about(about(command.get_about()))
        .long_about(about(command.get_long_about()))
        .bin_name("tok login")
        .display_name("tok-login")
        .disable_help_flag(true)
        .override_usage("tok login PROFILE [GRANT] [OPTIONS]")
        .arg(clap::Arg::new("profile").required(true).value_name("PROFILE").help("Profile in the config, or provider"))
        .arg(clap::Arg::new("grant").value_name("GRANT").help(
            "One of its grants [default: the profile's, else the provider's first]. `tok providers PROFILE` lists them",
        ));
    page.args(options.cloned().collect::<Vec<_>>())
}

/// One page. No date: it would only tell when the page was made.
fn page(command: Definition, name: &str) -> String {
    let takes_values = ["tok-get", "tok-header", "tok-login"].contains(&name);
    let commands: Vec<String> = command.get_subcommands().map(|c| format!("tok-{}(1)", c.get_name())).collect();
    let man = clap_mangen::Man::new(as_manual(command));
    let mut text = Vec::new();
    man.render(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    // The title is written here: the library leaves an empty date out, and what follows would stand in its place.
    let title = title(name, 1);
    let lines = text.lines().map(|line| if line.starts_with(".TH ") { title.as_str() } else { line.trim_end() });
    let mut text = lines.map(|line| format!("{}\n", markdown::code_in_bold(line))).collect::<String>();
    // The arguments stand before the options, which the library has in the order in which they were made.
    if let Some((before, arguments)) = text.clone().split_once(".SH ARGUMENTS\n") {
        let end = arguments.find(".SH ").unwrap_or(arguments.len());
        let (arguments, behind) = arguments.split_at(end);
        let at = [".SH OPTIONS\n", ".SH \"GLOBAL OPTIONS\"\n"].iter().filter_map(|heading| before.find(heading)).min();
        let (before, options) = before.split_at(at.unwrap_or(before.len()));
        text = format!("{before}.SH ARGUMENTS\n{arguments}{options}{behind}");
    }
    if name == "tok-providers" {
        // The library knows of no optional value before another one.
        text = text.replace("\\fI<GRANT>\\fR", "\\fI[GRANT]\\fR");
    }
    // A space before the list of values, once.
    text = text.replace(".br\n\n.br\n", ".sp\n");
    if let Some((before, examples)) = text.clone().split_once(".SH EXTRA\n") {
        // Lines of their own, to be copied.
        let examples = examples.split(".SH ").next().unwrap();
        text = format!("{before}{TOPICS}.SH EXAMPLES\n.nf\n{examples}.fi\n");
    }
    if takes_values {
        text.push_str(VALUES);
    }
    let tok = if name == "tok" { Vec::new() } else { vec!["tok(1)".to_string()] };
    let others = tok.into_iter().chain(commands).chain(["tok-config(5)".into(), "tok-provider(5)".into()]);
    text + &see_also(others)
}

fn title(name: &str, section: u8) -> String {
    let book = if section == 1 { "User Commands" } else { "File Formats" };
    format!(".TH {} {section} \"\" \"tok {}\" \"{book}\"", name.to_uppercase(), env!("CARGO_PKG_VERSION"))
}

fn see_also(pages: impl Iterator<Item = String>) -> String {
    let pages: Vec<String> = pages
        .map(|page| {
            let (name, section) = page.split_once('(').unwrap();
            format!("\\fB{}\\fR({section}", name.replace('-', "\\-"))
        })
        .collect();
    format!(".SH \"SEE ALSO\"\n{}\n", pages.join(",\n"))
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

/// The pages of section 5, and the page in `docs/` that each is made from.
const REFERENCE: [(&str, &str, &str); 2] = [
    ("tok-config", "the config file of tok", include_str!("../docs/config.md")),
    ("tok-provider", "the format of a provider file of tok", include_str!("../docs/providers.md")),
];

fn reference_page(name: &str, about: &str, text: &str) -> String {
    let dashed = name.replace('-', "\\-");
    let body = markdown::roff(&markdown::read(text));
    let other = if name == "tok-config" { "tok-provider(5)" } else { "tok-config(5)" };
    let see_also = see_also(["tok(1)", "tok-providers(1)", other].map(str::to_string).into_iter());
    format!("{}\n.SH NAME\n{dashed} \\- {about}\n{body}{see_also}", title(name, 5))
}

/// A key that no table of a file has.
const PROBE: &str = "qqqqqqqqqqqq";

/// The tables of a config, by their heading in `docs/config.md`, with a key in each that nobody knows.
const CONFIGS: &[(&str, &str)] = &[
    ("Settings", "PROBE = 1"),
    // Whatever has the form of a value's name is one; this has not.
    ("Profiles: `[profile.NAME]`", "[profile.p]\nPROBE-file = 1"),
    ("Values from elsewhere", "[profile.p]\nx = { PROBE = 1 }"),
    ("The identity of a CI job: `{ ci = … }`", "[profile.p]\nx = { ci = \"auto\", PROBE = 1 }"),
    ("Hooks: `[on]`", "[on]\nPROBE = 1"),
    ("The vault: `[vault]`", "[vault]\nPROBE = 1"),
];

/// The tables of a provider file, by their heading in `docs/providers.md`, likewise.
const PROVIDERS: &[(&str, &str)] = &[
    ("Top level", "PROBE = 1\n[grants.a]\nurl = \"https://x.example\""),
    ("Values: `[params.NAME]`", "[params.x]\nPROBE = 1"),
    ("Requests: `[request]`, `[grants.NAME]`, `[revoke]`, `[introspect]`, `[userinfo]`", "[request]\nPROBE = 1"),
    (
        "Client authentication: `auth` as a table",
        "[grants.a]\nurl = \"https://x.example\"\nauth = { method = \"basic\", PROBE = 1 }",
    ),
    ("Grants: `[grants.NAME]`", "[grants.a]\nurl = \"https://x.example\"\nPROBE = 1"),
    (
        "Logins on another device: `[grants.NAME.device]`",
        "[grants.a]\nflow = \"device-code\"\nurl = \"https://x.example\"\nbegin.url = \"https://x.example\"\n\
         [grants.a.device]\nPROBE = 1",
    ),
    (
        "The way back from the browser: `[grants.NAME.redirect]`",
        "[grants.a]\nflow = \"authorization-code\"\nurl = \"https://x.example\"\nbegin.url = \"https://x.example\"\n\
         [grants.a.redirect]\nPROBE = 1",
    ),
    (
        "Steps before the token: `[[grants.NAME.steps]]`",
        "[grants.a]\nurl = \"https://x.example\"\n[[grants.a.steps]]\nurl = \"https://x.example\"\nPROBE = 1",
    ),
    ("Signed assertions: `[grants.NAME.assertion]`", "[grants.a]\n[grants.a.assertion]\nclaims = {}\nPROBE = 1"),
    ("Replies: `[response]`, `[grants.NAME.response]`", "[response]\nPROBE = 1"),
    ("Errors: `error` of a response", "[response]\nerror = { PROBE = 1 }"),
    ("Expiries: an item of `expires` or `refresh_expires`", "[response]\nexpires = [{ at = \"/x\", PROBE = 1 }]"),
    ("Tests: an item of `success` or `dead`", "[response]\nsuccess = [{ at = \"/x\", PROBE = 1 }]"),
    ("Refreshing: `[refresh]`", "[refresh]\ngrant = \"a\"\nPROBE = 1"),
    ("How often: an item of `limits`", "limits = [{ requests = 1, within = \"1m\", PROBE = 1 }]"),
    ("Using the token: `[use]`", "[grants.a]\nurl = \"https://x.example\"\n[use]\nPROBE = 1"),
];

/// The keys of a table are those that the program says it expects there, so that a key is described when it is built,
/// and no sooner.
#[cfg(all(unix, not(target_os = "macos")))]
#[test]
fn the_references_name_every_key_that_the_program_reads() {
    for (file, page, probes) in [
        ("config.toml", include_str!("../docs/config.md"), CONFIGS),
        ("providers/probe.toml", include_str!("../docs/providers.md"), PROVIDERS),
    ] {
        let described = markdown::keys(&markdown::read(page));
        let headings: Vec<&str> = described.iter().map(|(heading, _)| heading.as_str()).collect();
        assert_eq!(headings, probes.iter().map(|(heading, _)| *heading).collect::<Vec<_>>(), "{file}");
        for ((heading, keys), (_, text)) in described.iter().zip(probes) {
            let home = Home::new();
            let path = home.config().join(file);
            fs::write(&path, text.replace("PROBE", PROBE)).unwrap();
            let out = home.run(env!("CARGO_BIN_EXE_tok")).args(["get", "probe"]).output().unwrap();
            let said = String::from_utf8(out.stderr).unwrap();
            let list = said.lines().next().and_then(|line| line.rsplit_once("expected one of: "));
            let list = list.unwrap_or_else(|| panic!("{heading}: the program names no keys: {said}")).1;
            let mut wanted: Vec<&str> = list.split(", ").collect();
            wanted.sort_unstable();
            wanted.dedup();
            // A grant is a request too.
            if heading.starts_with("Grants") || heading.starts_with("Steps") {
                let (_, shared) = described.iter().find(|(heading, _)| heading.starts_with("Requests")).unwrap();
                wanted.retain(|key| !shared.iter().any(|known| known == key));
            }
            let mut keys = keys.clone();
            keys.sort();
            assert_eq!(keys, wanted, "{heading}");
        }
    }
}

/// The examples of the references are files that `tok` takes.
#[cfg(all(unix, not(target_os = "macos")))]
#[test]
fn the_examples_in_the_references_are_accepted() {
    for (file, page) in [
        ("config.toml", include_str!("../docs/config.md")),
        ("providers/example.toml", include_str!("../docs/providers.md")),
    ] {
        let mut tried = 0;
        for block in markdown::read(page) {
            let markdown::Block::Code(language, lines) = block else { continue };
            // What is sent and what comes back: tests/cli/authors.rs holds it against the program.
            if ["try", "reply", "refusal"].iter().any(|kind| language.split(' ').next() == Some(kind)) {
                continue;
            }
            assert_eq!(language, "toml");
            let home = Home::new();
            fs::write(home.config().join("providers/broken.toml"), "title = \"x\"\nlike = \"oidc\"").unwrap();
            fs::write(home.config().join("providers/example.toml"), "title = \"x\"\nlike = \"oidc\"").unwrap();
            fs::write(home.config().join(file), lines.join("\n")).unwrap();
            let path = home.config().join(file).display().to_string();
            let check = if file.starts_with("providers/") { vec!["providers", "--check", &path] } else { vec!["list"] };
            for command in [vec!["list"], vec!["providers", "example"], check] {
                let out = home.run(env!("CARGO_BIN_EXE_tok")).args(command).output().unwrap();
                let said = String::from_utf8(out.stderr).unwrap();
                assert!(out.status.success() && !said.contains(".toml:"), "{lines:#?}\n{said}");
            }
            tried += 1;
        }
        assert!(tried > 0, "{file}");
    }
}

/// What the commands that take values say in addition.
const VALUES: &str = r#".SH VALUES
A provider's values are options too: a plain value \fIclient_id\fR is \fB\-\-client\-id\fR \fIVALUE\fR, a secret
\fIclient_secret\fR is \fB\-\-client\-secret\-file\fR \fIPATH\fR (\fB\-\fR for standard input).
\fBtok providers\fR \fINAME\fR lists what a provider takes; \fBtok\-config\fR(5) says where else a value may come from.
"#;

/// What tok.1 says in addition, for all commands.
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
The config or a provider file is wrong, or the profile is unknown.
.TP
4
A login or a value is needed.
.TP
5
The provider refused.
.TP
6
The provider could not be reached or has a problem: trying later may help.
.TP
7
The secret store is missing, locked or refuses access.
.TP
8
The provider's reply could not be understood.
.TP
130, 143, 129
Ended by INT, TERM or HUP.
.SH ENVIRONMENT
.TP
\fBTOK_\fIPROFILE\fB_\fIVALUE\fR
A value of a profile, such as TOK_SHOP_EU_CLIENT_SECRET: in upper case, with _ for every other character.
.TP
\fBTOK_\fIPROFILE\fB_\fIVALUE\fB_FILE\fR
The path of a file that contains it.
.TP
\fBTOK_CONFIG\fR
The absolute path of the config file.
.TP
\fBTOK_STORE\fR
The secret store: keyring, file, none or helper:NAME.
.TP
\fBTOK_CACHE\fR
Where access tokens wait: disk or off.
.TP
\fBHTTPS_PROXY\fR, \fBALL_PROXY\fR, \fBNO_PROXY\fR
The proxy, as in \fBcurl\fR(1).
.TP
\fBSSL_CERT_FILE\fR
Trusted certificates instead of the system's.
.TP
\fBNO_COLOR\fR
No colour in messages.
.SH FILES
On Linux, unless XDG_CONFIG_HOME, XDG_DATA_HOME or XDG_STATE_HOME say otherwise:
.TP
\fI~/.config/tok/config.toml\fR
The config; every key is optional.
.TP
\fI~/.config/tok/providers/NAME.toml\fR
A provider of your own.
.TP
\fI~/.local/share/tok/secrets.json\fR
Refresh tokens and secrets, with the store "file".
.TP
\fI~/.local/state/tok\fR
Token access tokens, the index for \fBtok list\fR, locks.
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
    let script = |shell| tok::testing::cmd::completions::script(shell).unwrap();
    compare("completions", &SHELLS.map(|(shell, file)| (file.to_string(), script(shell))).into());
}

#[cfg(unix)]
#[test]
fn every_script_is_one_for_its_shell() {
    let folder = tempfile::tempdir().unwrap();
    let options = |shell| if shell == "elvish" { "-compileonly" } else { "-n" };
    // PowerShell has no way to read a script without running it.
    for (shell, file) in SHELLS.into_iter().filter(|(shell, _)| *shell != Shell::Powershell) {
        let path = folder.path().join(file);
        fs::write(&path, tok::testing::cmd::completions::script(shell).unwrap()).unwrap();
        let shell = shell.name();
        match Command::new(shell).arg(options(shell)).arg(&path).finish() {
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{shell}");
                skip_part!("{shell} is not installed");
            }
            Ok(out) => assert!(out.status.success(), "{shell}: {}", String::from_utf8_lossy(&out.stderr)),
        }
    }
}

/// A home of its own, with a config and a provider of the user's.
#[cfg(unix)]
struct Home(tempfile::TempDir);

#[cfg(unix)]
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
        let out = command.arg("--").args(words).finish().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().map(str::to_string).collect()
    }
}

/// `docs/catalogue.md`, the table of what is built in.
#[cfg(unix)]
#[test]
fn the_catalogue_is_what_the_program_has() {
    let home = tempfile::tempdir().unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_tok"))
        .env_clear()
        .env("HOME", home.path())
        .args(["providers", "--json"])
        .finish()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let all: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let all = all.as_array().unwrap();
    let text = |one: &serde_json::Value, key: &str| one[key].as_str().unwrap_or_default().replace('|', "\\|");
    let of = |sureness: &str| all.iter().filter(|one| one["verified"] == sureness).count();
    let mut page = format!(
        "# Built-in providers\n\n\
         {} providers are built in: [provider files](providers.md), each with its sources as comments. `tok providers`\n\
         lists them by kind, `tok providers NAME` shows one, and `tok providers NAME --toml` prints its file. This page is\n\
         made from `tok providers --json` by `UPDATE=1 cargo test --test generated`.\n\n\
         How sure the facts of a provider are: `wire`, requests or replies were seen ({}); `docs`, its own documents say so\n\
         ({}); `list`, only lists that others keep say so ({}).\n",
        all.len(),
        of("wire"),
        of("docs"),
        of("list"),
    );
    let mut kinds: BTreeMap<String, Vec<&serde_json::Value>> = BTreeMap::new();
    all.iter().for_each(|one| kinds.entry(text(one, "kind")).or_default().push(one));
    for (kind, providers) in kinds {
        page.push_str(&format!(
            "\n## {kind}\n\n| name | title | grants | sureness | source |\n|---|---|---|---|---|\n"
        ));
        for one in providers {
            let grants: Vec<String> =
                one["grants"].as_array().unwrap().iter().map(|grant| grant.as_str().unwrap().to_string()).collect();
            let host = text(one, "docs").split('/').nth(2).unwrap_or_default().to_string();
            page.push_str(&format!(
                "| `{}` | {} | {} | {}, {} | [{host}]({}) |\n",
                text(one, "name"),
                text(one, "title"),
                grants.join(", "),
                text(one, "verified"),
                text(one, "verified_on"),
                text(one, "docs"),
            ));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/catalogue.md");
    let was = fs::read_to_string(&path).unwrap_or_default();
    if updating() {
        fs::write(&path, &page).unwrap();
        return;
    }
    assert_eq!(was, page, "docs/catalogue.md is stale: UPDATE=1 cargo test --test generated makes it anew");
}

// Where the config lies differs elsewhere, and with it the home that a test can make.
#[cfg(all(unix, not(target_os = "macos")))]
mod completion {
    use super::*;

    #[test]
    fn profiles_and_providers_complete() {
        let home = Home::new();
        let built_in = tok::testing::provider::built_in().map(|one| one.name).filter(|name| name.starts_with("pu"));
        let mut known: Vec<_> = built_in.chain(["pub"]).collect();
        known.sort_unstable();
        for verb in ["get", "header", "exec", "curl", "logout", "show"] {
            assert_eq!(home.offers(&["tok", verb, "pu"]), known, "{verb}");
            assert_eq!(home.offers(&["tok", verb, "shop-"]), ["shop-eu"], "{verb}");
        }
        let all = home.offers(&["tok", "get", ""]);
        for name in tok::testing::provider::built_in().map(|one| one.name).chain(["own", "pub", "shop-eu"]) {
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
        assert_eq!(home.offers(&["tok", "setup", "ku"]), ["kubernetes"]);
        assert_eq!(home.offers(&["tok", "setup", "git", "pure"]), ["purewl"]);
        assert_eq!(home.offers(&["tok", "credential", "terra"]), ["terraform"]);
        assert_eq!(home.offers(&["tok", "credential", "--profile", "pure"]), ["purewl"]);
        assert_eq!(home.offers(&["tok", "credential", "git", "--profile", "pure"]), ["purewl"]);
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
        needs!("bash");
        let home = Home::new();
        let folder = Path::new(env!("CARGO_BIN_EXE_tok")).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::env::join_paths(std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path)));
        let script = home.0.path().join("tok.bash");
        fs::write(&script, tok::testing::cmd::completions::script(Shell::Bash).unwrap()).unwrap();
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
            .finish()
            .unwrap();
        let shown = String::from_utf8_lossy(&out.stdout);
        assert_eq!(shown.trim(), "secret", "{}", String::from_utf8_lossy(&out.stderr));
    }
}
