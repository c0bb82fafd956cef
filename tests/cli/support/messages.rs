//! What `tok` said in the tests, for the snapshot of all its messages (tests/messages.rs): each process of a test run
//! puts the lines into a file of its own, in the folder that `TEST_MESSAGES` names.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Adds the lines of a run's stderr that are messages or hints. `home`: the folder of the test, which has another name
/// each time. A line that does not end belongs to a run that was killed, and is left out.
pub fn record(stderr: &str, home: &str) {
    let Some(folder) = std::env::var_os("TEST_MESSAGES") else { return };
    let mut lines = String::new();
    for line in stderr.split_inclusive('\n') {
        if let Some(line) = line.strip_suffix('\n').map(|line| line.trim_end_matches('\r'))
            && (line.starts_with("tok: ") || line.starts_with("hint: "))
        {
            lines.push_str(&line.replace(home, "TEST"));
            lines.push('\n');
        }
    }
    if lines.is_empty() {
        return;
    }
    let file = Path::new(&folder).join(std::process::id().to_string());
    // In one write, so that the lines of tests that run at once do not mix.
    let written =
        OpenOptions::new().append(true).create(true).open(&file).and_then(|mut f| f.write_all(lines.as_bytes()));
    written.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}
