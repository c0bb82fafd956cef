//! The identity of a CI job: `tok get deploy --ci` with a config of five lines and no secret, in the environment of each
//! runner, with its endpoint, variable, file or program as documented; and `--mask`.

use crate::skip::{needs, skip};
use crate::support::issuer::base64url;
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Sandbox, Tok, chmod};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Whom the identity token is for.
const AUDIENCE: &str = "https://sts.example.com/?a b";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A JWT with these claims; nobody here looks at its signature.
fn token(claims: Value) -> String {
    let part = |value: Value| base64url(value.to_string().as_bytes());
    format!("{}.{}.{CANARY}", part(json!({"alg": "RS256", "typ": "JWT"})), part(claims))
}

/// An identity token for [`AUDIENCE`].
fn identity() -> String {
    token(json!({"iss": "https://ci.example", "sub": "repo:a/b", "aud": AUDIENCE, "exp": 4_000_000_000_i64}))
}

fn issued() -> String {
    format!("access-{CANARY}")
}

/// A token endpoint, and beside it the runner's endpoint.
fn server(runner: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Server {
    Server::new(move |request| match request.path() {
        "/token" => Reply::token(&issued(), 600),
        _ => runner(request),
    })
}

/// A runner without an endpoint.
fn lone() -> Server {
    server(|_| Reply::html(500))
}

/// The five lines. `audience` stands beside `auto`.
fn deploy(server: &Server, runner: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let config = format!(
        "[profile.deploy]\nprovider = \"oauth2\"\ngrant = \"token-exchange\"\ntoken_url = \"{}/token\"\n\
         subject_token = {{ ci = \"{runner}\", audience = \"{AUDIENCE}\" }}\n",
        server.url()
    );
    assert_eq!(config.lines().count(), 5);
    sandbox.config(&config);
    sandbox
}

fn get(sandbox: &Sandbox) -> Tok {
    sandbox.tok(["get", "deploy", "--ci"])
}

/// The exchange that was asked for has `identity`, and nothing of it or of the token was left behind.
#[track_caller]
fn exchanged(server: &Server, sandbox: &Sandbox, identity: &str) {
    let request = server.last();
    assert_eq!(request.path(), "/token");
    assert_eq!(request.field("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(request.field("subject_token"), identity);
    assert_eq!(request.field("subject_token_type"), JWT);
    assert_eq!(sandbox.files_with(CANARY), Vec::<PathBuf>::new());
}

/// A program of the runner, first on PATH: it writes down its arguments, a line each, and its stdin, and then does `then`.
fn program(sandbox: &mut Sandbox, name: &str, then: &str) -> (PathBuf, PathBuf) {
    let (said, read) = (sandbox.file("arguments", ""), sandbox.file("stdin", ""));
    let script = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >'{}'\ncat >'{}'\n{then}\n", said.display(), read.display());
    let path = sandbox.file(&format!("bin/{name}"), script);
    chmod(&path, 0o755);
    let folder = path.parent().unwrap().display().to_string();
    sandbox.set("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()));
    (said, read)
}

fn github(server: &Server, sandbox: &mut Sandbox) {
    sandbox.set("GITHUB_ACTIONS", "true");
    sandbox.set("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/idtoken/1?api-version=2.0", server.url()));
    sandbox.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", format!("runtime-{CANARY}"));
}

fn hand_out() -> Server {
    server(|request| match request.path() {
        "/idtoken/1" => Reply::json(200, json!({"count": 1, "value": identity()})),
        _ => Reply::html(404),
    })
}

#[test]
fn github_is_asked_with_the_jobs_own_credential() {
    let server = hand_out();
    for runner in ["auto", "github"] {
        let mut sandbox = deploy(&server, runner);
        github(&server, &mut sandbox);
        get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
        get(&sandbox).args(["-vv"]).run().prints(&format!("{}\n", issued())).says("GitHub Actions");
        let asked = server.requests().into_iter().rev().nth(1).unwrap();
        assert_eq!((asked.method.as_str(), asked.path()), ("GET", "/idtoken/1"));
        assert_eq!(asked.query(), [("api-version".into(), "2.0".into()), ("audience".into(), AUDIENCE.to_string())]);
        assert!(asked.target.ends_with("audience=https%3A%2F%2Fsts.example.com%2F%3Fa%20b"), "{}", asked.target);
        assert_eq!(asked.header("authorization"), Some(format!("bearer runtime-{CANARY}").as_str()));
        exchanged(&server, &sandbox, &identity());
    }
}

#[test]
fn azure_pipelines_is_asked_for_the_service_connection() {
    let server = server(|request| match request.path() {
        "/oidctoken" => Reply::json(200, json!({"oidcToken": identity()})),
        _ => Reply::html(404),
    });
    for (connection, by_task) in [(None, None), (None, Some("c-1")), (Some("c-2"), Some("c-1"))] {
        let mut sandbox = deploy(&server, "auto");
        if let Some(connection) = connection {
            let text = fs::read_to_string(sandbox.config_file()).unwrap();
            sandbox.config(&text.replace(" }", &format!(", service_connection = \"{connection}\" }}")));
        }
        sandbox.set("SYSTEM_OIDCREQUESTURI", format!("{}/oidctoken", server.url()));
        sandbox.set("TF_BUILD", "True");
        get(&sandbox).run().fails(4).says("SYSTEM_ACCESSTOKEN").hints_at("SYSTEM_ACCESSTOKEN: $(System.AccessToken)");
        sandbox.set("SYSTEM_ACCESSTOKEN", format!("job-{CANARY}"));
        if let Some(id) = by_task {
            sandbox.set("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", id);
        }
        get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
        let asked = server.requests().into_iter().rev().nth(1).unwrap();
        assert_eq!((asked.method.as_str(), asked.path()), ("POST", "/oidctoken"));
        let mut query = vec![("api-version".to_string(), "7.1".to_string())];
        query.extend(connection.or(by_task).map(|id| ("serviceConnectionId".into(), id.into())));
        assert_eq!(asked.query(), query);
        assert_eq!(asked.header("authorization"), Some(format!("Bearer job-{CANARY}").as_str()));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        assert_eq!(asked.header("x-tfs-fedauthredirect"), Some("Suppress"));
        exchanged(&server, &sandbox, &identity());
    }
}

#[test]
fn the_google_metadata_server_gives_a_token_for_an_audience() {
    let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
    let server = server(move |request| match request.path() == path {
        true => Reply::new(200, "text/html", identity()).header("Metadata-Flavor", "Google"),
        false => Reply::html(404),
    });
    for runner in ["auto", "gce"] {
        let mut sandbox = deploy(&server, runner);
        sandbox.set("GCE_METADATA_HOST", format!("127.0.0.1:{}", server.port()));
        get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
        let asked = server.requests().into_iter().rev().nth(1).unwrap();
        assert_eq!((asked.method.as_str(), asked.path()), ("GET", path));
        assert_eq!(asked.query(), [("audience".into(), AUDIENCE.to_string()), ("format".into(), "full".to_string())]);
        assert_eq!(asked.header("metadata-flavor"), Some("Google"));
        exchanged(&server, &sandbox, &identity());
    }
    // Nothing else than this machine and this link is asked over http.
    let mut sandbox = deploy(&server, "gce");
    let before = server.count();
    for place in
        ["metadata.example.com", "10.0.0.1", "127.0.0.1.example.com", "169.254.169.254.example.com:80", "[::2]"]
    {
        sandbox.set("GCE_METADATA_HOST", place);
        get(&sandbox).run().fails(2).says("GCE_METADATA_HOST").soon();
    }
    assert_eq!(server.count(), before);
}

#[test]
fn a_managed_identity_of_azure_gives_a_token_for_a_resource() {
    let server = server(|request| match request.path() {
        "/metadata/identity/oauth2/token" | "/msi/token" => {
            Reply::json(200, json!({"access_token": identity(), "expires_in": "86399", "expires_on": "4000000000"}))
        }
        _ => Reply::html(404),
    });
    let query = |version: &str| {
        vec![("api-version".to_string(), version.to_string()), ("resource".to_string(), AUDIENCE.to_string())]
    };
    for runner in ["auto", "azure-vm"] {
        let mut sandbox = deploy(&server, runner);
        sandbox.set("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url());
        get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
        let asked = server.requests().into_iter().rev().nth(1).unwrap();
        assert_eq!((asked.method.as_str(), asked.path()), ("GET", "/metadata/identity/oauth2/token"));
        assert_eq!((asked.query(), asked.header("metadata")), (query("2018-02-01"), Some("true")));
        exchanged(&server, &sandbox, &identity());

        sandbox.unset("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        sandbox.set("IDENTITY_ENDPOINT", format!("{}/msi/token", server.url()));
        sandbox.set("IDENTITY_HEADER", format!("header-{CANARY}"));
        sandbox.set("AZURE_CLIENT_ID", "user-assigned");
        get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
        let asked = server.requests().into_iter().rev().nth(1).unwrap();
        let with_client = [query("2019-08-01"), vec![("client_id".into(), "user-assigned".into())]].concat();
        assert_eq!((asked.path(), asked.query()), ("/msi/token", with_client));
        assert_eq!(asked.header("x-identity-header"), Some(format!("header-{CANARY}").as_str()));
    }
    let mut sandbox = deploy(&server, "azure-vm");
    for place in
        ["http://10.0.0.1", "http://169.254.169.254.example.com", "http://169.254.169.254@example.com", "ftp://x"]
    {
        sandbox.set("AZURE_POD_IDENTITY_AUTHORITY_HOST", place);
        get(&sandbox).run().fails(2).says("AZURE_POD_IDENTITY_AUTHORITY_HOST").soon();
    }
    // What Azure Arc sets.
    let before = server.count();
    for runner in ["auto", "azure-vm"] {
        let mut sandbox = deploy(&server, runner);
        sandbox.set("IDENTITY_ENDPOINT", format!("{}/metadata/identity/oauth2/token", server.url()));
        sandbox.set("IMDS_ENDPOINT", server.url());
        let out = get(&sandbox).run().fails(3).says("Azure Arc");
        let command = format!("{{ command = [\"az\",\"account\",\"get-access-token\",\"--resource\",\"{AUDIENCE}\"");
        out.hints_at(&command);
    }
    assert_eq!(server.count(), before);
}

#[test]
fn gitlab_hands_over_the_token_of_id_tokens() {
    let server = lone();
    let mut sandbox = deploy(&server, "auto");
    sandbox.set("GITLAB_CI", "true");
    sandbox.set("CI_SERVER_URL", "https://ci.example");
    // Not one for this: another audience, another issuer, and GitLab's own.
    let other = |claims: Value| token(claims);
    sandbox.set("OTHER_ID_TOKEN", other(json!({"iss": "https://ci.example", "aud": "other"})));
    sandbox.set("FOREIGN", other(json!({"iss": "https://elsewhere.example", "aud": AUDIENCE})));
    sandbox.set("CI_JOB_JWT", other(json!({"iss": "https://ci.example", "aud": AUDIENCE})));
    let by_audience = "HTTPS___STS_EXAMPLE_COM__A_B_ID_TOKEN";
    get(&sandbox).run().fails(4).says(by_audience).hints_at("id_tokens: {");
    // By any name.
    sandbox.set("DEPLOY_TOKEN", identity());
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    exchanged(&server, &sandbox, &identity());
    // By the name that goes with the audience, first.
    let own = token(json!({"iss": "https://ci.example", "aud": AUDIENCE, "jti": "own"}));
    sandbox.set(by_audience, &own);
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    exchanged(&server, &sandbox, &own);
    sandbox.unset(by_audience);
    sandbox.set("SECOND", &own);
    get(&sandbox).run().fails(3).says("DEPLOY_TOKEN, SECOND").hints_at("{ env = \"DEPLOY_TOKEN\" }");
}

#[test]
fn circleci_hands_over_a_token_and_its_program_makes_one_for_an_audience() {
    let server = lone();
    let mut sandbox = deploy(&server, "auto");
    sandbox.set("CIRCLECI", "true");
    let (said, _) = program(&mut sandbox, "circleci", &format!("echo {}", identity()));
    sandbox.set("CIRCLE_OIDC_TOKEN_V2", token(json!({"aud": "org-1"})));
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    exchanged(&server, &sandbox, &identity());
    let claims = json!({"aud": AUDIENCE}).to_string();
    assert_eq!(fs::read_to_string(&said).unwrap(), format!("run\noidc\nget\n--claims\n{claims}\n"));
    // Without an audience it is the one for the organization, and no program runs.
    fs::remove_file(&said).unwrap();
    let text = fs::read_to_string(sandbox.config_file()).unwrap();
    sandbox.config(&text.replace(&format!(", audience = \"{AUDIENCE}\""), ""));
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    exchanged(&server, &sandbox, &token(json!({"aud": "org-1"})));
    assert!(!said.exists());
    sandbox.unset("CIRCLE_OIDC_TOKEN_V2");
    get(&sandbox).run().fails(4).says("CIRCLE_OIDC_TOKEN_V2 is not set").hints_at("context: NAME");
}

#[test]
fn buildkite_s_agent_is_asked() {
    let server = lone();
    let mut sandbox = deploy(&server, "auto");
    sandbox.set("BUILDKITE", "true");
    get(&sandbox).run().fails(3).says("config.toml:5:1").says("buildkite-agent: program not found");
    let (said, _) = program(&mut sandbox, "buildkite-agent", &format!("echo {}", identity()));
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    exchanged(&server, &sandbox, &identity());
    assert_eq!(fs::read_to_string(said).unwrap(), format!("oidc\nrequest-token\n--audience\n{AUDIENCE}\n"));
    program(&mut sandbox, "buildkite-agent", "echo no such job >&2; exit 1");
    get(&sandbox).run().fails(3).says("no such job").says("it failed");
}

#[test]
fn bitbucket_hands_over_a_token_to_a_step_that_asks() {
    let server = lone();
    let mut sandbox = deploy(&server, "auto");
    sandbox.set("BITBUCKET_BUILD_NUMBER", "7");
    get(&sandbox).run().fails(4).says("BITBUCKET_STEP_OIDC_TOKEN is not set").hints_at("oidc: true");
    // Its audience is a list even of one.
    let own = token(json!({"aud": [AUDIENCE]}));
    sandbox.set("BITBUCKET_STEP_OIDC_TOKEN", &own);
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    exchanged(&server, &sandbox, &own);
    sandbox.set("BITBUCKET_STEP_OIDC_TOKEN", token(json!({"aud": ["ari:cloud:bitbucket::workspace/1"]})));
    get(&sandbox).run().fails(3).says("config.toml:5:1").says("ari:cloud:bitbucket::workspace/1").hints();
    sandbox.set("BITBUCKET_STEP_OIDC_TOKEN", "");
    get(&sandbox).run().fails(4);
}

#[test]
fn a_projected_token_is_read_each_time() {
    let server = lone();
    for (runner, name) in [
        ("auto", "AZURE_FEDERATED_TOKEN_FILE"),
        ("kubernetes", "AZURE_FEDERATED_TOKEN_FILE"),
        ("auto", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("kubernetes", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    ] {
        let mut sandbox = deploy(&server, runner);
        sandbox.set(name, sandbox.file("token", format!("{}\n", identity())));
        get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
        exchanged(&server, &sandbox, &identity());
        let next = token(json!({"aud": [AUDIENCE], "jti": "2"}));
        sandbox.file("token", &next);
        get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
        exchanged(&server, &sandbox, &next);
        let before = server.count();
        sandbox.file("token", "");
        get(&sandbox).run().fails(3).says(name).says("it is empty");
        sandbox.file("token", "two words");
        get(&sandbox).run().fails(8).says("not a token");
        sandbox.file("token", token(json!({"aud": "https://kubernetes.default.svc"})));
        get(&sandbox).run().fails(3).says("https://kubernetes.default.svc").hints_at("file = ");
        sandbox.set(name, "/nonexistent/token");
        get(&sandbox).run().fails(3).says(name).says("no such file");
        assert_eq!(server.count(), before, "nothing was sent");
    }
}

#[test]
fn a_role_of_aws_gives_a_token_for_an_audience() {
    let server = lone();
    for (name, value) in [
        ("CODEBUILD_BUILD_ARN", "arn:aws:codebuild:x"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
    ] {
        let mut sandbox = deploy(&server, "auto");
        sandbox.set(name, value);
        let (said, _) = program(&mut sandbox, "aws", &format!("echo {}", identity()));
        get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
        exchanged(&server, &sandbox, &identity());
        let words =
            "sts get-web-identity-token --audience \0 --signing-algorithm RS256 --query WebIdentityToken --output text";
        let words = words.replace(' ', "\n").replace('\0', AUDIENCE);
        assert_eq!(fs::read_to_string(said).unwrap(), format!("{words}\n"));
    }
}

#[test]
fn variables_of_ci_alone_change_nothing() {
    let server = hand_out();
    let mut sandbox = Sandbox::new();
    let config = |line: &str| {
        format!(
            "[profile.deploy]\nprovider = \"oauth2\"\ngrant = \"token-exchange\"\ntoken_url = \"{}/token\"\n{line}\n",
            server.url()
        )
    };
    github(&server, &mut sandbox);
    sandbox.config(&config("store = \"none\""));
    // Neither is the identity asked for, nor anything left out that is kept.
    sandbox.run("get deploy").fails(4).says("subject_token").says("neither given nor stored");
    assert_eq!(server.count(), 0);
    sandbox.set("TOK_DEPLOY_SUBJECT_TOKEN", format!("own-{CANARY}"));
    sandbox.run("get deploy").silent().prints(&format!("{}\n", issued()));
    assert_eq!(server.last().field("subject_token"), format!("own-{CANARY}"));
    assert_eq!(server.last().field("subject_token_type"), "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!((server.count(), sandbox.files_with(&issued()).len()), (1, 1), "cached as ever");
    // What is given is not replaced by `--ci` either.
    sandbox.run("get deploy --ci").silent().prints(&format!("{}\n", issued()));
    assert_eq!((server.count(), server.last().field("subject_token")), (2, format!("own-{CANARY}")));
}

/// `--ci` sets the value that the grant takes an identity in.
#[test]
fn ci_sets_the_identity_value_of_the_grant() {
    let server = hand_out();
    let mut sandbox = Sandbox::new();
    github(&server, &mut sandbox);
    let config = |grant: &str, more: &str| {
        sandbox.config(&format!(
            "[profile.deploy]\nprovider = \"oauth2\"\ngrant = \"{grant}\"\ntoken_url = \"{}/token\"\n{more}\n",
            server.url()
        ))
    };
    let audience = || {
        let asked = server.requests().into_iter().rev().find(|request| request.path() == "/idtoken/1").unwrap();
        asked.query().into_iter().find(|(name, _)| name == "audience").map(|(_, value)| value)
    };
    config("token-exchange", "client_id = \"c\"");
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    exchanged(&server, &sandbox, &identity());
    // RFC 7523 §3: for the authorization server, if for nobody else.
    assert_eq!(audience(), Some(format!("{}/token", server.url())));
    config("client-credentials", "client_id = \"c\"");
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    let request = server.last();
    assert_eq!(request.field("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!((request.field("client_assertion"), request.field("client_id")), (identity(), "c".into()));
    assert!(request.header("authorization").is_none() && !request.has_field("subject_token"));
    config("jwt-bearer", "");
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    let request = server.last();
    assert_eq!(request.field("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(request.field("assertion"), identity());
    // A client that has a secret proves itself with that.
    config("client-credentials", "client_id = \"c\"");
    let before = server.count();
    let secret = format!("secret-{CANARY}");
    get(&sandbox).env("TOK_DEPLOY_CLIENT_SECRET", &secret).run().silent().prints(&format!("{}\n", issued()));
    assert_eq!(server.count(), before + 1);
    assert!(!server.last().has_field("client_assertion"));
    // The type that the config names is the one that is sent.
    config("token-exchange", "subject_token_type = \"urn:ietf:params:oauth:token-type:id_token\"");
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    assert_eq!(server.last().field("subject_token_type"), "urn:ietf:params:oauth:token-type:id_token");
}

#[test]
fn ci_never_means_a_grant_that_needs_a_person() {
    let server = hand_out();
    let mut sandbox = Sandbox::new();
    github(&server, &mut sandbox);
    let base = format!("[profile.deploy]\nprovider = \"oauth2\"\ntoken_url = \"{}/token\"\n", server.url());
    // The identity that the config names decides on the grant.
    sandbox.config(&format!("{base}subject_token = {{ ci = \"github\" }}\n"));
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    exchanged(&server, &sandbox, &identity());
    sandbox.config(&format!("{base}client_id = \"c\"\nclient_assertion = {{ ci = \"github\" }}\n"));
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    assert_eq!(server.last().field("grant_type"), "client_credentials");
    // Else the hint names one, and works.
    sandbox.config(&base);
    let count = server.count();
    let hint = "tok get deploy --ci --grant token-exchange";
    get(&sandbox).run().fails(4).says("needs a person").hints_at(hint);
    assert_eq!(server.count(), count);
    sandbox.run(hint.strip_prefix("tok ").unwrap()).silent().prints(&format!("{}\n", issued()));
    exchanged(&server, &sandbox, &identity());
}

/// A provider file marks the value itself.
#[test]
fn a_provider_of_ones_own_takes_an_identity_too() {
    let server = hand_out();
    let mut sandbox = Sandbox::new();
    github(&server, &mut sandbox);
    sandbox.provider(
        "deploy",
        &format!(
            "title = \"Vault\"\n[params.base_url]\ndefault = \"{}\"\n[params.role]\n[params.kind]\ndefault = \"own\"\n\
             [params.jwt]\nsecret = true\nidentity = {{ kind = \"ci\" }}\n\
             [grants.jwt]\nurl = \"{{base_url}}/token\"\nencode = \"json\"\nbody = {{ role = \"{{role}}\", jwt = \"{{jwt}}\", kind = \"{{kind}}\" }}\n",
            server.url()
        ),
    );
    sandbox.tok(["get", "deploy", "--ci", "--role", "r"]).run().silent().prints(&format!("{}\n", issued()));
    let body: Value = serde_json::from_slice(&server.last().body).unwrap();
    assert_eq!(body, json!({"role": "r", "jwt": identity(), "kind": "ci"}));
    let own = format!("own-{CANARY}");
    sandbox.tok(["get", "deploy", "--role", "r", "--no-store"]).env("TOK_DEPLOY_JWT", &own).run().ok();
    let body: Value = serde_json::from_slice(&server.last().body).unwrap();
    assert_eq!(body, json!({"role": "r", "jwt": own, "kind": "own"}));
    for (wrong, why) in [
        ("identity = true", "requires `secret = true`"),
        ("secret = true\nidentity = \"yes\"", "expected a table"),
        ("secret = true\nidentity = { nothing = \"x\" }", "`nothing` cannot have a default"),
        ("secret = true\nidentity = { jwt = \"x\" }", "`jwt` cannot have a default"),
    ] {
        sandbox.provider(
            "deploy",
            &format!(
                "title = \"V\"\n[params.jwt]\n{wrong}\n[grants.jwt]\nurl = \"https://a.example\"\nbody = {{ jwt = \"{{jwt}}\" }}\n"
            ),
        );
        sandbox.run("get deploy --ci").fails(3).says("deploy.toml:").says(why);
    }
}

/// A job on the same machine does not get what another has got.
#[test]
fn what_is_cached_for_one_job_is_not_for_the_next() {
    let server = hand_out();
    let mut sandbox = deploy(&server, "github");
    github(&server, &mut sandbox);
    sandbox.set("TOK_STORE", "none");
    let count = || server.requests().iter().filter(|request| request.path() == "/token").count();
    for _ in 0..2 {
        sandbox.run("get deploy").silent().prints(&format!("{}\n", issued()));
        assert_eq!(count(), 1);
    }
    sandbox.set("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/idtoken/1?api-version=2.0&job=2", server.url()));
    sandbox.run("get deploy").silent().prints(&format!("{}\n", issued()));
    assert_eq!(count(), 2);
    // With --ci nothing is read, either.
    get(&sandbox).run().silent().prints(&format!("{}\n", issued()));
    assert_eq!(count(), 3);
    sandbox.run("show deploy").ok().never_says("warning");
}

#[test]
fn an_endpoint_that_fails_ends_with_the_status_of_what_it_says() {
    let cases: [(Reply, i32, &str); 12] = [
        (Reply::html(200), 8, "HTML"),
        (Reply::html(500), 6, "server error (status 500)"),
        (Reply::json(503, json!({})), 6, "status 503"),
        (Reply::json(429, json!({})), 6, "too many requests"),
        (Reply::json(403, json!({"message": "no permission"})), 5, "no permission"),
        (Reply::html(404), 5, "status 404"),
        (Reply::json(200, json!({"token": identity()})), 8, "no /value; the reply has /token"),
        (Reply::json(200, json!({"value": 7})), 8, "/value"),
        (Reply::json(200, json!({"value": "a b"})), 8, "not a token"),
        (Reply::json(200, json!({"value": ""})), 8, "no /value"),
        (Reply::text(200, ""), 8, "empty"),
        (Reply::html(302).header("Location", "https://login.example/?code=1"), 8, "redirects to https://login.example"),
    ];
    for (reply, status, why) in cases {
        let server = server(move |_| reply.clone());
        let mut sandbox = deploy(&server, "github");
        github(&server, &mut sandbox);
        get(&sandbox)
            .args(["--timeout", "2s"])
            .run()
            .fails(status)
            .says("deploy: no identity token")
            .says("GitHub Actions")
            .says(why);
        assert!(server.requests().iter().all(|request| request.path() != "/token"), "no exchange without an identity");
    }
    let sandbox = {
        let server = lone();
        let mut sandbox = deploy(&server, "github");
        github(&server, &mut sandbox);
        sandbox.set("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:1/?a=b");
        sandbox
    };
    get(&sandbox).args(["--timeout", "2s"]).run().fails(6).says("connection refused");
    for (url, why) in [("http://token.actions.example/?a=b", "http"), ("nonsense", "not an https URL")] {
        get(&sandbox)
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", url)
            .run()
            .fails(2)
            .says("ACTIONS_ID_TOKEN_REQUEST_URL")
            .says(why);
    }
    // The metadata server's reply is the token itself, and may be a page.
    for (reply, status, why) in [
        (Reply::html(200), 8, "HTML"),
        (Reply::text(200, ""), 8, "empty"),
        (Reply::html(404), 5, "status 404"),
        (Reply::html(503), 6, "status 503"),
    ] {
        let server = server(move |_| reply.clone());
        let mut sandbox = deploy(&server, "gce");
        sandbox.set("GCE_METADATA_HOST", format!("127.0.0.1:{}", server.port()));
        get(&sandbox).args(["--timeout", "2s"]).run().fails(status).says("metadata server").says(why);
    }
}

#[test]
fn a_job_without_the_permission_hears_which() {
    let server = hand_out();
    let mut sandbox = deploy(&server, "auto");
    sandbox.set("GITHUB_ACTIONS", "true");
    let permission = "permissions: { id-token: write }";
    get(&sandbox).run().fails(4).says("ACTIONS_ID_TOKEN_REQUEST_URL is not set").hints_at(permission);
    github(&server, &mut sandbox);
    sandbox.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "");
    get(&sandbox).run().fails(4).says("ACTIONS_ID_TOKEN_REQUEST_TOKEN is not set").hints_at(permission);
    assert_eq!(server.count(), 0);
    // And where there is no job at all, how to give one.
    let sandbox = deploy(&server, "auto");
    let out = get(&sandbox).run().fails(4).says("no identity token").hints_at("TOK_DEPLOY_SUBJECT_TOKEN_FILE=");
    let path = sandbox.file_arg("identity", identity());
    let hint = out.stderr.rsplit_once(": ").unwrap().1.trim().replace("PATH", &path);
    let (name, value) = hint.split_once('=').unwrap();
    get(&sandbox).env(name, value).run().silent().prints(&format!("{}\n", issued()));
}

#[test]
fn mistakes_in_the_config_have_their_place() {
    let server = hand_out();
    let mut sandbox = Sandbox::new();
    github(&server, &mut sandbox);
    for (value, why) in [
        ("{ ci = \"githup\" }", "did you mean `github`?"),
        ("{ ci = true }", "expected a string"),
        ("{ ci = \"auto\", audience = \"\" }", "it is empty"),
        ("{ ci = \"auto\", audience = \"a\\nb\" }", "control character"),
        ("{ ci = \"auto\", audience = \"-x\" }", "must not begin with `-`"),
        ("{ ci = \"auto\", audience = [\"a\"] }", "expected a string"),
        ("{ ci = \"auto\", audienc = \"a\" }", "did you mean `audience`?"),
        ("{ ci = \"auto\", env = \"X\" }", "unknown key `env`; expected one of: ci, audience, service_connection"),
        ("{ audience = \"a\" }", "unknown key `audience`"),
    ] {
        sandbox.config(&format!("[profile.deploy]\nprovider = \"oauth2\"\nsubject_token = {value}\n"));
        get(&sandbox).run().fails(3).says("config.toml:3:").says(why);
    }
    sandbox.config("[profile.deploy]\nprovider = \"oauth2\"\nclient_id = { ci = \"auto\" }\n");
    get(&sandbox).run().fails(3).says("config.toml:3:").says("`client_id` is not a secret");
    // A runner that has no audience of its own needs one that it can know.
    sandbox.config(&format!(
        "[profile.deploy]\nprovider = \"oauth2\"\ngrant = \"token-exchange\"\ntoken_url = \"{}/token\"\nsubject_token = {{ ci = \"azure-vm\" }}\n",
        server.url()
    ));
    get(&sandbox).run().fails(3).says("config.toml:5:").says("needs an audience").hints_at("audience = ");
    assert_eq!(server.count(), 0);
}

/// The metadata services of both clouds and the token endpoint, in a network of their own. It says when it listens.
const CLOUD: &str = r#"
import http.server, json, os, sys, threading, urllib.parse
identity = os.environ["IDENTITY"]
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def do_GET(self):
        path = urllib.parse.urlparse(self.path).path
        if path == "/computeMetadata/v1/instance/service-accounts/default/identity":
            self.answer(*((200, identity) if self.headers["Metadata-Flavor"] == "Google" else (403, "")))
        elif path == "/metadata/identity/oauth2/token":
            self.answer(*((200, json.dumps({"access_token": identity})) if self.headers["Metadata"] == "true" else (400, "")))
        else:
            self.answer(404, "")
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = form["subject_token"] == [identity]
        self.answer(200 if good else 400, json.dumps({"access_token": os.environ["TOKEN"]} if good else {"error": "no"}))
    def log_message(self, *_): pass
for address in [("169.254.169.254", 80), ("127.0.0.1", 8080)]:
    threading.Thread(target=http.server.ThreadingHTTPServer(address, Handler).serve_forever).start()
print("ready", flush=True)
"#;

/// Where nothing says otherwise the metadata services are asked at their link-local address, past any proxy, and a pod's
/// token is read where Kubernetes mounts it: in name spaces that have all of it.
#[cfg(target_os = "linux")]
#[test]
fn the_usual_places_of_clouds_and_pods_are_known() {
    needs!("unshare", "ip", "mount", "python3", "sh");
    let sandbox = Sandbox::new();
    let (server, ready) = (sandbox.file("cloud.py", CLOUD), sandbox.file("no", "").with_file_name("ready"));
    let profile = |runner: &str| {
        format!(
            "[profile.{runner}]\nprovider = \"oauth2\"\ngrant = \"token-exchange\"\ntoken_url = \"http://127.0.0.1:8080/token\"\n\
             subject_token = {{ ci = \"{runner}\", audience = \"{AUDIENCE}\" }}\n"
        )
    };
    sandbox.config(&["gce", "azure-vm", "kubernetes", "auto"].map(profile).concat());
    let script = "ip link set lo up && ip addr add 169.254.169.254/32 dev lo && mount -t tmpfs none /var/run || exit 77
        mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
        printf %s \"$IDENTITY\" >/var/run/secrets/kubernetes.io/serviceaccount/token
        mkfifo \"$READY\"; python3 \"$SERVER\" >\"$READY\" & read -r _ <\"$READY\" || exit 1
        for profile in gce azure-vm kubernetes auto; do \"$0\" get $profile --ci || echo \"$profile: $?\"; done
        kill $!; exit 0";
    let run = sandbox
        .tok([] as [&str; 0])
        .after(&format!("exec unshare -rnm sh -c '{script}' \"$0\""))
        .env("IDENTITY", identity())
        .env("TOKEN", issued())
        .env("SERVER", server)
        .env("READY", ready)
        .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .env("all_proxy", "http://127.0.0.1:1")
        .env("no_proxy", "127.0.0.1");
    let out = run.run();
    if out.code == 77 || out.stderr.starts_with("unshare: ") {
        skip!("no name spaces can be made here");
    }
    out.prints(&format!("{}\n", issued()).repeat(4));
}

/// A token as a runner may have to mask it; without the canary, for it is shown to the runner.
const MASKED: &str = "m%sk.ed-token/+=";

fn masked() -> (Server, Sandbox) {
    let server = Server::always(Reply::token(MASKED, 600));
    let mut sandbox = deploy(&server, "auto");
    sandbox.set("TOK_DEPLOY_SUBJECT_TOKEN", format!("own-{CANARY}"));
    (server, sandbox)
}

#[test]
fn a_mask_is_told_before_the_token_and_only_where_it_is_asked_for() {
    let (server, mut sandbox) = masked();
    sandbox.set("GITHUB_ACTIONS", "true");
    // Read by one reader, in the order in which they are written.
    let both = |line: &str| sandbox.tok(line.split(' ')).after("exec 2>&1").run().ok().stdout;
    let mask = "::add-mask::m%25sk.ed-token/+=\n";
    assert_eq!(both("get deploy --mask"), format!("{mask}{MASKED}\n"));
    assert_eq!(both("header deploy --mask --ci"), format!("{mask}Authorization: Bearer {MASKED}\n"));
    // From the cache as well, and on the short path never without it.
    for _ in 0..3 {
        assert_eq!(both("get deploy"), format!("{MASKED}\n"));
        assert_eq!(both("get deploy --mask"), format!("{mask}{MASKED}\n"));
    }
    // Inside $( ) the variable has the token alone.
    let script = "T=$(\"$0\" get deploy --mask) && [ \"$T\" = 'm%sk.ed-token/+=' ]; exit";
    sandbox.tok([] as [&str; 0]).after(script).run().ok().says("::add-mask::");
    // Where the token cannot be had there is nothing to mask.
    server.next(Reply::json(400, json!({"error": "invalid_request"})));
    sandbox.run("get deploy --mask --ci").fails(5).never_says("::add-mask::");
}

#[test]
fn azure_pipelines_is_told_on_stdout_where_that_is_free() {
    let (server, mut sandbox) = masked();
    sandbox.set("TF_BUILD", "True");
    let file = sandbox.work().join("token");
    let out = sandbox.run("get deploy --mask").fails(2).says("stdout").hints_at("--mask --write FILE");
    assert_eq!(server.count(), 0, "nothing is sent for a token that cannot be masked");
    let hint = out.stderr.rsplit_once("file: ").unwrap().1.trim().replace("FILE", "token");
    sandbox.run(hint.strip_prefix("tok ").unwrap()).silent().prints("##vso[task.setsecret]m%AZP25sk.ed-token/+=\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{MASKED}\n"));
    sandbox.run("header deploy --mask").fails(2).hints();
    sandbox.run("get deploy --mask --write -").fails(2).hints();
}

#[test]
fn buildkite_is_told_by_its_agent() {
    let (_server, mut sandbox) = masked();
    sandbox.set("BUILDKITE", "true");
    sandbox.run("get deploy --mask").fails(1).says("buildkite-agent: program not found").hints();
    let (said, read) = program(&mut sandbox, "buildkite-agent", "");
    sandbox.run("get deploy --mask").silent().prints(&format!("{MASKED}\n"));
    assert_eq!(fs::read_to_string(said).unwrap(), "redactor\nadd\n");
    assert_eq!(fs::read_to_string(read).unwrap(), MASKED, "over stdin, never as an argument");
    program(&mut sandbox, "buildkite-agent", "echo unknown command; exit 1");
    sandbox.run("get deploy --mask --ci").fails(1).says("cannot be masked");
}

#[test]
fn a_runner_that_cannot_mask_is_named_with_what_helps() {
    for (name, title) in [
        ("GITLAB_CI", "GitLab"),
        ("CIRCLECI", "CircleCI"),
        ("BITBUCKET_BUILD_NUMBER", "Bitbucket"),
        ("NONE", "not a job"),
    ] {
        let (server, mut sandbox) = masked();
        sandbox.set(name, "true");
        let out = sandbox.run("get deploy --mask --ci").fails(2).says(title).hints_at("tok get deploy --ci");
        assert_eq!(server.count(), 0);
        let hint = out.stderr.rsplit_once(": tok ").unwrap().1.trim().replace("FILE", "token");
        sandbox.run(&hint).ok();
        assert_eq!(server.count(), 1);
    }
}
