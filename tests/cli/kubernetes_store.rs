//! `store = "kubernetes:NAMESPACE/PREFIX"`: Secrets behind an API server that answers as a real one of version 1.20.2 was
//! seen to, found by the real `kubectl`.

use crate::shared_stores::{at as token, refused};
use crate::skip::needs;
use crate::support::apiax::{self, Apiax};
use crate::support::server::{Certified, Received, Reply, Server, lock};
use crate::support::{CANARY, Output, Sandbox, chmod, put};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What the API server holds, and whom it lets do what.
pub struct State {
    secrets: BTreeMap<String, Value>,
    version: u64,
    /// Of the one who is let in; empty: by a certificate alone.
    pub token: String,
    /// What may be done with a Secret that is there.
    pub verbs: Vec<String>,
    /// In the place of the replies to writes.
    odd: Option<Reply>,
    /// In the place of all replies.
    page: Option<Reply>,
    /// Whether the namespace is there.
    has_namespace: bool,
}

/// A cluster's API server.
pub struct Cluster {
    pub server: Server,
    state: Arc<Mutex<State>>,
}

const SECRETS: &str = "/api/v1/namespaces/jobs/secrets";

fn status(code: u16, reason: &str, message: &str) -> Reply {
    Reply::json(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}),
    )
}

fn answer(state: &mut State, request: &Received) -> Reply {
    if let Some(page) = &state.page {
        return page.clone();
    }
    // Some a kubectl asks first, to be as old as the server.
    if request.path() == "/version" {
        return Reply::json(200, json!({"major": "1", "minor": "20", "gitVersion": "v1.20.2"}));
    }
    let expected = (!state.token.is_empty()).then(|| format!("Bearer {}", state.token));
    if request.header("authorization") != expected.as_deref() {
        return status(401, "Unauthorized", "Unauthorized");
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if request.path().ends_with("/selfsubjectaccessreviews") {
        let verb = body["spec"]["resourceAttributes"]["verb"].as_str().unwrap();
        let allowed = state.verbs.iter().any(|one| one == verb);
        return Reply::json(201, json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": allowed}}));
    }
    let name = request.path().strip_prefix(SECRETS).unwrap_or_else(|| panic!("{} {}", request.method, request.target));
    let name = name.trim_start_matches('/').to_string();
    let is_trial = request.target.ends_with("?dryRun=All");
    let verb = match request.method.as_str() {
        "GET" => "get",
        "PUT" => "update",
        "POST" => "create",
        _ => "delete",
    };
    if !state.verbs.iter().any(|one| one == verb) {
        return status(403, "Forbidden", &format!("secrets \"{name}\" is forbidden: User \"job\" cannot {verb} it"));
    }
    if let (Some(odd), true) = (&state.odd, verb != "get") {
        return odd.clone();
    }
    let held = state.secrets.get(&name).map(|held| held["metadata"]["resourceVersion"].clone());
    let mut new = body.clone();
    match (verb, held) {
        ("get", Some(_)) => Reply::json(200, state.secrets[&name].clone()),
        ("create", _) if state.secrets.contains_key(body["metadata"]["name"].as_str().unwrap()) => {
            status(409, "AlreadyExists", "secrets already exists")
        }
        ("create", _) if !state.has_namespace => status(404, "NotFound", "namespaces \"jobs\" not found"),
        ("create", _) if is_trial => Reply::json(201, new),
        ("create", _) => {
            let name = body["metadata"]["name"].as_str().unwrap().to_string();
            stamp(state, &mut new);
            state.secrets.insert(name, new.clone());
            Reply::json(201, new)
        }
        (_, None) => status(404, "NotFound", &format!("secrets \"{name}\" not found")),
        ("update", Some(held)) => match &body["metadata"]["resourceVersion"] {
            Value::Null => panic!("without a resourceVersion the API overwrites what is there: {body}"),
            over if *over == held => {
                stamp(state, &mut new);
                state.secrets.insert(name, new.clone());
                Reply::json(200, new)
            }
            _ => status(409, "Conflict", "the object has been modified"),
        },
        (_, Some(held)) if body["preconditions"]["resourceVersion"] == held => {
            state.secrets.remove(&name);
            Reply::json(200, json!({"kind": "Status", "status": "Success"}))
        }
        _ => status(409, "Conflict", "the object has been modified"),
    }
}

fn stamp(state: &mut State, new: &mut Value) {
    // The version is the cluster's, not the object's.
    state.version += 3;
    new["kind"] = json!("Secret");
    new["metadata"]["resourceVersion"] = json!(state.version.to_string());
    new["metadata"]["managedFields"] = json!([{"manager": "tok", "time": "2026-01-01T00:00:00Z"}]);
}

impl Cluster {
    pub fn start() -> Cluster {
        Cluster::start_as(Certified::new(&["localhost", "127.0.0.1"], false))
    }

    fn start_as(certified: Certified) -> Cluster {
        let state = Arc::new(Mutex::new(State {
            secrets: BTreeMap::new(),
            version: 40,
            token: format!("k8s-{CANARY}"),
            verbs: verbs(&["get", "update", "create", "delete"]),
            odd: None,
            page: None,
            has_namespace: true,
        }));
        let theirs = state.clone();
        Cluster { server: Server::tls_as(certified, move |request| answer(&mut lock(&theirs), request)), state }
    }

    pub fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut lock(&self.state))
    }

    /// The entry of apiax.
    fn entry(&self) -> Value {
        self.state(|state| {
            let text = state.secrets["tok-apiax"]["data"]["entry"].as_str().unwrap();
            serde_json::from_slice(&STANDARD.decode(text).unwrap()).unwrap()
        })
    }

    /// A machine whose kubectl has this user.
    pub fn machine(&self, apiax: &Apiax, user: &Value) -> Sandbox {
        let mut sandbox = apiax.sandbox();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "c", "cluster": {"server": self.server.url(), "certificate-authority": self.server.ca_file()}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": user}],
        });
        let path = sandbox.home().join("kubeconfig");
        put(&path, config.to_string().as_bytes());
        sandbox.set("TOK_STORE", "kubernetes:jobs/tok-").set("KUBECONFIG", path);
        sandbox
    }

    pub fn token(&self) -> Value {
        json!({"token": self.state(|state| state.token.clone())})
    }
}

fn verbs(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn at(number: usize) -> String {
    format!("{}\n", token(number))
}

#[test]
fn a_session_in_a_secret_serves_every_pod_and_host() {
    needs!("kubectl");
    let (cluster, apiax) = (Cluster::start(), Apiax::start());
    let first = cluster.machine(&apiax, &cluster.token());
    apiax::login(&first);
    let second = cluster.machine(&apiax, &cluster.token());
    second.run("get apiax").silent().prints(&at(1));
    second.run("get apiax --fresh").silent().prints(&at(2));
    // What others have put there stays.
    cluster.state(|state| {
        let secret = state.secrets.get_mut("tok-apiax").unwrap();
        secret["metadata"]["labels"] = json!({"team": "jobs"});
        secret["type"] = json!("example.com/session");
    });
    first.run("get apiax --fresh").silent().prints(&at(3));
    let secret = cluster.state(|state| state.secrets["tok-apiax"].clone());
    assert_eq!(
        (&secret["metadata"]["labels"]["team"], &secret["type"]),
        (&json!("jobs"), &json!("example.com/session"))
    );
    assert_eq!(cluster.entry()["refresh_token"], json!(format!("rt-{CANARY}-3")));
    assert_eq!(apiax.state(|state| state.reused), 0);
    second.run("logout apiax").ok();
    assert_eq!((cluster.entry().get("refresh_token"), &cluster.entry()["ended"]["why"]), (None, &json!("logged out")));
    first.run("get apiax --fresh").fails(4).says("the session has ended").says("logged out");
}

#[test]
fn a_program_that_kubectl_names_logs_in() {
    needs!("kubectl");
    let (cluster, apiax) = (Cluster::start(), Apiax::start());
    let token = cluster.state(|state| state.token.clone());
    let user = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "cluster-login", "args": ["--for", "jobs"],
        "env": [{"name": "LOGIN_TOKEN", "value": token}], "interactiveMode": "Never",
    }});
    let mut sandbox = cluster.machine(&apiax, &user);
    let program = sandbox.home().join("bin/cluster-login");
    let script = "#!/bin/sh\n[ \"$*\" = '--for jobs' ] && [ -n \"$KUBERNETES_EXEC_INFO\" ] || exit 1\nprintf '{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"%s\"}}' \"$LOGIN_TOKEN\"\n";
    put(&program, script.as_bytes());
    chmod(&program, 0o700);
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", format!("{}:{path}", program.parent().unwrap().display()));
    apiax::login(&sandbox);
    sandbox.run("get apiax --fresh").silent().prints(&at(2));
    put(&program, b"#!/bin/sh\necho nothing\n");
    refused(&apiax, || sandbox.run("get apiax --fresh")).says("cluster-login");
}

#[test]
fn what_rights_do_not_allow_is_found_out_before_anything_is_sent() {
    needs!("kubectl");
    let (cluster, apiax) = (Cluster::start(), Apiax::start());
    let sandbox = cluster.machine(&apiax, &cluster.token());
    let password = sandbox.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--username", apiax::USERNAME, "--password-file", &password];
    cluster.state(|state| state.verbs = verbs(&["get", "update"]));
    refused(&apiax, || sandbox.tok(login).run()).says("create");
    cluster.state(|state| state.verbs.push("create".into()));
    sandbox.tok(login).run().prints("");
    // From here on the rights to this one Secret are enough.
    cluster.state(|state| state.verbs = verbs(&["get", "update"]));
    sandbox.run("get apiax --fresh").silent().prints(&at(2));
    cluster.state(|state| state.verbs = verbs(&["get"]));
    refused(&apiax, || sandbox.run("get apiax --fresh")).says("cannot update");
    cluster.state(|state| state.token = "another".into());
    refused(&apiax, || sandbox.run("get apiax --fresh")).says("the context test of kubectl");
}

#[test]
fn an_api_server_that_answers_oddly_gets_no_token_sent_for() {
    needs!("kubectl");
    let (cluster, apiax) = (Cluster::start(), Apiax::start());
    let sandbox = cluster.machine(&apiax, &cluster.token());
    apiax::login(&sandbox);
    for odd in [
        Reply::html(200),
        Reply::new(204, "text/plain", ""),
        Reply::json(200, json!({"kind": "Secret", "metadata": {}})),
        Reply::json(500, json!({"kind": "Status", "message": "etcdserver: request timed out"})),
        status(409, "Conflict", "the object has been modified"),
    ] {
        cluster.state(|state| state.odd = Some(odd));
        let heard = apiax.server.count();
        let output = sandbox.run("get apiax --fresh --timeout 2s").fails_with_one_of(&[6, 7]);
        assert_eq!(apiax.server.count(), heard, "{output}");
    }
    cluster.state(|state| state.odd = None);
    sandbox.run("get apiax --fresh").silent().prints(&at(2));
}

#[test]
fn what_kubectl_does_not_say_is_named() {
    needs!("kubectl");
    let (cluster, apiax) = (Cluster::start(), Apiax::start());
    let mut sandbox = cluster.machine(&apiax, &json!({}));
    refused(&apiax, || sandbox.run("get apiax")).says("has no token, no client certificate and no exec");
    sandbox.set("KUBECONFIG", sandbox.home().join("nowhere"));
    refused(&apiax, || sandbox.run("get apiax")).says("kubectl");
    let folder = sandbox.home();
    sandbox.set("PATH", folder);
    refused(&apiax, || sandbox.run("get apiax")).says("kubectl: program not found");
}

#[test]
fn a_client_certificate_that_kubectl_names_logs_in() {
    needs!("kubectl");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["job".into()]).unwrap().self_signed(&key).unwrap();
    let cluster = Cluster::start_as(Certified::demanding(&["127.0.0.1"], certificate.der()));
    cluster.state(|state| state.token.clear());
    let apiax = Apiax::start();
    let pem = (certificate.pem(), key.serialize_pem());
    let encoded =
        json!({"client-certificate-data": STANDARD.encode(&pem.0), "client-key-data": STANDARD.encode(&pem.1)});
    let first = cluster.machine(&apiax, &encoded);
    apiax::login(&first);
    first.run("get apiax --fresh").silent().prints(&at(2));
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("job.crt"), folder.path().join("job.key"));
    put(&one, pem.0.as_bytes());
    put(&other, pem.1.as_bytes());
    let second = cluster.machine(&apiax, &json!({"client-certificate": one, "client-key": other}));
    second.run("get apiax --fresh").silent().prints(&at(3));
    // Somebody else's, one that is none, and a key of another.
    let key = rcgen::KeyPair::generate().unwrap();
    let stranger = rcgen::CertificateParams::new(vec!["job".into()]).unwrap().self_signed(&key).unwrap();
    put(&one, stranger.pem().as_bytes());
    put(&other, key.serialize_pem().as_bytes());
    refused(&apiax, || second.run("get apiax --fresh --timeout 4s"));
    put(&other, pem.1.as_bytes());
    refused(&apiax, || second.run("get apiax --fresh --timeout 4s")).says("certificate");
    put(&one, b"none");
    refused(&apiax, || second.run("get apiax --fresh --timeout 4s")).says("certificate");
    std::fs::remove_file(&one).unwrap();
    refused(&apiax, || second.run("get apiax --fresh")).says("job.crt");
}

/// `tok` in a pod: what Kubernetes puts there is in `account`, and no kubectl is.
fn in_pod(cluster: &Cluster, apiax: &Apiax, account: &std::path::Path, line: &str) -> Output {
    let mut sandbox = apiax.sandbox();
    sandbox.set("TOK_STORE", "kubernetes:jobs/tok-").set("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    sandbox.set("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    sandbox.set("KUBERNETES_SERVICE_PORT", cluster.server.port().to_string());
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io && cp -r {} /run/secrets/kubernetes.io/serviceaccount || exit 77; exec \"$0\" \"$@\"",
        account.display()
    );
    sandbox.tok(line.split(' ')).after(&format!("exec unshare -rm sh -c '{script}' \"$0\" \"$@\"")).run()
}

#[test]
fn a_pod_logs_in_by_its_service_account() {
    needs!("kubectl", "unshare", "mount", "sh");
    if std::fs::canonicalize("/var/run").ok().as_deref() != Some(std::path::Path::new("/run")) {
        crate::skip::skip!("/var/run is not /run");
    }
    let (cluster, apiax) = (Cluster::start(), Apiax::start());
    apiax::login(&cluster.machine(&apiax, &cluster.token()));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| put(&folder.path().join(name), text);
    file("token", format!("{}\n", cluster.state(|state| state.token.clone())).as_bytes());
    file("ca.crt", &std::fs::read(cluster.server.ca_file()).unwrap());
    file("namespace", b"jobs");
    let get = |line: &str| in_pod(&cluster, &apiax, folder.path(), line);
    let first = get("get apiax --fresh");
    if first.code == 77 || first.stderr.starts_with("unshare") {
        crate::skip::skip!("no mount namespace: {}", first.stderr);
    }
    first.silent().prints(&at(2));
    // The token is another each hour.
    cluster.state(|state| state.token = format!("next-{CANARY}"));
    refused(&apiax, || get("get apiax --fresh")).says("the pod's service account");
    file("token", format!("next-{CANARY}").as_bytes());
    get("get apiax --fresh").silent().prints(&at(3));
    file("ca.crt", b"none");
    refused(&apiax, || get("get apiax --fresh --timeout 4s")).says("certificate");
    std::fs::remove_file(folder.path().join("ca.crt")).unwrap();
    refused(&apiax, || get("get apiax --fresh")).says("ca.crt");
}

#[test]
fn what_is_in_a_cluster_and_not_toks_is_left_alone() {
    needs!("kubectl");
    let (cluster, apiax) = (Cluster::start(), Apiax::start());
    let sandbox = cluster.machine(&apiax, &cluster.token());
    let password = sandbox.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--username", apiax::USERNAME, "--password-file", &password];
    cluster.state(|state| state.has_namespace = false);
    refused(&apiax, || sandbox.tok(login).run()).says("the namespace jobs does not exist");
    cluster.state(|state| state.has_namespace = true);
    sandbox.tok(login).run().prints("");
    let good = cluster.state(|state| state.secrets["tok-apiax"].clone());
    let held = |data: Value| {
        let mut secret = good.clone();
        secret["data"] = data;
        cluster.state(|state| drop(state.secrets.insert("tok-apiax".into(), secret.clone())));
        secret
    };
    for data in [
        json!({"password": STANDARD.encode(CANARY)}),
        json!({"entry": format!("no base64 {CANARY}")}),
        json!({"entry": STANDARD.encode(format!("plain text {CANARY}"))}),
        json!({"entry": STANDARD.encode("x".repeat(40 << 20))}),
    ] {
        let before = held(data);
        refused(&apiax, || sandbox.run("get apiax --fresh --timeout 10s"));
        assert_eq!(cluster.state(|state| state.secrets["tok-apiax"].clone()), before);
    }
    // One of a newer tok keeps its fields.
    let text = STANDARD.decode(good["data"]["entry"].as_str().unwrap()).unwrap();
    let mut newer: Value = serde_json::from_slice(&text).unwrap();
    newer["next_decade"] = json!({"deep": [1, 2.50]});
    held(json!({"entry": STANDARD.encode(newer.to_string())}));
    sandbox.run("get apiax --fresh").silent().prints(&at(2));
    assert_eq!((&cluster.entry()["next_decade"], &cluster.entry()["generation"]), (&newer["next_decade"], &json!(1)));
    // A proxy's page is no answer of the API.
    for page in [Reply::html(200), Reply::html(403), Reply::html(502), Reply::html(404), Reply::nothing()] {
        cluster.state(|state| state.page = Some(page));
        refused(&apiax, || sandbox.run("get apiax --fresh --timeout 2s")).soon();
    }
    cluster.state(|state| state.page = None);
    sandbox.run("get apiax --fresh").silent().prints(&at(3));
}
