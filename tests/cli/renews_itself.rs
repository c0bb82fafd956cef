//! An access token that renews itself: no refresh token, the token is what the next one is asked for with.

use crate::support::server::{Reply, Server};
use crate::support::{CANARY, Sandbox};
use serde_json::json;

/// Short for long, then the long one by itself with a GET, as Instagram, Threads and Facebook have it.
const FILE: &str = r#"title = "Photos"
[params.base_url]
default = "SERVER"
[params.code]
secret = true
[params.client_secret]
secret = true
[grants.code]
url = "{base_url}/access_token"
method = "GET"
encode = "query"
body = { grant_type = "exchange", client_secret = "{client_secret}", access_token = "{short}" }
[[grants.code.steps]]
url = "{base_url}/code"
body = { code = "{code}" }
keep = { short = "/access_token" }
[grants.renew]
url = "{base_url}/refresh_access_token"
method = "GET"
encode = "query"
body = { grant_type = "refresh", access_token = "{access_token}" }
[grants.app]
url = "{base_url}/app"
[grants.app.response]
refresh_token = []
[refresh]
grant = "renew"
early = "10d"
dead = [{ at = "/error/code", in = [190] }]
[response]
error = { code = ["/error/code"], message = ["/error/message"] }
"#;

const DAY: i64 = 86_400;

fn token(name: &str) -> String {
    format!("at-{name}-{CANARY}")
}

fn photos(server: &Server) -> Sandbox {
    let mut sandbox = Sandbox::with_file_store();
    sandbox.provider("photos", &FILE.replace("SERVER", &server.url()));
    sandbox.set("TOK_PHOTOS_CODE", "c-1").set("TOK_PHOTOS_CLIENT_SECRET", format!("cs-{CANARY}"));
    sandbox
}

fn issue(name: &str, days: i64) -> Reply {
    Reply::json(200, json!({"access_token": token(name), "expires_in": days * DAY}))
}

fn logged_in(days: i64) -> (Server, Sandbox) {
    let server = Server::script([issue("short", 0), issue("long", days)]);
    let mut sandbox = photos(&server);
    sandbox.run("login photos code").prints("");
    // A code is good once: from here on there is the token alone.
    sandbox.unset("TOK_PHOTOS_CODE");
    assert_eq!(server.count(), 2);
    assert!(server.last().target.contains(&format!("access_token={}", token("short"))), "{:?}", server.last());
    (server, sandbox)
}

#[test]
fn the_token_is_kept_like_a_refresh_token_and_renews_itself() {
    let (server, sandbox) = logged_in(60);
    assert_eq!(sandbox.secrets()["photos"]["refresh_token"], token("long"));
    assert_eq!(sandbox.run("get photos").silent().line(), token("long"));
    assert_eq!(server.count(), 2);
    server.next(issue("next", 60));
    assert_eq!(sandbox.run("get photos --fresh").silent().line(), token("next"));
    assert_eq!(
        server.last().query(),
        [("grant_type".into(), "refresh".into()), ("access_token".into(), token("long")),]
    );
    assert_eq!(sandbox.secrets()["photos"]["refresh_token"], token("next"));
    assert_eq!(sandbox.run("get photos").silent().line(), token("next"));
}

#[test]
fn it_is_renewed_before_its_end_and_stays_good_where_that_fails() {
    let (server, sandbox) = logged_in(9);
    let says = "it is too young";
    server.next(Reply::json(400, json!({"error": {"code": 100, "message": says}})));
    let out = sandbox.run("get photos").says("not renewed yet").says(says);
    assert_eq!(out.line(), token("long"));
    // Nothing of that is for a call that asks for more than there is.
    server.next(Reply::json(400, json!({"error": {"code": 100, "message": says}})));
    sandbox.run("get photos --min-ttl 20d").fails(5).says(says);
    server.next(issue("next", 60));
    assert_eq!(sandbox.run("get photos").silent().line(), token("next"));
    let count = server.count();
    assert_eq!(sandbox.run("get photos").silent().line(), token("next"));
    assert_eq!(server.count(), count);
}

#[test]
fn a_dead_one_ends_the_session() {
    let (server, sandbox) = logged_in(60);
    server.next(Reply::json(400, json!({"error": {"code": 190, "message": "expired"}})));
    sandbox.run("get photos --fresh").fails(4).hints_at("tok login photos");
    assert!(sandbox.secrets()["photos"].get("refresh_token").is_none());
}

#[test]
fn a_grant_without_one_keeps_none() {
    let server = Server::script([issue("app", 60)]);
    let sandbox = photos(&server);
    sandbox.run("login photos app").prints("");
    assert!(
        !std::fs::exists(sandbox.secrets_file()).unwrap() || sandbox.secrets()["photos"].get("refresh_token").is_none()
    );
}

#[test]
fn many_calls_at_once_renew_it_once() {
    let (server, sandbox) = logged_in(9);
    let gate = server.next(issue("next", 60)).hold();
    let calls: Vec<_> = (0..8).map(|_| sandbox.tok(["get", "photos"]).spawn()).collect();
    server.until(3);
    gate.open();
    for call in calls {
        assert_eq!(call.wait().line(), token("next"));
    }
    assert_eq!(server.count(), 3);
}

#[test]
fn the_request_is_shown_as_the_file_has_it() {
    let server = Server::script([]);
    let out = photos(&server).run("providers --try photos renew");
    assert!(out.stdout.contains("grant_type=refresh&access_token={access_token}"), "{out}");
}
