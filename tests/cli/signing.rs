//! Providers that want a JWT signed here: imitations that look at every claim, with the signature checked by OpenSSL,
//! which knows nothing of `tok`.

use crate::child::Start;
use crate::skip::needs;
use crate::support::server::{Reply, Server, exactly, form};
use crate::support::{CANARY, Sandbox, now, until};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A private key as PKCS#8, with a line before it, as some tools write one: it is the canary.
fn key() -> String {
    format!("{CANARY}\n{}", include_str!("../providers/rsa.pem"))
}

const EMAIL: &str = "tok@example-project.iam.gserviceaccount.com";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Runs OpenSSL; its output.
fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    let mut child =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).start().expect("openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.output();
    assert!(output.status.success(), "openssl {args:?}");
    output.stdout
}

/// Header and claims of a JWT whose RS256 signature OpenSSL accepts; else what is wrong.
fn opened(jwt: &str) -> Result<(Value, Value), String> {
    let (signed, signature) = jwt.rsplit_once('.').ok_or("not a JWT")?;
    let (header, claims) = signed.split_once('.').ok_or("not a JWT")?;
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|e| e.to_string());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    std::fs::write(path("public"), openssl(&["pkey", "-pubout"], key().as_bytes())).unwrap();
    std::fs::write(path("signature"), bytes(signature)?).unwrap();
    std::fs::write(path("signed"), signed).unwrap();
    let check = Command::new("openssl")
        .args(["dgst", "-sha256", "-verify", &path("public"), "-signature", &path("signature"), &path("signed")])
        .finish()
        .unwrap();
    if !check.status.success() {
        return Err("the signature is wrong".into());
    }
    let json = |part: &str| serde_json::from_slice::<Value>(&bytes(part)?).map_err(|e| e.to_string());
    let (header, claims) = (json(header)?, json(claims)?);
    if header["alg"] != "RS256" || header["typ"] != "JWT" {
        return Err(format!("header {header}"));
    }
    Ok((header, claims))
}

/// Checks the names of the claims, and `iat` and `exp` against the clock of now.
fn claims(claims: &Value, names: &[&str], backdate: i64, lifetime: i64) -> Result<(), String> {
    let members: Vec<(String, Value)> = claims.as_object().unwrap().clone().into_iter().collect();
    exactly(&members, &[names, &["iat", "exp"]].concat())?;
    let near = |name: &str, offset: i64| (claims[name].as_i64().unwrap() - now() - offset).abs() <= 30;
    if near("iat", -backdate) && near("exp", lifetime) { Ok(()) } else { Err(format!("times: {claims}")) }
}

/// The assertion of a form of exactly `grant_type` and `assertion`.
fn assertion(body: &[u8]) -> Result<(Value, Value), String> {
    let fields = form(body)?;
    exactly(&fields, &["grant_type", "assertion"])?;
    match fields[0].1 == JWT_BEARER {
        true => opened(&fields[1].1),
        false => Err(format!("grant_type {}", fields[0].1)),
    }
}

/// A key file as the console of the cloud writes it.
fn key_file(private_key: &str) -> String {
    json!({
        "type": "service_account",
        "project_id": "example-project",
        "private_key_id": "5f0e3a7c",
        "private_key": private_key,
        "client_email": EMAIL,
        "client_id": "113456789012345678901",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
    .to_string()
}

fn google() -> Server {
    Server::new(|request| {
        let url = format!("http://{}{}", request.header("host").unwrap(), request.target);
        let refuse = |why: String| Reply::json(400, json!({"error": "invalid_grant", "error_description": why}));
        let (header, said) = match assertion(&request.body) {
            Ok(parts) => parts,
            Err(why) => return refuse(format!("Invalid JWT: {why}")),
        };
        let wants_id = said.get("target_audience").is_some();
        let names: &[&str] = match (wants_id, said.get("sub").is_some()) {
            (true, _) => &["iss", "target_audience", "aud"],
            (false, true) => &["iss", "sub", "scope", "aud"],
            (false, false) => &["iss", "scope", "aud"],
        };
        if let Err(why) = claims(&said, names, 30, 3570) {
            return refuse(why);
        }
        if said["iss"] != EMAIL || said["aud"] != url || header["kid"] != "5f0e3a7c" {
            return refuse(format!("Invalid JWT: {header} {said}"));
        }
        match wants_id {
            true => Reply::json(200, json!({"id_token": id_token(&said["target_audience"])})),
            false => Reply::json(
                200,
                json!({"access_token": format!("ya29.c.{CANARY}..."), "expires_in": 3599, "token_type": "Bearer"}),
            ),
        }
    })
}

fn id_token(audience: &Value) -> String {
    let claims = json!({"iss": "https://accounts.google.com", "aud": audience, "exp": now() + 3600});
    format!("{}.{}.{CANARY}", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Whether nothing that matters has come of a run.
#[track_caller]
fn assert_nothing_kept(sandbox: &Sandbox) {
    assert!(sandbox.secrets().is_null(), "secrets: {}", sandbox.secrets());
    assert!(!sandbox.config_file().exists(), "the config was written");
    assert!(sandbox.files_with("private_key").is_empty());
}

#[test]
fn a_service_account_logs_in_with_its_key_file_and_goes_on_by_itself() {
    needs!("openssl");
    let server = google();
    let sandbox = Sandbox::with_file_store();
    let key = sandbox.file_arg("sa.json", key_file(&key()));
    let url = format!("{}/token", server.url());
    sandbox
        .tok(["login", "google-service-account", "--key-file", &key, "--scope", "a", "--scope", "b"])
        .args(["--token-url", &url])
        .run()
        .prints("")
        .silent();
    let (_, said) = opened(&server.last().field("assertion")).unwrap();
    assert_eq!(said["scope"], "a b");
    assert_eq!(sandbox.run("get google-service-account").silent().line(), format!("ya29.c.{CANARY}..."));
    assert_eq!(server.count(), 1, "the token of the login is handed out");
    // The key is in the store, and nowhere else.
    std::fs::remove_file(&key).unwrap();
    assert_eq!(sandbox.files_with("BEGIN PRIVATE KEY"), [Path::new(".local/share/tok/secrets.json")]);
    sandbox.run("get google-service-account --fresh").silent().line();
    sandbox.run("get google-service-account --fresh --subject user@example.com").silent().line();
    let (_, said) = opened(&server.last().field("assertion")).unwrap();
    assert_eq!(said["sub"], "user@example.com");
}

#[test]
fn a_kept_key_file_signs_for_nobody_else() {
    needs!("openssl");
    let server = google();
    let other = google();
    let sandbox = Sandbox::with_file_store();
    let key = sandbox.file_arg("sa.json", key_file(&key()));
    let line = format!("login google-service-account --key-file {key} --scope a --token-url {}/token", server.url());
    sandbox.run(&line).ok();
    let elsewhere = format!("get google-service-account --token-url {}/token", other.url());
    sandbox.run(&elsewhere).fails(4).says("goes to").says("nothing was sent");
    assert_eq!(other.count(), 0);
}

#[test]
fn the_key_file_comes_from_environment_config_or_command() {
    needs!("openssl");
    let server = google();
    let mut sandbox = Sandbox::new();
    sandbox.set("TOK_STORE", "none");
    let key = sandbox.file_arg("sa.json", key_file(&key()));
    let url = format!("{}/token", server.url());
    let profile = |key: &str| format!("[profile.gcp]\nprovider = \"google-service-account\"\nscope = [\"a\"]\n{key}");
    let at = format!("get gcp --fresh --token-url {url}");

    sandbox.config(&profile(""));
    sandbox.run(&at).fails(4).says("key").hints_at("TOK_GCP_KEY");
    let run = |name: &str, value: &str| sandbox.tok(at.split(' ')).env(name, value).run().silent().line();
    run("TOK_GCP_KEY_FILE", &key);
    run("TOK_GCP_KEY", &key_file(&self::key()));
    for given in ["{ file = \"KEY\" }", "{ command = [\"cat\", \"KEY\"] }", "{ env = \"SA_KEY\" }"] {
        sandbox.config(&profile(&format!(
            "key = {}\n",
            given.replace("KEY\"", &format!("{key}\"")).replace(&format!("SA_{key}"), "SA_KEY",)
        )));
        sandbox.tok(at.split(' ')).env("SA_KEY", key_file(&self::key())).run().silent().line();
    }
    // The key alone does too, where the address is given beside it.
    let plain = sandbox.file_arg("key.pem", self::key());
    sandbox.config(&profile(&format!(
        "client_email = \"{EMAIL}\"\nkey_id = \"5f0e3a7c\"\nprivate_key = {{ file = \"{plain}\" }}\n"
    )));
    sandbox.run(&at).silent().line();
    assert_eq!(server.count(), 6);
}

#[test]
fn a_service_account_gets_an_id_token_and_signs_its_own() {
    needs!("openssl");
    let server = google();
    let mut sandbox = Sandbox::with_file_store();
    sandbox.set("TOK_GOOGLE_SERVICE_ACCOUNT_KEY", key_file(&key()));
    sandbox.set("TOK_GOOGLE_SERVICE_ACCOUNT_TOKEN_URL", format!("{}/token", server.url()));
    let audience = "https://service-abc-uc.a.run.app";
    let token = sandbox.run(&format!("get google-service-account --grant id-token --audience {audience}")).line();
    assert_eq!(token, id_token_of(&token, audience));
    let count = server.count();
    let own = sandbox.run("get google-service-account --grant self-signed --audience https://pubsub.googleapis.com/");
    let (header, said) = opened(&own.line()).unwrap();
    assert_eq!(header["kid"], "5f0e3a7c");
    claims(&said, &["iss", "sub", "aud"], 30, 3570).unwrap();
    assert_eq!((&said["sub"], &said["aud"]), (&json!(EMAIL), &json!("https://pubsub.googleapis.com/")));
    assert_eq!(server.count(), count, "nothing is sent for it");
}

fn id_token_of(token: &str, audience: &str) -> String {
    let payload: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).expect("claims");
    assert_eq!(payload["aud"], audience);
    token.into()
}

#[test]
fn a_file_that_is_no_key_file_is_told_and_nothing_is_kept() {
    needs!("openssl");
    let server = google();
    let sandbox = Sandbox::with_file_store();
    let encrypted = openssl(&["pkcs8", "-topk8", "-passout", "pass:x"], key().as_bytes());
    let ec = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], b"");
    let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
    let without_email = json!({"type": "service_account", "private_key": key()}).to_string();
    let client =
        json!({"installed": {"client_id": "1.apps.googleusercontent.com", "client_secret": CANARY}}).to_string();
    for (name, content, says) in [
        ("key.pem", key(), "is not JSON"),
        ("cut.json", key_file(&key())[..200].to_string(), "is not JSON"),
        ("no-email.json", without_email, "without a string at /client_email"),
        ("client.json", client, "without a string at /client_email"),
        ("encrypted.json", key_file(&text(encrypted)), "/private_key that is an encrypted key"),
        ("ec.json", key_file(&text(ec)), "but the server only accepts RS256"),
        ("garbage.json", key_file(&format!("x{CANARY}")), "/private_key that is not a key"),
    ] {
        let file = sandbox.file_arg(name, content);
        let url = format!("{}/token", server.url());
        let login = ["login", "google-service-account", "--scope", "a", "--token-url", &url, "--key-file", &file];
        sandbox.tok(login).run().fails(2).says("--key-file").says(says).hints_at("JSON key file");
        assert_nothing_kept(&sandbox);
        let get = ["get", "google-service-account", "--scope", "a", "--token-url", &url];
        let get = sandbox.tok(get).env("TOK_GOOGLE_SERVICE_ACCOUNT_KEY_FILE", &file);
        get.run().fails(2).says("TOK_GOOGLE_SERVICE_ACCOUNT_KEY_FILE").says(says);
        sandbox.config(&format!(
            "[profile.gcp]\nprovider = \"google-service-account\"\nkey = {{ file = \"{file}\" }}\nscope = [\"a\"]\n"
        ));
        sandbox.run(&format!("get gcp --token-url {url}")).fails(3).says("config.toml").says(says);
        std::fs::remove_file(sandbox.config_file()).unwrap();
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn a_refused_key_is_a_refusal_and_nothing_is_kept() {
    needs!("openssl");
    let server = google();
    let sandbox = Sandbox::with_file_store();
    let other = String::from_utf8(openssl(&["genpkey", "-algorithm", "RSA"], b"")).unwrap();
    let file = sandbox.file_arg("sa.json", key_file(&other));
    let url = format!("{}/token", server.url());
    sandbox
        .tok(["login", "google-service-account", "--scope", "a", "--token-url", &url, "--key-file", &file])
        .run()
        .fails(5)
        .says("invalid_grant: Invalid JWT: the signature is wrong")
        .hints_at("--key-file");
    assert_nothing_kept(&sandbox);
}

/// When the tokens of [`github`] expire.
static FAR: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| tok::testing::base::date::show(now() + 3600));

fn github() -> Server {
    Server::new(|request| {
        let refuse = |status: u16, why: &str| {
            let docs = "https://docs.github.com/rest";
            Reply::json(status, json!({"message": why, "documentation_url": docs, "status": status.to_string()}))
        };
        let header = |name: &str| request.header(name).unwrap_or("");
        if header("accept") != "application/vnd.github+json" || header("x-github-api-version") != "2022-11-28" {
            return refuse(415, "Unsupported 'Accept' header");
        }
        let said = match opened(header("authorization").strip_prefix("Bearer ").unwrap_or("")) {
            Ok((_, said)) => said,
            Err(_) => return refuse(401, "A JSON web token could not be decoded"),
        };
        if let Err(why) = claims(&said, &["iss"], 60, 540) {
            return refuse(401, &why);
        }
        let path = request.path().trim_start_matches("/api/v3");
        if request.method != "POST" || path != "/app/installations/12345678/access_tokens" {
            return refuse(404, "Not Found");
        }
        let wanted: Value = serde_json::from_slice(&request.body).unwrap();
        if wanted["repositories"].as_array().is_some_and(|names| names.contains(&json!("unknown"))) {
            let why =
                "There is at least one repository that does not exist or is not accessible to the parent installation.";
            return refuse(422, why);
        }
        let permissions = wanted.get("permissions").cloned().unwrap_or(json!({"metadata": "read"}));
        Reply::json(
            201,
            json!({
                "token": format!("ghs_{CANARY}{}", said["iss"].as_str().unwrap()),
                "expires_at": *FAR,
                "permissions": permissions,
                "repository_selection": if wanted.get("repositories").is_some() { "selected" } else { "all" },
            }),
        )
    })
}

#[test]
fn an_app_gets_a_token_of_its_installation() {
    needs!("openssl");
    let server = github();
    let sandbox = Sandbox::with_file_store();
    // As GitHub makes it: PKCS#1.
    let old = openssl(&["pkey", "-traditional"], key().as_bytes());
    let file = sandbox.file_arg("app.pem", [format!("{CANARY}\n").as_bytes(), &old].concat());
    let base = server.url();
    sandbox
        .tok(["login", "github-app", "--client-id", "Iv23li", "--installation-id", "12345678"])
        .args(["--private-key-file", &file, "--base-url", &base])
        .run()
        .prints("")
        .silent();
    assert_eq!(server.last().body, b"{}");
    let got = sandbox.run("get github-app --json").json();
    assert_eq!(got["access_token"], format!("ghs_{CANARY}Iv23li"));
    assert_eq!(got["expires_at"], *FAR);
    assert_eq!(got["extra"], json!({"permissions": {"metadata": "read"}, "repository_selection": "all"}));
    assert_eq!(got["header"]["value"], format!("Bearer ghs_{CANARY}Iv23li"));
    std::fs::remove_file(&file).unwrap();
    sandbox.run("get github-app --fresh").silent().line();
    assert_eq!(server.count(), 2);
    // Less than the whole, for one call; it does not stand in for the whole afterwards.
    let less = "get github-app --json --repository hello --repository world --permission contents=read";
    let less = sandbox.run(less).json();
    assert_eq!(less["extra"]["permissions"], json!({"contents": "read"}));
    let sent: Value = serde_json::from_slice(&server.last().body).unwrap();
    assert_eq!(sent, json!({"repositories": ["hello", "world"], "permissions": {"contents": "read"}}));
    let whole = sandbox.run("get github-app --json").json();
    assert_eq!(whole["extra"]["repository_selection"], "all");
}

#[test]
fn an_app_of_an_enterprise_server_and_its_own_jwt() {
    needs!("openssl");
    let server = github();
    let mut sandbox = Sandbox::with_file_store();
    sandbox.set("TOK_GITHUB_APP_PRIVATE_KEY", key());
    sandbox.set("TOK_GITHUB_APP_CLIENT_ID", "42");
    sandbox.set("TOK_GITHUB_APP_BASE_URL", format!("{}/api/v3/", server.url()));
    let token = sandbox.run("get github-app --installation-id 12345678").silent().line();
    assert_eq!(token, format!("ghs_{CANARY}42"));
    assert_eq!(server.last().path(), "/api/v3/app/installations/12345678/access_tokens");
    let (_, said) = opened(&sandbox.run("get github-app --grant jwt").silent().line()).unwrap();
    claims(&said, &["iss"], 60, 540).unwrap();
    assert_eq!(server.count(), 1);
}

#[test]
fn an_app_that_is_refused_says_why() {
    needs!("openssl");
    let server = github();
    let sandbox = Sandbox::with_file_store();
    let file = sandbox.file_arg("app.pem", key());
    let base = server.url();
    let login = |more: &[&str]| {
        let words = ["login", "github-app", "--client-id", "1", "--private-key-file", &file, "--base-url", &base];
        sandbox.tok(words).args(more).run()
    };
    login(&["--installation-id", "5"]).fails(5).says("Not Found (status 404)");
    login(&["--installation-id", "12345678", "--repository", "unknown"]).fails(5).says("at least one repository");
    login(&["--installation-id", "12345678", "--permission", "contents"]).fails(2).says("NAME=VALUE");
    login(&["--installation-id", "12345678", "--permission", "=read"]).fails(2).says("NAME=VALUE");
    let count = server.count();
    let encrypted = openssl(&["pkcs8", "-topk8", "-passout", "pass:x"], key().as_bytes());
    let encrypted = sandbox.file_arg("encrypted.pem", encrypted);
    sandbox
        .tok(["login", "github-app", "--client-id", "1", "--installation-id", "5", "--private-key-file", &encrypted])
        .run()
        .fails(2)
        .says("--private-key-file: its value is an encrypted key");
    sandbox.run("login github-app").fails(4).hints_at("--private-key-file PATH");
    assert_eq!(server.count(), count);
    assert_nothing_kept(&sandbox);
}

#[test]
fn a_key_pair_signs_its_token_and_sends_nothing() {
    needs!("openssl");
    let sandbox = Sandbox::with_file_store();
    let file = sandbox.file_arg("rsa_key.p8", key());
    sandbox
        .tok(["login", "snowflake", "--account", "xy12345.us-east-1", "--user", "tok", "--private-key-file", &file])
        .run()
        .prints("")
        .silent();
    std::fs::remove_file(&file).unwrap();
    // As Snowflake says to make RSA_PUBLIC_KEY_FP.
    let public = openssl(&["pkey", "-pubout", "-outform", "DER"], key().as_bytes());
    let digest = openssl(&["dgst", "-sha256", "-binary"], &public);
    let print = base64::engine::general_purpose::STANDARD.encode(digest);
    for line in ["get snowflake", "get snowflake --fresh"] {
        let (header, said) = opened(&sandbox.run(line).silent().line()).unwrap();
        assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}));
        claims(&said, &["iss", "sub"], 30, 3570).unwrap();
        assert_eq!(said["iss"], format!("XY12345.TOK.SHA256:{print}"));
        assert_eq!(said["sub"], "XY12345.TOK");
    }
    let first = sandbox.run("get snowflake").line();
    assert_eq!(sandbox.run("get snowflake").line(), first, "it waits until it ends");
    let text = std::fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(text.contains("account = \"xy12345.us-east-1\""), "as it was typed: {text}");
    sandbox.run("get snowflake --account other").fails(4).says("goes to").says("nothing was sent");
}

#[test]
fn a_key_in_a_variable_may_have_its_lines_joined() {
    needs!("openssl");
    let sandbox = Sandbox::with_file_store();
    for text in [key().replace('\n', "\\n"), format!("{}\n", key().trim_end().replace('\n', "\\n"))] {
        let words = ["get", "snowflake", "--account", "xy12345", "--user", "tok", "--no-store"];
        let token = sandbox.tok(words).env("TOK_SNOWFLAKE_PRIVATE_KEY", text).run().silent().line();
        opened(&token).unwrap();
    }
}

#[test]
fn a_key_pair_that_cannot_sign_is_told() {
    needs!("openssl");
    let sandbox = Sandbox::with_file_store();
    let file = sandbox.file_arg("key", key());
    let encrypted = openssl(&["pkcs8", "-topk8", "-passout", "pass:x"], key().as_bytes());
    let encrypted = sandbox.file_arg("encrypted", encrypted);
    let public = sandbox.file_arg("public", openssl(&["pkey", "-pubout"], key().as_bytes()));
    let login = |account: &str, file: &str| {
        let words = ["login", "snowflake", "--user", "tok", "--account", account, "--private-key-file", file];
        sandbox.tok(words).run()
    };
    login("a", &encrypted).fails(2).says("is an encrypted key");
    login("a", &public).fails(2).says("is a public key");
    login("my_account", &file).fails(2).says("--account").hints_at("--base-url");
    assert_nothing_kept(&sandbox);
    // With its address whole an account may be called anything.
    let words = "get snowflake --user tok --account my_account --base-url https://my-account.snowflakecomputing.com";
    let (_, said) =
        opened(&sandbox.tok(words.split(' ')).env("TOK_SNOWFLAKE_PRIVATE_KEY_FILE", &file).run().line()).unwrap();
    assert_eq!(said["sub"], "MY_ACCOUNT.TOK");
}

#[test]
fn a_jwt_from_elsewhere_is_the_token_until_it_ends() {
    needs!("openssl");
    let sandbox = Sandbox::with_file_store();
    let jwt = |exp: i64| {
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{CANARY}", part(r#"{"alg":"RS256"}"#.into()), part(json!({"exp": exp}).to_string()))
    };
    let get = |jwt: &str| {
        let words = "get snowflake --json --account a --user b".split(' ');
        sandbox.tok(words).env("TOK_SNOWFLAKE_ASSERTION", jwt).run()
    };
    let soon = now() + 600;
    assert_eq!(get(&jwt(soon)).json()["expires_at_unix"], soon);
    get(&jwt(now() - 1)).fails(2).says("TOK_SNOWFLAKE_ASSERTION").says("has expired");
    get(&format!("{CANARY} no jwt")).fails(2).says("is not a JWT");
    let end = now() + 10;
    let file = sandbox.file_arg("jwt", jwt(end));
    sandbox.run(&format!("login snowflake --account c --user b --assertion-file {file}")).ok();
    until("it has expired", || now() > end);
    sandbox
        .run("get snowflake")
        .fails(4)
        .says("the stored assertion")
        .says("has expired")
        .hints_at("tok login snowflake");
}

fn salesforce() -> Server {
    Server::new(|request| {
        let refuse = |code: &str, why: &str| Reply::json(400, json!({"error": code, "error_description": why}));
        if request.path() != "/services/oauth2/token" {
            return Reply::html(404);
        }
        let base = format!("http://{}", request.header("host").unwrap());
        let said = match assertion(&request.body) {
            Ok((_, said)) => said,
            Err(_) => return refuse("invalid_grant", "invalid assertion"),
        };
        if let Err(why) = claims(&said, &["iss", "sub", "aud"], 30, 150) {
            return refuse("invalid_grant", &why);
        }
        if said["aud"] != base && said["aud"] != "https://login.salesforce.com" {
            return refuse("invalid_grant", "audience is invalid");
        }
        if said["iss"] != "3MVG9" {
            return refuse("invalid_client_id", "client identifier invalid");
        }
        if said["sub"] != "me@example.com" {
            return refuse("invalid_grant", "user hasn't approved this consumer");
        }
        Reply::json(
            200,
            json!({
                "access_token": format!("00Dxx0000001gPL!{CANARY}"),
                "scope": "api id",
                "instance_url": "https://acme.my.salesforce.com",
                "id": "https://login.salesforce.com/id/00Dxx/005xx",
                "token_type": "Bearer",
            }),
        )
    })
}

#[test]
fn a_user_is_acted_for_by_a_jwt() {
    needs!("openssl");
    let server = salesforce();
    let sandbox = Sandbox::with_file_store();
    let file = sandbox.file_arg("server.key", key());
    let base = server.url();
    let login = |user: &str, client: &str| {
        let words = ["login", "salesforce", "--username", user, "--client-id", client, "--base-url", &base];
        sandbox.tok(words).args(["--private-key-file", &file]).run()
    };
    login("you@example.com", "3MVG9").fails(5).says("invalid_grant: user hasn't approved this consumer").hints();
    login("me@example.com", "3MVG8").fails(5).says("invalid_client_id: client identifier invalid");
    assert_nothing_kept(&sandbox);
    login("me@example.com", "3MVG9").prints("").silent();
    let got = sandbox.run("get salesforce --json").json();
    assert_eq!(got["access_token"], format!("00Dxx0000001gPL!{CANARY}"));
    assert_eq!(got["extra"]["instance_url"], "https://acme.my.salesforce.com");
    let left = got["expires_in"].as_i64().unwrap();
    assert!((880..=900).contains(&left), "{left}");
    std::fs::remove_file(&file).unwrap();
    let count = server.count();
    sandbox.run("get salesforce").line();
    assert_eq!(server.count(), count, "it waits, though the reply names no end");
    sandbox.run("get salesforce --fresh").silent().line();
    sandbox.run("get salesforce --audience https://login.salesforce.com").silent().line();
    let (_, said) = opened(&server.last().field("assertion")).unwrap();
    assert_eq!(said["aud"], "https://login.salesforce.com");
    sandbox.run("get salesforce --audience https://elsewhere.example").fails(5).says("audience is invalid");
}

#[test]
fn a_key_on_a_terminal_is_asked_for_by_its_file() {
    needs!("openssl");
    let server = salesforce();
    let sandbox = Sandbox::with_file_store();
    let file = sandbox.file_arg("server.key", key());
    let words = format!("login salesforce --client-id 3MVG9 --base-url {}", server.url());
    let mut terminal = sandbox.tok(words.split(' ')).on_terminal();
    terminal.expect("User name");
    terminal.type_line("me@example.com");
    terminal.expect("the file that holds it");
    terminal.type_line(&file);
    terminal.expect("logged in to Salesforce");
    assert_eq!(terminal.end().1, 0);
    sandbox.run("get salesforce --fresh").silent().line();
}
