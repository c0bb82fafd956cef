//! Apiax's token endpoint, a Keycloak: `password` and `refresh_token` as forms of exactly the documented fields;
//! refresh tokens that rotate, `refresh_expires_in: 0`, `not-before-policy`, and expiry as the document has it (a
//! Java timestamp, once under `expires_in`, once under `expires_at`) or as a real Keycloak sends it (seconds).

use super::server::{Breaches, Received, Reply, Server, exactly, form, lock, manners};
use super::{CANARY, Sandbox, now};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// The user that it knows.
pub const USERNAME: &str = "jane+api@example.com";

/// The path of the endpoint.
pub const PATH: &str = "/auth/realms/apiax/protocol/openid-connect/token";

/// The user's password.
pub fn password() -> String {
    format!("pass {CANARY} & wörd=%")
}

/// How expiry is said.
#[derive(Clone, Copy, PartialEq)]
pub enum Expiry {
    /// `expires_in` in seconds, both times.
    Seconds,
    /// As the document says: a Java timestamp, under `expires_in` first and `expires_at` on refresh.
    Java,
}

/// What becomes of a refresh token that was used.
#[derive(Clone, Copy, PartialEq)]
pub enum Rotation {
    /// It stays good.
    Never,
    /// It is good once; coming again, it ends the session.
    Strict,
    /// It stays good until its successor is used: what a server does that expects clients to be killed.
    Overlap,
}

/// What may be changed while it runs.
pub struct State {
    /// The client id that is good.
    pub client_id: String,
    /// How expiry is said.
    pub expiry: Expiry,
    /// How long access tokens live, in seconds.
    pub life: i64,
    /// What becomes of used refresh tokens.
    pub rotation: Rotation,
    /// Good refresh tokens, each with the one before it.
    pub alive: BTreeMap<String, Option<String>>,
    /// Used ones.
    pub spent: BTreeSet<String>,
    /// How often a used one came again.
    pub reused: usize,
    /// How many access tokens were issued.
    pub issued: usize,
}

/// The running imitation.
pub struct Apiax {
    /// The server itself.
    pub server: Server,
    state: Arc<Mutex<State>>,
    breaches: Arc<Breaches>,
}

impl Apiax {
    /// Starts it: strict rotation, half an hour, in seconds.
    pub fn start() -> Apiax {
        Apiax::start_as(|answer| Server::new(answer))
    }

    /// The same as a server of another kind.
    pub fn start_as(serve: impl FnOnce(Box<dyn Fn(&Received) -> Reply + Send + Sync>) -> Server) -> Apiax {
        let state = Arc::new(Mutex::new(State {
            client_id: "integration-api".into(),
            expiry: Expiry::Seconds,
            life: 1800,
            rotation: Rotation::Strict,
            alive: BTreeMap::new(),
            spent: BTreeSet::new(),
            reused: 0,
            issued: 0,
        }));
        let breaches = Arc::new(Breaches::default());
        let (its_state, its_breaches) = (state.clone(), breaches.clone());
        let server = serve(Box::new(move |request| answer(&mut lock(&its_state), &its_breaches, request)));
        Apiax { server, state, breaches }
    }

    /// Reads or changes its state.
    pub fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut lock(&self.state))
    }

    /// The `grant_type` of each request so far.
    pub fn grants(&self) -> Vec<String> {
        let requests = self.server.requests();
        requests.iter().map(|r| r.field("grant_type")).collect()
    }

    /// A sandbox with the file store that talks to it, with nobody known.
    pub fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("TOK_APIAX_BASE_URL", self.server.url());
        sandbox
    }

    /// The same, logged in by the password, which is not kept.
    #[track_caller]
    pub fn logged_in(&self) -> Sandbox {
        let sandbox = self.sandbox();
        login(&sandbox);
        sandbox
    }
}

/// Logs `apiax` in with the good password from a file.
#[track_caller]
pub fn login(sandbox: &Sandbox) {
    let file = sandbox.file_arg("password", password());
    let args = ["login", "apiax", "password", "--username", USERNAME];
    sandbox.tok(args).args(["--password-file", &file]).run().prints("");
}

impl Drop for Apiax {
    fn drop(&mut self) {
        self.breaches.check("apiax");
    }
}

fn answer(state: &mut State, breaches: &Breaches, request: &Received) -> Reply {
    // `tok status --online` asks whether somebody is there.
    if request.method == "GET" && request.body.is_empty() {
        return error(405, "invalid_request", "HTTP 405 Method Not Allowed");
    }
    let form_type = "application/x-www-form-urlencoded";
    if let Err((status, what)) = manners(request, PATH, form_type) {
        breaches.add(&what);
        return error(status, "invalid_request", &what);
    }
    let fields = match form(&request.body) {
        Ok(fields) => fields,
        Err(what) => {
            breaches.add(&what);
            return error(400, "invalid_request", &what);
        }
    };
    let grant = request.field("grant_type");
    let names: &[&str] = match grant.as_str() {
        "password" => &["client_id", "grant_type", "username", "password"],
        "refresh_token" => &["grant_type", "client_assertion_type", "client_id", "refresh_token"],
        _ => &["grant_type"],
    };
    if let Err(what) = exactly(&fields, names) {
        breaches.add(format!("{grant}: {what}"));
        return error(400, "invalid_request", &what);
    }
    if request.field("client_id") != state.client_id {
        return error(401, "invalid_client", "Invalid client or Invalid client credentials");
    }
    match grant.as_str() {
        "password" => {
            if request.field("username") == USERNAME && request.field("password") == password() {
                issue(state, None, false)
            } else {
                error(401, "invalid_grant", "Invalid user credentials")
            }
        }
        "refresh_token" => {
            let assertion = request.field("client_assertion_type");
            if assertion != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
                breaches.add(format!("client_assertion_type {assertion}"));
                return error(400, "invalid_request", "client_assertion_type");
            }
            refresh(state, &request.field("refresh_token"))
        }
        _ => {
            breaches.add(format!("grant_type {grant}"));
            error(400, "unsupported_grant_type", "Unsupported grant_type")
        }
    }
}

fn refresh(state: &mut State, token: &str) -> Reply {
    if state.spent.contains(token) {
        // Reuse ends the whole session, as RFC 9700 wants it.
        state.reused += 1;
        state.alive.clear();
        return error(400, "invalid_grant", "Maximum allowed refresh token reuse exceeded");
    }
    let Some(before) = state.alive.get(token).cloned() else {
        return error(400, "invalid_grant", "Token is not active");
    };
    match state.rotation {
        Rotation::Never => {}
        Rotation::Strict => {
            state.alive.remove(token);
            state.spent.insert(token.into());
        }
        Rotation::Overlap => {
            if let Some(before) = before {
                state.alive.remove(&before);
                state.spent.insert(before);
            }
        }
    }
    issue(state, Some(token.into()), true)
}

fn issue(state: &mut State, before: Option<String>, on_refresh: bool) -> Reply {
    state.issued += 1;
    let n = state.issued;
    let refresh = format!("rt-{CANARY}-{n}");
    state.alive.insert(refresh.clone(), before);
    let mut reply = json!({
        "access_token": format!("at-{CANARY}-{n}"),
        "refresh_expires_in": 0,
        "refresh_token": refresh,
        "token_type": "bearer",
        "not-before-policy": 1_565_356_374,
        "session_state": "6a1b8c0e-3f53-4b0e-9c42-1d1a8a8d9f10",
        "scope": "profile email",
    });
    let java = (now() + state.life) * 1000;
    match (state.expiry, on_refresh) {
        (Expiry::Seconds, _) => reply["expires_in"] = json!(state.life),
        (Expiry::Java, false) => reply["expires_in"] = json!(java),
        (Expiry::Java, true) => reply["expires_at"] = json!(java),
    }
    Reply::json(200, reply)
}

fn error(status: u16, code: &str, why: &str) -> Reply {
    Reply::json(status, json!({"error": code, "error_description": why}))
}
