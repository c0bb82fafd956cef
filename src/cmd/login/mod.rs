//! `tok login`: runs one grant and keeps what it returns.

mod config;
mod keep;
mod prompt;

use super::Context;
use crate::base::error::{Error, Kind};
use crate::base::name::is_name;
use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::cli::LoginArgs;
use crate::host::Host;
use crate::oauth::poll::{self, Answer, Poll};
use crate::oauth::reply::Issued;
use crate::profile::discovery::Copies;
use crate::profile::{Profile, Source, Value, Wishes};
use crate::provider::{Flow, Grant, Param};
use crate::session::acquire::{self};
use crate::session::exchange::{self, Asking, Outcome};
use crate::session::inputs::{self, For, Inputs};
use crate::session::journal::{self, Record};
use crate::session::open_store::{self, Opened};
use crate::session::person::{self, Begun, Person};
use crate::session::plan;
use crate::storage::choice::StoreChoice;
use crate::storage::lock::Lock;
use crate::storage::secrets::{StoreError, Trouble};
use crate::system::signals::{Hold, Stake};
use anyhow::{Context as _, Result};
use config::{check_config, edit, write_config};
use keep::Login;
use prompt::{cannot_ask, prompt};
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
        flags: args.values.clone(),
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
    let Asked { lock, mut opened, inputs, issued, received, used, mut record, hold } = asked;

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
        record.iter_mut().for_each(Record::leave);
        let mut error = open_store::store_error(&profile, &trouble);
        error.why = format!("the login worked, but nothing could be kept: {}", error.why);
        return Err(error.into());
    }
    drop(record);
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
    profile.discover(host, grant.names(), Copies::Refused)
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
    /// Its journal, as long as the store has not taken what it brought.
    record: Option<Record>,
    hold: Hold,
}

/// Runs a grant that needs no flow.
fn ask(context: &mut Context, profile: &Profile, grant: &Grant, is_refresh: bool) -> Result<Asked> {
    let lock = context.lock(&profile.name)?;
    // Another process may have changed the entry while a person was typing.
    let mut opened = open(context.host, profile, true)?;
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
    let hold = crate::system::signals::hold(if is_refresh { Stake::Session } else { Stake::Time });
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[] };
    let used = refresh_token.filter(|_| is_refresh).map(|token| token.text);
    let mut record = None;
    let outcome = match grant.flow {
        Flow::Signed => granted(profile, grant, acquire::signed(profile, &inputs, context.host.clock.now())),
        _ => match &used {
            Some(used) => {
                let events = record.insert(keep::begin(context.host, profile, grant, &inputs, &mut opened, used)?);
                let asked = exchange::ask_and_tell(context.host, profile, &asking, &inputs, events);
                match (asked, &record) {
                    (Ok(Outcome::Failed(error, code)), Some(record)) => {
                        Ok(Outcome::Failed(record.explain(profile, error), code))
                    }
                    (asked, _) => asked,
                }
            }
            None => exchange::ask(context.host, profile, &asking, &inputs),
        }
        .and_then(|outcome| granted(profile, grant, outcome)),
    };
    let (issued, received) = outcome.inspect_err(|_| opened.drop_key(&profile.name))?;
    Ok(Asked { lock, opened, inputs, issued, received, used, record, hold })
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
    let hold = crate::system::signals::hold(Stake::Time);
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[] };
    let outcome = exchange::ask(host, profile, &asking, &inputs)?;
    let (issued, received) = granted(profile, grant, outcome)?;
    Ok(Asked { lock, opened, inputs, issued, received, used: None, record: None, hold })
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
                let hold = crate::system::signals::hold(Stake::Time);
                opened.read(&profile.name);
                opened.follow(context.host, &profile.name)?;
                if let Some(trouble) = &opened.trouble {
                    return Err(open_store::store_error(profile, trouble).into());
                }
                return Ok(Asked { lock, opened, inputs, issued, received, used: None, record: None, hold });
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

/// Opens the store: a login that cannot keep anything is refused before anything is sent. `locked`: the lock of this
/// call's own state folder is held, and that of another is taken if it guards what is kept.
fn open(host: &mut Host, profile: &Profile, locked: bool) -> Result<Opened> {
    let mut opened = Opened::open(host, profile);
    if locked {
        opened.follow(host, &profile.name)?;
        journal::recover(host, profile, &mut opened, None)?;
    }
    opened.check_ready();
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
