//! The syntax of names: of profiles, providers and grants, of values, and of their variables.

/// Whether `name` may name a profile, a provider or a grant: `[a-z0-9][a-z0-9-]{0,62}`, `help` excepted.
pub fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && name != "help"
}

/// The name that is most like `text`: `my.Shop` is `my-shop`.
pub fn name_like(text: &str) -> String {
    let part = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(part).skip_while(|c| *c == '-').take(63).collect();
    Some(name.trim_end_matches('-').to_string()).filter(|name| is_name(name)).unwrap_or("my-provider".into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_like_a_name() {
        for (text, like) in [
            ("my.zuora", "my-zuora"),
            ("Acme", "acme"),
            ("_acme_eu_", "acme-eu"),
            ("acme", "acme"),
            ("...", "my-provider"),
            ("help", "my-provider"),
            ("é", "my-provider"),
        ] {
            assert_eq!(name_like(text), like, "{text}");
        }
        assert!(is_name(&name_like(&"a.".repeat(100))));
    }
}
