//! A request is sent with what proves the client, and its reply read: a token, an object, or why not.

use crate::base::error::{Error, Kind, Result};
use crate::base::time::Time;
use crate::host::Host;
use crate::oauth::client_auth;
use crate::oauth::dpop;
use crate::oauth::reply::{self, Issued, Note};
use crate::oauth::request::{self, Repeat, Response, Values};
use crate::profile::Profile;
use crate::provider::{Auth, Call, Rules, Test};
use crate::session::inputs::{Inputs, moment, not_ready};
use crate::session::open_store::origin;
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
}

/// Sends a request and reads the reply. What there is to say waits until [`crate::system::terminal::Terminal::release_messages`].
///
/// # Errors
/// What keeps the request from being sent; what comes after it is an [`Outcome`].
pub fn ask(host: &mut Host, profile: &Profile, asking: &Asking, inputs: &Inputs) -> Result<Outcome> {
    host.terminal.detail(&format!("{}: running the grant {}", profile.name, asking.name));
    host.terminal.hold_messages();
    let (response, sent) = match send(host, profile, asking.call, inputs)? {
        Ok(answered) => answered,
        Err(error) => return Ok(Outcome::Failed(error, None)),
    };
    Ok(match reply::read(asking.rules, asking.dead, &response) {
        Ok(issued) => {
            for note in &issued.notes {
                match note {
                    Note::Warning(text) => host.terminal.warn(&format!("{}: {text}", profile.name)),
                    Note::Detail(text) => host.terminal.detail(&format!("{}: {text}", profile.name)),
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
    inputs: &Inputs,
) -> Result<Map<String, Value>> {
    let (mut object, sent) = object(host, profile, told, call, inputs)?;
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
    inputs: &Inputs,
) -> Result<Map<String, Value>> {
    object(host, profile, told, call, inputs).map(|(object, _)| object)
}

fn object<'f>(
    host: &mut Host,
    profile: &Profile,
    told: &Told,
    call: &Call,
    inputs: &'f Inputs,
) -> Result<(Map<String, Value>, Sent<'f>)> {
    let (response, sent) = send(host, profile, call, inputs)??;
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
    inputs: &'f Inputs,
) -> Result<Result<(Response, Sent<'f>)>> {
    let names = profile.provider.closure(call.names());
    let personal =
        names.keys().any(|n| inputs.get(n).is_some() && profile.provider.param(n).is_some_and(|p| p.personal));
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
            client_auth::choose(inputs.values(), &supported.unwrap_or_default())
        }
        named => named,
    };
    let url = request::url(call, inputs.values()).map_err(|unready| not_ready(profile, unready))?;
    let to = origin(&url).unwrap_or_default();
    check_homes(profile, call, inputs, &to)?;
    let key = match &inputs.dpop_key {
        Some(key) if call.dpop => Some(crate::base::jose::Key::parse(key).map_err(|why| {
            Error::new(Kind::Store, format!("{}: the kept DPoP key cannot be used", profile.name), why)
                .hint(format!("log in again: tok login {}", profile.name))
        })?),
        _ => None,
    };
    // The server may want a number of its own in the proof: it is told once (RFC 9449 §8).
    let mut nonce: Option<String> = None;
    loop {
        let moment = moment(host);
        let audience = inputs.get("token_url").unwrap_or(&url);
        let mut added = client_auth::add(auth, inputs.values(), audience, &moment);
        if let (Some(key), Ok(added)) = (&key, &mut added) {
            let access = inputs.get("access_token");
            let id = crate::base::digest::random(16);
            let proof = dpop::proof(key, call.method.name(), &url, access, nonce.as_deref(), moment.now, &id);
            let proof =
                proof.map_err(|why| Error::new(Kind::Other, format!("{}: no DPoP proof", profile.name), why))?;
            added.headers.push(("DPoP".into(), proof.expose().to_string().into()));
        }
        // Made for this request alone, and worth something for as long as it lives.
        let fields = added.iter().flat_map(|added| &added.fields).filter(|(name, _)| name == "client_assertion");
        let proofs = added.iter().flat_map(|added| &added.headers).filter(|(name, _)| name == "DPoP");
        let mut credentials: Vec<Zeroizing<String>> = fields.chain(proofs).map(|(_, text)| text.clone()).collect();
        let request = added.and_then(|added| request::build(&profile.provider, call, inputs.values(), repeat, added));
        let request = request.map_err(|unready| not_ready(profile, unready))?;
        let response = match host.send(&request, profile.ca_file.as_deref()) {
            Ok(response) => response,
            Err(mut error) => {
                error.what = format!("{}: {}", profile.name, error.what);
                return Ok(Err(error));
            }
        };
        if let (Some(_), None, Some(asked)) = (&key, &nonce, wants_nonce(&response)) {
            host.terminal
                .detail(&format!("{}: {to} wants a number of its own in the proof; once more with it", profile.name));
            nonce = Some(asked);
            continue;
        }
        let made = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let made = made.filter_map(|(_, value)| value.rsplit(' ').next().map(|text| Zeroizing::new(text.into())));
        credentials.extend(made);
        return Ok(Ok((response, Sent { values: inputs.values(), credentials, to, auth })));
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

/// Asks the provider to revoke what `inputs` holds. RFC 7009 §2.2: the status alone counts.
///
/// # Errors
/// Where it could not be asked, or did not say yes.
pub fn revoke(host: &mut Host, profile: &Profile, call: &Call, inputs: &Inputs) -> Result<()> {
    let (response, sent) = send(host, profile, call, inputs)??;
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
            forms.push(Zeroizing::new(crate::base::url::encode(value)));
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
        let escaped = crate::base::text::escape_to(form, usize::MAX);
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

/// Refuses a call that would carry a value away from its home: whatever the grant or the command, this is asked before
/// anything is sent to the origin `to`.
///
/// # Errors
/// [`Kind::LoginNeeded`], naming the value, its home and `to`.
pub fn check_homes(profile: &Profile, call: &Call, inputs: &Inputs, to: &str) -> Result<()> {
    let names = profile.provider.closure(call.names());
    match inputs.astray(names.keys(), to) {
        Some((name, home)) => Err(elsewhere(profile, name, &home.to_string(), to)),
        None => Ok(()),
    }
}

/// A value that was kept for one place would go to another.
pub fn elsewhere(profile: &Profile, name: &str, home: &str, to: &str) -> Error {
    let what = match home {
        "" => format!("{}: nothing is known of where the kept {name} may go, and this call is for {to}", profile.name),
        _ => format!("{}: the kept {name} goes to {home} alone, and this call is for {to}", profile.name),
    };
    Error::new(Kind::LoginNeeded, what, "nothing was sent")
        .hint(format!("log in there, with the value that names the place: tok login {}", profile.name))
}
