//! `tok login`: runs one grant and keeps what it returns.

mod account;
mod address;
mod ask;
mod client;
mod command;
mod config;
mod guided;
mod keep;
mod poll;
mod probe;
mod prompt;
mod relocate;
mod store;

use super::Context;
use crate::base::error::{Error, InProfile, Kind};
use crate::base::name::is_name;
use crate::cli::LoginArgs;
use crate::cmd::arguments::is_address;
use crate::host::Host;
use crate::profile::discovery::Copies;
use crate::profile::discovery::resource::Api;
use crate::profile::{Given, Profile, Source, Value, Wishes};
use crate::provider::{Discover, Grant};
use crate::session::acquire::{self};
use crate::session::found;
use crate::session::inputs::{self, For};
use crate::session::issued;
use crate::session::journal::Record;
use crate::session::open_store::{self, OpenStore};
use crate::session::person::{self, Begun, Person};
use crate::session::plan;
use crate::session::refresh;
use crate::session::shared;
use crate::storage::choice::StoreChoice;
use crate::system::signals::Stake;
use crate::token::credentials::{Credentials, Session};
use account::{Replaced, Wish};
use anyhow::Result;
use ask::{Asked, Attempt, ask, ask_with};
use client::{Client, Situation};
use command::{or_again, same_command, with_target, without_name};
use config::{check_config, edit, hold_config, write_config};
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
    let again = match &args.target {
        Some(_) => same_command(context.host),
        None => with_target(context.host, &target),
    };
    let by_address = is_address(&target);
    let name = match (&args.keep_as, by_address) {
        (Some(name), _) => name.clone(),
        (None, true) => address::name(&target)?,
        (None, false) => target.clone(),
    };
    if !is_name(&name) {
        return Err(Error::new(
            Kind::Usage,
            format!("`{}` cannot name a profile", crate::base::text::escape_to(&name, 80)),
            "a name is lower-case letters, digits and `-`, at most 63",
        )
        .into());
    }
    if let Some(to) = &args.move_to {
        return relocate::run(context, &name, to).in_profile(&name);
    }
    let store = args.store.as_deref().map(StoreChoice::parse).transpose();
    let store = store.map_err(|why| Error::new(Kind::Usage, "--store", why))?;
    // `login shop-eu --as shop-us`: another account at the provider of shop-eu.
    let of = context.setup.config.profiles.get(&target).and_then(|p| p.provider.clone());
    let of = match by_address {
        true => address::provider(context, &target, &name, &again)?,
        false => of.unwrap_or(target.clone()),
    };
    let mut wishes = Wishes {
        ci: false,
        grant: args.grant.clone(),
        flags: super::typed(context.host, &args.values)?,
        store: store.clone(),
        provider: (args.keep_as.is_some() || by_address).then_some(of.clone()),
    };
    let (mut name, mut answers, mut again, mut api) = (name, BTreeMap::new(), again, None);
    let mut store = store;
    loop {
        let mut profile = Profile::resolve(context.host, &context.setup, &name, &wishes)?;
        profile.given.append(&mut answers);
        match log_in(context, args, profile, (store.clone(), again.clone()), &mut api).in_profile(&name)? {
            End::LoggedIn => return Ok(()),
            End::Under(new, grant, given, chosen) => {
                wishes.grant = Some(grant);
                // Its values are those that this call was given; the variables of the other name are not its own.
                again = format!("{} --as {new}", without_name(context.host));
                // What was answered, or holds for the other name, is not asked again.
                if let (None, Some(chosen)) = (&store, &chosen) {
                    again = format!("{again} --store {chosen}");
                }
                (wishes.store, store) = (chosen.clone(), chosen);
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
    /// It is to be made under this name, with this grant, these values and this store.
    Under(String, String, BTreeMap<String, Given>, Option<StoreChoice>),
}

impl End {
    fn under(name: String, profile: &Profile, store: Option<StoreChoice>) -> End {
        let grant = profile.default_grant().name.clone();
        let mut given = profile.given.clone();
        given.retain(|_, given| matches!(given.source, Source::Flag | Source::Asked | Source::Api(_)));
        let store = store.or_else(|| profile.config.settings.store.clone());
        End::Under(name, grant, given, store)
    }
}

fn log_in(
    context: &mut Context,
    args: &LoginArgs,
    mut profile: Profile,
    (mut store, mut again): (Option<StoreChoice>, String),
    api: &mut Option<Api>,
) -> Result<End> {
    let name = profile.name.clone();
    client::add_scopes(&mut profile);
    let target = args.target.as_deref().unwrap_or_default();
    let is_named = profile.asked.is_some() || profile.config.grant.is_some();
    let is_free = !is_named && context.host.terminal.interactive;
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
    if api.is_none() && address::is_asked(&profile, target) {
        if !is_named {
            profile.asked = None;
        }
        *api = Some(address::ask(context, &mut profile, target, &args.client.headers, &again)?);
        grant = profile.default_grant().clone();
        profile.asked = Some(grant.name.clone());
    }
    let mut replaces = false;
    match other_account(context.host, args, &profile, &held, &again)? {
        Some(Wish::Keep(new)) => return Ok(End::under(new, &profile, store)),
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
    let again = again.as_str();
    // A login may be there to mend a change; what was fetched just now is none.
    let copies = if api.is_some() { Copies::Allowed } else { Copies::Refused };
    discover(context.host, &mut profile, &grant, copies)?;
    let situation = Situation { args, grant: &grant, api: api.as_ref(), again };
    let mut client = Client::default();
    let ended = client::settle(context, &mut profile, &situation, &mut client)
        .and_then(|()| with_client(context, &mut profile, &situation, &mut client, (store, held, opened, replaces)));
    if !matches!(ended, Ok(End::LoggedIn)) {
        client::give_back(context.host, &profile, &client);
    }
    ended
}

/// The rest of a login, once issuer and client are settled.
fn with_client(
    context: &mut Context,
    profile: &mut Profile,
    situation: &Situation,
    client: &mut Client,
    (store, held, opened, mut replaces): (Option<StoreChoice>, Credentials, OpenStore, bool),
) -> Result<End> {
    let Situation { args, again, .. } = *situation;
    let name = profile.name.clone();
    // How a registered client proves itself is in force from here on.
    let values = profile.known_values()?;
    profile.provider.calls_mut().for_each(|call| call.settle(|name| values.get(name).map(|v| v.as_str())));
    let grant = profile.default_grant().clone();
    let is_refresh = profile.provider.refresh_grant() == Some(&grant);
    let kept = usable_secrets(profile, &opened.credentials, replaces)?;
    let missing = plan::missing(&profile.provider, &grant, &|name| {
        profile.given.contains_key(name)
            || kept.contains_key(name)
            || (name == "refresh_token" && opened.credentials.session.is_some())
    });
    if let Some(error) = profile.not_offered(&grant, &missing) {
        return Err(error.into());
    }
    if !missing.is_empty() && !context.host.terminal.interactive {
        return Err(cannot_ask(context.host, profile, &missing, &opened, (&grant, again)).into());
    }
    if context.host.terminal.interactive {
        let is_kept = |name: &str| match name {
            "refresh_token" => opened.credentials.session.is_some(),
            name => kept.contains_key(name),
        };
        ask_for_values(context.host, profile, &grant, &missing, &is_kept)?;
    }
    if !replaces {
        match other_account(context.host, args, profile, &held, again)? {
            Some(Wish::Keep(new)) => return Ok(End::under(new, profile, store)),
            Some(Wish::Replace) => replaces = true,
            None => {}
        }
    }
    let kept = usable_secrets(profile, &opened.credentials, replaces)?;
    profile.warn_of_exposed(context.host);
    check_config(context, &name, &edit(profile, &grant, store.clone()))?;
    if let Some(warning) = &grant.warning {
        context.host.terminal.warn(warning);
    }

    let limit = args.timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let person = Person::of(profile, client::browser(args), limit);
    // A person takes their time before anybody has to wait for it.
    let begun = match grant.flow.needs_person() {
        true => {
            let mut inputs = inputs::fill(context.host, profile, For::Grant(&grant), &kept, &[])?;
            let redirect = client.redirect.take();
            let mut begun = person::begin(context.host, profile, &grant, &mut inputs, (person, redirect));
            if begun.as_ref().is_err_and(|error| client::may_renew(client, error)) {
                client::renew(context.host, profile, situation, client)?;
                inputs = inputs::fill(context.host, profile, For::Grant(&grant), &kept, &[])?;
                let redirect = client.redirect.take();
                begun = person::begin(context.host, profile, &grant, &mut inputs, (person, redirect));
            }
            let begun = begun.map_err(|error| or_again(error, again))?;
            if limit.is_none() {
                context.host.clock.renew();
            }
            Some((inputs, begun))
        }
        false => None,
    };
    let attempt = Attempt { profile, grant: &grant, is_refresh, replaces, again };
    let asked = match begun {
        None => ask(context, &attempt)?,
        Some((inputs, Begun::Ready)) => ask_with(context, &attempt, inputs)?,
        Some((inputs, Begun::Poll(poll))) => wait(context, &attempt, inputs, opened, (poll, limit))?,
    };
    let Asked { lock, mut opened, inputs, issued, used, mut record, hold } = asked;
    // What the login itself has found is remembered like what was typed.
    found::remember(profile, &grant, &inputs);
    let edit = config::edit(profile, &grant, store);

    // A refresh token that was spent must not be lost to what came beside the new one: that is looked at when it is used.
    let verified = match &issued.id_token {
        Some(token) if !is_refresh => {
            acquire::verify_id_token(context.host, profile, token, Some(&issued.access_token), &inputs)?
        }
        _ => false,
    };
    // Another login may have been quicker.
    let held = account::held(context.host, profile, &opened);
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
            let token = issued::cached(profile, &grant, &issued, identity.clone(), &inputs).ok();
            let since = issued.received.secs();
            let session = issued.refresh_token.map(|refresh_token| Session {
                refresh_token,
                identity,
                since,
                subject: subject.clone(),
                values: BTreeMap::new(),
            });
            let new = Credentials { session, ..opened.credentials.clone() };
            return Err(account::other_subject(context.host, profile, (was, now), (new, token), again).into());
        }
        replaces = true;
    }
    let replaced = match replaces {
        true => Some(Replaced::of(context, profile, held, &opened)?),
        false => None,
    };
    let login = Login {
        replaces,
        url: profile.session_url(inputs.values()).unwrap_or_default(),
        used,
        keep: args.keep,
        known: inputs.known(profile, &profile.known()?),
        inputs,
        profile,
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
    // What would end the login between the store and the config is met before: a person may have been away for minutes. A
    // refresh token that was spent is not lost to it.
    let config = match hold_config(context, &name, &edit) {
        Err(error) if !is_refresh => return Err(error),
        config => config,
    };
    // Both or neither of them.
    let whole = crate::system::signals::hold(Stake::Session);
    let obsolete = client::keep(context, profile, client)?;
    let credentials = login.credentials(&opened.credentials);
    if let Err(trouble) = opened.write(&name, credentials) {
        record.iter_mut().for_each(Record::leave);
        let mut error = open_store::store_error(profile, &trouble);
        error.why = format!("the login worked, but nothing could be kept: {}", error.why);
        return Err(error.into());
    }
    drop(record);
    let token = token?;
    write_config(context, &config?, &name, &edit)?;
    drop(whole);
    login.cache_and_index(context, &opened, &token)?;
    client::note(context.host, &opened, profile, client);
    shared::entry::share(&mut opened, profile, &login.known, &token);
    if let Some(replaced) = replaced {
        replaced.revoke(context.host, &opened.credentials);
    }
    client::drop_obsolete(context.host, profile, &obsolete);
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
    let Some(differs) = account::differs(host, profile, held) else { return Ok(None) };
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
    // What the login finds itself is nobody's to type.
    let found = grant.finds();
    let again = uses
        .keys()
        .filter(|name| !found.contains(&name.as_str()) && !profile.given.contains_key(*name) && is_kept(name))
        .cloned();
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
    profile.choose();
    Ok(())
}

/// Whether `grant` needs an issuer that is not known.
fn lacks_issuer(profile: &Profile, grant: &Grant) -> bool {
    let missing = plan::missing(&profile.provider, grant, &|name| profile.given.contains_key(name));
    missing.iter().any(|name| name == "issuer")
}

/// Finds the endpoints of `grant`. The issuer that tells them is asked for first.
fn discover(host: &mut Host, profile: &mut Profile, grant: &Grant, copies: Copies) -> Result<()> {
    if lacks_issuer(profile, grant) && host.terminal.interactive {
        let given = prompt(host, profile, "issuer")?;
        profile.given.insert("issuer".into(), given);
    }
    profile.discover(host, grant.names(), copies)?;
    match &profile.metadata {
        Some(metadata) if profile.provider.discover == Discover::Resource => {
            address::check_metadata(metadata, grant.flow)
        }
        _ => Ok(()),
    }
}

/// The kept secrets that this login may use. Those of a person are the old account's, where it `replaces` one.
fn usable_secrets(profile: &Profile, kept: &Credentials, replaces: bool) -> Result<BTreeMap<String, Value>> {
    let url = profile.session_url(&profile.known_values()?);
    let mut secrets = open_store::secrets_for(kept, url.as_deref(), profile.value("client_id").as_deref());
    secrets.retain(|name, _| !(replaces && profile.provider.param(name).is_some_and(|p| p.personal)));
    Ok(secrets)
}
