//! The cached path: whatever way an answer takes, it is the same bytes, and what changed since is noticed.

use crate::skip::{is_root, skip_part};
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, chmod, mode, now, plain_provider, put, until};
use std::os::unix::fs::symlink;
use std::path::Path;

/// The oldest stamp is taken only where it is older than two seconds against the entry; tests do not wait for it:
/// files that decide are made to look older than that.
fn age(path: &Path) {
    let Ok(file) = std::fs::File::options().write(true).open(path) else { return };
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    let _ = file.set_times(std::fs::FileTimes::new().set_modified(then));
}

/// A sandbox without any `TOK_*` variable: only there the short path may be taken.
fn bare(server: &Server) -> Sandbox {
    let sandbox = Sandbox::with_file_config("");
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    age(&sandbox.config_file());
    age(&sandbox.config_dir().join("providers/plain.toml"));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    sandbox
}

/// The same question by the exact words that the short path knows, and by words that it does not.
fn same_both_ways(sandbox: &Sandbox, profile: &str) -> Vec<u8> {
    let short = sandbox.tok(["get", profile]).run().ok().silent();
    let long = sandbox.tok(["-q", "get", profile]).run().ok().silent();
    assert_eq!(short.bytes, long.bytes, "{short} {long}");
    let short_header = sandbox.tok(["header", profile]).run().ok().silent();
    let long_header = sandbox.tok(["-q", "header", profile]).run().ok().silent();
    assert_eq!(short_header.bytes, long_header.bytes, "{short_header} {long_header}");
    short.bytes
}

#[test]
fn a_cached_get_answers_what_the_full_path_answers() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    let first = same_both_ways(&sandbox, "plain");
    for _ in 0..3 {
        assert_eq!(same_both_ways(&sandbox, "plain"), first);
    }
    assert_eq!(server.count(), 1);
    // The same again when the stamps have grown old enough to be believed.
    let start = now();
    until("the stamps are old", || now() > start + 2);
    same_both_ways(&sandbox, "plain");
    assert_eq!(same_both_ways(&sandbox, "plain"), first);
    assert_eq!(server.count(), 1);
}

#[test]
fn the_header_of_a_provider_is_the_same_both_ways() {
    let purewl = PureWl::start();
    let sandbox = Sandbox::with_file_config("");
    age(&sandbox.config_file());
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--base-url", &purewl.server.url(), "--secret-key-file", &key]).run().prints("");
    same_both_ways(&sandbox, "purewl");
    same_both_ways(&sandbox, "purewl");
    assert_eq!(purewl.server.count(), 1);
}

#[test]
fn several_headers_are_the_same_both_ways() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    let more = "[use]\nheaders = { X-Version = \"2\" }\n";
    sandbox.provider("plain", &plain_provider(&server.url(), more));
    age(&sandbox.config_dir().join("providers/plain.toml"));
    sandbox.run("login plain").ok();
    // `get` is what the short path knows then; `header` has another line.
    warm(&sandbox);
    same_both_ways(&sandbox, "plain");
    assert!(sandbox.run("header plain").silent().stdout.ends_with("\nX-Version: 2\n"));
}

/// Makes the short path ready to be taken: a cached answer, old stamps, a cached answer that writes them anew.
fn warm(sandbox: &Sandbox) -> String {
    sandbox.run("get plain").line();
    let start = now();
    until("the stamps are old", || now() > start + 2);
    sandbox.run("-q get plain").line();
    sandbox.run("get plain").silent().line()
}

#[test]
fn an_edited_config_is_noticed() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    let first = warm(&sandbox);
    sandbox.config("store = \"file\"\n[profile.plain]\nprovider = \"plain\"\nclient_id = \"other\"\n");
    let second = sandbox.run("get plain");
    assert!(second.code != 0 || !second.stdout.contains(&first), "{second}");
    // Back again, the first one is still good.
    sandbox.config("store = \"file\"\n");
    assert_eq!(sandbox.run("get plain").line(), first);
    sandbox.config("store = \"file\"\nmin_ttl = \"15m\"\n");
    assert_ne!(sandbox.run("get plain").line(), first);
    sandbox.config("stroe = \"file\"\n");
    sandbox.run("get plain").fails(3);
}

#[test]
fn an_edit_of_the_same_length_and_time_is_noticed() {
    let server = Server::issuing(600);
    let sandbox = Sandbox::with_file_config("[profile.plain]\nprovider = \"plain\"\nclient_id = \"one\"\n");
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    sandbox.tok(["login", "plain", "--client-secret-file", &secret]).run().prints("");
    let first = warm(&sandbox);
    let meta = std::fs::metadata(sandbox.config_file()).unwrap();
    let text = std::fs::read_to_string(sandbox.config_file()).unwrap();
    std::fs::write(sandbox.config_file(), text.replace("\"one\"", "\"two\"")).unwrap();
    let file = std::fs::File::options().write(true).open(sandbox.config_file()).unwrap();
    file.set_times(std::fs::FileTimes::new().set_modified(meta.modified().unwrap())).unwrap();
    let out = sandbox.run("get plain");
    assert!(out.code != 0 || !out.stdout.contains(&first), "the change time tells: {out}");
}

#[test]
fn an_edited_removed_or_new_provider_file_is_noticed() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    let first = warm(&sandbox);
    sandbox.provider("plain", &plain_provider(&server.url(), "[use]\nheader = \"X-Token\"\n"));
    assert!(sandbox.run("header plain").line().starts_with("X-Token: "));
    std::fs::remove_file(sandbox.config_dir().join("providers/plain.toml")).unwrap();
    sandbox.run("get plain").fails(3);
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    chmod(&sandbox.config_dir().join("providers/plain.toml"), 0o666);
    sandbox.run("get plain").fails(3);
    let _ = first;
}

#[test]
fn a_new_provider_file_hides_a_built_in_at_once() {
    let purewl = PureWl::start();
    let server = Server::issuing(600);
    let sandbox = Sandbox::with_file_config(&format!(
        "[profile.purewl]\nprovider = \"purewl\"\nbase_url = \"{}\"\n",
        purewl.server.url()
    ));
    let key = sandbox.file_arg("key", purewl::secret_key());
    sandbox.tok(["login", "purewl", "--secret-key-file", &key]).run().prints("");
    let first = sandbox.run("get purewl").line();
    sandbox.run("get purewl").line();
    sandbox.provider("purewl", &plain_provider(&server.url(), ""));
    let out = sandbox.run("get purewl");
    assert!(!out.stdout.contains(&first), "{out}");
}

#[test]
fn a_tok_variable_set_later_is_noticed() {
    let server = Server::issuing(600);
    let other = Server::issuing(600);
    let sandbox = bare(&server);
    let first = warm(&sandbox);
    let get = |name: &str, value: &str| sandbox.tok(["get", "plain"]).env(name, value).run();
    let out = get("TOK_PLAIN_CLIENT_ID", "other");
    assert!(out.code != 0 || !out.stdout.contains(&first), "{out}");
    let out = get("TOK_PLAIN_BASE_URL", &other.url());
    assert_eq!((out.code, other.count()), (4, 0), "{out}");
    let out = get("TOK_CACHE", "off").ok();
    assert!(!out.stdout.contains(&first), "{out}");
    get("TOK_STORE", "nonsense").fails_with_one_of(&[2, 3]);
}

#[test]
fn a_broken_cache_file_is_a_miss() {
    let server = Server::new(|_| Reply::token(&format!("at-{CANARY}"), 600));
    let sandbox = bare(&server);
    let token = format!("at-{CANARY}");
    let damages: [fn(&str) -> Vec<u8>; 10] = [
        |_| Vec::new(),
        |_| b"{".to_vec(),
        |_| b"null".to_vec(),
        |_| b"[]".to_vec(),
        |_| b"\xff\xfe\x00".to_vec(),
        |text| text.as_bytes()[..text.len() / 2].to_vec(),
        |text| [text, text].concat().into_bytes(),
        |text| text.replace(&format!("at-{CANARY}"), "evil\\r\\nX: y").into_bytes(),
        |text| text.replace(&format!("at-{CANARY}"), "").into_bytes(),
        |_| vec![b'['; 3 << 20],
    ];
    for (number, damage) in damages.iter().enumerate() {
        // Another name each time, perhaps: which is the cache's own affair.
        let file = sandbox.cache_file(&token);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, damage(&text)).unwrap();
        let before = server.count();
        for line in ["get plain", "get plain", "header plain"] {
            let out = sandbox.run(line).ok().silent();
            assert!(out.stdout.trim_end().ends_with(&token), "{number}: {out}");
        }
        assert_eq!(server.count(), before + 1, "damage {number}: asked anew, once");
    }
    assert!(sandbox.files().len() < 10, "what is broken does not pile up: {:?}", sandbox.files().keys());
}

#[test]
fn other_files_of_the_state_folder_may_be_broken_too() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    let mut names = Vec::new();
    crate::support::walk(&sandbox.state_dir(), &mut |path| names.push(path.to_path_buf()));
    for name in names {
        for broken in [&b"{ no JSON"[..], b"", b"[]"] {
            std::fs::write(&name, broken).unwrap();
            sandbox.run("get plain").ok();
            sandbox.run("list").ok();
            sandbox.run("list --json").json();
        }
    }
    sandbox.forget_cache();
    sandbox.run("get plain").line();
}

#[test]
fn a_cache_file_that_others_may_read_or_that_is_a_link_is_replaced() {
    let server = Server::new(|_| Reply::token(&format!("at-{CANARY}"), 600));
    let sandbox = bare(&server);
    let file = sandbox.cache_file(&format!("at-{CANARY}"));
    chmod(&file, 0o644);
    sandbox.run("get plain").silent().line();
    assert_eq!(server.count(), 2, "not believed");
    assert_eq!(mode(&sandbox.cache_file(&format!("at-{CANARY}"))), 0o600);

    let file = sandbox.cache_file(&format!("at-{CANARY}"));
    let planted = sandbox.work().join("planted.json");
    let text = std::fs::read_to_string(&file).unwrap().replace(&format!("at-{CANARY}"), "planted");
    put(&planted, text.as_bytes());
    std::fs::remove_file(&file).unwrap();
    symlink(&planted, &file).unwrap();
    let out = sandbox.run("get plain").silent();
    assert_eq!(out.line(), format!("at-{CANARY}"), "a planted token is never handed out");
    assert_eq!(std::fs::read_to_string(&planted).unwrap(), text, "nothing is written through the link");
    assert!(!std::fs::symlink_metadata(&file).is_ok_and(|m| m.is_symlink()), "it is replaced");
    assert_eq!(server.count(), 3);

    if !is_root() {
        skip_part!("only root can give a file away: the cache of another user");
    } else {
        let file = sandbox.cache_file(&format!("at-{CANARY}"));
        std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
        sandbox.run("get plain").silent().line();
        assert_eq!(server.count(), 4, "another's file is not believed");
    }
}

#[test]
fn folders_that_others_may_enter_are_closed_when_something_is_written() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    let folder = sandbox.state_dir();
    chmod(&folder, 0o777);
    // Refused or mended; what is not right is that a token is put where others may reach.
    let out = sandbox.run("get plain --fresh");
    assert!(out.code != 0 || mode(&folder) == 0o700, "{:o}: {out}", mode(&folder));
}

#[test]
fn a_state_folder_that_cannot_be_is_an_error_and_no_race() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    sandbox.forget_cache();
    put(&sandbox.state_dir(), b"a file in its place");
    let out = sandbox.run("get plain");
    assert_ne!(out.code, 101, "{out}");
    assert_eq!(out.code != 0, out.stdout.is_empty(), "{out}");
}

#[test]
fn a_clock_set_back_is_noticed() {
    let server = Server::new(|_| Reply::token(&format!("at-{CANARY}"), 600));
    let sandbox = bare(&server);
    let token = format!("at-{CANARY}");
    let file = sandbox.cache_file(&token);
    // The entry says that it will be received a day from now: the clock has gone back since. Times in it are
    // moved, whatever their unit.
    let text = std::fs::read_to_string(&file).unwrap();
    let mut moved = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let scale = match digits.len() {
            10 => 1,
            13 => 1_000,
            16 => 1_000_000,
            19 => 1_000_000_000,
            _ => 0_i64,
        };
        match digits.parse::<i64>() {
            Ok(n) if scale > 0 => moved.push_str(&(n + 86_400 * scale).to_string()),
            _ => moved.push_str(&digits),
        }
        digits.clear();
        if c != '\0' {
            moved.push(c);
        }
    }
    put(&file, moved.as_bytes());
    sandbox.run("get plain").line();
    assert_eq!(server.count(), 2, "its time is not to be trusted");
}

#[test]
fn the_cached_path_is_not_taken_for_an_expired_token() {
    let server = Server::issuing(2);
    let sandbox = bare(&server);
    let first = sandbox.run("get plain").line();
    let start = now();
    until("the token has expired", || now() > start + 2);
    assert_ne!(sandbox.run("get plain").line(), first);
}

#[test]
fn a_logged_out_profile_is_not_answered_from_the_cache() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    warm(&sandbox);
    sandbox.run("logout plain").prints("");
    sandbox.run("get plain").fails(4);
    assert!(sandbox.files_with(CANARY).is_empty());
}

#[test]
fn options_of_the_command_line_are_never_overlooked() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    let first = warm(&sandbox);
    assert_ne!(sandbox.run("get plain --client-id other --min-ttl 1").stdout.trim_end(), first);
    sandbox.run("get plain --nonsense").fails(2);
    sandbox.run("get plain plain").fails(2);
    sandbox.run("get").fails(2);
    assert_eq!(sandbox.run("get plain -o json").json()["access_token"], first);
}

#[test]
fn home_and_state_folders_of_the_environment_are_obeyed_both_ways() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    warm(&sandbox);
    let elsewhere = sandbox.work().join("state");
    std::fs::create_dir(&elsewhere).unwrap();
    let get = || sandbox.tok(["get", "plain"]).env("XDG_STATE_HOME", &elsewhere);
    let other = get().run().silent().line();
    assert_eq!(get().run().silent().line(), other);
    assert!(elsewhere.join("tok").exists());
    // A relative one is none, says the specification.
    let token = sandbox.tok(["get", "plain"]).env("XDG_STATE_HOME", "relative").run().line();
    assert_eq!(sandbox.run("get plain").line(), token);
    let config = sandbox.work().join("config");
    put(&config.join("tok/config.toml"), b"stroe = 1\n");
    sandbox.tok(["get", "plain"]).env("XDG_CONFIG_HOME", &config).run().fails(3);
}

#[test]
fn a_call_with_options_or_variables_is_known_again_and_never_taken_for_another() {
    let server = Server::issuing(600);
    let sandbox = bare(&server);
    let first = warm(&sandbox);
    let heads = || {
        let mut heads = Vec::new();
        crate::support::walk(&sandbox.state_dir().join("cache/plain"), &mut |path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            heads.extend(name.starts_with("head-").then(|| std::fs::read_to_string(path).unwrap()));
        });
        heads
    };
    for _ in 0..3 {
        assert_eq!(sandbox.run("get plain --min-ttl 15s").silent().line(), first);
        assert_eq!(
            sandbox.tok(["header", "plain"]).env("TOK_STORE", "file").run().silent().line(),
            format!("Authorization: Bearer {first}")
        );
    }
    assert_eq!((server.count(), heads().len()), (1, 2), "both are written down");
    // The same letters in another order lead to the same head.
    assert_eq!(sandbox.run("get plain --min-ttl 51s").silent().line(), first);
    assert_eq!(heads().len(), 2);
    sandbox.tok(["header", "plain"]).env("TOK_STORE", "elif").run().fails_with_one_of(&[2, 3]);
    let secret = format!("other-{CANARY}");
    let with_secret = || sandbox.tok(["get", "plain"]).env("TOK_PLAIN_CLIENT_SECRET", &secret);
    let other = with_secret().run().silent().line();
    assert_eq!(with_secret().run().silent().line(), other);
    assert_ne!(other, first, "got with another secret");
    assert!(heads().iter().all(|head| !head.contains(CANARY)), "a variable may be a secret");
    // What asks for more than the token is never answered from a head.
    assert_eq!(sandbox.run("get plain -o header").line(), format!("Authorization: Bearer {first}"));
    assert_eq!(sandbox.run("get plain -o header").line(), format!("Authorization: Bearer {first}"));
    for _ in 0..2 {
        assert_eq!(sandbox.run("get plain --json").json()["access_token"], first);
    }
    // A token that has not that long to live any more.
    assert_ne!(sandbox.run("get plain --min-ttl 15m").stdout.trim_end(), first);
    let secret_file = sandbox.file_arg("again", &secret);
    let from_file = || sandbox.tok(["get", "plain", "--client-secret-file", &secret_file]).run().silent().line();
    let told = from_file();
    std::fs::write(&secret_file, "yet-another").unwrap();
    assert_ne!(from_file(), told, "a file is read each time");
    assert_ne!(sandbox.run("get plain --fresh").line(), sandbox.run("get plain --fresh").line());
}

#[test]
fn an_option_of_one_verb_stays_a_mistake_at_the_other() {
    let server = Server::issuing(600);
    let sandbox = Sandbox::with_file_config("");
    sandbox.provider("plain", &plain_provider(&server.url(), "").replace("secret = true", "default = \"s\""));
    let words = ["plain", "--method", "GET", "--url", "https://api.example/x"];
    let call = |verb: &str, more: &[&str]| sandbox.tok([&[verb], more].concat()).run();
    // The second call is answered by what the first one wrote down, where that may be.
    let line = call("header", &words).line();
    assert_eq!(call("header", &words).line(), line);
    call("get", &words).fails(2);
    let token = call("get", &["plain", "--output", "token"]).line();
    assert_eq!(call("get", &["plain", "--output", "token"]).line(), token);
    call("header", &["plain", "--output", "token"]).fails(2);
    call("header", &["plain", "--name", "X"]).fails(2);
}
