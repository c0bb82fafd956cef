//! Replies as servers in the field write them: damaged refusals, odd numbers, forms, issuers that are almost the same;
//! and what the client proves to each endpoint.

use crate::support::issuer::{CLIENT, Issuer, jwt};
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Sandbox, now, plain};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use serde_json::{Value, json};

const DEVICE: &str = "login oidc device-code --scope read";

/// An issuer without ID tokens.
fn issuer() -> Issuer {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null}));
    issuer
}

/// A home with a signing key of the client.
fn with_key(issuer: &Issuer) -> Sandbox {
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_PRIVATE_KEY", KeyPair::generate().unwrap().serialize_pem());
    sandbox
}

fn audience(request: &Received) -> String {
    jwt(&request.field("client_assertion")).1["aud"].as_str().unwrap().to_string()
}

/// faults 2.4
#[test]
fn a_device_login_goes_on_at_a_damaged_pending() {
    let issuer = issuer();
    issuer.script(
        "/token",
        [
            Reply::new(
                400,
                "application/json",
                &b"{\"error\":\"authorization_pending\",\"error_description\":\"f\xfcr\"}"[..],
            ),
            Reply::text(400, "{\"error\":\"authorization_pending\",\"error_description\":\"not\nyet\"}"),
            Reply::text(400, "{\"error\":\"authorization_pending\",\"error_descr"),
        ],
    );
    issuer.sandbox().run(DEVICE).prints("");
    assert_eq!(issuer.asked("/token").len(), 4);
}

/// faults 2.4
#[test]
fn a_dead_session_is_known_by_a_damaged_refusal() {
    for body in [
        &b"{\"error\":\"invalid_grant\",\"error_description\":\"f\xfcr immer\"}"[..],
        b"{\"error\":\"invalid_grant\",\"error_description\":\"one\nline\"}",
        b"{\"error\":\"invalid_grant\",\"error_description\":\"cu",
    ] {
        let issuer = issuer();
        let sandbox = issuer.sandbox();
        sandbox.run(DEVICE).prints("");
        issuer.script("/token", [Reply::new(400, "application/json", body)]);
        sandbox.run("get oidc --fresh").fails(4).hints_at("tok login oidc");
        assert_eq!(sandbox.files_with(&format!("rt-{CANARY}")), Vec::<std::path::PathBuf>::new());
    }
}

/// faults 2.9, 2.10, 2.18
#[test]
fn a_device_reply_may_be_a_form_with_odd_numbers() {
    let issuer = issuer();
    let form = format!(
        "device_code=dc-{CANARY}&user_code=WDJB-MJHT&verification_uri=https%3A%2F%2Fid.example%2Fa&expires_in=60.0&interval=1.0&error="
    );
    issuer.script("/device", [Reply::new(200, "application/x-www-form-urlencoded", form)]);
    issuer.sandbox().run(DEVICE).says("open https://id.example/a").says("enter the code WDJB-MJHT").ok();
    assert_eq!(issuer.only("/token").field("device_code"), format!("dc-{CANARY}"));
}

/// faults 5.14, of a device reply.
#[test]
fn what_a_device_reply_lacks_is_told_with_what_it_has() {
    let issuer = issuer();
    issuer.script(
        "/device",
        [Reply::json(200, json!({"user_code": "t0ken", "device_code": "", "verification_uri": "https://a.example"}))],
    );
    issuer
        .sandbox()
        .run(DEVICE)
        .fails(8)
        .says("no device_code; the reply has /user_code, /verification_uri")
        .never_says("t0ken");
}

/// faults 2.11, 2.12
#[test]
fn claims_are_read_alike_wherever_they_are_looked_at() {
    for claims in [json!({"exp": now() as f64 + 600.0}), json!({"exp": (now() + 600).to_string()}), json!({})] {
        let issuer = Issuer::start();
        issuer.state(|s| s.claims = claims.clone());
        let sandbox = issuer.sandbox();
        sandbox.run("login oidc device-code").prints("");
        sandbox.run("get oidc -o id-token").silent().line();
        assert_eq!(issuer.asked("/token").len(), 1, "{claims}");
    }
    // `null` is what takes a claim out in this server, so these are put there by a reply of their own.
    let issuer = Issuer::start();
    let claims = json!({
        "iss": issuer.url(), "sub": "alice", "aud": CLIENT, "exp": now() + 600, "iat": now(), "azp": null, "nbf": null,
        "at_hash": null, "auth_time": null, "nonce": null,
    });
    let id_token = issuer.state(|s| s.key.sign("ES256", &claims));
    let reply =
        json!({"access_token": format!("at-{CANARY}"), "expires_in": 600, "id_token": id_token, "refresh_token": null});
    issuer.script("/token", [Reply::json(200, reply)]);
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code").prints("");
    assert_eq!(sandbox.run("get oidc -o id-token").line(), id_token);
}

/// faults 2.17
#[test]
fn an_epoch_as_expires_in_is_not_believed() {
    let server =
        Server::always(Reply::json(200, json!({"access_token": format!("at-{CANARY}"), "expires_in": now() + 600})));
    let sandbox = plain(&server.url());
    for _ in 0..2 {
        let out = sandbox.run("get plain -o json").says("ten years");
        assert_eq!(out.json()["expires_at"], Value::Null);
    }
    assert_eq!(server.count(), 2);
}

/// faults 3.3: a server by FAPI 2.0 takes its issuer alone; another takes each endpoint's own URL alone.
#[test]
fn an_assertion_is_for_the_endpoint_or_for_the_issuer() {
    for takes_issuer in [false, true] {
        let issuer = issuer();
        let sandbox = with_key(&issuer);
        let base = issuer.url();
        let refusal = || Reply::json(401, json!({"error": "invalid_client"}));
        if takes_issuer {
            for path in ["/device", "/token"] {
                issuer.script(path, [refusal()]);
            }
        }
        sandbox.run(&format!("{DEVICE} --client-auth private-key-jwt")).ok();
        let all = |path: &str| issuer.asked(path).iter().map(audience).collect::<Vec<_>>();
        let own = |path: &str| format!("{base}{path}");
        match takes_issuer {
            false => assert_eq!((all("/device"), all("/token")), (vec![own("/device")], vec![own("/token")])),
            true => {
                assert_eq!(all("/device"), [own("/device"), base.clone()]);
                assert_eq!(all("/token"), [own("/token"), base.clone()]);
            }
        }
    }
    // What a person says is above both, at every endpoint, and nothing else is tried.
    let issuer = issuer();
    let sandbox = with_key(&issuer);
    let said = "https://as.example/fapi";
    let line = format!("{DEVICE} --client-auth private-key-jwt --assertion-audience {said}");
    sandbox.run(&line).ok();
    assert_eq!((audience(&issuer.only("/device")), audience(&issuer.only("/token"))), (said.into(), said.into()));
    issuer.script("/device", [Reply::json(401, json!({"error": "invalid_client"}))]);
    sandbox.run(&line).fails(5).hints_at("--assertion-audience");
    assert_eq!(issuer.asked("/device").len(), 2);
}

/// faults 3.3: pushed parameters.
#[test]
fn a_pushed_request_has_an_assertion_for_its_own_endpoint() {
    let issuer = issuer();
    let par = format!("{}/par", issuer.url());
    issuer.state(|s| s.metadata = json!({"pushed_authorization_request_endpoint": par}));
    issuer.script("/par", [Reply::json(400, json!({"error": "invalid_request"}))]);
    let sandbox = with_key(&issuer);
    sandbox.run("login oidc authorization-code --no-browser --client-auth private-key-jwt").fails(5);
    assert_eq!(audience(&issuer.only("/par")), par);
}

/// faults 3.6
#[test]
fn an_assertion_is_dated_back_and_a_refusal_compares_the_clocks() {
    let issuer = issuer();
    let sandbox = with_key(&issuer);
    let line = "get oidc --grant client-credentials --client-auth private-key-jwt";
    sandbox.run(line).silent().line();
    let claims = jwt(&issuer.only("/token").field("client_assertion")).1;
    let back = now() - claims["iat"].as_i64().unwrap();
    assert!((30..60).contains(&back), "{back}");
    let dated = |date: &str| Reply::json(401, json!({"error": "invalid_client"})).header("Date", date);
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let line = format!("{line} --fresh --assertion-audience https://a.example");
    issuer.script("/token", [dated(old)]);
    sandbox.run(&line).fails(5).hints_at("clock").says("ahead of the server's");
    issuer.script("/token", [dated("Fri, 31 Dec 2100 08:49:37 GMT")]);
    sandbox.run(&line).fails(5).hints_at("clock").says("behind the server's");
    issuer.script("/token", [Reply::json(401, json!({"error": "invalid_client"}))]);
    sandbox.run(&line).fails(5).never_says("clock").hints_at("key_id");
}

/// faults 3.4
#[test]
fn the_issuer_of_many_tenants_is_that_of_the_tokens_tenant() {
    let metadata = "/common/v2.0/.well-known/openid-configuration";
    for (tid, good) in [("9188040d-6c67", true), ("other", false)] {
        let issuer = Issuer::start();
        let base = issuer.url();
        let document = json!({
            "issuer": format!("{base}/{{tenantid}}/v2.0"), "token_endpoint": format!("{base}/token"),
            "device_authorization_endpoint": format!("{base}/device"), "jwks_uri": format!("{base}/jwks"),
        });
        issuer.script(metadata, [Reply::json(200, document)]);
        issuer.state(|s| s.claims = json!({"iss": format!("{base}/9188040d-6c67/v2.0"), "tid": tid}));
        let mut sandbox = issuer.sandbox();
        sandbox.set("TOK_OIDC_ISSUER", format!("{base}/common/v2.0"));
        let out = sandbox.run("login oidc device-code");
        match good {
            true => {
                out.prints("");
                sandbox.run("get oidc -o id-token").silent().line();
            }
            false => {
                out.fails(8).says("was issued by");
            }
        }
    }
}

/// faults 3.5
#[test]
fn an_issuer_that_differs_by_its_slash_is_the_one_of_the_metadata() {
    let issuer = Issuer::start();
    let named = format!("{}/", issuer.url());
    issuer.state(|s| {
        s.metadata = json!({"issuer": named});
        s.claims = json!({"iss": named});
    });
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code -v").says(&format!("names the issuer {named}")).ok();
    sandbox.run("get oidc -o id-token").silent().line();
    let sandbox = issuer.sandbox();
    sandbox.run("login oidc device-code").never_says("names the issuer").ok();
}

/// §6: each endpoint's own list.
#[test]
fn the_client_authenticates_at_each_endpoint_as_that_one_takes_it() {
    let issuer = issuer();
    issuer.state(|s| {
        s.metadata = json!({
            "token_endpoint_auth_methods_supported": "client_secret_basic",
            "revocation_endpoint_auth_methods_supported": ["client_secret_post"],
            "introspection_endpoint_auth_methods_supported": ["client_secret_post"],
        });
    });
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_CLIENT_SECRET", format!("s-{CANARY}"));
    sandbox.run(DEVICE).prints("");
    sandbox.run("show oidc --introspect").ok();
    sandbox.run("logout oidc").ok();
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:s-{CANARY}")));
    let device = issuer.only("/device");
    // RFC 8628 §3.1: a server may look for the client in the body all the same.
    assert_eq!((device.header("authorization"), device.field("client_id").as_str()), (Some(basic.as_str()), CLIENT));
    assert_eq!(device.form().iter().filter(|(name, _)| name == "client_id").count(), 1);
    assert_eq!(issuer.only("/token").header("authorization"), Some(basic.as_str()));
    for path in ["/introspect", "/revoke"] {
        let request = issuer.asked(path).remove(0);
        assert_eq!(request.header("authorization"), None, "{path}");
        assert_eq!(
            (request.field("client_id"), request.field("client_secret")),
            (CLIENT.into(), format!("s-{CANARY}"))
        );
    }
}

/// faults 5.4, 5.12
#[test]
fn a_refusal_is_in_the_servers_words_whatever_they_are_written_in() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_CLIENT_SECRET", format!("s-{CANARY}"));
    let problem = json!({"type": "about:blank", "title": "Client locked", "detail": "Too many tries", "status": 403});
    for (reply, words) in [
        (Reply::new(403, "text/plain", "Client is disabled."), "Client is disabled."),
        (Reply::new(403, "application/problem+json", problem.to_string()), "Client locked: Too many tries"),
        (
            Reply::new(401, "text/plain", "")
                .header("WWW-Authenticate", "Bearer error=\"invalid_client\", error_description=\"No such client\""),
            "invalid_client: No such client",
        ),
        (Reply::new(400, "text/plain", "error=invalid_scope&error_description=not+yours"), "invalid_scope: not yours"),
    ] {
        issuer.script("/token", [reply]);
        sandbox.run("get oidc --grant client-credentials").fails(5).says(words);
    }
}

/// faults 6.9
#[test]
fn what_a_server_quotes_in_any_encoding_is_not_shown() {
    let secret = format!("S/{CANARY}+&<é>\"x\"");
    let percent = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
    for quoted in [
        secret.clone(),
        secret.to_ascii_uppercase(),
        secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
        percent(&secret),
        secret.replace('/', "\\/"),
        secret.bytes().map(|b| format!("{b:02x}")).collect(),
        STANDARD.encode(format!("client:{secret}:x")),
        STANDARD.encode(format!("clients:{secret}:x")),
        STANDARD.encode(format!("a client:{secret}:x")),
    ] {
        let server = Server::always(Reply::json(
            400,
            json!({"error": "invalid_request", "error_description": format!("got {quoted} there")}),
        ));
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("TOK_OAUTH2_CLIENT_SECRET", &secret);
        let line =
            format!("get oauth2 -vv --grant client-credentials --client-id cli --token-url {}/token", server.url());
        let out = sandbox.run(&line).fails(5).says("***");
        let middle: String = quoted.chars().skip(8).take(10).collect();
        assert!(
            !out.stderr.contains(&middle) && !out.stderr.to_lowercase().contains(&CANARY.to_lowercase()),
            "{quoted}: {out}"
        );
    }
}

/// faults 6.4
#[test]
fn a_large_answer_that_quotes_the_token_in_pieces_is_shown_in_time() {
    let issuer = issuer();
    let token: String =
        format!("at-{CANARY}-").chars().chain((0..3000_u32).map(|n| char::from(b'a' + (n * n % 23) as u8))).collect();
    issuer.state(|s| s.token = json!({"id_token": null, "access_token": token}));
    let sandbox = issuer.sandbox();
    sandbox.run(DEVICE).prints("");
    let mut pieces = String::new();
    while pieces.len() < 750_000 {
        let at = pieces.len() % 2000;
        pieces.push_str(&token[at..at + 30 + at % 400]);
        pieces.push_str(["…", " ", "&"][pieces.len() % 3]);
    }
    issuer.script("/userinfo", [Reply::json(200, json!({"sub": "alice", "echo": pieces}))]);
    let out = sandbox.run("show oidc --userinfo").ok();
    assert!(!out.stdout.contains(&token[500..520]), "the token is shown");
}

/// §7
#[test]
fn a_scope_that_was_not_granted_is_said() {
    let issuer = issuer();
    issuer.state(|s| s.token = json!({"id_token": null, "scope": "read openid"}));
    let sandbox = issuer.sandbox();
    sandbox
        .run("login oidc device-code --scope read --scope write --scope offline_access")
        .ok()
        .says("without the scope write");
    sandbox.run("get oidc").silent().line();
    sandbox.run("get oidc --fresh").says("without the scope write").line();
    issuer.state(|s| s.token = json!({"id_token": null}));
    sandbox.run("get oidc --fresh").silent().line();
}
