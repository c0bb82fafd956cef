use super::*;
use crate::base::error::{hint, kind};
use crate::host::testing::World;
use crate::profile::Wishes;
use crate::profile::testing::{acme, flags, profile, resolve};

const PROVIDER: &str = acme!(
    r#"
[params.team]
default = "everybody"
help = "Team"
[params.mode]
choices = ["slow", "fast"]
help = "How"
[params.scope]
list = true
help = "Scope"
[params.secret_key]
secret = true
help = "Key"
[grants.key]
help = "By a key"
body = { key = "{secret_key}", team = "{team}", mode = "{mode?}", scope = "{scope?}" }
[grants.refresh]
help = "By a refresh token"
body = { refresh_token = "{refresh_token}" }
[refresh]
grant = "refresh"
"#
);

/// The value `team` and where it comes from, in a world with `env`, with `config` and `wishes`.
fn team(env: &[(&str, &str)], config: &str, wishes: &Wishes) -> (String, Option<Source>) {
    let mut world = World::new().env(env);
    let profile = resolve(&world.host, PROVIDER, config, wishes).expect("a profile");
    let fetched = profile.fetch(&mut world.host, "team").expect("a value").map(|text| text.to_string());
    let text = fetched.or_else(|| profile.value("team")).expect("it has a default");
    (text, profile.given.get("team").map(|given| given.source.clone()))
}

#[test]
fn of_six_sources_the_first_counts() {
    let world = World::new();
    let file = world.folder().join("team");
    std::fs::write(&file, "by file\n").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let (flag, none) = (flags(&[("team", "by flag")]), Wishes::default());
    let (own, other) = (("TOK_ACME_TEAM", "by variable"), ("OTHER", "by other"));
    let config = "team = \"by config\"";

    assert_eq!(team(&[own], config, &flag), ("by flag".into(), Some(Source::Flag)));
    assert_eq!(team(&[own], config, &none), ("by variable".into(), Some(Source::Env(own.0.into()))));
    let by_file = ("TOK_ACME_TEAM_FILE", file);
    assert_eq!(team(&[by_file], config, &none), ("by file".into(), Some(Source::EnvFile(by_file.0.into()))));
    assert_eq!(team(&[], config, &none), ("by config".into(), Some(Source::Config)));
    let env = "team = { env = \"OTHER\" }";
    assert_eq!(team(&[other], env, &none), ("by other".into(), Some(Source::ConfigEnv("OTHER".into()))));
    assert_eq!(team(&[own, other], env, &none).0, "by variable");
    let named = format!("team = {{ file = {file:?} }}");
    assert_eq!(team(&[], &named, &none), ("by file".into(), Some(Source::ConfigFile(file.into()))));
    assert_eq!(team(&[], "", &none), ("everybody".into(), None));
    assert_eq!(team(&[], env, &none), ("everybody".into(), None), "a variable that is not set gives nothing");
}

#[test]
fn the_keyring_is_asked_only_when_the_value_is_needed() {
    let mut world = World::new();
    world.stores.put_foreign("mail", "alice", "by keyring");
    let config = "team = { keyring = \"mail/alice\" }";
    let profile = resolve(&world.host, PROVIDER, config, &Wishes::default()).expect("a profile");
    let source = Source::Keyring("mail".into(), "alice".into());
    assert_eq!(profile.given["team"].source, source);
    assert!(profile.known_values().expect("values").get("team").is_none_or(|team| team.as_str() != "by keyring"));
    assert!(world.stores.done().is_empty());
    assert_eq!(profile.fetch(&mut world.host, "team").expect("an entry").expect("a value").as_str(), "by keyring");

    let config = "team = { keyring = \"mail/bob\" }";
    let profile = resolve(&world.host, PROVIDER, config, &Wishes::default()).expect("a profile");
    let error = profile.fetch(&mut world.host, "team").expect_err("there is no such entry");
    assert_eq!(kind(&error), Kind::LoginNeeded);
    world.stores.fail(crate::host::testing::Deed::Get, crate::storage::secrets::StoreErrorKind::Locked);
    let error = profile.fetch(&mut world.host, "team").expect_err("it is locked");
    assert_eq!((kind(&error), error.to_string()), (Kind::Store, "team from the keyring (mail/bob): as told".into()));
}

#[cfg(unix)]
#[test]
fn a_command_runs_only_when_its_value_is_needed() {
    let mut world = World::new();
    let mark = world.folder().join("ran");
    let config =
        format!("team = {{ command = [\"/bin/sh\", \"-c\", \"echo once >> {}; echo by command\"] }}", mark.display());
    let profile = resolve(&world.host, PROVIDER, &config, &Wishes::default()).expect("a profile");
    assert!(!mark.exists());
    assert_eq!(profile.fetch(&mut world.host, "team").expect("a value").expect("a value").as_str(), "by command");
    assert!(mark.exists());
    let config = "secret_key = { command = [\"/bin/sh\", \"-c\", \"echo hunter2; exit 3\"] }";
    let profile = resolve(&world.host, PROVIDER, config, &Wishes::default()).expect("a profile");
    let error = profile.fetch(&mut world.host, "secret_key").expect_err("it fails");
    assert_eq!(kind(&error), Kind::Config);
    assert!(
        error.to_string().starts_with("/config.toml:2:1: the command for secret_key")
            && !error.to_string().contains("hunter2"),
        "{error}"
    );
}

#[test]
fn a_value_given_in_two_ways_is_wrong_usage_and_an_empty_variable_is_absent() {
    let wrong = |env: &[(&str, &str)]| {
        let world = World::new().env(env);
        let error = resolve(&world.host, PROVIDER, "", &Wishes::default()).err().expect("wrong");
        (kind(&error), error.to_string())
    };
    let both = wrong(&[("TOK_ACME_TEAM", "a"), ("TOK_ACME_TEAM_FILE", "/a")]);
    assert_eq!(both.0, Kind::Usage);
    assert_eq!(both.1, "TOK_ACME_TEAM and TOK_ACME_TEAM_FILE are both set: they mean the same value");
    let gone = wrong(&[("TOK_ACME_SECRET_KEY_FILE", "/hunter2")]);
    assert_eq!(gone.0, Kind::Usage);
    assert!(gone.1.contains("TOK_ACME_SECRET_KEY_FILE") && !gone.1.contains("hunter2"), "{}", gone.1);

    let world = World::new().env(&[("TOK_ACME_TEAM", ""), ("TOK_ACME_TEAM_FILE", "")]);
    let profile = resolve(&world.host, PROVIDER, "team = \"by config\"", &Wishes::default()).expect("a profile");
    assert_eq!(profile.given["team"].source, Source::Config);
    assert_eq!(profile.empty, ["TOK_ACME_TEAM", "TOK_ACME_TEAM_FILE"]);
    let world = World::new().env(&[("OTHER", "")]);
    let profile = resolve(&world.host, PROVIDER, "team = { env = \"OTHER\" }", &Wishes::default()).expect("a profile");
    assert_eq!((profile.given.contains_key("team"), profile.empty), (false, vec!["OTHER".to_string()]));
}

#[test]
fn a_wrong_value_is_blamed_on_where_it_comes_from() {
    let world = World::new();
    let profile = resolve(&world.host, PROVIDER, "team = \"a\"", &Wishes::default()).expect("a profile");
    let blame = |name: &str, source: Source| {
        let error = profile.blame(name, &source, "is odd");
        (error.kind, error.to_string())
    };
    for (name, source, kind, what) in [
        ("team", Source::Flag, Kind::Usage, "--team"),
        ("secret_key", Source::Flag, Kind::Usage, "--secret-key-file"),
        ("team", Source::Env("X".into()), Kind::Usage, "X"),
        ("team", Source::EnvFile("X_FILE".into()), Kind::Usage, "X_FILE"),
        ("team", Source::Asked, Kind::Usage, "team"),
        ("team", Source::Config, Kind::Config, "/config.toml:2:1: team"),
        ("team", Source::ConfigEnv("X".into()), Kind::Config, "/config.toml:2:1: team"),
        ("team", Source::Command(vec!["x".into()]), Kind::Config, "/config.toml:2:1: team"),
        ("team", Source::Default, Kind::Config, "provider acme: team"),
        ("secret_key", Source::Store, Kind::LoginNeeded, "the stored secret_key"),
        (
            "base_url",
            Source::Metadata("https://i.example".into()),
            Kind::Reply,
            "the metadata of https://i.example: base_url",
        ),
    ] {
        assert_eq!(blame(name, source), (kind, format!("{what}: its value is odd")));
    }
    // The same by the real ways.
    for (env, config, wishes, kind_of) in [
        (vec![("TOK_ACME_MODE", "x")], "", Wishes::default(), Kind::Usage),
        (vec![], "mode = \"x\"", Wishes::default(), Kind::Config),
        (vec![], "", flags(&[("mode", "x")]), Kind::Usage),
        (vec![("TOK_ACME_BASE_URL", "http://acme.example")], "", Wishes::default(), Kind::Usage),
        (vec![], "team = [\"a\", \"b\"]", Wishes::default(), Kind::Config),
        (vec![], "taem = \"a\"", Wishes::default(), Kind::Config),
        (vec![], "", flags(&[("taem", "a")]), Kind::Usage),
        (vec![], "", flags(&[("team", "")]), Kind::Usage),
    ] {
        let world = World::new().env(&env);
        let error = resolve(&world.host, PROVIDER, config, &wishes).err().expect("wrong");
        assert_eq!(kind(&error), kind_of, "{error:#}");
    }
}

#[test]
fn no_flag_takes_a_secret() {
    let world = World::new();
    let refused = |wishes: &Wishes| {
        let error = resolve(&world.host, PROVIDER, "", wishes).err().expect("wrong");
        assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        (kind(&error), hint(&error).unwrap_or_default().to_string())
    };
    let way = "give a file, or - for stdin: --secret-key-file PATH";
    assert_eq!(refused(&flags(&[("secret_key", "hunter2")])), (Kind::Usage, way.into()));
    let file =
        |name: &str| Wishes { flags: [(name.to_string(), Flag::File("/hunter2".into()))].into(), ..Wishes::default() };
    assert_eq!(refused(&file("team")), (Kind::Usage, "give the value itself: --team VALUE".into()));
    assert_eq!(refused(&file("secret_key")).0, Kind::Usage);
}

#[test]
fn a_list_is_its_items_however_it_is_given() {
    let scope = |env: &[(&str, &str)], config: &str, wishes: &Wishes| {
        let world = World::new().env(env);
        let profile = resolve(&world.host, PROVIDER, config, wishes).expect("a profile");
        let items: Vec<String> = profile.given["scope"].text.iter().flatten().map(|t| t.expose().to_string()).collect();
        (items, profile.value("scope").unwrap_or_default())
    };
    let both = (vec!["a".to_string(), "b".to_string()], "a b".to_string());
    let none = Wishes::default();
    assert_eq!(scope(&[("TOK_ACME_SCOPE", " a  b ")], "", &none), both);
    assert_eq!(scope(&[], "scope = [\"a\", \"b\"]", &none), both);
    assert_eq!(scope(&[], "scope = \"a b\"", &none), both);
    let twice = Flag::Plain(vec!["a".into(), "b".into()]);
    assert_eq!(scope(&[], "", &Wishes { flags: [("scope".to_string(), twice)].into(), ..none }), both);
}

#[test]
fn a_refresh_token_is_a_value_of_every_refresh_grant() {
    let mut world = World::new().env(&[("TOK_ACME_REFRESH_TOKEN", "r")]);
    let profile = profile(&world.host, PROVIDER);
    assert_eq!(profile.fetch(&mut world.host, "refresh_token").expect("a value").expect("a value").as_str(), "r");
    assert!(profile.param("refresh_token").is_some_and(|param| param.secret));
}

#[test]
fn a_value_names_the_variable_that_gives_it() {
    assert_eq!(variable("my-acme", "client_id"), "TOK_MY_ACME_CLIENT_ID");
    let world = World::new();
    let profile = resolve(&world.host, PROVIDER, "team = { env = \"OTHER\" }", &Wishes::default()).expect("a profile");
    assert_eq!((profile.ways("team"), profile.ways("mode")), ("OTHER".into(), "TOK_ACME_MODE".into()));
}

#[test]
fn a_home_is_some_origins_and_what_was_kept_without_one_goes_nowhere() {
    let home = Home::of("https://a.example");
    assert!(home.allows("https://a.example"));
    for other in ["https://b.example", "http://a.example", "https://a.example:8443", "https://a.example.b.example", ""]
    {
        assert!(!home.allows(other), "{other}");
    }
    let two = Home::any_of(["https://a.example".into(), "https://b.example".into()]);
    assert!(two.allows("https://a.example") && two.allows("https://b.example") && !two.allows("https://c.example"));
    assert_eq!(two.to_string(), "https://a.example or https://b.example");

    let homeless = Value::kept(Secret::new("s"), None);
    let nowhere = homeless.home.expect("a home of no origin");
    assert!(!nowhere.allows("https://a.example") && !nowhere.allows(""));
    assert_eq!(Value::kept(Secret::new("s"), Some(home.clone())).home, Some(home));
    assert_eq!(Value::found(Secret::new("s")).home, None);
}
