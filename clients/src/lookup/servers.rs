//! Which servers are asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use protocol::dns::name_servers;
use reactor::Address;

use crate::Failure;

/// How many servers of `resolv.conf` are asked, as the C library does (`resolv.conf(5)`).
const SERVERS_MAX: usize = 3;

/// The file that names the servers of the system.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A server that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Its address, for UDP and TCP.
    pub(super) address: SocketAddr,
    /// How the user named it.
    pub(super) name: String,
}

/// The family of the addresses that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Both.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    fn includes(self, address: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// Returns the addresses of the servers that the user named, each an address or a name, with `#` and a port
/// if it has another one than `port`. This blocks while the system resolves a name.
///
/// # Errors
/// When a name is unknown, or has no address of the family.
pub(super) fn named(names: &[String], port: u16, family: Family) -> Result<Vec<Server>, Failure> {
    let mut servers = Vec::new();
    for name in names {
        let found = addresses(name, port)?.into_iter().filter(|it| family.includes(it));
        let before = servers.len();
        servers.extend(found.map(|address| Server { address, name: name.clone() }));
        if servers.len() == before {
            return Err(Failure::new(format!("@{name}: the server has no address of this family")));
        }
    }
    Ok(servers)
}

/// Returns the servers that a file names (`resolv.conf(5)`), the first three. Without any, it is the server
/// of this host. The file of the system is read if none is given.
///
/// # Errors
/// When a file that is given cannot be read, a line has no address, or none is of the family.
pub(super) fn of_system(
    given: Option<&Path>,
    port: u16,
    family: Family,
) -> Result<Vec<Server>, Failure> {
    let path = given.unwrap_or(Path::new(RESOLV_CONF));
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if given.is_some() => {
            return Err(Failure::new(format!("{}: {error}", path.display())));
        }
        // The C library asks this host where there is no file.
        Err(_) => Vec::new(),
    };
    let text = String::from_utf8_lossy(&text);
    let mut servers = Vec::new();
    for name in name_servers(&text).take(SERVERS_MAX) {
        let explained = |error| Failure::new(format!("{}: {error}", path.display()));
        let found = addresses(name, port).map_err(explained)?;
        servers.extend(found.into_iter().map(|address| Server { address, name: name.to_owned() }));
    }
    if servers.is_empty() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        servers.push(Server { address, name: address.ip().to_string() });
    }
    servers.retain(|server| family.includes(&server.address));
    if servers.is_empty() {
        let text = format!("{} names no server of this family: name one with @", path.display());
        return Err(Failure::new(text));
    }
    Ok(servers)
}

/// Returns the addresses of a server.
fn addresses(text: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let (host, port) = match text.split_once('#') {
        Some((host, number)) => {
            let number = number.parse().ok().filter(|number| *number != 0);
            let wrong = || Failure::new(format!("@{text}: the port is no number from 1 to 65535"));
            (host, number.ok_or_else(wrong)?)
        }
        None => (text, port),
    };
    if host.is_empty() {
        return Err(Failure::new(format!(
            "@{text}: the server has no name; expected one as in @192.0.2.1"
        )));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    // Only IPv6 addresses contain a colon.
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let location = crate::location(&format!("udp://{host}:{port}")).map_err(|_| {
        Failure::new(format!(
            "@{text}: this is neither an address nor a name; a port comes after #, as in @192.0.2.1#5300 \
             or @2001:db8::1#5300"
        ))
    })?;
    let found = location.addresses();
    let found = found.map_err(|error| Failure::new(format!("server {text}: {error}")))?;
    let addresses = found.into_iter().filter_map(|address| match address {
        Address::Udp(address) => Some(address),
        _ => None,
    });
    Ok(addresses.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str], family: Family) -> Result<Vec<String>, Failure> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let servers = named(&names, 53, family)?;
        Ok(servers.iter().map(|server| server.address.to_string()).collect())
    }

    #[test]
    fn servers_are_addresses_with_or_without_a_port() {
        let names = ["192.0.2.1", "192.0.2.2#5300", "2001:db8::1", "2001:db8::1#54"];
        let expected = ["192.0.2.1:53", "192.0.2.2:5300", "[2001:db8::1]:53", "[2001:db8::1]:54"];
        assert_eq!(found(&names, Family::Any), Ok(expected.map(str::to_owned).into()));
        assert!(found(&["localhost"], Family::V4).is_ok_and(|it| it[0] == "127.0.0.1:53"));
        for (name, family, part) in [
            ("192.0.2.1", Family::V6, "no address of this family"),
            ("192.0.2.1#0", Family::Any, "the port"),
            ("192.0.2", Family::Any, "@192.0.2: this is neither an address nor a name"),
            ("256.0.2.1", Family::Any, "@256.0.2.1: this is neither an address nor a name"),
            ("[2001:db8::1]:53", Family::Any, "a port comes after #, as in @192.0.2.1#5300"),
            ("", Family::Any, "@: the server has no name"),
            ("#53", Family::Any, "@#53: the server has no name"),
        ] {
            let error = found(&[name], family).expect_err(name).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
