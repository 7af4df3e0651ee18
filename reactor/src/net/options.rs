//! Options for sockets that listen or connect.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::source::handler::hint;
use crate::{Address, kernel, sys};

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

/// Options of a connection that this side makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// How long connecting may take. Default 10 s; the kernel alone would try for about two
    /// minutes.
    pub timeout: Duration,
    /// The TCP options.
    pub tcp: TcpOptions,
}

impl ConnectOptions {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        timeout: Duration::from_secs(10),
        tcp: TcpOptions { keepalive: None, user_timeout: None },
    };

    /// Creates a non-blocking socket and begins to connect it to `address`.
    pub(crate) fn dial(&self, address: &Address) -> io::Result<(OwnedFd, sys::Connecting)> {
        let attempt = || {
            if address.is_datagram() {
                return Err(address.wrong_kind("DatagramSocket"));
            }
            let socket = kernel::stream_socket(address.endpoint())?;
            if let Address::Tcp(_) = address {
                self.tcp.apply(&socket)?;
            }
            let connecting = kernel::connect(socket.as_fd(), address.endpoint())?;
            Ok((socket, connecting))
        };
        attempt().map_err(|error: io::Error| {
            let hint = hint(&error);
            let separator = if hint.is_empty() { "" } else { ": " };
            let text = format!("cannot connect to {address}: {error}{separator}{hint}");
            io::Error::new(error.kind(), text)
        })
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}
