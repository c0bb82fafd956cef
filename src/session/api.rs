//! What an API says about a token: asked once, and put in words with what to do about it.

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::base::text::escape;
use crate::host::Host;
use crate::oauth::reply::{Class, redirect};
use crate::oauth::resource::{Rejection, Remedy, rejection};
use crate::profile::{Home, Profile, Value};
use crate::provider::template::{Piece, Template};
use crate::provider::{Auth, Call, Encode, Method};
use crate::session::exchange;
use crate::session::inputs::Inputs;
use crate::token::Token;
use anyhow::Result;

/// Puts what an API is sent with `token` on the request `call`: its headers and what it has in the query. They go to
/// `home` alone.
pub fn put_token(call: &mut Call, inputs: &mut Inputs, token: &Token, home: &Home) {
    let mut put = |sort: &str, at: usize, text: &Secret| {
        let name = format!("{sort}_{at}");
        inputs.insert(&name, Value::kept(text.clone(), Some(home.clone())));
        Template(vec![Piece::Value { name, or: None, optional: false }])
    };
    for (at, (name, text)) in token.headers().enumerate() {
        call.headers.push((name.clone(), put("request_header", at, text)));
    }
    for (at, (name, text)) in token.query.iter().enumerate() {
        call.query.push((name.clone(), put("request_query", at, text)));
    }
}

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
    let mut call = Call {
        url: Template(vec![Piece::Text(address.clone())]),
        method: Method::Get,
        encode: Encode::None,
        headers: Vec::new(),
        query: Vec::new(),
        body: Vec::new(),
        auth: Auth::None,
        auth_by: None,
        client: None,
        dpop: token.is_bound(),
        dpop_by: None,
        more: None,
    };
    let home = profile.api_home(Some(token));
    let mut inputs = Inputs::bound(token.dpop_key.clone());
    put_token(&mut call, &mut inputs, token, &home);
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
