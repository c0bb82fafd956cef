//! `tok credential`: the token of the profile that a host belongs to, in the protocol of the program that asks. Here:
//! which profile may answer. What each program says and expects is in a file of its own.

mod bazel;
mod cargo;
mod docker;
mod git;
mod goauth;
mod terraform;

use super::Context;
use super::token::token;
use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::base::url::Url;
use crate::cli::{Credential as Arguments, Protocol, TokenArgs};
use crate::profile::{Profile, Wishes};
use crate::storage::cache::Cache;
use anyhow::Result;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// The programs that tok is when it is called by their name, and the protocol of each.
const PROGRAMS: [(&str, &str); 5] = [
    ("git-credential-tok", "git"),
    ("docker-credential-tok", "docker"),
    ("terraform-credentials-tok", "terraform"),
    ("bazel-credential-tok", "bazel"),
    ("cargo-credential-tok", "cargo"),
];

/// The user name beside a token, for a server that takes any: that of GitLab's documentation.
const ANY_USER: &str = "oauth2";

/// What cargo gives to a credential provider as its only argument.
const CARGO: &str = "--cargo-plugin";

/// A command line as `tok` has it, where it is that of a credential helper: by the program's name, or cargo's.
pub fn by_name(words: Vec<OsString>) -> Vec<OsString> {
    let name = words.first().and_then(|word| Path::new(word).file_name()?.to_str());
    let name = name.map(|name| name.strip_suffix(std::env::consts::EXE_SUFFIX).unwrap_or(name));
    let is_cargo = words.get(1).is_some_and(|word| word == CARGO);
    let by_name = PROGRAMS.iter().find(|(program, _)| name == Some(program)).map(|(_, protocol)| *protocol);
    match by_name.or(is_cargo.then_some("cargo")) {
        Some(protocol) => {
            let rest = words.into_iter().skip(1);
            ["tok", "credential", protocol].into_iter().map(OsString::from).chain(rest).collect()
        }
        None => words,
    }
}

/// A token for another program.
struct Credential {
    /// The access token.
    token: Secret,
    /// The request header that an API expects.
    header: (String, Secret),
    /// Further headers.
    more_headers: Vec<(String, Secret)>,
    /// What goes with the token where a program sends name and password.
    username: String,
    /// When the token ends, in seconds since 1970, if that is known.
    expires: Option<i64>,
}

/// Answers one request.
///
/// # Errors
/// Each kind of the contract, and what a request is wrong in. What the protocol has to say of it is on stdout then.
pub fn run(context: &mut Context, args: &Arguments) -> Result<()> {
    let asking = Asking { profile: args.profile.as_deref(), timeout: args.timeout };
    match &args.protocol {
        Protocol::Git { operation } => git::run(context, &asking, operation),
        Protocol::Docker { operation } => docker::run(context, &asking, operation),
        Protocol::Bazel { operation } => bazel::run(context, &asking, operation),
        Protocol::Cargo { .. } => cargo::run(context, &asking),
        Protocol::Goauth { url } => goauth::run(context, &asking, url.as_deref()),
        Protocol::Terraform { operation, host } => terraform::run(context, &asking, operation, host),
    }
}

/// The options of all protocols.
struct Asking<'a> {
    profile: Option<&'a str>,
    timeout: Option<i64>,
}

/// The origin that a program asks for; `None` where no token ever goes: another scheme, or `http` to another machine.
///
/// # Errors
/// What is wrong with it, in words. Such a request is never answered: a host with a line break in it may be two hosts
/// to two programs (CVE-2020-5260, CVE-2024-50338).
fn origin(url: &str) -> Result<Option<String>, String> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err("it has no scheme".into()) };
    // Whatever the scheme, the host is one. What a scheme that is not ours means by it is not our concern.
    let is_http = scheme.eq_ignore_ascii_case("http");
    if !is_http && !scheme.eq_ignore_ascii_case("https") {
        return Ok(None);
    }
    let https = format!("https://{rest}");
    let parsed = Url::parse(&https).map_err(|why| format!("the URL {why}"))?;
    if !is_http {
        return Ok(Some(parsed.origin()));
    }
    Ok(Url::parse(url).ok().map(|url| url.origin()))
}

/// The origins of a profile's own `hosts`.
fn own_origins<'c>(context: &'c Context, profile: &str) -> &'c [String] {
    context.setup.config.profiles.get(profile).map_or(&[], |own| &own.hosts)
}

/// The profiles that have `origin` among their own `hosts`: exactly, as a token for whatever ends alike would be given
/// away (CVE-2024-53858). `--profile` leaves only that one.
///
/// # Errors
/// Where there is no profile of that name.
fn owners(context: &Context, asking: &Asking, origin: &str) -> Result<Vec<String>> {
    let names: Vec<String> = match asking.profile {
        Some(name) => {
            must_exist(context, name)?;
            vec![name.to_string()]
        }
        None => context.setup.config.profiles.keys().cloned().collect(),
    };
    let profiles = &context.setup.config.profiles;
    let has = |name: &String| profiles.get(name).is_some_and(|own| own.answers_for(origin));
    Ok(names.into_iter().filter(has).collect())
}

/// Refuses a name that neither a profile nor a provider has.
///
/// # Errors
/// As [`Profile::resolve`].
fn must_exist(context: &Context, name: &str) -> Result<()> {
    if !context.setup.config.profiles.contains_key(name) {
        Profile::resolve(context.host, &context.setup, name, &Wishes::default())?;
    }
    Ok(())
}

/// The one profile that answers for `origin`. With two there is none: whose token it is to be is not for tok to guess.
///
/// # Errors
/// As [`owners`].
fn owner(context: &mut Context, asking: &Asking, origin: &str) -> Result<Option<String>> {
    let names = owners(context, asking, origin)?;
    match names.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => {
            let several = several.join(" and ");
            context.host.terminal.warn(&format!(
                "{origin} is in the hosts of {several}: neither is used; choose one with --profile, or remove it from the other"
            ));
            Ok(None)
        }
    }
}

/// The token of profile `name`, as `tok get` has it.
///
/// # Errors
/// As [`token`]; [`Kind::Other`] for a token that is bound to a key: no program can send the proof.
fn credential(context: &mut Context, asking: &Asking, name: &str) -> Result<Credential> {
    let args = TokenArgs { profile: name.into(), timeout: asking.timeout, ..TokenArgs::default() };
    let got = token(context, &args)?;
    let token = got.answer.token;
    if token.header.0.is_empty() {
        let why = "the API expects it in the query of the URL, where no other program puts it";
        return Err(Error::new(Kind::Other, format!("{name}: no header carries the token"), why).into());
    }
    if token.is_bound() {
        let why = "each request needs its own proof, which no other program can make";
        return Err(Error::new(Kind::Other, format!("{name}: the token is bound to a key (DPoP)"), why).into());
    }
    let profile = got.profile;
    let username = profile.value("username").filter(|name| !name.contains(|c: char| c == ':' || c.is_control()));
    Ok(Credential {
        username: username.or(profile.provider.usage.username.clone()).unwrap_or(ANY_USER.into()),
        expires: token.expires.at(),
        token: token.access_token,
        header: token.header,
        more_headers: token.more_headers,
    })
}

/// Deletes the cached access tokens of profile `name`: the one that is `named`, or all. Never a refresh token.
fn forget(context: &mut Context, name: &str, named: Option<&str>) -> Result<()> {
    // So that no call puts another in its place meanwhile. Without the lock that would cost a token, and no session.
    let lock = context.lock(name).ok();
    Cache::new(context.host.folders()?.cache(name)).drop_tokens(named);
    drop(lock);
    Ok(())
}

/// [`forget`] for the profiles that `origin` belongs to. Without a name of the token, it must be one profile.
///
/// # Errors
/// As [`owners`].
fn erase(context: &mut Context, asking: &Asking, origin: &str, named: Option<&str>) -> Result<()> {
    let names = owners(context, asking, origin)?;
    if named.is_none() && names.len() > 1 {
        return Ok(());
    }
    names.iter().try_for_each(|name| forget(context, name, named))
}

/// Whether `secret` is an access token that tok itself has handed out for `origin`.
///
/// # Errors
/// As [`owners`].
fn is_ours(context: &Context, asking: &Asking, origin: &str, secret: &str) -> Result<bool> {
    let folders = context.host.folders()?;
    let names = owners(context, asking, origin)?;
    let mut tokens = names.iter().flat_map(|name| Cache::new(folders.cache(name)).all());
    Ok(tokens.any(|token| token.access_token.expose() == secret))
}

/// The error for a credential that tok did not hand out: it would be lost if it seemed to be stored.
fn not_stored(program: &str) -> Error {
    Error::new(Kind::Other, format!("tok does not store credentials for {program}"), "it gets tokens itself")
        .hint("log in with tok: tok login PROFILE")
}

/// The error for a request that cannot be answered whoever it is for.
fn malformed(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Other, "the request is refused", escape(&why.to_string()))
}

/// An error as one line of a protocol's answer.
fn one_line(error: &anyhow::Error) -> String {
    let hint = crate::base::error::hint(error).map(|hint| format!(" ({hint})")).unwrap_or_default();
    crate::base::text::line(&format!("tok: {error:#}{hint}"))
}

/// Each host that one profile alone has, and that profile.
fn all_owned(context: &Context, asking: &Asking) -> Result<BTreeMap<String, String>> {
    let names = context.setup.config.profiles.keys().cloned().collect::<Vec<_>>();
    let mut found = BTreeMap::new();
    for origin in names.iter().flat_map(|name| own_origins(context, name)) {
        if let [one] = owners(context, asking, origin)?.as_slice() {
            found.insert(origin.clone(), one.clone());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_name_is_its_protocol() {
        let read = |line: &str| {
            let words = by_name(line.split(' ').map(OsString::from).collect());
            words.join(&OsString::from(" ")).into_string().unwrap()
        };
        assert_eq!(read("git-credential-tok get"), "tok credential git get");
        assert_eq!(read("/usr/bin/docker-credential-tok list"), "tok credential docker list");
        assert_eq!(
            read("/x/terraform-credentials-tok --profile p get a.example"),
            "tok credential terraform --profile p get a.example"
        );
        assert_eq!(read("/usr/bin/tok --cargo-plugin"), "tok credential cargo --cargo-plugin");
        for line in ["tok get x", "/git-credential-tok/tok get x", "tok get --cargo-plugin", "my-tok get x"] {
            assert_eq!(read(line), line);
        }
    }

    #[test]
    fn a_host_is_one_host_or_refused() {
        assert_eq!(origin("https://Git.Example.com/a/b"), Ok(Some("https://git.example.com".into())));
        assert_eq!(origin("HTTPS://a.example:8443"), Ok(Some("https://a.example:8443".into())));
        assert_eq!(origin("https://a.example:443/"), Ok(Some("https://a.example".into())));
        assert_eq!(origin("http://127.0.0.1:8080"), Ok(Some("http://127.0.0.1:8080".into())));
        assert_eq!(origin("http://[::1]:8080"), Ok(Some("http://[::1]:8080".into())));
        // Well-formed, and no token goes there.
        for text in ["http://a.example", "ssh://a.example", "ftp://a.example", "cert://", "http://127.0.0.1.a.example"]
        {
            assert_eq!(origin(text), Ok(None), "{text}");
        }
        for text in [
            "",
            "a.example",
            "https://",
            "https:///x",
            "http://",
            "https://:443",
            "https://a.example\rb.example",
            "https://a.example\nb.example",
            "https://a.example\0",
            "https://a.example%0ab.example",
            "https://a.example%00",
            "https://a.example b.example",
            "https://user@a.example",
            "https://a.example@b.example",
            "https://a.example\\@b.example",
            "https://a.example:",
            "https://a.example:0",
            "https://a.example:65536",
            "https://a.example:80:80",
            "https://-a.example",
            "https://ä.example",
            "https://[::1",
            "https://*.example",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
