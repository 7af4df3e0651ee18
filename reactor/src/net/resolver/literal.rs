//! Answers that need no name server: those for IP addresses in text form.

use std::net::{IpAddr, SocketAddr};

use crate::net::resolver::query::{Hints, IpFamily, IpProtocol, Query, SocketType};
use crate::net::resolver::resolved::{AddressInfo, Resolved};

/// The types of sockets that `getaddrinfo(3)` returns for each address, with their protocols.
const KINDS: [(SocketType, IpProtocol); 3] = [
    (SocketType::STREAM, IpProtocol::TCP),
    (SocketType::DATAGRAM, IpProtocol::UDP),
    (SocketType::RAW, IpProtocol::ANY),
];

/// Returns the answer to a question that names an IP address and no service but a number. Anything
/// unusual, such as a family that does not fit, is left to the system.
pub(crate) fn of(query: &Query) -> Option<Resolved> {
    let name = query.name.as_deref()?;
    let ip: IpAddr = name.parse().ok()?;
    let port = query.service.as_deref().map_or(Some(0), port_of)?;
    if query.hints.family.is_some_and(|family| family != family_of(ip)) || !is_usual(&query.hints) {
        return None;
    }
    let canonical = query.hints.canonical_name.then(|| name.to_owned());
    Some(Resolved::new(entries(&[ip], port, &query.hints), canonical))
}

/// Returns whether the hints ask for an entry of each type, or for one type and its protocol.
pub(crate) fn is_usual(hints: &Hints) -> bool {
    match (hints.socket_type, hints.ip_protocol) {
        (None, None) => true,
        (Some(kind), ip_protocol) => KINDS[..2]
            .iter()
            .any(|it| it.0 == kind && ip_protocol.is_none_or(|wanted| it.1 == wanted)),
        (None, Some(_)) => false,
    }
}

/// Returns the entries for addresses, as `getaddrinfo(3)` does for usual hints.
pub(crate) fn entries(addresses: &[IpAddr], port: u16, hints: &Hints) -> Vec<AddressInfo> {
    let is_wanted = |(kind, ip_protocol): &(SocketType, IpProtocol)| {
        hints.socket_type.is_none_or(|it| it == *kind)
            && hints.ip_protocol.is_none_or(|it| it == *ip_protocol)
    };
    let kinds = || KINDS.into_iter().filter(is_wanted);
    let of = |ip: &IpAddr| {
        let address = SocketAddr::new(*ip, port);
        kinds().map(move |(socket_type, ip_protocol)| AddressInfo {
            socket_type,
            ip_protocol,
            address,
        })
    };
    addresses.iter().flat_map(of).collect()
}

/// Returns the port of a service that is a number.
pub(crate) fn port_of(service: &str) -> Option<u16> {
    let is_number = !service.is_empty() && service.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| service.parse().ok()).flatten()
}

pub(crate) fn family_of(ip: IpAddr) -> IpFamily {
    if ip.is_ipv4() { IpFamily::V4 } else { IpFamily::V6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_address_has_the_answer_of_the_system() {
        let families = [None, Some(IpFamily::V4), Some(IpFamily::V6)];
        let kinds =
            [None, Some(SocketType::STREAM), Some(SocketType::DATAGRAM), Some(SocketType::RAW)];
        let protocols = [None, Some(IpProtocol::TCP), Some(IpProtocol::UDP)];
        let mut answered = 0;
        for name in ["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            for service in [None, Some("80"), Some("080"), Some("65535"), Some("65536"), Some("x")]
            {
                for (family, kind) in families.iter().flat_map(|it| kinds.map(|kind| (*it, kind))) {
                    for (ip_protocol, bits) in
                        protocols.iter().flat_map(|it| (0..32).map(|bits| (*it, bits)))
                    {
                        let hints = Hints {
                            passive: bits & 1 != 0,
                            canonical_name: bits & 2 != 0,
                            numeric_host: bits & 4 != 0,
                            numeric_service: bits & 8 != 0,
                            v4_mapped: bits & 16 != 0,
                            family,
                            socket_type: kind,
                            ip_protocol,
                            ..Hints::ANY
                        };
                        let mut query = Query::new(name).hints(hints);
                        query.service = service.map(str::to_owned);
                        if let Some(found) = of(&query) {
                            assert_eq!(query.ask_system(), Ok(found), "{query:?}");
                            answered += 1;
                        }
                    }
                }
            }
        }
        assert!(answered > 1000, "{answered}");
    }

    #[test]
    fn what_is_no_plain_address_is_left_to_the_system() {
        for name in ["localhost", "127.1", "0x7f000001", "fe80::1%lo", "", "127.0.0.1 "] {
            assert_eq!(of(&Query::new(name)), None, "{name}");
        }
        for service in ["http", "", "-1", "+80", "65536"] {
            assert_eq!(of(&Query::new("127.0.0.1").service(service)), None, "{service}");
        }
    }
}
