//! `tok list`: what is configured or kept, and its state, from the config, the index and the cache; no store is opened.

use super::Context;
use super::overview::{self, Look};
use crate::cli::List;
use anyhow::Result;

/// Prints the list.
///
/// # Errors
/// Only where it cannot be written: a profile that is broken is warned about.
pub fn run(context: &mut Context, args: &List) -> Result<()> {
    let names = overview::names(context);
    let rows = overview::rows(context, names, Look::Noted);
    let used = overview::providers(&rows);
    // Those in use have been warned about with their profiles.
    let unused = context.setup.library.own_names().iter().filter(|name| !used.contains(name.as_str()));
    let broken: Vec<anyhow::Error> =
        unused.filter_map(|name| context.setup.library.provider(context.host, name).err()).collect();
    broken.iter().for_each(|error| context.host.terminal.warn(&format!("{error:#}")));
    let text = if args.json { overview::to_json(&rows) } else { overview::to_list(context, &rows) };
    if rows.is_empty() && !args.json {
        context.host.terminal.note(overview::EMPTY);
    }
    context.print(&text)
}
