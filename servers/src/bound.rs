//! One bound socket of a server, of streams or of datagrams.

use std::io;
use std::os::fd::OwnedFd;

use reactor::{Address, DatagramSocket, FileIdentity, Listener};

use crate::listen::datagram_options;

/// One bound socket of a server.
pub(crate) enum Bound {
    Streams(Listener),
    Datagrams(DatagramSocket),
}

impl Bound {
    /// Takes over a socket that another process has bound.
    ///
    /// # Errors
    /// When the descriptor is not a socket that can be served.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        match DatagramSocket::from_fd(descriptor.try_clone()?, &datagram_options()) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Listener::from_fd(descriptor).map(Self::Streams)
            }
            socket => socket.map(Self::Datagrams),
        }
    }

    /// Returns the address that it has.
    pub(crate) fn address(&self) -> &Address {
        match self {
            Self::Streams(listener) => listener.address(),
            Self::Datagrams(socket) => socket.address(),
        }
    }

    /// Returns the file of a Unix socket, if this process removes it.
    pub(crate) fn owned_file(&self) -> Option<FileIdentity> {
        match self {
            Self::Streams(listener) => listener.owned_file(),
            Self::Datagrams(socket) => socket.owned_file(),
        }
    }

    /// Takes over the file of a Unix socket.
    ///
    /// # Errors
    /// When there is no such file, or another one has replaced it.
    pub(crate) fn own_file(&mut self, file: FileIdentity) -> io::Result<()> {
        match self {
            Self::Streams(listener) => listener.own_file(file),
            Self::Datagrams(socket) => socket.own_file(file),
        }
    }

    /// Leaves the file of a Unix socket to another process, or takes it back.
    pub(crate) fn leave_file(&self, is_left: bool) {
        match self {
            Self::Streams(listener) => listener.leave_file(is_left),
            Self::Datagrams(socket) => socket.leave_file(is_left),
        }
    }

    /// Returns another handle of the same socket.
    ///
    /// # Errors
    /// When the process has no free descriptor (`dup(2)`).
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Streams(listener) => listener.try_clone().map(Self::Streams),
            Self::Datagrams(socket) => socket.try_clone().map(Self::Datagrams),
        }
    }
}
