//! Machines with a network and a host name of their own, in Linux namespaces: a hub with two networks, one to the store
//! and one to the provider, and machines with a cable to each. They are gone with the processes that hold them.

use crate::child::{LIMIT_OF_A_SERVICE, Program, Start};
use crate::skip;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

/// Where the store stands in the hub, and where the provider.
pub const STORE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 11, 0, 1));
/// Where the provider stands.
pub const PROVIDER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 12, 0, 1));

/// A network of its own, and a host name.
pub struct Space {
    pid: u32,
    _holder: Program,
}

impl Space {
    fn new(name: &str) -> Space {
        let mut command = Command::new("unshare");
        let script = format!("hostname {name} && ip link set lo up && echo ready && exec sleep 7200");
        command.args(["--net", "--uts", "sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = Program::start(&mut command, LIMIT_OF_A_SERVICE).expect("unshare");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "no namespace");
        Space { pid: holder.id(), _holder: holder }
    }

    /// Runs `work` on a thread that has this network.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.pid)).expect("its network");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The words that let a command run there.
    pub fn enter(&self) -> Vec<String> {
        let of = |kind: &str, name: &str| format!("--{kind}=/proc/{}/ns/{name}", self.pid);
        vec!["nsenter".into(), of("net", "net"), of("uts", "uts"), "--".into()]
    }

    #[track_caller]
    fn does(&self, line: &str) {
        let words = self.enter();
        let output = Command::new(&words[0]).args(&words[1..]).args(["sh", "-ec", line]).finish().expect("nsenter");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A hub and its machines.
pub struct Spaces {
    /// The hub: store and provider stand in it.
    pub hub: Space,
    /// The machines.
    pub machines: Vec<Space>,
}

impl Spaces {
    /// Why there can be none here.
    pub fn lacking() -> Option<String> {
        if !cfg!(target_os = "linux") || !skip::is_root() {
            return Some("only root can make network namespaces".into());
        }
        skip::lacking(&["unshare", "nsenter", "ip", "bridge"]).map(|program| format!("{program} is not installed"))
    }

    /// `count` machines.
    pub fn new(count: usize) -> Spaces {
        let hub = Space::new("hub");
        for (name, address) in [("store", STORE), ("provider", PROVIDER)] {
            hub.does(&format!(
                "ip link add {name} type bridge && ip addr add {address}/24 dev {name} && ip link set {name} up"
            ));
        }
        let machines: Vec<Space> = (0..count).map(|number| Space::new(&format!("machine-{number}"))).collect();
        for (number, machine) in machines.iter().enumerate() {
            for (side, net) in [("store", "10.11.0"), ("provider", "10.12.0")] {
                hub.does(&format!(
                    "ip link add {side}-{number} type veth peer name {side} netns {} && ip link set {side}-{number} master {side} up",
                    machine.pid
                ));
                machine.does(&format!("ip addr add {net}.{}/24 dev {side} && ip link set {side} up", number + 2));
            }
        }
        Spaces { hub, machines }
    }

    /// Packets between the store and the machines are dropped from now on, or no more.
    pub fn cut_store(&self, is_cut: bool) {
        for number in 0..self.machines.len() {
            self.hub.does(&format!("bridge link set dev store-{number} state {}", if is_cut { 0 } else { 3 }));
        }
    }
}
