//! What a connection is made to.

use std::fmt;
use std::net::SocketAddr;

use crate::planted::{self, Planted};
use crate::{Address, Location};

/// What a connection is made to: a [`Location`], such as a name and a service, or several addresses of
/// the same server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address, or the name of a host and a service. The addresses of a name are tried in the
    /// order of RFC 8305, section 4: the families take turns.
    Location(Location),
    /// Addresses, which are tried in this order.
    Addresses(Vec<Address>),
}

impl Target {
    /// Returns the only address, if nothing has to be resolved and chosen.
    pub(super) fn single(&self) -> Option<&Address> {
        match self {
            Self::Location(Location::Address(address)) => Some(address),
            Self::Addresses(addresses) if addresses.len() == 1 => addresses.first(),
            _ => None,
        }
    }

    /// Returns whether all addresses are those of TCP.
    pub(crate) fn is_tcp(&self) -> bool {
        let is_tcp = |address: &Address| matches!(address, Address::Tcp(_));
        match self {
            Self::Location(Location::Address(address)) => is_tcp(address),
            Self::Location(Location::Host { .. }) => true,
            Self::Addresses(addresses) => addresses.iter().all(is_tcp),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Location(location) => location.fmt(f),
            Self::Addresses(addresses) if addresses.is_empty() => f.write_str("no address"),
            Self::Addresses(addresses) => {
                for (place, address) in addresses.iter().enumerate() {
                    let separator = if place == 0 { "" } else { ", " };
                    write!(f, "{separator}{address}")?;
                }
                Ok(())
            }
        }
    }
}

impl From<Location> for Target {
    fn from(location: Location) -> Self {
        Self::Location(location)
    }
}

impl From<&Location> for Target {
    fn from(location: &Location) -> Self {
        location.clone().into()
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Self {
        Self::Location(Location::Address(address))
    }
}

impl From<&Address> for Target {
    fn from(address: &Address) -> Self {
        address.clone().into()
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Address::from(address).into()
    }
}

impl From<Vec<Address>> for Target {
    fn from(addresses: Vec<Address>) -> Self {
        Self::Addresses(addresses)
    }
}

impl From<&[Address]> for Target {
    fn from(addresses: &[Address]) -> Self {
        addresses.to_vec().into()
    }
}

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}

/// Returns addresses in the order of RFC 8305, section 4: the families take turns, beginning with
/// that of the first, and each family keeps its order.
pub(crate) fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    if planted::is(Planted::FamiliesInRow) {
        return addresses.to_vec();
    }
    let is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let of = |is_v4| addresses.iter().filter(move |it| it.is_ipv4() == is_v4).copied();
    let (mut first, mut second) = (of(is_v4), of(!is_v4));
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        ordered.extend(first.next());
        ordered.extend(second.next());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let order = |texts: &[&str]| {
            let parse = |text: &&str| text.parse().expect("it is an address");
            let addresses: Vec<SocketAddr> = texts.iter().map(parse).collect();
            interleaved(&addresses).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(order(&[]), [""; 0]);
        assert_eq!(order(&["1.1.1.1:1"]), ["1.1.1.1:1"]);
        assert_eq!(
            order(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]),
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]
        );
        assert_eq!(
            order(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"]),
            ["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]
        );
    }
}
