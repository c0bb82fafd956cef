//! The README, command by command: every block and every command in it is run as it stands. The hosts that it names
//! are all on loopback: a proxy takes each connection to one server with a certificate for all of them, which passes
//! the requests on to the imitations of the providers.

use crate::support::apiax::{self, Apiax};
use crate::support::elasticpath::{self, ElasticPath};
use crate::support::issuer::{Browser, Issuer};
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Certified, Received, Reply, Server};
use crate::support::xcover::{self, XCover};
use crate::support::{CANARY, Sandbox, chmod, code_of, put, walk};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const README: &str = include_str!("../../README.md");

/// What the README calls the company's issuer, its API and the provider of one's own.
const ISSUER: &str = "https://id.example.com";

/// How long a command may take to show its prompt, or to end.
const PATIENCE_MS: u64 = 30_000;

/// The code blocks: the heading above, the language, the text.
fn all_blocks() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut heading = "";
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((heading.to_string(), language.to_string(), block.join("\n")));
        } else if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        }
    }
    found
}

/// The blocks of one language under a heading.
fn blocks_of(heading: &str, language: &str) -> Vec<String> {
    let all = all_blocks().into_iter();
    let found: Vec<String> =
        all.filter(|(at, is, _)| at == heading && is == language).map(|(_, _, text)| text).collect();
    assert!(!found.is_empty(), "the README has no {language} block under {heading}");
    found
}

/// The commands that stand inside the text, and not in a block: each `tok …` between backticks.
fn commands_in_text() -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = README.lines();
    let mut text = String::new();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            lines.by_ref().take_while(|line| *line != "```").for_each(drop);
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    for (at, piece) in text.split('`').enumerate() {
        if at % 2 == 1 && (piece.starts_with("tok ") || piece.contains("tok login") || piece.contains("tok get")) {
            found.push(piece.replace("\\|", "|"));
        }
    }
    found
}

/// The servers that the README's commands talk to.
pub struct World {
    pub purewl: PureWl,
    xcover: XCover,
    elasticpath: ElasticPath,
    apiax: Apiax,
    issuer: Issuer,
    /// The token endpoint of the provider that one writes oneself.
    own: Server,
    /// TLS for all of their names.
    front: Server,
    proxy: u16,
}

impl World {
    pub fn new() -> World {
        let (purewl, xcover, elasticpath, apiax) =
            (PureWl::start(), XCover::start(), ElasticPath::start(), Apiax::start());
        let issuer = Issuer::start();
        issuer.state(|state| {
            let at = |path: &str| format!("{ISSUER}/{path}");
            state.metadata = json!({
                "issuer": ISSUER,
                "authorization_endpoint": at("authorize"),
                "token_endpoint": at("token"),
                "device_authorization_endpoint": at("device"),
                "jwks_uri": at("jwks"),
                "backchannel_authentication_endpoint": null,
                "revocation_endpoint": null,
                "introspection_endpoint": null,
                "userinfo_endpoint": null,
            });
            state.claims = json!({"iss": ISSUER, "aud": "our-cli"});
        });
        let own = Server::issuing(600);
        let ports = BTreeMap::from([
            ("atomapi.com", purewl.server.port()),
            ("api.xone.xcover.com", xcover.server.port()),
            ("useast.api.elasticpath.com", elasticpath.server.port()),
            ("auth.apiax.io", apiax.server.port()),
            ("id.example.com", issuer.server.port()),
            ("example.com", own.port()),
        ]);
        let names: Vec<&str> = ports.keys().copied().chain(["api.example.com"]).collect();
        let front = Server::tls_as(Certified::new(&names, false), move |request| answer(&ports, request));
        let proxy = tunnel(front.port());
        World { purewl, xcover, elasticpath, apiax, issuer, own, front, proxy }
    }

    /// A home in which all of these names lead here, with `tok` in PATH and without a keyring.
    pub fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::new();
        let folder = Path::new(env!("CARGO_BIN_EXE_tok")).parent().expect("a folder");
        let path = std::env::var("PATH").expect("a PATH");
        sandbox.set("PATH", format!("{}:{path}", folder.display()));
        sandbox.set("HTTPS_PROXY", format!("http://127.0.0.1:{}", self.proxy));
        sandbox.set("SSL_CERT_FILE", self.front.ca_file());
        sandbox
    }

    /// A person logs in with the browser. The ID token is for this login (OIDC Core §3.1.3.7).
    #[track_caller]
    fn log_in(&self, browser: &Browser) {
        let visit = browser.visit();
        self.issuer.state(|state| state.claims["nonce"] = visit.value("nonce").into());
        visit.log_in();
    }

    /// The requests for an API, which is not a token endpoint.
    fn api_calls(&self) -> Vec<Received> {
        let all = self.front.requests();
        all.into_iter().filter(is_api).collect()
    }
}

/// Whether this is a request that carries a token, and not one for a token.
fn is_api(request: &Received) -> bool {
    ["/v1/me", "/vam/v2/status", "/api/partners/acme/policies"].contains(&request.path())
}

/// The API of each host wants a token; all else is passed on to the imitation of the provider there.
fn answer(ports: &BTreeMap<&'static str, u16>, request: &Received) -> Reply {
    let host = request.header("host").unwrap_or_default();
    if is_api(request) {
        let header = if host == "atomapi.com" { "x-accesstoken" } else { "authorization" };
        let token = request.header(header).unwrap_or_default();
        let good = token.to_lowercase().contains(CANARY) || token.starts_with("Bearer ");
        return if good { Reply::json(200, json!({"ok": true})) } else { Reply::json(401, json!({})) };
    }
    let Some(port) = ports.get(host) else { return Reply::html(404) };
    // The imitations know one client and one user; the README calls them by shorter names.
    let body = String::from_utf8(request.body.clone()).expect("text");
    let body = body.replace("client_id=abc", &format!("client_id={}", elasticpath::CLIENT_ID));
    let body = body.replace("me%40example.com", &apiax::USERNAME.replace('+', "%2B").replace('@', "%40"));
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in request.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut stream = TcpStream::connect(("127.0.0.1", *port)).expect("the imitation is there");
    stream.write_all(format!("{head}\r\n").as_bytes()).expect("passed on");
    stream.write_all(body.as_bytes()).expect("passed on");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("an answer");
    Reply::raw(reply)
}

/// A proxy that joins every CONNECT to this port, for as long as the test runs.
pub fn tunnel(port: u16) -> u16 {
    tunnel_to(move |_| port)
}

/// The same, to the port that `route` has for the name and port that it is asked for.
pub fn tunnel_to(route: impl Fn(&str) -> u16 + Send + Sync + 'static) -> u16 {
    let route = Arc::new(route);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let own = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let route = route.clone();
            std::thread::spawn(move || join(stream, &*route));
        }
    });
    own
}

fn join(mut client: TcpStream, route: &dyn Fn(&str) -> u16) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let port = route(head.split_whitespace().nth(1).unwrap_or_default());
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    // What is passed on waits for nothing else.
    client.set_nodelay(true).and(server.set_nodelay(true)).expect("sockets without delay");
    let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    let (client, server) = (Arc::new(client), Arc::new(server));
    let (from, to) = (client.clone(), server.clone());
    let up = std::thread::spawn(move || {
        let _ = std::io::copy(&mut &*from, &mut &*to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut &*server, &mut &*client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = up.join();
}

/// A shell in the sandbox that runs `script` as a person would type it, line by line, and stops at the first failure.
fn shell(sandbox: &Sandbox, script: &str) -> Command {
    let tok = sandbox.tok(["-V"]).command();
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-euo", "pipefail", "-c", script]).env_clear();
    command.envs(tok.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(sandbox.work());
    command
}

/// Runs `script` where nobody can type.
#[track_caller]
fn run(sandbox: &Sandbox, script: &str) -> String {
    let out = shell(sandbox, script).stdin(std::process::Stdio::null()).output().expect("bash");
    let (said, shown) = (String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success(), "{script}\nstatus {:?}\n{shown}{said}", out.status.code());
    shown.into_owned()
}

/// Runs `script` on a terminal, types each answer at its prompt, and lets `person` do the rest.
#[track_caller]
pub fn run_on_terminal(sandbox: &Sandbox, script: &str, answers: &[(&str, &str)], person: &dyn Fn()) -> String {
    let mut session = rexpect::session::spawn_command(shell(sandbox, script), Some(PATIENCE_MS)).expect("a terminal");
    let mut shown = String::new();
    for (prompt, answer) in answers {
        shown += &session.exp_string(prompt).unwrap_or_else(|error| panic!("{script}\nno {prompt:?}: {error}"));
        session.send_line(answer).expect("typed");
    }
    person();
    shown += &session.exp_eof().unwrap_or_else(|error| panic!("{script}\nno end: {error}"));
    let status = session.process().wait().expect("a status");
    assert_eq!(code_of(&status), 0, "{script}\n{shown}");
    shown
}

#[test]
fn the_readme_is_short_and_in_order() {
    assert!(README.lines().count() <= 200, "{} lines", README.lines().count());
    let headings: Vec<&str> = README.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let wanted = [
        "Install",
        "A script, run by cron",
        "A company login",
        "CI",
        "Everyday use",
        "Errors",
        "Providers",
        "A provider of your own",
        "More",
    ];
    assert_eq!(headings, wanted);
}

/// A block that is neither run nor read by a test here would be a promise that nobody keeps.
#[test]
fn every_block_of_the_readme_belongs_to_a_test() {
    let all = all_blocks();
    let all: Vec<(&str, &str)> =
        all.iter().map(|(heading, language, _)| (heading.as_str(), language.as_str())).collect();
    let wanted = [
        ("tok", "sh"),
        ("Install", "sh"),
        ("Install", "sh"),
        ("Install", "zsh"),
        ("A script, run by cron", "sh"),
        ("A script, run by cron", "bash"),
        ("A script, run by cron", "crontab"),
        ("A company login", "sh"),
        ("A company login", "sh"),
        ("CI", "yaml"),
        ("Errors", "sh"),
        ("A provider of your own", "toml"),
        ("A provider of your own", "sh"),
    ];
    assert_eq!(all, wanted);
}

#[test]
fn the_first_screen_logs_in_and_calls_the_api() {
    let world = World::new();
    let mut sandbox = world.sandbox();
    sandbox.set("TOK_STORE", "file");
    let browser = Browser::of(&mut sandbox);
    run_on_terminal(&sandbox, &blocks_of("tok", "sh")[0], &[], &|| world.log_in(&browser));
    assert_eq!(world.api_calls().len(), 1);
    assert_eq!(world.issuer.asked("/token").len(), 1, "the token is cached");
}

#[test]
fn install_puts_everything_where_the_readme_says() {
    let sandbox = Sandbox::new();
    let source = sandbox.work();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["man", "completions"] {
        fs::create_dir(source.join(folder)).expect("a folder");
        for entry in fs::read_dir(root.join(folder)).expect("a folder").flatten() {
            fs::copy(entry.path(), source.join(folder).join(entry.file_name())).expect("a copy");
        }
    }
    fs::copy(root.join("install"), source.join("install")).expect("a copy");
    // A build takes minutes: cargo here copies the program that is tested.
    let tools = sandbox.home().join("tools");
    let tool = |name: &str, script: &str| {
        put(&tools.join(name), format!("#!/bin/sh\n{script}\n").as_bytes());
        chmod(&tools.join(name), 0o700);
    };
    tool("cargo", &format!("mkdir -p target/release && cp '{}' target/release/tok", env!("CARGO_BIN_EXE_tok")));
    tool("musl-gcc", "exit 0");
    tool("rustup", "exit 1");
    let mut sandbox = sandbox;
    sandbox.set("PATH", format!("{}:/usr/bin:/bin", tools.display()));
    // A page of a version that had one for each provider.
    let pages = sandbox.home().join(".local/share/man");
    put(&pages.join("man1/tok-login-purewl-secret.1"), b"old");

    let install = &blocks_of("Install", "sh");
    assert!(install[0].starts_with("./install "), "{}", install[0]);
    run(&sandbox, &install[0]);
    let version = run(&sandbox, &format!("{}\ntok --version", install[1]));
    assert_eq!(version, format!("tok {}\n", env!("CARGO_PKG_VERSION")));
    for page in ["man1/tok.1", "man1/tok-get.1", "man5/tok-config.5", "man5/tok-provider.5"] {
        assert!(pages.join(page).exists(), "{page}");
    }
    assert!(!pages.join("man1/tok-login-purewl-secret.1").exists());

    let zsh = format!(
        "{}\nautoload -Uz compinit && compinit -u -D && print -r -- $_comps[tok]",
        blocks_of("Install", "zsh")[0]
    );
    let home = sandbox.home();
    match Command::new("zsh").args(["-f", "-c", &zsh]).env("HOME", &home).output() {
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        Ok(out) => assert_eq!(String::from_utf8_lossy(&out.stdout), "_tok\n", "{out:?}"),
    }

    put(&pages.join("man1/tok-login-old.1"), b"old");
    put(&pages.join("man1/token.1"), b"of somebody else");
    run(&sandbox, "./install --uninstall");
    let mut left = Vec::new();
    walk(&home.join(".local"), &mut |path| left.push(path.to_path_buf()));
    assert_eq!(left, [pages.join("man1/token.1")]);
}

#[test]
fn the_script_runs_from_cron() {
    let world = World::new();
    let sandbox = world.sandbox();
    let heading = "A script, run by cron";
    run_on_terminal(
        &sandbox,
        &blocks_of(heading, "sh")[0],
        &[("Secret Key from the partner panel: ", &purewl::secret_key())],
        &|| (),
    );
    let home = sandbox.home();
    put(&home.join("bin/report"), format!("{}\n", blocks_of(heading, "bash")[0]).as_bytes());
    chmod(&home.join("bin/report"), 0o700);
    put(&home.join(".local/bin/tok"), b"");
    fs::copy(env!("CARGO_BIN_EXE_tok"), home.join(".local/bin/tok")).expect("a copy");
    chmod(&home.join(".local/bin/tok"), 0o700);
    sandbox.forget_cache();

    // As cron runs it: nothing of the environment but HOME and what the table sets; the proxy is the test's.
    let table = blocks_of(heading, "crontab")[0].replace("/home/me", home.to_str().expect("UTF-8"));
    let mut command = Command::new("/bin/sh");
    command.env_clear().env("HOME", &home).current_dir(&home);
    for name in ["HTTPS_PROXY", "SSL_CERT_FILE"] {
        let tok = sandbox.tok(["-V"]).command();
        let value = tok.get_envs().find(|(is, _)| *is == name).and_then(|(_, value)| value).expect("set").to_owned();
        command.env(name, value);
    }
    let mut ran = 0;
    for line in table.lines() {
        if let Some((name, value)) =
            line.split_once('=').filter(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase()))
        {
            command.env(name, value);
        } else {
            let job = line.splitn(6, ' ').nth(5).expect("five fields and a command");
            let out = command.args(["-c", job]).output().expect("sh");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            ran += 1;
        }
    }
    assert_eq!(ran, 1);
    assert_eq!(world.api_calls().len(), 1);
    assert_eq!(world.purewl.grants(), ["secret", "refresh"]);
}

#[test]
fn a_company_login_works_with_and_without_a_browser() {
    let world = World::new();
    let heading = "A company login";
    let [first, others] = &blocks_of(heading, "sh")[..] else { panic!("two blocks") };
    let (fixed, device) = others.split_once('\n').expect("two commands");
    let home = || {
        let mut sandbox = world.sandbox();
        sandbox.set("TOK_STORE", "file");
        let browser = Browser::of(&mut sandbox);
        (sandbox, browser)
    };

    let (sandbox, browser) = home();
    run_on_terminal(&sandbox, first, &[], &|| world.log_in(&browser));
    assert_eq!(world.api_calls().len(), 1);
    // What is to be registered is what is sent, but for the port.
    let sent = world.issuer.asked("/token")[0].field("redirect_uri");
    let port = sent.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/callback"));
    assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{sent}");
    assert!(README.contains("`http://127.0.0.1/callback`"));
    // "The next time, `tok login work` is enough."
    run_on_terminal(&sandbox, "tok login work", &[], &|| world.log_in(&browser));

    let (sandbox, browser) = home();
    run_on_terminal(&sandbox, fixed, &[], &|| world.log_in(&browser));
    let sent = world.issuer.asked("/token").pop().expect("a request").field("redirect_uri");
    assert_eq!(sent, "http://127.0.0.1:8400/callback");
    assert!(README.contains(&format!("`{sent}`")));

    let (sandbox, browser) = home();
    world.issuer.state(|state| state.claims["nonce"] = serde_json::Value::Null);
    let begun = json!({
        "device_code": format!("dc-{CANARY}"),
        "user_code": "WDJB-MJHT",
        "verification_uri": format!("{ISSUER}/activate"),
        "expires_in": 60,
        "interval": 1,
    });
    world.issuer.script("/device", [Reply::json(200, begun)]);
    let shown = run_on_terminal(&sandbox, device, &[], &|| ());
    assert!(shown.contains("https://id.example.com/activate") && shown.contains("WDJB-MJHT"), "{shown}");
    assert!(!browser.was_opened());
}

#[test]
fn the_ci_job_needs_neither_a_login_nor_a_keyring() {
    let world = World::new();
    let mut sandbox = world.sandbox();
    let job = &blocks_of("CI", "yaml")[0];
    let (variables, script) = job.split_once("run: |\n").expect("variables and a script");
    for line in variables.lines().skip(1) {
        let (name, value) = line.trim().split_once(": ").expect("NAME: value");
        let secret = xcover::client_secret();
        sandbox.set(name, if value.contains("secrets.") { secret.as_str() } else { xcover::CLIENT_ID });
    }
    let script: Vec<&str> = script.lines().map(str::trim_start).collect();
    run(&sandbox, &script.join("\n"));
    assert_eq!(world.api_calls().len(), 1);
    assert_eq!(world.xcover.server.count(), 1);
}

#[test]
fn a_provider_of_ones_own_works_at_once() {
    let world = World::new();
    let mut sandbox = world.sandbox();
    sandbox.set("TOK_STORE", "file");
    let heading = "A provider of your own";
    let file = &blocks_of(heading, "toml")[0];
    assert!(file.lines().count() <= 10, "ten lines");
    sandbox.provider("example", file);
    run_on_terminal(&sandbox, &blocks_of(heading, "sh")[0], &[("lient secret: ", &format!("own-{CANARY}"))], &|| ());
    assert_eq!(world.api_calls().len(), 1);
    assert!(world.own.requests()[0].header("authorization").is_some_and(|value| value.starts_with("Basic ")));
}

#[test]
fn the_commands_of_the_tables_and_the_text_run_one_after_the_other() {
    let world = World::new();
    let mut sandbox = world.sandbox();
    sandbox.set("TOK_STORE", "file");
    let browser = Browser::of(&mut sandbox);
    // What a person would type at the prompts, and `pass`, the password manager.
    sandbox.set("TOK_APIAX_PASSWORD", apiax::password());
    let tools = sandbox.home().join("tools");
    let secret = elasticpath::client_secret();
    put(&tools.join("pass"), format!("#!/bin/sh\ncat <<'END'\n{secret}\nEND\n").as_bytes());
    chmod(&tools.join("pass"), 0o700);
    let path = sandbox.tok(["-V"]).command();
    let path =
        path.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value).expect("a PATH").to_owned();
    sandbox.set("PATH", format!("{}:{}", tools.display(), path.to_string_lossy()));
    run_on_terminal(&sandbox, &blocks_of("A company login", "sh")[0], &[], &|| world.log_in(&browser));

    let commands = commands_in_text();
    let table = README.split("## Everyday use").nth(1).and_then(|rest| rest.split("\n\n").nth(1)).expect("a table");
    assert_eq!(table.lines().count(), 12, "{table}");
    let mut ran = 0;
    for command in &commands {
        // A command's name, in a sentence.
        if ["tok login", "tok get"].contains(&command.as_str()) {
            continue;
        }
        // The login of the second account asks for its secret: a person types it.
        if command.contains("--as shop-us") {
            run_on_terminal(&sandbox, command, &[("Client Secret of the application key: ", &secret)], &|| ());
        } else if command == "tok login work" {
            run_on_terminal(&sandbox, command, &[], &|| world.log_in(&browser));
        } else if command == "tok login shop-us" {
            // A hint inside the block on errors.
            continue;
        } else {
            let shown = run(&sandbox, command);
            assert!(command.contains("login") || command.contains("logout") || !shown.is_empty(), "{command}");
        }
        ran += 1;
    }
    assert!(ran >= 17, "{ran}: {commands:?}");
    assert_eq!(world.apiax.grants(), ["password"]);
    assert!(world.elasticpath.server.count() >= 3, "a login, another one, --fresh");
}

#[test]
fn the_case_on_the_status_says_what_to_do() {
    let world = World::new();
    let mut sandbox = world.sandbox();
    sandbox.set("TOK_STORE", "file");
    let script = &blocks_of("Errors", "sh")[0];
    let profile = "[profile.shop-us]\nprovider = \"elasticpath\"\nregion = \"useast\"\n";
    sandbox.config(&format!("{profile}client_id = \"{}\"\n", elasticpath::CLIENT_ID));
    assert_eq!(run(&sandbox, script), "please log in: tok login shop-us\n");
    sandbox.set("TOK_SHOP_US_CLIENT_SECRET", elasticpath::client_secret());
    assert_eq!(run(&sandbox, script), "");
    sandbox.forget_cache();
    world.front.next(Reply::html(500));
    sandbox.set("HTTPS_PROXY", "http://127.0.0.1:1");
    let out = shell(&sandbox, &script.replace("get shop-us", "get shop-us --timeout 1s")).output().expect("bash");
    assert_eq!(out.status.code(), Some(75), "{out:?}");
}

#[test]
fn the_table_of_providers_says_what_the_program_does() {
    let sandbox = Sandbox::new();
    let known = sandbox.run("providers --json").json();
    let table = README.split("## Providers").nth(1).and_then(|rest| rest.split("\n\n").nth(1)).expect("a table");
    let mut rows = BTreeMap::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].split('`').nth(1).expect("a name").to_string();
        rows.insert(name, cells[2].replace('`', ""));
    }
    let mut wanted = BTreeMap::new();
    for provider in known.as_array().expect("a list") {
        let grants: Vec<&str> = provider["grants"].as_array().expect("a list").iter().map(grant_name).collect();
        let name = provider["name"].as_str().expect("a name");
        let shown = if grants.len() == 9 { "[nine](docs/oauth.md)".to_string() } else { grants.join(", ") };
        wanted.insert(name.to_string(), shown);
    }
    // The others are in docs/catalogue.md.
    for (name, grants) in rows {
        assert_eq!(wanted.get(&name), Some(&grants), "{name}");
    }
}

fn grant_name(grant: &serde_json::Value) -> &str {
    grant.as_str().or_else(|| grant["name"].as_str()).expect("a grant's name")
}
