//! Binds the sockets of a server: all addresses that were given, each once.

use std::io;
use std::net::SocketAddr;

use log::warn;
use reactor::{Address, DatagramOptions, DatagramSocket, ListenOptions, Listener, Location};

/// How much of what has arrived and was not received may wait, in bytes, where the system permits
/// it (`net.core.rmem_max`): datagrams beyond it are lost.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A socket of a server.
pub(crate) enum Socket {
    Streams(Listener),
    Datagrams(DatagramSocket),
}

impl Socket {
    fn bind(address: &Address, options: &ListenOptions) -> io::Result<Self> {
        if !address.is_datagram() {
            return Listener::bind(address, options).map(Self::Streams);
        }
        let options = DatagramOptions {
            receive_buffer: Some(RECEIVE_BUFFER),
            unix_mode: options.unix_mode,
            dual_stack: options.dual_stack,
            ..DatagramOptions::default()
        };
        DatagramSocket::bind(address, &options).map(Self::Datagrams)
    }

    /// Returns the address on which it listens.
    pub(crate) fn address(&self) -> &Address {
        match self {
            Self::Streams(listener) => listener.address(),
            Self::Datagrams(socket) => socket.address(),
        }
    }
}

/// Listens on all of `locations`. Of a host with several addresses, those that this machine does
/// not have are left out, as long as one of them can be bound.
///
/// # Errors
/// One sentence saying which address cannot be listened on, and why.
pub(crate) fn bind_all(
    locations: &[Location],
    options: &ListenOptions,
    takes_datagrams: bool,
) -> io::Result<Vec<Socket>> {
    let (mut sockets, mut seen) = (Vec::new(), Vec::new());
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
            if address.is_datagram() && !takes_datagrams {
                let text = format!("cannot listen on {address}: this server takes no datagrams");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            match Socket::bind(&address, options) {
                Ok(socket) => {
                    sockets.push(socket);
                    is_there = true;
                }
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    missing.push(error);
                }
                Err(error) => return Err(explained(error, &address, &sockets, options)),
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
    Ok(sockets)
}

/// Returns whether an address was given before. Port 0 means another port each time.
fn is_among(address: &Address, seen: &[Address]) -> bool {
    let is_any = matches!(address, Address::Tcp(ip) | Address::Udp(ip) if ip.port() == 0);
    !is_any && seen.contains(address)
}

/// Adds to an error of listening which other socket of this server holds the address.
fn explained(
    error: io::Error,
    address: &Address,
    sockets: &[Socket],
    options: &ListenOptions,
) -> io::Error {
    let conflicts = |socket: &&Socket| match (address, socket.address()) {
        (Address::Tcp(one), Address::Tcp(other)) | (Address::Udp(one), Address::Udp(other)) => {
            overlap(one, other, options.dual_stack)
        }
        _ => false,
    };
    match sockets.iter().find(conflicts) {
        Some(socket) if error.kind() == io::ErrorKind::AddrInUse => {
            let other = socket.address();
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
