//! How a request gets to its server.

use reactor::{Address, Location};
use url::Url;

use super::{Error, Options, Origin, Proxy, ProxyKind};

/// Which connections a request can use: those with the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A connection to the server.
    Direct(Origin),
    /// A connection to the server through a tunnel of a proxy.
    Tunnel(Origin, Proxy),
    /// A connection to a proxy of HTTP, for requests of `http` to any server.
    Forward(Proxy),
}

impl Key {
    /// Returns the key for requests of a URL.
    pub(super) fn of(url: &Url, options: &Options) -> Result<Self, Error> {
        let origin = Origin::of(url)?;
        Ok(match options.proxies.for_origin(&origin) {
            None => Self::Direct(origin),
            Some(proxy) if proxy.kind == ProxyKind::Http && !origin.is_secure => {
                Self::Forward(proxy.clone())
            }
            Some(proxy) => Self::Tunnel(origin, proxy.clone()),
        })
    }

    /// Returns what is connected to.
    pub(super) fn location(&self, options: &Options) -> Location {
        match self {
            Self::Direct(origin) => match given(origin, &options.addresses) {
                Some(address) => Location::Address(address.clone()),
                None => origin.location(),
            },
            Self::Tunnel(_, proxy) | Self::Forward(proxy) => proxy.location(),
        }
    }

    /// Returns the name of the server for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Direct(origin) => origin.to_string(),
            Self::Tunnel(origin, proxy) => format!("{origin} through {proxy}"),
            Self::Forward(proxy) => proxy.to_string(),
        }
    }

    /// Returns the proxy to which requests are sent with their whole URL.
    pub(super) fn forwarder(&self) -> Option<&Proxy> {
        match self {
            Self::Forward(proxy) => Some(proxy),
            _ => None,
        }
    }
}

/// Returns the address that was given for an origin.
fn given<'a>(origin: &Origin, addresses: &'a [(String, u16, Address)]) -> Option<&'a Address> {
    let is_it = |(host, port, _): &&(String, u16, Address)| {
        host.eq_ignore_ascii_case(&origin.host) && *port == origin.port
    };
    addresses.iter().find(is_it).map(|(_, _, address)| address)
}
