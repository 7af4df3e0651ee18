//! One bound socket of a server, of streams or of datagrams.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use reactor::{Address, DatagramSocket, Listener};

/// One bound socket of a server.
pub(crate) enum Bound {
    Streams(Listener),
    Datagrams(DatagramSocket),
}

impl Bound {
    /// Returns the address that it has.
    pub(crate) fn address(&self) -> &Address {
        match self {
            Self::Streams(listener) => listener.address(),
            Self::Datagrams(socket) => socket.address(),
        }
    }

    /// Returns whether this process removes the file of a Unix socket.
    pub(crate) fn owns_file(&self) -> bool {
        match self {
            Self::Streams(listener) => listener.owns_file(),
            Self::Datagrams(socket) => socket.owns_file(),
        }
    }

    /// Leaves the file of a Unix socket to another process, or takes it back.
    pub(crate) fn leave_file(&self, is_left: bool) {
        match self {
            Self::Streams(listener) => listener.leave_file(is_left),
            Self::Datagrams(socket) => socket.leave_file(is_left),
        }
    }

    /// Takes over the file of a Unix socket. It is the old program's until that has said so.
    pub(crate) fn own_file(&mut self) -> io::Result<()> {
        match self {
            Self::Streams(listener) => listener.own_file()?,
            Self::Datagrams(socket) => socket.own_file()?,
        }
        self.leave_file(true);
        Ok(())
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Streams(listener) => listener.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
}
