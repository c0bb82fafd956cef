//! One session, many machines, and what goes wrong between them: machines that are killed, a store that cannot be reached
//! for a while, that is sealed, or that answers of the past. The store is a real OpenBao, each fault comes at a chosen
//! request ([`crate::support::relay`]), and the provider is strict: a refresh token that comes twice ends the session.
//!
//! Where the machine that renews the session is killed, and what another machine gets then
//! (`the_holder_killed_at_each_step`):
//!
//! | killed | another machine | refresh token sent |
//! |---|---|---|
//! | before its lease is written | renews the session at once | once |
//! | once its lease is stored, before it knows | renews it when the lease is over | once |
//! | before it sends the refresh token | renews it when the lease is over | once |
//! | while the provider has it, not renewed | renews it when the lease is over | twice, the first not taken |
//! | while the provider answers | **4: the session has ended** | twice |
//! | … with a provider's grace period | renews it when the lease is over | twice, both taken |
//! | with the reply, before it is written | **4: the session has ended** | twice |
//! | once the new session is stored, before it knows | takes its token | once |
//! | when all is done, before it prints | takes its token | once |
//! | before it gives an unused lease back | renews it when the lease is over | once |
//! | before it writes that the session has ended | finds out itself when the lease is over: 4 | twice |

use crate::support::apiax::{self, Apiax, Rotation};
use crate::support::openbao::OpenBao;
use crate::support::relay::{Act, Relay, Stop, Wire};
use crate::support::server::{Gate, Reply, Server};
use crate::support::{CANARY, Output, Running, Sandbox};
use rustix::process::Signal;
use serde_json::Value;

/// The vault, or the end of the test as skipped.
macro_rules! openbao {
    () => {
        match $crate::support::openbao::OpenBao::start() {
            Ok(vault) => vault,
            Err(why) => $crate::skip::skip!("{why}"),
        }
    };
}

fn at(number: usize) -> String {
    format!("at-{CANARY}-{number}")
}

/// A provider, a vault, and what is between them and the machines.
struct World {
    vault: OpenBao,
    relay: Relay,
    apiax: Apiax,
    wire: Wire,
    machines: Vec<Sandbox>,
}

impl World {
    fn new(vault: OpenBao, machines: usize) -> World {
        let relay = Relay::to(&vault);
        let apiax = Apiax::start_as(|answer| Server::tls(answer));
        let wire = Wire::to(apiax.server.port());
        let mut world = World { vault, relay, apiax, wire, machines: Vec::new() };
        world.machines = (0..machines).map(|_| world.machine()).collect();
        world
    }

    /// One that knows nobody yet.
    fn machine(&self) -> Sandbox {
        let mut sandbox = Sandbox::new();
        sandbox.set("TOK_APIAX_BASE_URL", format!("https://127.0.0.1:{}", self.wire.port()));
        sandbox.set("SSL_CERT_FILE", self.apiax.server.ca_file());
        self.relay.keeps(&mut sandbox);
        sandbox
    }

    /// A session of which there is no access token left, as when all have expired; nothing has gone wrong yet.
    fn log_in(&self) {
        self.relay.clear();
        self.apiax.state(|state| {
            state.alive.clear();
            (state.reused, state.issued) = (0, 0);
            state.spent.clear();
            state.rotation = Rotation::Strict;
        });
        self.machines.iter().for_each(Sandbox::forget_cache);
        apiax::login(&self.machines[0]);
        self.machines[0].forget_cache();
        let (mut entry, _) = self.vault.entry("apiax");
        entry.as_object_mut().unwrap().remove("access");
        self.vault.put("apiax", &entry.to_string());
        self.relay.clear();
    }

    fn get(&self, machine: usize, more: &str) -> Running {
        self.machines[machine].tok(["get", "apiax"]).args(more.split_whitespace()).spawn()
    }

    /// 20 s and more go by on the vault's clock: a lease that is there by now is over.
    fn lease_runs_out(&self) {
        self.relay.later(self.vault.entry("apiax").1, 21);
    }

    /// How often the provider was asked to renew the session.
    fn refreshes(&self) -> usize {
        self.apiax.grants().iter().filter(|grant| *grant == "refresh_token").count()
    }

    fn reused(&self) -> usize {
        self.apiax.state(|state| state.reused)
    }

    /// The session's generation, and whose access token it has brought.
    fn generation(&self) -> Value {
        self.vault.entry("apiax").0["generation"].clone()
    }
}

/// Where the holder of the lease is to be killed.
enum Point {
    Stop(Stop),
    /// The provider has made up its answer to this request, counted from the first.
    Answer(Gate, usize),
}

impl Point {
    fn answer(world: &World) -> Point {
        let count = world.apiax.server.count();
        Point::Answer(world.apiax.server.hold(), count + 1)
    }

    fn reached(&self, world: &World) {
        match self {
            Point::Stop(stop) => stop.reached(),
            Point::Answer(_, count) => world.apiax.server.until(*count),
        }
    }

    /// What was on its way is lost with the machine.
    fn lose(&self) {
        match self {
            Point::Stop(stop) => stop.lose(),
            Point::Answer(gate, _) => gate.open(),
        }
    }
}

/// What another machine gets when the holder is dead.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// A token of its own request.
    Renews,
    /// The token of the dead one.
    Takes,
    /// Nothing: the session is lost with the machine, and a person is told so.
    Lost,
}

#[track_caller]
fn has_ended(output: Output) {
    output.fails(4).says("the session has ended").hints_at("tok login apiax");
}

#[test]
fn the_holder_killed_at_each_step_leaves_what_the_protocol_says() {
    let world = World::new(openbao!(), 3);
    let relay = |act, at: fn(&Relay, Act) -> Stop| move |world: &World| Point::Stop(at(&world.relay, act));
    let dead = |world: &World| {
        world.apiax.state(|state| state.alive.clear());
        Point::Stop(world.relay.before(Act::End))
    };
    let not_renewed = |world: &World| {
        world.apiax.server.next(Reply::json(500, serde_json::json!({"error": "server_error"})));
        Point::answer(world)
    };
    let overlap = |world: &World| {
        world.apiax.state(|state| state.rotation = Rotation::Overlap);
        Point::answer(world)
    };
    let unused = |world: &World| {
        for _ in 0..4 {
            world.apiax.server.next(Reply::json(503, serde_json::json!({"error": "temporarily_unavailable"})));
        }
        Point::Stop(world.relay.before(Act::GiveBack))
    };
    // What it is at when it is killed, what the others get, how often the refresh token came to be used twice, and how
    // many requests the provider has had from all.
    type Arrange<'a> = Box<dyn Fn(&World) -> Point + 'a>;
    let steps: [(&str, Arrange, Then, usize, usize); 11] = [
        ("before its lease is written", Box::new(relay(Act::Take, Relay::before)), Then::Renews, 0, 1),
        ("once its lease is stored", Box::new(relay(Act::Take, Relay::after)), Then::Renews, 0, 1),
        ("before it sends the refresh token", Box::new(|world| Point::Stop(world.wire.stop())), Then::Renews, 0, 1),
        ("while the provider has it, not renewed", Box::new(not_renewed), Then::Renews, 0, 2),
        ("while the provider answers", Box::new(Point::answer), Then::Lost, 1, 2),
        ("while a provider with a grace period answers", Box::new(overlap), Then::Renews, 0, 2),
        ("with the reply, before it is written", Box::new(relay(Act::Keep, Relay::before)), Then::Lost, 1, 2),
        ("once the new session is stored", Box::new(relay(Act::Keep, Relay::after)), Then::Takes, 0, 1),
        ("when all is done", Box::new(|world| Point::Stop(after_all(world))), Then::Takes, 0, 1),
        ("before it gives an unused lease back", Box::new(unused), Then::Renews, 0, 5),
        ("before it writes that the session has ended", Box::new(dead), Then::Lost, 0, 2),
    ];
    for (what, arrange, then, reused, asked) in &steps {
        world.log_in();
        let before = world.refreshes();
        let point = arrange(&world);
        let holder = world.get(0, "--timeout 200s");
        point.reached(&world);
        // One that waits for it, and one that comes later.
        let waiting = world.get(1, "--timeout 200s");
        holder.signal(Signal::KILL);
        assert_eq!(holder.wait().code, 137, "{what}");
        world.lease_runs_out();
        point.lose();
        let waited = waiting.wait();
        let asked_by_now = world.refreshes() - before;
        match then {
            Then::Renews | Then::Takes => {
                let line = waited.silent().line();
                world.get(2, "").wait().silent().prints(&format!("{line}\n"));
            }
            Then::Lost => {
                has_ended(waited);
                has_ended(world.get(2, "").wait());
            }
        }
        assert_eq!(asked_by_now, *asked, "{what}");
        assert_eq!(world.refreshes() - before, *asked, "{what}: whoever comes later does not ask again");
        assert_eq!(world.reused(), *reused, "{what}");
        assert_eq!(world.vault.entry("apiax").0.get("lease"), None, "{what}");
        if *then != Then::Lost {
            // The session lives.
            world.get(2, "--fresh").wait().silent().line();
            assert_eq!(world.reused(), *reused, "{what}");
        }
    }
}

/// The first read once the new session is stored.
fn after_all(world: &World) -> Stop {
    let (stop, mut is_kept, mut its) = (Stop::default(), false, None);
    its.replace(stop.clone());
    world.relay.rule(move |act| {
        is_kept |= act == Act::Keep;
        match (is_kept && act == Act::Read).then(|| its.take()).flatten() {
            Some(stop) => crate::support::relay::Fault::Before(stop),
            None => crate::support::relay::Fault::None,
        }
    });
    stop
}
