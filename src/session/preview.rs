//! The requests that a grant would send, for people to read: `{name}` stands for what is secret or not known. Nothing is
//! sent, and nothing is asked of a store, a command or a server.

use super::inputs::{self, not_ready};
use super::plan;
use crate::base::error::{Error, Kind};
use crate::base::url;
use crate::oauth::client_auth::{self, Moment};
use crate::oauth::request::{self, Added, Pair, Repeat, Request, Unready, Values};
use crate::profile::{Profile, Source};
use crate::provider::function;
use crate::provider::{Auth, Call, Flow, Grant, Named, Param, Shape, Step};
use anyhow::Result;
use zeroize::Zeroizing;

/// One request, or another step of a grant.
pub struct Preview {
    /// The request's name ([`Provider::requests`]); empty for what is none.
    pub name: String,
    /// What it is for.
    pub what: String,
    /// Its lines as they would be sent.
    pub text: String,
}

/// The request `named` of `profile`; for the token, all requests of its grant, in their order.
///
/// # Errors
/// A value that is given and cannot be used, see [`not_ready`]; [`Kind::Config`] for a request about a token without one.
pub fn preview(profile: &Profile, name: &str, named: Named) -> Result<Vec<Preview>> {
    let call = match named {
        Named::Token(grant) => return grants(profile, grant),
        Named::Begin(grant, _) | Named::Step(grant, _) => {
            let mut all = grants(profile, grant)?;
            all.retain(|one| one.name == name);
            return Ok(all);
        }
        Named::Revoke(call) | Named::Introspect(call) | Named::Userinfo(call) => call,
    };
    let does = if let Named::Revoke(_) = named { "revokes" } else { "asks about" };
    // The API takes the token as `[use]` says.
    let mut call = call.clone();
    if let Named::Userinfo(_) = named {
        let usage = &profile.provider.usage;
        let own = (!usage.header.is_empty()).then(|| (usage.header.clone(), usage.value.clone()));
        call.headers.extend(own.into_iter().chain(usage.headers.clone()));
        call.query.extend(usage.query.clone());
    }
    let names = call.names();
    let tokens = [("refresh_token", "the refresh token"), ("access_token", "an access token")];
    let sent: Vec<_> = tokens.into_iter().filter(|(token, _)| names.contains_key(*token)).collect();
    if sent.is_empty() {
        let what = format!("{name} of {} is never sent", profile.provider.name);
        return Err(Error::new(Kind::Config, what, "it has neither {refresh_token} nor {access_token}").into());
    }
    let one = |(token, shown): (&str, &str)| {
        let mut blanks = Blanks::of(profile, profile.default_grant())?;
        for (other, _) in tokens {
            blanks.values.remove(other);
        }
        blanks.mark(token);
        // An address that a server may have or not.
        for (name, _) in call.url.names() {
            if !blanks.values.contains_key(name) {
                blanks.mark(name);
            }
        }
        blanks.values.insert("token_type_hint".into(), token.to_string().into());
        Ok(Preview { name: name.into(), what: format!("{does} {shown}"), text: blanks.text(&call)? })
    };
    sent.into_iter().map(one).collect()
}

fn grants(profile: &Profile, grant: &Grant) -> Result<Vec<Preview>> {
    let mut blanks = Blanks::of(profile, grant)?;
    let mut all = Vec::new();
    let mut add = |name: &str, what: &str, text: String| {
        all.push(Preview { name: name.into(), what: what.into(), text });
    };
    if let Some(assertion) = &grant.assertion {
        blanks.values.insert("key_fingerprint".into(), "{key_fingerprint}".to_string().into());
        let mut object = blanks.make(|values| request::object(&profile.provider, &assertion.claims, values))?;
        let own = [("iat", "{now}"), ("exp", "{now + lifetime}")];
        let own = own.into_iter().chain(assertion.jti.then_some(("jti", "{random}")));
        object.extend(own.map(|(name, text)| (name.to_string(), text.into())));
        let key = assertion.secret.as_deref().unwrap_or("private_key");
        let what = match grant.flow {
            Flow::Signed => format!("nothing is sent: these claims, signed with {{{key}}}, are the token"),
            _ => format!("these claims, signed with {{{key}}}, are {{assertion}}"),
        };
        add("", &what, blanks.restore(&serde_json::Value::Object(object).to_string()));
    }
    // In the order in which they are sent.
    let order = |named: &Named| match named {
        Named::Step(_, step) if step.before => 0,
        Named::Begin(..) => 1,
        Named::Step(..) => 2,
        _ => 3,
    };
    let mut requests = grant.requests();
    requests.sort_by_key(|(_, named)| order(named));
    for (name, named) in requests {
        match named {
            Named::Begin(_, call) if grant.flow == Flow::AuthorizationCode => {
                let request = blanks.request(call)?;
                add(&name, "the browser opens", blanks.restore(&request.url));
            }
            Named::Begin(_, call) => add(&name, "begins the login", blanks.text(call)?),
            Named::Step(_, step) => add(&name, &found(step), blanks.text(&step.call)?),
            Named::Token(grant) if grant.flow != Flow::Signed => {
                add(&name, "gets the token", blanks.text(&grant.call)?)
            }
            _ => {}
        }
    }
    Ok(all)
}

/// What a step is for.
fn found(step: &Step) -> String {
    let names: Vec<String> = step.keep.iter().map(|kept| format!("{{{}}}", kept.name)).collect();
    match names.is_empty() {
        true => "comes before".into(),
        false => format!("finds {}", names.join(", ")),
    }
}

/// The values of a request, with marks for those that are not to be shown or not known. A mark is made of letters and
/// digits alone, so that no encoding changes it.
struct Blanks<'p> {
    profile: &'p Profile,
    grant: &'p Grant,
    values: Values,
    /// The names of the marks, and whether each is a URL.
    names: Vec<(String, bool)>,
}

impl<'p> Blanks<'p> {
    fn of(profile: &'p Profile, grant: &'p Grant) -> Result<Blanks<'p>> {
        let provider = &profile.provider;
        let is_secret = |name: &str| profile.param(name).is_some_and(|param| param.secret);
        let mut blanks = Blanks { profile, grant, values: Values::new(), names: Vec::new() };
        for (name, value) in profile.known_values()? {
            // A part of a secret is one too; it is found again in the mark's place or marked itself.
            if !is_secret(&name) && provider.param(&name).is_none_or(|param| param.inside.is_none()) {
                blanks.values.insert(name, value);
            }
        }
        // What a refresh leaves out, see `inputs::fill`.
        let is_refresh = provider.refresh_grant() == Some(grant);
        if is_refresh && !profile.given.get("scope").is_some_and(|given| inputs::is_of_this_call(&given.source)) {
            blanks.values.remove("scope");
        }
        for (name, given) in &profile.given {
            let is_hidden = is_secret(name) || matches!(given.source, Source::Command(_) | Source::Keyring(..));
            if is_hidden && !profile.is_off(name) {
                blanks.mark(name);
            }
        }
        blanks.values.insert(function::WORDS.into(), Zeroizing::default());
        grant.finds().iter().for_each(|name| blanks.mark(name));
        if grant.assertion.is_some() {
            blanks.mark("assertion");
        }
        let known = |name: &str| blanks.values.contains_key(name);
        for name in plan::missing(provider, grant, &known) {
            blanks.mark(&name);
        }
        blanks.add_defaults()?;
        Ok(blanks)
    }

    fn add_defaults(&mut self) -> Result<()> {
        // What is part of a value that is not shown is not either.
        for param in &self.profile.provider.params {
            if let Some(inside) = &param.inside
                && self.is_marked(&inside.value)
                && !self.values.contains_key(&param.name)
            {
                self.mark(&param.name);
            }
        }
        inputs::defaults(self.profile, self.grant, &mut self.values);
        request::defaults(&self.profile.provider, &mut self.values, &|name| self.profile.is_off(name))
            .map_err(|unready| not_ready(self.profile, unready).into())
    }

    fn is_marked(&self, name: &str) -> bool {
        self.names.iter().any(|(marked, _)| marked == name)
    }

    /// Puts a mark in the place of the value `name`.
    fn mark(&mut self, name: &str) {
        let mark = mark(self.names.len());
        let is = |of: fn(&Param) -> bool| self.profile.param(name).is_some_and(of);
        let is_url =
            is(|param| param.url) || self.grant.keeps().any(|kept| kept.name == name && kept.shape != Shape::Text);
        let text = match () {
            () if is_url => format!("{SCHEME}{mark}"),
            () if is(|param| param.pairs) => format!("{mark}={mark}"),
            () => mark,
        };
        let shown = match self.profile.provider.refresh.as_ref().is_some_and(|refresh| refresh.renews_itself) {
            true if name == "refresh_token" => "access_token",
            _ => name,
        };
        self.names.push((shown.into(), is_url));
        self.values.insert(name.into(), text.into());
    }

    /// Makes something of the values; what is missing for it is marked first.
    fn make<T>(&mut self, make: impl Fn(&Values) -> Result<T, Unready>) -> Result<T> {
        loop {
            match make(&self.values) {
                Ok(made) => return Ok(made),
                Err(Unready::Missing(name)) if !self.values.contains_key(&name) => {
                    // Of a default, what is missing in it.
                    let leads_to = self.profile.param(&name).map(Param::leads_to).unwrap_or_default();
                    let missing = leads_to.into_iter().find(|(inner, optional)| {
                        !optional && !self.values.contains_key(inner) && !self.is_marked(inner)
                    });
                    self.mark(&missing.map_or(name, |(inner, _)| inner));
                    self.add_defaults()?;
                }
                Err(unready) => return Err(not_ready(self.profile, unready).into()),
            }
        }
    }

    fn request(&mut self, call: &Call) -> Result<Request> {
        let (profile, auth) = (self.profile, call.auth);
        self.make(|values| {
            let auth = if auth == Auth::Auto { client_auth::choose(values, &[]) } else { auth };
            let added = added(auth, call, values)?;
            request::build(&profile.provider, call, values, Repeat::Freely, added)
        })
    }

    /// The request `call` in words.
    fn text(&mut self, call: &Call) -> Result<String> {
        let request = self.request(call)?;
        Ok(self.show(&request))
    }

    /// `text` with the names of the marks.
    fn restore(&self, text: &str) -> String {
        restore(&self.names, text)
    }

    /// The request as HTTP/1.1 has it, but for the whole URL in its first line.
    fn show(&self, request: &Request) -> String {
        let mut text = format!("{} {}\n", request.method.name(), self.restore(&request.url));
        for (name, value) in &request.headers {
            text.push_str(&format!("{name}: {}\n", self.restore(value)));
        }
        if let Some(body) = &request.body {
            text.push_str(&format!("\n{}\n", self.restore(&String::from_utf8_lossy(body))));
        }
        text.trim_end().to_string()
    }
}

fn restore(names: &[(String, bool)], text: &str) -> String {
    let mut text = text.to_string();
    for (at, (name, is_url)) in names.iter().enumerate().rev() {
        let (mark, blank) = (mark(at), format!("{{{name}}}"));
        for start in [SCHEME, &url::encode(SCHEME)].into_iter().filter(|_| *is_url) {
            text = text.replace(&format!("{start}{mark}"), &blank);
        }
        text = text.replace(&mark, &blank);
    }
    PROOFS.iter().chain(&function::MARKS).fold(text, |text, (mark, blank)| text.replace(mark, blank))
}

/// What a value that is a URL begins with.
const SCHEME: &str = "https://";

fn mark(at: usize) -> String {
    format!("TOKBLANK{at}END")
}

/// What is made for one request alone.
const PROOFS: [(&str, &str); 2] = [(ASSERTION, "{client_assertion}"), (PROOF, "{dpop_proof}")];
const ASSERTION: &str = "TOKCLIENTASSERTION";
const PROOF: &str = "TOKDPOPPROOF";

/// What client authentication adds, in words where it is computed.
fn added(auth: Auth, call: &Call, values: &Values) -> Result<Added, Unready> {
    let values = &*client_auth::client_values(call, values)?;
    let value = |name: &str| values.get(name).ok_or_else(|| Unready::Missing(name.into()));
    let field = |name: &str, text: &str| -> Pair { (name.into(), Zeroizing::new(text.into())) };
    let mut added = Added::default();
    match auth {
        // The certificate is shown below HTTP.
        Auth::Tls | Auth::TlsSelfSigned => added.fields.push(field("client_id", value("client_id")?)),
        Auth::Basic | Auth::BasicRaw => {
            let part = |name: &str| {
                let text = value(name)?;
                Ok(if auth == Auth::Basic { url::encode(text) } else { text.to_string() })
            };
            let both = format!("Basic base64({}:{})", part("client_id")?, part("client_secret")?);
            added.headers.push(field("Authorization", &both));
        }
        Auth::ClientSecretJwt | Auth::PrivateKeyJwt => {
            added.fields.push(field("client_id", value("client_id")?));
            added.fields.push(field("client_assertion_type", client_auth::ASSERTION_TYPE));
            added.fields.push(field("client_assertion", ASSERTION));
        }
        // Nothing is computed.
        Auth::None | Auth::Auto | Auth::Public | Auth::Post | Auth::Assertion => {
            added = client_auth::add(auth, values, "", &Moment { now: 0, id: String::new() })?;
        }
    }
    client_auth::rename(call, &mut added);
    if call.dpop {
        added.headers.push(field("DPoP", PROOF));
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_apart() {
        let names: Vec<(String, bool)> = (0..12).map(|n| (format!("v{n}"), n == 3 || n == 4)).collect();
        assert_eq!(restore(&names, "TOKBLANK1ENDTOKBLANK11END"), "{v1}{v11}");
        assert_eq!(restore(&names, "https://TOKBLANK3END/x?u=https%3A%2F%2FTOKBLANK4END"), "{v3}/x?u={v4}");
        assert_eq!(restore(&names, "https://TOKBLANK2END.example"), "https://{v2}.example");
    }
}
