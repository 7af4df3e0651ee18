//! What a resolver is asked.

use std::fmt;

use crate::net::resolver::error::{ResolveError, ResolveErrorKind};
use crate::net::resolver::literal;
use crate::net::resolver::resolved::{AddressInfo, Resolved};
use crate::{kernel, sys};

/// A family of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpFamily {
    /// IPv4 (`AF_INET`).
    V4,
    /// IPv6 (`AF_INET6`).
    V6,
}

impl IpFamily {
    fn number(self) -> i32 {
        match self {
            Self::V4 => libc::AF_INET,
            Self::V6 => libc::AF_INET6,
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The type of a socket (`socket(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketType(i32);

impl SocketType {
    /// A stream of bytes (`SOCK_STREAM`).
    pub const STREAM: Self = Self(libc::SOCK_STREAM);
    /// Datagrams (`SOCK_DGRAM`).
    pub const DATAGRAM: Self = Self(libc::SOCK_DGRAM);
    /// Packets of the network (`SOCK_RAW`).
    pub const RAW: Self = Self(libc::SOCK_RAW);

    /// Returns the type with a number.
    pub const fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Returns the number of the type.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::STREAM => f.pad("stream"),
            Self::DATAGRAM => f.pad("datagram"),
            Self::RAW => f.pad("raw"),
            Self(number) => f.pad(&number.to_string()),
        }
    }
}

/// A protocol over IP, by its number (`protocols(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpProtocol(i32);

impl IpProtocol {
    /// Any protocol, or that of raw packets.
    pub const ANY: Self = Self(libc::IPPROTO_IP);
    /// TCP.
    pub const TCP: Self = Self(libc::IPPROTO_TCP);
    /// UDP.
    pub const UDP: Self = Self(libc::IPPROTO_UDP);

    /// Returns the protocol with a number.
    pub const fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Returns the number of the protocol.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ANY => f.pad("ip"),
            Self::TCP => f.pad("tcp"),
            Self::UDP => f.pad("udp"),
            Self(number) => f.pad(&number.to_string()),
        }
    }
}

/// What a lookup is limited to, and how it is made: the hints of `getaddrinfo(3)`, which describes
/// each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hints {
    /// Without a name, the addresses are for a listener: all of this host (`AI_PASSIVE`). Otherwise
    /// they are those of the loopback.
    pub passive: bool,
    /// Returns the canonical name too (`AI_CANONNAME`).
    pub canonical_name: bool,
    /// The name has to be an IP address. No file and no server is asked for it (`AI_NUMERICHOST`).
    pub numeric_host: bool,
    /// The service has to be a number (`AI_NUMERICSERV`).
    pub numeric_service: bool,
    /// With [`family`](Self::family) IPv6, a name without IPv6 addresses has its IPv4 addresses in
    /// IPv6 form (`AI_V4MAPPED`).
    pub v4_mapped: bool,
    /// With [`v4_mapped`](Self::v4_mapped), a name has both kinds of addresses (`AI_ALL`).
    pub all: bool,
    /// Only families of which this host has an address besides that of the loopback
    /// (`AI_ADDRCONFIG`).
    pub address_config: bool,
    /// Only this family; `None` for both.
    pub family: Option<IpFamily>,
    /// Only sockets of this type; `None` for one entry of each type.
    pub socket_type: Option<SocketType>,
    /// Only this protocol; `None` for any.
    pub ip_protocol: Option<IpProtocol>,
}

impl Hints {
    /// Addresses of both families for connections: streams, and no flags.
    pub const DEFAULT: Self = Self { socket_type: Some(SocketType::STREAM), ..Self::ANY };

    /// Everything that there is: any family, type and protocol, and no flags.
    pub const ANY: Self = Self {
        passive: false,
        canonical_name: false,
        numeric_host: false,
        numeric_service: false,
        v4_mapped: false,
        all: false,
        address_config: false,
        family: None,
        socket_type: None,
        ip_protocol: None,
    };

    fn flags(&self) -> i32 {
        let flags = [
            (self.passive, libc::AI_PASSIVE),
            (self.canonical_name, libc::AI_CANONNAME),
            (self.numeric_host, libc::AI_NUMERICHOST),
            (self.numeric_service, libc::AI_NUMERICSERV),
            (self.v4_mapped, libc::AI_V4MAPPED),
            (self.all, libc::AI_ALL),
            (self.address_config, libc::AI_ADDRCONFIG),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag)
    }
}

impl Default for Hints {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A question to a [`Resolver`](crate::Resolver): the name of a host, that of a service, and
/// [`Hints`]. Equal questions at one time are looked up once.
///
/// ```
/// use reactor::{Hints, IpFamily, Query};
///
/// let hints = Hints { family: Some(IpFamily::V4), ..Hints::DEFAULT };
/// let query = Query::new("localhost").service("8080").hints(hints);
/// let found = query.look_up()?;
/// assert_eq!(found.addresses()[0].to_string(), "127.0.0.1:8080");
/// # Ok::<(), reactor::ResolveError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    pub(crate) name: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) hints: Hints,
}

impl Query {
    /// Returns the question for the addresses of a name, or an IP address in text form, with the
    /// default [`Hints`].
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), service: None, hints: Hints::DEFAULT }
    }

    /// Returns the question for the addresses of this host itself, with the default [`Hints`]: those
    /// of the loopback, or with [`Hints::passive`] those for a listener.
    pub fn of_this_host(service: impl Into<String>) -> Self {
        Self { name: None, service: Some(service.into()), hints: Hints::DEFAULT }
    }

    /// Sets the service: its name (`services(5)`) or its port.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// Sets the hints.
    #[must_use]
    pub fn hints(mut self, hints: Hints) -> Self {
        self.hints = hints;
        self
    }

    /// Looks it up on this thread: in the hosts file and at the name servers, as `nsswitch.conf(5)`
    /// says. This blocks, for many seconds if a name server does not answer: call it before the loop
    /// runs, or use a [`Resolver`](crate::Resolver). On a simulated host, the names of the simulation
    /// count, and it takes no time.
    ///
    /// # Errors
    /// What went wrong, with this question.
    pub fn look_up(&self) -> Result<Resolved, ResolveError> {
        if let Some(found) = literal::of(self) {
            return Ok(found);
        }
        if let Some(kernel) = kernel::simulated() {
            return kernel.look_up_now(self).map_err(|kind| ResolveError::new(self.clone(), kind));
        }
        self.ask_system()
    }

    /// Asks the system, whatever the thread.
    pub(crate) fn ask_system(&self) -> Result<Resolved, ResolveError> {
        let fail = |kind| ResolveError::new(self.clone(), kind);
        let text = |text: &Option<String>| match text.as_deref().map(sys::c_text) {
            Some(None) => Err(fail(ResolveErrorKind::Invalid("it has a zero byte"))),
            Some(text) => Ok(text),
            None => Ok(None),
        };
        let (name, service) = (text(&self.name)?, text(&self.service)?);
        let question = sys::Question {
            name: name.as_deref(),
            service: service.as_deref(),
            flags: self.hints.flags(),
            family: self.hints.family.map_or(libc::AF_UNSPEC, IpFamily::number),
            kind: self.hints.socket_type.map_or(0, SocketType::number),
            ip_protocol: self.hints.ip_protocol.map_or(0, IpProtocol::number),
        };
        let found = sys::getaddrinfo(&question)
            .map_err(|failure| ResolveError::of_system(self.clone(), &failure))?;
        let entry = |entry: &sys::Entry| AddressInfo {
            socket_type: SocketType(entry.kind),
            ip_protocol: IpProtocol(entry.ip_protocol),
            address: entry.address,
        };
        Ok(Resolved::new(found.list.iter().map(entry).collect(), found.canonical))
    }
}

impl fmt::Display for Query {
    /// Writes the name and the service as a user would write them: `db.example:http`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.service) {
            (Some(name), None) => f.write_str(name),
            (Some(name), Some(service)) if name.contains(':') => write!(f, "[{name}]:{service}"),
            (Some(name), Some(service)) => write!(f, "{name}:{service}"),
            (None, Some(service)) => write!(f, "*:{service}"),
            (None, None) => f.write_str("*"),
        }
    }
}
