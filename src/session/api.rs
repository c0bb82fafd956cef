//! What an API says about a token: asked once, and put in words with what to do about it.

use crate::base::error::{Error, Kind};
use crate::base::text::escape;
use crate::host::Host;
use crate::oauth::reply::{Class, redirect};
use crate::oauth::resource::{Rejection, Remedy, rejection};
use crate::profile::{Profile, Value};
use crate::provider::template::{Piece, Template};
use crate::provider::{Auth, Call, Encode, Method};
use crate::session::exchange;
use crate::session::inputs::Inputs;
use crate::token::Token;
use anyhow::Result;

/// The name of the header's value among the values of the request.
const HEADER: &str = "request_header";

/// Sends one GET with `token` to the API of `profile`: the status, where the token was not refused.
///
/// # Errors
/// [`Kind::Config`] where the profile names no API; [`Kind::LoginNeeded`] for an API that the token is not for;
/// [`Kind::Refused`] where it refuses the token, with what to do; [`Kind::Unavailable`] where it could not be reached.
pub fn check(host: &mut Host, profile: &Profile, token: &Token) -> Result<u16> {
    let name = &profile.name;
    let Some(address) = profile.value("resource") else {
        return Err(Error::new(Kind::Config, format!("{name} names no API to ask"), "it has no value resource")
            .hint(format!("log in by the address of one: tok login https://… --as {name}"))
            .into());
    };
    let header = Piece::Value { name: HEADER.into(), or: None, optional: false };
    let call = Call {
        url: Template(vec![Piece::Text(address.clone())]),
        method: Method::Get,
        encode: Encode::None,
        headers: vec![(token.header.0.clone(), Template(vec![header]))],
        query: Vec::new(),
        body: Vec::new(),
        auth: Auth::None,
        auth_by: None,
        dpop: token.is_bound(),
        dpop_by: None,
        more: None,
    };
    let home = profile.api_home();
    let mut inputs = Inputs::bound(token.dpop_key.clone());
    inputs.insert(HEADER, Value::kept(token.header.1.clone(), Some(home.clone())));
    // For the proof (RFC 9449 §7.1); the request itself has it in its header.
    inputs.insert("access_token", Value::kept(token.access_token.clone(), Some(home)));
    let (response, _) = exchange::send(host, profile, &call, &inputs, &mut ())??;
    let lines = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    let of = escape(&address);
    match rejection(response.status, lines.map(|(_, line)| line.as_str())) {
        Some(rejection) => Err(refused(profile, &of, &rejection).into()),
        None => match Class::of(response.status) {
            Class::Unavailable => {
                let why = format!("server error (status {})", response.status);
                Err(Error::new(Kind::Unavailable, format!("{of} is unavailable"), why).hint("try again later").into())
            }
            Class::Redirect => Err(Error::new(Kind::Reply, of, redirect(&response)).into()),
            _ => Ok(response.status),
        },
    }
}

/// The error for an API, called `api` in the message, that refused a token of `profile`: what to run.
pub fn refused(profile: &Profile, api: &str, rejection: &Rejection) -> Error {
    let name = &profile.name;
    let error = Error::new(Kind::Refused, format!("{api} refused the token of {name}"), rejection.why.clone());
    match &rejection.remedy {
        Remedy::Scope(scopes) => {
            let quoted = scopes.iter().filter_map(|scope| shlex::try_quote(scope).ok());
            let flags: String = quoted.map(|scope| format!(" --scope {scope}")).collect();
            let flags = if flags.is_empty() { " --scope SCOPE".into() } else { flags };
            error.hint(format!("log in with the scope that it needs: tok login {name}{flags}"))
        }
        Remedy::Renew => error.hint(format!("get another: tok get {name} --fresh; or log in again: tok login {name}")),
        Remedy::Unknown => error.hint(format!("see what the token is for: tok show {name}")),
    }
}
