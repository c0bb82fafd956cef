//! What helps the author of a provider file: all mistakes at once, the request it would make, how a reply is read, a
//! file to start from. And the examples of `docs/providers.md`, each from the vendor's words to a token.

use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Output, Sandbox, put};
use serde_json::Value;

#[test]
fn all_mistakes_of_a_file_are_listed_in_its_order() {
    let sandbox = Sandbox::new();
    let file = sandbox.file_arg(
        "bad.toml",
        r#"titel = "x"
[params.base_url]
default = "ftp://x"
[params.key]
secret = "yes"
[request]
url = "{bse_url}/x"
[grants.a]
body = { k = "{kee}" }
[grants.b]
body = { l = 1 }
[grants.browser]
body = 3
[response]
expires = "/expires_in"
access_token = "token"
success = ["ok"]
error = { cod = "/x" }
[refresh]
grant = "refrsh"
"#,
    );
    let out = sandbox.tok(["providers", "--check", &file]).run().fails(3);
    let said: Vec<&str> = out.stderr.lines().map(|line| line.trim_start_matches(&format!("tok: {file}:"))).collect();
    let expected = [
        "1:1: unknown key `titel`; did you mean `title`?",
        "3:11: this URL is not an https URL",
        "5:10: expected true or false, found a string; write it as: secret = true",
        // Both grants have it; it is wrong once.
        "7:7: unknown value `bse_url`; did you mean `base_url`?",
        "9:14: unknown value `kee`; did you mean `key`?",
        "12:9: `browser` cannot name a grant: it is short for `authorization-code` at `tok login`",
        "15:11: expected a list, found a string; write it as: expires = [{ at = \"/expires_in\", as = \"seconds\" }]",
        "16:16: invalid JSON Pointer; did you mean `/token`? (RFC 6901)",
        "17:12: expected a table, found a string; write it as: success = [{ at = \"/ok\", in = [true] }]",
        "18:11: unknown key `cod`; did you mean `code`?",
        "20:9: unknown grant `refrsh`; expected one of: a, b",
    ];
    assert_eq!(said, expected);
    // A call that uses such a file names one, and how to see the others.
    sandbox.provider("bad", &std::fs::read_to_string(&file).unwrap());
    sandbox.run("get bad").fails(3).says("providers/bad.toml:").hints_at("list all 11 mistakes: tok providers --check");
}

/// Words of the standards and of other tools lead to ours.
#[test]
fn what_others_call_it_is_known() {
    let sandbox = Sandbox::new();
    for (was, said) in [
        ("auth = \"client_secret_post\"", "unknown choice `client_secret_post`; did you mean `post`?"),
        ("auth = \"header\"", "unknown choice `header`; did you mean `basic`?"),
        ("[response]\naccess_token = [\"$.data.token\"]", "did you mean `/data/token`? (RFC 6901)"),
        ("[response]\naccess_token = [\"data.token\"]", "did you mean `/data/token`? (RFC 6901)"),
        ("[response]\nexpires = [{ at = \"/e\", as = \"unix\" }]", "unknown choice `unix`; did you mean `epoch`?"),
        ("[response]\nexpires = [{ at = \"/e\", as = \"s\" }]", "did you mean `seconds`?"),
        ("[response]\nexpires = [{ at = \"/e\", as = \"sec\" }]", "did you mean `seconds`?"),
        ("[response]\nexpires = [{ at = \"/e\", as = \"ms\" }]", "did you mean `milliseconds`?"),
        ("[response]\nexpires = [{ at = \"/e\", as = \"min\" }]", "did you mean `minutes`?"),
        ("[response]\nexpires = [{ at = \"/e\", as = \"epoch_ms\" }]", "did you mean `epoch-millis`?"),
        ("[response]\nexpires = [{ at = \"/e\", as = \"ISO8601\" }]", "unknown choice `ISO8601`; did you mean `date`?"),
        ("[response]\nexpires = [{ at = \"/e\", as = \"rfc3339\" }]", "did you mean `date`?"),
    ] {
        let text = format!("title = \"x\"\n[grants.a]\nurl = \"https://example.com/token\"\n{was}\n");
        let file = sandbox.file_arg("other.toml", text);
        sandbox.tok(["providers", "--check", &file]).run().fails(3).says(said);
    }
}

/// What is behind it may be read as something else than was meant.
#[test]
fn of_the_mistakes_in_the_syntax_the_first_is_told() {
    let sandbox = Sandbox::new();
    for (text, place) in [
        ("title = \n[params\nx = 1\n", "1:9"),
        ("[grants.a]\nurl = \"https://a.example\nbody = { a = \"b\", c = \"d\" }\n", "2:25"),
        ("[grants.a]\nbody = { a = \"b\", c = { d = 1\nurl = \"x\"\n[response]\nscope = [\"/a\"]\n", "3:1"),
        ("[response]\nsuccess = [{ at = \"/a\", in = [1] }\nscope = [\"/a\"]\n[use]\nheader = \"A\"\n", "3:1"),
    ] {
        let file = sandbox.file_arg("broken.toml", text);
        let out = sandbox.tok(["providers", "--check", &file]).run().fails(3).says(&format!("{file}:{place}: "));
        assert_eq!(out.stderr.lines().count(), 1, "{out}");
    }
    // A key that is there twice is read as it was meant.
    let file =
        sandbox.file_arg("broken.toml", "title = \"a\"\ntitle = \"b\"\ndocs = \"a\"\ndocs = \"b\"\nkind = {\nx\n");
    let out = sandbox.tok(["providers", "--check", &file]).run().fails(3);
    let places: Vec<&str> = out
        .stderr
        .lines()
        .map(|line| line.split(&format!("{file}:")).nth(1).unwrap().split(": ").next().unwrap())
        .collect();
    assert_eq!(places, ["2:1", "4:1", "6:2"], "{out}");
    sandbox.run("providers --check /no/such/x.toml").fails(2).says("/no/such/x.toml").says("no such file");
}

#[test]
fn a_sound_file_is_said_to_be_one_wherever_it_is() {
    let sandbox = Sandbox::new();
    let text = "[params.base_url]\ndefault = \"https://a.example\"\n[params.key]\nsecret = true\n\
                [grants.a]\nurl = \"{base_url}/t\"\nbody = { k = \"{key}\" }\n";
    let file = sandbox.file_arg("acme.toml", text);
    let out = sandbox.tok(["providers", "--check", &file]).run().silent().ok();
    assert!(out.stdout.contains("no mistakes found") && out.stdout.contains("providers/acme.toml"), "{out}");
    let out = sandbox.tok(["providers", "--check", "-"]).stdin(text).run().silent().ok();
    assert!(out.stdout.contains("no mistakes found"), "{out}");
    // In tok's own folder it must also be one that tok reads.
    let own = sandbox.provider("acme", text);
    let check = |path: &std::path::Path| sandbox.tok(["providers", "--check", path.to_str().unwrap()]).run();
    assert!(check(&own).silent().ok().stdout.contains("tok providers --try acme a"));
    crate::support::chmod(&own, 0o666);
    check(&own).fails(3).says("others can write to it").hints_at("chmod go-w");
    let upper = own.with_file_name("Acme.toml");
    put(&upper, text.as_bytes());
    check(&upper).fails(3).says("NAME.toml");
}

#[test]
fn names_that_mean_something_else_are_refused() {
    let sandbox = Sandbox::new();
    let grant = |name: &str| format!("[grants.{name}]\nurl = \"https://a.example\"\n");
    for name in ["new", "help"] {
        let file = sandbox.file_arg(&format!("{name}.toml"), grant("a"));
        sandbox.tok(["providers", "--check", &file]).run().fails(3).says("cannot name a provider");
        sandbox
            .tok(["providers", "new", name, "--url", "https://a.example"])
            .run()
            .fails(2)
            .says("cannot name a provider");
    }
    for name in ["browser", "device", "help"] {
        let file = sandbox.file_arg("acme.toml", grant(name));
        sandbox.tok(["providers", "--check", &file]).run().fails(3).says("name");
    }
}

#[test]
fn a_part_of_a_name_or_title_finds_providers() {
    let sandbox = Sandbox::new();
    let one = sandbox.run("providers PureWL").silent().ok().stdout;
    assert_eq!(one, sandbox.run("providers purewl").stdout, "the only one with that title");
    assert_eq!(sandbox.run("providers elastic").ok().stdout, sandbox.run("providers elasticpath").stdout);
    let several = sandbox.run("providers service --json").silent().json();
    let several: Vec<&str> = several.as_array().map_or_else(
        || vec![several["name"].as_str().unwrap()],
        |list| list.iter().filter_map(|one| one["name"].as_str()).collect(),
    );
    assert!(several.contains(&"google-service-account"), "{several:?}");
    let list = sandbox.run("providers oauth").silent().ok().stdout;
    assert!(list.contains("oauth2"), "{list}");
    sandbox.run("providers nothing-like-it").fails(3).says("unknown provider").hints_at("tok providers new");
    let toml = sandbox.run("providers PureWL --toml").silent().ok().stdout;
    assert_eq!(toml, sandbox.run("providers purewl --toml").stdout);
}

/// Nothing is sent, nothing secret is shown, and every value has its place.
#[test]
fn the_request_of_every_grant_can_be_seen() {
    let sandbox = Sandbox::new();
    let all = sandbox.run("providers --json").json();
    let mut tried = 0;
    for provider in all.as_array().unwrap() {
        let name = provider["name"].as_str().unwrap();
        for grant in provider["grants"].as_array().unwrap().iter().filter_map(Value::as_str) {
            let out = sandbox.tok(["providers", "--try", name, grant]).run().silent().ok();
            assert!(!out.stdout.contains("TOK"), "a mark is left: {out}");
            // It needs nothing.
            let is_open = (name, grant) == ("docker-registry", "anonymous");
            assert!(is_open || out.stdout.contains('{') && out.stdout.contains('}'), "{out}");
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
    assert_eq!(sandbox.files().len(), 0, "nothing is left behind");
    sandbox.run("providers --try purewl nothing").fails(2).says("has no grant");
    sandbox.run("providers --try nothing").fails(3);
}

#[test]
fn known_values_stand_in_the_request_and_secrets_do_not() {
    let mut sandbox = Sandbox::new();
    sandbox.set("TOK_XCOVER_CLIENT_ID", "my id").set("TOK_XCOVER_CLIENT_SECRET", format!("s-{CANARY}"));
    let out = sandbox.run("providers --try xcover").silent().ok();
    assert!(out.stdout.contains(r#""client_id":"my id","client_secret":"{client_secret}""#), "{out}");
    assert!(!out.stdout.contains(CANARY), "{out}");
    // A profile is tried as it is configured.
    sandbox.config("[profile.shop]\nprovider = \"elasticpath\"\nregion = \"useast\"\nclient_id = \"abc\"\n");
    let out = sandbox.run("providers --try shop").silent().ok();
    assert!(out.stdout.starts_with("POST https://useast."), "{out}");
    assert!(out.stdout.contains("client_id=abc&client_secret={client_secret}"), "{out}");
    // URLs that metadata would fill, and what a flow finds.
    let out = sandbox.run("providers --try oidc").silent().ok();
    assert!(out.stdout.contains("{authorize_url}?response_type=code&client_id={client_id}"), "{out}");
    assert!(out.stdout.contains("POST {token_url}\n") && out.stdout.contains("code={code}"), "{out}");
    // What is part of a value that is not known, and a value inside a URL's host.
    let out = sandbox.run("providers --try google-service-account").silent().ok();
    assert!(out.stdout.contains(r#""iss":"{client_email}""#), "{out}");
    let provider = "[params.tenant]\n[params.hook]\nsecret = true\n[grants.a]\nurl = \"https://{tenant}.a.example/x/{hook}\"\n\
                    encode = \"json\"\nauth = \"none\"\nbody = { list = [\"{hook}\", 1], t = { x = \"{tenant}\" } }\n";
    sandbox.provider("odd", provider);
    sandbox.run("providers --try odd").silent().prints(
        "POST https://{tenant}.a.example/x/{hook}\nUser-Agent: tok/0.1.0\nAccept: application/json\n\
         Content-Type: application/json\n\n{\"list\":[\"{hook}\",1],\"t\":{\"x\":\"{tenant}\"}}\n"
            .replace("0.1.0", env!("CARGO_PKG_VERSION"))
            .as_str(),
    );
}

/// The rows that `--read` prints, without the spaces between their cells.
fn rows(out: &Output) -> Vec<String> {
    out.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_reply_is_read_pointer_by_pointer() {
    let sandbox = Sandbox::new();
    let read = |words: &[&str], reply: &str| {
        let words: Vec<&str> = ["providers", "--read"].into_iter().chain(words.iter().copied()).chain(["-"]).collect();
        sandbox.tok(words).stdin(reply).run().silent().ok()
    };
    let token = format!("{CANARY}a{}", "0".repeat(55));
    let good = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{{\"header\":{{\"code\":1}},\"body\":{{\"accessToken\":\
         \"{token}\",\"refreshToken\":\"{token}r\",\"expiry\":3600,\"resellerId\":\"443\"}}}}"
    );
    let out = read(&["purewl"], &good);
    let rows_ = rows(&out);
    for row in [
        "status 200",
        "success /header/code in [1] 1: holds",
        "access_token /body/accessToken ca9a… (64 characters)",
        "refresh_token /body/refreshToken ca9a… (65 characters)",
        "expires /body/expiry as seconds 3600",
        "extra.reseller_id /body/resellerId 443",
        "header: X-AccessToken: ca9a… (64 characters)",
    ] {
        assert!(rows_.iter().any(|one| one == row), "{row} is missing: {out}");
    }
    assert!(rows_.iter().any(|row| row.starts_with("a token: expires in 1h, ")), "{out}");
    assert!(!out.stdout.contains(CANARY), "a token is shortened: {out}");
    // A refusal that comes with 200, and one that ends the session.
    let out = read(&["purewl"], r#"{"header":{"code":4001,"message":"Invalid key"},"body":[]}"#);
    assert!(rows(&out).contains(&"success /header/code in [1] 4001: fails".to_string()), "{out}");
    assert!(out.stdout.contains("no token: refused: 4001: Invalid key (tok exits with status 5)"), "{out}");
    let out = read(&["apiax", "refresh"], "HTTP/1.1 400 Bad Request\n\n{\"error\":\"invalid_grant\"}");
    assert!(out.stdout.contains("the refresh token counts as dead"), "{out}");
    // A reply of another shape: where was looked, and what is there, by names.
    let out = read(&["xcover"], &format!("{{\"data\":{{\"token\":\"{token}\"}}}}"));
    assert!(out.stdout.contains("no access token at /access_token; the reply has /data/token"), "{out}");
    assert!(!out.stdout.contains(CANARY), "{out}");
    let out = read(&["xcover"], r#"{"access_token":{"value":1},"expires_in":1}"#);
    let says = "its access token at /access_token is not a string; the reply has /access_token/value, /expires_in";
    assert!(out.stdout.contains(says), "{out}");
    let out = read(&["purewl"], r#"{"body":{"accessToken":"abc"}}"#);
    assert!(out.stdout.contains("/header/code is missing; the reply has /body/accessToken"), "{out}");
    let out = read(&["xcover"], "HTTP/1.1 502 Bad Gateway\r\n\r\n<html>");
    assert!(out.stdout.contains("no token: unavailable") && out.stdout.contains("status 6"), "{out}");
    sandbox.run("providers --read purewl").fails(2);
    sandbox.run("providers --read purewl no-such-file").fails(2).says("no such file");
    sandbox.run("providers --read purewl nothing no-such-file").fails(2).says("has no grant");
}

#[test]
fn a_new_file_works_as_it_is_written() {
    let server = Server::new(|_| Reply::json(200, serde_json::json!({"jwt": format!("t-{CANARY}"), "ttl": 600})));
    let mut sandbox = Sandbox::with_file_store();
    let url = format!("{}/v1/token", server.url());
    let out = sandbox
        .tok(["providers", "new", "acme", "--title", "Acme \"&\" Co", "--docs", "https://acme.example/docs"])
        .args(["--url", &url, "--kind", "key", "--access-token", "/jwt", "--expires", "/ttl", "--header", "X-Acme"])
        .run()
        .silent();
    let path = out.line();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().filter(|line| line.contains('#')).count() > 8, "it has comments: {text}");
    assert_eq!(crate::support::mode(std::path::Path::new(&path)) & 0o022, 0);
    sandbox.tok(["providers", "--check", &path]).run().ok();
    sandbox.set("TOK_ACME_API_KEY", format!("k-{CANARY}"));
    assert_eq!(sandbox.run("header acme").silent().line(), format!("X-Acme: t-{CANARY}"));
    let sent = server.last();
    assert_eq!(
        (sent.path(), sent.body.as_slice()),
        ("/v1/token", format!("{{\"api_key\":\"k-{CANARY}\"}}").as_bytes())
    );
    // It is not replaced.
    sandbox.tok(["providers", "new", "acme", "--url", &url]).run().fails(2).says("already exists");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    for kind in ["client", "password", "standard", "key"] {
        let line = ["providers", "new", "other", "--print", "--kind", kind, "--url", "https://a.example/x?y={z}"];
        let line: Vec<&str> = line
            .into_iter()
            .map(|word| if kind == "standard" { word.trim_end_matches("?y={z}") } else { word })
            .collect();
        let text = sandbox.tok(line).run().silent().ok().stdout;
        sandbox.tok(["providers", "--check", "-"]).stdin(text).run().ok();
    }
    let url = "https://id.acme.example/token";
    let out = sandbox.tok(["providers", "new", "github", "--url", url]).run().ok();
    assert!(out.stderr.contains("now hides the built-in provider github"), "{out}");
    assert!(!sandbox.tok(["providers", "new", "acme9", "--url", url]).run().ok().stderr.contains("hides"));
    sandbox.run("providers new").fails(2).says("NAME").hints_at("tok providers new shop --url");
    sandbox.run("providers new acme2").fails(2).says("--url");
    sandbox.run("providers new acme2 --url ftp://x").fails(2).says("not an https URL");
}

#[test]
fn a_new_file_comes_of_a_few_questions() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.tok(["providers", "new"]).on_terminal();
    for (question, answer) in [
        ("Name, as in `tok get NAME`: ", "acme"),
        ("Title, the name that people know it by [acme]: ", "Acme"),
        ("Kind: client, key, password or standard [client]: ", "password"),
        ("URL of the token endpoint: ", "https://id.acme.example/token"),
        ("URL of its documentation: ", ""),
        ("JSON Pointer to the access token in the reply [/access_token]: ", "/data/token"),
        ("JSON Pointer to the seconds until it expires (- for none) [/expires_in]: ", "-"),
        ("JSON Pointer to the refresh token (- for none) [-]: ", "/data/refresh"),
        ("Header in which the API expects the token [Authorization]: ", ""),
    ] {
        terminal.expect(question);
        terminal.type_line(answer);
    }
    let (screen, code) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    let path = sandbox.config_dir().join("providers/acme.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    for part in ["title = \"Acme\"", "personal = true", "[\"/data/token\"]", "[refresh]", "lifetime = \"1h\""] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    sandbox.tok(["providers", "--check", path.to_str().unwrap()]).run().ok();
}

/// An example of `docs/providers.md`: its file, and what goes with it.
struct Example {
    file: String,
    request: String,
    reply: String,
    refusal: Option<String>,
}

fn examples() -> Vec<Example> {
    let page = include_str!("../../docs/providers.md");
    let (_, rest) = page.split_once("\n### ").unwrap();
    let (rest, _) = rest.split_once("\n## ").unwrap();
    let block = |text: &str, kind: &str| {
        let (_, rest) = text.split_once(&format!("\n```{kind}\n"))?;
        Some(rest.split_once("\n```").unwrap().0.to_string())
    };
    let example = |text: &str| Example {
        file: block(text, "toml").unwrap(),
        request: block(text, "try").unwrap().replace("tok/VERSION", concat!("tok/", env!("CARGO_PKG_VERSION"))),
        reply: block(text, "reply").unwrap(),
        refusal: block(text, "refusal"),
    };
    rest.split("\n### ").map(example).collect()
}

/// A reply of the page as a server sends it.
fn reply_of(text: &str) -> Reply {
    let Some((head, body)) = text.split_once("\n\n") else { return Reply::new(200, "application/json", text) };
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap()).filter(|(name, _)| *name != "Content-Type");
    headers.fold(Reply::new(status, "application/json", body), |reply, (name, value)| reply.header(name, value))
}

/// From the page to a token: the file is accepted, makes the request that is shown, reads the replies that are shown,
/// and gets a token from a server that answers so.
#[test]
fn the_examples_of_the_page_work_from_the_file_to_the_token() {
    let given = [
        ("client_id", "ada"),
        ("client_secret", "hush"),
        ("api_key", "key"),
        ("username", "ada"),
        ("password", "pass"),
    ];
    let all = examples();
    assert_eq!(all.len(), 3);
    for (example, header) in all.iter().zip([
        "Authorization: Bearer acme-2YotnFZFEjr1zCsicMWpAA",
        "X-Shop-Token: shop-8xLOxBtZp8.ab12cd34",
        "X-Auth-Token: cloud-gAAAAABmUeXample0123456789",
    ]) {
        let mut sandbox = Sandbox::with_file_store();
        let path = sandbox.provider("example", &example.file);
        sandbox.tok(["providers", "--check", path.to_str().unwrap()]).run().silent().ok();
        sandbox.run("providers --try example").silent().prints(&format!("{}\n", example.request));
        let read =
            |reply: &str| sandbox.tok(["providers", "--read", "example", "-"]).stdin(reply).run().silent().ok().stdout;
        let shown = read(&example.reply);
        assert!(shown.contains("a token: expires in"), "{shown}");
        if let Some(refusal) = &example.refusal {
            let shown = read(refusal);
            assert!(shown.contains("no token: refused: ") && shown.contains("status 5)"), "{shown}");
        }
        // The same file, with the same server on this machine.
        let answer = example.reply.clone();
        let server = Server::new(move |_| reply_of(&answer));
        sandbox.set("TOK_EXAMPLE_BASE_URL", server.url());
        for (name, value) in given.iter().filter(|(name, _)| example.file.contains(&format!("[params.{name}]"))) {
            sandbox.set(&format!("TOK_EXAMPLE_{}", name.to_uppercase()), value);
        }
        sandbox.run("login example").prints("");
        assert_eq!(sandbox.run("header example").line(), header);
        // What was sent is what is shown, with the values in their places.
        let sent = server.requests().remove(0);
        let (head, body) = example.request.split_once("\n\n").unwrap();
        let fill = |text: &str| {
            given.iter().fold(text.to_string(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
        };
        assert_eq!(String::from_utf8_lossy(&sent.body), fill(body));
        let mut lines = head.lines();
        let first: Vec<&str> = lines.next().unwrap().split(' ').collect();
        assert_eq!(
            (sent.method.as_str(), sent.path()),
            (first[0], &first[1][first[1].match_indices('/').nth(2).unwrap().0..])
        );
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            // Base64 of ada:hush
            let value = if value.contains("base64(") { "Basic YWRhOmh1c2g=".to_string() } else { fill(value) };
            assert_eq!(sent.header(name), Some(value.as_str()), "{line}");
        }
    }
}
