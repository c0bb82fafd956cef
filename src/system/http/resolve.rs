//! Looks up the addresses of a host name, within the deadline.

use crate::system::process::{self, End};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// What ureq's list of addresses holds at most.
const MOST: usize = 16;

/// Where `getent` is looked for. Fixed places, so that the program can be run without any environment.
const GETENT: [&str; 3] = ["/usr/bin/getent", "/bin/getent", "/run/current-system/sw/bin/getent"];

/// The most that is read of `getent`'s answer, in bytes.
const GETENT_SAYS: u64 = 64 << 10;

/// The system's lookup, on a separate thread: `getaddrinfo` has no deadline. It asks for IPv6 and IPv4 at once and
/// returns both together, so the first answer gets no head start (RFC 8305 §3).
#[derive(Debug)]
pub(super) struct System;

/// A lookup that failed, unless the system said that the name does not exist.
#[derive(Debug)]
pub(super) struct LookupFailed(pub io::Error);

impl std::fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for LookupFailed {}

impl Resolver for System {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let mut found = self.empty();
        for address in lookup(super::unbracketed(host), port, timeout)?.into_iter().take(MOST) {
            found.push(address);
        }
        Ok(found)
    }
}

/// A lookup that could not start.
#[derive(Debug)]
pub(super) struct NoThread;

impl std::fmt::Display for NoThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no thread for the lookup")
    }
}

impl std::error::Error for NoThread {}

/// The addresses of `host`, at least one, each with `port`.
pub(super) fn lookup(host: &str, port: u16, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
    let limit = *timeout.after;
    if let Some(addresses) = without_lookup(host) {
        return Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
    }
    let until = Instant::now().checked_add(limit);
    let (answer, answered) = sync_channel(1);
    let name = host.to_string();
    thread::Builder::new()
        .name("lookup".into())
        .spawn(move || answer.send((name.as_str(), port).to_socket_addrs().map(Vec::from_iter)).ok())
        .map_err(|_| Error::Other(Box::new(NoThread)))?;
    let error = match answered.recv_timeout(limit) {
        Ok(Ok(addresses)) if !addresses.is_empty() => return Ok(addresses),
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error),
        Err(RecvTimeoutError::Timeout) => return Err(Error::Timeout(timeout.reason)),
        Err(RecvTimeoutError::Disconnected) => None,
    };
    // musl reads /etc/hosts and asks DNS, and ignores nsswitch.conf: mDNS, LDAP, systemd's resolver.
    if cfg!(target_env = "musl") {
        let left = until.map_or(limit, |until| until.saturating_duration_since(Instant::now()));
        let addresses = getent(&GETENT, host, left);
        if !addresses.is_empty() {
            return Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
        }
    }
    Err(match error {
        Some(error) if may_pass(&error) => Error::Io(io::Error::other(LookupFailed(error))),
        _ => Error::HostNotFound,
    })
}

/// Whether it was no answer rather than "no such name" (`EAI_AGAIN`). std keeps the text alone: the first is glibc's
/// and the BSDs', the second musl's.
fn may_pass(error: &io::Error) -> bool {
    let text = error.to_string();
    text.contains("Temporary failure") || text.contains("Try again")
}

/// The addresses that need no lookup: an address itself, and `localhost`, which must never lead off this machine
/// whatever a name server says (RFC 6761 §6.3).
fn without_lookup(host: &str) -> Option<Vec<IpAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    host.parse().ok().map(|ip| vec![ip])
}

/// What the system's `getent ahosts` says of `host`; nothing if it cannot be asked or does not answer in time.
fn getent(places: &[&str], host: &str, limit: Duration) -> Vec<IpAddr> {
    // A name is an argument here: one that begins like a flag is not a host name.
    if host.is_empty() || host.starts_with('-') {
        return Vec::new();
    }
    // The limit may be effectively infinite.
    let deadline = Instant::now() + limit.min(Duration::from_secs(3600));
    let ended = places.iter().find_map(|program| {
        let mut command = Command::new(program);
        command.args(["ahosts", host]).env_clear(); // it may hold secrets (`TOK_*`)
        process::run(&mut command, None, deadline, GETENT_SAYS).ok()
    });
    match ended {
        Some(End::Ended(said)) => addresses(&String::from_utf8_lossy(&said.stdout)),
        _ => Vec::new(),
    }
}

/// The addresses in `getent ahosts`' output: the first word of each line, one line for each kind of socket.
fn addresses(output: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in output.lines() {
        let ip = line.split_whitespace().next().and_then(|word| word.parse().ok());
        found.extend(ip.filter(|ip| !found.contains(ip)));
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn localhost_and_addresses_are_not_looked_up() {
        assert_eq!(without_lookup("LocalHost").map(|a| a.iter().all(IpAddr::is_loopback)), Some(true));
        assert_eq!(without_lookup("192.0.2.1"), Some(vec![[192, 0, 2, 1].into()]));
        assert_eq!(without_lookup("::1"), Some(vec![Ipv6Addr::LOCALHOST.into()]));
        assert_eq!(without_lookup("localhost.example"), None);
    }

    #[test]
    fn the_output_of_getent_is_read() {
        let output = "2001:db8::1     STREAM host.example\n2001:db8::1     DGRAM  \n192.0.2.7 STREAM\nx\n\n";
        let expected: Vec<IpAddr> = vec!["2001:db8::1".parse().unwrap(), [192, 0, 2, 7].into()];
        assert_eq!(addresses(output), expected);
    }

    #[test]
    #[cfg(unix)]
    fn getent_gets_no_flag_no_environment_and_no_more_time_than_there_is() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let fake = dir.path().join("getent");
        let script = "#!/bin/sh\n[ \"$*\" = 'ahosts host.example' ] && [ -z \"$CARGO_PKG_NAME$HOME\" ] || exit 2\n\
                      echo 192.0.2.9 STREAM host.example\n";
        std::fs::write(&fake, script).unwrap();
        std::fs::set_permissions(&fake, PermissionsExt::from_mode(0o700)).unwrap();
        let places = ["/nonexistent", fake.to_str().unwrap()];
        let limit = Duration::from_secs(20);
        assert_eq!(getent(&places, "host.example", limit), [IpAddr::from([192, 0, 2, 9])]);
        assert!(getent(&places, "-s", limit).is_empty());
        assert!(getent(&places, "other.example", limit).is_empty());
        std::fs::write(&fake, "#!/bin/sh\nexec sleep 60\n").unwrap();
        let start = Instant::now();
        assert!(getent(&places, "host.example", Duration::from_millis(200)).is_empty());
        assert!(start.elapsed() < limit);
    }
}
