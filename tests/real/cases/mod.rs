//! All tests against real servers, and the run of them.

#[path = "../../cli/support/mod.rs"]
mod support;

mod around;
mod assertions;
mod authorization_code;
mod by_address;
mod clients;
mod dpop;
mod one_request;
mod person;
mod polling;
mod refresh;
mod servers;
mod table;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// Runs the tests that the command line asks for, and prints the table of them.
pub fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases: Vec<table::Case> = [
        one_request::cases(),
        authorization_code::cases(),
        polling::cases(),
        assertions::cases(),
        refresh::cases(),
        dpop::cases(),
        around::cases(),
        by_address::cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let promised = table::promised(&cases);
    let mut trials: Vec<Trial> = cases.into_iter().map(table::Case::trial).collect();
    trials.push(Trial::test("the_table_in_docs_is_that_of_these_tests", move || table::compare(&promised)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    servers::end();
    if !arguments.list {
        println!("{}", table::shown());
    }
    conclusion.exit_code()
}
