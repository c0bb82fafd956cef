//! Elastic Path's token endpoint: `POST /oauth/access_token`, a form, `client_credentials` with a secret or
//! `implicit` without, the reply flat as on the wire or within `data` as in the document.

use super::server::{Breaches, Received, Reply, Server, exactly, form, lock, manners};
use super::{CANARY, Sandbox, now};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// The client that it knows.
pub const CLIENT_ID: &str = "uwsXGCRA0lcnqMeUhYUMqkcrOYPtnmvkQXMkJ8YGcv";

/// Its secret.
pub fn client_secret() -> String {
    format!("ep+{CANARY}%/=")
}

/// What may be changed while it runs.
pub struct State {
    /// Whether the reply stands within `data`.
    pub wrapped: bool,
    /// `expires_in` of the next reply; null leaves it out.
    pub expires_in: Value,
    /// `expires` of the next reply, as seconds from now; `None` for the document's 2018.
    pub expires: Option<i64>,
    /// How many tokens were issued.
    pub issued: usize,
}

/// The running imitation.
pub struct ElasticPath {
    /// The server itself.
    pub server: Server,
    state: Arc<Mutex<State>>,
    breaches: Arc<Breaches>,
}

impl ElasticPath {
    /// Starts it, flat, tokens of an hour.
    pub fn start() -> ElasticPath {
        let state =
            Arc::new(Mutex::new(State { wrapped: false, expires_in: json!(3600), expires: Some(3600), issued: 0 }));
        let breaches = Arc::new(Breaches::default());
        let (its_state, its_breaches) = (state.clone(), breaches.clone());
        let server = Server::new(move |request| answer(&mut lock(&its_state), &its_breaches, request));
        ElasticPath { server, state, breaches }
    }

    /// Reads or changes its state.
    pub fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut lock(&self.state))
    }

    /// A sandbox with the file store that talks to it as the client, whose secret is not known there.
    pub fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("TOK_ELASTICPATH_BASE_URL", self.server.url());
        sandbox.set("TOK_ELASTICPATH_CLIENT_ID", CLIENT_ID);
        sandbox
    }

    /// The same with the secret in the environment.
    pub fn sandbox_with_secret(&self) -> Sandbox {
        let mut sandbox = self.sandbox();
        sandbox.set("TOK_ELASTICPATH_CLIENT_SECRET", client_secret());
        sandbox
    }
}

impl Drop for ElasticPath {
    fn drop(&mut self) {
        self.breaches.check("elasticpath");
    }
}

fn answer(state: &mut State, breaches: &Breaches, request: &Received) -> Reply {
    let form_type = "application/x-www-form-urlencoded";
    if let Err((status, what)) = manners(request, "/oauth/access_token", form_type) {
        breaches.add(&what);
        return errors(status, &what);
    }
    let fields = match form(&request.body) {
        Ok(fields) => fields,
        Err(what) => {
            breaches.add(&what);
            return errors(400, &what);
        }
    };
    let grant = request.field("grant_type");
    let names: &[&str] = match grant.as_str() {
        "client_credentials" => &["grant_type", "client_id", "client_secret"],
        _ => &["grant_type", "client_id"],
    };
    if let Err(what) = exactly(&fields, names) {
        breaches.add(format!("{grant}: {what}"));
        return errors(400, "Bad Request");
    }
    let known = request.field("client_id") == CLIENT_ID;
    match grant.as_str() {
        "implicit" if known => {}
        "client_credentials" if known && request.field("client_secret") == client_secret() => {}
        "implicit" | "client_credentials" => return errors(401, "Unauthorized"),
        _ => {
            breaches.add(format!("grant_type {grant}"));
            return errors(400, "Bad Request");
        }
    }
    state.issued += 1;
    let mut reply = json!({
        "access_token": format!("xa{CANARY}{:031x}", state.issued),
        "token_type": "Bearer",
        "expires_in": state.expires_in,
        "expires": state.expires.map_or(1_524_486_008, |seconds| now() + seconds),
        "identifier": grant,
    });
    if state.expires_in.is_null() {
        let fields = reply.as_object_mut().expect("an object");
        fields.remove("expires_in");
    }
    if state.wrapped {
        reply = json!({"data": reply});
    }
    Reply::json(200, reply)
}

fn errors(status: u16, title: &str) -> Reply {
    let error = json!({"title": title, "status": status.to_string()});
    Reply::json(status, json!({"errors": [error]}))
}
