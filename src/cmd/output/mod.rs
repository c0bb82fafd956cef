//! What is printed of a token: one format a file.

mod credential_process;
mod curl;
pub mod env;
mod exec_credential;
mod gcp_executable;
mod github_output;
mod header;
mod id_token;
mod json;
mod proof;
mod sasl;
mod token;

pub use gcp_executable::failure;
use proof::proof;

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::cli::{ApiCall, Format, FormatArgs};
use crate::host::Host;
use crate::oauth::reply::claims;
use crate::session::acquire::TokenSource;
use crate::token::Token;
use anyhow::Result;

/// A token that is about to be handed out.
pub struct Answer {
    /// The profile it is for.
    pub profile: String,
    /// The token and what is known of it.
    pub token: Token,
    /// Where it came from.
    pub source: TokenSource,
    /// The clock, in seconds since 1970.
    pub now: i64,
}

/// How it is printed.
pub struct Wish<'a> {
    /// The format.
    pub format: Format,
    /// What formats take.
    pub how: &'a FormatArgs,
    /// The profile's `username`.
    pub username: Option<String>,
    /// Certificates trusted besides the system's, where a format asks a server.
    pub ca_file: Option<std::path::PathBuf>,
}

/// The whole of what goes to stdout.
///
/// # Errors
/// Those of the format.
pub fn write(host: &mut Host, answer: &Answer, wish: &Wish) -> Result<Secret> {
    let name = wish.how.name.as_deref();
    let mut text = Secret::new(match wish.format {
        Format::Token => token::write(answer),
        Format::Header => write_header(answer, None)?.expose().to_string(),
        Format::Json => json::write(answer),
        Format::Env => env::write(answer, wish.how.shell, name.unwrap_or("ACCESS_TOKEN"))?,
        Format::IdToken => id_token::write(answer)?,
        // It is no bearer token: each request needs a proof of its own.
        Format::Curl | Format::Kubernetes | Format::Xoauth2 | Format::Oauthbearer if answer.token.is_bound() => {
            return proof(answer, None);
        }
        Format::Curl => curl::write(answer),
        Format::Kubernetes => exec_credential::write(answer, &host.env)?,
        Format::Xoauth2 => sasl::xoauth2(answer, wish)?,
        Format::Oauthbearer => sasl::oauthbearer(answer, wish)?,
        Format::GcpExecutable => gcp_executable::write(answer, &host.env)?,
        Format::Aws => credential_process::write(host, answer, wish)?,
        Format::Github => {
            github_output::write(host, answer, name.unwrap_or("token"))?;
            String::new()
        }
    });
    if wish.how.no_newline {
        text = Secret::new(text.expose().trim_end_matches(['\r', '\n']));
    }
    Ok(text)
}

/// The request header line; for a token that is bound to a key, with the proof for the request `api`.
///
/// # Errors
/// As [`proof`].
pub fn write_header(answer: &Answer, api: Option<&ApiCall>) -> Result<Secret> {
    with_proof(answer, api, header::write(answer)?)
}

/// What the token has in the query of a URL, as curl's config says it.
pub fn query(answer: &Answer) -> Secret {
    Secret::new(curl::query(answer))
}

/// [`write_header`] for a request whose URL may carry the token: there need be no header.
///
/// # Errors
/// As [`proof`].
pub fn header_lines(answer: &Answer, api: Option<&ApiCall>) -> Result<Secret> {
    with_proof(answer, api, header::lines(answer))
}

fn with_proof(answer: &Answer, api: Option<&ApiCall>, lines: String) -> Result<Secret> {
    Ok(Secret::new(match answer.token.is_bound() {
        true => format!("{lines}DPoP: {}\n", proof(answer, api)?.expose()),
        false => lines,
    }))
}

/// A JWT that says who this is, for a service that takes it in exchange for its own credentials: the ID token, else the
/// access token where it is a JWT; and when it expires, in seconds since 1970.
///
/// # Errors
/// [`Kind::LoginNeeded`] where there is neither.
fn identity_token(answer: &Answer) -> Result<(&str, Option<i64>)> {
    let id = answer.token.id_token.as_ref().map(|id| id.text.expose());
    let good = |text: &&str| claims::expiry(text).is_none_or(|at| at > answer.now);
    let access = answer.token.access_token.expose();
    let is_jwt = crate::base::jose::jwt::claims(access).is_some();
    match id.filter(good).or(is_jwt.then_some(access)) {
        Some(text) => Ok((text, claims::expiry(text).or(answer.token.expires.at().filter(|_| text == access)))),
        None => Err(Error::new(Kind::LoginNeeded, "no ID token", "none came, and the access token is not a JWT")
            .hint(format!("log in again with the scope openid: tok login {}", answer.profile))
            .into()),
    }
}
