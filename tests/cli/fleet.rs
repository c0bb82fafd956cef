//! The setups of `docs/fleet.md`: the files in `docs/fleet/` are used as they are. A real OpenBao is set up by their commands,
//! with the policies that stand there; the workflow, the job of Kubernetes and the crontab are run as their runners run
//! them, on several machines at once.

use crate::child::Start;
use crate::ci_docs::{CHECKSUM, GITHUB, archive, yaml};
use crate::kubernetes_store::Cluster;
use crate::readme::tunnel_to;
use crate::shared_stores::{at, saw};
use crate::skip::{is_root, needs, skip};
use crate::support::apiax::{self, Apiax};
use crate::support::issuer::ServerKey;
use crate::support::openbao::{self, OpenBao, free_port};
use crate::support::server::{Certified, Received, Reply, Server};
use crate::support::{CANARY, Sandbox, chmod, figures, full_sweeps, now, put, until};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PAGE: &str = include_str!("../../docs/fleet.md");
/// Where a pod has what is its service account's.
const POD: &str = "/run/secrets/kubernetes.io/serviceaccount";
/// Whose tokens the jobs of a repository show to the vault.
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// A file of `docs/fleet/`.
fn file(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// Where the files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet")
}

/// The documents of a YAML file; `None` where no parser can be had.
pub fn documents(name: &str) -> Option<Vec<Value>> {
    file(name).split("\n---\n").map(yaml).collect()
}

macro_rules! documents {
    ($name:expr) => {
        match documents($name) {
            Some(documents) => documents,
            None => skip!("python3 has no yaml (Debian: python3-yaml)"),
        }
    };
}

/// The hosts that the files name: a vault, GitHub and the API, behind a proxy that leads there, and the provider.
struct World {
    apiax: Apiax,
    vault: OpenBao,
    /// GitHub, the API, and where tok is downloaded from.
    front: Server,
    proxy: String,
    /// The certificates of all of them.
    trusted: PathBuf,
    checksum: String,
    /// The machine of whoever administers the vault, with its program on `PATH`.
    admin: Sandbox,
}

/// What shows to GitHub that a job runs for this branch.
fn job_of(branch: &str) -> String {
    format!("job-of-{branch}-{CANARY}")
}

/// The identity of the job that asks.
fn identity(key: &ServerKey, request: &Received) -> Reply {
    let shown = request.header("authorization").unwrap_or_default();
    let branch = ["main", "feature"].into_iter().find(|branch| shown.ends_with(&format!(" {}", job_of(branch))));
    let audience = request.query().into_iter().find(|(name, _)| name == "audience");
    let (Some(branch), Some((_, audience))) = (branch, audience) else { return Reply::json(403, json!({})) };
    let claims = json!({
        "iss": ISSUER, "aud": audience, "sub": format!("repo:example/reports:ref:refs/heads/{branch}"),
        "repository": "example/reports", "ref": format!("refs/heads/{branch}"),
        "nbf": now() - 300, "iat": now(), "exp": now() + 300,
    });
    Reply::json(200, json!({"value": key.sign("ES256", &claims)}))
}

impl World {
    /// Starts it, and sets the vault up by its file; says why there is none.
    fn start() -> Result<World, String> {
        World::with_config("")
    }

    /// The same with a vault that has `more` in its config.
    fn with_config(more: &str) -> Result<World, String> {
        let program = openbao::program()?;
        let mut admin = Sandbox::new();
        let (archive, checksum) = archive(&admin);
        let key = ServerKey::new("k1");
        let names = [
            "token.actions.githubusercontent.com",
            "run.actions.githubusercontent.com",
            "api.example.com",
            "downloads.example.com",
        ];
        let front = Server::tls_as(Certified::new(&names, false), move |request| match request.path() {
            "/.well-known/openid-configuration" => Reply::json(
                200,
                json!({
                    "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/.well-known/jwks"),
                    "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                }),
            ),
            "/.well-known/jwks" => Reply::json(200, json!({"keys": [key.jwk()]})),
            "/idtoken" => identity(&key, request),
            "/tok-x86_64-linux.tar.gz" => Reply::new(200, "application/gzip", archive.clone()),
            path if path.starts_with("/reports/") => match request.header("authorization") {
                Some(shown) if shown.starts_with("Bearer at-") => Reply::text(200, &format!("report of {path}\n")),
                _ => Reply::json(401, json!({})),
            },
            _ => Reply::html(404),
        });
        // The vault has the name of the files at a port that the proxy leads to.
        let (ca, certificate, private) = certificate("vault.example.com");
        let files = ["vault.pem", "vault.key"].map(|name| admin.file_arg(name, ""));
        put(Path::new(&files[0]), certificate.as_bytes());
        put(Path::new(&files[1]), private.as_bytes());
        let trusted = ca + &fs::read_to_string(front.ca_file()).unwrap();
        let trusted = admin.file("trusted.pem", trusted);
        let mut failed = String::new();
        for _ in 0..5 {
            let (port, other) = (free_port(), front.port());
            let route = move |to: &str| if to == "vault.example.com:8200" { port } else { other };
            let proxy = format!("http://127.0.0.1:{}", tunnel_to(route));
            let config = format!(
                "listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n tls_cert_file = {:?}\n tls_key_file = {:?}\n}}\n{more}",
                files[0], files[1],
            );
            let env = [("HTTPS_PROXY", proxy.as_str()), ("SSL_CERT_FILE", trusted.to_str().unwrap())];
            match OpenBao::try_start(&program, &config, &env) {
                Err(why) => failed = why,
                Ok(vault) => {
                    let bin = admin.home().join("bin");
                    fs::create_dir(&bin).unwrap();
                    symlink(&program, bin.join("bao")).unwrap();
                    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
                    admin.set("PATH", path).set("BAO_ADDR", "https://vault.example.com:8200");
                    admin.set("BAO_TOKEN", openbao::root()).set("HTTPS_PROXY", &proxy).set("SSL_CERT_FILE", &trusted);
                    let world = World { apiax: Apiax::start(), vault, front, proxy, trusted, checksum, admin };
                    for entry in fs::read_dir(folder()).unwrap().flatten() {
                        fs::copy(entry.path(), world.admin.work().join(entry.file_name())).unwrap();
                    }
                    // Dev mode has one already.
                    world.vault.does("DELETE", "sys/mounts/secret", Value::Null);
                    world.administer("vault.sh", &[]);
                    return Ok(world);
                }
            }
        }
        panic!("OpenBao does not start: {failed}")
    }

    /// Runs a file of commands in the folder of the files.
    #[track_caller]
    fn administer(&self, name: &str, words: &[&str]) {
        let mut command = Command::new("sh");
        command.arg(name).args(words).current_dir(self.admin.work()).env_clear();
        good(name, &command.envs(environment(&self.admin)).finish().unwrap());
    }

    /// A machine that reaches the hosts of the files.
    fn machine(&self) -> Sandbox {
        let mut sandbox = Sandbox::new();
        sandbox.set("HTTPS_PROXY", &self.proxy).set("SSL_CERT_FILE", &self.trusted);
        sandbox.set("TOK_APIAX_BASE_URL", self.apiax.server.url());
        sandbox
    }

    /// A host of `docs/fleet/cron.sh` with the files that this has left.
    fn host(&self) -> Sandbox {
        let machine = self.machine();
        for file in ["role-id", "secret-id"] {
            put(&machine.config_dir().join(file), &fs::read(self.admin.work().join(file)).unwrap());
            chmod(&machine.config_dir().join(file), 0o400);
        }
        machine.config(&file("cron.toml"));
        machine
    }

    /// The person who logs in, with the rights that the page gives to people, and an access token that expires soon.
    fn person(&self) -> Sandbox {
        let made = self.vault.does("POST", "auth/token/create", json!({"policies": ["tok-person"]}));
        let mut person = self.machine();
        person.set("VAULT_ADDR", "https://vault.example.com:8200");
        person.set("VAULT_TOKEN", made["auth"]["client_token"].as_str().unwrap());
        log_in(&self.apiax, &person, "vault:secret/ci/tok");
        person
    }

    /// The bearers that the API was shown.
    fn bearers(&self) -> Vec<String> {
        let asked = self.front.requests().into_iter().filter(|request| request.path().starts_with("/reports/"));
        asked.map(|request| request.header("authorization").unwrap_or_default().to_string()).collect()
    }
}

/// A certificate for `name` and its key, and the CA that vouches for it.
fn certificate(name: &str) -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "the vault's CA");
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let (issuer, key) = (Issuer::new(params, key), KeyPair::generate().unwrap());
    let leaf = CertificateParams::new(vec![name.to_string()]).unwrap().signed_by(&key, &issuer).unwrap();
    (ca, leaf.pem(), key.serialize_pem())
}

/// The environment that tok has in `sandbox`.
fn environment(sandbox: &Sandbox) -> Vec<(String, String)> {
    let command = sandbox.tok(["-V"]).command();
    let text = |text: &std::ffi::OsStr| text.to_str().unwrap().to_string();
    command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?)))).collect()
}

/// Logs `apiax` in at a shared store, and lets the access token expire.
#[track_caller]
pub fn log_in(apiax: &Apiax, person: &Sandbox, store: &str) {
    apiax.state(|state| state.life = 1);
    let password = person.file_arg("password", apiax::password());
    let login = ["login", "apiax", "password", "--store", store, "--username", apiax::USERNAME];
    person.tok(login).args(["--password-file", &password]).run().prints("");
    let start = now();
    until("the token has expired", || now() > start + 1);
    apiax.state(|state| state.life = 1800);
}

/// It went well; what it printed. No secret is in the log.
#[track_caller]
pub fn good(what: &str, out: &Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{what}: {out:?}");
    assert!(!said.contains(CANARY), "a secret on stderr: {said}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs all at once.
pub fn together<T: Send, R: Send>(all: Vec<T>, run: impl Fn(T) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let running: Vec<_> = all.into_iter().map(|one| scope.spawn(|| run(one))).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

macro_rules! world {
    () => {
        match World::start() {
            Ok(world) => world,
            Err(why) => skip!("{why}"),
        }
    };
}

#[test]
fn the_workflow_for_github_actions_shares_one_session() {
    needs!("bash", "python3", "curl", "sha256sum", "tar");
    let workflow = documents!("github-actions.yml").remove(0);
    let world = world!();
    world.administer("github-actions.sh", &[]);
    let person = world.person();
    let job = &workflow["jobs"]["report"];
    assert_eq!(workflow["permissions"]["id-token"], "write");
    let regions: Vec<&str> =
        job["strategy"]["matrix"]["region"].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
    assert!(regions.len() >= 2);
    let steps: Vec<&Value> = job["steps"].as_array().unwrap().iter().filter(|step| step["run"].is_string()).collect();
    let runner = |branch: &str| {
        let mut machine = world.machine();
        put(&machine.work().join("ci/tok.toml"), file("github-actions.toml").as_bytes());
        let temp = machine.home().join("temp");
        put(&temp.join("path"), b"");
        for (name, value) in [
            ("CI", "true".into()),
            ("GITHUB_ACTIONS", "true".into()),
            (
                "ACTIONS_ID_TOKEN_REQUEST_URL",
                "https://run.actions.githubusercontent.com/idtoken?api-version=2.0".into(),
            ),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", job_of(branch)),
            ("RUNNER_TEMP", temp.display().to_string()),
            ("GITHUB_PATH", temp.join("path").display().to_string()),
        ] {
            machine.set(name, value);
        }
        machine
    };
    // The steps of one job, each in a shell of its own; what the last one printed.
    let run = |(branch, region): (&str, &str)| {
        let mut machine = runner(branch);
        let mut last = None;
        for step in &steps {
            let script = step["run"].as_str().unwrap().replace(CHECKSUM, &world.checksum);
            assert!(!script.contains("${{"), "{script}");
            let mut bash = Command::new("bash");
            bash.args(GITHUB).arg(script).env_clear().current_dir(machine.work()).envs(environment(&machine));
            for (name, value) in step["env"].as_object().into_iter().flatten() {
                bash.env(name, value.as_str().unwrap().replace("${{ matrix.region }}", region));
            }
            let out = bash.finish().unwrap();
            let added = fs::read_to_string(machine.home().join("temp/path")).unwrap();
            let path = environment(&machine).into_iter().find(|(name, _)| name == "PATH").unwrap().1;
            machine.set("PATH", added.lines().chain([path.as_str()]).collect::<Vec<_>>().join(":"));
            last = Some(out);
        }
        last.unwrap()
    };
    let printed = together(regions.clone(), |region| good(region, &run(("main", region))));
    let expected: Vec<String> = regions.iter().map(|region| format!("report of /reports/{region}\n")).collect();
    assert_eq!(printed, expected);
    assert_eq!(world.bearers(), vec![format!("Bearer {}", at(2)); regions.len()]);
    saw(&world.apiax, &["password", "refresh_token"]);
    // The vault lets no other branch in.
    let out = run(("feature", "asia"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(125) && said.contains("(status 7)") && said.contains("jwt"), "{said}");
    person.run("logout apiax").ok();
    let out = run(("main", "asia"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(125) && said.contains("(status 4)") && said.contains("logged out"), "{said}");
    assert_eq!(world.bearers().len(), regions.len());
    saw(&world.apiax, &["password", "refresh_token"]);
}

#[test]
fn the_crontab_shares_one_session() {
    needs!("sh", "curl");
    let world = world!();
    world.administer("cron.sh", &["once"]);
    let person = world.person();
    let crontab = file("crontab");
    let is_setting = |line: &&str| line.split(' ').next().unwrap().contains('=');
    let (settings, jobs): (Vec<&str>, Vec<&str>) = crontab.lines().partition(is_setting);
    assert_eq!((settings.len(), jobs.len()), (1, 1));
    let command = jobs[0].splitn(6, ' ').nth(5).unwrap();
    // cron ends the command at a `%`.
    assert!(!command.contains('%'));
    let host = |name: String| {
        world.administer("cron.sh", &["host", &name]);
        let machine = world.host();
        fs::create_dir(machine.home().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_tok"), machine.home().join("bin/tok")).unwrap();
        machine
    };
    let hosts: Vec<Sandbox> = (0..4).map(|number| host(format!("host-{number}"))).collect();
    // As cron does: its own few variables, those of the crontab, the shell, the home folder.
    let run = |host: &Sandbox| {
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", command]).env_clear().current_dir(host.home());
        sh.env("HOME", host.home()).env("LOGNAME", "reports").env("SHELL", "/bin/sh").env("PATH", "/usr/bin:/bin");
        for (name, value) in settings.iter().map(|line| line.split_once('=').unwrap()) {
            let bin = host.home().join("bin").display().to_string();
            sh.env(name, value.replace("/usr/local/bin", &bin));
        }
        // Those of this test's world.
        let world = ["HTTPS_PROXY", "SSL_CERT_FILE", "TOK_APIAX_BASE_URL"];
        sh.envs(environment(host).into_iter().filter(|(name, _)| world.contains(&name.as_str())));
        sh.finish().unwrap()
    };
    let printed = together(hosts.iter().collect(), |host| good(command, &run(host)));
    assert_eq!(printed, vec![String::new(); 4], "cron would send mail");
    for host in &hosts {
        assert_eq!(fs::read_to_string(host.home().join("report")).unwrap(), "report of /reports/all\n");
    }
    assert_eq!(world.bearers(), vec![format!("Bearer {}", at(2)); 4]);
    // What only the machines' own caches hold, they take without the vault.
    assert_eq!(together(hosts.iter().collect(), |host| good(command, &run(host))), vec![String::new(); 4]);
    saw(&world.apiax, &["password", "refresh_token"]);
    // A host that is given up: its secret no longer opens the vault, the others' do.
    let secret = fs::read_to_string(hosts[3].config_dir().join("secret-id")).unwrap();
    world.vault.does("POST", "auth/approle/role/reports/secret-id/destroy", json!({"secret_id": secret.trim()}));
    hosts[3].forget_cache();
    let out = run(&hosts[3]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(125) && said.contains("approle") && said.contains("(status 7)"), "{said}");
    hosts[2].forget_cache();
    good(command, &run(&hosts[2]));
    saw(&world.apiax, &["password", "refresh_token"]);
    person.run("logout apiax").ok();
    hosts[2].forget_cache();
    assert_eq!(run(&hosts[2]).status.code(), Some(125));
}

/// Runs `command` as a container of the manifest: its variables alone, its user, a root folder that is not its own, the
/// files of the service account, and an empty home that everybody may write to. The folders are mounted, which not every
/// machine allows: `None`.
pub fn in_pod(
    container: &Value,
    pod: &Value,
    account: &Path,
    programs: &[(&str, &Path)],
    env: &[(&str, String)],
) -> Option<Output> {
    let home = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert!(home.starts_with("/home/") && pod["volumes"][0]["emptyDir"].is_object());
    let mut script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p {POD} && cp \"$0\"/* {POD}/ && chmod 644 {POD}/* || exit 77\n\
         mount -t tmpfs tmpfs /home && mkdir -m 777 {home} || exit 77\n\
         mount -t tmpfs tmpfs /usr/local || exit 77; mkdir /usr/local/bin\n"
    );
    for (name, program) in programs {
        let at = format!("/usr/local/bin/{name}");
        script += &format!("touch {at}; mount --bind '{}' {at} || exit 77\n", program.display());
    }
    let user = &pod["securityContext"];
    let mut words = String::new();
    if is_root() {
        words = format!("setpriv --reuid {} --regid {} --clear-groups ", user["runAsUser"], user["runAsGroup"]);
    }
    script += &format!("cd /; exec {words}\"$@\"\n");
    let mut command = Command::new("unshare");
    command.args(if is_root() { ["-m"].as_slice() } else { ["-r", "-m"].as_slice() });
    command.args(["/bin/sh", "-c", &script]).arg(account);
    command.args(container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()));
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for one in container["env"].as_array().unwrap() {
        command.env(one["name"].as_str().unwrap(), one["value"].as_str().unwrap());
    }
    let out = command.envs(env.iter().map(|(name, value)| (name, value))).finish().unwrap();
    let is_refused = out.status.code() == Some(77) || out.stderr.starts_with(b"unshare: ");
    (!is_refused).then_some(out)
}

#[test]
fn the_cronjob_of_kubernetes_shares_one_session() {
    needs!("kubectl", "python3", "unshare", "mount", "setpriv");
    let (rbac, cronjob) = (documents!("rbac.yaml"), documents!("cronjob.yaml").remove(0));
    let [account, role, binding] = rbac.as_slice() else { panic!("{rbac:?}") };
    let template = &cronjob["spec"]["jobTemplate"]["spec"];
    let pod = &template["template"]["spec"];
    let container = &pod["containers"][0];
    // The names fit together.
    let store = container["env"].as_array().unwrap().iter().find(|one| one["name"] == "TOK_STORE").unwrap();
    let store = store["value"].as_str().unwrap();
    assert_eq!((&pod["serviceAccountName"], store), (&account["metadata"]["name"], "kubernetes:jobs/tok-"));
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    assert_eq!(
        (&binding["subjects"][0]["kind"], &binding["subjects"][0]["name"]),
        (&account["kind"], &account["metadata"]["name"])
    );
    for one in rbac.iter().chain([&cronjob]) {
        assert_eq!(one["metadata"]["namespace"], "jobs", "{one}");
    }
    let [rule] = role["rules"].as_array().unwrap().as_slice() else { panic!("{role}") };
    assert_eq!((&rule["resources"], &rule["resourceNames"]), (&json!(["secrets"]), &json!(["tok-apiax"])));

    let (cluster, apiax) = (Cluster::start(), Apiax::start());
    let person = cluster.machine(&apiax, &cluster.token());
    log_in(&apiax, &person, store);
    // From here on the jobs have the rights of the Role and no others.
    let allowed: Vec<String> =
        rule["verbs"].as_array().unwrap().iter().map(|verb| verb.as_str().unwrap().into()).collect();
    cluster.state(|state| state.verbs = allowed);
    let files = person.file("account/token", cluster.state(|state| state.token.clone()));
    let account = files.parent().unwrap();
    fs::copy(cluster.server.ca_file(), account.join("ca.crt")).unwrap();
    put(&account.join("namespace"), b"jobs");
    let reports = person.file("reports", "#!/bin/sh\necho \"$ACCESS_TOKEN $(id -u) ${TOK_STORE-none}\"\n");
    chmod(&reports, 0o755);
    let programs = [("tok", Path::new(env!("CARGO_BIN_EXE_tok"))), ("reports", reports.as_path())];
    let env = [
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1".to_string()),
        ("KUBERNETES_SERVICE_PORT", cluster.server.port().to_string()),
        ("TOK_APIAX_BASE_URL", apiax.server.url()),
    ];
    let run = |_: usize| in_pod(container, pod, account, &programs, &env);
    let count = template["parallelism"].as_u64().unwrap() as usize;
    assert!(count >= 2);
    let pods = together((0..count).collect(), run);
    let Some(pods) = pods.into_iter().collect::<Option<Vec<Output>>>() else { skip!("nothing may be mounted here") };
    let user = if is_root() { pod["securityContext"]["runAsUser"].to_string() } else { "0".into() };
    for out in &pods {
        assert_eq!(good("the container", out), format!("{} {user} none\n", at(2)));
    }
    saw(&apiax, &["password", "refresh_token"]);
    // A pod that comes later takes it from the Secret.
    assert_eq!(good("the container", &run(0).unwrap()), format!("{} {user} none\n", at(2)));
    saw(&apiax, &["password", "refresh_token"]);
    cluster.state(|state| state.token = "another".into());
    let out = run(0).unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(125) && said.contains("the pod's service account"), "{said}");
}

/// A vault that writes down in `log` what it is asked, with what the hosts of cron need.
fn watched(log: &Path) -> Result<World, String> {
    let config = format!("audit \"file\" \"log\" {{\n options = {{ file_path = {log:?} }}\n}}\n");
    let world = World::with_config(&config)?;
    world.administer("cron.sh", &["once"]);
    world.administer("cron.sh", &["host", "fleet"]);
    Ok(world)
}

/// What a vault was asked, as its own log has it: the time in seconds, and what for.
fn asked(log: &Path, skip: usize) -> Vec<(String, String)> {
    let text = fs::read_to_string(log).unwrap();
    let lines = text.lines().skip(skip).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let requests = lines.filter(|line| line["type"] == "request");
    let text = |value: &Value| value.as_str().unwrap().to_string();
    requests
        .map(|line| {
            let path = text(&line["request"]["path"]);
            let what = match text(&line["request"]["operation"]).as_str() {
                _ if path.ends_with("/login") => "login",
                "read" if path.starts_with("secret/data/") => "read",
                "update" | "create" if path.starts_with("secret/data/") => "write",
                _ => "other",
            };
            (text(&line["time"])[..19].to_string(), what.to_string())
        })
        .collect()
}

/// How much of a vault many processes need that log in by AppRole and find that the token has expired. `./test --full`
/// shows the figures of docs/fleet.md.
#[test]
fn many_processes_ask_little_of_a_vault() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let world = match watched(&log) {
        Ok(world) => world,
        Err(why) => skip!("{why}"),
    };
    let counts: &[usize] = if full_sweeps() { &[50, 200, 500] } else { &[16] };
    for (round, count) in counts.iter().enumerate() {
        drop(world.person());
        let machines: Vec<Sandbox> = (0..*count).map(|_| world.host()).collect();
        let before = fs::read_to_string(&log).unwrap().lines().count();
        let begun = Instant::now();
        let running: Vec<_> =
            machines.iter().map(|machine| machine.tok(["get", "apiax", "--timeout", "280s"]).spawn()).collect();
        let mut took: Vec<Duration> = Vec::new();
        for run in running {
            let out = run.wait().silent();
            took.push(out.took);
            out.prints(&format!("{}\n", at(2 * (round + 1))));
        }
        let all = begun.elapsed();
        let asked = asked(&log, before);
        let of = |what: &str| asked.iter().filter(|(_, one)| one == what).count();
        let mut seconds = BTreeMap::new();
        asked.iter().for_each(|(second, _)| *seconds.entry(second).or_insert(0) += 1);
        took.sort();
        figures(&format!(
            "{count} machines: {:.1} s in all, half of them {:.1} s or less; {:.1} calls each: {} logins, {} reads, {} writes, {} others; {} in the busiest second",
            all.as_secs_f64(),
            took[count / 2].as_secs_f64(),
            asked.len() as f64 / *count as f64,
            of("login"),
            of("read"),
            of("write"),
            of("other"),
            seconds.values().max().unwrap(),
        ));
        assert_eq!(of("login"), *count);
        assert!(of("read") >= *count && of("write") >= 2, "{asked:?}");
        saw(&world.apiax, &["password", "refresh_token"].repeat(round + 1));
    }
    if full_sweeps() {
        let read = |name: &str| fs::read_to_string(world.admin.work().join(name)).unwrap().trim().to_string();
        let login = json!({"role_id": read("role-id"), "secret_id": read("secret-id")});
        for (what, count) in [("login", 2000), ("read", 4000), ("write", 2000)] {
            let begun = Instant::now();
            let done = AtomicUsize::new(0);
            together((0..8).collect(), |_: usize| {
                while done.fetch_add(1, Ordering::Relaxed) < count {
                    match what {
                        "login" => world.vault.does("POST", "auth/approle/login", login.clone()),
                        "read" => world.vault.does("GET", "secret/data/ci/tok/apiax", Value::Null),
                        _ => world.vault.does(
                            "POST",
                            "secret/data/ci/tok/probe",
                            json!({"data": {"entry": "x".repeat(2000)}}),
                        ),
                    };
                }
            });
            let rate = count as f64 / begun.elapsed().as_secs_f64();
            figures(&format!("{what}: {rate:.0} a second, each by a connection of its own"));
        }
    }
}

/// How long it takes from the moment at which the provider begins to send its reply to the one at which the vault has
/// taken the write of it: the window in which a session can be lost. The log of the vault is what tells.
#[test]
fn the_reply_of_the_provider_is_written_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let world = match watched(&log) {
        Ok(world) => world,
        Err(why) => skip!("{why}"),
    };
    drop(world.person());
    let machine = world.host();
    let day = 24.0 * 3600.0;
    let mut all: Vec<f64> = Vec::new();
    for _ in 0..if full_sweeps() { 50 } else { 5 } {
        machine.run("get apiax --fresh").silent().line();
        let sent = world.apiax.server.until_sent(world.apiax.server.sent());
        let sent = (SystemTime::now() - sent.elapsed()).duration_since(UNIX_EPOCH).unwrap().as_secs_f64() % day;
        let text = fs::read_to_string(&log).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut calls: Vec<Value> = lines.filter(|line| line["type"] == "response").collect();
        let is_write = |call: &Value| call["request"]["operation"] == "update";
        calls.truncate(calls.iter().rposition(is_write).map_or(0, |last| last + 1));
        // The write follows the lease: nothing else is asked between the reply and it.
        let [.., lease, write] = calls.as_slice() else { panic!("{text}") };
        for call in [lease, write] {
            assert_eq!(call["request"]["path"], "secret/data/ci/tok/apiax");
            assert_eq!(call["request"]["operation"], "update");
        }
        let time = write["time"].as_str().unwrap().trim_end_matches('Z');
        let parts: Vec<f64> = time[11..].split(':').map(|part| part.parse().unwrap()).collect();
        all.push(1000.0 * (parts[0] * 3600.0 + parts[1] * 60.0 + parts[2] - sent).rem_euclid(day));
    }
    all.sort_by(f64::total_cmp);
    let (median, most) = (all[all.len() / 2], all[all.len() - 1]);
    figures(&format!("from the provider's reply to the write in the vault: {median:.1} ms, at most {most:.1} ms"));
}

/// The page shows the files as they are.
#[test]
fn the_page_shows_the_files() {
    let mut shown = 0;
    for entry in fs::read_dir(folder()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(PAGE.contains(&format!("](fleet/{name})")), "docs/fleet.md does not name {name}");
        let block = format!("\n{}```\n", file(&name));
        assert!(PAGE.contains(&block), "docs/fleet.md does not show {name} as it is");
        shown += 1;
    }
    assert!(shown >= 9, "{shown}");
}
