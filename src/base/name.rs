//! The syntax of names: of profiles, providers and grants, of values, and of their variables.

/// Whether `name` may name a profile, a provider or a grant: `[a-z0-9][a-z0-9-]{0,62}`, `help` excepted.
pub fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && name != "help"
}

/// Whether `name` has the form of a value's name: `[a-z][a-z0-9_]*`.
pub fn is_value_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The config keys of a profile itself, which cannot be a value's name.
pub const CONFIG_KEYS: &[&str] = &[
    "provider",
    "grant",
    "store",
    "cache",
    "min_ttl",
    "ca_file",
    "client_metadata_url",
    "share",
    "hosts",
    "on",
    "profile",
    "vault",
];

/// Those of [`CONFIG_KEYS`] that a profile may have; the others stand at the top alone.
pub fn profile_keys<'a>() -> impl Iterator<Item = &'a str> {
    CONFIG_KEYS.iter().copied().filter(|key| !["profile", "vault"].contains(key))
}
