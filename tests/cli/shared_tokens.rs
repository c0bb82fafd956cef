//! Tokens of non-interactive grants in a store that many machines share: one of them asks, and nothing was logged in. A
//! machine is a home of its own here, with the client's id and secret in its environment.

use crate::shared_stores::{Sqlite, vault};
use crate::skip::needs;
use crate::support::api::{self, Api, PROFILE};
use crate::support::apiax::{self, Apiax};
use crate::support::openbao::OpenBao;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::xcover::XCover;
use crate::support::{CANARY, Running, Sandbox, figures, full_sweeps, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn machine(xcover: &XCover, vault: &OpenBao) -> Sandbox {
    let mut sandbox = xcover.sandbox_with_client();
    vault.keeps(&mut sandbox);
    sandbox
}

/// `count` processes on the machines at once: the tokens that they print.
#[track_caller]
fn at_once(machines: &[Sandbox], count: usize, line: &str) -> BTreeSet<String> {
    let running: Vec<_> = (0..count)
        .map(|number| machines[number % machines.len()].tok(line.split(' ')).args(["--timeout", "280s"]).spawn())
        .collect();
    running.into_iter().map(|run| run.wait().silent().line()).collect()
}

/// The same with `--fresh`, two on each machine: before the reply comes, each machine has seen that another asks, for one
/// that looks later cannot know when it came.
#[track_caller]
fn fresh_at_once(server: &Server, machines: &[Sandbox], profile: &str) -> BTreeSet<String> {
    let (gate, heard) = (server.hold(), server.count());
    let call = |machine: &Sandbox| machine.tok(["get", profile, "--fresh", "-v", "--timeout", "280s"]).spawn();
    let mut running: Vec<_> = machines.iter().map(call).collect();
    server.until(heard + 1);
    let is_waiting = |run: &&Running| run.has_said("; waiting");
    until("all others wait", || running.iter().filter(is_waiting).count() == machines.len() - 1);
    for machine in machines {
        let mut another = call(machine);
        another.until_open_below(&machine.state_dir());
        running.push(another);
    }
    gate.open();
    running.into_iter().map(|run| run.wait().ok().line()).collect()
}

fn asked_once_by(count: usize, machine: impl Fn(&XCover) -> Sandbox) {
    let xcover = XCover::start();
    let machines: Vec<Sandbox> = (0..4).map(|_| machine(&xcover)).collect();
    let started = std::time::Instant::now();
    let tokens = at_once(&machines, count, "get xcover");
    figures(&format!("{count} processes on 4 machines, one token request: {:?}", started.elapsed()));
    assert_eq!((tokens.len(), xcover.server.count()), (1, 1), "{tokens:?}");
    // A machine that comes later takes it too, whatever it is to do with it.
    let token = tokens.into_iter().next().unwrap();
    let later = machine(&xcover);
    later.run("header xcover").silent().prints(&format!("Authorization: Bearer {token}\n"));
    let later = machine(&xcover);
    later.tok(["exec", "xcover", "--", "sh", "-c", "echo $ACCESS_TOKEN"]).run().silent().prints(&format!("{token}\n"));
    assert_eq!(xcover.server.count(), 1);
    // A new one is made once too, and is everybody's.
    let fresh = fresh_at_once(&xcover.server, &machines, "xcover");
    assert_eq!((fresh.len(), xcover.server.count()), (1, 2), "{fresh:?}");
    later.forget_cache();
    later.run("get xcover").silent().prints(&format!("{}\n", fresh.first().unwrap()));
    assert_eq!(xcover.server.count(), 2);
}

#[test]
fn many_processes_on_four_machines_make_one_token_request_through_a_vault() {
    let vault = vault!();
    asked_once_by(if full_sweeps() { 200 } else { 24 }, |xcover| machine(xcover, &vault));
    let (entry, _) = vault.entry("xcover");
    assert_eq!((entry.get("lease"), entry.get("refresh_token")), (None, None), "{entry}");
}

#[test]
fn many_processes_on_four_machines_make_one_token_request_through_a_program() {
    needs!("python3");
    let sqlite = Sqlite::new();
    asked_once_by(12, |xcover| {
        let mut sandbox = xcover.sandbox_with_client();
        sqlite.keeps(&mut sandbox);
        sandbox
    });
}

#[test]
fn curl_uses_a_token_that_another_machine_got() {
    needs!("curl");
    let (vault, xcover) = (vault!(), XCover::start());
    let token = machine(&xcover, &vault).run("get xcover").silent().line();
    let server = Server::new(move |request| match request.header("authorization") {
        Some(header) if header == format!("Bearer {token}") => Reply::text(200, "as expected"),
        _ => Reply::text(401, "another token"),
    });
    let other = machine(&xcover, &vault);
    other.config(&format!("[profile.xcover]\nhosts = [\"127.0.0.1:{0}\", \"{1}\"]\n", server.port(), server.url()));
    other.tok(["curl", "xcover", "-sS", &format!("{}/v1", server.url())]).run().silent().prints("as expected");
    assert_eq!(xcover.server.count(), 1);
}

#[test]
fn a_session_that_a_grant_begins_is_begun_once_for_all_machines() {
    let (vault, purewl) = (vault!(), PureWl::start());
    let machines: Vec<Sandbox> = (0..4)
        .map(|_| {
            let mut sandbox = purewl.sandbox();
            vault.keeps(&mut sandbox);
            sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
            sandbox
        })
        .collect();
    assert_eq!(at_once(&machines, 12, "get purewl").len(), 1);
    assert_eq!((purewl.server.count(), purewl.state(|state| state.alive.len())), (1, 1));
    // From here on it is renewed, by whoever comes first.
    for machine in &machines {
        machine.run("get purewl --fresh").silent().line();
    }
    assert_eq!(fresh_at_once(&purewl.server, &machines, "purewl").len(), 1);
    assert_eq!((purewl.server.count(), purewl.state(|state| state.reused)), (6, 0));
    // A session that has ended is begun again once, by the grant that needs nobody.
    purewl.state(|state| state.alive.clear());
    assert_eq!(fresh_at_once(&purewl.server, &machines, "purewl").len(), 1);
    assert_eq!(purewl.server.count(), 8, "one refusal, one new session");
    machines[0].run("get purewl --fresh").silent().line();
    assert_eq!((purewl.server.count(), purewl.state(|state| state.reused)), (9, 0));
}

#[test]
fn a_machine_that_cannot_share_its_token_gets_one_all_the_same() {
    let (vault, xcover) = (vault!(), XCover::start());
    let mut narrow = machine(&xcover, &vault);
    let reads = vault.token_for(r#"path "secret/data/ci/tok/*" { capabilities = ["read", "update"] }"#);
    narrow.set("VAULT_TOKEN", &reads);
    narrow.run("get xcover").silent().line();
    narrow.run("get xcover --fresh -v").ok().says("this token is not shared").says("permission denied");
    assert_eq!((xcover.server.count(), vault.entry("xcover").1), (2, 0));
    // What is there it may replace.
    machine(&xcover, &vault).run("get xcover").silent().line();
    narrow.forget_cache();
    narrow.run("get xcover").silent().line();
    assert_eq!(xcover.server.count(), 3);
    let fresh = narrow.run("get xcover --fresh").silent().line();
    machine(&xcover, &vault).run("get xcover").silent().prints(&format!("{fresh}\n"));
    assert_eq!(xcover.server.count(), 4);
    // Nor does it need the store at all.
    let other = machine(&xcover, &vault);
    for trouble in ["VAULT_ADDR", "VAULT_TOKEN"] {
        let run = other.tok(["get", "xcover", "-v", "--fresh"]).env_remove(trouble).run();
        run.ok().says("continuing without it");
    }
    vault.does("PUT", "sys/seal", Value::Null);
    other.run("get xcover --fresh").silent().soon();
    other.run("get xcover --fresh --timeout 4s -v").ok().says("the vault is sealed").soon();
    drop(vault);
    other.run("get xcover --fresh").silent().soon();
    assert_eq!(xcover.server.count(), 9);
}

#[test]
fn a_token_that_is_not_to_wait_is_not_shared() {
    let (vault, xcover) = (vault!(), XCover::start());
    let machines: Vec<Sandbox> = (0..2).map(|_| machine(&xcover, &vault)).collect();
    for machine in &machines {
        machine.run("get xcover --no-store").silent().line();
        machine.tok(["get", "xcover"]).env("TOK_CACHE", "off").run().silent().line();
    }
    for machine in &machines {
        machine.config("share = \"session\"\n");
        machine.run("get xcover").silent().line();
    }
    assert_eq!((xcover.server.count(), vault.entry("xcover").1), (6, 0));
    // Of one that cannot be kept everybody gets one of their own.
    xcover.state(|state| (state.expires_in, state.jwt_life) = (json!(0), -1.0));
    for machine in &machines {
        machine.config("");
        machine.forget_cache();
    }
    let running: Vec<_> = (0..8).map(|number| machines[number % 2].tok(["get", "xcover"]).spawn()).collect();
    running.into_iter().for_each(|run| drop(run.wait().ok().line()));
    assert_eq!(xcover.server.count(), 14);
    assert_eq!(vault.entry("xcover").0.get("access"), None);
}

#[test]
fn a_provider_that_refuses_or_a_machine_that_dies_holds_nobody_up() {
    let (vault, xcover) = (vault!(), XCover::start());
    let good = machine(&xcover, &vault);
    let mut bad = machine(&xcover, &vault);
    bad.set("TOK_XCOVER_CLIENT_SECRET", format!("wrong-{CANARY}"));
    let running: Vec<_> = (0..3).map(|_| bad.tok(["get", "xcover"]).spawn()).collect();
    running.into_iter().for_each(|run| drop(run.wait().fails(5).says("invalid_client")));
    assert_eq!(vault.entry("xcover").0.get("lease"), None);
    let first = good.run("get xcover").silent().line();
    // The other client's token answers nobody with another secret.
    bad.run("get xcover").fails(5);
    // A machine that took the lease and died: it runs out by itself.
    let (mut entry, _) = vault.entry("xcover");
    entry["lease"] = json!({"id": "l", "host": "runner-7", "pid": 5, "seconds": 1});
    vault.put("xcover", &entry.to_string());
    let running = json!({"id": "l", "host": "runner-7", "pid": 5, "seconds": 60});
    let (mut other, _) = vault.entry("xcover");
    other["lease"] = running;
    vault.put("xcover", &other.to_string());
    good.run("get xcover --fresh --timeout 2s").fails(6).says("runner-7 is getting a token");
    vault.put("xcover", &entry.to_string());
    let second = good.run("get xcover --fresh -v").ok().says("runner-7 (process 5)").line();
    assert_ne!(first, second);
    assert_eq!(vault.entry("xcover").0.get("lease"), None);
}

#[test]
fn a_stored_password_that_is_refused_is_sent_by_no_other_machine() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines: Vec<Sandbox> = (0..3)
        .map(|_| {
            let mut sandbox = apiax.sandbox();
            vault.keeps(&mut sandbox);
            sandbox.set("TOK_APIAX_USERNAME", apiax::USERNAME);
            sandbox
        })
        .collect();
    let log_in = || {
        let password = machines[0].file_arg("password", apiax::password());
        let login = ["login", "apiax", "password", "--keep", "--password-file", &password];
        machines[0].tok(login).run().prints("");
    };
    log_in();
    let refusal = || Reply::json(400, json!({"error": "invalid_grant", "error_description": "no"}));
    apiax.server.next(refusal()).next(refusal());
    machines[0].run("get apiax --fresh").fails(5);
    assert_eq!(apiax.grants().len(), 3, "login, refresh, password");
    for machine in &machines {
        machine.run("get apiax --fresh").fails(4).says("does not send them twice");
    }
    assert_eq!(apiax.grants().len(), 3);
    log_in();
    machines[2].run("get apiax --fresh").silent().line();
}

// Registered clients

/// What a store holds for the clients of `api`.
fn clients(vault: &OpenBao, api: &Api) -> Value {
    // In a path, of which each part is what is between slashes.
    vault.entry(&format!("client:{}", api.issuer.url().replace("//", "/"))).0
}

#[test]
fn a_client_that_was_registered_moves_with_its_session() {
    let (vault, api) = (vault!(), Api::start());
    // One with a secret, which the server has made up.
    api.state(|s| s.registration = json!({
        "client_secret": format!("cs-{CANARY}"), "token_endpoint_auth_method": "client_secret_basic", "client_secret_expires_at": 0,
    }));
    let (mut first, browser) = api.sandbox();
    let at = |sandbox: &mut Sandbox| {
        vault.keeps(sandbox);
        sandbox.unset("TOK_STORE");
    };
    at(&mut first);
    first.unset("TOK_STORE");
    api::log_in(&browser, first.tok(["login", &api.url(), "--store", "file"])).prints("");
    first.tok(["login", PROFILE, "--move-to", "vault:secret/ci/tok"]).run().prints("");
    let moved = clients(&vault, &api);
    assert_eq!(
        (&moved["clients"][0]["client_id"], &moved["clients"][0]["profiles"]),
        (&json!("client-1"), &json!([PROFILE]))
    );
    assert_eq!(first.secrets(), json!({}), "nothing stays behind");
    // Another machine has the config, and no file of the first.
    let mut second = Sandbox::new();
    at(&mut second);
    second.config(&std::fs::read_to_string(first.config_file()).unwrap());
    second.run(&format!("get {PROFILE} --fresh")).silent().line();
    let renewed = api.asked("/token").pop().unwrap();
    assert_eq!(renewed.field("grant_type"), "refresh_token");
    assert!(renewed.header("authorization").is_some_and(|header| header.starts_with("Basic ")));
    first.run(&format!("get {PROFILE} --fresh")).silent().line();
    // A login anew uses the same client, and the last one to leave deletes it.
    api::log_in(&browser, first.tok(["login", PROFILE])).prints("");
    assert_eq!(api.registrations().len(), 1);
    first.run(&format!("logout {PROFILE} --remove")).ok();
    assert_eq!((clients(&vault, &api), api.asked("/register/client-1").len()), (Value::Null, 1));
}

#[test]
fn a_client_that_another_profile_uses_stays_there_for_it() {
    let (vault, api) = (vault!(), Api::start());
    let (mut sandbox, browser) = api.sandbox();
    vault.keeps(&mut sandbox);
    sandbox.unset("TOK_STORE");
    for name in ["one", "two"] {
        api::log_in(&browser, sandbox.tok(["login", &api.url(), "--as", name, "--store", "file"])).prints("");
    }
    sandbox.tok(["login", "one", "--move-to", "vault:secret/ci/tok"]).run().prints("");
    assert_eq!(clients(&vault, &api)["clients"][0]["profiles"], json!(["one", "two"]));
    assert_eq!(sandbox.secrets()[format!("client:{}", api.issuer.url())]["clients"][0]["profiles"], json!(["two"]));
    sandbox.run("logout one --remove").ok();
    assert_eq!(api.asked("/register/client-1").len(), 0, "the other profile still has it");
    sandbox.run("get two --fresh").silent().line();
    sandbox.run("logout two --remove").ok();
    assert_eq!(api.asked("/register/client-1").len(), 1);
}
