//! A login by somebody who does not know the names: what to log in to and how is chosen on the terminal.

use crate::support::apiax::{self, Apiax};
use crate::support::issuer::{CLIENT, Issuer, Visit};
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::terminal::Terminal;
use crate::support::{CANARY, Sandbox, until};
use serde_json::json;

const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";

/// `tok login` on a terminal that can do all that the choice needs.
fn login(sandbox: &Sandbox, args: &[&str]) -> Terminal {
    sandbox.tok(["login"]).args(args).env("TERM", "xterm").on_terminal()
}

/// Waits for the choice, and until keys are read: what is typed before is echoed and thrown away.
#[track_caller]
fn chosen(terminal: &mut Terminal, label: &str, keys: &str) -> String {
    let before = terminal.expect(&format!("{label}:"));
    let rest = terminal.expect("Enter chooses");
    terminal.type_text(keys);
    terminal.type_text("\r");
    format!("{before}{rest}")
}

#[test]
fn without_a_terminal_it_names_the_command() {
    let sandbox = Sandbox::with_file_store();
    sandbox.run("login").fails(2).hints_at("tok login PROVIDER").hints_at("tok providers");
    let (screen, code) = sandbox.tok(["login", "--no-input"]).on_terminal().end();
    assert!(code == 2 && screen.contains("tok login PROVIDER"), "{screen}");
}

#[test]
fn profiles_come_first_then_the_featured_providers_and_then_the_rest_by_name() {
    let sandbox = Sandbox::with_file_store();
    sandbox.config("[profile.zebra]\nprovider = \"apiax\"\nusername = \"anna\"\n");
    let featured = ["purewl", "xcover", "elasticpath", "apiax"];
    let all = sandbox.run("providers --json").json();
    let names = all.as_array().expect("a list").iter().filter_map(|provider| provider["name"].as_str());
    let first = names.filter(|name| !featured.contains(name)).min().expect("another");
    for screen in [
        // Numbers where the terminal is plain.
        {
            let mut terminal = sandbox.tok(["login"]).env("TERM", "dumb").on_terminal();
            let screen = terminal.expect("number or name");
            terminal.control('c');
            screen
        },
        {
            let mut terminal = login(&sandbox, &[]);
            terminal.expect("Log in to:");
            let screen = terminal.expect("Enter chooses");
            terminal.control('c');
            screen
        },
    ] {
        let at = |name: &str| screen.find(name).unwrap_or_else(|| panic!("{name}: {screen}"));
        let order: Vec<_> =
            ["zebra"].iter().chain(&featured).chain([&first]).map(|name| at(&format!("{name} "))).collect();
        assert!(order.is_sorted(), "{screen}");
        assert!(screen.contains("anna"), "{screen}");
    }
}

#[test]
fn typing_searches_names_and_titles_and_the_grant_is_chosen_with_what_it_needs() {
    let apiax = Apiax::start();
    let sandbox = apiax.sandbox();
    let mut terminal = login(&sandbox, &[]);
    chosen(&mut terminal, "Log in to", "apia");
    // Its only grant besides the one for a refresh token needs no choice.
    terminal.expect_like("(?i)user ?_?name[^\n]*:");
    terminal.type_line(apiax::USERNAME);
    terminal.expect_like("(?i)password[^\n]*:");
    terminal.type_line(&apiax::password());
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    for words in [apiax::USERNAME, "expires in", "file store", "next: tok get apiax"] {
        assert!(rest.contains(words), "{words}: {rest}");
    }
    sandbox.run("get apiax").silent().line();

    let elastic = crate::support::elasticpath::ElasticPath::start();
    let sandbox = elastic.sandbox();
    let mut terminal = login(&sandbox, &[]);
    chosen(&mut terminal, "Log in to", "commerce cloud");
    let screen = chosen(&mut terminal, "How", DOWN);
    assert!(screen.contains("client-credentials") && screen.contains("needs"), "{screen}");
    terminal.expect_like("(?i)client[ _]id[^\n]*:");
    terminal.type_line(crate::support::elasticpath::CLIENT_ID);
    let (rest, code) = terminal.end();
    assert!(code == 0 && rest.contains("implicit"), "{rest}");
}

#[test]
fn arrow_keys_move_and_escape_leaves_all_as_it_was() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let mut terminal = login(&sandbox, &[]);
    chosen(&mut terminal, "Log in to", &format!("{DOWN}{DOWN}{UP}{UP}"));
    terminal.expect_like("(?i)secret[ _]key[^\n]*:");
    terminal.type_line(&purewl::secret_key());
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");

    let sandbox = purewl.sandbox();
    let mut terminal = login(&sandbox, &[]);
    terminal.expect("Enter chooses");
    terminal.type_text("\x1b");
    let (rest, code) = terminal.end();
    assert!(code == 4 && rest.contains("cancelled"), "{rest}");
    assert!(sandbox.files().is_empty(), "nothing is left behind");
}

#[test]
fn at_each_question_an_interrupt_ends_with_130_and_leaves_the_terminal_as_it_was() {
    let issuer = Issuer::start();
    let purewl = PureWl::start();
    let tok = env!("CARGO_BIN_EXE_tok");
    // What is typed at the questions before, and the one at which it is interrupted.
    type Case<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], &'c str);
    let issuer_url = issuer.url();
    let to_how = [("Enter chooses", "oidc\r"), ("Issuer", &*issuer_url), ("", "\r")];
    let cases: [Case; 5] = [
        ("xterm", "login", &[], "Enter chooses"),
        ("dumb", "login", &[], "number or name"),
        ("xterm", "login", &[("Enter chooses", "purewl\r")], "(?i)secret[ _]key[^\n]*: "),
        ("xterm", "login", &[("Enter chooses", "oidc\r")], "(?i)issuer[^\n]*: "),
        ("xterm", "login", &to_how, "How:"),
    ];
    for (term, line, typed, last) in cases {
        let sandbox = purewl.sandbox();
        let script =
            format!("trap : INT; stty -a > before; '{tok}' {line}; echo \"status=$?\"; stty -a > after; exit 7");
        let mut terminal = sandbox.tok(["-V"]).env("TERM", term).after(&script).on_terminal();
        for (question, answer) in typed {
            if !question.is_empty() {
                terminal.expect(question);
            }
            terminal.type_text(answer);
        }
        terminal.expect_like(last);
        terminal.control('c');
        terminal.expect("status=130");
        terminal.end();
        let read = |name: &str| std::fs::read_to_string(sandbox.work().join(name)).unwrap();
        assert_eq!(read("before"), read("after"), "{line} at {last}");
        assert_eq!(sandbox.secrets(), serde_json::Value::Null);
        assert!(!sandbox.config_file().exists());
    }
}

#[test]
fn a_paste_of_ten_thousand_characters_and_a_closed_stdin_end_well() {
    let sandbox = Sandbox::with_file_store();
    // Wide: each key draws all lines of what is typed anew.
    let tok = sandbox.tok(["login"]).env("TERM", "xterm").after("stty cols 2000 rows 24");
    let mut terminal = tok.on_terminal();
    terminal.expect("Enter chooses");
    terminal.type_text(&"x".repeat(10_000));
    terminal.control('c');
    let (_, code) = terminal.end();
    assert_eq!(code, 130);
    // The terminal goes away.
    let mut terminal = login(&sandbox, &[]);
    terminal.expect("Enter chooses");
    terminal.control('d');
    terminal.type_text("\x1b");
    let (rest, code) = terminal.end();
    assert_eq!(code, 4, "{rest}");
    assert!(sandbox.files().is_empty());
}

#[test]
fn a_narrow_terminal_shows_each_choice_on_one_line() {
    let sandbox = Sandbox::with_file_store();
    let mut terminal = sandbox.tok(["login"]).env("TERM", "xterm").after("stty cols 40 rows 24").on_terminal();
    terminal.expect("Log in to:");
    let screen = terminal.expect("Enter chooses");
    terminal.control('c');
    for line in screen.lines().filter(|line| line.contains("  ")) {
        // Without what sets colours and moves the cursor.
        let pieces = line.split('\x1b').enumerate().map(|(at, piece)| match at {
            0 => piece,
            _ => piece.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or_default(),
        });
        let shown: String = pieces.collect();
        assert!(shown.trim_end().chars().count() <= 40, "{line:?}");
    }
}

#[test]
fn after_the_issuer_the_grants_that_its_metadata_offer_are_listed() {
    let issuer = Issuer::start();
    issuer.state(|s| {
        s.metadata["grant_types_supported"] = json!(["authorization_code", "client_credentials", "refresh_token"])
    });
    let mut sandbox = issuer.sandbox();
    sandbox.unset("TOK_OIDC_ISSUER").set("TOK_OIDC_CLIENT_SECRET", format!("secret-{CANARY}"));
    let mut terminal = login(&sandbox, &["oidc"]);
    terminal.expect_like("(?i)issuer[^\n]*: ");
    terminal.type_line(&issuer.url());
    let screen = chosen(&mut terminal, "How", "client-cred");
    for words in ["browser", "client-credentials", "refresh"] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    for words in ["device", "password", "token-exchange", "ciba"] {
        assert!(!screen.contains(words), "{words} is not offered: {screen}");
    }
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    assert_eq!(issuer.only("/token").field("grant_type"), "client_credentials");
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(config.contains("grant = \"client-credentials\"") && config.contains(&issuer.url()), "{config}");
}

#[test]
fn browser_and_device_are_short_names_of_the_two_grants() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device").prints("");
    assert_eq!(sandbox.run("status oidc --json").json()[0]["grant"], "device-code");
    assert_eq!(issuer.asked("/device").len(), 1);
    sandbox.run("get oidc --grant device").silent().line();
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(config.contains("grant = \"device-code\""), "{config}");
    sandbox.config("[profile.oidc]\nprovider = \"oidc\"\ngrant = \"device\"\n");
    assert_eq!(sandbox.run("status oidc --json").json()[0]["grant"], "device-code");
    assert!(sandbox.run("login oidc --help").ok().stdout.contains("browser"));
    sandbox.run("login purewl browser").fails(2);
    // No grant may have such a name of its own.
    sandbox.provider("mine", "title = \"M\"\n[grants.browser]\nurl = \"https://a.example\"\n");
    sandbox.run("get mine").fails(3).says("mine.toml:2:9").says("cannot name a grant");
}

#[test]
fn a_name_is_found_by_title_and_an_unknown_server_by_its_issuer() {
    let sandbox = Sandbox::with_file_store();
    for (typed, near) in [
        ("PureWL", "purewl"),
        ("elastic", "elasticpath"),
        ("Genius", "xcover"),
        ("purewll", "purewl"),
        ("snow", "snowflake"),
    ] {
        for verb in ["login", "get"] {
            sandbox.tok([verb, typed]).run().fails(3).hints_at(&format!("did you mean {near}?"));
        }
    }
    let out = sandbox.run("login authelia").fails(3).hints_at("tok login oidc --as authelia");
    assert!(!out.stderr.contains("did you mean"), "{out}");
    // As pasted: what it needs is asked for.
    let issuer = Issuer::start();
    let mut terminal = login(&sandbox, &["oidc", "--as", "authelia"]);
    terminal.expect_like("(?i)issuer[^\n]*: ");
    terminal.type_line(&issuer.url());
    chosen(&mut terminal, "How", "device");
    terminal.expect_like("(?i)client[ _]id[^\n]*: ");
    terminal.type_line(CLIENT);
    let (rest, code) = terminal.end();
    assert!(code == 0 && rest.contains("next: tok get authelia"), "{rest}");
    sandbox.run("get authelia").silent().line();
}

#[test]
fn without_a_keyring_a_person_is_offered_the_file_and_a_script_is_told_the_command() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE");
    let key = sandbox.file_arg("key", purewl::secret_key());
    let out = sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run().fails(7);
    let hint = out.stderr.lines().find_map(|line| line.split_once("tok login ")).expect("a command").1.to_string();
    assert!(hint.ends_with("--store file"), "{out}");

    for answer in ["", "n"] {
        let mut terminal = sandbox.tok(["login", "purewl"]).on_terminal();
        let screen = terminal.expect("[y/N]: ");
        let path = sandbox.secrets_file();
        let one_line = screen.replace(['\r', '\n'], "");
        assert!(one_line.contains("not encrypted") && one_line.contains(path.to_str().unwrap()), "{screen}");
        terminal.type_line(answer);
        let (rest, code) = terminal.end();
        assert_eq!(code, 7, "{rest}");
    }
    assert_eq!(purewl.server.connections(), 0);
    assert!(!sandbox.config_file().exists());

    let mut terminal = sandbox.tok(["login", "purewl"]).on_terminal();
    terminal.expect("[y/N]: ");
    terminal.type_line("y");
    terminal.expect_like("(?i)secret[ _]key[^\n]*: ");
    terminal.type_line(&purewl::secret_key());
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    assert!(std::fs::read_to_string(sandbox.config_file()).unwrap().contains("store = \"file\""));
    sandbox.run("get purewl --fresh").silent().line();
    // The hint of a script works as it is.
    sandbox.run("logout purewl --remove").ok();
    sandbox.run(&format!("login {hint}")).prints("");
}

#[test]
fn a_choice_that_replaced_nothing_keeps_options_and_is_told_again_in_hints() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_SECOND_BASE_URL", purewl.server.url());
    let mut terminal = login(&sandbox, &["--store", "file", "--as", "second"]);
    chosen(&mut terminal, "Log in to", "purewl");
    terminal.expect_like("(?i)secret[ _]key[^\n]*: ");
    terminal.type_line(&format!("wrong-{CANARY}"));
    let (rest, code) = terminal.end();
    assert_eq!(code, 5, "{rest}");
    assert!(rest.replace(['\r', '\n'], " ").contains("tok login purewl --store file --as second"), "{rest}");
}

#[test]
fn logout_remove_takes_the_profile_out_of_the_config_and_nothing_else() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let rest = "# mine\n[profile.other] # stays\nprovider = \"xcover\"\n";
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    sandbox.config(&format!("{rest}\n{config}"));
    sandbox.run("logout apiax --remove").ok();
    assert_eq!(std::fs::read_to_string(sandbox.config_file()).unwrap(), rest);
    assert_eq!(sandbox.secrets()["apiax"], serde_json::Value::Null);
    sandbox.run("logout apiax --remove").ok();
    // Where the store cannot be emptied it stays, and where revoking fails it goes.
    let server = Server::new(|request| match request.path() {
        "/token" => Reply::json(
            200,
            json!({"access_token": format!("at-{CANARY}"), "expires_in": 600, "refresh_token": format!("rt-{CANARY}")}),
        ),
        _ => Reply::text(503, ""),
    });
    let more = "[revoke]\nurl = \"{base_url}/revoke\"\nbody = { token = \"{refresh_token}\" }\n";
    sandbox.provider("plain", &crate::support::plain_provider(&server.url(), more));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    crate::support::chmod(&sandbox.secrets_file(), 0o644);
    sandbox.run("logout plain --remove").fails(7);
    assert!(std::fs::read_to_string(sandbox.config_file()).unwrap().contains("[profile.plain]"));
    crate::support::chmod(&sandbox.secrets_file(), 0o600);
    sandbox.run("logout plain --remove --timeout 2s").fails(6).says("not revoked");
    assert_eq!(std::fs::read_to_string(sandbox.config_file()).unwrap(), rest);
}

#[test]
fn what_another_program_writes_into_the_config_meanwhile_stays() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_SECOND_BASE_URL", purewl.server.url());
    sandbox.config("# before\n");
    let mut terminal = sandbox.tok(["login", "purewl", "--as", "second"]).on_terminal();
    terminal.expect_like("(?i)secret[ _]key[^\n]*: ");
    sandbox.config("# meanwhile\n[profile.other]\nprovider = \"xcover\"\n");
    terminal.type_line(&purewl::secret_key());
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(config.starts_with("# meanwhile\n[profile.other]") && config.contains("[profile.second]"), "{config}");
}

#[test]
fn a_login_that_is_interrupted_while_it_waits_leaves_nothing_behind() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let gate = purewl.server.hold();
    let mut terminal = sandbox.tok(["login", "purewl"]).env("TERM", "xterm").on_terminal();
    terminal.expect_like("(?i)secret[ _]key[^\n]*: ");
    terminal.type_line(&purewl::secret_key());
    purewl.server.until(1);
    // Once for the wait, and once more to give it up.
    terminal.control('c');
    terminal.control('c');
    let (rest, code) = terminal.end();
    assert_eq!(code, 130, "{rest}");
    gate.open();
    assert_eq!(sandbox.secrets(), serde_json::Value::Null);
    assert!(!sandbox.config_file().exists());
    sandbox.run("status purewl").silent();
}

#[test]
fn waiting_for_a_host_is_said_after_a_second_and_only_on_a_terminal() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    for (term, is_live) in [("xterm", true), ("dumb", false)] {
        let (gate, count) = (purewl.server.hold(), purewl.server.count());
        let mut terminal = sandbox.tok(["get", "purewl", "--fresh"]).env("TERM", term).on_terminal();
        terminal.expect("waiting for 127.0.0.1");
        gate.open();
        let (rest, code) = terminal.end();
        assert_eq!(code, 0, "{rest}");
        // The line goes once the wait is over.
        assert_eq!(rest.contains("\x1b[K"), is_live, "{rest:?}");
        assert_eq!(purewl.server.count(), count + 1);
    }
    let gate = purewl.server.hold();
    let count = purewl.server.count();
    let mut running = sandbox.tok(["get", "purewl", "--fresh"]).spawn();
    purewl.server.until(count + 1);
    let begin = std::time::Instant::now();
    until("more than a second", || begin.elapsed().as_millis() > 1500 || running.ended());
    gate.open();
    running.wait().ok().silent();
}

#[test]
fn a_device_login_says_how_long_the_code_is_good() {
    let issuer = Issuer::start();
    issuer.script("/token", [Reply::json(400, json!({"error": "authorization_pending"}))]);
    let sandbox = issuer.sandbox();
    let mut terminal = sandbox.tok(["login", "oidc", "device"]).env("TERM", "xterm").on_terminal();
    terminal.expect_like("waiting for approval, [0-9]+m?[0-9]*s? left");
    let (rest, code) = terminal.end();
    assert!(code == 0 && rest.contains("next: tok get oidc"), "{rest}");
}

#[test]
fn an_interrupt_at_the_offer_of_a_file_or_at_another_account_changes_nothing() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE");
    let mut terminal = sandbox.tok(["login", "purewl"]).on_terminal();
    terminal.expect("[y/N]: ");
    terminal.control('c');
    assert_eq!(terminal.end().1, 130);
    assert_eq!(purewl.server.connections(), 0);
    assert!(!sandbox.config_file().exists() && sandbox.secrets().is_null());

    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let (secrets, config) = (sandbox.secrets(), std::fs::read(sandbox.config_file()).unwrap());
    let sent = apiax.server.count();
    let mut terminal = sandbox.tok(["login", "apiax", "password", "--username", "bob"]).on_terminal();
    terminal.expect_like("(?i)replace[^\n]*: ");
    terminal.control('c');
    assert_eq!(terminal.end().1, 130);
    assert_eq!((sandbox.secrets(), std::fs::read(sandbox.config_file()).unwrap()), (secrets, config));
    assert_eq!(apiax.server.count(), sent);
    sandbox.run("status apiax").ok();
}

#[test]
fn with_the_address_it_is_said_at_once_what_to_do_on_another_machine() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    // As over ssh: no display, no browser.
    let mut terminal = sandbox.tok(["login", "oidc", "browser", "--scope", "api"]).on_terminal();
    let screen = terminal.expect_like("(?i)then paste the address[^\n]*: ").replace('\r', "");
    let address = screen.lines().map(str::trim).find(|line| line.starts_with("http")).expect("an address");
    let visit = Visit::to(address);
    for words in ["no browser was opened", &visit.value("redirect_uri"), "on another machine"] {
        assert!(screen.replace('\n', " ").contains(words), "{words}: {screen}");
    }
    // A wrong one is asked for again, in the same wait.
    terminal.type_line(&visit.answer("code=x&state=wrong"));
    terminal.expect_like("(?i)paste[^\n]*: ");
    terminal.type_line(&visit.answer(&format!("code=x&state={}", visit.value("state"))));
    let (rest, code) = terminal.end();
    assert!(code == 0 && rest.contains("next: tok get oidc"), "{rest}");
}
