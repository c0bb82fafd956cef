use super::*;
use crate::host::testing::{Deed, START, World};
use crate::profile::Wishes;
use crate::profile::testing::{profile, resolve};

const PROVIDER: &str = r#"
title = "Acme"
[params.secret_key]
secret = true
help = "Key"
[request]
url = "https://acme.example/token"
[grants.key]
help = "By a key"
body = { key = "{secret_key}" }
"#;

fn kept() -> Credentials {
    Credentials {
        secrets: [("secret_key".to_string(), Secret::new("hunter2"))].into(),
        secrets_for: Some("https://acme.example".into()),
        secrets_client: Some("app".into()),
        ..Credentials::default()
    }
}

fn opened(world: &World) -> OpenStore {
    OpenStore::open(&world.host, &profile(&world.host, PROVIDER))
}

#[test]
fn kept_secrets_are_for_their_home_and_client_alone() {
    let world = World::new();
    world.stores.put("acme", &kept().write());
    let opened = opened(&world);
    let names =
        |url: Option<&str>, client: Option<&str>| opened.secrets_for(url, client).into_keys().collect::<Vec<_>>();
    let home = Some("https://acme.example/token");
    assert_eq!(names(home, Some("app")), ["secret_key"]);
    assert_eq!(names(Some("https://acme.example/elsewhere"), Some("app")), ["secret_key"]);
    assert_eq!(names(home, None), ["secret_key"], "a client that is not known contradicts nothing");
    for (url, client) in [
        (home, Some("other")),
        (None, Some("app")),
        (Some("https://b.example/token"), Some("app")),
        (Some("https://acme.example:8443/token"), Some("app")),
        (Some("no URL"), Some("app")),
    ] {
        assert!(names(url, client).is_empty(), "{url:?} {client:?}");
    }
    let value = &opened.secrets_for(home, None)["secret_key"];
    assert_eq!((value.text.expose(), &value.home), ("hunter2", &Some(Home::of("https://acme.example"))));

    // Credentials by a build that wrote down no home.
    world.stores.put("acme", &Credentials { secrets_for: None, ..kept() }.write());
    let opened = self::opened(&world);
    assert!(opened.secrets_for(home, Some("app")).is_empty() && opened.secrets_for(None, None).is_empty());
}

#[test]
fn a_refresh_token_goes_to_the_origin_of_its_token_url() {
    let world = World::new();
    let known = profile(&world.host, PROVIDER).known().expect("settings");
    let session = |url: &str| Session {
        refresh_token: Secret::new("r"),
        identity: known.identity(url, None, None),
        since: START,
        subject: None,
        values: BTreeMap::new(),
    };
    assert_eq!(refresh_token(&session("https://a.example/token")).home, Some(Home::of("https://a.example")));
    let nowhere = refresh_token(&session("")).home.expect("a home of no origin");
    assert!(!nowhere.allows(""));
}

#[test]
fn what_is_written_is_read_again_and_an_empty_entry_is_removed() {
    let world = World::new();
    let mut opened = opened(&world);
    assert!(opened.credentials.is_empty() && opened.is_usable());
    opened.write("acme", kept()).expect("it is kept");
    let entry = Credentials::parse(&world.stores.entry("acme").expect("an entry")).expect("ours");
    assert_eq!(entry.secrets["secret_key"].expose(), "hunter2");
    assert_eq!(self::opened(&world).credentials.secrets_client.as_deref(), Some("app"));
    opened.write("acme", Credentials::default()).expect("it is removed");
    assert!(world.stores.entry("acme").is_none() && opened.credentials.is_empty());

    opened.write("acme", kept()).expect("it is kept");
    assert!(opened.forget("acme").expect("it is removed"));
    assert!(!opened.forget("acme").expect("there is none"));
}

#[test]
fn an_entry_that_cannot_be_written_stays_as_it_was() {
    let world = World::new();
    world.stores.put("acme", &kept().write());
    let mut opened = opened(&world);
    world.stores.fail(Deed::Set, StoreErrorKind::Refused);
    world.stores.fail(Deed::Forget, StoreErrorKind::Refused);
    let other = Credentials { secrets: [("secret_key".to_string(), Secret::new("other"))].into(), ..kept() };
    assert_eq!(opened.write("acme", other).err().map(|e| e.trouble), Some(StoreErrorKind::Refused));
    assert_eq!(opened.credentials.secrets["secret_key"].expose(), "hunter2");
    assert!(opened.write("acme", Credentials::default()).is_err() && opened.forget("acme").is_err());
    assert!(world.stores.entry("acme").is_some_and(|entry| entry.expose().contains("hunter2")));
}

#[test]
fn without_a_store_nothing_is_kept_and_nothing_is_wrong() {
    let world = World::new();
    let profile = resolve(&world.host, PROVIDER, "store = \"none\"", &Wishes::default()).expect("a profile");
    for mut opened in [OpenStore::nothing(), OpenStore::open(&world.host, &profile)] {
        assert!(!opened.is_usable() && opened.trouble.is_none());
        opened.check_ready();
        assert!(opened.trouble.is_none());
        opened.write("acme", kept()).expect("nothing to do");
        assert!(!opened.forget("acme").expect("nothing to do"));
    }
    assert!(world.stores.entry("acme").is_none() && world.stores.done().is_empty());
}

#[test]
fn trouble_leaves_nothing_to_use_until_the_entry_is_read_again() {
    let world = World::new();
    world.stores.put("acme", &kept().write());
    world.stores.fail(Deed::Get, StoreErrorKind::Locked);
    let mut opened = opened(&world);
    assert_eq!(opened.trouble.as_ref().map(|t| t.trouble), Some(StoreErrorKind::Locked));
    assert!(!opened.is_usable() && opened.credentials.is_empty());
    world.stores.mend();
    opened.read("acme");
    assert!(opened.is_usable() && !opened.credentials.is_empty());
    // One that was read and is gone now is no longer used.
    world.stores.fail(Deed::Get, StoreErrorKind::TimedOut);
    opened.read("acme");
    assert!(opened.credentials.is_empty() && !opened.is_usable());

    world.stores.fail(Deed::Open, StoreErrorKind::Missing);
    assert_eq!(self::opened(&world).trouble.map(|t| t.trouble), Some(StoreErrorKind::Missing));
}

#[test]
fn whether_it_could_be_written_is_asked_only_where_nothing_was_read() {
    let world = World::new();
    world.stores.fail(Deed::Ready, StoreErrorKind::Locked);
    let mut fresh = opened(&world);
    fresh.check_ready();
    assert!(!fresh.is_usable());
    world.stores.put("acme", &kept().write());
    let mut read = opened(&world);
    read.check_ready();
    assert!(read.is_usable());
}

#[test]
fn a_foreign_entry_is_trouble_and_is_not_shown() {
    for text in ["hunter2", "[]", "{\"secrets\":\"hunter2\"}"] {
        let world = World::new();
        world.stores.put("acme", &Secret::new(text));
        let profile = profile(&world.host, PROVIDER);
        let mut opened = OpenStore::open(&world.host, &profile);
        let trouble = opened.trouble.clone().expect("it is not ours");
        assert_eq!(trouble.trouble, StoreErrorKind::Entry);
        let error = store_error(&profile, &trouble);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert_eq!(world.stores.entry("acme"), Some(Secret::new(text)), "it stays");
        assert!(opened.forget("acme").expect("it may go, where that is asked for"));
    }
}

#[test]
fn each_trouble_says_what_it_is_and_what_to_do() {
    let world = World::new();
    let said = |store: &str, trouble: StoreErrorKind| {
        let config = format!("store = \"{store}\"");
        let profile = resolve(&world.host, PROVIDER, &config, &Wishes::default()).expect("a profile");
        let error = store_error(&profile, &StoreError { trouble, why: "as told".into() });
        assert_eq!((error.kind, error.why.as_str()), (Kind::Store, "as told"));
        (error.what, error.hint.expect("a hint"))
    };
    for (store, trouble, what, to_do) in [
        ("keyring", StoreErrorKind::Missing, "no keyring store is available here", "TOK_STORE=file"),
        ("helper:pass", StoreErrorKind::Missing, "no helper:pass store is available here", "--store file"),
        ("keyring", StoreErrorKind::TimedOut, "the keyring did not answer", "TOK_STORE=file"),
        ("keyring", StoreErrorKind::Locked, "the keyring is locked", "tok login acme --store file"),
        ("keyring", StoreErrorKind::Refused, "the keyring store refused", "--store file"),
        ("file", StoreErrorKind::Refused, "the file store refused", "tok doctor"),
        ("keyring", StoreErrorKind::Corrupt, "the keyring store cannot be read", "tok logout acme"),
        ("file", StoreErrorKind::Corrupt, "the file store cannot be read", "mv PATH PATH.old && tok login acme"),
    ] {
        let (said_what, hint) = said(store, trouble);
        assert_eq!(said_what, what);
        assert!(hint.contains(to_do), "{store} {trouble:?}: {hint}");
    }
}
