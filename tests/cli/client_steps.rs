//! A client that the first login registers by a step, and that expires.

use crate::support::issuer::Visit;
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, now};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const FILE: &str = r#"title = "Cloud"
[params.base_url]
default = "SERVER"
[params.client_id]
[params.client_secret]
secret = true
[params.client_expires]
[request]
encode = "json"
[grants.device-code]
flow = "device-code"
url = "{base_url}/token"
body = { id = "{client_id}", secret = "{client_secret}", code = "{device_code}" }
[[grants.device-code.steps]]
before = "begin"
url = "{base_url}/register"
keep = { client_id = "/id", client_secret = "/secret", client_expires = "/expires" }
until = "client_expires"
[grants.device-code.begin]
url = "{base_url}/device"
encode = "json"
body = { id = "{client_id}" }
[grants.refresh]
url = "{base_url}/token"
body = { id = "{client_id}", secret = "{client_secret}", token = "{refresh_token}" }
[refresh]
grant = "refresh"
"#;

/// Each registration is another client, which expires at the time that is next in `expires`.
fn cloud(expires: Vec<Value>) -> (Server, Sandbox) {
    let count = AtomicUsize::new(0);
    let server = Server::new(move |request| match request.path() {
        "/register" => {
            let n = count.fetch_add(1, Ordering::SeqCst);
            Reply::json(
                200,
                json!({"id": format!("cl-{n}"), "secret": format!("cs-{n}-{CANARY}"), "expires": expires[n]}),
            )
        }
        "/device" => Reply::json(
            200,
            json!({"device_code": "dc", "user_code": "U", "verification_uri": "https://a.example/d", "interval": 0}),
        ),
        _ => Reply::json(
            200,
            json!({"access_token": format!("at-{CANARY}"), "refresh_token": format!("rt-{CANARY}"), "expires_in": 600}),
        ),
    });
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("cloud", &FILE.replace("SERVER", &server.url()));
    (server, sandbox)
}

fn registered(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.path() == "/register").count()
}

/// The client of the last request.
fn client(server: &Server) -> (String, String) {
    let sent: Value = serde_json::from_slice(&server.last().body).unwrap();
    (sent["id"].as_str().unwrap().into(), sent["secret"].as_str().unwrap().into())
}

fn nth(n: usize) -> (String, String) {
    (format!("cl-{n}"), format!("cs-{n}-{CANARY}"))
}

#[test]
fn a_client_is_used_until_it_expires_and_then_registered_anew() {
    let (server, sandbox) = cloud(vec![json!(now() + 90 * 86_400), json!(0), json!(0)]);
    for _ in 0..2 {
        sandbox.run("login cloud").prints("");
        assert_eq!((registered(&server), client(&server)), (1, nth(0)));
    }
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    let line = config.lines().find(|line| line.starts_with("client_expires")).expect("it is remembered");
    sandbox.config(&config.replace(line, &format!("client_expires = \"{}\"", now() - 1)));
    // A renewal is the server's to refuse; the next login has another client.
    sandbox.run("get cloud --fresh").line();
    assert_eq!((registered(&server), client(&server)), (1, nth(0)));
    sandbox.run("login cloud").prints("");
    assert_eq!((registered(&server), client(&server)), (2, nth(1)));
    assert!(!sandbox.secrets().to_string().contains(&nth(0).1), "the old secret is gone");
    sandbox.run("get cloud --fresh").silent();
    assert_eq!(client(&server), nth(1));
    // 0 is for ever.
    assert!(std::fs::read_to_string(sandbox.config_file()).unwrap().contains("client_expires = \"0\""));
    sandbox.run("login cloud").prints("");
    assert_eq!((registered(&server), client(&server)), (2, nth(1)));
}

#[test]
fn a_client_without_an_end_stays_and_one_that_is_given_is_used() {
    let (server, sandbox) = cloud(vec![Value::Null, Value::Null]);
    sandbox.run("login cloud").prints("");
    sandbox.run("login cloud").prints("");
    assert_eq!(registered(&server), 1);
    // Whatever the config says of the end of another.
    let (server, sandbox) = cloud(vec![json!(0)]);
    sandbox.config("[profile.cloud]\nclient_expires = \"1\"\n");
    let secret = sandbox.file_arg("secret", format!("own-{CANARY}"));
    sandbox.run(&format!("login cloud --client-id own --client-secret-file {secret}")).prints("");
    assert_eq!((registered(&server), client(&server)), (0, ("own".into(), format!("own-{CANARY}"))));
}

#[test]
fn the_time_is_one_that_the_step_finds() {
    let sandbox = Sandbox::new();
    for (from, to) in [("until = \"client_expires\"", "until = \"base_url\""), ("before = \"begin\"\n", "")] {
        sandbox.provider("cloud", &FILE.replace("SERVER", "https://a.example").replace(from, to));
        sandbox.run("providers cloud").fails(3).says("`until` is the name of a value in `keep`");
    }
}

#[test]
fn a_server_that_registers_anybody_needs_no_client() {
    let server = Server::script([
        Reply::json(
            200,
            json!({"client_id": "cl-1", "client_secret": format!("cs-{CANARY}"), "client_secret_expires_at": 0}),
        ),
        Reply::json(200, json!({"access_token": format!("at-{CANARY}"), "token_type": "Bearer", "scope": "read"})),
    ]);
    let sandbox = Sandbox::with_file_store();
    let url = server.url();
    let mut terminal = sandbox.tok(["login", "mastodon", "--base-url", &url, "--no-browser"]).on_terminal();
    let screen = terminal.expect("paste the address").replace('\r', "");
    let visit =
        Visit::to(screen.split_whitespace().find(|word| word.contains("/oauth/authorize?")).expect("an address"));
    assert_eq!(visit.value("client_id"), "cl-1");
    let sent = server.last();
    assert_eq!((sent.path(), sent.field("client_name")), ("/api/v1/apps", "tok".into()));
    assert_eq!(sent.field("redirect_uris"), visit.value("redirect_uri"));
    terminal.type_line(&visit.answer(&format!("code=x&state={}", visit.value("state"))));
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    assert_eq!(server.last().field("client_secret"), format!("cs-{CANARY}"));
    assert_eq!(sandbox.run("get mastodon").silent().line(), format!("at-{CANARY}"));
}
