//! The redirect URI that a provider takes (`redirect` in its file): what a login uses by itself, and what is shown.

use crate::support::Sandbox;
use crate::support::issuer::{Browser, Visit};
use crate::support::server::{Reply, Server};
use serde_json::{Value, json};

fn file(redirect: &str, more: &str, server: &Server) -> String {
    let url = server.url();
    format!(
        "title = \"Shop\"\nlike = \"oauth2\"\nredirect = \"{redirect}\"\nregister = \"https://shop.example/apps\"\n\
         [params.token_url]\ndefault = \"{url}/token\"\n[params.authorize_url]\ndefault = \"{url}/authorize\"\n\
         [grants.authorization-code]\n[grants.device-code]\n[grants.refresh]\n{more}"
    )
}

fn shop(redirect: &str, more: &str) -> (Server, Sandbox) {
    let server = Server::script([Reply::json(200, json!({"access_token": "at-1", "expires_in": 3600}))]);
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("shop", &file(redirect, more, &server));
    (server, sandbox)
}

/// Where the login leads, as it is shown to be opened elsewhere.
fn visit(screen: &str) -> Visit {
    let address = screen.split_whitespace().find(|word| word.contains("/authorize?")).expect("an address");
    Visit::to(address)
}

/// The redirect URI that a login without a browser sends.
fn sent(redirect: &str, more: &str, args: &str) -> String {
    let (server, sandbox) = shop(redirect, more);
    let line = format!("login shop authorization-code --client-id c --no-browser {args}");
    let mut terminal = sandbox.tok(line.split_whitespace()).on_terminal();
    let visit = visit(&terminal.expect("paste the address").replace('\r', ""));
    terminal.type_line(&visit.answer(&format!("code=x&state={}", visit.value("state"))));
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    let uri = visit.value("redirect_uri");
    assert_eq!(server.last().field("redirect_uri"), uri);
    uri
}

#[test]
fn a_login_ends_where_the_provider_lets_it() {
    for (redirect, more, args, uri) in [
        ("exact", "", "", "http://127.0.0.1:28650/callback"),
        ("exact-localhost", "", "", "http://localhost:28650/callback"),
        // What the file or a person says comes first.
        ("exact", "[params.redirect_host]\ndefault = \"localhost\"\n", "", "http://localhost:28650/callback"),
        ("exact-localhost", "[params.redirect_path]\ndefault = \"/\"\n", "", "http://localhost:28650/"),
        ("exact", "[params.redirect_port]\ndefault = \"8080\"\n", "", "http://127.0.0.1:8080/callback"),
        ("exact-localhost", "", "--redirect-host 127.0.0.1 --redirect-port 8081", "http://127.0.0.1:8081/callback"),
        ("https", "", "--redirect-port 8082", "http://127.0.0.1:8082/callback"),
    ] {
        assert_eq!(sent(redirect, more, args), uri, "{redirect} {more} {args}");
    }
    for (redirect, host) in [("any-port", "127.0.0.1"), ("localhost", "localhost")] {
        let uri = sent(redirect, "", "");
        let port = uri.strip_prefix(&format!("http://{host}:")).and_then(|rest| rest.strip_suffix("/callback"));
        assert!(port.expect("a port").parse::<u16>().unwrap() != 28650, "{uri}");
    }
}

#[test]
fn a_login_that_ends_elsewhere_is_pasted_by_itself() {
    let (server, mut sandbox) = shop("https", "");
    let browser = Browser::of(&mut sandbox);
    let out = sandbox.run("login shop --client-id c").fails(4).says("shop needs redirect_url");
    out.hints_at("tok login shop --client-id c --redirect-url VALUE");
    let mut terminal = sandbox.tok(["login", "shop", "authorization-code", "--client-id", "c"]).on_terminal();
    terminal.expect("Redirect URL that is not on this machine");
    terminal.type_line("https://me.example/back");
    let visit = visit(&terminal.expect("it begins with https://me.example/back").replace('\r', ""));
    assert_eq!(visit.value("redirect_uri"), "https://me.example/back");
    terminal.type_line(&format!("https://me.example/back?code=x&state={}", visit.value("state")));
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    assert_eq!(server.last().field("redirect_uri"), "https://me.example/back");
    assert!(!browser.was_opened());
    // It is known from then on.
    assert!(
        std::fs::read_to_string(sandbox.config_file()).unwrap().contains("redirect_url = \"https://me.example/back\"")
    );
    // A login on another device ends nowhere.
    sandbox.run("providers --try shop device-code").silent();
}

#[test]
fn what_is_to_be_registered_is_shown() {
    for (redirect, uri, shown) in [
        ("exact", "http://127.0.0.1:28650/callback", "http://127.0.0.1:28650/callback, exactly as registered"),
        ("any-port", "http://127.0.0.1/callback", "http://127.0.0.1/callback, with any port"),
        ("localhost", "http://localhost/callback", "http://localhost/callback, with any port"),
    ] {
        let (_server, sandbox) = shop(redirect, "");
        let out = sandbox.run("providers shop").silent();
        assert!(out.stdout.contains(shown), "{out}");
        let json: Value = serde_json::from_str(&sandbox.run("providers shop --json").silent().stdout).unwrap();
        assert_eq!((json["redirect"].as_str(), json["redirect_uri"].as_str()), (Some(redirect), Some(uri)));
        let register = format!("register a client at https://shop.example/apps with the redirect URI {uri}");
        sandbox.run("login shop authorization-code").fails(4).says(&register).hints_at("--client-id VALUE");
        let mut terminal = sandbox.tok(["login", "shop", "authorization-code"]).on_terminal();
        terminal.expect(&format!("Client ID ({register}): "));
        terminal.control('c');
        // No browser comes back to this machine there.
        let out =
            sandbox.run("login shop device-code").fails(4).says("register a client at https://shop.example/apps;");
        out.never_says("redirect URI");
    }
    let (_server, sandbox) = shop("exact", "");
    let uri = "http://localhost:9000/callback";
    sandbox.run("login shop --redirect-host localhost --redirect-port 9000").fails(4).says(uri);
    let (_server, sandbox) = shop("https", "");
    let out = sandbox.run("providers shop").silent();
    assert!(out.stdout.contains("https only, none on this machine: --redirect-url"), "{out}");
    // A file that is like it is about a server that takes the same.
    sandbox.provider("ours", "title = \"Ours\"\nlike = \"slack\"\n");
    let json: Value = serde_json::from_str(&sandbox.run("providers ours --json").silent().stdout).unwrap();
    assert_eq!(json["redirect_uri"], "http://localhost:28650/callback");
}

#[test]
fn each_built_in_one_is_registered_as_it_says() {
    let all: Vec<Value> = serde_json::from_str(&Sandbox::new().run("providers --json").silent().stdout).unwrap();
    let mut seen = 0;
    for provider in &all {
        let Some(redirect) = provider["redirect"].as_str() else { continue };
        let uri = provider["redirect_uri"].as_str();
        let is_right = match (redirect, uri) {
            ("https", None) => true,
            (_, Some(uri)) => {
                let rest = uri.strip_prefix("http://").unwrap();
                let host = if redirect.ends_with("localhost") { "localhost" } else { "127.0.0.1" };
                let port = if redirect.starts_with("exact") { ":28650/" } else { "/" };
                rest.starts_with(&format!("{host}{port}"))
            }
            _ => false,
        };
        assert!(is_right, "{}: {redirect}: {uri:?}", provider["name"]);
        seen += 1;
    }
    assert!(seen > 80, "{seen}");
}
