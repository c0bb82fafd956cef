//! What is tested against which server, as a table: the run prints it, and `docs/tested-against.md` has it.

use super::servers::{self, Make, Server};
use super::support::full_sweeps;
use crate::skip;
use libtest_mimic::{Completion, Failed, Trial};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The columns, as `--client-auth` names them.
const CLIENT_AUTH: [&str; 8] =
    ["none", "basic", "basic-raw", "post", "client-secret-jwt", "private-key-jwt", "tls", "tls-self-signed"];

/// The page that has the table.
const PAGE: &str = "docs/tested-against.md";

/// Where the table begins and ends there.
const BEGIN: &str = "<!-- The table of tests/real, made by UPDATE=1 cargo test --test real -->\n";
const END: &str = "<!-- end of the table -->\n";

/// Where a test stands in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A grant and a client authentication.
    Grant(&'static str, &'static str),
    /// What else is promised.
    Also(&'static str),
    /// Nowhere: a test of what goes wrong, or of a detail.
    Nowhere,
}

/// How it went. The worst of several tests of a cell counts, and they stand here from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Good,
    NotTried,
    Failed,
}

/// Outcomes by place and what the server is.
type Outcomes = BTreeMap<(Place, (char, &'static str)), Outcome>;

static OUTCOMES: Mutex<Outcomes> = Mutex::new(BTreeMap::new());

/// A test against one server.
pub struct Case {
    name: String,
    place: Place,
    make: Make,
    run: Box<dyn FnOnce(&'static Server) + Send>,
}

/// A cell of the table: `grant` with `auth` works on the server.
pub fn cell(
    grant: &'static str,
    auth: &'static str,
    make: Make,
    run: impl FnOnce(&'static Server) + Send + 'static,
) -> Case {
    assert!(CLIENT_AUTH.contains(&auth), "{auth} is no client authentication");
    Case { name: format!("{grant}::{auth}"), place: Place::Grant(grant, auth), make, run: Box::new(run) }
}

/// A promise besides the grants.
pub fn also(what: &'static str, make: Make, run: impl FnOnce(&'static Server) + Send + 'static) -> Case {
    Case { name: what.replace(' ', "_"), place: Place::Also(what), make, run: Box::new(run) }
}

/// A test that is not a cell of its own.
pub fn besides(name: &'static str, make: Make, run: impl FnOnce(&'static Server) + Send + 'static) -> Case {
    Case { name: name.into(), place: Place::Nowhere, make, run: Box::new(run) }
}

impl Case {
    /// One of several tests of the same cell.
    pub fn named(mut self, name: &str) -> Case {
        self.name = format!("{}::{name}", self.name);
        self
    }

    /// The test as the runner wants it.
    pub fn trial(self) -> Trial {
        let Case { name, place, make, run } = self;
        let name = format!("{}::{name}", make.name());
        Trial::ignorable_test(name.clone(), move || {
            let note = |outcome| {
                let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
                let before = outcomes.entry((place.clone(), make.legend())).or_insert(outcome);
                *before = outcome.max(*before);
            };
            match servers::shared(make) {
                Err(why) => {
                    note(Outcome::NotTried);
                    match full_sweeps() {
                        true => Err(Failed::from(format!("not tried: {why}"))),
                        false => {
                            skip::note(&format!("real::{name}"), true, why);
                            Ok(Completion::ignored_with(why))
                        }
                    }
                }
                Ok(server) => match catch_unwind(AssertUnwindSafe(|| run(server))) {
                    Ok(()) => {
                        note(Outcome::Good);
                        Ok(Completion::Completed)
                    }
                    Err(panic) => {
                        note(Outcome::Failed);
                        resume_unwind(panic)
                    }
                },
            }
        })
    }
}

/// The table with every test passed: the page's.
pub fn promised(cases: &[Case]) -> String {
    markdown(&cases.iter().map(|case| ((case.place.clone(), case.make.legend()), Outcome::Good)).collect())
}

/// The table of the tests that have run.
pub fn shown() -> String {
    markdown(&OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner))
}

fn markdown(outcomes: &Outcomes) -> String {
    let servers = |place: &Place| {
        let found = outcomes.iter().filter(|((at, _), _)| at == place);
        let named = found.map(|((_, (letter, _)), outcome)| match outcome {
            Outcome::Good => letter.to_string(),
            Outcome::NotTried => format!("{letter} (not tried)"),
            Outcome::Failed => format!("**{letter} failed**"),
        });
        named.collect::<Vec<_>>().join(" ")
    };
    let row = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));

    let mut text = row(&mut ["grant".to_string()].into_iter().chain(CLIENT_AUTH.map(|auth| format!("`{auth}`"))));
    text += &format!("|{}\n", "---|".repeat(1 + CLIENT_AUTH.len()));
    let grants: BTreeSet<&str> = outcomes
        .keys()
        .filter_map(|(place, _)| match place {
            Place::Grant(grant, _) => Some(*grant),
            _ => None,
        })
        .collect();
    for grant in grants {
        let cells = CLIENT_AUTH.map(|auth| servers(&Place::Grant(grant, auth)));
        text += &row(&mut [format!("`{grant}`")].into_iter().chain(cells));
    }

    text += "\n| besides | server |\n|---|---|\n";
    let others: BTreeSet<&str> = outcomes
        .keys()
        .filter_map(|(place, _)| match place {
            Place::Also(what) => Some(*what),
            _ => None,
        })
        .collect();
    for what in others {
        text += &row(&mut [what.to_string(), servers(&Place::Also(what))].into_iter());
    }

    let legend: BTreeSet<_> = outcomes.keys().map(|(_, legend)| legend).collect();
    let legend: Vec<String> = legend.into_iter().map(|(letter, what)| format!("{letter}: {what}")).collect();
    text + &format!("\n{}\n", legend.join("; "))
}

/// Compares the page's table with `promised`, or with `UPDATE=1` writes it.
pub fn compare(promised: &str) -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).ok_or("the page does not say where the table begins")?;
    let (table, after) = rest.split_once(END).ok_or("the page does not say where the table ends")?;
    if table == promised {
        return Ok(());
    }
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::write(&path, format!("{before}{BEGIN}{promised}{END}{after}"))?;
        return Ok(());
    }
    Err(format!("the table in {PAGE} is stale: UPDATE=1 cargo test --test real makes it anew\n{promised}").into())
}
