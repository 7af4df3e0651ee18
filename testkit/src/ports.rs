//! Ports for programs that cannot choose one themselves, and addresses on which nothing listens.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use protocol::Random;

/// The range from which the kernel chooses ports, as `ip(7)` describes it.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Returns a port that no socket of this machine has, for TCP and UDP. The kernel gives it to no
/// connection and to no server at port 0, but another call may return it as well.
///
/// # Panics
/// Panics if no such port is found.
#[track_caller]
pub fn free_port() -> u16 {
    let chosen_from = std::fs::read_to_string(RANGE).unwrap_or_default();
    let lowest = chosen_from.split_whitespace().next().and_then(|word| word.parse().ok());
    let end: u16 = lowest.filter(|lowest| *lowest > 11_000).unwrap_or(32_768);
    let mut random = Random::new(RandomState::new().hash_one(std::process::id()));
    let is_free = |port: &u16| {
        let all = (Ipv4Addr::UNSPECIFIED, *port);
        TcpListener::bind(all).is_ok() && UdpSocket::bind(all).is_ok()
    };
    let ports = (0..1000).map(|_| 10_000 + random.below(u64::from(end - 10_000)) as u16);
    ports.into_iter().find(is_free).expect("a port is free")
}

/// Returns an address of this machine on which nothing listens.
///
/// # Panics
/// As [`free_port`].
#[track_caller]
pub fn refusing_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}
