//! A login to an API by its address: what the API says of itself is asked for, and becomes values of the profile.

use super::prompt::prompt;
use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::base::text::{escape, escape_to};
use crate::base::url::Url;
use crate::cmd::Context;
use crate::cmd::arguments::is_address;
use crate::host::Host;
use crate::oauth::metadata::{First, Metadata};
use crate::oauth::request::Pair;
use crate::oauth::resource::{check_named, profile_name};
use crate::profile::discovery::resource::{Api, Question, api, own_issuer};
use crate::profile::discovery::{Copies, discover};
use crate::profile::{Given, Profile, Source};
use crate::provider::{BY_ADDRESS, Discover, Flow, Grant};
use crate::session::hints;
use crate::system::terminal::Echo;
use anyhow::Result;
use zeroize::Zeroizing;

/// The profile that a login to the address `target` is kept as, where no other name is given.
///
/// # Errors
/// [`Kind::Usage`] where its host cannot name one.
pub(super) fn name(target: &str) -> Result<String> {
    profile_name(target).ok_or_else(|| {
        let what = format!("{} gives no name for a profile", escape_to(target, 120));
        Error::new(Kind::Usage, what, "its host is too long, or has none of the characters of a name")
            .hint("name it with --as NAME")
            .into()
    })
}

/// The provider of a login to the address `target` as the profile `name`: that of the profile, if it is one for APIs.
///
/// # Errors
/// [`Kind::LoginNeeded`] where the profile is something else.
pub(super) fn provider(context: &Context, target: &str, name: &str, again: &str) -> Result<String> {
    let Some(own) = context.setup.config.profiles.get(name) else { return Ok(BY_ADDRESS.into()) };
    let provider = own.provider.clone().unwrap_or_else(|| name.to_string());
    let loaded = context.setup.library.provider(context.host, &provider).ok().flatten();
    match loaded.is_some_and(|loaded| loaded.provider.discover == Discover::Resource) {
        true => Ok(provider),
        false => Err(taken(context.host, target, name, &format!("a profile of {provider}"), again).into()),
    }
}

fn taken(host: &Host, target: &str, name: &str, of: &str, again: &str) -> Error {
    let why = format!("it is {of}, not of {}; nothing was kept", escape_to(target, 200));
    Error::new(Kind::LoginNeeded, format!("the profile {name} is another one"), why)
        .hint(format!("keep both: {again} --as {}", hints::free_name(host, name)))
}

/// Whether `profile` has to ask the API how to log in: where that is the target, or its issuer is not known.
pub(super) fn is_asked(profile: &Profile, target: &str) -> bool {
    let is_of_api = profile.provider.discover == Discover::Resource;
    let lacks = ["token_url", "authorize_url"].iter().all(|url| !profile.given.contains_key(*url));
    is_of_api && (is_address(target) || (lacks && profile.value("issuer").is_none()))
}

/// Asks the API of `profile` how to log in to it, and puts what it says into the values: `resource`, `issuer`. The grant
/// is the one that the issuer offers, where none is named.
///
/// # Errors
/// Each kind of the contract; nothing was kept.
pub(super) fn ask(
    context: &mut Context,
    profile: &mut Profile,
    target: &str,
    headers: &[String],
    again: &str,
) -> Result<Api> {
    let address = match is_address(target) {
        true => target.to_string(),
        false => own_address(context.host, profile, again)?,
    };
    let headers = pairs(headers)?;
    let ca_file = profile.ca_file.clone();
    let question = Question { address: &address, headers: &headers, ca_file: ca_file.as_deref() };
    let issuer = is_of_call(profile).then(|| profile.value("issuer")).flatten();
    context.host.keep_off_this_machine([address.as_str()].into_iter().chain(issuer.as_deref()));
    let mut api = api(context.host, question)?;
    let set = |profile: &mut Profile, name: &str, text: &str| {
        let given = Given { text: Some(vec![Secret::new(text)]), source: Source::Api(escape(&address)) };
        profile.given.insert(name.into(), given);
    };
    if profile.given.get("resource").is_some_and(|given| given.source == Source::Flag) {
        api.resource = profile.value("resource").unwrap_or_default();
    }
    // Under this name there may be another API.
    let own = context.setup.config.profiles.contains_key(&profile.name);
    if let Some(was) = profile.value("resource").filter(|was| own && is_address(target) && *was != api.resource) {
        return Err(taken(context.host, target, &profile.name, &format!("for {}", escape(&was)), again).into());
    }
    let issuer = choose_issuer(context.host, profile, &api, again)?;
    set(profile, "resource", &api.resource);
    if !is_of_call(profile) {
        set(profile, "issuer", &issuer);
    }
    let metadata = discover(context.host, &issuer, First::OAuth, ca_file.as_deref(), Copies::Refused)?;
    if profile.asked.is_none() && profile.config.grant.is_none() {
        profile.asked = offered(profile, &metadata).map(|grant| grant.name.clone());
    }
    Ok(api)
}

/// The address that the profile has.
fn own_address(host: &mut Host, profile: &mut Profile, again: &str) -> Result<String> {
    if let Some(address) = profile.value("resource") {
        return Ok(address);
    }
    if !host.terminal.interactive {
        let what = format!("{} needs the address of an API", profile.name);
        return Err(Error::new(Kind::LoginNeeded, what, "it is not given, and there is no terminal to ask on")
            .hint(format!("run: {again} --resource URL"))
            .into());
    }
    let given = prompt(host, profile, "resource")?;
    profile.given.insert("resource".into(), given);
    Ok(profile.value("resource").unwrap_or_default())
}

/// Header lines as they are given: `NAME=VALUE` each.
fn pairs(headers: &[String]) -> Result<Vec<Pair>> {
    let wrong = |why: &str| Error::new(Kind::Usage, "--header", why);
    let mut all = Vec::new();
    for header in headers {
        let Some((name, value)) = header.split_once('=') else {
            return Err(wrong("expected NAME=VALUE").into());
        };
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !is_name || value.chars().any(|c| c.is_control() || !c.is_ascii()) {
            return Err(wrong("it cannot stand in a request").into());
        }
        if ["authorization", "cookie", "proxy-authorization"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(wrong("it would expose a secret: other users can see arguments").into());
        }
        all.push((name.to_string(), Zeroizing::new(value.to_string())));
    }
    Ok(all)
}

/// The issuer to log in at: the one that a person gives, if the API takes its tokens; the only one that it names; the one
/// that a person chooses; else the API itself.
fn choose_issuer(host: &mut Host, profile: &Profile, api: &Api, again: &str) -> Result<String> {
    let of = escape(&api.address);
    let same = |one: &str, other: &str| one.trim_end_matches('/') == other.trim_end_matches('/');
    let given =
        profile.value("issuer").filter(|_| !profile.config.values.contains_key("issuer") || is_of_call(profile));
    if let Some(given) = given {
        if api.issuers.is_empty() || api.issuers.iter().any(|named| same(named, &given)) {
            return Ok(given);
        }
        let named: Vec<String> = api.issuers.iter().map(|issuer| escape(issuer)).collect();
        let what = format!("{of} takes no tokens of {}", escape(&given));
        return Err(Error::new(Kind::Reply, what, format!("its metadata name {}", named.join(", ")))
            .hint("give one of these with --issuer URL")
            .into());
    }
    let issuer = match api.issuers.as_slice() {
        [] => {
            let own = own_issuer(host, api, profile.ca_file.as_deref());
            return own.map_err(|error| match error.downcast::<Error>() {
                Ok(error) if error.kind == Kind::Reply => {
                    error.hint(format!("if you know its issuer, run: {again} --issuer URL")).into()
                }
                Ok(error) => error.into(),
                Err(error) => error,
            });
        }
        [one] => one.clone(),
        several => pick(host, &of, several, again)?,
    };
    check_named(&issuer, &api.address).map_err(|why| {
        let what = format!("the issuer that {of} names cannot be used");
        Error::new(Kind::Reply, what, format!("{} {why}", escape(&issuer)))
            .hint(format!("if it is right, say so: {again} --issuer URL"))
    })?;
    Ok(issuer)
}

/// Whether the issuer is said in this call.
fn is_of_call(profile: &Profile) -> bool {
    let source = profile.given.get("issuer").map(|given| &given.source);
    matches!(source, Some(Source::Flag | Source::Env(_) | Source::EnvFile(_)))
}

/// Asks a person which of several issuers.
fn pick(host: &mut Host, of: &str, issuers: &[String], again: &str) -> Result<String> {
    let what = format!("{of} takes tokens of {} issuers", issuers.len());
    if host.terminal.interactive {
        host.terminal.show(&format!("{what}:"));
        for (at, issuer) in issuers.iter().enumerate() {
            host.terminal.show(&format!("  {}  {}", at + 1, escape(issuer)));
        }
        for _ in 0..TRIES {
            let answer = host.ask(&format!("Which one (1 to {})", issuers.len()), Echo::On)?;
            let number = answer.and_then(|answer| answer.expose().trim().parse::<usize>().ok());
            if let Some(issuer) = number.and_then(|number| issuers.get(number.checked_sub(1)?)) {
                return Ok(issuer.clone());
            }
        }
    }
    let named: Vec<String> = issuers.iter().map(|issuer| escape(issuer)).collect();
    // Remote text in a command: quoted, and nothing that cannot be an issuer.
    let is_url = |issuer: &&String| Url::parse(issuer).is_ok();
    let first = issuers.iter().find(is_url).and_then(|issuer| shlex::try_quote(issuer).ok());
    Err(Error::new(Kind::LoginNeeded, what, format!("choose one: {}", named.join(", ")))
        .hint(format!("run: {again} --issuer {}", first.as_deref().unwrap_or("URL")))
        .into())
}

/// How often an answer may be none of those offered.
const TRIES: usize = 3;

/// The first of the provider's grants that needs a person and that the issuer offers.
fn offered<'p>(profile: &'p Profile, metadata: &Metadata) -> Option<&'p Grant> {
    let grants = profile.provider.grants.iter();
    let endpoint = |flow: Flow| match flow {
        Flow::AuthorizationCode => Some("authorization_endpoint"),
        Flow::DeviceCode => Some("device_authorization_endpoint"),
        _ => None,
    };
    let is_offered = |grant: &&Grant| {
        endpoint(grant.flow).is_some_and(|endpoint| matches!(metadata.endpoint(endpoint), Ok(Some(_))))
    };
    grants.into_iter().find(is_offered)
}

/// Checks what the metadata of an issuer, which an API or a person has named, say of where to go.
///
/// # Errors
/// [`Kind::Reply`]: an endpoint on this machine of an issuer that is elsewhere, or no PKCE where it is needed.
pub(super) fn check_metadata(metadata: &Metadata, flow: Flow) -> Result<()> {
    let issuer = metadata.issuer();
    let what = || format!("the metadata of {} cannot be used", escape(issuer));
    for (key, url) in metadata.urls() {
        if Url::parse(url).is_ok()
            && let Err(why) = check_named(url, issuer)
        {
            return Err(Error::new(Kind::Reply, what(), format!("{} {why}", escape(key))).into());
        }
    }
    // RFC 8414 §2: without the list nothing is known of it.
    let methods = metadata.list("code_challenge_methods_supported");
    if flow == Flow::AuthorizationCode && methods.is_some_and(|methods| !methods.iter().any(|name| name == "S256")) {
        let why = "it does not support PKCE with S256 (code_challenge_methods_supported)";
        return Err(Error::new(Kind::Reply, what(), why).into());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Checks the metadata of `issuer` with this member for a login in a browser.
    fn check(issuer: &str, name: &str, value: Value) -> Result<()> {
        let mut object = json!({"issuer": issuer, "token_endpoint": format!("{issuer}/token")});
        object[name] = value;
        let metadata = Metadata::parse(object.to_string().as_bytes(), issuer).unwrap();
        check_metadata(&metadata, Flow::AuthorizationCode)
    }

    #[test]
    fn an_issuer_elsewhere_names_no_endpoint_on_this_machine() {
        const FAR: &str = "https://auth.example";
        for name in ["token_endpoint", "authorization_endpoint", "registration_endpoint", "jwks_uri"] {
            for url in ["http://127.0.0.1:9/x", "https://169.254.169.254/x", "http://localhost/x", "https://[::1]/x"] {
                let error = check(FAR, name, json!(url)).unwrap_err();
                assert!(
                    crate::base::error::kind(&error) == Kind::Reply && format!("{error:#}").contains(name),
                    "{error:#}"
                );
            }
            check(FAR, name, json!("https://other.example/x")).unwrap();
            check("http://127.0.0.1:8", name, json!("http://localhost:9/x")).unwrap();
        }
        let alias = json!({"token_endpoint": "http://127.0.0.1:9/x"});
        assert!(check(FAR, "mtls_endpoint_aliases", alias).is_err());
    }

    #[test]
    fn an_issuer_that_excludes_pkce_is_refused_for_a_login_in_a_browser() {
        const METHODS: &str = "code_challenge_methods_supported";
        for (value, is_good) in [
            (json!(["S256"]), true),
            (json!(["plain", "S256"]), true),
            (json!(null), true),
            (json!(["plain"]), false),
            (json!([]), false),
        ] {
            assert_eq!(check("https://auth.example", METHODS, value.clone()).is_ok(), is_good, "{value}");
        }
        let metadata = json!({"issuer": "https://auth.example", METHODS: []}).to_string();
        let metadata = Metadata::parse(metadata.as_bytes(), "https://auth.example").unwrap();
        check_metadata(&metadata, Flow::DeviceCode).unwrap();
    }

    #[test]
    fn header_lines_are_taken_apart_and_hold_no_secret() {
        let all = pairs(&["X-A=b=c".to_string(), "x_y=".to_string()]).unwrap();
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(all, [("X-A", "b=c"), ("x_y", "")]);
        for header in ["x", "=x", "a b=c", "a=\r\nb", "a=é", "Authorization=x", "COOKIE=x", "proxy-authorization=x"] {
            assert!(pairs(&[header.to_string()]).is_err(), "{header}");
        }
    }
}
