//! The walls of the house, read off the sources: who may name what. Comments and `#[cfg(test)]` items are left out, so
//! what is found is code. What may be called at all is in `clippy.toml`.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used)]

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use tok::testing::provider::built_in;

/// The order of the rooms: each names only what stands in a line above its own.
const ORDER: &[&[&str]] = &[
    &["base"],
    &["token", "provider", "cli"],
    &["oauth"],
    &["system"],
    &["storage"],
    &["fast_path"],
    &["host"],
    &["profile"],
    &["session"],
    &["cmd"],
    &["testing"],
    &["lib"],
    &["main"],
];

/// What decides and never touches the world.
const PURE: &[&str] = &["base", "token", "provider", "oauth"];

/// Crates, and paths of std, with the only places that name them.
const CRATES: &[(&str, &[&str])] = &[
    ("ureq", &["system/http/"]),
    ("rustls", &["system/http/"]),
    ("keyring_core", &["storage/secrets/keyring/"]),
    ("dbus_secret_service", &["storage/secrets/keyring/"]),
    ("apple_native_keyring_store", &["storage/secrets/keyring/"]),
    ("windows_native_keyring_store", &["storage/secrets/keyring/"]),
    ("security_framework", &["storage/secrets/keyring/"]),
    ("directories", &["storage/folders.rs"]),
    ("toml_edit", &["profile/", "cmd/setup/cargo.rs"]),
    ("inquire", &["system/choose.rs"]),
    ("httparse", &["system/listener.rs", "system/http/"]),
    ("std::net::TcpListener", &["system/listener.rs"]),
    ("qrcode", &["system/qr.rs"]),
    ("clap", &["cli/", "cmd/arguments.rs", "cmd/completions.rs", "lib.rs"]),
];

/// Files of `cmd/` that are no verb: what verbs share.
const SHARED: &[&str] = &["arguments", "config_file", "hooks", "mask", "output", "overview", "table", "token"];

/// The longest that a file may be without its tests, in lines.
const LONGEST: usize = 500;

/// How many bare `bool` parameters there may be.
const MOST_BOOLS: usize = 10;

/// Tables, which may be longer.
const TABLES: &[&str] = &[];

/// Where `unsafe` stands, and how often: the beginning of a process (its name, its arguments, one signal), its
/// environment, the handler of signals, and the allocator. `clippy::undocumented_unsafe_blocks` asks each for its reason.
const UNSAFE: &[(&str, usize)] =
    &[("main.rs", 3), ("system/memory.rs", 9), ("system/signals.rs", 3), ("system/start.rs", 1)];

/// Texts that are spelt as a provider is and belong to something else, by file: formats and CI services that the contract
/// names, subcommands of the programs of two of them, the user name that stands beside a token, a store.
const NAMESAKES: &[(&str, &str)] = &[
    ("base/name.rs", "vault"),
    ("base/jose/public.rs", "x"),
    ("cmd/credential/mod.rs", "oauth2"),
    ("profile/ci/handed_over.rs", "oidc"),
    ("profile/ci/mod.rs", "bitbucket"),
    ("profile/ci/mod.rs", "github"),
    ("profile/ci/mod.rs", "gitlab"),
    ("profile/config.rs", "vault"),
    ("storage/choice.rs", "vault"),
];

/// Hosts of a provider's file that stand in a text about something else: documentation of a CI service.
const HOSTS_OF_OTHERS: &[(&str, &str)] = &[("cmd/output/github_output.rs", "github.com")];

/// What is known to be wrong and waits to be mended. One that is mended must go from here.
const PENDING: &[&str] = &[];

/// A source file.
struct Source {
    /// Below `src/`, with `/`.
    path: String,
    /// The paths that the code names, each written out from the crate's root or from a crate.
    paths: BTreeSet<String>,
    /// Identifiers and texts, as they stand.
    words: Vec<String>,
    /// How many lines it has without its tests.
    lines: usize,
    /// The functions that take a bare `bool`, once for each.
    bools: Vec<String>,
}

impl Source {
    /// Whether it stands in one of `places`: a file, or a folder with its `/`.
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }

    /// Its room: the folder, or the file where it is alone.
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }
}

fn sources() -> &'static [Source] {
    static ALL: OnceLock<Vec<Source>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut found = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        collect(&root, &root, &mut found);
        assert!(found.len() > 30, "these are not all the sources: {}", found.len());
        found
    })
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        if path.is_dir() {
            collect(root, &path, found);
        } else if name.ends_with(".rs") && !name.ends_with("/tests.rs") {
            found.push(read(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

fn read(name: &str, text: &str) -> Source {
    let module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_string).collect();
    let module = match module.last().map(String::as_str) {
        Some("mod" | "lib" | "main") => module[..module.len() - 1].to_vec(),
        _ => module,
    };
    let mut source = Source {
        path: name.into(),
        paths: BTreeSet::new(),
        words: Vec::new(),
        lines: text.lines().count(),
        bools: Vec::new(),
    };
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
    scan(&tokens.into_iter().collect::<Vec<_>>(), &module, &mut source);
    source
}

/// Reads what stands in the module `module`.
fn scan(tokens: &[TokenTree], module: &[String], source: &mut Source) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some((name, arguments)) = attribute(tokens, at) {
            if name == "cfg" && (arguments == "(test)" || arguments.starts_with("(all(test")) {
                let end = item_end(tokens, at);
                let lines = token.span().start().line..=tokens[end - 1].span().end().line;
                source.lines -= lines.count();
                at = end;
            } else if name == "doc" {
                at += 2;
            } else {
                at += 1;
            }
            continue;
        }
        match token {
            TokenTree::Group(group) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                // A module within the file: what is `super` there is this one.
                match (ident(tokens, at.wrapping_sub(2)), ident(tokens, at.wrapping_sub(1))) {
                    (Some(word), Some(name)) if word == "mod" => scan(&inside, &[module, &[name]].concat(), source),
                    _ => scan(&inside, module, source),
                }
                at += 1;
            }
            TokenTree::Ident(word) => {
                if word == "fn" {
                    bools(&tokens[at + 1..], source);
                }
                source.words.push(word.to_string());
                let end = path(tokens, at, String::new(), module, source);
                // The words of a path are words too.
                for token in &tokens[at + 1..end] {
                    words(token, source);
                }
                at = end;
            }
            TokenTree::Literal(_) => {
                words(token, source);
                at += 1;
            }
            TokenTree::Punct(_) => at += 1,
        }
    }
}

/// Counts the parameters of the function whose name is the first of `tokens`.
fn bools(tokens: &[TokenTree], source: &mut Source) {
    let parameters = tokens.iter().find_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => Some(group.stream()),
        _ => None,
    });
    let parameters: Vec<TokenTree> = parameters.into_iter().flatten().collect();
    for at in 0..parameters.len() {
        if is_punct(&parameters, at, ':') && ident(&parameters, at + 1).is_some_and(|word| word == "bool") {
            source.bools.push(format!("{}: {}", source.path, tokens[0]));
        }
    }
}

fn words(token: &TokenTree, source: &mut Source) {
    match token {
        TokenTree::Ident(word) => source.words.push(word.to_string()),
        TokenTree::Literal(text) => source.words.push(text.to_string()),
        TokenTree::Group(group) => group.stream().into_iter().for_each(|token| words(&token, source)),
        TokenTree::Punct(_) => {}
    }
}

fn ident(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at) {
        Some(TokenTree::Ident(word)) => Some(word.to_string()),
        _ => None,
    }
}

fn is_punct(tokens: &[TokenTree], at: usize, c: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == c)
}

/// The name of the attribute that begins at `at`, and what follows it within the brackets.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(String, String)> {
    match tokens.get(at + 1) {
        Some(TokenTree::Group(group)) if is_punct(tokens, at, '#') && group.delimiter() == Delimiter::Bracket => {
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            let rest: String = inside.iter().skip(1).map(|token| token.to_string().replace(' ', "")).collect();
            Some((ident(&inside, 0)?, rest))
        }
        _ => None,
    }
}

/// The end of the item that begins at `from`: behind its braces, or its semicolon.
fn item_end(tokens: &[TokenTree], from: usize) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    tokens[from..].iter().position(is_end).map_or(tokens.len(), |length| from + length + 1)
}

/// Adds the path, or the tree of paths, that begins at `at`; where it ends. `use a::{b, c::d}` names `a::b` and
/// `a::c::d`.
fn path(tokens: &[TokenTree], mut at: usize, prefix: String, module: &[String], source: &mut Source) -> usize {
    let mut parts = prefix;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) => {
                parts.push_str(&word.to_string());
                at += 1;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace && parts.ends_with("::") => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in inside.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ',')) {
                    path(branch, 0, parts.clone(), module, source);
                }
                return at + 1;
            }
            _ => break,
        }
        if !(is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':')) {
            break;
        }
        parts.push_str("::");
        at += 2;
    }
    if let Some(absolute) = absolute(parts.trim_end_matches("::"), module) {
        source.paths.insert(absolute);
    }
    at
}

/// The path `parts` as it is called in the module `module`, from the crate's root; `None` for a single word.
fn absolute(parts: &str, module: &[String]) -> Option<String> {
    let mut parts: Vec<&str> = parts.split("::").collect();
    if parts.len() < 2 {
        return None;
    }
    let mut base: Vec<&str> = module.iter().map(String::as_str).collect();
    match parts[0] {
        "crate" | "tok" => base.clear(),
        "self" => {}
        "super" => {
            let levels = parts.iter().take_while(|part| **part == "super").count();
            parts.drain(..levels - 1);
            base.truncate(base.len().saturating_sub(levels));
        }
        _ => return Some(parts.join("::")),
    }
    parts.remove(0);
    Some(std::iter::once("crate").chain(base).chain(parts).collect::<Vec<_>>().join("::"))
}

/// Whether `path` is `of` or lies in it.
fn names(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The room of our own that `path` leads to.
fn room_of(path: &str) -> Option<&str> {
    path.strip_prefix("crate::").and_then(|path| path.split("::").next())
}

fn rank(room: &str) -> Option<usize> {
    ORDER.iter().position(|rooms| rooms.contains(&room))
}

/// Fails unless what was `found` against `rule` is what is known to be.
fn hold(rule: &str, found: impl IntoIterator<Item = String>) {
    let found: BTreeSet<String> = found.into_iter().map(|what| format!("{rule}: {what}")).collect();
    let known: BTreeSet<String> =
        PENDING.iter().filter(|what| what.starts_with(&format!("{rule}: "))).map(|what| what.to_string()).collect();
    let new: Vec<&String> = found.difference(&known).collect();
    let gone: Vec<&String> = known.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "\nnew: {new:#?}\nmended, so no longer pending: {gone:#?}\n");
}

#[test]
fn the_reader_of_sources_sees_code_alone() {
    let text = "use super::{b, c::{d, e as f}};\n// std::env\n/// std::fs\nfn f<'a>(x: &'a str) { g::h(x, \"std::io\") } /* i::j */\n\
                mod inner { use super::x::Y; }\n#[cfg(test)]\nmod tests { fn k(x: bool) { l::m() } }\nfn n<T>(a: T, b: bool) { format!(\"{}\", o::p()) }\n";
    let source = read("storage/file.rs", text);
    let paths: Vec<&str> = source.paths.iter().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "crate::storage::b",
            "crate::storage::c::d",
            "crate::storage::c::e",
            "crate::storage::file::x::Y",
            "g::h",
            "o::p"
        ]
    );
    assert!(source.words.contains(&"\"std::io\"".to_string()) && source.lines == 6);
    assert_eq!(source.bools, ["storage/file.rs: n"]);
}

#[test]
fn each_room_names_only_those_before_it() {
    let mut found = Vec::new();
    for source in sources() {
        let own = source.room();
        let place = rank(own).unwrap_or_else(|| panic!("src/{} stands in no room of ORDER", source.path));
        for room in source.paths.iter().filter_map(|path| room_of(path)).filter(|room| *room != own) {
            // What stands in lib.rs itself: the id of the build.
            if rank(room).is_some_and(|other| other >= place) {
                found.push(format!("src/{} names {room}", source.path));
            }
        }
    }
    hold("order", found);
}

#[test]
fn what_decides_does_not_touch_the_world() {
    const WORLD: &[&str] = &["std::fs", "std::io", "std::net", "std::process", "std::thread", "std::env"];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room())) {
        for part in WORLD.iter().filter(|part| source.paths.iter().any(|path| names(path, part))) {
            found.push(format!("src/{} names {part}", source.path));
        }
    }
    hold("world", found);
}

#[test]
fn the_fast_path_reads_what_the_head_describes() {
    let fast = sources().iter().find(|source| source.path == "fast_path.rs").unwrap();
    let found = fast.paths.iter().filter(|path| names(path, "crate::storage") && !names(path, "crate::storage::head"));
    hold("head", found.map(|path| format!("src/fast_path.rs names {path}")));
}

#[test]
fn verbs_do_not_name_each_other() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.room() == "cmd" && source.path != "cmd/mod.rs") {
        let own = source.path.split('/').nth(1).unwrap().trim_end_matches(".rs");
        for path in source.paths.iter().filter_map(|path| path.strip_prefix("crate::cmd::")) {
            let verb = path.split("::").next().unwrap();
            let is_verb = verb.starts_with(|c: char| c.is_ascii_lowercase()) && path.contains("::");
            if is_verb && verb != own && !SHARED.contains(&verb) {
                found.push(format!("src/{} names {verb}", source.path));
            }
        }
    }
    hold("verbs", found);
}

#[test]
fn crates_of_the_outer_world_stay_in_their_place() {
    let mut found = Vec::new();
    for (name, places) in CRATES {
        for source in sources().iter().filter(|source| !source.is_in(places)) {
            if source.paths.iter().any(|path| names(path, name)) {
                found.push(format!("src/{} names {name}", source.path));
            }
        }
    }
    hold("crates", found);
}

#[test]
fn no_source_knows_a_provider_by_name() {
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    // The list of them.
    for source in sources().iter().filter(|source| source.path != "provider/built_in.rs") {
        let texts: Vec<&str> =
            source.words.iter().filter(|word| word.starts_with('"')).map(|t| t.trim_matches('"')).collect();
        // One has the name of what RFC 9728 is about.
        for (name, file) in built_in().filter(|one| one.name != "resource").map(|one| (one.name, one.text)) {
            if texts.contains(&name) {
                match NAMESAKES.iter().find(|(path, text)| source.path == *path && name == *text) {
                    Some(namesake) => drop(used.insert(namesake)),
                    None => found.push(format!("src/{} has {name}", source.path)),
                }
            }
            for host in hosts(file) {
                let is_other = HOSTS_OF_OTHERS.contains(&(source.path.as_str(), host));
                if !is_other && texts.iter().any(|text| text.contains(host)) {
                    found.push(format!("src/{} has {host} of {name}", source.path));
                }
            }
        }
    }
    hold("provider", found);
    let unused: Vec<_> = NAMESAKES.iter().filter(|namesake| !used.contains(namesake)).collect();
    assert!(unused.is_empty(), "no such text any more: {unused:?}");
}

/// The hosts of the addresses that a provider file's values have, without those of documents.
fn hosts(file: &str) -> Vec<&str> {
    let values =
        file.lines().filter(|line| !line.starts_with('#') && !line.starts_with("docs") && !line.starts_with("help"));
    let urls = values.flat_map(|line| line.split("https://").skip(1));
    let ends = |c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-';
    urls.filter_map(|rest| rest.split(ends).next()).filter(|host| host.contains('.')).collect()
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let long = sources().iter().filter(|source| source.lines > LONGEST && !TABLES.contains(&source.path.as_str()));
    hold("length", long.map(|source| format!("src/{}", source.path)));
    for table in TABLES {
        assert!(sources().iter().any(|source| source.path == *table && source.lines > LONGEST), "{table} is not long");
    }
}

#[test]
fn few_functions_take_a_bare_bool() {
    // What is written once for each platform counts once.
    let all: BTreeSet<&String> = sources().iter().flat_map(|source| &source.bools).collect();
    assert!(all.len() <= MOST_BOOLS, "what does `true` mean to whoever reads the call? {all:#?}");
}

#[test]
fn unsafe_stands_where_it_is_known() {
    let count = |source: &Source| source.words.iter().filter(|word| *word == "unsafe").count();
    let mut found: Vec<(&str, usize)> = sources().iter().map(|s| (s.path.as_str(), count(s))).collect();
    found.retain(|(_, count)| *count > 0);
    found.sort_unstable();
    assert_eq!(found, UNSAFE);
}
