//! Sockets of netlink, on which the kernel tells the state of the network (`netlink(7)`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::socket::set_option;
use super::{check, transfer};

/// Opens a socket for messages about links, addresses, routes and neighbours, non-blocking and closed on exec
/// (`NETLINK_ROUTE`).
pub(crate) fn netlink_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes no pointer.
    let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
    // SAFETY: the descriptor was just opened, and no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets the size of the receive buffer, in bytes (`SO_RCVBUF`, `socket(7)`).
pub(crate) fn set_netlink_buffer(fd: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, size)
}

/// Joins multicast groups, a bit each. The kernel chooses the port.
pub(crate) fn bind_netlink(fd: BorrowedFd<'_>, groups: u32) -> io::Result<()> {
    let mut address = empty_address();
    address.nl_groups = groups;
    let pointer = std::ptr::from_ref(&address).cast();
    // SAFETY: the address is readable for its own length.
    check(unsafe { libc::bind(fd.as_raw_fd(), pointer, ADDRESS_SIZE) }).map(drop)
}

/// Returns the port of the socket (`getsockname(2)`).
pub(crate) fn netlink_port(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut address = empty_address();
    let mut length = ADDRESS_SIZE;
    let pointer = std::ptr::from_mut(&mut address).cast();
    // SAFETY: the kernel writes at most `length` bytes of address, which `address` has.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), pointer, &mut length) })?;
    Ok(address.nl_pid)
}

/// Receives a datagram. Returns its size, which is more than `buffer` has if it was cut off, and the port of
/// its sender, which is 0 for the kernel.
pub(crate) fn receive_netlink(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, u32)> {
    let mut sender = empty_address();
    let mut length = ADDRESS_SIZE;
    let pointer = std::ptr::from_mut(&mut sender).cast();
    let (bytes, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    let size = transfer(|| {
        // SAFETY: the kernel writes at most `size` bytes of `buffer` and `length` bytes of `sender`.
        let result = unsafe {
            libc::recvfrom(fd.as_raw_fd(), bytes, size, libc::MSG_TRUNC, pointer, &mut length)
        };
        result as libc::c_long
    })?;
    Ok((size, sender.nl_pid))
}

const ADDRESS_SIZE: libc::socklen_t = size_of::<libc::sockaddr_nl>() as libc::socklen_t;

fn empty_address() -> libc::sockaddr_nl {
    // SAFETY: all-zero bytes are a valid sockaddr_nl, which is made of integers.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address
}
