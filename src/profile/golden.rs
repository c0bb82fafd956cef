//! The golden files of tests/providers, for the tests of those that send requests and read replies.

use crate::provider::built_in;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A reply that is known, and what tok makes of it.
pub struct Golden {
    /// The provider.
    pub provider: &'static str,
    /// Its grant.
    pub grant: String,
    /// The file of the reply: status line, headers, body.
    pub file: PathBuf,
    /// What `token-….json` or `error-….json` has.
    pub read: Value,
    /// Whether it is a token.
    pub is_token: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/providers")
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// All of them, by provider and grant.
pub fn all() -> Vec<Golden> {
    let of_grant = |provider: &'static str, folder: PathBuf| {
        let grant = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_string();
        let replies = below(&folder).into_iter().filter_map(move |file| {
            let case = file.file_name()?.to_str()?.strip_prefix("reply")?.strip_suffix(".http")?.to_string();
            let read = |kind: &str| fs::read_to_string(file.with_file_name(format!("{kind}{case}.json"))).ok();
            let (text, is_token) = match read("token") {
                Some(text) => (text, true),
                None => (read("error").unwrap_or_else(|| panic!("{}: is neither", file.display())), false),
            };
            let read = serde_json::from_str(&text).expect("JSON");
            Some(Golden { provider, grant: grant.clone(), file, read, is_token })
        });
        replies.collect::<Vec<_>>()
    };
    let folders = |name: &str| below(&root().join(name)).into_iter().filter(|path| path.is_dir());
    built_in().flat_map(|one| folders(one.name).flat_map(move |folder| of_grant(one.name, folder))).collect()
}

/// The values that the golden files of a grant give.
pub fn values(provider: &str, grant: &str) -> BTreeMap<String, String> {
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: toml_edit::DocumentMut =
        read(root().join(provider).join(grant).join("values.toml")).parse().expect("TOML");
    let text = |text: &str| match text.strip_prefix('@') {
        // A whole key file of a cloud would be taken for a leak: its key is put in here.
        Some(file) => {
            read(root().join(file)).replace(r#""[rsa.pem]""#, &Value::from(read(root().join("rsa.pem"))).to_string())
        }
        None => text.to_string(),
    };
    table.iter().map(|(name, value)| (name.to_string(), text(value.as_str().expect("a string")))).collect()
}
