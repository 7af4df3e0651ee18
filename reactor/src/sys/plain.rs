//! Datagrams that a simulated kernel has received, in a batch for which no system call was made.

use std::net::SocketAddr;

use super::datagram::{Local, Notes, Received, Remote};

/// What is known about a datagram that a simulated kernel has received.
pub(crate) struct Plain {
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
    /// Returns what is known about it, if up to `most` bytes of it were kept.
    pub(super) fn received(&self, most: usize) -> Received {
        Received {
            length: self.length,
            kept: self.length.min(most),
            is_truncated: self.length > most,
            is_noted: self.asked.is_some() || self.missed.is_some(),
        }
    }

    /// Returns its sender.
    pub(super) fn sender(&self) -> Remote<'_> {
        self.from.remote()
    }

    /// Returns what the kernel says about it.
    pub(super) fn notes(&self) -> Notes {
        Notes { asked: self.asked, missed: self.missed, segment: None }
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
