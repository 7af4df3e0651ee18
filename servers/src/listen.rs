//! Binds the sockets of a server: all addresses that were given, each once.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use log::warn;
use reactor::{
    Address, AddressError, DatagramOptions, DatagramSocket, ListenOptions, Listener, Location,
};

/// How much of what has arrived and was not received may wait, in bytes, where the system permits
/// it (`net.core.rmem_max`): datagrams beyond it are lost.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Where a server listens, and whether its connections are encrypted: a [`Location`], with `tls://`
/// in front of one of TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub location: Location,
    /// Whether its connections are encrypted (TLS).
    pub is_encrypted: bool,
}

impl FromStr for Endpoint {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("tls://") {
            None => Ok(Self { location: text.parse()?, is_encrypted: false }),
            Some(rest) => {
                Ok(Self { location: format!("tcp://{rest}").parse()?, is_encrypted: true })
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_encrypted { "tls://" } else { "" })?;
        self.location.fmt(f)
    }
}

/// A socket of a server.
pub(crate) enum Socket {
    Streams(Listener),
    /// Of connections that are encrypted.
    Encrypted(Listener),
    Datagrams(DatagramSocket),
}

impl Socket {
    fn bind(address: &Address, is_encrypted: bool, options: &ListenOptions) -> io::Result<Self> {
        if !address.is_datagram() {
            let kind = if is_encrypted { Self::Encrypted } else { Self::Streams };
            return Listener::bind(address, options).map(kind);
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
            Self::Streams(listener) | Self::Encrypted(listener) => listener.address(),
            Self::Datagrams(socket) => socket.address(),
        }
    }
}

/// Listens on all of `endpoints`. Of a host with several addresses, those that this machine does
/// not have are left out, as long as one of them can be bound.
///
/// # Errors
/// One sentence saying which address cannot be listened on, and why.
pub(crate) fn bind_all(
    endpoints: &[Endpoint],
    options: &ListenOptions,
    takes_datagrams: bool,
) -> io::Result<Vec<Socket>> {
    let (mut sockets, mut seen) = (Vec::new(), Vec::new());
    for Endpoint { location, is_encrypted } in endpoints {
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
            match Socket::bind(&address, *is_encrypted, options) {
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
