//! What is kept goes home only, whichever grant or command names it.

use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox, plain_provider};
use serde_json::json;

/// A sandbox with a session of profile `p` at `home`: its refresh token and its client's secret are kept. `more` is
/// the rest of the provider file.
fn logged_in(home: &Server, more: &str) -> Sandbox {
    let sandbox = Sandbox::with_file_config("");
    sandbox.provider("plain", &plain_provider(&home.url(), more));
    let secret = sandbox.file_arg("secret", format!("secret-{CANARY}"));
    let line = ["login", "plain", "client-credentials", "--as", "p", "--keep", "--client-secret-file", &secret];
    sandbox.tok(line).run().prints("");
    assert_eq!(sandbox.secrets()["p"]["refresh_token"], format!("rt-{CANARY}"));
    sandbox
}

fn home() -> Server {
    let reply =
        json!({"access_token": format!("at-{CANARY}"), "refresh_token": format!("rt-{CANARY}"), "expires_in": 600});
    Server::always(Reply::json(200, reply))
}

fn elsewhere() -> Server {
    Server::issuing(600)
}

#[test]
fn a_kept_refresh_token_goes_home_only_whatever_grant_names_it() {
    let grants = [
        "[grants.other]\nbody = { grant_type = \"other\", token = \"{refresh_token}\" }\n",
        "[grants.other]\nbody = { grant_type = \"other\", token = \"{refresh_token?}\" }\n",
        "[grants.other]\nheaders = { X-Token = \"{refresh_token}\" }\n",
        "[grants.other]\nquery = { token = \"{refresh_token}\" }\n",
        "[grants.other]\nencode = \"json\"\nbody = { deep = { list = [\"{refresh_token}\"] } }\n",
    ];
    for grant in grants {
        let (home, elsewhere) = (home(), elsewhere());
        let sandbox = logged_in(&home, grant);
        let before = (sandbox.secrets(), home.count());
        let away = elsewhere.url();
        let refused = |tok: crate::support::Tok| {
            let out = tok.run().fails(4);
            let out = out.says(&home.url()).says(&away).says("nothing was sent").hints();
            assert_eq!((elsewhere.count(), home.count()), (0, before.1), "{grant} {out}");
        };
        refused(sandbox.tok(["login", "p", "other", "--base-url", &away]));
        refused(sandbox.tok(["login", "p", "other"]).env("TOK_P_BASE_URL", &away));
        let config = std::fs::read_to_string(sandbox.config_file()).unwrap();
        sandbox.config(&format!("{config}base_url = \"{away}\"\n"));
        refused(sandbox.tok(["login", "p", "other"]));
        sandbox.config(&config);
        sandbox.provider("plain", &plain_provider(&away, grant));
        refused(sandbox.tok(["login", "p", "other"]));
        assert_eq!(sandbox.secrets(), before.0, "a login that fails changes nothing");
        // One's own may go where one says, and at home the grant works.
        let own = sandbox.file_arg("own", format!("own-{CANARY}"));
        sandbox.tok(["login", "p", "refresh", "--base-url", &away, "--refresh-token-file", &own]).run().prints("");
        assert_eq!(elsewhere.count(), 1, "{grant}");
    }
    let home = home();
    let sandbox = logged_in(&home, grants[0]);
    sandbox.run("login p other").prints("");
    assert_eq!(home.last().field("token"), format!("rt-{CANARY}"));
}

#[test]
fn get_sends_no_kept_refresh_token_by_a_grant_that_names_it() {
    let grant = "[grants.other]\nbody = { grant_type = \"other\", token = \"{refresh_token?}\" }\n";
    let (home, elsewhere) = (home(), elsewhere());
    let sandbox = logged_in(&home, grant);
    sandbox.tok(["get", "p", "--grant", "other", "--base-url", &elsewhere.url()]).run();
    for request in elsewhere.requests() {
        assert!(!request.has_field("token"), "{request:?}");
    }
}

#[test]
fn what_is_kept_is_not_sent_to_another_server_to_revoke_or_to_introspect() {
    let more = "[params.other_url]\ndefault = \"{base_url}\"\n\
                [revoke]\nurl = \"{other_url}/revoke\"\nbody = { token = \"{refresh_token}\" }\n\
                [introspect]\nurl = \"{other_url}/introspect\"\nbody = { secret = \"{client_secret}\" }\n";
    let (home, elsewhere) = (home(), elsewhere());
    let sandbox = logged_in(&home, more);
    let away = elsewhere.url();
    sandbox.tok(["show", "p", "--introspect"]).env("TOK_P_OTHER_URL", &away).run().fails(4).says(&away);
    sandbox.tok(["logout", "p"]).env("TOK_P_OTHER_URL", &away).run().fails(6).says("not revoked").says(&away);
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn what_is_kept_is_not_put_into_the_address_of_a_login_elsewhere_or_sent_to_begin_one() {
    let device = "[grants.device-code]\nflow = \"device-code\"\nbody = { device_code = \"{device_code}\" }\n\
                  [grants.device-code.begin]\nurl = \"{other_url}/device\"\nbody = { secret = \"{client_secret}\" }\n";
    let browser = "[grants.browser-login]\nflow = \"authorization-code\"\n\
                   body = { code = \"{code}\", redirect_uri = \"{redirect_uri}\", code_verifier = \"{code_verifier}\" }\n\
                   [grants.browser-login.begin]\nurl = \"{other_url}/authorize\"\n\
                   query = { state = \"{state}\", code_challenge = \"{code_challenge}\", redirect_uri = \"{redirect_uri}\", \
                   secret = \"{client_secret}\" }\n";
    for (grant, name) in [(device, "device-code"), (browser, "browser-login")] {
        let more = format!("[params.other_url]\ndefault = \"{{base_url}}\"\n{grant}");
        let (home, elsewhere) = (home(), elsewhere());
        let sandbox = logged_in(&home, &more);
        let away = elsewhere.url();
        let line = ["login", "p", name, "--no-browser", "--other-url", &away];
        sandbox.tok(line).run().fails(4).says(&home.url()).says(&away);
        assert_eq!(elsewhere.count(), 0, "{name}");
    }
}
