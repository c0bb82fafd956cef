//! SASL messages for mail servers: Google's XOAUTH2 (https://developers.google.com/gmail/imap/xoauth2-protocol) and
//! OAUTHBEARER (RFC 7628 §3.1), in base64.

use super::{Answer, Wish};
use crate::base::error::{Error, Kind};
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// # Errors
/// [`Kind::Usage`] where no user is named.
pub fn xoauth2(answer: &Answer, wish: &Wish) -> Result<String> {
    let Some(user) = user(wish)? else {
        let hint = format!("name the mail address: tok get {} -o xoauth2 --user NAME@HOST", answer.profile);
        return Err(Error::new(Kind::Usage, "no user", "xoauth2 names the user").hint(hint).into());
    };
    Ok(message(&format!("user={user}\x01auth=Bearer {}\x01\x01", answer.token.access_token.expose())))
}

/// # Errors
/// [`Kind::Usage`] for a user, host or port that cannot be.
pub fn oauthbearer(answer: &Answer, wish: &Wish) -> Result<String> {
    // RFC 5801 §4: the two characters that mean something in it.
    let user = user(wish)?.map(|user| format!("a={}", user.replace('=', "=3D").replace(',', "=2C")));
    let mut text = format!("n,{},\x01", user.unwrap_or_default());
    for (name, value) in [("host", &wish.how.host), ("port", &wish.how.port)] {
        if let Some(value) = value {
            let is_number = || value.parse().is_ok_and(|port: u16| port > 0);
            let is_host = || !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic());
            if !(if name == "port" { is_number() } else { is_host() }) {
                let what = if name == "port" { "expected a port, 1 to 65535" } else { "expected the name of a host" };
                return Err(Error::new(Kind::Usage, format!("--{name}"), what).into());
            }
            text.push_str(&format!("{name}={value}\x01"));
        }
    }
    text.push_str(&format!("auth=Bearer {}\x01\x01", answer.token.access_token.expose()));
    Ok(message(&text))
}

/// `--user`, else the profile's `username`.
fn user(wish: &Wish) -> Result<Option<String>> {
    let user = wish.how.user.clone().or_else(|| wish.username.clone()).filter(|user| !user.is_empty());
    match user {
        Some(user) if user.chars().any(char::is_control) => {
            Err(Error::new(Kind::Usage, "--user", "a user's name has no control characters").into())
        }
        user => Ok(user),
    }
}

fn message(text: &str) -> String {
    format!("{}\n", STANDARD.encode(text))
}
