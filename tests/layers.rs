//! The walls of the house, read off the sources: who may name what. Comments, texts and `#[cfg(test)]` modules are
//! taken out first, so what is found is code.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use tok::provider::built_in;

/// A source file.
struct Source {
    /// Below `src/`, with `/`.
    path: String,
    /// As it stands.
    text: String,
    /// Without comments and tests.
    code: String,
    /// Without the contents of texts and characters either.
    bare: String,
}

impl Source {
    /// Whether it stands in one of `places`: a file, or a folder with its `/`.
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }

    /// The module below the crate's root: `store` for `store/file.rs`.
    fn module(&self) -> &str {
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
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let (code, bare) = strip(&text);
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            found.push(Source { path, text, code, bare });
        }
    }
}

/// `text` without comments and test modules, and that without the contents of texts and characters. Lines stay where
/// they are.
fn strip(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut bare) = (String::new(), String::new());
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let (length, kind) = token(rest, at.checked_sub(1).map(|before| chars[before]));
        for (i, c) in rest[..length].iter().enumerate() {
            let edge = i == 0 || i + 1 == length;
            code.push(if kind == Kind::Comment { blank(*c) } else { *c });
            bare.push(if kind == Kind::Code || (kind == Kind::Text && edge) { *c } else { blank(*c) });
        }
        at += length;
    }
    // The braces of a test module are those of the bare text; both texts have the same characters at each place.
    let places: Vec<char> = bare.chars().collect();
    let mut tests = vec![false; places.len()];
    let mut from = 0;
    while let Some(found) = bare_find(&places, from, "#[cfg(test)]") {
        let end = item_end(&places, found);
        tests[found..end].fill(true);
        from = end;
    }
    let without = |text: &str| text.chars().zip(&tests).map(|(c, test)| if *test { blank(c) } else { c }).collect();
    (without(&code), without(&bare))
}

#[derive(PartialEq, Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Text,
}

/// The length and the kind of what `rest` begins with.
fn token(rest: &[char], before: Option<char>) -> (usize, Kind) {
    let until = |start: usize, end: &str| {
        let end: Vec<char> = end.chars().collect();
        rest[start..].windows(end.len()).position(|w| w == end).map_or(rest.len(), |p| start + p + end.len())
    };
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match rest {
        ['/', '/', ..] => (rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()), Kind::Comment),
        ['/', '*', ..] => (until(2, "*/"), Kind::Comment),
        ['"', ..] => (quoted(rest, '"'), Kind::Text),
        ['r', '"', ..] if !in_word => (until(2, "\""), Kind::Text),
        ['r', '#', ..] if !in_word => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            match rest.get(1 + hashes) {
                Some('"') => (until(2 + hashes, &format!("\"{}", "#".repeat(hashes))), Kind::Text),
                _ => (1, Kind::Code),
            }
        }
        // A character, and no lifetime.
        ['\'', '\\', ..] => (quoted(rest, '\''), Kind::Text),
        ['\'', _, '\'', ..] => (3, Kind::Text),
        _ => (1, Kind::Code),
    }
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn bare_find(places: &[char], from: usize, what: &str) -> Option<usize> {
    let what: Vec<char> = what.chars().collect();
    places[from..].windows(what.len()).position(|w| w == what).map(|p| from + p)
}

/// The end of the item that begins at `from`: its closing brace, or its semicolon.
fn item_end(places: &[char], from: usize) -> usize {
    let mut depth = 0;
    for (at, c) in places.iter().enumerate().skip(from) {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    places.len()
}

/// Where `word` stands as a whole word: line numbers.
fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let hits = text
        .match_indices(word)
        .filter(|(at, _)| !part(text[..*at].chars().next_back()) && !part(text[at + word.len()..].chars().next()));
    hits.map(|(at, _)| text[..at].matches('\n').count() + 1).collect()
}

/// The paths that the code names, each written out: `use a::{b, c::d}` names `a::b` and `a::c::d`.
fn paths(bare: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in bare.chars() {
        let part = c.is_alphanumeric() || c == '_';
        match words.last_mut() {
            Some(last) if part && last.ends_with(|c: char| c.is_alphanumeric() || c == '_') => last.push(c),
            Some(last) if c == ':' && last == ":" => last.push(':'),
            _ => words.push(c.to_string()),
        }
    }
    words.retain(|word| !word.trim().is_empty());
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let begins = words.get(at + 1).is_some_and(|w| w == "::") && is_word(&words[at]);
        match begins && (at == 0 || words[at - 1] != "::") {
            true => at = path(&words, at, String::new(), &mut found),
            false => at += 1,
        }
    }
    found
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Adds the path, or the tree of paths, that begins at `at`; where it ends.
fn path(words: &[String], mut at: usize, mut prefix: String, found: &mut Vec<String>) -> usize {
    while at < words.len() {
        if words[at] == "{" && prefix.ends_with("::") {
            at += 1;
            while at < words.len() && words[at] != "}" {
                at = match words[at].as_str() {
                    "," => at + 1,
                    "as" => at + 2,
                    _ => path(words, at, prefix.clone(), found).max(at + 1),
                };
            }
            return at + 1;
        }
        if !is_word(&words[at]) {
            break;
        }
        prefix.push_str(&words[at]);
        at += 1;
        if words.get(at).is_none_or(|w| w != "::") {
            break;
        }
        prefix.push_str("::");
        at += 1;
    }
    if !prefix.is_empty() {
        found.push(prefix.trim_end_matches("::").to_string());
    }
    at
}

/// Whether `path` is `of` or lies in it.
fn names(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every place outside `allowed` that names the path `what`, or the word where it is one word.
fn outside(what: &str, allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| !s.is_in(allowed)) {
        let hit = match what.contains("::") {
            true => paths(&source.bare).iter().any(|path| names(path, what)),
            false => !lines_with(&source.bare, what).is_empty(),
        };
        if hit {
            found.push(format!("src/{} names {what}", source.path));
        }
    }
    found
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_reader_of_sources_sees_code_alone() {
    let text = "use a::{b, c::{d, e as f}};\n// std::env\nlet x = \"std::env\"; let y = r#\"a\"b\"#; let c = '\"';\n\
                fn f<'a>(x: &'a str) { g::h(x) } /* i::j */\n#[cfg(test)]\nmod tests { fn k() { l::m() } }\nn::o();";
    let (code, bare) = strip(text);
    assert_eq!(paths(&bare), ["a::b", "a::c::d", "a::c::e", "g::h", "n::o"]);
    assert!(code.contains("\"std::env\"") && code.contains("r#\"a\"b\"#") && !code.contains("// std"));
    assert_eq!(lines_with("a b\nab b_ b", "b"), [1, 2]);
}

#[test]
fn no_source_knows_a_provider_by_name() {
    let mut found = Vec::new();
    for source in sources() {
        // The list of them.
        if source.path == "provider/built_in.rs" {
            continue;
        }
        for (name, _) in built_in() {
            found.extend(
                lines_with(&source.code, name).iter().map(|line| format!("src/{}:{line}: {name}", source.path)),
            );
        }
    }
    none(found);
}

#[test]
fn crates_of_the_outer_world_stay_in_their_place() {
    let mut found = outside("ureq", &["http.rs", "http/"]);
    found.extend(outside("rustls", &["http.rs", "http/"]));
    for keyring in [
        "keyring_core",
        "dbus_secret_service",
        "apple_native_keyring_store",
        "windows_native_keyring_store",
        "security_framework",
    ] {
        found.extend(outside(keyring, &["store/keyring/"]));
    }
    found.extend(outside("directories", &["host.rs", "short.rs"]));
    found.extend(outside("toml_edit", &["config.rs"]));
    found.extend(outside("httparse", &["flow/listener.rs"]));
    found.extend(outside("std::net::TcpListener", &["flow/listener.rs"]));
    found.extend(outside("qrcode", &["flow/qr.rs"]));
    none(found);
}

#[test]
fn the_environment_is_read_where_the_world_is_made() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| !s.is_in(&["host.rs", "short.rs", "main.rs"])) {
        for path in paths(&source.bare).iter().filter(|path| names(path, "std::env")) {
            // Completion of file names looks at the folder it is in.
            if !(source.path == "lib.rs" && path == "std::env::current_dir") {
                found.push(format!("src/{} names {path}", source.path));
            }
        }
    }
    none(found);
}

#[test]
fn the_clock_is_read_at_the_edge() {
    let edge = [
        "host.rs",
        "main.rs",
        "http.rs",
        "http/",
        "child.rs",
        "store/",
        "files.rs",
        "flow/browser.rs",
        "flow/listener.rs",
    ];
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| !s.is_in(&edge)) {
        for path in paths(&source.bare) {
            let last = path.rsplit("::").next().unwrap_or_default();
            if path.split("::").any(|word| word == "SystemTime") || (path.contains("::") && last == "now") {
                found.push(format!("src/{} names {path}", source.path));
            }
        }
    }
    none(found);
}

/// What decides and never touches the world.
const PURE: &[&str] = &[
    "token", "provider", "plan", "request", "reply", "output", "cli", "belongs", "kept", "config", "document", "jwt",
    "text", "url", "date", "duration", "digest", "error", "jose", "id_token", "dpop", "pkce",
];

/// The same of modules that do not all do so.
const PURE_FILES: &[&str] = &["flow/callback.rs", "flow/poll.rs", "flow/qr.rs"];

#[test]
fn what_decides_does_not_touch_the_world() {
    const WORLD: &[&str] = &[
        "crate::host",
        "crate::system::http",
        "crate::system::files",
        "crate::system::process",
        "crate::system::signals",
        "crate::storage::index",
        "crate::fast_path",
        "crate::session::acquire",
        "crate::session::exchange",
        "crate::session::inputs",
        "crate::session::open_store",
        "crate::session::person",
        "crate::oauth::metadata",
        "crate::profile",
        "crate::cmd",
        "crate::storage::secrets::keyring",
        "crate::storage::secrets::file",
        "crate::storage::secrets::helper",
        "crate::storage::lock",
        "crate::storage::secrets::split",
        "std::fs",
        "std::io",
        "std::process",
        "std::thread",
        "std::os",
        "std::env",
        "std::net::TcpStream",
        "std::net::TcpListener",
        "std::net::ToSocketAddrs",
    ];
    let mut found = Vec::new();
    let all = sources();
    for source in all.iter().filter(|s| PURE.contains(&s.module()) || s.is_in(PURE_FILES)) {
        for path in paths(&source.bare) {
            if WORLD.iter().any(|part| names(&path, part)) {
                found.push(format!("src/{} names {path}", source.path));
            }
            // A cached token is a type that lies beside its files; nothing else of the stores is known here.
            let of_store =
                names(&path, "crate::storage::secrets") && !(source.module() == "output" && path.ends_with("::Token"));
            if of_store && !found.iter().any(|f| f.ends_with(&path)) {
                found.push(format!("src/{} names {path}", source.path));
            }
        }
    }
    for module in PURE {
        assert!(all.iter().any(|s| s.module() == *module), "there is no module {module}");
    }
    for file in PURE_FILES {
        assert!(all.iter().any(|s| s.path == *file), "there is no file {file}");
    }
    none(found);
}

#[test]
fn nothing_knows_who_calls_it() {
    let mut found = outside("crate::cmd", &["lib.rs", "cmd/"]);
    found.extend(outside("crate::fast_path", &["main.rs", "cmd/get.rs", "store/cache.rs"]));
    found.extend(outside("crate::session::acquire", &["cmd/"]));
    found.extend(outside("crate::cli", &["lib.rs", "cmd/", "output/"]));
    found.extend(outside("crate::system::http", &["host.rs", "http.rs", "http/"]));
    found.extend(outside("crate::storage::secrets::keyring", &["host.rs", "store/keyring.rs"]));
    for source in sources().iter().filter(|s| s.is_in(&["store/", "http.rs", "http/", "files.rs", "child.rs"])) {
        for upper in
            ["crate::host", "crate::profile", "crate::storage::index", "crate::provider", "crate::oauth::reply"]
        {
            let hits = paths(&source.bare).into_iter().filter(|path| names(path, upper));
            found.extend(hits.map(|path| format!("src/{} names {path}", source.path)));
        }
    }
    none(found);
}

#[test]
fn seven_lines_are_unsafe_and_say_why_they_are_not() {
    let mut found = Vec::new();
    for source in sources() {
        for line in lines_with(&source.bare, "unsafe") {
            let before: Vec<&str> = source.text.lines().take(line - 1).collect();
            let comments = before.iter().rev().take_while(|text| text.trim_start().starts_with("//"));
            let says_why = comments.into_iter().any(|text| text.contains("SAFETY:"));
            found.push((source.path.clone(), says_why));
        }
    }
    found.sort();
    // The beginning of a process takes three: its name, its arguments, and one signal. The signal handler takes three:
    // it is registered unless the signal is ignored, and gives back a terminal that was lent.
    let allowed = [("host.rs", 1), ("main.rs", 3), ("signals.rs", 3)];
    let allowed: Vec<(String, bool)> =
        allowed.iter().flat_map(|(path, count)| vec![(path.to_string(), true); *count]).collect();
    assert_eq!(found, allowed);
    none(outside("unsafe_code", &["host.rs", "main.rs", "signals.rs"]));
}

#[test]
fn output_goes_through_the_host() {
    let mut found = Vec::new();
    for source in sources() {
        let unwanted = ["println", "print", "eprintln", "eprint", "dbg", "todo", "unimplemented"];
        for word in unwanted.iter().filter(|word| !lines_with(&source.bare, &format!("{word}!")).is_empty()) {
            found.push(format!("src/{} has {word}!", source.path));
        }
    }
    found.extend(outside("std::io::stdout", &["main.rs", "host.rs"]));
    none(found);
}
