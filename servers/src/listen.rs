//! Binds the listeners of a server: all addresses that were given, each once.

use std::io;
use std::net::SocketAddr;

use log::warn;
use reactor::{Address, ListenOptions, Listener, Location};

/// Listens on all of `locations`. Of a host with several addresses, those that this machine does
/// not have are left out, as long as one of them can be bound.
///
/// # Errors
/// One sentence saying which address cannot be listened on, and why.
pub(crate) fn bind_all(
    locations: &[Location],
    options: &ListenOptions,
) -> io::Result<Vec<Listener>> {
    let (mut listeners, mut seen) = (Vec::new(), Vec::new());
    for location in locations {
        let addresses = location
            .addresses()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {error}")))?;
        let (mut is_there, mut missing) = (false, Vec::new());
        for address in addresses {
            if is_among(&address, &seen) {
                warn!("{address} is given more than once: the server listens on it once");
                is_there = true;
                continue;
            }
            match Listener::bind(&address, options) {
                Ok(listener) => {
                    listeners.push(listener);
                    is_there = true;
                }
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    missing.push(error);
                }
                Err(error) => return Err(explained(error, &address, &listeners, options)),
            }
            seen.push(address);
        }
        // A single address that is missing is an error; one of several is a warning.
        for error in missing {
            if !is_there {
                return Err(error);
            }
            warn!("{location}: {error}");
        }
    }
    Ok(listeners)
}

/// Returns whether an address was given before. Port 0 means another port each time.
fn is_among(address: &Address, seen: &[Address]) -> bool {
    let is_any = matches!(address, Address::Tcp(ip) if ip.port() == 0);
    !is_any && seen.contains(address)
}

/// Adds to an error of listening which other listener of this server holds the address.
fn explained(
    error: io::Error,
    address: &Address,
    listeners: &[Listener],
    options: &ListenOptions,
) -> io::Error {
    let conflicts = |listener: &&Listener| match (address, listener.address()) {
        (Address::Tcp(one), Address::Tcp(other)) => overlap(one, other, options.dual_stack),
        _ => false,
    };
    match listeners.iter().find(conflicts) {
        Some(listener) if error.kind() == io::ErrorKind::AddrInUse => {
            let other = listener.address();
            let text = format!(
                "cannot listen on {address}: it overlaps with {other}, on which this server already listens"
            );
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}

/// Returns whether some connection could match either of two addresses.
fn overlap(one: &SocketAddr, other: &SocketAddr, dual_stack: bool) -> bool {
    let includes = |whole: &SocketAddr, part: &SocketAddr| {
        let all = whole.ip().is_unspecified();
        whole.ip() == part.ip()
            || all && whole.is_ipv4() == part.is_ipv4()
            || all && dual_stack && whole.is_ipv6()
    };
    one.port() == other.port() && (includes(one, other) || includes(other, one))
}
