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
//! | before it gives an unused lease back | renews it when the lease is over | once by each |
//! | before it writes that the session has ended | finds out itself when the lease is over: 4 | twice |

use crate::crash::fill;
use crate::shared_stores::vault;
use crate::support::apiax::{self, Apiax, Rotation};
use crate::support::openbao::OpenBao;
use crate::support::relay::{Act, Fault, Relay, Stop, Wire};
use crate::support::server::{Certified, Gate, Reply, Server};
use crate::support::spaces::{PROVIDER, Spaces};
use crate::support::{CANARY, Output, Running, Sandbox, Tok, figures, full_sweeps, now, until};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{PipeReader, PipeWriter};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

    /// A call of `machine` whose request the provider has, and answers once the gate is open.
    fn held(&self, machine: usize, more: &str) -> (Gate, Running) {
        let (gate, heard) = (self.apiax.server.hold(), self.apiax.server.count());
        let holder = self.get(machine, more);
        self.apiax.server.until(heard + 1);
        (gate, holder)
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
    /// It has stored the new session, and what it prints is not taken.
    Printing {
        writer: PipeWriter,
        _reader: PipeReader,
    },
}

impl Point {
    fn answer(world: &World) -> Point {
        let count = world.apiax.server.count();
        Point::Answer(world.apiax.server.hold(), count + 1)
    }

    fn printing() -> Point {
        let (reader, writer) = std::io::pipe().unwrap();
        fill(&writer);
        Point::Printing { writer, _reader: reader }
    }

    fn holder(&self, world: &World) -> Running {
        let run = world.machines[0].tok(["get", "apiax", "--timeout", "200s"]);
        match self {
            Point::Printing { writer, .. } => run.stdout(writer.try_clone().unwrap()).spawn(),
            _ => run.spawn(),
        }
    }

    fn reached(&self, world: &World) {
        match self {
            Point::Stop(stop) => stop.reached(),
            Point::Answer(_, count) => world.apiax.server.until(*count),
            Point::Printing { .. } => until("the new session is stored", || world.generation() == 1),
        }
    }

    /// What was on its way is lost with the machine.
    fn lose(&self) {
        match self {
            Point::Stop(stop) => stop.lose(),
            Point::Answer(gate, _) => gate.open(),
            Point::Printing { .. } => {}
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
    let world = World::new(vault!(), 3);
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
        ("when all is done", Box::new(|_| Point::printing()), Then::Takes, 0, 1),
        ("before it gives an unused lease back", Box::new(unused), Then::Renews, 0, 5),
        ("before it writes that the session has ended", Box::new(dead), Then::Lost, 0, 2),
    ];
    for (what, arrange, then, reused, asked) in &steps {
        world.log_in();
        let before = world.refreshes();
        let point = arrange(&world);
        let holder = point.holder(&world);
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

#[test]
fn the_holder_killed_at_any_instant_loses_the_session_in_the_one_window_alone() {
    let world = World::new(vault!(), 2);
    world.log_in();
    let started = Instant::now();
    world.get(0, "").wait().silent().line();
    let course = started.elapsed();
    let rounds = if full_sweeps() { 150 } else { 20 };
    let (mut killed, mut renewed, mut taken, mut lost) = (0, 0, 0, 0);
    for round in 0..rounds {
        world.log_in();
        let (started, heard) = (Instant::now(), world.apiax.server.count());
        let holder = world.get(0, "");
        let part = (f64::from(round) + random()) / f64::from(rounds);
        // All of it, and closer what follows the provider's answer: there a session can be lost.
        if round % 2 == 0 {
            std::thread::sleep(course.mul_f64(1.1 * part).saturating_sub(started.elapsed()));
        } else {
            world.apiax.server.until(heard + 1);
            std::thread::sleep(course.mul_f64(0.2 * part));
        }
        holder.signal(Signal::KILL);
        let ended = holder.wait();
        killed += usize::from(ended.code == 137);
        // What it has sent comes to the provider before the lease is over.
        let mut quiet = 0;
        until("what was sent has come", || {
            quiet = if world.apiax.server.is_idle() { quiet + 1 } else { 0 };
            quiet > 10
        });
        let (is_renewed, is_kept) = (world.apiax.state(|state| state.issued) == 2, world.generation() == 1);
        world.lease_runs_out();
        let other = world.get(1, "--timeout 200s").wait();
        match (is_renewed, is_kept) {
            (true, false) => {
                assert_eq!(ended.code, 137, "{ended}");
                has_ended(other);
                lost += 1;
            }
            (_, is_kept) => {
                let number = 1 + usize::from(is_renewed) + usize::from(!is_kept);
                other.silent().prints(&format!("{}\n", at(number)));
                (renewed, taken) = if is_kept { (renewed, taken + 1) } else { (renewed + 1, taken) };
                assert_eq!(world.reused(), 0);
            }
        }
    }
    assert!(killed > 0 && renewed > 0, "no run was hit in time: {killed}, {renewed}");
    figures(&format!(
        "kill -9 of the holder at {rounds} instants, a refresh of {course:?}: {killed} killed; another machine renewed {renewed}, \
         took the dead one's token {taken}, lost with the machine between the provider's answer and the store {lost}, elsewhere 0"
    ));
}

/// A number from 0 to 1.
fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}

// A store that cannot be reached for a while

/// The session is that of the provider's answer `number`, and everybody gets its token.
#[track_caller]
fn all_have(world: &World, number: usize) {
    assert_eq!((world.generation(), world.reused()), (serde_json::json!(number - 1), 0));
    for machine in 0..world.machines.len() {
        world.get(machine, "").wait().silent().prints(&format!("{}\n", at(number)));
    }
}

#[test]
fn a_new_session_is_kept_though_the_store_is_away_until_after_the_calls_deadline() {
    let world = World::new(vault!(), 2);
    world.log_in();
    let (gate, holder) = world.held(0, "--timeout 2s");
    world.relay.cut();
    gate.open();
    // Several attempts: the first of them ends when the call should have.
    world.relay.until_swallowed(Act::Keep, 2);
    world.relay.heal();
    holder.wait().silent().prints(&format!("{}\n", at(2)));
    all_have(&world, 2);
}

#[test]
fn a_renewal_of_the_lease_that_hangs_does_not_keep_the_new_session_from_the_store() {
    let world = World::new(vault!(), 2);
    world.log_in();
    let (gate, holder) = world.held(0, "");
    let renewal = world.relay.before(Act::Renew);
    renewal.reached();
    // Its reply never comes; that of the provider does.
    gate.open();
    until("the new session is kept", || world.generation() == 1);
    holder.wait().silent().prints(&format!("{}\n", at(2)));
    renewal.lose();
    all_have(&world, 2);
}

#[test]
fn a_lease_whose_renewal_fails_once_is_renewed_again() {
    let world = World::new(vault!(), 2);
    world.log_in();
    let (gate, holder) = world.held(0, "");
    let mut faults = [Fault::Say(Reply::reset()), Fault::LoseReply].into_iter();
    world.relay.rule(move |act| match act {
        Act::Renew => faults.next().unwrap_or(Fault::None),
        _ => Fault::None,
    });
    let before = world.vault.entry("apiax").1;
    // One that was lost, one whose reply was lost, and two that went well.
    until("the lease is renewed", || world.vault.entry("apiax").1 >= before + 2);
    gate.open();
    holder.wait().silent().prints(&format!("{}\n", at(2)));
    all_have(&world, 2);
}

#[test]
fn a_store_that_comes_back_before_the_deadline_is_no_trouble() {
    let world = World::new(vault!(), 1);
    let busy = Reply::json(429, serde_json::json!({"errors": ["request path \"secret\": rate limit quota exceeded"]}));
    let odd: [(&str, Reply); 5] = [
        ("reset", Reply::reset()),
        ("closed", Reply::nothing()),
        ("429", busy.header("Retry-After", "1")),
        ("no leader", Reply::new(307, "text/plain", "").header("Location", "http://127.0.0.1:9/v1/secret")),
        ("HTML of a gateway", Reply::html(502)),
    ];
    for (what, reply) in &odd {
        for act in [Act::Read, Act::Take, Act::Keep, Act::Other] {
            world.log_in();
            let count = if full_sweeps() { 6 } else { 2 };
            world.relay.say(act, count, reply);
            let output = world.get(0, "").wait();
            assert!(output.stdout == format!("{}\n", at(2)) && output.stderr.is_empty(), "{what}, {act:?}: {output}");
            assert!(world.relay.count(act) > count || act == Act::Other, "{what}, {act:?}");
            assert_eq!((world.generation(), world.reused()), (serde_json::json!(1), 0), "{what}, {act:?}");
        }
    }
}

/// A vault that begins sealed, in the place of the world's.
macro_rules! sealed {
    () => {
        match OpenBao::cluster(1, None) {
            Ok(mut nodes) => nodes.remove(0),
            Err(why) => $crate::skip::skip!("{why}"),
        }
    };
}

#[test]
fn a_vault_sealed_in_the_middle_of_a_refresh_keeps_the_new_session_once_it_is_open() {
    let world = World::new(sealed!(), 2);
    world.log_in();
    let (gate, holder) = world.held(0, "--timeout 2s");
    world.vault.does("PUT", "sys/seal", Value::Null);
    gate.open();
    until("the sealed vault was asked", || world.relay.count(Act::Keep) > 3);
    // Meanwhile others are told what it is, and the provider hears nothing of them.
    world.get(1, "--timeout 1s").wait().fails(7).says("the vault is sealed");
    world.vault.unseal();
    holder.wait().silent().prints(&format!("{}\n", at(2)));
    all_have(&world, 2);
    assert_eq!(world.refreshes(), 1);
}

#[test]
fn a_store_that_never_comes_back_gives_the_token_and_says_that_the_session_is_not_kept() {
    if !full_sweeps() {
        return;
    }
    let world = World::new(vault!(), 2);
    world.log_in();
    let (gate, holder) = world.held(0, "-q");
    world.relay.cut();
    gate.open();
    let output = holder.wait();
    output.prints(&format!("{}\n", at(2))).says("the new refresh token could not be stored").says("tok login apiax");
    world.relay.heal();
    world.lease_runs_out();
    has_ended(world.get(1, "").wait());
}

#[test]
fn a_vaults_token_that_is_revoked_in_the_middle_is_got_anew() {
    let mut world = World::new(vault!(), 3);
    world.log_in();
    let policy = r#"path "secret/data/ci/tok/*" { capabilities = ["create", "read", "update"] }"#;
    world.vault.does("PUT", "sys/policies/acl/tok", serde_json::json!({"policy": policy}));
    world.vault.does("POST", "sys/auth/approle", serde_json::json!({"type": "approle"}));
    world.vault.does("POST", "auth/approle/role/cron", serde_json::json!({"token_policies": "tok"}));
    let role = world.vault.does("GET", "auth/approle/role/cron/role-id", Value::Null);
    let secret = world.vault.does("POST", "auth/approle/role/cron/secret-id", serde_json::json!({}));
    let file = world.machines[1].file_arg("secret", secret["data"]["secret_id"].as_str().unwrap());
    world.machines[1].unset("VAULT_TOKEN").config(&format!(
        "[vault]\nauth = \"approle\"\nrole = {}\nsecret_id = {{ file = {file:?} }}\n",
        role["data"]["role_id"]
    ));
    // One that a program keeps fresh in its file.
    let agent = |world: &World, token: &str| {
        std::fs::write(world.machines[2].home().join(".vault-token"), token).unwrap();
    };
    world.machines[2].unset("VAULT_TOKEN");
    let tokens = [world.vault.token_for(policy), world.vault.token_for(policy)];
    agent(&world, &tokens[0]);
    for (number, machine) in [1, 2].into_iter().enumerate() {
        let (gate, holder) = world.held(machine, "--fresh");
        if machine == 1 {
            world.vault.does("POST", "sys/leases/revoke-prefix/auth/approle/login", serde_json::json!({"sync": true}));
        } else {
            world.vault.does("POST", "auth/token/revoke", serde_json::json!({"token": tokens[0]}));
            agent(&world, &tokens[1]);
        }
        gate.open();
        holder.wait().silent().prints(&format!("{}\n", at(2 + number)));
        assert_eq!((world.generation(), world.reused()), (serde_json::json!(1 + number), 0));
    }
}

#[test]
fn a_token_that_may_write_no_more_in_the_middle_is_told_and_another_machine_is_told_too() {
    if !full_sweeps() {
        return;
    }
    let mut world = World::new(vault!(), 2);
    world.log_in();
    let rights = |name: &str| format!(r#"path "secret/data/ci/tok/*" {{ capabilities = [{name}] }}"#);
    let token = world.vault.token_for(&rights(r#""read", "update""#));
    world.machines[0].set("VAULT_TOKEN", &token);
    let (gate, holder) = world.held(0, "");
    world.vault.does("PUT", "sys/policies/acl/test", serde_json::json!({"policy": rights(r#""read""#)}));
    gate.open();
    holder.wait().prints(&format!("{}\n", at(2))).says("the new refresh token could not be stored");
    world.lease_runs_out();
    has_ended(world.get(1, "").wait());
}

#[test]
fn an_entry_of_40_mib_is_the_stores_trouble_and_stays() {
    // The vault takes a while to read as much.
    let mib = if full_sweeps() { 40 } else { 2 };
    let world = World::new(sealed!(), 2);
    world.log_in();
    let (good, _) = world.vault.entry("apiax");
    world.vault.put("apiax", &format!("{{\"secrets\":{{}},\"x\":\"{}\"}}", "x".repeat(mib << 20)));
    let version = world.vault.entry_version("apiax");
    let heard = world.apiax.server.count();
    // Told at once: it does not pass.
    world.get(1, "").wait().fails(7).says("it is longer than 1 MiB").soon();
    world.get(0, "--fresh").wait().fails(7).soon();
    assert_eq!((world.apiax.server.count(), world.vault.entry_version("apiax")), (heard, version));
    world.vault.put("apiax", &good.to_string());
    world.get(1, "").wait().silent().prints(&format!("{}\n", at(2)));
}

#[test]
fn a_standby_without_a_leader_is_not_followed_to_where_it_sends() {
    let world = World::new(vault!(), 2);
    let elsewhere = Server::always(Reply::json(200, serde_json::json!({"data": {"version": 99}})));
    let place = format!("{}/v1/secret/data/ci/tok/apiax", elsewhere.url());
    for status in [307, 308] {
        for act in [Act::Take, Act::Keep] {
            world.log_in();
            world.relay.say(act, 3, &Reply::new(status, "text/plain", "").header("Location", &place));
            world.get(0, "").wait().silent().prints(&format!("{}\n", at(2)));
        }
        // With none to come, it is the store's trouble before anything is spent.
        world.log_in();
        world.relay.say(Act::Take, usize::MAX, &Reply::new(status, "text/plain", "").header("Location", &place));
        let before = world.refreshes();
        world.get(0, "--timeout 2s").wait().fails(7).says("the vault has no active node");
        assert_eq!(world.refreshes(), before);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_standby_that_answers_of_the_past_costs_no_session() {
    let world = World::new(vault!(), 2);
    world.log_in();
    // What a standby knows that has seen nothing since.
    let past = world.vault.read_reply("apiax");
    let (gate, holder) = world.held(0, "");
    // The other machine's standby has not heard of the lease: it asks for one of its own, in vain, and again.
    world.relay.say(Act::Read, 20, &Reply::json(200, past));
    let waiting = world.get(1, "--timeout 200s");
    until("it asks for a lease in vain", || world.relay.count(Act::Take) >= 4);
    gate.open();
    holder.wait().silent().prints(&format!("{}\n", at(2)));
    waiting.wait().silent().prints(&format!("{}\n", at(2)));
    all_have(&world, 2);
    assert_eq!(world.refreshes(), 1);
}

// Machines with networks and clocks of their own

/// A cluster of vaults, a provider, and machines in namespaces of their own where that can be.
struct Fleet {
    spaces: Option<Arc<Spaces>>,
    nodes: Vec<OpenBao>,
    apiax: Apiax,
    machines: Vec<Sandbox>,
    /// The words that give the processes of a machine its clock.
    clocks: Vec<Vec<String>>,
}

/// The fleet, or the end of the test as skipped.
macro_rules! fleet {
    ($nodes:expr, $machines:expr, $spaces:expr) => {{
        match OpenBao::cluster($nodes, $spaces.as_ref()) {
            Ok(nodes) => Fleet::new(nodes, $machines, $spaces),
            Err(why) => $crate::skip::skip!("{why}"),
        }
    }};
}

impl Fleet {
    /// Each machine has the address of one node, of standbys where there are some.
    fn new(nodes: Vec<OpenBao>, count: usize, spaces: Option<Arc<Spaces>>) -> Fleet {
        let provider = |names: &[&str]| {
            let certified = Certified::new(names, false);
            let place = if spaces.is_some() { PROVIDER } else { std::net::Ipv4Addr::LOCALHOST.into() };
            Apiax::start_as(|answer| Server::tls_at(place, certified, answer))
        };
        let apiax = match &spaces {
            Some(spaces) => spaces.hub.within(|| provider(&[&PROVIDER.to_string()])),
            None => provider(&["127.0.0.1"]),
        };
        let machines = (0..count).map(|number| {
            let mut sandbox = apiax.sandbox();
            let standbys = nodes.len() - 1;
            let node = if standbys > 0 { 1 + number % standbys } else { 0 };
            nodes[node].keeps(&mut sandbox);
            sandbox.set("SSL_CERT_FILE", apiax.server.ca_file());
            sandbox
        });
        let machines = machines.collect();
        Fleet { spaces, nodes, apiax, machines, clocks: vec![Vec::new(); count] }
    }

    fn tok(&self, machine: usize, line: &str) -> Tok {
        let tok = self.machines[machine].tok(line.split_whitespace());
        let mut words = self.spaces.as_ref().map(|spaces| spaces.machines[machine].enter()).unwrap_or_default();
        words.extend(self.clocks[machine].iter().cloned());
        match words.is_empty() {
            true => tok,
            false => tok.after(&format!("exec {} \"$0\" \"$@\"", words.join(" "))),
        }
    }

    /// A session whose access token has expired.
    fn log_in(&self) {
        let password = self.machines[0].file_arg("password", apiax::password());
        let line = format!("login apiax password --username {} --password-file {password}", apiax::USERNAME);
        self.tok(0, &line).run().prints("");
        self.machines[0].forget_cache();
        // The nodes have what the active one has, once they have seen this write.
        let (mut entry, _) = self.nodes[0].entry("apiax");
        entry.as_object_mut().unwrap().remove("access");
        self.nodes[0].put("apiax", &entry.to_string());
    }

    /// `count` processes, spread over the machines.
    fn get(&self, count: usize) -> Vec<Running> {
        (0..count).map(|number| self.tok(number % self.machines.len(), "get apiax --timeout 200s").spawn()).collect()
    }

    /// The provider has been asked once, for the token that all of them have.
    #[track_caller]
    fn one_refresh(&self, running: Vec<Running>) {
        let tokens: BTreeSet<String> = running.into_iter().map(|run| run.wait().silent().line()).collect();
        assert_eq!(tokens, BTreeSet::from([at(2)]));
        assert_eq!(self.apiax.grants(), ["password", "refresh_token"]);
        assert_eq!(self.apiax.state(|state| state.reused), 0);
    }
}

/// What gives a process another clock, where it is installed.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    found.find(|path| path.is_file())
}

#[test]
fn processes_on_machines_with_clocks_days_apart_make_one_refresh() {
    let spaces = match Spaces::lacking() {
        Some(why) => {
            crate::skip::skip_part!("{why}: a machine is a home of its own");
            None
        }
        None => Some(Arc::new(Spaces::new(4))),
    };
    let mut fleet = fleet!(1, 4, spaces.clone());
    let days = [0, -1, 1, 2];
    match faketime() {
        Some(library) => {
            // Only tok's: a program that becomes another leaves the library's shared memory behind.
            let clocks = days.map(|day| {
                let preload = format!("LD_PRELOAD={}", library.display());
                vec!["env".into(), preload, format!("FAKETIME={day:+}d"), "FAKETIME_DONT_FAKE_MONOTONIC=1".into()]
            });
            fleet.clocks = clocks.to_vec();
        }
        None => crate::skip::skip_part!("libfaketime is not installed: all machines have the same clock"),
    }
    fleet.log_in();
    let count = if full_sweeps() { 200 } else { 24 };
    let started = Instant::now();
    fleet.one_refresh(fleet.get(count));
    figures(&format!(
        "{count} processes on 4 machines ({}), clocks {}, one refresh: {:?}",
        if spaces.is_some() { "network namespaces" } else { "homes" },
        if faketime().is_some() { "days apart" } else { "the same" },
        started.elapsed()
    ));
    // Each reckons in its own time, and they are what they are said to be.
    for (number, day) in days.into_iter().enumerate().filter(|_| faketime().is_some()) {
        let shown: Value = serde_json::from_str(&fleet.tok(number, "get apiax --json").run().ok().stdout).unwrap();
        let until = shown["expires_at_unix"].as_i64().unwrap() - day * 86_400 - now();
        assert!((1000..1801).contains(&until), "{number}: {shown}");
    }
    // One whose clock is behind holds the lease, and others are ahead of it; and the other way round.
    for number in 0..4 {
        let line = fleet.tok(number, "get apiax --fresh").run().silent().line();
        assert_eq!(line, at(3 + number));
        fleet.machines.iter().for_each(Sandbox::forget_cache);
        let others: BTreeSet<String> = fleet.get(4).into_iter().map(|run| run.wait().silent().line()).collect();
        assert_eq!(others, BTreeSet::from([line]));
    }
    assert_eq!(fleet.apiax.state(|state| state.reused), 0);
}

/// The store is away for so long in the middle of a refresh: the holder keeps the new session all the same.
fn away_for(seconds: u64, spaces: Option<Arc<Spaces>>) {
    let nodes = match OpenBao::cluster(1, spaces.as_ref()) {
        Ok(nodes) => nodes,
        Err(why) => panic!("{why}"),
    };
    let fleet = Fleet::new(nodes, 4, spaces.clone());
    fleet.log_in();
    let gate = fleet.apiax.server.hold();
    let heard = fleet.apiax.server.count();
    // By the time that a call has unless it is told: 40 s are more.
    let holder = fleet.tok(0, "get apiax").spawn();
    fleet.apiax.server.until(heard + 1);
    let waiting: Vec<Running> = (1..4).map(|machine| fleet.tok(machine, "get apiax --timeout 200s").spawn()).collect();
    let cut = |is_cut: bool| match &spaces {
        Some(spaces) => spaces.cut_store(is_cut),
        None => fleet.nodes[0].signal(if is_cut { Signal::STOP } else { Signal::CONT }),
    };
    cut(true);
    gate.open();
    std::thread::sleep(Duration::from_secs(seconds));
    cut(false);
    holder.wait().silent().prints(&format!("{}\n", at(2)));
    fleet.one_refresh(waiting);
    assert_eq!(fleet.nodes[0].entry("apiax").0["generation"], 1);
}

#[test]
fn nobody_loses_the_session_while_the_store_is_cut_off_for_a_while() {
    if !full_sweeps() {
        return;
    }
    let how = match Spaces::lacking() {
        Some(why) => {
            crate::skip::skip_part!("{why}: the store stands still");
            "stopped"
        }
        None => "cut off",
    };
    crate::support::at_once([5, 15, 40], |seconds| {
        let spaces = Spaces::lacking().is_none().then(|| Arc::new(Spaces::new(4)));
        away_for(seconds, spaces);
        figures(&format!("store {how} for {seconds} s in the middle of a refresh: kept, 4 of 4 served, none lost"));
    });
}

// A cluster

/// Where nobody listens any more: how many came all the same.
fn trap(port: u16) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let its = count.clone();
    let mut listener = None;
    until("the port of the dead node is free", || {
        listener = TcpListener::bind(("127.0.0.1", port)).ok();
        listener.is_some()
    });
    let listener = listener.unwrap();
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            its.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

#[test]
fn the_active_node_killed_in_the_middle_costs_no_session() {
    if !full_sweeps() {
        return;
    }
    for moment in ["before the lease is taken", "while the provider answers"] {
        let fleet = fleet!(3, 4, None::<Arc<Spaces>>);
        fleet.log_in();
        let started = Instant::now();
        let (running, trapped) = if moment.starts_with("before") {
            fleet.nodes[0].kill();
            let trapped = trap(fleet.nodes[0].port());
            (fleet.get(40), trapped)
        } else {
            let gate = fleet.apiax.server.hold();
            let running = fleet.get(40);
            fleet.apiax.server.until(2);
            fleet.nodes[0].kill();
            let trapped = trap(fleet.nodes[0].port());
            gate.open();
            (running, trapped)
        };
        fleet.one_refresh(running);
        figures(&format!("active node killed {moment}: 40 of 40 served by one refresh, {:?}", started.elapsed()));
        // A standby without a leader sends to where it was: nobody goes there with a token.
        assert_eq!(trapped.load(Ordering::Relaxed), 0, "{moment}");
        assert!(fleet.nodes[1..].iter().any(OpenBao::is_active), "{moment}");
    }
}

#[test]
fn the_active_node_killed_at_the_write_of_the_new_session_costs_none() {
    if !full_sweeps() {
        return;
    }
    for is_stored in [false, true] {
        let mut fleet = fleet!(3, 4, None::<Arc<Spaces>>);
        let relay = Relay::to_address(fleet.nodes[1].address.clone(), fleet.nodes[1].ca.as_deref());
        fleet.machines.iter_mut().for_each(|machine| relay.keeps(machine));
        fleet.log_in();
        relay.clear();
        let stop = if is_stored { relay.after(Act::Keep) } else { relay.before(Act::Keep) };
        let running = fleet.get(40);
        stop.reached();
        fleet.nodes[0].kill();
        if is_stored {
            stop.lose()
        } else {
            stop.go()
        }
        fleet.one_refresh(running);
        assert!(relay.count(Act::Keep) > 1 || is_stored, "{is_stored}");
        figures(&format!(
            "active node killed {} the new session is stored: 40 of 40 served by one refresh",
            if is_stored { "when" } else { "before" }
        ));
    }
}

#[test]
fn standbys_that_answer_of_the_past_cost_no_session() {
    if !full_sweeps() {
        return;
    }
    let fleet = fleet!(3, 4, None::<Arc<Spaces>>);
    fleet.log_in();
    // Each asks another standby than the one before it, right after that one's write. Where its standby does not know of
    // that yet, it cannot tell that the token was there before it began; it never gets an older one.
    let (mut newest, mut taken) = (1, 0);
    for number in 0..300 {
        let line = fleet.tok(number % 4, "get apiax --fresh").run().silent().line();
        let is_new = line == at(newest + 1);
        assert!(is_new || line == at(newest), "{number}: {line} after {newest}");
        (newest, taken) = if is_new { (newest + 1, taken) } else { (newest, taken + 1) };
    }
    assert_eq!((fleet.apiax.grants().len(), fleet.apiax.state(|state| state.reused)), (newest, 0));
    figures(&format!(
        "300 calls, each by another standby than the one before: {} refreshes, none lost; {taken} took the token of the one before",
        newest - 1
    ));
}
