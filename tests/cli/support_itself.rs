//! The harness is right: else the other tests prove nothing.

use crate::skip::needs;
use crate::support::keyring::Keyring;
use crate::support::server::{Reply, Server, exactly, form, members};
use crate::support::{Sandbox, apiax, purewl};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Sends bytes to a server and reads what it answers.
fn talk(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_server_records_what_it_gets_and_answers_by_its_script() {
    let server = Server::script([Reply::token("a", 60)]);
    let reply = talk(&server, &post("/x?a=b", "c=d+%C3%BC"));
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(reply.ends_with("\"expires_in\":60}"), "{reply}");
    let request = server.last();
    assert_eq!(request.query(), [("a".into(), "b".into())]);
    assert_eq!(request.form(), [("c".into(), "d ü".into())]);
    assert!(talk(&server, &post("/", "")).starts_with("HTTP/1.1 500 "));
}

#[test]
fn forms_and_objects_are_read_strictly() {
    assert!(form(b"a").is_err());
    assert!(form(b"a=%4").is_err());
    assert!(form(b"a=b c").is_err());
    assert_eq!(members(b"{\"a\":1,\"a\":2}").unwrap().len(), 2);
    let twice = members(b"{\"a\":1,\"a\":2}").unwrap();
    assert!(exactly(&twice, &["a"]).is_err());
    assert!(exactly(&twice, &["b"]).is_err());
}

#[test]
#[should_panic(expected = "purewl was asked wrongly")]
fn an_imitation_fails_the_test_that_asks_it_wrongly() {
    let purewl = purewl::PureWl::start();
    let body = "grantType=secret&secretKey=x&extra=1";
    let reply = talk(&purewl.server, &post("/auth/v1/accessToken", body));
    assert!(reply.contains("unknown field extra"), "{reply}");
}

#[test]
fn a_strict_imitation_notices_a_refresh_token_that_comes_twice() {
    let apiax = apiax::Apiax::start();
    apiax.state(|s| s.alive.insert("old".into(), None));
    let body = "grant_type=refresh_token&client_id=integration-api&refresh_token=old&client_assertion_type=\
                urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    assert!(talk(&apiax.server, &post(apiax::PATH, body)).contains("access_token"));
    assert!(talk(&apiax.server, &post(apiax::PATH, body)).contains("invalid_grant"));
    assert_eq!(apiax.state(|s| s.reused), 1);
}

#[test]
fn the_private_keyring_keeps_locks_and_opens() {
    needs!(keyring);
    let mut keyring = Keyring::unlocked();
    assert_eq!(keyring.lookup("tok", "somebody"), None);
    keyring.store("tok", "somebody", "a secret");
    assert_eq!(keyring.lookup("tok", "somebody").as_deref(), Some("a secret"));
    assert_eq!(keyring.count(), 1);
    keyring.lock();
    assert_eq!(keyring.lookup("tok", "somebody"), None);
    keyring.unlock();
    assert_eq!(keyring.lookup("tok", "somebody").as_deref(), Some("a secret"));
}

#[test]
fn a_sandbox_is_empty_and_takes_nothing_of_the_machine_along() {
    let sandbox = Sandbox::new();
    assert!(sandbox.files().is_empty());
    let command = sandbox.tok(["get"]).command();
    let names: Vec<_> = command.get_envs().map(|(name, _)| name).collect();
    assert_eq!(names, ["HOME", "PATH"]);
}
