//! Ports for programs that cannot choose one themselves, and addresses on which nothing listens.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{LazyLock, Mutex, PoisonError};

use protocol::Random;

/// The range from which the kernel chooses ports, as `ip(7)` describes it.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The ports that were returned: what is to have one takes a while until it has.
static RETURNED: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Returns a port that no socket of this machine has, for TCP and UDP. The kernel gives it to no
/// connection and to no server at port 0, and no other call in this process returns it. One in
/// another process may.
///
/// # Panics
/// Panics if no such port is found.
#[track_caller]
pub fn free_port() -> u16 {
    let chosen_from = std::fs::read_to_string(RANGE).unwrap_or_default();
    let lowest = chosen_from.split_whitespace().next().and_then(|word| word.parse().ok());
    let end: u16 = lowest.filter(|lowest| *lowest > 11_000).unwrap_or(32_768);
    let mut random = Random::new(RandomState::new().hash_one(std::process::id()));
    let used = used_ports();
    let mut returned = RETURNED.lock().unwrap_or_else(PoisonError::into_inner);
    let ports = (0..1000).map(|_| 10_000 + random.below(u64::from(end - 10_000)) as u16);
    choose(ports, &used, &mut returned).expect("a port is free")
}

/// Returns the first port that no socket has and that was not returned before, and notes that it is.
fn choose(
    mut ports: impl Iterator<Item = u16>,
    used: &HashSet<u16>,
    returned: &mut HashSet<u16>,
) -> Option<u16> {
    ports.find(|port| !used.contains(port) && returned.insert(*port))
}

/// Returns the ports of all sockets, as `proc_net(5)` describes the tables. A port is not tried by
/// binding it: a process that another thread starts meanwhile would have the socket for a moment.
fn used_ports() -> HashSet<u16> {
    let tables = ["tcp", "tcp6", "udp", "udp6"].map(|name| format!("/proc/self/net/{name}"));
    let texts = tables.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let text = texts.collect::<Vec<_>>().concat();
    let local = text.lines().filter_map(|line| line.split_whitespace().nth(1));
    let ports = local.filter_map(|address| address.rsplit_once(':'));
    ports.filter_map(|(_, port)| u16::from_str_radix(port, 16).ok()).collect()
}

/// Returns an address of this machine on which nothing listens.
///
/// # Panics
/// As [`free_port`].
#[track_caller]
pub fn refusing_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn ports_of_sockets_are_used_and_a_free_one_can_be_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("it binds");
        let datagrams = UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.0.0.1:0"));
        let datagrams = datagrams.expect("it binds");
        let used = used_ports();
        for address in [listener.local_addr(), datagrams.local_addr()] {
            assert!(used.contains(&address.expect("an address").port()));
        }
        let port = free_port();
        assert!(!used.contains(&port));
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
    }

    #[test]
    fn no_port_is_returned_twice() {
        let (used, mut returned) = (HashSet::from([5]), HashSet::new());
        let mut next = |ports: [u16; 3]| choose(ports.into_iter(), &used, &mut returned);
        assert_eq!((next([5, 6, 7]), next([5, 6, 7]), next([5, 6, 7])), (Some(6), Some(7), None));
    }
}
