//! Docker's credential helper protocol: docker/docker-credential-helpers, `credentials/credentials.go`. Errors are said
//! on stdout, where the other side looks for them.

use super::{ANY_USER, Asking, all_owned, credential, erase, is_ours, malformed, not_stored, one_line, origin, owner};
use crate::base::error::{Error, Kind, Silent};
use crate::cmd::Context;
use anyhow::Result;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// What a helper says where it has no such entry (`errCredentialsNotFoundMessage`).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Runs one verb.
///
/// # Errors
/// What is said on stdout too.
pub fn run(context: &mut Context, asking: &Asking, verb: &str) -> Result<()> {
    let result = match verb {
        "get" => get(context, asking),
        "store" => store(context, asking),
        "erase" => request(context).and_then(|(_, origin)| match origin {
            Some(origin) => erase(context, asking, &origin, None),
            None => Ok(()),
        }),
        "list" => list(context, asking),
        "version" => context.answer(&format!("docker-credential-tok (tok) v{}\n", env!("CARGO_PKG_VERSION"))),
        _ => Err(Error::new(Kind::Usage, "unknown verb", "docker's are get, store, erase, list and version").into()),
    };
    let Err(error) = result else { return Ok(()) };
    if error.downcast_ref::<Silent>().is_none() {
        context.print(&format!("{}\n", one_line(&error)))?;
    }
    Err(error)
}

/// The server URL on stdin, and its origin; `None`: nothing that a token could be sent to.
fn request(context: &Context) -> Result<(String, Option<String>)> {
    let bytes = context.host.read_request(|_| false)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed("it is not UTF-8 text"))?.trim();
    let origin = server(text).map_err(malformed)?;
    Ok((text.into(), origin))
}

/// The origin of a server, which is a host as often as a URL: https and 443 unless written, as in `hosts`.
fn server(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Err("no credentials server URL".into());
    }
    match text.contains("://") {
        true => origin(text),
        false => origin(&format!("https://{text}")),
    }
}

fn get(context: &mut Context, asking: &Asking) -> Result<()> {
    let (server, origin) = request(context)?;
    let name = origin.map(|origin| owner(context, asking, &origin)).transpose()?.flatten();
    let Some(name) = name else {
        context.print(&format!("{NOT_FOUND}\n"))?;
        return Err(Silent(Kind::Other as u8).into());
    };
    let credential = credential(context, asking, &name)?;
    let object = json!({
        "ServerURL": server,
        "Username": credential.username,
        "Secret": credential.token.expose(),
    });
    context.answer(&Zeroizing::new(format!("{object}\n")))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL")]
    server_url: String,
    secret: Zeroizing<String>,
}

/// Nothing is stored. A `docker login` that was answered by tok stores the same token again, which is fine.
fn store(context: &mut Context, asking: &Asking) -> Result<()> {
    let bytes = context.host.read_request(|_| false)?;
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|_| malformed("it is not a JSON entry"))?;
    let origin = server(entry.server_url.trim()).map_err(malformed)?;
    match origin.map(|origin| is_ours(context, asking, &origin, &entry.secret)).transpose()? {
        Some(true) => Ok(()),
        _ => Err(not_stored("docker").into()),
    }
}

/// The hosts as docker names registries: without `https://`.
fn list(context: &mut Context, asking: &Asking) -> Result<()> {
    let all = all_owned(context, asking)?;
    let entries = all.keys().map(|origin| {
        let server = origin.strip_prefix("https://").unwrap_or(origin);
        (server.to_string(), Value::from(ANY_USER))
    });
    let object = Value::Object(entries.collect::<Map<_, _>>());
    context.answer(&format!("{object}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_or_a_url() {
        assert_eq!(server("registry.example.com"), Ok(Some("https://registry.example.com".into())));
        assert_eq!(server("registry.example.com:5000"), Ok(Some("https://registry.example.com:5000".into())));
        assert_eq!(server("https://index.docker.io/v1/"), Ok(Some("https://index.docker.io".into())));
        assert_eq!(server("http://127.0.0.1:5000"), Ok(Some("http://127.0.0.1:5000".into())));
        assert_eq!(server("http://registry.example.com"), Ok(None));
        for text in ["", "a\nb", "a\rb", "a b", "u@a", "a\0", "https://", "-x", "a%0ab"] {
            assert!(server(text).is_err(), "{text:?}");
        }
    }
}
