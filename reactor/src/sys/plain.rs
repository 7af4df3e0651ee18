//! Datagrams that a simulated kernel has received, in a batch for which no system call was made.

use std::net::SocketAddr;

use super::datagram::{Local, Received, Remote};

/// A datagram that a simulated kernel has received.
pub(crate) struct Plain {
    pub(crate) bytes: Vec<u8>,
    /// Its length as it was sent.
    pub(crate) length: usize,
    pub(crate) from: PlainName,
    pub(crate) asked: Option<Local>,
    pub(crate) missed: Option<u32>,
}

/// A [`Remote`] that owns its name.
pub(crate) enum PlainName {
    Connected,
    Ip(SocketAddr),
    Unix(Vec<u8>),
}

impl From<Remote<'_>> for PlainName {
    fn from(remote: Remote<'_>) -> Self {
        match remote {
            Remote::Connected => Self::Connected,
            Remote::Ip(address) => Self::Ip(address),
            Remote::Unix(name) => Self::Unix(name.to_vec()),
        }
    }
}

impl Plain {
    /// Returns at most `size` of its bytes, and what is known about it.
    pub(super) fn parts(&mut self, size: usize) -> (&mut [u8], Received<'_>) {
        let Self { bytes, length, from, asked, missed } = self;
        let (length, kept) = (*length, bytes.len().min(size));
        let received = Received {
            length,
            is_truncated: length > size,
            from: from.remote(),
            asked: *asked,
            missed: *missed,
            segment: None,
        };
        (&mut bytes[..kept], received)
    }
}

impl PlainName {
    fn remote(&self) -> Remote<'_> {
        match self {
            Self::Connected => Remote::Connected,
            Self::Ip(address) => Remote::Ip(*address),
            Self::Unix(name) => Remote::Unix(name),
        }
    }
}
