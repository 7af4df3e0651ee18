//! Where a server listens: everything it was asked for, each address once.

use std::io;
use std::net::SocketAddr;

use log::warn;
use reactor::{Address, ListenOptions, Listener, Location};

/// Listens at all of `locations`. Of a host with several addresses, those that this machine does not
/// have are left out, as long as one is there.
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
                warn!("{address} is given more than once: it is listened on once");
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
        // An address that was asked for by itself is all of its location.
        for error in missing {
            if !is_there {
                return Err(error);
            }
            warn!("{location}: {error}");
        }
    }
    Ok(listeners)
}

/// Whether an address has been asked for before. Port 0 means another port each time.
fn is_among(address: &Address, seen: &[Address]) -> bool {
    let is_any = matches!(address, Address::Tcp(ip) if ip.port() == 0);
    !is_any && seen.contains(address)
}

/// An error of listening; where this server is in its own way, it says so.
fn explained(
    error: io::Error,
    address: &Address,
    listeners: &[Listener],
    options: &ListenOptions,
) -> io::Error {
    let is_in_the_way = |listener: &&Listener| match (address, listener.address()) {
        (Address::Tcp(one), Address::Tcp(other)) => overlap(one, other, options.dual_stack),
        _ => false,
    };
    match listeners.iter().find(is_in_the_way) {
        Some(listener) if error.kind() == io::ErrorKind::AddrInUse => {
            let other = listener.address();
            let text = format!(
                "cannot listen on {address}: it overlaps with {other}, where this server listens too"
            );
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}

/// Whether a connection could be meant for either of two addresses.
fn overlap(one: &SocketAddr, other: &SocketAddr, dual_stack: bool) -> bool {
    let includes = |whole: &SocketAddr, part: &SocketAddr| {
        let all = whole.ip().is_unspecified();
        whole.ip() == part.ip()
            || all && whole.is_ipv4() == part.is_ipv4()
            || all && dual_stack && whole.is_ipv6()
    };
    one.port() == other.port() && (includes(one, other) || includes(other, one))
}
