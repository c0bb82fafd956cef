//! `tok curl`: the user's curl, with the request header handed over by a pipe.

mod line;
mod options;

use super::Context;
use super::token::{Got, find_or_acquire, resolve};
use crate::base::error::{Error, Exit, InProfile, Kind, NOT_EXECUTABLE, NOT_FOUND};
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::cli::{ApiCall, Curl, TokenArgs};
use crate::cmd::output;
use crate::oauth::resource::{Remedy, rejection};
use crate::profile::Profile;
use crate::session::acquire::TokenSource;
use crate::session::api::refused;
use crate::system::program::{self, NotFound};
use crate::system::relay::{Handed, Ran, Relay, Told};
use crate::token::Token;
use anyhow::Result;
use line::{Line, Operation};
use std::ffi::{OsStr, OsString};

/// Variables that make curl send a plain `http` request to a proxy as a whole.
const PROXIES: &[&str] = &["http_proxy", "all_proxy", "ALL_PROXY"];

/// Gets the token and runs curl.
///
/// # Errors
/// [`Exit`], with curl's own status or that of a program that was not run.
pub fn run(context: &mut Context, args: &Curl) -> Result<()> {
    let status = request(context, args).map_err(|error| match error.downcast::<Exit>() {
        Ok(exit) => exit,
        Err(error) => Exit::not_run(&error),
    })?;
    if status == 0 { Ok(()) } else { Err(Exit { status, error: None }.into()) }
}

/// curl's status.
fn request(context: &mut Context, args: &Curl) -> Result<u8> {
    let words = match args.args.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => &args.args,
    };
    let line = Line::parse(words).map_err(|refused| Error::new(Kind::Usage, refused.what, refused.why))?;
    let profile = resolve(context, &args.token)?;
    check(context, args, (&profile, None), &line).in_profile(&args.token.profile)?;
    let mut got = find_or_acquire(context, &args.token, profile).in_profile(&args.token.profile)?;
    if got.profile.is_told_hosts() {
        check(context, args, (&got.profile, Some(&got.answer.token)), &line).in_profile(&args.token.profile)?;
    }
    let repeats = can_repeat(&line);
    let (mut nonce, mut renewed): (Option<String>, bool) = (None, false);
    loop {
        let can_renew = got.answer.source == TokenSource::Cache && !renewed && !args.token.offline;
        let can_prove = got.answer.token.is_bound() && nonce.is_none();
        let holds = repeats && (can_renew || can_prove);
        let ran = curl(context, &Call { line: &line, words, nonce: nonce.as_deref(), holds }, &got)?;
        let reply = Reply::last(ran.told());
        if holds && ran.is_held() {
            if let Some(asked) = reply.header("dpop-nonce").filter(|_| can_prove) {
                context.host.terminal.detail(&format!("{}: the API requires a DPoP nonce", args.token.profile));
                nonce = Some(asked.to_string());
                continue;
            }
            if can_renew {
                match renew(context, args) {
                    Ok(new) => {
                        (got, renewed) = (new, true);
                        continue;
                    }
                    Err(error) => {
                        context.host.terminal.release_messages();
                        let name = &args.token.profile;
                        let what =
                            format!("the API refused {name}'s cached token, and it cannot be renewed: {error:#}");
                        context.host.terminal.warn(&what);
                    }
                }
            }
        }
        let status = ran.finish()?;
        tell_scope(context, &got.profile, &reply);
        return Ok(status);
    }
}

/// A token newer than the one that was refused.
fn renew(context: &mut Context, args: &Curl) -> Result<Got> {
    context.host.clock.restart();
    let name = &args.token.profile;
    context.host.terminal.detail(&format!("{name}: the API refused the cached token; renewing it"));
    let profile = resolve(context, &args.token)?;
    find_or_acquire(context, &TokenArgs { fresh: true, ..args.token.clone() }, profile)
}

/// Whether the request may be made twice: it is one alone, its body is not read from what can be read once, and nothing
/// of its output is out before the reply's status is known.
fn can_repeat(line: &Line) -> bool {
    let [one] = line.operations.as_slice() else { return false };
    let is_file = |name: &String| std::fs::metadata(name).is_ok_and(|about| about.is_file());
    one.is_one_request() && !one.is_once && !one.dumps && one.sent.iter().all(is_file)
}

/// Refuses what would send the token elsewhere than to the API of the profile. What its reply tells of the API's hosts is
/// not known before there is a token.
fn check(context: &Context, args: &Curl, (profile, token): (&Profile, Option<&Token>), line: &Line) -> Result<()> {
    let refuse = |what: &str, why: String| Error::new(Kind::Usage, what.to_string(), why);
    let usage = &profile.provider.usage;
    let waits = token.is_none() && profile.is_told_hosts();
    if line.verbose && line.moves_stderr {
        return Err(refuse("--stderr", "with --verbose it writes the token to a file".into()).into());
    }
    for operation in &line.operations {
        let mut is_plain = false;
        for url in &operation.urls {
            let shown = crate::base::text::escape_to(url, 200);
            let origin = origin(url).map_err(|why| refuse(&format!("the URL {shown}"), why))?;
            if !waits && !profile.may_have_token(&origin, token) {
                let name = &profile.name;
                let host = origin.strip_prefix("https://").unwrap_or(&origin);
                let config = context.setup.config_path.display();
                return Err(refuse(
                    &format!("{origin} does not get the token"),
                    "it is not a host of this profile".into(),
                )
                .hint(format!("to allow it, put hosts = [\"{host}\"] under [profile.{name}] in {config}"))
                .into());
            }
            is_plain |= origin.starts_with("http://");
        }
        if let (true, Some(route)) = (is_plain, operation.routes.first()) {
            return Err(refuse(route, "it sends the token elsewhere, as the URL is http".into()).into());
        }
        // There the header takes its place.
        if !cfg!(unix) && operation.sent.iter().any(|file| file == "-") {
            return Err(refuse("stdin", "curl cannot read it on this system; name a file".into()).into());
        }
        for name in &operation.headers {
            if let Some(header) = usage.token_header(name) {
                return Err(refuse(&format!("the header {header}"), "it is tok that sets it".into()).into());
            }
            if name == "host" {
                return Err(refuse("the header Host", "it sends the token to another host".into()).into());
            }
        }
        if let (Some(header), true, false) = (usage.following_header(), operation.follows, args.follow_anywhere) {
            let why = format!("curl sends the header {header} to wherever a redirect leads");
            return Err(refuse("--location", why)
                .hint(format!("if that is meant: tok curl --follow-anywhere {} …", profile.name))
                .into());
        }
    }
    Ok(())
}

/// The origin that curl would request for `url`.
///
/// # Errors
/// Why it cannot be told, or is none that gets a token, in words.
fn origin(url: &str) -> Result<String, String> {
    let is_scheme = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        // curl's guess, but for names that begin as those of other protocols.
        _ => ("http", url),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let guesses = ["ftp.", "dict.", "ldap.", "imap.", "smtp.", "pop3."];
    let begins = |guess: &&str| authority.get(..guess.len()).is_some_and(|start| start.eq_ignore_ascii_case(guess));
    let is_guess = rest.len() == url.len();
    if is_guess && guesses.iter().any(begins) {
        return Err("curl takes it for another protocol; write https:// before it".into());
    }
    match Url::parse(&format!("{scheme}://{authority}")) {
        Ok(url) => Ok(url.origin()),
        Err(why) if is_guess => Err(format!("{why}; write https:// before it")),
        Err(why) => Err(why),
    }
}

/// One run of curl.
struct Call<'a> {
    line: &'a Line,
    /// The arguments that `line` was read from.
    words: &'a [OsString],
    /// The API's own nonce for the proof.
    nonce: Option<&'a str>,
    /// Whether the output is held back, should the API refuse the token.
    holds: bool,
}

/// Runs curl once.
fn curl(context: &Context, call: &Call, got: &Got) -> Result<Ran> {
    let Call { line, words, nonce, holds } = *call;
    let failed = |error: std::io::Error| {
        let status = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
        Exit { status, error: Some(Error::new(Kind::Other, "curl", crate::system::files::why(&error))) }
    };
    let missing = |why: NotFound| Exit {
        status: NOT_FOUND,
        error: Some(Error::new(Kind::Other, "curl", why.to_string()).hint("install curl, and see that it is on PATH")),
    };
    let is_plain =
        line.operations.iter().flat_map(|one| &one.urls).any(|url| origin(url).is_ok_and(|o| o.starts_with("http:")));
    let passes = |name: &OsStr| !(is_plain && PROXIES.iter().any(|proxy| name == *proxy));
    let env = context.host.env.for_children().filter(|(name, _)| passes(name));
    let mut command = program::command(OsStr::new("curl"), env).map_err(missing)?;
    // Only as the first argument does it keep .curlrc from being read.
    command.arg("-q");
    let mut handed = Vec::new();
    let told = match line.operations.as_slice() {
        [one] if !one.dumps => Told::new().map_err(failed)?,
        _ => None,
    };
    if let Some(told) = &told {
        command.arg("-D").arg(told.path());
    }
    let one = line.operations.first();
    if holds && context.host.terminal.stdout_terminal && one.is_some_and(|one| !one.to_file) {
        // To curl it is no terminal any more.
        command.arg("-sS");
    }
    for (at, operation) in line.operations.iter().enumerate() {
        let text = header(got, operation, nonce)?;
        if !text.expose().is_empty() {
            let pipe = Handed::new(text).map_err(failed)?;
            command.arg("-H").arg(format!("@{}", pipe.path()));
            handed.push(pipe);
        }
        let query = output::query(&got.answer);
        if !query.expose().is_empty() {
            let pipe = Handed::new(query).map_err(failed)?;
            command.arg("-K").arg(pipe.path());
            handed.push(pipe);
        }
        let start = line.starts.get(at).copied().unwrap_or_default();
        let end = line.starts.get(at + 1).copied().unwrap_or(words.len());
        command.args(words.get(start..end).unwrap_or_default());
    }
    let relay = Relay {
        handed,
        told,
        holds_back: holds.then_some(is_refused),
        hidden: (holds || line.verbose).then_some(&got.answer.token.access_token),
    };
    Ok(relay.run(&mut command).map_err(failed)?)
}

/// Whether the API has refused the token, by the last reply of those in `told`.
fn is_refused(told: &[u8]) -> bool {
    Reply::last(told).status == 401
}

/// The header lines of an operation.
fn header(got: &Got, operation: &Operation, nonce: Option<&str>) -> Result<Secret> {
    let answer = &got.answer;
    let mut api = None;
    if answer.token.is_bound() {
        if !operation.is_one_request() {
            let what = "the token is bound to a key (DPoP)";
            return Err(Error::new(Kind::Usage, what, "each request needs its own proof")
                .hint("give one URL, without patterns, in each call")
                .into());
        }
        api = operation.urls.first().map(|url| ApiCall {
            method: Some(operation.method().to_string()),
            url: Some(whole(url)),
            nonce: nonce.map(str::to_string),
        });
    }
    // One that is given takes the place of ours.
    let lines = output::header_lines(answer, api.as_ref())?;
    let is_given = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        operation.headers.iter().any(|given| given.eq_ignore_ascii_case(name))
    };
    Ok(Secret::new(lines.expose().split_inclusive('\n').filter(|line| !is_given(line)).collect::<String>()))
}

/// The URL as it is requested: with its scheme and a path (RFC 9110 §4.2.3).
fn whole(url: &str) -> String {
    let url = if url.contains("://") { url.to_string() } else { format!("http://{url}") };
    let start = url.find("://").map_or(0, |at| at + 3);
    match url.get(start..).and_then(|rest| rest.find(['/', '?', '#'])) {
        Some(at) if url.as_bytes().get(start + at) == Some(&b'/') => url,
        Some(at) => format!("{}/{}", &url[..start + at], &url[start + at..]),
        None => url + "/",
    }
}

/// The head of a reply, as `--dump-header` writes it.
#[derive(Debug, Default)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
}

impl Reply {
    /// The last of those in `told`.
    fn last(told: &[u8]) -> Reply {
        let mut reply = Reply::default();
        for line in String::from_utf8_lossy(told).lines() {
            if line.starts_with("HTTP/") {
                let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
                reply = Reply { status: status.unwrap_or_default(), headers: Vec::new() };
            } else if let Some((name, value)) = line.split_once(':') {
                reply.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_string()));
            }
        }
        reply
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }
}

/// Says which scope the API requires (RFC 6750 §3.1), and how to log in with it.
fn tell_scope(context: &mut Context, profile: &Profile, reply: &Reply) {
    let lines = reply.headers.iter().filter(|(name, _)| name == "www-authenticate");
    let Some(rejection) = rejection(reply.status, lines.map(|(_, value)| value.as_str())) else { return };
    if let Remedy::Scope(_) = rejection.remedy {
        let error = refused(profile, "the API", &rejection);
        let hint = error.hint.as_deref().unwrap_or_default();
        context.host.terminal.warn(&format!("{error}; {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_the_one_that_curl_would_ask() {
        for (url, expected) in [
            ("https://a.example/x?y#z", "https://a.example"),
            ("HTTPS://A.example:443", "https://a.example"),
            ("https://a.example:8443?x", "https://a.example:8443"),
            ("http://127.0.0.1:8080/{a,b}", "http://127.0.0.1:8080"),
            ("127.0.0.1:8080/x", "http://127.0.0.1:8080"),
            ("localhost/x?u=https://b.example", "http://localhost"),
            ("https://a.example/https://b.example", "https://a.example"),
            ("http://[::1]:80/", "http://[::1]"),
        ] {
            assert_eq!(origin(url).as_deref(), Ok(expected), "{url}");
        }
        for url in [
            "",
            "-",
            "a.example/x",
            "http://a.example",
            "ftp://a.example",
            "ftp.localhost/x",
            "file:///etc/passwd",
            "https:///a.example",
            "https:/a.example",
            "https:a.example",
            "https://u@a.example",
            "https://u:p@a.example/",
            "https://{a,b}.example/",
            "https://a.example{/x,@b.example}",
            "{https://a.example,https://b.example}/",
            "https://a.example\\@b.example",
            "https://a.example:{1,2}/",
            "https://%61.example/",
            "https://é.example/",
            " https://a.example",
            "@urls",
            "https://a.example\n.b.example/",
        ] {
            assert!(origin(url).is_err(), "{url}");
        }
        assert_eq!(origin("https://a.example./"), Ok("https://a.example.".into()));
    }

    #[test]
    fn a_url_has_a_path() {
        for (url, expected) in [
            ("https://a.example", "https://a.example/"),
            ("https://a.example?x=1", "https://a.example/?x=1"),
            ("https://a.example/b?x", "https://a.example/b?x"),
            ("localhost:80", "http://localhost:80/"),
        ] {
            assert_eq!(whole(url), expected);
        }
    }

    #[test]
    fn the_last_reply_counts() {
        let told = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /x\r\n\r\nHTTP/2 401 \r\n\
            WWW-Authenticate: Bearer error=\"invalid_token\"\r\ndpop-nonce: n\r\n\r\n";
        let reply = Reply::last(told);
        assert_eq!((reply.status, reply.header("dpop-nonce")), (401, Some("n")));
        assert_eq!(reply.header("location"), None);
        assert_eq!(Reply::last(b"").status, 0);
    }
}
