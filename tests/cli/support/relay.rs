//! Between `tok` and others, with the faults of a network at a chosen request, by handshakes: [`Relay`] knows the requests
//! of a vault, [`Wire`] only connections.

use super::openbao::{OpenBao, root};
use super::server::{Gate, Received, Reply, Server, lock};
use super::{Sandbox, until};
use crate::child::LIMIT;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

/// What a request is for, by what it would write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Reads the entry.
    Read,
    /// Writes a lease that was not there.
    Take,
    /// Writes the same lease once more.
    Renew,
    /// Takes the lease away, and nothing has come of it.
    GiveBack,
    /// Writes what the provider has issued.
    Keep,
    /// Writes that the session has ended.
    End,
    /// Writes a new session.
    Login,
    /// Anything else.
    Other,
}

/// What becomes of a request.
pub enum Fault {
    /// It is passed on.
    None,
    /// It stops before it is passed on.
    Before(Stop),
    /// It is passed on, and its reply stops.
    After(Stop),
    /// It is passed on, and its reply is lost.
    LoseReply,
    /// It is not passed on: this is the answer.
    Say(Reply),
}

/// Where a request waits for the test.
#[derive(Clone, Default)]
pub struct Stop(Arc<(Mutex<Stopped>, Condvar)>);

#[derive(Default)]
struct Stopped {
    is_reached: bool,
    /// Whether it goes on, once that is decided.
    passes: Option<bool>,
}

impl Stop {
    /// Waits until a request is there.
    #[track_caller]
    pub fn reached(&self) {
        let state = lock(&self.0.0);
        let waited = self.0.1.wait_timeout_while(state, LIMIT, |state| !state.is_reached);
        let (state, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(state.is_reached, "waited in vain for a request to stop");
    }

    /// Lets it go on.
    pub fn go(&self) {
        self.decide(true);
    }

    /// Closes its connection.
    pub fn lose(&self) {
        self.decide(false);
    }

    fn decide(&self, passes: bool) {
        lock(&self.0.0).passes = Some(passes);
        self.0.1.notify_all();
    }

    fn wait_here(&self) -> bool {
        let mut state = lock(&self.0.0);
        state.is_reached = true;
        self.0.1.notify_all();
        let waited = self.0.1.wait_timeout_while(state, LIMIT, |state| state.passes.is_none());
        let (state, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        state.passes.unwrap_or(false)
    }
}

type Rule = Box<dyn FnMut(Act) -> Fault + Send>;

#[derive(Default)]
struct State {
    /// What has come so far.
    acts: Vec<Act>,
    /// The writes that take a lease: each may come several times, as those that keep what was issued.
    takes: BTreeSet<String>,
    leases: BTreeSet<String>,
    generations: BTreeSet<(String, u64)>,
    keeps: BTreeSet<String>,
    rule: Option<Rule>,
    /// While nothing comes through.
    cut: Option<Gate>,
    swallowed: Vec<Act>,
    /// Up to which version entries are older, by the vault's clock, and by how many seconds.
    older: (u64, i64),
}

/// An HTTP relay to a vault.
pub struct Relay {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Relay {
    /// To that vault.
    pub fn to(vault: &OpenBao) -> Relay {
        Relay::to_address(vault.address.clone(), vault.ca.as_deref())
    }

    /// To the vault at `address`, vouched for by `ca`.
    pub fn to_address(address: String, ca: Option<&Path>) -> Relay {
        let mut tls = ureq::tls::TlsConfig::builder();
        if let Some(ca) = ca {
            let ca = ureq::tls::Certificate::from_pem(&std::fs::read(ca).expect("the CA")).expect("a certificate");
            tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(&[ca]));
        }
        let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).max_redirects(0);
        let agent = config.max_redirects_will_error(false).tls_config(tls.build()).build().new_agent();
        let state: Arc<Mutex<State>> = Arc::default();
        let its = state.clone();
        let server = Server::new(move |request| answer(&its, request, &|| forward(&agent, &address, &its, request)));
        Relay { server, state }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Lets `sandbox` keep its sessions in the vault behind it.
    pub fn keeps(&self, sandbox: &mut Sandbox) {
        sandbox.set("TOK_STORE", "vault:secret/ci/tok").set("VAULT_ADDR", self.url()).set("VAULT_TOKEN", root());
    }

    /// What becomes of each request from now on.
    pub fn rule(&self, rule: impl FnMut(Act) -> Fault + Send + 'static) {
        lock(&self.state).rule = Some(Box::new(rule));
    }

    /// Every request is passed on from now on.
    pub fn clear(&self) {
        let mut state = lock(&self.state);
        (state.rule, state.older) = (None, (0, 0));
        state.acts.clear();
        state.swallowed.clear();
    }

    /// The next request for `act` stops before it is passed on.
    pub fn before(&self, act: Act) -> Stop {
        self.once(act, Fault::Before)
    }

    /// The reply to the next request for `act` stops.
    pub fn after(&self, act: Act) -> Stop {
        self.once(act, Fault::After)
    }

    fn once(&self, act: Act, fault: impl Fn(Stop) -> Fault + Send + 'static) -> Stop {
        let stop = Stop::default();
        let mut its = Some(stop.clone());
        self.rule(move |now| match (now == act).then(|| its.take()).flatten() {
            Some(stop) => fault(stop),
            None => Fault::None,
        });
        stop
    }

    /// The first `count` requests for `act` get this answer, and the vault knows nothing of them.
    pub fn say(&self, act: Act, mut count: usize, reply: &Reply) {
        let reply = reply.clone();
        self.rule(move |now| match now == act && count > 0 {
            true => {
                count -= 1;
                Fault::Say(reply.clone())
            }
            false => Fault::None,
        });
    }

    /// From now on every request is swallowed: no answer, and the connection stands.
    pub fn cut(&self) {
        lock(&self.state).cut = Some(Gate::default());
    }

    /// Everything comes through again; what was swallowed is lost.
    pub fn heal(&self) {
        if let Some(gate) = lock(&self.state).cut.take() {
            gate.open();
        }
    }

    /// Waits until `count` requests for `act` were swallowed.
    #[track_caller]
    pub fn until_swallowed(&self, act: Act, count: usize) {
        until(&format!("{count} swallowed: {act:?}"), || {
            lock(&self.state).swallowed.iter().filter(|one| **one == act).count() >= count
        });
    }

    /// How many requests for `act` have come since it was cleared.
    pub fn count(&self, act: Act) -> usize {
        lock(&self.state).acts.iter().filter(|one| **one == act).count()
    }

    /// Lets `seconds` go by on the vault's clock, as to entries up to `version`.
    pub fn later(&self, version: u64, seconds: i64) {
        lock(&self.state).older = (version, seconds);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.heal();
    }
}

fn answer(state: &Mutex<State>, request: &Received, forward: &dyn Fn() -> Reply) -> Reply {
    let (fault, cut) = {
        let mut state = lock(state);
        let act = state.act(request);
        state.acts.push(act);
        match state.cut.clone() {
            Some(gate) => {
                state.swallowed.push(act);
                (Fault::None, Some(gate))
            }
            None => (state.rule.as_mut().map_or(Fault::None, |rule| rule(act)), None),
        }
    };
    if let Some(gate) = cut {
        gate.pass();
        return Reply::nothing();
    }
    match fault {
        Fault::None => forward(),
        Fault::Before(stop) => match stop.wait_here() {
            true => forward(),
            false => Reply::nothing(),
        },
        Fault::After(stop) => {
            let reply = forward();
            match stop.wait_here() {
                true => reply,
                false => Reply::nothing(),
            }
        }
        Fault::LoseReply => {
            forward();
            Reply::nothing()
        }
        Fault::Say(reply) => reply,
    }
}

impl State {
    fn act(&mut self, request: &Received) -> Act {
        let is_entry = request.path().contains("/data/");
        match request.method.as_str() {
            "GET" if is_entry => return Act::Read,
            "POST" if is_entry => {}
            _ => return Act::Other,
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let entry: Value =
            body["data"]["entry"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let write = text(&entry["write"]);
        let is_new = self.generations.insert((text(&entry["login"]), entry["generation"].as_u64().unwrap_or(0)));
        match entry["lease"]["id"].as_str() {
            _ if entry["ended"].is_object() => Act::End,
            Some(_) if self.takes.contains(&write) => Act::Take,
            Some(id) if self.leases.insert(id.into()) => {
                self.takes.insert(write);
                Act::Take
            }
            Some(_) => Act::Renew,
            None if self.keeps.contains(&write) => Act::Keep,
            None if is_new && entry["generation"] != 0 => {
                self.keeps.insert(write);
                Act::Keep
            }
            None if is_new => Act::Login,
            None => Act::GiveBack,
        }
    }
}

/// What the vault answers.
fn forward(agent: &ureq::Agent, address: &str, state: &Mutex<State>, request: &Received) -> Reply {
    let mut built = ureq::http::Request::builder().method(request.method.as_str());
    built = built.uri(format!("{address}{}", request.target));
    for name in ["X-Vault-Token", "X-Vault-Namespace", "X-Vault-Request", "Content-Type"] {
        if let Some(value) = request.header(name) {
            built = built.header(name, value);
        }
    }
    let sent = match request.body.is_empty() {
        true => agent.run(built.body(()).expect("a request")),
        false => agent.run(built.body(&request.body[..]).expect("a request")),
    };
    let Ok(mut came) = sent else { return Reply::nothing() };
    let Ok(body) = came.body_mut().with_config().limit(100 << 20).read_to_vec() else { return Reply::nothing() };
    let header = |name: &str| came.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
    let mut reply = Reply::new(came.status().as_u16(), "application/json", body);
    if let Some(date) = header("date") {
        let (version, seconds) = lock(state).older;
        let metadata: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let is_older = metadata["data"]["metadata"]["version"].as_u64().is_some_and(|its| its <= version);
        reply = reply.header("Date", &if is_older { shifted(&date, seconds) } else { date });
    }
    for name in ["Location", "Retry-After"] {
        if let Some(value) = header(name) {
            reply = reply.header(name, &value);
        }
    }
    reply
}

/// An HTTP date, so many seconds later.
fn shifted(date: &str, seconds: i64) -> String {
    let date = date.strip_suffix(" GMT").expect("an HTTP date");
    let date = jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S", date).expect("an HTTP date");
    let later = date.saturating_add(jiff::Span::new().seconds(seconds));
    format!("{} GMT", later.strftime("%a, %d %b %Y %H:%M:%S"))
}

/// A TCP relay to a port of this machine.
pub struct Wire {
    port: u16,
    next: Arc<Mutex<Option<Stop>>>,
}

impl Wire {
    /// To that port of 127.0.0.1.
    pub fn to(port: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let its_port = listener.local_addr().expect("its address").port();
        let next: Arc<Mutex<Option<Stop>>> = Arc::default();
        let its = next.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let stop = lock(&its).take();
                std::thread::spawn(move || {
                    if stop.is_none_or(|stop| stop.wait_here()) {
                        let _ = join(client, port);
                    }
                });
            }
        });
        Wire { port: its_port, next }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next connection stops before a byte of it is passed on.
    pub fn stop(&self) -> Stop {
        let stop = Stop::default();
        *lock(&self.next) = Some(stop.clone());
        stop
    }
}

/// Passes on both ways until both have ended.
fn join(client: TcpStream, port: u16) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port))?;
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let back = std::thread::spawn(move || copy(to, from));
    copy(client, server);
    let _ = back.join();
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0; 16384];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
