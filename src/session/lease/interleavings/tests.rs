//! Every order in which the requests of two and three workers can be processed, with a crash at every step and lost
//! replies of the store. A lease is only taken from the dead here: that no one takes it from the living is a matter of
//! time, and [`super::simulation`]'s.
#![expect(clippy::disallowed_macros, reason = "the figures, for whoever reads the output of the test")]

use super::*;
use crate::base::secret::Secret;
use crate::token::credentials::{Credentials, Session};
use crate::token::identity::TokenIdentity;
use crate::token::shared::SharedToken;
use std::collections::{BTreeMap, HashSet};

/// What may go wrong.
#[derive(Clone, Copy)]
struct Faults {
    crashes: usize,
    /// Replies of the store that are lost.
    lost: usize,
}

#[derive(Clone)]
struct Worker {
    renewal: Renewal<u64>,
    stands: Stands,
    /// The newest generation in hand.
    hand: Option<u64>,
    /// Whether time has passed: it has heard that the token is dead, and waits for a late result.
    is_later: bool,
}

#[derive(Clone)]
enum Stands {
    /// Its next request is to be processed.
    Asks(Step<u64>),
    /// It was processed; the reply is on its way.
    Hears(Told<u64>),
    Done(&'static str),
    Crashed,
}

#[derive(Clone)]
struct State {
    workers: Vec<Worker>,
    entry: SharedEntry,
    version: u64,
    /// The provider's generation, and whether it has ended the session.
    current: u64,
    gone: bool,
    faults: Faults,
    reused_alive: bool,
    /// Whether a session is renewed, else a grant is run, and how often it was.
    spends: bool,
    grants: usize,
}

/// Ids that depend on who asks, and on what it has seen: the same state is reached by many ways.
struct Ids(u64);

impl Asked for Ids {
    fn is_served(&self, entry: &SharedEntry, _: Seen) -> bool {
        entry.generation > 0 || !entry.access.is_empty()
    }

    fn random(&mut self) -> u64 {
        self.0
    }

    fn wall_clock(&self) -> i64 {
        0
    }
}

impl State {
    fn new(workers: usize, faults: Faults, spends: bool) -> State {
        let session = Session {
            refresh_token: Secret::new("rt"),
            identity: TokenIdentity::default(),
            since: 0,
            subject: None,
            values: Default::default(),
        };
        let caller =
            Caller { host: String::new(), pid: 0, deadline: Duration::from_secs(1000), grace: Duration::ZERO, spends };
        let worker = Worker {
            renewal: Renewal::new(caller, None),
            stands: Stands::Asks(Step::Read),
            hand: None,
            is_later: false,
        };
        State {
            workers: vec![worker; workers],
            entry: SharedEntry {
                credentials: Credentials { session: spends.then_some(session), ..Credentials::default() },
                login: "l".into(),
                ..SharedEntry::default()
            },
            version: 0,
            current: 0,
            gone: false,
            faults,
            reused_alive: false,
            spends,
            grants: 0,
        }
    }

    fn key(&self) -> String {
        let workers = self.workers.iter().map(|worker| {
            let stands = match &worker.stands {
                Stands::Asks(step) => format!("asks {step:?}"),
                Stands::Hears(told) => format!("hears {told:?}"),
                Stands::Done(how) => (*how).into(),
                Stands::Crashed => "crashed".into(),
            };
            format!("{:?} {stands} {:?} {}", worker.renewal, worker.hand, worker.is_later)
        });
        let rest =
            (&self.entry, self.version, self.current, self.gone, self.faults.crashes, self.faults.lost, self.grants);
        format!("{:?} {rest:?}", workers.collect::<Vec<_>>())
    }

    /// The store or the provider processes what `worker` asks.
    fn process(&mut self, worker: usize, step: Step<u64>) -> Told<u64> {
        match step {
            Step::Read => {
                let holder = self.entry.lease.as_ref().map(|lease| u64::from_str_radix(&lease.id[..16], 16));
                let holder = holder.and_then(Result::ok).map(|id| (id >> 32) as usize);
                let is_dead = holder.is_some_and(|holder| matches!(self.workers[holder].stands, Stands::Crashed));
                let age = Some(if is_dead { LEASE * 2 } else { Duration::ZERO });
                Told::Read(Some(Box::new(Held { entry: self.entry.clone(), version: self.version, age })))
            }
            Step::Write { entry, over } if over == self.version => {
                self.entry = *entry;
                self.version += 1;
                Told::Written(Written::Done(self.version))
            }
            Step::Write { .. } => Told::Written(Written::Lost),
            Step::Send { held, .. } if !self.spends => {
                self.grants += 1;
                let access = vec![SharedToken { token: Secret::new("{}"), left: None }];
                Told::Issued(Box::new(SharedEntry { access, ..*held }))
            }
            Step::Send { held, .. } if !self.gone && held.generation == self.current => {
                self.current += 1;
                self.workers[worker].hand = Some(self.current);
                Told::Issued(held)
            }
            Step::Send { .. } => {
                let is_held =
                    |worker: &Worker| worker.hand == Some(self.current) && !matches!(worker.stands, Stands::Crashed);
                let is_alive = self.entry.generation == self.current || self.workers.iter().any(is_held);
                self.reused_alive |= !self.gone && is_alive;
                self.gone = true;
                Told::Dead("dead".into())
            }
            // Never asked: `hear` goes on at once.
            Step::Sleep(_) | Step::Done(_) => Told::Slept,
        }
    }

    /// `worker` goes on with what it was told.
    fn hear(&mut self, worker: usize, told: Told<u64>) {
        let version = self.version;
        let it = &mut self.workers[worker];
        it.is_later |= matches!(told, Told::Dead(_));
        let now = if it.is_later && !matches!(told, Told::Dead(_)) { LATE * 2 } else { Duration::ZERO };
        let mut ids = Ids((worker as u64) << 32 | version);
        let mut step = it.renewal.next(told, now, &mut ids);
        // Waiting alone changes nothing that others see.
        while let Step::Sleep(_) = step {
            step = it.renewal.next(Told::Slept, now, &mut ids);
        }
        // Here the store tells how old an entry is: what was timed, and how long is waited, makes no difference.
        (it.renewal.read, it.renewal.seen, it.renewal.first, it.renewal.wait) = (None, None, None, WAIT.0);
        it.stands = match step {
            Step::Done(outcome) => {
                it.hand = None;
                Stands::Done(match outcome {
                    Outcome::Served { .. } => "served",
                    Outcome::Renewed { is_kept: true } => "renewed",
                    Outcome::Ended(_) => "ended",
                    _ => "failed",
                })
            }
            step => Stands::Asks(step),
        };
    }

    fn successors(&self) -> Vec<State> {
        let mut all = Vec::new();
        for (at, worker) in self.workers.iter().enumerate() {
            let mut go = |change: &dyn Fn(&mut State)| {
                let mut next = self.clone();
                change(&mut next);
                all.push(next);
            };
            match &worker.stands {
                Stands::Asks(step) => {
                    go(&|next| {
                        let told = next.process(at, step.clone());
                        next.workers[at].stands = Stands::Hears(told);
                    });
                    if self.faults.lost > 0 && matches!(step, Step::Write { .. }) {
                        go(&|next| {
                            next.faults.lost -= 1;
                            next.process(at, step.clone());
                            next.workers[at].stands = Stands::Hears(Told::Written(Written::Unknown));
                        });
                    }
                }
                Stands::Hears(told) => go(&|next| next.hear(at, told.clone())),
                Stands::Done(_) | Stands::Crashed => continue,
            }
            if self.faults.crashes > 0 {
                go(&|next| {
                    next.faults.crashes -= 1;
                    next.workers[at].stands = Stands::Crashed;
                });
            }
        }
        all
    }
}

/// Walks all states; how often each end was reached.
fn walk(workers: usize, faults: Faults) -> (usize, BTreeMap<&'static str, usize>) {
    let start = State::new(workers, faults, true);
    let (mut seen, mut to_do) = (HashSet::from([start.key()]), vec![start]);
    let mut ends = BTreeMap::new();
    while let Some(state) = to_do.pop() {
        assert!(!state.reused_alive, "a token was sent twice while the session was alive: {}", state.key());
        let next = state.successors();
        if next.is_empty() {
            let died_with_it = state
                .workers
                .iter()
                .any(|worker| matches!(worker.stands, Stands::Crashed) && worker.hand == Some(state.current));
            let is_kept = state.entry.generation == state.current && !state.gone && state.entry.ended.is_none();
            let end = match (is_kept, died_with_it) {
                (true, _) => "kept",
                (false, true) => "lost with the machine",
                (false, false) => "lost",
            };
            *ends.entry(end).or_default() += 1;
            for worker in &state.workers {
                if let Stands::Done(how @ ("failed" | "ended")) = worker.stands {
                    assert!(!is_kept, "{how} although the session is there: {}", state.key());
                }
            }
        }
        for state in next {
            if seen.insert(state.key()) {
                to_do.push(state);
            }
        }
    }
    (seen.len(), ends)
}

fn check(workers: usize, crashes: usize, lost: usize) {
    let (states, ends) = walk(workers, Faults { crashes, lost });
    println!("{workers} workers, {crashes} crashes, {lost} lost replies: {states} states, {ends:?}");
    assert!(states > 10 && ends.contains_key("kept"), "{ends:?}");
    assert!(!ends.contains_key("lost"), "{ends:?}");
    assert!(crashes > 0 || ends.len() == 1, "{ends:?}");
}

#[test]
fn two_workers_keep_the_session_but_for_the_one_that_dies_with_it() {
    check(2, 0, 0);
    check(2, 0, 2);
    check(2, 1, 0);
    check(2, 1, 1);
}

#[test]
fn so_do_three() {
    check(3, 0, 0);
    check(3, 2, 0);
}

/// How often a grant was run, at most, in any order of the requests of `workers`.
fn grants(workers: usize, faults: Faults) -> usize {
    let start = State::new(workers, faults, false);
    let (mut seen, mut to_do) = (HashSet::from([start.key()]), vec![start]);
    let mut most = 0;
    while let Some(state) = to_do.pop() {
        let next = state.successors();
        if next.is_empty() {
            most = most.max(state.grants);
            for worker in &state.workers {
                let is_served = matches!(worker.stands, Stands::Done("served" | "renewed") | Stands::Crashed);
                assert!(is_served, "{}", state.key());
            }
        }
        to_do.extend(next.into_iter().filter(|state| seen.insert(state.key())));
    }
    println!("{workers} workers, {} crashes, {} lost replies: {} states", faults.crashes, faults.lost, seen.len());
    most
}

#[test]
fn a_grant_is_run_once_and_again_only_after_a_crash() {
    for workers in [2, 3] {
        assert_eq!(grants(workers, Faults { crashes: 0, lost: 0 }), 1);
    }
    assert_eq!(grants(2, Faults { crashes: 0, lost: 2 }), 1);
    assert_eq!(grants(2, Faults { crashes: 1, lost: 0 }), 2);
    assert_eq!(grants(2, Faults { crashes: 1, lost: 1 }), 2);
}
