//! The answer of a resolver.

use std::net::SocketAddr;

use crate::net::resolver::query::{IpFamily, IpProtocol, SocketType};

/// One entry of an answer: an address, and a kind of socket that can be used with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressInfo {
    /// The type of the socket.
    pub socket_type: SocketType,
    /// The protocol of the socket.
    pub ip_protocol: IpProtocol,
    /// The IP address and the port, which is 0 if no service was asked for.
    pub address: SocketAddr,
}

impl AddressInfo {
    /// Returns the family of the address.
    pub fn family(&self) -> IpFamily {
        if self.address.is_ipv4() { IpFamily::V4 } else { IpFamily::V6 }
    }
}

/// The answer to a [`Query`](crate::Query).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    entries: Vec<AddressInfo>,
    canonical: Option<String>,
}

impl Resolved {
    /// Returns an answer of these entries, for a [`Resolver`](crate::Resolver) with a function of
    /// its own.
    pub fn new(entries: Vec<AddressInfo>, canonical: Option<String>) -> Self {
        Self { entries, canonical }
    }

    /// Returns the entries in the order of the system, which prefers the addresses that are likely
    /// to work (RFC 6724).
    pub fn entries(&self) -> &[AddressInfo] {
        &self.entries
    }

    /// Returns the canonical name, if [`Hints::canonical_name`](crate::Hints::canonical_name) asked
    /// for it.
    pub fn canonical_name(&self) -> Option<&str> {
        self.canonical.as_deref()
    }

    /// Returns the addresses, each once, in the same order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            if !addresses.contains(&entry.address) {
                addresses.push(entry.address);
            }
        }
        addresses
    }
}
