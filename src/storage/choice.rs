//! Which store keeps refresh tokens and secrets: `keyring`, `file`, `none` or `helper:NAME`.

/// Where refresh tokens and stored secrets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// The platform's keyring.
    Keyring,
    /// `<data>/tok/secrets.json`.
    File,
    /// Nowhere.
    None,
    /// `docker-credential-NAME` on PATH.
    Helper(String),
}

impl StoreChoice {
    /// Reads `keyring`, `file`, `none` or `helper:NAME`; the error says what is expected.
    pub fn parse(text: &str) -> std::result::Result<StoreChoice, String> {
        match text {
            "keyring" => Ok(StoreChoice::Keyring),
            "file" => Ok(StoreChoice::File),
            "none" => Ok(StoreChoice::None),
            // Each would start the next.
            "helper:tok" => Err("helper:tok is tok itself, which stores nothing for others".into()),
            _ => match text.strip_prefix("helper:") {
                Some(name) if is_helper_name(name) => Ok(StoreChoice::Helper(name.into())),
                _ => Err(format!(
                    "`{}` is not a store; expected keyring, file, none or helper:NAME",
                    crate::base::text::escape_to(text, 60)
                )),
            },
        }
    }
}

impl std::fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreChoice::Keyring => f.write_str("keyring"),
            StoreChoice::File => f.write_str("file"),
            StoreChoice::None => f.write_str("none"),
            StoreChoice::Helper(name) => write!(f, "helper:{name}"),
        }
    }
}

/// A helper's name becomes part of a program's name, so it holds nothing that could lead elsewhere.
pub fn is_helper_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}
