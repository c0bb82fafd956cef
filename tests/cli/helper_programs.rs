//! `store = "helper:NAME"` with the programs of Debian's golang-docker-credential-helpers: `pass`, with a real GnuPG key,
//! and `secretservice`, with a real keyring.

use crate::child::Start;
use crate::skip::needs;
use crate::support::keyring::Keyring;
use crate::support::purewl::{self, PureWl};
use crate::support::{CANARY, Sandbox, walk};
use std::path::PathBuf;
use std::process::Command;

/// A password store whose key asks for `passphrase`. The agent ends when it is dropped.
struct Pass {
    gnupg: tempfile::TempDir,
    store: PathBuf,
}

impl Pass {
    fn new(sandbox: &mut Sandbox, passphrase: &str) -> Pass {
        // A socket's path is short.
        let gnupg = tempfile::Builder::new().prefix("gpg-").tempdir_in("/tmp").unwrap();
        let store = sandbox.home().join(".password-store");
        sandbox.set("GNUPGHOME", gnupg.path());
        let pass = Pass { gnupg, store };
        pass.run(
            "gpg",
            &[
                "--batch",
                "--quiet",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                passphrase,
                "--quick-gen-key",
                "tok-test",
                "future-default",
            ],
        );
        pass.run("pass", &["init", "tok-test"]);
        pass
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(args).env("GNUPGHOME", self.gnupg.path()).env("PASSWORD_STORE_DIR", &self.store);
        let out = command.finish().unwrap();
        assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// The entries, encrypted each.
    fn entries(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        walk(&self.store, &mut |path| {
            if path.extension().is_some_and(|ext| ext == "gpg") {
                found.push(std::fs::read(path).unwrap());
            }
        });
        found
    }

    /// The agent forgets what it was told.
    fn lock(&self) {
        self.run("gpgconf", &["--kill", "gpg-agent"]);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.gnupg.path()).finish();
    }
}

/// What any store has to do: one entry a profile, rotated with each refresh, gone after the logout.
fn keeps_a_session(purewl: &PureWl, sandbox: &Sandbox, entries: &dyn Fn() -> usize) {
    purewl::login(sandbox);
    sandbox.run("get purewl --fresh").silent().line();
    sandbox.run("get purewl --fresh").silent().line();
    assert_eq!(purewl.grants(), ["secret", "refresh", "refresh"]);
    assert_eq!(entries(), 1);
    assert!(!sandbox.secrets_file().exists());
    // However many ask at once, one renews.
    sandbox.forget_cache();
    let all: Vec<_> = (0..12).map(|_| sandbox.tok(["get", "purewl"]).spawn()).collect();
    let tokens: std::collections::BTreeSet<String> = all.into_iter().map(|run| run.wait().silent().line()).collect();
    assert_eq!((tokens.len(), purewl.grants().len()), (1, 4));
    sandbox.assert_no_lock_is_held();
    assert_eq!(entries(), 1);
}

#[test]
fn pass_keeps_a_session() {
    needs!("docker-credential-pass", "pass", "gpg");
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    let pass = Pass::new(&mut sandbox, "");
    sandbox.set("TOK_STORE", "helper:pass");
    keeps_a_session(&purewl, &sandbox, &|| pass.entries().len());
    assert!(pass.entries().iter().all(|entry| !entry.windows(CANARY.len()).any(|part| part == CANARY.as_bytes())));
    sandbox.run("logout purewl").prints("");
    assert_eq!(pass.entries().len(), 0);
    sandbox.run("get purewl").fails(4);
}

#[test]
fn pass_that_is_locked_or_not_set_up_is_7_without_its_words() {
    needs!("docker-credential-pass", "pass", "gpg");
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    let empty = sandbox.work();
    sandbox.set("TOK_STORE", "helper:pass").set("GNUPGHOME", empty);
    let key = sandbox.file_arg("key", purewl::secret_key());
    let login = ["login", "purewl", "--secret-key-file", &key];
    sandbox.tok(login).run().fails(7).never_says("not initialized").never_says("gpg");
    assert_eq!(purewl.server.connections(), 0);
    let pass = Pass::new(&mut sandbox, &format!("phrase-{CANARY}"));
    // Writing takes the public key alone.
    sandbox.tok(login).run().prints("");
    pass.lock();
    // Nobody is there to type the passphrase.
    for line in ["get purewl --fresh", "get purewl --fresh -vvv"] {
        sandbox.run(line).fails(7).soon().says("docker-credential-pass").never_says("gpg").never_says("ecrypt");
    }
    assert_eq!((purewl.grants().len(), pass.entries().len()), (1, 1));
    sandbox.assert_no_lock_is_held();
}

#[test]
fn secretservice_keeps_a_session() {
    needs!(keyring);
    needs!("docker-credential-secretservice");
    let keyring = Keyring::unlocked();
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_STORE", "helper:secretservice").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    let listed = || {
        let mut command = Command::new("docker-credential-secretservice");
        let out = command.arg("list").env("DBUS_SESSION_BUS_ADDRESS", keyring.address()).finish().unwrap();
        serde_json::from_slice::<std::collections::BTreeMap<String, String>>(&out.stdout).unwrap().len()
    };
    keeps_a_session(&purewl, &sandbox, &listed);
    keyring.lock();
    sandbox.run("get purewl --fresh").fails(7).soon().says("docker-credential-secretservice");
    assert_eq!(purewl.grants().len(), 4);
    sandbox.assert_no_lock_is_held();
}

#[test]
fn secretservice_without_a_service_is_7_without_its_words() {
    needs!(keyring);
    needs!("docker-credential-secretservice");
    let keyring = Keyring::absent();
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.set("TOK_STORE", "helper:secretservice").set("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    let key = sandbox.file_arg("key", purewl::secret_key());
    let out = sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run().fails(7).soon();
    out.never_says("freedesktop").never_says("org.");
    assert_eq!(purewl.server.connections(), 0);
}

#[test]
fn tok_is_not_its_own_store() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    // Else each would start the next.
    let bin = sandbox.home().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tok"), bin.join("docker-credential-tok")).unwrap();
    sandbox.config("store = \"helper:tok\"\n[profile.purewl]\nhosts = [\"tok\"]\n");
    sandbox.set("PATH", format!("{}:/usr/bin:/bin", bin.display())).unset("TOK_STORE");
    sandbox.run("get purewl").fails(3).says("helper:tok").soon();
    sandbox.set("TOK_STORE", "helper:tok").config("");
    sandbox.run("get purewl").fails(2).says("helper:tok").soon();
}
