//! The client of a login: the one that is given, the one that was registered before, a metadata document's address, or a
//! new registration (RFC 7591).

use super::probe::{self, Verdict};
use crate::base::error::{Error, Kind};
use crate::base::secret::{Lines, Secret};
use crate::base::text::escape;
use crate::base::url::Url;
use crate::cli::LoginArgs;
use crate::cmd::Context;
use crate::host::{Host, Stdin};
use crate::oauth::metadata::Metadata;
use crate::oauth::registration::{Registration, Wanted};
use crate::oauth::resource::{ScopeSources, scopes};
use crate::profile::discovery::resource::Api;
use crate::profile::{Given, Profile, Source};
use crate::provider::{Discover, Flow, Grant};
use crate::session::open_store::{self, OpenStore};
use crate::session::person::{Browser, Person};
use crate::session::redirect::{self, Redirect};
use crate::session::registration::{self, Clients, Place};
use crate::storage::index::{IndexEntry, RegisteredClient};
use anyhow::Result;

/// The client of a login.
#[derive(Default)]
pub(super) struct Client {
    /// As it was registered by `tok`, where it was.
    pub registration: Option<Registration>,
    /// Whether that was now.
    pub is_new: bool,
    /// Where the login ends, where that is settled.
    pub redirect: Option<Redirect>,
    /// Whether another one may take its place: nobody has named it in this call.
    may_change: bool,
    /// Whether it may lack the scopes that the login asks for: it was registered without, and nothing says that it has a
    /// default.
    lacks_scopes: bool,
}

/// What a login knows about its client and its scopes.
pub(super) struct Situation<'a> {
    pub args: &'a LoginArgs,
    pub grant: &'a Grant,
    /// What the API says, where it was asked.
    pub api: Option<&'a Api>,
    /// The command of this login.
    pub again: &'a str,
}

/// A search for the client of a login at one issuer.
struct Search<'a> {
    situation: &'a Situation<'a>,
    /// What the issuer publishes.
    metadata: &'a Metadata,
    /// The scopes that are known to be wanted.
    wanted: &'a [String],
}

/// Settles the client and the scopes of a login at the issuer whose metadata `profile` has: they become its values.
/// A profile with a client of its own, where none is to be registered, stays as it is.
///
/// # Errors
/// Each kind of the contract; nothing was kept, and `client` is what has to be given back.
pub(super) fn settle(
    context: &mut Context,
    profile: &mut Profile,
    situation: &Situation,
    client: &mut Client,
) -> Result<()> {
    let Situation { args, grant, api, .. } = *situation;
    let by_address = profile.provider.discover == Discover::Resource;
    let needs_one = profile.provider.uses(grant).contains_key("client_id") && profile.param("client_id").is_some();
    if !needs_one || !grant.flow.needs_person() {
        return match args.client.register {
            true => Err(unregistrable(profile, &format!("the grant {} has no login", grant.name)).into()),
            false => Ok(()),
        };
    }
    let source = profile.given.get("client_id").map(|given| given.source.clone());
    let registers = by_address || args.client.register;
    // One that was registered for an earlier login is known by its name.
    if !registers && source != Some(Source::Config) {
        return Ok(());
    }
    if args.client.register && source == Some(Source::Flag) {
        let what = "--register cannot be used with --client-id";
        return Err(Error::new(Kind::Usage, what, "it finds or makes the client").into());
    }
    let Some(metadata) = profile.metadata.clone() else {
        return match args.client.register {
            true => Err(unregistrable(profile, "no issuer is known, whose metadata say where").into()),
            false => Ok(()),
        };
    };
    let wanted = wanted_scopes(profile, api)?;
    let clients = match Clients::open(context.host, &profile.store, metadata.issuer()) {
        Err(trouble) if registers => return Err(open_store::store_error(profile, &trouble).into()),
        Err(_) => return Ok(()),
        Ok(clients) => clients,
    };
    let is_own = profile.value("client_id").is_some_and(|id| clients.all.find(metadata.issuer(), &id).is_some());
    if !registers && !is_own {
        return Ok(());
    }
    let search = Search { situation, metadata: &metadata, wanted: &wanted };
    *client = match profile.value("client_id") {
        Some(id) => given(context.host, profile, &search, &clients, &id)?,
        None => kept(context.host, profile, &search, &clients)?,
    };
    let is_named = matches!(source, Some(Source::Flag | Source::Env(_) | Source::EnvFile(_)));
    let has_client = profile.value("client_id").is_some();
    if !has_client {
        find(context.host, profile, &search, client)?;
    }
    client.may_change = !is_named && client.registration.is_some() && !client.is_new;
    settle_scopes(profile, api, &metadata, client.registration.as_ref())?;
    let is_bare = client.registration.as_ref().is_some_and(|registration| registration.scope.is_none());
    client.lacks_scopes = is_bare
        && profile.value("scope").is_some_and(|scope| !scope.is_empty())
        && !is_named
        && (client.may_change || wanted.is_empty());
    if let (Some(redirect), true) = (&client.redirect, client.may_change || client.lacks_scopes) {
        let verdict = probe::ask(context.host, profile, grant, &redirect.uri);
        if client.may_change && verdict == Verdict::UnknownClient || client.lacks_scopes && verdict == Verdict::Scopes {
            context.host.terminal.detail(&format!("{}: the server does not take this client", profile.name));
            renew(context.host, profile, situation, client)?;
        }
    }
    Ok(())
}

fn unregistrable(profile: &Profile, why: &str) -> Error {
    Error::new(Kind::Usage, format!("{}: no client can be registered", profile.name), why)
        .hint("leave --register out, or choose a grant with a login: authorization-code, device-code")
}

/// The scopes that are known to be wanted before there is a client; none where the server may have a default.
fn wanted_scopes(profile: &Profile, api: Option<&Api>) -> Result<Vec<String>> {
    if let Some(given) = profile.value("scope") {
        return Ok(given.split(' ').map(str::to_string).collect());
    }
    match api.and_then(|api| Some((api, api.demanded.as_ref()?))) {
        Some((api, demanded)) => scopes(demanded).map_err(|why| wrong_scopes(api, why).into()),
        None => Ok(Vec::new()),
    }
}

fn wrong_scopes(api: &Api, why: String) -> Error {
    Error::new(Kind::Reply, format!("the scopes that {} asks for cannot be used", escape(&api.address)), why)
        .hint("name the scopes yourself with --scope SCOPE")
}

/// Chooses the scopes where a person has named none.
fn settle_scopes(
    profile: &mut Profile,
    api: Option<&Api>,
    metadata: &Metadata,
    registration: Option<&Registration>,
) -> Result<()> {
    let Some(api) = api.filter(|_| !profile.given.contains_key("scope")) else { return Ok(()) };
    let of_server = metadata.list("scopes_supported").unwrap_or_default();
    let sources = ScopeSources {
        demanded: api.demanded.as_deref(),
        by_default: registration.and_then(Registration::default_scope),
        supported: &api.supported,
        of_server: &of_server,
    };
    let chosen = sources.choose().map_err(|why| wrong_scopes(api, why))?;
    if !chosen.is_empty() {
        let texts = chosen.iter().map(Secret::new).collect();
        let given = Given { text: Some(texts), source: Source::Api(escape(&api.address)) };
        profile.given.insert("scope".into(), given);
    }
    Ok(())
}

/// Where `args` say that the browser is.
pub(super) fn browser(args: &LoginArgs) -> Browser {
    if args.no_browser { Browser::Elsewhere } else { Browser::Here }
}

/// Where a login of `profile` in a browser ends, at the registered `uri` or at a place that is free now.
fn place(profile: &Profile, args: &LoginArgs, uri: Option<&str>) -> Result<Option<Redirect>> {
    let value = |name: &str| profile.value(name);
    let person = Person::of(profile, browser(args), None);
    match uri {
        Some(uri) => redirect::redirect_at(profile, &value, person, uri),
        None => redirect::redirect(profile, &value, person).map(Some),
    }
}

/// The client that the profile or this call names: if `tok` has registered it, with the place where its login ends. One
/// that no longer does, and that nobody has named in this call, is left out.
fn given(host: &Host, profile: &mut Profile, search: &Search, clients: &Clients, id: &str) -> Result<Client> {
    let Search { situation: Situation { args, grant, .. }, metadata, wanted } = search;
    let Some(registration) = clients.all.find(metadata.issuer(), id) else { return Ok(Client::default()) };
    let is_kept = matches!(profile.given.get("client_id").map(|given| &given.source), Some(Source::Config));
    let redirect = match grant.flow {
        Flow::AuthorizationCode => place_of(profile, args, registration)?,
        _ => None,
    };
    let is_usable = grant.flow != Flow::AuthorizationCode || redirect.is_some();
    if is_kept && !(is_usable && registration.suits(grant.flow, wanted, host.clock.now().secs())) {
        for name in ["client_id", "client_auth"] {
            profile.given.remove(name);
        }
        return Ok(Client::default());
    }
    if registration.client_secret.is_some() && !profile.given.contains_key("client_secret") {
        registration::use_for(profile, registration);
    }
    Ok(Client { registration: Some(registration.clone()), redirect, ..Client::default() })
}

/// The first of the places that `registration` has where this login can end.
fn place_of(profile: &Profile, args: &LoginArgs, registration: &Registration) -> Result<Option<Redirect>> {
    for uri in &registration.redirect_uris {
        if let Some(redirect) = place(profile, args, Some(uri))? {
            return Ok(Some(redirect));
        }
    }
    Ok(None)
}

/// A client of the issuer that was registered before and does for this login.
fn kept(host: &Host, profile: &mut Profile, search: &Search, clients: &Clients) -> Result<Client> {
    let Search { situation: Situation { args, grant, .. }, metadata, wanted } = search;
    for registration in clients.all.of(metadata.issuer()) {
        if !registration.suits(grant.flow, wanted, host.clock.now().secs()) {
            continue;
        }
        let redirect = match grant.flow {
            Flow::AuthorizationCode => match place_of(profile, args, registration)? {
                None => continue,
                found => found,
            },
            _ => None,
        };
        registration::use_for(profile, registration);
        return Ok(Client { registration: Some(registration.clone()), redirect, ..Client::default() });
    }
    Ok(Client::default())
}

/// A client where there is none: the address of a metadata document, or a new registration.
fn find(host: &mut Host, profile: &mut Profile, search: &Search, client: &mut Client) -> Result<()> {
    let metadata = search.metadata;
    // draft-ietf-oauth-client-id-metadata-document
    let takes_document = metadata.flag("client_id_metadata_document_supported") == Some(true);
    if let Some(url) = profile.client_metadata_url.clone().filter(|_| takes_document) {
        let given =
            Given { text: Some(vec![Secret::new(url)]), source: Source::Registration(metadata.issuer().into()) };
        profile.given.insert("client_id".into(), given);
        return Ok(());
    }
    register(host, profile, search, client)
}

/// Registers a client for this login, and makes ready where it ends.
fn register(host: &mut Host, profile: &mut Profile, search: &Search, client: &mut Client) -> Result<()> {
    let Search { situation, metadata, wanted } = *search;
    let Situation { args, grant, api, again } = *situation;
    let redirect = match grant.flow {
        Flow::AuthorizationCode => place(profile, args, None)?,
        _ => None,
    };
    let uri = redirect.as_ref().map(|redirect| redirect.uri.clone());
    let by_hand = by_hand(uri.as_deref(), again);
    let issuer = metadata.issuer().to_string();
    let endpoint = metadata.endpoint("registration_endpoint").map_err(|why| {
        Error::new(Kind::Reply, format!("the metadata of {} cannot be used", escape(&issuer)), why)
            .hint(by_hand.clone())
    })?;
    let Some(url) = endpoint else {
        let what = format!("{} registers no clients by itself", escape(&issuer));
        return Err(Error::new(Kind::LoginNeeded, what, "its metadata have no registration_endpoint")
            .hint(by_hand)
            .into());
    };
    let token = registration_token(host, profile, situation, &issuer, &url)?;
    // The client may come to need the others; it is not asked for more than is wanted now.
    let mut scopes = wanted.to_vec();
    if let (false, Some(api)) = (wanted.is_empty(), api) {
        let known = |scope: &&String| !wanted.contains(scope) && crate::oauth::resource::scopes(scope).is_ok();
        scopes.extend(api.supported.iter().filter(known).cloned());
    }
    let place = Place { issuer: &issuer, url: &url, token: token.as_ref() };
    let ask = Wanted { flow: grant.flow, redirect_uri: uri.as_deref(), scopes: &scopes };
    let registration =
        registration::register(host, profile, &place, &ask).map_err(|error| match error.downcast::<Error>() {
            Ok(error) if error.kind == Kind::Refused && token.is_none() && says_401(&error) => error
                .hint(format!(
                    "get an initial access token there: {again} --registration-token-file PATH; or {by_hand}"
                ))
                .into(),
            Ok(error) if matches!(error.kind, Kind::Refused | Kind::Reply) => error.hint(by_hand.clone()).into(),
            Ok(error) => error.into(),
            Err(error) => error,
        })?;
    registration::use_for(profile, &registration);
    *client = Client { registration: Some(registration), is_new: true, redirect, ..Client::default() };
    Ok(())
}

/// What to do where no client can be registered: the redirect URI, and the command with the client.
fn by_hand(uri: Option<&str>, again: &str) -> String {
    let port = uri.and_then(|uri| Url::parse(uri).ok()).filter(|url| url.is_loopback()).map(|url| url.port);
    let has_port = again.contains("--redirect-port");
    let port = port.filter(|_| !has_port).map(|port| format!(" --redirect-port {port}")).unwrap_or_default();
    match uri {
        Some(uri) => format!(
            "register a native client there with the redirect URI {uri}, then run: {again} --client-id VALUE{port}"
        ),
        None => format!("register a native client there, then run: {again} --client-id VALUE"),
    }
}

fn says_401(error: &Error) -> bool {
    error.why.contains("401") || error.why.contains("403") || error.why.contains("invalid_token")
}

/// The initial access token, where a person gives one. It goes to an issuer that the person has named, or that is the
/// API itself: an API must not be able to send it elsewhere.
fn registration_token(
    host: &Host,
    profile: &Profile,
    situation: &Situation,
    issuer: &str,
    url: &str,
) -> Result<Option<Secret>> {
    let Some(path) = &situation.args.client.token_file else { return Ok(None) };
    let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
    let is_named = !matches!(profile.given.get("issuer").map(|given| &given.source), Some(Source::Api(_)));
    let is_api = situation.api.is_some_and(|api| origin(&api.address) == origin(issuer));
    let again = situation.again;
    if !is_named && !is_api {
        let quoted = shlex::try_quote(issuer).map(|issuer| issuer.to_string()).unwrap_or_default();
        let why = format!("only the API says that it is for {}; nothing was sent", escape(issuer));
        return Err(Error::new(Kind::LoginNeeded, "the registration token stays here", why)
            .hint(format!("if that is right, say so: {again} --issuer {quoted}"))
            .into());
    }
    if origin(url) != origin(issuer) {
        let why =
            format!("the issuer is {}, and its registration endpoint is elsewhere: {}", escape(issuer), escape(url));
        return Err(Error::new(Kind::Reply, "the registration token stays here", why).into());
    }
    let read = host.read_secret_file(path, Stdin::Allowed, Lines::One);
    let token = read.map_err(|failed| Error::new(Kind::Usage, "the file of --registration-token-file", failed.why))?;
    match token.expose().bytes().all(|b| b.is_ascii_graphic()) && !token.expose().is_empty() {
        true => Ok(Some(token)),
        false => Err(Error::new(Kind::Usage, "the file of --registration-token-file", "it holds no token").into()),
    }
}

/// Whether `error`, of the request that a login begins with, says that the server does not take the client, and another
/// may do.
pub(super) fn may_renew(client: &Client, error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    client.may_change
        && ["invalid_client", "unauthorized_client", "redirect_uri"].iter().any(|word| text.contains(word))
        || client.lacks_scopes && text.contains("invalid_scope")
}

/// Registers a client in the place of one that the server does not take.
///
/// # Errors
/// As [`settle`].
pub(super) fn renew(host: &mut Host, profile: &mut Profile, situation: &Situation, client: &mut Client) -> Result<()> {
    let Some(metadata) = profile.metadata.clone() else { return Ok(()) };
    give_back(host, profile, client);
    // Nobody listens at the old place any more.
    *client = Client::default();
    for name in ["client_id", "client_secret", "client_auth"] {
        profile.given.remove(name);
    }
    let wanted = wanted_scopes(profile, situation.api)?;
    let search = Search { situation, metadata: &metadata, wanted: &wanted };
    register(host, profile, &search, client)
}

/// Keeps the registration of a login that has worked, with the profile that uses it. Returns those that nobody uses any
/// more, as this one takes their place.
///
/// # Errors
/// As the store.
pub(super) fn keep(context: &mut Context, profile: &Profile, client: &Client) -> Result<Vec<Registration>> {
    let Some(registration) = &client.registration else { return Ok(Vec::new()) };
    let lock = context.lock(registration::LOCK)?;
    let clients = Clients::open(context.host, &profile.store, &registration.issuer);
    let mut clients = clients.map_err(|trouble| open_store::store_error(profile, &trouble))?;
    let before = clients.all.clone();
    let obsolete = clients.all.settle(registration, &profile.name);
    if clients.all != before {
        clients.keep().map_err(|trouble| open_store::store_error(profile, &trouble))?;
    }
    drop(lock);
    Ok(obsolete)
}

/// Notes for `tok show` where the client was registered.
pub(super) fn note(host: &Host, opened: &OpenStore, profile: &Profile, client: &Client) {
    let registered = client.registration.as_ref().map(|registration| RegisteredClient {
        client_id: registration.client_id.clone(),
        issuer: registration.issuer.clone(),
        at: registration.at,
    });
    let note = |entry: &mut IndexEntry| entry.registered = registered.clone();
    opened.indexes(host, &profile.name).iter().for_each(|index| index.update(note));
}

/// Deletes clients at their server that nobody uses any more.
pub(super) fn drop_obsolete(host: &mut Host, profile: &Profile, obsolete: &[Registration]) {
    for registration in obsolete {
        if let Err(error) = registration::delete(host, registration, profile.ca_file.as_deref()) {
            host.terminal.detail(&registration::not_deleted(registration, &error.to_string()));
        }
    }
}

/// Deletes a client at its server that was registered for a login which has not worked.
pub(super) fn give_back(host: &mut Host, profile: &Profile, client: &Client) {
    let Some(registration) = client.registration.as_ref().filter(|_| client.is_new) else { return };
    if let Err(error) = registration::delete(host, registration, profile.ca_file.as_deref()) {
        host.terminal.detail(&registration::not_deleted(registration, &error.to_string()));
    }
}

/// Adds the scopes of this call to those that the profile has, where it is for an API: a step up keeps what was granted.
pub(super) fn add_scopes(profile: &mut Profile) {
    let is_flag = profile.given.get("scope").is_some_and(|given| given.source == Source::Flag);
    if profile.provider.discover != Discover::Resource || !is_flag {
        return;
    }
    let own = match profile.config.values.get("scope") {
        Some((crate::profile::config::ConfigValue::List(own), _)) => own.clone(),
        Some((crate::profile::config::ConfigValue::Text(own), _)) => {
            own.expose().split(' ').map(str::to_string).collect()
        }
        _ => Vec::new(),
    };
    if let Some(Given { text: Some(texts), .. }) = profile.given.get_mut("scope") {
        let more: Vec<Secret> = texts.drain(..).filter(|new| !own.iter().any(|old| old == new.expose())).collect();
        texts.extend(own.iter().filter(|scope| !scope.is_empty()).map(Secret::new).chain(more));
    }
}
