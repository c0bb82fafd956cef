//! What a provider can be asked about a token: what it knows of it, and whom it is for.

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::host::Host;
use crate::oauth::reply::value;
use crate::oauth::request;
use crate::profile::discovery::Copies;
use crate::profile::{self, Profile};
use crate::provider::{Call, Discover, Provider};
use crate::session::api;
use crate::session::exchange::{self, Told};
use crate::session::inputs::{self, For};
use crate::session::kept;
use crate::session::open_store;
use crate::session::refresh;
use crate::session::revoke::discover_client;
use crate::token::Token;
use crate::token::credentials::{Credentials, Session};
use anyhow::Result;
use serde_json::{Map, Value};

/// What a provider can be asked about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// RFC 7662
    Introspection,
    /// OIDC Core §5.3
    Userinfo,
}

impl Question {
    /// As it stands in the answer, and before `_url` in the value with its address.
    pub fn name(self) -> &'static str {
        match self {
            Question::Introspection => "introspection",
            Question::Userinfo => "userinfo",
        }
    }

    /// How it is asked, if the provider can be.
    pub fn of(self, profile: &Profile) -> Option<Call> {
        match self {
            Question::Introspection => profile.provider.introspect.clone(),
            Question::Userinfo => profile.provider.userinfo.clone(),
        }
    }
}

/// What is asked about.
pub enum About<'a> {
    /// An access token.
    Access(&'a Token),
    /// A session's refresh token, of an introspection that takes one.
    Session(&'a Session),
}

/// Asks the provider about a token. `held`: what the store holds for `profile`, which is told where to ask.
///
/// # Errors
/// [`Kind::Config`] where it is not known where to ask, else each kind of the contract.
pub fn ask(
    host: &mut Host,
    profile: &mut Profile,
    held: &Credentials,
    question: Question,
    about: &About,
) -> Result<Map<String, Value>> {
    let name = question.name();
    let unknown = |profile: &Profile| {
        let failed = format!("{} cannot be asked for {name}", profile.provider.name);
        Error::new(Kind::Config, failed, "its URL is not known")
            .hint(format!("add it to the config: {name}_url = \"https://…\""))
    };
    let call = question.of(profile).ok_or_else(|| unknown(profile))?;
    let address = call.url.names().map(|(name, _)| (name.to_string(), false)).collect();
    profile.discover(host, address, Copies::Allowed)?;
    discover_client(host, profile, held);
    let profile = &*profile;
    // What discovery settles of client authentication stands in the profile.
    let mut call = question.of(profile).ok_or_else(|| unknown(profile))?;
    let secrets = open_store::kept_values(held, profile.value("client_id").as_deref());
    let (of, value, token) = match about {
        About::Access(token) => {
            let home = profile.token_home(token);
            ("access_token", profile::Value::kept(token.access_token.clone(), Some(home)), Some(*token))
        }
        About::Session(session) => ("refresh_token", open_store::refresh_token(session), None),
    };
    let extra = [(of, value.clone()), ("token_type_hint", profile::Value::found(Secret::new(of)))];
    let mut inputs = inputs::fill(host, profile, For::Call(&call), &secrets, &extra)?;
    held.session.iter().for_each(|session| kept::insert(&mut inputs, session));
    token.iter().for_each(|token| kept::insert_told(&mut inputs, profile, token));
    if let (Question::Userinfo, Some(token)) = (question, token) {
        api::put_token(&mut call, &mut inputs, token, &profile.token_home(token));
        call.dpop = token.dpop_key.is_some();
        inputs.dpop_key = token.dpop_key.clone();
        // For the proof (RFC 9449 §7.1); the request itself has it in its header.
        inputs.insert(of, value);
    }
    let to = request::url(&profile.provider, &call, inputs.values()).ok().as_deref().and_then(open_store::origin);
    let to = to.ok_or_else(|| unknown(profile))?;
    host.terminal.detail(&format!("{}: asking {to} for {name}", profile.name));
    let grant = token.and_then(|token| profile.provider.grant(&token.grant)).unwrap_or(profile.default_grant());
    let told = Told {
        name: match question {
            Question::Introspection => "to say what it knows of it",
            Question::Userinfo => "to say who it is for",
        },
        rules: &grant.response,
    };
    let object = exchange::ask_to_show(host, profile, &told, &call, &inputs)?;
    let subject = token.and_then(|token| token.id_token.as_ref()).and_then(|id| refresh::subject(&id.text));
    match wrong(question, &profile.provider, &object, subject.as_deref()) {
        None => Ok(object),
        Some(why) => {
            let what = format!("the reply from {to} cannot be used");
            Err(Error::new(Kind::Reply, what, why)
                .hint(format!("check that {to} is the right server: tok show {}", profile.name))
                .into())
        }
    }
}

/// What is wrong with a reply of `provider`. `subject`: the person that the ID token is for.
pub fn wrong(
    question: Question,
    provider: &Provider,
    answer: &Map<String, Value>,
    subject: Option<&str>,
) -> Option<&'static str> {
    match question {
        // RFC 7662 §2.2
        Question::Introspection => match value::member(answer, "active").and_then(value::flag) {
            Some(_) => None,
            None => Some("it does not say whether the token is active (`active`)"),
        },
        // OIDC Core §5.3.2: it must be the person of the ID token. A server without OpenID Connect has names of its own.
        Question::Userinfo => match (value::text(answer, &["sub"]), subject) {
            (None, None) if provider.discover != Discover::Issuer => None,
            (None, _) => Some("it does not name a person (`sub`)"),
            (Some(sub), Some(subject)) if subject != sub => {
                Some("it is about another person than the ID token (`sub`)")
            }
            _ => None,
        },
    }
}
