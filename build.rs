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
/// `providers.rs`, their lengths in bytes.
fn providers(folder: &Path) {
    let (mut text, mut lengths) = (String::new(), Vec::new());
    for path in entries(folder) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name of letters");
        let name = name.strip_suffix(".toml").expect("a file of src/providers/ ends in .toml");
        let file = std::fs::read_to_string(&path).expect("a file of src/providers/");
        lengths.push((name.len(), file.len()));
        text += name;
        text += &file;
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    std::fs::write(out.join("providers.txt"), text).expect("OUT_DIR can be written");
    std::fs::write(out.join("providers.rs"), format!("&{lengths:?}")).expect("OUT_DIR can be written");
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
