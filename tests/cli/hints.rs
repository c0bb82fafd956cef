//! A hint is run as it stands, and leads a step further. Other hints are run where their errors are tested: of a locked
//! keyring (keyring.rs), of values that are missing or refused (words.rs), of another account (another_account.rs).

use crate::support::apiax::{self, Apiax};
use crate::support::issuer::Issuer;
use crate::support::purewl::{self, PureWl};
use crate::support::server::{Reply, Server};
use crate::support::xcover::XCover;
use crate::support::{Output, Sandbox, Tok, plain, plain_provider, put};
use serde_json::json;

/// The commands of ours that a hint names, each as a shell reads it, without the `tok`.
#[track_caller]
fn commands(out: &Output) -> Vec<Vec<String>> {
    let hint = out.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_else(|| panic!("{out}"));
    let mut found = Vec::new();
    // One ends where the sentence goes on: `; or …`, `, tok …`, `? See …`.
    for (at, _) in hint.match_indices("tok ") {
        let ours = &hint[at..];
        let end = [";", ", ", "? "].iter().filter_map(|mark| ours.find(mark)).min().unwrap_or(ours.len());
        found.push(shlex::split(&ours[..end]).expect("words").split_off(1));
    }
    assert!(!found.is_empty(), "no command of ours: {out}");
    found
}

/// The one command of the hint, ready to be run.
#[track_caller]
fn the_command(sandbox: &Sandbox, out: &Output) -> Tok {
    let mut all = commands(out);
    assert_eq!(all.len(), 1, "{out}");
    sandbox.tok(all.remove(0))
}

/// The same with `value` where the hint says `placeholder`.
#[track_caller]
fn with(sandbox: &Sandbox, out: &Output, placeholder: &str, value: &str) -> Tok {
    let words = commands(out).remove(0);
    assert!(words.iter().any(|word| word == placeholder), "no {placeholder}: {out}");
    sandbox.tok(words.into_iter().map(|word| if word == placeholder { value.to_string() } else { word }))
}

/// `oidc` of a real login, whose session has an ID token where `scope` holds openid.
fn logged_in(issuer: &Issuer, scope: &str) -> Sandbox {
    let sandbox = issuer.sandbox();
    sandbox.run(&format!("login oidc device-code --scope {scope}")).prints("");
    sandbox
}

/// A variable is its profile's own: under another name its value stands in the command.
#[test]
fn a_login_under_another_name_takes_along_what_variables_gave() {
    let (one, two) = (Server::issuing(600), Server::issuing(600));
    let mut sandbox = Sandbox::with_file_store();
    let file = "[params.base_url]\ndefault = \"https://api.example\"\n[params.password]\nsecret = true\npersonal = true\n\
                [grants.password]\nurl = \"{base_url}/token\"\nbody = { password = \"{password}\" }\n\
                [grants.refresh]\nurl = \"{base_url}/token\"\nbody = { refresh_token = \"{refresh_token}\" }\n\
                [refresh]\ngrant = \"refresh\"\n";
    sandbox.provider("mine", file);
    let password = sandbox.file_arg("password", "p");
    let reply = json!({"access_token": "a", "refresh_token": "r", "expires_in": 600});
    one.next(Reply::json(200, reply));
    let login = ["login", "mine", "password", "--base-url", &one.url(), "--password-file", &password];
    sandbox.tok(login).run().prints("");
    sandbox.set("TOK_MINE_BASE_URL", two.url());
    let hint = format!("tok login mine password --base-url {} --as mine-2", two.url());
    sandbox.run("get mine --fresh").fails(4).hints_at(&hint);
    let words = hint.split(' ').skip(1).chain(["--password-file", &password]);
    sandbox.tok(words).run().prints("");
    assert_eq!((one.count(), two.count()), (1, 1));
}

#[test]
fn of_a_mistyped_command() {
    let sandbox = Sandbox::with_file_store();
    let out = sandbox.run("gte purewl").fails(2);
    assert_eq!(commands(&out), [["get"], ["--help"]], "{out}");
    sandbox.run("--help").ok();
    for line in ["get", "get purewl --ofline", "get purewl --min-ttl x", "list x", "completions nonsense"] {
        let out = sandbox.run(line).fails(2);
        let help = commands(&out).pop().expect("a command");
        sandbox.tok(help).run().ok().silent();
    }
}

#[test]
fn of_a_name_that_is_not_known() {
    let sandbox = Sandbox::with_file_store();
    for name in ["purwl", "nonsense-and-more"] {
        let out = sandbox.tok(["get", name]).run().fails(3);
        for command in commands(&out) {
            // A person is asked for the issuer.
            match command.iter().any(|word| word == "login") {
                true => sandbox.tok(command).run().fails(4).says("issuer").hints_at("--issuer"),
                false => sandbox.tok(command).run().ok(),
            };
        }
    }
    sandbox.config("[profile.shop]\nprovider = \"purwl\"\n");
    let list = the_command(&sandbox, &sandbox.run("get shop").fails(3)).run().ok();
    assert!(list.stdout.contains("purewl"), "{list}");
}

#[test]
fn of_a_provider_that_is_not_known() {
    let sandbox = Sandbox::with_file_store();
    let out = sandbox.run("providers nonsense-and-more").fails(3);
    let text = the_command(&sandbox, &out).run().ok().stdout;
    sandbox.provider("nonsense-and-more", &text);
    sandbox.run("providers nonsense-and-more").silent().ok();
}

#[test]
fn of_a_grant_that_is_not_there() {
    let sandbox = Sandbox::new();
    for line in ["get apiax --grant pasword", "header apiax --grant pasword"] {
        let out = sandbox.run(line).fails(2).says("did you mean password?");
        assert!(the_command(&sandbox, &out).run().ok().stdout.contains("tok login apiax password"));
    }
}

#[test]
fn of_a_config_that_is_not_there() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    let config = sandbox.work().join("it's here").join("config.toml");
    let config = config.to_str().unwrap();
    let out = sandbox.tok(["get", "purewl", "--config", config]).run().fails(3);
    let key = sandbox.file_arg("key", purewl::secret_key());
    with(&sandbox, &out, "PROVIDER", "purewl").args(["--secret-key-file", &key]).run().prints("");
    sandbox.tok(["get", "purewl", "--config", config]).run().line();
}

#[test]
fn of_files_that_others_can_write() {
    let sandbox = Sandbox::with_file_store();
    let path = sandbox.provider("plain", &plain_provider("https://a.example", ""));
    crate::support::chmod(&path, 0o666);
    let out = sandbox.run("show plain").fails(3);
    let chmod = out.stderr.split("chmod ").nth(1).and_then(|rest| rest.lines().next()).expect("a command");
    let words = shlex::split(chmod).expect("words");
    assert!(std::process::Command::new("chmod").args(words).status().unwrap().success());
    sandbox.run("show plain").ok();
}

#[test]
fn of_a_session_that_has_ended() {
    let apiax = Apiax::start();
    let mut sandbox = apiax.logged_in();
    apiax.state(|s| s.alive.clear());
    let out = sandbox.run("get apiax --fresh").fails(4);
    // It asks for what was not kept.
    the_command(&sandbox, &out).run().fails(4).says("needs password");
    sandbox.set("TOK_APIAX_USERNAME", apiax::USERNAME).set("TOK_APIAX_PASSWORD", apiax::password());
    the_command(&sandbox, &out).run().prints("");
    sandbox.run("get apiax --fresh").silent().line();
}

#[test]
fn of_a_refresh_without_a_reply() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    apiax.server.next(Reply::nothing());
    let out = sandbox.run("get apiax --fresh").fails(6);
    let all = commands(&out);
    assert_eq!(all.len(), 2, "{out}");
    sandbox.tok(&all[0]).run().line();
    sandbox.tok(&all[1]).run().fails(4).says("needs password");
}

#[test]
fn of_a_login_that_is_needed() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    let out = sandbox.run("get purewl").fails(4);
    let login = commands(&out).pop().expect("a command");
    sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    sandbox.tok(login).run().prints("");
    sandbox.unset("TOK_PUREWL_SECRET_KEY");
    sandbox.run("get purewl").silent().line();
}

#[test]
fn of_a_store_that_is_not_there() {
    let purewl = PureWl::start();
    let mut sandbox = purewl.sandbox();
    sandbox.unset("TOK_STORE");
    let out = sandbox.run("get purewl --fresh").fails(7);
    let login = commands(&out).pop().expect("a command");
    sandbox.set("TOK_PUREWL_SECRET_KEY", purewl::secret_key());
    sandbox.tok(login).run().prints("");
    sandbox.unset("TOK_PUREWL_SECRET_KEY");
    sandbox.run("get purewl --fresh").silent().line();
}

#[test]
fn of_a_stored_value_for_another_server() {
    let (one, two) = (PureWl::start(), PureWl::start());
    let mut sandbox = Sandbox::with_file_store();
    let key = sandbox.file_arg("key", purewl::secret_key());
    let url = one.server.url();
    sandbox.tok(["login", "purewl", "secret", "--base-url", &url, "--secret-key-file", &key]).run().prints("");
    let get = |sandbox: &Sandbox| sandbox.tok(["get", "purewl", "--base-url", &two.server.url()]).run();
    let out = get(&sandbox).fails(4);
    sandbox.set("TOK_PUREWL_2_SECRET_KEY", purewl::secret_key());
    let login = commands(&out).pop().expect("a command");
    sandbox.tok(login).run().prints("");
    assert_eq!((one.server.count(), two.server.count()), (1, 1), "the second login went to the other server");
}

#[test]
fn of_an_empty_cache_without_the_network() {
    let xcover = XCover::start();
    let sandbox = xcover.sandbox_with_client();
    let out = sandbox.run("get xcover --offline").fails(4);
    the_command(&sandbox, &out).run().line();
    sandbox.run("get xcover --offline").silent().line();
}

#[test]
fn of_values_that_were_refused() {
    let server = Server::new(|_| Reply::json(400, json!({ "error": "invalid_scope" })));
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain").fails(5);
    let shown = the_command(&sandbox, &out).run().ok();
    assert!(shown.stdout.contains("plain-client"), "{shown}");
}

#[test]
fn of_a_reply_that_cannot_be_read() {
    let server = Server::new(|_| Reply::json(200, json!({ "other": 1 })));
    let sandbox = plain(&server.url());
    let out = sandbox.run("get plain").fails(8);
    let shown = the_command(&sandbox, &out).run().ok();
    assert!(shown.stdout.contains(&server.url()), "{shown}");
}

#[test]
fn of_a_token_that_is_bound_to_a_key() {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({ "token_type": "DPoP" }));
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_DPOP", "true");
    sandbox.run("login oidc device-code --scope read").prints("");
    let out = sandbox.run("header oidc").fails(2);
    let header = with(&sandbox, &out, "URL", "https://api.example/").run().ok();
    assert!(header.stdout.contains("DPoP: "), "{header}");
}

#[test]
fn of_an_id_token_that_is_missing_or_not_verified() {
    let issuer = Issuer::start();
    let sandbox = logged_in(&issuer, "read");
    issuer.state(|s| s.token = json!({ "id_token": null }));
    sandbox.run("login oidc device-code --scope read --replace").ok();
    let out = sandbox.run("get oidc -o id-token").fails(4);
    issuer.state(|s| s.token = json!({}));
    the_command(&sandbox, &out).args(["--scope", "openid"]).run().prints("");
    sandbox.run("get oidc -o id-token").line();
}

#[test]
fn of_an_answer_about_another_person() {
    let issuer = Issuer::start();
    let sandbox = logged_in(&issuer, "openid");
    issuer.script("/userinfo", [Reply::json(200, json!({ "sub": "mallory" }))]);
    let out = sandbox.run("show oidc --userinfo").fails(8);
    the_command(&sandbox, &out).run().ok();
    issuer.state(|s| s.claims = json!({ "sub": "mallory" }));
    let out = sandbox.run("get oidc --fresh").fails(8).says("another person");
    issuer.state(|s| s.claims = json!({}));
    the_command(&sandbox, &out).args(["device-code"]).run().prints("");
    sandbox.run("get oidc --fresh").silent().line();
}

#[test]
fn of_a_stored_entry_that_cannot_be_used() {
    let issuer = Issuer::start();
    issuer.state(|s| s.token = json!({ "token_type": "DPoP" }));
    let mut sandbox = issuer.sandbox();
    sandbox.set("TOK_OIDC_DPOP", "true");
    sandbox.run("login oidc device-code --scope read").prints("");
    let mut secrets = sandbox.secrets();
    let entry = secrets.as_object_mut().unwrap().values_mut().find_map(key_of).expect("an entry with a key");
    *entry = json!("no key");
    put(&sandbox.secrets_file(), secrets.to_string().as_bytes());
    let out = sandbox.run("get oidc --fresh").fails(7);
    let all = commands(&out);
    sandbox.tok(&all[0]).run();
    sandbox.tok(&all[1]).args(["device-code"]).run().prints("");
    sandbox.run("get oidc --fresh").silent().line();
}

/// The key of a session for DPoP, wherever it stands in the store's file.
fn key_of(value: &mut serde_json::Value) -> Option<&mut serde_json::Value> {
    let object = value.as_object_mut()?;
    match object.contains_key("dpop_key") {
        true => object.get_mut("dpop_key"),
        false => object.values_mut().find_map(key_of),
    }
}

#[test]
fn of_a_profile_without_or_with_another_provider() {
    let purewl = PureWl::start();
    let sandbox = purewl.sandbox();
    sandbox.config("[profile.shop]\nscope = \"a\"\n");
    sandbox.run("get shop").fails(3).hints_at("provider = \"…\" to [profile.shop]");
    sandbox.config("[profile.shop]\nprovider = \"purewl\"\n");
    let key = sandbox.file_arg("key", purewl::secret_key());
    let out = sandbox.run("login oidc --as shop").fails(2).hints_at("--as").hints_at("[profile.shop]");
    drop(out);
    // The name is free once it is out of the config.
    sandbox.config("");
    sandbox
        .tok(["login", "purewl", "--as", "shop", "--base-url", &purewl.server.url(), "--secret-key-file", &key])
        .run()
        .prints("");
    sandbox.run("get shop").silent().line();
}

#[test]
fn of_an_issuer_and_settings_that_cannot_be_used() {
    let issuer = Issuer::start();
    let mut sandbox = issuer.sandbox();
    let well_known = format!("{}/.well-known/openid-configuration", issuer.url());
    sandbox.tok(["login", "oidc", "device-code", "--issuer", &well_known]).run().fails_with_one_of(&[2, 3]).hints();
    // It ends elsewhere, so where it ended is pasted.
    let out = sandbox.run("login oidc authorization-code --redirect-url https://a.example/back").fails(4);
    out.says("nothing was pasted").hints();
    sandbox.run("login oidc device-code").prints("");
    sandbox.set("TOK_CACHE", "nonsense");
    sandbox.run("get oidc").fails(2).says("expected disk or off");
    sandbox.set("TOK_CACHE", "off");
    sandbox.run("get oidc").line();
}
