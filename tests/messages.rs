//! `tests/messages.txt`: all messages and hints of the program, as the tests of tests/cli get them, to be read in one go.
//! ./test collects them in the folder that `TEST_MESSAGES` names and compares at its end; with `UPDATE=1` it writes them.
//! Names, numbers, paths and times are replaced. And what stands in the sources as a message is looked for there.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used)]

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use regex::Regex;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What differs between runs or says only which test it was, and what stands for it.
const REPLACED: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-][\d:]+)?", "TIME"),
    (r"\b(127\.0\.0\.1|localhost)(:\d+)|\[::1\](:\d+)?", "HOST"),
    (r"TEST/[^\s:;,'`)]*", "PATH"),
    (r"(^|[^\w.:/])/(tmp|root|proc|usr|home|run|dev|work)/[^\s:;,'`)]*", "${1}PATH"),
    (r"PATH:\d+:\d+", "PATH:LINE:COLUMN"),
    (r"^tok: (warning: )?[a-z0-9][a-z0-9-]*: ", "tok: ${1}PROFILE: "),
    (r"\btok (login|get|logout|show|header) [a-z0-9][a-z0-9-]*", "tok $1 PROFILE"),
    (r"\bTOK_[A-Z0-9]+_[A-Z0-9_]+", "TOK_PROFILE_VALUE"),
    (r"\b(process|-p) \d+", "$1 PID"),
    (r"\b\d+(d|h|min|m|s|ms)( ?\d+(h|min|m|s|ms))*\b", "DURATION"),
    (r"\b[A-Za-z0-9_-]*[0-9][A-Za-z0-9_-]{19,}", "TEXT"),
    (r"\d+", "N"),
];

/// Texts of the sources that no test of tests/cli can bring about, by the beginning of their file, and why.
const UNSEEN: &[(&str, &str, &str)] = &[];

fn replaced(line: &str) -> String {
    static ALL: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let all = ALL.get_or_init(|| REPLACED.iter().map(|(what, by)| (Regex::new(what).unwrap(), *by)).collect());
    all.iter().fold(line.to_string(), |line, (what, by)| what.replace_all(&line, *by).into_owned())
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages.txt")
}

fn known() -> String {
    fs::read_to_string(file()).unwrap()
}

#[test]
#[ignore = "./test runs it, after those that it collects from"]
fn what_the_tests_were_told_is_known() {
    let folder = std::env::var_os("TEST_MESSAGES").expect("TEST_MESSAGES names the folder");
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        // An escape is in a text from elsewhere, which tests/cli/hostile_text.rs looks at.
        let lines =
            String::from_utf8_lossy(&text).lines().filter(|line| !line.contains("\\u{")).map(replaced).collect();
        seen = &seen | &lines;
    }
    assert!(seen.len() > 100, "these are not all the messages: {}", seen.len());
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::write(file(), seen.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        return;
    }
    let known: BTreeSet<String> = known().lines().map(str::to_string).collect();
    let missing: Vec<&String> = known.difference(&seen).collect();
    // Not an error by itself: the test that brings it about may be skipped here.
    missing.iter().for_each(|line| println!("not seen in this run: {line}"));
    let new: Vec<&String> = seen.difference(&known).collect();
    assert!(new.is_empty(), "not in tests/messages.txt (UPDATE=1 ./test adds them): {new:#?}");
    let is_full = std::env::var_os("FULL_SWEEPS").is_some_and(|value| !value.is_empty());
    let skipped = std::env::var_os("SKIPPED_TESTS").and_then(|path| fs::read(path).ok()).unwrap_or_default();
    assert!(
        !is_full || !skipped.is_empty() || missing.is_empty(),
        "in tests/messages.txt, and no test brings it about"
    );
}

#[test]
fn what_changes_from_run_to_run_is_replaced() {
    for (line, expected) in [
        ("tok: shop: http://127.0.0.1:4711 refused", "tok: PROFILE: http://HOST refused"),
        ("hint: run: tok login shop-eu refresh", "hint: run: tok login PROFILE refresh"),
        ("tok: warning: TEST/home/a.toml:3:14: no", "tok: warning: PATH:LINE:COLUMN: no"),
        ("hint: set TOK_SHOP_CLIENT_ID, or see: ps -p 42", "hint: set TOK_PROFILE_VALUE, or see: ps -p PID"),
        ("tok: waited 1h 30m, 5s at 2026-11-28T15:00:00Z", "tok: waited DURATION, DURATION at TIME"),
    ] {
        assert_eq!(replaced(line), expected);
    }
}

/// A text of the sources that is shown as a message.
struct Text {
    /// Below `src/`.
    path: String,
    /// What stands between its `{}`.
    fixed: Vec<String>,
}

/// Every text among the arguments of `Error::new` and `.hint`.
fn texts() -> Vec<Text> {
    let (root, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), Vec::new());
    collect(&root, &root, &mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Text>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        if path.is_dir() {
            collect(root, &path, found);
        } else if name.ends_with(".rs") && !name.ends_with("/tests.rs") {
            let tokens: TokenStream = fs::read_to_string(&path).unwrap().parse().unwrap();
            scan(&name, tokens, false, found);
        }
    }
}

/// `inside`: whether the tokens are the arguments of such a call.
fn scan(path: &str, tokens: TokenStream, inside: bool, found: &mut Vec<Text>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let word = |at: usize, text: &str| matches!(tokens.get(at), Some(TokenTree::Ident(word)) if word == text);
    let mut at = 0;
    while at < tokens.len() {
        // What is compiled for tests alone, and attributes.
        if let (TokenTree::Punct(mark), Some(TokenTree::Group(group))) = (&tokens[at], tokens.get(at + 1))
            && mark.as_char() == '#'
            && group.delimiter() == Delimiter::Bracket
        {
            at += 2;
            if group.stream().to_string().replace(' ', "").starts_with("cfg(test)") {
                let end = |token: &TokenTree| match token {
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    TokenTree::Punct(mark) => mark.as_char() == ';',
                    _ => false,
                };
                at += tokens[at..].iter().position(end).map_or(tokens.len(), |length| length + 1);
            }
            continue;
        }
        match &tokens[at] {
            TokenTree::Group(group) => {
                let is_call = group.delimiter() == Delimiter::Parenthesis
                    && at > 0
                    && (word(at - 1, "hint") || (word(at - 1, "new") && at > 3 && word(at - 4, "Error")));
                scan(path, group.stream(), inside || is_call, found);
            }
            TokenTree::Literal(literal) if inside => {
                if let Some(text) = literal.to_string().strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                    found.push(Text { path: path.into(), fixed: fixed(text) });
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The parts of a format string that are always there; a single word is none.
fn fixed(text: &str) -> Vec<String> {
    static VALUE: OnceLock<Regex> = OnceLock::new();
    let text = text.replace("\\\"", "\"").replace("{{", "\u{1}").replace("}}", "\u{2}");
    let parts = VALUE.get_or_init(|| Regex::new(r"\{[^{}]*\}").unwrap()).split(&text);
    let parts = parts.map(|part| part.replace('\u{1}', "{").replace('\u{2}', "}"));
    parts.filter(|part| part.trim().len() > 5 && part.trim().contains(' ')).map(|part| replaced(part.trim())).collect()
}

#[test]
fn every_message_of_the_sources_is_brought_about_by_a_test() {
    let (known, all) = (known(), texts());
    assert!(all.len() > 150, "these are not all the messages: {}", all.len());
    let mut missed = BTreeSet::new();
    for text in &all {
        for part in text.fixed.iter().filter(|part| !known.contains(part.as_str())) {
            let allowed =
                |(path, beginning, _): &(&str, &str, &str)| text.path.starts_with(path) && part.starts_with(beginning);
            if !UNSEEN.iter().any(allowed) {
                missed.insert(format!("src/{}: {part}", text.path));
            }
        }
    }
    assert!(missed.is_empty(), "no test of tests/cli brings it about: {missed:#?}");
}

#[test]
fn what_is_said_to_be_unseen_is_so() {
    let (known, all) = (known(), texts());
    for (path, beginning, why) in UNSEEN {
        let unseen = |text: &&Text| {
            text.path.starts_with(path)
                && text.fixed.iter().any(|part| part.starts_with(beginning) && !known.contains(part.as_str()))
        };
        assert!(all.iter().find(unseen).is_some(), "{path}: {beginning:?} ({why}) is seen, or is gone");
    }
}
