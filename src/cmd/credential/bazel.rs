//! Bazel's credential helper protocol, which other build tools speak too: EngFlow/credential-helper-spec.

use super::{Asking, credential, malformed, origin, owner};
use crate::base::error::{Error, Kind};
use crate::base::text::escape;
use crate::cmd::Context;
use anyhow::Result;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// Runs one command.
///
/// # Errors
/// Where there is no credential: the specification asks for an error for whatever is not supported.
pub fn run(context: &mut Context, asking: &Asking, command: &str) -> Result<()> {
    if command != "get" {
        return Err(Error::new(Kind::Usage, "unknown command", "a credential helper has only get").into());
    }
    let bytes = context.host.read_request(|_| false)?;
    let Request { uri } = serde_json::from_slice(&bytes).map_err(|_| malformed("it is not JSON with a uri"))?;
    let origin = server(&uri).map_err(malformed)?;
    let name = origin.map(|origin| owner(context, asking, &origin)).transpose()?.flatten();
    let Some(name) = name else {
        let what = format!("no credentials for {}", escape(uri.split(['?', '#']).next().unwrap_or_default()));
        return Err(Error::new(Kind::Other, what, "no profile has this host in its hosts").into());
    };
    let credential = credential(context, asking, &name)?;
    let all = std::iter::once(&credential.header).chain(&credential.more_headers);
    let headers: Map<String, Value> = all.map(|(name, value)| (name.clone(), json!([value.expose()]))).collect();
    let mut object = json!({ "headers": headers });
    if let (Some(at), Some(object)) = (credential.expires, object.as_object_mut()) {
        object.insert("expires".into(), Value::from(crate::base::date::show(at)));
    }
    context.answer(&Zeroizing::new(format!("{object}\n")))
}

/// Other members are ignored.
#[derive(Deserialize)]
struct Request {
    uri: String,
}

/// The origin of a URI. gRPC goes over HTTP/2 (gRPC, "HTTP/2 Transport Mapping"): `grpcs` is `https`.
fn server(uri: &str) -> Result<Option<String>, String> {
    match uri.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("grpcs") => origin(&format!("https://{rest}")),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("grpc") => origin(&format!("http://{rest}")),
        _ => origin(uri),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_of_grpc_is_one_of_http() {
        assert_eq!(server("grpcs://a.example/x.Service/Method"), Ok(Some("https://a.example".into())));
        assert_eq!(server("https://a.example:8443/x"), Ok(Some("https://a.example:8443".into())));
        assert_eq!(server("grpc://127.0.0.1:9092"), Ok(Some("http://127.0.0.1:9092".into())));
        assert_eq!(server("grpc://a.example"), Ok(None));
        assert_eq!(server("bes://a.example"), Ok(None));
        for uri in ["", "a.example", "grpcs://", "grpcs://a\nb", "grpcs://u@a"] {
            assert!(server(uri).is_err(), "{uri:?}");
        }
    }
}
