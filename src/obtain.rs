//! From a profile to a token: open the store, fill the grant, ask the provider, keep what came. `cmd/get.rs` and
//! `cmd/login.rs` say when.

use crate::belongs::Known;
use crate::client_auth::{self, Moment};
use crate::dpop;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::id_token;
use crate::index::Index;
use crate::jose::{Jwks, VerifyError};
use crate::kept::{Kept, Session};
use crate::output::Source as From;
use crate::plan;
use crate::profile::{Profile, Source, is_pem};
use crate::provider::{Auth, Call, Flow, Grant, Rules, Test};
use crate::reply::{self, Issued, Note};
use crate::request::{self, Repeat, Response, Unready, Values};
use crate::store::cache::{Cache, Cached, IdToken};
use crate::store::{Store, StoreError, Trouble};
use crate::token::{Expires, Secret, Time, is_token};
use crate::url::Url;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use zeroize::Zeroizing;

/// A store that was opened, or why it was not.
pub struct Opened {
    store: Option<Box<dyn Store>>,
    /// What it holds for the profile; empty where it could not be read.
    pub kept: Kept,
    /// Why it could not be read.
    pub trouble: Option<StoreError>,
}

impl Opened {
    /// No store, and no trouble.
    pub fn nothing() -> Opened {
        Opened { store: None, kept: Kept::default(), trouble: None }
    }

    /// Opens the store of `profile` and reads its entry.
    pub fn open(host: &Host, profile: &Profile) -> Opened {
        let mut opened = Opened::nothing();
        match host.store(&profile.store) {
            Ok(store) => opened.store = store,
            Err(trouble) => opened.trouble = Some(trouble),
        }
        opened.read(profile);
        opened
    }

    /// Reads the entry once more.
    pub fn read(&mut self, profile: &Profile) {
        let Some(store) = &mut self.store else { return };
        let entry = store.get(&profile.name).and_then(|entry| match entry {
            Some(entry) => {
                Kept::parse(&entry).map_err(|error| StoreError { trouble: Trouble::Corrupt, why: error.to_string() })
            }
            None => Ok(Kept::default()),
        });
        match entry {
            Ok(kept) => (self.kept, self.trouble) = (kept, None),
            Err(trouble) => (self.kept, self.trouble) = (Kept::default(), Some(trouble)),
        }
    }

    /// Finds out whether an entry could be written; [`Opened::trouble`] tells if not. One that was read says so
    /// already.
    pub fn check_ready(&mut self) {
        if self.kept.is_empty()
            && self.trouble.is_none()
            && let Some(store) = &mut self.store
        {
            self.trouble = store.ready().err();
        }
    }

    /// Whether something can be kept.
    pub fn is_usable(&self) -> bool {
        self.store.is_some() && self.trouble.is_none()
    }

    /// Puts `kept` in the place of the entry; an empty one is removed. Without a store nothing is kept.
    ///
    /// # Errors
    /// As the store.
    pub fn write(&mut self, profile: &str, kept: Kept) -> std::result::Result<(), StoreError> {
        if let Some(store) = &mut self.store {
            if kept.is_empty() {
                store.forget(profile)?;
            } else {
                store.set(profile, &kept.write())?;
            }
            self.kept = kept;
        }
        Ok(())
    }

    /// The kept secrets that may go to `url`.
    pub fn secrets_for(&self, url: Option<&str>) -> BTreeMap<String, Secret> {
        let home = url.and_then(origin);
        if home.is_some() && home == self.kept.secrets_for { self.kept.secrets.clone() } else { BTreeMap::new() }
    }
}

/// Scheme, host and port of a URL.
pub fn origin(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|u| u.origin())
}

/// What the trouble with a store means to a person: [`Kind::Store`].
pub fn store_error(profile: &Profile, trouble: &StoreError) -> Error {
    let store = &profile.store;
    let what = match trouble.trouble {
        Trouble::Missing => format!("{}: there is no {store} store here", profile.name),
        Trouble::Locked => format!("{}: the {store} is locked", profile.name),
        Trouble::TimedOut => format!("{}: the {store} did not answer", profile.name),
        Trouble::Refused => format!("{}: the {store} store refused", profile.name),
        Trouble::Corrupt => format!("{}: what the {store} store holds cannot be read", profile.name),
    };
    let hint = match trouble.trouble {
        Trouble::Refused if *store == crate::config::StoreChoice::File => {
            "make it yours alone: chmod 700 for its folder, chmod 600 for the file"
        }
        Trouble::Corrupt if *store == crate::config::StoreChoice::File => {
            "move the file away, or mend it, and log in again"
        }
        Trouble::Locked => {
            "unlock it and try again, or keep secrets in a file: store = \"file\" in the config, or TOK_STORE=file"
        }
        Trouble::Missing | Trouble::TimedOut => {
            "choose another store: --store file (or none) at tok login; TOK_STORE=file elsewhere"
        }
        Trouble::Refused => "see what is said above; another store is chosen with --store file at tok login",
        Trouble::Corrupt => {
            return Error::new(Kind::Store, what, trouble.why.clone())
                .hint(format!("log in again: tok login {0}; or forget it: tok logout {0}", profile.name));
        }
    };
    Error::new(Kind::Store, what, trouble.why.clone()).hint(hint)
}

/// What is to be sent.
#[derive(Clone, Copy)]
pub enum For<'a> {
    /// A grant, with its flow.
    Grant(&'a Grant),
    /// Another request.
    Call(&'a Call),
}

/// A grant with everything it needs.
pub struct Filled {
    /// The values.
    pub values: Values,
    /// Names of those that came from the store.
    pub from_store: Vec<String>,
    /// Names of those that came from neither environment, file nor command.
    pub from_config: Vec<String>,
    /// The key that the token is to be bound to (RFC 9449), where it is.
    pub dpop_key: Option<Secret>,
}

/// Finds the values of `what`: what was given, else what the store kept for the place it goes to, else the defaults.
/// `extra` are values that only the caller knows, such as the refresh token. An assertion that the grant makes itself
/// is made here.
///
/// # Errors
/// [`Kind::Config`] or [`Kind::Store`] where a command or the keyring fails.
pub fn fill(
    host: &Host,
    profile: &Profile,
    what: For,
    kept: &BTreeMap<String, Secret>,
    extra: &[(&str, &Secret)],
) -> Result<Filled> {
    let provider = &profile.provider;
    let names = match what {
        For::Grant(grant) => provider.uses(grant),
        For::Call(call) => provider.closure(call.names()),
    };
    let refreshes = matches!(what, For::Grant(grant) if provider.refresh_grant() == Some(grant));
    let mut filled = Filled { values: Values::new(), from_store: Vec::new(), from_config: Vec::new(), dpop_key: None };
    for name in names.into_keys() {
        let source = profile.given.get(&name).map(|g| &g.source);
        // Left out, the scope is what was granted; what was asked for then may be more (RFC 6749 §6).
        if refreshes && name == "scope" && !source.is_some_and(is_of_this_call) {
            continue;
        }
        if let Some((_, secret)) = extra.iter().find(|(n, _)| *n == name) {
            filled.values.insert(name, secret.expose().to_string().into());
        } else if let Some(value) = profile.fetch(host, &name)? {
            let is_secret = profile.param(&name).is_some_and(|p| p.secret);
            if is_secret && matches!(source, Some(Source::Config | Source::Keyring(..))) {
                filled.from_config.push(name.clone());
            }
            filled.values.insert(name, value);
        } else if let Some(secret) = kept.get(&name) {
            filled.values.insert(name.clone(), secret.expose().to_string().into());
            filled.from_store.push(name);
        }
    }
    if let For::Grant(grant) = what {
        defaults(profile, grant, &mut filled.values);
    }
    request::defaults(provider, &mut filled.values).map_err(|u| profile.unready(u))?;
    for param in provider.params.iter().filter(|p| p.file) {
        let Some(value) = filled.values.get(&param.name).filter(|value| !is_pem(value)) else { continue };
        let read = host.read_secret_file(Path::new(value.as_str()), false, true);
        let text = read.map_err(|failed| {
            let source = profile.given.get(&param.name).map_or(Source::Default, |g| g.source.clone());
            profile.blame(&param.name, &source, &format!("names a file, and {}", failed.why))
        })?;
        filled.values.insert(param.name.clone(), text.expose().to_string().into());
    }
    if let For::Grant(Grant { assertion: Some(how), .. }) = what
        && !filled.values.contains_key("assertion")
    {
        let made = client_auth::assertion(how, &filled.values, &moment(host));
        let made = made.map_err(|unready| not_ready(profile, unready))?;
        filled.values.insert("assertion".into(), made.expose().to_string().into());
    }
    Ok(filled)
}

/// The grant's own defaults. Of a list only what the server knows is asked for: some refuse all for one unknown item.
fn defaults(profile: &Profile, grant: &Grant, values: &mut Values) {
    for (name, template) in &grant.defaults {
        if values.contains_key(name) {
            continue;
        }
        let Ok(text) = template.fill(|name| values.get(name).map(|v| v.as_str())) else { continue };
        let param = profile.provider.param(name);
        let supported = param.and_then(|p| p.supported.as_ref()).and_then(|key| profile.metadata.as_ref()?.list(key));
        let text = match (supported, param) {
            (Some(known), Some(param)) => {
                let items = text.split(&param.separator).filter(|item| known.iter().any(|k| k == item));
                items.collect::<Vec<_>>().join(&param.separator)
            }
            _ => text,
        };
        if !text.is_empty() {
            values.insert(name.clone(), text.into());
        }
    }
}

/// What is signed now.
fn moment(host: &Host) -> Moment {
    Moment { now: host.now().secs(), id: crate::digest::random(16) }
}

/// Whether a value is given for this call alone.
fn is_of_this_call(source: &Source) -> bool {
    matches!(source, Source::Flag | Source::Env(_) | Source::EnvFile(_))
}

/// [`Unready`] in the words of somebody who wants a token.
fn not_ready(profile: &Profile, unready: Unready) -> Error {
    match unready {
        Unready::Missing(value) => Error::new(Kind::LoginNeeded, format!("{}: {value} is missing", profile.name), "")
            .hint(format!("set {}, or log in: tok login {}", profile.ways(&value), profile.name)),
        wrong => profile.unready(wrong),
    }
}

impl Filled {
    /// `known`, with the non-personal secrets that came from the store.
    pub fn known(&self, profile: &Profile, known: &Known) -> Known {
        let is_shared = |name: &&String| profile.provider.param(name).is_some_and(|p| p.secret && !p.personal);
        let kept = self.from_store.iter().filter(is_shared);
        known.with_secrets(kept.filter_map(|name| Some((name.as_str(), self.values.get(name)?.as_str()))))
    }

    /// Takes the profile's key where `grant` binds its token to one, or makes one.
    ///
    /// # Errors
    /// [`Kind::Other`] where there is no randomness.
    pub fn bind(&mut self, grant: &Grant, kept: &Kept) -> Result<()> {
        if grant.call.dpop {
            self.dpop_key = Some(match &kept.dpop_key {
                Some(key) => key.clone(),
                None => {
                    crate::jose::Key::generate().map_err(|why| Error::new(Kind::Other, "no key can be made", why))?.1
                }
            });
        }
        Ok(())
    }
}

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
            let error = failed(profile, asking.name, asking.call, &failure, &sent);
            if failure.dead { Outcome::Dead(error) } else { Outcome::Failed(error, failure.code) }
        }
    })
}

/// What a request that brings no token is told by.
pub struct Told<'a> {
    /// The grant's name, or what else it is for.
    pub name: &'a str,
    /// How its errors are read.
    pub rules: &'a Rules,
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
    let (response, sent) = send(host, profile, call, filled, home)??;
    reply::object(told.rules, &response).map_err(|failure| failed(profile, told.name, call, &failure, &sent))
}

/// A refusal, or a reply that says nothing, for a person.
fn failed(profile: &Profile, name: &str, call: &Call, failure: &reply::Failure, sent: &Sent) -> Error {
    let to = &sent.to;
    let what = match failure.kind {
        Kind::Refused => format!("{}: {to} refused the grant {name}", profile.name),
        Kind::Unavailable => format!("{}: {to} cannot answer now", profile.name),
        _ => format!("{}: the reply of {to} cannot be understood", profile.name),
    };
    let hint = match failure.kind {
        // RFC 6749 §5.2: the way of authentication may be the reason, and was chosen here.
        Kind::Refused if failure.code.as_deref() == Some("invalid_client") && call.auth == Auth::Auto => {
            match sent.auth {
                Auth::Basic => "check client_id and client_secret; or the server wants them in the body: --client-auth post",
                Auth::Post => "check client_id and client_secret; or the server wants them in a header: --client-auth basic",
                Auth::PrivateKeyJwt => "check client_id, private_key and key_id; or the server wants another algorithm: --algorithm",
                Auth::Public | Auth::None => "check client_id; or the server wants a secret (--client-secret-file PATH) or a key (--private-key-file PATH)",
                _ => "check client_id and what goes with it; another way to prove it: --client-auth",
            }
            .to_string()
        }
        Kind::Refused => format!("check the values it was sent: tok show {}", profile.name),
        Kind::Unavailable => "try again later".to_string(),
        _ => format!("see whether {to} is the right place: tok show {}", profile.name),
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
    if let Some(home) = home
        && home != to
    {
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
    for form in forms {
        // A value of a few letters is in many a word, and not worth hiding.
        if form.len() >= 4 {
            let escaped = crate::text::escape_to(&form, usize::MAX);
            text = text.replace(form.as_str(), "***").replace(&escaped, "***");
            text = hide_half(&text, &escaped);
        }
    }
    text
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
fn elsewhere(profile: &Profile, home: &str, to: &str) -> Error {
    Error::new(
        Kind::LoginNeeded,
        format!("{}: what is kept goes to {home} alone, and this call is for {to}", profile.name),
        "nothing was sent",
    )
    .hint(format!("log in there: tok login {} (with --base-url or what names the place)", profile.name))
}

/// A grant that a person must help with: [`Kind::LoginNeeded`], or [`Kind::Store`] where the store may hold what is
/// missing and cannot be read.
pub fn login_needed(
    profile: &Profile,
    grant: &Grant,
    missing: &[String],
    opened: &Opened,
    contradiction: Option<&str>,
    url: Option<&str>,
) -> Error {
    let variables: Vec<String> = missing.iter().filter(|m| *m != "refresh_token").map(|m| profile.ways(m)).collect();
    let variables = variables.join(" and ");
    if let Some(trouble) = &opened.trouble {
        let error = store_error(profile, trouble);
        // Whoever has never logged in need not care for the store at all.
        return match error.hint.clone() {
            Some(hint) if !variables.is_empty() => error.hint(format!("{hint}; or need no store: set {variables}")),
            _ => error,
        };
    }
    let login = format!("tok login {} {}", profile.name, grant.name);
    if let Some(differs) = contradiction {
        return Error::new(
            Kind::LoginNeeded,
            format!("{}: the kept session is not for what this call asks", profile.name),
            format!("it differs in {differs}"),
        )
        .hint(format!("log in for it: {login}, with --as NAME to keep both"));
    }
    let kept_elsewhere = missing.iter().any(|name| opened.kept.secrets.contains_key(name));
    if let (true, Some(home), Some(to)) = (kept_elsewhere, &opened.kept.secrets_for, url.and_then(origin)) {
        return elsewhere(profile, home, &to);
    }
    let what = match missing {
        [one] if one == "refresh_token" => format!("{}: no refresh token is kept", profile.name),
        _ => format!("{}: a login is needed", profile.name),
    };
    let values: Vec<&str> = missing.iter().map(String::as_str).collect();
    let mut why = match values.is_empty() {
        true => format!("the grant {} needs a person, and no session is kept", grant.name),
        false => format!("the grant {} lacks {}", grant.name, values.join(" and ")),
    };
    for variable in &profile.empty {
        why.push_str(&format!("; {variable} is set but empty"));
    }
    let hint = match variables.is_empty() {
        _ if grant.flow.needs_person() => format!("run: {login}"),
        true => format!("run: {login} --refresh-token-file PATH, or another grant: tok login {}", profile.name),
        false => format!("run: {login} — or set {variables}"),
    };
    Error::new(Kind::LoginNeeded, what, why).hint(hint)
}

/// What a token is to be got for.
pub struct Wanted<'a> {
    /// The profile; what it needs of its issuer's metadata is known.
    pub profile: &'a Profile,
    /// The settings in force.
    pub known: &'a Known,
    /// Where access tokens wait; `None`: nowhere.
    pub cache: Option<&'a Cache>,
}

/// Gets a token from the provider: by the refresh token, else by a grant that needs nobody. The caller holds the
/// profile's lock. `no_store`: neither read nor write the store.
///
/// # Errors
/// Each kind of the contract.
pub fn obtain(host: &mut Host, profile: &mut Profile, cache: Option<&Cache>, no_store: bool) -> Result<(Cached, From)> {
    let grant = profile.default_grant().clone();
    // A store that can hold nothing of use is not opened: no keyring for a client's credentials from the environment.
    let self_sufficient = profile.provider.refresh.is_none() && lacks(profile, &grant, &|_| false).is_empty();
    let opened = if no_store || self_sufficient { Opened::nothing() } else { Opened::open(host, profile) };
    if let Some(trouble) = &opened.trouble {
        // Files that others can read are an alarm, not a lack.
        if profile.store == crate::config::StoreChoice::File {
            return Err(store_error(profile, trouble));
        }
    }
    // Nobody is asked for endpoints that would not be used.
    let kept = |name: &str| opened.kept.secrets.contains_key(name);
    let runs = !grant.flow.needs_person() && lacks(profile, &grant, &kept).is_empty();
    if runs || opened.kept.session.is_some() {
        let refresh = profile.provider.refresh_grant().filter(|_| opened.kept.session.is_some());
        let names = refresh.map(Grant::names).unwrap_or_else(|| grant.names());
        profile.discover(host, names, false)?;
    }
    let known = profile.known()?;
    obtain_with(host, &Wanted { profile, known: &known, cache }, &grant, opened)
}

/// What `grant` lacks of the values given, apart from those that `kept` has and from endpoints that the issuer will
/// tell.
fn lacks(profile: &Profile, grant: &Grant, kept: &dyn Fn(&str) -> bool) -> Vec<String> {
    let has_issuer = profile.known_values().is_ok_and(|values| values.contains_key("issuer"));
    plan::missing(&profile.provider, grant, &|name| {
        let told =
            has_issuer && profile.metadata.is_none() && profile.param(name).is_some_and(|p| p.metadata.is_some());
        is_given(profile, name) || kept(name) || told
    })
}

fn is_given(profile: &Profile, name: &str) -> bool {
    name != "refresh_token" && profile.given.contains_key(name)
}

fn obtain_with(host: &mut Host, wanted: &Wanted, grant: &Grant, mut opened: Opened) -> Result<(Cached, From)> {
    let Wanted { profile, known, .. } = wanted;
    let provider = &profile.provider;
    let url = profile.session_url(&profile.known_values()?);
    let secrets = opened.secrets_for(url.as_deref());
    let is_known = |name: &str| is_given(profile, name) || secrets.contains_key(name);
    let contradiction = opened.kept.session.as_ref().and_then(|s| s.belongs.contradiction(known));
    if let Some(differs) = &contradiction {
        host.detail(&format!("{}: the kept session is left alone; it differs in {differs}", profile.name));
    }
    let situation = plan::Situation {
        provider,
        asked: profile.asked.as_deref(),
        configured: profile.config.grant.as_deref(),
        refresh_token: opened.kept.session.is_some(),
        contradiction: contradiction.as_deref(),
        known: &is_known,
    };
    let mut step = plan::next(&situation);
    if step == plan::Step::Refresh {
        match refresh(host, wanted, &mut opened, &secrets)? {
            Some(token) => return Ok((token, From::Refresh)),
            None => {
                step = plan::after_death(&plan::Situation { refresh_token: false, ..situation });
                if let plan::Step::LoginNeeded(grant, _) = &step {
                    return Err(Error::new(
                        Kind::LoginNeeded,
                        format!("{}: the session has ended, and a login is needed", profile.name),
                        "the provider no longer takes the refresh token",
                    )
                    .hint(format!("run: tok login {} {}", profile.name, grant.name)));
                }
            }
        }
    }
    match step {
        plan::Step::Run(grant) => {
            let token = run(host, wanted, grant, &mut opened, &secrets, contradiction.is_some())?;
            Ok((token, From::Grant))
        }
        plan::Step::LoginNeeded(lacking, missing) => Err(match profile.not_offered(lacking, &missing) {
            Some(error) if lacking == grant => error,
            _ => login_needed(profile, lacking, &missing, &opened, contradiction.as_deref(), url.as_deref()),
        }),
        // `after_death` has no refresh token to offer.
        plan::Step::Refresh => Err(Error::new(Kind::Other, format!("{}: nothing to do", profile.name), "")),
    }
}

/// Uses the kept refresh token. `None`: it is dead, and forgotten.
fn refresh(
    host: &mut Host,
    wanted: &Wanted,
    opened: &mut Opened,
    secrets: &BTreeMap<String, Secret>,
) -> Result<Option<Cached>> {
    let profile = wanted.profile;
    let (Some(grant), Some(rules)) = (profile.provider.refresh_grant(), &profile.provider.refresh) else {
        return Ok(None);
    };
    // Twice at most: a token that another machine or program put there meanwhile is tried once.
    for _ in 0..2 {
        let Some(session) = opened.kept.session.clone() else { return Ok(None) };
        let mut filled = fill(host, profile, For::Grant(grant), secrets, &[("refresh_token", &session.refresh_token)])?;
        filled.bind(grant, &opened.kept)?;
        let home = origin(&session.belongs.url);
        let hold = crate::signals::hold(true);
        let asking = Asking {
            name: &grant.name,
            call: &grant.call,
            rules: &grant.response,
            dead: &rules.dead,
            home: home.as_deref(),
        };
        match ask(host, profile, &asking, &filled)? {
            Outcome::Issued(issued, received) => {
                let new = issued.refresh_token.clone().unwrap_or_else(|| session.refresh_token.clone());
                if new != session.refresh_token {
                    let kept = Kept {
                        session: Some(Session { refresh_token: new, ..session.clone() }),
                        dpop_key: filled.dpop_key.clone(),
                        ..opened.kept.clone()
                    };
                    keep_or_insist(host, profile, opened, kept);
                }
                let belongs = filled.known(profile, wanted.known).joined(&session.belongs, &grant.name);
                let token = cached(profile, grant, &issued, received, belongs, &filled)?;
                put(host, wanted, grant, &token);
                index(host, profile, opened, &issued);
                drop(hold);
                host.speak();
                return Ok(Some(token));
            }
            Outcome::Failed(error, _) => return Err(error),
            Outcome::Dead(error) => {
                host.detail(&error.to_string());
                opened.read(profile);
                if let Some(trouble) = &opened.trouble {
                    return Err(store_error(profile, trouble));
                }
                let newer = opened.kept.session.as_ref().is_some_and(|s| s.refresh_token != session.refresh_token);
                if newer {
                    host.detail(&format!("{}: the store holds a newer refresh token", profile.name));
                    continue;
                }
                let kept = Kept { session: None, ..opened.kept.clone() };
                if let Err(trouble) = opened.write(&profile.name, kept) {
                    host.warn(&format!(
                        "{}: the dead refresh token cannot be forgotten: {}",
                        profile.name, trouble.why
                    ));
                    opened.kept.session = None;
                }
                Index::of(host, &profile.name).update(|entry| entry.refresh_token = false);
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// Runs a grant that needs nobody. `apart`: what is kept is another's, and stays as it is.
fn run(
    host: &mut Host,
    wanted: &Wanted,
    grant: &Grant,
    opened: &mut Opened,
    secrets: &BTreeMap<String, Secret>,
    apart: bool,
) -> Result<Cached> {
    let profile = wanted.profile;
    let mut filled = fill(host, profile, For::Grant(grant), secrets, &[])?;
    filled.bind(grant, &opened.kept)?;
    let home = if filled.from_store.is_empty() { None } else { opened.kept.secrets_for.clone() };
    if profile.provider.refresh.is_some() && !apart {
        opened.check_ready();
    }
    if let Some(trouble) = &opened.trouble {
        let text = format!("{}; going on without it", store_error(profile, trouble));
        if filled.from_config.is_empty() { host.detail(&text) } else { host.warn(&text) }
    }
    let is_kept_personal = profile.provider.is_personal(grant)
        && filled.from_store.iter().any(|name| profile.provider.param(name).is_some_and(|p| p.personal));
    if is_kept_personal
        && Index::of(host, &profile.name).read().is_some_and(|e| e.refused.as_ref() == Some(&grant.name))
    {
        return Err(Error::new(
            Kind::LoginNeeded,
            format!("{}: a login is needed", profile.name),
            format!("the provider has refused the grant {} with what is kept, and it is not sent twice", grant.name),
        )
        .hint(format!("run: tok login {} {}", profile.name, grant.name)));
    }
    let hold = crate::signals::hold(false);
    let asking =
        Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[], home: home.as_deref() };
    let outcome = match grant.flow {
        Flow::Signed => signed(profile, &filled, host.now()),
        _ => ask(host, profile, &asking, &filled)?,
    };
    let (issued, received) = match outcome {
        Outcome::Issued(issued, received) => (issued, received),
        Outcome::Dead(error) | Outcome::Failed(error, _) => {
            if is_kept_personal && error.kind == Kind::Refused {
                Index::of(host, &profile.name).update(|entry| entry.refused = Some(grant.name.clone()));
            }
            return Err(error);
        }
    };
    let url = profile.session_url(&filled.values).unwrap_or_default();
    let known = filled.known(profile, wanted.known);
    let mut belongs = known.belongs(&url, Some(&grant.name), Some(&grant.name));
    belongs.apart = apart || given_beside_kept(host, profile);
    // Before anything is kept: a token that cannot be used leaves nothing behind.
    let token = cached(profile, grant, &issued, received, belongs, &filled)?;
    if let (Some(refresh_token), false, true, Some(_)) =
        (&issued.refresh_token, apart, opened.is_usable(), &profile.provider.refresh)
    {
        let session = Session {
            refresh_token: refresh_token.clone(),
            belongs: known.belongs(&url, Some(&grant.name), None),
            since: received.secs(),
        };
        let kept = Kept { session: Some(session), dpop_key: filled.dpop_key.clone(), ..opened.kept.clone() };
        keep_or_insist(host, profile, opened, kept);
        index(host, profile, opened, &issued);
    }
    put(host, wanted, grant, &token);
    drop(hold);
    host.speak();
    Ok(token)
}

/// Verifies the ID token of `issued` against the issuer's keys (OIDC Core §3.1.3.7), and says whether it was: not
/// where issuer or keys are not known or cannot be had now. What needs no key is checked all the same.
///
/// # Errors
/// [`Kind::Reply`] where it is not to be trusted.
pub fn verify_id_token(
    host: &mut Host,
    profile: &Profile,
    token: &Secret,
    access_token: Option<&Secret>,
    filled: &Filled,
) -> Result<bool> {
    let value = |name: &str| filled.values.get(name).map(|value| value.as_str());
    let (Some(issuer), Some(client_id)) = (value("issuer"), value("client_id")) else { return Ok(false) };
    let expected = id_token::Expected {
        issuer,
        client_id,
        nonce: value("nonce"),
        access_token: access_token.map(Secret::expose),
        max_age: None,
        now: host.now().secs(),
    };
    let refuse = |why: String| {
        Error::new(Kind::Reply, format!("{}: the ID token of {issuer} cannot be trusted", profile.name), why)
            .hint("see that the clock is right, and that the issuer and the client are the ones that were meant")
    };
    let unverified = || {
        let checked = id_token::check_unsigned(token.expose(), &expected);
        checked.map(|()| false).map_err(|why| refuse(why.to_string()))
    };
    let Some(url) = value("jwks_url").map(str::to_string).or_else(|| profile.value("jwks_url")) else {
        return unverified();
    };
    for fresh in [false, true] {
        let keys = match crate::metadata::jwks(host, &url, profile.ca_file.as_deref(), fresh) {
            Ok(keys) => keys,
            Err(error) => {
                host.detail(&format!("{}: the ID token is not verified: {error}", profile.name));
                return unverified();
            }
        };
        let keys = Jwks::parse(&keys).map_err(|why| refuse(format!("its keys cannot be read: {why}")))?;
        match id_token::check(token.expose(), &keys, &expected) {
            Ok(_) => return Ok(true),
            // The server may have changed its keys since.
            Err(id_token::Refused::Signature(VerifyError::NoKey)) if !fresh => {}
            Err(why) => return Err(refuse(why.to_string())),
        }
    }
    Ok(false)
}

/// Whether this call gives a secret of its own where a login has kept one of that name: what it brings is for this
/// call's settings alone.
fn given_beside_kept(host: &Host, profile: &Profile) -> bool {
    let kept = Index::of(host, &profile.name).read().map(|entry| entry.secrets).unwrap_or_default();
    kept.iter().any(|name| profile.given.get(name).is_some_and(|given| is_of_this_call(&given.source)))
}

/// Keeps a new refresh token; where that fails the access token is still good, and a person is told in any case.
fn keep_or_insist(host: &mut Host, profile: &Profile, opened: &mut Opened, kept: Kept) {
    if let Err(trouble) = opened.write(&profile.name, kept) {
        let why = store_error(profile, &trouble);
        host.insist(&format!("the new refresh token could not be kept: {why}"));
        host.insist(&format!("when this access token ends, log in again: tok login {}", profile.name));
    }
}

/// The assertion as the token: what it says is known here.
pub fn signed(profile: &Profile, filled: &Filled, now: Time) -> Outcome {
    let text = filled.values.get("assertion").map(|text| text.as_str()).unwrap_or_default();
    let wrong = |why: &str| {
        let unready = Unready::Wrong("assertion".into(), why.into());
        Outcome::Failed(profile.unready(unready), None)
    };
    let Some(claims) = crate::jwt::claims(text).filter(|_| is_token(text)) else { return wrong("is no JWT") };
    let expires = match claims.get("exp").and_then(|exp| exp.as_i64().or(exp.as_f64().map(|exp| exp as i64))) {
        Some(at) if at <= now.secs() => return wrong("has expired"),
        Some(at) => Expires::At(at),
        None => Expires::Unknown,
    };
    let issued = Issued {
        access_token: Secret::new(text),
        refresh_token: None,
        token_type: None,
        scope: None,
        expires,
        refresh_expires: Expires::Unknown,
        id_token: None,
        extra: Default::default(),
        notes: Vec::new(),
    };
    Outcome::Issued(issued, now)
}

/// The token as it waits and is shown.
///
/// # Errors
/// [`Kind::Config`] where the request header cannot be made; [`Kind::Reply`] where a token is not bound to the key as
/// was asked (RFC 9449 §5).
pub fn cached(
    profile: &Profile,
    grant: &Grant,
    issued: &Issued,
    received: Time,
    belongs: crate::belongs::Belongs,
    filled: &Filled,
) -> Result<Cached> {
    let usage = &profile.provider.usage;
    let bound = issued.token_type.as_deref().is_some_and(|sort| sort.eq_ignore_ascii_case("dpop"));
    if filled.dpop_key.is_some() && !bound {
        let what = format!("{}: the token cannot be used", profile.name);
        return Err(Error::new(Kind::Reply, what, "it is not bound to the key, as was asked (--dpop true)")
            .hint("the server may know no DPoP: --dpop false"));
    }
    let value = usage.value.fill(|name| match name {
        "access_token" => Some(issued.access_token.expose()),
        _ => filled.values.get(name).map(|v| v.as_str()),
    });
    let wrong = |why: &str| Error::new(Kind::Config, format!("{}: the header {}", profile.name, usage.header), why);
    let mut value = value.map_err(|gap| wrong(&format!("cannot be made: {gap:?}")))?;
    if let Some(token) = value.strip_prefix("Bearer ").filter(|_| bound) {
        value = format!("DPoP {token}");
    }
    if value.contains(['\r', '\n', '\0']) {
        return Err(wrong("would hold a line break or NUL"));
    }
    Ok(Cached {
        provider: profile.provider.name.clone(),
        grant: grant.name.clone(),
        access_token: issued.access_token.clone(),
        token_type: issued.token_type.clone(),
        scope: issued.scope.clone(),
        received,
        expires: issued.expires,
        header: (usage.header.clone(), Secret::new(value)),
        id_token: issued.id_token.clone().map(|text| IdToken { text, verified: false }),
        dpop_key: filled.dpop_key.clone(),
        extra: issued.extra.clone(),
        belongs,
    })
}

/// Puts the token where the next call finds it, if it may wait there; an older one goes in any case.
pub fn put(host: &mut Host, wanted: &Wanted, grant: &Grant, token: &Cached) {
    let Some(cache) = wanted.cache else { return };
    let now = token.received.secs();
    let waits = match token.expires {
        Expires::At(at) => at > now,
        Expires::Never => true,
        // To get it again would need a person again.
        Expires::Unknown => wanted.profile.provider.is_personal(grant) || grant.flow.needs_person(),
    };
    if !waits {
        cache.drop_answers(wanted.known, now);
    } else if cache.put(wanted.known, token).is_none() {
        host.detail(&format!("{}: the token cannot wait on disk; the next call asks again", wanted.profile.name));
    }
}

/// Writes down what is kept, so that `list` and `show` need no store.
pub fn index(host: &Host, profile: &Profile, opened: &Opened, issued: &Issued) {
    let session = opened.kept.session.as_ref();
    let refresh_expires_at = session.and_then(|s| match issued.refresh_expires {
        Expires::At(at) => Some(at),
        Expires::Never => None,
        Expires::Unknown => {
            let grant = profile.provider.refresh_grant()?;
            grant.response.refresh_lifetime.map(|life| s.since.saturating_add(life))
        }
    });
    Index::of(host, &profile.name).update(|entry| {
        entry.provider = profile.provider.name.clone();
        entry.grant = session.and_then(|s| s.belongs.grant.clone());
        entry.store = profile.store.to_string();
        entry.refresh_token = session.is_some();
        entry.refused = None;
        entry.refresh_expires_at = refresh_expires_at;
        entry.secrets = opened.kept.secrets.keys().cloned().collect();
        entry.origin = session.and_then(|s| origin(&s.belongs.url)).or_else(|| opened.kept.secrets_for.clone());
    });
}
