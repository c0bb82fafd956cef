//! Scopes in more than one list: each is sent where the file has it, and a token belongs to all of them.

use crate::support::issuer::Visit;
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox};
use serde_json::json;

/// Logs in without a browser; the address that the login leads to.
fn log_in(sandbox: &Sandbox, line: &str) -> Visit {
    let mut terminal = sandbox.tok(line.split_whitespace()).on_terminal();
    let screen = terminal.expect("paste the address").replace('\r', "");
    let visit = Visit::to(screen.split_whitespace().find(|word| word.contains("state=")).expect("an address"));
    terminal.type_line(&visit.answer(&format!("code=x&state={}", visit.value("state"))));
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    visit
}

fn with_server(name: &str, server: &Server) -> Sandbox {
    let sandbox = Sandbox::with_file_store();
    let url = server.url();
    sandbox.config(&format!("[profile.{name}]\ntoken_url = \"{url}/token\"\nauthorize_url = \"{url}/authorize\"\n"));
    sandbox
}

#[test]
fn a_users_scopes_beside_the_bots() {
    let user = json!({"access_token": format!("at-1-{CANARY}"), "refresh_token": format!("rt-1-{CANARY}"),
        "token_type": "user", "expires_in": 43200, "scope": "chat:write,users:read"});
    let server = Server::script([Reply::json(200, json!({"ok": true, "authed_user": user}))]);
    let sandbox = with_server("slack", &server);
    let line = "login slack --client-id c --no-browser --user-scope users:read --user-scope chat:write";
    let visit = log_in(&sandbox, line);
    assert_eq!(visit.value("user_scope"), "users:read,chat:write");
    assert!(visit.values("scope").is_empty());
    assert_eq!(visit.value("redirect_uri"), "http://localhost:28650/callback");
    let token = format!("at-1-{CANARY}");
    assert_eq!(sandbox.run("get slack").silent().line(), token);
    // Their order does not matter.
    let same = "get slack --user-scope chat:write --user-scope users:read";
    assert_eq!(sandbox.run(same).silent().line(), token);
    // Others are another token's, and its refresh cannot ask for them.
    sandbox.run("get slack --user-scope chat:write").fails(4).says("user_scope").hints_at("tok login slack");
    sandbox.run("get slack --scope commands").fails(4).says("scope").hints_at("tok login slack");
    assert_eq!(server.count(), 1);
    server.next(Reply::json(200, json!({"ok": true, "access_token": format!("at-2-{CANARY}"), "expires_in": 43200})));
    assert_eq!(sandbox.run("get slack --fresh").silent().line(), format!("at-2-{CANARY}"));
    assert!(!server.last().has_field("user_scope"));
}

#[test]
fn scopes_that_an_account_may_lack() {
    let server = Server::script([Reply::token("at-1", 1800)]);
    let sandbox = with_server("hubspot", &server);
    let secret = sandbox.file_arg("secret", format!("s-{CANARY}"));
    let line = format!(
        "login hubspot --client-id c --client-secret-file {secret} --no-browser --optional-scope content --optional-scope tickets"
    );
    let visit = log_in(&sandbox, &line);
    assert_eq!((visit.value("scope"), visit.value("optional_scope")), ("oauth".into(), "content tickets".into()));
}

/// A file whose refresh names the list asks for another one; a session for a list of one call alone is not kept.
#[test]
fn a_refresh_asks_for_a_list_that_its_request_has() {
    let server = Server::script([]);
    let mut sandbox = Sandbox::with_file_store();
    let file = format!(
        "title = \"Shop\"\n[params.base_url]\ndefault = \"{}\"\n[params.key]\nsecret = true\n[params.area]\nlist = true\n\
         separator = \"+\"\n[grants.key]\nurl = \"{{base_url}}/t\"\nbody = {{ key = \"{{key}}\", area = \"{{area?}}\" }}\n\
         [grants.refresh]\nurl = \"{{base_url}}/t\"\nbody = {{ refresh_token = \"{{refresh_token}}\", area = \"{{area?}}\" }}\n\
         [refresh]\ngrant = \"refresh\"\n",
        server.url()
    );
    sandbox.provider("shop", &file);
    sandbox.set("TOK_SHOP_KEY", format!("k-{CANARY}"));
    let issue = |n: u8| {
        Reply::json(
            200,
            json!({"access_token": format!("at-{n}-{CANARY}"), "refresh_token": format!("rt-{n}-{CANARY}"), "expires_in": 3600}),
        )
    };
    server.next(issue(1));
    sandbox.run("get shop --area north").silent();
    assert!(!sandbox.secrets_file().exists(), "a session for one call's list is not kept");
    server.next(issue(2));
    sandbox.run("login shop --area north --area south").prints("");
    assert_eq!(server.last().field("area"), "north+south");
    assert_eq!(sandbox.run("get shop").silent().line(), format!("at-2-{CANARY}"));
    server.next(issue(3));
    assert_eq!(sandbox.run("get shop --area west").silent().line(), format!("at-3-{CANARY}"));
    assert_eq!(
        (server.last().field("area"), server.last().field("refresh_token")),
        ("west".into(), format!("rt-2-{CANARY}"))
    );
    // The token of the other list still answers for it.
    assert_eq!(sandbox.run("get shop").silent().line(), format!("at-2-{CANARY}"));
    server.next(issue(4));
    sandbox.run("get shop --fresh").silent();
    assert_eq!(server.last().field("area"), "north+south");
}
