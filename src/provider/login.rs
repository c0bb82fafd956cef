//! What a login finds on its way to the token: in the reply that it begins with, in the redirect, in the replies to the
//! steps before the request for the token.

use super::expiry::Expiry;
use super::template::{Piece, Template};
use super::types::{Call, Find, Rules, Test};
use super::{Grant, Provider};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The reply that a login on another device begins with, and the answers to the requests for its outcome (RFC 8628
/// §3.2 and §3.5). Places are JSON Pointers; the first that is found wins.
#[derive(Clone, Debug)]
pub struct Device {
    /// Where the device code is; empty: there is none.
    pub device_code: Vec<String>,
    /// Where the code for the person is; empty: the page needs none.
    pub user_code: Vec<String>,
    /// Where the address of the page is.
    pub verification_uri: Vec<String>,
    /// Where the address of the page with the code is.
    pub verification_uri_complete: Vec<String>,
    /// The page, if the reply does not name it.
    pub page: Option<Template>,
    /// Where the wait between the requests is, in seconds.
    pub interval: Vec<String>,
    /// Where the code's expiry is.
    pub expires: Vec<Expiry>,
    /// What else of the reply the later requests need.
    pub keep: Vec<Kept>,
    /// Which answers mean that the person has not decided.
    pub pending: Vec<Test>,
    /// Which mean that, and that the requests are too frequent.
    pub slow_down: Vec<Test>,
    /// Which mean that the person refused.
    pub denied: Vec<Test>,
    /// Which mean that the code has expired.
    pub expired: Vec<Test>,
}

/// A value that is found during a login. One of `[params]` is remembered with the others of the profile; any other is
/// for the requests of this login alone.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The name of the value.
    pub name: String,
    /// Where it is.
    pub at: Find,
    /// What it must be.
    pub shape: Shape,
}

/// A request on the way to the token, whose reply has what the next one needs.
#[derive(Clone, Debug)]
pub struct Step {
    /// The request.
    pub call: Call,
    /// Whether it is sent before the login begins, as a client is registered; else between what the person does and the
    /// request for the token.
    pub before: bool,
    /// How failures of its reply are told, and whether it is one.
    pub response: Arc<Rules>,
    /// What the reply has.
    pub keep: Vec<Kept>,
    /// The name of that of it which says until when the rest is good, in seconds since 1970; 0 is for ever.
    pub until: Option<String>,
}

/// What the browser brings back from an authorization request (RFC 6749 §4.1.2).
#[derive(Clone, Debug)]
pub struct Redirect {
    /// The names of the parameter that holds the code.
    pub code: Vec<String>,
    /// What else of the parameters is needed; each place is a name.
    pub keep: Vec<Kept>,
    /// What shows that it is about this login.
    pub state: State,
}

/// What shows that a redirect is about this login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `state` (RFC 6749 §10.12).
    Required,
    /// The server loses it: a random part of the redirect URI's path.
    Path,
    /// The server loses it and takes one redirect URI alone: nothing but who may know that a login is under way, and at
    /// which port.
    Lost,
}

/// What a value that is found must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Any text.
    Text,
    /// A URL of an origin that the provider may be at ([`Provider::sites`]).
    Url,
    /// The host of such a URL; the value is that URL.
    Host,
}

impl Grant {
    /// The values that it finds, in the order in which it does.
    pub fn keeps(&self) -> impl Iterator<Item = &Kept> {
        let steps = self.steps.iter().flat_map(|step| &step.keep);
        self.device.keep.iter().chain(&self.redirect.keep).chain(steps)
    }

    /// The steps before the login begins.
    pub fn steps_before(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.before)
    }

    /// The steps after it.
    pub fn steps_after(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !step.before)
    }

    /// [`Grant::keeps`], to be changed.
    pub fn keeps_mut(&mut self) -> impl Iterator<Item = &mut Kept> {
        let steps = self.steps.iter_mut().flat_map(|step| &mut step.keep);
        self.device.keep.iter_mut().chain(&mut self.redirect.keep).chain(steps)
    }

    /// Whether one of its requests, or its page, uses the value `name`.
    pub fn uses_found(&self, name: &str) -> bool {
        let in_page = self.device.page.iter().flat_map(Template::names).any(|(used, _)| used == name);
        in_page || self.calls().any(|call| call.names().contains_key(name))
    }

    /// The names of the values that it determines itself.
    pub fn finds(&self) -> Vec<&str> {
        let own = self.keeps().map(|kept| kept.name.as_str());
        self.flow.finds().iter().copied().chain(own).collect()
    }
}

impl Provider {
    /// Where the request of the refresh grant takes `{access_token}` and no refresh token, the access token is kept as one
    /// and goes by its name, so that journal, locks and store treat it as what it is.
    pub(super) fn let_tokens_renew_themselves(&mut self) {
        let Some(refresh) = &mut self.refresh else { return };
        let Some(grant) = self.grants.iter_mut().find(|grant| grant.name == refresh.grant) else { return };
        let names = grant.call.names();
        if names.contains_key("access_token") && !names.contains_key("refresh_token") {
            grant.call.each_template_mut(&mut |template| template.rename("access_token", "refresh_token"));
            refresh.renews_itself = true;
        }
        if refresh.renews_itself {
            // One that has no refresh token by the file's word cannot be renewed by itself either.
            for grant in self.grants.iter_mut().filter(|grant| !grant.response.refresh_token.is_empty()) {
                Arc::make_mut(&mut grant.response).renews_itself = true;
            }
        }
    }

    /// Whether a login finds the value `name` and it is used for nothing else.
    pub fn is_found(&self, name: &str) -> bool {
        self.param(name).is_none() && self.grants.iter().any(|grant| grant.keeps().any(|kept| kept.name == name))
    }

    /// Whether the value `name` says until when a step's client is good.
    pub fn is_end_of_client(&self, name: &str) -> bool {
        self.grants.iter().flat_map(|grant| &grant.steps).any(|step| step.until.as_deref() == Some(name))
    }

    /// The origins that the file itself names: those of its requests, of the defaults of its values, of its API.
    pub fn own_origins(&self) -> BTreeSet<String> {
        let defaults = self.params.iter().flat_map(|param| {
            let set = param.sets.iter().flat_map(|(_, set)| set.iter().map(|(_, text)| text.clone()));
            let choices = param.choices.iter().map(|choice| Template::text(choice));
            param.default.iter().cloned().chain(choices).chain(set).collect::<Vec<_>>()
        });
        let calls = self.grants.iter().flat_map(Grant::calls);
        let others = [&self.revoke, &self.introspect, &self.userinfo].into_iter().flatten();
        let urls = calls.chain(others).map(|call| call.url.clone());
        let named = defaults.chain(urls).filter_map(|template| template.origin());
        let hosts = self.usage.hosts.iter().flatten().filter_map(|host| match host.0.as_slice() {
            [Piece::Text(text)] => crate::base::url::host_origin(text).ok(),
            _ => None,
        });
        named.chain(hosts).collect()
    }
}
