//! Mail: the recipes of `docs/recipes.md` for msmtp, isync and mutt, curl, and the messages that tok makes itself, driven
//! for real against Dovecot, whose SASL server asks the one who issued the token (RFC 7662) what it is good for.

use crate::child::{Program, Start};
use crate::skip::{is_root, needs, skip};
use crate::support::server::{Reply, Server, lock};
use crate::support::{CANARY, Sandbox, figures, plain_provider, put, until};
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

const USER: &str = "me@example.com";

/// Dovecot refuses to serve mail as root; these are nobody and nogroup.
const NOBODY: u32 = 65534;

/// The files of a recipe, by their place on the page.
fn recipe(at: usize) -> String {
    let page = include_str!("../../docs/recipes.md");
    let section = page.split("\n## Mail\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let block = section.split("\n```").nth(2 * at + 1).unwrap();
    format!("{}\n", block.split_once('\n').unwrap().1)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a mail server hands a mail on to: it takes each, and keeps what it was told.
fn sink() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, told) = (listener.local_addr().unwrap().port(), Arc::<Mutex<String>>::default());
    let all = told.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut to = stream.try_clone().unwrap();
            let _ = to.write_all(b"220 sink\r\n");
            let mut is_text = false;
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lock(&all).push_str(&format!("{line}\n"));
                is_text = is_text && line != ".";
                let reply = match line.as_str() {
                    _ if is_text => continue,
                    "DATA" => "354 go on",
                    "QUIT" => "221 bye",
                    _ => "250 ok",
                };
                is_text = line == "DATA";
                let _ = to.write_all(format!("{reply}\r\n").as_bytes());
            }
        }
    });
    (port, told)
}

/// Why this Dovecot cannot take part: 2.4 has a config of another form.
fn unfit() -> Option<String> {
    let out = Command::new("dovecot").arg("--version").finish().unwrap();
    let version = shown(&out);
    figures(&format!("dovecot: {}", version.trim()));
    (!version.starts_with("2.3.")).then(|| format!("the test knows Dovecot 2.3, this is {}", version.trim()))
}

/// Dovecot, with one mailbox of one mail, for whoever shows a token that the issuer knows; and a profile `mail` there.
struct World {
    folder: tempfile::TempDir,
    dovecot: Program,
    issuer: Server,
    imap: u16,
    submission: u16,
    sent: Arc<Mutex<String>>,
    sandbox: Sandbox,
}

impl World {
    fn new() -> World {
        let issued = std::sync::atomic::AtomicUsize::new(0);
        let issuer = Server::new(move |request| match request.path() {
            // Dovecot's `introspection_mode = auth`.
            "/introspect" => match request.header("authorization") {
                Some(header) if header.starts_with(&format!("Bearer at-{CANARY}")) => {
                    Reply::json(200, serde_json::json!({"active": true, "email": USER}))
                }
                _ => Reply::json(401, serde_json::json!({"error": "invalid_token"})),
            },
            _ => {
                let n = issued.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Reply::token(&format!("at-{CANARY}-{n}"), 600)
            }
        });
        let (relay, sent) = sink();
        let (imap, submission) = (free_port(), free_port());
        let folder = tempfile::Builder::new().prefix("tok-mail-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["run", "state", "mail/Maildir/new", "mail/Maildir/cur", "mail/Maildir/tmp"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        put(&at("mail/Maildir/new/1.a.b"), b"From: you@example.com\nSubject: the subject\n\nthe mail\n");
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_string(), "127.0.0.1".to_string()];
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        put(&at("ca.pem"), certificate.pem().as_bytes());
        put(&at("key.pem"), key.serialize_pem().as_bytes());
        put(
            &at("oauth2.conf"),
            format!(
                "introspection_mode = auth\nintrospection_url = {}/introspect\nusername_attribute = email\n\
                 active_attribute = active\nactive_value = true\n",
                issuer.url()
            )
            .as_bytes(),
        );
        let name = |flag: &str| {
            let out = Command::new("id").arg(flag).output().unwrap();
            String::from_utf8(out.stdout).unwrap().trim().to_string()
        };
        let (user, group) = if is_root() { ("nobody".into(), "nogroup".into()) } else { (name("-un"), name("-gn")) };
        let path = folder.path().display();
        let config = format!(
            "protocols = imap submission\nbase_dir = {path}/run\nstate_dir = {path}/state\nlog_path = {path}/log\n\
             default_internal_user = {user}\ndefault_internal_group = {group}\ndefault_login_user = {user}\n\
             listen = 127.0.0.1\nhostname = localhost\ndisable_plaintext_auth = no\n\
             ssl = yes\nssl_cert = <{path}/ca.pem\nssl_key = <{path}/key.pem\n\
             auth_mechanisms = xoauth2 oauthbearer\n\
             passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {path}/oauth2.conf\n}}\n\
             userdb {{\n  driver = static\n  args = uid={user} gid={group} home={path}/mail\n}}\n\
             mail_location = maildir:{path}/mail/Maildir\n\
             submission_relay_host = 127.0.0.1\nsubmission_relay_port = {relay}\n\
             service anvil {{\n  chroot =\n}}\n\
             service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = {imap}\n  }}\n\
             inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
             service submission-login {{\n  chroot =\n  inet_listener submission {{\n    port = {submission}\n  }}\n}}\n"
        );
        put(&at("dovecot.conf"), config.as_bytes());
        let mut command = Command::new("dovecot");
        command.arg("-F").arg("-c").arg(at("dovecot.conf")).stdin(Stdio::null());
        if is_root() {
            use std::os::unix::process::CommandExt;
            let give = |path: &Path| std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            give(folder.path());
            let folders =
                ["run", "state", "mail", "mail/Maildir", "mail/Maildir/new", "mail/Maildir/cur", "mail/Maildir/tmp"];
            folders.iter().for_each(|name| give(&at(name)));
            crate::support::walk(folder.path(), &mut |path| give(path));
            command.uid(NOBODY).gid(NOBODY);
        }
        let dovecot = command.start().unwrap();
        for port in [imap, submission] {
            until("Dovecot listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        }
        let mut sandbox = Sandbox::with_file_store();
        sandbox.provider("mail", &plain_provider(&issuer.url(), ""));
        sandbox.set("TOK_MAIL_CLIENT_SECRET", format!("s-{CANARY}")).set("TERM", "xterm");
        let bin = Path::new(env!("CARGO_BIN_EXE_tok")).parent().unwrap();
        sandbox.set("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default()));
        World { folder, dovecot, issuer, imap, submission, sent, sandbox }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A program in the sandbox.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        let own = self.sandbox.tok(["x"]).command();
        command.env_clear().current_dir(self.sandbox.work());
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// How often Dovecot let somebody in by this mechanism.
    fn logins(&self, service: &str, mechanism: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let line =
            |line: &&str| line.contains(&format!("{service}-login: Info: Login: user=<{USER}>, method={mechanism},"));
        log.lines().filter(line).count()
    }

    #[track_caller]
    fn logged_in(&self, service: &str, mechanism: &str) {
        until("the login is in Dovecot's log", || self.logins(service, mechanism) == 1);
        assert!(self.issuer.requests().iter().any(|request| request.path() == "/introspect"));
    }

    /// From now on there is no token.
    fn lose_the_token(&mut self) {
        self.sandbox.unset("TOK_MAIL_CLIENT_SECRET");
        self.sandbox.forget_cache();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It ends its services.
        self.dovecot.signal(rustix::process::Signal::TERM);
        self.dovecot.wait();
    }
}

fn shown(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[track_caller]
fn ok(out: &Output) {
    assert!(out.status.success(), "{}", shown(out));
}

fn version(program: &str, flag: &str) {
    let out = Command::new(program).arg(flag).finish().unwrap();
    figures(&format!("{program}: {}", shown(&out).lines().next().unwrap_or_default()));
}

#[test]
fn msmtp_sends_a_mail() {
    needs!("dovecot", "msmtp");
    if let Some(why) = unfit() {
        skip!("{why}")
    }
    if !Path::new("/usr/lib/dovecot/submission").exists() {
        skip!("Dovecot has no submission service (Debian: dovecot-submissiond)")
    }
    version("msmtp", "--version");
    let mut world = World::new();
    let file = world.sandbox.work().join("msmtprc");
    let send = |world: &World, recipe: &str| {
        let config = format!(
            "account default\nhost localhost\nport {}\ntls on\ntls_starttls on\ntls_trust_file {}\nfrom {USER}\nuser {USER}\n{recipe}",
            world.submission,
            world.ca().display()
        );
        put(&file, config.as_bytes());
        crate::support::chmod(&file, 0o600);
        let mail = world.sandbox.file("mail", "Subject: sent\n\nthe mail that was sent\n");
        let mut command = world.program("sh");
        let line = "exec msmtp -C \"$1\" you@example.com <\"$2\"";
        command.args(["-c", line, "sh"]).arg(&file).arg(mail).finish().unwrap()
    };
    ok(&send(&world, &recipe(0)));
    assert!(lock(&world.sent).contains("the mail that was sent"));
    world.logged_in("submission", "XOAUTH2");
    ok(&send(&world, &recipe(0).replace("auth xoauth2", "auth oauthbearer")));
    world.logged_in("submission", "OAUTHBEARER");
    assert_eq!(lock(&world.sent).matches("the mail that was sent").count(), 2);
    // Without a token there is no login, and no mail.
    world.lose_the_token();
    assert!(!send(&world, &recipe(0)).status.success());
    assert_eq!(lock(&world.sent).matches("the mail that was sent").count(), 2);
}

#[test]
fn isync_fetches_a_mail() {
    needs!("dovecot", "mbsync");
    if let Some(why) = unfit() {
        skip!("{why}")
    }
    let folders =
        ["x86_64-linux-gnu", "aarch64-linux-gnu", ""].map(|arch| format!("/usr/lib/{arch}/sasl2/libkdexoauth2.so"));
    if !folders.iter().any(|file| Path::new(file).exists()) {
        skip!("libsasl2 has no XOAUTH2 (Debian: libsasl2-modules-kdexoauth2)")
    }
    version("mbsync", "--version");
    let mut world = World::new();
    let inbox = world.sandbox.work().join("m/INBOX");
    fs::create_dir(inbox.parent().unwrap()).unwrap();
    let config = format!(
        "IMAPAccount a\nHost localhost\nPort {}\nUser {USER}\nSSLType STARTTLS\nCertificateFile {}\n{}\n\
         IMAPStore far\nAccount a\n\nMaildirStore near\nInbox {}\n\n\
         Channel c\nFar :far:\nNear :near:\nCreate Near\nSync Pull\nSyncState *\n",
        world.imap,
        world.ca().display(),
        recipe(1),
        inbox.display()
    );
    let file = world.sandbox.file("mbsyncrc", config);
    let fetch = |world: &World| world.program("mbsync").arg("-c").arg(&file).arg("c").finish().unwrap();
    ok(&fetch(&world));
    let mut fetched = Vec::new();
    crate::support::walk(&inbox, &mut |path| fetched.push(fs::read_to_string(path).unwrap_or_default()));
    assert!(fetched.iter().any(|text| text.contains("the mail")), "{fetched:?}");
    world.logged_in("imap", "XOAUTH2");
    world.lose_the_token();
    assert!(!fetch(&world).status.success());
    assert_eq!(world.logins("imap", "XOAUTH2"), 1);
}

#[test]
fn mutt_shows_a_mailbox() {
    needs!("dovecot", "mutt");
    if let Some(why) = unfit() {
        skip!("{why}")
    }
    version("mutt", "-v");
    let world = World::new();
    let config = format!(
        "set imap_user=\"{USER}\"\nset folder=\"imap://localhost:{}/\"\nset spoolfile=\"+INBOX\"\n\
         set ssl_force_tls=yes\nset ssl_ca_certificates_file=\"{}\"\nset quit=yes\n{}",
        world.imap,
        world.ca().display(),
        recipe(2)
    );
    let file = world.sandbox.file("muttrc", config);
    let mut command = world.program("mutt");
    command.arg("-n").arg("-F").arg(file);
    crate::child::with_default_signals(&mut command);
    let mut session = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
    session.exp_string("the subject").unwrap();
    session.send("q").unwrap();
    session.flush().unwrap();
    session.exp_eof().unwrap();
    world.logged_in("imap", "XOAUTH2");
}

#[test]
fn curl_logs_in_with_the_line_for_it() {
    needs!("dovecot", "curl");
    if let Some(why) = unfit() {
        skip!("{why}")
    }
    version("curl", "--version");
    let world = World::new();
    let line = world.sandbox.run("get mail -o curl").line();
    let config = world.sandbox.file("curlrc", line);
    let mut command = world.program("curl");
    command.arg("-sS").arg("-K").arg(config).arg("--ssl-reqd").arg("--cacert").arg(world.ca());
    let url = format!("imap://localhost:{}/INBOX;MAILINDEX=1", world.imap);
    let out = command.args(["--user", USER, &url]).finish().unwrap();
    ok(&out);
    assert!(shown(&out).contains("the mail"), "{}", shown(&out));
    world.logged_in("imap", "OAUTHBEARER");
}

/// A line of IMAP, and the replies up to the one that answers it.
fn ask(stream: &TcpStream, line: &str) -> String {
    (&*stream).write_all(format!("a {line}\r\n").as_bytes()).unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut all = String::new();
    for line in lines {
        // A refusal is told first, and wants an empty answer.
        if line.starts_with("+ ") {
            (&*stream).write_all(b"\r\n").unwrap();
        }
        all.push_str(&format!("{line}\n"));
        if line.starts_with("a ") {
            break;
        }
    }
    all
}

#[test]
fn the_messages_that_tok_makes_are_taken() {
    needs!("dovecot");
    if let Some(why) = unfit() {
        skip!("{why}")
    }
    let world = World::new();
    let open = || TcpStream::connect(("127.0.0.1", world.imap)).unwrap();
    let flags = format!("--user {USER} --host localhost --port {}", world.imap);
    for (mechanism, line) in [
        ("XOAUTH2", format!("get mail -o xoauth2 --user {USER}")),
        ("OAUTHBEARER", format!("get mail -o oauthbearer {flags}")),
    ] {
        let message = world.sandbox.run(&line).line();
        let said = ask(&open(), &format!("AUTHENTICATE {mechanism} {message}"));
        assert!(said.lines().last().unwrap().starts_with("a OK"), "{said}");
        world.logged_in("imap", mechanism);
    }
    // It is the token that lets in: another one does not.
    let message = world.sandbox.run(&format!("get mail -o xoauth2 --user {USER}")).line();
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    let text = String::from_utf8(engine.decode(message).unwrap()).unwrap();
    let said = ask(&open(), &format!("AUTHENTICATE XOAUTH2 {}", engine.encode(text.replace("at-", "xx-"))));
    assert!(said.lines().last().unwrap().starts_with("a NO"), "{said}");
}
