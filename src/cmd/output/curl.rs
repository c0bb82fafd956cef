//! A line of curl's config, for `curl -K -` (curl.1, "--config").

use super::Answer;

pub fn write(answer: &Answer) -> String {
    let (name, value) = (&answer.token.header.0, answer.token.header.1.expose());
    let token = answer.token.access_token.expose();
    match value.strip_prefix("Bearer ") {
        // curl itself drops it where a redirect leads to another host.
        Some(bearer) if name.eq_ignore_ascii_case("authorization") && bearer == token => {
            format!("oauth2-bearer = \"{}\"\n", escape(bearer))
        }
        _ => format!("header = \"{}\"\n", escape(&format!("{name}: {value}"))),
    }
}

/// Within quotes, backslash and quote are escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t")
}
