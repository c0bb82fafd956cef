//! What a redirect back from the authorization endpoint means (RFC 6749 §4.1.2, RFC 9207). Pure.

use crate::base::digest::constant_time_eq;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::oauth::metadata;
use crate::oauth::reply::form_decode;
use crate::provider::{Find, Redirect, State};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The parameters used besides the code and what the provider file keeps. RFC 6749 §3.1 forbids repeating any.
const NAMES: [&str; 4] = ["state", "iss", "error", "error_description"];

/// What the redirect of this login must look like.
#[derive(Clone, Debug)]
pub struct ExpectedRedirect {
    /// The `state` of the authorization request.
    pub state: Secret,
    /// The issuer the request was sent to; if unknown, `iss` is not checked.
    pub issuer: Option<String>,
    /// The metadata said `authorization_response_iss_parameter_supported` (RFC 9207 §3): a redirect without `iss`
    /// is not from this issuer.
    pub issuer_required: bool,
    /// The path of the redirect URI, beginning with a slash.
    pub path: String,
    /// What it brings, by the provider file.
    pub rules: Redirect,
}

impl ExpectedRedirect {
    /// The parameter `name` as it is known here; `None` for one that is not used.
    fn known<'e>(&'e self, name: &str) -> Option<&'e str> {
        let kept = self.rules.keep.iter().flat_map(|kept| match &kept.at {
            Find::At(names) => names.as_slice(),
            Find::Header(_) | Find::Cookie(_) => &[],
        });
        let own = self.rules.code.iter().chain(kept).map(String::as_str);
        NAMES.into_iter().chain(own).find(|known| *known == name)
    }
}

/// The response to this login's authorization request, with the right `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callback {
    /// The authorization code, and what else the provider file keeps: names and texts.
    Code(Secret, Vec<(String, Secret)>),
    /// An error response (RFC 6749 §4.1.2.1), unescaped: not safe for a terminal.
    Denied {
        /// `error`
        code: String,
        /// `error_description`
        description: Option<String>,
    },
    /// It is not from the issuer the request was sent to (RFC 9207 §2.4): its code must not be sent to this token
    /// endpoint.
    MixUp {
        /// `iss`, unescaped; `None` if it is missing but required.
        issuer: Option<String>,
    },
}

impl Callback {
    /// The authorization code, and what came beside it.
    ///
    /// # Errors
    /// [`Kind::Refused`] or, if the provider says it is temporary, [`Kind::Unavailable`]; [`Kind::Reply`] if the
    /// answer is from another issuer.
    pub fn code(self) -> Result<(Secret, Vec<(String, Secret)>)> {
        match self {
            Callback::Code(code, beside) => Ok((code, beside)),
            Callback::Denied { code, description } => {
                let kind = match code.as_str() {
                    "server_error" | "temporarily_unavailable" => Kind::Unavailable,
                    _ => Kind::Refused,
                };
                let why = match description {
                    Some(text) => format!("{} ({})", escape(&code), escape(&text)),
                    None => escape(&code),
                };
                let error = Error::new(kind, "the login failed at the provider", why);
                Err(match code.as_str() {
                    "invalid_scope" => error.hint("ask for others with --scope SCOPE, or for none with --scope ''"),
                    _ => error,
                })
            }
            Callback::MixUp { issuer } => {
                let why = match issuer {
                    Some(issuer) => format!("it is from {}, not from the configured issuer", escape(&issuer)),
                    None => "it lacks the `iss` parameter, which this provider always sends".into(),
                };
                let error = Error::new(Kind::Reply, "the login response cannot be trusted", why);
                Err(error.hint(
                    "log in again; if it happens again, compare the configured issuer with the provider's (RFC 9207)",
                ))
            }
        }
    }
}

/// Why a request is not the response to this login: it is rejected, and the wait goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign(pub &'static str);

/// The error that a request for `target` names, where it says nothing of which login it is about. Some servers leave
/// out `state` there, against RFC 6749 §4.1.2.1. As it came: not safe for a terminal.
pub fn stateless_error(target: &str, expected: &ExpectedRedirect) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    let mut given = parameters(query, expected).ok().filter(|_| path == expected.path)?;
    let mut text = |name: &str| given.remove(name).filter(|value| !value.is_empty());
    let (state, error, description) = (text("state"), text("error")?, text("error_description"));
    let description = description.map(|text| format!(" ({})", *text)).unwrap_or_default();
    state.is_none().then(|| format!("{}{description}", *error))
}

/// What a request for `target` (path and query, as in a request line) means.
///
/// # Errors
/// [`Foreign`]: it is not about this login, as far as can be told.
pub fn read(target: &str, expected: &ExpectedRedirect) -> std::result::Result<Callback, Foreign> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != expected.path {
        return Err(Foreign("its path is not the redirect's"));
    }
    read_query(query, expected)
}

fn read_query(query: &str, expected: &ExpectedRedirect) -> std::result::Result<Callback, Foreign> {
    let mut given = parameters(query, expected)?;
    match given.remove("state") {
        None if expected.rules.state == State::Required => return Err(Foreign("it has no state")),
        None => {}
        Some(state) if constant_time_eq(state.as_bytes(), expected.state.expose().as_bytes()) => {}
        Some(_) => return Err(Foreign("its state is from another login")),
    }
    let mut text = |name: &str| given.remove(name).filter(|value| !value.is_empty());
    let plain = |value: Zeroizing<String>| value.to_string();
    let issuer = text("iss");
    let (error, description) = (text("error"), text("error_description"));
    let code = expected.rules.code.iter().find_map(|name| text(name));
    if error.is_none() && code.is_none() {
        return Err(Foreign("it has neither a code nor an error"));
    }
    let trusted = match (&issuer, &expected.issuer) {
        (Some(issuer), Some(asked)) => metadata::is_of(issuer, asked),
        (Some(_), None) => true,
        (None, _) => !expected.issuer_required,
    };
    if !trusted {
        return Ok(Callback::MixUp { issuer: issuer.map(plain) });
    }
    match (error, code) {
        // A code next to an error is not used.
        (Some(code), _) => Ok(Callback::Denied { code: plain(code), description: description.map(plain) }),
        // RFC 6749 A.11
        (None, Some(code)) if code.bytes().all(|b| (0x20..=0x7e).contains(&b)) => {
            let mut beside = Vec::new();
            for kept in &expected.rules.keep {
                let Find::At(names) = &kept.at else { continue };
                let found = names.iter().find_map(|name| given.get(name.as_str()).filter(|text| !text.is_empty()));
                beside.extend(found.map(|text| (kept.name.clone(), Secret::new(text.as_str()))));
            }
            Ok(Callback::Code(Secret::new(code.as_str()), beside))
        }
        (None, _) => Err(Foreign("its code contains invalid characters")),
    }
}

/// What a person pasted: the whole redirect URL, or its query.
///
/// # Errors
/// [`Kind::Usage`], without repeating it.
pub fn pasted(text: &str, expected: &ExpectedRedirect) -> Result<Callback> {
    let wrong = |why: &str| {
        Error::new(Kind::Usage, "this is not the URL that the login ended at", why)
            .hint("paste the whole URL from the browser's address bar, as it is after the login")
    };
    // A terminal or a mail breaks it into lines; a URL itself contains no space.
    let whole: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
    let text = whole.trim_matches(['"', '\'', '<', '>']);
    let text = text.split('#').next().unwrap_or(text);
    let (address, query) = text.split_once('?').unwrap_or(("", text));
    if !query.split('&').any(|pair| pair.split_once('=').is_some_and(|(name, _)| expected.known(name).is_some())) {
        return Err(match text {
            "" => wrong("it is empty"),
            _ if address.is_empty() && !text.contains("://") => {
                wrong("the state is missing: a code alone may be from another login")
            }
            _ => wrong("it has neither a code nor an error"),
        });
    }
    if !address.is_empty() {
        let after = address.split_once("://").map_or(address, |(_, after)| after);
        let path = after.find('/').map_or("/", |at| &after[at..]);
        if path != expected.path {
            return Err(wrong("its path is not the redirect's"));
        }
    }
    read_query(query, expected).map_err(|Foreign(why)| wrong(why))
}

/// The parameters in a query (application/x-www-form-urlencoded) that are used.
fn parameters<'e>(
    query: &str,
    expected: &'e ExpectedRedirect,
) -> std::result::Result<BTreeMap<&'e str, Zeroizing<String>>, Foreign> {
    let mut found = BTreeMap::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |part| form_decode(part).ok_or(Foreign("it is not UTF-8"));
        let (name, value) = (decode(name)?, decode(value)?);
        let Some(name) = expected.known(&name) else { continue };
        if found.insert(name, value).is_some() {
            return Err(Foreign("a parameter appears twice"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> ExpectedRedirect {
        ExpectedRedirect {
            state: Secret::new("st-1"),
            issuer: Some("https://as.example".into()),
            issuer_required: false,
            path: "/callback".into(),
            rules: Redirect::default(),
        }
    }

    fn code(text: &str) -> std::result::Result<Callback, Foreign> {
        Ok(Callback::Code(Secret::new(text), Vec::new()))
    }

    #[test]
    fn a_code_with_the_right_state_is_taken() {
        let read = |query: &str| read(&format!("/callback?{query}"), &expected());
        assert_eq!(read("code=abc&state=st-1"), code("abc"));
        assert_eq!(read("state=st%2D1&x=y&&scope=a+b&code=4%2Fa%2Bb%3D"), code("4/a+b="));
        assert_eq!(read("code=a+b&state=st-1"), code("a b"));
        assert_eq!(read("c%6Fde=abc&state=st-1&session_state="), code("abc"));
        assert_eq!(read("code=100%&state=st-1&error="), code("100%"));
    }

    #[test]
    fn what_is_not_of_this_login_is_foreign() {
        for target in [
            "/",
            "",
            "*",
            "/callback",
            "/callback?",
            "/callback/?code=abc&state=st-1",
            "/CALLBACK?code=abc&state=st-1",
            "//callback?code=abc&state=st-1",
            "http://127.0.0.1/callback?code=abc&state=st-1",
            "/callback?code=abc",
            "/callback?code=abc&state",
            "/callback?code=abc&state=",
            "/callback?code=abc&state=st-2",
            "/callback?code=abc&state=st-",
            "/callback?code=abc&state=st-11",
            "/callback?code=abc&state=ST-1",
            "/callback?code=abc&state=+st-1",
            "/callback?error=access_denied",
            "/callback?error=access_denied&state=st-2",
            "/callback?state=st-1",
            "/callback?state=st-1&code=&error=",
            "/callback?state=st-1&code",
            "/callback?code=abc&state=st-1&state=st-1",
            "/callback?code=abc&state=st-1&state=st-2",
            "/callback?code=abc&code=abc&state=st-1",
            "/callback?code=abc&c%6fde=abd&state=st-1",
            "/callback?code=abc&state=st-1&iss=https://as.example&iss=https://evil.example",
            "/callback?error=a&error=b&state=st-1",
            "/callback?code=%ff&state=st-1",
            "/callback?code=abc&state=st-1&%ff=1",
            "/callback?code=a%00b&state=st-1",
            "/callback?code=a%0ab&state=st-1",
            "/callback?code=%c3%a9&state=st-1",
            "/callback?code=abc;state=st-1",
        ] {
            assert!(read(target, &expected()).is_err(), "{target}");
        }
    }

    #[test]
    fn an_error_with_the_right_state_is_told() {
        let denied = read("/callback?error=access_denied&error_description=No+%1b[2Jway&state=st-1", &expected());
        let Ok(Callback::Denied { code, description }) = &denied else { panic!("{denied:?}") };
        assert_eq!((code.as_str(), description.as_deref()), ("access_denied", Some("No \u{1b}[2Jway")));
        let error = denied.expect("an answer").code().expect_err("no code");
        assert_eq!((error.kind, error.why.as_str()), (Kind::Refused, "access_denied (No \\u{1b}[2Jway)"));
        for (query, kind) in [
            ("error=server_error", Kind::Unavailable),
            ("error=temporarily_unavailable", Kind::Unavailable),
            ("error=%1b&code=abc", Kind::Refused),
        ] {
            let answer = read(&format!("/callback?state=st-1&{query}"), &expected()).expect("an answer");
            let error = answer.code().expect_err("no code");
            assert!(error.kind == kind && !error.why.contains('\u{1b}'), "{query}: {error:?}");
        }
    }

    #[test]
    fn an_error_without_a_state_is_named_and_is_no_answer() {
        let named = |target: &str| stateless_error(target, &expected());
        assert_eq!(named("/callback?error=invalid_request"), Some("invalid_request".into()));
        assert_eq!(named("/callback?state=&error=a&error_description=b+c"), Some("a (b c)".into()));
        for target in
            ["/callback?error=a&state=st-1", "/callback?error=a&state=x", "/callback?code=a", "/x?error=a", "/callback"]
        {
            assert_eq!(named(target), None, "{target}");
        }
        assert!(read("/callback?error=invalid_request", &expected()).is_err());
    }

    #[test]
    fn an_answer_of_another_issuer_is_not_taken() {
        let read = |query: &str, required: bool| {
            read(
                &format!("/callback?state=st-1&{query}"),
                &ExpectedRedirect { issuer_required: required, ..expected() },
            )
        };
        let mixed = |issuer: Option<&str>| Ok(Callback::MixUp { issuer: issuer.map(Into::into) });
        assert_eq!(read("code=abc&iss=https%3A%2F%2Fas.example", true), code("abc"));
        assert_eq!(read("code=abc", false), code("abc"));
        assert_eq!(read("code=abc", true), mixed(None));
        assert_eq!(read("code=abc&iss=", true), mixed(None));
        assert_eq!(read("error=access_denied", true), mixed(None));
        for other in ["https://evil.example", "https://as.example/", "https://AS.example"] {
            assert_eq!(read(&format!("code=abc&iss={other}"), false), mixed(Some(other)));
            assert_eq!(read(&format!("error=access_denied&iss={other}"), false), mixed(Some(other)));
        }
        let error = read("code=abc&iss=%1b[2J", false).expect("an answer").code().expect_err("no code");
        assert!(error.kind == Kind::Reply && !error.why.contains('\u{1b}'), "{error:?}");
        // A wrong state comes first: anybody could end the login otherwise.
        assert!(super::read("/callback?state=st-2&code=abc&iss=https://evil.example", &expected()).is_err());
        let unknown = ExpectedRedirect { issuer: None, ..expected() };
        assert_eq!(super::read("/callback?state=st-1&code=abc&iss=https://as.example", &unknown), code("abc"));
    }

    #[test]
    fn what_a_person_pastes_is_read_in_every_form() {
        for text in [
            "http://127.0.0.1:8400/callback?code=abc&state=st-1",
            "  http://[::1]:8400/callback?code=abc&state=st-1#_=_\n",
            "\"https://app.example/callback?code=abc&state=st-1\"",
            "localhost:8400/callback?state=st-1&code=abc",
            "?code=abc&state=st-1",
            "code=abc&state=st-1",
            "http://127.0.0.1:8400/callb\n  ack?code=a\r\nbc&state=st-1",
        ] {
            assert_eq!(pasted(text, &expected()).ok(), code("abc").ok(), "{text}");
        }
        let root = ExpectedRedirect { path: "/".into(), ..expected() };
        for text in ["http://127.0.0.1:8400/?code=abc&state=st-1", "http://127.0.0.1:8400?code=abc&state=st-1"] {
            assert_eq!(pasted(text, &root).ok(), code("abc").ok(), "{text}");
        }
        let denied = pasted("error=access_denied&state=st-1", &expected()).expect("an answer");
        assert_eq!(denied, Callback::Denied { code: "access_denied".into(), description: None });
    }

    #[test]
    fn what_a_person_pastes_by_mistake_is_refused_without_repeating_it() {
        for (text, why) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("4x0AbCdsecret", "the state is missing"),
            ("c2VjcmV0==", "the state is missing"),
            ("4/0Asecret", "the state is missing"),
            ("code=secret", "it has no state"),
            ("code=secret&state=st-2", "its state is from another login"),
            ("https://as.example/authorize?state=st-1&client_id=secret", "its path"),
            ("http://127.0.0.1:8400/callback?state=st-1", "it has neither"),
            ("http://127.0.0.1:8400/callback", "it has neither"),
            ("http://127.0.0.1:8400/other?code=secret&state=st-1", "its path"),
        ] {
            let error = pasted(text, &expected()).expect_err(text);
            assert!(error.kind == Kind::Usage && error.why.starts_with(why), "{text:?}: {error:?}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
