//! Starts the servers. Each ends when its stdin does, so none outlives the tests, however they end.

use super::support::figures;
use crate::child::{LIMIT_OF_A_SERVICE, Program, Start};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

/// How long a server may take to start: far above anything healthy, on a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which server, and how it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// npm `oidc-provider`, certified by the OpenID Foundation.
    OidcProvider,
    /// The same by HTTPS, with client certificates at another address than the issuer's.
    OidcProviderTls,
    /// Authlib on Flask, strict about the client's authentication.
    Authlib,
    /// npm `@node-oauth/oauth2-server`: a token endpoint that decodes nothing in Basic.
    NodeOauth,
    /// npm `@jmondi/oauth2-server`, which does as the League's server in PHP does.
    Jmondi,
    /// PyPI `fastmcp`: an MCP server with its own authorization server.
    FastMcp,
    /// npm `@modelcontextprotocol/sdk`: its example authorization server, with an MCP server beside.
    McpSdk,
    /// npm `@better-auth/mcp`: Better Auth as an authorization server, with an API that it guards.
    BetterAuth,
}

impl Make {
    /// Its name, which is that of its folder too.
    pub fn name(self) -> &'static str {
        match self {
            Make::OidcProvider | Make::OidcProviderTls => "oidc-provider",
            Make::Authlib => "authlib",
            Make::NodeOauth => "node-oauth",
            Make::Jmondi => "jmondi",
            Make::FastMcp => "fastmcp",
            Make::McpSdk => "mcp-sdk",
            Make::BetterAuth => "better-auth",
        }
    }

    /// The letter that stands for it in the table, and what that means.
    pub fn legend(self) -> (char, &'static str) {
        match self {
            Make::OidcProvider | Make::OidcProviderTls => ('O', "npm `oidc-provider` 9.13.3"),
            Make::Authlib => ('A', "PyPI `Authlib` 1.9.9"),
            Make::NodeOauth => ('N', "npm `@node-oauth/oauth2-server` 5.3.0"),
            Make::Jmondi => ('J', "npm `@jmondi/oauth2-server` 4.3.7"),
            Make::FastMcp => ('F', "PyPI `fastmcp` 4.2.3"),
            Make::McpSdk => ('M', "npm `@modelcontextprotocol/sdk` 1.32.2"),
            Make::BetterAuth => ('B', "npm `@better-auth/mcp` 1.7.5"),
        }
    }
}

/// A server that listens. It ends when this goes.
pub struct Server {
    /// Its address, without a slash at the end.
    pub issuer: String,
    /// Keys of its clients, and certificates.
    files: tempfile::TempDir,
    make: Make,
    child: Mutex<Program>,
}

/// The scripts.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/servers")
}

/// The program that plays the person's browser.
pub fn robot() -> PathBuf {
    scripts().join("robot.mjs")
}

/// Those that the tests share, by their make.
static SERVERS: [OnceLock<Result<Server, String>>; 8] = [const { OnceLock::new() }; 8];

/// The server of this make that the tests share. Says why there is none: packages that are not installed.
pub fn shared(make: Make) -> Result<&'static Server, &'static str> {
    // A refresh token that comes twice is the end of the whole family.
    let server = SERVERS[make as usize].get_or_init(|| {
        let server = Server::start(make, &[("REUSE", "revoke")]);
        server.inspect_err(|why| figures(&format!("nothing is tried on {}: {why}", make.name())))
    });
    server.as_ref().map_err(String::as_str)
}

/// Ends those that the tests share, and removes their files, in which the keys of their clients are: nothing drops what
/// is static.
pub fn end() {
    for server in SERVERS.iter().filter_map(OnceLock::get).flatten() {
        server.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        let _ = fs::remove_dir_all(server.files.path());
    }
}

/// The folder with the server and its packages, where they are installed.
fn installed(make: Make) -> Result<PathBuf, String> {
    // Two of them would write to the same folder.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder for what is built");
    let folder = target.join("real").join(make.name());
    let run = Command::new(scripts().join("install")).arg("--offline").arg(make.name()).arg(&folder).finish();
    let output = run.map_err(|e| format!("its folder cannot be made: {e}"))?;
    if output.status.success() {
        return Ok(folder);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let why = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing was said");
    Err(why.to_string())
}

impl Server {
    /// Starts one of its own for a test, with settings of the start script. Says why its packages are not there; one
    /// that is there and does not start is a failure. It is tried three times: Node 20 now and then hangs for ever in
    /// the export of a key that it has just made.
    pub fn start(make: Make, settings: &[(&str, &str)]) -> Result<Server, String> {
        let mut failed = String::new();
        for _ in 0..3 {
            match Server::try_start(make, settings)? {
                Ok(server) => return Ok(server),
                Err(why) => failed = why,
            }
        }
        panic!("{failed}");
    }

    /// One try; the inner error says why it is not ready.
    fn try_start(make: Make, settings: &[(&str, &str)]) -> Result<Result<Server, String>, String> {
        let folder = installed(make)?;
        let files = tempfile::Builder::new().prefix("tok-real-").tempdir().expect("a temporary folder");
        let tls = make == Make::OidcProviderTls;
        if tls {
            certificates(files.path());
        }
        let (program, script) = match make {
            Make::Authlib | Make::FastMcp => (folder.join("venv/bin/python"), "server.py"),
            _ => ("node".into(), "server.mjs"),
        };
        let mut command = Command::new(program);
        command.arg(script).current_dir(&folder);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("KEYS_DIR", files.path()).envs(settings.iter().copied());
        if tls {
            command.env("TLS_DIR", files.path());
        }
        let log = fs::File::create(files.path().join("log")).expect("a file for what it says");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = Program::start(&mut command, LIMIT_OF_A_SERVICE)
            .unwrap_or_else(|e| panic!("{} does not start: {e}", make.name()));

        let mut stdout = BufReader::new(child.stdout.take().expect("its stdout"));
        let (send, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|length| length > 0) {
                if let Ok(said) = serde_json::from_str::<Value>(&line) {
                    let _ = send.send(said);
                }
                line.clear();
            }
        });
        let issuer = match ready.recv_timeout(PATIENCE) {
            Ok(said) => said["issuer"].as_str().expect("its address").to_string(),
            Err(why) => {
                child.kill();
                let status = child.try_wait();
                let log = fs::read_to_string(files.path().join("log")).unwrap_or_default();
                return Ok(Err(format!("{} is not ready: {why}; it ended with {status:?}\n{log}", make.name())));
            }
        };
        Ok(Ok(Server { issuer, files, make, child: Mutex::new(child) }))
    }

    /// A file that the server made for its clients, as an argument.
    #[track_caller]
    pub fn file(&self, name: &str) -> String {
        let path = self.files.path().join(name);
        assert!(path.exists(), "no {name}");
        path.to_str().expect("a path in UTF-8").into()
    }

    /// The certificate to trust, where it speaks TLS.
    pub fn ca(&self) -> Option<String> {
        (self.make == Make::OidcProviderTls).then(|| self.file("ca.crt"))
    }

    /// Whether it keeps a log.
    pub fn logs(&self) -> bool {
        matches!(self.make, Make::OidcProvider | Make::OidcProviderTls)
    }

    /// What it was asked by POST so far: `at` (milliseconds), `host`, `path`, `headers`,
    /// `body`, `status`, `response`. Only oidc-provider keeps it.
    pub fn log(&self) -> Vec<Value> {
        let body = self.get("/_log");
        serde_json::from_str(&body).expect("a list of requests")
    }

    /// The body of an answer to GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> String {
        self.get_headers(path, &[])
    }

    /// The same with this in `Authorization`.
    #[track_caller]
    pub fn get_with(&self, authorization: &str, path: &str) -> String {
        self.get_headers(path, &[("Authorization", authorization)])
    }

    /// The same with these headers, whatever the status.
    #[track_caller]
    pub fn get_headers(&self, path: &str, headers: &[(&str, &str)]) -> String {
        let mut tls = ureq::tls::TlsConfig::builder();
        if let Some(ca) = self.ca() {
            let pem = fs::read(ca).expect("the CA");
            let ca = ureq::tls::Certificate::from_pem(&pem).expect("a certificate");
            tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(&[ca]));
        }
        let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).tls_config(tls.build());
        let mut request = config.build().new_agent().get(format!("{}{path}", self.issuer));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut body = String::new();
        let answer = request.call().expect("an answer");
        answer.into_body().into_reader().read_to_string(&mut body).expect("text");
        body
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        child.kill();
    }
}

/// A CA, a server's certificate, two of clients, and one that nobody signed: `NAME.crt` and `NAME.key`.
fn certificates(folder: &Path) {
    let key = || KeyPair::generate().expect("a key");
    let params = |names: &[&str], common: &str, usage: ExtendedKeyUsagePurpose| {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let mut params = CertificateParams::new(names).expect("a certificate");
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages.push(usage);
        params
    };
    let write = |name: &str, certificate: rcgen::Certificate, key: &KeyPair| {
        super::support::put(&folder.join(format!("{name}.crt")), certificate.pem().as_bytes());
        super::support::put(&folder.join(format!("{name}.key")), key.serialize_pem().as_bytes());
    };

    let mut authority = CertificateParams::new(Vec::new()).expect("a CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "tok's test CA");
    let ca_key = key();
    write("ca", authority.self_signed(&ca_key).expect("a CA"), &ca_key);
    let issuer = Issuer::new(authority, ca_key);

    let client = ExtendedKeyUsagePurpose::ClientAuth;
    for (name, params) in [
        ("server", params(&["localhost", "127.0.0.1"], "localhost", ExtendedKeyUsagePurpose::ServerAuth)),
        ("client", params(&["tok-client.test"], "tok-client", client.clone())),
        ("other", params(&["other.test"], "someone else", client.clone())),
    ] {
        let key = key();
        write(name, params.signed_by(&key, &issuer).expect("a certificate"), &key);
    }
    let own = key();
    let alone = params(&["tok-self.test"], "tok-self-signed", client);
    write("client-self", alone.self_signed(&own).expect("a certificate"), &own);
}
