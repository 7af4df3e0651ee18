//! How sockets are set up.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::source::handler::hint;
use crate::{Address, sys};

/// What TCP does by itself about a peer that is gone without a word. Nothing by default: the idle
/// limit of connections, 60 s by default, covers most of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// After how much silence the kernel asks the peer whether it is still there, from 1 s to
    /// 32,767 s, in whole seconds; it gives up after ten more questions, a tenth of this time
    /// apart (`TCP_KEEPIDLE`, `tcp(7)`).
    pub keepalive: Option<Duration>,
    /// How long what was sent may stay unacknowledged before the connection fails with
    /// `ETIMEDOUT`, in milliseconds (`TCP_USER_TIMEOUT`, `tcp(7)`); otherwise that takes the
    /// kernel a quarter of an hour.
    pub user_timeout: Option<Duration>,
}

impl TcpOptions {
    /// Sets up a TCP socket: also without delay (`TCP_NODELAY`), since replies are gathered here.
    pub(crate) fn apply(&self, socket: &OwnedFd) -> io::Result<()> {
        sys::set_nodelay(socket.as_fd())?;
        if let Some(idle) = self.keepalive {
            sys::set_keepalive(socket.as_fd(), idle)?;
        }
        self.user_timeout.map_or(Ok(()), |limit| sys::set_user_timeout(socket.as_fd(), limit))
    }
}

/// How to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    /// Default 4,096, which is that setting's own default.
    pub backlog: i32,
    /// The permission bits of a Unix socket's file, or those that the process's umask gives.
    pub unix_mode: Option<u32>,
    /// Whether an IPv6 address takes IPv4 connections too, where it includes them, as `[::]` does.
    /// By default it does not, whatever the system's own default is (`net.ipv6.bindv6only`): what
    /// is not IPv6 is listened to beside it, at an address of its own.
    pub dual_stack: bool,
    /// Whether other sockets of this user may listen on the same IP address and port
    /// (`SO_REUSEPORT`, `socket(7)`): the kernel spreads connections over them, so that a loop on each
    /// of several threads accepts its share. All of them have to set it. By default, an address that
    /// another socket listens on is refused. Unix sockets have no such option: clone the listener
    /// ([`Listener::try_clone`](crate::Listener::try_clone)).
    pub reuse_port: bool,
    /// What accepted connections inherit.
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

/// How to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// How long it may take. Default 10 s; the kernel alone would try for two minutes.
    pub timeout: Duration,
    /// What TCP does about a peer that is gone.
    pub tcp: TcpOptions,
}

impl ConnectOptions {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        timeout: Duration::from_secs(10),
        tcp: TcpOptions { keepalive: None, user_timeout: None },
    };

    /// A socket that is connected to `address`, or is about to be.
    pub(crate) fn dial(&self, address: &Address) -> io::Result<(OwnedFd, sys::Connecting)> {
        let attempt = || {
            let socket = sys::stream_socket(address.endpoint())?;
            if let Address::Tcp(_) = address {
                self.tcp.apply(&socket)?;
            }
            let connecting = sys::connect(socket.as_fd(), address.endpoint())?;
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
