//! Joins the built-in providers, and gives the build an id: a digest of everything under `src/`, so that an answer cached by another build of `tok`
//! (another way to read a reply, another built-in provider) is never handed out by the short path.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "cargo speaks to a build script that way")]
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    providers(Path::new("src/providers"));
    let mut hasher = DefaultHasher::new();
    std::env::var("CARGO_PKG_VERSION").ok().hash(&mut hasher);
    digest(Path::new("src"), &mut hasher);
    println!("cargo::rustc-env=TOK_BUILD_ID={:016x}", hasher.finish());
    println!("cargo::rerun-if-changed=src");
}

/// Writes what `src/provider/built_in.rs` reads: `providers.txt`, names and files one after another, and
/// `providers.rs`, where each of them is, and in it what a list shows.
fn providers(folder: &Path) {
    let (mut text, mut places) = (String::new(), String::new());
    for path in entries(folder) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name of letters");
        let name = name.strip_suffix(".toml").expect("a file of src/providers/ ends in .toml");
        let file = std::fs::read_to_string(&path).expect("a file of src/providers/");
        let (title, kind) = (text_of(&file, "title").expect("its title"), text_of(&file, "kind").expect("its kind"));
        let featured = value_of(&file, "featured").map_or("0", |(_, number)| number);
        places += &format!(
            "Place {{ name: {}, file: {}, title: {title:?}, kind: {kind:?}, featured: {featured} }},",
            name.len(),
            file.len()
        );
        text += name;
        text += &file;
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    std::fs::write(out.join("providers.txt"), text).expect("OUT_DIR can be written");
    std::fs::write(out.join("providers.rs"), format!("&[{places}]")).expect("OUT_DIR can be written");
}

/// Where in `file` the text of `key` begins and ends. That these are what a reader of TOML finds is tested.
fn text_of(file: &str, key: &str) -> Option<(usize, usize)> {
    let (at, value) = value_of(file, key)?;
    let text = value.strip_prefix('"')?.split('"').next()?;
    Some((at + 1, at + 1 + text.len()))
}

/// The value of `key` above the first table, and where it begins.
fn value_of<'f>(file: &'f str, key: &str) -> Option<(usize, &'f str)> {
    let top = file.find("\n[").map_or(file, |end| &file[..end]);
    let line =
        top.lines().find(|line| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')))?;
    let value = line.split_once('=')?.1.trim();
    // Both are parts of the same text.
    Some((value.as_ptr() as usize - file.as_ptr() as usize, value))
}

/// What is in the folder, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("src/ can be read")
        .map(|entry| entry.expect("an entry of src/").path())
        .collect();
    paths.sort();
    paths
}

fn digest(folder: &Path, hasher: &mut DefaultHasher) {
    for path in entries(folder) {
        path.hash(hasher);
        if path.is_dir() {
            digest(&path, hasher);
        } else {
            std::fs::read(&path).expect("a file of src/").hash(hasher);
        }
    }
}
