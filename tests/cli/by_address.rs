//! A login by the address of an API: what it says of itself, the client that is registered for it, and what an API or a
//! server may try.

use crate::support::api::{Api, PROFILE, log_in};
use crate::support::issuer::{Visit, fetch};
use crate::support::server::{Certified, Reply, Server, lock};
use crate::support::{CANARY, Sandbox};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";
const AT_ROOT: &str = "/.well-known/oauth-protected-resource";
const OF_ISSUER: &str = "/.well-known/oauth-authorization-server";

/// The registered clients in the file store.
fn clients(sandbox: &Sandbox, api: &Api) -> Vec<Value> {
    let entry = &sandbox.secrets()[format!("client:{}", api.issuer.url())];
    entry["clients"].as_array().cloned().unwrap_or_default()
}

fn config(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.config_file()).unwrap_or_default()
}

#[test]
fn one_command_logs_in_to_an_api_and_one_more_calls_it() {
    let api = Api::start();
    let (sandbox, browser) = api.sandbox();
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    let header = sandbox.run("header 127-0-0-1").silent().line();
    assert!(header.starts_with(&format!("Authorization: Bearer at-{CANARY}")), "{header}");

    let client = &api.registrations()[0];
    assert_eq!(client["token_endpoint_auth_method"], "none");
    assert_eq!(client["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!((&client["application_type"], &client["scope"]), (&json!("native"), &json!("read write")));
    let asked = api.asked("/authorize").pop().unwrap();
    let visit = Visit::to(&asked.target);
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "client-1"),
        ("scope", "read"),
        ("resource", &api.url()),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(visit.values(name), [value], "{name}");
    }
    assert_eq!(client["redirect_uris"], json!([visit.value("redirect_uri")]));
    let token = api.asked("/token").pop().unwrap();
    assert_eq!((token.field("resource"), token.field("client_id")), (api.url(), "client-1".into()));
    assert!(!token.has_field("client_secret") && token.header("authorization").is_none());

    let config = config(&sandbox);
    for line in [
        "[profile.127-0-0-1]".to_string(),
        "provider = \"resource\"".into(),
        format!("issuer = \"{}\"", api.issuer.url()),
        "client_id = \"client-1\"".into(),
        format!("resource = \"{}\"", api.url()),
        "scope = [\"read\"]".into(),
        format!("hosts = [\"{}\"]", api.api.url()),
    ] {
        assert!(config.contains(&line), "{line}: {config}");
    }
    let kept = clients(&sandbox, &api);
    assert_eq!((kept.len(), &kept[0]["client_id"], &kept[0]["profiles"]), (1, &json!("client-1"), &json!([PROFILE])));

    // It renews, for this API.
    sandbox.run("get 127-0-0-1 --fresh").silent().line();
    let renewed = api.asked("/token").pop().unwrap();
    assert_eq!((renewed.field("grant_type"), renewed.field("resource")), ("refresh_token".into(), api.url()));
}

#[test]
fn the_registered_client_and_its_port_are_used_again_and_shown() {
    let api = Api::start();
    let (sandbox, browser) = api.sandbox();
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    log_in(&browser, sandbox.tok(["login", PROFILE])).prints("");
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    log_in(&browser, sandbox.tok(["login", &api.url(), "--as", "second"])).prints("");
    assert_eq!(api.registrations().len(), 1);
    let uris: Vec<String> =
        api.asked("/authorize").iter().map(|r| Visit::to(&r.target).value("redirect_uri")).collect();
    assert!(uris.iter().all(|uri| *uri == uris[0]), "{uris:?}");
    assert_eq!(clients(&sandbox, &api)[0]["profiles"], json!([PROFILE, "second"]));

    let shown = sandbox.run("show 127-0-0-1 --json").json();
    assert_eq!(shown["registered_client"]["client_id"], "client-1");
    assert_eq!(shown["registered_client"]["issuer"], json!(api.issuer.url()));
    let text = sandbox.run("show 127-0-0-1").ok().stdout;
    assert!(text.contains(&format!("registered by tok at {}", api.issuer.url())), "{text}");
}

#[test]
fn a_port_that_is_taken_and_a_client_that_is_forgotten_are_registered_anew() {
    let api = Api::start();
    let (sandbox, browser) = api.sandbox();
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    let uri = api.registrations()[0]["redirect_uris"][0].as_str().unwrap().to_string();
    let port: u16 = uri.trim_end_matches("/callback").rsplit(':').next().unwrap().parse().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    log_in(&browser, sandbox.tok(["login", PROFILE])).prints("");
    drop(taken);
    assert_eq!(api.registrations().len(), 2);
    // The first one is nobody's any more, and gone at the server too.
    let kept = clients(&sandbox, &api);
    assert_eq!((kept.len(), &kept[0]["client_id"]), (1, &api.state(|s| json!(s.clients.keys().next().unwrap()))));
    assert_eq!(api.state(|s| s.clients.len()), 1);

    // The server starts anew, and knows no client.
    api.state(|s| s.clients.clear());
    api.script("/token", [Reply::json(401, json!({"error": "invalid_client"}))]);
    sandbox.run("get 127-0-0-1 --fresh").fails(5).hints_at("tok login 127-0-0-1");
    log_in(&browser, sandbox.tok(["login", PROFILE])).prints("");
    assert_eq!((api.registrations().len(), clients(&sandbox, &api).len()), (3, 1));
    sandbox.run("get 127-0-0-1 --fresh").silent().line();
}

#[test]
fn a_step_up_adds_scopes_and_keeps_the_client() {
    let api = Api::start();
    let (sandbox, browser) = api.sandbox();
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    sandbox.run("show 127-0-0-1 --check").ok();
    let more = "Bearer error=\"insufficient_scope\", scope=\"write\", error_description=\"more is needed\"";
    api.state(|s| s.api = Some(Reply::text(403, "").header("WWW-Authenticate", more)));
    sandbox
        .run("show 127-0-0-1 --check")
        .fails(5)
        .says("insufficient_scope (status 403): more is needed")
        .hints_at("tok login 127-0-0-1 --scope write");
    log_in(&browser, sandbox.tok("login 127-0-0-1 --scope write".split(' '))).prints("");
    let asked = Visit::to(&api.asked("/authorize").pop().unwrap().target);
    assert_eq!((asked.value("scope"), asked.value("client_id")), ("read write".into(), "client-1".into()));
    assert!(config(&sandbox).contains("scope = [\"read\", \"write\"]"), "{}", config(&sandbox));
    assert_eq!(api.registrations().len(), 1);

    let expired = "Bearer error=\"invalid_token\"";
    api.state(|s| s.api = Some(Reply::text(401, "").header("WWW-Authenticate", expired)));
    sandbox.run("show 127-0-0-1 --check").fails(5).says("invalid_token").hints_at("tok get 127-0-0-1 --fresh");
    api.state(|s| s.api = Some(Reply::text(405, "")));
    let answer = sandbox.run("show 127-0-0-1 --check --json").json();
    assert_eq!((&answer["status"], &answer["refused"]), (&json!(405), &json!(false)));
    api.state(|s| s.api = Some(Reply::text(503, "")));
    sandbox.run("show 127-0-0-1 --check --timeout 3s").fails(6);
    sandbox.run("show oidc --check").fails(4);
}

#[test]
fn metadata_are_found_before_the_path_at_the_root_and_without_a_challenge() {
    for (challenge, place) in [("", METADATA), ("", AT_ROOT), ("Basic realm=\"x\"", METADATA)] {
        let api = Api::start();
        api.state(|s| s.challenge = challenge.into());
        let document = json!({"resource": api.api.url(), "authorization_servers": [api.issuer.url()]});
        if place == AT_ROOT {
            api.state(|s| s.resource = Value::Null);
            api.script(AT_ROOT, [Reply::json(200, document)]);
        }
        let (sandbox, browser) = api.sandbox();
        log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
        let resource = Visit::to(&api.asked("/authorize").pop().unwrap().target).value("resource");
        assert_eq!(resource, if place == AT_ROOT { api.api.url() } else { api.url() });
    }
}

#[test]
fn an_api_without_metadata_may_be_its_own_issuer() {
    let api = Api::start();
    api.state(|s| (s.resource, s.challenge) = (Value::Null, "Bearer".into()));
    let (sandbox, browser) = api.sandbox();
    let out = sandbox.tok(["login", &api.url()]).run().fails(8);
    let out = out.says("does not say how to log in").says(METADATA).says(AT_ROOT).says("openid-configuration");
    out.hints_at("--issuer URL");
    sandbox.assert_nothing_kept();
    // As the hint says.
    let login = sandbox.tok(["login", &api.url(), "--issuer", &api.issuer.url(), "--scope", "read"]);
    log_in(&browser, login).prints("");
    let visit = Visit::to(&api.asked("/authorize").pop().unwrap().target);
    assert_eq!(visit.value("resource"), api.url());

    // One whose own origin is an issuer.
    let own = api.issuer.url();
    let (sandbox, browser) = api.sandbox();
    log_in(&browser, sandbox.tok(["login", &format!("{own}/api?x=1"), "--as", "own"])).prints("");
    assert!(config(&sandbox).contains(&format!("resource = \"{own}/api\"")), "{}", config(&sandbox));
}

#[test]
fn of_several_issuers_one_is_named() {
    let api = Api::start();
    let issuer = api.issuer.url();
    api.state(|s| s.resource = json!({"authorization_servers": ["https://other.example", issuer]}));
    let (sandbox, browser) = api.sandbox();
    sandbox.tok(["login", &api.url()]).run().fails(4).says(&issuer).hints_at("--issuer https://other.example");
    sandbox.tok(["login", &api.url(), "--issuer", "https://third.example"]).run().fails(8).says("other.example");
    sandbox.assert_nothing_kept();
    log_in(&browser, sandbox.tok(["login", &api.url(), "--issuer", &issuer])).prints("");
}

#[test]
fn of_several_issuers_a_person_at_a_terminal_chooses() {
    let api = Api::start();
    let issuer = api.issuer.url();
    api.state(|s| s.resource = json!({"authorization_servers": ["https://other.example", issuer]}));
    let (sandbox, browser) = api.sandbox();
    let mut terminal = sandbox.tok(["login", &api.url()]).on_terminal();
    terminal.expect("takes tokens of 2 issuers:");
    terminal.expect("1  https://other.example");
    terminal.expect(&format!("2  {issuer}"));
    terminal.expect("Which one (1 to 2): ");
    for wrong in ["3", "0", "two"] {
        terminal.type_line(wrong);
        if wrong != "two" {
            terminal.expect("Which one (1 to 2): ");
        }
    }
    let (screen, code) = terminal.end();
    assert!(code == 4 && screen.contains("--issuer https://other.example"), "{screen}");
    assert!(api.registrations().is_empty());
    sandbox.assert_nothing_kept();

    let mut terminal = sandbox.tok(["login", &api.url()]).on_terminal();
    terminal.expect("Which one (1 to 2): ");
    terminal.type_line("2");
    crate::support::until("the browser is opened", || browser.was_opened());
    let reply = fetch(&browser.visit().address);
    fetch(reply.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().trim());
    let (screen, code) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(config(&sandbox).contains(&format!("issuer = \"{issuer}\"")), "{}", config(&sandbox));
    sandbox.run("get 127-0-0-1").silent().line();
}

#[test]
fn a_client_of_ones_own_comes_first_and_a_server_that_registers_none_says_so() {
    let api = Api::start();
    api.state(|s| s.metadata = json!({"registration_endpoint": null}));
    let (sandbox, browser) = api.sandbox();
    let out = sandbox.tok(["login", &api.url()]).run().fails(4).says("registers no clients");
    let out = out.hints_at("--client-id VALUE").hints_at("http://127.0.0.1:").hints_at("--redirect-port");
    sandbox.assert_nothing_kept();
    // The redirect URI of the hint is that of the login that it names.
    let hint = out.stderr.split("hint: ").nth(1).unwrap().to_string();
    let uri = hint.split_whitespace().find(|word| word.starts_with("http://127")).unwrap().trim_end_matches(',');
    api.state(|s| s.clients.insert("mine".into(), json!({"redirect_uris": [uri]})));
    let port = uri.trim_end_matches("/callback").rsplit(':').next().unwrap();
    let login = sandbox.tok(["login", &api.url(), "--client-id", "mine", "--redirect-port", port]);
    log_in(&browser, login).prints("");
    assert_eq!(sandbox.run("show 127-0-0-1 --json").json()["registered_client"], Value::Null);

    // A refusal, and a server that wants a token for it.
    let api = Api::start();
    let refuse = |status, error: &str| api.script("/register", [Reply::json(status, json!({"error": error}))]);
    let (sandbox, browser) = api.sandbox();
    refuse(400, "invalid_redirect_uri");
    sandbox.tok(["login", &api.url()]).run().fails(5).says("invalid_redirect_uri").hints_at("http://127.0.0.1:");
    refuse(401, "invalid_token");
    sandbox.tok(["login", &api.url()]).run().fails(5).hints_at("--registration-token-file PATH");
    sandbox.assert_nothing_kept();
    let file = sandbox.file_arg("token", format!("iat-{CANARY}\n"));
    // Only the API says whose it is: its word is not enough for a secret.
    let token = ["--registration-token-file", &file];
    let out = sandbox.tok(["login", &api.url()]).args(token).run().fails(4);
    out.says("nothing was sent").hints_at(&format!("--issuer {}", api.issuer.url()));
    let login = sandbox.tok(["login", &api.url(), "--issuer", &api.issuer.url()]).args(token);
    log_in(&browser, login).prints("");
    let sent = api.asked("/register").pop().unwrap();
    assert_eq!(sent.header("authorization"), Some(format!("Bearer iat-{CANARY}").as_str()));
    // A registration endpoint elsewhere does not get it.
    let elsewhere = Server::always(Reply::json(201, json!({"client_id": "x"})));
    api.state(|s| s.metadata = json!({"registration_endpoint": format!("{}/register", elsewhere.url())}));
    let (sandbox, _) = api.sandbox();
    let file = sandbox.file_arg("token", format!("iat-{CANARY}"));
    let login = sandbox.tok(["login", &api.url(), "--issuer", &api.issuer.url(), "--registration-token-file", &file]);
    login.run().fails(8).says("elsewhere");
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn a_metadata_document_is_the_client_where_the_server_takes_one() {
    let api = Api::start();
    let url = "https://client.example/tok.json";
    api.state(|s| s.metadata = json!({"client_id_metadata_document_supported": true}));
    let (sandbox, _) = api.sandbox();
    sandbox.config(&format!("client_metadata_url = \"{url}\"\n"));
    let login = sandbox.tok(["login", &api.url(), "--no-browser"]).run();
    let line = login.stderr.lines().find(|line| line.contains("/authorize?")).expect("an address").trim().to_string();
    assert_eq!(Visit::to(&line).value("client_id"), url);
    assert!(api.registrations().is_empty());
    api.state(|s| s.metadata = json!({}));
    let login = sandbox.tok(["login", &api.url(), "--no-browser"]).run();
    assert!(login.stderr.contains("client_id=client-1"), "{login}");
    for wrong in ["http://client.example/x", "https://client.example", "nothing"] {
        sandbox.config(&format!("client_metadata_url = \"{wrong}\"\n"));
        sandbox.run("get 127-0-0-1").fails(3).says("config.toml:1:");
    }
}

#[test]
fn a_client_that_gets_a_secret_uses_it() {
    let api = Api::start();
    let secret = format!("cs-{CANARY}");
    api.state(|s| {
        s.registration = json!({"client_secret": secret, "token_endpoint_auth_method": "client_secret_post"});
    });
    let (sandbox, browser) = api.sandbox();
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    assert_eq!(api.asked("/token").pop().unwrap().field("client_secret"), secret);
    sandbox.run("get 127-0-0-1 --fresh").silent().line();
    assert_eq!(api.asked("/token").pop().unwrap().field("client_secret"), secret);
    log_in(&browser, sandbox.tok(["login", PROFILE])).prints("");
    assert_eq!(api.asked("/token").pop().unwrap().field("client_secret"), secret);
    assert_eq!(api.registrations().len(), 1);
    // Not in the config, which is read from anywhere.
    assert!(!config(&sandbox).contains(CANARY));
    api.state(|s| s.registration = json!({"token_endpoint_auth_method": "private_key_jwt"}));
    let (sandbox, _) = api.sandbox();
    sandbox.tok(["login", &api.url()]).run().fails(8).says("private_key_jwt");
    sandbox.assert_nothing_kept();
}

#[test]
fn scopes_come_from_the_call_the_challenge_the_server_or_the_api() {
    for (args, challenge, default, expected) in [
        ("--scope write", "scope=\"read\"", json!(null), "write"),
        ("", "scope=\"read\"", json!("all"), "read"),
        ("", "", json!("server-default"), ""),
        ("", "", json!(null), "read write"),
    ] {
        let api = Api::start();
        api.state(|s| {
            s.challenge = format!("Bearer {challenge}");
            s.registration = json!({"scope": default});
        });
        // What was asked for is not in the way of what the server says.
        if !args.is_empty() || !challenge.is_empty() {
            api.state(|s| s.registration = json!({}));
        }
        let (sandbox, browser) = api.sandbox();
        let login = sandbox.tok(["login", &api.url()]).args(args.split_whitespace());
        log_in(&browser, login).prints("");
        let visit = Visit::to(&api.asked("/authorize").pop().unwrap().target);
        assert_eq!(visit.value("scope"), expected, "{args} {challenge}");
    }
}

#[test]
fn a_client_is_registered_with_the_scopes_that_it_may_not_ask_for_without() {
    let api = Api::start();
    // An API that names its scopes in its metadata alone, and a server that has no default.
    api.state(|s| (s.challenge, s.strict_scopes) = ("Bearer".into(), true));
    let (sandbox, browser) = api.sandbox();
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    let scopes: Vec<Value> = api.registrations().iter().map(|client| client["scope"].clone()).collect();
    assert_eq!(scopes, [Value::Null, json!("read write")]);
    assert_eq!(Visit::to(&api.asked("/authorize").pop().unwrap().target).value("scope"), "read write");
    assert_eq!(api.state(|s| s.clients.len()), 1, "the first one is given back");
    log_in(&browser, sandbox.tok(["login", PROFILE])).prints("");
    assert_eq!(api.registrations().len(), 2);

    // A scope that the server does not have: nothing else is tried, and the hint does.
    let api = Api::start();
    api.state(|s| (s.strict_scopes, s.registration) = (true, json!({"scope": "read"})));
    let (sandbox, browser) = api.sandbox();
    let login = sandbox.tok(["login", &api.url(), "--scope", "admin"]);
    log_in(&browser, login).fails(5).says("invalid_scope").hints_at("--scope ''");
    assert_eq!(api.registrations().len(), 1);
    sandbox.assert_nothing_kept();
    let login = sandbox.tok(["login", &api.url(), "--scope", ""]);
    log_in(&browser, login).prints("");
}

#[test]
fn a_device_logs_in_where_the_server_offers_nothing_else() {
    let api = Api::start();
    let base = api.issuer.url();
    let device = format!("{base}/device");
    api.state(|s| s.metadata = json!({"authorization_endpoint": null, "device_authorization_endpoint": device}));
    let reply = json!({"device_code": format!("dc-{CANARY}"), "user_code": "WDJB-MJHT",
        "verification_uri": format!("{base}/activate"), "expires_in": 60, "interval": 1});
    api.script("/device", [Reply::json(200, reply)]);
    let (sandbox, _) = api.sandbox();
    let out = sandbox.tok(["login", &api.url()]).run();
    assert!(out.stderr.contains("enter the code WDJB-MJHT"), "{out}");
    out.prints("");
    let client = &api.registrations()[0];
    assert_eq!(client["grant_types"], json!(["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]));
    let asked = api.asked("/device").pop().unwrap();
    assert_eq!((asked.field("resource"), asked.field("client_id")), (api.url(), "client-1".into()));
    sandbox.run("get 127-0-0-1").silent().line();
}

#[test]
fn a_provider_file_may_be_nothing_but_the_address() {
    let api = Api::start();
    let (sandbox, browser) = api.sandbox();
    let file = format!("like = \"resource\"\n[params.resource]\ndefault = \"{}\"\n", api.url());
    sandbox.provider("my-api", &file);
    sandbox.run("get my-api").fails(4).says("not logged in to my-api").hints_at("tok login my-api");
    log_in(&browser, sandbox.tok(["login", "my-api"])).prints("");
    sandbox.run("get my-api").silent().line();
    sandbox.run("get my-api --fresh").silent().line();
    assert!(config(&sandbox).contains("provider = \"my-api\""), "{}", config(&sandbox));
    log_in(&browser, sandbox.tok(["login", "my-api"])).prints("");
    assert_eq!(api.registrations().len(), 1);
    sandbox.run("login resource").fails(4).hints_at("--resource URL");
}

#[test]
fn oidc_and_oauth2_register_a_client_where_they_are_asked_to() {
    let api = Api::start();
    let (sandbox, browser) = api.sandbox();
    let issuer = api.issuer.url();
    let login = sandbox.tok(["login", "oauth2", "--issuer", &issuer, "--scope", "read"]);
    login.run().fails(4).hints_at("--client-id");
    for _ in 0..2 {
        let login = sandbox.tok(["login", "oauth2", "--issuer", &issuer, "--scope", "read", "--register"]);
        log_in(&browser, login).prints("");
    }
    // Its port is used again by a login that says nothing of it.
    log_in(&browser, sandbox.tok(["login", "oauth2"])).prints("");
    assert_eq!(api.registrations().len(), 1);
    assert_eq!(sandbox.run("show oauth2 --json").json()["registered_client"]["issuer"], json!(issuer));
    let login = sandbox.tok(["login", "oidc", "--issuer", &issuer, "--register"]);
    log_in(&browser, login).prints("");
    sandbox.run("get oidc --fresh").silent().line();
    sandbox.run("login oauth2 --register --client-id x").fails(2);
    sandbox.run("login oauth2 client-credentials --register").fails(2).hints();
    sandbox.run("login purewl --register").fails(2);
}

#[test]
fn the_last_profile_takes_the_client_along() {
    let api = Api::start();
    let (sandbox, browser) = api.sandbox();
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    log_in(&browser, sandbox.tok(["login", &api.url(), "--as", "second"])).prints("");
    sandbox.run("logout second --remove").prints("");
    assert!(!config(&sandbox).contains("profile.second"), "{}", config(&sandbox));
    assert_eq!((clients(&sandbox, &api).len(), api.state(|s| s.clients.len())), (1, 1));
    // A logout alone keeps it.
    sandbox.run("logout 127-0-0-1").prints("");
    assert_eq!((clients(&sandbox, &api).len(), api.registrations().len()), (1, 1));
    sandbox.run("logout 127-0-0-1 --remove").prints("");
    assert_eq!(api.state(|s| s.clients.len()), 0, "deleted at the server too");
    assert!(sandbox.files_with(CANARY).is_empty() && !config(&sandbox).contains("127-0-0-1"));
    let sent = api.issuer.requests().into_iter().filter(|request| request.method == "DELETE").count();
    assert_eq!(sent, 1);

    // A server that does not answer: gone here, and that is said.
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    let id = clients(&sandbox, &api)[0]["client_id"].as_str().unwrap().to_string();
    api.script(&format!("/register/{id}"), [Reply::json(500, json!({}))]);
    sandbox.run("logout 127-0-0-1 --remove").fails(6).says("not deleted").hints();
    assert!(clients(&sandbox, &api).is_empty() && sandbox.files_with(CANARY).is_empty());
    assert!(!config(&sandbox).contains("127-0-0-1"));
}

#[test]
fn a_name_that_another_api_has_is_not_taken_over() {
    let (one, two) = (Api::start(), Api::start());
    let (sandbox, browser) = one.sandbox();
    log_in(&browser, sandbox.tok(["login", &one.url()])).prints("");
    let before = (config(&sandbox), sandbox.secrets());
    sandbox.tok(["login", &two.url()]).run().fails(4).says(&one.url()).hints_at("--as 127-0-0-1-2");
    assert_eq!((config(&sandbox), sandbox.secrets()), before);
    assert_eq!(two.registrations().len(), 0);
    log_in(&browser, sandbox.tok(["login", &two.url(), "--as", "127-0-0-1-2"])).prints("");
    // A token for one is never printed for the other.
    let token = sandbox.run("get 127-0-0-1").line();
    for args in
        [&["get", PROFILE, "--resource", &two.url()][..], &["get", PROFILE, "--offline", "--resource", &two.url()]]
    {
        let out = sandbox.tok(args).run().fails(4);
        assert!(!out.stdout.contains(&token), "{out}");
    }
    sandbox.config("[profile.127-0-0-1]\nprovider = \"oidc\"\n");
    sandbox.tok(["login", &one.url()]).run().fails(4).says("a profile of oidc").hints_at("--as");
}

#[test]
fn a_login_that_fails_changes_nothing_and_gives_its_client_back() {
    let api = Api::start();
    let (sandbox, browser) = api.sandbox();
    let refuse = || api.script("/token", [Reply::json(400, json!({"error": "invalid_grant"}))]);
    refuse();
    log_in(&browser, sandbox.tok(["login", &api.url()])).fails(5);
    sandbox.assert_nothing_kept();
    assert_eq!(api.state(|s| s.clients.len()), 0);
    log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
    let before = (config(&sandbox), sandbox.secrets());
    refuse();
    log_in(&browser, sandbox.tok(["login", PROFILE, "--scope", "write"])).fails(5);
    assert_eq!((config(&sandbox), sandbox.secrets()), before);
    assert_eq!(api.state(|s| s.clients.len()), 1, "the one that is used stays");
}

/// What an API or a server may try: each fails with this status before a browser is opened or a client registered, says
/// this, and leaves nothing.
#[test]
fn attacks_end_before_anything_is_sent_or_kept() {
    let evil = Server::always(Reply::json(200, json!({"issuer": "https://evil.example"})));
    let foreign = Server::new(|_| Reply::json(200, json!({"resource": "https://victim.example/mcp"})));
    let named = |url: &str| json!({"challenge": format!("Bearer resource_metadata=\"{url}\"")});
    let huge = "x".repeat(5 << 20);
    type Case<'a> = (&'a str, Value, Option<(&'a str, Reply)>, i32, &'a str);
    let cases: Vec<Case> = vec![
        (
            "another resource",
            json!({"resource": {"resource": "https://victim.example/mcp"}}),
            None,
            8,
            "it is about https://victim",
        ),
        ("a resource beside", json!({"resource": {"resource": "http://127.0.0.1:1/mcp"}}), None, 8, "it is about"),
        ("a resource without a name", json!({"resource": {"resource": null}}), None, 8, "no `resource`"),
        (
            "an issuer that is another",
            json!({"metadata": {"issuer": "https://evil.example"}}),
            None,
            8,
            "for the issuer https://evil.example",
        ),
        ("an issuer without a name", json!({"metadata": {"issuer": null}}), None, 8, "no `issuer`"),
        (
            "another issuer's document",
            json!({"resource": {"authorization_servers": [evil.url()]}}),
            None,
            8,
            "for the issuer https://evil.example",
        ),
        ("a list that is none", json!({"resource": {"authorization_servers": 7}}), None, 8, "not a list"),
        (
            "an issuer by http",
            json!({"resource": {"authorization_servers": ["http://evil.example"]}}),
            None,
            8,
            "only https",
        ),
        ("a foreign document about another", named(&foreign.url()), None, 8, "it is about https://victim"),
        ("a place by http", named("http://evil.example/m"), None, 8, "only https"),
        ("a place that is a file", named("file:///etc/passwd"), None, 8, "https"),
        ("no PKCE", json!({"metadata": {"code_challenge_methods_supported": ["plain"]}}), None, 8, "S256"),
        (
            "an endpoint by http",
            json!({"metadata": {"token_endpoint": "http://evil.example/t"}}),
            None,
            8,
            "only https",
        ),
        (
            "a registration endpoint by http",
            json!({"metadata": {"registration_endpoint": "http://evil.example/r"}}),
            None,
            8,
            "only https",
        ),
        (
            "a registration endpoint that is a script",
            json!({"metadata": {"registration_endpoint": "javascript:x"}}),
            None,
            8,
            "registration_endpoint",
        ),
        (
            "scopes with control characters",
            json!({"challenge": "Bearer scope=\"a\\\\[2Jb\""}),
            None,
            8,
            "characters that no scope may have",
        ),
        (
            "scopes with control characters in a list",
            json!({"challenge": "Bearer", "resource": {"scopes_supported": ["a\u{7}"]}}),
            None,
            8,
            "characters that no scope may have",
        ),
        (
            "a redirect of the metadata",
            json!({}),
            Some((METADATA, Reply::text(302, "").header("Location", "https://evil.example/"))),
            8,
            "evil.example",
        ),
        ("a page for the metadata", json!({}), Some((METADATA, Reply::html(200))), 8, "HTML"),
        ("5 MiB of metadata", json!({}), Some((METADATA, Reply::text(200, &huge))), 8, "1 MiB"),
        ("endless metadata", json!({}), Some((METADATA, Reply::text(200, "xxxxxxxx").endless())), 8, "1 MiB"),
        ("no metadata where they are named", json!({}), Some((METADATA, Reply::json(404, json!({})))), 8, "status 404"),
        ("metadata that fail", json!({}), Some((METADATA, Reply::json(500, json!({})))), 6, "status 500"),
        (
            "a redirect of the issuer",
            json!({}),
            Some((OF_ISSUER, Reply::text(307, "").header("Location", "https://evil.example/"))),
            8,
            "evil.example",
        ),
        ("5 MiB of the issuer", json!({}), Some((OF_ISSUER, Reply::text(200, &huge))), 8, "1 MiB"),
    ];
    for (what, change, reply, code, says) in cases {
        let api = Api::start();
        api.state(|s| {
            for (name, value) in change.as_object().cloned().unwrap_or_default() {
                match name.as_str() {
                    "challenge" => s.challenge = value.as_str().unwrap().into(),
                    "resource" => s.resource = value,
                    "metadata" => s.metadata = value,
                    other => panic!("{other}"),
                }
            }
        });
        if let Some((path, reply)) = reply {
            api.script(path, (0..9).map(|_| reply.clone()));
        }
        let (sandbox, browser) = api.sandbox();
        let out = sandbox.tok(["login", &api.url(), "--timeout", "20s"]).run();
        assert_eq!(out.code, code, "{what}: {out}");
        assert!(out.stderr.contains(says) && !out.stderr.contains(['\u{1b}', '\u{7}']), "{what}: {out}");
        assert!(!browser.was_opened() && api.asked("/token").is_empty(), "{what}: {out}");
        if !what.contains("in a list") {
            assert!(api.registrations().is_empty(), "{what}: {out}");
        }
        assert_eq!(api.state(|s| s.clients.len()), 0, "{what}: given back");
        sandbox.assert_nothing_kept();
    }
}

#[test]
fn a_foreign_place_of_metadata_is_believed_if_they_are_about_the_api() {
    let api = Api::start();
    let document = json!({"resource": api.url(), "authorization_servers": [api.issuer.url()]});
    let elsewhere = Server::always(Reply::json(200, document));
    api.state(|s| {
        s.challenge = format!("Bearer resource_metadata=\"{}/m\"", elsewhere.url());
        s.resource = Value::Null;
    });
    let (sandbox, browser) = api.sandbox();
    let login = sandbox.tok(["login", &api.url(), "-v", "--header", "X-Tenant=acme"]);
    log_in(&browser, login).says("as the API itself says so").prints("");
    // The API's own header went to the API alone.
    assert_eq!(api.api.requests()[0].header("x-tenant"), Some("acme"));
    assert!(elsewhere.requests().iter().chain(&api.issuer.requests()).all(|r| r.header("x-tenant").is_none()));
    for wrong in ["Authorization=x", "cookie=x", "X", "=x", "X y=z"] {
        sandbox.tok(["login", &api.url(), "--header", wrong]).run().fails(2).says("--header");
    }
}

/// An API on another address of this machine, and an issuer whose name leads to loopback: names in a `hosts` file of the
/// program's own, so only root can.
#[cfg(target_os = "linux")]
#[test]
fn an_api_elsewhere_names_no_host_whose_name_leads_to_this_machine() {
    // Nothing is sent: this asks for the address that a packet would have.
    let outside = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let outside = outside.ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback());
    let (Some(outside), true) = (outside, crate::skip::is_root()) else {
        crate::skip::skip!("this needs root, and an address that is not of loopback");
    };
    // As the API, by both of its names, and as the issuer.
    let metadata = Arc::new(Mutex::new(Value::Null));
    let theirs = metadata.clone();
    let server = Server::tls_as(Certified::new(&["api.test", "auth.test"], false), move |request| {
        match (lock(&theirs).clone(), request.path()) {
            (Value::Object(all), path) if all.contains_key(path) => Reply::json(200, all[path].clone()),
            (_, "/mcp") => Reply::text(401, "").header("WWW-Authenticate", "Bearer scope=\"read\""),
            _ => Reply::json(404, json!({})),
        }
    });
    let door = TcpListener::bind((outside, 0)).expect("a port");
    let (port, inside) = (door.local_addr().unwrap().port(), server.port());
    std::thread::spawn(move || {
        for stream in door.incoming().flatten() {
            let far = TcpStream::connect(("127.0.0.1", inside)).unwrap();
            let (mut from, mut to) = (stream.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::thread::spawn(move || std::io::copy(&mut { far }, &mut { stream }));
        }
    });
    let (api, issuer) = (format!("https://api.test:{port}"), format!("https://auth.test:{inside}"));
    let of_issuer = |base: &str| {
        json!({"issuer": base, "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"), "registration_endpoint": format!("{issuer}/register")})
    };
    let run = |api_at: &str, address: &str, rest: &[&str]| {
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("SSL_CERT_FILE", server.ca_file());
        let hosts = sandbox.file("hosts", format!("{api_at} api.test\n127.0.0.1 auth.test\n"));
        let mount = format!("mount --bind {} /etc/hosts || exit 99", hosts.display());
        let login = sandbox.tok(["login", &format!("{address}/mcp"), "--no-browser"]).args(rest);
        let login = login.after(&format!("exec unshare -m sh -c '{mount}; exec \"$0\" \"$@\"' \"$0\" \"$@\""));
        let before = server.count();
        let out = login.run();
        (out, server.count() - before)
    };
    const REFUSED: &str = "its name leads to this machine or its own link";
    // The issuer, its registration endpoint, and the place of the API's metadata.
    *lock(&metadata) = json!({METADATA: {"resource": format!("{api}/mcp"), "authorization_servers": [issuer]}});
    let (out, count) = run(&outside.to_string(), &api, &[]);
    if out.code == 99 || out.stderr.starts_with("unshare") {
        crate::skip::skip!("no mount namespace: {}", out.stderr);
    }
    out.fails(8).says(&format!("{issuer} cannot be used: {REFUSED}"));
    assert_eq!(count, 2, "the API and its metadata");
    *lock(&metadata) = json!({METADATA: {"resource": format!("{api}/mcp"), "authorization_servers": [api]},
        OF_ISSUER: of_issuer(&api)});
    let (out, count) = run(&outside.to_string(), &api, &[]);
    out.fails(8).says(REFUSED);
    assert!(count > 2 && server.requests().iter().all(|request| request.path() != "/register"));
    // An issuer that a person names may be there; and so may all, where the API is.
    *lock(&metadata) = json!({METADATA: {"resource": format!("{api}/mcp"), "authorization_servers": [issuer]},
        OF_ISSUER: of_issuer(&issuer)});
    let (out, count) = run(&outside.to_string(), &api, &["--issuer", &issuer]);
    assert!(!out.stderr.contains(REFUSED) && count > 3, "{out}");
    let near = format!("https://api.test:{inside}");
    *lock(&metadata) = json!({METADATA: {"resource": format!("{near}/mcp"), "authorization_servers": [issuer]},
        OF_ISSUER: of_issuer(&issuer)});
    let (out, count) = run("127.0.0.1", &near, &[]);
    assert!(!out.stderr.contains(REFUSED) && count > 3, "{out}");
}

#[test]
fn an_api_that_answers_oddly_is_asked_once() {
    // A redirect, a page, an open API, one that says too much: its metadata count.
    let huge = "x".repeat(5 << 20);
    for reply in [
        Reply::text(307, "").header("Location", "/mcp/"),
        Reply::html(200),
        Reply::json(200, json!({})),
        Reply::json(503, json!({})),
        Reply::text(200, &huge),
        Reply::json(406, json!({})),
    ] {
        let api = Api::start();
        api.script("/mcp", [reply]);
        let (sandbox, browser) = api.sandbox();
        log_in(&browser, sandbox.tok(["login", &api.url()])).prints("");
        assert_eq!(api.api.requests().iter().filter(|request| request.path() == "/mcp").count(), 1);
    }
    let sandbox = Sandbox::with_file_store();
    for address in
        ["http://api.example/mcp", "https://api.example/#x", "https://u:p@api.example/", "https://api.example/../x"]
    {
        sandbox.tok(["login", address]).run().fails(2);
    }
    sandbox.tok(["login", "api.example/mcp"]).run().fails(3).hints_at("tok login https://api.example/mcp");
    let nobody = crate::refusing::free_port();
    sandbox.tok(["login", &format!("http://127.0.0.1:{nobody}/mcp"), "--timeout", "5s"]).run().fails(6);
    sandbox.assert_nothing_kept();
}

#[test]
fn a_metadata_loop_ends() {
    // The issuer names itself as an API of itself, and so on: nothing is followed twice.
    let api = Api::start();
    let base = api.issuer.url();
    let document = json!({"resource": base, "authorization_servers": [api.api.url()]});
    api.script(AT_ROOT, (0..9).map(|_| Reply::json(200, document.clone())));
    api.state(|s| s.resource = json!({"authorization_servers": [format!("{}/mcp", s_url(&api))]}));
    let (sandbox, _) = api.sandbox();
    sandbox.tok(["login", &api.url(), "--timeout", "20s"]).run().fails_with_one_of(&[5, 8]);
    assert!(api.api.count() + api.issuer.count() < 12);
    sandbox.assert_nothing_kept();
}

/// The API's own server.
fn s_url(api: &Api) -> String {
    api.api.url()
}
