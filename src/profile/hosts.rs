//! Which API gets a profile's token: decided by origin, exact in scheme, host and port.

use super::config::ProfileConfig;
use super::{Home, Profile};
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::provider::Template;
use crate::token::Token;
use std::collections::BTreeMap;

impl Profile {
    /// The origins that a request with this profile's `token` may go to: those of `[use] hosts`, by default that of the
    /// base URL, and the profile's `hosts`. Without a token, what its reply told is not among them.
    pub fn api_home(&self, token: Option<&Token>) -> Home {
        let of_provider = match &self.provider.usage.hosts {
            Some(hosts) => {
                let values = self.known_values().unwrap_or_default();
                let known = |name: &str| values.get(name).map(|value| value.as_str());
                hosts.iter().filter_map(|host| origin(&host.fill(known).ok()?)).collect()
            }
            None => self.value("base_url").iter().filter_map(|url| origin(url)).collect::<Vec<_>>(),
        };
        let told = token.iter().flat_map(|token| &token.hosts).cloned();
        Home::any_of(of_provider.into_iter().chain(told).chain(self.config.hosts.iter().cloned()))
    }

    /// Whether a request to `origin`, in the form of [`Url::origin`], may carry this profile's `token`.
    pub fn may_have_token(&self, origin: &str, token: Option<&Token>) -> bool {
        self.api_home(token).allows(origin)
    }

    /// Whether the reply tells hosts of the API, so that they are not known without a token.
    pub fn is_told_hosts(&self) -> bool {
        let names = self.provider.usage.hosts.iter().flatten().flat_map(Template::names);
        names.into_iter().any(|(name, _)| self.provider.param(name).is_none())
    }

    /// The origins of the API by what a reply from `from` has told, `told`. This machine and its neighbours are no API of
    /// a server elsewhere.
    pub fn hosts_told(&self, told: &BTreeMap<String, Secret>, from: &str) -> Vec<String> {
        let values = self.known_values().unwrap_or_default();
        let known = |name: &str| told.get(name).map(Secret::expose).or(values.get(name).map(|value| value.as_str()));
        let is_told = |host: &&Template| host.names().any(|(name, _)| told.contains_key(name));
        let is_local = |url: &str| Url::parse(url).is_ok_and(|url| crate::base::url::is_local(url.host));
        let hosts = self.provider.usage.hosts.iter().flatten().filter(is_told);
        let origins = hosts.filter_map(|host| origin(&host.fill(known).ok()?));
        origins.filter(|origin| !is_local(origin) || is_local(from)).collect()
    }
}

/// The origin of a URL, or of a host alone.
fn origin(text: &str) -> Option<String> {
    match text.contains("://") {
        true => Url::parse(text).ok().map(|url| url.origin()),
        false => crate::base::url::host_origin(text).ok(),
    }
}

impl ProfileConfig {
    /// Whether a credential helper may answer for `origin`, in the form of [`Url::origin`]: the profile's own `hosts` name
    /// it.
    pub fn answers_for(&self, origin: &str) -> bool {
        self.hosts.iter().any(|own| own == origin)
    }
}

#[cfg(test)]
mod tests {
    use crate::host::testing::World;
    use crate::profile::testing::{flags, resolve};
    use crate::profile::{Profile, Wishes};

    const PROVIDER: &str = "[params.base_url]\ndefault = \"https://login.example\"\n\
        [request]\nurl = \"{base_url}/token\"\n[grants.secret]\nbody = { a = \"b\" }\n";

    fn profile(more: &str, config: &str, wishes: &Wishes) -> Profile {
        resolve(&World::new().host, &format!("{PROVIDER}{more}"), config, wishes).expect("a profile")
    }

    #[test]
    fn the_base_url_and_the_profiles_hosts_by_default() {
        let own = profile("", "hosts = [\"api.example\", \"api.example:8443\"]", &Wishes::default());
        for origin in ["https://login.example", "https://api.example", "https://api.example:8443"] {
            assert!(own.may_have_token(origin, None), "{origin}");
        }
        // The published cases of gh (CVE-2024-53858, CVE-2026-48501) and containerd (CVE-2020-15157).
        for origin in [
            "http://api.example",
            "https://api.example:444",
            "https://sub.api.example",
            "https://evil-api.example",
            "https://api.example.evil",
            "https://api.example.",
            "https://example",
            "",
        ] {
            assert!(!own.may_have_token(origin, None), "{origin}");
        }
        let moved = profile("", "", &flags(&[("base_url", "https://other.example/login")]));
        assert!(
            moved.may_have_token("https://other.example", None) && !moved.may_have_token("https://login.example", None)
        );
    }

    #[test]
    fn hosts_of_the_provider_stand_in_place_of_the_base_url() {
        let own = profile("[use]\nhosts = [\"api.example\"]\n", "hosts = [\"my.example\"]", &Wishes::default());
        assert!(own.may_have_token("https://api.example", None) && own.may_have_token("https://my.example", None));
        assert!(!own.may_have_token("https://login.example", None));
        let none = profile("[use]\nhosts = []\n", "", &Wishes::default());
        assert!(!none.may_have_token("https://login.example", None));
    }

    #[test]
    fn credential_helpers_answer_for_the_profiles_own_hosts_alone() {
        let own = profile("[use]\nhosts = [\"api.example\"]\n", "hosts = [\"git.example\"]", &Wishes::default());
        assert!(own.config.answers_for("https://git.example"));
        for origin in ["https://api.example", "https://login.example", "http://git.example", "https://git.example:8443"]
        {
            assert!(!own.config.answers_for(origin), "{origin}");
        }
    }
}
