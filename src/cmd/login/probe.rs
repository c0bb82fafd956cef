//! What an authorization server says to a login before a browser is opened: a person would look at an error page until the
//! time is over.

use crate::host::Host;
use crate::oauth::request::{self, Added, Repeat, Response};
use crate::profile::Profile;
use crate::provider::Grant;

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing that is known to be in the way.
    Nothing,
    /// It does not know the client, or where its login ends.
    UnknownClient,
    /// The client may not ask for these scopes.
    Scopes,
}

/// Asks the authorization endpoint for a login by `grant` that ends at `redirect_uri`. One whose requests are pushed is not
/// asked: it says so by itself.
pub(super) fn ask(host: &mut Host, profile: &Profile, grant: &Grant, redirect_uri: &str) -> Verdict {
    let Some(begin) = &grant.begin else { return Verdict::Nothing };
    if profile.given.contains_key("par_url") && !profile.is_off("par_url") {
        return Verdict::Nothing;
    }
    let Ok(mut values) = profile.known_values() else { return Verdict::Nothing };
    let random = || crate::base::digest::random(32);
    for (name, text) in [("redirect_uri", redirect_uri.into()), ("state", random()), ("code_challenge", random())] {
        values.insert(name.into(), text.into());
    }
    let built = request::build(&profile.provider, begin, &values, Repeat::Personal, Added::default());
    let Ok(mut request) = built else { return Verdict::Nothing };
    request.ca_file = profile.ca_file.clone();
    host.send(&request).map_or(Verdict::Nothing, |response| read(&response, redirect_uri))
}

/// What `response` says. An error about the client or its redirect URI is shown to the person, any other one is sent there
/// (RFC 6749 §4.1.2.1).
fn read(response: &Response, redirect_uri: &str) -> Verdict {
    let back = response.header("location").and_then(|location| location.strip_prefix(redirect_uri)?.strip_prefix('?'));
    if (300..400).contains(&response.status) {
        let is_of_scopes = back.is_some_and(|query| query.split('&').any(|pair| pair == "error=invalid_scope"));
        return if is_of_scopes { Verdict::Scopes } else { Verdict::Nothing };
    }
    if !matches!(response.status, 400 | 401 | 403 | 404) {
        return Verdict::Nothing;
    }
    let body = String::from_utf8_lossy(&response.body).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| body.contains(word));
    match () {
        () if says(&["invalid_scope"]) => Verdict::Scopes,
        () if says(&["client", "redirect"]) => Verdict::UnknownClient,
        () => Verdict::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Time;
    use zeroize::Zeroizing;

    #[test]
    fn an_error_is_told_by_where_it_is_sent() {
        const URI: &str = "http://127.0.0.1:4000/callback";
        let scopes = format!("{URI}?error=invalid_scope&error_description=no&state=x");
        let login = format!("{URI}?error=login_required");
        for (status, location, body, expected) in [
            (302, scopes.as_str(), "", Verdict::Scopes),
            (303, login.as_str(), "", Verdict::Nothing),
            (302, "https://auth.example/login?error=invalid_scope", "", Verdict::Nothing),
            (302, "http://127.0.0.1:4000/callback2?error=invalid_scope", "", Verdict::Nothing),
            (302, "", "", Verdict::Nothing),
            (200, "", "<html>client", Verdict::Nothing),
            (400, "", r#"{"error":"invalid_scope","error_description":"this client may not"}"#, Verdict::Scopes),
            (400, "", r#"{"error":"invalid_client"}"#, Verdict::UnknownClient),
            (404, "", "<html>Redirect URI mismatch", Verdict::UnknownClient),
            (400, "", "<html>", Verdict::Nothing),
            (500, "", "client", Verdict::Nothing),
        ] {
            let headers = vec![("Location".to_string(), location.to_string())];
            let body = Zeroizing::new(body.as_bytes().to_vec());
            let response = Response { status, headers, body, received: Time::from_secs(0) };
            assert_eq!(read(&response, URI), expected, "{status} {location}");
        }
    }
}
