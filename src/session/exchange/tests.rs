use super::*;
use crate::base::error::{hint, kind};
use crate::base::jose::{Key, jwt};
use crate::base::secret::Secret;
use crate::host::testing::{START, World, field, header, reply};
use crate::profile::testing::resolve;
use crate::profile::{Home, Wishes};
use crate::session::inputs::{For, fill};
use serde_json::json;
use std::collections::BTreeMap;

const PROVIDER: &str = r#"
like = "oauth2"
title = "Acme"
[params.token_url]
default = "https://acme.example/token"
[params.revocation_url]
default = "https://acme.example/revoke"
"#;

/// A call of the client's own grant, in a world that answers it.
struct Case {
    world: World,
    profile: Profile,
    kept: BTreeMap<String, crate::profile::Value>,
}

impl Case {
    fn new(world: World, grant: &str, config: &str) -> Case {
        let world = world.env(&[("TOK_ACME_CLIENT_ID", "app"), ("TOK_ACME_CLIENT_SECRET", "s3cret/+&x")]);
        Case::of(world, grant, config)
    }

    fn of(world: World, grant: &str, config: &str) -> Case {
        let wishes = Wishes { grant: Some(grant.into()), ..Wishes::default() };
        let profile = resolve(&world.host, PROVIDER, config, &wishes).expect("a profile");
        Case { world, profile, kept: BTreeMap::new() }
    }

    fn ask(&mut self) -> Result<Outcome> {
        let grant = self.profile.default_grant().clone();
        let mut inputs = fill(&mut self.world.host, &self.profile, For::Grant(&grant), &self.kept, &[])?;
        inputs.bind(&grant, &Default::default())?;
        let dead = self.profile.provider.refresh.as_ref().map(|refresh| refresh.dead.as_slice()).unwrap_or_default();
        let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead, device: None };
        ask(&mut self.world.host, &self.profile, &asking, &inputs)
    }

    fn refused(&mut self) -> Error {
        match self.ask().expect("it is sent") {
            Outcome::Failed(error, _) | Outcome::Dead(error) => error,
            Outcome::Issued(..) => panic!("it was refused"),
        }
    }

    fn issued(&mut self) -> Issued {
        match self.ask().expect("it is sent") {
            Outcome::Issued(issued) => issued,
            Outcome::Failed(error, _) | Outcome::Dead(error) => panic!("{error}"),
        }
    }
}

fn token() -> Response {
    reply(200, json!({"access_token": "a", "token_type": "Bearer", "expires_in": 60}))
}

#[test]
fn nothing_is_sent_where_a_value_is_away_from_home() {
    let keep = |home: Option<&str>| crate::profile::Value::kept(Secret::new("kept"), home.map(Home::of));
    for (home, what) in [
        (
            Some("https://b.example"),
            "the stored subject_token goes to https://b.example only, not to https://acme.example",
        ),
        (
            Some("http://acme.example"),
            "the stored subject_token goes to http://acme.example only, not to https://acme.example",
        ),
        (None, "the stored subject_token may not be sent to https://acme.example: its origin is unknown"),
    ] {
        let mut case = Case::new(World::new(), "token-exchange", "");
        case.kept.insert("subject_token".into(), keep(home));
        let error = case.ask().err().expect("it is not sent");
        assert_eq!((kind(&error), error.to_string()), (Kind::LoginNeeded, format!("{what}: nothing was sent")));
        assert!(hint(&error).is_some_and(|hint| hint.contains("tok login acme")));
        assert!(case.world.sent().is_empty());
    }
    let mut case = Case::new(World::new().replies([token()]), "token-exchange", "");
    case.kept.insert("subject_token".into(), keep(Some("https://acme.example")));
    assert_eq!(case.issued().access_token.expose(), "a");
}

#[test]
fn a_kept_value_goes_away_by_no_other_request_either() {
    let mut case = Case::new(World::new(), "client-credentials", "revocation_url = \"https://b.example/revoke\"");
    let call = case.profile.provider.revoke.clone().expect("it can be revoked");
    let token = crate::profile::Value::kept(Secret::new("r"), Some(Home::of("https://acme.example")));
    let inputs =
        fill(&mut case.world.host, &case.profile, For::Call(&call), &BTreeMap::new(), &[("refresh_token", token)]);
    let inputs = inputs.expect("inputs");
    let error = revoke(&mut case.world.host, &case.profile, &call, &inputs).expect_err("it is not sent");
    assert_eq!(kind(&error), Kind::LoginNeeded);
    let told = Told { name: "the question", rules: &case.profile.default_grant().response.clone() };
    assert!(ask_for_object(&mut case.world.host, &case.profile, &told, &call, &inputs).is_err());
    assert!(ask_to_show(&mut case.world.host, &case.profile, &told, &call, &inputs).is_err());
    assert!(case.world.sent().is_empty());
}

#[test]
fn what_is_missing_is_named_and_nothing_is_sent() {
    let mut case = Case::of(World::new().env(&[("TOK_ACME_CLIENT_ID", "app")]), "password", "username = \"alice\"");
    let error = case.ask().err().expect("there is no password");
    assert_eq!((kind(&error), error.to_string()), (Kind::LoginNeeded, "password is missing".into()));
    assert_eq!(hint(&error), Some("set TOK_ACME_PASSWORD, or log in: tok login acme"));
    assert!(case.world.sent().is_empty());
}

#[test]
fn a_reply_is_a_token_a_refusal_or_neither() {
    for (answer, kind, why) in [
        (
            reply(400, json!({"error": "invalid_scope", "error_description": "no such"})),
            Kind::Refused,
            "https://acme.example refused the grant client-credentials: invalid_scope: no such (status 400)",
        ),
        (
            reply(403, ""),
            Kind::Refused,
            "https://acme.example refused the grant client-credentials: status 403 without a readable reason",
        ),
        (
            reply(200, json!({"error": "invalid_scope"})),
            Kind::Refused,
            "https://acme.example refused the grant client-credentials: invalid_scope",
        ),
        (
            reply(503, "trace of s3cret/+&x"),
            Kind::Unavailable,
            "https://acme.example is unavailable: server error (status 503)",
        ),
        (reply(429, ""), Kind::Unavailable, "https://acme.example is unavailable: too many requests (status 429)"),
        (reply(302, ""), Kind::Reply, "the reply from https://acme.example cannot be read: it redirects"),
    ] {
        let status = answer.status;
        let mut case = Case::new(World::new().replies([answer]), "client-credentials", "");
        let error = case.refused();
        assert_eq!(error.kind, kind, "{status}");
        assert!(error.to_string().starts_with(why), "{status}: {error}");
        assert!(error.hint.is_some());
        assert_eq!(case.world.sent().len(), 1);
    }
    let mut case = Case::new(World::new().replies([reply(200, "<html>")]), "client-credentials", "");
    assert_eq!(case.refused().kind, Kind::Reply);
    // What the network says comes back as it is.
    let away = Error::new(Kind::Unavailable, "nobody answers", "");
    let mut case = Case::new(World::new().answering(move |_| Err(away.clone())), "client-credentials", "");
    assert_eq!(case.refused().to_string(), "nobody answers");
}

#[test]
fn only_a_refusal_that_dead_names_means_a_dead_token() {
    let is_dead = |answer: Response| {
        let mut case = Case::new(World::new().replies([answer]), "client-credentials", "");
        matches!(case.ask().expect("it is sent"), Outcome::Dead(_))
    };
    assert!(is_dead(reply(400, json!({"error": "invalid_grant"}))));
    for (status, error) in
        [(400, "invalid_request"), (401, "invalid_client"), (503, "invalid_grant"), (302, "invalid_grant")]
    {
        assert!(!is_dead(reply(status, json!({"error": error}))), "{status} {error}");
    }
}

#[test]
fn what_was_sent_is_not_shown_in_a_refusal() {
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode("app:s3cret%2F%2B%26x");
    for quoted in ["s3cret/+&x", "s3cret%2F%2B%26x", basic.as_str()] {
        let said = json!({"error": "invalid_client", "error_description": format!("got {quoted} here")});
        let mut case = Case::new(World::new().replies([reply(401, said)]), "client-credentials", "");
        let error = case.refused();
        assert!(error.why.contains("got *** here"), "{error}");
        assert_eq!(header(&case.world.sent()[0], "authorization"), Some(format!("Basic {basic}").as_str()));
    }
    // The assertion is signed anew for each request, and is a secret all the same.
    let (_, key) = Key::generate().expect("a key");
    let world = World::new().env(&[("TOK_ACME_CLIENT_ID", "app"), ("TOK_ACME_PRIVATE_KEY", key.expose())]);
    let quote = |request: &request::Request| {
        let assertion = field(request, "client_assertion").expect("an assertion");
        Ok(reply(400, json!({"error": "invalid_request", "error_description": format!("got {assertion}")})))
    };
    let mut case = Case::of(world.answering(quote), "client-credentials", "");
    assert!(case.refused().why.contains("got ***"));
    // An object that is shown is gone through as well, by names and values.
    let said = json!({"active": true, "echo": "s3cret/+&x", "s3cret/+&x": 1});
    let mut case = Case::new(World::new().replies([reply(200, said)]), "client-credentials", "");
    let grant = case.profile.default_grant().clone();
    let inputs = fill(&mut case.world.host, &case.profile, For::Grant(&grant), &BTreeMap::new(), &[]).expect("inputs");
    let told = Told { name: "the question", rules: &grant.response };
    let shown = ask_to_show(&mut case.world.host, &case.profile, &told, &grant.call, &inputs).expect("an object");
    assert_eq!(Value::from(shown), json!({"active": true, "echo": "***", "***": 1}));
}

#[test]
fn a_number_for_the_proof_is_asked_for_once() {
    let wants = |nonce: &str| {
        let mut response = reply(400, json!({"error": "use_dpop_nonce"}));
        response.headers.push(("DPoP-Nonce".into(), nonce.into()));
        response
    };
    let nonces = |world: &World| -> Vec<Option<String>> {
        let proof = |request: &request::Request| jwt::claims(header(request, "dpop").expect("a proof")).expect("a JWT");
        world.sent().iter().map(|request| proof(request).get("nonce")?.as_str().map(str::to_string)).collect()
    };
    let bound = reply(200, json!({"access_token": "a", "token_type": "DPoP"}));
    let mut case = Case::new(World::new().replies([wants("n-1"), bound]), "client-credentials", "dpop = true");
    assert_eq!(case.issued().access_token.expose(), "a");
    assert_eq!(nonces(&case.world), [None, Some("n-1".into())]);

    let mut case = Case::new(World::new().replies([wants("n-1"), wants("n-2")]), "client-credentials", "dpop = true");
    assert_eq!(case.refused().kind, Kind::Refused);
    assert_eq!(nonces(&case.world), [None, Some("n-1".into())], "not a third time");

    // Whoever sends no proof is not asked for one, and a number beside another refusal is no question.
    let mut case = Case::new(World::new().replies([wants("n-1")]), "client-credentials", "");
    assert_eq!(case.refused().kind, Kind::Refused);
    let mut other = reply(400, json!({"error": "invalid_scope"}));
    other.headers.push(("DPoP-Nonce".into(), "n-1".into()));
    let mut case = Case::new(World::new().replies([other]), "client-credentials", "dpop = true");
    assert_eq!(case.refused().kind, Kind::Refused);
}

#[test]
fn an_assertion_that_is_refused_is_sent_once_more_for_the_issuer() {
    let (_, key) = Key::generate().expect("a key");
    let refused = || reply(401, json!({"error": "invalid_client"}));
    let case = |world: World, grant: &str, config: &str| {
        let variables =
            [("TOK_ACME_CLIENT_ID", "app"), ("TOK_ACME_PRIVATE_KEY", key.expose()), ("TOK_ACME_PASSWORD", "p")];
        Case::of(world.env(&variables), grant, config)
    };
    let audiences = |world: &World| -> Vec<String> {
        let claims = |request| jwt::claims(&field(request, "client_assertion").expect("an assertion")).expect("a JWT");
        world.sent().iter().map(|request| claims(request)["aud"].as_str().expect("one").to_string()).collect()
    };
    let issuer = "issuer = \"https://acme.example\"";
    let both = ["https://acme.example/token", "https://acme.example"];
    let mut twice = case(World::new().replies([refused(), token()]), "client-credentials", issuer);
    assert_eq!(twice.issued().access_token.expose(), "a");
    assert_eq!(audiences(&twice.world), both);
    let mut refused_twice = case(World::new().replies([refused(), refused()]), "client-credentials", issuer);
    assert_eq!(refused_twice.refused().kind, Kind::Refused);
    assert_eq!(audiences(&refused_twice.world), both);

    // Without an issuer there is one audience; a person's password is not sent twice; another refusal is an answer.
    for (grant, config, answer) in [
        ("client-credentials", "", refused()),
        ("client-credentials", "issuer = \"https://acme.example\"\nassertion_audience = \"x\"", refused()),
        ("password", "issuer = \"https://acme.example\"\nusername = \"alice\"", refused()),
        ("client-credentials", issuer, reply(400, json!({"error": "invalid_scope"}))),
    ] {
        let mut once = case(World::new().replies([answer]), grant, config);
        assert_eq!(once.refused().kind, Kind::Refused);
        assert_eq!(once.world.sent().len(), 1, "{grant} {config}");
    }
    // A secret was looked at: it is wrong.
    let mut basic = Case::new(World::new().replies([refused()]), "client-credentials", issuer);
    assert!(basic.refused().hint.is_some_and(|hint| hint.contains("--client-auth post")));
}

#[test]
fn a_request_says_when_it_may_be_sent_again() {
    let repeat = |grant: &str, variables: &[(&str, &str)]| {
        let all = [variables, &[("TOK_ACME_CLIENT_ID", "app"), ("TOK_ACME_CLIENT_SECRET", "s")]].concat();
        let mut case = Case::of(World::new().replies([token()]).env(&all), grant, "");
        case.issued();
        case.world.sent()[0].repeat
    };
    assert_eq!(repeat("client-credentials", &[]), Repeat::Freely);
    assert_eq!(repeat("password", &[("TOK_ACME_USERNAME", "u"), ("TOK_ACME_PASSWORD", "p")]), Repeat::Personal);
    assert_eq!(repeat("refresh", &[("TOK_ACME_REFRESH_TOKEN", "r")]), Repeat::Rotating);
}

#[test]
fn a_clock_that_differs_is_told_where_an_assertion_is_refused() {
    let (_, key) = Key::generate().expect("a key");
    let hint = |date: i64| {
        let mut answer = reply(400, json!({"error": "invalid_request"}));
        answer.headers.push(("Date".into(), httpdate(date)));
        let world = World::new().env(&[("TOK_ACME_CLIENT_ID", "app"), ("TOK_ACME_PRIVATE_KEY", key.expose())]);
        Case::of(world.replies([answer]), "client-credentials", "").refused().hint.expect("a hint")
    };
    assert_eq!(
        hint(START - 120),
        "set this machine's clock: it is 2m ahead of the server's (by the reply's Date header)"
    );
    assert_eq!(
        hint(START + 3600),
        "set this machine's clock: it is 1h behind the server's (by the reply's Date header)"
    );
    assert!(!hint(START + 10).contains("clock"));
}

fn httpdate(at: i64) -> String {
    let time = jiff::Timestamp::from_second(at).expect("a time");
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).expect("a date")
}

#[test]
fn a_scope_that_was_not_granted_is_said_after_the_token_is_safe() {
    let narrow = reply(200, json!({"access_token": "a", "token_type": "Bearer", "scope": "read"}));
    let config = "scope = [\"read\", \"write\"]";
    let mut case = Case::new(World::new().replies([narrow]), "client-credentials", config);
    assert_eq!(case.issued().scope.as_deref(), Some("read"));
    let said = case.world.stderr();
    assert!(said.contains("tok: warning: acme: the token was granted without the scope write"), "{said}");
}

#[test]
fn revoking_counts_the_status_alone() {
    let revoked = |answer: Response| {
        let mut case = Case::new(World::new().replies([answer]), "client-credentials", "");
        let call = case.profile.provider.revoke.clone().expect("it can be revoked");
        let token = crate::profile::Value::kept(Secret::new("r"), Some(Home::of("https://acme.example")));
        let inputs =
            fill(&mut case.world.host, &case.profile, For::Call(&call), &BTreeMap::new(), &[("refresh_token", token)]);
        let done = revoke(&mut case.world.host, &case.profile, &call, &inputs.expect("inputs"));
        assert_eq!(field(&case.world.sent()[0], "token").as_deref(), Some("r"));
        done.map_err(|error| kind(&error))
    };
    assert_eq!(revoked(reply(200, "whatever")), Ok(()));
    assert_eq!(revoked(reply(400, json!({"error": "unsupported_token_type"}))), Err(Kind::Refused));
}
