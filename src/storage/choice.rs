//! Which store keeps refresh tokens and secrets: one of this machine (`keyring`, `file`, `helper:NAME`), one that many
//! machines share (`vault:MOUNT/FOLDER`, `kubernetes:NAMESPACE/PREFIX`, `program:NAME`), or `none`.

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
    /// A KV version 2 secrets engine of a vault.
    Vault {
        /// Where it is mounted.
        mount: String,
        /// The folder in it; empty: its root.
        folder: String,
    },
    /// Secrets of a Kubernetes cluster.
    Kubernetes {
        /// Their namespace.
        namespace: String,
        /// What their names begin with.
        prefix: String,
    },
    /// `tok-store-NAME` on PATH.
    Program(String),
}

impl StoreChoice {
    /// Reads the choice as a config has it; the error says what is expected.
    pub fn parse(text: &str) -> std::result::Result<StoreChoice, String> {
        match text {
            "keyring" => Ok(StoreChoice::Keyring),
            "file" => Ok(StoreChoice::File),
            "none" => Ok(StoreChoice::None),
            // Each would start the next.
            "helper:tok" => Err("helper:tok is tok itself, which stores nothing for others".into()),
            _ => {
                let choice = match text.split_once(':') {
                    Some(("helper", name)) if is_helper_name(name) => Some(StoreChoice::Helper(name.into())),
                    Some(("program", name)) if is_helper_name(name) => Some(StoreChoice::Program(name.into())),
                    Some(("vault", place)) => vault(place),
                    Some(("kubernetes", place)) => kubernetes(place),
                    _ => None,
                };
                choice.ok_or_else(|| {
                    format!(
                        "`{}` is not a store; expected keyring, file, none, helper:NAME, vault:MOUNT/FOLDER, kubernetes:NAMESPACE/PREFIX or program:NAME",
                        crate::base::text::escape_to(text, 60)
                    )
                })
            }
        }
    }

    /// Whether other machines see what it holds.
    pub fn is_shared(&self) -> bool {
        matches!(self, StoreChoice::Vault { .. } | StoreChoice::Kubernetes { .. } | StoreChoice::Program(_))
    }
}

impl std::fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreChoice::Keyring => f.write_str("keyring"),
            StoreChoice::File => f.write_str("file"),
            StoreChoice::None => f.write_str("none"),
            StoreChoice::Helper(name) => write!(f, "helper:{name}"),
            StoreChoice::Vault { mount, folder } if folder.is_empty() => write!(f, "vault:{mount}"),
            StoreChoice::Vault { mount, folder } => write!(f, "vault:{mount}/{folder}"),
            StoreChoice::Kubernetes { namespace, prefix } => write!(f, "kubernetes:{namespace}/{prefix}"),
            StoreChoice::Program(name) => write!(f, "program:{name}"),
        }
    }
}

/// A helper's name becomes part of a program's name, so it holds nothing that could lead elsewhere.
pub fn is_helper_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

/// `MOUNT/FOLDER`: the parts of a path, each of visible characters without those that mean something in a URL.
fn vault(place: &str) -> Option<StoreChoice> {
    let is_part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if !place.split('/').all(is_part) {
        return None;
    }
    let (mount, folder) = place.split_once('/').unwrap_or((place, ""));
    Some(StoreChoice::Vault { mount: mount.into(), folder: folder.into() })
}

/// `NAMESPACE/PREFIX`: what may stand in the name of a namespace, and begin the name of a Secret (RFC 1123).
fn kubernetes(place: &str) -> Option<StoreChoice> {
    let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_label =
        |text: &str| begins(text) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let (namespace, prefix) = place.split_once('/')?;
    let fits = is_label(namespace) && !namespace.ends_with('-') && namespace.len() <= 63 && prefix.len() <= 100;
    (fits && is_label(prefix)).then(|| StoreChoice::Kubernetes { namespace: namespace.into(), prefix: prefix.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_shown_as_it_is_written() {
        for text in [
            "keyring",
            "file",
            "none",
            "helper:pass",
            "vault:secret",
            "vault:secret/ci/tok",
            "kubernetes:jobs/tok-",
            "program:sqlite",
        ] {
            assert_eq!(StoreChoice::parse(text).map(|choice| choice.to_string()), Ok(text.to_string()));
        }
        for text in [
            "",
            "vault:",
            "vault:/x",
            "vault:x/",
            "vault:a//b",
            "vault:a/../b",
            "vault:a?b",
            "kubernetes:",
            "kubernetes:jobs",
            "kubernetes:jobs/",
            "kubernetes:Jobs/tok-",
            "kubernetes:jobs/a/b",
            "program:",
            "program:a/b",
        ] {
            assert!(StoreChoice::parse(text).is_err(), "{text}");
        }
    }
}
