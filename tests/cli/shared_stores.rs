//! One session, many machines: stores that compare versions. A machine is a home of its own here; the store is a real
//! OpenBao over TLS, or the program of `docs/stores/` over a real SQLite.

use crate::child::{SOON, Start};
use crate::skip::needs;
use crate::support::apiax::{self, Apiax};
use crate::support::issuer::base64url;
use crate::support::openbao::{self, OpenBao};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Output, Sandbox, at_once, chmod, figures, full_sweeps, now, put, until};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// The vault, or the end of the test as skipped.
macro_rules! vault {
    () => {
        match $crate::support::openbao::OpenBao::start() {
            Ok(vault) => vault,
            Err(why) => $crate::skip::skip!("{why}"),
        }
    };
}
pub(crate) use vault;

/// A machine that keeps its sessions in `vault`.
fn machine(apiax: &Apiax, vault: &OpenBao) -> Sandbox {
    let mut sandbox = apiax.sandbox();
    vault.keeps(&mut sandbox);
    sandbox
}

/// `count` machines of which the first has logged in.
fn machines(apiax: &Apiax, vault: &OpenBao, count: usize) -> Vec<Sandbox> {
    let all: Vec<Sandbox> = (0..count).map(|_| machine(apiax, vault)).collect();
    apiax::login(&all[0]);
    all
}

/// The access token that is issued as the `number`th.
pub fn at(number: usize) -> String {
    format!("at-{CANARY}-{number}")
}

/// The provider has seen only these grants, and no refresh token twice.
#[track_caller]
pub fn saw(apiax: &Apiax, grants: &[&str]) {
    assert_eq!(apiax.grants(), grants);
    assert_eq!(apiax.state(|state| state.reused), 0);
}

/// The store is the trouble, and the provider has heard nothing of it.
#[track_caller]
pub fn refused(apiax: &Apiax, run: impl FnOnce() -> Output) -> Output {
    let heard = apiax.server.count();
    let output = run().fails(7);
    assert_eq!(apiax.server.count(), heard, "something was sent: {output}");
    output
}

// A vault

#[test]
fn a_session_in_a_vault_serves_every_machine_that_may_read_it() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines = machines(&apiax, &vault, 3);
    // The token of the login is every machine's.
    machines[1].run("get apiax").silent().prints(&format!("{}\n", at(1)));
    saw(&apiax, &["password"]);
    // One asks for a new one, which is then everybody's; the others' own copies are as good as before.
    machines[2].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    machines[1].forget_cache();
    machines[1].run("get apiax").silent().prints(&format!("{}\n", at(2)));
    for (machine, number) in [(0, 3), (1, 4), (2, 5), (0, 6)] {
        machines[machine].run("get apiax --fresh").silent().prints(&format!("{}\n", at(number)));
    }
    saw(&apiax, &["password", "refresh_token", "refresh_token", "refresh_token", "refresh_token", "refresh_token"]);
    let (entry, _) = vault.entry("apiax");
    assert_eq!(entry["refresh_token"], json!(format!("rt-{CANARY}-6")));
    assert_eq!(entry["generation"], json!(5));
    assert_eq!(entry.get("lease"), None, "{entry}");
    for machine in &machines {
        let state = machine.state_dir().strip_prefix(machine.home()).unwrap().to_path_buf();
        let spilled = machine.files_with(CANARY);
        assert!(spilled.iter().all(|path| path.starts_with(&state)), "only its cache: {spilled:?}");
        assert_eq!(machine.files_with(&format!("rt-{CANARY}")), Vec::<PathBuf>::new());
    }
}

/// `count` processes on four machines find that the token has expired.
pub fn renewed_once_by(count: usize, begin: impl FnOnce(&Apiax) -> Vec<Sandbox>) {
    let apiax = Apiax::start();
    apiax.state(|state| state.life = 1);
    let machines = begin(&apiax);
    let start = now();
    until("the token has expired", || now() > start + 1);
    apiax.state(|state| state.life = 1800);
    let started = std::time::Instant::now();
    let running = (0..count).map(|number| {
        let machine = &machines[number % machines.len()];
        machine.tok(["get", "apiax", "--timeout", "280s"]).spawn()
    });
    let running: Vec<_> = running.collect();
    let tokens: BTreeSet<String> = running.into_iter().map(|run| run.wait().silent().line()).collect();
    figures(&format!("{count} processes on {} machines, one refresh: {:?}", machines.len(), started.elapsed()));
    assert_eq!(tokens, BTreeSet::from([at(2)]));
    saw(&apiax, &["password", "refresh_token"]);
    machines[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(3)));
}

#[test]
fn many_processes_on_four_machines_make_one_refresh_through_a_vault() {
    let vault = vault!();
    renewed_once_by(if full_sweeps() { 200 } else { 24 }, |apiax| machines(apiax, &vault, 4));
}

#[test]
fn a_login_writes_the_store_into_the_config() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let mut machine = machine(&apiax, &vault);
    machine.unset("TOK_STORE");
    let password = machine.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--username", apiax::USERNAME, "--store", "vault:secret/ci/tok"];
    machine.tok(login).args(["--password-file", &password]).run().prints("");
    let config = std::fs::read_to_string(machine.config_file()).unwrap();
    assert!(config.contains("store = \"vault:secret/ci/tok\""), "{config}");
    machine.run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
}

#[test]
fn a_vault_is_found_by_the_config_and_each_of_its_logins() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let policy = r#"path "secret/data/ci/tok/*" { capabilities = ["create", "read", "update"] }"#;
    vault.does("PUT", "sys/policies/acl/tok", json!({"policy": policy}));
    // An application, by its role and a secret in a file.
    vault.does("POST", "sys/auth/approle", json!({"type": "approle"}));
    vault.does("POST", "auth/approle/role/cron", json!({"token_policies": "tok"}));
    let role = vault.does("GET", "auth/approle/role/cron/role-id", Value::Null);
    let secret = vault.does("POST", "auth/approle/role/cron/secret-id", json!({}));
    // A job, by a token of its service.
    let key = rcgen::KeyPair::generate().unwrap();
    vault.does("POST", "sys/auth/ci", json!({"type": "jwt"}));
    vault.does("POST", "auth/ci/config", json!({"jwt_validation_pubkeys": [key.public_key_pem()]}));
    let bound = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["tok"], "token_policies": "tok"});
    vault.does("POST", "auth/ci/role/runner", bound);
    let claims = json!({"iss": "ci", "sub": "repo:a/b", "aud": "tok", "iat": now(), "exp": now() + 600});
    let job = signed(&key, &claims);
    // A pod, whose token the vault shows to the cluster.
    let cluster = Server::tls(|request| {
        assert_eq!(request.path(), "/apis/authentication.k8s.io/v1/tokenreviews");
        let user = json!({"username": "system:serviceaccount:jobs:tok", "uid": "u1"});
        Reply::json(
            201,
            json!({"kind": "TokenReview", "status": {"authenticated": true, "user": user, "audiences": ["vault"]}}),
        )
    });
    vault.does("POST", "sys/auth/kubernetes", json!({"type": "kubernetes"}));
    let ca = std::fs::read_to_string(cluster.ca_file()).unwrap();
    let config = json!({
        "kubernetes_host": cluster.url(), "kubernetes_ca_cert": ca, "token_reviewer_jwt": "r", "disable_local_ca_jwt": true,
    });
    vault.does("POST", "auth/kubernetes/config", config);
    let bound = json!({
        "bound_service_account_names": "tok", "bound_service_account_namespaces": "jobs", "token_policies": "tok",
    });
    vault.does("POST", "auth/kubernetes/role/pod", bound);
    let account = json!({"namespace": "jobs", "serviceaccount": {"name": "tok", "uid": "u1"}});
    let claims = json!({
        "iss": "kubernetes", "sub": "system:serviceaccount:jobs:tok", "aud": ["vault"], "nbf": now() - 10, "exp": now() + 600,
        "kubernetes.io": account,
    });
    let pod = signed(&key, &claims);

    let (told, service) = (job.clone(), format!("service-{CANARY}"));
    let github = Server::new(move |request| {
        assert!(request.target.contains("audience=tok"), "{}", request.target);
        Reply::json(200, json!({"value": told}))
    });

    apiax::login(&machine(&apiax, &vault));
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let logins = [
        (
            "approle",
            format!("role = {:?}", text(&role["data"]["role_id"])),
            "secret_id",
            text(&secret["data"]["secret_id"]),
        ),
        ("jwt", "role = \"runner\"\nauth_mount = \"ci\"".to_string(), "jwt", job),
        ("kubernetes", "role = \"pod\"".to_string(), "jwt", pod),
    ];
    for (number, (auth, more, name, secret)) in logins.iter().enumerate() {
        let mut sandbox = apiax.sandbox();
        sandbox.unset("TOK_STORE").set("CI_TOKEN", secret);
        let file = sandbox.file_arg("secret", format!("{secret}\n"));
        // A job of GitHub's asks for its token itself.
        sandbox.set("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/id?v=1", github.url()));
        sandbox.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &service);
        let by_ci = (*auth == "jwt").then(|| "{ ci = \"github\", audience = \"tok\" }".to_string());
        let others = [format!("{{ file = {file:?} }}"), "{ env = \"CI_TOKEN\" }".to_string()];
        for given in by_ci.into_iter().chain(others) {
            sandbox.config(&format!(
                "store = \"vault:secret/ci/tok\"\n[vault]\naddress = {:?}\nca_file = {:?}\nauth = {auth:?}\n{more}\n{name} = {given}\n",
                vault.address,
                vault.ca.as_ref().unwrap(),
            ));
            sandbox.forget_cache();
            sandbox.run("get apiax").silent().prints(&format!("{}\n", at(number + 1)));
        }
        sandbox.run("get apiax --fresh").silent().prints(&format!("{}\n", at(number + 2)));
        // A secret that is wrong is named by where it came from.
        sandbox.set("CI_TOKEN", "wrong");
        sandbox.forget_cache();
        refused(&apiax, || sandbox.run("get apiax")).says(auth).says(name);
        sandbox.unset("CI_TOKEN");
        refused(&apiax, || sandbox.run("get apiax")).says("CI_TOKEN is not set");
    }
}

/// A JWT with these claims (RFC 7515), ES256.
fn signed(key: &rcgen::KeyPair, claims: &Value) -> String {
    let random = ring::rand::SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random).unwrap();
    let header = json!({"alg": "ES256", "typ": "JWT"});
    let text = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    let signature = pair.sign(&random, text.as_bytes()).unwrap();
    format!("{text}.{}", base64url(signature.as_ref()))
}

#[test]
fn a_vault_in_a_namespace_is_asked_there() {
    let (vault, apiax) = (vault!(), Apiax::start());
    vault.does("POST", "sys/namespaces/team", json!({}));
    vault.does("POST", "team/sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}}));
    let mut sandbox = machine(&apiax, &vault);
    sandbox.set("VAULT_NAMESPACE", "team");
    apiax::login(&sandbox);
    let there = vault.does("GET", "team/secret/data/ci/tok/apiax", Value::Null);
    assert!(there["data"]["data"]["entry"].as_str().unwrap().contains(&format!("rt-{CANARY}-1")));
    assert_eq!(vault.entry("apiax").0, Value::Null);
}

#[test]
fn a_logout_ends_the_session_of_every_machine_and_leaves_no_version() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines = machines(&apiax, &vault, 2);
    machines[0].run("get apiax --fresh").silent().line();
    machines[1].run("logout apiax").ok();
    let (_, last) = vault.entry("apiax");
    for version in 1..=last {
        let (status, body) = vault.call("GET", &format!("secret/data/ci/tok/apiax?version={version}"), Value::Null);
        let destroyed = &body["data"]["metadata"]["destroyed"];
        let text = body["data"]["data"]["entry"].as_str().unwrap_or_default();
        assert!(*destroyed == json!(true) || !text.contains(CANARY), "{version}: {status} {body}");
    }
    machines[0].run("get apiax --fresh").fails(4).hints_at("tok login apiax");
    // A new login goes on with the versions.
    apiax::login(&machines[0]);
    assert!(vault.entry("apiax").1 > last);
    machines[1].run("get apiax --fresh").silent().line();
}

#[test]
fn a_mount_that_cannot_compare_is_refused_by_asking_it() {
    let (vault, apiax) = (vault!(), Apiax::start());
    vault.does("POST", "sys/mounts/kv1", json!({"type": "kv", "options": {"version": "1"}}));
    let mut sandbox = machine(&apiax, &vault);
    let password = sandbox.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--username", apiax::USERNAME, "--password-file", &password];
    sandbox.set("TOK_STORE", "vault:kv1/ci/tok");
    refused(&apiax, || sandbox.tok(login).run()).says("KV version 1").says("version 2 is needed");
    assert_eq!(vault.call("GET", "kv1/data/ci/tok/apiax", Value::Null).0, 404, "nothing was written");
    sandbox.set("TOK_STORE", "vault:nowhere/ci/tok");
    refused(&apiax, || sandbox.tok(login).run());
    refused(&apiax, || sandbox.run("get apiax"));
}

#[test]
fn what_a_policy_does_not_allow_is_found_out_before_anything_is_sent() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let all = machines(&apiax, &vault, 2);
    let reads = vault.token_for(r#"path "secret/data/ci/tok/*" { capabilities = ["read"] }"#);
    let mut other = machine(&apiax, &vault);
    other.set("VAULT_TOKEN", &reads);
    // It can read the session, and not keep the next.
    other.run("get apiax").silent().prints(&format!("{}\n", at(1)));
    refused(&apiax, || other.run("get apiax --fresh")).says("permission denied");
    let password = other.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--username", apiax::USERNAME, "--password-file", &password];
    refused(&apiax, || other.tok(login).run()).says("VAULT_TOKEN");
    // `update` is enough for what is there.
    let updates = vault.token_for(r#"path "secret/data/ci/tok/*" { capabilities = ["read", "update"] }"#);
    other.set("VAULT_TOKEN", &updates);
    other.run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    for token in ["wrong", ""] {
        other.set("VAULT_TOKEN", token);
        other.forget_cache();
        refused(&apiax, || other.run("get apiax")).says("VAULT_TOKEN");
    }
    all[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(3)));
}

#[test]
fn a_vault_that_is_sealed_or_away_is_the_stores_trouble() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines = machines(&apiax, &vault, 2);
    vault.does("PUT", "sys/seal", Value::Null);
    until("it says that it is sealed", || {
        vault.call("GET", "secret/data/ci/tok/apiax", Value::Null).1["errors"].to_string().contains("sealed")
    });
    refused(&apiax, || machines[1].run("get apiax --timeout 2s")).says("sealed").soon();
    // The machine's own token is as good as before.
    machines[0].run("get apiax").silent().prints(&format!("{}\n", at(1)));
    drop(vault);
    refused(&apiax, || machines[1].run("get apiax --timeout 2s")).says("cannot be reached").soon();
}

#[test]
fn an_entry_that_is_not_toks_is_left_alone_and_one_of_a_newer_tok_keeps_its_fields() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines = machines(&apiax, &vault, 2);
    let (good, _) = vault.entry("apiax");
    let foreign = [
        json!({"password": format!("hunter2-{CANARY}")}).to_string(),
        format!("plain text {CANARY}"),
        format!(r#"{{"secrets":{{}},"generation":"{CANARY}"}}"#),
    ];
    vault.does("POST", "secret/data/ci/tok/apiax", json!({"data": {"password": CANARY}}));
    refused(&apiax, || machines[1].run("get apiax --fresh")).says("not written by tok");
    for entry in &foreign[1..] {
        vault.put("apiax", entry);
        let before = vault.entry_text("apiax");
        refused(&apiax, || machines[1].run("get apiax --fresh"));
        assert_eq!(vault.entry_text("apiax"), before);
    }
    vault.put("apiax", &foreign[0]);
    machines[1].run("get apiax --fresh").fails(4);
    let mut newer = good.clone();
    newer["next_decade"] = json!({"deep": [1, 2.50]});
    vault.put("apiax", &newer.to_string());
    machines[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    let (entry, _) = vault.entry("apiax");
    assert_eq!((&entry["next_decade"], &entry["generation"]), (&newer["next_decade"], &json!(1)));
}

#[test]
fn a_place_that_answers_oddly_gets_no_token_sent_for() {
    let apiax = Apiax::start();
    let v2 = json!({"data": {"options": {"version": "2"}}});
    let entry = |text: String| json!({"data": {"data": {"entry": text}, "metadata": {"version": 3, "created_time": "2026-01-01T00:00:00Z"}}});
    // A session that could be renewed, behind a place that takes writes in ways of its own.
    let kept = apiax.logged_in().secrets()["apiax"].to_string();
    let writes = [
        Reply::new(204, "text/plain", ""),
        Reply::html(200),
        Reply::html(403),
        Reply::json(200, json!({"data": {}})),
        Reply::json(200, json!({"data": {"version": 3}})),
        Reply::json(200, json!({"data": {"version": 9}})),
        Reply::new(307, "text/plain", "").header("Location", "http://127.0.0.1:9/v1/x"),
        Reply::json(200, json!({"data": {"version": 4}})).length(500),
    ];
    let takes = |reply: Reply| {
        let (v2, held) = (v2.clone(), entry(kept.clone()));
        Server::new(move |request| match (request.method.as_str(), request.path()) {
            ("GET", path) if path.starts_with("/v1/sys/internal/ui/mounts/") => Reply::json(200, v2.clone()),
            ("GET", _) => Reply::json(200, held.clone()),
            _ => reply.clone(),
        })
    };
    at_once(writes, |reply| {
        refused(&apiax, || behind(&apiax, &takes(reply)).run("get apiax --timeout 2s")).soon();
    });
    let reads = [
        Reply::html(200),
        Reply::html(403),
        Reply::html(502),
        Reply::html(404),
        Reply::new(307, "text/plain", "").header("Location", "http://127.0.0.1:9/v1/x"),
        Reply::json(200, json!([])),
        Reply::json(400, json!({"errors": ["odd"]})),
        Reply::json(200, json!({})),
        Reply::json(200, json!({"data": {}})),
        Reply::json(200, json!({"data": {"data": {"entry": 5}, "metadata": {"version": 3}}})),
        Reply::json(200, json!({"data": {"data": {"entry": "{}"}, "metadata": {"version": "3"}}})),
        Reply::json(404, json!({"message": "no route matched with those values"})),
        Reply::new(204, "text/plain", ""),
        Reply::nothing(),
    ];
    at_once(reads, |reply| {
        let place = Server::always(reply);
        refused(&apiax, || behind(&apiax, &place).run("get apiax --timeout 2s")).soon();
    });
    // One that answers as a vault does shows that the answers are what kept it from being sent.
    let place = takes(Reply::json(200, json!({"data": {"version": 4}})));
    behind(&apiax, &place).run("get apiax --timeout 2s").prints(&format!("{}\n", at(2)));
    saw(&apiax, &["password", "refresh_token"]);
}

/// A machine whose vault is `place`.
fn behind(apiax: &Apiax, place: &Server) -> Sandbox {
    let mut sandbox = apiax.sandbox();
    sandbox.set("TOK_STORE", "vault:secret/ci/tok").set("VAULT_ADDR", place.url()).set("VAULT_TOKEN", openbao::root());
    sandbox
}

#[test]
fn a_session_that_has_ended_says_where_and_when() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines = machines(&apiax, &vault, 3);
    machines[1].run("get apiax").silent().line();
    apiax.state(|state| state.alive.clear());
    // One finds out; the others do not ask the provider again.
    machines[0].run("get apiax --fresh").fails(4).says("the session has ended").hints_at("tok login apiax");
    let heard = apiax.server.count();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    machines[2].run("get apiax --fresh").fails(4).says("the session has ended").says(&host);
    assert_eq!(apiax.server.count(), heard);
    machines[1].run("get apiax --fresh").fails(4).says(&host);
    let status = machines[1].tok(["status", "apiax", "--json"]).run();
    let shown: Value = serde_json::from_str(&status.stdout).unwrap();
    assert!(shown[0]["reason"].as_str().unwrap_or_default().contains(&host), "{status}");
    // Kept secrets and what else is there stay, the tokens go.
    let (entry, _) = vault.entry("apiax");
    assert_eq!((entry.get("refresh_token"), entry.get("access")), (None, None), "{entry}");
}

#[test]
fn the_steps_are_told_with_v_and_who_holds_the_lease() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines = machines(&apiax, &vault, 3);
    let gate = apiax.server.hold();
    let holder = machines[0].tok(["get", "apiax", "--fresh", "-v"]).spawn();
    apiax.server.until(2);
    let waiting = machines[2].tok(["get", "apiax", "--fresh", "-v", "--timeout", "3s"]).run();
    waiting.fails(6).says("is renewing the session; waiting").says("it did not finish in time");
    gate.open();
    holder.wait().ok().says("taking the lease in the vault:secret/ci/tok store").says("storing the new session");
    let (mut entry, _) = vault.entry("apiax");
    entry["lease"] = json!({"id": "l", "host": "runner-7", "pid": 5, "seconds": 20});
    vault.put("apiax", &entry.to_string());
    let status = machines[1].run("status apiax --online").ok();
    assert!(status.stdout.contains("runner-7 is renewing it"), "{status}");
}

#[test]
fn access_tokens_are_shared_unless_the_session_alone_is_to_be() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let mut all: Vec<Sandbox> = (0..2).map(|_| machine(&apiax, &vault)).collect();
    all.iter_mut().for_each(|machine| machine.config("[vault]\nshare = \"session\"\n"));
    apiax::login(&all[0]);
    assert_eq!(vault.entry("apiax").0.get("access"), None);
    all[1].run("get apiax").silent().prints(&format!("{}\n", at(2)));
    all[0].run("get apiax").silent().prints(&format!("{}\n", at(1)));
    all[1].config("share = \"tokens\"\n");
    all[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(3)));
    assert!(vault.entry("apiax").0["access"].to_string().contains(&at(3)));
}

#[test]
fn the_doctor_tries_a_shared_store() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines = machines(&apiax, &vault, 2);
    let findings = machines[0].tok(["doctor", "--json"]).run().stdout;
    assert!(!findings.contains("the vault:secret/ci/tok store"), "{findings}");
    assert_eq!(vault.entry("tok-doctor").0, Value::Null, "nothing is left of the trial");
    let narrow = vault.token_for(r#"path "secret/data/ci/tok/apiax" { capabilities = ["create", "read", "update"] }"#);
    let mut other = machine(&apiax, &vault);
    other.set("VAULT_TOKEN", &narrow);
    other.run("get apiax").silent().line();
    let findings = other.tok(["doctor", "--json"]).run().stdout;
    assert!(findings.contains("could not be tried"), "{findings}");
    vault.does("PUT", "sys/seal", Value::Null);
    let findings = other.tok(["doctor", "--json"]).run().stdout;
    assert!(findings.contains("the vault is sealed"), "{findings}");
}

#[test]
fn the_doctor_says_what_keeps_a_vault_from_being_a_store() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines = machines(&apiax, &vault, 1);
    vault.does("POST", "sys/mounts/kv1", json!({"type": "kv", "options": {"version": "1"}}));
    let found = |name: &str, value: &str, text: &str| {
        let output = machines[0].tok(["doctor", "--json"]).env(name, value).run();
        assert!(output.code == 1 && output.stdout.contains(text), "{name}={value}: {output}");
    };
    let mut fresh = machine(&apiax, &vault);
    fresh.set("TOK_STORE", "vault:kv1/ci/tok");
    assert!(fresh.run("doctor").stdout.contains("KV version 1"));
    let reads = vault.token_for(r#"path "secret/data/ci/tok/*" { capabilities = ["read"] }"#);
    found("VAULT_TOKEN", &reads, "may not update secret/data/ci/tok/apiax");
    found("VAULT_TOKEN", "expired", "permission denied");
    found("VAULT_ADDR", "https://127.0.0.1:1", "cannot be reached");
}

#[test]
fn a_session_is_moved_to_a_vault_and_back_without_a_new_login() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let mut all: Vec<Sandbox> = (0..2).map(|_| machine(&apiax, &vault)).collect();
    all[0].set("TOK_STORE", "file");
    apiax::login(&all[0]);
    all[0].unset("TOK_STORE");
    all[0].tok(["login", "apiax", "--move-to", "vault:secret/ci/tok"]).run().prints("");
    assert_eq!(all[0].secrets().get("apiax"), None);
    assert_eq!(vault.entry("apiax").0["refresh_token"], json!(format!("rt-{CANARY}-1")));
    all[0].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    all[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(3)));
    all[0].tok(["login", "apiax", "--move-to", "vault:secret/ci/tok"]).run().fails(2);
    all[0].tok(["login", "apiax", "--move-to", "file"]).run().prints("");
    all[0].run("get apiax --fresh").silent().prints(&format!("{}\n", at(4)));
    all[1].run("get apiax --fresh").fails(4).says("moved to the file store");
    saw(&apiax, &["password", "refresh_token", "refresh_token", "refresh_token"]);
    all[1].tok(["login", "apiax", "--move-to", "file"]).run().fails(4).hints_at("tok login apiax");
}

// A program

/// The program of the documents on a `PATH` of its own, with a database that all machines use.
pub struct Sqlite {
    /// Where both lie.
    pub folder: tempfile::TempDir,
}

impl Sqlite {
    /// With nothing in it.
    pub fn new() -> Sqlite {
        let folder = tempfile::Builder::new().prefix("tok-store-").tempdir().unwrap();
        let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stores/tok-store-sqlite")).unwrap();
        put(&folder.path().join("tok-store-sqlite"), &text);
        chmod(&folder.path().join("tok-store-sqlite"), 0o700);
        Sqlite { folder }
    }

    /// Lets `sandbox` keep its sessions there.
    pub fn keeps(&self, sandbox: &mut Sandbox) {
        let path = std::env::var_os("PATH").unwrap();
        let all = std::iter::once(self.folder.path().to_path_buf()).chain(std::env::split_paths(&path));
        sandbox.set("TOK_STORE", "program:sqlite").set("PATH", std::env::join_paths(all).unwrap());
        sandbox.set("TOKSTORE_FILE", self.folder.path().join("sessions.sqlite"));
    }

    fn machines(&self, apiax: &Apiax, count: usize) -> Vec<Sandbox> {
        let mut all: Vec<Sandbox> = (0..count).map(|_| apiax.sandbox()).collect();
        all.iter_mut().for_each(|machine| self.keeps(machine));
        apiax::login(&all[0]);
        all
    }

    /// What the program answers.
    #[track_caller]
    fn asks(&self, verb: &str, question: Value) -> Value {
        let script = "exec \"$0\" \"$1\" <<< \"$2\"";
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).arg(self.folder.path().join("tok-store-sqlite")).arg(verb);
        command.arg(question.to_string()).env("TOKSTORE_FILE", self.folder.path().join("sessions.sqlite"));
        let output = command.finish().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

#[test]
fn a_session_kept_by_a_program_serves_every_machine() {
    needs!("python3", "bash");
    let (sqlite, apiax) = (Sqlite::new(), Apiax::start());
    let machines = sqlite.machines(&apiax, 3);
    machines[1].run("get apiax").silent().prints(&format!("{}\n", at(1)));
    machines[2].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    machines[0].run("get apiax --fresh").silent().prints(&format!("{}\n", at(3)));
    saw(&apiax, &["password", "refresh_token", "refresh_token"]);
    let held = sqlite.asks("get", json!({"v": 1, "profile": "apiax"}));
    assert!(held["entry"].as_str().unwrap().contains(&format!("rt-{CANARY}-3")));
    machines[1].run("logout apiax").ok();
    let held = sqlite.asks("get", json!({"v": 1, "profile": "apiax"}));
    assert!(!held["entry"].as_str().unwrap_or_default().contains(CANARY), "{held}");
    machines[0].run("get apiax --fresh").fails(4);
    apiax::login(&machines[0]);
    machines[2].run("get apiax --fresh").silent().prints(&format!("{}\n", at(5)));
}

#[test]
fn many_processes_on_four_machines_make_one_refresh_through_a_program() {
    needs!("python3");
    let sqlite = Sqlite::new();
    renewed_once_by(16, |apiax| sqlite.machines(apiax, 4));
}

#[test]
fn the_program_of_the_documents_does_what_they_say() {
    needs!("python3", "bash");
    let sqlite = Sqlite::new();
    let put =
        |entry: &str, over: Value| sqlite.asks("put", json!({"v": 1, "profile": "p", "entry": entry, "over": over}));
    assert_eq!(sqlite.asks("get", json!({"v": 1, "profile": "p"}))["entry"], Value::Null);
    assert_eq!(put("a", json!("1")), json!({"conflict": true}));
    let first = put("a", Value::Null)["version"].clone();
    assert_eq!(put("b", Value::Null), json!({"conflict": true}));
    let second = put("b", json!(first.to_string()))["version"].clone();
    assert_ne!(first, second);
    assert_eq!(put("c", json!(first.to_string())), json!({"conflict": true}));
    let held = sqlite.asks("get", json!({"v": 1, "profile": "p"}));
    assert_eq!((&held["entry"], &held["version"]), (&json!("b"), &second));
    assert!(held["age"].as_f64().unwrap() >= 0.0);
    sqlite.asks("forget", json!({"v": 1, "profile": "p"}));
    let gone = sqlite.asks("get", json!({"v": 1, "profile": "p"}));
    assert_eq!(gone["entry"], Value::Null);
    assert_eq!(put("late", json!(second.to_string())), json!({"conflict": true}), "a version never comes again");
    let whatever = sqlite.asks("put", json!({"v": 1, "profile": "p", "entry": "d"}));
    assert_ne!(whatever["version"], second);
}

#[test]
fn a_program_that_does_not_keep_to_the_protocol_gets_no_token_sent_for() {
    needs!("python3", "bash");
    let (sqlite, apiax) = (Sqlite::new(), Apiax::start());
    let machines = sqlite.machines(&apiax, 2);
    let real = sqlite.folder.path().join("real");
    std::fs::rename(sqlite.folder.path().join("tok-store-sqlite"), &real).unwrap();
    let program = sqlite.folder.path().join("tok-store-sqlite");
    // What `put` does in the place of the real one's.
    let puts = [
        ("hangs", "cat >/dev/null; sleep 600".to_string()),
        ("says nothing", "cat >/dev/null".into()),
        ("fails", "cat >/dev/null; exit 3".into()),
        ("is killed", "kill -9 $$".into()),
        ("no version", "cat >/dev/null; echo '{}'".into()),
        ("the old version", format!("cat >/dev/null; echo '{{\"v\":1,\"profile\":\"apiax\"}}' | {} get", real.display())),
        ("not JSON", "cat >/dev/null; echo done".into()),
        ("conflicts for ever", "cat >/dev/null; echo '{\"conflict\":true}'".into()),
        ("its input", "cat".into()),
        ("its input as an error", "printf '{\"error\":{\"kind\":\"refused\",\"message\":'; python3 -c 'import json,sys; print(json.dumps(sys.stdin.read()))'; echo '}}'".into()),
        ("a secret as an error", "x=$(cat); echo \"{\\\"error\\\":{\\\"kind\\\":\\\"refused\\\",\\\"message\\\":\\\"bad token $(echo \"$x\" | grep -o 'rt-[a-z0-9-]*')\\\"}}\"".into()),
        ("a secret on stderr", "cat >&2; exit 1".into()),
        ("too much", "cat >/dev/null; head -c 9000000 /dev/zero".into()),
    ];
    for (what, script) in &puts {
        let text =
            format!("#!/usr/bin/env bash\nif [ \"$1\" != put ]; then exec {} \"$@\"; fi\n{script}\n", real.display());
        put(&program, text.as_bytes());
        chmod(&program, 0o700);
        let heard = apiax.server.count();
        let output = machines[1].run("get apiax --fresh --timeout 4s");
        assert_eq!(apiax.server.count(), heard, "{what}: {output}");
        let output = if *what == "conflicts for ever" { output.fails_with_one_of(&[6, 7]) } else { output.fails(7) };
        assert!(output.took < SOON, "{what}: {output}");
    }
    for (what, text, status) in [
        ("missing", "{\"error\":{\"kind\":\"missing\",\"message\":\"set it up\"}}", 7),
        ("locked", "{\"error\":{\"kind\":\"locked\",\"message\":\"unlock it\"}}", 7),
        ("unknown kind", "{\"error\":{\"kind\":\"other\",\"message\":\"no\"}}", 7),
        ("no version", "{\"entry\":\"{}\"}", 7),
        ("a list", "[]", 7),
        ("a list of what it should name", "[\"{}\",1]", 7),
        ("two answers", "{} {}", 7),
        ("another entry", "{\"entry\":\"[]\",\"version\":1}", 7),
    ] {
        put(&program, format!("#!/bin/sh\ncat >/dev/null\necho '{text}'\n").as_bytes());
        chmod(&program, 0o700);
        let heard = apiax.server.count();
        let output = machines[1].run("get apiax --fresh --timeout 4s").fails(status);
        let output = if what == "another entry" { output } else { output.hints_at("tok doctor") };
        assert_eq!(apiax.server.count(), heard, "{what}: {output}");
    }
    std::fs::rename(&real, &program).unwrap();
    machines[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    std::fs::remove_file(&program).unwrap();
    refused(&apiax, || machines[1].run("get apiax --fresh")).says("tok-store-sqlite");
}

#[test]
fn what_a_program_answers_that_is_not_toks_is_left_alone() {
    needs!("python3", "bash");
    let (sqlite, apiax) = (Sqlite::new(), Apiax::start());
    let machines = sqlite.machines(&apiax, 2);
    let entry = sqlite.asks("get", json!({"v": 1, "profile": "apiax"}))["entry"].as_str().unwrap().to_string();
    let real = sqlite.folder.path().join("real");
    let program = sqlite.folder.path().join("tok-store-sqlite");
    std::fs::rename(&program, &real).unwrap();
    for (what, script) in [
        ("hangs", "cat >/dev/null; sleep 600".to_string()),
        ("a page", "cat >/dev/null; echo '<html><body>Log in</body></html>'".into()),
        (
            "too much",
            "cat >/dev/null; printf '{\"version\":1,\"entry\":\"'; head -c 40000000 /dev/zero | tr '\\0' x; echo '\"}'"
                .into(),
        ),
        ("a version that is none", "cat >/dev/null; echo '{\"entry\":\"{}\",\"version\":[1]}'".into()),
        ("plain text", format!("cat >/dev/null; echo '{{\"entry\":\"plain text {CANARY}\",\"version\":1}}'")),
        // The entry that it holds, as a message: nothing was sent that it could be compared with.
        (
            "a secret as an error",
            format!(
                "{} \"$@\" | python3 -c 'import json,sys; print(json.dumps({{\"error\": {{\"kind\": \"refused\", \"message\": json.load(sys.stdin)[\"entry\"]}}}}))'",
                real.display()
            ),
        ),
    ] {
        put(&program, format!("#!/usr/bin/env bash\n{script}\n").as_bytes());
        chmod(&program, 0o700);
        let output = refused(&apiax, || machines[1].run("get apiax --fresh --timeout 4s"));
        assert!(output.took < SOON, "{what}: {output}");
    }
    std::fs::rename(&real, &program).unwrap();
    // Of a newer tok, with fields that this one does not know.
    let mut newer: Value = serde_json::from_str(&entry).unwrap();
    newer["next_decade"] = json!({"deep": [1, 2.50]});
    sqlite.asks("put", json!({"v": 1, "profile": "apiax", "entry": newer.to_string()}));
    machines[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    let held = sqlite.asks("get", json!({"v": 1, "profile": "apiax"}));
    let held: Value = serde_json::from_str(held["entry"].as_str().unwrap()).unwrap();
    assert_eq!((&held["next_decade"], &held["generation"]), (&newer["next_decade"], &json!(1)));
    // Of another program: no session of ours.
    sqlite.asks("put", json!({"v": 1, "profile": "apiax", "entry": json!({"password": CANARY}).to_string()}));
    machines[1].run("get apiax --fresh").fails(4);
    saw(&apiax, &["password", "refresh_token"]);
}

#[test]
fn a_store_that_is_slow_to_answer_is_named_on_a_terminal() {
    let (vault, apiax) = (vault!(), Apiax::start());
    let machines = machines(&apiax, &vault, 2);
    vault.signal(rustix::process::Signal::STOP);
    let mut terminal = machines[1].tok(["get", "apiax", "--fresh"]).on_terminal();
    terminal.expect("waiting for the vault:secret/ci/tok store");
    vault.signal(rustix::process::Signal::CONT);
    let (screen, code) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    // Nor is a machine that waits for another silent.
    let gate = apiax.server.hold();
    let holder = machines[0].tok(["get", "apiax", "--fresh"]).spawn();
    apiax.server.until(3);
    let mut terminal = machines[1].tok(["get", "apiax", "--fresh"]).on_terminal();
    terminal.expect("apiax: waiting for ");
    gate.open();
    let (screen, code) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    holder.wait().silent().line();
}
