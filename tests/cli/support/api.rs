//! An API that says how to log in to it, and the authorization server that it names: two servers, which do what a test
//! wants. And a person's browser that goes where it is sent.

use super::issuer::{Browser, fetch};
use super::server::{Received, Reply, Server, lock, members};
use super::{CANARY, Output, Sandbox, Tok};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

/// What a test may change.
#[derive(Default)]
pub struct State {
    /// Members of the API's metadata that are set, or with null taken out; null altogether: there are none.
    pub resource: Value,
    /// Members of the authorization server's metadata, likewise.
    pub metadata: Value,
    /// Members of the reply to a registration, likewise.
    pub registration: Value,
    /// Members of the reply with a token, likewise.
    pub token: Value,
    /// The API's challenge; empty: none.
    pub challenge: String,
    /// What the API answers to a good token.
    pub api: Option<Reply>,
    /// The next replies by path, before the usual ones.
    pub replies: HashMap<String, VecDeque<Reply>>,
    /// Whether a client may ask for no other scopes than those that it was registered with.
    pub strict_scopes: bool,
    /// The clients by their names, as they were registered.
    pub clients: BTreeMap<String, Value>,
    count: usize,
    /// The address of the API's server, and of the other.
    places: (String, String),
}

/// The API, and the server of its tokens.
pub struct Api {
    /// The API's own server.
    pub api: Server,
    /// The authorization server.
    pub issuer: Server,
    state: Arc<Mutex<State>>,
}

impl Api {
    /// Both on ports of their own. All goes well with them.
    pub fn start() -> Api {
        let state = Arc::new(Mutex::new(State {
            resource: json!({}),
            metadata: json!({}),
            registration: json!({}),
            token: json!({}),
            ..State::default()
        }));
        let (theirs, others) = (state.clone(), state.clone());
        let api = Server::new(move |request| of_api(&mut lock(&theirs), request));
        let issuer = Server::new(move |request| of_issuer(&mut lock(&others), request));
        lock(&state).places = (api.url(), issuer.url());
        let start = Api { api, issuer, state };
        let named = format!("{}/.well-known/oauth-protected-resource/mcp", start.api.url());
        start.state(|s| s.challenge = format!("Bearer resource_metadata=\"{named}\", scope=\"read\""));
        start
    }

    /// Looks at or changes what they do.
    pub fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut lock(&self.state))
    }

    /// Answers the next requests for `path`, at whichever of the two, with these.
    pub fn script(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.state(|s| s.replies.entry(path.into()).or_default().extend(replies));
    }

    /// The API's address.
    pub fn url(&self) -> String {
        format!("{}/mcp", self.api.url())
    }

    /// A home with a file store and a browser.
    pub fn sandbox(&self) -> (Sandbox, Browser) {
        let mut sandbox = Sandbox::with_file_store();
        let browser = Browser::of(&mut sandbox);
        (sandbox, browser)
    }

    /// The requests for `path` at the authorization server.
    pub fn asked(&self, path: &str) -> Vec<Received> {
        self.issuer.requests().into_iter().filter(|request| request.path() == path).collect()
    }

    /// What the clients were registered with, in order.
    pub fn registrations(&self) -> Vec<Value> {
        self.asked("/register").iter().map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
    }
}

/// The profile of every API on loopback.
pub const PROFILE: &str = "127-0-0-1";

/// Runs a login whose browser goes where the authorization server sends it.
#[track_caller]
pub fn log_in(browser: &Browser, login: Tok) -> Output {
    let mut running = login.spawn();
    super::until("the browser is opened", || browser.was_opened() || running.ended());
    if !browser.was_opened() {
        return running.wait();
    }
    let address = browser.visit().address;
    let reply = fetch(&address);
    let location = reply.lines().find_map(|line| line.strip_prefix("Location: "));
    fetch(location.unwrap_or_else(|| panic!("{address}: {reply}")).trim());
    running.wait()
}

/// `base` with the members of `change`; those that are null there are gone.
fn changed(mut base: Value, change: &Value) -> Value {
    for (name, value) in change.as_object().cloned().unwrap_or_default() {
        let object = base.as_object_mut().expect("an object");
        match value {
            Value::Null => object.shift_remove(&name),
            value => object.insert(name, value),
        };
    }
    base
}

/// Whether `client` was registered with `scope`, or `scope` is none.
fn has_scope(client: &Value, scope: &str) -> bool {
    scope.is_empty() || client["scope"].as_str().is_some_and(|own| own.split(' ').any(|one| one == scope))
}

fn scripted(state: &mut State, request: &Received) -> Option<Reply> {
    state.replies.get_mut(request.path())?.pop_front()
}

fn of_api(state: &mut State, request: &Received) -> Reply {
    if let Some(reply) = scripted(state, request) {
        return reply;
    }
    let (api, issuer) = &state.places;
    match request.path() {
        "/.well-known/oauth-protected-resource/mcp" if !state.resource.is_null() => {
            let usual = json!({
                "resource": format!("{api}/mcp"),
                "authorization_servers": [issuer],
                "scopes_supported": ["read", "write"],
            });
            Reply::json(200, changed(usual, &state.resource))
        }
        "/mcp" => match request.header("authorization") {
            Some(token) if token.starts_with("Bearer at-") => {
                state.api.clone().unwrap_or_else(|| Reply::json(200, json!({"ok": true})))
            }
            _ if state.challenge.is_empty() => Reply::text(401, ""),
            _ => Reply::text(401, "").header("WWW-Authenticate", &state.challenge),
        },
        _ => Reply::json(404, json!({"error": "not_found"})),
    }
}

fn of_issuer(state: &mut State, request: &Received) -> Reply {
    if let Some(reply) = scripted(state, request) {
        return reply;
    }
    let base = state.places.1.clone();
    let refused = |status, error: &str| Reply::json(status, json!({"error": error}));
    match (request.method.as_str(), request.path()) {
        (_, "/.well-known/oauth-authorization-server") => {
            let usual = json!({
                "issuer": base,
                "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"),
                "registration_endpoint": format!("{base}/register"),
                "revocation_endpoint": format!("{base}/revoke"),
                "code_challenge_methods_supported": ["S256"],
            });
            Reply::json(200, changed(usual, &state.metadata))
        }
        ("POST", "/register") => {
            // A member that stands twice would be a mistake.
            let names: Vec<String> =
                members(&request.body).expect("an object").into_iter().map(|(name, _)| name).collect();
            assert!((1..names.len()).all(|at| !names[at..].contains(&names[at - 1])), "{names:?}");
            let asked: Value = serde_json::from_slice(&request.body).expect("JSON");
            state.count += 1;
            let id = format!("client-{}", state.count);
            state.clients.insert(id.clone(), changed(asked.clone(), &state.registration));
            let usual = changed(
                asked,
                &json!({
                    "client_id": id,
                    "registration_client_uri": format!("{base}/register/{id}"),
                    "registration_access_token": format!("rat-{CANARY}-{id}"),
                }),
            );
            Reply::json(201, changed(usual, &state.registration))
        }
        ("DELETE", path) if path.starts_with("/register/") => {
            let id = path.trim_start_matches("/register/").to_string();
            let token = format!("Bearer rat-{CANARY}-{id}");
            match request.header("authorization") == Some(&token) && state.clients.remove(&id).is_some() {
                true => Reply::text(204, ""),
                false => refused(401, "invalid_token"),
            }
        }
        ("GET", "/authorize") => {
            let query = request.query();
            let value = |name: &str| query.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str());
            let uri = value("redirect_uri");
            match state.clients.get(value("client_id")) {
                None => refused(400, "invalid_client"),
                Some(client) if !client["redirect_uris"].as_array().is_some_and(|all| all.contains(&json!(uri))) => {
                    refused(400, "invalid_redirect_uri")
                }
                Some(client)
                    if state.strict_scopes && !value("scope").split(' ').all(|scope| has_scope(client, scope)) =>
                {
                    let location = format!("{uri}?error=invalid_scope&state={}", value("state"));
                    Reply::text(302, "").header("Location", &location)
                }
                Some(_) => {
                    let location = format!("{uri}?code=code-{CANARY}&state={}", value("state"));
                    Reply::text(302, "").header("Location", &location)
                }
            }
        }
        ("POST", "/token") => {
            state.count += 1;
            let usual = json!({
                "access_token": format!("at-{CANARY}-{}", state.count),
                "refresh_token": format!("rt-{CANARY}-{}", state.count),
                "token_type": "Bearer",
                "expires_in": 600,
            });
            Reply::json(200, changed(usual, &state.token))
        }
        ("POST", "/revoke") => Reply::text(200, ""),
        _ => refused(404, "not_found"),
    }
}
