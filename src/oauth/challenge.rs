//! `WWW-Authenticate`: a server's challenges (RFC 9110 §11.6.1), as used by RFC 6750 §3 and RFC 9728 §5.1.

/// A challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, unchanged; empty if the parameters follow none.
    pub scheme: String,
    /// The parameters in order; names in lower case, values without their quotes. Not safe for a terminal.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter `name` (in lower case) that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }
}

/// The challenges of one header line. What cannot be parsed is skipped.
pub fn parse(line: &str) -> Vec<Challenge> {
    let mut all: Vec<Challenge> = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let Some(first) = rest.chars().next() else { return all };
        let end = rest.find(|c: char| !is_tchar(c)).unwrap_or(rest.len());
        if end == 0 {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(end);
        let behind = after.trim_start();
        // `==` and `= ,` are the padding of a token68, which is not looked at.
        match behind.strip_prefix('=').map(str::trim_start) {
            Some(value) if !value.is_empty() && !value.starts_with(['=', ',']) => {
                let (text, left) = value_of(value);
                if all.is_empty() {
                    all.push(Challenge::default());
                }
                if let Some(last) = all.last_mut() {
                    last.parameters.push((word.to_ascii_lowercase(), text));
                }
                rest = left;
            }
            _ => {
                if after.starts_with(char::is_whitespace) || after.is_empty() || after.starts_with(',') {
                    all.push(Challenge { scheme: word.into(), parameters: Vec::new() });
                }
                rest = after;
            }
        }
    }
}

/// A token or a quoted string, and what follows it. An unterminated quoted string extends to the end of the line.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(text.len());
        return (text[..end].into(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// RFC 9110 §5.6.2, and the letters of a token68.
fn is_tchar(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Vec<(String, Vec<(String, String)>)> {
        parse(line).into_iter().map(|c| (c.scheme, c.parameters)).collect()
    }

    fn one(scheme: &str, parameters: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        (scheme.into(), parameters.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect())
    }

    #[test]
    fn challenges_are_told_apart() {
        for (line, want) in [
            ("", vec![]),
            ("Bearer", vec![one("Bearer", &[])]),
            (
                r#"Bearer realm="a, b", error="invalid_token", error_description="the \"old\" one""#,
                vec![one(
                    "Bearer",
                    &[("realm", "a, b"), ("error", "invalid_token"), ("error_description", "the \"old\" one")],
                )],
            ),
            (
                r#"Negotiate abc==, Basic realm=x ,  DPoP Algs="ES256",error=invalid_dpop_proof"#,
                vec![
                    one("Negotiate", &[]),
                    one("abc", &[]),
                    one("Basic", &[("realm", "x")]),
                    one("DPoP", &[("algs", "ES256"), ("error", "invalid_dpop_proof")]),
                ],
            ),
            (r#"error="x""#, vec![one("", &[("error", "x")])]),
            (r#"Bearer error = "x" , scope="a"#, vec![one("Bearer", &[("error", "x"), ("scope", "a")])]),
        ] {
            // The text of a token68 is not one of interest.
            let got: Vec<_> = said(line);
            let without = |all: Vec<(String, Vec<(String, String)>)>| -> Vec<_> {
                all.into_iter().filter(|(scheme, _)| scheme != "abc").collect()
            };
            assert_eq!(without(got), without(want), "{line}");
        }
        assert_eq!(parse("Bearer error=\"\", error=\"b\"")[0].get("error"), Some("b"));
    }

    #[test]
    fn odd_lines_end() {
        for line in ["=", "\"", "=\"", ",,,==", "é=ü", "Bearer é", "a=\\", "a=\"\\", "\u{0}"] {
            parse(line);
        }
        parse(&"a=\"b".repeat(100_000));
    }
}
