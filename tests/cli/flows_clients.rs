//! Who asks, and with what: client authentication on the wire, key files that are none, tokens bound to a key, and
//! the grants that bring their own proof.

use crate::support::issuer::{CLIENT, Issuer, base64url, jwt, members, proof, sha256, signed_by};
use crate::support::server::{Certified, Received, Reply, Server};
use crate::support::{CANARY, Sandbox, at_once, chmod};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use serde_json::{Value, json};

const GET: &str = "get oidc --grant client-credentials --fresh";

fn issuer() -> Issuer {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null, "refresh_token": null}));
    issuer
}

/// The secret of the client, long enough for HS512, with all that Basic may trip over.
fn secret() -> String {
    format!("s %&+=:ü-{CANARY}-0123456789012345678901234567890123456789012345678901234567")
}

#[track_caller]
fn basic(request: &Received) -> String {
    let value = request.header("authorization").expect("a header").strip_prefix("Basic ").expect("Basic");
    String::from_utf8(STANDARD.decode(value).expect("base64")).expect("text")
}

#[test]
fn a_client_s_secret_goes_as_its_method_says() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_CLIENT_SECRET", secret());
    sandbox.set("TOK_OIDC_CLIENT_ID", "cl i/é");
    let ask = |auth: &str| {
        sandbox.run(&format!("{GET} --client-auth {auth}")).silent().line();
        issuer.server.last()
    };
    let filler = "0123456789012345678901234567890123456789012345678901234567";
    let request = ask("basic");
    assert_eq!(basic(&request), format!("cl%20i%2F%C3%A9:s%20%25%26%2B%3D%3A%C3%BC-{CANARY}-{filler}"));
    assert!(!request.has_field("client_id") && !request.has_field("client_secret"), "RFC 6749 §2.3: one way at a time");
    assert_eq!(request.field("grant_type"), "client_credentials");
    let request = ask("basic-raw");
    assert_eq!(basic(&request), format!("cl i/é:{}", secret()));
    let request = ask("post");
    assert_eq!((request.field("client_id"), request.field("client_secret")), ("cl i/é".into(), secret()));
    assert!(request.header("authorization").is_none());
    let request = ask("none");
    assert_eq!(request.field("client_id"), "cl i/é");
    assert!(!request.has_field("client_secret") && request.header("authorization").is_none());
    let request = ask("client-secret-jwt");
    let assertion = request.field("client_assertion");
    let (text, mac) = assertion.rsplit_once('.').unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret().as_bytes());
    assert_eq!(base64url(ring::hmac::sign(&key, text.as_bytes()).as_ref()), mac);
    assert_eq!(jwt(&assertion).0["alg"], "HS256");
    assert!(!request.has_field("client_secret") && request.header("authorization").is_none());

    sandbox.set("TOK_OIDC_CLIENT_ID", "a:b");
    sandbox.run(&format!("{GET} --client-auth basic-raw")).fails(2).says("colon");
    sandbox.set("TOK_OIDC_CLIENT_SECRET", format!("{CANARY}-short"));
    sandbox
        .run(&format!("{GET} --client-auth client-secret-jwt --algorithm HS512"))
        .fails(2)
        .says("TOK_OIDC_CLIENT_SECRET");
    sandbox.run(&format!("{GET} --client-auth client-secret-jwt --algorithm RS256")).fails(2).says("HS256");
    assert_eq!(issuer.times("/token").len(), 5);
}

#[test]
fn a_key_signs_an_assertion_that_is_good_once_and_not_for_long() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
    sandbox.set("TOK_OIDC_PRIVATE_KEY_FILE", sandbox.file("key.pem", key.serialize_pem()));
    let certificate_file = sandbox.file_arg("certificate.pem", certificate.pem());
    let line = format!("{GET} --client-auth private-key-jwt --key-id k-7 --certificate {certificate_file}");
    let mut ids = Vec::new();
    for _ in 0..2 {
        sandbox.run(&line).silent().line();
        let request = issuer.server.last();
        assert_eq!(request.field("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        assert!(!request.has_field("client_secret") && request.header("authorization").is_none());
        let assertion = request.field("client_assertion");
        assert!(signed_by(&assertion, key.der_bytes()), "signed by another key");
        let (header, claims) = jwt(&assertion);
        assert_eq!(header["alg"], "ES256");
        assert_eq!(header["kid"], "k-7");
        assert_eq!(header["x5t#S256"], sha256(certificate.der()));
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!(CLIENT), &json!(CLIENT)));
        assert_eq!(claims["aud"], format!("{}/token", issuer.url()));
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!((30..=300).contains(&life), "{life}");
        ids.push(claims["jti"].as_str().unwrap().to_string());
    }
    assert!(ids[0] != ids[1] && ids[0].len() >= 16, "{ids:?}");
    // A server may quote what it got: what proves the client is in no message.
    for body in ["client_assertion", "authorization"] {
        // Once for each audience that is tried.
        let refusal = || Reply::json(401, json!({"error": "invalid_client", "error_description": body}));
        issuer.script("/token", [refusal(), refusal()]);
        sandbox.run(&line).fails(5).hints();
    }
    sandbox.run(&format!("{line} --algorithm RS256")).fails(2).says("--algorithm").says("ES256");
    sandbox.run(&format!("{line} --algorithm HS256")).fails(2).says("ES256");
}

#[test]
fn what_a_server_quotes_of_a_proof_is_not_shown() {
    let quoting = Server::new(|request: &Received| {
        let quoted = format!("got {} and {}", request.field("client_assertion"), request.header("dpop").unwrap_or(""));
        Reply::json(400, json!({"error": "invalid_client", "error_description": quoted}))
    });
    let mut sandbox = Sandbox::with_file_store();
    let key = KeyPair::generate().unwrap();
    sandbox.set("TOK_OAUTH2_PRIVATE_KEY", key.serialize_pem());
    for flags in ["", "-vv", "--dpop true"] {
        let line = format!(
            "get oauth2 --grant client-credentials --token-url {}/token --client-id cli {flags}",
            quoting.url()
        );
        let out = sandbox.run(&line).fails(5);
        let sent = quoting.last();
        assert!(out.stderr.contains("***"), "{out}");
        assert!(!out.stderr.contains(&sent.field("client_assertion")[..40]), "{out}");
        assert!(sent.header("dpop").is_none_or(|proof| !out.stderr.contains(&proof[..40])), "{out}");
    }
}

#[test]
fn a_long_secret_that_a_server_quotes_is_not_shown_by_half() {
    let quoting = Server::new(|request: &Received| {
        let quoted = format!("what came was {}", request.field("subject_token"));
        Reply::json(400, json!({"error": "invalid_request", "error_description": quoted}))
    });
    for length in [20, 290, 300, 4000] {
        let mut sandbox = Sandbox::with_file_store();
        sandbox.set("TOK_OAUTH2_SUBJECT_TOKEN", format!("{}-{CANARY}-{}", "é".repeat(9), "x".repeat(length)));
        let line = "get oauth2 --grant token-exchange --client-id cli -vv --token-url";
        let out = sandbox.tok(line.split(' ')).args([format!("{}/token", quoting.url())]).run().fails(5);
        assert!(out.stderr.contains("what came was ***") && !out.stderr.contains("éé"), "{out}");
    }
}

#[test]
fn auto_takes_what_is_at_hand_and_what_the_server_knows() {
    let issuer = issuer();
    let key = KeyPair::generate().unwrap();
    for (methods, has, field) in [
        (json!(null), "secret", "basic"),
        (json!(["client_secret_post"]), "secret", "client_secret"),
        (json!(["client_secret_jwt"]), "secret", "client_assertion"),
        (json!(["client_secret_post", "client_secret_basic"]), "secret", "basic"),
        (json!(["private_key_jwt", "client_secret_basic"]), "both", "client_assertion"),
        (json!(["client_secret_basic"]), "both", "basic"),
        (json!(null), "key", "client_assertion"),
        (json!("odd"), "secret", "basic"),
    ] {
        issuer.state(|s| s.metadata = members(&[("token_endpoint_auth_methods_supported", methods.clone())]));
        let mut sandbox = issuer.sandbox();
        if has != "key" {
            sandbox.set("TOK_OIDC_CLIENT_SECRET", secret());
        }
        if has != "secret" {
            sandbox.set("TOK_OIDC_PRIVATE_KEY", key.serialize_pem());
        }
        sandbox.run(GET).silent().line();
        let request = issuer.server.last();
        match field {
            "basic" => drop(basic(&request)),
            field => assert!(request.has_field(field), "{methods} {has}: {request:?}"),
        }
    }
    // With nothing to prove it by, it is said what is missing.
    let sandbox = issuer.sandbox();
    let before = issuer.times("/token").len();
    let out = sandbox.run(GET).fails(4).hints();
    assert!(out.stderr.contains("client_secret") || out.stderr.contains("CLIENT_SECRET"), "{out}");
    let out = sandbox.run("login oidc client-credentials").fails(4).hints();
    assert!(out.stderr.contains("--client-secret-file"), "{out}");
    assert_eq!(issuer.times("/token").len(), before);
    sandbox.assert_nothing_kept();
}

#[test]
fn on_a_terminal_the_secret_that_is_missing_is_asked_for() {
    let issuer = issuer();
    let sandbox = issuer.sandbox();
    let mut terminal = sandbox.tok(["login", "oidc", "client-credentials"]).on_terminal();
    terminal.expect_like("(?i)client secret[^\n]*:");
    terminal.type_line(&format!("typed-{CANARY}"));
    let (rest, code) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    assert!(!rest.contains(CANARY), "{rest}");
    sandbox.forget_cache();
    sandbox.run("get oidc").silent().line();
    assert_eq!(issuer.times("/token").len(), 2);
}

#[test]
fn a_key_file_that_cannot_be_used_is_told_and_nothing_is_sent() {
    let issuer = issuer();
    let key = KeyPair::generate().unwrap();
    let pem = key.serialize_pem();
    let certificate = CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
    let sandbox = issuer.sandbox();
    let marked = format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{CANARY}\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let legacy = format!(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{CANARY}\n-----END RSA PRIVATE KEY-----\n"
    );
    for (content, says) in [
        (format!("{CANARY} is no key"), "not a key"),
        (String::new(), "empty"),
        (marked, "encrypted"),
        (legacy, "encrypted"),
        (key.public_key_pem(), "public key"),
        (certificate.pem(), "certificate"),
        (format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"), "damaged"),
        (format!("-----BEGIN PRIVATE KEY-----\n{CANARY}"), "damaged"),
        (format!("{pem}{}", KeyPair::generate().unwrap().serialize_pem()), "several"),
        (format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n-----END OPENSSH PRIVATE KEY-----\n"), "OpenSSH"),
        (format!("ssh-ed25519 {CANARY}"), "public key"),
        (format!("{{\"kty\":\"EC\",\"d\":\"{CANARY}\"}}"), ""),
        (format!("{{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\",\"k\":\"{CANARY}\"}}"), ""),
        (format!("{{\"keys\":[],\"{CANARY}\":1}}"), ""),
        (format!("{{\"kty\": {CANARY}"), ""),
    ] {
        let file = sandbox.file_arg("key", &content);
        for line in
            [format!("{GET} --private-key-file {file}"), format!("login oidc jwt-bearer -vv --private-key-file {file}")]
        {
            let out = sandbox.run(&line).fails(2).says(says);
            assert!(out.stderr.contains("private_key") || out.stderr.contains("private-key"), "{out}");
        }
    }
    let folder = sandbox.work();
    for (path, says) in [("/nonexistent/key", "no such file"), (folder.to_str().unwrap(), "folder")] {
        let out = sandbox.run(&format!("{GET} --private-key-file {path}")).fails(2).says(says);
        assert!(!out.stderr.contains(path), "what was typed may be the secret itself: {out}");
    }
    assert_eq!(issuer.times("/token").len(), 0);
    sandbox.assert_nothing_kept();
}

#[test]
fn a_private_key_that_others_can_read_is_used_and_warned_about() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let pem = KeyPair::generate().unwrap().serialize_pem();
    let key = sandbox.file("key.pem", &pem);
    let path = key.to_str().unwrap().to_string();
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o644, true), (0o620, true)] {
        chmod(&key, mode);
        let mut ways = vec![sandbox.tok(GET.split(' ')).args(["--private-key-file", &path])];
        if mode == 0o644 {
            ways.push(sandbox.tok(GET.split(' ')).env("TOK_OIDC_PRIVATE_KEY_FILE", &path));
            ways.push(sandbox.tok("login oidc client-credentials".split(' ')).args(["--private-key-file", &path]));
            sandbox.config(&format!("[profile.oidc]\nprovider = \"oidc\"\nprivate_key = {{ file = \"{path}\" }}\n"));
            ways.push(sandbox.tok(GET.split(' ')));
        }
        for way in ways {
            let out = way.run().ok();
            assert_eq!(out.stderr.contains(&format!("chmod 600 {path}")), warned, "{mode:o}: {out}");
            assert_eq!(out.stderr.matches("warning").count(), usize::from(warned), "said once: {out}");
            assert!(
                !out.stderr.contains("BEGIN") && !pem.lines().any(|line| line.len() > 20 && out.stderr.contains(line))
            );
        }
    }
    // What is no private key may be as it is; so may what is no file.
    let secret = sandbox.file("secret", secret());
    chmod(&secret, 0o644);
    std::fs::remove_file(sandbox.config_file()).unwrap();
    sandbox.run(&format!("{GET} --client-secret-file {}", secret.display())).silent().line();
    sandbox.tok(GET.split(' ')).args(["--private-key-file", "-"]).stdin(pem.clone()).run().silent().line();
    sandbox.tok(format!("{GET} -q --private-key-file {path}").split(' ')).run().silent().line();
    sandbox.set("TOK_OIDC_PRIVATE_KEY", pem);
    sandbox.run(GET).silent().line();
}

#[test]
fn a_certificate_is_shown_at_the_address_for_it() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["cli".into()]).unwrap().self_signed(&key).unwrap();
    for method in ["tls", "tls-self-signed"] {
        let issuer = issuer();
        let usual = Reply::json(200, json!({"access_token": format!("at-{CANARY}"), "expires_in": 60}));
        let tls = Server::tls_as(Certified::demanding(&["127.0.0.1"], certificate.der()), move |_| usual.clone());
        let alias = json!({"token_endpoint": format!("{}/mtls-token", tls.url())});
        issuer.state(|s| s.metadata = members(&[("mtls_endpoint_aliases", alias)]));
        let mut sandbox = issuer.sandbox();
        sandbox.config(&format!("store = \"file\"\nca_file = \"{}\"\n", tls.ca_file().display()));
        sandbox.set("TOK_OIDC_PRIVATE_KEY", key.serialize_pem());
        let file = sandbox.file_arg("certificate", certificate.pem());
        let line = format!("{GET} --client-auth {method}");
        assert_eq!(sandbox.run(&format!("{line} --certificate {file}")).silent().line(), format!("at-{CANARY}"));
        let request = tls.last();
        assert_eq!((request.path(), request.field("client_id").as_str()), ("/mtls-token", CLIENT));
        assert!(!request.has_field("client_assertion") && request.header("authorization").is_none());
        // Without one, and with one that is none.
        sandbox.run(&line).fails(4).says("certificate").hints();
        let none = sandbox.file_arg("none", format!("{CANARY} is none"));
        sandbox.run(&format!("{line} --certificate {none}")).fails_with_one_of(&[2, 3]).says("certificate");
        let other = KeyPair::generate().unwrap().serialize_pem();
        let out = sandbox.tok(line.split(' ')).args(["--certificate", &file]).env("TOK_OIDC_PRIVATE_KEY", other).run();
        out.fails_with_one_of(&[2, 3]).says("certificate");
        assert_eq!(tls.count(), 1);
        assert_eq!(issuer.times("/token").len(), 0);
    }
}

#[test]
fn a_token_is_exchanged_with_all_that_the_rfc_knows() {
    let issuer = issuer();
    issuer.state(|s| {
        s.token = json!({"id_token": null, "refresh_token": null, "issued_token_type": "urn:x", "token_type": "N_A"})
    });
    let mut sandbox = issuer.sandbox();
    let subject = sandbox.file_arg("subject", format!("subject-{CANARY}"));
    let actor = sandbox.file_arg("actor", format!("actor-{CANARY}\n"));
    let line = format!(
        "login oidc token-exchange --subject-token-file {subject} --actor-token-file {actor} \
         --subject-token-type urn:ietf:params:oauth:token-type:jwt --actor-token-type urn:a \
         --requested-token-type urn:r --audience one --audience two --resource https://a.example \
         --scope read --scope write --param deep=1"
    );
    sandbox.run(&line).prints("").silent();
    let mut form = issuer.only("/token").form();
    form.sort();
    let expected = [
        ("actor_token", &*format!("actor-{CANARY}")),
        ("actor_token_type", "urn:a"),
        ("audience", "one"),
        ("audience", "two"),
        ("client_id", CLIENT),
        ("deep", "1"),
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:r"),
        ("resource", "https://a.example"),
        ("scope", "read write"),
        ("subject_token", &*format!("subject-{CANARY}")),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ];
    assert_eq!(form, expected.map(|(n, v)| (n.to_string(), v.to_string())));
    let json = sandbox.run("get oidc -o json").json();
    assert_eq!(json["extra"]["issued_token_type"], "urn:x");
    // The optional ones are left out; the subject must be there.
    sandbox.set("TOK_OIDC_SUBJECT_TOKEN", format!("subject-{CANARY}"));
    let other = issuer.sandbox();
    other
        .tok("get oidc --grant token-exchange".split(' '))
        .env("TOK_OIDC_SUBJECT_TOKEN", format!("s-{CANARY}"))
        .run()
        .line();
    let names: Vec<String> = issuer.server.last().form().into_iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|n| n.starts_with("actor") || n == "scope" || n == "resource"), "{names:?}");
    let other = issuer.sandbox();
    other.run("get oidc --grant token-exchange").fails(4).hints_at("TOK_OIDC_SUBJECT_TOKEN");
    issuer.script(
        "/token",
        [Reply::json(400, json!({"error": "invalid_target", "error_description": format!("subject-{CANARY}")}))],
    );
    let out = sandbox.run(&line.replace("login", "login -vv")).fails(5).says("invalid_target").hints();
    assert!(!out.stderr.contains(CANARY), "{out}");
}

#[test]
fn an_assertion_is_signed_here_or_handed_in() {
    let issuer = issuer();
    let sandbox = issuer.sandbox();
    let key = KeyPair::generate().unwrap();
    let file = sandbox.file_arg("key", key.serialize_pem());
    sandbox.run(&format!("login oidc jwt-bearer --private-key-file {file} --username alice --key-id k")).prints("");
    let request = issuer.server.last();
    assert_eq!(request.field("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert!(!request.has_field("client_assertion"), "the key is for the assertion");
    let assertion = request.field("assertion");
    assert!(signed_by(&assertion, key.der_bytes()));
    let (header, claims) = jwt(&assertion);
    assert_eq!((&header["kid"], &claims["sub"], &claims["iss"]), (&json!("k"), &json!("alice"), &json!(CLIENT)));
    assert_eq!(claims["aud"], format!("{}/token", issuer.url()));

    for (grant, name, content) in [
        ("jwt-bearer", "urn:ietf:params:oauth:grant-type:jwt-bearer", format!("e30.{CANARY}.x\n")),
        ("saml-bearer", "urn:ietf:params:oauth:grant-type:saml2-bearer", format!("PHNhbWw-{CANARY}\n")),
    ] {
        let sandbox = issuer.sandbox();
        let file = sandbox.file_arg("assertion", &content);
        sandbox.run(&format!("login oidc {grant} -vv --assertion-file {file}")).prints("");
        let request = issuer.server.last();
        assert_eq!(request.field("grant_type"), name);
        assert_eq!(request.field("assertion"), content.trim_end());
        let sandbox = issuer.sandbox();
        let out = sandbox.run(&format!("login oidc {grant}")).fails(4).hints();
        assert!(out.stderr.contains("assertion") || out.stderr.contains("private"), "{out}");
        sandbox.assert_nothing_kept();
    }
}

#[test]
fn a_password_is_warned_about_once() {
    let issuer = issuer();
    issuer.state(|s| s.token = json!({"id_token": null}));
    let sandbox = issuer.sandbox();
    let file = sandbox.file_arg("password", format!("p-{CANARY}"));
    let line = format!("login oidc password --username alice --password-file {file}");
    let out = sandbox.run(&line).prints("").says("RFC 9700");
    assert_eq!(out.stderr.matches("warning").count(), 1, "{out}");
    assert_eq!(issuer.server.last().field("password"), format!("p-{CANARY}"));
    assert!(sandbox.files_with(&format!("p-{CANARY}")).is_empty());
    sandbox.run("get oidc").silent().line();
    sandbox.run("get oidc --fresh").silent().line();
    assert_eq!(issuer.server.last().field("grant_type"), "refresh_token");
    sandbox.run(&format!("-q {line}")).prints("").silent();
}

/// A server that binds its tokens.
fn binding() -> Issuer {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({"id_token": null, "token_type": "DPoP"}));
    issuer
}

#[track_caller]
fn proof_of(request: &Received) -> (Value, String) {
    proof(request.header("dpop").expect("a proof"))
}

#[test]
fn a_token_that_is_bound_to_a_key_is_never_a_bearer_token() {
    let issuer = binding();
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_DPOP", "true");
    sandbox.run("login oidc device-code --scope read -vv").prints("");
    let request = issuer.only("/token");
    let (claims, thumbprint) = proof_of(&request);
    assert_eq!((&claims["htm"], &claims["htu"]), (&json!("POST"), &json!(format!("{}/token", issuer.url()))));
    assert!(claims.get("ath").is_none() && claims.get("nonce").is_none(), "{claims}");
    let token = format!("at-{CANARY}-1");
    assert_eq!(sandbox.run("get oidc").silent().line(), token);

    sandbox.run("header oidc").fails(2).hints_at("--url");
    sandbox.run("header oidc --method GET").fails(2).hints();
    sandbox.run("header oidc --method GET --url http://evil.example/").fails(2);
    sandbox.tok(["header", "oidc", "--method", "G ET", "--url", "https://a.example/"]).run().fails(2);
    let mut ids = vec![claims["jti"].clone()];
    for _ in 0..2 {
        let out = sandbox.tok(["header", "oidc", "--method", "PUT", "--url", "https://api.example/x%20y?q=1"]).run();
        let out = out.ok().silent();
        let lines: Vec<&str> = out.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{out}");
        assert_eq!(lines[0], format!("Authorization: DPoP {token}"));
        let (claims, of) = proof(lines[1].strip_prefix("DPoP: ").expect("a proof"));
        assert_eq!(of, thumbprint);
        assert_eq!((&claims["htm"], &claims["htu"]), (&json!("PUT"), &json!("https://api.example/x%20y")));
        assert_eq!(claims["ath"], sha256(token.as_bytes()));
        ids.push(claims["jti"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each proof is another");
    let json = sandbox.run("get oidc -o json").json();
    assert_eq!((&json["token_type"], &json["header"]["value"]), (&json!("DPoP"), &json!(format!("DPoP {token}"))));
    for format in ["token", "header", "json", "env", "curl", "kubernetes", "xoauth2"] {
        let out = sandbox.run(&format!("get oidc -o {format}"));
        assert!(!out.stdout.contains("Bearer"), "{out}");
        use base64::Engine;
        let decoded = STANDARD.decode(out.stdout.trim()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&decoded).contains("Bearer"), "{out}");
    }

    // The key stays, and where it may.
    let kept = sandbox.secrets();
    let key: Value = serde_json::from_str(kept["oidc"]["dpop_key"].as_str().unwrap()).unwrap();
    let secret = sandbox.files_with(key["d"].as_str().unwrap());
    for file in &secret {
        let file = file.to_string_lossy();
        assert!(file.ends_with("secrets.json") || file.starts_with(".local/state/tok/cache/"), "{file}");
    }
    assert!(!secret.is_empty(), "{kept}");
    sandbox.forget_cache();
    sandbox.run("get oidc").silent().line();
    sandbox.run("get oidc --fresh -vv").line();
    let asked = issuer.asked("/token");
    assert_eq!(asked.len(), 3);
    for request in &asked[1..] {
        assert_eq!(request.field("grant_type"), "refresh_token");
        assert_eq!(proof_of(request).1, thumbprint);
    }
    // An API of the server's own takes it as any other.
    assert!(sandbox.run("show oidc --userinfo").ok().stdout.contains("Alice"));
    let request = issuer.only("/userinfo");
    assert_eq!(request.header("authorization"), Some(format!("DPoP at-{CANARY}-3").as_str()));
    let (claims, of) = proof_of(&request);
    assert_eq!((&claims["htm"], of), (&json!("GET"), thumbprint));
    assert_eq!(claims["ath"], sha256(format!("at-{CANARY}-3").as_bytes()));
}

#[test]
fn a_bearer_token_has_one_header_line() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_CLIENT_SECRET", secret());
    let line = "header oidc --grant client-credentials";
    assert_eq!(sandbox.run(line).line(), format!("Authorization: Bearer at-{CANARY}-1"));
    assert_eq!(
        sandbox.run(&format!("{line} --method GET --url https://a.example/")).line(),
        format!("Authorization: Bearer at-{CANARY}-1")
    );
}

#[test]
fn a_server_s_nonce_is_taken_once() {
    let issuer = binding();
    let asks =
        |status: u16, nonce: &str| Reply::json(status, json!({"error": "use_dpop_nonce"})).header("DPoP-Nonce", nonce);
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_CLIENT_SECRET", secret()).set("TOK_OIDC_DPOP", "true");
    issuer.script("/token", [asks(400, "n-1")]);
    sandbox.run(GET).line();
    let asked = issuer.asked("/token");
    assert_eq!(asked.len(), 2);
    assert_eq!(proof_of(&asked[1]).0["nonce"], "n-1");
    assert_ne!(proof_of(&asked[0]).0["jti"], proof_of(&asked[1]).0["jti"]);
    issuer.script("/token", [asks(401, "n-2")]);
    sandbox.run(GET).line();
    // One that always wants another is refused as it refuses.
    let sandbox = issuer.sandbox();
    let before = issuer.asked("/token").len();
    issuer.script("/token", (0..9).map(|n| asks(400, &format!("n-{n}"))));
    let run = |line: &str| {
        sandbox.tok(line.split(' ')).env("TOK_OIDC_CLIENT_SECRET", secret()).env("TOK_OIDC_DPOP", "true").run()
    };
    run(GET).fails(5).says("use_dpop_nonce").hints();
    assert_eq!(issuer.asked("/token").len(), before + 2);
    run("login oidc client-credentials").fails(5).says("use_dpop_nonce").hints();
    assert_eq!(issuer.asked("/token").len(), before + 4);
    sandbox.assert_nothing_kept();
    // One without the number it wants, too.
    issuer.state(|s| s.replies.clear());
    issuer.script("/token", [Reply::json(400, json!({"error": "use_dpop_nonce"}))]);
    run(GET).fails(5).hints();
}

#[test]
fn a_token_that_is_not_bound_as_asked_is_not_used() {
    at_once(["Bearer", ""], |sort| {
        let issuer = Issuer::start();
        let sort = if sort.is_empty() { Value::Null } else { sort.into() };
        issuer.state(|s| s.token = json!({"id_token": null, "token_type": sort}));
        for line in [GET, "login oidc client-credentials", "login oidc device-code --scope read"] {
            let sandbox = issuer.sandbox();
            let run = sandbox.tok(line.split(' ')).env("TOK_OIDC_CLIENT_SECRET", secret()).env("TOK_OIDC_DPOP", "true");
            run.run().fails(8).says("--dpop").hints();
            sandbox.assert_nothing_kept();
        }
    });
}

#[test]
fn a_token_bound_to_somebody_else_s_key_is_no_bearer_token_either() {
    let issuer = binding();
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_CLIENT_SECRET", secret());
    sandbox.run(GET).silent().line();
    for more in ["", " --method GET --url https://a.example/"] {
        sandbox.run(&format!("header oidc --grant client-credentials{more}")).fails(8).hints_at("--dpop true");
    }
    let out = sandbox.run("get oidc --grant client-credentials -o json").ok();
    assert!(!out.stdout.contains("Bearer"), "{out}");
}

#[test]
fn a_proof_goes_with_a_browser_s_login_too() {
    use crate::support::issuer::Browser;
    let issuer = binding();
    issuer.script("/token", [Reply::json(400, json!({"error": "use_dpop_nonce"})).header("DPoP-Nonce", "n-1")]);
    let mut sandbox = issuer.sandbox();
    let browser = Browser::of(&mut sandbox);
    let running = sandbox.tok("login oidc authorization-code --scope read --dpop true".split(' ')).spawn();
    browser.visit().log_in();
    running.wait().prints("");
    let asked = issuer.asked("/token");
    assert_eq!(asked.len(), 2);
    assert_eq!(proof_of(&asked[0]).1, proof_of(&asked[1]).1);
    // The setting is kept with the profile.
    assert!(sandbox.run("get oidc -o header --fresh").fails(2).stderr.contains("DPoP"));
    assert_eq!(issuer.asked("/token").len(), 3);
    assert_eq!(proof_of(&issuer.server.last()).1, proof_of(&asked[0]).1);
}

#[test]
fn what_was_kept_for_one_client_is_no_other_s() {
    let issuer = issuer();
    let mut sandbox = issuer.sandbox();
    let file = sandbox.file("secret", secret());
    sandbox.unset("TOK_OIDC_CLIENT_ID");
    sandbox.run(&format!("login oidc client-credentials --client-id one --client-secret-file {}", file.display()));
    sandbox.run("get oidc --fresh").silent().line();
    let asked = issuer.server.count();
    let out = sandbox.run("login oidc client-credentials --client-id two");
    assert_eq!(out.code, 4, "{}", out.stderr);
    assert!(out.stderr.contains("client_id was one, and is now two"), "{}", out.stderr);
    let out = sandbox.run("get oidc --fresh --client-id two");
    assert_eq!(out.code, 4, "{}", out.stderr);
    assert!(out.stderr.contains("for the client one"), "{}", out.stderr);
    let sent: Vec<_> =
        issuer.server.requests().into_iter().skip(asked).filter(|r| r.path().contains("token")).collect();
    assert!(sent.is_empty(), "a secret went out: {}", sent.len());
    sandbox.run("get oidc --fresh").silent().line();
}
