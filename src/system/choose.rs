//! A choice out of many on the terminal: arrow keys, and typing to search; a plain list where the terminal can do no
//! more.

use crate::base::error::{Error, Kind, Result};
use crate::system::terminal::{Echo, Keys, Terminal};
use inquire::ui::{RenderConfig, Styled};
use inquire::{InquireError, Select};

/// One thing that can be chosen.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Its name: what is typed where the terminal is plain.
    pub name: String,
    /// What is shown beside it.
    pub about: String,
    /// What typing finds besides these two.
    pub also: String,
}

/// How many are shown at a time.
const PAGE: usize = 12;
/// The longest text that is searched for, in bytes.
const LONGEST_SEARCH: usize = 200;
/// How often an answer may be none of those offered.
const TRIES: usize = 3;

impl Terminal {
    /// Asks which of `choices` it is to be: its place. `None` where nothing was chosen. `columns`: the width.
    ///
    /// # Errors
    /// [`Kind::Other`] where the terminal fails.
    pub fn choose(&mut self, label: &str, choices: &[Choice]) -> Result<Option<usize>> {
        self.end_line();
        let width = choices.iter().map(|choice| choice.name.chars().count()).max().unwrap_or(0);
        let row = |choice: &Choice| format!("{:width$}  {}", choice.name, choice.about).trim_end().to_string();
        if self.plain {
            return self.choose_plainly(label, choices, &row);
        }
        // A row that is broken is hard to read.
        let room = super::terminal::columns().unwrap_or(80).saturating_sub(4).max(8);
        let rows: Vec<String> = choices.iter().map(|choice| cut(&row(choice), room)).collect();
        let score = |typed: &str, _: &String, _: &str, at: usize| choices.get(at).and_then(|c| score(c, typed, at));
        let message = format!("{label}:");
        // Key by key all the time, also between two keys: what is pasted is neither shown twice nor lost.
        let _keys = Keys::begin();
        let chosen = Select::new(&message, rows)
            .with_render_config(self.look())
            .with_page_size(PAGE)
            .with_help_message("type to search, Enter chooses")
            .with_scorer(&score)
            // The row would break where the label stands before it.
            .with_formatter(&|chosen| choices.get(chosen.index).map(|choice| choice.name.clone()).unwrap_or_default())
            .raw_prompt_skippable();
        match chosen {
            Ok(chosen) => Ok(chosen.map(|chosen| chosen.index)),
            Err(InquireError::OperationInterrupted) => super::signals::interrupt(),
            Err(InquireError::IO(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(Error::new(Kind::Other, "cannot ask on this terminal", error.to_string())),
        }
    }

    fn look(&self) -> RenderConfig<'static> {
        let plain = RenderConfig::empty();
        let look = if self.color { RenderConfig::default_colored() } else { plain };
        look.with_highlighted_option_prefix(Styled::new(">"))
            .with_scroll_up_prefix(Styled::new("^"))
            .with_scroll_down_prefix(Styled::new("v"))
            .with_prompt_prefix(Styled::new("?"))
            .with_answered_prompt_prefix(Styled::new(">"))
    }

    /// The same as a list with numbers, for a terminal that can do no more than print.
    fn choose_plainly(
        &mut self,
        label: &str,
        choices: &[Choice],
        row: &dyn Fn(&Choice) -> String,
    ) -> Result<Option<usize>> {
        for (at, choice) in choices.iter().enumerate() {
            self.show(&format!("{:>3}  {}", at + 1, row(choice)));
        }
        for _ in 0..TRIES {
            let Some(answer) = self.ask(&format!("{label} (number or name)"), Echo::On)? else { return Ok(None) };
            let typed = answer.expose().trim();
            if let Some(at) = typed.parse::<usize>().ok().filter(|n| (1..=choices.len()).contains(n)) {
                return Ok(Some(at - 1));
            }
            if let Some(at) = choices.iter().position(|choice| choice.name == typed) {
                return Ok(Some(at));
            }
            let mut found: Vec<(i64, usize)> =
                choices.iter().enumerate().filter_map(|(at, c)| Some((score(c, typed, at)?, at))).collect();
            found.sort_unstable_by_key(|(score, _)| std::cmp::Reverse(*score));
            match found.as_slice() {
                [(_, one)] => return Ok(Some(*one)),
                [] => self.show("none of them"),
                several => {
                    let names: Vec<&str> = several.iter().map(|(_, at)| choices[*at].name.as_str()).collect();
                    self.show(&format!("which of them: {}", names.join(", ")));
                }
            }
        }
        Ok(None)
    }
}

/// How well `choice`, which stands at `at`, is what was `typed`: each of its words is somewhere in it. `None`: not at all.
fn score(choice: &Choice, typed: &str, at: usize) -> Option<i64> {
    // What is pasted is looked at anew for each of its characters.
    if typed.len() > LONGEST_SEARCH {
        return None;
    }
    let typed = typed.to_lowercase();
    let (name, all) = (choice.name.to_lowercase(), format!("{} {} {}", choice.name, choice.about, choice.also));
    let all = all.to_lowercase();
    if !typed.split_whitespace().all(|word| all.contains(word)) {
        return None;
    }
    let rank = match typed.trim() {
        "" => 0,
        typed if name == typed => 3,
        typed if name.starts_with(typed) => 2,
        typed if name.contains(typed) => 1,
        _ => 0,
    };
    // In their order otherwise.
    Some(rank * 1_000_000 - i64::try_from(at).unwrap_or(0))
}

fn cut(text: &str, room: usize) -> String {
    match text.chars().count() > room {
        true => text.chars().take(room.saturating_sub(3)).chain("...".chars()).collect(),
        false => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_finds_by_any_part_of_name_and_title() {
        let choice = |name: &str, about: &str| Choice { name: name.into(), about: about.into(), also: String::new() };
        let all = [
            choice("purewl", "PureWL (Atom)"),
            choice("elasticpath", "Elastic Path Commerce Cloud"),
            choice("path", "Another"),
        ];
        let found = |typed: &str| {
            let mut found: Vec<(i64, usize)> =
                all.iter().enumerate().filter_map(|(at, c)| Some((score(c, typed, at)?, at))).collect();
            found.sort_unstable_by_key(|(score, _)| std::cmp::Reverse(*score));
            found.into_iter().map(|(_, at)| at).collect::<Vec<_>>()
        };
        assert_eq!(found(""), [0, 1, 2]);
        assert_eq!(found("atom"), [0]);
        assert_eq!(found("cloud elastic"), [1]);
        assert_eq!(found("path"), [2, 1]);
        assert_eq!(found("nonsense"), [] as [usize; 0]);
        assert_eq!(cut("abcdef", 5), "ab...");
    }
}
