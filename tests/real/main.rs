//! The built `tok` against authorization servers that nobody here wrote. They are released packages, which `./test`
//! installs once into `target/real/`, and started on loopback by the tests themselves; `servers/` has their start
//! scripts.
//!
//! Each test stands for a cell of the table in `docs/tested-against.md`, which the run prints at its end. Where a server is not
//! installed, its tests say so and are skipped; `./test --full` lets them fail.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![allow(clippy::unwrap_used)]

use std::process::ExitCode;

#[cfg(unix)]
mod cases;
#[cfg(unix)]
#[path = "../cli/support/child.rs"]
mod child;
#[cfg(unix)]
#[path = "../cli/support/refusing.rs"]
mod refusing;
#[cfg(unix)]
#[path = "../cli/support/skip.rs"]
mod skip;

#[cfg(unix)]
fn main() -> ExitCode {
    cases::main()
}

/// Runs where the line `harness = false` of Cargo.toml is lost, and with it all tests of this crate.
#[test]
fn cargo_knows_the_runner() {
    panic!("harness = false is missing in Cargo.toml: none of the tests against real servers has run");
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}
