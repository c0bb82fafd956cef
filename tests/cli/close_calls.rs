//! What a tester who knew only the contract has found; each of these went wrong once.

use crate::support::apiax::{self, Apiax};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, chmod};
use serde_json::json;

/// A provider whose refresh carries the client's secret where it is known, and falls back on that secret.
fn shared(url: &str) -> Sandbox {
    let sandbox = Sandbox::with_file_store();
    sandbox.provider(
        "shared",
        &format!(
            r#"
[params.base_url]
default = "{url}"
[params.client_secret]
secret = true
[request]
url = "{{base_url}}/token"
[grants.cc]
body = {{ grant_type = "client_credentials", client_secret = "{{client_secret}}" }}
[grants.refresh]
body = {{ grant_type = "refresh_token", refresh_token = "{{refresh_token}}", client_secret = "{{client_secret?}}" }}
[refresh]
grant = "refresh"
fallback = "cc"
"#
        ),
    );
    sandbox
}

/// Names its tokens after the secret and the request, rotates, and kills each refresh token that is `dead`.
fn server(dead: &'static str) -> Server {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Server::new(move |request| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if !dead.is_empty() && request.field("refresh_token").ends_with(dead) {
            return Reply::json(400, json!({"error": "invalid_grant"}));
        }
        let token = format!("at-{CANARY}-{}-{n}", request.field("client_secret"));
        Reply::json(200, json!({"access_token": token, "expires_in": 600, "refresh_token": format!("rt-{CANARY}-{n}")}))
    })
}

fn secret(name: &str) -> String {
    format!("{CANARY}-{name}")
}

#[test]
fn a_session_begun_by_a_kept_secret_is_not_refreshed_with_another_one() {
    let server = server("-0");
    let sandbox = shared(&server.url());
    let file = sandbox.file_arg("secret", secret("one"));
    sandbox.tok(["login", "shared", "cc", "--client-secret-file", &file]).run().ok();
    // The first refresh token is dead: the fallback begins a session by the secret in the store.
    sandbox.run("get shared --fresh").silent().line();
    let kept = sandbox.secrets();
    let other = sandbox.tok(["get", "shared", "--fresh"]).env("TOK_SHARED_CLIENT_SECRET", secret("two")).run().line();
    assert_eq!(server.last().field("grant_type"), "client_credentials", "the session is another secret's");
    assert!(other.contains("-two-"), "{other}");
    assert_eq!(sandbox.secrets(), kept);
}

#[test]
fn a_token_got_apart_answers_no_plain_call() {
    let server = server("");
    let sandbox = shared(&server.url());
    let file = sandbox.file_arg("secret", secret("one"));
    sandbox.tok(["login", "shared", "cc", "--client-secret-file", &file]).run().ok();
    let own = sandbox.run("get shared").silent().line();
    let with_other = || sandbox.tok(["get", "shared"]).env("TOK_SHARED_CLIENT_SECRET", secret("two")).run().line();
    let other = with_other();
    assert!(other.contains("-two-"), "{other}");
    assert_eq!(sandbox.run("get shared").line(), own);
    assert_eq!(sandbox.run("get shared --offline").line(), own);
    assert_eq!(with_other(), other, "cached apart");
}

#[test]
fn without_a_store_nothing_is_said_to_be_kept() {
    let server = server("");
    let sandbox = shared(&server.url());
    let file = sandbox.file_arg("secret", secret("one"));
    let login = sandbox.tok(["login", "shared", "cc", "--client-secret-file", &file, "--store", "none"]).run().ok();
    login.says("only the access token is kept");
    let row = sandbox.tok(["list", "--json"]).env_remove("TOK_STORE").run().json()[0].clone();
    assert_eq!((&row["refresh_token"], &row["store"]), (&json!(false), &json!("none")));
}

#[test]
fn a_secret_in_the_path_of_a_url_is_in_no_log_and_no_file() {
    let server = Server::issuing(600);
    let sandbox = Sandbox::with_file_store();
    sandbox.provider(
        "path",
        &format!(
            "[params.base_url]\ndefault = \"{}\"\n[params.client_secret]\nsecret = true\n[grants.g]\nurl = \"{{base_url}}/t/{{client_secret}}\"\nencode = \"none\"\n",
            server.url()
        ),
    );
    let with_secret = |line: &str| {
        sandbox
            .tok(line.split(' '))
            .env("TOK_PATH_CLIENT_SECRET", secret("path"))
            .run()
            .ok()
            .never_says(&secret("path"))
    };
    with_secret("get path -vvv");
    assert_eq!(server.last().path(), format!("/t/{}", secret("path")));
    let shown = with_secret("show path");
    assert!(!shown.stdout.contains(&secret("path")));
    assert_eq!(sandbox.files_with(&secret("path")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_secret_that_a_server_quotes_in_another_form_is_not_shown() {
    let sandbox = Sandbox::with_file_store();
    let server = Server::new(|request| {
        let quoted = String::from_utf8_lossy(&request.body).into_owned();
        let header = request.header("authorization").unwrap_or_default().to_string();
        Reply::json(400, json!({"error": "bad", "error_description": format!("got {quoted} and {header}")}))
    });
    sandbox.provider(
        "echo",
        &format!(
            "[params.base_url]\ndefault = \"{}\"\n[params.client_id]\ndefault = \"cid\"\n[params.client_secret]\nsecret = true\n[grants.g]\nurl = \"{{base_url}}/t\"\nauth = \"basic\"\nbody = {{ s = \"{{client_secret}}\" }}\n",
            server.url()
        ),
    );
    let odd = "SEC/CAN+ARY & co";
    let out = sandbox.tok(["get", "echo", "-v"]).env("TOK_ECHO_CLIENT_SECRET", odd).run().fails(5);
    for form in [odd, "SEC%2FCAN%2BARY", "U0VD", "Y2lkOl"] {
        assert!(!out.stderr.contains(form), "{form}: {}", out.stderr);
    }
}

#[test]
fn a_token_in_a_folder_that_others_can_write_is_not_spent() {
    let server = server("");
    let sandbox = shared(&server.url());
    let file = sandbox.file_arg("secret", secret("one"));
    sandbox.tok(["login", "shared", "cc", "--client-secret-file", &file]).run().ok();
    let folder = sandbox.secrets_file().parent().unwrap().to_owned();
    chmod(&folder, 0o777);
    sandbox.run("get shared --fresh").fails(7).hints();
    assert_eq!(server.count(), 1);
    chmod(&folder, 0o700);
    sandbox.run("get shared --fresh").silent().line();
}

#[test]
fn what_a_killed_process_left_half_written_goes_with_a_logout() {
    let server = server("");
    let sandbox = shared(&server.url());
    let file = sandbox.file_arg("secret", secret("one"));
    sandbox.tok(["login", "shared", "cc", "--client-secret-file", &file]).run().ok();
    let left = sandbox.secrets_file().with_file_name(".secrets.json.0123456789abcdef.tok-tmp");
    std::fs::write(&left, "half").unwrap();
    sandbox.run("logout shared").prints("");
    assert!(!left.exists());
    assert_eq!(sandbox.files_with("rt-"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_cache_in_a_folder_of_others_is_not_used() {
    let server = server("");
    let sandbox = shared(&server.url());
    let file = sandbox.file_arg("secret", secret("one"));
    sandbox.tok(["login", "shared", "cc", "--client-secret-file", &file]).run().ok();
    sandbox.run("get shared").silent().line();
    let cache = sandbox.state_dir().join("cache");
    chmod(&cache, 0o777);
    sandbox.run("get shared --offline").fails(4);
    sandbox.run("get shared").line();
    assert_eq!(server.count(), 2, "asked anew");
    let away = sandbox.state_dir().join("moved");
    chmod(&cache, 0o700);
    std::fs::rename(&cache, &away).unwrap();
    std::os::unix::fs::symlink(&away, &cache).unwrap();
    sandbox.run("get shared --offline").fails(4);
}

#[test]
fn a_command_that_takes_too_long_is_a_matter_of_time() {
    let sandbox = Sandbox::with_file_config(
        "[profile.slow]\nprovider = \"xcover\"\nclient_id = \"c\"\nclient_secret = { command = [\"sleep\", \"100\"] }\n",
    );
    sandbox.run("get slow --timeout 1s").fails(6).hints_at("--timeout");
}

#[test]
fn a_pipe_or_a_device_is_written_to_and_not_replaced() {
    let server = server("");
    let sandbox = shared(&server.url());
    sandbox.tok(["get", "shared"]).env("TOK_SHARED_CLIENT_SECRET", secret("one")).run().ok();
    let pipe = sandbox.work().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe).unwrap()
    });
    sandbox.tok(["get", "shared", "--write", pipe.to_str().unwrap()]).run().prints("");
    assert!(reader.join().unwrap().starts_with("at-"));
    assert!(!pipe.is_file());
    assert!(sandbox.run("get shared --write -").line().starts_with("at-"));
}

#[test]
fn a_read_only_home_will_do_where_nothing_is_kept() {
    let server = server("");
    let sandbox = shared(&server.url());
    // Root may write anywhere: a file in the folder's place stops everybody.
    std::fs::create_dir_all(sandbox.home().join(".local")).unwrap();
    std::fs::write(sandbox.home().join(".local/state"), "").unwrap();
    let get = || sandbox.tok(["get", "shared"]).env("TOK_SHARED_CLIENT_SECRET", secret("one"));
    get().run().fails(1).hints();
    assert!(get().args(["--no-store"]).run().line().starts_with("at-"));
    assert!(get().env("TOK_STORE", "none").env("TOK_CACHE", "off").run().line().starts_with("at-"));
}

#[test]
fn a_kept_password_that_was_refused_is_not_sent_again() {
    let apiax = Apiax::start();
    let sandbox = apiax.sandbox();
    let password = sandbox.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--username", apiax::USERNAME, "--keep", "--password-file", &password];
    sandbox.tok(login).run().ok();
    let before = apiax.server.count();
    // The session dies and the password is changed elsewhere.
    for _ in 0..2 {
        apiax.server.next(Reply::json(400, json!({"error": "invalid_grant"})));
    }
    sandbox.run("get apiax --fresh").fails(5);
    assert_eq!(apiax.server.count(), before + 2, "a refresh and the password, once each");
    sandbox.run("get apiax --fresh").fails(4).hints_at("tok login apiax");
    assert_eq!(apiax.server.count(), before + 2);
    sandbox.tok(login).run().ok();
    sandbox.run("get apiax").silent().line();
}
