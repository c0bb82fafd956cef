//! A second login at a profile with another account replaces nothing without being told to.

use crate::support::apiax::{self, Apiax};
use crate::support::issuer::Issuer;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Sandbox, plain_provider};
use serde_json::json;

const LOGIN: &str = "login oidc device-code";

/// A server that takes any client, and a home where the first has logged in by flags.
fn two_clients() -> (Server, Sandbox) {
    let server = Server::new(|request: &Received| match request.path() {
        "/token" => {
            let client = request.field("client_id");
            Reply::json(
                200,
                json!({"access_token": format!("at-{CANARY}-{client}"), "expires_in": 600,
                       "refresh_token": format!("rt-{CANARY}-{client}")}),
            )
        }
        _ => Reply::text(200, ""),
    });
    let sandbox = Sandbox::with_file_config("");
    let more = "[revoke]\nurl = \"{base_url}/revoke\"\nbody = { token = \"{refresh_token|access_token}\" }\n";
    sandbox.provider("plain", &plain_provider(&server.url(), more));
    login(&sandbox, &["--client-id", "one"]).prints("");
    (server, sandbox)
}

fn login(sandbox: &Sandbox, more: &[&str]) -> crate::support::Output {
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).args(more).run()
}

fn revoked(server: &Server) -> Vec<String> {
    let requests = server.requests().into_iter().filter(|r| r.path() == "/revoke");
    requests.map(|r| r.field("token")).collect()
}

#[test]
fn a_login_of_another_user_is_4_and_nothing_is_sent_or_changed() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let (before, sent) = (sandbox.files(), apiax.server.count());
    let password = sandbox.file_arg("password", apiax::password());
    let line = ["login", "apiax", "password", "--username", "somebody-else", "--password-file", &password];
    let out = sandbox.tok(line).run().fails(4).says("username").says("somebody-else").says(apiax::USERNAME);
    out.hints_at("--as NAME").hints_at("--replace");
    assert_eq!(apiax.server.count(), sent);
    let after = sandbox.files();
    let changed: Vec<_> = after.iter().filter(|(name, text)| before.get(*name) != Some(*text)).collect();
    assert!(changed.iter().all(|(name, _)| name.extension().is_some_and(|e| e == "lock")), "{changed:?}");
}

#[test]
fn a_login_of_another_client_or_elsewhere_is_4_and_the_same_written_otherwise_is_none() {
    let (server, sandbox) = two_clients();
    let sent = server.count();
    login(&sandbox, &["--client-id", "two"]).fails(4).says("client_id").says("nothing was sent");
    let away = Server::issuing(600);
    login(&sandbox, &["--base-url", &away.url()]).fails(4).says("base_url").says(&away.url());
    login(&sandbox, &["--base-url", &format!("{}/tenant", server.url())]).fails(4).says("base_url");
    assert_eq!((server.count(), away.connections()), (sent, 0));
    login(&sandbox, &["--base-url", &format!("{}/", server.url())]).prints("");
    login(&sandbox, &["--client-id", "one"]).prints("");
}

#[test]
fn the_hint_replaces_and_the_old_session_is_revoked() {
    let (server, sandbox) = two_clients();
    let out = login(&sandbox, &["--client-id", "two"]).fails(4);
    let hint = out.stderr.lines().find_map(|line| line.split_once("tok login ")).expect("a command").1.to_string();
    sandbox.run(&format!("login {hint}")).prints("");
    assert_eq!(sandbox.secrets()["plain"]["refresh_token"], format!("rt-{CANARY}-two"));
    assert_eq!(revoked(&server), [format!("rt-{CANARY}-one"), format!("at-{CANARY}-one")]);
    assert_eq!(sandbox.run("get plain").silent().line(), format!("at-{CANARY}-two"));
    // That it worked is no reason to be silent about what could not be revoked.
    server.next(Reply::token(&format!("at-{CANARY}-x"), 600)).next(Reply::json(400, json!({"error": "no"})));
    login(&sandbox, &["--client-id", "one", "--replace"]).ok().says("not revoked");
}

#[test]
fn as_keeps_both() {
    let (_server, sandbox) = two_clients();
    login(&sandbox, &["--client-id", "two", "--as", "other"]).prints("");
    let kept = sandbox.secrets();
    assert_eq!(kept["plain"]["refresh_token"], format!("rt-{CANARY}-one"));
    assert_eq!(kept["other"]["refresh_token"], format!("rt-{CANARY}-two"));
}

#[test]
fn on_a_terminal_a_person_is_asked_what_becomes_of_the_old_account() {
    let question = "(?i)replace[^\n]*: ";
    let kept = |sandbox: &Sandbox, name: &str| sandbox.secrets()[name]["refresh_token"].clone();
    for (answer, code) in [("c", 4), ("r", 0), ("k", 0)] {
        let (_server, sandbox) = two_clients();
        let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
        let line = ["login", "plain", "--client-id", "two", "--client-secret-file", &secret];
        let mut terminal = sandbox.tok(line).on_terminal();
        terminal.expect("client_id");
        terminal.expect_like(question);
        terminal.type_line(answer);
        if answer == "k" {
            terminal.expect_like("(?i)name[^\n]*: ");
            terminal.type_line("second");
        }
        let (rest, ended) = terminal.end();
        assert_eq!(ended, code, "{answer}: {rest}");
        let plain = if answer == "r" { "two" } else { "one" };
        assert_eq!(kept(&sandbox, "plain"), format!("rt-{CANARY}-{plain}"), "{answer}");
        if answer == "k" {
            assert_eq!(kept(&sandbox, "second"), format!("rt-{CANARY}-two"));
            sandbox.run("get second").silent().line();
        }
    }
}

#[test]
fn another_subject_is_known_by_the_reply_its_session_is_revoked_and_nothing_is_kept() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    sandbox.run(LOGIN).prints("");
    let before = sandbox.secrets();
    issuer.state(|s| s.claims = json!({"sub": "mallory"}));
    let out = sandbox.run(LOGIN).fails(4).says("alice").says("mallory").says("the new session was revoked");
    out.hints_at("--as NAME").hints_at("--replace");
    let tokens: Vec<String> = issuer.asked("/revoke").iter().map(|r| r.field("token")).collect();
    assert_eq!(tokens, [format!("rt-{CANARY}-2"), format!("at-{CANARY}-2")]);
    assert_eq!(sandbox.secrets(), before);
    assert_eq!(sandbox.run("get oidc").silent().line(), format!("at-{CANARY}-1"));
    issuer.script("/revoke", (0..2).map(|_| Reply::json(400, json!({"error": "no"}))));
    sandbox.run(LOGIN).fails(4).says("not revoked");
    sandbox.run(&format!("{LOGIN} --replace")).prints("");
    assert_eq!(sandbox.secrets()["oidc"]["subject"], "mallory");
}

#[test]
fn a_value_whose_source_was_never_kept_contradicts_nothing() {
    let apiax = Apiax::start();
    apiax.state(|s| s.alive.insert(format!("rt-{CANARY}-own"), None));
    let sandbox = apiax.sandbox();
    let own = sandbox.file_arg("own", format!("rt-{CANARY}-own"));
    sandbox.tok(["login", "apiax", "refresh", "--refresh-token-file", &own]).run().prints("");
    // Whose that one is nobody has said.
    apiax::login(&sandbox);
    // The place was in the environment alone.
    let other = Apiax::start();
    let password = sandbox.file_arg("password", apiax::password());
    let line = ["login", "apiax", "password", "--password-file", &password];
    sandbox.tok(line).env("TOK_APIAX_BASE_URL", other.server.url()).run().prints("");
}

#[test]
fn a_password_that_was_kept_for_one_user_is_not_sent_for_another() {
    let apiax = Apiax::start();
    let sandbox = apiax.sandbox();
    let password = sandbox.file_arg("password", apiax::password());
    let line = ["login", "apiax", "password", "--username", apiax::USERNAME, "--password-file", &password, "--keep"];
    sandbox.tok(line).run().prints("");
    let sent = apiax.server.count();
    sandbox.run("login apiax password --username somebody-else --replace").fails(4).says("apiax needs password");
    assert_eq!(apiax.server.count(), sent);
}

#[test]
fn a_login_whose_config_cannot_be_written_sends_nothing_not_even_for_metadata() {
    let issuer = Issuer::start();
    let sandbox = issuer.sandbox();
    // Not a folder: nobody can write below it, not even root.
    crate::support::put(&sandbox.home().join("file"), b"");
    let config = sandbox.home().join("file/config.toml");
    sandbox.run(&format!("{LOGIN} --client-id x --config {}", config.display())).fails_with_one_of(&[1, 3]);
    assert_eq!(issuer.server.connections(), 0);
}

#[test]
fn on_a_terminal_a_login_asks_for_the_secret_and_enter_keeps_the_kept_one() {
    let purewl = PureWl::start();
    let sandbox = purewl.logged_in();
    let login = |typed: &str| {
        let mut terminal = sandbox.tok(["login", "purewl", "secret"]).on_terminal();
        terminal.expect_like("(?i)secret[ _]key[^\n]*keeps[^\n]*: ");
        terminal.type_line(typed);
        let (rest, code) = terminal.end();
        assert!(!rest.contains(CANARY), "{rest}");
        code
    };
    assert_eq!(login(""), 0);
    assert_eq!(purewl.server.last().field("secretKey"), purewl::secret_key());
    // The key was rotated: the new one is kept in the place of the old.
    let new = format!("new-{CANARY}");
    purewl.state(|s| s.secret_keys = vec![new.clone()]);
    assert_eq!(login(""), 5);
    assert_eq!(login(&new), 0);
    assert_eq!(sandbox.secrets()["purewl"]["secrets"]["secret_key"], new);
}
