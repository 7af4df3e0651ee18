//! Datagram sockets: bound and connected ones, and their options.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::net::listener::{Why, no_permissions};
use crate::net::socket_file::{Failure, SocketFile, named};
use crate::sys::{self, DatagramOption};
use crate::{Address, kernel};

/// The permission bits of the file of a connected Unix socket: its server, which may be another
/// user, has to be able to answer. Only the server can send to it, since it is connected.
const CLIENT_MODE: u32 = 0o666;

/// Options of a datagram socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatagramOptions {
    /// The size of the receive buffer in bytes (`SO_RCVBUF`, `socket(7)`), in which datagrams wait
    /// to be received; the kernel drops those for which there is no room. It counts several hundred
    /// bytes for each datagram besides its own, allows `net.core.rmem_max` at most, and doubles the
    /// value for its own needs. With `None`, the default, it is `net.core.rmem_default`: room for
    /// some 250 small datagrams.
    pub receive_buffer: Option<usize>,
    /// The size of the send buffer in bytes (`SO_SNDBUF`, `socket(7)`). `net.core.wmem_max` is the
    /// most. With `None`, the default, it is `net.core.wmem_default`. A Unix datagram has to fit
    /// into it.
    pub send_buffer: Option<usize>,
    /// Whether other sockets of this user may be bound to the same IP address and port
    /// (`SO_REUSEPORT`, `socket(7)`). The kernel spreads the senders over them, so that each of
    /// several loops on threads of their own has its share. All of the sockets have to set it.
    pub reuse_port: bool,
    /// Whether an IPv6 address that includes IPv4 addresses, such as `[::]`, receives from IPv4
    /// addresses too (`IPV6_V6ONLY`, `ipv6(7)`).
    pub dual_stack: bool,
    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`, `socket(7)`).
    pub broadcast: bool,
    /// After how many routers datagrams are dropped (`IP_TTL`, `IPV6_UNICAST_HOPS`), from 1 to 255.
    /// By default the system decides, usually 64.
    pub hops: Option<u8>,
    /// The same for multicast datagrams (`IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`): 0 keeps them
    /// on this host, 1 in its networks, which is the default.
    pub multicast_hops: Option<u8>,
    /// Whether this host also receives the multicast datagrams that the socket sends
    /// (`IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`). It does by default.
    pub multicast_loop: Option<bool>,
    /// Whether the kernel may hand over datagrams of one sender together (`UDP_GRO`, `udp(7)`),
    /// which [`Datagrams`](crate::Datagrams) separates again. Where senders or network cards bundle
    /// them, receiving takes an eighth of the time (measured). It does not by default, because the
    /// kernel counts a bundle that it drops as one. It has no effect if the limits of the driver
    /// allow only datagrams of less than 65,535 bytes.
    pub coalesced: bool,
    /// How networks should treat the datagrams: the differentiated services code point (RFC 2474),
    /// from 0 to 63 (`IP_TOS`, `IPV6_TCLASS`).
    pub dscp: Option<u8>,
    /// The permission bits of the file of a Unix socket that is bound. With `None`, the default,
    /// the umask of the process decides. Senders need the permission to write.
    pub unix_mode: Option<u32>,
    /// The address of this side of a connected socket. By default, the kernel chooses an IP address
    /// and a port. A Unix socket is bound to a path of its own in the folder for temporary files.
    pub local: Option<Address>,
}

/// A datagram socket, bound or connected, that is ready to be registered: UDP or Unix.
///
/// ```
/// use reactor::{DatagramOptions, DatagramSocket};
///
/// let server = DatagramSocket::bind(&"udp://127.0.0.1:0".parse()?, &DatagramOptions::default())?;
/// let client = DatagramSocket::connect(server.address(), &DatagramOptions::default())?;
/// assert_eq!(client.peer(), Some(server.address()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DatagramSocket {
    pub(crate) fd: OwnedFd,
    pub(super) address: Address,
    pub(super) peer: Option<Address>,
    pub(crate) file: Option<Arc<SocketFile>>,
    /// Datagrams may be received together.
    pub(crate) is_coalescing: bool,
    /// Other sockets may be bound to the same port.
    pub(crate) shares_port: bool,
}

impl DatagramSocket {
    /// Binds `address`, from which it then sends and at which it receives from any peer. The stale
    /// file of a Unix socket is replaced, as for a [`Listener`](crate::Listener). The call does not
    /// block.
    ///
    /// A socket that is bound to all addresses of this host answers each sender from the address
    /// that it has asked (`IP_PKTINFO`, `ip(7)`; `IPV6_RECVPKTINFO`, `ipv6(7)`). Many clients drop
    /// an answer from another address.
    ///
    /// # Errors
    /// One sentence that says what is wrong: the address is in use, this machine does not have it,
    /// or the system does not permit it.
    pub fn bind(address: &Address, options: &DatagramOptions) -> io::Result<Self> {
        Self::try_bind(address, options)
            .map_err(|failure| explained("cannot receive datagrams on", address, failure))
    }

    /// Connects to `peer`: datagrams are sent to it and received from it alone. This exchanges
    /// nothing with the peer, so there may be none. The call does not block.
    ///
    /// A Unix socket is bound to [`DatagramOptions::local`], or a path of its own, since a socket
    /// without a path gets no answers. The file is removed when the socket is dropped or its source
    /// ends. If the peer has an abstract name, this side has one too by default, which the kernel
    /// chooses.
    ///
    /// # Errors
    /// When there is no route, no such Unix socket, or no permission.
    pub fn connect(peer: &Address, options: &DatagramOptions) -> io::Result<Self> {
        Self::try_connect(peer, options)
            .map_err(|failure| explained("cannot send datagrams to", peer, failure))
    }

    fn try_bind(address: &Address, options: &DatagramOptions) -> Result<Self, Failure> {
        let fd = open(address, options)?;
        let file = match address {
            Address::Udp(ip) => {
                if ip.is_ipv6() {
                    let result = kernel::set_ipv6_only(fd.as_fd(), !options.dual_stack);
                    named("IPV6_V6ONLY", result)?;
                }
                answer_as_asked(&fd, address)?;
                named("bind", kernel::bind(fd.as_fd(), address.endpoint()))?;
                None
            }
            Address::UnixDatagram(path) if !kernel::is_simulated() => {
                Some(Arc::new(SocketFile::bind_datagrams(&fd, path, options.unix_mode)?))
            }
            Address::AbstractDatagram(_) if options.unix_mode.is_some() => {
                return Err(no_permissions());
            }
            // An abstract name has no file, and a simulated host has no file system.
            _ => {
                named("bind", kernel::bind(fd.as_fd(), address.endpoint()))?;
                None
            }
        };
        let address = own_address(&fd, address)?;
        let (is_coalescing, shares_port) = (options.coalesced, options.reuse_port);
        Ok(Self { fd, address, peer: None, file, is_coalescing, shares_port })
    }

    fn try_connect(peer: &Address, options: &DatagramOptions) -> Result<Self, Failure> {
        let fd = open(peer, options)?;
        let local = match (&options.local, peer) {
            (Some(local), _) => Some(local.clone()),
            (None, Address::UnixDatagram(_)) => Some(Address::UnixDatagram(own_path())),
            _ => None,
        };
        let file = match &local {
            Some(Address::UnixDatagram(path)) if !kernel::is_simulated() => {
                Some(Arc::new(SocketFile::bind_datagrams(&fd, path, Some(0o600))?))
            }
            Some(local) => {
                named("bind", kernel::bind(fd.as_fd(), local.endpoint()))?;
                None
            }
            None => {
                if let Address::AbstractDatagram(_) = peer {
                    named("bind", kernel::bind(fd.as_fd(), sys::Endpoint::Abstract(&[])))?;
                }
                None
            }
        };
        // A Unix socket has to be bound first: the server sees the name that it has then.
        named("connect", kernel::connect(fd.as_fd(), peer.endpoint()))?;
        if let Some(file) = &file {
            file.set_mode(Some(CLIENT_MODE))?;
        }
        let address = own_address(&fd, local.as_ref().unwrap_or(peer))?;
        let (is_coalescing, shares_port) = (options.coalesced, options.reuse_port);
        Ok(Self { fd, address, peer: Some(peer.clone()), file, is_coalescing, shares_port })
    }

    /// Returns another handle of the same socket, for a loop on another thread. Each datagram is
    /// received by one of the loops, but may wake all of them. If each loop binds a socket of its
    /// own with [`DatagramOptions::reuse_port`], a datagram wakes only one. The file of a Unix
    /// socket exists until the last of these has ended.
    ///
    /// # Errors
    /// When the process has no free descriptor (`dup(2)`).
    pub fn try_clone(&self) -> io::Result<Self> {
        let (address, peer, file) = (self.address.clone(), self.peer.clone(), self.file.clone());
        let Self { is_coalescing, shares_port, .. } = *self;
        Ok(Self { fd: self.fd.try_clone()?, address, peer, file, is_coalescing, shares_port })
    }

    /// Receives what is sent to a multicast group (`IP_ADD_MEMBERSHIP`, `IPV6_ADD_MEMBERSHIP`) on
    /// the network interface with this name; with `None`, the system chooses one. The socket has to
    /// be bound to the group or to all addresses, and to the port to which the group sends.
    ///
    /// # Errors
    /// When the group is no multicast address or of another family than the socket, there is no
    /// such interface, or the socket has joined too many groups.
    pub fn join_multicast(&self, group: IpAddr, interface: Option<&str>) -> io::Result<()> {
        let index = interface.map_or(Ok(0), interface_index)?;
        kernel::join_group(self.fd.as_fd(), group, index).map_err(|error| {
            let on = interface.map(|name| format!(" on {name}")).unwrap_or_default();
            let text = format!("cannot join the multicast group {group}{on}: {error}");
            io::Error::new(error.kind(), text)
        })
    }

    /// Sends multicast datagrams by the network interface with this name (`IP_MULTICAST_IF`,
    /// `IPV6_MULTICAST_IF`). Otherwise routing decides.
    ///
    /// # Errors
    /// When there is no such interface, or the socket is a Unix socket.
    pub fn set_multicast_interface(&self, interface: &str) -> io::Result<()> {
        let is_ipv6 = matches!(self.address, Address::Udp(SocketAddr::V6(_)));
        let index = interface_index(interface)?;
        kernel::set_multicast_interface(self.fd.as_fd(), is_ipv6, index)
    }

    /// Returns the address of this side. If the port was 0, it is the one that the kernel chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the address of the peer, if the socket is connected.
    pub fn peer(&self) -> Option<&Address> {
        self.peer.as_ref()
    }
}

/// Lends the descriptor, for options that this type does not have.
impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a socket for `address` and sets the options that do not depend on what it is used for.
fn open(address: &Address, options: &DatagramOptions) -> Result<OwnedFd, Failure> {
    if !address.is_datagram() {
        return Err(("socket", address.wrong_kind("Listener or Connector")));
    }
    if address.is_unix() && options.reuse_port {
        let text = "Unix sockets cannot share an address; clone the socket instead";
        return Err(("SO_REUSEPORT", io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    let fd = named("socket", kernel::datagram_socket(address.endpoint()))?;
    // SO_REUSEADDR, which UDP does not need, would let two servers share a port by mistake.
    if options.reuse_port {
        named("SO_REUSEPORT", kernel::set_reuse_port(fd.as_fd()))?;
    }
    set_options(&fd, address, options)?;
    Ok(fd)
}

/// Sets the options that do not depend on what a socket is used for.
pub(super) fn set_options(
    fd: &OwnedFd,
    address: &Address,
    options: &DatagramOptions,
) -> Result<(), Failure> {
    use DatagramOption as It;
    let number = |size: usize| i32::try_from(size).unwrap_or(i32::MAX);
    let sizes = [
        ("SO_RCVBUF", It::ReceiveBuffer, options.receive_buffer),
        ("SO_SNDBUF", It::SendBuffer, options.send_buffer),
    ];
    for (name, option, size) in sizes {
        if let Some(size) = size {
            set(fd, address, name, option, number(size))?;
        }
    }
    named("SO_RXQ_OVFL", kernel::set_datagram_option(fd.as_fd(), It::Missed, false, 1))?;
    if let Address::Udp(_) = address {
        if options.dscp.is_some_and(|dscp| dscp > 63) {
            let text = "code points of differentiated services go from 0 to 63 (RFC 2474)";
            return Err(("IP_TOS", io::Error::new(io::ErrorKind::InvalidInput, text)));
        }
        set(fd, address, "IP_RECVERR", It::Refusals, 1)?;
        let settings = [
            ("SO_BROADCAST", It::Broadcast, options.broadcast.then_some(1)),
            ("IP_TTL", It::Hops, options.hops.map(i32::from)),
            ("IP_MULTICAST_TTL", It::MulticastHops, options.multicast_hops.map(i32::from)),
            ("IP_MULTICAST_LOOP", It::MulticastLoop, options.multicast_loop.map(i32::from)),
            // Its two lowest bits are for congestion notification.
            ("IP_TOS", It::TrafficClass, options.dscp.map(|dscp| i32::from(dscp) << 2)),
        ];
        for (name, option, value) in settings {
            if let Some(value) = value {
                set(fd, address, name, option, value)?;
            }
        }
    }
    Ok(())
}

/// Makes a socket that is bound to all addresses answer from the address that it was asked at.
pub(super) fn answer_as_asked(fd: &OwnedFd, address: &Address) -> Result<(), Failure> {
    match address {
        Address::Udp(ip) if ip.ip().is_unspecified() => {
            set(fd, address, "IP_PKTINFO", DatagramOption::AskedAddress, 1)
        }
        _ => Ok(()),
    }
}

fn set(
    fd: &OwnedFd,
    address: &Address,
    name: &'static str,
    option: DatagramOption,
    value: i32,
) -> Result<(), Failure> {
    let is_ipv6 = matches!(address, Address::Udp(SocketAddr::V6(_)));
    named(name, kernel::set_datagram_option(fd.as_fd(), option, is_ipv6, value))
}

/// Returns the address that a socket has, which is `given` unless the kernel chose it.
fn own_address(fd: &OwnedFd, given: &Address) -> Result<Address, Failure> {
    if let Some(bound) = named("getsockname", kernel::local_address(fd.as_fd()))? {
        return Ok(Address::Udp(bound));
    }
    if let Address::AbstractDatagram(_) = given {
        let name = named("getsockname", kernel::local_unix_name(fd.as_fd()))?;
        return Ok(Address::of_unix_socket(&name, true).unwrap_or_else(|| given.clone()));
    }
    Ok(given.clone())
}

/// Returns a path for the socket of a client, which no other process uses.
fn own_path() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("reactor-{}-{number}.sock", std::process::id()))
}

fn interface_index(name: &str) -> io::Result<u32> {
    let text = CString::new(name).map_err(io::Error::from)?;
    sys::interface_index(&text).map_err(|error| {
        io::Error::new(error.kind(), format!("there is no network interface {name}: {error}"))
    })
}

/// Returns an error that says in one sentence what could not be done, and why.
pub(super) fn explained(action: &str, address: &Address, (operation, error): Failure) -> io::Error {
    let why = Why { operation, error: &error, address };
    io::Error::new(error.kind(), format!("{action} {address}: {why}"))
}
