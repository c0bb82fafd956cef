//! `tok login`: runs one grant and keeps what it returns.

use super::Context;
use crate::belongs::Known;
use crate::cli::LoginArgs;
use crate::config::{Edit, PlainValue, StoreChoice};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::host::Host;
use crate::index::Index;
use crate::kept::{Kept, Session};
use crate::obtain::{self, Opened, Outcome, Wanted};
use crate::plan;
use crate::profile::{Given, Profile, Source, Wishes, read_trusted};
use crate::provider::{Grant, is_name};
use crate::reply::Issued;
use crate::request::Values;
use crate::store::cache::Cache;
use crate::store::{StoreError, Trouble};
use crate::token::{Secret, Time};
use std::path::PathBuf;

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
            format!("`{}` cannot name a profile", crate::text::escape_to(&name, 80)),
            "a name is lower-case letters, digits and `-`, at most 63",
        ));
    }
    let store = args.store.as_deref().map(StoreChoice::parse).transpose();
    let store = store.map_err(|why| Error::new(Kind::Usage, "--store", why))?;
    // `login shop-eu --as shop-us`: another account at the provider of shop-eu.
    let of = context.config.profiles.get(&args.target).and_then(|p| p.provider.clone());
    let wishes = Wishes {
        grant: args.grant.clone(),
        flags: super::flags(args.values.clone()),
        store: store.clone(),
        provider: args.keep_as.is_some().then(|| of.unwrap_or(args.target.clone())),
    };
    let mut profile = Profile::resolve(context.host, &context.config, &name, &wishes)?;
    let grant = profile.default_grant().clone();
    // From here on the grant is named, whoever named it.
    profile.asked = Some(grant.name.clone());
    let is_refresh = profile.provider.refresh_grant() == Some(&grant);

    let opened = open(context.host, &profile)?;
    let kept = usable_secrets(&profile, &opened)?;
    let missing = plan::missing(&profile.provider, &grant, &|name| {
        profile.given.contains_key(name)
            || kept.contains_key(name)
            || (name == "refresh_token" && opened.kept.session.is_some())
    });
    if !missing.is_empty() && !context.host.interactive {
        return Err(cannot_ask(&profile, &grant, &missing, &opened));
    }
    for value in missing {
        let given = prompt(context.host, &profile, &value)?;
        profile.given.insert(value, given);
    }
    let edit = edit(&profile, &grant, is_refresh, store);
    check_config(context, &name, &edit)?;

    let lock = context.lock(&name)?;
    // Another process may have changed the entry while a person was typing.
    let mut opened = open(context.host, &profile)?;
    let kept = usable_secrets(&profile, &opened)?;
    let token_given = profile.fetch(context.host, "refresh_token")?.map(|t| Secret::new(t.as_str()));
    let session = opened.kept.session.clone();
    let refresh_token = token_given.clone().or(session.as_ref().map(|s| s.refresh_token.clone()));
    let extra: Vec<(&str, &Secret)> = refresh_token.iter().map(|t| ("refresh_token", t)).collect();
    let filled = obtain::fill(context.host, &profile, &grant.call, &kept, &extra)?;
    let home = match (&token_given, &session) {
        (None, Some(session)) if is_refresh => obtain::origin(&session.belongs.url),
        _ if !filled.from_store.is_empty() => opened.kept.secrets_for.clone(),
        _ => None,
    };
    let hold = crate::signals::hold(is_refresh);
    let reading = (&grant.response, [].as_slice());
    let outcome = obtain::ask(context.host, &profile, &grant.name, &grant.call, reading, &filled, home.as_deref())?;
    let (issued, received) = match outcome {
        Outcome::Issued(issued, received) => (issued, received),
        Outcome::Dead(mut error) | Outcome::Failed(mut error) => {
            if error.kind == Kind::Refused {
                error.hint = Some(again(&profile, &grant));
            }
            return Err(error);
        }
    };

    let login = Login {
        url: profile.session_url(&filled.values).unwrap_or_default(),
        used: is_refresh.then_some(refresh_token).flatten(),
        keep: args.keep,
        known: filled.known(&profile, &profile.known()?),
        values: filled.values,
        profile: &profile,
        grant: &grant,
        is_refresh,
        issued,
        received,
    };
    let kept = login.kept(&opened.kept);
    if let Err(trouble) = opened.write(&name, kept) {
        let mut error = obtain::store_error(&profile, &trouble);
        error.why = format!("the login worked, but nothing could be kept: {}", error.why);
        return Err(error);
    }
    write_config(context, &name, &edit)?;
    login.cache_and_index(context, &opened)?;
    drop(hold);
    drop(lock);
    context.host.speak();
    login.report(context.host, &opened);
    Ok(())
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
    values: Values,
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

    /// What the store is to hold, where it held `old`.
    fn kept(&self, old: &Kept) -> Kept {
        let provider = &self.profile.provider;
        let new = self.issued.refresh_token.as_ref().filter(|_| provider.refresh.is_some());
        // Where it was not rotated, the one that was handed in stays.
        let session = new.or(self.used.as_ref()).map(|refresh_token| Session {
            refresh_token: refresh_token.clone(),
            belongs: self.known.belongs(&self.url, self.began_with(), None),
            since: self.received.secs(),
        });
        if self.is_refresh {
            // It leaves the kept secrets as they are.
            return Kept { session, ..old.clone() };
        }
        let home = obtain::origin(&self.url);
        let is_fallback = provider.refresh.as_ref().and_then(|r| r.fallback.as_ref()) == Some(&self.grant.name);
        let needed = session.is_none() || is_fallback;
        let mut secrets = if old.secrets_for == home { old.secrets.clone() } else { Default::default() };
        for name in provider.uses(self.grant).into_keys() {
            let Some(param) = provider.param(&name).filter(|p| p.secret) else { continue };
            let wanted = match self.profile.given.get(&name).map(|g| &g.source) {
                Some(Source::Flag | Source::Asked) => self.keep || (needed && !param.personal),
                // What came from the environment is not kept, unless that is asked for.
                Some(Source::Env(_) | Source::EnvFile(_)) => self.keep,
                _ => false,
            };
            if let (true, Some(value)) = (wanted, self.values.get(&name)) {
                secrets.insert(name, Secret::new(value.as_str()));
            }
        }
        let secrets_for = if secrets.is_empty() { None } else { home };
        Kept { session, secrets, secrets_for }
    }

    /// Cache and index after the store: a new login answers all questions of its profile.
    fn cache_and_index(&self, context: &mut Context, opened: &Opened) -> Result<()> {
        let Login { profile, grant, .. } = self;
        let belongs = self.known.belongs(&self.url, self.began_with(), Some(&grant.name));
        let token = obtain::cached(profile, grant, &self.issued, self.received, belongs, &self.values)?;
        if profile.cache {
            let cache = Cache::new(context.host.folders()?.cache(&profile.name));
            let _ = cache.clear();
            let wanted = Wanted { profile, known: &self.known, cache: Some(&cache), no_store: false };
            obtain::put(context.host, &wanted, grant, &token);
        }
        let before = Index::of(context.host, &profile.name).read().map(|entry| entry.store);
        obtain::index(context.host, profile, opened, &self.issued);
        // What an earlier login kept in another store is nobody's any more.
        if let Some(before) = before.filter(|b| !b.is_empty() && *b != profile.store.to_string())
            && let Ok(choice) = StoreChoice::parse(&before)
            && let Ok(Some(mut old)) = context.host.store(&choice)
            && old.forget(&profile.name).is_err()
        {
            context.host.warn(&format!("{}: what the {before} store held could not be removed", profile.name));
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
            Some(at) => format!("good for {}", crate::duration::show(at - self.received.secs())),
            None => "without a known end".into(),
        };
        if profile.store == StoreChoice::None {
            host.warn(&format!("{}: {kept}: the store is none", profile.name));
        }
        let place = if opened.kept.is_empty() { String::new() } else { format!(" in the {} store", profile.store) };
        host.tell(&format!(
            "logged in to {} as {} by {}: an access token {life}; {kept}{place}",
            profile.provider.title, profile.name, grant.name
        ));
    }
}

/// Opens the store: a login that cannot keep anything is refused before anything is sent.
fn open(host: &Host, profile: &Profile) -> Result<Opened> {
    let mut opened = Opened::open(host, profile);
    opened.check_ready();
    match &opened.trouble {
        // An entry that is none of ours is replaced by the login; a file that is none of ours is not.
        Some(StoreError { trouble: Trouble::Corrupt, .. }) if profile.store != StoreChoice::File => {
            opened.trouble = None;
            Ok(opened)
        }
        Some(trouble) => Err(obtain::store_error(profile, trouble)),
        None => Ok(opened),
    }
}

fn usable_secrets(profile: &Profile, opened: &Opened) -> Result<std::collections::BTreeMap<String, Secret>> {
    let url = profile.session_url(&profile.known_values()?);
    Ok(opened.secrets_for(url.as_deref()))
}

fn cannot_ask(profile: &Profile, grant: &Grant, missing: &[String], opened: &Opened) -> Error {
    let elsewhere = missing.iter().find(|m| opened.kept.secrets.contains_key(*m));
    let mut why = format!("the grant {} lacks {}", grant.name, missing.join(" and "));
    if let (Some(value), Some(home)) = (elsewhere, &opened.kept.secrets_for) {
        why.push_str(&format!("; the kept {value} goes to {home} alone"));
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
    Error::new(Kind::LoginNeeded, format!("{}: a value is missing, and nobody can be asked for it", profile.name), why)
        .hint(format!("give {}", ways.join(" and ")))
}

fn prompt(host: &mut Host, profile: &Profile, name: &str) -> Result<Given> {
    let Some(param) = profile.param(name) else {
        return Err(Error::new(Kind::Config, format!("there is no value {name}"), ""));
    };
    let choices = if param.choices.is_empty() { String::new() } else { format!(" ({})", param.choices.join(", ")) };
    let label = if param.help.is_empty() { name.replace('_', " ") } else { param.help.clone() };
    let Some(answer) = host.ask(&format!("{label}{choices}"), param.secret)? else {
        return Err(Error::new(
            Kind::LoginNeeded,
            format!("{}: {name} is missing", profile.name),
            "the answer was empty",
        ));
    };
    let given = Given { text: Some(vec![answer]), source: Source::Asked };
    profile.check_value(param, &given)?;
    Ok(given)
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
    let path = &context.config_path;
    let text = read_trusted(path)?.unwrap_or_default();
    let Some(new) = crate::config::edit(path, &text, name, edit)? else { return Ok(None) };
    Ok(Some((std::fs::canonicalize(path).unwrap_or(path.clone()), new)))
}

fn cannot_write(path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Other, format!("{} cannot be written", path.display()), error.to_string())
        .hint("a login keeps the profile there; name another with --config FILE")
}

/// Finds out before anything is sent whether the config can be written.
fn check_config(context: &Context, name: &str, edit: &Edit) -> Result<()> {
    let Some((path, _)) = edited(context, name, edit)? else { return Ok(()) };
    let Some(folder) = path.parent() else { return Ok(()) };
    let made = if folder.is_dir() { Ok(()) } else { files::private_dir(folder) };
    made.and_then(|()| files::can_write(folder)).map_err(|error| cannot_write(&path, &error))
}

/// Writes the config, one login at a time: the change is made to the text of now.
fn write_config(context: &mut Context, name: &str, edit: &Edit) -> Result<()> {
    let lock = context.lock("_config")?;
    if let Some((path, text)) = edited(context, name, edit)? {
        files::write_config(&path, text.as_bytes()).map_err(|error| cannot_write(&path, &error))?;
    }
    drop(lock);
    Ok(())
}

/// What to try after a refusal.
fn again(profile: &Profile, grant: &Grant) -> String {
    let secret = profile.provider.uses(grant).into_keys().find(|n| profile.param(n).is_some_and(|p| p.secret));
    let with = secret.map(|s| format!(" --{}-file PATH", s.replace('_', "-"))).unwrap_or_default();
    format!("try again with other values: tok login {} {}{with}", profile.name, grant.name)
}
