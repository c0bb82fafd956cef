//! `tok login`: runs one grant and keeps what it returns.

mod account;
mod command;
mod config;
mod guided;
mod keep;
mod poll;
mod prompt;
mod store;

use super::Context;
use crate::base::error::{Error, InProfile, Kind};
use crate::base::name::is_name;
use crate::base::secret::Secret;
use crate::cli::LoginArgs;
use crate::host::Host;
use crate::oauth::reply::Issued;
use crate::profile::discovery::Copies;
use crate::profile::{Given, Profile, Source, Value, Wishes};
use crate::provider::{Flow, Grant};
use crate::session::acquire::{self};
use crate::session::exchange::{self, Asking, Outcome};
use crate::session::inputs::{self, For, Inputs};
use crate::session::journal::Record;
use crate::session::open_store::{self, OpenStore};
use crate::session::person::{self, Begun, Person};
use crate::session::plan;
use crate::session::refresh;
use crate::storage::choice::StoreChoice;
use crate::storage::lock::Lock;
use crate::system::signals::{Hold, Stake};
use crate::token::credentials::{Credentials, Session};
use account::{Replaced, Wish};
use anyhow::Result;
use command::{same_command, try_again, with_target, without_name};
use config::{check_config, edit, write_config};
use keep::Login;
use poll::wait;
use prompt::{cannot_ask, prompt, prompt_again};
use std::collections::BTreeMap;
use std::time::Duration;
use store::{open, open_or_offer_a_file};

/// Runs the login.
///
/// # Errors
/// Each kind of the contract; nothing has changed then, but for a refresh token that the provider has taken and the
/// store did not: that is said.
pub fn run(context: &mut Context, args: &LoginArgs) -> Result<()> {
    let target = match &args.target {
        Some(target) => target.clone(),
        None => guided::target(context)?,
    };
    let name = args.keep_as.clone().unwrap_or(target.clone());
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
    let of = context.setup.config.profiles.get(&target).and_then(|p| p.provider.clone());
    let of = of.unwrap_or(target.clone());
    let mut wishes = Wishes {
        ci: false,
        grant: args.grant.clone(),
        flags: super::typed(context.host, &args.values)?,
        store: store.clone(),
        provider: args.keep_as.is_some().then_some(of.clone()),
    };
    let mut again = match &args.target {
        Some(_) => same_command(context.host),
        None => with_target(context.host, &target),
    };
    let (mut name, mut answers) = (name, BTreeMap::new());
    loop {
        let mut profile = Profile::resolve(context.host, &context.setup, &name, &wishes)?;
        profile.given.append(&mut answers);
        match log_in(context, args, profile, store.clone(), again.clone()).in_profile(&name)? {
            End::LoggedIn => return Ok(()),
            End::Under(new, grant, given) => {
                wishes.grant = Some(grant);
                // Its values are those that this call was given; the variables of the other name are not its own.
                again = format!("{} --as {new}", without_name(context.host));
                wishes.flags.clear();
                wishes.provider = Some(of.clone());
                (name, answers) = (new, given);
            }
        }
    }
}

/// How a login ends that has not failed.
enum End {
    LoggedIn,
    /// It is to be made under this name, with this grant and these values.
    Under(String, String, BTreeMap<String, Given>),
}

impl End {
    fn under(name: String, profile: Profile) -> End {
        let grant = profile.default_grant().name.clone();
        let mut given = profile.given;
        given.retain(|_, given| matches!(given.source, Source::Flag | Source::Asked));
        End::Under(name, grant, given)
    }
}

fn log_in(
    context: &mut Context,
    args: &LoginArgs,
    mut profile: Profile,
    mut store: Option<StoreChoice>,
    mut again: String,
) -> Result<End> {
    let name = profile.name.clone();
    let is_free = profile.asked.is_none() && profile.config.grant.is_none() && context.host.terminal.interactive;
    let mut grant = match is_free && args.target.is_none() && !lacks_issuer(&profile, profile.default_grant()) {
        true => guided::grant(context.host, &profile)?,
        false => profile.default_grant().clone(),
    };
    if grant.name != profile.default_grant().name {
        again = format!("{again} {}", grant.name);
    }
    // From here on the grant is named, whoever named it.
    profile.asked = Some(grant.name.clone());

    // Before anything is sent, the metadata's request included.
    let opened = open_or_offer_a_file(context.host, &mut profile, &mut store, &mut again)?;
    check_config(context, &name, &edit(&profile, &grant, store.clone()))?;
    let held = account::held(context.host, &profile, &opened);
    let mut replaces = false;
    match other_account(context.host, args, &profile, &held, &again)? {
        Some(Wish::Keep(new)) => return Ok(End::under(new, profile)),
        Some(Wish::Replace) => replaces = true,
        None => {}
    }
    if is_free && lacks_issuer(&profile, &grant) {
        profile.asked = None;
        let chosen = guided::issuer_and_grant(context.host, &mut profile)?;
        if chosen.name != grant.name {
            again = format!("{again} {}", chosen.name);
        }
        profile.asked = Some(chosen.name.clone());
        grant = chosen;
    }
    discover(context.host, &mut profile, &grant)?;
    let is_refresh = profile.provider.refresh_grant() == Some(&grant);
    let again = again.as_str();
    let kept = usable_secrets(&profile, &opened.credentials, replaces)?;
    let missing = plan::missing(&profile.provider, &grant, &|name| {
        profile.given.contains_key(name)
            || kept.contains_key(name)
            || (name == "refresh_token" && opened.credentials.session.is_some())
    });
    if let Some(error) = profile.not_offered(&grant, &missing) {
        return Err(error.into());
    }
    if !missing.is_empty() && !context.host.terminal.interactive {
        return Err(cannot_ask(context.host, &profile, &missing, &opened, (&grant, again)).into());
    }
    if context.host.terminal.interactive {
        let is_kept = |name: &str| match name {
            "refresh_token" => opened.credentials.session.is_some(),
            name => kept.contains_key(name),
        };
        ask_for_values(context.host, &mut profile, &grant, &missing, &is_kept)?;
    }
    if !replaces {
        match other_account(context.host, args, &profile, &held, again)? {
            Some(Wish::Keep(new)) => return Ok(End::under(new, profile)),
            Some(Wish::Replace) => replaces = true,
            None => {}
        }
    }
    let kept = usable_secrets(&profile, &opened.credentials, replaces)?;
    profile.warn_of_exposed(context.host);
    let edit = edit(&profile, &grant, store);
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
    let attempt = Attempt { profile: &profile, grant: &grant, is_refresh, replaces, again };
    let asked = match begun {
        None => ask(context, &attempt)?,
        Some((inputs, Begun::Ready)) => ask_with(context, &attempt, inputs)?,
        Some((inputs, Begun::Poll(poll))) => wait(context, &attempt, inputs, opened, (poll, limit))?,
    };
    let Asked { lock, mut opened, inputs, issued, used, mut record, hold } = asked;

    // A refresh token that was spent must not be lost to what came beside the new one: that is looked at when it is used.
    let verified = match &issued.id_token {
        Some(token) if !is_refresh => {
            acquire::verify_id_token(context.host, &profile, token, Some(&issued.access_token), &inputs)?
        }
        _ => false,
    };
    // Another login may have been quicker.
    let held = account::held(context.host, &profile, &opened);
    let subject = issued.id_token.as_ref().and_then(refresh::subject);
    let before = held.session.as_ref().and_then(|session| session.subject.clone());
    if let (Some(was), Some(now)) = (&before, &subject)
        && was != now
    {
        if used.is_some() && used.as_ref() == held.session.as_ref().map(|session| &session.refresh_token) {
            // OIDC Core §12.2
            let why = "its ID token is for another person than the login's (`sub`)";
            return Err(Error::new(Kind::Reply, "the reply to the refresh cannot be trusted", why).into());
        }
        if !args.replace && !replaces {
            drop(record);
            opened.drop_key(&name);
            let url = profile.session_url(inputs.values()).unwrap_or_default();
            let identity = profile.known()?.identity(&url, None, None);
            let token = acquire::cached(&profile, &grant, &issued, identity.clone(), &inputs).ok();
            let since = issued.received.secs();
            let session = issued.refresh_token.map(|refresh_token| Session {
                refresh_token,
                identity,
                since,
                subject: subject.clone(),
            });
            let new = Credentials { session, ..opened.credentials.clone() };
            return Err(account::other_subject(context.host, &mut profile, (was, now), (new, token), again).into());
        }
        replaces = true;
    }
    let replaced = match replaces {
        true => Some(Replaced::of(context, &profile, held, &opened)?),
        false => None,
    };
    let login = Login {
        replaces,
        url: profile.session_url(inputs.values()).unwrap_or_default(),
        used,
        keep: args.keep,
        known: inputs.known(&profile, &profile.known()?),
        inputs,
        profile: &profile,
        grant: &grant,
        is_refresh,
        issued,
        verified,
    };
    let token = match login.token() {
        Err(error) if !is_refresh => return Err(error),
        token => token,
    };
    opened.follow_newcomer(context.host, &name)?;
    let credentials = login.credentials(&opened.credentials);
    if let Err(trouble) = opened.write(&name, credentials) {
        record.iter_mut().for_each(Record::leave);
        let mut error = open_store::store_error(&profile, &trouble);
        error.why = format!("the login worked, but nothing could be kept: {}", error.why);
        return Err(error.into());
    }
    drop(record);
    let token = token?;
    write_config(context, &name, &edit)?;
    login.cache_and_index(context, &opened, &token)?;
    if let Some(replaced) = replaced {
        replaced.revoke(context.host, &opened.credentials);
    }
    drop(hold);
    drop(lock);
    context.host.terminal.release_messages();
    login.report(context.host, &opened);
    Ok(End::LoggedIn)
}

/// Settles what becomes of the account that the profile holds; `None` where the login is for the same.
fn other_account(
    host: &mut Host,
    args: &LoginArgs,
    profile: &Profile,
    held: &Credentials,
    again: &str,
) -> Result<Option<Wish>> {
    let Some(differs) = account::differs(profile, held) else { return Ok(None) };
    Ok(Some(if args.replace { Wish::Replace } else { account::ask(host, profile, &differs, again)? }))
}

/// Asks a person for what is missing, and for the secrets of which one is kept: it may have changed since.
fn ask_for_values(
    host: &mut Host,
    profile: &mut Profile,
    grant: &Grant,
    missing: &[String],
    is_kept: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let uses = profile.provider.uses(grant);
    let again = uses.keys().filter(|name| !profile.given.contains_key(*name) && is_kept(name)).cloned();
    let mut names: Vec<String> = missing.iter().cloned().chain(again).collect();
    names.sort_by_key(|name| profile.provider.params.iter().position(|param| param.name == *name));
    for name in names {
        let given = match missing.contains(&name) {
            true => Some(prompt(host, profile, &name)?),
            false => prompt_again(host, profile, &name)?,
        };
        if let Some(given) = given {
            profile.given.insert(name, given);
        }
    }
    Ok(())
}

/// Whether `grant` needs an issuer that is not known.
fn lacks_issuer(profile: &Profile, grant: &Grant) -> bool {
    let missing = plan::missing(&profile.provider, grant, &|name| profile.given.contains_key(name));
    missing.iter().any(|name| name == "issuer")
}

/// Finds the endpoints of `grant`. The issuer that tells them is asked for first.
fn discover(host: &mut Host, profile: &mut Profile, grant: &Grant) -> Result<()> {
    if lacks_issuer(profile, grant) && host.terminal.interactive {
        let given = prompt(host, profile, "issuer")?;
        profile.given.insert("issuer".into(), given);
    }
    // A login may be there to mend a change.
    profile.discover(host, grant.names(), Copies::Refused)
}

/// A login whose request is to be sent.
struct Attempt<'a> {
    profile: &'a Profile,
    grant: &'a Grant,
    /// It is made by a refresh token.
    is_refresh: bool,
    /// It takes the place of another account.
    replaces: bool,
    /// The command to run if it fails.
    again: &'a str,
}

/// A grant that was answered with a token.
struct Asked {
    lock: Lock,
    opened: OpenStore,
    inputs: Inputs,
    issued: Issued,
    /// The refresh token that it was got with.
    used: Option<Secret>,
    /// Its journal, as long as the store has not taken what it brought.
    record: Option<Record>,
    hold: Hold,
}

/// Runs a grant that needs no flow.
fn ask(context: &mut Context, attempt: &Attempt) -> Result<Asked> {
    let Attempt { profile, grant, is_refresh, replaces, again } = *attempt;
    let lock = context.lock(&profile.name)?;
    // Another process may have changed the entry while a person was typing.
    let mut opened = open(context.host, profile, Some(&lock), again)?;
    let kept = usable_secrets(profile, &opened.credentials, replaces)?;
    let given = profile.fetch(context.host, "refresh_token")?.map(|t| Secret::new(t.as_str()));
    let session = opened.credentials.session.as_ref();
    let refresh_token = match given {
        Some(given) => Some(Value::found(given)),
        None => session.map(open_store::refresh_token),
    };
    let extra: Vec<(&str, Value)> = refresh_token.iter().map(|t| ("refresh_token", t.clone())).collect();
    let mut inputs = inputs::fill(context.host, profile, For::Grant(grant), &kept, &extra)?;
    inputs.bind(grant, &opened.credentials)?;
    let hold = crate::system::signals::hold(if is_refresh { Stake::Session } else { Stake::Time });
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[] };
    let used = refresh_token.filter(|_| is_refresh).map(|token| token.text);
    let mut record = None;
    let outcome = match grant.flow {
        Flow::Signed => attempt.granted(acquire::signed(profile, &inputs, context.host.clock.now())),
        _ => match &used {
            Some(used) => {
                let events = record.insert(keep::begin(context.host, attempt, &inputs, &mut opened, used)?);
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
        .and_then(|outcome| attempt.granted(outcome)),
    };
    let issued = outcome.inspect_err(|_| opened.drop_key(&profile.name))?;
    Ok(Asked { lock, opened, inputs, issued, used, record, hold })
}

/// Exchanges the code that a flow has brought.
fn ask_with(context: &mut Context, attempt: &Attempt, mut inputs: Inputs) -> Result<Asked> {
    let Attempt { profile, grant, again, .. } = *attempt;
    let lock = context.lock(&profile.name)?;
    let opened = open(context.host, profile, Some(&lock), again)?;
    inputs.bind(grant, &opened.credentials)?;
    let hold = crate::system::signals::hold(Stake::Time);
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[] };
    let granted = exchange::ask(context.host, profile, &asking, &inputs).and_then(|outcome| attempt.granted(outcome));
    let issued = granted.map_err(|error| person::name_redirect(error, &inputs))?;
    Ok(Asked { lock, opened, inputs, issued, used: None, record: None, hold })
}

impl Attempt<'_> {
    /// The token, or the refusal in the words of a login.
    fn granted(&self, outcome: Outcome) -> Result<Issued> {
        let try_again = || Some(try_again(self.profile, self.grant, self.again));
        match outcome {
            Outcome::Issued(issued) => Ok(issued),
            Outcome::Dead(mut error) => {
                error.hint = try_again();
                Err(error.into())
            }
            Outcome::Failed(mut error, code) => {
                if error.kind == Kind::Refused && !exchange::knows_more(&self.grant.call, code.as_deref()) {
                    error.hint = try_again();
                }
                Err(error.into())
            }
        }
    }
}

/// The kept secrets that this login may use. Those of a person are the old account's, where it `replaces` one.
fn usable_secrets(profile: &Profile, kept: &Credentials, replaces: bool) -> Result<BTreeMap<String, Value>> {
    let url = profile.session_url(&profile.known_values()?);
    let mut secrets = open_store::secrets_for(kept, url.as_deref(), profile.value("client_id").as_deref());
    secrets.retain(|name, _| !(replaces && profile.provider.param(name).is_some_and(|p| p.personal)));
    Ok(secrets)
}
