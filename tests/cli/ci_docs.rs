//! `docs/ci.md` and `action.yml`: the YAML is valid, and every step in it is run by bash as its runner would run it, with
//! the hosts that it names on loopback.

use crate::readme::tunnel;
use crate::skip::{needs, skip};
use crate::support::issuer::base64url;
use crate::support::server::{Certified, Received, Reply, Server};
use crate::support::{Sandbox, chmod, put};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const PAGE: &str = include_str!("../../docs/ci.md");
const ACTION: &str = include_str!("../../action.yml");

/// Not one that holds the canary: a runner that masks is shown it.
const TOKEN: &str = "access-token.of-the-pages";
/// What stands in the pages for the checksum.
pub const CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn identity() -> String {
    let part = |value: Value| base64url(value.to_string().as_bytes());
    let claims = json!({"iss": "https://ci.example", "aud": "https://id.example.com", "sub": "repo:a/b"});
    format!("{}.{}.signature", part(json!({"alg": "RS256"})), part(claims))
}

/// The blocks of one language below the heading `## …`.
fn blocks(heading: &str, language: &str) -> Vec<String> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let begin = format!("\n```{language}\n");
    let parts = section.split(&begin).skip(1);
    parts.map(|rest| format!("{}\n", rest.split("\n```").next().unwrap())).collect()
}

/// Reads YAML as the runners do, with a parser that others wrote; `None` where it cannot be had.
pub fn yaml(text: &str) -> Option<Value> {
    let script = "import sys, json\ntry:\n import yaml\nexcept ImportError:\n sys.exit(77)\n\
                  json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
    let mut python = Command::new("python3");
    let python = python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.spawn().expect("python3");
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = python.wait_with_output().unwrap();
    if out.status.code() == Some(77) {
        return None;
    }
    assert!(out.status.success(), "{}\n{text}", String::from_utf8_lossy(&out.stderr));
    Some(serde_json::from_slice(&out.stdout).unwrap())
}

macro_rules! yaml {
    ($text:expr) => {
        match yaml($text) {
            Some(value) => value,
            None => skip!("python3 has no yaml (Debian: python3-yaml)"),
        }
    };
}

/// Whether the request has the job's identity where a standard has it.
fn is_exchange(request: &Received) -> bool {
    ["subject_token", "client_assertion"].iter().any(|name| request.field(name) == identity())
}

/// An archive with a program that is as small as can be and runs the real one, and its checksum.
pub fn archive(sandbox: &Sandbox) -> (Vec<u8>, String) {
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_tok"));
    let tok = sandbox.file("release/tok", script);
    chmod(&tok, 0o755);
    let archive = tok.with_file_name("tok.tar.gz");
    let tar = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(tok.parent().unwrap()).arg("tok").status();
    assert!(tar.expect("tar").success());
    let archive = fs::read(archive).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &archive);
    let checksum = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    (archive, checksum)
}

/// The hosts of the pages, and a repository with the config of the page.
struct World {
    front: Server,
    runner: Server,
    sandbox: Sandbox,
    /// Where the job may write.
    folder: PathBuf,
    checksum: String,
}

impl World {
    fn new() -> World {
        let mut sandbox = Sandbox::new();
        let (archive, checksum) = archive(&sandbox);
        let names = [
            "id.example.com",
            "api.example.com",
            "downloads.example.com",
            "sts.googleapis.com",
            "login.microsoftonline.com",
        ];
        let front = Server::tls_as(Certified::new(&names, false), move |request| match request.path() {
            "/token" | "/v1/token" | "/TENANT/oauth2/v2.0/token" if is_exchange(request) => Reply::token(TOKEN, 600),
            "/.well-known/openid-configuration" => Reply::json(
                200,
                json!({"issuer": "https://id.example.com", "token_endpoint": "https://id.example.com/token"}),
            ),
            "/token" => Reply::json(400, json!({"error": "invalid_request"})),
            "/tok-x86_64-linux.tar.gz" => Reply::new(200, "application/gzip", archive.clone()),
            "/v1/deploy" if request.header("authorization") == Some(&format!("Bearer {TOKEN}")) => Reply::text(200, ""),
            "/v1/deploy" => Reply::json(401, json!({})),
            _ => Reply::html(404),
        });
        let runner = Server::new(|request: &Received| match request.header("authorization") {
            Some("bearer of-the-job") => Reply::json(200, json!({"value": identity()})),
            _ => Reply::json(403, json!({"message": "no"})),
        });
        sandbox.set("HTTPS_PROXY", format!("http://127.0.0.1:{}", tunnel(front.port())));
        sandbox.set("SSL_CERT_FILE", front.ca_file());
        let folder = sandbox.home().join("job");
        fs::create_dir_all(folder.join("bin")).unwrap();
        let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
        sandbox.set("PATH", path);
        put(&sandbox.work().join("ci/tok.toml"), blocks("The config", "toml").concat().as_bytes());
        // What a repository deploys with.
        let script = "#!/bin/sh\nprintf 'Authorization: Bearer %s\\n' \"$API_TOKEN\" | curl -fsS -H @- https://api.example.com/v1/deploy\n";
        put(&sandbox.work().join("deploy.sh"), script.as_bytes());
        chmod(&sandbox.work().join("deploy.sh"), 0o755);
        World { front, runner, sandbox, folder, checksum }
    }

    fn on_github(&mut self) {
        let url = format!("{}/idtoken?api-version=2.0", self.runner.url());
        let files = ["output", "path"].map(|name| self.folder.join(name));
        files.iter().for_each(|file| put(file, b""));
        for (name, value) in [
            ("CI", "true".into()),
            ("GITHUB_ACTIONS", "true".into()),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", url),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job".into()),
            ("RUNNER_TEMP", self.folder.display().to_string()),
            ("GITHUB_OUTPUT", files[0].display().to_string()),
            ("GITHUB_PATH", files[1].display().to_string()),
        ] {
            self.sandbox.set(name, value);
        }
    }

    /// Puts a program of the runner on PATH.
    fn program(&self, name: &str, script: &str) {
        let path = self.folder.join("bin").join(name);
        put(&path, format!("#!/bin/sh\n{script}\n").as_bytes());
        chmod(&path, 0o755);
    }

    /// Runs a step; what it wrote to `GITHUB_PATH` is in the PATH of the next.
    fn step(&mut self, shell: &[&str], script: &str, env: &[(&str, String)]) -> Output {
        let script = script.replace(CHECKSUM, &self.checksum);
        let environment = self.sandbox.tok(["-V"]).command();
        let mut command = Command::new("bash");
        command.args(shell).arg(&script).env_clear().current_dir(self.sandbox.work());
        command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs(env.iter().map(|(name, value)| (*name, value)));
        let out = command.stdin(Stdio::null()).output().expect("bash");
        let added = fs::read_to_string(self.folder.join("path")).unwrap_or_default();
        if let Some(folder) = added.lines().last() {
            let path = environment.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap();
            self.sandbox.set("PATH", format!("{folder}:{}", path.to_str().unwrap()));
        }
        out
    }

    #[track_caller]
    fn good(&mut self, shell: &[&str], script: &str, env: &[(&str, String)]) -> Output {
        let out = self.step(shell, script, env);
        let shown = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{script}\n{shown}");
        let masks = shown.lines().filter(|line| *line == format!("::add-mask::{TOKEN}")).count();
        assert_eq!(shown.matches(TOKEN).count(), masks, "the token is in the log:\n{shown}");
        out
    }

    fn deployments(&self) -> usize {
        self.front.requests().iter().filter(|request| request.path() == "/v1/deploy").count()
    }

    /// The deployment was asked for once, with the token.
    #[track_caller]
    fn deployed(&self) {
        assert_eq!(self.deployments(), 1);
        let request = self.front.last();
        assert_eq!(request.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    }
}

/// How each runner starts its shell, by its documentation.
pub const GITHUB: &[&str] = &["--noprofile", "--norc", "-e", "-c"];
const GITHUB_BASH: &[&str] = &["--noprofile", "--norc", "-eo", "pipefail", "-c"];
const CIRCLECI: &[&str] = &["-eo", "pipefail", "-c"];
const BUILDKITE: &[&str] = &["-e", "-c"];

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}")).to_string()
}

#[test]
fn the_workflow_for_github_deploys() {
    needs!("python3", "curl", "sha256sum", "tar");
    let workflow = yaml!(&blocks("GitHub Actions", "yaml")[0]);
    assert_eq!(workflow["permissions"]["id-token"], "write");
    let mut world = World::new();
    world.on_github();
    let steps = workflow["jobs"]["deploy"]["steps"].as_array().unwrap();
    let scripts: Vec<String> = steps.iter().filter(|step| step.get("run").is_some()).map(|s| text(&s["run"])).collect();
    assert_eq!(scripts.len(), 2);
    for script in &scripts {
        world.good(GITHUB, script, &[]);
    }
    world.deployed();
    // Without an identity the step ends where tok does.
    let out = world.step(GITHUB, &scripts[1], &[("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-another".into())]);
    assert_eq!((out.status.code(), world.deployments()), (Some(125), 1));
    // Another program than the one with the checksum is not unpacked.
    let other = scripts[0].replace(CHECKSUM, &CHECKSUM.replace('0', "1"));
    fs::remove_file(world.folder.join("tok")).unwrap();
    assert!(!world.step(GITHUB, &other, &[]).status.success());
    assert!(!world.folder.join("tok").exists());
}

#[test]
fn the_action_installs_by_checksum_and_sets_the_output() {
    needs!("python3", "curl", "sha256sum", "tar");
    let action = yaml!(ACTION);
    let workflow = yaml!(&blocks("GitHub Actions", "yaml")[1]);
    let steps = workflow["jobs"]["deploy"]["steps"].as_array().unwrap();
    let with = steps.iter().find(|step| step["id"] == "tok").unwrap()["with"].as_object().unwrap();
    for name in with.keys() {
        assert!(action["inputs"].get(name).is_some(), "action.yml has no input {name}");
    }
    for (name, input) in action["inputs"].as_object().unwrap() {
        assert!(with.contains_key(name) || input.get("default").is_some(), "the workflow lacks {name}");
    }
    assert_eq!(action["outputs"]["token"]["value"], "${{ steps.get.outputs.token }}");
    let runs = &action["runs"];
    assert_eq!(runs["using"], "composite");
    let mut world = World::new();
    world.on_github();
    let checksum = world.checksum.clone();
    let filled = |value: &Value, checksum: &str| {
        let mut value = text(value);
        for (name, given) in with {
            value = value.replace(&format!("${{{{ inputs.{name} }}}}"), &text(given));
        }
        assert!(!value.contains("${{"), "{value}");
        value.replace(CHECKSUM, checksum)
    };
    let output = world.folder.join("output");
    for wrong in [true, false] {
        let checksum = if wrong { "1".repeat(64) } else { checksum.clone() };
        for step in runs["steps"].as_array().unwrap() {
            assert_eq!(step["shell"], "bash");
            let env: Vec<(&str, String)> = step["env"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(n, value)| (n.as_str(), filled(value, &checksum)))
                .collect();
            // An expression in the script itself would be run as it is given.
            assert!(!text(&step["run"]).contains("${{"));
            if wrong {
                let out = world.step(GITHUB_BASH, &text(&step["run"]), &env);
                assert!(!out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
                assert_eq!(fs::read_to_string(world.folder.join("path")).unwrap(), "");
                break;
            }
            let out = world.good(GITHUB_BASH, &text(&step["run"]), &env);
            let is_get = step["id"] == "get";
            let masked = String::from_utf8_lossy(&out.stderr).contains(&format!("::add-mask::{TOKEN}"));
            assert_eq!(masked, is_get);
        }
        let written = fs::read_to_string(&output).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        match (wrong, lines.as_slice()) {
            (true, []) => {}
            (false, [first, TOKEN, last]) => assert_eq!(*first, format!("token<<{last}")),
            _ => panic!("{wrong}: {written}"),
        }
    }
    let last = steps.last().unwrap();
    assert_eq!(last["env"]["API_TOKEN"], "${{ steps.tok.outputs.token }}");
    world.good(GITHUB, &text(&last["run"]), &[("API_TOKEN", TOKEN.into())]);
    world.deployed();
}

#[test]
fn the_workflow_for_gitlab_deploys() {
    needs!("python3", "curl", "sha256sum", "tar");
    let workflow = yaml!(&blocks("GitLab", "yaml")[0]);
    let job = &workflow["deploy"];
    let (name, token) = job["id_tokens"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(token["aud"], "https://id.example.com");
    let mut world = World::new();
    world.sandbox.set("GITLAB_CI", "true").set("CI_SERVER_URL", "https://ci.example").set(name, identity());
    // The runner's umask is 0000.
    chmod(&world.sandbox.work().join("ci"), 0o777);
    chmod(&world.sandbox.work().join("ci/tok.toml"), 0o666);
    let lines = ["before_script", "script"].map(|key| job[key].as_array().unwrap().clone()).concat();
    let lines: Vec<String> = lines.iter().map(text).filter(|line| !line.starts_with("apt-get ")).collect();
    let script = format!("set -eo pipefail\n{}", lines.join("\n"));
    let bin = world.folder.join("bin").display().to_string();
    let script = script.replace("/tmp/", &format!("{}/", world.folder.display())).replace("/usr/local/bin", &bin);
    world.good(&["-c"], &script, &[]);
    world.deployed();
    let without = script.replace("chmod go-w ci ci/tok.toml", "chmod 777 ci");
    let out = world.step(&["-c"], &without, &[]);
    assert_eq!(out.status.code(), Some(125), "the page says why the line is there");
    assert!(String::from_utf8_lossy(&out.stderr).contains("(status 3)"), "{out:?}");
}

#[test]
fn the_workflow_for_circleci_deploys() {
    needs!("python3", "curl", "sha256sum", "tar");
    let workflow = yaml!(&blocks("CircleCI", "yaml")[0]);
    assert!(workflow["workflows"]["deploy"]["jobs"][0]["deploy"]["context"].is_string());
    let mut world = World::new();
    let bash_env = world.folder.join("env");
    put(&bash_env, b"");
    world.sandbox.set("CIRCLECI", "true").set("BASH_ENV", &bash_env).set("CIRCLE_OIDC_TOKEN_V2", "of.the.organization");
    let claims = json!({"aud": "https://id.example.com"});
    world.program(
        "circleci",
        &format!("[ \"$*\" = 'run oidc get --claims {claims}' ] || exit 2\necho '{}'", identity()),
    );
    let steps = workflow["jobs"]["deploy"]["steps"].as_array().unwrap();
    let scripts: Vec<String> = steps.iter().filter_map(|step| step.pointer("/run/command")).map(text).collect();
    assert_eq!(scripts.len(), 2);
    for script in scripts {
        // CircleCI takes `<<` for its own.
        assert!(!script.contains("<<"));
        let script = script.replace("/tmp/", &format!("{}/", world.folder.display()));
        world.good(CIRCLECI, &script, &[]);
    }
    world.deployed();
}

#[test]
fn the_workflow_for_buildkite_deploys() {
    needs!("python3", "curl", "sha256sum", "tar");
    let workflow = yaml!(&blocks("Buildkite", "yaml")[0]);
    let mut world = World::new();
    world.sandbox.set("BUILDKITE", "true");
    let redacted = world.folder.join("redacted");
    world.program(
        "buildkite-agent",
        &format!(
            "case \"$*\" in\n'oidc request-token --audience https://id.example.com') echo '{}' ;;\n\
             'redactor add') cat >'{}' ;;\n*) exit 2 ;;\nesac",
            identity(),
            redacted.display()
        ),
    );
    let script = text(&workflow["steps"][0]["command"]);
    assert!(script.replace("$$", "").matches('$').count() == 0, "one `$` is for the upload");
    world.good(BUILDKITE, &script.replace("$$", "$"), &[]);
    world.deployed();
    assert!(!redacted.exists(), "tok curl prints no token");
    // The line for the token itself.
    let (_, line) = PAGE.split_once("`token=$$(./tok ").unwrap();
    let line = line.split('`').next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let script = format!("token=$(./tok {line}\ntest -n \"$token\"");
    world.good(BUILDKITE, &script, &[]);
    assert_eq!(fs::read_to_string(redacted).unwrap(), TOKEN);
}

#[test]
fn the_config_of_the_page_works_and_so_do_the_recipes() {
    needs!("curl", "bash");
    let mut world = World::new();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tok"), world.folder.join("bin/tok")).unwrap();
    world.on_github();
    let config = blocks("The config", "toml").remove(0);
    assert_eq!(config.lines().count(), 5);
    let (line, uses) = (blocks("The config", "sh").remove(0), blocks("The config", "sh").remove(1));
    assert_eq!(uses.lines().count(), 2);
    for use_ in uses.lines() {
        let before = world.deployments();
        world.good(GITHUB, use_, &[]);
        assert_eq!(world.deployments(), before + 1, "{use_}");
        let out = world.step(GITHUB, use_, &[("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-another".into())]);
        assert_eq!((out.status.code(), world.deployments()), (Some(125), before + 1), "{use_}");
    }
    // The lines for a step that needs the token itself.
    let (_, rest) = PAGE.split_once("write `token=").unwrap();
    let script = format!("token={}\ntest \"$token\" = {TOKEN}", rest.split('`').next().unwrap());
    world.good(GITHUB, &script, &[]);
    put(&world.sandbox.work().join("ci/tok.toml"), config.as_bytes());
    world.sandbox.run(line.trim().strip_prefix("tok ").unwrap()).silent().prints(&format!("{TOKEN}\n"));

    let recipes = blocks("The others", "toml").concat();
    let file = world.sandbox.file_arg("projected", identity());
    let recipes = recipes.replace("/var/run/secrets/tokens/id.example.com", &file);
    put(&world.sandbox.work().join("ci/tok.toml"), recipes.as_bytes());
    world.sandbox.set("BITBUCKET_STEP_OIDC_TOKEN", identity());
    let words = "sts get-web-identity-token --audience https://id.example.com --signing-algorithm RS256 --query WebIdentityToken --output text";
    world.program("aws", &format!("[ \"$*\" = '{words}' ] || exit 2\necho '{}'", identity()));
    // With the words of their documents.
    let stand_in = |name: &str, words: &str| {
        world.program(name, &format!("[ \"$*\" = '{words}' ] || exit 2\necho '{}'", identity()));
    };
    stand_in("az", "account get-access-token --resource api://AzureADTokenExchange --query accessToken --output tsv");
    stand_in(
        "gcloud",
        "auth print-identity-token --impersonate-service-account deploy@project.iam.gserviceaccount.com --audiences https://id.example.com --include-email",
    );
    stand_in("kubectl", "create token deploy --audience https://id.example.com --duration 10m");
    for name in ["azure-arc", "impersonated", "requested"] {
        world
            .sandbox
            .run(&format!("get {name} --no-store --config ci/tok.toml"))
            .silent()
            .prints(&format!("{TOKEN}\n"));
    }
    for name in ["from-variable", "from-file", "from-program"] {
        world.sandbox.run(&format!("get {name} --ci --config ci/tok.toml")).silent().prints(&format!("{TOKEN}\n"));
        assert_eq!(world.front.last().field("subject_token_type"), "urn:ietf:params:oauth:token-type:jwt");
    }
}

/// The bodies are those of the documents: RFC 8693 §2.1 as Google's token service takes it, and the federated credential
/// of Entra ID.
#[test]
fn servers_that_trust_ci_services_get_what_they_expect() {
    let mut world = World::new();
    world.on_github();
    put(
        &world.sandbox.work().join("ci/tok.toml"),
        blocks("Servers that trust CI services", "toml").concat().as_bytes(),
    );
    let ask = |name: &str| {
        world.sandbox.run(&format!("get {name} --ci --config ci/tok.toml")).silent().prints(&format!("{TOKEN}\n"));
        let asked =
            world.runner.last().query().into_iter().find(|(name, _)| name == "audience").map(|(_, value)| value);
        let mut form = world.front.last().form();
        form.sort();
        let pairs: Vec<String> = form.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        (asked.unwrap(), pairs.join("\n").replace(&identity(), "IDENTITY"))
    };
    let pool = "iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/ci/providers/main";
    let google = format!(
        "audience=//{pool}\ngrant_type=urn:ietf:params:oauth:grant-type:token-exchange\n\
         requested_token_type=urn:ietf:params:oauth:token-type:access_token\n\
         scope=https://www.googleapis.com/auth/cloud-platform\nsubject_token=IDENTITY\n\
         subject_token_type=urn:ietf:params:oauth:token-type:jwt"
    );
    assert_eq!(ask("google"), (format!("https://{pool}"), google));
    let assertion = "client_assertion=IDENTITY\n\
                     client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let entra = format!(
        "{assertion}\nclient_id=00000000-0000-0000-0000-000000000000\ngrant_type=client_credentials\n\
         scope=https://management.azure.com/.default"
    );
    assert_eq!(ask("entra"), ("api://AzureADTokenExchange".into(), entra));
    let other = format!("{assertion}\nclient_id=deploy\ngrant_type=client_credentials");
    assert_eq!(ask("server"), ("https://id.example.com".into(), other));
}

#[test]
fn every_yaml_block_is_valid() {
    needs!("python3");
    let mut read = 0;
    for block in PAGE.split("\n```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()) {
        assert!(yaml!(block).is_object());
        read += 1;
    }
    assert!(read >= 6, "{read}");
}
