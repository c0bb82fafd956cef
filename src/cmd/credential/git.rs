//! git's credential helper protocol: git-credential(1), "INPUT/OUTPUT FORMAT", and gitcredentials(7), "CUSTOM HELPERS".

use super::{Asking, Credential, credential, erase, malformed, origin, owner};
use crate::base::header::is_name;
use crate::cmd::Context;
use anyhow::Result;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Runs one operation. Others than these are ignored, as git asks of helpers; `store` is among them: nothing is stored.
///
/// # Errors
/// For a request that is malformed, and where there is no token.
pub fn run(context: &mut Context, asking: &Asking, operation: &str) -> Result<()> {
    match operation {
        // It has no request.
        "capability" => context.answer("version 0\ncapability authtype\n"),
        "get" | "erase" => {
            let bytes = context.host.read_request(|line| line == b"\n")?;
            let request = Request::parse(&bytes).map_err(malformed)?;
            let Some(origin) = request.origin().map_err(malformed)? else { return Ok(()) };
            if operation == "erase" {
                return erase(context, asking, &origin, request.secret());
            }
            let Some(name) = owner(context, asking, &origin)? else { return Ok(()) };
            let credential = credential(context, asking, &name)?;
            context.answer(&reply(&request, &credential))
        }
        _ => Ok(()),
    }
}

/// What git asks.
struct Request {
    /// What stands once.
    fields: BTreeMap<String, Zeroizing<String>>,
    /// What the `capability[]` lines say.
    capabilities: Vec<String>,
    /// What the `wwwauth[]` lines say: the `WWW-Authenticate` headers of the server.
    challenges: Vec<String>,
}

impl Request {
    /// Reads the lines of a request.
    ///
    /// # Errors
    /// What is wrong. A carriage return or NUL is, wherever it stands: to another program it may end a line
    /// (CVE-2020-11008, CVE-2024-52006). So is a second host or protocol.
    fn parse(bytes: &[u8]) -> Result<Request, &'static str> {
        if bytes.contains(&b'\r') || bytes.contains(&0) {
            return Err("it contains a carriage return or NUL");
        }
        let mut request = Request { fields: BTreeMap::new(), capabilities: Vec::new(), challenges: Vec::new() };
        let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
        for line in text.lines().take_while(|line| !line.is_empty()) {
            let Some((key, value)) = line.split_once('=') else { return Err("it has a line without `=`") };
            let list = match key {
                "capability[]" => &mut request.capabilities,
                "wwwauth[]" => &mut request.challenges,
                _ if key.ends_with("[]") => continue,
                _ => {
                    let old = request.fields.insert(key.into(), Zeroizing::new(value.into()));
                    if old.is_some() && ["protocol", "host"].contains(&key) {
                        return Err("it names two hosts or protocols");
                    }
                    continue;
                }
            };
            // An empty value resets the list.
            if value.is_empty() { list.clear() } else { list.push(value.into()) }
        }
        Ok(request)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The origin that it asks for; `None`: nothing that a token could be sent to.
    fn origin(&self) -> Result<Option<String>, String> {
        let protocol = self.get("protocol").ok_or("it names no protocol")?;
        if !protocol.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
            return Err("the protocol is not one".into());
        }
        let host = self.fields.get("host").map_or("", |host| host.as_str());
        // A path in a host would be another host to another program.
        if host.contains(['/', '?', '#']) {
            return Err("the host is not one".into());
        }
        origin(&format!("{protocol}://{host}"))
    }

    /// The token that `erase` names.
    fn secret(&self) -> Option<&str> {
        self.get("credential").or(self.get("password"))
    }

    /// Whether a header of the scheme `scheme` can be sent: git understands it (2.46 and later), and the server does not
    /// ask for a name and a password alone.
    fn takes(&self, scheme: &str) -> bool {
        let names = |wanted: &str| {
            self.challenges.iter().flat_map(|text| text.split([' ', ','])).any(|word| word.eq_ignore_ascii_case(wanted))
        };
        self.capabilities.iter().any(|name| name == "authtype") && (names(scheme) || !names("Basic"))
    }
}

fn reply(request: &Request, credential: &Credential) -> Zeroizing<String> {
    let (name, value) = &credential.header;
    let header = value.expose().split_once(' ').filter(|(scheme, rest)| {
        name.eq_ignore_ascii_case("Authorization") && is_name(scheme) && !rest.is_empty() && request.takes(scheme)
    });
    let mut text = Zeroizing::new(String::with_capacity(value.expose().len() + credential.token.expose().len() + 256));
    match header {
        Some((scheme, rest)) => {
            for part in ["capability[]=authtype\nauthtype=", scheme, "\ncredential=", rest, "\nephemeral=1\n"] {
                text.push_str(part);
            }
        }
        None => {
            let username = request.get("username").unwrap_or(&credential.username);
            for part in ["username=", username, "\npassword=", credential.token.expose(), "\n"] {
                text.push_str(part);
            }
        }
    }
    if let Some(at) = credential.expires {
        text.push_str(&format!("password_expiry_utc={at}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    fn credential(header: (&str, &str)) -> Credential {
        Credential {
            token: Secret::new("T"),
            header: (header.0.into(), Secret::new(header.1)),
            more_headers: Vec::new(),
            username: "oauth2".into(),
            expires: Some(17),
        }
    }

    fn answered(request: &str, header: (&str, &str)) -> String {
        reply(&Request::parse(request.as_bytes()).expect("a request"), &credential(header)).to_string()
    }

    const BEARER: (&str, &str) = ("Authorization", "Bearer T");
    const TYPED: &str = "capability[]=authtype\nauthtype=Bearer\ncredential=T\nephemeral=1\npassword_expiry_utc=17\n";
    const PASSWORD: &str = "username=oauth2\npassword=T\npassword_expiry_utc=17\n";

    #[test]
    fn the_header_goes_to_a_git_that_knows_it_and_a_server_that_wants_it() {
        assert_eq!(answered("capability[]=authtype\nprotocol=https\nhost=a\n", BEARER), TYPED);
        assert_eq!(answered("protocol=https\nhost=a\n", BEARER), PASSWORD);
        let with = |challenge: &str| format!("capability[]=authtype\ncapability[]=state\nwwwauth[]={challenge}\n");
        assert_eq!(answered(&with("Bearer realm=\"x\""), BEARER), TYPED);
        assert_eq!(answered(&with("Basic realm=\"x\""), BEARER), PASSWORD);
        assert_eq!(answered(&with("Basic realm=\"x\", bearer"), BEARER), TYPED);
        assert_eq!(answered(&with("Negotiate\nwwwauth[]=Basic realm=\"x\"\nwwwauth[]=Bearer"), BEARER), TYPED);
        assert_eq!(answered(&with("Basic realm=\"x\"\nwwwauth[]="), BEARER), TYPED);
        assert_eq!(answered("capability[]=authtype\ncapability[]=\n", BEARER), PASSWORD);
    }

    #[test]
    fn another_header_of_a_provider_is_its_own_scheme_or_a_password() {
        let ask = "capability[]=authtype\n";
        assert!(answered(ask, ("Authorization", "Token T")).contains("authtype=Token\ncredential=T\n"));
        assert_eq!(answered(ask, ("X-AccessToken", "T")), PASSWORD);
        assert_eq!(answered(ask, ("Authorization", "T")), PASSWORD);
        assert!(answered("username=x-token-auth\n", BEARER).starts_with("username=x-token-auth\npassword=T\n"));
    }

    #[test]
    fn a_request_names_one_host_in_lines() {
        let origin = |text: &str| match Request::parse(text.as_bytes()) {
            Ok(request) => request.origin().map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        assert_eq!(origin("protocol=https\nhost=a:8443\npath=x\n\n"), Ok(Some("https://a:8443".into())));
        assert_eq!(origin("protocol=https\nhost=a"), Ok(Some("https://a".into())));
        // A client certificate's password.
        assert_eq!(origin("protocol=cert\nhost=\npath=/x\n"), Ok(None));
        for text in [
            "",
            "\n",
            "protocol=https\n",
            "host=a\n",
            "protocol=\nhost=a\n",
            "protocol=https\nhost=\n",
            "protocol=https\nhost=a\rhost=b\n",
            "protocol=https\r\nhost=a\r\n",
            "protocol=https\nhost=a\nhost=b\n",
            "protocol=https\nprotocol=https\nhost=a\n",
            "protocol=https\nhost=a\0\n",
            "protocol=https\nhost=a%0ahost=b\n",
            "protocol=https\nhost=a/b\n",
            "protocol=https\nhost=a?b\n",
            "protocol=https\nhost=u@a\n",
            "protocol=https://b\nhost=a\n",
            "protocol=https\nhost\n",
            "protocol=https\nhost=a b\n",
            "protocol=https\nhost=\u{fffd}\n",
        ] {
            assert!(origin(text).is_err(), "{text:?}");
        }
        assert!(Request::parse(b"protocol=https\nhost=\xff\n").is_ok_and(|request| request.origin().is_err()));
    }
}
