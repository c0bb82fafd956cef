//! Text from elsewhere (a server, a foreign provider file or config, a helper, an argument) that tries to take over
//! the terminal: ESC, OSC 8 and 52, CR, bidi, zero-width, a megabyte long. Wherever it comes in and whatever command
//! shows it, it is escaped and cut; in JSON it is whole and escaped.

use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Output, Sandbox, chmod, plain, plain_provider, put, xcover};
use serde_json::{Value, json};

/// One of each kind: a link (OSC 8), the clipboard (OSC 52), a title, a cleared screen, CR and LF, C1, DEL, bidi,
/// zero-width, a line separator, a tag, a byte order mark.
const NASTY: &str = "N\u{1b}]8;;http://evil.example\u{1b}\\click\u{1b}]8;;\u{7} \u{1b}]52;c;QUFB\u{7} \u{1b}]0;t\u{7} \
    \u{1b}[2J a\rb\r\ntok: faked \u{9b}31m\u{9d}0;x\u{9c} \u{7f}\u{8} \u{202e}rtl\u{2066}\u{2069}\u{61c} \
    \u{200b}\u{200d}\u{2060}\u{feff}\u{ad} \u{2028}\u{2029} \u{e0041} end";

/// The same, long enough to bury everything else; three of them are less than the megabyte of a reply.
fn long() -> String {
    format!("{NASTY}{}", " buried".repeat(40_000))
}

/// A character that does more than show itself.
fn bad(c: char) -> bool {
    let hidden = "\u{ad}\u{61c}\u{180e}\u{feff}";
    c.is_control()
        || hidden.contains(c)
        || matches!(u32::from(c), 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xe0000..=0xe007f)
}

/// The text as TOML may hold it.
fn toml(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            c if bad(c) => format!("\\U{:08X}", u32::from(c)),
            '"' | '\\' => format!("\\{c}"),
            c => c.into(),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// Nothing that it says does anything to a terminal, and it is of a size that a person can read.
#[track_caller]
fn tame(out: &Output) {
    for (name, text) in [("stdout", &out.stdout), ("stderr", &out.stderr)] {
        let found: Vec<char> = text.chars().filter(|c| bad(*c) && *c != '\n').collect();
        assert!(found.is_empty(), "{name} holds {found:?}: {}", start(out));
        assert!(!text.lines().any(|line| line.starts_with("tok: faked")), "{name} holds a line of its own: {out}");
    }
    assert!(out.stderr.len() < 6000, "stderr is not cut: {} bytes: {}", out.stderr.len(), start(out));
    // Four tries, what was run, the error and its hint.
    assert!(out.stderr.lines().count() <= 7, "{}", start(out));
}

/// The same for an answer to a person: each line is cut.
#[track_caller]
fn tame_lines(out: &Output) {
    tame(out);
    for line in out.stdout.lines() {
        // A line of a table may hold two such texts.
        assert!(line.chars().count() < 2600, "a line of {} characters: {}", line.len(), start(out));
    }
}

fn start(out: &Output) -> String {
    format!("{out:?}").chars().take(3000).collect()
}

/// JSON that is escaped, and holds the whole text.
#[track_caller]
fn tame_json(out: Output, whole: &str) -> Value {
    tame(&out);
    let value = out.json();
    let mut texts = Vec::new();
    gather(&value, &mut texts);
    assert!(texts.iter().any(|t| t == whole), "the text is whole");
    value
}

fn gather(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|v| gather(v, into)),
        Value::Object(map) => map.iter().for_each(|(name, v)| {
            into.push(name.clone());
            gather(v, into);
        }),
        _ => {}
    }
}

/// The text is there, escaped: what was tested was shown at all.
#[track_caller]
fn shows(text: &str) {
    assert!(text.contains("\\u{1b}]8;;http://evil.example"), "{}", text.chars().take(3000).collect::<String>());
}

#[test]
fn what_a_server_says_of_a_failure() {
    let megabyte = format!("{NASTY}{}", "x".repeat(1_000_000));
    let server = Server::always(Reply::json(400, json!({"error": "invalid_client", "error_description": megabyte})));
    let out = plain(&server.url()).run("get plain -vvv").fails(5);
    tame(&out);
    shows(&out.stderr);
    for text in [NASTY.to_string(), long()] {
        let t = text.as_str();
        let page = format!("<html><title>{t}</title>{t}</html>");
        for (name, reply, code, shown) in [
            ("error", Reply::json(400, json!({"error": t})), 5, true),
            ("description", Reply::json(401, json!({"error": "invalid_client", "error_description": t})), 5, true),
            ("error_uri", Reply::json(400, json!({"error": "invalid_client", "error_uri": t})), 5, false),
            ("all three", Reply::json(400, json!({"error": t, "error_description": t, "error_uri": t})), 5, true),
            ("beside 200", Reply::json(200, json!({"error": t, "access_token": "at"})), 5, true),
            ("an object", Reply::json(400, json!({"error": {"message": t, "code": t}})), 5, true),
            ("a list", Reply::json(422, json!({"errors": [{"title": t, "detail": t, "status": t}]})), 5, true),
            ("message", Reply::json(500, json!({"message": t})), 6, true),
            ("a page", Reply::html(403), 5, false),
            ("a page that is 200", Reply::new(200, "text/html", page.clone()), 8, false),
            ("a page that is 500", Reply::new(500, "text/html", page), 6, false),
            ("plain text", Reply::new(200, "text/plain", t), 8, false),
            ("broken JSON", Reply::text(200, &format!("{{\"access_token\": \"at\", {t}")), 8, false),
            ("a token", Reply::json(200, json!({"access_token": t})), 8, false),
            ("names", Reply::json(200, json!({t: t})), 8, false),
        ] {
            let server = Server::always(reply);
            let sandbox = plain(&server.url());
            for verb in ["get plain -vv --timeout 2s", "login plain -vv --timeout 2s"] {
                let out = sandbox.run(verb);
                assert_eq!((out.code, out.stdout.as_str()), (code, ""), "{name}: {}", start(&out));
                tame(&out);
                if shown {
                    shows(&out.stderr);
                }
            }
        }
    }
}

#[test]
fn what_a_server_says_in_a_header() {
    // CR and LF would end it; the others are sent as they are.
    let text: String = NASTY.chars().filter(|c| !['\r', '\n'].contains(c)).collect();
    let controls = |name: &str, status: &str| {
        Reply::raw(format!("HTTP/1.1 {status}\r\n{name}: https://x.example/{text}\r\nContent-Length: 0\r\n\r\n"))
    };
    for reply in [
        controls("Location", "302 Found"),
        controls("Retry-After", "429 Slow"),
        controls("Content-Encoding", "200 OK"),
        controls("X-Any", "401 No"),
        Reply::raw(format!("HTTP/1.1 400 {text}\r\nContent-Length: 0\r\n\r\n")),
        Reply::raw(format!("{text}\r\n\r\n")),
        Reply::text(302, "").header("Location", &format!("https://x.example/{}", "y".repeat(20_000))),
        Reply::text(302, "").header("Location", "https://x.example/\u{9b}31m\u{202e}\u{200b}"),
    ] {
        let server = Server::always(reply);
        let out = plain(&server.url()).run("get plain -vv --timeout 1s");
        assert!(out.code >= 5 && out.stdout.is_empty(), "{}", start(&out));
        tame(&out);
    }
}

#[test]
fn what_a_server_says_beside_a_good_token() {
    for text in [NASTY.to_string(), long()] {
        // A token is short of a megabyte.
        let claim: String = text.chars().take(20_000).collect();
        let token = xcover::jwt(&json!({"sub": claim, &*claim.chars().take(300).collect::<String>(): [claim], "n": 1}));
        let server = Server::always(Reply::json(
            200,
            json!({
                "access_token": token,
                "refresh_token": format!("rt-{CANARY}"),
                "expires_in": 600,
                "token_type": NASTY,
                "scope": NASTY,
                "note": text,
                "deep": {"list": [NASTY]},
            }),
        ));
        let sandbox = plain(&server.url());
        let more = format!("[response]\nextra = {{ note = \"/note\", {} = \"/deep\" }}\n", toml(NASTY));
        sandbox.provider("plain", &plain_provider(&server.url(), &more));
        let out = sandbox.run("get plain -vvv");
        tame(&out);
        assert_eq!(out.line(), token);
        let value = tame_json(sandbox.run("get plain -o json"), &text);
        assert_eq!((&value["scope"], &value["token_type"]), (&json!(NASTY), &json!(NASTY)));
        let out = sandbox.run("show plain").ok();
        tame_lines(&out);
        shows(&out.stdout);
        let value = tame_json(sandbox.run("show plain --json"), &text);
        assert_eq!(value["access_token"]["claims_decoded_not_verified"]["sub"], json!(claim));
        tame_lines(&sandbox.run("list").ok());
        let out = sandbox.run("list --json").ok();
        tame(&out);
        out.json();
        tame(&sandbox.run("login plain -vvv").ok());
        tame(&sandbox.run("logout plain -vvv").ok());
    }
}

#[test]
fn what_a_foreign_provider_file_says_of_itself() {
    // A default may have 16 KiB.
    for text in [NASTY.to_string(), long().chars().take(5_000).collect()] {
        let sandbox = Sandbox::with_file_store();
        let quoted = toml(&text);
        let page = toml(&text.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect::<String>());
        let page = page.replacen('"', "\"https://a.example/", 1);
        let file = format!(
            r#"title = {quoted}
docs = {page}
[params.base_url]
default = "https://a.example"
help = {quoted}
[params.client_id]
default = {quoted}
help = {quoted}
[params.region]
default = "a"
choices = ["a", "x"]
help = "where"
[params.client_secret]
secret = true
help = {quoted}
[request]
url = "{{base_url}}/token"
[grants.client-credentials]
help = {quoted}
body = {{ id = "{{client_id}}", secret = "{{client_secret}}", region = "{{region}}" }}
"#,
        );
        sandbox.provider("mine", &file);
        sandbox.config("[profile.other]\nprovider = \"mine\"\n");
        for line in [
            "providers",
            "providers mine",
            "login --help",
            "login mine --help",
            "login mine client-credentials --help",
            "login other --help",
            "get mine --help",
            "help login",
            "help login mine",
            "list",
            "show mine",
            "show other",
        ] {
            let out = sandbox.run(line).ok();
            tame(&out);
            // clap wraps nothing where there is no terminal; a text of its own line is cut.
            for line in out.stdout.lines() {
                assert!(line.chars().count() < 2600, "{}: a line of {} characters", out.command, line.chars().count());
            }
        }
        shows(&sandbox.run("providers").stdout);
        shows(&sandbox.run("providers mine").stdout);
        shows(&sandbox.run("login --help").stdout);
        shows(&sandbox.run("show mine").stdout);
        for line in ["providers --json", "providers mine --json", "show mine --json"] {
            tame_json(sandbox.run(line), &text);
        }
        for line in ["get mine -vv", "get other", "login mine", "login mine --region x", "get mine --region x"] {
            let out = sandbox.run(line);
            assert_ne!(out.code, 0, "{}", start(&out));
            tame(&out);
        }
        // A shell that asks for completions puts the answer on the terminal.
        for words in [["tok", "get", ""], ["tok", "login", ""], ["tok", "login", "mine"]] {
            for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
                let mut tok = sandbox.tok(["--"]).args(words).env("_TOK_COMPLETE", shell);
                tok = tok.env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_SPACE", "false");
                let out = tok.env("_CLAP_COMPLETE_COMP_TYPE", "9").run().ok();
                // zsh and fish have a description after a tab; bash and zsh part by what they ask for.
                let text = out.stdout.replace('\t', " ");
                let found: Vec<char> = text.chars().filter(|c| bad(*c) && *c != '\n').collect();
                assert!(found.is_empty(), "{shell}: {found:?}: {}", start(&out));
            }
        }
    }
}

#[test]
fn what_a_foreign_provider_file_does_wrongly() {
    let good = plain_provider("https://a.example", "");
    for text in [NASTY.to_string(), long()] {
        let quoted = toml(&text);
        for (place, wrong) in [
            ("a key", format!("{quoted} = 1\n{good}")),
            ("a parameter", good.replace("[params.scope]", &format!("[params.{quoted}]\n[params.scope]"))),
            ("a grant", good.replace("[refresh]", &format!("[grants.{quoted}]\n[refresh]"))),
            ("the refresh grant", good.replace("grant = \"refresh\"", &format!("grant = {quoted}"))),
            ("a URL", good.replace("\"{base_url}/token\"", &quoted)),
            ("a base URL", good.replace("\"https://a.example\"", &quoted)),
            ("a method", good.replace("[request]", &format!("[request]\nmethod = {quoted}"))),
            ("a template", good.replace("\"{client_id}\"", &toml(&format!("{{{text}}}")))),
            ("a header", good.replace("[request]", &format!("[request]\nheaders = {{ {quoted} = \"a\" }}"))),
            ("a pointer", format!("{good}[response]\naccess_token = [{quoted}]\n")),
            ("a unit", format!("{good}[response]\nexpires = [{{ at = \"/a\", as = {quoted} }}]\n")),
            ("a lifetime", format!("{good}[response]\nlifetime = {quoted}\n")),
            ("a host", format!("{good}[use]\nhosts = [{quoted}]\n")),
            ("raw bytes", format!("title = \"{}\"\n", text.replace(['\r', '\n'], " "))),
        ] {
            let sandbox = Sandbox::with_file_store();
            sandbox.provider("plain", &wrong);
            for line in ["get plain", "login plain", "show plain", "providers plain", "list", "providers"] {
                let out = sandbox.run(line);
                // A URL is looked at when it is used; the others tell what there is.
                let shown = ["list", "providers"].contains(&line) || ["a base URL", "a host"].contains(&place);
                assert!(out.code != 0 || shown, "{place}: {}", start(&out));
                tame(&out);
            }
        }
    }
}

#[test]
fn what_a_foreign_config_says() {
    let server = Server::issuing(600);
    for text in [NASTY.to_string(), long()] {
        let quoted = toml(&text);
        let mut shown = 0;
        for config in [
            format!("[profile.p]\nprovider = \"plain\"\nclient_id = {quoted}\n"),
            format!("[profile.p]\nprovider = \"plain\"\nscope = [{quoted}]\n"),
            format!("[profile.p]\nprovider = {quoted}\n"),
            format!("[profile.p]\nprovider = \"plain\"\ngrant = {quoted}\n"),
            format!("[profile.p]\nprovider = \"plain\"\nbase_url = {quoted}\n"),
            format!("[profile.p]\nprovider = \"plain\"\nhosts = [{quoted}]\n"),
            format!("[profile.p]\nprovider = \"plain\"\nstore = {quoted}\n"),
            format!("[profile.p]\nprovider = \"plain\"\nca_file = {quoted}\n"),
            format!("[profile.p]\nprovider = \"plain\"\nmin_ttl = {quoted}\n"),
            format!("[profile.p]\nprovider = \"plain\"\n{quoted} = 1\n"),
            format!("[profile.p]\nprovider = \"plain\"\nclient_secret = {{ command = [{quoted}] }}\n"),
            format!("[profile.p]\nprovider = \"plain\"\nclient_secret = {{ file = {quoted} }}\n"),
            format!("[profile.p]\nprovider = \"plain\"\nclient_secret = {{ env = {quoted} }}\n"),
            format!("[profile.p]\nprovider = \"plain\"\nclient_secret = {{ keyring = {quoted} }}\n"),
            format!("[profile.{quoted}]\nprovider = \"plain\"\n"),
            format!("{quoted} = 1\n"),
            format!("store = {quoted}\n"),
            format!("cache = {quoted}\n"),
        ] {
            let sandbox = plain(&server.url());
            sandbox.config(&config);
            for line in ["get p -vv", "login p -vv", "show p", "list", "login --help", "login p --help"] {
                let out = sandbox.run(line);
                if line.ends_with("--help") {
                    out.stdout.lines().for_each(|line| assert!(line.chars().count() < 2600));
                }
                tame_lines(&out);
                shown += usize::from(out.stdout.contains("\\u{1b}]8;") || out.stderr.contains("\\u{1b}]8;"));
            }
            for line in ["show p --json", "list --json"] {
                let out = sandbox.run(line);
                tame(&out);
                if out.code == 0 {
                    out.json();
                }
            }
        }
        assert!(shown > 20, "the texts are shown: {shown}");
    }
}

#[test]
fn what_a_helper_or_an_argument_says() {
    let server = Server::issuing(600);
    let mut sandbox = plain(&server.url());
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET");
    let tools = sandbox.work().join("bin");
    let said = sandbox.file("said", long());
    let script = format!("#!/bin/sh\ncat '{0}'; cat '{0}' >&2; exit 1\n", said.display());
    put(&tools.join("docker-credential-mine"), script.as_bytes());
    chmod(&tools.join("docker-credential-mine"), 0o755);
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    sandbox.set("PATH", path);
    let out = sandbox.tok(["get", "plain", "-vvv"]).env("TOK_STORE", "helper:mine").run().fails(7);
    tame(&out);

    for args in [
        vec!["get", NASTY],
        vec!["header", NASTY],
        vec!["show", NASTY],
        vec!["logout", NASTY],
        vec!["login", NASTY],
        vec!["login", "plain", NASTY],
        vec!["login", "plain", "--as", NASTY],
        vec!["login", "plain", "--store", NASTY],
        vec!["providers", NASTY],
        vec!["providers", NASTY, "--toml"],
        vec!["completions", NASTY],
        vec!["get", "plain", "--grant", NASTY],
        vec!["get", "plain", "-o", NASTY],
        vec!["get", "plain", "--timeout", NASTY],
        vec!["get", "plain", "--min-ttl", NASTY],
        vec!["get", "plain", "--base-url", NASTY],
        vec!["get", "plain", "--config", NASTY],
        vec!["get", "plain", "--client-secret-file", NASTY],
        vec!["get", "plain", "--color", NASTY],
        vec!["get", "plain", "--write", NASTY, "-o", "env", "--name", NASTY],
        vec![NASTY],
        vec!["--config", NASTY, "list"],
    ] {
        let out = sandbox.tok(args).run();
        assert_ne!(out.code, 0, "{}", start(&out));
        tame(&out);
    }
    for (name, value) in [("TOK_CONFIG", format!("/nonexistent/{NASTY}")), ("TOK_STORE", NASTY.into())] {
        let out = sandbox.tok(["get", "plain"]).env(name, value).run();
        assert_ne!(out.code, 0, "{}", start(&out));
        tame(&out);
    }
    // A folder of such a name, with a file in it that is wrong, not ours alone, or not to be written.
    let folder = sandbox.work().join(NASTY);
    let config = folder.join("config.toml");
    put(&config, b"nonsense = 1\n");
    let path = config.to_str().unwrap().to_string();
    tame(&sandbox.tok(["get", "plain", "--config", &path]).run().fails(3));
    put(&config, b"ca_file = \"/nonexistent\"\n");
    chmod(&config, 0o666);
    tame(&sandbox.tok(["list", "--config", &path]).run().fails(3));
    sandbox.set("TOK_PLAIN_CLIENT_SECRET", format!("plain-secret-{CANARY}"));
    let nowhere = folder.join("missing/token");
    tame(&sandbox.tok(["get", "plain", "--write", nowhere.to_str().unwrap()]).run().fails(1));
    // A home of such a name.
    let home = sandbox.work().join(format!("home{NASTY}"));
    put(&home.join(".config/tok/providers/mine.toml"), plain_provider("https://a.example", "").as_bytes());
    put(&home.join(".config/tok/providers/broken.toml"), b"nonsense = 1\n");
    for line in ["providers", "providers mine", "show mine", "get broken", "list", "login mine"] {
        tame_lines(&sandbox.tok(line.split(' ')).env("HOME", &home).run());
    }
}
