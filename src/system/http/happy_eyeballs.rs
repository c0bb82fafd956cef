//! A TCP connection to whichever address of a host answers first (RFC 8305), so that one that drops all packets does
//! not hold up the call.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long an address is waited for before the next is tried beside it (RFC 8305 §5).
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// A connection to one of `addresses`, which stand in the order of preference.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if none answered until `until`; else a refusal if there was one, else the last
/// error.
pub(super) fn connect(addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let addresses = interleaved(addresses);
    if addresses.len() < 2 {
        return one_by_one(&addresses, until);
    }
    let (send, answers) = channel();
    let mut rest = addresses.iter().enumerate();
    let mut failed = None;
    let mut waiting = 0;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let pause = match rest.next() {
            Some((at, address)) => {
                let (address, send) = (*address, send.clone());
                // One that loses ends with its own attempt, or with the process.
                let attempt = move || drop(send.send(TcpStream::connect_timeout(&address, left)));
                if thread::Builder::new().name("connect".into()).spawn(attempt).is_err() {
                    // If no thread can be started, the rest is tried one after the other.
                    return one_by_one(&addresses[at..], until);
                }
                waiting += 1;
                if at + 1 < addresses.len() { left.min(NEXT_AFTER) } else { left }
            }
            None if waiting == 0 => return Err(failed.unwrap_or(io::ErrorKind::TimedOut.into())),
            None => left,
        };
        match answers.recv_timeout(pause) {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                waiting -= 1;
                failed = Some(more_telling(failed, error));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// One address after the other; each gets its share of the time.
fn one_by_one(addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut failed = None;
    for (at, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(more_telling(failed, error)),
        }
    }
    Err(failed.unwrap_or(io::ErrorKind::AddrNotAvailable.into()))
}

/// A refusal comes from the host itself; a missing route may only be this machine's lack of IPv6.
fn more_telling(known: Option<io::Error>, new: io::Error) -> io::Error {
    known.filter(|known| known.kind() == io::ErrorKind::ConnectionRefused).unwrap_or(new)
}

/// The addresses with IPv6 and IPv4 by turns, the kind of the first one first (RFC 8305 §4).
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut mixed = Vec::with_capacity(addresses.len());
    while mixed.len() < addresses.len() {
        mixed.extend(one.next());
        mixed.extend(other.next());
    }
    mixed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_kinds_of_address_take_turns() {
        let mixed = |list: &[&str]| interleaved(&addresses(list));
        let list = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"];
        assert_eq!(mixed(&list), addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
        assert_eq!(mixed(&["1.1.1.1:1", "[::1]:1"]), addresses(&["1.1.1.1:1", "[::1]:1"]));
        assert!(mixed(&[]).is_empty());
    }

    #[test]
    fn an_address_that_swallows_everything_does_not_hold_up_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        // 192.0.2.0/24 and 100::/64 lead nowhere (RFC 5737, RFC 6666); here they may be refused at once as well.
        let list = [addresses(&["[100::1]:9", "192.0.2.1:9", "192.0.2.2:9"]), vec![good]].concat();
        let until = Instant::now() + Duration::from_secs(20);
        let start = Instant::now();
        assert_eq!(connect(&list, until).unwrap().peer_addr().unwrap(), good);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }

    #[test]
    fn a_refusal_is_what_is_told() {
        let until = || Instant::now() + Duration::from_secs(20);
        let refused = connect(&addresses(&["127.0.0.1:1", "[::1]:1"]), until()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect(&addresses(&["127.0.0.1:1"]), Instant::now()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(connect(&[], until()).is_err());
    }
}
