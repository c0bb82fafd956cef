//! A login that a person takes part in: what they are shown, what they may paste, and what others on the machine see.

use crate::support::issuer::{Browser, Issuer, Visit, fetch};
use crate::support::server::Reply;
use crate::support::terminal::Terminal;
use crate::support::{CANARY, Sandbox, Tok, chmod, put, until, xcover};
use serde_json::json;
use std::path::Path;

const LOGIN: &str = "login oidc authorization-code --scope read";

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// An issuer whose tokens come without an ID token, as no nonce is asked for.
fn issuer() -> Issuer {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null}));
    issuer
}

/// The address on a line of its own.
#[track_caller]
fn address_in(text: &str) -> Visit {
    let line = text.lines().map(str::trim).find(|line| line.starts_with("http")).expect("an address");
    Visit::to(line)
}

/// What is printed until `text` is there.
#[track_caller]
fn shown(file: &Path, text: &str) -> String {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    until(text, || read().contains(text));
    read()
}

#[test]
fn what_the_metadata_give_is_switched_off_with_an_empty_value() {
    let issuer = issuer();
    let par = format!("{}/par", issuer.url());
    issuer.state(|s| s.metadata = json!({"pushed_authorization_request_endpoint": par}));
    issuer.script("/par", [Reply::json(400, json!({"error": "unauthorized_client"}))]);
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    // An empty variable is absent, as it always was.
    let out = sandbox.tok(words(LOGIN)).env("TOK_OIDC_PAR_URL", "").run().fails(5);
    assert_eq!(issuer.asked("/par").len(), 1, "{out}");
    let log_in = |login: Tok| {
        let running = login.spawn();
        let visit = browser.visit();
        assert!(!visit.value("code_challenge").is_empty(), "{visit:?}");
        visit.log_in();
        running.wait().prints("");
        assert_eq!(issuer.asked("/par").len(), 1, "nothing is pushed");
    };
    log_in(sandbox.tok(words(LOGIN)).args(["--par-url", ""]));
    // The login has kept it, and so it can be written.
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(config.contains("par_url = \"\""), "{config}");
    log_in(sandbox.tok(words("login oidc")));
    assert!(sandbox.run("show oidc").ok().stdout.contains("switched off"));
    sandbox.run("get oidc").line();
}

#[test]
fn what_is_needed_or_secret_cannot_be_empty() {
    let issuer = issuer();
    let sandbox = issuer.sandbox();
    for flag in ["--client-id", "--issuer", "--token-url", "--authorize-url"] {
        let out = sandbox.tok(words(LOGIN)).args([flag, ""]).run().fails(2);
        assert!(out.stderr.contains(flag) && out.stderr.contains("empty"), "{out}");
    }
    for (value, says) in [("client_id", "client_id"), ("client_secret", "client_secret"), ("issuer", "issuer")] {
        sandbox.config(&format!("[profile.oidc]\n{value} = \"\"\n"));
        sandbox.run(LOGIN).fails(3).says("config.toml:2:").says(says).says("empty");
    }
    assert_eq!(issuer.asked("/token").len(), 0);
}

#[test]
fn consent_is_asked_for_with_offline_access_unless_prompt_is_empty() {
    let issuer = Issuer::start();
    for (flags, prompt) in
        [(vec![], vec!["consent"]), (vec!["--prompt", ""], vec![]), (vec!["--prompt", "login"], vec!["login"])]
    {
        let mut sandbox = issuer.sandbox();
        let browser = Browser::of(&mut sandbox);
        let login = words("login oidc authorization-code --scope openid --scope offline_access");
        let running = sandbox.tok(login).args(flags).spawn();
        let visit = browser.visit();
        assert_eq!(visit.values("prompt"), prompt, "{visit:?}");
        drop(running);
    }
}

#[test]
fn a_space_behind_a_typed_value_is_dropped() {
    let xcover = xcover::XCover::start();
    let sandbox = xcover.sandbox();
    let secret = xcover::client_secret();
    let mut terminal = sandbox.tok(["login", "xcover"]).env("TOK_XCOVER_CLIENT_SECRET", secret).on_terminal();
    terminal.expect_like("(?i)client[ _]id[^\n]*:");
    terminal.type_line(&format!(" {} ", xcover::CLIENT_ID));
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(config.contains(&format!("client_id = \"{}\"", xcover::CLIENT_ID)), "{config}");
}

/// A login on a terminal that waits for a paste.
fn pasting(sandbox: &Sandbox) -> (Terminal, Visit) {
    let mut terminal = sandbox.tok(words(&format!("{LOGIN} --no-browser --timeout 60s"))).on_terminal();
    let screen = terminal.expect("paste");
    let visit = address_in(&screen.replace('\r', ""));
    terminal.expect(": ");
    (terminal, visit)
}

#[test]
fn a_pasted_address_is_taken_whole() {
    let issuer = issuer();
    let long = "x".repeat(6_000);
    let forms: [fn(&str, &str) -> String; 4] = [
        |one, two| format!("{one}{two}\r"),
        |one, two| format!("{one}\r\n  {two}\r"),
        |one, two| format!("\x1b[200~{one}{two}\x1b[201~\r"),
        |one, two| format!("\x1b[200~{one}\n{two}\n\x1b[201~\r"),
    ];
    for form in forms {
        let sandbox = issuer.sandbox();
        let (mut terminal, visit) = pasting(&sandbox);
        let answer = visit.answer(&format!("code={long}&state={}", visit.value("state")));
        // In the middle of the code, where nothing else would tell.
        let (one, two) = answer.split_at(5_000);
        terminal.type_text(&form(one, two));
        let (rest, code) = terminal.end();
        assert_eq!(code, 0, "{rest}");
        assert_eq!(issuer.asked("/token").last().unwrap().field("code"), long);
    }
}

#[test]
fn what_is_behind_a_pasted_address_never_reaches_the_shell() {
    let issuer = issuer();
    let sandbox = issuer.sandbox();
    // A shell around it reads what is left, and shows the terminal's state afterwards.
    let script = format!(
        "exec bash -c '\"{}\" {LOGIN} --no-browser; echo \"status=$?\"; IFS= read -r -t 2 left; \
         echo \"left=[$left]\"; stty -a; exit 7'",
        env!("CARGO_BIN_EXE_tok")
    );
    let mut terminal = sandbox.tok(["-V"]).after(&script).on_terminal();
    let screen = terminal.expect("paste");
    let visit = address_in(&screen.replace('\r', ""));
    terminal.expect(": ");
    let answer = visit.answer(&format!("code=c&state={}", visit.value("state")));
    terminal.type_text(&format!("{answer}\rtouch leaked\rtouch leaked\r"));
    terminal.expect("status=0");
    let (rest, _) = terminal.end();
    assert!(rest.contains("left=[]"), "{rest}");
    assert!(rest.contains(" icanon") && rest.contains(" echo ") && !rest.contains("-icanon"), "{rest}");
}

#[test]
fn a_signal_while_something_is_pasted_leaves_the_terminal_as_it_was() {
    let issuer = issuer();
    for browser in ["", "--no-browser"] {
        let mut sandbox = issuer.sandbox();
        sandbox.set("BROWSER", "true");
        let script = format!(
            "trap : INT; '{}' {LOGIN} {browser}; echo \"status=$?\"; stty -a; exit 7",
            env!("CARGO_BIN_EXE_tok")
        );
        let mut terminal = sandbox.tok(["-V"]).after(&script).on_terminal();
        terminal.expect("paste");
        terminal.expect(": ");
        terminal.type_text("half of it");
        terminal.expect("half of it");
        terminal.control('c');
        terminal.expect("status=130");
        let (rest, _) = terminal.end();
        assert!(rest.contains(" icanon") && rest.contains(" echo ") && !rest.contains("-icanon"), "{rest}");
        sandbox.assert_nothing_kept();
    }
}

#[test]
fn the_address_is_pasted_where_the_browser_is_elsewhere_and_a_wrong_one_is_asked_for_again() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    sandbox.set("BROWSER", "true");
    let mut terminal = sandbox.tok(words(LOGIN)).on_terminal();
    let mut screen = terminal.expect("paste");
    screen += &terminal.expect(": ");
    let visit = address_in(&screen.replace('\r', ""));
    assert!(screen.contains(&format!("ends at {}", visit.value("redirect_uri"))), "{screen}");
    for (wrong, says) in [
        (visit.answer("code=c&state=wrong"), "its state is from another login"),
        (format!("{}/?x=y", issuer.url()), "neither a code nor an error"),
    ] {
        terminal.type_text(&format!("{wrong}\r"));
        terminal.expect(says);
        terminal.expect_like("paste the whole address[^\n]*: ");
    }
    // An empty line and keys do no harm.
    terminal.type_text("\r");
    terminal.expect_like("paste the address[^\n]*: ");
    terminal.type_text("abc\x7f\x7f\x7f\x1b[A");
    terminal.type_text(&format!("{}\r", visit.answer(&format!("code=c&state={}", visit.value("state")))));
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    visit.assert_closed();
    sandbox.run("get oidc").line();
}

#[test]
fn the_browser_may_come_back_while_an_address_is_asked_for() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let mut terminal = sandbox.tok(words(LOGIN)).on_terminal();
    terminal.expect("paste");
    terminal.expect(": ");
    terminal.type_text("half of an addr");
    browser.visit().log_in();
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    sandbox.run("get oidc").line();
}

#[test]
fn a_script_s_input_is_left_alone_while_a_browser_is_waited_for() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let running = sandbox.tok(words(LOGIN)).stdin("not for tok\n").spawn();
    browser.visit().log_in();
    running.wait().prints("").never_says("not the address");
}

#[test]
fn the_address_is_always_shown_and_whole() {
    let issuer = issuer();
    for more in ["", "-q", "--no-input"] {
        let mut sandbox = issuer.sandbox();
        sandbox.set("BROWSER", "true");
        let log = sandbox.work().join("log");
        let file = std::fs::File::create(&log).unwrap();
        let long = format!("long={}", "y".repeat(5_000));
        let running = sandbox.tok(words(&format!("{LOGIN} {more} --param {long}"))).stderr(file).spawn();
        let text = shown(&log, "--no-browser");
        let visit = address_in(&text);
        assert_eq!(visit.value("long").len(), 5_000, "it is whole");
        assert!(text.contains(&format!("ends at {}", visit.value("redirect_uri"))), "{text}");
        visit.log_in();
        running.wait().prints("");
    }
}

#[test]
fn without_a_display_the_way_out_comes_with_the_address() {
    let issuer = issuer();
    let sandbox = issuer.sandbox();
    let log = sandbox.work().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let mut running = sandbox.tok(words(LOGIN)).env("SSH_CONNECTION", "a 1 b 2").stderr(file).spawn();
    let text = shown(&log, "--no-browser");
    assert!(text.contains("another machine") && text.contains("display"), "{text}");
    assert!(!running.ended());
    address_in(&text).log_in();
    running.wait().prints("");
}

#[test]
fn an_error_without_a_state_is_named_at_once_and_waited_past() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let log = sandbox.work().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let mut running = sandbox.tok(words(LOGIN)).stderr(file).spawn();
    let visit = browser.visit();
    let page = visit.come_back("error=unauthorized_client&error_description=no%1b%5b31m+such+client");
    assert!(page.starts_with("HTTP/1.1 400 ") && !page.contains("client"), "{page}");
    let text = shown(&log, "still waiting");
    assert!(text.contains("unauthorized_client (no\\u{1b}[31m such client)") && !text.contains('\u{1b}'), "{text}");
    assert!(!running.ended());
    // A page that goes on and on is not a way to fill the screen.
    (0..20).for_each(|i| drop(visit.come_back(&format!("error=e{i}"))));
    visit.log_in();
    running.wait().prints("");
    assert_eq!(std::fs::read_to_string(&log).unwrap().matches("still waiting").count(), 3);
}

#[test]
fn errors_about_the_redirect_uri_name_it() {
    let issuer = issuer();
    let refusal = || Reply::json(400, json!({"error": "invalid_request", "error_description": "Invalid redirect_uri"}));
    let registered = |visit: &Visit| format!("exactly as it stands here: {}", visit.value("redirect_uri"));
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let running = sandbox.tok(words(LOGIN)).spawn();
    let visit = browser.visit();
    visit
        .come_back(&format!("error=invalid_request&error_description=bad+redirect+uri&state={}", visit.value("state")));
    running.wait().fails(5).hints_at(&registered(&visit));
    issuer.script("/token", [refusal()]);
    let running = sandbox.tok(words(LOGIN)).spawn();
    let visit = browser.visit();
    visit.log_in();
    running.wait().fails(5).hints_at(&registered(&visit));
    let par = format!("{}/par", issuer.url());
    issuer.state(|s| s.metadata = json!({"pushed_authorization_request_endpoint": par}));
    issuer.script("/par", [refusal()]);
    sandbox.run(&format!("{LOGIN} --redirect-port 8765")).fails(5).hints_at("http://127.0.0.1:8765/callback");
    // The browser shows it, and nobody comes back.
    let out = sandbox.tok(words(&format!("{LOGIN} --timeout 2s"))).args(["--par-url", ""]).run().fails(6);
    out.hints_at("http://127.0.0.1:");
}

#[test]
fn the_browser_s_arguments_tell_nothing_of_the_login() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let running = sandbox.tok(words(LOGIN)).spawn();
    let address = browser.address();
    let path = address.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.split_once('/')).expect("an address").1;
    assert!(path.len() >= 32 && !path.contains(['?', '&', '=', '/']), "{address}");
    // Its query is ignored: a program that adds one does no harm.
    let reply = fetch(&format!("{address}?utm=x&code=evil&state=evil"));
    assert!(reply.starts_with("HTTP/1.1 302 "), "{reply}");
    let location = reply.lines().find_map(|line| line.strip_prefix("Location: ")).expect("a Location").trim();
    let visit = Visit::to(location);
    assert!(location.starts_with(&format!("{}/authorize?", issuer.url())) && !visit.value("state").is_empty());
    for again in [address.clone(), format!("{address}?x")] {
        let reply = fetch(&again);
        assert!(reply.starts_with("HTTP/1.1 410 ") && !reply.contains("state"), "{reply}");
    }
    visit.log_in();
    running.wait().prints("");
}

#[test]
fn a_session_that_was_brought_and_is_gone_is_brought_again() {
    let issuer = issuer();
    let sandbox = Sandbox::with_file_store();
    let url = issuer.url();
    let old = sandbox.file_arg("old", format!("rt-{CANARY}-old"));
    let login = format!("login oauth2 refresh --as mine --token-url {url}/token --client-id cli --refresh-token-file");
    sandbox.tok(words(&login)).args([&old]).run().prints("");
    sandbox.run("get mine").line();
    issuer.script("/token", [Reply::json(400, json!({"error": "invalid_grant"}))]);
    let hint = "tok login mine refresh --refresh-token-file PATH";
    sandbox.run("get mine --fresh").fails(4).hints_at(hint).never_says("AUTHORIZE_URL");
    sandbox.run("get mine --fresh").fails(4).hints_at(hint).never_says("AUTHORIZE_URL");
    // It works as it stands.
    let new = sandbox.file_arg("new", format!("rt-{CANARY}-new"));
    sandbox.tok(words("login mine refresh --refresh-token-file")).args([&new]).run().prints("");
    sandbox.run("get mine --fresh").line();
    assert_eq!(issuer.asked("/token")[2].field("refresh_token"), format!("rt-{CANARY}-new"));
}

#[test]
fn nothing_in_the_working_folder_is_run() {
    let issuer = issuer();
    let spy = |folder: &Path, name: &str| {
        put(&folder.join(name), format!("#!/bin/sh\n: > \"{}.ran\"\necho x\n", folder.join(name).display()).as_bytes());
        chmod(&folder.join(name), 0o755);
    };
    for path in ["", ".", ":/usr/bin:/bin", "/usr/bin:/bin:", "/usr/bin:.:/bin", "bin:/usr/bin:/bin"] {
        let mut sandbox = issuer.sandbox();
        let (work, bin) = (sandbox.work(), sandbox.work().join("bin"));
        for name in ["xdg-open", "mybrowser", "docker-credential-mine", "mycommand", "wslview"] {
            spy(&work, name);
            spy(&bin, name);
        }
        sandbox.set("PATH", path).set("DISPLAY", ":0").set("TOK_OIDC_CLIENT_SECRET", "x");
        for browser in ["mybrowser", "./mybrowser", "bin/mybrowser"] {
            let out = sandbox.tok(words(&format!("{LOGIN} --timeout 1s"))).env("BROWSER", browser).run();
            out.fails(6);
        }
        sandbox.unset("TOK_OIDC_CLIENT_SECRET");
        for command in ["mycommand", "./mycommand", "bin/mycommand"] {
            sandbox.config(&format!("[profile.oidc]\nissuer = \"{}\"\nclient_id = \"cli\"\nclient_secret = {{ command = [\"{command}\"] }}\n", issuer.url()));
            sandbox.run("get oidc --grant client-credentials").fails(3).says("command");
        }
        sandbox.tok(["get", "oidc"]).env("TOK_STORE", "helper:mine").run().fails(7);
        for folder in [work, bin] {
            let all: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
            let ran: Vec<_> = all.iter().filter(|path| path.extension().is_some_and(|e| e == "ran")).collect();
            assert!(ran.is_empty(), "PATH={path}: {ran:?}");
        }
    }
}

#[test]
fn what_a_program_runs_is_not_of_the_working_folder_either() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let bin = sandbox.home().join("bin");
    put(&bin.join("xdg-open"), b"#!/bin/sh\nfirefox \"$1\"\n");
    put(&sandbox.work().join("firefox"), format!("#!/bin/sh\n: > '{}/ran'\n", sandbox.home().display()).as_bytes());
    chmod(&bin.join("xdg-open"), 0o755);
    chmod(&sandbox.work().join("firefox"), 0o755);
    sandbox.set("PATH", format!(".:{}:/usr/bin:/bin", bin.display())).set("DISPLAY", ":0");
    sandbox.run(&format!("{LOGIN} --timeout 3s")).fails(6);
    assert!(!sandbox.home().join("ran").exists());
}

#[test]
fn a_helper_that_quotes_its_entry_is_not_quoted() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let bin = sandbox.home().join("bin");
    let helper = |text: &str| {
        put(&bin.join("docker-credential-mine"), format!("#!/bin/sh\n{text}\n").as_bytes());
        chmod(&bin.join("docker-credential-mine"), 0o755);
    };
    sandbox.set("PATH", format!("{}:/usr/bin:/bin", bin.display())).set("TOK_STORE", "helper:mine");
    // Each run is checked for the canary.
    for text in [
        format!("echo 'cannot read rt-{CANARY}'; exit 1"),
        format!("echo 'cannot read rt-{CANARY}' >&2; exit 1"),
        format!("printf '%s' '{{\"Secret\":\"{CANARY}'; exit 1"),
        format!("echo 'cannot read rt-{CANARY}'; kill -9 $$"),
    ] {
        helper(&text);
        for line in
            ["get oidc -vvv", "get oidc --grant client-credentials", "logout oidc", "login oidc client-credentials"]
        {
            let out = sandbox.run(line);
            assert!(out.code != 0 && !out.stdout.contains(CANARY), "{out}");
            assert!(!out.stderr.contains("cannot read"), "{out}");
        }
        sandbox.run("get oidc").fails(7).says("docker-credential-mine list");
    }
}
