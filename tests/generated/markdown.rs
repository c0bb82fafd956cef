//! A small Markdown reader for the reference pages in `docs/`: what they say is also the text of the man pages of
//! section 5, and their tables name every key that the program reads.

/// A part of a page, in the order of the file.
#[derive(Debug, PartialEq)]
pub enum Block {
    /// `## TEXT`
    Heading(String),
    /// `### TEXT`
    Subheading(String),
    /// Lines up to an empty one, joined.
    Paragraph(String),
    /// The items of a numbered list.
    Numbered(Vec<String>),
    /// The lines between fences, and the language after the first.
    Code(String, Vec<String>),
    /// The rows of a table with two columns, its head first.
    Table(Vec<(String, String)>),
}

/// Reads a page; its title is left out.
pub fn read(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        if let Some(heading) = line.strip_prefix("## ") {
            blocks.push(Block::Heading(heading.into()));
        } else if let Some(heading) = line.strip_prefix("### ") {
            blocks.push(Block::Subheading(heading.into()));
        } else if let Some(language) = line.strip_prefix("```") {
            let code = lines.by_ref().take_while(|line| *line != "```").map(str::to_string).collect();
            blocks.push(Block::Code(language.into(), code));
        } else if line.starts_with('|') {
            let mut rows = vec![row(line)];
            while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(row(line));
            }
            // The line below the head.
            rows.remove(1);
            blocks.push(Block::Table(rows));
        } else if line.starts_with("1. ") {
            let mut items = vec![item(line)];
            while let Some(line) = lines.next_if(|line| !line.is_empty()) {
                match (line.strip_prefix("   "), items.last_mut()) {
                    (Some(more), Some(last)) => last.push_str(&format!(" {more}")),
                    _ => items.push(item(line)),
                }
            }
            blocks.push(Block::Numbered(items));
        } else {
            let mut paragraph = line.to_string();
            while let Some(line) = lines.next_if(|line| !line.is_empty()) {
                paragraph.push(' ');
                paragraph.push_str(line);
            }
            blocks.push(Block::Paragraph(paragraph));
        }
    }
    blocks
}

fn row(line: &str) -> (String, String) {
    let line = line.trim_matches('|').replace("\\|", "\u{0}");
    let (left, right) = line.split_once(" | ").unwrap_or_else(|| line.split_once('|').expect("two columns"));
    let cell = |text: &str| text.trim().replace('\u{0}', "|");
    (cell(left), cell(right))
}

fn item(line: &str) -> String {
    let (_, text) = line.split_once(". ").expect("a numbered line for each item");
    text.into()
}

/// The keys that the page names: each heading with the first column of the `key` table below it.
pub fn keys(blocks: &[Block]) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut heading = "";
    for block in blocks {
        match block {
            Block::Heading(text) => heading = text,
            Block::Table(rows) if rows[0].0 == "key" => {
                let names = rows[1..].iter().map(|(key, _)| key.trim_matches('`').to_string()).collect();
                found.push((heading.to_string(), names));
            }
            _ => {}
        }
    }
    found
}

/// The page as a manual page body (man(7)).
pub fn roff(blocks: &[Block]) -> String {
    let mut out = String::from(".SH DESCRIPTION\n");
    let mut fresh = true;
    for block in blocks {
        match block {
            Block::Heading(text) => {
                out.push_str(&format!(".SH \"{}\"\n", escape(&text.replace('`', "").to_uppercase())))
            }
            Block::Subheading(text) => out.push_str(&format!(".SS \"{}\"\n", escape(&text.replace('`', "")))),
            Block::Paragraph(text) if fresh => out.push_str(&line(text)),
            Block::Paragraph(text) => out.push_str(&format!(".PP\n{}", line(text))),
            Block::Code(_, lines) => {
                let lines: String = lines.iter().map(|l| format!("{}\n", guard(&escape(l)))).collect();
                out.push_str(&format!(".PP\n.RS 4\n.nf\n{lines}.fi\n.RE\n"));
            }
            Block::Table(rows) => {
                for (left, right) in &rows[1..] {
                    out.push_str(&format!(".TP\n{}{}", line(left), line(right)));
                }
            }
            Block::Numbered(items) => {
                for (at, item) in items.iter().enumerate() {
                    out.push_str(&format!(".IP {}. 4\n{}", at + 1, line(item)));
                }
            }
        }
        fresh = matches!(block, Block::Heading(_) | Block::Subheading(_));
    }
    out
}

/// A line of text, code in bold.
fn line(text: &str) -> String {
    format!("{}\n", guard(&code_in_bold(&escape(text))))
}

/// What stands between backticks is bold in a manual.
pub fn code_in_bold(line: &str) -> String {
    let pieces: Vec<&str> = line.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        return line.into();
    }
    let bold = |(at, piece): (usize, &&str)| if at % 2 == 1 { format!("\\fB{piece}\\fR") } else { piece.to_string() };
    pieces.iter().enumerate().map(bold).collect()
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

/// A line that begins with a dot or a quote is none of roff's.
fn guard(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.into() }
}

#[test]
fn a_page_is_read_and_written() {
    let text = "# T\n\nSome `code` and\nmore.\n\n## A: `[x]`\n\n| key | meaning |\n|---|---|\n| `a\\|b` | it's |\n\n1. one\n2. two\n\n```toml\n.x = 1\n```\n";
    let blocks = read(text);
    assert_eq!(keys(&blocks), [("A: `[x]`".to_string(), vec!["a|b".to_string()])]);
    let wanted = ".SH DESCRIPTION\nSome \\fBcode\\fR and more.\n.SH \"A: [X]\"\n.TP\n\\fBa|b\\fR\nit\\(aqs\n.IP 1. 4\none\n.IP 2. 4\ntwo\n\
                  .PP\n.RS 4\n.nf\n\\&.x = 1\n.fi\n.RE\n";
    // The first paragraph needs no break before it.
    assert_eq!(roff(&blocks).replace(".PP\nSome", "Some"), wanted);
}
