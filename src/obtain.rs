//! From a profile to a token: open the store, fill the grant, ask the provider, keep what came. `cmd/get.rs` and
//! `cmd/login.rs` say when.

use crate::belongs::Known;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::index::Index;
use crate::kept::{Kept, Session};
use crate::output::Source as From;
use crate::plan;
use crate::profile::{Profile, Source};
use crate::provider::{Call, Grant, Rules, Test};
use crate::reply::{self, Issued, Note};
use crate::request::{self, Repeat, Response, Unready, Values};
use crate::store::cache::{Cache, Cached};
use crate::store::{Store, StoreError, Trouble};
use crate::token::{Expires, Secret, Time};
use crate::url::Url;
use std::collections::BTreeMap;
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

/// A grant with everything it needs.
pub struct Filled {
    /// The values.
    pub values: Values,
    /// Names of those that came from the store.
    pub from_store: Vec<String>,
    /// Names of those that came from neither environment, file nor command.
    pub from_config: Vec<String>,
}

/// Finds the values of `call`: what was given, else what the store kept for the place it goes to. `extra` are
/// values that only the caller knows, such as the refresh token.
///
/// # Errors
/// [`Kind::Config`] or [`Kind::Store`] where a command or the keyring fails.
pub fn fill(
    host: &Host,
    profile: &Profile,
    call: &Call,
    kept: &BTreeMap<String, Secret>,
    extra: &[(&str, &Secret)],
) -> Result<Filled> {
    let mut filled = Filled { values: Values::new(), from_store: Vec::new(), from_config: Vec::new() };
    for name in profile.provider.closure(call.names()).into_keys() {
        if let Some((_, secret)) = extra.iter().find(|(n, _)| *n == name) {
            filled.values.insert(name, secret.expose().to_string().into());
        } else if let Some(value) = profile.fetch(host, &name)? {
            let source = profile.given.get(&name).map(|g| &g.source);
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
    request::defaults(&profile.provider, &mut filled.values).map_err(|u| profile.unready(u))?;
    Ok(filled)
}

impl Filled {
    /// `known`, with the non-personal secrets that came from the store.
    pub fn known(&self, profile: &Profile, known: &Known) -> Known {
        let is_shared = |name: &&String| profile.provider.param(name).is_some_and(|p| p.secret && !p.personal);
        let kept = self.from_store.iter().filter(is_shared);
        known.with_secrets(kept.filter_map(|name| Some((name.as_str(), self.values.get(name)?.as_str()))))
    }
}

/// What came of asking the provider.
pub enum Outcome {
    /// A token.
    Issued(Issued, Time),
    /// The provider refused, in a way that its `dead` names.
    Dead(Error),
    /// Anything else that went wrong.
    Failed(Error),
}

/// Sends `call` and reads the reply. `homes`: the only origin that secrets from the store may go to, if any are in it.
/// What there is to say waits until [`Host::speak`].
///
/// # Errors
/// What keeps the request from being sent; what comes after it is an [`Outcome`].
pub fn ask(
    host: &mut Host,
    profile: &Profile,
    name: &str,
    call: &Call,
    reading: (&Rules, &[Test]),
    filled: &Filled,
    home: Option<&str>,
) -> Result<Outcome> {
    let (rules, dead) = reading;
    host.detail(&format!("{}: running the grant {name}", profile.name));
    host.hush();
    let (response, sent) = match send(host, profile, call, filled, home)? {
        Ok(answered) => answered,
        Err(error) => return Ok(Outcome::Failed(error)),
    };
    Ok(match reply::read(rules, dead, &response) {
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
            let to = &sent.to;
            let what = match failure.kind {
                Kind::Refused => format!("{}: {to} refused the grant {name}", profile.name),
                Kind::Unavailable => format!("{}: {to} cannot answer now", profile.name),
                _ => format!("{}: the reply of {to} cannot be understood", profile.name),
            };
            let mut error = Error::new(failure.kind, what, hide(&failure.why, profile, &sent));
            error.hint = Some(match failure.kind {
                Kind::Refused => format!("check the values it was sent: tok show {}", profile.name),
                Kind::Unavailable => "try again later".to_string(),
                _ => format!("see whether {to} is the right place: tok show {}", profile.name),
            });
            if failure.dead { Outcome::Dead(error) } else { Outcome::Failed(error) }
        }
    })
}

/// What was sent, as far as a reply may quote it.
struct Sent<'f> {
    /// The values.
    values: &'f Values,
    /// What the `Authorization` header carries.
    credentials: Vec<Zeroizing<String>>,
    /// The origin that it went to.
    to: String,
}

/// Sends `call`: the reply and what it may quote, or why there is none.
///
/// # Errors
/// What keeps the request from being sent.
fn send<'f>(
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
    } else if call.names().contains_key("refresh_token") {
        Repeat::Rotating
    } else {
        Repeat::Freely
    };
    let request = request::build(call, &filled.values, repeat).map_err(|unready| match unready {
        Unready::Missing(value) => Error::new(Kind::LoginNeeded, format!("{}: {value} is missing", profile.name), "")
            .hint(format!("set {}, or log in: tok login {}", profile.ways(&value), profile.name)),
        wrong => profile.unready(wrong),
    })?;
    let to = origin(&request.url).unwrap_or_default();
    if let Some(home) = home
        && home != to
    {
        return Err(elsewhere(profile, home, &to));
    }
    let credentials = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let credentials = credentials.filter_map(|(_, value)| value.rsplit(' ').next().map(str::to_string));
    let sent = Sent { values: &filled.values, credentials: credentials.map(Zeroizing::new).collect(), to };
    Ok(match host.send(&request, profile.ca_file.as_deref()) {
        Ok(response) => Ok((response, sent)),
        Err(mut error) => {
            error.what = format!("{}: {}", profile.name, error.what);
            Err(error)
        }
    })
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
        if profile.param(name).is_none_or(|p| p.secret) {
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
            text = text.replace(form.as_str(), "***").replace(&crate::text::escape_to(&form, usize::MAX), "***");
        }
    }
    text
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
    let mut why = format!("the grant {} lacks {}", grant.name, values.join(" and "));
    for variable in &profile.empty {
        why.push_str(&format!("; {variable} is set but empty"));
    }
    let hint = match variables.is_empty() {
        true => format!("run: {login} --refresh-token-file PATH, or another grant: tok login {}", profile.name),
        false => format!("run: {login} — or set {variables}"),
    };
    Error::new(Kind::LoginNeeded, what, why).hint(hint)
}

/// What a token is to be got for.
pub struct Wanted<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// The settings in force.
    pub known: &'a Known,
    /// Where access tokens wait; `None`: nowhere.
    pub cache: Option<&'a Cache>,
    /// Neither read nor write the store.
    pub no_store: bool,
}

/// Gets a token from the provider: by the refresh token, else by a grant that needs nobody. The caller holds the
/// profile's lock.
///
/// # Errors
/// Each kind of the contract.
pub fn obtain(host: &mut Host, wanted: &Wanted) -> Result<(Cached, From)> {
    let Wanted { profile, known, .. } = wanted;
    let provider = &profile.provider;
    let given = |name: &str| name != "refresh_token" && profile.given.contains_key(name);
    let grant = profile.default_grant();
    // A store that can hold nothing of use is not opened: no keyring for a client's credentials from the environment.
    let self_sufficient = provider.refresh.is_none() && plan::missing(provider, grant, &given).is_empty();
    let mut opened = if wanted.no_store || self_sufficient { Opened::nothing() } else { Opened::open(host, profile) };
    if let Some(trouble) = &opened.trouble {
        // Files that others can read are an alarm, not a lack.
        if profile.store == crate::config::StoreChoice::File {
            return Err(store_error(profile, trouble));
        }
    }
    let url = profile.session_url(&profile.known_values()?);
    let secrets = opened.secrets_for(url.as_deref());
    let is_known = |name: &str| given(name) || secrets.contains_key(name);
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
        plan::Step::LoginNeeded(grant, missing) => {
            Err(login_needed(profile, grant, &missing, &opened, contradiction.as_deref(), url.as_deref()))
        }
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
        let filled = fill(host, profile, &grant.call, secrets, &[("refresh_token", &session.refresh_token)])?;
        let home = origin(&session.belongs.url);
        let hold = crate::signals::hold(true);
        let reading = (&grant.response, rules.dead.as_slice());
        match ask(host, profile, &grant.name, &grant.call, reading, &filled, home.as_deref())? {
            Outcome::Issued(issued, received) => {
                let new = issued.refresh_token.clone().unwrap_or_else(|| session.refresh_token.clone());
                if new != session.refresh_token {
                    let kept = Kept {
                        session: Some(Session { refresh_token: new, ..session.clone() }),
                        ..opened.kept.clone()
                    };
                    keep_or_insist(host, profile, opened, kept);
                }
                let belongs = filled.known(profile, wanted.known).joined(&session.belongs, &grant.name);
                let token = cached(profile, grant, &issued, received, belongs, &filled.values)?;
                put(host, wanted, grant, &token);
                index(host, profile, opened, &issued);
                drop(hold);
                host.speak();
                return Ok(Some(token));
            }
            Outcome::Failed(error) => return Err(error),
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
    let filled = fill(host, profile, &grant.call, secrets, &[])?;
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
    let outcome = ask(host, profile, &grant.name, &grant.call, (&grant.response, &[]), &filled, home.as_deref())?;
    let (issued, received) = match outcome {
        Outcome::Issued(issued, received) => (issued, received),
        Outcome::Dead(error) | Outcome::Failed(error) => {
            if is_kept_personal && error.kind == Kind::Refused {
                Index::of(host, &profile.name).update(|entry| entry.refused = Some(grant.name.clone()));
            }
            return Err(error);
        }
    };
    let url = profile.session_url(&filled.values).unwrap_or_default();
    let known = filled.known(profile, wanted.known);
    if let (Some(token), false, true, Some(_)) =
        (&issued.refresh_token, apart, opened.is_usable(), &profile.provider.refresh)
    {
        let session = Session {
            refresh_token: token.clone(),
            belongs: known.belongs(&url, Some(&grant.name), None),
            since: received.secs(),
        };
        let kept = Kept { session: Some(session), ..opened.kept.clone() };
        keep_or_insist(host, profile, opened, kept);
        index(host, profile, opened, &issued);
    }
    let mut belongs = known.belongs(&url, Some(&grant.name), Some(&grant.name));
    belongs.apart = apart || given_beside_kept(host, profile);
    let token = cached(profile, grant, &issued, received, belongs, &filled.values)?;
    put(host, wanted, grant, &token);
    drop(hold);
    host.speak();
    Ok(token)
}

/// Whether this call gives a secret of its own where a login has kept one of that name: what it brings is for this
/// call's settings alone.
fn given_beside_kept(host: &Host, profile: &Profile) -> bool {
    let kept = Index::of(host, &profile.name).read().map(|entry| entry.secrets).unwrap_or_default();
    let passing = |source: &Source| matches!(source, Source::Flag | Source::Env(_) | Source::EnvFile(_));
    kept.iter().any(|name| profile.given.get(name).is_some_and(|given| passing(&given.source)))
}

/// Keeps a new refresh token; where that fails the access token is still good, and a person is told in any case.
fn keep_or_insist(host: &mut Host, profile: &Profile, opened: &mut Opened, kept: Kept) {
    if let Err(trouble) = opened.write(&profile.name, kept) {
        let why = store_error(profile, &trouble);
        host.insist(&format!("the new refresh token could not be kept: {why}"));
        host.insist(&format!("when this access token ends, log in again: tok login {}", profile.name));
    }
}

/// The token as it waits and is shown.
///
/// # Errors
/// [`Kind::Config`] where the request header cannot be made.
pub fn cached(
    profile: &Profile,
    grant: &Grant,
    issued: &Issued,
    received: Time,
    belongs: crate::belongs::Belongs,
    values: &Values,
) -> Result<Cached> {
    let usage = &profile.provider.usage;
    let value = usage.value.fill(|name| match name {
        "access_token" => Some(issued.access_token.expose()),
        _ => values.get(name).map(|v| v.as_str()),
    });
    let wrong = |why: &str| Error::new(Kind::Config, format!("{}: the header {}", profile.name, usage.header), why);
    let value = value.map_err(|gap| wrong(&format!("cannot be made: {gap:?}")))?;
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
        Expires::Unknown => wanted.profile.provider.is_personal(grant),
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
