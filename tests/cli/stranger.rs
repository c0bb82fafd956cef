//! What somebody met who knew the program by its documents alone.

use crate::support::api::{Api, PROFILE, log_in};
use crate::support::apiax::Apiax;
use crate::support::issuer::Visit;
use crate::support::purewl::PureWl;
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Sandbox, plain, until};
use serde_json::json;

#[test]
fn an_unknown_profile_is_named_once_by_every_command() {
    let sandbox = Sandbox::with_file_store();
    for line in ["get nope", "status nope", "show nope", "logout nope", "login nope", "exec nope -- true", "curl nope"]
    {
        let out = sandbox.run(line);
        assert!(out.code == 3 || out.code == 125, "{out}");
        assert!(out.stderr.starts_with("tok: no profile or provider `nope`"), "{out}");
    }
}

#[test]
fn the_hint_of_an_offline_call_is_the_same_call() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let count = purewl.server.count();
    let out = sandbox.run("get purewl --offline --min-ttl 2h -o json").fails(4);
    let command =
        out.stderr.lines().find_map(|line| line.strip_prefix("hint: get one from the provider: tok ")).unwrap();
    assert_eq!(command, "get purewl --min-ttl 2h -o json", "{out}");
    sandbox.run(command).json();
    assert_eq!(purewl.server.count(), count + 1);
    // A later word of this name is the other program's.
    sandbox
        .run("exec purewl --min-ttl 2h --offline -- echo --offline")
        .fails(125)
        .hints_at("tok exec purewl --min-ttl 2h -- echo --offline\n");
}

/// The long options that `help` lists, as names of values.
fn options(help: &str) -> Vec<String> {
    let lines = help.lines().filter(|line| line.starts_with("  ") && line.trim_start().starts_with('-'));
    let names = lines.filter_map(|line| line.split_once("--")?.1.split([' ', '=', '[', ',']).next());
    names.map(|name| name.replace('-', "_")).collect()
}

#[test]
fn a_value_may_have_the_name_of_any_option_of_tok() {
    let server = Server::issuing(600);
    let sandbox = Sandbox::with_file_store();
    let mut names: Vec<String> = Vec::new();
    for verb in ["login", "login oidc authorization-code", "get", "header", "exec", "curl", "show", "logout", "status"]
    {
        names.extend(options(&sandbox.run(&format!("{verb} --help")).ok().stdout));
    }
    names.sort();
    names.dedup();
    assert!(names.contains(&"move_to".into()) && names.contains(&"user".into()), "{names:?}");
    let text = |names: &[String]| {
        let params: String = names.iter().map(|name| format!("[params.{name}]\ndefault = \"x\"\n")).collect();
        let body: String = names.iter().map(|name| format!("{name} = \"{{{name}}}\", ")).collect();
        format!(
            "title = \"Odd\"\n[params.origin]\ndefault = \"{}\"\n{params}[grants.plain]\nurl = \"{{origin}}/token\"\n\
             body = {{ {body} }}\n",
            server.url()
        )
    };
    // Not those that are keys of the config, or end as a file's does.
    names.retain(|name| {
        let file = sandbox.file_arg("one.toml", text(std::slice::from_ref(name)));
        sandbox.run(&format!("providers --check {file}")).code == 0
    });
    assert!(names.len() > 40, "{names:?}");
    sandbox.provider("odd", &text(&names));
    for line in ["login odd plain --help", "get odd --help", "header odd --help", "get odd --fresh", "exec odd -- true"]
    {
        sandbox.run(line).ok();
    }
}

#[test]
fn a_server_that_takes_pushed_requests_is_not_asked_twice_what_a_login_would_say() {
    let api = Api::start();
    let par = format!("{}/par", api.issuer.url());
    api.state(|s| s.metadata = json!({"pushed_authorization_request_endpoint": par}));
    let (sandbox, browser) = api.sandbox();
    let pushed = || Reply::json(201, json!({"request_uri": "urn:example:1", "expires_in": 60}));
    // The browser is not shown the redirect URI; the one who has read the pushed request knows it.
    let login = |line: &[&str]| {
        let mut running = sandbox.tok(line).spawn();
        until("the browser is opened", || browser.was_opened() || running.ended());
        let sent = browser.visit();
        assert!(sent.address.contains("request_uri=urn"), "{}", sent.address);
        let request = api.asked("/par").pop().unwrap();
        Visit { address: sent.address, query: request.form() }.log_in();
        running.wait().prints("");
    };
    api.script("/par", [pushed()]);
    login(&["login", &api.url()]);
    api.script("/par", [pushed()]);
    login(&["login", PROFILE]);
    assert_eq!((api.registrations().len(), api.asked("/par").len()), (1, 2));
    assert!(api.asked("/authorize").is_empty(), "the authorization endpoint is the browser's");

    // It says by itself that it does not know the client any more.
    api.script("/par", [Reply::json(401, json!({"error": "invalid_client"})), pushed()]);
    login(&["login", PROFILE]);
    assert_eq!((api.registrations().len(), api.asked("/par").len()), (2, 4));
    assert!(api.asked("/authorize").is_empty());

    // Without them, the authorization endpoint is asked first.
    log_in(&browser, sandbox.tok(["login", PROFILE, "--par-url", ""])).prints("");
    assert_eq!((api.asked("/par").len(), api.asked("/authorize").len()), (4, 2));
}

#[test]
fn a_repeated_name_in_a_reply_is_8_and_in_a_refusal_it_is_read_all_the_same() {
    let server = Server::always(Reply::text(400, r#"{"error":"invalid_client","error":"invalid_client"}"#));
    let sandbox = plain(&server.url());
    sandbox.run("get plain").fails(5).says("invalid_client");
    let server = Server::always(Reply::text(200, r#"{"access_token":"a","access_token":"b","expires_in":60}"#));
    let sandbox = plain(&server.url());
    sandbox.run("get plain").fails(8).says("a name appears twice").never_says("\"a\"");
}

/// A home in which `tok setup` can be run for the profile `shop`.
fn with_hosts() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let (bin, tok) = (sandbox.work().join("bin"), env!("CARGO_BIN_EXE_tok"));
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(tok, bin.join("tok")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    sandbox.set("PATH", path);
    let profile = |name: &str| format!("[profile.{name}]\nprovider = \"oidc\"\nhosts = [\"{name}.example.com\"]\n");
    sandbox.config(&(0..8).map(|n| profile(&format!("shop-{n}"))).collect::<String>());
    sandbox
}

#[test]
fn what_setup_changes_keeps_its_line_ends_and_a_link_to_nothing_is_not_replaced() {
    let sandbox = with_hosts();
    let home = sandbox.home();
    for (program, file, old, new) in [
        ("bazel", ".bazelrc", "build --a\r\n", "build --a\r\ncommon --credential_helper="),
        (
            "cargo",
            ".cargo/config.toml",
            "# mine\r\n[build]\r\njobs = 2 # two\r\n",
            "# mine\r\n[build]\r\njobs = 2 # two\r\n",
        ),
        ("goauth", ".config/go/env", "GOPROXY=x\r\n", "GOPROXY=x\r\nGOAUTH=netrc; tok"),
        ("terraform", ".terraformrc", "a = 1\r\n", "a = 1\r\n\r\ncredentials_helper"),
    ] {
        let path = home.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, old).unwrap();
        sandbox.run(&format!("setup {program} shop-0 --write")).ok();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(new) && text.ends_with("\r\n"), "{program}: {text:?}");
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{program}: {text:?}");
        sandbox.run(&format!("setup {program} shop-0 --write")).ok();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{program}: twice");

        // A file of somebody's dotfiles that is not there yet.
        let elsewhere = home.join("dotfiles").join(program);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let out = sandbox.run(&format!("setup {program} shop-0 --write")).fails(1).says("dangling");
        assert!(path.is_symlink(), "{out}");
        let command = out.stderr.lines().find_map(|line| line.strip_prefix("hint: make the file that it leads to: "));
        let mended = std::process::Command::new("/bin/sh").args(["-c", command.expect("a command")]).status().unwrap();
        assert!(mended.success(), "{out}");
        sandbox.run(&format!("setup {program} shop-0 --write")).ok();
        assert!(path.is_symlink() && std::fs::read_to_string(&elsewhere).unwrap().contains("tok"), "{program}");
    }
}

#[test]
fn setups_at_once_lose_nothing_of_each_other() {
    let sandbox = with_hosts();
    let running: Vec<_> =
        (0..8).map(|n| sandbox.tok(["setup", "docker", &format!("shop-{n}"), "--write"]).spawn()).collect();
    for run in running {
        run.wait().ok();
    }
    let text = std::fs::read_to_string(sandbox.home().join(".docker/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["credHelpers"].as_object().map(|all| all.len()), Some(8), "{text}");
}

#[test]
fn a_helper_that_leads_to_a_tok_that_is_gone_is_made_anew() {
    let sandbox = with_hosts();
    let bin = sandbox.work().join("bin");
    let plugins = sandbox.home().join(".terraform.d/plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    for (program, at) in [
        ("docker", bin.join("docker-credential-tok")),
        ("bazel", bin.join("bazel-credential-tok")),
        ("terraform", plugins.join("terraform-credentials-tok")),
    ] {
        let gone = |at: &std::path::Path| std::os::unix::fs::symlink("/nowhere/tok", at).unwrap();
        gone(&at);
        let out = sandbox.run(&format!("setup {program} shop-0")).ok();
        let command = out.stderr.lines().find_map(|line| line.split_once("create it with: ")).expect("a command").1;
        let made = std::process::Command::new("/bin/sh").args(["-c", command]).status().unwrap();
        assert!(made.success() && at.exists(), "{out}");
        std::fs::remove_file(&at).unwrap();
        gone(&at);
        sandbox.run(&format!("setup {program} shop-0 --write")).ok();
        assert!(at.exists(), "{program}");
    }
}

#[test]
fn a_config_keeps_its_line_ends() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    sandbox.config("# mine\r\n[profile.other]\r\nprovider = \"xcover\" # kept\r\n");
    let secret = sandbox.file_arg("key", crate::support::purewl::secret_key());
    sandbox.run(&format!("login purewl --secret-key-file {secret}")).ok();
    let text = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(text.starts_with("# mine\r\n[profile.other]\r\nprovider = \"xcover\" # kept\r\n"), "{text:?}");
    assert!(text.contains("[profile.purewl]\r\n"), "{text:?}");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
}

#[test]
fn go_is_told_of_a_profile_that_is_none() {
    let sandbox = with_hosts();
    sandbox.run("credential goauth --profile nope").fails(3).says("no profile or provider `nope`");
}

#[test]
fn a_vault_that_quotes_what_it_was_sent_is_not_quoted() {
    let apiax = Apiax::start();
    let kept = apiax.logged_in().secrets()["apiax"].to_string();
    let quotes = |request: &Received| {
        let token = request.header("x-vault-token").unwrap_or_default();
        let text = format!("no: {token} {}", String::from_utf8_lossy(&request.body));
        Reply::json(400, json!({"errors": [text.clone(), text.replace('-', "\\u002d")]}))
    };
    for logs_in in [false, true] {
        for is_read in [false, true] {
            let held = json!({"data": {"data": {"entry": kept}, "metadata": {"version": 3}}});
            let place = Server::new(move |request| match (request.method.as_str(), request.path()) {
                ("GET", path) if path.starts_with("/v1/sys/internal") => {
                    Reply::json(200, json!({"data": {"options": {"version": "2"}}}))
                }
                ("POST", path) if path.starts_with("/v1/auth") && is_read => {
                    Reply::json(200, json!({"auth": {"client_token": format!("hvs.{CANARY}")}}))
                }
                ("GET", _) if is_read => Reply::json(200, held.clone()),
                _ => quotes(request),
            });
            let mut sandbox = apiax.sandbox();
            sandbox.set("TOK_STORE", "vault:secret/ci/tok").set("VAULT_ADDR", place.url());
            sandbox.set("VAULT_TOKEN", format!("hvs.{CANARY}"));
            if logs_in {
                let secret = sandbox.file_arg("secret-id", format!("sid-{CANARY}"));
                sandbox.config(&format!(
                    "[vault]\nauth = \"approle\"\nrole = \"r\"\nsecret_id = {{ file = \"{secret}\" }}\n"
                ));
            }
            // What is shown is looked at for it in every test.
            sandbox.run("get apiax --fresh --timeout 2s -vvv").fails(7).says("status 400: no: ").says("***");
        }
    }
    assert_eq!(apiax.state(|s| s.reused), 0);
}

#[test]
fn the_doctor_does_not_send_to_the_doctor() {
    let mut sandbox = Sandbox::new();
    let bin = sandbox.work().join("bin");
    let program = bin.join("tok-store-odd");
    std::fs::create_dir_all(&bin).unwrap();
    crate::support::put(&program, b"#!/bin/sh\ncat >/dev/null\necho odd\n");
    crate::support::chmod(&program, 0o755);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    sandbox.set("PATH", &path).set("VAULT_TOKEN", "x");
    let refusing = Server::always(Reply::json(403, json!({"errors": ["permission denied"]})));
    sandbox.set("VAULT_ADDR", refusing.url());
    for (store, command, says) in [
        ("program:odd", "echo", "odd"),
        ("program:none", "echo", ""),
        ("vault:secret/tok", "curl", "permission denied"),
        ("kubernetes:jobs/tok", "kubectl", ""),
    ] {
        sandbox.set("TOK_STORE", store);
        sandbox.run("get oidc").fails(7).hints_at("tok doctor");
        let found = sandbox.run("doctor --json");
        let all: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
        let of = |row: &&serde_json::Value| row["what"].as_str().is_some_and(|what| what.contains(store));
        let row = all.as_array().unwrap().iter().find(of).unwrap_or_else(|| panic!("{found}"));
        let hint = row["hint"].as_str().unwrap();
        assert!(!hint.contains("tok doctor") && hint.contains(command), "{row}");
        let command = &hint[hint.find(&format!("{command} ")).unwrap()..];
        let out = std::process::Command::new("/bin/sh")
            .args(["-c", command])
            .env("PATH", &path)
            .env("VAULT_ADDR", refusing.url())
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&out.stdout).contains(says), "{command}");
    }
}
