//! Files that hold a key and that others may read.

use crate::provider::Param;
use crate::system::files;
use std::path::Path;

/// Whether `file` holds a key that others may read. A password's file may well be a group's, and is not asked about.
pub fn is_exposed(param: &Param, file: &Path) -> bool {
    param.secret && param.lines && files::is_open_to_others(file)
}

/// What is said of such a file; `ssh` refuses one.
pub fn exposed(name: &str, file: &Path) -> String {
    let shown = file.to_string_lossy();
    let quoted = shlex::try_quote(&shown).unwrap_or(shown.clone());
    format!("{name} is in a file that others can read or change: chmod 600 {quoted}")
}
