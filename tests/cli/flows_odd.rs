//! Logins that differ from the standards, as provider files describe them: against servers of those shapes.

use crate::support::issuer::{Browser, Visit};
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Sandbox};
use serde_json::json;

/// A sandbox whose provider `odd` is this file, with `{url}` of the server in it.
fn odd(server: &Server, file: &str) -> Sandbox {
    let sandbox = Sandbox::with_file_store();
    let file = file.replace("SERVER", &server.url());
    sandbox.provider("odd", &format!("title = \"Odd\"\n[params.base_url]\ndefault = \"{}\"\n{file}", server.url()));
    sandbox
}

fn token() -> String {
    format!("at-{CANARY}")
}

/// Camel case in JSON, and PKCE, as AWS and BMW have it: names of the first reply, answers as the standard's.
const CAMEL: &str = r#"
[params.client_id]
default = "cli"
[request]
encode = "json"
[grants.device-code]
flow = "device-code"
url = "{base_url}/token"
body = { clientId = "{client_id}", deviceCode = "{device_code}", codeVerifier = "{code_verifier}" }
[grants.device-code.begin]
url = "{base_url}/device"
encode = "json"
body = { clientId = "{client_id}", codeChallenge = "{code_challenge}" }
[grants.device-code.device]
device_code = "/deviceCode"
user_code = "/userCode"
verification_uri = "/verificationUri"
verification_uri_complete = "/verificationUriComplete"
interval = "/interval"
expires = [{ at = "/expiresIn" }]
[grants.device-code.response]
access_token = "/accessToken"
expires = [{ at = "/expiresIn" }]
"#;

#[test]
fn the_first_reply_of_a_device_flow_has_names_of_its_own() {
    let server = Server::script([
        Reply::json(
            200,
            json!({"deviceCode": format!("dc-{CANARY}"), "userCode": "WDJB-MJHT", "interval": 1, "expiresIn": 600,
            "verificationUri": "https://id.example/d", "verificationUriComplete": "https://id.example/d?c=WDJB-MJHT"}),
        ),
        Reply::json(400, json!({"error": "authorization_pending"})),
        Reply::json(200, json!({"accessToken": token(), "expiresIn": 600})),
    ]);
    let sandbox = odd(&server, CAMEL);
    let out = sandbox.run("login odd device-code").prints("");
    for text in ["open https://id.example/d", "enter the code WDJB-MJHT", "https://id.example/d?c=WDJB-MJHT"] {
        assert!(out.stderr.contains(text), "{text}: {out}");
    }
    let sent: Vec<serde_json::Value> =
        server.requests().iter().map(|r| serde_json::from_slice(&r.body).expect("JSON")).collect();
    assert_eq!(sent.len(), 3);
    let challenge = sent[0]["codeChallenge"].as_str().expect("a challenge");
    let verifier = sent[1]["codeVerifier"].as_str().expect("a verifier");
    assert_eq!(sent[1], sent[2]);
    assert_eq!(sent[1]["deviceCode"], format!("dc-{CANARY}"));
    assert_eq!((challenge.len(), verifier.len()), (43, 43));
    assert_ne!(challenge, verifier);
    sandbox.run("get odd").silent().line();
    assert_eq!(sandbox.files_with(&format!("dc-{CANARY}")), Vec::<std::path::PathBuf>::new());
}

/// A poll by GET at an address with the code, a page that the file names, no code but for the page, and answers in a
/// 200, as Simkl and Netlify have it.
const PIN: &str = r#"
[grants.pin]
flow = "device-code"
url = "{base_url}/pin/{user_code}"
method = "GET"
encode = "none"
query = { ticket = "{ticket}" }
[grants.pin.begin]
url = "{base_url}/pin"
method = "GET"
encode = "none"
[grants.pin.device]
device_code = []
verification_uri = []
page = "{base_url}/activate?ticket={ticket}"
keep = { ticket = "/id" }
pending = [{ at = "/result", in = ["KO"] }]
denied = [{ at = "/result", in = ["NO"] }]
[grants.pin.response]
lifetime = "unlimited"
"#;

fn pin() -> Reply {
    Reply::json(200, json!({"id": 4711, "user_code": "AB 12", "interval": 1}))
}

#[test]
fn a_poll_may_be_a_get_and_its_answers_whatever_the_file_says() {
    let server = Server::script([
        pin(),
        Reply::json(200, json!({"result": "KO", "message": "pending"})),
        Reply::json(200, json!({"result": "OK", "access_token": token()})),
    ]);
    let sandbox = odd(&server, PIN);
    let out = sandbox.run("login odd pin").prints("");
    let page = format!("open {}/activate?ticket=4711 and enter the code AB 12", server.url());
    assert!(out.stderr.contains(&page), "{out}");
    let targets: Vec<String> = server.requests().into_iter().map(|r| format!("{} {}", r.method, r.target)).collect();
    assert_eq!(targets, ["GET /pin", "GET /pin/AB%2012?ticket=4711", "GET /pin/AB%2012?ticket=4711"]);
    assert_eq!(sandbox.run("get odd").silent().line(), token());
}

#[test]
fn a_refusal_in_a_200_ends_the_polls() {
    let server = Server::script([pin(), Reply::json(200, json!({"result": "NO"}))]);
    let sandbox = odd(&server, PIN);
    sandbox.run("login odd pin").fails(5).says("the person refused").hints();
    assert_eq!(server.count(), 2);
    sandbox.assert_nothing_kept();
}

#[test]
fn a_reply_without_what_the_file_keeps_is_told() {
    let server = Server::script([Reply::json(200, json!({"user_code": "AB12"}))]);
    let sandbox = odd(&server, PIN);
    sandbox.run("login odd pin").fails(8).says("no ticket at /id; the reply has /user_code").hints();
}

/// Statuses alone, as Trakt has it; a poll address that the reply names, as Nextcloud has it.
const STATUS: &str = r#"
[grants.browserless]
flow = "device-code"
url = "{poll}"
body = { token = "{poll_token}" }
[grants.browserless.begin]
url = "{base_url}/login/v2"
encode = "none"
[grants.browserless.device]
device_code = []
user_code = []
verification_uri = "/login"
keep = { poll = "/poll/endpoint", poll_token = "/poll/token" }
pending = [{ status = [404] }]
slow_down = [{ status = [429] }]
denied = [{ status = [418] }]
expired = [{ status = [410] }]
[grants.browserless.response]
access_token = "/appPassword"
lifetime = "unlimited"
"#;

fn browserless(poll: &str) -> Reply {
    let poll = json!({"token": format!("pt-{CANARY}"), "endpoint": poll});
    Reply::json(200, json!({"poll": poll, "login": "https://cloud.example/flow/x", "interval": 1}))
}

fn server(poll: impl Fn(&Received) -> String + Send + Sync + 'static, answers: Vec<Reply>) -> Server {
    let answers = std::sync::Mutex::new(answers.into_iter());
    Server::new(move |request| match request.path() {
        "/login/v2" => browserless(&poll(request)),
        _ => answers.lock().unwrap().next().unwrap_or_else(|| Reply::json(500, json!({}))),
    })
}

fn own(request: &Received) -> String {
    format!("http://{}/poll", request.header("host").expect("a host"))
}

#[test]
fn statuses_alone_answer_a_poll_at_the_address_that_the_reply_names() {
    let done = Reply::json(200, json!({"appPassword": token()}));
    let server = server(own, vec![Reply::json(404, json!([])), done]);
    let sandbox = odd(&server, STATUS);
    let out = sandbox.run("login odd browserless").prints("");
    assert!(out.stderr.contains("To log in, open https://cloud.example/flow/x\n"), "{out}");
    let asked = server.requests();
    assert_eq!(asked.iter().map(|r| r.path()).collect::<Vec<_>>(), ["/login/v2", "/poll", "/poll"]);
    assert_eq!(asked[2].field("token"), format!("pt-{CANARY}"));
    assert_eq!(sandbox.run("get odd").silent().line(), token());
    for (status, says) in [(418, "the person refused"), (410, "nobody logged in while the code was good")] {
        let server = self::server(own, vec![Reply::text(status, "")]);
        let sandbox = odd(&server, STATUS);
        sandbox.run("login odd browserless").fails(5).says(says).hints();
    }
}

#[test]
fn an_address_of_somebody_else_is_not_asked() {
    let other = Server::always(Reply::json(200, json!({"appPassword": token()})));
    let url = other.url();
    let server = server(move |_| format!("{url}/poll"), Vec::new());
    let sandbox = odd(&server, STATUS);
    let says = format!("its poll is at {}, which the provider file does not name", other.url());
    sandbox.run("login odd browserless").fails(8).says(&says).hints();
    assert_eq!(other.count(), 0);
    sandbox.assert_nothing_kept();
}

/// A redirect with more than a code, as Intuit, Zoho and pCloud have it: a value that is remembered, the host of the
/// token request and of all that follow.
const BACK: &str = r#"
[params.client_id]
default = "cli"
[params.accounts_url]
default = "https://accounts.zoho.example"
[params.realm_id]
help = "Company"
[grants.authorization-code]
flow = "authorization-code"
url = "{accounts_url}/token"
body = { grant_type = "authorization_code", code = "{code}", realm = "{realm_id}" }
[grants.authorization-code.begin]
url = "{base_url}/authorize"
query = { response_type = "code", client_id = "{client_id}", state = "{state}", redirect_uri = "{redirect_uri}" }
[grants.authorization-code.redirect]
code = ["auth_code", "code"]
keep = { realm_id = "realmId", accounts_url = { at = "accounts-server", as = "url" } }
[grants.refresh]
url = "{accounts_url}/token"
body = { grant_type = "refresh_token", refresh_token = "{refresh_token}", realm = "{realm_id}" }
[refresh]
grant = "refresh"
[use]
value = "Bearer {access_token}"
"#;

/// A login in a browser that is under way.
fn in_browser(server: &Server, file: &str) -> (Sandbox, crate::support::Running, Visit) {
    // A home of its own for the provider, before the browser is set.
    let mut sandbox = odd(server, file);
    let browser = Browser::of(&mut sandbox);
    let running = sandbox.tok(["login", "odd", "authorization-code"]).spawn();
    let visit = browser.visit();
    (sandbox, running, visit)
}

#[test]
fn a_redirect_brings_values_that_are_remembered() {
    let reply = |n: u8| json!({"access_token": format!("{}-{n}", token()), "refresh_token": format!("rt-{CANARY}-{n}"), "expires_in": 600});
    let server = Server::script([Reply::json(200, reply(1)), Reply::json(200, reply(2))]);
    let (sandbox, running, visit) = in_browser(&server, BACK);
    let state = visit.value("state");
    let back = format!(
        "auth_code=ac-{CANARY}&realmId=4711%26x&accounts-server={}&state={state}",
        server.url().replace(':', "%3A")
    );
    visit.come_back(&back);
    running.wait().prints("");
    let sent = server.last();
    assert_eq!(
        (sent.path(), sent.field("code"), sent.field("realm")),
        ("/token", format!("ac-{CANARY}"), "4711&x".into())
    );
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(
        config.contains("realm_id = \"4711&x\"") && config.contains(&format!("accounts_url = \"{}\"", server.url())),
        "{config}"
    );
    let extra = |out: serde_json::Value| out["extra"]["realm_id"].clone();
    assert_eq!(extra(sandbox.run("get odd --json").json()), "4711&x");
    assert_eq!(extra(sandbox.run("get odd --json --fresh").json()), "4711&x");
    assert_eq!(server.last().field("realm"), "4711&x");
    assert_eq!(server.count(), 2);
}

#[test]
fn what_a_redirect_brings_may_be_used_with_the_token() {
    let server = Server::always(Reply::json(200, json!({"access_token": token(), "expires_in": 600})));
    let file = format!("{BACK}headers = {{ X-Company = \"{{realm_id}}\" }}\n");
    let (sandbox, running, visit) = in_browser(&server, &file);
    let accounts = server.url().replace(':', "%3A");
    visit.come_back(&format!("code=c&realmId=4711&accounts-server={accounts}&state={}", visit.value("state")));
    running.wait().prints("");
    assert!(sandbox.run("header odd").ok().stdout.ends_with("\nX-Company: 4711\n"));
}

#[test]
fn a_redirect_to_a_host_of_somebody_else_ends_the_login() {
    let server = Server::script([]);
    for (host, says) in [
        (
            "https%3A%2F%2Fevil.example",
            "its accounts_url is at https://evil.example, which the provider file does not name",
        ),
        ("javascript%3Aalert(1)", "its accounts_url is not an https URL"),
    ] {
        let (sandbox, running, visit) = in_browser(&server, BACK);
        let state = visit.value("state");
        visit.come_back(&format!("code=c&realmId=1&accounts-server={host}&state={state}"));
        running.wait().fails(8).says(says).hints();
        sandbox.assert_nothing_kept();
    }
    let (sandbox, running, visit) = in_browser(&server, BACK);
    let state = visit.value("state");
    visit.come_back(&format!("code=c&state={state}"));
    running.wait().fails(8).says("it has no realmId (realm_id)").hints();
    sandbox.assert_nothing_kept();
    assert_eq!(server.count(), 0);
}

/// Servers that lose the state, as pCloud and Deezer do.
fn stateless(state: &str) -> String {
    let file = BACK.split("[grants.refresh]").next().unwrap().replace(", state = \"{state}\"", "");
    let file = file.replace("code = [\"auth_code\", \"code\"]\n", &format!("state = \"{state}\"\n"));
    file.replace(", realm = \"{realm_id}\"", "")
        .replace("realm_id = \"realmId\", ", "")
        .replace("[params.realm_id]\nhelp = \"Company\"\n", "")
}

#[test]
fn a_random_path_takes_the_place_of_a_state_that_the_server_loses() {
    let reply = Reply::json(200, json!({"access_token": token(), "expires_in": 600}));
    let server = Server::always(reply);
    let (_sandbox, running, visit) = in_browser(&server, &stateless("path"));
    let (host, port, path) = visit.back();
    assert!(path.len() > 22, "{path}");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    let accounts = format!("accounts-server={}", server.url().replace(':', "%3A"));
    assert!(visit.send(&get(&format!("/?code=foreign&{accounts}"))).starts_with("HTTP/1.1 400"));
    assert!(visit.send(&get(&format!("{path}?code=foreign&state=wrong&{accounts}"))).starts_with("HTTP/1.1 400"));
    assert!(visit.send(&get(&format!("{path}?code=right&{accounts}"))).starts_with("HTTP/1.1 200"));
    running.wait().prints("");
    assert_eq!(server.last().field("code"), "right");
    assert_eq!(server.count(), 1);
}

#[test]
fn a_lost_state_is_said_and_only_a_page_answers() {
    let reply = Reply::json(200, json!({"access_token": token(), "expires_in": 600}));
    let server = Server::always(reply);
    let (_sandbox, running, visit) = in_browser(&server, &stateless("lost"));
    let (host, port, path) = visit.back();
    let get = |target: &str, aim: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nSec-Fetch-Dest: {aim}\r\n\r\n")
    };
    let accounts = format!("accounts-server={}", server.url().replace(':', "%3A"));
    let target = format!("{path}?code=right&{accounts}");
    assert!(visit.send(&get(&target, "image")).starts_with("HTTP/1.1 400"));
    assert!(visit.send(&get(&target, "document")).starts_with("HTTP/1.1 200"));
    running.wait().prints("").says("does not say which login it answers");
    assert_eq!(server.count(), 1);
}

/// A client that is registered first, a ticket that is polled and exchanged, as AWS and Netlify have it.
const TICKET: &str = r#"
[params.client_id]
[params.client_secret]
secret = true
[request]
encode = "json"
[grants.device-code]
flow = "device-code"
url = "{base_url}/tickets/{ticket}/exchange"
body = { id = "{client_id}", secret = "{client_secret}" }
[[grants.device-code.steps]]
before = "begin"
url = "{base_url}/register"
body = { clientName = "tok" }
keep = { client_id = "/clientId", client_secret = "/clientSecret" }
[grants.device-code.begin]
url = "{base_url}/tickets"
encode = "json"
body = { id = "{client_id}" }
[grants.device-code.device]
device_code = []
user_code = []
verification_uri = []
page = "{base_url}/authorize?ticket={ticket}"
keep = { ticket = "/id" }
interval = "/interval"
pending = [{ at = "/authorized", in = [false] }]
[[grants.device-code.steps]]
url = "{base_url}/tickets/{ticket}"
method = "GET"
encode = "none"
body = {}
[grants.refresh]
url = "{base_url}/refresh"
body = { id = "{client_id}", secret = "{client_secret}", token = "{refresh_token}" }
[refresh]
grant = "refresh"
"#;

fn tickets() -> Server {
    let polls = std::sync::atomic::AtomicUsize::new(0);
    Server::new(move |request| match request.path() {
        "/register" => Reply::json(200, json!({"clientId": "cl-1", "clientSecret": format!("cs-{CANARY}")})),
        "/tickets" => Reply::json(200, json!({"id": "t1", "interval": 1})),
        "/tickets/t1" => {
            let done = polls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0;
            Reply::json(200, json!({"id": "t1", "authorized": done}))
        }
        "/tickets/t1/exchange" | "/refresh" => Reply::json(
            200,
            json!({"access_token": token(), "refresh_token": format!("rt-{CANARY}"), "expires_in": 600}),
        ),
        _ => Reply::json(404, json!({"error": "not_found"})),
    })
}

fn paths(server: &Server) -> Vec<String> {
    server.requests().iter().map(|request| request.path().to_string()).collect()
}

#[test]
fn steps_register_a_client_poll_a_ticket_and_exchange_it() {
    let server = tickets();
    let sandbox = odd(&server, TICKET);
    let out = sandbox.run("login odd device-code").prints("");
    assert!(out.stderr.contains("/authorize?ticket=t1"), "{out}");
    let first = ["/register", "/tickets", "/tickets/t1", "/tickets/t1", "/tickets/t1/exchange"];
    assert_eq!(paths(&server), first);
    let sent: serde_json::Value = serde_json::from_slice(&server.last().body).unwrap();
    assert_eq!(sent, json!({"id": "cl-1", "secret": format!("cs-{CANARY}")}));
    // The client is remembered, its secret in the store alone.
    let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(config.contains("client_id = \"cl-1\"") && !config.contains(CANARY), "{config}");
    assert_eq!(sandbox.secrets().to_string().matches(&format!("cs-{CANARY}")).count(), 1);
    sandbox.run("get odd --fresh").silent().line();
    let sent: serde_json::Value = serde_json::from_slice(&server.last().body).unwrap();
    assert_eq!(sent, json!({"id": "cl-1", "secret": format!("cs-{CANARY}"), "token": format!("rt-{CANARY}")}));
    // It is used again by the next login.
    sandbox.run("login odd device-code").prints("");
    assert_eq!(paths(&server)[6..], ["/tickets", "/tickets/t1", "/tickets/t1/exchange"]);
}

/// A login by name and password in two steps, without a person at a browser: the host of the second is in the first
/// reply, its token in a header.
const CHAIN: &str = r#"
[params.username]
[params.password]
secret = true
personal = true
[grants.password]
url = "{service}/token"
body = { ticket = "{ticket}" }
[[grants.password.steps]]
url = "{base_url}/login"
body = { user = "{username}", password = "{password}" }
response = { success = [{ at = "/ok", in = [true] }], error = { message = "/why" } }
keep = { service = "/service", ticket = { header = "X-Ticket" } }
"#;

#[test]
fn a_step_takes_a_url_and_a_header_of_the_last_reply() {
    let login = |service: String, ok: bool| {
        let body = json!({"ok": ok, "service": service, "why": "no such user"});
        Reply::json(200, body).header("X-Ticket", &format!("tk-{CANARY}"))
    };
    let run = |service: Option<&str>, ok: bool| {
        let service = service.map(str::to_string);
        let server = Server::new(move |request| {
            let own = format!("http://{}", request.header("host").expect("a host"));
            match request.path() {
                "/login" => login(service.clone().unwrap_or(own), ok),
                _ => Reply::json(200, json!({"access_token": token(), "expires_in": 600})),
            }
        });
        let mut sandbox = odd(&server, CHAIN);
        sandbox.set("TOK_ODD_USERNAME", "ada").set("TOK_ODD_PASSWORD", format!("pw-{CANARY}"));
        let out = sandbox.run("get odd");
        (server, out)
    };
    let (server, out) = run(None, true);
    assert_eq!(out.line(), token());
    assert_eq!(server.last().field("ticket"), format!("tk-{CANARY}"));
    assert_eq!(paths(&server), ["/login", "/token"]);
    let (server, out) = run(None, false);
    out.fails(5).says("no such user").hints();
    assert_eq!(server.count(), 1);
    let (server, out) = run(Some("https://evil.example"), true);
    out.fails(8).says("its service is at https://evil.example, which the provider file does not name").hints();
    assert_eq!(server.count(), 1);
}

#[test]
fn the_steps_are_shown_before_anything_is_sent() {
    let server = tickets();
    let sandbox = odd(&server, TICKET);
    let out = sandbox.run("providers --try odd device-code");
    for text in [
        "# device-code.steps.1: finds {client_id}, {client_secret}\nPOST ",
        "# device-code.steps.2: comes before\nGET ",
        "/tickets/{ticket}/exchange",
        "\"secret\":\"{client_secret}\"",
    ] {
        assert!(out.stdout.contains(text), "{text}: {out}");
    }
    assert_eq!(server.count(), 0);
}
