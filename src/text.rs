//! Text from elsewhere, made safe for a terminal: the only escape function of the program.

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
        if is_unsafe(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether `c` could do more on a terminal than show itself.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The one of `names` that was most likely meant by `typed`, if one is near enough.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (distance(typed, name), name))
        .filter(|(d, name)| *d <= (name.len().max(typed.len()) / 3).max(1))
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// How many letters differ: added, dropped, changed or swapped with a neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_text_cannot_reach_the_terminal() {
        assert_eq!(escape("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape("one\r\ntwo"), "one\\r\\ntwo");
        assert_eq!(escape("\u{202e}abc\u{200b}\u{9b}x"), "\\u{202e}abc\\u{200b}\\u{9b}x");
        assert_eq!(escape(&"x".repeat(1000)).chars().count(), SHOWN + 1);
        assert_eq!(escape("Zürich: naïve"), "Zürich: naïve");
    }

    #[test]
    fn the_nearest_name_is_found_or_none() {
        assert_eq!(nearest("purwel", ["purewl", "xcover"]), Some("purewl"));
        assert_eq!(nearest("zzz", ["purewl", "xcover"]), None);
        assert_eq!(nearest("acces_token", ["access_token", "token_type"]), Some("access_token"));
    }
}
