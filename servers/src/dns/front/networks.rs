//! Networks of clients.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network, such as `192.0.2.0/24` or `2001:db8::/32`. An address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Returns whether an address belongs to the network. An IPv4 address that arrives on an IPv6 socket
    /// counts as what it is.
    pub(in crate::dns) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differs = own.to_bits() ^ other.to_bits();
                differs.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differs = own.to_bits() ^ other.to_bits();
                differs.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no network; expected one such as 192.0.2.0/24, 2001:db8::/32 or ::1"
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|it| *it <= bits).ok_or_else(wrong)?,
            None => bits,
        };
        let network = Self { address, prefix };
        let first = network.first();
        if first != address {
            return Err(format!("{text:?} has bits after its prefix; expected {first}/{prefix}"));
        }
        Ok(network)
    }
}

impl Network {
    /// Returns the first address.
    fn first(&self) -> IpAddr {
        first_of(self.address, self.prefix)
    }
}

/// Returns the first address of the network of this many bits that an address belongs to.
pub(in crate::dns) fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(network: &str, address: &str) -> bool {
        let network: Network = network.parse().expect("a network");
        network.contains(address.parse().expect("an address"))
    }

    #[test]
    fn addresses_belong_to_networks_of_their_family() {
        assert!(has("192.0.2.0/24", "192.0.2.255") && !has("192.0.2.0/24", "192.0.3.0"));
        assert!(has("0.0.0.0/0", "255.255.255.255") && !has("0.0.0.0/0", "::1"));
        assert!(has("::/0", "2001:db8::1") && !has("::/0", "192.0.2.1"));
        assert!(has("192.0.2.1", "192.0.2.1") && !has("192.0.2.1", "192.0.2.0"));
        assert!(has("fe80::/10", "febf::1") && !has("fe80::/10", "fec0::1"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn a_wrong_network_says_what_is_wrong() {
        for text in ["", "192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/-1", "a/8"] {
            let error = text.parse::<Network>().expect_err(text);
            assert!(error.contains("is no network; expected one such as"), "{error}");
        }
        let error = "192.0.2.1/24".parse::<Network>().expect_err("it has bits");
        assert_eq!(error, "\"192.0.2.1/24\" has bits after its prefix; expected 192.0.2.0/24");
    }
}
