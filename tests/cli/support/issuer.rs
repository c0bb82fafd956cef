//! An authorization server of OpenID Connect that does what a test wants, and a browser that only says where it was
//! sent.

use super::server::{Received, Reply, Server, form, lock};
use super::{CANARY, Sandbox, now, put, until};
use crate::child::LIMIT;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The client.
pub const CLIENT: &str = "cli";

/// Base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256, base64url: a PKCE challenge (RFC 7636 §4.2), a thumbprint (RFC 7638 §3).
pub fn sha256(bytes: &[u8]) -> String {
    base64url(digest(&SHA256, bytes).as_ref())
}

/// Header and claims of a JWT, its signature not looked at.
#[track_caller]
pub fn jwt(token: &str) -> (Value, Value) {
    let part = |text: &str| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "a JWT has three parts");
    (part(parts[0]), part(parts[1]))
}

/// Whether `token` is signed with ES256 by the key whose public half (an uncompressed point) is `public`.
pub fn signed_by(token: &str, public: &[u8]) -> bool {
    let (text, signature) = token.rsplit_once('.').expect("a JWT");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    ring::signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
        .verify(text.as_bytes(), &signature)
        .is_ok()
}

/// The claims of a DPoP proof (RFC 9449 §4.2) whose signature is that of the key in its header, and that key's
/// thumbprint.
#[track_caller]
pub fn proof(token: &str) -> (Value, String) {
    let (header, claims) = jwt(token);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")), "{header}");
    let jwk = &header["jwk"];
    assert!(jwk.get("d").is_none(), "the private half is in it");
    let (x, y) = (jwk["x"].as_str().expect("x"), jwk["y"].as_str().expect("y"));
    let mut point = vec![4];
    for half in [x, y] {
        point.extend(URL_SAFE_NO_PAD.decode(half).expect("base64url"));
    }
    assert!(signed_by(token, &point), "the proof is signed by another key");
    (claims, sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes()))
}

/// A key of the server, for ES256.
pub struct ServerKey {
    pair: EcdsaKeyPair,
    id: String,
}

impl ServerKey {
    /// A new one of that name.
    pub fn new(id: &str) -> ServerKey {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random);
        ServerKey { pair: pair.expect("a key"), id: id.into() }
    }

    /// Its public half as a JWK.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id, "x": base64url(x), "y": base64url(y)})
    }

    /// `claims` as a JWT with this `alg`; `none` goes without a signature.
    pub fn sign(&self, alg: &str, claims: &Value) -> String {
        let header = json!({"alg": alg, "kid": self.id});
        let text = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        if alg == "none" {
            return format!("{text}.");
        }
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).expect("signed");
        format!("{text}.{}", base64url(signature.as_ref()))
    }
}

/// What a test may change.
pub struct State {
    /// Members of the metadata that are set, or with null taken out.
    pub metadata: Value,
    /// Claims of the ID token that are set, or with null taken out.
    pub claims: Value,
    /// Members of the reply with the token that are set, or with null taken out.
    pub token: Value,
    /// The `alg` of the ID token.
    pub alg: String,
    /// The key that signs ID tokens.
    pub key: ServerKey,
    /// The keys that are published; null: those of `key`.
    pub jwks: Value,
    /// The next replies by path, before the usual ones.
    pub replies: HashMap<String, VecDeque<Reply>>,
    /// When each request came, by path.
    pub times: Vec<(String, Instant)>,
    count: usize,
}

/// The server. Its usual answers are those of one where all goes well.
pub struct Issuer {
    /// The server itself.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    /// Starts one.
    pub fn start() -> Issuer {
        let state = Arc::new(Mutex::new(State {
            metadata: json!({}),
            claims: json!({}),
            token: json!({}),
            alg: "ES256".into(),
            key: ServerKey::new("k1"),
            jwks: Value::Null,
            replies: HashMap::new(),
            times: Vec::new(),
            count: 0,
        }));
        let theirs = state.clone();
        let server = Server::new(move |request| answer(&mut lock(&theirs), request));
        Issuer { server, state }
    }

    /// Looks at or changes what it does.
    pub fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut lock(&self.state))
    }

    /// Answers the next requests for `path` with these, before all else.
    pub fn script(&self, path: &str, replies: impl IntoIterator<Item = Reply>) -> &Issuer {
        self.state(|s| s.replies.entry(path.into()).or_default().extend(replies));
        self
    }

    /// Its name.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// A home where its name and the client's stand in the environment.
    pub fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("TOK_OIDC_ISSUER", self.url());
        sandbox.set("TOK_OIDC_CLIENT_ID", CLIENT);
        sandbox
    }

    /// The requests for `path`.
    pub fn asked(&self, path: &str) -> Vec<Received> {
        self.server.requests().into_iter().filter(|r| r.path() == path).collect()
    }

    /// The one request for `path`.
    #[track_caller]
    pub fn only(&self, path: &str) -> Received {
        let mut all = self.asked(path);
        assert_eq!(all.len(), 1, "requests for {path}: {all:?}");
        all.remove(0)
    }

    /// When the requests for `path` came.
    pub fn times(&self, path: &str) -> Vec<Instant> {
        self.state(|s| s.times.iter().filter(|(p, _)| p == path).map(|(_, at)| *at).collect())
    }

    /// Waits until `count` requests for `path` have come.
    #[track_caller]
    pub fn until(&self, path: &str, count: usize) {
        until(path, || self.times(path).len() >= count);
    }
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

fn answer(state: &mut State, request: &Received) -> Reply {
    let path = request.path().to_string();
    state.times.push((path.clone(), Instant::now()));
    if let Some(reply) = state.replies.get_mut(&path).and_then(VecDeque::pop_front) {
        return reply;
    }
    let base = format!("http://{}", request.header("host").unwrap_or_default());
    let accepts = |kind: &str| request.header("accept").is_some_and(|list| list.split(", ").any(|one| one == kind));
    match path.as_str() {
        "/.well-known/openid-configuration" => {
            let usual = json!({
                "issuer": base,
                "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"),
                "device_authorization_endpoint": format!("{base}/device"),
                "backchannel_authentication_endpoint": format!("{base}/ciba"),
                "revocation_endpoint": format!("{base}/revoke"),
                "introspection_endpoint": format!("{base}/introspect"),
                "userinfo_endpoint": format!("{base}/userinfo"),
                "jwks_uri": format!("{base}/jwks"),
                "scopes_supported": ["openid", "offline_access"],
            });
            Reply::json(200, changed(usual, &state.metadata))
        }
        // Some serve nothing else there, and say so (RFC 7517 §8.5.1).
        "/jwks" if !accepts("application/jwk-set+json") => Reply::json(406, json!({"error": "not acceptable"})),
        "/jwks" if state.jwks.is_null() => Reply::json(200, json!({"keys": [state.key.jwk()]})),
        "/jwks" => Reply::json(200, state.jwks.clone()),
        "/device" => Reply::json(
            200,
            json!({
                "device_code": format!("dc-{CANARY}"),
                "user_code": "WDJB-MJHT",
                "verification_uri": format!("{base}/activate"),
                "verification_uri_complete": format!("{base}/activate?user_code=WDJB-MJHT"),
                "expires_in": 60,
                "interval": 1,
            }),
        ),
        "/ciba" => Reply::json(200, json!({"auth_req_id": format!("ar-{CANARY}"), "expires_in": 60, "interval": 1})),
        "/token" => {
            state.count += 1;
            let n = state.count;
            let usual = json!({
                "iss": base, "sub": "alice", "aud": CLIENT, "exp": now() + 600, "iat": now(),
            });
            let id_token = state.key.sign(&state.alg, &changed(usual, &state.claims));
            let usual = json!({
                "access_token": format!("at-{CANARY}-{n}"),
                "refresh_token": format!("rt-{CANARY}-{n}"),
                "token_type": "Bearer",
                "expires_in": 600,
                "id_token": id_token,
            });
            Reply::json(200, changed(usual, &state.token))
        }
        "/introspect" => Reply::json(200, json!({"active": true, "sub": "alice"})),
        "/userinfo" => Reply::json(200, json!({"sub": "alice", "name": "Alice"})),
        "/revoke" => Reply::text(200, ""),
        _ => Reply::json(404, json!({"error": "not_found"})),
    }
}

/// A browser that writes down where it is sent, and stays open for a while.
pub struct Browser {
    seen: PathBuf,
}

impl Browser {
    /// Makes it the browser of `sandbox`.
    pub fn of(sandbox: &mut Sandbox) -> Browser {
        let seen = sandbox.work().join("browser-was-sent");
        let script = sandbox.work().join("browser");
        put(
            &script,
            format!("#!/bin/sh\nprintf %s \"$1\" >'{0}.new'\nmv '{0}.new' '{0}'\n", seen.display()).as_bytes(),
        );
        super::chmod(&script, 0o700);
        sandbox.set("BROWSER", &script);
        Browser { seen }
    }

    /// Where it was sent; waits for that.
    #[track_caller]
    pub fn visit(&self) -> Visit {
        until("the browser is opened", || self.seen.exists());
        let address = std::fs::read_to_string(&self.seen).expect("an address");
        std::fs::remove_file(&self.seen).expect("removed");
        Visit::to(&follow(&address))
    }

    /// The address that it was sent to, as it stood in its arguments; waits for that.
    #[track_caller]
    pub fn address(&self) -> String {
        until("the browser is opened", || self.seen.exists());
        std::fs::read_to_string(&self.seen).expect("an address")
    }

    /// Whether it was sent anywhere.
    pub fn was_opened(&self) -> bool {
        self.seen.exists()
    }
}

/// Where the address that a browser is given leads to (`tok` hands over one of its own, which leads on once).
#[track_caller]
pub fn follow(address: &str) -> String {
    let reply = fetch(address);
    assert!(reply.starts_with("HTTP/1.1 302 "), "{address}: {reply}");
    let location = reply.lines().find_map(|line| line.strip_prefix("Location: ")).expect("a Location");
    location.trim().into()
}

/// The reply to a GET of this loopback address.
#[track_caller]
pub fn fetch(address: &str) -> String {
    let rest = address.strip_prefix("http://").expect("http on loopback");
    let (authority, path) = rest.split_once('/').expect("a path");
    let (host, port) = authority.rsplit_once(':').expect("a port");
    let port: u16 = port.parse().expect("a port");
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).expect("somebody listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n").expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("an answer");
    reply
}

/// The authorization request, as a browser brings it.
#[derive(Debug)]
pub struct Visit {
    /// All of it.
    pub address: String,
    /// The parameters in order.
    pub query: Vec<(String, String)>,
}

impl Visit {
    /// The request at this address.
    #[track_caller]
    pub fn to(address: &str) -> Visit {
        let (_, query) = address.split_once('?').expect("a query");
        Visit { address: address.into(), query: form(query.as_bytes()).expect("a query") }
    }

    /// The parameter `name`; empty where it is absent.
    pub fn value(&self, name: &str) -> String {
        self.values(name).pop().unwrap_or_default()
    }

    /// All of that name.
    pub fn values(&self, name: &str) -> Vec<String> {
        self.query.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect()
    }

    /// Host and port that the answer goes to, and the path.
    #[track_caller]
    pub fn back(&self) -> (String, u16, String) {
        let uri = self.value("redirect_uri");
        let rest = uri.strip_prefix("http://").expect("http on loopback");
        let (authority, path) = rest.split_once('/').expect("a path");
        let (host, port) = authority.rsplit_once(':').expect("a port");
        (host.into(), port.parse().expect("a port"), format!("/{path}"))
    }

    /// The address that the server sends the browser to, with these parameters.
    pub fn answer(&self, query: &str) -> String {
        format!("{}?{query}", self.value("redirect_uri"))
    }

    /// What the browser gets when it comes back with these parameters.
    #[track_caller]
    pub fn come_back(&self, query: &str) -> String {
        let (host, port, path) = self.back();
        self.send(&format!("GET {path}?{query} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"))
    }

    /// The same with a code and the right state.
    #[track_caller]
    pub fn log_in(&self) -> String {
        self.come_back(&format!("code=code-{CANARY}&state={}", self.value("state")))
    }

    /// What the listener says to these bytes.
    #[track_caller]
    pub fn send(&self, request: &str) -> String {
        let (host, port, _) = self.back();
        let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).expect("somebody listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("an answer");
        reply
    }

    /// Fails the test if somebody still listens for the answer. Another program may have the port by now, for a
    /// while: so it is tried again.
    #[track_caller]
    pub fn assert_closed(&self) {
        let (host, port, _) = self.back();
        until(&format!("port {port} is closed"), || TcpStream::connect((host.trim_matches(['[', ']']), port)).is_err());
    }
}

impl Sandbox {
    /// Fails the test if anything was kept: config, secret, token, note of a login. Locks and copies of public
    /// documents are none.
    #[track_caller]
    pub fn assert_nothing_kept(&self) {
        let harmless = |path: &str| {
            path.starts_with(".local/state/tok/locks/")
                || path.starts_with(".local/state/tok/metadata/")
                || path.starts_with(".config/tok/providers/")
        };
        let kept: Vec<_> = self.files().into_keys().filter(|p| !harmless(&p.to_string_lossy())).collect();
        assert!(kept.is_empty(), "kept: {kept:?}");
        let secret = self.files_with(CANARY);
        assert!(secret.is_empty(), "secrets in {secret:?}");
    }
}

/// A JSON object of these members, for [`State`].
pub fn members(pairs: &[(&str, Value)]) -> Value {
    Value::Object(pairs.iter().map(|(n, v)| (n.to_string(), v.clone())).collect::<Map<_, _>>())
}
