//! What is known of a provider besides its requests: what it is for, where a client is registered, with which redirect URI.

use super::template::Template;
use super::types::{Flow, Grant, Param, Provider};

/// What is known of a provider besides how it is asked.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What it is for: it is listed with others of its kind.
    pub kind: Option<&'static str>,
    /// How sure its facts are.
    pub verified: Option<&'static str>,
    /// The day on which they were looked up: `2026-11-28`.
    pub verified_on: Option<String>,
    /// The page on which a client is registered.
    pub register: Option<String>,
    /// The redirect URIs that a client may have.
    pub redirect: Option<RedirectUris>,
}

impl About {
    /// The kind of those that are for any server of a standard.
    pub const STANDARD: &str = "standard";
    /// What a provider may be for.
    pub const KINDS: &[&str] = &[
        Self::STANDARD,
        "identity",
        "developer",
        "cloud",
        "security",
        "work",
        "mail",
        "social",
        "commerce",
        "money",
        "media",
        "health",
        "home",
        "travel",
        "data",
        "government",
    ];
    /// `wire`: requests or replies were seen; `docs`: its own documents say so; `list`: others' lists say so.
    pub const VERIFIED: &[&str] = &["wire", "docs", "list"];
}

/// The redirect URIs that a provider takes from a client on a person's machine (RFC 8252 §7.3 and §8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectUris {
    /// `http://127.0.0.1` with any port.
    AnyPort,
    /// `http://localhost` with any port.
    Localhost,
    /// A loopback address, exactly as registered.
    Exact,
    /// Likewise, by the name `localhost` alone.
    ExactLocalhost,
    /// None on this machine.
    Https,
}

impl RedirectUris {
    /// All of them by their names in a provider file.
    pub const ALL: &[(&str, Option<RedirectUris>)] = &[
        ("any-port", Some(RedirectUris::AnyPort)),
        ("localhost", Some(RedirectUris::Localhost)),
        ("exact", Some(RedirectUris::Exact)),
        ("exact-localhost", Some(RedirectUris::ExactLocalhost)),
        ("https", Some(RedirectUris::Https)),
    ];
    /// The port of those that are registered with one: no system gives it to a connection by itself, and no service has it.
    const PORT: &str = "28650";

    /// Its name in a provider file.
    pub fn name(self) -> &'static str {
        RedirectUris::ALL.iter().find(|(_, known)| *known == Some(self)).map_or("", |(name, _)| name)
    }

    /// Whether a registered one has a port.
    pub fn is_exact(self) -> bool {
        matches!(self, RedirectUris::Exact | RedirectUris::ExactLocalhost)
    }

    /// What `param` is by default, if it is a part of the redirect URI that follows from this.
    pub(super) fn default_of(self, param: &Param) -> Option<Template> {
        let is_by_name = matches!(self, RedirectUris::Localhost | RedirectUris::ExactLocalhost);
        match param.name.as_str() {
            "redirect_host" if is_by_name => Some(Template::text("localhost")),
            "redirect_port" if self.is_exact() => Some(Template::text(RedirectUris::PORT)),
            _ => None,
        }
    }
}

impl Provider {
    /// The redirect URI that a client is registered with, where the file says which may be one; `value`: what is in force.
    /// One that may have any port has none.
    pub fn redirect_uri(&self, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let takes = self.about.redirect?;
        value("redirect_url").or_else(|| {
            let host = value("redirect_host").unwrap_or_else(|| "127.0.0.1".into());
            let port = value("redirect_port").map(|port| format!(":{port}")).unwrap_or_default();
            let path = value("redirect_path").unwrap_or_else(|| "/".into());
            // A sandbox may take one where the rest does not: then it is given.
            let is_here = takes != RedirectUris::Https || !port.is_empty();
            is_here.then(|| format!("http://{host}{port}{path}"))
        })
    }

    /// Whether a login by `grant` ends elsewhere than on this machine, at an address of the client's own.
    pub fn ends_elsewhere(&self, grant: &Grant, known: &dyn Fn(&str) -> bool) -> bool {
        grant.flow == Flow::AuthorizationCode
            && self.about.redirect == Some(RedirectUris::Https)
            && self.param("redirect_url").is_some()
            && !known("redirect_port")
    }
}
