//! Changes to the config file, one at a time.

use crate::base::error::{Error, Kind};
use crate::host::Host;
use crate::profile::read_trusted;
use crate::session::guard;
use crate::storage::lock::Lock;
use crate::system::files::{self, Durable, Target};
use anyhow::Result;
use std::path::Path;

/// Puts what `change` makes of the config's text of now in its place; `None` leaves it. A link is followed. Whether
/// anything has changed.
///
/// # Errors
/// Those of `change`; [`Kind::Other`] where the file cannot be written.
pub fn change(
    host: &mut Host,
    config: &Path,
    change: impl Fn(&str) -> crate::base::error::Result<Option<String>>,
) -> Result<bool> {
    let state = host.folders()?.state.clone();
    let lock = guard::lock(host, &state, "_config")?;
    // Calls with other state folders have another lock and the same config; where a folder cannot be locked, they go on
    // without.
    let path = std::fs::canonicalize(config).unwrap_or(config.to_path_buf());
    let folder = path.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
    let shared = folder.and_then(|folder| Lock::on_folder(&folder, host.clock.deadline).ok());
    let new = change(&read_trusted(host, config)?.unwrap_or_default())?;
    if let Some(text) = &new {
        let written = Target::config(&path, text.len() as u64).and_then(|to| to.put(text.as_bytes(), Durable::Yes));
        written.map_err(|error| cannot_write(&path, &error))?;
    }
    drop((shared, lock));
    Ok(new.is_some())
}

/// The error for a config that cannot be written.
pub fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Other, format!("{} cannot be written", path.display()), files::why(error))
        .hint("profiles are kept there; name another with --config FILE")
}
