//! `tok login`: runs one grant and keeps what it returns.

use super::Context;
use crate::base::error::{Error, Kind};
use crate::base::name::is_name;
use crate::base::secret::Lines;
use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::cli::LoginArgs;
use crate::host::{Host, Stdin};
use crate::oauth::poll::{self, Answer, Poll};
use crate::oauth::reply::Issued;
use crate::profile::config::{Edit, PlainValue};
use crate::profile::{Given, Profile, Source, Value, Wishes, read_trusted};
use crate::provider::{Auth, Flow, Grant, Param};
use crate::session::acquire::{self, Wanted};
use crate::session::exchange::{self, Asking, Outcome};
use crate::session::inputs::{self, For, Inputs};
use crate::session::open_store::{self, Opened};
use crate::session::person::{self, Begun, Person};
use crate::session::plan;
use crate::storage::cache::Cache;
use crate::storage::choice::StoreChoice;
use crate::storage::index::Index;
use crate::storage::lock::Lock;
use crate::storage::secrets::{StoreError, Trouble};
use crate::system::files::{self, Durable, Target};
use crate::system::signals::Hold;
use crate::system::terminal::Echo;
use crate::token::Token;
use crate::token::credentials::{Kept, Session};
use crate::token::identity::Known;
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Runs the login.
///
/// # Errors
/// Each kind of the contract; nothing has changed then, but for a refresh token that the provider has taken and the
/// store did not: that is said.
pub fn run(context: &mut Context, args: &LoginArgs) -> Result<()> {
    let name = args.keep_as.clone().unwrap_or(args.target.clone());
    if !is_name(&name) {
        return Err(Error::new(
            Kind::Usage,
            format!("`{}` cannot name a profile", crate::base::text::escape_to(&name, 80)),
            "a name is lower-case letters, digits and `-`, at most 63",
        )
        .into());
    }
    let store = args.store.as_deref().map(StoreChoice::parse).transpose();
    let store = store.map_err(|why| Error::new(Kind::Usage, "--store", why))?;
    // `login shop-eu --as shop-us`: another account at the provider of shop-eu.
    let of = context.setup.config.profiles.get(&args.target).and_then(|p| p.provider.clone());
    let wishes = Wishes {
        grant: args.grant.clone(),
        flags: super::typed(context.host, &args.values)?,
        store: store.clone(),
        provider: args.keep_as.is_some().then(|| of.unwrap_or(args.target.clone())),
    };
    let profile = Profile::resolve(context.host, &context.setup, &name, &wishes)?;
    log_in(context, args, profile, store).context(name)
}

fn log_in(context: &mut Context, args: &LoginArgs, mut profile: Profile, store: Option<StoreChoice>) -> Result<()> {
    let name = profile.name.clone();
    let grant = profile.default_grant().clone();
    // From here on the grant is named, whoever named it.
    profile.asked = Some(grant.name.clone());
    let is_refresh = profile.provider.refresh_grant() == Some(&grant);

    discover(context.host, &mut profile, &grant)?;
    let opened = open(context.host, &profile, false)?;
    let kept = usable_secrets(&profile, &opened)?;
    let missing = plan::missing(&profile.provider, &grant, &|name| {
        profile.given.contains_key(name)
            || kept.contains_key(name)
            || (name == "refresh_token" && opened.kept.session.is_some())
    });
    if let Some(error) = profile.not_offered(&grant, &missing) {
        return Err(error.into());
    }
    if !missing.is_empty() && !context.host.terminal.interactive {
        return Err(cannot_ask(&profile, &grant, &missing, &opened).into());
    }
    for value in missing {
        let given = prompt(context.host, &profile, &value)?;
        profile.given.insert(value, given);
    }
    profile.warn_of_exposed(context.host);
    let edit = edit(&profile, &grant, is_refresh, store);
    check_config(context, &name, &edit)?;
    if let Some(warning) = &grant.warning {
        context.host.terminal.warn(warning);
    }

    let limit = args.timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let person = Person { browser: !args.no_browser, limit };
    // A person takes their time before anybody has to wait for it.
    let begun = match grant.flow.needs_person() {
        true => {
            let mut inputs = inputs::fill(context.host, &profile, For::Grant(&grant), &kept, &[])?;
            let begun = person::begin(context.host, &profile, &grant, &mut inputs, person)?;
            if limit.is_none() {
                context.host.clock.renew();
            }
            Some((inputs, begun))
        }
        false => None,
    };
    let asked = match begun {
        None => ask(context, &profile, &grant, is_refresh)?,
        Some((inputs, Begun::Ready)) => {
            let lock = context.lock(&name)?;
            let opened = open(context.host, &profile, true)?;
            ask_with(context.host, &profile, &grant, inputs, opened, lock)?
        }
        Some((inputs, Begun::Poll(poll))) => wait(context, &profile, &grant, inputs, opened, (poll, limit))?,
    };
    let Asked { lock, mut opened, inputs, issued, received, used, hold } = asked;

    // A refresh token that was spent must not be lost to what came beside the new one: that is looked at when it is used.
    let verified = match &issued.id_token {
        Some(token) if !is_refresh => {
            acquire::verify_id_token(context.host, &profile, token, Some(&issued.access_token), &inputs)?
        }
        _ => false,
    };
    let login = Login {
        url: profile.session_url(inputs.values()).unwrap_or_default(),
        used,
        keep: args.keep,
        known: inputs.known(&profile, &profile.known()?),
        inputs,
        profile: &profile,
        grant: &grant,
        is_refresh,
        issued,
        received,
    };
    let token = match login.token(verified) {
        Err(error) if !is_refresh => return Err(error),
        token => token,
    };
    opened.follow_newcomer(context.host, &name)?;
    let kept = login.kept(&opened.kept);
    if let Err(trouble) = opened.write(&name, kept) {
        let mut error = open_store::store_error(&profile, &trouble);
        error.why = format!("the login worked, but nothing could be kept: {}", error.why);
        return Err(error.into());
    }
    let token = token?;
    write_config(context, &name, &edit)?;
    login.cache_and_index(context, &opened, &token)?;
    drop(hold);
    drop(lock);
    context.host.terminal.release_messages();
    login.report(context.host, &opened);
    Ok(())
}

/// Finds the endpoints of `grant`. The issuer that tells them is asked for first.
fn discover(host: &mut Host, profile: &mut Profile, grant: &Grant) -> Result<()> {
    let lacks = |profile: &Profile| {
        let missing = plan::missing(&profile.provider, grant, &|name| profile.given.contains_key(name));
        missing.iter().any(|name| name == "issuer")
    };
    if lacks(profile) && host.terminal.interactive {
        let given = prompt(host, profile, "issuer")?;
        profile.given.insert("issuer".into(), given);
    }
    // A login may be there to mend a change.
    profile.discover(host, grant.names(), true)
}

/// A grant that was answered with a token.
struct Asked {
    lock: Lock,
    opened: Opened,
    inputs: Inputs,
    issued: Issued,
    received: Time,
    /// The refresh token that it was got with.
    used: Option<Secret>,
    hold: Hold,
}

/// Runs a grant that needs no flow.
fn ask(context: &mut Context, profile: &Profile, grant: &Grant, is_refresh: bool) -> Result<Asked> {
    let lock = context.lock(&profile.name)?;
    // Another process may have changed the entry while a person was typing.
    let opened = open(context.host, profile, true)?;
    let kept = usable_secrets(profile, &opened)?;
    let given = profile.fetch(context.host, "refresh_token")?.map(|t| Secret::new(t.as_str()));
    let session = opened.kept.session.as_ref();
    let refresh_token = match given {
        Some(given) => Some(Value::found(given, Source::Flag)),
        None => session.map(open_store::refresh_token),
    };
    let extra: Vec<(&str, Value)> = refresh_token.iter().map(|t| ("refresh_token", t.clone())).collect();
    let mut inputs = inputs::fill(context.host, profile, For::Grant(grant), &kept, &extra)?;
    inputs.bind(grant, &opened.kept)?;
    let hold = crate::system::signals::hold(is_refresh);
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[] };
    let outcome = match grant.flow {
        Flow::Signed => acquire::signed(profile, &inputs, context.host.clock.now()),
        _ => exchange::ask(context.host, profile, &asking, &inputs)?,
    };
    let (issued, received) = granted(profile, grant, outcome)?;
    Ok(Asked {
        lock,
        opened,
        inputs,
        issued,
        received,
        used: refresh_token.filter(|_| is_refresh).map(|t| t.text),
        hold,
    })
}

/// Exchanges the code that a flow has brought.
fn ask_with(
    host: &mut Host,
    profile: &Profile,
    grant: &Grant,
    mut inputs: Inputs,
    opened: Opened,
    lock: Lock,
) -> Result<Asked> {
    inputs.bind(grant, &opened.kept)?;
    let hold = crate::system::signals::hold(false);
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[] };
    let outcome = exchange::ask(host, profile, &asking, &inputs)?;
    let (issued, received) = granted(profile, grant, outcome)?;
    Ok(Asked { lock, opened, inputs, issued, received, used: None, hold })
}

/// Asks for the token until the person has decided. The lock is held for each request, and not between them.
fn wait(
    context: &mut Context,
    profile: &Profile,
    grant: &Grant,
    mut inputs: Inputs,
    mut opened: Opened,
    (mut poll, limit): (Poll, Option<Duration>),
) -> Result<Asked> {
    inputs.bind(grant, &opened.kept)?;
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[] };
    let ended = |why: &str, kind: Kind| {
        Error::new(kind, "the login has not come to an end", why).hint(profile.login_again(grant))
    };
    let deadline = limit.map(|_| context.host.clock.deadline);
    let mut pause = poll.first();
    // Why the last answer was none: the person may have done their part.
    let mut unreached = None;
    loop {
        if let Some(deadline) = deadline.filter(|deadline| context.host.clock.instant() + pause >= *deadline) {
            context.host.clock.sleep(deadline.saturating_duration_since(context.host.clock.instant()));
            let why = unreached.map_or("nobody logged in within --timeout".to_string(), |why| {
                format!("--timeout is over, and the server gave no answer at last: {why}")
            });
            return Err(ended(&why, Kind::Unavailable).into());
        }
        context.host.clock.sleep(pause);
        if deadline.is_none() {
            context.host.clock.renew();
        }
        let lock = context.lock(&profile.name)?;
        opened.follow(context.host, &profile.name)?;
        let outcome = exchange::ask(context.host, profile, &asking, &inputs)?;
        let (error, code) = match outcome {
            Outcome::Issued(issued, received) => {
                let hold = crate::system::signals::hold(false);
                opened.read(&profile.name);
                opened.follow(context.host, &profile.name)?;
                if let Some(trouble) = &opened.trouble {
                    return Err(open_store::store_error(profile, trouble).into());
                }
                return Ok(Asked { lock, opened, inputs, issued, received, used: None, hold });
            }
            Outcome::Dead(error) => (error, None),
            Outcome::Failed(error, code) => (error, code),
        };
        opened.release();
        drop(lock);
        context.host.terminal.release_messages();
        let answer = match code.as_deref().and_then(Answer::of) {
            Some(answer) => answer,
            None if error.kind == Kind::Unavailable => Answer::Unreachable,
            None => return Err(error.into()),
        };
        unreached = (answer == Answer::Unreachable).then(|| error.to_string());
        pause = match poll.next(answer, context.host.clock.instant()) {
            poll::Step::Wait(pause) => pause,
            poll::Step::GiveUp(why) => {
                return Err(match why {
                    poll::Why::Denied => ended("the person refused (access_denied)", Kind::Refused),
                    poll::Why::Expired => {
                        ended("nobody logged in while the code was good (expired_token)", Kind::Refused)
                    }
                    poll::Why::Failed => ended("the provider gave it up (transaction_failed)", Kind::Refused),
                    poll::Why::Unreachable => match error.hint {
                        Some(_) => error,
                        None => error.hint(profile.login_again(grant)),
                    },
                }
                .into());
            }
        };
    }
}

/// The token, or the refusal in the words of a login.
fn granted(profile: &Profile, grant: &Grant, outcome: Outcome) -> Result<(Issued, Time)> {
    match outcome {
        Outcome::Issued(issued, received) => Ok((issued, received)),
        Outcome::Dead(mut error) => {
            error.hint = Some(again(profile, grant));
            Err(error.into())
        }
        Outcome::Failed(mut error, code) => {
            if error.kind == Kind::Refused && !exchange::knows_more(&grant.call, code.as_deref()) {
                error.hint = Some(again(profile, grant));
            }
            Err(error.into())
        }
    }
}

/// A login that the provider has granted.
struct Login<'a> {
    profile: &'a Profile,
    grant: &'a Grant,
    /// It began with a refresh token from elsewhere or from the store.
    is_refresh: bool,
    /// That refresh token.
    used: Option<Secret>,
    /// `--keep`
    keep: bool,
    /// The settings in force, with the secrets that came from the store.
    known: Known,
    /// What was sent.
    inputs: Inputs,
    /// What names its session.
    url: String,
    issued: Issued,
    received: Time,
}

impl Login<'_> {
    /// The grant that the session begins with: a refresh token from elsewhere says nothing of it.
    fn began_with(&self) -> Option<&str> {
        (!self.is_refresh).then_some(self.grant.name.as_str())
    }

    /// The token as it waits. `verified`: its ID token was.
    fn token(&self, verified: bool) -> Result<Token> {
        let belongs = self.known.belongs(&self.url, self.began_with(), Some(&self.grant.name));
        let mut token = acquire::cached(self.profile, self.grant, &self.issued, self.received, belongs, &self.inputs)?;
        if let Some(id) = &mut token.id_token {
            id.verified = verified;
        }
        Ok(token)
    }

    /// Who a kept session is of, where this is that session going on.
    fn subject_of(&self, old: &Kept) -> Option<String> {
        let old = old.session.as_ref()?;
        if self.used.as_ref() == Some(&old.refresh_token) { old.subject.clone() } else { None }
    }

    /// What the store is to hold, where it held `old`. The session begins here, with this call's own state folder.
    fn kept(&self, old: &Kept) -> Kept {
        let provider = &self.profile.provider;
        let new = self.issued.refresh_token.as_ref().filter(|_| provider.refresh.is_some());
        // Where it was not rotated, the one that was handed in stays.
        let session = new.or(self.used.as_ref()).map(|refresh_token| Session {
            refresh_token: refresh_token.clone(),
            belongs: self.known.belongs(&self.url, self.began_with(), None),
            since: self.received.secs(),
            subject: self.issued.id_token.as_ref().and_then(acquire::subject).or_else(|| self.subject_of(old)),
        });
        let dpop_key = self.inputs.dpop_key.clone().or_else(|| old.dpop_key.clone());
        if self.is_refresh {
            // It leaves the kept secrets as they are.
            return Kept { session, dpop_key, folder: None, ..old.clone() };
        }
        let home = open_store::origin(&self.url);
        let is_fallback = provider.refresh.as_ref().and_then(|r| r.fallback.as_ref()) == Some(&self.grant.name);
        // A confidential client proves itself at each refresh too.
        let for_refresh = provider.refresh_grant().map(|refresh| provider.uses(refresh)).unwrap_or_default();
        let client = self.inputs.get("client_id").map(|id| id.to_string());
        let is_same = old.secrets_for == home && (old.secrets_client.is_none() || old.secrets_client == client);
        let mut secrets = if is_same { old.secrets.clone() } else { Default::default() };
        for name in provider.uses(self.grant).into_keys() {
            let Some(param) = provider.param(&name).filter(|p| p.secret) else { continue };
            let needed = session.is_none() || is_fallback || for_refresh.contains_key(&name);
            let wanted = match self.profile.given.get(&name).map(|g| &g.source) {
                Some(Source::Flag | Source::Asked) => self.keep || (needed && !param.personal),
                // What came from the environment is not kept, unless that is asked for.
                Some(Source::Env(_) | Source::EnvFile(_)) => self.keep,
                _ => false,
            };
            if let (true, Some(value)) = (wanted, self.inputs.get(&name)) {
                secrets.insert(name, Secret::new(value));
            }
        }
        let (secrets_for, secrets_client) = if secrets.is_empty() { (None, None) } else { (home, client) };
        Kept { session, secrets, secrets_for, secrets_client, dpop_key, folder: None, others: old.others.clone() }
    }

    /// Cache and index after the store: a new login answers all questions of its profile.
    fn cache_and_index(&self, context: &mut Context, opened: &Opened, token: &Token) -> Result<()> {
        let Login { profile, grant, .. } = self;
        if profile.cache {
            let cache = Cache::new(context.host.folders()?.cache(&profile.name));
            for old in std::iter::once(&cache).chain(&opened.cache_elsewhere(&profile.name)) {
                let _ = old.clear();
            }
            let wanted = Wanted { profile, known: &self.known, cache: Some(&cache) };
            acquire::put(context.host, &wanted, grant, token);
        }
        let before = Index::of(context.host, &profile.name).read().map(|entry| entry.store);
        acquire::index(context.host, profile, opened, &self.issued);
        // What an earlier login kept in another store is nobody's any more.
        if let Some(before) = before.filter(|b| !b.is_empty() && *b != profile.store.to_string())
            && let Ok(choice) = StoreChoice::parse(&before)
            && let Ok(Some(mut old)) = context.host.store(&choice)
            && old.forget(&profile.name).is_err()
        {
            context.host.terminal.warn(&format!("{}: what the {before} store held could not be removed", profile.name));
        }
        Ok(())
    }

    /// Says what is now there.
    fn report(&self, host: &mut Host, opened: &Opened) {
        let Login { profile, grant, .. } = self;
        let kept = match (&opened.kept.session, opened.kept.secrets.is_empty()) {
            (Some(_), true) => "the refresh token is kept",
            (Some(_), false) => "the refresh token and the secret are kept",
            (None, false) => "the secret is kept",
            (None, true) => "nothing but the access token is kept",
        };
        let life = match self.issued.expires.at() {
            Some(at) => format!("good for {}", crate::base::duration::show(at - self.received.secs())),
            None => "without a known end".into(),
        };
        if profile.store == StoreChoice::None {
            host.terminal.warn(&format!("{}: {kept}: the store is none", profile.name));
        }
        let scopes = self.inputs.get("scope").unwrap_or_default();
        if self.issued.refresh_token.is_none() && scopes.split(' ').any(|scope| scope == "offline_access") {
            host.terminal.warn(&format!(
                "{}: offline_access was asked for, and no refresh token came: a login is needed again when this token ends",
                profile.name
            ));
        }
        let place = if opened.kept.is_empty() { String::new() } else { format!(" in the {} store", profile.store) };
        host.terminal.tell(&format!(
            "logged in to {} as {} by {}: an access token {life}; {kept}{place}",
            profile.provider.title, profile.name, grant.name
        ));
    }
}

/// Opens the store: a login that cannot keep anything is refused before anything is sent. `locked`: the lock of this
/// call's own state folder is held, and that of another is taken if it guards what is kept.
fn open(host: &mut Host, profile: &Profile, locked: bool) -> Result<Opened> {
    let mut opened = Opened::open(host, profile);
    if locked {
        opened.follow(host, &profile.name)?;
        opened.prepare();
    } else {
        opened.check_ready();
    }
    match &opened.trouble {
        // An entry that is none of ours is replaced by the login; a file that is none of ours is not.
        Some(StoreError { trouble: Trouble::Corrupt, .. }) if profile.store != StoreChoice::File => {
            opened.trouble = None;
            Ok(opened)
        }
        Some(trouble) => Err(open_store::store_error(profile, trouble).into()),
        None => Ok(opened),
    }
}

fn usable_secrets(profile: &Profile, opened: &Opened) -> Result<std::collections::BTreeMap<String, Value>> {
    let url = profile.session_url(&profile.known_values()?);
    Ok(opened.secrets_for(url.as_deref(), profile.value("client_id").as_deref()))
}

fn cannot_ask(profile: &Profile, grant: &Grant, missing: &[String], opened: &Opened) -> Error {
    let elsewhere = missing.iter().find(|m| opened.kept.secrets.contains_key(*m));
    let mut why = format!("the grant {} lacks {}", grant.name, missing.join(" and "));
    if let (Some(value), Some(home)) = (elsewhere, &opened.kept.secrets_for) {
        let client = opened.kept.secrets_client.as_ref().map(|client| format!(", for the client {client}"));
        why.push_str(&format!("; the kept {value} goes to {home} alone{}", client.unwrap_or_default()));
    }
    for variable in &profile.empty {
        why.push_str(&format!("; {variable} is set but empty"));
    }
    let ways: Vec<String> = missing
        .iter()
        .map(|name| {
            let dashed = name.replace('_', "-");
            match profile.param(name).is_some_and(|p| p.secret) {
                true => format!("--{dashed}-file PATH (or {})", profile.ways(name)),
                false => format!("--{dashed} VALUE (or {})", profile.ways(name)),
            }
        })
        .collect();
    let lacks = |value: &str| missing.iter().any(|name| name == value);
    let other = match () {
        () if grant.assertion.is_some() && lacks("private_key") => {
            "; or an assertion from elsewhere: --assertion-file PATH"
        }
        () if grant.call.auth == Auth::Auto && lacks("client_secret") => "; or a key: --private-key-file PATH",
        () => "",
    };
    Error::new(Kind::LoginNeeded, "a value is missing, and nobody can be asked for it", why)
        .hint(format!("give {}{other}", ways.join(" and ")))
}

fn prompt(host: &mut Host, profile: &Profile, name: &str) -> Result<Given> {
    let Some(param) = profile.param(name) else {
        return Err(Error::new(Kind::Config, format!("there is no value {name}"), "").into());
    };
    let choices = if param.choices.is_empty() { String::new() } else { format!(" ({})", param.choices.join(", ")) };
    let label = if param.help.is_empty() { name.replace('_', " ") } else { param.help.clone() };
    if param.lines {
        return prompt_file(host, profile, param, &label);
    }
    let Some(answer) = host.ask(&format!("{label}{choices}"), if param.secret { Echo::Off } else { Echo::On })? else {
        return Err(missing_answer(profile, name, "the answer was empty").into());
    };
    let given = Given { text: Some(vec![answer]), source: Source::Asked };
    profile.check_value(param, &given)?;
    Ok(given)
}

/// A prompt without an answer.
fn missing_answer(profile: &Profile, name: &str, why: &str) -> Error {
    let flag = name.replace('_', "-");
    let file = if profile.param(name).is_some_and(|p| p.secret) { "-file PATH" } else { " VALUE" };
    Error::new(Kind::LoginNeeded, format!("{name} is missing"), why)
        .hint(format!("answer it, or give --{flag}{file}, or set {}", profile.ways(name)))
}

/// A value of several lines cannot be typed: the file that holds it is asked for.
fn prompt_file(host: &mut Host, profile: &Profile, param: &Param, label: &str) -> Result<Given> {
    let missing = |why: &str| missing_answer(profile, &param.name, why);
    let path = host
        .ask(&format!("{label}, the file that holds it"), Echo::On)?
        .ok_or_else(|| missing("the answer was empty"))?;
    let file = std::path::Path::new(path.expose());
    let text = host.read_secret_file(file, Stdin::Refused, Lines::Many).map_err(|failed| missing(&failed.why))?;
    if crate::profile::is_exposed(param, file) {
        host.terminal.warn(&format!("{}: {}", profile.name, crate::profile::exposed(&param.name, file)));
    }
    Ok(Given { text: Some(vec![text]), source: Source::Asked })
}

/// What the config is to say: what was typed, not what came from elsewhere.
fn edit(profile: &Profile, grant: &Grant, is_refresh: bool, store: Option<StoreChoice>) -> Edit {
    let mut edit = Edit { provider: profile.provider.name.clone(), store, ..Edit::default() };
    edit.grant = (!is_refresh).then(|| grant.name.clone());
    for param in profile.provider.params.iter().filter(|p| !p.secret) {
        let Some(given) = profile.given.get(&param.name) else { continue };
        let typed = matches!(given.source, Source::Flag | Source::Asked);
        let (true, Some(texts)) = (typed, &given.text) else { continue };
        let texts: Vec<String> = texts.iter().map(|t| t.expose().to_string()).collect();
        let value = match texts.as_slice() {
            [one] if !param.list => PlainValue::Text(one.clone()),
            _ => PlainValue::List(texts),
        };
        edit.values.push((param.name.clone(), value));
    }
    edit
}

/// The config's new text and the file that it goes to (a link is followed), if anything changes.
fn edited(context: &Context, name: &str, edit: &Edit) -> Result<Option<(PathBuf, String)>> {
    let path = &context.setup.config_path;
    let text = read_trusted(context.host, path)?.unwrap_or_default();
    let Some(new) = crate::profile::config::edit(path, &text, name, edit)? else { return Ok(None) };
    Ok(Some((std::fs::canonicalize(path).unwrap_or(path.clone()), new)))
}

fn cannot_write(path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Other, format!("{} cannot be written", path.display()), files::why(error))
        .hint("a login keeps the profile there; name another with --config FILE")
}

/// Finds out before anything is sent whether the config can be written.
fn check_config(context: &Context, name: &str, edit: &Edit) -> Result<()> {
    let Some((path, text)) = edited(context, name, edit)? else { return Ok(()) };
    let Some(folder) = path.parent() else { return Ok(()) };
    let made = if folder.is_dir() { Ok(()) } else { files::private_dir(folder) };
    let ready = made.and_then(|()| Target::config(&path, text.len() as u64));
    ready.map(drop).map_err(|error| cannot_write(&path, &error).into())
}

/// Writes the config, one login at a time: the change is made to the text of now.
fn write_config(context: &mut Context, name: &str, edit: &Edit) -> Result<()> {
    let lock = context.lock("_config")?;
    // Calls with other state folders have another lock and the same config; where a folder cannot be locked, they go on
    // without.
    let path = std::fs::canonicalize(&context.setup.config_path).unwrap_or(context.setup.config_path.clone());
    let folder = path.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
    let shared = folder.and_then(|folder| Lock::on_folder(&folder, context.host.clock.deadline).ok());
    if let Some((path, text)) = edited(context, name, edit)? {
        let written = Target::config(&path, text.len() as u64).and_then(|to| to.put(text.as_bytes(), Durable::Yes));
        written.map_err(|error| cannot_write(&path, &error))?;
    }
    drop((shared, lock));
    Ok(())
}

/// What to try after a refusal.
fn again(profile: &Profile, grant: &Grant) -> String {
    let uses = profile.provider.uses(grant);
    let secrets: Vec<&Param> =
        profile.provider.params.iter().filter(|p| p.secret && uses.contains_key(&p.name)).collect();
    // The one that was given is the one that was refused.
    let secret = secrets.iter().find(|p| profile.given.contains_key(&p.name)).or(secrets.first());
    let with = secret.map(|p| format!(" --{}-file PATH", p.name.replace('_', "-"))).unwrap_or_default();
    format!("try again with other values: tok login {} {}{with}", profile.name, grant.name)
}
