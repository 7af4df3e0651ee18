//! What the kernel itself reports about the UDP sockets of this network namespace.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Returns how many datagrams the kernel has dropped at each UDP socket, by its local address: the
/// column `drops` of `/proc/net/udp` and `/proc/net/udp6` (`proc(5)`). Sockets that share an
/// address are added up.
///
/// # Panics
/// Panics if the kernel does not list its sockets, or in another form.
pub fn udp_drops() -> HashMap<SocketAddr, u64> {
    let mut drops = HashMap::new();
    // A machine without IPv6 lacks the second file.
    let v6 = fs::read_to_string("/proc/net/udp6").unwrap_or_default();
    let v4 = fs::read_to_string("/proc/net/udp").expect("the kernel lists its sockets");
    for line in v4.lines().skip(1).chain(v6.lines().skip(1)) {
        let (address, count) = row(line).unwrap_or_else(|| panic!("a row of sockets: {line}"));
        *drops.entry(address).or_default() += count;
    }
    drops
}

/// Returns the local address and the drops of a row: its second and its last column.
fn row(line: &str) -> Option<(SocketAddr, u64)> {
    let mut columns = line.split_whitespace();
    let (ip, port) = columns.nth(1)?.split_once(':')?;
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
    Some((SocketAddr::new(ip, port), columns.last()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn sockets_are_found_by_their_addresses() {
        let v4 = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let v6 = UdpSocket::bind("[::1]:0");
        let drops = udp_drops();
        for socket in [Some(v4), v6.ok()].into_iter().flatten() {
            let address = socket.local_addr().expect("it is bound");
            assert_eq!(drops.get(&address), Some(&0), "{address}");
        }
    }

    #[test]
    fn a_row_is_read() {
        let line = " 1234: 0100007F:1F40 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                    1000        0 4567 2 0000000000000000 89";
        if cfg!(target_endian = "little") {
            let expected = ("127.0.0.1:8000".parse().expect("it is an address"), 89);
            assert_eq!(row(line), Some(expected));
        }
        assert_eq!(row("1: 0100007F"), None);
    }
}
