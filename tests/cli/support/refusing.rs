//! A port where nobody listens, and nobody else can: it is bound, so no other program gets it meanwhile.
#![allow(dead_code)] // not every test crate uses all of it

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;

/// Connections to it are refused as long as it lives.
pub struct Refusing {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Refusing {
    /// On a free port of 127.0.0.1.
    pub fn new() -> Refusing {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        // As std does for each of its own: no program that is started inherits it.
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).expect("a flag");
        bind(&socket, &SocketAddr::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))).expect("a port on loopback");
        let address = getsockname(&socket).expect("its address").try_into().expect("an address of IPv4");
        Refusing { socket, address }
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as an address of HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on somebody listens there.
    pub fn listen(self) -> TcpListener {
        listen(&self.socket, 16).expect("it can listen");
        TcpListener::from(self.socket)
    }
}

/// A port of 127.0.0.1 that is free, for a program that is told to listen there. It lies below those that the system
/// gives to whoever wants any (from 32768 on with Linux, 49152 elsewhere), and differs from process to process.
pub fn free_port() -> u16 {
    let first = std::process::id();
    let ports = (0..20_000).map(|n| 10_000 + ((first * 7 + n) % 20_000) as u16);
    let mut free = ports.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().expect("a free port")
}
