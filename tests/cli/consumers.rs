//! The programs that `tok setup` sets up, driven for real: git, docker, cargo, go, terraform and kubectl against servers
//! on loopback that want the token, with the config that `tok setup PROGRAM PROFILE --write` makes. Nothing of the
//! machine's own config is read: each has an empty home.

use crate::child::Start;
use crate::skip::{lacking, needs, skip};
use crate::support::server::{Received, Reply, Server};
use crate::support::{CANARY, Sandbox, contains, plain_provider, put, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// A sandbox with `tok` on its `PATH`, and a provider whose tokens last an hour.
struct World {
    sandbox: Sandbox,
    issuer: Server,
}

impl World {
    fn new(hosts: &str) -> World {
        let issuer = Server::issuing(3600);
        let mut sandbox = Sandbox::with_file_store();
        sandbox.provider("plain", &plain_provider(&issuer.url(), ""));
        sandbox.config(&format!("[profile.shop]\nprovider = \"plain\"\nhosts = [\"{hosts}\"]\n"));
        sandbox.set("TOK_SHOP_CLIENT_SECRET", format!("s-{CANARY}"));
        let bin = sandbox.home().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tok"), bin.join("tok")).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        sandbox.set("PATH", format!("{}:{path}", bin.display()));
        World { sandbox, issuer }
    }

    /// Sets up a program twice: the second time changes nothing.
    #[track_caller]
    fn setup(&self, program: &str) {
        let line = format!("setup {program} shop --write");
        self.sandbox.run(&line).silent().prints("");
        let files = self.sandbox.files();
        self.sandbox.run(&line).silent().prints("");
        assert_eq!(self.sandbox.files(), files);
    }

    /// A program in the sandbox.
    fn program(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let own = self.sandbox.tok(["x"]).command();
        command.env_clear().current_dir(self.sandbox.work());
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    fn git(&self, args: &[&str]) -> Output {
        let mut command = self.program("git");
        command.args(args).env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_NOSYSTEM", "1").finish().unwrap()
    }
}

#[track_caller]
fn ok(out: &Output) -> String {
    let shown = shown(out);
    assert!(out.status.success(), "{shown}");
    shown
}

fn shown(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Tells the version of a program that took part, where the skipped tests are told too.
fn version(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).finish().unwrap();
    let text = shown(&out);
    crate::support::figures(&format!("{program}: {}", text.lines().next().unwrap_or_default()));
}

/// A folder with a git repository `repo.git` that has one commit.
fn repository(world: &World) -> PathBuf {
    let folder = world.sandbox.work().join("origin");
    let at = folder.join("repo.git").to_str().unwrap().to_string();
    ok(&world.git(&["init", "-q", &at]));
    put(&folder.join("repo.git/README"), b"hello\n");
    ok(&world.git(&["-C", &at, "add", "README"]));
    ok(&world.git(&["-C", &at, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "one"]));
    folder
}

/// git's own server side, git-http-backend(1), which speaks CGI (RFC 3875).
fn backend(root: &Path, request: &Received) -> Reply {
    use std::io::Write;
    use std::process::Stdio;
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut command = Command::new("git");
    command.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    command.env("PATH_INFO", path).env("QUERY_STRING", query).env("REQUEST_METHOD", &request.method);
    command.env("CONTENT_TYPE", request.header("content-type").unwrap_or(""));
    command.env("HTTP_CONTENT_ENCODING", request.header("content-encoding").unwrap_or(""));
    command.env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or(""));
    command.env("CONTENT_LENGTH", request.body.len().to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&request.body).unwrap();
    let out = child.wait_with_output().unwrap().stdout;
    let end = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{request:?}"));
    let head = String::from_utf8_lossy(&out[..end]).into_owned();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name).map(str::to_string));
    let status = field("Status: ").and_then(|status| status.get(..3)?.parse().ok()).unwrap_or(200);
    Reply::new(status, &field("Content-Type: ").unwrap_or("text/plain".into()), &out[end + 4..])
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// A git server for whoever sends the `Authorization` that it wants at that time.
struct Hub {
    root: Arc<Mutex<PathBuf>>,
    wanted: Arc<Mutex<String>>,
    server: Server,
}

impl Hub {
    fn new(challenge: &'static str) -> Hub {
        let (root, wanted) = (Arc::<Mutex<PathBuf>>::default(), Arc::<Mutex<String>>::default());
        let (its, theirs) = (root.clone(), wanted.clone());
        let server = Server::new(move |request| {
            match request.header("authorization") == Some(theirs.lock().unwrap().as_str()) {
                true => backend(&its.lock().unwrap(), request),
                false => Reply::new(401, "text/plain", "no").header("WWW-Authenticate", challenge),
            }
        });
        Hub { root, wanted, server }
    }

    fn wants(&self, header: &str) {
        *self.wanted.lock().unwrap() = header.into();
    }

    fn has_a_repository(&self, world: &World) {
        *self.root.lock().unwrap() = repository(world);
    }
}

/// Whether git knows the capability `authtype` (2.46).
fn knows_authtype() -> bool {
    let out = Command::new("git").args(["version"]).finish().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut numbers =
        text.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 46)
}

#[test]
fn git_clones_from_a_server_that_wants_the_header() {
    needs!("git");
    if !knows_authtype() {
        skip!("this git is older than 2.46")
    }
    version("git", &["version"]);
    let hub = Hub::new("Bearer realm=\"hub\"");
    let world = World::new(&hub.server.url());
    hub.has_a_repository(&world);
    world.setup("git");
    let token = world.sandbox.run("get shop").line();
    hub.wants(&format!("Bearer {token}"));
    let url = format!("{}/repo.git", hub.server.url());
    ok(&world.git(&["clone", "-q", &url, "one"]));
    assert_eq!(fs::read(world.sandbox.work().join("one/README")).unwrap(), b"hello\n");
    // The server takes it no longer: git says so to tok, and the next call gets another.
    hub.wants(&format!("Bearer at-{CANARY}-2"));
    let refused = world.git(&["clone", "-q", &url, "two"]);
    assert!(!refused.status.success(), "{}", shown(&refused));
    ok(&world.git(&["clone", "-q", &url, "three"]));
    assert_eq!(world.issuer.count(), 2);
    // And git itself has kept nothing.
    assert!(!world.sandbox.home().join(".git-credentials").exists());
}

#[test]
fn git_has_the_header_in_its_environment_by_the_page() {
    needs!("git");
    let hub = Hub::new("Bearer realm=\"hub\"");
    let world = World::new(&hub.server.url());
    hub.has_a_repository(&world);
    hub.wants(&format!("Bearer {}", world.sandbox.run("get shop").line()));
    let page = include_str!("../../docs/credential-helpers.md");
    let block = page.split("\n```sh\n").find(|part| part.contains("GIT_CONFIG_COUNT")).expect("a block");
    let script = block.split("\n```").next().unwrap().replace("https://code.example.com", &hub.server.url());
    let run =
        |script: &str| world.program("bash").args(["-ec", script]).env("GIT_TERMINAL_PROMPT", "0").finish().unwrap();
    assert!(ok(&run(&script)).contains("refs/heads/"));
    // Another server does not get it.
    let other = Hub::new("Bearer");
    let out = run(&script.replace("ls-remote http", &format!("ls-remote {}/repo.git; : http", other.server.url())));
    assert!(!out.status.success(), "{}", shown(&out));
    assert!(other.server.count() > 0);
    assert!(other.server.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn git_clones_from_a_server_that_wants_name_and_password() {
    needs!("git");
    let hub = Hub::new("Basic realm=\"hub\"");
    let world = World::new(&hub.server.url());
    hub.has_a_repository(&world);
    // A helper that would write down what it is told: it is not asked for this host.
    ok(&world.git(&["config", "--global", "credential.helper", "store"]));
    world.setup("git");
    let token = world.sandbox.run("get shop").line();
    hub.wants(&basic("oauth2", &token));
    ok(&world.git(&["clone", "-q", &format!("{}/repo.git", hub.server.url()), "one"]));
    assert!(!world.sandbox.home().join(".git-credentials").exists());
    // A name in the URL stays.
    hub.wants(&basic("x-token-auth", &token));
    let named = hub.server.url().replace("http://", "http://x-token-auth@");
    ok(&world.git(&["clone", "-q", &format!("{named}/repo.git"), "two"]));
    assert_eq!(world.issuer.count(), 1);
}

#[test]
fn git_asks_tok_for_no_other_host() {
    needs!("git");
    let (hub, other) = (Hub::new("Bearer"), Hub::new("Bearer"));
    let world = World::new(&hub.server.url());
    // A helper for all hosts, by the program's name.
    std::os::unix::fs::symlink("tok", world.sandbox.home().join("bin/git-credential-tok")).unwrap();
    ok(&world.git(&["config", "--global", "credential.helper", "tok"]));
    let out = world.git(&["clone", "-q", &format!("{}/repo.git", other.server.url()), "one"]);
    assert!(!out.status.success());
    assert!(other.server.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(world.issuer.count(), 0);
    hub.has_a_repository(&world);
    let token = world.sandbox.run("get shop").line();
    let scheme = if knows_authtype() { format!("Bearer {token}") } else { basic("oauth2", &token) };
    hub.wants(&scheme);
    ok(&world.git(&["clone", "-q", &format!("{}/repo.git", hub.server.url()), "two"]));
}

#[test]
fn git_keeps_the_settings_that_are_there() {
    needs!("git");
    let world = World::new("git.example.com");
    let config = world.sandbox.home().join(".gitconfig");
    put(&config, b"# mine\n[user]\n\tname = Jane\n[credential \"https://git.example.com\"]\n\thelper = cache\n\tusername = jane\n");
    world.setup("git");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.starts_with("# mine\n[user]\n\tname = Jane\n"), "{text}");
    assert!(text.contains("\thelper = cache\n") && text.contains("\tusername = jane\n"), "{text}");
    let values = ok(&world.git(&["config", "--global", "--get-all", "credential.https://git.example.com.helper"]));
    assert_eq!(values, "cache\n\n!tok credential git --profile shop\n");
    // Another profile takes its place.
    world.sandbox.config("[profile.other]\nprovider = \"plain\"\nhosts = [\"git.example.com\"]\n");
    world.sandbox.run("setup git other --write").silent().prints("");
    let values = ok(&world.git(&["config", "--global", "--get-all", "credential.https://git.example.com.helper"]));
    assert_eq!(values, "cache\n\n!tok credential git --profile other\n");
}

/// A registry in the sense of the OCI distribution specification, with one image, that asks for name and password.
fn registry(request: &Received) -> Reply {
    let config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": config},
        "layers": [],
    });
    match request.path() {
        "/v2/" => Reply::json(200, serde_json::json!({})),
        path if path.starts_with("/v2/demo/blobs/") => Reply::json(200, serde_json::json!({})),
        path if path.starts_with("/v2/demo/manifests/") => {
            Reply::new(200, "application/vnd.docker.distribution.manifest.v2+json", manifest.to_string())
        }
        _ => Reply::json(404, serde_json::json!({})),
    }
}

#[test]
fn docker_reads_a_manifest_from_a_registry_with_the_token_as_the_password() {
    needs!("docker");
    version("docker", &["--version"]);
    let wanted = Arc::<Mutex<String>>::default();
    let its = wanted.clone();
    let server = Server::tls(move |request| match request.header("authorization") {
        Some(header) if header == its.lock().unwrap().as_str() => registry(request),
        _ => Reply::json(401, serde_json::json!({"errors": []})).header("WWW-Authenticate", "Basic realm=\"r\""),
    });
    // Docker names a registry without a scheme.
    let world = World::new(&format!("127.0.0.1:{}", server.port()));
    world.setup("docker");
    let token = world.sandbox.run("get shop").line();
    *wanted.lock().unwrap() = basic("oauth2", &token);
    let image = format!("127.0.0.1:{}/demo:1", server.port());
    let inspect =
        |image: &str| world.program("docker").args(["manifest", "inspect", "--insecure", image]).finish().unwrap();
    let out = ok(&inspect(&image));
    assert!(out.contains("application/vnd.docker.container.image.v1+json"), "{out}");
    // Another registry gets nothing.
    let other =
        Server::new(|_| Reply::json(401, serde_json::json!({})).header("WWW-Authenticate", "Basic realm=\"r\""));
    let out = inspect(&format!("127.0.0.1:{}/demo:1", other.port()));
    assert!(!out.status.success());
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(world.sandbox.home().join("bin/docker-credential-tok").exists());
}

#[test]
fn docker_exchanges_the_token_for_one_of_a_registry_of_debian_s() {
    needs!("docker", "docker-registry");
    version("docker-registry", &["--version"]);
    // What hands out the registry's own tokens (distribution, "Token Authentication").
    let wanted = Arc::<Mutex<String>>::default();
    let its = wanted.clone();
    let realm = Server::new(move |request| match request.header("authorization") {
        Some(header) if header == its.lock().unwrap().as_str() => {
            Reply::json(200, serde_json::json!({"token": "registry-token", "access_token": "registry-token"}))
        }
        _ => Reply::json(401, serde_json::json!({})),
    });
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let world = World::new(&format!("127.0.0.1:{port}"));
    let storage = world.sandbox.work().join("storage");
    let config = world.sandbox.file(
        "registry.yml",
        format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n\
             auth:\n  silly:\n    realm: {}/token\n    service: registry\n",
            storage.display(),
            realm.url(),
        ),
    );
    let mut registry = world.program("docker-registry").arg("serve").arg(config).start().unwrap();
    until("the registry listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let put = |method: &str, path: &str, kind: &str, body: &str| {
        let mut command = world.program("curl");
        command.args([
            "-sS",
            "-D",
            "-",
            "-X",
            method,
            "-H",
            "Authorization: Bearer x",
            "-H",
            &format!("Content-Type: {kind}"),
        ]);
        let at = if path.starts_with("http") { path.to_string() } else { format!("http://127.0.0.1:{port}{path}") };
        ok(&command.args(["--data-binary", body, &at]).finish().unwrap())
    };
    let begun = put("POST", "/v2/demo/blobs/uploads/", "application/octet-stream", "");
    let place = begun.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap_or_else(|| panic!("{begun}"));
    let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let done = put("PUT", &format!("{place}&digest={digest}"), "application/octet-stream", "{}");
    assert!(done.contains("201 Created"), "{done}");
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": kind, "layers": [],
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": digest}});
    let done = put("PUT", "/v2/demo/manifests/1", kind, &manifest.to_string());
    assert!(done.contains("201 Created"), "{done}");
    world.setup("docker");
    let token = world.sandbox.run("get shop").line();
    *wanted.lock().unwrap() = basic("oauth2", &token);
    let image = format!("127.0.0.1:{port}/demo:1");
    let out = world.program("docker").args(["manifest", "inspect", "--insecure", &image]).finish().unwrap();
    registry.kill();
    assert!(ok(&out).contains(digest), "{}", shown(&out));
    assert!(realm.count() > 0, "docker asked for a token of the registry");
}

/// The cargo that runs these tests, or the one on `PATH`.
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or("cargo".into(), PathBuf::from)
}

/// A registry of crates with a sparse index (The Cargo Book, "Index Format"), for whoever sends the token.
fn crates(at: &Mutex<String>, wanted: &Mutex<String>, request: &Received) -> Reply {
    if request.header("authorization") != Some(wanted.lock().unwrap().as_str()) {
        return Reply::new(401, "text/plain", "no")
            .header("WWW-Authenticate", "Cargo login_url=\"https://example.com\"");
    }
    let url = at.lock().unwrap().clone();
    match request.path() {
        "/index/config.json" => {
            Reply::json(200, serde_json::json!({"dl": format!("{url}/dl"), "api": url, "auth-required": true}))
        }
        "/index/de/mo/demo" => Reply::new(
            200,
            "text/plain",
            serde_json::json!({"name": "demo", "vers": "1.2.3", "deps": [], "features": {}, "yanked": false,
                "cksum": "0".repeat(64)})
            .to_string(),
        ),
        _ => Reply::new(404, "text/plain", "none"),
    }
}

#[test]
fn cargo_reads_the_index_of_a_private_registry() {
    let program = cargo();
    if Command::new(&program).arg("--version").finish().is_err() {
        skip!("cargo is not installed")
    }
    version(program.to_str().unwrap(), &["--version"]);
    let (at, wanted) = (Arc::<Mutex<String>>::default(), Arc::<Mutex<String>>::default());
    let (its, theirs) = (at.clone(), wanted.clone());
    let server = Server::new(move |request| crates(&its, &theirs, request));
    *at.lock().unwrap() = server.url();
    let world = World::new(&server.url());
    // cargo speaks to loopback without TLS; `tok setup cargo` writes for hosts with it.
    world.sandbox.config(&format!(
        "[profile.shop]\nprovider = \"plain\"\nhosts = [\"{}\", \"crates.example.com\"]\n",
        server.url()
    ));
    let own = format!("# mine\n[registries.shop]\nindex = \"sparse+{}/index/\"\n", server.url());
    let config = world.sandbox.home().join(".cargo/config.toml");
    put(&config, own.as_bytes());
    world.setup("cargo");
    assert!(fs::read_to_string(&config).unwrap().starts_with(&own));
    let token = world.sandbox.run("get shop").line();
    *wanted.lock().unwrap() = format!("Bearer {token}");
    let manifest = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\n\
                    demo = { version = \"1\", registry = \"shop\" }\n";
    put(&world.sandbox.work().join("app/Cargo.toml"), manifest.as_bytes());
    put(&world.sandbox.work().join("app/src/lib.rs"), b"");
    let lock = || {
        let mut command = world.program(&program);
        // The toolchain that the machine has, though the home is another.
        for name in ["RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        command.env("RUSTUP_HOME", std::env::var_os("RUSTUP_HOME").unwrap_or(home.join(".rustup").into()));
        command.args(["generate-lockfile"]).current_dir(world.sandbox.work().join("app")).finish().unwrap()
    };
    ok(&lock());
    let text = fs::read_to_string(world.sandbox.work().join("app/Cargo.lock")).unwrap();
    assert!(text.contains("name = \"demo\"\nversion = \"1.2.3\""), "{text}");
    // With its other config alone cargo does not get in.
    put(&config, own.as_bytes());
    let out = lock();
    assert!(!out.status.success() && !contains(shown(&out).as_bytes(), token.as_bytes()), "{}", shown(&out));
}

/// The Go that `./test` installs, or the one on `PATH`, if it knows GOAUTH (1.24).
fn go() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_tok")).ancestors().nth(2)?;
    let own = fs::read_dir(target.join("real/go/venv/lib")).into_iter().flatten().flatten();
    let own = own.map(|python| python.path().join("site-packages/go/bin/go")).find(|path| path.is_file());
    let found = own.or(lacking(&["go"]).is_none().then(|| "go".into()))?;
    // It writes there, whatever it is asked.
    let home = Sandbox::new();
    let out = Command::new(&found).args(["help", "goauth"]).env("HOME", home.home()).finish().ok()?;
    contains(&out.stdout, b"GOAUTH").then_some(found)
}

#[test]
fn go_lists_a_module_of_a_private_proxy() {
    let Some(go) = go() else { skip!("go 1.24 or later is not installed") };
    version(go.to_str().unwrap(), &["version"]);
    let wanted = Arc::<Mutex<String>>::default();
    let its = wanted.clone();
    let server = Server::tls(move |request| {
        if request.header("authorization") != Some(its.lock().unwrap().as_str()) {
            return Reply::new(401, "text/plain", "no");
        }
        match request.path().strip_prefix("/proxy/example.com/demo/@v/") {
            Some("list") => Reply::new(200, "text/plain", "v1.2.3\n"),
            Some("v1.2.3.info") => Reply::json(200, serde_json::json!({"Version": "v1.2.3"})),
            Some("v1.2.3.mod") => Reply::new(200, "text/plain", "module example.com/demo\n"),
            _ => Reply::new(404, "text/plain", "none"),
        }
    });
    let world = World::new(&server.url());
    world.setup("goauth");
    let token = world.sandbox.run("get shop").line();
    *wanted.lock().unwrap() = format!("Bearer {token}");
    let list = || {
        let mut command = world.program(&go);
        command.env("SSL_CERT_FILE", server.ca_file()).env("GOPROXY", format!("{}/proxy", server.url()));
        command.env("GOSUMDB", "off").env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod");
        command.args(["list", "-m", "-versions", "example.com/demo"]).finish().unwrap()
    };
    let out = list();
    assert!(ok(&out).contains("example.com/demo v1.2.3"), "{}", shown(&out));
    // The env file is go's own to read.
    let set = ok(&world.program(&go).args(["env", "GOAUTH"]).env("GOTOOLCHAIN", "local").finish().unwrap());
    assert_eq!(set, "netrc; tok credential goauth\n");
    // Another host gets nothing.
    world.sandbox.config("[profile.shop]\nprovider = \"plain\"\nhosts = [\"go.example.com\"]\n");
    let before = server.count();
    assert!(!list().status.success());
    assert!(server.requests()[before..].iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn terraform_finds_a_module_in_a_private_registry() {
    needs!("terraform");
    version("terraform", &["version"]);
    let wanted = Arc::<Mutex<String>>::default();
    let its = wanted.clone();
    let server = Server::tls(move |request| {
        if request.header("authorization") != Some(its.lock().unwrap().as_str()) {
            return Reply::json(401, serde_json::json!({}));
        }
        match request.path() {
            "/.well-known/terraform.json" => Reply::json(200, serde_json::json!({"modules.v1": "/modules/"})),
            "/modules/acme/demo/local/versions" => {
                Reply::json(200, serde_json::json!({"modules": [{"versions": [{"version": "1.2.3"}]}]}))
            }
            _ => Reply::json(404, serde_json::json!({})),
        }
    });
    let world = World::new(&server.url());
    world.setup("terraform");
    let token = world.sandbox.run("get shop").line();
    *wanted.lock().unwrap() = format!("Bearer {token}");
    let module = format!(
        "module \"demo\" {{\n  source = \"127.0.0.1:{}/acme/demo/local\"\n  version = \"1.2.3\"\n}}\n",
        server.port()
    );
    put(&world.sandbox.work().join("app/main.tf"), module.as_bytes());
    let mut command = world.program("terraform");
    command
        .env("SSL_CERT_FILE", server.ca_file())
        .env("CHECKPOINT_DISABLE", "1")
        .env("TF_REGISTRY_CLIENT_TIMEOUT", "60");
    let out = command.args(["init", "-no-color"]).current_dir(world.sandbox.work().join("app")).finish().unwrap();
    // There is nothing to download; that it comes so far takes the token.
    let asked = |path: &str| server.requests().iter().any(|request| request.path() == path);
    assert!(asked("/modules/acme/demo/local/1.2.3/download"), "{}", shown(&out));
    assert!(!shown(&out).contains(CANARY), "{}", shown(&out));
}

#[test]
fn kubectl_has_a_user_whose_token_is_tok_s() {
    needs!("kubectl");
    version("kubectl", &["version", "--client"]);
    let world = World::new("unused.example.com");
    let kube = world.sandbox.home().join(".kube/config");
    put(&kube, b"apiVersion: v1\nkind: Config\nusers:\n- name: other\n  user:\n    username: jane\n");
    world.setup("kubernetes");
    let out = ok(&world.program("kubectl").args(["config", "view", "-o", "json"]).finish().unwrap());
    let config: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(config["users"][0]["user"]["username"], "jane");
    let exec = &config["users"][1]["user"]["exec"];
    assert_eq!(config["users"][1]["name"], "shop");
    assert_eq!(exec["command"], "tok");
    assert_eq!(exec["args"], serde_json::json!(["get", "shop", "-o", "kubernetes"]));
    // An older kubectl cannot write what `v1` requires.
    let version = exec["apiVersion"].as_str().unwrap().strip_prefix("client.authentication.k8s.io/");
    assert!(matches!((version, exec["interactiveMode"].as_str()), (Some("v1"), Some("Never")) | (Some("v1beta1"), _)));
    // A request of that user has the token.
    let token = world.sandbox.run("get shop").line();
    let wanted = format!("Bearer {token}");
    let server = Server::tls(move |request| match request.header("authorization") == Some(wanted.as_str()) {
        true => Reply::json(200, serde_json::json!({"gitVersion": "v1.2.3"})),
        false => Reply::json(401, serde_json::json!({"kind": "Status", "code": 401})),
    });
    let mut ask = world.program("kubectl");
    ask.args(["--server", &server.url(), "--user", "shop", "get", "--raw", "/version"]);
    ask.arg("--certificate-authority").arg(server.ca_file());
    let out = ok(&ask.finish().unwrap());
    assert!(out.contains("v1.2.3"), "{out}");
    // A user of that name that is somebody else's stays.
    put(&kube, b"apiVersion: v1\nkind: Config\nusers:\n- name: shop\n  user:\n    username: jane\n");
    world.sandbox.run("setup kubernetes shop --write").fails(1).hints_at("kubectl config unset users.shop");
    assert!(fs::read_to_string(&kube).unwrap().contains("username: jane"));
}
