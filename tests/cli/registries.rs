//! pip and npm by the recipes of `docs/recipes.md`, driven for real against registries on loopback that want the token.

use crate::child::Start;
use crate::readme::tunnel;
use crate::skip::needs;
use crate::support::server::{Certified, Received, Reply, Server, lock};
use crate::support::{CANARY, Sandbox, chmod, figures, plain_provider, put};
use std::fs;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// The blocks of the section `## pip and npm` in this language.
fn blocks(language: &str) -> Vec<String> {
    let page = include_str!("../../docs/recipes.md");
    let section = page.split("\n## pip and npm\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let begin = format!("\n```{language}\n");
    let parts = section.split(&begin).skip(1);
    parts.map(|part| format!("{}\n", part.split("\n```").next().unwrap())).collect()
}

/// A registry `api.example.com` for whoever sends the `Authorization` that it wants at that time, and the profile `shop`.
struct World {
    sandbox: Sandbox,
    registry: Server,
    wanted: Arc<Mutex<String>>,
}

impl World {
    fn new(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> World {
        let wanted = Arc::<Mutex<String>>::default();
        let its = wanted.clone();
        let certified = Certified::new(&["api.example.com"], false);
        let registry = Server::tls_as(certified, move |request| {
            match request.header("authorization") == Some(lock(&its).as_str()) {
                true => answer(request),
                false => Reply::new(401, "text/plain", "no").header("WWW-Authenticate", "Basic realm=\"acme\""),
            }
        });
        let mut sandbox = Sandbox::with_file_store();
        let bin = sandbox.home().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tok"), bin.join("tok")).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        sandbox.set("PATH", format!("{}:{path}", bin.display()));
        sandbox.set("HTTPS_PROXY", format!("http://127.0.0.1:{}", tunnel(registry.port())));
        for name in ["PIP_CERT", "NPM_CONFIG_CAFILE"] {
            sandbox.set(name, registry.ca_file());
        }
        sandbox
            .set("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .set("NPM_CONFIG_UPDATE_NOTIFIER", "false")
            .set("NPM_CONFIG_FETCH_RETRIES", "0");
        World { sandbox, registry, wanted }
    }

    /// The token that the registry wants, after the profile got it.
    fn token(&mut self, issuer: &Server) -> String {
        self.sandbox.provider("shop", &plain_provider(&issuer.url(), ""));
        self.sandbox.set("TOK_SHOP_CLIENT_SECRET", format!("s-{CANARY}"));
        self.sandbox.run("get shop").line()
    }

    fn wants(&self, header: String) {
        *lock(&self.wanted) = header;
    }

    fn run(&self, script: &str) -> Output {
        let tok = self.sandbox.tok(["-V"]).command();
        let mut command = Command::new("bash");
        command.arg("-ec").arg(script).env_clear().current_dir(self.sandbox.work());
        command.envs(tok.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.finish().expect("bash")
    }

    /// The script succeeds, and shows no token.
    #[track_caller]
    fn ok(&self, script: &str) {
        let out = self.run(script);
        let text = shown(&out);
        assert!(out.status.success() && !text.contains(CANARY), "{script}\n{text}");
    }
}

fn shown(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn version(program: &str) {
    let out = Command::new(program).arg("--version").finish().unwrap();
    figures(&format!("{program}: {}", shown(&out).lines().next().unwrap_or_default()));
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// A wheel (PyPA, "Binary distribution format") with nothing in it.
fn wheel(sandbox: &Sandbox) -> Vec<u8> {
    let script = "import sys, zipfile\n\
                  with zipfile.ZipFile(sys.argv[1], 'w') as wheel:\n \
                  wheel.writestr('acme-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: acme\\nVersion: 1.0\\n')\n \
                  wheel.writestr('acme-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n \
                  wheel.writestr('acme-1.0.dist-info/RECORD', '')\n";
    let file = sandbox.file("wheel", "");
    assert!(Command::new("python3").args(["-c", script]).arg(&file).status().unwrap().success());
    fs::read(file).unwrap()
}

#[test]
fn pip_downloads_from_a_private_index() {
    needs!("pip", "python3", "bash");
    version("pip");
    let issuer = Server::issuing(600);
    let bytes = wheel(&Sandbox::new());
    // PEP 503.
    let mut world = World::new(move |request| match request.path() {
        "/simple/acme/" => {
            Reply::new(200, "text/html", "<a href=\"/files/acme-1.0-py3-none-any.whl\">acme-1.0-py3-none-any.whl</a>")
        }
        "/files/acme-1.0-py3-none-any.whl" => Reply::new(200, "application/octet-stream", bytes.clone()),
        _ => Reply::new(404, "text/plain", "none"),
    });
    let token = world.token(&issuer);
    world.wants(basic("token", &token));
    let keyring = world.sandbox.home().join("bin/keyring");
    put(&keyring, blocks("keyring")[0].as_bytes());
    chmod(&keyring, 0o755);
    let recipes: Vec<String> = blocks("sh").into_iter().filter(|block| block.contains("pip download")).collect();
    assert_eq!(recipes.len(), 2);
    let file = world.sandbox.work().join("acme-1.0-py3-none-any.whl");
    for recipe in &recipes {
        world.ok(recipe);
        assert!(file.is_file(), "{recipe}");
        fs::remove_file(&file).unwrap();
    }
    // The script answers for no other host.
    for service in ["https://other.example.com/simple/", "api.example.com.evil", "https://api.example.com.evil/"] {
        let out = world.run(&format!("keyring get '{service}' token"));
        assert_eq!((out.status.code(), shown(&out).as_str()), (Some(1), ""), "{service}");
    }
    // Without a token there is no package.
    world.sandbox.unset("TOK_SHOP_CLIENT_SECRET");
    world.sandbox.forget_cache();
    for recipe in &recipes {
        assert!(
            !world
                .run(&format!("exec </dev/null\n{}", recipe.replace("pip download", "pip download --no-input")))
                .status
                .success(),
            "{recipe}"
        );
    }
    assert!(!file.exists());
}

#[test]
fn npm_installs_from_a_private_registry() {
    needs!("npm", "tar", "bash");
    version("npm");
    let issuer = Server::issuing(600);
    let sandbox = Sandbox::new();
    put(&sandbox.work().join("package/package.json"), br#"{"name":"acme","version":"1.0.0"}"#);
    let archive = sandbox.work().join("acme.tgz");
    let tar = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(sandbox.work()).arg("package").status();
    assert!(tar.unwrap().success());
    let bytes = fs::read(archive).unwrap();
    use base64::Engine;
    let digest = ring::digest::digest(&ring::digest::SHA512, &bytes);
    let integrity = format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(digest));
    let mut world = World::new(move |request| match request.path() {
        "/acme" => Reply::json(
            200,
            serde_json::json!({"name": "acme", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {
                "name": "acme", "version": "1.0.0",
                "dist": {"tarball": "https://api.example.com/acme/-/acme-1.0.0.tgz", "integrity": integrity},
            }}}),
        ),
        "/acme/-/acme-1.0.0.tgz" => Reply::new(200, "application/octet-stream", bytes.clone()),
        _ => Reply::json(404, serde_json::json!({})),
    });
    let token = world.token(&issuer);
    world.wants(format!("Bearer {token}"));
    let work = world.sandbox.work();
    put(&work.join(".npmrc"), blocks("ini")[0].as_bytes());
    put(&work.join("package.json"), br#"{"name":"app","version":"1.0.0","dependencies":{"acme":"1"}}"#);
    let recipe = blocks("sh").into_iter().find(|block| block.contains("npm install")).unwrap();
    world.ok(&recipe);
    assert!(work.join("node_modules/acme/package.json").is_file());
    assert!(world.registry.requests().iter().any(|request| request.path() == "/acme/-/acme-1.0.0.tgz"));
    // Nothing of it stays in a file of npm's.
    for folder in [world.sandbox.work(), world.sandbox.home().join(".npm")] {
        let mut found = Vec::new();
        crate::support::walk(&folder, &mut |path| {
            if fs::read(path).is_ok_and(|bytes| crate::support::contains(&bytes, token.as_bytes())) {
                found.push(path.to_path_buf());
            }
        });
        assert_eq!(found, Vec::<std::path::PathBuf>::new());
    }
    // Without a token npm is not run.
    world.sandbox.unset("TOK_SHOP_CLIENT_SECRET");
    world.sandbox.forget_cache();
    let before = world.registry.count();
    assert_eq!(world.run(&recipe).status.code(), Some(125));
    assert_eq!(world.registry.count(), before);
}
