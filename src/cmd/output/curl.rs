//! A line of curl's config, for `curl -K -` (curl.1, "--config").

use super::Answer;
use crate::base::secret::Secret;

pub fn write(answer: &Answer) -> String {
    let token = answer.token.access_token.expose();
    let header = |(name, value): &(String, Secret)| match value.expose().strip_prefix("Bearer ") {
        // curl itself drops it where a redirect leads to another host.
        Some(bearer) if name.eq_ignore_ascii_case("authorization") && bearer == token => {
            format!("oauth2-bearer = \"{}\"\n", escape(bearer))
        }
        _ => format!("header = \"{}\"\n", escape(&format!("{name}: {}", value.expose()))),
    };
    answer.token.headers().map(header).collect::<String>() + &query(answer)
}

/// What the token has in the query, as lines of curl's config (curl.1, "--url-query").
pub fn query(answer: &Answer) -> String {
    let encode = crate::base::url::encode;
    let line = |(name, value): &(String, Secret)| {
        // With `+` before it, it is taken as it is.
        format!("url-query = \"+{}={}\"\n", encode(name), encode(value.expose()))
    };
    answer.token.query.iter().map(line).collect()
}

/// Within quotes, backslash and quote are escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t")
}
