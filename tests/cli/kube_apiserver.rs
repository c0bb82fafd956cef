//! `store = "kubernetes:…"` with a real kube-apiserver over a real etcd: what `kubernetes_store.rs` imitates, and the files of
//! `docs/fleet/`. `./test --full` builds the server (`tests/real/servers/kube-apiserver`).

use crate::child::{LIMIT_OF_A_SERVICE, Program, Start};
use crate::etcd_store::Etcd;
use crate::fleet;
use crate::shared_stores::{at, refused, renewed_once_by, saw};
use crate::skip::{needs, skip};
use crate::support::apiax::{self, Apiax};
use crate::support::openbao::free_port;
use crate::support::{CANARY, Sandbox, chmod, full_sweeps, put, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A cluster without nodes. It ends when this goes.
struct Kubernetes {
    address: String,
    server: Program,
    folder: tempfile::TempDir,
    _etcd: Etcd,
}

/// The server, or the end of the test as skipped.
macro_rules! kubernetes {
    () => {
        match Kubernetes::start() {
            Ok(cluster) => cluster,
            Err(why) => skip!("{why}"),
        }
    };
}

/// The token of whoever may do everything.
fn admin() -> String {
    format!("admin-{CANARY}")
}

/// The program, or why there is none.
fn program() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder for what is built");
    let program = target.join("real/kube-apiserver/kube-apiserver");
    if !full_sweeps() {
        return Err("a real kube-apiserver is for ./test --full".into());
    }
    assert!(program.is_file(), "kube-apiserver is not built");
    Ok(program)
}

impl Kubernetes {
    /// Starts it with the namespace `jobs` and what `docs/fleet/rbac.yaml` has.
    fn start() -> Result<Kubernetes, String> {
        let program = program()?;
        // A port that was free may be taken by another test's server.
        let cluster = (0..5).find_map(|_| Kubernetes::try_start(&program)).expect("kube-apiserver starts");
        cluster.kubectl(&["create", "namespace", "jobs"]);
        cluster.kubectl(&["apply", "-f", fleet::folder().join("rbac.yaml").to_str().unwrap()]);
        Ok(cluster)
    }

    fn try_start(program: &Path) -> Option<Kubernetes> {
        let etcd = Etcd::start();
        let folder = tempfile::Builder::new().prefix("tok-kube-").tempdir().unwrap();
        let port = free_port();
        let path = |name: &str| folder.path().join(name);
        let key = rcgen::KeyPair::generate().unwrap();
        put(&path("sa.key"), key.serialize_pem().as_bytes());
        put(&path("sa.pub"), key.public_key_pem().as_bytes());
        put(&path("tokens.csv"), format!("{},admin,1,\"system:masters\"\n", admin()).as_bytes());
        let issuer = "https://kubernetes.default.svc";
        let log = fs::File::create(path("log")).unwrap();
        let mut command = Command::new(program);
        command.arg(format!("--etcd-servers={}", etcd.address)).arg(format!("--secure-port={port}"));
        command.args(["--bind-address=127.0.0.1", "--insecure-port=0", "--service-cluster-ip-range=10.0.0.0/24"]);
        command.arg(format!("--cert-dir={}", path("certs").display()));
        command.arg(format!("--service-account-key-file={}", path("sa.pub").display()));
        command.arg(format!("--service-account-signing-key-file={}", path("sa.key").display()));
        command.arg(format!("--service-account-issuer={issuer}")).arg(format!("--api-audiences={issuer}"));
        command.arg(format!("--token-auth-file={}", path("tokens.csv").display()));
        // Without a controller nothing makes the tokens that this would mount into pods.
        command.args(["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut cluster = Kubernetes {
            address: format!("https://127.0.0.1:{port}"),
            server: Program::start(&mut command, LIMIT_OF_A_SERVICE).unwrap(),
            folder,
            _etcd: etcd,
        };
        put(&cluster.folder.path().join("admin"), cluster.kubeconfig(&admin()).to_string().as_bytes());
        let mut is_ended = false;
        until("kube-apiserver is ready", || {
            is_ended = cluster.server.try_wait().is_some();
            is_ended || cluster.try_kubectl(&["get", "--raw", "/readyz"]).is_ok()
        });
        (!is_ended).then_some(cluster)
    }

    /// The certificates that vouch for it, which it makes itself.
    fn ca(&self) -> PathBuf {
        self.folder.path().join("certs/apiserver.crt")
    }

    /// A config of kubectl for whoever has this token.
    fn kubeconfig(&self, token: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "c", "cluster": {"server": self.address, "certificate-authority": self.ca()}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": token}}],
        })
    }

    fn try_kubectl(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("kubectl");
        command.args(words).env_clear().env("HOME", self.folder.path()).env("PATH", std::env::var_os("PATH").unwrap());
        command.env("KUBECONFIG", self.folder.path().join("admin"));
        let out = command.finish().unwrap();
        match out.status.success() {
            true => Ok(String::from_utf8(out.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
        }
    }

    /// What the administrator's kubectl prints.
    #[track_caller]
    fn kubectl(&self, words: &[&str]) -> String {
        self.try_kubectl(words).unwrap_or_else(|why| panic!("kubectl {words:?}: {why}"))
    }

    /// A token of the service account that `docs/fleet/rbac.yaml` makes, as a pod has one.
    #[track_caller]
    fn account(&self) -> String {
        let file = self.folder.path().join("request.json");
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
        put(&file, request.to_string().as_bytes());
        let path = "/api/v1/namespaces/jobs/serviceaccounts/reports/token";
        let made = self.kubectl(&["create", "--raw", path, "-f", file.to_str().unwrap()]);
        let made: Value = serde_json::from_str(&made).unwrap();
        made["status"]["token"].as_str().unwrap().into()
    }

    /// A machine whose kubectl has this token.
    fn machine(&self, apiax: &Apiax, token: &str) -> Sandbox {
        let mut machine = apiax.sandbox();
        let path = machine.home().join("kubeconfig");
        put(&path, self.kubeconfig(token).to_string().as_bytes());
        machine.set("TOK_STORE", "kubernetes:jobs/tok-").set("KUBECONFIG", path);
        machine
    }

    /// `count` machines with the rights of the jobs, and the person who has logged in.
    fn machines(&self, apiax: &Apiax, count: usize) -> (Sandbox, Vec<Sandbox>) {
        let person = self.machine(apiax, &admin());
        apiax::login(&person);
        let token = self.account();
        (person, (0..count).map(|_| self.machine(apiax, &token)).collect())
    }

    /// The Secret of apiax, and the entry in it.
    #[track_caller]
    fn secret(&self) -> (Value, Value) {
        let secret = self.kubectl(&["get", "secret", "tok-apiax", "-n", "jobs", "-o", "json"]);
        let secret: Value = serde_json::from_str(&secret).unwrap();
        let entry = STANDARD.decode(secret["data"]["entry"].as_str().unwrap()).unwrap();
        let entry = serde_json::from_slice(&entry).unwrap();
        (secret, entry)
    }
}

#[test]
fn a_session_in_a_real_secret_serves_whom_its_role_names() {
    needs!("etcd", "kubectl");
    let (cluster, apiax) = (kubernetes!(), Apiax::start());
    let (person, machines) = cluster.machines(&apiax, 3);
    machines[0].run("get apiax").silent().prints(&format!("{}\n", at(1)));
    machines[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(2)));
    // What others have put there stays.
    cluster.kubectl(&["label", "secret", "tok-apiax", "-n", "jobs", "team=reports"]);
    machines[2].run("get apiax --fresh").silent().prints(&format!("{}\n", at(3)));
    person.run("get apiax --fresh").silent().prints(&format!("{}\n", at(4)));
    let (secret, entry) = cluster.secret();
    assert_eq!((&secret["metadata"]["labels"]["team"], &entry["generation"]), (&json!("reports"), &json!(3)));
    // Another Secret is not theirs.
    let others = cluster.machine(&apiax, &cluster.account());
    let others = others.tok(["get", "apiax"]).env("TOK_STORE", "kubernetes:jobs/other-");
    refused(&apiax, || others.run()).says("other-apiax");
    // One that others may only read is found out before anything is sent.
    cluster.kubectl(&["create", "role", "reads", "-n", "jobs", "--verb=get", "--resource=secrets"]);
    cluster.kubectl(&["create", "serviceaccount", "reader", "-n", "jobs"]);
    cluster.kubectl(&["create", "rolebinding", "reads", "-n", "jobs", "--role=reads", "--serviceaccount=jobs:reader"]);
    let path = "/api/v1/namespaces/jobs/serviceaccounts/reader/token";
    let made =
        cluster.kubectl(&["create", "--raw", path, "-f", cluster.folder.path().join("request.json").to_str().unwrap()]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let reader = cluster.machine(&apiax, made["status"]["token"].as_str().unwrap());
    reader.run("get apiax").silent().prints(&format!("{}\n", at(4)));
    refused(&apiax, || reader.run("get apiax --fresh")).says("cannot update");
    let password = reader.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--username", apiax::USERNAME, "--password-file", &password];
    let login = reader.tok(login).args(["--as", "other"]).env("TOK_OTHER_BASE_URL", apiax.server.url());
    refused(&apiax, || login.run()).says("create");
    refused(&apiax, || cluster.machine(&apiax, "wrong").run("get apiax")).says("the context test of kubectl");
    // The end is everybody's.
    apiax.state(|state| state.alive.clear());
    machines[0].run("get apiax --fresh").fails(4).says("the session has ended").hints_at("tok login apiax");
    let heard = apiax.server.count();
    machines[1].run("get apiax --fresh").fails(4).says("the session has ended");
    assert_eq!(apiax.server.count(), heard);
    apiax::login(&person);
    machines[2].run("get apiax --fresh").silent().line();
    person.run("logout apiax").ok();
    assert_eq!(cluster.secret().1.get("refresh_token"), None);
    machines[1].run("get apiax --fresh").fails(4).says("logged out");
}

#[test]
fn many_processes_on_four_machines_make_one_refresh_through_a_real_secret() {
    needs!("etcd", "kubectl");
    let cluster = kubernetes!();
    renewed_once_by(24, |apiax| cluster.machines(apiax, 4).1);
}

/// While the provider is slow somebody else writes the Secret: the new session is written over the newer version.
#[test]
fn a_real_conflict_loses_nothing() {
    needs!("etcd", "kubectl");
    let (cluster, apiax) = (kubernetes!(), Apiax::start());
    let (_, machines) = cluster.machines(&apiax, 2);
    let before = cluster.secret().0["metadata"]["resourceVersion"].clone();
    let gate = apiax.server.hold();
    let holder = machines[0].tok(["get", "apiax", "--fresh"]).spawn();
    apiax.server.until(2);
    let (held, entry) = cluster.secret();
    assert_ne!(held["metadata"]["resourceVersion"], before);
    assert!(entry["lease"]["id"].is_string(), "{entry}");
    cluster.kubectl(&["label", "secret", "tok-apiax", "-n", "jobs", "team=reports"]);
    gate.open();
    holder.wait().silent().prints(&format!("{}\n", at(2)));
    let (secret, entry) = cluster.secret();
    assert_eq!((&entry["generation"], entry.get("lease")), (&json!(1), None));
    assert_eq!(secret["metadata"]["labels"]["team"], "reports");
    machines[1].run("get apiax --fresh").silent().prints(&format!("{}\n", at(3)));
    saw(&apiax, &["password", "refresh_token", "refresh_token"]);
}

#[test]
fn the_manifests_of_the_documents_are_taken_and_run() {
    needs!("etcd", "kubectl", "python3", "unshare", "mount", "setpriv");
    let Some(documents) = fleet::documents("cronjob.yaml") else { skip!("python3 has no yaml (Debian: python3-yaml)") };
    let (cluster, apiax) = (kubernetes!(), Apiax::start());
    // This server is older than the version that the file names, and has the same fields in the one before. It checks
    // each of them.
    let text = fs::read_to_string(fleet::folder().join("cronjob.yaml")).unwrap();
    let file = cluster.folder.path().join("cronjob.yaml");
    put(&file, text.replace("apiVersion: batch/v1\n", "apiVersion: batch/v1beta1\n").as_bytes());
    let file = file.to_str().unwrap();
    cluster.kubectl(&["apply", "--validate", "--dry-run=server", "-f", file]);
    put(Path::new(file), fs::read_to_string(file).unwrap().replace("parallelism", "paralelism").as_bytes());
    assert!(cluster.try_kubectl(&["apply", "--validate", "--dry-run=server", "-f", file]).is_err());

    let person = cluster.machine(&apiax, &admin());
    fleet::log_in(&apiax, &person, "kubernetes:jobs/tok-");
    let account = person.file("account/token", cluster.account()).parent().unwrap().to_path_buf();
    fs::copy(cluster.ca(), account.join("ca.crt")).unwrap();
    put(&account.join("namespace"), b"jobs");
    let reports = person.file("reports", "#!/bin/sh\necho \"$ACCESS_TOKEN\"\n");
    chmod(&reports, 0o755);
    let programs = [("tok", Path::new(env!("CARGO_BIN_EXE_tok"))), ("reports", reports.as_path())];
    let env = [
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1".to_string()),
        ("KUBERNETES_SERVICE_PORT", cluster.address.rsplit(':').next().unwrap().to_string()),
        ("TOK_APIAX_BASE_URL", apiax.server.url()),
    ];
    let template = &documents[0]["spec"]["jobTemplate"]["spec"];
    let pod = &template["template"]["spec"];
    let count = template["parallelism"].as_u64().unwrap() as usize;
    let run = |_: usize| fleet::in_pod(&pod["containers"][0], pod, &account, &programs, &env);
    for out in fleet::together((0..count).collect(), run) {
        let Some(out) = out else { skip!("nothing may be mounted here") };
        assert_eq!(fleet::good("the container", &out), format!("{}\n", at(2)));
    }
    saw(&apiax, &["password", "refresh_token"]);
}
