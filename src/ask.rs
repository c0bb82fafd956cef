//! A request is sent with what proves the client, and its reply read: a token, an object, or why not.

use crate::client_auth;
use crate::dpop;
use crate::error::{Error, Kind, Result};
use crate::fill::{Filled, moment, not_ready};
use crate::host::Host;
use crate::opened::origin;
use crate::profile::Profile;
use crate::provider::{Auth, Call, Rules, Test};
use crate::reply::{self, Issued, Note};
use crate::request::{self, Repeat, Response, Values};
use crate::token::Time;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// What came of asking the provider.
pub enum Outcome {
    /// A token.
    Issued(Issued, Time),
    /// The provider refused, in a way that its `dead` names.
    Dead(Error),
    /// Anything else that went wrong; the provider's code for it, if it gave one.
    Failed(Error, Option<String>),
}

/// How a request is made and its reply read.
pub struct Asking<'a> {
    /// The grant's name, for messages.
    pub name: &'a str,
    /// The request.
    pub call: &'a Call,
    /// How to read the reply.
    pub rules: &'a Rules,
    /// Which refusals mean a dead refresh token.
    pub dead: &'a [Test],
    /// The only origin that secrets from the store may go to, if any are in it.
    pub home: Option<&'a str>,
}

/// Sends a request and reads the reply. What there is to say waits until [`Host::speak`].
///
/// # Errors
/// What keeps the request from being sent; what comes after it is an [`Outcome`].
pub fn ask(host: &mut Host, profile: &Profile, asking: &Asking, filled: &Filled) -> Result<Outcome> {
    host.detail(&format!("{}: running the grant {}", profile.name, asking.name));
    host.hush();
    let (response, sent) = match send(host, profile, asking.call, filled, asking.home)? {
        Ok(answered) => answered,
        Err(error) => return Ok(Outcome::Failed(error, None)),
    };
    Ok(match reply::read(asking.rules, asking.dead, &response) {
        Ok(issued) => {
            for note in &issued.notes {
                match note {
                    Note::Warning(text) => host.warn(&format!("{}: {text}", profile.name)),
                    Note::Detail(text) => host.detail(&format!("{}: {text}", profile.name)),
                }
            }
            Outcome::Issued(issued, response.received)
        }
        Err(failure) => {
            let error = failed(profile, &format!("the grant {}", asking.name), asking.call, &failure, &sent);
            if failure.dead { Outcome::Dead(error) } else { Outcome::Failed(error, failure.code) }
        }
    })
}

/// What a request that brings no token is told by.
pub struct Told<'a> {
    /// What is asked for, as `the grant device-code`.
    pub name: &'a str,
    /// How its errors are read.
    pub rules: &'a Rules,
}

/// [`ask_for_object`] for a reply that is shown: what it quotes of the request is taken out.
///
/// # Errors
/// As [`ask_for_object`].
pub fn ask_to_show(
    host: &mut Host,
    profile: &Profile,
    told: &Told,
    call: &Call,
    filled: &Filled,
    home: Option<&str>,
) -> Result<Map<String, Value>> {
    let (mut object, sent) = object(host, profile, told, call, filled, home)?;
    object.values_mut().for_each(|value| hide_in(value, profile, &sent));
    Ok(object)
}

/// Sends a request whose reply is a JSON object and no token.
///
/// # Errors
/// What keeps it from being sent, a refusal, a reply that is none.
pub fn ask_for_object(
    host: &mut Host,
    profile: &Profile,
    told: &Told,
    call: &Call,
    filled: &Filled,
    home: Option<&str>,
) -> Result<Map<String, Value>> {
    object(host, profile, told, call, filled, home).map(|(object, _)| object)
}

fn object<'f>(
    host: &mut Host,
    profile: &Profile,
    told: &Told,
    call: &Call,
    filled: &'f Filled,
    home: Option<&str>,
) -> Result<(Map<String, Value>, Sent<'f>)> {
    let (response, sent) = send(host, profile, call, filled, home)??;
    match reply::object(told.rules, &response) {
        Ok(object) => Ok((object, sent)),
        Err(failure) => Err(failed(profile, told.name, call, &failure, &sent)),
    }
}

/// Whether the way of authentication may be the reason of a refusal, and was chosen here (RFC 6749 §5.2): its hint then
/// says what else to try.
pub fn knows_more(call: &Call, code: Option<&str>) -> bool {
    code == Some("invalid_client") && call.auth == Auth::Auto
}

/// A refusal, or a reply that says nothing, for a person.
fn failed(profile: &Profile, name: &str, call: &Call, failure: &reply::Failure, sent: &Sent) -> Error {
    let to = &sent.to;
    let what = match failure.kind {
        Kind::Refused => format!("{}: {to} refused {name}", profile.name),
        Kind::Unavailable => format!("{}: {to} cannot answer now", profile.name),
        _ => format!("{}: the reply of {to} cannot be understood", profile.name),
    };
    let hint = match failure.kind {
        Kind::Refused if knows_more(call, failure.code.as_deref()) => {
            match sent.auth {
                Auth::Basic => "check client_id and client_secret; or the server wants them in the body: --client-auth post",
                Auth::Post => "check client_id and client_secret; or the server wants them in a header: --client-auth basic",
                Auth::PrivateKeyJwt => "check client_id, private_key and key_id; or the server wants another algorithm: --algorithm",
                Auth::Public | Auth::None => "check client_id; or the server wants a secret (--client-secret-file PATH) or a key (--private-key-file PATH)",
                _ => "check client_id and what goes with it; another way to prove it: --client-auth",
            }
            .to_string()
        }
        Kind::Refused => format!("check the values it was sent{}", profile.to_see()),
        Kind::Unavailable => "try again later".to_string(),
        _ => format!("see whether {to} is the right place{}", profile.to_see()),
    };
    Error::new(failure.kind, what, hide(&failure.why, profile, sent)).hint(hint)
}

/// What was sent, as far as a reply may quote it.
pub struct Sent<'f> {
    /// The values.
    values: &'f Values,
    /// What the `Authorization` header carries, and what else was made for this request alone.
    credentials: Vec<Zeroizing<String>>,
    /// The origin that it went to.
    to: String,
    /// Client authentication.
    auth: Auth,
}

/// What a server takes once: sent again, it may end all that came of it (RFC 6749 §4.1.2 and §10.5).
const ONCE: &[&str] = &["refresh_token", "code", "device_code", "auth_req_id"];

/// Sends `call`: the reply and what it may quote, or why there is none.
///
/// # Errors
/// What keeps the request from being sent.
pub fn send<'f>(
    host: &mut Host,
    profile: &Profile,
    call: &Call,
    filled: &'f Filled,
    home: Option<&str>,
) -> Result<Result<(Response, Sent<'f>)>> {
    let personal = profile
        .provider
        .closure(call.names())
        .keys()
        .any(|n| filled.values.contains_key(n) && profile.provider.param(n).is_some_and(|p| p.personal));
    let repeat = if personal {
        Repeat::Personal
    } else if call.names().keys().any(|name| ONCE.contains(&name.as_str())) {
        Repeat::Rotating
    } else {
        Repeat::Freely
    };
    let auth = match call.auth {
        Auth::Auto => {
            let metadata = profile.metadata.as_ref();
            let supported = metadata.and_then(|m| m.list("token_endpoint_auth_methods_supported"));
            client_auth::choose(&filled.values, &supported.unwrap_or_default())
        }
        named => named,
    };
    let url = request::url(call, &filled.values).map_err(|unready| not_ready(profile, unready))?;
    let to = origin(&url).unwrap_or_default();
    if let Some(home) = home.into_iter().chain(filled.homes.iter().map(String::as_str)).find(|home| *home != to) {
        return Err(elsewhere(profile, home, &to));
    }
    let key = match &filled.dpop_key {
        Some(key) if call.dpop => Some(crate::jose::Key::parse(key).map_err(|why| {
            Error::new(Kind::Store, format!("{}: the kept DPoP key cannot be used", profile.name), why)
                .hint(format!("log in again: tok login {}", profile.name))
        })?),
        _ => None,
    };
    // The server may want a number of its own in the proof: it is told once (RFC 9449 §8).
    let mut nonce: Option<String> = None;
    loop {
        let moment = moment(host);
        let audience = filled.values.get("token_url").map_or(url.as_str(), |token_url| token_url.as_str());
        let mut added = client_auth::add(auth, &filled.values, audience, &moment);
        if let (Some(key), Ok(added)) = (&key, &mut added) {
            let access = filled.values.get("access_token").map(|token| token.as_str());
            let id = crate::digest::random(16);
            let proof = dpop::proof(key, call.method.name(), &url, access, nonce.as_deref(), moment.now, &id);
            let proof =
                proof.map_err(|why| Error::new(Kind::Other, format!("{}: no DPoP proof", profile.name), why))?;
            added.headers.push(("DPoP".into(), proof.expose().to_string().into()));
        }
        // Made for this request alone, and worth something for as long as it lives.
        let fields = added.iter().flat_map(|added| &added.fields).filter(|(name, _)| name == "client_assertion");
        let proofs = added.iter().flat_map(|added| &added.headers).filter(|(name, _)| name == "DPoP");
        let mut credentials: Vec<Zeroizing<String>> = fields.chain(proofs).map(|(_, text)| text.clone()).collect();
        let request = added.and_then(|added| request::build(&profile.provider, call, &filled.values, repeat, added));
        let request = request.map_err(|unready| not_ready(profile, unready))?;
        let response = match host.send(&request, profile.ca_file.as_deref()) {
            Ok(response) => response,
            Err(mut error) => {
                error.what = format!("{}: {}", profile.name, error.what);
                return Ok(Err(error));
            }
        };
        if let (Some(_), None, Some(asked)) = (&key, &nonce, wants_nonce(&response)) {
            host.detail(&format!("{}: {to} wants a number of its own in the proof; once more with it", profile.name));
            nonce = Some(asked);
            continue;
        }
        let made = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let made = made.filter_map(|(_, value)| value.rsplit(' ').next().map(|text| Zeroizing::new(text.into())));
        credentials.extend(made);
        return Ok(Ok((response, Sent { values: &filled.values, credentials, to, auth })));
    }
}

/// The number that a server wants in the proof (RFC 9449 §8 and §9).
fn wants_nonce(response: &Response) -> Option<String> {
    let nonce = response.header("dpop-nonce")?;
    let said = |text: &str| text.contains("use_dpop_nonce");
    let asked = matches!(response.status, 400 | 401)
        && (std::str::from_utf8(&response.body).is_ok_and(said)
            || response.header("www-authenticate").is_some_and(said));
    asked.then(|| nonce.to_string())
}

/// Asks the provider to revoke what `filled` holds. RFC 7009 §2.2: the status alone counts.
///
/// # Errors
/// Where it could not be asked, or did not say yes.
pub fn revoke(host: &mut Host, profile: &Profile, call: &Call, filled: &Filled, home: Option<&str>) -> Result<()> {
    let (response, sent) = send(host, profile, call, filled, home)??;
    match response.status {
        200..300 => Ok(()),
        status => Err(Error::new(Kind::Unavailable, format!("{} answered with status {status}", sent.to), "")),
    }
}

/// `text` without any secret that was sent, in whatever form: some servers quote the request.
fn hide(text: &str, profile: &Profile, sent: &Sent) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let mut forms: Vec<Zeroizing<String>> = sent.credentials.clone();
    for (name, value) in sent.values {
        // What a flow has found is as good as a secret, but for the address that a refusal may be about.
        if profile.param(name).map_or(name != "redirect_uri", |p| p.secret) {
            forms.push(value.clone());
            forms.push(Zeroizing::new(crate::url::encode(value)));
            forms.push(Zeroizing::new(request::form_encode(value)));
            forms.push(Zeroizing::new(STANDARD.encode(value.as_bytes())));
            forms.push(Zeroizing::new(STANDARD_NO_PAD.encode(value.as_bytes())));
            forms.push(Zeroizing::new(URL_SAFE_NO_PAD.encode(value.as_bytes())));
            let quoted = serde_json::Value::from(value.as_str()).to_string();
            forms.push(Zeroizing::new(quoted.trim_matches('"').to_string()));
        }
    }
    // The longest first: a form may hold another.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    let mut text = text.to_string();
    // A value of a few letters is in many a word, and not worth hiding.
    forms.retain(|form| form.len() >= 4);
    for form in &forms {
        let escaped = crate::text::escape_to(form, usize::MAX);
        text = text.replace(form.as_str(), "***").replace(&escaped, "***");
        text = hide_half(&text, &escaped);
    }
    forms.iter().fold(text, |text, form| hide_pieces(&text, form))
}

/// `text` without long pieces of `form`: a server may quote the end of an assertion, or its middle.
fn hide_pieces(text: &str, form: &str) -> String {
    const PIECE: usize = 20;
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=%".contains(c);
    let mut hidden = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_inside) {
        let (before, run) = rest.split_at(start);
        let end = run.find(|c| !is_inside(c)).unwrap_or(run.len());
        let (word, after) = run.split_at(end);
        hidden.push_str(before);
        // A sentence's own full stop is no part of what it quotes.
        let bare = word.trim_end_matches('.');
        match bare.len() >= PIECE && form.contains(bare) {
            true => hidden.push_str(&format!("***{}", &word[bare.len()..])),
            false => hidden.push_str(word),
        }
        rest = after;
    }
    hidden + rest
}

/// `value`, an object of a reply, without any secret that was sent.
fn hide_in(value: &mut Value, profile: &Profile, sent: &Sent) {
    match value {
        Value::String(text) => *text = hide(text, profile, sent),
        Value::Array(items) => items.iter_mut().for_each(|item| hide_in(item, profile, sent)),
        Value::Object(entries) => entries.values_mut().for_each(|entry| hide_in(entry, profile, sent)),
        _ => {}
    }
}

/// `text` without the beginning of `form` where a message was cut in the middle of it.
fn hide_half(text: &str, form: &str) -> String {
    let (mut hidden, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('…') {
        let half = (4..form.len()).rev().filter_map(|end| form.get(..end)).find_map(|half| before.strip_suffix(half));
        hidden.push_str(&half.map_or(before.to_string(), |whole| format!("{whole}***")));
        hidden.push('…');
        rest = after;
    }
    hidden + rest
}

/// A secret that was kept for one place would go to another.
pub fn elsewhere(profile: &Profile, home: &str, to: &str) -> Error {
    let home = if home.is_empty() { "a place that is not known" } else { home };
    Error::new(
        Kind::LoginNeeded,
        format!("{}: what is kept goes to {home} alone, and this call is for {to}", profile.name),
        "nothing was sent",
    )
    .hint(format!("log in there, with the value that names the place: tok login {}", profile.name))
}
