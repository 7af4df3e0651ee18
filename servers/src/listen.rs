//! Binds the sockets of a server: all addresses that were given, each once.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;

use log::{info, warn};
use reactor::{
    Accept, Address, AddressError, DatagramOptions, DatagramSocket, GroupListener, ListenOptions,
    Location,
};

use crate::inherited::Inherited;

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

/// How several loops share the sockets of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharing {
    pub(crate) accept: Accept,
    pub(crate) threads: NonZeroUsize,
}

/// Where a server listens.
pub(crate) struct Socket {
    /// The address on which it listens.
    pub(crate) address: Address,
    pub(crate) kind: Kind,
    /// The service manager has passed it, and no argument names it.
    pub(crate) is_passed: bool,
}

/// The sockets on one address.
pub(crate) enum Kind {
    Streams {
        listener: GroupListener,
        is_encrypted: bool,
    },
    /// One, or one for each loop.
    Datagrams(Vec<DatagramSocket>),
}

impl Kind {
    /// Returns what stands in front of the address.
    pub(crate) fn scheme(&self) -> &'static str {
        if matches!(self, Self::Streams { is_encrypted: true, .. }) { "tls://" } else { "" }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.scheme(), self.address)
    }
}

impl Socket {
    fn bind(
        address: &Address,
        is_encrypted: bool,
        options: &ListenOptions,
        sharing: Sharing,
    ) -> io::Result<Self> {
        if address.is_datagram() {
            let sockets = bind_datagrams(address, options, sharing)?;
            let address = sockets.first().map_or(address, DatagramSocket::address).clone();
            return Ok(Self { address, kind: Kind::Datagrams(sockets), is_passed: false });
        }
        let Sharing { mut accept, threads } = sharing;
        if accept == Accept::ReusePort && address.is_unix() {
            accept = Accept::default();
            info!("{address}: a Unix socket cannot be bound twice: connections are {accept}");
        }
        let listener = GroupListener::bind(address, options, accept, threads)?;
        let address = listener.address().unwrap_or(address).clone();
        let kind = Kind::Streams { listener, is_encrypted };
        Ok(Self { address, kind, is_passed: false })
    }
}

/// Returns the options of every socket of datagrams.
pub(crate) fn datagram_options() -> DatagramOptions {
    DatagramOptions { receive_buffer: Some(RECEIVE_BUFFER), ..DatagramOptions::default() }
}

/// Binds a socket of datagrams, or one for each loop if the kernel spreads them.
fn bind_datagrams(
    address: &Address,
    options: &ListenOptions,
    sharing: Sharing,
) -> io::Result<Vec<DatagramSocket>> {
    let is_spread = sharing.accept == Accept::ReusePort && matches!(address, Address::Udp(_));
    let options = DatagramOptions {
        unix_mode: options.unix_mode,
        dual_stack: options.dual_stack,
        reuse_port: is_spread,
        ..datagram_options()
    };
    let mut sockets = vec![DatagramSocket::bind(address, &options)?];
    while is_spread && sockets.len() < sharing.threads.get() {
        let another = DatagramSocket::bind(sockets[0].address(), &options)?;
        sockets.push(another);
    }
    Ok(sockets)
}

/// Listens on all of `endpoints`. A socket in `inherited` that is bound to one of them already is
/// taken. Of a host with several addresses, those that this machine does
/// not have are left out, as long as one of them can be bound.
///
/// # Errors
/// One sentence saying which address cannot be listened on, and why.
pub(crate) fn bind_all(
    endpoints: &[Endpoint],
    options: &ListenOptions,
    takes_datagrams: bool,
    sharing: Sharing,
    mut inherited: Inherited,
) -> io::Result<Vec<Socket>> {
    let (mut sockets, mut seen) = (Vec::<Socket>::new(), Vec::new());
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
            let found = inherited.bound_to(&address, *is_encrypted, sharing);
            if !found.is_empty() {
                sockets.extend(found);
                is_there = true;
                seen.push(address);
                continue;
            }
            match Socket::bind(&address, *is_encrypted, options, sharing) {
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
    sockets.extend(inherited.others(takes_datagrams, sharing)?);
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
    let conflicts = |socket: &&Socket| match (address, &socket.address) {
        (Address::Tcp(one), Address::Tcp(other)) | (Address::Udp(one), Address::Udp(other)) => {
            overlap(one, other, options.dual_stack)
        }
        _ => false,
    };
    match sockets.iter().find(conflicts) {
        Some(socket) if error.kind() == io::ErrorKind::AddrInUse => {
            let other = &socket.address;
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
