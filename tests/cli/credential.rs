//! `tok credential`: the documented bytes of each protocol, and no token to a host that no profile names. The programs
//! themselves are in `consumers.rs`.

use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Output, Sandbox, Tok, plain_provider};
use serde_json::{Value, json};

const NOT_FOUND: &str = "credentials not found in native keychain\n";

/// The profile `shop` for `git.example.com` and two other places.
const SHOP: &str = "[profile.shop]\nprovider = \"plain\"\nhosts = [\"git.example.com\", \"api.example.com:8443\", \"http://127.0.0.1:5000\"]\n";

/// A sandbox whose profiles `shop` and `other` get their tokens at `url`.
fn shop_at(url: &str, config: &str) -> Sandbox {
    let mut sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider(url, ""));
    sandbox.config(config);
    sandbox.set("TOK_SHOP_CLIENT_SECRET", format!("s-{CANARY}"));
    sandbox.set("TOK_OTHER_CLIENT_SECRET", format!("s-{CANARY}"));
    sandbox
}

fn shop(config: &str) -> (Server, Sandbox) {
    let server = Server::issuing(3600);
    let sandbox = shop_at(&server.url(), config);
    (server, sandbox)
}

/// The token that `tok get shop` gives now.
fn token(sandbox: &Sandbox) -> String {
    sandbox.run("get shop").line()
}

fn ask(sandbox: &Sandbox, line: &str, stdin: &str) -> Output {
    sandbox.tok(line.split(' ').skip(1)).stdin(stdin).run()
}

/// A run of tok by another name.
fn named(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let link = sandbox.work().join(name);
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tok"), &link).unwrap();
    }
    link
}

fn as_program(tok: Tok, program: &std::path::Path, stdin: &str) -> (i32, String) {
    use std::io::Write;
    use std::process::Stdio;
    let mut command = std::process::Command::new(program);
    let own = tok.command();
    command.args(own.get_args()).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    (out.status.code().unwrap_or(-1), String::from_utf8(out.stdout).unwrap())
}

/// `expires_at_unix` of the cached token.
fn expiry(sandbox: &Sandbox) -> i64 {
    sandbox.run("get shop --json").json()["expires_at_unix"].as_i64().unwrap()
}

const GIT: &str = "protocol=https\nhost=git.example.com\n\n";

#[test]
fn git_gets_the_header_where_it_can_send_one_and_a_password_else() {
    let (_server, sandbox) = shop(SHOP);
    let (token, end) = (token(&sandbox), expiry(&sandbox));
    let typed =
        format!("capability[]=authtype\nauthtype=Bearer\ncredential={token}\nephemeral=1\npassword_expiry_utc={end}\n");
    let password = format!("username=oauth2\npassword={token}\npassword_expiry_utc={end}\n");
    let get = "tok credential git get";
    ask(&sandbox, get, &format!("capability[]=authtype\ncapability[]=state\n{GIT}")).silent().prints(&typed);
    ask(&sandbox, get, &format!("capability[]=authtype\nwwwauth[]=Bearer realm=\"x\"\n{GIT}")).silent().prints(&typed);
    ask(&sandbox, get, GIT).silent().prints(&password);
    ask(&sandbox, get, &format!("capability[]=authtype\nwwwauth[]=Basic realm=\"x\"\n{GIT}")).prints(&password);
    // Without the empty line, as some send it; with a path, and in capitals.
    ask(&sandbox, get, "protocol=https\nhost=git.example.com").prints(&password);
    ask(&sandbox, get, "protocol=https\nhost=GIT.example.com\npath=a/b.git\n\n").prints(&password);
    ask(&sandbox, get, "protocol=https\nhost=git.example.com:443\nusername=me\n\n")
        .prints(&password.replace("oauth2", "me"));
    ask(&sandbox, "tok credential git capability", "").silent().prints("version 0\ncapability authtype\n");
}

#[test]
fn git_ignores_what_it_may_ask_one_day_and_stores_nothing() {
    let (server, sandbox) = shop(SHOP);
    for operation in ["store", "approve", "x"] {
        let line = format!("tok credential git {operation}");
        ask(&sandbox, &line, &format!("password=pw-{CANARY}\nusername=u\n{GIT}")).silent().prints("");
    }
    assert!(sandbox.files_with(CANARY).is_empty());
    assert_eq!(server.connections(), 0);
    ask(&sandbox, "tok credential git", "").fails(2);
}

#[test]
fn a_request_that_is_not_one_host_is_refused() {
    let (server, sandbox) = shop(SHOP);
    for (request, code) in [
        ("", 1),
        ("\n", 1),
        ("protocol=https\n\n", 1),
        ("host=git.example.com\n\n", 1),
        ("protocol=https\nhost=\n\n", 1),
        // CVE-2020-5260, CVE-2024-50338 and their kin.
        ("protocol=https\nhost=evil.example\rhost=git.example.com\n\n", 1),
        ("protocol=https\nhost=git.example.com\rhost=evil.example\n\n", 1),
        ("protocol=https\r\nhost=git.example.com\r\n\r\n", 1),
        ("protocol=https\nhost=evil.example%0ahost=git.example.com\n\n", 1),
        ("protocol=https\nhost=git.example.com%00\n\n", 1),
        ("protocol=https\nhost=git.example.com\0.evil.example\n\n", 1),
        ("protocol=https\nhost=evil.example\nhost=git.example.com\n\n", 1),
        ("protocol=https\nhost=git.example.com@evil.example\n\n", 1),
        ("protocol=https\nhost=git.example.com/\n\n", 1),
        ("protocol=https\nhost=git.example.com#\n\n", 1),
        ("protocol=https\nhost=git.example.com\\\n\n", 1),
        ("protocol=https\nhost=git.example.com:\n\n", 1),
        ("protocol=https\nhost=git.example.com:x\n\n", 1),
        ("protocol=https\nhost=git.example.com:99999\n\n", 1),
        ("protocol=https\nhost=git.example.com\u{202e}\n\n", 1),
        ("protocol=https\nhost=gіt.example.com\n\n", 1),
        ("protocol=https\nhost\n\n", 1),
        // Well-formed, and nobody's: CVE-2024-53858, CVE-2026-48501, CVE-2020-15157.
        ("protocol=https\nhost=evil-git.example.com\n\n", 0),
        ("protocol=https\nhost=git.example.com.evil.example\n\n", 0),
        ("protocol=https\nhost=sub.git.example.com\n\n", 0),
        ("protocol=https\nhost=example.com\n\n", 0),
        ("protocol=https\nhost=git.example.com.\n\n", 0),
        ("protocol=https\nhost=git.example.com:8443\n\n", 0),
        ("protocol=https\nhost=api.example.com\n\n", 0),
        ("protocol=https\nhost=127.0.0.1:5000\n\n", 0),
        ("protocol=http\nhost=git.example.com\n\n", 0),
        ("protocol=http\nhost=127.0.0.1\n\n", 0),
        ("protocol=http\nhost=localhost:5000\n\n", 0),
        ("protocol=ssh\nhost=git.example.com\n\n", 0),
        ("protocol=cert\nhost=\npath=/key\n\n", 0),
    ] {
        let out = sandbox.tok(["credential", "git", "get"]).stdin(request).run();
        assert_eq!((out.code, out.stdout.as_str()), (code, ""), "{request:?}: {out}");
        assert_eq!(out.stderr.is_empty(), code == 0, "{request:?}: {out}");
    }
    let long = format!("protocol=https\nhost=git.example.com\npath={}\n\n", "x".repeat(2 << 20));
    sandbox.tok(["credential", "git", "get"]).stdin(long).run().fails(1);
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_program_that_keeps_stdin_open_is_answered_at_the_empty_line() {
    let (_server, sandbox) = shop(SHOP);
    let token = token(&sandbox);
    // The writer waits for the answer before it closes its end.
    let script = format!(
        "mkfifo '{0}/in' '{0}/out'; '{1}' credential git get < '{0}/in' > '{0}/out' & \
         exec 3> '{0}/in'; printf 'protocol=https\\nhost=git.example.com\\n\\n' >&3; cat '{0}/out'; exec 3>&-; wait",
        sandbox.work().display(),
        env!("CARGO_BIN_EXE_tok"),
    );
    let tok = sandbox.tok(["--version"]).before(&script).run().ok();
    assert!(tok.stdout.contains(&format!("password={token}\n")), "{tok}");
}

#[test]
fn two_profiles_for_one_host_answer_only_when_one_is_named() {
    let both = format!("{SHOP}[profile.other]\nprovider = \"plain\"\nhosts = [\"https://git.example.com\"]\n");
    let (server, sandbox) = shop(&both);
    ask(&sandbox, "tok credential git get", GIT).prints("").says("shop").says("other").says("--profile");
    ask(&sandbox, "tok credential git get -q", GIT).prints("").silent();
    assert_eq!(server.connections(), 0);
    let out = ask(&sandbox, "tok credential git --profile other get", GIT).silent().ok();
    assert!(out.stdout.contains("password=at-"), "{out}");
    let out = ask(&sandbox, "tok credential --profile shop git get", GIT).silent().ok();
    assert!(out.stdout.contains("password=at-"), "{out}");
    // One that is named answers for its own hosts alone.
    let request = "protocol=https\nhost=api.example.com:8443\n\n";
    ask(&sandbox, "tok credential git --profile other get", request).silent().prints("");
    ask(&sandbox, "tok credential git --profile plain get", GIT).silent().prints("");
    ask(&sandbox, "tok credential git --profile nobody get", GIT).fails(3).says("nobody");
    ask(&sandbox, "tok credential docker get", "git.example.com").says("--profile");
    let out = ask(&sandbox, "tok credential docker list", "").json();
    assert_eq!(out, json!({"api.example.com:8443": "oauth2", "http://127.0.0.1:5000": "oauth2"}));
}

#[test]
fn erase_drops_the_access_token_that_it_names_and_never_the_session() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    sandbox.config("[profile.purewl]\nhosts = [\"git.example.com\"]\n");
    purewl::login(&sandbox);
    let first = sandbox.run("get purewl").line();
    let secrets = sandbox.secrets();
    let erase = |lines: &str| {
        sandbox.tok(["credential", "git", "erase"]).stdin(format!("{lines}{GIT}")).run().silent().prints("")
    };
    // Another token, and a host that is not the profile's.
    erase("username=oauth2\npassword=another\n");
    let other = "protocol=https\nhost=evil.example\n";
    sandbox.tok(["credential", "git", "erase"]).stdin(format!("password={first}\n{other}\n")).run().prints("");
    assert_eq!(sandbox.run("get purewl").line(), first);
    assert_eq!(purewl.grants(), ["secret"]);
    // The one that git has: the next is got with the refresh token, which is still there.
    erase(&format!("username=oauth2\npassword={first}\n"));
    assert_eq!(sandbox.secrets(), secrets);
    let second = sandbox.run("get purewl").line();
    assert_ne!(first, second);
    assert_eq!(purewl.grants(), ["secret", "refresh"]);
    erase(&format!("capability[]=authtype\nauthtype=Bearer\ncredential={second}\n"));
    let third = sandbox.run("get purewl").line();
    assert_ne!(second, third);
    // Without a token, that of the host.
    for line in ["credential git erase", "credential docker erase", "credential terraform forget git.example.com"] {
        let before = sandbox.run("get purewl").line();
        let stdin = if line.contains("docker") { "https://git.example.com/v2/" } else { GIT };
        sandbox.tok(line.split(' ')).stdin(stdin).run().silent().prints("");
        assert_ne!(before, sandbox.run("get purewl").line(), "{line}");
    }
    assert_eq!(purewl.grants(), ["secret", "refresh", "refresh", "refresh", "refresh", "refresh"]);
}

#[test]
fn docker_gets_an_entry_for_a_registry() {
    let (_server, sandbox) = shop(SHOP);
    let token = token(&sandbox);
    for server in
        ["git.example.com", "https://git.example.com", "https://git.example.com/v1/", "api.example.com:8443\n"]
    {
        let out = ask(&sandbox, "tok credential docker get", server).silent().json();
        assert_eq!(out, json!({"ServerURL": server.trim(), "Username": "oauth2", "Secret": token}));
    }
    let out = ask(&sandbox, "tok credential docker list", "").silent().json();
    assert_eq!(
        out,
        json!({"api.example.com:8443": "oauth2", "git.example.com": "oauth2", "http://127.0.0.1:5000": "oauth2"})
    );
    let out = ask(&sandbox, "tok credential docker version", "").silent().line();
    assert_eq!(out, format!("docker-credential-tok (tok) v{}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn docker_is_told_what_it_understands_on_stdout() {
    let (server, sandbox) = shop(SHOP);
    for unknown in [
        "ghcr.io",
        "evil-git.example.com",
        "git.example.com.evil.example",
        "sub.git.example.com",
        "git.example.com:8443",
        "http://git.example.com",
        "127.0.0.1:5000",
        "https://index.docker.io/v1/",
    ] {
        let out = ask(&sandbox, "tok credential docker get", unknown);
        assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (1, NOT_FOUND, ""), "{unknown}");
    }
    for (verb, request) in [
        ("get", ""),
        ("get", "\n"),
        ("get", "git.example.com\nevil.example"),
        ("get", "git.example.com\revil.example"),
        ("get", "git.example.com\0"),
        ("get", "u@git.example.com"),
        ("get", "git.example.com%0a"),
        ("erase", "git.example.com evil.example"),
        ("store", "{"),
        ("store", "{\"ServerURL\":\"git.example.com\"}"),
    ] {
        let out = sandbox.tok(["credential", "docker", verb]).stdin(request).run();
        assert_eq!(out.code, 1, "{request:?}: {out}");
        assert!(out.stdout.starts_with("tok: ") && out.stdout.lines().count() == 1, "{request:?}: {out}");
        assert!(!out.stdout.contains("Secret"), "{out}");
    }
    let out = ask(&sandbox, "tok credential docker steal", "git.example.com");
    assert_eq!((out.code, out.stdout.starts_with("tok: unknown verb")), (2, true), "{out}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn docker_stores_nothing_but_may_store_what_tok_has_given() {
    let (_server, sandbox) = shop(SHOP);
    let token = token(&sandbox);
    let entry =
        |server: &str, secret: &str| json!({"ServerURL": server, "Username": "u", "Secret": secret}).to_string();
    let before = sandbox.files();
    ask(&sandbox, "tok credential docker store", &entry("git.example.com", &token)).silent().prints("");
    for (server, secret) in [("git.example.com", "typed"), ("ghcr.io", "typed"), ("ghcr.io", token.as_str())] {
        let out = ask(&sandbox, "tok credential docker store", &entry(server, secret)).says("tok login");
        assert_eq!((out.code, out.stdout.contains("does not store")), (1, true), "{out}");
    }
    assert_eq!(sandbox.files(), before);
}

#[test]
fn bazel_gets_headers_and_their_end() {
    let (_server, sandbox) = shop(SHOP);
    let token = token(&sandbox);
    let end = sandbox.run("get shop --json").json()["expires_at"].clone();
    for uri in
        ["https://git.example.com/a?b=c", "grpcs://git.example.com/x.Service/Method", "https://api.example.com:8443"]
    {
        let request = json!({"uri": uri, "later": [1]}).to_string();
        let out = ask(&sandbox, "tok credential bazel get", &request).silent().json();
        assert_eq!(out, json!({"headers": {"Authorization": [format!("Bearer {token}")]}, "expires": end}));
    }
    for (request, code) in [
        (json!({"uri": "https://evil.example"}).to_string(), 1),
        (json!({"uri": "https://git.example.com.evil.example"}).to_string(), 1),
        (json!({"uri": "http://git.example.com"}).to_string(), 1),
        (json!({"uri": "grpc://git.example.com"}).to_string(), 1),
        (json!({"uri": "https://git.example.com\nx"}).to_string(), 1),
        (json!({"uri": "https://git.example.com\u{0}"}).to_string(), 1),
        (json!({"uri": "https://u@git.example.com"}).to_string(), 1),
        (json!({"uri": ""}).to_string(), 1),
        (json!({"uri": 1}).to_string(), 1),
        ("{}".into(), 1),
        ("not JSON".into(), 1),
        (String::new(), 1),
    ] {
        ask(&sandbox, "tok credential bazel get", &request).fails(code);
    }
    ask(&sandbox, "tok credential bazel put", "{}").fails(2);
}

#[test]
fn a_header_of_the_provider_s_own_goes_where_a_protocol_has_room_for_it() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    sandbox.config("[profile.purewl]\nhosts = [\"git.example.com\"]\n");
    purewl::login(&sandbox);
    let token = sandbox.run("get purewl").line();
    let out = ask(&sandbox, "tok credential bazel get", "{\"uri\":\"https://git.example.com\"}").json();
    assert_eq!(out["headers"], json!({"X-AccessToken": [token]}));
    let out = ask(&sandbox, "tok credential goauth https://git.example.com/x", "").ok();
    assert_eq!(out.stdout, format!("https://git.example.com\n\nX-AccessToken: {token}\n\n"));
    let out = cargo(&sandbox, &[], &[get("sparse+https://git.example.com/")]);
    assert!(out[1]["Err"]["message"].as_str().unwrap().contains("X-AccessToken"), "{out:?}");
    let out = ask(&sandbox, "tok credential git get", &format!("capability[]=authtype\n{GIT}")).ok();
    assert!(out.stdout.contains(&format!("\npassword={token}\n")) && !out.stdout.contains("authtype"), "{out}");
}

#[test]
fn the_user_name_is_the_profile_s_or_the_provider_s() {
    let server = Server::issuing(3600);
    let sandbox = shop_at(&server.url(), SHOP);
    let name = || ask(&sandbox, "tok credential docker get", "git.example.com").json()["Username"].clone();
    sandbox.provider("plain", &plain_provider(&server.url(), "[use]\nusername = \"oauth2accesstoken\"\n"));
    assert_eq!(name(), "oauth2accesstoken");
    let named = "[params.username]\n";
    sandbox.provider("plain", &plain_provider(&server.url(), named));
    sandbox.config(&format!("{SHOP}username = \"jane\"\n"));
    assert_eq!(name(), "jane");
    sandbox.provider("plain", &plain_provider(&server.url(), "[use]\nusername = \"a:b\"\n"));
    sandbox.config(SHOP);
    ask(&sandbox, "tok credential docker get", "git.example.com").says("user name");
}

fn get(index: &str) -> Value {
    json!({"v": 1, "registry": {"index-url": index, "name": "x", "headers": []}, "kind": "get", "operation": "read", "args": []})
}

/// What cargo hears, line by line: the greeting first.
fn cargo(sandbox: &Sandbox, args: &[&str], requests: &[Value]) -> Vec<Value> {
    let stdin: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let args = args.iter().copied().chain(["--cargo-plugin"]);
    let out = sandbox.tok(args).stdin(stdin).run().ok();
    out.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn cargo_is_greeted_and_answered_line_by_line() {
    let (_server, sandbox) = shop(SHOP);
    let (token, end) = (token(&sandbox), expiry(&sandbox));
    let good = json!({"Ok": {"kind": "get", "token": format!("Bearer {token}"), "cache": "expires",
        "expiration": end, "operation_independent": true}});
    let with = |key: &str, value: Value| {
        let mut request = get("sparse+https://git.example.com/index/");
        request[key] = value;
        request
    };
    let unknown = |index: &str| get(index);
    let out = cargo(
        &sandbox,
        &[],
        &[
            get("sparse+https://git.example.com/index/"),
            with("operation", "publish".into()),
            with("args", json!(["credential", "cargo", "--profile", "shop"])),
            unknown("sparse+https://evil.example/index/"),
            unknown("sparse+http://git.example.com/index/"),
            unknown("https://github.com/rust-lang/crates.io-index"),
            // An index that anybody may have put into a repository there.
            unknown("https://git.example.com/evil/index"),
            with("kind", "login".into()),
            with("kind", "logout".into()),
            with("kind", "fly".into()),
        ],
    );
    let nobody = json!({"Err": {"kind": "url-not-supported"}});
    let unable = json!({"Err": {"kind": "operation-not-supported"}});
    assert_eq!(out[0], json!({"v": [1]}));
    assert_eq!(out[1..4], [good.clone(), good.clone(), good]);
    assert_eq!(out[4..8], [nobody.clone(), nobody.clone(), nobody.clone(), nobody]);
    assert_eq!(out[8..], [unable.clone(), unable.clone(), unable]);
    let wrong = cargo(
        &sandbox,
        &["credential", "cargo"],
        &[
            json!({"v": 2}),
            json!(7),
            with("args", json!(["--steal"])),
            with("args", json!(["--profile", "nobody"])),
            get("sparse+https://u@git.example.com/"),
            get("sparse+https://git.example.com\n/"),
        ],
    );
    assert_eq!(wrong.len(), 7);
    for answer in &wrong[1..] {
        assert_eq!(answer["Err"]["kind"], "other", "{answer}");
        assert!(answer["Err"]["message"].as_str().unwrap().starts_with("tok: "), "{answer}");
    }
}

#[test]
fn the_greeting_comes_before_the_request() {
    let (_server, sandbox) = shop(SHOP);
    // The request is written only after the greeting was read.
    let script = format!(
        "mkfifo '{0}/in' '{0}/out'; '{1}' --cargo-plugin < '{0}/in' > '{0}/out' & exec 3> '{0}/in' 4< '{0}/out'; \
         read -r greeting <&4; printf '%s\\n' \"$greeting\"; printf '%s\\n' '{2}' >&3; read -r answer <&4; \
         printf '%s\\n' \"$answer\"; exec 3>&-; wait",
        sandbox.work().display(),
        env!("CARGO_BIN_EXE_tok"),
        get("sparse+https://git.example.com/"),
    );
    let out = sandbox.tok(["--version"]).before(&script).run().ok();
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert_eq!(lines[0], "{\"v\":[1]}");
    assert!(lines[1].starts_with("{\"Ok\":{\"kind\":\"get\",\"token\":\"Bearer at-"), "{out}");
}

#[test]
fn go_gets_the_url_and_the_header_or_nothing() {
    let (server, sandbox) = shop(SHOP);
    let line = "tok credential goauth";
    ask(&sandbox, line, "").silent().prints("");
    assert_eq!(server.connections(), 0);
    let token = token(&sandbox);
    let header = format!("Authorization: Bearer {token}\n\n");
    let status = "HTTP/1.1 401 Unauthorized\nWww-Authenticate: Bearer\n\n";
    for url in ["https://git.example.com", "https://git.example.com/a/b?go-get=1"] {
        ask(&sandbox, &format!("{line} {url}"), status)
            .silent()
            .prints(&format!("https://git.example.com\n\n{header}"));
    }
    for url in [
        "https://evil.example",
        "https://git.example.com.evil.example/x",
        "https://git.example.com:8443/x",
        "http://git.example.com/x",
        "http://127.0.0.1:5000/x",
    ] {
        ask(&sandbox, &format!("{line} {url}"), status).silent().prints("");
    }
    ask(&sandbox, &format!("{line} --profile shop"), "")
        .silent()
        .prints(&format!("https://git.example.com\nhttps://api.example.com:8443\n\n{header}"));
    for url in ["https://u:p@git.example.com/x", "https://git.example.com\n/x", "https://", "git.example.com"] {
        sandbox.tok(["credential", "goauth", url]).run().fails(1);
    }
}

#[test]
fn terraform_gets_a_token_or_an_empty_object() {
    let (server, sandbox) = shop(SHOP);
    let terraform =
        |words: &[&str]| sandbox.tok(["credential", "terraform"]).args(words).stdin("{\"token\":\"x\"}").run();
    for host in ["app.terraform.io", "evil-git.example.com", "git.example.com.evil.example", "git.example.com:8443"] {
        terraform(&["get", host]).silent().prints("{}\n");
        terraform(&["forget", host]).silent().prints("");
    }
    for host in ["", "git.example.com\nx", "git.example.com/x", "u@git.example.com", "git.example.com%0a", "a b", "-x"]
    {
        let out = sandbox.tok(["credential", "terraform", "get", "--", host]).run();
        out.fails(1);
    }
    assert_eq!(server.connections(), 0);
    let token = token(&sandbox);
    for host in ["git.example.com", "api.example.com:8443"] {
        terraform(&["get", host]).silent().prints(&format!("{{\"token\":\"{token}\"}}\n"));
    }
    terraform(&["store", "git.example.com"]).fails(1).says("does not store");
    terraform(&["steal", "git.example.com"]).fails(2);
    terraform(&["get"]).fails(2);
}

#[test]
fn a_program_of_a_helper_s_name_speaks_its_protocol() {
    let (_server, sandbox) = shop(SHOP);
    // What would be taken for the name of a profile by the short path.
    sandbox.config(&format!("{SHOP}[profile.localhost]\nprovider = \"plain\"\n"));
    let token = token(&sandbox);
    let run = |name: &str, words: &[&str], stdin: &str| as_program(sandbox.tok(words), &named(&sandbox, name), stdin);
    let (code, out) = run("git-credential-tok", &["get"], GIT);
    assert!(code == 0 && out.starts_with(&format!("username=oauth2\npassword={token}\n")), "{out}");
    let (code, out) = run("git-credential-tok", &["--profile", "shop", "get"], GIT);
    assert!(code == 0 && out.contains(&token), "{out}");
    let (code, out) = run("docker-credential-tok", &["get"], "git.example.com");
    assert!(code == 0 && out.contains(&token), "{out}");
    assert_eq!(run("docker-credential-tok", &["get"], "ghcr.io"), (1, NOT_FOUND.into()));
    let (code, out) = run("bazel-credential-tok", &["get"], "{\"uri\":\"https://git.example.com\"}");
    assert!(code == 0 && out.contains(&token), "{out}");
    let (code, out) = run("cargo-credential-tok", &["--cargo-plugin"], "");
    assert_eq!((code, out.as_str()), (0, "{\"v\":[1]}\n"));
    let (code, out) = run("terraform-credentials-tok", &["get", "git.example.com"], "");
    assert_eq!((code, out), (0, format!("{{\"token\":\"{token}\"}}\n")));
    // The same words are `tok get PROFILE` to tok itself, which has answered them before.
    sandbox.run("get shop").line();
    assert_eq!(run("terraform-credentials-tok", &["get", "shop"], ""), (0, "{}\n".into()));
    assert_eq!(run("tok", &["get", "shop"], ""), (0, format!("{token}\n")));
}

#[test]
fn without_a_token_each_protocol_has_its_own_error() {
    let server = Server::new(|_| Reply::json(400, json!({"error": "invalid_client", "error_description": "who?"})));
    let sandbox = shop_at(&server.url(), SHOP);
    ask(&sandbox, "tok credential git get", GIT).fails(5).says("who?");
    ask(&sandbox, "tok credential bazel get", "{\"uri\":\"https://git.example.com\"}").fails(5).says("who?");
    ask(&sandbox, "tok credential goauth https://git.example.com", "").fails(5).says("who?");
    ask(&sandbox, "tok credential terraform get git.example.com", "").fails(5).says("who?");
    let out = ask(&sandbox, "tok credential docker get", "git.example.com").says("who?");
    assert!(out.code == 5 && out.stdout.starts_with("tok: shop: ") && out.stdout.contains("who?"), "{out}");
    let out = cargo(&sandbox, &[], &[get("sparse+https://git.example.com/")]);
    let message = out[1]["Err"]["message"].as_str().unwrap();
    assert!(out[1]["Err"]["kind"] == "other" && message.contains("who?"), "{message}");
    // And where a person is needed, it says for what.
    let mut sandbox = sandbox;
    sandbox.unset("TOK_SHOP_CLIENT_SECRET");
    ask(&sandbox, "tok credential git get", GIT).fails(4).hints();
    let out = ask(&sandbox, "tok credential docker get", "git.example.com");
    assert!(out.code == 4 && out.stdout.contains("TOK_SHOP_CLIENT_SECRET"), "{out}");
}

#[test]
fn a_request_that_never_ends_is_given_up() {
    let (_server, sandbox) = shop(SHOP);
    for line in ["git get", "docker get", "bazel get"] {
        let words = ["credential"].into_iter().chain(line.split(' ')).chain(["--timeout", "1s"]);
        let out = sandbox
            .tok(words)
            .before(&format!("mkfifo '{0}/p' 2>/dev/null; exec <> '{0}/p'", sandbox.work().display()));
        let out = out.run().soon().says("stdin");
        assert_eq!(out.code, 6, "{out}");
    }
}
