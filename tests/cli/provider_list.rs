//! `tok providers` as a person and a program read it: the list by kind, the page of one, its JSON; and that a built-in
//! provider changes nothing of what a user has under its name.

use crate::support::server::Server;
use crate::support::{CANARY, Sandbox, plain_provider};
use serde_json::Value;
use std::collections::BTreeSet;

/// What a line prints on a terminal of so many columns.
fn on_terminal(sandbox: &Sandbox, line: &str, columns: &str) -> String {
    sandbox.tok(line.split(' ')).env("COLUMNS", columns).run().silent().ok().stdout
}

/// The kinds and names of a list for a terminal.
fn groups(text: &str) -> Vec<(String, Vec<String>)> {
    let group = |text: &str| {
        let (kind, rows) = text.split_once('\n').unwrap();
        let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
        let names = rows.lines().filter(is_name).map(|line| line.split_whitespace().next().unwrap().to_string());
        (kind.trim_end_matches(':').to_string(), names.collect())
    };
    text.trim_end().split("\n\n").map(group).collect()
}

#[test]
fn a_terminal_shows_all_providers_by_kind() {
    let sandbox = Sandbox::new();
    sandbox.provider("mine", &plain_provider("https://a.example", ""));
    let all = sandbox.run("providers --json").silent().json();
    let all = all.as_array().unwrap();
    let kind_of = |name: &str| {
        let one = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}"));
        one["kind"].as_str().unwrap_or("other").to_string()
    };
    for columns in ["80", "40"] {
        let out = on_terminal(&sandbox, "providers", columns);
        let groups = groups(&out);
        let names: Vec<&String> = groups.iter().flat_map(|(_, names)| names).collect();
        assert_eq!(names.len(), all.len(), "each stands there once: {out}");
        for (kind, names) in &groups {
            assert!(names.is_sorted(), "{kind}: {names:?}");
            names.iter().for_each(|name| assert_eq!(kind_of(name), *kind, "{name}"));
        }
        let kinds: BTreeSet<&String> = groups.iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds.len(), groups.len(), "a kind has one heading");
        assert_eq!(groups.last().unwrap().0, "other", "what a file says nothing of comes last");
        let width = columns.parse().unwrap();
        // The path of a file is one word.
        let wide = out.lines().find(|line| line.chars().count() > width && !line.contains('/'));
        assert_eq!(wide, None, "{columns}");
    }
    // Titles stand in one column, whatever the group.
    let out = on_terminal(&sandbox, "providers", "80");
    let column = |name: &str, title: &str| {
        let row = out.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap();
        row.find(title).unwrap_or_else(|| panic!("{title}: {row}"))
    };
    assert_eq!(column("oidc", "OpenID Connect"), column("purewl", "PureWL"));
}

#[test]
fn a_pipe_has_a_row_for_each_with_its_kind() {
    let sandbox = Sandbox::new();
    let out = sandbox.run("providers").silent().ok().stdout;
    let mut rows = out.lines();
    let heading: Vec<&str> = rows.next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["PROVIDER", "TITLE", "KIND", "GRANTS", "FROM"]);
    let names: Vec<&str> = rows.clone().map(|row| row.split_whitespace().next().unwrap()).collect();
    let all = sandbox.run("providers --json").json();
    assert_eq!(names.len(), all.as_array().unwrap().len());
    let row = rows.find(|row| row.starts_with("purewl ")).unwrap();
    for word in ["PureWL (Atom)", "security", "secret, refresh", "built in"] {
        assert!(row.contains(word), "{word}: {row}");
    }
}

#[test]
fn a_search_finds_parts_of_names_and_titles_and_whole_kinds() {
    let sandbox = Sandbox::new();
    let found = |word: &str| groups(&on_terminal(&sandbox, &format!("providers {word}"), "80"));
    let by_kind = found("health");
    let names = &by_kind.iter().find(|(kind, _)| kind == "health").expect("its group").1;
    assert!(names.len() > 1, "{names:?}");
    // A part of a word is not a kind.
    sandbox.run("providers governmen").fails(3);
    let out = sandbox.run("providers openid --json").silent().json();
    assert_eq!(out["name"], "oidc", "it is the only one with that title");
}

#[test]
fn a_page_shows_what_the_file_is_about_and_names_the_rest() {
    let sandbox = Sandbox::new();
    sandbox.provider(
        "corp",
        "title = \"Corp\"\nlike = \"oidc\"\n[params.issuer]\ndefault = \"https://id.example.com\"\n\
         [params.tenant]\nhelp = \"Tenant of the company\"\n[params.token_url]\n\
         default = \"https://id.example.com/{tenant}\"\n[grants.authorization-code]\n[grants.refresh]\n",
    );
    for columns in ["80", "40"] {
        let out = on_terminal(&sandbox, "providers corp", columns);
        let wide = out.lines().find(|line| {
            let is_one_word = line.split_whitespace().count() < 2;
            line.chars().count() > columns.parse().unwrap()
                && !is_one_word
                && !line.contains("://")
                && !line.contains("tok login")
        });
        assert!(wide.is_none_or(|line| line.contains('/')), "{columns}: {wide:?}");
    }
    let out = sandbox.run("providers corp").silent().ok().stdout;
    let (head, rest) = out.split_once("\nvalues:\n").unwrap();
    let (values, rare) = rest.split_once("\nrarely needed:\n").unwrap();
    assert!(head.contains("tok login corp authorization-code") && head.contains("needs client_id, tenant"), "{head}");
    for part in ["client_id  ", "--client-id,", "--client-secret-file,", "(secret)", "--scope,", "--tenant,"] {
        assert!(values.contains(part), "{part}: {out}");
    }
    assert!(values.contains("Tenant of the company [--tenant, TOK_CORP_TENANT]"), "{out}");
    // What only has another default, and what the file says nothing of.
    for name in ["issuer", "token_url", "private_key", "dpop"] {
        assert!(!values.contains(&format!("--{}", name.replace('_', "-"))), "{name}: {out}");
        assert!(rare.contains(name), "{name}: {out}");
    }
    // The command that it names lists them.
    let command = rare.split(['(', ')']).nth(1).unwrap().strip_prefix("tok ").unwrap();
    let help = sandbox.run(command).silent().ok().stdout;
    assert!(help.contains("--private-key-file") && help.contains("--dpop"), "{help}");
    // The standard itself has nothing that is rare.
    assert!(!sandbox.run("providers oauth2").ok().stdout.contains("rarely needed"));
}

/// Whatever a grant needs can be given to its login, and its page says so.
#[test]
fn what_each_grant_needs_is_an_option_of_its_login() {
    let sandbox = Sandbox::new();
    let all = sandbox.run("providers --json").silent().json();
    for provider in all.as_array().unwrap() {
        let name = provider["name"].as_str().unwrap();
        let needs: BTreeSet<&str> = provider["grant_details"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|grant| grant["needs"].as_array().unwrap())
            .map(|need| need.as_str().unwrap())
            .collect();
        let help = sandbox.run(&format!("login {name} --help")).silent().ok().stdout;
        for need in needs {
            let dashed = need.replace('_', "-");
            let is_option =
                [format!("--{dashed} "), format!("--{dashed}-file ")].iter().any(|flag| help.contains(flag));
            assert!(is_option, "{name}: {need} is no option of its login");
        }
    }
}

#[test]
fn json_says_all_of_a_provider() {
    let sandbox = Sandbox::new();
    sandbox.provider(
        "shop",
        "title = \"Shop\"\n[params.region]\ndefault = \"eu\"\n[params.region.choices]\neu = { base_url = \"https://eu.example\" }\n\
         us = { base_url = \"https://us.example\" }\n[params.base_url]\n[params.client_id]\n[params.key]\nsecret = true\n\
         [params.scope]\nlist = true\n[grants.key]\nwarning = \"careful\"\nurl = \"{base_url}/token\"\n\
         defaults = { scope = \"read\" }\nbody = { id = \"{client_id}\", key = \"{key}\", scope = \"{scope?}\" }\n\
         response = { access_token = [\"/t\"] }\n[grants.refresh]\nurl = \"{base_url}/token\"\nbody = { r = \"{refresh_token}\" }\n\
         [refresh]\ngrant = \"refresh\"\nfallback = \"key\"\n[revoke]\nurl = \"{base_url}/revoke\"\nbody = { t = \"{access_token}\" }\n\
         [use]\nheader = \"X-Key\"\nvalue = \"{access_token}\"\nheaders = { X-Client = \"{client_id}\" }\nhosts = [\"api.example\"]\n",
    );
    let shop = sandbox.run("providers shop --json").silent().json();
    let key = &shop["grant_details"][0];
    for (found, wanted) in [
        (&key["url"], "\"https://eu.example/token\""),
        (&key["needs"], "[\"client_id\",\"key\"]"),
        (&key["defaults"], "{\"scope\":\"read\"}"),
        (&key["warning"], "\"careful\""),
        (&key["flow"], "null"),
        (&key["access_token"], "[\"/t\"]"),
        (&shop["refresh"], "{\"fallback\":\"key\",\"grant\":\"refresh\",\"renews_itself\":false}"),
        (&shop["revoke"], "\"https://eu.example/revoke\""),
        (&shop["introspect"], "null"),
        (&shop["use"]["header"], "\"X-Key\""),
        (&shop["use"]["headers"], "{\"X-Client\":\"{client_id}\"}"),
        (&shop["use"]["hosts"], "[\"api.example\"]"),
        (&shop["hides_built_in"], "false"),
        (&shop["hidden_by"], "null"),
    ] {
        let wanted: Value = serde_json::from_str(wanted).unwrap();
        assert_eq!(*found, wanted, "{shop:#}");
    }
    let value =
        |name: &str| shop["values"].as_array().unwrap().iter().find(|value| value["name"] == name).unwrap().clone();
    assert_eq!(value("base_url")["set_by"], "region");
    assert_eq!(
        (&value("region")["default"], &value("region")["sets"]["us"]["base_url"]),
        (&"eu".into(), &"https://us.example".into())
    );
    let github = sandbox.run("providers oidc --json").json();
    assert_eq!(github["discover"], "issuer");
    assert_eq!(github["grant_details"][0]["flow"], "authorization-code");
}

/// Whatever a later `tok` has built in, a user's own file and profile of that name stay as they are.
#[test]
fn a_built_in_provider_changes_nothing_that_a_user_has() {
    let server = Server::issuing(600);
    let mut sandbox = Sandbox::with_file_store();
    // A file of a name that is built in too.
    sandbox.provider("purewl", &plain_provider(&server.url(), ""));
    sandbox.set("TOK_PUREWL_CLIENT_SECRET", format!("s-{CANARY}"));
    sandbox.run("get purewl").silent().line();
    let page = sandbox.run("providers purewl").silent().ok().stdout;
    assert!(page.contains("purewl.toml (hides the built-in one)"), "{page}");
    assert!(!page.contains("secret_key"), "{page}");
    assert!(sandbox.run("providers").ok().stdout.contains("purewl.toml (hides the built-in one)"));
    let json = sandbox.run("providers purewl --json").json();
    assert_eq!((&json["built_in"], &json["hides_built_in"]), (&false.into(), &true.into()));
    assert!(sandbox.run("providers purewl --toml").ok().stdout.contains(&server.url()));
    // A profile of such a name, of another provider.
    sandbox.provider("plain", &plain_provider(&server.url(), ""));
    sandbox.config("[profile.xcover]\nprovider = \"plain\"\n");
    sandbox.set("TOK_XCOVER_CLIENT_SECRET", format!("s-{CANARY}"));
    sandbox.run("get xcover").silent().line();
    assert_eq!(sandbox.run("show xcover --json").json()["provider"], "plain");
    let page = sandbox.run("providers xcover").silent().ok().stdout;
    assert!(page.contains("hidden:") && page.contains("by the profile xcover, which is of plain"), "{page}");
    assert_eq!(sandbox.run("providers xcover --json").json()["hidden_by"], "plain");
    assert_eq!(server.count(), 2, "each was asked for once");
    // One whose variables a built-in one would have as well: `google` has a service account's `private_key`.
    let text = plain_provider(&server.url(), "")
        .replace("[params.scope]", "[params.service_account_private_key]\n[params.scope]");
    sandbox.provider("google", &text);
    sandbox.set("TOK_GOOGLE_CLIENT_SECRET", format!("s-{CANARY}"));
    sandbox.run("get google").silent().line();
    // Two of the user's own are told.
    sandbox.config("[profile.google-service-account]\nprovider = \"google-service-account\"\n");
    sandbox.run("get google --fresh").fails(3).says("TOK_GOOGLE_SERVICE_ACCOUNT_PRIVATE_KEY");
}

#[test]
fn a_new_standard_file_is_like_the_standard_and_no_vendor() {
    let sandbox = Sandbox::new();
    let out = sandbox.run("providers new acme --kind standard --print --url https://id.example.com").silent().ok();
    assert!(out.stdout.contains("like = \"oidc\""), "{out}");
    // So is what is hinted at.
    sandbox.run("get nothing-like-it").fails(3).hints_at("tok login oidc --as nothing-like-it");
}
