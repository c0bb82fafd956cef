//! A person at a terminal: types commands, and has a browser that logs in and consents.

use super::servers::{self, Server};
use super::support::{Output, Sandbox, Tok};
use serde_json::Value;
use std::ffi::OsStr;

/// One person with a home of their own, at one server.
pub struct Person {
    /// Their home.
    pub sandbox: Sandbox,
    /// The server.
    pub server: &'static Server,
}

impl Person {
    /// Nobody has logged in yet. The store is a file, the browser [`servers::robot`].
    pub fn at(server: &'static Server) -> Person {
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("BROWSER", servers::robot());
        if let Some(ca) = server.ca() {
            sandbox.set("SSL_CERT_FILE", &ca);
            sandbox.set("NODE_EXTRA_CA_CERTS", &ca);
        }
        Person { sandbox, server }
    }

    /// A secret in a file, as an argument.
    pub fn file(&self, secret: &str) -> String {
        self.sandbox.file_arg(&format!("secret-{}", secret.len()), secret)
    }

    /// `tok login oidc GRANT --issuer …` with the rest of the line.
    pub fn login<S: AsRef<OsStr>>(&self, grant: &str, rest: &[S]) -> Output {
        let line = ["login", "oidc", grant, "--issuer", &self.server.issuer];
        self.tok(self.sandbox.tok(line).args(rest))
    }

    /// The words of a line: `person.run("get oidc --fresh")`.
    pub fn run(&self, line: &str) -> Output {
        self.tok(self.sandbox.tok(line.split_whitespace()))
    }

    /// Runs a command, and looks for what the server handed out where it must not stand.
    #[track_caller]
    pub fn tok(&self, tok: Tok) -> Output {
        tok.run()
    }
}

/// Every secret of a log of oidc-provider, whoever sent it.
pub fn secrets(log: &[Value]) -> Vec<String> {
    const NAMES: [&str; 8] = [
        "access_token",
        "refresh_token",
        "id_token",
        "device_code",
        "auth_req_id",
        "code",
        "code_verifier",
        "client_assertion",
    ];
    let parts = log.iter().flat_map(|entry| [&entry["body"], &entry["response"]]);
    let values = parts.flat_map(|part| NAMES.map(|name| part[name].as_str()));
    values.flatten().map(str::to_string).collect()
}
