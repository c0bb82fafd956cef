//! What `tok providers --check` warns of, and where it sends its reader next; and where a broken file is told.

use crate::support::Sandbox;

/// What `--check` says of a file on stderr, without the name of the file.
fn said(sandbox: &Sandbox, text: &str) -> Vec<String> {
    let file = sandbox.file_arg("acme.toml", text);
    let out = sandbox.tok(["providers", "--check", &file]).run().ok();
    let lines: Vec<String> =
        out.stderr.lines().map(|line| line.replace(&format!("tok: warning: {file}:"), "")).collect();
    let count = match lines.len() {
        0 => "no mistakes found\n".to_string(),
        1 => "no mistakes found (1 warning)\n".into(),
        count => format!("no mistakes found ({count} warnings)\n"),
    };
    assert!(out.stdout.starts_with(&format!("{file}: {count}grants: a\nto use it, save it as ")), "{out}");
    lines
}

#[test]
fn what_is_likely_a_mistake_is_warned_of_with_its_place() {
    let sandbox = Sandbox::new();
    let text = "title = \"x\"\n[params.api_key]\n[params.pin]\n[params.base_url]\ndefault = \"https://a.example\"\n\
                [request]\nurl = \"https://a.example/token\"\nmethod = \"GET\"\n\
                [grants.a]\nauth = { method = \"basic\", id = \"x\", secret = \"{pin}\" }\nbody = { k = \"{api_key}\" }\n\
                [revoke]\nurl = \"{base_url}/revoke\"\n";
    let expected = [
        "2:1: `api_key` looks like a secret but is a plain value: add `secret = true`, or `secret = false` if it is not one",
        "3:1: `pin` is sent as the client's secret but is a plain value: add `secret = true`, or `secret = false` if it is not one",
        "7:7: this URL does not start with a value, so a test server cannot take its place: write `{base_url}/…`, \
         with `default = \"https://…\"` in [params.base_url]",
        "11:8: a GET with a body, which many servers ignore: write `encode = \"query\"`",
        "12:1: never sent: it has neither {refresh_token} nor {access_token}",
    ];
    assert_eq!(said(&sandbox, text), expected);
    // What the warnings say is what ends them.
    let better = text
        .replace("[params.api_key]", "[params.api_key]\nsecret = true")
        .replace("[params.pin]", "[params.pin]\nsecret = false")
        .replace("https://a.example/token", "{base_url}/token")
        .replace("\"GET\"", "\"GET\"\nencode = \"query\"")
        .replace("/revoke\"", "/revoke\"\nbody = { token = \"{access_token}\" }");
    assert_eq!(said(&sandbox, &better), Vec::<String>::new());
    // Of a file that is wrong the mistakes are told, which may be why.
    let file = sandbox.file_arg("bad.toml", text.replace("title", "titel"));
    let out = sandbox.tok(["providers", "--check", &file]).run().fails(3);
    assert_eq!(out.stderr, format!("tok: {file}:1:1: unknown key `titel`; did you mean `title`?\n"));
    // Nobody else is told.
    sandbox.provider("acme", text);
    sandbox.run("providers acme").silent().ok();
    sandbox.run("providers --try acme").silent().ok();
    sandbox.run("providers --try acme revoke").fails(3).says("revoke of acme is never sent: it has neither");
}

#[test]
fn what_tok_writes_itself_is_not_warned_of() {
    let sandbox = Sandbox::new();
    let all = sandbox.run("providers --json").silent().json();
    for kind in ["client", "password", "standard", "key"] {
        let line = ["providers", "new", "other", "--print", "--kind", kind, "--url", "https://a.example/x"];
        let text = sandbox.tok(line).run().silent().ok().stdout;
        sandbox.tok(["providers", "--check", "-"]).stdin(text).run().silent().ok();
    }
    let names = all.as_array().unwrap().iter().filter_map(|one| one["name"].as_str());
    // Each is checked by a unit test; here a few are read as their user would.
    for name in names.filter(|name| ["sfmc", "earthdata", "oidc", "instagram", "docker-registry"].contains(name)) {
        let text = sandbox.run(&format!("providers {name} --toml")).silent().ok().stdout;
        sandbox.tok(["providers", "--check", "-"]).stdin(text).run().silent().ok();
    }
}

#[test]
fn a_file_is_to_be_saved_under_a_name_that_tok_reads() {
    let sandbox = Sandbox::new();
    let text = "[params.base_url]\ndefault = \"https://a.example\"\n[grants.a]\nurl = \"{base_url}/t\"\n";
    let folder = sandbox.config_dir().join("providers");
    for (name, saved) in
        [("my.zuora.toml", "my-zuora"), ("acme.toml", "acme"), ("Acme_EU.txt", "acme-eu"), ("...", "my-provider")]
    {
        let file = sandbox.file_arg(name, text);
        let out = sandbox.tok(["providers", "--check", &file]).run().silent().ok();
        let wanted = format!("to use it, save it as {}\n", folder.join(format!("{saved}.toml")).display());
        assert!(out.stdout.ends_with(&wanted), "{wanted}: {out}");
    }
    let out = sandbox.tok(["providers", "--check", "-"]).stdin(text).run().silent().ok();
    assert!(out.stdout.ends_with("/providers/NAME.toml\n"), "{out}");
    // In the folder itself it is not read: the hint mends that.
    let own = sandbox.provider("acme", text);
    let odd = own.with_file_name("my.zuora.toml");
    std::fs::rename(&own, &odd).unwrap();
    let check = |file: &std::path::Path| sandbox.tok(["providers", "--check", file.to_str().unwrap()]).run();
    let out = check(&odd).fails(3).says("not read: a provider file is NAME.toml");
    let command = out.stderr.lines().find_map(|line| line.strip_prefix("hint: rename it: ")).expect("a hint");
    assert!(std::process::Command::new("/bin/sh").args(["-c", command]).status().unwrap().success(), "{out}");
    let out = check(&own.with_file_name("my-zuora.toml")).silent().ok();
    assert!(out.stdout.ends_with("next: tok providers --try my-zuora a\n"), "{out}");
    sandbox.run("providers --try my-zuora a").silent().ok();
}

#[test]
fn a_broken_file_is_told_where_it_would_have_been_listed() {
    let sandbox = Sandbox::new();
    sandbox.provider("mine", "titl = \"x\"\n[grants.a]\nurl = \"https://a.example\"\n");
    for line in
        ["providers purewl", "providers PureWL", "providers elastic", "providers cloud", "providers purewl --toml"]
    {
        sandbox.run(line).silent().ok();
    }
    for line in ["providers", "providers --json", "providers min", "providers MIN"] {
        let out = sandbox.run(line);
        assert!(out.stderr.contains("mine.toml:1:1: unknown key `titl`"), "{line}: {out}");
    }
    sandbox.run("providers mine").fails(3).says("mine.toml:1:1");
    let out = sandbox.run("doctor");
    assert!(out.stdout.contains("mine.toml:1:1: unknown key `titl`"), "{out}");
}

#[test]
fn a_client_that_the_file_names_is_sent_once() {
    let sandbox = Sandbox::new();
    sandbox.provider(
        "query",
        "[params.base_url]\ndefault = \"https://a.example\"\n[params.client_id]\n[grants.a]\nurl = \"{base_url}/t\"\n\
         method = \"GET\"\nencode = \"query\"\nauth = \"auto\"\nbody = { grant_type = \"x\", client_id = \"{client_id}\" }\n",
    );
    let out = sandbox.run("providers --try query").silent().ok();
    assert!(out.stdout.starts_with("GET https://a.example/t?grant_type=x&client_id={client_id}\n"), "{out}");
}
