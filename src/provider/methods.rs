//! Queries on a provider file: its grants and values by name, what a call needs, how a value is sent.

use super::client::*;
use super::template::Template;
use super::types::*;
use super::{built_in, parse};
use crate::base::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

impl Flow {
    /// The short names of flows, which no grant may have.
    pub const SHORT_NAMES: [&'static str; 2] = ["browser", "device"];

    /// What a provider file calls them; a plain request has no name.
    pub const NAMES: [(&'static str, Flow); 4] = [
        ("authorization-code", Flow::AuthorizationCode),
        ("device-code", Flow::DeviceCode),
        ("ciba", Flow::Ciba),
        ("signed", Flow::Signed),
    ];

    /// What a provider file calls it.
    pub fn name(self) -> Option<&'static str> {
        Flow::NAMES.iter().find(|(_, flow)| *flow == self).map(|(name, _)| *name)
    }

    /// Its short name, where it has one.
    pub fn short_name(self) -> Option<&'static str> {
        match self {
            Flow::AuthorizationCode => Some("browser"),
            Flow::DeviceCode => Some("device"),
            Flow::Direct | Flow::Signed | Flow::Ciba => None,
        }
    }

    /// Whether it needs a person.
    pub fn needs_person(self) -> bool {
        matches!(self, Flow::AuthorizationCode | Flow::DeviceCode | Flow::Ciba)
    }

    /// The values that control it.
    pub fn takes(self) -> &'static [&'static str] {
        match self {
            Flow::AuthorizationCode => {
                &["issuer", "jwks_url", "redirect_host", "redirect_port", "redirect_path", "redirect_url"]
            }
            Flow::DeviceCode | Flow::Ciba => &["issuer", "jwks_url"],
            Flow::Direct | Flow::Signed => &[],
        }
    }

    /// The values that it determines itself.
    pub fn finds(self) -> &'static [&'static str] {
        match self {
            Flow::Direct | Flow::Signed => &[],
            Flow::AuthorizationCode => &["code", "redirect_uri", "state", "nonce", "code_verifier", "code_challenge"],
            Flow::DeviceCode => &["device_code", "user_code", "code_verifier", "code_challenge"],
            Flow::Ciba => &["auth_req_id"],
        }
    }

    /// What of that later requests may need again.
    pub fn leaves(self) -> &'static [&'static str] {
        match self {
            Flow::AuthorizationCode => &["redirect_uri"],
            Flow::Direct | Flow::Signed | Flow::DeviceCode | Flow::Ciba => &[],
        }
    }
}

impl Provider {
    /// Reads the file `text` of the provider `name`; `file` is shown in errors.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Config`] with line and column.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Provider> {
        parse::provider(name, file, text, parse::Check::Whole)
    }

    /// All that is wrong with such a file, in the order of its lines; see [`Provider::parse`].
    pub fn check(name: &str, file: &str, text: &str) -> (Provider, Vec<Error>) {
        let (provider, findings) = parse::read(name, file, text, parse::Check::Whole);
        (provider, in_order(findings))
    }

    /// What the author of such a file, in which nothing is wrong, should look at all the same; in the order of its lines.
    pub fn advice(&self, file: &str, text: &str) -> Vec<Error> {
        in_order(parse::advice(self, file, text))
    }

    /// The built-in provider of that name. Its file is checked by a test (`tests/providers.rs`).
    pub fn built_in(name: &str) -> Option<Result<Provider>> {
        let found = built_in().find(|built_in| built_in.name == name)?;
        Some(parse::provider(name, &format!("(built in) {name}.toml"), found.text, parse::Check::Built))
    }

    /// The name of the built-in provider that knows any server by its issuer: those of one vendor say what else they are
    /// for.
    pub fn by_issuer() -> Option<&'static str> {
        let is_it = |provider: Result<Provider>| provider.is_ok_and(|it| it.discover == Discover::Issuer);
        let mut standards = built_in().filter(|one| one.kind() == super::About::STANDARD).map(|one| one.name);
        standards.find(|name| Provider::built_in(name).is_some_and(is_it))
    }

    /// The grant of that name, or of that short name: the first of its flow.
    pub fn grant(&self, name: &str) -> Option<&Grant> {
        self.grants.iter().find(|g| g.name == name)
    }

    /// The short name of `grant`: of the first of its flow alone.
    pub fn short_grant_name(&self, grant: &Grant) -> Option<&'static str> {
        let first = self.grants.iter().find(|other| other.flow == grant.flow);
        grant.flow.short_name().filter(|_| first.is_some_and(|first| first.name == grant.name))
    }

    /// The name of the grant that `name` is the short name of, else `name`.
    pub fn full_grant_name<'n>(&'n self, name: &'n str) -> &'n str {
        self.grants.iter().find(|g| self.short_grant_name(g) == Some(name)).map_or(name, |grant| &grant.name)
    }

    /// The value of that name.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|p| p.name == name)
    }

    /// Puts what is set by the choices that are made into the defaults: those that `value` names, else the default ones.
    pub fn choose<'v>(&mut self, value: impl Fn(&str) -> Option<&'v str>) {
        let mut chosen = Vec::new();
        for param in self.params.iter().filter(|param| !param.sets.is_empty()) {
            let choice = value(&param.name).or(param.default.as_ref().and_then(Template::literal));
            let set = param.sets.iter().find(|(name, _)| Some(name.as_str()) == choice);
            chosen.extend(set.into_iter().flat_map(|(_, set)| set.clone()));
        }
        for (name, template) in chosen {
            if let Some(param) = self.params.iter_mut().find(|param| param.name == name) {
                param.default = Some(template);
            }
        }
    }

    /// Whether the file itself has `text` as the value `name`.
    pub fn writes(&self, name: &str, text: &str) -> bool {
        self.param(name).is_some_and(|param| param.writes(text))
    }

    /// What a login finds that later requests may use: fields of its reply, and what its flow leaves.
    pub fn found(&self) -> impl Iterator<Item = &str> {
        let extras = self.grants.iter().flat_map(|grant| &grant.response.extra).map(|(name, _)| name.as_str());
        let leaves = self.grants.iter().flat_map(|grant| grant.flow.leaves().iter().copied());
        extras.chain(leaves).chain(self.grants.iter().flat_map(Grant::keeps).map(|kept| kept.name.as_str()))
    }

    /// Whether a reply may tell `name`.
    pub fn is_extra(&self, name: &str) -> bool {
        self.grants.iter().flat_map(|grant| &grant.response.extra).any(|(extra, _)| extra == name)
    }

    /// What of that is used: when a token is, by a refresh, or to revoke and to ask about a token. It stays with the
    /// session.
    pub fn kept_names(&self) -> BTreeSet<String> {
        let calls = [&self.revoke, &self.introspect, &self.userinfo].into_iter().flatten();
        let calls = calls.chain(self.refresh_grant().map(|grant| &grant.call)).flat_map(Call::names);
        let mut all: BTreeSet<String> = calls.chain(self.usage.names()).map(|(name, _)| name).collect();
        all.retain(|name| self.param(name).is_none() && self.found().any(|found| found == name));
        all
    }

    /// The endpoint that `call` goes to, by its name in the issuer's metadata (RFC 8414 §2), if it has one.
    pub fn endpoint(&self, call: &Call) -> Option<&str> {
        call.url.names().find_map(|(name, _)| self.param(name)?.metadata.as_deref())
    }

    /// The grant that uses a refresh token, if there is one.
    pub fn refresh_grant(&self) -> Option<&Grant> {
        self.refresh.as_ref().and_then(|r| self.grant(&r.grant))
    }

    /// The values that `grant` uses, directly or through the default of another, with whether each is optional; not
    /// those that its flow determines.
    pub fn uses(&self, grant: &Grant) -> BTreeMap<String, bool> {
        let mut all = grant.names();
        if let Some(assertion) = &grant.assertion {
            all.extend(assertion.names().into_keys().map(|name| (name, true)));
            all.insert("assertion".into(), true);
        }
        all.extend(grant.flow.takes().iter().map(|name| (name.to_string(), true)));
        for (name, optional) in self.usage.names() {
            all.entry(name).and_modify(|was| *was = *was && optional).or_insert(optional);
        }
        // What a login finds need not be given, even if it is used with the token.
        for name in grant.keeps().map(|kept| &kept.name) {
            all.entry(name.clone()).and_modify(|optional| *optional = true);
        }
        let mut all = self.closure(all);
        if all.keys().any(|name| self.param(name).is_some_and(|p| p.metadata.is_some())) {
            // The endpoints come from the issuer, or the issuer is one way to them.
            let optional = self.discover != Discover::Issuer;
            all.entry("issuer".into()).and_modify(|was| *was = *was && optional).or_insert(optional);
            if self.discover != Discover::Nothing {
                let told = |name: &String| self.param(name).is_some_and(|p| p.metadata.is_some());
                all.iter_mut().filter(|(name, _)| told(name)).for_each(|(_, optional)| *optional = true);
            }
            all = self.closure(all);
        }
        all.retain(|name, _| self.param(name).is_some() || name == "refresh_token");
        all
    }

    /// `names`, and the names in the defaults of those.
    pub fn closure(&self, names: BTreeMap<String, bool>) -> BTreeMap<String, bool> {
        let mut all = names;
        let mut queue: Vec<(String, bool)> = all.iter().map(|(n, o)| (n.clone(), *o)).collect();
        while let Some((name, optional)) = queue.pop() {
            let Some(param) = self.param(&name) else { continue };
            for (inner, inner_optional) in param.leads_to() {
                let optional = optional || inner_optional;
                if all.get(&inner).is_none_or(|was| *was && !optional) {
                    all.insert(inner.clone(), optional);
                    queue.push((inner, optional));
                }
            }
        }
        all
    }

    /// The values that a session uses beside its grant: to be revoked and asked about.
    pub fn uses_besides(&self) -> BTreeMap<String, bool> {
        let calls = [&self.revoke, &self.introspect, &self.userinfo].into_iter().flatten();
        let names = calls.flat_map(Call::names).map(|(name, _)| (name, true));
        let mut all = self.closure(names.chain([("jwks_url".to_string(), true)]).collect());
        all.retain(|name, _| self.param(name).is_some());
        all
    }

    /// The values that its requests take: a file that is like another need not offer all of that one's grants.
    pub fn used_params(&self) -> Vec<&Param> {
        let mut used = self.uses_besides();
        used.extend(self.grants.iter().flat_map(|grant| self.uses(grant)));
        self.params.iter().filter(|param| used.contains_key(&param.name)).collect()
    }

    /// All its requests, to be changed.
    pub fn calls_mut(&mut self) -> impl Iterator<Item = &mut Call> {
        let grants = self.grants.iter_mut().flat_map(|grant| {
            let steps = grant.steps.iter_mut().map(|step| &mut step.call);
            steps.chain([Some(&mut grant.call), grant.begin.as_mut()].into_iter().flatten())
        });
        let others = [self.revoke.as_mut(), self.introspect.as_mut(), self.userinfo.as_mut()];
        grants.chain(others.into_iter().flatten())
    }

    /// Whether `grant` sends a person's own secret: it is never repeated automatically.
    pub fn is_personal(&self, grant: &Grant) -> bool {
        self.uses(grant).keys().any(|name| self.param(name).is_some_and(|p| p.personal))
    }
}

impl Param {
    /// The values that it is derived from if it is not given, and whether each is optional.
    pub fn leads_to(&self) -> Vec<(String, bool)> {
        let default =
            self.default.iter().flat_map(Template::names).map(|(name, optional)| (name.to_string(), optional));
        let chosen = self.chosen_by.iter().map(|by| (by.clone(), self.default.is_some()));
        default.chain(self.inside.iter().map(|inside| (inside.value.clone(), false))).chain(chosen).collect()
    }

    /// Whether the provider file itself has `text` as this value, so that it may have dots where it is part of a host.
    fn writes(&self, text: &str) -> bool {
        self.choices.iter().any(|choice| choice == text)
            || self.default.as_ref().and_then(Template::literal) == Some(text)
    }

    /// `text` as it is sent.
    pub fn as_sent(&self, text: &str) -> Zeroizing<String> {
        let text = self.until.as_ref().and_then(|end| text.split_once(end.as_str())).map_or(text, |(start, _)| start);
        Zeroizing::new(if self.upper { text.to_uppercase() } else { text.to_string() })
    }
}

impl Grant {
    /// The most steps that a grant may have.
    pub const MOST_STEPS: usize = 4;

    /// Its requests, in the order in which they are sent.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        let before = self.steps_before().map(|step| &step.call);
        let after = self.steps_after().map(|step| &step.call);
        before.chain(&self.begin).chain(after).chain(std::iter::once(&self.call))
    }

    /// The values that its requests use, with whether each is optional everywhere it stands.
    pub fn names(&self) -> BTreeMap<String, bool> {
        let mut all = self.call.names();
        let others = self.begin.iter().chain(self.steps.iter().map(|step| &step.call));
        for (name, optional) in others.flat_map(Call::names) {
            let known = all.entry(name).or_insert(optional);
            *known = *known && optional;
        }
        for (name, _) in self.push.iter().flat_map(Template::names) {
            all.entry(name.into()).or_insert(true);
        }
        if self.client != ClientRequirement::Optional && self.call.auth != Auth::None && self.call.client.is_none() {
            all.insert("client_id".into(), false);
        }
        all
    }

    /// The request that pushes the parameters of the authorization URL (RFC 9126 §2.1).
    pub fn pushed(&self) -> Option<Call> {
        let (push, begin) = (self.push.as_ref()?, self.begin.as_ref()?);
        Some(Call {
            url: push.clone(),
            method: Method::Post,
            encode: Encode::Form,
            query: Vec::new(),
            body: begin.query.iter().map(|(name, text)| (name.clone(), Field::Text(text.clone()))).collect(),
            auth: self.call.auth,
            auth_by: self.call.auth_by.clone(),
            ..begin.clone()
        })
    }

    /// The values that it needs, given by `known` which are available; not those that its flow determines.
    pub fn needs(&self, known: &dyn Fn(&str) -> bool) -> BTreeMap<String, bool> {
        let mut all = self.names();
        if let Some(assertion) = &self.assertion
            && !known("assertion")
        {
            all.remove("assertion");
            for (name, optional) in assertion.names() {
                let known = all.entry(name).or_insert(optional);
                *known = *known && optional;
            }
        }
        if self.client == ClientRequirement::Confidential
            && self.call.auth == Auth::Auto
            && !["client_secret", "client_assertion", "private_key"].iter().any(|name| known(name))
        {
            all.insert("client_secret".into(), false);
        }
        let found = self.finds();
        all.retain(|name, _| !found.contains(&name.as_str()));
        all
    }
}

impl Call {
    /// Applies what `value` says, if client authentication or DPoP are named by values.
    pub fn settle<'v>(&mut self, value: impl Fn(&str) -> Option<&'v str>) {
        let filled = |template: &Option<Template>| template.as_ref().and_then(|t| t.fill(&value).ok());
        if let Some(name) = filled(&self.auth_by) {
            self.auth = AUTHS.iter().find(|(n, _)| *n == name).map_or(Auth::Auto, |(_, auth)| *auth);
        }
        if let Some(text) = filled(&self.dpop_by) {
            self.dpop = text == "true";
        }
    }

    /// The values that client authentication takes, and whether each is optional.
    pub fn auth_names(&self) -> Vec<(String, bool)> {
        let mut all = Vec::new();
        for (name, optional) in self.auth.names() {
            match (&self.client, *name) {
                (Some(client), "client_id") => all.extend(client.id.names().map(|(n, o)| (n.to_string(), o))),
                (Some(client), "client_secret") => all.extend(client.secret.names().map(|(n, o)| (n.to_string(), o))),
                _ => all.push((name.to_string(), *optional)),
            }
        }
        all
    }

    /// Calls `f` with every template of its URL, header lines, query and body.
    pub fn each_template(&self, f: &mut impl FnMut(&Template)) {
        f(&self.url);
        self.headers.iter().chain(&self.query).for_each(|(_, template)| f(template));
        self.body.iter().for_each(|(_, field)| field.each_template(f));
    }

    /// [`Call::each_template`], to change them.
    pub fn each_template_mut(&mut self, f: &mut impl FnMut(&mut Template)) {
        f(&mut self.url);
        self.headers.iter_mut().chain(&mut self.query).for_each(|(_, template)| f(template));
        self.body.iter_mut().for_each(|(_, field)| field.each_template_mut(f));
    }

    /// The values it uses, with whether each is optional everywhere it stands.
    pub fn names(&self) -> BTreeMap<String, bool> {
        let mut all = BTreeMap::new();
        self.each_template(&mut |template| {
            for (name, optional) in template.names() {
                let known = all.entry(name.to_string()).or_insert(optional);
                *known = *known && optional;
            }
        });
        for (name, optional) in self.auth_names() {
            let known = all.entry(name).or_insert(optional);
            *known = *known && optional;
        }
        for (name, _) in self.auth_by.iter().chain(&self.dpop_by).flat_map(Template::names) {
            all.entry(name.into()).or_insert(true);
        }
        if let Some(name) = &self.more {
            all.entry(name.clone()).or_insert(true);
        }
        all
    }
}

/// `findings` in the order of the file, by `FILE:LINE:COLUMN`.
fn in_order(mut findings: Vec<Error>) -> Vec<Error> {
    findings.sort_by_key(|error| {
        let mut numbers = error.what.rsplitn(3, ':').map(|number| number.parse::<usize>().unwrap_or(0));
        let column = numbers.next();
        (numbers.next(), column)
    });
    findings
}
