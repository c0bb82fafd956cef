//! AWS' exchange of an identity token for credentials: the request `AssumeRoleWithWebIdentity` and its reply, XML or JSON
//! (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html).

use super::encode::form;
use super::request::{JSON, Repeat, Request, Response, own_headers};
use crate::base::secret::Secret;
use crate::provider::Method;
use serde_json::Value;
use std::path::Path;
use zeroize::Zeroizing;

/// What is asked for.
pub struct Asked<'a> {
    /// The service, in the form of [`endpoint`].
    pub url: &'a str,
    /// The role's ARN.
    pub role: &'a str,
    /// The session's name.
    pub session: &'a str,
    /// The identity token.
    pub token: &'a str,
    /// Certificates trusted besides the system's.
    pub ca_file: Option<&'a Path>,
}

/// The credentials of a role.
pub struct Credentials {
    /// `AccessKeyId`
    pub access_key_id: String,
    /// `SecretAccessKey`
    pub secret_access_key: Secret,
    /// `SessionToken`
    pub session_token: Secret,
    /// When they expire, in seconds since 1970.
    pub expires: i64,
}

/// Why there are none.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The service's code and message.
    Said(String, String),
    /// The reply is none of the service's.
    Unreadable,
}

/// The service in `region`; its domain is another in China.
///
/// # Errors
/// What is wrong with the name, as it would be in a host.
pub fn endpoint(region: &str) -> Result<String, String> {
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("expected the name of a region, such as eu-west-1".into());
    }
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Ok(format!("https://sts.{region}.{domain}/"))
}

/// The name of a session as AWS takes it: 2 to 64 letters, digits and `_+=,.@-`.
pub fn is_session_name(text: &str) -> bool {
    (2..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

/// The request.
pub fn request(asked: &Asked) -> Request {
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", asked.role),
        ("RoleSessionName", asked.session),
        ("WebIdentityToken", asked.token),
    ];
    let fields = fields.map(|(name, text)| (name.to_string(), Zeroizing::new(text.to_string())));
    let mut headers = own_headers(JSON);
    headers.push(("Content-Type".into(), Zeroizing::new("application/x-www-form-urlencoded".into())));
    Request {
        method: Method::Post,
        url: Zeroizing::new(asked.url.to_string()),
        headers,
        body: Some(Zeroizing::new(form(&fields).as_bytes().to_vec())),
        repeat: Repeat::Freely,
        client_certificate: None,
        ca_file: asked.ca_file.map(Path::to_path_buf),
        ca_pem: None,
        link_local: false,
    }
}

/// Reads the reply, of whatever status.
///
/// # Errors
/// [`Refusal`].
pub fn read(response: &Response) -> Result<Credentials, Refusal> {
    let text = std::str::from_utf8(&response.body).map_err(|_| Refusal::Unreadable)?;
    let found = match serde_json::from_str::<Value>(text) {
        Ok(reply) => {
            let at = |pointer: &str| reply.pointer(pointer).filter(|value| !value.is_null());
            let result = "/AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials";
            let one = |name: &str| at(&format!("{result}/{name}")).map(text_of);
            let error = at("/Error/Code")
                .map(|code| Refusal::Said(text_of(code), at("/Error/Message").map(text_of).unwrap_or_default()));
            error.map_or_else(|| Ok(["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"].map(one)), Err)?
        }
        Err(_) => {
            if let Some(code) = element(text, "Code") {
                return Err(Refusal::Said(code, element(text, "Message").unwrap_or_default()));
            }
            ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"].map(|name| element(text, name))
        }
    };
    let is_good = |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    let [Some(id), Some(secret), Some(session), Some(expires)] = found.map(|found| found.filter(is_good)) else {
        return Err(Refusal::Unreadable);
    };
    // A date in XML, a number in JSON.
    let seconds = || expires.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number as i64);
    let expires = crate::base::date::parse(&expires).or_else(seconds).ok_or(Refusal::Unreadable)?;
    Ok(Credentials {
        access_key_id: id,
        secret_access_key: Secret::new(secret),
        session_token: Secret::new(session),
        expires,
    })
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// The text of the only element `name` without elements inside, its references resolved (XML 1.0 §4.6).
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inside, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    let resolved = plain.iter().fold(inside.to_string(), |text, (reference, c)| text.replace(reference, c));
    (!inside.contains('<')).then(|| resolved.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Time;

    fn reply(body: &str) -> Result<Credentials, Refusal> {
        let body = Zeroizing::new(body.as_bytes().to_vec());
        read(&Response { status: 200, headers: Vec::new(), body, received: Time::from_secs(0) })
    }

    /// The example of the API reference, and the same as JSON.
    #[test]
    fn both_forms_of_the_reply_are_read() {
        let xml = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n\
            <AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>amzn1.account.AF6R</SubjectFromWebIdentityToken>\n\
            <Audience>client.5498841531868486423.1548@apps.example.com</Audience>\n<AssumedRoleUser>\n\
            <Arn>arn:aws:sts::123456789012:assumed-role/FederatedWebIdentityRole/app1</Arn>\n\
            <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:app1</AssumedRoleId></AssumedRoleUser><Credentials>\n\
            <SessionToken>AQoDYXdzEE0a8&amp;EXAMPLE=</SessionToken>\n<SecretAccessKey>wJalrXUt</SecretAccessKey>\n\
            <Expiration>2014-10-24T23:00:23Z</Expiration><AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId>\n\
            </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
        let json = r#"{"AssumeRoleWithWebIdentityResponse":{"AssumeRoleWithWebIdentityResult":{"Credentials":{
            "AccessKeyId":"ASgeIAIOSFODNN7EXAMPLE","SecretAccessKey":"wJalrXUt","SessionToken":"AQoDYXdzEE0a8&EXAMPLE=",
            "Expiration":1.414191623E9}}}}"#;
        for body in [xml, json] {
            let read = reply(body).unwrap_or_else(|why| panic!("{why:?}"));
            assert_eq!((read.access_key_id.as_str(), read.expires), ("ASgeIAIOSFODNN7EXAMPLE", 1_414_191_623));
            assert_eq!(read.secret_access_key.expose(), "wJalrXUt");
            assert_eq!(read.session_token.expose(), "AQoDYXdzEE0a8&EXAMPLE=");
        }
    }

    #[test]
    fn a_refusal_has_a_code() {
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>\
            <Message>No OpenIDConnect provider found &lt;x&gt;</Message></Error></ErrorResponse>";
        let json = r#"{"Error":{"Code":"InvalidIdentityToken","Message":"No OpenIDConnect provider found <x>"}}"#;
        for body in [xml, json] {
            let said = Refusal::Said("InvalidIdentityToken".into(), "No OpenIDConnect provider found <x>".into());
            assert_eq!(reply(body).err(), Some(said));
        }
        for body in ["", "<html>", "{}", "null", "<Expiration>2014-10-24T23:00:23Z</Expiration>"] {
            assert_eq!(reply(body).err(), Some(Refusal::Unreadable), "{body}");
        }
    }

    #[test]
    fn an_endpoint_is_regional() {
        assert_eq!(endpoint("eu-west-1").as_deref(), Ok("https://sts.eu-west-1.amazonaws.com/"));
        assert_eq!(endpoint("cn-north-1").as_deref(), Ok("https://sts.cn-north-1.amazonaws.com.cn/"));
        for wrong in ["", "evil.example/", "a@b", "EU"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
        assert!(is_session_name("tok-shop") && !is_session_name("a") && !is_session_name("a b"));
    }

    #[test]
    fn the_request_is_a_form() {
        let asked = Asked {
            url: "https://sts.eu-west-1.amazonaws.com/",
            role: "arn:aws:iam::1:role/r",
            session: "tok-p",
            token: "a.b.c",
            ca_file: None,
        };
        let made = request(&asked);
        let body = made.body.expect("a body");
        assert_eq!(
            std::str::from_utf8(&body),
            Ok(
                "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=tok-p&WebIdentityToken=a.b.c"
            )
        );
    }
}
