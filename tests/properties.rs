//! What holds for every input: properties of the pure functions over generated values, and every file of
//! `fuzz/corpus/` through the function that its fuzz target calls.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
// Also outside of #[test]: a generator that cannot be built is a mistake of this file.
#![allow(clippy::unwrap_used)]

#[cfg(unix)]
#[path = "cli/support/child.rs"]
mod child;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use tok::testing::base::secret::Secret;
use tok::testing::base::text::{escape, escape_to, is_unsafe};
use tok::testing::base::time::Time;
use tok::testing::cli::Syntax;
use tok::testing::cmd::output::Answer;
use tok::testing::oauth::poll::Poll;
use tok::testing::oauth::reply::{self, Failure};
use tok::testing::oauth::request::Response;
use tok::testing::provider::{Provider, Rules};
use tok::testing::session::acquire::TokenSource;
use tok::testing::token::Expires;
use tok::testing::token::Token;
use tok::testing::token::identity::{CurrentIdentity, KnownSecret, TokenIdentity};

#[test]
fn the_corpus_of_every_fuzz_target_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut folders: Vec<String> =
        std::fs::read_dir(&corpus).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    let mut names: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(folders, names, "each target has a corpus");
    let mut failed = Vec::new();
    for (name, target) in targets::ALL {
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                failed.push(format!("{name}/{}", path.file_name().unwrap().display()));
            }
        }
    }
    assert!(failed.is_empty(), "these fail: {failed:?}");
}

/// Text of what matters to a terminal, a form and a template: any character, and the odd ones often.
fn odd_text() -> impl Strategy<Value = String> {
    let odd = proptest::sample::select(
        "\u{1b}\u{7}\r\n\t\0\u{7f}\u{9b}\u{202e}\u{200b}\u{2028}\u{feff}\u{e0041} {}%+&=:'\"\\é𝄞"
            .chars()
            .collect::<Vec<_>>(),
    );
    vec(prop_oneof![any::<char>(), odd], 0..80).prop_map(String::from_iter)
}

/// Values by name, from few names and few values, so that two maps often meet.
fn few() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[a-c]", "[xy]", 0..4)
}

/// Settings as they may be in force, from few values.
fn known() -> impl Strategy<Value = CurrentIdentity> {
    let grant = || proptest::option::of("[gh]");
    let secret = prop_oneof![
        "[st]".prop_map(|text| KnownSecret::Text(Secret::new(text))),
        "[st]".prop_map(KnownSecret::Reference),
    ];
    let lists = btree_map("[lm]", vec("[xy]", 0..3), 0..3);
    let secrets = btree_map("[s-u]", secret, 0..3);
    (proptest::option::of("https://[ab]"), grant(), few(), secrets, lists, "[de]").prop_map(
        |(url, grant, values, secrets, lists, definition)| CurrentIdentity {
            url,
            grant,
            refreshed: vec![],
            usual_grants: vec!["g".into(), "h".into()],
            refresh_grant: None,
            values,
            secrets,
            lists,
            definition,
            is_told: false,
        },
    )
}

/// What a token belongs to that is got with these settings.
fn got_with(known: &CurrentIdentity, shape: bool) -> TokenIdentity {
    let grant = known.grant.as_deref().or(Some("g"));
    known.identity(known.url.as_deref().unwrap_or("https://a"), grant, grant.filter(|_| shape))
}

/// `token` as it would be printed.
fn answer(token: &str) -> Answer {
    let token = Token {
        provider: "p".into(),
        grant: "g".into(),
        access_token: Secret::new(token),
        token_type: None,
        scope: None,
        received: Time::from_secs(0),
        expires: Expires::Unknown,
        header: ("Authorization".into(), Secret::new(format!("Bearer {token}"))),
        more_headers: Vec::new(),
        query: Vec::new(),
        hosts: Vec::new(),
        id_token: None,
        dpop_key: None,
        extra: serde_json::Map::new(),
        identity: TokenIdentity::default(),
    };
    Answer { profile: "p".into(), token, source: TokenSource::Grant, now: 0 }
}

/// The rules of a plain provider.
fn plain_rules() -> Rules {
    let file = "[grants.a]\nurl = \"https://a.example\"";
    Provider::parse("p", "p.toml", file).unwrap().grants[0].response.as_ref().clone()
}

/// A reply with this body, now.
fn answered(status: u16, body: &[u8]) -> Response {
    Response { status, headers: vec![], body: body.to_vec().into(), received: Time::from_secs(1_800_000_000) }
}

/// A number as servers write it, and its value; absent in three ways.
fn wire_number() -> impl Strategy<Value = (String, Option<i64>)> {
    let some = (1_i64..2_000_000_000, 0_usize..5).prop_map(|(n, dress)| {
        let text = [n.to_string(), format!("{n}.0"), format!("\"{n}\""), format!("\"{n}.0\""), format!("{n}e0")];
        (text[dress].clone(), Some(n))
    });
    prop_oneof![4 => some, 1 => proptest::sample::select(vec!["null", "\"\""]).prop_map(|text| (text.into(), None))]
}

/// An `error` as servers write it beside a 2xx, and whether it is one.
fn wire_error() -> impl Strategy<Value = (String, bool)> {
    proptest::sample::select(vec![
        ("", false),
        ("\"error\":null,", false),
        ("\"error\":\"\",", false),
        ("\"error\":\"slow_down\",", true),
        ("\"error\":{\"message\":\"no\"},", true),
    ])
    .prop_map(|(text, is_one)| (text.to_string(), is_one))
}

/// What two readers make of a failure.
fn told(failure: &Failure) -> (tok::testing::base::error::Kind, String, Option<String>) {
    (failure.kind, failure.why.clone(), failure.code.clone())
}

proptest! {
    /// One reader: whatever a token's reply reads, a device's, a pushed request's, a registration's and an
    /// introspection's reads alike.
    #[test]
    fn every_reply_is_read_as_a_tokens_is(
        number in wire_number(), error in wire_error(), description in odd_text(), empty in 0_usize..3,
        status in prop_oneof![3 => Just(200_u16), 1 => 201_u16..600], cut in proptest::option::of(0_usize..400),
        form: bool,
    ) {
        let (wire, value) = number;
        let (error, is_error) = error;
        let description = serde_json::Value::from(description).to_string();
        let empty = ["", "\"refresh_token\":null,", "\"refresh_token\":\"\","][empty];
        let json = format!(
            "{{{error}{empty}\"access_token\":\"t\",\"expires_in\":{wire},\"interval\":{wire},\"note\":{description}}}"
        );
        let mut body = json.into_bytes();
        if form && !is_error {
            let plain = wire.trim_matches('"').replace("null", "");
            body = format!("access_token=t&expires_in={plain}&interval={plain}&error=&refresh_token=").into_bytes();
        }
        if let Some(cut) = cut {
            body.truncate(cut);
        }
        let rules = plain_rules();
        let response = answered(status, &body);
        let (token, object) = (reply::read(&rules, &[], &response), reply::object(&rules, &response));
        match (&token, &object) {
            (Ok(token), Ok(object)) => {
                prop_assert!((200..300).contains(&status) && !is_error);
                prop_assert!(token.refresh_token.is_none() && reply::value::member(object, "refresh_token").is_none());
                prop_assert_eq!(reply::value::text(object, &["access_token"]), Some(token.access_token.expose()));
                let life = reply::value::whole(object, "expires_in");
                prop_assert!(cut.is_some() || life == value, "{life:?}");
                let ten_years = 315_576_000;
                let expires = life.filter(|life| *life <= ten_years).map(|life| 1_800_000_000 + life);
                prop_assert_eq!(token.expires.at(), expires);
                let now = std::time::Instant::now();
                let waits = Poll::new(now, reply::value::whole(object, "interval"), None).first().as_secs();
                let interval = reply::value::whole(object, "interval");
                prop_assert!(cut.is_some() || interval == value);
                prop_assert_eq!(waits, interval.map_or(5, |interval| interval.clamp(1, 60).unsigned_abs()));
            }
            (Err(token), Err(object)) => prop_assert_eq!(told(token), told(object)),
            // A form that is cut may lack its token, and is an object all the same.
            (Err(_), Ok(object)) => prop_assert!(reply::value::member(object, "access_token").is_none()),
            (Ok(_), Err(object)) => prop_assert!(false, "a token, but {object:?}"),
        }
    }

    /// The code of a refusal is the same however much of what follows it is lost, and in whatever encoding it comes.
    #[test]
    fn a_code_survives_the_damage_behind_it(description in odd_text(), cut: proptest::sample::Index, latin: bool, raw: bool) {
        let head = "{\"error\":\"invalid_grant\",";
        let text = match raw {
            true => format!("\"{}\"", description.replace(['"', '\\', '{', '}'], "")),
            false => serde_json::Value::from(description).to_string(),
        };
        let whole = format!("{head}\"error_description\":{text}}}");
        let bytes: Vec<u8> = match latin {
            true => whole.chars().map(|c| u8::try_from(c as u32).unwrap_or(b'?')).collect(),
            false => whole.into_bytes(),
        };
        let kept = head.len() + cut.index(bytes.len() - head.len() + 1);
        for status in [400, 401] {
            let failure = reply::read(&plain_rules(), &[], &answered(status, &bytes[..kept])).unwrap_err();
            prop_assert_eq!(failure.code.as_deref(), Some("invalid_grant"));
        }
    }

    #[test]
    fn refusals_and_challenges_of_any_text_are_safe(head in "[a-z] [45][0-9]{2} ", text in odd_text(), body in odd_text()) {
        targets::refusal(format!("{head}{}\n{body}", text.replace('\n', "")).as_bytes());
        targets::challenge(text.as_bytes());
    }

    #[test]
    fn text_from_elsewhere_only_shows_itself(text in odd_text(), limit in 0usize..100) {
        let shown = escape_to(&text, limit);
        prop_assert!(!shown.contains(is_unsafe));
        // The longest escape is `\u{10ffff}`; one more character says that there was more.
        prop_assert!(shown.chars().count() <= limit * 10 + 1);
        let whole = escape(&text);
        prop_assert_eq!(escape_to(&whole, usize::MAX), whole.as_str());
        prop_assert!(text.contains(is_unsafe) || whole == text.trim());
    }

    #[test]
    fn what_a_token_was_got_with_does_not_contradict_it(known in known(), shape: bool) {
        prop_assert_eq!(got_with(&known, shape).contradiction(&known), None);
        let joined = known.joined(&got_with(&known, false), "g");
        prop_assert_eq!(joined.contradiction(&known), None);
    }

    #[test]
    fn what_is_not_known_contradicts_no_session(was in known(), now in known(), names in "[a-cs-u]{0,6}") {
        let session = got_with(&was, false);
        prop_assert_eq!(session.contradiction(&CurrentIdentity::default()), None);
        // To know less never finds a contradiction that was none.
        let mut less = now.clone();
        less.values.retain(|name, _| !names.contains(name.as_str()));
        less.secrets.retain(|name, _| !names.contains(name.as_str()));
        prop_assert!(session.contradiction(&now).is_some() || session.contradiction(&less).is_none());
    }

    #[test]
    fn another_url_value_or_secret_contradicts(known in known(), shape: bool) {
        let identity = got_with(&known, shape);
        let mut now = known.clone();
        now.url = Some("https://elsewhere".into());
        prop_assert!(identity.contradiction(&now).is_some());
        for name in known.values.keys() {
            let mut now = known.clone();
            now.values.insert(name.clone(), "z".into());
            prop_assert!(identity.contradiction(&now).is_some_and(|why| why.starts_with(name)));
        }
        for name in known.secrets.keys() {
            let mut now = known.clone();
            now.secrets.insert(name.clone(), KnownSecret::Text(Secret::new("hunter2")));
            let why = identity.contradiction(&now);
            prop_assert!(why.is_some_and(|why| why.starts_with(name) && !why.contains("hunter2")));
        }
    }

    #[test]
    fn forms_queries_and_basic_are_decoded_to_what_went_in(a in odd_text(), b in odd_text()) {
        // A line feed parts the two values of the target.
        targets::encode(format!("{}\n{b}", a.replace('\n', "")).as_bytes());
    }

    #[test]
    fn entries_are_split_and_joined(limit: u8, old in odd_text(), new in odd_text(), times in 1usize..8) {
        let mut input = vec![limit];
        input.extend(format!("{}\n{}", old.replace('\n', ""), new.repeat(times)).into_bytes());
        targets::split(&input);
    }

    #[test]
    fn values_in_templates_are_not_expanded(
        value in odd_text(),
        pieces in vec(prop_oneof!["[{}a?]{0,4}", r"\{[a-c]\??\}"], 0..8),
    ) {
        targets::template(format!("{}\n{}", value.replace('\n', ""), pieces.concat()).as_bytes());
    }

    #[test]
    fn durations_are_shown_as_what_they_are(seconds in prop_oneof![0..=i64::MAX, 0i64..1_000_000], text in "[0-9dhms]{0,24}") {
        targets::duration(seconds.to_string().as_bytes());
        targets::duration(text.as_bytes());
    }

    #[test]
    fn dates_are_shown_as_what_they_are(seconds in 0..=tok::testing::base::date::LAST) {
        prop_assert_eq!(tok::testing::base::date::parse(&tok::testing::base::date::show(seconds)), Some(seconds));
    }

    #[test]
    fn freshness_can_tell_any_number(received: i64, at: i64, now: i64, min_ttl: Option<i64>) {
        let fresh = tok::testing::token::freshness::freshness(received, Expires::At(at), now, min_ttl.into());
        prop_assert!(at > now || fresh.is_err(), "an expired token is never good");
    }
}

/// `eval` gives back the token, for every visible character and for all of them in an order that means something.
#[cfg(unix)]
#[cfg(unix)]
#[test]
fn a_shell_reads_the_token_back() {
    use child::Start;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut tokens: Vec<String> = (b'!'..=b'~').map(|b| char::from(b).to_string()).collect();
    let words = [
        "'", "''", "'\\''", "\\", "\\'", "$(id)", "`id`", "${HOME}", "a';id;'", "!!", "~", "*", "-n", "\\n", "%s", "#x",
    ];
    tokens.extend(words.map(String::from));
    let mut runner = TestRunner::deterministic();
    tokens.extend((0..300).map(|_| "[!-~]{1,60}".new_tree(&mut runner).unwrap().current()));
    tokens.push((b'!'..=b'~').map(char::from).collect::<String>().repeat(690));
    // One shell for all: it is told each line as `eval "$(tok get … -o env)"` would, from a file.
    let folder = tempfile::tempdir().unwrap();
    for (i, token) in tokens.iter().enumerate() {
        let text = |shell| tok::testing::cmd::output::env::write(&answer(token), shell, "ACCESS_TOKEN").unwrap();
        std::fs::write(folder.path().join(i.to_string()), text(Syntax::Posix)).unwrap();
        std::fs::write(folder.path().join(format!("fish{i}")), text(Syntax::Fish)).unwrap();
    }
    let script = r#"i=0; while [ -e "$i" ]; do eval "$(cat "$i")"; printf '%s\n' "$ACCESS_TOKEN"; i=$((i+1)); done"#;
    let in_fish =
        r#"set i 0; while test -e fish$i; source fish$i; printf '%s\n' $ACCESS_TOKEN; set i (math $i + 1); end"#;
    for shell in ["sh", "bash", "dash", "busybox", "zsh", "ksh", "fish"] {
        let script = if shell == "fish" { in_fish } else { script };
        let mut command = std::process::Command::new(shell);
        if shell == "busybox" {
            command.arg("sh");
        }
        let output = match command.args(["-c", script]).current_dir(folder.path()).finish() {
            Ok(output) => output,
            Err(_) if shell != "sh" => continue,
            Err(error) => panic!("{error}"),
        };
        let read = String::from_utf8(output.stdout).unwrap();
        assert_eq!(read.lines().collect::<Vec<_>>(), tokens, "{shell}");
    }
}
