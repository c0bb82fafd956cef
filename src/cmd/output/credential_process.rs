//! AWS' `credential_process`: credentials of a role, for the identity token of a session
//! (https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html).

use super::{Answer, Wish, identity_token};
use crate::base::error::{Error, Kind};
use crate::base::redact::Redactor;
use crate::host::Host;
use crate::oauth::web_identity::{self, Asked, Refusal};
use anyhow::Result;
use serde_json::json;

/// Another place of the service, as in the SDKs of AWS.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_STS";
/// Where the region is looked for.
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// What AWS says where trying later may help, beside a status of 400.
const LATER: [&str; 2] = ["IDPCommunicationError", "Throttling"];

/// # Errors
/// [`Kind::Usage`] where role or region are missing; [`Kind::Refused`] where AWS refuses; [`Kind::Unavailable`] where it
/// cannot be reached; else as [`identity_token`].
pub fn write(host: &mut Host, answer: &Answer, wish: &Wish) -> Result<String> {
    let name = &answer.profile;
    let Some(role) = &wish.how.role_arn else {
        return Err(Error::new(Kind::Usage, "no role", "AWS gives credentials for a role")
            .hint(format!("name it: tok get {name} -o aws --role-arn arn:aws:iam::ACCOUNT:role/ROLE"))
            .into());
    };
    let session =
        wish.how.role_session_name.clone().unwrap_or_else(|| format!("tok-{name}").chars().take(64).collect());
    if !web_identity::is_session_name(&session) {
        let why = "expected 2 to 64 letters, digits and any of _ + = , . @ -";
        return Err(Error::new(Kind::Usage, "--role-session-name", why).into());
    }
    let url = endpoint(host)?;
    let (token, _) = identity_token(answer)?;
    let asked = Asked { url: &url, role, session: &session, token, ca_file: wish.ca_file.as_deref() };
    let response = host.send(&web_identity::request(&asked))?;
    let origin = crate::base::url::Url::parse(&url).map(|url| url.origin()).unwrap_or_default();
    let read = web_identity::read(&response).map_err(|refusal| {
        let is_late = response.status >= 500 || response.status == 429;
        match refusal {
            Refusal::Said(code, message) => {
                let is_late = is_late || LATER.contains(&code.as_str());
                let kind = if is_late { Kind::Unavailable } else { Kind::Refused };
                let why = Redactor::new([token]).hide(&format!("{code}: {message}"));
                Error::new(kind, format!("{origin} refused the role"), why)
                    .hint("check the role's trust policy: the token's issuer, audience and subject")
            }
            Refusal::Unreadable if is_late => {
                Error::new(Kind::Unavailable, format!("{origin} is unavailable"), format!("status {}", response.status))
                    .hint("try again later")
            }
            Refusal::Unreadable if (400..500).contains(&response.status) => {
                Error::new(Kind::Refused, format!("{origin} refused the role"), format!("status {}", response.status))
            }
            Refusal::Unreadable => {
                let what = format!("the reply from {origin} cannot be read");
                Error::new(Kind::Reply, what, "it has no credentials")
            }
        }
    })?;
    Ok(crate::base::text::json(&json!({
        "Version": 1,
        "AccessKeyId": read.access_key_id,
        "SecretAccessKey": read.secret_access_key.expose(),
        "SessionToken": read.session_token.expose(),
        "Expiration": crate::base::date::show(read.expires),
    })))
}

fn endpoint(host: &Host) -> Result<String> {
    if let Some(url) = host.var(ENDPOINT)? {
        crate::base::url::endpoint(&url)
            .map_err(|why| Error::new(Kind::Usage, ENDPOINT, format!("its value {why}")))?;
        return Ok(url);
    }
    for name in REGIONS {
        if let Some(region) = host.var(name)? {
            return Ok(web_identity::endpoint(&region).map_err(|why| Error::new(Kind::Usage, name, why))?);
        }
    }
    Err(Error::new(Kind::Usage, "no AWS region", "the service that gives the credentials is regional")
        .hint("set it: export AWS_REGION=eu-west-1")
        .into())
}
