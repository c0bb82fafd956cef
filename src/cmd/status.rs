//! `tok status`: whether each profile can supply a token now, and for whom.

use super::Context;
use super::overview::{self, Look};
use crate::base::error::InProfile;
use crate::cli::Status;
use crate::system::signals;
use anyhow::Result;

/// Prints the state of the profiles that `args` name, or of all.
///
/// # Errors
/// [`crate::base::error::Silent`] where one cannot supply a token; a named profile that is not known or broken.
pub fn run(context: &mut Context, args: &Status) -> Result<()> {
    if args.online {
        signals::listen();
    }
    let look = if args.online { Look::Online } else { Look::Noted };
    let rows = match args.profiles.as_slice() {
        [] => {
            let names = overview::names(context);
            overview::rows(context, names, look)
        }
        names => {
            let mut rows = Vec::new();
            for (at, name) in names.iter().enumerate() {
                if !names[..at].contains(name) {
                    rows.push(overview::row(context, name, look).in_profile(name)?);
                }
            }
            rows
        }
    };
    let text = if args.json { overview::to_json(&rows) } else { overview::to_status(context, &rows) };
    if rows.is_empty() && !args.json {
        context.host.terminal.note(overview::EMPTY);
    }
    context.print(&text)?;
    overview::answered(&rows)
}
