//! cargo's credential provider protocol, version 1: "Credential Provider Protocol" in The Cargo Book. A line of JSON
//! each way; the helper speaks first.

use super::{Asking, credential, one_line, origin, owner};
use crate::base::error::{Error, Kind};
use crate::base::text::escape;
use crate::cmd::Context;
use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Answers requests until cargo closes stdin.
///
/// # Errors
/// Where cargo cannot be heard or answered. What else goes wrong is said in a reply.
pub fn run(context: &mut Context, asking: &Asking) -> Result<()> {
    context.print("{\"v\":[1]}\n")?;
    loop {
        let line = context.host.read_request(|_| true)?;
        if line.is_empty() {
            return Ok(());
        }
        let reply = reply(context, asking, &line);
        context.print(&Zeroizing::new(format!("{reply}\n")))?;
    }
}

#[derive(Deserialize)]
struct Request {
    v: u32,
    registry: Registry,
    kind: String,
    #[serde(default)]
    args: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    index_url: String,
}

fn reply(context: &mut Context, asking: &Asking, line: &[u8]) -> Value {
    match found(context, asking, line) {
        Ok(Found::Token(object)) => json!({ "Ok": object }),
        Ok(Found::Nothing(kind)) => json!({ "Err": { "kind": kind } }),
        Err(error) => json!({ "Err": { "kind": "other", "message": one_line(&error), "caused-by": [] } }),
    }
}

enum Found {
    Token(Value),
    /// A kind of error by which cargo asks another provider.
    Nothing(&'static str),
}

fn found(context: &mut Context, asking: &Asking, line: &[u8]) -> Result<Found> {
    let wrong = |why: &str| Error::new(Kind::Other, "cargo's request", why.to_string());
    let request: Request = serde_json::from_slice(line).map_err(|_| wrong("it is not a request of version 1"))?;
    if request.v != 1 {
        return Err(wrong("it is not a request of version 1").into());
    }
    let profile = profile(&request.args)?;
    if request.kind != "get" {
        return Ok(Found::Nothing("operation-not-supported"));
    }
    let origin = match index(&request.registry.index_url) {
        Some(url) => origin(url).map_err(|why| wrong(&why))?,
        None => None,
    };
    let asking = Asking { profile: profile.or(asking.profile), timeout: asking.timeout };
    let name = origin.map(|origin| owner(context, &asking, &origin)).transpose()?.flatten();
    let Some(name) = name else { return Ok(Found::Nothing("url-not-supported")) };
    let credential = credential(context, &asking, &name)?;
    let (header, value) = &credential.header;
    if !header.eq_ignore_ascii_case("Authorization") {
        let what = format!("{name}: the token goes into the header {header}");
        return Err(Error::new(Kind::Other, what, "cargo sends only Authorization").into());
    }
    let mut object = json!({
        "kind": "get",
        "token": value.expose(),
        "cache": if credential.expires.is_some() { "expires" } else { "never" },
        "operation_independent": true,
    });
    if let (Some(at), Some(object)) = (credential.expires, object.as_object_mut()) {
        object.insert("expiration".into(), Value::from(at));
    }
    Ok(Found::Token(object))
}

/// The URL of an index that is on the host that the token is for. The index of a registry says where cargo sends the
/// token; one in a git repository may be anybody's, on a host with many repositories.
fn index(url: &str) -> Option<&str> {
    url.strip_prefix("sparse+")
}

/// The profile that the words in cargo's config name: `["tok", "credential", "cargo", "--profile", "x"]`, of which
/// cargo runs the first.
fn profile(args: &[String]) -> Result<Option<&str>, Error> {
    let (mut words, mut profile) = (args.iter().map(String::as_str), None);
    while let Some(word) = words.next() {
        match word {
            "credential" | "cargo" => {}
            "--profile" => profile = words.next(),
            _ => match word.strip_prefix("--profile=") {
                Some(name) => profile = Some(name),
                None => {
                    let what = format!("unexpected argument `{}` in cargo's config", escape(word));
                    return Err(Error::new(Kind::Usage, what, "expected --profile PROFILE"));
                }
            },
        }
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_config_name_a_profile() {
        let read = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
            profile(&words).map(|name| name.map(str::to_string)).map_err(|error| error.to_string())
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("credential cargo"), Ok(None));
        assert_eq!(read("credential cargo --profile p"), Ok(Some("p".into())));
        assert_eq!(read("--profile=p"), Ok(Some("p".into())));
        assert!(read("get p").is_err());
    }

    #[test]
    fn only_a_sparse_index_is_on_the_host_that_it_speaks_for() {
        assert_eq!(index("sparse+https://a.example/index/"), Some("https://a.example/index/"));
        assert_eq!(index("https://github.com/rust-lang/crates.io-index"), None);
    }
}
