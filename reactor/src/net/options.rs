//! Options for sockets that listen or connect.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::{Address, Resolver, kernel, sys};

/// How the kernel detects that the peer of a TCP connection has disappeared without closing it. By
/// default it does not: the idle limit of connections, 60 s by default, covers most cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// How long a connection may be silent before the kernel probes the peer, from 1 s to 32,767 s,
    /// in whole seconds (`TCP_KEEPIDLE`, `tcp(7)`). The connection fails after ten probes without
    /// an answer, which are a tenth of this time apart, but one second at least.
    pub keepalive: Option<Duration>,
    /// How long sent bytes may stay unacknowledged before the connection fails with `ETIMEDOUT`, in
    /// whole milliseconds (`TCP_USER_TIMEOUT`, `tcp(7)`). Without it, the kernel takes about a
    /// quarter of an hour.
    pub user_timeout: Option<Duration>,
}

impl TcpOptions {
    /// Sets the options of a TCP socket, and `TCP_NODELAY`: output is already collected before it
    /// is written, so a delay would gain nothing.
    pub(crate) fn apply(&self, socket: &OwnedFd) -> io::Result<()> {
        kernel::set_nodelay(socket.as_fd())?;
        if let Some(idle) = self.keepalive {
            kernel::set_keepalive(socket.as_fd(), idle)?;
        }
        self.user_timeout.map_or(Ok(()), |limit| kernel::set_user_timeout(socket.as_fd(), limit))
    }
}

/// Options of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// How many connections may wait to be accepted. The kernel limits it to `net.core.somaxconn`.
    /// Default 4,096, which is also the default of that setting.
    pub backlog: i32,
    /// The permission bits of the file of a Unix socket. With `None`, the default, the umask of the
    /// process decides.
    pub unix_mode: Option<u32>,
    /// Whether an IPv6 address that includes IPv4 addresses, such as `[::]`, accepts IPv4
    /// connections too (`IPV6_V6ONLY`, `ipv6(7)`). By default it does not, whatever
    /// `net.ipv6.bindv6only` says: a server that wants both listens on an IPv4 address as well.
    pub dual_stack: bool,
    /// Whether other sockets of this user may listen on the same IP address and port
    /// (`SO_REUSEPORT`, `socket(7)`). The kernel spreads connections over them, so each of several
    /// loops on threads of their own accepts its share. All of the sockets have to set it. By
    /// default, binding fails if another socket listens on the address. Unix sockets do not have
    /// this option; clone the listener instead
    /// ([`Listener::try_clone`](crate::Listener::try_clone)).
    pub reuse_port: bool,
    /// The TCP options, which accepted connections inherit.
    pub tcp: TcpOptions,
}

impl ListenOptions {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        backlog: 4096,
        unix_mode: None,
        dual_stack: false,
        reuse_port: false,
        tcp: TcpOptions { keepalive: None, user_timeout: None },
    };
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The name of a network interface of this host, such as `eth0`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    /// The name, followed by zero bytes, as the kernel has it (`IFNAMSIZ`).
    name: [u8; libc::IFNAMSIZ],
}

impl Device {
    /// Returns the device with a name. Whether it exists shows when it is used.
    ///
    /// # Errors
    /// When no device can have this name: it has 1 to 15 bytes, none of them `/`, a space or a zero
    /// byte.
    pub fn new(name: &str) -> io::Result<Self> {
        let is_fit = |byte: u8| byte != 0 && byte != b'/' && !byte.is_ascii_whitespace();
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || !name.bytes().all(is_fit) {
            let text = format!(
                "\"{name}\" is no name of a network device: it has 1 to 15 bytes, without spaces and /"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut device = Self { name: [0; libc::IFNAMSIZ] };
        device.name[..name.len()].copy_from_slice(name.as_bytes());
        Ok(device)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        let length = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        // It was made of a text.
        std::str::from_utf8(&self.name[..length]).unwrap_or_default()
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.name()).finish()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Options of a connection that this side makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// How long resolving and connecting may take altogether. Default 10 s.
    pub timeout: Duration,
    /// How long an attempt with one address may take. Default 10 s; the kernel alone would try for
    /// about two minutes.
    pub attempt_timeout: Duration,
    /// How long an attempt has before the next address is tried as well. Default 250 ms (RFC 8305,
    /// section 5).
    pub attempt_delay: Duration,
    /// The local address to connect from (`bind(2)`), whose port may be 0 for any. By default, the
    /// kernel chooses. Addresses of the other family are not tried; Unix sockets do not heed it.
    pub source: Option<SocketAddr>,
    /// The network device to connect through (`SO_BINDTODEVICE`, `socket(7)`). By default, the routes
    /// decide. Unix sockets do not heed it, nor do simulated hosts.
    pub device: Option<Device>,
    /// What resolves the name of the target. By default, it is [`Resolver::shared`].
    pub resolver: Option<Resolver>,
    /// The TCP options.
    pub tcp: TcpOptions,
}

/// A socket that connects, or the system call that failed with its error.
type Begun = Result<(OwnedFd, sys::Connecting), (&'static str, io::Error)>;

impl ConnectOptions {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        timeout: Duration::from_secs(10),
        attempt_timeout: Duration::from_secs(10),
        attempt_delay: Duration::from_millis(250),
        source: None,
        device: None,
        resolver: None,
        tcp: TcpOptions { keepalive: None, user_timeout: None },
    };

    /// Returns what resolves names.
    pub(crate) fn resolver_or_shared(&self) -> Resolver {
        self.resolver.clone().unwrap_or_else(Resolver::shared)
    }

    /// Creates a non-blocking socket and begins to connect it to `address`.
    pub(crate) fn begin(&self, address: &Address) -> Begun {
        if address.is_datagram() {
            return Err(("socket", address.wrong_kind("DatagramSocket")));
        }
        let at = |operation| move |error| (operation, error);
        let socket = kernel::stream_socket(address.endpoint()).map_err(at("socket"))?;
        if let Address::Tcp(ip) = address {
            self.tcp.apply(&socket).map_err(at("setsockopt"))?;
            if let Some(device) = &self.device {
                kernel::bind_to_device(socket.as_fd(), &device.name).map_err(at("setsockopt"))?;
            }
            if let Some(source) = &self.source {
                bind_source(socket.as_fd(), source, ip).map_err(at("bind"))?;
            }
        }
        let connecting =
            kernel::connect(socket.as_fd(), address.endpoint()).map_err(at("connect"))?;
        Ok((socket, connecting))
    }
}

/// Binds a socket to the address that it connects from. The kernel chooses its port only when it
/// connects, so connections to several targets may have the same.
fn bind_source(socket: BorrowedFd<'_>, source: &SocketAddr, to: &SocketAddr) -> io::Result<()> {
    if source.is_ipv4() != to.is_ipv4() {
        return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
    }
    if source.port() == 0 {
        kernel::choose_port_late(socket)?;
    }
    kernel::bind(socket, sys::Endpoint::Inet(source))
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}
