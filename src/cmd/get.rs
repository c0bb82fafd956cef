//! `tok get` and `tok header`: a valid access token, cached if still good, else by the refresh token, else by a grant
//! (non-interactive).

use super::Context;
use super::mask::Masking;
use super::token::{Got, find_or_acquire, resolve, token};
use crate::base::error::{Error, InProfile, Kind};
use crate::base::secret::Secret;
use crate::cli::{ApiCall, Format, TokenArgs};
use crate::cmd::output::{self, Answer};
use crate::oauth::dpop;
use crate::oauth::reply::claims;
use crate::profile::discovery::Copies;
use crate::session::acquire::{TokenSource, verify_id_token};
use crate::session::inputs::{For, fill};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;

/// How the token is printed.
pub struct Out<'a> {
    /// In this format.
    pub format: Format,
    /// The variable that a shell's format sets.
    pub variable: &'a str,
    /// The file that it goes to; `None`: stdout.
    pub to: Option<&'a Path>,
    /// The request that a header is for.
    pub api: Option<&'a ApiCall>,
    /// Whether the CI service is told to hide it in its log.
    pub mask: bool,
}

/// Gets the token and writes it to stdout, or to a file.
///
/// # Errors
/// Each kind of the contract; stdout is then empty.
pub fn run(context: &mut Context, args: &TokenArgs, out: &Out) -> Result<()> {
    let to_file = out.to.is_some_and(|path| path != Path::new("-"));
    // Before anything is sent: a token that cannot be masked is not to be had.
    let masking = out.mask.then(|| Masking::of(context.host, args, to_file)).transpose()?;
    let mut answer = token(context, args)?;
    if out.format == Format::IdToken {
        answer = with_id_token(context, args, answer).in_profile(&args.profile)?;
    }
    let answer = answer.answer;
    let mut text = output::write(&answer, out.format, out.variable).in_profile(&args.profile)?;
    if answer.token.is_bound() && out.format == Format::Header {
        let proof = proof(&answer, out.api).in_profile(&args.profile)?;
        text = Secret::new(format!("{}DPoP: {}\n", text.expose(), proof.expose()));
    }
    if let Some(masking) = masking {
        let id_token = answer.token.id_token.as_ref().filter(|_| out.format == Format::IdToken);
        let secrets = [Some(&answer.token.access_token), id_token.map(|id| &id.text)];
        secrets.into_iter().flatten().try_for_each(|secret| masking.hide(context, secret)).in_profile(&args.profile)?;
    }
    match out.to {
        Some(path) if path != Path::new("-") => {
            let path = std::path::absolute(path).map_err(|e| Error::new(Kind::Usage, "--write", e.to_string()))?;
            crate::system::files::write_user_file(&path, text.expose().as_bytes(), context.host.clock.deadline).map_err(
                |error| {
                    let late = error.kind() == std::io::ErrorKind::TimedOut;
                    let kind = if late { Kind::Unavailable } else { Kind::Other };
                    let why = crate::system::files::why(&error);
                    Error::new(kind, format!("{} cannot be written", path.display()), why).into()
                },
            )
        }
        _ => show(context, text.expose()),
    }
}

/// The proof for one request to an API (RFC 9449 §7.1): without it the token is refused there.
fn proof(answer: &Answer, api: Option<&ApiCall>) -> Result<Secret> {
    let name = &answer.profile;
    let Some(key) = &answer.token.dpop_key else {
        let what = "the token is bound to a key (DPoP) that tok does not have";
        return Err(Error::new(Kind::Reply, what, "a header with it would be rejected")
            .hint("request a token bound to tok's own key: --dpop true, if the provider supports it")
            .into());
    };
    let Some(ApiCall { method: Some(method), url: Some(url), nonce }) = api else {
        return Err(Error::new(
            Kind::Usage,
            "the token is bound to a key (DPoP)",
            "each request needs its own proof, for its method and URL",
        )
        .hint(format!("print the header and its proof: tok header {name} --method GET --url URL"))
        .into());
    };
    let url = url.split('#').next().unwrap_or(url);
    crate::base::url::endpoint(url).map_err(|why| Error::new(Kind::Usage, "--url", format!("its value {why}")))?;
    if !crate::base::header::is_name(method) {
        return Err(Error::new(Kind::Usage, "--method", "its value is not an HTTP method").into());
    }
    let fail = |why: String| Error::new(Kind::Other, "no DPoP proof", why);
    let key = crate::base::jose::Key::parse(key).map_err(fail)?;
    let (access, id) = (answer.token.access_token.expose(), crate::base::digest::random(16));
    let proof =
        dpop::Proof { method, url, access_token: Some(access), nonce: nonce.as_deref(), now: answer.now, id: &id };
    Ok(dpop::sign(&key, &proof).map_err(fail)?)
}

/// The answer with an ID token that is good now and verified.
fn with_id_token(context: &mut Context, args: &TokenArgs, mut got: Got) -> Result<Got> {
    let is_over = |got: &Got| {
        let end = got.answer.token.id_token.as_ref().and_then(|id| claims::expiry(id.text.expose()));
        end.is_none_or(|end| end <= got.answer.now)
    };
    // A newer one may come with a newer access token.
    if is_over(&got) && got.answer.source == TokenSource::Cache && !args.offline {
        got = {
            let profile = resolve(context, args)?;
            find_or_acquire(context, &TokenArgs { fresh: true, ..args.clone() }, profile)?
        };
    }
    let name = &got.answer.profile.clone();
    let again = format!("log in again with the scope openid: tok login {name}");
    let Some(id) = got.answer.token.id_token.clone() else {
        return Err(Error::new(Kind::LoginNeeded, "no ID token", "none came with the access token").hint(again).into());
    };
    if is_over(&got) {
        return Err(Error::new(Kind::LoginNeeded, "the ID token has expired", "none came with the last refresh")
            .hint(again)
            .into());
    }
    if !id.verified && args.offline {
        return Err(Error::new(
            Kind::LoginNeeded,
            "the ID token has not been verified",
            "this may need the issuer's keys from the network, and --offline is given",
        )
        .hint(format!("use the network: tok get {name} -o id-token"))
        .into());
    }
    if !id.verified {
        let names = [("jwks_url".to_string(), false)].into();
        got.profile.discover(context.host, names, Copies::Allowed)?;
        let grant = got.profile.provider.grant(&got.answer.token.grant).unwrap_or(got.profile.default_grant()).clone();
        let inputs = fill(context.host, &got.profile, For::Call(&grant.call), &BTreeMap::new(), &[]);
        let inputs = inputs.map(|mut inputs| {
            if let Some(issuer) = got.profile.value("issuer") {
                inputs.set("issuer", &issuer);
            }
            inputs
        })?;
        let access = &got.answer.token.access_token;
        if !verify_id_token(context.host, &got.profile, &id.text, Some(access), &inputs)? {
            return Err(Error::new(
                Kind::Reply,
                "the ID token cannot be verified",
                "the issuer's keys are unknown or cannot be fetched now",
            )
            .hint("it needs issuer, client_id and jwks_url (usually from the issuer's metadata)")
            .into());
        }
    }
    Ok(got)
}

/// Puts the answer on stdout, and then lets no signal make a failure of it any more.
fn show(context: &mut Context, text: &str) -> Result<()> {
    // A reader that is slow to come is waited for here, where a signal still is the end.
    crate::system::start::wait_for_stdout();
    let hold = crate::system::signals::answering();
    context.print(text)?;
    crate::system::signals::answered(hold);
    Ok(())
}
