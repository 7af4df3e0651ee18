//! Locations of servers: addresses, or names that have to be resolved.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::net::address::{Problem, is_number};
use crate::{Address, AddressError, Hints, Query, SocketType, Transport};

/// The location of a server as users write it: an [`Address`], or the name of a host and a service,
/// which stand for all addresses of that host.
///
/// ```
/// use reactor::Location;
///
/// let location: Location = "localhost:8080".parse()?;
/// assert!(!location.addresses()?.is_empty());
/// let location: Location = "localhost:http".parse()?;
/// assert_eq!(location.addresses()?[0].to_string().rsplit(':').next(), Some("80"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// An address.
    Address(Address),
    /// The name of a host and that of a service.
    Host {
        /// The name: labels of letters, digits, `-` and `_`, separated by dots. With the name of a
        /// service or a scope, it may also be an IP address: `127.0.0.1:http`, `[fe80::1%eth0]:80`.
        name: String,
        /// The number of the port, or the name of the service (`services(5)`).
        service: String,
        /// The protocol.
        transport: Transport,
    },
}

impl Location {
    /// Returns whether it is the location of a server of datagrams.
    pub fn is_datagram(&self) -> bool {
        match self {
            Self::Address(address) => address.is_datagram(),
            Self::Host { transport, .. } => *transport == Transport::Udp,
        }
    }

    /// Returns the addresses that it stands for, each once, in the order of the system
    /// ([`Query::look_up`]). This blocks and may take seconds: call it before the loop runs, or on
    /// another thread. A loop that runs uses a [`Resolver`](crate::Resolver).
    ///
    /// # Errors
    /// A [`ResolveError`](crate::ResolveError): the name or the service is unknown, or there is no
    /// address.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        match self {
            Self::Address(address) => Ok(vec![address.clone()]),
            Self::Host { name, service, transport } => {
                let found = transport.query(name, service).look_up()?.addresses();
                Ok(found.into_iter().map(|address| transport.address(address)).collect())
            }
        }
    }
}

impl From<Address> for Location {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host { name, service, transport } => {
                // Without a prefix, these hosts would be taken for paths of Unix sockets.
                let prefix = match (transport, name.as_str()) {
                    (Transport::Tcp, "unix" | "unix-dgram") => "tcp://",
                    _ => transport.prefix(),
                };
                write!(f, "{prefix}{}", transport.query(name, service))
            }
        }
    }
}

impl FromStr for Location {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = match text.parse() {
            Ok(address) => return Ok(Self::Address(address)),
            Err(error) => error,
        };
        if text.starts_with("unix:") || text.starts_with("unix-dgram:") {
            return Err(error);
        }
        let (transport, rest) = Transport::of(text);
        let Some((host, service)) = rest.rsplit_once(':') else { return Err(error) };
        let is_port = is_number(service);
        let name = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            Some(ip) => Some(ip).filter(|ip| is_ipv6(ip)),
            None => Some(host).filter(|it| is_name(it) || !is_port && it.parse::<IpAddr>().is_ok()),
        };
        let Some(name) = name.filter(|it| !it.contains(':') || host.starts_with('[')) else {
            return Err(error);
        };
        if is_port && service.parse::<u16>().is_err() {
            return Err(error);
        }
        if !is_port && !is_service(service) {
            return Err(AddressError::new(text, Problem::NoService));
        }
        Ok(Self::Host { name: name.to_owned(), service: service.to_owned(), transport })
    }
}

impl Transport {
    /// Returns the question for the addresses of a host and a service.
    pub(crate) fn query(self, name: &str, service: &str) -> Query {
        let socket_type = match self {
            Self::Tcp => SocketType::STREAM,
            Self::Udp => SocketType::DATAGRAM,
        };
        let hints = Hints { socket_type: Some(socket_type), ..Hints::DEFAULT };
        Query::new(name).service(service).hints(hints)
    }
}

/// Returns whether a text may be the name of a host (RFC 1123). If its last label is a number, the
/// text is a mistyped IP address, which some resolvers would accept in part.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_hexadecimal = last.starts_with("0x") || last.starts_with("0X");
    name.split('.').all(is_label) && !is_number(last) && !is_hexadecimal
}

/// Returns whether a text is an IPv6 address, with or without the name of a scope (RFC 4007).
fn is_ipv6(text: &str) -> bool {
    let (ip, scope) = text.split_once('%').unwrap_or((text, "eth0"));
    let is_scope = !scope.is_empty()
        && scope.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    ip.parse::<Ipv6Addr>().is_ok() && is_scope
}

/// Returns whether a text may be the name of a service: letters, digits and `-`, of which one is a
/// letter (RFC 6335), and what else is in `/etc/services`.
fn is_service(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ResolveError, ResolveErrorKind};

    #[test]
    fn a_mistyped_address_is_not_taken_for_a_host() {
        for text in [
            "localhost:80",
            "a-b.example.:1",
            "3com.example:65535",
            "under_score:1",
            "localhost:http",
            "udp://localhost:domain",
            "127.0.0.1:http",
            "[::1]:http",
            "[fe80::1%eth0]:80",
            "localhost:3com-tsmux",
        ] {
            let location = text.parse::<Location>().expect(text);
            assert!(matches!(location, Location::Host { .. }), "{location:?}");
            assert_eq!(location.to_string(), text);
        }
        assert!(matches!("127.0.0.1:1".parse(), Ok(Location::Address(Address::Tcp(_)))));
        assert!(matches!("unix:/x".parse(), Ok(Location::Address(Address::Unix(_)))));
        for text in [
            "127.0.0.300:80",
            "1.2:80",
            "0x7f000001:80",
            "a b:80",
            "http://x:80",
            "..:80",
            "[::1:80",
            "[localhost]:80",
            "[fe80::1%]:80",
        ] {
            let error = text.parse::<Location>().expect_err(text).to_string();
            assert!(error.contains("an IP address must come"), "{text}: {error}");
        }
        for (text, hint) in [
            ("127.0.0.1:65536", "0 to 65535"),
            ("localhost:65536", "0 to 65535"),
            ("127.0.0.1", "a port must follow"),
            ("::1:80", "brackets"),
            ("unix:", "a path must follow"),
            ("", "a port must follow"),
        ] {
            let error = text.parse::<Location>().expect_err(text).to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
        for text in ["localhost:", "localhost:-1", "localhost:a b", "localhost:+80"] {
            let error = text.parse::<Location>().expect_err(text).to_string();
            assert!(error.contains("the name of a service"), "{text}: {error}");
        }
    }

    #[test]
    fn each_address_of_a_host_is_returned_once() {
        let location: Location = "localhost:80".parse().expect("it is a name");
        let addresses = location.addresses().expect("every machine has this name");
        let twice = |address| addresses.iter().filter(|it| *it == address).count() > 1;
        assert!(!addresses.is_empty() && !addresses.iter().any(twice), "{addresses:?}");
        // A name of a service with a literal address asks no name server.
        let location: Location = "127.0.0.1:no-such-service".parse().expect("it is a location");
        let error = location.addresses().expect_err("there is no such service").to_string();
        assert!(error.contains("unknown service"), "{error}");
        let nowhere: Location = "no-such-host.invalid:80".parse().expect("it is a name");
        let error = nowhere.addresses().expect_err("the domain is reserved (RFC 6761)");
        let error = error.get_ref().and_then(|it| it.downcast_ref::<ResolveError>());
        let kind = error.expect("it is an error of the resolver").kind();
        // It depends on whether this machine has a name server that answers.
        let expected = [ResolveErrorKind::UnknownName, ResolveErrorKind::Temporary];
        assert!(expected.contains(&kind), "{kind:?}");
    }
}
