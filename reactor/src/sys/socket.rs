//! Sockets: TCP and UDP over IPv4 and IPv6, and Unix.

use std::io;
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::check;
use super::datagram::unix_name;

/// The address of a socket to listen on or to connect to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Endpoint<'a> {
    Inet(&'a SocketAddr),
    Unix(&'a Path),
    /// An abstract name. A socket that is bound to an empty one gets a name that no other socket has
    /// (`unix(7)`, autobind).
    Abstract(&'a [u8]),
}

/// The longest path of a Unix socket, in bytes: the structure of the kernel has room for 108, and
/// the last is zero (`unix(7)`).
pub(crate) const UNIX_PATH_MAX: usize = 107;

/// The result of `connect(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connecting {
    Done,
    InProgress,
}

/// An address as the kernel takes it.
pub(super) enum RawAddress {
    /// That of the peer of a connected socket.
    None,
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
    Unix(libc::sockaddr_un, usize),
}

impl RawAddress {
    fn new(endpoint: Endpoint<'_>) -> io::Result<Self> {
        match endpoint {
            Endpoint::Inet(address) => Ok(Self::inet(address)),
            Endpoint::Unix(path) => Self::unix(path),
            Endpoint::Abstract(name) => Self::abstract_name(name),
        }
    }

    #[inline]
    pub(super) fn inet(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(address) => Self::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            }),
        }
    }

    fn unix(path: &Path) -> io::Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() || bytes.len() > UNIX_PATH_MAX || bytes.contains(&0) {
            let text = format!(
                "a Unix socket's path has 1 to {UNIX_PATH_MAX} bytes, none of them zero; this one \
                 has {}",
                bytes.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Self::unix_name(bytes)
    }

    fn abstract_name(name: &[u8]) -> io::Result<Self> {
        if !name.is_empty() {
            return Self::unix_name(&[&[0], name].concat());
        }
        let address = libc::sockaddr_un {
            sun_family: libc::AF_UNIX as libc::sa_family_t,
            sun_path: [0; UNIX_PATH_MAX + 1],
        };
        Ok(Self::Unix(address, offset_of!(libc::sockaddr_un, sun_path)))
    }

    /// Returns the address of the Unix socket with this name: a path, or an abstract name after a
    /// zero byte (`unix(7)`).
    pub(super) fn unix_name(name: &[u8]) -> io::Result<Self> {
        let mut address = libc::sockaddr_un {
            sun_family: libc::AF_UNIX as libc::sa_family_t,
            sun_path: [0; UNIX_PATH_MAX + 1],
        };
        let is_abstract = name.first() == Some(&0);
        if name.is_empty() || name.len() > UNIX_PATH_MAX + usize::from(is_abstract) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (place, byte) in address.sun_path.iter_mut().zip(name) {
            *place = *byte as libc::c_char;
        }
        // A path ends with a zero byte; an abstract name has the length that is given.
        let length = name.len() + usize::from(!is_abstract);
        Ok(Self::Unix(address, offset_of!(libc::sockaddr_un, sun_path) + length))
    }

    /// Returns the family, and the address with its length for as long as `self` is borrowed.
    #[inline]
    pub(super) fn parts(&self) -> (libc::c_int, *const libc::sockaddr, libc::socklen_t) {
        match self {
            Self::None => (libc::AF_UNSPEC, std::ptr::null(), 0),
            Self::V4(address) => {
                (libc::AF_INET, std::ptr::from_ref(address).cast(), length_of(address))
            }
            Self::V6(address) => {
                (libc::AF_INET6, std::ptr::from_ref(address).cast(), length_of(address))
            }
            Self::Unix(address, length) => {
                (libc::AF_UNIX, std::ptr::from_ref(address).cast(), *length as libc::socklen_t)
            }
        }
    }
}

fn length_of<T>(_value: &T) -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// Opens a stream socket for `endpoint`, non-blocking and closed on exec (`socket(2)`).
pub(crate) fn stream_socket(endpoint: Endpoint<'_>) -> io::Result<OwnedFd> {
    socket(endpoint, libc::SOCK_STREAM)
}

/// Opens a datagram socket for `endpoint`, non-blocking and closed on exec (`socket(2)`).
pub(crate) fn datagram_socket(endpoint: Endpoint<'_>) -> io::Result<OwnedFd> {
    socket(endpoint, libc::SOCK_DGRAM)
}

fn socket(endpoint: Endpoint<'_>, kind: libc::c_int) -> io::Result<OwnedFd> {
    let (family, ..) = RawAddress::new(endpoint)?.parts();
    let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes no pointer.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the descriptor was just opened, and no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `bind(2)`.
pub(crate) fn bind(fd: BorrowedFd<'_>, endpoint: Endpoint<'_>) -> io::Result<()> {
    let raw = RawAddress::new(endpoint)?;
    let (_, address, length) = raw.parts();
    // SAFETY: the address is readable for `length` bytes while `raw` lives.
    check(unsafe { libc::bind(fd.as_raw_fd(), address, length) }).map(drop)
}

/// `listen(2)`.
pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: listen takes no pointer.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(drop)
}

/// `connect(2)`. A Unix socket whose backlog is full would block, which is an error here: no event
/// would tell when to try again.
pub(crate) fn connect(fd: BorrowedFd<'_>, endpoint: Endpoint<'_>) -> io::Result<Connecting> {
    let raw = RawAddress::new(endpoint)?;
    let (_, address, length) = raw.parts();
    // SAFETY: the address is readable for `length` bytes while `raw` lives.
    match check(unsafe { libc::connect(fd.as_raw_fd(), address, length) }) {
        Ok(_) => Ok(Connecting::Done),
        // An interrupted connect continues in the background, like one in progress.
        Err(error) => match error.raw_os_error() {
            Some(libc::EINPROGRESS | libc::EINTR) => Ok(Connecting::InProgress),
            _ => Err(error),
        },
    }
}

/// `accept4(2)`: a connection, non-blocking and closed on exec, and its peer when that has an IP
/// address.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    // SAFETY: all-zero bytes are a valid sockaddr_in6, the largest address that is expected.
    let mut peer: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    let mut length = length_of(&peer);
    let address = std::ptr::from_mut(&mut peer).cast();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    loop {
        // SAFETY: the kernel writes at most `length` bytes of address, which `peer` has.
        let result = check(unsafe { libc::accept4(fd.as_raw_fd(), address, &mut length, flags) });
        match result {
            // SAFETY: the descriptor was just opened, and no other code owns it.
            Ok(fd) => return Ok((unsafe { OwnedFd::from_raw_fd(fd) }, peer_address(&peer))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the address in a structure that is large enough for either family.
#[inline]
pub(super) fn peer_address(raw: &libc::sockaddr_in6) -> Option<SocketAddr> {
    match libc::c_int::from(raw.sin6_family) {
        libc::AF_INET => {
            // An IPv4 address is at the offset of the flow information of an IPv6 address.
            let ip = Ipv4Addr::from(raw.sin6_flowinfo.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(raw.sin6_port)).into())
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            let port = u16::from_be(raw.sin6_port);
            Some(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Returns the address that a socket is bound to, when it is an IP address (`getsockname(2)`).
pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    // SAFETY: all-zero bytes are a valid sockaddr_in6, the largest address that is expected.
    let mut own: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    let mut length = length_of(&own);
    let address = std::ptr::from_mut(&mut own).cast();
    // SAFETY: the kernel writes at most `length` bytes of address, which `own` has.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), address, &mut length) })?;
    Ok(peer_address(&own))
}

/// Returns the address of the peer, when it is an IP address (`getpeername(2)`).
pub(crate) fn remote_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    // SAFETY: all-zero bytes are a valid sockaddr_in6, the largest address that is expected.
    let mut peer: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    let mut length = length_of(&peer);
    let address = std::ptr::from_mut(&mut peer).cast();
    // SAFETY: the kernel writes at most `length` bytes of address, which `peer` has.
    check(unsafe { libc::getpeername(fd.as_raw_fd(), address, &mut length) })?;
    Ok(peer_address(&peer))
}

/// Returns the name that a Unix socket is bound to (`getsockname(2)`): a path, an abstract name after
/// a zero byte, or nothing.
pub(crate) fn local_unix_name(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    // SAFETY: all-zero bytes are a valid sockaddr_un, which is made of integers.
    let mut own: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    let mut length = length_of(&own);
    let address = std::ptr::from_mut(&mut own).cast();
    // SAFETY: the kernel writes at most `length` bytes of address, which `own` has.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), address, &mut length) })?;
    Ok(unix_name(&own, length as usize).to_vec())
}

pub(super) fn set_option(
    fd: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: i32,
) -> io::Result<()> {
    let pointer = std::ptr::from_ref(&value).cast();
    // SAFETY: `value` is readable for its own length.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer, length_of(&value)) })
        .map(drop)
}

/// Allows a listener to use an address that old connections still have (`SO_REUSEADDR`).
pub(crate) fn set_reuse_address(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
}

/// Allows several listeners to share an address (`SO_REUSEPORT`).
pub(crate) fn set_reuse_port(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)
}

/// Sets whether an IPv6 listener accepts IPv6 connections alone (`IPV6_V6ONLY`, `ipv6(7)`),
/// whatever the default of the system (`net.ipv6.bindv6only`).
pub(crate) fn set_ipv6_only(fd: BorrowedFd<'_>, only: bool) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, i32::from(only))
}

/// Sends small segments at once (`TCP_NODELAY`). Accepted connections inherit it.
pub(crate) fn set_nodelay(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// Makes the kernel probe a silent peer: after `idle`, then every tenth of that, ten times at most
/// (`tcp(7)`). Accepted connections inherit it.
pub(crate) fn set_keepalive(fd: BorrowedFd<'_>, idle: Duration) -> io::Result<()> {
    const PROBES: i32 = 10;
    let seconds = |duration: Duration| duration.as_secs().clamp(1, 32_767) as i32;
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds(idle))?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, seconds(idle / PROBES as u32))?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, PROBES)
}

/// Sets how long sent data may stay unacknowledged before the connection fails
/// (`TCP_USER_TIMEOUT`). Accepted connections inherit it.
pub(crate) fn set_user_timeout(fd: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    let milliseconds = limit.as_millis().clamp(1, i32::MAX as u128) as i32;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, milliseconds)
}

/// Sends and receives through one network device alone (`SO_BINDTODEVICE`, `socket(7)`). The name may
/// end with zero bytes.
pub(crate) fn bind_to_device(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let (level, option) = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
    let length = name.len() as libc::socklen_t;
    // SAFETY: the name is readable for its own length.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, name.as_ptr().cast(), length) })
        .map(drop)
}

/// The kernel chooses the port of a bound socket when it connects (`IP_BIND_ADDRESS_NO_PORT`,
/// `ip(7)`).
pub(crate) fn choose_port_late(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Returns how many bytes the peer has not acknowledged, sent or not (`SIOCOUTQ`, `tcp(7)`). For a
/// Unix socket, it is the memory that these bytes take.
pub(crate) fn unacknowledged(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int, which `count` is.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &mut count) })?;
    Ok(u32::try_from(count).unwrap_or(0))
}

/// Makes closing a TCP connection reset it and drop what is unsent (`SO_LINGER`, `socket(7)`).
pub(crate) fn reset_on_close(fd: BorrowedFd<'_>) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let (pointer, length) = (std::ptr::from_ref(&linger).cast(), length_of(&linger));
    let (level, option) = (libc::SOL_SOCKET, libc::SO_LINGER);
    // SAFETY: `linger` is readable for its own length.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer, length) }).map(drop)
}

/// Returns whether closing a connection resets it.
pub(crate) fn resets_on_close(fd: BorrowedFd<'_>) -> bool {
    let mut linger = libc::linger { l_onoff: 0, l_linger: 0 };
    let asked = get_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &mut linger);
    asked.is_ok() && linger.l_onoff != 0 && linger.l_linger == 0
}

/// Ends the sending side (`shutdown(2)`).
pub(crate) fn shutdown_write(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: shutdown takes no pointer.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

/// Returns whether a descriptor is a socket of messages, which may be empty (`SO_TYPE`,
/// `socket(7)`).
pub(crate) fn sends_messages(fd: BorrowedFd<'_>) -> bool {
    socket_option(fd, libc::SO_TYPE).is_ok_and(|kind| kind != libc::SOCK_STREAM)
}

/// Returns whether a descriptor is a socket of a stream of bytes (`SO_TYPE`, `socket(7)`).
pub(crate) fn is_stream_socket(fd: BorrowedFd<'_>) -> bool {
    socket_option(fd, libc::SO_TYPE).is_ok_and(|kind| kind == libc::SOCK_STREAM)
}

/// Returns whether a socket is a listener (`SO_ACCEPTCONN`, `socket(7)`).
pub(crate) fn is_listening(fd: BorrowedFd<'_>) -> io::Result<bool> {
    socket_option(fd, libc::SO_ACCEPTCONN).map(|accepts| accepts != 0)
}

/// Returns how many connections wait to be accepted from a TCP listener, or `None` for any other
/// socket (`TCP_INFO`, `tcp(7)`: for a listener, the kernel reports this number in that field).
pub(crate) fn backlog(fd: BorrowedFd<'_>) -> Option<u32> {
    // SAFETY: all-zero bytes are a valid tcp_info, which is made of integers.
    let mut information: libc::tcp_info = unsafe { std::mem::zeroed() };
    get_option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut information).ok()?;
    Some(information.tcpi_unacked)
}

/// Returns how many attempts to connect to a listener the kernel has dropped, mostly because its
/// backlog was full, or how many datagrams because a receive buffer was; zero where the kernel does not report it (`SO_MEMINFO`, Linux 4.12).
pub(crate) fn turned_away(fd: BorrowedFd<'_>) -> u32 {
    /// `libc` does not define it. It is 55 on all architectures but PA-RISC and SPARC.
    const SO_MEMINFO: libc::c_int = 55;
    let mut information = [0_u32; libc::SK_MEMINFO_DROPS as usize + 1];
    match get_option(fd, libc::SOL_SOCKET, SO_MEMINFO, &mut information) {
        Ok(()) => information[libc::SK_MEMINFO_DROPS as usize],
        Err(_) => 0,
    }
}

/// Returns the process that listens at the other end of a connected Unix socket, or created it, its
/// user and its group. The process is zero if this one cannot see it (`SO_PEERCRED`, `unix(7)`).
pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<(u32, u32, u32)> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    get_option(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut credentials)?;
    Ok((u32::try_from(credentials.pid).unwrap_or(0), credentials.uid, credentials.gid))
}

/// Returns an option of the socket level that is a number (`socket(7)`).
pub(super) fn socket_option(fd: BorrowedFd<'_>, option: i32) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    get_option(fd, libc::SOL_SOCKET, option, &mut value).map(|()| value)
}

/// `getsockopt(2)` into a value that consists of integers alone.
fn get_option<T: Copy>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &mut T) -> io::Result<()> {
    let mut length = length_of(value);
    let pointer = std::ptr::from_mut(value).cast();
    // SAFETY: the kernel writes at most `length` bytes, which `value` has.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, pointer, &mut length) }).map(drop)
}

/// Returns and clears the pending error of a socket (`SO_ERROR`).
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let error = socket_option(fd, libc::SO_ERROR)?;
    Ok((error != 0).then(|| io::Error::from_raw_os_error(error)))
}
