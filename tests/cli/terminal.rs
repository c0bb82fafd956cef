//! On a terminal: a login asks for what is missing, secrets without echo; nothing else asks anything.

use crate::support::apiax::{self, Apiax};
use crate::support::purewl::{self, PureWl};
use crate::support::xcover::{self, XCover};
use crate::support::{CANARY, Sandbox, until};

#[test]
fn login_asks_for_a_secret_without_echo_and_confirms() {
    let purewl = PureWl::start();
    purewl.state(|s| s.secret_keys.push(format!("typed-{CANARY}")));
    let sandbox = purewl.sandbox();
    let mut terminal = sandbox.tok(["login", "purewl", "secret"]).on_terminal();
    let mut screen = terminal.expect_like("(?i)secret[ _]key[^\n]*:");
    terminal.type_line(&format!("typed-{CANARY}"));
    let (rest, code) = terminal.end();
    screen.push_str(&rest);
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains(CANARY), "it is not echoed: {screen}");
    assert!(rest.contains("purewl"), "a line confirms: {rest}");
    assert_eq!(purewl.state(|s| s.issued), 1);
    sandbox.run("get purewl").silent().line();
}

#[test]
fn a_secret_is_hidden_before_it_is_asked_for() {
    let purewl = PureWl::start();
    purewl.state(|s| s.secret_keys.push(format!("typed-{CANARY}")));
    let sandbox = purewl.sandbox();
    // The screen is stopped, so that the question cannot be shown yet.
    let mut terminal = sandbox.tok(["login", "purewl", "secret"]).after("echo ready; read go").on_terminal();
    terminal.expect("ready");
    terminal.control('s');
    terminal.type_line("go");
    until("what is typed is hidden", || !terminal.echoes());
    terminal.type_line(&format!("typed-{CANARY}"));
    terminal.control('q');
    let (screen, code) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("secret") && !screen.contains(CANARY), "it is not echoed: {screen}");
}

#[test]
fn login_asks_for_plain_values_with_echo_and_for_personal_secrets_without() {
    let apiax = Apiax::start();
    let sandbox = apiax.sandbox();
    let mut terminal = sandbox.tok(["login", "apiax", "password"]).on_terminal();
    terminal.expect_like("(?i)user ?_?name[^\n]*:");
    terminal.type_line(apiax::USERNAME);
    let between = terminal.expect_like("(?i)password[^\n]*:");
    assert!(between.contains(apiax::USERNAME), "a plain value is seen: {between}");
    terminal.type_line(&apiax::password());
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    assert!(!rest.contains(CANARY), "{rest}");
    sandbox.run("get apiax").silent().line();
}

#[test]
fn a_login_refresh_asks_for_the_refresh_token_without_echo() {
    let apiax = Apiax::start();
    apiax.state(|s| s.alive.insert(format!("rt-{CANARY}-typed"), None));
    let sandbox = apiax.sandbox();
    let mut terminal = sandbox.tok(["login", "apiax", "refresh"]).on_terminal();
    terminal.expect_like("(?i)refresh[ _]token[^\n]*:");
    terminal.type_line(&format!("rt-{CANARY}-typed"));
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    assert!(!rest.contains(CANARY), "{rest}");
}

#[test]
fn a_value_of_the_environment_is_not_asked_for() {
    let xcover = XCover::start();
    let sandbox = xcover.sandbox();
    let mut terminal = sandbox
        .tok(["login", "xcover", "--client-id", xcover::CLIENT_ID])
        .env("TOK_XCOVER_CLIENT_SECRET", xcover::client_secret())
        .on_terminal();
    terminal.expect("xcover");
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
}

#[test]
fn an_empty_answer_is_no_secret() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let mut terminal = sandbox.tok(["login", "purewl", "secret"]).on_terminal();
    terminal.expect_like("(?i)secret[ _]key[^\n]*:");
    terminal.type_line("");
    // It may ask again: then the end of input is an end.
    terminal.control('d');
    let (rest, code) = terminal.end();
    assert_ne!(code, 0, "{rest}");
    assert_eq!(purewl.server.connections(), 0);
}

#[test]
fn no_input_asks_nothing_even_on_a_terminal() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let mut terminal = sandbox.tok(["login", "purewl", "secret", "--no-input"]).on_terminal();
    terminal.expect("TOK_PUREWL_SECRET_KEY");
    let (rest, code) = terminal.end();
    assert_eq!(code, 4, "{rest}");
}

#[test]
fn get_never_asks_even_on_a_terminal() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let mut terminal = sandbox.tok(["get", "purewl"]).on_terminal();
    terminal.expect("tok login purewl");
    let (rest, code) = terminal.end();
    assert_eq!(code, 4, "{rest}");
}

#[test]
fn a_prompt_is_not_on_stdout() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let file = sandbox.work().join("out");
    let redirect = format!("exec > '{}'", file.display());
    let mut terminal = sandbox.tok(["login", "purewl", "secret"]).after(&redirect).on_terminal();
    terminal.expect_like("(?i)secret[ _]key[^\n]*:");
    terminal.type_line(&purewl::secret_key());
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "");
}

#[test]
fn an_interrupt_at_the_prompt_ends_with_130_and_gives_the_echo_back() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    // A shell around it shows the terminal's state afterwards.
    let script =
        format!("trap : INT; '{}' login purewl secret; echo \"status=$?\"; stty -a; exit 7", env!("CARGO_BIN_EXE_tok"));
    let mut terminal = sandbox.tok(["-V"]).after(&script).on_terminal();
    terminal.expect_like("(?i)secret[ _]key[^\n]*:");
    terminal.control('c');
    terminal.expect("status=130");
    let (rest, _) = terminal.end();
    assert!(rest.contains(" echo ") && !rest.contains("-echo "), "the terminal echoes again: {rest}");
    assert_eq!(purewl.server.connections(), 0);
}

#[test]
fn with_stderr_no_terminal_nothing_is_asked() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let file = sandbox.work().join("err");
    let redirect = format!("exec 2> '{}'", file.display());
    let terminal = sandbox.tok(["login", "purewl", "secret"]).after(&redirect).on_terminal();
    let (rest, code) = terminal.end();
    assert_eq!(code, 4, "{rest}");
    assert!(std::fs::read_to_string(file).unwrap().contains("TOK_PUREWL_SECRET_KEY"));
}

#[test]
fn an_answer_on_a_terminal_is_the_same_bytes() {
    let purewl = PureWl::start();
    let sandbox: Sandbox = purewl.logged_in();
    let token = sandbox.run("get purewl").line();
    let (screen, code) = sandbox.tok(["get", "purewl"]).on_terminal().end();
    assert_eq!((code, screen.trim_end()), (0, token.as_str()));
}

#[test]
fn a_second_login_asks_although_a_secret_is_kept() {
    // A person who logs in anew wants to say something new, unless what is kept is offered; either way it ends well.
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let mut terminal = sandbox.tok(["login", "purewl", "secret"]).on_terminal();
    let shown = terminal.expect_like("(?i)(secret[ _]key[^\n]*:|purewl[^\n]*\n)");
    if !shown.contains('\n') {
        terminal.type_line(&purewl::secret_key());
    }
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{shown}{rest}");
}

#[test]
fn stdin_for_a_secret_is_asked_for_without_echo_where_it_is_a_terminal() {
    let server = crate::support::server::Server::issuing(600);
    let mut sandbox = crate::support::plain(&server.url());
    sandbox.unset("TOK_PLAIN_CLIENT_SECRET");
    for (n, verb) in ["login", "get"].into_iter().enumerate() {
        let mut args = vec![verb, "plain", "--client-secret-file", "-"];
        if verb == "get" {
            args.push("--no-store");
        }
        let mut terminal = sandbox.tok(args).on_terminal();
        let mut screen = terminal.expect_like("(?i)client_secret: ");
        terminal.type_line(&format!("typed-{CANARY}"));
        let (rest, code) = terminal.end();
        screen.push_str(&rest);
        assert_eq!(code, 0, "{screen}");
        assert!(!screen.contains("typed-"), "it is not echoed: {screen}");
        assert_eq!(server.count(), n + 1);
        assert_eq!(server.last().field("client_secret"), format!("typed-{CANARY}"));
    }
    let mut terminal = sandbox.tok(["login", "plain", "--client-secret-file", "-"]).on_terminal();
    terminal.expect_like("(?i)client_secret: ");
    terminal.type_line("");
    let (rest, code) = terminal.end();
    assert!(code == 2 && rest.contains("nothing was typed"), "{code}: {rest}");
}

#[test]
fn help_and_tables_wrap_at_words() {
    let sandbox = Sandbox::with_file_store();
    for columns in [40, 50, 80] {
        for line in ["--help", "get --help", "login purewl --help", "providers", "providers purewl"] {
            let out = sandbox.tok(line.split(' ')).env("COLUMNS", columns.to_string()).run().ok();
            for line in out.stdout.lines() {
                // A usage line is typed as it stands; a word is never broken.
                let words = line.trim_start_matches(' ').split(' ').filter(|word| !word.is_empty()).count();
                let is_whole = line.starts_with("Usage:") || words < 2 || line.contains("://");
                assert!(line.chars().count() <= columns || is_whole, "{columns}: {line}");
            }
        }
    }
    // Not for a person: one row, one line.
    let rows = sandbox.run("providers").ok();
    assert!(rows.stdout.lines().any(|row| row.starts_with("purewl ") && row.contains("built in")), "{rows}");
}

#[test]
fn help_is_coloured_where_a_person_looks() {
    let sandbox = Sandbox::with_file_store();
    let on_terminal = |args: &[&str], variable: (&str, &str)| {
        let (screen, code) = sandbox.tok(args.iter().copied()).env(variable.0, variable.1).on_terminal().end();
        assert_eq!(code, 0, "{screen}");
        screen.contains('\u{1b}')
    };
    assert!(on_terminal(&["get", "--help"], ("TERM", "xterm")));
    assert!(!on_terminal(&["get", "--help"], ("NO_COLOR", "1")));
    assert!(!on_terminal(&["get", "--help"], ("TERM", "dumb")));
    assert!(!on_terminal(&["--color", "never", "get", "--help"], ("TERM", "xterm")));
    let piped = |line: &str| sandbox.run(line).ok().stdout.contains('\u{1b}');
    assert!(!piped("get --help") && piped("get --help --color always"));
}
