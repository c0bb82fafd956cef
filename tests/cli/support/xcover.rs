//! XCover's token endpoint: `POST /api/oauth/token`, a JSON body of exactly three fields, a JWT with decimal times
//! back, and never a refresh token.

use super::server::{Breaches, Received, Reply, Server, exactly, lock, manners, members};
use super::{CANARY, Sandbox, now};
use base64::Engine;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// The client that it knows.
pub const CLIENT_ID: &str = "9b1e82a7-0a59-4e7e-add5-b9ffa37aade1";

/// Its secret, with what JSON must escape.
pub fn client_secret() -> String {
    format!("xc\"\\{CANARY}/é")
}

/// What may be changed while it runs.
pub struct State {
    /// `expires_in` of the next reply.
    pub expires_in: Value,
    /// How long the next JWT lives, in seconds from now.
    pub jwt_life: f64,
    /// How many tokens were issued.
    pub issued: usize,
}

/// The running imitation.
pub struct XCover {
    /// The server itself.
    pub server: Server,
    state: Arc<Mutex<State>>,
    breaches: Arc<Breaches>,
}

impl XCover {
    /// Starts it, tokens of an hour.
    pub fn start() -> XCover {
        let state = Arc::new(Mutex::new(State { expires_in: json!(3600), jwt_life: 3599.994366, issued: 0 }));
        let breaches = Arc::new(Breaches::default());
        let (its_state, its_breaches) = (state.clone(), breaches.clone());
        let server = Server::new(move |request| answer(&mut lock(&its_state), &its_breaches, request));
        XCover { server, state, breaches }
    }

    /// Reads or changes its state.
    pub fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut lock(&self.state))
    }

    /// A sandbox with the file store that talks to it, with nothing of the client known.
    pub fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("TOK_XCOVER_BASE_URL", self.server.url());
        sandbox
    }

    /// The same with the client in the environment.
    pub fn sandbox_with_client(&self) -> Sandbox {
        let mut sandbox = self.sandbox();
        sandbox.set("TOK_XCOVER_CLIENT_ID", CLIENT_ID);
        sandbox.set("TOK_XCOVER_CLIENT_SECRET", client_secret());
        sandbox
    }
}

impl Drop for XCover {
    fn drop(&mut self) {
        self.breaches.check("xcover");
    }
}

fn answer(state: &mut State, breaches: &Breaches, request: &Received) -> Reply {
    if let Err((status, what)) = manners(request, "/api/oauth/token", "application/json") {
        breaches.add(&what);
        return Reply::json(status, json!({"message": what}));
    }
    let fields = members(&request.body);
    let checked = fields.and_then(|fields| {
        exactly(&fields, &["grant_type", "client_id", "client_secret"])?;
        if fields.iter().all(|(_, value)| value.is_string()) {
            Ok(fields)
        } else {
            Err("a field that is no string".into())
        }
    });
    let fields = match checked {
        Ok(fields) => fields,
        Err(what) => {
            breaches.add(&what);
            let body = json!({"error": "invalid_request", "error_description": "The request is missing a required parameter", "hint": what});
            return Reply::json(400, body);
        }
    };
    let field = |name: &str| {
        let found = fields.iter().find(|(n, _)| n == name);
        found.and_then(|(_, v)| v.as_str()).unwrap_or("")
    };
    if field("grant_type") != "client_credentials" {
        breaches.add(format!("grant_type {}", field("grant_type")));
        let body =
            json!({"error": "unsupported_grant_type", "hint": "Check that all required parameters have been provided"});
        return Reply::json(400, body);
    }
    if field("client_id") != CLIENT_ID || field("client_secret") != client_secret() {
        let why = "Client authentication failed";
        let body = json!({"error": "invalid_client", "error_description": why, "message": why});
        return Reply::json(401, body);
    }
    state.issued += 1;
    let start = now() as f64 + 0.583112;
    let claims = json!({
        "aud": CLIENT_ID,
        "jti": format!("{:080x}", state.issued),
        "iat": start,
        "nbf": start,
        "exp": start + state.jwt_life,
        "sub": "",
        "scopes": ["bookings:create", "bookings:delete"],
        "user_id": "842902db-54e5-4614-b348-002e8ce5da12",
        "partner_id": "f31120ee-b5cb-41c4-9529-288d02e91cd6",
        "is_test": false,
    });
    Reply::json(200, json!({"token_type": "Bearer", "expires_in": state.expires_in, "access_token": jwt(&claims)}))
}

/// A JWT with these claims. Its signature is none, and holds the canary.
pub fn jwt(claims: &Value) -> String {
    let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let header = base64.encode(r#"{"typ":"JWT","alg":"RS256"}"#);
    let signature = format!("{CANARY}{}", "Lk-68XAooy_B7h".repeat(48));
    format!("{header}.{}.{signature}", base64.encode(claims.to_string()))
}
