//! go's GOAUTH: `go help goauth`, and cmd/go/internal/auth/userauth.go. go asks once without a URL, and again with each
//! URL that was refused; the server's reply is on stdin then, and not needed.

use super::{Asking, Credential, credential, malformed, must_exist, origin, own_origins, owner};
use crate::cmd::Context;
use anyhow::Result;
use zeroize::Zeroizing;

/// Prints the headers for `url`; without it, those for the hosts of `--profile`. Nothing where there are none.
///
/// # Errors
/// For a URL that is malformed, and where there is no token.
pub fn run(context: &mut Context, asking: &Asking, url: Option<&str>) -> Result<()> {
    let found = match (url, asking.profile) {
        (Some(url), _) => match origin(url).map_err(malformed)? {
            Some(origin) => owner(context, asking, &origin)?.map(|name| (name, vec![origin])),
            None => None,
        },
        (None, Some(name)) => {
            must_exist(context, name)?;
            Some((name.to_string(), own_origins(context, name).to_vec()))
        }
        // Which profile go will need is not known yet.
        (None, None) => None,
    };
    let Some((name, mut origins)) = found else { return Ok(()) };
    // go sends headers by https alone.
    origins.retain(|origin| origin.starts_with("https://"));
    if origins.is_empty() {
        return Ok(());
    }
    let credential = credential(context, asking, &name)?;
    context.answer(&reply(&origins, &credential))
}

fn reply(origins: &[String], credential: &Credential) -> Zeroizing<String> {
    let all = std::iter::once(&credential.header).chain(&credential.more_headers);
    let lines = Zeroizing::new(all.map(|(name, value)| format!("{name}: {}\n", value.expose())).collect::<String>());
    Zeroizing::new(format!("{}\n\n{}\n", origins.join("\n"), *lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    #[test]
    fn urls_and_headers_each_end_with_an_empty_line() {
        let credential = Credential {
            token: Secret::new("T"),
            header: ("Authorization".into(), Secret::new("Bearer T")),
            more_headers: vec![("X-Api-Version".into(), Secret::new("2"))],
            username: "oauth2".into(),
            expires: None,
        };
        let origins = ["https://a.example".to_string(), "https://b.example:8443".to_string()];
        let text = reply(&origins, &credential);
        assert_eq!(*text, "https://a.example\nhttps://b.example:8443\n\nAuthorization: Bearer T\nX-Api-Version: 2\n\n");
    }
}
