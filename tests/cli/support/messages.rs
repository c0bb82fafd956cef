//! What `tok` says to the tests, noted for tests/messages.rs where `TEST_MESSAGES` names a folder. Each test process has
//! a file of its own there.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Notes what a run has printed.
pub fn note(text: &str) {
    let Some(folder) = std::env::var_os("TEST_MESSAGES").filter(|_| !text.is_empty()) else { return };
    let file = Path::new(&folder).join(std::process::id().to_string());
    // In one write, so that what tests of one process note at once does not mix.
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&file)
        .and_then(|mut open| open.write_all(format!("{text}\n").as_bytes()));
    written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
