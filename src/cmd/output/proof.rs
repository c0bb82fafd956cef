//! The proof that a request to an API needs beside its header (RFC 9449).

use super::Answer;
use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::cli::ApiCall;
use crate::oauth::dpop;
use anyhow::Result;

/// The proof for one request to an API (RFC 9449 §7.1): without it the token is refused there.
///
/// # Errors
/// [`Kind::Usage`] where no request is named; [`Kind::Reply`] where the token is bound to another's key.
pub fn proof(answer: &Answer, api: Option<&ApiCall>) -> Result<Secret> {
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
