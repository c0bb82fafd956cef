//! Rows of cells as people read them, wrapped at words where the terminal is narrow.

use crate::base::text::line;

/// The fewest columns in which a last cell is wrapped beside the others; with fewer, each cell is put on its own line.
const NARROW: usize = 24;

/// What stands between two columns.
const GAP: usize = 2;

/// A table whose first row is its heading.
pub fn with_heading<const N: usize>(heading: [&str; N], rows: Vec<[String; N]>, columns: Option<usize>) -> String {
    let rows = std::iter::once(heading.map(str::to_string)).chain(rows).collect::<Vec<_>>();
    let clean = clean(rows);
    match side_by_side(&clean, columns) {
        Some(texts) => texts.concat(),
        None => match clean.split_first() {
            Some((heading, rows)) => one_below_the_other(Some(heading), rows, columns.unwrap_or(usize::MAX)).concat(),
            None => String::new(),
        },
    }
}

/// A table without a heading.
pub fn table<const N: usize>(rows: Vec<[String; N]>, columns: Option<usize>) -> String {
    each(rows, columns).concat()
}

/// A table whose rows stand in groups, each below its heading, an empty line between two.
pub fn grouped<const N: usize>(groups: Vec<(String, Vec<[String; N]>)>, columns: Option<usize>) -> String {
    let (headings, rows): (Vec<_>, Vec<_>) = groups.into_iter().map(|(name, rows)| ((name, rows.len()), rows)).unzip();
    // The columns are those of all groups.
    let mut texts = each(rows.concat(), columns).into_iter();
    let group =
        |(name, len): (String, usize)| format!("{}\n{}", line(&name), texts.by_ref().take(len).collect::<String>());
    headings.into_iter().map(group).collect::<Vec<_>>().join("\n")
}

/// The text of each row.
fn each<const N: usize>(rows: Vec<[String; N]>, columns: Option<usize>) -> Vec<String> {
    let clean = clean(rows);
    side_by_side(&clean, columns).unwrap_or_else(|| one_below_the_other(None, &clean, columns.unwrap_or(usize::MAX)))
}

/// A cell is one line, whatever is in it.
fn clean<const N: usize>(rows: Vec<[String; N]>) -> Vec<[String; N]> {
    rows.into_iter().map(|row| row.map(|cell| line(&cell))).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Columns as wide as their widest cell, the last wrapped; `None` where there is no room for that.
fn side_by_side<const N: usize>(rows: &[[String; N]], columns: Option<usize>) -> Option<Vec<String>> {
    let widths: [usize; N] = std::array::from_fn(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0));
    let (last, others) = widths.split_last()?;
    let indent: usize = others.iter().map(|width| width + GAP).sum();
    let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(indent));
    if *last > room && room < NARROW {
        return None;
    }
    let mut texts = Vec::with_capacity(rows.len());
    for row in rows {
        let (last, others) = row.split_last()?;
        let mut begin = String::new();
        for (cell, width) in others.iter().zip(&widths) {
            begin.push_str(&format!("{cell:width$}  "));
        }
        let mut text = String::new();
        for piece in wrap(last, room) {
            text.push_str(format!("{begin}{piece}").trim_end());
            text.push('\n');
            begin = " ".repeat(indent);
        }
        texts.push(text);
    }
    Some(texts)
}

/// Each cell on its own line, all but the first indented and named by the heading.
fn one_below_the_other<const N: usize>(
    heading: Option<&[String; N]>,
    rows: &[[String; N]],
    columns: usize,
) -> Vec<String> {
    let text = |row: &[String; N]| {
        let mut text = String::new();
        let indent = row.first().map_or(0, |cell| width(cell) - width(cell.trim_start()));
        for (at, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.trim().is_empty()) {
            let cell = match heading {
                Some(heading) if at > 0 => format!("{}: {}", heading[at].to_lowercase(), cell.trim()),
                _ => cell.trim().to_string(),
            };
            let indent = if at == 0 { indent } else { indent + GAP };
            for (n, piece) in wrap(&cell, columns.saturating_sub(indent + GAP)).iter().enumerate() {
                text.push_str(&format!("{}{piece}\n", " ".repeat(indent + if n > 0 { GAP } else { 0 })));
            }
        }
        text
    };
    rows.iter().map(text).collect()
}

/// `text` in lines of at most `room` characters, broken at spaces alone: a longer word has its own line. At least
/// one line.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    if width(text) <= room {
        return vec![text.to_string()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let last = lines.len() - 1;
        if lines[last].is_empty() {
            lines[last].push_str(word);
        } else if width(&lines[last]) + 1 + width(word) <= room {
            lines[last] = format!("{} {word}", lines[last]);
        } else {
            lines.push(word.to_string());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(str::to_string)
    }

    #[test]
    fn a_table_is_as_wide_as_it_must_be() {
        let rows = vec![row(["a", "one two three four five six seven", "x"]), row(["bb", "short", "a b"])];
        let wide = "A   B                                  C\na   one two three four five six seven  x\nbb  short                              a b\n";
        assert_eq!(with_heading(["A", "B", "C"], rows.clone(), None), wide);
        assert_eq!(with_heading(["A", "B", "C"], rows.clone(), Some(80)), wide);
        let narrow = "a\n  b: one two three four\n    five six seven\n  c: x\nbb\n  b: short\n  c: a b\n";
        assert_eq!(with_heading(["A", "B", "C"], rows, Some(26)), narrow);
    }

    #[test]
    fn groups_share_their_columns() {
        let groups = || {
            vec![
                ("one".to_string(), vec![row(["  a", "x"]), row(["  longer", "some words"])]),
                ("two".to_string(), vec![row(["  b", "y"])]),
            ]
        };
        assert_eq!(grouped(groups(), None), "one\n  a       x\n  longer  some words\n\ntwo\n  b       y\n");
        let narrow = "one\n  a\n    x\n  longer\n    some\n      words\n\ntwo\n  b\n    y\n";
        assert_eq!(grouped(groups(), Some(11)), narrow);
        assert_eq!(grouped::<2>(Vec::new(), None), "");
    }

    #[test]
    fn the_last_column_wraps_at_words() {
        let rows = vec![row(["  name", "some words that are too long for one line"]), row(["  b", "x"])];
        let text = "  name  some words that are too long for\n        one line\n  b     x\n";
        assert_eq!(table(rows.clone(), Some(40)), text);
        for columns in 40..100 {
            assert!(table(rows.clone(), Some(columns)).lines().all(|line| width(line) <= columns), "{columns}");
        }
        assert_eq!(wrap("https://a.example/a-long-one and more", 10), ["https://a.example/a-long-one", "and more"]);
    }
}
