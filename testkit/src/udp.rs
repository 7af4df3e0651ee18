//! UDP sockets: what the kernel itself reports about them, and one that refuses.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::wait_until;

/// Returns how many datagrams the kernel has dropped at the UDP sockets with these local addresses:
/// the column `drops` of `/proc/net/udp` and `/proc/net/udp6` (`proc(5)`).
///
/// # Panics
/// Panics if there is no such socket, or if the kernel lists its sockets in another form.
pub fn udp_drops(addresses: &[SocketAddr]) -> u64 {
    // The list is read in parts. If a socket is opened or closed meanwhile, others are missing, or
    // listed twice.
    let mut found = HashMap::new();
    wait_until("a list of all sockets", || {
        found.extend(list().into_iter().map(|row| ((row.address, row.inode), row.drops)));
        let listed = |address: &SocketAddr| found.keys().any(|(other, _)| other == address);
        addresses.iter().all(listed)
    });
    let is_asked = |address: &SocketAddr| addresses.contains(address);
    found.iter().filter(|((address, _), _)| is_asked(address)).map(|(_, drops)| drops).sum()
}

/// Returns a socket on `host`, an IP address of this machine, that refuses all datagrams: it is
/// connected to itself, so the kernel has no receiver for those of others. As long as it is open, no
/// other process gets its port. Once it is connected to a peer, it receives from that.
///
/// # Panics
/// Panics if this machine has no such address.
pub fn refusing_udp_socket(host: &str) -> UdpSocket {
    let socket = UdpSocket::bind((host, 0)).expect("a port is free");
    let own = socket.local_addr().expect("it is bound");
    socket.connect(own).expect("it is there");
    socket
}

/// Receives a datagram. A socket with a timeout reports an interruption even if no signal handler
/// runs (`signal(7)`); then this goes on.
///
/// # Errors
/// As [`UdpSocket::recv_from`], such as that the time is over.
pub fn receive_udp(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    address: SocketAddr,
    inode: u64,
    drops: u64,
}

/// Returns what the kernel lists.
fn list() -> Vec<Row> {
    // A machine without IPv6 lacks the second file.
    let v6 = fs::read_to_string("/proc/net/udp6").unwrap_or_default();
    let v4 = fs::read_to_string("/proc/net/udp").expect("the kernel lists its sockets");
    let lines = v4.lines().skip(1).chain(v6.lines().skip(1));
    lines.map(|line| row(line).unwrap_or_else(|| panic!("a row of sockets: {line}"))).collect()
}

/// Returns what a row says.
fn row(line: &str) -> Option<Row> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = columns.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each group of eight digits is the number that this machine reads in four bytes.
    let words: Option<Vec<u32>> = (0..ip.len())
        .step_by(8)
        .map(|start| u32::from_str_radix(ip.get(start..start + 8)?, 16).ok())
        .collect();
    let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
    };
    let inode = columns.get(9)?.parse().ok()?;
    Some(Row { address: SocketAddr::new(ip, port), inode, drops: columns.last()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn sockets_are_found_by_their_addresses() {
        let v4 = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let v6 = UdpSocket::bind("[::1]:0");
        for socket in [Some(v4), v6.ok()].into_iter().flatten() {
            let address = socket.local_addr().expect("it is bound");
            assert_eq!(udp_drops(&[address]), 0, "{address}");
        }
    }

    #[test]
    fn a_socket_refuses_until_it_is_connected_to_the_peer() {
        let refusing = refusing_udp_socket("127.0.0.1");
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        peer.connect(refusing.local_addr().expect("it is bound")).expect("it is there");
        peer.send(b"x").expect("it is sent");
        let error = peer.recv(&mut [0]).expect_err("it is refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        refusing.connect(peer.local_addr().expect("it is bound")).expect("it is there");
        peer.send(b"y").expect("it is sent");
        let mut byte = [0];
        refusing.recv(&mut byte).expect("it is received");
        assert_eq!(byte, *b"y");
    }

    #[test]
    fn a_row_is_read() {
        let line = " 1234: 0100007F:1F40 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                    1000        0 4567 2 0000000000000000 89";
        if cfg!(target_endian = "little") {
            let address = "127.0.0.1:8000".parse().expect("it is an address");
            assert_eq!(row(line), Some(Row { address, inode: 4567, drops: 89 }));
        }
        assert_eq!(row("1: 0100007F"), None);
    }
}
