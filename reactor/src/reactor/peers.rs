//! The peers of connections, for log lines.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use crate::{Tag, kernel};

/// The addresses of peers, kept only while debug lines are logged. The kernel does not tell them any
/// more once a connection was reset, or both sides have ended (`getpeername(2)`: `ENOTCONN`).
#[derive(Debug, Default)]
pub(crate) struct Peers {
    addresses: HashMap<Tag, SocketAddr>,
}

impl Peers {
    /// Records the peer of a connection.
    pub(crate) fn note(&mut self, tag: Tag, address: SocketAddr) {
        self.addresses.insert(tag, address);
    }

    /// Removes the peer of a connection that has ended.
    #[inline]
    pub(crate) fn forget(&mut self, tag: Tag) {
        if !self.addresses.is_empty() {
            self.addresses.remove(&tag);
            if self.addresses.is_empty() {
                self.addresses = HashMap::new();
            }
        }
    }

    /// Returns the words for the peer of a connection.
    pub(crate) fn text(&self, tag: Tag, fd: BorrowedFd<'_>) -> String {
        if let Some(address) = self.addresses.get(&tag) {
            return address.to_string();
        }
        match kernel::remote_address(fd) {
            Ok(Some(address)) => address.to_string(),
            Ok(None) => "a Unix socket's peer".to_owned(),
            Err(_) => "a peer that is gone".to_owned(),
        }
    }
}
