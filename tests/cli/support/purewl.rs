//! PureWL's token endpoint, as strict as its page: `POST /auth/v1/accessToken`, a form, `grantType` `secret` or
//! `refresh`, the token in `body`, the verdict in `header.code`.

use super::server::{Breaches, Received, Reply, Server, exactly, lock, manners};
use super::{CANARY, Sandbox};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// How it says no: the page does not tell, and its clients expect both.
#[derive(Clone, Copy, PartialEq)]
pub enum Failure {
    /// In a 200, by `header.code`.
    InSuccess,
    /// By an HTTP status, with the same body.
    Http,
}

/// What may be changed while it runs.
pub struct State {
    /// The secret keys that it knows.
    pub secret_keys: Vec<String>,
    /// Whether a refresh token is good once only.
    pub rotates: bool,
    /// Whether a refresh reply holds a refresh token at all.
    pub renews: bool,
    /// How it refuses.
    pub failure: Failure,
    /// The `expiry` of the next tokens.
    pub expiry: Value,
    /// The refresh tokens that are good.
    pub alive: BTreeSet<String>,
    /// The refresh tokens that were good once.
    pub spent: BTreeSet<String>,
    /// How often a spent one came again: what a rotating server takes for theft.
    pub reused: usize,
    /// How many access tokens were issued.
    pub issued: usize,
}

/// The running imitation. Dropped, it fails the test if it was ever asked in a way that the page does not know.
pub struct PureWl {
    /// The server itself.
    pub server: Server,
    state: Arc<Mutex<State>>,
    breaches: Arc<Breaches>,
}

/// The secret key that is good from the start.
pub fn secret_key() -> String {
    // Characters that a form must encode, and that a template must not take for its own.
    format!("sk {CANARY}&={{base_url}}+%41/ü")
}

impl PureWl {
    /// Starts it: rotating, refusing in a 200, tokens of an hour.
    pub fn start() -> PureWl {
        let state = Arc::new(Mutex::new(State {
            secret_keys: vec![secret_key()],
            rotates: true,
            renews: true,
            failure: Failure::InSuccess,
            expiry: json!(3600),
            alive: BTreeSet::new(),
            spent: BTreeSet::new(),
            reused: 0,
            issued: 0,
        }));
        let breaches = Arc::new(Breaches::default());
        let (its_state, its_breaches) = (state.clone(), breaches.clone());
        let server = Server::new(move |request| answer(&mut lock(&its_state), &its_breaches, request));
        PureWl { server, state, breaches }
    }

    /// Reads or changes its state.
    pub fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut lock(&self.state))
    }

    /// The `grantType` of each request so far.
    pub fn grants(&self) -> Vec<String> {
        let requests = self.server.requests();
        requests.iter().map(|r| r.field("grantType")).collect()
    }

    /// A sandbox with the file store that talks to it; the secret key is not known there.
    pub fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("TOK_PUREWL_BASE_URL", self.server.url());
        sandbox
    }

    /// The same, logged in by the grant `secret`.
    #[track_caller]
    pub fn logged_in(&self) -> Sandbox {
        let sandbox = self.sandbox();
        login(&sandbox);
        sandbox
    }
}

/// Logs `purewl` in with the good key from a file.
#[track_caller]
pub fn login(sandbox: &Sandbox) {
    let key = sandbox.file_arg("secret_key", secret_key());
    sandbox.tok(["login", "purewl", "secret", "--secret-key-file", &key]).run().prints("");
}

impl Drop for PureWl {
    fn drop(&mut self) {
        self.breaches.check("purewl");
    }
}

fn answer(state: &mut State, breaches: &Breaches, request: &Received) -> Reply {
    let form_type = "application/x-www-form-urlencoded";
    if let Err((status, what)) = manners(request, "/auth/v1/accessToken", form_type) {
        breaches.add(&what);
        return failure(status, &what);
    }
    let fields = match super::server::form(&request.body) {
        Ok(fields) => fields,
        Err(what) => {
            breaches.add(&what);
            return failure(400, &what);
        }
    };
    let grant = request.field("grantType");
    let names: &[&str] = match grant.as_str() {
        "secret" => &["grantType", "secretKey"],
        "refresh" => &["grantType", "refreshToken"],
        _ => &["grantType"],
    };
    if let Err(what) = exactly(&fields, names) {
        breaches.add(format!("{grant}: {what}"));
        return failure(400, &what);
    }
    match grant.as_str() {
        "secret" if state.secret_keys.contains(&request.field("secretKey")) => issue(state, true),
        "secret" => refuse(state, "Invalid secret key"),
        "refresh" => {
            let token = request.field("refreshToken");
            if state.spent.contains(&token) {
                state.reused += 1;
                return refuse(state, "Refresh token was used before");
            }
            if !state.alive.contains(&token) {
                return refuse(state, "Invalid refresh token");
            }
            if state.rotates && state.renews {
                state.alive.remove(&token);
                state.spent.insert(token);
            }
            let renews = state.renews;
            issue(state, renews)
        }
        _ => {
            breaches.add(format!("grantType {grant}"));
            failure(400, "Invalid grantType")
        }
    }
}

fn issue(state: &mut State, with_refresh: bool) -> Reply {
    state.issued += 1;
    let n = state.issued;
    let mut body = json!({
        "accessToken": format!("{CANARY}a{n:055x}"),
        "expiry": state.expiry,
        "resellerId": "443",
        "resellerUid": "res_5f3c2a1b9d8e7",
    });
    if with_refresh {
        let refresh = format!("{CANARY}b{n:055x}");
        body["refreshToken"] = json!(refresh);
        state.alive.insert(refresh);
    }
    let header = json!({"code": 1, "message": "Access token created successfully!", "response_code": 1});
    Reply::json(200, json!({"header": header, "body": body}))
}

fn refuse(state: &State, why: &str) -> Reply {
    match state.failure {
        Failure::InSuccess => failure(200, why),
        Failure::Http => failure(401, why),
    }
}

fn failure(status: u16, why: &str) -> Reply {
    let header = json!({"code": 4001, "message": why, "response_code": 4001});
    Reply::json(status, json!({"header": header, "body": []}))
}
