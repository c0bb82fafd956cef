//! A person at a terminal: types commands, and has a browser that logs in and consents.

use super::servers::{self, Server};
use super::support::{Output, Sandbox, Tok, until};
use crate::child::Start;
use serde_json::Value;
use std::fs;
use std::process::Command;

/// One person with a home of their own, at one server.
pub struct Person<'a> {
    /// Their home.
    pub sandbox: Sandbox,
    /// The server.
    pub server: &'a Server,
}

impl<'a> Person<'a> {
    /// Nobody has logged in yet. The store is a file, the browser [`servers::robot`].
    pub fn at(server: &'a Server) -> Person<'a> {
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("BROWSER", servers::robot());
        if let Some(ca) = server.ca() {
            sandbox.set("SSL_CERT_FILE", &ca);
            sandbox.set("NODE_EXTRA_CA_CERTS", &ca);
        }
        Person { sandbox, server }
    }

    /// A secret in a file, as an argument.
    pub fn file(&self, name: &str, secret: &str) -> String {
        self.sandbox.file_arg(name, secret)
    }

    /// `tok login oidc GRANT --issuer …` and the rest of the line, not yet started.
    pub fn login(&self, grant: &str, rest: &[String]) -> Tok {
        self.sandbox.tok(["login", "oidc", grant, "--issuer", &self.server.issuer]).args(rest)
    }

    /// `tok login oauth2 GRANT --token-url …` and the rest of the line, not yet started.
    pub fn login_by_url(&self, grant: &str, path: &str, rest: &[String]) -> Tok {
        let url = format!("{}{path}", self.server.issuer);
        self.sandbox.tok(["login", "oauth2", grant, "--token-url", &url]).args(rest)
    }

    /// Runs a line, and looks for what the server handed out where it must not stand.
    #[track_caller]
    pub fn run(&self, line: &str) -> Output {
        let output = self.sandbox.run(line);
        if self.server.logs() {
            self.nothing_leaked(&output.stderr);
        }
        output
    }

    /// The token that `tok get PROFILE` prints.
    #[track_caller]
    pub fn token(&self, profile: &str) -> String {
        self.run(&format!("get {profile}")).silent().line()
    }

    /// What oidc-provider answered with this token: the request and the answer.
    #[track_caller]
    pub fn answer(&self, token: &str) -> Value {
        let log = self.server.log();
        let found = log.into_iter().find(|entry| entry["response"]["access_token"] == token);
        found.expect("a token that this server handed out")
    }

    /// Starts a login that shows an address and a code, goes there with the browser, types the code, and waits for
    /// the end. What stood on stderr.
    #[track_caller]
    pub fn types_the_code(&self, login: Tok) -> String {
        let screen = self.sandbox.file("screen", "");
        let shown = || fs::read_to_string(&screen).expect("the screen");
        let mut running = login.stderr(fs::File::create(&screen).expect("the screen")).spawn();
        let mut found = None;
        until("address and code are shown", || {
            found = address_and_code(&shown());
            found.is_some() || running.ended()
        });
        let Some((address, code)) = found else {
            panic!("no address and code: {}\n{}", running.wait(), shown());
        };
        self.browse(&["--code", &code, &address]);
        let output = running.wait();
        assert_eq!(output.code, 0, "{output}{}", shown());
        assert_eq!(output.stdout, "", "{output}");
        shown()
    }

    /// The browser, as a program: its last words.
    #[track_caller]
    pub fn browse(&self, arguments: &[&str]) -> String {
        let mut robot = Command::new(servers::robot());
        robot.args(arguments).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let Some(ca) = self.server.ca() {
            robot.env("NODE_EXTRA_CA_CERTS", ca);
        }
        let output = robot.finish().expect("the robot starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    /// No secret that oidc-provider has seen by now stands in `text`.
    #[track_caller]
    pub fn nothing_leaked(&self, text: &str) {
        for secret in secrets(&self.server.log()) {
            assert!(!text.contains(&secret), "a secret on stderr: {text}");
        }
    }
}

/// The address to go to and the code to type there, where both are on the screen. The address that has the code in it
/// is cut back to the one that a person would type.
pub fn address_and_code(screen: &str) -> Option<(String, String)> {
    let words = || screen.split_whitespace().map(|word| word.trim_end_matches(['.', ',', ':']));
    let address = words().find(|word| word.starts_with("http"))?;
    let is_code = |word: &&str| {
        let halves: Vec<&str> = word.split('-').collect();
        halves.len() == 2 && halves.iter().all(|half| half.len() == 4 && half.bytes().all(|b| b.is_ascii_uppercase()))
    };
    let code = words().find(is_code)?;
    Some((address.split('?').next()?.into(), code.into()))
}

/// Every secret of a log of oidc-provider, whoever sent it.
fn secrets(log: &[Value]) -> Vec<String> {
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

/// Words as arguments.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_string).collect()
}

/// What a JWT says, unchecked: its header or its claims.
#[track_caller]
pub fn jwt_part(token: &str, part: usize) -> Value {
    use base64::Engine;
    let text = token.split('.').nth(part).unwrap_or_else(|| panic!("no JWT: {token}"));
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}
