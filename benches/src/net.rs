//! Sockets that all subjects listen and are loaded with, so that they differ in their loops only.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// How much is read at once: what our reactor reads, and so what every loop here does.
pub const READ_SIZE: usize = protocol::link::Scratch::INPUT_SIZE;
/// Connections that may wait to be accepted.
pub const BACKLOG: i32 = 4096;

/// A non-blocking listener on a free loopback port, whose connections inherit `TCP_NODELAY`.
///
/// # Errors
/// What the kernel said.
pub fn listen() -> io::Result<TcpListener> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&fd, BACKLOG)?;
    Ok(fd.into())
}

/// Accepts a connection, non-blocking; `None` when none waits.
///
/// # Errors
/// What the kernel said.
pub fn accept(listener: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    would_block(rustix::net::accept_with(listener, flags))
}

/// Reads; `None` when nothing has come.
///
/// # Errors
/// What the kernel said.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    would_block(rustix::io::read(fd, buffer))
}

/// Writes; `None` when there is no room.
///
/// # Errors
/// What the kernel said.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    would_block(rustix::net::send(fd, bytes, rustix::net::SendFlags::NOSIGNAL))
}

/// An operation that would block is an answer, not a failure.
fn would_block<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Connects, blocking, from a loopback address other than the last one's: each has ports of its
/// own, so that closing many connections does not use them up.
///
/// # Errors
/// What the kernel said.
pub fn connect_from(number: usize, server: SocketAddr) -> io::Result<OwnedFd> {
    let fd = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let bytes = (number % 60_000 + 1).to_be_bytes();
    let source = Ipv4Addr::new(127, 1, bytes[bytes.len() - 2], bytes[bytes.len() - 1]);
    // The port is chosen when connecting: one that is bound before is taken from everybody else on
    // this machine, whatever their address, until long after it is closed.
    setsockopt(&fd, IpBindAddressNoPort, &true)?;
    rustix::net::bind(&fd, &SocketAddrV4::new(source, 0))?;
    rustix::net::connect(&fd, &server)?;
    Ok(fd)
}

/// Ends this side of each connection, then waits for the server to end its own: it has done all
/// that a connection costs by then.
///
/// # Errors
/// What the kernel said, or that the server said something.
pub fn end_all(batch: Vec<OwnedFd>) -> io::Result<()> {
    for fd in &batch {
        rustix::net::shutdown(fd.as_fd(), rustix::net::Shutdown::Write)?;
    }
    for fd in &batch {
        let mut byte = [0];
        if rustix::io::read(fd, &mut byte)? != 0 {
            return Err(io::Error::other("a server sent something to who had only connected"));
        }
    }
    Ok(())
}
