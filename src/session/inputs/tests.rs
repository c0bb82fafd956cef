use super::*;
use crate::base::error::kind;
use crate::base::jose::{Key, jwt};
use crate::host::testing::World;
use crate::profile::Wishes;
use crate::profile::testing::{acme, flags, profile, resolve};

const HOME: &str = "https://acme.example";

const PROVIDER: &str = acme!(
    r#"
[params.secret_key]
secret = true
help = "Key"
[params.note]
help = "Note"
[params.tag]
default = "<{note}>"
help = "Tag"
[params.outer]
default = "{tag}!"
help = "Outer"
[params.plain]
default = "plain"
help = "Plain"
[grants.key]
help = "By a key"
body = { key = "{secret_key?}", note = "{note?}", outer = "{outer}", plain = "{plain}" }
"#
);

fn kept(name: &str, text: &str) -> BTreeMap<String, Value> {
    [(name.to_string(), Value::kept(Secret::new(text), Some(Home::of(HOME))))].into()
}

fn filled(host: &mut Host, profile: &Profile, kept: &BTreeMap<String, Value>) -> Inputs {
    fill(host, profile, For::Grant(profile.default_grant()), kept, &[]).expect("inputs")
}

fn names(inputs: &Inputs) -> Vec<&str> {
    inputs.kept_names().collect()
}

#[test]
fn a_kept_value_carries_its_home_and_a_default_made_of_it_inherits() {
    let mut world = World::new();
    let profile = profile(&world.host, PROVIDER);
    let inputs = filled(&mut world.host, &profile, &kept("note", "hunter2"));
    assert_eq!((inputs.get("note"), inputs.get("outer")), (Some("hunter2"), Some("<hunter2>!")));
    assert_eq!(names(&inputs), ["note", "outer", "tag"]);

    let all: Vec<String> = inputs.values().keys().cloned().collect();
    assert!(inputs.astray(&all, HOME).is_none());
    let (name, home) = inputs.astray(&all, "https://b.example").expect("it would go away");
    assert_eq!((name, home), ("note", &Home::of(HOME)));
    let plain = ["plain".to_string(), "base_url".to_string()];
    assert!(inputs.astray(&plain, "https://b.example").is_none(), "what is not kept may go anywhere");
}

#[test]
fn what_was_given_counts_before_what_was_kept_and_has_no_home() {
    let mut world = World::new().env(&[("TOK_ACME_NOTE", "given")]);
    let profile = profile(&world.host, PROVIDER);
    let inputs = filled(&mut world.host, &profile, &kept("note", "hunter2"));
    assert_eq!((inputs.get("note"), inputs.get("tag")), (Some("given"), Some("<given>")));
    assert!(names(&inputs).is_empty());
    // Another tag that was given is what it is, though the key beside it was kept.
    let mut world = World::new();
    let profile = resolve(&world.host, PROVIDER, "", &flags(&[("tag", "mine")])).expect("a profile");
    let inputs = filled(&mut world.host, &profile, &kept("note", "hunter2"));
    assert_eq!((inputs.get("outer"), names(&inputs)), (Some("mine!"), vec!["note"]));
}

#[test]
fn a_value_that_is_put_in_the_place_of_a_kept_one_loses_its_home() {
    let mut world = World::new();
    let profile = profile(&world.host, PROVIDER);
    let mut inputs = filled(&mut world.host, &profile, &kept("note", "hunter2"));
    let name = ["note".to_string()];
    inputs.set("note", "found");
    assert!(inputs.astray(&name, "https://b.example").is_none());
    inputs.insert("note", Value::kept(Secret::new("again"), None));
    let nowhere = inputs.astray(&name, HOME).expect("nothing is known of its home");
    assert_eq!(nowhere.1.to_string(), "");
}

#[test]
fn secrets_of_the_config_are_noted_and_others_are_not() {
    let of = |env: &[(&str, &str)], config: &str| {
        let mut world = World::new().env(env);
        let profile = resolve(&world.host, PROVIDER, config, &Wishes::default()).expect("a profile");
        filled(&mut world.host, &profile, &BTreeMap::new()).from_config
    };
    assert_eq!(of(&[], "secret_key = \"hunter2\"\nplain = \"x\""), ["secret_key"]);
    assert!(of(&[("TOK_ACME_SECRET_KEY", "k")], "plain = \"x\"").is_empty());
}

const SIGNING: &str = r#"
like = "oauth2"
title = "Acme"
[params.token_url]
default = "https://acme.example/token"
"#;

#[test]
fn an_assertion_signed_with_a_kept_key_inherits_its_home() {
    let (_, key) = Key::generate().expect("a key");
    let mut world = World::new().env(&[("TOK_ACME_CLIENT_ID", "app")]);
    let wishes = Wishes { grant: Some("jwt-bearer".into()), ..Wishes::default() };
    let profile = resolve(&world.host, SIGNING, "", &wishes).expect("a profile");
    let inputs = filled(&mut world.host, &profile, &kept("private_key", key.expose()));
    let claims = jwt::claims(inputs.get("assertion").expect("it was made")).expect("a JWT");
    assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some("app"), Some("https://acme.example/token")));
    assert_eq!(names(&inputs), ["assertion", "private_key"]);
    assert!(inputs.astray(&["assertion".to_string()], "https://b.example").is_some());

    // One from elsewhere is sent as it is, and nothing is signed.
    let mut world = World::new().env(&[("TOK_ACME_CLIENT_ID", "app"), ("TOK_ACME_ASSERTION", "x.y.z")]);
    let profile = resolve(&world.host, SIGNING, "", &wishes).expect("a profile");
    let inputs = filled(&mut world.host, &profile, &kept("private_key", key.expose()));
    assert_eq!((inputs.get("assertion"), names(&inputs)), (Some("x.y.z"), vec!["private_key"]));

    // Without a key it is said what is missing.
    let mut world = World::new().env(&[("TOK_ACME_CLIENT_ID", "app")]);
    let profile = resolve(&world.host, SIGNING, "", &wishes).expect("a profile");
    let missing = fill(&mut world.host, &profile, For::Grant(profile.default_grant()), &BTreeMap::new(), &[]);
    let error = missing.err().expect("there is no key");
    assert_eq!((kind(&error), error.to_string()), (Kind::LoginNeeded, "private_key is missing".into()));
}

#[test]
fn a_refresh_leaves_the_scope_out_unless_this_call_names_one() {
    let scope = |env: &[(&str, &str)], config: &str| {
        let mut world = World::new().env(env);
        let profile = resolve(&world.host, SIGNING, config, &Wishes::default()).expect("a profile");
        let grant = profile.provider.refresh_grant().expect("a grant");
        let token = Value::kept(Secret::new("r"), Some(Home::of(HOME)));
        let inputs = fill(&mut world.host, &profile, For::Grant(grant), &BTreeMap::new(), &[("refresh_token", token)]);
        let inputs = inputs.expect("inputs");
        assert_eq!((inputs.get("refresh_token"), names(&inputs)), (Some("r"), vec!["refresh_token"]));
        inputs.get("scope").map(str::to_string)
    };
    assert_eq!(scope(&[], "scope = [\"a\"]"), None);
    assert_eq!(scope(&[("TOK_ACME_SCOPE", "b")], "scope = [\"a\"]").as_deref(), Some("b"));
}

#[test]
fn a_token_is_bound_to_the_kept_key_or_to_a_new_one() {
    let world = World::new();
    let profile = resolve(&world.host, SIGNING, "dpop = true", &Wishes::default()).expect("a profile");
    let grant = profile.provider.refresh_grant().expect("a grant");
    let fresh = || fill(&mut World::new().host, &profile, For::Grant(grant), &BTreeMap::new(), &[]).expect("inputs");
    let mut inputs = fresh();
    inputs.bind(grant, &Credentials { dpop_key: Some(Secret::new("kept")), ..Credentials::default() }).expect("a key");
    assert_eq!(inputs.dpop_key, Some(Secret::new("kept")));
    let mut inputs = fresh();
    inputs.bind(grant, &Credentials::default()).expect("a key");
    assert!(inputs.dpop_key.is_some_and(|key| Key::parse(&key).is_ok()));
    let profile = resolve(&world.host, SIGNING, "", &Wishes::default()).expect("a profile");
    let grant = profile.provider.refresh_grant().expect("a grant");
    let mut inputs = fresh();
    inputs.bind(grant, &Credentials::default()).expect("nothing to do");
    assert_eq!(inputs.dpop_key, None);
}
