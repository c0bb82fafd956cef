//! Gives the build an id: a digest of everything under `src/`, so that an answer cached by another build of `tok`
//! (another way to read a reply, another built-in provider) is never handed out by the short path.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "cargo speaks to a build script that way")]
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() {
    let mut hasher = DefaultHasher::new();
    std::env::var("CARGO_PKG_VERSION").ok().hash(&mut hasher);
    digest(Path::new("src"), &mut hasher);
    println!("cargo::rustc-env=TOK_BUILD_ID={:016x}", hasher.finish());
    println!("cargo::rerun-if-changed=src");
}

fn digest(folder: &Path, hasher: &mut DefaultHasher) {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("src/ can be read")
        .map(|entry| entry.expect("an entry of src/").path())
        .collect();
    paths.sort();
    for path in paths {
        path.hash(hasher);
        if path.is_dir() {
            digest(&path, hasher);
        } else {
            std::fs::read(&path).expect("a file of src/").hash(hasher);
        }
    }
}
