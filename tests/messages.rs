//! `tests/messages.txt`: what the program says, to be read in one go. It is every text of the sources that has two words
//! or more, by its file; `UPDATE=1 cargo test --test messages` writes it anew.
//!
//! And each is brought about by a test: `./test` has the tests of tests/cli note what `tok` says to them, in the folder
//! that `TEST_MESSAGES` names, and looks at its end for every text there. One that the whole program is not brought to
//! say has a `-` before it: tests of the library alone have it, or nothing can (a system without random numbers). A new
//! text has none, so it needs its test, or that somebody puts the mark there; `UPDATE=1 ./test` sets all marks.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used)]

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Whoever is called with a text that is for programmers.
const INTERNAL: &[&str] = &["expect", "assert", "assert_eq", "unreachable", "panic", "env"];

/// The texts of the program, by file.
fn texts() -> BTreeMap<String, BTreeSet<String>> {
    let (root, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), BTreeMap::new());
    collect(&root, &root, &mut found);
    assert!(found.len() > 50, "these are not all the sources: {}", found.len());
    found
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        if path.is_dir() {
            collect(root, &path, found);
        } else if name.ends_with(".rs") && !name.ends_with("/tests.rs") && !name.ends_with("testing.rs") {
            let tokens: TokenStream = fs::read_to_string(&path).unwrap().parse().unwrap();
            let mut all = BTreeSet::new();
            scan(tokens, &mut all);
            if !all.is_empty() {
                found.insert(name, all);
            }
        }
    }
}

fn scan(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is_group =
        |at: usize, of: Delimiter| matches!(tokens.get(at), Some(TokenTree::Group(g)) if g.delimiter() == of);
    let is_mark = |at: usize, of: char| matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == of);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        // An attribute, and what is compiled for tests alone.
        let bracket = if is_mark(at + 1, '!') { at + 2 } else { at + 1 };
        if is_mark(at, '#') && is_group(bracket, Delimiter::Bracket) {
            let attribute = tokens[bracket].to_string().replace(' ', "");
            at = bracket + 1;
            if attribute.starts_with("[cfg(test)") || attribute.starts_with("[cfg(all(test") {
                let ends = |at: &usize| is_group(*at, Delimiter::Brace) || is_mark(*at, ';');
                at = (at..tokens.len()).find(ends).map_or(tokens.len(), |end| end + 1);
            }
            continue;
        }
        match token {
            TokenTree::Group(group) => {
                let word = |at: usize| match tokens.get(at) {
                    Some(TokenTree::Ident(word)) => word.to_string(),
                    _ => String::new(),
                };
                let called = if is_mark(at.wrapping_sub(1), '!') { at.wrapping_sub(2) } else { at.wrapping_sub(1) };
                if !INTERNAL.contains(&word(called).as_str()) {
                    scan(group.stream(), found);
                }
            }
            TokenTree::Literal(literal) => found.extend(text(literal).filter(|text| is_said(text))),
            _ => {}
        }
        at += 1;
    }
}

/// What a string literal stands for.
fn text(literal: &Literal) -> Option<String> {
    let written = literal.to_string();
    let inside = written.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::new();
    let mut rest = inside.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next()? {
                '\n' => while rest.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => text.push('\n'),
                c @ ('"' | '\\' | '\'') => text.push(c),
                other => text.extend(['\\', other]),
            },
            c => text.push(c),
        }
    }
    Some(text)
}

/// Whether it has two words of plain text next to each other.
fn is_said(text: &str) -> bool {
    fixed(text).iter().any(|part| {
        let is_word = |word: &str| word.len() > 1 && word.chars().all(|c| c.is_alphabetic() || ",.;:'".contains(c));
        let words: Vec<bool> = part.split(' ').map(is_word).collect();
        words.windows(2).any(|two| two == [true, true])
    })
}

/// The parts of a format string that are always there.
fn fixed(text: &str) -> Vec<String> {
    let whole = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut parts = Vec::new();
    for (at, part) in whole.split('{').enumerate() {
        let part = if at == 0 { part } else { part.split_once('}').map_or(part, |(_, after)| after) };
        parts.extend(part.lines().map(|line| line.trim().replace('\u{1}', "{").replace('\u{2}', "}")));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn snapshot() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages.txt")
}

/// Before a text that the tests of the whole program do not bring about.
const UNSEEN: char = '-';

/// The snapshot of `texts`; `is_unseen` says which have the mark.
fn written(texts: &BTreeMap<String, BTreeSet<String>>, is_unseen: impl Fn(&str, &str) -> bool) -> String {
    let mut all = String::new();
    for (file, texts) in texts {
        all.push_str(&format!("src/{file}\n"));
        for text in texts {
            let mark = if is_unseen(file, text) { UNSEEN } else { ' ' };
            all.push_str(&format!("{mark} {}\n", text.replace('\n', "\\n")));
        }
    }
    all
}

/// The texts with the mark in the snapshot that is there, as `FILE: TEXT`.
fn unseen(snapshot: &str) -> BTreeSet<String> {
    let (mut file, mut found) = ("", BTreeSet::new());
    for line in snapshot.lines() {
        if let Some(name) = line.strip_prefix("src/") {
            file = name;
        } else if let Some(text) = line.strip_prefix("- ") {
            found.insert(format!("{file}: {}", text.replace("\\n", "\n")));
        }
    }
    found
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

#[test]
fn the_snapshot_has_every_text_of_the_program() {
    let known = fs::read_to_string(snapshot()).unwrap_or_default();
    let marked = unseen(&known);
    let all = written(&texts(), |file, text| marked.contains(&format!("{file}: {text}")));
    if update() {
        fs::write(snapshot(), &all).unwrap();
        return;
    }
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (known.lines().collect(), all.lines().collect());
    assert!(
        known == all,
        "read what has changed; then: UPDATE=1 cargo test --test messages\ngone: {:#?}\nnew: {:#?}",
        old.difference(&new),
        new.difference(&old)
    );
}

#[test]
#[ignore = "./test runs it, after those that note what they are told"]
fn every_message_is_brought_about_by_a_test() {
    let folder = std::env::var_os("TEST_MESSAGES").expect("TEST_MESSAGES names the folder");
    let mut seen = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        seen.push_str(&String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()));
        seen.push('\n');
    }
    assert!(seen.lines().count() > 100, "no test has noted anything");
    let is_seen =
        |text: &str| fixed(text).iter().all(|part| memchr::memmem::find(seen.as_bytes(), part.as_bytes()).is_some());
    let all = texts();
    if update() {
        fs::write(snapshot(), written(&all, |_, text| !is_seen(text))).unwrap();
        return;
    }
    let marked = unseen(&fs::read_to_string(snapshot()).unwrap());
    let shown = |file: &String, text: &String| format!("{file}: {text}");
    let missed: Vec<String> = all
        .iter()
        .flat_map(|(file, texts)| texts.iter().filter(|text| !is_seen(text)).map(|text| shown(file, text)))
        .filter(|text| !marked.contains(text))
        .collect();
    let report = format!("no test brings about, and no `-` in tests/messages.txt says so: {missed:#?}");
    // Where tests are skipped, they cannot bring anything about.
    let skipped = std::env::var_os("SKIPPED_TESTS").and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    if skipped.lines().any(|line| !line.contains("\treal::")) {
        println!("not held, as tests were skipped: {report}");
    } else {
        assert!(missed.is_empty(), "{report}");
    }
}

#[test]
fn a_mark_is_read_as_it_is_written() {
    let all: BTreeMap<String, BTreeSet<String>> =
        [("a.rs".into(), ["one two\nthree".into(), "four five".into()].into())].into();
    let text = written(&all, |_, text| text.starts_with("one"));
    assert_eq!(text, "src/a.rs\n  four five\n- one two\\nthree\n");
    assert_eq!(unseen(&text), ["a.rs: one two\nthree".to_string()].into());
}
