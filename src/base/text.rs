//! Untrusted text made safe for a terminal: the only escape function of the program.

/// The longest piece of remote text that a message shows, in characters.
pub const SHOWN: usize = 300;

/// `text` on one line, with everything escaped that could move a cursor, hide, reorder or set a terminal
/// (C0, DEL, C1, line and paragraph separators, bidi controls, zero-width characters, tags), and cut after
/// [`SHOWN`] characters (CVE-2021-25743, CVE-2024-50349).
pub fn escape(text: &str) -> String {
    escape_to(text, SHOWN)
}

/// [`escape`] with another limit, in characters.
pub fn escape_to(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.trim().chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        push(&mut out, c);
    }
    out
}

/// The longest line on stderr, in characters: a few pieces of remote text and the message around them.
const LINE: usize = 2000;

/// `text` as one line of a message, whatever is in it: the last safeguard before stderr. What is already escaped stays
/// as it is.
pub fn line(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LINE {
            out.push('…');
            break;
        }
        push(&mut out, c);
    }
    out
}

/// `text` as lines for a person: the last safeguard before stdout. Its line breaks stay.
pub fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' { out.push(c) } else { push(&mut out, c) }
    }
    out
}

/// [`lines`] of text with colours: escape sequences that set them (SGR, ECMA-48 §8.3.117) stay.
pub fn styled_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let (before, sequence) = rest.split_at(at);
        out.push_str(&lines(before));
        let parameters = sequence[2..].bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
        let end = if sequence[2 + parameters..].starts_with('m') { 3 + parameters } else { 1 };
        let (sequence, behind) = sequence.split_at(end);
        out.push_str(&if end > 1 { sequence.to_string() } else { lines(sequence) });
        rest = behind;
    }
    out + &lines(rest)
}

/// A JSON value as one line that is safe for a terminal: what JSON itself lets through (DEL, C1, bidi,
/// zero-width) is escaped as JSON escapes. Nothing is cut: to a program the value is the same.
pub fn json(value: &serde_json::Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if is_unsafe(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

fn push(out: &mut String, c: char) {
    if is_unsafe(c) { out.extend(c.escape_default()) } else { out.push(c) }
}

/// Whether `c` could affect a terminal beyond being displayed.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The one of `names` that `typed` most likely meant, whatever its case, if one is close enough.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = &typed.to_ascii_lowercase();
    let enough = |name: &str| (name.len().max(typed.len()) / 3).max(1);
    // The first word of a name counts as the name, however long the rest.
    let is_first_word = |name: &str| name.strip_prefix(typed).is_some_and(|rest| rest.starts_with(['-', '_']));
    names
        .into_iter()
        // Compare the lengths first: comparing a name of a megabyte takes a minute.
        .filter(|name| typed.len() <= 4 * name.len() + 4)
        .map(|name| (name.to_ascii_lowercase(), name))
        .map(|(low, name)| (if is_first_word(&low) { 1 } else { strsim::osa_distance(typed, &low) }, name))
        .filter(|(distance, name)| *distance <= enough(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `new`, the text of a file that was `old`, with its line ends: `\r\n` where each of them was that.
pub fn with_line_ends_of(old: &str, new: String) -> String {
    let count = old.matches("\r\n").count();
    match count > 0 && count == old.matches('\n').count() {
        true => new.replace("\r\n", "\n").replace('\n', "\r\n"),
        false => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_line_ends() {
        let new = || "a\r\nb\nc".to_string();
        assert_eq!(with_line_ends_of("x\r\ny", new()), "a\r\nb\r\nc");
        for old in ["", "x", "x\n", "x\r\ny\n", "x\ry"] {
            assert_eq!(with_line_ends_of(old, new()), new(), "{old:?}");
        }
    }

    #[test]
    fn remote_text_cannot_reach_the_terminal() {
        assert_eq!(escape("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape("one\r\ntwo"), "one\\r\\ntwo");
        assert_eq!(escape("\u{202e}abc\u{200b}\u{9b}x"), "\\u{202e}abc\\u{200b}\\u{9b}x");
        assert_eq!(escape(&"x".repeat(1000)).chars().count(), SHOWN + 1);
        assert_eq!(escape("Zürich: naïve"), "Zürich: naïve");
    }

    #[test]
    fn the_nets_before_the_terminal_let_nothing_through_and_change_nothing_twice() {
        let nasty = "  a\u{1b}[2J\r\nb\u{202e}\u{9b}\u{e0041}é\\";
        assert_eq!(line(nasty), "  a\\u{1b}[2J\\r\\nb\\u{202e}\\u{9b}\\u{e0041}é\\");
        assert_eq!(line(&line(nasty)), line(nasty));
        assert_eq!(lines(nasty), "  a\\u{1b}[2J\\r\nb\\u{202e}\\u{9b}\\u{e0041}é\\");
        assert_eq!(
            styled_lines(&format!("\u{1b}[1;32mA\u{1b}[0m{nasty}")),
            format!("\u{1b}[1;32mA\u{1b}[0m{}", lines(nasty))
        );
        assert_eq!(styled_lines("\u{1b}[\u{1b}]0;x\u{7}"), lines("\u{1b}[\u{1b}]0;x\u{7}"));
        assert_eq!(line(&"x".repeat(9999)).chars().count(), LINE + 1);
        let value = serde_json::json!({ nasty: [nasty] });
        let text = json(&value);
        assert!(!text.trim_end_matches('\n').contains(is_unsafe) && text.is_char_boundary(0), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).ok(), Some(value));
    }

    #[test]
    fn the_nearest_name_is_found_or_none() {
        assert_eq!(nearest("purwel", ["purewl", "xcover"]), Some("purewl"));
        assert_eq!(nearest("PureWL", ["purewl", "xcover"]), Some("purewl"));
        assert_eq!(nearest("zzz", ["purewl", "xcover"]), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), ["purewl"]), None);
        assert_eq!(nearest("acount", ["account", "acount-of-a-service"]), Some("account"));
        assert_eq!(nearest("account", ["x", "account-of-a-service"]), Some("account-of-a-service"));
        assert_eq!(nearest("acces_token", ["access_token", "token_type"]), Some("access_token"));
    }
}
