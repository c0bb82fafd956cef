//! What to do for a token when the cache has none: refresh, run a grant, or say what is missing. Pure.

use crate::provider::{Discover, Grant, Param, Provider};

/// What the decision rests on.
pub struct Situation<'a> {
    /// The provider.
    pub provider: &'a Provider,
    /// `--grant`.
    pub asked: Option<&'a str>,
    /// The grant that the profile names.
    pub configured: Option<&'a str>,
    /// Whether a refresh token is at hand.
    pub refresh_token: bool,
    /// The setting that contradicts the kept session, if one does.
    pub contradiction: Option<&'a str>,
    /// Whether a value is known without asking a person.
    pub known: &'a dyn Fn(&str) -> bool,
}

/// The next step.
#[derive(Debug, PartialEq)]
pub enum Step<'a> {
    /// Use the refresh token.
    Refresh,
    /// Run this non-interactive grant.
    Run(&'a Grant),
    /// A person is needed: this grant lacks these values, or is one that a person must help with.
    LoginNeeded(&'a Grant, Vec<String>),
}

impl PartialEq for Grant {
    fn eq(&self, other: &Grant) -> bool {
        self.name == other.name
    }
}

/// Decides. A refresh token comes first; then the grant that was asked for, the profile's, the provider's first.
pub fn next<'a>(situation: &Situation<'a>) -> Step<'a> {
    let provider = situation.provider;
    let refresh = provider.refresh_grant();
    if let Some(refresh) = refresh
        && situation.refresh_token
        && situation.contradiction.is_none()
        && missing(provider, refresh, situation.known).iter().all(|name| name == "refresh_token")
    {
        return Step::Refresh;
    }
    run(situation, situation.asked.or(situation.configured))
}

/// Decides after a refresh token has died: the provider's `fallback`, else as if there had been none.
pub fn after_death<'a>(situation: &Situation<'a>) -> Step<'a> {
    let fallback = situation.provider.refresh.as_ref().and_then(|r| r.fallback.as_deref());
    run(situation, fallback.or(situation.asked).or(situation.configured))
}

fn run<'a>(situation: &Situation<'a>, wanted: Option<&str>) -> Step<'a> {
    let provider = situation.provider;
    // The refresh grant cannot run without its token; the login that returns one can.
    let is_refresh = |grant: &Grant| provider.refresh.as_ref().is_some_and(|r| r.grant == grant.name);
    let first = || provider.grants.iter().find(|g| !is_refresh(g)).unwrap_or(&provider.grants[0]);
    let grant = wanted.and_then(|name| provider.grant(name)).unwrap_or_else(first);
    let missing = missing(provider, grant, situation.known);
    match missing.is_empty() && !grant.flow.needs_person() {
        true => Step::Run(grant),
        false => Step::LoginNeeded(grant, missing),
    }
}

/// The values that `grant` needs and that are not known; `refresh_token` among them.
pub fn missing(provider: &Provider, grant: &Grant, known: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut missing = Vec::new();
    let mut check: Vec<(String, bool)> = grant.needs(known).into_iter().collect();
    let is_found = |name: &str| grant.keeps().any(|kept| kept.name == name);
    let used = provider.usage.names().into_iter().filter(|(name, _)| provider.param(name).is_some() && !is_found(name));
    check.extend(used);
    if provider.ends_elsewhere(grant, known) {
        check.push(("redirect_url".into(), false));
    }
    let mut seen = Vec::new();
    while let Some((name, optional)) = check.pop() {
        if optional || seen.contains(&name) || known(&name) {
            continue;
        }
        seen.push(name.clone());
        let param = provider.param(&name);
        let own = grant.defaults.iter().find(|(n, _)| *n == name);
        match (own, param.map(Param::leads_to)) {
            (Some((_, default)), _) => check.extend(default.names().map(|(n, o)| (n.to_string(), o))),
            // A default without a value in it leads nowhere, and is enough.
            (None, Some(to)) if !to.is_empty() || param.is_some_and(|p| p.default.is_some()) => check.extend(to),
            _ if param.is_some_and(|p| p.metadata.is_some()) && !known("issuer") => match provider.discover {
                Discover::Nothing => missing.push(name),
                Discover::Issuer => check.push(("issuer".into(), false)),
                Discover::Resource => check.push(("resource".into(), false)),
            },
            // A login finds one or registers one.
            _ if name == "client_id" && provider.discover == Discover::Resource => {}
            // The session has it.
            _ if param.is_none() && provider.found().any(|found| found == name) => {}
            _ => missing.push(name),
        }
    }
    // In the order of the file: a person is asked in that order too.
    missing.sort_by_key(|name| provider.params.iter().position(|p| p.name == *name));
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(provider: &str, known: &[&str], change: impl Fn(&mut Situation)) -> String {
        let provider = Provider::built_in(provider).expect("built in").expect("a provider");
        let is_known = |name: &str| known.contains(&name);
        let mut situation = Situation {
            provider: &provider,
            asked: None,
            configured: None,
            refresh_token: false,
            contradiction: None,
            known: &is_known,
        };
        change(&mut situation);
        match next(&situation) {
            Step::Refresh => "refresh".into(),
            Step::Run(grant) => format!("run {}", grant.name),
            Step::LoginNeeded(grant, missing) => format!("login {} {}", grant.name, missing.join(" ")),
        }
    }

    #[test]
    fn a_refresh_token_comes_first_unless_it_is_another_accounts() {
        assert_eq!(step("purewl", &["secret_key"], |s| s.refresh_token = true), "refresh");
        let contradicted = |s: &mut Situation| (s.refresh_token, s.contradiction) = (true, Some("x"));
        assert_eq!(step("purewl", &["secret_key"], contradicted), "run secret");
        assert_eq!(step("purewl", &[], contradicted), "login secret secret_key");
    }

    #[test]
    fn a_non_interactive_grant_runs_and_no_other_is_chosen_silently() {
        assert_eq!(step("xcover", &["client_id", "client_secret"], |_| ()), "run client-credentials");
        assert_eq!(step("elasticpath", &["client_id"], |_| ()), "login client-credentials client_secret");
        assert_eq!(step("elasticpath", &["client_id"], |s| s.asked = Some("implicit")), "run implicit");
        assert_eq!(step("elasticpath", &["client_id"], |s| s.configured = Some("implicit")), "run implicit");
        assert_eq!(step("apiax", &[], |_| ()), "login password username password");
        assert_eq!(
            step("apiax", &["username", "password"], |s| s.asked = Some("refresh")),
            "login refresh refresh_token"
        );
    }
}
