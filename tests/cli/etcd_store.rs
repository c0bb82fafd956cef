//! `docs/stores/tok-store-etcd`, the other example of `docs/stores.md`: with a real etcd, plain, with users, and by TLS
//! with client certificates.

use crate::child::{LIMIT_OF_A_SERVICE, Program, Start};
use crate::shared_stores::{at, refused, renewed_once_by, saw};
use crate::skip::needs;
use crate::support::apiax::{self, Apiax};
use crate::support::openbao::free_port;
use crate::support::{CANARY, Sandbox, chmod, put, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An etcd of its own, and the program of the documents on a `PATH` of its own.
pub struct Etcd {
    /// What the program finds it by.
    variables: Vec<(&'static str, String)>,
    pub address: String,
    folder: tempfile::TempDir,
    server: Program,
}

impl Etcd {
    pub fn start() -> Etcd {
        Etcd::with_options(|_| Vec::new())
    }

    /// Starts it with further options, which are made in the folder that is handed in; those that name a certificate let
    /// it speak TLS. A port that was free may be taken by another test's server, so it is tried again.
    fn with_options(options: impl Fn(&Path) -> Vec<String>) -> Etcd {
        for _ in 0..5 {
            if let Some(etcd) = Etcd::try_start(&options) {
                return etcd;
            }
        }
        panic!("etcd does not start");
    }

    fn try_start(options: &impl Fn(&Path) -> Vec<String>) -> Option<Etcd> {
        let folder = tempfile::Builder::new().prefix("tok-etcd-").tempdir().unwrap();
        let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stores/tok-store-etcd")).unwrap();
        put(&folder.path().join("tok-store-etcd"), &text);
        chmod(&folder.path().join("tok-store-etcd"), 0o700);
        let options = options(folder.path());
        let scheme = if options.iter().any(|option| option.starts_with("--cert-file")) { "https" } else { "http" };
        let address = format!("{scheme}://127.0.0.1:{}", free_port());
        let peers = format!("http://127.0.0.1:{}", free_port());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder.path().join("data")).arg("--name=one").args(options);
        for (name, value) in [
            ("listen-client-urls", &address),
            ("advertise-client-urls", &address),
            ("listen-peer-urls", &peers),
            ("initial-advertise-peer-urls", &peers),
            ("initial-cluster", &format!("one={peers}")),
        ] {
            command.arg(format!("--{name}={value}"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut server = Program::start(&mut command, LIMIT_OF_A_SERVICE).unwrap();
        let mut is_ended = false;
        until("etcd is ready", || {
            is_ended = server.try_wait().is_some();
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
            is_ended || log.contains("ready to serve client requests")
        });
        let variables = vec![("ETCDCTL_ENDPOINTS", address.clone())];
        (!is_ended).then_some(Etcd { variables, address, folder, server })
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("tok-store-etcd")
    }

    fn machine(&self, apiax: &Apiax) -> Sandbox {
        let mut machine = apiax.sandbox();
        let path = std::env::var_os("PATH").unwrap();
        let all = std::iter::once(self.folder.path().to_path_buf()).chain(std::env::split_paths(&path));
        machine.set("TOK_STORE", "program:etcd").set("PATH", std::env::join_paths(all).unwrap());
        for (name, value) in &self.variables {
            machine.set(name, value);
        }
        machine
    }

    /// Of which the first has logged in.
    fn machines(&self, apiax: &Apiax, count: usize) -> Vec<Sandbox> {
        let all: Vec<Sandbox> = (0..count).map(|_| self.machine(apiax)).collect();
        apiax::login(&all[0]);
        all
    }

    /// What the program answers.
    #[track_caller]
    fn asks(&self, verb: &str, question: Value) -> Value {
        let mut command = Command::new("bash");
        command.args(["-c", "exec \"$0\" \"$1\" <<< \"$2\""]).arg(self.program()).arg(verb).arg(question.to_string());
        let output = command.envs(self.variables.iter().cloned()).finish().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// What etcd answers to a request of the administrator's.
    #[track_caller]
    fn does(&self, path: &str, body: Value) -> Value {
        let mut reply = ureq::Agent::config_builder()
            .proxy(None)
            .build()
            .new_agent()
            .post(format!("{}/v3/{path}", self.address))
            .send(body.to_string())
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_str(&reply.body_mut().read_to_string().unwrap()).unwrap()
    }
}

#[test]
fn a_session_in_etcd_serves_every_machine() {
    needs!("etcd", "python3", "bash");
    let (etcd, apiax) = (Etcd::start(), Apiax::start());
    let machines = etcd.machines(&apiax, 3);
    machines[1].run("get apiax").silent().prints(&format!("{}\n", at(1)));
    machines[2].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    machines[0].run("get apiax --fresh").silent().prints(&format!("{}\n", at(3)));
    saw(&apiax, &["password", "refresh_token", "refresh_token"]);
    let held = etcd.asks("get", json!({"v": 1, "profile": "apiax"}));
    let entry = held["entry"].as_str().unwrap();
    assert!(entry.contains(&format!("rt-{CANARY}-3")), "{entry}");
    machines[1].run("logout apiax").ok();
    let held = etcd.asks("get", json!({"v": 1, "profile": "apiax"}));
    assert!(!held["entry"].as_str().unwrap_or_default().contains(CANARY), "{held}");
    machines[0].run("get apiax --fresh").fails(4);
    apiax::login(&machines[0]);
    machines[2].run("get apiax --fresh").silent().prints(&format!("{}\n", at(5)));
}

#[test]
fn many_processes_on_four_machines_make_one_refresh_through_etcd() {
    needs!("etcd", "python3");
    let etcd = Etcd::start();
    renewed_once_by(16, |apiax| etcd.machines(apiax, 4));
}

/// Without the age of an entry a machine that has not seen it before cannot tell that its token has expired by the store.
#[test]
fn a_program_that_tells_no_age_does_not_make_an_expired_token_good() {
    needs!("etcd", "python3", "bash", "sed");
    let etcd = Etcd::start();
    let real = etcd.folder.path().join("real");
    std::fs::rename(etcd.program(), &real).unwrap();
    let script = format!("#!/bin/sh\n'{}' \"$@\" | sed 's/, \"age\": [0-9.]*//'\n", real.display());
    put(&etcd.program(), script.as_bytes());
    chmod(&etcd.program(), 0o700);
    renewed_once_by(8, |apiax| etcd.machines(apiax, 4));
}

#[test]
fn the_program_for_etcd_does_what_the_documents_say() {
    needs!("etcd", "python3", "bash");
    let etcd = Etcd::start();
    let get = || etcd.asks("get", json!({"v": 1, "profile": "p"}));
    let put =
        |entry: &str, over: Value| etcd.asks("put", json!({"v": 1, "profile": "p", "entry": entry, "over": over}));
    let conflict = json!({"conflict": true});
    let mut versions = BTreeSet::new();
    let mut is_new = |answer: &Value| assert!(versions.insert(answer["version"].to_string()), "came before: {answer}");
    assert_eq!(get()["entry"], Value::Null);
    assert_eq!(put("a", json!("1")), conflict, "there is nothing to be replaced");
    let first = put("a", Value::Null);
    is_new(&first);
    assert_eq!(put("b", Value::Null), conflict);
    // Another profile's entry is another.
    is_new(&etcd.asks("put", json!({"v": 1, "profile": "q", "entry": "other", "over": null})));
    let second = put("{\"ü\": \"\\n\"}", first["version"].clone());
    is_new(&second);
    assert_eq!(put("c", first["version"].clone()), conflict);
    let held = get();
    assert_eq!((&held["entry"], &held["version"]), (&json!("{\"ü\": \"\\n\"}"), &second["version"]));
    assert!(held["age"].as_f64().unwrap() >= 0.0, "{held}");
    assert_eq!(etcd.asks("forget", json!({"v": 1, "profile": "p"})), json!({}));
    assert_eq!(get()["entry"], Value::Null);
    assert_eq!(put("late", second["version"].clone()), conflict, "a version never comes again");
    let third = put("d", Value::Null);
    is_new(&third);
    is_new(&etcd.asks("put", json!({"v": 1, "profile": "p", "entry": "e"})));
    assert_eq!(put("late", third["version"].clone()), conflict);
    assert_eq!(etcd.asks("get", json!({"v": 1, "profile": "q"}))["entry"], json!("other"));
}

/// One wins of many that would all replace the same version.
#[test]
fn one_of_many_puts_over_the_same_version_is_taken() {
    needs!("etcd", "python3", "bash");
    let etcd = Etcd::start();
    for over in [Value::Null, etcd.asks("put", json!({"v": 1, "profile": "q", "entry": "x"}))["version"].clone()] {
        let profile = if over.is_null() { "p" } else { "q" };
        let question = |n: usize| json!({"v": 1, "profile": profile, "entry": n.to_string(), "over": over});
        let answers: Vec<Value> = std::thread::scope(|scope| {
            let one = |n| {
                let (etcd, question) = (&etcd, question(n));
                move || etcd.asks("put", question)
            };
            let all: Vec<_> = (0..12).map(|n| scope.spawn(one(n))).collect();
            all.into_iter().map(|run| run.join().unwrap()).collect()
        });
        let won: Vec<usize> = (0..12).filter(|n| answers[*n].get("version").is_some()).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| **answer == json!({"conflict": true})).count(), 11);
        let held = etcd.asks("get", json!({"v": 1, "profile": profile}));
        assert_eq!((&held["entry"], &held["version"]), (&json!(won[0].to_string()), &answers[won[0]]["version"]));
    }
}

/// The rights that the page names are enough, and nothing is sent to the provider without them.
#[test]
fn etcd_with_users_lets_in_whom_the_variables_name() {
    needs!("etcd", "python3", "bash");
    let (mut etcd, apiax) = (Etcd::start(), Apiax::start());
    let rights = |kind: &str| {
        json!({"name": kind, "perm": {
            "permType": kind, "key": STANDARD.encode("tok/"), "range_end": STANDARD.encode("tok0"),
        }})
    };
    for kind in ["READWRITE", "READ"] {
        etcd.does("auth/role/add", json!({"name": kind}));
        etcd.does("auth/role/grant", rights(kind));
    }
    for (user, role) in [("root", "root"), ("runner", "READWRITE"), ("reader", "READ")] {
        etcd.does("auth/user/add", json!({"name": user, "password": format!("pw:{CANARY}")}));
        if user == "root" {
            etcd.does("auth/role/add", json!({"name": "root"}));
        }
        etcd.does("auth/user/grant", json!({"user": user, "role": role}));
    }
    etcd.does("auth/enable", json!({}));
    let nobody = etcd.machine(&apiax);
    refused(&apiax, || nobody.run("get apiax")).says("tok-store-etcd");
    etcd.variables.push(("ETCDCTL_USER", format!("runner:pw:{CANARY}")));
    let machines = etcd.machines(&apiax, 2);
    machines[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    for user in [format!("runner:{CANARY}"), format!("reader:pw:{CANARY}")] {
        let mut other = etcd.machine(&apiax);
        other.set("ETCDCTL_USER", &user);
        refused(&apiax, || other.run("get apiax --fresh"))
            .says("tok-store-etcd: http://127.0.0.1:")
            .says("HTTP Error 4");
    }
    machines[0].run("get apiax --fresh").silent().prints(&format!("{}\n", at(3)));
}

#[test]
fn etcd_by_tls_takes_the_certificate_that_the_variables_name() {
    needs!("etcd", "python3", "bash");
    let apiax = Apiax::start();
    let mut etcd = Etcd::with_options(|folder| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "CA");
        let key = KeyPair::generate().unwrap();
        put(&folder.join("ca.pem"), params.self_signed(&key).unwrap().pem().as_bytes());
        let issuer = Issuer::new(params, key);
        for name in ["server", "client"] {
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_string()]).unwrap();
            params.use_authority_key_identifier_extension = true;
            // etcd calls itself with the server's.
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate().unwrap();
            put(&folder.join(format!("{name}.pem")), params.signed_by(&key, &issuer).unwrap().pem().as_bytes());
            put(&folder.join(format!("{name}.key")), key.serialize_pem().as_bytes());
        }
        let path = |name: &str| folder.join(name).display().to_string();
        vec![
            format!("--cert-file={}", path("server.pem")),
            format!("--key-file={}", path("server.key")),
            format!("--trusted-ca-file={}", path("ca.pem")),
            "--client-cert-auth".into(),
        ]
    });
    let path = |name: &str| etcd.folder.path().join(name).display().to_string();
    let more = [("ETCDCTL_CERT", path("client.pem")), ("ETCDCTL_KEY", path("client.key"))];
    // Neither a server that nobody vouches for nor one that wants to know who asks is taken.
    refused(&apiax, || etcd.machine(&apiax).run("get apiax --timeout 3s"));
    etcd.variables.push(("ETCDCTL_CACERT", path("ca.pem")));
    refused(&apiax, || etcd.machine(&apiax).run("get apiax --timeout 3s"));
    etcd.variables.extend(more);
    let machines = etcd.machines(&apiax, 2);
    machines[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
}

#[test]
fn an_etcd_that_is_away_is_the_stores_trouble() {
    needs!("etcd", "python3", "bash");
    let (mut etcd, apiax) = (Etcd::start(), Apiax::start());
    let machines = etcd.machines(&apiax, 2);
    etcd.server.kill();
    refused(&apiax, || machines[1].run("get apiax --timeout 3s")).says("tok-store-etcd: http://127.0.0.1:").soon();
    machines[0].run("get apiax").silent().prints(&format!("{}\n", at(1)));
}
