//! Every request of a provider file can be seen (`--try`) and its reply read (`--read`), by the name of its table; a chain
//! of `docs/providers.md` among them, from the page to a token.

use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Output, Sandbox};

/// A login on another device whose ticket is exchanged, and all that can be asked about a token.
const FILE: &str = r#"
[params.base_url]
default = "https://a.example"
[params.client_id]
default = "cli"
[params.key]
secret = true
[grants.device-code]
flow = "device-code"
url = "{base_url}/exchange"
body = { ticket = "{ticket}", server = "{server}" }
[grants.device-code.begin]
url = "{base_url}/begin"
body = { client_id = "{client_id}" }
[[grants.device-code.steps]]
before = "begin"
url = "{base_url}/register"
keep = { client_id = "/id", key = "/key" }
[[grants.device-code.steps]]
url = "{base_url}/poll"
body = { code = "{device_code}" }
keep = { ticket = { header = "X-Ticket" }, server = { at = "/server", as = "url" } }
[grants.device-code.device]
pending = [{ at = "/state", in = ["waiting"] }]
[revoke]
url = "{base_url}/revoke"
headers = { Authorization = "Bearer {access_token}" }
[introspect]
url = "{base_url}/introspect"
body = { token = "{refresh_token|access_token}", hint = "{token_type_hint}" }
[userinfo]
url = "{base_url}/me"
method = "GET"
encode = "none"
[use]
header = "X-Token"
value = "{access_token}"
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.provider("odd", FILE);
    sandbox
}

/// A request without the lines that each has.
fn shown(out: &Output) -> Vec<&str> {
    let same = ["User-Agent: ", "Accept: ", "Content-Type: "];
    out.stdout.lines().filter(|line| !line.is_empty() && !same.iter().any(|start| line.starts_with(start))).collect()
}

#[test]
fn one_request_is_tried_by_its_name() {
    let sandbox = sandbox();
    for (name, lines) in [
        ("device-code.begin", &["POST https://a.example/begin", "client_id={client_id}"][..]),
        ("device.begin", &["POST https://a.example/begin", "client_id={client_id}"]),
        ("device-code.steps.1", &["POST https://a.example/register"]),
        ("device-code.steps.2", &["POST https://a.example/poll", "code={device_code}"]),
        ("revoke", &["POST https://a.example/revoke", "Authorization: Bearer {access_token}"]),
        ("userinfo", &["GET https://a.example/me", "X-Token: {access_token}"]),
        (
            "introspect",
            &[
                "# introspect: asks about the refresh token",
                "POST https://a.example/introspect",
                "token={refresh_token}&hint=refresh_token",
                "# introspect: asks about an access token",
                "POST https://a.example/introspect",
                "token={access_token}&hint=access_token",
            ],
        ),
        (
            "device-code",
            &[
                "# device-code.steps.1: finds {client_id}, {key}",
                "POST https://a.example/register",
                "# device-code.begin: begins the login",
                "POST https://a.example/begin",
                "client_id={client_id}",
                "# device-code.steps.2: finds {ticket}, {server}",
                "POST https://a.example/poll",
                "code={device_code}",
                "# device-code: gets the token",
                "POST https://a.example/exchange",
                "ticket={ticket}&server={server}",
            ],
        ),
    ] {
        let out = sandbox.run(&format!("providers --try odd {name}")).silent().ok();
        assert_eq!(shown(&out), lines, "{name}");
    }
    // An address that a server may have or not.
    let out = sandbox.run("providers --try oidc revoke").silent().ok();
    assert!(out.stdout.contains("POST {revocation_url}\n") && out.stdout.contains("token={access_token}&"), "{out}");
    for (line, says) in [
        ("--try odd device-code.steps.3", "odd has no request `device-code.steps.3`"),
        ("--try odd device-code.steps.3", "device-code.steps.1, device-code.steps.2, revoke, introspect, userinfo"),
        ("--try purewl userinfo", "purewl has no request `userinfo`"),
        ("--try odd nothing", "odd has no grant `nothing`"),
        ("--read odd device-code.x -", "odd has no request `device-code.x`"),
    ] {
        sandbox.run(&format!("providers {line}")).fails(2).says(says);
    }
}

/// A grant of that name is that grant.
#[test]
fn a_grant_may_have_the_name_of_another_request() {
    let sandbox = Sandbox::new();
    let file = "[params.u]\ndefault = \"https://a.example\"\n[grants.revoke]\nurl = \"{u}/grant\"\n\
                [revoke]\nurl = \"{u}/revoke\"\nbody = { t = \"{access_token}\" }\n";
    sandbox.provider("odd", file);
    assert!(sandbox.run("providers --try odd revoke").silent().ok().stdout.starts_with("POST https://a.example/grant"));
}

#[test]
fn the_reply_to_any_request_is_read() {
    let sandbox = sandbox();
    let read = |name: &str, reply: &str| {
        let out = sandbox.tok(["providers", "--read", "odd", name, "-"]).stdin(reply).run().silent().ok();
        assert!(!out.stdout.contains(CANARY), "what is found is shortened: {out}");
        out.stdout
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let long = format!("{CANARY}{}", "0".repeat(30));
    let has = |name: &str, reply: &str, parts: &[&str]| {
        let text = read(name, reply);
        for part in parts {
            assert!(text.contains(part), "`{part}` is missing of {name}:\n{text}");
        }
    };
    let code = format!("\"device_code\":\"{long}\",\"user_code\":\"AB-12\",\"interval\":5,\"expires_in\":600");
    has(
        "device-code.begin",
        &format!("{{{code},\"verification_uri\":\"https://a.example/d?x=1\"}}"),
        &[
            "device_code /device_code ca9a… (38 characters)",
            "user_code /user_code AB-12",
            "verification_uri /verification_uri https://a.example/d?x=1",
            "interval /interval 5",
            "expires /expires_in as seconds 600",
            "login started",
        ],
    );
    has(
        "device-code.begin",
        &format!("{{{code},\"page\":1}}"),
        &[
            "no login: not understood: no /verification_uri or /verification_url; the reply has",
            "/page",
            "(tok exits with status 8)",
        ],
    );
    has(
        "device-code.begin",
        "HTTP/1.1 400 x\n\n{\"error\":\"invalid_client\"}",
        &["no login: refused: invalid_client", "status 5)"],
    );
    has(
        "device-code.steps.1",
        &format!("{{\"id\":\"c1\",\"key\":\"{long}\"}}"),
        &["keep.client_id /id c1", "keep.key /key ca9a… (38 characters)", "step succeeded: found {client_id}, {key}"],
    );
    let step = |ticket: &str, server: &str| format!("HTTP/1.1 200 OK\n{ticket}\n{{\"server\":\"{server}\"}}");
    has(
        "device-code.steps.2",
        &step(&format!("X-Ticket: {long}\n"), "https://a.example/x"),
        &[
            "pending /state in [\"waiting\"] -",
            "keep.ticket header X-Ticket ca9a… (38 characters)",
            "keep.server /server https://a.example/x",
            "found {ticket}, {server}",
        ],
    );
    has(
        "device-code.steps.2",
        &step(&format!("X-Ticket: {long}\n"), "https://evil.example/x"),
        &["no step: not understood: its server is at https://evil.example, which the provider file does not name"],
    );
    has(
        "device-code.steps.2",
        &step("", "https://a.example"),
        &["no step: not understood: no ticket in the header X-Ticket"],
    );
    has(
        "device-code.steps.2",
        "{\"state\":\"waiting\"}",
        &["\"waiting\"] waiting: holds", "no token yet: authorization pending"],
    );
    has("revoke", "HTTP/1.1 200 OK\n\n", &["status 200", "revoked: the status alone counts"]);
    has("revoke", "HTTP/1.1 401 x\n\n", &["not revoked: refused (tok logout exits with status 6)"]);
    has("introspect", "{\"active\":true}", &["active /active true", "introspection: the token is active"]);
    has("introspect", "{\"active\":false}", &["introspection: the token is not active"]);
    has("introspect", "{\"ok\":1}", &["no answer: not understood: it does not say whether", "the reply has /ok"]);
    has("userinfo", "{\"sub\":\"ada\"}", &["sub /sub ada", "userinfo: the user is named (`sub`)"]);
    has("userinfo", "{\"login\":\"ada\"}", &["userinfo: without `sub`, so in the provider's own words"]);
    has("userinfo", "HTTP/1.1 503 x\n\n", &["no answer: unavailable for now", "(tok exits with status 6)"]);
    // One that is taken for the token's.
    let out =
        sandbox.tok(["providers", "--read", "odd", "device-code", "-"]).stdin("{\"id\":\"c1\",\"key\":\"k\"}").run();
    assert!(
        out.stdout.ends_with(
            "this looks like the reply to device-code.steps.1: tok providers --read odd device-code.steps.1 -\n"
        ),
        "{out}"
    );
    sandbox
        .tok(["providers", "--read", "oidc", "authorization-code.begin", "-"])
        .stdin("{}")
        .run()
        .fails(2)
        .says("has no reply");
}

/// Without steps, the request for the token is the one that is sent until the person has decided.
#[test]
fn an_answer_to_a_poll_is_no_refusal() {
    let sandbox = Sandbox::new();
    for (provider, error, says) in [
        ("oidc", "authorization_pending", "no token yet: authorization pending; tok polls again\n"),
        ("oidc", "slow_down", "no token yet: authorization pending; tok polls again, less often\n"),
        ("oidc", "access_denied", "no token: refused: access_denied"),
    ] {
        let reply = format!("HTTP/1.1 400 Bad Request\n\n{{\"error\":\"{error}\"}}");
        let out = sandbox.tok(["providers", "--read", provider, "device-code", "-"]).stdin(reply).run().silent().ok();
        assert!(out.stdout.contains(says), "{out}");
    }
}

#[test]
fn what_becomes_of_a_token_is_told() {
    let sandbox = Sandbox::new();
    let file = "[params.u]\ndefault = \"https://a.example\"\n[grants.a]\nurl = \"{u}/t\"\n\
                [response]\nexpires = [{ at = \"/left\", zero = \"never\" }]\n";
    sandbox.provider("odd", file);
    for (left, says) in [
        ("600", "a token: expires in 10m, "),
        ("0", "a token: never expires\n"),
        ("-5", "a token: has expired: used for one call, never cached\n"),
        ("null", "a token: expiry unknown: printed, not cached; see `expires` and `lifetime`\n"),
    ] {
        let reply = format!("{{\"access_token\":\"t-{CANARY}\",\"refresh_token\":\"r-{CANARY}\",\"left\":{left}}}");
        let out = sandbox.tok(["providers", "--read", "odd", "-"]).stdin(reply).run().silent().ok();
        assert!(out.stdout.contains(says), "{out}");
        assert!(out.stdout.contains("its refresh token is not used: the file has no [refresh]\n"), "{out}");
    }
}

#[test]
fn a_date_without_a_zone_is_told() {
    let sandbox = Sandbox::new();
    let file = |more: &str| {
        format!(
            "[params.u]\ndefault = \"https://a.example\"\n[grants.a]\nurl = \"{{u}}/t\"\n\
             [response]\nexpires = [{{ at = \"/until\", as = \"date\" }}]\n{more}"
        )
    };
    for (until, more, says, result) in [
        ("2035-01-01T00:00:00", "", "a date without a time zone (`Z` or `+02:00`)", "a token: expiry unknown"),
        (
            "2035-01-01 00:00:00",
            "lifetime = \"1h\"\n",
            "a date without a time zone (`Z` or `+02:00`)",
            "a token: expires in 1h, ",
        ),
        ("2035-01-01", "", "a day without a time", "a token: expiry unknown"),
    ] {
        sandbox.provider("odd", &file(more));
        let reply = format!("{{\"access_token\":\"t-{CANARY}\",\"until\":\"{until}\"}}");
        let out = sandbox.tok(["providers", "--read", "odd", "-"]).stdin(reply).run().silent().ok();
        assert!(out.stdout.contains(&format!("note: the expiry at /until is {says}, and is not used\n")), "{out}");
        assert!(out.stdout.contains(&format!("expires        /until as date  {until}\n")), "{out}");
        assert!(out.stdout.contains(result), "{out}");
    }
}

/// A block of the example `Intranet` of `docs/providers.md`.
fn block(kind: &str) -> String {
    let page = include_str!("../../docs/providers.md");
    let (_, rest) = page.split_once("\n### A chain: ").unwrap();
    let (_, rest) = rest.split_once(&format!("\n```{kind}\n")).unwrap_or_else(|| panic!("{kind}"));
    rest.split_once("\n```").unwrap().0.to_string()
}

/// From the page to a token: the requests are those that are shown, and the replies on the page lead from one to the next.
#[test]
fn the_chain_of_the_page_works_from_the_file_to_the_token() {
    let mut sandbox = Sandbox::with_file_store();
    let path = sandbox.provider("intranet", &block("toml"));
    sandbox.tok(["providers", "--check", path.to_str().unwrap()]).run().silent().ok();
    let requests = block("try").replace("tok/VERSION", concat!("tok/", env!("CARGO_PKG_VERSION")));
    sandbox.run("providers --try intranet").silent().prints(&format!("{requests}\n"));
    let names = ["password.steps.1", "password.steps.2", "password"];
    let found = ["found {session}", "found {ticket}", "a token: expires in"];
    for (name, found) in names.iter().zip(found) {
        let reply = block(&format!("reply {name}"));
        let out = sandbox.tok(["providers", "--read", "intranet", name, "-"]).stdin(reply).run().silent().ok();
        assert!(out.stdout.contains(found), "{name}: {out}");
    }
    let server = Server::new(|request| {
        let name = match request.path() {
            "/login" => "password.steps.1",
            "/api/ticket" => "password.steps.2",
            _ => "password",
        };
        let text = block(&format!("reply {name}"));
        match text.split_once("\n\n") {
            None => Reply::new(200, "application/json", text),
            Some((head, body)) => {
                let cookie = head.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
                Reply::new(200, "text/html", body).header("Set-Cookie", cookie)
            }
        }
    });
    sandbox.set("TOK_INTRANET_BASE_URL", server.url());
    sandbox.set("TOK_INTRANET_USERNAME", "ada").set("TOK_INTRANET_PASSWORD", format!("p-{CANARY}"));
    assert_eq!(sandbox.run("get intranet").silent().line(), "in-8xLOxBtZp8Qm");
    let sent = server.requests();
    let of = |request: &Received| {
        (
            request.path().to_string(),
            request.header("cookie").map(str::to_string),
            String::from_utf8(request.body.clone()).unwrap(),
        )
    };
    let cookie = Some("SESSION=in-7f3aQ9".to_string());
    let expected = [
        ("/login".to_string(), None, format!("user=ada&password=p-{CANARY}")),
        ("/api/ticket".into(), cookie.clone(), String::new()),
        ("/api/token".into(), cookie, "{\"ticket\":\"ST-1856339-aA5Yuvrxzpv8Tau1cYQ7\"}".into()),
    ];
    assert_eq!(sent.iter().map(of).collect::<Vec<_>>(), expected);
}
