//! Tests that cannot run on this machine: each says so by its name, and `./test` counts them.
//!
//! The test runner knows nothing of a test that finds out by itself that it cannot run, and hides what a test prints
//! that passes. So the names go to the file that `SKIPPED_TESTS` names, where `./test` has set it.
#![allow(dead_code, unused_macros, unused_imports)] // not every test crate uses all of it

use std::fs::OpenOptions;
use std::io::Write;

/// Packages with the programs of a Secret Service.
pub const KEYRING: [&str; 7] =
    ["dbus-daemon", "dbus-monitor", "dbus-run-session", "dbus-send", "gnome-keyring-daemon", "secret-tool", "sh"];

/// Takes down that the test `name` was skipped as a whole, or only in part.
pub fn note(name: &str, whole: bool, why: &str) {
    let name = name.trim_end_matches("::{{closure}}");
    let how = if whole { "skipped" } else { "in part" };
    let line = format!("{how}\t{name}\t{why}\n");
    match std::env::var_os("SKIPPED_TESTS") {
        Some(path) => {
            // One write for each line, and at the end: several processes write there.
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of skipped tests");
        }
        None => drop(std::io::stderr().write_all(format!("{name}: {how}: {why}\n").as_bytes())),
    }
}

/// The first of these programs that is not on `PATH`.
pub fn lacking<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    programs.iter().copied().find(|name| !there(name))
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Ends the test as skipped, with the reason.
macro_rules! skip {
    ($($why:tt)*) => {{
        $crate::skip::note(std::any::type_name_of_val(&|| ()), true, &format!($($why)*));
        return;
    }};
}

/// Says that a part of the test is left out, with the reason.
macro_rules! skip_part {
    ($($why:tt)*) => {
        $crate::skip::note(std::any::type_name_of_val(&|| ()), false, &format!($($why)*))
    };
}

/// Skips the test where one of these programs is missing; `keyring` for those of a Secret Service.
macro_rules! needs {
    (keyring) => {
        if let Some(program) = $crate::skip::lacking(&$crate::skip::KEYRING) {
            $crate::skip::skip!("{program} is not installed")
        }
    };
    ($($program:literal),+) => {
        if let Some(program) = $crate::skip::lacking(&[$($program),+]) {
            $crate::skip::skip!("{program} is not installed")
        }
    };
}

pub(crate) use {needs, skip, skip_part};
