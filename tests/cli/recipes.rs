//! `docs/recipes.md`: each block of commands is run as it stands, as far as its programs are here; what stands in other
//! programs' files is read by those.

use crate::child::Start;
use crate::readme::tunnel;
use crate::skip::{lacking, needs, skip_part};
use crate::support::server::{Certified, Reply, Server};
use crate::support::{CANARY, Sandbox, chmod, figures, plain_provider, put, until};
use std::process::Command;

const RECIPES: &str = include_str!("../../docs/recipes.md");

/// The blocks: the heading above, the language, the text.
fn blocks() -> Vec<(&'static str, &'static str, String)> {
    let mut found = Vec::new();
    let mut heading = "";
    let mut lines = RECIPES.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((heading, language, block.join("\n") + "\n"));
        } else if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        }
    }
    found
}

/// The API and the provider that the recipes name, and a sandbox that reaches them.
struct World {
    sandbox: Sandbox,
    api: Server,
    _provider: Server,
}

impl World {
    fn new() -> World {
        let provider = Server::issuing(600);
        let api = Server::tls_as(Certified::new(&["api.example.com"], false), |request| {
            let good = request.header("authorization").is_some_and(|header| header.contains(CANARY));
            Reply::new(if good { 200 } else { 401 }, "text/plain", "items\n")
        });
        let mut sandbox = Sandbox::new();
        for name in ["shop", "mail"] {
            sandbox.provider(name, &plain_provider(&provider.url(), ""));
        }
        let secret = sandbox.file_arg("secret", format!("plain-secret-{CANARY}\n"));
        let profile = |name: &str, more: &str| {
            format!("[profile.{name}]\nprovider = \"{name}\"\nclient_secret = {{ file = \"{secret}\" }}\n{more}")
        };
        let (shop, mail) = (profile("shop", "hosts = [\"api.example.com\"]\n"), profile("mail", ""));
        sandbox.config(&format!("store = \"file\"\n{shop}{mail}"));
        let proxy = format!("http://127.0.0.1:{}", tunnel(api.port()));
        sandbox.set("HTTPS_PROXY", &proxy).set("CURL_CA_BUNDLE", api.ca_file());
        let folder = std::path::Path::new(env!("CARGO_BIN_EXE_tok")).parent().expect("a folder");
        let bin = sandbox.work().join("bin");
        put(&bin.join("hold"), b"");
        let path = std::env::var("PATH").unwrap_or_default();
        sandbox.set("PATH", format!("{}:{}:{path}", bin.display(), folder.display()));
        World { sandbox, api, _provider: provider }
    }

    /// A program of this name, in the place of one that would need the network.
    fn program(&self, name: &str, script: &str) {
        let file = self.sandbox.work().join("bin").join(name);
        put(&file, format!("#!/bin/sh\n{script}\n").as_bytes());
        chmod(&file, 0o700);
    }

    fn run(&self, shell: &str, script: &str) -> std::process::Output {
        let tok = self.sandbox.tok(["-V"]).command();
        let mut command = Command::new(shell);
        command.arg("-c").arg(script).env_clear();
        command.envs(tok.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.sandbox.work()).finish().expect("a shell")
    }
}

/// The program that a recipe is about, where it is not a shell alone.
fn needed(heading: &str, block: &str) -> &'static [&'static str] {
    match heading {
        "curl" | "A pipe" => &["curl", "bash"],
        // These are run with a program of that name in their place: the token's way to it is what counts.
        _ if block.contains("ssh") => &["bash"],
        _ => &["bash"],
    }
}

#[test]
fn every_block_of_commands_runs_as_it_stands() {
    let mut ran = 0;
    for (heading, _, block) in blocks().iter().filter(|(_, language, _)| *language == "sh") {
        if let Some(program) = lacking(needed(heading, block)) {
            skip_part!("{heading}: {program} is not installed");
            continue;
        }
        let world = World::new();
        let got = world.sandbox.work().join("got");
        // pip asks for it itself, or has it in a variable.
        let shown = format!(
            "for all in \"$@\"; do test \"$all\" != subprocess || asked=$(keyring get https://api.example.com/simple/ token); done\n\
             printf %s \"$*|$TOKEN$SNOWFLAKE_TOKEN$NPM_TOKEN$PIP_INDEX_URL$asked\" >{}",
            got.display()
        );
        let keyring = blocks().into_iter().find(|(_, language, _)| *language == "keyring").expect("a block").2;
        world.program("keyring", keyring.trim_start_matches("#!/bin/sh\n").trim_end());
        for name in ["docker", "npm", "pip", "dbt"] {
            world.program(name, &shown);
        }
        // What is typed there is run here.
        world.program("ssh", "shift; exec sh -c \"$1\"");
        put(
            &world.sandbox.work().join("deploy"),
            format!("#!/bin/sh\nprintf %s \"$TOKEN\" >{}\n", got.display()).as_bytes(),
        );
        chmod(&world.sandbox.work().join("deploy"), 0o700);
        let watches = block.contains("--watch");
        let script = if watches { format!("{block}until test -s token; do :; done; kill $!") } else { block.clone() };
        let out = world.run("bash", &script);
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{heading}:\n{block}{text}");
        if block.contains("api.example.com/items") {
            assert!(world.api.requests().iter().all(|r| r.header("authorization").is_some()), "{heading}");
            assert_eq!((world.api.count(), String::from_utf8_lossy(&out.stdout).as_ref()), (1, "items\n"), "{heading}");
        }
        let is_handed = ["docker ", "npm ", "pip ", "dbt ", "ssh "].iter().any(|name| block.contains(name));
        if is_handed {
            let text = std::fs::read_to_string(&got).unwrap_or_default();
            let (arguments, token) = text.split_once('|').unwrap_or(("", &text));
            assert!(token.contains(CANARY) && !arguments.contains(CANARY), "{heading}: {text}");
        }
        if block.contains("--write token") {
            let text = std::fs::read_to_string(world.sandbox.work().join("token")).unwrap_or_default();
            assert!(text.contains(CANARY), "{heading}: {text}");
        }
        ran += 1;
    }
    assert!(ran > 8, "{ran}");
}

/// What the page says of a failure: the line stops, `curl` of a pipe does not.
#[test]
fn a_failure_stops_where_the_page_says_so() {
    let world = World::new();
    // The provider is gone, and so is what it gave.
    world.sandbox.config("store = \"none\"\n[profile.shop]\nhosts = [\"api.example.com\"]\n");
    let of = |heading: &str, at: usize| {
        let all: Vec<_> =
            blocks().into_iter().filter(|(is, language, _)| *is == heading && *language == "sh").collect();
        all[at].2.clone()
    };
    let code = |script: &str| world.run("bash", script).status.code();
    assert_eq!(code(&of("In a script", 0)), Some(4));
    assert_eq!(code(&of("In a script", 1)), Some(4));
    assert_eq!(code("export TOKEN=$(tok get shop)"), Some(0), "this is why");
    assert_eq!(code("eval \"$(tok get shop -o env)\""), Some(0));
    if lacking(&["curl"]).is_none() {
        assert_eq!(code(&of("curl", 0)), Some(125));
        assert_eq!(world.api.count(), 0);
        assert_eq!(code(&of("A pipe", 0)), Some(4));
        assert_eq!(world.api.last().header("authorization"), None, "the request is out all the same");
    }
    assert_eq!(code(&of("Another program", 0)), Some(125));
}

#[test]
fn fish_runs_its_block() {
    if lacking(&["fish"]).is_some() {
        skip_part!("fish is not installed");
        return;
    }
    let world = World::new();
    let block = blocks().into_iter().find(|(_, language, _)| *language == "fish").expect("a block").2;
    let out = world.run("fish", &format!("{block}printf %s $TOKEN"));
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains(CANARY));
    world.sandbox.config("store = \"none\"\n");
    world.sandbox.forget_cache();
    assert_eq!(world.run("fish", &block).status.code(), Some(1));
}

#[test]
fn powershell_runs_its_block() {
    needs!("pwsh");
    let world = World::new();
    let block = blocks().into_iter().find(|(_, language, _)| *language == "powershell").expect("a block").2;
    let out = world.run("pwsh", &format!("{block}[Console]::Out.Write($env:TOKEN)"));
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains(CANARY));
    world.sandbox.config("store = \"none\"\n");
    world.sandbox.forget_cache();
    assert_eq!(world.run("pwsh", &block).status.code(), Some(1));
}

/// The block below `## Prometheus`.
fn prometheus_block() -> String {
    let block = blocks().into_iter().find(|(heading, language, _)| (*heading, *language) == ("Prometheus", "yaml"));
    block.expect("a block").2
}

#[test]
fn promtool_takes_the_file_of_prometheus() {
    needs!("promtool");
    let world = World::new();
    world.sandbox.run("get shop --write token").prints("");
    put(&world.sandbox.work().join("prometheus.yml"), prometheus_block().as_bytes());
    let out = world.run("sh", "promtool check config prometheus.yml");
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
}

#[test]
fn prometheus_scrapes_with_the_token_of_its_file() {
    needs!("prometheus");
    let out = Command::new("prometheus").arg("--version").finish().expect("prometheus");
    figures(String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default());
    let world = World::new();
    world.sandbox.run("get shop --write token").prints("");
    let metrics = Server::always(Reply::new(200, "text/plain; version=0.0.4", "up_and_well 1\n"));
    let target = format!("127.0.0.1:{}", metrics.port());
    let block = prometheus_block();
    assert!(block.contains("127.0.0.1:9090"));
    let config = format!("global: {{ scrape_interval: 100ms }}\n{}", block.replace("127.0.0.1:9090", &target));
    put(&world.sandbox.work().join("prometheus.yml"), config.as_bytes());
    let own = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let mut command = Command::new("prometheus");
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"]);
    command.arg(format!("--web.listen-address={own}")).current_dir(world.sandbox.work());
    let mut running = command.start().expect("prometheus");
    let sends = |token: &str| {
        let header = format!("Bearer {token}");
        until("a scrape with the token", || {
            metrics.requests().last().is_some_and(|request| request.header("authorization") == Some(header.as_str()))
        });
    };
    sends(&world.sandbox.run("get shop").line());
    // It is read again for each scrape.
    world.sandbox.run("get shop --fresh --write token").prints("");
    sends(&world.sandbox.run("get shop").line());
    running.kill();
}

/// https://developer.hashicorp.com/vault/docs/commands/token-helper: `get` prints the token and nothing else, `store` has it
/// on stdin, `erase` forgets it.
#[test]
fn vault_s_token_helper_is_a_script() {
    let world = World::new();
    let script = blocks().into_iter().find(|(_, language, _)| *language == "vault-token").expect("a block").2;
    world.program("vault-token", script.trim_start_matches("#!/bin/sh\n").trim_end());
    let run = |line: &str| {
        let out = world.run("sh", line);
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned(), out.stderr)
    };
    let token = world.sandbox.run("get shop").line();
    assert_eq!(run("vault-token get"), (Some(0), token.clone(), Vec::new()));
    for verb in ["echo x | vault-token store", "vault-token erase"] {
        assert_eq!(run(verb), (Some(0), String::new(), Vec::new()), "{verb}");
    }
    assert_eq!(run("vault-token get").1, token);
    world.sandbox.config("store = \"none\"\n");
    world.sandbox.forget_cache();
    let (status, stdout, _) = run("vault-token get");
    assert_eq!((status, stdout.as_str()), (Some(4), ""));
}

/// The commands in the files of other programs.
#[test]
fn commands_in_other_programs_files_run() {
    let world = World::new();
    let mut ran = 0;
    for line in RECIPES.lines() {
        let line = line.trim_start_matches("passwordeval ").trim_start_matches("PassCmd ");
        let line = line.trim_start_matches("set imap_oauth_refresh_command=").trim_matches('"');
        if line.starts_with("tok get mail") {
            let out = world.run("sh", line);
            assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains(CANARY), "{line}");
            ran += 1;
        }
    }
    assert_eq!(ran, 3);
    let cron = RECIPES.lines().find(|line| line.starts_with("*/10")).expect("a crontab");
    if lacking(&["curl"]).is_none() {
        let command = cron.splitn(6, ' ').nth(5).expect("a command").replace("/var/tmp/items", "items");
        assert!(world.run("sh", &command).status.success(), "{command}");
        until("the file", || std::fs::read(world.sandbox.work().join("items")).is_ok_and(|text| text == b"items\n"));
    }
}
