//! The sockets of all subjects and their client. They are equal, so that only the loops differ.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, UdpGsoSegment};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// The size of a read: the size that our reactor uses, and so every loop here.
pub const READ_SIZE: usize = protocol::link::Scratch::INPUT_SIZE;
/// The number of connections that may wait to be accepted.
pub const BACKLOG: i32 = 4096;
/// The size of the receive buffer of a server of datagrams, in bytes. The kernel may allow less.
pub const DATAGRAM_BUFFER: usize = 1024 * 1024;

/// Returns a non-blocking listener on a free loopback port. Its connections inherit `TCP_NODELAY`.
///
/// # Errors
/// Fails with the error of the system call.
pub fn listen() -> io::Result<TcpListener> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&fd, BACKLOG)?;
    Ok(fd.into())
}

/// Returns a non-blocking socket for datagrams on a free loopback port.
///
/// # Errors
/// Fails with the error of the system call.
pub fn bind_datagrams() -> io::Result<UdpSocket> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_recv_buffer_size(&fd, DATAGRAM_BUFFER)?;
    rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    Ok(fd.into())
}

/// Returns a non-blocking socket for datagrams to and from a server.
///
/// # Errors
/// Fails with the error of the system call.
pub fn connect_to(server: SocketAddr) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_recv_buffer_size(&fd, DATAGRAM_BUFFER)?;
    rustix::net::connect(&fd, &server)?;
    Ok(fd)
}

/// Returns a non-blocking socket for datagrams to and from a server, and whether the kernel divides
/// what is sent on it at once into datagrams of `size` bytes (`UDP_SEGMENT`, Linux 4.18).
///
/// # Errors
/// Fails with the error of the system call.
pub fn connect_datagrams(server: SocketAddr, size: usize) -> io::Result<(OwnedFd, bool)> {
    let fd = connect_to(server)?;
    let size = i32::try_from(size).map_err(io::Error::other)?;
    let divides = setsockopt(&fd, UdpGsoSegment, &size).is_ok();
    Ok((fd, divides))
}

/// Begins to connect with a call that does not block, with `TCP_NODELAY`.
///
/// # Errors
/// Fails with the error of the system call.
pub fn begin_connect(server: SocketAddr) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    match rustix::net::connect(&fd, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(fd),
        Err(error) => Err(error.into()),
    }
}

/// Accepts a connection as non-blocking. Returns `None` if none waits.
///
/// # Errors
/// Fails with the error of the system call.
pub fn accept(listener: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    would_block(rustix::net::accept_with(listener, flags))
}

/// Reads, a datagram from a socket for datagrams. Returns `None` if there is no input.
///
/// # Errors
/// Fails with the error of the system call.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    would_block(rustix::io::read(fd, buffer))
}

/// Writes. Returns `None` if the socket is full.
///
/// # Errors
/// Fails with the error of the system call.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    would_block(rustix::net::send(fd, bytes, rustix::net::SendFlags::NOSIGNAL))
}

/// Converts the error of an operation that would block to `None`.
fn would_block<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Connects with a blocking call, from another loopback address than the last connection. Each
/// address has its own ports, so closing many connections does not use them up.
///
/// # Errors
/// Fails with the error of the system call.
pub fn connect_from(number: usize, server: SocketAddr) -> io::Result<OwnedFd> {
    let fd = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let bytes = (number % 60_000 + 1).to_be_bytes();
    let source = Ipv4Addr::new(127, 1, bytes[bytes.len() - 2], bytes[bytes.len() - 1]);
    // The port is chosen when connecting. A port that is bound before cannot be used by any other
    // process on this machine, with any address, until long after it is closed.
    setsockopt(&fd, IpBindAddressNoPort, &true)?;
    rustix::net::bind(&fd, &SocketAddrV4::new(source, 0))?;
    rustix::net::connect(&fd, &server)?;
    Ok(fd)
}

/// Ends this side of each connection, and waits for the server to end its side. By then it has done
/// all the work of a connection.
///
/// # Errors
/// Fails with the error of the system call, or if the server sent something.
pub fn end_all(batch: Vec<OwnedFd>) -> io::Result<()> {
    for fd in &batch {
        rustix::net::shutdown(fd.as_fd(), rustix::net::Shutdown::Write)?;
    }
    for fd in &batch {
        let mut byte = [0];
        if rustix::io::read(fd, &mut byte)? != 0 {
            return Err(io::Error::other(
                "a server sent something on a connection without messages",
            ));
        }
    }
    Ok(())
}
