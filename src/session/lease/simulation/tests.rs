//! Many machines renew one session in simulated time, with crashes, pauses, stuck networks and lost replies, against a
//! provider that ends the session when a refresh token comes twice. How many sessions are lost?
//!
//! Each figure is that of the seed named beside it; time and chance are simulated, so it is the same on every machine.
#![expect(clippy::disallowed_macros, reason = "the figures, for whoever reads the output of the test")]

use super::*;
use crate::base::secret::Secret;
use crate::token::credentials::{Credentials, Session};
use crate::token::identity::TokenIdentity;
use crate::token::shared::SharedToken;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// Splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct Chance(u64);

impl Chance {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to 1.
    fn part(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.part()
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.part() < probability
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.part()).ln()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.part()).ln()).sqrt() * (std::f64::consts::TAU * self.part()).cos()
    }
}

/// The world of a run; times in seconds.
#[derive(Clone, Copy)]
struct World {
    workers: usize,
    epochs: usize,
    seed: u64,
    /// How likely a worker dies at one of its requests.
    crash: f64,
    /// How likely a machine stands still after a reply, for 8 s on average.
    pause: f64,
    /// How likely it stands still between its look at the clock and the send.
    gap: f64,
    /// How likely a message takes 2 to 15 s.
    slow: f64,
    /// How likely a reply is lost.
    drop: f64,
    /// How long the provider takes a spent refresh token again.
    grace: f64,
    /// The provider's median.
    provider: f64,
    /// All begin within this time.
    burst: f64,
}

const USUAL: World = World {
    workers: 20,
    epochs: 6000,
    seed: 1,
    crash: 0.02,
    pause: 0.005,
    gap: 0.001,
    slow: 0.002,
    drop: 0.001,
    grace: 0.0,
    provider: 0.4,
    burst: 2.0,
};
const STORE: f64 = 0.02;
const LIFE: f64 = 300.0;
const TIMEOUT: f64 = 30.0;

type Event = Box<dyn FnOnce(&mut Simulation)>;

struct Worker {
    renewal: Renewal<u64>,
    alive: bool,
    /// Clocks run up to 2 % apart.
    rate: f64,
    /// The request at which it dies, and where: before it is sent, answered or told.
    dies: Option<(usize, usize)>,
    requests: usize,
    /// Which request or sleep it waits for.
    waits: u64,
}

#[derive(Default, Debug)]
struct Counts {
    lost: usize,
    killed_alive: usize,
    /// At the provider.
    requests: usize,
    served: usize,
    /// At the store, and the most within a second.
    calls: usize,
    busiest: usize,
}

struct Simulation {
    world: World,
    chance: Chance,
    now: f64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, Event>,
    number: u64,
    workers: Vec<Worker>,
    /// The store: the entry, its version, when it was written.
    entry: SharedEntry,
    version: u64,
    written: f64,
    /// The provider: which login, which generation is current, whether the session was ended, when each was spent.
    login: String,
    current: u64,
    gone: bool,
    spent: BTreeMap<u64, f64>,
    /// Who has a token of which login and generation in hand.
    hands: HashMap<usize, (String, u64)>,
    counts: Counts,
    /// A second, and how often the store was called in it.
    second: (u64, usize),
}

struct Ask<'a> {
    chance: &'a RefCell<&'a mut Chance>,
}

impl Asked for Ask<'_> {
    fn is_served(&self, entry: &SharedEntry, Seen { age, .. }: Seen) -> bool {
        entry.access.iter().any(|token| token.left.is_some_and(|left| left as f64 - age.as_secs_f64() > 5.0))
    }

    fn random(&mut self) -> u64 {
        self.chance.borrow_mut().bits()
    }

    fn wall_clock(&self) -> i64 {
        0
    }
}

impl Simulation {
    fn new(world: World) -> Simulation {
        let mut simulation = Simulation {
            world,
            chance: Chance(world.seed),
            now: 0.0,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            number: 0,
            workers: Vec::new(),
            entry: SharedEntry::default(),
            version: 0,
            written: 0.0,
            login: String::new(),
            current: 0,
            gone: false,
            spent: BTreeMap::new(),
            hands: HashMap::new(),
            counts: Counts::default(),
            second: (0, 0),
        };
        simulation.log_in();
        simulation
    }

    /// What a person does.
    fn log_in(&mut self) {
        self.login = format!("{:x}", self.chance.bits());
        (self.current, self.gone) = (0, false);
        self.spent.clear();
        self.hands.clear();
        let session = Session {
            refresh_token: Secret::new("rt"),
            identity: TokenIdentity::default(),
            since: 0,
            subject: None,
            values: Default::default(),
        };
        let credentials = Credentials { session: Some(session), ..Credentials::default() };
        self.put(SharedEntry { credentials, login: self.login.clone(), ..SharedEntry::default() });
    }

    fn put(&mut self, entry: SharedEntry) {
        self.entry = entry;
        self.version += 1;
        self.written = self.now;
    }

    fn put_if(&mut self, entry: SharedEntry, over: u64) -> bool {
        self.call();
        let is_made = over == self.version;
        if is_made {
            self.put(entry);
        }
        is_made
    }

    /// The store is called.
    fn call(&mut self) {
        let second = self.now as u64;
        self.second = if self.second.0 == second { (second, self.second.1 + 1) } else { (second, 1) };
        self.counts.calls += 1;
        self.counts.busiest = self.counts.busiest.max(self.second.1);
    }

    fn at(&mut self, wait: f64, event: impl FnOnce(&mut Simulation) + 'static) {
        self.number += 1;
        self.queue.push(Reverse((((self.now + wait) * 1e9) as u64, self.number)));
        self.events.insert(self.number, Box::new(event));
    }

    /// How long a message takes one way.
    fn net(&mut self, median: f64) -> f64 {
        let usual = (0.5 * self.chance.normal()).exp() * median / 2.0;
        usual + if self.chance.happens(self.world.slow) { self.chance.between(2.0, 15.0) } else { 0.0 }
    }

    /// `None`: refused as dead.
    fn provide(&mut self, login: &str, generation: u64) -> Option<u64> {
        self.counts.requests += 1;
        if login != self.login || self.gone {
            return None;
        }
        if generation == self.current {
            self.current += 1;
            self.spent.insert(generation, self.now);
            return Some(self.current);
        }
        if generation + 1 == self.current && self.now - self.spent[&generation] < self.world.grace {
            return Some(self.current);
        }
        self.gone = true;
        let newest = (login.to_string(), self.current);
        let is_stored = self.entry.login == login && self.entry.generation == self.current;
        let is_in_hand = self.hands.iter().any(|(worker, hand)| self.workers[*worker].alive && *hand == newest);
        self.counts.killed_alive += usize::from(is_stored || is_in_hand);
        None
    }

    fn start(&mut self) {
        let (timeout, grace) = (TIMEOUT, self.world.grace);
        let rate = 1.0 + self.chance.between(-0.02, 0.02);
        let deadline = Duration::from_secs_f64((self.now + timeout) * rate);
        let caller = Caller { host: "h".into(), pid: 1, deadline, grace: Duration::from_secs_f64(grace), spends: true };
        let dies = self.chance.happens(self.world.crash);
        let dies = dies.then(|| (1 + (self.chance.bits() % 8) as usize, (self.chance.bits() % 3) as usize));
        let renewal = Renewal::new(caller, None);
        self.workers.push(Worker { renewal, alive: true, rate, dies, requests: 0, waits: 0 });
        self.step(self.workers.len() - 1, Told::Begin);
    }

    fn clock(&self, worker: usize) -> Duration {
        Duration::from_secs_f64(self.now * self.workers[worker].rate)
    }

    fn crash(&mut self, worker: usize) {
        self.workers[worker].alive = false;
        self.hands.remove(&worker);
    }

    /// Goes on with what came of request `number`, once.
    fn tell(&mut self, worker: usize, number: u64, told: Told<u64>, pause: f64) {
        if self.workers[worker].waits != number {
            return;
        }
        self.workers[worker].waits = 0;
        if pause > 0.0 {
            self.at(pause, move |all| all.step(worker, told));
        } else {
            self.step(worker, told);
        }
    }

    fn step(&mut self, worker: usize, told: Told<u64>) {
        if !self.workers[worker].alive {
            return;
        }
        let now = self.clock(worker);
        let chance = RefCell::new(&mut self.chance);
        let step = self.workers[worker].renewal.next(told, now, &mut Ask { chance: &chance });
        let mut pause = 0.0;
        if self.chance.happens(self.world.pause) {
            pause = self.chance.exponential(8.0);
        }
        self.number += 1;
        let number = self.number;
        self.workers[worker].waits = number;
        let rate = self.workers[worker].rate;
        match step {
            Step::Done(outcome) => {
                self.workers[worker].alive = false;
                self.hands.remove(&worker);
                let is_served = matches!(outcome, Outcome::Served { .. } | Outcome::Renewed { .. });
                self.counts.served += usize::from(is_served);
            }
            Step::Sleep(wait) => {
                self.at(wait.as_secs_f64() / rate + pause, move |all| all.tell(worker, number, Told::Slept, 0.0));
            }
            Step::Read => self.request(worker, number, pause, STORE, 3.0 / rate, Told::Unreadable, |all, _| {
                all.call();
                let age = Some(Duration::from_secs_f64(all.now - all.written));
                Told::Read(Some(Box::new(Held { entry: all.entry.clone(), version: all.version, age })))
            }),
            Step::Write { entry, over } => {
                let unknown = Told::Written(Written::Unknown);
                self.request(worker, number, pause, STORE, 3.0 / rate, unknown, move |all, _| {
                    Told::Written(if all.put_if(*entry, over) { Written::Done(all.version) } else { Written::Lost })
                });
            }
            Step::Send { not_after, .. } if now > not_after => {
                self.at(0.0, move |all| all.tell(worker, number, Told::Late, 0.0));
            }
            Step::Send { held, over, reply, .. } => {
                self.beat(worker, number, (*held).clone(), over);
                let wait = reply.as_secs_f64() / rate;
                let median = self.world.provider;
                self.request(worker, number, pause, median, wait, Told::NoReply, move |all, is_waiting| {
                    let Some(generation) = all.provide(&held.login, held.generation) else {
                        return Told::Dead("dead".into());
                    };
                    if is_waiting {
                        all.hands.insert(worker, (held.login.clone(), generation));
                    }
                    let access = vec![SharedToken { token: Secret::new("{}"), left: Some(LIFE as u64) }];
                    Told::Issued(Box::new(SharedEntry { access, ..(*held).clone() }))
                });
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one request of the simulation in full")]
    fn request(
        &mut self,
        worker: usize,
        number: u64,
        mut pause: f64,
        median: f64,
        limit: f64,
        over: Told<u64>,
        arrive: impl FnOnce(&mut Simulation, bool) -> Told<u64> + 'static,
    ) {
        self.workers[worker].requests += 1;
        let requests = self.workers[worker].requests;
        let dies = self.workers[worker].dies.filter(|(at, _)| *at == requests).map(|(_, place)| place);
        if dies == Some(0) {
            return self.crash(worker);
        }
        let mut late = 0.0;
        if pause > 0.0 && self.chance.happens(self.world.gap) {
            (late, pause) = (pause, 0.0);
        }
        let there = self.net(median);
        self.at(late + there, move |all| {
            let is_waiting = all.workers[worker].alive && all.workers[worker].waits == number;
            let told = arrive(all, is_waiting);
            if dies == Some(1) {
                return all.crash(worker);
            }
            if all.chance.happens(all.world.drop) {
                return;
            }
            let back = all.net(median);
            all.at(back, move |all| match dies {
                Some(_) if all.workers[worker].waits == number => all.crash(worker),
                _ => all.tell(worker, number, told, pause),
            });
        });
        self.at(late + limit, move |all| {
            if all.workers[worker].waits == number {
                all.hands.remove(&worker);
                all.tell(worker, number, over, 0.0);
            }
        });
    }

    /// A second thread renews the lease while the first waits.
    fn beat(&mut self, worker: usize, number: u64, held: SharedEntry, over: u64) {
        let wait = self.workers[worker].renewal.lease().as_secs_f64() / 3.0 / self.workers[worker].rate;
        self.at(wait, move |all| {
            if !all.workers[worker].alive || all.workers[worker].waits != number {
                return;
            }
            let there = all.net(STORE);
            all.at(there, move |all| {
                let entry = SharedEntry { write: format!("{:x}", all.chance.bits()), ..held.clone() };
                if all.put_if(entry, over) {
                    let (version, back) = (all.version, all.net(STORE));
                    all.at(back, move |all| {
                        if all.workers[worker].waits == number {
                            all.workers[worker].renewal.renewed(version);
                        }
                        all.beat(worker, number, held, version);
                    });
                }
            });
        });
    }

    fn run(mut self) -> Counts {
        for _ in 0..self.world.epochs {
            self.workers.clear();
            for _ in 0..self.world.workers {
                let wait = self.chance.between(0.0, self.world.burst);
                self.at(wait, Simulation::start);
            }
            let until = self.now + self.world.burst.max(TIMEOUT) + 120.0;
            while let Some(Reverse((at, number))) = self.queue.pop() {
                if at as f64 / 1e9 >= until {
                    break;
                }
                self.now = at as f64 / 1e9;
                if let Some(event) = self.events.remove(&number) {
                    event(&mut self);
                }
            }
            self.now = until;
            self.queue.clear();
            self.events.clear();
            self.hands.clear();
            if self.gone || self.entry.ended.is_some() || self.entry.generation != self.current {
                self.counts.lost += 1;
                self.log_in();
            } else {
                // The next epoch begins when the token has run out.
                self.now = self.now.max(self.written + LIFE) + 1.0;
            }
        }
        self.counts
    }
}

/// Runs `world`, whose row in `docs/fleet.md` begins with `name`; at most `lost` and `killed` of a thousand sessions may be
/// lost, and killed while somebody still had the newest token.
fn at_most(name: &str, world: World, lost: f64, killed: f64) -> Counts {
    let counts = Simulation::new(world).run();
    let workers = (world.epochs * world.workers) as f64;
    let row = format!(
        "| {name} | {} | {} | {} | {} | {:.2} | {:.1} % | {:.1} |",
        world.workers,
        world.epochs,
        counts.lost,
        counts.killed_alive,
        counts.requests as f64 / world.epochs as f64,
        100.0 * counts.served as f64 / workers,
        counts.calls as f64 / workers,
    );
    println!("seed {}, at most {} calls a second: {row}", world.seed, counts.busiest);
    assert!(counts.lost as f64 <= lost * world.epochs as f64 / 1000.0, "{counts:?}");
    assert!(counts.killed_alive as f64 <= killed * world.epochs as f64 / 1000.0, "{counts:?}");
    is_in_the_document(&row);
    counts
}

/// The figures of the document are those that this simulation has. Elsewhere a logarithm may differ in its last digit.
fn is_in_the_document(text: &str) {
    let page = include_str!("../../../../docs/fleet.md");
    let is_usual = cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"));
    assert!(!is_usual || page.contains(text), "docs/fleet.md lacks: {text}");
}

#[test]
fn of_6000_sessions_of_20_machines_few_are_lost() {
    let counts = at_most("usual", USUAL, 5.0, 1.0);
    // One request an expiry, but for the repeats after crashes.
    assert!(counts.requests <= USUAL.epochs * 21 / 20, "{counts:?}");
}

#[test]
fn none_is_lost_where_no_machine_dies_or_stands_still_and_every_reply_arrives() {
    let world = World { crash: 0.0, pause: 0.0, drop: 0.0, seed: 2, ..USUAL };
    let counts = at_most("no crash, no pause, every reply arrives", world, 0.0, 0.0);
    assert_eq!(counts.requests, USUAL.epochs, "{counts:?}");
    assert_eq!(counts.served, USUAL.epochs * USUAL.workers, "{counts:?}");
}

#[test]
fn few_are_lost_where_no_machine_dies() {
    at_most("no crash", World { crash: 0.0, seed: 7, ..USUAL }, 2.0, 1.0);
}

#[test]
fn a_slow_provider_costs_no_more() {
    let world = World { provider: 6.0, epochs: 2000, seed: 3, ..USUAL };
    at_most("slow provider: 6 s", world, 10.0, 2.0);
}

#[test]
fn two_machines_and_two_hundred_are_like_twenty() {
    at_most("usual", World { workers: 2, epochs: 6000, seed: 4, ..USUAL }, 6.0, 1.0);
    at_most("usual", World { workers: 200, epochs: 500, seed: 5, ..USUAL }, 10.0, 2.0);
}

/// One machine in five dies, one message in fifty is stuck.
const HOSTILE: World = World { crash: 0.2, pause: 0.03, slow: 0.02, drop: 0.01, epochs: 2000, ..USUAL };

#[test]
fn the_providers_grace_saves_most_of_what_hostile_circumstances_cost() {
    let strict = at_most("hostile", World { seed: 6, ..HOSTILE }, 50.0, 5.0);
    let lenient = at_most("hostile, grace of 30 s", World { grace: 30.0, seed: 6, ..HOSTILE }, 5.0, 1.0);
    assert!(lenient.lost * 5 < strict.lost, "{lenient:?} {strict:?}");
}

/// What ten thousand runners ask of the store, all at once when the token has expired.
#[test]
fn ten_thousand_machines_make_one_request_too() {
    for (burst, seed) in [(2.0, 8), (60.0, 9)] {
        let world =
            World { workers: 10_000, epochs: 1, crash: 0.0, pause: 0.0, drop: 0.0, slow: 0.0, burst, seed, ..USUAL };
        let counts = Simulation::new(world).run();
        assert_eq!((counts.requests, counts.served, counts.lost), (1, 10_000, 0), "{counts:?}");
        let calls = counts.calls as f64 / world.workers as f64;
        let row = format!("| {burst} s | {calls:.2} | {} |", counts.busiest);
        println!("seed {seed}: {row}");
        is_in_the_document(&row);
    }
}
