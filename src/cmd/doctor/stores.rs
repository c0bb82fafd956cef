//! The stores: which of them answers, how fast, and whether what was put there is there.

use super::profiles::runs_alone;
use super::{Finding, Level, Subject, Visit};
use crate::session::open_store::store_error_of;
use crate::storage::choice::StoreChoice;
use crate::storage::index::IndexEntry;
use crate::storage::secrets::{StoreError, StoreErrorKind};
use crate::token::credentials::Credentials;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a store on the network is asked: how it is now is in question, not whether it comes back.
const PATIENCE: Duration = Duration::from_secs(5);

/// From when on a store is slow: every renewal waits for it.
const SLOW: Duration = Duration::from_secs(1);

/// Asks each store that a profile uses, or the one that a login would use.
pub(super) fn stores(visit: &mut Visit) -> Vec<Finding> {
    let mut used: BTreeMap<String, (StoreChoice, Vec<usize>)> = BTreeMap::new();
    for (at, subject) in visit.subjects.iter().enumerate() {
        let kept = subject.noted.as_ref().filter(|noted| holds(noted)).map(|noted| noted.store.as_str());
        let kept = kept.and_then(|name| StoreChoice::parse(name).ok());
        let own = subject.profile.as_ref().ok().map(|profile| profile.store.clone());
        // What was stored is where it was put; whether that is where it is looked for is another check.
        if let Some(choice) = kept.or(own) {
            used.entry(choice.to_string()).or_insert((choice, Vec::new())).1.push(at);
        }
    }
    if used.is_empty() {
        // Where the config cannot be read, it may name a store that answers.
        if visit.config_error.is_some() && !visit.host.env.has("TOK_STORE") {
            return Vec::new();
        }
        match usual(visit) {
            Ok(choice) => drop(used.insert(choice.to_string(), (choice, Vec::new()))),
            Err(finding) => return vec![finding],
        }
    }
    used.into_values().flat_map(|(choice, users)| store(visit, &choice, &users)).collect()
}

/// Whether something is stored for a profile.
pub(super) fn holds(noted: &IndexEntry) -> bool {
    noted.refresh_token || !noted.secrets.is_empty()
}

/// The store of a login that names none.
fn usual(visit: &Visit) -> Result<StoreChoice, Finding> {
    let wrong = |why: String| Finding::error("TOK_STORE", why, "set it to keyring or file, or unset it");
    match visit.host.var("TOK_STORE") {
        Ok(Some(text)) => StoreChoice::parse(&text).map_err(wrong),
        Ok(None) => Ok(visit.setup.config.settings.store.clone().unwrap_or(StoreChoice::Keyring)),
        Err(error) => Err(wrong(error.why)),
    }
}

fn store(visit: &mut Visit, choice: &StoreChoice, users: &[usize]) -> Vec<Finding> {
    if *choice == StoreChoice::None {
        return Vec::new();
    }
    let users: Vec<&Subject> = users.iter().filter_map(|at| visit.subjects.get(*at)).collect();
    let start = Instant::now();
    let name = users.first().map_or("", |user| user.name.as_str());
    let deadline = visit.host.clock.deadline;
    if choice.is_shared() {
        visit.host.clock.deadline = deadline.min(start + PATIENCE);
    }
    let opened = visit.host.store(choice, name);
    visit.host.clock.deadline = deadline;
    let mut store = match opened {
        Ok(Some(store)) => store,
        Ok(None) => return Vec::new(),
        Err(trouble) => return vec![failed(choice, &users, &trouble)],
    };
    // A locked keyring says of each entry that there is none.
    if let Err(trouble) = store.ready() {
        return vec![failed(choice, &users, &trouble)];
    }
    let mut findings = Vec::new();
    // Rights are given for each entry.
    if let Some(shared) = store.shared() {
        for user in users.iter().skip(1) {
            findings.extend(shared.check(&user.name).err().map(|trouble| failed(choice, &[user], &trouble)));
        }
    }
    for user in &users {
        let noted = user.noted.as_ref().filter(|noted| holds(noted));
        match store.get(&user.name) {
            Ok(Some(entry)) => {
                if let Err(error) = Credentials::parse(&entry) {
                    let trouble = StoreError { trouble: StoreErrorKind::Entry, why: error.to_string() };
                    findings.push(failed(choice, &[user], &trouble));
                }
            }
            Ok(None) if noted.is_some() => findings.push(Finding::error(
                &user.name,
                format!("its session is not in the {choice} store, where it was put"),
                format!("log in again: tok login {}", user.name),
            )),
            Ok(None) => {}
            // One entry of several that stand by themselves.
            Err(trouble) if trouble.trouble == StoreErrorKind::Corrupt && *choice == StoreChoice::Keyring => {
                findings.push(failed(choice, &[user], &trouble));
            }
            Err(trouble) => return vec![failed(choice, &users, &trouble)],
        }
    }
    // Some programs say that they are there only when they are asked for something.
    if users.is_empty()
        && let Err(trouble) = store.get("tok-doctor")
    {
        return vec![failed(choice, &users, &trouble)];
    }
    let took = start.elapsed();
    if let Some(shared) = store.shared() {
        findings.extend(probed(choice, shared.probe()));
    }
    let shown = match took.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        millis => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
    };
    findings.push(match took > SLOW {
        false => Finding::fine(format!("the {choice} store"), format!("answers in {shown}")),
        true => Finding::warning(
            format!("the {choice} store"),
            format!("took {shown} to answer; every renewal waits for it"),
            "see what its service does, or use another store: tok login PROFILE --store file",
        ),
    });
    findings
}

/// Whether a store that many machines share compares versions, by what came of trying.
fn probed(choice: &StoreChoice, probed: Result<bool, StoreError>) -> Option<Finding> {
    let what = format!("the {choice} store");
    match probed {
        Ok(true) => None,
        Ok(false) => Some(Finding::error(
            what,
            "it does not compare versions: two machines could use one refresh token",
            "use another store: tok login PROFILE --store STORE",
        )),
        // One that lets only the entries of profiles be written is as good.
        Err(trouble) => Some(Finding::warning(
            what,
            format!("whether it compares versions could not be tried: {}", trouble.why),
            "allow this login to write the entry tok-doctor, or leave it",
        )),
    }
}

/// A store that fails. An error, unless those who use it get their tokens without it.
fn failed(choice: &StoreChoice, users: &[&Subject], trouble: &StoreError) -> Finding {
    let does_without = |user: &&Subject| {
        user.noted.as_ref().is_none_or(|noted| !holds(noted)) && user.profile.as_ref().is_ok_and(runs_alone)
    };
    let level = match !users.is_empty() && users.iter().all(does_without) {
        true => Level::Warning,
        false => Level::Error,
    };
    let name = users.first().map_or("PROVIDER", |user| user.name.as_str());
    let error = store_error_of(choice, name, trouble);
    let hint = match trouble.trouble {
        StoreErrorKind::Entry => None,
        _ => see(choice, name),
    };
    Finding::new(level, error.what, error.why, hint.or(error.hint).unwrap_or_default())
}

/// How to see for oneself what a store that many machines share says of the entry `name`.
fn see(choice: &StoreChoice, name: &str) -> Option<String> {
    match choice {
        StoreChoice::Program(program) => {
            Some(format!("see what it answers: echo '{{\"v\":1,\"profile\":\"{name}\"}}' | tok-store-{program} get"))
        }
        StoreChoice::Vault { .. } => Some(
            "check [vault] in the config, VAULT_ADDR and the login; see what the vault says: \
             curl -sS \"$VAULT_ADDR/v1/sys/health\""
                .into(),
        ),
        StoreChoice::Kubernetes { namespace, .. } => {
            Some(format!("see what this login may do: kubectl auth can-i --list --namespace={namespace}"))
        }
        StoreChoice::Keyring | StoreChoice::File | StoreChoice::None | StoreChoice::Helper(_) => None,
    }
}
