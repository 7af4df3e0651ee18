//! Listening sockets, and the messages that say why an address cannot be bound.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::net::acceptor::{Accepted, Acceptor};
use crate::net::socket_file::{Failure, SocketFile, named};
use crate::net::taking::Takes;
use crate::source::handler::exhaustion;
use crate::source::registration::Sharing;
use crate::{Address, Cx, Interest, ListenOptions, LoopCx, Registration, Role, Token, kernel};

/// A listening socket that is ready to be registered.
#[derive(Debug)]
pub struct Listener {
    pub(super) fd: OwnedFd,
    pub(super) address: Address,
    pub(super) file: Option<Arc<SocketFile>>,
    sharing: Sharing,
}

impl Listener {
    /// Binds `address` and listens (`listen(2)`). TCP sockets get `SO_REUSEADDR`, and
    /// `TCP_NODELAY`, which accepted connections inherit.
    ///
    /// An abstract name ([`AbstractName`](crate::AbstractName)) is bound as it is: there is no file, and no lock.
    ///
    /// The stale file of a Unix socket is replaced: one to which no connection can be made, because
    /// no process listens. While the file is created, a lock beside it, with `.lock` added to the
    /// name, makes sure that only one of several servers that start at once gets the path. The call
    /// does not block.
    ///
    /// # Errors
    /// One sentence that says what is wrong: the address is in use, this machine does not have it,
    /// or the system does not permit it.
    pub fn bind(address: &Address, options: &ListenOptions) -> io::Result<Self> {
        Self::try_bind(address, options).map_err(|(operation, error)| {
            let why = Why { operation, error: &error, address };
            io::Error::new(error.kind(), format!("cannot listen on {address}: {why}"))
        })
    }

    fn try_bind(address: &Address, options: &ListenOptions) -> Result<Self, Failure> {
        if address.is_datagram() {
            return Err(("socket", address.wrong_kind("DatagramSocket")));
        }
        let fd = named("socket", kernel::stream_socket(address.endpoint()))?;
        let file = match address {
            Address::Tcp(ip) | Address::Udp(ip) => {
                named("SO_REUSEADDR", kernel::set_reuse_address(fd.as_fd()))?;
                if options.reuse_port {
                    named("SO_REUSEPORT", kernel::set_reuse_port(fd.as_fd()))?;
                }
                if ip.is_ipv6() {
                    let result = kernel::set_ipv6_only(fd.as_fd(), !options.dual_stack);
                    named("IPV6_V6ONLY", result)?;
                }
                named("setsockopt", options.tcp.apply(&fd))?;
                named("bind", kernel::bind(fd.as_fd(), address.endpoint()))?;
                named("listen", kernel::listen(fd.as_fd(), options.backlog))?;
                None
            }
            Address::Unix(_) | Address::Abstract(_) if options.reuse_port => {
                let text = "Unix sockets cannot share an address; clone the listener instead";
                return Err(("SO_REUSEPORT", io::Error::new(io::ErrorKind::InvalidInput, text)));
            }
            // An abstract name has no file, and a simulated host has no file system.
            Address::Unix(path) | Address::UnixDatagram(path) if !kernel::is_simulated() => {
                Some(Arc::new(SocketFile::listen(&fd, path, options)?))
            }
            Address::Abstract(_) if options.unix_mode.is_some() => return Err(no_permissions()),
            _ => {
                named("bind", kernel::bind(fd.as_fd(), address.endpoint()))?;
                named("listen", kernel::listen(fd.as_fd(), options.backlog))?;
                None
            }
        };
        let address = match named("getsockname", kernel::local_address(fd.as_fd()))? {
            Some(bound) => Address::Tcp(bound),
            None => address.clone(),
        };
        Ok(Self { fd, address, file, sharing: Sharing::Possible })
    }

    /// Takes over a socket that already listens: one inherited from another process, as systemd
    /// passes them (`sd_listen_fds(3)`), or one that other code has bound. The socket is made
    /// non-blocking. The file of a Unix socket is not removed; its creator has to do that, unless this
    /// process takes that over too ([`own_file`](Self::own_file)).
    ///
    /// # Errors
    /// When the descriptor is not a stream socket, or does not listen (`SO_ACCEPTCONN`,
    /// `socket(7)`).
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let refused = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if kernel::sends_messages(fd.as_fd()) {
            return refused("cannot listen on an inherited descriptor that is not a stream socket");
        }
        if !kernel::is_listening(fd.as_fd())? {
            return refused(
                "the inherited socket does not listen; its creator has to call listen(2)",
            );
        }
        kernel::set_nonblocking(fd.as_fd())?;
        if let Some(address) = kernel::local_address(fd.as_fd())? {
            let address = Address::Tcp(address);
            return Ok(Self { fd, address, file: None, sharing: Sharing::Possible });
        }
        let address = Address::of_unix_socket(&kernel::local_unix_name(fd.as_fd())?, false);
        let address = address.unwrap_or_else(|| Address::Unix("(no name)".into()));
        Ok(Self { fd, address, file: None, sharing: Sharing::Possible })
    }

    /// Returns another listener on the same socket, for a loop on another thread. Each connection
    /// is accepted by one of the loops, but may wake all of them unless all are
    /// [exclusive](Self::exclusive). If each loop binds a listener of its own with
    /// [`ListenOptions::reuse_port`], a connection wakes only one. The socket listens,
    /// and the file of a Unix socket exists, until the last of these listeners has ended.
    ///
    /// # Errors
    /// When the process has no free descriptor (`dup(2)`).
    pub fn try_clone(&self) -> io::Result<Self> {
        let fd = self.fd.try_clone()?;
        let (address, file) = (self.address.clone(), self.file.clone());
        Ok(Self { fd, address, file, sharing: self.sharing })
    }

    /// Declares that other loops accept from the same socket, on other threads or in other processes.
    /// The kernel then wakes one of those that wait, or few, for a connection
    /// ([`Registration::exclusive`]). A loop that has no room takes no part until it has.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.sharing = Sharing::Competing;
        self
    }

    /// Returns the address on which it listens. If the port was 0, it is the one that the kernel
    /// chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Registers the listener, which then accepts connections. `accept` is called with each of
    /// them, and usually registers it. If it fails, the connection is closed.
    ///
    /// At most [`LoopLimits::accepts_per_turn`](crate::LoopLimits::accepts_per_turn) connections
    /// are accepted in a turn. Accepting pauses while the loop has
    /// [`LoopLimits::connections_max`](crate::LoopLimits::connections_max) connections or
    /// [`LoopLimits::handshakes_max`](crate::LoopLimits::handshakes_max) handshakes, or no
    /// descriptor is free.
    ///
    /// # Errors
    /// As for [`Cx::register`].
    pub fn register<A: 'static, P>(
        self,
        cx: &mut Cx<'_, A, P>,
        accept: impl FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()> + 'static,
    ) -> io::Result<Token> {
        self.register_for(cx, accept)
    }

    /// Registers the listener for what takes its connections.
    pub(crate) fn register_for<A: 'static, P>(
        self,
        cx: &mut Cx<'_, A, P>,
        taker: impl Takes<A> + 'static,
    ) -> io::Result<Token> {
        let plain = Registration::new(Interest::READ).role(Role::Listener).known_nonblocking();
        let registration = Registration { sharing: self.sharing, ..plain };
        cx.register(
            self.fd,
            registration,
            Acceptor::new(taker, self.address, self.file, self.sharing),
        )
    }
}

/// Lends the descriptor, to pass it on to another process
/// ([`send_descriptors`](crate::send_descriptors)).
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Tells the operator why a program cannot listen on an address.
pub(crate) struct Why<'a> {
    pub(crate) operation: &'static str,
    pub(crate) error: &'a io::Error,
    pub(crate) address: &'a Address,
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An error without a number was made here and is a sentence already.
        let Some(number) = self.error.raw_os_error() else { return self.error.fmt(f) };
        let known = exhaustion(self.error).map(str::to_owned);
        let hint = known.or_else(|| match self.address {
            Address::Tcp(ip) | Address::Udp(ip) => about_ip(self.operation, number, ip),
            Address::Unix(path) | Address::UnixDatagram(path) => {
                about_path(self.operation, number, path)
            }
            Address::Abstract(_) | Address::AbstractDatagram(_) => about_name(number),
        });
        match hint {
            Some(hint) => write!(f, "{hint} ({}: {})", self.operation, self.error),
            None => write!(f, "{}: {}", self.operation, self.error),
        }
    }
}

/// Explains an error of an IP address and a port (`ip(7)`, `bind(2)`).
fn about_ip(operation: &str, number: i32, address: &SocketAddr) -> Option<String> {
    let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
    Some(match (operation, number) {
        (_, libc::EADDRINUSE) => {
            "another socket has that port (ss -tuanp shows which process)".to_owned()
        }
        (_, libc::EADDRNOTAVAIL) => "this machine does not have that address".to_owned(),
        (_, libc::EAFNOSUPPORT) => format!("this machine does not support {family}"),
        ("bind", libc::EACCES) if address.port() < privileged_below() => {
            format!("ports below {} need root or CAP_NET_BIND_SERVICE", privileged_below())
        }
        ("bind", libc::EINVAL) if is_without_scope(address) => {
            "a link-local address needs the number of its interface, as in [fe80::1%2]:80"
                .to_owned()
        }
        (_, libc::EACCES | libc::EPERM) => "a policy of this system forbids it".to_owned(),
        _ => return None,
    })
}

/// Returns the lowest port that any user may bind (`net.ipv4.ip_unprivileged_port_start`, also for
/// IPv6).
fn privileged_below() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

/// Returns whether it is a link-local address that does not name its interface.
fn is_without_scope(address: &SocketAddr) -> bool {
    match address {
        SocketAddr::V4(_) => false,
        SocketAddr::V6(address) => address.ip().is_unicast_link_local() && address.scope_id() == 0,
    }
}

/// Returns the failure of permission bits for an abstract name.
pub(crate) fn no_permissions() -> Failure {
    let text = "an abstract name has no file and so no permission bits: use the path of a file";
    ("chmod", io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Explains an error of the abstract name of a Unix socket (`unix(7)`).
fn about_name(number: i32) -> Option<String> {
    Some(match number {
        libc::EADDRINUSE => "another socket has that name (ss -axp shows which process)".to_owned(),
        libc::EAFNOSUPPORT => "this machine does not support Unix sockets".to_owned(),
        libc::EPERM | libc::EACCES => "a policy of this system forbids it".to_owned(),
        _ => return None,
    })
}

/// Explains an error of the path of a Unix socket (`unix(7)`, `path_resolution(7)`).
fn about_path(operation: &str, number: i32, path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).display();
    Some(match (operation, number) {
        (_, libc::EADDRINUSE) => "another process has just created that file".to_owned(),
        (_, libc::ENOENT) => format!("the folder {folder} does not exist"),
        (_, libc::ENOTDIR) => format!("{folder} is not a folder"),
        (_, libc::EACCES) => format!("this user may not create files in {folder}"),
        (_, libc::EROFS) => format!("the file system of {folder} is read-only"),
        (_, libc::ENOSPC | libc::EDQUOT) => format!("the file system of {folder} is full"),
        (_, libc::ELOOP) => format!("{folder} has too many symbolic links"),
        (_, libc::ENAMETOOLONG) => "a name in the path is too long".to_owned(),
        ("bind", libc::EPERM) => format!("the file system of {folder} does not support sockets"),
        ("chmod", libc::EPERM) => "this user may not change the permissions of the file".to_owned(),
        ("socket", libc::EAFNOSUPPORT) => "this machine does not support Unix sockets".to_owned(),
        (_, libc::EPERM) => "a policy of this system forbids it".to_owned(),
        _ => return None,
    })
}
