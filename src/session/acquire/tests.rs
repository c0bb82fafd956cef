use super::*;
use crate::base::error::{hint, kind};
use crate::host::testing::{Deed, START, World, field, reply};
use crate::oauth::request::Response;
use crate::profile::Wishes;
use crate::profile::testing::{acme, flags, profile, resolve};
use crate::storage::index::Index;
use crate::storage::secrets::StoreErrorKind;
use crate::token::credentials::{Credentials, Session};
use serde_json::json;
use std::collections::BTreeMap;

/// A password, then refresh tokens; a key that needs nobody.
const PROVIDER: &str = acme!(
    r#"
[params.client_id]
default = "app"
help = "Client"
[params.username]
help = "User"
[params.password]
secret = true
personal = true
help = "Password"
[params.secret_key]
secret = true
help = "Key"
[grants.password]
help = "By a password"
body = { grant_type = "password", client_id = "{client_id}", username = "{username}", password = "{password}" }
[grants.key]
help = "By a key"
body = { grant_type = "key", client_id = "{client_id}", key = "{secret_key}" }
[grants.refresh]
help = "By a refresh token"
body = { grant_type = "refresh_token", client_id = "{client_id}", refresh_token = "{refresh_token}" }
[refresh]
grant = "refresh"
"#
);

const TOKEN_URL: &str = "https://acme.example/token";

fn with_fallback() -> String {
    format!("{PROVIDER}fallback = \"key\"\n")
}

fn issued(access: &str, refresh: Option<&str>) -> Response {
    let mut body = json!({"access_token": access, "token_type": "Bearer", "expires_in": 3600});
    if let Some(refresh) = refresh {
        body["refresh_token"] = refresh.into();
    }
    reply(200, body)
}

fn dead() -> Response {
    reply(400, json!({"error": "invalid_grant"}))
}

/// Puts an entry whose session began by a password, with the settings of `profile`; `change` says what is different.
fn keep(world: &World, profile: &Profile, token: &str, change: impl FnOnce(&mut Credentials)) {
    let known = profile.known().expect("settings");
    let session = Session {
        refresh_token: Secret::new(token),
        identity: known.identity(TOKEN_URL, Some("password"), None),
        since: START - 60,
        subject: None,
        values: BTreeMap::new(),
    };
    let mut kept = Credentials { session: Some(session), ..Credentials::default() };
    change(&mut kept);
    world.stores.put("acme", &kept.write());
}

fn keep_key(kept: &mut Credentials) {
    kept.secrets.insert("secret_key".into(), Secret::new("kept key"));
    kept.secrets_for = Some("https://acme.example".into());
}

fn entry(world: &World) -> Option<Credentials> {
    world.stores.entry("acme").map(|entry| Credentials::parse(&entry).expect("an entry of ours"))
}

fn kept_token(world: &World) -> Option<String> {
    Some(entry(world)?.session?.refresh_token.expose().to_string())
}

/// The refresh tokens that were sent.
fn sent(world: &World) -> Vec<Option<String>> {
    world.sent().iter().map(|request| field(request, "refresh_token")).collect()
}

fn cache(world: &World) -> Option<Cache> {
    world.host.folders().ok().map(|folders| Cache::new(folders.cache("acme")))
}

/// The access token, and where it came from.
fn got(world: &mut World, profile: &mut Profile) -> Result<(String, String)> {
    let cache = cache(world);
    let (token, source) = obtain(&mut world.host, profile, cache.as_ref(), false, &|_, _| true)?;
    Ok((token.access_token.expose().to_string(), format!("{source:?}")))
}

fn failed(world: &mut World, profile: &mut Profile) -> (Kind, String, String) {
    let error = got(world, profile).expect_err("there is no token");
    (kind(&error), error.to_string(), hint(&error).unwrap_or_default().to_string())
}

fn pair(token: &str, source: &str) -> (String, String) {
    (token.into(), source.into())
}

#[test]
fn a_refresh_keeps_the_new_token_before_it_returns() {
    let mut world = World::new().replies([issued("a2", Some("r2")), issued("a3", None)]);
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "r1", |_| ());
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a2", "Refresh"));
    assert_eq!(kept_token(&world).as_deref(), Some("r2"));
    let kept = entry(&world).and_then(|kept| kept.session).expect("a session");
    assert_eq!((kept.since, kept.identity.grant.as_deref()), (START - 60, Some("password")), "the login is the same");
    let known = acme.known().expect("settings");
    let (_, waits) = cache(&world).and_then(|cache| cache.find(&known)).expect("it waits");
    assert_eq!((waits.access_token.expose(), waits.expires), ("a2", Expires::At(START + 3600)));
    let noted = Index::of(world.host.folders().ok(), "acme").read().expect("it is noted");
    assert!(noted.refresh_token && noted.grant.as_deref() == Some("password"), "{noted:?}");

    // A reply without a new one leaves the old one.
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a3", "Refresh"));
    assert_eq!(kept_token(&world).as_deref(), Some("r2"));
    assert_eq!(sent(&world), [Some("r1".into()), Some("r2".into())]);
}

#[test]
fn a_new_token_is_kept_though_nothing_can_be_written_on_disk() {
    // No home at all, and a cache that lies where a file stands.
    let mut world = World::new().homeless().replies([issued("a2", Some("r2")), issued("a3", Some("r3"))]);
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "r1", |_| ());
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a2", "Refresh"));
    assert_eq!(kept_token(&world).as_deref(), Some("r2"));
    let file = world.folder().join("file");
    std::fs::write(&file, "").expect("a file");
    let cache = Cache::new(file.join("cache"));
    let (token, _) = obtain(&mut world.host, &mut acme, Some(&cache), false, &|_, _| true).expect("a token");
    assert_eq!((token.access_token.expose(), kept_token(&world).as_deref()), ("a3", Some("r3")));
    assert!(world.stderr().contains("acme: the token cannot be cached; the next call requests another"));
}

#[test]
fn where_the_store_fails_after_the_reply_the_token_is_handed_out_and_a_person_is_told() {
    let mut world = World::new().homeless();
    let stores = world.stores.clone();
    world = world.answering(move |_| {
        stores.fail(Deed::Set, StoreErrorKind::Refused);
        Ok(issued("a2", Some("r2")))
    });
    world.host.terminal.quiet = true;
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "r1", |_| ());
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a2", "Refresh"));
    assert_eq!(kept_token(&world).as_deref(), Some("r1"));
    let said = world.stderr();
    assert!(
        said.contains(
            "tok: warning: acme: the new refresh token could not be stored: the keyring store refused: as told"
        ),
        "{said}"
    );
    assert!(said.contains("log in again: tok login acme") && !said.contains("r2"), "{said}");
}

#[test]
fn only_a_dead_token_is_forgotten() {
    for (answer, expected) in [
        (reply(400, json!({"error": "invalid_request"})), Kind::Refused),
        (reply(401, json!({"error": "invalid_client"})), Kind::Refused),
        (reply(503, json!({"error": "invalid_grant"})), Kind::Unavailable),
        (reply(200, "<html>"), Kind::Reply),
        (reply(302, ""), Kind::Reply),
    ] {
        let mut world = World::new().replies([answer]);
        let mut acme = profile(&world.host, PROVIDER);
        keep(&world, &acme, "r1", |_| ());
        assert_eq!(failed(&mut world, &mut acme).0, expected);
        assert_eq!(kept_token(&world).as_deref(), Some("r1"), "{expected:?}");
    }
    let mut world = World::new().replies([dead()]);
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "r1", |_| ());
    let (kind, said, hint) = failed(&mut world, &mut acme);
    let ended = "the session has ended: the provider no longer accepts the refresh token";
    assert_eq!((kind, said.as_str(), hint.as_str()), (Kind::LoginNeeded, ended, "run: tok login acme password"));
    assert_eq!((kept_token(&world), sent(&world)), (None, vec![Some("r1".into())]));
}

#[test]
fn a_dead_token_that_cannot_be_forgotten_is_not_used_again_in_this_call() {
    let mut world = World::new();
    let stores = world.stores.clone();
    world = world.answering(move |_| {
        stores.fail(Deed::Set, StoreErrorKind::Refused);
        stores.fail(Deed::Forget, StoreErrorKind::Refused);
        Ok(dead())
    });
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "r1", |_| ());
    assert_eq!(failed(&mut world, &mut acme).0, Kind::LoginNeeded);
    assert_eq!(world.sent().len(), 1);
    assert!(world.stderr().contains("tok: warning: acme: the refused refresh token could not be deleted: as told"));
}

#[test]
fn the_store_is_read_once_more_before_a_token_counts_as_dead() {
    // Another machine has refreshed meanwhile: what it kept is tried, once.
    let moved = |left: &'static [&'static str], last: fn() -> Response| {
        let world = World::new();
        let acme = profile(&world.host, PROVIDER);
        keep(&world, &acme, "r1", |_| ());
        let (stores, entries) = (world.stores.clone(), std::sync::Mutex::new(left.iter()));
        let known = acme.known().expect("settings");
        let world = world.answering(move |_| {
            let Some(token) = entries.lock().expect("one thread").next() else { return Ok(last()) };
            let identity = known.identity(TOKEN_URL, Some("password"), None);
            let session = Session {
                refresh_token: Secret::new(*token),
                identity,
                since: START,
                subject: None,
                values: BTreeMap::new(),
            };
            stores.put("acme", &Credentials { session: Some(session), ..Credentials::default() }.write());
            Ok(dead())
        });
        (world, acme)
    };
    let (mut world, mut acme) = moved(&["r2"], || issued("a3", Some("r3")));
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a3", "Refresh"));
    assert_eq!(sent(&world), [Some("r1".into()), Some("r2".into())]);
    assert_eq!(kept_token(&world).as_deref(), Some("r3"));

    let (mut world, mut acme) = moved(&["r2", "r3"], || issued("a4", None));
    assert_eq!(failed(&mut world, &mut acme).0, Kind::LoginNeeded);
    assert_eq!(sent(&world), [Some("r1".into()), Some("r2".into())]);
    assert_eq!(kept_token(&world).as_deref(), Some("r3"), "what was not tried is not forgotten");

    // Where it cannot be read nothing is known: the store may hold what is needed.
    let mut world = World::new();
    let stores = world.stores.clone();
    world = world.answering(move |_| {
        stores.fail(Deed::Get, StoreErrorKind::Locked);
        Ok(dead())
    });
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "r1", |_| ());
    let (kind, said, _) = failed(&mut world, &mut acme);
    assert_eq!((kind, said.as_str()), (Kind::Store, "the keyring is locked: as told"));
    assert_eq!(kept_token(&world).as_deref(), Some("r1"));
}

#[test]
fn after_a_death_the_fallback_runs_where_it_needs_nobody() {
    let mut world = World::new().replies([dead(), issued("a2", Some("r2"))]);
    let mut acme = profile(&world.host, &with_fallback());
    keep(&world, &acme, "r1", keep_key);
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a2", "Grant"));
    assert_eq!(field(&world.sent()[1], "key").as_deref(), Some("kept key"));
    let kept = entry(&world).expect("an entry");
    assert_eq!(kept.session.as_ref().map(|session| session.refresh_token.expose()), Some("r2"));
    assert_eq!(kept.secrets["secret_key"].expose(), "kept key");

    let mut world = World::new().replies([dead()]);
    let mut acme = profile(&world.host, &with_fallback());
    keep(&world, &acme, "r1", |_| ());
    let (kind, _, hint) = failed(&mut world, &mut acme);
    assert_eq!((kind, hint.as_str()), (Kind::LoginNeeded, "run: tok login acme key"));
}

#[test]
fn an_id_token_of_another_person_keeps_nothing() {
    let id_token = |sub: &str| {
        use base64::Engine;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json!({"sub": sub}).to_string());
        format!("e30.{claims}.e30")
    };
    let answer = |sub: &str| {
        let body =
            json!({"access_token": "a2", "token_type": "Bearer", "refresh_token": "r2", "id_token": id_token(sub)});
        reply(200, body)
    };
    let mut world = World::new().replies([answer("bob"), answer("alice")]);
    let mut acme = profile(&world.host, PROVIDER);
    let of_alice =
        |kept: &mut Credentials| kept.session.iter_mut().for_each(|session| session.subject = Some("alice".into()));
    keep(&world, &acme, "r1", of_alice);
    assert_eq!(failed(&mut world, &mut acme).0, Kind::Reply);
    assert_eq!(kept_token(&world).as_deref(), Some("r1"));
    assert!(cache(&world).is_some_and(|cache| cache.all().is_empty()));
    got(&mut world, &mut acme).expect("a token");
    assert_eq!(kept_token(&world).as_deref(), Some("r2"));
}

#[test]
fn a_session_of_other_settings_is_left_alone() {
    // A client of one's own: the kept session is another client's.
    let mut world = World::new().env(&[("TOK_ACME_SECRET_KEY", "k")]).replies([issued("a2", Some("r2"))]);
    let before = profile(&world.host, PROVIDER);
    keep(&world, &before, "r1", |_| ());
    let kept = world.stores.entry("acme");
    let other = |world: &World, grant: Option<&str>| {
        let wishes = Wishes { grant: grant.map(str::to_string), ..flags(&[("client_id", "mine")]) };
        resolve(&world.host, PROVIDER, "", &wishes).expect("a profile")
    };
    let mut mine = other(&world, Some("key"));
    assert_eq!(got(&mut world, &mut mine).expect("a token"), pair("a2", "Grant"));
    assert_eq!(world.stores.entry("acme"), kept, "its refresh token is kept nowhere");
    assert!(world.stderr().contains("not using the session: it differs in the grant"));
    let mut fresh = profile(&world.host, PROVIDER);
    let waits = cache(&world).and_then(|cache| cache.find(&fresh.known().expect("settings")));
    assert!(waits.is_none(), "nor does its token answer for the session");
    world = world.replies([issued("a3", None)]);
    assert_eq!(got(&mut world, &mut fresh).expect("a token"), pair("a3", "Refresh"));

    // Where a person would be needed: which value differs.
    let mut world = World::new();
    keep(&world, &before, "r1", |_| ());
    let mut mine = other(&world, None);
    let (kind, said, hint) = failed(&mut world, &mut mine);
    assert_eq!(kind, Kind::LoginNeeded);
    assert!(said.contains("client_id (was app, now mine)"), "{said}");
    assert!(hint.contains("tok login acme password"), "{hint}");
    assert!(world.sent().is_empty());
}

#[test]
fn a_refresh_token_goes_to_its_home_alone() {
    let mut world = World::new();
    let before = profile(&world.host, PROVIDER);
    keep(&world, &before, "r1", keep_key);
    let kept = world.stores.entry("acme");
    for grant in [None, Some("key")] {
        let wishes = Wishes { grant: grant.map(str::to_string), ..flags(&[("base_url", "https://b.example")]) };
        let mut elsewhere = resolve(&world.host, PROVIDER, "", &wishes).expect("a profile");
        assert_eq!(failed(&mut world, &mut elsewhere).0, Kind::LoginNeeded);
    }
    assert!(world.sent().is_empty());
    assert_eq!(world.stores.entry("acme"), kept);
}

#[test]
fn without_a_store_nothing_of_it_is_touched() {
    let variables = [("TOK_ACME_USERNAME", "alice"), ("TOK_ACME_PASSWORD", "p")];
    let mut world = World::new().env(&variables).replies([issued("a1", Some("r9"))]);
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "r1", |_| ());
    let (token, _) = obtain(&mut world.host, &mut acme, None, true, &|_, _| true).expect("a token");
    assert_eq!(token.access_token.expose(), "a1");
    assert!(world.stores.done().is_empty());
    assert_eq!(kept_token(&world).as_deref(), Some("r1"));

    let mut world = World::new();
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "r1", |_| ());
    let error = obtain(&mut world.host, &mut acme, None, true, &|_, _| true).expect_err("there are no values");
    assert_eq!(kind(&error), Kind::LoginNeeded);
    assert!(world.stores.done().is_empty());
}

#[test]
fn a_store_that_can_hold_nothing_of_use_is_not_opened() {
    let alone = PROVIDER.split("[grants.refresh]").next().expect("a part");
    let wishes = Wishes { grant: Some("key".into()), ..Wishes::default() };
    let mut world = World::new().env(&[("TOK_ACME_SECRET_KEY", "k")]).replies([issued("a1", None)]);
    world.stores.fail(Deed::Open, StoreErrorKind::Locked);
    let mut acme = resolve(&world.host, alone, "", &wishes).expect("a profile");
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a1", "Grant"));
    assert!(world.stores.done().is_empty());
}

#[test]
fn a_login_without_a_person_begins_a_session() {
    let variables = [("TOK_ACME_USERNAME", "alice"), ("TOK_ACME_PASSWORD", "p")];
    let mut world = World::new().env(&variables).replies([issued("a1", Some("r1")), issued("a2", None)]);
    let mut acme = profile(&world.host, PROVIDER);
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a1", "Grant"));
    let session = entry(&world).and_then(|kept| kept.session).expect("a session");
    assert_eq!((session.refresh_token.expose(), session.since), ("r1", START));
    assert_eq!(session.identity.values.get("username").map(String::as_str), Some("alice"));
    assert!(!world.stores.entry("acme").expect("an entry").expose().contains("\"p\""), "the password is not kept");
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a2", "Refresh"));
}

#[test]
fn a_locked_store_matters_where_it_may_hold_what_is_missing() {
    for (trouble, what) in [
        (StoreErrorKind::Locked, "the keyring is locked: as told"),
        (StoreErrorKind::TimedOut, "the keyring did not answer: as told"),
        (StoreErrorKind::Missing, "no keyring store is available here: as told"),
        (StoreErrorKind::Refused, "the keyring store refused: as told"),
        (StoreErrorKind::Corrupt, "the keyring store cannot be read: as told"),
    ] {
        let mut world = World::new();
        let mut acme = profile(&world.host, PROVIDER);
        world.stores.fail(Deed::Get, trouble);
        let (kind, said, hint) = failed(&mut world, &mut acme);
        // What cannot be read has a reason of its own, which says what to do.
        let why = if trouble == StoreErrorKind::Corrupt { what } else { what.trim_end_matches(": as told") };
        assert_eq!(kind, Kind::Store);
        assert_eq!(said, format!("acme needs username and password: they are not given, and {why}"));
        assert!(hint.starts_with("set TOK_ACME_USERNAME and TOK_ACME_PASSWORD"), "{hint}");
        assert!(world.sent().is_empty());

        // With all that is needed the call goes on, and says so with -v.
        let variables = [("TOK_ACME_USERNAME", "alice"), ("TOK_ACME_PASSWORD", "p")];
        let mut world = World::new().env(&variables).replies([issued("a1", Some("r1"))]);
        let mut acme = profile(&world.host, PROVIDER);
        world.stores.fail(Deed::Get, trouble);
        assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a1", "Grant"));
        assert!(world.stores.entry("acme").is_none());
        let said = world.stderr();
        assert!(said.contains(&format!("tok: acme: {what}; continuing without it")), "{said}");

        // Files that others can read are an alarm, not a lack.
        let mut world = World::new().env(&variables);
        let mut acme = resolve(&world.host, PROVIDER, "store = \"file\"", &Wishes::default()).expect("a profile");
        world.stores.fail(Deed::Get, trouble);
        assert_eq!(failed(&mut world, &mut acme).0, Kind::Store);
        assert!(world.sent().is_empty());
    }
}

#[test]
fn a_store_that_cannot_be_written_is_found_out_before_a_session_begins() {
    let variables = [("TOK_ACME_USERNAME", "alice"), ("TOK_ACME_PASSWORD", "p")];
    let mut world = World::new().env(&variables).replies([issued("a1", Some("r1"))]);
    world.stores.fail(Deed::Ready, StoreErrorKind::Locked);
    let mut acme = profile(&world.host, PROVIDER);
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a1", "Grant"));
    assert!(!world.stores.done().contains(&Deed::Set));
}

#[test]
fn a_kept_secret_of_a_person_that_was_refused_is_not_sent_twice() {
    let keep_password = |kept: &mut Credentials| {
        kept.session = None;
        kept.secrets.insert("password".into(), Secret::new("p"));
        kept.secrets_for = Some("https://acme.example".into());
    };
    let refused = || reply(401, json!({"error": "invalid_grant"}));
    let user = [("TOK_ACME_USERNAME", "alice")];
    let mut world = World::new().env(&user).replies([refused()]);
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "", keep_password);
    assert_eq!(failed(&mut world, &mut acme).0, Kind::Refused);
    let (kind, said, hint) = failed(&mut world, &mut acme);
    assert_eq!((kind, hint.as_str()), (Kind::LoginNeeded, "run: tok login acme password"));
    assert!(said.ends_with("tok does not send them twice"), "{said}");
    assert_eq!(world.sent().len(), 1);

    // A server that is down has not refused.
    let mut world = World::new().env(&user).replies([reply(503, ""), issued("a1", None)]);
    let mut acme = profile(&world.host, PROVIDER);
    keep(&world, &acme, "", keep_password);
    assert_eq!(failed(&mut world, &mut acme).0, Kind::Unavailable);
    assert_eq!(got(&mut world, &mut acme).expect("a token"), pair("a1", "Grant"));

    // What this call gives is sent each time.
    let mut world = World::new().env(&[user[0], ("TOK_ACME_PASSWORD", "p")]).replies([refused(), refused()]);
    let mut acme = profile(&world.host, PROVIDER);
    assert_eq!(failed(&mut world, &mut acme).0, Kind::Refused);
    assert_eq!(failed(&mut world, &mut acme).0, Kind::Refused);
    assert_eq!(world.sent().len(), 2);
}

#[test]
fn what_a_grant_lacks_is_named_with_its_variable() {
    let mut world = World::new().env(&[("TOK_ACME_PASSWORD", "")]);
    let mut acme = profile(&world.host, PROVIDER);
    let (kind, said, hint) = failed(&mut world, &mut acme);
    assert_eq!(kind, Kind::LoginNeeded);
    let why = "they are neither given nor stored; TOK_ACME_PASSWORD is set but empty";
    assert_eq!(said, format!("acme needs username and password: {why}"));
    assert!(
        hint.contains("tok login acme password") && hint.contains("TOK_ACME_USERNAME and TOK_ACME_PASSWORD"),
        "{hint}"
    );

    let wishes = Wishes { grant: Some("refresh".into()), ..Wishes::default() };
    let mut acme = resolve(&world.host, PROVIDER, "", &wishes).expect("a profile");
    let (kind, said, _) = failed(&mut world, &mut acme);
    assert_eq!(
        (kind, said.as_str()),
        (Kind::LoginNeeded, "acme needs refresh_token: none is stored; TOK_ACME_PASSWORD is set but empty")
    );
    assert!(world.sent().is_empty());
}

#[test]
fn a_token_waits_only_as_long_as_it_is_good() {
    let key = Wishes { grant: Some("key".into()), ..Wishes::default() };
    let waits = |body: serde_json::Value| {
        let mut world = World::new().env(&[("TOK_ACME_SECRET_KEY", "k")]).replies([reply(200, body)]);
        let mut acme = resolve(&world.host, PROVIDER, "", &key).expect("a profile");
        got(&mut world, &mut acme).expect("a token");
        cache(&world).is_some_and(|cache| !cache.all().is_empty())
    };
    assert!(waits(json!({"access_token": "a", "token_type": "Bearer", "expires_in": 60})));
    assert!(!waits(json!({"access_token": "a", "token_type": "Bearer"})), "nobody says how long");
    let variables = [("TOK_ACME_USERNAME", "alice"), ("TOK_ACME_PASSWORD", "p")];
    let body = json!({"access_token": "a", "token_type": "Bearer"});
    let mut world = World::new().env(&variables).replies([reply(200, body)]);
    let mut acme = profile(&world.host, PROVIDER);
    got(&mut world, &mut acme).expect("a token");
    assert!(cache(&world).is_some_and(|cache| !cache.all().is_empty()), "a person's secret is not sent for each call");
}

#[test]
fn a_token_that_is_not_bound_as_was_asked_is_not_used() {
    let provider =
        "like = \"oauth2\"\ntitle = \"Acme\"\n[params.token_url]\ndefault = \"https://acme.example/token\"\n";
    let variables = [("TOK_ACME_CLIENT_ID", "app"), ("TOK_ACME_CLIENT_SECRET", "s")];
    let wishes = Wishes { grant: Some("client-credentials".into()), ..flags(&[("dpop", "true")]) };
    let bound = reply(200, json!({"access_token": "a2", "token_type": "DPoP", "expires_in": 60}));
    let mut world = World::new().env(&variables).replies([issued("a1", Some("r1")), bound]);
    let mut acme = resolve(&world.host, provider, "", &wishes).expect("a profile");
    assert_eq!(failed(&mut world, &mut acme).0, Kind::Reply);
    assert!(world.stores.entry("acme").is_none(), "what came with it is not kept either");
    let cache = cache(&world);
    let (token, _) = obtain(&mut world.host, &mut acme, cache.as_ref(), false, &|_, _| true).expect("a token");
    assert_eq!(token.header.1.expose(), "DPoP a2");
    assert!(token.dpop_key.is_some());
}
