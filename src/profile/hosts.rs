//! Which API gets a profile's token: decided by origin, exact in scheme, host and port.

use super::config::ProfileConfig;
use super::{Home, Profile};
use crate::base::url::Url;

impl Profile {
    /// The origins that a request with this profile's token may go to: those of `[use] hosts`, by default that of the
    /// base URL, and the profile's `hosts`.
    pub fn api_home(&self) -> Home {
        let of_provider = match &self.provider.usage.hosts {
            Some(hosts) => hosts.clone(),
            None => self.value("base_url").iter().filter_map(|url| Some(Url::parse(url).ok()?.origin())).collect(),
        };
        Home::any_of(of_provider.into_iter().chain(self.config.hosts.iter().cloned()))
    }

    /// Whether a request to `origin`, in the form of [`Url::origin`], may carry this profile's token.
    pub fn may_have_token(&self, origin: &str) -> bool {
        self.api_home().allows(origin)
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
            assert!(own.may_have_token(origin), "{origin}");
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
            assert!(!own.may_have_token(origin), "{origin}");
        }
        let moved = profile("", "", &flags(&[("base_url", "https://other.example/login")]));
        assert!(moved.may_have_token("https://other.example") && !moved.may_have_token("https://login.example"));
    }

    #[test]
    fn hosts_of_the_provider_stand_in_place_of_the_base_url() {
        let own = profile("[use]\nhosts = [\"api.example\"]\n", "hosts = [\"my.example\"]", &Wishes::default());
        assert!(own.may_have_token("https://api.example") && own.may_have_token("https://my.example"));
        assert!(!own.may_have_token("https://login.example"));
        let none = profile("[use]\nhosts = []\n", "", &Wishes::default());
        assert!(!none.may_have_token("https://login.example"));
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
