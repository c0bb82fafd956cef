//! The formats of `tok get`, byte by byte as those who read them document them, and with the real readers that are here.

use crate::child::Start;
use crate::skip::{needs, skip};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, figures, now, plain, plain_provider};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::process::Command;

/// Tokens in which characters mean something somewhere.
const ODD: &str = "a'b\"c\\d$(id)`id`%PATH%!x";

fn with(token: &str) -> (Server, Sandbox) {
    let server = Server::always(Reply::token(token, 600));
    let sandbox = plain(&server.url());
    (server, sandbox)
}

/// A JWT, not signed, that ends in `seconds`.
fn jwt(seconds: i64) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": "https://a.example", "sub": "me", "exp": now() + seconds});
    format!("{}.{}.{CANARY}", part(json!({"alg": "RS256"})), part(claims))
}

fn decoded(line: &str) -> String {
    String::from_utf8(STANDARD.decode(line).expect("base64")).expect("text")
}

#[test]
fn curl_reads_its_line() {
    needs!("curl", "sh");
    let api = Server::always(Reply::new(200, "text/plain", ""));
    for (token, provider, header) in [
        ("plain-token".to_string(), "", "authorization"),
        (ODD.to_string(), "", "authorization"),
        (ODD.to_string(), "[use]\nheader = \"X-AccessToken\"\nvalue = \"{access_token}\"\n", "x-accesstoken"),
    ] {
        let (server, sandbox) = with(&token);
        sandbox.provider("plain", &plain_provider(&server.url(), provider));
        let line = sandbox.run("get plain -o curl").silent().line();
        let escaped = token.replace('\\', "\\\\").replace('"', "\\\"");
        let (bearer, expected) = match header {
            "authorization" => ("Bearer ", format!("oauth2-bearer = \"{escaped}\"")),
            _ => ("", format!("header = \"X-AccessToken: {escaped}\"")),
        };
        assert_eq!(line, expected);
        let config = sandbox.file_arg("line", format!("{line}\n"));
        let out = Command::new("curl").args(["-sS", "-K", &config, &api.url()]).finish().expect("curl runs");
        assert!(out.status.success());
        assert_eq!(api.last().header(header), Some(format!("{bearer}{token}").as_str()));
    }
}

#[test]
fn shells_read_the_variable_back() {
    let (_server, sandbox) = with(ODD);
    for (shell, syntax, expected, script) in [
        (
            "sh",
            "posix",
            format!("export ACCESS_TOKEN='{}'\n", ODD.replace('\'', "'\\''")),
            "printf %s \"$ACCESS_TOKEN\"",
        ),
        (
            "fish",
            "fish",
            format!("set -gx ACCESS_TOKEN '{}'\n", ODD.replace('\\', "\\\\").replace('\'', "\\'")),
            "printf %s \"$ACCESS_TOKEN\"",
        ),
        (
            "pwsh",
            "powershell",
            format!("$env:ACCESS_TOKEN = '{}'\n", ODD.replace('\'', "''")),
            "Write-Host $env:ACCESS_TOKEN",
        ),
    ] {
        let line = sandbox.run(&format!("get plain -o env --shell {syntax}")).silent().ok().stdout;
        assert_eq!(line, expected);
        match Command::new(shell).args(["-c", &format!("{line}{script}")]).finish() {
            Ok(out) => assert_eq!(String::from_utf8_lossy(&out.stdout).trim_end(), ODD, "{shell}"),
            Err(_) => crate::skip::skip_part!("{shell} is not installed"),
        }
    }
    // cmd.exe has no way to write a quotation mark there.
    sandbox.run("get plain -o env --shell cmd").fails(1).says("cmd.exe");
    let (_server, sandbox) = with("a%b^c&d'e");
    sandbox.run("get plain -o env --shell cmd").silent().prints("@set \"ACCESS_TOKEN=a%%b^c&d'e\"\r\n");
    sandbox.run("get plain -o env --shell cmd --name X_1").silent().prints("@set \"X_1=a%%b^c&d'e\"\r\n");
    for wrong in ["1X", "A=B", "", "A-B"] {
        sandbox.tok(["get", "plain", "-o", "env", "--name", wrong]).run().fails(2);
    }
    sandbox.run("get plain -n").silent().prints("a%b^c&d'e");
    sandbox.run("get plain -n").silent().prints("a%b^c&d'e");
    sandbox.run("get plain").silent().prints("a%b^c&d'e\n");
}

/// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#input-and-output-formats
#[test]
fn kubernetes_gets_an_exec_credential_of_its_own_version() {
    let (_server, sandbox) = with("kube-token");
    let get = |info: &str| sandbox.tok(["get", "plain", "-o", "kubernetes"]).env("KUBERNETES_EXEC_INFO", info).run();
    let out = sandbox.run("get plain -o kubernetes").silent().ok();
    let until = out.json();
    let until = until["status"]["expirationTimestamp"].as_str().expect("a time").to_string();
    assert!(until.ends_with('Z') && until.len() == 20, "{until}");
    for version in ["v1", "v1beta1"] {
        let version = format!("client.authentication.k8s.io/{version}");
        let info = json!({"kind": "ExecCredential", "apiVersion": version, "spec": {"interactive": false}});
        get(&info.to_string()).silent().prints(&format!(
            "{{\"apiVersion\":\"{version}\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"kube-token\",\"expirationTimestamp\":\"{until}\"}}}}\n"
        ));
    }
    for wrong in ["{}", "no json", "{\"apiVersion\":\"v1\"}", "{\"apiVersion\":7}", "[]"] {
        get(wrong).fails(2).says("KUBERNETES_EXEC_INFO");
    }
}

/// https://developers.google.com/workspace/gmail/imap/xoauth2-protocol and RFC 7628 §4.1
#[test]
fn mail_servers_get_what_sasl_wants() {
    let (_server, sandbox) = with("vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==");
    let token = "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==";
    let line = sandbox.run("get plain -o xoauth2 --user someuser@example.com").silent().line();
    assert_eq!(
        line,
        "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB2RjlkZnQ0cW1UYzJOdmIzUmxja0JoZEhSaGRtbHpkR0V1WTI5dENnPT0BAQ=="
    );
    let line = sandbox.run("get plain -o oauthbearer --user user@example.com --host server.example.com --port 143");
    assert_eq!(
        line.silent().line(),
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    );
    let line = sandbox.run("get plain -o oauthbearer --user a=b,c").silent().line();
    assert_eq!(decoded(&line), format!("n,a=a=3Db=2Cc,\x01auth=Bearer {token}\x01\x01"));
    let line = sandbox.run("get plain -o oauthbearer").silent().line();
    assert_eq!(decoded(&line), format!("n,,\x01auth=Bearer {token}\x01\x01"));
    sandbox.run("get plain -o xoauth2").fails(2).hints_at("--user");
    for wrong in ["a\nb", "a\x01b"] {
        sandbox.tok(["get", "plain", "-o", "xoauth2", "--user", wrong]).run().fails(2);
    }
    for wrong in ["0", "65536", "x", "1 2"] {
        sandbox.tok(["get", "plain", "-o", "oauthbearer", "--port", wrong]).run().fails(2);
    }
    sandbox.tok(["get", "plain", "-o", "oauthbearer", "--host", "a b"]).run().fails(2);
    // Elsewhere the name is that of a value, which this provider does not have.
    let out = sandbox.run("get plain --user me");
    assert_eq!(out.code, 2, "{out}");
}

#[test]
fn the_user_of_a_profile_is_its_username() {
    let server = Server::always(Reply::token("mail-token", 600));
    let sandbox = plain(&server.url());
    let provider =
        plain_provider(&server.url(), "").replace("[params.scope]", "[params.username]\n[params.user]\n[params.scope]");
    let provider = provider.replace(
        "client_secret = \"{client_secret}\"",
        "client_secret = \"{client_secret}\", u = \"{user?}\", n = \"{username?}\"",
    );
    sandbox.provider("plain", &provider);
    sandbox.config("[profile.plain]\nusername = \"me@example.com\"\n");
    let line = sandbox.run("get plain -o xoauth2").silent().line();
    assert_eq!(decoded(&line), "user=me@example.com\x01auth=Bearer mail-token\x01\x01");
    // --user is a value where the format takes none.
    sandbox.run("get plain --fresh --user x").silent().ok();
    assert_eq!(server.last().field("u"), "x");
    sandbox.run("get plain --fresh -o xoauth2 --user x").silent().ok();
    assert_eq!(server.last().field("u"), "");
}

/// https://google.aip.dev/auth/4117
#[test]
fn google_gets_an_identity_token_or_why_not() {
    let token = jwt(600);
    let (server, sandbox) = with(&token);
    const ID: &str = "urn:ietf:params:oauth:token-type:id_token";
    let exp = now() + 600;
    let reply = sandbox.run("get plain -o gcp-executable").silent().json();
    let at = reply["expiration_time"].as_i64().expect("a time");
    assert!((exp - 5..=exp + 5).contains(&at));
    assert_eq!(
        reply,
        json!({"version": 1, "success": true, "token_type": ID, "id_token": token, "expiration_time": at})
    );
    let of = |sort: &str| {
        let name = format!("urn:ietf:params:oauth:token-type:{sort}");
        sandbox.tok(["get", "plain", "-o", "gcp-executable"]).env("GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE", name).run()
    };
    assert_eq!(of("jwt").json()["token_type"], "urn:ietf:params:oauth:token-type:jwt");
    // The libraries read the answer at status 0 alone, and stderr with it.
    let failure = |out: crate::support::Output, code: i32| {
        let reply = out.silent().json();
        assert_eq!(
            (&reply["version"], &reply["success"], &reply["code"]),
            (&json!(1), &json!(false), &json!(code.to_string()))
        );
        reply["message"].as_str().unwrap_or_default().to_string()
    };
    assert!(failure(of("saml2"), 2).contains("only id_token and jwt"));
    server.next(Reply::json(400, json!({"error": "invalid_client", "error_description": "no such client"})));
    assert!(failure(sandbox.run("get plain --fresh -o gcp-executable"), 5).contains("no such client"));
    // An access token that says nothing of anybody is no identity.
    let (_server, sandbox) = with("opaque");
    assert!(failure(sandbox.run("get plain -o gcp-executable"), 4).contains("tok login plain"));
    sandbox.run("get plain -o gcp-executable --write file").fails(4);
    sandbox.config("x = [");
    sandbox.run("get plain -o gcp-executable").fails(3);
}

/// Google's own library, where there is one: that of its SDK will do.
#[test]
fn google_s_library_runs_tok() {
    needs!("python3");
    let library = "/usr/lib/google-cloud-sdk/lib/third_party";
    let (server, sandbox) = with(&jwt(600));
    let page = include_str!("../../docs/recipes.md");
    let file = page.split("\n```json\n").nth(1).and_then(|rest| rest.split("\n```").next()).expect("a block");
    let command = format!("{} get plain -o gcp-executable", env!("CARGO_BIN_EXE_tok"));
    let file = sandbox.file("google.json", file.replace("tok get shop -o gcp-executable", &command));
    let script = "import sys\ntry:\n import google.auth\n from google.auth import pluggable\n\
                  except ImportError:\n sys.exit(77)\n\
                  try:\n print(google.auth.__version__, pluggable.Credentials.from_file(sys.argv[1]).retrieve_subject_token(None))\n\
                  except Exception as error:\n print(type(error).__name__, error)";
    let ask = |sandbox: &Sandbox| {
        let own = sandbox.tok(["x"]).command();
        let mut python = Command::new("python3");
        python.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        python.env("PYTHONPATH", library).env("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1");
        let out = python.args(["-c", script]).arg(&file).finish().expect("python3");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (status, said) = ask(&sandbox);
    if status == Some(77) {
        skip!("google-auth for Python is not installed")
    }
    let (version, token) = said.trim().split_once(' ').expect("a version and a token");
    figures(&format!("google-auth for Python: {version}"));
    assert_eq!(token, sandbox.run("get plain").line());
    server.next(Reply::json(400, json!({"error": "invalid_client", "error_description": "no such client"})));
    sandbox.forget_cache();
    let (_, said) = ask(&sandbox);
    assert!(said.starts_with("RefreshError Executable returned unsuccessful response: code: 5"), "{said}");
    assert!(said.contains("no such client"), "{said}");
}

/// The files of file-sourced credentials (https://google.aip.dev/auth/4117): the token alone, or JSON with a field of it.
#[test]
fn google_reads_a_file_of_tok_s() {
    needs!("python3");
    let (_server, sandbox) = with(&jwt(600));
    let token = sandbox.run("get plain").line();
    sandbox.run("get plain -n --write text").silent();
    sandbox.run("get plain -o json --write json").silent();
    assert_eq!(std::fs::read_to_string(sandbox.work().join("text")).unwrap_or_default(), token);
    let script = "import sys\ntry:\n from google.auth import identity_pool\nexcept ImportError:\n sys.exit(77)\n\
                  for source in [{'file': 'text'}, {'file': 'json', 'format': {'type': 'json', 'subject_token_field_name': 'access_token'}}]:\n \
                  print(identity_pool.Credentials('aud', 'urn:ietf:params:oauth:token-type:jwt', 'https://sts.googleapis.com/v1/token', \
                  credential_source=source).retrieve_subject_token(None))";
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", "/usr/lib/google-cloud-sdk/lib/third_party").current_dir(sandbox.work());
    let out = python.args(["-c", script]).finish().expect("python3");
    if out.status.code() == Some(77) {
        skip!("google-auth for Python is not installed")
    }
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said, format!("{token}\n{token}\n"), "{}", String::from_utf8_lossy(&out.stderr));
}

/// The AWS CLI, where there is one, asks tok for the credentials of a profile.
#[test]
fn the_aws_cli_runs_tok() {
    needs!("aws");
    let (_server, sandbox) = with(&jwt(600));
    const XML: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
        <AccessKeyId>AKIDEXAMPLE</AccessKeyId><SecretAccessKey>secret/+=</SecretAccessKey><SessionToken>session==</SessionToken>\
        <Expiration>2100-01-02T03:04:05Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
        </AssumeRoleWithWebIdentityResponse>";
    const CALLER: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
        <Arn>arn:aws:sts::123456789012:assumed-role/deploy/tok-plain</Arn><UserId>A:tok-plain</UserId><Account>123456789012</Account>\
        </GetCallerIdentityResult></GetCallerIdentityResponse>";
    let sts = Server::new(|request| match request.field("Action").as_str() {
        "AssumeRoleWithWebIdentity" => Reply::new(200, "text/xml", XML),
        _ => Reply::new(200, "text/xml", CALLER),
    });
    let page = include_str!("../../docs/recipes.md");
    let block = page.split("\n```ini\n").find(|part| part.starts_with("[profile deploy]")).expect("a block");
    let block = block.split("\n```").next().unwrap_or_default();
    let line = block.replace("tok get shop", &format!("{} get plain", env!("CARGO_BIN_EXE_tok")));
    let config = sandbox.file("aws-config", line);
    let own = sandbox.tok(["x"]).command();
    let mut aws = Command::new("aws");
    aws.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    aws.env("AWS_CONFIG_FILE", config).env("AWS_ENDPOINT_URL_STS", sts.url()).env("AWS_PAGER", "");
    let out =
        aws.args(["--profile", "deploy", "sts", "get-caller-identity", "--output", "json"]).finish().expect("aws");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("assumed-role/deploy"), "{text}{}", String::from_utf8_lossy(&out.stderr));
    let request = sts.last();
    assert!(request.header("authorization").is_some_and(|text| text.contains("AKIDEXAMPLE")), "{request:?}");
    assert_eq!(request.header("x-amz-security-token"), Some("session=="));
}

/// https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
#[test]
fn aws_gets_credentials_of_a_role() {
    const XML: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
        <AccessKeyId>AKID</AccessKeyId><SecretAccessKey>secret/+=</SecretAccessKey><SessionToken>session==</SessionToken>\
        <Expiration>2030-01-02T03:04:05Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
        </AssumeRoleWithWebIdentityResponse>";
    let token = jwt(600);
    let (_server, mut sandbox) = with(&token);
    let role = "arn:aws:iam::123456789012:role/deploy";
    let line = format!("get plain -o aws --role-arn {role}");
    sandbox.run("get plain -o aws").fails(2).hints_at("--role-arn");
    sandbox.run(&line).fails(2).says("no AWS region");
    let json = json!({"AssumeRoleWithWebIdentityResponse": {"AssumeRoleWithWebIdentityResult": {"Credentials": {
        "AccessKeyId": "AKID", "SecretAccessKey": "secret/+=", "SessionToken": "session==", "Expiration": 1893553445.0}}}});
    let sts = Server::script([Reply::new(200, "text/xml", XML), Reply::json(200, json)]);
    sandbox.set("AWS_ENDPOINT_URL_STS", sts.url());
    for _ in 0..2 {
        sandbox.run(&line).silent().prints(
            "{\"Version\":1,\"AccessKeyId\":\"AKID\",\"SecretAccessKey\":\"secret/+=\",\"SessionToken\":\"session==\",\"Expiration\":\"2030-01-02T03:04:05Z\"}\n",
        );
    }
    let asked = sts.last();
    for (name, value) in [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", "tok-plain"),
        ("WebIdentityToken", &token),
    ] {
        assert_eq!(asked.field(name), value);
    }
    let error = |status: u16, code: &str| {
        let text =
            format!("<ErrorResponse><Error><Code>{code}</Code><Message>why {token}</Message></Error></ErrorResponse>");
        Reply::new(status, "text/xml", text)
    };
    for (reply, code) in [
        (error(403, "AccessDenied"), 5),
        (error(400, "InvalidIdentityToken"), 5),
        (error(400, "IDPCommunicationError"), 6),
        (error(503, "ServiceUnavailable"), 6),
        (Reply::html(200), 8),
        (Reply::text(200, "{}"), 8),
        (Reply::html(403), 5),
        (Reply::new(302, "text/plain", "").header("Location", "http://127.0.0.1/"), 8),
    ] {
        let sts = Server::always(reply);
        sandbox.set("AWS_ENDPOINT_URL_STS", sts.url());
        sandbox.run(&format!("{line} --timeout 3s")).fails(code).never_says(&token);
    }
    for (name, value) in [("AWS_ENDPOINT_URL_STS", "http://sts.example"), ("AWS_ENDPOINT_URL_STS", "x")] {
        sandbox.tok(line.split(' ')).env(name, value).run().fails(2).says(name);
    }
    sandbox.tok(line.split(' ')).args(["--role-session-name", "a b"]).run().fails(2);
}

/// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
#[test]
fn github_gets_a_mask_and_then_the_output() {
    let token = "gh%token";
    let (_server, sandbox) = with(token);
    let file = sandbox.file("output", "before=1\n");
    let run = |name: &[&str]| {
        sandbox.tok(["get", "plain", "-o", "github"]).args(name).env("GITHUB_OUTPUT", &file).run().prints("")
    };
    let out = run(&[]);
    assert_eq!(out.stderr, "::add-mask::gh%25token\n");
    let read = || std::fs::read_to_string(&file).unwrap();
    let text = read();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("before=1", 4));
    let end = lines[1].strip_prefix("token<<").expect("a delimiter").to_string();
    assert!(end.len() > 30 && lines[2] == token && lines[3] == end, "{text}");
    run(&["--name", "my-out"]);
    let text = read();
    let next = text.lines().nth(4).and_then(|line| line.strip_prefix("my-out<<")).expect("a delimiter");
    assert_ne!(next, end, "another each time");
    sandbox.run("get plain -o github").fails(2).says("GITHUB_OUTPUT is not set");
    sandbox
        .tok(["get", "plain", "-o", "github"])
        .env("GITHUB_OUTPUT", sandbox.work())
        .run()
        .fails(1)
        .never_says("os error");
    sandbox.run("get plain -o github --write x").fails(2);
}

#[test]
fn a_token_that_is_bound_to_a_key_is_in_no_line_for_curl() {
    let server =
        Server::always(Reply::json(200, json!({"access_token": "t", "token_type": "DPoP", "expires_in": 600})));
    let sandbox = plain(&server.url());
    sandbox.run("get plain -o curl").fails(8);
}
