//! Changes of the config file, one at a time, each made to the text of now.

use super::Context;
use crate::base::error::{Error, Kind};
use crate::base::text::with_line_ends_of;
use crate::profile::read_trusted;
use crate::storage::lock::Lock;
use crate::system::files::{self, Durable, Target};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A change: the new text, made of the path and the text of now; `None` where nothing changes.
pub type Change<'a> = &'a dyn Fn(&Path, &str) -> crate::base::error::Result<Option<String>>;

/// The config's new text and the file that it goes to (a link is followed), if anything changes.
fn changed(context: &Context, change: Change) -> Result<Option<(PathBuf, String)>> {
    let path = &context.setup.config_path;
    let text = read_trusted(context.host, path)?.unwrap_or_default();
    let Some(new) = change(path, &text)? else { return Ok(None) };
    Ok(Some((std::fs::canonicalize(path).unwrap_or(path.clone()), with_line_ends_of(&text, new))))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Other, format!("{} cannot be written", path.display()), files::why(error))
        .hint("tok keeps profiles there; name another file with --config FILE")
}

/// Finds out before anything is sent whether the config can be written.
///
/// # Errors
/// [`Kind::Other`] where it cannot be, [`Kind::Config`] where it cannot be read.
pub fn check(context: &Context, change: Change) -> Result<()> {
    let Some((path, text)) = changed(context, change)? else { return Ok(()) };
    let Some(folder) = path.parent() else { return Ok(()) };
    let made = if folder.is_dir() { Ok(()) } else { files::private_dir(folder) };
    let ready = made.and_then(|()| Target::config(&path, text.len() as u64));
    ready.map(drop).map_err(|error| cannot_write(&path, &error).into())
}

/// While this lives, no other call changes the config.
pub struct Held {
    _lock: Lock,
    _shared: Option<Lock>,
}

/// Keeps other calls from changing the config.
///
/// # Errors
/// As [`Context::lock`].
pub fn hold(context: &mut Context) -> Result<Held> {
    let lock = context.lock("_config")?;
    // Calls with other state folders have another lock and the same config; where a folder cannot be locked, they go on
    // without.
    let path = std::fs::canonicalize(&context.setup.config_path).unwrap_or(context.setup.config_path.clone());
    let folder = path.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
    let shared = folder.and_then(|folder| Lock::on_folder(&folder, context.host.clock.deadline).ok());
    Ok(Held { _lock: lock, _shared: shared })
}

/// Writes the config: the change is made to the text of now. Whether anything changed.
///
/// # Errors
/// As [`check`].
pub fn write(context: &Context, _held: &Held, change: Change) -> Result<bool> {
    let changed = changed(context, change)?;
    if let Some((path, text)) = &changed {
        let written = Target::config(path, text.len() as u64).and_then(|to| to.put(text.as_bytes(), Durable::Yes));
        written.map_err(|error| cannot_write(path, &error))?;
    }
    Ok(changed.is_some())
}
