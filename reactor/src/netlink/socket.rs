//! A socket on which the kernel tells the state of the network.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::netlink::NetworkOptions;
use crate::source::handler::explained;
use crate::{kernel, sys};

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A datagram of this many bytes, of the kernel.
    Datagram(usize),
    /// A datagram of this many bytes, for which the buffer was too small.
    CutOff(usize),
    /// A datagram of another process, which has no say.
    Foreign,
    /// The receive buffer was full, and messages are lost.
    Lost,
}

/// Opens a socket that has joined its groups, and returns its port.
///
/// # Errors
/// When the kernel gives none; on a simulated host.
pub(super) fn open(options: &NetworkOptions) -> io::Result<(OwnedFd, u32)> {
    if kernel::is_simulated() {
        return Err(kernel::no_such("netlink"));
    }
    let opened =
        |operation, result: io::Result<_>| result.map_err(|error| explained(operation, error));
    let fd = sys::netlink_socket().map_err(|error| explained("socket", error))?;
    if let Some(size) = options.receive_buffer {
        opened("SO_RCVBUF", sys::set_netlink_buffer(fd.as_fd(), size))?;
    }
    // The groups are joined before the first dump begins, so no change falls between the two.
    opened("bind", sys::bind_netlink(fd.as_fd(), options.selection.groups()))?;
    let port = sys::netlink_port(fd.as_fd()).map_err(|error| explained("getsockname", error))?;
    Ok((fd, port))
}

/// Receives a datagram. Returns `None` if there is none.
pub(super) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    match sys::receive_netlink(fd, buffer) {
        Ok((_, port)) if port != 0 => Ok(Some(Received::Foreign)),
        Ok((size, _)) if size > buffer.len() => Ok(Some(Received::CutOff(size))),
        Ok((size, _)) => Ok(Some(Received::Datagram(size))),
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(Some(Received::Lost)),
        Err(error) => Err(error),
    }
}
